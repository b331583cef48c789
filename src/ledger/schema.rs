//! The database's tables, views and settings, and the check that a file is ours.
//!
//! Outsiders read `requests_v1` and `attempts_v1`; columns are only ever added to them. The tables
//! behind them may change with [`SCHEMA_VERSION`], each time by a step in `migrate`. Ids are text, so that a look-up by id through a view
//! uses the primary key; they start with the time, so that a range of ids is a range of time.

use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use crate::ids::RequestId;
use crate::ledger::audit;
use crate::ledger::balances;
use crate::ledger::error::{LedgerError, a_folder, database_error};
use crate::ledger::feedback;
use crate::ledger::migrate;
use crate::ledger::objects;
use crate::ledger::rollup;
use crate::ledger::statements;
use crate::ledger::{is_owned, segment};

/// `PRAGMA application_id` of a ledger: the letters `FRTH`.
const APPLICATION_ID: u32 = 0x4652_5448;
/// `PRAGMA user_version` of the tables below.
pub(super) const SCHEMA_VERSION: u32 = 13;

const TABLES: &str = concat!(
    rollup::tables!(),
    "
CREATE TABLE requests (
    request_id TEXT PRIMARY KEY NOT NULL,
    at_ms INTEGER, team TEXT, key TEXT, project TEXT, pipeline TEXT, user TEXT, run TEXT, prompt TEXT,
    task TEXT, tier TEXT, policy TEXT, surface TEXT, model TEXT,
    status TEXT NOT NULL,
    cost_low_nano INTEGER NOT NULL, cost_nano INTEGER, cost_high_nano INTEGER,
    http_status INTEGER, duration_ms INTEGER, first_byte_ms INTEGER, edits TEXT,
    reason TEXT, confidence_ppm INTEGER, needs_strong_ppm INTEGER, session TEXT, would_tier TEXT, would_model TEXT, state TEXT,
    baseline_model TEXT, baseline_nano INTEGER, saved_fallback_nano INTEGER, saved_retry_nano INTEGER,
    saved_compress_nano INTEGER, saved_cache_nano INTEGER, provider_cache_nano INTEGER, arm TEXT,
    cache_lost_nano INTEGER, cache_lost_to TEXT,
    tools_bytes INTEGER, opening_bytes INTEGER, messages_bytes INTEGER, common_tokens INTEGER, prefix_hash INTEGER,
    exact_hash INTEGER, masked_hash INTEGER, masked_system_hash INTEGER, masks INTEGER, read_bytes INTEGER,
    repeated_bytes INTEGER,
    purpose TEXT, caused_by TEXT, transfer_nano INTEGER, transfer_to TEXT, cache_lost_at_tokens INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE attempts (
    attempt_id TEXT PRIMARY KEY NOT NULL,
    request_id TEXT NOT NULL,
    at_ms INTEGER, provider TEXT, model TEXT,
    fate TEXT NOT NULL,
    input_tokens INTEGER, cached_input_tokens INTEGER, cache_write_tokens INTEGER,
    cache_write_1h_tokens INTEGER, output_tokens INTEGER, reasoning_tokens INTEGER,
    cost_low_nano INTEGER NOT NULL, cost_nano INTEGER, cost_high_nano INTEGER,
    source TEXT NOT NULL, price_version TEXT, tokenizer TEXT,
    bound_nano INTEGER, input_tokens_bound INTEGER, output_tokens_bound INTEGER,
    ended_ms INTEGER, provider_status INTEGER, provider_request_id TEXT, overshoot_nano INTEGER,
    reconciled_ms INTEGER, export TEXT, service_tier TEXT, discount_ppm INTEGER,
    priced_tier TEXT, unknown_reason TEXT,
    audio_input_tokens INTEGER, cached_audio_input_tokens INTEGER, audio_output_tokens INTEGER,
    image_input_tokens INTEGER, image_output_tokens INTEGER,
    web_search_calls INTEGER, web_fetch_calls INTEGER, code_interpreter_calls INTEGER, file_search_calls INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX attempts_open ON attempts (attempt_id) WHERE fate = 'open';
CREATE INDEX requests_broken ON requests (request_id) WHERE cache_lost_to IS NOT NULL;
CREATE INDEX requests_open ON requests (request_id) WHERE status = 'open';

-- How far the journal has been applied; `ledger` is the number that its segments carry, `program` the version
-- of Farthing that owned it last.
CREATE TABLE journal (
    one INTEGER PRIMARY KEY CHECK (one = 1), ledger INTEGER NOT NULL,
    segment INTEGER NOT NULL, offset INTEGER NOT NULL, program TEXT
) STRICT;

CREATE VIEW requests_v1 AS SELECT
    request_id, at_ms, team, key, project, pipeline, user, run, prompt, task, tier, policy, surface, model,
    status, cost_low_nano, cost_nano, cost_high_nano, baseline_nano - cost_nano AS saved_nano,
    http_status, duration_ms, first_byte_ms, edits,
    reason, confidence_ppm, needs_strong_ppm, session, would_tier, would_model, state,
    baseline_model, baseline_nano,
    baseline_nano - cost_nano - saved_fallback_nano - saved_retry_nano - saved_compress_nano - saved_cache_nano
        AS saved_route_nano,
    saved_fallback_nano, saved_retry_nano, saved_compress_nano, saved_cache_nano, provider_cache_nano, arm,
    cache_lost_nano, cache_lost_to,
    tools_bytes, opening_bytes, messages_bytes, common_tokens, prefix_hash, exact_hash, masked_hash, masked_system_hash,
    masks, read_bytes, repeated_bytes, purpose, caused_by, transfer_nano, transfer_to, cache_lost_at_tokens
FROM requests;

CREATE VIEW attempts_v1 AS SELECT
    attempt_id, request_id, at_ms, provider, model, fate, input_tokens, cached_input_tokens,
    cache_write_tokens, output_tokens, reasoning_tokens, cost_low_nano, cost_nano, cost_high_nano,
    source, price_version, tokenizer,
    cache_write_1h_tokens, bound_nano, input_tokens_bound, output_tokens_bound, ended_ms,
    provider_status, provider_request_id, overshoot_nano, reconciled_ms, export, service_tier, discount_ppm,
    priced_tier, unknown_reason,
    audio_input_tokens, cached_audio_input_tokens, audio_output_tokens, image_input_tokens, image_output_tokens,
    web_search_calls, web_fetch_calls, code_interpreter_calls, file_search_calls
FROM attempts;
"
);

/// What finds rows for reports. They belong to no version: a ledger that lacks any gets it at the start.
const INDICES: &str = rollup::beside::indices!();

/// What earlier builds had: an index that ids make needless, and triggers that would read every attempt without it. Those
/// are made anew, as the sums that they keep are, when these are wanted next.
const OUTDATED: &str = concat!("DROP INDEX attempts_by_request;", balances::forget_triggers!());

/// Brings the indices to a ledger that lacks any; of one with millions of rows all of them are read once.
pub(super) fn index(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let outdated = "SELECT 1 FROM sqlite_schema WHERE name = 'attempts_by_request'";
    if transaction.prepare(outdated)?.exists([])? {
        transaction.execute_batch(OUTDATED)?;
    }
    transaction.execute_batch(INDICES)?;
    transaction.commit()
}

/// Opens the database at `path` for its owner, creating it if there is none.
///
/// # Errors
///
/// [`LedgerError::NotALedger`] and [`LedgerError::TooNew`] before anything in the file was changed.
pub(super) fn open(path: &Path) -> Result<Connection, LedgerError> {
    let connection = Connection::open(path).map_err(database_error("open"))?;
    connection.busy_timeout(std::time::Duration::from_secs(1)).map_err(database_error("open"))?;
    let fresh = is_fresh(&connection, path)?;
    configure(&connection).map_err(database_error("configure"))?;
    if fresh {
        create(&connection).map_err(database_error("create"))?;
    }
    probe(&connection).map_err(database_error("read"))?;
    Ok(connection)
}

/// Goes down both edges of every tree, which finds a file that was cut or overwritten there, at a price that
/// does not grow with the ledger. `verify` reads the rest.
fn probe(connection: &Connection) -> rusqlite::Result<()> {
    for (table, key) in [("requests", "request_id"), ("attempts", "attempt_id")] {
        let ends = format!("SELECT (SELECT min({key}) FROM {table}), (SELECT max({key}) FROM {table})");
        connection.query_row(&ends, [], |_| Ok(()))?;
        let last = format!("SELECT * FROM {table} ORDER BY {key} DESC LIMIT 1");
        connection.prepare(&last)?.query([])?.next()?;
    }
    Ok(())
}

/// Opens the database at `path` for reading its views, also while another process owns the ledger. Where SQLite may not
/// write beside the file, one that is closed, or a copy of one, is read as it stands.
///
/// # Errors
///
/// [`LedgerError::NotALedger`], [`LedgerError::TooNew`], [`LedgerError::MayNotShare`], or SQLite's own if the file does not
/// exist.
pub fn open_views(path: &Path) -> Result<Connection, LedgerError> {
    if path.is_dir() {
        return Err(a_folder(path));
    }
    match open_shared(path) {
        Err(LedgerError::Database { source, .. }) if path.exists() && may_not_write_beside(&source) => {
            if is_at_rest(path) {
                open_at_rest(path)
            } else {
                Err(LedgerError::MayNotShare { path: path.into(), source })
            }
        }
        opened => opened,
    }
}

/// As [`open_views`], for what reads columns that earlier versions have not got.
///
/// # Errors
///
/// [`LedgerError::TooOld`], else as [`open_views`].
pub fn open_current(path: &Path) -> Result<Connection, LedgerError> {
    let views = open_views(path)?;
    match migrate::version(&views).map_err(database_error("open"))? {
        found if found < SCHEMA_VERSION => {
            Err(LedgerError::TooOld { path: path.to_path_buf(), found, wanted: SCHEMA_VERSION })
        }
        _ => Ok(views),
    }
}

fn open_shared(path: &Path) -> Result<Connection, LedgerError> {
    let connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)
            .map_err(database_error("open"))?;
    connection.busy_timeout(std::time::Duration::from_secs(5)).map_err(database_error("open"))?;
    check_views(connection, path)
}

/// Reads a file that nobody writes to, without asking whether anybody does.
fn open_at_rest(path: &Path) -> Result<Connection, LedgerError> {
    // https://www.sqlite.org/uri.html
    let name = path.to_string_lossy().replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let connection = Connection::open_with_flags(format!("file:{name}?immutable=1"), flags);
    check_views(connection.map_err(database_error("open"))?, path)
}

/// SQLite wants to write beside the file in order to share it, and may not.
fn may_not_write_beside(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen))
}

