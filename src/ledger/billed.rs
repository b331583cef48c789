//! What the rows of a provider come to by day and model, for holding a bill against them.

use std::collections::BTreeMap;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use rusqlite::{Connection, params};

use crate::ledger::error::{LedgerError, database_error};
use crate::ledger::schema::first_id_at;
use crate::report::bill::Ours;
use crate::report::midnight;

/// How far an attempt's time may lie from the one in its request's id.
const ARRIVED_EARLIER_MS_MAX: i64 = 3_600_000;

/// Sums the attempts of a provider's row by UTC day and model, from the first day to the last.
///
/// # Errors
///
/// [`LedgerError`] if the views cannot be read.
pub fn billed(
    views: &Connection,
    provider: &str,
    (first, last): (Date, Date),
) -> Result<BTreeMap<(Date, String), Ours>, LedgerError> {
    let until = last.saturating_add(jiff::Span::new().days(1));
    let span = (midnight(first, &TimeZone::UTC), midnight(until, &TimeZone::UTC));
    sums(views, provider, span).map_err(database_error("sum"))
}

fn sums(
    views: &Connection,
    provider: &str,
    (from_ms, until_ms): (i64, i64),
) -> rusqlite::Result<BTreeMap<(Date, String), Ours>> {
    let sql = "SELECT date(at_ms / 1000, 'unixepoch'), model,
            sum(cost_low_nano), sum(coalesce(cost_nano, cost_low_nano)),
            sum(coalesce(cost_high_nano, cost_nano, cost_low_nano)),
            sum(coalesce(input_tokens, 0)), sum(coalesce(output_tokens, 0)),
            sum(cost_nano IS NULL), sum(cost_nano IS NULL AND cost_high_nano IS NULL),
            sum(source = 'estimated' AND fate <> 'failed'), sum(coalesce(unknown_reason, '') = 'price')
         FROM attempts_v1 WHERE request_id >= ?4 AND request_id < ?5 AND provider = ?1 AND at_ms >= ?2 AND at_ms < ?3
         GROUP BY 1, 2";
    // The ids begin with the time of the request, which is before that of its attempts, and give the rows an index.
    let ids = (first_id_at(from_ms - ARRIVED_EARLIER_MS_MAX), first_id_at(until_ms + ARRIVED_EARLIER_MS_MAX));
    let mut statement = views.prepare(sql)?;
    let mut rows = statement.query(params![provider, from_ms, until_ms, ids.0, ids.1])?;
    let mut found = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let day: String = row.get(0)?;
        let Ok(day) = day.parse::<Date>() else { continue };
        let ours = Ours {
            low: row.get(2)?,
            told: row.get(3)?,
            high: row.get(4)?,
            input: row.get(5)?,
            output: row.get(6)?,
            uncertain: row.get(7)?,
            unbounded: row.get(8)?,
            estimated: row.get(9)?,
            unpriced: row.get(10)?,
        };
        found.insert((day, row.get(1)?), ours);
    }
    Ok(found)
}
