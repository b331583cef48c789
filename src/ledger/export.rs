//! Reads a provider's usage or cost export: JSON lines or CSV with a header.
//!
//! Columns are `client_request_id` (our attempt id), `cost_usd` (a decimal) or `cost_nano_usd` (whole),
//! and, if known, `model`, `input_tokens`, `cached_input_tokens`, `cache_write_tokens`,
//! `cache_write_1h_tokens`, `output_tokens`, `reasoning_tokens`, with subsets counted in their whole as in
//! the ledger. A `currency` must be USD. Other columns are ignored. Lines of the same call are added up, unless they say
//! the same; negative amounts are credits. The file is read line by line; what is kept are its calls, which have a bound.
//! Pure apart from the reader.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::io::{BufRead, BufReader, Read};

use serde_json::value::RawValue;

use crate::bill::amount::{Amount, Unit, half_of_last};
use crate::ledger::record::KnownTokens;
use crate::limits::EXPORT_CALLS_MAX;
use crate::money::NanoUsd;
use crate::problem::{Problem, nearest_hint};

/// Most findings that are collected before reading stops.
const PROBLEMS_MAX: usize = 50;
const ID: &str = "client_request_id";
const USD: &str = "cost_usd";
const NANO_USD: &str = "cost_nano_usd";
const CURRENCY: &str = "currency";

/// Decimals of a nano-dollar: an amount with as many is as fine as the ledger's.
const NANO_DECIMALS: u32 = 9;

/// What a provider billed, call by call.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Export {
    /// The calls, in the order in which they are named first.
    pub rows: Vec<ExportRow>,
    /// Lines that give money back for no call, or more than the call cost: how many, and the amount, which is negative.
    pub credits: (u64, NanoUsd),
    /// How many lines there were; more than calls if some have several.
    pub lines: u64,
    /// The most decimals of a dollar that an amount is written with.
    pub decimals: u32,
}

/// One billed call in a provider's words.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExportRow {
    /// 1-based line of the file, the first of several.
    pub line: u32,
    /// What the provider was sent as `x-client-request-id`; calls of other software have other shapes.
    pub client_request_id: String,
    /// Model, if the export names it.
    pub model: Option<String>,
    /// The kinds of tokens that the export has; an empty column is not a zero.
    pub tokens: KnownTokens,
    /// The amount billed, credits taken off; decimals beyond the ninth are rounded half to even.
    pub cost: NanoUsd,
    /// How far that may lie from the true amount because the export rounds: half of its last decimal for each line.
    pub rounding: NanoUsd,
}

/// A line, and the amount of all lines of its call until then.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Line {
    row: ExportRow,
    amount: Amount,
    decimals: u32,
}

impl Line {
    /// What two lines of a call must not both say: then one of them is a copy.
    fn figures(&self) -> (Amount, KnownTokens, Option<String>) {
        (self.amount, self.row.tokens, self.row.model.clone())
    }
}

/// A call with all its lines.
struct Call {
    line: Line,
    lines: i64,
    /// The figures of each line, once there are several.
    said: Vec<(Amount, KnownTokens, Option<String>)>,
}

impl Call {
    /// Adds a line to the others; false if it says what one of them says.
    fn add(&mut self, line: Line) -> bool {
        if self.said.is_empty() {
            self.said.push(self.line.figures());
        }
        let figures = line.figures();
        if self.said.contains(&figures) {
            return false;
        }
        self.said.push(figures);
        self.lines += 1;
        // The tokens of a credit are those that were charged already.
        if !line.amount.is_credit() {
            self.line.row.tokens.add(line.row.tokens);
        }
        self.line.amount += line.amount;
        self.line.row.model = self.line.row.model.take().or(line.row.model);
        true
    }
}

