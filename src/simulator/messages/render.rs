//! Writes answers as the Messages API does: whole messages and events.
//!
//! Every event has its name in front; blocks never interleave; the opening usage has the input, the closing one
//! everything. <https://platform.claude.com/docs/en/build-with-claude/streaming>

use bytes::Bytes;
use serde_json::{Value, json};

use super::super::answer::{Choice, Delta, Finish, Generation};
use super::super::play::{Act, disturbed};
use super::super::script::{Ending, Fault, Manner, Thought, UsageReport};
use super::super::seal;
use super::super::tokenizer::tokens;
use super::error_body;
use super::marks::Met;

/// Everything about an answer that is fixed before its first byte.
#[derive(Debug)]
pub(super) struct Renderer {
    pub(super) id: String,
    pub(super) request_id: String,
    pub(super) model: String,
    pub(super) generation: Generation,
    pub(super) thought: Option<Thought>,
    /// Thoughts keep their signature and lose their text.
    pub(super) omits_thoughts: bool,
    pub(super) stop_sequence: Option<String>,
    /// Why it refuses, if it does.
    pub(super) refusal: Option<String>,
    /// All input, what was read from and written to the cache included.
    pub(super) input_tokens: u64,
    pub(super) met: Met,
    pub(super) usage: UsageReport,
}

impl Renderer {
    /// The whole answer as one message.
    pub(super) fn document(&self) -> Bytes {
        let mut message = self.message(self.content(), self.end());
        if self.usage != UsageReport::Missing {
            message["usage"] = self.whole_usage(self.generation.reported_tokens().0);
        }
        message.to_string().into()
    }

    /// The steps of the stream, with what the script lets go wrong.
    pub(super) fn acts(&self, manner: &Manner) -> Vec<Act> {
        let fail = |_, fault| vec![event(&fault_event(fault, &self.request_id))];
        disturbed(self.events(manner), manner, fail)
    }

    fn choice(&self) -> &Choice {
        &self.generation.choices[0]
    }

    fn message(&self, content: Vec<Value>, end: Value) -> Value {
        json!({
            "id": self.id, "type": "message", "role": "assistant", "model": self.model, "content": content,
            "stop_reason": end["stop_reason"], "stop_sequence": end["stop_sequence"],
            "stop_details": end["stop_details"], "container": null,
        })
    }

    fn content(&self) -> Vec<Value> {
        let said = self.choice().said();
        let mut content: Vec<Value> = self.thought.iter().map(|thought| self.thinking_block(thought)).collect();
        if let Some(text) = said.text.filter(|text| !text.is_empty()) {
            content.push(json!({"type": "text", "text": text, "citations": null}));
        }
        content.extend(said.calls.iter().enumerate().map(|(index, call)| {
            // A call that the limit cut has no input that could be read.
            let input: Value = serde_json::from_str(&call.arguments).unwrap_or_else(|_| json!({}));
            json!({"type": "tool_use", "id": self.call_id(index, &call.id), "name": call.name, "input": input,
                   "caller": {"type": "direct"}})
        }));
        content
    }

    fn thinking_block(&self, thought: &Thought) -> Value {
        match (thought.redacted, self.omits_thoughts) {
            (true, _) => json!({"type": "redacted_thinking", "data": seal::seal(&thought.text)}),
            (false, true) => json!({"type": "thinking", "thinking": "", "signature": seal::seal(&thought.text)}),
            (false, false) => {
                json!({"type": "thinking", "thinking": thought.text, "signature": seal::sign(&thought.text)})
            }
        }
    }

    /// Why it ended.
    fn end(&self) -> Value {
        let reason = match (self.choice().finish, &self.refusal, &self.stop_sequence) {
            (Finish::Length, ..) => "max_tokens",
            (_, Some(_), _) => "refusal",
            (Finish::ToolCalls, ..) => "tool_use",
            (Finish::Stop, None, Some(_)) => "stop_sequence",
            (Finish::Stop, None, None) => "end_turn",
        };
        let details = self.refusal.as_ref().filter(|_| reason == "refusal");
        let details =
            details.map(|explanation| json!({"type": "refusal", "category": null, "explanation": explanation}));
        let sequence = self.stop_sequence.as_ref().filter(|_| reason == "stop_sequence");
        json!({"stop_reason": reason, "stop_sequence": sequence, "stop_details": details})
    }

    fn shown(&self, tokens: u64) -> u64 {
        if self.usage == UsageReport::Zero { 0 } else { tokens }
    }

    /// The usage with every figure. Input, read and written tokens add up to the whole input.
    fn whole_usage(&self, output_tokens: u64) -> Value {
        let Met { written_5m, written_1h, .. } = self.met;
        let mut usage = self.running_usage(output_tokens);
        usage["cache_creation"] = json!({
            "ephemeral_5m_input_tokens": self.shown(written_5m), "ephemeral_1h_input_tokens": self.shown(written_1h),
        });
        usage["service_tier"] = "standard".into();
        usage["inference_geo"] = Value::Null;
        usage
    }

    fn running_usage(&self, output_tokens: u64) -> Value {
        let Met { read, written_5m, written_1h } = self.met;
        let written = written_5m + written_1h;
        let thinking = self.generation.reported_tokens().1.min(output_tokens);
        json!({
            "input_tokens": self.shown(self.input_tokens.saturating_sub(read + written)),
            "cache_creation_input_tokens": self.shown(written), "cache_read_input_tokens": self.shown(read),
            "output_tokens": self.shown(output_tokens),
            "output_tokens_details": {"thinking_tokens": self.shown(thinking)},
            "server_tool_use": null,
        })
    }

