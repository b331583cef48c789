//! A report as a table for people, as CSV, as JSON.
//!
//! CSV and JSON have the same columns. Amounts are whole nano-dollars in JSON and in columns that end in `_nano`; a table
//! shows dollars. A cell of text that a spreadsheet would take for a formula gets an apostrophe before it.

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde_json::{Value, json};

use super::beside::Beside;
use super::figures::CAUSES;
use super::forecast::{self, Outlook, Outlooks};
use super::{By, ByCause, Figures, Report, Row};
use crate::money::NanoUsd;

/// What stands in a table for a name that nobody gave.
const NONE: &str = "(none)";

impl Report {
    /// As a table, with its totals at the bottom.
    pub fn table(&self) -> Table {
        let is_by_cause = self.rows.iter().any(|row| row.by_cause.is_some());
        let mut table = Table::new();
        table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Disabled);
        let names = self.by.iter().map(|by| by.as_str().to_owned());
        let shown = if is_by_cause { vec!["saved, US$", "by the provider's cache, US$"] } else { COLUMNS.to_vec() };
        let causes: Vec<usize> = (0..CAUSES.len()).filter(|at| self.total.saved_by[*at] != 0).collect();
        let more: Vec<&Told> = MORE.iter().filter(|told| !is_by_cause && (told.is_shown)(self)).collect();
        let shown = shown.into_iter().chain(more.iter().map(|told| told.header));
        let of_causes = causes.iter().filter(|_| !is_by_cause).map(|at| format!("by {}", CAUSES[*at]));
        table.set_header(names.chain(shown.map(str::to_owned)).chain(of_causes));
        for column in table.column_iter_mut().skip(self.by.len()) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        let cells = |figures: &Figures, by_cause: Option<[Option<i64>; 2]>, is_forgotten: bool| -> Vec<String> {
            let of_rows = |told: &Told| match told.is_off_rows && is_forgotten {
                true => String::new(),
                false => (told.cell)(figures),
            };
            match by_cause {
                Some(parts) => parts.map(|part| part.map(dollars).unwrap_or_default()).to_vec(),
                None => shown_figures(figures)
                    .into_iter()
                    .chain(more.iter().map(|told| of_rows(told)))
                    .chain(causes.iter().map(|at| dollars(figures.saved_by[*at])))
                    .collect(),
            }
        };
        let of_row = |row: &Row| {
            let names = row.names.iter().map(|name| shown_name(name));
            names.chain(cells(&row.figures, row.by_cause.map(ByCause::parts), row.is_forgotten)).collect::<Vec<_>>()
        };
        let mut rows: Vec<Vec<String>> = self.rows.iter().map(of_row).collect();
        let mut names = vec![String::new(); self.by.len()];
        if let Some(first) = names.first_mut() {
            *first = "total".to_owned();
        }
        let total =
            names.into_iter().chain(cells(&self.total, is_by_cause.then(|| self.by_cause()), self.is_forgotten));
        rows.push(total.collect());
        align(&mut rows, self.by.len());
        table.add_rows(rows);
        table
    }

    /// As CSV with a header; the totals are the last row.
    pub fn csv(&self) -> String {
        self.csv_with(None)
    }

    /// As CSV with what is expected of each row's name behind its figures. A name of which the report has no row gets one.
    pub fn csv_with(&self, outlooks: Option<&Outlooks>) -> String {
        let is_by_cause = self.rows.iter().any(|row| row.by_cause.is_some());
        let mut out = csv::Writer::from_writer(Vec::new());
        let figures: Vec<&str> = if is_by_cause { vec!["saved_nano", "provider_cache_nano"] } else { columns() };
        let expected = if outlooks.is_some() { &forecast::COLUMNS[..] } else { &[] };
        let header = self.by.iter().map(|by| by.as_str()).chain(figures).chain(expected.iter().copied());
        let foreseen = |outlook: Option<&Outlook>| match (outlooks, outlook) {
            (None, _) => Vec::new(),
            (Some(_), None) => vec![String::new(); forecast::COLUMNS.len()],
            (Some(_), Some(outlook)) => outlook.values().to_vec(),
        };
        let cells = |figures: &Figures, by_cause: Option<[Option<i64>; 2]>, is_forgotten: bool| match by_cause {
            Some(parts) => parts.map(cell).to_vec(),
            None => values(figures, is_forgotten).map(cell).collect(),
        };
        let mut names = vec![String::new(); self.by.len()];
        if let Some(first) = names.first_mut() {
            *first = "total".to_owned();
        }
        let total =
            names.into_iter().chain(cells(&self.total, is_by_cause.then(|| self.by_cause()), self.is_forgotten));
        let total = total.chain(foreseen(outlooks.map(|outlooks| &outlooks.total)));
        let outlooks = outlooks.map_or(&[][..], |outlooks| &outlooks.rows);
        let absent = outlooks.iter().filter(|outlook| self.rows.iter().all(|row| row.names != outlook.names));
        let absent = absent.map(|outlook| Row { names: outlook.names.clone(), ..Row::default() });
        let rows = self.rows.iter().cloned().chain(absent).map(|row| {
            let names = row.names.iter().map(|name| escaped(name));
            let outlook = outlooks.iter().find(|outlook| outlook.names == row.names);
            names
                .chain(cells(&row.figures, row.by_cause.map(ByCause::parts), row.is_forgotten))
                .chain(foreseen(outlook))
                .collect::<Vec<_>>()
        });
        // What is written to memory is written.
        let _ = out.write_record(header);
        rows.chain([total.collect()]).for_each(|row| drop(out.write_record(row)));
        String::from_utf8(out.into_inner().unwrap_or_default()).unwrap_or_default()
    }

    /// What causes come to altogether.
    fn by_cause(&self) -> [Option<i64>; 2] {
        [Some(self.total.net_saved()), Some(self.total.provider_cache)]
    }

    /// As JSON: `rows` and `total`, amounts in whole nano-dollars.
    pub fn json(&self) -> Value {
        let of = |figures: &Figures, is_forgotten: bool| {
            let mut value = json!({});
            for (name, number) in columns().into_iter().zip(values(figures, is_forgotten)) {
                value[name] = json!(number);
            }
            value
        };
        let rows = self.rows.iter().map(|row| {
            let mut value = match row.by_cause {
                Some(ByCause::Saved(amount)) => json!({ "saved_nano": amount }),
                Some(ByCause::TakenOff(amount)) => json!({ "provider_cache_nano": amount }),
                None => of(&row.figures, row.is_forgotten),
            };
            for (by, name) in self.by.iter().zip(&row.names) {
                value[by.as_str()] = if name.is_empty() { Value::Null } else { json!(name) };
            }
            value
        });
        json!({ "by": self.by.iter().map(|by| by.as_str()).collect::<Vec<_>>(), "rows": rows.collect::<Vec<_>>(), "total": of(&self.total, self.is_forgotten) })
    }
}

