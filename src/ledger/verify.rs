//! Looks through a whole ledger, also while its owner runs, and changes nothing.
//!
//! One read transaction sees the tables as of one moment. What is found is a [`Finding`] with the id that it
//! is about, and means that an amount cannot be trusted; what is only worth knowing is a note. The journal's
//! part is in `verify_journal`.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::{Connection, Row, Rows};

use crate::ids::{AttemptId, RequestId};
use crate::ledger::audit;
use crate::ledger::error::{LedgerError, a_folder, database_error, file_error};
use crate::ledger::migrate;
use crate::ledger::reconcile_rows::is_far_beyond;
use crate::ledger::schema::{lies_apart, open_views};
use crate::ledger::seams;
use crate::ledger::statements;
use crate::ledger::verify_journal::{self, JournalSeen};
use crate::ledger::{is_owned, segment};
use crate::limits::LEDGER_FINDINGS_MAX;
use crate::money::{CostInterval, NanoUsd};

/// Something that must not be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// What it is about: an id, a file, or the tables.
    pub subject: String,
    /// What was found, and what was wanted.
    pub what: String,
}

/// The attempts of one fate together.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FateSum {
    /// How many.
    pub attempts: u64,
    /// Those whose cost is not known exactly.
    pub uncertain: u64,
    /// Those without a known price.
    pub unpriced: u64,
    /// The sum of the costs that the provider reported.
    pub known: NanoUsd,
    /// The sum of the costs that were estimated here.
    pub estimated: NanoUsd,
    /// The sum of the intervals of all; `high` is `None` if one of them has no bound.
    pub interval: (NanoUsd, Option<NanoUsd>),
}

/// What a look through a ledger saw.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Verified {
    /// Version of the tables.
    pub version: u32,
    /// A process had the ledger open.
    pub owned: bool,
    /// Rows of `requests_v1`.
    pub requests: u64,
    /// Rows of `attempts_v1`.
    pub attempts: u64,
    /// Requests whose end is not in the tables yet.
    pub open_requests: u64,
    /// Attempts by fate.
    pub fates: BTreeMap<String, FateSum>,
    /// Attempts that cost far more than they could by their bounds: how many, and the first of them.
    pub far_beyond: (u64, Option<String>),
    /// Requests and attempts whose time lies more than an hour from the one in their id, where reports do not look: how many,
    /// and the first of them.
    pub apart: (u64, Option<String>),
    /// The journal.
    pub journal: JournalSeen,
    /// The first of what was found, at most [`LEDGER_FINDINGS_MAX`].
    pub findings: Vec<Finding>,
    /// How much was found altogether.
    pub found: u64,
    /// What is worth knowing.
    pub notes: Vec<String>,
}

impl Verified {
    pub(super) fn find(&mut self, subject: impl Into<String>, what: impl Into<String>) {
        self.found += 1;
        if self.findings.len() < LEDGER_FINDINGS_MAX {
            self.findings.push(Finding { subject: subject.into(), what: what.into() });
        }
    }

    /// Notes whether a row is where its time says.
    fn place(&mut self, name: &str, id: Option<RequestId>, at_ms: Option<i64>) {
        if id.zip(at_ms).is_some_and(|(id, at_ms)| lies_apart(id, at_ms)) {
            self.apart.0 += 1;
            self.apart.1.get_or_insert_with(|| name.to_owned());
        }
    }
}

/// How far a long look has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// SQLite looks through the file's pages.
    Pages,
    /// So many of so many rows have been seen.
    Rows(u64, u64),
    /// The journal is read.
    Journal,
}

/// Looks through the ledger at `path`.
///
/// # Errors
///
/// [`LedgerError`] if it cannot be opened as one; what is wrong inside are findings.
pub fn verify(path: &Path, progress: &mut dyn FnMut(Progress)) -> Result<Verified, LedgerError> {
    if path.metadata().map_err(file_error("open", path))?.is_dir() {
        return Err(a_folder(path));
    }
    let mut seen = Verified { owned: is_owned(path), ..Verified::default() };
    let tables = match open_views(path) {
        Err(LedgerError::Damaged { source }) => {
            seen.find("tables", source.to_string());
            return Ok(seen);
        }
        opened => opened?,
    };
    if let Err(error) = look_through(&tables, path, &mut seen, progress) {
        match database_error("read")(error) {
            LedgerError::Damaged { source } => seen.find("tables", source.to_string()),
            error => return Err(error),
        }
    }
    progress(Progress::Journal);
    verify_journal::verify(&tables, path, &mut seen)?;
    note(&mut seen);
    Ok(seen)
}

