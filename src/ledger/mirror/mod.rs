//! A mirror of ledgers in Postgres, fed from what is on the local disk and never on a request's path.
//!
//! [`Feeder`] is the ledger's: a thread that sends the rows of requests that changed ([`outbox`]) to [`remote`], at least
//! once, each time in their state of now. Whatever keeps it from that is tried again for as long as it takes; meanwhile the
//! changes wait in the ledger's file. Reports and comparisons read with [`Reader`].

mod compare;
mod noting;
mod outbox;
mod reader;
mod remote;
mod sides;
pub mod statements;
mod target;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

use crate::ledger::error::{LedgerError, database_error, file_error};
use crate::limits::{MIRROR_BACKOFF, MIRROR_GRACE, MIRROR_INTERVAL};

pub use compare::{Compared, Day, compare};
pub(super) use noting::Noting;
pub use reader::Reader;
pub use target::Target;

use outbox::Outbox;
use remote::{Layout, Remote, in_time};

/// Why a mirror could not be fed or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MirrorError {
    /// The ledger cannot be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// Postgres says no, or cannot be reached.
    #[error("{}", told(.0))]
    Postgres(#[from] tokio_postgres::Error),
    /// It did not answer in time.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// Another process feeds the rows of the same ledger.
    #[error("rows of this ledger came from elsewhere meanwhile; one process may feed a ledger, and a copy of it none")]
    Overtaken,
    /// The database is not one that rows can be put into.
    #[error("the database cannot be used: {0}")]
    Unfit(String),
    /// The certificates of authorities cannot be used.
    #[error("`sslrootcert`: `{}`: {why}", path.display())]
    Roots {
        /// The file.
        path: PathBuf,
        /// Why not.
        why: String,
    },
}

/// Postgres' own words where it has any: a code and a line that quotes no row.
fn told(error: &tokio_postgres::Error) -> String {
    if let Some(error) = error.as_db_error() {
        return format!("{} ({})", error.message(), error.code().code());
    }
    let mut text = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

/// How far a mirror is behind.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Standing {
    /// Changes that the mirror does not have, and earlier rows that have not been copied yet.
    pub rows: u64,
    /// Since when the oldest of them waits, in seconds since the Unix epoch; `None`: nothing does.
    pub since: Option<i64>,
    /// Why nothing can be sent, if the last try failed.
    pub failure: Option<String>,
    /// Times that the mirror was found to have everything.
    pub caught_up: u64,
}

impl Standing {
    /// Age of the oldest change that the mirror does not have.
    pub fn lag(&self) -> Duration {
        let age = |since: i64| now_s().saturating_sub(since).max(0).unsigned_abs();
        Duration::from_secs(self.since.map_or(0, age))
    }
}

fn now_s() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}

/// The thread that feeds a mirror.
#[derive(Debug)]
pub(super) struct Feeder {
    thread: JoinHandle<()>,
    ends: watch::Sender<bool>,
    standing: Arc<Mutex<Standing>>,
}

impl Feeder {
    /// Starts it for the ledger at `path`, which this process owns.
    pub(super) fn start(path: &Path, target: Target) -> Result<Self, LedgerError> {
        let (ends, end) = watch::channel(false);
        let standing = Arc::new(Mutex::new(Standing::default()));
        // Before anything else changes: what does is noted from here on.
        let outbox = Outbox::open(path)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(file_error("start a thread for", path))?;
        let feeding = Feeding { outbox, target, end: end.clone(), standing: standing.clone() };
        let thread = std::thread::Builder::new().name("mirror".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = feeding.run() => {}
                    () = last_moment(end) => {}
                }
            });
        });
        let thread = thread.map_err(file_error("start a thread for", path))?;
        Ok(Self { thread, ends, standing })
    }

    /// How far the mirror is behind.
    pub(super) fn standing(&self) -> Standing {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends it, once the mirror has everything or [`MIRROR_GRACE`] is over. What is left is sent after the next start.
    pub(super) fn stop(self) {
        self.ends.send_replace(true);
        drop(self.thread.join());
    }
}

