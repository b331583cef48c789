//! Overheads and transfer prices, through a meter and down to the report.

use std::path::Path;
use std::time::Duration;

use jiff::tz::TimeZone;

use super::super::tests::{Sink, accounts, call, row_of};
use super::*;
use crate::ledger::record::Fate;
use crate::ledger::rollup::lines;
use crate::plan::{Reason, Why};
use crate::reply::facts::Facts;
use crate::reply::usage::{Apart, Calls};
use crate::report::{By, Report};

const USAGE: Usage = Usage {
    input_tokens: 1_000_000,
    cached_input_tokens: 0,
    cache_write_tokens: 0,
    cache_write_1h_tokens: 0,
    output_tokens: 0,
    reasoning_tokens: 0,
    apart: Apart {
        calls: Calls::NONE,
        audio_input_tokens: 0,
        cached_audio_input_tokens: None,
        audio_output_tokens: 0,
        image_input_tokens: 0,
        image_output_tokens: 0,
    },
};

/// Accounts in which overheads are paid for by that team, and hits are charged at a fifth.
fn internal(folder: &Path, overhead_team: Option<&str>) -> (Arc<Accounts>, Sink) {
    let (accounts, sink) = accounts(folder);
    let mut accounts = Arc::into_inner(accounts).expect("nobody else has them");
    accounts.internal = Internal { overhead_team: overhead_team.map(TeamId::from), transfer_ppm: 200_000 };
    (Arc::new(accounts), sink)
}

fn plan(folder: &Path) -> Arc<Plan> {
    let (_, target) = row_of(folder, "openai", "gpt-5.6-luna");
    let mut plan = Plan::new(None, vec![target.clone()], Reason::of(Why::ExactModel));
    plan.baseline = Some(target);
    Arc::new(plan)
}

/// Teams with requests, cost, overhead and what they are charged.
fn told(accounts: &Accounts) -> Vec<(String, [i64; 4])> {
    accounts.ledger.sync_views(Duration::from_secs(10)).expect("the views catch up");
    let views = accounts.ledger.views().expect("views");
    let lines = lines(&views, &[By::Team], 0, 1 << 42, &TimeZone::UTC).expect("lines");
    let report = Report::of(&[By::Team], lines, &TimeZone::UTC);
    let row = |row: crate::report::Row| {
        let figures = &row.figures;
        (row.names[0].clone(), [figures.requests, figures.cost, figures.overhead, figures.charged()])
    };
    report.rows.into_iter().map(row).collect()
}

/// A judgement of the agent's answer, for a million tokens.
fn judge(accounts: &Arc<Accounts>, folder: &Path) -> (RequestId, Meter) {
    let (row, target) = row_of(folder, "openai", "gpt-5.6-luna");
    let (agent, own) = (call(), call());
    let facts = Arc::into_inner(own.facts.clone()).unwrap_or_else(|| CallFacts::clone(&own.facts));
    let mut meter = Meter::overhead(accounts, Purpose::Judge, &agent.facts, facts, &plan(folder));
    meter.begin(&row, &target, &row.prepare(&own, &target, None)).expect("the ledger takes it");
    meter.saw(&Facts { usage: Some(USAGE), ..Facts::default() });
    (agent.facts.id, meter)
}

#[tokio::test]
async fn what_farthing_asks_by_itself_is_paid_for_by_the_overhead_team_and_says_why() {
    let folder = tempfile::tempdir().expect("a folder");
    let (accounts, sink) = internal(folder.path(), Some("platform"));
    let (about, mut meter) = judge(&accounts, folder.path());
    let cost = meter.complete(200).exact.expect("a price").0;
    drop(meter);
    assert_eq!(told(&accounts), [("platform".to_owned(), [0, cost, cost, cost])]);
    let views = accounts.ledger.views().expect("views");
    let sql = "SELECT purpose || ' ' || caused_by || ' ' || ifnull(baseline_nano, '-') FROM requests_v1";
    let row: String = views.query_row(sql, [], |row| row.get(0)).expect("a row");
    assert_eq!(row, format!("judge {about} -"));
    accounts.log.close();
    let log = sink.text();
    assert!(log.contains(r#""event":"overhead""#) && log.contains(r#""purpose":"judge""#), "{log}");
}

#[tokio::test]
async fn without_an_overhead_team_whoever_caused_it_pays_and_what_never_left_has_no_row() {
    let folder = tempfile::tempdir().expect("a folder");
    let (accounts, _) = internal(folder.path(), None);
    let (_, mut meter) = judge(&accounts, folder.path());
    let cost = meter.complete(200).exact.expect("a price").0;
    let own = CallFacts::clone(&call().facts);
    drop(Meter::overhead(&accounts, Purpose::Shadow, &call().facts, own, &plan(folder.path())));
    assert_eq!(told(&accounts), [("data".to_owned(), [0, cost, cost, cost])]);
    let views = accounts.ledger.views().expect("views");
    let rows: i64 = views.query_row("SELECT count(*) FROM requests_v1", [], |row| row.get(0)).expect("a count");
    assert_eq!(rows, 1);
}

#[tokio::test]
async fn an_overhead_that_is_dropped_is_settled_as_any_attempt() {
    let folder = tempfile::tempdir().expect("a folder");
    let (accounts, _) = internal(folder.path(), Some("platform"));
    drop(judge(&accounts, folder.path()));
    accounts.ledger.sync_views(Duration::from_secs(10)).expect("the views catch up");
    let views = accounts.ledger.views().expect("views");
    let fate: String = views.query_row("SELECT fate FROM attempts_v1", [], |row| row.get(0)).expect("a row");
    assert_eq!(fate, Fate::Failed.as_str());
}

#[tokio::test]
async fn a_hit_is_charged_at_its_share_and_the_sum_over_teams_stays_the_invoice() {
    let folder = tempfile::tempdir().expect("a folder");
    let (accounts, _) = internal(folder.path(), None);
    let (row, target) = row_of(folder.path(), "openai", "gpt-5.6-luna");
    let call = call();
    let mut meter = Meter::open(&accounts, accounts.book.load_full(), &call.facts, &plan(folder.path()));
    let price = meter.price(&row, &target).expect("a price");
    let cost = crate::cost::cost_of(&price, &USAGE, ServiceTier::Standard, 0).expect("a cost");
    meter.beside(|_| Some(row.clone()));
    meter.served(USAGE, ServiceTier::Standard, 200);
    assert_eq!((meter.spent().exact, meter.saved()), (Some(NanoUsd::ZERO), Some(cost)));
    drop(meter);
    let share = cost.0 / 5;
    let expected = [("data".to_owned(), [1, 0, 0, share]), ("platform".to_owned(), [0, 0, 0, -share])];
    assert_eq!(told(&accounts), expected);
}

#[test]
fn a_share_is_rounded_once_half_to_even_and_nobody_charges_itself() {
    for (amount, ppm, expected) in
        [(10, 250_000, 2), (30, 50_000, 2), (50, 50_000, 2), (51, 50_000, 3), (7, 1_000_000, 7)]
    {
        assert_eq!(share_of(NanoUsd(amount), ppm), NanoUsd(expected), "{amount} {ppm}");
    }
    let internal = Internal { overhead_team: Some(TeamId::from("ops")), transfer_ppm: 500_000 };
    assert_eq!(internal.transfer(&TeamId::from("ops"), NanoUsd(10)), None);
    let transfer = internal.transfer(&TeamId::from("data"), NanoUsd(10)).expect("half of it");
    assert_eq!((transfer.amount, transfer.to), (NanoUsd(5), "ops"));
}
