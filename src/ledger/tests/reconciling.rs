//! An export settles what was in doubt and contradicts nothing silently.

use super::*;
use crate::ledger::export::ExportRow;
use crate::ledger::reconcile::{Absent, Beyond, Coverage, Difference, Import, Part, Report, Span, TokenDifference};
use crate::ledger::record::{Comparison, KnownTokens, Pricing};
use crate::ledger::verify::verify;

/// When every attempt of these tests left.
const LEFT_MS: i64 = 1_790_000_000_001;

fn billed(id: AttemptId, cost: i64) -> ExportRow {
    let tokens = KnownTokens::default();
    ExportRow {
        line: 1,
        client_request_id: id.to_string(),
        model: None,
        tokens,
        cost: NanoUsd(cost),
        rounding: NanoUsd::ZERO,
    }
}

fn import(ledger: &Ledger, coverage: Coverage, rows: &[ExportRow]) -> Report {
    let import = Import { provider: "openai", export: "june.csv", at_ms: 99, coverage, beyond: Beyond::Refuse };
    ledger.reconcile(&import, rows).expect("it reconciles")
}

fn exactly(amount: i64) -> CostInterval {
    CostInterval::exactly(NanoUsd(amount))
}

fn part(rows: u64, amount: i64) -> Part {
    Part { rows, amount: NanoUsd(amount) }
}

const INTERRUPTED: CostInterval = CostInterval { low: NanoUsd::ZERO, exact: None, high: Some(BOUND) };

#[test]
fn an_export_settles_doubt_once_and_lists_contradictions() {
    let (folder, first) = fresh();
    let ids: Vec<AttemptId> = (0..4).map(|_| attempt(RequestId::new(), 1)).collect();
    append(&first, &ids.iter().map(|id| intent(*id)).collect::<Vec<_>>());
    append(&first, &[outcome(ids[0], 7, Some(closing())), outcome(ids[1], 8, Some(closing()))]);
    sync(&first);
    let copy = killed_copy(folder.path());
    let (ledger, recovered) = open(copy.path());
    assert_eq!(recovered.attempts_interrupted, 2);
    let mut foreign = billed(ids[0], 5);
    foreign.client_request_id = "chatcmpl-of-somebody-else".to_owned();
    let mut rows: Vec<ExportRow> =
        [7, 9, 600, 1_500].into_iter().zip(&ids).map(|(cost, id)| billed(*id, cost)).collect();
    rows.extend([foreign, billed(attempt(RequestId::new(), 1), 5)]);
    let report = import(&ledger, Coverage::Partial, &rows);
    let differs = |id: usize, ledger, amount| {
        let export = Some(NanoUsd(amount));
        vec![Difference { attempt: ids[id], ledger, export, tokens: Vec::new() }]
    };
    assert_eq!(
        report,
        Report {
            matched: part(4, 2_116),
            unchanged: part(1, 7),
            corrected: part(2, 2_100),
            unmatched: rows[4..].iter().map(|row| row.client_request_id.clone()).collect(),
            unmatched_cost: NanoUsd(10),
            differences: differs(1, exactly(8), 9),
            outside_interval: differs(3, INTERRUPTED, 1_500),
            span: Some(Span {
                from_ms: LEFT_MS,
                until_ms: LEFT_MS,
                ledger_before: NanoUsd(15),
                ledger_after: NanoUsd(2_115),
            }),
            doubt: CostInterval { exact: None, ..CostInterval::NOTHING },
            ..Report::default()
        }
    );
    check_rows(
        &ledger,
        "SELECT fate, source, cost_low_nano, cost_nano, cost_high_nano, overshoot_nano, export
         FROM attempts_v1 ORDER BY attempt_id",
        &[
            "completed|reported|7|7|7|-|-",
            "completed|reported|8|8|8|-|-",
            "interrupted|reported|600|600|600|-|june.csv",
            "interrupted|reported|1500|1500|1500|500|june.csv",
        ],
    );
    check_rows(&ledger, "SELECT sum(cost_nano) FROM requests_v1", &["2115"]);
    let again = import(&ledger, Coverage::Partial, &rows);
    assert_eq!((again.unchanged.rows, again.corrected.rows, again.differences.len()), (3, 0, 1));
}

