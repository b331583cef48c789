//! Reads a provider's usage or cost export: JSON lines or CSV with a header.
//!
//! Columns are `client_request_id` (our attempt id), `cost_usd` (a decimal) or `cost_nano_usd` (whole),
//! and, if known, `model`, `input_tokens`, `cached_input_tokens`, `cache_write_tokens`,
//! `cache_write_1h_tokens`, `output_tokens`, `reasoning_tokens`, with subsets counted in their whole as in
//! the ledger. A `currency` must be USD. Other columns are ignored.
//! Pure apart from the reader.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read};

use serde_json::value::RawValue;

use crate::ledger::record::KnownTokens;
use crate::money::NanoUsd;
use crate::problem::{Problem, nearest_hint};

/// Most findings that are collected before reading stops.
const PROBLEMS_MAX: usize = 50;
const ID: &str = "client_request_id";
const USD: &str = "cost_usd";
const NANO_USD: &str = "cost_nano_usd";
const CURRENCY: &str = "currency";

/// One billed call in a provider's words.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExportRow {
    /// 1-based line of the file.
    pub line: u32,
    /// What the provider was sent as `x-client-request-id`; calls of other software have other shapes.
    pub client_request_id: String,
    /// Model, if the export names it.
    pub model: Option<String>,
    /// The kinds of tokens that the export has; an empty column is not a zero.
    pub tokens: KnownTokens,
    /// The amount billed; decimals beyond the ninth are rounded half to even.
    pub cost: NanoUsd,
}

/// Reads all rows; `file` is the name used in findings. JSON lines start with `{`, anything else is CSV.
///
/// # Errors
///
/// Every finding with its line, at most 50 of them.
pub fn read_export(file: &str, reader: impl Read) -> Result<Vec<ExportRow>, Vec<Problem>> {
    let mut reader = BufReader::new(reader);
    let mut found = Findings { file, rows: Vec::new(), lines: HashMap::new(), problems: Vec::new() };
    let json = match reader.fill_buf() {
        Ok(start) => start.trim_ascii_start().first() == Some(&b'{'),
        Err(error) => return Err(vec![found.problem(0, error.to_string())]),
    };
    if json {
        read_json(reader, &mut found)
    } else {
        read_csv(reader, &mut found)
    }
    if found.problems.is_empty() { Ok(found.rows) } else { Err(found.problems) }
}

struct Findings<'f> {
    file: &'f str,
    rows: Vec<ExportRow>,
    /// Line on which each id was seen first.
    lines: HashMap<String, u32>,
    problems: Vec<Problem>,
}

impl Findings<'_> {
    fn problem(&self, line: u32, message: String) -> Problem {
        Problem { file: self.file.to_owned(), line, column: 0, message }
    }

    /// Takes one row or what is wrong with it; false once there are enough findings.
    fn take(&mut self, line: u32, row: Result<ExportRow, Wrong>) -> bool {
        let message = match row {
            Err(Wrong::File(message)) => {
                self.problems = vec![self.problem(line, message)];
                return false;
            }
            Ok(row) => match self.lines.get(&row.client_request_id) {
                Some(first) if !row.client_request_id.is_empty() => {
                    format!("`{}` occurs twice, first on line {first}", row.client_request_id)
                }
                _ => {
                    self.lines.insert(row.client_request_id.clone(), line);
                    self.rows.push(row);
                    return true;
                }
            },
            Err(Wrong::Row(message)) => message,
        };
        self.problems.push(self.problem(line, message));
        self.problems.len() < PROBLEMS_MAX
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

fn read_csv(mut reader: impl BufRead, found: &mut Findings<'_>) {
    let mut bytes = Vec::new();
    if let Err(error) = reader.read_to_end(&mut bytes) {
        found.take(0, Err(error.to_string().into()));
        return;
    }
    let mut lines = Lines { bytes: &bytes, seen: 0, line: 1 };
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(&*bytes);
    let header = match reader.headers() {
        Ok(header) => header.clone(),
        Err(error) => {
            found.take(1, Err(error.to_string().into()));
            return;
        }
    };
    let place = |column: &str| header.iter().position(|name| name.trim_start_matches('\u{feff}') == column);
    let missing = |column: &str| {
        let hint = nearest_hint(column, header.iter());
        format!("found no column `{column}`{}", hint.replace("did you mean", "is it"))
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
                let line = lines.of(record.position());
                (line, row_of(line, |column| place(column).and_then(|place| record.get(place)).unwrap_or("")))
            }
            Err(error) => (lines.of(error.position()), Err(error.to_string().into())),
        };
        if !found.take(line, row) {
            return;
        }
    }
}

/// Counts lines. What the reader of CSV says lags behind where lines end in `\r\n`.
struct Lines<'b> {
    bytes: &'b [u8],
    /// Up to where they are counted.
    seen: usize,
    line: u32,
}

