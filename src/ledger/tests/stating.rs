//! Statements: closed once, corrected by the next one; re-rating and forgetting change none.

use jiff::civil::{Date, date};
use jiff::tz::TimeZone;

use super::*;
use crate::cost::{Book, Rows};
use crate::ledger::audit::acts;
use crate::ledger::compact::{Mirrored, compact};
use crate::ledger::record::{Comparison, Pricing};
use crate::ledger::rerate::{Left, Rerating};
use crate::ledger::rollup::lines;
use crate::ledger::statements::{Books, Month, Statement, StatementError, adjusted, list, show};
use crate::reply::usage::{Apart, Calls};
use crate::report::{By, Figures, midnight};

fn month(first: Date) -> Month {
    Month { first, zone: TimeZone::UTC, zone_name: "UTC".to_owned() }
}

const OCTOBER: Date = date(2026, 10, 1);
const NOVEMBER: Date = date(2026, 11, 1);
const DECEMBER: Date = date(2026, 12, 1);

/// An answer of that day which cost `nano`: 1,000 tokens in and 10 out.
fn spend(ledger: &Ledger, day: Date, team: &str, nano: i64) -> AttemptId {
    spend_at(ledger, midnight(day, &TimeZone::UTC) + 7_200_000, team, nano)
}

pub(super) fn spend_at(ledger: &Ledger, at_ms: i64, team: &str, nano: i64) -> AttemptId {
    spend_of(ledger, at_ms, (team, ""), nano)
}

/// The id of a request that arrives then.
pub(super) fn request_at(at_ms: i64) -> RequestId {
    RequestId::at(std::time::UNIX_EPOCH + Duration::from_millis(at_ms.unsigned_abs()))
}

/// The same of a user; empty: none is named.
pub(in crate::ledger) fn spend_of(ledger: &Ledger, at_ms: i64, (team, user): (&str, &str), nano: i64) -> AttemptId {
    let id = attempt(request_at(at_ms), 1);
    let (Record::Intent(intent), Record::Outcome(outcome)) = (intent(id), outcome(id, nano, Some(closing()))) else {
        unreachable!("that is what they are")
    };
    let usage = Some(Usage { input_tokens: 1_000, output_tokens: 10, ..Usage::default() });
    let request = intent.request.map(|facts| RequestFacts {
        at_ms,
        team,
        user: Some(user).filter(|user| !user.is_empty()),
        ..facts
    });
    let pricing = Pricing { tier: Some("standard"), unknown: None };
    append(
        ledger,
        &[
            Record::Intent(Intent { request, at_ms, ..intent }),
            Record::Priced(Outcome { at_ms, usage, discount_ppm: 0, ..outcome }, pricing),
        ],
    );
    id
}

fn books(folder: &Path) -> Books {
    Books::open(&folder.join("farthing.db"), "cli:ops").expect("the books open")
}

fn rerating(days: (Date, Date), rows: &Rows) -> Rerating<'_> {
    static UTC: TimeZone = TimeZone::UTC;
    Rerating { days, zone: &UTC, file: "p.yaml", sha256: "5e1f", rows, in_force: Book::builtin() }
}

fn close(folder: &Path, first: Date) -> Vec<Statement> {
    books(folder).close(&month(first), None, midnight(DECEMBER, &TimeZone::UTC)).expect("it closes")
}

fn told(statement: &Statement) -> Vec<(String, String, i64)> {
    statement.lines.iter().map(|line| (line.kind.clone(), line.month.clone(), line.figures.cost)).collect()
}

fn line(kind: &str, month: &str, cost: i64) -> (String, String, i64) {
    (kind.to_owned(), month.to_owned(), cost)
}

