//! The side of Postgres: the schema `farthing` with the tables and views of a ledger, and batches that are put into it.
//!
//! Tables are made after those of the ledger that is fed, column by column, so that an upgrade of the ledger is one of the
//! mirror. Columns and views are only ever added to: gateways of several versions may feed one mirror. A batch is one
//! transaction that begins by counting on `mirror_feeds.batches`: a connection that was given up and comes to life again
//! cannot put an older state over a newer one.

use std::sync::LazyLock;
use std::time::Duration;

use rusqlite::Connection;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Statement, Transaction};

use super::MirrorError;
use super::outbox::{Batch, Feed};
use super::sides::SIDES;
use super::target::Target;
use crate::ledger::migrate;
use crate::ledger::rollup::{NAMES, OF_REQUESTS, as_postgres};
use crate::report::{Figures, SLOTS_A_DAY};

/// What a session is set to: an own schema; what hangs in it gives up before its successor does. All that it looks up are a
/// thousand keys in an index; whoever plans that without statistics may go through the whole table instead.
const SESSION: &str = "
SET search_path = farthing; SET TimeZone = 'UTC'; SET synchronous_commit = on;
SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; SET jit = off;
";

/// The server gives up a little before whoever waits for it does: it then says why, and nothing is left hanging in it.
fn timeouts(patience: Duration) -> String {
    let ms = patience.as_millis();
    let (lock, idle) = (ms * 2 / 3, ms / 2);
    format!(
        "SET statement_timeout = {ms}; SET lock_timeout = {lock}; SET idle_in_transaction_session_timeout = {idle};"
    )
}

/// The bookkeeping of the mirror: `batches` counts what came from a ledger, `copied_to` is how far the rows have come that
/// were there before its list of changes `feed` began; `position` is the last change of that list.
const BOOKKEEPING: &str = "
CREATE TABLE IF NOT EXISTS mirror_schema (one int PRIMARY KEY CHECK (one = 1), version bigint NOT NULL);
INSERT INTO mirror_schema VALUES (1, 0) ON CONFLICT DO NOTHING;
CREATE TABLE IF NOT EXISTS mirror_feeds (
    ledger bigint PRIMARY KEY, feed bigint NOT NULL, batches bigint NOT NULL, position bigint NOT NULL,
    copied_to text COLLATE \"C\" NOT NULL, is_copied boolean NOT NULL, program text, fed_at timestamptz
);";

/// Only one gateway at a time changes the schema; the number is the letters `FRTH`.
const LOCK: &str = "SELECT pg_advisory_xact_lock(1179800648)";

const CLAIM: &str =
    "UPDATE mirror_feeds SET batches = batches + 1, position = $3, copied_to = $4, is_copied = $5, fed_at = now()
WHERE ledger = $1 AND batches = $2";

/// Adds `$3` times what the requests `$1` of ledger `$2` count for to the sums.
static SUM: LazyLock<String> = LazyLock::new(|| {
    let names = NAMES.join(", ");
    let columns = Figures::NAMES.join(", ");
    let sums = Figures::NAMES.map(|name| format!("CAST($3 * sum({name}) AS bigint)")).join(", ");
    let put = |table: &str, slot: &str| {
        let added = Figures::NAMES.map(|name| format!("{name} = {table}.{name} + excluded.{name}")).join(", ");
        format!(
            "INSERT INTO {table} (ledger, slot, {names}, {columns})
             SELECT $2::bigint, {slot}, {names}, {sums} FROM counted GROUP BY 2, {names}
             ON CONFLICT (ledger, slot, {names}) DO UPDATE SET {added}"
        )
    };
    let (by_slot, by_day) =
        (put("rollup", "slot"), put("rollup_day", &format!("slot / {SLOTS_A_DAY} * {SLOTS_A_DAY}")));
    let counted = as_postgres(OF_REQUESTS);
    format!("WITH counted AS MATERIALIZED ({counted}), by_slot AS ({by_slot}) {by_day}")
});

/// A table of the ledger.
#[derive(Clone, Debug)]
struct Table {
    name: &'static str,
    /// What tells the mirror's rows apart.
    key: String,
    /// Names, and whether they are numbers.
    columns: Vec<(String, bool)>,
}

/// The views over what is mirrored.
const VIEWS: [&str; 3] = ["requests_v1", "attempts_v1", "feedback_v1"];