#[test]
fn an_amount_in_cents_is_matched_to_its_own_rounding() {
    let (folder, first) = fresh();
    let ids: Vec<AttemptId> = (0..4).map(|_| attempt(RequestId::new(), 1)).collect();
    append(&first, &ids.iter().map(|id| intent(*id)).collect::<Vec<_>>());
    let Record::Outcome(ended) = outcome(ids[0], 0, Some(closing())) else { unreachable!("it is an outcome") };
    let cost = CostInterval { low: NanoUsd(0), exact: Some(NanoUsd(700)), high: Some(BOUND) };
    append(
        &first,
        &[Record::Outcome(Outcome { source: Source::Estimated, cost, tokenizer: Some("bytes/4"), ..ended })],
    );
    sync(&first);
    let copy = killed_copy(folder.path());
    let (ledger, _) = open(copy.path());
    // Each is rounded by up to 50; the bound is 1,000.
    let rounded = |id: AttemptId, cost| ExportRow { rounding: NanoUsd(50), ..billed(id, cost) };
    let rows = [rounded(ids[0], 740), rounded(ids[1], 1_040), rounded(ids[2], 400), rounded(ids[3], 1_100)];
    let report = import(&ledger, Coverage::Partial, &rows);
    check_rows(
        &ledger,
        "SELECT source, cost_nano, export FROM attempts_v1 ORDER BY attempt_id",
        &["reported|700|june.csv", "reported|1000|june.csv", "reported|400|june.csv", "reported|1100|june.csv"],
    );
    let outside: Vec<AttemptId> = report.outside_interval.iter().map(|found| found.attempt).collect();
    assert_eq!(outside, [ids[3]], "beyond its interval, however it was rounded");
    assert_eq!((report.rounding, report.corrected.rows), (NanoUsd(80), 4));
    let span = report.span.expect("a span");
    assert_eq!(span.ledger_after + report.rounding, report.matched.amount);
    assert_eq!(import(&ledger, Coverage::Partial, &rows).unchanged.rows, 4, "once is enough");
}

#[test]
fn another_providers_export_matches_nothing_and_settles_nothing() {
    let (_folder, ledger) = fresh();
    let id = attempt(RequestId::new(), 1);
    append(&ledger, &[intent(id), outcome(id, 7, Some(closing()))]);
    let import =
        Import { provider: "anthropic", export: "e", at_ms: 1, coverage: Coverage::Complete, beyond: Beyond::Refuse };
    let report = ledger.reconcile(&import, &[billed(id, 9)]).expect("it reconciles");
    assert_eq!((report.matched.rows, report.unmatched.len(), report.span), (0, 1, None));
    check_rows(&ledger, "SELECT cost_nano FROM attempts_v1", &["7"]);
}

#[test]
fn calls_of_a_time_whose_rows_are_forgotten_are_told_apart_from_those_that_never_passed() {
    use crate::ledger::compact::{Mirrored, compact};
    use jiff::{civil::date, tz::TimeZone};
    let (folder, ledger) = fresh();
    let at = |day| crate::report::midnight(day, &TimeZone::UTC) + 7_200_000;
    let old = stating::spend_at(&ledger, at(date(2026, 10, 9)), "ops", 5);
    stating::spend_at(&ledger, at(date(2026, 11, 9)), "ops", 7);
    sync(&ledger);
    let never = attempt(stating::request_at(at(date(2026, 11, 20))), 1);
    let rows = [billed(old, 5), billed(never, 9)];
    assert_eq!(import(&ledger, Coverage::Partial, &rows).forgotten, Part::default());
    drop(ledger);
    let path = folder.path().join("farthing.db");
    compact(&path, Some((date(2026, 11, 1), &TimeZone::UTC)), Mirrored::NotConfigured).expect("it compacts");
    let report = import(&open(folder.path()).0, Coverage::Partial, &rows);
    assert_eq!((report.unmatched.len(), report.forgotten), (2, part(1, 5)));
}