fn look_through(
    tables: &Connection,
    path: &Path,
    seen: &mut Verified,
    progress: &mut dyn FnMut(Progress),
) -> rusqlite::Result<()> {
    // Until it ends, the tables are as they were at its first look.
    tables.execute_batch("BEGIN")?;
    seen.version = migrate::version(tables)?;
    progress(Progress::Pages);
    let limit = LEDGER_FINDINGS_MAX;
    let mut pages = tables.prepare(&format!("PRAGMA integrity_check({limit})"))?;
    let mut pages = pages.query([])?;
    while let Some(row) = pages.next()? {
        let words: String = row.get(0)?;
        if words != "ok" {
            seen.find(segment::name_of(path), words);
        }
    }
    let total = "SELECT (SELECT count(*) FROM requests_v1) + (SELECT count(*) FROM attempts_v1)";
    let total = tables.query_row(total, [], |row| row.get::<_, i64>(0))?.unsigned_abs();
    let saved = if seen.version < COMPARED { SAVED_NOTHING } else { SAVED };
    let mut requests = tables.prepare(&format!(
        "SELECT request_id, status, cost_low_nano, cost_nano, cost_high_nano, {saved}, at_ms FROM requests_v1 ORDER BY request_id"
    ))?;
    // Either order has the attempts of each request together; rows are stored in that of their ids.
    let strays = "SELECT 1 FROM attempts_v1 WHERE attempt_id <= request_id || '-' OR attempt_id >= request_id || '.'";
    let order = if tables.prepare(strays)?.exists([])? { "request_id, attempt_id" } else { "attempt_id" };
    let mut attempts = tables.prepare(&format!(
        "SELECT attempt_id, request_id, fate, source, cost_low_nano, cost_nano, cost_high_nano, price_version, bound_nano, at_ms
         FROM attempts_v1 ORDER BY {order}",
    ))?;
    let mut walk = Walk { attempts: attempts.query([])?, next: None, seen, total, progress };
    walk.advance()?;
    let mut requests = requests.query([])?;
    while let Some(row) = requests.next()? {
        walk.request(&Request::of(row)?)?;
    }
    walk.orphans_before(None)?;
    drop(walk);
    statements_as_closed(tables, seen)?;
    tables.execute_batch("COMMIT")
}

/// A closed statement says what it said when it was closed, as the audit has it; one begins where the last one ended.
fn statements_as_closed(tables: &Connection, seen: &mut Verified) -> rusqlite::Result<()> {
    for act in audit::read(tables)?.into_iter().filter(|act| act.action == audit::CLOSED) {
        let Some((month, team)) = act.subject.split_once(' ') else { continue };
        let subject = format!("statement {}", act.subject);
        match statements::read(tables, team, month)? {
            None => seen.find(subject, format!("it is not there, and was closed by `{}`", act.who)),
            Some(found) if found.digest() != act.sha256 => {
                let what = format!("it is not what was closed by `{}`: its hash is another one", act.who);
                seen.find(subject, what);
            }
            Some(_) => {}
        }
    }
    seams::seams(tables)?.into_iter().for_each(|(subject, what)| seen.find(subject, what));
    Ok(())
}

/// Goes through requests and attempts side by side, both in the order of the request's id.
struct Walk<'w> {
    attempts: Rows<'w>,
    next: Option<Attempt>,
    seen: &'w mut Verified,
    total: u64,
    progress: &'w mut dyn FnMut(Progress),
}

impl Walk<'_> {
    fn advance(&mut self) -> rusqlite::Result<()> {
        self.next = self.attempts.next()?.map(Attempt::of).transpose()?;
        if let Some(attempt) = &self.next {
            self.seen.attempts += 1;
            attempt.check(self.seen);
            self.tell();
        }
        Ok(())
    }

    fn tell(&mut self) {
        let done = self.seen.attempts + self.seen.requests;
        if done.is_multiple_of(4096) {
            (self.progress)(Progress::Rows(done, self.total));
        }
    }

    /// Attempts whose request comes before `id` in order have none.
    fn orphans_before(&mut self, id: Option<&str>) -> rusqlite::Result<()> {
        while let Some(attempt) = self.next.take_if(|next| id.is_none_or(|id| next.request.as_str() < id)) {
            self.seen.find(&attempt.id, format!("its request `{}` is not there", attempt.request));
            self.advance()?;
        }
        Ok(())
    }

    fn request(&mut self, request: &Request) -> rusqlite::Result<()> {
        self.orphans_before(Some(&request.id))?;
        self.seen.requests += 1;
        self.seen.open_requests += u64::from(request.status == "open");
        self.tell();
        let (mut sum, mut last) = (CostInterval::NOTHING, None::<Attempt>);
        while let Some(attempt) = self.next.take_if(|next| next.request == request.id) {
            sum = sum.plus(attempt.cost);
            // Ids are read in the order of their text.
            last = last.take_if(|last| last.rank() > attempt.rank()).or(Some(attempt));
            self.advance()?;
        }
        let id = uuid_of(&request.id);
        self.seen.place(&request.id, id, request.at_ms);
        if id.is_none() {
            self.seen.find(&request.id, "it is no id of ours; wanted a UUID in lower case");
        }
        if request.cost != sum {
            let (found, wanted) = (words(request.cost), words(sum));
            self.seen.find(&request.id, format!("it costs {found}; wanted the sum of its attempts, {wanted}"));
        }
        if let (Some(saved), Some(last)) = (request.saved, &last) {
            let before = sum.exact.zip(last.cost.exact).map(|(sum, last)| last - sum);
            saved.check(&request.id, before, self.seen);
        }
        Ok(())
    }
}

