//! `farthing ledger audit`: who closed months, corrected prices, imported exports and forgot rows.

use std::path::Path;
use std::process::ExitCode;

use comfy_table::{ContentArrangement, Table, presets};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Format, fail};
use crate::ledger::audit::{Acted, acts};
use crate::ledger::open_views;
use crate::report::write::escaped;

/// Printed under `farthing ledger audit --help`.
pub const AFTER_HELP: &str = "\
What was done to the books by hand, oldest first: `statement close`, `ledger rerate`, `reconcile` with a
line a call, `ledger compact --keep`. The hash is a SHA-256 of the statement, or of the file that was read;
`farthing ledger verify` holds closed statements against theirs. The database refuses to alter the list.

Example:
  farthing ledger audit
  farthing ledger audit --format json | jq '.[] | select(.action == \"ledger rerate\")'";

/// Prints the audit of the ledger at `path`.
pub fn run(path: &Path, format: Format) -> ExitCode {
    let read = open_views(path).and_then(|views| acts(&views));
    match read {
        Ok(acts) => {
            match format {
                Format::Json => say!("{}", json!(acts.iter().map(json_of).collect::<Vec<_>>())),
                Format::Table if acts.is_empty() => say!("nothing was done by hand yet"),
                Format::Table => say!("{}", table_of(&acts)),
            }
            ExitCode::SUCCESS
        }
        Err(error) => fail(error),
    }
}

fn json_of(act: &Acted) -> Value {
    let facts: Value = serde_json::from_str(&act.facts).unwrap_or_default();
    json!({
        "audit": act.id, "at_ms": act.at_ms, "who": act.who, "action": act.action, "subject": act.subject,
        "sha256": act.sha256, "facts": facts,
    })
}

fn table_of(acts: &[Acted]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_HORIZONTAL_ONLY)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(["at", "who", "action", "subject", "sha256", "facts"]);
    for act in acts {
        let at = Timestamp::from_millisecond(act.at_ms).unwrap_or_default().strftime("%FT%TZ").to_string();
        let short: String = act.sha256.chars().take(16).collect();
        let subject = escaped(&act.subject).to_string();
        table.add_row([at, act.who.clone(), act.action.clone(), subject, short, act.facts.clone()]);
    }
    table
}
