//! The keys in force: those of the configuration file and those of the key store, each read again by itself.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use super::authenticate::KeyRing;
use crate::config::{Config, Key};
use crate::gateway::{Gateway, hold};
use crate::keys::{KeysError, StoredKey};

/// Who may come in.
pub struct InForce {
    ring: ArcSwap<KeyRing>,
    sources: Mutex<Sources>,
    /// Keys are withheld; the store is to be read again.
    withholds: AtomicBool,
}

struct Sources {
    written: Vec<Key>,
    stored: Vec<StoredKey>,
}

impl InForce {
    /// The keys that a process starts with, and which stored ones are not in force.
    pub fn at_start(config: &Config, stored: Vec<StoredKey>) -> (Self, Vec<String>) {
        let written = config.keys.clone();
        let (ring, problems) = KeyRing::of(&written, &stored, &config.teams);
        let sources = Mutex::new(Sources { written, stored });
        (Self { ring: ArcSwap::from_pointee(ring), sources, withholds: AtomicBool::new(false) }, problems)
    }

    /// The ring as it is now.
    pub fn ring(&self) -> Arc<KeyRing> {
        self.ring.load_full()
    }

    /// How many keys of the configuration file have to stay for the door to stay closed: none where the store keeps it so.
    pub fn written_that_close(&self) -> usize {
        let sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        if sources.stored.is_empty() { sources.written.len() } else { 0 }
    }

    /// Whether there are keys of the store, in force or not.
    pub fn has_stored(&self) -> bool {
        !self.sources.lock().unwrap_or_else(PoisonError::into_inner).stored.is_empty()
    }

    /// Whether keys of the store are withheld that may be let in when it is read again.
    pub fn withholds(&self) -> bool {
        self.withholds.load(Ordering::Relaxed)
    }

    /// Puts the keys of the configuration file in force that `read` gives, in place of those before; gives which stored
    /// ones are not in force.
    ///
    /// # Errors
    ///
    /// What keys have spent cannot be told; then all stay as they were.
    pub fn replace_written(&self, gateway: &Gateway, written: Vec<Key>) -> Result<Vec<String>, String> {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut ring, problems) = KeyRing::of(&written, &sources.stored, &gateway.config().teams);
        ring.stays_closed(&self.ring.load());
        hold::recall_new_keys(gateway.accounts(), gateway.config(), &written)
            .map_err(|error| format!("`keys`: what they have spent cannot be told: {error}"))?;
        self.ring.store(Arc::new(ring));
        sources.written = written;
        Ok(problems)
    }

    /// Puts the stored keys in force that `read` gives, at once and as a whole; gives which are not in force, and why. What
    /// was revoked is out in any case; a new key whose spending cannot be told is withheld until it can.
    ///
    /// # Errors
    ///
    /// Those of `read`; then all stay as they were.
    pub fn replace_stored(
        &self,
        gateway: &Gateway,
        read: impl FnOnce() -> Result<Vec<StoredKey>, KeysError>,
    ) -> Result<Vec<String>, KeysError> {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        // Read behind the lock: whoever read later also puts in force later.
        let stored = read()?;
        let (mut ring, mut problems) = KeyRing::of(&sources.written, &stored, &gateway.config().teams);
        let before = self.ring.load();
        ring.stays_closed(&before);
        let known: std::collections::HashSet<_> = before.keys().into_iter().map(|key| &key.id).collect();
        let new = ring.keys().into_iter().filter(|key| !known.contains(&key.id) && key.terms.budget.is_some());
        let new: Vec<Key> = new.cloned().collect();
        let recalled = hold::recall_new_keys(gateway.accounts(), gateway.config(), &new);
        if let Err(error) = &recalled {
            ring.withhold(&new);
            problems.push(format!(
                "new keys with budgets are withheld, since what they have spent cannot be told: {error}"
            ));
        }
        self.withholds.store(recalled.is_err(), Ordering::Relaxed);
        self.ring.store(Arc::new(ring));
        sources.stored = stored;
        Ok(problems)
    }
}
