//! The report of `farthing reconcile` as amounts: a table for people, JSON for programs.
//!
//! The residual is what the export bills beyond the ledger's amounts of the same time. It is taken from
//! the two totals; its parts are taken from the lists, and what they leave open would be shown.

use std::collections::HashSet;
use std::fmt::Write as _;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::counted;
use crate::bill::amount::half_of_last;
use crate::ledger::export::Export;
use crate::ledger::reconcile::{Absent, Difference, Part, Report, Span, TokenDifference};
use crate::money::{CostInterval, NanoUsd};
use crate::report::write::{escaped, shown_text};

/// Most attempts or ids of one kind that a table lists; JSON has all of them.
const LISTED_MAX: usize = 20;

/// A report and what follows from it.
pub struct Told<'a> {
    file: &'a str,
    provider: &'a str,
    export: &'a Export,
    report: &'a Report,
    /// What the export bills in all.
    billed: Part,
    residual: Option<Residual>,
}

/// What the export bills beyond the ledger, and why.
struct Residual {
    span: Span,
    whole: NanoUsd,
    differences: NanoUsd,
    far_beyond: NanoUsd,
    not_in_ledger: NanoUsd,
    not_in_export: NanoUsd,
    credits: NanoUsd,
    rounding: NanoUsd,
    /// Attempts that are still in flight, or an error of ours.
    unexplained: NanoUsd,
    doubt: Doubt,
}

/// Amounts that are unknown, together.
struct Doubt {
    low: NanoUsd,
    high: Option<NanoUsd>,
}

impl Residual {
    fn of(report: &Report, credits: NanoUsd, billed: NanoUsd, span: Span) -> Self {
        let whole = billed - span.ledger_after;
        let differences = report.differences.iter().map(Difference::amount).sum();
        let far_beyond = report.far_beyond.iter().map(Difference::amount).sum();
        let not_in_ledger = report.unmatched_cost;
        let known = |absent: &Absent| absent.ledger.exact.unwrap_or_default();
        let not_in_export = NanoUsd::ZERO - report.absent.iter().map(known).sum();
        let rounding = report.rounding;
        let unexplained = whole - differences - far_beyond - not_in_ledger - not_in_export - credits - rounding;
        // What is left of a sum that ran over is none.
        let ran_over =
            [billed, span.ledger_after, differences, far_beyond, not_in_ledger].iter().any(|sum| !is_whole(*sum));
        let [whole, unexplained] = if ran_over { [NanoUsd(i64::MAX); 2] } else { [whole, unexplained] };
        let in_doubt = || report.absent.iter().filter(|absent| absent.in_doubt).map(|absent| absent.ledger);
        let high = in_doubt().try_fold(NanoUsd::ZERO, |sum, cost| cost.high.map(|high| sum + high));
        let doubt = Doubt { low: in_doubt().map(|cost| cost.low).sum(), high };
        Self {
            span,
            whole,
            differences,
            far_beyond,
            not_in_ledger,
            not_in_export,
            credits,
            rounding,
            unexplained,
            doubt,
        }
    }
}

impl<'a> Told<'a> {
    /// Works the amounts out.
    pub fn of(file: &'a str, provider: &'a str, export: &'a Export, report: &'a Report) -> Self {
        let rows = report.matched.rows + report.unmatched.len() as u64;
        let credits = export.credits.1;
        let billed = Part { rows, amount: report.matched.amount + report.unmatched_cost + credits };
        let residual = report.span.map(|span| Residual::of(report, credits, billed.amount, span));
        Self { file, provider, export, report, billed, residual }
    }

    /// Whether the export contradicts nothing, and only doubt and rounding are left.
    pub fn is_within(&self) -> bool {
        let Report { differences, outside_interval, unmatched, absent, far_beyond, .. } = self.report;
        if !far_beyond.is_empty() {
            return false;
        }
        let (is_settled, (credits, _)) = (absent.iter().all(|absent| absent.in_doubt), self.export.credits);
        differences.is_empty() && outside_interval.is_empty() && unmatched.is_empty() && is_settled && credits == 0
    }

