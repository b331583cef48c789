//! How busy targets are, and how long they take to begin an answer: of those that somebody asks about, and of no others.
//!
//! Two things ask. Targets that are as good as one another are chosen between by how long first bytes took of late, times
//! how many calls go on ([`balance`](super::balance)); a second attempt beside a slow one begins once a call has taken
//! longer than most to that target do. A call that neither concerns costs nothing here.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use xxhash_rust::xxh3::xxh3_64;

use super::balance::{self, Candidate, Peak};
use crate::limits::{HEDGE_SAMPLES_MIN, LOADED_TARGETS_MAX};
use crate::plan::ModelRef;

/// Parts of a factor of two that times are told apart by.
const PARTS: u32 = 8;
/// The shortest time that is told apart, as a power of two in microseconds: a millisecond.
const SHORTEST: u32 = 10;
/// Times beyond the last part, some 18 minutes, are as long as that.
const BUCKETS: usize = 20 * PARTS as usize;
/// So many times, and older ones count for half.
const HALVED_AT: u32 = 1024;

/// What is known of targets.
#[derive(Default)]
pub struct Loads {
    known: Mutex<HashMap<ModelRef, Arc<Load>>>,
}

/// What is known of one.
pub struct Load {
    hash: u64,
    in_flight: AtomicUsize,
    peak: Mutex<Peak>,
    /// To the first event of a stream, and to the end of a whole answer.
    times: [Mutex<Times>; 2],
}

/// What an answer is waited for as.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Until its first event.
    Stream,
    /// Until its end.
    Whole,
}

/// A call that goes on; dropped it is over.
pub struct Busy(Arc<Load>);

impl Loads {
    /// What is known of a target. Names that clients invent cannot grow it without end.
    pub fn of(&self, target: &ModelRef) -> Arc<Load> {
        let mut known = lock(&self.known);
        if let Some(load) = known.get(target) {
            return Arc::clone(load);
        }
        if known.len() >= LOADED_TARGETS_MAX {
            known.clear();
        }
        let load = Arc::new(Load::of(target));
        known.insert(target.clone(), Arc::clone(&load));
        load
    }

    /// The place of the one among targets that are as good as one another that a conversation takes: if it `begins`, the less
    /// busy of two; else the one where it has been all along, unless that is much busier.
    pub fn choose(&self, targets: &[&ModelRef], conversation: u64, begins: bool) -> Option<usize> {
        let candidates = targets.iter().enumerate().map(|(number, target)| self.of(target).as_candidate(number));
        match begins {
            true => balance::less_busy(candidates, conversation),
            false => balance::choose(candidates, conversation),
        }
    }
}

impl Load {
    fn of(target: &ModelRef) -> Self {
        Self {
            hash: xxh3_64(target.spelt().as_bytes()),
            in_flight: AtomicUsize::new(0),
            peak: Mutex::default(),
            times: Default::default(),
        }
    }

    /// A call begins.
    pub fn begins(self: &Arc<Self>) -> Busy {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        Busy(Arc::clone(self))
    }

    /// An answer began, or was whole, so long after its call. How long a whole one takes says more of its length than of how
    /// busy its target is.
    pub fn answered(&self, kind: Kind, after: Duration, now: Instant) {
        if kind == Kind::Stream {
            lock(&self.peak).took(after, now);
        }
        lock(&self.times[kind as usize]).took(after);
    }

    /// The time within which so many hundredths of its answers came; `None`: too few have.
    pub fn percentile(&self, kind: Kind, percent: u8) -> Option<Duration> {
        lock(&self.times[kind as usize]).percentile(percent)
    }

