//! *call*, twice: beside an attempt that is slow to answer the next target of the plan is asked as well, or where there is none
//! the same by another key or region of its row, and the answer that begins first goes to the client. The other call is given
//! up, and paid for as far as its provider bills it.
//!
//! The second attempt is one like others: it has its own intent before anything of it leaves, its own hold, and its own row.
//! It waits for nobody's money, and at most a share of requests has one. A request that no row hedges passes by all this.

use std::future::{Future, pending};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep_until};

use super::hold::Purse;
use super::lap::{Entrant, Lap, Ran};
use super::timing::Timing;
use super::ways::way;
use super::{Gateway, Outcome, translating};
use crate::call::Call;
use crate::config::HedgeAfter;
use crate::limits::HEDGES_SAVED_MAX;
use crate::meter::Meter;
use crate::meter::funds::Funds;
use crate::plan::{ModelRef, Note};
use crate::providers::dispatch::{Attempts, Next, after};
use crate::providers::load::Kind;
use crate::providers::{Failure, Outbound, Row};

/// One second attempt, in the unit that shares are counted in.
const ONE_PPM: u64 = 1_000_000;

/// Where a second attempt goes.
struct Beside<'a> {
    row: &'a Arc<Row>,
    target: &'a ModelRef,
    /// The ways into the row that it does not take, a bit each.
    tried: u64,
}

impl Beside<'_> {
    /// Whether there is a way left that does not rest.
    fn is_another(&self) -> bool {
        self.row.accesses().has_another(&self.target.model, self.tried, std::time::Instant::now())
    }
}

/// A second attempt that may begin.
struct Second<'a> {
    row: &'a Arc<Row>,
    target: &'a ModelRef,
    outbound: Outbound,
    funds: Funds,
}

/// How many second attempts may be made: a share of the requests so far.
#[derive(Default)]
pub(super) struct Hedges {
    left_ppm: AtomicU64,
}

impl Hedges {
    /// A request came.
    fn earn(&self, share_ppm: u32) {
        let more = |left: u64| Some((left + u64::from(share_ppm)).min(HEDGES_SAVED_MAX * ONE_PPM));
        let _ = self.left_ppm.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
    }

    /// Takes one, if there is one.
    fn take(&self) -> bool {
        let less = |left: u64| left.checked_sub(ONE_PPM);
        self.left_ppm.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }
}

/// Counts what comes of a second attempt, whatever ends the request.
struct Counted<'a> {
    gateway: &'a Gateway,
    outcome: &'static str,
    slow: &'a ModelRef,
    other: &'a ModelRef,
    /// The number of the key by which the same target is asked.
    key: Option<usize>,
    id: String,
    waited: Duration,
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        let accounts = &self.gateway.accounts;
        accounts.metrics.hedges.with_label_values(&[self.outcome]).inc();
        let mut fields = json!({
            "request_id": self.id, "slow": self.slow.spelt(), "beside": self.other.spelt(),
            "after_ms": u64::try_from(self.waited.as_millis()).unwrap_or(u64::MAX), "outcome": self.outcome,
        });
        if let Some(key) = self.key {
            fields["key"] = (key + 1).into();
        }
        accounts.log.event("hedged", &fields);
    }
}

impl Gateway {
    /// How long an attempt is waited for before another begins beside it; `None`: as long as it takes.
    pub(super) fn hedge_after(
        &self,
        call: &Call,
        (lap, attempts): (&Lap<'_>, &Attempts<'_>),
        meter: &Meter,
    ) -> Option<Duration> {
        let hedge = lap.row.dispatch().hedge?;
        let view = &call.facts.view;
        // What goes on at the provider by itself, what it does beside answering, and what only one of them knows.
        let is_bound = view.background || view.continues || view.attachments.server_tools > 0 || call.kept_at.is_some();
        if is_bound {
            return None;
        }
        if attempts.hedge(|_| true).is_none() && beside_by_key(lap, attempts).is_none() {
            return None;
        }
        if meter.attempts() == 1 {
            self.hedges.earn(hedge.at_most_ppm);
        }
        match hedge.after {
            HedgeAfter::Delay(delay) => Some(delay),
            HedgeAfter::Percentile(percent) => lap.load.as_ref()?.percentile(kind_of(call), percent),
        }
    }

