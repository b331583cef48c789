//! Whether a conversation should leave the model that it is on for a cheaper one.
//!
//! A model that answered a moment ago has the conversation's prefix in its provider's cache, and reads it at a fraction
//! of the price; another one reads all of it at full price. Both ways are priced for this one step by the book, as a
//! request of the same tokens each: the step moves only if that is cheaper at once, and not on the hope of further steps.

use crate::money::NanoUsd;
use crate::plan::ModelRef;
use crate::reply::usage::Usage;
use crate::task::Tier;

/// Shorter prefixes are in no provider's cache. <https://platform.openai.com/docs/guides/prompt-caching>
pub const CACHED_PREFIX_TOKENS_MIN: u64 = 1_024;
/// Cached prefixes end at multiples of so many tokens.
pub const CACHED_PREFIX_TOKENS_STEP: u64 = 128;
/// Output tokens that a step is taken to have where nothing is known of it. Few: a step that writes more saves more.
pub const OUTPUT_TOKENS_EXPECTED: u64 = 256;

/// The price of a call to a model; `None`: unknown.
pub type PriceOf<'a> = &'a dyn Fn(&ModelRef, &Usage) -> Option<NanoUsd>;

/// Where a conversation has been.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Held {
    /// The tier of its last answer.
    pub tier: Option<Tier>,
    /// The model of each tier that answered last.
    pub models: [Option<Warm>; Tier::ALL.len()],
}

/// A model that knows the conversation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Warm {
    /// The model.
    pub model: ModelRef,
    /// How much of the prompt its provider is taken to have in its cache, in tokens; 0: nothing.
    pub tokens: u64,
}

/// How large a step is, in tokens.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Step {
    /// The whole prompt.
    pub prompt_tokens: u64,
    /// The answer.
    pub output_tokens: u64,
}

impl Held {
    /// The model of a tier that knows the conversation.
    pub fn of(&self, tier: Tier) -> Option<&Warm> {
        self.models[tier as usize].as_ref()
    }
}

/// Whether `step` stays on `held` although `other` is of a cheaper tier. `other_tokens` of its prefix are warm there.
/// Without a warm prefix there is nothing to lose; without a price nobody knows what there is to win.
pub fn stays(held: &Warm, other: &ModelRef, other_tokens: u64, step: Step, price: PriceOf<'_>) -> bool {
    if held.tokens < CACHED_PREFIX_TOKENS_MIN {
        return false;
    }
    let usage = |warm: u64| Usage {
        input_tokens: step.prompt_tokens,
        cached_input_tokens: if warm < CACHED_PREFIX_TOKENS_MIN { 0 } else { warm.min(step.prompt_tokens) },
        output_tokens: step.output_tokens,
        ..Usage::default()
    };
    match (price(&held.model, &usage(held.tokens)), price(other, &usage(other_tokens))) {
        (Some(staying), Some(moving)) => moving >= staying,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{ModelId, ProviderId};

    fn model(name: &str) -> ModelRef {
        ModelRef { provider: ProviderId::from("p"), model: ModelId::from(name) }
    }

    /// Nano-dollars a token: input, cached input, output.
    fn price(model: &ModelRef, usage: &Usage) -> Option<NanoUsd> {
        let (input, cached, output) = match model.model.as_str() {
            "strong" => (5_000, 500, 30_000),
            "light" => (200, 20, 1_200),
            "middle" => (2_500, 250, 15_000),
            _ => return None,
        };
        let sum = (usage.input_tokens - usage.cached_input_tokens) * input
            + usage.cached_input_tokens * cached
            + usage.output_tokens * output;
        Some(NanoUsd(i64::try_from(sum).unwrap()))
    }

    #[track_caller]
    fn check(from: (&str, u64), to: (&str, u64), step: (u64, u64), expected: bool) {
        let held = Warm { model: model(from.0), tokens: from.1 };
        let step = Step { prompt_tokens: step.0, output_tokens: step.1 };
        assert_eq!(stays(&held, &model(to.0), to.1, step, &price), expected, "{from:?} {to:?} {step:?}");
    }

    #[test]
    fn a_step_moves_down_only_if_that_is_cheaper_at_once() {
        // 60,000 tokens cold at 200 cost less than the same cached at 500.
        check(("strong", 60_000), ("light", 0), (61_000, 256), false);
        // 60,000 cold at 2,500 cost 150 m$; cached at 500 they cost 30 m$, and the answer saves only 4.
        check(("strong", 60_000), ("middle", 0), (60_000, 256), true);
        // A long answer pays for the cold prefix: 120 m$ more to read, 150 m$ less to write.
        check(("strong", 60_000), ("middle", 0), (60_000, 10_000), false);
        // So does much that is new, and read at full price either way.
        check(("strong", 2_000), ("middle", 0), (60_000, 256), false);
        // The cheaper one knows the prefix too.
        check(("strong", 60_000), ("middle", 58_000), (61_000, 256), false);
    }

    #[test]
    fn without_a_warm_prefix_nothing_keeps_it() {
        check(("strong", 0), ("middle", 0), (60_000, 256), false);
        check(("strong", 1_000), ("unpriced", 0), (1_000, 256), false);
    }

    #[test]
    fn a_price_that_is_not_known_keeps_it_where_it_is_warm() {
        check(("strong", 60_000), ("unpriced", 0), (61_000, 256), true);
        check(("unpriced", 60_000), ("light", 0), (61_000, 256), true);
    }
}
