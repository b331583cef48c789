//! The local side: which requests changed and are not in the mirror yet, and their rows.
//!
//! Triggers note every request that changes, in the transaction of the change and whoever makes it: the gateway, an
//! import, a repair. They stand in the file for as long as a mirror is configured. What the mirror has is deleted; the last
//! noted change stays, so that numbers never begin anew.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use rusqlite::types::ValueRef;
use rusqlite::{CachedStatement, Connection, OpenFlags, OptionalExtension as _, TransactionBehavior, params};

use crate::ledger::error::{LedgerError, database_error};
use crate::limits::{MIRROR_BATCH_BYTES_MAX, MIRROR_BATCH_REQUESTS_MAX};

/// How long the gateway, which writes at the same time, is waited for.
const BUSY: Duration = Duration::from_secs(10);

const CREATE: &str = "
CREATE TABLE mirror_changes (
    seq INTEGER PRIMARY KEY, request_id TEXT NOT NULL, at INTEGER NOT NULL DEFAULT (unixepoch())
) STRICT;
-- `feed` is the number of this list of changes, `begun` when it began, `acked` the last change that the mirror has.
CREATE TABLE mirror_feed (
    one INTEGER PRIMARY KEY CHECK (one = 1), feed INTEGER NOT NULL, begun INTEGER NOT NULL, acked INTEGER NOT NULL
) STRICT;
CREATE TRIGGER mirror_request_inserted AFTER INSERT ON requests
BEGIN INSERT INTO mirror_changes (request_id) VALUES (NEW.request_id); END;
CREATE TRIGGER mirror_request_updated AFTER UPDATE ON requests
BEGIN INSERT INTO mirror_changes (request_id) VALUES (NEW.request_id); END;
-- What else changes an attempt changes its request as well.
CREATE TRIGGER mirror_attempt_interrupted AFTER UPDATE ON attempts WHEN NEW.fate = 'interrupted'
BEGIN INSERT INTO mirror_changes (request_id) VALUES (NEW.request_id); END;
";

const DROP: &str = "
DROP TRIGGER IF EXISTS mirror_request_inserted; DROP TRIGGER IF EXISTS mirror_request_updated;
DROP TRIGGER IF EXISTS mirror_attempt_interrupted;
DROP TABLE IF EXISTS mirror_changes; DROP TABLE IF EXISTS mirror_feed;";

const EXISTS: &str = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'mirror_feed')";

/// How far the list of changes has been fed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Feed {
    /// The number of the list: another one knows nothing of what this one noted.
    pub(super) feed: i64,
    /// When it began, in seconds since the Unix epoch.
    pub(super) begun: i64,
    /// The last change that the mirror has.
    pub(super) acked: i64,
}

/// Rows on their way, as they are now.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Batch {
    /// The last change that it covers, where it is made of changes.
    pub(super) seq: Option<i64>,
    /// The requests.
    pub(super) ids: Vec<String>,
    /// Their rows as a JSON array of objects without what is null.
    pub(super) requests: String,
    /// Their attempts' rows, likewise.
    pub(super) attempts: String,
    /// How many rows those are.
    pub(super) rows: u64,
}

/// What waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Waiting {
    /// Changes, some of them of the same request.
    pub(super) changes: u64,
    /// When the oldest of them was made, in seconds since the Unix epoch.
    pub(super) oldest: Option<i64>,
}

/// The list of changes of one ledger.
pub(super) struct Outbox {
    connection: Connection,
    ledger: i64,
    feed: Feed,
}

impl Outbox {
    /// Opens the list, and begins it where there is none.
    pub(super) fn open(path: &Path) -> Result<Self, LedgerError> {
        let open = || -> rusqlite::Result<Self> {
            let mut connection = connect(path)?;
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            if !transaction.query_row(EXISTS, [], |row| row.get::<_, bool>(0))? {
                transaction.execute_batch(CREATE)?;
                let begin = "INSERT INTO mirror_feed (one, feed, begun, acked) VALUES (1, ?1, unixepoch(), 0)";
                transaction.execute(begin, [fastrand::i64(1..)])?;
            }
            let columns = "SELECT feed, begun, acked FROM mirror_feed";
            let feed = transaction
                .query_row(columns, [], |row| Ok(Feed { feed: row.get(0)?, begun: row.get(1)?, acked: row.get(2)? }))?;
            let ledger = transaction.query_row("SELECT ledger FROM journal", [], |row| row.get(0))?;
            transaction.commit()?;
            Ok(Self { connection, ledger, feed })
        };
        open().map_err(database_error("note changes in"))
    }

