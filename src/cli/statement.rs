//! `farthing statement close|show|list`: what teams owe for a month, written down once.
//!
//! What is done is in `ledger::statements`; here are the arguments and the words for people.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::{counted, fail, find_config, mirror, print_problems, user};
use crate::config;
use crate::ledger::mirror::statements as mirrored;
use crate::ledger::statements::{self, Books, Month, Statement, StatementError};
use crate::ledger::{audit, open_views};
use crate::money::NanoUsd;
use crate::report::Figures;
use crate::report::write::{align, cell, escaped, estimated};
use crate::telemetry::log::now_ms;

/// Printed under `farthing statement --help`.
pub const AFTER_HELP: &str = "\
A statement has a line for each project and model of a team's month, in the `timezone` of the
configuration. Once it is closed nothing changes it, the database refuses: what an export or a
re-rating corrects later is a line of the next statement, with the month that it corrects. A gateway
may have the ledger open. Columns that end in `_nano` are whole nano-dollars.

Example:
  farthing statement close --month 2026-11
  farthing statement show --month 2026-11 --team data-platform --format csv
  farthing statement list
  farthing statement show --month 2026-11 --team data-platform --mirror";

#[derive(Args)]
#[command(arg_required_else_help = true)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Close a month that is over, for one team or for all that have no statement of it yet
    Close {
        #[arg(long, value_name = "YYYY-MM", value_parser = month)]
        month: Date,
        #[arg(long)]
        team: Option<String>,
        #[command(flatten)]
        common: Common,
    },
    /// Print a closed statement
    Show {
        #[arg(long, value_name = "YYYY-MM", value_parser = month)]
        month: Date,
        #[arg(long)]
        team: String,
        /// Read the configuration's mirror: one statement of each ledger there
        #[arg(long, conflicts_with = "ledger")]
        mirror: bool,
        #[command(flatten)]
        common: Common,
    },
    /// List closed statements
    List {
        /// Those of all ledgers in the configuration's mirror
        #[arg(long, conflicts_with = "ledger")]
        mirror: bool,
        #[command(flatten)]
        common: Common,
    },
}

#[derive(Args)]
struct Common {
    /// The configuration that names the ledger and the time zone; else FARTHING_CONFIG, else ./farthing.yaml
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The ledger or a copy of it; else the configuration's
    #[arg(long, value_name = "FILE")]
    ledger: Option<PathBuf>,
    /// How to print
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// How a statement is printed.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Table,
    /// For spreadsheets
    Csv,
    /// For programs
    Json,
}

/// The first day of `2026-11`.
fn month(text: &str) -> Result<Date, String> {
    format!("{text}-01").parse().map_err(|_| "wanted a month such as 2026-11".to_owned())
}

pub fn run(arguments: &Arguments) -> ExitCode {
    let (Action::Close { common, .. } | Action::Show { common, .. } | Action::List { common, .. }) = &arguments.action;
    let books = match config::load_bookkeeping(find_config(common.config.as_ref()).as_deref()) {
        Ok(books) => books,
        Err(problems) => {
            print_problems(&problems);
            return ExitCode::FAILURE;
        }
    };
    if let Action::Show { mirror: true, .. } | Action::List { mirror: true, .. } = &arguments.action {
        return match of_mirror(&arguments.action, &books) {
            Ok(text) => {
                say!("{}", text.trim_end());
                ExitCode::SUCCESS
            }
            Err(message) => fail(message),
        };
    }
    let path = common.ledger.clone().unwrap_or(books.ledger.path);
    if !path.exists() {
        return fail(format_args!("there is no ledger at `{}`", path.display()));
    }
    let told = match &arguments.action {
        Action::Close { month, team, common } => {
            let zone = TimeZone::get(&books.timezone).unwrap_or(TimeZone::UTC);
            let month = Month { first: *month, zone, zone_name: books.timezone };
            let closed = Books::open(&path, &audit::at_prompt(&user()))
                .and_then(|mut books| books.close(&month, team.as_deref(), now_ms()));
            closed.map(|closed| told_closed(&closed, &month, common.format))
        }
        Action::Show { month, team, common, .. } => {
            let month = format!("{:04}-{:02}", month.year(), month.month());
            let found = open_views(&path)
                .map_err(StatementError::from)
                .and_then(|views| statements::show(&views, team, &month));
            match found {
                Ok(None) => {
                    return fail(none_of(team, &month));
                }
                found => found.map(|found| found.map(|statement| told(&statement, common.format)).unwrap_or_default()),
            }
        }
        Action::List { common, .. } => {
            let listed = open_views(&path).map_err(StatementError::from).and_then(|views| statements::list(&views));
            listed.map(|listed| told_list(&listed, common.format))
        }
    };
    match told {
        Ok(text) => {
            say!("{}", text.trim_end());
            ExitCode::SUCCESS
        }
        Err(error) => fail(error),
    }
}

