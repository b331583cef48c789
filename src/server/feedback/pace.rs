//! How fast a key may speak of answers: a looping agent must not fill the ledger, nor keep others from being heard.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::ids::KeyId;
use crate::limits::{FEEDBACK_AT_ONCE, FEEDBACK_EVERY, PAYERS_MAX};

/// When each key that spoke lately will have been silent for long enough; `None`: on loopback without keys.
#[derive(Default)]
pub struct Pace(Mutex<HashMap<Option<KeyId>, Instant>>);

impl Pace {
    /// Lets a key speak.
    ///
    /// # Errors
    ///
    /// Seconds until it may speak again.
    pub fn speak(&self, key: Option<&KeyId>, now: Instant) -> Result<(), u64> {
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if keys.len() >= PAYERS_MAX {
            keys.retain(|_, until| *until > now);
        }
        let until = keys.entry(key.cloned()).or_insert(now);
        let next = (*until).max(now) + FEEDBACK_EVERY;
        let ahead = next.duration_since(now);
        let most = FEEDBACK_EVERY * FEEDBACK_AT_ONCE;
        if ahead > most {
            return Err((ahead - most).as_nanos().div_ceil(Duration::from_secs(1).as_nanos()) as u64);
        }
        *until = next;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_speaks_too_fast_waits_and_others_do_not() {
        let (pace, start) = (Pace::default(), Instant::now());
        let (one, other) = (KeyId::from("one"), KeyId::from("other"));
        for _ in 0..FEEDBACK_AT_ONCE {
            assert_eq!(pace.speak(Some(&one), start), Ok(()));
        }
        assert_eq!(pace.speak(Some(&one), start), Err(1));
        assert_eq!(pace.speak(Some(&other), start), Ok(()));
        assert_eq!(pace.speak(None, start), Ok(()));
        assert_eq!(pace.speak(Some(&one), start + FEEDBACK_EVERY), Ok(()));
        assert_eq!(pace.speak(Some(&one), start + FEEDBACK_EVERY), Err(1));
        // In an hour a key says no more than what that has room for.
        let hour = Duration::from_secs(3_600);
        let said = (0..72_000).filter(|n| pace.speak(Some(&other), start + hour * *n / 72_000).is_ok()).count() as u128;
        let most = hour.as_nanos() / FEEDBACK_EVERY.as_nanos() + u128::from(FEEDBACK_AT_ONCE);
        assert!(said <= most && said >= most - u128::from(FEEDBACK_AT_ONCE) - 1, "{said} of {most}");
    }
}