/// Reads all calls; `file` is the name used in findings. JSON lines start with `{`, anything else is CSV.
///
/// # Errors
///
/// Every finding with its line, at most 50 of them.
pub fn read_export(file: &str, reader: impl Read) -> Result<Export, Vec<Problem>> {
    let mut reader = BufReader::new(reader);
    let (calls, places, problems) = (Vec::new(), HashMap::new(), Vec::new());
    let mut found = Findings { file, calls, places, problems, export: Export::default() };
    let json = match reader.fill_buf() {
        Ok(start) => start.trim_ascii_start().first() == Some(&b'{'),
        Err(error) => return Err(vec![found.problem(0, error.to_string())]),
    };
    if json {
        read_json(reader, &mut found)
    } else {
        read_csv(reader, &mut found)
    }
    found.export()
}

struct Findings<'f> {
    file: &'f str,
    calls: Vec<Call>,
    /// Where in `calls` each id is.
    places: HashMap<String, usize>,
    problems: Vec<Problem>,
    /// Lines, credits and decimals until now.
    export: Export,
}

impl Findings<'_> {
    fn problem(&self, line: u32, message: String) -> Problem {
        Problem { file: self.file.to_owned(), line, column: 0, message }
    }

    /// Takes one line or what is wrong with it; false once there are enough findings.
    fn take(&mut self, number: u32, line: Result<Line, Wrong>) -> bool {
        let message = match line.and_then(|line| self.add(line)) {
            Ok(()) => return true,
            Err(Wrong::File(message)) => {
                self.problems = vec![self.problem(number, message)];
                return false;
            }
            Err(Wrong::Row(message)) => message,
        };
        self.problems.push(self.problem(number, message));
        self.problems.len() < PROBLEMS_MAX
    }

    fn add(&mut self, line: Line) -> Result<(), Wrong> {
        self.export.lines += 1;
        self.export.decimals = self.export.decimals.max(line.decimals);
        let id = &line.row.client_request_id;
        if id.is_empty() && line.amount.is_credit() {
            self.credit(line.amount);
            return Ok(());
        }
        if let Some(call) = self.places.get(id).and_then(|place| self.calls.get_mut(*place)) {
            let (first, id) = (call.line.row.line, id.clone());
            let is_new = call.add(line);
            return is_new
                .then_some(())
                .ok_or_else(|| format!("`{id}` occurs twice with the same figures, first on line {first}").into());
        }
        if self.calls.len() >= EXPORT_CALLS_MAX {
            return Err(Wrong::File(format!(
                "found more than {EXPORT_CALLS_MAX} calls; wanted fewer at once, such as those of a day"
            )));
        }
        if !id.is_empty() {
            self.places.insert(id.clone(), self.calls.len());
        }
        self.calls.push(Call { line, lines: 1, said: Vec::new() });
        Ok(())
    }

    fn credit(&mut self, amount: Amount) {
        self.export.credits.0 += 1;
        self.export.credits.1 += amount.nano();
    }

    /// All calls, now that every line of each is known and how finely amounts are written.
    fn export(mut self) -> Result<Export, Vec<Problem>> {
        let half = match self.export.decimals {
            ..NANO_DECIMALS => half_of_last(self.export.decimals),
            _ => 0,
        };
        // No line comes any more: the names need no room beside the rows.
        self.places = HashMap::new();
        for Call { line: Line { mut row, amount, .. }, lines, .. } in std::mem::take(&mut self.calls) {
            if row.tokens.input_tokens.is_some() != row.tokens.output_tokens.is_some() {
                let message = "found one of `input_tokens` and `output_tokens`; wanted both or none";
                self.problems.push(self.problem(row.line, message.to_owned()));
            }
            if amount.is_credit() {
                self.credit(amount);
            } else {
                row.cost = amount.nano();
            }
            row.rounding = NanoUsd(half.saturating_mul(lines));
            self.export.rows.push(row);
        }
        self.problems.sort_by_key(|problem| problem.line);
        self.problems.truncate(PROBLEMS_MAX);
        if self.problems.is_empty() { Ok(self.export) } else { Err(self.problems) }
    }
}

/// What is wrong.
enum Wrong {
    /// With a row: the next may have something else.
    Row(String),
    /// With all of them: once is enough.
    File(String),
}

impl From<String> for Wrong {
    fn from(message: String) -> Self {
        Self::Row(message)
    }
}

