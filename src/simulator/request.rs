//! The simulated provider's own reading of a chat-completions request.
//!
//! Only what changes its behaviour is read; anything else in the body is accepted unseen, as the real
//! API mostly does. Counting follows the order in which a provider renders a prompt: tools, output
//! format, messages, so that a shared beginning is a shared prefix.
//! <https://platform.openai.com/docs/api-reference/chat/create>

use std::hash::{DefaultHasher, Hash, Hasher};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::prefix_cache::PromptTokens;
use super::tokenizer::tokens;

/// Tokens that frame each message.
const MESSAGE_FRAME_TOKENS: usize = 4;
/// Tokens that open the answer.
const ANSWER_FRAME_TOKENS: usize = 3;
/// Tokens of one image, whatever its size; a low-detail one.
const IMAGE_TOKENS: usize = 765;
const IMAGE_LOW_DETAIL_TOKENS: usize = 85;

/// What is read of a request.
#[derive(Deserialize, Debug)]
pub(super) struct ChatRequest<'a> {
    pub(super) model: String,
    pub(super) messages: Vec<Message>,
    #[serde(borrow, default)]
    tools: Option<Vec<&'a RawValue>>,
    #[serde(borrow, default)]
    response_format: Option<&'a RawValue>,
    #[serde(default)]
    stream: Option<bool>,
    #[serde(default)]
    stream_options: Option<StreamOptions>,
    #[serde(default)]
    max_completion_tokens: Option<u64>,
    #[serde(default)]
    max_tokens: Option<u64>,
    #[serde(default)]
    n: Option<u16>,
    #[serde(default)]
    logprobs: Option<bool>,
    #[serde(default)]
    pub(super) service_tier: Option<String>,
    #[serde(default)]
    reasoning_effort: Option<String>,
}

#[derive(Deserialize, Debug, Default)]
pub(super) struct StreamOptions {
    #[serde(default)]
    include_usage: Option<bool>,
    #[serde(default)]
    include_obfuscation: Option<bool>,
}

impl StreamOptions {
    pub(super) fn includes_usage(&self) -> bool {
        self.include_usage == Some(true)
    }
}

/// One message of a conversation.
#[derive(Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// `system`, `developer`, `user`, `assistant` or `tool`.
    pub role: String,
    #[serde(default)]
    content: Option<Content>,
    #[serde(default)]
    refusal: Option<String>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    tool_calls: Option<Vec<CallWritten>>,
    #[serde(default)]
    tool_call_id: Option<String>,
}

#[derive(Deserialize, Clone, PartialEq, Eq, Debug)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Deserialize, Clone, PartialEq, Eq, Debug)]
struct Part {
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    refusal: Option<String>,
    #[serde(default)]
    image_url: Option<Image>,
}

#[derive(Deserialize, Clone, PartialEq, Eq, Debug)]
struct Image {
    #[serde(default)]
    detail: Option<String>,
}

#[derive(Deserialize, Clone, PartialEq, Eq, Debug)]
struct CallWritten {
    #[serde(default)]
    id: String,
    #[serde(default)]
    function: FunctionWritten,
}

#[derive(Deserialize, Clone, PartialEq, Eq, Debug, Default)]
struct FunctionWritten {
    #[serde(default)]
    name: String,
    #[serde(default)]
    arguments: String,
}

impl Message {
    /// All text of the message, parts joined.
    pub(super) fn text(&self) -> String {
        match &self.content {
            None => String::new(),
            Some(Content::Text(text)) => text.clone(),
            Some(Content::Parts(parts)) => parts.iter().filter_map(|part| part.text.as_deref()).collect(),
        }
    }

    /// What the message refuses, if it is a refusal.
    pub(super) fn refusal(&self) -> Option<&str> {
        self.refusal.as_deref()
    }

    /// Tool calls as `(id, name, arguments)`.
    pub(super) fn tool_calls(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        let calls = self.tool_calls.iter().flatten();
        calls.map(|call| (call.id.as_str(), call.function.name.as_str(), call.function.arguments.as_str()))
    }

    fn feed(&self, prompt: &mut PromptTokens) {
        frame(prompt, MESSAGE_FRAME_TOKENS - 1, &self.role);
        let mut text = |text: &str| tokens(text).for_each(|token| prompt.push(token));
        [&self.name, &self.refusal].into_iter().flatten().for_each(|field| text(field));
        for (_, name, arguments) in self.tool_calls() {
            text(name);
            text(arguments);
        }
        match &self.content {
            None => {}
            Some(Content::Text(content)) => text(content),
            Some(Content::Parts(parts)) => parts.iter().for_each(|part| part.feed(prompt)),
        }
        prompt.push("<|end|>");
    }

    fn hash_into(&self, hasher: &mut impl Hasher) {
        self.role.hash(hasher);
        self.text().hash(hasher);
        self.tool_calls().for_each(|call| call.hash(hasher));
        self.tool_call_id.hash(hasher);
    }
}

