//! Sums by user, by prompt and by what broke a cached prefix: by day of UTC and team, filled behind the requests' back.
//!
//! There are so many names that counting them while requests are settled would cost each of them something. So a slot is
//! counted once it has been over for a while ([`fill_next`]), from its rows, in one transaction with the mark up to which
//! that was done; what is changed before the mark changes the sums with it ([`Named`]). Reports read the sums of whole
//! days, and rows where there are none ([`lines`]). A row of sums is no more than the rows that it is the sum of, and a
//! tenth of one of them.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::LazyLock;

use jiff::tz::TimeZone;
use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior, params_from_iter, types::Value};

use super::{ADDS_UP, Key, OF_SPAN, figures_at, grouped, span};
use crate::ledger::batch::RequestChange;
use crate::ledger::error::LedgerError;
use crate::ledger::reads::Reads;
use crate::report::periods::{Stretch, periods, stretches};
use crate::report::{By, Figures, Line, SLOT_MS, SLOTS_A_DAY};

/// How often a report looks again whose sums are being filled meanwhile, before it reads the rows.
const LOOKS: usize = 3;

macro_rules! columns {
    () => {
        "
    slot INTEGER NOT NULL, team TEXT NOT NULL, name TEXT NOT NULL,
    requests INTEGER NOT NULL, attempts INTEGER NOT NULL, input_tokens INTEGER NOT NULL,
    cached_input_tokens INTEGER NOT NULL, cache_write_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL,
    reasoning_tokens INTEGER NOT NULL, cost_nano INTEGER NOT NULL, uncertain INTEGER NOT NULL,
    uncertain_low_nano INTEGER NOT NULL, uncertain_high_nano INTEGER NOT NULL, unbounded INTEGER NOT NULL,
    compared INTEGER NOT NULL, baseline_nano INTEGER NOT NULL, saved_route_nano INTEGER NOT NULL,
    saved_fallback_nano INTEGER NOT NULL, saved_retry_nano INTEGER NOT NULL, saved_compress_nano INTEGER NOT NULL,
    saved_cache_nano INTEGER NOT NULL, provider_cache_nano INTEGER NOT NULL, cache_lost_nano INTEGER NOT NULL,
    overhead_nano INTEGER NOT NULL, transfer_nano INTEGER NOT NULL, estimated_nano INTEGER NOT NULL,
    estimated_low_nano INTEGER NOT NULL, estimated_high_nano INTEGER NOT NULL, discount_nano INTEGER NOT NULL,
    PRIMARY KEY (slot, team, name)
"
    };
}
pub(in crate::ledger) use columns;

/// The tables, each with the column of the rows whose names it has and the dimension that this is.
pub(in crate::ledger) const TABLES: [(&str, &str, By); 3] = [
    ("rollup_user", "\"user\"", By::User),
    ("rollup_prompt", "prompt", By::Prompt),
    ("rollup_cache_loss", "cache_lost_to", By::CacheLoss),
];

/// Adds to a sum of each table.
static ADD: LazyLock<[String; TABLES.len()]> = LazyLock::new(|| {
    let marks = vec!["?"; 3 + Figures::COUNT].join(", ");
    TABLES.map(|(table, ..)| format!("INSERT INTO {table} VALUES ({marks}) ON CONFLICT DO UPDATE SET {}", *ADDS_UP))
});

/// The sums of a span's rows by all three.
static OF_ROWS: LazyLock<String> = LazyLock::new(|| {
    let sums = Figures::NAMES.map(|name| format!("sum({name})")).join(", ");
    let names = TABLES.map(|(_, column, _)| column).join(", ");
    format!("SELECT team, {names}, {sums} FROM ({OF_SPAN}) GROUP BY team, {names}")
});

/// A day, by its first slot, a team and a name.
type Place<'k> = (i64, Cow<'k, str>, Cow<'k, str>);

/// Changes of these sums that one transaction makes.
pub(super) struct Named<'k> {
    until_slot: i64,
    changes: [HashMap<Place<'k>, Figures>; TABLES.len()],
}

impl<'k> Named<'k> {
    pub(super) fn new(connection: &Connection) -> rusqlite::Result<Self> {
        let until = "SELECT until_slot FROM rollup_named";
        let until_slot = connection.prepare_cached(until)?.query_row([], |row| row.get(0))?;
        Ok(Self { until_slot, changes: Default::default() })
    }

