//! Which prompts went by lately: what a model that all of them had gone to would have in its provider's cache.
//!
//! A counterfactual must not take its cached share from the calls that were made: a conversation that moves between
//! models pays for cold prefixes that it would have found warm, had it stayed. So the ends of prompts are remembered as
//! hashes, each with its tokens as its provider reported them and with the model that answered. The next step of a
//! conversation finds the one that it extends, a first step what conversations of one agent share. Memory is bounded: two
//! generations of small entries, of which the older is dropped whole.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::call::CallFacts;
use crate::limits::{CONVERSATION_IDLE, PREFIXES_MAX, WARM_PREFIX};
use crate::plan::ModelRef;
use crate::prompt::outline::Chain;
use crate::reply::usage::Usage;
use crate::route::warm::{CACHED_PREFIX_TOKENS_MIN, CACHED_PREFIX_TOKENS_STEP};

/// Maps that are locked apart.
const SHARDS: usize = 16;
/// Tokens at the end of a prompt that only ask for the answer: no longer prompt has them in this place.
const ASKING_TOKENS: u64 = 3;

/// Prompts that went by, of all conversations.
#[derive(Default)]
pub struct Prefixes {
    shards: [Mutex<Generations>; SHARDS],
}

#[derive(Default)]
struct Generations {
    young: HashMap<u64, Entry>,
    old: HashMap<u64, Entry>,
    /// When the young ones began to be.
    since: Option<Instant>,
}

/// The end of a prompt, or of what stands before its first user turn.
#[derive(Clone, Copy, Debug)]
struct Entry {
    at: Instant,
    /// A hash of the model that answered last; 0: none has yet.
    by: u64,
    /// How many tokens end here; 0: nobody said.
    tokens: u64,
}

/// What a prompt has in common with earlier ones.
#[derive(Clone, Copy, Debug, Default)]
pub struct Met {
    /// Where the prompt itself is remembered, and what stands before its first user turn; 0: nowhere.
    whole: u64,
    opening: u64,
    found: Option<Found>,
}

#[derive(Clone, Copy, Debug)]
struct Found {
    entry: Entry,
    /// It is the prompt that this one extends; else what conversations of one agent share.
    extends: bool,
}

impl Prefixes {
    /// Takes note of a prompt that is about to leave and would have gone to `baseline`.
    pub fn meet(&self, call: &CallFacts, baseline: &ModelRef, now: Instant) -> Met {
        let chain = &call.view.outline.chain;
        if call.view.messages == 0 {
            return Met::default();
        }
        let scope = hash_of(baseline) ^ chain.head.hash;
        let key = |link: u64| xxh3_64_with_seed(&link.to_le_bytes(), scope);
        let opening = if chain.opening == 0 { 0 } else { key(chain.opening) };
        let met = Met { whole: key(chain.last()), opening, found: self.longest(chain, key, now) };
        for key in [met.whole, met.opening].into_iter().filter(|key| *key != 0) {
            self.shard(key).change(key, now, |_| {});
        }
        met
    }

    /// Takes note of the model that answered, and of how many tokens it read.
    pub fn answered(&self, met: &Met, by: &ModelRef, usage: &Usage, now: Instant) {
        let by = hash_of(by);
        if met.whole != 0 {
            self.shard(met.whole).change(met.whole, now, |entry| (entry.by, entry.tokens) = (by, usage.input_tokens));
        }
        let shared = met.found.is_some_and(|found| !found.extends).then_some(usage.cached_input_tokens);
        if met.opening != 0 {
            self.shard(met.opening).change(met.opening, now, |entry| {
                (entry.by, entry.tokens) = (by, entry.tokens.max(shared.unwrap_or_default()));
            });
        }
    }

    fn longest(&self, chain: &Chain, key: impl Fn(u64) -> u64, now: Instant) -> Option<Found> {
        let extended = std::iter::once(chain.last()).chain(chain.earlier());
        // Up to the opening: there is no prompt that ends before somebody asks.
        let extended = extended.take_while(|link| *link != chain.opening);
        let found = extended.map(&key).find_map(|key| self.get(key, now)).map(|entry| Found { entry, extends: true });
        let opening = || Some(Found { entry: self.get(key(chain.opening), now)?, extends: false });
        found.or_else(|| opening().filter(|_| chain.opening != 0))
    }

