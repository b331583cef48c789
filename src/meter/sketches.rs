//! Sketches of requests' texts, drawn by a thread of their own while the provider writes its answer.
//!
//! A request leaves a reference to its body in a bounded queue and finds the sketch in its slot when it is settled, if it is
//! there by then: nothing ever waits for one. To what was settled meanwhile it is added afterwards, as long as that is little;
//! beyond it a request takes its reference back. The same thread knows how prompts began lately, and so what broke a cached prefix.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread::JoinHandle;

use bytes::Bytes;

use super::accounts::Accounts;
use crate::call::CallFacts;
use crate::ledger::record::{Amended, Broke, Record, SketchedTexts};
use crate::limits::{SKETCH_FLOOD, SKETCH_GATHER, SKETCH_LATE_BYTES, SKETCH_WAITING_BYTES_MAX};
use crate::money::NanoUsd;
use crate::prompt::marks::{Change, Marks, Sides};
use crate::prompt::outline::Chain;
use crate::prompt::sketch::texts;

/// Where a request finds its sketch.
pub type Slot = Arc<Place>;

/// Whoever comes second, the thread or the end of the request, sees what the other left.
#[derive(Default)]
pub struct Place {
    left: OnceLock<Left>,
    /// What is to be drawn, until the thread takes it or the request takes it back.
    job: Mutex<Option<Job>>,
}

impl Place {
    /// What was left first.
    pub fn get(&self) -> Option<&Left> {
        self.left.get()
    }

    /// Leaves that a request has its row; false if the sketch is there by now.
    pub fn settle(&self, settled: Settled) -> bool {
        self.left.set(Left::Settled(settled)).is_ok()
    }

    fn take(&self) -> Option<Job> {
        self.job.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// What is left in a slot.
#[derive(Debug)]
pub enum Left {
    /// By the thread.
    Drawn(Drawn),
    /// By a request that has its row and had no sketch by then.
    Settled(Settled),
}

/// What the thread found.
#[derive(Clone, Copy, Debug)]
pub struct Drawn {
    /// What stands in the texts.
    pub texts: SketchedTexts,
    /// What changed since the prompt before, if its beginning did.
    pub change: Option<Change>,
}

/// What was told of a request without its sketch.
#[derive(Debug)]
pub struct Settled {
    /// Where the rest is told.
    pub accounts: Weak<Accounts>,
    /// What its broken prefix cost.
    pub loss: Option<Loss>,
}

/// A broken prefix with what is known of it.
#[derive(Clone, Copy, Debug)]
pub struct Loss {
    /// What broke it, as far as hashes of whole beginnings tell.
    pub culprit: &'static str,
    /// What that cost.
    pub cost: NanoUsd,
    /// How many tokens of the prompt stand before the break; `None`: that is for the thread to find.
    pub at_tokens: Option<u64>,
    /// How many it has.
    pub input_tokens: u64,
}

impl Loss {
    /// What broke it and where, given what changed at the beginning.
    pub fn broke(&self, change: Option<&Change>, chain: &Chain) -> Broke<'static> {
        let Some(change) = change.filter(|_| self.is_of_beginning()) else {
            return Broke { culprit: self.culprit, at_tokens: self.at_tokens };
        };
        let all = u128::from((chain.head.bytes + chain.bytes.1).max(1));
        let share = |bytes: u64| u128::from(self.input_tokens) * u128::from(bytes) / all;
        let at_tokens = change.bytes.map(|bytes| u64::try_from(share(bytes)).unwrap_or(u64::MAX));
        Broke { culprit: change.culprit, at_tokens }
    }

    /// Whether the beginning of the prompt changed.
    pub fn is_of_beginning(&self) -> bool {
        self.at_tokens.is_none() && matches!(self.culprit, "tools" | "system")
    }
}

/// The queue, and the thread behind it.
pub struct Sketches {
    waiting: Arc<Waiting>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Waiting {
    key: u64,
    queue: Mutex<Queue>,
    /// Of the bodies that wait.
    bytes: AtomicUsize,
    /// Bytes of bodies that may still be drawn late in this round.
    late_bytes: AtomicUsize,
    news: Condvar,
}

#[derive(Default)]
struct Queue {
    places: Vec<Slot>,
    is_closed: bool,
}

struct Job {
    call: Arc<CallFacts>,
    body: Bytes,
    /// The beginnings of its prompt and of the one before, if those differ.
    sides: Option<Sides>,
}

impl Sketches {
    /// Starts the thread; hashes are keyed with `key`. Without a thread there are no sketches.
    pub fn start(key: u64) -> Self {
        let waiting = Arc::new(Waiting::new(key));
        let of_thread = Arc::clone(&waiting);
        let thread = std::thread::Builder::new().name("sketches".to_owned()).spawn(move || of_thread.draw_all());
        if thread.is_err() {
            waiting.close();
        }
        Self { waiting, thread: Mutex::new(thread.ok()) }
    }

    /// With nobody who draws, for tests of what waits.
    #[cfg(test)]
    pub fn undrawn() -> Self {
        Self { waiting: Arc::new(Waiting::new(0)), thread: Mutex::default() }
    }

