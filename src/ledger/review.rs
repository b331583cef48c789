//! What the quarterly review asks of a ledger: sums over the rows of a span, read-only.
//!
//! Where dollars of tokens are wanted that were not paid (read from a cache, at a lighter tier), the book's rates of the row's
//! model are taken, below any long-context step: estimates, which the review says.

use std::collections::{BTreeMap, HashSet};

use jiff::civil::Date;
use jiff::tz::TimeZone;
use rusqlite::{Connection, OptionalExtension as _, Row, ToSql, params};

use crate::cost::{Book, caches_what_is_marked, cost_of};
use crate::ledger::error::{LedgerError, database_error};
use crate::ledger::rollup;
use crate::ledger::schema::ids_within;
use crate::ledger::sql::its_attempts;
use crate::prompt::sketch::MASKS;
use crate::reply::usage::{ServiceTier, Usage};
use crate::report::review::{Loss, Prompt, Repeats, Task, Worth};
use crate::report::{By, Report, SLOT_MS, date_of};

/// Rows that a table of the review has at most.
const ROWS_MAX: u32 = 12;
/// Tokens that rates are taken from: below every long-context step.
const SAMPLE_TOKENS: u64 = 1_000;

/// A ledger, a span of it, and prices.
pub struct Reading<'a> {
    views: &'a Connection,
    /// Bounds of ids and of times.
    ids: (String, String),
    ms: (i64, i64),
}

/// The rows of the span that somebody asked for: what Farthing asks models by itself no client can ask otherwise.
macro_rules! span {
    () => {
        "r.request_id >= ?1 AND r.request_id < ?2 AND r.at_ms >= ?3 AND r.at_ms < ?4 AND r.purpose IS NULL"
    };
}

/// Calls that were answered, with the rates of their model in pico-dollars a token. The requests first, by their ids, and of
/// each its attempts: the other way round every attempt would be held against every request.
macro_rules! calls {
    () => {
        concat!(
            "FROM requests_v1 r CROSS JOIN attempts_v1 a ON ",
            its_attempts!("a", "r"),
            " AND a.fate = 'completed'
             LEFT JOIN temp.rates p ON p.version = a.price_version WHERE ",
            span!()
        )
    };
}

/// Calls that a policy could send elsewhere: those of sessions that are held out have no levers on purpose.
const NOT_HELD_OUT: &str = "r.arm IS NOT 'holdout'";

/// Whether the client named the tier or the model, by the first word of the reason.
const IS_NAMED: &str = "iif(r.reason GLOB 'pinned-tier*' OR r.reason GLOB 'exact-model*', 1, 0)";

/// About how many of the input tokens stand before the first user turn.
const BEGINNING: &str = "a.input_tokens * (r.tools_bytes + r.opening_bytes) / max(r.tools_bytes + r.messages_bytes, 1)";

impl<'a> Reading<'a> {
    /// Of what arrived in `since_ms <= at < until_ms`. `day` is the one whose prices are taken.
    ///
    /// # Errors
    ///
    /// SQLite's; a ledger whose tables are of another version has no such columns.
    pub fn of(
        views: &'a Connection,
        since_ms: i64,
        until_ms: i64,
        book: &Book,
        day: Date,
    ) -> Result<Self, LedgerError> {
        let reading = Self { views, ids: ids_within(since_ms, until_ms), ms: (since_ms, until_ms) };
        reading.note_rates(book, day).map_err(database_error("read"))?;
        Ok(reading)
    }

    /// The rates of every price that the span was priced by, in a table of this connection's own.
    fn note_rates(&self, book: &Book, day: Date) -> rusqlite::Result<()> {
        self.views.execute_batch(
            "DROP TABLE IF EXISTS temp.rates;
             CREATE TEMP TABLE rates (version TEXT PRIMARY KEY, input REAL, cached REAL, is_marked INTEGER) WITHOUT ROWID;",
        )?;
        // Of all attempts by their ids: a rate too many is one that no row asks for.
        let sql = "SELECT DISTINCT price_version FROM attempts_v1
            WHERE price_version IS NOT NULL AND attempt_id >= ?1 AND attempt_id < ?2";
        let mut versions = self.views.prepare(sql)?;
        let versions = versions.query_map([&self.ids.0, &self.ids.1], |row| row.get(0))?;
        let versions: Vec<String> = versions.collect::<Result<_, _>>()?;
        for version in versions {
            let usage =
                |cached_input_tokens| Usage { input_tokens: SAMPLE_TOKENS, cached_input_tokens, ..Usage::default() };
            let rate = |usage: Usage| Some(cost_at(book, &version, day, &usage)? as f64 * 1e3 / SAMPLE_TOKENS as f64);
            let (Some(input), Some(cached)) = (rate(usage(0)), rate(usage(SAMPLE_TOKENS))) else { continue };
            let is_marked = model_of(&version).is_some_and(|(vendor, model)| caches_what_is_marked(vendor, model));
            let sql = "INSERT INTO temp.rates VALUES (?1, ?2, ?3, ?4)";
            self.views.execute(sql, params![version, input, cached, is_marked])?;
        }
        Ok(())
    }

