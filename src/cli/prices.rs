//! `farthing prices`: what the book says, whether a price file is sound, and how it is brought up to date
//! (`prices_update`). Reading prices and telling what rows change is `cost`'s; here are arguments and words for people.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Subcommand};
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use globset::{Glob, GlobMatcher};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};

use super::{Format, counted, fail, find_config, prices_update, print_problems};
use crate::app::read_book;
use crate::config::{self, Bookkeeping};
use crate::cost::{Book, Change, Figure, Price, Row, Terms, change, figures, usd_per_million};
use crate::problem::{Problem, nearest_hint};
use crate::report::date_of;
use crate::telemetry::log::now_ms;

/// Printed under `farthing prices --help`.
pub const AFTER_HELP: &str = "\
All rates are US dollars per million tokens. The built-in book lies under the file that `prices:` in
the configuration names; docs/money.md says what each rate is charged for.

Example:
  farthing prices show 'openai/gpt-5.6*'
  farthing prices check prices.yaml
  farthing prices update list.json --dry-run";

#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Print the prices that are in force on a day
    #[command(
        after_help = "A MODEL is `vendor/name`, or a name alone; `*` stands for anything. One that is met alone is told in full.\n\n\
                      Example:\n  farthing prices show openai/gpt-5.6-luna\n  farthing prices show 'claude-*' --at 2026-12-01 --format json"
    )]
    Show(Show),
    /// Check a price file: file:line:column, what was found, what was wanted; and what is probably not meant
    #[command(after_help = "Example:\n  farthing prices check\n  farthing prices check prices.yaml")]
    Check(Check),
    /// Bring the price file up to date from another one or from LiteLLM's list, and print what that changes
    #[command(after_help = prices_update::AFTER_HELP)]
    Update(prices_update::Arguments),
}

#[derive(Args)]
struct Show {
    /// The models; else those of the configuration's vendors
    model: Option<String>,
    /// The day; else today in the configured time zone
    #[arg(long, value_name = "DAY")]
    at: Option<Date>,
    #[command(flatten)]
    common: Common,
}

#[derive(Args)]
struct Check {
    /// The price file; else the configuration's
    file: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

#[derive(Args)]
pub struct Common {
    /// The configuration that names price file, vendors and time zone; else FARTHING_CONFIG, else ./farthing.yaml
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How to print
    #[arg(long, value_enum, default_value = "table")]
    pub format: Format,
}

impl Common {
    /// What the configuration says of prices; no secret is looked at.
    pub fn books(&self) -> Result<Bookkeeping, Vec<Problem>> {
        config::load_bookkeeping(find_config(self.config.as_ref()).as_deref())
    }
}

pub fn run(arguments: &Arguments) -> ExitCode {
    let done = match &arguments.verb {
        Verb::Show(show) => show.run(),
        Verb::Check(check) => check.run(),
        Verb::Update(update) => update.run(),
    };
    done.unwrap_or_else(|problems| {
        print_problems(&problems);
        ExitCode::FAILURE
    })
}

/// Today in the configured time zone.
pub fn today(books: &Bookkeeping) -> Date {
    date_of(now_ms(), &TimeZone::get(&books.timezone).unwrap_or(TimeZone::UTC))
}

/// Which models are meant; a pattern without `/` is held against names alone.
pub struct Meant {
    glob: GlobMatcher,
    whole: bool,
}

impl Meant {
    /// Reads a pattern.
    pub fn read(pattern: &str) -> Result<Self, String> {
        let glob = Glob::new(pattern).map_err(|error| format!("`{pattern}` is no pattern: {}", error.kind()))?;
        Ok(Self { glob: glob.compile_matcher(), whole: pattern.contains('/') })
    }