fn none_of(team: &str, month: &str) -> String {
    format!("team `{team}` has no statement for {month}; `farthing statement close` makes one")
}

/// Statements out of the mirror alone.
fn of_mirror(action: &Action, books: &config::Bookkeeping) -> Result<String, String> {
    let target = mirror::of(books)?;
    let views = mirror::open(&target).map_err(|error| error.to_string())?;
    match action {
        Action::Show { month, team, common, .. } => {
            let month = format!("{:04}-{:02}", month.year(), month.month());
            let found = mirrored::show(&views, team, &month).map_err(|error| error.to_string())?;
            match found.as_slice() {
                [] => Err(none_of(team, &month)),
                all if common.format == Format::Csv => Ok(csv(all)),
                all => Ok(all.iter().map(|statement| told(statement, common.format)).collect::<Vec<_>>().join("\n")),
            }
        }
        Action::List { common, .. } | Action::Close { common, .. } => {
            let listed = mirrored::list(&views).map_err(|error| error.to_string())?;
            Ok(told_list(&listed, common.format))
        }
    }
}

fn told_closed(closed: &[Statement], month: &Month, format: Format) -> String {
    match format {
        Format::Json => {
            json!({ "month": month.name(), "closed": closed.iter().map(json_of).collect::<Vec<_>>() }).to_string()
        }
        Format::Csv => csv(closed),
        Format::Table if closed.is_empty() => format!("{}: there was nothing to close", month.name()),
        Format::Table => {
            let tables: Vec<String> = closed.iter().map(|statement| told(statement, format)).collect();
            format!("{}\n\n{} closed", tables.join("\n\n"), counted(closed.len(), "statement"))
        }
    }
}

fn told(statement: &Statement, format: Format) -> String {
    match format {
        Format::Json => json_of(statement).to_string(),
        Format::Csv => csv(std::slice::from_ref(statement)),
        Format::Table => {
            let mut table = blank(&[
                "kind",
                "month",
                "project",
                "model",
                "requests",
                "input",
                "output",
                "cost, US$",
                "estimated, US$",
                "transfer, US$",
                "charged, US$",
                "uncertain, US$",
                "saved, US$",
            ]);
            let mut rows: Vec<Vec<String>> = Vec::new();
            for line in &statement.lines {
                let model = if line.provider.is_empty() {
                    "(no call)".to_owned()
                } else {
                    format!("{}/{}", line.provider, line.model)
                };
                let project = if line.project.is_empty() { "(none)" } else { line.project.as_str() };
                let names = [line.kind.clone(), line.month.clone(), project.to_owned(), model];
                rows.push(names.into_iter().chain(cells(&line.figures)).collect());
            }
            let mut total = cells(&statement.total());
            (total[4], total[7]) = (apart(statement, estimated), apart(statement, uncertain));
            rows.push(["total", "", "", ""].map(str::to_owned).into_iter().chain(total).collect());
            align(&mut rows, 4);
            table.add_rows(rows);
            let closed = moment(statement.closed_ms);
            format!(
                "statement {} of {}, {} ({}), closed {closed}\n{table}",
                statement.id, statement.team, statement.month, statement.timezone
            )
        }
    }
}

