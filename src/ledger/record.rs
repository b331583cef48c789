//! What the ledger is told: records that are appended to the journal and later applied to the tables.
//!
//! A record borrows its text from whoever writes or reads it. An attempt has an [`Intent`] before its
//! first byte goes upstream and an [`Outcome`] before its reply's last frame goes downstream; the
//! first intent carries the request and the last outcome closes it.

use serde::{Deserialize, Serialize};

use crate::ids::{AccessId, AttemptId, RequestId};
use crate::money::{CostInterval, NanoUsd};
use crate::reply::usage::{Apart, Source, Usage, WhyUnknown};

/// One entry of the journal.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Record<'a> {
    /// An attempt is about to leave.
    #[serde(borrow)]
    Intent(Intent<'a>),
    /// An attempt ended; how its cost was made is not known.
    #[serde(borrow)]
    Outcome(Outcome<'a>),
    /// A request ended without (another) attempt: refused, or given up between attempts.
    #[serde(borrow)]
    Closed(Box<Closed<'a>>),
    /// A provider's export says what an attempt really cost.
    #[serde(borrow)]
    Reconciled(Reconciled<'a>),
    /// An attempt ended, and how its cost was made. Earlier versions wrote [`Record::Outcome`], which is still read.
    Priced(#[serde(borrow)] Outcome<'a>, #[serde(borrow)] Pricing<'a>),
    /// The first attempt of a request is about to leave, and how its tier was decided. Earlier versions wrote
    /// [`Record::Intent`], which is still read.
    Planned(#[serde(borrow)] Intent<'a>, #[serde(borrow)] DecisionFacts<'a>),
    /// A request ended outside an attempt, and what had been decided. Earlier versions wrote [`Record::Closed`].
    Refused(#[serde(borrow)] Box<Closed<'a>>, #[serde(borrow)] DecisionFacts<'a>),
    /// The last attempt of a request ended, and what the request would have cost without us. Earlier versions wrote
    /// [`Record::Priced`], which is still written of attempts that close no request.
    Compared(#[serde(borrow)] Outcome<'a>, #[serde(borrow)] Pricing<'a>, #[serde(borrow)] Box<Comparison<'a>>),
    /// Somebody says what an answer, or a whole run, was worth.
    #[serde(borrow)]
    Feedback(Box<Feedback<'a>>),
    /// As [`Record::Compared`], with what the request looked like, which is no longer written without it.
    Sketched(
        #[serde(borrow)] Outcome<'a>,
        #[serde(borrow)] Pricing<'a>,
        #[serde(borrow)] Option<Box<Comparison<'a>>>,
        Box<Sketch>,
    ),
    /// As [`Record::Planned`], of a request that Farthing makes by itself.
    Caused(#[serde(borrow)] Intent<'a>, #[serde(borrow)] DecisionFacts<'a>, #[serde(borrow)] Cause<'a>),
    /// A request was answered without a call, from what earlier ones had left.
    Served(
        #[serde(borrow)] Box<Closed<'a>>,
        #[serde(borrow)] DecisionFacts<'a>,
        #[serde(borrow)] Box<Comparison<'a>>,
        #[serde(borrow)] Option<Transfer<'a>>,
    ),
    /// What was found out about a request after it had ended.
    #[serde(borrow)]
    Amended(Box<Amended<'a>>),
    /// What of an attempt's usage is priced apart from text; before its end, and only where there is any.
    Apart(AttemptId, Apart),
    /// A provider keeps an object for a team, or no longer does. Earlier versions wrote it without the way by which it was
    /// made, as it is still written of what is gone.
    #[serde(borrow)]
    Kept(Box<Kept<'a>>),
    /// A provider keeps an object for a team, who made it by this way into the row.
    KeptBy(#[serde(borrow)] Box<Kept<'a>>, AccessId),
}

/// Who asked for what.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RequestFacts<'a> {
    /// `x-request-id`.
    pub id: RequestId,
    /// When it arrived, in milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// Who pays.
    pub team: &'a str,
    /// The virtual key's public name; empty on loopback without keys.
    pub key: &'a str,
    /// Claimed project.
    #[serde(borrow)]
    pub project: Option<&'a str>,
    /// Claimed pipeline.
    #[serde(borrow)]
    pub pipeline: Option<&'a str>,
    /// Claimed end user.
    #[serde(borrow)]
    pub user: Option<&'a str>,
    /// Claimed agent run.
    #[serde(borrow)]
    pub run: Option<&'a str>,
    /// Claimed prompt name, or the fingerprint of the system prompt.
    #[serde(borrow)]
    pub prompt: Option<&'a str>,
    /// Task kind.
    #[serde(borrow)]
    pub task: Option<&'a str>,
    /// Tier that the plan chose; `None` for a model named exactly.
    #[serde(borrow)]
    pub tier: Option<&'a str>,
    /// Policy and version that decided.
    #[serde(borrow)]
    pub policy: Option<&'a str>,
    /// The door it came through, such as `chat.completions`.
    pub surface: &'a str,
    /// The model that the client asked for, as written.
    pub model: &'a str,
}

/// Why Farthing makes a request that no agent asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Cause<'a> {
    /// What for, in one word.
    pub purpose: &'a str,
    /// The agent's request that it is about; `None`: it is about none.
    pub request: Option<RequestId>,
}

/// What a team is charged for an answer that cost nobody anything.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Transfer<'a> {
    /// How much.
    pub amount: NanoUsd,
    /// The team that is credited with it.
    pub to: &'a str,
}

/// How a request's tier was decided.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DecisionFacts<'a> {
    /// Why, in the words of `x-farthing-reason`.
    pub reason: &'a str,
    /// How sure the task kind is, in millionths; `None`: nobody asked a policy.
    pub confidence_ppm: Option<u32>,
    /// Probability that a stronger model is right where the lightweight one is wrong, in millionths.
    pub needs_strong_ppm: Option<u32>,
    /// The conversation that it belongs to, hashed.
    #[serde(borrow)]
    pub session: Option<&'a str>,
    /// Where levers only watch: the tier that they would have chosen.
    #[serde(borrow)]
    pub would_tier: Option<&'a str>,
    /// The same of the model, with its provider.
    #[serde(borrow)]
    pub would_model: Option<&'a str>,
    /// What the plan depends on besides request and policy, as JSON.
    #[serde(borrow)]
    pub state: Option<&'a str>,
}

/// An attempt that is about to leave.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Intent<'a> {
    /// The request; present on its first attempt only.
    #[serde(borrow)]
    pub request: Option<RequestFacts<'a>>,
    /// The attempt.
    pub attempt: AttemptId,
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// Provider row.
    pub provider: &'a str,
    /// Model as the provider spells it.
    pub model: &'a str,
    /// Most input tokens it can be billed for.
    pub input_tokens_bound: Option<u64>,
    /// Most output tokens it can be billed for.
    pub output_tokens_bound: Option<u64>,
    /// The most it can cost; `None` if nothing bounds it or no price is known.
    pub bound: Option<NanoUsd>,
    /// The price row used, such as `openai/gpt-5.6-luna@2026-11-01`.
    #[serde(borrow)]
    pub price_version: Option<&'a str>,
}

/// How an attempt ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Fate {
    /// The provider answered in full.
    Completed,
    /// The provider refused or failed, or it never left; nothing is known to be billed.
    Failed,
    /// The client or a limit ended it.
    Cut,
    /// It was sent, and what became of it is unknown.
    Interrupted,
}

impl Fate {
    /// The word in ledger and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cut => "cut",
            Self::Interrupted => "interrupted",
        }
    }
}

/// The end of an attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Outcome<'a> {
    /// The attempt.
    pub attempt: AttemptId,
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// How.
    pub fate: Fate,
    /// The provider's HTTP status; `None` if it never answered.
    pub provider_status: Option<u16>,
    /// Tokens, as far as known.
    pub usage: Option<Usage>,
    /// Where the tokens and the cost come from.
    pub source: Source,
    /// What it cost.
    pub cost: CostInterval,
    /// The price row used.
    #[serde(borrow)]
    pub price_version: Option<&'a str>,
    /// The price class that the reply named.
    #[serde(borrow)]
    pub service_tier: Option<&'a str>,
    /// What was taken off the list price, in millionths.
    pub discount_ppm: u32,
    /// What counted the tokens when the provider did not.
    #[serde(borrow)]
    pub tokenizer: Option<&'a str>,
    /// The provider's own id of the call, for support cases.
    #[serde(borrow)]
    pub provider_request_id: Option<&'a str>,
    /// Set when the provider billed beyond the intent's bound: by how much.
    pub overshoot: Option<NanoUsd>,
    /// Set when this was the request's last attempt.
    #[serde(borrow)]
    pub closes: Option<Closing<'a>>,
}

/// How an attempt's cost was made, or why it could not be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Pricing<'a> {
    /// The service tier whose rates were applied; `None` if none were.
    #[serde(borrow)]
    pub tier: Option<&'a str>,
    /// Why the cost is not known exactly.
    pub unknown: Option<WhyUnknown>,
}

/// A request beside what it would have cost without us.
///
/// What was saved is the counterfactual less the cost. Its parts by cause add up to it: the one that is not here is
/// `route`, which is what the others leave.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Comparison<'a> {
    /// The model that would have answered, with its provider; `None`: nobody knows.
    #[serde(borrow)]
    pub model: Option<&'a str>,
    /// What that would have cost.
    pub baseline: Option<NanoUsd>,
    /// Saved because another target answered than the first of the plan; what that cost more is negative.
    pub fallback: Option<NanoUsd>,
    /// What attempts cost that gave no answer, as a negative amount.
    pub retry: Option<NanoUsd>,
    /// Saved by sending fewer tokens.
    pub compress: NanoUsd,
    /// Saved by our cache.
    pub cache: NanoUsd,
    /// What the provider's own cache took off the cost. It is no part of what was saved.
    pub provider_cache: Option<NanoUsd>,
    /// The arm of an experiment that the conversation is in; `None`: it is in none.
    #[serde(borrow)]
    pub arm: Option<&'a str>,
    /// Where the provider's cached prefix of the conversation broke.
    #[serde(borrow)]
    pub lost: Option<CacheLoss<'a>>,
}

/// A cached prefix that was paid for again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CacheLoss<'a> {
    /// What broke it, in one word.
    pub culprit: &'a str,
    /// What that cost.
    pub cost: NanoUsd,
}

