//! A read-only view of a request, the same for every surface: the few facts that later steps decide on.

use std::ops::Range;

use super::json::WholeNumber;
use super::outline::Outline;

/// What one pass over the body found. Offsets are into the original bytes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct View {
    /// The model asked for.
    pub model: String,
    /// Where the model's value stands, quotes included.
    pub model_at: Range<usize>,
    /// Whether the reply is to be streamed.
    pub stream: bool,
    /// What the client said about usage in streams, and where an edit may ask for it.
    pub usage_in_stream: UsageInStream,
    /// The output limit that the provider is asked to keep, in tokens an answer.
    pub output_limit: WholeNumber,
    /// Where the values of output limits stand, as far as the client gave any.
    pub output_limits_at: [Option<Range<usize>>; 2],
    /// Bytes of what the client predicts of the answer: a provider bills as output what of it is not used.
    pub predicted_bytes: usize,
    /// Answers asked for.
    pub answers: WholeNumber,
    /// Inputs that are read apart from each other, each within the model's context: 0 and 1 are one.
    pub inputs: u64,
    /// The price class asked for.
    pub service_tier: Option<String>,
    /// Attribution that travelled in the body.
    pub claims: Claims,
    /// How many messages there are.
    pub messages: usize,
    /// The text of the first system or developer message, as a range of raw JSON.
    pub system_at: Option<Range<usize>>,
    /// Objects by name that a provider keeps.
    pub named: Vec<Named>,
    /// It goes on from one of them, so that more is read than is sent.
    pub continues: bool,
    /// The provider is to keep the answer, as far as the request says.
    pub stores: bool,
    /// The answer is made after the reply.
    pub background: bool,
    /// What cannot be bounded by counting the body's bytes.
    pub attachments: Attachments,
    /// `prompt_cache_key`: requests with the same one share a prefix.
    pub cache_key: Option<String>,
    /// Where thoughts stand that another vendor has sealed: whoever is called in this dialect cannot open them.
    pub foreign_seals: Vec<Range<usize>>,
    /// Where the conversation's parts stand.
    pub outline: Outline,
}

/// What a seal begins with that a translation made of another vendor's.
pub const SEAL_MARK: &str = "fx1.";

impl View {
    /// How many answers to expect.
    pub fn answers_expected(&self) -> u64 {
        match self.answers {
            WholeNumber::Is(answers) => answers.max(1),
            WholeNumber::Absent | WholeNumber::Odd => 1,
        }
    }
}

/// An object that a provider keeps, by its name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Named {
    /// The member that names it.
    pub key: &'static str,
    /// Its id.
    pub id: String,
}

/// Usage in streams: OpenAI sends it only when asked (`stream_options.include_usage`).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum UsageInStream {
    /// Not asked for; inserting the whole option at this offset, after a member, would ask.
    #[default]
    Unsaid,
    /// Not asked for: replacing this range by the text would ask.
    Declined {
        /// What to replace.
        at: Range<usize>,
        /// By what.
        with: &'static str,
    },
    /// The client asked for it itself.
    Asked,
}

/// Attribution found in a body. All of it is a claim until the key's grants confirm it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Claims {
    /// `metadata.team`.
    pub team: Option<String>,
    /// `metadata.project`.
    pub project: Option<String>,
    /// `metadata.pipeline`.
    pub pipeline: Option<String>,
    /// `metadata.user`, `safety_identifier` or `user`.
    pub user: Option<String>,
    /// `metadata.run`.
    pub run: Option<String>,
    /// `metadata.task`.
    pub task: Option<String>,
    /// `metadata.prompt`, or `prompt_cache_key`.
    pub prompt: Option<String>,
}

/// Input whose tokens are not bounded by the body's bytes, and output that no limit bounds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Attachments {
    /// Images, inline or by address.
    pub images: u64,
    /// Files or stored objects that are named, not sent.
    pub references: u64,
    /// Recordings: sound and film, whose tokens no book prices as text.
    pub recordings: u64,
    /// Tools that the provider runs and bills on its side.
    pub server_tools: u64,
    /// Bytes of the body that images, references and recordings take: they say nothing of the tokens.
    pub bytes: usize,
}
