//! The journal's part of `verify`: every segment's header, every frame's checksum, and where the tables are in it.
//!
//! The owner may go on meanwhile: it appends behind what is read here, and deletes segments that the tables
//! have passed.

use std::fs::File;
use std::io::ErrorKind;
use std::path::Path;

use rusqlite::Connection;

use crate::ledger::error::{LedgerError, database_error, file_error};
use crate::ledger::inspect;
use crate::ledger::journal::Position;
use crate::ledger::segment::{self, HEADER_BYTES, Standing};
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
    for number in found {
        let path = segment::path_of(database, number);
        let file = match File::open(&path) {
            // The owner is done with it.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            opened => opened.map_err(file_error("open", &path))?,
        };
        let looked = look(&file, &path, number, ledger, position, seen);
        match looked {
            Ok(()) => seen.journal.segments += 1,
            Err(error @ LedgerError::File { .. }) => return Err(error),
            Err(error) => seen.find(segment::name_of(&path), error.to_string()),
        }
    }
    Ok(())
}

fn look(
    file: &File,
    path: &Path,
    number: u32,
    ledger: i64,
    position: Position,
    seen: &mut Verified,
) -> Result<(), LedgerError> {
    let length = file.metadata().map_err(file_error("read", path))?.len();
    match segment::standing(file, path, number, ledger)? {
        Standing::Unfinished => return Ok(()),
        Standing::OtherVersion(found) => {
            let (path, wanted) = (path.to_path_buf(), segment::VERSION);
            return Err(LedgerError::TooNew { path, found, wanted, written_by: None });
        }
        Standing::Readable => {}
    }
    let place = match number.cmp(&position.segment) {
        std::cmp::Ordering::Less => length,
        std::cmp::Ordering::Equal => position.offset,
        std::cmp::Ordering::Greater => HEADER_BYTES,
    };
    let read = inspect::inspect(file, path, HEADER_BYTES, length, place)?;
    seen.journal.records += read.records;
    seen.journal.records_unapplied += read.records_behind;
    seen.journal.torn_bytes += read.torn_bytes;
    // An owner may be in the middle of a write.
    if read.torn_bytes > 0 && !seen.owned {
        seen.notes.push(format!(
            "`{}` ends in {} bytes of an unfinished write",
            segment::name_of(path),
            read.torn_bytes
        ));
    }
    if number == position.segment && !read.place_fits {
        let what = format!("the tables are at byte {place} of it, where no record ends");
        seen.find(segment::name_of(path), what);
    }
    Ok(())
}
