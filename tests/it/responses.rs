//! OpenAI's Responses, from their clients to rows that speak OpenAI's protocol: byte for byte, and settled at what is billed.

use farthing::simulator::{BillsAfterCut, Provider, Reply};
use http::Method;
use rusqlite::types::Value as Cell;
use serde_json::{Value, json};

use crate::support::{Events, Got, Setup, World, luna, script, whole};

const LUNA: &str = "gpt-5.6-luna";

/// A gateway in front of one model.
async fn world(replies: impl IntoIterator<Item = Reply>) -> World {
    setup(replies).start().await
}

fn setup(replies: impl IntoIterator<Item = Reply>) -> Setup {
    Setup::of(luna(replies)).tiers(&format!("lightweight: [sim/{LUNA}]"))
}

fn asking(more: Value) -> String {
    let mut body = json!({"model": LUNA, "input": "hi", "store": false});
    if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
        body.extend(more);
    }
    body.to_string()
}

async fn send(world: &World, body: impl Into<String>) -> Got {
    whole(world.send(Method::POST, "/v1/responses", &[], body.into().into()).await).await
}

/// The names of a stream's events, comments left out.
fn names(text: &str) -> Vec<&str> {
    text.lines().filter_map(|line| line.strip_prefix("event: ")).collect()
}

/// What the events of a stream say.
fn events(got: &Got) -> Vec<Value> {
    let data = got.text().lines().filter_map(|line| line.strip_prefix("data: "));
    data.map(|data| serde_json::from_str(data).unwrap_or_else(|error| panic!("{error} in {}", got.text()))).collect()
}

/// Events are numbered from nothing without a gap, ours among them.
#[track_caller]
fn numbered(got: &Got) {
    let numbers: Vec<Value> = events(got).iter().map(|event| event["sequence_number"].clone()).collect();
    let expected: Vec<Value> = (0..numbers.len()).map(|number| json!(number)).collect();
    assert_eq!(numbers, expected, "{}", got.text());
}

#[tokio::test]
async fn a_response_comes_whole_or_as_a_stream_and_costs_what_is_billed() {
    let world = world([Reply::text("good morning"), Reply::text("good night").thinks("what time is it")]).await;
    let got = send(&world, asking(json!({}))).await;
    assert_eq!((got.status, &got.json()["output"][0]["content"][0]["text"]), (200, &json!("good morning")));
    assert!(!got.header("x-farthing-cost-usd").is_empty() && got.header("x-farthing-model").ends_with(LUNA));

    let got = send(&world, asking(json!({"stream": true, "reasoning": {"summary": "auto"}}))).await;
    let told = names(got.text());
    assert_eq!(
        (got.status, told.first(), told.last()),
        (200, Some(&"response.created"), Some(&"response.completed")),
        "{}",
        got.text()
    );
    numbered(&got);
    let comment = got.text().find(": x-farthing-cost-usd: 0.").expect("the cost");
    let last = got.text().find("event: response.completed").expect("the end");
    assert!(got.text().find("event: response.output_item.done").expect("an item") < comment && comment < last);
    assert_eq!(world.requests().iter().map(|row| &*row.status).collect::<Vec<_>>(), ["ok", "ok"]);
    let surfaces = world.rows("select distinct surface from requests_v1");
    assert_eq!(surfaces, [[Cell::Text("responses".to_owned())]]);
    assert!(world.provider.requests().iter().all(|sent| sent.path == "/v1/responses"));
    world.settled_as_billed(2);
}

const STREAM: [&str; 3] = [
    "event: response.created\ndata: {\"type\":\"response.created\",\"sequence_number\":0,\"response\":{\"id\":\"resp_1\",\
     \"object\":\"response\",\"status\":\"in_progress\",\"error\":null,\"output\":[],\"usage\":null}}\n\n: \"error\"\n\n",
    "event: response.output_text.delta\ndata: {\"type\": \"response.output_text.delta\",\"sequence_number\":1,\
     \"delta\":\"h\\u00e4, \\\"error\\\"\"}\n\nevent: brand_new\ndata: {\"type\":\"brand_new\",\"sequence_number\":2}\n\n",
    "event: response.completed\ndata: {\"type\":\"response.completed\",\"sequence_number\":3,\"response\":{\"object\":\"response\",\
     \"status\":\"completed\",\"error\":null,\"output\":[],\"usage\":{\"input_tokens\":4000,\"input_tokens_details\":\
     {\"cached_tokens\":3000},\"output_tokens\":100,\"output_tokens_details\":{\"reasoning_tokens\":80},\"total_tokens\":4100}}}\n\n",
];

