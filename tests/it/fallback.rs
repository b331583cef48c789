//! Which target answers: the next of the plan before the first byte, grants, and targets that rest.

use farthing::simulator::{ModelScript, Provider, Reply};
use serde_json::json;

use crate::support::{ASK, ASK_STREAM, Setup, World, luna, script};

const SOL: &str = r#"{"model":"frontier","messages":[{"role":"user","content":"hi"}]}"#;
const SOL_STREAM: &str = r#"{"model":"frontier","stream":true,"messages":[{"role":"user","content":"hi"}]}"#;

/// Two rows whose frontier models do `first` and `second`; the tier names them in this order.
async fn two(first: Reply, second: Reply, dispatch: &str) -> World {
    let provider = |reply| Provider::openai().model(script("gpt-5.6-sol", [reply]));
    let setup = Setup::of(provider(first)).and("spare", provider(second)).dispatch(dispatch);
    setup.tiers("frontier: [sim/gpt-5.6-sol, spare/gpt-5.6-sol]").start().await
}

#[tokio::test]
async fn a_target_that_fails_before_its_first_byte_is_followed_by_the_next_of_the_tier() {
    let error = format!("data: {}\n\n", json!({"error": {"message": "busy", "type": "server_error", "code": null}}));
    let ping = ": ping\n\n".to_owned();
    let quota = json!({"error": {"message": "no money", "type": "insufficient_quota", "code": "insufficient_quota"}});
    for (name, reply, fate, body) in [
        ("503", Reply::status(503), "failed", SOL),
        ("429 with a long wait", Reply::status(429).with_header("retry-after", "60"), "failed", SOL),
        ("no money", Reply::insufficient_quota(), "failed", SOL),
        ("a refused credential", Reply::status(401), "failed", SOL),
        ("a reset", Reply::text("x").resets_before_headers(), "interrupted", SOL_STREAM),
        ("an error in a success", Reply::status(200), "failed", SOL),
        ("no money in a success", Reply::status(200).with_body(&quota), "failed", SOL),
        ("an error as the first event", Reply::raw_events([error.clone()]), "interrupted", SOL_STREAM),
        ("an error after a comment", Reply::raw_events([ping, error]), "interrupted", SOL_STREAM),
    ] {
        let world = two(reply, Reply::text("from the spare"), "retries: 0").await;
        let got = world.chat(body).await;
        assert_eq!((got.status, got.header("x-farthing-model")), (200, "spare/gpt-5.6-sol"), "{name}: {}", got.text());
        assert!(!got.text().contains("error"), "{name}: {}", got.text());
        assert_eq!((world.provider.arrivals(), world.others[0].arrivals()), (1, 1), "{name}");
        assert_eq!(world.fates(), [fate, "completed"], "{name}");
        let [first, second] = &world.attempts()[..] else { panic!("two rows") };
        assert_eq!((&*first.target, &*second.target), ("sim/gpt-5.6-sol", "spare/gpt-5.6-sol"));
        world.the_ledger_holds_the_invoice();
    }
}

#[tokio::test]
async fn a_provider_that_is_not_there_costs_nothing_and_is_followed_by_the_next() {
    let world = two(Reply::text("never"), Reply::text("from the spare"), "retries: 1").await;
    let World { gateway, provider, others, client, folder, log } = world;
    provider.shutdown().await;
    let gone = luna([]).start().await.expect("a port");
    let world = World { gateway, provider: gone, others, client, folder, log };
    let got = world.chat(SOL).await;
    assert_eq!((got.status, got.header("x-farthing-model")), (200, "spare/gpt-5.6-sol"));
    assert_eq!(world.fates(), ["failed", "failed", "completed"]);
    assert_eq!(got.header("x-farthing-cost-usd"), world.others[0].invoice().total().to_string());
}