fn read_json(reader: impl BufRead, found: &mut Findings<'_>) {
    for (line, text) in (1..).zip(reader.lines()) {
        let row = text.map_err(|error| Wrong::Row(error.to_string())).and_then(|text| {
            if text.trim().is_empty() {
                return Ok(None);
            }
            let fields: HashMap<String, &RawValue> =
                serde_json::from_str(&text).map_err(|error| Wrong::Row(format!("found no JSON object: {error}")))?;
            row_of(line, |column| fields.get(column).map_or("", |value| bare(value.get()))).map(Some)
        });
        if let Some(row) = row.transpose()
            && !found.take(line, row)
        {
            return;
        }
    }
}

/// A JSON scalar as text: ids and decimals need no escapes.
fn bare(json: &str) -> &str {
    if json == "null" { "" } else { json.trim_matches('"') }
}

fn read_csv(reader: impl BufRead, found: &mut Findings<'_>) {
    let ahead = RefCell::new(Ahead { bytes: VecDeque::new(), from: 0, line: 1 });
    let line_of = |position: Option<&csv::Position>| ahead.borrow_mut().line_of(position);
    let counting = Counting { inner: reader, ahead: &ahead };
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(counting);
    let header = match reader.headers() {
        Ok(header) => header.clone(),
        Err(error) => {
            found.take(1, Err(error.to_string().into()));
            return;
        }
    };
    let place = |column: &str| header.iter().position(|name| name.trim_start_matches('\u{feff}') == column);
    let missing = |column: &str| {
        let hint = nearest_hint(column, header.iter()).replace("did you mean", "is it");
        match hint.is_empty() && column == ID {
            true => format!(
                "found the columns of no known export, nor `{ID}` of one with a line a call; of sums, name them: \
                 `--columns day=Date,model=Model,usd=Cost`"
            ),
            false => format!("found no column `{column}`{hint}"),
        }
    };
    let absent = match (place(ID), place(USD).or(place(NANO_USD))) {
        (None, _) => Some(ID),
        (_, None) => Some(USD),
        _ => None,
    };
    if let Some(column) = absent {
        found.take(1, Err(missing(column).into()));
        return;
    }
    for record in reader.records() {
        let (line, row) = match record {
            Ok(record) => {
                let line = line_of(record.position());
                (line, row_of(line, |column| place(column).and_then(|place| record.get(place)).unwrap_or("")))
            }
            Err(error) => (line_of(error.position()), Err(error.to_string().into())),
        };
        if !found.take(line, row) {
            return;
        }
    }
}

/// Passes bytes on and counts lines. What the reader of CSV says lags behind where lines end in `\r\n`. Only what it has read
/// ahead of the last record is kept.
struct Counting<'w, R> {
    inner: R,
    ahead: &'w RefCell<Ahead>,
}

/// What was passed on behind the last record.
struct Ahead {
    bytes: VecDeque<u8>,
    /// Where in the file it begins.
    from: u64,
    /// The line of that place.
    line: u32,
}

impl<R: Read> Read for Counting<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.ahead.borrow_mut().bytes.extend(&buffer[..count]);
        Ok(count)
    }
}

impl Ahead {
    /// The line of a record, which begins at or behind its position, never before that of the record before.
    fn line_of(&mut self, position: Option<&csv::Position>) -> u32 {
        let Some(position) = position else { return 0 };
        let start = usize::try_from(position.byte().saturating_sub(self.from)).unwrap_or(usize::MAX);
        let breaks = self.bytes.iter().skip(start).take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        let passed = start.saturating_add(breaks).min(self.bytes.len());
        let lines = self.bytes.drain(..passed).filter(|byte| *byte == b'\n').count();
        self.from += passed as u64;
        self.line = self.line.saturating_add(u32::try_from(lines).unwrap_or(u32::MAX));
        self.line
    }
}