    /// For people.
    pub fn table(&self) -> String {
        let report = self.report;
        let mut out = Table(String::new());
        let rows = if self.billed.rows == 1 { "row" } else { "rows" };
        out.say(format_args!(
            "{}: {} {rows} of `{}` for {}",
            self.file,
            self.billed.rows,
            self.provider,
            usd(self.billed.amount)
        ));
        let (lines, decimals) = (self.export.lines, self.export.decimals);
        if lines > self.billed.rows + self.export.credits.0 {
            out.say(format_args!("  in {lines} lines: those of a call are added up"));
        }
        if decimals < 9 && report.matched.rows > 0 {
            let half = NanoUsd(half_of_last(decimals));
            out.say(format_args!("  amounts have {}: a line agrees within {half} USD", counted(decimals, "decimal")));
        }
        out.part("in both", report.matched);
        out.part("  unchanged", report.unchanged);
        out.part("  corrected", report.corrected);
        out.part("    outside the interval", differing(&report.outside_interval));
        out.list(&report.outside_interval, |found| match found.ledger.high {
            Some(high) => format!("{}: promised {} to {high} USD, {}", found.attempt, found.ledger.low, says(found)),
            None => format!("{}: promised at least {} USD, {}", found.attempt, found.ledger.low, says(found)),
        });
        out.part("  differences", differing(&report.differences));
        out.list(&report.differences, |found| {
            let ledger = found.ledger.exact.map_or_else(|| "an unknown cost".to_owned(), |cost| format!("{cost} USD"));
            format!("{}: reported {ledger}, {}", found.attempt, says(found))
        });
        if !report.far_beyond.is_empty() {
            out.part("  far beyond (--beyond takes it)", differing(&report.far_beyond));
            out.list(&report.far_beyond, |found| {
                let ledger = range(found.ledger.low, found.ledger.high);
                format!("{}: {ledger} USD, {}", found.attempt, says(found))
            });
        }
        let unmatched = Part { rows: report.unmatched.len() as u64, amount: report.unmatched_cost };
        out.part("in the export, not in the ledger", unmatched);
        if report.forgotten.rows > 0 {
            out.part("  of a time whose rows are forgotten", report.forgotten);
        }
        out.list(&report.unmatched, |id| if id.is_empty() { "(without an id)".to_owned() } else { shown_text(id) });
        if self.export.credits.0 > 0 {
            out.part("credits for no call", Part { rows: self.export.credits.0, amount: self.export.credits.1 });
        }
        out.part("in the ledger, not in the export", absent_part(&report.absent));
        out.list(&report.absent, absent_line);
        if !report.settled_at_zero.is_empty() {
            out.count("settled at 0: not in the export", report.settled_at_zero.len() as u64);
            out.list(&report.settled_at_zero, absent_line);
        }
        out.doubt("still in doubt", report.in_doubt, report.doubt.low, report.doubt.high);
        match &self.residual {
            Some(residual) => out.residual(self.billed.amount, residual),
            None => out
                .say(format_args!("\nthe export names no attempt of `{}`: there is no time to compare", self.provider)),
        }
        out.0
    }

