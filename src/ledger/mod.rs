//! The durable ledger: one row for every request and for every attempt that left the process.
//!
//! [`Ledger::append`] writes a [`record::Record`] to a journal on the caller's thread and returns when
//! the kernel has it: it survives `kill -9`, and a power cut takes at most the last 100 ms. With
//! [`Durability::Power`] whoever must not go on before the disk has it waits for [`Ledger::secured`] as
//! well. A thread of the ledger applies the journal to SQLite tables behind the views `requests_v1` and
//! `attempts_v1` within a second, each record exactly once. One process owns a ledger at a time; anyone
//! may read the views meanwhile ([`open_views`]). Comparison with invoices is in [`reconcile`], looking
//! after the files in [`verify`], [`backup`], [`compact`] and [`salvage`].

mod applier;
pub mod audit;
pub mod backup;
mod balances;
mod batch;
pub mod by_day;
mod columns;
pub mod compact;
mod counterfactual;
mod error;
pub mod export;
pub mod feedback;
mod frame;
mod inspect;
mod journal;
pub mod losses;
mod migrate;
pub mod mirror;
pub mod objects;
mod preview;
pub mod reads;
pub mod reconcile;
mod reconcile_rows;
pub mod record;
mod recover;
mod replay;
pub mod rerate;
pub mod retention;
pub mod review;
pub mod rollup;
pub mod salvage;
mod schema;
mod seams;
mod secured;
mod segment;
mod sql;
pub mod stated;
pub mod statements;
mod steps;
mod tables;
#[cfg(test)]
mod tests;
mod upkeep;
pub mod verify;
mod verify_journal;

use std::cell::RefCell;
use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::config::{Durability, WhenItFails};
use crate::ledger::applier::Applier;
use crate::ledger::balances::Adjustments;
use crate::ledger::error::{a_folder, file_error};
use crate::ledger::frame::FRAME_BYTES_MAX;
use crate::ledger::journal::{Journal, Position, Urgency};
use crate::ledger::mirror::{Feeder, Standing, Target};
use crate::ledger::record::Record;
use crate::ledger::recover::Damage;
use crate::ledger::secured::Syncer;
use crate::ledger::tables::Tables;
use crate::ledger::upkeep::Upkeep;
use crate::limits::LEDGER_LOCK_PATIENCE;

pub use crate::ledger::balances::{Adjusted, Balances, Spender, Spent, Users};
pub use crate::ledger::error::LedgerError;
pub use crate::ledger::preview::{left_over, preview};
pub use crate::ledger::recover::Recovered;
pub use crate::ledger::schema::{first_id_at, open_current, open_views};
pub use crate::ledger::secured::Secured;
pub use crate::ledger::upkeep::{Keep, Told};

/// Where a ledger lives and how it behaves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LedgerOptions {
    /// The SQLite file. Beside it stand SQLite's own files, `<file>.lock` and `<file>.journal-000001` ….
    pub path: PathBuf,
    /// What a record survives once it is committed.
    pub durability: Durability,
    /// What an intent meets while the journal cannot be written.
    pub when_it_fails: WhenItFails,
}

/// The owner's handle. Dropping it does what [`Ledger::close`] does, without saying how that went.
#[derive(Debug)]
pub struct Ledger {
    journal: Arc<Journal>,
    applier: Mutex<Option<JoinHandle<Result<(), LedgerError>>>>,
    /// With [`Durability::Power`].
    syncer: Option<Syncer>,
    key: u64,
    path: PathBuf,
    /// What looks after it, once that was asked for.
    upkeep: Mutex<Option<Upkeep>>,
    /// What feeds the mirror, if there is one.
    feeder: Mutex<Option<Feeder>>,
    adjustments: Mutex<Adjustments>,
    /// Held for as long as the ledger is open; the kernel releases it with the process.
    _lock: File,
}

