//! The sums beside the rows are those of the rows, whatever becomes of a request and in however many batches.

use jiff::civil::date;
use jiff::tz::TimeZone;

use super::stating::{request_at, spend_at, spend_of};
use super::*;
use crate::ledger::compact::{Mirrored, compact};
use crate::ledger::export::ExportRow;
use crate::ledger::reconcile::{Beyond, Coverage, Import};
use crate::ledger::record::{Cause, Comparison, KnownTokens, Pricing, Transfer};
use crate::ledger::rollup::named::TABLES;
use crate::ledger::rollup::{self, OF_SPAN, lines};
use crate::ledger::verify::verify;
use crate::report::{By, Figures, Report, midnight};

/// Of the sums that the rows give now, and of those that are kept, which would not be the same.
#[track_caller]
fn check_sums(ledger: &Ledger) {
    sync(ledger);
    let views = ledger.views().expect("the views open");
    let of_rows = rollup::FILL.strip_prefix("INSERT INTO rollup ").expect("it fills").trim_end_matches(';');
    let kept = rows(
        &views,
        "SELECT * FROM rollup WHERE requests <> 0 OR attempts <> 0 OR transfer_nano <> 0 ORDER BY 1, 2, 3, 4, 5, 6, 7, 8, 9",
    );
    assert_eq!(kept, rows(&views, &format!("{of_rows} ORDER BY 1, 2, 3, 4, 5, 6, 7, 8, 9")));
    let sums = Figures::NAMES.map(|name| format!("sum({name})")).join(", ");
    let by_day = |table: &str, least: &str| {
        let sql = "team, project, pipeline, key, tier, task, provider, model";
        let groups = format!("SELECT slot / 96 * 96, {sql}, {sums} FROM {table} GROUP BY 1, {sql}");
        rows(&views, &format!("{groups} HAVING {least} ORDER BY 1, {sql}"))
    };
    let least = "sum(requests) <> 0 OR sum(attempts) <> 0 OR sum(transfer_nano) <> 0";
    assert_eq!(by_day("rollup_day", least), by_day("rollup", least));
    for (table, column, _) in TABLES {
        let of_rows = format!(
            "SELECT slot / 96 * 96, team, {column}, {sums} FROM ({})
             WHERE slot < (SELECT until_slot FROM rollup_named) GROUP BY 1, 2, 3",
            OF_SPAN.replace("?1", "''").replace("?2", "'g'").replace("?3", "0").replace("?4", "1e18")
        );
        let kept = format!("SELECT * FROM {table} WHERE requests <> 0 OR attempts <> 0 OR transfer_nano <> 0");
        assert_eq!(
            rows(&views, &format!("{kept} ORDER BY 1, 2, 3")),
            rows(&views, &format!("{of_rows} ORDER BY 1, 2, 3"))
        );
    }
}

/// An id of a request that arrives when those of these tests do.
fn fitting() -> RequestId {
    request_at(facts(RequestId::new()).at_ms)
}

/// Counts users and prompts of all slots that begin before a moment.
fn fill(ledger: &Ledger, beyond_ms: i64) {
    sync(ledger);
    let mut connection = Connection::open(&ledger.path).expect("it opens");
    while rollup::fill_next(&mut connection, beyond_ms / 900_000).expect("it fills") {}
}

fn total(ledger: &Ledger, by: &[By]) -> Figures {
    sync(ledger);
    let mut total = Figures::default();
    let lines =
        lines(&ledger.views().expect("the views open"), by, 0, i64::MAX / 2 / 900_000 * 900_000, &TimeZone::UTC);
    lines.expect("lines").iter().for_each(|line| total.add(&line.figures));
    total
}

/// An answer whose request would have cost `baseline` without us, at which a retry and a fallback cost something.
fn compared<'a>(id: AttemptId, cost: i64, baseline: i64) -> Record<'a> {
    let Record::Outcome(outcome) = outcome(id, cost, Some(closing())) else { unreachable!("that is what it is") };
    let comparison = Comparison {
        model: Some("openai/gpt-5.6-sol"),
        baseline: Some(NanoUsd(baseline)),
        fallback: Some(NanoUsd(-20)),
        retry: Some(NanoUsd(-3)),
        provider_cache: Some(NanoUsd(5)),
        ..Comparison::default()
    };
    Record::Compared(outcome, Pricing::default(), Box::new(comparison))
}

