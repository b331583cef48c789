//! A second attempt beside a slow one: whose answer the client gets, and what becomes of the other.

use farthing::budget::{Every, Payer};
use farthing::money::NanoUsd;
use farthing::simulator::{BillsAfterCut, ModelScript, Provider, Reply};
use http::Method;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::{Setup, World, script, whole};

const SOL: &str = r#"{"model":"frontier","messages":[{"role":"user","content":"hi"}]}"#;
const SOL_STREAM: &str = r#"{"model":"frontier","stream":true,"messages":[{"role":"user","content":"hi"}]}"#;
/// Whoever is stalled is slow at once.
const HEDGED: &str = "retries: 0, hedge: { after: 1ms, at_most: 100% }";
const TIERS: &str = "frontier: [sim/gpt-5.6-sol, spare/gpt-5.6-sol]";

fn sol(reply: Reply) -> Provider {
    Provider::openai().model(script("gpt-5.6-sol", [reply]))
}

fn setup(first: Reply, second: Reply) -> Setup {
    Setup::of(sol(first)).and("spare", sol(second)).dispatch(HEDGED).tiers(TIERS)
}

/// An answer that does not begin before it is released, streamed or not.
fn stalled(text: &str) -> Reply {
    Reply::text(text).stalls_after(0)
}

/// What is wrong with the ledger: sums, parts, bounds.
#[track_caller]
fn the_ledger_is_sound(world: &World) {
    world.the_ledger_holds_the_invoice();
    let sums =
        "select r.request_id from requests_v1 r where r.cost_nano is not (select case when count(*) = count(cost_nano)
                then coalesce(sum(cost_nano), 0) end from attempts_v1 a where a.request_id = r.request_id)";
    assert!(world.rows(sums).is_empty(), "a request costs what its attempts do");
    let parts = "select request_id from requests_v1 where saved_nano is not saved_route_nano + saved_fallback_nano
                 + saved_retry_nano + saved_compress_nano + saved_cache_nano";
    assert!(world.rows(parts).is_empty(), "the parts of what was saved make the whole");
    let open = "select attempt_id from attempts_v1 where fate = 'open'";
    assert!(world.rows(open).is_empty(), "each attempt has an end");
}

async fn came_of_it(world: &World, outcome: &str) {
    let told = world.logged("hedged", 1).await;
    assert_eq!((&told["outcome"], &told["slow"]), (&json!(outcome), &json!("sim/gpt-5.6-sol")), "{told}");
    assert_eq!(told["beside"], json!("spare/gpt-5.6-sol"));
    assert_eq!(world.metric("farthing_hedges_total", &format!("outcome=\"{outcome}\"")).await, 1.0);
}

#[tokio::test]
async fn the_next_target_answers_for_one_that_is_slow_and_both_are_paid_for() {
    for body in [SOL, SOL_STREAM] {
        let world = setup(stalled("too late"), Reply::text("from the spare")).start().await;
        let got = world.chat(body).await;
        assert_eq!((got.status, got.header("x-farthing-model")), (200, "spare/gpt-5.6-sol"), "{}", got.text());
        assert!(got.text().contains("spare") && !got.text().contains("too late"), "{}", got.text());
        let reason = "`sim/gpt-5.6-sol` was slow, and another that was asked as well answered first";
        assert!(got.header("x-farthing-reason").ends_with(reason), "{}", got.header("x-farthing-reason"));
        world.provider.hung_up(1).await.expect("the slow call is given up");
        assert_eq!((world.provider.arrivals(), world.others[0].arrivals()), (1, 1));
        let event = world.logged("request", 1).await;
        assert_eq!(
            (&event["attempts"], &event["model"], &event["provider"]),
            (&json!(2), &json!("gpt-5.6-sol"), &json!("spare"))
        );
        let [slow, other] = &world.attempts()[..] else { panic!("two rows") };
        assert_eq!((&*slow.target, &*slow.fate, slow.cost, &*slow.source), ("sim/gpt-5.6-sol", "cut", None, "unknown"));
        assert_eq!((&*other.target, &*other.fate), ("spare/gpt-5.6-sol", "completed"));
        assert!(slow.id.ends_with("-1") && other.id.ends_with("-2"));
        let request = world.requests().remove(0);
        assert_eq!((&*request.status, request.http_status, request.cost), ("ok", Some(200), None));
        assert_eq!(request.low, slow.low + other.low);
        assert_eq!(request.high, slow.high.zip(other.high).map(|(slow, other)| slow + other));
        the_ledger_is_sound(&world);
        came_of_it(&world, "won").await;
    }
}

