//! What the quarterly review reads: prompts, tasks, repeats, and what users say that it was worth.

use jiff::civil::date;
use jiff::tz::TimeZone;

use super::*;
use crate::cost::Book;
use crate::ledger::record::{Comparison, Feedback, Pricing, Sketch, SketchedTexts};
use crate::ledger::review::Reading;
use crate::report::midnight;

const SINCE: jiff::civil::Date = date(2026, 7, 1);
const UNTIL: jiff::civil::Date = date(2027, 1, 1);
const DAY: jiff::civil::Date = date(2026, 11, 28);
const AT_MS: i64 = 1_790_000_000_000;

/// A request of that tier and prompt, by hashes of all, of it masked, and of its beginning.
fn ask(ledger: &Ledger, (tier, prompt): (&str, &str), (exact, masked, prefix): (u64, u64, u64)) -> RequestId {
    let id = stating::request_at(AT_MS);
    let (Record::Intent(intent), Record::Outcome(outcome)) =
        (intent(attempt(id, 1)), outcome(attempt(id, 1), 1_000_000, Some(closing())))
    else {
        unreachable!("that is what they are")
    };
    let request = intent.request.map(|facts| RequestFacts { tier: Some(tier), prompt: Some(prompt), ..facts });
    let price_version = Some(match tier {
        "lightweight" => "openai/gpt-5.6-luna@x",
        "reasoning" => "anthropic/claude-opus-4-5@x",
        _ => "openai/gpt-5.6-sol@x",
    });
    let usage = Usage { input_tokens: 4_000, output_tokens: 100, ..Usage::default() };
    let texts =
        SketchedTexts { masked: Some(masked), masked_system: Some(9), masks: 9, read_bytes: 100, repeated_bytes: 100 };
    let sketch = Sketch {
        head_bytes: 100,
        opening_bytes: 700,
        messages_bytes: 900,
        prefix,
        exact,
        texts: Some(texts),
        ..Sketch::default()
    };
    append(
        ledger,
        &[
            Record::Planned(Intent { request, ..intent }, decision()),
            Record::Sketched(
                Outcome { usage: Some(usage), price_version, discount_ppm: 0, ..outcome },
                Pricing::default(),
                Some(Box::new(Comparison::default())),
                Box::new(sketch),
            ),
        ],
    );
    id
}

fn say(ledger: &Ledger, request: Option<RequestId>, key: &str, outcome: &str, hours: u32) {
    let said = Feedback {
        team: "data-platform",
        key,
        request,
        run: if request.is_some() { "" } else { "run-7" },
        at_ms: AT_MS + i64::from(hours),
        outcome,
        score_ppm: None,
        resolved_incidents: None,
        saved_milli_hours: Some(hours),
        note: None,
    };
    append(ledger, &[Record::Feedback(Box::new(said))]);
}