    /// Ends the list: what changes from now on is not noted. A mirror that is configured later gets every row again.
    pub(super) fn drop(path: &Path) -> Result<(), LedgerError> {
        let drop = || -> rusqlite::Result<()> {
            let connection = connect(path)?;
            if connection.query_row(EXISTS, [], |row| row.get::<_, bool>(0))? {
                connection.execute_batch(&format!("BEGIN IMMEDIATE; {DROP} COMMIT;"))?;
            }
            Ok(())
        };
        drop().map_err(database_error("forget the changes in"))
    }

    /// The number of the ledger.
    pub(super) fn ledger(&self) -> i64 {
        self.ledger
    }

    /// How far the list has been fed.
    pub(super) fn feed(&self) -> Feed {
        self.feed
    }

    /// The connection, for reading.
    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The rows of the next changes; `None`: there are none.
    pub(super) fn changes(&mut self) -> Result<Option<Batch>, LedgerError> {
        let acked = self.feed.acked;
        self.read(|connection| {
            let sql = "SELECT seq, request_id FROM mirror_changes WHERE seq > ?1 ORDER BY seq LIMIT ?2";
            let mut changes = connection.prepare_cached(sql)?;
            let mut changes = changes.query(params![acked, MIRROR_BATCH_REQUESTS_MAX])?;
            let (mut rows, mut seen, mut seq) = (Rows::new(connection)?, HashSet::new(), None);
            while let Some(change) = changes.next()? {
                if rows.are_enough() {
                    break;
                }
                seq = Some(change.get(0)?);
                let id: String = change.get(1)?;
                if seen.insert(id.clone()) {
                    rows.add(id)?;
                }
            }
            Ok(seq.map(|seq| Batch { seq: Some(seq), ..rows.finish() }))
        })
    }

    /// The rows of the requests behind `id` in the order of ids; `None`: there are none.
    pub(super) fn behind(&mut self, id: &str) -> Result<Option<Batch>, LedgerError> {
        self.read(|connection| {
            let sql = "SELECT request_id FROM requests WHERE request_id > ?1 ORDER BY request_id LIMIT ?2";
            let mut ids = connection.prepare_cached(sql)?;
            let mut ids = ids.query(params![id, MIRROR_BATCH_REQUESTS_MAX])?;
            let mut rows = Rows::new(connection)?;
            while let Some(row) = ids.next()? {
                if rows.are_enough() {
                    break;
                }
                rows.add(row.get(0)?)?;
            }
            Ok(Some(rows.finish()).filter(|batch| !batch.ids.is_empty()))
        })
    }

    /// How many requests there are behind `id`.
    pub(super) fn count_behind(&self, id: &str) -> Result<u64, LedgerError> {
        let sql = "SELECT count(*) FROM requests WHERE request_id > ?1";
        let count = self.connection.query_row(sql, [id], |row| row.get::<_, i64>(0));
        count.map(i64::unsigned_abs).map_err(database_error("read"))
    }

    /// Notes that the mirror has the changes up to `seq`.
    pub(super) fn ack(&mut self, seq: i64) -> Result<(), LedgerError> {
        let ack = |connection: &mut Connection| -> rusqlite::Result<()> {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            transaction.execute("UPDATE mirror_feed SET acked = ?1", [seq])?;
            transaction.execute("DELETE FROM mirror_changes WHERE seq < ?1", [seq])?;
            transaction.commit()
        };
        ack(&mut self.connection).map_err(database_error("write"))?;
        self.feed.acked = seq;
        Ok(())
    }

