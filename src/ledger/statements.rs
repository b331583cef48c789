//! Monthly statements: what a team owes for a month, written down once and never changed.
//!
//! Closing copies the sums of the month (`rollup`) into lines that triggers of the database keep as they are. What changes
//! afterwards (an export that is reconciled late, a re-rating) becomes lines of the team's next statement, each with the month
//! that it corrects: what the sums of a closed month are now, less what was written of it. Re-rating changes no row either;
//! it books the difference by day ([`super::rerate`]). Each closing is in the audit, with a hash of what was written.
//!
//! All of it may be done while a gateway has the ledger open: SQLite lets one write at a time, and these tables are not the
//! gateway's.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Row, TransactionBehavior, params};
use serde_json::json;

use crate::ledger::audit::{self, Act};
use crate::ledger::error::{LedgerError, database_error};
use crate::ledger::migrate::version;
use crate::ledger::preview::left_over;
use crate::ledger::reads::{Cell, Reads};
use crate::ledger::rollup::over;
use crate::ledger::schema::{SCHEMA_VERSION, is_fresh};
use crate::ledger::seams;
use crate::problem::nearest_hint;
use crate::report::{By, Figures, Line, midnight};

/// How long a gateway that is writing is waited for.
const BUSY: Duration = Duration::from_secs(10);

/// The tables, also of an older ledger that gets them.
pub(super) const TABLES: &str = "
CREATE TABLE statements (
    statement_id INTEGER PRIMARY KEY, team TEXT NOT NULL, month TEXT NOT NULL, timezone TEXT NOT NULL,
    from_ms INTEGER NOT NULL, until_ms INTEGER NOT NULL, closed_ms INTEGER, UNIQUE (team, month)
) STRICT;

-- `usage`: of the statement's own month; `correction`: of an earlier one; `rerate`: a difference that was booked.
CREATE TABLE statement_lines (
    statement_id INTEGER NOT NULL, line INTEGER NOT NULL, kind TEXT NOT NULL, month TEXT NOT NULL,
    project TEXT NOT NULL, provider TEXT NOT NULL, model TEXT NOT NULL, note TEXT,
    requests INTEGER NOT NULL, attempts INTEGER NOT NULL, input_tokens INTEGER NOT NULL,
    cached_input_tokens INTEGER NOT NULL, cache_write_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL,
    reasoning_tokens INTEGER NOT NULL, cost_nano INTEGER NOT NULL, uncertain INTEGER NOT NULL,
    uncertain_low_nano INTEGER NOT NULL, uncertain_high_nano INTEGER NOT NULL, unbounded INTEGER NOT NULL,
    compared INTEGER NOT NULL, baseline_nano INTEGER NOT NULL, saved_route_nano INTEGER NOT NULL,
    saved_fallback_nano INTEGER NOT NULL, saved_retry_nano INTEGER NOT NULL, saved_compress_nano INTEGER NOT NULL,
    saved_cache_nano INTEGER NOT NULL, provider_cache_nano INTEGER NOT NULL, cache_lost_nano INTEGER NOT NULL,
    PRIMARY KEY (statement_id, line)
) STRICT, WITHOUT ROWID;

-- What re-rating booked: the difference of a day, and the statement that has it.
CREATE TABLE adjustments (
    adjustment_id INTEGER PRIMARY KEY, booked_ms INTEGER NOT NULL, day TEXT NOT NULL, team TEXT NOT NULL,
    project TEXT NOT NULL, provider TEXT NOT NULL, model TEXT NOT NULL, cost_nano INTEGER NOT NULL, note TEXT NOT NULL,
    statement_id INTEGER
) STRICT;