fn with<T>(ledger: &Ledger, look: impl FnOnce(&Reading<'_>) -> T) -> T {
    sync(ledger);
    let views = ledger.views().expect("the views open");
    let span = (midnight(SINCE, &TimeZone::UTC), midnight(UNTIL, &TimeZone::UTC));
    let reading = Reading::of(&views, span.0, span.1, Book::builtin(), DAY).expect("it reads");
    look(&reading)
}

#[test]
fn prompts_are_told_with_what_their_beginnings_and_repeated_blocks_cost() {
    let (_folder, ledger) = fresh();
    for n in 0..4 {
        ask(&ledger, ("lightweight", "triage"), (n, n, n % 2));
        ask(&ledger, ("lightweight", &format!("system-{n:016x}")), (n, n, n));
    }
    let found = with(&ledger, |reading| reading.prompts().expect("it reads"));
    let told = |name: &str| found.iter().find(|prompt| prompt.name.starts_with(name)).expect("it is there");
    let triage = told("triage");
    assert_eq!((triage.names, triage.calls, triage.input_tokens, triage.beginnings), (1, 4, 16_000, 2));
    // Of 1,000 bytes 800 stand before the first user turn.
    assert_eq!(triage.beginning_tokens, 4 * 3_200);
    let volatile = told("system-");
    assert_eq!((found.len(), volatile.names, volatile.calls), (2, 4, 4), "they differ in what is masked only");
    let book = Book::builtin().price("openai", "gpt-5.6-luna", DAY).expect("a price").clone();
    let cost = |cached_input_tokens| {
        let usage = Usage { input_tokens: 4 * 3_200, cached_input_tokens, ..Usage::default() };
        crate::cost::cost_of(&book, &usage, crate::reply::usage::ServiceTier::Standard, 0).expect("it is known").0
            as f64
    };
    assert!((triage.cacheable - (cost(0) - cost(4 * 3_200))).abs() < 10.0, "{}", triage.cacheable);
    // A tenth of what the whole prompt cost to read.
    assert!((triage.repeated - cost(0) * 16_000.0 / 12_800.0 / 10.0).abs() < 10.0, "{}", triage.repeated);
}

#[test]
fn calls_that_mark_nothing_for_a_cache_are_counted_where_a_provider_wants_marks() {
    let (_folder, ledger) = fresh();
    for tier in ["reasoning", "reasoning", "lightweight"] {
        ask(&ledger, (tier, "triage"), (1, 1, 1));
    }
    let found = with(&ledger, |reading| reading.prompts().expect("it reads"));
    assert_eq!((found[0].calls, found[0].unmarked), (3, 2));
}

#[test]
fn repeats_are_exact_or_near_and_near_ones_name_their_masks() {
    let (_folder, ledger) = fresh();
    for (exact, masked) in [(1, 1), (1, 1), (2, 1), (3, 1), (4, 4)] {
        ask(&ledger, ("lightweight", "triage"), (exact, masked, 1));
    }
    let found = with(&ledger, |reading| reading.repeats().expect("it reads"));
    let [repeats] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((repeats.requests, repeats.exact, repeats.near), (5, 1, 2));
    assert_eq!((repeats.exact_cost, repeats.near_cost), (1e6, 2e6));
    assert_eq!(repeats.masks, ["timestamps", "numbers"]);
}

#[test]
fn dear_work_is_held_against_the_lighter_models_price_and_users_words() {
    let (_folder, ledger) = fresh();
    let id = ask(&ledger, ("frontier", "triage"), (1, 1, 1));
    let none = with(&ledger, |reading| reading.tasks(Book::builtin(), DAY, None).expect("it reads"));
    assert_eq!((none.len(), none[0].lighter), (1, None), "nobody knows a lighter model");
    ask(&ledger, ("lightweight", "triage"), (1, 1, 1));
    say(&ledger, Some(id), "ops", "failure", 1);
    let found = with(&ledger, |reading| reading.tasks(Book::builtin(), DAY, None).expect("it reads"));
    let [task] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((&*task.name, task.calls, task.cost, task.said, task.failures), ("log-parsing", 1, 1_000_000, 1, 1));
    assert_eq!(task.needs_strong, Some(0.08));
    assert!(task.lighter.is_some_and(|nano| nano > 0));
}

#[test]
fn dear_work_is_held_against_the_configured_model_where_no_lighter_one_answered() {
    let (_folder, ledger) = fresh();
    ask(&ledger, ("frontier", "triage"), (1, 1, 1));
    let configured = Some("openai/gpt-5.6-luna");
    let found = with(&ledger, |reading| reading.tasks(Book::builtin(), DAY, configured).expect("it reads"));
    let book = Book::builtin().price("openai", "gpt-5.6-luna", DAY).expect("a price").clone();
    let usage = Usage { input_tokens: 4_000, output_tokens: 100, ..Usage::default() };
    let cost = crate::cost::cost_of(&book, &usage, crate::reply::usage::ServiceTier::Standard, 0).expect("it is known");
    assert_eq!((found.len(), found[0].lighter), (1, Some(cost.0)));
}

#[test]
fn what_farthing_asks_by_itself_is_no_call_that_anybody_could_change() {
    let (_folder, ledger) = fresh();
    let ids: Vec<RequestId> = (0..3).map(|_| ask(&ledger, ("frontier", "triage"), (1, 1, 1))).collect();
    with(&ledger, |_| ());
    let writer = Connection::open(ledger.path.clone()).expect("the tables open");
    let sql =
        "UPDATE requests SET purpose = 'shadow', cache_lost_to = 'model', cache_lost_nano = 5 WHERE request_id = ?1";
    assert_eq!(writer.execute(sql, [ids[0].to_string()]), Ok(1));
    with(&ledger, |reading| {
        assert_eq!(reading.prompts().expect("prompts")[0].calls, 2);
        assert_eq!(reading.losses().expect("losses"), []);
        assert_eq!(reading.tasks(Book::builtin(), DAY, None).expect("tasks")[0].calls, 2);
        assert_eq!(reading.repeats().expect("repeats")[0].requests, 2);
        assert_eq!(
            reading.worth(&TimeZone::UTC).expect("worth")[0].cost,
            3_000_000,
            "somebody pays for it all the same"
        );
    });
}

#[test]
fn what_broken_prefixes_cost_stands_with_their_prompt() {
    let (_folder, ledger) = fresh();
    let ids: Vec<RequestId> = (0..2).map(|n| ask(&ledger, ("lightweight", "triage"), (n, n, n))).collect();
    with(&ledger, |_| ());
    let writer = Connection::open(ledger.path.clone()).expect("the tables open");
    let sql = "UPDATE requests SET cache_lost_to = 'system', cache_lost_nano = 7 WHERE request_id = ?1";
    assert_eq!(writer.execute(sql, [ids[0].to_string()]), Ok(1));
    assert_eq!(with(&ledger, |reading| reading.prompts().expect("it reads"))[0].lost, 7);
}

#[test]
fn dear_work_leaves_out_what_is_held_out_and_tells_what_clients_named_apart() {
    let (_folder, ledger) = fresh();
    let ids: Vec<RequestId> = (0..4).map(|n| ask(&ledger, ("frontier", "triage"), (n, n, n))).collect();
    say(&ledger, Some(ids[0]), "ops", "failure", 1);
    with(&ledger, |_| ());
    let writer = Connection::open(ledger.path.clone()).expect("the tables open");
    let set = |change: &str, id: RequestId| {
        let sql = format!("UPDATE requests SET {change} WHERE request_id = ?1");
        assert_eq!(writer.execute(&sql, [id.to_string()]), Ok(1));
    };
    set("arm = 'holdout', reason = 'held-out; would: task'", ids[0]);
    set("reason = 'pinned-tier'", ids[1]);
    set("reason = 'exact-model; protected rule 1 does not bind exact names', task = NULL", ids[2]);
    let found = with(&ledger, |reading| reading.tasks(Book::builtin(), DAY, None).expect("it reads"));
    let mut told: Vec<_> = found.iter().map(|task| (&*task.name, task.is_named, task.calls, task.said)).collect();
    told.sort_unstable();
    assert_eq!(told, [("", true, 1, 0), ("log-parsing", false, 1, 0), ("log-parsing", true, 1, 0)]);
}

#[test]
fn hours_are_counted_once_a_subject_and_not_again_for_the_requests_of_a_run() {
    let (_folder, ledger) = fresh();
    let id = ask(&ledger, ("frontier", "triage"), (1, 1, 1));
    for (request, key, outcome, hours) in
        [(Some(id), "ops", "success", 100), (None, "ops", "success", 500), (None, "dev", "failure", 700)]
    {
        say(&ledger, request, key, outcome, hours);
    }
    let found = with(&ledger, |reading| reading.worth(&TimeZone::UTC).expect("it reads"));
    let [worth] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((&*worth.team, &*worth.month, worth.cost), ("data-platform", "2026-09", 1_000_000));
    assert_eq!((worth.said, worth.successes, worth.milli_hours), (3, 2, 700));
}