#[test]
fn a_month_is_closed_once_and_no_hand_changes_it() {
    let (folder, ledger) = fresh();
    spend(&ledger, OCTOBER, "ops", 5);
    spend(&ledger, date(2026, 10, 31), "data", 7);
    spend(&ledger, NOVEMBER, "data", 11);
    sync(&ledger);
    let closed = close(folder.path(), OCTOBER);
    assert_eq!(closed.iter().map(|s| (s.team.as_str(), s.total().cost)).collect::<Vec<_>>(), [("data", 7), ("ops", 5)]);
    assert_eq!(close(folder.path(), OCTOBER), []);
    let views = ledger.views().expect("the views open");
    assert_eq!(show(&views, "ops", "2026-10").expect("it reads").as_ref(), closed.get(1));
    assert_eq!(show(&views, "ops", "2026-11").expect("it reads"), None);
    assert_eq!(list(&views).expect("it reads").len(), 2);
    let hand = Connection::open(folder.path().join("farthing.db")).expect("it opens");
    for sql in [
        "UPDATE statements SET team = 'x'",
        "DELETE FROM statements",
        "UPDATE statement_lines SET cost_nano = 0",
        "DELETE FROM statement_lines",
        "INSERT INTO statement_lines SELECT statement_id, 99, kind, month, project, provider, model, note, 1, 1, 1, 1, 1, 1,
         1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1 FROM statement_lines",
    ] {
        let refused = hand.execute_batch(sql).expect_err(sql).to_string();
        assert!(refused.contains("a closed statement never changes"), "{sql}: {refused}");
    }
}

#[test]
fn a_month_that_is_not_over_stays_open() {
    let (folder, ledger) = fresh();
    spend(&ledger, NOVEMBER, "ops", 5);
    sync(&ledger);
    let now = midnight(DECEMBER, &TimeZone::UTC) - 1;
    let refused = books(folder.path()).close(&month(NOVEMBER), None, now).expect_err("it goes on");
    assert!(matches!(refused, StatementError::NotOver { .. }), "{refused}");
}

#[test]
fn what_changes_later_is_a_line_of_the_next_statement_and_once_only() {
    let (folder, ledger) = fresh();
    let id = spend(&ledger, OCTOBER, "ops", 5);
    sync(&ledger);
    close(folder.path(), OCTOBER);
    append(
        &ledger,
        &[Record::Reconciled(crate::ledger::record::Reconciled {
            attempt: id,
            at_ms: 9,
            tokens: crate::ledger::record::KnownTokens::default(),
            cost: NanoUsd(9),
            export: "late.csv",
        })],
    );
    spend(&ledger, OCTOBER, "ops", 100);
    spend(&ledger, NOVEMBER, "ops", 1);
    sync(&ledger);
    let next = close(folder.path(), NOVEMBER);
    assert_eq!(told(&next[0]), [line("usage", "2026-11", 1), line("correction", "2026-10", 104)]);
    assert_eq!(next[0].lines[1].figures.requests, 1);
    let december = month(DECEMBER);
    let last = books(folder.path()).close(&december, None, december.span().1).expect("it closes");
    assert_eq!(last.iter().map(told).collect::<Vec<_>>(), [vec![]]);
}

