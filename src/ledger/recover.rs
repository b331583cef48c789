//! The start of a ledger: what an earlier process left is replayed, and what it left open is closed.
//!
//! Every start writes into a new segment, so that nothing is ever appended behind a torn tail. The old
//! segments are deleted only after the database file itself, not only its write-ahead log, has everything in
//! them, durably.
//!
//! Pages that were not synced reach the disk in any order, so that a power cut may leave a hole with whole
//! frames behind it. Behind the place up to which the journal was synced, that is its torn tail: the frames are
//! applied, and the hole is told. Before that place it is damage, and nothing is done without being asked.

use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::ledger::error::{LedgerError, database_error, file_error};
use crate::ledger::frame::Seal;
use crate::ledger::inspect::{self, Inspected};
use crate::ledger::journal::Position;
use crate::ledger::replay::{self, Source};
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
    /// Bytes before readable records that had not been synced when the machine stopped: what stood there is lost.
    pub lost_bytes: u64,
    /// In how many places.
    pub lost_places: u64,
    /// The tables have seen a journal and none stands beside them, as in a copy of the database alone:
    /// what had not been applied when the copy was made is not in it.
    pub journal_was_missing: bool,
}

/// What happens at damage in what had been on the disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Damage {
    /// Nothing is done.
    Refuse,
    /// What cannot be read is counted as lost, what stands behind it is applied, and the files are kept.
    Skip,
}

/// Replays, interrupts, and begins a new segment.
pub(super) fn recover(
    tables: &mut Tables,
    database: &Path,
    damage: Damage,
) -> Result<(Segment, Recovered), LedgerError> {
    let ledger = tables.ledger_number()?;
    let mut position = tables.position()?;
    let found = segment::list(database)?;
    let rest = found.iter().copied().filter(|number| *number >= position.segment);
    let rest = rest.map(|number| Left::open(database, number, ledger, damage)).collect::<Result<Vec<_>, _>>()?;
    let mut recovered =
        Recovered { journal_was_missing: rest.is_empty() && position.segment > 0, ..Recovered::default() };
    replay_all(tables, &rest, &mut position, database, damage, &mut recovered)?;
    let number = found.last().copied().unwrap_or(0).max(position.segment) + 1;
    let next = Segment::create(database, number, ledger)?;
    let interrupted = tables.interrupt_open(Position::start_of(number)).map_err(database_error("write"))?;
    (recovered.attempts_interrupted, recovered.requests_interrupted) = interrupted;
    let is_whole = tables.checkpoint_if_free().map_err(database_error("checkpoint"))?;
    // With a reader in the way they stay, until a later start. What was salvaged stays in any case.
    if is_whole || damage == Damage::Skip {
        for number in found {
            let path = segment::path_of(database, number);
            match damage {
                Damage::Refuse => std::fs::remove_file(&path).map_err(file_error("delete", &path))?,
                Damage::Skip => {
                    let kept = segment::beside(database, &format!(".salvaged-{number:06}"));
                    std::fs::rename(&path, &kept).map_err(file_error("rename", &path))?;
                }
            }
        }
    }
    Ok((next, recovered))
}

/// Applies what `journal` holds from `position` on, and moves that along.
pub(super) fn replay_all(
    tables: &mut Tables,
    journal: &[Left],
    position: &mut Position,
    database: &Path,
    damage: Damage,
    recovered: &mut Recovered,
) -> Result<(), LedgerError> {
    for (left, expected) in rest_of(journal, *position) {
        if damage == Damage::Refuse {
            left.must_be(expected, database)?;
        }
        let is_behind_a_gap = position.segment > 0 && left.number > position.segment + 1;
        recovered.lost_places += u64::from(is_behind_a_gap);
        if left.number != position.segment {
            *position = Position::start_of(left.number);
        }
        left.replay(tables, position, journal, damage, recovered)?;
    }
    Ok(())
}

/// Reads what [`replay_all`] would apply, and changes nothing. Gives how many records that would be.
///
/// # Errors
///
/// Those of [`replay_all`] that come from the journal.
pub(super) fn check_all(
    journal: &[Left],
    position: Position,
    database: &Path,
    damage: Damage,
) -> Result<u64, LedgerError> {
    let mut records = 0;
    for (left, expected) in rest_of(journal, position) {
        if damage == Damage::Refuse {
            left.must_be(expected, database)?;
        }
        let from = if left.number == position.segment { position.offset } else { HEADER_BYTES };
        records += left.inspect(from, from, journal, damage)?.0.records;
    }
    Ok(records)
}

/// The segments that are not applied yet, each with the number that must be its own.
fn rest_of(journal: &[Left], position: Position) -> impl Iterator<Item = (&Left, u32)> {
    journal.iter().filter(move |left| left.number >= position.segment).zip(position.segment.max(1)..)
}

/// What a place where no whole frame starts is.
enum Broken {
    /// The segment's end, and the journal's: a write that was not finished.
    Torn,
    /// Lost before it was synced; it ends here.
    Hole(u64),
}

/// A segment that an earlier process left, or one that another process writes to while we read.
pub(super) struct Left {
    pub(super) number: u32,
    path: PathBuf,
    file: File,
    pub(super) length: u64,
    standing: Standing,
}

impl Left {
    pub(super) fn open(database: &Path, number: u32, ledger: i64, damage: Damage) -> Result<Self, LedgerError> {
        let path = segment::path_of(database, number);
        let file = File::open(&path).map_err(file_error("open", &path))?;
        let length = file.metadata().map_err(file_error("read", &path))?.len();
        let standing = match segment::standing(&file, &path, number, ledger) {
            // Seals tell whether what stands behind the header is this segment's.
            Err(LedgerError::Unreadable { .. }) if damage == Damage::Skip => {
                Standing::Readable(Seal { version: segment::VERSION, ledger, segment: number })
            }
            standing => standing?,
        };
        Ok(Self { number, path, file, length, standing })
    }

