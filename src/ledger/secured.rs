//! `durability: power`: a thread that syncs the journal for all who wait for the disk.
//!
//! An append stays one write on its own thread. Whoever must not go on before the disk has it asks for a
//! [`Secured`] and awaits that, which holds no thread. While one sync runs, those who come wait for the
//! next, which is then one sync for all of them: the more wait, the more share. A sync that fails is final
//! for the records it was to bring to the disk: nobody is ever told that they are there.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::watch;

use crate::ledger::error::LedgerError;
use crate::ledger::journal::{Journal, Position};
use crate::limits::LEDGER_SYNC_TIMEOUT;

/// The thread, and how it is asked.
#[derive(Debug)]
pub(super) struct Syncer {
    asked: Arc<Asked>,
    told: watch::Receiver<Told>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What those who wait ask for.
#[derive(Debug)]
struct Asked {
    state: Mutex<Wanted>,
    wake: Condvar,
}

#[derive(Debug)]
struct Wanted {
    upto: Position,
    closing: bool,
}

/// What the thread has found out so far.
#[derive(Clone, Debug)]
struct Told {
    /// Everything before it is on the disk, but for what is in doubt.
    upto: Position,
    /// From behind the first place up to the second, some of which a failed sync may have left out.
    in_doubt: Option<(Position, Position)>,
    /// The system's words about that.
    reason: String,
}

impl Told {
    fn holds(&self, position: Position) -> Option<Result<(), LedgerError>> {
        match self.in_doubt {
            Some((from, to)) if from < position && position <= to => {
                Some(Err(LedgerError::Unavailable { reason: self.reason.clone() }))
            }
            _ => (position <= self.upto).then_some(Ok(())),
        }
    }

    /// Doubt only grows: who still waits when it does asked lately, and is rather refused than deceived.
    fn doubt(&mut self, to: Position, error: &std::io::Error) {
        let from = self.in_doubt.map_or(self.upto, |(from, _)| from);
        self.in_doubt = Some((from, to));
        self.reason = format!("a sync failed: {error}");
    }
}

/// Waits until records are on the disk; see [`super::Ledger::secured`].
#[derive(Debug)]
pub struct Secured(Result<(Position, watch::Receiver<Told>), LedgerError>);

impl Secured {
    /// Waits for the disk, at most [`LEDGER_SYNC_TIMEOUT`].
    ///
    /// # Errors
    ///
    /// [`LedgerError::Unavailable`] if the disk refused, or did not answer in time; [`LedgerError::Closed`].
    /// The records are in the kernel nevertheless, and reach the tables.
    pub async fn wait(self) -> Result<(), LedgerError> {
        self.within(LEDGER_SYNC_TIMEOUT).await
    }

    /// Waits that long at most.
    pub(super) async fn within(self, timeout: Duration) -> Result<(), LedgerError> {
        let (position, mut told) = self.0?;
        let known = told.wait_for(|told| told.holds(position).is_some());
        let Ok(known) = tokio::time::timeout(timeout, known).await else {
            let reason = format!("the disk has not taken the record within {timeout:?}");
            return Err(LedgerError::Unavailable { reason });
        };
        known.map_err(|_| LedgerError::Closed)?.holds(position).unwrap_or(Err(LedgerError::Closed))
    }
}

impl Syncer {
    /// Starts the thread; what stands before `position` is on the disk.
    pub(super) fn start(journal: &Arc<Journal>, position: Position) -> std::io::Result<Self> {
        let asked = Asked { state: Mutex::new(Wanted { upto: position, closing: false }), wake: Condvar::new() };
        let asked = Arc::new(asked);
        let (tell, told) = watch::channel(Told { upto: position, in_doubt: None, reason: String::new() });
        let (journal, of_thread) = (Arc::clone(journal), Arc::clone(&asked));
        let thread = std::thread::Builder::new().name("ledger-sync".to_owned()).spawn(move || {
            while of_thread.wait_beyond(tell.borrow().upto) {
                sync(&journal, &tell);
            }
        })?;
        Ok(Self { asked, told, thread: Mutex::new(Some(thread)) })
    }

    /// Asks for everything that was appended so far.
    pub(super) fn secured(&self, journal: &Journal) -> Secured {
        let Some(end) = journal.end_if_written() else {
            return Secured(Err(LedgerError::Unavailable { reason: "the disk refused the last records".to_owned() }));
        };
        let mut wanted = self.asked.lock();
        if wanted.upto < end {
            wanted.upto = end;
            drop(wanted);
            self.asked.wake.notify_one();
        }
        Secured(Ok((end, self.told.clone())))
    }

    /// Syncs what was asked for and ends the thread. A second call does nothing.
    pub(super) fn close(&self) {
        self.asked.lock().closing = true;
        self.asked.wake.notify_one();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        // A thread that died has dropped its sender: whoever waits is told that the ledger is closed.
        let _ = thread.map(JoinHandle::join);
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        self.close();
    }
}

impl Asked {
    /// Sleeps until more than `done` is asked for; false once it ends with that.
    fn wait_beyond(&self, done: Position) -> bool {
        let idle = |wanted: &mut Wanted| wanted.upto <= done && !wanted.closing;
        let wanted = self.wake.wait_while(self.lock(), idle).unwrap_or_else(PoisonError::into_inner);
        wanted.upto > done
    }

    fn lock(&self) -> MutexGuard<'_, Wanted> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One sync of what the journal holds, segment by segment, and the news of it.
fn sync(journal: &Journal, tell: &watch::Sender<Told>) {
    let mut told = tell.borrow().clone();
    for stretch in journal.stretches() {
        if stretch.end <= told.upto {
            continue;
        }
        if let Err(error) = journal.sync(&stretch) {
            told.doubt(stretch.end, &error);
        }
        told.upto = stretch.end;
    }
    tell.send_replace(told);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: u64) -> Position {
        Position { segment: 1, offset }
    }

    /// What is told about records that end at `offset`.
    #[track_caller]
    fn check(told: &Told, offset: u64, expected: Option<bool>) {
        assert_eq!(told.holds(at(offset)).map(|held| held.is_ok()), expected, "{offset} of {told:?}");
    }

    #[test]
    fn doubt_begins_behind_what_was_synced_and_never_shrinks() {
        let mut told = Told { upto: at(10), in_doubt: None, reason: String::new() };
        let error = std::io::Error::other("the disk is on fire");
        told.doubt(at(20), &error);
        told.upto = at(20);
        for (offset, expected) in [(9, Some(true)), (10, Some(true)), (11, Some(false)), (20, Some(false)), (21, None)]
        {
            check(&told, offset, expected);
        }
        told.doubt(at(30), &error);
        told.upto = at(30);
        for (offset, expected) in
            [(10, Some(true)), (11, Some(false)), (20, Some(false)), (30, Some(false)), (31, None)]
        {
            check(&told, offset, expected);
        }
        told.upto = at(40);
        check(&told, 31, Some(true));
    }
}
