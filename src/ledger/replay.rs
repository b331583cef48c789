//! Reads a stretch of a segment in chunks and applies it batch by batch.
//!
//! The same code serves the applier, whose stretches end in whole frames, and the start-up, whose last
//! stretch may end in a torn one.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use crate::ledger::batch::Batch;
use crate::ledger::error::{LedgerError, database_error, file_error};
use crate::ledger::frame::{self, FRAME_HEAD_BYTES, Found};
use crate::ledger::journal::Position;
use crate::ledger::record::Record;
use crate::ledger::tables::Tables;
use crate::limits::LEDGER_BATCH_BYTES_MAX;

/// How a stretch ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Replayed {
    /// Records applied.
    pub(super) records: u64,
    /// Bytes behind the last whole frame; 0 unless the stretch ends in a torn write.
    pub(super) torn_bytes: u64,
}

/// Applies the frames of `file` from `position` up to byte `end`, moving `position` along with each
/// committed batch, also when a later one fails. `buffer` is grown to one batch and kept.
///
/// # Errors
///
/// [`LedgerError::Unreadable`] if damage is followed by readable frames.
pub(super) fn apply_stretch(
    tables: &mut Tables,
    file: &File,
    path: &Path,
    position: &mut Position,
    end: u64,
    buffer: &mut Vec<u8>,
) -> Result<Replayed, LedgerError> {
    let mut replayed = Replayed::default();
    while position.offset < end {
        let left = usize::try_from(end - position.offset).unwrap_or(usize::MAX);
        buffer.resize(left.min(LEDGER_BATCH_BYTES_MAX), 0);
        file.read_exact_at(buffer, position.offset).map_err(file_error("read", path))?;
        let unreadable = |offset, found| LedgerError::Unreadable { path: path.to_path_buf(), offset, found };
        let (batch, length) =
            gather(buffer).map_err(|at| unreadable(position.offset + at as u64, "a record of another shape"))?;
        if length == 0 {
            replayed.torn_bytes = end - position.offset;
            let tail = read_tail(file, path, *position, end)?;
            return if frame::any_frame_in(&tail[1..]) {
                Err(unreadable(position.offset, "a damaged frame, with whole ones behind it"))
            } else {
                Ok(replayed)
            };
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
fn gather(bytes: &[u8]) -> Result<(Batch<'_>, usize), usize> {
    let mut batch = Batch::default();
    let mut length = 0;
    while let Found::Payload(payload) = frame::read(&bytes[length..]) {
        batch.add(postcard::from_bytes::<Record<'_>>(payload).map_err(|_| length)?);
        length += FRAME_HEAD_BYTES + payload.len();
    }
    Ok((batch, length))
}

/// Everything from `position` on: at most a segment.
fn read_tail(file: &File, path: &Path, position: Position, end: u64) -> Result<Vec<u8>, LedgerError> {
    let mut tail = vec![0; usize::try_from(end - position.offset).unwrap_or(usize::MAX)];
    file.read_exact_at(&mut tail, position.offset).map_err(file_error("read", path))?;
    Ok(tail)
}
