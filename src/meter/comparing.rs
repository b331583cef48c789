//! What a request is held against: found when it begins, held against what it did cost when it ends ([`super::savings`] has the
//! arithmetic).

use std::sync::Arc;
use std::time::Instant;

use super::Meter;
use super::attempt::{Attempt, Settled};
use super::closing::Moment;
use super::savings::{self, Answered, Beside, Priced};
use super::sketches::Loss;
use crate::ledger::record::Comparison;
use crate::money::CostInterval;
use crate::plan::ModelRef;
use crate::providers::Row;
use crate::reply::usage::Source;

impl Meter {
    /// Holds the request against where it would have gone without us, and where levers only watch beside where they would have
    /// sent it. `row` gives the providers' rows.
    pub fn beside(&mut self, row: impl Fn(&ModelRef) -> Option<Arc<Row>>) {
        self.watch(&row);
        let arrived = self.arrived();
        let priced = |model: &ModelRef| Some(Priced::of(model, &*row(model)?, &self.book, &arrived));

        let Some(baseline) = &self.plan.baseline else { return };
        let Some(priced_baseline) = priced(baseline) else { return };
        let first = self.plan.targets.first();
        let planned = if first == Some(baseline) { Some(priced_baseline.clone()) } else { first.and_then(priced) };
        let met = self.accounts.prefixes.meet(&self.call, baseline, Instant::now());
        self.beside = Some(Beside::new(priced_baseline, planned, met));
    }

    /// The request beside what it would have cost without us, given what its attempts before the last did cost.
    pub(super) fn compare<'b>(
        &self,
        beside: &'b Beside,
        attempt: &Attempt,
        settled: &Settled,
        (before, now): (CostInterval, Moment),
    ) -> (Comparison<'b>, Option<Loss>) {
        let (Some(usage), Some(tier), Some(cost)) = (settled.usage, settled.tier(), settled.cost.exact) else {
            return (beside.unknown(), None);
        };
        let (target, uncached) = (attempt.target(), attempt.uncached(&usage, tier));
        let chain = &self.call.view.outline.chain;
        let last = self.accounts.prefixes.answered(&beside.met, target, &usage, attempt.caching(), now.at);
        // What nobody reported was not read from a cache or written to one as far as anybody knows.
        let lost = beside.met.lost(target, usage, last).filter(|_| settled.source == Source::Reported);
        let intact = lost.and_then(|lost| Some((lost.culprit, attempt.priced(&lost.intact, tier).ok()?)));
        let comparison = beside.compare(Answered { target, usage, tier, cost, uncached, intact }, before, chain);
        let loss = lost.zip(comparison.lost).map(|(lost, booked)| {
            let (culprit, at_tokens, input_tokens) = (lost.culprit, lost.at_tokens, usage.input_tokens);
            Loss { culprit, cost: booked.cost, at_tokens, input_tokens }
        });
        (comparison, loss)
    }

    pub(super) fn count_saved(&self, comparison: &Comparison<'_>) {
        let metrics = &self.accounts.metrics;
        if let Some((_, causes)) = savings::parts(comparison, self.spent) {
            causes.iter().for_each(|(cause, amount)| metrics.count_saved(cause, amount.0));
        }
        metrics.count_saved("provider_cache", comparison.provider_cache.unwrap_or_default().0);
    }
}