/// What was found out about a request that has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Amended<'a> {
    /// The request.
    pub request: RequestId,
    /// What its texts say.
    pub texts: Option<SketchedTexts>,
    /// Where its cached prefix broke; `None`: nowhere, or no more is known than its outcome says.
    #[serde(borrow)]
    pub broke: Option<Broke<'a>>,
}

/// Where a cached prefix broke.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Broke<'a> {
    /// What broke it, in one word.
    pub culprit: &'a str,
    /// About how many tokens of the prompt stand before that; `None`: nobody knows.
    pub at_tokens: Option<u64>,
}

/// What a request looked like, in sizes and keyed hashes: no text can be read from it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Sketch {
    /// Bytes of the tools and the format of the answer.
    pub head_bytes: u64,
    /// Bytes of the messages before the first user turn.
    pub opening_bytes: u64,
    /// Bytes of all messages.
    pub messages_bytes: u64,
    /// Tokens that an earlier prompt had in common with it.
    pub common_tokens: Option<u64>,
    /// A hash of what stands before the first user turn, tools included.
    pub prefix: u64,
    /// A hash of the whole request.
    pub exact: u64,
    /// What its texts say; `None`: they were not read in time.
    pub texts: Option<SketchedTexts>,
}

/// The part of a sketch that was read from the texts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct SketchedTexts {
    /// A hash of the whole request without hours, ids and numbers.
    pub masked: Option<u64>,
    /// The same of the system prompt.
    pub masked_system: Option<u64>,
    /// What was left out, as bits.
    pub masks: u8,
    /// Bytes that were read.
    pub read_bytes: u64,
    /// Bytes of blocks that stood in the request before.
    pub repeated_bytes: u64,
}

