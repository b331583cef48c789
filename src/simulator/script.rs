//! What a scripted model does: its replies in order, and its habits.
//!
//! A [`ModelScript`] names a model, its prices, a sequence of [`Reply`] values (the last one repeats)
//! and its habits with limits, reasoning and cut connections. A [`Reply`] is one scripted answer with
//! everything that can go wrong on its way. Nothing here does I/O: `server` and `play` perform it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::invoice::BillsAfterCut;
use super::manners::Manners;
use super::prices::PriceList;
use super::tokenizer::count;

/// One model of a simulated provider.
#[derive(Clone, Debug)]
pub struct ModelScript {
    pub(super) name: String,
    pub(super) reply_name: Option<String>,
    pub(super) prices: PriceList,
    pub(super) steps: Vec<(u64, Reply)>,
    pub(super) cues: Vec<(String, Reply)>,
    pub(super) habits: Habits,
    pub(super) latency: Latency,
}

/// How a model treats what it was told.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Habits {
    pub(super) after_cut: BillsAfterCut,
    pub(super) limits: LimitKeeping,
    pub(super) reasoning: u64,
    pub(super) reasoning_report: ReasoningReport,
    pub(super) cache_writes: CacheWrites,
    pub(super) chat_tools: ChatTools,
    pub(super) manners: Option<Manners>,
}

/// Whether what a model writes to its prefix cache is a kind of token of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum CacheWrites {
    /// Written tokens are plain input, and the usage has no word for them: models before GPT-5.6.
    #[default]
    Plain,
    /// Written tokens are reported as `cache_write_tokens` and have their own price: GPT-5.6.
    Billed,
}

impl CacheWrites {
    fn of(model: &str) -> Self {
        if model.starts_with("gpt-5.6") { Self::Billed } else { Self::Plain }
    }
}

/// Whether chat completions take function tools from a model that reasons.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum ChatTools {
    #[default]
    Taken,
    /// Only without reasoning; Responses takes them.
    Refused,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum LimitKeeping {
    #[default]
    Keeps,
    Ignores,
}

/// Whether the tokens that a model thinks in appear in its usage. They are always billed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ReasoningReport {
    /// `completion_tokens` and `reasoning_tokens` hold them.
    #[default]
    Reported,
    /// The usage leaves them out, and the invoice does not.
    Hidden,
}

/// How long a model takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Latency {
    /// From the request to its first token.
    pub first_token: Duration,
    /// From each token to the next, hidden reasoning included.
    pub per_token: Duration,
}

impl Latency {
    /// No waiting at all: for tests and benches.
    pub const ZERO: Self = Self { first_token: Duration::ZERO, per_token: Duration::ZERO };
    /// A frontier model on a usual day.
    pub const FRONTIER: Self =
        Self { first_token: Duration::from_millis(900), per_token: Duration::from_micros(16_000) };
    /// A reasoning model of the middle class.
    pub const REASONING: Self =
        Self { first_token: Duration::from_millis(600), per_token: Duration::from_micros(9_000) };
    /// A lightweight model.
    pub const LIGHTWEIGHT: Self =
        Self { first_token: Duration::from_millis(250), per_token: Duration::from_micros(4_000) };

    /// The same latency, `factor` times shorter; 0 means none at all.
    #[must_use]
    pub fn shortened(self, factor: u32) -> Self {
        let shorten = |time: Duration| time.checked_div(factor).unwrap_or_default();
        Self { first_token: shorten(self.first_token), per_token: shorten(self.per_token) }
    }
}

