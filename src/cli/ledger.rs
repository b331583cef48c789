//! `farthing ledger verify|backup|compact|rerate|audit|salvage`: looking through the books, copying them, tidying them up.
//!
//! What is done is in `ledger::{verify, backup, compact, salvage}`; here are the arguments and the words for people.
//! Nothing but the ledger's place is read of the configuration, so that no secret need be there.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use comfy_table::{CellAlignment, Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::{Format, audit, counted, fail, find_config, mirror, print_problems, rerate, user};
use crate::config::{self, Bookkeeping};
use crate::ledger::LedgerError;
use crate::ledger::audit::{Act, FORGOTTEN, at_prompt};
use crate::ledger::backup::{Existing, backup};
use crate::ledger::compact::{Mirrored, compact};
use crate::ledger::retention::{Forgotten, first_kept};
use crate::ledger::salvage::salvage;
use crate::ledger::verify::{FateSum, Progress, Verified, verify};
use crate::money::NanoUsd;
use crate::report::{date_of, periods};
use crate::telemetry::log::now_ms;

/// Printed under `farthing ledger --help`.
pub const AFTER_HELP: &str = "\
Example:
  farthing ledger verify
  farthing ledger backup /backups/farthing-2026-11-27.db
  farthing ledger compact";

const VERIFY_HELP: &str = "\
Reads every page, row and journal record, also while the gateway runs, and changes nothing. It is
checked that the file is whole, that every attempt has its request, that a request costs the sum of
its attempts, that amounts lie within their intervals and settled attempts have one, that ids are
well-formed, and that the journal is readable and fits the tables.

With --mirror the ledger is compared with what the mirror has of it instead: requests, attempts, tokens
and amounts of each day of UTC. What is on its way to the mirror is noted and no finding.

Exit status: 0 if nothing was found; 1 if something was, or the ledger cannot be opened.

Example:
  farthing ledger verify
  farthing ledger verify /backups/farthing-2026-11-27.db --format json | jq .findings
  farthing ledger verify --mirror --config farthing.yaml";

const BACKUP_HELP: &str = "\
Makes a copy as of now, also while the gateway runs: one file, with everything that was recorded
before the copy began, looked through before it takes its name. Put it in the ledger's place to
restore it (docs/ledger.md), or open it with any SQLite program.

Example:
  farthing ledger backup /backups/farthing-$(date +%F).db
  farthing ledger backup --force /backups/latest.db --format json";

const COMPACT_HELP: &str = "\
Gives free pages of the database and applied parts of the journal back to the disk. The gateway has
to be stopped. Needs room for a second copy beside the ledger and in the folder for temporary files
(SQLITE_TMPDIR); if it is interrupted, the ledger is as it was.

With --keep the rows of older months are deleted first: whole months, in the configuration's time zone,
besides the one that today is in. Their sums stay, one a month, for reports by month and for statements;
reports by day, user or prompt no longer know them, and no export can correct them. Make a backup before.
Where a mirror is configured, nothing is deleted as long as it lacks any of those rows; --unmirrored deletes
them all the same.

Example:
  farthing ledger compact --config farthing.yaml
  farthing ledger compact --keep 18mo";

const SALVAGE_HELP: &str = "\
For a ledger that does not start because its journal is damaged: applies every record that can still
be read, counts what cannot, and keeps the damaged files as FILE.salvaged-NUMBER. Attempts whose end
is lost become `interrupted`; `farthing reconcile` settles them. The gateway has to be stopped.

Example:
  farthing ledger salvage --config farthing.yaml";

#[derive(Args)]
#[command(arg_required_else_help = true)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Look through the ledger: pages, rows, sums, journal
    #[command(after_help = VERIFY_HELP)]
    Verify {
        /// The ledger or a copy of it; else the configuration's
        path: Option<PathBuf>,
        /// Compare with the configuration's mirror instead, day by day
        #[arg(long)]
        mirror: bool,
        #[command(flatten)]
        common: Common,
    },
    /// Copy the ledger, also while the gateway runs
    #[command(after_help = BACKUP_HELP)]
    Backup {
        /// Where the copy goes
        destination: PathBuf,
        /// Replace what is there
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        common: Common,
    },
    /// Go on from a damaged journal with what can be read of it
    #[command(after_help = SALVAGE_HELP)]
    Salvage {
        #[command(flatten)]
        common: Common,
    },
    /// Say who closed months, corrected prices, imported exports and forgot rows
    #[command(after_help = audit::AFTER_HELP)]
    Audit {
        #[command(flatten)]
        common: Common,
    },
    /// Book what a corrected price makes a difference of
    #[command(after_help = rerate::AFTER_HELP)]
    Rerate(rerate::Arguments),
    /// Give unused space back to the disk, and forget old rows where that is asked for
    #[command(after_help = COMPACT_HELP)]
    Compact {
        /// Months to keep the rows of, such as 18mo or 2y; else all
        #[arg(long, value_name = "TIME", value_parser = months)]
        keep: Option<u32>,
        /// With --keep: delete also rows that the mirror does not have
        #[arg(long, requires = "keep")]
        unmirrored: bool,
        #[command(flatten)]
        common: Common,
    },
}