#[test]
fn re_rating_books_the_difference_once_and_changes_no_row() {
    let (folder, ledger) = fresh();
    spend(&ledger, OCTOBER, "ops", 5);
    spend(&ledger, NOVEMBER, "ops", 212_000);
    sync(&ledger);
    close(folder.path(), OCTOBER);
    let rerate = |input: &str, models: &str| {
        let text = format!("- {{ model: openai/{models}, usd_per_million: {{ input: {input}, output: 1.2 }} }}");
        let rows = Book::parse("p.yaml", &text).expect("prices");
        let rerating = rerating((OCTOBER, date(2026, 11, 30)), &rows);
        let done = books(folder.path()).rerate(&rerating, 1).expect("it rates");
        assert_eq!(done.left, Left::default());
        (done.attempts, done.booked, done.difference)
    };
    // 1,000 tokens at 0.20 a million and 10 at 1.20: 212 micro-dollars each.
    assert_eq!(rerate("0.2", "gpt-5.6-luna"), (2, 1, 211_995));
    assert_eq!(rerate("0.2", "gpt-5.6-luna"), (2, 0, 0));
    assert_eq!(rerate("0.3", "gpt-5.6-luna"), (2, 2, 200_000));
    assert_eq!(rerate("0.3", "another"), (0, 0, 0));
    check_rows(&ledger, "SELECT cost_nano FROM attempts_v1 ORDER BY attempt_id", &["5", "212000"]);
    let next = close(folder.path(), NOVEMBER);
    let expected =
        [line("usage", "2026-11", 212_000), line("rerate", "2026-10", 311_995), line("rerate", "2026-11", 100_000)];
    assert_eq!(told(&next[0]), expected);
    assert_eq!(next[0].lines[1].note.as_deref(), Some("re-rated by p.yaml"));
    let hand = Connection::open(folder.path().join("farthing.db")).expect("it opens");
    rerate("0.4", "gpt-5.6-luna");
    for sql in [
        "UPDATE adjustments SET cost_nano = 0",
        "UPDATE adjustments SET statement_id = NULL",
        "UPDATE adjustments SET project = 'x' WHERE statement_id IS NULL",
        "UPDATE adjustments SET provider = 'x' WHERE statement_id IS NULL",
        "UPDATE adjustments SET model = 'x' WHERE statement_id IS NULL",
        "UPDATE adjustments SET note = 'x' WHERE statement_id IS NULL",
        "UPDATE adjustments SET booked_ms = 2 WHERE statement_id IS NULL",
        "UPDATE adjustments SET saved_route_nano = 2 WHERE statement_id IS NULL",
        "UPDATE OR REPLACE adjustments SET rowid = 1 WHERE statement_id IS NULL",
        "INSERT OR REPLACE INTO adjustments SELECT * FROM adjustments",
    ] {
        let refused = hand.execute(sql, []).expect_err(sql).to_string();
        assert!(refused.contains("what is booked never changes"), "{sql}: {refused}");
    }
}

#[test]
fn re_rating_prices_sound_and_calls_of_tools_apart_from_text() {
    let (folder, ledger) = fresh();
    let silent = spend(&ledger, NOVEMBER, "ops", 3_200_000);
    let heard = spend(&ledger, NOVEMBER, "ops", 3_200_000);
    let apart = Apart {
        audio_input_tokens: 400,
        cached_audio_input_tokens: Some(0),
        image_output_tokens: 3,
        calls: Calls::of([2, 0, 0, 0]),
        ..Apart::NONE
    };
    append(&ledger, &[Record::Apart(heard, apart)]);
    sync(&ledger);
    let columns =
        "audio_input_tokens, cached_audio_input_tokens, audio_output_tokens, image_output_tokens, web_search_calls";
    for (attempt, told) in [(silent, "-|-|-|-|-"), (heard, "400|0|-|3|2")] {
        check_rows(&ledger, &format!("SELECT {columns} FROM attempts_v1 WHERE attempt_id = '{attempt}'"), &[told]);
    }
    let rerate = |rates: &str| {
        let text = format!("- {{ model: openai/gpt-5.6-luna, usd_per_million: {{ input: 1, output: 10{rates}");
        let rows = Book::parse("p.yaml", &text).expect("prices");
        let done = books(folder.path()).rerate(&rerating((NOVEMBER, date(2026, 11, 30)), &rows), 1).expect("it rates");
        (done.attempts, done.difference)
    };
    // Of the first 1,000 × 1 + 10 × 10 micro-dollars; the other has 600 × 1 + 400 × 30 + 7 × 10 + 3 × 40 and two calls of 0.001.
    assert_eq!(rerate(" } }"), (1, 1_100_000 - 3_200_000), "what no row prices is left alone");
    let known = ", audio_input: 30, image_output: 40 }, fees: { web_search: 0.001 } }";
    assert_eq!(rerate(known), (2, 12_790_000 + 2_000_000 - 3_200_000));
}