#[test]
fn what_was_saved_adds_up_by_cause() {
    let (_folder, ledger) = fresh();
    let id = attempt(RequestId::new(), 1);
    append(&ledger, &[intent(id), compared(id, 70, 100)]);
    let sql = "SELECT baseline_model, baseline_nano, saved_nano, saved_route_nano, saved_fallback_nano,
        saved_retry_nano, saved_compress_nano, saved_cache_nano, provider_cache_nano FROM requests_v1";
    check_rows(&ledger, sql, &["openai/gpt-5.6-sol|100|30|53|-20|-3|0|0|5"]);
    let figures = total(&ledger, &[By::Team]);
    assert_eq!((figures.cost, figures.baseline, figures.saved(), figures.compared), (70, 100, 30, 1));
    assert_eq!((figures.saved_by, figures.provider_cache), ([53, -20, -3, 0, 0], 5));
}

#[test]
fn what_is_not_known_is_null_and_counts_for_nothing() {
    let (_folder, ledger) = fresh();
    let (id, open) = (attempt(RequestId::new(), 1), attempt(RequestId::new(), 1));
    append(&ledger, &[intent(id), outcome(id, 70, Some(closing())), intent(open), closed(RequestId::new())]);
    check_rows(&ledger, "SELECT DISTINCT baseline_nano, saved_nano, saved_route_nano FROM requests_v1", &["-|-|-"]);
    let figures = total(&ledger, &[By::Team]);
    // The open one is not there yet; the refused one had no attempt.
    assert_eq!((figures.requests, figures.attempts, figures.compared, figures.saved()), (2, 1, 0, 0));
    check_sums(&ledger);
}

#[test]
fn a_clock_that_is_set_ahead_and_back_parts_no_report_from_another() {
    let (_folder, ledger) = fresh();
    let (noon, hour) = (midnight(date(2026, 11, 27), &TimeZone::UTC) + 43_200_000, 3_600_000);
    for (later, nano) in [(0, 1), (24 * hour, 2), (1, 4), (2, 8), (24 * hour + 1, 16), (3, 32)] {
        spend_of(&ledger, noon + later, ("ops", "ann"), nano);
    }
    fill(&ledger, noon + 48 * hour);
    let views = ledger.views().expect("the views open");
    for by in [By::Team, By::User, By::Session, By::Prompt] {
        let of_day = |from: i64| {
            let lines = lines(&views, &[by], from, from + 24 * hour, &TimeZone::UTC).expect("lines");
            Report::of(&[by], lines, &TimeZone::UTC).total.cost
        };
        let day = noon - 12 * hour;
        assert_eq!((of_day(day), of_day(day + 24 * hour)), (45, 18), "{by:?}");
    }
}

/// An answer of so much, whose tokens were counted here, at a discount of 15 %.
fn guessed<'a>(id: AttemptId, low: i64, cost: i64, high: i64) -> Record<'a> {
    let Record::Outcome(outcome) = outcome(id, cost, Some(closing())) else { unreachable!("that is what it is") };
    let cost = CostInterval { low: NanoUsd(low), exact: Some(NanoUsd(cost)), high: Some(NanoUsd(high)) };
    Record::Outcome(Outcome { source: Source::Estimated, cost, ..outcome })
}

#[test]
fn estimates_are_told_apart_with_their_bounds_and_what_discounts_took_off() {
    let (_folder, ledger) = fresh();
    let ids: Vec<AttemptId> = (0..2).map(|_| attempt(fitting(), 1)).collect();
    append(&ledger, &[intent(ids[0]), guessed(ids[0], 50, 85, 900)]);
    // In a batch of its own, and so by SQL.
    append(&ledger, &[intent(ids[1])]);
    sync(&ledger);
    append(&ledger, &[guessed(ids[1], 1, 170, 1_000)]);
    check_sums(&ledger);
    let told = |figures: &Figures| {
        let Figures { cost, estimated, estimated_low, estimated_high, discount, .. } = *figures;
        [cost, estimated, estimated_low, estimated_high, discount, figures.list()]
    };
    for by in [By::Team, By::Session, By::User] {
        assert_eq!(told(&total(&ledger, &[by])), [255, 255, 51, 1_900, 45, 300], "{by:?}");
    }
    // Sums that an earlier version kept have none of it, until an upgrade brings it to them.
    let connection = Connection::open(&ledger.path).expect("it opens");
    for table in ["rollup", "rollup_day"] {
        let none = "estimated_nano = 0, estimated_low_nano = 0, estimated_high_nano = 0, discount_nano = 0";
        connection.execute(&format!("UPDATE {table} SET {none}"), []).expect("it changes");
    }
    rollup::complete(&connection).expect("it completes");
    check_sums(&ledger);
    let billed = ExportRow {
        line: 1,
        client_request_id: ids[0].to_string(),
        model: None,
        tokens: KnownTokens::default(),
        cost: NanoUsd(68),
        rounding: NanoUsd::ZERO,
    };
    let (coverage, beyond) = (Coverage::Partial, Beyond::Refuse);
    let import = Import { provider: "openai", export: "june.csv", at_ms: 99, coverage, beyond };
    ledger.reconcile(&import, &[billed]).expect("it reconciles");
    check_sums(&ledger);
    assert_eq!(told(&total(&ledger, &[By::Team])), [238, 170, 1, 1_000, 42, 280], "what is settled is no estimate");
}

