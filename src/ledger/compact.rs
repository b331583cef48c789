//! Gives the disk back what a ledger does not need: free pages of the tables, applied segments of the journal.
//!
//! The ledger must be ours alone. SQLite rewrites the file in one transaction of its write-ahead log: a
//! process that dies in the middle leaves the tables as they were.

use std::path::Path;

use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::ledger::error::{LedgerError, database_error, file_error};
use crate::ledger::recover::{self, Damage, Recovered};
use crate::ledger::retention::Forgotten;
use crate::ledger::tables::Tables;
use crate::ledger::{canonical, check_files, lock, segment};

/// What compacting did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Compacted {
    /// Size of the database and its journal before, in bytes.
    pub bytes_before: u64,
    /// The same afterwards.
    pub bytes_after: u64,
    /// What was older than what is kept.
    pub forgotten: Forgotten,
    /// What an earlier process had left to do.
    pub recovered: Recovered,
}

/// What is known of a mirror, and what becomes of rows that it lacks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mirrored {
    /// One is configured: a row that it lacks is not forgotten.
    Configured,
    /// None is. If the gateway fed one the last time, it counts.
    NotConfigured,
    /// Whatever it lacks is forgotten.
    Ignored,
}

/// Compacts the ledger at `path`, once the rows of the months before `keep` are gone: its first day, in a zone.
///
/// # Errors
///
/// [`LedgerError::InUse`] while a process has it open; those of [`super::Ledger::open`]; SQLite's, among them that
/// the disk has no room for a second copy; [`LedgerError::NotMirrored`], and nothing is forgotten. The ledger is whole in any case.
pub fn compact(path: &Path, keep: Option<(Date, &TimeZone)>, mirrored: Mirrored) -> Result<Compacted, LedgerError> {
    path.metadata().map_err(file_error("open", path))?;
    let path = canonical(path)?;
    let _lock = lock(&path)?;
    check_files(&path)?;
    let bytes_before = size(&path)?;
    let mut tables = Tables::open_upgraded(&path, Damage::Refuse)?;
    let (_segment, recovered) = recover::recover(&mut tables, &path, Damage::Refuse)?;
    if let Some((first, zone)) = keep.filter(|_| mirrored != Mirrored::Ignored) {
        let lacks = tables.lacks_mirror(first, zone).map_err(database_error("read"))?;
        if lacks.unwrap_or(mirrored == Mirrored::Configured) {
            return Err(LedgerError::NotMirrored { before: first.to_string() });
        }
    }
    let forgotten = match keep {
        Some((first, zone)) => tables.forget(first, zone).map_err(database_error("compact"))?,
        None => Forgotten::default(),
    };
    tables.vacuum().map_err(database_error("compact"))?;
    tables.checkpoint().map_err(database_error("checkpoint"))?;
    drop(tables);
    Ok(Compacted { bytes_before, bytes_after: size(&path)?, forgotten, recovered })
}

fn size(path: &Path) -> Result<u64, LedgerError> {
    let journal = segment::list(path)?.into_iter().map(|number| segment::path_of(path, number));
    let files = [path.to_path_buf(), segment::beside(path, "-wal")].into_iter().chain(journal);
    Ok(files.filter_map(|file| file.metadata().ok()).map(|file| file.len()).sum())
}