/// The tables of a ledger as they are.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    version: u32,
    requests: Table,
    attempts: Table,
    /// In the order of [`SIDES`].
    sides: Vec<Table>,
    sums: [Table; 2],
    /// The definitions of the views.
    views: Vec<String>,
}

impl Layout {
    /// Reads them.
    pub(super) fn of(ledger: &Connection) -> rusqlite::Result<Self> {
        let table = |name: &'static str, key: &str| -> rusqlite::Result<Table> {
            let mut columns =
                ledger.prepare("SELECT name, type = 'INTEGER' FROM pragma_table_info(?1) ORDER BY cid")?;
            let columns = columns.query_map([name], |row| Ok((row.get(0)?, row.get(1)?)))?;
            Ok(Table { name, key: key.to_owned(), columns: columns.collect::<Result<_, _>>()? })
        };
        let view = "SELECT sql FROM sqlite_schema WHERE type = 'view' AND name = ?1";
        let views = VIEWS.iter().map(|name| ledger.query_row(view, [name], |row| row.get(0)));
        let views = views.collect::<Result<_, _>>()?;
        let sides = SIDES.iter().map(|side| table(side.table, &format!("ledger, {}", side.key)));
        let of_sums = format!("ledger, slot, {}", NAMES.join(", "));
        Ok(Self {
            version: migrate::version(ledger)?,
            requests: table("requests", "request_id")?,
            attempts: table("attempts", "attempt_id")?,
            sides: sides.collect::<Result<_, _>>()?,
            sums: [table("rollup", &of_sums)?, table("rollup_day", &of_sums)?],
            views,
        })
    }

    fn tables(&self) -> impl Iterator<Item = &Table> {
        [&self.requests, &self.attempts].into_iter().chain(&self.sides).chain(&self.sums)
    }

    /// The names of all tables and views, each with one of a column that it has.
    fn names(&self) -> (Vec<&str>, Vec<&str>) {
        let of_tables = self.tables().flat_map(|table| table.columns.iter().map(|(column, _)| (table.name, &**column)));
        of_tables.chain(VIEWS.map(|view| (view, "at_ms"))).unzip()
    }
}

impl Table {
    fn is_of_sums(&self) -> bool {
        self.name.starts_with("rollup")
    }

    /// A column as Postgres is told of it. Ids compare as bytes, as they do in the ledger.
    fn definition(&self, (name, is_number): &(String, bool)) -> String {
        let is_figure = self.is_of_sums() && Figures::NAMES.contains(&name.as_str());
        match (is_number, is_figure) {
            (true, true) => format!("\"{name}\" bigint NOT NULL DEFAULT 0"),
            (true, false) => format!("\"{name}\" bigint"),
            (false, _) => format!("\"{name}\" text COLLATE \"C\""),
        }
    }

    /// The statements that create it, or add what it has not got.
    fn create(&self) -> String {
        let (name, key) = (self.name, &self.key);
        let columns: Vec<String> = self.columns.iter().map(|column| self.definition(column)).collect();
        let all = columns.join(", ");
        let added =
            columns.iter().map(|column| format!("ADD COLUMN IF NOT EXISTS {column}")).collect::<Vec<_>>().join(", ");
        format!(
            "CREATE TABLE IF NOT EXISTS {name} (ledger bigint NOT NULL, {all}, PRIMARY KEY ({key}));
             ALTER TABLE {name} {added};"
        )
    }

    /// Puts rows that come as JSON in the place of those that are there.
    fn upsert(&self) -> String {
        let (name, key) = (self.name, &self.key);
        let quoted = |prefix: &str| {
            let names = self.columns.iter().map(|(name, _)| format!("{prefix}\"{name}\""));
            names.collect::<Vec<_>>().join(", ")
        };
        format!(
            "INSERT INTO {name} (ledger, {}) SELECT $2::bigint, {} FROM json_populate_recordset(NULL::{name}, $1::text::json)
             ON CONFLICT ({key}) DO UPDATE SET (ledger, {}) = ROW (excluded.ledger, {})",
            quoted(""),
            quoted(""),
            quoted(""),
            quoted("excluded.")
        )
    }
}

