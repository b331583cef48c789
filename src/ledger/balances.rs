//! What payers have spent, by quarter of an hour, so that a start need not read millions of rows.
//!
//! The sums are kept by triggers on `requests`, in the same transaction as the rows, whoever writes those: recovery,
//! reconciliation, another version of the program. They begin when budgets are first configured, with one reading of all
//! rows. Each request counts with the high end of its cost.

use std::path::Path;

use jiff::civil::Date;
use rusqlite::{Connection, OpenFlags, TransactionBehavior, params};

use crate::ledger::error::{LedgerError, database_error};
use crate::ledger::schema::{first_id_at, open_views};

/// What somebody spent within a quarter of an hour.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Spent {
    /// When the quarter began, in milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// Who did.
    pub who: Spender,
    /// High ends of what it cost, in nano-dollars.
    pub nano: i64,
}

/// Who spent.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Spender {
    /// Who paid.
    pub team: String,
    /// The virtual key; empty without one.
    pub key: String,
    /// The project; empty without one.
    pub project: String,
    /// The end user; empty without one, or where users are not told apart.
    pub user: String,
}

/// What re-rating booked of somebody's day.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Adjusted {
    /// Its number: later ones have larger ones.
    pub id: i64,
    /// The day.
    pub day: Date,
    /// Who pays.
    pub team: String,
    /// The project; empty without one.
    pub project: String,
    /// What it adds to what was spent, in nano-dollars.
    pub nano: i64,
}

/// What was booked behind number `after`.
///
/// # Errors
///
/// SQLite's.
pub(super) fn adjusted_after(path: &Path, after: i64) -> Result<Vec<Adjusted>, LedgerError> {
    adjusted_in(&open_views(path)?, after).map_err(database_error("read"))
}

fn adjusted_in(views: &Connection, after: i64) -> rusqlite::Result<Vec<Adjusted>> {
    let sql =
        "SELECT adjustment_id, day, team, project, cost_nano FROM adjustments WHERE adjustment_id > ?1 ORDER BY 1";
    let mut query = views.prepare(sql)?;
    let rows = query.query_map([after], |row| {
        let day = row.get::<_, String>(1)?.parse().unwrap_or(Date::MIN);
        Ok(Adjusted { id: row.get(0)?, day, team: row.get(2)?, project: row.get(3)?, nano: row.get(4)? })
    })?;
    rows.collect()
}

/// All that budgets count, as the tables have it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Balances {
    /// What was spent, by quarter of an hour.
    pub spent: Vec<Spent>,
    /// The part of it that attempts under way may cost at most, by request and its moment.
    pub open: Vec<Spent>,
    /// What re-rating booked.
    pub adjusted: Vec<Adjusted>,
}

impl Balances {
    /// Those since `since_ms`. Nothing is written: where sums are kept they are read, else the rows.
    ///
    /// # Errors
    ///
    /// SQLite's.
    pub fn read(views: &Connection, users: Users, since_ms: i64) -> Result<Self, LedgerError> {
        let read = || -> rusqlite::Result<Self> {
            let is_there = "SELECT 1 FROM sqlite_schema WHERE name = 'adjustments'";
            let adjusted = views.prepare(is_there)?.exists([])?.then(|| adjusted_in(views, 0));
            let of_rows;
            let spent = if has(views, users)? || (users == Users::Together && has(views, Users::Apart)?) {
                OF_SUMS
            } else {
                of_rows = of_rows_since(users, since_ms);
                &of_rows
            };
            Ok(Self {
                spent: spenders(views, spent, since_ms.div_euclid(QUARTER_MS))?,
                open: spenders(views, OPEN, 0)?,
                adjusted: adjusted.transpose()?.unwrap_or_default(),
            })
        };
        read().map_err(database_error("sum up what was spent in"))
    }
}

const QUARTER_MS: i64 = 900_000;
const OF_SUMS: &str =
    "SELECT quarter * 900000, team, key, project, user, nano FROM spent WHERE quarter >= ?1 AND nano <> 0";
const OPEN: &str =
    "SELECT r.at_ms, coalesce(r.team, ''), coalesce(r.key, ''), coalesce(r.project, ''), coalesce(r.user, ''),
        sum(coalesce(a.bound_nano, 0))
    FROM attempts a JOIN requests r USING (request_id)
    WHERE a.fate = 'open' AND r.at_ms >= ?1 AND r.cost_high_nano IS NOT NULL GROUP BY request_id";

