//! `farthing ledger rerate`: what a price that was wrong makes a difference of, booked and not rewritten.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde_json::json;

use super::{Format, counted, fail, find_config, print_problems, user};
use crate::config;
use crate::cost::Book;
use crate::ledger::audit;
use crate::ledger::rerate::{Left, Rerating};
use crate::ledger::statements::Books;
use crate::money::NanoUsd;
use crate::problem::Problem;
use crate::report::date_of;
use crate::telemetry::log::now_ms;

/// Printed under `farthing ledger rerate --help`.
pub const AFTER_HELP: &str = "\
Prices the attempts of some days anew by the rows of a price file (docs/ledger.md) and books the
difference as adjustments, a day, team, project and model each, with what it changes of what was saved:
also where the file names the model that a request is held against. Rows and closed statements stay as
they are; the team's next statement has the adjustments. Models that the file does not name, attempts that
a provider's export has settled, and attempts without a known price are left alone. Doing it again books
nothing, doing it with another file books the difference to that one. A gateway may have the ledger open.
`farthing ledger audit` has who did it, with a hash of the file.

Example:
  farthing ledger rerate --since 2026-11-01 --until 2026-11-15 --prices corrected.yaml";

#[derive(Args)]
pub struct Arguments {
    /// The first day
    #[arg(long, value_name = "DAY")]
    since: Date,
    /// The last day, itself included; else today
    #[arg(long, value_name = "DAY")]
    until: Option<Date>,
    /// The price file
    #[arg(long, value_name = "FILE")]
    prices: PathBuf,
    /// The configuration that names the ledger and the time zone; else FARTHING_CONFIG, else ./farthing.yaml
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How to print
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

pub fn run(arguments: &Arguments) -> ExitCode {
    let name = arguments.prices.display().to_string();
    let read = config::load_bookkeeping(find_config(arguments.config.as_ref()).as_deref()).and_then(|books| {
        let read = |path: &Path| {
            let unreadable = |error| Problem::of_file(&path.display().to_string(), format!("cannot be read: {error}"));
            std::fs::read_to_string(path).map_err(|error| vec![unreadable(error)])
        };
        let text = read(&arguments.prices)?;
        let rows = Book::parse(&name, &text)?;
        let in_force = match &books.prices {
            Some(path) => Book::builtin().with_user_rows(Book::parse(&path.display().to_string(), &read(path)?)?),
            None => Book::builtin().clone(),
        };
        Ok((books, rows, in_force, audit::sha256(text.as_bytes())))
    });
    let (books, rows, in_force, sha256) = match read {
        Ok(read) => read,
        Err(problems) => {
            print_problems(&problems);
            return ExitCode::FAILURE;
        }
    };
    let path = books.ledger.path;
    if !path.exists() {
        return fail(format_args!("there is no ledger at `{}`", path.display()));
    }
    let zone = TimeZone::get(&books.timezone).unwrap_or(TimeZone::UTC);
    let until = arguments.until.unwrap_or_else(|| date_of(now_ms(), &zone));
    let file = arguments.prices.file_name().unwrap_or_default().to_string_lossy();
    let days = (arguments.since, until);
    let rerating = Rerating { days, zone: &zone, file: &file, sha256: &sha256, rows: &rows, in_force: &in_force };
    match Books::open(&path, &audit::at_prompt(&user())).and_then(|mut books| books.rerate(&rerating, now_ms())) {
        Ok(done) => {
            match arguments.format {
                Format::Json => say!(
                    "{}",
                    json!({
                        "attempts": done.attempts, "adjustments": done.booked, "difference_nano": done.difference,
                        "saved_nano": done.saved,
                        "left": {
                            "settled": done.left.settled, "estimated": done.left.estimated, "unknown": done.left.unknown,
                        },
                    })
                ),
                Format::Table => say!(
                    "{} priced anew; {} booked, ${} together; what was saved changes by ${}{}",
                    counted(done.attempts, "attempt"),
                    counted(done.booked, "adjustment"),
                    NanoUsd(done.difference),
                    NanoUsd(done.saved),
                    words_of(done.left)
                ),
            }
            ExitCode::SUCCESS
        }
        Err(error) => fail(error),
    }
}

/// What was left as it is; nothing if all was priced anew.
fn words_of(left: Left) -> String {
    let kinds = [
        (left.settled, "settled by an export"),
        (left.estimated, "estimated, which an export may settle"),
        (left.unknown, "without known tokens or price"),
    ];
    let told = kinds.iter().filter(|(count, _)| *count > 0).map(|(count, kind)| format!("{count} {kind}"));
    let told = told.collect::<Vec<_>>().join(", ");
    if told.is_empty() { told } else { format!("\nleft as they are: {told}") }
}