#[test]
fn what_is_said_of_a_request_stands_at_its_tenth_attempt_where_that_is_the_last() {
    for is_one_batch in [true, false] {
        let (_folder, ledger) = fresh();
        let id = fitting();
        for ordinal in 1..=10 {
            let Record::Intent(begin) = intent(attempt(id, ordinal)) else { unreachable!("that is what it is") };
            let model = if ordinal == 10 { "gpt-5.6-sol" } else { "gpt-5.6-luna" };
            append(&ledger, &[Record::Intent(Intent { model, ..begin })]);
            if !is_one_batch {
                sync(&ledger);
            }
            let end = attempt(id, ordinal);
            append(&ledger, &[if ordinal == 10 { compared(end, 70, 100) } else { outcome(end, 3, None) }]);
        }
        check_sums(&ledger);
        let sums = "SELECT model, sum(requests), sum(attempts), sum(baseline_nano) FROM rollup GROUP BY 1 ORDER BY 1";
        check_rows(&ledger, sums, &["gpt-5.6-luna|0|9|0", "gpt-5.6-sol|1|1|100"]);
    }
}

#[test]
fn what_is_said_of_a_request_stands_at_the_attempt_that_answered_though_another_began_after_it() {
    for is_one_batch in [true, false] {
        let (folder, ledger) = fresh();
        let id = fitting();
        let begin = |ordinal, model| {
            let Record::Intent(begin) = intent(attempt(id, ordinal)) else { unreachable!("that is what it is") };
            Record::Intent(Intent { model, ..begin })
        };
        let Record::Outcome(lost) = outcome(attempt(id, 2), 3, None) else { unreachable!("that is what it is") };
        let lost = Record::Outcome(Outcome { fate: Fate::Cut, ..lost });
        for record in [begin(1, "gpt-5.6-sol"), begin(2, "gpt-5.6-luna"), lost, compared(attempt(id, 1), 70, 100)] {
            append(&ledger, &[record]);
            if !is_one_batch {
                sync(&ledger);
            }
        }
        check_sums(&ledger);
        let sums = "SELECT model, sum(requests), sum(attempts), sum(baseline_nano) FROM rollup GROUP BY 1 ORDER BY 1";
        check_rows(&ledger, sums, &["gpt-5.6-luna|0|1|0", "gpt-5.6-sol|1|1|100"]);
        let seen = verify(&folder.path().join("farthing.db"), &mut |_| {}).expect("it reads");
        assert!(seen.findings.is_empty(), "{:?}", seen.findings);
    }
}