/// Whether all there is stands in the file, and no process has it open. Who may not look at the lock does not know.
fn is_at_rest(path: &Path) -> bool {
    let lock = segment::beside(path, ".lock");
    let may_look = !lock.exists() || std::fs::File::open(&lock).is_ok();
    may_look && !is_owned(path) && !segment::beside(path, "-wal").metadata().is_ok_and(|log| log.len() > 0)
}

fn check_views(connection: Connection, path: &Path) -> Result<Connection, LedgerError> {
    if is_fresh(&connection, path)? {
        return Err(LedgerError::NotALedger { path: path.to_path_buf(), found: "it is empty".to_owned() });
    }
    Ok(connection)
}

/// The least id that a request or attempt of `at_ms` (milliseconds since the Unix epoch) or later has:
/// `request_id >= first_id_at(…)` reads a range of the primary key where `at_ms >= …` reads the whole table.
///
/// Ids carry the request's arrival.
pub fn first_id_at(at_ms: i64) -> String {
    // RFC 9562 §5.7: the first 48 bits are the milliseconds.
    let at = format!("{:012x}", at_ms.clamp(0, (1 << 48) - 1));
    format!("{}-{}", &at[..8], &at[8..])
}

/// How far the time of a request or an attempt may lie from the one in its id, which is the request's arrival.
const ARRIVED_EARLIER_MS_MAX: i64 = 3_600_000;