impl Ledger {
    /// Opens or creates the ledger at `options.path` as its only owner, and brings its tables up to date.
    ///
    /// # Errors
    ///
    /// [`LedgerError::InUse`] while another process owns it, [`LedgerError::Linked`] if one could unseen; [`LedgerError::NotALedger`],
    /// [`LedgerError::TooNew`] for a file that is not ours to write; [`LedgerError::Unreadable`],
    /// [`LedgerError::MissingSegment`], [`LedgerError::ForeignJournal`] for a journal that cannot be
    /// replayed whole; [`LedgerError::Gone`] for one without its database; [`LedgerError::Damaged`]; else the system's error. Nothing is lost by trying again.
    pub fn open(options: &LedgerOptions) -> Result<(Self, Recovered), LedgerError> {
        let path = canonical(&options.path)?;
        if path.is_dir() {
            return Err(a_folder(&path));
        }
        let lock = lock(&path)?;
        check_files(&path)?;
        let mut tables = Tables::open_upgraded(&path, Damage::Refuse)?;
        let (segment, recovered) = recover::recover(&mut tables, &path, Damage::Refuse)?;
        let position = Position::start_of(segment.number);
        let journal = Arc::new(Journal::new(segment, options.when_it_fails));
        let syncer = match options.durability {
            Durability::Process => None,
            Durability::Power => {
                Some(Syncer::start(&journal, position).map_err(file_error("start a thread for", &path))?)
            }
        };
        let number = tables.ledger_number()?;
        let applier = Applier {
            ledger: number,
            journal: journal.clone(),
            tables,
            database: path.clone(),
            position,
            buffer: Vec::new(),
            passed: Vec::new(),
        };
        let thread = std::thread::Builder::new().name("ledger".to_owned()).spawn(move || applier.run());
        let thread = thread.map_err(file_error("start a thread for", &path))?;
        let (applier, feeder, key) = (Mutex::new(Some(thread)), Mutex::default(), number.cast_unsigned());
        let (upkeep, adjustments) = (Mutex::default(), Mutex::default());
        Ok((Self { journal, applier, syncer, key, path, upkeep, feeder, adjustments, _lock: lock }, recovered))
    }

