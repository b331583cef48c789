//! Lines of what few requests have, and no sums are kept of ([`Beside`]): off the rows that have it.
//!
//! Partial indices ([`indices`]) find those rows, so that a report reads none of the others, and a request that was answered
//! in text costs its row nothing. What a month's rows that are forgotten had of it is forgotten with them.

use super::{column, span};
use crate::ledger::error::LedgerError;
use crate::ledger::reads::{Cell, Reads};
use crate::ledger::sql::its_attempts;
use crate::money::NanoUsd;
use crate::reply::usage::Calls;
use crate::report::beside::Beside;
use crate::report::{By, Figures, Line, SLOT_MS};

/// Rows of attempts that have any of it. What of the sound came from a cache is a part of it.
macro_rules! apart {
    ($prefix:literal) => {
        concat!(
            $prefix,
            "audio_input_tokens IS NOT NULL OR ",
            $prefix,
            "audio_output_tokens IS NOT NULL OR ",
            $prefix,
            "image_input_tokens IS NOT NULL OR ",
            $prefix,
            "image_output_tokens IS NOT NULL OR ",
            $prefix,
            "web_search_calls IS NOT NULL OR ",
            $prefix,
            "web_fetch_calls IS NOT NULL OR ",
            $prefix,
            "code_interpreter_calls IS NOT NULL OR ",
            $prefix,
            "file_search_calls IS NOT NULL"
        )
    };
}

/// Attempts whose tokens were estimated and whose cost nothing bounds.
macro_rules! guessed {
    ($prefix:literal) => {
        concat!(
            $prefix,
            "source = 'estimated' AND ",
            $prefix,
            "cost_nano IS NOT NULL AND ",
            $prefix,
            "cost_high_nano IS NULL"
        )
    };
}

/// What finds the rows that have any of it, also in a ledger that has rows.
macro_rules! indices {
    () => {
        concat!(
            "\nCREATE INDEX IF NOT EXISTS attempts_apart ON attempts (attempt_id) WHERE ",
            rollup::beside::apart!(""),
            ";\nCREATE INDEX IF NOT EXISTS attempts_beyond ON attempts (attempt_id) WHERE overshoot_nano IS NOT NULL",
            ";\nCREATE INDEX IF NOT EXISTS requests_failed ON requests (request_id) WHERE http_status >= 400",
            ";\nCREATE INDEX IF NOT EXISTS attempts_guessed ON attempts (attempt_id) WHERE ",
            rollup::beside::guessed!(""),
            ";\n"
        )
    };
}
pub(in crate::ledger) use {apart, guessed, indices};