/// Forgets which changes no mirror has: none is configured.
pub(super) fn forget(path: &Path) -> Result<(), LedgerError> {
    Outbox::drop(path)
}

/// Whether a mirror lacks rows of requests before `id`; `None`: none is fed from this ledger.
pub(super) fn lacks(ledger: &rusqlite::Connection, id: &str) -> rusqlite::Result<Option<bool>> {
    outbox::lacks(ledger, id)
}

async fn last_moment(mut end: watch::Receiver<bool>) {
    ended(&mut end).await;
    tokio::time::sleep(MIRROR_GRACE).await;
}

async fn ended(end: &mut watch::Receiver<bool>) {
    // Whoever could tell is gone: that is an end as well.
    let _ = end.wait_for(|ends| *ends).await;
}

/// The thread's own state.
struct Feeding {
    outbox: Outbox,
    target: Target,
    end: watch::Receiver<bool>,
    standing: Arc<Mutex<Standing>>,
}

impl Feeding {
    async fn run(mut self) {
        let (least, most) = MIRROR_BACKOFF;
        let mut pause = least;
        loop {
            let before = self.outbox.feed();
            let Err(error) = Box::pin(self.feed()).await else { return };
            self.stand(Some(error.to_string()));
            // Something came through: it is another failure.
            pause = if self.outbox.feed() == before { pause } else { least };
            let jitter = Duration::from_millis(fastrand::u64(0..=least.as_millis() as u64));
            tokio::select! {
                () = ended(&mut self.end) => return,
                () = tokio::time::sleep(pause + jitter) => {}
            }
            pause = (pause * 2).min(most);
        }
    }

    /// Sends what there is, until the end or a failure.
    async fn feed(&mut self) -> Result<(), MirrorError> {
        let layout = Layout::of(self.outbox.connection()).map_err(database_error("read"))?;
        let (ledger, feed, patience) = (self.outbox.ledger(), self.outbox.feed(), self.target.patience());
        let mut remote = in_time(patience, Box::pin(Remote::open(&self.target, &layout, ledger, feed))).await?;
        if remote.copied_to.as_deref() == Some("") {
            self.outbox.note_sides()?;
        }
        self.outbox.set_copied(remote.copied_to.is_none())?;
        let mut uncopied = remote.copied_to.as_deref().map_or(Ok(0), |id| self.outbox.count_behind(id))?;
        loop {
            let changes = self.outbox.changes()?;
            let has_changes = changes.is_some();
            if let Some(batch) = changes {
                let copied_to = remote.copied_to.clone();
                in_time(patience, remote.put(&batch, copied_to)).await?;
                self.outbox.ack(remote.position)?;
            }
            if let Some(id) = remote.copied_to.clone() {
                let batch = self.outbox.behind(&id)?.unwrap_or_default();
                uncopied = uncopied.saturating_sub(batch.ids.len() as u64);
                let copied_to = batch.ids.last().cloned();
                in_time(patience, remote.put(&batch, copied_to)).await?;
                self.outbox.set_copied(remote.copied_to.is_none())?;
            }
            self.stand_at(None, remote.copied_to.as_ref().map(|_| uncopied));
            if has_changes || remote.copied_to.is_some() {
                continue;
            }
            if *self.end.borrow() {
                return Ok(());
            }
            tokio::select! {
                () = ended(&mut self.end) => {}
                () = tokio::time::sleep(MIRROR_INTERVAL) => {}
            }
        }
    }

    fn stand(&self, failure: Option<String>) {
        self.stand_at(failure, None);
    }

    /// Tells how far the mirror is behind; `uncopied` are the earlier rows that it does not have yet.
    fn stand_at(&self, failure: Option<String>, uncopied: Option<u64>) {
        let waiting = self.outbox.waiting().unwrap_or_default();
        let mut standing = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        standing.rows = waiting.changes + uncopied.unwrap_or_default();
        standing.since = match uncopied {
            Some(_) => Some(self.outbox.feed().begun),
            None => waiting.oldest,
        };
        if failure.is_none() && standing.rows == 0 && standing.since.is_none() {
            standing.caught_up += 1;
        }
        standing.failure = failure;
    }
}