    fn as_candidate(&self, number: usize) -> Candidate {
        let (in_flight, first_byte) = (self.in_flight.load(Ordering::Relaxed), lock(&self.peak).seconds());
        Candidate { number, hash: self.hash, weight: 1, in_flight, first_byte }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How long answers took, by powers of two in eight parts each.
#[derive(Default)]
struct Times {
    counts: Box<[u32]>,
    total: u32,
}

impl Times {
    fn took(&mut self, time: Duration) {
        if self.counts.is_empty() {
            self.counts = vec![0; BUCKETS].into();
        }
        self.counts[bucket(time)] += 1;
        self.total += 1;
        if self.total >= HALVED_AT {
            self.counts.iter_mut().for_each(|count| *count /= 2);
            self.total = self.counts.iter().sum();
        }
    }

    fn percentile(&self, percent: u8) -> Option<Duration> {
        if self.total < HEDGE_SAMPLES_MIN {
            return None;
        }
        let wanted = (u64::from(self.total) * u64::from(percent)).div_ceil(100).max(1);
        let mut seen = 0;
        let place = self.counts.iter().position(|count| {
            seen += u64::from(*count);
            seen >= wanted
        });
        place.map(end_of)
    }
}

fn bucket(time: Duration) -> usize {
    let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX).max(1 << SHORTEST);
    let power = micros.ilog2();
    let part = ((micros >> (power - 3)) & u64::from(PARTS - 1)) as u32;
    (((power - SHORTEST) * PARTS + part) as usize).min(BUCKETS - 1)
}

/// The longest time of a bucket.
fn end_of(bucket: usize) -> Duration {
    let (power, part) = (bucket as u64 / u64::from(PARTS), bucket as u64 % u64::from(PARTS));
    Duration::from_micros((u64::from(PARTS) + part + 1) << (power + u64::from(SHORTEST) - 3))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{ModelId, ProviderId};

    fn target(name: &str) -> ModelRef {
        ModelRef { provider: ProviderId::from(name), model: ModelId::from("m") }
    }

    #[test]
    fn a_percentile_is_known_after_some_answers_and_at_most_an_eighth_too_long() {
        let load = Load::of(&target("p"));
        let now = Instant::now();
        for number in 1..=100 {
            assert_eq!(load.percentile(Kind::Stream, 50).is_some(), number > HEDGE_SAMPLES_MIN, "{number}");
            load.answered(Kind::Stream, Duration::from_millis(u64::from(number) * 10), now);
        }
        for (percent, millis) in [(50_u8, 500_u64), (90, 900), (99, 990)] {
            let told = load.percentile(Kind::Stream, percent).expect("there are enough");
            let (least, most) = (Duration::from_millis(millis), Duration::from_millis(millis + millis / 8 + 1));
            assert!((least..=most).contains(&told), "p{percent}: {told:?}");
        }
        assert_eq!(load.percentile(Kind::Whole, 50), None, "they are counted apart");
    }

    #[test]
    fn what_was_long_ago_counts_for_less_and_no_time_is_too_long() {
        let mut times = Times::default();
        (0..900).for_each(|_| times.took(Duration::from_secs(1)));
        (0..5000).for_each(|_| times.took(Duration::from_millis(10)));
        assert!(times.percentile(95).expect("many") < Duration::from_millis(20));
        assert!(times.total < HALVED_AT);
        assert_eq!(bucket(Duration::MAX), BUCKETS - 1);
        assert_eq!(bucket(Duration::ZERO), 0);
        for millis in [1, 7, 100, 3_000, 600_000] {
            let time = Duration::from_millis(millis);
            assert!(
                time <= end_of(bucket(time)) && end_of(bucket(time)) <= time + time / 8 + Duration::from_micros(256)
            );
        }
    }

    #[test]
    fn what_goes_on_at_a_target_counts_until_it_is_over() {
        let loads = Loads::default();
        let (one, other) = (target("one"), target("other"));
        let both = [&one, &other];
        let busy: Vec<Busy> = (0..3).map(|_| loads.of(&one).begins()).collect();
        assert!((0..50).all(|conversation| loads.choose(&both, conversation, true) == Some(1)));
        let homes = (0..50).filter(|conversation| loads.choose(&both, *conversation, false) == Some(0)).count();
        assert!(homes > 10, "{homes}: three do not drive those away who are there");
        drop(busy);
        let begun = (0..50).filter(|conversation| loads.choose(&both, *conversation, true) == Some(0)).count();
        assert_eq!(begun, homes, "without a difference each goes where it belongs");
    }

    #[test]
    fn names_without_end_do_not_grow_it_without_end() {
        let loads = Loads::default();
        (0..LOADED_TARGETS_MAX + 5).for_each(|number| drop(loads.of(&target(&number.to_string()))));
        assert!(lock(&loads.known).len() <= LOADED_TARGETS_MAX);
    }
}
