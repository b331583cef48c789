//! Sessions of policies that hold some of them out: off the rows, for what levers really save.

use std::collections::BTreeMap;

use super::span;
use crate::ledger::error::LedgerError;
use crate::ledger::reads::{Cell, Reads};
use crate::report::causal::Session;

/// The length of a request's id.
const ID_LENGTH: usize = uuid::fmt::Hyphenated::LENGTH;

/// The sessions of policies that hold some of them out, of what ended and had arrived in the span.
///
/// # Errors
///
/// The database's.
pub fn sessions(views: &impl Reads, since_ms: i64, until_ms: i64) -> Result<Vec<Session>, LedgerError> {
    let sql = "SELECT policy, CASE WHEN arm = 'holdout' THEN 1 ELSE 0 END, session,
            CASE WHEN count(*) = count(cost_nano) THEN CAST(sum(cost_nano) AS BIGINT) END,
            CAST(coalesce(sum(saved_nano), 0) AS BIGINT), min(request_id || coalesce(task, '')),
            min(at_ms)
         FROM requests_v1 WHERE request_id >= ?1 AND request_id < ?2 AND at_ms >= ?3 AND at_ms < ?4
            AND status <> 'open' AND arm IS NOT NULL AND policy IS NOT NULL GROUP BY 1, 2, 3";
    // A session goes on when its policy gets another version.
    let mut sessions = BTreeMap::<(String, bool, String), (Option<i64>, i64, String, i64)>::new();
    for row in views.read(sql, &span(since_ms, until_ms))? {
        let Ok([policy, is_held_out, session, cost, saved, begun, at]) = <[Cell; 7]>::try_from(row) else { continue };
        let policy = policy.text().split('@').next().unwrap_or_default().to_owned();
        let sum = sessions.entry((policy, is_held_out.number() != 0, session.text())).or_insert((
            Some(0),
            0,
            String::new(),
            i64::MAX,
        ));
        let cost = if let Cell::Number(cost) = cost { Some(cost) } else { None };
        sum.0 = sum.0.zip(cost).map(|(sum, cost)| sum + cost);
        sum.1 += saved.number();
        sum.3 = sum.3.min(at.number());
        let begun = begun.text();
        if sum.2.is_empty() || begun < sum.2 {
            sum.2 = begun;
        }
    }
    let sessions = sessions.into_iter().map(|((policy, is_held_out, _), (cost, saved, begun, begun_ms))| {
        // The task stands behind the id of the first request: what it began with no lever had a part in.
        let task = begun.get(ID_LENGTH..).unwrap_or_default().to_owned();
        Session { policy, task, begun_ms, is_held_out, cost, saved }
    });
    Ok(sessions.collect())
}
