//! Providers' exports that have sums only: what they bill by day and model, in each of the shapes that they come in.
//!
//! A file comes in as a reader, a [`Bill`] goes out: dollars and tokens by day and model, however long the file is.
//! [`compare`] holds it against what the ledger has for the same days. Nothing here changes a ledger: a sum says
//! nothing about one call. Exports with a line a call are `ledger::export`'s. Pure apart from the reader.

pub mod amount;
mod columns;
pub mod compare;
mod pages;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::BufRead;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use amount::Amount;
pub use columns::Columns;

/// Most sums by day and model: what nobody would read is an error.
const GROUPS_MAX: usize = 200_000;
/// Most lines that are told from each other: their hashes are held in memory.
const LINES_MAX: usize = 4_000_000;
/// Most days, for the same reason.
const DAYS_MAX: usize = 4_000;
/// Longest name of a model or of a line of an invoice, in bytes.
const NAME_BYTES_MAX: usize = 300;

/// What an export looks like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shape {
    /// A line a call: `ledger::export`'s.
    Calls,
    /// `GET /v1/organization/usage/completions` and its siblings.
    OpenaiUsage,
    /// `GET /v1/organization/costs`.
    OpenaiCosts,
    /// What the dashboard of OpenAI exports, of costs and of activity.
    OpenaiCsv,
    /// `GET /v1/organizations/usage_report/messages`.
    AnthropicUsage,
    /// `GET /v1/organizations/cost_report`.
    AnthropicCost,
    /// What the Console of Anthropic exports of usage.
    AnthropicCsv,
    /// CSV with columns that the user names.
    Csv,
}

impl Shape {
    /// All of them with their words.
    pub const ALL: [(Self, &'static str); 8] = [
        (Self::Calls, "calls"),
        (Self::OpenaiUsage, "openai-usage"),
        (Self::OpenaiCosts, "openai-costs"),
        (Self::OpenaiCsv, "openai-csv"),
        (Self::AnthropicUsage, "anthropic-usage"),
        (Self::AnthropicCost, "anthropic-cost"),
        (Self::AnthropicCsv, "anthropic-csv"),
        (Self::Csv, "csv"),
    ];

    /// The word.
    pub fn as_str(self) -> &'static str {
        Self::ALL.into_iter().find(|(shape, _)| *shape == self).map_or("", |(_, word)| word)
    }

    /// Reads the word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(_, known)| *known == word).map(|(shape, _)| shape)
    }

    /// Takes a file for what its beginning looks like; what looks like nothing is taken for calls, whose reader says what
    /// it wants.
    pub fn of(start: &[u8]) -> Self {
        let start = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start).trim_ascii_start();
        let has = |word: &str| memchr::memmem::find(start, word.as_bytes()).is_some();
        if matches!(start.first(), Some(b'{' | b'[')) {
            let calls = ["client_request_id", "cost_usd", "cost_nano_usd"].into_iter().any(has);
            return match () {
                () if calls => Self::Calls,
                () if has("\"uncached_input_tokens\"") && !has("\"amount\"") => Self::AnthropicUsage,
                () if has("\"input_tokens\"") => Self::OpenaiUsage,
                () if has("\"starting_at\"") => Self::AnthropicCost,
                () if has("\"data\"") || has("\"results\"") => Self::OpenaiCosts,
                () => Self::Calls,
            };
        }
        let end = memchr::memchr2(b'\n', b'\r', start).unwrap_or(start.len());
        let header = start.get(..end).unwrap_or_default();
        let names = |word: &str| memchr::memmem::find(header, word.as_bytes()).is_some();
        match () {
            () if names("client_request_id") => Self::Calls,
            () if names("usage_date_utc") => Self::AnthropicCsv,
            () if names("start_time") && (names("amount_value") || names("input_tokens")) => Self::OpenaiCsv,
            () => Self::Calls,
        }
    }
}

/// The kinds of figures beside money, in the order in which they stand in [`Counts`].
pub const KINDS: [&str; 5] = ["input_tokens", "cached_input_tokens", "cache_write_tokens", "output_tokens", "requests"];

/// Figures beside money, each as far as the export has it; parts are counted in their whole, as in the ledger.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts(pub [Option<u64>; KINDS.len()]);