    /// Every event of an undisturbed stream.
    fn events(&self, manner: &Manner) -> Vec<Act> {
        let nothing = json!({"stop_reason": null, "stop_sequence": null, "stop_details": null});
        let mut message = self.message(Vec::new(), nothing);
        let output_tokens = self.generation.reported_tokens().0;
        if self.usage != UsageReport::Missing {
            message["usage"] = self.whole_usage(output_tokens.min(1));
        }
        let mut acts = vec![event(&json!({"type": "message_start", "message": message}))];
        let mut blocks = 0;
        if let Some(thought) = &self.thought {
            self.think(thought, &mut acts);
            blocks += 1;
        }
        let mut open = false;
        for (index, delta) in self.choice().deltas.iter().enumerate() {
            let piece = self.choice().piece(delta);
            let (starts, said) = match delta {
                Delta::Text(_) | Delta::Refusal(_) => (index == 0, json!({"type": "text_delta", "text": piece})),
                Delta::CallStart(_) => (true, json!({"type": "input_json_delta", "partial_json": ""})),
                Delta::Arguments(..) => (false, json!({"type": "input_json_delta", "partial_json": piece})),
            };
            if starts {
                if open {
                    acts.push(stop(blocks));
                    blocks += 1;
                }
                acts.push(event(&self.start(blocks, delta)));
                open = true;
                ping_once(&mut acts);
            }
            acts.push(Act::Token(frame(&json!({"type": "content_block_delta", "index": blocks, "delta": said}))));
        }
        if open {
            acts.push(stop(blocks));
        }
        acts.push(Act::Complete);
        let mut last = json!({"type": "message_delta", "delta": self.end()});
        if self.usage != UsageReport::Missing {
            last["usage"] = self.running_usage(output_tokens);
        }
        let times = if self.usage == UsageReport::Twice { 2 } else { 1 };
        acts.extend(std::iter::repeat_n(event(&last), times));
        if manner.ending != Ending::WithoutDone {
            acts.push(event(&json!({"type": "message_stop"})));
        }
        acts
    }

    fn start(&self, block: usize, delta: &Delta) -> Value {
        let content = match delta {
            Delta::CallStart(call) => {
                let called = &self.choice().answer.calls[*call];
                json!({"type": "tool_use", "id": self.call_id(*call, &called.id), "name": called.name, "input": {},
                       "caller": {"type": "direct"}})
            }
            _ => json!({"type": "text", "text": "", "citations": null}),
        };
        json!({"type": "content_block_start", "index": block, "content_block": content})
    }

    /// The block of a thought. Its tokens were generated before the first byte.
    fn think(&self, thought: &Thought, acts: &mut Vec<Act>) {
        let whole = self.thinking_block(thought);
        let mut opening = whole.clone();
        let shows = whole["type"] == "thinking";
        if shows {
            opening["thinking"] = "".into();
            opening["signature"] = "".into();
        }
        acts.push(event(&json!({"type": "content_block_start", "index": 0, "content_block": opening})));
        ping_once(acts);
        let delta = |delta: Value| event(&json!({"type": "content_block_delta", "index": 0, "delta": delta}));
        if shows {
            let text = whole["thinking"].as_str().unwrap_or_default();
            acts.extend(tokens(text).map(|piece| delta(json!({"type": "thinking_delta", "thinking": piece}))));
            acts.push(delta(json!({"type": "signature_delta", "signature": whole["signature"]})));
        }
        acts.push(stop(0));
    }

    fn call_id(&self, call: usize, scripted: &str) -> String {
        if !scripted.is_empty() {
            return scripted.to_owned();
        }
        let unique = self.id.get(self.id.len().saturating_sub(20)..).unwrap_or(&self.id);
        format!("toolu_01{unique}{call:02}")
    }
}

/// The API pings once the first block has begun.
fn ping_once(acts: &mut Vec<Act>) {
    if acts.len() == 2 {
        acts.push(event(&json!({"type": "ping"})));
    }
}

fn stop(block: usize) -> Act {
    event(&json!({"type": "content_block_stop", "index": block}))
}

fn event(data: &Value) -> Act {
    Act::Bytes(frame(data))
}

/// Puts the type first, as the API does.
fn frame(data: &Value) -> Bytes {
    let mut rest = data.clone();
    let kind = rest.as_object_mut().and_then(|fields| fields.remove("type"));
    let kind = kind.as_ref().and_then(Value::as_str).unwrap_or_default();
    let rest = rest.to_string();
    let rest = rest.strip_prefix('{').filter(|rest| *rest != "}").map_or("}".to_owned(), |rest| format!(",{rest}"));
    format!("event: {kind}\ndata: {{\"type\":\"{kind}\"{rest}\n\n").into()
}

fn fault_event(fault: Fault, request_id: &str) -> Value {
    let (kind, message) = match fault {
        Fault::Server => ("api_error", "Internal server error"),
        Fault::Overloaded => ("overloaded_error", "Overloaded"),
        Fault::RateLimited => ("rate_limit_error", "This request would exceed your account's rate limit."),
    };
    serde_json::from_slice(&error_body(kind, message, request_id)).unwrap_or_default()
}
