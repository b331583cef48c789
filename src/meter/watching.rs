//! What a request would have cost where levers only watch: its own tokens, at the model that they would have chosen.
//!
//! The same arithmetic as of what a request is held against ([`super::savings`]): the book in force when it arrived, the row's
//! discount, the service tier that the answer was priced at. What attempts cost that gave no answer stays as it is. Nobody
//! knows how many tokens another model would have read and written; that is said wherever the figure is told.

use std::sync::Arc;
use std::time::Instant;

use super::Meter;
use super::attempt::{Attempt, Settled};
use super::prefixes::Caching;
use super::prefixes::watched::WouldMeet;
use super::savings::Priced;
use crate::ledger::record::Record;
use crate::money::{CostInterval, NanoUsd};
use crate::plan::ModelRef;
use crate::providers::Row;

/// What levers would have done with a request, and at which price.
pub(super) struct Watching {
    would: Priced,
    /// It would have gone to another model than without them.
    moves: bool,
    met: WouldMeet,
}

impl Meter {
    /// Where levers only watch: holds the request beside where they would have sent it. `row` gives the providers' rows.
    pub(super) fn watch(&mut self, row: impl Fn(&ModelRef) -> Option<Arc<Row>>) {
        let Some(would) = &self.plan.would else { return };
        let Some(of_would) = row(&would.model) else { return };
        let arrived = self.arrived();
        let unmoved = self.plan.baseline.as_ref().or(self.plan.targets.first());
        let watching = Watching {
            would: Priced::of(&would.model, &of_would, &self.book, &arrived),
            moves: unmoved != Some(&would.model),
            met: self.accounts.prefixes.would_meet(&self.call, &would.model, Instant::now()),
        };
        self.watching = Some(Box::new(watching));
    }

    /// What the request would have cost whose last attempt ended so; `None`: nobody knows, or levers do not only watch.
    pub(super) fn would_have_cost(
        &self,
        attempt: &Attempt,
        settled: &Settled,
        (before, now): (CostInterval, Instant),
    ) -> Option<NanoUsd> {
        let Watching { would, moves, met } = &**self.watching.as_ref()?;
        let Some((usage, tier)) = settled.usage.zip(settled.tier()) else {
            return self.spent.exact.filter(|_| !moves);
        };
        let cost = settled.cost.exact?;
        self.accounts.prefixes.would_have_answered(met, &usage, now);
        let charges_writes = match moves {
            true => would.charges_writes(),
            false => attempt.caching() == Caching::Charged,
        };
        let there = met.at(&self.call.view.outline.chain, usage, charges_writes);
        let answer = match moves {
            true => would.cost_there(&there, tier)?,
            false if there == usage => cost,
            false => attempt.priced(&there, tier).ok()?,
        };
        Some(before.exact? + answer)
    }

    /// The same of a request that ends without an answer: where levers would have left it, they would have changed nothing.
    pub(super) fn would_have_cost_unanswered(&self) -> Option<NanoUsd> {
        let stays = self.attempts > 0 && self.watching.as_ref().is_some_and(|watching| !watching.moves);
        self.spent.exact.filter(|_| stays)
    }

    /// Tells the ledger and the metrics what the request would have cost, before its end.
    pub(super) fn tell_would(&self, would_cost: Option<NanoUsd>) {
        let Some(would_cost) = would_cost else { return };
        drop(self.accounts.ledger.append(&Record::WouldCost(self.call.id, would_cost)));
        if let Some(spent) = self.spent.exact {
            self.accounts.metrics.count_would_save(self.call.who.team.as_str(), (spent - would_cost).0);
        }
    }
}
