//! Writes answers as the Responses API does: whole objects, events with their numbers, items with all their parts.
//!
//! <https://platform.openai.com/docs/api-reference/responses-streaming>

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::super::answer::{Choice, Delta, Finish, Generation};
use super::super::play::{Act, disturbed};
use super::super::prices::BilledTokens;
use super::super::script::{Ending, Fault, Manner, Thought, ToolCall, UsageReport};
use super::super::seal;
use super::super::tokenizer::tokens;
use super::request::{Offered, ResponsesRequest};

/// Everything about an answer that is fixed before its first byte.
#[derive(Debug)]
pub(super) struct Renderer<'r> {
    pub(super) id: String,
    pub(super) created: u64,
    pub(super) model: String,
    pub(super) request: &'r ResponsesRequest<'r>,
    pub(super) generation: Generation,
    pub(super) thought: Option<Thought>,
    pub(super) tokens: BilledTokens,
    pub(super) usage: UsageReport,
}

/// The events of a stream, numbered as they are written.
#[derive(Default)]
struct Events {
    acts: Vec<Act>,
    written: u64,
    obfuscates: bool,
}

impl Events {
    fn frame(&mut self, kind: &str, mut data: Value) -> Bytes {
        data["sequence_number"] = self.written.into();
        self.written += 1;
        if self.obfuscates && data["delta"].is_string() {
            data["obfuscation"] = "kV3xQ9sWb2Lr".into();
        }
        frame(kind, data)
    }

    fn push(&mut self, kind: &str, data: Value) {
        let frame = self.frame(kind, data);
        self.acts.push(Act::Bytes(frame));
    }

    /// An event that holds one generated token.
    fn token(&mut self, kind: &str, data: Value) {
        let frame = self.frame(kind, data);
        self.acts.push(Act::Token(frame));
    }
}

/// One event.
pub(super) fn frame(kind: &str, data: Value) -> Bytes {
    let rest = data.to_string();
    let rest = rest.strip_prefix('{').unwrap_or_default();
    format!("event: {kind}\ndata: {{\"type\":\"{kind}\",{rest}\n\n").into()
}

