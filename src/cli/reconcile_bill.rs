//! `farthing reconcile` with a bill that says only sums: by day and model beside the ledger's, and no row is settled.

use std::fs::File;
use std::io::{BufReader, Read as _, Seek as _};
use std::path::Path;
use std::process::ExitCode;

use clap::ValueEnum;
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde_json::{Value, json};

use super::reconcile::{Arguments, known};
use super::{Format, counted, fail, print_problems};
use crate::config::Bookkeeping;
use crate::ledger::{billed::billed, open_views};
use crate::money::NanoUsd;
use crate::problem::Problem;
use crate::report::bill::{Bill, Line, Measure, compare};
use crate::report::bill_shapes::{Columns, is_page, read_csv, read_pages};

/// How much of a file is looked at to tell what it is.
const LOOKED_AT_BYTES: u64 = 64 << 10;

/// What an export is.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Shape {
    /// A row a call
    Calls,
    /// Pages of OpenAI's or Anthropic's usage or cost reports, by day and model
    Report,
    /// CSV by day, with `--columns`
    Csv,
}

/// What the file is: as it was said, or as it looks.
pub fn shape(arguments: &Arguments) -> Result<Shape, Problem> {
    if let Some(shape) = arguments.shape {
        return Ok(shape);
    }
    if arguments.columns.is_some() {
        return Ok(Shape::Csv);
    }
    let mut beginning = Vec::new();
    let looked = File::open(&arguments.file).and_then(|file| file.take(LOOKED_AT_BYTES).read_to_end(&mut beginning));
    looked.map_err(|error| unreadable(&arguments.file, &error))?;
    let is_report = is_page(&String::from_utf8_lossy(&beginning));
    Ok(if is_report { Shape::Report } else { Shape::Calls })
}

fn unreadable(file: &Path, error: &std::io::Error) -> Problem {
    Problem::of_file(&file.display().to_string(), format!("cannot be read: {error}"))
}

/// Holds a bill against the ledger, which a gateway may have open.
pub fn run(books: &Bookkeeping, arguments: &Arguments, shape: Shape) -> ExitCode {
    if arguments.complete {
        return fail("`--complete` is for exports with a row a call; a bill by day settles none");
    }
    let bill = match read(arguments, shape) {
        Ok(bill) => bill,
        Err(problem) => {
            print_problems(&[problem]);
            return ExitCode::FAILURE;
        }
    };
    let path = &books.ledger.path;
    if !path.exists() {
        return fail(format_args!("there is no ledger at `{}`", path.display()));
    }
    let provider = arguments.provider.as_str();
    let lines = open_views(path).map_err(|error| error.to_string()).and_then(|views| {
        known(books, &views, provider)?;
        let Some(days) = bill.days() else { return Ok(Vec::new()) };
        let ours = billed(&views, provider, days).map_err(|error| error.to_string())?;
        Ok(compare(&bill, &ours))
    });
    match lines {
        Ok(lines) => {
            match arguments.format {
                Format::Json => say!("{}", told(&bill, &lines)),
                Format::Table => print(&bill, &lines),
            }
            ExitCode::SUCCESS
        }
        Err(error) => fail(error),
    }
}

fn read(arguments: &Arguments, shape: Shape) -> Result<Bill, Problem> {
    let name = arguments.file.display().to_string();
    let mut source =
        File::open(&arguments.file).map(BufReader::new).map_err(|error| unreadable(&arguments.file, &error))?;
    source.rewind().map_err(|error| unreadable(&arguments.file, &error))?;
    if shape == Shape::Report {
        return read_pages(&name, source);
    }
    let columns = arguments.columns.as_deref().unwrap_or("day=day,model=model,usd=usd");
    let columns = Columns::read(columns).map_err(|why| Problem::of_file("--columns", why))?;
    read_csv(&name, source, &columns)
}

fn told(bill: &Bill, lines: &[Line]) -> Value {
    let lines = lines.iter().map(|line| {
        let ours = line.ours.map(|ours| match line.measure {
            Measure::Cost => {
                json!({ "low": ours.low, "told": ours.told, "high": (ours.unbounded == 0).then_some(ours.high) })
            }
            Measure::Input => json!({ "told": ours.input }),
            Measure::Output => json!({ "told": ours.output }),
        });
        json!({
            "day": line.day.to_string(), "model": line.model, "measure": line.measure.as_str(),
            "unit": if line.measure == Measure::Cost { "nano_usd" } else { "tokens" },
            "ours": ours, "theirs": line.theirs, "residual": line.residual, "reason": line.reason,
            "uncertain": line.ours.map_or(0, |ours| ours.uncertain),
        })
    });
    let credits = bill.credits.iter().map(|(day, amount)| json!({ "day": day.to_string(), "nano_usd": amount }));
    json!({
        "lines": lines.collect::<Vec<_>>(), "credits": credits.collect::<Vec<_>>(), "decimals": bill.decimals,
        "rounded_off_nano": bill.rounded_off(),
    })
}

fn print(bill: &Bill, lines: &[Line]) {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(["day (UTC)", "model", "what", "low", "ledger", "high", "bill", "residual", "likely reason"]);
    for column in table.column_iter_mut().skip(3).take(5) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for line in lines {
        let text = |amount: i64| match line.measure {
            Measure::Cost => NanoUsd(amount).to_string(),
            Measure::Input | Measure::Output => amount.to_string(),
        };
        let known = |amount: Option<i64>| amount.map_or_else(String::new, text);
        let cost = line.ours.filter(|_| line.measure == Measure::Cost);
        let told = line.ours.map(|ours| match line.measure {
            Measure::Cost => ours.told,
            Measure::Input => ours.input,
            Measure::Output => ours.output,
        });
        let high = cost.map(|ours| if ours.unbounded > 0 { "unknown".to_owned() } else { text(ours.high) });
        // A name of the bill may hold anything.
        let model: String = line.model.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
        table.add_row([
            line.day.to_string(),
            if model.is_empty() { "(any)".to_owned() } else { model },
            line.measure.as_str().replace('_', " "),
            known(cost.map(|ours| ours.low)),
            known(told),
            high.unwrap_or_default(),
            known(line.theirs),
            text(line.residual),
            line.reason.clone(),
        ]);
    }
    say!("{table}");
    for (day, amount) in &bill.credits {
        say!("credits and adjustments of {day}, of no model: ${}", NanoUsd(*amount));
    }
    let sum = |measure: Measure| {
        let of = lines.iter().filter(|line| line.measure == measure);
        of.fold(0_i64, |sum, line| sum.saturating_add(line.residual))
    };
    let apart = lines.iter().filter(|line| line.residual != 0).count();
    say!(
        "{}, {} of them with a residual; ${} together",
        counted(lines.len(), "line"),
        apart,
        NanoUsd(sum(Measure::Cost))
    );
    if bill.decimals < 9 && lines.iter().any(|line| line.measure == Measure::Cost) {
        let off = NanoUsd(bill.rounded_off());
        say!("the bill has amounts of {} decimals: each of its lines may be off by ${off}", bill.decimals);
    }
    say!("days are UTC, as providers bill; a bill by day settles no row of the ledger");
}
