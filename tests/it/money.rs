//! One number everywhere: header, comment, rows, metric, log and the provider's invoice.

use std::sync::Arc;

use farthing::simulator::{BillsAfterCut, ModelScript, Provider, Reply};
use serde_json::json;

use tokio::task::JoinSet;

use crate::support::{ASK, ASK_STREAM, Setup, World, ask, luna, script};

#[tokio::test]
async fn a_cost_is_the_same_number_wherever_it_stands() {
    let world = World::new(luna([Reply::text("the job failed"), Reply::tokens(31)]), "").await;
    let mut total = 0;
    for (number, body) in [(1, ASK), (2, ASK_STREAM)] {
        let got = world.chat(body).await;
        let billed = world.provider.invoice().lines.pop().expect("a line").cost;
        total += billed.0;
        let said = if body == ASK { got.header("x-farthing-cost-usd") } else { got.cost_comment().unwrap_or_default() };
        assert_eq!(said, billed.to_string());
        let (attempt, request) = (world.attempts().pop().expect("a row"), world.requests().pop().expect("a row"));
        assert_eq!((attempt.low, attempt.cost, attempt.high), (billed.0, Some(billed.0), Some(billed.0)));
        assert_eq!((request.low, request.cost, request.high), (billed.0, Some(billed.0), Some(billed.0)));
        assert_eq!(world.logged("request", number).await["cost_usd"], json!(billed.to_string()));
    }
    assert_eq!(total, world.provider.invoice().total().0);
    let counted = world.metric("farthing_cost_usd_total", "").await;
    assert_eq!((counted * 1e9).round() as i64, total);
}

#[tokio::test]
async fn every_attempt_has_exactly_one_row_under_the_id_that_the_provider_saw() {
    let replies = [Reply::status(500), Reply::text("a").resets_before_headers(), Reply::text("ok")];
    let world = Setup::of(luna(replies)).dispatch("retries: 2").start().await;
    let got = world.chat(ASK).await;
    assert_eq!(got.status, 200);
    let sent: Vec<_> =
        world.provider.requests().iter().map(|seen| seen.header("x-client-request-id").unwrap().to_owned()).collect();
    let rows: Vec<_> = world.attempts().into_iter().map(|row| row.id).collect();
    assert_eq!((sent.len(), &sent), (3, &rows));
    assert!(rows.iter().all(|id| id.starts_with(got.header("x-request-id"))));
    assert_eq!(world.requests().len(), 1);
    assert_eq!(world.metric("farthing_attempts_total", "").await, 3.0);
    assert_eq!(world.metric("farthing_attempts_total", "fate=\"interrupted\"").await, 1.0);
    assert_eq!(world.metric("farthing_requests_total", "").await, 1.0);
    assert_eq!(world.metric("farthing_in_flight", "").await, 0.0);
}

#[tokio::test]
async fn a_request_costs_what_its_attempts_cost_together() {
    // What a broken attempt may have cost is part of the request's interval.
    let world = World::new(luna([Reply::text("a").resets_before_headers(), Reply::text("ok")]), "").await;
    world.chat(ASK).await;
    let (attempts, request) = (world.attempts(), world.requests().remove(0));
    assert_eq!(request.low, attempts.iter().map(|row| row.low).sum::<i64>());
    assert_eq!(request.high, attempts.iter().map(|row| row.high).sum::<Option<i64>>());
    assert_eq!(request.cost, None);
}

/// Streams one reply and gives its attempt's source and cost; the cost must be what the client was told.
async fn settled(reply: Reply, body: &str) -> (World, String, Option<i64>) {
    let world = World::new(luna([reply]), "").await;
    let got = world.chat(body.to_owned()).await;
    let row = world.attempts().remove(0);
    let said = if body.contains("stream") {
        got.cost_comment().unwrap_or_default()
    } else {
        got.header("x-farthing-cost-usd")
    };
    let told: f64 = said.parse().unwrap_or_else(|_| panic!("{said:?} in {}", got.text()));
    assert_eq!(Some((told * 1e9).round() as i64), row.cost);
    assert_eq!(row.fate, "completed");
    (world, row.source, row.cost)
}

#[tokio::test]
async fn odd_usage_is_read_for_what_it_says() {
    for body in [ASK, ASK_STREAM] {
        let (world, source, cost) = settled(Reply::tokens(9).with_usage_twice(), body).await;
        assert_eq!((&*source, cost), ("reported", Some(world.provider.invoice().total().0)), "not added up");
        let (_, source, cost) = settled(Reply::tokens(9).with_zero_usage(), body).await;
        assert_eq!((&*source, cost), ("reported", Some(0)), "an explicit zero is a figure");
        let (world, source, cost) = settled(Reply::tokens(9).without_usage(), body).await;
        assert_eq!(source, "estimated");
        assert!(cost.is_some_and(|cost| cost > 0), "text went by, so it cost something");
        let row = world.attempts().remove(0);
        let billed = world.provider.invoice().total().0;
        assert!(row.low <= billed && row.high.is_some_and(|high| billed <= high), "{row:?} holds {billed}");
    }
}

