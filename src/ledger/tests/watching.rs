//! What levers that only watch would have saved: kept with the row, followed by exports, summed off the rows.

use jiff::tz::TimeZone;

use super::*;
use crate::ledger::record::{Comparison, KnownTokens, Pricing, Reconciled};
use crate::ledger::rollup;
use crate::report::By;
use crate::report::would::{Report, Watched};

const AT_MS: i64 = 1_790_000_000_000;
const LUNA: &str = "openai/gpt-5.6-luna";

/// The row of a request that is watched.
const ROW: &str = "SELECT cost_nano, would_cost_nano FROM requests_v1 ORDER BY request_id";

/// The records of a request that an attempt of this number ends, which would have gone to `would` and have cost so much.
fn watched<'a>(last: AttemptId, would: &'a str, cost: i64, would_cost: Option<i64>) -> Vec<Record<'a>> {
    let (Record::Intent(intent), Record::Outcome(outcome)) = (intent(last), outcome(last, cost, Some(closing())))
    else {
        unreachable!("that is what they are")
    };
    let decision = DecisionFacts { would_tier: Some("lightweight"), would_model: Some(would), ..decision() };
    let compared = Comparison {
        model: Some(LUNA),
        baseline: Some(NanoUsd(cost)),
        fallback: Some(NanoUsd::ZERO),
        retry: Some(NanoUsd::ZERO),
        ..Comparison::default()
    };
    let begun = if last.ordinal == 1 { Record::Planned(intent, decision) } else { Record::Intent(intent) };
    let told = would_cost.map(|cost| Record::WouldCost(last.request, NanoUsd(cost)));
    let ended = Record::Compared(outcome, Pricing::default(), Box::new(compared));
    [Some(begun), told, Some(ended)].into_iter().flatten().collect()
}

fn once(would: &str, cost: i64, would_cost: Option<i64>) -> (AttemptId, Vec<Record<'_>>) {
    let id = attempt(RequestId::at(std::time::UNIX_EPOCH + Duration::from_millis(AT_MS.unsigned_abs())), 1);
    (id, watched(id, would, cost, would_cost))
}

fn export(ledger: &Ledger, attempt: AttemptId, cost: i64, tokens: KnownTokens) {
    let word = Reconciled { attempt, at_ms: 99, tokens, cost: NanoUsd(cost), export: "june.csv" };
    append(ledger, &[Record::Reconciled(word)]);
}

#[test]
fn it_is_in_the_row_whether_or_not_one_batch_has_all_of_the_request() {
    let (_folder, ledger) = fresh();
    let (_, records) = once("openai/gpt-5.6-terra", 90, Some(40));
    for record in &records {
        append(&ledger, std::slice::from_ref(record));
        sync(&ledger);
    }
    append(&ledger, &once("openai/gpt-5.6-terra", 80, Some(30)).1);
    append(&ledger, &once("openai/gpt-5.6-terra", 70, None).1);
    check_rows(&ledger, "SELECT count(*), sum(cost_nano), sum(would_cost_nano) FROM requests_v1", &["3|240|70"]);
    check_rows(&ledger, "SELECT count(*) FROM requests_v1 WHERE would_cost_nano IS NULL", &["1"]);
}

#[test]
fn reports_tell_the_moved_and_the_unpriced_apart_and_know_nobody_who_made_no_call() {
    let (_folder, ledger) = fresh();
    let terra = "openai/gpt-5.6-terra";
    for (would, cost, would_cost) in [(terra, 90, Some(40)), (LUNA, 7, Some(7)), (terra, 5, None)] {
        append(&ledger, &once(would, cost, would_cost).1);
    }
    // One that nobody watched, one that made no call.
    let id = attempt(RequestId::new(), 1);
    append(&ledger, &[intent(id), outcome(id, 1_000, Some(closing()))]);
    let decision = DecisionFacts { would_model: Some(terra), ..decision() };
    let closed = Closed { request: facts(RequestId::new()), closing: closing() };
    append(&ledger, &[Record::Refused(Box::new(closed), decision)]);
    sync(&ledger);
    let views = ledger.views().expect("the views open");
    let report =
        |by: &[By], span| Report::of(by, rollup::lines_watched(&views, by, span).expect("lines"), &TimeZone::UTC);
    let by = [By::Team, By::Model, By::WouldModel, By::Day];
    let told = report(&by, (AT_MS - 900_000, AT_MS + 900_000));
    let all = Watched { requests: 3, moved: 2, unpriced: 1, cost: 97, would_cost: 47, unpriced_cost: 5 };
    assert_eq!(told.total, all);
    let rows: Vec<(String, i64, i64)> =
        told.rows.iter().map(|(names, of)| (names.join("|"), of.requests, of.unpriced)).collect();
    let name = |would: &str| format!("data-platform|{LUNA}|{would}|2026-09-21");
    assert_eq!(rows, [(name(terra), 2, 1), (name(LUNA), 1, 0)]);
    assert_eq!(report(&[By::Task, By::WouldTier], (AT_MS, AT_MS + 1)).rows.len(), 1);
    assert_eq!(report(&[By::Team], (AT_MS + 1, AT_MS + 900_000)).total, Watched::default());
    let steps = rollup::watched_plan(&views);
    assert!(steps.iter().any(|step| step.contains("requests_watched")), "{steps:?}");
}

#[test]
fn an_export_moves_it_with_what_is_not_moved_and_forgets_it_with_other_tokens() {
    let known = |output| KnownTokens {
        input_tokens: Some(812),
        cached_input_tokens: Some(400),
        output_tokens: Some(output),
        ..KnownTokens::default()
    };
    for (would, tokens, expected) in [
        ("openai/gpt-5.6-terra", known(90), "95|40"),
        ("openai/gpt-5.6-terra", known(91), "95|-"),
        (LUNA, known(90), "95|95"),
        (LUNA, known(91), "95|95"),
    ] {
        let (_folder, ledger) = fresh();
        let would_cost = if would == LUNA { 90 } else { 40 };
        let (id, records) = once(would, 90, Some(would_cost));
        append(&ledger, &records);
        sync(&ledger);
        export(&ledger, id, 95, tokens);
        check_rows(&ledger, ROW, &[expected]);
    }
}

#[test]
fn an_attempt_that_gave_no_answer_costs_as_much_wherever_the_answer_would_have_come_from() {
    let (_folder, ledger) = fresh();
    let (first, records) = once("openai/gpt-5.6-terra", 90, Some(50));
    let last = attempt(first.request, 2);
    let (begun, ended) = (&records[0], outcome(first, 10, None));
    append(&ledger, &[begun.clone(), ended]);
    append(&ledger, &watched(last, "openai/gpt-5.6-terra", 90, Some(50)));
    check_rows(&ledger, ROW, &["100|50"]);
    export(&ledger, first, 13, KnownTokens::default());
    check_rows(&ledger, ROW, &["103|53"]);
}
