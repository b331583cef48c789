//! Which targets are up: a circuit for each, opened by consecutive failures, tried again after a rest.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::config::Circuit;
use crate::plan::ModelRef;

/// Most targets whose failures are remembered; names that clients invent cannot grow it further.
const TARGETS_MAX: usize = 4096;

/// The circuits of all targets.
#[derive(Default)]
pub struct Health {
    failing: Mutex<HashMap<ModelRef, State>>,
    /// Something fails: else nobody needs the lock.
    any: AtomicBool,
}

/// A target that failed last time.
#[derive(Clone, Copy, Debug)]
struct State {
    failures: u32,
    opened: Option<Instant>,
    /// A trial call is under way since then.
    trial: Option<Instant>,
    /// It rests until then for want of a key.
    until: Option<Instant>,
}

impl State {
    const WELL: Self = Self { failures: 0, opened: None, trial: None, until: None };

    /// Whether it is still too early to try it again.
    fn rests(&self, circuit: Circuit, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
            || self.opened.is_some_and(|opened| now.duration_since(opened) < circuit.cool_down)
    }
}

impl Health {
    /// Whether `target` may be called at `now`. After its rest one call at a time may try it.
    pub fn admits(&self, target: &ModelRef, circuit: Option<Circuit>, now: Instant) -> bool {
        let Some(circuit) = circuit.filter(|_| self.any.load(Ordering::Acquire)) else { return true };
        let mut failing = self.lock();
        let Some(state) = failing.get_mut(target) else { return true };
        if state.rests(circuit, now) {
            return false;
        }
        if state.opened.is_none() && state.until.is_none() {
            return true;
        }
        if state.trial.is_some_and(|since| now.duration_since(since) < circuit.cool_down) {
            return false;
        }
        state.trial = Some(now);
        true
    }

    /// Whether `target` rests at `now`. Unlike [`Health::admits`] this begins no trial.
    pub fn rests(&self, target: &ModelRef, circuit: Option<Circuit>, now: Instant) -> bool {
        let Some(circuit) = circuit.filter(|_| self.any.load(Ordering::Acquire)) else { return false };
        let failing = self.lock();
        failing.get(target).is_some_and(|state| state.rests(circuit, now))
    }

    /// Whether nothing speaks against `target`: it does not rest, and is not on trial.
    pub fn is_well(&self, target: &ModelRef) -> bool {
        if !self.any.load(Ordering::Acquire) {
            return true;
        }
        self.lock().get(target).is_none_or(|state| state.opened.is_none() && state.until.is_none())
    }

    /// `target` answered.
    pub fn succeeded(&self, target: &ModelRef) {
        if self.any.load(Ordering::Acquire) {
            let mut failing = self.lock();
            failing.remove(target);
            self.any.store(!failing.is_empty(), Ordering::Release);
        }
    }

    /// `target` failed at `now`. Returns whether this opened its circuit.
    pub fn failed(&self, target: &ModelRef, circuit: Option<Circuit>, now: Instant) -> bool {
        let Some(circuit) = circuit else { return false };
        let mut failing = self.lock();
        self.any.store(true, Ordering::Release);
        if failing.len() >= TARGETS_MAX && !failing.contains_key(target) {
            failing.clear();
        }
        let state = failing.entry(target.clone()).or_insert(State::WELL);
        state.failures = state.failures.saturating_add(1);
        state.trial = None;
        if state.failures < circuit.failures {
            return false;
        }
        let was_closed = state.opened.is_none();
        state.opened = Some(now);
        was_closed
    }

    /// No key of `target`'s row is of use for it: it rests until then.
    pub fn rest(&self, target: &ModelRef, circuit: Option<Circuit>, until: Instant) {
        if circuit.is_some() {
            let mut failing = self.lock();
            self.any.store(true, Ordering::Release);
            if failing.len() < TARGETS_MAX || failing.contains_key(target) {
                let state = failing.entry(target.clone()).or_insert(State::WELL);
                (state.until, state.trial) = (Some(until), None);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ModelRef, State>> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::ids::{ModelId, ProviderId};

    #[test]
    fn a_failing_target_rests_and_is_tried_by_one_call() {
        let target = ModelRef { provider: ProviderId::from("p"), model: ModelId::from("m") };
        let circuit = Some(Circuit { failures: 2, cool_down: Duration::from_secs(30) });
        let (health, start) = (Health::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(!health.failed(&target, circuit, at(0)));
        assert!(health.admits(&target, circuit, at(0)));
        assert!(health.failed(&target, circuit, at(1)));
        assert!(!health.admits(&target, circuit, at(30)));
        assert!(health.rests(&target, circuit, at(30)) && !health.rests(&target, circuit, at(31)));
        assert!(health.admits(&target, circuit, at(31)), "the rest is over");
        assert!(!health.admits(&target, circuit, at(32)), "one trial at a time");
        assert!(!health.failed(&target, circuit, at(33)), "it was open before");
        assert!(!health.admits(&target, circuit, at(62)));
        assert!(health.admits(&target, circuit, at(63)));
        health.succeeded(&target);
        assert!(health.admits(&target, circuit, at(63)));
        assert!(health.admits(&target, None, at(0)), "no circuit, no rest");
        health.rest(&target, circuit, at(100));
        assert!(!health.admits(&target, circuit, at(99)) && health.rests(&target, circuit, at(99)));
        assert!(health.admits(&target, circuit, at(100)) && !health.admits(&target, circuit, at(101)), "one trial");
        health.succeeded(&target);
        assert!(health.admits(&target, circuit, at(101)));
    }
}
