//! Sums by slots of a quarter of an hour and by days of UTC, kept beside the rows so that a report over millions of them
//! reads thousands.
//!
//! A request counts once it has ended. Whatever changes it takes its figures out of the sums and puts its new ones in, in
//! the transaction of the change, so that the sums are those of the rows at any moment. A span of any zone is made of the
//! days within it and of the slots at its edges ([`over`]). Users and prompts, of which there are many, have sums by day
//! that are filled later ([`named`]).

pub(super) mod beside;
pub(super) mod counted;
pub(super) mod named;
mod sessions;
mod tiers;
pub(super) mod watched;

use std::borrow::Cow;
use std::sync::LazyLock;

use foldhash::{HashMap, HashMapExt as _};
use jiff::tz::TimeZone;
use rusqlite::{CachedStatement, Connection, Row};

use crate::ledger::batch::RequestChange;
use crate::ledger::error::LedgerError;
use crate::ledger::reads::{Cell, Reads};
use crate::ledger::schema::ids_within;
use crate::ledger::sql::its_attempts;
use crate::report::periods::{Stretch, periods, stretches};
use crate::report::{By, Figures, Line, SLOT_MS, SLOTS_A_DAY};
use named::Named;

pub use beside::{Fees, lines_beside};
pub use named::fill_next;
pub use sessions::sessions;
pub use tiers::lines_by_service_tier;
pub use watched::lines_watched;
#[cfg(test)]
pub(super) use {beside::beside_plans, watched::watched_plan};

/// The words for Postgres, whose mirror finds a request's attempts by an index: it would take a range of ids for a large part
/// of them.
pub(super) fn as_postgres(sql: &str) -> String {
    sql.replace(its_attempts!("a", "r"), "a.request_id = r.request_id")
        .replace(its_attempts!("b", "r"), "b.request_id = r.request_id")
}

/// What sums are told apart by besides the slot.
pub(super) const NAMES: [&str; 8] = ["team", "project", "pipeline", "key", "tier", "task", "provider", "model"];

/// The tables of sums, also of an older ledger that gets them: their figures are those of [`Figures::NAMES`]. The slot of a
/// day is its first one.
macro_rules! tables {
    () => {
        concat!(
            "\nCREATE TABLE rollup (",
            rollup::columns!(),
            ") STRICT, WITHOUT ROWID;\nCREATE TABLE rollup_day (",
            rollup::columns!(),
            ") STRICT, WITHOUT ROWID;\n"
        )
    };
}
pub(super) use tables;

macro_rules! columns {
    () => {
        "
    slot INTEGER NOT NULL, team TEXT NOT NULL, project TEXT NOT NULL, pipeline TEXT NOT NULL, key TEXT NOT NULL,
    tier TEXT NOT NULL, task TEXT NOT NULL, provider TEXT NOT NULL, model TEXT NOT NULL,
    requests INTEGER NOT NULL, attempts INTEGER NOT NULL, input_tokens INTEGER NOT NULL,
    cached_input_tokens INTEGER NOT NULL, cache_write_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL,
    reasoning_tokens INTEGER NOT NULL, cost_nano INTEGER NOT NULL, uncertain INTEGER NOT NULL,
    uncertain_low_nano INTEGER NOT NULL, uncertain_high_nano INTEGER NOT NULL, unbounded INTEGER NOT NULL,
    compared INTEGER NOT NULL, baseline_nano INTEGER NOT NULL, saved_route_nano INTEGER NOT NULL,
    saved_fallback_nano INTEGER NOT NULL, saved_retry_nano INTEGER NOT NULL, saved_compress_nano INTEGER NOT NULL,
    saved_cache_nano INTEGER NOT NULL, provider_cache_nano INTEGER NOT NULL, cache_lost_nano INTEGER NOT NULL,
    PRIMARY KEY (slot, team, project, pipeline, key, tier, task, provider, model)
"
    };
}
pub(super) use columns;