#[derive(Args)]
struct Common {
    /// The configuration that names the ledger; else FARTHING_CONFIG, else ./farthing.yaml, else ./farthing.db
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How to print
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

pub fn run(arguments: &Arguments) -> ExitCode {
    match &arguments.action {
        Action::Verify { path, mirror: true, common } => with_books(common, |books| {
            mirror::verify(path.as_ref().unwrap_or(&books.ledger.path), books, common.format)
        }),
        Action::Verify { path: Some(path), common, .. } => run_verify(path, common.format),
        Action::Verify { path: None, common, .. } => with_ledger(common, |ledger| run_verify(ledger, common.format)),
        Action::Backup { destination, force, common } => with_ledger(common, |ledger| {
            let existing = if *force { Existing::Replace } else { Existing::Keep };
            run_backup(ledger, destination, existing, common.format)
        }),
        Action::Salvage { common } => with_ledger(common, |ledger| run_salvage(ledger, common.format)),
        Action::Audit { common } => with_ledger(common, |ledger| audit::run(ledger, common.format)),
        Action::Rerate(arguments) => rerate::run(arguments),
        Action::Compact { keep, unmirrored, common } => with_books(common, |books| {
            let mirrored = match (unmirrored, &books.mirror) {
                (true, _) => Mirrored::Ignored,
                (false, Some(_)) => Mirrored::Configured,
                (false, None) => Mirrored::NotConfigured,
            };
            run_compact(books, *keep, mirrored, common.format)
        }),
    }
}

/// `18mo`, `2y`.
fn months(text: &str) -> Result<u32, String> {
    periods::months(text).ok_or_else(|| "wanted months or years, such as 18mo or 2y".to_owned())
}

fn with_ledger(common: &Common, act: impl FnOnce(&Path) -> ExitCode) -> ExitCode {
    with_books(common, |books| act(&books.ledger.path))
}

fn with_books(common: &Common, act: impl FnOnce(&Bookkeeping) -> ExitCode) -> ExitCode {
    match config::load_bookkeeping(find_config(common.config.as_ref()).as_deref()) {
        Err(problems) => {
            print_problems(&problems);
            ExitCode::FAILURE
        }
        Ok(books) if !books.ledger.path.exists() => {
            fail(format_args!("there is no ledger at `{}`", books.ledger.path.display()))
        }
        Ok(books) => act(&books),
    }
}

fn run_verify(path: &Path, format: Format) -> ExitCode {
    let bar = bar();
    let verified = verify(path, &mut |progress| show(&bar, progress));
    bar.finish_and_clear();
    let seen = match verified {
        Ok(seen) => seen,
        Err(error) => return fail(error),
    };
    match format {
        Format::Json => say!("{}", as_json(path, &seen)),
        Format::Table => describe(path, &seen),
    }
    if seen.found == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run_backup(ledger: &Path, destination: &Path, existing: Existing, format: Format) -> ExitCode {
    let bar = bar();
    let done = backup(ledger, destination, existing, &mut |progress| show(&bar, progress));
    bar.finish_and_clear();
    match (done, format) {
        (Err(error), _) => return fail(error),
        (Ok(done), Format::Json) => {
            let verified = as_json(&done.path, &done.verified);
            let replayed = done.records_replayed;
            say!("{}", json!({ "bytes": done.bytes, "records_replayed": replayed, "verified": verified }));
        }
        (Ok(done), Format::Table) => {
            let requests = counted(done.verified.requests, "request");
            let attempts = counted(done.verified.attempts, "attempt");
            say!("{}: {} bytes, {requests}, {attempts}; looked through and sound", done.path.display(), done.bytes);
        }
    }
    ExitCode::SUCCESS
}

fn run_salvage(ledger: &Path, format: Format) -> ExitCode {
    let bar = bar().with_message("reading the journal");
    let done = salvage(ledger);
    bar.finish_and_clear();
    match (done, format) {
        (Err(error), _) => return fail(error),
        (Ok(done), Format::Json) => say!(
            "{}",
            json!({
                "path": ledger, "records_replayed": done.records_replayed, "lost_bytes": done.lost_bytes,
                "lost_places": done.lost_places, "torn_bytes": done.torn_bytes,
                "interrupted_attempts": done.attempts_interrupted,
            })
        ),
        (Ok(done), Format::Table) => say!(
            "{}: {} replayed, {} in {} lost, {} interrupted",
            ledger.display(),
            counted(done.records_replayed, "record"),
            counted(done.lost_bytes, "byte"),
            counted(done.lost_places, "place"),
            counted(done.attempts_interrupted, "attempt")
        ),
    }
    ExitCode::SUCCESS
}

fn run_compact(books: &Bookkeeping, keep: Option<u32>, mirrored: Mirrored, format: Format) -> ExitCode {
    let bar = bar().with_message("rewriting the tables");
    let (ledger, zone) = (&books.ledger.path, TimeZone::get(&books.timezone).unwrap_or(TimeZone::UTC));
    let keep = keep.map(|months| (first_kept(date_of(now_ms(), &zone), months), &zone));
    let done = compact(ledger, keep, mirrored).and_then(|done| {
        if let Some((first, _)) = keep {
            note_forgotten(ledger, first, &done.forgotten)?;
        }
        Ok(done)
    });
    bar.finish_and_clear();
    match (done, format) {
        (Err(error), _) => return fail(error),
        (Ok(done), Format::Json) => say!(
            "{}",
            json!({
                "path": ledger, "bytes_before": done.bytes_before, "bytes_after": done.bytes_after,
                "records_replayed": done.recovered.records_replayed,
                "interrupted_attempts": done.recovered.attempts_interrupted,
                "forgotten": { "requests": done.forgotten.requests, "attempts": done.forgotten.attempts, "months": done.forgotten.months },
            })
        ),
        (Ok(done), Format::Table) => {
            if let Some((first, _)) = keep {
                let (requests, months) =
                    (counted(done.forgotten.requests, "request"), counted(done.forgotten.months, "month"));
                say!("before {first}: {requests} deleted, the sums of {months} drawn together");
            }
            say!("{}: {} bytes, now {}", ledger.display(), done.bytes_before, done.bytes_after);
        }
    }
    ExitCode::SUCCESS
}

/// Leaves a trace of the rows that were deleted.
fn note_forgotten(ledger: &Path, first_kept: Date, forgotten: &Forgotten) -> Result<(), LedgerError> {
    let facts = json!({ "requests": forgotten.requests, "attempts": forgotten.attempts, "months": forgotten.months });
    let (who, subject) = (at_prompt(&user()), format!("before {first_kept}"));
    let act = Act { at_ms: now_ms(), who: &who, action: FORGOTTEN, subject: &subject, sha256: "", facts };
    act.note_in(ledger)
}

/// Shown at a terminal only.
fn bar() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

fn show(bar: &ProgressBar, progress: Progress) {
    match progress {
        Progress::Pages => bar.set_message("reading pages"),
        Progress::Journal => bar.set_message("reading the journal"),
        Progress::Rows(done, total) => {
            if bar.length().is_none() {
                bar.set_style(ProgressStyle::default_bar());
                bar.set_length(total);
            }
            bar.set_position(done);
        }
    }
}

fn describe(path: &Path, seen: &Verified) {
    let owned = if seen.owned { "a process has it open" } else { "nobody has it open" };
    say!("{}: version {}, {owned}", path.display(), seen.version);
    say!("  {}, {}", counted(seen.requests, "request"), counted(seen.attempts, "attempt"));
    let journal = seen.journal;
    say!(
        "  journal: {}, {}, {} of them not in the tables yet",
        counted(journal.segments, "segment"),
        counted(journal.records, "record"),
        journal.records_unapplied
    );
    if !seen.fates.is_empty() {
        say!("{}", table(seen));
    }
    for note in &seen.notes {
        say!("note: {note}");
    }
    for finding in &seen.findings {
        say!("found: {}: {}", finding.subject, finding.what);
    }
    match seen.found {
        0 => say!("nothing wrong was found"),
        found => say!("{}; keep the files, and see docs/ledger.md", counted(found, "finding")),
    }
}

fn table(seen: &Verified) -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header([
        "fate",
        "attempts",
        "unpriced",
        "uncertain",
        "known USD",
        "estimated USD",
        "low USD",
        "high USD",
    ]);
    for (fate, sum) in &seen.fates {
        let (low, high) = sum.interval;
        table.add_row([
            fate.clone(),
            sum.attempts.to_string(),
            sum.unpriced.to_string(),
            sum.uncertain.to_string(),
            sum.known.to_string(),
            sum.estimated.to_string(),
            low.to_string(),
            high.map_or_else(|| "unknown".to_owned(), |high| high.to_string()),
        ]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn as_json(path: &Path, seen: &Verified) -> Value {
    let fate = |sum: &FateSum| {
        json!({
            "attempts": sum.attempts, "unpriced": sum.unpriced, "uncertain": sum.uncertain,
            "known_nano_usd": sum.known.0, "estimated_nano_usd": sum.estimated.0, "low_nano_usd": sum.interval.0.0,
            "high_nano_usd": sum.interval.1.map(|NanoUsd(high)| high),
        })
    };
    let fates: serde_json::Map<String, Value> =
        seen.fates.iter().map(|(name, sum)| (name.clone(), fate(sum))).collect();
    let findings: Vec<Value> =
        seen.findings.iter().map(|found| json!({ "subject": found.subject, "what": found.what })).collect();
    let journal = seen.journal;
    json!({
        "path": path, "version": seen.version, "owned": seen.owned, "ok": seen.found == 0,
        "requests": seen.requests, "attempts": seen.attempts, "open_requests": seen.open_requests, "fates": fates,
        "journal": {
            "segments": journal.segments, "records": journal.records,
            "records_unapplied": journal.records_unapplied, "torn_bytes": journal.torn_bytes,
            "lost_bytes": journal.lost_bytes,
        },
        "found": seen.found, "findings": findings, "notes": seen.notes,
    })
}
