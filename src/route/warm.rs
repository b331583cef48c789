//! Whether a conversation should leave the model that it is on for a cheaper one, and where one should begin.
//!
//! A model that answered a moment ago has the conversation's prefix in its provider's cache, and reads it at a fraction
//! of the price; another one reads all of it at full price, and writes it to its own. Both ways are priced for this one
//! step by the book, as a request of the same tokens each: the step moves only if that is cheaper at once, and not on the
//! hope of further steps. Only where a conversation begins are two steps weighed ([`begins_above`]).

use crate::money::NanoUsd;
use crate::plan::ModelRef;
use crate::reply::usage::Usage;
use crate::task::Tier;

use super::rises::{MILLION, Rise};

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
    /// Where conversations like it mostly go on to; `None`: they stay where they begin, or nobody has looked.
    pub rise: Option<Rise>,
    /// The rule that an earlier step of its turn matched, by its place, where the texts that are read do not say.
    pub ruled: Option<usize>,
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

    /// Whether no provider has any of it in its cache.
    pub fn is_cold(&self) -> bool {
        self.models.iter().flatten().all(|warm| warm.tokens < CACHED_PREFIX_TOKENS_MIN)
    }
}

/// Whether `step` stays on `held` although `other` is of a cheaper tier. `other_tokens` of its prefix are warm there.
/// Without a warm prefix there is nothing to lose; without a price nobody knows what there is to win.
pub fn stays(held: &Warm, other: &ModelRef, other_tokens: u64, step: Step, price: PriceOf<'_>) -> bool {
    if held.tokens < CACHED_PREFIX_TOKENS_MIN {
        return false;
    }
    match (price(&held.model, &step.usage(held.tokens)), price(other, &step.usage(other_tokens))) {
        (Some(staying), Some(moving)) => moving >= staying,
        _ => true,
    }
}

/// Whether `step` stays on `held` although its tier lists `first` in front of it. It does unless that is known to cost
/// more: a conversation is best answered by one model.
pub fn keeps(held: &Warm, first: &ModelRef, step: Step, price: PriceOf<'_>) -> bool {
    match (price(&held.model, &step.usage(held.tokens)), price(first, &step.usage(0))) {
        (Some(staying), Some(leaving)) => staying <= leaving,
        _ => true,
    }
}

/// Whether a conversation begins on `dearer` although `cheaper` would do for its first step, since so many of those that
/// begin there move up: the step and one like it are cheaper then. A short prefix is in no cache, and costs the same
/// whenever it is read.
pub fn begins_above(cheaper: &ModelRef, dearer: &ModelRef, rises_ppm: u32, step: Step, price: PriceOf<'_>) -> bool {
    if step.prompt_tokens < CACHED_PREFIX_TOKENS_MIN {
        return false;
    }
    let cost = |model, warm| price(model, &step.usage(warm)).map(|cost| i128::from(cost.0));
    let both = |model| Some((cost(model, 0)?, cost(model, step.prompt_tokens)?));
    let (Some((cold, warm)), Some((dearer_cold, dearer_warm))) = (both(cheaper), both(dearer)) else { return false };
    let (rises, all) = (i128::from(rises_ppm.min(MILLION)), i128::from(MILLION));
    all * (dearer_cold + dearer_warm) < all * cold + rises * dearer_cold + (all - rises) * warm
}

impl Step {
    /// What it uses where so many tokens are warm. What a provider reads anew it writes to its cache.
    fn usage(self, warm: u64) -> Usage {
        let input_tokens = self.prompt_tokens;
        let cached_input_tokens = if warm < CACHED_PREFIX_TOKENS_MIN { 0 } else { warm.min(input_tokens) };
        let is_written = input_tokens >= CACHED_PREFIX_TOKENS_MIN;
        let cache_write_tokens = if is_written { input_tokens - cached_input_tokens } else { 0 };
        let output_tokens = self.output_tokens;
        Usage { input_tokens, cached_input_tokens, cache_write_tokens, output_tokens, ..Usage::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{ModelId, ProviderId};

    fn model(name: &str) -> ModelRef {
        ModelRef { provider: ProviderId::from("p"), model: ModelId::from(name) }
    }

    /// Nano-dollars a token: input, cached input, writes to the cache, output.
    fn price(model: &ModelRef, usage: &Usage) -> Option<NanoUsd> {
        let (input, cached, written, output) = match model.model.as_str() {
            "strong" => (5_000, 500, 5_000, 30_000),
            "light" => (200, 20, 200, 1_200),
            "light, dear to write" => (200, 20, 600, 1_200),
            "middle" => (2_500, 250, 2_500, 15_000),
            _ => return None,
        };
        let sum = (usage.input_tokens - usage.cached_input_tokens - usage.cache_write_tokens) * input
            + usage.cached_input_tokens * cached
            + usage.cache_write_tokens * written
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
        // No provider caches less than 1,024 tokens: what is warm at the other one is of no use.
        check(("strong", 1_400), ("middle", 1_023), (1_500, 50), true);
        check(("strong", 1_400), ("middle", 1_024), (1_500, 50), false);
        // The cheaper one knows the prefix too.
        check(("strong", 60_000), ("middle", 58_000), (61_000, 256), false);
    }

    #[test]
    fn what_is_read_anew_is_written_to_the_cache_at_its_own_price() {
        // 60,000 tokens are read for 12 m$, and written for 36; cached at 500 they cost 30.
        check(("strong", 60_000), ("light, dear to write", 0), (60_000, 10), true);
        check(("strong", 60_000), ("light", 0), (60_000, 10), false);
    }

    #[track_caller]
    fn check_keeps(held: (&str, u64), first: &str, expected: bool) {
        let held = Warm { model: model(held.0), tokens: held.1 };
        let step = Step { prompt_tokens: 20_000, output_tokens: 256 };
        assert_eq!(keeps(&held, &model(first), step, &price), expected, "{held:?} {first}");
    }

    #[test]
    fn a_fallback_is_left_for_the_tiers_first_model_where_that_costs_less() {
        check_keeps(("strong", 20_000), "light", false);
        check_keeps(("strong", 0), "light", false);
        check_keeps(("strong", 20_000), "middle", true);
        check_keeps(("strong", 0), "middle", false);
        // The same price, and no price.
        check_keeps(("middle", 0), "middle", true);
        check_keeps(("unpriced", 0), "light", true);
    }

    #[track_caller]
    fn check_begins(rises_ppm: u32, cheaper: &str, prompt_tokens: u64, expected: bool) {
        let step = Step { prompt_tokens, output_tokens: 256 };
        let found = begins_above(&model(cheaper), &model("strong"), rises_ppm, step, &price);
        assert_eq!(found, expected, "{rises_ppm} {cheaper} {prompt_tokens}");
    }

    #[test]
    fn a_conversation_begins_above_only_where_paying_for_its_prefix_twice_is_likely_and_dear() {
        // 20,000 tokens: 50 m$ here and 100 there if it moves up; 100 and 10 if it begins there.
        check_begins(500_000, "middle", 20_000, false);
        check_begins(750_000, "middle", 20_000, true);
        // A twenty-fifth of the price is a small loss, however often.
        check_begins(1_000_000, "light", 20_000, false);
        check_begins(1_000_000, "middle", 1_000, false);
        check_begins(1_000_000, "unpriced", 20_000, false);
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
