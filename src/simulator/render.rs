//! Writes answers as the OpenAI API does: whole documents, chunks and error bodies.
//!
//! Keys come in the order of the real API, nullable keys are present, `usage` is null on every chunk
//! but the last when it was asked for, and that last chunk has no choices.
//! <https://platform.openai.com/docs/api-reference/chat-streaming>

use bytes::Bytes;
use serde_json::{Value, json};

use super::answer::{Choice, Delta, Generation};
use super::prices::BilledTokens;
use super::script::{CacheWrites, Fault, UsageReport};
use super::tokenizer::tokens;

/// Everything about an answer that is fixed before its first byte.
#[derive(Debug)]
pub(super) struct Renderer {
    pub(super) id: String,
    pub(super) created: u64,
    pub(super) model: String,
    pub(super) service_tier: &'static str,
    pub(super) generation: Generation,
    /// What is billed; the usage block shows it unless a habit hides some.
    pub(super) tokens: BilledTokens,
    pub(super) cache_writes: CacheWrites,
    pub(super) usage: UsageReport,
    pub(super) logprobs: bool,
    /// Chunks carry `"usage":null` and the last one the figures.
    pub(super) includes_usage: bool,
    pub(super) obfuscates: bool,
}

const FINGERPRINT: &str = "fp_50cad350e4";

impl Renderer {
    /// The whole answer as one document.
    pub(super) fn document(&self) -> Bytes {
        let choices: Vec<_> =
            self.generation.choices.iter().enumerate().map(|(i, c)| self.whole_choice(i, c)).collect();
        let mut document = json!({
            "id": self.id, "object": "chat.completion", "created": self.created, "model": self.model,
            "choices": choices,
            "usage": self.usage_block(),
            "service_tier": self.service_tier, "system_fingerprint": FINGERPRINT,
        });
        if self.usage == UsageReport::Missing
            && let Some(fields) = document.as_object_mut()
        {
            fields.remove("usage");
        }
        serde_json::to_vec(&document).unwrap_or_default().into()
    }

    fn whole_choice(&self, index: usize, choice: &Choice) -> Value {
        let said = choice.said();
        let mut message = json!({
            "role": "assistant", "content": said.text, "refusal": said.refusal, "annotations": [],
        });
        if !said.calls.is_empty() {
            let call = |(i, call): (usize, &super::script::ToolCall)| {
                json!({"id": self.call_id(index, i, &call.id), "type": "function",
                       "function": {"name": call.name, "arguments": call.arguments}})
            };
            message["tool_calls"] = said.calls.iter().enumerate().map(call).collect();
        }
        let logprobs = if self.logprobs {
            let likely = |text: Option<&String>| text.map(|text| tokens(text).map(logprob).collect::<Value>());
            json!({"content": likely(said.text.as_ref()), "refusal": likely(said.refusal.as_ref())})
        } else {
            Value::Null
        };
        json!({"index": index, "message": message, "logprobs": logprobs, "finish_reason": choice.finish.as_str()})
    }

    /// The opening chunk of a choice: its role.
    pub(super) fn role_chunk(&self, choice: usize) -> Bytes {
        let said_by_call = matches!(self.generation.choices[choice].deltas.first(), Some(Delta::Refusal(_)));
        let content = if said_by_call { "null" } else { "\"\"" };
        let delta = format!("{{\"role\":\"assistant\",\"content\":{content},\"refusal\":null}}");
        self.choice_chunk(choice, &delta, "null", None)
    }

    /// The chunk of one delta. A call that opens a choice carries the role too.
    pub(super) fn delta_chunk(&self, choice: usize, index: usize) -> Bytes {
        let source = &self.generation.choices[choice];
        let delta = &source.deltas[index];
        let piece = source.piece(delta);
        let body = match delta {
            Delta::Text(_) => format!("{{\"content\":{}}}", quoted(piece)),
            Delta::Refusal(_) => format!("{{\"refusal\":{}}}", quoted(piece)),
            Delta::CallStart(call) => self.call_start(choice, index, *call),
            Delta::Arguments(call, _) => {
                format!("{{\"tool_calls\":[{{\"index\":{call},\"function\":{{\"arguments\":{}}}}}]}}", quoted(piece))
            }
        };
        let logprobs = match delta {
            Delta::Text(_) if self.logprobs => json!({"content": [logprob(piece)], "refusal": null}).to_string(),
            Delta::Refusal(_) if self.logprobs => json!({"content": null, "refusal": [logprob(piece)]}).to_string(),
            _ => "null".to_owned(),
        };
        self.choice_chunk(choice, &body, &logprobs, None)
    }

    fn call_start(&self, choice: usize, index: usize, call: usize) -> String {
        let called = &self.generation.choices[choice].answer.calls[call];
        let start = json!({"index": call, "id": self.call_id(choice, call, &called.id), "type": "function",
                           "function": {"name": called.name, "arguments": ""}});
        if index == 0 {
            format!("{{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{start}],\"refusal\":null}}")
        } else {
            format!("{{\"tool_calls\":[{start}]}}")
        }
    }