#[test]
fn a_report_of_a_closed_month_is_what_statements_say_of_it_to_the_nano_dollar() {
    let (folder, ledger) = fresh();
    spend(&ledger, OCTOBER, "ops", 5);
    let late = spend(&ledger, date(2026, 10, 9), "data", 1_000_003);
    spend(&ledger, date(2026, 10, 31), "ops", 212_001);
    sync(&ledger);
    close(folder.path(), OCTOBER);
    append(
        &ledger,
        &[Record::Reconciled(crate::ledger::record::Reconciled {
            attempt: late,
            at_ms: 9,
            tokens: crate::ledger::record::KnownTokens::default(),
            cost: NanoUsd(1_000_777),
            export: "late.csv",
        })],
    );
    sync(&ledger);
    let text = "- { model: openai/gpt-5.6-luna, usd_per_million: { input: 0.3, output: 1.2 } }";
    let rows = Book::parse("p.yaml", text).expect("prices");
    let days = (OCTOBER, date(2026, 10, 31));
    let rerating = rerating(days, &rows);
    books(folder.path()).rerate(&rerating, 1).expect("it rates");
    spend(&ledger, NOVEMBER, "ops", 7);
    sync(&ledger);
    close(folder.path(), NOVEMBER);
    let views = ledger.views().expect("the views open");
    let by = [By::Team, By::Project, By::Model, By::Month];
    let (since, until) = (midnight(OCTOBER, &TimeZone::UTC), midnight(NOVEMBER, &TimeZone::UTC));
    let mut told = lines(&views, &by, since, until, &TimeZone::UTC).expect("lines");
    told.extend(adjusted(&views, &by, days, &TimeZone::UTC).expect("lines"));
    let report = crate::report::Report::of(&by, told, &TimeZone::UTC);
    assert_eq!((report.total.adjusted, report.rows.len()), (411_994, 2));
    let stated = "SELECT s.team, l.project, l.provider || '/' || l.model, l.month, sum(l.cost_nano + l.transfer_nano)
        FROM statement_lines l JOIN statements s USING (statement_id) WHERE l.month = '2026-10' GROUP BY 1, 2, 3, 4";
    let mut of_report: Vec<String> =
        report.rows.iter().map(|row| format!("{}|{}", row.names.join("|"), row.figures.charged())).collect();
    of_report.sort();
    assert_eq!(super::rows(&views, stated), of_report);
    // Of what re-rating knows nothing of it says so under no name.
    let by_key = adjusted(&views, &[By::Key], days, &TimeZone::UTC).expect("lines");
    assert!(by_key.iter().all(|line| line.names == [""]), "{by_key:?}");
}

#[test]
fn forgotten_rows_leave_months_and_statements_as_they_were() {
    let (folder, ledger) = fresh();
    for day in 1..29 {
        spend(&ledger, date(2026, 10, day), if day % 2 == 0 { "ops" } else { "data" }, i64::from(day));
    }
    spend(&ledger, NOVEMBER, "ops", 1_000);
    sync(&ledger);
    let closed = close(folder.path(), OCTOBER);
    let by_month = |ledger: &Ledger| {
        let views = ledger.views().expect("the views open");
        let lines = lines(&views, &[By::Team, By::Month], 0, midnight(DECEMBER, &TimeZone::UTC), &TimeZone::UTC)
            .expect("lines");
        crate::report::Report::of(&[By::Team, By::Month], lines, &TimeZone::UTC)
    };
    let before = by_month(&ledger);
    drop(ledger);
    let done = compact(&folder.path().join("farthing.db"), Some((NOVEMBER, &TimeZone::UTC)), Mirrored::NotConfigured)
        .expect("it compacts");
    assert_eq!((done.forgotten.requests, done.forgotten.attempts, done.forgotten.months), (28, 28, 1));
    let (ledger, _) = open(folder.path());
    assert_eq!(by_month(&ledger), before);
    check_rows(&ledger, "SELECT count(*) FROM requests_v1", &["1"]);
    let views = ledger.views().expect("the views open");
    for statement in closed {
        assert_eq!(show(&views, &statement.team, "2026-10").expect("it reads"), Some(statement));
    }
    // Nothing seems to have changed for it.
    let next = close(folder.path(), NOVEMBER);
    assert_eq!(next.iter().map(told).collect::<Vec<_>>(), [vec![], vec![line("usage", "2026-11", 1_000)]]);
    assert_eq!(
        next.iter()
            .fold(Figures::default(), |mut sum, s| {
                sum.add(&s.total());
                sum
            })
            .cost,
        1_000
    );
}

