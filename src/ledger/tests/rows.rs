//! What the views show.

use super::*;
use crate::ledger::first_id_at;
use crate::ledger::record::{
    Amended, Broke, CacheLoss, Comparison, KnownTokens, Pricing, Reconciled, Sketch, SketchedTexts,
};

const COSTS: &str = "SELECT status, cost_low_nano, cost_nano, cost_high_nano, saved_nano FROM requests_v1";
const FATES: &str =
    "SELECT fate, source, cost_low_nano, cost_nano, cost_high_nano, bound_nano FROM attempts_v1 ORDER BY attempt_id";

#[test]
fn a_request_that_begins_and_ends_is_two_full_rows() {
    let (_folder, ledger) = fresh();
    let id = RequestId::new();
    append(&ledger, &[intent(attempt(id, 1)), outcome(attempt(id, 1), 77, Some(closing()))]);
    check_rows(
        &ledger,
        "SELECT at_ms, team, key, project, pipeline, user, run, prompt, task, tier, policy, surface, model, status,
            cost_low_nano, cost_nano, cost_high_nano, saved_nano, http_status, duration_ms, first_byte_ms, edits
         FROM requests_v1",
        &["1790000000000|data-platform|ops|warehouse|orders_daily|-|run-7|triage|log-parsing|lightweight|\
           orders_daily@3f2c|chat.completions|auto|ok|77|77|77|-|200|812|130|"],
    );
    check_rows(
        &ledger,
        "SELECT at_ms, provider, model, fate, input_tokens, cached_input_tokens, cache_write_tokens, output_tokens,
            reasoning_tokens, cost_low_nano, cost_nano, cost_high_nano, source, price_version, tokenizer,
            cache_write_1h_tokens, bound_nano, input_tokens_bound, output_tokens_bound, ended_ms, provider_status,
            provider_request_id, overshoot_nano, service_tier, discount_ppm
         FROM attempts_v1",
        &["1790000000001|openai|gpt-5.6-luna|completed|812|400|0|90|0|77|77|77|reported|\
           openai/gpt-5.6-luna@2026-11-01|-|0|1000|1000|500|1790000000900|200|req_123|-|flex|150000"],
    );
    check_rows(&ledger, "SELECT request_id FROM requests_v1", &[&id.to_string()]);
    check_rows(&ledger, "SELECT attempt_id FROM attempts_v1", &[&attempt(id, 1).to_string()]);
    check_rows(&ledger, "SELECT request_id FROM attempts_v1", &[&id.to_string()]);
}

const TOKENS: &str =
    "SELECT input_tokens, cached_input_tokens, cache_write_tokens, cache_write_1h_tokens, output_tokens,
    reasoning_tokens FROM attempts_v1";

/// A usage whose every figure is another one.
fn usage(from: u64) -> Usage {
    Usage {
        input_tokens: from,
        cached_input_tokens: from + 1,
        cache_write_tokens: from + 2,
        cache_write_1h_tokens: from + 3,
        output_tokens: from + 4,
        reasoning_tokens: from + 5,
        ..Usage::default()
    }
}

#[test]
fn every_kind_of_token_has_its_own_column() {
    let told = |id, usage| {
        let Record::Outcome(told) = outcome(attempt(id, 1), 9, Some(closing())) else { unreachable!() };
        Record::Outcome(Outcome { usage, ..told })
    };
    for apart in [false, true] {
        let (_folder, ledger) = fresh();
        let id = RequestId::new();
        append(&ledger, &[intent(attempt(id, 1))]);
        if apart {
            sync(&ledger);
        }
        append(&ledger, &[told(id, Some(usage(10)))]);
        check_rows(&ledger, TOKENS, &["10|11|12|13|14|15"]);
        let word = |tokens| Reconciled { attempt: attempt(id, 1), at_ms: 5, tokens, cost: NanoUsd(9), export: "e" };
        append(&ledger, &[Record::Reconciled(word(usage(70).into()))]);
        check_rows(&ledger, TOKENS, &["70|71|72|73|74|75"]);
        append(&ledger, &[Record::Reconciled(word(KnownTokens::default()))]);
        check_rows(&ledger, TOKENS, &["70|71|72|73|74|75"]);
    }
    let (_folder, ledger) = fresh();
    let id = RequestId::new();
    append(&ledger, &[intent(attempt(id, 1)), told(id, None)]);
    check_rows(&ledger, TOKENS, &["-|-|-|-|-|-"]);
}