fn cells(of: &Figures) -> [String; 9] {
    let dollars = |nano: i64| NanoUsd(nano).to_string();
    [
        of.requests.to_string(),
        of.input_tokens.to_string(),
        of.output_tokens.to_string(),
        dollars(of.cost),
        estimated(of),
        dollars(of.transfer),
        dollars(of.charged()),
        uncertain(of),
        dollars(of.saved()),
    ]
}

/// What lines add to a doubt, and beside it what others take off that of earlier months: a sum of both would hide either.
fn apart(statement: &Statement, told: fn(&Figures) -> String) -> String {
    let (mut added, mut removed) = (Figures::default(), Figures::default());
    for line in &statement.lines {
        let of = &line.figures;
        let removes = [of.uncertain, of.unbounded, of.estimated, of.estimated_high].iter().any(|number| *number < 0);
        if removes { removed.add(of) } else { added.add(of) }
    }
    let told = [&added, &removed].map(told).into_iter().filter(|told| !told.is_empty());
    told.collect::<Vec<_>>().join("; ")
}

/// Between what and what the attempts cost whose cost is not known. A correction tells what its doubt is more or less by: what
/// was settled is doubt removed, and where some was settled and some came, both ends are told with their signs.
fn uncertain(of: &Figures) -> String {
    let Figures { uncertain, uncertain_low, uncertain_high, unbounded, .. } = *of;
    let range = |low, high, unbounded| match unbounded {
        0 => format!("{}..{}", NanoUsd(low), NanoUsd(high)),
        _ => format!("at least {}, {unbounded} unbounded", NanoUsd(low)),
    };
    let all = [uncertain, uncertain_low, uncertain_high, unbounded];
    if all == [0; 4] {
        String::new()
    } else if all.iter().all(|number| *number >= 0) && (uncertain_low <= uncertain_high || unbounded > 0) {
        range(uncertain_low, uncertain_high, unbounded)
    } else if all.iter().all(|number| *number <= 0) && (uncertain_low >= uncertain_high || unbounded < 0) {
        let [low, high, unbounded] = [uncertain_low, uncertain_high, unbounded].map(i64::saturating_neg);
        format!("doubt removed: {}", range(low, high, unbounded))
    } else {
        let sign = |number: i64| if number < 0 { "" } else { "+" };
        let dollars = |nano: i64| format!("{}{}", sign(nano), NanoUsd(nano));
        let ends = format!("low {}, high {}", dollars(uncertain_low), dollars(uncertain_high));
        if unbounded == 0 { ends } else { format!("{ends}, unbounded {}{unbounded}", sign(unbounded)) }
    }
}

fn told_list(listed: &[Statement], format: Format) -> String {
    match format {
        Format::Json => {
            let of = |s: &Statement| json!({ "statement": s.id, "team": s.team, "month": s.month, "timezone": s.timezone, "closed_ms": s.closed_ms });
            json!(listed.iter().map(of).collect::<Vec<_>>()).to_string()
        }
        Format::Csv | Format::Table => {
            let mut table = blank(&["statement", "month", "team", "closed"]);
            for statement in listed {
                table.add_row([
                    statement.id.to_string(),
                    statement.month.clone(),
                    statement.team.clone(),
                    moment(statement.closed_ms),
                ]);
            }
            table.to_string()
        }
    }
}

fn csv(statements: &[Statement]) -> String {
    let mut out = csv::Writer::from_writer(Vec::new());
    let names = ["statement", "team", "kind", "month", "project", "provider", "model", "note"];
    // What is written to memory is written.
    let _ = out.write_record(names.into_iter().chain(Figures::NAMES));
    for statement in statements {
        for line in &statement.lines {
            let note = line.note.as_deref().unwrap_or_default();
            let names = [&statement.team, &line.kind, &line.month, &line.project, &line.provider, &line.model]
                .map(|name| escaped(name));
            let figures = line.figures.told().map(cell);
            let row = [statement.id.to_string()].into_iter().chain(names).chain([escaped(note)]).chain(figures);
            drop(out.write_record(row));
        }
    }
    String::from_utf8(out.into_inner().unwrap_or_default()).unwrap_or_default()
}

