//! Anthropic's Messages, from their clients to rows that speak it: byte for byte, and settled at what is billed.

use farthing::simulator::{BillsAfterCut, Provider, Reply};
use http::Method;
use serde_json::{Value, json};

use crate::support::{Events, Got, Setup, World, luna, script, whole};

const OPUS: &str = "claude-opus-5-5";
const VERSION: (&str, &str) = ("anthropic-version", "2026-10-21");

fn claude(replies: impl IntoIterator<Item = Reply>) -> Provider {
    Provider::anthropic().model(script(OPUS, replies))
}

/// A gateway in front of one model of Anthropic's.
async fn world(replies: impl IntoIterator<Item = Reply>) -> World {
    setup(replies).start().await
}

fn setup(replies: impl IntoIterator<Item = Reply>) -> Setup {
    Setup::of(claude(replies)).anthropic().tiers(&format!("frontier: [sim/{OPUS}]"))
}

fn asking(more: Value) -> String {
    let mut body = json!({"model": OPUS, "max_tokens": 1000, "messages": [{"role": "user", "content": "hi"}]});
    if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
        body.extend(more);
    }
    body.to_string()
}

async fn send(world: &World, body: impl Into<String>, headers: &[(&str, &str)]) -> Got {
    whole(world.send(Method::POST, "/v1/messages", headers, body.into().into()).await).await
}

/// The names of a stream's events, comments left out.
fn names(text: &str) -> Vec<&str> {
    text.lines().filter_map(|line| line.strip_prefix("event: ")).collect()
}

#[tokio::test]
async fn an_answer_comes_whole_or_as_a_stream_and_costs_what_is_billed() {
    let world = world([Reply::text("good morning"), Reply::text("good night").thinks("what time is it")]).await;
    let got = send(&world, asking(json!({})), &[VERSION]).await;
    assert_eq!((got.status, &got.json()["content"][0]["text"]), (200, &json!("good morning")), "{}", got.text());
    assert!(!got.header("x-farthing-cost-usd").is_empty() && got.header("x-farthing-model").ends_with(OPUS));
    assert_eq!(got.header("request-id"), got.header("x-request-id"), "ours, where SDKs look for it");
    assert!(!got.header("x-farthing-provider-request-id").is_empty());
    assert_eq!(got.header("anthropic-ratelimit-requests-limit"), "4000");
    assert_eq!(got.header("anthropic-organization-id"), "", "whose account it is is nobody's business");

    let thinking = json!({"type": "adaptive"});
    let body = asking(json!({"stream": true, "max_tokens": 4000, "model": OPUS, "thinking": thinking}));
    let got = send(&world, body, &[VERSION]).await;
    let events = names(got.text());
    assert_eq!(
        (got.status, events.first(), events.last()),
        (200, Some(&"message_start"), Some(&"message_stop")),
        "{}",
        got.text()
    );
    let comment = got.text().find(": x-farthing-cost-usd: 0.").expect("the cost");
    let last = got.text().find("event: message_stop").expect("the end");
    assert!(got.text().find("event: message_delta").expect("usage") < comment && comment < last, "{}", got.text());
    assert_eq!(world.requests().iter().map(|row| &*row.status).collect::<Vec<_>>(), ["ok", "ok"]);
    let surfaces = world.rows("select distinct surface from requests_v1");
    assert_eq!(surfaces, [[rusqlite::types::Value::Text("messages".to_owned())]]);
    world.settled_as_billed(2);
}

const STREAM: [&str; 4] = [
    "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\
     \"content\":[],\"model\":\"claude-opus-5-5\",\"stop_reason\":null,\"usage\":{\"input_tokens\":1000,\"cache_read_input_tokens\":3000,\
     \"cache_creation_input_tokens\":0,\"output_tokens\":1}}}\n\nevent: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\
     \"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n",
    "event: ping\ndata: {\"type\": \"ping\"}\n\nevent: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\
     \"delta\":{\"type\":\"text_delta\",\"text\":\"h\\u00e4, \\\"error\\\"\"}}\n\n",
    "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\nevent: brand_new\ndata: {\"type\":\"brand_new\"}\n\n",
    "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\",\"stop_sequence\":null},\
     \"usage\":{\"output_tokens\":100}}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
];

