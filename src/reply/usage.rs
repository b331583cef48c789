//! Token usage of one attempt, normalised so that every provider's figures add up the same way.
//!
//! `input_tokens` includes cached and cache-write tokens and `output_tokens` includes reasoning
//! tokens, whatever the provider's own convention; `wire` converts at the edge. An explicit zero is a
//! figure; a missing figure is `None` of the whole `Usage`.

use serde::{Deserialize, Serialize};

/// Tokens of one attempt by kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Usage {
    /// Everything that was read: uncached, cached and written to the cache.
    pub input_tokens: u64,
    /// The part of the input that the provider read from its prefix cache.
    pub cached_input_tokens: u64,
    /// The part of the input that was written to the provider's cache for five minutes (or its only kind).
    pub cache_write_tokens: u64,
    /// The part of the input that was written to the provider's cache for an hour.
    pub cache_write_1h_tokens: u64,
    /// Everything that was generated: visible and reasoning.
    pub output_tokens: u64,
    /// The part of the output that was reasoning.
    pub reasoning_tokens: u64,
    /// What may be priced apart from text. The ledger is told it by a record of its own, since most have none.
    #[serde(skip)]
    pub apart: Apart,
}

/// Tokens of sound and of images, which are parts of their totals, and calls of tools that the provider runs, which are beside
/// them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Apart {
    /// Sound that was heard.
    pub audio_input_tokens: u64,
    /// The part of it that the provider read from its cache; `None`: nobody said.
    pub cached_audio_input_tokens: Option<u64>,
    /// Sound that was made.
    pub audio_output_tokens: u64,
    /// Images that were seen.
    pub image_input_tokens: u64,
    /// Images that were made.
    pub image_output_tokens: u64,
    /// Calls of the provider's tools, by kind.
    pub calls: Calls,
}

/// Calls of tools that the provider runs and charges by the call.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Calls {
    /// Searches of the web.
    pub web_search: u64,
    /// Pages that were fetched.
    pub web_fetch: u64,
    /// Runs of code.
    pub code_interpreter: u64,
    /// Searches of files that were stored with the provider.
    pub file_search: u64,
}

impl Calls {
    /// None of any kind.
    pub const NONE: Self = Self { web_search: 0, web_fetch: 0, code_interpreter: 0, file_search: 0 };
    /// The kinds, as a row of the price book names their fees.
    pub const KINDS: [&str; 4] = ["web_search", "web_fetch", "code_interpreter", "file_search"];

    /// How many of each kind, in the order of [`Self::KINDS`].
    pub fn each(self) -> [u64; Self::KINDS.len()] {
        [self.web_search, self.web_fetch, self.code_interpreter, self.file_search]
    }

    /// From so many of each kind, in the order of [`Self::KINDS`].
    pub fn of([web_search, web_fetch, code_interpreter, file_search]: [u64; Self::KINDS.len()]) -> Self {
        Self { web_search, web_fetch, code_interpreter, file_search }
    }
}

impl Apart {
    /// All of it is text.
    pub const NONE: Self = Self {
        calls: Calls::NONE,
        audio_input_tokens: 0,
        cached_audio_input_tokens: None,
        audio_output_tokens: 0,
        image_input_tokens: 0,
        image_output_tokens: 0,
    };

    fn each(self, other: Self, of: fn(u64, u64) -> u64) -> Self {
        let cached = match (self.cached_audio_input_tokens, other.cached_audio_input_tokens) {
            (Some(one), Some(other)) => Some(of(one, other)),
            (one, other) => one.or(other),
        };
        Self {
            audio_input_tokens: of(self.audio_input_tokens, other.audio_input_tokens),
            cached_audio_input_tokens: cached,
            audio_output_tokens: of(self.audio_output_tokens, other.audio_output_tokens),
            image_input_tokens: of(self.image_input_tokens, other.image_input_tokens),
            image_output_tokens: of(self.image_output_tokens, other.image_output_tokens),
            calls: {
                let (one, other) = (self.calls.each(), other.calls.each());
                Calls::of(std::array::from_fn(|kind| of(one[kind], other[kind])))
            },
        }
    }
}

