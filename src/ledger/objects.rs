//! Objects that providers keep for teams: responses, conversations, files, batches. Who made one is known by its id, and nobody
//! else may name it.
//!
//! A row is written when a provider says that it keeps something, and goes when that is deleted or has expired. The ids are
//! the providers' own; the first team that has one keeps it.

use rusqlite::{Connection, OptionalExtension as _, params};

use crate::ledger::error::{LedgerError, database_error};
use crate::ledger::record::Kept;

/// The table.
macro_rules! tables {
    () => {
        "
CREATE TABLE objects (
    id TEXT PRIMARY KEY NOT NULL, kind TEXT NOT NULL, provider TEXT NOT NULL, team TEXT NOT NULL,
    created_ms INTEGER NOT NULL, expires_ms INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX objects_by_end ON objects (expires_ms) WHERE expires_ms IS NOT NULL;
"
    };
}
pub(super) use tables;

/// Where an object is, and whose it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Holder {
    /// What it is, in one word.
    pub kind: String,
    /// The provider row that keeps it.
    pub provider: String,
    /// The team that it belongs to.
    pub team: String,
}

/// Who keeps an object, as far as the tables show it; `None`: nobody is known to.
///
/// # Errors
///
/// SQLite's.
pub fn holder(views: &Connection, id: &str) -> Result<Option<Holder>, LedgerError> {
    let sql = "SELECT kind, provider, team FROM objects WHERE id = ?1";
    let read = |row: &rusqlite::Row<'_>| Ok(Holder { kind: row.get(0)?, provider: row.get(1)?, team: row.get(2)? });
    views
        .prepare_cached(sql)
        .and_then(|mut statement| statement.query_row([id], read).optional())
        .map_err(database_error("read"))
}

/// Writes down what was told, and lets go of what has expired by then.
pub(super) fn write(connection: &Connection, told: &[Kept<'_>]) -> rusqlite::Result<()> {
    let Some(now_ms) = told.iter().map(|kept| kept.at_ms).max() else { return Ok(()) };
    for Kept { id, kind, provider, team, at_ms, expires_ms, is_gone } in told {
        if *is_gone {
            let sql = "DELETE FROM objects WHERE id = ?1 AND team = ?2";
            connection.prepare_cached(sql)?.execute(params![id, team])?;
            continue;
        }
        let sql =
            "INSERT INTO objects (id, kind, provider, team, created_ms, expires_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                   ON CONFLICT DO NOTHING";
        connection.prepare_cached(sql)?.execute(params![id, kind, provider, team, at_ms, expires_ms])?;
    }
    connection.prepare_cached("DELETE FROM objects WHERE expires_ms < ?1")?.execute([now_ms]).map(drop)
}
