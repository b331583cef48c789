//! A report as a table for people, as CSV, as JSON.
//!
//! CSV and JSON have the same columns. Amounts are whole nano-dollars in JSON and in columns that end in `_nano`; a table
//! shows dollars. A cell of text that a spreadsheet would take for a formula gets an apostrophe before it.

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde_json::{Value, json};

use super::figures::CAUSES;
use super::{Figures, Report};
use crate::money::NanoUsd;

/// What stands in a table for a name that nobody gave.
const NONE: &str = "(none)";

impl Report {
    /// As a table, with its totals at the bottom.
    pub fn table(&self) -> Table {
        let is_by_cause = self.rows.iter().any(|row| row.saved_by.is_some());
        let mut table = Table::new();
        table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Disabled);
        let names = self.by.iter().map(|by| by.as_str().to_owned());
        let shown = if is_by_cause { vec!["saved, US$"] } else { COLUMNS.to_vec() };
        let causes: Vec<usize> = (0..CAUSES.len()).filter(|at| self.total.saved_by[*at] != 0).collect();
        let more: Vec<&Told> = MORE.iter().filter(|told| !is_by_cause && (told.is_shown)(self)).collect();
        let shown = shown.into_iter().chain(more.iter().map(|told| told.header));
        let of_causes = causes.iter().filter(|_| !is_by_cause).map(|at| format!("by {}", CAUSES[*at]));
        table.set_header(names.chain(shown.map(str::to_owned)).chain(of_causes));
        for column in table.column_iter_mut().skip(self.by.len()) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        let cells = |figures: &Figures, saved_by: Option<i64>| -> Vec<String> {
            match saved_by {
                Some(amount) => vec![dollars(amount)],
                None => shown_figures(figures)
                    .into_iter()
                    .chain(more.iter().map(|told| dollars((told.amount)(figures))))
                    .chain(causes.iter().map(|at| dollars(figures.saved_by[*at])))
                    .collect(),
            }
        };
        for row in &self.rows {
            let names = row.names.iter().map(|name| if name.is_empty() { NONE.to_owned() } else { shown_text(name) });
            table.add_row(names.chain(cells(&row.figures, row.saved_by)));
        }
        let mut names = vec![String::new(); self.by.len()];
        if let Some(first) = names.first_mut() {
            *first = "total".to_owned();
        }
        table.add_row(names.into_iter().chain(cells(&self.total, is_by_cause.then(|| self.total.net_saved()))));
        table
    }

    /// As CSV with a header; the totals are the last row.
    pub fn csv(&self) -> String {
        let is_by_cause = self.rows.iter().any(|row| row.saved_by.is_some());
        let mut out = csv::Writer::from_writer(Vec::new());
        let figures: Vec<&str> = if is_by_cause { vec!["saved_nano"] } else { columns() };
        let header = self.by.iter().map(|by| by.as_str()).chain(figures);
        let cells = |figures: &Figures, saved_by: Option<i64>| match saved_by {
            Some(amount) => vec![amount.to_string()],
            None => values(figures).map(|number| number.to_string()).collect(),
        };
        let mut names = vec![String::new(); self.by.len()];
        if let Some(first) = names.first_mut() {
            *first = "total".to_owned();
        }
        let total = names.into_iter().chain(cells(&self.total, is_by_cause.then(|| self.total.net_saved())));
        let rows = self.rows.iter().map(|row| {
            let names = row.names.iter().map(|name| escaped(name));
            names.chain(cells(&row.figures, row.saved_by)).collect::<Vec<_>>()
        });
        // What is written to memory is written.
        let _ = out.write_record(header);
        rows.chain([total.collect()]).for_each(|row| drop(out.write_record(row)));
        String::from_utf8(out.into_inner().unwrap_or_default()).unwrap_or_default()
    }

    /// As JSON: `rows` and `total`, amounts in whole nano-dollars.
    pub fn json(&self) -> Value {
        let of = |figures: &Figures| {
            let mut value = json!({});
            for (name, number) in columns().into_iter().zip(values(figures)) {
                value[name] = json!(number);
            }
            value
        };
        let rows = self.rows.iter().map(|row| {
            let mut value = match row.saved_by {
                Some(amount) => json!({ "saved_nano": amount }),
                None => of(&row.figures),
            };
            for (by, name) in self.by.iter().zip(&row.names) {
                value[by.as_str()] = if name.is_empty() { Value::Null } else { json!(name) };
            }
            value
        });
        json!({ "by": self.by.iter().map(|by| by.as_str()).collect::<Vec<_>>(), "rows": rows.collect::<Vec<_>>(), "total": of(&self.total) })
    }
}

