//! Re-rating: what a price that was wrong makes a difference of, booked by day and model and rewriting nothing.
//!
//! A difference is booked where its model is: of what an answer cost, with what that takes off or adds to what was saved; of
//! what a request is held against, where the file names that model; of the first target of a plan that fell back. So the
//! differences of two files add up, whichever models they name.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use rusqlite::{Connection, OptionalExtension as _, Row, TransactionBehavior, params};
use serde_json::json;

use crate::cost::{Book, Price, Rows, cost_of};
use crate::ledger::audit::{self, Act};
use crate::ledger::schema::ids_within;
use crate::ledger::sql::its_attempts;
use crate::ledger::statements::{ADJUSTED, Books, StatementError, adjustment};
use crate::reply::usage::{Apart, Calls, ServiceTier, Usage};
use crate::report::{Figures, date_of, midnight};
use crate::route::warm::{CACHED_PREFIX_TOKENS_MIN, CACHED_PREFIX_TOKENS_STEP};

/// What is to be re-rated by what.
#[derive(Clone, Copy)]
pub struct Rerating<'a> {
    /// The first day and the last one, itself included.
    pub days: (Date, Date),
    /// The zone that days begin in.
    pub zone: &'a TimeZone,
    /// The file's name, for the note.
    pub file: &'a str,
    /// A SHA-256 of the file, for the audit.
    pub sha256: &'a str,
    /// Its rows.
    pub rows: &'a Rows,
    /// The prices that are in force, perhaps those by which requests were held against other models.
    pub in_force: &'a Book,
}

/// What a re-rating did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Rerated {
    /// Attempts whose model is in the file and whose cost was known.
    pub attempts: u64,
    /// Adjustments that were booked.
    pub booked: u64,
    /// What they add to costs, in nano-dollars.
    pub difference: i64,
    /// What they add to what was saved.
    pub saved: i64,
    /// Attempts of the file's models that are left as they are.
    pub left: Left,
}

/// Attempts of models that a price file names and that re-rating leaves as they are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Left {
    /// An export has settled them.
    pub settled: u64,
    /// They are estimates, which an export may settle yet.
    pub estimated: u64,
    /// Their tokens, service tier or price is not known.
    pub unknown: u64,
}

/// A day, a team, a project, a provider row, a model.
type Place = (String, String, String, String, String);

impl Books {
    /// Books what attempts of `days` would have cost by the rows of a price file, less what they did cost and what was
    /// booked before. Rows stay as they are. Left alone are attempts that an export has settled or may settle yet, because
    /// their cost is estimated, and those whose price nobody knew.
    ///
    /// Doing it again books nothing; doing it with another file books the difference.
    ///
    /// # Errors
    ///
    /// SQLite's.
    pub fn rerate(&mut self, rerating: &Rerating<'_>, now_ms: i64) -> Result<Rerated, StatementError> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut wanted = Differences::new(&transaction, rerating);
        wanted.read(rerating)?;
        wanted.take_booked(rerating)?;
        let Differences { places, mut rerated, .. } = wanted;
        let columns = ADJUSTED.join(", ");
        for ((day, team, project, provider, model), figures) in places.iter().filter(|(_, figures)| !figures.is_zero())
        {
            let [route, fallback, retry, ..] = figures.saved_by;
            let note = format!("re-rated by {}", rerating.file);
            transaction.execute(
                &format!(
                    "INSERT INTO adjustments (booked_ms, day, team, project, provider, model, note, {columns})
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)"
                ),
                params![
                    now_ms,
                    day,
                    team,
                    project,
                    provider,
                    model,
                    note,
                    figures.cost,
                    figures.baseline,
                    route,
                    fallback,
                    retry
                ],
            )?;
            rerated.booked += 1;
            rerated.difference += figures.cost;
            rerated.saved += figures.saved();
        }
        let facts = json!({
            "since": rerating.days.0.to_string(), "until": rerating.days.1.to_string(), "attempts": rerated.attempts,
            "adjustments": rerated.booked, "difference_nano": rerated.difference, "saved_nano": rerated.saved,
        });
        let (who, subject, sha256) = (self.who.as_str(), rerating.file, rerating.sha256);
        Act { at_ms: now_ms, who, action: audit::RERATED, subject, sha256, facts }.note(&transaction)?;
        transaction.commit()?;
        Ok(rerated)
    }
}