    /// For spreadsheets: a line for each finding, amounts in whole nano-dollars. What agrees is no finding.
    pub fn csv(&self) -> String {
        let report = self.report;
        let mut out = csv::Writer::from_writer(Vec::new());
        let _ =
            out.write_record(["finding", "id", "ledger_low_nano", "ledger_nano", "ledger_high_nano", "export_nano"]);
        let mut write = |finding: &str, id: &str, ledger: Option<CostInterval>, export: Option<NanoUsd>| {
            let nano = |amount: Option<NanoUsd>| amount.map(|amount| amount.0.to_string()).unwrap_or_default();
            let (low, exact) = (ledger.map(|cost| cost.low), ledger.and_then(|cost| cost.exact));
            let high = ledger.and_then(|cost| cost.high);
            // What is written to memory is written.
            let _ = out.write_record([finding, &escaped(id), &nano(low), &nano(exact), &nano(high), &nano(export)]);
        };
        for (finding, list) in [
            ("difference", &report.differences),
            ("outside_interval", &report.outside_interval),
            ("far_beyond", &report.far_beyond),
        ] {
            for found in list {
                write(finding, &found.attempt.to_string(), Some(found.ledger), found.export);
            }
        }
        for (finding, list) in [("not_in_export", &report.absent), ("settled_at_zero", &report.settled_at_zero)] {
            for found in list {
                write(finding, &found.attempt.to_string(), Some(found.ledger), None);
            }
        }
        let unmatched: HashSet<&str> = report.unmatched.iter().map(String::as_str).collect();
        for row in self.export.rows.iter().filter(|row| unmatched.contains(row.client_request_id.as_str())) {
            write("not_in_ledger", &row.client_request_id, None, Some(row.cost));
        }
        if self.export.credits.0 > 0 {
            write("credits", "", None, Some(self.export.credits.1));
        }
        String::from_utf8(out.into_inner().unwrap_or_default()).unwrap_or_default()
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let report = self.report;
        let mut value = json!({
            "file": self.file, "provider": self.provider,
            "rows": self.billed.rows, "rows_nano_usd": summed(self.billed.amount),
            "matched": report.matched.rows, "matched_nano_usd": summed(report.matched.amount),
            "unchanged": report.unchanged.rows, "unchanged_nano_usd": summed(report.unchanged.amount),
            "corrected": report.corrected.rows, "corrected_nano_usd": summed(report.corrected.amount),
            "unmatched": report.unmatched.len(), "unmatched_nano_usd": summed(report.unmatched_cost),
            "unmatched_ids": report.unmatched, "forgotten": report.forgotten.rows,
            "forgotten_nano_usd": summed(report.forgotten.amount),
            "differences": all(&report.differences, difference_json),
            "outside_interval": all(&report.outside_interval, difference_json),
            "far_beyond": all(&report.far_beyond, difference_json),
            "not_in_export": all(&report.absent, absent_json),
            "settled_at_zero": all(&report.settled_at_zero, absent_json),
            "in_doubt": report.in_doubt, "in_doubt_low_nano_usd": report.doubt.low.0,
            "in_doubt_high_nano_usd": report.doubt.high.map(|high| high.0),
            "lines": self.export.lines, "decimals": self.export.decimals,
            "credits": self.export.credits.0, "credits_nano_usd": self.export.credits.1.0, "within": self.is_within(),
        });
        value["span"] = self.residual.as_ref().map_or(Value::Null, |residual| {
            json!({
                "from_ms": residual.span.from_ms, "until_ms": residual.span.until_ms,
                "export_nano_usd": summed(self.billed.amount),
                "ledger_before_nano_usd": summed(residual.span.ledger_before),
                "ledger_nano_usd": summed(residual.span.ledger_after),
                "residual_nano_usd": summed(residual.whole),
                "differences_nano_usd": summed(residual.differences),
                "far_beyond_nano_usd": summed(residual.far_beyond),
                "not_in_ledger_nano_usd": summed(residual.not_in_ledger),
                "not_in_export_nano_usd": summed(residual.not_in_export),
                "credits_nano_usd": residual.credits.0, "rounding_nano_usd": residual.rounding.0,
                "unexplained_nano_usd": summed(residual.unexplained),
                "in_doubt_low_nano_usd": residual.doubt.low.0,
                "in_doubt_high_nano_usd": residual.doubt.high.map(|high| high.0),
            })
        });
        value
    }
}

/// A sum of amounts; those that go beyond what can be written down have none.
fn usd(sum: NanoUsd) -> String {
    if is_whole(sum) { format!("{sum} USD") } else { "(too much to add up)".to_owned() }
}

fn summed(sum: NanoUsd) -> Option<i64> {
    is_whole(sum).then_some(sum.0)
}

/// Sums stop at the largest number.
fn is_whole(sum: NanoUsd) -> bool {
    sum.0.unsigned_abs() < i64::MAX.unsigned_abs()
}

fn differing(list: &[Difference]) -> Part {
    Part { rows: list.len() as u64, amount: list.iter().filter_map(|found| found.export).sum() }
}

/// The amounts that the ledger has, estimates among them.
fn absent_part(list: &[Absent]) -> Part {
    Part { rows: list.len() as u64, amount: list.iter().filter_map(|absent| absent.ledger.exact).sum() }
}

fn absent_line(absent: &Absent) -> String {
    let Absent { attempt, ledger, in_doubt } = absent;
    match (ledger.exact, in_doubt) {
        (Some(cost), false) => format!("{attempt}: reported {cost} USD"),
        (Some(cost), true) => format!("{attempt}: estimated at {cost} USD, {} USD", range(ledger.low, ledger.high)),
        (None, _) => format!("{attempt}: in doubt, {} USD", range(ledger.low, ledger.high)),
    }
}

fn range(low: NanoUsd, high: Option<NanoUsd>) -> String {
    high.map_or_else(|| format!("at least {low}"), |high| format!("{low} to {high}"))
}

/// The export's side of a difference.
fn says(found: &Difference) -> String {
    let Some(cost) = found.export else { return "the export does not name it".to_owned() };
    if found.tokens.is_empty() {
        return format!("the export says {cost} USD");
    }
    let tokens = found.tokens.iter().map(token_words).collect::<Vec<_>>().join("; ");
    let same = found.ledger.exact == Some(cost);
    let amount = if same { "as the export says".to_owned() } else { format!("the export says {cost} USD") };
    format!("{amount}; {tokens}")
}

