//! CSV with sums: which column holds what, and the files that are known by their header.
//!
//! Lines are read one by one. The separator is the header's: comma, semicolon or tab.

use std::io::BufRead;

use jiff::Timestamp;
use jiff::civil::Date;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::amount::{Amount, Unit};
use super::{Counts, Entry, Shape, Taker, Wrong, check_currency, model_of_item, of_file};
use crate::problem::nearest_hint;

/// What a column may hold, by its word in `--columns`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Role {
    Day,
    End,
    Model,
    /// A line of OpenAI's invoice, which begins with its model.
    Item,
    Usd,
    Cents,
    Currency,
    Input,
    /// Input that was neither read from a cache nor written to it, beside columns of those.
    Uncached,
    Cached,
    Written,
    Written1h,
    Output,
    Requests,
    ApiKey,
    Project,
}

const ROLES: [(Role, &str); 16] = [
    (Role::Day, "day"),
    (Role::End, "end"),
    (Role::Model, "model"),
    (Role::Item, "item"),
    (Role::Usd, "usd"),
    (Role::Cents, "cents"),
    (Role::Currency, "currency"),
    (Role::Input, "input"),
    (Role::Uncached, "uncached"),
    (Role::Cached, "cached"),
    (Role::Written, "written"),
    (Role::Written1h, "written_1h"),
    (Role::Output, "output"),
    (Role::Requests, "requests"),
    (Role::ApiKey, "api_key"),
    (Role::Project, "project"),
];

/// The dashboard's exports, of costs (`amount_value`) and of activity (`input_tokens`).
const OPENAI: &str = "day=start_time,end=end_time,item=line_item,model=model,usd=amount_value,currency=amount_currency,\
    input=input_tokens,cached=input_cached_tokens,written=input_cache_write_tokens,output=output_tokens,\
    requests=num_model_requests,api_key=api_key_id,project=project_id";
/// The Console's export of usage.
const ANTHROPIC: &str = "day=usage_date_utc,model=model_version,uncached=usage_input_tokens_no_cache,\
    cached=usage_input_tokens_cache_read,written=usage_input_tokens_cache_write_5m,\
    written_1h=usage_input_tokens_cache_write_1h,output=usage_output_tokens,api_key=api_key,project=workspace";

/// Which column holds what.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Columns(Vec<(Role, String)>);

impl Columns {
    /// Reads `day=Date,model=Model,usd=Cost`.
    ///
    /// # Errors
    ///
    /// What is wrong with it, and the words that it may have.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut columns = Vec::new();
        for part in text.split(',') {
            let Some((word, column)) = part.split_once('=').filter(|(_, column)| !column.trim().is_empty()) else {
                return Err(format!("`{part}` names no column; wanted something like `day=Date,model=Model,usd=Cost`"));
            };
            let word = word.trim();
            let Some((role, _)) = ROLES.into_iter().find(|(_, known)| *known == word) else {
                let known = ROLES.map(|(_, word)| word);
                let hint = nearest_hint(word, known);
                return Err(format!("`{word}` is none of {}{hint}", known.join(", ")));
            };
            if columns.iter().any(|(known, _)| *known == role) {
                return Err(format!("`{word}` stands there twice"));
            }
            columns.push((role, column.trim().to_owned()));
        }
        let has = |role| columns.iter().any(|(known, _)| *known == role);
        if !has(Role::Day) {
            return Err("no column is the `day`".to_owned());
        }
        if has(Role::Usd) && has(Role::Cents) {
            return Err("amounts are either `usd` or `cents`".to_owned());
        }
        if ![Role::Usd, Role::Cents, Role::Input, Role::Uncached, Role::Output, Role::Requests].into_iter().any(has) {
            return Err("no column is compared: wanted `usd`, `cents` or tokens".to_owned());
        }
        Ok(Self(columns))
    }
}

/// The places of the columns in a file.
struct Places([Option<usize>; ROLES.len()]);

