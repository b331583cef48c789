//! Bills as providers export them: OpenAI's usage and costs, Anthropic's cost and usage reports, and CSV with a map of
//! its columns.
//!
//! <https://platform.openai.com/docs/api-reference/usage/costs>, `…/usage/completions`,
//! <https://platform.claude.com/docs/en/api/admin/cost_report>, `…/usage_report/messages`. All four are pages of buckets by
//! time, whose results say by their fields what they are; a file may hold several pages one after another.

use std::collections::BTreeMap;
use std::io::Read;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::money::scaled;
use crate::problem::Problem;

use super::bill::{Bill, Measure};

/// Nano-dollars of a dollar and of a cent, as powers of ten.
const DOLLAR: i32 = 9;
const CENT: i32 = 7;

#[derive(Deserialize)]
struct Page {
    data: Vec<Bucket>,
}

#[derive(Deserialize)]
struct Bucket {
    start_time: Option<i64>,
    starting_at: Option<String>,
    results: Vec<BTreeMap<String, Box<RawValue>>>,
}

/// Where the columns of a CSV stand.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Columns {
    day: String,
    model: Option<String>,
    usd: String,
}

impl Columns {
    /// Reads `day=Date,model=Model,usd=Cost`.
    ///
    /// # Errors
    ///
    /// What is wrong with it, and what was wanted.
    pub fn read(text: &str) -> Result<Self, String> {
        let mut found: BTreeMap<&str, &str> = BTreeMap::new();
        for part in text.split(',') {
            let Some((what, column)) = part.split_once('=').filter(|(what, _)| ["day", "model", "usd"].contains(what))
            else {
                return Err(format!(
                    "`{part}` is no column; wanted `day=…`, `model=…` or `usd=…`, such as `day=Date,usd=Cost`"
                ));
            };
            found.insert(what, column.trim());
        }
        let named = |what: &str| found.get(what).map(|column| (*column).to_owned());
        let needed =
            |what: &str| named(what).ok_or_else(|| format!("no column is named for `{what}`; wanted `{what}=…`"));
        Ok(Self { day: needed("day")?, usd: needed("usd")?, model: named("model") })
    }
}

/// Whether the beginning of a file looks like a page of buckets.
pub fn is_page(beginning: &str) -> bool {
    beginning.trim_start().starts_with('{')
        && beginning.contains("\"data\"")
        && !beginning.contains("client_request_id")
}

/// Reads pages of buckets.
///
/// # Errors
///
/// Where the text is none, or says what cannot be taken: another currency, no amount, no day.
pub fn read_pages(file: &str, source: impl Read) -> Result<Bill, Problem> {
    let mut bill = Bill::default();
    let about = |message: String| Problem::of_file(file, message);
    for page in serde_json::Deserializer::from_reader(source).into_iter::<Page>() {
        let page = page.map_err(|error| {
            let (line, column) = (u32::try_from(error.line()).unwrap_or(0), u32::try_from(error.column()).unwrap_or(0));
            Problem {
                file: file.to_owned(),
                line,
                column,
                message: format!("is no page of a usage or cost report: {error}"),
            }
        })?;
        for bucket in page.data {
            let at = match (bucket.start_time, bucket.starting_at.as_deref()) {
                (Some(seconds), _) => Timestamp::from_second(seconds).ok(),
                (None, Some(text)) => text.parse().ok(),
                (None, None) => None,
            };
            let day = at.map(|at: Timestamp| at.to_zoned(TimeZone::UTC).date());
            let day = day.ok_or_else(|| about("a bucket has neither `start_time` nor `starting_at`".to_owned()))?;
            for result in &bucket.results {
                add_result(&mut bill, day, result).map_err(|why| about(format!("a result of {day} {why}")))?;
            }
        }
    }
    if bill.days().is_none() {
        return Err(about("has no results; wanted a page of a usage or cost report that has some".to_owned()));
    }
    Ok(bill)
}