#[test]
fn the_same_records_in_separate_batches_give_the_same_rows() {
    let (_folder, ledger) = fresh();
    let (whole, split) = (RequestId::new(), RequestId::new());
    let records = |id| {
        [
            intent(attempt(id, 1)),
            outcome(attempt(id, 1), 40, None),
            intent(attempt(id, 2)),
            outcome(attempt(id, 2), 2, Some(closing())),
        ]
    };
    append(&ledger, &records(whole));
    for record in records(split) {
        append(&ledger, &[record]);
        sync(&ledger);
    }
    sync(&ledger);
    let views = ledger.views().expect("the views open");
    let of = |id: RequestId, view: &str| {
        rows(&views, &format!("SELECT * FROM {view} WHERE request_id = '{id}'"))
            .into_iter()
            .map(|row| row.replace(&id.to_string(), "ID"))
            .collect::<Vec<_>>()
    };
    assert_eq!(of(whole, "requests_v1"), of(split, "requests_v1"));
    assert_eq!(of(whole, "attempts_v1"), of(split, "attempts_v1"));
    check_rows(&ledger, COSTS, &["ok|42|42|42|-", "ok|42|42|42|-"]);
}

#[test]
fn an_open_attempt_costs_between_nothing_and_its_bound() {
    let (_folder, ledger) = fresh();
    let id = RequestId::new();
    append(&ledger, &[intent(attempt(id, 1)), outcome(attempt(id, 1), 5, None), intent(attempt(id, 2))]);
    check_rows(&ledger, COSTS, &["open|5|-|1005|-"]);
    check_rows(&ledger, FATES, &["completed|reported|5|5|5|1000", "open|unknown|0|-|1000|1000"]);
    append(&ledger, &[outcome(attempt(id, 2), 6, Some(closing()))]);
    check_rows(&ledger, COSTS, &["ok|11|11|11|-"]);
}

#[test]
fn a_request_without_attempts_costs_nothing_and_one_given_up_keeps_its_attempts_cost() {
    let (_folder, ledger) = fresh();
    let (refused, given_up) = (RequestId::new(), RequestId::new());
    append(&ledger, &[closed(refused)]);
    append(&ledger, &[intent(attempt(given_up, 1)), outcome(attempt(given_up, 1), 9, None)]);
    check_rows(&ledger, COSTS, &["ok|0|0|0|-", "open|9|9|9|-"]);
    append(&ledger, &[closed(given_up)]);
    check_rows(&ledger, COSTS, &["ok|0|0|0|-", "ok|9|9|9|-"]);
}

#[test]
fn an_outcome_after_the_close_still_counts() {
    let (_folder, ledger) = fresh();
    let id = RequestId::new();
    append(&ledger, &[intent(attempt(id, 1)), intent(attempt(id, 2)), outcome(attempt(id, 1), 9, Some(closing()))]);
    check_rows(&ledger, COSTS, &["ok|9|-|1009|-"]);
    append(&ledger, &[outcome(attempt(id, 2), 3, None)]);
    check_rows(&ledger, COSTS, &["ok|12|12|12|-"]);
}

#[test]
fn an_outcome_whose_intent_was_lost_is_a_row_all_the_same() {
    let (_folder, ledger) = fresh();
    let id = RequestId::new();
    append(&ledger, &[outcome(attempt(id, 1), 9, Some(closing()))]);
    check_rows(&ledger, COSTS, &["ok|9|9|9|-"]);
    check_rows(&ledger, FATES, &["completed|reported|9|9|9|-"]);
}

#[test]
fn an_intent_told_twice_neither_stops_the_ledger_nor_doubles_the_row() {
    let (_folder, ledger) = fresh();
    let id = RequestId::new();
    append(&ledger, &[intent(attempt(id, 1))]);
    sync(&ledger);
    append(&ledger, &[intent(attempt(id, 1)), outcome(attempt(id, 1), 9, Some(closing()))]);
    check_rows(&ledger, COSTS, &["ok|9|9|9|-"]);
    check_rows(&ledger, FATES, &["completed|reported|9|9|9|1000"]);
}

#[test]
fn the_providers_word_replaces_an_estimate_and_shows_an_overshoot() {
    let (_folder, ledger) = fresh();
    let id = RequestId::new();
    append(&ledger, &[intent(attempt(id, 1)), outcome(attempt(id, 1), 9, Some(closing()))]);
    let usage = Usage { input_tokens: 5, output_tokens: 6, ..Usage::default() };
    let word =
        Reconciled { attempt: attempt(id, 1), at_ms: 5, tokens: usage.into(), cost: NanoUsd(1_200), export: "e" };
    append(&ledger, &[Record::Reconciled(word)]);
    check_rows(&ledger, COSTS, &["ok|1200|1200|1200|-"]);
    check_rows(
        &ledger,
        "SELECT fate, source, cost_nano, overshoot_nano, input_tokens, output_tokens, export FROM attempts_v1",
        &["completed|reported|1200|200|5|6|e"],
    );
}

