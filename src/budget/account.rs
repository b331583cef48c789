//! One payer's account under one kind of period: what is spent and held in which stretch of time.

use std::collections::VecDeque;
use std::time::Duration;

use super::books::What;
use super::period::{STEP_MS, Span};
use super::terms::{Budget, Every};
use crate::money::NanoUsd;

/// Stretches that are kept beside those that a clock which goes steadily asks for, so that one which jumps, there and back,
/// finds what was spent before: they are used up by a jump each, or by as much time as they are long.
const SPARE: usize = 6;

/// Spent and held, by stretch of time.
///
/// Clocks are set forward and back, so no stretch is over for good because a later one was seen. What is dropped for want
/// of room is what has not been booked in for the longest, and that order no clock can turn round.
#[derive(Debug, Default)]
pub(super) struct Account {
    /// In the order of time.
    slices: VecDeque<Slice>,
    held: NanoUsd,
    /// How often anything was booked.
    booked: u64,
    /// What counts of a rolling period, and where that was asked.
    counted: Option<Counted>,
    /// The period in which each kind of news was told.
    told: [Option<i64>; 2],
}

#[derive(Debug)]
struct Slice {
    span: Span,
    spent: NanoUsd,
    held: NanoUsd,
    /// When it was booked in last; 0: only what was spent before the process began.
    booked: u64,
}

/// What is spent in all steps that count at one of them: those of a rolling time before it, and behind it.
#[derive(Clone, Copy, Debug)]
struct Counted {
    /// The step of now.
    now: Span,
    /// Steps that end here or before do not count.
    from_ms: i64,
    /// Neither do those that begin here or behind it.
    until_ms: i64,
    spent: NanoUsd,
}

impl Counted {
    fn has(&self, step: Span) -> bool {
        step.end_ms > self.from_ms && step.start_ms < self.until_ms
    }
}

impl Account {
    /// Books what was spent before the process began. All of it is kept: what is too much goes with the first hold.
    pub(super) fn recall(&mut self, span: Span, amount: NanoUsd) {
        let place = self.place(span);
        self.slices[place].spent += amount;
        self.counted = None;
    }

    /// Books what was spent.
    pub(super) fn spend(&mut self, every: Every, span: Span, amount: NanoUsd) {
        self.slice(every, span).spent += amount;
        if let Some(counted) = self.counted.as_mut().filter(|counted| counted.has(span)) {
            counted.spent += amount;
        }
    }

    /// Forgets what was spent, and what was told of it.
    pub(super) fn forget_spent(&mut self) {
        self.counted = None;
        self.slices.iter_mut().for_each(|slice| slice.spent = NanoUsd::ZERO);
        self.told = [None; 2];
    }

    /// Sets money aside, or takes it back.
    pub(super) fn hold(&mut self, every: Every, span: Span, by: NanoUsd) {
        self.held += by;
        self.slice(every, span).held += by;
    }

    /// Spent and held in the period that `now` is the stretch of. Of a rolling one that is all that is held, and what is
    /// spent in any step so near that one such period has both: before it, and also behind it, where a clock was set back
    /// or requests overtook each other.
    pub(super) fn balance(&mut self, every: Every, now: Span) -> (NanoUsd, NanoUsd) {
        match every {
            Every::Rolling(time) => (self.counted(time, now).spent, self.held),
            _ => {
                let slice = self.slices.iter().rev().find(|slice| slice.span.start_ms == now.start_ms);
                slice.map_or((NanoUsd::ZERO, NanoUsd::ZERO), |slice| (slice.spent, slice.held))
            }
        }
    }

    /// When the oldest step ends that counts now.
    pub(super) fn oldest_ms(&mut self, time: Duration, now: Span) -> Option<i64> {
        let counted = self.counted(time, now);
        let counts = |slice: &&Slice| slice.spent > NanoUsd::ZERO && counted.has(slice.span);
        self.slices.iter().find(counts).map(|slice| slice.span.end_ms)
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

    /// How many stretches are kept.
    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.slices.len()
    }

    fn counted(&mut self, time: Duration, now: Span) -> Counted {
        if let Some(counted) = self.counted.filter(|counted| counted.now == now) {
            return counted;
        }
        let (from_ms, until_ms) = (now.start_ms - millis(time), now.end_ms.saturating_add(millis(time)));
        let mut counted = Counted { now, from_ms, until_ms, spent: NanoUsd::ZERO };
        counted.spent = self
            .slices
            .iter()
            .filter(|slice| counted.has(slice.span))
            .fold(NanoUsd::ZERO, |spent, slice| spent + slice.spent);
        self.counted = Some(counted);
        counted
    }

    /// The slice of a stretch that is booked in now.
    fn slice(&mut self, every: Every, span: Span) -> &mut Slice {
        let known = self.slices.len();
        let mut place = self.place(span);
        self.booked += 1;
        self.slices[place].booked = self.booked;
        if self.slices.len() > known {
            let kept = match every {
                Every::Rolling(time) => usize::try_from(millis(time) / STEP_MS).unwrap_or(usize::MAX),
                _ => 0,
            };
            place = self.drop_old(kept.saturating_add(SPARE + 2), place);
        }
        &mut self.slices[place]
    }

    /// Where the slice of a stretch is, in the order of time; a new one if there is none.
    fn place(&mut self, span: Span) -> usize {
        let behind = self.slices.iter().rev().take_while(|slice| slice.span.start_ms >= span.start_ms).count();
        let place = self.slices.len() - behind;
        if self.slices.get(place).is_none_or(|slice| slice.span.start_ms != span.start_ms) {
            self.slices.insert(place, Slice { span, spent: NanoUsd::ZERO, held: NanoUsd::ZERO, booked: 0 });
        }
        place
    }

    /// Drops slices beyond `kept` in which nothing is held, the one first that was booked in the longest time ago; among
    /// those of before the process began, the one farthest from that at `place`. Gives where the latter is then.
    fn drop_old(&mut self, kept: usize, mut place: usize) -> usize {
        while self.slices.len() > kept {
            let start_ms = self.slices[place].span.start_ms;
            let age = |slice: &Slice| (slice.booked, std::cmp::Reverse(slice.span.start_ms.abs_diff(start_ms)));
            let idle = self.slices.iter().enumerate().filter(|(at, slice)| *at != place && slice.held == NanoUsd::ZERO);
            let Some((old, _)) = idle.min_by_key(|(_, slice)| age(slice)) else { break };
            self.slices.remove(old);
            self.counted = None;
            place -= usize::from(old < place);
        }
        place
    }
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}
