//! The simulated provider's price lists and its own arithmetic.
//!
//! Prices are micro-dollars a million tokens, so that every list price is a whole number. A request's
//! amount is summed unrounded and rounded once, half to even, to nano-dollars. Nothing here is shared
//! with the gateway's `cost` room: the invoice would prove nothing if it were.

use crate::money::NanoUsd;

/// Prices of one kind of request, in micro-dollars a million tokens.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Rates {
    /// Input that was neither read from nor written to the prefix cache.
    pub input: u64,
    /// Input that was read from the prefix cache.
    pub cached_input: u64,
    /// Input that was written to the prefix cache.
    pub cache_write: u64,
    /// Output, reasoning included.
    pub output: u64,
}

/// The price class of a request, as its reply names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum PriceClass {
    /// List price.
    #[default]
    Standard,
    /// Half the list price.
    Flex,
    /// Twice the list price.
    Priority,
}

impl PriceClass {
    /// The class that a request's `service_tier` asks for; `auto`, unknown words and nothing are standard.
    pub fn asked(service_tier: Option<&str>) -> Self {
        match service_tier {
            Some("flex") => Self::Flex,
            Some("priority") => Self::Priority,
            _ => Self::Standard,
        }
    }

    /// `service_tier` of the reply.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Standard => "default",
            Self::Flex => "flex",
            Self::Priority => "priority",
        }
    }

    /// Numerator and denominator of the multiple of the list price.
    fn multiple(self) -> (u128, u128) {
        match self {
            Self::Standard => (1, 1),
            Self::Flex => (1, 2),
            Self::Priority => (2, 1),
        }
    }
}

/// Tokens that a request is billed for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct BilledTokens {
    /// All input: uncached, cached and written.
    pub input: u64,
    /// The part of the input that was read from the prefix cache.
    pub cached_input: u64,
    /// The part of the input that was written to the prefix cache.
    pub cache_write: u64,
    /// The part of what was written that stays for an hour.
    pub cache_write_1h: u64,
    /// All output, reasoning included.
    pub output: u64,
    /// The part of the output that was reasoning.
    pub reasoning: u64,
}

/// What a model costs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PriceList {
    rates: Rates,
    long: Option<(u64, Rates)>,
}

impl PriceList {
    /// Everything at nothing.
    pub const FREE: Self = Self { rates: Rates { input: 0, cached_input: 0, cache_write: 0, output: 0 }, long: None };

    /// The same `rates` for prompts of any length.
    pub const fn flat(rates: Rates) -> Self {
        Self { rates, long: None }
    }

    /// Re-prices a whole request at `rates` once its input exceeds `input_tokens`.
    #[must_use]
    pub const fn above(mut self, input_tokens: u64, rates: Rates) -> Self {
        self.long = Some((input_tokens, rates));
        self
    }

    /// List prices of `gpt-5.6-sol`, November 2026.
    pub const fn sol() -> Self {
        Self::flat(micro_usd(4_000_000, 400_000, 5_000_000, 20_000_000))
            .above(272_000, micro_usd(8_000_000, 800_000, 10_000_000, 30_000_000))
    }

    /// List prices of `gpt-5.6-terra`, November 2026.
    pub const fn terra() -> Self {
        Self::flat(micro_usd(2_000_000, 200_000, 2_500_000, 12_000_000))
            .above(272_000, micro_usd(4_000_000, 400_000, 5_000_000, 18_000_000))
    }

    /// List prices of `gpt-5.6-luna`, November 2026.
    pub const fn luna() -> Self {
        Self::flat(micro_usd(200_000, 20_000, 250_000, 1_200_000))
            .above(272_000, micro_usd(400_000, 40_000, 500_000, 1_800_000))
    }

    /// List prices of `claude-opus-5-5`, November 2026.
    pub const fn opus() -> Self {
        Self::flat(micro_usd(4_000_000, 200_000, 5_000_000, 20_000_000))
    }

    /// List prices of `claude-sonnet-5-5`, November 2026.
    pub const fn sonnet() -> Self {
        Self::flat(micro_usd(2_000_000, 100_000, 2_500_000, 10_000_000))
    }

    /// List prices of `claude-haiku-5-5`, November 2026.
    pub const fn haiku() -> Self {
        Self::flat(micro_usd(100_000, 10_000, 125_000, 500_000))
            .above(100_000, micro_usd(500_000, 50_000, 625_000, 2_500_000))
    }

