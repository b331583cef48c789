//! What is asked of models and is no conversation: embeddings and legacy completions, byte for byte, by name, and settled at
//! what is billed.

use farthing::simulator::{BillsAfterCut, Provider, Reply};
use http::Method;
use rusqlite::types::Value as Cell;
use serde_json::{Value, json};

use crate::support::{Events, Got, Setup, World, script, whole};

const SMALL: &str = "text-embedding-3-small";
const INSTRUCT: &str = "gpt-3.5-turbo-instruct";

fn setup(replies: impl IntoIterator<Item = Reply>) -> Setup {
    Setup::of(Provider::openai().model(script(SMALL, [Reply::text("")])).model(script(INSTRUCT, replies)))
}

async fn world(replies: impl IntoIterator<Item = Reply>) -> World {
    setup(replies).start().await
}

fn with(mut body: Value, more: Value) -> String {
    if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
        body.extend(more);
    }
    body.to_string()
}

fn embedding(more: Value) -> String {
    with(json!({"model": SMALL, "input": "the orders job failed"}), more)
}

fn completion(more: Value) -> String {
    with(json!({"model": INSTRUCT, "prompt": "once upon a time", "max_tokens": 50}), more)
}

async fn post(world: &World, path: &str, body: impl Into<String>) -> Got {
    whole(world.send(Method::POST, path, &[], body.into().into()).await).await
}

async fn embed(world: &World, body: impl Into<String>) -> Got {
    post(world, "/v1/embeddings", body).await
}

async fn complete(world: &World, body: impl Into<String>) -> Got {
    post(world, "/v1/completions", body).await
}

#[tokio::test]
async fn vectors_come_as_they_are_and_cost_what_is_billed() {
    let world = world([]).await;
    for (input, vectors, tokens) in [
        (json!("the orders job failed"), 1, 4),
        (json!(["the orders job failed", "again"]), 2, 5),
        (json!([1, 2, 3, 4, 5, 6]), 1, 6),
        (json!([[1, 2], [3, 4, 5]]), 2, 5),
    ] {
        // Spelt as nobody would write it anew.
        let body = format!("{{ \"input\":{input},\n \"model\" : \"{SMALL}\",\"encoding_format\":\"base64\" }}");
        let got = embed(&world, &*body).await;
        assert_eq!((got.status, got.json()["data"].as_array().map(Vec::len)), (200, Some(vectors)), "{}", got.text());
        assert_eq!(got.json()["usage"], json!({"prompt_tokens": tokens, "total_tokens": tokens}));
        assert!(!got.header("x-farthing-cost-usd").is_empty() && got.header("x-farthing-model").ends_with(SMALL));
        let sent = world.provider.requests().pop().expect("a request");
        assert_eq!((&*sent.body, &*sent.path), (body.as_bytes(), "/v1/embeddings"));
    }
    let surfaces = world.rows("select distinct surface, status from requests_v1");
    assert_eq!(surfaces, [[Cell::Text("embeddings".to_owned()), Cell::Text("ok".to_owned())]]);
    world.settled_as_billed(4);
}