/// `input 1000 of which cached 0, the export says 500`.
fn token_words(found: &TokenDifference) -> String {
    let word = |kind| match kind {
        "input_tokens" => "input",
        "cached_input_tokens" => "cached",
        "cache_write_tokens" => "written to the cache",
        "cache_write_1h_tokens" => "written to the cache for an hour",
        "output_tokens" => "output",
        _ => "reasoning",
    };
    let whole = found.whole.map(|(kind, tokens)| format!("{} {tokens} of which ", word(kind))).unwrap_or_default();
    format!("{whole}{} {}, the export says {}", word(found.kind), found.ledger, found.export)
}

fn all<T>(items: &[T], tell: fn(&T) -> Value) -> Vec<Value> {
    items.iter().map(tell).collect()
}

fn difference_json(found: &Difference) -> Value {
    let mut value = json!({
        "attempt_id": found.attempt.to_string(), "low_nano_usd": found.ledger.low.0,
        "ledger_nano_usd": found.ledger.exact.map(|cost| cost.0),
        "high_nano_usd": found.ledger.high.map(|cost| cost.0),
        "export_nano_usd": found.export.map(|cost| cost.0),
    });
    for tokens in &found.tokens {
        value["tokens"][tokens.kind] = json!({ "ledger": tokens.ledger, "export": tokens.export });
    }
    value
}

fn absent_json(absent: &Absent) -> Value {
    json!({
        "attempt_id": absent.attempt.to_string(), "in_doubt": absent.in_doubt, "low_nano_usd": absent.ledger.low.0,
        "ledger_nano_usd": absent.ledger.exact.map(|cost| cost.0),
        "high_nano_usd": absent.ledger.high.map(|cost| cost.0),
    })
}

/// Lines of text. Writing to a string cannot fail.
struct Table(String);

impl Table {
    fn say(&mut self, line: std::fmt::Arguments<'_>) {
        let _ = writeln!(self.0, "{line}");
    }

    fn part(&mut self, what: &str, part: Part) {
        self.say(format_args!("{what:<34} {:>9}  {}", part.rows, usd(part.amount)));
    }

    fn count(&mut self, what: &str, rows: u64) {
        self.say(format_args!("{what:<34} {rows:>9}"));
    }

    fn doubt(&mut self, what: &str, rows: u64, low: NanoUsd, high: Option<NanoUsd>) {
        match rows {
            0 => self.count(what, rows),
            _ => self.say(format_args!("{what:<34} {rows:>9}  {} USD", range(low, high))),
        }
    }

    fn list<T>(&mut self, items: &[T], tell: impl Fn(&T) -> String) {
        for item in items.iter().take(LISTED_MAX) {
            self.say(format_args!("      {}", tell(item)));
        }
        if items.len() > LISTED_MAX {
            self.say(format_args!("      … and {} more; `--format json` has all of them", items.len() - LISTED_MAX));
        }
    }

    fn residual(&mut self, billed: NanoUsd, residual: &Residual) {
        let at = |ms| Timestamp::from_millisecond(ms).unwrap_or_default();
        let Span { from_ms, until_ms, ledger_before, ledger_after } = residual.span;
        self.say(format_args!("\nbetween {} and {}", at(from_ms), at(until_ms)));
        self.amount("the export", billed, "");
        if ledger_before != ledger_after {
            self.amount("the ledger before", ledger_before, "");
        }
        self.amount("the ledger now", ledger_after, "");
        self.amount("residual", residual.whole, "the export less the ledger");
        for (what, amount, reason) in [
            ("  differences", residual.differences, "the provider bills other than it had reported"),
            ("  far beyond", residual.far_beyond, "no call of the ledger could cost that"),
            ("  not in the ledger", residual.not_in_ledger, "other software, or another ledger, used the account"),
            ("  not in the export", residual.not_in_export, "not billed yet, or the export is not complete"),
            ("  credits", residual.credits, "given back for no call"),
            ("  rounding", residual.rounding, "the export rounds"),
            ("  unexplained", residual.unexplained, "still in flight"),
        ] {
            if amount != NanoUsd::ZERO && (is_whole(amount) || what != "  unexplained") {
                self.amount(what, amount, reason);
            }
        }
        let Doubt { low, high } = residual.doubt;
        if high != Some(NanoUsd::ZERO) {
            self.figure(
                "in doubt",
                &format!("{} USD", range(low, high)),
                "not in the export; 0 if it is complete (--complete)",
            );
        }
    }

    fn amount(&mut self, what: &str, amount: NanoUsd, reason: &str) {
        self.figure(what, &usd(amount), reason);
    }

    fn figure(&mut self, what: &str, figure: &str, reason: &str) {
        let line = format!("  {what:<21} {figure:<18} {reason}");
        self.say(format_args!("{}", line.trim_end()));
    }
}
