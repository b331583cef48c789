//! `farthing review`: the five questions of the quarterly cost review, answered off a ledger that may be in use or a copy.
//!
//! Reading is `ledger::review`'s, what follows from it `report::review`'s; here are the arguments and the tables.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use jiff::Span as Calendar;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde_json::json;

use super::{Format, fail, find_config, print_problems};
use crate::app::read_book;
use crate::config::{self, Bookkeeping};
use crate::cost::Book;
use crate::ledger::review::Reading;
use crate::ledger::{LedgerError, open_current};
use crate::report::review::{Question, Span, prompts, repeats, rules, tasks, worth};
use crate::report::{date_of, midnight};
use crate::telemetry::log::now_ms;

/// Printed under `farthing review --help`.
pub const AFTER_HELP: &str = "\
Reads a ledger that a gateway has open, or a backup: which rules load for nothing, which prompts read the
most tokens and what is wasteful in them, which tasks could use a lighter model, which calls a cache
would answer, and whether cost tracks the value that users report (POST /v1/feedback). Dollars a month are
estimates at the rates of the book; each says how many rows it rests on, and when those are too few.

Example:
  farthing review
  farthing review --quarter 2026Q4 --format json
  farthing review --ledger /backups/farthing-2026-12-31.db";

#[derive(Args)]
pub struct Arguments {
    /// The quarter, such as 2026Q4; else the current one
    #[arg(long, value_name = "QUARTER", value_parser = quarter)]
    quarter: Option<Quarter>,
    /// The ledger or a copy of it; else the configuration's
    #[arg(long, value_name = "FILE")]
    ledger: Option<PathBuf>,
    /// The configuration that names the ledger, the prices and the time zone; else FARTHING_CONFIG, else ./farthing.yaml
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How to print
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// A quarter by its first day.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Quarter(Date);

fn quarter(text: &str) -> Result<Quarter, String> {
    let wanted = || "wanted a year and a quarter, such as 2026Q4".to_owned();
    let (year, number) = text.split_once(['Q', 'q']).ok_or_else(wanted)?;
    let number: i8 = number.parse().ok().filter(|number| (1..=4).contains(number)).ok_or_else(wanted)?;
    let year = year.parse().ok().filter(|_| year.len() == 4).ok_or_else(wanted)?;
    Date::new(year, number * 3 - 2, 1).map(Quarter).map_err(|_| wanted())
}

impl Quarter {
    fn of(day: Date) -> Self {
        let first = Date::new(day.year(), (day.month() - 1) / 3 * 3 + 1, 1);
        Self(first.unwrap_or(day))
    }

    /// The day behind its last one.
    fn end(self) -> Date {
        self.0.saturating_add(Calendar::new().months(3))
    }

    fn name(self) -> String {
        format!("{:04}Q{}", self.0.year(), (self.0.month() + 2) / 3)
    }
}

pub fn run(arguments: &Arguments) -> ExitCode {
    let read = config::load_bookkeeping(find_config(arguments.config.as_ref()).as_deref())
        .and_then(|books| Ok((read_book(books.prices.as_deref())?, books)));
    let (book, books) = match read {
        Ok(read) => read,
        Err(problems) => {
            print_problems(&problems);
            return ExitCode::FAILURE;
        }
    };
    let path = arguments.ledger.clone().unwrap_or_else(|| books.ledger.path.clone());
    if !path.exists() {
        return fail(format_args!("there is no ledger at `{}`", path.display()));
    }
    let zone = TimeZone::get(&books.timezone).unwrap_or(TimeZone::UTC);
    let now_ms = now_ms();
    let quarter = arguments.quarter.unwrap_or_else(|| Quarter::of(date_of(now_ms, &zone)));
    let lightest = books.lightweight.iter().find_map(|name| priced(name, &books, &book, date_of(now_ms, &zone)));
    let asked = Asked { quarter, zone: &zone, book: &book, now_ms, lightest: lightest.as_deref() };
    match asked.told(&path, arguments.format) {
        Ok(text) => {
            say!("{}", text.trim_end());
            ExitCode::SUCCESS
        }
        Err(error) => fail(error),
    }
}

/// What is wanted.
struct Asked<'a> {
    quarter: Quarter,
    zone: &'a TimeZone,
    book: &'a Book,
    now_ms: i64,
    /// What the lightweight tier would use first, as the book knows it.
    lightest: Option<&'a str>,
}