/// An attempt at each time, in this order: billed 7, reported 8, estimated 9, failed, unknown, billed 3; and one
/// more in doubt after the last that is billed.
fn a_day(ledger: &Ledger) -> Vec<AttemptId> {
    let ids: Vec<AttemptId> = (0..7).map(|_| attempt(RequestId::new(), 1)).collect();
    let ended = |id, fate, source, cost: CostInterval| {
        let Record::Outcome(outcome) = outcome(id, 0, Some(closing())) else { unreachable!("it is an outcome") };
        let tokenizer = (source == Source::Estimated).then_some("bytes/4");
        Record::Outcome(Outcome { fate, source, cost, tokenizer, ..outcome })
    };
    let guess = CostInterval { exact: Some(NanoUsd(9)), ..INTERRUPTED };
    let ends = [
        ended(ids[0], Fate::Completed, Source::Reported, exactly(7)),
        ended(ids[1], Fate::Completed, Source::Reported, exactly(8)),
        ended(ids[2], Fate::Completed, Source::Estimated, guess),
        ended(ids[3], Fate::Failed, Source::Estimated, CostInterval::NOTHING),
        ended(ids[4], Fate::Cut, Source::Unknown, INTERRUPTED),
        ended(ids[5], Fate::Completed, Source::Reported, exactly(3)),
        ended(ids[6], Fate::Cut, Source::Unknown, INTERRUPTED),
    ];
    for ((id, end), after) in ids.iter().zip(ends).zip(0..) {
        let Record::Intent(intent) = intent(*id) else { unreachable!("it is an intent") };
        append(ledger, &[Record::Intent(Intent { at_ms: LEFT_MS + after, ..intent }), end]);
    }
    ids
}

#[test]
fn what_the_ledger_holds_and_the_export_lacks_is_listed_within_its_span() {
    let (_folder, ledger) = fresh();
    let ids = a_day(&ledger);
    let report = import(&ledger, Coverage::Partial, &[billed(ids[5], 3), billed(ids[0], 7)]);
    let absent = |id: usize, ledger, in_doubt| Absent { attempt: ids[id], ledger, in_doubt };
    let guess = CostInterval { exact: Some(NanoUsd(9)), ..INTERRUPTED };
    assert_eq!(report.absent, [absent(1, exactly(8), false), absent(2, guess, true), absent(4, INTERRUPTED, true)]);
    let (ledger_before, ledger_after) = (NanoUsd(27), NanoUsd(27));
    assert_eq!(report.span, Some(Span { from_ms: LEFT_MS, until_ms: LEFT_MS + 5, ledger_before, ledger_after }));
    assert_eq!((report.settled_at_zero.len(), report.in_doubt, report.doubt.high), (0, 3, Some(NanoUsd(3_000))));
}

#[test]
fn what_a_complete_export_lacks_was_not_billed() {
    let (_folder, ledger) = fresh();
    let ids = a_day(&ledger);
    let rows = [billed(ids[0], 7), billed(ids[5], 3)];
    let report = import(&ledger, Coverage::Complete, &rows);
    let difference = Difference { attempt: ids[1], ledger: exactly(8), export: None, tokens: Vec::new() };
    assert_eq!((report.differences, report.absent), (vec![difference], vec![]));
    let settled: Vec<_> = report.settled_at_zero.iter().map(|absent| absent.attempt).collect();
    assert_eq!((settled, report.in_doubt), (vec![ids[2], ids[4]], 1));
    let costs = "SELECT fate, source, cost_nano, cost_high_nano, export FROM attempts_v1 ORDER BY attempt_id";
    let settled = [
        "completed|reported|7|7|-",
        "completed|reported|8|8|-",
        "completed|reported|0|0|june.csv",
        "failed|estimated|0|0|-",
        "cut|reported|0|0|june.csv",
        "completed|reported|3|3|-",
        "cut|unknown|-|1000|-",
    ];
    check_rows(&ledger, costs, &settled);
    let again = import(&ledger, Coverage::Complete, &rows);
    assert_eq!((again.settled_at_zero.len(), again.differences.len(), again.corrected.rows), (0, 1, 0));
    check_rows(&ledger, costs, &settled);
}

