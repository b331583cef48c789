//! Lines of requests that levers only watch: what was spent on them, and what they would have cost. Off the rows.
//!
//! No sums are kept of it: most ledgers have none, and who watches asks before switching on. A partial index ([`index`])
//! finds the rows. Requests that made no call are none of them: nothing of theirs would have gone anywhere else.

use super::beside::names;
use super::{column, is_last, span};
use crate::ledger::error::LedgerError;
use crate::ledger::reads::{Cell, Reads};
use crate::ledger::sql::its_attempts;
use crate::report::would::{Line, Watched};
use crate::report::{By, SLOT_MS};

/// What finds the rows, also in a ledger that has some.
macro_rules! index {
    () => {
        "\nCREATE INDEX IF NOT EXISTS requests_watched ON requests (request_id) WHERE would_model IS NOT NULL;\n"
    };
}
pub(in crate::ledger) use index;

/// A row a request, with the model that answered or was asked last. Where it would have gone without Farthing is where it went:
/// of one that got no answer the last model that was asked says so.
/// The limit is none; see [`super::rows`].
const WATCHED: &str = concat!(
    "SELECT ",
    names!("coalesce(a.provider, '')", "coalesce(a.model, '')"),
    ", coalesce(r.would_tier, '') AS would_tier, r.would_model,
        CASE WHEN r.would_model = coalesce(r.baseline_model, a.provider || '/' || a.model) THEN 0 ELSE 1 END AS moves,
        CASE WHEN r.cost_nano IS NULL OR r.would_cost_nano IS NULL THEN 1 ELSE 0 END AS in_doubt, r.cost_nano, r.would_cost_nano
     FROM requests r JOIN attempts a ON ",
    its_attempts!("a", "r"),
    " WHERE r.would_model IS NOT NULL AND r.purpose IS NULL AND r.status <> 'open'
        AND r.request_id >= ?1 AND r.request_id < ?2 AND r.at_ms >= ?3 AND r.at_ms < ?4 AND ",
    is_last!(),
    " LIMIT 9223372036854775807"
);

/// The figures of [`Watched`], in their order.
const FIGURES: &str = "count(*), CAST(sum(moves) AS BIGINT), CAST(sum(in_doubt) AS BIGINT),
    CAST(coalesce(sum(CASE WHEN in_doubt = 0 THEN cost_nano END), 0) AS BIGINT),
    CAST(coalesce(sum(CASE WHEN in_doubt = 0 THEN would_cost_nano END), 0) AS BIGINT),
    CAST(coalesce(sum(CASE WHEN in_doubt = 1 THEN cost_nano END), 0) AS BIGINT)";

/// Lines of the requests that ended and had arrived in `since_ms <= at < until_ms`, with their names in the order of `by`,
/// times left out.
///
/// # Errors
///
/// The database's; a ledger whose tables are of another version has no such column.
pub fn lines_watched(
    views: &impl Reads,
    by: &[By],
    (since_ms, until_ms): (i64, i64),
) -> Result<Vec<Line>, LedgerError> {
    let names: Vec<&str> = by.iter().filter_map(|by| column(*by)).collect();
    let slot = if by.iter().any(|by| by.is_time()) { "slot" } else { "0" };
    let columns = std::iter::once(slot).chain(names.iter().copied()).collect::<Vec<_>>().join(", ");
    let places = (1..=1 + names.len()).map(|place| place.to_string()).collect::<Vec<_>>().join(", ");
    let sql = format!("SELECT {columns}, {FIGURES} FROM ({WATCHED}) AS watched GROUP BY {places}");
    let line = |row: Vec<Cell>| {
        let at = |place: usize| row[1 + names.len() + place].number();
        let watched = Watched {
            requests: at(0),
            moved: at(1),
            unpriced: at(2),
            cost: at(3),
            would_cost: at(4),
            unpriced_cost: at(5),
        };
        let at_ms = row[0].number() * SLOT_MS;
        Line { at_ms, names: row.into_iter().skip(1).take(names.len()).map(Cell::text).collect(), watched }
    };
    Ok(views.read(&sql, &span(since_ms, until_ms))?.into_iter().map(line).collect())
}

/// How SQLite finds what is read.
#[cfg(test)]
pub(in crate::ledger) fn watched_plan(views: &rusqlite::Connection) -> Vec<String> {
    let mut steps = views.prepare(&format!("EXPLAIN QUERY PLAN {WATCHED}")).expect("it is right");
    let steps = steps.query_map(rusqlite::params_from_iter(span(0, 1)), |row| row.get(3)).expect("it runs");
    steps.collect::<Result<Vec<String>, _>>().expect("texts")
}
