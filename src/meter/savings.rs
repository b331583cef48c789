//! What a request would have cost without us, and what made the difference.
//!
//! The counterfactual is the model that the client asked for (where the choice was ours: the first model of the policy's
//! default tier), without our cache, uncompressed, with the tokens of the attempt that answered. It is priced by the book
//! in force, at the service tier that the attempt was priced at, with what that model's provider would have had in its
//! cache ([`super::prefixes`]). What is not known stays unknown.

use std::sync::Arc;

use super::prefixes::Met;
use crate::cost::{Book, Price, cost_of};
use crate::ledger::record::{CacheLoss, Comparison};
use crate::money::{CostInterval, NanoUsd};
use crate::plan::ModelRef;
use crate::prompt::outline::Chain;
use crate::providers::Row;
use crate::reply::usage::{ServiceTier, Usage};

use jiff::Zoned;

/// A model with what it charges.
#[derive(Clone)]
pub struct Priced {
    model: ModelRef,
    price: Option<Arc<Price>>,
    discount_ppm: u32,
}

impl Priced {
    /// Of a model at a row, by the book of a day.
    pub fn of(model: &ModelRef, row: &Row, book: &Book, arrived: &Zoned) -> Self {
        let price = book.price_at(row.vendor(), model.model.as_str(), arrived).cloned();
        Self { model: model.clone(), price, discount_ppm: row.discount_ppm() }
    }

    fn cost(&self, usage: &Usage, tier: ServiceTier) -> Option<NanoUsd> {
        cost_of(self.price.as_ref()?, usage, tier, self.discount_ppm).ok()
    }

    /// What tokens of another model's would have cost here. Who keeps prefixes for one time only writes them at its one rate.
    pub fn cost_there(&self, usage: &Usage, tier: ServiceTier) -> Option<NanoUsd> {
        let written = usage.cache_write_tokens.saturating_add(usage.cache_write_1h_tokens);
        let once = || Usage { cache_write_tokens: written, cache_write_1h_tokens: 0, ..*usage };
        self.cost(usage, tier).or_else(|| self.cost(&once(), tier))
    }

    /// Whether it charges for writing prompts to its cache.
    pub fn charges_writes(&self) -> bool {
        self.price.as_deref().is_some_and(Price::charges_writes)
    }
}

/// What a request is held against.
pub struct Beside {
    /// Where it would have gone without us, and the name of that.
    baseline: Priced,
    name: String,
    /// The first target of the plan.
    planned: Option<Priced>,
    /// What its prompt has in common with earlier ones.
    pub met: Met,
}

/// The attempt that ended a request.
#[derive(Clone, Copy)]
pub struct Answered<'a> {
    /// Its target.
    pub target: &'a ModelRef,
    /// Its tokens.
    pub usage: Usage,
    /// The service tier that it was priced at.
    pub tier: ServiceTier,
    /// What it cost.
    pub cost: NanoUsd,
    /// What its tokens would have cost if none had been read from a cache or written to one.
    pub uncached: Option<NanoUsd>,
    /// What broke the conversation's cached prefix, and what its tokens would have cost with that intact.
    pub intact: Option<(&'static str, NanoUsd)>,
}

impl Beside {
    /// A request that would have gone to `baseline` and was planned to go to `planned`.
    pub fn new(baseline: Priced, planned: Option<Priced>, met: Met) -> Self {
        Self { name: baseline.model.spelt(), baseline, planned, met }
    }

    /// What nobody knows more of than where it would have gone.
    pub fn unknown(&self) -> Comparison<'_> {
        Comparison { model: Some(&self.name), ..Comparison::default() }
    }

    /// Holds a request that needed no call: one with this usage had the answer before. Says as well what the call would have
    /// cost at the first target of the plan.
    pub fn served(
        &self,
        usage: Usage,
        tier: ServiceTier,
        before: CostInterval,
        chain: &Chain,
    ) -> (Comparison<'_>, Option<NanoUsd>) {
        let planned = self.planned.as_ref();
        let would_have_cost = planned.and_then(|planned| planned.cost(&usage, tier));
        let Some((planned, cost)) = planned.zip(would_have_cost) else { return (self.unknown(), None) };
        let at_baseline = self.met.at_baseline(chain, &planned.model, usage);
        let is_baseline = self.baseline.model == planned.model && at_baseline == usage;
        let comparison = Comparison {
            baseline: if is_baseline { Some(cost) } else { self.baseline.cost(&at_baseline, tier) },
            fallback: Some(NanoUsd::ZERO),
            retry: before.exact.map(|before| NanoUsd::ZERO - before),
            cache: cost,
            ..self.unknown()
        };
        (comparison, Some(cost))
    }

    /// Holds a request whose attempts before the last cost `before`.
    pub fn compare(&self, answered: Answered<'_>, before: CostInterval, chain: &Chain) -> Comparison<'_> {
        let Answered { target, usage, tier, cost, uncached, intact } = answered;
        let lost = intact.map(|(culprit, intact)| CacheLoss { culprit, cost: cost - intact });
        let at_baseline = self.met.at_baseline(chain, target, usage);
        let is_baseline = self.baseline.model == *target && at_baseline == usage;
        let fallback = match &self.planned {
            Some(planned) if planned.model != *target => planned.cost(&usage, tier).map(|planned| planned - cost),
            Some(_) => Some(NanoUsd::ZERO),
            None => None,
        };
        let baseline = if is_baseline { Some(cost) } else { self.baseline.cost(&at_baseline, tier) };
        Comparison {
            // A whole without its parts is none.
            baseline: baseline.filter(|_| fallback.is_some()),
            fallback,
            retry: before.exact.map(|before| NanoUsd::ZERO - before),
            provider_cache: uncached.map(|uncached| uncached - cost),
            lost: lost.filter(|lost| lost.cost > NanoUsd::ZERO),
            ..self.unknown()
        }
    }
}

/// What was saved altogether, and by each cause that is a part of it; none where it is not known.
pub fn parts(comparison: &Comparison<'_>, spent: CostInterval) -> Option<(NanoUsd, [(&'static str, NanoUsd); 5])> {
    let saved = comparison.baseline? - spent.exact?;
    let (fallback, retry) = (comparison.fallback?, comparison.retry?);
    let route = saved - fallback - retry - comparison.compress - comparison.cache;
    let causes = [
        ("route", route),
        ("fallback", fallback),
        ("retry", retry),
        ("compress", comparison.compress),
        ("cache", comparison.cache),
    ];
    Some((saved, causes))
}

#[cfg(test)]
#[path = "savings/tests.rs"]
mod tests;
