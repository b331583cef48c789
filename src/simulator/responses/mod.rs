//! OpenAI's Responses in the simulated provider: `/v1/responses` and everything below it.
//!
//! It refuses what the real API refuses, in its words and with its codes; keeps responses by id; seals its thoughts
//! and checks them when they come back; and writes whole objects into every event.
//! <https://platform.openai.com/docs/api-reference/responses>

mod items;
mod kept;
mod refusal;
mod render;
mod request;
#[cfg(test)]
mod tests;

use std::sync::PoisonError;

use http::{Method, StatusCode};
use serde_json::{Value, json};

pub(super) use self::kept::Kept;

use self::kept::Held;
use self::refusal::{Read, Refusal};
use self::render::Renderer;
use self::request::ResponsesRequest;
use super::answer::{Generation, shown_thought};
use super::performance::{Answered, Asked, Spoken, Written};
use super::prices::BilledTokens;
use super::request::{Delivery, Message};
use super::script::{Answer, Manner, ModelScript, What};
use super::server::{Arrived, Server, stream, unix_seconds, whole};

impl Server {
    /// Answers what stands at `path` below `/v1/responses`.
    pub(super) async fn answer_responses(&self, arrived: Arrived, method: &Method, path: &str) -> Answered {
        if let (&Method::POST, "") = (method, path) {
            return self.respond(arrived).await;
        }
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let found = match (method, parts.as_slice()) {
            (&Method::POST, ["input_tokens"]) => self.count_input(&arrived),
            (&Method::GET, [id]) if asked(&arrived, "stream") == Some("true") => {
                let after = asked(&arrived, "starting_after").and_then(|number| number.parse().ok());
                let events = self.held(id, |held| {
                    held.is_queued = false;
                    let message = || format!("Response with id '{id}' cannot be streamed.");
                    held.events(after).ok_or_else(|| Refusal::bad(message(), "stream", None))
                });
                match events {
                    Ok(events) => return Ok(stream(arrived, events)),
                    Err(refusal) => Err(refusal),
                }
            }
            (&Method::GET, [id]) => self.held(id, |held| {
                // Who asks for the first time finds it done: nothing here depends on time.
                held.is_queued = false;
                Ok(held.response.clone())
            }),
            (&Method::DELETE, [id]) => match self.kept(|kept| kept.forget(id)) {
                true => Ok(json!({"id": id, "object": "response", "deleted": true})),
                false => Err(no_response(id)),
            },
            (&Method::POST, [id, "cancel"]) => self.held(id, cancel),
            (&Method::GET, [id, "input_items"]) => self.held(id, |held| {
                let data: Vec<_> = held.input.iter().rev().collect();
                let (first, last) = (data.first().map(|item| &item["id"]), data.last().map(|item| &item["id"]));
                Ok(json!({"object": "list", "data": data, "first_id": first, "last_id": last, "has_more": false}))
            }),
            _ => Err(Refusal::not_found(format!("Invalid URL ({method} /v1/responses{path})"))),
        };
        Ok(match found {
            Ok(body) => whole(arrived, StatusCode::OK, body.to_string().into()),
            Err(refusal) => whole(arrived, refusal.status, refusal.body()),
        })
    }