#[tokio::test]
async fn every_byte_goes_on_as_it_came_in_both_directions() {
    let world = setup([Reply::raw_events(STREAM)]).server("cost_comment: off").start().await;
    // Spelt as nobody would write it anew.
    let body = format!(
        "{{ \"input\":[{{\"role\":\"user\",\"content\":\"\\u0068i\"}}], \"stream\":true,\n \"model\" : \"{LUNA}\" }}"
    );
    let sent = [("openai-beta", "responses=v1"), ("anthropic-version", "2026-10-21")];
    let got = whole(world.send(Method::POST, "/v1/responses", &sent, body.clone().into()).await).await;
    assert_eq!(got.text(), STREAM.concat());
    let sent = &world.provider.requests()[0];
    assert_eq!((&*sent.body, sent.header("openai-beta")), (body.as_bytes(), Some("responses=v1")));
    assert_eq!(got.header("x-farthing-edits"), "");
    let row = &world.attempts()[0];
    assert_eq!((&*row.fate, &*row.source, row.output_tokens), ("completed", "reported", Some(100)));
    let tokens = world.rows("select input_tokens, cached_input_tokens from attempts_v1").remove(0);
    assert_eq!(tokens, [Cell::Integer(4000), Cell::Integer(3000)]);
}

#[tokio::test]
async fn a_conversation_goes_on_with_calls_results_and_sealed_thoughts() {
    let call = Reply::calls("read_file", json!({"path": "a"})).thinks_in_secret("hm");
    let world = world([call, Reply::text("done")]).await;
    let tools = json!([{"type": "function", "name": "read_file", "parameters": {"type": "object"}, "strict": null}]);
    let asked = json!({"tools": tools, "include": ["reasoning.encrypted_content"], "instructions": "be brief"});
    let got = send(&world, asking(asked.clone())).await;
    let output = got.json()["output"].as_array().cloned().expect("items");
    let call_id = &output.last().expect("a call")["call_id"];
    let mut input = vec![json!({"role": "user", "content": "hi"})];
    input.extend(output.iter().cloned());
    input.push(json!({"type": "function_call_output", "call_id": call_id, "output": "contents"}));
    let mut more = asked;
    more["input"] = input.into();
    let got = send(&world, asking(more)).await;
    assert_eq!(got.status, 200, "{}", got.text());
    assert!(got.text().contains("done"), "{}", got.text());
    world.settled_as_billed(2);
}

#[tokio::test]
async fn auto_is_a_model_here_too() {
    let world = world([Reply::text("ok")]).await;
    let sent = [("x-farthing-tier", "lightweight")];
    let body = asking(json!({"model": "auto"}));
    let got = whole(world.send(Method::POST, "/v1/responses", &sent, body.into()).await).await;
    assert_eq!((got.status, got.header("x-farthing-edits")), (200, "model"), "{}", got.text());
    assert_eq!(world.provider.requests()[0].json()["model"], LUNA);
    world.settled_as_billed(1);
}

#[tokio::test]
async fn what_a_provider_keeps_for_somebody_is_refused_by_name() {
    let world = world([Reply::text("ok")]).await;
    for (key, value) in
        [("prompt", json!({"id": "pmpt_1"})), ("input", json!([{"type": "item_reference", "id": "msg_1"}]))]
    {
        let got = send(&world, asking(json!({ key: value }))).await;
        let error = &got.json()["error"];
        assert_eq!(
            (got.status, &error["code"], &error["param"]),
            (400, &json!("invalid_body"), &json!(key)),
            "{error}"
        );
        assert!(
            error["message"].as_str().is_some_and(|told| told.contains("not available in this version")),
            "{error}"
        );
    }
    let nothing = asking(json!({"previous_response_id": null, "conversation": null, "background": false}));
    assert_eq!(send(&world, nothing).await.status, 200);
    assert_eq!(world.provider.arrivals(), 1);
    world.settled_as_billed(1);
}

