//! The local side: which requests, statements and words of feedback changed and are not in the mirror yet, and their rows.
//!
//! Triggers note whatever changes, in the transaction of the change and whoever makes it: an import, a repair. They stand in
//! the file for as long as a mirror is configured. What the ledger's own thread puts in and changes it notes by itself, many
//! requests at once ([`super::noting`]): nobody else puts requests in, and a trigger on that would cost each of them. What the mirror has is deleted; the last noted change stays,
//! so that numbers never begin anew.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use rusqlite::types::ValueRef;
use rusqlite::{CachedStatement, Connection, OpenFlags, OptionalExtension as _, TransactionBehavior, params};

use super::sides::{BATCH, FORGET, NOTE_ALL, REQUEST, SIDES, TRIGGERS};
use crate::ledger::error::{LedgerError, database_error};
use crate::limits::{MIRROR_BATCH_BYTES_MAX, MIRROR_BATCH_REQUESTS_MAX};

/// How long the gateway, which writes at the same time, is waited for.
const BUSY: Duration = Duration::from_secs(10);

const CREATE: &str = "
-- `kind` says what `id` is of: 0 a request, 4 many of them, else `sides`.
CREATE TABLE mirror_notes (
    seq INTEGER PRIMARY KEY, kind INTEGER NOT NULL DEFAULT 0, id TEXT NOT NULL, at INTEGER NOT NULL DEFAULT (unixepoch())
) STRICT;
-- `feed` is the number of this list of changes, `begun` when it began, `acked` the last change that the mirror has, `copied`
-- whether it has all that was there before, `by_batch` whether whoever is writing notes requests by itself.
CREATE TABLE mirror_feed (
    one INTEGER PRIMARY KEY CHECK (one = 1), feed INTEGER NOT NULL, begun INTEGER NOT NULL, acked INTEGER NOT NULL,
    copied INTEGER NOT NULL DEFAULT 0, by_batch INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TRIGGER mirror_request_updated AFTER UPDATE ON requests WHEN (SELECT by_batch FROM mirror_feed) = 0
BEGIN INSERT INTO mirror_notes (id) VALUES (NEW.request_id); END;
-- What else changes an attempt changes its request as well.
CREATE TRIGGER mirror_attempt_interrupted AFTER UPDATE ON attempts WHEN NEW.fate = 'interrupted'
BEGIN INSERT INTO mirror_notes (id) VALUES (NEW.request_id); END;
";

/// `mirror_changes` is what an earlier version noted in.
const DROP: &str = "
DROP TRIGGER IF EXISTS mirror_request_inserted; DROP TRIGGER IF EXISTS mirror_request_updated;
DROP TRIGGER IF EXISTS mirror_attempt_interrupted;
DROP TABLE IF EXISTS mirror_changes; DROP TABLE IF EXISTS mirror_notes; DROP TABLE IF EXISTS mirror_feed;";

const LAST: &str = "SELECT ifnull(max(seq), 0) FROM mirror_notes";

const ANY: &str = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name LIKE 'mirror\\_%' ESCAPE '\\')";

/// Whether there is a list, whole, that knows of batches: two tables and seven triggers. A table that was made anew has lost
/// its triggers, and what changed since is not noted.
const IS_WHOLE: &str =
    "SELECT count(*) = 9 AND max(name = 'mirror_feed' AND instr(sql, 'by_batch') > 0) FROM sqlite_schema
    WHERE name LIKE 'mirror\\_%' ESCAPE '\\' AND name <> 'mirror_changes'";