fn of_rows_since(users: Users, since_ms: i64) -> String {
    format!(
        "SELECT at_ms / 900000 * 900000, coalesce(team, ''), coalesce(key, ''), coalesce(project, ''), {},
             sum(coalesce(cost_high_nano, cost_nano, cost_low_nano))
         FROM requests WHERE request_id >= '{}' AND at_ms / 900000 >= ?1 GROUP BY 1, 2, 3, 4, 5
         HAVING sum(coalesce(cost_high_nano, cost_nano, cost_low_nano)) <> 0",
        if users == Users::Apart { "coalesce(user, '')" } else { "''" },
        first_id_at(since_ms),
    )
}

fn spenders(views: &Connection, sql: &str, from: i64) -> rusqlite::Result<Vec<Spent>> {
    let mut query = views.prepare(sql)?;
    let rows = query.query_map([from], |row| {
        let who = Spender { team: row.get(1)?, key: row.get(2)?, project: row.get(3)?, user: row.get(4)? };
        Ok(Spent { at_ms: row.get(0)?, who, nano: row.get(5)? })
    })?;
    rows.collect()
}

/// Whether these sums are kept.
fn has(views: &Connection, users: Users) -> rusqlite::Result<bool> {
    let mut query = views.prepare(
        "SELECT 1 FROM sqlite_schema sums, sqlite_schema kept
         WHERE sums.name = 'spent' AND kept.type = 'trigger' AND kept.name = ?1",
    )?;
    query.exists(params![users.trigger()])
}

/// Whether end users are told apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Users {
    /// Each has sums of its own.
    Apart,
    /// They are summed up.
    Together,
}

impl Users {
    /// The name of the trigger that tells which sums are kept.
    fn trigger(self) -> &'static str {
        match self {
            Self::Apart => "spent_added_by_user",
            Self::Together => "spent_added",
        }
    }
}

const FORGET: &str = "
DROP TRIGGER IF EXISTS spent_added; DROP TRIGGER IF EXISTS spent_added_by_user; DROP TRIGGER IF EXISTS spent_changed;
DROP TABLE IF EXISTS spent;";

/// Begins or continues the sums of the ledger at `path`, and gives those since `since_ms`.
///
/// # Errors
///
/// SQLite's.
pub(super) fn spent_since(path: &Path, users: Users, since_ms: i64) -> Result<Vec<Spent>, LedgerError> {
    let read = || -> rusqlite::Result<Vec<Spent>> {
        // Reading what was spent makes no file.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(std::time::Duration::from_secs(10))?;
        begin(&mut connection, users)?;
        spenders(&connection, OF_SUMS, since_ms.div_euclid(QUARTER_MS))
    };
    read().map_err(database_error("sum up what was spent in"))
}

/// Makes sure that the sums are kept: nothing if they are, else all rows are read once.
fn begin(connection: &mut Connection, users: Users) -> rusqlite::Result<()> {
    if has(connection, users)? || (users == Users::Together && has(connection, Users::Apart)?) {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(FORGET)?;
    transaction.execute_batch(&tables(users))?;
    transaction.commit()
}

fn tables(users: Users) -> String {
    let key = |row: &str| {
        let user = match users {
            Users::Apart => format!("coalesce({row}user, '')"),
            Users::Together => "''".to_owned(),
        };
        format!(
            "{row}at_ms / 900000, coalesce({row}team, ''), coalesce({row}key, ''), coalesce({row}project, ''), {user}"
        )
    };
    let high = |row: &str| format!("coalesce({row}cost_high_nano, {row}cost_nano, {row}cost_low_nano)");
    let add = |row: &str, sign: &str| {
        format!(
            "INSERT INTO spent (quarter, team, key, project, user, nano)
             SELECT {}, {sign}{} WHERE {row}at_ms IS NOT NULL AND {} <> 0
             ON CONFLICT (quarter, team, key, project, user) DO UPDATE SET nano = nano + excluded.nano;",
            key(row),
            high(row),
            high(row)
        )
    };
    format!(
        "CREATE TABLE spent (
             quarter INTEGER NOT NULL, team TEXT NOT NULL, key TEXT NOT NULL, project TEXT NOT NULL, user TEXT NOT NULL,
             nano INTEGER NOT NULL, PRIMARY KEY (quarter, team, key, project, user)
         ) STRICT, WITHOUT ROWID;
         INSERT INTO spent SELECT {}, sum({}) FROM requests WHERE at_ms IS NOT NULL GROUP BY 1, 2, 3, 4, 5;
         CREATE TRIGGER {} AFTER INSERT ON requests BEGIN {} END;
         CREATE TRIGGER spent_changed AFTER UPDATE ON requests
         WHEN {} IS NOT {} OR old.at_ms IS NOT new.at_ms OR old.team IS NOT new.team BEGIN {} {} END;",
        key(""),
        high(""),
        users.trigger(),
        add("new.", ""),
        high("old."),
        high("new."),
        add("old.", "-"),
        add("new.", ""),
    )
}