CREATE TRIGGER statements_stay BEFORE UPDATE ON statements WHEN OLD.closed_ms IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'a closed statement never changes'); END;
CREATE TRIGGER statements_remain BEFORE DELETE ON statements
BEGIN SELECT RAISE(ABORT, 'a closed statement never changes'); END;
CREATE TRIGGER statement_lines_end BEFORE INSERT ON statement_lines
WHEN (SELECT closed_ms FROM statements WHERE statement_id = NEW.statement_id) IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'a closed statement never changes'); END;
CREATE TRIGGER statement_lines_stay BEFORE UPDATE ON statement_lines
BEGIN SELECT RAISE(ABORT, 'a closed statement never changes'); END;
CREATE TRIGGER statement_lines_remain BEFORE DELETE ON statement_lines
BEGIN SELECT RAISE(ABORT, 'a closed statement never changes'); END;
CREATE TRIGGER adjustments_stay BEFORE UPDATE ON adjustments
WHEN OLD.statement_id IS NOT NULL OR NEW.cost_nano <> OLD.cost_nano OR NEW.day <> OLD.day OR NEW.team <> OLD.team
BEGIN SELECT RAISE(ABORT, 'what is booked never changes'); END;
CREATE TRIGGER adjustments_remain BEFORE DELETE ON adjustments
BEGIN SELECT RAISE(ABORT, 'what is booked never changes'); END;
";

/// What an older ledger gets besides: re-rating says what was saved as well, and nothing that is written down is altered or
/// replaced. `INSERT OR REPLACE` deletes without asking the triggers above.
macro_rules! guards {
    () => {
        "
ALTER TABLE adjustments ADD COLUMN baseline_nano INTEGER NOT NULL DEFAULT 0;
ALTER TABLE adjustments ADD COLUMN saved_route_nano INTEGER NOT NULL DEFAULT 0;
ALTER TABLE adjustments ADD COLUMN saved_fallback_nano INTEGER NOT NULL DEFAULT 0;
ALTER TABLE adjustments ADD COLUMN saved_retry_nano INTEGER NOT NULL DEFAULT 0;

CREATE TRIGGER statements_are_not_replaced BEFORE INSERT ON statements
WHEN EXISTS (SELECT 1 FROM statements WHERE statement_id = NEW.statement_id OR (team = NEW.team AND month = NEW.month))
BEGIN SELECT RAISE(ABORT, 'a closed statement never changes'); END;
CREATE TRIGGER statements_keep_their_place BEFORE UPDATE ON statements
WHEN NEW.statement_id IS NOT OLD.statement_id OR NEW.team IS NOT OLD.team OR NEW.month IS NOT OLD.month
    OR NEW.timezone IS NOT OLD.timezone OR NEW.from_ms IS NOT OLD.from_ms OR NEW.until_ms IS NOT OLD.until_ms
BEGIN SELECT RAISE(ABORT, 'a closed statement never changes'); END;
DROP TRIGGER statement_lines_end;
CREATE TRIGGER statement_lines_end BEFORE INSERT ON statement_lines
WHEN NOT EXISTS (SELECT 1 FROM statements WHERE statement_id = NEW.statement_id AND closed_ms IS NULL)
    OR EXISTS (SELECT 1 FROM statement_lines WHERE statement_id = NEW.statement_id AND line = NEW.line)
BEGIN SELECT RAISE(ABORT, 'a closed statement never changes'); END;
DROP TRIGGER adjustments_stay;
CREATE TRIGGER adjustments_stay BEFORE UPDATE ON adjustments
WHEN OLD.statement_id IS NOT NULL OR NEW.adjustment_id IS NOT OLD.adjustment_id OR NEW.booked_ms IS NOT OLD.booked_ms
    OR NEW.day IS NOT OLD.day OR NEW.team IS NOT OLD.team OR NEW.project IS NOT OLD.project
    OR NEW.provider IS NOT OLD.provider OR NEW.model IS NOT OLD.model OR NEW.cost_nano IS NOT OLD.cost_nano
    OR NEW.note IS NOT OLD.note OR NEW.baseline_nano IS NOT OLD.baseline_nano
    OR NEW.saved_route_nano IS NOT OLD.saved_route_nano OR NEW.saved_fallback_nano IS NOT OLD.saved_fallback_nano
    OR NEW.saved_retry_nano IS NOT OLD.saved_retry_nano
BEGIN SELECT RAISE(ABORT, 'what is booked never changes'); END;
CREATE TRIGGER adjustments_are_not_replaced BEFORE INSERT ON adjustments
WHEN EXISTS (SELECT 1 FROM adjustments WHERE adjustment_id = NEW.adjustment_id)
BEGIN SELECT RAISE(ABORT, 'what is booked never changes'); END;
"
    };
}
pub(super) use guards;

