//! Costs from prices and tokens: exact, saturating, rounded once.
//!
//! [`cost_of`] prices a reported usage; [`upper_bound`] is the most that a request may yet cost when only bounds
//! on its tokens are known. When a rate that is needed is unknown, the first says which and the other gives
//! `None`: callers count that and never take it for zero.

use crate::money::{NanoUsd, PicoUsd, PicoUsdPerToken};
use crate::reply::usage::{Apart, Calls, ServiceTier, Usage, WhyUnknown};

use super::price::{Price, Rates, Terms};

/// What an attempt with this usage cost, less `discount_ppm` millionths (15 % is 150,000), rounded half to
/// even to whole nano-dollars.
///
/// A long-context step re-prices the whole request once its input exceeds the step. Figures that contradict
/// each other (parts larger than their whole) are not believed: that side is priced whole at its dearest rate.
/// A free price costs nothing in any service tier.
///
/// # Errors
///
/// Which rate is not known: of the tier, of inputs of this length, of the output or the writes to the cache, of sound or
/// images, of a tool that was called; or nobody said how much of what was read from the cache was sound.
pub fn cost_of(price: &Price, usage: &Usage, tier: ServiceTier, discount_ppm: u32) -> Result<NanoUsd, WhyUnknown> {
    let metered = match &price.terms {
        Terms::Free => return Ok(NanoUsd::ZERO),
        Terms::Metered(metered) => metered,
    };
    let schedule = metered.schedule(tier).ok_or(WhyUnknown::ServiceTier)?;
    let rates = schedule.rates(usage.input_tokens).ok_or(WhyUnknown::Length)?;
    let (sum, text) = add_apart(PicoUsd::default(), rates, usage).ok_or(WhyUnknown::OtherTokens)?;
    let sum = add_input(sum, rates, &text).ok_or(WhyUnknown::CacheWriteRate)?;
    let sum = add_output(sum, rates, &text).ok_or(WhyUnknown::OutputRate)?;
    let sum = metered.fees.add(sum, usage.apart.calls).ok_or(WhyUnknown::Fees)?;
    Ok(round(sum, discount_ppm))
}

/// The part of a cost that calls of the provider's tools make, less `discount_ppm` millionths. `None`: a fee is unknown.
pub fn fees_of(price: &Price, calls: Calls, discount_ppm: u32) -> Option<NanoUsd> {
    match &price.terms {
        Terms::Free => Some(NanoUsd::ZERO),
        Terms::Metered(metered) => Some(round(metered.fees.add(PicoUsd::default(), calls)?, discount_ppm)),
    }
}

/// The most tokens that a request can be billed for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Most {
    /// Input, cached tokens included.
    pub input_tokens: u64,
    /// Output, reasoning included, of which any may be sound or images.
    pub output_tokens: u64,
    /// Whether some of the input may be sound.
    pub hears: bool,
}

/// The most that a request can cost if it reads and writes at most so many tokens, and the provider applies one of `tiers`.
///
/// Never less than [`cost_of`] for any such usage. `None` if any of the tiers has no known price for what is
/// possible, or if `tiers` is empty: a request whose service tier is left to the provider must name every
/// tier that the provider may choose.
pub fn upper_bound(price: &Price, most: Most, tiers: &[ServiceTier], discount_ppm: u32) -> Option<NanoUsd> {
    dearest(price, most.input_tokens, tiers, |rates| {
        let sum = PicoUsd::default().plus(most.input_tokens, rates.dearest_input_of(most.hears));
        match most.output_tokens {
            0 => Some(sum),
            output_tokens => Some(sum.plus(output_tokens, rates.dearest_output_of_any()?)),
        }
    })
    .map(|sum| round(sum, discount_ppm))
}

/// The largest `sum` over every rate set that is possible; `None` if one is unknown.
fn dearest(
    price: &Price,
    input_tokens_max: u64,
    tiers: &[ServiceTier],
    sum: impl Fn(&Rates) -> Option<PicoUsd>,
) -> Option<PicoUsd> {
    let metered = match &price.terms {
        Terms::Free => return Some(PicoUsd::default()),
        Terms::Metered(metered) => metered,
    };
    let mut found = None;
    for &tier in tiers {
        for rates in metered.schedule(tier)?.reachable(input_tokens_max) {
            found = found.max(Some(sum(rates?)?));
        }
    }
    found
}