#[tokio::test]
async fn the_next_target_gets_its_own_model_and_its_own_price() {
    let sim = Provider::openai().model(script("gpt-5.6-sol", [Reply::status(503)]));
    let spare = Provider::openai().model(script("gpt-5.6-terra", [Reply::text("ok")]));
    let setup = Setup::of(sim).and("spare", spare).tiers("frontier: [sim/gpt-5.6-sol, spare/gpt-5.6-terra]");
    let world = setup.dispatch("retries: 0").start().await;
    let got = world.chat(SOL_STREAM).await;
    assert_eq!((got.header("x-farthing-model"), got.header("x-farthing-tier")), ("spare/gpt-5.6-terra", "frontier"));
    assert_eq!(got.header("x-farthing-edits"), "model,usage");
    let asked = |provider: &farthing::simulator::Running| provider.requests()[0].json()["model"].clone();
    assert_eq!([asked(&world.provider), asked(&world.others[0])], ["gpt-5.6-sol", "gpt-5.6-terra"]);
    assert_eq!(got.cost_comment(), Some(&*world.others[0].invoice().total().to_string()));
}

#[tokio::test]
async fn nothing_falls_back_that_the_caller_got_wrong_or_that_may_be_billed_twice() {
    for (reply, status) in [(Reply::status(400), 400), (Reply::status(404), 404), (Reply::status(422), 422)] {
        let world = two(reply, Reply::text("from the spare"), "retries: 0").await;
        assert_eq!(world.chat(SOL).await.status, status);
        assert_eq!(world.others[0].arrivals(), 0);
    }
    let slow = Reply::tokens(2).stalls_after(0);
    let world = two(slow, Reply::text("from the spare"), "retries: 0, first_byte_timeout: 100ms").await;
    assert_eq!((world.chat(SOL_STREAM).await.status, world.others[0].arrivals()), (504, 0));
}

#[tokio::test]
async fn there_is_no_fallback_after_the_first_byte() {
    let world = two(Reply::tokens(5).resets_after(1), Reply::text("from the spare"), "retries: 1").await;
    let got = world.chat(SOL_STREAM).await;
    assert_eq!((got.last_error(), world.others[0].arrivals()), ("provider_error".to_owned(), 0));
}

#[tokio::test]
async fn the_last_target_s_error_is_the_answer_when_all_fail() {
    let last = Reply::status(429).with_header("retry-after", "60");
    let world = two(Reply::status(503), last, "retries: 1, retry_wait: 1s").await;
    let got = world.chat(SOL).await;
    assert_eq!((got.status, got.header("retry-after")), (429, "60"));
    assert_eq!(got.header("x-farthing-model"), "spare/gpt-5.6-sol");
    assert_eq!(world.fates(), ["failed", "failed", "failed"], "two tries and one");
    assert_eq!(world.requests().len(), 1);
}

#[tokio::test]
async fn an_exact_name_stays_with_the_rows_that_serve_that_name() {
    let sim = Provider::openai().model(script("gpt-5.6-luna", [Reply::status(503)])).model(ModelScript::named("other"));
    let world = Setup::of(sim).and("spare", luna([Reply::text("spare")])).dispatch("retries: 0").start().await;
    let got = world.chat(ASK).await;
    assert_eq!((got.status, got.header("x-farthing-model")), (200, "spare/gpt-5.6-luna"));
    let pinned = ASK.replace("gpt-5.6-luna", "sim/gpt-5.6-luna");
    let got = world.chat(pinned).await;
    assert_eq!((got.status, got.header("x-farthing-model")), (503, "sim/gpt-5.6-luna"), "one row only");
}

#[tokio::test]
async fn a_target_that_answers_in_between_does_not_rest() {
    let busy = || Reply::status(500);
    let sim = Provider::openai().model(script("gpt-5.6-sol", [busy(), Reply::text("ok"), busy(), Reply::text("ok")]));
    let spare = Provider::openai().model(script("gpt-5.6-sol", [Reply::text("from the spare")]));
    let setup = Setup::of(sim).and("spare", spare).tiers("frontier: [sim/gpt-5.6-sol, spare/gpt-5.6-sol]");
    let world = setup.dispatch("retries: 0, circuit: { failures: 2, cool_down: 1h }").start().await;
    for row in ["spare", "sim", "spare", "sim"] {
        assert_eq!(world.chat(SOL).await.header("x-farthing-model"), format!("{row}/gpt-5.6-sol"));
    }
}

