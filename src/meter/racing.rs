//! Two attempts of one request that go on at once. Each is accounted for by a meter of its own, which settles that attempt
//! and nothing else; the request's meter takes the one back that answers, and adds up what the other cost.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Meter;
use super::attempt::Settled;
use crate::ledger::record::Fate;
use crate::money::CostInterval;
use crate::reply::usage::Usage;

/// A meter's part in a race.
pub(super) enum Race {
    /// It is the request's, and hears of the attempts of others here.
    Whole(Arc<Mutex<Told>>),
    /// It accounts for one attempt, and tells what that cost here.
    Part(Arc<Mutex<Told>>),
}

/// What attempts cost that were settled apart.
pub(super) struct Told {
    spent: CostInterval,
    used: Option<Usage>,
    estimated: bool,
    trouble: Option<(&'static str, Option<u16>)>,
}

impl Default for Told {
    fn default() -> Self {
        Self { spent: CostInterval::NOTHING, used: None, estimated: false, trouble: None }
    }
}

impl Meter {
    /// Parts the open attempt from the request: whatever becomes of it, the meter that is returned settles it alone, unless
    /// it rejoins. Dropped it settles it as one that was cut.
    pub fn part(&mut self) -> Box<Self> {
        let told = match &self.race {
            Some(Race::Whole(told)) => Arc::clone(told),
            _ => Arc::default(),
        };
        self.race = Some(Race::Whole(Arc::clone(&told)));
        let mut part = Box::new(Self::bare(&self.accounts, Arc::clone(&self.book), &self.call, &self.plan));
        part.open = self.open.take();
        part.attempts = self.attempts;
        part.last_target.clone_from(&self.last_target);
        part.edits.clone_from(&self.edits);
        part.dropped.clone_from(&self.dropped);
        part.race = Some(Race::Part(told));
        part
    }

    /// The attempt of a part ends the request, or is the one that is left of it.
    pub fn rejoin(&mut self, part: &mut Self) {
        self.gather();
        self.open = part.open.take();
        self.last_target = part.last_target.take();
        self.edits = std::mem::take(&mut part.edits);
        self.dropped = part.dropped.take();
    }

    /// Settles an attempt whose intent is committed and that is not needed any more, before anything of it has left.
    pub fn withdraw(&mut self) {
        if let Some(attempt) = &self.open {
            attempt.sent.withhold();
        }
        self.settle(Fate::Failed, None);
    }

    /// Takes note of what attempts cost that were settled apart.
    pub(super) fn gather(&mut self) {
        let Some(Race::Whole(told)) = &self.race else { return };
        let Told { spent, used, estimated, trouble } = std::mem::take(&mut *lock(told));
        self.spent = self.spent.plus(spent);
        self.used = used.map(|used| self.used.unwrap_or_default().plus(used)).or(self.used);
        self.estimated |= estimated;
        self.trouble = trouble.or(self.trouble);
    }

    /// Tells the request's meter what an attempt cost.
    pub(super) fn tell_whole(&self, settled: &Settled) {
        let Some(Race::Part(told)) = &self.race else { return };
        let mut told = lock(told);
        told.spent = told.spent.plus(settled.cost);
        told.used = settled.usage.map(|usage| told.used.unwrap_or_default().plus(usage)).or(told.used);
        told.estimated |= settled.is_estimate();
        told.trouble = self.trouble.or(told.trouble);
    }

    /// Whether it accounts for one attempt of a race and not for a request.
    pub(super) fn is_part(&self) -> bool {
        matches!(self.race, Some(Race::Part(_)))
    }

    /// The other attempt answered, or the client is gone: an attempt that may have left is settled as cut.
    pub(super) fn lose(&mut self) {
        if let Some(attempt) = &self.open {
            let fate = if attempt.sent.withhold() { Fate::Failed } else { Fate::Cut };
            self.settle(fate, None);
        }
    }
}

fn lock(told: &Mutex<Told>) -> MutexGuard<'_, Told> {
    told.lock().unwrap_or_else(PoisonError::into_inner)
}
