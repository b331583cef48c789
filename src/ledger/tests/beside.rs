//! What few requests have, and no sums are kept of, is in every report all the same.

use jiff::tz::TimeZone;

use super::stating::{request_at, spend_of};
use super::*;
use crate::ledger::rollup;
use crate::reply::usage::{Apart, Calls};
use crate::report::beside::Beside;
use crate::report::{By, Figures, Report};

/// 2026-11-28 00:00 UTC.
const DAY_MS: i64 = 1_795_824_000_000;

/// A request that ended with this status without an attempt.
fn ended(ledger: &Ledger, at_ms: i64, user: &str, (status, http_status): (&str, u16)) {
    let id = request_at(at_ms);
    let request = RequestFacts { at_ms, team: "ops", user: Some(user), ..facts(id) };
    let closing = Closing { status, http_status, ..closing() };
    append(ledger, &[Record::Refused(Box::new(Closed { request, closing }), decision())]);
}

/// A cent a search and nothing a page; what runs of code cost nobody knows.
fn fees(version: &str, calls: Calls, discount_ppm: u32) -> Option<NanoUsd> {
    assert!(version.is_empty() || version == "openai/gpt-5.6-luna@2026-11-01", "{version}");
    assert_eq!(discount_ppm, 0);
    let nano = i64::try_from(calls.web_search).ok()? * 10_000_000;
    (calls.code_interpreter == 0).then_some(NanoUsd(nano))
}

fn report(ledger: &Ledger, by: &[By]) -> Report {
    sync(ledger);
    let views = ledger.views().expect("the views open");
    let span = (DAY_MS, DAY_MS + 86_400_000);
    let mut lines = rollup::lines(&views, by, span.0, span.1, &TimeZone::UTC).expect("lines");
    lines.extend(rollup::lines_beside(&views, by, span, None, &fees).expect("lines"));
    Report::of(by, lines, &TimeZone::UTC)
}

fn told(report: &Report) -> Vec<(String, i64, Beside)> {
    report.rows.iter().map(|row| (row.names.join("|"), row.figures.requests, row.figures.beside)).collect()
}

fn ledger_with_sound_and_searches() -> (TempDir, Ledger) {
    let (folder, ledger) = fresh();
    spend_of(&ledger, DAY_MS + 1, ("ops", "ann"), 7);
    let heard = spend_of(&ledger, DAY_MS + 2, ("ops", "ann"), 7);
    let apart =
        Apart { audio_input_tokens: 400, cached_audio_input_tokens: Some(90), image_output_tokens: 3, ..Apart::NONE };
    append(&ledger, &[Record::Apart(heard, Apart { calls: Calls::of([2, 1, 0, 0]), ..apart })]);
    let ran = spend_of(&ledger, DAY_MS + 3, ("ops", "bob"), 7);
    append(&ledger, &[Record::Apart(ran, Apart { calls: Calls::of([1, 0, 4, 0]), ..Apart::NONE })]);
    (folder, ledger)
}

#[test]
fn sound_images_calls_of_tools_and_their_fees_are_in_reports_by_any_dimension() {
    let (_folder, ledger) = ledger_with_sound_and_searches();
    let ann = Beside { tokens: [400, 90, 0, 0, 3], calls: [2, 1, 0, 0], fees: 20_000_000, ..Beside::default() };
    let bob = Beside { calls: [1, 0, 4, 0], fees: 10_000_000, unpriced_calls: 4, ..Beside::default() };
    let mut all = Figures { beside: ann, ..Figures::default() };
    all.add(&Figures { beside: bob, ..Figures::default() });
    assert_eq!(told(&report(&ledger, &[By::User])), [("ann".to_owned(), 2, ann), ("bob".to_owned(), 1, bob)]);
    for by in [By::Team, By::Project, By::Pipeline, By::Key, By::Prompt, By::Model, By::Provider, By::Tier, By::Task]
        .into_iter()
        .chain([By::CacheLoss, By::Session, By::Day, By::Week, By::Month])
    {
        let report = report(&ledger, &[by]);
        let [row] = report.rows.as_slice() else { panic!("{by:?}: {:?}", report.rows) };
        assert_eq!(
            (row.figures.requests, row.figures.beside, report.total.beside),
            (3, all.beside, all.beside),
            "{by:?}"
        );
    }
}