    /// What waits.
    pub(super) fn waiting(&self) -> Result<Waiting, LedgerError> {
        let last = "SELECT ifnull(max(seq), 0) FROM mirror_changes";
        let oldest = "SELECT at FROM mirror_changes WHERE seq > ?1 ORDER BY seq LIMIT 1";
        let read = || -> rusqlite::Result<Waiting> {
            let last: i64 = self.connection.prepare_cached(last)?.query_row([], |row| row.get(0))?;
            let mut oldest = self.connection.prepare_cached(oldest)?;
            let oldest = oldest.query_row([self.feed.acked], |row| row.get(0)).optional()?;
            Ok(Waiting { changes: (last - self.feed.acked).max(0).unsigned_abs(), oldest })
        };
        read().map_err(database_error("read"))
    }

    /// Reads as of one moment.
    fn read<T>(&mut self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, LedgerError> {
        let read = |connection: &mut Connection| {
            let transaction = connection.transaction()?;
            read(&transaction)
        };
        read(&mut self.connection).map_err(database_error("read"))
    }
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    // A note that is lost with the power is made again by feeding the same rows once more.
    connection.execute_batch("PRAGMA synchronous = NORMAL; PRAGMA cache_size = -2048;")?;
    Ok(connection)
}

/// Rows being read.
struct Rows<'c> {
    of_request: Table<'c>,
    of_attempts: Table<'c>,
    ids: Vec<String>,
}

impl<'c> Rows<'c> {
    fn new(connection: &'c Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            of_request: Table::new(connection, "SELECT * FROM requests WHERE request_id = ?1")?,
            of_attempts: Table::new(connection, "SELECT * FROM attempts WHERE request_id = ?1")?,
            ids: Vec::new(),
        })
    }

    fn are_enough(&self) -> bool {
        self.of_request.json.len() + self.of_attempts.json.len() > MIRROR_BATCH_BYTES_MAX
    }

    /// Adds the request, if it was not forgotten meanwhile.
    fn add(&mut self, id: String) -> rusqlite::Result<()> {
        if self.of_request.add(&id)? > 0 {
            self.of_attempts.add(&id)?;
            self.ids.push(id);
        }
        Ok(())
    }

    fn finish(self) -> Batch {
        let rows = self.of_request.rows + self.of_attempts.rows;
        let [requests, attempts] = [self.of_request.json, self.of_attempts.json].map(|json| format!("[{json}]"));
        Batch { seq: None, ids: self.ids, requests, attempts, rows }
    }
}

/// Rows of one table as JSON objects with commas between them.
struct Table<'c> {
    statement: CachedStatement<'c>,
    /// The columns' names, as JSON.
    names: Vec<String>,
    json: String,
    rows: u64,
}

impl<'c> Table<'c> {
    fn new(connection: &'c Connection, sql: &str) -> rusqlite::Result<Self> {
        let statement = connection.prepare_cached(sql)?;
        let names = statement.column_names().map(|name| format!("\"{name}\":")).collect();
        Ok(Self { statement, names, json: String::new(), rows: 0 })
    }

    /// Adds what the statement finds of `id`; gives how many rows that is.
    fn add(&mut self, id: &str) -> rusqlite::Result<u64> {
        let mut found = 0;
        let mut rows = self.statement.query([id])?;
        while let Some(row) = rows.next()? {
            self.json.push_str(if self.rows + found == 0 { "{" } else { ",{" });
            let mut is_first = true;
            for (column, name) in self.names.iter().enumerate() {
                let value = match row.get_ref(column)? {
                    ValueRef::Integer(number) => number.to_string(),
                    ValueRef::Text(text) => text_of(text),
                    ValueRef::Null | ValueRef::Real(_) | ValueRef::Blob(_) => continue,
                };
                if !is_first {
                    self.json.push(',');
                }
                is_first = false;
                self.json.push_str(name);
                self.json.push_str(&value);
            }
            self.json.push('}');
            found += 1;
        }
        self.rows += found;
        Ok(found)
    }
}

/// Text as JSON. Postgres has no zero character in its texts; one that is not stored must not hold up all that are.
fn text_of(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let text = if text.contains('\0') { text.replace('\0', "\u{fffd}").into() } else { text };
    serde_json::Value::from(text.as_ref()).to_string()
}