/// A mirror that a ledger feeds.
pub(super) struct Remote {
    client: Client,
    claim: Statement,
    sum: Statement,
    requests: Statement,
    attempts: Statement,
    /// In the order of [`SIDES`].
    sides: Vec<Statement>,
    ledger: i64,
    /// Batches that came from the ledger.
    batches: i64,
    /// The last change that the mirror has.
    pub(super) position: i64,
    /// How far the rows have come that were there before the list of changes began; `None`: all have.
    pub(super) copied_to: Option<String>,
}

impl Remote {
    /// Connects, brings the schema up to date and says how far the ledger has been fed.
    pub(super) async fn open(target: &Target, layout: &Layout, ledger: i64, feed: Feed) -> Result<Self, MirrorError> {
        let mut client = connect(target).await?;
        client.batch_execute(&[SESSION, &timeouts(target.patience())].concat()).await?;
        let transaction = client.transaction().await?;
        transaction.batch_execute(LOCK).await?;
        migrate(&transaction, layout).await?;
        let begin = "INSERT INTO mirror_feeds (ledger, feed, batches, position, copied_to, is_copied)
            VALUES ($1, $2, 0, 0, '', false) ON CONFLICT DO NOTHING";
        transaction.execute(begin, &[&ledger, &feed.feed]).await?;
        let program = "UPDATE mirror_feeds SET program = $2 WHERE ledger = $1
            RETURNING feed, batches, position, copied_to, is_copied";
        let row = transaction.query_one(program, &[&ledger, &env!("CARGO_PKG_VERSION")]).await?;
        transaction.commit().await?;
        let (position, copied_to): (i64, String) = (row.try_get(2)?, row.try_get(3)?);
        // Of another list of changes, or restored from a backup: what it lacks is no longer noted.
        let lacks = row.try_get::<_, i64>(0)? != feed.feed || position < feed.acked;
        let copied_to = match (lacks, row.try_get(4)?) {
            (true, _) => Some(String::new()),
            (false, false) => Some(copied_to),
            (false, true) => None,
        };
        let batches: i64 = row.try_get(1)?;
        if lacks {
            let anew = "UPDATE mirror_feeds SET feed = $2, position = $3, copied_to = '', is_copied = false
                WHERE ledger = $1 AND batches = $4";
            client.execute(anew, &[&ledger, &feed.feed, &feed.acked, &batches]).await?;
        }
        let mut sides = Vec::new();
        for side in &layout.sides {
            sides.push(client.prepare(&side.upsert()).await?);
        }
        Ok(Self {
            claim: client.prepare(CLAIM).await?,
            sum: client.prepare(&SUM).await?,
            requests: client.prepare(&layout.requests.upsert()).await?,
            attempts: client.prepare(&layout.attempts.upsert()).await?,
            sides,
            client,
            ledger,
            batches,
            position: if lacks { feed.acked } else { position },
            copied_to,
        })
    }

    /// Puts a batch in, all or nothing; `copied_to` is how far the earlier rows have come with it.
    pub(super) async fn put(&mut self, batch: &Batch, copied_to: Option<String>) -> Result<(), MirrorError> {
        let position = batch.seq.unwrap_or(self.position);
        let (to, is_copied) = (copied_to.as_deref().unwrap_or_default(), copied_to.is_none());
        let transaction = self.client.transaction().await?;
        let claimed =
            transaction.execute(&self.claim, &[&self.ledger, &self.batches, &position, &to, &is_copied]).await?;
        if claimed != 1 {
            return Err(MirrorError::Overtaken);
        }
        if !batch.ids.is_empty() {
            let (less, more) = (-1_i64, 1_i64);
            let take: [&(dyn ToSql + Sync); 3] = [&batch.ids, &self.ledger, &less];
            let add: [&(dyn ToSql + Sync); 3] = [&batch.ids, &self.ledger, &more];
            let requests: [&(dyn ToSql + Sync); 2] = [&batch.requests, &self.ledger];
            let attempts: [&(dyn ToSql + Sync); 2] = [&batch.attempts, &self.ledger];
            // One after the other at the server, without waiting in between.
            tokio::try_join!(
                biased;
                transaction.execute(&self.sum, &take),
                transaction.execute(&self.requests, &requests),
                transaction.execute(&self.attempts, &attempts),
                transaction.execute(&self.sum, &add),
            )?;
        }
        for (put, rows) in self.sides.iter().zip(&batch.sides).filter(|(_, rows)| !rows.is_empty()) {
            transaction.execute(put, &[rows, &self.ledger]).await?;
        }
        transaction.commit().await?;
        self.batches += 1;
        self.position = position;
        self.copied_to = copied_to;
        Ok(())
    }
}

