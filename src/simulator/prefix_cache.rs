//! The simulated provider's prefix cache: what a prompt shares with earlier prompts of its model.
//!
//! A prompt is a row of tokens; each multiple of 128 from 1,024 on is a place where a prefix can end.
//! A place that an earlier prompt left less than the time to live ago is a hit, and everything up to
//! the last place is written anew. Time is an argument; memory is bounded by forgetting the oldest.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

/// Shortest prefix that is cached, in tokens.
pub const PREFIX_TOKENS_MIN: u64 = 1024;
/// Prefixes end at multiples of this many tokens.
pub const PREFIX_TOKENS_STEP: u64 = 128;
/// Most places that are remembered: about 64 million tokens of distinct prompts.
const PLACES_MAX: usize = 500_000;

/// How a prompt met the cache, in tokens.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Match {
    /// Read from the cache: 0, or at least 1,024 and a multiple of 128.
    pub cached: u64,
    /// Written to the cache, beyond what was read.
    pub written: u64,
}

/// The tokens of one prompt, reduced to the places where a cached prefix can end.
#[derive(Debug)]
pub struct PromptTokens {
    count: u64,
    hasher: DefaultHasher,
    places: Vec<u64>,
}

impl PromptTokens {
    /// An empty prompt for `model`; prompts of different models share nothing.
    pub fn of(model: &str) -> Self {
        let mut hasher = DefaultHasher::new();
        model.hash(&mut hasher);
        Self { count: 0, hasher, places: Vec::new() }
    }

    /// Appends one token.
    pub fn push(&mut self, token: &str) {
        token.hash(&mut self.hasher);
        self.count += 1;
        if self.count >= PREFIX_TOKENS_MIN && self.count.is_multiple_of(PREFIX_TOKENS_STEP) {
            self.places.push(self.hasher.finish());
        }
    }

    /// How many tokens there are.
    pub fn count(&self) -> u64 {
        self.count
    }
}

/// Prefixes that were processed lately.
#[derive(Debug)]
pub struct PrefixCache {
    time_to_live: Duration,
    seen: HashMap<u64, Instant>,
    order: VecDeque<(u64, Instant)>,
}

impl PrefixCache {
    /// An empty cache whose prefixes live for `time_to_live` after their last use; zero turns it off.
    pub fn new(time_to_live: Duration) -> Self {
        Self { time_to_live, seen: HashMap::new(), order: VecDeque::new() }
    }

    /// Finds the longest live prefix of `prompt` and writes the rest.
    pub fn read_and_write(&mut self, prompt: &PromptTokens, now: Instant) -> Match {
        if self.time_to_live.is_zero() {
            return Match::default();
        }
        let live = |place: &u64| self.seen.get(place).is_some_and(|at| now.duration_since(*at) < self.time_to_live);
        let cached = tokens_at(prompt.places.iter().rposition(live).map_or(0, |last| last + 1));
        for place in &prompt.places {
            self.seen.insert(*place, now);
            self.order.push_back((*place, now));
        }
        self.forget(now);
        Match { cached, written: tokens_at(prompt.places.len()) - cached }
    }

    /// Drops entries that expired, and the oldest ones beyond the bound.
    fn forget(&mut self, now: Instant) {
        while let Some((place, at)) = self.order.front().copied() {
            if self.order.len() <= PLACES_MAX && now.duration_since(at) < self.time_to_live {
                return;
            }
            self.order.pop_front();
            if self.seen.get(&place) == Some(&at) {
                self.seen.remove(&place);
            }
        }
    }
}

fn tokens_at(places: usize) -> u64 {
    if places == 0 { 0 } else { PREFIX_TOKENS_MIN + (places as u64 - 1) * PREFIX_TOKENS_STEP }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prompt(model: &str, shared: usize, own: &str, total: usize) -> PromptTokens {
        let mut prompt = PromptTokens::of(model);
        for i in 0..total {
            prompt.push(if i < shared { "same" } else { own });
        }
        prompt
    }

    #[track_caller]
    fn check(second: &PromptTokens, after: Duration, expected: Match) {
        let mut cache = PrefixCache::new(Duration::from_secs(300));
        let start = Instant::now();
        cache.read_and_write(&prompt("m", 2000, "a", 2000), start);
        assert_eq!(cache.read_and_write(second, start + after), expected);
    }

    const SOON: Duration = Duration::from_secs(1);

    #[test]
    fn a_shared_prefix_hits_in_whole_steps() {
        check(&prompt("m", 1500, "b", 2000), SOON, Match { cached: 1408, written: 1920 - 1408 });
        check(&prompt("m", 2000, "b", 2000), SOON, Match { cached: 1920, written: 0 });
    }

    #[test]
    fn short_prompts_other_models_and_old_prefixes_miss() {
        check(&prompt("m", 1023, "b", 1023), SOON, Match { cached: 0, written: 0 });
        check(&prompt("m", 1000, "b", 1100), SOON, Match { cached: 0, written: 1024 });
        check(&prompt("other", 2000, "b", 2000), SOON, Match { cached: 0, written: 1920 });
        check(&prompt("m", 2000, "b", 2000), Duration::from_secs(301), Match { cached: 0, written: 1920 });
    }

    #[test]
    fn expired_prefixes_leave_no_memory_behind() {
        let mut cache = PrefixCache::new(Duration::from_millis(10));
        let mut now = Instant::now();
        for i in 0..50 {
            cache.read_and_write(&prompt("m", 0, &format!("t{i}"), 1024), now);
            now += Duration::from_millis(20);
        }
        assert_eq!((cache.seen.len(), cache.order.len()), (1, 1));
    }
}