#[tokio::test]
async fn a_slow_target_that_answers_after_all_is_the_answer_and_the_other_is_given_up() {
    for (body, habit) in [SOL, SOL_STREAM].into_iter().zip([BillsAfterCut::All, BillsAfterCut::SoFar]) {
        let spare =
            Provider::openai().model(ModelScript::named("gpt-5.6-sol").bills_after_cut(habit).then(stalled("late")));
        let world = Setup::of(sol(stalled("at last"))).and("spare", spare).dispatch(HEDGED).tiers(TIERS).start().await;
        let released = async {
            world.others[0].arrival(1).await.expect("the other is asked");
            world.provider.release();
        };
        let (got, ()) = tokio::join!(world.chat(body), released);
        assert_eq!((got.status, got.header("x-farthing-model")), (200, "sim/gpt-5.6-sol"), "{}", got.text());
        let reason = "slow, so that `spare/gpt-5.6-sol` was asked as well, which was slower";
        assert!(got.header("x-farthing-reason").ends_with(reason), "{}", got.header("x-farthing-reason"));
        world.others[0].hung_up(1).await.expect("the other call is given up");
        world.others[0].settled().await.expect("its invoice is final");
        world.logged("request", 1).await;
        assert_eq!(world.fates(), ["completed", "cut"]);
        assert!(world.others[0].invoice().total().0 > 0 || habit == BillsAfterCut::SoFar);
        the_ledger_is_sound(&world);
        came_of_it(&world, "lost").await;
    }
}

#[tokio::test]
async fn a_second_attempt_that_fails_leaves_the_first_alone_and_costs_nothing() {
    for body in [SOL, SOL_STREAM] {
        let world = setup(stalled("at last"), Reply::status(503)).start().await;
        let released = async {
            // Its row is settled before the first answers.
            world.until("the row that failed", || world.fates().contains(&"failed".to_owned())).await;
            world.provider.release();
        };
        let (got, ()) = tokio::join!(world.chat(body), released);
        assert_eq!((got.status, got.header("x-farthing-model")), (200, "sim/gpt-5.6-sol"), "{}", got.text());
        assert_eq!(world.fates(), ["completed", "failed"]);
        let row = world.requests().remove(0);
        assert_eq!(row.cost, Some(world.provider.invoice().total().0));
        the_ledger_is_sound(&world);
        let saved = world.rows("select saved_nano, saved_retry_nano from requests_v1");
        assert_eq!(saved, [[0_i64.into(), 0_i64.into()]], "it is its own counterfactual");
        came_of_it(&world, "lost").await;
    }
}

#[tokio::test]
async fn a_first_attempt_that_fails_meanwhile_leaves_the_answer_to_the_second() {
    let error = json!({"error": {"message": "busy", "type": "server_error", "code": null}});
    for (body, fails) in [
        (SOL_STREAM, Reply::raw_events([format!("data: {error}\n\n")]).stalls_after(0)),
        (SOL, Reply::raw("application/json", [error.to_string()]).stalls_after(0)),
    ] {
        let world = setup(fails, stalled("from the spare")).start().await;
        let released = async {
            world.others[0].arrival(1).await.expect("the other is asked");
            world.provider.release();
            world.until("the row that failed", || world.fates()[0] != "open").await;
            world.others[0].release();
        };
        let (got, ()) = tokio::join!(world.chat(body), released);
        assert_eq!((got.status, got.header("x-farthing-model")), (200, "spare/gpt-5.6-sol"), "{}", got.text());
        assert_eq!(world.fates().last().map(String::as_str), Some("completed"));
        assert_eq!((world.provider.arrivals(), world.others[0].arrivals()), (1, 1), "it is no fallback besides");
        the_ledger_is_sound(&world);
        came_of_it(&world, "won").await;
    }
}