/// What version 8 added, to these tables and to those of statements; also to tables that are new.
macro_rules! added {
    () => {
        concat!(
            "
ALTER TABLE rollup ADD COLUMN overhead_nano INTEGER NOT NULL DEFAULT 0;
ALTER TABLE rollup ADD COLUMN transfer_nano INTEGER NOT NULL DEFAULT 0;
ALTER TABLE rollup ADD COLUMN estimated_nano INTEGER NOT NULL DEFAULT 0;
ALTER TABLE rollup ADD COLUMN estimated_low_nano INTEGER NOT NULL DEFAULT 0;
ALTER TABLE rollup ADD COLUMN estimated_high_nano INTEGER NOT NULL DEFAULT 0;
ALTER TABLE rollup ADD COLUMN discount_nano INTEGER NOT NULL DEFAULT 0;
ALTER TABLE rollup_day ADD COLUMN overhead_nano INTEGER NOT NULL DEFAULT 0;
ALTER TABLE rollup_day ADD COLUMN transfer_nano INTEGER NOT NULL DEFAULT 0;
ALTER TABLE rollup_day ADD COLUMN estimated_nano INTEGER NOT NULL DEFAULT 0;
ALTER TABLE rollup_day ADD COLUMN estimated_low_nano INTEGER NOT NULL DEFAULT 0;
ALTER TABLE rollup_day ADD COLUMN estimated_high_nano INTEGER NOT NULL DEFAULT 0;
ALTER TABLE rollup_day ADD COLUMN discount_nano INTEGER NOT NULL DEFAULT 0;
ALTER TABLE statement_lines ADD COLUMN overhead_nano INTEGER NOT NULL DEFAULT 0;
ALTER TABLE statement_lines ADD COLUMN transfer_nano INTEGER NOT NULL DEFAULT 0;
ALTER TABLE statement_lines ADD COLUMN estimated_nano INTEGER NOT NULL DEFAULT 0;
ALTER TABLE statement_lines ADD COLUMN estimated_low_nano INTEGER NOT NULL DEFAULT 0;
ALTER TABLE statement_lines ADD COLUMN estimated_high_nano INTEGER NOT NULL DEFAULT 0;
ALTER TABLE statement_lines ADD COLUMN discount_nano INTEGER NOT NULL DEFAULT 0;
CREATE TABLE rollup_user (",
            rollup::named::columns!(),
            ") STRICT, WITHOUT ROWID;\nCREATE TABLE rollup_prompt (",
            rollup::named::columns!(),
            ") STRICT, WITHOUT ROWID;\nCREATE TABLE rollup_cache_loss (",
            rollup::named::columns!(),
            ") STRICT, WITHOUT ROWID;

-- Up to which slot those three have everything; `steps` counts what was done to them besides.
CREATE TABLE rollup_named (
    one INTEGER PRIMARY KEY CHECK (one = 1), until_slot INTEGER NOT NULL, steps INTEGER NOT NULL
) STRICT;
INSERT INTO rollup_named VALUES (1, -9223372036854775808, 0);
"
        )
    };
}
pub(super) use added;

/// The figures of one row of [`rows`], in their order. Postgres reads it as SQLite does (`mirror`).
macro_rules! figures {
    () => {
        "is_last AS requests, made AS attempts, coalesce(input_tokens, 0) AS input_tokens,
            coalesce(cached_input_tokens, 0) AS cached_input_tokens, coalesce(written, 0) AS cache_write_tokens,
            coalesce(output_tokens, 0) AS output_tokens, coalesce(reasoning_tokens, 0) AS reasoning_tokens,
            coalesce(cost_nano, 0) AS cost_nano, in_doubt AS uncertain,
            CASE WHEN in_doubt = 1 THEN coalesce(cost_low_nano, 0) ELSE 0 END AS uncertain_low_nano,
            CASE WHEN in_doubt = 1 THEN coalesce(cost_high_nano, 0) ELSE 0 END AS uncertain_high_nano,
            CASE WHEN in_doubt = 1 AND cost_high_nano IS NULL THEN 1 ELSE 0 END AS unbounded,
            is_last * known AS compared, CASE WHEN is_last * known = 1 THEN baseline_nano ELSE 0 END AS baseline_nano,
            CASE WHEN is_last * known = 1 THEN saved_route_nano ELSE 0 END AS saved_route_nano,
            CASE WHEN is_last * known = 1 THEN saved_fallback_nano ELSE 0 END AS saved_fallback_nano,
            CASE WHEN is_last * known = 1 THEN saved_retry_nano ELSE 0 END AS saved_retry_nano,
            CASE WHEN is_last * known = 1 THEN saved_compress_nano ELSE 0 END AS saved_compress_nano,
            CASE WHEN is_last * known = 1 THEN saved_cache_nano ELSE 0 END AS saved_cache_nano,
            CASE WHEN is_last = 1 THEN coalesce(provider_cache_nano, 0) ELSE 0 END AS provider_cache_nano,
            CASE WHEN is_last = 1 THEN coalesce(cache_lost_nano, 0) ELSE 0 END AS cache_lost_nano,
            CASE WHEN is_ours = 1 THEN coalesce(cost_nano, 0) ELSE 0 END AS overhead_nano,
            CASE WHEN is_last = 1 THEN coalesce(transfer_nano, 0) ELSE 0 END AS transfer_nano,
            CASE WHEN source = 'estimated' THEN coalesce(cost_nano, 0) ELSE 0 END AS estimated_nano,
            CASE WHEN source = 'estimated' AND in_doubt = 0 THEN cost_low_nano ELSE 0 END AS estimated_low_nano,
            CASE WHEN source = 'estimated' AND in_doubt = 0 THEN coalesce(cost_high_nano, cost_nano) ELSE 0 END
                AS estimated_high_nano,
            CASE WHEN discount_ppm BETWEEN 1 AND 999999 AND cost_nano BETWEEN 1 AND 9000000000000
                THEN cost_nano / (1000000 - discount_ppm) * discount_ppm
                    + cost_nano % (1000000 - discount_ppm) * discount_ppm / (1000000 - discount_ppm)
                ELSE 0 END AS discount_nano"
    };
}

/// Whether an attempt is its request's last one, or there is none: the one that answered, though another may have begun
/// after it, else the one with the highest number. Longer ids have higher numbers.
macro_rules! is_last {
    () => {
        concat!(
            "NOT EXISTS (SELECT 1 FROM attempts b WHERE ",
            its_attempts!("b", "r"),
            " AND (b.fate = 'completed', length(b.attempt_id), b.attempt_id)
                > (a.fate = 'completed', length(a.attempt_id), a.attempt_id))"
        )
    };
}

