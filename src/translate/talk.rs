//! What is said in a request, in nobody's dialect: values that borrow from the body they were read from.
//!
//! Texts, schemas and arguments are kept as they are spelt and written so; only what a target must have in another shape
//! is decoded. The turns are not collected: a reader tells a writer one item after the other.

use std::borrow::Cow;

use crate::dialect::Dialect;
use crate::prompt::json::RawStr;

use super::Untranslatable;
use super::effort::Effort;

/// A request.
#[derive(Debug)]
pub struct Talk<'b> {
    /// The dialect that it is in.
    pub from: Dialect,
    /// All but the turns.
    pub head: Head<'b>,
    /// The array of what was said, as it is spelt.
    pub turns: &'b str,
}

/// Takes one item of what was said.
pub type Each<'e, 'b> = dyn FnMut(Item<'b>) -> Result<(), Untranslatable> + 'e;

/// What a request says beside its turns. Values of numbers and schemas are as they are spelt.
#[derive(Debug, Default)]
pub struct Head<'b> {
    /// What stands before the first turn.
    pub instructions: Vec<Part<'b>>,
    /// Tools, in order.
    pub tools: Vec<Tool<'b>>,
    /// Whether tools must be called, and which.
    pub choice: Option<Choice<'b>>,
    /// Whether several may be called at once.
    pub parallel: Option<bool>,
    /// The most output tokens.
    pub limit: Option<u64>,
    /// Texts that end the answer.
    pub stop: Vec<RawStr<'b>>,
    /// Randomness.
    pub temperature: Option<&'b str>,
    /// The likeliest part to choose from.
    pub top_p: Option<&'b str>,
    /// The likeliest few to choose from.
    pub top_k: Option<&'b str>,
    /// How long to think.
    pub effort: Option<Effort>,
    /// What of its thoughts the client wants to read, if it says so.
    pub thoughts: Option<Thoughts>,
    /// What the answer must look like.
    pub format: Option<Format<'b>>,
    /// Whether the answer is to come as a stream.
    pub stream: bool,
    /// Whom the client works for.
    pub user: Option<RawStr<'b>>,
    /// The price class.
    pub tier: Option<Tier>,
    /// Members that have no counterpart in every dialect.
    pub extras: Vec<Extra<'b>>,
    /// Members that answers repeat, as they are spelt, where the dialect's do.
    pub repeated: Vec<(&'static str, &'b str)>,
}

/// A field of [`Head`] that has other names in other dialects.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Field {
    /// [`Head::stop`].
    Stop,
    /// [`Head::top_k`], [`Head::temperature`] and [`Head::top_p`] are called the same by all.
    TopK,
    /// See [`Field::TopK`].
    Temperature,
    /// See [`Field::TopK`].
    TopP,
    /// [`Head::effort`].
    Effort,
    /// [`Head::format`].
    Format,
    /// [`Head::user`].
    User,
}

impl Field {
    /// Its name.
    pub fn name(self, dialect: Dialect) -> &'static str {
        match (self, dialect) {
            (Self::Stop, Dialect::Messages) => "stop_sequences",
            (Self::Stop, _) => "stop",
            (Self::TopK, _) => "top_k",
            (Self::Temperature, _) => "temperature",
            (Self::TopP, _) => "top_p",
            (Self::Effort, Dialect::Chat) => "reasoning_effort",
            (Self::Effort, Dialect::Responses) => "reasoning.effort",
            (Self::Effort, Dialect::Messages) => "thinking",
            (Self::User, Dialect::Messages) => "metadata.user_id",
            (Self::User, _) => "safety_identifier",
            (Self::Format, Dialect::Chat) => "response_format",
            (Self::Format, Dialect::Responses) => "text.format",
            (Self::Format, Dialect::Messages) => "output_config.format",
        }
    }
}

/// A member that has no counterpart in every dialect.
#[derive(Debug)]
pub struct Extra<'b> {
    /// Its name.
    pub name: Cow<'static, str>,
    /// Its value, as it is spelt.
    pub value: &'b str,
    /// What it does to an answer.
    pub weight: Weight,
}

/// What a member does to an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Weight {
    /// It steers style, caching or bookkeeping: an answer without it is an answer still.
    Style,
    /// What the answer means or costs depends on it.
    Meaning,
}

/// What a client wants to read of a model's thoughts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Thoughts {
    /// A summary.
    Summary,
    /// Nothing; only their seal.
    Nothing,
}

/// A tool that the client runs.
#[derive(Debug)]
pub struct Tool<'b> {
    /// Its name, as it is spelt between its quotes.
    pub name: Cow<'b, str>,
    /// What it is for.
    pub description: Option<Text<'b>>,
    /// What its input looks like.
    pub input: Input<'b>,
    /// Whether the schema binds.
    pub strict: Option<bool>,
    /// A cache marker.
    pub mark: Option<&'b str>,
}

/// The input that a tool takes.
#[derive(Debug)]
pub enum Input<'b> {
    /// By a JSON schema, as it is spelt.
    Schema(&'b str),
    /// Nothing is said of it.
    Unsaid,
    /// A text.
    Text,
}

