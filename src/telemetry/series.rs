//! Bounded labels: every label takes so many values, and then `other`; so do the combinations of labels.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, Hash};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// The value that stands for all values beyond the bound.
pub const OTHER: &str = "other";

/// Combinations of labels for each value that one label may take: dozens of teams with a few projects on a few
/// models each, and not every team with every project on every model.
const COMBINATIONS_PER_VALUE: usize = 10;

/// Which values each label has taken so far, and which combinations.
pub struct Labels {
    values_max: usize,
    taken: Mutex<HashMap<&'static str, HashSet<String>>>,
    combined: Mutex<HashSet<[Box<str>; 5]>>,
}

/// The labels that are counted together: each is bounded, and so is the number of their combinations.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Combined<'a> {
    /// Who pays.
    pub team: &'a str,
    /// Project.
    pub project: &'a str,
    /// Tier of the plan.
    pub tier: &'a str,
    /// Provider row.
    pub provider: &'a str,
    /// Model at the provider.
    pub model: &'a str,
}

impl Labels {
    /// Every label takes at most `values_max` values.
    pub fn new(values_max: usize) -> Self {
        Self { values_max, taken: Mutex::default(), combined: Mutex::default() }
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

    /// The same labels while there is room for their combination or it was seen before; then the project becomes
    /// `other`, and when there are as many combinations again, the team too.
    pub fn combined<'a>(&self, all: Combined<'a>) -> Combined<'a> {
        let room = self.values_max.saturating_mul(COMBINATIONS_PER_VALUE);
        let mut taken = self.combined.lock().unwrap_or_else(PoisonError::into_inner);
        let mut admit = |all: Combined<'a>, room: usize| {
            let key = [all.team, all.project, all.tier, all.provider, all.model].map(Box::from);
            let fits = taken.contains(&key) || taken.len() < room;
            if fits {
                taken.insert(key);
            }
            fits.then_some(all)
        };
        let of_team = Combined { project: OTHER, ..all };
        admit(all, room)
            .or_else(|| admit(of_team, room.saturating_mul(2)))
            .unwrap_or(Combined { team: OTHER, ..of_team })
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
    fn combinations_beyond_the_bound_lose_their_project_and_then_their_team() {
        let labels = Labels::new(1);
        let of = |team, project| Combined { team, project, tier: "none", provider: "sim", model: "luna" };
        let names: Vec<String> = (0..30).map(|number| format!("n{number}")).collect();
        let mut seen = HashSet::new();
        for (number, name) in names.iter().enumerate() {
            let got = labels.combined(of(name, "p"));
            let expected = match number {
                0..10 => of(name, "p"),
                10..20 => of(name, OTHER),
                _ => of(OTHER, OTHER),
            };
            assert_eq!(got, expected, "combination {number}");
            seen.insert((got.team, got.project));
        }
        assert_eq!(seen.len(), 21);
        assert_eq!(labels.combined(of("n3", "p")), of("n3", "p"), "what was seen before stays");
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