/// One row an attempt of the requests that ended and meet a condition (one without a target for a request that had none).
/// The limit is none, and keeps SQLite from asking for each figure anew which attempt is the last: three times the time.
/// <https://www.sqlite.org/optoverview.html#flattening>
/// What is said of the request stands at its last attempt, of which one that Farthing makes by itself has none.
macro_rules! rows {
    ($condition:literal) => {
        concat!(
            "SELECT r.at_ms / 900000 AS slot, coalesce(r.team, '') AS team, coalesce(r.project, '') AS project,
            coalesce(r.pipeline, '') AS pipeline, coalesce(r.key, '') AS key, coalesce(r.\"user\", '') AS \"user\",
            coalesce(r.prompt, '') AS prompt, coalesce(r.tier, '') AS tier, coalesce(r.task, '') AS task,
            coalesce(r.cache_lost_to, '') AS cache_lost_to, coalesce(r.session, '') AS session, coalesce(a.provider, '') AS provider,
            coalesce(a.model, '') AS model, CASE WHEN a.attempt_id IS NULL THEN 0 ELSE 1 END AS made, a.input_tokens,
            a.cached_input_tokens, a.cache_write_tokens + coalesce(a.cache_write_1h_tokens, 0) AS written,
            a.output_tokens, a.reasoning_tokens, a.cost_nano, a.cost_low_nano, a.cost_high_nano, a.source, a.discount_ppm,
            CASE WHEN a.attempt_id IS NOT NULL AND a.cost_nano IS NULL THEN 1 ELSE 0 END AS in_doubt,
            CASE WHEN r.purpose IS NULL AND ",
            is_last!(),
            " THEN 1 ELSE 0 END AS is_last,
            CASE WHEN r.purpose IS NULL THEN 0 ELSE 1 END AS is_ours,
            CASE WHEN r.saved_route_nano IS NULL THEN 0 ELSE 1 END AS known, r.baseline_nano, r.saved_route_nano,
            r.saved_fallback_nano, r.saved_retry_nano, r.saved_compress_nano, r.saved_cache_nano,
            r.provider_cache_nano, r.cache_lost_nano, r.transfer_nano, r.transfer_to
            FROM requests_v1 r LEFT JOIN attempts a ON ",
            its_attempts!("a", "r"),
            " WHERE r.status <> 'open' AND r.at_ms IS NOT NULL AND ",
            $condition,
            " LIMIT 9223372036854775807"
        )
    };
}
use {figures, is_last, rows};

/// The other side of what teams are charged for answers that cost nothing: the team that is credited. A row as those of
/// [`rows`] with their [`figures`], under the names that stand before the figures.
macro_rules! credits {
    ($names:literal, $condition:literal) => {
        concat!(
            " UNION ALL SELECT r.at_ms / 900000 AS slot, r.transfer_to AS team, '' AS project, '' AS pipeline, '' AS key, ",
            $names,
            "0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, -r.transfer_nano, 0, 0, 0, 0
            FROM requests_v1 r WHERE r.transfer_to IS NOT NULL AND r.purpose IS NULL AND r.status <> 'open'
            AND r.at_ms IS NOT NULL AND ",
            $condition
        )
    };
}

/// The sums by slot of a ledger that has rows.
pub const FILL: &str = concat!(
    "INSERT INTO rollup SELECT slot, team, project, pipeline, key, tier, task, provider, model,
        sum(requests), sum(attempts), sum(input_tokens), sum(cached_input_tokens), sum(cache_write_tokens),
        sum(output_tokens), sum(reasoning_tokens), sum(cost_nano), sum(uncertain), sum(uncertain_low_nano),
        sum(uncertain_high_nano), sum(unbounded), sum(compared), sum(baseline_nano), sum(saved_route_nano),
        sum(saved_fallback_nano), sum(saved_retry_nano), sum(saved_compress_nano), sum(saved_cache_nano),
        sum(provider_cache_nano), sum(cache_lost_nano), sum(overhead_nano), sum(transfer_nano), sum(estimated_nano),
        sum(estimated_low_nano), sum(estimated_high_nano), sum(discount_nano)
     FROM (SELECT slot, team, project, pipeline, key, tier, task, provider, model, ",
    figures!(),
    " FROM (",
    rows!("1 = 1"),
    ")",
    credits!("coalesce(r.tier, ''), coalesce(r.task, ''), '', '', ", "1 = 1"),
    ") GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9;"
);

/// The sums by day of those by slot.
static FILL_DAYS: LazyLock<String> = LazyLock::new(|| {
    let sums = Figures::NAMES.map(|name| format!("sum({name})")).join(", ");
    let names = NAMES.join(", ");
    format!(
        "INSERT INTO rollup_day SELECT slot / {SLOTS_A_DAY} * {SLOTS_A_DAY}, {names}, {sums}
         FROM rollup GROUP BY 1, {names}"
    )
});

/// Brings the sums to a ledger that has rows and none of them.
///
/// # Errors
///
/// SQLite's.
pub fn fill(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(FILL)?;
    connection.execute(&FILL_DAYS, []).map(drop)
}

/// Moves the sums of requests with ten attempts or more to the last one. Earlier versions took for it the last by its text.
pub(super) fn mend_last(connection: &Connection) -> rusqlite::Result<()> {
    let longer = "SELECT DISTINCT request_id FROM attempts WHERE length(attempt_id) > length(request_id) + 2";
    let ids: Vec<String> = connection.prepare(longer)?.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let mut sums = Sums::new(connection)?;
    let by_text =
        concat!("a.attempt_id IS (SELECT max(b.attempt_id) FROM attempts b WHERE ", its_attempts!("b", "r"), ")");
    let by_text = OF_REQUEST.replace(is_last!(), by_text);
    sums.of_request = connection.prepare_cached(&by_text)?;
    ids.iter().try_for_each(|id| sums.take(id))?;
    sums.of_request = connection.prepare_cached(OF_REQUEST)?;
    ids.iter().try_for_each(|id| sums.add(id))?;
    sums.write(connection)
}

/// What sums that an earlier version kept lack of the rows that are left: estimates and discounts.
static COMPLETE: LazyLock<String> = LazyLock::new(|| {
    let added = ["estimated_nano", "estimated_low_nano", "estimated_high_nano", "discount_nano"];
    let names = NAMES.join(", ");
    let sums = added.map(|name| format!("sum({name}) AS {name}")).join(", ");
    let put = added.map(|name| format!("{name} = found.{name}")).join(", ");
    let complete = |table: &str, slot: &str, from: &str| {
        let is_same = NAMES.map(|name| format!("{table}.{name} = found.{name}")).join(" AND ");
        format!(
            "UPDATE {table} SET {put} FROM (SELECT {slot} AS slot, {names}, {sums} FROM {from} GROUP BY 1, {names}) AS found
             WHERE {table}.slot = found.slot AND {is_same};"
        )
    };
    let by_slot = complete("rollup", "slot", concat!("(SELECT *, ", figures!(), " FROM (", rows!("1 = 1"), "))"));
    by_slot + &complete("rollup_day", &format!("slot / {SLOTS_A_DAY} * {SLOTS_A_DAY}"), "rollup")
});

/// Brings what they lack to sums that an earlier version kept.
///
/// # Errors
///
/// SQLite's.
pub fn complete(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(&COMPLETE)
}

/// What holds the sums of a span: SQL to select from. Its edges are whole slots.
pub(super) fn over(from_ms: i64, until_ms: i64) -> String {
    let part = |Stretch { by_day, from, until }| {
        let table = if by_day { "rollup_day" } else { "rollup" };
        format!("SELECT * FROM {table} WHERE slot >= {from} AND slot < {until}")
    };
    let parts: Vec<String> = stretches(from_ms, until_ms).map(part).collect();
    format!("({})", parts.join(" UNION ALL "))
}

const OF_REQUEST: &str = concat!(
    "SELECT slot, team, project, pipeline, key, tier, task, provider, model, ",
    figures!(),
    ", \"user\", prompt, cache_lost_to, transfer_to FROM (",
    rows!("r.request_id = ?1"),
    ")"
);

/// What requests of a list count for, as Postgres is asked for it.
pub(super) const OF_REQUESTS: &str = concat!(
    "SELECT slot, team, project, pipeline, key, tier, task, provider, model, ",
    figures!(),
    " FROM (",
    rows!("r.request_id = ANY($1)"),
    ") AS of_requests",
    credits!("coalesce(r.tier, ''), coalesce(r.task, ''), '', '', ", "r.request_id = ANY($1)")
);

pub(super) const OF_SPAN: &str = concat!(
    "SELECT slot, team, project, pipeline, key, \"user\", prompt, tier, task, cache_lost_to, session, provider, model, ",
    figures!(),
    " FROM (",
    rows!("r.request_id >= ?1 AND r.request_id < ?2 AND r.at_ms >= ?3 AND r.at_ms < ?4"),
    ") AS of_span",
    credits!(
        "'', '', coalesce(r.tier, ''), coalesce(r.task, ''), '', '', '', '', ",
        "r.request_id >= ?1 AND r.request_id < ?2 AND r.at_ms >= ?3 AND r.at_ms < ?4"
    )
);

/// How what is there already goes up by what is inserted. A sum beyond what is an integer stops at the last one:
/// <https://www.sqlite.org/lang_expr.html#castexpr>
static ADDS_UP: LazyLock<String> = LazyLock::new(|| {
    Figures::NAMES.map(|name| format!("{name} = CAST({name} + excluded.{name} AS INTEGER)")).join(", ")
});

/// Adds to a sum by slot, and to one by day.
static ADD: LazyLock<[String; 2]> = LazyLock::new(|| {
    let marks = vec!["?"; 1 + NAMES.len() + Figures::COUNT].join(", ");
    ["rollup", "rollup_day"]
        .map(|table| format!("INSERT INTO {table} VALUES ({marks}) ON CONFLICT DO UPDATE SET {}", *ADDS_UP))
});

/// What a sum is of.
type Key<'k> = (i64, [Cow<'k, str>; NAMES.len()]);

