//! Making, rotating, changing, revoking and reading keys. Each change is one transaction: the key, its audit row, and what keeps it
//! from being done twice.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row, Transaction, TransactionBehavior, params};
use serde_json::Value;

use super::error::database;
use super::wanted::{mode_of, word_of};
use super::{Asked, AuditRow, KeysError, Made, State, StoredKey, StoredSecret, Who, at, schema, secret};
use crate::limits::STORED_KEYS_MAX;
use crate::problem::nearest_hint;

/// Most rows of the audit that are read at once.
pub const AUDIT_ROWS_MAX: u32 = 1_000;
/// How long an idempotency key is remembered.
const REPEATS_KEPT: Duration = Duration::from_secs(24 * 3600);

/// A request that must not be done twice, by hashes: neither says what was sent.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Repeat {
    /// Of its idempotency key.
    pub token: [u8; 32],
    /// Of what it asks for.
    pub request: [u8; 32],
}

/// An open key store.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
    path: PathBuf,
}

impl Store {
    /// The store at `path`, which is made unless it is there.
    ///
    /// # Errors
    ///
    /// It cannot be made, or as [`Self::open`].
    pub fn open_or_make(path: &Path) -> Result<Self, KeysError> {
        if !path.exists() {
            schema::make(path)?;
        }
        Ok(Self { connection: schema::open(path)?, path: path.to_path_buf() })
    }