impl Renderer<'_> {
    /// The response as it ends.
    pub(super) fn response(&self) -> Value {
        let reason = match self.choice().finish {
            Finish::Length => json!({"reason": "max_output_tokens"}),
            Finish::Stop | Finish::ToolCalls => Value::Null,
        };
        let mut response = self.object(if reason.is_null() { "completed" } else { "incomplete" }, self.output());
        response["service_tier"] = self.request.class.as_str().into();
        if reason.is_null() {
            response["completed_at"] = self.created.into();
        }
        response["incomplete_details"] = reason;
        response["usage"] = match self.usage {
            UsageReport::Missing => Value::Null,
            _ => self.usage_block(),
        };
        response
    }

    /// The response with this status and output, and what the request said of the rest.
    pub(super) fn object(&self, status: &str, output: Vec<Value>) -> Value {
        let request = self.request.fields;
        let said =
            |key: &str, default: Value| request.get(key).filter(|value| !value.is_null()).cloned().unwrap_or(default);
        let part = |key: &str, defaults: &[(&str, Value)]| {
            let mut whole = Map::new();
            whole.extend(defaults.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
            whole.extend(request.get(key).and_then(Value::as_object).cloned().unwrap_or_default());
            Value::Object(whole)
        };
        let mut response = json!({
            "id": self.id, "object": "response", "created_at": self.created, "status": status,
            "background": self.request.is_background, "completed_at": null, "error": null, "incomplete_details": null,
            "model": self.model, "output": output, "store": self.request.stores,
            "reasoning": part("reasoning", &[("effort", Value::Null), ("summary", Value::Null)]),
            "text": part("text", &[("format", json!({"type": "text"})), ("verbosity", "medium".into())]),
            "tools": self.tools(), "usage": null,
        });
        for (key, default) in [
            ("instructions", Value::Null),
            ("max_output_tokens", Value::Null),
            ("max_tool_calls", Value::Null),
            ("metadata", json!({})),
            ("parallel_tool_calls", true.into()),
            ("previous_response_id", Value::Null),
            ("prompt_cache_key", Value::Null),
            ("prompt_cache_retention", Value::Null),
            ("safety_identifier", Value::Null),
            ("service_tier", "auto".into()),
            ("temperature", json!(1.0)),
            ("tool_choice", "auto".into()),
            ("top_logprobs", 0.into()),
            ("top_p", json!(1.0)),
            ("truncation", "disabled".into()),
            ("user", Value::Null),
        ] {
            response[key] = said(key, default);
        }
        response
    }

    /// The tools as sent, with what the API adds.
    fn tools(&self) -> Value {
        let mut tools = self.request.fields.get("tools").filter(|tools| tools.is_array()).cloned().unwrap_or(json!([]));
        for tool in tools.as_array_mut().into_iter().flatten().filter(|tool| tool["type"] == "function") {
            if tool["strict"].is_null() {
                tool["strict"] = true.into();
            }
            for key in ["description", "parameters"] {
                tool[key] = tool[key].take();
            }
        }
        tools
    }

    fn choice(&self) -> &Choice {
        &self.generation.choices[0]
    }

    fn item_id(&self, begins: &str, index: usize) -> String {
        format!("{begins}_{}{index:02}", self.id.trim_start_matches("resp_"))
    }

    /// Every item of the output in full.
    pub(super) fn output(&self) -> Vec<Value> {
        let mut output: Vec<Value> = self.thought.iter().map(|thought| self.thought_item(thought)).collect();
        let said = self.choice().said();
        let mut content = Vec::new();
        content.extend(said.text.as_ref().filter(|text| !text.is_empty()).map(|text| text_part(text)));
        content.extend(said.refusal.as_ref().map(|refusal| json!({"type": "refusal", "refusal": refusal})));
        if !content.is_empty() {
            let status = if said.calls.is_empty() { self.last_status() } else { "completed" };
            output.push(json!({"id": self.item_id("msg", output.len()), "type": "message", "status": status,
                               "role": "assistant", "content": content}));
        }
        let last = said.calls.len().saturating_sub(1);
        for (index, call) in said.calls.iter().enumerate() {
            let status = if index == last { self.last_status() } else { "completed" };
            let item = self.call_item(output.len(), index, call, status);
            output.push(item);
        }
        output
    }

    fn last_status(&self) -> &'static str {
        if self.choice().finish == Finish::Length { "incomplete" } else { "completed" }
    }

    fn thought_item(&self, thought: &Thought) -> Value {
        let shows = self.request.summarizes && !thought.redacted;
        let summary = if shows { json!([{"type": "summary_text", "text": thought.text}]) } else { json!([]) };
        let mut item = json!({"id": self.item_id("rs", 0), "type": "reasoning", "summary": summary});
        if self.request.includes_sealed {
            item["encrypted_content"] = seal::seal(&thought.text).into();
        }
        item
    }

    fn offered(&self, name: &str) -> Offered {
        self.request.offered.get(name).cloned().unwrap_or_default()
    }

    fn call_item(&self, item: usize, index: usize, call: &ToolCall, status: &str) -> Value {
        let Offered { is_custom, namespace } = self.offered(&call.name);
        let call_id = match call.id.as_str() {
            "" => format!("call_{}{index:02}", self.id.get(self.id.len().saturating_sub(20)..).unwrap_or(&self.id)),
            id => id.to_owned(),
        };
        let (kind, begins, key) = match is_custom {
            true => ("custom_tool_call", "ctc", "input"),
            false => ("function_call", "fc", "arguments"),
        };
        let mut item = json!({"id": self.item_id(begins, item), "type": kind, "status": status, "call_id": call_id,
                              "name": call.name});
        item[key] = call.arguments.as_str().into();
        if let Some(namespace) = namespace {
            item["namespace"] = namespace.into();
        }
        item
    }

    fn usage_block(&self) -> Value {
        let BilledTokens { input, cached_input, cache_write, .. } = self.tokens;
        let (output, reasoning) = self.generation.reported_tokens();
        let shown = |tokens: u64| if self.usage == UsageReport::Zero { 0 } else { tokens };
        json!({
            "input_tokens": shown(input),
            "input_tokens_details": {"cached_tokens": shown(cached_input), "cache_write_tokens": shown(cache_write)},
            "output_tokens": shown(output), "output_tokens_details": {"reasoning_tokens": shown(reasoning)},
            "total_tokens": shown(input + output),
        })
    }

    /// The steps of the stream, with what the script lets go wrong.
    pub(super) fn acts(&self, manner: &Manner) -> Vec<Act> {
        let events = self.events(manner);
        let written = events.written;
        disturbed(events.acts, manner, |after, fault| {
            let sequence_number = after.min(written);
            let event = match manner.ending {
                Ending::Failed(..) => {
                    let mut response = self.object("failed", Vec::new());
                    response["error"] = json!({"code": code(fault), "message": fault.message()});
                    frame("response.failed", json!({"response": response, "sequence_number": sequence_number}))
                }
                _ => frame(
                    "error",
                    json!({"code": code(fault), "message": fault.message(), "param": null,
                           "sequence_number": sequence_number}),
                ),
            };
            vec![Act::Bytes(event)]
        })
    }

    /// Every event of an undisturbed stream.
    fn events(&self, manner: &Manner) -> Events {
        let mut events = Events { obfuscates: self.request.obfuscates, ..Events::default() };
        let begun = self.object("in_progress", Vec::new());
        events.push("response.created", json!({"response": begun}));
        events.push("response.in_progress", json!({"response": begun}));
        let output = self.output();
        let mut deltas = self.choice().deltas.iter().peekable();
        for (index, item) in output.iter().enumerate() {
            let mut opening = item.clone();
            match item["type"].as_str() {
                Some("reasoning") => {
                    opening["summary"] = json!([]);
                    events.push("response.output_item.added", json!({"output_index": index, "item": opening}));
                    think(&mut events, index, item);
                }
                Some("message") => {
                    opening["status"] = "in_progress".into();
                    opening["content"] = json!([]);
                    events.push("response.output_item.added", json!({"output_index": index, "item": opening}));
                    for (at, part) in item["content"].as_array().into_iter().flatten().enumerate() {
                        let is_text = part["type"] == "output_text";
                        let place = json!({"item_id": item["id"], "output_index": index, "content_index": at});
                        let pieces = std::iter::from_fn(|| {
                            let same = |delta: &&Delta| match delta {
                                Delta::Text(_) => is_text,
                                Delta::Refusal(_) => !is_text,
                                _ => false,
                            };
                            deltas.next_if(same).map(|delta| self.choice().piece(delta))
                        });
                        say(&mut events, &place, part, pieces);
                    }
                }
                _ => {
                    let key = if item["input"].is_string() { "input" } else { "arguments" };
                    opening["status"] = "in_progress".into();
                    opening[key] = "".into();
                    events.token("response.output_item.added", json!({"output_index": index, "item": opening}));
                    deltas.next_if(|delta| matches!(delta, Delta::CallStart(_)));
                    let pieces = std::iter::from_fn(|| {
                        let delta = deltas.next_if(|delta| matches!(delta, Delta::Arguments(..)))?;
                        Some(self.choice().piece(delta))
                    });
                    call(&mut events, index, item, pieces);
                }
            }
            events.push("response.output_item.done", json!({"output_index": index, "item": item}));
        }
        events.acts.push(Act::Complete);
        if manner.ending != Ending::WithoutDone {
            let response = self.response();
            let kind = if response["status"] == "completed" { "response.completed" } else { "response.incomplete" };
            let times = if self.usage == UsageReport::Twice { 2 } else { 1 };
            (0..times).for_each(|_| events.push(kind, json!({"response": response})));
        }
        events
    }
}

