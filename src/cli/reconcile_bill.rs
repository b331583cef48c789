//! `farthing reconcile` with an export of sums: reads it, asks the ledger for the same days, tells the residual.
//!
//! Nothing is changed, so that a gateway may have the ledger open. What is compared is `bill::compare`'s.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::BufRead;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use rusqlite::Connection;
use serde_json::{Value, json};

use super::counted;
use crate::bill::amount::half_of_last;
use crate::bill::compare::{Ledger, Line, Reason, What, compare};
use crate::bill::{self, Asked, Bill};
use crate::ledger::by_day::{attempts_by_model, rows_kept_from};
use crate::money::NanoUsd;
use crate::problem::Problem;
use crate::report::write::{escaped, shown_text};
use crate::report::{date_of, midnight};

/// What was compared.
pub struct Told<'a> {
    file: &'a str,
    provider: &'a str,
    zone: &'a TimeZone,
    bill: Bill,
    decimals: Option<u32>,
    lines: Vec<Line>,
}

/// Reads the export.
///
/// # Errors
///
/// What is wrong with it, with its line.
pub fn read(name: &str, reader: impl BufRead, asked: &Asked<'_>) -> Result<Bill, Vec<Problem>> {
    bill::read(reader, asked).map_err(|wrong| {
        let bill::Wrong { line, column, message } = wrong;
        vec![Problem { file: name.to_owned(), line, column, message }]
    })
}

/// The ledger's rows of a bill's days.
pub fn ledger_of(views: &Connection, provider: &str, bill: &Bill, zone: &TimeZone) -> rusqlite::Result<Ledger> {
    let mut rows = BTreeMap::new();
    for day in &bill.days {
        let Ok(next) = day.tomorrow() else { continue };
        for (model, ours) in attempts_by_model(views, provider, (midnight(*day, zone), midnight(next, zone)))? {
            rows.insert((*day, model), ours);
        }
    }
    let kept_from = rows_kept_from(views)?.map(|ms| date_of(ms, zone).first_of_month());
    Ok(Ledger { rows, kept_from })
}

impl<'a> Told<'a> {
    /// Compares; `decimals` is what the user says of the export's rounding.
    pub fn of(
        (file, provider): (&'a str, &'a str),
        zone: &'a TimeZone,
        bill: Bill,
        ledger: &Ledger,
        decimals: Option<u32>,
    ) -> Self {
        let lines = compare(&bill, ledger, decimals);
        let decimals = decimals.or(bill.decimals);
        Self { file, provider, zone, bill, decimals, lines }
    }

    /// Whether every residual is rounding or within what the ledger promised.
    pub fn is_within(&self) -> bool {
        self.lines.iter().all(|line| line.is_within)
    }

    /// Sums of ours and theirs by figure, in the order of the lines.
    fn totals(&self) -> BTreeMap<What, Total> {
        let mut totals: BTreeMap<What, Total> = BTreeMap::new();
        for line in &self.lines {
            let total = totals.entry(line.what).or_insert(Total { high: Some(0), ..Total::default() });
            total.low = total.low.saturating_add(line.low);
            total.ours = total.ours.saturating_add(line.ours);
            total.high = total.high.zip(line.high).map(|(sum, high)| sum.saturating_add(high));
            total.theirs = total.theirs.saturating_add(line.theirs);
            total.tolerance = total.tolerance.saturating_add(line.tolerance);
        }
        totals
    }

