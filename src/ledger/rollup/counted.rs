//! What a request counts for that begins and ends within one batch: from its records, without a look at its rows.
//!
//! The same figures as SQL takes from the rows ([`super`]), for the common case and at a fraction of the time.

use std::borrow::Cow;

use super::{Key, SLOT_MS, credit};
use crate::ledger::batch::{AttemptChange, RequestChange};
use crate::ledger::record::{Fate, RequestFacts};
use crate::reply::usage::Source;
use crate::report::Figures;

/// Whether a batch has all of a request: who asked, how it ended, and both ends of each attempt.
pub(in crate::ledger) fn is_whole(change: &RequestChange<'_>) -> bool {
    let has_ended = |attempt: &AttemptChange<'_>| attempt.intent.is_some() && attempt.outcome.is_some();
    change.facts.is_some() && change.closing.is_some() && change.attempts.iter().all(has_ended)
}

/// What a whole request counts for, by what; one part an attempt, or one of a request that had none.
pub(super) fn counted<'a>(change: &RequestChange<'a>, mut add: impl FnMut(Key<'a>, &Figures)) {
    let Some(facts) = &change.facts else { return };
    let has_answered = |attempt: &AttemptChange<'_>| attempt.outcome.is_some_and(|told| told.fate == Fate::Completed);
    let last = change.attempts.iter().max_by_key(|attempt| (has_answered(attempt), attempt.id.ordinal));
    let last = last.map(|attempt| attempt.id.ordinal);
    if let Some(transfer) = change.transfer.filter(|transfer| transfer.amount.0 != 0 && change.cause.is_none()) {
        let (slot, names) = key(facts, ("", ""));
        let charged = Figures { transfer: transfer.amount.0, ..Figures::default() };
        let (names, credit) = credit(names, Cow::Borrowed(transfer.to), &charged);
        add((slot, names), &credit);
    }
    for attempt in &change.attempts {
        let of_request = if Some(attempt.id.ordinal) == last { of_request(change) } else { Figures::default() };
        let intent = attempt.intent.as_ref();
        let target = intent.map_or(("", ""), |intent| (intent.provider, intent.model));
        let figures = Figures { attempts: 1, ..with_attempt(of_request, attempt) };
        let overhead = if change.cause.is_some() { figures.cost } else { 0 };
        add(key(facts, target), &Figures { overhead, ..figures });
    }
    if change.attempts.is_empty() {
        add(key(facts, ("", "")), &of_request(change));
    }
}

fn key<'a>(facts: &RequestFacts<'a>, (provider, model): (&'a str, &'a str)) -> Key<'a> {
    let names = [
        facts.team,
        facts.project.unwrap_or_default(),
        facts.pipeline.unwrap_or_default(),
        facts.key,
        facts.tier.unwrap_or_default(),
        facts.task.unwrap_or_default(),
        provider,
        model,
    ];
    // As SQLite divides: toward zero.
    (facts.at_ms / SLOT_MS, names.map(Cow::Borrowed))
}

/// What is said once of a request: it ended, and what it would have cost.
fn of_request(change: &RequestChange<'_>) -> Figures {
    if change.cause.is_some() {
        return Figures::default();
    }
    let transfer = change.transfer.map_or(0, |transfer| transfer.amount.0);
    let ended = Figures { requests: 1, transfer, ..Figures::default() };
    let Some(found) = change.comparison.as_deref() else { return ended };
    let ended = Figures {
        provider_cache: found.provider_cache.map_or(0, |amount| amount.0),
        cache_lost: found.lost.map_or(0, |lost| lost.cost.0),
        ..ended
    };
    let (Some(baseline), Some(cost)) = (found.baseline, change.cost().exact) else { return ended };
    let (Some(fallback), Some(retry)) = (found.fallback, found.retry) else { return ended };
    let route = baseline - cost - fallback - retry - found.compress - found.cache;
    let saved_by = [route, fallback, retry, found.compress, found.cache].map(|amount| amount.0);
    Figures { compared: 1, baseline: baseline.0, saved_by, ..ended }
}

fn with_attempt(figures: Figures, attempt: &AttemptChange<'_>) -> Figures {
    let Some(outcome) = &attempt.outcome else { return figures };
    let whole = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let usage = outcome.usage.unwrap_or_default();
    let figures = Figures {
        input_tokens: whole(usage.input_tokens),
        cached_input_tokens: whole(usage.cached_input_tokens),
        cache_write_tokens: whole(usage.cache_write_tokens).saturating_add(whole(usage.cache_write_1h_tokens)),
        output_tokens: whole(usage.output_tokens),
        reasoning_tokens: whole(usage.reasoning_tokens),
        ..figures
    };
    match outcome.cost.exact {
        Some(cost) => {
            let figures = Figures { cost: cost.0, discount: discount(cost.0, outcome.discount_ppm), ..figures };
            match outcome.source {
                Source::Estimated => Figures {
                    estimated: cost.0,
                    estimated_low: outcome.cost.low.0,
                    estimated_high: outcome.cost.high.unwrap_or(cost).0,
                    ..figures
                },
                Source::Reported | Source::Unknown => figures,
            }
        }
        None => Figures {
            uncertain: 1,
            uncertain_low: outcome.cost.low.0,
            uncertain_high: outcome.cost.high.map_or(0, |high| high.0),
            unbounded: i64::from(outcome.cost.high.is_none()),
            ..figures
        },
    }
}

/// What a discount took off an amount that is left, in whole numbers as SQL has them.
fn discount(cost: i64, ppm: u32) -> i64 {
    const WHOLE: i64 = 1_000_000;
    let (ppm, left) = (i64::from(ppm), WHOLE - i64::from(ppm));
    if !(1..WHOLE).contains(&ppm) || !(1..=DISCOUNTED_NANO_MAX).contains(&cost) {
        return 0;
    }
    cost / left * ppm + cost % left * ppm / left
}

/// The most whose discount can be told within 64 bits, in nano-dollars: nobody pays as much for one call. SQL has it too.
const DISCOUNTED_NANO_MAX: i64 = 9_000_000_000_000;
