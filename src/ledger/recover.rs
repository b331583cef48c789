//! The start of a ledger: what an earlier process left is replayed, and what it left open is closed.
//!
//! Every start writes into a new segment, so that nothing is ever appended behind a torn tail. The old
//! segments are deleted only after the tables know everything in them, durably.

use std::fs::File;
use std::io::ErrorKind;
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
    let rest = found.iter().copied().filter(|number| *number >= position.segment);
    let rest = rest.map(|number| Left::open(database, number, ledger)).collect::<Result<Vec<_>, _>>()?;
    let mut recovered =
        Recovered { journal_was_missing: rest.is_empty() && position.segment > 0, ..Recovered::default() };
    replay_all(tables, &rest, &mut position, database, &mut recovered)?;
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

/// Applies what `journal` holds from `position` on, and moves that along.
pub(super) fn replay_all(
    tables: &mut Tables,
    journal: &[Left],
    position: &mut Position,
    database: &Path,
    recovered: &mut Recovered,
) -> Result<(), LedgerError> {
    for (left, expected) in rest_of(journal, *position) {
        left.must_be(expected, database)?;
        if left.number != position.segment {
            *position = Position::start_of(left.number);
        }
        let replayed = left.replay(tables, position)?;
        if replayed.torn_bytes > 0 && holds_frames(journal, left.number) {
            return Err(left.torn_before_others(position.offset));
        }
        recovered.records_replayed += replayed.records;
        recovered.torn_bytes += replayed.torn_bytes;
    }
    Ok(())
}

/// Reads what [`replay_all`] would apply, and changes nothing. Gives how many records that would be.
///
/// # Errors
///
/// Those of [`replay_all`] that come from the journal.
pub(super) fn check_all(journal: &[Left], position: Position, database: &Path) -> Result<u64, LedgerError> {
    let mut records = 0;
    for (left, expected) in rest_of(journal, position) {
        left.must_be(expected, database)?;
        let seen = left.inspect(if left.number == position.segment { position.offset } else { HEADER_BYTES })?;
        if seen.torn_bytes > 0 && holds_frames(journal, left.number) {
            return Err(left.torn_before_others(left.length - seen.torn_bytes));
        }
        records += seen.records;
    }
    Ok(records)
}

/// The segments that are not applied yet, each with the number that must be its own.
fn rest_of(journal: &[Left], position: Position) -> impl Iterator<Item = (&Left, u32)> {
    journal.iter().filter(move |left| left.number >= position.segment).zip(position.segment.max(1)..)
}

/// Whether a segment after `number` is longer than its header.
fn holds_frames(journal: &[Left], number: u32) -> bool {
    journal.iter().any(|later| later.number > number && later.length > HEADER_BYTES)
}

/// A segment that an earlier process left, or one that another process writes to while we read.
pub(super) struct Left {
    number: u32,
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
        Ok(Self { number, path, file, length, standing })
    }

    /// Every segment beside `database`, but for those that its owner deletes meanwhile.
    pub(super) fn all(database: &Path, ledger: i64) -> Result<Vec<Self>, LedgerError> {
        let mut all = Vec::new();
        for number in segment::list(database)? {
            match Self::open(database, number, ledger) {
                Err(LedgerError::File { source, .. }) if source.kind() == ErrorKind::NotFound => {}
                opened => all.push(opened?),
            }
        }
        Ok(all)
    }

    fn must_be(&self, expected: u32, database: &Path) -> Result<(), LedgerError> {
        if self.number == expected {
            return Ok(());
        }
        Err(LedgerError::MissingSegment { path: segment::path_of(database, expected) })
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
