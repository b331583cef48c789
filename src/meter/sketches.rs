//! Sketches of requests' texts, drawn by a thread of their own while the provider writes its answer.
//!
//! A request leaves a reference to its body in a bounded queue and finds the sketch in its slot when it is settled, if it is
//! there by then: nothing ever waits for one. To what was settled meanwhile it is added afterwards, as long as that takes
//! little of the thread's time. The same thread knows how prompts began lately, and so what broke a cached prefix.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::accounts::Accounts;
use crate::call::CallFacts;
use crate::ledger::record::{Amended, Broke, Record, SketchedTexts};
use crate::limits::{SKETCH_GATHER, SKETCH_LATE, SKETCH_WAITING_BYTES_MAX};
use crate::money::NanoUsd;
use crate::prompt::marks::{Change, Marks, Sides};
use crate::prompt::outline::Chain;
use crate::prompt::sketch::texts;

/// Where a request finds its sketch: whoever comes second, the thread or the end of the request, sees what the other left.
pub type Slot = Arc<OnceLock<Left>>;

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
    /// The beginnings of its prompt and of the one before, if those differ.
    sides: Option<Sides>,
    slot: Slot,
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

    /// Asks for the sketch of a request; `None` if too much waits. `sides` are those of its prompt and the one before it.
    pub fn ask(&self, call: &Arc<CallFacts>, body: &Bytes, sides: Option<Sides>) -> Option<Slot> {
        let mut queue = self.waiting.lock();
        let bytes = queue.bytes + body.len();
        if queue.is_closed || bytes > SKETCH_WAITING_BYTES_MAX {
            return None;
        }
        let slot = Slot::default();
        queue.bytes = bytes;
        queue.jobs.push(Job { call: Arc::clone(call), body: body.clone(), sides, slot: Arc::clone(&slot) });
        if queue.jobs.len() == 1 {
            self.waiting.news.notify_one();
        }
        Some(slot)
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
            let queue = self.news.wait_while(self.lock(), |queue| queue.jobs.is_empty() && !queue.is_closed);
            drop(queue);
            // What comes meanwhile wakes nobody; closing does.
            let gathered = self.news.wait_timeout_while(self.lock(), SKETCH_GATHER, |queue| !queue.is_closed);
            let mut queue = gathered.unwrap_or_else(PoisonError::into_inner).0;
            let (jobs, is_closed) = (std::mem::take(&mut queue.jobs), queue.is_closed);
            queue.bytes = 0;
            drop(queue);
            let mut spent = Duration::ZERO;
            for job in jobs {
                job.draw(self.key, &mut marks, &mut spent);
            }
            if is_closed {
                return;
            }
        }
    }
}

impl Job {
    /// Draws the sketch into its slot, or adds it to what was settled without; `spent` is what the latter took so far.
    fn draw(self, key: u64, marks: &mut Marks, spent: &mut Duration) {
        let began = Instant::now();
        let is_settled = self.slot.get().is_some();
        if !is_settled && Arc::strong_count(&self.slot) == 1 {
            // It ended without a row that has a sketch.
            return;
        }
        // Few break a prefix, and those are worth the time.
        if is_settled && self.sides.is_none() && *spent >= SKETCH_LATE {
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
        if self.slot.set(Left::Drawn(drawn)).is_err()
            && let Some(Left::Settled(settled)) = self.slot.get()
        {
            settled.amend(&self.call, &drawn);
            *spent += began.elapsed();
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
