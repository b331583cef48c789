//! `farthing reconcile`: our ledger against a provider's usage or cost export.
//!
//! The ledger corrects itself (`ledger::reconcile`); here its report becomes amounts that finance can
//! read. The ledger must be ours alone for that, so the gateway has to be stopped first.

use std::collections::HashSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use indicatif::ProgressBar;
use serde_json::json;

use super::{Format, env, fail, find_config, print_problems};
use crate::config::{self, Config};
use crate::ledger::export::{ExportRow, read_export};
use crate::ledger::reconcile::{Difference, Report};
use crate::ledger::{Ledger, LedgerOptions};
use crate::money::NanoUsd;
use crate::problem::nearest_hint;
use crate::telemetry::log::now_ms;

/// Most attempts or ids of one kind that a table lists; JSON has all of them.
const LISTED_MAX: usize = 20;

/// Printed under `--help`.
pub const AFTER_HELP: &str = "\
The export is CSV with a header, or JSON lines, with the columns `client_request_id` (the attempt's
id, which every call sends as `x-client-request-id`), `cost_usd` or `cost_nano_usd` and, if known,
`input_tokens`, `cached_input_tokens`, `cache_write_tokens`, `output_tokens`, `reasoning_tokens`.
Other columns are ignored.

Interrupted and estimated attempts take the export's figures. What the provider itself had reported
stays as it is, and is listed where the export says otherwise. Importing the same export again
changes nothing.

Exit status: 0 if the export was imported, whatever it showed; 1 if something could not be read, or
while the gateway has the ledger open; 2 if the arguments are wrong.

Example:
  farthing reconcile --provider openai usage-2026-11.csv
  farthing reconcile --provider openai usage.jsonl --format json | jq .in_doubt";

#[derive(Args)]
pub struct Arguments {
    /// The provider row that the export is of
    #[arg(long, value_name = "NAME")]
    provider: String,
    /// The export
    file: PathBuf,
    /// The configuration that names the ledger; else FARTHING_CONFIG, else ./farthing.yaml
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How to print
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

pub fn run(arguments: &Arguments) -> ExitCode {
    let config = match find_config(arguments.config.as_ref()) {
        Some(file) => config::load(&file, &env),
        None => config::from_environment(&env),
    };
    let name = arguments.file.display().to_string();
    let read = config.and_then(|config| {
        let file = File::open(&arguments.file).map_err(|error| {
            let message = format!("cannot be read: {error}");
            vec![crate::problem::Problem { file: name.clone(), line: 0, column: 0, message }]
        })?;
        Ok((config, read_export(&name, file)?))
    });
    let (config, rows) = match read {
        Ok(read) => read,
        Err(problems) => {
            print_problems(&problems);
            return ExitCode::FAILURE;
        }
    };
    match import(&config, &arguments.provider, &arguments.file, &rows) {
        Ok(report) => {
            let told = Told::of(&report, &rows);
            match arguments.format {
                Format::Table => told.print_table(&name, &arguments.provider, &report),
                Format::Json => println!("{}", told.to_json(&name, &arguments.provider, &report)),
            }
            ExitCode::SUCCESS
        }
        Err(message) => fail(message),
    }
}

fn import(config: &Config, provider: &str, file: &Path, rows: &[ExportRow]) -> Result<Report, String> {
    let path = &config.ledger.path;
    if !path.exists() {
        return Err(format!("there is no ledger at `{}`", path.display()));
    }
    let options = LedgerOptions { path: path.clone(), when_it_fails: config.ledger.when_it_fails };
    let spinner = ProgressBar::new_spinner().with_message(format!("importing {} rows", rows.len()));
    spinner.enable_steady_tick(Duration::from_millis(100));
    let (ledger, _) = Ledger::open(&options).map_err(|error| error.to_string())?;
    known(config, &ledger, provider)?;
    let origin = file.file_name().unwrap_or_default().to_string_lossy();
    let report = ledger.reconcile(provider, &origin, now_ms(), rows).map_err(|error| error.to_string())?;
    ledger.close().map_err(|error| error.to_string())?;
    spinner.finish_and_clear();
    Ok(report)
}

/// A row that is neither configured nor in the ledger is a slip of the pen: everything would be unmatched.
fn known(config: &Config, ledger: &Ledger, provider: &str) -> Result<(), String> {
    if config.provider(provider).is_some() {
        return Ok(());
    }
    let views = ledger.views().map_err(|error| error.to_string())?;
    let found = views.query_row("SELECT EXISTS (SELECT 1 FROM attempts_v1 WHERE provider = ?1)", [provider], |row| {
        row.get::<_, bool>(0)
    });
    if found.map_err(|error| error.to_string())? {
        return Ok(());
    }
    let hint = nearest_hint(provider, config.providers.iter().map(|row| row.id.as_str()));
    Err(format!("`{provider}` is neither a provider row of the configuration nor in the ledger{hint}"))
}

/// A number of rows and what the export bills for them.
#[derive(Clone, Copy, Default)]
struct Part {
    rows: u64,
    amount: NanoUsd,
}

/// The amounts of a report.
struct Told {
    all: Part,
    unchanged: Part,
    corrected: Part,
    differing: Part,
    outside: Part,
    unmatched: Part,
}

impl Told {
    fn of(report: &Report, rows: &[ExportRow]) -> Self {
        let strangers: HashSet<&str> = report.unmatched.iter().map(String::as_str).collect();
        let foreign = rows.iter().filter(|row| strangers.contains(row.client_request_id.as_str()));
        let differences = |list: &[Difference]| Part {
            rows: list.len() as u64,
            amount: list.iter().map(|difference| difference.export).sum(),
        };
        let all = Part { rows: rows.len() as u64, amount: rows.iter().map(|row| row.cost).sum() };
        let corrected = Part { rows: report.corrected, amount: report.corrected_cost };
        let differing = differences(&report.differences);
        let unmatched = Part { rows: report.unmatched.len() as u64, amount: foreign.map(|row| row.cost).sum() };
        let rest = all.amount - corrected.amount - differing.amount - unmatched.amount;
        let unchanged = Part { rows: report.unchanged, amount: rest };
        Self { all, unchanged, corrected, differing, outside: differences(&report.outside_interval), unmatched }
    }