/// The figures that adjustments have, in the order of [`adjustment`].
pub(super) const ADJUSTED: [&str; 5] =
    ["cost_nano", "baseline_nano", "saved_route_nano", "saved_fallback_nano", "saved_retry_nano"];

/// Figures of those of an adjustment.
pub(super) fn adjustment([cost, baseline, route, fallback, retry]: [i64; 5]) -> Figures {
    Figures { cost, baseline, saved_by: [route, fallback, retry, 0, 0], ..Figures::default() }
}

/// Why a statement could not be closed or shown.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StatementError {
    /// The ledger cannot be opened, read or written.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// Its tables are of an earlier version.
    #[error(
        "the ledger's tables have version {found}, and statements need {wanted}; start this program's gateway once"
    )]
    TooOld {
        /// What was found.
        found: u32,
        /// What is needed.
        wanted: u32,
    },
    /// A process that was killed left records in the journal that the tables have not got.
    #[error(
        "records of the journal that the ledger's tables lack: {records}; no process has it open: start its gateway once, \
         or run `farthing ledger compact`"
    )]
    LeftOver {
        /// How many.
        records: u64,
    },
    /// Nothing is known of the team: its name is a slip of the pen, and a statement would be there for ever.
    #[error("the ledger has nothing of team `{team}`{hint}")]
    Nothing {
        /// The team.
        team: String,
        /// Another name that may be meant.
        hint: String,
    },
    /// Other statements of the team have all of the month.
    #[error("team `{team}` has statements of all of {month} already: `timezone` was another when they were closed")]
    Covered {
        /// The team.
        team: String,
        /// The month.
        month: String,
    },
    /// The month goes on.
    #[error("{month} is not over in `{zone}`; wanted a month that is")]
    NotOver {
        /// The month.
        month: String,
        /// The zone.
        zone: String,
    },
}

impl From<rusqlite::Error> for StatementError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Ledger(database_error("write statements to")(error))
    }
}

/// A month in a zone.
#[derive(Clone, Debug)]
pub struct Month {
    /// Its first day.
    pub first: Date,
    /// The zone that it begins and ends in.
    pub zone: TimeZone,
    /// The zone's name.
    pub zone_name: String,
}

impl Month {
    /// As statements spell it.
    pub fn name(&self) -> String {
        name_of(self.first)
    }

    /// Its first moment and the first one behind it, in milliseconds since the Unix epoch.
    pub fn span(&self) -> (i64, i64) {
        let next = self.first.first_of_month().saturating_add(jiff::Span::new().months(1));
        (midnight(self.first.first_of_month(), &self.zone), midnight(next, &self.zone))
    }
}

pub(super) fn name_of(day: Date) -> String {
    format!("{:04}-{:02}", day.year(), day.month())
}

/// One line of a statement.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StatementLine {
    /// `usage`, `correction` or `rerate`.
    pub kind: String,
    /// The month that it is about.
    pub month: String,
    /// Project; empty: none.
    pub project: String,
    /// Provider row.
    pub provider: String,
    /// Model.
    pub model: String,
    /// What there is to say about it.
    pub note: Option<String>,
    /// Its figures.
    pub figures: Figures,
}

