//! What arrived at the simulated provider, and events that tests can await instead of sleeping.
//!
//! Each request becomes an [`Exchange`] with its raw bytes and its progress; the newest ones are kept,
//! up to a bound. Waiting is bounded too: an event that does not happen is an error, not a hang.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio::sync::watch;

/// Longest wait for an event.
pub const EVENT_WAIT_MAX: Duration = Duration::from_secs(10);
/// Requests that are kept for inspection unless the builder says otherwise.
pub const REQUESTS_KEPT_DEFAULT: usize = 4096;

/// Most bytes of bodies that are kept together.
const BODY_BYTES_KEPT_MAX: usize = 128 << 20;

/// An event that was awaited did not happen within [`EVENT_WAIT_MAX`].
#[derive(Debug, thiserror::Error)]
#[error("waited {EVENT_WAIT_MAX:?} in vain for {awaited} (seen: {seen})")]
pub struct WaitedInVain {
    awaited: String,
    seen: String,
}

/// One request and how far its answer got.
#[derive(Debug)]
pub struct Exchange {
    /// `POST` …
    pub method: http::Method,
    /// The path with its query.
    pub path: String,
    /// All headers as they came.
    pub headers: http::HeaderMap,
    /// The body, byte for byte.
    pub body: Bytes,
    /// When its last byte had arrived.
    pub arrived: SystemTime,
    frames: AtomicU64,
    hung_up: AtomicBool,
}

impl Exchange {
    /// A header as text, if it is there once and readable.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body as JSON; null if it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// Frames of the answer that were handed to the connection: events, or 1 for a whole document.
    pub fn frames(&self) -> u64 {
        self.frames.load(Ordering::Acquire)
    }

    /// Whether the client left before the end of the answer.
    pub fn hung_up(&self) -> bool {
        self.hung_up.load(Ordering::Acquire)
    }
}

/// The newest exchanges, oldest first.
#[derive(Debug, Default)]
struct Kept {
    exchanges: VecDeque<Arc<Exchange>>,
    body_bytes: usize,
}

impl Kept {
    /// Keeps at most `most`, and only so many bytes of bodies.
    fn push(&mut self, exchange: Arc<Exchange>, most: usize) {
        self.body_bytes += exchange.body.len();
        self.exchanges.push_back(exchange);
        while self.exchanges.len() > most || self.body_bytes > BODY_BYTES_KEPT_MAX {
            let Some(oldest) = self.exchanges.pop_front() else { return };
            self.body_bytes -= oldest.body.len();
        }
    }
}

/// The running record.
#[derive(Debug)]
pub(super) struct Traffic {
    keep: usize,
    kept: Mutex<Kept>,
    arrivals: AtomicU64,
    hang_ups: AtomicU64,
    open: AtomicU64,
    ticks: watch::Sender<u64>,
    releases: watch::Sender<u64>,
}

impl Traffic {
    pub(super) fn new(keep: usize) -> Self {
        Self {
            keep,
            kept: Mutex::default(),
            arrivals: AtomicU64::new(0),
            hang_ups: AtomicU64::new(0),
            open: AtomicU64::new(0),
            ticks: watch::Sender::new(0),
            releases: watch::Sender::new(0),
        }
    }

    /// Notes a request; the visit ends when it is dropped.
    pub(super) fn arrive(self: &Arc<Self>, head: &http::request::Parts, body: Bytes) -> Visit {
        let path = head.uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string);
        let exchange = Arc::new(Exchange {
            method: head.method.clone(),
            path,
            headers: head.headers.clone(),
            body,
            arrived: SystemTime::now(),
            frames: AtomicU64::new(0),
            hung_up: AtomicBool::new(false),
        });
        // Before anybody can see the request: a release that follows its arrival is never missed.
        let released = self.releases.subscribe();
        self.open.fetch_add(1, Ordering::AcqRel);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push(Arc::clone(&exchange), self.keep);
        // Under the lock, so that numbers and places never disagree.
        self.arrivals.fetch_add(1, Ordering::AcqRel);
        drop(kept);
        self.tick();
        Visit { traffic: Arc::clone(self), exchange, ended: false, released }
    }

    fn tick(&self) {
        self.ticks.send_modify(|tick| *tick += 1);
    }

    pub(super) fn release(&self) {
        self.releases.send_modify(|count| *count += 1);
    }

    pub(super) fn exchanges(&self) -> Vec<Arc<Exchange>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).exchanges.iter().cloned().collect()
    }

    pub(super) fn arrivals(&self) -> u64 {
        self.arrivals.load(Ordering::Acquire)
    }

    pub(super) fn hang_ups(&self) -> u64 {
        self.hang_ups.load(Ordering::Acquire)
    }

    pub(super) fn open(&self) -> u64 {
        self.open.load(Ordering::Acquire)
    }

    /// The `number`-th request, counted from 1, if it is still kept.
    pub(super) fn exchange(&self, number: u64) -> Option<Arc<Exchange>> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let forgotten = self.arrivals().saturating_sub(kept.exchanges.len() as u64);
        kept.exchanges.get(usize::try_from(number.checked_sub(forgotten + 1)?).ok()?).cloned()
    }

    /// Waits until `happened` gives a value, asking again whenever something changed.
    pub(super) async fn until<T>(
        &self,
        awaited: String,
        mut happened: impl FnMut() -> Option<T>,
    ) -> Result<T, WaitedInVain> {
        let mut ticks = self.ticks.subscribe();
        let wait = async {
            loop {
                ticks.borrow_and_update();
                if let Some(value) = happened() {
                    return value;
                }
                if ticks.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        tokio::time::timeout(EVENT_WAIT_MAX, wait).await.map_err(|_| WaitedInVain {
            awaited,
            seen: format!("{} requests, {} hang-ups, {} open", self.arrivals(), self.hang_ups(), self.open()),
        })
    }
}

/// One request that is being answered. Dropped before [`Visit::end`], the client has hung up.
#[derive(Debug)]
pub(super) struct Visit {
    traffic: Arc<Traffic>,
    exchange: Arc<Exchange>,
    ended: bool,
    released: watch::Receiver<u64>,
}

impl Visit {
    /// Notes one more frame.
    pub(super) fn frame(&self) {
        self.exchange.frames.fetch_add(1, Ordering::AcqRel);
        self.traffic.tick();
    }

    /// Completes at the first release after the request arrived.
    pub(super) fn released(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut released = self.released.clone();
        async move {
            if released.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// The answer has ended as scripted.
    pub(super) fn end(&mut self) {
        self.ended = true;
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        if !self.ended {
            self.exchange.hung_up.store(true, Ordering::Release);
            self.traffic.hang_ups.fetch_add(1, Ordering::AcqRel);
        }
        self.traffic.open.fetch_sub(1, Ordering::AcqRel);
        self.traffic.tick();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_that_follows_an_arrival_is_never_missed() {
        for _ in 0..1000 {
            let traffic = Arc::new(Traffic::new(1));
            let head = http::Request::new(()).into_parts().0;
            let watches = AtomicBool::new(false);
            let visit = std::thread::scope(|scope| {
                scope.spawn(|| {
                    watches.store(true, Ordering::Release);
                    while traffic.arrivals() == 0 {
                        std::hint::spin_loop();
                    }
                    traffic.release();
                });
                while !watches.load(Ordering::Acquire) {
                    std::hint::spin_loop();
                }
                traffic.arrive(&head, Bytes::new())
            });
            assert!(visit.released.has_changed().expect("its traffic is there"));
        }
    }
}