impl ModelScript {
    /// A model with its list price if it is a known one (free otherwise), no latency, good habits,
    /// and the reply `ok` until told otherwise.
    pub fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            reply_name: None,
            prices: PriceList::of(name),
            steps: Vec::new(),
            cues: Vec::new(),
            habits: Habits { cache_writes: CacheWrites::of(name), ..Habits::default() },
            latency: Latency::ZERO,
        }
    }

    /// Sets the prices that the invoice uses.
    #[must_use]
    pub fn priced(mut self, prices: PriceList) -> Self {
        self.prices = prices;
        self
    }

    /// Answers under another name, as the real API does when an alias stands for a dated snapshot. The
    /// invoice keeps the name that was asked for.
    #[must_use]
    pub fn answers_as(mut self, snapshot: &str) -> Self {
        self.reply_name = Some(snapshot.to_owned());
        self
    }

    /// Sets whether cache writes are billed apart (default: for names that start with `gpt-5.6`).
    #[must_use]
    pub fn cache_writes(mut self, writes: CacheWrites) -> Self {
        self.habits.cache_writes = writes;
        self
    }

    /// Sets how long it takes to think.
    #[must_use]
    pub fn takes(mut self, latency: Latency) -> Self {
        self.latency = latency;
        self
    }

    /// Answers every (further) request with `text`.
    #[must_use]
    pub fn replies(self, text: &str) -> Self {
        self.then(Reply::text(text))
    }

    /// Answers every (further) request with the last user message.
    #[must_use]
    pub fn echoes(self) -> Self {
        self.then(Reply::echo())
    }

    /// Answers the next request of this model with `reply`; the last reply of a script repeats for ever.
    #[must_use]
    pub fn then(self, reply: Reply) -> Self {
        self.then_times(1, reply)
    }

    /// Answers the next `times` requests of this model with `reply`.
    #[must_use]
    pub fn then_times(mut self, times: u64, reply: Reply) -> Self {
        self.steps.push((times, reply));
        self
    }

    /// Answers with `reply` whenever the last user message contains `words`, whatever the order of requests.
    /// Such requests take no step of the sequence; of several cues the first that fits counts.
    #[must_use]
    pub fn when(mut self, words: &str, reply: Reply) -> Self {
        self.cues.push((words.to_owned(), reply));
        self
    }

    /// Sets what is billed when the connection breaks before the end (default: what was generated so far).
    #[must_use]
    pub fn bills_after_cut(mut self, after_cut: BillsAfterCut) -> Self {
        self.habits.after_cut = after_cut;
        self
    }

    /// Generates, reports and bills beyond `max_completion_tokens`.
    #[must_use]
    pub fn ignores_limits(mut self) -> Self {
        self.habits.limits = LimitKeeping::Ignores;
        self
    }

    /// Refuses function tools in chat completions unless `reasoning_effort` is `none`, as OpenAI's models do from GPT-5.4 on.
    #[must_use]
    pub fn refuses_tools_in_chat(mut self) -> Self {
        self.habits.chat_tools = ChatTools::Refused;
        self
    }

    /// Refuses in chat completions what a vendor refuses that has these manners.
    #[must_use]
    pub fn minds(mut self, manners: Manners) -> Self {
        self.habits.manners = Some(manners);
        self
    }

    /// Thinks for `tokens` before each choice, unless `reasoning_effort` is `none`.
    #[must_use]
    pub fn reasons(mut self, tokens: u64) -> Self {
        self.habits.reasoning = tokens;
        self
    }

    /// Thinks for `tokens` before each choice, bills them and leaves them out of the usage.
    #[must_use]
    pub fn hides_reasoning(mut self, tokens: u64) -> Self {
        self.habits.reasoning = tokens;
        self.habits.reasoning_report = ReasoningReport::Hidden;
        self
    }

    /// In how many tokens it thinks before `answer`.
    pub(super) fn thinks(&self, answer: &Answer) -> u64 {
        let said = answer.thought.as_ref().map_or(0, |thought| count(&thought.text));
        self.habits.reasoning.max(said)
    }

    /// The reply that is cued by `text`, if any.
    pub(super) fn reply_to(&self, text: &str) -> Option<Reply> {
        self.cues.iter().find(|(words, _)| text.contains(words.as_str())).map(|(_, reply)| reply.clone())
    }

    /// The reply to the `ordinal`-th request, counted from 0.
    pub(super) fn reply(&self, ordinal: u64) -> Reply {
        let mut before = 0;
        for (times, reply) in &self.steps {
            before += times;
            if ordinal < before {
                return reply.clone();
            }
        }
        self.steps.last().map_or_else(|| Reply::text("ok"), |(_, reply)| reply.clone())
    }
}

/// A tool call that a model makes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ToolCall {
    /// `call_…`; empty for one made up by the provider.
    pub id: String,
    /// The function's name.
    pub name: String,
    /// Its arguments as the model wrote them, JSON or not.
    pub arguments: String,
}

/// What a model says: text, a refusal, tool calls, or several of these.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Answer {
    /// `content`.
    pub text: Option<String>,
    /// `refusal`.
    pub refusal: Option<String>,
    /// `tool_calls`.
    pub calls: Vec<ToolCall>,
    /// What was thought before; chat completions do not show it, and bill it all the same.
    pub thought: Option<Thought>,
}

/// What a model thinks before it speaks.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Thought {
    /// The thought, in full.
    pub text: String,
    /// Whether it is shown only as a sealed block.
    pub redacted: bool,
}

/// One scripted answer.
#[derive(Clone, Debug)]
pub struct Reply {
    pub(super) what: What,
    pub(super) manner: Manner,
}

#[derive(Clone, Debug)]
pub(super) enum What {
    /// Generated, metered and billed; several entries are the choices, the last one repeats.
    Answers(Arc<[Answer]>),
    Echo,
    /// Found among the recordings by the hash of the messages.
    Recorded,
    /// So many one-token deltas of text.
    Tokens(u64),
    /// A status with headers and a body (by default the dialect's own error), never billed.
    Status {
        status: u16,
        headers: Vec<(String, String)>,
        body: Option<Bytes>,
    },
    /// These bytes in these pieces; billed only if said so.
    Raw {
        content_type: String,
        pieces: Vec<Bytes>,
        billed: Option<(u64, u64)>,
    },
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Manner {
    pub(super) first_byte: Duration,
    pub(super) gap: Duration,
    pub(super) stall_after: Option<u64>,
    pub(super) piece_bytes: Option<usize>,
    pub(super) ending: Ending,
    pub(super) usage: UsageReport,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) enum Ending {
    #[default]
    Complete,
    WithoutDone,
    ResetBeforeHeaders,
    /// After so many events of a stream, or half-way through a whole document.
    Reset(u64),
    /// A well-formed end of the transfer after so many events.
    EndsAfter(u64),
    /// A well-formed end of the transfer in the middle of the event after so many.
    MidEvent(u64),
    /// An error event after so many events.
    ErrorEvent(u64, Fault),
    /// A response that ends as failed after so many events; where a dialect has no such end, an error event.
    Failed(u64, Fault),
}

/// What a provider says when it breaks down in mid-answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fault {
    Server,
    Overloaded,
    RateLimited,
}

/// How the usage of an answer is reported.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum UsageReport {
    #[default]
    AsAsked,
    Missing,
    Zero,
    Twice,
}