#[tokio::test]
async fn where_both_fail_the_client_is_told_once_and_what_stands_behind_them_is_tried() {
    let error = json!({"error": {"message": "busy", "type": "server_error", "code": null}});
    let fails = Reply::raw_events([format!("data: {error}\n\n")]).stalls_after(0);
    let world = setup(fails, Reply::status(503))
        .and("third", sol(Reply::text("from the third")))
        .tiers("frontier: [sim/gpt-5.6-sol, spare/gpt-5.6-sol, third/gpt-5.6-sol]")
        .start()
        .await;
    let released = async {
        world.until("the row that failed", || world.fates().contains(&"failed".to_owned())).await;
        world.provider.release();
    };
    let (got, ()) = tokio::join!(world.chat(SOL_STREAM), released);
    assert_eq!((got.status, got.header("x-farthing-model")), (200, "third/gpt-5.6-sol"), "{}", got.text());
    let arrivals = [world.provider.arrivals(), world.others[0].arrivals(), world.others[1].arrivals()];
    assert_eq!(arrivals, [1, 1, 1], "none is asked twice");
    assert_eq!(world.fates().last().map(String::as_str), Some("completed"));
    the_ledger_is_sound(&world);
    came_of_it(&world, "failed").await;
}

#[tokio::test]
async fn a_client_that_leaves_while_two_run_leaves_both_and_both_are_settled() {
    for habit in [BillsAfterCut::None, BillsAfterCut::SoFar, BillsAfterCut::All] {
        let slow = || {
            Provider::openai().model(ModelScript::named("gpt-5.6-sol").bills_after_cut(habit).then(stalled("too late")))
        };
        let world = Setup::of(slow()).and("spare", slow()).dispatch(HEDGED).tiers(TIERS).start().await;
        let mut stream = TcpStream::connect(world.gateway.listen).await.expect("a listening door");
        let head = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n{SOL_STREAM}",
            SOL_STREAM.len()
        );
        stream.write_all(head.as_bytes()).await.expect("an open connection");
        world.others[0].arrival(1).await.expect("both are asked");
        drop(stream);
        let event = world.logged("request", 1).await;
        assert_eq!((&event["status"], &event["attempts"]), (&json!("client_closed"), &json!(2)), "{habit:?}");
        for provider in [&world.provider, &world.others[0]] {
            provider.hung_up(1).await.expect("the call is given up");
            provider.settled().await.expect("the invoice is final");
        }
        assert_eq!(world.fates(), ["cut", "cut"]);
        let request = world.requests().remove(0);
        let high: i64 = world.attempts().iter().filter_map(|row| row.high).sum();
        assert_eq!((request.http_status, request.cost, request.high), (Some(499), None, Some(high)));
        the_ledger_is_sound(&world);
        came_of_it(&world, "abandoned").await;
    }
}

/// Waits until a second attempt was not made.
async fn withheld(world: &World) {
    while world.metric("farthing_hedges_total", "outcome=\"withheld\"").await < 1.0 {
        tokio::task::yield_now().await;
    }
}

/// A budget of so many tenths of what the dearest answer may cost.
fn budget(bound_nano: i64, tenths: i64) -> String {
    let nano = bound_nano * tenths / 10;
    format!(
        "teams: {{ default: {{ budget: {{ usd: {}.{:09}, every: day }} }} }}",
        nano / 1_000_000_000,
        nano % 1_000_000_000
    )
}

