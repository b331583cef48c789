//! `farthing budgets`: what is spent, held and left of each budget, by the ledger, whether the gateway runs or not.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use comfy_table::{CellAlignment, Table, presets};
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::{Format, complain, counted, fail, find_config, print_problems};
use crate::config::{self, Key, Keyholding};
use crate::gateway::standings::{self, Standing};
use crate::keys::{State, Store, at};
use crate::telemetry::log::now_ms;

/// Printed under `farthing budgets --help`.
pub const AFTER_HELP: &str = "\
Balances are those that a start would have: by the rows of the ledger, what is in doubt at the most that
it can have cost, and what attempts under way may cost as held. A gateway may have the ledger open; its own
books, up to date to the moment, are at /admin/api/budgets. docs/budgets.md has the rules.

Example:
  farthing budgets
  farthing budgets --format json";

#[derive(Args)]
pub struct Arguments {
    /// The configuration that names ledger, teams and time zone; else FARTHING_CONFIG, else ./farthing.yaml
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The ledger or a copy of it; else the configuration's
    #[arg(long, value_name = "FILE")]
    ledger: Option<PathBuf>,
    /// How to print
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

pub fn run(arguments: &Arguments) -> ExitCode {
    let known = match config::load_keyholding(find_config(arguments.config.as_ref()).as_deref()) {
        Ok(known) => known,
        Err(problems) => {
            print_problems(&problems);
            return ExitCode::FAILURE;
        }
    };
    let path = arguments.ledger.as_ref().unwrap_or(&known.ledger.path);
    if !path.exists() {
        return fail(format_args!("there is no ledger at `{}`", path.display()));
    }
    let now = now_ms();
    let keys = match keys(&known, now) {
        Ok(keys) => keys,
        Err(error) => return fail(error),
    };
    let zone = TimeZone::get(&known.timezone).unwrap_or(TimeZone::UTC);
    match standings::of_ledger(path, (&known.teams, &keys), &zone, now) {
        Ok((standings, left_out)) => {
            tell(&standings, left_out, arguments.format);
            ExitCode::SUCCESS
        }
        Err(error) => fail(error),
    }
}

/// The keys of the file, and those of the store that open the door.
fn keys(known: &Keyholding, now: i64) -> Result<Vec<Key>, crate::keys::KeysError> {
    let stored = Store::open(&known.ledger.keys_path())?.map_or(Ok(Vec::new()), |store| store.all())?;
    let mut keys = known.keys.clone();
    for stored in stored.iter().filter(|key| key.state(now) == State::Active) {
        keys.extend(stored.at_the_door().ok().filter(|key| known.keys.iter().all(|written| written.id != key.id)));
    }
    Ok(keys)
}

fn tell(standings: &[Standing], left_out: usize, format: Format) {
    match format {
        Format::Json => {
            let budgets: Vec<Value> = standings.iter().map(Standing::shown).collect();
            say!("{}", json!({ "budgets": budgets, "left_out": left_out }));
            return;
        }
        Format::Table if standings.is_empty() => say!("nobody has a budget"),
        Format::Table => say!("{}", table(standings)),
    }
    if left_out > 0 {
        complain(format_args!("{} of users and projects that spent less left out", counted(left_out, "budget")));
    }
}

fn table(standings: &[Standing]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(["payer", "ceiling USD", "every", "spent", "held", "left", "money comes back"]);
    for standing in standings {
        let Standing { payer, budget, spent, held, resets_ms } = standing;
        table.add_row([
            payer.to_string(),
            budget.usd.to_string(),
            budget.every.to_string(),
            spent.to_string(),
            held.to_string(),
            standing.left().to_string(),
            resets_ms.map(at).unwrap_or_default(),
        ]);
    }
    for column in [1, 3, 4, 5] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}
