//! Reads a journal without applying it: for a look before an upgrade, for `verify`, and around a hole.

use crate::ledger::error::LedgerError;
use crate::ledger::frame::{self, Found};
use crate::ledger::record::Record;
use crate::ledger::replay::Source;
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
    /// Bytes that are left where no whole frame starts; 0 if the stretch was read to its end.
    pub(super) rest_bytes: u64,
}

/// Reads the frames from byte `from` up to byte `end` or the first place where none starts, and says how
/// `place` lies among them.
///
/// # Errors
///
/// [`LedgerError::Unreadable`] as a replay would give it.
pub(super) fn inspect(source: Source<'_>, from: u64, end: u64, place: u64) -> Result<Inspected, LedgerError> {
    let mut seen = Inspected { place_fits: place == from, ..Inspected::default() };
    let rest = walk(source, from, end, |at, found| {
        if let Found::Payload(payload) = found {
            let record = postcard::from_bytes::<Record<'_>>(payload);
            record.map_err(|_| source.unreadable(at, "a record of another shape"))?;
            seen.records += 1;
            seen.records_behind += u64::from(at >= place);
        }
        seen.place_fits |= at + found.bytes() as u64 == place;
        Ok(())
    })?;
    seen.rest_bytes = end - rest;
    Ok(seen)
}

/// Where the first whole frame starts behind byte `hole`, where none does.
pub(super) fn resume(source: Source<'_>, hole: u64, end: u64) -> Result<Option<u64>, LedgerError> {
    let mut tail = vec![0; usize::try_from(end - hole - 1).unwrap_or(usize::MAX)];
    source.read(&mut tail, hole + 1)?;
    Ok(frame::first_in(&tail, source.seal, hole + 1).map(|start| hole + 1 + start as u64))
}

/// Up to where the marks in a stretch, holes or not, say that `segment` was synced; 0 if none speaks of it.
pub(super) fn synced_by_marks(source: Source<'_>, from: u64, end: u64, segment: u32) -> Result<u64, LedgerError> {
    let (mut synced, mut from) = (0, from);
    loop {
        let hole = walk(source, from, end, |_, found| {
            match found {
                Found::Mark(mark) if mark.segment == segment => synced = mark.offset.max(synced),
                _ => {}
            }
            Ok(())
        })?;
        if hole == end {
            return Ok(synced);
        }
        match resume(source, hole, end)? {
            Some(next) => from = next,
            None => return Ok(synced),
        }
    }
}

/// Shows each whole frame and its place; gives the first place where none starts.
fn walk(
    source: Source<'_>,
    from: u64,
    end: u64,
    mut see: impl FnMut(u64, &Found<'_>) -> Result<(), LedgerError>,
) -> Result<u64, LedgerError> {
    let mut buffer = Vec::new();
    let mut offset = from;
    while offset < end {
        let left = usize::try_from(end - offset).unwrap_or(usize::MAX);
        buffer.resize(left.min(LEDGER_BATCH_BYTES_MAX), 0);
        source.read(&mut buffer, offset)?;
        let mut length = 0;
        loop {
            let at = offset + length as u64;
            let found = frame::read(&buffer[length..], source.seal, at);
            if found.bytes() == 0 {
                break;
            }
            see(at, &found)?;
            length += found.bytes();
        }
        if length == 0 {
            break;
        }
        offset += length as u64;
    }
    Ok(offset)
}