/// The columns of a table that are no names and no causes.
const COLUMNS: [&str; 8] =
    ["requests", "input", "cached", "written", "output", "cost, US$", "uncertain, US$", "saved, US$"];

/// A column of a table that is only there where a report has anything to say in it.
struct Told {
    header: &'static str,
    amount: fn(&Figures) -> i64,
    is_shown: fn(&Report) -> bool,
}

const MORE: [Told; 5] = [
    Told { header: "overhead, US$", amount: |of| of.overhead, is_shown: has_overhead },
    Told { header: "net saved, US$", amount: Figures::net_saved, is_shown: has_overhead },
    Told { header: "adjusted, US$", amount: |of| of.adjusted, is_shown: has_adjusted },
    Told { header: "transfer, US$", amount: |of| of.transfer, is_shown: has_transfer },
    Told {
        header: "charged, US$",
        amount: Figures::charged,
        is_shown: |report| has_adjusted(report) || has_transfer(report),
    },
];

fn has_overhead(report: &Report) -> bool {
    report.total.overhead != 0
}

fn has_adjusted(report: &Report) -> bool {
    report.rows.iter().any(|row| row.figures.adjusted != 0)
}

/// What one team is charged another one is credited with: the total says nothing.
fn has_transfer(report: &Report) -> bool {
    report.rows.iter().any(|row| row.figures.transfer != 0)
}

fn shown_figures(of: &Figures) -> Vec<String> {
    vec![
        grouped(of.requests),
        grouped(of.input_tokens),
        grouped(of.cached_input_tokens),
        grouped(of.cache_write_tokens),
        grouped(of.output_tokens),
        dollars(of.cost),
        uncertain(of),
        dollars(of.saved()),
    ]
}

/// Between what and what the attempts cost whose cost is not known; nothing if there are none.
fn uncertain(of: &Figures) -> String {
    match (of.uncertain, of.unbounded) {
        (0, _) => String::new(),
        (_, 0) => format!("{}..{}", dollars(of.uncertain_low), dollars(of.uncertain_high)),
        (_, unbounded) => {
            format!("{}..{} and {unbounded} unbounded", dollars(of.uncertain_low), dollars(of.uncertain_high))
        }
    }
}

/// All columns for programs: what was saved altogether stands before its parts.
fn columns() -> Vec<&'static str> {
    let mut names = Figures::NAMES.to_vec();
    names.insert(14, "saved_nano");
    names.extend(["net_saved_nano", "adjusted_nano", "charged_nano"]);
    names
}

fn values(of: &Figures) -> impl Iterator<Item = i64> {
    let mut all = of.all().to_vec();
    all.insert(14, of.saved());
    all.extend([of.net_saved(), of.adjusted, of.charged()]);
    all.into_iter()
}

/// A cell that no spreadsheet takes for a formula.
pub fn escaped(text: &str) -> String {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    if is_formula { format!("'{text}") } else { text.to_owned() }
}

/// Names are of clients: what is no character for a terminal is left out.
fn shown_text(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

fn dollars(nano: i64) -> String {
    NanoUsd(nano).to_string()
}

fn grouped(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut out = if number < 0 { "-".to_owned() } else { String::new() };
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