    /// The store at `path`, if there is one.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or is something else.
    pub fn open(path: &Path) -> Result<Option<Self>, KeysError> {
        match path.symlink_metadata() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(KeysError::File { action: "find", path: path.to_path_buf(), source }),
            Ok(_) => Ok(Some(Self { connection: schema::open(path)?, path: path.to_path_buf() })),
        }
    }

    /// Changes so far: another number, another state.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn changes(&self) -> Result<i64, KeysError> {
        let last = "SELECT coalesce(max(audit_id), 0) FROM audit";
        self.connection.query_row(last, [], |row| row.get(0)).map_err(database("read", &self.path))
    }

    /// All keys, those that open the door no more included, in the order in which they were made.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or holds what this program does not know.
    pub fn all(&self) -> Result<Vec<StoredKey>, KeysError> {
        let read = self.connection.unchecked_transaction().map_err(database("read", &self.path))?;
        read_keys(&read, &self.path, None)
    }

    /// One key.
    ///
    /// # Errors
    ///
    /// [`KeysError::Unknown`], or as [`Self::all`].
    pub fn one(&self, name: &str) -> Result<StoredKey, KeysError> {
        let read = self.connection.unchecked_transaction().map_err(database("read", &self.path))?;
        known(&read, &self.path, name)
    }

    /// Makes a key.
    ///
    /// # Errors
    ///
    /// The name is taken, the request was done before, or the file cannot be written; nothing was made then.
    pub fn create(
        &mut self,
        asked: &Asked,
        who: &Who,
        now_ms: i64,
        repeat: Option<&Repeat>,
    ) -> Result<Made, KeysError> {
        let (path, change) = self.change()?;
        let failed = || database("write", path);
        done_before(&change, path, repeat, now_ms)?;
        if let Some(key) = read_keys(&change, path, Some(&asked.name))?.pop() {
            return Err(KeysError::Exists { name: asked.name.clone(), revoked: key.revoked_ms.is_some() });
        }
        let count: i64 = change.query_row("SELECT count(*) FROM keys", [], |row| row.get(0)).map_err(failed())?;
        if count >= STORED_KEYS_MAX {
            return Err(KeysError::TooMany);
        }
        let Asked { name, team, may, project, pipeline, mode, terms, expires_ms } = asked;
        let (may, terms) = (text(may)?, text(terms)?);
        change
            .execute(
                "INSERT INTO keys (name, team, may, terms, project, pipeline, mode, created_ms, expires_ms)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
                params![name, team, may, terms, project, pipeline, mode.map(word_of), now_ms, expires_ms],
            )
            .map_err(failed())?;
        let secret = new_secret(&change, path, name, now_ms)?;
        let key = close(change, path, Change { who, now_ms, action: "create", name, before: None }, repeat)?;
        Ok(Made { key, secret })
    }

    /// Gives a key a new secret; the one before opens the door for `overlap` more, and those before that no longer.
    ///
    /// # Errors
    ///
    /// There is no such key, it opens the door no more, the request was done before, or the file cannot be written.
    pub fn rotate(
        &mut self,
        name: &str,
        overlap: Duration,
        who: &Who,
        now_ms: i64,
        repeat: Option<&Repeat>,
    ) -> Result<Made, KeysError> {
        let (path, change) = self.change()?;
        done_before(&change, path, repeat, now_ms)?;
        let before = known(&change, path, name)?;
        let state = before.state(now_ms);
        if state != State::Active {
            return Err(KeysError::Over { name: name.to_owned(), state: state.as_str() });
        }
        let until_ms = now_ms.saturating_add(i64::try_from(overlap.as_millis()).unwrap_or(i64::MAX));
        change
            .execute(
                "UPDATE secrets SET until_ms = min(coalesce(until_ms, ?2), ?2) WHERE name = ?1",
                params![name, until_ms],
            )
            .and_then(|_| change.execute("UPDATE keys SET rotated_ms = ?2 WHERE name = ?1", params![name, now_ms]))
            .map_err(database("write", path))?;
        let secret = new_secret(&change, path, name, now_ms)?;
        let before = Some(before.shown(now_ms));
        let key = close(change, path, Change { who, now_ms, action: "rotate", name, before }, repeat)?;
        Ok(Made { key, secret })
    }

    /// Gives a key other terms, which `change_of` makes of what it is. Where they are those that it has, nothing is written.
    ///
    /// # Errors
    ///
    /// There is no such key, it opens the door no more, `change_of` refuses, or the file cannot be written.
    pub fn update(
        &mut self,
        name: &str,
        who: &Who,
        now_ms: i64,
        change_of: impl FnOnce(&StoredKey) -> Result<Asked, KeysError>,
    ) -> Result<StoredKey, KeysError> {
        let (path, change) = self.change()?;
        let before = known(&change, path, name)?;
        let state = before.state(now_ms);
        if state != State::Active {
            return Err(KeysError::Over { name: name.to_owned(), state: state.as_str() });
        }
        let asked = change_of(&before)?;
        if asked == before.asked {
            return Ok(before);
        }
        let Asked { may, project, pipeline, mode, terms, expires_ms, .. } = &asked;
        let (may, terms) = (text(may)?, text(terms)?);
        change
            .execute(
                "UPDATE keys SET may = ?2, terms = ?3, project = ?4, pipeline = ?5, mode = ?6, expires_ms = ?7
                 WHERE name = ?1",
                params![name, may, terms, project, pipeline, mode.map(word_of), expires_ms],
            )
            .map_err(database("write", path))?;
        let before = Some(before.shown(now_ms));
        close(change, path, Change { who, now_ms, action: "update", name, before }, None)
    }

    /// Revokes a key for good. One that is revoked already stays as it is, and nothing is written.
    ///
    /// # Errors
    ///
    /// There is no such key, or the file cannot be written.
    pub fn revoke(&mut self, name: &str, who: &Who, now_ms: i64) -> Result<StoredKey, KeysError> {
        let (path, change) = self.change()?;
        let before = known(&change, path, name)?;
        if before.revoked_ms.is_some() {
            return Ok(before);
        }
        change
            .execute("UPDATE keys SET revoked_ms = ?2 WHERE name = ?1", params![name, now_ms])
            .map_err(database("write", path))?;
        let before = Some(before.shown(now_ms));
        close(change, path, Change { who, now_ms, action: "revoke", name, before }, None)
    }

    /// Copies the store as of one moment to a file that is not there yet and that its owner alone may read.
    ///
    /// # Errors
    ///
    /// A file stands there, or it cannot be written; then nothing does.
    pub fn backup(&self, destination: &Path) -> Result<(), KeysError> {
        schema::copy(&self.connection, &self.path, destination)
    }

    /// Rows of the audit behind `after`, oldest first, at most [`AUDIT_ROWS_MAX`]; of one key, or of all.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn audit(&self, key: Option<&str>, after: i64, rows_max: u32) -> Result<Vec<AuditRow>, KeysError> {
        let read = || {
            let mut rows = self.connection.prepare(
                "SELECT audit_id, at_ms, who, action, key, before, after FROM audit
                 WHERE audit_id > ?1 AND (?2 IS NULL OR key = ?2) ORDER BY audit_id LIMIT ?3",
            )?;
            let json =
                |text: Option<String>| text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or(Value::Null);
            let row = |row: &Row<'_>| {
                Ok(AuditRow {
                    id: row.get(0)?,
                    at: at(row.get(1)?),
                    who: row.get(2)?,
                    action: row.get(3)?,
                    key: row.get(4)?,
                    before: json(row.get(5)?),
                    after: json(row.get(6)?),
                })
            };
            let found = rows.query_map(params![after, key, rows_max.min(AUDIT_ROWS_MAX)], row)?;
            found.collect::<rusqlite::Result<Vec<_>>>()
        };
        read().map_err(database("read", &self.path))
    }

    #[cfg(test)]
    pub(super) fn connection_for_tests(&self) -> &Connection {
        &self.connection
    }

    /// Begins a change: whoever else wants to change something waits.
    fn change(&mut self) -> Result<(&Path, Transaction<'_>), KeysError> {
        let begun = self.connection.transaction_with_behavior(TransactionBehavior::Immediate);
        Ok((&self.path, begun.map_err(database("write", &self.path))?))
    }
}

