//! Sums by slots of a quarter of an hour, kept beside the rows so that a report over millions of them reads thousands.
//!
//! A request counts once it has ended. Whatever changes it takes its figures out of the sums and puts its new ones in, in
//! the transaction of the change, so that the sums are those of the rows at any moment. Users and prompts are too many to
//! keep sums by: reports on them read the rows.

use std::collections::HashMap;
use std::sync::LazyLock;

use rusqlite::{CachedStatement, Connection, Row, params, params_from_iter, types::Value};

use crate::ledger::error::{LedgerError, database_error};
use crate::ledger::schema::first_id_at;
use crate::report::causal::Session;
use crate::report::{By, Figures, Line, SLOT_MS};

/// How far a request's time may lie from the one in its id.
const ARRIVED_EARLIER_MS_MAX: i64 = 3_600_000;
/// What sums are told apart by besides the slot.
const NAMES: [&str; 8] = ["team", "project", "pipeline", "key", "tier", "task", "provider", "model"];

/// The table of sums, also of an older ledger that gets it: its figures are those of [`Figures::NAMES`].
macro_rules! table {
    () => {
        "
CREATE TABLE rollup (
    slot INTEGER NOT NULL, team TEXT NOT NULL, project TEXT NOT NULL, pipeline TEXT NOT NULL, key TEXT NOT NULL,
    tier TEXT NOT NULL, task TEXT NOT NULL, provider TEXT NOT NULL, model TEXT NOT NULL,
    requests INTEGER NOT NULL, attempts INTEGER NOT NULL, input_tokens INTEGER NOT NULL,
    cached_input_tokens INTEGER NOT NULL, cache_write_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL,
    reasoning_tokens INTEGER NOT NULL, cost_nano INTEGER NOT NULL, uncertain INTEGER NOT NULL,
    uncertain_low_nano INTEGER NOT NULL, uncertain_high_nano INTEGER NOT NULL, unbounded INTEGER NOT NULL,
    compared INTEGER NOT NULL, baseline_nano INTEGER NOT NULL, saved_route_nano INTEGER NOT NULL,
    saved_fallback_nano INTEGER NOT NULL, saved_retry_nano INTEGER NOT NULL, saved_compress_nano INTEGER NOT NULL,
    saved_cache_nano INTEGER NOT NULL, provider_cache_nano INTEGER NOT NULL, cache_lost_nano INTEGER NOT NULL,
    PRIMARY KEY (slot, team, project, pipeline, key, tier, task, provider, model)
) STRICT, WITHOUT ROWID;
"
    };
}
pub(super) use table;

/// The figures of one row of [`rows`], in their order.
macro_rules! figures {
    () => {
        "is_last AS requests, made AS attempts, ifnull(input_tokens, 0) AS input_tokens,
            ifnull(cached_input_tokens, 0) AS cached_input_tokens, ifnull(written, 0) AS cache_write_tokens,
            ifnull(output_tokens, 0) AS output_tokens, ifnull(reasoning_tokens, 0) AS reasoning_tokens,
            ifnull(cost_nano, 0) AS cost_nano, in_doubt AS uncertain,
            iif(in_doubt, ifnull(cost_low_nano, 0), 0) AS uncertain_low_nano,
            iif(in_doubt, ifnull(cost_high_nano, 0), 0) AS uncertain_high_nano,
            in_doubt AND cost_high_nano IS NULL AS unbounded,
            is_last AND known AS compared, iif(is_last AND known, baseline_nano, 0) AS baseline_nano,
            iif(is_last AND known, saved_route_nano, 0) AS saved_route_nano,
            iif(is_last AND known, saved_fallback_nano, 0) AS saved_fallback_nano,
            iif(is_last AND known, saved_retry_nano, 0) AS saved_retry_nano,
            iif(is_last AND known, saved_compress_nano, 0) AS saved_compress_nano,
            iif(is_last AND known, saved_cache_nano, 0) AS saved_cache_nano,
            iif(is_last, ifnull(provider_cache_nano, 0), 0) AS provider_cache_nano,
            iif(is_last, ifnull(cache_lost_nano, 0), 0) AS cache_lost_nano"
    };
}

