//! Conversations whose cached prefix broke, off a ledger or its mirror.

use crate::ledger::error::LedgerError;
use crate::ledger::reads::{Cell, Reads};
use crate::ledger::rollup::span;
use crate::report::losses::Line;

/// Lines that are told at most, dearest first.
const LINES_MAX: u32 = 50;

/// What each culprit cost each conversation whose requests arrived in `since_ms <= at < until_ms`, dearest first.
///
/// # Errors
///
/// The database's; a ledger whose tables are of another version has no such columns.
pub fn losses(views: &impl Reads, since_ms: i64, until_ms: i64) -> Result<Vec<Line>, LedgerError> {
    let sql = format!(
        "SELECT coalesce(session, ''), coalesce(run, ''), coalesce(team, ''), coalesce(prompt, ''), cache_lost_to,
            count(*), CAST(avg(cache_lost_at_tokens) AS BIGINT), CAST(sum(cache_lost_nano) AS BIGINT)
         FROM requests_v1 WHERE request_id >= ?1 AND request_id < ?2 AND at_ms >= ?3 AND at_ms < ?4
            AND cache_lost_to IS NOT NULL GROUP BY 1, 2, 3, 4, 5 ORDER BY 8 DESC LIMIT {LINES_MAX}"
    );
    let line = |row: Vec<Cell>| {
        let [session, run, team, prompt, culprit, breaks, at, lost] = <[Cell; 8]>::try_from(row).ok()?;
        let at_tokens = if let Cell::Number(at) = at { Some(at) } else { None };
        Some(Line {
            session: session.text(),
            run: run.text(),
            team: team.text(),
            prompt: prompt.text(),
            culprit: culprit.text(),
            breaks: breaks.number(),
            at_tokens,
            lost: lost.number(),
        })
    };
    Ok(views.read(&sql, &span(since_ms, until_ms))?.into_iter().filter_map(line).collect())
}
