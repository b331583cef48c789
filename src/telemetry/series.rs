//! Bounded labels: every label takes so many values, and then `other`.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, Hash};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// The value that stands for all values beyond the bound.
pub const OTHER: &str = "other";

/// Which values each label has taken so far.
pub struct Labels {
    values_max: usize,
    taken: Mutex<HashMap<&'static str, HashSet<String>>>,
}

impl Labels {
    /// Every label takes at most `values_max` values.
    pub fn new(values_max: usize) -> Self {
        Self { values_max, taken: Mutex::default() }
    }

    /// `value` itself while there is room or it was seen before, else `other`. An absent value is `none`.
    pub fn bounded<'a>(&self, label: &'static str, value: Option<&'a str>) -> &'a str {
        value.map_or("none", |value| self.admit(label, value, self.values_max))
    }

    /// The same for values that nobody named and anybody can multiply: they get at most half of the room.
    pub fn bounded_unnamed<'a>(&self, label: &'static str, value: &'a str) -> &'a str {
        self.admit(label, value, self.values_max / 2)
    }

    /// `value` itself if it was seen before, else `other`: for values that have not proved to be real.
    pub fn recognised<'a>(&self, label: &'static str, value: &'a str) -> &'a str {
        self.admit(label, value, 0)
    }

    fn admit<'a>(&self, label: &'static str, value: &'a str, room: usize) -> &'a str {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let values = taken.entry(label).or_default();
        if values.contains(value) {
            return value;
        }
        if values.len() >= room {
            return OTHER;
        }
        values.insert(value.to_owned());
        value
    }
}

/// Remembers the handles of a combination of labels, so that a request pays one lookup for all of them.
pub struct Memo<K, V> {
    entries: RwLock<HashMap<u64, (K, Arc<V>)>>,
    hasher: std::hash::RandomState,
    entries_max: usize,
}

impl<K: Eq, V> Memo<K, V> {
    /// Holds at most `entries_max` combinations; when full it starts over.
    pub fn new(entries_max: usize) -> Self {
        Self { entries: RwLock::default(), hasher: std::hash::RandomState::new(), entries_max }
    }

    /// The value for the combination `key`, made by `make` (with the key's owned form) when it is new.
    pub fn entry<Q>(&self, key: &Q, make: impl FnOnce() -> (K, V)) -> Arc<V>
    where
        Q: Hash + PartialEq<K>,
    {
        let hash = self.hasher.hash_one(key);
        if let Some((known, value)) = self.entries.read().unwrap_or_else(PoisonError::into_inner).get(&hash)
            && *key == *known
        {
            return Arc::clone(value);
        }
        let (owned, value) = make();
        let value = Arc::new(value);
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= self.entries_max {
            entries.clear();
        }
        entries.insert(hash, (owned, Arc::clone(&value)));
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_beyond_the_bound_become_other() {
        let labels = Labels::new(2);
        let seen: Vec<&str> = ["a", "b", "c", "a", "d"].map(|v| labels.bounded("team", Some(v))).into();
        assert_eq!(seen, ["a", "b", OTHER, "a", OTHER]);
        assert_eq!(labels.bounded("project", Some("c")), "c");
        assert_eq!(labels.bounded("project", None), "none");
    }

    #[test]
    fn what_nobody_named_leaves_room_for_what_somebody_did() {
        let labels = Labels::new(4);
        let seen: Vec<&str> = ["s1", "s2", "s3"].map(|v| labels.bounded_unnamed("prompt", v)).into();
        assert_eq!(seen, ["s1", "s2", OTHER]);
        assert_eq!(labels.bounded("prompt", Some("nightly-report")), "nightly-report");
        assert_eq!((labels.recognised("prompt", "s1"), labels.recognised("prompt", "new")), ("s1", OTHER));
    }
}