    /// The list price of a model that this provider knows by name; [`PriceList::FREE`] for any other.
    pub fn of(model: &str) -> Self {
        match model {
            "gpt-5.6-sol" | "gpt-5.6" => Self::sol(),
            "gpt-5.6-terra" => Self::terra(),
            "gpt-5.6-luna" => Self::luna(),
            "gpt-3.5-turbo-instruct" => Self::flat(micro_usd(1_500_000, 1_500_000, 1_500_000, 2_000_000)),
            "text-embedding-3-small" => Self::flat(micro_usd(20_000, 20_000, 20_000, 0)),
            "text-embedding-3-large" => Self::flat(micro_usd(130_000, 130_000, 130_000, 0)),
            "claude-opus-5-5" => Self::opus(),
            "claude-sonnet-5-5" => Self::sonnet(),
            "claude-haiku-5-5" => Self::haiku(),
            "claude-opus-4-8" | "claude-opus-4-7" | "claude-opus-4-6" | "claude-opus-4-5" => {
                Self::flat(micro_usd(5_000_000, 500_000, 6_250_000, 25_000_000))
            }
            "claude-sonnet-4-6" | "claude-sonnet-4-5" => {
                Self::flat(micro_usd(3_000_000, 300_000, 3_750_000, 15_000_000))
            }
            "claude-haiku-4-5" => Self::flat(micro_usd(1_000_000, 100_000, 1_250_000, 5_000_000)),
            _ => Self::FREE,
        }
    }

    /// What `tokens` cost in `class`, rounded once, half to even; saturates at the largest amount.
    pub fn amount(&self, tokens: &BilledTokens, class: PriceClass) -> NanoUsd {
        let rates = match self.long {
            Some((threshold, rates)) if tokens.input > threshold => rates,
            _ => self.rates,
        };
        let plain = tokens.input.saturating_sub(tokens.cached_input).saturating_sub(tokens.cache_write);
        let (times, over) = class.multiple();
        let parts = [
            (plain, rates.input),
            (tokens.cached_input, rates.cached_input),
            (tokens.cache_write.saturating_sub(tokens.cache_write_1h), rates.cache_write),
            // An hour in the cache costs twice the plain input, whatever five minutes cost.
            (tokens.cache_write_1h, rates.input * 2),
            (tokens.output, rates.output),
        ];
        let pico: u128 = parts.iter().map(|(n, price)| u128::from(*n) * u128::from(*price) * times).sum();
        nano_half_even(pico, 1000 * over)
    }
}

const fn micro_usd(input: u64, cached_input: u64, cache_write: u64, output: u64) -> Rates {
    Rates { input, cached_input, cache_write, output }
}

fn nano_half_even(amount: u128, unit: u128) -> NanoUsd {
    let (whole, twice_rest) = (amount / unit, amount % unit * 2);
    let nano = match twice_rest.cmp(&unit) {
        std::cmp::Ordering::Less => whole,
        std::cmp::Ordering::Equal => whole + whole % 2,
        std::cmp::Ordering::Greater => whole + 1,
    };
    NanoUsd(i64::try_from(nano).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(prices: PriceList, class: PriceClass, tokens: [u64; 4], nano: i64) {
        let [input, cached_input, cache_write, output] = tokens;
        let billed = BilledTokens { input, cached_input, cache_write, output, ..BilledTokens::default() };
        assert_eq!(prices.amount(&billed, class), NanoUsd(nano), "{billed:?} as {class:?}");
    }

    #[test]
    fn each_kind_of_token_has_its_own_price() {
        // 1,000 x $4 + 1,024 x $0.40 + 128 x $5 + 10 x $20, all a million.
        check(PriceList::sol(), PriceClass::Standard, [2_152, 1_024, 128, 10], 4_000_000 + 409_600 + 640_000 + 200_000);
        check(PriceList::luna(), PriceClass::Standard, [1_000_000, 0, 0, 1_000_000], 400_000_000 + 1_800_000_000);
    }

    #[test]
    fn an_hour_in_the_cache_costs_twice_the_input() {
        let billed = BilledTokens {
            input: 3_100,
            cached_input: 1_000,
            cache_write: 2_000,
            cache_write_1h: 500,
            ..BilledTokens::default()
        };
        // 100 x $4 + 1,000 x $0.20 + 1,500 x $5 + 500 x $8, all a million.
        let nano = 400_000 + 200_000 + 7_500_000 + 4_000_000;
        assert_eq!(PriceList::opus().amount(&billed, PriceClass::Standard), NanoUsd(nano));
    }

    #[test]
    fn a_long_prompt_is_priced_anew_as_a_whole() {
        check(PriceList::terra(), PriceClass::Standard, [272_000, 0, 0, 1], 544_000_000 + 12_000);
        check(PriceList::terra(), PriceClass::Standard, [272_001, 0, 0, 1], 1_088_004_000 + 18_000);
    }

    #[test]
    fn flex_is_half_and_priority_twice_the_list_price() {
        check(PriceList::luna(), PriceClass::Flex, [10, 0, 0, 3], 1_000 + 1_800);
        check(PriceList::luna(), PriceClass::Priority, [10, 0, 0, 3], 4_000 + 7_200);
    }

    #[test]
    fn an_amount_is_rounded_once_and_half_to_even() {
        let odd = PriceList::flat(Rates { input: 500, cached_input: 0, cache_write: 0, output: 0 });
        for (tokens, nano) in [(1, 0), (2, 1), (3, 2), (4, 2), (5, 2), (7, 4)] {
            check(odd, PriceClass::Standard, [tokens, 0, 0, 0], nano);
        }
        check(odd, PriceClass::Flex, [3, 0, 0, 0], 1);
        check(odd, PriceClass::Flex, [6, 0, 0, 0], 2);
    }
}