/// Connects within the time that a mirror has, to a database that can hold every text.
pub(super) async fn connect(target: &Target) -> Result<Client, MirrorError> {
    let connect = async {
        let client = target.connect().await?;
        let row =
            client.query_one("SELECT current_setting('server_encoding'), current_setting('server_version_num')", &[]);
        let row = row.await?;
        let (encoding, version): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        if encoding != "UTF8" {
            return Err(MirrorError::Unfit(format!("its encoding is {encoding}; wanted UTF8")));
        }
        if version.parse::<u32>().is_ok_and(|version| version < 120_000) {
            return Err(MirrorError::Unfit("it is older than Postgres 12".to_owned()));
        }
        Ok(client)
    };
    in_time(target.patience(), connect).await
}

/// Waits for a step of the mirror.
pub(super) async fn in_time<T>(
    time: Duration,
    step: impl Future<Output = Result<T, MirrorError>>,
) -> Result<T, MirrorError> {
    tokio::time::timeout(time, step).await.unwrap_or(Err(MirrorError::TimedOut(time)))
}

/// Creates what is not there. Of a schema that is there no right to create one is needed.
async fn migrate(transaction: &Transaction<'_>, layout: &Layout) -> Result<(), MirrorError> {
    let there = transaction.query_one("SELECT to_regnamespace('farthing') IS NOT NULL", &[]).await?;
    if !there.try_get::<_, bool>(0)? {
        transaction.batch_execute("CREATE SCHEMA farthing").await?;
    }
    let known = "SELECT to_regclass('farthing.mirror_schema') IS NOT NULL";
    let known = transaction.query_one(known, &[]).await?.try_get::<_, bool>(0)?;
    let version: i64 = match known {
        true => transaction.query_one("SELECT version FROM mirror_schema", &[]).await?.try_get(0)?,
        false => 0,
    };
    let is_newer = version > i64::from(layout.version);
    if version >= i64::from(layout.version) && has_all(transaction, layout).await? {
        return Ok(());
    }
    transaction.batch_execute(BOOKKEEPING).await?;
    for table in layout.tables() {
        transaction.batch_execute(&table.create()).await?;
    }
    let indices = "CREATE INDEX IF NOT EXISTS attempts_by_request ON attempts (request_id, attempt_id);
        CREATE INDEX IF NOT EXISTS requests_by_time ON requests (at_ms);";
    transaction.batch_execute(indices).await?;
    // Those of a newer version have more columns.
    for view in layout.views.iter().filter(|_| !is_newer) {
        transaction.batch_execute(&view_of(view)).await?;
    }
    let reached = "UPDATE mirror_schema SET version = greatest(version, $1)";
    transaction.execute(reached, &[&i64::from(layout.version)]).await?;
    Ok(())
}

/// Whether every column is there, whatever version made them: an earlier program mirrored fewer tables, and people drop some.
async fn has_all(transaction: &Transaction<'_>, layout: &Layout) -> Result<bool, MirrorError> {
    let (tables, columns) = layout.names();
    let lacking = "SELECT EXISTS (SELECT 1 FROM unnest($1::text[], $2::text[]) AS wanted (relation, attribute)
        WHERE NOT EXISTS (SELECT 1 FROM information_schema.columns
            WHERE table_schema = 'farthing' AND table_name = relation AND column_name = attribute))";
    Ok(!transaction.query_one(lacking, &[&tables, &columns]).await?.try_get::<_, bool>(0)?)
}

/// A view's definition for Postgres, where `user` without quotes is whoever is connected, and nothing is called `iif`.
fn view_of(sql: &str) -> String {
    let sql = sql.replacen("CREATE VIEW", "CREATE OR REPLACE VIEW", 1);
    let sql = sql.replace("iif(run, NULL, subject)", "CASE WHEN run = 0 THEN subject END");
    let sql = sql.replace("iif(run, subject, NULL)", "CASE WHEN run <> 0 THEN subject END");
    sql.replace(" user,", " \"user\",")
}