impl Counts {
    /// Everything read, out of which was cached and written, everything generated, and the number of calls.
    pub fn new(input: Option<u64>, cached: Option<u64>, written: Option<u64>, output: Option<u64>) -> Self {
        Self([input, cached, written, output, None])
    }

    fn add(&mut self, other: Self) {
        for (sum, more) in self.0.iter_mut().zip(other.0) {
            *sum = match (*sum, more) {
                (Some(sum), Some(more)) => Some(sum.saturating_add(more)),
                (sum, more) => sum.or(more),
            };
        }
    }
}

/// What an export says of one day and model.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Sums {
    /// What is charged.
    pub charges: Amount,
    /// What is given back: nothing, or less.
    pub credits: Amount,
    /// Lines with an amount: each was rounded by itself.
    pub amounts: u64,
    /// Figures beside money.
    pub counts: Counts,
}

/// Dollars and tokens by day and model.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bill {
    /// How it was read.
    pub shape: Shape,
    /// By day and model. Without a model it is the whole day, or what is charged for something else.
    pub sums: BTreeMap<(Date, Option<String>), Sums>,
    /// The days that the export has, those without anything included.
    pub days: BTreeSet<Date>,
    /// Lines that count.
    pub lines: u64,
    /// Lines of another API key or project than the wanted one.
    pub others: u64,
    /// Lines that say in every column what another one says, and what they come to. They do not count, unless that is asked for.
    pub copies: (u64, Amount),
    /// The most decimals of a dollar that an amount is written with.
    pub decimals: Option<u32>,
    /// The provider has further pages that are not in the file.
    pub has_more: bool,
}

impl Bill {
    /// Whether it has money.
    pub fn has_amounts(&self) -> bool {
        self.decimals.is_some()
    }

    /// Whether it has figures of a kind.
    pub fn has_kind(&self, kind: usize) -> bool {
        self.sums.values().any(|sums| sums.counts.0.get(kind).is_some_and(Option::is_some))
    }
}

/// What is wanted of an export.
#[derive(Clone, Debug)]
pub struct Asked<'a> {
    /// What it looks like by its beginning.
    pub shape: Shape,
    /// What the user says it is.
    pub forced: Option<Shape>,
    /// Where its figures stand, for [`Shape::Csv`].
    pub columns: Option<&'a Columns>,
    /// What becomes of lines that say what another one says.
    pub copies: Copies,
    /// Only lines of this API key, by its id at the provider.
    pub api_key: Option<&'a str>,
    /// Only lines of this project or workspace, by its id at the provider.
    pub project: Option<&'a str>,
    /// Whose days the export has.
    pub zone: &'a TimeZone,
}

/// What becomes of lines that say in every column, of this reader or not, what another one says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Copies {
    /// They are told and not counted: a sum stands there once.
    #[default]
    LeaveOut,
    /// They count: each is of something else.
    Count,
}

/// What is wrong with an export, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wrong {
    /// 1-based line; 0: the file as a whole.
    pub line: u32,
    /// 1-based column; 0: the line as a whole.
    pub column: u32,
    /// What was found and what was wanted.
    pub message: String,
}

/// Reads an export of sums to its end. It is all or nothing: what was read before something wrong is not used.
///
/// # Errors
///
/// The first finding with its line.
pub fn read(reader: impl BufRead, asked: &Asked<'_>) -> Result<Bill, Wrong> {
    let mut taker = Taker::new(asked);
    match asked.shape {
        Shape::Calls => return Err(of_file("it has a line a call; wanted sums by day".to_owned())),
        Shape::OpenaiCsv | Shape::AnthropicCsv | Shape::Csv => columns::read(reader, &mut taker)?,
        _ => pages::read(reader, &mut taker)?,
    }
    taker.bill()
}

fn of_file(message: String) -> Wrong {
    Wrong { line: 0, column: 0, message }
}

/// One line of an export, before its day is known.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Entry {
    model: Option<String>,
    amount: Option<(Amount, u32)>,
    counts: Counts,
    api_key: Option<String>,
    project: Option<String>,
}

/// Adds up line by line.
struct Taker<'a> {
    asked: &'a Asked<'a>,
    bill: Bill,
    /// What a key or a project was looked for in.
    named: Named,
    /// Hashes of whole lines.
    seen: HashSet<u64>,
}

/// Whether any line names what is asked for.
#[derive(Default)]
struct Named {
    api_key: bool,
    project: bool,
}