#[test]
fn a_late_line_of_the_bill_corrects_what_silence_had_settled() {
    let (_folder, ledger) = fresh();
    let ids = a_day(&ledger);
    let mut rows = vec![billed(ids[0], 7), billed(ids[5], 3)];
    import(&ledger, Coverage::Complete, &rows);
    rows.push(billed(ids[4], 40));
    let late = import(&ledger, Coverage::Complete, &rows);
    assert_eq!((late.corrected, late.differences.len()), (part(1, 40), 1));
    let again = import(&ledger, Coverage::Complete, &rows);
    assert_eq!((again.corrected, again.unchanged), (part(0, 0), part(3, 50)));
}

#[test]
fn a_later_export_corrects_what_an_earlier_one_said() {
    let (_folder, ledger) = fresh();
    let ids = a_day(&ledger);
    let row = format!("SELECT source, cost_nano, cost_high_nano FROM attempts_v1 WHERE attempt_id = '{}'", ids[4]);
    for (billed_at, corrected) in
        [(40, part(1, 40)), (50, part(1, 50)), (50, part(0, 0)), (0, part(1, 0)), (45, part(1, 45))]
    {
        let report = import(&ledger, Coverage::Partial, &[billed(ids[4], billed_at)]);
        assert_eq!((report.corrected, report.differences, report.outside_interval), (corrected, vec![], vec![]));
        check_rows(&ledger, &row, &[&format!("reported|{billed_at}|{billed_at}")]);
    }
    // The provider's own word in its answer is no export's.
    assert_eq!(import(&ledger, Coverage::Partial, &[billed(ids[0], 70)]).differences.len(), 1);
}

#[test]
fn a_call_that_failed_takes_what_an_export_bills_for_it() {
    let (_folder, ledger) = fresh();
    let ids = a_day(&ledger);
    let row =
        format!("SELECT fate, source, cost_nano, overshoot_nano FROM attempts_v1 WHERE attempt_id = '{}'", ids[3]);
    check_rows(&ledger, &row, &["failed|estimated|0|-"]);
    let report = import(&ledger, Coverage::Partial, &[billed(ids[3], 30)]);
    let told = Difference { attempt: ids[3], ledger: exactly(0), export: Some(NanoUsd(30)), tokens: vec![] };
    assert_eq!((report.corrected, report.outside_interval, report.in_doubt), (part(1, 30), vec![told], 3));
    check_rows(&ledger, &row, &["failed|reported|30|-"]);
}

#[test]
fn every_kind_of_token_that_the_export_gives_is_compared() {
    let (_folder, ledger) = fresh();
    let ids = a_day(&ledger);
    let same = KnownTokens { input_tokens: Some(812), output_tokens: Some(90), ..KnownTokens::default() };
    let check = |tokens: KnownTokens, expected: &[TokenDifference]| {
        let report = import(&ledger, Coverage::Partial, &[ExportRow { tokens, ..billed(ids[0], 7) }]);
        let found: Vec<_> = report.differences.into_iter().flat_map(|difference| difference.tokens).collect();
        assert_eq!((&found[..], report.unchanged.rows), (expected, u64::from(expected.is_empty())));
    };
    let differs = |kind, ledger, export, whole| TokenDifference { kind, ledger, export, whole };
    let (input, output) = (Some(("input_tokens", 812)), Some(("output_tokens", 90)));
    check(KnownTokens::default(), &[]);
    check(same, &[]);
    check(KnownTokens { cached_input_tokens: Some(400), reasoning_tokens: Some(0), ..same }, &[]);
    check(KnownTokens { cached_input_tokens: Some(0), ..same }, &[differs("cached_input_tokens", 400, 0, input)]);
    check(
        KnownTokens { output_tokens: Some(91), reasoning_tokens: Some(60), ..same },
        &[differs("output_tokens", 90, 91, None), differs("reasoning_tokens", 0, 60, output)],
    );
    check(
        KnownTokens { cache_write_tokens: Some(1), cache_write_1h_tokens: Some(2), ..same },
        &[differs("cache_write_tokens", 0, 1, input), differs("cache_write_1h_tokens", 0, 2, input)],
    );
}

