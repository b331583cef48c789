//! Objects that providers keep for teams: responses, conversations, files, batches. Who made one is known by its id, and nobody
//! else may name it.
//!
//! A row is written when a provider says that it keeps something, and goes when that is deleted or has expired. The ids are
//! the providers' own; the first team that has one keeps it. Whoever keeps it shows it to the key, project or region only that
//! made it: by which way into the row that was, is written down too, as a hash of address and reference.

use std::borrow::Cow;

use rusqlite::{Connection, OptionalExtension as _, params};

use crate::ids::{AccessId, AttemptId};
use crate::ledger::balances::Spender;
use crate::ledger::error::{LedgerError, database_error};
use crate::ledger::record::Kept;
use crate::money::NanoUsd;

/// The table.
macro_rules! tables {
    () => {
        "
CREATE TABLE objects (
    id TEXT PRIMARY KEY NOT NULL, kind TEXT NOT NULL, provider TEXT NOT NULL, team TEXT NOT NULL,
    created_ms INTEGER NOT NULL, expires_ms INTEGER, access TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX objects_by_end ON objects (expires_ms) WHERE expires_ms IS NOT NULL;
"
    };
}
pub(super) use tables;

/// What stands between the kind of an object that is charged for once it is done, and the attempt that ordered it.
const ORDERED_BY: char = ':';

/// Where an object is, and whose it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Holder {
    /// What it is, in one word.
    pub kind: String,
    /// The attempt that is charged once it is done; `None`: what it cost was known when it was made.
    pub owed: Option<AttemptId>,
    /// The provider row that keeps it.
    pub provider: String,
    /// The way into it by which it was made; `None`: nobody knows.
    pub access: Option<AccessId>,
    /// The team that it belongs to.
    pub team: String,
}

/// Who keeps an object, as far as the tables show it; `None`: nobody is known to.
///
/// # Errors
///
/// SQLite's.
pub fn holder(views: &Connection, id: &str) -> Result<Option<Holder>, LedgerError> {
    let sql = "SELECT kind, provider, team, access FROM objects WHERE id = ?1";
    let read = |row: &rusqlite::Row<'_>| {
        let kind: String = row.get(0)?;
        let (kind, owed) = match kind.split_once(ORDERED_BY) {
            Some((kind, attempt)) => (kind.to_owned(), attempt.parse().ok()),
            None => (kind, None),
        };
        let access: Option<String> = row.get(3)?;
        let access = access.and_then(|access| access.parse().ok());
        Ok(Holder { kind, owed, provider: row.get(1)?, access, team: row.get(2)? })
    };
    views
        .prepare_cached(sql)
        .and_then(|mut statement| statement.query_row([id], read).optional())
        .map_err(database_error("read"))
}

/// The kind of an object as the table has it.
pub fn kind_of(kind: &str, owed: Option<AttemptId>) -> Cow<'_, str> {
    owed.map_or(Cow::Borrowed(kind), |attempt| format!("{kind}{ORDERED_BY}{attempt}").into())
}

/// An attempt whose cost is not known yet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Owed {
    /// When its request arrived, in milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// The model as the provider spells it; empty: its request named none.
    pub model: String,
    /// What budgets count of it so far.
    pub charged: NanoUsd,
    /// Who pays.
    pub spender: Spender,
    /// The tier that answers; `None`: a model was named.
    pub tier: Option<String>,
    /// The prompt that it was ordered with.
    pub prompt: Option<String>,
    /// Its tokens have been told before, but not what they cost.
    pub are_tokens_known: bool,
}

/// An attempt that has ended and whose cost is not known, as far as the tables show it.
///
/// # Errors
///
/// SQLite's.
pub fn owed(views: &Connection, attempt: AttemptId) -> Result<Option<Owed>, LedgerError> {
    let sql = "SELECT r.at_ms, a.model, coalesce(a.cost_high_nano, a.cost_low_nano), r.team, r.key, r.project, r.user,
                   r.tier, r.prompt, a.input_tokens IS NOT NULL
               FROM attempts_v1 a JOIN requests_v1 r USING (request_id)
               WHERE a.attempt_id = ?1 AND a.fate <> 'open' AND a.cost_nano IS NULL";
    let read = |row: &rusqlite::Row<'_>| {
        let text = |at: usize| row.get::<_, Option<String>>(at).map(Option::unwrap_or_default);
        let spender = Spender { team: text(3)?, key: text(4)?, project: text(5)?, user: text(6)? };
        let (at_ms, model, charged) = (row.get(0)?, text(1)?, NanoUsd(row.get(2)?));
        Ok(Owed {
            at_ms,
            model,
            charged,
            spender,
            tier: row.get(7)?,
            prompt: row.get(8)?,
            are_tokens_known: row.get(9)?,
        })
    };
    views
        .prepare_cached(sql)
        .and_then(|mut statement| statement.query_row([attempt.to_string()], read).optional())
        .map_err(database_error("read"))
}

/// Writes down what was told, and lets go of what has expired by then.
pub(super) fn write(connection: &Connection, told: &[(Kept<'_>, Option<AccessId>)]) -> rusqlite::Result<()> {
    let Some(now_ms) = told.iter().map(|(kept, _)| kept.at_ms).max() else { return Ok(()) };
    for (Kept { id, kind, provider, team, at_ms, expires_ms, is_gone }, access) in told {
        if *is_gone {
            let sql = "DELETE FROM objects WHERE id = ?1 AND team = ?2";
            connection.prepare_cached(sql)?.execute(params![id, team])?;
            continue;
        }
        let sql =
            "INSERT INTO objects (id, kind, provider, team, created_ms, expires_ms, access) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
                   ON CONFLICT DO NOTHING";
        let access = access.map(|access| access.to_string());
        connection.prepare_cached(sql)?.execute(params![id, kind, provider, team, at_ms, expires_ms, access])?;
    }
    connection.prepare_cached("DELETE FROM objects WHERE expires_ms < ?1")?.execute([now_ms]).map(drop)
}
