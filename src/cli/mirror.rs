//! Mirrors on the command line: where one is, and how it compares with its ledger.

use std::path::Path;
use std::process::ExitCode;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Format, counted, env, fail};
use crate::config::{Bookkeeping, MirrorReference};
use crate::ledger::LedgerError;
use crate::ledger::mirror::{Compared, Day, Reader, Target, compare};

/// The configuration's.
pub fn of(books: &Bookkeeping) -> Result<Target, String> {
    let reference = books.mirror.as_ref();
    resolved(reference.ok_or("the configuration names no mirror; wanted `ledger: { mirror: env:NAME }`")?)
}

/// One that a command line names in the place of a file: `env:NAME`, `file:path` or, where no password is in it, a URL.
pub fn named(text: &str) -> Option<Result<Target, String>> {
    if Target::is_url(text) {
        return Some(Target::parse(text).map_err(|message| format!("that {message}")));
    }
    let is_reference = text.starts_with("env:") || text.starts_with("file:");
    is_reference.then(|| resolved(&MirrorReference::given(text)))
}

fn resolved(reference: &MirrorReference) -> Result<Target, String> {
    Target::parse(reference.resolve(&env)?.reveal()).map_err(|message| format!("`mirror` {message}"))
}

/// Opens one for reading.
pub fn open(target: &Target) -> Result<Reader, LedgerError> {
    let reader = Reader::open(target).and_then(|reader| Ok((reader.has_ledgers()?, reader)));
    match reader {
        Ok((true, reader)) => Ok(reader),
        Ok((false, _)) => Err(LedgerError::Mirror { reason: format!("{target} has no ledger") }),
        Err(error) => Err(LedgerError::Mirror { reason: format!("{target}: {error}") }),
    }
}

/// `farthing ledger verify --mirror`.
pub fn verify(ledger: &Path, books: &Bookkeeping, format: Format) -> ExitCode {
    let target = match of(books) {
        Ok(target) => target,
        Err(message) => return fail(message),
    };
    let compared = match compare(ledger, &target) {
        Ok(compared) => compared,
        Err(error) => return fail(format_args!("{target}: {error}")),
    };
    let found = compared.findings();
    match format {
        Format::Json => say!("{}", as_json(&target, &compared)),
        Format::Table => describe(ledger, &target, &compared),
    }
    if found == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn describe(ledger: &Path, target: &Target, compared: &Compared) {
    let (days, requests) = (counted(compared.days, "day"), counted(compared.requests, "request"));
    say!("{} and {target}: {requests} on {days}", ledger.display());
    for day in &compared.wrong {
        say!("found: {}: {}", date(day.day), differences(day));
    }
    for day in &compared.wrong_sums {
        say!("found: {}: the sums for reports are not those of the mirror's rows", date(*day));
    }
    for (name, ours, theirs) in &compared.wrong_sides {
        say!("found: {name} {ours}, mirror {theirs}");
    }
    for day in &compared.behind {
        say!("note: {}: on its way: {}", date(day.day), differences(day));
    }
    if compared.waiting > 0 {
        say!("note: {} not in the mirror yet", counted(compared.waiting, "change"));
    }
    if compared.kept > 0 {
        say!("note: the mirror keeps {} that the ledger has forgotten", counted(compared.kept, "day"));
    }
    match compared.findings() {
        0 => say!("nothing wrong was found"),
        found => say!("{}; see docs/ledger.md", counted(found, "finding")),
    }
}

fn differences(day: &Day) -> String {
    let each = day.differs.iter().map(|(name, ours, theirs)| format!("{name} {ours}, mirror {theirs}"));
    each.collect::<Vec<_>>().join("; ")
}

fn date(day: i64) -> String {
    let at = Timestamp::from_second(day.saturating_mul(86_400)).unwrap_or_default();
    at.strftime("%Y-%m-%d").to_string()
}

fn as_json(target: &Target, compared: &Compared) -> Value {
    let days = |days: &[Day]| {
        let of = |day: &Day| {
            let differs = day.differs.iter().map(|(name, ours, theirs)| (name.to_string(), json!([ours, theirs])));
            json!({ "day": date(day.day), "differs": differs.collect::<serde_json::Map<_, _>>() })
        };
        days.iter().map(of).collect::<Vec<_>>()
    };
    json!({
        "mirror": target.to_string(), "ok": compared.findings() == 0,
        "days": compared.days, "requests": compared.requests, "waiting": compared.waiting, "kept_days": compared.kept,
        "found": days(&compared.wrong), "behind": days(&compared.behind),
        "wrong_sides": compared.wrong_sides,
        "wrong_sums": compared.wrong_sums.iter().map(|day| date(*day)).collect::<Vec<_>>(),
    })
}