#[test]
fn a_corrected_row_is_counted_here_only_if_the_export_has_no_tokens() {
    for (tokens, expected) in [
        (KnownTokens { input_tokens: Some(5), output_tokens: Some(6), ..KnownTokens::default() }, "reported|-|5|6"),
        (KnownTokens::default(), "reported|bytes/4|812|90"),
    ] {
        let (_folder, ledger) = fresh();
        let ids = a_day(&ledger);
        import(&ledger, Coverage::Partial, &[ExportRow { tokens, ..billed(ids[2], 11) }]);
        let row = format!(
            "SELECT source, tokenizer, input_tokens, output_tokens FROM attempts_v1
             WHERE attempt_id = '{}'",
            ids[2]
        );
        check_rows(&ledger, &row, &[expected]);
    }
}

/// How an answer is held against what it would have cost: at `model` for `baseline`, its first target saving `fallback`.
fn held<'a>(end: Record<'a>, model: &'a str, baseline: i64, fallback: i64, retry: Option<i64>) -> Record<'a> {
    let Record::Outcome(outcome) = end else { unreachable!("it is an outcome") };
    let comparison = Comparison {
        model: Some(model),
        baseline: Some(NanoUsd(baseline)),
        fallback: Some(NanoUsd(fallback)),
        retry: retry.map(NanoUsd),
        provider_cache: Some(NanoUsd(5)),
        ..Comparison::default()
    };
    Record::Compared(outcome, Pricing::default(), Box::new(comparison))
}

const LUNA: &str = "openai/gpt-5.6-luna";
const SOL: &str = "openai/gpt-5.6-sol";
const SAVED: &str =
    "SELECT cost_nano, baseline_nano, saved_nano, saved_route_nano, saved_fallback_nano, saved_retry_nano
    FROM requests_v1";

/// What is wrong with a ledger, and how its rows and its sums have it.
#[track_caller]
fn check_saved(folder: &Path, ledger: &Ledger, row: &str, sums: &str) {
    check_rows(ledger, SAVED, &[row]);
    let summed = "SELECT sum(compared), sum(baseline_nano), sum(saved_route_nano), sum(saved_fallback_nano),
        sum(saved_retry_nano) FROM rollup";
    check_rows(ledger, summed, &[sums]);
    let seen = verify(&folder.join("farthing.db"), &mut |_| {}).expect("it looks");
    assert_eq!(seen.findings, []);
}

#[test]
fn an_attempt_without_an_answer_that_is_billed_late_is_a_part_of_what_was_not_saved() {
    let (folder, ledger) = fresh();
    let id = RequestId::new();
    let Record::Outcome(gone) = outcome(attempt(id, 1), 0, None) else { unreachable!("it is an outcome") };
    let gone = Outcome { fate: Fate::Interrupted, source: Source::Unknown, cost: INTERRUPTED, usage: None, ..gone };
    let answer = held(outcome(attempt(id, 2), 70, Some(closing())), LUNA, 70, 0, None);
    append(&ledger, &[intent(attempt(id, 1)), Record::Outcome(gone), intent(attempt(id, 2)), answer]);
    check_saved(folder.path(), &ledger, "-|70|-|-|0|-", "0|0|0|0|0");
    import(&ledger, Coverage::Partial, &[billed(attempt(id, 1), 300)]);
    check_saved(folder.path(), &ledger, "370|70|-300|0|0|-300", "1|70|0|0|-300");
    import(&ledger, Coverage::Partial, &[billed(attempt(id, 1), 310)]);
    check_saved(folder.path(), &ledger, "380|70|-310|0|0|-310", "1|70|0|0|-310");
}

/// An estimated answer that is held against a model, and what an export makes of it.
#[track_caller]
fn check_settled(held_at: (&str, i64, i64), tokens: KnownTokens, cost: i64, (row, sums): (&str, &str)) {
    let (folder, ledger) = fresh();
    let id = attempt(RequestId::new(), 1);
    let Record::Outcome(guess) = outcome(id, 9, Some(closing())) else { unreachable!("it is an outcome") };
    let cost_of_it = CostInterval { exact: Some(NanoUsd(9)), ..INTERRUPTED };
    let guess = Outcome { source: Source::Estimated, cost: cost_of_it, tokenizer: Some("bytes/4"), ..guess };
    let (model, baseline, fallback) = held_at;
    append(&ledger, &[intent(id), held(Record::Outcome(guess), model, baseline, fallback, Some(0))]);
    import(&ledger, Coverage::Partial, &[ExportRow { tokens, ..billed(id, cost) }]);
    check_saved(folder.path(), &ledger, row, sums);
}

