//! `farthing reconcile`: our ledger against a provider's usage or cost export.
//!
//! With a line a call the ledger corrects itself (`ledger::reconcile`); `reconcile_told` makes amounts that finance can
//! read of its report. The ledger must be ours alone for that, so the gateway has to be stopped first. With sums nothing
//! is changed: `reconcile_bill` holds them against the same days of the ledger.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};
use indicatif::ProgressBar;
use jiff::tz::TimeZone;
use rusqlite::Connection;
use serde_json::json;

use super::reconcile_told::Told;
use super::{fail, find_config, print_problems, reconcile_bill, user};
use crate::bill::{Asked, Columns, Copies, Shape};
use crate::config::{self, Bookkeeping};
use crate::ledger::audit::{self, Act, Hashing};
use crate::ledger::export::{Export, read_export};
use crate::ledger::reconcile::{Beyond, Coverage, Import, Report};
use crate::ledger::{Ledger, LedgerError, LedgerOptions, open_views};
use crate::problem::{Problem, nearest_hint};
use crate::telemetry::log::now_ms;

/// Printed under `farthing reconcile --help`.
pub const AFTER_HELP: &str = "\
What the export looks like is told by its beginning; --as says it instead. docs/reconcile.md has each shape.

  calls             a line a call: CSV with a header or JSON lines, `client_request_id` (the attempt's id,
                    which every call sends as `x-client-request-id`), `cost_usd` or `cost_nano_usd` and, if
                    known, tokens. Several lines of a call are added up, credits are taken off
  openai-costs      what GET /v1/organization/costs answers, by day and line_item
  openai-usage      what GET /v1/organization/usage/completions answers, by model
  openai-csv        what OpenAI's dashboard exports
  anthropic-cost    what GET /v1/organizations/cost_report answers, by description
  anthropic-usage   what GET /v1/organizations/usage_report/messages answers, by model
  anthropic-csv     what Anthropic's Console exports of usage
  csv               any CSV with a day; --columns says where its figures stand

With a line a call: interrupted and estimated attempts take the export's figures. What the provider itself
had reported stays as it is, and is listed where the export says otherwise, in dollars or in tokens. For the
time between the earliest and the latest attempt that the export names, what only the ledger has is listed
too, and the two totals are held against each other. Importing the same export again changes nothing. The
gateway must be stopped. Amounts far beyond what their call could cost (ten times that, and a dollar) are
listed and not taken; with --beyond they are. With --complete the export is taken to have every call that was billed in that time:
attempts in doubt that it does not name were not billed and are settled at 0; reported ones become differences.

With sums: by day and model, ours (at least .. known and estimated .. at most), theirs, the residual and the
likely reason. Nothing in the ledger is changed, and the gateway may run. Columns that --columns knows: day,
end, model, item, usd, cents, currency, input, uncached, cached, written, written_1h, output, requests,
api_key, project.

Exit status: 0 if the export was compared, whatever it showed; 1 if something could not be read, or while
the gateway has the ledger open and the export has a line a call; 2 if the arguments are wrong; 3 with
--check if a residual is beyond rounding and beyond what the ledger says it does not know, or if that has no bound.

Example:
  farthing reconcile --provider openai --complete usage-2026-11.csv
  farthing reconcile --provider openai costs-2026-11.json --api-key key_abc
  farthing reconcile --provider anthropic cost_report.json --format csv > residual.csv
  farthing reconcile --provider mistral --columns day=Date,model=Model,usd=Cost bill.csv";

#[derive(Args)]
pub struct Arguments {
    /// The provider row that the export is of
    #[arg(long, value_name = "NAME")]
    provider: String,
    /// The export
    file: PathBuf,
    /// What the export looks like
    #[arg(long = "as", value_name = "SHAPE", value_parser = shape)]
    shape: Option<Shape>,
    /// Which column holds what, of a CSV with sums
    #[arg(long, value_name = "WORD=COLUMN,…", value_parser = Columns::parse)]
    columns: Option<Columns>,
    /// Of sums: only those of this API key, by its id at the provider
    #[arg(long, value_name = "ID")]
    api_key: Option<String>,
    /// Of sums: only those of this project or workspace, by its id at the provider
    #[arg(long, value_name = "ID")]
    project: Option<String>,
    /// Of sums: count lines that say in every column what another one says; else they are told and left out
    #[arg(long)]
    count_repeats: bool,
    /// Whose days the sums are of
    #[arg(long, value_name = "ZONE", default_value = "UTC", value_parser = zone)]
    timezone: TimeZone,
    /// How many decimals of a dollar the export's amounts are rounded to; else as many as the longest has
    #[arg(long, value_name = "NUMBER")]
    decimals: Option<u32>,
    /// The export has a line for every billed call of its time: what it does not name was not billed
    #[arg(long)]
    complete: bool,
    /// Settle attempts also at amounts that are far beyond the most that they could cost
    #[arg(long)]
    beyond: bool,
    /// End with 3 if a residual is beyond rounding and doubt
    #[arg(long)]
    check: bool,
    /// The configuration that names the ledger; else FARTHING_CONFIG, else ./farthing.yaml
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How to print
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// How a comparison is printed.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Table,
    /// For spreadsheets
    Csv,
    /// For programs
    Json,
}