    /// Runs an attempt, and after a while another beside it. Gives back the one that counts: the first that answers, else the
    /// last that failed. The meter is the request's.
    pub(super) async fn race<'a>(
        &'a self,
        (call, purse): (&'a Call, &'a Purse),
        mut whole: Box<Meter>,
        (first, delay): (Entrant<'a>, Duration),
        attempts: &mut Attempts<'a>,
    ) -> (Lap<'a>, Ran) {
        let (slow, started, slow_way) = (first.lap.target, first.lap.timing.started, first.lap.access);
        let by_key = beside_by_key(&first.lap, attempts);
        let mut one = Some(Box::pin(self.run(call, first, whole.part())));
        let second = tokio::select! {
            biased;
            (lap, ran) = end_of(&mut one) => return (lap, under(whole, ran)),
            second = self.second((call, purse), &whole, started + delay, (attempts, by_key)) => second,
        };
        let begun = second.and_then(|Second { row, target, outbound, funds }| {
            whole.fund(funds);
            let begun = whole.begin(row, target, &outbound).ok()?;
            Some((row, target, outbound, begun))
        });
        let Some((row, target, outbound, begun)) = begun else {
            let (lap, ran) = end_of(&mut one).await;
            return (lap, under(whole, ran));
        };
        let held = tokio::select! {
            biased;
            ended = end_of(&mut one) => Err(Some(ended)),
            held = whole.held() => held.map_err(|_| None),
        };
        if let Err(ended) = held {
            whole.withdraw();
            let (lap, ran) = match ended {
                Some(ended) => ended,
                None => end_of(&mut one).await,
            };
            return (lap, under(whole, ran));
        }
        let is_by_key = target == slow;
        match is_by_key {
            true => attempts.hedged_by_another_way(slow_way, outbound.access),
            false => attempts.hedged(target),
        }
        let (id, waited) = (call.facts.id.to_string(), started.elapsed());
        let key = is_by_key.then_some(outbound.access);
        let mut counted = Counted { gateway: self, outcome: "abandoned", slow, other: target, key, id, waited };
        let load = self.load(target, true);
        if let Some(load) = &load {
            whole.accompany(load.begins());
        }
        let lap = Lap { row, target, access: outbound.access, timing: Timing::new(row, &whole), load };
        let mut two = Some(Box::pin(self.run(call, Entrant { lap, outbound, begun }, whole.part())));
        loop {
            let (is_first, (lap, ran)) = tokio::select! {
                biased;
                ended = end_of(&mut one) => (true, ended),
                ended = end_of(&mut two) => (false, ended),
            };
            *(if is_first { &mut one } else { &mut two }) = None;
            let other = if is_first { &mut two } else { &mut one };
            match ran {
                Ok(outcome) => {
                    // Whoever is slower has taken at least so long.
                    if let Some(load) = self.load(slow, true).filter(|_| !is_first && other.is_some()) {
                        load.answered(kind_of(call), started.elapsed(), std::time::Instant::now());
                    }
                    counted.outcome = if is_first { "lost" } else { "won" };
                    whole.note(match (is_first, is_by_key) {
                        (true, true) => Note::HedgedByKeyInVain,
                        (false, true) => Note::HedgedByKey,
                        (true, false) => Note::HedgedInVain(target.spelt().into()),
                        (false, false) => Note::Hedged(slow.spelt().into()),
                    });
                    // The other's call is given up, and its row settled, before this one's can be.
                    *other = None;
                    return (lap, under(whole, Ok(outcome)));
                }
                Err(failed) if other.is_none() || is_of_caller(&failed.1, lap.row) => {
                    *other = None;
                    counted.outcome = "failed";
                    if !is_first && !is_by_key {
                        attempts.stand_at(lap.target);
                    }
                    return (lap, under(whole, Err(failed)));
                }
                Err(failed) => {
                    let (mut part, failure) = *failed;
                    part.failed(&failure);
                    drop(part);
                    self.blame(&lap, &failure);
                }
            }
        }
    }

