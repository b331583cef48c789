//! The keys of a body on which something is decided: each may stand once only, and in no other case, since two readers could
//! take such a body for two different ones.

use super::body::{BodyError, respelt};

/// Which of a dialect's deciding keys have stood in a body so far.
#[derive(Clone, Copy, Debug)]
pub struct Deciding {
    /// At most 32.
    keys: &'static [&'static str],
    /// A bit for each of them.
    seen: u32,
}

impl Deciding {
    /// None has.
    pub fn of(keys: &'static [&'static str]) -> Self {
        Self { keys, seen: 0 }
    }

    /// Takes note of a key, which may be any.
    ///
    /// # Errors
    ///
    /// [`BodyError::DuplicateKey`] for one that decides and has stood before.
    pub fn note(&mut self, key: &str) -> Result<(), BodyError> {
        self.place(key).map_or(Ok(()), |place| self.note_at(place))
    }

    /// The same of the key at a place of the list.
    ///
    /// # Errors
    ///
    /// As [`note`](Self::note).
    pub fn note_at(&mut self, place: usize) -> Result<(), BodyError> {
        if self.seen & (1 << place) != 0 {
            return Err(BodyError::DuplicateKey(self.keys[place]));
        }
        self.seen |= 1 << place;
        Ok(())
    }

    /// Whether a key has stood.
    pub fn has(&self, key: &str) -> bool {
        self.place(key).is_some_and(|place| self.has_at(place))
    }

    /// The same of the key at a place of the list.
    pub fn has_at(&self, place: usize) -> bool {
        self.seen & (1 << place) != 0
    }

    /// Lets a key pass that decides nothing.
    ///
    /// # Errors
    ///
    /// [`BodyError::Respelt`] for one that would decide but for its case.
    pub fn pass(&self, key: &str) -> Result<(), BodyError> {
        respelt(key, self.keys).map_or(Ok(()), |key| Err(BodyError::Respelt(key)))
    }

    fn place(&self, key: &str) -> Option<usize> {
        self.keys.iter().position(|deciding| *deciding == key)
    }
}