/// The version that began to keep what requests would have cost.
const COMPARED: u32 = 5;
const SAVED: &str = "saved_nano, saved_route_nano, saved_fallback_nano, saved_retry_nano, saved_compress_nano,
    saved_cache_nano";
const SAVED_NOTHING: &str = "NULL, NULL, NULL, NULL, NULL, NULL";

/// What a request saved altogether, and its parts: by route, fallback, retry, compression and cache.
#[derive(Clone, Copy)]
struct Saved {
    whole: NanoUsd,
    parts: [Option<NanoUsd>; 5],
}

impl Saved {
    fn of(row: &Row<'_>, first: usize) -> rusqlite::Result<Option<Self>> {
        let Some(whole) = row.get::<_, Option<i64>>(first)?.map(NanoUsd) else { return Ok(None) };
        let mut parts = [None; 5];
        for (place, part) in (first + 1..).zip(&mut parts) {
            *part = row.get::<_, Option<i64>>(place)?.map(NanoUsd);
        }
        Ok(Some(Self { whole, parts }))
    }

    /// `before` is what the attempts besides the last cost, as a negative amount.
    fn check(self, request: &str, before: Option<NanoUsd>, seen: &mut Verified) {
        let Self { whole, parts } = self;
        let told = parts.map(|part| part.map_or_else(|| "null".to_owned(), |part| part.0.to_string())).join(", ");
        let sum: Option<NanoUsd> = parts.into_iter().sum();
        if sum != Some(whole) {
            seen.find(request, format!("it saved {} nano; wanted parts that make the whole, found ({told})", whole.0));
        } else if parts[2] != before {
            let wanted = before.map_or_else(|| "null".to_owned(), |before| before.0.to_string());
            let what = format!("it saved ({told}) nano; wanted {wanted} by retry, the attempts besides its last");
            seen.find(request, what);
        }
    }
}

struct Request {
    id: String,
    status: String,
    cost: CostInterval,
    saved: Option<Saved>,
    at_ms: Option<i64>,
}

impl Request {
    fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            status: row.get(1)?,
            cost: cost_of(row, 2)?,
            saved: Saved::of(row, 5)?,
            at_ms: row.get(11)?,
        })
    }
}

struct Attempt {
    id: String,
    request: String,
    fate: String,
    source: String,
    cost: CostInterval,
    is_priced: bool,
    bound: Option<NanoUsd>,
    at_ms: Option<i64>,
}