/// Whether a mirror lacks anything of the requests before `?1`, or of what was said: rows that are to be copied, or changes.
const LACKS: &str = "SELECT EXISTS (SELECT 1 FROM mirror_feed WHERE copied = 0) OR EXISTS (
    SELECT 1 FROM mirror_feed f JOIN mirror_notes n ON n.seq > f.acked
    WHERE n.kind = 0 AND n.id < ?1 OR n.kind = 4 AND json_extract(n.id, '$[0]') < ?1 OR n.kind = 3)";

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
    /// Rows of the tables beside those, in the order of [`SIDES`].
    pub(super) sides: [String; SIDES.len()],
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
    /// The last of the notes that all statements and words of feedback were given for a copy of the whole ledger.
    noted: Option<i64>,
}

impl Outbox {
    /// Opens the list, and begins it where there is none.
    pub(super) fn open(path: &Path) -> Result<Self, LedgerError> {
        let open = || -> rusqlite::Result<Self> {
            let mut connection = connect(path)?;
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            if !transaction.query_row(IS_WHOLE, [], |row| row.get::<_, bool>(0))? {
                transaction.execute_batch(&[FORGET, DROP, CREATE, TRIGGERS].concat())?;
                let begin = "INSERT INTO mirror_feed (one, feed, begun, acked) VALUES (1, ?1, unixepoch(), 0)";
                transaction.execute(begin, [fastrand::i64(1..)])?;
            }
            let columns = "SELECT feed, begun, acked FROM mirror_feed";
            let feed = transaction
                .query_row(columns, [], |row| Ok(Feed { feed: row.get(0)?, begun: row.get(1)?, acked: row.get(2)? }))?;
            let ledger = transaction.query_row("SELECT ledger FROM journal", [], |row| row.get(0))?;
            transaction.commit()?;
            Ok(Self { connection, ledger, feed, noted: None })
        };
        open().map_err(database_error("note changes in"))
    }