/// An attempt as far as prices go.
struct Attempt {
    provider: String,
    model: String,
    /// Vendor and model by which the book knew it.
    priced_as: Option<(String, String)>,
    tier: Option<ServiceTier>,
    discount_ppm: u32,
    cost: Option<i64>,
    usage: Option<Usage>,
    /// Its provider itself has spoken, in its reply or in an export. Until then an export may settle it.
    is_reported: bool,
    /// An export settled it.
    is_settled: bool,
    /// It came to its end.
    has_answered: bool,
}

/// A request, with the model that it is held against, its provider before it; and where that is known what it would have
/// cost there, and what another target than the first one saved.
struct Request {
    id: String,
    at_ms: i64,
    team: String,
    project: String,
    baseline_model: Option<String>,
    held: Option<(i64, i64)>,
}

/// Differences by place.
struct Differences<'a> {
    connection: &'a Connection,
    rows: &'a Rows,
    /// The book with the file's rows, and those that may have been in force.
    book: Book,
    before: [&'a Book; 2],
    zone: &'a TimeZone,
    vendors: HashMap<String, (String, u32)>,
    /// Where rows have a model that the file names, whatever comes of it.
    seen: BTreeSet<Place>,
    places: BTreeMap<Place, Figures>,
    rerated: Rerated,
}

impl<'a> Differences<'a> {
    fn new(connection: &'a Connection, of: &Rerating<'a>) -> Self {
        Self {
            connection,
            rows: of.rows,
            book: Book::builtin().with_user_rows(of.rows.clone()),
            before: [of.in_force, Book::builtin()],
            zone: of.zone,
            vendors: HashMap::new(),
            seen: BTreeSet::new(),
            places: BTreeMap::new(),
            rerated: Rerated::default(),
        }
    }

    /// What the rows of the days make a difference of.
    fn read(&mut self, of: &Rerating<'_>) -> rusqlite::Result<()> {
        let beyond = of.days.1.saturating_add(jiff::Span::new().days(1));
        let (from_ms, until_ms) = (midnight(of.days.0, of.zone), midnight(beyond, of.zone));
        // Longer ids have higher numbers.
        let sql = concat!(
            "SELECT r.request_id, r.at_ms, r.team, r.project, r.baseline_model, r.baseline_nano, r.saved_fallback_nano,
                r.saved_route_nano IS NOT NULL, a.provider, a.model, a.price_version, a.priced_tier, a.discount_ppm,
                a.cost_nano, a.input_tokens, a.cached_input_tokens, a.cache_write_tokens, a.cache_write_1h_tokens,
                a.output_tokens, a.reasoning_tokens, a.source = 'reported',
                a.reconciled_ms IS NOT NULL, a.audio_input_tokens, a.cached_audio_input_tokens, a.audio_output_tokens,
                a.image_input_tokens, a.image_output_tokens, a.web_search_calls, a.web_fetch_calls,
                a.code_interpreter_calls, a.file_search_calls, a.fate = 'completed'
             FROM requests_v1 r CROSS JOIN attempts a ON ",
            its_attempts!("a", "r"),
            " WHERE r.request_id >= ?1 AND r.request_id < ?2 AND r.at_ms >= ?3 AND r.at_ms < ?4
             ORDER BY r.request_id, length(a.attempt_id), a.attempt_id"
        );
        let mut statement = self.connection.prepare(sql)?;
        let ids = ids_within(from_ms, until_ms);
        let mut rows = statement.query(params![ids.0, ids.1, from_ms, until_ms])?;
        let mut open: Option<(Request, Vec<Attempt>)> = None;
        while let Some(row) = rows.next()? {
            let (request, attempt) = (request_of(row)?, attempt_of(row)?);
            match &mut open {
                Some((before, attempts)) if before.id == request.id => attempts.push(attempt),
                open => {
                    if let Some((before, attempts)) = open.replace((request, vec![attempt])) {
                        self.request(&before, &attempts)?;
                    }
                }
            }
        }
        open.map_or(Ok(()), |(request, attempts)| self.request(&request, &attempts))
    }