/// A statement.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Statement {
    /// Its number.
    pub id: i64,
    /// Who pays.
    pub team: String,
    /// The month.
    pub month: String,
    /// The zone that the month began and ended in.
    pub timezone: String,
    /// When it was closed, in milliseconds since the Unix epoch.
    pub closed_ms: i64,
    /// Its lines.
    pub lines: Vec<StatementLine>,
}

impl Statement {
    /// The sum of its lines.
    pub fn total(&self) -> Figures {
        let mut total = Figures::default();
        self.lines.iter().for_each(|line| total.add(&line.figures));
        total
    }

    /// A SHA-256 of what it says, in hexadecimal. Figures that are 0 are left out, so that it stays when there are more kinds.
    pub fn digest(&self) -> String {
        let mut text = json!([self.team, self.month, self.timezone]).to_string();
        for StatementLine { kind, month, project, provider, model, note, figures } in &self.lines {
            let figures = Figures::NAMES.into_iter().zip(figures.all()).filter(|(_, number)| *number != 0);
            let figures: BTreeMap<&str, i64> = figures.collect();
            let line = json!([kind, month, project, provider, model, note, figures]);
            text.push('\n');
            text.push_str(&line.to_string());
        }
        audit::sha256(text.as_bytes())
    }
}

/// A connection that may write statements, beside a gateway that has the ledger open.
pub struct Books {
    pub(super) connection: Connection,
    /// Who does so, as the audit names them.
    pub(super) who: String,
}

/// What lines of a month are told apart by: project, provider, model.
type Group = (String, String, String);

impl Books {
    /// Opens the ledger at `path`, which must be of this version, for `who`, as the audit names them.
    ///
    /// # Errors
    ///
    /// [`StatementError::TooOld`]; [`StatementError::LeftOver`]; those of opening the ledger.
    pub fn open(path: &Path, who: &str) -> Result<Self, StatementError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(database_error("open"))?;
        connection.busy_timeout(BUSY)?;
        if is_fresh(&connection, path)? {
            let found = "it is empty".to_owned();
            return Err(LedgerError::NotALedger { path: path.to_path_buf(), found }.into());
        }
        let found = version(&connection)?;
        if found < SCHEMA_VERSION {
            return Err(StatementError::TooOld { found, wanted: SCHEMA_VERSION });
        }
        match left_over(path)? {
            0 => {}
            records => return Err(StatementError::LeftOver { records }),
        }
        // What is written down for people is on the disk when they are told.
        connection.execute_batch("PRAGMA synchronous = FULL")?;
        Ok(Self { connection, who: who.to_owned() })
    }

    /// Closes the month for `team`, or for every team that has anything to be stated; those that have a statement keep it.
    /// Gives the statements that were written. A statement begins where the team's last one ended, so that none leaves an hour
    /// out or has it twice where `timezone` has changed.
    ///
    /// # Errors
    ///
    /// [`StatementError::NotOver`] before the month's end; [`StatementError::Nothing`]; [`StatementError::Covered`]; SQLite's.
    pub fn close(&mut self, month: &Month, team: Option<&str>, now_ms: i64) -> Result<Vec<Statement>, StatementError> {
        if now_ms < month.span().1 {
            return Err(StatementError::NotOver { month: month.name(), zone: month.zone_name.clone() });
        }
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let teams = match team {
            Some(team) => vec![known(&transaction, team)?],
            None => teams(&transaction, month.span())?,
        };
        let mut written = Vec::new();
        for team in teams {
            let known = "SELECT EXISTS (SELECT 1 FROM statements WHERE team = ?1 AND month = ?2)";
            if transaction.query_row(known, [&team, &month.name()], |row| row.get::<_, bool>(0))? {
                continue;
            }
            let (from_ms, until_ms) = seams::span_between(&transaction, &team, month)?;
            if until_ms <= from_ms {
                return Err(StatementError::Covered { team, month: month.name() });
            }
            transaction.execute(
                "INSERT INTO statements (team, month, timezone, from_ms, until_ms) VALUES (?1, ?2, ?3, ?4, ?5)",
                params![team, month.name(), month.zone_name, from_ms, until_ms],
            )?;
            let id = transaction.last_insert_rowid();
            let mut lines = usage(&transaction, &team, &month.name(), (from_ms, until_ms))?;
            lines.extend(corrections(&transaction, &team)?);
            lines.extend(booked(&transaction, &team, &month.name(), id)?);
            for (number, line) in (1_i64..).zip(&lines) {
                insert(&transaction, id, number, line)?;
            }
            transaction.execute("UPDATE statements SET closed_ms = ?2 WHERE statement_id = ?1", params![id, now_ms])?;
            let timezone = month.zone_name.clone();
            let statement = Statement { id, team, month: month.name(), timezone, closed_ms: now_ms, lines };
            let facts = json!({ "lines": statement.lines.len(), "cost_nano": statement.total().cost });
            let subject = audit::statement(&statement.team, &statement.month);
            let sha256 = statement.digest();
            let act =
                Act { at_ms: now_ms, who: &self.who, action: audit::CLOSED, subject: &subject, sha256: &sha256, facts };
            act.note(&transaction)?;
            written.push(statement);
        }
        transaction.commit()?;
        Ok(written)
    }
}