#[test]
fn what_an_export_corrects_of_an_answer_is_not_booked_as_saved_by_route() {
    let same = KnownTokens { input_tokens: Some(812), output_tokens: Some(90), ..KnownTokens::default() };
    let others = KnownTokens { output_tokens: Some(91), ..same };
    let nobody_knows = ("-|-|-|-|-", "0|0|0|0|0");
    let unknown = |cost: i64| format!("{cost}|{}", nobody_knows.0);
    // It was never routed: it would have cost what it did.
    check_settled((LUNA, 9, 0), others, 11, ("11|11|0|0|0|0", "1|11|0|0|0"));
    check_settled((LUNA, 9, 0), KnownTokens::default(), 11, ("11|11|0|0|0|0", "1|11|0|0|0"));
    // At the baseline the conversation would have had another prefix in the cache.
    check_settled((LUNA, 8, 0), others, 11, (&unknown(11), nobody_knows.1));
    // Routed: what the baseline would have cost for other tokens is not in the ledger.
    check_settled((SOL, 100, 0), others, 11, (&unknown(11), nobody_knows.1));
    check_settled((SOL, 100, 0), KnownTokens::default(), 11, (&unknown(11), nobody_knows.1));
    check_settled((SOL, 100, 0), same, 11, ("11|100|89|89|0|0", "1|100|89|0|0"));
    // A fallback answered.
    check_settled((SOL, 100, -4), same, 11, ("11|100|89|95|-6|0", "1|100|95|-6|0"));
    check_settled((LUNA, 9, -4), same, 11, ("11|11|0|6|-6|0", "1|11|6|-6|0"));
    check_settled((LUNA, 9, -4), others, 11, (&unknown(11), nobody_knows.1));
}

#[test]
fn an_amount_far_beyond_what_a_call_could_cost_is_refused_until_somebody_says_so() {
    let (folder, ledger) = fresh();
    let ids = a_day(&ledger);
    let cost_of = |at: usize| format!("SELECT cost_nano FROM attempts_v1 WHERE attempt_id = '{}'", ids[at]);
    let rows = [billed(ids[4], i64::MAX), billed(ids[2], 1_000_000_001)];
    let refused = import(&ledger, Coverage::Complete, &rows);
    let guess = CostInterval { exact: Some(NanoUsd(9)), ..INTERRUPTED };
    let of = |id, ledger, export| Difference { attempt: id, ledger, export: Some(NanoUsd(export)), tokens: vec![] };
    let far = [of(ids[4], INTERRUPTED, i64::MAX), of(ids[2], guess, 1_000_000_001)];
    assert_eq!((&refused.far_beyond[..], refused.corrected.rows, refused.in_doubt), (&far[..], 0, 3));
    check_rows(&ledger, &cost_of(4), &["-"]);
    // A dollar is not much, whatever a call could cost.
    let taken = import(&ledger, Coverage::Partial, &[billed(ids[4], 1_000_000_000)]);
    assert_eq!((taken.far_beyond.len(), taken.corrected.rows), (0, 1));
    let said = Import { provider: "openai", export: "x", at_ms: 1, coverage: Coverage::Partial, beyond: Beyond::Take };
    let taken = ledger.reconcile(&said, &[billed(ids[4], 5_000_000_000)]).expect("it reconciles");
    assert_eq!((taken.far_beyond.len(), taken.corrected.rows), (0, 1));
    check_rows(&ledger, &cost_of(4), &["5000000000"]);
    // Sums of such amounts could not be written down.
    let refused = ledger.reconcile(&said, &[billed(ids[4], i64::MAX)]).expect("it reconciles");
    assert_eq!((refused.far_beyond.len(), refused.corrected.rows), (1, 0));
    let seen = verify(&folder.path().join("farthing.db"), &mut |_| {}).expect("it looks");
    let told =
        format!("1 attempt costs far more than its call could, the first of them `{}`; was the export right?", ids[4]);
    assert!(seen.found == 0 && seen.notes.contains(&told), "{:?}", seen.notes);
}
