//! Writes down one session: what the agent says, what it pastes, and what the model answers.
//!
//! Each [`Conversation::asks`] freezes the history as a request, records the scripted answer for it and
//! appends that answer, so that the next request extends it word for word, as an agent's does.

use bytes::Bytes;
use serde_json::{Value, json};

use super::super::recordings::Recordings;
use super::super::request::Message;
use super::super::script::{Answer, ToolCall};
use super::agents::Script;
use super::{Attribution, Label, Session, Turn};

/// A tool: its name, its purpose, and its parameters with their meanings.
pub(super) type Tool = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

/// A session that is being written.
pub(super) struct Conversation<'a> {
    recordings: &'a mut Recordings,
    script: &'a Script,
    metadata: Option<Value>,
    cache_key: String,
    tools: Option<Value>,
    format: Option<Value>,
    messages: Vec<Value>,
    calls: usize,
    turns: Vec<Turn>,
}

/// Whether a turn's answer is streamed, and whether the client asks for the usage in the stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Wants {
    Document,
    Stream,
    StreamWithUsage,
}

impl<'a> Conversation<'a> {
    pub(super) fn of(session: &Session, script: &'a Script, recordings: &'a mut Recordings) -> Self {
        let metadata = (session.attribution == Attribution::Metadata).then(|| {
            session.claims().into_iter().map(|(claim, value)| (claim.metadata.to_owned(), Value::from(value))).collect()
        });
        Self {
            recordings,
            script,
            metadata,
            cache_key: session.run.clone(),
            tools: None,
            format: None,
            messages: Vec::new(),
            calls: 0,
            turns: Vec::new(),
        }
    }

    /// Offers `tools` in every request from here on.
    pub(super) fn tools(&mut self, tools: &[Tool]) {
        let function = |(name, purpose, parameters): &Tool| {
            let properties: serde_json::Map<_, _> = parameters
                .iter()
                .map(|(name, meaning)| ((*name).to_owned(), json!({"type": "string", "description": meaning})))
                .collect();
            let required: Vec<_> = parameters.iter().map(|(name, _)| *name).collect();
            json!({"type": "function", "function": {
                "name": name, "description": purpose, "strict": true,
                "parameters": {"type": "object", "properties": properties, "required": required, "additionalProperties": false},
            }})
        };
        self.tools = Some(tools.iter().map(function).collect());
    }

    /// Wants JSON of this shape in every answer from here on.
    pub(super) fn format(&mut self, name: &str, schema: Value) {
        self.format =
            Some(json!({"type": "json_schema", "json_schema": {"name": name, "strict": true, "schema": schema}}));
    }

    pub(super) fn system(&mut self, text: &str) {
        self.messages.push(json!({"role": "system", "content": text}));
    }

    pub(super) fn user(&mut self, text: &str) {
        self.messages.push(json!({"role": "user", "content": text}));
    }

    /// Sends the history as one request that belongs to `label`, and answers it with `text`.
    pub(super) fn asks(&mut self, wants: Wants, label: Label, text: &str) {
        self.request(wants, label, Answer::text(text));
        self.messages.push(json!({"role": "assistant", "content": text}));
    }

    /// Sends the history as one request, which is answered by tool calls; their results follow.
    pub(super) fn calls(&mut self, wants: Wants, label: Label, calls: Vec<(&str, Value, String)>) {
        let mut answer = Answer::default();
        let mut results = Vec::new();
        for (name, arguments, result) in calls {
            self.calls += 1;
            let id = format!("call_{:04}{:020}", self.calls, self.turns.len());
            answer.calls.push(ToolCall { id: id.clone(), name: name.to_owned(), arguments: arguments.to_string() });
            results.push(json!({"role": "tool", "tool_call_id": id, "content": result}));
        }
        let written: Vec<_> = answer
            .calls
            .iter()
            .map(|call| json!({"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}))
            .collect();
        self.request(wants, label, answer);
        self.messages.push(json!({"role": "assistant", "content": null, "tool_calls": written}));
        self.messages.extend(results);
    }

    /// The requests until now.
    pub(super) fn turns(self) -> Vec<Turn> {
        self.turns
    }

    fn request(&mut self, wants: Wants, label: Label, answer: Answer) {
        let mut body = json!({"model": "auto", "messages": self.messages});
        let mut put = |key: &str, value: Option<Value>| {
            if let (Some(fields), Some(value)) = (body.as_object_mut(), value) {
                fields.insert(key.to_owned(), value);
            }
        };
        put("tools", self.tools.clone());
        put("response_format", self.format.clone());
        put("metadata", self.metadata.clone());
        put("temperature", self.script.deterministic.then(|| json!(0)));
        put("max_completion_tokens", self.script.output_limit.map(Value::from));
        put("prompt_cache_key", self.tools.is_some().then(|| self.cache_key.clone().into()));
        put("stream", (wants != Wants::Document).then_some(Value::Bool(true)));
        put("stream_options", (wants == Wants::StreamWithUsage).then(|| json!({"include_usage": true})));
        let before: Vec<_> =
            self.messages.iter().filter_map(|m| serde_json::from_value::<Message>(m.clone()).ok()).collect();
        self.recordings.record(&before, answer);
        let body = Bytes::from(body.to_string());
        self.turns.push(Turn { body, stream: wants != Wants::Document, label });
    }
}