/// Ended with if `--check` finds a residual.
const RESIDUAL: u8 = 3;
/// How much of a file is looked at to tell its shape.
const START_BYTES: usize = 64 * 1024;

fn shape(word: &str) -> Result<Shape, String> {
    Shape::parse(word).ok_or_else(|| {
        let known = Shape::ALL.map(|(_, word)| word);
        let hint = nearest_hint(word, known.iter().copied());
        format!("wanted one of {}{hint}", known.join(", "))
    })
}

fn zone(name: &str) -> Result<TimeZone, String> {
    TimeZone::get(name).map_err(|_| "wanted the name of a time zone such as `America/New_York`".to_owned())
}

pub fn run(arguments: &Arguments) -> ExitCode {
    match reconciled(arguments) {
        Ok((text, is_within)) => {
            say!("{}", text.trim_end());
            if arguments.check && !is_within { ExitCode::from(RESIDUAL) } else { ExitCode::SUCCESS }
        }
        Err(Failure::Found(problems)) => {
            print_problems(&problems);
            ExitCode::FAILURE
        }
        Err(Failure::Said(message)) => fail(message),
        Err(Failure::Arguments(message)) => {
            fail(message);
            ExitCode::from(2)
        }
    }
}

/// Why there is nothing to print.
enum Failure {
    Found(Vec<Problem>),
    Said(String),
    Arguments(&'static str),
}

impl From<Vec<Problem>> for Failure {
    fn from(problems: Vec<Problem>) -> Self {
        Self::Found(problems)
    }
}

impl From<String> for Failure {
    fn from(message: String) -> Self {
        Self::Said(message)
    }
}

/// What to print, and whether no residual is left that somebody should look at.
fn reconciled(arguments: &Arguments) -> Result<(String, bool), Failure> {
    let config = config::load_bookkeeping(find_config(arguments.config.as_ref()).as_deref())?;
    let name = arguments.file.display().to_string();
    let unreadable = |error: std::io::Error| vec![Problem::of_file(&name, format!("cannot be read: {error}"))];
    let file = Hashing::new(File::open(&arguments.file).map_err(unreadable)?);
    let mut reader = BufReader::with_capacity(START_BYTES, file);
    legible(reader.fill_buf().map_err(unreadable)?).map_err(|message| vec![Problem::of_file(&name, message)])?;
    let shape = match (arguments.shape, &arguments.columns) {
        (Some(shape), None) => shape,
        (None | Some(Shape::Csv), Some(_)) => Shape::Csv,
        (Some(_), Some(_)) => return Err(Failure::Arguments("`--columns` is for `--as csv`")),
        (None, None) => Shape::of(reader.fill_buf().map_err(unreadable)?),
    };
    if shape != Shape::Calls {
        return sums(&config, arguments, shape, (&name, reader));
    }
    if arguments.api_key.is_some() || arguments.project.is_some() || arguments.count_repeats {
        return Err(Failure::Arguments("`--api-key`, `--project` and `--count-repeats` are for exports of sums"));
    }
    let export = read_export(&name, &mut reader)?;
    let report = import(&config, arguments, &export, &reader.into_inner().sha256())?;
    let told = Told::of(&name, &arguments.provider, &export, &report);
    let text = match arguments.format {
        Format::Table => told.table(),
        Format::Csv => told.csv(),
        Format::Json => told.json().to_string(),
    };
    Ok((text, told.is_within()))
}

/// Whether the beginning of a file is text that can be read; else what it is.
fn legible(start: &[u8]) -> Result<(), String> {
    if start.trim_ascii().is_empty() {
        return Err("it is empty; wanted an export".to_owned());
    }
    if start.starts_with(&[0xff, 0xfe]) || start.starts_with(&[0xfe, 0xff]) {
        return Err("it is UTF-16; wanted UTF-8".to_owned());
    }
    match std::str::from_utf8(start) {
        // A character that the buffer cuts is no error.
        Err(error) if error.error_len().is_some() => {
            Err(format!("it is not UTF-8 (byte {}); wanted UTF-8", error.valid_up_to() + 1))
        }
        _ => Ok(()),
    }
}

/// An export of sums: nothing is changed.
fn sums(
    config: &Bookkeeping,
    arguments: &Arguments,
    shape: Shape,
    (name, reader): (&str, impl BufRead),
) -> Result<(String, bool), Failure> {
    if arguments.beyond {
        return Err(Failure::Arguments("`--beyond` is for exports with a line a call: sums settle nothing"));
    }
    if arguments.complete {
        return Err(Failure::Arguments("`--complete` is for exports with a line a call: sums settle nothing"));
    }
    let spinner = ProgressBar::new_spinner().with_message(format!("reading {name}"));
    spinner.enable_steady_tick(Duration::from_millis(100));
    let zone = &arguments.timezone;
    let asked = Asked {
        shape,
        forced: arguments.shape,
        columns: arguments.columns.as_ref(),
        copies: if arguments.count_repeats { Copies::Count } else { Copies::LeaveOut },
        api_key: arguments.api_key.as_deref(),
        project: arguments.project.as_deref(),
        zone,
    };
    let bill = reconcile_bill::read(name, reader, &asked)?;
    let path = &config.ledger.path;
    if !path.exists() {
        return Err(format!("there is no ledger at `{}`", path.display()).into());
    }
    let provider = arguments.provider.as_str();
    spinner.set_message(format!("adding up {} days", bill.days.len()));
    let views = open_views(path).map_err(|error| error.to_string())?;
    known(config, &views, provider)?;
    let ledger = reconcile_bill::ledger_of(&views, provider, &bill, zone).map_err(|error| error.to_string())?;
    spinner.finish_and_clear();
    let told = reconcile_bill::Told::of((name, provider), zone, bill, &ledger, arguments.decimals);
    let text = match arguments.format {
        Format::Table => told.table(),
        Format::Csv => told.csv(),
        Format::Json => told.json().to_string(),
    };
    Ok((text, told.is_within()))
}

/// Imports an export with a line a call, whose file has that hash, and leaves a trace of it.
fn import(config: &Bookkeeping, arguments: &Arguments, export: &Export, sha256: &str) -> Result<Report, String> {
    let path = &config.ledger.path;
    if !path.exists() {
        return Err(format!("there is no ledger at `{}`", path.display()));
    }
    let options = LedgerOptions {
        path: path.clone(),
        durability: config.ledger.durability,
        when_it_fails: config.ledger.when_it_fails,
    };
    let spinner = ProgressBar::new_spinner().with_message(format!("importing {} rows", export.rows.len()));
    spinner.enable_steady_tick(Duration::from_millis(100));
    let (ledger, _) = Ledger::open(&options).map_err(|error| match error {
        LedgerError::InUse { .. } => {
            format!(
                "{error}; an export with a line a call corrects the ledger: stop the gateway for as long as that takes"
            )
        }
        error => error.to_string(),
    })?;
    let provider = arguments.provider.as_str();
    known(config, &ledger.views().map_err(|error| error.to_string())?, provider)?;
    let name = arguments.file.file_name().unwrap_or_default().to_string_lossy();
    let coverage = if arguments.complete { Coverage::Complete } else { Coverage::Partial };
    let beyond = if arguments.beyond { Beyond::Take } else { Beyond::Refuse };
    let import = Import { provider, export: &name, at_ms: now_ms(), coverage, beyond };
    let report = ledger.reconcile(&import, &export.rows).map_err(|error| error.to_string())?;
    ledger.close().map_err(|error| error.to_string())?;
    let facts = json!({
        "provider": provider, "complete": arguments.complete, "beyond": arguments.beyond, "matched": report.matched.rows,
        "corrected": report.corrected.rows, "corrected_nano": report.corrected.amount.0,
        "settled_at_zero": report.settled_at_zero.len(),
    });
    let who = audit::at_prompt(&user());
    let act = Act { at_ms: import.at_ms, who: &who, action: audit::RECONCILED, subject: &name, sha256, facts };
    act.note_in(path).map_err(|error| error.to_string())?;
    spinner.finish_and_clear();
    Ok(report)
}

/// A row that is neither configured nor in the ledger is a slip of the pen: everything would be unmatched.
fn known(config: &Bookkeeping, views: &Connection, provider: &str) -> Result<(), String> {
    if config.providers.iter().any(|row| row == provider) {
        return Ok(());
    }
    let found = views.query_row("SELECT EXISTS (SELECT 1 FROM attempts_v1 WHERE provider = ?1)", [provider], |row| {
        row.get::<_, bool>(0)
    });
    if found.map_err(|error| error.to_string())? {
        return Ok(());
    }
    let hint = nearest_hint(provider, config.providers.iter().map(String::as_str));
    Err(format!("`{provider}` is neither a provider row of the configuration nor in the ledger{hint}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_no_text_says_what_it_is() {
        let told = |start: &[u8]| legible(start).expect_err("it is none");
        assert_eq!(told(b" \n"), "it is empty; wanted an export");
        assert_eq!(told(b"\xff\xfed\0a\0"), "it is UTF-16; wanted UTF-8");
        assert_eq!(told(b"Modell;Stra\xdfe\n"), "it is not UTF-8 (byte 12); wanted UTF-8");
        assert_eq!(legible("day,model\n2026-11-01,\u{20ac}".as_bytes().split_last().expect("bytes").1), Ok(()));
    }
}