    fn rows<T>(&self, sql: &str, read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>) -> rusqlite::Result<Vec<T>> {
        let span: [&dyn ToSql; 4] = [&self.ids.0, &self.ids.1, &self.ms.0, &self.ms.1];
        self.views.prepare(sql)?.query_map(span, read)?.collect()
    }

    /// When the first request of the span arrived.
    ///
    /// # Errors
    ///
    /// SQLite's.
    pub fn first_ms(&self) -> Result<Option<i64>, LedgerError> {
        let sql = concat!("SELECT r.at_ms FROM requests_v1 r WHERE ", span!(), " ORDER BY r.request_id LIMIT 1");
        Ok(self.rows(sql, |row| row.get(0)).map_err(database_error("read"))?.first().copied())
    }

    /// Prompts, most tokens first. System prompts without a name that differ in what is masked only are one.
    ///
    /// # Errors
    ///
    /// SQLite's.
    pub fn prompts(&self) -> Result<Vec<Prompt>, LedgerError> {
        let sql = format!(
            "SELECT min(r.prompt), count(DISTINCT r.prompt), count(*), sum(a.input_tokens), sum(a.cached_input_tokens),
                ifnull(sum(a.cost_nano), 0), count(r.exact_hash), count(DISTINCT r.prefix_hash), ifnull(sum({BEGINNING}), 0),
                total(iif({BEGINNING} >= 1024,
                    max({BEGINNING} - a.cached_input_tokens, 0) * (p.input - p.cached) * (1000000 - ifnull(a.discount_ppm, 0)) / 1e9,
                    0)),
                count(r.read_bytes),
                total(r.repeated_bytes * 1.0 / max(r.tools_bytes + r.messages_bytes, 1) * (1000000 - ifnull(a.discount_ppm, 0)) / 1e9
                    * ((a.input_tokens - a.cached_input_tokens) * p.input + a.cached_input_tokens * p.cached)),
                count(iif(p.is_marked AND a.source = 'reported'
                    AND a.cached_input_tokens + a.cache_write_tokens + ifnull(a.cache_write_1h_tokens, 0) = 0, 1, NULL)),
                ifnull(sum(r.cache_lost_nano), 0)
             {} AND a.input_tokens IS NOT NULL
             GROUP BY iif(r.prompt GLOB 'system-*' AND r.masked_system_hash IS NOT NULL, r.masked_system_hash, r.prompt)
             ORDER BY 4 DESC LIMIT {ROWS_MAX}",
            calls!()
        );
        let prompt = |row: &Row<'_>| {
            Ok(Prompt {
                name: row.get::<_, Option<String>>(0)?.unwrap_or_default(),
                names: row.get(1)?,
                calls: row.get(2)?,
                input_tokens: row.get(3)?,
                cached_tokens: row.get(4)?,
                cost: row.get(5)?,
                sketched: row.get(6)?,
                beginnings: row.get(7)?,
                beginning_tokens: row.get(8)?,
                cacheable: row.get(9)?,
                read: row.get(10)?,
                repeated: row.get(11)?,
                unmarked: row.get(12)?,
                lost: row.get(13)?,
            })
        };
        self.rows(&sql, prompt).map_err(database_error("read"))
    }

    /// Prefixes that broke, by what broke them.
    ///
    /// # Errors
    ///
    /// SQLite's.
    pub fn losses(&self) -> Result<Vec<Loss>, LedgerError> {
        let sql = concat!(
            "SELECT r.cache_lost_to, count(*), sum(r.cache_lost_nano) FROM requests_v1 r
             WHERE r.cache_lost_to IS NOT NULL AND ",
            span!(),
            " GROUP BY 1 ORDER BY 3 DESC"
        );
        let loss = |row: &Row<'_>| Ok(Loss { culprit: row.get(0)?, requests: row.get(1)?, cost: row.get(2)? });
        self.rows(sql, loss).map_err(database_error("read"))
    }

    /// Work of the frontier and the reasoning tier, dearest first, beside what its tokens would have cost at the model of the
    /// lightweight tier that answered most, or else at `configured`, a vendor's model. What clients named a tier or a model
    /// for stands apart; sessions that are held out are left out.
    ///
    /// # Errors
    ///
    /// SQLite's.
    pub fn tasks(&self, book: &Book, day: Date, configured: Option<&str>) -> Result<Vec<Task>, LedgerError> {
        let sql = format!(
            "SELECT ifnull(r.task, ''), r.tier, count(*), ifnull(sum(a.cost_nano), 0), avg(r.needs_strong_ppm) / 1e6,
                total(a.input_tokens), total(a.cached_input_tokens), total(a.output_tokens), {IS_NAMED}
             {} AND r.tier IN ('frontier', 'reasoning') AND {NOT_HELD_OUT} GROUP BY 1, 2, 9 ORDER BY 4 DESC LIMIT {ROWS_MAX}",
            calls!()
        );
        let said = format!(
            "SELECT ifnull(r.task, ''), ifnull(r.tier, ''), {IS_NAMED}, count(*), sum(f.outcome = 'failure')
             FROM feedback_v1 f JOIN requests_v1 r ON r.request_id = f.request_id WHERE {} AND {NOT_HELD_OUT} GROUP BY 1, 2, 3",
            span!()
        );
        let read = || -> rusqlite::Result<Vec<Task>> {
            let lightest = self.lightest()?;
            let lightest = lightest.as_deref().or(configured);
            let words = |row: &Row<'_>| Ok(((row.get(0)?, row.get(1)?, row.get(2)?), (row.get(3)?, row.get(4)?)));
            let said: BTreeMap<(String, String, bool), (i64, i64)> = self.rows(&said, words)?.into_iter().collect();
            self.rows(&sql, |row| {
                let (name, tier, is_named): (String, String, bool) = (row.get(0)?, row.get(1)?, row.get(8)?);
                let calls: i64 = row.get(2)?;
                // The mean call is priced: all of them together would be above a long-context step.
                let mean =
                    |place| Ok::<_, rusqlite::Error>((row.get::<_, f64>(place)? / calls.max(1) as f64).round() as u64);
                let (input_tokens, cached_input_tokens, output_tokens) = (mean(5)?, mean(6)?, mean(7)?);
                let usage = Usage { input_tokens, cached_input_tokens, output_tokens, ..Usage::default() };
                let lighter = lightest.and_then(|version| cost_at(book, version, day, &usage));
                let (said, failures) = said.get(&(name.clone(), tier.clone(), is_named)).copied().unwrap_or_default();
                let (lighter, cost) = (lighter.map(|nano| nano.saturating_mul(calls)), row.get(3)?);
                Ok(Task { cost, needs_strong: row.get(4)?, name, tier, is_named, calls, lighter, said, failures })
            })
        };
        read().map_err(database_error("read"))
    }

    /// What prices the model of the lightweight tier that answered most, by the sums.
    fn lightest(&self) -> rusqlite::Result<Option<String>> {
        let [first, beyond] = [self.ms.0, self.ms.1].map(|ms| ms.div_euclid(SLOT_MS) * SLOT_MS);
        let models = format!(
            "SELECT provider, model FROM {} AS summed WHERE tier = 'lightweight' AND provider <> ''
             GROUP BY 1, 2 ORDER BY sum(requests) DESC",
            rollup::over(first, beyond)
        );
        let version = "SELECT price_version FROM attempts_v1 WHERE attempt_id >= ?1 AND attempt_id < ?2
            AND provider = ?3 AND model = ?4 AND price_version IS NOT NULL LIMIT 1";
        let (mut models, mut version) = (self.views.prepare(&models)?, self.views.prepare(version)?);
        let mut models = models.query([])?;
        while let Some(row) = models.next()? {
            let (provider, model): (String, String) = (row.get(0)?, row.get(1)?);
            let found = version.query_row(params![self.ids.0, self.ids.1, provider, model], |row| row.get(0));
            if let Some(found) = found.optional()? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Requests that ask what was asked before, dearest first.
    ///
    /// # Errors
    ///
    /// SQLite's.
    pub fn repeats(&self) -> Result<Vec<Repeats>, LedgerError> {
        let bits = |of: &str, condition: &str| {
            MASKS.map(|(bit, _)| format!("max(iif({condition}, {of} & {bit}, 0))")).join(" | ")
        };
        // By what was asked, by what that is without hours, ids and numbers, and by who asked: each grouping reads the one
        // within it, and the first one alone the rows. Numbers come first, since they differ sooner than names.
        let sql = format!(
            "SELECT team, task, sum(n), sum(again), total(again_cost), ifnull(sum(kinds - 1), 0),
                total(cost / n * (kinds - 1)), {}
             FROM (SELECT team, task, iif(masked IS NULL, 1, count(*)) AS kinds, sum(n) AS n, total(cost) AS cost,
                    sum(n - 1) AS again, total(cost * (n - 1) / n) AS again_cost, {} AS bits
                FROM (SELECT ifnull(r.team, '') AS team, ifnull(r.task, '') AS task, r.model AS model,
                        max(r.masked_hash) AS masked, {} AS bits, count(*) AS n, total(r.cost_nano) AS cost
                    FROM requests_v1 r
                    WHERE r.status = 'ok' AND r.exact_hash IS NOT NULL AND r.cost_nano IS NOT NULL AND {}
                    GROUP BY r.exact_hash, 1, 2, r.model)
                GROUP BY masked, team, task, model)
             GROUP BY 1, 2",
            bits("bits", "kinds > 1"),
            bits("bits", "true"),
            bits("r.masks", "true"),
            span!()
        );
        let read = || -> rusqlite::Result<Vec<Repeats>> {
            let mut found = self.rows(&sql, |row| {
                let bits: i64 = row.get::<_, Option<i64>>(7)?.unwrap_or_default();
                let masks = MASKS.iter().filter(|(bit, _)| bits & i64::from(*bit) != 0);
                Ok(Repeats {
                    team: row.get(0)?,
                    task: row.get(1)?,
                    requests: row.get(2)?,
                    exact: row.get(3)?,
                    exact_cost: row.get(4)?,
                    near: row.get(5)?,
                    near_cost: row.get(6)?,
                    masks: masks.map(|(_, word)| *word).collect(),
                })
            })?;
            found.retain(|found| found.exact + found.near > 0);
            found.sort_by(|a, b| (b.exact_cost + b.near_cost).total_cmp(&(a.exact_cost + a.near_cost)));
            found.truncate(ROWS_MAX as usize);
            Ok(found)
        };
        read().map_err(database_error("read"))
    }

    /// What teams spent by month, and what they say that they got. The last word on a subject counts for hours and incidents;
    /// those of a request whose run has feedback are the run's.
    ///
    /// # Errors
    ///
    /// SQLite's.
    pub fn worth(&self, zone: &TimeZone) -> Result<Vec<Worth>, LedgerError> {
        let by = [By::Month, By::Team];
        let spent = Report::of(&by, rollup::lines(self.views, &by, self.ms.0, self.ms.1, zone)?, zone);
        let mut found: BTreeMap<(String, String), Worth> = BTreeMap::new();
        for row in &spent.rows {
            let [month, team] = row.names.as_slice() else { continue };
            let worth = found.entry((month.clone(), team.clone())).or_default();
            worth.cost = row.figures.cost;
        }
        let sql =
            "SELECT f.team, f.request_id, f.run, r.run, f.at_ms, f.outcome, f.resolved_incidents, f.saved_milli_hours
             FROM feedback_v1 f LEFT JOIN requests_v1 r ON r.request_id = f.request_id
             WHERE f.at_ms >= ?1 AND f.at_ms < ?2 ORDER BY f.at_ms DESC";
        let read = || -> rusqlite::Result<Vec<Said>> {
            self.views.prepare(sql)?.query_map([self.ms.0, self.ms.1], Said::of)?.collect()
        };
        let said = read().map_err(database_error("read"))?;
        let of_runs: HashSet<(&str, &str)> =
            said.iter().filter_map(|said| Some((&*said.team, said.run.as_deref()?))).collect();
        let mut counted = HashSet::new();
        for said in &said {
            let month = date_of(said.at_ms, zone).strftime("%Y-%m").to_string();
            let worth = found.entry((month, said.team.clone())).or_default();
            worth.said += 1;
            worth.successes += i64::from(said.outcome == "success");
            let is_of_run = said.of_run.as_deref().is_some_and(|run| of_runs.contains(&(&*said.team, run)));
            // The newest come first.
            if !is_of_run && counted.insert((&said.team, &said.request, &said.run)) {
                worth.incidents += said.incidents;
                worth.milli_hours += said.milli_hours;
            }
        }
        let named = found.into_iter().map(|((month, team), worth)| Worth { month, team, ..worth });
        Ok(named.collect())
    }
}

/// One word of feedback.
struct Said {
    team: String,
    request: Option<String>,
    run: Option<String>,
    /// The run that the request belongs to.
    of_run: Option<String>,
    at_ms: i64,
    outcome: String,
    incidents: i64,
    milli_hours: i64,
}

impl Said {
    fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            team: row.get(0)?,
            request: row.get(1)?,
            run: row.get(2)?,
            of_run: row.get(3)?,
            at_ms: row.get(4)?,
            outcome: row.get(5)?,
            incidents: row.get::<_, Option<i64>>(6)?.unwrap_or_default(),
            milli_hours: row.get::<_, Option<i64>>(7)?.unwrap_or_default(),
        })
    }
}

/// What tokens cost at the model of a price version on a day, in nano-dollars, without discounts.
fn cost_at(book: &Book, version: &str, day: Date, usage: &Usage) -> Option<i64> {
    let (vendor, model) = model_of(version)?;
    Some(cost_of(book.price(vendor, model, day)?, usage, ServiceTier::Standard, 0).ok()?.0)
}

/// The vendor and the model of a price version.
fn model_of(version: &str) -> Option<(&str, &str)> {
    version.split('@').next()?.split_once('/')
}
