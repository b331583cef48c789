//! Lines by the service tier that attempts were priced at, which no sums know of: off the rows.

use super::{figures, grouped, is_last, rows, span};
use crate::ledger::error::LedgerError;
use crate::ledger::reads::{Cell, Reads};
use crate::ledger::schema::ids_within;
use crate::ledger::sql::its_attempts;
use crate::report::{By, Line};

/// What attempts of a span count for that were priced at a service tier of their own. A bare comparison would make the outer join
/// an inner one, which SQLite may begin with the attempts.
const OF_TIER: &str = concat!(
    "SELECT slot, team, project, pipeline, key, \"user\", prompt, tier, task, cache_lost_to, session, provider, model, ",
    figures!(),
    " FROM (",
    rows!(
        "r.request_id >= ?1 AND r.request_id < ?2 AND r.at_ms >= ?3 AND r.at_ms < ?4 AND coalesce(a.priced_tier, '') = ?5"
    ),
    ") AS of_tier"
);

/// The part of [`super::lines`] that was priced at another service tier than the standard one (flex, batch, priority), by tier and slot.
/// No sums know of tiers: the rows of the span are read.
///
/// # Errors
///
/// The database's.
pub fn lines_by_service_tier(
    views: &impl Reads,
    by: &[By],
    since_ms: i64,
    until_ms: i64,
) -> Result<Vec<(String, Vec<Line>)>, LedgerError> {
    // An attempt leaves when its request arrives, or later.
    let (since, until) = ids_within(since_ms, until_ms);
    let tiers = "SELECT DISTINCT priced_tier FROM attempts
        WHERE attempt_id >= ?1 AND attempt_id < ?2 AND priced_tier <> 'standard' ORDER BY 1";
    let tiers = views.read(tiers, &[Cell::Text(since), Cell::Text(until)])?;
    let lines = |tier: Cell| {
        let [first, beyond, from, end] = span(since_ms, until_ms);
        let lines = grouped(views, by, true, &format!("({OF_TIER})"), &[first, beyond, from, end, tier.clone()])?;
        Ok((tier.text(), lines))
    };
    tiers.into_iter().flatten().map(lines).collect()
}
