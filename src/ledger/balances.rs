//! What payers have spent, by quarter of an hour, so that a start need not read millions of rows.
//!
//! The sums are kept by triggers on `attempts` and `requests`, in the same transaction as the rows, whoever writes those:
//! recovery, reconciliation, another version of the program. They begin when budgets are first configured, with one reading
//! of all rows. Each attempt counts with the high end of its cost, and where nothing bounds that, with what is known of it:
//! as it counted while the process ran ([`enforced`](crate::meter::funds::enforced)).

use std::path::Path;

use jiff::civil::Date;
use rusqlite::{Connection, OpenFlags, TransactionBehavior, params};

use crate::ledger::error::{LedgerError, database_error};
use crate::ledger::schema::{first_id_at, open_views};
use crate::ledger::sql::its_attempts;

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

/// What is asked again and again for what re-rating booked: a connection that stays open, since opening one reads the whole
/// schema. It holds up nobody between two questions.
#[derive(Debug, Default)]
pub(super) struct Adjustments(Option<Connection>);

impl Adjustments {
    /// What was booked in the ledger at `path` behind number `after`.
    ///
    /// # Errors
    ///
    /// SQLite's; the next question opens the file anew.
    pub(super) fn after(&mut self, path: &Path, after: i64) -> Result<Vec<Adjusted>, LedgerError> {
        let views = self.0.take().map_or_else(|| open_views(path), Ok)?;
        let adjusted = adjusted_in(&views, after).map_err(database_error("read"))?;
        self.0 = Some(views);
        Ok(adjusted)
    }
}

fn adjusted_in(views: &Connection, after: i64) -> rusqlite::Result<Vec<Adjusted>> {
    let sql =
        "SELECT adjustment_id, day, team, project, cost_nano FROM adjustments WHERE adjustment_id > ?1 ORDER BY 1";
    let mut query = views.prepare_cached(sql)?;
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
                open: spenders(views, &open(), 0)?,
                adjusted: adjusted.transpose()?.unwrap_or_default(),
            })
        };
        read().map_err(database_error("sum up what was spent in"))
    }
}

const QUARTER_MS: i64 = 900_000;
const OF_SUMS: &str =
    "SELECT quarter * 900000, team, key, project, user, nano FROM spent WHERE quarter >= ?1 AND nano <> 0";

/// What a budget counts of an attempt.
fn enforced(row: &str) -> String {
    format!("coalesce({row}.cost_high_nano, {row}.cost_nano, {row}.cost_low_nano)")
}

/// Who spent what a request cost, and in which quarter.
fn spender(row: &str, users: Users) -> String {
    let user = match users {
        Users::Apart => format!("coalesce({row}.user, '')"),
        Users::Together => "''".to_owned(),
    };
    format!(
        "{row}.at_ms / 900000, coalesce({row}.team, ''), coalesce({row}.key, ''), coalesce({row}.project, ''), {user}"
    )
}

fn open() -> String {
    format!(
        "SELECT r.at_ms, coalesce(r.team, ''), coalesce(r.key, ''), coalesce(r.project, ''), coalesce(r.user, ''),
             sum({})
         FROM attempts a JOIN requests r USING (request_id)
         WHERE a.fate = 'open' AND r.at_ms >= ?1 GROUP BY request_id",
        enforced("a")
    )
}

fn of_rows_since(users: Users, since_ms: i64) -> String {
    let (spender, enforced, its_attempts) = (spender("r", users), enforced("a"), its_attempts!("a", "r"));
    // The requests first, by their ids, and of each its attempts.
    format!(
        "WITH spent (quarter, team, key, project, user, nano) AS (
             SELECT {spender}, sum({enforced}) FROM requests r CROSS JOIN attempts a ON {its_attempts}
             WHERE r.request_id >= '{}' AND r.at_ms / 900000 >= ?1 GROUP BY 1, 2, 3, 4, 5 HAVING sum({enforced}) <> 0
         ) {OF_SUMS}",
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
            Self::Apart => "spent_counted_by_user",
            Self::Together => "spent_counted",
        }
    }
}

/// Those of earlier versions too.
macro_rules! forget_triggers {
    () => {
        "
DROP TRIGGER IF EXISTS spent_added; DROP TRIGGER IF EXISTS spent_added_by_user; DROP TRIGGER IF EXISTS spent_priced;
DROP TRIGGER IF EXISTS spent_priced_by_user; DROP TRIGGER IF EXISTS spent_counted; DROP TRIGGER IF EXISTS spent_counted_by_user;
DROP TRIGGER IF EXISTS spent_corrected; DROP TRIGGER IF EXISTS spent_found; DROP TRIGGER IF EXISTS spent_changed;"
    };
}
pub(super) use forget_triggers;

