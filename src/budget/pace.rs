//! How fast payers ask, and how much at once: requests and tokens of the last minute, requests in flight.
//!
//! A minute is any 60 seconds, kept by the second and forgotten late rather than early: what is allowed never exceeds a
//! limit within a minute; what was asked before a clock was set back is asked now. Tokens count as they are estimated when
//! a request begins, and as they were once it ends; with an empty minute any single request may begin.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::books::Payer;
use super::terms::Limits;
use crate::limits::{PAYERS_MAX, PAYERS_SWEPT_EVERY};

/// Seconds after which what was asked no longer counts.
const FORGOTTEN_AFTER: i64 = 61;

/// A payer with its limits.
pub type Limited = (Payer, Limits);

/// The paces of all payers.
#[derive(Debug)]
pub struct Paces {
    paces: HashMap<Payer, Pace>,
    payers_max: usize,
    /// The second in which idle ones were looked for last.
    swept: Option<i64>,
}

impl Default for Paces {
    fn default() -> Self {
        Self { paces: HashMap::new(), payers_max: PAYERS_MAX, swept: None }
    }
}

#[derive(Debug, Default)]
struct Pace {
    seconds: VecDeque<Second>,
    requests: u64,
    tokens: u64,
    in_flight: u64,
}

#[derive(Debug)]
struct Second {
    at: i64,
    requests: u64,
    tokens: u64,
}

/// A limit that is reached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reached {
    /// Whose.
    pub payer: Payer,
    /// Its name.
    pub limit: &'static str,
    /// What it allows.
    pub allowed: u64,
    /// Seconds until it makes sense to ask again.
    pub retry_after: u64,
}

/// How much of what a minute allows is left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Left {
    /// What it allows.
    pub allowed: u64,
    /// What of that is left now.
    pub remaining: u64,
    /// Seconds until all of it is there again.
    pub whole_in: u64,
}

/// What is left of all limits a minute together: of each kind that one of which the least is left.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Allowance {
    /// Requests; `None`: nothing limits them.
    pub requests: Option<Left>,
    /// Tokens.
    pub tokens: Option<Left>,
}

impl Paces {
    /// What is left of these limits.
    pub fn left(&mut self, limited: &[Limited], now: i64) -> Allowance {
        let mut all = Allowance::default();
        for (payer, limits) in limited {
            let pace = self.paces.entry(payer.clone()).or_default();
            pace.set_back(now);
            let (requests, tokens) = pace.within(now);
            let left = |allowed: Option<u64>, used: u64, of: fn(&Second) -> u64| {
                let allowed = allowed?;
                Some(Left { allowed, remaining: allowed.saturating_sub(used), whole_in: pace.whole_in(now, of) })
            };
            let least =
                |one: Option<Left>, other: Option<Left>| one.into_iter().chain(other).min_by_key(|left| left.remaining);
            all.requests = least(all.requests, left(limits.requests_per_minute, requests, |second| second.requests));
            all.tokens = least(all.tokens, left(limits.tokens_per_minute, tokens, |second| second.tokens));
        }
        all
    }

    /// Those that a request is to begin and to end under, where that is not under its own: there are as many payers as can be
    /// told apart, and new projects and users of a team go at one pace.
    pub fn told_apart(&mut self, limited: &[Limited], now: i64) -> Option<Arc<[Limited]>> {
        let is_new = |paces: &HashMap<Payer, Pace>, payer: &Payer| !paces.contains_key(payer);
        if self.paces.len() < self.payers_max || !limited.iter().any(|(payer, _)| is_new(&self.paces, payer)) {
            return None;
        }
        // It goes through all of them under the lock that every request takes.
        if self.swept.is_none_or(|swept| now.abs_diff(swept) >= PAYERS_SWEPT_EVERY.as_secs()) {
            self.swept = Some(now);
            self.paces.retain(|_, pace| !pace.is_idle(now));
            if self.paces.len() < self.payers_max {
                return None;
            }
        }
        let known_or_other = |(payer, limits): &Limited| match is_new(&self.paces, payer) {
            true => (payer.other(), *limits),
            false => (payer.clone(), *limits),
        };
        Some(limited.iter().map(known_or_other).collect())
    }