impl<'a> Taker<'a> {
    fn new(asked: &'a Asked<'a>) -> Self {
        let (sums, days) = (BTreeMap::new(), BTreeSet::new());
        let (lines, others, copies, decimals, has_more) = (0, 0, (0, Amount(0)), None, false);
        let bill = Bill { shape: asked.shape, sums, days, lines, others, copies, decimals, has_more };
        Self { asked, bill, named: Named::default(), seen: HashSet::new() }
    }

    /// The day of a span in seconds, which must not be longer.
    fn day(&mut self, from: Timestamp, until: Option<Timestamp>) -> Result<Date, String> {
        let day = from.to_zoned(self.asked.zone.clone()).date();
        let next = day.tomorrow().ok().and_then(|next| next.to_zoned(self.asked.zone.clone()).ok());
        if let Some((until, next)) = until.zip(next)
            && until > next.timestamp()
        {
            let zone = self.asked.zone.iana_name().unwrap_or("UTC");
            return Err(format!("found sums from {from} to {until}; wanted them by day of {zone} or finer"));
        }
        self.seen(day)
    }

    /// Takes note of a day.
    fn seen(&mut self, day: Date) -> Result<Date, String> {
        self.bill.days.insert(day);
        match self.bill.days.len() > DAYS_MAX {
            true => Err(format!("found more than {DAYS_MAX} days; wanted fewer at once")),
            false => Ok(day),
        }
    }

    /// Takes a line; `whole` is a hash of everything that it says.
    fn take(&mut self, day: Date, entry: Entry, whole: u64) -> Result<(), String> {
        self.named.api_key |= entry.api_key.is_some();
        self.named.project |= entry.project.is_some();
        let differs =
            |wanted: Option<&str>, found: &Option<String>| wanted.is_some_and(|w| found.as_deref() != Some(w));
        if differs(self.asked.api_key, &entry.api_key) || differs(self.asked.project, &entry.project) {
            self.bill.others += 1;
            return Ok(());
        }
        if let Some(model) = entry.model.as_ref().filter(|model| model.len() > NAME_BYTES_MAX) {
            let bytes = model.len();
            return Err(format!("found a model's name of {bytes} bytes; wanted at most {NAME_BYTES_MAX}"));
        }
        if self.asked.copies == Copies::LeaveOut && !self.seen.insert(whole) {
            self.bill.copies.0 += 1;
            self.bill.copies.1 += entry.amount.map_or(Amount(0), |(amount, _)| amount);
            return Ok(());
        }
        if self.seen.len() > LINES_MAX {
            return Err(format!("found more than {LINES_MAX} lines; wanted fewer at once"));
        }
        self.bill.lines += 1;
        let sums = self.bill.sums.entry((day, entry.model)).or_default();
        sums.counts.add(entry.counts);
        if let Some((amount, decimals)) = entry.amount {
            if amount.is_credit() {
                sums.credits += amount
            } else {
                sums.charges += amount
            }
            sums.amounts += 1;
            self.bill.decimals = self.bill.decimals.max(Some(decimals));
        }
        match self.bill.sums.len() > GROUPS_MAX {
            true => Err(format!("found more than {GROUPS_MAX} sums by day and model; wanted fewer at once")),
            false => Ok(()),
        }
    }

    fn bill(self) -> Result<Bill, Wrong> {
        for (asked, named, what) in
            [(self.asked.api_key, self.named.api_key, "API key"), (self.asked.project, self.named.project, "project")]
        {
            if let Some(asked) = asked.filter(|_| !named) {
                return Err(of_file(format!(
                    "no line names the {what}; wanted an export grouped by it to find `{asked}`"
                )));
            }
        }
        Ok(self.bill)
    }
}

/// The model in a line of OpenAI's invoice: `gpt-5.6-luna, cached input` is of `gpt-5.6-luna`.
fn model_of_item(item: &str) -> &str {
    item.split_once(',').map_or(item, |(model, _)| model).trim()
}

/// A currency that is not the ledger's.
fn check_currency(currency: &str) -> Result<(), String> {
    if currency.is_empty() || currency.eq_ignore_ascii_case("usd") {
        return Ok(());
    }
    Err(format!("found amounts in `{currency}`; wanted `USD`: the ledger keeps no other"))
}