    /// Takes off what was booked before where the rows of the days have models of the file. What was booked of another
    /// vendor's model of the same name stays, and so does what was booked of rows that are forgotten.
    fn take_booked(&mut self, of: &Rerating<'_>) -> rusqlite::Result<()> {
        let sums = ADJUSTED.map(|name| format!("sum({name})")).join(", ");
        let sql = format!(
            "SELECT day, team, project, provider, model, {sums} FROM adjustments
             WHERE day >= ?1 AND day <= ?2 GROUP BY 1, 2, 3, 4, 5"
        );
        let booked = |row: &Row<'_>| {
            let place: Place = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?);
            Ok((place, adjustment([row.get(5)?, row.get(6)?, row.get(7)?, row.get(8)?, row.get(9)?])))
        };
        let days = [of.days.0.to_string(), of.days.1.to_string()];
        let all: Vec<_> = self.connection.prepare(&sql)?.query_map(days, booked)?.collect::<Result<_, _>>()?;
        for (place, figures) in all.into_iter().filter(|(place, _)| self.seen.contains(place)) {
            self.places.entry(place).or_default().take(&figures);
        }
        Ok(())
    }

    fn request(&mut self, request: &Request, attempts: &[Attempt]) -> rusqlite::Result<()> {
        // The one that answered, though another may have begun after it.
        let last_place =
            attempts.iter().rposition(|attempt| attempt.has_answered).unwrap_or(attempts.len().saturating_sub(1));
        let (Some(first), Some(last)) = (attempts.first(), attempts.get(last_place)) else { return Ok(()) };
        let arrived = Timestamp::from_millisecond(request.at_ms).unwrap_or_default().to_zoned(self.zone.clone());
        let is_other_target = (&first.provider, &first.model) != (&last.provider, &last.model);
        let baseline_model = request.baseline_model.as_deref().and_then(|model| model.split_once('/'));
        let is_own = request.held.is_some_and(|(baseline, _)| {
            last.cost == Some(baseline) && baseline_model == Some((&last.provider, &last.model))
        });
        for (place, attempt) in attempts.iter().enumerate() {
            if attempt.priced_as.as_ref().is_some_and(|(vendor, model)| self.names(vendor, model)) {
                self.see(request, (&attempt.provider, &attempt.model));
            }
            let Some(more) = self.more(attempt, &arrived) else {
                self.leave(attempt);
                continue;
            };
            let mut figures = Figures { cost: more, ..Figures::default() };
            if let Some((_, fallback)) = request.held {
                let is_last = place == last_place;
                let fell_back = fallback != 0 || is_other_target;
                figures.baseline = if is_last && is_own { more } else { 0 };
                let by_fallback = if is_last && fell_back { -more } else { 0 };
                let by_retry = if is_last { 0 } else { -more };
                let by_route = figures.baseline - more - by_fallback - by_retry;
                figures.saved_by = [by_route, by_fallback, by_retry, 0, 0];
            }
            self.rerated.attempts += 1;
            self.add(request, (&attempt.provider, &attempt.model), &figures);
        }
        let held = request.held.filter(|_| last.is_reported);
        if let Some((provider, model)) = baseline_model {
            let (vendor, discount_ppm) = self.vendor(provider)?;
            if self.names(&vendor, model) {
                self.see(request, (provider, model));
            }
            if let (Some((baseline, _)), Some(usage), Some(tier), false) = (held, last.usage, last.tier, is_own) {
                let held_at = HeldAt { vendor: &vendor, model, discount_ppm, tier, arrived: &arrived };
                if let Some(priced) = self.held_at(&held_at, &usage, baseline) {
                    let more = priced - baseline;
                    let figures = Figures { baseline: more, saved_by: [more, 0, 0, 0, 0], ..Figures::default() };
                    self.add(request, (provider, model), &figures);
                }
            }
        }
        // The first attempt that left is taken for the first target of the plan.
        let planned = first.priced_as.as_ref().filter(|(vendor, model)| is_other_target && self.names(vendor, model));
        if let (Some((vendor, model)), Some((_, fallback)), Some(cost), Some(usage), Some(tier)) =
            (planned, held, last.cost, last.usage, last.tier)
            && let Some(price) = self.book.price_at(vendor, model, &arrived)
            && let Ok(priced) = cost_of(price, &usage, tier, first.discount_ppm)
        {
            let more = priced.0 - (fallback + cost);
            let figures = Figures { saved_by: [-more, more, 0, 0, 0], ..Figures::default() };
            self.add(request, (&first.provider, &first.model), &figures);
        }
        Ok(())
    }

    /// Counts an attempt that stays as it is, if the file has its model and it may have cost anything.
    fn leave(&mut self, attempt: &Attempt) {
        let is_named = match &attempt.priced_as {
            Some((vendor, model)) => self.names(vendor, model),
            None => self.rows.0.iter().any(|row| row.model == attempt.model),
        };
        if !is_named || attempt.cost == Some(0) {
            return;
        }
        let Left { settled, estimated, unknown } = &mut self.rerated.left;
        let reason = match attempt {
            Attempt { is_settled: true, .. } => settled,
            Attempt { cost: Some(_), is_reported: false, .. } => estimated,
            _ => unknown,
        };
        *reason += 1;
    }

    /// What an attempt costs more by the file; none if it is left alone.
    fn more(&self, attempt: &Attempt, arrived: &Zoned) -> Option<i64> {
        let (vendor, model) = attempt.priced_as.as_ref().filter(|(vendor, model)| self.names(vendor, model))?;
        let is_final = attempt.is_reported && !attempt.is_settled;
        let (usage, tier, cost) = (attempt.usage?, attempt.tier?, attempt.cost.filter(|_| is_final)?);
        let price = self.book.price_at(vendor, model, arrived)?;
        Some(cost_of(price, &usage, tier, attempt.discount_ppm).ok()?.0 - cost)
    }

    /// What the tokens of an answer would have cost at the model that it is held against, for which `baseline` was written
    /// down. That model may have had another share of them in its cache: the one that the amount tells, by a price that may
    /// have been in force.
    fn held_at(&self, at: &HeldAt<'_>, usage: &Usage, baseline: i64) -> Option<i64> {
        if !self.names(at.vendor, at.model) {
            return None;
        }
        let price = |book: &'_ Book| book.price_at(at.vendor, at.model, at.arrived).cloned();
        let corrected = price(&self.book)?;
        let known: Vec<_> = self.before.iter().filter_map(|book| price(book)).chain([corrected.clone()]).collect();
        let usage = known
            .iter()
            .any(|price| at.cost(price, usage) == Some(baseline))
            .then_some(*usage)
            .or_else(|| known.iter().find_map(|price| at.cached(price, usage, baseline)))
            .unwrap_or(*usage);
        at.cost(&corrected, &usage)
    }

    fn names(&self, vendor: &str, model: &str) -> bool {
        self.rows.0.iter().any(|row| row.vendor == vendor && row.model == model)
    }

    /// The vendor of a provider row and the discount there, as the ledger has seen them; else the row's own name and none.
    fn vendor(&mut self, provider: &str) -> rusqlite::Result<(String, u32)> {
        if let Some(known) = self.vendors.get(provider) {
            return Ok(known.clone());
        }
        let sql = "SELECT price_version, coalesce(discount_ppm, 0) FROM attempts
             WHERE provider = ?1 AND price_version IS NOT NULL LIMIT 1";
        let seen: Option<(String, u32)> =
            self.connection.query_row(sql, [provider], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        let found = seen.and_then(|(version, discount)| Some((priced_as(&version)?.0, discount)));
        let found = found.unwrap_or_else(|| (provider.to_owned(), 0));
        self.vendors.insert(provider.to_owned(), found.clone());
        Ok(found)
    }

    fn add(&mut self, request: &Request, model: (&str, &str), figures: &Figures) {
        self.places.entry(self.place(request, model)).or_default().add(figures);
    }

    fn see(&mut self, request: &Request, model: (&str, &str)) {
        self.seen.insert(self.place(request, model));
    }

    fn place(&self, request: &Request, (provider, model): (&str, &str)) -> Place {
        let day = date_of(request.at_ms, self.zone).to_string();
        (day, request.team.clone(), request.project.clone(), provider.to_owned(), model.to_owned())
    }
}