fn add_result(bill: &mut Bill, day: Date, result: &BTreeMap<String, Box<RawValue>>) -> Result<(), String> {
    let text = |field: &str| result.get(field).and_then(|raw| serde_json::from_str::<String>(raw.get()).ok());
    // `gpt-5.6-luna, input` where costs are told by line item.
    let item = text("line_item").map(|item| item.split(',').next().unwrap_or_default().trim().to_owned());
    let model = text("model").or(item).unwrap_or_default();
    if let Some(amount) = result.get("amount") {
        #[derive(Deserialize)]
        struct Amount {
            value: Box<RawValue>,
            currency: Option<String>,
        }
        // OpenAI's is an object in dollars, Anthropic's a text in cents.
        let (value, unit, currency) = match serde_json::from_str::<Amount>(amount.get()) {
            Ok(amount) => (amount.value.get().to_owned(), DOLLAR, amount.currency),
            Err(_) => (amount.get().to_owned(), CENT, text("currency")),
        };
        if let Some(currency) = currency.filter(|currency| !currency.eq_ignore_ascii_case("usd")) {
            return Err(format!("is in `{currency}`; wanted US dollars"));
        }
        let wanted = || format!("has the amount {value}; wanted a decimal number");
        return add_amount(bill, day, &model, value.trim_matches('"'), unit).ok_or_else(wanted);
    }
    let count = |field: &str| result.get(field).and_then(|raw| raw.get().parse::<i64>().ok());
    let written =
        result.get("cache_creation").and_then(|raw| serde_json::from_str::<BTreeMap<String, i64>>(raw.get()).ok());
    let written = written.map_or(0, |parts| parts.values().fold(0, |sum: i64, part| sum.saturating_add(*part)));
    // OpenAI's `input_tokens` include what was cached; Anthropic's three kinds add up.
    let anthropic = count("uncached_input_tokens")
        .map(|uncached| uncached.saturating_add(count("cache_read_input_tokens").unwrap_or(0)).saturating_add(written));
    let (input, output) = (count("input_tokens").or(anthropic), count("output_tokens"));
    if input.or(output).is_none() {
        return Err("has neither an `amount` nor tokens".to_owned());
    }
    bill.add(day, &model, Measure::Input, input.unwrap_or(0));
    bill.add(day, &model, Measure::Output, output.unwrap_or(0));
    Ok(())
}

/// Adds an amount as it is written; money that is given back begins with `-`.
fn add_amount(bill: &mut Bill, day: Date, model: &str, text: &str, unit: i32) -> Option<()> {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
    let amount = i64::try_from(scaled(digits, unit)?.whole).ok()?;
    // The decimals of a dollar: those that are written, and those that the unit and the exponent add.
    let (mantissa, exponent) = digits.split_once(['e', 'E']).unwrap_or((digits, "0"));
    let written = mantissa.split_once('.').map_or(0, |(_, decimals)| decimals.len()) as i64;
    let exponent: i64 = exponent.strip_prefix('+').unwrap_or(exponent).parse().ok()?;
    let decimals = (written - exponent + i64::from(DOLLAR - unit)).clamp(0, 9);
    bill.decimals = bill.decimals.max(u32::try_from(decimals).unwrap_or(9));
    bill.add(day, model, Measure::Cost, sign * amount);
    Some(())
}

/// Reads CSV with a header, whose columns are told.
///
/// # Errors
///
/// The line and what was found and wanted there.
pub fn read_csv(file: &str, source: impl Read, columns: &Columns) -> Result<Bill, Problem> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(source);
    let about = |line: u64, message: String| Problem {
        file: file.to_owned(),
        line: u32::try_from(line).unwrap_or(0),
        column: 0,
        message,
    };
    let header = reader.headers().map_err(|error| about(1, format!("is no CSV: {error}")))?.clone();
    let place = |name: &str| {
        let found = header.iter().position(|column| column.trim_start_matches('\u{feff}') == name);
        found.ok_or_else(|| {
            let known: Vec<&str> = header.iter().collect();
            about(1, format!("has no column `{name}`; it has `{}`", known.join("`, `")))
        })
    };
    let (day_at, usd_at) = (place(&columns.day)?, place(&columns.usd)?);
    let model_at = columns.model.as_deref().map(place).transpose()?;
    let mut bill = Bill::default();
    for record in reader.records() {
        let record = record
            .map_err(|error| about(error.position().map_or(0, csv::Position::line), format!("is no CSV: {error}")))?;
        let line = record.position().map_or(0, csv::Position::line);
        let cell = |at: usize| record.get(at).unwrap_or_default();
        let day = cell(day_at).get(..10).and_then(|day| day.parse::<Date>().ok());
        let day =
            day.ok_or_else(|| about(line, format!("the day is `{}`; wanted one such as `2026-11-28`", cell(day_at))))?;
        let usd = cell(usd_at).replacen('$', "", 1);
        let model = model_at.map_or("", cell);
        let added = add_amount(&mut bill, day, model, &usd, DOLLAR);
        added
            .ok_or_else(|| about(line, format!("the amount is `{}`; wanted dollars such as `12.34`", cell(usd_at))))?;
    }
    if bill.days().is_none() {
        return Err(about(1, "has no rows under its header".to_owned()));
    }
    Ok(bill)
}

#[cfg(test)]
#[path = "bill_shapes/tests.rs"]
mod tests;