fn text_part(text: &str) -> Value {
    json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []})
}

/// `place` with more fields.
fn at(place: &Value, more: Value) -> Value {
    let mut whole = place.clone();
    if let (Some(whole), Value::Object(more)) = (whole.as_object_mut(), more) {
        whole.extend(more);
    }
    whole
}

/// The summary of a thought. Its tokens were generated before the first byte.
fn think(events: &mut Events, index: usize, item: &Value) {
    for (number, part) in item["summary"].as_array().into_iter().flatten().enumerate() {
        let place = json!({"item_id": item["id"], "output_index": index, "summary_index": number});
        let empty = json!({"type": "summary_text", "text": ""});
        events.push("response.reasoning_summary_part.added", at(&place, json!({"part": empty})));
        for piece in tokens(part["text"].as_str().unwrap_or_default()) {
            events.push("response.reasoning_summary_text.delta", at(&place, json!({"delta": piece})));
        }
        events.push("response.reasoning_summary_text.done", at(&place, json!({"text": part["text"]})));
        events.push("response.reasoning_summary_part.done", at(&place, json!({"part": part})));
    }
}

fn say<'p>(events: &mut Events, place: &Value, part: &Value, pieces: impl Iterator<Item = &'p str>) {
    let is_text = part["type"] == "output_text";
    let empty = if is_text { text_part("") } else { json!({"type": "refusal", "refusal": ""}) };
    events.push("response.content_part.added", at(place, json!({"part": empty})));
    for piece in pieces {
        match is_text {
            true => events.token("response.output_text.delta", at(place, json!({"delta": piece, "logprobs": []}))),
            false => events.token("response.refusal.delta", at(place, json!({"delta": piece}))),
        }
    }
    match is_text {
        true => events.push("response.output_text.done", at(place, json!({"text": part["text"], "logprobs": []}))),
        false => events.push("response.refusal.done", at(place, json!({"refusal": part["refusal"]}))),
    }
    events.push("response.content_part.done", at(place, json!({"part": part})));
}

fn call<'p>(events: &mut Events, index: usize, item: &Value, pieces: impl Iterator<Item = &'p str>) {
    let place = json!({"item_id": item["id"], "output_index": index});
    let is_custom = item["type"] == "custom_tool_call";
    let delta =
        if is_custom { "response.custom_tool_call_input.delta" } else { "response.function_call_arguments.delta" };
    for piece in pieces {
        events.token(delta, at(&place, json!({"delta": piece})));
    }
    match is_custom {
        true => events.push("response.custom_tool_call_input.done", at(&place, json!({"input": item["input"]}))),
        false => {
            let done = json!({"name": item["name"], "arguments": item["arguments"]});
            events.push("response.function_call_arguments.done", at(&place, done));
        }
    }
}

/// The closed list of codes that a response fails with.
fn code(fault: Fault) -> &'static str {
    match fault {
        Fault::Server | Fault::Overloaded => "server_error",
        Fault::RateLimited => "rate_limit_exceeded",
    }
}