#[test]
fn looking_up_by_either_id_uses_an_index() {
    let (_folder, ledger) = fresh();
    let views = ledger.views().expect("the views open");
    for query in [
        "SELECT * FROM requests_v1 WHERE request_id = 'x'",
        "SELECT * FROM requests_v1 WHERE request_id >= 'x'",
        "SELECT * FROM attempts_v1 WHERE attempt_id = 'x'",
        "SELECT * FROM attempts_v1 WHERE attempt_id GLOB 'x-*'",
    ] {
        let plan = rows(&views, &format!("EXPLAIN QUERY PLAN {query}")).join("\n");
        assert!(plan.contains("SEARCH") && !plan.contains("SCAN"), "{query}: {plan}");
    }
}

#[test]
fn a_range_of_time_is_a_range_of_ids() {
    let now = i64::try_from(std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_millis()).expect("before 9999");
    let id = RequestId::new().to_string();
    assert!(first_id_at(now) <= id && id < first_id_at(now + 60_000), "{id}");
    assert_eq!(first_id_at(-5), "00000000-0000");
}

#[test]
fn a_database_that_others_lock_is_caught_up_with_afterwards() {
    let (folder, ledger) = fresh();
    let other = Connection::open(folder.path().join("farthing.db")).expect("it opens");
    other.execute_batch("BEGIN IMMEDIATE").expect("it locks");
    append(&ledger, &[closed(RequestId::new())]);
    let behind = ledger.sync_views(Duration::from_millis(1_500)).expect_err("the tables are locked");
    assert!(matches!(behind, LedgerError::Behind { reason: Some(_), .. }), "{behind}");
    assert!(ledger.healthy() && ledger.failure().is_some() && ledger.lag() > Duration::from_secs(1));
    other.execute_batch("ROLLBACK").expect("it unlocks");
    check_rows(&ledger, "SELECT status FROM requests_v1", &["ok"]);
    assert_eq!((ledger.failure(), ledger.lag()), (None, Duration::ZERO));
}

#[test]
fn a_row_says_how_its_tier_was_decided() {
    let (_folder, ledger) = fresh();
    let (planned, refused, older) = (RequestId::new(), RequestId::new(), RequestId::new());
    let (Record::Intent(first), Record::Closed(end)) = (intent(attempt(planned, 1)), closed(refused)) else {
        unreachable!("that is what they are")
    };
    let watched = DecisionFacts {
        would_tier: Some("reasoning"),
        would_model: Some("openai/terra"),
        state: Some("{}"),
        ..decision()
    };
    append(&ledger, &[Record::Planned(first, watched), outcome(attempt(planned, 1), 7, Some(closing()))]);
    append(&ledger, &[Record::Refused(end, decision()), intent(attempt(older, 1))]);
    check_rows(
        &ledger,
        "SELECT status, reason, confidence_ppm, needs_strong_ppm, session, would_tier, would_model, state FROM requests_v1
         ORDER BY request_id",
        &[
            "ok|task|910000|80000|00000000000004d2|reasoning|openai/terra|{}",
            "ok|task|910000|80000|00000000000004d2|-|-|-",
            "open|-|-|-|-|-|-|-",
        ],
    );
}

#[test]
fn what_is_found_out_about_a_request_after_its_end_stands_in_its_row() {
    for (ended_before, known_before) in [(false, false), (true, false), (true, true)] {
        let (_folder, ledger) = fresh();
        let id = RequestId::new();
        let Record::Outcome(ended) = outcome(attempt(id, 1), 9, Some(closing())) else { unreachable!() };
        let lost = Some(CacheLoss { culprit: "system", cost: NanoUsd(4) });
        let compared = Some(Box::new(Comparison { lost, ..Comparison::default() }));
        let sketch = Sketch { exact: 7, ..Sketch::default() };
        append(&ledger, &[intent(attempt(id, 1))]);
        if known_before {
            sync(&ledger);
        }
        append(&ledger, &[Record::Sketched(ended, Pricing::default(), compared, Box::new(sketch))]);
        if ended_before {
            sync(&ledger);
        }
        let texts =
            SketchedTexts { masked: Some(1), masked_system: Some(2), masks: 3, read_bytes: 4, repeated_bytes: 5 };
        let broke = Some(Broke { culprit: "timestamp", at_tokens: Some(6) });
        append(&ledger, &[Record::Amended(Box::new(Amended { request: id, texts: Some(texts), broke }))]);
        let stranger = Amended { request: RequestId::new(), texts: Some(texts), broke: None };
        append(&ledger, &[Record::Amended(Box::new(stranger))]);
        check_rows(
            &ledger,
            "SELECT exact_hash, masked_hash, masked_system_hash, masks, read_bytes, repeated_bytes, cache_lost_to,
                cache_lost_at_tokens, cache_lost_nano, status, cost_nano FROM requests_v1",
            &["7|1|2|3|4|5|timestamp|6|4|ok|9"],
        );
        check_rows(&ledger, "SELECT sum(requests), sum(cost_nano), sum(cache_lost_nano) FROM rollup", &["1|9|4"]);
    }
}