/// One row an attempt of the requests that ended and meet a condition (one without a target for a request that had none).
/// What is said of the request stands at its last attempt.
macro_rules! rows {
    ($condition:literal) => {
        concat!(
            "SELECT r.at_ms / 900000 AS slot, ifnull(r.team, '') AS team, ifnull(r.project, '') AS project,
            ifnull(r.pipeline, '') AS pipeline, ifnull(r.key, '') AS key, ifnull(r.user, '') AS user,
            ifnull(r.prompt, '') AS prompt, ifnull(r.tier, '') AS tier, ifnull(r.task, '') AS task,
            ifnull(r.cache_lost_to, '') AS cache_lost_to, ifnull(a.provider, '') AS provider,
            ifnull(a.model, '') AS model, a.attempt_id IS NOT NULL AS made, a.input_tokens, a.cached_input_tokens,
            a.cache_write_tokens + ifnull(a.cache_write_1h_tokens, 0) AS written, a.output_tokens, a.reasoning_tokens,
            a.cost_nano, a.cost_low_nano, a.cost_high_nano,
            a.attempt_id IS NOT NULL AND a.cost_nano IS NULL AS in_doubt,
            a.attempt_id IS (SELECT max(attempt_id) FROM attempts WHERE request_id = r.request_id) AS is_last,
            r.saved_route_nano IS NOT NULL AS known, r.baseline_nano, r.saved_route_nano, r.saved_fallback_nano,
            r.saved_retry_nano, r.saved_compress_nano, r.saved_cache_nano, r.provider_cache_nano, r.cache_lost_nano
            FROM requests_v1 r LEFT JOIN attempts a ON a.request_id = r.request_id
            WHERE r.status <> 'open' AND r.at_ms IS NOT NULL AND ",
            $condition
        )
    };
}

/// Brings the sums to a ledger that has rows and none of them.
pub const FILL: &str = concat!(
    "INSERT INTO rollup SELECT slot, team, project, pipeline, key, tier, task, provider, model,
        sum(requests), sum(attempts), sum(input_tokens), sum(cached_input_tokens), sum(cache_write_tokens),
        sum(output_tokens), sum(reasoning_tokens), sum(cost_nano), sum(uncertain), sum(uncertain_low_nano),
        sum(uncertain_high_nano), sum(unbounded), sum(compared), sum(baseline_nano), sum(saved_route_nano),
        sum(saved_fallback_nano), sum(saved_retry_nano), sum(saved_compress_nano), sum(saved_cache_nano),
        sum(provider_cache_nano), sum(cache_lost_nano)
     FROM (SELECT slot, team, project, pipeline, key, tier, task, provider, model, ",
    figures!(),
    " FROM (",
    rows!("1"),
    ")) GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9;"
);

const OF_REQUEST: &str = concat!(
    "SELECT slot, team, project, pipeline, key, tier, task, provider, model, ",
    figures!(),
    " FROM (",
    rows!("r.request_id = ?1"),
    ")"
);

const OF_SPAN: &str = concat!(
    "SELECT slot, team, project, pipeline, key, user, prompt, tier, task, cache_lost_to, provider, model, ",
    figures!(),
    " FROM (",
    rows!("r.request_id >= ?1 AND r.request_id < ?2 AND r.at_ms >= ?3 AND r.at_ms < ?4"),
    ")"
);

static ADD: LazyLock<String> = LazyLock::new(|| {
    let marks = vec!["?"; 1 + NAMES.len() + Figures::COUNT].join(", ");
    let sums = Figures::NAMES.map(|name| format!("{name} = {name} + excluded.{name}")).join(", ");
    format!("INSERT INTO rollup VALUES ({marks}) ON CONFLICT DO UPDATE SET {sums}")
});

/// What a sum is of.
type Key = (i64, [String; NAMES.len()]);

/// Changes of the sums that one transaction makes.
pub(super) struct Sums<'c> {
    of_request: CachedStatement<'c>,
    changes: HashMap<Key, Figures>,
}

impl<'c> Sums<'c> {
    pub(super) fn new(connection: &'c Connection) -> rusqlite::Result<Self> {
        Ok(Self { of_request: connection.prepare_cached(OF_REQUEST)?, changes: HashMap::new() })
    }

    /// Takes out what a request counts for now: it is about to change.
    pub(super) fn take(&mut self, request_id: &str) -> rusqlite::Result<()> {
        self.each(request_id, Figures::take)
    }

    /// Puts in what a request counts for now.
    pub(super) fn add(&mut self, request_id: &str) -> rusqlite::Result<()> {
        self.each(request_id, Figures::add)
    }

    fn each(&mut self, request_id: &str, change: fn(&mut Figures, &Figures)) -> rusqlite::Result<()> {
        let mut rows = self.of_request.query([request_id])?;
        while let Some(row) = rows.next()? {
            let mut names: [String; NAMES.len()] = Default::default();
            for (place, name) in names.iter_mut().enumerate() {
                *name = row.get(1 + place)?;
            }
            let figures = figures_at(row, 1 + NAMES.len())?;
            change(self.changes.entry((row.get(0)?, names)).or_default(), &figures);
        }
        Ok(())
    }

    /// Writes the changes.
    pub(super) fn write(self, connection: &Connection) -> rusqlite::Result<()> {
        let mut add = connection.prepare_cached(&ADD)?;
        for ((slot, names), figures) in self.changes.iter().filter(|(_, figures)| !figures.is_zero()) {
            let values = [Value::from(*slot)].into_iter().chain(names.iter().cloned().map(Value::from));
            add.execute(params_from_iter(values.chain(figures.all().map(Value::from))))?;
        }
        Ok(())
    }
}