#[tokio::test]
async fn no_more_than_the_share_of_requests_and_no_more_than_the_budget_has_room_for_is_asked_twice() {
    let body = SOL.replace("\"frontier\"", "\"frontier\",\"max_completion_tokens\":200");
    let share = "retries: 0, hedge: { after: 1ms, at_most: 5% }";
    let mut bound_nano = 0;
    for is_for_budget in [false, true] {
        let (dispatch, more) = if is_for_budget { (HEDGED, budget(bound_nano, 15)) } else { (share, String::new()) };
        let world = setup(stalled("at last"), Reply::text("never")).dispatch(dispatch).more(&more).start().await;
        let released = async {
            withheld(&world).await;
            world.provider.release();
        };
        let (got, ()) = tokio::join!(world.chat(body.clone()), released);
        assert_eq!((got.status, got.header("x-farthing-model")), (200, "sim/gpt-5.6-sol"), "{}", got.text());
        assert_eq!((world.others[0].arrivals(), world.fates()), (0, vec!["completed".to_owned()]), "{dispatch}");
        assert_eq!(got.header("x-farthing-cost-usd"), world.provider.invoice().total().to_string());
        let bound = world.rows("select bound_nano from attempts_v1");
        let [rusqlite::types::Value::Integer(nano)] = bound[0][..] else { panic!("a bound: {bound:?}") };
        bound_nano = nano;
    }
    // With room for both there are two, and what is held is let go.
    let world = setup(stalled("at last"), Reply::text("from the spare")).more(&budget(bound_nano, 25)).start().await;
    assert_eq!(world.chat(body).await.header("x-farthing-model"), "spare/gpt-5.6-sol");
    world.logged("request", 1).await;
    let (payer, usd) = (Payer::Team("default".into()), NanoUsd(bound_nano * 25 / 10));
    let high: i64 = world.attempts().iter().filter_map(|row| row.high).sum();
    let left = world.gateway.accounts().holds.remaining(&payer, Every::Day, usd);
    assert_eq!(left, usd - NanoUsd(high), "doubt counts at its high end");
}

#[tokio::test]
async fn what_a_provider_runs_or_keeps_by_itself_is_asked_once() {
    let world = setup(stalled("at last"), Reply::text("never")).start().await;
    for more in [json!({"background": true}), json!({"tools": [{"type": "web_search"}]})] {
        let mut body = json!({"model": "frontier", "input": "hi"});
        body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        let arrivals = world.provider.arrivals();
        let released = async {
            world.provider.arrival(arrivals + 1).await.expect("the first is asked");
            world.provider.release();
        };
        let asked = world.send(Method::POST, "/v1/responses", &[], body.to_string().into());
        let (response, ()) = tokio::join!(asked, released);
        drop(whole(response).await);
    }
    assert_eq!(world.others[0].arrivals(), 0);
}

#[tokio::test]
async fn where_no_other_target_is_left_another_key_of_the_row_is_asked() {
    for is_stream in [false, true] {
        let world = Setup::of(sol(stalled("too late")))
            .and("spare", sol(Reply::text("from the spare")))
            .dispatch(HEDGED)
            .tiers("frontier: [sim/gpt-5.6-sol]")
            .rows(
                "  sim: { protocol: openai, vendor: openai, models: ['*'], keys: [{ base_url: URL_OF_sim }, \
                 { base_url: URL_OF_spare }] }\n",
            )
            .start()
            .await;
        let mut won = 0;
        for number in 0..200 {
            let messages = [json!({"role": "user", "content": format!("question {number}")})];
            let body = json!({"model": "frontier", "stream": is_stream, "messages": messages}).to_string();
            let got = world.chat(body).await;
            assert_eq!((got.status, got.header("x-farthing-model")), (200, "sim/gpt-5.6-sol"), "{}", got.text());
            assert!(got.text().contains("spare") && !got.text().contains("too late"), "{}", got.text());
            let reason = got.header("x-farthing-reason");
            won += usize::from(reason.ends_with("another key of the row that was asked as well answered first"));
            if won == 2 {
                break;
            }
        }
        assert_eq!(won, 2, "some conversation takes the slow key");
        let told = world.logged("hedged", 1).await;
        assert_eq!((&told["slow"], &told["beside"]), (&json!("sim/gpt-5.6-sol"), &json!("sim/gpt-5.6-sol")), "{told}");
        assert!(told["key"] == 1 || told["key"] == 2, "{told}");
        assert!(world.metric("farthing_hedges_total", "outcome=\"won\"").await >= 2.0);
        the_ledger_is_sound(&world);
    }
}

#[tokio::test]
async fn how_long_is_slow_is_learned_from_the_target_s_own_answers() {
    let sim = Provider::openai().model(script("gpt-5.6-sol", [Reply::text("ok")]).when("slow", stalled("too late")));
    let world = Setup::of(sim)
        .and("spare", sol(Reply::text("from the spare")))
        .dispatch("retries: 0, hedge: { after: p99, at_most: 100% }")
        .tiers(TIERS)
        .start()
        .await;
    for _ in 0..20 {
        world.chat(SOL_STREAM).await;
    }
    let got = world.chat(SOL_STREAM.replace("\"hi\"", "\"slow\"")).await;
    assert_eq!((got.status, got.header("x-farthing-model")), (200, "spare/gpt-5.6-sol"), "{}", got.text());
    the_ledger_is_sound(&world);
}