    fn matched(&self) -> Part {
        Part { rows: self.all.rows - self.unmatched.rows, amount: self.all.amount - self.unmatched.amount }
    }

    fn print_table(&self, file: &str, provider: &str, report: &Report) {
        let rows = if self.all.rows == 1 { "row" } else { "rows" };
        println!("{file}: {} {rows} of `{provider}` for {} USD", self.all.rows, self.all.amount);
        line("matched", self.matched());
        line("  unchanged", self.unchanged);
        line("  corrected", self.corrected);
        line("    outside the interval", self.outside);
        list(&report.outside_interval, |found| match found.ledger.high {
            Some(high) => format!("promised {} to {high} USD, billed {} USD", found.ledger.low, found.export),
            None => format!("promised at least {} USD, billed {} USD", found.ledger.low, found.export),
        });
        line("  differences", self.differing);
        list(&report.differences, |found| {
            let ledger = found.ledger.exact.map_or_else(|| "unknown".to_owned(), |cost| format!("{cost} USD"));
            format!("reported {ledger}, billed {} USD", found.export)
        });
        line("unmatched", self.unmatched);
        listed(&report.unmatched, |id| if id.is_empty() { "(without an id)".to_owned() } else { id.clone() });
        println!("{:<26} {:>9}", "still in doubt", report.in_doubt);
    }

    fn to_json(&self, file: &str, provider: &str, report: &Report) -> serde_json::Value {
        let difference = |found: &Difference| {
            json!({
                "attempt_id": found.attempt.to_string(), "low_nano_usd": found.ledger.low.0,
                "ledger_nano_usd": found.ledger.exact.map(|cost| cost.0),
                "high_nano_usd": found.ledger.high.map(|cost| cost.0), "export_nano_usd": found.export.0,
            })
        };
        let differences = |list: &[Difference]| list.iter().map(difference).collect::<Vec<_>>();
        json!({
            "file": file, "provider": provider,
            "rows": self.all.rows, "rows_nano_usd": self.all.amount.0,
            "matched": self.matched().rows, "matched_nano_usd": self.matched().amount.0,
            "unchanged": self.unchanged.rows, "unchanged_nano_usd": self.unchanged.amount.0,
            "corrected": self.corrected.rows, "corrected_nano_usd": self.corrected.amount.0,
            "unmatched": self.unmatched.rows, "unmatched_nano_usd": self.unmatched.amount.0,
            "unmatched_ids": report.unmatched,
            "differences": differences(&report.differences),
            "outside_interval": differences(&report.outside_interval),
            "in_doubt": report.in_doubt,
        })
    }
}

fn line(what: &str, part: Part) {
    println!("{what:<26} {:>9}  {} USD", part.rows, part.amount);
}

fn list(differences: &[Difference], tell: impl Fn(&Difference) -> String) {
    listed(differences, |found| format!("{}: {}", found.attempt, tell(found)));
}

fn listed<T>(items: &[T], tell: impl Fn(&T) -> String) {
    for item in items.iter().take(LISTED_MAX) {
        println!("      {}", tell(item));
    }
    if items.len() > LISTED_MAX {
        println!("      … and {} more; `--format json` has all of them", items.len() - LISTED_MAX);
    }
}
