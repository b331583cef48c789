//! Ceilings that hold against the provider's invoice, and refusals that are honest.

use std::sync::Arc;

use farthing::simulator::{BillsAfterCut, ModelScript, Provider, Reply};
use rusqlite::types::Value::Integer as Int;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;

use crate::process::Served;
use crate::support::{ASK, Events, Got, PATIENCE, Setup, World, ask, luna, script, whole};

/// Limits and budgets of the team that asks without a key.
fn team(terms: &str) -> String {
    format!("teams: {{ default: {{ {terms} }} }}\n")
}

fn budget(usd: &str) -> String {
    team(&format!("budget: {{ usd: {usd}, every: month }}"))
}

/// A question of one rate, so that what it may cost is near what it costs.
fn bounded(limit: u64) -> String {
    ask(json!({ "max_completion_tokens": limit, "service_tier": "default" }))
}

fn total(world: &World) -> i64 {
    world.provider.invoice().total().0
}

#[track_caller]
fn is_refused_for_money(got: &Got) {
    assert_eq!((got.status, &*got.code()), (429, "budget_exhausted"), "{}", got.text());
    assert_eq!(got.json()["error"]["type"], "insufficient_quota");
    assert_eq!(got.header("x-should-retry"), "false");
    assert!(got.header("retry-after").parse::<u64>().is_ok_and(|seconds| seconds > 0));
    assert!(got.header("x-farthing-budget-resets").ends_with('Z'), "{:?}", got.headers);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_at_once_never_spend_more_than_a_budget_for_a_hundred() {
    const USD: i64 = 3_000_000;
    let more = format!("{}budget: {{ hold_wait: 9s }}\n", budget("0.003"));
    let world = Arc::new(World::new(luna([Reply::tokens(20)]), &more).await);
    let mut asking = JoinSet::new();
    for _ in 0..1_000 {
        let world = Arc::clone(&world);
        asking.spawn(async move { world.chat(bounded(20)).await.status });
    }
    let statuses = asking.join_all().await;
    let served = statuses.iter().filter(|status| **status == 200).count();
    assert!(statuses.iter().all(|status| matches!(status, 200 | 429)), "{statuses:?}");
    assert!(total(&world) <= USD, "{} of {USD}", total(&world));
    let least = world.rows("select max(bound_nano) from attempts_v1").remove(0).remove(0);
    let rusqlite::types::Value::Integer(least) = least else { panic!("{least:?}") };
    assert!(served > 90 && served < 1_000, "{served}");
    assert!(USD - total(&world) < least, "refused with {} left, {least} would have done", USD - total(&world));
    world.the_ledger_holds_the_invoice();
    assert!(world.metric("farthing_refusals_total", "acted=\"refused\"").await >= 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_of_all_kinds_at_once_never_spend_more_than_the_budget() {
    const USD: i64 = 2_000_000;
    // Some break off, some fail, some write all that they may; whoever hangs up is billed all the same.
    let replies = [
        Reply::tokens(20),
        Reply::tokens(20).fails_after(4),
        Reply::tokens(20).without_usage(),
        Reply::status(500),
        Reply::tokens(20).ends_after(6),
    ];
    let replies: Vec<Reply> = replies.into_iter().cycle().take(600).collect();
    let model = script("gpt-5.6-luna", replies).bills_after_cut(BillsAfterCut::All);
    let more = format!("{}budget: {{ hold_wait: 200ms }}\n", budget("0.002"));
    let world = Arc::new(
        Setup::of(Provider::openai().model(model)).dispatch("retries: 1, circuit: off").more(&more).start().await,
    );
    let mut asking = JoinSet::new();
    for number in 0..300_u64 {
        let world = Arc::clone(&world);
        asking.spawn(async move {
            let stream = number % 3 != 0;
            let limit = 20 + 40 * (number % 4);
            let body = ask(json!({ "stream": stream, "max_completion_tokens": limit, "service_tier": "default" }));
            let response = world.post(body, &[]).await;
            let status = response.status().as_u16();
            if stream && status == 200 && number % 2 == 0 {
                drop(Events::of(response).next().await);
            } else {
                drop(http_body_util::BodyExt::collect(response.into_body()).await);
            }
            status
        });
    }
    let statuses = asking.join_all().await;
    assert!(statuses.contains(&200) && statuses.contains(&429), "{statuses:?}");
    world.logged("request", 300).await;
    // What nobody knows the cost of counts at its bound, so that less may be spent than there was.
    assert!(total(&world) > USD / 20 && total(&world) <= USD, "{} of {USD}", total(&world));
}

#[tokio::test]
async fn what_fits_is_served_and_the_refusal_after_it_says_why_and_until_when() {
    let world = World::new(luna([Reply::tokens(20)]), &budget("0.0001")).await;
    assert_eq!(world.chat(bounded(20)).await.status, 200);
    let mut got = world.chat(bounded(20)).await;
    while got.status == 200 {
        got = world.chat(bounded(20)).await;
    }
    is_refused_for_money(&got);
    let message = got.json()["error"]["message"].as_str().unwrap_or_default().to_owned();
    assert!(
        message.starts_with("team `default` has ") && message.contains("of its 0.0001 USD left this month"),
        "{message}"
    );
    assert!(total(&world) <= 100_000);
    let left = world.metric("farthing_budget_remaining_usd", "team=\"default\"").await;
    assert_eq!((left * 1e9).round() as i64, 100_000 - total(&world));
}

#[tokio::test]
async fn failures_leave_what_was_held_for_them() {
    let replies = [Reply::status(500), Reply::status(500), Reply::tokens(20)];
    let world = Setup::of(luna(replies)).dispatch("retries: 2, circuit: off").more(&budget("0.0001")).start().await;
    assert_eq!(world.chat(bounded(20)).await.status, 200);
    assert_eq!(world.attempts().len(), 3);
    let left = world.metric("farthing_budget_remaining_usd", "").await;
    assert_eq!((left * 1e9).round() as i64, 100_000 - total(&world));
}

#[tokio::test]
async fn with_shrink_the_output_limit_is_lowered_to_what_is_left() {
    let world = World::new(luna([Reply::tokens(5_000)]), &budget("0.002")).await;
    let body = bounded(100_000);
    is_refused_for_money(&world.chat(body.clone()).await);
    let got = world.chat_as(body, &[("x-farthing-budget", "shrink")]).await;
    assert_eq!((got.status, got.header("x-farthing-edits")), (200, "output_limit"), "{}", got.text());
    let seen = world.provider.requests().pop().expect("a request").json();
    let limit = seen["max_completion_tokens"].as_u64().expect("a limit");
    assert!((1_400..1_667).contains(&limit), "{limit}: all that is left buys 1,666 tokens of output");
    assert!(total(&world) <= 2_000_000 && total(&world) > 1_600_000, "{}", total(&world));
    let got = world.chat_as(bounded(100_000), &[("x-farthing-budget", "shrink")]).await;
    is_refused_for_money(&got);
}

#[tokio::test]
async fn what_nothing_bounds_is_refused_under_a_budget() {
    let script = || Provider::openai().model(ModelScript::named("*").replies("ok"));
    let world = Setup::of(script()).more(&budget("1")).start().await;
    let got = world.chat(ask(json!({ "model": "nobody-knows" }))).await;
    assert_eq!((got.status, &*got.code()), (400, "unpriced_model"), "{}", got.text());
    assert!(got.text().contains("`nobody-knows`") && got.text().contains("`prices:`"), "{}", got.text());
    let got = world.chat(ask(json!({ "web_search_options": {} }))).await;
    assert_eq!((got.status, &*got.code()), (400, "unbounded_cost"), "{}", got.text());
    assert!(got.text().contains("may: { unbounded: true }"), "{}", got.text());
    for none in [json!({ "max_completion_tokens": 0 }), json!({ "max_tokens": -1 }), json!({ "n": 0 })] {
        let got = world.chat(ask(none)).await;
        assert_eq!((got.status, &*got.code()), (400, "unbounded_cost"), "{}", got.text());
    }
    assert_eq!(world.provider.arrivals(), 0);
    let watching = Setup::of(script()).more(&format!("mode: observe\n{}", budget("0"))).start().await;
    for body in [ask(json!({ "model": "nobody-knows" })), ask(json!({ "web_search_options": {} })), ASK.into()] {
        assert_eq!(watching.chat(body).await.status, 200);
    }
    for code in ["unpriced_model", "unbounded_cost", "budget_exhausted"] {
        let counted =
            watching.metric("farthing_refusals_total", &format!("acted=\"would_refuse\",code=\"{code}\"")).await;
        assert!(counted >= 1.0, "{code}");
    }
}

#[tokio::test]
async fn what_is_predicted_in_vain_is_held_for() {
    let world = World::new(luna([Reply::tokens(10)]), &budget("0.01")).await;
    let predicting = |bytes: usize| {
        ask(json!({
            "max_completion_tokens": 100, "service_tier": "default",
            "prediction": { "type": "content", "content": "x".repeat(bytes) },
        }))
    };
    let got = world.chat(predicting(100)).await;
    assert_eq!(got.status, 200, "{}", got.text());
    is_refused_for_money(&world.chat(predicting(50_000)).await);
}

#[tokio::test]
async fn a_limit_on_output_is_told_to_the_provider() {
    let world = World::new(luna([Reply::tokens(500)]), &team("limits: { output_tokens: 40 }")).await;
    let sent = async |body: String| {
        let got = world.chat(body).await;
        assert_eq!(got.status, 200);
        let seen = world.provider.requests().pop().expect("a request").json();
        let limits = [&seen["max_tokens"], &seen["max_completion_tokens"]].map(Value::as_u64);
        (got.header("x-farthing-edits").to_owned(), limits)
    };
    assert_eq!(sent(ASK.to_owned()).await, ("output_limit".to_owned(), [None, Some(40)]));
    assert_eq!(sent(ask(json!({ "max_tokens": 90 }))).await, ("output_limit".to_owned(), [Some(40), None]));
    let both = ask(json!({ "max_tokens": 7, "max_completion_tokens": 90 }));
    assert_eq!(sent(both).await, ("output_limit".to_owned(), [Some(7), Some(40)]));
    assert_eq!(sent(ask(json!({ "max_tokens": 0 }))).await, ("output_limit".to_owned(), [Some(40), None]));
    assert_eq!(sent(ask(json!({ "max_tokens": 30 }))).await, (String::new(), [Some(30), None]));
}

#[tokio::test]
async fn others_than_openai_know_the_limit_by_its_older_name() {
    let world = Setup::of(luna([Reply::tokens(500)])).vendor("local").more(&team("limits: { output_tokens: 40 }"));
    let world = world.start().await;
    world.chat(ASK).await;
    assert_eq!(world.provider.requests().pop().expect("a request").json()["max_tokens"], 40);
}

#[tokio::test]
async fn a_provider_that_ignores_its_limit_is_booked_as_overshoot() {
    let model = script("gpt-5.6-luna", [Reply::tokens(1_000)]).ignores_limits();
    let world = World::new(Provider::openai().model(model), &budget("0.001")).await;
    assert_eq!(world.chat(bounded(20)).await.status, 200);
    let booked = world.rows("select sum(overshoot_nano) from attempts_v1").remove(0).remove(0);
    assert!(matches!(booked, rusqlite::types::Value::Integer(over) if over > 0), "{booked:?}");
    assert_eq!(world.logged("overshoot", 1).await["cause"], "output_beyond_limit");
    assert_eq!(world.metric("farthing_overshoots_total", "cause=\"output_beyond_limit\"").await, 1.0);
    assert!(total(&world) > 1_000_000, "it billed more than the budget");
    let refused = world.chat(bounded(20)).await;
    is_refused_for_money(&refused);
    let beyond = farthing::money::NanoUsd(1_000_000 - total(&world));
    assert!(refused.text().contains(&format!("has {beyond} of its 0.001 USD left")), "{}", refused.text());
}

#[tokio::test]
async fn a_stream_beyond_its_limit_is_ended_as_one_that_has_reached_it() {
    let model = script("gpt-5.6-luna", [Reply::tokens(100_000)]).ignores_limits().bills_after_cut(BillsAfterCut::SoFar);
    let world = World::new(Provider::openai().model(model), &budget("0.001")).await;
    let body = ask(json!({
        "max_completion_tokens": 20, "service_tier": "default", "stream": true, "stream_options": { "include_usage": true },
    }));
    let got = world.chat(body).await;
    assert_eq!(got.status, 200);
    let datas = got.datas();
    assert_eq!(datas.last(), Some(&"[DONE]"), "{}", got.text());
    let event = |back: usize| serde_json::from_str::<Value>(datas[datas.len() - back]).expect("JSON");
    assert_eq!(event(3)["choices"][0]["finish_reason"], "length");
    assert!(event(2)["usage"]["completion_tokens"].as_u64().is_some_and(|tokens| tokens > 20), "{}", event(2));
    assert!(got.cost_comment().is_some());
    let row = world.attempts().remove(0);
    assert_eq!(row.fate, "cut");
    assert_eq!(world.logged("overshoot", 1).await["cause"], "output_beyond_limit");
    world.until("the provider to notice", || world.provider.hang_ups() > 0).await;
    assert!(datas.len() < 20_000, "{} events: it was to end early", datas.len());
    is_refused_for_money(&world.chat(bounded(20)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn long_contexts_are_held_for_by_their_tokens_where_bytes_do_not_fit() {
    // Some 25,000 tokens in 150,000 bytes.
    let long = "lorem ipsum dolor sit amet ".repeat(5_500);
    let body = move |number: usize| {
        json!({
            "model": "gpt-5.6-luna", "max_completion_tokens": 100, "service_tier": "default",
            "messages": [{ "role": "user", "content": format!("{number} {long}") }],
        })
        .to_string()
    };
    // By their bytes each may cost 0.0373 dollars, by their tokens 0.0082: two fit only if one of them is counted, whether
    // since it does not fit by its bytes or behind its back.
    let more = format!("{}budget: {{ hold_wait: 60s }}\n", budget("0.06"));
    let world = Arc::new(World::new(luna([Reply::tokens(10).stalls_after(0)]), &more).await);
    let mut asking = JoinSet::new();
    for number in 0..3 {
        let (world, body) = (Arc::clone(&world), body(number));
        asking.spawn(async move { world.chat(body).await.status });
    }
    world.until("all to be on their way at once", || world.provider.arrivals() == 3).await;
    world.provider.release();
    assert_eq!(asking.join_all().await, [200; 3]);
    assert!(total(&world) <= 60_000_000);
}

/// What is held and not spent of a request: no more than docs/budgets.md says, so that a budget of so many times that
/// serves so many at once.
#[tokio::test(flavor = "multi_thread")]
async fn agents_with_two_hundred_thousand_tokens_and_large_limits_are_in_flight_together() {
    const AGENTS: usize = 6;
    // Luna: 210,100 tokens at 0.25 dollars a million, 32,000 at 1.2.
    const STATED: usize = 52_525_000 + 38_400_000;
    let long = "lorem ipsum dolor sit amet ".repeat(39_990);
    let body = |number: usize| {
        json!({
            "model": "gpt-5.6-luna", "max_completion_tokens": 32_000, "service_tier": "default",
            "messages": [{ "role": "user", "content": long }, { "role": "user", "content": number.to_string() }],
        })
        .to_string()
    };
    let usd = format!("0.{:09}", AGENTS * STATED);
    let more = format!("{}budget: {{ hold_wait: 60s }}\n", budget(&usd));
    let world = Arc::new(World::new(luna([Reply::tokens(10).stalls_after(0)]), &more).await);
    let mut asking = JoinSet::new();
    for number in 0..AGENTS {
        let (world, body) = (Arc::clone(&world), body(number));
        asking.spawn(async move { world.chat(body).await.status });
    }
    world.until("all to be on their way at once", || world.provider.arrivals() == AGENTS as u64).await;
    world.provider.release();
    assert_eq!(asking.join_all().await, [200; AGENTS]);
    let read = world.rows("select min(input_tokens), max(input_tokens) from attempts_v1").remove(0);
    assert!(matches!(read[..], [Int(least), Int(most)] if least > 198_000 && most <= 200_000), "{read:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_that_name_no_limit_do_not_lock_all_that_is_left_away_where_limits_may_be_lowered() {
    // The model may write 128,000 tokens, for 0.1536 dollars; 16,384 are 0.01966.
    let more = format!("{}budget: {{ on_short: shrink, hold_wait: 60s }}\n", budget("0.06"));
    let world = Arc::new(World::new(luna([Reply::tokens(10).stalls_after(0)]), &more).await);
    let mut asking = JoinSet::new();
    for _ in 0..3 {
        let world = Arc::clone(&world);
        asking.spawn(async move { world.chat(ask(json!({ "service_tier": "default" }))).await.status });
    }
    world.until("all to be on their way at once", || world.provider.arrivals() == 3).await;
    let told = world.provider.requests().into_iter().map(|seen| seen.json()["max_completion_tokens"].as_u64());
    assert_eq!(told.collect::<Vec<_>>(), [Some(16_384); 3]);
    world.provider.release();
    assert_eq!(asking.join_all().await, [200; 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_holds_that_are_small_each_are_counted_once_they_are_a_quarter_of_what_is_left() {
    let long = "lorem ipsum dolor sit amet ".repeat(5_500);
    let body = json!({
        "model": "gpt-5.6-luna", "max_completion_tokens": 100, "service_tier": "default",
        "messages": [{ "role": "user", "content": long }],
    })
    .to_string();
    // By its bytes each may cost 0.0373 dollars, by its tokens 0.0082. Seven are a quarter of a dollar.
    let world = Arc::new(World::new(luna([Reply::tokens(10).stalls_after(0)]), &budget("1")).await);
    let mut asking = JoinSet::new();
    for _ in 0..10 {
        let (world, body) = (Arc::clone(&world), body.clone());
        asking.spawn(async move { world.chat(body).await.status });
    }
    world.until("all to be on their way", || world.provider.arrivals() == 10).await;
    let held = async || 1.0 - world.metric("farthing_budget_remaining_usd", "team=\"default\"").await;
    let since = std::time::Instant::now();
    while held().await > 0.25 + 4.0 * 0.0083 {
        assert!(since.elapsed() < PATIENCE, "{} dollars are held", held().await);
    }
    world.provider.release();
    assert_eq!(asking.join_all().await, [200; 10]);
}

#[tokio::test]
async fn limits_on_pace_are_refused_with_a_time_to_come_back() {
    let terms = "limits: { requests_per_minute: 2 }, projects: { busy: { limits: { concurrency: 1 } } }";
    let world = World::new(luna([Reply::tokens(9).stalls_after(2), Reply::tokens(1)]), &team(terms)).await;
    let stream = ask(json!({ "stream": true, "metadata": { "project": "busy" } }));
    let mut first = world.stream(stream.clone()).await;
    first.take(1).await;
    let got = world.chat(stream).await;
    assert_eq!((got.status, &*got.code(), got.header("retry-after")), (429, "rate_limited", "1"), "{}", got.text());
    assert_eq!(got.json()["error"]["type"], "rate_limit_error");
    assert_eq!(got.header("x-should-retry"), "", "whoever comes back later is welcome");
    world.provider.release();
    first.rest().await;
    assert_eq!(world.chat(ASK).await.status, 200, "the request that was refused does not count");
    let got = world.chat(ASK).await;
    assert_eq!((got.status, &*got.code()), (429, "rate_limited"));
    assert!(got.header("retry-after").parse::<u64>().is_ok_and(|seconds| (1..=61).contains(&seconds)));
    assert_eq!(world.requests().last().map(|row| row.status.clone()).as_deref(), Some("rate_limited"));
}

#[tokio::test]
async fn who_has_limits_a_minute_sees_what_is_left_of_them_and_not_the_provider_s() {
    let terms = "limits: { requests_per_minute: 3, tokens_per_minute: 100000 }";
    let world = World::new(luna([Reply::text("ok")]), &team(terms)).await;
    let message =
        json!({ "model": "gpt-5.6-luna", "max_tokens": 9, "messages": [{ "role": "user", "content": "hi" }] });
    let mut told = Vec::new();
    for stream in [false, true] {
        let got = world.chat(ask(json!({ "stream": stream }))).await;
        told.push([got.header("x-ratelimit-limit-requests"), got.header("x-ratelimit-remaining-requests")].join(" "));
        assert_eq!((got.status, got.header("x-ratelimit-limit-tokens")), (200, "100000"));
        let left = got.header("x-ratelimit-remaining-tokens").parse::<u64>();
        assert!(left.is_ok_and(|left| (90_000..100_000).contains(&left)));
        let reset = got.header("x-ratelimit-reset-requests").strip_suffix('s').map(str::parse::<u64>);
        assert!(reset.is_some_and(|reset| reset.is_ok_and(|seconds| (1..=61).contains(&seconds))));
    }
    assert_eq!(told, ["3 2", "3 1"]);
    let post = |path: &'static str, body: String| world.send(http::Method::POST, path, &[], body.into());
    let got = whole(post("/v1/messages", message.to_string()).await).await;
    assert_eq!((got.status, got.header("anthropic-ratelimit-requests-limit")), (200, "3"), "{}", got.text());
    assert_eq!(got.header("anthropic-ratelimit-requests-remaining"), "0");
    assert!(got.header("anthropic-ratelimit-tokens-reset").ends_with('Z'), "a moment");
    let got = world.chat(ASK).await;
    assert_eq!((got.status, got.header("x-ratelimit-remaining-requests")), (429, "0"));
    assert_eq!(world.provider.requests().len(), 3);
    // Without limits of its own, and where they stop nobody, a client sees the provider's.
    for more in [String::new(), format!("mode: observe\n{}", team(terms))] {
        let world = World::new(luna([Reply::text("ok")]), &more).await;
        let got = world.chat(ASK).await;
        assert_eq!(got.header("x-ratelimit-limit-requests"), "10000", "{more}");
    }
}

#[tokio::test]
async fn work_goes_one_tier_down_when_the_budget_is_nearly_spent() {
    let models = ["gpt-5.6-luna", "gpt-5.6-terra", "gpt-5.6-sol"];
    let provider =
        models.iter().fold(Provider::openai(), |provider, name| provider.model(script(name, [Reply::tokens(9)])));
    let terms = "budget: { usd: 1, every: day, near: 0.01%, when_near: downgrade }";
    let world = World::new(provider, &team(terms)).await;
    let question = |model: &str| {
        json!({
            "model": model, "max_completion_tokens": 100,
            "messages": [{ "role": "user", "content": "Why did orders_daily fail with an error that nobody has seen?" }],
        })
        .to_string()
    };
    let first = world.chat(question("auto")).await;
    let tier = first.header("x-farthing-tier").to_owned();
    assert_ne!(tier, "lightweight", "{}", first.header("x-farthing-reason"));
    world.chat(question("frontier")).await;
    // Another conversation, so that no warm prefix holds it where it was.
    let again = world.chat(question("auto").replace("orders_daily", "orders_weekly")).await;
    assert!(
        again.header("x-farthing-reason").contains("the budget is nearly spent"),
        "{}",
        again.header("x-farthing-reason")
    );
    assert_ne!(again.header("x-farthing-tier"), tier);
    assert_eq!(world.chat(question("frontier")).await.header("x-farthing-tier"), "frontier", "pins are honoured");
    assert_eq!(world.logged("budget", 1).await["what"], "near");
}

#[tokio::test]
async fn a_tier_without_models_is_passed_over_on_the_way_down() {
    let models = ["gpt-5.6-luna", "gpt-5.6-sol"];
    let provider =
        models.iter().fold(Provider::openai(), |provider, name| provider.model(script(name, [Reply::tokens(9)])));
    let terms = "budget: { usd: 1, every: day, near: 0.01%, when_near: downgrade }";
    let tiers = "frontier: [sim/gpt-5.6-sol], lightweight: [sim/gpt-5.6-luna]";
    let world = Setup::of(provider).tiers(tiers).more(&team(terms)).start().await;
    let question = |model: &str, what: &str| {
        let content = format!("Why did {what} fail with an error that nobody has seen?");
        json!({
            "model": model, "max_completion_tokens": 100, "messages": [{ "role": "user", "content": content }],
        })
        .to_string()
    };
    for _ in 0..2 {
        assert_eq!(world.chat(question("frontier", "orders_daily")).await.status, 200);
    }
    let cheaper = world.chat(question("auto", "orders_weekly")).await;
    let reason = cheaper.header("x-farthing-reason");
    assert_eq!(cheaper.header("x-farthing-tier"), "lightweight", "{reason}");
    assert!(reason.contains("the budget is nearly spent"), "{reason}");
}

#[tokio::test]
async fn a_webhook_is_told_until_it_listens() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/hook?key=secret", listener.local_addr().expect("an address"));
    let more = "webhooks: [{ url: file:url, events: [budget], secret: file:secret }]\n";
    let setup = Setup::of(luna([Reply::tokens(20)])).file("url", &url).file("secret", "s3cret-of-the-hook");
    let world =
        setup.more(&format!("{}{more}", team("budget: { usd: 0.0001, every: month, near: 50% }"))).start().await;
    while world.chat(bounded(20)).await.status == 200 {}
    let mut told = Vec::new();
    for status in ["500 Oops", "200 OK", "200 OK"] {
        let (mut stream, _) = listener.accept().await.expect("a message");
        let mut message = vec![0; 8192];
        let mut length = 0;
        while !String::from_utf8_lossy(&message[..length]).contains("when_near") || message[length - 1] != b'}' {
            length += stream.read(&mut message[length..]).await.expect("more of it");
        }
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        stream.write_all(answer.as_bytes()).await.expect("an open connection");
        told.push(String::from_utf8_lossy(&message[..length]).into_owned());
    }
    let json =
        |text: &str| serde_json::from_str::<Value>(text.split("\r\n\r\n").nth(1).expect("a body")).expect("JSON");
    assert_eq!(json(&told[0]), json(&told[1]), "it is told again");
    let what: Vec<_> =
        told[1..].iter().map(|text| json(text)["what"].as_str().unwrap_or_default().to_owned()).collect();
    assert_eq!(what, ["near", "exhausted"]);
    assert_ne!(json(&told[1])["id"], json(&told[2])["id"]);
    assert_eq!(json(&told[1])["payer"], "team `default`");
    assert!(told[0].to_lowercase().contains("x-farthing-signature: t="), "{}", told[0]);
    assert!(!told.concat().contains("s3cret") && !world.log_text().contains("key=secret"));
}

/// SHA-256 of `sk-budget`.
const KEY: &str = "025c374c329646e85513b352eb015a0a8b4aae9d0c507e563497ee10b2f99e44";

#[tokio::test]
async fn a_key_that_gets_a_budget_while_it_is_in_use_has_spent_what_it_has_spent() {
    let key = |more: &str| format!("keys: [ {{ sha256: {KEY}, team: ops, name: k{more} }} ]\n");
    let world = World::new(luna([Reply::tokens(20)]), &key("")).await;
    let as_key = [("authorization", "Bearer sk-budget")];
    for _ in 0..3 {
        assert_eq!(world.chat_as(bounded(20), &as_key).await.status, 200);
    }
    let spent = total(&world);
    let file = world.folder.path().join("farthing.yaml");
    let before = std::fs::read_to_string(&file).expect("the configuration");
    let usd = format!(", budget: {{ usd: 0.{:09}, every: rolling 24h }}", spent + 40_000);
    std::fs::write(&file, before.replace(&key(""), &key(&usd))).expect("a file");
    world.logged("keys_reloaded", 1).await;
    let got = world.chat_as(bounded(20), &as_key).await;
    is_refused_for_money(&got);
    assert!(got.text().contains("key `k` has 0.00004 of its"), "{}", got.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ceiling_holds_over_kill_9_in_the_middle_of_holds() {
    const USD: i64 = 400_000;
    let model = script("gpt-5.6-luna", [Reply::tokens(20).stalls_after(3)]).bills_after_cut(BillsAfterCut::All);
    let provider = Provider::openai().model(model).start().await.expect("a port");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("farthing.yaml");
    let text = format!(
        "server: {{ listen: 127.0.0.1:0, admin_listen: 127.0.0.1:0 }}\nbudget: {{ hold_wait: 50ms }}\n\
         providers:\n  sim: {{ protocol: openai, vendor: openai, base_url: {}, models: [\"*\"] }}\n{}",
        provider.base_url(),
        budget("0.0004")
    );
    std::fs::write(&file, text).expect("a file");
    for _ in 0..4 {
        let served = Served::start(&file);
        let before = provider.arrivals();
        let mut asking = JoinSet::new();
        for _ in 0..8 {
            let url = format!("http://{}/v1/chat/completions", served.listen);
            let body = ask(json!({ "stream": true, "max_completion_tokens": 20, "service_tier": "default" }));
            let client: hyper_util::client::legacy::Client<_, http_body_util::Full<hyper::body::Bytes>> =
                hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new()).build_http();
            asking.spawn(async move {
                let request = http::Request::post(url).body(body.into()).expect("a valid request");
                // The reply is kept, so that nobody hangs up before the process is killed.
                client.request(request).await.map(|reply| (reply.status().as_u16(), reply))
            });
        }
        let mut replies = Vec::new();
        while let Some(reply) = asking.join_next().await {
            replies.push(reply.expect("no panic").expect("an answer"));
        }
        let streaming = replies.iter().filter(|(status, _)| *status == 200).count();
        assert_eq!(provider.arrivals() - before, streaming as u64);
        served.kill();
    }
    let billed = provider.invoice().total().0;
    assert!(billed > USD / 4 && billed <= USD, "{billed} of {USD}");
}
