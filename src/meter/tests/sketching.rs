//! What rows say of how requests looked, whenever their texts are read.

use super::sketches::{Sketches, Slot};
use super::*;

#[tokio::test]
async fn a_row_says_what_the_request_looked_like_and_no_text_of_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let (accounts, _) = accounts(folder.path());
    let (row, target) = unasked(folder.path());
    let ask = |body: &'static [u8]| {
        let call = call_of(body);
        let plan = Arc::new(Plan::new(None, vec![target.clone()], Reason::of(Why::ExactModel)));
        let mut meter = Meter::open(&accounts, accounts.book.load_full(), &call.facts, &plan);
        meter.sketch(&call.body);
        let slot = meter.sketch.clone().expect("there is room");
        while slot.get().is_none() {
            std::thread::yield_now();
        }
        meter.begin(&row, &target, &row.prepare(&call, &target, None)).expect("the ledger takes it");
        meter.complete(200);
    };
    ask(br#"{"model":"m","messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"rows at 10:02?"}]}"#);
    ask(br#"{"model":"m","messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"rows at 11:40?"}]}"#);
    accounts.ledger.sync_views(Duration::from_secs(20)).expect("the views catch up");
    let views = accounts.ledger.views().expect("the views open");
    let sql = "SELECT count(*), count(DISTINCT exact_hash), count(DISTINCT masked_hash), count(DISTINCT prefix_hash),
        max(masks), min(opening_bytes), min(messages_bytes), max(repeated_bytes) FROM requests_v1";
    let found: Vec<i64> =
        views.query_row(sql, [], |row| (0..8).map(|place| row.get(place)).collect()).expect("it reads");
    assert_eq!(found, [2, 2, 1, 1, 1, 39, 81, 0]);
}

#[tokio::test]
async fn a_request_that_ends_before_its_texts_are_read_has_them_in_its_row_all_the_same() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (accounts, _) = accounts(folder.path());
    let (row, target) = unasked(folder.path());
    let plan = Arc::new(Plan::new(None, vec![target.clone()], Reason::of(Why::ExactModel)));
    let ended = call_of(br#"{"model":"m","messages":[{"role":"user","content":"rows at 10:02?"}]}"#);
    let mut meter = Meter::open(&accounts, accounts.book.load_full(), &ended.facts, &plan);
    meter.sketch(&ended.body);
    meter.begin(&row, &target, &row.prepare(&ended, &target, None)).expect("the ledger takes it");
    meter.complete(200);
    // One that is refused has no row that they belong to.
    let call = call();
    let mut meter = Meter::open(&accounts, accounts.book.load_full(), &call.facts, &plan);
    meter.sketch(&call.body);
    meter.refused(Code::Overloaded, 503);
    drop(meter);
    accounts.sketches.close();
    accounts.ledger.sync_views(Duration::from_secs(20)).expect("the views catch up");
    let views = accounts.ledger.views().expect("the views open");
    let sql = "SELECT count(*), count(read_bytes), count(DISTINCT masked_hash) FROM requests_v1";
    let found: [i64; 3] =
        views.query_row(sql, [], |row| Ok([row.get(0)?, row.get(1)?, row.get(2)?])).expect("it reads");
    assert_eq!(found, [2, 1, 1]);
}

#[test]
fn beyond_what_may_be_drawn_late_a_request_takes_its_texts_back_when_it_ends() {
    let sketches = Sketches::undrawn();
    let text = "x".repeat(1_000);
    let body = format!(r#"{{"model":"m","messages":[{{"role":"user","content":"{text}"}}]}}"#);
    let call = call_of(body.leak().as_bytes());
    let asked: Vec<Slot> =
        (0..40).map(|_| sketches.ask(&call.facts, &call.body, None).expect("there is room")).collect();
    let of_waiting = |call: &Call| Arc::strong_count(&call.facts) - 1;
    assert_eq!(of_waiting(&call), 40);
    let taken = asked.iter().filter(|slot| sketches.takes_back(slot)).count();
    // Of the first, with a thousand bytes and what is around them, 16 KiB are drawn late.
    assert_eq!((taken, of_waiting(&call)), (24, 16));
    assert!(!sketches.takes_back(&asked[39]), "it has nothing any more that waits");
}
