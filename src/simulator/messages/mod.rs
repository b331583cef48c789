//! Anthropic's side of the simulated provider: `/v1/messages`, `/v1/messages/count_tokens`, `/v1/models`.
//!
//! It refuses what the real API refuses, in its words; keeps prefixes where the client marked them; signs its
//! thoughts and checks them when they come back; and reports input, cache reads and cache writes as parts that add
//! up. <https://platform.claude.com/docs/en/api/overview>

mod blocks;
mod fields;
mod marks;
mod model;
mod render;
mod request;
#[cfg(test)]
mod tests;
mod turns;

use std::sync::PoisonError;
use std::time::Instant;

use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::{Value, json};

pub(super) use self::marks::MarkedCache;
use self::model::Claude;
use self::render::Renderer;
use self::request::{Header, MessagesRequest, Purpose, Thinking};
use super::answer::{Generation, shown_thought};
use super::performance::{Answered, Asked, Spoken, Written};
use super::prices::{BilledTokens, PriceClass};
use super::request::{Delivery, Message};
use super::script::{Answer, Manner, ModelScript, What};
use super::server::{Arrived, Server, whole};

/// What stands in every answer.
pub(super) const HEADERS: [(&str, &str); 10] = [
    ("anthropic-organization-id", "00000000-0000-4000-8000-000000000000"),
    ("anthropic-ratelimit-requests-limit", "4000"),
    ("anthropic-ratelimit-requests-remaining", "3999"),
    ("anthropic-ratelimit-requests-reset", "2026-11-28T00:00:00Z"),
    ("anthropic-ratelimit-input-tokens-limit", "2000000"),
    ("anthropic-ratelimit-input-tokens-remaining", "1999000"),
    ("anthropic-ratelimit-input-tokens-reset", "2026-11-28T00:00:00Z"),
    ("anthropic-ratelimit-output-tokens-limit", "400000"),
    ("anthropic-ratelimit-output-tokens-remaining", "399000"),
    ("anthropic-ratelimit-output-tokens-reset", "2026-11-28T00:00:00Z"),
];