    /// Whether it is this model.
    pub fn is(&self, vendor: &str, model: &str) -> bool {
        if self.whole { self.glob.is_match(format!("{vendor}/{model}")) } else { self.glob.is_match(model) }
    }
}

impl Show {
    fn run(&self) -> Result<ExitCode, Vec<Problem>> {
        let books = self.common.books()?;
        let book = read_book(books.prices.as_deref())?;
        let at = self.at.unwrap_or_else(|| today(&books));
        let meant = match self.model.as_deref().map(Meant::read).transpose() {
            Ok(meant) => meant,
            Err(error) => return Ok(fail(error)),
        };
        let vendors = vendors(&book, if meant.is_some() { &[] } else { &books.vendors });
        let mut found: Vec<(String, Arc<Price>)> = Vec::new();
        let mut known = Vec::new();
        for vendor in &vendors {
            let mut models: Vec<&str> = book.rows_of(vendor).map(|(model, _)| model).collect();
            models.sort_unstable();
            models.dedup();
            for model in models {
                let key = format!("{vendor}/{model}");
                if meant.as_ref().is_none_or(|meant| meant.is(vendor, model)) {
                    found.extend(book.price(vendor, model, at).map(|price| (key.clone(), Arc::clone(price))));
                }
                known.push(key);
            }
        }
        if found.is_empty() {
            let asked = self.model.as_deref().unwrap_or("any model");
            let hint = nearest_hint(asked, known.iter().map(String::as_str));
            return Ok(fail(format_args!("no price of `{asked}` is in force on {at}{hint}")));
        }
        match (self.common.format, &found[..]) {
            (Format::Json, _) => {
                say!("{}", Value::Array(found.iter().map(|(key, price)| json_of(key, price)).collect()))
            }
            (Format::Table, [(key, price)]) => tell_whole(key, price),
            (Format::Table, _) => say!("{}", table(&found)),
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The vendors wanted, or else all that the book knows anything of, in order.
fn vendors(book: &Book, wanted: &[String]) -> Vec<String> {
    if !wanted.is_empty() {
        return wanted.to_vec();
    }
    let written = book.user_rows().map(|(vendor, ..)| vendor.to_owned());
    let mut all: Vec<String> = Book::built_in_vendors().map(str::to_owned).chain(written).collect();
    all.sort_unstable();
    all.dedup();
    all
}

fn json_of(key: &str, price: &Price) -> Value {
    let told: Map<String, Value> =
        figures(price).into_iter().map(|(name, figure)| (name, Value::String(figure))).collect();
    json!({
        "model": key, "version": price.version, "from": price.from.map(|day| day.to_string()),
        "free": price.terms == Terms::Free, "figures": told,
    })
}

fn tell_whole(key: &str, price: &Price) {
    let from = price.from.map_or_else(|| "the beginning".to_owned(), |day| day.to_string());
    say!("{key} from {from}, price version {}", price.version);
    for (name, figure) in figures(price) {
        say!("  {name:32} {figure}");
    }
}

fn table(found: &[(String, Arc<Price>)]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(["model", "from", "input", "cached", "write 5m", "write 1h", "output", "also", "withdrawn"]);
    for column in table.column_iter_mut().skip(2).take(5) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for (key, price) in found {
        let from = price.from.map_or_else(String::new, |day| day.to_string());
        let mut cells = vec![key.clone(), from];
        match &price.terms {
            Terms::Free => cells.extend(["free", "free", "free", "free", "free", ""].map(str::to_owned)),
            Terms::Metered(metered) => {
                let rates: Vec<_> = metered.standard.base.named().collect();
                let (text, apart) = rates.split_at(6);
                let shown = text.iter().filter(|(name, _)| *name != "reasoning");
                cells.extend(shown.map(|(_, rate)| rate.map_or_else(|| "?".to_owned(), usd_per_million)));
                let steps = metered.standard.steps.iter().map(|step| format!("above {}", step.above));
                let tiers = metered.tiers().map(|(name, _)| name.to_owned());
                let apart = apart.iter().filter(|(_, rate)| rate.is_some()).map(|(name, _)| (*name).to_owned());
                let fees = metered.fees.named().map(|(name, _)| format!("fee of {name}"));
                cells.push(steps.chain(tiers).chain(apart).chain(fees).collect::<Vec<_>>().join(", "));
            }
        }
        cells.push(price.deprecated.map_or_else(String::new, |day| day.to_string()));
        table.add_row(cells);
    }
    table
}

impl Check {
    fn run(&self) -> Result<ExitCode, Vec<Problem>> {
        let books = self.common.books()?;
        let Some(file) = self.file.as_deref().or(books.prices.as_deref()) else {
            let message = "the configuration names no price file, so that the built-in book is all; wanted a FILE";
            return Ok(fail(message));
        };
        let rows = read_rows(file)?;
        let doubts = doubts(&rows, today(&books));
        match self.common.format {
            Format::Json => {
                say!(
                    "{}",
                    json!({ "file": file.display().to_string(), "ok": true, "rows": rows.len(), "warnings": doubts })
                );
            }
            Format::Table => {
                say!("{}: ok, {}", file.display(), counted(rows.len(), "row"));
                doubts.iter().for_each(|doubt| say!("warning: {doubt}"));
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The rows of a price file.
pub fn read_rows(file: &Path) -> Result<Vec<Row>, Vec<Problem>> {
    let name = file.display().to_string();
    let text = std::fs::read_to_string(file)
        .map_err(|error| vec![Problem::of_file(&name, format!("cannot be read: {error}"))])?;
    Book::parse(&name, &text).map(|rows| rows.0)
}

/// What rows say and probably do not mean, held against the built-in book.
fn doubts(rows: &[Row], today: Date) -> Vec<String> {
    let mut doubts = Vec::new();
    for row in rows {
        let day = row.price.from.unwrap_or(today);
        let key = format!("{}/{}", row.vendor, row.model);
        match change(Book::builtin(), row, day) {
            None => doubts.push(format!("`{key}` says what the built-in book says")),
            Some(Change { replaces: Some(_), figures, .. }) => {
                let far = figures.iter().filter(|figure| is_far(figure));
                doubts.extend(far.map(|figure| {
                    let Figure { name, old, new, .. } = figure;
                    let of = |figure: &Option<String>| figure.clone().unwrap_or_default();
                    format!(
                        "`{key}`: `{name}` is {}, in the built-in book {}; rates are dollars per million tokens",
                        of(new),
                        of(old)
                    )
                }));
            }
            Some(_) => {}
        }
        if row.price.deprecated.is_some_and(|day| day <= today) {
            doubts.push(format!("`{key}` was withdrawn by its provider"));
        }
    }
    doubts
}

/// Ten times as much, or a tenth of it: rather another unit than another price.
pub fn is_far(figure: &Figure) -> bool {
    figure.per_mille.is_some_and(|change| change >= 9000 || change <= -900)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_in_another_unit_is_doubted() {
        let text = "- { model: openai/gpt-5.6-luna, usd_per_million: { input: 0.0002, output: 1.2 } }\n\
                    - { model: acme/m, usd_per_million: { input: 0.0002, output: 1.2 }, deprecated: 2026-01-01 }\n";
        let rows = Book::parse("prices.yaml", text).expect("good rows").0;
        let doubts = doubts(&rows, jiff::civil::date(2026, 11, 28));
        assert!(
            doubts[0].starts_with("`openai/gpt-5.6-luna`: `input` is 0.0002, in the built-in book 0.2;"),
            "{doubts:?}"
        );
        assert_eq!(doubts.last().map(String::as_str), Some("`acme/m` was withdrawn by its provider"));
    }

    #[test]
    fn a_pattern_without_a_vendor_is_held_against_names() {
        let is = |pattern: &str, vendor: &str, model: &str| Meant::read(pattern).expect("a pattern").is(vendor, model);
        assert!(is("gpt-5*", "openai", "gpt-5.6") && is("openai/*", "openai", "a/b") && is("a/m", "a", "m"));
        assert!(!is("gpt-5*", "openai", "x/gpt-5") && !is("m", "a", "mm") && !is("a/m", "b", "m"));
        assert!(Meant::read("[").is_err());
    }
}
