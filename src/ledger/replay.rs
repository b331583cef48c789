//! Reads a stretch of a segment in chunks and applies it batch by batch.
//!
//! The same code serves the applier, whose stretches end in whole frames, and the start-up, which may meet
//! places where no frame starts; what those mean is in `recover`.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use crate::ledger::batch::Batch;
use crate::ledger::error::{LedgerError, database_error, file_error};
use crate::ledger::frame::{self, Found, Seal};
use crate::ledger::journal::Position;
use crate::ledger::record::Record;
use crate::ledger::tables::Tables;
use crate::limits::LEDGER_BATCH_BYTES_MAX;

/// How a stretch ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Replayed {
    /// Records applied.
    pub(super) records: u64,
    /// Bytes that are left where no whole frame starts; 0 if the stretch was read to its end.
    pub(super) rest_bytes: u64,
}

/// A segment's file, to be read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source<'f> {
    pub(super) file: &'f File,
    pub(super) path: &'f Path,
    pub(super) seal: Seal,
}

impl Source<'_> {
    /// Fills `buffer` from byte `offset` on.
    pub(super) fn read(&self, buffer: &mut [u8], offset: u64) -> Result<(), LedgerError> {
        self.file.read_exact_at(buffer, offset).map_err(file_error("read", self.path))
    }

    pub(super) fn unreadable(&self, offset: u64, found: &'static str) -> LedgerError {
        LedgerError::Unreadable { path: self.path.to_path_buf(), offset, found }
    }
}

/// Applies the frames of `source` from `position` up to byte `end` or the first place where none starts, moving
/// `position` along with each committed batch, also when a later one fails. `buffer` is grown to one batch and kept.
///
/// # Errors
///
/// [`LedgerError::Unreadable`] if a whole frame is no record; the system's and SQLite's errors.
pub(super) fn apply_stretch(
    tables: &mut Tables,
    source: Source<'_>,
    position: &mut Position,
    end: u64,
    buffer: &mut Vec<u8>,
) -> Result<Replayed, LedgerError> {
    let mut replayed = Replayed::default();
    while position.offset < end {
        let left = usize::try_from(end - position.offset).unwrap_or(usize::MAX);
        buffer.resize(left.min(LEDGER_BATCH_BYTES_MAX), 0);
        source.read(buffer, position.offset)?;
        let (batch, length) = gather(buffer, source.seal, position.offset)
            .map_err(|at| source.unreadable(position.offset + at as u64, "a record of another shape"))?;
        if length == 0 {
            replayed.rest_bytes = end - position.offset;
            return Ok(replayed);
        }
        let reached = Position { offset: position.offset + length as u64, ..*position };
        replayed.records += batch.records();
        tables.apply(batch, reached).map_err(database_error("write"))?;
        *position = reached;
    }
    Ok(replayed)
}

/// The whole frames at the start of `bytes` as a batch, and their length in bytes.
///
/// # Errors
///
/// The offset of a whole frame whose payload is no record.
fn gather(bytes: &[u8], seal: Seal, offset: u64) -> Result<(Batch<'_>, usize), usize> {
    let mut batch = Batch::default();
    let mut length = 0;
    loop {
        let found = frame::read(&bytes[length..], seal, offset + length as u64);
        match found {
            Found::Payload(payload) => batch.add(postcard::from_bytes::<Record<'_>>(payload).map_err(|_| length)?),
            Found::Mark(_) => {}
            Found::Partial | Found::Damaged => return Ok((batch, length)),
        }
        length += found.bytes();
    }
}
