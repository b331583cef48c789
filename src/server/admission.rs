//! *admit*: how much may be in flight, and nothing at all once the process drains.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::ids::KeyId;
use crate::limits::{BODIES_ARRIVING_MAX, BODIES_ARRIVING_PER_KEY_MAX, Limits};
use crate::memory::{HeldBytes, Memory, MemoryFull};
use crate::wire::errors::{ApiError, Code};

/// Seconds after which a shed client may try again.
const SHED_RETRY_AFTER: u64 = 1;

/// Counts requests, bodies on their way and bytes of bodies in flight against their bounds.
pub struct Admission {
    limits: Limits,
    requests: AtomicUsize,
    /// Bodies that are waited for, by key.
    arriving: Mutex<Arrivals>,
    memory: Arc<Memory>,
    draining: AtomicBool,
}

/// One admitted request. Dropping it makes room.
pub struct Permit(Arc<Admission>);

#[derive(Default)]
struct Arrivals {
    all: usize,
    by_key: HashMap<Option<KeyId>, usize>,
}

/// One body that is waited for. Dropping it makes room.
pub struct Arriving<'a> {
    admission: &'a Admission,
    key: Option<KeyId>,
}

impl Admission {
    /// Nothing is in flight yet.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            requests: AtomicUsize::new(0),
            arriving: Mutex::default(),
            memory: Memory::new(limits.memory_bytes),
            draining: AtomicBool::new(false),
        }
    }

    /// Admits one request.
    ///
    /// # Errors
    ///
    /// 503 `overloaded` or `draining`, with `retry-after`.
    pub fn admit(self: &Arc<Self>) -> Result<Permit, ApiError> {
        self.is_open()?;
        let permit = Permit(Arc::clone(self));
        if self.requests.fetch_add(1, Ordering::Relaxed) >= self.limits.concurrency {
            return Err(no_place());
        }
        Ok(permit)
    }

    /// Whether a request that came now would be admitted.
    ///
    /// # Errors
    ///
    /// As [`admit`](Self::admit).
    pub fn has_room(&self) -> Result<(), ApiError> {
        self.is_open()?;
        if self.in_flight() < self.limits.concurrency { Ok(()) } else { Err(no_place()) }
    }

    fn is_open(&self) -> Result<(), ApiError> {
        if !self.is_draining() {
            return Ok(());
        }
        let error = ApiError::new(Code::Draining, "the gateway is shutting down; another instance will answer");
        Err(error.retry_after(SHED_RETRY_AFTER))
    }

    /// Waits for a body from the holder of `key` in one of the places for that, which are many more than requests may
    /// be in flight, and of which no key has more than its share.
    ///
    /// # Errors
    ///
    /// 503 `overloaded`.
    pub fn wait_for_body(&self, key: Option<&KeyId>) -> Result<Arriving<'_>, ApiError> {
        let mut arriving = self.arriving.lock().unwrap_or_else(PoisonError::into_inner);
        if arriving.all >= BODIES_ARRIVING_MAX {
            return Err(overloaded("too many bodies are on their way"));
        }
        let of_key = arriving.by_key.entry(key.cloned()).or_default();
        if *of_key >= BODIES_ARRIVING_PER_KEY_MAX {
            return Err(overloaded("too many bodies of this key are on their way"));
        }
        *of_key += 1;
        arriving.all += 1;
        Ok(Arriving { admission: self, key: key.cloned() })
    }

    /// Starts to hold the bytes of one body.
    pub fn hold(&self) -> HeldBytes {
        self.memory.hold()
    }

    /// From now on every new request is refused.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Whether the process is shutting down.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Bytes of bodies, replies and unfinished events in flight.
    pub fn held_bytes(&self) -> usize {
        self.memory.held_bytes()
    }

    /// Requests in flight.
    pub fn in_flight(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }
}

impl Drop for Arriving<'_> {
    fn drop(&mut self) {
        let mut arriving = self.admission.arriving.lock().unwrap_or_else(PoisonError::into_inner);
        arriving.all -= 1;
        if let Some(of_key) = arriving.by_key.get_mut(&self.key) {
            *of_key -= 1;
            if *of_key == 0 {
                arriving.by_key.remove(&self.key);
            }
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The refusal of what there is no room for.
pub fn no_room(_: MemoryFull) -> ApiError {
    overloaded("the bodies in flight fill the memory set aside for them")
}

fn no_place() -> ApiError {
    overloaded("too many requests are in flight")
}

fn overloaded(message: &str) -> ApiError {
    ApiError::new(Code::Overloaded, message).retry_after(SHED_RETRY_AFTER)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(concurrency: usize) -> Arc<Admission> {
        Arc::new(Admission::new(Limits { concurrency, ..Limits::default() }))
    }

    #[test]
    fn a_request_beyond_the_bound_is_shed_and_leaves_no_trace() {
        let admission = admission(1);
        let first = admission.admit().unwrap_or_else(|_| unreachable!());
        assert_eq!(admission.admit().err().map(|e| (e.code, e.retry_after)), Some((Code::Overloaded, Some(1))));
        drop(first);
        assert!(admission.admit().is_ok());
        assert_eq!(admission.in_flight(), 0);
    }

    #[test]
    fn slow_bodies_of_one_key_leave_room_for_those_of_others() {
        let (admission, [greedy, other]) = (admission(1), ["greedy", "other"].map(KeyId::from));
        let waits = |key| admission.wait_for_body(Some(key)).ok();
        let waiting: Vec<_> = std::iter::from_fn(|| waits(&greedy)).collect();
        assert_eq!(waiting.len(), BODIES_ARRIVING_PER_KEY_MAX);
        assert!(waits(&other).is_some() && admission.wait_for_body(None).is_ok());
        assert!(admission.has_room().is_ok() && admission.admit().is_ok());
        drop(waiting);
        assert!(waits(&greedy).is_some());
        assert!(admission.arriving.lock().unwrap().by_key.is_empty());
    }

    #[test]
    fn nothing_new_is_admitted_while_draining() {
        let admission = admission(9);
        admission.drain();
        assert_eq!(admission.admit().err().map(|e| e.code), Some(Code::Draining));
    }
}
