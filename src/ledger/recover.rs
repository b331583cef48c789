//! The start of a ledger: what an earlier process left is replayed, and what it left open is closed.
//!
//! Every start writes into a new segment, so that nothing is ever appended behind a torn tail. The old
//! segments are deleted only after the tables know everything in them, durably.

use std::fs::File;
use std::path::{Path, PathBuf};

use crate::ledger::error::{LedgerError, database_error, file_error};
use crate::ledger::inspect::{self, Inspected};
use crate::ledger::journal::Position;
use crate::ledger::replay::{self, Replayed};
use crate::ledger::segment::{self, HEADER_BYTES, Segment, Standing};
use crate::ledger::tables::Tables;

/// What the start found.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Recovered {
    /// Records that the earlier process appended and had not applied.
    pub records_replayed: u64,
    /// Attempts that were open: they are now `interrupted`, between 0 and their bound.
    pub attempts_interrupted: u64,
    /// Requests that were open: their status is now `interrupted`.
    pub requests_interrupted: u64,
    /// Bytes of a last write that the earlier process did not finish.
    pub torn_bytes: u64,
    /// The tables have seen a journal and none stands beside them, as in a copy of the database alone:
    /// what had not been applied when the copy was made is not in it.
    pub journal_was_missing: bool,
}

/// Replays, interrupts, and begins a new segment.
pub(super) fn recover(tables: &mut Tables, database: &Path) -> Result<(Segment, Recovered), LedgerError> {
    let ledger = tables.ledger_number()?;
    let mut position = tables.position()?;
    let found = segment::list(database)?;
    let rest: Vec<u32> = found.iter().copied().filter(|number| *number >= position.segment).collect();
    let mut recovered =
        Recovered { journal_was_missing: rest.is_empty() && position.segment > 0, ..Recovered::default() };
    let first = position.segment.max(1);
    for (number, expected) in rest.iter().copied().zip(first..) {
        let left = Left::open(database, number, ledger)?;
        if number != expected {
            return Err(LedgerError::MissingSegment { path: segment::path_of(database, expected) });
        }
        if number != position.segment {
            position = Position::start_of(number);
        }
        let replayed = left.replay(tables, &mut position)?;
        if replayed.torn_bytes > 0 && holds_frames(database, &found, number)? {
            return Err(left.torn_before_others(position.offset));
        }
        recovered.records_replayed += replayed.records;
        recovered.torn_bytes += replayed.torn_bytes;
    }
    let number = found.last().copied().unwrap_or(0).max(position.segment) + 1;
    let next = Segment::create(database, number, ledger)?;
    let interrupted = tables.interrupt_open(Position::start_of(number)).map_err(database_error("write"))?;
    (recovered.attempts_interrupted, recovered.requests_interrupted) = interrupted;
    for number in found {
        let path = segment::path_of(database, number);
        std::fs::remove_file(&path).map_err(file_error("delete", &path))?;
    }
    Ok((next, recovered))
}

/// Reads what [`recover`] would replay, and changes nothing.
///
/// # Errors
///
/// Those of [`recover`] that come from the journal.
pub(super) fn check(tables: &Tables, database: &Path) -> Result<(), LedgerError> {
    let (ledger, position) = (tables.ledger_number()?, tables.position()?);
    let found = segment::list(database)?;
    let rest = found.iter().copied().filter(|number| *number >= position.segment);
    for (number, expected) in rest.zip(position.segment.max(1)..) {
        let left = Left::open(database, number, ledger)?;
        if number != expected {
            return Err(LedgerError::MissingSegment { path: segment::path_of(database, expected) });
        }
        let from = if number == position.segment { position.offset } else { HEADER_BYTES };
        let seen = left.inspect(from)?;
        if seen.torn_bytes > 0 && holds_frames(database, &found, number)? {
            return Err(left.torn_before_others(left.length - seen.torn_bytes));
        }
    }
    Ok(())
}

/// Whether a segment after `number` is longer than its header.
fn holds_frames(database: &Path, found: &[u32], number: u32) -> Result<bool, LedgerError> {
    for later in found.iter().filter(|later| **later > number) {
        let path = segment::path_of(database, *later);
        if path.metadata().map_err(file_error("read", &path))?.len() > HEADER_BYTES {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A segment that an earlier process left.
struct Left {
    path: PathBuf,
    file: File,
    length: u64,
    standing: Standing,
}

impl Left {
    fn open(database: &Path, number: u32, ledger: i64) -> Result<Self, LedgerError> {
        let path = segment::path_of(database, number);
        let file = File::open(&path).map_err(file_error("open", &path))?;
        let length = file.metadata().map_err(file_error("read", &path))?.len();
        let standing = segment::standing(&file, &path, number, ledger)?;
        Ok(Self { path, file, length, standing })
    }

    fn torn_before_others(&self, offset: u64) -> LedgerError {
        let found = "a damaged frame, with a later segment behind it";
        LedgerError::Unreadable { path: self.path.clone(), offset, found }
    }

    fn inspect(&self, from: u64) -> Result<Inspected, LedgerError> {
        match self.standing {
            Standing::Unfinished => Ok(Inspected::default()),
            Standing::OtherVersion(_) if self.length <= from => Ok(Inspected::default()),
            Standing::OtherVersion(found) => Err(self.of_other_version(found)),
            Standing::Readable => inspect::inspect(&self.file, &self.path, from, self.length, from),
        }
    }

    fn of_other_version(&self, found: u32) -> LedgerError {
        LedgerError::TooNew { path: self.path.clone(), found, wanted: segment::VERSION, written_by: None }
    }

    fn replay(&self, tables: &mut Tables, position: &mut Position) -> Result<Replayed, LedgerError> {
        match self.standing {
            Standing::Unfinished => Ok(Replayed { records: 0, torn_bytes: self.length }),
            // Nothing is left to read in it, whatever its shape.
            Standing::OtherVersion(_) if self.length <= position.offset => Ok(Replayed::default()),
            Standing::OtherVersion(found) => Err(self.of_other_version(found)),
            Standing::Readable => {
                replay::apply_stretch(tables, &self.file, &self.path, position, self.length, &mut Vec::new())
            }
        }
    }
}
