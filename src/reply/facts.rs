//! What metering needs to know of a reply, whichever dialect it is in.
//!
//! Readers of `wire` make it, of a whole answer or of one event of a stream; providers and meter decide on it.

use crate::money::NanoUsd;

use super::usage::{ServiceTier, Usage, WhyUnknown};

/// What a whole answer or one chunk of a stream says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Facts {
    /// Usage, if it is there and not null.
    pub usage: Option<Usage>,
    /// What is billed beside the usage: tokens of kinds that are priced apart, such as audio, or fees.
    pub beside: Option<WhyUnknown>,
    /// What the provider says that it charges.
    pub stated: Option<NanoUsd>,
    /// The price class that the provider applied.
    pub service_tier: Option<ServiceTier>,
    /// How many choices it carries.
    pub choices: u64,
    /// How many of them say why they ended.
    pub finished: u64,
    /// Bytes of generated text in it, escapes resolved: content, refusals, reasoning, arguments of calls.
    pub text_bytes: u64,
    /// Words that begin behind a blank in it.
    pub words: u64,
    /// Whether it is an error object instead of an answer.
    pub error: bool,
    /// It is what a response begins with in a stream: its id is told for the first time.
    pub begins: bool,
    /// What it means for the end of its stream.
    pub ending: Ending,
}

/// What an event means for the end of its stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Ending {
    /// Nothing: more may follow.
    #[default]
    Goes,
    /// The answer is complete, and nothing follows.
    Over,
}
