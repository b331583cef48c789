//! Which target is called next, and after which wait: retries, fallbacks and the circuits between them.
//!
//! A retry is another call to the same target, a fallback a call to the next of the plan. Neither
//! happens once an answer has begun, even if it breaks off before anything has gone to the client, nor
//! after a timeout that may be billed (unless the row allows that).

use std::time::{Duration, Instant};

use super::failure::Failure;
use super::health::Health;
use crate::config::Dispatch;
use crate::plan::ModelRef;

/// The first pause before a retry; later ones double.
const BACK_OFF: Duration = Duration::from_millis(250);
/// The longest pause that we choose ourselves.
const BACK_OFF_MAX: Duration = Duration::from_secs(8);

/// What follows a failed call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// Call the same target again after a pause.
    Retry(Duration),
    /// Call the next target of the plan.
    Fallback,
    /// Tell the client.
    GiveUp,
}

/// Decides what follows `failure` of the `tries`-th call (from 1) to one target.
///
/// `jitter` is a random number in 0.0 … 1.0: a pause is between half of its nominal length and all of it.
pub fn after(failure: &Failure, tries: u32, rules: &Dispatch, jitter: f64) -> Next {
    let again = |pause: Option<Duration>| match pause {
        _ if tries > rules.retries => Next::Fallback,
        Some(asked) if asked > rules.retry_wait => Next::Fallback,
        asked => Next::Retry(asked.unwrap_or_default().max(back_off(tries, jitter))),
    };
    match failure {
        Failure::Connect { .. } | Failure::Reset { .. } | Failure::Timeout { sent: false } => again(None),
        // Another target would find none either.
        Failure::NoDescriptor if tries > rules.retries => Next::GiveUp,
        Failure::NoDescriptor => again(None),
        Failure::Timeout { sent: true } if rules.retry_after_timeout => again(None),
        Failure::Timeout { sent: true } => Next::GiveUp,
        Failure::Unreadable { .. } | Failure::NoRoom => Next::GiveUp,
        Failure::Refused(refusal) => match refusal.status {
            _ if refusal.insufficient_quota || refusal.credential => Next::Fallback,
            408 | 409 | 429 | 500.. if refusal.should_retry == Some(false) => Next::Fallback,
            408 | 409 | 429 | 500.. => again(refusal.retry_after),
            // A redirect or the like does not pass by itself, and says nothing about the next target.
            _ if !refusal.is_error() => Next::Fallback,
            _ => Next::GiveUp,
        },
    }
}

fn back_off(tries: u32, jitter: f64) -> Duration {
    let nominal = BACK_OFF.saturating_mul(1 << tries.saturating_sub(1).min(10)).min(BACK_OFF_MAX);
    nominal.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0)
}

/// The targets of a plan, in the order in which one call uses them.
pub struct Attempts<'a> {
    targets: std::slice::Iter<'a, ModelRef>,
    current: Option<&'a ModelRef>,
    tries: u32,
    /// How many calls there have been.
    calls: u32,
    /// The ways into the current target that were tried, a bit each.
    tried: u64,
    /// A call to another target went on beside one.
    is_hedged: bool,
}

impl<'a> Attempts<'a> {
    /// Starts before the first target.
    pub fn new(targets: &'a [ModelRef]) -> Self {
        Self { targets: targets.iter(), current: None, tries: 0, calls: 0, tried: 0, is_hedged: false }
    }