/// A line from its columns; an empty column is a missing one.
fn row_of<'a>(line: u32, column: impl Fn(&str) -> &'a str) -> Result<Line, Wrong> {
    let currency = column(CURRENCY);
    if !currency.is_empty() && !currency.eq_ignore_ascii_case("usd") {
        return Err(Wrong::File(format!("`{CURRENCY}` is `{currency}`; wanted `USD`: the ledger keeps no other")));
    }
    let tokens = |name: &str| match column(name) {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|_| format!("`{name}` is `{text}`; wanted a whole number of tokens")),
    };
    let tokens = KnownTokens {
        input_tokens: tokens("input_tokens")?,
        cached_input_tokens: tokens("cached_input_tokens")?,
        cache_write_tokens: tokens("cache_write_tokens")?,
        cache_write_1h_tokens: tokens("cache_write_1h_tokens")?,
        output_tokens: tokens("output_tokens")?,
        reasoning_tokens: tokens("reasoning_tokens")?,
    };
    let (amount, decimals) = match (column(NANO_USD), column(USD)) {
        ("", "") => return Err(format!("found no amount; wanted `{USD}` or `{NANO_USD}`").into()),
        ("", text) => amount_of(text, Unit::Dollars)
            .ok_or_else(|| format!("`{USD}` is `{text}`; wanted a decimal amount of dollars such as `0.000123`"))?,
        (text, _) => amount_of(text, Unit::NanoDollars)
            .filter(|(_, decimals)| *decimals == NANO_DECIMALS)
            .ok_or_else(|| format!("`{NANO_USD}` is `{text}`; wanted a whole number of nano-dollars"))?,
    };
    let model = Some(column("model")).filter(|model| !model.is_empty()).map(str::to_owned);
    let (client_request_id, cost, rounding) = (column(ID).to_owned(), NanoUsd::ZERO, NanoUsd::ZERO);
    Ok(Line { row: ExportRow { line, client_request_id, model, tokens, cost, rounding }, amount, decimals })
}

