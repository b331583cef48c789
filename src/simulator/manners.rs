//! What vendors refuse in a chat-completions request that OpenAI takes, so that a provider can be as particular as they are.

use serde_json::Value;

/// A vendor's own rules.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Manners {
    /// Contents of systems, tools and assistants are strings. <https://console.groq.com/docs/api-reference#chat>
    Groq,
    /// All contents are strings, and calls come back with what was thought.
    /// <https://api-docs.deepseek.com/guides/thinking_mode#tool-calls>
    DeepSeek,
    /// The first call of a message comes back with its signature.
    /// <https://ai.google.dev/gemini-api/docs/thought-signatures>
    Gemini,
    /// Ids of calls are nine letters and digits, and members that are not documented are refused.
    /// <https://docs.mistral.ai/api/>
    Mistral,
}

impl Manners {
    /// Why a body is refused, if it is.
    pub(super) fn refuse(self, body: &[u8]) -> Option<String> {
        let body: Value = serde_json::from_slice(body).ok()?;
        if self == Self::Mistral && !body["user"].is_null() {
            return Some("user: Extra inputs are not permitted".to_owned());
        }
        let messages = body["messages"].as_array()?;
        messages
            .iter()
            .enumerate()
            .find_map(|(at, message)| self.refuse_message(message).map(|why| format!("messages[{at}]: {why}")))
    }

    fn refuse_message(self, message: &Value) -> Option<&'static str> {
        let is_user = message["role"] == "user";
        let call = message["tool_calls"].get(0);
        let is_array = message["content"].is_array();
        let has_thoughts = message["reasoning_content"].is_string();
        let ids = message["tool_calls"].as_array().into_iter().flatten().map(|call| &call["id"]);
        let mut ids = ids.chain(message.get("tool_call_id"));
        match self {
            Self::Groq if is_array && !is_user => Some("the content must be a string"),
            Self::DeepSeek if is_array => Some("invalid type: sequence, expected a string"),
            Self::DeepSeek if call.is_some() && !has_thoughts => {
                Some("The reasoning_content in the thinking mode must be passed back to the API.")
            }
            Self::Gemini
                if call.is_some_and(|call| !call["extra_content"]["google"]["thought_signature"].is_string()) =>
            {
                Some("Function call is missing a thought_signature in functionCall parts.")
            }
            Self::Mistral if has_thoughts => Some("reasoning_content: Extra inputs are not permitted"),
            Self::Mistral if ids.any(|id| !is_nine(id)) => {
                Some("Tool call id must be a-z, A-Z, 0-9, with a length of 9.")
            }
            _ => None,
        }
    }
}

fn is_nine(id: &Value) -> bool {
    id.as_str().is_some_and(|id| id.len() == 9 && id.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}