#[tokio::test]
async fn a_completion_comes_whole_or_as_a_stream_and_costs_what_is_billed() {
    let world = world([Reply::text("there was a job")]).await;
    let got = complete(&world, completion(json!({}))).await;
    assert_eq!((got.status, &got.json()["choices"][0]["text"]), (200, &json!("there was a job")), "{}", got.text());
    let got = complete(&world, completion(json!({"stream": true}))).await;
    assert_eq!((got.status, got.header("x-farthing-edits")), (200, "usage"), "{}", got.text());
    let said: String = got.datas()[..got.datas().len() - 1]
        .iter()
        .map(|data| serde_json::from_str::<Value>(data).expect("JSON")["choices"][0]["text"].clone())
        .map(|text| text.as_str().expect("the usage that nobody asked for is withheld").to_owned())
        .collect();
    assert_eq!((&*said, got.datas().last()), ("there was a job", Some(&"[DONE]")));
    assert!(got.cost_comment().is_some(), "{}", got.text());
    let asked =
        completion(json!({"stream": true, "stream_options": {"include_usage": true}, "n": 2, "prompt": ["a", "b"]}));
    let got = complete(&world, asked).await;
    assert!(got.text().contains(r#""prompt_tokens":2"#), "{}", got.text());
    assert!(world.provider.requests().iter().all(|sent| sent.path == "/v1/completions"));
    assert_eq!(world.rows("select distinct surface from requests_v1"), [[Cell::Text("completions".to_owned())]]);
    world.settled_as_billed(3);
}

#[tokio::test]
async fn no_event_waits_for_the_next_and_a_broken_stream_says_so() {
    let world =
        world([Reply::text("one two three").stalls_after(1), Reply::text("one two three").resets_after(2)]).await;
    let response = world.send(Method::POST, "/v1/completions", &[], completion(json!({"stream": true})).into()).await;
    let mut events = Events::of(response);
    assert!(events.take(1).await[0].contains("one"));
    world.provider.release();
    assert_eq!(events.rest().await.last().map(|last| &**last), Some("data: [DONE]\n\n"));
    let got = complete(&world, completion(json!({"stream": true}))).await;
    assert_eq!(got.last_error(), "provider_error");
    assert_eq!(world.fates(), ["completed", "interrupted"]);
    world.the_ledger_holds_the_invoice();
}

#[tokio::test]
async fn models_are_asked_for_by_name_only() {
    let policy = "---\ntreat_as_auto: [\"*\"]\n---\n## Frontier\nUse for:\n- Everything\n";
    let world = setup([Reply::text("ok")])
        .tiers(&format!("lightweight: [sim/{INSTRUCT}]"))
        .file("routing-policies/default.md", policy)
        .more("policies: routing-policies")
        .start()
        .await;
    for (path, body) in [
        ("/v1/embeddings", embedding(json!({"model": "auto"}))),
        ("/v1/embeddings", embedding(json!({"model": "lightweight"}))),
        ("/v1/completions", completion(json!({"model": "auto"}))),
    ] {
        let got = post(&world, path, body).await;
        assert_eq!((got.status, &*got.code()), (404, "model_not_found"), "{}", got.text());
    }
    let got = embed(&world, embedding(json!({}))).await;
    assert_eq!((got.status, got.header("x-farthing-tier")), (200, ""), "{}", got.text());
    let got = embed(&world, embedding(json!({"model": format!("sim/{SMALL}")}))).await;
    assert_eq!((got.status, got.header("x-farthing-edits")), (200, "model"), "{}", got.text());
    world.settled_as_billed(2);
}

#[tokio::test]
async fn who_speaks_another_protocol_is_never_asked() {
    let opus = script("claude-opus-5-5", [Reply::text("ok")]);
    let world = Setup::of(Provider::anthropic().model(opus)).anthropic().start().await;
    for (path, body) in [
        ("/v1/embeddings", embedding(json!({"model": "claude-opus-5-5"}))),
        ("/v1/completions", completion(json!({"model": "claude-opus-5-5"}))),
    ] {
        let got = post(&world, path, body).await;
        assert_eq!((got.status, &*got.code()), (404, "model_not_found"), "{}", got.text());
        assert!(got.json()["error"]["message"].as_str().is_some_and(|told| told.contains(path)), "{}", got.text());
    }
    assert_eq!(world.provider.arrivals(), 0);
}

#[tokio::test]
async fn a_budget_holds_what_all_inputs_together_can_cost() {
    // A hundred inputs, each within the context of the model, and all of them far beyond it.
    let input: Vec<String> = (0..100).map(|n| format!("{n} {}", "word ".repeat(200))).collect();
    let body = embedding(json!({ "input": input }));
    let too_little = setup([]).more("teams: { default: { budget: { usd: 0.0003, every: day } } }").start().await;
    let got = embed(&too_little, &*body).await;
    assert_eq!((got.status, &*got.code()), (429, "budget_exhausted"), "{}", got.text());
    assert_eq!(too_little.provider.arrivals(), 0);

    let enough = setup([]).more("teams: { default: { budget: { usd: 0.01, every: day } } }").start().await;
    assert_eq!(embed(&enough, &*body).await.status, 200);
    let overshoots = enough.rows("select count(*) from attempts_v1 where overshoot_nano is not null");
    assert_eq!(overshoots, [[Cell::Integer(0)]]);
    enough.settled_as_billed(1);
}

#[tokio::test]
async fn too_little_money_lowers_the_limit_of_a_completion() {
    let world = setup([Reply::tokens(5000)])
        .more("budget: { on_short: shrink }\nteams: { default: { budget: { usd: 0.001, every: day } } }")
        .start()
        .await;
    let got = complete(&world, completion(json!({"max_tokens": 4000}))).await;
    assert_eq!((got.status, got.header("x-farthing-edits")), (200, "output_limit"), "{}", got.text());
    let sent = world.provider.requests()[0].json();
    assert!(sent["max_tokens"].as_u64().is_some_and(|limit| limit < 4000), "{sent}");
    assert!(sent.get("max_completion_tokens").is_none(), "{sent}");
    world.settled_as_billed(1);
}

#[tokio::test]
async fn a_completion_beyond_its_limit_is_ended_as_one_that_has_reached_it() {
    let model = script(INSTRUCT, [Reply::tokens(100_000)]).ignores_limits().bills_after_cut(BillsAfterCut::SoFar);
    let world = Setup::of(Provider::openai().model(model))
        .more("teams: { default: { budget: { usd: 0.001, every: month } } }")
        .start()
        .await;
    let got = complete(&world, completion(json!({"stream": true}))).await;
    let last: Value = serde_json::from_str(got.datas()[got.datas().len() - 2]).expect("an event");
    assert_eq!((&last["choices"][0]["text"], &last["choices"][0]["finish_reason"]), (&json!(""), &json!("length")));
    assert_eq!(world.attempts()[0].fate, "cut");
    world.until("the provider to notice", || world.provider.hang_ups() > 0).await;
}

#[tokio::test]
async fn what_a_provider_refuses_it_says_itself_and_an_overload_is_tried_again() {
    let model = script(SMALL, [Reply::status(503), Reply::text("")]);
    let world = Setup::of(Provider::openai().model(model)).start().await;
    assert_eq!(embed(&world, embedding(json!({}))).await.status, 200);
    let got = embed(&world, embedding(json!({"input": []}))).await;
    assert_eq!((got.status, &got.json()["error"]["param"]), (400, &json!("input")), "{}", got.text());
    assert_eq!(world.fates(), ["failed", "completed", "failed"]);
    for body in [r#"{"input":"a"}"#, r#"{"model":"m"}"#, "[]"] {
        let got = embed(&world, body).await;
        assert_eq!((got.status, &*got.code()), (400, "invalid_body"), "{}", got.text());
    }
    world.the_ledger_holds_the_invoice();
}

#[tokio::test]
async fn vectors_of_many_megabytes_go_through() {
    let numbers = vec!["-0.0069292834"; 1_500_000].join(",");
    let reply = format!(
        "{{\"object\":\"list\",\"data\":[{{\"object\":\"embedding\",\"index\":0,\"embedding\":[{numbers}]}}],\
         \"model\":\"{SMALL}\",\"usage\":{{\"prompt_tokens\":4,\"total_tokens\":4}}}}"
    );
    let model = script(SMALL, [Reply::raw("application/json", [reply.clone()]).billed(4, 0)]);
    let world = Setup::of(Provider::openai().model(model)).start().await;
    let got = embed(&world, embedding(json!({}))).await;
    assert!(got.status == 200 && got.body == reply, "{} bytes of {}", got.body.len(), reply.len());
    world.settled_as_billed(1);
}
