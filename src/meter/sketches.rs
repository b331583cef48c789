//! Sketches of requests' texts, drawn by a thread of their own while the provider writes its answer.
//!
//! A request leaves a reference to its body in a bounded queue and finds the sketch in its slot when it is settled, if it is
//! there by then: nothing ever waits for one. What was settled meanwhile is not drawn any more.

use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError, Weak};
use std::thread::JoinHandle;

use bytes::Bytes;

use crate::call::CallFacts;
use crate::limits::{SKETCH_GATHER, SKETCH_WAITING_BYTES_MAX};
use crate::prompt::sketch::{Texts, texts};

/// Where a request finds its sketch.
pub type Slot = Arc<OnceLock<Texts>>;

/// The queue, and the thread behind it.
pub struct Sketches {
    waiting: Arc<Waiting>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Waiting {
    key: u64,
    queue: Mutex<Queue>,
    news: Condvar,
}

#[derive(Default)]
struct Queue {
    jobs: Vec<Job>,
    bytes: usize,
    is_closed: bool,
}

struct Job {
    call: Arc<CallFacts>,
    body: Bytes,
    slot: Weak<OnceLock<Texts>>,
}

impl Sketches {
    /// Starts the thread; hashes are keyed with `key`. Without a thread there are no sketches.
    pub fn start(key: u64) -> Self {
        let waiting = Arc::new(Waiting { key, queue: Mutex::default(), news: Condvar::new() });
        let of_thread = Arc::clone(&waiting);
        let thread = std::thread::Builder::new().name("sketches".to_owned()).spawn(move || of_thread.draw_all());
        if thread.is_err() {
            waiting.close();
        }
        Self { waiting, thread: Mutex::new(thread.ok()) }
    }

    /// Asks for the sketch of a request; `None` if too much waits.
    pub fn ask(&self, call: &Arc<CallFacts>, body: &Bytes) -> Option<Slot> {
        let mut queue = self.waiting.lock();
        let bytes = queue.bytes + body.len();
        if queue.is_closed || bytes > SKETCH_WAITING_BYTES_MAX {
            return None;
        }
        let slot = Slot::default();
        queue.bytes = bytes;
        queue.jobs.push(Job { call: Arc::clone(call), body: body.clone(), slot: Arc::downgrade(&slot) });
        if queue.jobs.len() == 1 {
            self.waiting.news.notify_one();
        }
        Some(slot)
    }

    /// Ends the thread.
    pub fn close(&self) {
        self.waiting.close();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            drop(thread.join());
        }
    }
}

impl Drop for Sketches {
    fn drop(&mut self) {
        self.close();
    }
}

impl Waiting {
    fn lock(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) {
        self.lock().is_closed = true;
        self.news.notify_all();
    }

    fn draw_all(&self) {
        loop {
            let queue = self.news.wait_while(self.lock(), |queue| queue.jobs.is_empty() && !queue.is_closed);
            drop(queue);
            // What comes meanwhile wakes nobody; closing does.
            let gathered = self.news.wait_timeout_while(self.lock(), SKETCH_GATHER, |queue| !queue.is_closed);
            let mut queue = gathered.unwrap_or_else(PoisonError::into_inner).0;
            if queue.is_closed {
                return;
            }
            let jobs = std::mem::take(&mut queue.jobs);
            queue.bytes = 0;
            drop(queue);
            for job in jobs {
                if let Some(slot) = job.slot.upgrade() {
                    let _ = slot.set(texts(&job.body, &job.call.view.outline, self.key));
                }
            }
        }
    }
}