/// What the book calls a model of a tier, if it has a price: `vendor/model`.
fn priced(name: &str, books: &Bookkeeping, book: &Book, day: Date) -> Option<String> {
    let pinned = name.split_once('/').and_then(|(row, model)| Some((books.vendor_of.get(row)?, model)));
    let has_price = |(vendor, model): &(&String, &str)| book.price(vendor, model, day).is_some();
    let found = match pinned {
        Some(pinned) => Some(pinned).filter(has_price),
        None => books.vendors.iter().map(|vendor| (vendor, name)).find(has_price),
    };
    found.map(|(vendor, model)| format!("{vendor}/{model}"))
}

impl Asked<'_> {
    fn told(&self, ledger: &std::path::Path, format: Format) -> Result<String, LedgerError> {
        let views = open_current(ledger)?;
        let (since_ms, end_ms) = (midnight(self.quarter.0, self.zone), midnight(self.quarter.end(), self.zone));
        let until_ms = end_ms.min(self.now_ms.saturating_add(1));
        let day = date_of(until_ms - 1, self.zone);
        let reading = Reading::of(&views, since_ms, end_ms, self.book, day)?;
        let first_ms = reading.first_ms()?;
        let span = Span { length_ms: first_ms.map_or(0, |first| (until_ms - first).max(0)) };
        let questions = [
            rules(),
            prompts(&reading.prompts()?, &reading.losses()?, span),
            tasks(&reading.tasks(self.book, day, self.lightest)?, span),
            repeats(&reading.repeats()?, span),
            worth(&reading.worth(self.zone)?, span),
        ];
        let first = first_ms.map(|first| date_of(first, self.zone).to_string());
        Ok(match format {
            Format::Json => json!({
                "quarter": self.quarter.name(), "first_request": first, "days": (span.days() * 10.0).round() / 10.0,
                "questions": questions.iter().zip(1..).map(|(question, number)| question.json(number)).collect::<Vec<_>>(),
            })
            .to_string(),
            Format::Table => {
                let rests = match first {
                    None => "no request was recorded".to_owned(),
                    Some(first) => format!("requests from {first} on, {:.1} days", span.days()),
                };
                let told = questions.iter().zip(1..).map(|(question, number)| words_of(question, number, span));
                format!("{}: {rests}\n\n{}", self.quarter.name(), told.collect::<Vec<_>>().join("\n\n"))
            }
        })
    }
}

fn words_of(question: &Question, number: usize, span: Span) -> String {
    let mut lines = vec![format!("{number}. {}", question.asked)];
    if question.rows.is_empty() && question.note.is_none() {
        lines.push("nothing to show".to_owned());
    }
    if !question.rows.is_empty() {
        lines.push(table_of(question).to_string());
    }
    lines.extend(question.note.clone());
    lines.extend(question.advice.iter().map(|advice| format!("- {}", advice.words(span))));
    lines.join("\n")
}

fn table_of(question: &Question) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(question.columns.iter().map(|name| match name.strip_suffix("_nano") {
        Some(amount) => format!("{}, US$", amount.replace('_', " ")),
        None => name.replace('_', " "),
    }));
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for row in &question.rows {
        table.add_row(row.iter().map(crate::report::review::Cell::shown));
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_is_a_year_and_a_number() {
        assert_eq!(quarter("2026Q4").map(|quarter| quarter.0.to_string()), Ok("2026-10-01".to_owned()));
        assert_eq!(quarter("2026q1").map(|quarter| quarter.end().to_string()), Ok("2026-04-01".to_owned()));
        for wrong in ["2026", "2026Q5", "26Q1", "Q1", "2026Q", ""] {
            assert!(quarter(wrong).is_err(), "{wrong}");
        }
        for (day, name) in [("2026-11-28", "2026Q4"), ("2026-01-01", "2026Q1"), ("2026-06-30", "2026Q2")] {
            assert_eq!(Quarter::of(day.parse().expect("a day")).name(), name);
        }
    }
}
