//! `Idempotency-Key` on model calls: who repeats a request has its answer, and it is paid for once.

use farthing::simulator::Reply;
use http::{Method, Response};
use hyper::body::{Bytes, Incoming};
use rusqlite::types::Value;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::support::{ASK, ASK_STREAM, Events, World, ask, luna, whole};

const KEY: (&str, &str) = ("idempotency-key", "job-7");

/// Waits until so many requests are in flight.
async fn in_flight(world: &World, count: f64) {
    while world.metric("farthing_in_flight", "").await < count {
        tokio::task::yield_now().await;
    }
}

/// How often each status stands in the ledger.
fn statuses(world: &World) -> Vec<(String, i64)> {
    let rows = world.rows("select status, count(*) from requests_v1 group by 1 order by 1");
    let row = |row: Vec<Value>| match &row[..] {
        [Value::Text(status), Value::Integer(count)] => (status.clone(), *count),
        _ => panic!("{row:?}"),
    };
    rows.into_iter().map(row).collect()
}

#[tokio::test]
async fn a_repeated_request_has_the_same_answer_and_is_paid_for_once() {
    for body in [ASK, ASK_STREAM] {
        let world = World::new(luna([Reply::text("one"), Reply::text("two")]), "").await;
        let first = world.chat_as(body, &[KEY]).await;
        let again = world.chat_as(body, &[KEY]).await;
        assert_eq!((first.status, again.status, &first.body), (200, 200, &again.body));
        for header in ["content-type", "x-farthing-model", "x-farthing-reason", "cache-control"] {
            assert_eq!(first.header(header), again.header(header), "{header}");
        }
        assert_eq!((first.header("x-farthing-replayed"), again.header("x-farthing-cost-usd")), ("", "0"));
        assert_eq!(again.header("x-farthing-replayed"), first.header("x-request-id"));
        assert_ne!(again.header("x-request-id"), first.header("x-request-id"));
        assert_eq!(again.header("x-farthing-saved-usd"), "");
        assert_eq!(world.provider.arrivals(), 1);
        assert_eq!(statuses(&world), [("ok".to_owned(), 1), ("replayed".to_owned(), 1)]);
        let replayed = world.requests().pop().expect("two rows");
        assert_eq!((replayed.cost, replayed.low, replayed.high), (Some(0), 0, Some(0)));
        assert_eq!(replayed.id, again.header("x-request-id"));
        let reason = world.rows("select reason from requests_v1 where status = 'replayed'").remove(0);
        assert_eq!(reason, [Value::Text(format!("replayed ({})", first.header("x-request-id")))]);
        world.the_ledger_holds_the_invoice();
        assert_eq!(world.logged("request", 2).await["status"], "replayed");
        assert_eq!(world.metric("farthing_requests_total", "status=\"replayed\"").await, 1.0);
    }
}

#[tokio::test]
async fn without_the_header_nothing_is_repeated() {
    let world = World::new(luna([Reply::text("one"), Reply::text("two")]), "").await;
    assert_ne!(world.chat(ASK).await.body, world.chat(ASK).await.body);
    assert_eq!(world.provider.arrivals(), 2);
}

#[tokio::test]
async fn those_who_come_while_the_first_is_answered_wait_for_its_end() {
    for body in [ASK, ASK_STREAM] {
        let world = World::new(luna([Reply::tokens(9).stalls_after(1)]), "").await;
        let release = async {
            in_flight(&world, 3.0).await;
            world.provider.release();
        };
        let keys = [KEY];
        let one = || world.chat_as(body, &keys);
        let (a, b, c, ()) = tokio::join!(one(), one(), one(), release);
        assert_eq!((&a.body, &a.body), (&b.body, &c.body));
        let first = [&a, &b, &c].into_iter().filter(|got| got.header("x-farthing-replayed").is_empty()).count();
        assert_eq!((first, world.provider.arrivals()), (1, 1));
        assert_eq!(statuses(&world), [("ok".to_owned(), 1), ("replayed".to_owned(), 2)]);
    }
}

#[tokio::test]
async fn another_request_under_the_key_is_refused() {
    let world = World::new(luna([Reply::text("one"), Reply::text("two")]), "").await;
    world.chat_as(ASK, &[KEY]).await;
    for (body, headers) in
        [(ask(json!({"seed": 1})), vec![KEY]), (ASK.to_owned(), vec![KEY, ("x-farthing-tier", "frontier")])]
    {
        let refused = world.chat_as(body, &headers).await;
        assert_eq!((refused.status, &*refused.code()), (422, "idempotency_key_reused"), "{}", refused.text());
        assert_eq!(refused.header("x-should-retry"), "false");
    }
    let long = "x".repeat(256);
    for headers in [vec![("idempotency-key", "")], vec![KEY, KEY], vec![("idempotency-key", &*long)]] {
        assert_eq!(world.chat_as(ASK, &headers).await.code(), "invalid_body");
    }
    assert_eq!(world.provider.arrivals(), 1);
}