#[test]
fn forgetting_in_another_zone_leaves_statements_as_they_were_closed() {
    let (folder, ledger) = fresh();
    for day in 1..29 {
        spend(&ledger, date(2026, 10, day), "ops", i64::from(day));
    }
    // The first month of one zone, and November of the other.
    spend_at(&ledger, midnight(NOVEMBER, &TimeZone::UTC) - 1_000, "ops", 77);
    spend_at(&ledger, midnight(OCTOBER, &TimeZone::UTC) - 1_000, "ops", 99);
    spend(&ledger, NOVEMBER, "ops", 1_000);
    sync(&ledger);
    close(folder.path(), OCTOBER);
    drop(ledger);
    let path = folder.path().join("farthing.db");
    let berlin = TimeZone::get("Europe/Berlin").expect("a zone");
    let done = compact(&path, Some((DECEMBER, &berlin)), Mirrored::NotConfigured).expect("it compacts");
    assert_eq!((done.forgotten.requests, done.forgotten.months), (31, 2));
    let next = close(folder.path(), NOVEMBER);
    assert_eq!(told(&next[0]), [line("usage", "2026-11", 1_000)]);
    let (ledger, _) = open(folder.path());
    check_rows(&ledger, "SELECT sum(cost_nano) FROM rollup_day", &["1582"]);
}

/// An answer of `model` on the second of October, held against `baseline` for so much: 1,000 tokens in and 10 out.
fn routed(ledger: &Ledger, model: &'static str, held: (&str, i64), (fallback, retry): (i64, i64), cost: i64) {
    let id = attempt(spend_request(), 1);
    let first = if fallback == 0 { model } else { "gpt-5.6-luna" };
    let of = |ordinal: u16, model: &'static str, cost: i64, closes| {
        let id = AttemptId { ordinal, ..id };
        let (Record::Intent(begin), Record::Outcome(end)) = (intent(id), outcome(id, cost, closes)) else {
            unreachable!("that is what they are")
        };
        let at_ms = midnight(OCTOBER, &TimeZone::UTC);
        let request = begin.request.map(|facts| RequestFacts { at_ms, team: "ops", ..facts });
        let usage = Some(Usage { input_tokens: 1_000, output_tokens: 10, ..Usage::default() });
        let version = if model == "gpt-5.6-sol" { "openai/gpt-5.6-sol@x" } else { "openai/gpt-5.6-luna@x" };
        let begin = Intent { request, at_ms, model, price_version: Some(version), ..begin };
        (Record::Intent(begin), Outcome { at_ms, usage, discount_ppm: 0, price_version: Some(version), ..end })
    };
    let pricing = Pricing { tier: Some("standard"), unknown: None };
    let mut last = 1;
    if fallback != 0 || retry != 0 {
        let (begin, end) = of(1, first, -retry, None);
        append(ledger, &[begin, Record::Priced(end, pricing)]);
        last = 2;
    }
    let (begin, end) = of(last, model, cost, Some(closing()));
    let comparison = Comparison {
        model: Some(held.0),
        baseline: Some(NanoUsd(held.1)),
        fallback: Some(NanoUsd(fallback)),
        retry: Some(NanoUsd(retry)),
        ..Comparison::default()
    };
    append(ledger, &[begin, Record::Compared(end, pricing, Box::new(comparison))]);
}

fn spend_request() -> RequestId {
    request_at(midnight(OCTOBER, &TimeZone::UTC))
}

/// What re-rating by `prices` adds to cost, baseline and what was saved by route, fallback and retry, a model each; doing it
/// again adds nothing.
#[track_caller]
fn check_rerated(ledger: &Ledger, folder: &Path, prices: &str, expected: &[&str]) {
    sync(ledger);
    let rows = Book::parse("p.yaml", prices).expect("prices");
    let days = (OCTOBER, date(2026, 10, 31));
    books(folder).rerate(&rerating(days, &rows), 1).expect("it rates");
    let sums = "SELECT model, sum(cost_nano), sum(baseline_nano), sum(saved_route_nano), sum(saved_fallback_nano),
        sum(saved_retry_nano) FROM adjustments GROUP BY 1 HAVING sum(abs(cost_nano) + abs(baseline_nano)
        + abs(saved_fallback_nano)) <> 0 ORDER BY 1";
    check_rows(ledger, sums, expected);
    assert_eq!(books(folder).rerate(&rerating(days, &rows), 2).expect("it rates").booked, 0);
}