#[tokio::test]
async fn both_attempts_may_be_in_other_words_than_the_client_s() {
    const OPUS: &str = "claude-opus-5-5";
    let claude = |reply: Reply| Provider::anthropic().model(script(OPUS, [reply]));
    let message = json!({"model": "frontier", "max_tokens": 100, "messages": [{"role": "user", "content": "hi"}]});
    let stream = |body: &Value, on: bool| {
        let mut body = body.clone();
        body["stream"] = json!(on);
        body.to_string()
    };
    let chat: Value = serde_json::from_str(SOL).expect("JSON");
    for on in [false, true] {
        // A client of Chat Completions: the slow one is Anthropic's, the other OpenAI's; and the other way round.
        let world = Setup::of(claude(stalled("too late")))
            .anthropic()
            .and_speaking("openai", "spare", sol(Reply::text("from the spare")))
            .dispatch(HEDGED)
            .tiers(&format!("frontier: [sim/{OPUS}, spare/gpt-5.6-sol]"))
            .start()
            .await;
        let got = world.chat(stream(&chat, on)).await;
        assert_eq!((got.status, got.header("x-farthing-model")), (200, "spare/gpt-5.6-sol"), "{}", got.text());
        assert!(!got.header("x-farthing-edits").contains("translate"), "{}", got.header("x-farthing-edits"));
        world.logged("request", 1).await;
        assert_eq!(world.fates(), ["cut", "completed"]);
        the_ledger_is_sound(&world);

        let world = Setup::of(sol(stalled("too late")))
            .and_speaking("anthropic", "spare", claude(Reply::text("from the spare")))
            .dispatch(HEDGED)
            .tiers(&format!("frontier: [sim/gpt-5.6-sol, spare/{OPUS}]"))
            .start()
            .await;
        let got = world.chat(stream(&chat, on)).await;
        assert_eq!((got.status, got.header("x-farthing-model")), (200, &*format!("spare/{OPUS}")), "{}", got.text());
        assert!(got.header("x-farthing-edits").contains("translate") && got.text().contains("from"), "{}", got.text());
        world.logged("request", 1).await;
        assert_eq!(world.fates(), ["cut", "completed"]);
        the_ledger_is_sound(&world);

        let world = Setup::of(claude(stalled("too late")))
            .anthropic()
            .and_speaking("anthropic", "spare", claude(Reply::text("from the spare")))
            .dispatch(HEDGED)
            .tiers(&format!("frontier: [sim/{OPUS}, spare/{OPUS}]"))
            .start()
            .await;
        let got = whole(world.send(Method::POST, "/v1/messages", &[], stream(&message, on).into()).await).await;
        assert_eq!((got.status, got.header("x-farthing-model")), (200, &*format!("spare/{OPUS}")), "{}", got.text());
        world.logged("request", 1).await;
        assert_eq!(world.fates(), ["cut", "completed"]);
        the_ledger_is_sound(&world);
    }
}

#[tokio::test]
async fn one_deadline_holds_for_all_attempts_of_a_request() {
    // What timed out is tried elsewhere here, but not once the caller has gone.
    let rules = "retries: 0, retry_after_timeout: true";
    let world = setup(stalled("too late"), Reply::text("never")).dispatch(rules).start().await;
    let got = world.chat_as(SOL, &[("x-farthing-deadline", "60")]).await;
    assert_eq!((got.status, got.code(), world.others[0].arrivals()), (504, "provider_timeout".to_owned(), 0));
    assert_eq!(world.attempts().len(), 1);
    // The same with the configuration's, for a second attempt too: it ends with the first.
    let rules = format!("{HEDGED}, total_timeout: 200ms");
    let world = setup(stalled("too late"), stalled("too late")).dispatch(&rules).start().await;
    let got = world.chat(SOL).await;
    assert_eq!((got.status, got.code()), (504, "provider_timeout".to_owned()));
    let fates = world.fates();
    assert!(fates.len() <= 2 && fates.iter().all(|fate| fate != "completed" && fate != "cut"), "{fates:?}");
    the_ledger_is_sound(&world);
}
