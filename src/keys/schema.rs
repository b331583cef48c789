//! The tables of the key store, and the check that a file is one.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::error::{KeysError, database};

/// `PRAGMA application_id`: the letters `FRTK`.
const APPLICATION_ID: u32 = 0x4652_544b;
/// `PRAGMA user_version` of the tables below.
const VERSION: u32 = 1;
/// How long one program waits for another's transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Triggers hold what no program may do, ours included: alter the audit, bring a revoked key back, drop a key.
const TABLES: &str = "
CREATE TABLE keys (
    name TEXT PRIMARY KEY NOT NULL, team TEXT NOT NULL, may TEXT NOT NULL, terms TEXT NOT NULL,
    project TEXT, pipeline TEXT, mode TEXT,
    created_ms INTEGER NOT NULL, expires_ms INTEGER, rotated_ms INTEGER, revoked_ms INTEGER
) STRICT, WITHOUT ROWID;
-- `until_ms` is null for the secret in force, else when the one it was replaced by stands alone.
CREATE TABLE secrets (
    sha256 BLOB PRIMARY KEY NOT NULL CHECK (length(sha256) = 32), name TEXT NOT NULL REFERENCES keys (name),
    prefix TEXT NOT NULL, created_ms INTEGER NOT NULL, until_ms INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX secrets_by_name ON secrets (name);
CREATE TABLE audit (
    audit_id INTEGER PRIMARY KEY AUTOINCREMENT,
    at_ms INTEGER NOT NULL, who TEXT NOT NULL, action TEXT NOT NULL, key TEXT NOT NULL, before TEXT, after TEXT NOT NULL
) STRICT;
CREATE INDEX audit_by_key ON audit (key);
-- Requests to the admin API that must not be done twice: hashes of their `Idempotency-Key` and of what they asked for.
CREATE TABLE repeats (
    token BLOB PRIMARY KEY NOT NULL, request BLOB NOT NULL, name TEXT NOT NULL, at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TRIGGER audit_never_changes BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'rows of the audit are never changed'); END;
CREATE TRIGGER audit_is_kept BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'rows of the audit are never deleted'); END;
-- `INSERT OR REPLACE` deletes without asking the trigger above.
CREATE TRIGGER audit_is_not_replaced BEFORE INSERT ON audit
WHEN EXISTS (SELECT 1 FROM audit WHERE audit_id = NEW.audit_id)
BEGIN SELECT RAISE(ABORT, 'rows of the audit are never replaced'); END;
CREATE TRIGGER revoked_for_good BEFORE UPDATE OF revoked_ms ON keys WHEN OLD.revoked_ms IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'a revoked key stays revoked'); END;
CREATE TRIGGER keys_are_kept BEFORE DELETE ON keys
BEGIN SELECT RAISE(ABORT, 'keys are revoked, not deleted'); END;
";

/// Makes an empty store unless there is one. It takes its name when it is whole, so that nobody meets half of one; only its
/// owner may read it, and SQLite gives the files beside it the same permissions.
pub(super) fn make(path: &Path) -> Result<(), KeysError> {
    let failed = |action| move |source: io::Error| KeysError::File { action, path: path.to_path_buf(), source };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let new = tempfile::Builder::new().prefix(".farthing-keys-").tempfile_in(folder).map_err(failed("make"))?;
    let connection = Connection::open(new.path()).map_err(database("make", path))?;
    let ours = format!("PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION};");
    connection
        .execute_batch(&format!("PRAGMA journal_mode = WAL; BEGIN; {TABLES} {ours} COMMIT;"))
        .and_then(|()| connection.close().map_err(|(_, error)| error))
        .map_err(database("make", path))?;
    if rustix::process::geteuid().is_root() {
        // Whoever owns the folder is who serves, and has to read it.
        let owner = fs::metadata(folder).map_err(failed("make"))?;
        chown(new.path(), Some(owner.uid()), Some(owner.gid())).map_err(failed("make"))?;
    }
    new.as_file().sync_all().map_err(failed("make"))?;
    match new.persist_noclobber(path) {
        Ok(_) => Ok(()),
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(failed("make")(error.error)),
    }
}

/// Copies an open store; the copy takes its name when it is whole.
pub(super) fn copy(from: &Connection, path: &Path, destination: &Path) -> Result<(), KeysError> {
    let failed = |source: io::Error| KeysError::File { action: "copy to", path: destination.to_path_buf(), source };
    let folder = destination.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let new = tempfile::Builder::new().prefix(".farthing-keys-").tempfile_in(folder).map_err(failed)?;
    from.execute("VACUUM INTO ?1", [new.path().to_string_lossy()]).map_err(database("copy", path))?;
    let connection = Connection::open(new.path()).map_err(database("copy", path))?;
    connection
        .execute_batch("PRAGMA journal_mode = WAL")
        .and_then(|()| connection.close().map_err(|(_, error)| error))
        .map_err(database("copy", path))?;
    new.as_file().sync_all().map_err(failed)?;
    new.persist_noclobber(destination).map(drop).map_err(|error| failed(error.error))
}

/// Opens a store that is there.
pub(super) fn open(path: &Path) -> Result<Connection, KeysError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(database("open", path))?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(database("open", path))?;
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, u32>(0));
    let id = pragma("application_id").map_err(database("open", path))?;
    if id != APPLICATION_ID {
        return Err(KeysError::NotOurs { path: path.to_path_buf() });
    }
    let found = pragma("user_version").map_err(database("open", path))?;
    if found != VERSION {
        return Err(KeysError::Newer { path: path.to_path_buf(), found, wanted: VERSION });
    }
    // What was revoked stays revoked also when the power fails.
    connection.execute_batch("PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;").map_err(database("open", path))?;
    Ok(connection)
}
