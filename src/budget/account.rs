//! One payer's account under one kind of period: what is spent and held in which stretch of time.

use std::collections::VecDeque;
use std::time::Duration;

use super::books::What;
use super::period::{STEP_MS, Span};
use super::terms::{Budget, Every};
use crate::money::NanoUsd;

/// Periods of the calendar that are kept behind the last one: requests that arrived before midnight may still ask.
const PERIODS_KEPT: usize = 2;

/// Spent and held, by stretch of time.
#[derive(Debug, Default)]
pub(super) struct Account {
    slices: VecDeque<Slice>,
    /// Over all stretches that still count.
    spent: NanoUsd,
    held: NanoUsd,
    /// Steps that end here or before are forgotten.
    forgotten_ms: i64,
    /// The period in which each kind of news was told.
    told: [Option<i64>; 2],
}

#[derive(Debug)]
struct Slice {
    span: Span,
    spent: NanoUsd,
    held: NanoUsd,
}

impl Account {
    /// Books what was spent.
    pub(super) fn spend(&mut self, span: Span, amount: NanoUsd) {
        if span.end_ms > self.forgotten_ms {
            self.spent += amount;
            self.slice(span).spent += amount;
        }
    }

    /// Forgets what was spent, and what was told of it.
    pub(super) fn forget_spent(&mut self) {
        self.spent = NanoUsd::ZERO;
        self.slices.iter_mut().for_each(|slice| slice.spent = NanoUsd::ZERO);
        self.told = [None; 2];
    }

    /// Sets money aside, or takes it back.
    pub(super) fn hold(&mut self, span: Span, by: NanoUsd) {
        self.held += by;
        if span.end_ms > self.forgotten_ms {
            self.slice(span).held += by;
        }
    }

    /// Spent and held in the period that `now` is the stretch of: of a rolling one all that still counts, and all that is held.
    pub(super) fn balance(&mut self, every: Every, now: Span) -> (NanoUsd, NanoUsd) {
        match every {
            Every::Rolling(time) => {
                self.forget(now.start_ms - millis(time));
                (self.spent, self.held)
            }
            _ => {
                let slice = self.slices.iter().rev().find(|slice| slice.span.start_ms == now.start_ms);
                slice.map_or((NanoUsd::ZERO, NanoUsd::ZERO), |slice| (slice.spent, slice.held))
            }
        }
    }

    /// When the oldest step that counts began.
    pub(super) fn oldest_ms(&self) -> Option<i64> {
        self.slices.iter().find(|slice| slice.spent > NanoUsd::ZERO).map(|slice| slice.span.end_ms)
    }

    /// Whether nothing is held, and nothing spent in a stretch that ends behind `from_ms`.
    pub(super) fn is_idle(&self, from_ms: i64) -> bool {
        let spent = |slice: &Slice| slice.span.end_ms > from_ms && slice.spent > NanoUsd::ZERO;
        self.held == NanoUsd::ZERO && !self.slices.iter().any(spent)
    }

    /// Whether this is news. In a period of the calendar each kind is told once; in a rolling one again once less was spent.
    pub(super) fn tells(&mut self, what: What, budget: Budget, now: Span) -> bool {
        let period = match budget.every {
            Every::Rolling(_) => 0,
            _ => now.start_ms,
        };
        self.told[what as usize].replace(period) != Some(period)
    }

    /// Less than the larger part is spent: what is told of a rolling period next is news.
    pub(super) fn calms(&mut self) {
        self.told = [None; 2];
    }

    /// Forgets steps that ended at `until_ms` or before.
    fn forget(&mut self, until_ms: i64) {
        let until_ms = until_ms.div_euclid(STEP_MS) * STEP_MS;
        self.forgotten_ms = self.forgotten_ms.max(until_ms);
        while let Some(slice) = self.slices.front().filter(|slice| slice.span.end_ms <= self.forgotten_ms) {
            self.spent = self.spent - slice.spent;
            self.slices.pop_front();
        }
    }

    /// The slice of a stretch, in the order of time.
    fn slice(&mut self, span: Span) -> &mut Slice {
        let behind = self.slices.iter().rev().take_while(|slice| slice.span.start_ms >= span.start_ms).count();
        let mut place = self.slices.len() - behind;
        if self.slices.get(place).is_none_or(|slice| slice.span.start_ms != span.start_ms) {
            self.slices.insert(place, Slice { span, spent: NanoUsd::ZERO, held: NanoUsd::ZERO });
            if span.end_ms - span.start_ms > STEP_MS {
                place = self.drop_old(place);
            }
        }
        &mut self.slices[place]
    }

    /// Drops old periods of the calendar that nothing is held in; gives where the slice at `place` is then.
    fn drop_old(&mut self, place: usize) -> usize {
        let old = self.slices.len().saturating_sub(PERIODS_KEPT).min(place);
        let idle = self.slices.iter().take(old).take_while(|slice| slice.held == NanoUsd::ZERO).count();
        self.slices.drain(..idle);
        place - idle
    }
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}