    fn kept<T>(&self, act: impl FnOnce(&mut Kept) -> T) -> T {
        act(&mut self.responses.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn held<T>(&self, id: &str, act: impl FnOnce(&mut Held) -> Read<T>) -> Read<T> {
        self.kept(|kept| kept.find(id).map_or_else(|| Err(no_response(id)), act))
    }

    fn count_input(&self, arrived: &Arrived) -> Read<Value> {
        let body = parse(arrived)?;
        let request = self.kept(|kept| ResponsesRequest::read(&body, kept))?;
        Ok(json!({"object": "response.input_tokens", "input_tokens": request.prompt_tokens().count()}))
    }

    async fn respond(&self, arrived: Arrived) -> Answered {
        let body = match parse(&arrived) {
            Ok(body) => body,
            Err(refusal) => return Ok(whole(arrived, refusal.status, refusal.body())),
        };
        let request = match self.kept(|kept| ResponsesRequest::read(&body, kept)) {
            Ok(request) => request,
            Err(refusal) => return Ok(whole(arrived, refusal.status, refusal.body())),
        };
        let asked = Asked {
            model: request.model.to_owned(),
            class: request.class,
            last_words: items::last_user_text(&request.context),
            delivery: request.delivery,
        };
        let say =
            |script: &ModelScript, manner: &Manner, what: &What| self.say_as_response(&request, script, manner, what);
        self.perform(arrived, &asked, say).await
    }

    fn say_as_response(
        &self,
        request: &ResponsesRequest<'_>,
        script: &ModelScript,
        manner: &Manner,
        what: &What,
    ) -> Spoken {
        let mut answer =
            self.answer_to(what, &items::last_user_text(&request.context), &conversation(&request.context));
        unwrap_custom(&mut answer, request);
        let reasoning = if request.reasons { script.thinks(&answer) } else { 0 };
        let thought = shown_thought(&answer, reasoning, script.habits.reasoning_report);
        let generation = Generation::of(vec![answer], request.output_limit, reasoning, &script.habits);
        let prompt = request.prompt_tokens();
        let cache = self.read_prefixes(&prompt, script);
        let tokens = BilledTokens {
            input: prompt.count(),
            cached_input: cache.cached,
            cache_write: cache.written,
            cache_write_1h: 0,
            output: generation.output_tokens(),
            reasoning: generation.reasoning,
        };
        let renderer = Renderer {
            id: format!("resp_{}", self.fresh_id()),
            created: unix_seconds(),
            model: script.reply_name.clone().unwrap_or_else(|| request.model.to_owned()),
            request,
            generation,
            thought,
            tokens,
            usage: manner.usage,
        };
        if request.stores {
            self.keep(&renderer, request);
        }
        let written = match request.delivery {
            Delivery::Whole if request.is_background => {
                Written::Document(renderer.object("queued", Vec::new()).to_string().into())
            }
            Delivery::Whole => Written::Document(renderer.response().to_string().into()),
            Delivery::Streamed => Written::Frames(renderer.acts(manner)),
        };
        Spoken { tokens, written }
    }

    fn keep(&self, renderer: &Renderer<'_>, request: &ResponsesRequest<'_>) {
        let named = |(index, item): (usize, &Value)| {
            let mut item = item.clone();
            if item["id"].is_null() {
                item["id"] = format!("msg_{}i{index:02}", renderer.id.trim_start_matches("resp_")).into();
            }
            item
        };
        let held = Held {
            response: renderer.response(),
            input: request.input.iter().enumerate().map(named).collect(),
            context: request.context.iter().cloned().chain(renderer.output()).collect(),
            is_queued: request.is_background,
            is_streamed: request.delivery == Delivery::Streamed,
        };
        self.kept(|kept| kept.keep(&renderer.id, held));
    }
}

/// What the query says of a name.
fn asked<'a>(arrived: &'a Arrived, name: &str) -> Option<&'a str> {
    let pairs = arrived.head.uri.query()?.split('&').filter_map(|pair| pair.split_once('='));
    pairs.filter(|(key, _)| *key == name).map(|(_, value)| value).next()
}

fn parse(arrived: &Arrived) -> Read<Value> {
    serde_json::from_slice(&arrived.body).map_err(|error| {
        let message = format!("We could not parse the JSON body of your request. The parser said: {error}");
        Refusal::bad(message, "", None)
    })
}

fn no_response(id: &str) -> Refusal {
    Refusal::not_found(format!("Response with id '{id}' not found."))
}

/// Ends a response of the background; one that was waited for has nothing to end.
fn cancel(held: &mut Held) -> Read<Value> {
    if held.response["background"] != true {
        return Err(Refusal::bad("Cannot cancel a synchronous response.", "", None));
    }
    if held.is_queued {
        held.is_queued = false;
        held.response["status"] = "cancelled".into();
        for key in ["completed_at", "usage"] {
            held.response[key] = Value::Null;
        }
        held.response["output"] = json!([]);
    }
    Ok(held.response.clone())
}

/// A custom tool takes text: what a script has as `{"input": "…"}` is said as it is.
fn unwrap_custom(answer: &mut Answer, request: &ResponsesRequest<'_>) {
    for call in &mut answer.calls {
        if request.offered.get(&call.name).is_some_and(|offered| offered.is_custom)
            && let Ok(Value::Object(arguments)) = serde_json::from_str(&call.arguments)
            && let Some(input) = arguments.get("input").and_then(Value::as_str)
        {
            call.arguments = input.to_owned();
        }
    }
}

/// The conversation in chat's words, which recordings are kept in.
fn conversation(context: &[Value]) -> Vec<Message> {
    let mut messages: Vec<Value> = Vec::new();
    for item in context {
        match item["type"].as_str() {
            Some("message") => {
                messages.push(json!({"role": item["role"], "content": items::words(&item["content"])}));
            }
            Some("function_call" | "custom_tool_call") => {
                let arguments = item["arguments"].as_str().or(item["input"].as_str());
                let call = json!({"id": item["call_id"], "function": {"name": item["name"], "arguments": arguments}});
                match messages.last_mut().filter(|last| last["role"] == "assistant") {
                    Some(last) if last["tool_calls"].is_array() => {
                        last["tool_calls"].as_array_mut().into_iter().for_each(|calls| calls.push(call.clone()));
                    }
                    Some(last) => last["tool_calls"] = json!([call]),
                    None => messages.push(json!({"role": "assistant", "content": "", "tool_calls": [call]})),
                }
            }
            Some("function_call_output" | "custom_tool_call_output") => messages.push(json!(
                {"role": "tool", "tool_call_id": item["call_id"], "content": items::words(&item["output"])}
            )),
            _ => {}
        }
    }
    messages.into_iter().filter_map(|message| serde_json::from_value(message).ok()).collect()
}