    /// Whether what is in a slot has been counted, so that what changes there has to be.
    pub(super) fn has(&self, slot: i64) -> bool {
        slot < self.until_slot
    }

    /// Changes what a team's request of a slot counts for under its names.
    pub(super) fn change(
        &mut self,
        (slot, team): (i64, Cow<'k, str>),
        names: [Cow<'k, str>; TABLES.len()],
        change: impl Fn(&mut Figures),
    ) {
        let day = day_of(slot);
        for (sums, name) in self.changes.iter_mut().zip(names) {
            change(sums.entry((day, team.clone(), name)).or_default());
        }
    }

    /// Puts in what a request counts for that begins and ends in one batch.
    pub(super) fn change_whole(&mut self, (slot, names): &Key<'k>, change: &RequestChange<'k>, figures: &Figures) {
        let is_credit = figures.transfer < 0;
        let facts = change.facts.as_ref().filter(|_| !is_credit);
        let lost = change.comparison.as_ref().and_then(|found| found.lost).filter(|_| !is_credit);
        let of = [
            facts.and_then(|facts| facts.user).unwrap_or_default(),
            facts.and_then(|facts| facts.prompt).unwrap_or_default(),
            lost.map_or("", |lost| lost.culprit),
        ];
        self.change((*slot, names[0].clone()), of.map(Cow::Borrowed), |sum| sum.add(figures));
    }

    /// Moves what a slot's rows count for from their day to a month's first slot.
    pub(super) fn draw_together(&mut self, connection: &Connection, slot: i64, month: i64) -> rusqlite::Result<()> {
        let day = day_of(slot);
        each_of_rows(connection, slot, |team, names, figures| {
            for (sums, name) in self.changes.iter_mut().zip(names) {
                sums.entry((day, team.clone(), name.clone())).or_default().take(figures);
                sums.entry((month, team.clone(), name)).or_default().add(figures);
            }
        })?;
        self.write(connection)?;
        self.changes = Default::default();
        for (table, ..) in TABLES {
            forget_nothing(connection, table, day)?;
        }
        connection.execute("UPDATE rollup_named SET steps = steps + 1", []).map(drop)
    }

    /// Writes the changes.
    pub(super) fn write(&self, connection: &Connection) -> rusqlite::Result<()> {
        for (sql, sums) in ADD.iter().zip(&self.changes) {
            if sums.is_empty() {
                continue;
            }
            let mut add = connection.prepare_cached(sql)?;
            for ((day, team, name), figures) in sums.iter().filter(|(_, figures)| !figures.is_zero()) {
                let names = [Value::from(*day), team.as_ref().to_owned().into(), name.as_ref().to_owned().into()];
                add.execute(params_from_iter(names.into_iter().chain(figures.all().map(Value::from))))?;
            }
        }
        Ok(())
    }
}

/// The first slot of a slot's day.
pub(super) fn day_of(slot: i64) -> i64 {
    slot.div_euclid(SLOTS_A_DAY) * SLOTS_A_DAY
}

/// Deletes sums of a slot that are sums of nothing.
pub(super) fn forget_nothing(connection: &Connection, table: &str, slot: i64) -> rusqlite::Result<()> {
    let is_nothing = Figures::NAMES.map(|name| format!("{name} = 0")).join(" AND ");
    connection.execute(&format!("DELETE FROM {table} WHERE slot = ?1 AND {is_nothing}"), [slot]).map(drop)
}

/// What a slot's rows count for, by team and names.
fn each_of_rows(
    connection: &Connection,
    slot: i64,
    mut take: impl FnMut(Cow<'static, str>, Names, &Figures),
) -> rusqlite::Result<()> {
    let mut rows = connection.prepare_cached(&OF_ROWS)?;
    let mut rows = rows.query(params_from_iter(span(slot * SLOT_MS, (slot + 1) * SLOT_MS)))?;
    while let Some(row) = rows.next()? {
        let text = |place: usize| row.get::<_, String>(place).map(Cow::Owned);
        take(text(0)?, [text(1)?, text(2)?, text(3)?], &figures_at(row, 1 + TABLES.len())?);
    }
    Ok(())
}

/// The names of a row, in the order of [`TABLES`].
type Names = [Cow<'static, str>; TABLES.len()];

/// Counts the next slot before `beyond` that has anything and has not been counted; false: there is none.
///
/// # Errors
///
/// SQLite's; nothing has changed then.
pub fn fill_next(connection: &mut Connection, beyond: i64) -> rusqlite::Result<bool> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let next = "SELECT slot FROM rollup WHERE slot >= (SELECT until_slot FROM rollup_named) ORDER BY slot LIMIT 1";
    let next: Option<i64> = transaction.query_row(next, [], |row| row.get(0)).optional()?;
    let Some(slot) = next.filter(|slot| *slot < beyond) else { return Ok(false) };
    let mut named = Named { until_slot: slot + 1, changes: Default::default() };
    each_of_rows(&transaction, slot, |team, names, figures| {
        named.change((slot, team), names, |sum| sum.add(figures));
    })?;
    named.write(&transaction)?;
    transaction.execute("UPDATE rollup_named SET until_slot = ?1, steps = steps + 1", [slot + 1])?;
    transaction.commit()?;
    Ok(true)
}

/// Lines as [`super::lines`] gives them, where these sums will do; `None`: they will not.
pub(super) fn lines(
    views: &impl Reads,
    by: &[By],
    (since_ms, until_ms): (i64, i64),
    zone: &TimeZone,
) -> Result<Option<Vec<Line>>, LedgerError> {
    let mut tables = TABLES.iter().filter(|(.., dimension)| by.contains(dimension));
    let (Some(table), None) = (tables.next(), tables.next()) else { return Ok(None) };
    let is_known = |by: &By| *by == By::Team || *by == table.2 || by.is_time() || *by == By::Cause;
    let is_whole = since_ms.rem_euclid(SLOT_MS) == 0 && until_ms.rem_euclid(SLOT_MS) == 0;
    if !is_whole || !by.iter().all(is_known) || !views.has("rollup_named")? {
        return Ok(None);
    }
    let mark = || -> Result<(i64, i64), LedgerError> {
        let rows = views.read("SELECT until_slot, steps FROM rollup_named", &[])?;
        Ok(rows.first().map_or((i64::MIN, 0), |row| (row[0].number(), row[1].number())))
    };
    for _ in 0..LOOKS {
        let before = mark()?;
        let known = "SELECT coalesce(min(slot), 0), coalesce(max(slot) + 1, 0) FROM rollup";
        let known = views.read(known, &[])?;
        let [first, beyond] = [0, 1].map(|place| known.first().map_or(0, |row| row[place].number()));
        // Whole days, so that the first one and the last one are read as such.
        let [first, beyond] = [day_of(first), day_of(beyond + SLOTS_A_DAY - 1)].map(|slot| slot * SLOT_MS);
        let mut lines = Vec::new();
        for (from_ms, until_ms) in periods(by, since_ms.max(first), until_ms.min(beyond), zone) {
            let of_period = of_period(views, by, table, (from_ms, until_ms), before.0)?;
            lines.extend(of_period.into_iter().map(|line| Line { at_ms: from_ms, ..line }));
        }
        // Else a slot may have gone from the rows to the sums between two looks.
        if mark()? == before {
            lines.retain(|line| !line.figures.is_zero());
            return Ok(Some(lines));
        }
    }
    Ok(None)
}

/// The lines of a period: its whole days as far as they have been counted, and rows of what is left.
fn of_period(
    views: &impl Reads,
    by: &[By],
    (table, column, _): &(&str, &str, By),
    (from_ms, until_ms): (i64, i64),
    counted_until: i64,
) -> Result<Vec<Line>, LedgerError> {
    let mut lines = Vec::new();
    let mut of_rows = |from: i64, until: i64| -> Result<(), LedgerError> {
        if from < until {
            let span = span(from * SLOT_MS, until * SLOT_MS);
            lines.extend(grouped(views, by, false, &format!("({OF_SPAN})"), &span)?);
        }
        Ok(())
    };
    let mut sums = Vec::new();
    for Stretch { by_day, from, until } in stretches(from_ms, until_ms) {
        if by_day {
            sums.push(format!("slot >= {from} AND slot < {until}"));
            of_rows(counted_until.clamp(from, until), until)?;
        } else {
            // A month whose rows are gone has one slot, which need not begin a day of UTC.
            sums.push(format!("slot >= {from} AND slot < {until} AND slot % {SLOTS_A_DAY} <> 0"));
            of_rows(from, until)?;
        }
    }
    let parts = sums.iter().map(|part| format!("SELECT *, name AS {column} FROM {table} WHERE {part}"));
    let from = format!("({})", parts.collect::<Vec<_>>().join(" UNION ALL "));
    lines.extend(grouped(views, by, false, &from, &[])?);
    Ok(lines)
}
