//! Conversations whose cached prefix broke: what broke it, where, and what that cost.
//!
//! Pure: lines that somebody read off a ledger come in, a table, CSV or JSON go out. No text of a prompt is in any of them.

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde_json::{Value, json};

use super::write::escaped;
use crate::money::NanoUsd;

/// Names of the columns, as CSV and JSON have them.
const NAMES: [&str; 8] = ["session", "run", "team", "prompt", "cache_loss", "breaks", "at_tokens", "cache_lost_nano"];

/// What one culprit cost one conversation.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Line {
    /// The conversation, hashed, and the run that its client names; empty: none is known.
    pub session: String,
    /// See `session`.
    pub run: String,
    /// Who paid.
    pub team: String,
    /// The prompt.
    pub prompt: String,
    /// What broke the prefix.
    pub culprit: String,
    /// How often.
    pub breaks: i64,
    /// How many tokens of the prompt stood before the break, in the mean; `None`: nobody knows.
    pub at_tokens: Option<i64>,
    /// Nano-dollars that were paid again.
    pub lost: i64,
}

impl Line {
    fn cells(&self) -> [String; 8] {
        let at = self.at_tokens.map_or_else(String::new, |at| at.to_string());
        let Self { session, run, team, prompt, culprit, .. } = self.clone();
        [session, run, team, prompt, culprit, self.breaks.to_string(), at, self.lost.to_string()]
    }
}

/// As a table, in the lines' order.
pub fn table(lines: &[Line]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(["session", "run", "team", "prompt", "cache_loss", "breaks", "at tokens", "lost, US$"]);
    for column in table.column_iter_mut().skip(5) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for line in lines {
        let mut cells = line.cells();
        cells[7] = NanoUsd(line.lost).to_string();
        table.add_row(cells.map(|cell| cell.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>()));
    }
    table
}

/// As CSV.
pub fn csv(lines: &[Line]) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let cells = |line: &Line| {
        let mut cells = line.cells();
        cells[..5].iter_mut().for_each(|name| *name = escaped(name));
        cells
    };
    for record in std::iter::once(NAMES.map(str::to_owned)).chain(lines.iter().map(cells)) {
        writer.write_record(record).expect("a vector takes it");
    }
    String::from_utf8(writer.into_inner().expect("a vector takes it")).expect("names are UTF-8")
}

/// As JSON.
pub fn json(lines: &[Line]) -> Value {
    let line = |line: &Line| {
        json!({
            "session": line.session, "run": line.run, "team": line.team, "prompt": line.prompt, "cache_loss": line.culprit,
            "breaks": line.breaks, "at_tokens": line.at_tokens, "cache_lost_nano": line.lost,
        })
    };
    json!({ "rows": lines.iter().map(line).collect::<Vec<_>>() })
}