impl Lines<'_> {
    /// The line of a record, which begins at or behind its position, never before that of the record before.
    fn of(&mut self, position: Option<&csv::Position>) -> u32 {
        let Some(start) = position.and_then(|position| usize::try_from(position.byte()).ok()) else { return 0 };
        let breaks = self.bytes.iter().skip(start).take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        let start = (start + breaks).min(self.bytes.len());
        let passed = self.bytes.get(self.seen..start).unwrap_or_default();
        self.line += passed.iter().filter(|byte| **byte == b'\n').count() as u32;
        self.seen = self.seen.max(start);
        self.line
    }
}

/// A row from its columns; an empty column is a missing one.
fn row_of<'a>(line: u32, column: impl Fn(&str) -> &'a str) -> Result<ExportRow, Wrong> {
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
    if tokens.input_tokens.is_some() != tokens.output_tokens.is_some() {
        return Err("found one of `input_tokens` and `output_tokens`; wanted both or none".to_owned().into());
    }
    let cost = match (column(NANO_USD), column(USD)) {
        ("", "") => return Err(format!("found no amount; wanted `{USD}` or `{NANO_USD}`").into()),
        ("", text) => nano_of_usd(text)
            .ok_or_else(|| format!("`{USD}` is `{text}`; wanted a decimal amount of dollars such as `0.000123`"))?,
        (text, _) => text
            .parse()
            .ok()
            .filter(|nano| *nano >= 0)
            .map(NanoUsd)
            .ok_or_else(|| format!("`{NANO_USD}` is `{text}`; wanted a whole number of nano-dollars"))?,
    };
    let model = Some(column("model")).filter(|model| !model.is_empty()).map(str::to_owned);
    Ok(ExportRow { line, client_request_id: column(ID).to_owned(), model, tokens, cost })
}

/// A decimal of at most 30 digits, with an exponent if need be, in nano-dollars; halves go to the even one.
fn nano_of_usd(text: &str) -> Option<NanoUsd> {
    let (decimal, exponent) = match text.split_once(['e', 'E']) {
        Some((decimal, exponent)) => (decimal, exponent.parse::<i32>().ok().filter(|e| e.abs() <= 30)?),
        None => (text, 0),
    };
    let (whole, fraction) = decimal.split_once('.').unwrap_or((decimal, ""));
    let digits = [whole, fraction].concat();
    if digits.is_empty() || digits.len() > 30 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits_value: u128 = digits.parse().ok()?;
    let shift = 9 + exponent - i32::try_from(fraction.len()).ok()?;
    let power = 10_u128.checked_pow(shift.unsigned_abs());
    let nano = match power {
        Some(power) if shift >= 0 => digits_value.checked_mul(power)?,
        Some(power) => {
            let (nano, rest) = (digits_value / power, digits_value % power);
            nano + u128::from(rest > power - rest || (rest == power - rest && nano % 2 == 1))
        }
        // 30 digits shifted further right than u128 reaches.
        None => 0,
    };
    i64::try_from(nano).ok().map(NanoUsd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_amount(text: &str, nano: Option<i64>) {
        assert_eq!(nano_of_usd(text), nano.map(NanoUsd), "{text}");
    }

    #[test]
    fn dollars_become_whole_nano_dollars_rounded_half_to_even() {
        check_amount("0.000012345", Some(12_345));
        check_amount("1", Some(1_000_000_000));
        check_amount("0.0000000005", Some(0));
        check_amount("0.0000000015", Some(2));
        check_amount("0.0000000025", Some(2));
        check_amount("0.00000000250001", Some(3));
        check_amount("1.2345e-05", Some(12_345));
        check_amount("1E-30", Some(0));
        check_amount("9223372036.854775807", Some(i64::MAX));
        for wrong in ["", ".", "-1", "1.2.3", "$1", "1e99", "9223372036.854775808", "NaN", "+1"] {
            check_amount(wrong, None);
        }
    }

    fn row(line: u32, cost: i64, tokens: KnownTokens) -> ExportRow {
        let model = Some("gpt-x".to_owned());
        ExportRow { line, client_request_id: "a-1".to_owned(), model, tokens, cost: NanoUsd(cost) }
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
            assert_eq!(read_export("e", text.as_bytes()), Ok(vec![expected]), "{text}");
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
            "client_request_id,input_tokens,output_tokens,cost_usd\na-1,1,2,0.1\na-1,1,2,0.1\na-2,x,2,0.1\na-3,1,,0.1\na-4,,,dear\na-5,,,\n",
            &[
                "bill.csv:3: `a-1` occurs twice, first on line 2",
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
            "{\"client_request_id\":\"a-1\",\"cost_nano_usd\":-4}\n",
            &["bill.csv:1: `cost_nano_usd` is `-4`; wanted a whole number of nano-dollars"],
        );
    }
}