    /// Appends one record; when this returns, the kernel has it. Takes a few microseconds, never waits
    /// for the tables, and may be called from a `Drop`.
    ///
    /// A record of something that has happened (all but [`Record::Intent`], [`Record::Planned`],
    /// [`Record::Caused`], [`Record::Feedback`] and [`Record::Amended`]) is kept in memory and tried
    /// again if the disk refuses it; [`Ledger::healthy`] is false meanwhile.
    ///
    /// # Errors
    ///
    /// [`LedgerError::Unavailable`] for an intent that could not be written in mode `deny`: the attempt
    /// must not leave; and for any record that a full backlog could not keep (a gap) in mode `deny`.
    /// [`LedgerError::TooLarge`], [`LedgerError::Closed`].
    pub fn append(&self, record: &Record<'_>) -> Result<(), LedgerError> {
        thread_local! {
            static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; FRAME_BYTES_MAX]);
        }
        let urgency = match record {
            Record::Intent(_) | Record::Planned(..) | Record::Caused(..) | Record::Feedback(_) | Record::Amended(_) => {
                Urgency::MayBeRefused
            }
            Record::Outcome(_)
            | Record::Priced(..)
            | Record::Compared(..)
            | Record::Sketched(..)
            | Record::Served(..)
            | Record::Closed(_)
            | Record::Refused(..)
            | Record::Apart(..)
            | Record::Kept(_)
            | Record::KeptBy(..)
            | Record::Reconciled(_) => Urgency::MustBeKept,
        };
        if self.syncer.is_some() && urgency == Urgency::MayBeRefused && self.denies() && !self.journal.trusted() {
            return Err(LedgerError::Unavailable { reason: "a sync failed".to_owned() });
        }
        let write = |buffer: &mut [u8]| self.journal.append(frame::encode(record, buffer)?, urgency);
        // A thread that is ending has no thread-local buffer any more, and may still drop an attempt.
        BUFFER
            .try_with(|buffer| write(&mut buffer.borrow_mut()))
            .unwrap_or_else(|_| write(&mut vec![0; FRAME_BYTES_MAX]))
    }

    /// What waits until everything that was appended so far is on the disk; `None` without
    /// [`Durability::Power`], where appending is all there is to it.
    ///
    /// Many may wait at once and share a sync. Dropping it gives up nothing but the waiting.
    pub fn secured(&self) -> Option<Secured> {
        self.syncer.as_ref().map(|syncer| syncer.secured(&self.journal))
    }

    /// What hashes of texts are keyed with: a number of this ledger's own that no view shows.
    pub fn key(&self) -> u64 {
        self.key
    }

    /// Lets tests decide what a sync of the journal does.
    #[cfg(test)]
    pub(crate) fn pretend_sync(&self, sync: impl FnMut() -> std::io::Result<()> + Send + 'static) {
        self.journal.pretend_sync(sync);
    }

    /// Whether an intent that is not on the disk keeps its attempt from leaving.
    pub fn denies(&self) -> bool {
        self.journal.when_it_fails() == WhenItFails::Deny
    }

    /// Whether every record that was accepted has reached the kernel, and the disk has not failed to take it
    /// from there. While false, intents are refused in mode `deny`; after a failed sync, only with
    /// [`Durability::Power`].
    pub fn healthy(&self) -> bool {
        self.journal.healthy()
    }

    /// Records lost since the start because the disk refused them for longer than the backlog lasts.
    pub fn gaps(&self) -> u64 {
        self.journal.gaps()
    }

    /// Age of the oldest record that the views do not show yet; zero if they show all.
    pub fn lag(&self) -> Duration {
        self.journal.lag()
    }

    /// Why the views do not advance, if the last try to apply the journal failed; it is tried again every
    /// 100 ms, and the records are safe in the journal meanwhile.
    pub fn failure(&self) -> Option<String> {
        self.journal.failure()
    }

    /// Blocks until the views show everything appended before the call.
    ///
    /// # Errors
    ///
    /// [`LedgerError::Behind`] after `timeout`, with the reason if a batch could not be applied.
    pub fn sync_views(&self, timeout: Duration) -> Result<(), LedgerError> {
        self.journal.wait_applied(timeout)
    }

    /// What payers have spent since `since_ms`, in milliseconds since the Unix epoch, as far as the views show it. The
    /// first call reads all rows once; from then on the sums are kept with them.
    ///
    /// # Errors
    ///
    /// SQLite's.
    pub fn spent_since(&self, users: Users, since_ms: i64) -> Result<Vec<Spent>, LedgerError> {
        balances::spent_since(&self.path, users, since_ms)
    }

    /// The last quarter of an hour until `now_ms` in which anybody spent anything, by its beginning. It is later only than
    /// what a clock that was ahead wrote down.
    ///
    /// # Errors
    ///
    /// SQLite's.
    pub fn last_spent(&self, users: Users, now_ms: i64) -> Result<Option<i64>, LedgerError> {
        balances::last_spent(&self.path, users, now_ms)
    }

    /// What re-rating booked behind the adjustment of this number.
    ///
    /// # Errors
    ///
    /// SQLite's.
    pub fn adjusted_after(&self, after: i64) -> Result<Vec<Adjusted>, LedgerError> {
        self.adjustments.lock().unwrap_or_else(PoisonError::into_inner).after(&self.path, after)
    }

    /// Feeds a mirror from now on, with what is there and with what changes; without one, forgets what one has.
    ///
    /// # Errors
    ///
    /// SQLite's, or the system's for want of a thread. Whether the mirror can be reached is not asked.
    pub fn mirror_to(&self, target: Option<Target>) -> Result<(), LedgerError> {
        let Some(target) = target else { return mirror::forget(&self.path) };
        let feeder = Feeder::start(&self.path, target)?;
        let before = self.feeder.lock().unwrap_or_else(PoisonError::into_inner).replace(feeder);
        debug_assert!(before.is_none(), "a ledger has one mirror");
        Ok(())
    }

    /// Has the ledger looked after from now on: users and prompts are counted behind the requests' back, and rows go that
    /// are older than is kept (`None`: none goes). `tell` is told of what happens.
    ///
    /// # Errors
    ///
    /// SQLite's, or the system's for want of a thread.
    pub fn look_after(
        &self,
        keep: Option<Keep>,
        now_ms: fn() -> i64,
        tell: impl Fn(Told) + Send + 'static,
    ) -> Result<(), LedgerError> {
        let upkeep = Upkeep::start(&self.path, keep, now_ms, tell)?;
        let before = self.upkeep.lock().unwrap_or_else(PoisonError::into_inner).replace(upkeep);
        debug_assert!(before.is_none(), "a ledger is looked after by one thread");
        Ok(())
    }

    /// How far the mirror is behind, if there is one.
    pub fn mirror(&self) -> Option<Standing> {
        self.feeder.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(Feeder::standing)
    }

    /// A read-only connection to this ledger's views.
    ///
    /// # Errors
    ///
    /// SQLite's, if the file cannot be opened.
    pub fn views(&self) -> Result<rusqlite::Connection, LedgerError> {
        open_views(&self.path)
    }

    /// Refuses further records, applies all that were accepted, syncs, and ends the ledger's thread.
    /// A second call does nothing.
    ///
    /// # Errors
    ///
    /// What kept the last records out of the tables; they are in the journal, and the next start
    /// applies them. [`LedgerError::Unavailable`] if some never reached the journal.
    pub fn close(&self) -> Result<(), LedgerError> {
        let thread = self.applier.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(thread) = thread else { return Ok(()) };
        let upkeep = self.upkeep.lock().unwrap_or_else(PoisonError::into_inner).take();
        upkeep.into_iter().for_each(Upkeep::stop);
        // The last connection to be closed is the owner's, which leaves no file of SQLite's behind.
        *self.adjustments.lock().unwrap_or_else(PoisonError::into_inner) = Adjustments::default();
        self.journal.close();
        let ended = thread.join();
        // Once the tables have everything that is to be sent.
        let feeder = self.feeder.lock().unwrap_or_else(PoisonError::into_inner).take();
        feeder.into_iter().for_each(Feeder::stop);
        if let Some(syncer) = &self.syncer {
            syncer.close();
        }
        ended.unwrap_or_else(|_| Err(LedgerError::Unavailable { reason: "its thread died".to_owned() }))?;
        if self.healthy() {
            return Ok(());
        }
        Err(LedgerError::Unavailable { reason: "the disk refused the last records".to_owned() })
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        // Whoever wants to know calls `close`; the journal keeps what the tables could not take.
        let _ = self.close();
    }
}