    /// Ends the list: what changes from now on is not noted. A mirror that is configured later gets every row again.
    pub(super) fn drop(path: &Path) -> Result<(), LedgerError> {
        let drop = || -> rusqlite::Result<()> {
            let connection = connect(path)?;
            if connection.query_row(ANY, [], |row| row.get::<_, bool>(0))? {
                connection.execute_batch(&format!("BEGIN IMMEDIATE; {FORGET} {DROP} COMMIT;"))?;
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
            let sql = "SELECT seq, kind, id FROM mirror_notes WHERE seq > ?1 ORDER BY seq LIMIT ?2";
            let mut changes = connection.prepare_cached(sql)?;
            let mut changes = changes.query(params![acked, MIRROR_BATCH_REQUESTS_MAX])?;
            let (mut rows, mut seen, mut seq) = (Rows::new(connection)?, HashSet::new(), None);
            while let Some(change) = changes.next()? {
                if rows.are_enough() {
                    break;
                }
                seq = Some(change.get(0)?);
                let (kind, id): (i64, String) = (change.get(1)?, change.get(2)?);
                let (kind, ids) = if kind == BATCH { (REQUEST, listed(&id)?) } else { (kind, vec![id]) };
                for id in ids {
                    if !seen.insert((kind, id.clone())) {
                        continue;
                    }
                    match kind {
                        REQUEST => rows.add(id)?,
                        kind => rows.add_side(kind, &id)?,
                    }
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

    /// Notes every statement, adjustment and word of feedback, for a copy of the whole ledger; nothing if such notes wait.
    pub(super) fn note_sides(&mut self) -> Result<(), LedgerError> {
        if self.noted.is_some_and(|noted| noted > self.feed.acked) {
            return Ok(());
        }
        let note = |connection: &mut Connection| -> rusqlite::Result<i64> {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            transaction.execute_batch(NOTE_ALL)?;
            let last = transaction.query_row(LAST, [], |row| row.get(0))?;
            transaction.commit()?;
            Ok(last)
        };
        self.noted = Some(note(&mut self.connection).map_err(database_error("write"))?);
        Ok(())
    }

    /// Notes whether the mirror has all that was there before the list began.
    pub(super) fn set_copied(&self, is_copied: bool) -> Result<(), LedgerError> {
        let set = "UPDATE mirror_feed SET copied = ?1 WHERE copied <> ?1";
        self.connection.execute(set, [is_copied]).map(drop).map_err(database_error("write"))
    }

    /// Notes that the mirror has the changes up to `seq`.
    pub(super) fn ack(&mut self, seq: i64) -> Result<(), LedgerError> {
        let ack = |connection: &mut Connection| -> rusqlite::Result<()> {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            transaction.execute("UPDATE mirror_feed SET acked = ?1", [seq])?;
            transaction.execute("DELETE FROM mirror_notes WHERE seq < ?1", [seq])?;
            transaction.commit()
        };
        ack(&mut self.connection).map_err(database_error("write"))?;
        self.feed.acked = seq;
        Ok(())
    }

    /// What waits.
    pub(super) fn waiting(&self) -> Result<Waiting, LedgerError> {
        let oldest = "SELECT at FROM mirror_notes WHERE seq > ?1 ORDER BY seq LIMIT 1";
        let read = || -> rusqlite::Result<Waiting> {
            let last: i64 = self.connection.prepare_cached(LAST)?.query_row([], |row| row.get(0))?;
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

/// Whether the mirror lacks anything of the requests before `id`; `None`: the ledger has none that it knows of.
pub(super) fn lacks(ledger: &Connection, id: &str) -> rusqlite::Result<Option<bool>> {
    let (is_whole, is_any) = ("SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'mirror_notes')", ANY);
    let [is_whole, is_any] = [is_whole, is_any].map(|sql| ledger.query_row(sql, [], |row| row.get::<_, bool>(0)));
    match (is_whole?, is_any?) {
        (true, _) => ledger.query_row(LACKS, [id], |row| row.get(0)).map(Some),
        // A list of an earlier version: all rows come again once it is replaced.
        (false, true) => Ok(Some(true)),
        (false, false) => Ok(None),
    }
}

/// The ids of a note that is of many requests.
fn listed(ids: &str) -> rusqlite::Result<Vec<String>> {
    let wrong = |error| rusqlite::Error::FromSqlConversionFailure(2, rusqlite::types::Type::Text, Box::new(error));
    serde_json::from_str(ids).map_err(wrong)
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
    of_sides: [Table<'c>; SIDES.len()],
    ids: Vec<String>,
}

impl<'c> Rows<'c> {
    fn new(connection: &'c Connection) -> rusqlite::Result<Self> {
        let [statements, lines, adjustments, feedback] =
            SIDES.map(|side| Table::new(connection, &format!("SELECT * FROM {} WHERE {}", side.table, side.condition)));
        Ok(Self {
            of_sides: [statements?, lines?, adjustments?, feedback?],
            of_request: Table::new(connection, "SELECT * FROM requests WHERE request_id = ?1")?,
            of_attempts: Table::new(
                connection,
                "SELECT * FROM attempts WHERE attempt_id > ?1 || '-' AND attempt_id < ?1 || '.'",
            )?,
            ids: Vec::new(),
        })
    }

    fn are_enough(&self) -> bool {
        let sides = self.of_sides.iter().map(|table| table.json.len()).sum::<usize>();
        let bytes = self.of_request.json.len() + self.of_attempts.json.len() + sides;
        bytes > MIRROR_BATCH_BYTES_MAX || self.ids.len() >= MIRROR_BATCH_REQUESTS_MAX as usize
    }

    /// Adds the rows that a note of this kind is of.
    fn add_side(&mut self, kind: i64, id: &str) -> rusqlite::Result<()> {
        for (_, table) in SIDES.iter().zip(&mut self.of_sides).filter(|(side, _)| side.kind == kind) {
            table.add(id)?;
        }
        Ok(())
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
        let sides =
            self.of_sides.map(|table| if table.rows == 0 { String::new() } else { format!("[{}]", table.json) });
        Batch { seq: None, ids: self.ids, requests, attempts, sides, rows }
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