/// Changes of the sums that one transaction makes.
pub(super) struct Sums<'c, 'k> {
    of_request: CachedStatement<'c>,
    changes: HashMap<Key<'k>, Figures>,
    named: Named<'k>,
}

impl<'c, 'k> Sums<'c, 'k> {
    pub(super) fn new(connection: &'c Connection) -> rusqlite::Result<Self> {
        let of_request = connection.prepare_cached(OF_REQUEST)?;
        Ok(Self { of_request, changes: HashMap::new(), named: Named::new(connection)? })
    }

    /// Takes out what a request counts for as it stands: it is about to change.
    pub(super) fn take(&mut self, request_id: &str) -> rusqlite::Result<()> {
        self.each(request_id, Figures::take)
    }

    /// Puts in what a request counts for as it stands.
    pub(super) fn add(&mut self, request_id: &str) -> rusqlite::Result<()> {
        self.each(request_id, Figures::add)
    }

    /// Puts in what a request counts for that begins and ends in one batch.
    pub(super) fn add_whole(&mut self, change: &RequestChange<'k>) {
        let Self { changes, named, .. } = self;
        counted::counted(change, |key, figures| {
            if named.has(key.0) {
                named.change_whole(&key, change, figures);
            }
            changes.entry(key).or_default().add(figures);
        });
    }

