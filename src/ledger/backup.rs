//! A copy of a ledger as of one moment, made beside a running owner and without its help.
//!
//! The tables are copied in one read transaction; what the journal holds beyond them is replayed onto the
//! copy. The journal's files are opened first: those that the owner deletes meanwhile stay readable, and
//! what it had not applied when the copy began is in one of them. So everything is there that was appended
//! before the backup began. The copy is a single file, looked through before it takes its name.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use crate::ledger::error::{LedgerError, a_folder, database_error, file_error};
use crate::ledger::recover::{self, Damage, Left, Recovered};
use crate::ledger::schema::open_views;
use crate::ledger::tables::Tables;
use crate::ledger::verify::{Progress, Verified, verify};
use crate::ledger::{canonical, segment};

/// What may stand where the backup goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Existing {
    /// A file there is an error.
    Keep,
    /// A file there is replaced, in one step.
    Replace,
}

/// A backup that was made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BackedUp {
    /// Where it is.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// Records that were in the journal alone.
    pub records_replayed: u64,
    /// What a look through it saw; no findings.
    pub verified: Verified,
}

/// Copies the ledger at `source` to the file `destination`.
///
/// # Errors
///
/// [`LedgerError::Exists`]; [`LedgerError::Unsound`] if the copy does not stand a look through it, as it is
/// with a damaged original; [`LedgerError::OlderBehind`]; else what went wrong with which file. Nothing stands at
/// `destination` then that was not there before.
pub fn backup(
    source: &Path,
    destination: &Path,
    existing: Existing,
    progress: &mut dyn FnMut(Progress),
) -> Result<BackedUp, LedgerError> {
    source.metadata().map_err(file_error("open", source))?;
    let (source, destination) = (canonical(source)?, canonical(destination)?);
    check_destination(&source, &destination, existing)?;
    let partial = Partial::at(segment::beside(&destination, ".partial"))?;
    progress(Progress::Pages);
    let records_replayed = copy(&source, &partial.0)?;
    let verified = verify(&partial.0, progress)?;
    if let Some(first) = verified.findings.first() {
        let found = format!("{}: {}", first.subject, first.what);
        return Err(LedgerError::Unsound { path: source, found, more: verified.found - 1 });
    }
    let bytes = partial.0.metadata().map_err(file_error("read", &partial.0))?.len();
    partial.publish(&destination)?;
    Ok(BackedUp { path: destination, bytes, records_replayed, verified })
}

/// Files of SQLite or of a journal beside the destination would become part of the copy.
fn check_destination(source: &Path, destination: &Path, existing: Existing) -> Result<(), LedgerError> {
    if destination.is_dir() {
        return Err(a_folder(destination));
    }
    if destination == source {
        return Err(LedgerError::OntoItself { path: source.to_path_buf() });
    }
    if destination.exists() && existing == Existing::Keep {
        return Err(LedgerError::Exists { path: destination.to_path_buf() });
    }
    let journal = segment::list(destination)?.into_iter().map(|number| segment::path_of(destination, number));
    let logs = ["-wal", "-journal"].map(|ending| segment::beside(destination, ending));
    match journal.chain(logs.into_iter().filter(|log| log.exists())).next() {
        Some(path) => Err(LedgerError::InTheWay { path }),
        None => Ok(()),
    }
}

/// Gives how many records only the journal had.
fn copy(source: &Path, partial: &Path) -> Result<u64, LedgerError> {
    let tables = open_views(source)?;
    let ledger =
        tables.query_row("SELECT ledger FROM journal", [], |row| row.get(0)).map_err(database_error("read"))?;
    let journal = Left::all(source, ledger, Damage::Refuse)?;
    let name = partial.to_string_lossy();
    tables.execute("VACUUM INTO ?1", [&*name]).map_err(database_error("copy"))?;
    let connection = Connection::open(partial).map_err(database_error("open"))?;
    let mut copied = Tables::of(connection);
    let mut position = copied.position()?;
    let mut recovered = Recovered::default();
    if copied.are_older()? {
        // The program that wrote them can replay; this one would have to upgrade them first.
        if recover::check_all(&journal, position, source, Damage::Refuse)? > 0 {
            return Err(LedgerError::OlderBehind { path: source.to_path_buf() });
        }
    } else {
        recover::replay_all(&mut copied, &journal, &mut position, source, Damage::Refuse, &mut recovered)?;
    }
    drop(copied);
    Ok(recovered.records_replayed)
}

/// A copy that is not finished; it goes when it is dropped.
struct Partial(PathBuf);

impl Partial {
    /// What an earlier try left is begun anew.
    fn at(path: PathBuf) -> Result<Self, LedgerError> {
        let partial = Self(path);
        partial.remove();
        // SQLite's own words for a folder that is not there, or not to be written, name neither.
        let probe = OpenOptions::new().write(true).create_new(true).open(&partial.0);
        probe.map(drop).map_err(file_error("create", &partial.0))?;
        Ok(partial)
    }

    /// Gives it its name, durably.
    fn publish(self, destination: &Path) -> Result<(), LedgerError> {
        let file = File::open(&self.0).and_then(|file| file.sync_all());
        file.map_err(file_error("sync", &self.0))?;
        std::fs::rename(&self.0, destination).map_err(file_error("create", destination))?;
        let folder = segment::folder_of(destination);
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(file_error("sync", folder))
    }

    fn remove(&self) {
        for ending in ["", "-journal", "-wal", "-shm"] {
            // Most are not there.
            let _ = std::fs::remove_file(segment::beside(&self.0, ending));
        }
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        self.remove();
    }
}