/// What the audit is told.
struct Change<'a> {
    who: &'a Who,
    now_ms: i64,
    action: &'static str,
    name: &'a str,
    before: Option<Value>,
}

fn text(value: &impl serde::Serialize) -> Result<String, KeysError> {
    serde_json::to_string(value).map_err(|error| KeysError::Wrong(error.to_string()))
}

/// Writes the audit row and what keeps a request from being done twice, and commits.
fn close(
    change: Transaction<'_>,
    path: &Path,
    about: Change<'_>,
    repeat: Option<&Repeat>,
) -> Result<StoredKey, KeysError> {
    let Change { who, now_ms, action, name, before } = about;
    let key = known(&change, path, name)?;
    let (before, after) = (before.map(|before| before.to_string()), key.shown(now_ms).to_string());
    change
        .execute(
            "INSERT INTO audit (at_ms, who, action, key, before, after) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![now_ms, who.as_str(), action, name, before, after],
        )
        .map_err(database("write", path))?;
    if let Some(Repeat { token, request }) = repeat {
        change
            .execute(
                "INSERT INTO repeats (token, request, name, at_ms) VALUES (?1, ?2, ?3, ?4)",
                params![token, request, name, now_ms],
            )
            .map_err(database("write", path))?;
    }
    change.commit().map_err(database("write", path))?;
    Ok(key)
}

/// Refuses what was done before; forgets what was done long ago.
fn done_before(change: &Transaction<'_>, path: &Path, repeat: Option<&Repeat>, now_ms: i64) -> Result<(), KeysError> {
    let Some(Repeat { token, request }) = repeat else { return Ok(()) };
    let forgotten = now_ms.saturating_sub(i64::try_from(REPEATS_KEPT.as_millis()).unwrap_or(i64::MAX));
    let found = change
        .execute("DELETE FROM repeats WHERE at_ms < ?1", [forgotten])
        .and_then(|_| {
            let found = "SELECT request, name FROM repeats WHERE token = ?1";
            let row = |row: &Row<'_>| Ok((row.get::<_, [u8; 32]>(0)?, row.get::<_, String>(1)?));
            change.query_row(found, params![token], row).optional()
        })
        .map_err(database("write", path))?;
    match found {
        None => Ok(()),
        Some((before, name)) if before == *request => Err(KeysError::Repeated { name }),
        Some(_) => Err(KeysError::RepeatedOtherwise),
    }
}