/// The end of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Closing<'a> {
    /// `ok`, or the stable error code that the client saw.
    pub status: &'a str,
    /// The HTTP status that the client saw; 499 if it hung up first.
    pub http_status: u16,
    /// The request's cost: the sum over its attempts.
    pub cost: CostInterval,
    /// Milliseconds from arrival to the last frame.
    pub duration_ms: u64,
    /// Milliseconds from arrival to the first byte of the answer; `None` if there was none.
    pub first_byte_ms: Option<u64>,
    /// Names of the edits made, as in `x-farthing-edits`; empty when the bytes were untouched.
    pub edits: &'a str,
}

/// A request that ends outside an attempt. Creates the row if no intent did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Closed<'a> {
    /// The request.
    #[serde(borrow)]
    pub request: RequestFacts<'a>,
    /// Its end.
    #[serde(borrow)]
    pub closing: Closing<'a>,
}

/// An object that a provider keeps.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Kept<'a> {
    /// The provider's id of it.
    pub id: &'a str,
    /// What it is, in one word.
    pub kind: &'a str,
    /// The provider row that keeps it.
    pub provider: &'a str,
    /// The team that it belongs to.
    pub team: &'a str,
    /// When that was told, in milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// When the provider lets go of it by itself; `None`: not that anybody knows.
    pub expires_ms: Option<i64>,
    /// It has been deleted.
    pub is_gone: bool,
}