    /// Lets a request begin under all limits, or under none. `watched`: it begins whatever is reached.
    ///
    /// # Errors
    ///
    /// The limit that is reached for the longest.
    pub fn begin(&mut self, limited: &[Limited], tokens: u64, now: i64, watched: bool) -> Result<(), Reached> {
        let reached = self.would_reach(limited, tokens, now);
        if let Some(reached) = reached.filter(|_| !watched) {
            return Err(reached);
        }
        for (payer, _) in limited {
            let pace = self.paces.entry(payer.clone()).or_default();
            pace.in_flight += 1;
            pace.count(now, 1, tokens);
        }
        Ok(())
    }

    /// The limit that a request would meet.
    pub fn would_reach(&mut self, limited: &[Limited], tokens: u64, now: i64) -> Option<Reached> {
        let reached = limited.iter().filter_map(|(payer, limits)| self.reached(payer, *limits, tokens, now));
        reached.max_by_key(|reached| reached.retry_after)
    }

    /// A request ended; `beyond` is what it used more than was counted when it began.
    pub fn end(&mut self, limited: &[Limited], beyond: u64, now: i64) {
        for (payer, _) in limited {
            if let Some(pace) = self.paces.get_mut(payer) {
                pace.in_flight = pace.in_flight.saturating_sub(1);
                pace.count(now, 0, beyond);
            }
        }
    }

    fn reached(&mut self, payer: &Payer, limits: Limits, tokens: u64, now: i64) -> Option<Reached> {
        let pace = self.paces.get_mut(payer)?;
        pace.set_back(now);
        let pace = &*pace;
        let (requests, used) = pace.within(now);
        let reached = |limit, allowed, retry_after| Some(Reached { payer: payer.clone(), limit, allowed, retry_after });
        if let Some(allowed) = limits.concurrency.filter(|allowed| pace.in_flight >= *allowed) {
            return reached("concurrency", allowed, 1);
        }
        if let Some(allowed) = limits.requests_per_minute.filter(|allowed| requests >= *allowed) {
            let wait = pace.until(now, |second| second.requests, requests - allowed + 1);
            return reached("requests_per_minute", allowed, wait);
        }
        let over = |allowed: &u64| used > 0 && used.saturating_add(tokens) > *allowed;
        if let Some(allowed) = limits.tokens_per_minute.filter(over) {
            let wait = pace.until(now, |second| second.tokens, (used + tokens - allowed).min(used));
            return reached("tokens_per_minute", allowed, wait);
        }
        None
    }
}

impl Pace {
    /// A clock that was set back: what came later than now came now.
    fn set_back(&mut self, now: i64) {
        while let Some(last) = self.seconds.pop_back_if(|second| second.at > now) {
            match self.seconds.back_mut().filter(|second| second.at >= now) {
                Some(second) => {
                    second.requests += last.requests;
                    second.tokens += last.tokens;
                }
                None => self.seconds.push_back(Second { at: now, ..last }),
            }
        }
    }

    fn count(&mut self, now: i64, requests: u64, tokens: u64) {
        self.set_back(now);
        while let Some(second) = self.seconds.front().filter(|second| now - second.at >= FORGOTTEN_AFTER) {
            self.requests -= second.requests;
            self.tokens -= second.tokens;
            self.seconds.pop_front();
        }
        match self.seconds.back_mut().filter(|last| last.at == now) {
            Some(last) => {
                last.requests += requests;
                last.tokens += tokens;
            }
            None => self.seconds.push_back(Second { at: now, requests, tokens }),
        }
        self.requests += requests;
        self.tokens += tokens;
    }

    fn within(&self, now: i64) -> (u64, u64) {
        let old = self.seconds.iter().take_while(|second| now - second.at >= FORGOTTEN_AFTER);
        let (requests, tokens) = old.fold((0, 0), |sum, second| (sum.0 + second.requests, sum.1 + second.tokens));
        (self.requests - requests, self.tokens - tokens)
    }