#[tokio::test]
async fn after_an_error_or_a_broken_answer_the_key_is_free() {
    let busy = || Reply::status(503);
    for (body, failing) in [
        (ASK, vec![busy(), busy()]),
        (ASK, vec![Reply::status(400)]),
        (ASK_STREAM, vec![Reply::tokens(5).resets_after(3)]),
        (ASK_STREAM, vec![Reply::tokens(5).ends_after(3)]),
    ] {
        let world = World::new(luna(failing.into_iter().chain([Reply::text("well")])), "").await;
        let failed = world.chat_as(body, &[KEY]).await;
        assert!(failed.status >= 400 || !failed.text().contains("[DONE]"), "{}", failed.text());
        let next = world.chat_as(body, &[KEY]).await;
        assert_eq!((next.status, next.header("x-farthing-replayed")), (200, ""), "{}", next.text());
        assert_eq!(world.chat_as(body, &[KEY]).await.header("x-farthing-replayed"), next.header("x-request-id"));
    }
}

#[tokio::test]
async fn nobody_has_the_answer_of_another_key_team_or_user() {
    let digits = |secret: &str| Sha256::digest(secret).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let keys = ["a", "b"].map(|secret| {
        format!("  - {{ sha256: {}, name: {secret}, team: data, may: {{ teams: [ops] }} }}\n", digits(secret))
    });
    let world = World::new(luna([Reply::tokens(1)]), &format!("keys:\n{}", keys.concat())).await;
    let (a, b) = (("x-api-key", "a"), ("x-api-key", "b"));
    let cases = [
        vec![KEY, a],
        vec![KEY, b],
        vec![KEY, a, ("x-farthing-team", "ops")],
        vec![KEY, a, ("x-farthing-user", "u")],
        vec![KEY, a, ("x-farthing-project", "u")],
    ];
    for round in ["", "again"] {
        for headers in &cases {
            let got = world.chat_as(ASK, headers).await;
            assert_eq!(got.header("x-farthing-replayed").is_empty(), round.is_empty(), "{headers:?} {}", got.text());
        }
    }
    assert_eq!(world.provider.arrivals(), 5);
}

/// A stream under the key, its first event taken.
async fn begun(world: &World) -> Events {
    let response: Response<Incoming> =
        world.send(Method::POST, "/v1/chat/completions", &[KEY], Bytes::from_static(ASK_STREAM.as_bytes())).await;
    let mut events = Events::of(response);
    events.take(1).await;
    events
}

#[tokio::test]
async fn when_the_first_client_leaves_the_next_that_waits_takes_its_place() {
    let world = World::new(luna([Reply::tokens(9).stalls_after(2), Reply::tokens(3)]), "").await;
    let first = begun(&world).await;
    let leave = async {
        in_flight(&world, 3.0).await;
        drop(first);
    };
    let keys = [KEY];
    let one = || world.chat_as(ASK_STREAM, &keys);
    let (a, b, ()) = tokio::join!(one(), one(), leave);
    assert_eq!((a.status, &a.body), (200, &b.body));
    assert!(a.text().ends_with("data: [DONE]\n\n"), "{}", a.text());
    assert_eq!(world.provider.arrivals(), 2);
    let expected = [("client_closed", 1), ("ok", 1), ("replayed", 1)].map(|(status, count)| (status.to_owned(), count));
    assert_eq!(statuses(&world), expected);
    assert_eq!(world.metric("farthing_in_flight", "").await, 0.0);
}

#[tokio::test]
async fn who_waits_and_leaves_is_closed_and_changes_nothing() {
    let world = World::new(luna([Reply::tokens(9).stalls_after(2)]), "").await;
    let mut first = begun(&world).await;
    let mut waiting = Box::pin(world.post(ASK_STREAM, &[KEY]));
    tokio::select! {
        _ = &mut waiting => panic!("the first has not ended"),
        () = in_flight(&world, 2.0) => drop(waiting),
    }
    assert_eq!(world.logged("request", 1).await["status"], "client_closed");
    world.provider.release();
    first.rest().await;
    let again = world.chat_as(ASK_STREAM, &[KEY]).await;
    assert!(!again.header("x-farthing-replayed").is_empty());
    assert_eq!(world.provider.arrivals(), 1);
}

#[tokio::test]
async fn who_waits_beyond_its_deadline_is_told_so() {
    let world = World::new(luna([Reply::tokens(9).stalls_after(2)]), "").await;
    let first = begun(&world).await;
    let late = whole(world.post(ASK_STREAM, &[KEY, ("x-farthing-deadline", "50")]).await).await;
    assert_eq!((late.status, &*late.code()), (504, "provider_timeout"));
    drop(first);
}
