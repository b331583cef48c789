//! Forgetting rows that are older than what is to be kept, and keeping their sums.
//!
//! Only whole months go. Their requests, attempts and feedback are deleted; their sums (`rollup`) become one slot a month,
//! so that reports by month and statements are what they were. Months of statements that were closed in another zone stay
//! told apart: nothing is drawn across their edges. Corrections of such a month end with its rows. It goes by slots, each in one transaction with its sums, so that a gateway may do it while it serves and be killed at any moment.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior, params};

use crate::ledger::rollup::Sums;
use crate::ledger::schema::{first_id_at, ids_within};
use crate::report::{SLOT_MS, date_of, midnight};

/// What went.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Forgotten {
    /// Requests.
    pub requests: u64,
    /// Their attempts.
    pub attempts: u64,
    /// Months whose sums became one slot.
    pub months: u64,
    /// The first slot of the last of them.
    month: Option<i64>,
}

impl Forgotten {
    /// Adds what went after it.
    fn add(&mut self, later: Self) {
        self.requests += later.requests;
        self.attempts += later.attempts;
        self.months += u64::from(later.month != self.month);
        self.month = later.month;
    }

    /// Whether nothing went.
    pub fn is_nothing(&self) -> bool {
        (self.requests, self.attempts) == (0, 0)
    }
}

/// The first day that is kept, if `months` months are kept besides the one that `today` is in.
pub fn first_kept(today: Date, months: u32) -> Date {
    today.first_of_month().saturating_sub(jiff::Span::new().months(i64::from(months)))
}

/// The first id of a request that is kept.
pub(super) fn first_id_kept(first_kept: Date, zone: &TimeZone) -> String {
    first_id_at(midnight(first_kept, zone))
}

/// Whether there are requests that [`forget`] would delete.
pub(super) fn has_older(connection: &Connection, first_kept: Date, zone: &TimeZone) -> rusqlite::Result<bool> {
    let cut_ms = midnight(first_kept, zone);
    let sql =
        "SELECT EXISTS (SELECT 1 FROM requests WHERE request_id < ?1 AND at_ms < ?2 AND status <> 'open' LIMIT 1)";
    connection.query_row(sql, params![first_id_at(cut_ms), cut_ms], |row| row.get(0))
}

/// Deletes the rows of the months before `first_kept` (its first day in `zone`), and draws their sums together. Requests
/// that are open stay, and so does what is not counted by user yet. `goes_on` is asked after each step, which is told what
/// has gone so far.
pub(super) fn forget(
    connection: &mut Connection,
    first_kept: Date,
    zone: &TimeZone,
    mut goes_on: impl FnMut(&Forgotten) -> bool,
) -> rusqlite::Result<Forgotten> {
    let mut forgotten = Forgotten::default();
    while let Some(gone) = forget_slot(connection, midnight(first_kept, zone), zone)? {
        forgotten.add(gone);
        if !goes_on(&forgotten) {
            break;
        }
    }
    Ok(forgotten)
}

/// Deletes the oldest slot's rows that arrived before `cut_ms`; `None`: there is none that may go.
fn forget_slot(connection: &mut Connection, cut_ms: i64, zone: &TimeZone) -> rusqlite::Result<Option<Forgotten>> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let oldest = "SELECT at_ms, request_id FROM requests WHERE request_id < ?1 AND at_ms < ?2 AND status <> 'open'
        ORDER BY request_id LIMIT 1";
    let oldest: Option<(i64, String)> = transaction
        .query_row(oldest, params![first_id_at(cut_ms), cut_ms], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((slot, oldest)) = oldest.map(|(at_ms, id)| (at_ms.div_euclid(SLOT_MS), id)) else {
        transaction.execute("DELETE FROM feedback WHERE at_ms < ?1", [cut_ms])?;
        transaction.commit()?;
        return Ok(None);
    };
    let month = midnight(date_of(slot * SLOT_MS, zone).first_of_month(), zone) / SLOT_MS;
    let (from_ms, until_ms) = (slot * SLOT_MS, ((slot + 1) * SLOT_MS).min(cut_ms));
    let ids = ids_within(from_ms, until_ms);
    // It goes however far its time lies from its id.
    let ids = (ids.0.min(oldest.clone()), ids.1.max(oldest));
    let ended = "request_id >= ?1 AND request_id <= ?2 AND at_ms >= ?3 AND at_ms < ?4 AND status <> 'open'";
    let span = params![ids.0, ids.1, from_ms, until_ms];
    let first = month.max(last_edge(&transaction, slot)?.unwrap_or(month));
    if !Sums::new(&transaction)?.draw_together(&transaction, slot, first)? {
        return Ok(None);
    }
    let attempts = format!(
        "DELETE FROM attempts WHERE attempt_id >= ?1 AND attempt_id < ?2 || '.'
            AND request_id IN (SELECT request_id FROM requests WHERE {ended})"
    );
    let attempts = transaction.execute(&attempts, span)? as u64;
    let requests = transaction.execute(&format!("DELETE FROM requests WHERE {ended}"), span)? as u64;
    transaction.commit()?;
    Ok(Some(Forgotten { requests, attempts, months: 0, month: Some(month) }))
}

/// The last slot up to this one in which the month of a statement begins or ends.
fn last_edge(connection: &Connection, slot: i64) -> rusqlite::Result<Option<i64>> {
    let edges = "SELECT max(ms) FROM (SELECT from_ms AS ms FROM statements UNION ALL SELECT until_ms FROM statements)
        WHERE ms < ?1";
    let last =
        connection.prepare_cached(edges)?.query_row([(slot + 1) * SLOT_MS], |row| row.get::<_, Option<i64>>(0))?;
    Ok(last.map(|ms| ms.div_euclid(SLOT_MS)))
}