/// Whether what has this id and this time is not found by it: earlier builds made ids that never went back where the clock
/// did.
pub(super) fn lies_apart(id: RequestId, at_ms: i64) -> bool {
    let id_ms = id.at_ms();
    at_ms < id_ms.saturating_sub(ARRIVED_EARLIER_MS_MAX) || at_ms > id_ms.saturating_add(ARRIVED_EARLIER_MS_MAX)
}

/// The ids between which (the second left out) all requests and attempts of `from_ms..until_ms` are, among others.
pub(super) fn ids_within(from_ms: i64, until_ms: i64) -> (String, String) {
    let (first, beyond) =
        (from_ms.saturating_sub(ARRIVED_EARLIER_MS_MAX), until_ms.saturating_add(ARRIVED_EARLIER_MS_MAX));
    (first_id_at(first), first_id_at(beyond))
}

pub(super) fn is_fresh(connection: &Connection, path: &Path) -> Result<bool, LedgerError> {
    let refuse = |found: String| LedgerError::NotALedger { path: path.to_path_buf(), found };
    let number = |pragma: &str| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    let application_id = number("application_id").map_err(|source| match source.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => refuse("it is not an SQLite file".to_owned()),
        _ => database_error("open")(source),
    })?;
    let version = number("user_version").map_err(database_error("open"))?;
    let objects: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(database_error("open"))?;
    if application_id == 0 && version == 0 && objects == 0 {
        return Ok(true);
    }
    if application_id != i64::from(APPLICATION_ID) {
        return Err(refuse("it is an SQLite file of another application".to_owned()));
    }
    let version = u32::try_from(version).unwrap_or(u32::MAX);
    if version > SCHEMA_VERSION {
        let written_by = connection.query_row("SELECT program FROM journal", [], |row| row.get(0)).unwrap_or(None);
        let path = path.to_path_buf();
        return Err(LedgerError::TooNew { path, found: version, wanted: SCHEMA_VERSION, written_by });
    }
    Ok(false)
}

fn configure(connection: &Connection) -> rusqlite::Result<()> {
    // NORMAL in WAL mode syncs at checkpoints only: the journal, not SQLite, keeps what was appended.
    connection.execute_batch(
        "PRAGMA page_size = 8192; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 1000;
         PRAGMA journal_size_limit = 33554432; PRAGMA cache_size = -2048; PRAGMA mmap_size = 0;
         PRAGMA temp_store = MEMORY; PRAGMA foreign_keys = OFF;",
    )?;
    // Without it, a statement whose plan might be another for other values is planned anew each time that some are bound:
    // a tenth of the applier's time.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map(drop)
}

fn create(connection: &Connection) -> rusqlite::Result<()> {
    let ledger = fastrand::i64(1..);
    connection.execute_batch(&format!(
        "BEGIN IMMEDIATE; {TABLES} {INDICES} {} {} {} {} {} {}
         INSERT INTO journal (one, ledger, segment, offset) VALUES (1, {ledger}, 0, 0);
         PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;",
        statements::TABLES,
        feedback::tables!(),
        rollup::added!(),
        statements::guards!(),
        audit::tables!(),
        objects::tables!()
    ))
}