    /// For people.
    pub fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(["day", "model", "what", "ours", "theirs", "residual", "likely because of"]);
        for column in table.column_iter_mut().skip(3).take(3) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        for line in &self.lines {
            let whys: Vec<String> = line.reasons.iter().map(|reason| words(*reason, line)).collect();
            let why =
                if line.is_within || whys.is_empty() { whys.join("; ") } else { format!("! {}", whys.join("; ")) };
            table.add_row([
                line.day.to_string(),
                self.named(line.model.as_deref()),
                word(line.what).to_owned(),
                interval(line.what, (line.low, line.ours, line.high)),
                figure(line.what, line.theirs),
                figure(line.what, line.residual()),
                why,
            ]);
        }
        for (what, total) in self.totals() {
            table.add_row([
                "total".to_owned(),
                String::new(),
                word(what).to_owned(),
                interval(what, (total.low, total.ours, total.high)),
                figure(what, total.theirs),
                figure(what, total.theirs.saturating_sub(total.ours)),
                String::new(),
            ]);
        }
        format!("{}\n{table}\n{}", self.about(), self.verdict())
    }

    /// What was read, and how it is compared.
    fn about(&self) -> String {
        let Bill { shape, lines, others, copies: (copies, of_copies), days, has_more, .. } = &self.bill;
        let mut out = format!("{}: {} of `{}`, {}", self.file, shape.as_str(), self.provider, counted(*lines, "line"));
        if let Some((first, last)) = days.first().zip(days.last()) {
            let zone = self.zone.iana_name().unwrap_or("UTC");
            let _ = write!(out, ", {first} to {last}, days of {zone}");
        }
        if *others > 0 {
            let _ = write!(out, "; {} of another API key or project left out", counted(*others, "line"));
        }
        if *copies > 0 {
            let _ = write!(
                out,
                "\n{} said in every column what another says, {} USD: not counted (--count-repeats counts them)",
                counted(*copies, "line"),
                of_copies.nano()
            );
        }
        if let Some(decimals) = self.decimals {
            let half = half_of_last(decimals);
            let _ = match decimals {
                0..9 => write!(
                    out,
                    "\namounts have {}: each may be {} USD off, and each row of the ledger half a nano-dollar",
                    counted(decimals, "decimal"),
                    NanoUsd(half)
                ),
                _ => {
                    write!(out, "\namounts are exact to the nano-dollar; each row of the ledger may be half of one off")
                }
            };
        }
        if *has_more {
            out.push_str("\nthe last page says that there are more (`has_more`): what is on them is missing here");
        }
        out
    }

    fn verdict(&self) -> String {
        let beyond = self.lines.iter().filter(|line| !line.is_within).count();
        match (self.lines.len(), beyond) {
            (0, _) => "neither side has anything on these days".to_owned(),
            (_, 0) => "every residual is rounding, or within what the ledger says it does not know".to_owned(),
            (all, _) => format!("{beyond} of {all} lines are beyond rounding and what the ledger does not know (!)"),
        }
    }

    /// For spreadsheets. Amounts are whole nano-dollars.
    pub fn csv(&self) -> String {
        let mut out = csv::Writer::from_writer(Vec::new());
        // What is written to memory is written.
        let _ = out.write_record([
            "day",
            "model",
            "what",
            "ours_low",
            "ours",
            "ours_high",
            "theirs",
            "residual",
            "tolerance",
            "within",
            "attempts",
            "uncertain",
            "estimated",
            "unpriced",
            "reasons",
        ]);
        for line in &self.lines {
            let reasons: Vec<&str> = line.reasons.iter().map(|reason| reason.as_str()).collect();
            let _ = out.write_record([
                line.day.to_string(),
                escaped(line.model.as_deref().unwrap_or_default()),
                line.what.as_str().to_owned(),
                line.low.to_string(),
                line.ours.to_string(),
                line.high.map(|high| high.to_string()).unwrap_or_default(),
                line.theirs.to_string(),
                line.residual().to_string(),
                line.tolerance.to_string(),
                line.is_within.to_string(),
                line.rows.attempts.to_string(),
                line.rows.uncertain.to_string(),
                line.rows.estimated.to_string(),
                line.rows.unpriced.to_string(),
                reasons.join(" "),
            ]);
        }
        String::from_utf8(out.into_inner().unwrap_or_default()).unwrap_or_default()
    }

    /// For programs. Amounts are whole nano-dollars.
    pub fn json(&self) -> Value {
        let lines: Vec<Value> = self.lines.iter().map(line_json).collect();
        let totals: Vec<Value> = self
            .totals()
            .into_iter()
            .map(|(what, total)| {
                json!({
                    "what": what.as_str(), "ours_low": total.low, "ours": total.ours, "ours_high": total.high,
                    "theirs": total.theirs, "residual": total.theirs.saturating_sub(total.ours),
                    "tolerance": total.tolerance,
                })
            })
            .collect();
        let days = |day: Option<&Date>| day.map(Date::to_string);
        json!({
            "file": self.file, "provider": self.provider, "as": self.bill.shape.as_str(),
            "timezone": self.zone.iana_name().unwrap_or("UTC"),
            "first_day": days(self.bill.days.first()), "last_day": days(self.bill.days.last()),
            "lines_read": self.bill.lines, "lines_left_out": self.bill.others, "decimals": self.decimals,
            "lines_repeated": self.bill.copies.0, "lines_repeated_nano_usd": self.bill.copies.1.nano().0,
            "has_more": self.bill.has_more, "within": self.is_within(), "lines": lines, "totals": totals,
        })
    }

    fn named(&self, model: Option<&str>) -> String {
        let whole_days = self.bill.sums.keys().all(|(_, model)| model.is_none());
        let none = if whole_days { "(all)" } else { "(none)" };
        model.map_or_else(|| none.to_owned(), shown_text)
    }
}

