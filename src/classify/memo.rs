//! What was read of pieces of requests before: an agent sends its system prompt and its history again with every step.
//!
//! A memo knows a piece by a hash of its text, never by the text, and is bounded: two generations of each sort, of which
//! the older goes when the younger is full. What is asked for stays. It is shared by threads.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::{HashMap, HashMapExt as _};

use crate::limits::{CLASSIFIED_PIECES_MAX, CLASSIFIED_TURNS_MAX};

use super::ask::Shapes;
use super::pieces::Turn;
use super::weights::Scores;

/// Pieces that were read, by their hashes.
#[derive(Debug)]
pub struct Memo {
    turns: Sort<Arc<Turn>>,
    scores: Sort<Scores>,
    results: Sort<Shapes>,
}

impl Default for Memo {
    /// As large as the process allows itself.
    fn default() -> Self {
        Self::of(CLASSIFIED_TURNS_MAX, CLASSIFIED_PIECES_MAX)
    }
}

impl Memo {
    /// A memo of at most so many user turns, other texts and tool results.
    fn of(turns: usize, pieces: usize) -> Self {
        Self { turns: Sort::of(turns), scores: Sort::of(pieces), results: Sort::of(pieces) }
    }

    /// A user turn, if it is known.
    pub(super) fn turn(&self, key: u128) -> Option<Arc<Turn>> {
        self.turns.known(key)
    }
}

/// A memo of one sort of what is read.
pub(super) trait Remembering<V> {
    /// What is known by `key`, or is made by `read` and kept.
    fn recall(&self, key: u128, read: impl FnOnce() -> V) -> V;
}

impl Remembering<Arc<Turn>> for Memo {
    fn recall(&self, key: u128, read: impl FnOnce() -> Arc<Turn>) -> Arc<Turn> {
        self.turns.recall(key, read)
    }
}

impl Remembering<Scores> for Memo {
    fn recall(&self, key: u128, read: impl FnOnce() -> Scores) -> Scores {
        self.scores.recall(key, read)
    }
}

impl Remembering<Shapes> for Memo {
    fn recall(&self, key: u128, read: impl FnOnce() -> Shapes) -> Shapes {
        self.results.recall(key, read)
    }
}

/// Maps that are locked apart.
const SHARDS: usize = 8;

#[derive(Debug)]
struct Sort<V> {
    shards: [Mutex<Generations<V>>; SHARDS],
    /// Most entries of one generation of a shard.
    generation: usize,
}

#[derive(Debug)]
struct Generations<V> {
    young: HashMap<u128, V>,
    old: HashMap<u128, V>,
}

impl<V: Clone> Sort<V> {
    fn of(entries: usize) -> Self {
        let empty = || Mutex::new(Generations { young: HashMap::new(), old: HashMap::new() });
        Self { shards: std::array::from_fn(|_| empty()), generation: (entries / SHARDS / 2).max(1) }
    }

    fn shard(&self, key: u128) -> MutexGuard<'_, Generations<V>> {
        self.shards[(key >> 96) as usize % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self, key: u128) -> Option<V> {
        let shard = self.shard(key);
        shard.young.get(&key).or_else(|| shard.old.get(&key)).cloned()
    }

    /// Nothing is locked while something is read.
    fn recall(&self, key: u128, read: impl FnOnce() -> V) -> V {
        let lock = || self.shard(key);
        let known = {
            let mut shard = lock();
            if let Some(known) = shard.young.get(&key) {
                return known.clone();
            }
            shard.old.remove(&key)
        };
        let read = known.unwrap_or_else(read);
        let mut shard = lock();
        if shard.young.len() >= self.generation {
            shard.old = std::mem::take(&mut shard.young);
        }
        shard.young.insert(key, read.clone());
        read
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Described, Request};
    use super::*;

    impl<V> Sort<V> {
        fn len(&self) -> usize {
            let shards = self.shards.iter().map(|shard| shard.lock().expect("nobody panicked"));
            shards.map(|shard| shard.young.len() + shard.old.len()).sum()
        }
    }

    #[test]
    fn a_memo_is_bounded_and_keeps_what_is_asked_for() {
        let sort = Sort::of(160);
        for n in 0..10_000_u128 {
            sort.recall(n << 96 | n, || n);
            assert_eq!(sort.recall(1 << 127, || n), 0, "after {n} others");
            assert!(sort.len() <= 160, "{}", sort.len());
        }
    }

    #[test]
    fn a_memo_changes_nothing_of_what_a_request_is() {
        let memo = Memo::of(64, 64);
        let long = "the load of orders_daily took 40 minutes instead of 12. ".repeat(40);
        let log = "2026-11-02 02:10:01 ERROR worker-3 lost heartbeat\n\tat load (job.py:88)\n".repeat(12);
        let texts = ["", "why did it fail?", "translate this: \"guten Morgen\"", &long, &log, "{\"a\": [1, 2]}"];
        for round in 0..2 {
            for (n, last_user) in texts.into_iter().enumerate() {
                let results = [texts[(n + 4) % 6], texts[(n + 2) % 6]];
                let request = Request {
                    last_user,
                    previous_user: (n > 0).then(|| texts[n - 1]),
                    system: texts[(n + 3) % 6],
                    tool_results: &results[..n % 3],
                    user_turns: 2,
                    ..Request::default()
                };
                let (remembered, plain) = (Described::read(&request, Some(&memo)), Described::of(&request));
                let bits = |described: &Described| described.scores.map(f32::to_bits);
                assert_eq!(bits(&remembered), bits(&plain), "round {round}, text {n}");
                assert_eq!(remembered.about.map(f32::to_bits), plain.about.map(f32::to_bits));
            }
        }
    }
}
