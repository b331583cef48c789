//! The journal as all threads see it: appended to under one short lock, read by the applier.
//!
//! An append is one write into the page cache on the caller's own thread. A record that the disk
//! refuses waits in a bounded backlog, in order, if it must not be lost (outcomes; in mode `allow` also
//! intents); while anything waits, new intents are refused (mode `deny`). Waking and waiting of the
//! applier lives here too; what it does with the records is in `applier`.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::config::WhenItFails;
use crate::ledger::error::LedgerError;
use crate::ledger::frame::Seal;
use crate::ledger::segment::{HEADER_BYTES, Segment};
use crate::limits::{JOURNAL_SEGMENT_BYTES, LEDGER_BACKLOG_RECORDS_MAX};

/// A place in the journal; later places are greater.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(super) struct Position {
    /// Segment number, from 1; 0 before there was a segment.
    pub(super) segment: u32,
    /// Bytes from the start of the segment's file.
    pub(super) offset: u64,
}

impl Position {
    /// The place of a segment's first frame.
    pub(super) fn start_of(segment: u32) -> Self {
        Self { segment, offset: HEADER_BYTES }
    }
}

/// What must happen to a record that cannot be written now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Urgency {
    /// The attempt has not left: refusing is harmless.
    MayBeRefused,
    /// It happened already: it is kept until it can be written.
    MustBeKept,
}

/// A stretch of one segment that is ready to be applied.
#[derive(Clone, Debug)]
pub(super) struct Stretch {
    pub(super) file: Arc<File>,
    pub(super) path: PathBuf,
    pub(super) seal: Seal,
    /// Where its whole frames end.
    pub(super) end: Position,
    /// Nothing will be appended to it any more.
    pub(super) full: bool,
    /// No sync of it has failed. What the system says of one that comes after a failed one means nothing:
    /// it may have dropped what it could not write.
    pub(super) trusted: bool,
}

/// The shared journal.
#[derive(Debug)]
pub(super) struct Journal {
    state: Mutex<State>,
    /// Told when there is something to do for the applier.
    wake: Condvar,
    /// Told when the applier has finished a round.
    round: Condvar,
    healthy: AtomicBool,
    /// No sync of the segment that is being written has failed.
    trusted: AtomicBool,
    gaps: AtomicU64,
    when_it_fails: WhenItFails,
    /// One sync at a time: the system tells of a failed one once, to whoever asks first.
    syncing: Mutex<()>,
    #[cfg(test)]
    pretended_sync: Mutex<Option<PretendedSync>>,
}

/// What a test does in place of a sync.
#[cfg(test)]
pub(super) struct PretendedSync(pub(super) Box<dyn FnMut() -> std::io::Result<()> + Send>);

#[cfg(test)]
impl std::fmt::Debug for PretendedSync {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PretendedSync")
    }
}

#[derive(Debug)]
struct State {
    segment: Segment,
    /// No sync of `segment` has failed.
    trusted: bool,
    full: VecDeque<Stretch>,
    backlog: VecDeque<Box<[u8]>>,
    /// Segments, and how far each was synced since the last append, which is to say so in the journal.
    synced: BTreeMap<u32, u64>,
    /// Append time of the oldest record that the applier has not taken yet.
    waiting_since: Option<Instant>,
    /// Append time of the oldest record of the round that is being applied.
    applying_since: Option<Instant>,
    applied: Position,
    rounds: u64,
    failure: Option<String>,
    hurry: bool,
    closing: bool,
    /// Length at which a new segment is due, in bytes.
    segment_bytes: u64,
}

impl State {
    fn end(&self) -> Position {
        Position { segment: self.segment.number, offset: self.segment.length() }
    }

    fn has_work(&self) -> bool {
        self.waiting_since.is_some() || self.applied < self.end() || !self.backlog.is_empty() || !self.trusted
    }

    /// Everything that is not in the tables yet, oldest first; the last one is the segment that is being written.
    fn stretches(&self) -> Vec<Stretch> {
        let current = Stretch {
            file: self.segment.file(),
            path: self.segment.path.clone(),
            seal: self.segment.seal,
            end: self.end(),
            full: false,
            trusted: self.trusted,
        };
        self.full.iter().cloned().chain([current]).collect()
    }

    /// Writes what waits, oldest first, until the disk refuses.
    fn drain_backlog(&mut self) -> std::io::Result<()> {
        while let Some(frame) = self.backlog.pop_front() {
            if let Err(error) = self.write(&frame) {
                self.backlog.push_front(frame);
                return Err(error);
            }
        }
        Ok(())
    }

    fn note_synced(&mut self, end: Position) {
        let upto = self.synced.entry(end.segment).or_default();
        *upto = end.offset.max(*upto);
    }

    fn write(&mut self, frame: &[u8]) -> std::io::Result<()> {
        let synced = self.synced.iter().map(|(&segment, &offset)| Position { segment, offset });
        self.segment.append(synced, frame)?;
        self.synced.clear();
        Ok(())
    }
}

