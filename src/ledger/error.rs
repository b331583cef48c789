//! What can go wrong with the ledger, each with the file concerned.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::ErrorCode;

/// Why the ledger could not be opened, written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// Another process has the ledger open; the lock goes with that process, also when it is killed.
    #[error("ledger `{}` is in use by another process (lock file `{}`)", path.display(), lock.display())]
    InUse {
        /// The database.
        path: PathBuf,
        /// The file that the other process holds locked.
        lock: PathBuf,
    },
    /// The database has other names: a process that opens one of them has another journal and another lock.
    #[error(
        "ledger `{}` is one file under {names} names (hard links), and another process could write it under another; \
         wanted one name: remove the others, or put a copy in the place of this one",
        path.display()
    )]
    Linked {
        /// The database.
        path: PathBuf,
        /// How many names it has.
        names: u64,
    },
    /// The file exists and was not made by us; it has not been touched.
    #[error("`{}` is not a farthing ledger: {found}", path.display())]
    NotALedger {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        found: String,
    },
    /// SQLite would have to write beside the file in order to share it or to read its last changes, and may not.
    #[error(
        "ledger `{}` is in use or was not closed, and cannot be read without leave to write beside it ({source}); wanted \
         that, or a copy made by `farthing ledger backup`", path.display()
    )]
    MayNotShare {
        /// The database.
        path: PathBuf,
        /// SQLite's words.
        source: rusqlite::Error,
    },
    /// The file was written by a later version of Farthing; it has not been touched.
    #[error(
        "ledger `{}` has version {found}{}, and this program reads up to {wanted}; start the program that wrote it, \
         or restore a backup from before the upgrade", path.display(), by(written_by)
    )]
    TooNew {
        /// The database or journal segment.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The latest version that we read.
        wanted: u32,
        /// The version of Farthing that wrote it, if the file says so.
        written_by: Option<String>,
    },
    /// The tables are of an earlier version, and lack what is to be read.
    #[error(
        "ledger `{}` has tables of version {found}, and this program reads those of {wanted}; start this program's gateway \
         on it once", path.display()
    )]
    TooOld {
        /// The database.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The one that we read.
        wanted: u32,
    },
    /// The database is not there, and what belongs to it is: a new one would not fit.
    #[error(
        "ledger `{}` is gone and `{}` is still there; restore the database, or move that file away to begin anew",
        path.display(), left.display()
    )]
    Gone {
        /// Where the database should be.
        path: PathBuf,
        /// A segment of its journal, or its write-ahead log.
        left: PathBuf,
    },
    /// A backup may not take the place of a file.
    #[error("`{}` exists; wanted another name, or `--force` to replace it", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// A backup may not take its original's place.
    #[error("`{}` is the ledger itself; wanted another place for its backup", path.display())]
    OntoItself {
        /// The ledger.
        path: PathBuf,
    },
    /// A file beside a backup would be taken for a part of it.
    #[error("`{}` is in the way: it would be taken for a part of the backup", path.display())]
    InTheWay {
        /// The file.
        path: PathBuf,
    },
    /// The ledger was written by an earlier version, and its journal holds what only that one can add.
    #[error("ledger `{}` is of an earlier version and not up to date; start this program once, or back it up with the one before", path.display())]
    OlderBehind {
        /// The database.
        path: PathBuf,
    },
    /// A copy of the ledger does not stand a look through it.
    #[error("a copy of `{}` is not sound: {found}{}; see `farthing ledger verify`", path.display(), and_more(*more))]
    Unsound {
        /// The original.
        path: PathBuf,
        /// The first thing that was found.
        found: String,
        /// How many more were.
        more: u64,
    },
    /// The mirror cannot be read.
    #[error("the mirror: {reason}")]
    Mirror {
        /// Why not.
        reason: String,
    },
    /// Rows would be forgotten that the mirror does not have.
    #[error(
        "the mirror lacks rows of before {before}, so that none was deleted; let the gateway run until \
         `farthing_mirror_lag_rows` is 0, or take `mirror` out of the configuration and start it once, or delete them \
         all the same with `--unmirrored`"
    )]
    NotMirrored {
        /// The first day that would be kept.
        before: String,
    },
    /// Pages of the database are damaged.
    #[error(
        "the ledger's database is damaged ({source}); keep its files, see `farthing ledger verify`, and restore a backup"
    )]
    Damaged {
        /// SQLite's words.
        source: rusqlite::Error,
    },
    /// The journal beside the database belongs to another database.
    #[error("journal `{}` belongs to another ledger; move it away, or restore the database it was written for", path.display())]
    ForeignJournal {
        /// The segment.
        path: PathBuf,
    },
    /// The journal is damaged where it had been synced: going on would lose records that were promised.
    #[error(
        "journal `{}` is damaged at byte {offset} ({found}), and had been on the disk; restore the file, or run \
         `farthing ledger salvage` to go on with every record of it that can be read", path.display()
    )]
    Unreadable {
        /// The segment.
        path: PathBuf,
        /// Where, in bytes from its start.
        offset: u64,
        /// What was found there.
        found: &'static str,
    },
    /// A segment of the journal is gone while a later one exists.
    #[error(
        "journal segment `{}` is missing, and a later one exists; restore it, or run `farthing ledger salvage` to go \
         on without its records", path.display()
    )]
    MissingSegment {
        /// The segment.
        path: PathBuf,
    },
    /// The journal cannot be written at the moment; the attempt must not leave.
    #[error("the ledger cannot write its journal: {reason}")]
    Unavailable {
        /// The system's words.
        reason: String,
    },
    /// The record is larger than [`crate::limits::LEDGER_RECORD_BYTES_MAX`].
    #[error("a ledger record has more than {wanted} bytes")]
    TooLarge {
        /// The most that is accepted.
        wanted: usize,
    },
    /// [`super::Ledger::close`] has been called.
    #[error("the ledger is closed")]
    Closed,
    /// The views did not catch up in time.
    #[error("the ledger's views are still behind after {waited:?}{}", because(reason))]
    Behind {
        /// How long was waited.
        waited: Duration,
        /// Why the last batch could not be applied, if it could not.
        reason: Option<String>,
    },
    /// A file operation failed.
    #[error("cannot {action} `{}`: {source}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// SQLite refused.
    #[error("cannot {action} the ledger's tables: {source}{}", hint(source))]
    Database {
        /// What was tried.
        action: &'static str,
        /// SQLite's error.
        source: rusqlite::Error,
    },
}

