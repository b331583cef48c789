//! Forgetting rows that are older than what is to be kept, and keeping their sums.
//!
//! Only whole months go. Their requests, attempts and feedback are deleted; their sums (`rollup`) become one slot a month,
//! so that reports by month and statements are what they were. Corrections of such a month end with its rows.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use rusqlite::{Connection, TransactionBehavior, params};

use crate::ledger::rollup;
use crate::ledger::schema::first_id_at;
use crate::report::{Figures, SLOT_MS, date_of, midnight};

/// What went.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Forgotten {
    /// Requests.
    pub requests: u64,
    /// Their attempts.
    pub attempts: u64,
    /// Months whose sums became one slot.
    pub months: u64,
}

/// The first day that is kept, if `months` months are kept besides the one that `today` is in.
pub fn first_kept(today: Date, months: u32) -> Date {
    today.first_of_month().saturating_sub(jiff::Span::new().months(i64::from(months)))
}

/// Deletes the rows of the months before `first_kept` (its first day in `zone`), and draws their sums together. Requests
/// that are open stay.
pub(super) fn forget(connection: &mut Connection, first_kept: Date, zone: &TimeZone) -> rusqlite::Result<Forgotten> {
    let cut_ms = midnight(first_kept, zone);
    // Others may be writing: a transaction that only began to read could not go on to write behind them.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut forgotten = Forgotten::default();
    let oldest: Option<i64> = transaction.query_row("SELECT min(slot) FROM rollup", [], |row| row.get(0))?;
    let mut month = oldest.map_or(first_kept, |slot| date_of(slot * SLOT_MS, zone).first_of_month());
    while month < first_kept {
        let next = month.saturating_add(jiff::Span::new().months(1));
        forgotten.months += u64::from(draw_together(&transaction, midnight(month, zone), midnight(next, zone))?);
        month = next;
    }
    let ended = "SELECT request_id FROM requests WHERE request_id < ?1 AND at_ms < ?2 AND status <> 'open'";
    let before = first_id_kept(first_kept, zone);
    let attempts = format!("DELETE FROM attempts WHERE request_id IN ({ended})");
    forgotten.attempts = transaction.execute(&attempts, params![before, cut_ms])? as u64;
    let requests = "DELETE FROM requests WHERE request_id < ?1 AND at_ms < ?2 AND status <> 'open'";
    forgotten.requests = transaction.execute(requests, params![before, cut_ms])? as u64;
    transaction.execute("DELETE FROM feedback WHERE at_ms < ?1", params![cut_ms])?;
    transaction.commit()?;
    Ok(forgotten)
}

/// The first id of a request that is kept.
pub(super) fn first_id_kept(first_kept: Date, zone: &TimeZone) -> String {
    first_id_at(midnight(first_kept, zone))
}

/// Makes one slot of a span; whether there was more than one.
fn draw_together(connection: &Connection, from_ms: i64, until_ms: i64) -> rusqlite::Result<bool> {
    let span = [from_ms / SLOT_MS, until_ms / SLOT_MS];
    let several = "SELECT count(DISTINCT slot) > 1 FROM rollup WHERE slot >= ?1 AND slot < ?2";
    if !connection.query_row(several, span, |row| row.get::<_, bool>(0))? {
        return Ok(false);
    }
    let sums = Figures::NAMES.map(|name| format!("sum({name})")).join(", ");
    connection.execute(
        &format!(
            "CREATE TEMP TABLE drawn AS SELECT ?1, team, project, pipeline, key, tier, task, provider, model, {sums}
             FROM rollup WHERE slot >= ?1 AND slot < ?2 GROUP BY 2, 3, 4, 5, 6, 7, 8, 9"
        ),
        span,
    )?;
    connection.execute("DELETE FROM rollup WHERE slot >= ?1 AND slot < ?2", span)?;
    connection.execute_batch("INSERT INTO rollup SELECT * FROM drawn; DROP TABLE drawn;")?;
    let [first, beyond] = span;
    rollup::refill_days(connection, first, beyond)?;
    Ok(true)
}