#[tokio::test]
async fn an_unknown_price_is_said_to_be_unknown_and_never_zero() {
    let world = World::new(Provider::openai().model(script("brand-new", [Reply::text("ok")])), "").await;
    let got = world.chat(ASK.replace("gpt-5.6-luna", "brand-new")).await;
    assert_eq!((got.status, got.header("x-farthing-cost-usd")), (200, "unknown"));
    let got = world.chat(ASK_STREAM.replace("gpt-5.6-luna", "brand-new")).await;
    assert_eq!(got.cost_comment(), Some("unknown"));
    for row in world.attempts() {
        assert_eq!((row.cost, row.high, &*row.source), (None, None, "reported"));
        assert!(row.output_tokens.is_some_and(|tokens| tokens > 0), "tokens are counted all the same");
    }
    assert!(world.metric("farthing_unpriced_attempts_total", "").await >= 2.0, "and it is loud");
}

#[tokio::test]
async fn a_discount_and_a_long_prompt_are_priced_like_the_bill() {
    let sol = ModelScript::named("gpt-5.6-sol").replies("ok");
    let world = Setup::of(Provider::openai().model(sol)).start().await;
    let long = "word ".repeat(300_000);
    let body = ask(json!({"model": "gpt-5.6-sol", "messages": [{"role": "user", "content": long}]}));
    for _ in 0..2 {
        // The second time the prefix comes out of the provider's cache.
        let got = world.chat(body.clone()).await;
        let billed = world.provider.invoice().lines.pop().expect("a line").cost;
        assert_eq!(got.header("x-farthing-cost-usd"), billed.to_string());
    }
    let discounted = Setup::of(luna([Reply::tokens(100)])).row("discount: 15%").start().await;
    let got = discounted.chat(ASK).await;
    let told: f64 = got.header("x-farthing-cost-usd").parse().expect("a number");
    let list = discounted.provider.invoice().total().0 as f64;
    assert!((told * 1e9 - list * 0.85).abs() <= 1.0, "{told} for {list}");
}

#[tokio::test]
async fn a_provider_that_bills_beyond_the_limit_it_was_sent_is_booked_and_listed() {
    let luna = ModelScript::named("gpt-5.6-luna").ignores_limits().then(Reply::tokens(500));
    let world = World::new(Provider::openai().model(luna), "").await;
    world.chat(ask(json!({"max_completion_tokens": 3}))).await;
    let row = world.attempts().remove(0);
    assert_eq!(row.cost, Some(world.provider.invoice().total().0), "what is billed is booked");
    let beyond = world.rows("select overshoot_nano, cost_nano - bound_nano from attempts_v1").remove(0);
    assert_eq!(beyond[0], beyond[1]);
    assert!(matches!(beyond[0], rusqlite::types::Value::Integer(1..)), "{beyond:?}");
    assert!(world.metric("farthing_overshoot_usd_total", "").await > 0.0, "and alarmed");
}

#[tokio::test]
async fn under_many_requests_at_once_nothing_is_lost_or_counted_twice() {
    let luna = ModelScript::named("gpt-5.6-luna")
        .bills_after_cut(BillsAfterCut::SoFar)
        .when("words", Reply::tokens(40))
        .when("break", Reply::tokens(40).resets_after(9))
        .when("fail", Reply::status(503))
        .when("leave", Reply::tokens(40).stalls_after(5))
        .when("lose", Reply::text("x").resets_before_headers());
    let world = Arc::new(World::new(Provider::openai().model(luna), "").await);
    let words = ["words", "break", "fail", "leave", "lose"];
    let mut everybody = JoinSet::new();
    for number in 0..60 {
        let (world, word) = (Arc::clone(&world), words[number % words.len()]);
        let stream = word == "leave" || number % 2 == 0;
        let body =
            ask(json!({"stream": stream, "messages": [{"role": "user", "content": format!("{word} {number}")}]}));
        everybody.spawn(async move {
            match word {
                "leave" => drop(world.stream(body).await.take(5).await),
                _ => drop(world.chat(body).await),
            }
        });
    }
    everybody.join_all().await;
    world.provider.settled().await.expect("the invoice is final");
    for number in 1..=60 {
        world.logged("request", number).await;
    }
    assert_eq!((world.requests().len(), world.attempts().len() as u64), (60, world.provider.arrivals()));
    world.the_ledger_holds_the_invoice();
    assert_eq!(world.metric("farthing_requests_total", "").await, 60.0);
    assert_eq!(world.metric("farthing_in_flight", "").await, 0.0);
    assert!(!world.fates().contains(&"open".to_owned()));
}