    /// The target of the next call: the current one, or the next that is up. `None` when all have been used,
    /// or rest; a plan whose targets all rest still has its last one called, so that a call never fails unseen.
    pub fn next(
        &mut self,
        health: &Health,
        rules: impl Fn(&ModelRef) -> Option<Dispatch>,
        now: Instant,
    ) -> Option<&'a ModelRef> {
        if self.current.is_none() {
            (self.tries, self.tried) = (0, 0);
            while let Some(target) = self.targets.next() {
                let Some(rules) = rules(target) else { continue };
                let last_hope = self.calls == 0 && self.targets.len() == 0;
                if health.admits(target, rules.circuit, now) || last_hope {
                    self.current = Some(target);
                    break;
                }
            }
        }
        self.tries += 1;
        self.calls += u32::from(self.current.is_some());
        self.current
    }

    /// How often the current target was called.
    pub fn tries(&self) -> u32 {
        self.tries
    }

    /// The ways into the current target that were tried.
    pub fn tried(&self) -> u64 {
        self.tried
    }

    /// A way into the current target failed: another is taken next, if there is one.
    pub fn leave(&mut self, access: usize) {
        self.tried |= 1_u64.checked_shl(access as u32).unwrap_or_default();
    }

    /// Calls the current target by another way at once: that is no further try of the same.
    pub fn by_another_way(&mut self) {
        self.tries -= 1;
    }

    /// Leaves the current target without having called it.
    pub fn pass_over(&mut self) {
        self.current = None;
        self.calls -= 1;
    }

    /// The target that may be called beside the current one: the next that is well, if none was before.
    pub fn hedge(&self, is_well: impl Fn(&ModelRef) -> bool) -> Option<&'a ModelRef> {
        self.targets.clone().find(|target| is_well(target)).filter(|_| !self.is_hedged)
    }

    /// `target` is called beside the current one: what follows is what stands behind it.
    pub fn hedged(&mut self, target: &ModelRef) {
        self.is_hedged = true;
        self.calls += 1;
        self.targets.by_ref().find(|next| *next == target);
    }

    /// Whether a call may go on beside the current one: none did before.
    pub fn may_hedge(&self) -> bool {
        !self.is_hedged
    }

    /// The current target is called by the way `other` beside the way `slow`: neither is the next to be tried.
    pub fn hedged_by_another_way(&mut self, slow: usize, other: usize) {
        self.is_hedged = true;
        self.calls += 1;
        self.leave(slow);
        self.leave(other);
    }

    /// Of two that were called at once, `target` is the one that is left.
    pub fn stand_at(&mut self, target: &'a ModelRef) {
        (self.current, self.tries, self.tried) = (Some(target), 1, 0);
    }

    /// Leaves the current target.
    pub fn fall_back(&mut self) {
        self.current = None;
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::super::failure::Refusal;
    use super::*;
    use crate::dialect::Dialect;
    use crate::ids::{ModelId, ProviderId};

    const RULES: Dispatch = Dispatch {
        retries: 2,
        retry_wait: Duration::from_secs(10),
        connect_timeout: Duration::from_secs(5),
        first_byte_timeout: Duration::from_secs(120),
        idle_timeout: Duration::from_secs(60),
        total_timeout: Duration::from_secs(900),
        retry_after_timeout: false,
        circuit: None,
        hedge: None,
    };

    fn refused(status: u16, retry_after: Option<u64>) -> Failure {
        Failure::Refused(Refusal {
            status,
            headers: HeaderMap::new(),
            json: None,
            retry_after: retry_after.map(Duration::from_secs),
            should_retry: None,
            insufficient_quota: false,
            credential: status == 401,
            in_stream: false,
            used: None,
            dialect: Dialect::Chat,
        })
    }

    #[track_caller]
    fn check(failure: &Failure, tries: u32, expected: Next) {
        assert_eq!(after(failure, tries, &RULES, 1.0), expected, "{failure:?} after {tries}");
    }

    #[test]
    fn what_may_pass_by_itself_is_tried_again_and_then_elsewhere() {
        for status in [408, 409, 429, 500, 502, 503, 529] {
            check(&refused(status, None), 1, Next::Retry(Duration::from_millis(250)));
            check(&refused(status, None), 2, Next::Retry(Duration::from_millis(500)));
            check(&refused(status, None), 3, Next::Fallback);
        }
        check(&Failure::Connect { why: "the connection was refused" }, 1, Next::Retry(Duration::from_millis(250)));
        check(&Failure::Reset { sent: true }, 1, Next::Retry(Duration::from_millis(250)));
    }

    #[test]
    fn what_the_caller_got_wrong_goes_straight_back() {
        for status in [400, 404, 413, 422] {
            check(&refused(status, None), 1, Next::GiveUp);
        }
    }

    #[test]
    fn a_wait_that_is_asked_for_is_kept_or_not_waited_for_at_all() {
        check(&refused(429, Some(3)), 1, Next::Retry(Duration::from_secs(3)));
        check(&refused(429, Some(11)), 1, Next::Fallback);
    }

    #[test]
    fn a_timeout_that_may_be_billed_is_not_repeated() {
        check(&Failure::Timeout { sent: true }, 1, Next::GiveUp);
        check(&Failure::Timeout { sent: false }, 1, Next::Retry(Duration::from_millis(250)));
    }

    #[test]
    fn what_is_no_error_by_its_status_is_not_repeated() {
        for status in [101, 204, 302, 304] {
            check(&refused(status, None), 1, Next::Fallback);
        }
    }

    #[test]
    fn the_want_of_a_descriptor_is_waited_out_and_not_carried_to_the_next_target() {
        check(&Failure::NoDescriptor, 1, Next::Retry(Duration::from_millis(250)));
        check(&Failure::NoDescriptor, 3, Next::GiveUp);
    }

    #[test]
    fn an_answer_that_has_begun_is_not_asked_for_again() {
        check(&Failure::Unreadable { what: "it broke off" }, 1, Next::GiveUp);
    }

    #[test]
    fn whoever_is_asked_beside_the_current_target_is_the_next_that_is_well_and_is_not_asked_again() {
        let target = |name: &str| ModelRef { provider: ProviderId::from(name), model: ModelId::from("m") };
        let (targets, health) = (["a", "b", "c", "d"].map(target), Health::default());
        let next = |attempts: &mut Attempts<'_>| {
            let target = attempts.next(&health, |_| Some(RULES), Instant::now());
            target.map(|target| target.provider.to_string()).unwrap_or_default()
        };
        let mut attempts = Attempts::new(&targets);
        assert_eq!(next(&mut attempts), "a");
        assert_eq!(attempts.hedge(|target| *target != targets[1]), Some(&targets[2]));
        attempts.hedged(&targets[2]);
        assert_eq!(attempts.hedge(|_| true), None, "one is enough");
        attempts.fall_back();
        assert_eq!(next(&mut attempts), "d", "what rested is passed over, and what was asked is used up");
        let mut attempts = Attempts::new(&targets);
        assert_eq!(next(&mut attempts), "a");
        attempts.hedged(&targets[1]);
        attempts.stand_at(&targets[1]);
        assert_eq!((attempts.tries(), attempts.tried()), (1, 0));
        assert_eq!((next(&mut attempts), attempts.tries()), ("b".to_owned(), 2), "a retry of the one that is left");
        attempts.fall_back();
        assert_eq!(next(&mut attempts), "c");
    }

    #[test]
    fn a_target_that_was_called_by_two_ways_at_once_has_both_behind_it_and_the_next_before_it() {
        let target = |name: &str| ModelRef { provider: ProviderId::from(name), model: ModelId::from("m") };
        let (targets, health) = (["a", "b"].map(target), Health::default());
        let mut attempts = Attempts::new(&targets);
        let first = attempts.next(&health, |_| Some(RULES), Instant::now());
        assert!(first == Some(&targets[0]) && attempts.may_hedge());
        attempts.hedged_by_another_way(2, 0);
        assert_eq!((attempts.may_hedge(), attempts.tried(), attempts.hedge(|_| true)), (false, 0b101, None));
        attempts.fall_back();
        assert_eq!(attempts.next(&health, |_| Some(RULES), Instant::now()), Some(&targets[1]));
    }

    #[test]
    fn a_dead_credential_or_account_is_not_asked_twice() {
        check(&refused(401, None), 1, Next::Fallback);
        let Failure::Refused(mut refusal) = refused(429, Some(1)) else { unreachable!() };
        refusal.insufficient_quota = true;
        check(&Failure::Refused(refusal), 1, Next::Fallback);
    }
}