    fn get(&self, key: u64, now: Instant) -> Option<Entry> {
        let shard = self.shard(key);
        let entry = *shard.young.get(&key).or_else(|| shard.old.get(&key))?;
        (now.saturating_duration_since(entry.at) < WARM_PREFIX).then_some(entry)
    }

    fn shard(&self, key: u64) -> MutexGuard<'_, Generations> {
        self.shards[(key >> 48) as usize % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Generations {
    fn change(&mut self, key: u64, now: Instant, change: impl FnOnce(&mut Entry)) {
        let since = *self.since.get_or_insert(now);
        let is_full = self.young.len() >= PREFIXES_MAX / SHARDS / 2 && !self.young.contains_key(&key);
        if is_full || now.saturating_duration_since(since) >= CONVERSATION_IDLE {
            std::mem::swap(&mut self.old, &mut self.young);
            self.young.clear();
            self.since = Some(now);
        }
        let before = self.young.get(&key).or_else(|| self.old.get(&key)).copied();
        let mut entry = before.unwrap_or(Entry { at: now, by: 0, tokens: 0 });
        entry.at = now;
        change(&mut entry);
        self.young.insert(key, entry);
    }
}

impl Met {
    /// The tokens of a call as they would have been at the baseline: all that its provider's cache would have had is
    /// read from it, and what was written besides stays so. `by` answered the call with this `usage`.
    ///
    /// A conversation that has not moved has the cached share that it had; one that has moved would have had the prompt
    /// that it extends. No less is cached than was: whoever warmed a model's cache would have warmed the baseline's.
    pub fn at_baseline(&self, chain: &Chain, by: &ModelRef, usage: Usage) -> Usage {
        let Some(Found { entry, extends }) = self.found.filter(|found| found.entry.by != hash_of(by)) else {
            return usage;
        };
        let expected = match (extends, entry.tokens) {
            (true, tokens) => tokens.saturating_sub(ASKING_TOKENS),
            (false, 0) => share(chain, usage.input_tokens),
            (false, tokens) => tokens,
        };
        cached(usage, cacheable(expected).max(usage.cached_input_tokens))
    }
}

/// About how many tokens stand before the first user turn: tokens are spread over a prompt as its bytes are.
fn share(chain: &Chain, input_tokens: u64) -> u64 {
    let (before, all) = (chain.head.bytes + chain.bytes.0, chain.head.bytes + chain.bytes.1);
    let share = u128::from(input_tokens) * u128::from(before) / u128::from(all.max(1));
    u64::try_from(share).unwrap_or(u64::MAX)
}

/// How much of a prefix of so many tokens is cached.
fn cacheable(tokens: u64) -> u64 {
    if tokens < CACHED_PREFIX_TOKENS_MIN { 0 } else { tokens - tokens % CACHED_PREFIX_TOKENS_STEP }
}

/// The same tokens with so many read from the cache. What was read or written altogether stays as it was, unless that is
/// less.
fn cached(usage: Usage, cached: u64) -> Usage {
    let cached_input_tokens = cached.min(usage.input_tokens);
    let more = cached_input_tokens.saturating_sub(usage.cached_input_tokens);
    let of_5m = more.min(usage.cache_write_tokens);
    let of_1h = (more - of_5m).min(usage.cache_write_1h_tokens);
    Usage {
        cached_input_tokens,
        cache_write_tokens: usage.cache_write_tokens - of_5m,
        cache_write_1h_tokens: usage.cache_write_1h_tokens - of_1h,
        ..usage
    }
}

/// Never 0.
fn hash_of(model: &ModelRef) -> u64 {
    xxh3_64_with_seed(model.model.as_str().as_bytes(), xxh3_64_with_seed(model.provider.as_str().as_bytes(), 0)).max(1)
}

#[cfg(test)]
#[path = "prefixes/tests.rs"]
mod tests;