/// What was spent in quarters whose rows are forgotten is known from the sums alone.
const FORGET: &str = concat!(
    forget_triggers!(),
    "
CREATE TABLE IF NOT EXISTS spent (
    quarter INTEGER NOT NULL, team TEXT NOT NULL, key TEXT NOT NULL, project TEXT NOT NULL, user TEXT NOT NULL,
    nano INTEGER NOT NULL, PRIMARY KEY (quarter, team, key, project, user)
) STRICT, WITHOUT ROWID;
DELETE FROM spent WHERE quarter IN (SELECT at_ms / 900000 FROM requests);"
);

/// Begins or continues the sums of the ledger at `path`, and gives those since `since_ms`.
///
/// # Errors
///
/// SQLite's.
pub(super) fn spent_since(path: &Path, users: Users, since_ms: i64) -> Result<Vec<Spent>, LedgerError> {
    let read = || spenders(&of_sums(path, users)?, OF_SUMS, since_ms.div_euclid(QUARTER_MS));
    read().map_err(database_error("sum up what was spent in"))
}

/// The last quarter until `now_ms` in which anybody spent anything, by its beginning.
///
/// # Errors
///
/// SQLite's.
pub(super) fn last_spent(path: &Path, users: Users, now_ms: i64) -> Result<Option<i64>, LedgerError> {
    let read = || {
        let last = "SELECT max(quarter) * 900000 FROM spent WHERE quarter <= ?1";
        of_sums(path, users)?.query_row(last, [now_ms.div_euclid(QUARTER_MS)], |row| row.get(0))
    };
    read().map_err(database_error("sum up what was spent in"))
}

/// The ledger at `path` with its sums.
fn of_sums(path: &Path, users: Users) -> rusqlite::Result<Connection> {
    // Reading what was spent makes no file.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(std::time::Duration::from_secs(10))?;
    begin(&mut connection, users)?;
    Ok(connection)
}

/// Makes sure that the sums are kept: nothing if they are, else all rows are read once.
fn begin(connection: &mut Connection, users: Users) -> rusqlite::Result<()> {
    if has(connection, users)? || (users == Users::Together && has(connection, Users::Apart)?) {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(FORGET)?;
    transaction.execute_batch(&sums(users))?;
    transaction.commit()
}

/// Fills the sums and keeps them: of a request and its attempts, whichever is written first, and whatever is known later.
fn sums(users: Users) -> String {
    let add = |rows: &str, who: &str, nano: &str| {
        format!(
            "INSERT INTO spent SELECT {}, {nano} FROM {rows} AND {who}.at_ms IS NOT NULL GROUP BY 1, 2, 3, 4, 5
             HAVING {nano} <> 0
             ON CONFLICT (quarter, team, key, project, user) DO UPDATE SET nano = nano + excluded.nano;",
            spender(who, users),
        )
    };
    let [of_each, of_new, of_old] = ["a", "new", "old"].map(enforced);
    let its_request = "requests r WHERE r.request_id = new.request_id";
    let its_attempts = concat!("attempts a WHERE ", its_attempts!("a", "new"));
    let all = concat!("requests r CROSS JOIN attempts a ON ", its_attempts!("a", "r"), " WHERE true");
    format!(
        "{}
         CREATE TRIGGER {} AFTER INSERT ON attempts BEGIN {} END;
         CREATE TRIGGER spent_corrected AFTER UPDATE ON attempts WHEN {of_new} IS NOT {of_old} BEGIN {} END;
         CREATE TRIGGER spent_found AFTER INSERT ON requests BEGIN {} END;
         CREATE TRIGGER spent_changed AFTER UPDATE ON requests
         WHEN old.at_ms IS NOT new.at_ms OR old.team IS NOT new.team BEGIN {} {} END;",
        add(all, "r", &format!("sum({of_each})")),
        users.trigger(),
        add(its_request, "r", &format!("sum({of_new})")),
        add(its_request, "r", &format!("sum({of_new} - {of_old})")),
        add(its_attempts, "new", &format!("sum({of_each})")),
        add(its_attempts, "old", &format!("-sum({of_each})")),
        add(its_attempts, "new", &format!("sum({of_each})")),
    )
}