/// The same path for one database however it is spelt, so that lock and journal are found again.
fn canonical(path: &Path) -> Result<PathBuf, LedgerError> {
    if let Ok(existing) = path.canonicalize() {
        return Ok(existing);
    }
    let folder = segment::folder_of(path);
    let folder = folder.canonicalize().map_err(file_error("find the folder of the ledger", folder))?;
    Ok(folder.join(path.file_name().unwrap_or_default()))
}

/// Looks at what stands at `database` and beside it, before SQLite does: it would begin a new database beside
/// the journal of one that is gone, and drop that one's write-ahead log.
fn check_files(database: &Path) -> Result<(), LedgerError> {
    if database.metadata().is_ok_and(|file| file.len() > 0) {
        let writable = OpenOptions::new().write(true).open(database);
        return writable.map(drop).map_err(file_error("write", database));
    }
    let segments = segment::list(database)?.into_iter().map(|number| segment::path_of(database, number));
    let log = segment::beside(database, "-wal");
    let log = log.metadata().is_ok_and(|file| file.len() > 0).then_some(log);
    match segments.chain(log).next() {
        Some(left) => Err(LedgerError::Gone { path: database.to_path_buf(), left }),
        None => Ok(()),
    }
}

/// Whether a process has the ledger open.
fn is_owned(database: &Path) -> bool {
    let Ok(file) = File::open(segment::beside(database, ".lock")) else { return false };
    matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
}

fn lock(database: &Path) -> Result<File, LedgerError> {
    // The lock goes by the name, and so do SQLite's log and the journal: <https://www.sqlite.org/howtocorrupt.html#_multiple_links_to_the_same_file>
    if let Some(names) = database.metadata().ok().map(|file| file.nlink()).filter(|names| *names > 1) {
        return Err(LedgerError::Linked { path: database.to_path_buf(), names });
    }
    let path = segment::beside(database, ".lock");
    let options = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
    let file = options.map_err(file_error("create", &path))?;
    // A process that is being started by one that had the ledger holds the lock until it has become itself.
    let held = |locked: &Result<(), TryLockError>| matches!(locked, Err(TryLockError::WouldBlock));
    let mut locked = file.try_lock();
    let since = Instant::now();
    while held(&locked) && since.elapsed() < LEDGER_LOCK_PATIENCE {
        std::thread::sleep(LEDGER_LOCK_PATIENCE / 20);
        locked = file.try_lock();
    }
    match locked {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(LedgerError::InUse { path: database.to_path_buf(), lock: path }),
        Err(TryLockError::Error(source)) => Err(LedgerError::File { action: "lock", path, source }),
    }
}