fn by(program: &Option<String>) -> String {
    program.as_ref().map_or_else(String::new, |program| format!(" (of farthing {program})"))
}

/// SQLite says so little when the system refuses it something.
fn hint(source: &rusqlite::Error) -> &'static str {
    match source.sqlite_error_code() {
        Some(ErrorCode::SystemIoFailure) => "; is the disk full, or failing?",
        _ => "",
    }
}

fn and_more(more: u64) -> String {
    if more == 0 { String::new() } else { format!(" (and {more} more)") }
}

fn because(reason: &Option<String>) -> String {
    reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"))
}

/// What is said of a folder where a ledger should be.
pub(super) fn a_folder(path: &Path) -> LedgerError {
    LedgerError::NotALedger { path: path.to_path_buf(), found: "it is a folder; wanted a file".to_owned() }
}

/// Names the action and the file of an I/O error.
pub(super) fn file_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> LedgerError {
    let path = path.to_path_buf();
    move |source| LedgerError::File { action, path, source }
}

/// Names the action of a database error.
pub(super) fn database_error(action: &'static str) -> impl FnOnce(rusqlite::Error) -> LedgerError {
    move |source: rusqlite::Error| match source.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => LedgerError::Damaged { source },
        _ => LedgerError::Database { action, source },
    }
}
