//! `farthing reconcile`: our ledger against a provider's usage or cost export.
//!
//! The ledger corrects itself (`ledger::reconcile`); `reconcile_told` makes amounts that finance can read of
//! its report. The ledger must be ours alone for that, so the gateway has to be stopped first.

use std::fs::File;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use indicatif::ProgressBar;

use super::reconcile_told::Told;
use super::{Format, fail, find_config, print_problems};
use crate::config::{self, Bookkeeping};
use crate::ledger::export::{ExportRow, read_export};
use crate::ledger::reconcile::{Coverage, Import, Report};
use crate::ledger::{Ledger, LedgerOptions};
use crate::problem::nearest_hint;
use crate::telemetry::log::now_ms;

/// Printed under `--help`.
pub const AFTER_HELP: &str = "\
The export is CSV with a header, or JSON lines, with the columns `client_request_id` (the attempt's
id, which every call sends as `x-client-request-id`), `cost_usd` or `cost_nano_usd` and, if known,
`input_tokens`, `cached_input_tokens`, `cache_write_tokens`, `output_tokens`, `reasoning_tokens`.
Other columns are ignored.

Interrupted and estimated attempts take the export's figures. What the provider itself had reported
stays as it is, and is listed where the export says otherwise, in dollars or in tokens. For the time
between the earliest and the latest attempt that the export names, what only the ledger has is listed
too, and the two totals are held against each other. Importing the same export again changes nothing.

With --complete the export is taken to have every call that was billed in that time: attempts in doubt
that it does not name were not billed and are settled at 0; reported ones become differences.

Exit status: 0 if the export was imported, whatever it showed; 1 if something could not be read, or
while the gateway has the ledger open; 2 if the arguments are wrong.

Example:
  farthing reconcile --provider openai --complete usage-2026-11.csv
  farthing reconcile --provider openai usage.jsonl --format json | jq .in_doubt";

#[derive(Args)]
pub struct Arguments {
    /// The provider row that the export is of
    #[arg(long, value_name = "NAME")]
    provider: String,
    /// The export
    file: PathBuf,
    /// The export has every billed call of its time: what it does not name was not billed
    #[arg(long)]
    complete: bool,
    /// The configuration that names the ledger; else FARTHING_CONFIG, else ./farthing.yaml
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How to print
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

pub fn run(arguments: &Arguments) -> ExitCode {
    let config = config::load_bookkeeping(find_config(arguments.config.as_ref()).as_deref());
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
    match import(&config, arguments, &rows) {
        Ok(report) => {
            let told = Told::of(&name, &arguments.provider, &report);
            match arguments.format {
                Format::Table => print!("{}", told.table()),
                Format::Json => say!("{}", told.json()),
            }
            ExitCode::SUCCESS
        }
        Err(message) => fail(message),
    }
}

fn import(config: &Bookkeeping, arguments: &Arguments, rows: &[ExportRow]) -> Result<Report, String> {
    let path = &config.ledger.path;
    if !path.exists() {
        return Err(format!("there is no ledger at `{}`", path.display()));
    }
    let options = LedgerOptions {
        path: path.clone(),
        durability: config.ledger.durability,
        when_it_fails: config.ledger.when_it_fails,
    };
    let spinner = ProgressBar::new_spinner().with_message(format!("importing {} rows", rows.len()));
    spinner.enable_steady_tick(Duration::from_millis(100));
    let (ledger, _) = Ledger::open(&options).map_err(|error| error.to_string())?;
    let provider = arguments.provider.as_str();
    known(config, &ledger, provider)?;
    let export = arguments.file.file_name().unwrap_or_default().to_string_lossy();
    let coverage = if arguments.complete { Coverage::Complete } else { Coverage::Partial };
    let import = Import { provider, export: &export, at_ms: now_ms(), coverage };
    let report = ledger.reconcile(&import, rows).map_err(|error| error.to_string())?;
    ledger.close().map_err(|error| error.to_string())?;
    spinner.finish_and_clear();
    Ok(report)
}

/// A row that is neither configured nor in the ledger is a slip of the pen: everything would be unmatched.
fn known(config: &Bookkeeping, ledger: &Ledger, provider: &str) -> Result<(), String> {
    if config.providers.iter().any(|row| row == provider) {
        return Ok(());
    }
    let views = ledger.views().map_err(|error| error.to_string())?;
    let found = views.query_row("SELECT EXISTS (SELECT 1 FROM attempts_v1 WHERE provider = ?1)", [provider], |row| {
        row.get::<_, bool>(0)
    });
    if found.map_err(|error| error.to_string())? {
        return Ok(());
    }
    let hint = nearest_hint(provider, config.providers.iter().map(String::as_str));
    Err(format!("`{provider}` is neither a provider row of the configuration nor in the ledger{hint}"))
}