/// Luna at 0.20 and 1.20 dollars a million costs 212,000 for those tokens, sol at 4 and 20 costs 4,200,000.
const LUNA_COSTS: i64 = 212_000;
const SOL_COSTS: i64 = 4_200_000;
const LUNA_DEARER: &str = "- { model: openai/gpt-5.6-luna, usd_per_million: { input: 2, output: 12 } }";
const SOL_CHEAPER: &str =
    "- { model: openai/gpt-5.6-sol, usd_per_million: { input: 2, cached_input: 0.2, output: 10 } }";

#[test]
fn re_rating_says_what_becomes_of_savings() {
    // Luna costs ten times as much: what routing saved is less by that.
    let (folder, ledger) = fresh();
    routed(&ledger, "gpt-5.6-luna", ("openai/gpt-5.6-sol", SOL_COSTS), (0, 0), LUNA_COSTS);
    check_rerated(&ledger, folder.path(), LUNA_DEARER, &["gpt-5.6-luna|1908000|0|-1908000|0|0"]);
    // Sol costs half: so does what the answer is held against. Each file adds its own.
    let both = ["gpt-5.6-luna|1908000|0|-1908000|0|0", "gpt-5.6-sol|0|-2100000|-2100000|0|0"];
    check_rerated(&ledger, folder.path(), SOL_CHEAPER, &both);
    let closed = close(folder.path(), OCTOBER);
    let total = closed[0].total();
    assert_eq!((total.cost, total.baseline), (2_120_000, 2_100_000));
    assert_eq!((total.saved(), total.saved_by), (-20_000, [-20_000, 0, 0, 0, 0]));
    let views = ledger.views().expect("the views open");
    let adjusted = adjusted(&views, &[By::Team], (OCTOBER, OCTOBER), &TimeZone::UTC).expect("lines");
    assert_eq!(adjusted.iter().map(|line| line.figures.saved()).sum::<i64>(), -1_908_000 - 2_100_000);
}

#[test]
fn re_rating_one_vendors_model_leaves_what_was_booked_of_anothers_of_the_same_name() {
    let (folder, ledger) = fresh();
    for vendor in ["openai", "azure"] {
        let id = attempt(spend_request(), 1);
        let (Record::Intent(begin), Record::Outcome(end)) = (intent(id), outcome(id, LUNA_COSTS, Some(closing())))
        else {
            unreachable!("that is what they are")
        };
        let at_ms = midnight(OCTOBER, &TimeZone::UTC);
        let request = begin.request.map(|facts| RequestFacts { at_ms, team: "ops", ..facts });
        let version = Some(if vendor == "azure" { "azure/gpt-5.6-luna@x" } else { "openai/gpt-5.6-luna@x" });
        let usage = Some(Usage { input_tokens: 1_000, output_tokens: 10, ..Usage::default() });
        let begin = Intent { request, at_ms, provider: vendor, price_version: version, ..begin };
        let end = Outcome { at_ms, usage, discount_ppm: 0, price_version: version, ..end };
        let pricing = Pricing { tier: Some("standard"), unknown: None };
        append(&ledger, &[Record::Intent(begin), Record::Priced(end, pricing)]);
    }
    let azure = LUNA_DEARER.replace("openai/", "azure/");
    check_rerated(&ledger, folder.path(), LUNA_DEARER, &["gpt-5.6-luna|1908000|0|0|0|0"]);
    check_rerated(&ledger, folder.path(), &azure, &["gpt-5.6-luna|3816000|0|0|0|0"]);
    check_rerated(&ledger, folder.path(), LUNA_DEARER, &["gpt-5.6-luna|3816000|0|0|0|0"]);
}

