//! The languages that clients and providers speak.
//!
//! A dialect is one protocol's way to write a request, an answer, an event of a stream and an error. What its bytes
//! mean is `wire`'s; which door speaks which is [`Surface`](crate::call::Surface)'s.

/// The language of a body.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Dialect {
    /// OpenAI's Chat Completions, and whatever else of OpenAI's is no conversation in Responses.
    /// <https://platform.openai.com/docs/api-reference/chat>
    #[default]
    Chat,
    /// OpenAI's Responses. <https://platform.openai.com/docs/api-reference/responses>
    Responses,
    /// Anthropic's Messages. <https://platform.claude.com/docs/en/api/messages>
    Messages,
}

impl Dialect {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Chat, Self::Responses, Self::Messages];

    /// The word for it, which is also that of its surface.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Chat => "chat.completions",
            Self::Responses => "responses",
            Self::Messages => "messages",
        }
    }
}