/// What re-rating booked of the days of a span, as lines of a report: by team, project, model and time. Other names nobody
/// gave. A ledger of an earlier version, and a mirror that none of this one feeds, have none.
///
/// # Errors
///
/// The database's.
pub fn adjusted(views: &impl Reads, by: &[By], days: (Date, Date), zone: &TimeZone) -> Result<Vec<Line>, LedgerError> {
    if !views.has("adjustments")? {
        return Ok(Vec::new());
    }
    let sums = ADJUSTED.map(|name| format!("CAST(sum({name}) AS BIGINT)")).join(", ");
    let sql = format!(
        "SELECT day, team, project, provider, model, {sums} FROM adjustments
         WHERE day >= ?1 AND day <= ?2 GROUP BY 1, 2, 3, 4, 5"
    );
    let days = [days.0, days.1].map(|day| Cell::Text(day.to_string()));
    let line = |row: Vec<Cell>| {
        let [day, team, project, provider, model, figures @ ..] = <[Cell; 10]>::try_from(row).ok()?;
        let figures = adjustment(figures.map(|figure| figure.number()));
        let day: Date = day.text().parse().ok()?;
        let [team, project] = [team, project].map(Cell::text);
        let provider = provider.text();
        let model = format!("{provider}/{}", model.text());
        let of = |by: &By| match by {
            By::Team => team.clone(),
            By::Project => project.clone(),
            By::Provider => provider.clone(),
            By::Model => model.clone(),
            _ => String::new(),
        };
        let names = by.iter().filter(|by| !by.is_time() && **by != By::Cause).map(of).collect();
        let figures = Figures { adjusted: figures.cost, cost: 0, ..figures };
        Some(Line { at_ms: midnight(day, zone), names, figures })
    };
    Ok(views.read(&sql, &days)?.into_iter().filter_map(line).collect())
}

/// All statements without their lines, newest month first.
///
/// # Errors
///
/// SQLite's.
pub fn list(views: &Connection) -> Result<Vec<Statement>, StatementError> {
    let sql = "SELECT statement_id, team, month, timezone, closed_ms FROM statements ORDER BY month DESC, team";
    let all: Vec<Statement> = views.prepare(sql)?.query_map([], head)?.collect::<Result<_, _>>()?;
    Ok(all)
}

/// The statement of a team for a month, if it is closed.
///
/// # Errors
///
/// SQLite's.
pub fn show(views: &Connection, team: &str, month: &str) -> Result<Option<Statement>, StatementError> {
    Ok(read(views, team, month)?)
}