/// The names of a row, as reports know them, and its slot.
macro_rules! names {
    ($provider:literal, $model:literal) => {
        concat!(
            "r.at_ms / 900000 AS slot, coalesce(r.team, '') AS team, coalesce(r.project, '') AS project,
            coalesce(r.pipeline, '') AS pipeline, coalesce(r.key, '') AS key, coalesce(r.\"user\", '') AS \"user\",
            coalesce(r.prompt, '') AS prompt, coalesce(r.tier, '') AS tier, coalesce(r.task, '') AS task,
            coalesce(r.cache_lost_to, '') AS cache_lost_to, coalesce(r.session, '') AS session, ",
            $provider,
            " AS provider, ",
            $model,
            " AS model"
        )
    };
}

pub(super) use names;

/// Requests that ended in an error before anything had left for a provider; who hung up was not refused.
const REFUSED: &str = concat!(
    "SELECT ",
    names!("''", "''"),
    " FROM requests r WHERE r.http_status >= 400 AND r.http_status <> 499 AND r.status <> 'open' AND r.purpose IS NULL
        AND r.request_id >= ?1 AND r.request_id < ?2 AND r.at_ms >= ?3 AND r.at_ms < ?4
        AND NOT EXISTS (SELECT 1 FROM attempts a WHERE ",
    its_attempts!("a", "r"),
    ")"
);

/// Attempts with anything but text; `{tier}` is a further condition.
const APART: &str = concat!(
    "SELECT ",
    names!("coalesce(a.provider, '')", "coalesce(a.model, '')"),
    ", a.audio_input_tokens, a.cached_audio_input_tokens, a.audio_output_tokens, a.image_input_tokens,
        a.image_output_tokens, a.web_search_calls, a.web_fetch_calls, a.code_interpreter_calls, a.file_search_calls,
        coalesce(a.discount_ppm, 0) AS discount_ppm, CASE WHEN a.cost_nano IS NULL THEN '' ELSE a.price_version END AS version
     FROM attempts a JOIN requests r ON r.request_id = a.request_id
     WHERE (",
    apart!("a."),
    ") AND a.attempt_id >= ?1 AND a.attempt_id < ?2 AND r.status <> 'open' AND r.at_ms >= ?3 AND r.at_ms < ?4"
);

/// Attempts that were billed beyond what they could cost. What was overshot is what the meter said of it: the input where the
/// output kept to its limit.
const OVERSHOT: &str = concat!(
    "SELECT ",
    names!("coalesce(a.provider, '')", "coalesce(a.model, '')"),
    ", CASE WHEN a.output_tokens IS NOT NULL AND a.output_tokens <= coalesce(a.output_tokens_bound, a.output_tokens)
            THEN 1 ELSE 0 END AS by_input, a.overshoot_nano
     FROM attempts a JOIN requests r ON r.request_id = a.request_id
     WHERE a.overshoot_nano IS NOT NULL AND a.attempt_id >= ?1 AND a.attempt_id < ?2 AND r.status <> 'open'
        AND r.at_ms >= ?3 AND r.at_ms < ?4"
);

/// Attempts of which nobody knows what they cost at most, though tokens and cost were estimated.
const GUESSED: &str = concat!(
    "SELECT ",
    names!("coalesce(a.provider, '')", "coalesce(a.model, '')"),
    " FROM attempts a JOIN requests r ON r.request_id = a.request_id WHERE ",
    guessed!("a."),
    " AND a.attempt_id >= ?1 AND a.attempt_id < ?2 AND r.status <> 'open' AND r.at_ms >= ?3 AND r.at_ms < ?4"
);

/// What calls of one kind of tool cost by a version of a price, less so many millionths; `None`: nobody knows.
pub type Fees<'f> = dyn Fn(&str, Calls, u32) -> Option<NanoUsd> + 'f;

/// Lines as [`super::lines`] gives them, with nothing but what stands beside. Of one service tier, or of all.
///
/// # Errors
///
/// The database's; a ledger whose tables are of another version has no such columns.
pub fn lines_beside(
    views: &impl Reads,
    by: &[By],
    (since_ms, until_ms): (i64, i64),
    service_tier: Option<&str>,
    fees: &Fees<'_>,
) -> Result<Vec<Line>, LedgerError> {
    let names: Vec<&str> = by.iter().filter_map(|by| column(*by)).collect();
    let slot = if by.iter().any(|by| by.is_time()) { "slot" } else { "0" };
    let columns = std::iter::once(slot).chain(names.iter().copied()).collect::<Vec<_>>().join(", ");
    let places =
        |beyond: usize| (1..=1 + names.len() + beyond).map(|place| place.to_string()).collect::<Vec<_>>().join(", ");
    let mut span = span(since_ms, until_ms).to_vec();
    let mut lines = Vec::new();
    let mut take = |row: Vec<Cell>, beside: fn(&[Cell], &Fees<'_>) -> Beside| {
        let figures = Figures { beside: beside(&row[1 + names.len()..], fees), ..Figures::default() };
        let at_ms = row[0].number() * SLOT_MS;
        let names = row.into_iter().skip(1).take(names.len()).map(Cell::text).collect();
        lines.push(Line { at_ms, names, figures });
    };
    if service_tier.is_none() {
        let sql = format!("SELECT {columns}, count(*) FROM ({REFUSED}) AS refused GROUP BY {}", places(0));
        for row in views.read(&sql, &span)? {
            take(row, |row, _| Beside { refused: row[0].number(), ..Beside::default() });
        }
    }
    let of_tier = match service_tier {
        Some(tier) => {
            span.push(Cell::Text(tier.to_owned()));
            " AND a.priced_tier = ?5"
        }
        None => "",
    };
    let kinds = Beside::TOKENS.into_iter().map(str::to_owned).chain(Calls::KINDS.map(|kind| format!("{kind}_calls")));
    let sums: Vec<String> = kinds.map(|kind| format!("CAST(coalesce(sum({kind}), 0) AS BIGINT)")).collect();
    let sql = format!(
        "SELECT {columns}, version, discount_ppm, {} FROM ({APART}{of_tier}) AS apart GROUP BY {}",
        sums.join(", "),
        places(2)
    );
    for row in views.read(&sql, &span)? {
        take(row, beside_of);
    }
    let sums =
        [1, 0].map(|of| format!("CAST(sum(CASE WHEN by_input = {of} THEN overshoot_nano ELSE 0 END) AS BIGINT)"));
    let sql =
        format!("SELECT {columns}, {} FROM ({OVERSHOT}{of_tier}) AS overshot GROUP BY {}", sums.join(", "), places(0));
    for row in views.read(&sql, &span)? {
        take(row, |row, _| Beside { overshoot: [row[0].number(), row[1].number()], ..Beside::default() });
    }
    let sql = format!("SELECT {columns}, count(*) FROM ({GUESSED}{of_tier}) AS guessed GROUP BY {}", places(0));
    for row in views.read(&sql, &span)? {
        take(row, |row, _| Beside { unbounded_estimates: row[0].number(), ..Beside::default() });
    }
    Ok(lines)
}

/// From the version of a price, the discount, tokens by kind and calls by kind.
fn beside_of(row: &[Cell], fees: &Fees<'_>) -> Beside {
    let tokens = std::array::from_fn(|kind| row[2 + kind].number());
    let calls: [i64; Calls::KINDS.len()] = std::array::from_fn(|kind| row[2 + Beside::TOKENS.len() + kind].number());
    let mut found = Beside { tokens, calls, ..Beside::default() };
    let version = if let Cell::Text(version) = &row[0] { version.as_str() } else { "" };
    let discount_ppm = u32::try_from(row[1].number()).unwrap_or_default();
    // Kind by kind, so that what one of them costs is known whatever else the rows of a group called.
    for (kind, count) in calls.into_iter().enumerate().filter(|(_, count)| *count > 0) {
        let of_kind = Calls::of(std::array::from_fn(|other| if other == kind { count.unsigned_abs() } else { 0 }));
        match fees(version, of_kind, discount_ppm) {
            Some(fee) => found.fees = found.fees.saturating_add(fee.0),
            None => found.unpriced_calls += count,
        }
    }
    found
}

/// How SQLite finds what is read.
#[cfg(test)]
pub(in crate::ledger) fn beside_plans(views: &rusqlite::Connection) -> Vec<String> {
    let plan = |sql: &str| {
        let mut steps = views.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).expect("it is right");
        let steps = steps.query_map(rusqlite::params_from_iter(span(0, 1)), |row| row.get(3)).expect("it runs");
        steps.collect::<Result<Vec<String>, _>>().expect("texts")
    };
    [REFUSED, APART, OVERSHOT, GUESSED].into_iter().flat_map(plan).collect()
}
