//! Whether a start could have the ledger, and whether it would find anything to apply, found out without touching it: for
//! `farthing check`, and for what is wrong without it.

use std::fs::OpenOptions;
use std::path::Path;

use crate::ledger::error::{LedgerError, a_folder, file_error};
use crate::ledger::recover::{self, Damage, Left};
use crate::ledger::schema::open_views;
use crate::ledger::tables::Tables;
use crate::ledger::{canonical, check_files, is_owned, segment};

/// What [`super::Ledger::open`] would say of `path`, as far as that can be known. That a process has it open is fine.
///
/// # Errors
///
/// Those of [`super::Ledger::open`].
pub fn preview(path: &Path) -> Result<(), LedgerError> {
    let path = canonical(path)?;
    if path.is_dir() {
        return Err(a_folder(&path));
    }
    may_write_beside(&path)?;
    check_files(&path)?;
    if is_owned(&path) || !path.metadata().is_ok_and(|file| file.len() > 0) {
        return Ok(());
    }
    let tables = Tables::of(open_views(&path)?);
    recover::check_all(
        &Left::all(&path, tables.ledger_number()?, Damage::Refuse)?,
        tables.position()?,
        &path,
        Damage::Refuse,
    )
    .map(drop)
}

/// How many records the journal has that the tables lack, though no process has the ledger open: one that was killed left
/// them, and the next start applies them. A copy without its journal has none.
///
/// # Errors
///
/// Those of [`super::Ledger::open`] that come from the journal.
pub fn left_over(path: &Path) -> Result<u64, LedgerError> {
    let path = canonical(path)?;
    if is_owned(&path) || segment::list(&path)?.is_empty() {
        return Ok(0);
    }
    let tables = Tables::of(open_views(&path)?);
    let journal = Left::all(&path, tables.ledger_number()?, Damage::Refuse)?;
    recover::check_all(&journal, tables.position()?, &path, Damage::Refuse)
}

/// The lock, the journal and SQLite's own files are made beside the ledger.
fn may_write_beside(path: &Path) -> Result<(), LedgerError> {
    let lock = segment::beside(path, ".lock");
    if lock.exists() {
        return OpenOptions::new().write(true).open(&lock).map(drop).map_err(file_error("write", &lock));
    }
    let probe = segment::beside(path, &format!(".probe-{}", std::process::id()));
    let made = OpenOptions::new().write(true).create_new(true).open(&probe);
    made.map_err(file_error("create", &lock))?;
    std::fs::remove_file(&probe).map_err(file_error("delete", &probe))
}