impl Places {
    /// Of columns that the user named all must be there; of a known file the day and anything to compare.
    fn of(columns: &Columns, header: &csv::StringRecord, shape: Shape) -> Result<Self, String> {
        let mut places = [None; ROLES.len()];
        for (role, column) in &columns.0 {
            let mut found = header.iter().enumerate().filter(|(_, name)| *name == column);
            let place = found.next().map(|(place, _)| place);
            if found.next().is_some() {
                return Err(format!("found two columns `{column}`; wanted one"));
            }
            if place.is_none() && (shape == Shape::Csv || *role == Role::Day) {
                let hint = nearest_hint(column, header.iter()).replace("did you mean", "is it");
                return Err(format!("found no column `{column}`{hint}"));
            }
            places[*role as usize] = place;
        }
        let places = Self(places);
        let compared = [Role::Usd, Role::Cents, Role::Input, Role::Uncached, Role::Output];
        if compared.into_iter().all(|role| places.0[role as usize].is_none()) {
            return Err(format!("found no column of amounts or tokens; wanted those of `{}`", shape.as_str()));
        }
        Ok(places)
    }

    fn get<'r>(&self, record: &'r csv::StringRecord, role: Role) -> &'r str {
        self.0[role as usize].and_then(|place| record.get(place)).unwrap_or("")
    }
}

/// Reads all lines.
pub(super) fn read(mut reader: impl BufRead, taker: &mut Taker<'_>) -> Result<(), Wrong> {
    let known;
    let columns = match (taker.asked.shape, taker.asked.columns) {
        (Shape::Csv, Some(columns)) => columns,
        (Shape::Csv, None) => return Err(of_file("wanted `--columns`, which says what its columns hold".to_owned())),
        (shape, _) => {
            known = Columns::parse(if shape == Shape::AnthropicCsv { ANTHROPIC } else { OPENAI }).map_err(of_file)?;
            &known
        }
    };
    let start = reader.fill_buf().map_err(|error| of_file(error.to_string()))?;
    if start.starts_with(b"\xef\xbb\xbf") {
        reader.consume(3);
    }
    let start = reader.fill_buf().map_err(|error| of_file(error.to_string()))?;
    let end = memchr::memchr(b'\n', start).unwrap_or(start.len());
    let header = start.get(..end).unwrap_or_default();
    // Where lines end in `\r\n` the reader's count lags by one.
    let lag = u64::from(header.ends_with(b"\r"));
    let separator = separator_of(header);
    let mut lines = csv::ReaderBuilder::new().trim(csv::Trim::All).delimiter(separator).from_reader(reader);
    let at = |line: u64, message: String| Wrong { line: u32::try_from(line).unwrap_or(u32::MAX), column: 0, message };
    let header = lines.headers().map_err(|error| at(1, error.to_string()))?.clone();
    let places = Places::of(columns, &header, taker.asked.shape).map_err(|message| at(1, message))?;
    let mut record = csv::StringRecord::new();
    loop {
        let more = lines.read_record(&mut record).map_err(|error| {
            let line = error.position().map_or(0, csv::Position::line);
            at(line + lag, told(&error))
        })?;
        if !more {
            return Ok(());
        }
        let line = record.position().map_or(0, csv::Position::line) + lag;
        take(taker, &places, &record).map_err(|message| at(line, message))?;
    }
}

/// Without the place, which stands before it.
fn told(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("found {len} cells; wanted {expected_len} as in the header")
        }
        csv::ErrorKind::Utf8 { .. } => "found bytes that are no UTF-8".to_owned(),
        _ => error.to_string(),
    }
}

/// The one of three that occurs most in a header.
fn separator_of(header: &[u8]) -> u8 {
    let count = |separator: u8| header.iter().filter(|byte| **byte == separator).count();
    [b'\t', b';']
        .into_iter()
        .filter(|other| count(*other) > count(b','))
        .max_by_key(|other| count(*other))
        .unwrap_or(b',')
}

