//! Reads a journal without applying it: for a look before an upgrade, and for `verify`.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use crate::ledger::error::{LedgerError, file_error};
use crate::ledger::frame::{self, FRAME_HEAD_BYTES, Found};
use crate::ledger::record::Record;
use crate::limits::LEDGER_BATCH_BYTES_MAX;

/// What stands in a stretch of a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Inspected {
    /// Whole records with right checksums.
    pub(super) records: u64,
    /// Those of them that begin at or after the place that was asked about.
    pub(super) records_behind: u64,
    /// A record begins, or the last one ends, at that place.
    pub(super) place_fits: bool,
    /// Bytes behind the last whole record; 0 unless a write was torn.
    pub(super) torn_bytes: u64,
}

/// Reads the frames from byte `from` to byte `end`, and says how `place` lies among them.
///
/// # Errors
///
/// [`LedgerError::Unreadable`] as a replay would give it.
pub(super) fn inspect(file: &File, path: &Path, from: u64, end: u64, place: u64) -> Result<Inspected, LedgerError> {
    let mut seen = Inspected { place_fits: place == from, ..Inspected::default() };
    let mut buffer = Vec::new();
    let mut offset = from;
    let unreadable = |offset, found| LedgerError::Unreadable { path: path.to_path_buf(), offset, found };
    while offset < end {
        let left = usize::try_from(end - offset).unwrap_or(usize::MAX);
        buffer.resize(left.min(LEDGER_BATCH_BYTES_MAX), 0);
        file.read_exact_at(&mut buffer, offset).map_err(file_error("read", path))?;
        let mut length = 0;
        while let Found::Payload(payload) = frame::read(&buffer[length..]) {
            let at = offset + length as u64;
            postcard::from_bytes::<Record<'_>>(payload).map_err(|_| unreadable(at, "a record of another shape"))?;
            length += FRAME_HEAD_BYTES + payload.len();
            seen.records += 1;
            seen.records_behind += u64::from(at >= place);
            seen.place_fits |= offset + length as u64 == place;
        }
        if length == 0 {
            seen.torn_bytes = end - offset;
            buffer.resize(left, 0);
            file.read_exact_at(&mut buffer, offset).map_err(file_error("read", path))?;
            return if frame::any_frame_in(&buffer[1..]) {
                Err(unreadable(offset, "a damaged frame, with whole ones behind it"))
            } else {
                Ok(seen)
            };
        }
        offset += length as u64;
    }
    Ok(seen)
}