#[tokio::test]
async fn a_target_that_keeps_failing_rests_and_the_next_is_asked_at_once() {
    let rules = "retries: 0, circuit: { failures: 2, cool_down: 1h }";
    let world = two(Reply::status(500), Reply::text("from the spare"), rules).await;
    for _ in 0..4 {
        assert_eq!(world.chat(SOL).await.header("x-farthing-model"), "spare/gpt-5.6-sol");
    }
    assert_eq!((world.provider.arrivals(), world.others[0].arrivals()), (2, 4));
    let opened = world.logged("circuit_opened", 1).await;
    assert_eq!(opened["target"], "sim/gpt-5.6-sol");
    assert_eq!(world.attempts().len(), 6);
}

#[tokio::test]
async fn a_client_s_mistakes_rest_nobody_and_a_key_that_is_of_no_use_rests() {
    let rules = "retries: 0, circuit: { failures: 1, cool_down: 1h }";
    let limited = || Reply::status(429).with_header("retry-after", "60");
    for (reply, arrivals) in [
        (Reply::status(400), 2),
        (Reply::status(403), 2),
        (Reply::status(429), 2),
        (limited(), 1),
        (Reply::status(401), 1),
        (Reply::insufficient_quota(), 1),
    ] {
        let world = two(reply, Reply::text("from the spare"), rules).await;
        world.chat(SOL).await;
        world.chat(SOL).await;
        assert_eq!(world.provider.arrivals(), arrivals);
    }
}

#[tokio::test]
async fn a_lone_target_is_asked_although_it_rests() {
    let replies = [Reply::status(500), Reply::status(500), Reply::text("well again")];
    let rules = "retries: 0, circuit: { failures: 1, cool_down: 1h }";
    let world = Setup::of(luna(replies)).dispatch(rules).start().await;
    assert_eq!(
        [world.chat(ASK).await.status, world.chat(ASK).await.status, world.chat(ASK).await.status],
        [500, 500, 200]
    );
}

#[tokio::test]
async fn a_model_that_nobody_serves_and_an_empty_tier_are_404() {
    let world = Setup::of(luna([Reply::text("ok")])).tiers("frontier: [sim/gpt-5.6-sol]").start().await;
    let lightweight = ASK.replace("gpt-5.6-luna", "lightweight");
    let got = world.chat(lightweight).await;
    assert_eq!(
        (got.status, got.code(), &got.json()["error"]["param"]),
        (404, "model_not_found".into(), &json!("model"))
    );
    // The provider's own word on a name that the row's patterns cover.
    let got = world.chat(ASK.replace("gpt-5.6-luna", "gpt-9")).await;
    assert_eq!((got.status, got.code(), world.provider.arrivals()), (404, "model_not_found".into(), 1));
    let requests = world.requests();
    assert_eq!((&*requests[0].status, requests[0].cost), ("model_not_found", Some(0)));
    assert_eq!(world.attempts().len(), 1, "what never left has no attempt");
}

#[tokio::test]
async fn a_name_outside_the_rows_patterns_is_404_and_never_leaves() {
    let world = Setup::of(luna([Reply::text("ok")])).models("gpt-5.6-*").start().await;
    assert_eq!(world.chat(ASK_STREAM).await.status, 200);
    let asked = |name: &str| ASK.replace("gpt-5.6-luna", name);
    let near = world.chat(asked("openai/gpt-5.6-lunar")).await.json()["error"]["message"].to_string();
    assert!(near.contains("the model `openai/gpt-5.6-lunar`; did you mean `gpt-5.6-luna`?"), "{near}");
    assert_eq!(world.logged("request", 2).await["asked"], "openai/gpt-5.6-lunar");
    let prompt = world.chat(asked("summarise the orders")).await.json()["error"]["message"].to_string();
    assert!(prompt.contains("no provider row serves this model;"), "{prompt}");
    assert!(!world.log_text().contains("summarise"));
    for name in ["claude-opus-5-5", "sim/claude-opus-5-5", "nobody/gpt-5.6-luna", ""] {
        let got = world.chat(ASK.replace("gpt-5.6-luna", name)).await;
        assert_eq!((got.status, got.code()), (404, "model_not_found".to_owned()), "{name:?}");
        assert_eq!(got.json()["error"]["param"], "model");
    }
    assert_eq!(world.provider.arrivals(), 1);
    assert_eq!(world.requests().len(), 7, "every request has its row");
}