impl Usage {
    /// The larger of both, kind by kind: a provider's running totals never fall.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        self.each(other, u64::max)
    }

    /// The same with all of it taken for text.
    #[must_use]
    pub fn as_text(self) -> Self {
        Self { apart: Apart::NONE, ..self }
    }

    /// The same without the calls of tools.
    #[must_use]
    pub fn without_calls(self) -> Self {
        Self { apart: Apart { calls: Calls::NONE, ..self.apart }, ..self }
    }

    /// Both together, kind by kind.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        self.each(other, u64::saturating_add)
    }

    fn each(self, other: Self, of: fn(u64, u64) -> u64) -> Self {
        Self {
            input_tokens: of(self.input_tokens, other.input_tokens),
            cached_input_tokens: of(self.cached_input_tokens, other.cached_input_tokens),
            cache_write_tokens: of(self.cache_write_tokens, other.cache_write_tokens),
            cache_write_1h_tokens: of(self.cache_write_1h_tokens, other.cache_write_1h_tokens),
            output_tokens: of(self.output_tokens, other.output_tokens),
            reasoning_tokens: of(self.reasoning_tokens, other.reasoning_tokens),
            apart: self.apart.each(other.apart, of),
        }
    }
}

/// Where the figures of a row come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Source {
    /// The provider said so.
    Reported,
    /// Counted here, because the provider did not say.
    Estimated,
    /// Nothing is known beyond the interval.
    Unknown,
}

impl Source {
    /// The word in ledger and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reported => "reported",
            Self::Estimated => "estimated",
            Self::Unknown => "unknown",
        }
    }
}

/// Why a cost is not known. Of several reasons the larger one is told.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum WhyUnknown {
    /// The attempt was cut, broke off, or ended in an error that may be billed: nobody said what was used.
    Unreported,
    /// Nobody reported what a recording or a file has that was sent along.
    Attachments,
    /// A total has more tokens than its parts.
    Total,
    /// Tokens that are priced apart from text, such as those of sound.
    OtherTokens,
    /// Fees by the call: searches, sources, tools that the provider runs.
    Fees,
    /// The price book has no rate for input that is written to the cache for an hour.
    CacheWriteRate,
    /// The price book has no rate for the model's output.
    OutputRate,
    /// The price book has no rates for inputs of this length in the service tier.
    Length,
    /// The price book has no rates for the service tier.
    ServiceTier,
    /// The price book has no row for the model.
    Price,
}

impl WhyUnknown {
    /// The word in ledger and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unreported => "unreported",
            Self::Attachments => "attachments",
            Self::Total => "total",
            Self::OtherTokens => "other_tokens",
            Self::Fees => "fees",
            Self::CacheWriteRate => "cache_write_rate",
            Self::OutputRate => "output_rate",
            Self::Length => "length",
            Self::ServiceTier => "service_tier",
            Self::Price => "price",
        }
    }
}

/// The price class that a provider applied to a request.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub enum ServiceTier {
    /// List price.
    #[default]
    Standard,
    /// Asynchronous batches.
    Batch,
    /// Slower and cheaper.
    Flex,
    /// Faster and dearer.
    Priority,
    /// A class that this version knows no price for: its cost is unknown, never the list price.
    Other,
}

impl ServiceTier {
    /// Reads `service_tier` as a *reply* spells it: `auto` never occurs there. `on_demand` is Groq's word.
    pub fn from_reply(text: &str) -> Self {
        match text {
            "default" | "standard" | "on_demand" | "auto" => Self::Standard,
            "batch" => Self::Batch,
            "flex" => Self::Flex,
            "priority" => Self::Priority,
            _ => Self::Other,
        }
    }

    /// The word in the ledger.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Batch => "batch",
            Self::Flex => "flex",
            Self::Priority => "priority",
            Self::Other => "other",
        }
    }
}