    /// Seconds until `enough` of what counts is forgotten.
    fn until(&self, now: i64, of: impl Fn(&Second) -> u64, enough: u64) -> u64 {
        let mut forgotten = 0;
        for second in self.seconds.iter().filter(|second| now - second.at < FORGOTTEN_AFTER) {
            forgotten += of(second);
            if forgotten >= enough {
                return u64::try_from(second.at + FORGOTTEN_AFTER - now).unwrap_or(1).max(1);
            }
        }
        1
    }

    /// Seconds until all of what counts is forgotten.
    fn whole_in(&self, now: i64, of: fn(&Second) -> u64) -> u64 {
        let last = self.seconds.iter().rev().find(|second| of(second) > 0);
        last.map_or(0, |second| u64::try_from(second.at + FORGOTTEN_AFTER - now).unwrap_or_default())
    }

    fn is_idle(&self, now: i64) -> bool {
        self.in_flight == 0 && self.within(now) == (0, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn team(limits: Limits) -> [Limited; 1] {
        [(Payer::Team("t".into()), limits)]
    }

    #[test]
    fn no_minute_has_more_requests_than_allowed() {
        let limited = team(Limits { requests_per_minute: Some(3), ..Limits::default() });
        let mut paces = Paces::default();
        let mut begun = Vec::new();
        for second in 0..600 {
            while paces.begin(&limited, 0, second, false).is_ok() {
                begun.push(second);
                paces.end(&limited, 0, second);
            }
        }
        for from in 0..540 {
            assert!(begun.iter().filter(|at| (from..=from + 60).contains(*at)).count() <= 3, "from {from}");
        }
        assert!(begun.len() >= 27, "{begun:?}");
    }

    #[test]
    fn a_clock_that_is_set_back_locks_nobody_out() {
        for limits in [
            Limits { requests_per_minute: Some(2), ..Limits::default() },
            Limits { tokens_per_minute: Some(20), ..Limits::default() },
        ] {
            let limited = team(limits);
            let mut paces = Paces::default();
            for second in [200_000, 200_001] {
                paces.begin(&limited, 10, second, false).unwrap();
            }
            let reached = paces.begin(&limited, 10, 27_200, false).expect_err("both were asked only now");
            assert_eq!(reached.retry_after, 61);
            assert!(paces.begin(&limited, 10, 27_260, false).is_err());
            paces.begin(&limited, 10, 27_261, false).unwrap();
        }
    }

    #[test]
    fn a_refusal_says_when_to_come_back() {
        let limited = team(Limits { requests_per_minute: Some(2), ..Limits::default() });
        let mut paces = Paces::default();
        paces.begin(&limited, 0, 10, false).unwrap();
        paces.begin(&limited, 0, 30, false).unwrap();
        let reached = paces.begin(&limited, 0, 40, false).unwrap_err();
        assert_eq!((reached.limit, reached.allowed, reached.retry_after), ("requests_per_minute", 2, 31));
        assert!(paces.begin(&limited, 0, 70, false).is_err());
        paces.begin(&limited, 0, 71, false).unwrap();
    }

    #[test]
    fn concurrency_is_free_again_when_a_request_ends() {
        let limited = team(Limits { concurrency: Some(1), ..Limits::default() });
        let mut paces = Paces::default();
        paces.begin(&limited, 0, 0, false).unwrap();
        assert_eq!(paces.begin(&limited, 0, 0, false).unwrap_err().limit, "concurrency");
        paces.end(&limited, 0, 0);
        paces.begin(&limited, 0, 0, false).unwrap();
    }

    #[test]
    fn tokens_count_as_estimated_and_then_as_they_were() {
        let limited = team(Limits { tokens_per_minute: Some(100), ..Limits::default() });
        let mut paces = Paces::default();
        paces.begin(&limited, 5_000, 0, false).expect("any single request may begin");
        assert_eq!(paces.begin(&limited, 1, 0, false).unwrap_err().retry_after, 61);
        paces.begin(&limited, 60, 61, false).unwrap();
        paces.end(&limited, 30, 62);
        assert!(paces.begin(&limited, 20, 62, false).is_err());
        paces.begin(&limited, 10, 62, false).unwrap();
    }

    #[test]
    fn what_is_left_is_told_of_the_limit_that_is_nearest() {
        let of_team = Limits { requests_per_minute: Some(5), tokens_per_minute: Some(100), ..Limits::default() };
        let of_key = Limits { requests_per_minute: Some(3), ..Limits::default() };
        let both = [(Payer::Team("t".into()), of_team), (Payer::Key("k".into()), of_key)];
        let left = |allowed, remaining, whole_in| Some(Left { allowed, remaining, whole_in });
        let mut paces = Paces::default();
        assert_eq!(paces.left(&both, 0), Allowance { requests: left(3, 3, 0), tokens: left(100, 100, 0) });
        paces.begin(&both[..1], 30, 0, false).unwrap();
        paces.begin(&both[..1], 0, 20, false).unwrap();
        paces.begin(&both[..1], 0, 21, false).unwrap();
        assert_eq!(paces.left(&both, 30), Allowance { requests: left(5, 2, 52), tokens: left(100, 70, 31) });
        paces.begin(&both, 500, 40, false).expect_err("it is too much");
        paces.begin(&both, 0, 40, false).unwrap();
        paces.begin(&both, 0, 41, false).unwrap();
        assert_eq!(paces.left(&both, 62).requests, left(5, 1, 40));
        assert_eq!(paces.left(&[], 62), Allowance::default());
    }

    #[test]
    fn payers_without_end_go_at_one_pace() {
        let user = |number: i64| {
            let limits = Limits { concurrency: Some(1), ..Limits::default() };
            [(Payer::User("t".into(), number.to_string().into()), limits)]
        };
        let mut paces = Paces { payers_max: 2, ..Paces::default() };
        let mut begin = |number, now| {
            let limited = user(number);
            let shared = paces.told_apart(&limited, now);
            let limited = shared.as_deref().unwrap_or(&limited);
            let begun = paces.begin(limited, 0, now, false).map_err(|reached| reached.payer);
            if begun.is_ok() && number > 1 {
                paces.end(limited, 0, now);
            }
            (limited == user(number), begun)
        };
        let others = Payer::User("t".into(), "(others)".into());
        assert_eq!(begin(1, 0), (true, Ok(())));
        assert_eq!(begin(2, 0), (true, Ok(())));
        assert_eq!(begin(1, 0).1, Err(user(1)[0].0.clone()), "who is known has a pace of its own");
        assert_eq!(begin(3, 0), (false, Ok(())));
        assert_eq!(begin(4, 0), (false, Ok(())));
        assert_eq!(begin(1, 61).1, Err(user(1)[0].0.clone()));
        assert_eq!(begin(5, 61), (true, Ok(())), "the second is idle and forgotten");
        let shared = paces.told_apart(&user(6), 62).expect("there are as many as can be");
        paces.begin(&shared, 0, 62, false).unwrap();
        assert_eq!(paces.begin(&shared, 0, 62, false).unwrap_err().payer, others);
        assert_eq!(paces.paces.len(), 3);
        paces.end(&shared, 0, 62);
        assert!(paces.told_apart(&user(7), 120).is_some(), "they are looked through once a minute");
        assert_eq!(paces.told_apart(&user(7), 123), None, "it has ended where it began");
    }

    #[test]
    fn all_limits_hold_or_nothing_counts() {
        let open = (Payer::Team("t".into()), Limits { requests_per_minute: Some(9), ..Limits::default() });
        let closed = (Payer::Key("k".into()), Limits { concurrency: Some(1), ..Limits::default() });
        let both = [open.clone(), closed];
        let mut paces = Paces::default();
        paces.begin(&both, 0, 0, false).unwrap();
        assert!(paces.begin(&both, 0, 0, false).is_err());
        for _ in 0..8 {
            paces.begin(std::slice::from_ref(&open), 0, 0, false).expect("the refused request does not count");
        }
        paces.begin(&both, 0, 0, true).expect("watched limits stop nobody");
    }
}