fn figures_at(row: &Row<'_>, first: usize) -> rusqlite::Result<Figures> {
    let mut all = [0; Figures::COUNT];
    for (place, number) in all.iter_mut().enumerate() {
        *number = row.get(first + place)?;
    }
    Ok(Figures::of(all))
}

/// Lines of everything that ended and had arrived in `since_ms <= at < until_ms`, with their names in the order of `by`,
/// times and causes left out. Reads the sums where they will do, else the rows.
///
/// # Errors
///
/// SQLite's; a ledger whose tables are of another version has no sums.
pub fn lines(views: &Connection, by: &[By], since_ms: i64, until_ms: i64) -> Result<Vec<Line>, LedgerError> {
    let needs_rows = by.iter().any(|by| matches!(by, By::User | By::Prompt | By::CacheLoss));
    let is_whole = |ms: i64| ms.rem_euclid(SLOT_MS) == 0 || ms == i64::MAX;
    let by_sums = !needs_rows && is_whole(since_ms) && is_whole(until_ms);
    let names: Vec<&str> = by.iter().filter_map(|by| column(*by)).collect();
    let slot = if by.iter().any(|by| by.is_time()) { "slot" } else { "0" };
    let columns = std::iter::once(slot).chain(names.iter().copied()).collect::<Vec<_>>().join(", ");
    let sums = Figures::NAMES.map(|name| format!("sum({name})")).join(", ");
    let from = if by_sums { "rollup WHERE slot >= ?1 AND slot < ?2".to_owned() } else { format!("({OF_SPAN})") };
    let places = (1..=1 + names.len()).map(|place| place.to_string()).collect::<Vec<_>>().join(", ");
    let sql = format!("SELECT {columns}, {sums} FROM {from} GROUP BY {places}");
    let line = |row: &Row<'_>| {
        let named = (1..=names.len()).map(|place| row.get(place)).collect::<rusqlite::Result<Vec<String>>>()?;
        let figures = figures_at(row, 1 + names.len())?;
        Ok(Line { at_ms: row.get::<_, i64>(0)? * SLOT_MS, names: named, figures })
    };
    let read = || -> rusqlite::Result<Vec<Line>> {
        let mut statement = views.prepare(&sql)?;
        if by_sums {
            let until = until_ms.div_euclid(SLOT_MS);
            return statement.query_map(params![since_ms.div_euclid(SLOT_MS), until], line)?.collect();
        }
        let first = first_id_at(since_ms.saturating_sub(ARRIVED_EARLIER_MS_MAX));
        let beyond = first_id_at(until_ms.saturating_add(ARRIVED_EARLIER_MS_MAX));
        statement.query_map(params![first, beyond, since_ms, until_ms], line)?.collect()
    };
    let mut lines = read().map_err(database_error("read"))?;
    lines.retain(|line| !line.figures.is_zero());
    Ok(lines)
}

/// The sessions of policies that hold some of them out, of what ended and had arrived in the span.
///
/// # Errors
///
/// SQLite's.
pub fn sessions(views: &Connection, since_ms: i64, until_ms: i64) -> Result<Vec<Session>, LedgerError> {
    let sql = "SELECT substr(policy, 1, instr(policy || '@', '@') - 1), arm = 'holdout',
            CASE WHEN count(*) = count(cost_nano) THEN sum(cost_nano) END, ifnull(sum(saved_nano), 0)
         FROM requests_v1 WHERE request_id >= ?1 AND request_id < ?2 AND at_ms >= ?3 AND at_ms < ?4
            AND status <> 'open' AND arm IS NOT NULL AND policy IS NOT NULL GROUP BY 1, 2, session";
    let session = |row: &Row<'_>| {
        Ok(Session { policy: row.get(0)?, is_held_out: row.get(1)?, cost: row.get(2)?, saved: row.get(3)? })
    };
    let first = first_id_at(since_ms.saturating_sub(ARRIVED_EARLIER_MS_MAX));
    let beyond = first_id_at(until_ms.saturating_add(ARRIVED_EARLIER_MS_MAX));
    let read = || -> rusqlite::Result<Vec<Session>> {
        views.prepare(sql)?.query_map(params![first, beyond, since_ms, until_ms], session)?.collect()
    };
    read().map_err(database_error("read"))
}

/// The column of a dimension; `None`: it is none.
fn column(by: By) -> Option<&'static str> {
    Some(match by {
        By::Team => "team",
        By::Project => "project",
        By::Pipeline => "pipeline",
        By::Key => "key",
        By::User => "user",
        By::Prompt => "prompt",
        By::Model => "iif(provider = '', '', provider || '/' || model)",
        By::Tier => "tier",
        By::Task => "task",
        By::CacheLoss => "cache_lost_to",
        By::Cause | By::Day | By::Week | By::Month => return None,
    })
}