/// What a request or a run was worth, in the words of whoever used it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Feedback<'a> {
    /// The team that it belongs to.
    pub team: &'a str,
    /// Who says so: the virtual key's public name; empty on loopback without keys.
    pub key: &'a str,
    /// The request; `None`: it is about a run.
    pub request: Option<RequestId>,
    /// The run; empty where it is about one request.
    pub run: &'a str,
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// What came of it, in one word.
    pub outcome: &'a str,
    /// How good it was, in millionths.
    pub score_ppm: Option<u32>,
    /// Incidents that it resolved.
    pub resolved_incidents: Option<u32>,
    /// Time that it saved people, in thousandths of an hour.
    pub saved_milli_hours: Option<u32>,
    /// What else there is to say.
    #[serde(borrow)]
    pub note: Option<&'a str>,
}

/// The provider's own word on an attempt, from an export.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Reconciled<'a> {
    /// The attempt.
    pub attempt: AttemptId,
    /// When it was imported, in milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// The kinds of tokens that the export has.
    pub tokens: KnownTokens,
    /// The amount billed.
    pub cost: NanoUsd,
    /// The export's name for the record's origin.
    pub export: &'a str,
}

/// Tokens by kind, each as far as it is known; parts are counted in their whole, as in [`Usage`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct KnownTokens {
    /// Everything that was read.
    pub input_tokens: Option<u64>,
    /// The part that came from the provider's cache.
    pub cached_input_tokens: Option<u64>,
    /// The part that was written to it for five minutes.
    pub cache_write_tokens: Option<u64>,
    /// The part that was written to it for an hour.
    pub cache_write_1h_tokens: Option<u64>,
    /// Everything that was generated.
    pub output_tokens: Option<u64>,
    /// The part that was reasoning.
    pub reasoning_tokens: Option<u64>,
}

impl KnownTokens {
    /// Adds what another line of the same call says.
    pub fn add(&mut self, other: Self) {
        let Self { input_tokens, cached_input_tokens, cache_write_tokens, .. } = self;
        for (sum, more) in [
            (input_tokens, other.input_tokens),
            (cached_input_tokens, other.cached_input_tokens),
            (cache_write_tokens, other.cache_write_tokens),
            (&mut self.cache_write_1h_tokens, other.cache_write_1h_tokens),
            (&mut self.output_tokens, other.output_tokens),
            (&mut self.reasoning_tokens, other.reasoning_tokens),
        ] {
            *sum = match (*sum, more) {
                (Some(sum), Some(more)) => Some(sum.saturating_add(more)),
                (sum, more) => sum.or(more),
            };
        }
    }

    /// Every kind with its column's name and the column of the whole that it is a part of.
    pub fn kinds(&self) -> [(&'static str, Option<&'static str>, Option<u64>); 6] {
        [
            ("input_tokens", None, self.input_tokens),
            ("cached_input_tokens", Some("input_tokens"), self.cached_input_tokens),
            ("cache_write_tokens", Some("input_tokens"), self.cache_write_tokens),
            ("cache_write_1h_tokens", Some("input_tokens"), self.cache_write_1h_tokens),
            ("output_tokens", None, self.output_tokens),
            ("reasoning_tokens", Some("output_tokens"), self.reasoning_tokens),
        ]
    }
}

impl From<Usage> for KnownTokens {
    fn from(usage: Usage) -> Self {
        Self {
            input_tokens: Some(usage.input_tokens),
            cached_input_tokens: Some(usage.cached_input_tokens),
            cache_write_tokens: Some(usage.cache_write_tokens),
            cache_write_1h_tokens: Some(usage.cache_write_1h_tokens),
            output_tokens: Some(usage.output_tokens),
            reasoning_tokens: Some(usage.reasoning_tokens),
        }
    }
}
