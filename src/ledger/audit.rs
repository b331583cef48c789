//! Who did what to the books by hand, and with what: closed a month, re-rated, imported an export, forgot rows.
//!
//! Rows are added and never altered; the database refuses. `sha256` is of what was written (a statement) or read (a price
//! file, an export), so that it can be told later whether that is still the same.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, params};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::ledger::error::{LedgerError, database_error};

/// How long a gateway that is writing is waited for.
const BUSY: Duration = Duration::from_secs(10);

/// A statement was closed.
pub const CLOSED: &str = "statement close";
/// Prices were corrected.
pub const RERATED: &str = "ledger rerate";
/// A provider's export was imported.
pub const RECONCILED: &str = "reconcile";
/// Rows were forgotten.
pub const FORGOTTEN: &str = "ledger compact";

/// The table, also of an older ledger that gets it.
macro_rules! tables {
    () => {
        "
CREATE TABLE audit (
    audit_id INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, who TEXT NOT NULL, action TEXT NOT NULL, subject TEXT NOT NULL,
    sha256 TEXT NOT NULL, facts TEXT NOT NULL
) STRICT;
CREATE TRIGGER audit_never_changes BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'rows of the audit are never changed'); END;
CREATE TRIGGER audit_is_kept BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'rows of the audit are never deleted'); END;
-- `INSERT OR REPLACE` deletes without asking the trigger above.
CREATE TRIGGER audit_is_not_replaced BEFORE INSERT ON audit
WHEN EXISTS (SELECT 1 FROM audit WHERE audit_id = NEW.audit_id)
BEGIN SELECT RAISE(ABORT, 'rows of the audit are never replaced'); END;
"
    };
}
pub(super) use tables;

/// Something that is done by hand.
#[derive(Clone, PartialEq, Debug)]
pub struct Act<'a> {
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// By whom, such as `cli:ops`.
    pub who: &'a str,
    /// What, in the words of the command.
    pub action: &'a str,
    /// To what or with what: a team's month, a file.
    pub subject: &'a str,
    /// A SHA-256 of what was written or read, in hexadecimal; empty: of nothing.
    pub sha256: &'a str,
    /// What came of it.
    pub facts: Value,
}

impl Act<'_> {
    /// Notes it, in the transaction of what is done where there is one.
    pub(super) fn note(&self, connection: &Connection) -> rusqlite::Result<()> {
        let Self { at_ms, who, action, subject, sha256, facts } = self;
        connection
            .execute(
                "INSERT INTO audit (at_ms, who, action, subject, sha256, facts) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![at_ms, who, action, subject, sha256, facts.to_string()],
            )
            .map(drop)
    }

    /// Notes it in the ledger at `path`, also while a gateway has it open.
    ///
    /// # Errors
    ///
    /// The database's.
    pub fn note_in(&self, path: &Path) -> Result<(), LedgerError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        Connection::open_with_flags(path, flags)
            .and_then(|connection| {
                connection.busy_timeout(BUSY)?;
                connection.execute_batch("PRAGMA synchronous = FULL")?;
                self.note(&connection)
            })
            .map_err(database_error("write the audit of"))
    }
}

/// A row of the audit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Acted {
    /// Its number.
    pub id: i64,
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// By whom.
    pub who: String,
    /// What.
    pub action: String,
    /// To what or with what.
    pub subject: String,
    /// A SHA-256 of what was written or read.
    pub sha256: String,
    /// What came of it, as JSON.
    pub facts: String,
}

/// All rows, oldest first; none of a ledger of an earlier version.
///
/// # Errors
///
/// The database's.
pub fn acts(views: &Connection) -> Result<Vec<Acted>, LedgerError> {
    read(views).map_err(database_error("read"))
}

pub(super) fn read(views: &Connection) -> rusqlite::Result<Vec<Acted>> {
    let known = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'audit')";
    if !views.query_row(known, [], |row| row.get::<_, bool>(0))? {
        return Ok(Vec::new());
    }
    let acted = |row: &rusqlite::Row<'_>| {
        let [who, action, subject, sha256, facts] = [row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?, row.get(6)?];
        Ok(Acted { id: row.get(0)?, at_ms: row.get(1)?, who, action, subject, sha256, facts })
    };
    let sql = "SELECT audit_id, at_ms, who, action, subject, sha256, facts FROM audit ORDER BY audit_id";
    views.prepare(sql)?.query_map([], acted)?.collect()
}

/// How the audit names somebody at a prompt.
pub fn at_prompt(user: &str) -> String {
    format!("cli:{user}")
}

/// How the audit names a statement.
pub(super) fn statement(team: &str, month: &str) -> String {
    format!("{month} {team}")
}

/// The SHA-256 of bytes, in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(hash: &[u8]) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads on and keeps a hash of everything that was read.
pub struct Hashing<R> {
    inner: R,
    hash: Sha256,
}

impl<R> Hashing<R> {
    /// Of what `inner` gives.
    pub fn new(inner: R) -> Self {
        Self { inner, hash: Sha256::new() }
    }

    /// The SHA-256 of what was read, in hexadecimal.
    pub fn sha256(self) -> String {
        hex(&self.hash.finalize())
    }
}

impl<R: std::io::Read> std::io::Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hash.update(&buffer[..count]);
        Ok(count)
    }
}