#[tokio::test]
async fn a_provider_s_own_error_passes_and_an_overload_is_tried_again() {
    let world = world([Reply::status(503), Reply::text("ok"), Reply::status(400)]).await;
    let got = send(&world, asking(json!({}))).await;
    assert_eq!((got.status, world.fates()), (200, vec!["failed".to_owned(), "completed".to_owned()]), "{}", got.text());
    let got = send(&world, asking(json!({}))).await;
    assert_eq!((got.status, got.json()["error"]["message"].is_string()), (400, true), "{}", got.text());
    world.the_ledger_holds_the_invoice();
}

#[tokio::test]
async fn a_stream_that_breaks_ends_as_a_response_that_failed() {
    let stream = asking(json!({"stream": true}));
    for (reply, last, code) in [
        (Reply::text("one two three four").resets_after(5), "response.failed", json!("server_error")),
        (Reply::text("one two three four").ends_after(5), "response.failed", json!("server_error")),
        (Reply::text("one two three four").response_fails_after(5), "response.failed", json!("server_error")),
        (
            Reply::text("one two three four").response_is_limited_after(6),
            "response.failed",
            json!("rate_limit_exceeded"),
        ),
        (Reply::text("one two three four").fails_after(5), "error", json!("server_error")),
    ] {
        let world = world([reply]).await;
        let got = send(&world, &*stream).await;
        let told = names(got.text());
        let endings = ["response.failed", "error", "response.completed", "response.incomplete"];
        let endings: Vec<&str> = told.iter().copied().filter(|name| endings.contains(name)).collect();
        assert_eq!((got.status, endings, told.last()), (200, vec![last], Some(&last)), "{}", got.text());
        numbered(&got);
        let failed = events(&got).pop().expect("an event");
        let error = if last == "error" { &failed } else { &failed["response"]["error"] };
        assert_eq!(error["code"], code, "{failed}");
        if last == "response.failed" {
            let begun = &events(&got)[0]["response"];
            assert_eq!((&failed["response"]["id"], &failed["response"]["status"]), (&begun["id"], &json!("failed")));
            let keys = |object: &Value| object.as_object().expect("an object").keys().cloned().collect::<Vec<_>>();
            let mut wanted = keys(begun);
            // Of what it used nothing is known, and nobody has published a null for that.
            wanted.retain(|key| key != "usage" || failed["response"].get("usage").is_some());
            assert_eq!(keys(&failed["response"]), wanted, "SDKs look for all of them");
        }
        assert_eq!(world.fates(), ["interrupted"]);
        world.the_ledger_holds_the_invoice();
    }
}

#[tokio::test]
async fn a_stream_whose_first_event_is_an_error_is_tried_again() {
    for broken in [Reply::text("x").fails_after(0), Reply::text("x").response_fails_after(0)] {
        let world = world([broken, Reply::text("ok")]).await;
        let got = send(&world, asking(json!({"stream": true}))).await;
        assert_eq!((got.status, names(got.text()).last()), (200, Some(&"response.completed")), "{}", got.text());
        assert_eq!(world.fates().len(), 2);
        world.the_ledger_holds_the_invoice();
    }
}

#[tokio::test]
async fn a_response_that_the_provider_ends_at_its_limit_is_complete() {
    let world = world([Reply::tokens(5000)]).await;
    let got = send(&world, asking(json!({"stream": true, "max_output_tokens": 20}))).await;
    assert_eq!((got.status, names(got.text()).last()), (200, Some(&"response.incomplete")), "{}", got.text());
    assert_eq!(world.fates(), ["completed"]);
    world.settled_as_billed(1);
}

#[tokio::test]
async fn no_event_waits_for_the_next() {
    let world = world([Reply::text("one two three four").stalls_after(4)]).await;
    let response = world.send(Method::POST, "/v1/responses", &[], asking(json!({"stream": true})).into()).await;
    let mut events = Events::of(response);
    let first = events.take(4).await;
    assert!(first[0].starts_with("event: response.created\n"), "{first:?}");
    world.provider.release();
    assert!(events.rest().await.last().is_some_and(|last| last.starts_with("event: response.completed\n")));
    world.settled_as_billed(1);
}