#[test]
fn sums_follow_a_request_through_batches_corrections_and_a_crash() {
    let (folder, first) = fresh();
    let ids: Vec<AttemptId> = (0..6).map(|_| attempt(fitting(), 1)).collect();
    let again = |id: AttemptId| attempt(id.request, 2);
    append(&first, &ids.iter().map(|id| intent(*id)).collect::<Vec<_>>());
    check_sums(&first);
    // What ends from here on is in a slot whose users and prompts have been counted already.
    append(&first, &[closed(fitting())]);
    fill(&first, i64::MAX);
    append(&first, &[compared(ids[0], 7, 9), outcome(ids[1], 8, None), intent(again(ids[1]))]);
    check_sums(&first);
    append(&first, &[compared(again(ids[1]), 1, 90), outcome(ids[2], 4, Some(closing()))]);
    check_sums(&first);
    let copy = killed_copy(folder.path());
    let (ledger, recovered) = open(copy.path());
    assert_eq!(recovered.attempts_interrupted, 3);
    check_sums(&ledger);
    let figures = total(&ledger, &[By::Model]);
    assert_eq!((figures.requests, figures.uncertain, figures.uncertain_high), (7, 3, 3 * BOUND.0));
    let billed = |id: AttemptId, cost| ExportRow {
        line: 1,
        client_request_id: id.to_string(),
        model: None,
        tokens: KnownTokens { output_tokens: Some(5), ..KnownTokens::default() },
        cost: NanoUsd(cost),
        rounding: NanoUsd::ZERO,
    };
    let import = Import {
        provider: "openai",
        export: "june.csv",
        at_ms: 99,
        coverage: Coverage::Partial,
        beyond: Beyond::Refuse,
    };
    ledger.reconcile(&import, &[billed(ids[0], 70), billed(ids[4], 11), billed(ids[5], 12)]).expect("it reconciles");
    check_sums(&ledger);
    let figures = total(&ledger, &[By::Model]);
    assert_eq!((figures.uncertain, figures.cost), (1, 7 + 8 + 1 + 4 + 11 + 12));
}

#[test]
fn rows_and_sums_give_the_same_lines_for_whatever_both_know() {
    let (_folder, ledger) = fresh();
    for cost in 1..9 {
        let id = attempt(fitting(), 1);
        append(&ledger, &[intent(id), compared(id, cost, 50)]);
    }
    let by_rows = total(&ledger, &[By::Team, By::Prompt]);
    assert_eq!(by_rows, total(&ledger, &[By::Team, By::Day]));
    assert_eq!(by_rows.cost, 36);
}

#[test]
fn a_span_of_any_zone_has_the_same_sums_by_days_and_slots_as_by_rows() {
    let (folder, ledger) = fresh();
    let first = midnight(date(2026, 10, 23), &TimeZone::UTC);
    for (place, hours) in [0, 1, 5, 22, 23, 24, 25, 46, 47, 48, 71, 72, 95, 96, 119].into_iter().enumerate() {
        spend_at(&ledger, first + hours * 3_600_000, ["ops", "data"][place % 2], 1 << place);
    }
    check_sums(&ledger);
    let check = |ledger: &Ledger, times: &[By]| {
        let views = ledger.views().expect("the views open");
        for (zone, from, days) in [("UTC", 23, 5), ("Europe/Berlin", 24, 3), ("Asia/Kathmandu", 23, 1), ("UTC", 25, 0)]
        {
            let zone = TimeZone::get(zone).expect("a zone");
            let [since, until] = [from, from + days].map(|day| midnight(date(2026, 10, day), &zone));
            let report = |more: &[By]| {
                let by = [times, &[By::Team], more].concat();
                let lines = lines(&views, &by, since, until, &zone).expect("lines");
                let report = Report::of(&by, lines, &zone);
                report.rows.iter().map(|row| (row.names[..=times.len()].to_vec(), row.figures.cost)).collect::<Vec<_>>()
            };
            assert_eq!(report(&[]), report(&[By::Prompt]), "{times:?} {zone:?} {from} {days}");
        }
    };
    for times in [&[][..], &[By::Day], &[By::Week], &[By::Month], &[By::Month, By::Day]] {
        check(&ledger, times);
    }
    drop(ledger);
    // Drawn together to the month of another zone, the whole is what it was.
    let zone = TimeZone::get("Europe/Berlin").expect("a zone");
    compact(&folder.path().join("farthing.db"), Some((date(2026, 11, 1), &zone)), Mirrored::NotConfigured)
        .expect("it compacts");
    let (ledger, _) = open(folder.path());
    assert_eq!(total(&ledger, &[By::Team]).cost, (1 << 15) - 1);
}

