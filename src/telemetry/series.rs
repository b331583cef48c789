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
        let Some(value) = value else { return "none" };
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let values = taken.entry(label).or_default();
        if values.contains(value) {
            return value;
        }
        if values.len() >= self.values_max {
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
}