#[test]
fn re_rating_leaves_what_was_booked_of_rows_that_are_forgotten() {
    let (folder, ledger) = fresh();
    spend(&ledger, OCTOBER, "ops", LUNA_COSTS);
    check_rerated(&ledger, folder.path(), LUNA_DEARER, &["gpt-5.6-luna|1908000|0|0|0|0"]);
    drop(ledger);
    let path = folder.path().join("farthing.db");
    compact(&path, Some((NOVEMBER, &TimeZone::UTC)), Mirrored::NotConfigured).expect("it compacts");
    let (ledger, _) = open(folder.path());
    check_rerated(&ledger, folder.path(), LUNA_DEARER, &["gpt-5.6-luna|1908000|0|0|0|0"]);
}

#[test]
fn re_rating_leaves_to_exports_what_they_settled_and_what_they_may_settle() {
    let (folder, ledger) = fresh();
    let settled = spend(&ledger, OCTOBER, "ops", LUNA_COSTS);
    let word = crate::ledger::record::Reconciled {
        attempt: settled,
        at_ms: 9,
        tokens: crate::ledger::record::KnownTokens::default(),
        cost: NanoUsd(LUNA_COSTS + 1),
        export: "october.csv",
    };
    append(&ledger, &[Record::Reconciled(word)]);
    check_rerated(&ledger, folder.path(), LUNA_DEARER, &[]);
    // One whose provider said nothing: an export that comes later counts alone.
    let id = attempt(spend_request(), 1);
    let (Record::Intent(begin), Record::Outcome(end)) = (intent(id), outcome(id, LUNA_COSTS, Some(closing()))) else {
        unreachable!("that is what they are")
    };
    let at_ms = midnight(OCTOBER, &TimeZone::UTC);
    let request = begin.request.map(|facts| RequestFacts { at_ms, team: "ops", ..facts });
    let usage = Some(Usage { input_tokens: 1_000, output_tokens: 10, ..Usage::default() });
    let (source, pricing) = (Source::Estimated, Pricing { tier: Some("standard"), unknown: None });
    let end = Outcome { at_ms, usage, source, discount_ppm: 0, ..end };
    append(&ledger, &[Record::Intent(Intent { request, at_ms, ..begin }), Record::Priced(end, pricing)]);
    check_rerated(&ledger, folder.path(), LUNA_DEARER, &[]);
    let rows = Book::parse("p.yaml", LUNA_DEARER).expect("prices");
    let days = rerating((OCTOBER, date(2026, 10, 31)), &rows);
    let left = |folder: &Path| books(folder).rerate(&days, 1).expect("it rates").left;
    assert_eq!(left(folder.path()), Left { settled: 1, estimated: 1, unknown: 0 });
    append(&ledger, &[Record::Reconciled(crate::ledger::record::Reconciled { attempt: id, cost: NanoUsd(9), ..word })]);
    sync(&ledger);
    assert_eq!(close(folder.path(), OCTOBER)[0].total().cost, LUNA_COSTS + 1 + 9);
}

#[test]
fn re_rating_an_answer_that_was_not_routed_saves_nothing() {
    let (folder, ledger) = fresh();
    routed(&ledger, "gpt-5.6-luna", ("openai/gpt-5.6-luna", LUNA_COSTS), (0, -LUNA_COSTS), LUNA_COSTS);
    // Twice as dear: the answer would have been so, the attempt before it was for nothing.
    check_rerated(&ledger, folder.path(), LUNA_DEARER, &["gpt-5.6-luna|3816000|1908000|0|0|-1908000"]);
}