/// Gives the amounts of each column, from the one at `first` on, as many decimals as the longest of them has, so that they
/// stand in line.
pub fn align(rows: &mut [Vec<String>], first: usize) {
    let decimals = |cell: &str| match cell.split_once('.') {
        Some((_, decimals)) if decimals.bytes().all(|byte| byte.is_ascii_digit()) => decimals.len(),
        _ => 0,
    };
    let is_amount = |cell: &str| !cell.is_empty() && cell.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'-' | b'.'));
    for column in first..rows.first().map_or(0, Vec::len) {
        let longest = rows.iter().map(|row| decimals(&row[column])).max().unwrap_or_default();
        for cell in rows.iter_mut().map(|row| &mut row[column]).filter(|cell| longest > 0 && is_amount(cell)) {
            let has = decimals(cell);
            if !cell.contains('.') {
                cell.push('.');
            }
            cell.extend(std::iter::repeat_n('0', longest - has));
        }
    }
}

/// The columns of a table that are no names and no causes.
const COLUMNS: [&str; 8] =
    ["requests", "input", "cached", "written", "output", "cost, US$", "uncertain, US$", "saved, US$"];

/// A column of a table that is only there where a report has anything to say in it.
struct Told {
    header: &'static str,
    /// No sums are kept of it.
    is_off_rows: bool,
    cell: fn(&Figures) -> String,
    is_shown: fn(&Report) -> bool,
}

impl Told {
    /// Tokens of a kind that few requests have any of, by its place among those.
    const fn tokens<const KIND: usize>(header: &'static str) -> Self {
        let cell = |of: &Figures| grouped(of.beside.tokens[KIND]);
        Self { header, is_off_rows: true, cell, is_shown: |report| has_tokens(report, KIND) }
    }

    /// What was billed beyond a limit, by what it was that was billed.
    const fn overshoot<const CAUSE: usize>(header: &'static str) -> Self {
        let cell = |of: &Figures| dollars(of.beside.overshoot[CAUSE]);
        Self { header, is_off_rows: true, cell, is_shown: |report| report.total.beside.overshoot[CAUSE] != 0 }
    }
}

