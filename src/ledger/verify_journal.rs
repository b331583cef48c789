//! The journal's part of `verify`: every segment's header, every frame's checksum, and where the tables are in it.
//!
//! The owner may go on meanwhile: it appends behind what is read here, and deletes segments that the tables
//! have passed.

use std::io::ErrorKind;
use std::path::Path;

use rusqlite::Connection;

use crate::ledger::error::{LedgerError, database_error};
use crate::ledger::journal::Position;
use crate::ledger::recover::{Damage, Left};
use crate::ledger::segment::{self, HEADER_BYTES};
use crate::ledger::verify::Verified;

/// What was read of the journal.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct JournalSeen {
    /// Segments that stand beside the database.
    pub segments: u64,
    /// Records in them, each with its checksum.
    pub records: u64,
    /// Those that the tables did not have yet.
    pub records_unapplied: u64,
    /// Bytes of a last write that was not finished.
    pub torn_bytes: u64,
    /// Bytes before readable records that had not been synced when the machine stopped.
    pub lost_bytes: u64,
}

pub(super) fn verify(tables: &Connection, database: &Path, seen: &mut Verified) -> Result<(), LedgerError> {
    let position = tables.query_row("SELECT ledger, segment, offset FROM journal", [], |row| {
        let offset = row.get::<_, i64>(2)?.unsigned_abs();
        Ok((row.get::<_, i64>(0)?, Position { segment: row.get(1)?, offset }))
    });
    let (ledger, position) = match position.map_err(database_error("read")) {
        Ok(read) => read,
        Err(LedgerError::Damaged { source }) => {
            seen.find("tables", source.to_string());
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    let found = segment::list(database)?;
    if found.is_empty() && position.segment > 0 {
        seen.notes.push("no journal stands beside it, as with a backup".to_owned());
    } else if position.segment > 0 && !found.contains(&position.segment) && !seen.owned {
        let name = segment::name_of(&segment::path_of(database, position.segment));
        seen.find(name, "it is missing, and the tables have not passed it");
    }
    let mut journal = Vec::new();
    for number in found {
        match Left::open(database, number, ledger, Damage::Refuse) {
            // The owner is done with it.
            Err(LedgerError::File { source, .. }) if source.kind() == ErrorKind::NotFound => {}
            opened => journal.extend(found_in(number, opened, database, seen)?),
        }
    }
    for left in &journal {
        let looked = look(left, &journal, database, position, seen);
        seen.journal.segments += u64::from(found_in(left.number, looked, database, seen)?.is_some());
    }
    Ok(())
}

/// What is wrong inside a segment is a finding; that it cannot be read at all is an error.
fn found_in<T>(
    number: u32,
    looked: Result<T, LedgerError>,
    database: &Path,
    seen: &mut Verified,
) -> Result<Option<T>, LedgerError> {
    match looked {
        Ok(looked) => Ok(Some(looked)),
        Err(error @ LedgerError::File { .. }) => Err(error),
        Err(error) => {
            seen.find(segment::name_of(&segment::path_of(database, number)), error.to_string());
            Ok(None)
        }
    }
}

fn look(
    left: &Left,
    journal: &[Left],
    database: &Path,
    position: Position,
    seen: &mut Verified,
) -> Result<(), LedgerError> {
    let place = match left.number.cmp(&position.segment) {
        std::cmp::Ordering::Less => left.length,
        std::cmp::Ordering::Equal => position.offset,
        std::cmp::Ordering::Greater => HEADER_BYTES,
    };
    let (read, lost) = left.inspect(HEADER_BYTES, place, journal, Damage::Refuse)?;
    let name = segment::name_of(&segment::path_of(database, left.number));
    seen.journal.records += read.records;
    seen.journal.records_unapplied += read.records_behind;
    seen.journal.torn_bytes += lost.torn_bytes;
    seen.journal.lost_bytes += lost.lost_bytes;
    // An owner may be in the middle of a write.
    if lost.torn_bytes > 0 && !seen.owned {
        seen.notes.push(format!("`{name}` ends in {} bytes of an unfinished write", lost.torn_bytes));
    }
    if lost.lost_bytes > 0 {
        let what = format!(
            "{} bytes of it are lost, which had not been synced when the machine stopped; the next start goes on with \
             the records behind them",
            lost.lost_bytes
        );
        seen.find(name.as_str(), what);
    }
    if left.number == position.segment && !read.place_fits {
        let what = format!("the tables are at byte {place} of it, where no record ends");
        seen.find(name, what);
    }
    Ok(())
}