/// What the applier is asked to do next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Call {
    /// Apply what there is.
    Work,
    /// Apply what there is, then end.
    Finish,
}

impl Journal {
    pub(super) fn new(segment: Segment, when_it_fails: WhenItFails) -> Self {
        let applied = Position::start_of(segment.number);
        let state = State {
            segment,
            trusted: true,
            full: VecDeque::new(),
            backlog: VecDeque::new(),
            synced: BTreeMap::new(),
            waiting_since: None,
            applying_since: None,
            applied,
            rounds: 0,
            failure: None,
            hurry: false,
            closing: false,
            segment_bytes: JOURNAL_SEGMENT_BYTES,
        };
        Self {
            state: Mutex::new(state),
            wake: Condvar::new(),
            round: Condvar::new(),
            healthy: AtomicBool::new(true),
            trusted: AtomicBool::new(true),
            gaps: AtomicU64::new(0),
            when_it_fails,
            syncing: Mutex::new(()),
            #[cfg(test)]
            pretended_sync: Mutex::new(None),
        }
    }

    /// Writes one frame, or keeps it, or refuses it; see the module's words.
    pub(super) fn append(&self, frame: &[u8], urgency: Urgency) -> Result<(), LedgerError> {
        let mut state = self.lock();
        if state.closing {
            return Err(LedgerError::Closed);
        }
        let written = state.drain_backlog().and_then(|()| state.write(frame));
        let first = state.waiting_since.is_none();
        if first {
            state.waiting_since = Some(Instant::now());
        }
        let result = match written {
            Ok(()) => Ok(()),
            Err(error) => self.keep(&mut state, frame, urgency, &error),
        };
        self.healthy.store(state.backlog.is_empty(), Ordering::Relaxed);
        drop(state);
        if first {
            self.wake.notify_one();
        }
        result
    }

    fn keep(
        &self,
        state: &mut State,
        frame: &[u8],
        urgency: Urgency,
        error: &std::io::Error,
    ) -> Result<(), LedgerError> {
        let allow = self.when_it_fails == WhenItFails::Allow;
        let unavailable = || LedgerError::Unavailable { reason: error.to_string() };
        if urgency == Urgency::MayBeRefused && !allow {
            return Err(unavailable());
        }
        if state.backlog.len() < LEDGER_BACKLOG_RECORDS_MAX {
            state.backlog.push_back(frame.into());
            return Ok(());
        }
        self.gaps.fetch_add(1, Ordering::Relaxed);
        if allow { Ok(()) } else { Err(unavailable()) }
    }

    /// Whether everything that was appended has reached the kernel, and the disk takes what it is given.
    pub(super) fn healthy(&self) -> bool {
        self.healthy.load(Ordering::Relaxed) && self.trusted()
    }

    /// Whether no sync of the segment that is being written has failed.
    pub(super) fn trusted(&self) -> bool {
        self.trusted.load(Ordering::Acquire)
    }

    /// What an intent meets while the journal cannot be written.
    pub(super) fn when_it_fails(&self) -> WhenItFails {
        self.when_it_fails
    }

    /// Where the journal ends; `None` while records wait for the disk to take them.
    pub(super) fn end_if_written(&self) -> Option<Position> {
        let state = self.lock();
        state.backlog.is_empty().then(|| state.end())
    }

    /// Everything that is not in the tables yet, oldest first.
    pub(super) fn stretches(&self) -> Vec<Stretch> {
        self.lock().stretches()
    }

    /// Brings a stretch to the disk. Once that has failed, no later try succeeds for that segment: the applier
    /// begins another one, and the records of this one get to the disk with the tables.
    pub(super) fn sync(&self, stretch: &Stretch) -> std::io::Result<()> {
        let _one = self.syncing.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.trusts(stretch.end.segment) {
            return Err(std::io::Error::other("an earlier sync of it failed"));
        }
        let synced = self.sync_file(&stretch.file);
        match synced {
            Ok(()) => self.lock().note_synced(stretch.end),
            Err(_) => self.distrust(stretch.end.segment),
        }
        synced
    }

    #[cfg(not(test))]
    fn sync_file(&self, file: &File) -> std::io::Result<()> {
        file.sync_data()
    }