/// A model that a request is held against, and how it is priced.
struct HeldAt<'a> {
    vendor: &'a str,
    model: &'a str,
    discount_ppm: u32,
    tier: ServiceTier,
    arrived: &'a Zoned,
}

impl HeldAt<'_> {
    fn cost(&self, price: &Price, usage: &Usage) -> Option<i64> {
        Some(cost_of(price, usage, self.tier, self.discount_ppm).ok()?.0)
    }

    /// The tokens with so many more read from the cache that they cost `amount`: prefixes are cached in steps, and the more
    /// are the less they cost.
    fn cached(&self, price: &Price, usage: &Usage, amount: i64) -> Option<Usage> {
        let with = |step: u64| {
            let cached = step * CACHED_PREFIX_TOKENS_STEP;
            let more = cached.saturating_sub(usage.cached_input_tokens);
            let of_5m = more.min(usage.cache_write_tokens);
            Usage {
                cached_input_tokens: cached,
                cache_write_tokens: usage.cache_write_tokens - of_5m,
                cache_write_1h_tokens: usage.cache_write_1h_tokens - (more - of_5m).min(usage.cache_write_1h_tokens),
                ..*usage
            }
        };
        let least = CACHED_PREFIX_TOKENS_MIN.max(usage.cached_input_tokens).div_ceil(CACHED_PREFIX_TOKENS_STEP);
        let (mut low, mut high) = (least, usage.input_tokens / CACHED_PREFIX_TOKENS_STEP);
        while low <= high {
            let middle = low + (high - low) / 2;
            match self.cost(price, &with(middle))?.cmp(&amount) {
                std::cmp::Ordering::Equal => return Some(with(middle)),
                std::cmp::Ordering::Greater => low = middle + 1,
                std::cmp::Ordering::Less => high = middle.checked_sub(1)?,
            }
        }
        None
    }
}

