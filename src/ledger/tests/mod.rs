//! The ledger as its callers and readers see it: append, kill, open again, look at the views.

mod asking;
mod balances;
mod beside;
mod charging;
mod conditions;
mod crash;
mod disk;
mod golden;
mod holes;
mod keeping;
mod kill;
mod power;
mod reconciling;
mod reviewing;
mod rows;
mod saying;
mod speed;
pub(super) mod stating;
mod summing;
mod upgrading;
mod watching;

use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;
use tempfile::TempDir;

use crate::config::{Durability, WhenItFails};
use crate::ids::{AttemptId, RequestId};
use crate::ledger::record::{Closed, Closing, DecisionFacts, Fate, Intent, Outcome, Record, RequestFacts};
use crate::ledger::{Ledger, LedgerError, LedgerOptions, Recovered};
use crate::money::{CostInterval, NanoUsd};
use crate::reply::usage::{Source, Usage};

const BOUND: NanoUsd = NanoUsd(1_000);

fn options(folder: &Path) -> LedgerOptions {
    LedgerOptions {
        path: folder.join("farthing.db"),
        durability: Durability::Process,
        when_it_fails: WhenItFails::Deny,
    }
}

fn open(folder: &Path) -> (Ledger, Recovered) {
    Ledger::open(&options(folder)).expect("the ledger opens")
}

pub(super) fn fresh() -> (TempDir, Ledger) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ledger = open(folder.path()).0;
    (folder, ledger)
}

pub(super) fn sync(ledger: &Ledger) {
    ledger.sync_views(Duration::from_secs(20)).expect("the views catch up");
}

pub(super) fn attempt(request: RequestId, ordinal: u16) -> AttemptId {
    AttemptId { request, ordinal }
}

fn facts<'a>(id: RequestId) -> RequestFacts<'a> {
    RequestFacts {
        id,
        at_ms: 1_790_000_000_000,
        team: "data-platform",
        key: "ops",
        project: Some("warehouse"),
        pipeline: Some("orders_daily"),
        user: None,
        run: Some("run-7"),
        prompt: Some("triage"),
        task: Some("log-parsing"),
        tier: Some("lightweight"),
        policy: Some("orders_daily@3f2c"),
        surface: "chat.completions",
        model: "auto",
    }
}

fn decision<'a>() -> DecisionFacts<'a> {
    DecisionFacts {
        reason: "task",
        confidence_ppm: Some(910_000),
        needs_strong_ppm: Some(80_000),
        session: Some("00000000000004d2"),
        would_tier: None,
        would_model: None,
        state: None,
    }
}

/// The first attempt of a request brings the request's facts.
pub(super) fn intent<'a>(id: AttemptId) -> Record<'a> {
    Record::Intent(Intent {
        request: (id.ordinal == 1).then(|| facts(id.request)),
        attempt: id,
        at_ms: 1_790_000_000_001,
        provider: "openai",
        model: "gpt-5.6-luna",
        input_tokens_bound: Some(1_000),
        output_tokens_bound: Some(500),
        bound: Some(BOUND),
        price_version: Some("openai/gpt-5.6-luna@2026-11-01"),
    })
}

pub(super) fn closing<'a>() -> Closing<'a> {
    Closing {
        status: "ok",
        http_status: 200,
        cost: CostInterval::NOTHING,
        duration_ms: 812,
        first_byte_ms: Some(130),
        edits: "",
    }
}

pub(super) fn outcome<'a>(attempt: AttemptId, cost: i64, closes: Option<Closing<'a>>) -> Record<'a> {
    Record::Outcome(Outcome {
        attempt,
        at_ms: 1_790_000_000_900,
        fate: Fate::Completed,
        provider_status: Some(200),
        usage: Some(Usage { input_tokens: 812, cached_input_tokens: 400, output_tokens: 90, ..Usage::default() }),
        source: Source::Reported,
        cost: CostInterval::exactly(NanoUsd(cost)),
        price_version: None,
        service_tier: Some("flex"),
        discount_ppm: 150_000,
        tokenizer: None,
        provider_request_id: Some("req_123"),
        overshoot: None,
        closes,
    })
}

fn closed<'a>(id: RequestId) -> Record<'a> {
    Record::Closed(Box::new(Closed { request: facts(id), closing: closing() }))
}

fn append(ledger: &Ledger, records: &[Record<'_>]) {
    for record in records {
        ledger.append(record).expect("the record is accepted");
    }
}

/// All rows of a query as text, columns joined by `|`, null as `-`.
pub(super) fn rows(connection: &Connection, sql: &str) -> Vec<String> {
    let mut statement = connection.prepare(sql).expect("the query is right");
    let columns = statement.column_count();
    let text = |row: &rusqlite::Row<'_>, column| match row.get_unwrap::<_, rusqlite::types::Value>(column) {
        rusqlite::types::Value::Null => "-".to_owned(),
        rusqlite::types::Value::Integer(number) => number.to_string(),
        rusqlite::types::Value::Text(text) => text,
        other => panic!("a ledger holds whole numbers and text, not {other:?}"),
    };
    statement
        .query_map([], |row| Ok((0..columns).map(|column| text(row, column)).collect::<Vec<_>>().join("|")))
        .and_then(Iterator::collect)
        .expect("the query runs")
}

#[track_caller]
fn check_rows(ledger: &Ledger, sql: &str, expected: &[&str]) {
    sync(ledger);
    assert_eq!(rows(&ledger.views().expect("the views open"), sql), expected, "{sql}");
}

/// What `kill -9` leaves at this moment: a copy of the files.
fn killed_copy(folder: &Path) -> TempDir {
    let copy = tempfile::tempdir().expect("a temporary folder");
    // The journal first: a position in the tables then never lies beyond it. A running applier may move
    // on between two copies, which a real crash cannot; so callers copy while it is idle, or retry.
    for entry in folder.read_dir().expect("the folder is there").flatten() {
        std::fs::copy(entry.path(), copy.path().join(entry.file_name())).expect("the file copies");
    }
    copy
}

#[track_caller]
fn check_refused(folder: &Path, expected: &str) {
    let refused = Ledger::open(&options(folder)).expect_err("the ledger does not open");
    let message = refused.to_string().replace(&*folder.canonicalize().expect("it is there").to_string_lossy(), "DIR");
    assert_eq!(message, expected);
}