    /// Asks for the sketch of a request; `None` if too much waits. `sides` are those of its prompt and the one before it.
    pub fn ask(&self, call: &Arc<CallFacts>, body: &Bytes, sides: Option<Sides>) -> Option<Slot> {
        let waiting = &*self.waiting;
        if waiting.bytes.fetch_add(body.len(), Ordering::Relaxed) + body.len() > SKETCH_WAITING_BYTES_MAX {
            waiting.bytes.fetch_sub(body.len(), Ordering::Relaxed);
            return None;
        }
        let job = Mutex::new(Some(Job { call: Arc::clone(call), body: body.clone(), sides }));
        let slot = Arc::new(Place { left: OnceLock::new(), job });
        let mut queue = waiting.lock();
        if queue.is_closed {
            waiting.bytes.fetch_sub(body.len(), Ordering::Relaxed);
            return None;
        }
        queue.places.push(Arc::clone(&slot));
        if queue.places.len() == 1 {
            waiting.news.notify_one();
        }
        Some(slot)
    }

    /// Takes back what was asked of a request that ends without its sketch, where enough others may be drawn late already.
    /// Few break a prefix, and those are worth the time. What is held for the thread is cold by the time it is let go: that
    /// cost more than the sketches.
    pub fn takes_back(&self, slot: &Slot) -> bool {
        let waiting = &*self.waiting;
        let mut job = slot.job.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(bytes) = job.as_ref().filter(|job| job.sides.is_none()).map(|job| job.body.len()) else {
            return false;
        };
        let is_let = |left: usize| (left > 0).then(|| left.saturating_sub(bytes));
        if waiting.late_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, is_let).is_ok() {
            return false;
        }
        waiting.bytes.fetch_sub(bytes, Ordering::Relaxed);
        drop(job.take());
        true
    }

    /// Ends the thread, once what waits is drawn.
    pub fn close(&self) {
        self.waiting.close();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        // The thread itself may be the last that holds the accounts.
        if let Some(thread) = thread.filter(|thread| thread.thread().id() != std::thread::current().id()) {
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
    fn new(key: u64) -> Self {
        let (queue, bytes, late_bytes) = (Mutex::default(), AtomicUsize::new(0), AtomicUsize::new(SKETCH_LATE_BYTES));
        Self { key, queue, bytes, late_bytes, news: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) {
        self.lock().is_closed = true;
        self.news.notify_all();
    }

    fn draw_all(&self) {
        let mut marks = Marks::default();
        loop {
            let queue = self.news.wait_while(self.lock(), |queue| queue.places.is_empty() && !queue.is_closed);
            drop(queue);
            // What comes meanwhile wakes nobody; closing does.
            let gathered = self.news.wait_timeout_while(self.lock(), SKETCH_GATHER, |queue| !queue.is_closed);
            let mut queue = gathered.unwrap_or_else(PoisonError::into_inner).0;
            let (places, is_closed) = (std::mem::take(&mut queue.places), queue.is_closed);
            drop(queue);
            self.late_bytes.store(late_bytes(places.len()), Ordering::Relaxed);
            for place in places {
                if let Some(job) = place.take() {
                    self.bytes.fetch_sub(job.body.len(), Ordering::Relaxed);
                    job.draw(&place, self.key, &mut marks);
                }
            }
            if is_closed {
                return;
            }
        }
    }
}

/// Of how many bytes of bodies sketches may be drawn late until the next round: where many come, a smaller part of them is a
/// sample just as well.
fn late_bytes(came: usize) -> usize {
    if came > SKETCH_FLOOD { SKETCH_LATE_BYTES / 4 } else { SKETCH_LATE_BYTES }
}

impl Job {
    /// Draws the sketch into its place, or adds it to what was settled without.
    fn draw(self, place: &Slot, key: u64, marks: &mut Marks) {
        if place.get().is_none() && Arc::strong_count(place) == 1 {
            // It ended without a row that has a sketch.
            return;
        }
        let outline = &self.call.view.outline;
        let found = texts(&self.body, outline, key);
        marks.note(&self.body, outline);
        let change = self.sides.map(|sides| marks.explain(&sides));
        let texts = SketchedTexts {
            masked: found.masked,
            masked_system: found.masked_system,
            masks: found.masks,
            read_bytes: found.read_bytes,
            repeated_bytes: found.repeated_bytes,
        };
        let drawn = Drawn { texts, change };
        if place.left.set(Left::Drawn(drawn)).is_err()
            && let Some(Left::Settled(settled)) = place.get()
        {
            settled.amend(&self.call, &drawn);
        }
    }
}

impl Settled {
    /// Adds what was found to the row.
    fn amend(&self, call: &CallFacts, drawn: &Drawn) {
        let Some(accounts) = self.accounts.upgrade() else { return };
        let broke = self.loss.map(|loss| loss.broke(drawn.change.as_ref(), &call.view.outline.chain));
        if let Some((loss, broke)) = self.loss.filter(Loss::is_of_beginning).zip(broke) {
            accounts.metrics.count_cache_lost(broke.culprit, loss.cost.0);
        }
        let amended = Amended { request: call.id, texts: Some(drawn.texts), broke };
        // A sketch may be absent: what the ledger cannot take is let go.
        drop(accounts.ledger.append(&Record::Amended(Box::new(amended))));
    }
}