/// An amount that the ledger can hold.
fn amount_of(text: &str, unit: Unit) -> Option<(Amount, u32)> {
    Amount::parse(text, unit).filter(|(amount, _)| amount.nano().0.unsigned_abs() < i64::MAX.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(line: u32, cost: i64, tokens: KnownTokens) -> ExportRow {
        let model = Some("gpt-x".to_owned());
        let rounding = NanoUsd::ZERO;
        ExportRow { line, client_request_id: "a-1".to_owned(), model, tokens, cost: NanoUsd(cost), rounding }
    }

    #[test]
    fn both_shapes_read_alike() {
        let none = KnownTokens::default();
        let (input_tokens, output_tokens) = (Some(9), Some(5));
        let some = KnownTokens { input_tokens, output_tokens, cached_input_tokens: Some(4), ..none };
        for (text, expected) in [
            (
                "{\"client_request_id\":\"a-1\",\"model\":\"gpt-x\",\"cost_usd\":1.5e-8,\"extra\":{}}\n\n",
                row(1, 15, none),
            ),
            ("{\"client_request_id\":\"a-1\",\"model\":\"gpt-x\",\"cost_usd\":\"0.000000015\"}", row(1, 15, none)),
            (
                "{\"client_request_id\":\"a-1\",\"model\":\"gpt-x\",\"input_tokens\":9,\"cached_input_tokens\":4,\
                  \"output_tokens\":5,\"reasoning_tokens\":null,\"cost_nano_usd\":15}",
                row(1, 15, some),
            ),
            (
                "\u{feff}client_request_id,model,input_tokens,cached_input_tokens,output_tokens,cost_usd\n\
                 a-1, gpt-x,9,4,5,0.000000015\n",
                row(2, 15, some),
            ),
        ] {
            assert_eq!(read_export("e", text.as_bytes()).map(|export| export.rows), Ok(vec![expected]), "{text}");
        }
    }

    #[track_caller]
    fn check_findings(text: &str, expected: &[&str]) {
        let found = read_export("bill.csv", text.as_bytes()).expect_err("it is wrong");
        assert_eq!(found.iter().map(Problem::to_string).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn findings_say_where_and_what_was_wanted() {
        check_findings(
            "client_request_ids,cost_usd\n",
            &["bill.csv:1: found no column `client_request_id`; is it `client_request_ids`?"],
        );
        check_findings("client_request_id,model\n", &["bill.csv:1: found no column `cost_usd`"]);
        check_findings(
            "Date,Model,Cost\n2026-11-01,gpt-x,1\n",
            &[
                "bill.csv:1: found the columns of no known export, nor `client_request_id` of one with a line a call; of sums, \
               name them: `--columns day=Date,model=Model,usd=Cost`",
            ],
        );
        check_findings(
            "client_request_id,input_tokens,output_tokens,cost_usd\na-1,1,2,0.1\na-1,1,2,0.1\na-2,x,2,0.1\na-3,1,,0.1\na-4,,,dear\na-5,,,\n",
            &[
                "bill.csv:3: `a-1` occurs twice with the same figures, first on line 2",
                "bill.csv:4: `input_tokens` is `x`; wanted a whole number of tokens",
                "bill.csv:5: found one of `input_tokens` and `output_tokens`; wanted both or none",
                "bill.csv:6: `cost_usd` is `dear`; wanted a decimal amount of dollars such as `0.000123`",
                "bill.csv:7: found no amount; wanted `cost_usd` or `cost_nano_usd`",
            ],
        );
        check_findings(
            "client_request_id,cost_usd,currency\na-1,0.1,usd\na-2,x,\na-3,0.1,EUR\na-4,0.1,EUR\n",
            &["bill.csv:4: `currency` is `EUR`; wanted `USD`: the ledger keeps no other"],
        );
        for end in ["\n", "\r\n", "\n\n", "\r\n\r\n"] {
            let lines = ["client_request_id,cost_usd", "a-1,0.1", "\"a\n-2\",0.1", "a-3,dear", "a-4,0.1", "a-5,dear"];
            let step = end.matches('\n').count();
            let told = |line: usize| {
                format!("bill.csv:{line}: `cost_usd` is `dear`; wanted a decimal amount of dollars such as `0.000123`")
            };
            check_findings(&lines.join(end), &[&told(3 * step + 2), &told(5 * step + 2)]);
        }
        check_findings(
            "{\"client_request_id\":\"a-1\",\"cost_nano_usd\":4.5}\n",
            &["bill.csv:1: `cost_nano_usd` is `4.5`; wanted a whole number of nano-dollars"],
        );
    }
    /// What a row comes to: line, nano-dollars, how far rounding takes it, input and output.
    type Told = (u32, i64, i64, Option<u64>, Option<u64>);

    #[track_caller]
    fn check_export(text: &str, rows: &[Told], credits: (u64, i64)) {
        let export = read_export("e", text.as_bytes()).expect("an export");
        let told =
            |row: &ExportRow| (row.line, row.cost.0, row.rounding.0, row.tokens.input_tokens, row.tokens.output_tokens);
        assert_eq!(export.rows.iter().map(told).collect::<Vec<_>>(), rows, "{text}");
        assert_eq!(export.credits, (credits.0, NanoUsd(credits.1)), "{text}");
    }

    #[test]
    fn lines_of_a_call_are_added_up_and_credits_taken_off() {
        let header = "client_request_id,input_tokens,output_tokens,cost_usd\n";
        let check = |lines: &str, rows: &[Told], credits| check_export(&format!("{header}{lines}"), rows, credits);
        check("a-1,9,,0.0000000014\na-1,,5,0.0000000014\n", &[(2, 3, 0, Some(9), Some(5))], (0, 0));
        check("a-1,9,5,0.000000030\na-1,9,5,-0.000000010\n", &[(2, 20, 0, Some(9), Some(5))], (0, 0));
        check("a-1,9,5,0.000000030\na-1,,,-0.000000040\n", &[(2, 0, 0, Some(9), Some(5))], (1, -10));
        check(",,,-0.000000040\n,,,-0.000000040\n", &[], (2, -80));
    }

    #[test]
    fn what_is_rounded_to_cents_says_so() {
        let header = "client_request_id,cost_usd\n";
        check_export(
            &format!("{header}a-1,0.02\na-2,1.5\na-2,0.01\n"),
            &[(2, 20_000_000, 5_000_000, None, None), (3, 1_510_000_000, 10_000_000, None, None)],
            (0, 0),
        );
        check_export(&format!("{header}a-1,0.020000000\n"), &[(2, 20_000_000, 0, None, None)], (0, 0));
    }
}
