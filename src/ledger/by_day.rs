//! What the ledger has of a provider's days, by model: the side of `bill::compare` that is ours.
//!
//! Attempts are counted to the time at which they left. Reads the views, also while a gateway writes.

use jiff::Span;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use rusqlite::{Connection, params};

use crate::bill::KINDS;
use crate::bill::compare::Ours;
use crate::ledger::error::LedgerError;
use crate::ledger::reads::{Cell, Reads};
use crate::ledger::schema::ids_within;
use crate::report::{SLOT_MS, date_of, midnight};

/// A provider's attempts within `from_ms..until_ms`, by model.
///
/// # Errors
///
/// SQLite's own.
pub fn attempts_by_model(
    views: &Connection,
    provider: &str,
    (from_ms, until_ms): (i64, i64),
) -> rusqlite::Result<Vec<(String, Ours)>> {
    let (first, beyond) = ids_within(from_ms, until_ms);
    views
        .prepare_cached(
            "SELECT coalesce(model, ''), count(*), sum(cost_nano IS NULL),
                sum(cost_nano IS NULL AND price_version IS NULL), sum(source = 'estimated'),
                coalesce(sum(cost_low_nano), 0), coalesce(sum(cost_nano), 0),
                CASE WHEN count(*) = count(cost_high_nano) THEN sum(cost_high_nano) END,
                coalesce(sum(overshoot_nano), 0), coalesce(sum(input_tokens), 0), coalesce(sum(cached_input_tokens), 0),
                coalesce(sum(coalesce(cache_write_tokens, 0) + coalesce(cache_write_1h_tokens, 0)), 0),
                coalesce(sum(output_tokens), 0), sum(input_tokens IS NULL OR output_tokens IS NULL)
             FROM attempts_v1
             WHERE provider = ?1 AND attempt_id >= ?2 AND attempt_id < ?3 AND at_ms >= ?4 AND at_ms < ?5
                AND NOT (fate = 'failed' AND cost_nano = 0)
             GROUP BY 1",
        )?
        .query_map(params![provider, first, beyond, from_ms, until_ms], |row| {
            let number = |column| row.get::<_, i64>(column).map(i64::unsigned_abs);
            let attempts = number(1)?;
            let ours = Ours {
                attempts,
                uncertain: number(2)?,
                unpriced: number(3)?,
                estimated: number(4)?,
                low: row.get(5)?,
                known: row.get(6)?,
                high: row.get(7)?,
                overshoot: row.get(8)?,
                counts: [number(9)?, number(10)?, number(11)?, number(12)?, attempts],
                unread: number(13)?,
            };
            const { assert!(KINDS.len() == 5) };
            Ok((row.get(0)?, ours))
        })?
        .collect()
}

/// When the oldest row that is left arrived, if older ones were deleted: their sums are still there.
///
/// # Errors
///
/// SQLite's own.
pub fn rows_kept_from(views: &Connection) -> rusqlite::Result<Option<i64>> {
    let (oldest_slot, oldest_ms): (Option<i64>, Option<i64>) = views.query_row(
        "SELECT (SELECT min(slot) FROM rollup),
            (SELECT at_ms FROM requests WHERE at_ms IS NOT NULL ORDER BY request_id LIMIT 1)",
        [],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    // Where no row is left, all of them were deleted.
    let kept_ms = oldest_ms.unwrap_or(i64::MAX);
    Ok(oldest_slot.filter(|slot| slot.saturating_add(1).saturating_mul(SLOT_MS) <= kept_ms).map(|_| kept_ms))
}

/// What a span has of months whose rows are forgotten.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Forgotten {
    /// The day of the oldest row that is left.
    pub kept: Date,
    /// The months, such as `2026-11`, in order.
    pub months: Vec<String>,
}

/// The days, with months that they cut made whole whose rows are forgotten: nobody knows what a part of such a month came to.
///
/// # Errors
///
/// The database's.
pub fn whole(views: &impl Reads, (first, last): (Date, Date), zone: &TimeZone) -> Result<(Date, Date), LedgerError> {
    let is_forgotten = |day: Date| {
        let (first, beyond) = (day.first_of_month(), day.last_of_month().saturating_add(Span::new().days(1)));
        let found = forgotten(views, (midnight(first, zone), midnight(beyond, zone)), zone)?;
        let name = first.strftime("%Y-%m").to_string();
        Ok::<_, LedgerError>(found.is_some_and(|found| found.months.contains(&name)))
    };
    let starts = first == first.first_of_month() || !is_forgotten(first)?;
    let ends = last == last.last_of_month() || !is_forgotten(last)?;
    Ok((if starts { first } else { first.first_of_month() }, if ends { last } else { last.last_of_month() }))
}

/// What `from_ms..until_ms` has of months whose rows are forgotten; `None`: nothing. Mirrors forget none.
///
/// # Errors
///
/// The database's.
pub fn forgotten(
    views: &impl Reads,
    (from_ms, until_ms): (i64, i64),
    zone: &TimeZone,
) -> Result<Option<Forgotten>, LedgerError> {
    if !views.has("rollup_named")? {
        return Ok(None);
    }
    let oldest = "SELECT (SELECT min(slot) FROM rollup),
        (SELECT at_ms FROM requests WHERE at_ms IS NOT NULL ORDER BY request_id LIMIT 1)";
    let row = views.read(oldest, &[])?.into_iter().next().unwrap_or_default();
    let Some(Cell::Number(first)) = row.first() else { return Ok(None) };
    let kept_ms = if let Some(Cell::Number(at_ms)) = row.get(1) { *at_ms } else { i64::MAX };
    let kept_slot = kept_ms.div_euclid(SLOT_MS);
    if *first >= kept_slot {
        return Ok(None);
    }
    let slots = "SELECT DISTINCT slot FROM rollup WHERE slot >= ?1 AND slot < ?2 ORDER BY 1";
    let (from, until) = (from_ms.div_euclid(SLOT_MS), until_ms.div_euclid(SLOT_MS).min(kept_slot));
    let slots = views.read(slots, &[Cell::Number(from), Cell::Number(until)])?;
    let months = slots.iter().map(|row| date_of(row[0].number() * SLOT_MS, zone).strftime("%Y-%m").to_string());
    let mut months: Vec<String> = months.collect();
    months.dedup();
    // Where no row is left, all of them are forgotten.
    let kept = if kept_ms == i64::MAX { Date::MAX } else { date_of(kept_ms, zone) };
    Ok(Some(Forgotten { kept, months }).filter(|found| !found.months.is_empty()))
}