pub(super) fn read(views: &Connection, team: &str, month: &str) -> rusqlite::Result<Option<Statement>> {
    let sql = "SELECT statement_id, team, month, timezone, closed_ms FROM statements WHERE team = ?1 AND month = ?2";
    let Some(mut statement) = views.query_row(sql, [team, month], head).optional()? else { return Ok(None) };
    let sql = format!(
        "SELECT kind, month, project, provider, model, note, {} FROM statement_lines WHERE statement_id = ?1 ORDER BY line",
        Figures::NAMES.join(", ")
    );
    let line = |row: &Row<'_>| {
        Ok(StatementLine {
            kind: row.get(0)?,
            month: row.get(1)?,
            project: row.get(2)?,
            provider: row.get(3)?,
            model: row.get(4)?,
            note: row.get(5)?,
            figures: figures_at(row, 6)?,
        })
    };
    statement.lines = views.prepare(&sql)?.query_map([statement.id], line)?.collect::<Result<_, _>>()?;
    Ok(Some(statement))
}

fn head(row: &Row<'_>) -> rusqlite::Result<Statement> {
    Ok(Statement {
        id: row.get(0)?,
        team: row.get(1)?,
        month: row.get(2)?,
        timezone: row.get(3)?,
        closed_ms: row.get::<_, Option<i64>>(4)?.unwrap_or_default(),
        lines: Vec::new(),
    })
}

/// Teams with anything in the span, with anything booked and not stated, or with an earlier statement that may want
/// correcting.
fn teams(connection: &Connection, (from_ms, until_ms): (i64, i64)) -> rusqlite::Result<Vec<String>> {
    let sql = format!(
        "SELECT team FROM {} UNION SELECT team FROM adjustments WHERE statement_id IS NULL
         UNION SELECT team FROM statements ORDER BY 1",
        over(from_ms, until_ms)
    );
    connection.prepare(&sql)?.query_map([], |row| row.get(0))?.collect()
}

/// A team of which the ledger has anything at all.
fn known(connection: &Connection, team: &str) -> Result<String, StatementError> {
    let sql = "SELECT team FROM rollup_day UNION SELECT team FROM adjustments UNION SELECT team FROM statements";
    let all = connection.prepare(sql)?.query_map([], |row| row.get(0))?.collect::<Result<Vec<String>, _>>()?;
    if all.iter().any(|known| known == team) {
        return Ok(team.to_owned());
    }
    let hint = nearest_hint(team, all.iter().map(String::as_str));
    Err(StatementError::Nothing { team: team.to_owned(), hint })
}

/// The sums of a team's span.
fn sums(
    connection: &Connection,
    team: &str,
    (from_ms, until_ms): (i64, i64),
) -> rusqlite::Result<BTreeMap<Group, Figures>> {
    let sums = Figures::NAMES.map(|name| format!("sum({name})")).join(", ");
    let sql = format!(
        "SELECT project, provider, model, {sums} FROM {} WHERE team = ?1 GROUP BY 1, 2, 3",
        over(from_ms, until_ms)
    );
    let group = |row: &Row<'_>| Ok(((row.get(0)?, row.get(1)?, row.get(2)?), figures_at(row, 3)?));
    connection.prepare(&sql)?.query_map([team], group)?.collect()
}

fn usage(connection: &Connection, team: &str, month: &str, span: (i64, i64)) -> rusqlite::Result<Vec<StatementLine>> {
    let groups = sums(connection, team, span)?.into_iter().filter(|(_, figures)| !figures.is_zero());
    Ok(groups.map(|group| line_of("usage", month, group, None)).collect())
}

