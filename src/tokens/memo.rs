//! Counts of messages that were counted before: agents send their whole history again with every turn.
//!
//! A memo knows a message by a hash of its bytes, never by the text, and is bounded: two generations, of which the
//! older goes when the younger is full. What is asked for stays.

use std::collections::HashMap;

use xxhash_rust::xxh3::xxh3_128_with_seed;

use super::encoding::Encoding;
use crate::limits::TOKEN_MEMO_ENTRIES_MAX;

/// Counts by message.
#[derive(Debug)]
pub struct Memo {
    young: HashMap<u128, u64>,
    old: HashMap<u128, u64>,
    /// Most entries of one generation.
    generation: usize,
}

impl Default for Memo {
    /// As large as the process allows itself.
    fn default() -> Self {
        Self::of(TOKEN_MEMO_ENTRIES_MAX)
    }
}

impl Memo {
    /// A memo of at most `entries` messages, at least two.
    pub fn of(entries: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), generation: (entries / 2).max(1) }
    }

    /// The count of these bytes, known or made by `count` and kept.
    pub fn count(&mut self, encoding: Encoding, bytes: &[u8], count: impl FnOnce() -> u64) -> u64 {
        let key = xxh3_128_with_seed(bytes, encoding as u64);
        if let Some(known) = self.young.get(&key) {
            return *known;
        }
        let counted = self.old.get(&key).copied().unwrap_or_else(count);
        if self.young.len() >= self.generation {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, counted);
        counted
    }

    /// How many messages it knows.
    pub fn len(&self) -> usize {
        self.young.len() + self.old.keys().filter(|key| !self.young.contains_key(key)).count()
    }

    /// Whether it knows none.
    pub fn is_empty(&self) -> bool {
        self.young.is_empty() && self.old.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_counted_once_for_each_encoding() {
        let (mut memo, mut counted) = (Memo::default(), 0);
        for encoding in [Encoding::O200k, Encoding::Cl100k, Encoding::O200k, Encoding::Cl100k] {
            let tokens = memo.count(encoding, b"hi", || {
                counted += 1;
                10 + encoding as u64
            });
            assert_eq!(tokens, 10 + encoding as u64);
        }
        assert_eq!((counted, memo.len()), (2, 2));
    }

    #[test]
    fn a_memo_is_bounded_and_keeps_what_is_asked_for() {
        let mut memo = Memo::of(100);
        for n in 0..10_000u64 {
            memo.count(Encoding::O200k, &n.to_le_bytes(), || n);
            let asked = memo.count(Encoding::O200k, b"the system prompt", || n + 1);
            assert_eq!(asked, 1, "after {n} others");
            assert!(memo.len() <= 100, "{}", memo.len());
        }
    }
}