impl Part {
    fn feed(&self, prompt: &mut PromptTokens) {
        for text in [&self.text, &self.refusal].into_iter().flatten() {
            tokens(text).for_each(|token| prompt.push(token));
        }
        if let Some(image) = &self.image_url {
            let low = image.detail.as_deref() == Some("low");
            frame(prompt, if low { IMAGE_LOW_DETAIL_TOKENS } else { IMAGE_TOKENS }, "<|image|>");
        }
    }
}

fn frame(prompt: &mut PromptTokens, count: usize, mark: &str) {
    (0..count).for_each(|_| prompt.push(mark));
}

/// A hash of what a conversation says, in order: roles, text, tool calls and their answers.
///
/// Key order, spacing and unknown fields do not change it.
pub(super) fn conversation_hash(messages: &[Message]) -> u64 {
    let mut hasher = DefaultHasher::new();
    messages.iter().for_each(|message| message.hash_into(&mut hasher));
    hasher.finish()
}

/// Whether the answer comes as one document or as events.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Delivery {
    Whole,
    Streamed,
}

impl<'a> ChatRequest<'a> {
    /// Reads a body; the error is the text of a 400.
    pub(super) fn parse(body: &'a [u8]) -> Result<Self, String> {
        serde_json::from_slice(body)
            .map_err(|error| format!("We could not parse the JSON body of your request. The parser said: {error}"))
    }

    pub(super) fn delivery(&self) -> Delivery {
        if self.stream == Some(true) { Delivery::Streamed } else { Delivery::Whole }
    }

    pub(super) fn includes_usage(&self) -> bool {
        self.stream_options.as_ref().is_some_and(StreamOptions::includes_usage)
    }

    pub(super) fn obfuscates(&self) -> bool {
        self.stream_options.as_ref().is_some_and(|options| options.include_obfuscation == Some(true))
    }

    pub(super) fn wants_logprobs(&self) -> bool {
        self.logprobs == Some(true)
    }

    pub(super) fn reasons(&self) -> bool {
        self.reasoning_effort.as_deref() != Some("none")
    }

    pub(super) fn has_tools(&self) -> bool {
        self.tools.as_ref().is_some_and(|tools| !tools.is_empty())
    }

    /// Most output tokens of one choice, reasoning included.
    pub(super) fn output_limit(&self) -> Option<u64> {
        self.max_completion_tokens.or(self.max_tokens)
    }

    /// How many answers are wanted: 1 to 128.
    pub(super) fn choices(&self) -> u16 {
        self.n.unwrap_or(1).clamp(1, 128)
    }

    /// The text of the last user message.
    pub(super) fn last_user_text(&self) -> String {
        self.messages.iter().rev().find(|message| message.role == "user").map(Message::text).unwrap_or_default()
    }

    /// The prompt as this provider counts it.
    pub(super) fn prompt_tokens(&self) -> PromptTokens {
        let mut prompt = PromptTokens::of(&self.model);
        let raw = self.tools.iter().flatten().chain(self.response_format.iter());
        raw.for_each(|json| tokens(json.get()).for_each(|token| prompt.push(token)));
        self.messages.iter().for_each(|message| message.feed(&mut prompt));
        frame(&mut prompt, ANSWER_FRAME_TOKENS, "<|answer|>");
        prompt
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_tokens(body: &str, expected: u64) {
        let request = ChatRequest::parse(body.as_bytes()).expect("a valid request");
        assert_eq!(request.prompt_tokens().count(), expected, "body: {body}");
    }

    #[test]
    fn each_message_has_a_frame_and_the_answer_another() {
        check_tokens(r#"{"model":"m","messages":[]}"#, 3);
        check_tokens(r#"{"model":"m","messages":[{"role":"user","content":"the job failed"}]}"#, 3 + 4 + 3);
        check_tokens(
            r#"{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"the job failed"}]}]}"#,
            3 + 4 + 3,
        );
    }

    #[test]
    fn tools_and_images_count() {
        check_tokens(r#"{"model":"m","messages":[],"tools":[{"a": 1}]}"#, 3 + 6);
        check_tokens(
            r#"{"model":"m","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"x","detail":"low"}}]}]}"#,
            3 + 4 + 85,
        );
    }

    #[test]
    fn spelling_does_not_change_the_hash_of_a_conversation_and_words_do() {
        let hash = |messages: &str| {
            conversation_hash(&serde_json::from_str::<Vec<Message>>(messages).expect("valid messages"))
        };
        let plain = hash(r#"[{"role":"user","content":"a"}]"#);
        assert_eq!(plain, hash(r#"[{"content": [{"type":"text","text":"\u0061"}], "role":"user","x":1}]"#));
        assert_ne!(plain, hash(r#"[{"role":"system","content":"a"}]"#));
    }
}