#[test]
fn users_and_prompts_have_the_same_lines_however_much_of_them_is_counted() {
    let (_folder, ledger) = fresh();
    let first = midnight(date(2026, 10, 23), &TimeZone::UTC);
    for (place, hours) in [0, 1, 22, 23, 24, 46, 47, 48, 71, 95].into_iter().enumerate() {
        let (team, user) = (["ops", "data"][place % 2], ["ann", "bob", ""][place % 3]);
        spend_of(&ledger, first + hours * 3_600_000, (team, user), 1 << place);
    }
    let told = |by: &[By], zone: &TimeZone, days: (i8, i8)| {
        let [since, until] = [days.0, days.1].map(|day| midnight(date(2026, 10, day), zone));
        let views = ledger.views().expect("the views open");
        Report::of(by, lines(&views, by, since, until, zone).expect("lines"), zone)
    };
    let spans = [("UTC", (23, 27)), ("UTC", (24, 26)), ("Europe/Berlin", (23, 27)), ("Asia/Kathmandu", (24, 26))];
    let dimensions: [&[By]; 5] = [
        &[By::User],
        &[By::Team, By::User],
        &[By::Prompt, By::Day],
        &[By::Month, By::User, By::Team],
        &[By::CacheLoss],
    ];
    let all = || -> Vec<Report> {
        let zone = |name| TimeZone::get(name).expect("a zone");
        spans.iter().flat_map(|(name, days)| dimensions.map(|by| told(by, &zone(name), *days))).collect()
    };
    sync(&ledger);
    let of_rows = all();
    assert_eq!(of_rows[0].total.cost, (1 << 10) - 1);
    for hours in [0, 1, 23, 30, 48, 200] {
        fill(&ledger, first + hours * 3_600_000);
        check_sums(&ledger);
        assert_eq!(all(), of_rows, "{hours}");
    }
    // The rows are no longer asked.
    let hand = Connection::open(&ledger.path).expect("it opens");
    hand.execute_batch("DELETE FROM attempts; DELETE FROM requests;").expect("they go");
    assert_eq!(told(&[By::Team, By::User], &TimeZone::UTC, (23, 27)), of_rows[1]);
}

#[test]
fn what_farthing_causes_is_a_cost_and_no_request_of_an_agent() {
    let (_folder, ledger) = fresh();
    let (id, about) = (attempt(fitting(), 1), fitting());
    let Record::Intent(caused) = intent(id) else { unreachable!("that is what it is") };
    let cause = Cause { purpose: "shadow", request: Some(about) };
    append(&ledger, &[Record::Caused(caused, decision(), cause)]);
    check_sums(&ledger);
    append(&ledger, &[compared(id, 70, 100)]);
    let whole = attempt(fitting(), 1);
    let Record::Intent(caused) = intent(whole) else { unreachable!("that is what it is") };
    append(&ledger, &[Record::Caused(caused, decision(), cause), compared(whole, 7, 9)]);
    check_sums(&ledger);
    let figures = total(&ledger, &[By::Team]);
    assert_eq!((figures.requests, figures.attempts, figures.compared, figures.saved()), (0, 2, 0, 0));
    assert_eq!((figures.cost, figures.overhead, figures.net_saved()), (77, 77, -77));
    assert_eq!(total(&ledger, &[By::User, By::Tier]), figures);
    let told = format!("shadow|{about}");
    check_rows(&ledger, "SELECT purpose, caused_by FROM requests_v1", &[&told, &told]);
}

#[test]
fn what_a_hit_is_charged_at_is_credited_to_another_team() {
    let (_folder, ledger) = fresh();
    let served = |id: RequestId| {
        let hit =
            Comparison { baseline: Some(NanoUsd(100)), fallback: Some(NanoUsd(0)), cache: NanoUsd(60), ..found() };
        let transfer = Some(Transfer { amount: NanoUsd(12), to: "platform" });
        let closed = Box::new(Closed { request: facts(id), closing: closing() });
        Record::Served(closed, decision(), Box::new(hit), transfer)
    };
    append(&ledger, &[served(fitting())]);
    fill(&ledger, i64::MAX);
    append(&ledger, &[served(fitting())]);
    check_sums(&ledger);
    // A call that failed came before, in another batch.
    let later = attempt(fitting(), 1);
    append(&ledger, &[intent(later), outcome(later, 0, None)]);
    sync(&ledger);
    append(&ledger, &[served(later.request)]);
    check_sums(&ledger);
    let views = ledger.views().expect("the views open");
    for by in [&[By::Team][..], &[By::Team, By::User], &[By::Team, By::Key, By::User]] {
        let lines = lines(&views, by, 0, 1 << 42, &TimeZone::UTC).expect("lines");
        let report = Report::of(by, lines, &TimeZone::UTC);
        let found: Vec<_> = report
            .rows
            .iter()
            .map(|row| (row.names[0].as_str(), row.figures.requests, row.figures.charged()))
            .collect();
        assert_eq!(found, [("data-platform", 3, 36), ("platform", 0, -36)], "{by:?}");
        assert_eq!((report.total.charged(), report.total.saved_by), (0, [120, 0, 0, 0, 180]));
    }
    check_rows(&ledger, "SELECT DISTINCT transfer_nano, transfer_to FROM requests_v1", &["12|platform"]);
}