#[tokio::test]
async fn every_byte_goes_on_as_it_came_in_both_directions() {
    let world = setup([Reply::raw_events(STREAM)]).server("cost_comment: off").start().await;
    // Spelt as nobody would write it anew.
    let body = format!(
        "{{ \"max_tokens\":1000,\"model\" : \"{OPUS}\", \"stream\":true,\n \"messages\":[{{\"role\":\"user\",\"content\":\"\\u0068i\"}}] }}"
    );
    let got = send(&world, &*body, &[VERSION, ("anthropic-beta", "a-beta,b-beta"), ("openai-beta", "none")]).await;
    assert_eq!(got.text(), STREAM.concat());
    let sent = &world.provider.requests()[0];
    assert_eq!(sent.body, body);
    assert_eq!(
        (sent.header("anthropic-version"), sent.header("anthropic-beta")),
        (Some("2026-10-21"), Some("a-beta,b-beta"))
    );
    assert_eq!((sent.header("openai-beta"), sent.header("content-type")), (None, Some("application/json")));
    assert_eq!(got.header("x-farthing-edits"), "");
    let row = &world.attempts()[0];
    assert_eq!((&*row.fate, &*row.source, row.output_tokens), ("completed", "reported", Some(100)));
    let tokens = world.rows("select input_tokens, cached_input_tokens from attempts_v1").remove(0);
    assert_eq!(tokens, [rusqlite::types::Value::Integer(4000), rusqlite::types::Value::Integer(3000)]);
}

#[tokio::test]
async fn a_provider_is_shown_our_key_and_never_the_client_s() {
    let setup = Setup::of(claude([Reply::text("ok")]).requires_key("sk-ant-of-the-row")).anthropic();
    let setup = setup.tiers(&format!("frontier: [sim/{OPUS}]")).row("key: file:row-key");
    let world = setup.file("row-key", "sk-ant-of-the-row").start().await;
    let got =
        send(&world, asking(json!({})), &[("x-api-key", "sk-of-the-client"), ("authorization", "Bearer another")])
            .await;
    assert_eq!(got.status, 200, "{}", got.text());
    let sent = &world.provider.requests()[0];
    assert_eq!((sent.header("x-api-key"), sent.header("authorization")), (Some("sk-ant-of-the-row"), None));
    assert_eq!(sent.header("anthropic-version"), Some("2023-06-01"), "its API wants one");
}

#[tokio::test]
async fn of_a_query_only_the_word_for_betas_goes_on() {
    let world = world([Reply::text("ok")]).await;
    for (query, path) in [("?key=sk-secret&beta=true", "/v1/messages?beta=true"), ("?key=sk-secret", "/v1/messages")] {
        let path_in = format!("/v1/messages{query}");
        let got = whole(world.send(Method::POST, &path_in, &[VERSION], asking(json!({})).into()).await).await;
        assert_eq!(got.status, 200, "{}", got.text());
        assert_eq!(world.provider.requests().last().map(|sent| sent.path.clone()).as_deref(), Some(path));
    }
}

#[tokio::test]
async fn what_a_client_marks_is_read_from_the_cache_and_billed_so() {
    let world = world([Reply::text("one"), Reply::text("two")]).await;
    let long = "The quick brown fox jumps over the lazy dog. ".repeat(1500);
    let mark = json!({"type": "ephemeral", "ttl": "1h"});
    let system = json!([{"type": "text", "text": long, "cache_control": mark}]);
    for _ in 0..2 {
        let got = send(&world, asking(json!({"system": system})), &[VERSION]).await;
        assert_eq!(got.status, 200, "{}", got.text());
    }
    let rows = world
        .rows("select cached_input_tokens > 4000, cache_write_1h_tokens > 4000 from attempts_v1 order by attempt_id");
    let truth = |value: bool| rusqlite::types::Value::Integer(i64::from(value));
    assert_eq!(rows, [[truth(false), truth(true)], [truth(true), truth(false)]]);
    world.settled_as_billed(2);
}