fn new_secret(
    change: &Transaction<'_>,
    path: &Path,
    name: &str,
    now_ms: i64,
) -> Result<crate::config::Secret, KeysError> {
    let secret = secret::random().ok_or_else(|| KeysError::Wrong("the system gives no random numbers".to_owned()))?;
    change
        .execute(
            "INSERT INTO secrets (sha256, name, prefix, created_ms) VALUES (?1, ?2, ?3, ?4)",
            params![secret::hash(secret.reveal().as_bytes()), name, secret::prefix(&secret), now_ms],
        )
        .map_err(database("write", path))?;
    Ok(secret)
}

fn known(read: &Transaction<'_>, path: &Path, name: &str) -> Result<StoredKey, KeysError> {
    if let Some(key) = read_keys(read, path, Some(name))?.pop() {
        return Ok(key);
    }
    if secret::is_like_one(name) {
        // Errors are shown and logged.
        let hint = "; that looks like its secret, wanted its name".to_owned();
        return Err(KeysError::Unknown { name: "fk-…".to_owned(), hint });
    }
    let all = read_keys(read, path, None)?;
    let hint = nearest_hint(name, all.iter().map(|key| key.asked.name.as_str()));
    Err(KeysError::Unknown { name: crate::config::quoted(name), hint })
}

/// All keys, or the one of this name.
fn read_keys(read: &Transaction<'_>, path: &Path, name: Option<&str>) -> Result<Vec<StoredKey>, KeysError> {
    let mut secrets: HashMap<String, Vec<StoredSecret>> = HashMap::new();
    let damaged = |what: String| KeysError::Damaged { path: path.to_path_buf(), what };
    let mut of_secrets = || -> rusqlite::Result<()> {
        let mut rows = read.prepare_cached(
            "SELECT name, sha256, prefix, until_ms FROM secrets WHERE ?1 IS NULL OR name = ?1
             ORDER BY until_ms IS NOT NULL, created_ms DESC",
        )?;
        let row = |row: &Row<'_>| {
            let secret = StoredSecret { sha256: row.get(1)?, prefix: row.get(2)?, until_ms: row.get(3)? };
            Ok((row.get(0)?, secret))
        };
        for row in rows.query_map([name], row)? {
            let (name, secret): (String, _) = row?;
            secrets.entry(name).or_default().push(secret);
        }
        Ok(())
    };
    of_secrets().map_err(database("read", path))?;
    let of_keys = || -> rusqlite::Result<Vec<_>> {
        let mut rows = read.prepare_cached(
            "SELECT name, team, may, terms, project, pipeline, mode, created_ms, expires_ms, rotated_ms, revoked_ms
             FROM keys WHERE ?1 IS NULL OR name = ?1 ORDER BY created_ms, name",
        )?;
        let row = |row: &Row<'_>| {
            let words = (row.get::<_, String>(2)?, row.get::<_, String>(3)?, row.get::<_, Option<String>>(6)?);
            let asked = Asked {
                name: row.get(0)?,
                team: row.get(1)?,
                may: Default::default(),
                project: row.get(4)?,
                pipeline: row.get(5)?,
                mode: None,
                terms: Default::default(),
                expires_ms: row.get(8)?,
            };
            let key = StoredKey {
                asked,
                secrets: Vec::new(),
                created_ms: row.get(7)?,
                rotated_ms: row.get(9)?,
                revoked_ms: row.get(10)?,
            };
            Ok((key, words))
        };
        rows.query_map([name], row)?.collect()
    };
    let mut keys = Vec::new();
    for (mut key, (may, terms, mode)) in of_keys().map_err(database("read", path))? {
        let broken = |what: &str, why: String| damaged(format!("key `{}`: `{what}`: {why}", key.asked.name));
        key.asked.may = serde_json::from_str(&may).map_err(|error| broken("may", error.to_string()))?;
        key.asked.terms = serde_json::from_str(&terms).map_err(|error| broken("terms", error.to_string()))?;
        key.asked.mode = mode.map(|word| mode_of(&word)).transpose().map_err(|wanted| broken("mode", wanted))?;
        key.secrets = secrets.remove(&key.asked.name).unwrap_or_default();
        keys.push(key);
    }
    Ok(keys)
}