const MORE: [Told; 16] = [
    Told {
        header: "refused",
        is_off_rows: true,
        cell: |of| grouped(of.beside.refused),
        is_shown: |report| report.total.beside.refused != 0,
    },
    Told::tokens::<0>("sound in"),
    Told::tokens::<2>("sound out"),
    Told::tokens::<3>("images in"),
    Told::tokens::<4>("images out"),
    Told { header: "tool calls", is_off_rows: true, cell: |of| grouped(of.beside.all_calls()), is_shown: has_calls },
    Told { header: "fees, US$", is_off_rows: true, cell: fees, is_shown: has_calls },
    Told::overshoot::<0>("overshoot by input, US$"),
    Told::overshoot::<1>("overshoot by output, US$"),
    Told { header: "estimated, US$", is_off_rows: false, cell: estimated, is_shown: has_estimates },
    Told { header: "overhead, US$", is_off_rows: false, cell: |of| dollars(of.overhead), is_shown: has_overhead },
    Told { header: "net saved, US$", is_off_rows: false, cell: |of| dollars(of.net_saved()), is_shown: has_overhead },
    Told { header: "adjusted, US$", is_off_rows: false, cell: |of| dollars(of.adjusted), is_shown: has_adjusted },
    Told { header: "transfer, US$", is_off_rows: false, cell: |of| dollars(of.transfer), is_shown: has_transfer },
    Told {
        header: "charged, US$",
        is_off_rows: false,
        cell: |of| dollars(of.charged()),
        is_shown: |report| has_adjusted(report) || has_transfer(report),
    },
    Told {
        header: "cache lost, US$",
        is_off_rows: false,
        cell: |of| dollars(of.cache_lost),
        is_shown: |report| report.by.contains(&By::CacheLoss) || report.by.contains(&By::Session),
    },
];

/// The part of the cost that was estimated here, and between what it stands. A correction tells what there is less of it,
/// or how each of the three changed.
pub fn estimated(of: &Figures) -> String {
    let all = [of.estimated, of.estimated_low, of.estimated_high];
    let told = |[amount, low, high]: [i64; 3]| match low == amount && high == amount {
        true => dollars(amount),
        false => format!("{} in {}..{}", dollars(amount), dollars(low), dollars(high)),
    };
    if all == [0; 3] {
        String::new()
    } else if of.estimated_most().is_none() {
        let unbounded = of.beside.unbounded_estimates;
        format!("{}, at least {}, {unbounded} unbounded", dollars(of.estimated), dollars(of.estimated_low))
    } else if (of.estimated_low..=of.estimated_high).contains(&of.estimated) {
        told(all)
    } else if (of.estimated_high..=of.estimated_low).contains(&of.estimated) {
        format!("less {}", told(all.map(i64::saturating_neg)))
    } else {
        let [amount, low, high] = all.map(dollars);
        format!("{amount}, low {low}, high {high}")
    }
}

/// What tools that providers ran cost, and how many calls that leaves out.
fn fees(of: &Figures) -> String {
    match (of.beside.unpriced_calls, of.beside.fees) {
        (0, fees) => dollars(fees),
        (unpriced, 0) => format!("{unpriced} unknown"),
        (unpriced, fees) => format!("{} and {unpriced} unknown", dollars(fees)),
    }
}

fn has_tokens(report: &Report, kind: usize) -> bool {
    report.rows.iter().any(|row| row.figures.beside.tokens[kind] != 0)
}

fn has_calls(report: &Report) -> bool {
    report.rows.iter().any(|row| row.figures.beside.all_calls() != 0)
}

fn has_estimates(report: &Report) -> bool {
    report.rows.iter().any(|row| !estimated(&row.figures).is_empty())
}

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
    match of.uncertain_most() {
        _ if of.uncertain == 0 => String::new(),
        Some(most) => format!("{}..{}", dollars(of.uncertain_low), dollars(most)),
        None => format!("at least {}, {} unbounded", dollars(of.uncertain_low), of.unbounded),
    }
}

/// All columns for programs: what was saved altogether stands before its parts.
fn columns() -> Vec<&'static str> {
    let mut names = Figures::NAMES.to_vec();
    names.insert(14, "saved_nano");
    names.extend(["net_saved_nano", "adjusted_nano", "charged_nano"]);
    names.extend(Beside::NAMES);
    names
}

/// `None`: nobody knows, or nobody knows any more.
fn values(of: &Figures, is_forgotten: bool) -> impl Iterator<Item = Option<i64>> {
    let mut all = of.told().to_vec();
    all.insert(14, Some(of.saved()));
    all.extend([of.net_saved(), of.adjusted, of.charged()].map(Some));
    all.extend(of.beside.all().map(|number| Some(number).filter(|_| !is_forgotten)));
    all.into_iter()
}

/// A figure of CSV; empty: nobody knows.
pub fn cell(figure: Option<i64>) -> String {
    figure.map(|number| number.to_string()).unwrap_or_default()
}

/// A cell that no spreadsheet takes for a formula, and no terminal for an order.
pub fn escaped(text: &str) -> String {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let steers = |c: char| c.is_control() && !matches!(c, '\t' | '\r' | '\n');
    let text = text.replace(steers, "\u{fffd}");
    if is_formula { format!("'{text}") } else { text }
}

/// A name as a table has it.
pub(super) fn shown_name(name: &str) -> String {
    if name.is_empty() { NONE.to_owned() } else { shown_text(name) }
}

/// Names are of clients: what is no character for a terminal is left out.
pub fn shown_text(text: &str) -> String {
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