#[tokio::test]
async fn a_row_marks_for_clients_that_mark_nothing_and_leaves_every_other_byte() {
    let replies = [Reply::text("one"), Reply::text("two")];
    let world = setup(replies).row("cache_control: auto").start().await;
    let tools = json!([{"name": "f", "input_schema": {"type": "object"}}]);
    let body = asking(json!({"tools": tools, "system": "The quick brown fox jumps over the lazy dog. ".repeat(1500)}));
    for _ in 0..2 {
        let got = send(&world, body.clone(), &[VERSION]).await;
        assert_eq!((got.status, got.header("x-farthing-edits")), (200, "cache_control"), "{}", got.text());
    }
    let rows =
        world.rows("select cached_input_tokens > 4000, cache_write_tokens > 4000 from attempts_v1 order by attempt_id");
    let truth = |value: bool| rusqlite::types::Value::Integer(i64::from(value));
    assert_eq!(rows, [[truth(false), truth(true)], [truth(true), truth(false)]]);
    let sent = String::from_utf8(world.provider.requests()[0].body.to_vec()).expect("UTF-8");
    let mark = r#","cache_control":{"type":"ephemeral"}"#;
    let unmarked = sent.replace(mark, "").replace(r#"[{"type":"text","text":"The"#, "\"The").replace(". \"}]", ". \"");
    assert_eq!((unmarked.as_str(), sent.matches(mark).count()), (body.as_str(), 2));
    world.settled_as_billed(2);
}

#[tokio::test]
async fn auto_is_a_model_here_too() {
    let world = world([Reply::text("ok")]).await;
    let got = send(&world, asking(json!({"model": "auto"})), &[("x-farthing-tier", "frontier")]).await;
    assert_eq!((got.status, got.header("x-farthing-edits")), (200, "model"), "{}", got.text());
    assert_eq!(world.provider.requests()[0].json()["model"], OPUS);
    world.settled_as_billed(1);
}

#[track_caller]
fn check_error(got: &Got, status: u16, kind: &str, code: &str) {
    let told = got.json();
    assert_eq!((got.status, &told["type"]), (status, &json!("error")), "{}", got.text());
    assert_eq!((&told["error"]["type"], &told["error"]["details"]["error_code"]), (&json!(kind), &json!(code)));
    assert_eq!(
        (&told["request_id"], got.header("request-id")),
        (&json!(got.header("x-request-id")), got.header("x-request-id"))
    );
}

#[tokio::test]
async fn refusals_of_ours_are_in_anthropic_s_words() {
    let world = setup([Reply::text("ok")]).models("claude-*").start().await;
    check_error(&send(&world, "{", &[VERSION]).await, 400, "invalid_request_error", "invalid_body");
    check_error(
        &send(&world, asking(json!({"model": "nobody/x"})), &[]).await,
        404,
        "not_found_error",
        "model_not_found",
    );
    let twice = asking(json!({})).replacen('{', "{\"model\":\"x\",", 1);
    check_error(&send(&world, twice, &[]).await, 400, "invalid_request_error", "duplicate_key");
    let got = whole(world.send(Method::HEAD, "/v1/messages", &[], "".into()).await).await;
    assert_eq!((got.status, got.header("allow"), got.header("request-id").is_empty()), (405, "POST", false));
    assert_eq!(world.provider.arrivals(), 0);
}

#[tokio::test]
async fn tokens_are_counted_by_the_row_that_would_answer_and_cost_nothing() {
    let world = setup([Reply::text("ok")])
        .more("teams: { default: { budget: { usd: 0.00001, every: day }, limits: { requests_per_minute: 2 } } }")
        .start()
        .await;
    let body = json!({"model": "frontier", "messages": [{"role": "user", "content": "hi"}]}).to_string();
    let count = || world.send(Method::POST, "/v1/messages/count_tokens?beta=true", &[VERSION], body.clone().into());
    let got = whole(count().await).await;
    assert_eq!((got.status, got.json()["input_tokens"].as_u64() > Some(0)), (200, true), "{}", got.text());
    assert_eq!((got.header("x-farthing-edits"), got.header("x-farthing-cost-usd")), ("model", "0"));
    let sent = &world.provider.requests()[0];
    assert_eq!((&*sent.path, &sent.json()["model"]), ("/v1/messages/count_tokens?beta=true", &json!(OPUS)));
    let row = world.rows("select surface, status, cost_nano from requests_v1").remove(0);
    let text = |text: &str| rusqlite::types::Value::Text(text.to_owned());
    assert_eq!(row, [text("messages.count_tokens"), text("counted"), rusqlite::types::Value::Integer(0)]);
    assert_eq!(world.attempts().len(), 0);
    assert_eq!(whole(count().await).await.status, 200);
    check_error(&whole(count().await).await, 429, "rate_limit_error", "rate_limited");
    world.the_ledger_holds_the_invoice();
}

#[tokio::test]
async fn a_count_that_the_provider_refuses_is_told_in_its_words() {
    let world = world([Reply::text("ok")]).await;
    let body = json!({"model": OPUS, "messages": []}).to_string();
    let got = whole(world.send(Method::POST, "/v1/messages/count_tokens", &[VERSION], body.into()).await).await;
    assert_eq!((got.status, &got.json()["error"]["type"]), (400, &json!("invalid_request_error")), "{}", got.text());
}

#[tokio::test]
async fn models_are_told_in_anthropic_s_words_to_its_clients() {
    let world = world([Reply::text("ok")]).await;
    let list = world.get("/v1/models", &[VERSION]).await.json();
    let ids: Vec<&Value> = list["data"].as_array().expect("models").iter().map(|model| &model["id"]).collect();
    assert!(ids.contains(&&json!(OPUS)) && ids.contains(&&json!("frontier")), "{list}");
    assert_eq!((&list["has_more"], &list["first_id"], Some(&&list["last_id"])), (&json!(false), ids[0], ids.last()));
    let one = world.get(&format!("/v1/models/{OPUS}"), &[VERSION]).await.json();
    let mut expected = json!({"type": "model", "id": OPUS, "display_name": OPUS, "created_at": "1970-01-01T00:00:00Z",
        "lifecycle": "active"});
    for unknown in ["capabilities", "deprecated_at", "line", "max_input_tokens", "max_tokens", "retires_at"] {
        expected[unknown] = Value::Null;
    }
    assert_eq!(one, expected);
    assert_eq!(world.get("/v1/models", &[]).await.json()["object"], "list", "others are told as before");
    check_error(&world.get("/v1/models/nobody-knows", &[VERSION]).await, 404, "not_found_error", "model_not_found");
    let chat = World::new(luna([Reply::text("ok")]), "").await;
    let list = chat.get("/v1/models", &[VERSION]).await.json();
    assert!(list["data"].to_string().contains("gpt-5.6-luna"), "rows of another protocol answer too: {list}");
}

#[tokio::test]
async fn a_provider_s_own_error_passes_and_an_overload_is_tried_again() {
    let world = world([Reply::status(529), Reply::text("ok"), Reply::status(400)]).await;
    let got = send(&world, asking(json!({})), &[]).await;
    assert_eq!((got.status, world.fates()), (200, vec!["failed".to_owned(), "completed".to_owned()]), "{}", got.text());
    let got = send(&world, asking(json!({})), &[]).await;
    assert_eq!((got.status, &got.json()["error"]["type"]), (400, &json!("invalid_request_error")));
    assert_ne!(got.json()["request_id"], got.header("x-request-id"), "the provider's own word, untouched");
    world.the_ledger_holds_the_invoice();
}

/// The last event of a stream, by its name, and what it says.
fn last(got: &Got) -> (String, Value) {
    let event = got.text().trim_end().rsplit("\n\n").next().unwrap_or_default();
    let (name, data) = event.split_once('\n').unwrap_or_default();
    let data = data.strip_prefix("data: ").unwrap_or_default();
    (name.to_owned(), serde_json::from_str(data).unwrap_or_else(|error| panic!("{error} in {}", got.text())))
}

#[tokio::test]
async fn a_stream_that_breaks_ends_with_an_error_event_and_no_end() {
    let stream = asking(json!({"stream": true}));
    for (reply, kind, code) in [
        (Reply::text("one two three four").resets_after(5), "api_error", json!("provider_error")),
        (Reply::text("one two three four").ends_after(5), "api_error", json!("provider_error")),
        (Reply::text("one two three four").overloads_after(5), "overloaded_error", Value::Null),
    ] {
        let world = world([reply]).await;
        let got = send(&world, &*stream, &[VERSION]).await;
        let (name, data) = last(&got);
        assert_eq!((got.status, &*name), (200, "event: error"), "{}", got.text());
        assert_eq!((&data["error"]["type"], &data["error"]["details"]["error_code"]), (&json!(kind), &code), "{data}");
        assert!(!names(got.text()).contains(&"message_stop"), "{}", got.text());
        assert_eq!(world.fates(), ["interrupted"]);
        world.the_ledger_holds_the_invoice();
    }
}

#[tokio::test]
async fn a_stream_whose_first_event_is_an_error_is_tried_again() {
    let world = world([Reply::text("x").overloads_after(0), Reply::text("ok")]).await;
    let got = send(&world, asking(json!({"stream": true})), &[]).await;
    assert_eq!((got.status, names(got.text()).last()), (200, Some(&"message_stop")), "{}", got.text());
    assert_eq!(world.fates().len(), 2);
    world.the_ledger_holds_the_invoice();
}

#[tokio::test]
async fn no_event_waits_for_the_next() {
    let world = world([Reply::text("one two three four").stalls_after(4)]).await;
    let response = world.send(Method::POST, "/v1/messages", &[], asking(json!({"stream": true})).into()).await;
    let mut events = Events::of(response);
    let first = events.take(4).await;
    assert!(first[0].starts_with("event: message_start\n"), "{first:?}");
    world.provider.release();
    assert!(events.rest().await.last().is_some_and(|last| last.starts_with("event: message_stop\n")));
    world.settled_as_billed(1);
}

#[tokio::test]
async fn a_stream_beyond_its_limit_is_ended_as_one_that_has_reached_it() {
    let model = script(OPUS, [Reply::tokens(100_000)]).ignores_limits().bills_after_cut(BillsAfterCut::SoFar);
    let setup = Setup::of(Provider::anthropic().model(model)).anthropic().tiers(&format!("frontier: [sim/{OPUS}]"));
    let world = setup.more("teams: { default: { budget: { usd: 0.01, every: month } } }").start().await;
    let got = send(&world, asking(json!({"stream": true, "max_tokens": 20})), &[]).await;
    let events = names(got.text());
    let last = ["content_block_delta", "content_block_stop", "message_delta", "message_stop"];
    assert!(got.status == 200 && events.ends_with(&last), "{}", got.text());
    assert!(got.text().contains(r#""stop_reason":"max_tokens""#) && got.text().contains(": x-farthing-cost-usd: "));
    assert_eq!(world.attempts()[0].fate, "cut");
    world.until("the provider to notice", || world.provider.hang_ups() > 0).await;
}

#[tokio::test]
async fn too_little_money_lowers_the_limit_that_is_sent() {
    let world = setup([Reply::tokens(5000)])
        .more("budget: { on_short: shrink }\nteams: { default: { budget: { usd: 0.01, every: day } } }")
        .start()
        .await;
    let got = send(&world, asking(json!({"max_tokens": 8000})), &[]).await;
    assert_eq!((got.status, got.header("x-farthing-edits")), (200, "output_limit"), "{}", got.text());
    let sent = world.provider.requests()[0].json()["max_tokens"].as_u64().expect("a limit");
    assert!(sent < 8000, "{sent}");
    assert_eq!(got.json()["stop_reason"], "max_tokens");
    world.settled_as_billed(1);
    assert!(world.attempts()[0].cost <= Some(10_000_000));
}