    /// Every segment beside `database`, but for those that its owner deletes meanwhile.
    pub(super) fn all(database: &Path, ledger: i64, damage: Damage) -> Result<Vec<Self>, LedgerError> {
        let mut all = Vec::new();
        for number in segment::list(database)? {
            match Self::open(database, number, ledger, damage) {
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

    fn of_other_version(&self, found: u32) -> LedgerError {
        LedgerError::TooNew { path: self.path.clone(), found, wanted: segment::VERSION, written_by: None }
    }

    /// Its frames, if it has any that we can read; they begin at or behind byte `from`.
    fn source(&self, from: u64) -> Result<Option<Source<'_>>, LedgerError> {
        match self.standing {
            Standing::Readable(seal) => Ok(Some(Source { file: &self.file, path: &self.path, seal })),
            Standing::Unfinished => Ok(None),
            // Nothing is left to read in it, whatever its shape.
            Standing::OtherVersion(_) if self.length <= from => Ok(None),
            Standing::OtherVersion(found) => Err(self.of_other_version(found)),
        }
    }

    /// Whether a later segment is longer than its header.
    fn has_frames_behind(&self, journal: &[Left]) -> bool {
        journal.iter().any(|later| later.number > self.number && later.length > HEADER_BYTES)
    }

    fn replay(
        &self,
        tables: &mut Tables,
        position: &mut Position,
        journal: &[Left],
        damage: Damage,
        recovered: &mut Recovered,
    ) -> Result<(), LedgerError> {
        let Some(source) = self.source(position.offset)? else {
            recovered.torn_bytes += self.unfinished(journal, damage)?;
            return Ok(());
        };
        let mut buffer = Vec::new();
        loop {
            let replayed = replay::apply_stretch(tables, source, position, self.length, &mut buffer)?;
            recovered.records_replayed += replayed.records;
            if replayed.rest_bytes == 0 {
                return Ok(());
            }
            match self.broken(source, position.offset, 0, journal, damage)? {
                Broken::Torn => {
                    recovered.torn_bytes += replayed.rest_bytes;
                    return Ok(());
                }
                Broken::Hole(end) => {
                    recovered.lost_places += 1;
                    recovered.lost_bytes += end - position.offset;
                    position.offset = end;
                }
            }
        }
    }

    /// Reads what stands from byte `from` on, and says how `place` lies in it and what a replay would count as
    /// torn and lost.
    pub(super) fn inspect(
        &self,
        from: u64,
        place: u64,
        journal: &[Left],
        damage: Damage,
    ) -> Result<(Inspected, Recovered), LedgerError> {
        let (mut seen, mut lost) = (Inspected::default(), Recovered::default());
        let Some(source) = self.source(from)? else {
            lost.torn_bytes = self.unfinished(journal, damage)?;
            seen.place_fits = true;
            return Ok((seen, lost));
        };
        let mut from = from;
        loop {
            let part = inspect::inspect(source, from, self.length, place)?;
            seen.records += part.records;
            seen.records_behind += part.records_behind;
            seen.place_fits |= part.place_fits;
            if part.rest_bytes == 0 {
                return Ok((seen, lost));
            }
            let broken_at = self.length - part.rest_bytes;
            match self.broken(source, broken_at, place, journal, damage)? {
                Broken::Torn => {
                    lost.torn_bytes += part.rest_bytes;
                    return Ok((seen, lost));
                }
                Broken::Hole(end) => {
                    lost.lost_places += 1;
                    lost.lost_bytes += end - broken_at;
                    from = end;
                }
            }
        }
    }

    /// Bytes of a header that was not finished; nothing may have been written behind one.
    fn unfinished(&self, journal: &[Left], damage: Damage) -> Result<u64, LedgerError> {
        let refuses = damage == Damage::Refuse && self.has_frames_behind(journal);
        match self.standing {
            Standing::Unfinished if self.length > 0 && refuses => {
                let found = "a header that is not finished, with a later segment behind it";
                Err(LedgerError::Unreadable { path: self.path.clone(), offset: 0, found })
            }
            Standing::Unfinished => Ok(self.length),
            _ => Ok(0),
        }
    }

    /// What is known to be applied had been synced before.
    fn broken(
        &self,
        source: Source<'_>,
        offset: u64,
        applied: u64,
        journal: &[Left],
        damage: Damage,
    ) -> Result<Broken, LedgerError> {
        let next = inspect::resume(source, offset, self.length)?;
        let has_frames_behind = self.has_frames_behind(journal);
        if next.is_none() && !has_frames_behind {
            return Ok(Broken::Torn);
        }
        if damage == Damage::Skip || (source.seal.has_marks() && offset >= applied.max(synced(journal, self.number)?)) {
            return Ok(Broken::Hole(next.unwrap_or(self.length)));
        }
        Err(source.unreadable(
            offset,
            match next {
                Some(_) => "a damaged frame, with whole ones behind it",
                None => "a damaged frame, with a later segment behind it",
            },
        ))
    }
}

/// Up to where `number` is known to have been synced. Marks stand behind what they speak of.
fn synced(journal: &[Left], number: u32) -> Result<u64, LedgerError> {
    let mut synced = 0;
    for left in journal.iter().filter(|left| left.number >= number) {
        if let Standing::Readable(seal) = left.standing {
            let source = Source { file: &left.file, path: &left.path, seal };
            synced = inspect::synced_by_marks(source, HEADER_BYTES, left.length, number)?.max(synced);
        }
    }
    Ok(synced)
}