fn found<'a>() -> Comparison<'a> {
    Comparison { retry: Some(NanoUsd(0)), ..Comparison::default() }
}

#[test]
fn a_request_of_one_batch_counts_for_what_its_rows_say() {
    let (_folder, ledger) = fresh();
    let of = |id: AttemptId, usage: Usage, exact: Option<i64>, high: Option<i64>, closes: bool| {
        let Record::Outcome(outcome) = outcome(id, 0, closes.then(closing)) else { unreachable!("that is what it is") };
        let cost =
            CostInterval { low: NanoUsd(exact.unwrap_or(2)), exact: exact.map(NanoUsd), high: high.map(NanoUsd) };
        Record::Outcome(Outcome { usage: Some(usage), cost, ..outcome })
    };
    let usage = |tokens| Usage {
        input_tokens: tokens,
        cached_input_tokens: 1,
        cache_write_tokens: 2,
        cache_write_1h_tokens: 3,
        output_tokens: 5,
        reasoning_tokens: 4,
        ..Usage::default()
    };
    let many = RequestId::new();
    let mut records = Vec::new();
    for ordinal in 1..=11 {
        let id = attempt(many, ordinal);
        records.extend([intent(id), of(id, usage(u64::from(ordinal)), Some(7), Some(7), ordinal == 11)]);
    }
    let [bounded, unbounded, saved] = [(); 3].map(|()| attempt(RequestId::new(), 1));
    records.extend([intent(bounded), of(bounded, Usage::default(), None, Some(9), true)]);
    records.extend([intent(unbounded), of(unbounded, Usage::default(), None, None, true)]);
    records.extend([intent(saved), compared(saved, 70, 100), closed(RequestId::new())]);
    append(&ledger, &records);
    check_sums(&ledger);
    let figures = total(&ledger, &[By::Model]);
    assert_eq!((figures.requests, figures.attempts, figures.uncertain, figures.unbounded), (5, 14, 2, 1));
    // Told a second time, it counts once.
    append(&ledger, &[intent(saved), compared(saved, 70, 100)]);
    check_sums(&ledger);
    assert_eq!(total(&ledger, &[By::Model]), figures);
}

#[test]
fn sums_beyond_an_integer_stop_at_the_last_one_and_the_ledger_goes_on() {
    let (_folder, ledger) = fresh();
    for cost in [i64::MAX, i64::MAX, 1] {
        let id = attempt(RequestId::new(), 1);
        append(&ledger, &[intent(id), outcome(id, cost, Some(closing()))]);
        sync(&ledger);
    }
    assert_eq!(total(&ledger, &[By::Team]).cost, i64::MAX);
    check_rows(&ledger, "SELECT count(*) FROM requests_v1 WHERE status = 'ok'", &["3"]);
}

#[test]
fn what_was_priced_at_a_service_tier_of_its_own_is_told_apart() {
    let (_folder, ledger) = fresh();
    for (tier, cost) in [("standard", 1), ("flex", 20), ("flex", 300), ("batch", 4_000)] {
        let id = attempt(fitting(), 1);
        let Record::Outcome(ended) = outcome(id, cost, Some(closing())) else { unreachable!("it is an outcome") };
        append(&ledger, &[intent(id), Record::Priced(ended, Pricing { tier: Some(tier), unknown: None })]);
    }
    sync(&ledger);
    let views = ledger.views().expect("the views open");
    let at_ms = facts(RequestId::new()).at_ms;
    let by = [By::Day, By::Team, By::Model];
    let found = rollup::lines_by_service_tier(&views, &by, at_ms - 900_000, at_ms + 900_000).expect("it reads");
    let told: Vec<(&str, i64, i64)> = found
        .iter()
        .map(|(tier, lines)| {
            let report = Report::of(&by, lines.clone(), &TimeZone::UTC);
            (tier.as_str(), report.total.cost, report.total.requests)
        })
        .collect();
    assert_eq!(told, [("batch", 4_000, 1), ("flex", 320, 2)]);
    let none = rollup::lines_by_service_tier(&views, &by, at_ms + 900_000, at_ms + 1_800_000).expect("it reads");
    assert!(none.iter().all(|(_, lines)| lines.is_empty()), "{none:?}");
}