/// Whether tools must be called.
#[derive(Clone, Debug)]
pub enum Choice<'b> {
    /// As the model likes.
    Auto,
    /// At least one.
    Any,
    /// This one, by its name as it is spelt.
    Tool(Cow<'b, str>),
    /// None.
    Never,
}

/// What an answer must look like.
#[derive(Debug)]
pub enum Format<'b> {
    /// Some JSON object.
    Object,
    /// JSON by a schema.
    Schema {
        /// The schema, as it is spelt.
        schema: &'b str,
        /// Its name.
        name: Option<RawStr<'b>>,
        /// Whether it binds.
        strict: Option<bool>,
    },
}

/// A price class that is charged at the list price in every dialect.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tier {
    /// As the provider's settings have it.
    Auto,
    /// The standard one.
    Standard,
}

/// Who says something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Who {
    /// Whoever runs the application.
    System,
    /// The user, and the tools that the client runs.
    User,
    /// The model.
    Assistant,
}

/// One thing after another of a conversation.
#[derive(Debug)]
pub enum Item<'b> {
    /// A message begins: what follows is said in it.
    Turn(Who),
    /// Something is said.
    Says(Part<'b>),
    /// The model thinks.
    Reasons(Reasoning<'b>),
    /// The model calls a tool.
    Calls(Call<'b>),
    /// A tool has answered.
    Answers(Answer<'b>),
    /// Something stood here that only its own dialect has: its name.
    Left(&'static str),
}

/// Thoughts of a model. What may be read of them is for people; the model itself goes on from what its vendor sealed.
#[derive(Debug)]
pub struct Reasoning<'b> {
    /// What may be read, part by part.
    pub texts: Vec<Text<'b>>,
    /// The thoughts themselves.
    pub sealed: Option<Sealed<'b>>,
}

/// Thoughts as their vendor has sealed them: nobody else can read them, and nobody takes others'.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Sealed<'b> {
    /// By OpenAI.
    OpenAi {
        /// The item's id.
        id: Cow<'b, str>,
        /// Its encrypted content.
        content: Cow<'b, str>,
    },
    /// By Anthropic, beside what may be read.
    Signature(Cow<'b, str>),
    /// By Anthropic, and nothing may be read.
    Redacted(Cow<'b, str>),
    /// By Google, for one call that came of them.
    Google {
        /// The call's id.
        call: Cow<'b, str>,
        /// Its signature.
        signature: Cow<'b, str>,
    },
}

/// A call of a tool.
#[derive(Debug)]
pub struct Call<'b> {
    /// Its id in the client's words.
    pub id: Cow<'b, str>,
    /// The tool's name, as it is spelt between its quotes.
    pub name: Cow<'b, str>,
    /// What it is called with.
    pub arguments: Arguments<'b>,
}

/// What a tool is called with.
#[derive(Clone, Copy, Debug)]
pub enum Arguments<'b> {
    /// JSON, as it is spelt.
    Json(&'b str),
    /// A string that should have JSON in it.
    Quoted(RawStr<'b>),
    /// A text, for a tool that takes one.
    Text(RawStr<'b>),
}

/// What a tool answered.
#[derive(Debug)]
pub struct Answer<'b> {
    /// The id of the call.
    pub id: Cow<'b, str>,
    /// What it says.
    pub parts: Vec<Part<'b>>,
    /// Whether it failed.
    pub is_error: bool,
    /// A cache marker.
    pub mark: Option<&'b str>,
}

/// A piece of what somebody says.
#[derive(Debug)]
pub struct Part<'b> {
    /// What it is.
    pub kind: Kind<'b>,
    /// A cache marker, as it is spelt.
    pub mark: Option<&'b str>,
}

/// What a part is.
#[derive(Debug)]
pub enum Kind<'b> {
    /// A text.
    Text(Text<'b>),
    /// An image.
    Image(Source<'b>),
    /// A file.
    File {
        /// Where it is.
        source: Source<'b>,
        /// Its name.
        name: Option<RawStr<'b>>,
    },
}

/// Where an image or a file is.
#[derive(Debug)]
pub enum Source<'b> {
    /// In the body, in base64.
    Data {
        /// Its media type.
        media_type: Text<'b>,
        /// The data.
        data: Text<'b>,
    },
    /// Elsewhere.
    Url(RawStr<'b>),
}

/// A text that is written.
#[derive(Clone, Debug)]
pub enum Text<'b> {
    /// As it is spelt between its quotes.
    Spelt(&'b str),
    /// Its characters.
    Plain(Cow<'b, str>),
}

impl<'b> From<RawStr<'b>> for Text<'b> {
    fn from(text: RawStr<'b>) -> Self {
        Self::Spelt(text.raw)
    }
}

impl Text<'_> {
    /// Its characters.
    pub fn decode(&self) -> Cow<'_, str> {
        match self {
            Self::Spelt(raw) => RawStr { raw, escaped: raw.contains('\\') }.decode(),
            Self::Plain(text) => Cow::Borrowed(text),
        }
    }

    /// Whether nothing stands in it.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Spelt(text) => text.is_empty(),
            Self::Plain(text) => text.is_empty(),
        }
    }
}

impl<'b> Part<'b> {
    /// A text without a marker.
    pub fn text(text: impl Into<Text<'b>>) -> Self {
        Self { kind: Kind::Text(text.into()), mark: None }
    }
}
