//! The memory of what is in flight: request bodies, whole replies, unfinished events. It has one bound,
//! and whoever holds a part of it gives that back by letting go. What decoding takes besides is bounded by places.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{Bytes, BytesMut};
use tokio::sync::Semaphore;

use crate::limits::DECODERS_MAX;

/// How many bytes may be held together, and how many are.
#[derive(Debug)]
pub struct Memory {
    bytes_max: usize,
    bytes: AtomicUsize,
    decoders: Arc<Semaphore>,
}

/// Bytes that somebody holds. Dropping it makes room.
#[derive(Debug)]
pub struct HeldBytes {
    memory: Arc<Memory>,
    bytes: usize,
}

/// There is no room for more.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("what is in flight fills the memory set aside for it")]
pub struct MemoryFull;

impl Memory {
    /// Nothing is held yet.
    pub fn new(bytes_max: usize) -> Arc<Self> {
        Arc::new(Self { bytes_max, bytes: AtomicUsize::new(0), decoders: Arc::new(Semaphore::new(DECODERS_MAX)) })
    }

    /// Starts to hold; nothing yet.
    pub fn hold(self: &Arc<Self>) -> HeldBytes {
        HeldBytes { memory: Arc::clone(self), bytes: 0 }
    }

    /// How many bytes are held.
    pub fn held_bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }
}

impl HeldBytes {
    /// Holds `more` bytes besides.
    ///
    /// # Errors
    ///
    /// [`MemoryFull`] when all together would exceed their bound; they are counted until this is dropped.
    pub fn grow(&mut self, more: usize) -> Result<(), MemoryFull> {
        self.bytes += more;
        let before = self.memory.bytes.fetch_add(more, Ordering::Relaxed);
        if before + more > self.memory.bytes_max { Err(MemoryFull) } else { Ok(()) }
    }

    /// Holds `bytes` instead of what it held.
    ///
    /// # Errors
    ///
    /// As [`grow`](Self::grow).
    pub fn resize(&mut self, bytes: usize) -> Result<(), MemoryFull> {
        if bytes > self.bytes {
            return self.grow(bytes - self.bytes);
        }
        self.memory.bytes.fetch_sub(self.bytes - bytes, Ordering::Relaxed);
        self.bytes = bytes;
        Ok(())
    }

    /// Starts to hold something else under the same bound; nothing yet.
    pub fn another(&self) -> Self {
        self.memory.hold()
    }

    /// The [`DECODERS_MAX`] places where bodies are decoded.
    pub fn decoders(&self) -> Arc<Semaphore> {
        Arc::clone(&self.memory.decoders)
    }

    /// The same bytes, held until the last that is made of them is let go.
    pub fn around(self, bytes: Bytes) -> Bytes {
        if bytes.is_empty() {
            return bytes;
        }
        Bytes::from_owner(Around { bytes, _held: self })
    }

    /// How many it holds.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for HeldBytes {
    fn drop(&mut self) {
        self.memory.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

struct Around {
    bytes: Bytes,
    _held: HeldBytes,
}

impl AsRef<[u8]> for Around {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// A body as it arrives: counted piece by piece, and never copied if it comes in one.
#[derive(Debug)]
pub struct Pieces {
    first: Bytes,
    joined: BytesMut,
    expected: usize,
    held: HeldBytes,
}

impl Pieces {
    /// None yet. What is `expected` is made room for once a second piece shows that it is worth it; it is not held
    /// before it arrives, since announcing costs the other side nothing.
    pub fn new(held: HeldBytes, expected: Option<usize>) -> Self {
        Self { first: Bytes::new(), joined: BytesMut::new(), expected: expected.unwrap_or_default(), held }
    }

    /// How many bytes have arrived.
    pub fn length(&self) -> usize {
        self.first.len() + self.joined.len()
    }

    /// Takes the next piece.
    ///
    /// # Errors
    ///
    /// [`MemoryFull`] when there is no room for it.
    pub fn push(&mut self, piece: Bytes) -> Result<(), MemoryFull> {
        self.held.grow(piece.len())?;
        if self.length() == 0 {
            self.first = piece;
            return Ok(());
        }
        if !self.first.is_empty() {
            self.joined.reserve(self.expected.max(self.first.len() + piece.len()));
            self.joined.extend_from_slice(&std::mem::take(&mut self.first));
        }
        self.joined.extend_from_slice(&piece);
        Ok(())
    }

    /// All of it, and its memory.
    pub fn whole(self) -> (Bytes, HeldBytes) {
        let bytes = if self.joined.is_empty() { self.first } else { self.joined.freeze() };
        (bytes, self.held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_held_until_the_last_of_them_is_let_go() {
        let memory = Memory::new(100);
        let mut pieces = Pieces::new(memory.hold(), None);
        assert!(pieces.push(Bytes::from_static(b"one ")).is_ok() && pieces.push(Bytes::from_static(b"two")).is_ok());
        let (bytes, held) = pieces.whole();
        let whole = held.around(bytes);
        let part = whole.slice(4..);
        drop(whole);
        assert_eq!((&part[..], memory.held_bytes()), (&b"two"[..], 7));
        drop(part);
        assert_eq!(memory.held_bytes(), 0);
    }

    #[test]
    fn what_is_held_together_stays_within_its_bound() {
        let memory = Memory::new(100);
        let (mut a, mut b) = (memory.hold(), memory.hold());
        assert!(a.grow(60).is_ok());
        assert_eq!(b.grow(60), Err(MemoryFull));
        drop(b);
        let mut c = a.another();
        assert!(c.grow(40).is_ok());
        assert!(a.resize(10).is_ok() && c.resize(90).is_ok());
        assert_eq!((a.bytes(), c.bytes(), memory.held_bytes()), (10, 90, 100));
        assert_eq!(c.resize(91), Err(MemoryFull));
        drop((a, c));
        assert_eq!(memory.held_bytes(), 0);
    }
}