#[test]
fn what_was_refused_is_told_from_what_was_answered_and_from_who_hung_up() {
    let (_folder, ledger) = fresh();
    spend_of(&ledger, DAY_MS + 1, ("ops", "ann"), 7);
    ended(&ledger, DAY_MS + 2, "ann", ("budget_exhausted", 429));
    ended(&ledger, DAY_MS + 3, "bob", ("overloaded", 503));
    for (status, http_status) in [("client_closed", 499), ("counted", 200), ("replayed", 200)] {
        ended(&ledger, DAY_MS + 4, "bob", (status, http_status));
    }
    // Its attempt left: it failed, and nobody refused it.
    let failed = attempt(request_at(DAY_MS + 5), 1);
    let (Record::Intent(intent), Record::Outcome(outcome)) =
        (intent(failed), outcome(failed, 0, Some(Closing { status: "provider_error", http_status: 502, ..closing() })))
    else {
        unreachable!("that is what they are")
    };
    let request =
        intent.request.map(|facts| RequestFacts { at_ms: DAY_MS + 5, team: "ops", user: Some("ann"), ..facts });
    append(&ledger, &[Record::Intent(Intent { request, ..intent }), Record::Outcome(outcome)]);
    let refused = |refused: i64| Beside { refused, ..Beside::default() };
    let by_user = [("ann".to_owned(), 3, refused(1)), ("bob".to_owned(), 4, refused(1))];
    assert_eq!(told(&report(&ledger, &[By::User])), by_user);
    let by_model = report(&ledger, &[By::Model]);
    let openai = ("openai/gpt-5.6-luna".to_owned(), 2, refused(0));
    assert_eq!(told(&by_model), [openai, (String::new(), 5, refused(2))], "no model was asked");
}

#[test]
fn programs_have_columns_of_it_and_people_where_there_is_any() {
    let (_folder, ledger) = ledger_with_sound_and_searches();
    let by_user = report(&ledger, &[By::User]);
    let json = by_user.json();
    let cells =
        ["audio_input_tokens", "image_output_tokens", "web_search_calls", "fees_nano", "unpriced_calls", "refused"];
    assert_eq!(cells.map(|name| json["rows"][0][name].as_i64()), [400, 3, 2, 20_000_000, 0, 0].map(Some));
    assert_eq!(cells.map(|name| json["total"][name].as_i64()), [400, 3, 3, 30_000_000, 4, 0].map(Some));
    let header = by_user.csv().lines().next().expect("a header").to_owned();
    assert!(header.ends_with(&format!("charged_nano,{}", Beside::NAMES.join(","))), "{header}");
    let table = by_user.table().to_string();
    assert!(["sound in", "images out", "tool calls", "fees, US$", "4 unknown"].iter().all(|cell| table.contains(cell)));
    assert!(!table.contains("refused") && !table.contains("sound out"), "{table}");
    ended(&ledger, DAY_MS + 9, "bob", ("budget_exhausted", 429));
    assert!(report(&ledger, &[By::User]).table().to_string().contains("refused"));
}

#[test]
fn only_rows_that_have_it_are_read() {
    let (_folder, ledger) = ledger_with_sound_and_searches();
    sync(&ledger);
    let views = ledger.views().expect("the views open");
    let steps = rollup::beside_plans(&views);
    for index in ["attempts_apart", "attempts_beyond", "attempts_guessed", "requests_failed"] {
        assert!(steps.iter().any(|step| step.contains(index)), "{steps:?}");
    }
}