    /// The chunk that says why a choice ended.
    pub(super) fn finish_chunk(&self, choice: usize) -> Bytes {
        self.choice_chunk(choice, "{}", "null", Some(self.generation.choices[choice].finish.as_str()))
    }

    /// The chunk without choices that carries the usage.
    pub(super) fn usage_chunk(&self) -> Bytes {
        let mut text = self.opening();
        text.push_str("[],\"usage\":");
        text.push_str(&self.usage_block().to_string());
        self.close(text, "")
    }

    fn choice_chunk(&self, choice: usize, delta: &str, logprobs: &str, finish: Option<&str>) -> Bytes {
        let mut text = self.opening();
        let finish = finish.map_or_else(|| "null".to_owned(), quoted);
        text.push_str(&format!(
            "[{{\"index\":{choice},\"delta\":{delta},\"logprobs\":{logprobs},\"finish_reason\":{finish}}}]"
        ));
        if self.includes_usage {
            text.push_str(",\"usage\":null");
        }
        self.close(text, delta)
    }

    fn opening(&self) -> String {
        let mut text = String::with_capacity(384);
        text.push_str(&format!(
            "data: {{\"id\":\"{}\",\"object\":\"chat.completion.chunk\",\"created\":{},\"model\":{},\
             \"service_tier\":\"{}\",\"system_fingerprint\":\"{FINGERPRINT}\",\"choices\":",
            self.id,
            self.created,
            quoted(&self.model),
            self.service_tier
        ));
        text
    }

    /// Pads a chunk so that its size says nothing about its token, if asked to.
    fn close(&self, mut text: String, delta: &str) -> Bytes {
        if self.obfuscates {
            let padding = "kV3xQ9sWb2Lr7TnY5mHc".get(..20 - delta.len() % 20).unwrap_or_default();
            text.push_str(&format!(",\"obfuscation\":\"{padding}\""));
        }
        text.push_str("}\n\n");
        text.into()
    }

    fn call_id(&self, choice: usize, call: usize, scripted: &str) -> String {
        if !scripted.is_empty() {
            return scripted.to_owned();
        }
        let unique = self.id.get(self.id.len().saturating_sub(20)..).unwrap_or(&self.id);
        format!("call_{unique}{choice:02}{call:02}")
    }

    fn usage_block(&self) -> Value {
        let BilledTokens { input, cached_input, cache_write, .. } = self.tokens;
        let (output, reasoning) = self.generation.reported_tokens();
        let shown = |tokens: u64| if self.usage == UsageReport::Zero { 0 } else { tokens };
        let mut details = json!({"cached_tokens": shown(cached_input), "audio_tokens": 0});
        if self.cache_writes == CacheWrites::Billed {
            details["cache_write_tokens"] = shown(cache_write).into();
        }
        json!({
            "prompt_tokens": shown(input), "completion_tokens": shown(output), "total_tokens": shown(input + output),
            "prompt_tokens_details": details,
            "completion_tokens_details": {
                "reasoning_tokens": shown(reasoning), "audio_tokens": 0,
                "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0,
            },
        })
    }
}

fn logprob(token: &str) -> Value {
    let spread = token.bytes().map(u32::from).sum::<u32>() % 97;
    json!({"token": token, "logprob": -f64::from(spread) / 256.0, "bytes": token.as_bytes(), "top_logprobs": []})
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// The error body of a status that the script wants.
pub(super) fn scripted_error(status: u16) -> Bytes {
    let (kind, code) = match status {
        401 => ("invalid_request_error", Some("invalid_api_key")),
        404 => ("invalid_request_error", Some("model_not_found")),
        429 => ("requests", Some("rate_limit_exceeded")),
        400..=499 => ("invalid_request_error", None),
        _ => ("server_error", None),
    };
    error_body(&format!("The simulated provider was told to answer with {status}."), kind, None, code)
}

/// The event that ends a stream in an error.
pub(super) fn fault_event(fault: Fault) -> Bytes {
    let error = error_body(fault.message(), fault.kind(), None, fault.code());
    [b"data: ".as_slice(), &error, b"\n\n"].concat().into()
}

impl Fault {
    pub(super) fn message(self) -> &'static str {
        match self {
            Self::Server => "The server had an error while processing your request. Sorry about that!",
            Self::Overloaded => "The server is currently overloaded with other requests. Please try again later.",
            Self::RateLimited => "Rate limit reached on tokens per min (TPM). Please try again in 2s.",
        }
    }

    fn kind(self) -> &'static str {
        match self {
            Self::Server | Self::Overloaded => "server_error",
            Self::RateLimited => "tokens",
        }
    }

    fn code(self) -> Option<&'static str> {
        match self {
            Self::Server => None,
            Self::Overloaded => Some("server_overloaded"),
            Self::RateLimited => Some("rate_limit_exceeded"),
        }
    }
}

/// An error in OpenAI's shape.
pub(super) fn error_body(message: &str, kind: &str, param: Option<&str>, code: Option<&str>) -> Bytes {
    json!({"error": {"message": message, "type": kind, "param": param, "code": code}}).to_string().into()
}