impl Server {
    pub(super) async fn answer_as_anthropic(&self, arrived: Arrived) -> Answered {
        let path = arrived.head.uri.path().to_owned();
        if (&arrived.head.method, path.as_str()) == (&Method::HEAD, "/") {
            return Ok(whole(arrived, StatusCode::OK, Bytes::new()));
        }
        if let Some(message) = self.refuse_anthropic_key(&arrived) {
            return Ok(refuse(arrived, StatusCode::UNAUTHORIZED, message));
        }
        if let Err(message) = version(&arrived) {
            return Ok(refuse(arrived, StatusCode::BAD_REQUEST, &message));
        }
        match (&arrived.head.method, path.as_str()) {
            (&Method::POST, "/v1/messages") => self.message(arrived).await,
            (&Method::POST, "/v1/messages/count_tokens") => Ok(match self.count(&arrived) {
                Ok(tokens) => whole(arrived, StatusCode::OK, json!({"input_tokens": tokens}).to_string().into()),
                Err((status, message)) => refuse(arrived, status, &message),
            }),
            (&Method::GET, "/v1/models") => {
                let data: Vec<_> = self.model_names().into_iter().map(model_object).collect();
                let (first, last) = (data.first().map(|model| &model["id"]), data.last().map(|model| &model["id"]));
                let list = json!({"data": data, "has_more": false, "first_id": first, "last_id": last});
                Ok(whole(arrived, StatusCode::OK, list.to_string().into()))
            }
            (&Method::GET, path) if path.starts_with("/v1/models/") => {
                let name = path.trim_start_matches("/v1/models/");
                Ok(match self.model_names().contains(&name) {
                    true => whole(arrived, StatusCode::OK, model_object(name).to_string().into()),
                    false => refuse(arrived, StatusCode::NOT_FOUND, &format!("model: {name}")),
                })
            }
            (_, "/v1/messages" | "/v1/messages/count_tokens" | "/v1/models") => {
                Ok(refuse(arrived, StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed"))
            }
            _ => Ok(refuse(arrived, StatusCode::NOT_FOUND, "Not Found")),
        }
    }

    /// Takes `x-api-key` before `authorization`, as the real API does.
    fn refuse_anthropic_key(&self, arrived: &Arrived) -> Option<&'static str> {
        let wanted = self.key()?;
        let bearer = arrived.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
        match (arrived.header("x-api-key"), bearer) {
            (Some(found), _) => (found != wanted).then_some("invalid x-api-key"),
            (None, Some(found)) => (found != wanted).then_some("Invalid bearer token"),
            (None, None) => Some("x-api-key header is required"),
        }
    }

    async fn message(&self, arrived: Arrived) -> Answered {
        let body = arrived.body.clone();
        let body: Value = match serde_json::from_slice(&body) {
            Ok(body) => body,
            Err(error) => return Ok(refuse(arrived, StatusCode::BAD_REQUEST, &no_json(&error))),
        };
        let read = {
            let version = version(&arrived).unwrap_or_default();
            let header = Header { version, betas: arrived.header("anthropic-beta").unwrap_or_default() };
            MessagesRequest::read(&body, &header, Purpose::Answer)
        };
        let request = match read {
            Ok(request) => request,
            Err(message) => return Ok(refuse(arrived, StatusCode::BAD_REQUEST, &message)),
        };
        let asked = Asked {
            model: request.model.to_owned(),
            class: PriceClass::Standard,
            last_words: request.last_user_text(),
            delivery: request.delivery,
        };
        let request_id = arrived.request_id.clone();
        let say = |script: &ModelScript, manner: &Manner, what: &What| {
            self.say_as_claude(&request, &request_id, script, manner, what)
        };
        self.perform(arrived, &asked, say).await
    }

    fn count(&self, arrived: &Arrived) -> Result<u64, (StatusCode, String)> {
        let bad = |message: String| (StatusCode::BAD_REQUEST, message);
        let body: Value = serde_json::from_slice(&arrived.body).map_err(|error| bad(no_json(&error)))?;
        let version = version(arrived).map_err(bad)?;
        let header = Header { version, betas: arrived.header("anthropic-beta").unwrap_or_default() };
        let request = MessagesRequest::read(&body, &header, Purpose::Count).map_err(bad)?;
        match self.model(request.model) {
            Some(_) => Ok(request.prompt.count()),
            None => Err((StatusCode::NOT_FOUND, format!("model: {}", request.model))),
        }
    }

    fn say_as_claude(
        &self,
        request: &MessagesRequest<'_>,
        request_id: &str,
        script: &ModelScript,
        manner: &Manner,
        what: &What,
    ) -> Spoken {
        let mut answer = self.answer_to(what, &request.last_user_text(), &conversation(request));
        let reasoning = if request.thinking == Thinking::Off { 0 } else { script.thinks(&answer) };
        let thought = shown_thought(&answer, reasoning, script.habits.reasoning_report);
        let stop_sequence = cut_at_stop(&mut answer, &request.stop_sequences);
        // The words of a refusal are no output: they stand beside it.
        let refusal = answer.refusal.take();
        let generation = Generation::of(vec![answer], Some(request.output_limit), reasoning, &script.habits);
        let met = {
            let tokens_min = Claude::named(request.model).cached_tokens_min();
            let mut marked = self.marked.lock().unwrap_or_else(PoisonError::into_inner);
            marked.read_and_write(&request.prompt, tokens_min, Instant::now())
        };
        let tokens = BilledTokens {
            input: request.prompt.count(),
            cached_input: met.read,
            cache_write: met.written_5m + met.written_1h,
            cache_write_1h: met.written_1h,
            output: generation.output_tokens(),
            reasoning: generation.reasoning,
        };
        let renderer = Renderer {
            id: format!("msg_01{}", &self.fresh_id()[10..]),
            request_id: request_id.to_owned(),
            model: script.reply_name.clone().unwrap_or_else(|| request.model.to_owned()),
            generation,
            thought,
            omits_thoughts: request.omits_thoughts,
            stop_sequence,
            refusal,
            input_tokens: tokens.input,
            met,
            usage: manner.usage,
        };
        let written = match request.delivery {
            Delivery::Whole => Written::Document(renderer.document()),
            Delivery::Streamed => Written::Frames(renderer.acts(manner)),
        };
        Spoken { tokens, written }
    }
}

/// Ends the text before the first of the stop sequences that it meets, and says nothing after it.
fn cut_at_stop(answer: &mut Answer, stops: &[&str]) -> Option<String> {
    let text = answer.text.as_mut()?;
    let (at, stop) = stops.iter().filter_map(|stop| Some((text.find(stop)?, *stop))).min()?;
    text.truncate(at);
    answer.calls.clear();
    Some(stop.to_owned())
}

/// The conversation in chat's words, which recordings are kept in.
fn conversation(request: &MessagesRequest<'_>) -> Vec<Message> {
    let mut messages = Vec::new();
    for turn in &request.turns {
        let of_kind = |kind: &'static str| turn.blocks.iter().filter(move |block| block.kind == kind);
        for result in of_kind("tool_result") {
            messages.push(json!({"role": "tool", "tool_call_id": result.call, "content": result.words}));
        }
        let text = turn.text();
        let calls = of_kind("tool_use").filter_map(|block| {
            let object = block.object.as_ref()?;
            let (name, input) = (object.find("name")?, object.find("input")?);
            Some(json!({"id": block.call, "function": {"name": name, "arguments": input.to_string()}}))
        });
        let calls: Vec<Value> = calls.collect();
        if !text.is_empty() || !calls.is_empty() {
            messages.push(json!({"role": turn.role, "content": text, "tool_calls": calls}));
        }
    }
    messages.into_iter().filter_map(|message| serde_json::from_value(message).ok()).collect()
}

/// The version that the request names; both that were ever published are known.
fn version(arrived: &Arrived) -> Result<&str, String> {
    match arrived.header("anthropic-version") {
        None => Err("anthropic-version: header is required".to_owned()),
        Some(version @ ("2023-06-01" | "2026-10-21")) => Ok(version),
        Some(other) => Err(format!("anthropic-version: \"{other}\" is not a valid version")),
    }
}

fn no_json(error: &serde_json::Error) -> String {
    format!("The request body is not valid JSON: {error}")
}

fn refuse(arrived: Arrived, status: StatusCode, message: &str) -> http::Response<super::server::ReplyBody> {
    let body = error_body(error_kind(status.as_u16()), message, &arrived.request_id);
    whole(arrived, status, body)
}

fn model_object(name: &str) -> Value {
    let most = Claude::named(name).output_tokens_max();
    json!({"type": "model", "id": name, "display_name": name, "created_at": "2026-07-09T00:00:00Z",
           "lifecycle": "active", "deprecated_at": null, "retires_at": null, "line": null, "capabilities": null,
           "max_input_tokens": 1_000_000, "max_tokens": most})
}

/// The body of a status that the script wants.
pub(super) fn scripted_error(status: u16, request_id: &str) -> Bytes {
    let message = match status {
        529 => "Overloaded".to_owned(),
        _ => format!("The simulated provider was told to answer with {status}."),
    };
    error_body(error_kind(status), &message, request_id)
}

/// <https://platform.claude.com/docs/en/api/errors>
fn error_kind(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        504 => "timeout_error",
        529 => "overloaded_error",
        400..=499 => "invalid_request_error",
        _ => "api_error",
    }
}

/// An error in Anthropic's shape.
pub(super) fn error_body(kind: &str, message: &str, request_id: &str) -> Bytes {
    json!({"type": "error", "error": {"type": kind, "message": message}, "request_id": request_id}).to_string().into()
}