#[test]
fn re_rating_keeps_to_the_tokens_that_the_baseline_would_have_read_from_its_cache() {
    let (folder, ledger) = fresh();
    let id = spend_request();
    // 2,000 tokens in, of which sol would have had 1,024 in its cache: 976 at 4, 1,024 at 0.40, 10 at 20.
    let held = 976 * 4_000 + 1_024 * 400 + 10 * 20_000;
    let comparison = Comparison {
        model: Some("openai/gpt-5.6-sol"),
        baseline: Some(NanoUsd(held)),
        fallback: Some(NanoUsd(0)),
        retry: Some(NanoUsd(0)),
        ..Comparison::default()
    };
    let at_ms = midnight(OCTOBER, &TimeZone::UTC);
    let (Record::Intent(begin), Record::Outcome(end)) =
        (intent(attempt(id, 1)), outcome(attempt(id, 1), 412_000, Some(closing())))
    else {
        unreachable!("that is what they are")
    };
    let request = begin.request.map(|facts| RequestFacts { at_ms, team: "ops", ..facts });
    let usage = Some(Usage { input_tokens: 2_000, output_tokens: 10, ..Usage::default() });
    let pricing = Pricing { tier: Some("standard"), unknown: None };
    let version = Some("openai/gpt-5.6-luna@x");
    let end = Outcome { at_ms, usage, discount_ppm: 0, price_version: version, ..end };
    append(
        &ledger,
        &[Record::Intent(Intent { request, at_ms, ..begin }), Record::Compared(end, pricing, Box::new(comparison))],
    );
    let half = -held / 2;
    check_rerated(&ledger, folder.path(), SOL_CHEAPER, &[&format!("gpt-5.6-sol|0|{half}|{half}|0|0")]);
}

#[test]
fn re_rating_tells_a_dearer_first_target_from_the_one_that_answered() {
    let (folder, ledger) = fresh();
    let held = ("openai/gpt-5.6-sol", SOL_COSTS);
    routed(&ledger, "gpt-5.6-sol", held, (LUNA_COSTS - SOL_COSTS, 0), SOL_COSTS);
    // The first target would have cost 1,908,000 more; falling back lost so much less, and routing would have won so much less.
    let luna = "gpt-5.6-luna|2120000|0|-1908000|1908000|-2120000";
    check_rerated(&ledger, folder.path(), LUNA_DEARER, &[luna]);
    // The answer is held against its own model: what it costs less was not saved by routing to the other.
    let sol = "gpt-5.6-sol|-2100000|-2100000|-2100000|2100000|0";
    check_rerated(&ledger, folder.path(), SOL_CHEAPER, &[luna, sol]);
}

#[test]
fn closing_and_re_rating_leave_a_trace_that_nobody_alters() {
    let (folder, ledger) = fresh();
    spend(&ledger, OCTOBER, "ops", LUNA_COSTS);
    sync(&ledger);
    let closed = close(folder.path(), OCTOBER);
    let rows = Book::parse("p.yaml", LUNA_DEARER).expect("prices");
    books(folder.path()).rerate(&rerating((OCTOBER, OCTOBER), &rows), 7).expect("it rates");
    let found = acts(&ledger.views().expect("the views open")).expect("it reads");
    let told: Vec<_> =
        found.iter().map(|act| [&*act.who, &*act.action, &*act.subject, &*act.sha256, &*act.facts].join("|")).collect();
    assert_eq!(
        told,
        [
            format!("cli:ops|statement close|2026-10 ops|{}|{{\"cost_nano\":212000,\"lines\":1}}", closed[0].digest()),
            "cli:ops|ledger rerate|p.yaml|5e1f|{\"adjustments\":1,\"attempts\":1,\"difference_nano\":1908000,\
             \"saved_nano\":0,\"since\":\"2026-10-01\",\"until\":\"2026-10-01\"}"
                .to_owned(),
        ]
    );
    let path = folder.path().join("farthing.db");
    let hand = Connection::open(&path).expect("it opens");
    for sql in [
        "UPDATE audit SET who = 'nobody'",
        "DELETE FROM audit",
        "INSERT OR REPLACE INTO audit VALUES (1, 0, 'nobody', 'x', 'x', '', '{}')",
    ] {
        let refused = hand.execute_batch(sql).expect_err(sql).to_string();
        assert!(refused.contains("rows of the audit are never"), "{sql}: {refused}");
    }
    // Whoever takes the triggers off and writes in a statement is found out.
    hand.execute_batch("DROP TRIGGER statement_lines_stay; UPDATE statement_lines SET cost_nano = 5")
        .expect("it writes");
    let seen = crate::ledger::verify::verify(&path, &mut |_| {}).expect("it looks");
    let found: Vec<_> = seen.findings.iter().map(|found| format!("{}: {}", found.subject, found.what)).collect();
    assert_eq!(found, ["statement 2026-10 ops: it is not what was closed by `cli:ops`: its hash is another one"]);
}