fn take(taker: &mut Taker<'_>, places: &Places, record: &csv::StringRecord) -> Result<(), String> {
    let cell = |role| places.get(record, role);
    let day = match when(cell(Role::Day))? {
        When::Day(day) => taker.seen(day)?,
        When::Moment(from) => {
            let until = match cell(Role::End) {
                "" => None,
                end => match when(end)? {
                    When::Moment(until) => Some(until),
                    When::Day(_) => None,
                },
            };
            taker.day(from, until)?
        }
    };
    check_currency(cell(Role::Currency))?;
    let amount = match (cell(Role::Usd), cell(Role::Cents)) {
        ("", "") => None,
        ("", text) => Some(amount_of(text, Unit::Cents)?),
        (text, _) => Some(amount_of(text, Unit::Dollars)?),
    };
    let number = |role: Role, word: &str| match cell(role) {
        "" => Ok(None),
        text => text.parse::<u64>().map(Some).map_err(|_| {
            let shown: String = text.chars().take(60).collect();
            format!("found `{shown}` for `{word}`; wanted a whole number")
        }),
    };
    let (cached, five, hour) =
        (number(Role::Cached, "cached")?, number(Role::Written, "written")?, number(Role::Written1h, "written_1h")?);
    let written = five.or(hour).map(|_| five.unwrap_or(0).saturating_add(hour.unwrap_or(0)));
    let input = match number(Role::Uncached, "uncached")? {
        Some(uncached) => Some([cached, written].into_iter().flatten().fold(uncached, u64::saturating_add)),
        None => number(Role::Input, "input")?,
    };
    let mut counts = Counts::new(input, cached, written, number(Role::Output, "output")?);
    counts.0[4] = number(Role::Requests, "requests")?;
    if amount.is_none() && counts == Counts::default() {
        // A day without anything.
        return Ok(());
    }
    let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let model = some(cell(Role::Model)).or_else(|| some(model_of_item(cell(Role::Item))));
    taker.take(
        day,
        Entry { model, amount, counts, api_key: some(cell(Role::ApiKey)), project: some(cell(Role::Project)) },
        whole(record),
    )
}

/// A hash of all cells, those included of which nothing is read.
fn whole(record: &csv::StringRecord) -> u64 {
    record.iter().fold(0, |hash, cell| xxh3_64_with_seed(cell.as_bytes(), hash))
}

fn amount_of(text: &str, unit: Unit) -> Result<(Amount, u32), String> {
    Amount::parse(text, unit).ok_or_else(|| {
        let shown: String = text.chars().take(60).collect();
        format!(
            "found the amount `{shown}`; wanted a decimal with a point and nothing between thousands, such as `1234.56`"
        )
    })
}

enum When {
    Day(Date),
    Moment(Timestamp),
}

/// A day or a moment. `11/12/2026` is two different days to two readers, so that it is none here.
fn when(text: &str) -> Result<When, String> {
    if text.len() == 10
        && let Ok(day) = text.parse::<Date>()
    {
        return Ok(When::Day(day));
    }
    if let Ok(number) = text.parse::<i64>() {
        // Seconds until the year 5138, then milliseconds.
        let moment =
            if number < 100_000_000_000 { Timestamp::from_second(number) } else { Timestamp::from_millisecond(number) };
        if let Ok(moment) = moment {
            return Ok(When::Moment(moment));
        }
    }
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Ok(When::Moment(moment));
    }
    // A time without an offset is one of the export's own day.
    if let Ok(local) = text.parse::<jiff::civil::DateTime>() {
        return Ok(When::Day(local.date()));
    }
    let shown: String = text.chars().take(60).collect();
    Err(format!("found the day `{shown}`; wanted one like `2026-11-28`, an RFC 3339 time or Unix seconds"))
}