#[tokio::test]
async fn a_stream_beyond_its_limit_is_ended_as_one_that_has_reached_it() {
    let model = script(LUNA, [Reply::tokens(100_000)]).ignores_limits().bills_after_cut(BillsAfterCut::SoFar);
    let setup = Setup::of(Provider::openai().model(model)).tiers(&format!("lightweight: [sim/{LUNA}]"));
    let world = setup.more("teams: { default: { budget: { usd: 0.001, every: month } } }").start().await;
    let got = send(&world, asking(json!({"stream": true, "max_output_tokens": 20}))).await;
    assert_eq!((got.status, names(got.text()).last()), (200, Some(&"response.incomplete")), "{}", got.text());
    numbered(&got);
    let last = events(&got).pop().expect("an event");
    assert_eq!(last["response"]["incomplete_details"]["reason"], "max_output_tokens", "{last}");
    assert_eq!(last["response"]["id"], events(&got)[0]["response"]["id"]);
    assert!(got.text().contains(": x-farthing-cost-usd: "), "{}", got.text());
    assert_eq!(world.attempts()[0].fate, "cut");
    world.until("the provider to notice", || world.provider.hang_ups() > 0).await;
}

#[tokio::test]
async fn too_little_money_lowers_the_limit_that_is_sent() {
    let world = setup([Reply::tokens(5000)])
        .more("budget: { on_short: shrink }\nteams: { default: { budget: { usd: 0.001, every: day } } }")
        .start()
        .await;
    let got = send(&world, asking(json!({"max_output_tokens": 8000}))).await;
    assert_eq!((got.status, got.header("x-farthing-edits")), (200, "output_limit"), "{}", got.text());
    let sent = world.provider.requests()[0].json()["max_output_tokens"].as_u64().expect("a limit");
    assert!(sent < 8000, "{sent}");
    assert_eq!(got.json()["status"], "incomplete");
    world.settled_as_billed(1);
    assert!(world.attempts()[0].cost <= Some(1_000_000));
}

#[tokio::test]
async fn tokens_are_counted_by_whoever_would_answer_and_cost_nothing() {
    let world = world([Reply::text("ok")]).await;
    let body = asking(json!({"input": "the orders job failed", "instructions": "be brief"}));
    let path = "/v1/responses/input_tokens";
    let got = whole(world.send(Method::POST, path, &[], body.clone().into()).await).await;
    assert_eq!((got.status, &got.json()["object"]), (200, &json!("response.input_tokens")), "{}", got.text());
    let sent = &world.provider.requests()[0];
    assert_eq!((&*sent.path, &*sent.body), (path, body.as_bytes()));
    assert_eq!(got.header("x-farthing-cost-usd"), "0");
    let told = got.json()["input_tokens"].clone();
    assert_eq!(told, send(&world, body).await.json()["usage"]["input_tokens"]);
    let rows = world.rows("select surface, status from requests_v1 order by request_id");
    let word = |word: &str| Cell::Text(word.to_owned());
    assert_eq!(rows, [[word("responses.input_tokens"), word("counted")], [word("responses"), word("ok")]]);
    world.settled_as_billed(1);
}

#[tokio::test]
async fn what_is_held_for_a_response_covers_its_whole_input() {
    let long = asking(json!({"input": "word ".repeat(4000), "max_output_tokens": 16}));
    let budget = "teams: { default: { budget: { usd: 0.001, every: day } } }";
    let world = setup([Reply::text("ok")]).more(budget).start().await;
    let got = send(&world, long).await;
    assert_eq!((got.status, &*got.code()), (429, "budget_exhausted"), "{}", got.text());
    assert_eq!(world.provider.arrivals(), 0);
}

#[tokio::test]
async fn a_response_without_a_limit_is_given_one_where_money_is_short() {
    let world = setup([Reply::tokens(5000)])
        .more("budget: { on_short: shrink }\nteams: { default: { budget: { usd: 0.001, every: day } } }")
        .start()
        .await;
    let got = send(&world, asking(json!({}))).await;
    assert_eq!((got.status, got.header("x-farthing-edits")), (200, "output_limit"), "{}", got.text());
    assert!(world.provider.requests()[0].json()["max_output_tokens"].as_u64() >= Some(16));
    world.settled_as_billed(1);
}
