//! The keys in force: those of the configuration file and those of the key store, each read again by itself.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;

use super::authenticate::KeyRing;
use crate::budget::Every;
use crate::config::{Config, Key, Payers};
use crate::gateway::{Gateway, recall};
use crate::ids::KeyId;
use crate::keys::{KeysError, StoredKey};

/// Who may come in.
pub struct InForce {
    ring: ArcSwap<KeyRing>,
    sources: Mutex<Sources>,
    /// What keys have spent is recalled by one thread at a time: twice would count it twice.
    recalling: Mutex<()>,
    /// Keys are withheld; the store is to be read again.
    withholds: AtomicBool,
}

struct Sources {
    written: Vec<Key>,
    stored: Vec<StoredKey>,
    /// Stored keys with budgets, by their periods, whose spending is booked.
    recalled: HashSet<(KeyId, Every)>,
}

impl InForce {
    /// The keys that a process starts with, whose spending is about to be recalled, and which stored ones are not in force.
    pub fn at_start(config: &Config, stored: Vec<StoredKey>) -> (Self, Vec<String>) {
        let written = config.keys.clone();
        let (ring, problems) = KeyRing::of(&written, &stored, &config.teams);
        let recalled = ring.keys().into_iter().filter_map(budgeted).collect();
        let in_force = Self {
            ring: ArcSwap::from_pointee(ring),
            sources: Mutex::new(Sources { written, stored, recalled }),
            recalling: Mutex::default(),
            withholds: AtomicBool::new(false),
        };
        (in_force, problems)
    }

    /// The ring as it is now.
    pub fn ring(&self) -> Arc<KeyRing> {
        self.ring.load_full()
    }

    /// How many keys of the configuration file have to stay for the door to stay closed: none where the store keeps it so.
    pub fn written_that_close(&self) -> usize {
        let sources = self.sources();
        if sources.stored.is_empty() { sources.written.len() } else { 0 }
    }

    /// Whether there are keys of the store, in force or not.
    pub fn has_stored(&self) -> bool {
        !self.sources().stored.is_empty()
    }

    /// Whether keys of the store are withheld that may be let in when it is read again.
    pub fn withholds(&self) -> bool {
        self.withholds.load(Ordering::Relaxed)
    }

    /// Puts other keys and teams of the configuration file in force; gives which stored keys are not.
    ///
    /// # Errors
    ///
    /// What keys or teams have spent cannot be told; then all stay as they were.
    pub fn replace_written(&self, gateway: &Gateway, written: Vec<Key>, payers: Payers) -> Result<Vec<String>, String> {
        let _one = self.recalling.lock().unwrap_or_else(PoisonError::into_inner);
        let before = gateway.payers();
        recall::recall_new_keys(gateway.accounts(), &payers, &written)
            .map_err(|error| format!("`keys`: what they have spent cannot be told: {error}"))?;
        if *before != payers {
            recall::recall_new_payers(gateway.accounts(), &before, &payers)
                .map_err(|error| format!("`teams`: what they have spent cannot be told: {error}"))?;
            // Before the keys: nobody is let in whose team's terms do not hold yet.
            gateway.replace_payers(payers);
        }
        let mut sources = self.sources();
        sources.written = written;
        Ok(self.put_in_force(&mut sources, &gateway.payers()).0)
    }

    /// Puts the stored keys in force that `read` gives, as a whole; gives which are not in force, and why. What was revoked
    /// is out at once; a new key with a budget is withheld until it is known what it has spent, and a key that is given one has its
    /// terms of before until then.
    ///
    /// # Errors
    ///
    /// Those of `read`; then all stay as they were.
    pub fn replace_stored(
        &self,
        gateway: &Gateway,
        read: impl FnOnce() -> Result<Vec<StoredKey>, KeysError>,
    ) -> Result<Vec<String>, KeysError> {
        let (problems, withheld) = {
            let mut sources = self.sources();
            // Read behind the lock: whoever reads later also puts in force later.
            sources.stored = read()?;
            self.put_in_force(&mut sources, &gateway.payers())
        };
        if withheld.is_empty() {
            self.withholds.store(false, Ordering::Relaxed);
            return Ok(problems);
        }
        // The ledger may take its time: meanwhile others revoke.
        let _one = self.recalling.lock().unwrap_or_else(PoisonError::into_inner);
        // Somebody may have done it while this one waited.
        let (_, withheld) = self.put_in_force(&mut self.sources(), &gateway.payers());
        let recalled = recall::recall_keys_anew(gateway.accounts(), &gateway.payers(), &withheld);
        let mut sources = self.sources();
        if recalled.is_ok() {
            sources.recalled.extend(withheld.iter().filter_map(budgeted));
        }
        let (mut problems, _) = self.put_in_force(&mut sources, &gateway.payers());
        self.withholds.store(recalled.is_err(), Ordering::Relaxed);
        let told =
            |error| format!("new keys with budgets are withheld, since what they have spent cannot be told: {error}");
        problems.extend(recalled.err().map(told));
        Ok(problems)
    }

    /// Makes the ring anew; gives which stored keys do not go with the configuration, and which are withheld: a new key
    /// entirely, and of one that was in force already its new terms.
    fn put_in_force(&self, sources: &mut Sources, payers: &Payers) -> (Vec<String>, Vec<Key>) {
        let Sources { written, stored, recalled } = sources;
        let (mut ring, problems) = KeyRing::of(written, stored, &payers.teams);
        let before = self.ring.load();
        ring.stays_closed(&before);
        // Of a budget that is gone nothing is booked any more: one that comes back has to be recalled.
        let budgets: HashSet<_> = ring.keys().into_iter().filter_map(budgeted).collect();
        recalled.retain(|known| budgets.contains(known));
        let of_file: HashSet<&KeyId> = written.iter().map(|key| &key.id).collect();
        let waits = |key: &&Key| {
            budgeted(key).is_some_and(|budgeted| !recalled.contains(&budgeted)) && !of_file.contains(&key.id)
        };
        let withheld: Vec<Key> = ring.keys().into_iter().filter(waits).cloned().collect();
        ring.withhold(&withheld, &before);
        self.ring.store(Arc::new(ring));
        (problems, withheld)
    }

    fn sources(&self) -> MutexGuard<'_, Sources> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn budgeted(key: &Key) -> Option<(KeyId, Every)> {
    key.terms.budget.map(|budget| (key.id.clone(), budget.every))
}