#[derive(Clone, Copy, Default)]
struct Total {
    low: i64,
    ours: i64,
    high: Option<i64>,
    theirs: i64,
    tolerance: i64,
}

fn line_json(line: &Line) -> Value {
    let reasons: Vec<&str> = line.reasons.iter().map(|reason| reason.as_str()).collect();
    let mut value = json!({
        "day": line.day.to_string(), "model": line.model, "what": line.what.as_str(),
        "ours_low": line.low, "ours": line.ours, "ours_high": line.high, "theirs": line.theirs,
        "residual": line.residual(), "tolerance": line.tolerance, "within": line.is_within,
        "attempts": line.rows.attempts, "uncertain": line.rows.uncertain, "estimated": line.rows.estimated,
        "unpriced": line.rows.unpriced, "reasons": reasons,
    });
    for reason in &line.reasons {
        if let Reason::Discount(hundredths) = reason {
            value["billed_share_ppm"] = json!(hundredths * 100);
        }
    }
    value
}

fn word(what: What) -> &'static str {
    match what {
        What::Cost => "US$",
        What::Count(_) => what.as_str().trim_end_matches("_tokens"),
    }
}

fn figure(what: What, number: i64) -> String {
    if what == What::Cost { NanoUsd(number).to_string() } else { number.to_string() }
}

/// `3`, or `1 .. 3 .. 8` where rows are in doubt; `3 ..` where nothing bounds them. What is known may be less than what all
/// cost at least: then it stands before that.
fn interval(what: What, (low, ours, high): (i64, i64, Option<i64>)) -> String {
    let said = |number| figure(what, number);
    match high {
        Some(high) if ours < low => format!("{} in {} .. {}", said(ours), said(low), said(high)),
        None if ours < low => format!("{} in {} ..", said(ours), said(low)),
        Some(high) if (low, high) == (ours, ours) => said(ours),
        Some(high) => format!("{} .. {} .. {}", said(low), said(ours), said(high)),
        None if low == ours => format!("{} ..", said(ours)),
        None => format!("{} .. {} ..", said(low), said(ours)),
    }
}

/// A reason in words, with how many rows are behind it.
fn words(reason: Reason, line: &Line) -> String {
    let rows = |number: u64, what: &str| format!("{number} row{} {what}", if number == 1 { "" } else { "s" });
    let unknown = line.rows.uncertain.saturating_sub(line.rows.unpriced);
    match reason {
        Reason::Rounding => "rounding".to_owned(),
        Reason::Credit => "a credit of theirs".to_owned(),
        Reason::Discount(share) if share < 10_000 => {
            format!("a discount: they bill {} % less throughout", percent(10_000 - share))
        }
        Reason::Discount(share) => format!("other prices: they bill {} % more throughout", percent(share - 10_000)),
        Reason::DeletedRows => "the ledger's rows of that month were deleted".to_owned(),
        Reason::UnknownModel => "no attempt of that name on these days".to_owned(),
        Reason::DayEdge => "calls around midnight: a day beside it has the opposite".to_owned(),
        Reason::UnpricedModel => rows(line.rows.unpriced, "without a price"),
        Reason::UncertainRows if line.what == What::Cost => rows(unknown, "of unknown cost"),
        Reason::UncertainRows => rows(line.rows.unread, "of unknown tokens"),
        Reason::EstimatedRows => rows(line.rows.estimated, "estimated"),
        Reason::Overshoot => format!("{} USD were billed beyond bounds already", NanoUsd(line.rows.overshoot)),
        Reason::OtherPrices => "other prices: the tokens are the same".to_owned(),
        Reason::NotThroughFarthing => "calls that did not pass Farthing".to_owned(),
        Reason::NotBilledYet => "not billed yet".to_owned(),
        Reason::NotBilled => "not billed, or billed elsewhere".to_owned(),
    }
}

/// Hundredths of a per cent.
fn percent(hundredths: i64) -> String {
    match hundredths % 100 {
        0 => (hundredths / 100).to_string(),
        rest => format!("{}.{rest:02}", hundredths / 100),
    }
}
