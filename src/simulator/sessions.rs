//! Recorded sessions in every surface's words, by the simulator's own reading of them.
//!
//! A session is recorded as chat messages. Here the same is said as a client of Messages and one of Responses would have
//! said it from the beginning; nothing of the gateway's translation is used, so that what arrives translated can be held
//! against it. Bodies of one session differ only in what the later ones have more.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::replay::{Replay, ReplaySession};

/// Most output tokens that are asked for where a surface wants a limit.
const OUTPUT_TOKENS: u64 = 1024;

/// The tools of recorded sessions: every name that was called, in one order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Toolbox {
    names: Vec<String>,
}

/// Where a client of Messages marks what is to be kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Marking {
    /// Nowhere.
    Nothing,
    /// Behind its instructions and behind the newest block, as agents do.
    AsAgents,
}

impl Replay {
    /// Every tool that is called in any session.
    pub fn toolbox(&self) -> Toolbox {
        let mut names = BTreeSet::new();
        for message in self.sessions.iter().flat_map(ReplaySession::messages) {
            names.extend(calls(&message).into_iter().map(|call| call.name));
        }
        Toolbox { names: names.into_iter().collect() }
    }
}

impl Toolbox {
    fn described(&self) -> impl Iterator<Item = (&str, String, Value)> {
        self.names.iter().map(|name| {
            let words = name.replace('_', " ");
            (name.as_str(), format!("Performs: {words}. Call it with what the customer has confirmed."), schema())
        })
    }
}

fn schema() -> Value {
    json!({"type": "object", "properties": {"note": {"type": "string"}}, "additionalProperties": true})
}

struct Called {
    id: String,
    name: String,
    arguments: String,
}

fn calls(message: &Value) -> Vec<Called> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let calls = message["tool_calls"].as_array().into_iter().flatten();
    calls
        .map(|call| Called {
            id: text(&call["id"]),
            name: text(&call["function"]["name"]),
            arguments: text(&call["function"]["arguments"]),
        })
        .collect()
}

impl ReplaySession {
    /// Requests of Chat Completions, one for each assistant turn.
    pub fn chat_bodies(&self, model: &str, toolbox: &Toolbox) -> Vec<String> {
        let tools: Vec<Value> = toolbox
            .described()
            .map(|(name, description, schema)| {
                json!({"type": "function", "function": {"name": name, "description": description, "parameters": schema, "strict": false}})
            })
            .collect();
        let body = |said: &[Value]| {
            let mut messages: Vec<Value> = said.to_vec();
            for message in messages.iter_mut().filter_map(Value::as_object_mut) {
                // A result is known by its call; the other surfaces have no name beside it.
                message.retain(|key, _| key != "name");
            }
            json!({"model": model, "messages": messages, "tools": tools}).to_string()
        };
        self.befores().map(|said| body(&said)).collect()
    }

    /// Requests of Messages, one for each assistant turn.
    pub fn messages_bodies(&self, model: &str, toolbox: &Toolbox, marking: Marking) -> Vec<String> {
        let tools: Vec<Value> = toolbox
            .described()
            .map(
                |(name, description, schema)| json!({"name": name, "description": description, "input_schema": schema, "strict": false}),
            )
            .collect();
        let body = |said: &[Value]| {
            let (mut system, mut turns) = (Vec::new(), Vec::<(&str, Vec<Value>)>::new());
            for message in said {
                let (role, blocks) = blocks(message);
                match turns.last_mut().filter(|(last, _)| *last == role) {
                    _ if role == "system" => system.extend(blocks),
                    _ if blocks.is_empty() => {}
                    Some((_, last)) => last.extend(blocks),
                    None => turns.push((role, blocks)),
                }
            }
            if marking == Marking::AsAgents {
                let newest = turns.last_mut().and_then(|(_, blocks)| blocks.last_mut());
                for block in [system.last_mut(), newest].into_iter().flatten() {
                    block["cache_control"] = json!({"type": "ephemeral"});
                }
            }
            let messages: Vec<Value> =
                turns.into_iter().map(|(role, content)| json!({"role": role, "content": content})).collect();
            json!({"model": model, "max_tokens": OUTPUT_TOKENS, "system": system, "tools": tools, "messages": messages})
                .to_string()
        };
        self.befores().map(|said| body(&said)).collect()
    }