fn json_of(statement: &Statement) -> Value {
    let figures = |of: &Figures| {
        let mut value = json!({});
        for (name, number) in Figures::NAMES.into_iter().zip(of.told()) {
            value[name] = json!(number);
        }
        value
    };
    let line = |line: &statements::StatementLine| {
        let mut value = figures(&line.figures);
        for (name, text) in [
            ("kind", &line.kind),
            ("month", &line.month),
            ("project", &line.project),
            ("provider", &line.provider),
            ("model", &line.model),
        ] {
            value[name] = json!(text);
        }
        value["note"] = json!(line.note);
        value
    };
    json!({
        "statement": statement.id, "team": statement.team, "month": statement.month, "timezone": statement.timezone,
        "closed_ms": statement.closed_ms, "lines": statement.lines.iter().map(line).collect::<Vec<_>>(),
        "total": figures(&statement.total()), "sha256": statement.digest(),
    })
}

fn moment(ms: i64) -> String {
    Timestamp::from_millisecond(ms).unwrap_or_default().strftime("%FT%TZ").to_string()
}

fn blank(header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_HORIZONTAL_ONLY)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(header);
    for column in table.column_iter_mut().skip(4) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::statements::StatementLine;

    #[track_caller]
    fn check(uncertain: i64, low: i64, high: i64, unbounded: i64, expected: &str) {
        let of = Figures { uncertain, uncertain_low: low, uncertain_high: high, unbounded, ..Figures::default() };
        assert_eq!(super::uncertain(&of), expected);
    }

    #[test]
    fn doubt_is_told_with_what_nothing_bounds_and_as_removed_where_it_was_settled() {
        check(0, 0, 0, 0, "");
        check(2, 0, 2_645_750, 0, "0..0.00264575");
        check(3, 0, 0, 3, "at least 0, 3 unbounded");
        check(4, 1_500_000, 823_250, 4, "at least 0.0015, 4 unbounded");
        check(-1, 0, -2_645_750, 0, "doubt removed: 0..0.00264575");
        check(-3, -1_000, -2_000, -2, "doubt removed: at least 0.000001, 2 unbounded");
        // One was settled, another came.
        check(0, 0, 1_000, 0, "0..0.000001");
        check(0, 1_000, -2_000, 0, "low +0.000001, high -0.000002");
        check(1, 0, -2_000, 1, "low +0, high -0.000002, unbounded +1");
        check(0, 0, 1_000, -1, "low +0, high +0.000001, unbounded -1");
    }

    #[test]
    fn a_total_hides_no_doubt_behind_what_was_settled_of_an_earlier_month() {
        let line = |kind: &str, sign: i64| StatementLine {
            kind: kind.to_owned(),
            month: "2026-10".to_owned(),
            project: String::new(),
            provider: "sim".to_owned(),
            model: "m".to_owned(),
            note: None,
            figures: Figures {
                uncertain: sign,
                uncertain_high: sign * 2_000,
                estimated: sign * 50,
                estimated_low: sign * 50,
                estimated_high: sign * 50,
                ..Figures::default()
            },
        };
        let statement = Statement {
            id: 1,
            team: "data".to_owned(),
            month: "2026-11".to_owned(),
            timezone: "UTC".to_owned(),
            closed_ms: 1,
            lines: vec![line("usage", 1), line("correction", -1)],
        };
        let table = told(&statement, Format::Table);
        let total = table.lines().find(|line| line.contains("total")).expect("a total");
        assert!(total.contains("0..0.000002; doubt removed: 0..0.000002"), "{table}");
        assert!(total.contains("0.00000005; -0.00000005"), "{table}");
    }
}