/// Adds what is no text; gives the rest, too. Images are text where the row has no rate for them.
fn add_apart(sum: PicoUsd, rates: &Rates, usage: &Usage) -> Option<(PicoUsd, Usage)> {
    if usage.apart == Apart::NONE {
        return Some((sum, *usage));
    }
    let (apart, of) = (&usage.apart, &rates.apart);
    let seen = if of.image_input.is_some() { apart.image_input_tokens } else { 0 };
    let is_told = |tokens: u64| tokens == 0 || usage.cached_input_tokens == 0;
    let cached = match apart.cached_audio_input_tokens {
        Some(cached) => cached.min(apart.audio_input_tokens),
        None if is_told(apart.audio_input_tokens) => 0,
        None => return None,
    };
    if !is_told(seen) && of.image_input != Some(rates.input) {
        return None;
    }
    let priced = |tokens: u64, rate: Option<PicoUsdPerToken>| match tokens {
        0 => Some((0, PicoUsdPerToken(0))),
        _ => rate.map(|rate| (tokens, rate)),
    };
    let parts = [
        priced(apart.audio_input_tokens - cached, of.audio_input)?,
        priced(cached, of.cached_audio_input.or(of.audio_input))?,
        priced(seen, of.image_input)?,
        priced(apart.audio_output_tokens, of.audio_output)?,
        priced(apart.image_output_tokens, of.image_output)?,
    ];
    let sum = parts.into_iter().fold(sum, |sum, (tokens, rate)| sum.plus(tokens, rate));
    let input = apart.audio_input_tokens.saturating_add(seen);
    let output = apart.audio_output_tokens.saturating_add(apart.image_output_tokens);
    let text = Usage {
        input_tokens: usage.input_tokens.saturating_sub(input),
        cached_input_tokens: usage.cached_input_tokens.saturating_sub(cached),
        output_tokens: usage.output_tokens.saturating_sub(output),
        ..usage.as_text()
    };
    Some((sum, text))
}

fn add_input(sum: PicoUsd, rates: &Rates, usage: &Usage) -> Option<PicoUsd> {
    let written_1h = match usage.cache_write_1h_tokens {
        0 => PicoUsdPerToken(0),
        _ => rates.cache_write_1h?,
    };
    let parts = usage
        .cached_input_tokens
        .checked_add(usage.cache_write_tokens)
        .and_then(|parts| parts.checked_add(usage.cache_write_1h_tokens));
    Some(match parts.and_then(|parts| usage.input_tokens.checked_sub(parts)) {
        None => sum.plus(usage.input_tokens, rates.dearest_input()),
        Some(uncached) => sum
            .plus(uncached, rates.input)
            .plus(usage.cached_input_tokens, rates.cached_input)
            .plus(usage.cache_write_tokens, rates.cache_write_5m)
            .plus(usage.cache_write_1h_tokens, written_1h),
    })
}

fn add_output(sum: PicoUsd, rates: &Rates, usage: &Usage) -> Option<PicoUsd> {
    if usage.output_tokens == 0 {
        return Some(sum);
    }
    Some(match usage.output_tokens.checked_sub(usage.reasoning_tokens) {
        None => sum.plus(usage.output_tokens, rates.dearest_output()?),
        Some(visible) => sum.plus(visible, rates.output?).plus(usage.reasoning_tokens, rates.reasoning?),
    })
}

/// Takes the discount off and rounds half to even, both in one step. More than the whole off is the whole off.
fn round(sum: PicoUsd, discount_ppm: u32) -> NanoUsd {
    const MILLION: u128 = 1_000_000;
    const PICO_PER_NANO: u128 = 1_000;
    let kept_ppm = MILLION - u128::from(discount_ppm).min(MILLION);
    // A product beyond 128 bits is far beyond the largest amount in either case.
    let scaled = sum.0.saturating_mul(kept_ppm);
    let one = MILLION * PICO_PER_NANO;
    let (whole, rest) = (scaled / one, scaled % one);
    let up = rest > one / 2 || (rest == one / 2 && whole % 2 == 1);
    NanoUsd(i64::try_from(whole + u128::from(up)).unwrap_or(i64::MAX))
}

#[cfg(test)]
#[path = "arithmetic/tests.rs"]
mod tests;