    /// The second attempt, once it is time for it; `None`: there is none to be made.
    async fn second<'a>(
        &'a self,
        (call, purse): (&'a Call, &'a Purse),
        whole: &Meter,
        at: Instant,
        (attempts, by_key): (&Attempts<'a>, Option<Beside<'a>>),
    ) -> Option<Second<'a>> {
        sleep_until(at).await;
        let beside = match attempts.hedge(|target| self.health.is_well(target)) {
            Some(target) => Beside { row: self.providers.row(&target.provider)?, target, tried: 0 },
            None => by_key.filter(Beside::is_another)?,
        };
        let second = self.prepare_second((call, purse), whole, beside).await.filter(|_| self.hedges.take());
        if second.is_none() {
            self.accounts.metrics.hedges.with_label_values(&["withheld"]).inc();
        }
        second
    }

    async fn prepare_second<'a>(
        &'a self,
        (call, purse): (&'a Call, &'a Purse),
        whole: &Meter,
        Beside { row, target, tried }: Beside<'a>,
    ) -> Option<Second<'a>> {
        let worded = match translating::dialect_for(call, row, target) {
            None => row.word(call, target),
            Some(dialect) => row.word_translated(&self.translate(call, (row, target), dialect, whole).await.ok()?),
        };
        let funds = self.hold_beside(call, (row, target, &worded), whole, purse)?;
        let mut outbound = row.finish(worded, call, funds.output_limit);
        outbound.access = way(call, (row, target), tried);
        Some(Second { row, target, outbound, funds })
    }
}

/// The same target by another key or region of its row, if there is one.
fn beside_by_key<'a>(lap: &Lap<'a>, attempts: &Attempts<'_>) -> Option<Beside<'a>> {
    let Lap { row, target, access, .. } = *lap;
    let tried = attempts.tried() | 1_u64.checked_shl(access as u32).unwrap_or_default();
    Some(Beside { row, target, tried }).filter(|beside| attempts.may_hedge() && beside.is_another())
}

/// As what its answer is waited for.
fn kind_of(call: &Call) -> Kind {
    if call.facts.view.stream { Kind::Stream } else { Kind::Whole }
}

/// What is said of a request is the same wherever it is sent.
fn is_of_caller(failure: &Failure, row: &Row) -> bool {
    matches!(failure, Failure::Refused(_)) && after(failure, u32::MAX, row.dispatch(), 0.0) == Next::GiveUp
}

/// The end of an attempt that runs; never, if none does.
async fn end_of<F: Future + Unpin>(runs: &mut Option<F>) -> F::Output {
    match runs {
        Some(run) => run.await,
        None => pending().await,
    }
}

/// The same under the meter of the request.
fn under(mut whole: Box<Meter>, ran: Ran) -> Ran {
    match ran {
        Ok(outcome) => Ok(outcome.under(whole)),
        Err(failed) => {
            let (mut part, failure) = *failed;
            whole.rejoin(&mut part);
            Err(Box::new((whole, failure)))
        }
    }
}

impl Outcome {
    /// The same under another meter, which takes the attempt over.
    fn under(self, mut whole: Box<Meter>) -> Self {
        let mut take = |mut part: Box<Meter>| {
            whole.rejoin(&mut part);
        };
        match self {
            Self::Whole { status, headers, json, meter } => {
                take(meter);
                Self::Whole { status, headers, json, meter: whole }
            }
            Self::Stream { status, headers, mut relay } => {
                relay.rejoin(whole);
                Self::Stream { status, headers, relay }
            }
            Self::Failed { failure, meter } => {
                take(meter);
                Self::Failed { failure, meter: whole }
            }
            Self::NotHeld { meter } => {
                take(meter);
                Self::NotHeld { meter: whole }
            }
            Self::Denied { error, meter } => {
                take(meter);
                Self::Denied { error, meter: whole }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_the_share_of_requests_has_a_second_attempt() {
        let hedges = Hedges::default();
        let mut made = 0;
        for requests in 1..=10_000_u32 {
            hedges.earn(50_000);
            made += u32::from(hedges.take());
            assert!(made <= requests / 20, "{made} of {requests}");
        }
        assert_eq!(made, 500);
    }

    #[test]
    fn what_is_saved_up_has_a_bound() {
        let hedges = Hedges::default();
        (0..10_000).for_each(|_| hedges.earn(50_000));
        let made = (0..100).filter(|_| hedges.take()).count();
        assert_eq!(made as u64, HEDGES_SAVED_MAX);
    }
}