    fn each(&mut self, request_id: &str, change: fn(&mut Figures, &Figures)) -> rusqlite::Result<()> {
        let mut rows = self.of_request.query([request_id])?;
        while let Some(row) = rows.next()? {
            let mut names: [Cow<'k, str>; NAMES.len()] = Default::default();
            for (place, name) in names.iter_mut().enumerate() {
                *name = Cow::Owned(row.get(1 + place)?);
            }
            let (slot, figures) = (row.get(0)?, figures_at(row, 1 + NAMES.len())?);
            let last = 1 + NAMES.len() + Figures::COUNT;
            if self.named.has(slot) {
                let of: [String; 3] = [row.get(last)?, row.get(last + 1)?, row.get(last + 2)?];
                self.named.change((slot, names[0].clone()), of.map(Cow::Owned), |sum| change(sum, &figures));
            }
            if figures.transfer != 0 {
                let to: Option<String> = row.get(last + 3)?;
                let (names, credit) = credit(names.clone(), to.unwrap_or_default().into(), &figures);
                if self.named.has(slot) {
                    self.named.change((slot, names[0].clone()), Default::default(), |sum| change(sum, &credit));
                }
                change(self.changes.entry((slot, names)).or_default(), &credit);
            }
            change(self.changes.entry((slot, names)).or_default(), &figures);
        }
        Ok(())
    }

    /// Moves what a slot's rows count for to a month's first slot, before they are deleted; false: they are not counted by
    /// user and prompt yet.
    pub(super) fn draw_together(mut self, connection: &Connection, slot: i64, month: i64) -> rusqlite::Result<bool> {
        if !self.named.has(slot) {
            return Ok(false);
        }
        self.named.draw_together(connection, slot, month)?;
        if slot != month {
            let columns = Figures::NAMES.join(", ");
            let sums = format!("SELECT {}, {columns} FROM rollup WHERE slot = ?1", NAMES.join(", "));
            let mut sums = connection.prepare_cached(&sums)?;
            let mut sums = sums.query([slot])?;
            while let Some(row) = sums.next()? {
                let mut names: [Cow<'k, str>; NAMES.len()] = Default::default();
                for (place, name) in names.iter_mut().enumerate() {
                    *name = Cow::Owned(row.get(place)?);
                }
                let figures = figures_at(row, NAMES.len())?;
                self.changes.entry((slot, names.clone())).or_default().take(&figures);
                self.changes.entry((month, names)).or_default().add(&figures);
            }
        }
        self.write(connection)?;
        named::forget_nothing(connection, "rollup", slot)?;
        named::forget_nothing(connection, "rollup_day", named::day_of(slot))?;
        Ok(true)
    }

    /// Writes the changes.
    pub(super) fn write(self, connection: &Connection) -> rusqlite::Result<()> {
        let mut days = HashMap::<Key<'_>, Figures>::new();
        for ((slot, names), figures) in &self.changes {
            let day = slot.div_euclid(SLOTS_A_DAY) * SLOTS_A_DAY;
            days.entry((day, names.clone())).or_default().add(figures);
        }
        for (sql, sums) in ADD.iter().zip([&self.changes, &days]) {
            let mut add = connection.prepare_cached(sql)?;
            for ((slot, names), figures) in sums.iter().filter(|(_, figures)| !figures.is_zero()) {
                add.raw_bind_parameter(1, slot)?;
                for (place, name) in (2..).zip(names) {
                    add.raw_bind_parameter(place, name.as_ref())?;
                }
                for (place, figure) in (2 + NAMES.len()..).zip(figures.all()) {
                    add.raw_bind_parameter(place, figure)?;
                }
                add.raw_execute()?;
            }
        }
        self.named.write(connection)
    }
}

/// The other side of what a team is charged for an answer that cost nothing: under what, and what.
fn credit<'k>(
    mut names: [Cow<'k, str>; NAMES.len()],
    to: Cow<'k, str>,
    figures: &Figures,
) -> ([Cow<'k, str>; NAMES.len()], Figures) {
    names[0] = to;
    // Project, pipeline and key are the other team's; providers were not asked.
    [1, 2, 3, 6, 7].into_iter().for_each(|place| names[place] = Cow::Borrowed(""));
    (names, Figures { transfer: -figures.transfer, ..Figures::default() })
}

fn figures_at(row: &Row<'_>, first: usize) -> rusqlite::Result<Figures> {
    let mut all = [0; Figures::COUNT];
    for (place, number) in all.iter_mut().enumerate() {
        *number = row.get(first + place)?;
    }
    Ok(Figures::of(all))
}

/// Lines of everything that ended and had arrived in `since_ms <= at < until_ms`, with their names in the order of `by`,
/// times and causes left out. Where `by` has times, each line lies within one of the shortest of them in `zone`. Reads the
/// sums where they will do, else the rows.
///
/// # Errors
///
/// The database's; a ledger whose tables are of another version has no sums.
pub fn lines(
    views: &impl Reads,
    by: &[By],
    since_ms: i64,
    until_ms: i64,
    zone: &TimeZone,
) -> Result<Vec<Line>, LedgerError> {
    let needs_rows = by.iter().any(|by| matches!(by, By::User | By::Prompt | By::CacheLoss | By::Session));
    if needs_rows && let Some(lines) = named::lines(views, by, (since_ms, until_ms), zone)? {
        return Ok(lines);
    }
    let is_whole = |ms: i64| ms.rem_euclid(SLOT_MS) == 0;
    let read = || -> Result<Vec<Line>, LedgerError> {
        if needs_rows || !is_whole(since_ms) || !is_whole(until_ms) {
            let is_told_apart = by.iter().any(|by| by.is_time());
            let from = format!("({OF_SPAN})");
            return grouped(views, by, is_told_apart, &from, &span(since_ms, until_ms));
        }
        let known = "SELECT coalesce(min(slot), 0), coalesce(max(slot) + 1, 0) FROM rollup";
        let known = views.read(known, &[])?;
        let [first, beyond] = [0, 1].map(|place| known.first().map_or(0, |row| row[place].number()) * SLOT_MS);
        let periods = periods(by, since_ms.max(first), until_ms.min(beyond), zone);
        let has_days = |(from_ms, until_ms): &(i64, i64)| stretches(*from_ms, *until_ms).any(|part| part.by_day);
        if let ([(from_ms, _), .., (_, until_ms)], false) = (&periods[..], periods.iter().any(has_days)) {
            // Days of a zone that is not UTC's: one reading in the order of the slots.
            let [first, beyond] = [from_ms, until_ms].map(|ms| ms / SLOT_MS);
            let from = format!("(SELECT * FROM rollup WHERE slot >= {first} AND slot < {beyond})");
            return grouped(views, by, true, &from, &[]);
        }
        let mut lines = Vec::new();
        for (from_ms, until_ms) in periods {
            let of_period = grouped(views, by, false, &over(from_ms, until_ms), &[])?;
            lines.extend(of_period.into_iter().map(|line| Line { at_ms: from_ms, ..line }));
        }
        Ok(lines)
    };
    let mut lines = read()?;
    lines.retain(|line| !line.figures.is_zero());
    Ok(lines)
}

/// When the first request arrived that ended, to the quarter of an hour; `None`: none has.
///
/// # Errors
///
/// The database's.
pub fn first_ms(views: &impl Reads) -> Result<Option<i64>, LedgerError> {
    let found = views.read("SELECT min(slot) FROM rollup WHERE requests > 0", &[])?;
    Ok(found.into_iter().flatten().find_map(|cell| match cell {
        Cell::Number(slot) => Some(slot * SLOT_MS),
        Cell::Null | Cell::Text(_) => None,
    }))
}

/// The values of [`OF_SPAN`] and of [`sessions()`].
pub(super) fn span(since_ms: i64, until_ms: i64) -> [Cell; 4] {
    let (first, beyond) = ids_within(since_ms, until_ms);
    [Cell::Text(first), Cell::Text(beyond), Cell::Number(since_ms), Cell::Number(until_ms)]
}

/// The sums of a source by the names that `by` wants, and by slots where they are to be told apart.
fn grouped(
    views: &impl Reads,
    by: &[By],
    by_slot: bool,
    from: &str,
    values: &[Cell],
) -> Result<Vec<Line>, LedgerError> {
    let names: Vec<&str> = by.iter().filter_map(|by| column(*by)).collect();
    let slot = if by_slot { "slot" } else { "0" };
    let columns = std::iter::once(slot).chain(names.iter().copied()).collect::<Vec<_>>().join(", ");
    let sums = Figures::NAMES.map(|name| format!("CAST(coalesce(sum({name}), 0) AS BIGINT)")).join(", ");
    let places = (1..=1 + names.len()).map(|place| place.to_string()).collect::<Vec<_>>().join(", ");
    let sql = format!("SELECT {columns}, {sums} FROM {from} AS summed GROUP BY {places}");
    let line = |row: Vec<Cell>| {
        let (mut named, mut figures) = (Vec::with_capacity(names.len()), [0; Figures::COUNT]);
        let at_ms = row[0].number() * SLOT_MS;
        for (place, cell) in row.into_iter().skip(1).enumerate() {
            match place.checked_sub(names.len()) {
                None => named.push(cell.text()),
                Some(place) => figures[place] = cell.number(),
            }
        }
        Line { at_ms, names: named, figures: Figures::of(figures) }
    };
    Ok(views.read(&sql, values)?.into_iter().map(line).collect())
}

/// The column of a dimension; `None`: it is none.
fn column(by: By) -> Option<&'static str> {
    Some(match by {
        By::Team => "team",
        By::Project => "project",
        By::Pipeline => "pipeline",
        By::Key => "key",
        By::User => "\"user\"",
        By::Prompt => "prompt",
        By::Model => "CASE WHEN provider = '' THEN '' ELSE provider || '/' || model END",
        By::Provider => "provider",
        By::Tier => "tier",
        By::Task => "task",
        By::CacheLoss => "cache_lost_to",
        By::Session => "session",
        By::WouldTier => "would_tier",
        By::WouldModel => "would_model",
        By::Cause | By::Day | By::Week | By::Month => return None,
    })
}