    #[cfg(test)]
    fn sync_file(&self, file: &File) -> std::io::Result<()> {
        match &mut *self.pretended_sync.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(pretended) => (pretended.0)(),
            None => file.sync_data(),
        }
    }

    fn trusts(&self, segment: u32) -> bool {
        let state = self.lock();
        if state.segment.number == segment {
            return state.trusted;
        }
        // One that is gone has been applied, and the tables are on the disk.
        state.full.iter().find(|stretch| stretch.end.segment == segment).is_none_or(|stretch| stretch.trusted)
    }

    fn distrust(&self, segment: u32) {
        let mut state = self.lock();
        if state.segment.number == segment {
            state.trusted = false;
            self.trusted.store(false, Ordering::Release);
        } else if let Some(stretch) = state.full.iter_mut().find(|stretch| stretch.end.segment == segment) {
            stretch.trusted = false;
        }
        drop(state);
        self.wake.notify_one();
    }

    /// Records that were lost because the backlog was full.
    pub(super) fn gaps(&self) -> u64 {
        self.gaps.load(Ordering::Relaxed)
    }

    /// Age of the oldest record that is not in the tables yet.
    pub(super) fn lag(&self) -> Duration {
        let state = self.lock();
        state.applying_since.or(state.waiting_since).map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// What stopped the applier's last round.
    pub(super) fn failure(&self) -> Option<String> {
        self.lock().failure.clone()
    }

    /// Waits until everything appended so far is in the tables.
    pub(super) fn wait_applied(&self, timeout: Duration) -> Result<(), LedgerError> {
        let began = Instant::now();
        let mut state = self.lock();
        let target = state.end();
        loop {
            if state.applied >= target && state.backlog.is_empty() {
                return Ok(());
            }
            let left = timeout.saturating_sub(began.elapsed());
            if left.is_zero() {
                return Err(LedgerError::Behind { waited: began.elapsed(), reason: state.failure.clone() });
            }
            // A round that failed is tried again at the usual pace.
            state.hurry = state.failure.is_none();
            self.wake.notify_one();
            let rounds = state.rounds;
            let waited = self.round.wait_timeout_while(state, left, |state| state.rounds == rounds);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Refuses further appends and asks the applier to finish.
    pub(super) fn close(&self) {
        self.lock().closing = true;
        self.wake.notify_one();
    }

    /// For the applier: sleeps until there is work, then `linger` more so that a batch gathers.
    pub(super) fn wait_for_work(&self, linger: Duration) -> Call {
        let idle = |state: &mut State| !state.has_work() && !state.closing;
        let state = self.wake.wait_while(self.lock(), idle).unwrap_or_else(PoisonError::into_inner);
        let gathering = |state: &mut State| !state.hurry && !state.closing;
        let gathered = self.wake.wait_timeout_while(state, linger, gathering);
        let mut state = gathered.unwrap_or_else(PoisonError::into_inner).0;
        state.hurry = false;
        if state.closing { Call::Finish } else { Call::Work }
    }

    /// For the applier: retries the backlog and takes what is ready, oldest first.
    pub(super) fn begin_round(&self) -> Vec<Stretch> {
        let mut state = self.lock();
        // A refusal here was already met, and is counted, by the append that filled the backlog.
        let _ = state.drain_backlog();
        self.healthy.store(state.backlog.is_empty(), Ordering::Relaxed);
        state.applying_since = state.applying_since.or(state.waiting_since.take());
        state.waiting_since = if state.backlog.is_empty() { None } else { state.applying_since };
        state.stretches()
    }

    /// For the applier: says how far it came, and what stopped it.
    pub(super) fn end_round(&self, applied: Position, failure: Option<String>) {
        let mut state = self.lock();
        state.applied = applied;
        if failure.is_none() {
            state.applying_since = None;
        }
        state.failure = failure;
        state.rounds += 1;
        state.full.retain(|stretch| stretch.end.segment >= applied.segment);
        self.round.notify_all();
    }

    /// For the applier: the number that a new segment needs, if the current one has reached its size or is
    /// not to be trusted.
    pub(super) fn segment_due(&self) -> Option<u32> {
        let state = self.lock();
        let due = state.segment.length() >= state.segment_bytes || !state.trusted;
        due.then_some(state.segment.number + 1)
    }

    /// For the applier: goes on in `next`; the segment before stays until it is applied.
    pub(super) fn enter_segment(&self, next: Segment) {
        let mut state = self.lock();
        let end = state.end();
        let before = std::mem::replace(&mut state.segment, next);
        let trusted = std::mem::replace(&mut state.trusted, true);
        state.full.push_back(Stretch {
            file: before.file(),
            seal: before.seal,
            path: before.path,
            end,
            full: true,
            trusted,
        });
        self.trusted.store(true, Ordering::Release);
    }

    /// Lets tests decide what a sync does.
    #[cfg(test)]
    pub(super) fn pretend_sync(&self, sync: impl FnMut() -> std::io::Result<()> + Send + 'static) {
        let pretended = Some(PretendedSync(Box::new(sync)));
        *self.pretended_sync.lock().unwrap_or_else(PoisonError::into_inner) = pretended;
    }

    /// Gives tests the segment that is being written.
    #[cfg(test)]
    pub(super) fn with_segment<T>(&self, act: impl FnOnce(&mut Segment) -> T) -> T {
        act(&mut self.lock().segment)
    }

    /// Lets tests fill segments quickly.
    #[cfg(test)]
    pub(super) fn limit_segments(&self, bytes: u64) {
        self.lock().segment_bytes = bytes;
    }

    /// No code panics while holding the lock; if one did, the state would still be whole frames.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