impl Attempt {
    fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            request: row.get(1)?,
            fate: row.get(2)?,
            source: row.get(3)?,
            cost: cost_of(row, 4)?,
            is_priced: row.get::<_, Option<String>>(7)?.is_some(),
            bound: row.get::<_, Option<i64>>(8)?.map(NanoUsd),
            at_ms: row.get(9)?,
        })
    }

    /// Whether it answered, and its number within its request: the highest is what its request was compared by.
    fn rank(&self) -> (bool, u16) {
        (self.fate == "completed", self.id.parse().map_or(0, |id: AttemptId| id.ordinal))
    }

    fn check(&self, seen: &mut Verified) {
        let fate = seen.fates.entry(self.fate.clone()).or_default();
        fate.attempts += 1;
        fate.uncertain += u64::from(self.cost.exact.is_none());
        fate.unpriced += u64::from(!self.is_priced);
        let sum = if self.source == "estimated" { &mut fate.estimated } else { &mut fate.known };
        *sum += self.cost.exact.unwrap_or_default();
        let (low, high) = if fate.attempts == 1 { (NanoUsd::ZERO, Some(NanoUsd::ZERO)) } else { fate.interval };
        fate.interval = (low + self.cost.low, high.zip(self.cost.high).map(|(sum, high)| sum + high));
        seen.place(&self.id, uuid_of(&self.request), self.at_ms);
        let parsed = self.id.parse::<AttemptId>().ok().filter(|id| id.to_string() == self.id && id.ordinal > 0);
        if parsed.is_none_or(|id| uuid_of(&self.request) != Some(id.request)) {
            let wanted = format!("wanted `{}-` and a number from 1", self.request);
            seen.find(&self.id, format!("it is no attempt's id of its request; {wanted}"));
        }
        if !["open", "completed", "failed", "cut", "interrupted"].contains(&self.fate.as_str()) {
            seen.find(&self.id, format!("its fate is `{}`, which is none", self.fate));
        }
        let CostInterval { low, exact, high } = self.cost;
        if exact.is_some_and(|exact| is_far_beyond(exact, self.bound)) {
            seen.far_beyond.0 += 1;
            seen.far_beyond.1.get_or_insert_with(|| self.id.clone());
        }
        if low < NanoUsd::ZERO
            || high.is_some_and(|high| high < low)
            || exact.is_some_and(|exact| exact < low || high.is_some_and(|high| exact > high))
        {
            seen.find(&self.id, format!("it costs {}; wanted low <= exact <= high", words(self.cost)));
        }
        // A cost that is unknown for a reason has no upper end either: no price, or fees that no price covers.
        let is_settled = self.fate == "failed" || (self.source != "unknown" && self.fate != "open");
        if is_settled && exact.is_none() && (high.is_some() || self.fate == "failed") {
            seen.find(
                &self.id,
                format!("it is settled ({}) and costs {}; wanted an amount", self.fate, words(self.cost)),
            );
        }
    }
}

fn cost_of(row: &Row<'_>, first: usize) -> rusqlite::Result<CostInterval> {
    let amount = |column| Ok::<_, rusqlite::Error>(row.get::<_, Option<i64>>(column)?.map(NanoUsd));
    let low = amount(first)?.unwrap_or_default();
    Ok(CostInterval { low, exact: amount(first + 1)?, high: amount(first + 2)? })
}

/// An id of ours is spelt in one way only.
fn uuid_of(text: &str) -> Option<RequestId> {
    let id = RequestId(uuid::Uuid::try_parse(text).ok()?);
    (id.to_string() == text).then_some(id)
}

/// An interval in whole nano-dollars, as the columns have it.
fn words(cost: CostInterval) -> String {
    let amount = |amount: Option<NanoUsd>| amount.map_or_else(|| "null".to_owned(), |amount| amount.0.to_string());
    format!("({}, {}, {}) nano", cost.low.0, amount(cost.exact), amount(cost.high))
}

fn note(seen: &mut Verified) {
    if let (count, Some(first)) = &seen.far_beyond {
        let of = if *count == 1 { "1 attempt costs" } else { &format!("{count} attempts cost") };
        let what = format!("{of} far more than its call could, the first of them `{first}`; was the export right?");
        seen.notes.push(what);
    }
    if let (count, Some(first)) = &seen.apart {
        let of = if *count == 1 { "1 row has" } else { &format!("{count} rows have") };
        seen.notes.push(format!(
            "{of} a time more than an hour from the one in the id, the first of them `{first}`: a clock was set back, or an attempt \
             left late; `report` by `user`, `prompt` and `session`, `rerate`, `reconcile` and `review` leave them out, `report` by \
             other names does not"
        ));
    }
    let too_much = |sum: NanoUsd| sum.0 == i64::MAX;
    let sums = |sum: &FateSum| [Some(sum.known), Some(sum.estimated), Some(sum.interval.0), sum.interval.1];
    let beyond = seen.fates.iter().filter(|(_, sum)| sums(sum).into_iter().flatten().any(too_much));
    for fate in beyond.map(|(fate, _)| fate.clone()).collect::<Vec<_>>() {
        seen.find("tables", format!("the costs of attempts that are `{fate}` are too much to add up"));
    }
    let open = seen.fates.get("open").map_or(0, |sum| sum.attempts);
    if open + seen.open_requests > 0 {
        let what = if seen.owned {
            "on their way"
        } else {
            "nobody has the ledger open: the next start replays the journal and closes what is left"
        };
        let of = |number, what| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
        let (attempts, requests) = (of(open, "attempt"), of(seen.open_requests, "request"));
        seen.notes.push(format!("open: {attempts}, {requests}; {what}"));
    }
    if seen.version < super::schema::SCHEMA_VERSION {
        seen.notes.push(format!("its tables have version {}; the next start upgrades them", seen.version));
    }
}