#[test]
fn a_ledger_that_lacks_the_indices_gets_them_at_the_start() {
    let (folder, ledger) = ledger_with_sound_and_searches();
    ledger.close().expect("it closes");
    drop(ledger);
    let hand = Connection::open(folder.path().join("farthing.db")).expect("it opens");
    hand.execute_batch("DROP INDEX attempts_apart; DROP INDEX requests_failed").expect("they are there");
    let ledger = open(folder.path()).0;
    assert_eq!(told(&report(&ledger, &[By::Team]))[0].2.calls, [3, 1, 4, 0]);
    let named = "SELECT name FROM sqlite_schema WHERE name IN ('attempts_apart', 'requests_failed') ORDER BY 1";
    check_rows(&ledger, named, &["attempts_apart", "requests_failed"]);
}

#[test]
fn what_was_billed_beyond_bounds_is_in_reports_by_what_was_overshot() {
    let (_folder, ledger) = fresh();
    let beyond = |at_ms: i64, user: &str, output_tokens: u64, over: i64| {
        let id = attempt(request_at(at_ms), 1);
        let (Record::Intent(intent), Record::Outcome(outcome)) = (intent(id), outcome(id, 9, Some(closing()))) else {
            unreachable!("that is what they are")
        };
        let request = intent.request.map(|facts| RequestFacts { at_ms, team: "ops", user: Some(user), ..facts });
        let usage = Some(Usage { input_tokens: 5_000, output_tokens, ..Usage::default() });
        let overshoot = Some(NanoUsd(over)).filter(|over| over.0 > 0);
        append(
            &ledger,
            &[
                Record::Intent(Intent { request, at_ms, ..intent }),
                Record::Outcome(Outcome { at_ms, usage, overshoot, ..outcome }),
            ],
        );
    };
    // The output's limit is 500.
    beyond(DAY_MS + 1, "ann", 500, 3);
    beyond(DAY_MS + 2, "ann", 501, 4);
    beyond(DAY_MS + 3, "bob", 10, 0);
    let of = |report: Report| -> Vec<(String, [i64; 2])> {
        let row = |row: crate::report::Row| (row.names.join("|"), row.figures.beside.overshoot);
        report.rows.into_iter().map(row).collect()
    };
    assert_eq!(of(report(&ledger, &[By::Team])), [("ops".to_owned(), [3, 4])]);
    assert_eq!(of(report(&ledger, &[By::User])), [("ann".to_owned(), [3, 4]), ("bob".to_owned(), [0, 0])]);
    let told = report(&ledger, &[By::Team]);
    let (table, json) = (told.table().to_string(), told.json());
    assert!(table.contains("overshoot by input, US$") && table.contains("overshoot by output, US$"), "{table}");
    assert_eq!(
        (&json["total"]["overshoot_input_nano"], &json["total"]["overshoot_output_nano"]),
        (&3.into(), &4.into())
    );
}

#[test]
fn an_estimate_that_nothing_bounds_has_no_upper_end() {
    let (_folder, ledger) = fresh();
    let guess = |user, nano: i64, high| {
        let id = attempt(request_at(DAY_MS + 5), 1);
        let (Record::Intent(begin), Record::Outcome(end)) = (intent(id), outcome(id, nano, Some(closing()))) else {
            unreachable!("that is what they are")
        };
        let at_ms = DAY_MS + 5;
        let request = begin.request.map(|facts| RequestFacts { at_ms, team: "ops", user: Some(user), ..facts });
        let cost = CostInterval { low: NanoUsd::ZERO, exact: Some(NanoUsd(nano)), high };
        let end = Outcome { at_ms, source: Source::Estimated, tokenizer: Some("bytes/4"), cost, ..end };
        append(&ledger, &[Record::Intent(Intent { request, at_ms, ..begin }), Record::Outcome(end)]);
    };
    guess("ann", 70, None);
    guess("ann", 5, Some(NanoUsd(9)));
    guess("bob", 5, Some(NanoUsd(9)));
    let report = report(&ledger, &[By::User]);
    let most: Vec<_> = report.rows.iter().map(|row| (&*row.names[0], row.figures.estimated_most())).collect();
    assert_eq!(most, [("ann", None), ("bob", Some(9))]);
    assert_eq!(crate::report::write::estimated(&report.rows[0].figures), "0.000000075, at least 0, 1 unbounded");
    assert_eq!(report.json()["rows"][0]["estimated_high_nano"], serde_json::Value::Null);
}