/// What the sums of the team's closed months are now, less what statements say of them.
fn corrections(connection: &Connection, team: &str) -> rusqlite::Result<Vec<StatementLine>> {
    let sql =
        "SELECT month, from_ms, until_ms FROM statements WHERE team = ?1 AND closed_ms IS NOT NULL ORDER BY month";
    let columns = |row: &Row<'_>| Ok((row.get(0)?, (row.get(1)?, row.get(2)?)));
    let closed: Vec<(String, (i64, i64))> =
        connection.prepare(sql)?.query_map([team], columns)?.collect::<Result<_, _>>()?;
    let mut lines = Vec::new();
    for (month, span) in closed {
        let mut groups = sums(connection, team, span)?;
        for (group, stated) in stated(connection, team, &month)? {
            let now = groups.entry(group).or_default();
            *now = now.beyond(&stated);
        }
        let changed = groups.into_iter().filter(|(_, figures)| !figures.is_zero());
        let note = Some("changed since its statement was closed".to_owned());
        lines.extend(changed.map(|group| line_of("correction", &month, group, note.clone())));
    }
    Ok(lines)
}

/// What the team's statements say of a month, re-ratings left out.
fn stated(connection: &Connection, team: &str, month: &str) -> rusqlite::Result<BTreeMap<Group, Figures>> {
    let sums = Figures::NAMES.map(|name| format!("sum(l.{name})")).join(", ");
    let sql = format!(
        "SELECT l.project, l.provider, l.model, {sums} FROM statement_lines l JOIN statements s USING (statement_id)
         WHERE s.team = ?1 AND l.month = ?2 AND l.kind <> 'rerate' GROUP BY 1, 2, 3"
    );
    let group = |row: &Row<'_>| Ok(((row.get(0)?, row.get(1)?, row.get(2)?), figures_at(row, 3)?));
    connection.prepare(&sql)?.query_map([team, month], group)?.collect()
}

/// The differences that were booked of days up to the month's end and that no statement has; now statement `id` has them.
fn booked(connection: &Connection, team: &str, month: &str, id: i64) -> rusqlite::Result<Vec<StatementLine>> {
    let sums = ADJUSTED.map(|name| format!("sum({name})")).join(", ");
    let sql = format!(
        "SELECT substr(day, 1, 7), project, provider, model, note, {sums} FROM adjustments
         WHERE team = ?1 AND statement_id IS NULL AND substr(day, 1, 7) <= ?2 GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5"
    );
    let line = |row: &Row<'_>| {
        let figures = adjustment([row.get(5)?, row.get(6)?, row.get(7)?, row.get(8)?, row.get(9)?]);
        let group = ((row.get(1)?, row.get(2)?, row.get(3)?), figures);
        Ok(line_of("rerate", &row.get::<_, String>(0)?, group, row.get(4)?))
    };
    let lines: Vec<StatementLine> =
        connection.prepare(&sql)?.query_map([team, month], line)?.collect::<Result<_, _>>()?;
    connection.execute(
        "UPDATE adjustments SET statement_id = ?3
         WHERE team = ?1 AND statement_id IS NULL AND substr(day, 1, 7) <= ?2",
        params![team, month, id],
    )?;
    Ok(lines)
}

fn line_of(kind: &str, month: &str, (group, figures): (Group, Figures), note: Option<String>) -> StatementLine {
    let (project, provider, model) = group;
    StatementLine { kind: kind.to_owned(), month: month.to_owned(), project, provider, model, note, figures }
}

fn insert(connection: &Connection, id: i64, number: i64, line: &StatementLine) -> rusqlite::Result<()> {
    let marks = vec!["?"; 8 + Figures::COUNT].join(", ");
    let mut statement = connection.prepare_cached(&format!("INSERT INTO statement_lines VALUES ({marks})"))?;
    let names: [&dyn rusqlite::ToSql; 8] =
        [&id, &number, &line.kind, &line.month, &line.project, &line.provider, &line.model, &line.note];
    let all = line.figures.all();
    let figures = all.iter().map(|number| number as &dyn rusqlite::ToSql);
    statement.execute(rusqlite::params_from_iter(names.into_iter().chain(figures))).map(drop)
}

fn figures_at(row: &Row<'_>, first: usize) -> rusqlite::Result<Figures> {
    let mut all = [0; Figures::COUNT];
    for (place, number) in all.iter_mut().enumerate() {
        *number = row.get(first + place)?;
    }
    Ok(Figures::of(all))
}
