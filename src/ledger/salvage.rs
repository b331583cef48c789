//! The way on from a damaged journal: everything that can be read is applied, the rest is counted, the files are kept.
//!
//! A start refuses damage in what had been on the disk, since going on loses records; whether it may is for a
//! person to say, and this is how.

use std::path::Path;

use crate::ledger::error::{LedgerError, database_error, file_error};
use crate::ledger::recover::{self, Damage, Recovered};
use crate::ledger::tables::Tables;
use crate::ledger::{canonical, check_files, lock};

/// Replays what the journal of the ledger at `path` still has; its segments stay as `<ledger>.salvaged-<number>`.
///
/// # Errors
///
/// [`LedgerError::InUse`] while a process has it open; those of [`super::Ledger::open`] that are not about damage
/// in the journal.
pub fn salvage(path: &Path) -> Result<Recovered, LedgerError> {
    path.metadata().map_err(file_error("open", path))?;
    let path = canonical(path)?;
    let _lock = lock(&path)?;
    check_files(&path)?;
    let mut tables = Tables::open_upgraded(&path, Damage::Skip)?;
    let (_segment, recovered) = recover::recover(&mut tables, &path, Damage::Skip)?;
    tables.checkpoint().map_err(database_error("checkpoint"))?;
    Ok(recovered)
}