/// Vendor and model of a price's version, such as `openai/gpt-5.6-luna@2026-11-01`.
fn priced_as(version: &str) -> Option<(String, String)> {
    let (vendor, model) = version.split('@').next()?.split_once('/')?;
    Some((vendor.to_owned(), model.to_owned()))
}

fn request_of(row: &Row<'_>) -> rusqlite::Result<Request> {
    let text = |place| Ok::<_, rusqlite::Error>(row.get::<_, Option<String>>(place)?.unwrap_or_default());
    let held = if row.get(7)? { Some((row.get(5)?, row.get(6)?)) } else { None };
    let (id, baseline_model) = (row.get(0)?, row.get(4)?);
    Ok(Request { id, at_ms: row.get(1)?, team: text(2)?, project: text(3)?, baseline_model, held })
}

fn attempt_of(row: &Row<'_>) -> rusqlite::Result<Attempt> {
    let text = |place| Ok::<_, rusqlite::Error>(row.get::<_, Option<String>>(place)?.unwrap_or_default());
    let tokens = |place| Ok::<_, rusqlite::Error>(row.get::<_, Option<i64>>(place)?.unwrap_or_default().unsigned_abs());
    let usage = Usage {
        input_tokens: tokens(14)?,
        cached_input_tokens: tokens(15)?,
        cache_write_tokens: tokens(16)?,
        cache_write_1h_tokens: tokens(17)?,
        output_tokens: tokens(18)?,
        reasoning_tokens: tokens(19)?,
        apart: Apart {
            audio_input_tokens: tokens(22)?,
            cached_audio_input_tokens: row.get::<_, Option<i64>>(23)?.map(i64::unsigned_abs),
            audio_output_tokens: tokens(24)?,
            image_input_tokens: tokens(25)?,
            image_output_tokens: tokens(26)?,
            calls: Calls::of([tokens(27)?, tokens(28)?, tokens(29)?, tokens(30)?]),
        },
    };
    Ok(Attempt {
        provider: text(8)?,
        model: text(9)?,
        priced_as: priced_as(&text(10)?),
        tier: row.get::<_, Option<String>>(11)?.as_deref().map(ServiceTier::from_reply),
        discount_ppm: u32::try_from(row.get::<_, Option<i64>>(12)?.unwrap_or_default()).unwrap_or_default(),
        cost: row.get(13)?,
        usage: row.get::<_, Option<i64>>(14)?.map(|_| usage),
        is_reported: row.get(20)?,
        is_settled: row.get(21)?,
        has_answered: row.get(31)?,
    })
}