    /// Requests of Responses, one for each assistant turn; nothing is kept at the provider.
    pub fn responses_bodies(&self, model: &str, toolbox: &Toolbox) -> Vec<String> {
        let tools: Vec<Value> = toolbox
            .described()
            .map(|(name, description, schema)| {
                json!({"type": "function", "name": name, "description": description, "parameters": schema, "strict": false})
            })
            .collect();
        let body = |said: &[Value]| {
            let (mut instructions, mut input) = (String::new(), Vec::new());
            for message in said {
                match message["role"].as_str() {
                    Some("system") => instructions += message["content"].as_str().unwrap_or_default(),
                    _ => input.extend(items(message)),
                }
            }
            json!({"model": model, "store": false, "instructions": instructions, "tools": tools, "input": input})
                .to_string()
        };
        self.befores().map(|said| body(&said)).collect()
    }
}

/// The blocks of a message, and whose they are.
fn blocks(message: &Value) -> (&'static str, Vec<Value>) {
    let said = message["content"].as_str().filter(|text| !text.trim().is_empty());
    let text = said.map(|text| json!({"type": "text", "text": text}));
    match message["role"].as_str() {
        Some("system") => ("system", text.into_iter().collect()),
        Some("assistant") => {
            let calls = calls(message).into_iter().map(|Called { id, name, arguments }| {
                let input = serde_json::from_str::<Map<String, Value>>(&arguments).unwrap_or_default();
                json!({"type": "tool_use", "id": id, "name": name, "input": input})
            });
            ("assistant", text.into_iter().chain(calls).collect())
        }
        Some("tool") => {
            let content: Vec<Value> = text.into_iter().collect();
            let result = json!({"type": "tool_result", "tool_use_id": message["tool_call_id"], "content": content});
            ("user", vec![result])
        }
        _ => ("user", text.into_iter().collect()),
    }
}

/// The items of a message.
fn items(message: &Value) -> Vec<Value> {
    let role = message["role"].as_str().unwrap_or_default();
    let text = message["content"].as_str().unwrap_or_default();
    if role == "tool" {
        return vec![json!({"type": "function_call_output", "call_id": message["tool_call_id"], "output": text})];
    }
    let kind = if role == "assistant" { "output_text" } else { "input_text" };
    let said = json!({"type": "message", "role": role, "content": [{"type": kind, "text": text}]});
    let calls = calls(message).into_iter().map(|Called { id, name, arguments }| {
        json!({"type": "function_call", "call_id": id, "name": name, "arguments": arguments})
    });
    Some(said).filter(|_| !text.is_empty()).into_iter().chain(calls).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> Replay {
        let line = json!({"id": "s", "messages": [
            {"role": "system", "content": "be kind"},
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": null, "tool_calls": [
                {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": "{\"a\":1}"}}]},
            {"role": "tool", "tool_call_id": "call_1", "name": "look", "content": "seen"},
            {"role": "assistant", "content": "done"},
        ]});
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("s.jsonl");
        std::fs::write(&path, line.to_string()).expect("a written file");
        Replay::load(&path).expect("a session")
    }

    fn last(bodies: Vec<String>) -> Value {
        assert_eq!(bodies.len(), 2);
        serde_json::from_str(&bodies[1]).expect("JSON")
    }

    #[test]
    fn a_session_is_said_in_each_surfaces_words() {
        let replay = session();
        let (session, toolbox) = (&replay.sessions[0], replay.toolbox());
        let chat = last(session.chat_bodies("m", &toolbox));
        assert_eq!(chat["tools"][0]["function"]["name"], "look");
        assert_eq!(chat["messages"][3], json!({"role": "tool", "tool_call_id": "call_1", "content": "seen"}));
        let said = last(session.messages_bodies("m", &toolbox, Marking::AsAgents));
        let mark = json!({"type": "ephemeral"});
        assert_eq!(said["system"], json!([{"type": "text", "text": "be kind", "cache_control": mark}]));
        let expected = json!([
            {"role": "user", "content": [{"type": "text", "text": "hi"}]},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "call_1", "name": "look", "input": {"a": 1}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "call_1",
                "content": [{"type": "text", "text": "seen"}], "cache_control": mark}]},
        ]);
        assert_eq!(said["messages"], expected);
        let plain = last(session.messages_bodies("m", &toolbox, Marking::Nothing));
        assert!(!plain.to_string().contains("cache_control"));
        let responses = last(session.responses_bodies("m", &toolbox));
        assert_eq!(responses["instructions"], "be kind");
        let expected = json!([
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]},
            {"type": "function_call", "call_id": "call_1", "name": "look", "arguments": "{\"a\":1}"},
            {"type": "function_call_output", "call_id": "call_1", "output": "seen"},
        ]);
        assert_eq!(responses["input"], expected);
    }
}
