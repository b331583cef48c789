//! *admit*: how much may be in flight, and nothing at all once the process drains.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::limits::Limits;
use crate::memory::{HeldBytes, Memory, MemoryFull};
use crate::wire::errors::{ApiError, Code};

/// Seconds after which a shed client may try again.
const SHED_RETRY_AFTER: u64 = 1;

/// Counts requests and bytes of bodies in flight against their bounds.
pub struct Admission {
    limits: Limits,
    requests: AtomicUsize,
    memory: Arc<Memory>,
    draining: AtomicBool,
}

/// One admitted request. Dropping it makes room.
pub struct Permit(Arc<Admission>);

impl Admission {
    /// Nothing is in flight yet.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            requests: AtomicUsize::new(0),
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
        if self.is_draining() {
            let error = ApiError::new(Code::Draining, "the gateway is shutting down; another instance will answer");
            return Err(error.retry_after(SHED_RETRY_AFTER));
        }
        let permit = Permit(Arc::clone(self));
        if self.requests.fetch_add(1, Ordering::Relaxed) >= self.limits.concurrency {
            return Err(overloaded("too many requests are in flight"));
        }
        Ok(permit)
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

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The refusal of what there is no room for.
pub fn no_room(_: MemoryFull) -> ApiError {
    overloaded("the bodies in flight fill the memory set aside for them")
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
    fn nothing_new_is_admitted_while_draining() {
        let admission = admission(9);
        admission.drain();
        assert_eq!(admission.admit().err().map(|e| e.code), Some(Code::Draining));
    }
}
