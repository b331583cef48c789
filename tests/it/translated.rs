//! Clients of one protocol at rows of another: what leaves is what that protocol's provider takes, what comes back is what the
//! client knows, and the ledger has what is billed.

use farthing::simulator::{PriceList, Provider, Rates, Reply};
use http::Method;
use serde_json::{Value, json};

use crate::support::{ASK_STREAM, Events, Got, Setup, World, luna, script, whole};

const OPUS: &str = "claude-opus-5-5";
/// One that reasons, which is called in Responses.
const LUNA: &str = "gpt-5.6-luna";
/// One that does not, which is called in Chat Completions.
const GPT: &str = "gpt-4o";

fn claude(replies: impl IntoIterator<Item = Reply>) -> Provider {
    Provider::anthropic().model(script(OPUS, replies))
}

/// A gateway in front of one model of Anthropic's.
fn to_claude(replies: impl IntoIterator<Item = Reply>) -> Setup {
    Setup::of(claude(replies)).anthropic().tiers(&format!("frontier: [sim/{OPUS}]"))
}

/// A gateway in front of one model of OpenAI's that is called in Chat Completions.
fn to_gpt(replies: impl IntoIterator<Item = Reply>) -> Setup {
    let rates = Rates { input: 2_500_000, cached_input: 1_250_000, cache_write: 2_500_000, output: 10_000_000 };
    Setup::of(Provider::openai().model(script(GPT, replies).priced(PriceList::flat(rates))))
}

/// A gateway in front of one model of OpenAI's that is called in Responses.
fn to_luna(replies: impl IntoIterator<Item = Reply>) -> Setup {
    Setup::of(luna(replies))
}

fn with(mut body: Value, more: Value) -> String {
    if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
        body.extend(more);
    }
    body.to_string()
}

fn chat(more: Value) -> String {
    with(json!({"model": OPUS, "messages": [{"role": "user", "content": "hi"}]}), more)
}

fn message(more: Value) -> String {
    with(json!({"model": GPT, "max_tokens": 1000, "messages": [{"role": "user", "content": "hi"}]}), more)
}

async fn send(world: &World, body: impl Into<String>, headers: &[(&str, &str)]) -> Got {
    whole(world.send(Method::POST, "/v1/messages", headers, body.into().into()).await).await
}

/// The events of a stream of Messages: each one's name, and what it says.
fn events(got: &Got) -> Vec<(String, Value)> {
    let event = |event: &str| {
        let (name, data) = event.split_once('\n')?;
        let data = data.strip_prefix("data: ").unwrap_or_else(|| panic!("no data in {event}"));
        Some((name.strip_prefix("event: ")?.to_owned(), serde_json::from_str(data).expect("JSON")))
    };
    got.text().split_terminator("\n\n").filter_map(event).collect()
}

/// The texts of a stream of Messages together.
fn said(events: &[(String, Value)]) -> String {
    events.iter().filter_map(|(_, event)| event["delta"]["text"].as_str()).collect()
}

/// The chunks of a stream of Chat Completions, without its end.
#[track_caller]
fn chunks(got: &Got) -> Vec<Value> {
    let mut datas = got.datas();
    assert_eq!(datas.pop(), Some("[DONE]"), "{}", got.text());
    datas
        .into_iter()
        .map(|data| serde_json::from_str(data).unwrap_or_else(|error| panic!("{error} in {data}")))
        .collect()
}

fn content(chunks: &[Value]) -> String {
    chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str()).collect()
}

#[tokio::test]
async fn a_client_of_chat_is_answered_by_a_row_of_messages() {
    let world = to_claude([Reply::text("good morning")]).start().await;
    let got = world.chat(chat(json!({"seed": 7}))).await;
    assert_eq!(
        (got.status, &got.json()["choices"][0]["message"]["content"]),
        (200, &json!("good morning")),
        "{}",
        got.text()
    );
    assert_eq!((got.header("x-farthing-edits"), got.header("x-farthing-dropped")), ("output_limit,translate", "seed"));
    let (usage, row) =
        (got.json()["usage"].clone(), world.rows("select input_tokens, output_tokens from attempts_v1").remove(0));
    let tokens = |member: &str| rusqlite::types::Value::Integer(usage[member].as_i64().expect("a figure"));
    assert_eq!(row, [tokens("prompt_tokens"), tokens("completion_tokens")]);
    assert_eq!(world.requests()[0].edits, "output_limit,translate");
    world.settled_as_billed(1);
}

#[tokio::test]
async fn a_client_of_messages_is_answered_by_a_row_of_chat() {
    let world = to_gpt([Reply::text("good morning")]).start().await;
    let got = send(&world, message(json!({})), &[]).await;
    assert_eq!((got.status, &got.json()["content"][0]["text"]), (200, &json!("good morning")), "{}", got.text());
    assert_eq!((got.header("x-farthing-edits"), &got.json()["stop_reason"]), ("translate", &json!("end_turn")));
    assert_eq!(got.header("request-id"), got.header("x-request-id"));
    world.settled_as_billed(1);
}

#[tokio::test]
async fn a_stream_of_messages_comes_as_chunks_with_one_end() {
    let world = to_claude([Reply::text("one two three")]).start().await;
    for (options, has_usage) in [(json!({}), false), (json!({"stream_options": {"include_usage": true}}), true)] {
        let got = world.chat(with(serde_json::from_str(ASK_STREAM).expect("JSON"), with_model(options))).await;
        let chunks = chunks(&got);
        assert_eq!(content(&chunks), "one two three", "{}", got.text());
        let last = chunks.last().expect("chunks");
        assert_eq!(
            last["choices"] == json!([]) && last["usage"]["prompt_tokens"].as_u64() > Some(0),
            has_usage,
            "{last}"
        );
        assert_eq!(got.text().matches(": x-farthing-cost-usd: 0.").count(), 1, "{}", got.text());
    }
    world.settled_as_billed(2);
}

fn with_model(mut more: Value) -> Value {
    more["model"] = json!(OPUS);
    more
}

#[tokio::test]
async fn a_stream_of_chunks_comes_as_events_of_messages_with_one_end() {
    let world = to_gpt([Reply::text("one two three")]).start().await;
    let got = send(&world, message(json!({"stream": true})), &[]).await;
    let events = events(&got);
    let names: Vec<&str> = events.iter().map(|(name, _)| &**name).collect();
    assert_eq!((names.first(), said(&events)), (Some(&"message_start"), "one two three".to_owned()), "{}", got.text());
    assert_eq!(names[names.len() - 3..], ["content_block_stop", "message_delta", "message_stop"]);
    let usage = &events[events.len() - 2].1["usage"];
    let row = world.rows("select input_tokens, output_tokens from attempts_v1").remove(0);
    let tokens = |member: &str| rusqlite::types::Value::Integer(usage[member].as_i64().expect("a figure"));
    assert_eq!(row, [tokens("input_tokens"), tokens("output_tokens")]);
    let comment = got.text().find(": x-farthing-cost-usd: 0.").expect("the cost");
    assert!(
        got.text().find("event: message_delta") < Some(comment)
            && Some(comment) < got.text().find("event: message_stop")
    );
    world.settled_as_billed(1);
}

#[tokio::test]
async fn what_the_target_has_no_words_for_is_refused_by_name_before_anything_leaves() {
    let world = to_claude([Reply::text("ok")]).start().await;
    let got = world.chat(chat(json!({"n": 2}))).await;
    assert_eq!(
        (got.status, &*got.code(), &got.json()["error"]["param"]),
        (400, "unsupported_parameter", &json!("n")),
        "{}",
        got.text()
    );
    assert!(got.header("x-farthing-reason").contains("cannot carry `n`"), "{}", got.header("x-farthing-reason"));
    let chat = to_gpt([Reply::text("ok")]).start().await;
    let tools = json!([{"type": "web_search_20260209", "name": "web_search"}]);
    let got = send(&chat, message(json!({"tools": tools})), &[]).await;
    let error = got.json()["error"].clone();
    assert_eq!((got.status, &error["type"]), (400, &json!("invalid_request_error")), "{}", got.text());
    assert_eq!(error["details"]["error_code"], "unsupported_parameter");
    assert_eq!((world.provider.arrivals(), chat.provider.arrivals()), (0, 0));
    assert_eq!(world.requests()[0].status, "unsupported_parameter");
}

/// Two rows that serve one model, the first of which speaks another protocol than the client of Chat.
fn two_rows(first: Reply, second: Reply) -> Setup {
    let openai = Provider::openai().model(script(OPUS, [second]));
    Setup::of(openai).and_speaking("anthropic", "other", claude([first]))
}

#[tokio::test]
async fn a_target_that_cannot_carry_a_field_is_passed_over_and_that_is_said() {
    let tiers = format!("frontier: [other/{OPUS}, sim/gpt-5.6-luna]");
    let openai = Provider::openai().model(script(LUNA, [Reply::text("from openai")]));
    let world = Setup::of(openai)
        .and_speaking("anthropic", "other", claude([Reply::text("from claude")]))
        .tiers(&tiers)
        .start()
        .await;
    let body = |more: Value| with(json!({"model": "frontier", "messages": [{"role": "user", "content": "hi"}]}), more);
    let got = world.chat(body(json!({}))).await;
    assert_eq!((got.status, got.header("x-farthing-model")), (200, &*format!("other/{OPUS}")), "{}", got.text());
    let got = world.chat(body(json!({"n": 2}))).await;
    assert_eq!((got.status, got.header("x-farthing-model")), (200, "sim/gpt-5.6-luna"), "{}", got.text());
    let said = format!("`other/{OPUS}` cannot carry `n`");
    assert!(got.header("x-farthing-reason").contains(&said), "{}", got.header("x-farthing-reason"));
    let reasons = world.rows("select reason from requests_v1 where reason like '%cannot carry%'");
    assert_eq!(reasons.len(), 1);
    world.the_ledger_holds_the_invoice();
}

#[tokio::test]
async fn of_rows_of_one_model_those_come_first_that_need_no_translation() {
    let world = two_rows(Reply::text("from claude"), Reply::text("from openai")).start().await;
    let got = world.chat(chat(json!({}))).await;
    assert_eq!((got.header("x-farthing-model"), got.header("x-farthing-edits")), (&*format!("sim/{OPUS}"), ""));
    let got =
        send(&world, with(serde_json::from_str(&chat(json!({}))).expect("JSON"), json!({"max_tokens": 10})), &[]).await;
    assert_eq!((got.header("x-farthing-model"), got.header("x-farthing-edits")), (&*format!("other/{OPUS}"), ""));
}

#[tokio::test]
async fn a_client_of_responses_is_answered_by_a_row_of_messages() {
    let world = to_claude([Reply::text("good morning")]).start().await;
    let send = |body: Value| world.send(Method::POST, "/v1/responses", &[], body.to_string().into());
    let got = whole(send(json!({"model": OPUS, "input": "hi", "store": false})).await).await;
    assert_eq!(
        (got.status, &got.json()["output"][0]["content"][0]["text"]),
        (200, &json!("good morning")),
        "{}",
        got.text()
    );
    let got = whole(send(json!({"model": OPUS, "input": "hi", "store": false, "stream": true})).await).await;
    let end = got.text().rfind("event: response.completed").expect("the end");
    assert!(got.text().find(": x-farthing-cost-usd: 0.").is_some_and(|comment| comment < end), "{}", got.text());
    world.settled_as_billed(2);
}

#[tokio::test]
async fn a_model_that_reasons_is_called_in_responses_where_it_takes_tools() {
    let calls = Reply::calls_all([("read", json!({"path": "a"})), ("read", json!({"path": "b"}))]);
    let model = script(LUNA, [calls.thinks("which files"), Reply::text("two files")]).refuses_tools_in_chat();
    let world = Setup::of(Provider::openai().model(model)).start().await;
    let tools =
        json!([{"name": "read", "input_schema": {"type": "object", "properties": {"path": {"type": "string"}}}}]);
    let asked = json!({"role": "user", "content": "what is in a and b?"});
    let body = |more: Value| message(more).replace(GPT, LUNA);
    let got =
        send(&world, body(json!({"tools": tools, "messages": [asked], "thinking": {"type": "adaptive"}})), &[]).await;
    let answer = got.json();
    let kinds: Vec<&str> =
        answer["content"].as_array().expect("blocks").iter().filter_map(|block| block["type"].as_str()).collect();
    assert!(got.status == 200 && kinds.ends_with(&["tool_use", "tool_use"]), "{}", got.text());
    assert_eq!((&*world.provider.requests()[0].path, &answer["stop_reason"]), ("/v1/responses", &json!("tool_use")));
    let blocks = answer["content"].as_array().expect("blocks");
    let result =
        |block: &Value| json!({"type": "tool_result", "tool_use_id": block["id"], "content": "x", "is_error": true});
    let results: Vec<Value> = blocks.iter().filter(|block| block["type"] == "tool_use").map(result).collect();
    let said = json!([asked, {"role": "assistant", "content": blocks}, {"role": "user", "content": results}]);
    let got = send(&world, body(json!({"tools": tools, "messages": said, "stream": true})), &[]).await;
    let events = events(&got);
    assert_eq!((got.status, self::said(&events)), (200, "two files".to_owned()), "{}", got.text());
    assert_eq!(events.last().map(|(name, _)| &**name), Some("message_stop"));
    world.settled_as_billed(2);
}

#[tokio::test]
async fn a_stream_of_responses_that_breaks_or_is_cut_ends_as_one_of_messages() {
    let body = || message(json!({"stream": true})).replace(GPT, LUNA);
    for (reply, kind) in [
        (Reply::text("one two three four").resets_after(8), "api_error"),
        (Reply::text("one two three four").response_fails_after(8), "api_error"),
        (Reply::text("one two three four").response_is_limited_after(8), "rate_limit_error"),
    ] {
        let world = to_luna([reply]).start().await;
        let got = send(&world, body(), &[]).await;
        let events = events(&got);
        let (name, last) = events.last().expect("events");
        assert_eq!((&**name, &last["error"]["type"]), ("error", &json!(kind)), "{}", got.text());
        assert!(!events.iter().any(|(name, _)| name == "message_stop"), "{}", got.text());
        world.the_ledger_holds_the_invoice();
    }
    let model = script(LUNA, [Reply::tokens(100_000)]).ignores_limits();
    let budget = "teams: { default: { budget: { usd: 0.01, every: month } } }";
    let world = Setup::of(Provider::openai().model(model)).more(budget).start().await;
    let got = send(&world, message(json!({"stream": true, "max_tokens": 20})).replace(GPT, LUNA), &[]).await;
    let events = events(&got);
    assert_eq!(events[events.len() - 2].1["delta"]["stop_reason"], "max_tokens", "{}", got.text());
    assert_eq!((events.last().map(|(name, _)| &**name), &*world.attempts()[0].fate), (Some("message_stop"), "cut"));
}

#[tokio::test]
async fn tokens_of_what_would_be_translated_are_counted_here_as_it_would_leave() {
    let world = to_gpt([Reply::text("ok")]).start().await;
    let count = |body: String| world.send(Method::POST, "/v1/messages/count_tokens", &[], body.into());
    let body = json!({"model": GPT, "system": "Be brief.", "messages": [{"role": "user", "content": "hi"}]});
    let got = whole(count(body.to_string()).await).await;
    assert_eq!((got.status, got.header("x-farthing-tokens-source")), (200, "counted"), "{}", got.text());
    let asked = send(&world, with(body.clone(), json!({"max_tokens": 9})), &[]).await.json();
    let (counted, billed) = (got.json()["input_tokens"].as_u64(), asked["usage"]["input_tokens"].as_u64());
    assert!(
        counted.zip(billed).is_some_and(|(counted, billed)| counted.abs_diff(billed) <= 5),
        "{counted:?} {billed:?}"
    );
    let picture = json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}});
    let body = with(body, json!({"messages": [{"role": "user", "content": [picture]}]}));
    assert_eq!(whole(count(body).await).await.header("x-farthing-tokens-source"), "estimated");
    assert_eq!(world.provider.arrivals(), 1);
}

#[tokio::test]
async fn headers_that_one_vendor_s_clients_send_are_nothing_to_the_other() {
    let world = to_claude([Reply::text("ok")]).start().await;
    let theirs = [
        ("openai-beta", "x=v1"),
        ("anthropic-beta", "b"),
        ("anthropic-version", "2026-10-21"),
        ("x-stainless-lang", "rust"),
    ];
    assert_eq!(world.chat_as(chat(json!({})), &theirs).await.status, 200);
    let sent = &world.provider.requests()[0];
    assert_eq!((&*sent.path, sent.header("anthropic-version")), ("/v1/messages", Some("2023-06-01")));
    assert_eq!(
        (sent.header("openai-beta"), sent.header("anthropic-beta"), sent.header("x-stainless-lang")),
        (None, None, Some("rust"))
    );
    let world = to_gpt([Reply::text("ok")]).start().await;
    let got = whole(world.send(Method::POST, "/v1/messages?beta=true", &theirs, message(json!({})).into()).await).await;
    let sent = &world.provider.requests()[0];
    assert_eq!((got.status, &*sent.path), (200, "/v1/chat/completions"), "{}", got.text());
    let is_theirs =
        |name: &&http::HeaderName| ["anthropic-", "openai-"].iter().any(|own| name.as_str().starts_with(own));
    let theirs = sent.headers.keys().find(is_theirs);
    assert_eq!(theirs, None);
}

#[tokio::test]
async fn a_provider_s_error_is_told_in_the_client_s_words() {
    let world =
        to_claude([Reply::status(529).with_header("retry-after", "30"), Reply::status(400), Reply::status(404)])
            .start()
            .await;
    let got = world.chat(chat(json!({}))).await;
    assert_eq!((got.status, &*got.code(), got.header("retry-after")), (503, "overloaded", "30"), "{}", got.text());
    let got = world.chat(chat(json!({}))).await;
    assert_eq!((got.status, &got.json()["error"]["type"]), (400, &json!("invalid_request_error")), "{}", got.text());
    assert_eq!((world.chat(chat(json!({}))).await.status, got.json()["type"].is_null()), (404, true));
    let world =
        to_gpt([Reply::status(503).with_header("x-should-retry", "false"), Reply::insufficient_quota()]).start().await;
    let got = send(&world, message(json!({})), &[]).await;
    assert_eq!((got.status, &got.json()["error"]["type"]), (529, &json!("overloaded_error")), "{}", got.text());
    assert_eq!(
        (got.header("x-should-retry"), &got.json()["request_id"]),
        ("false", &json!(got.header("x-request-id")))
    );
    let got = send(&world, message(json!({})), &[]).await;
    assert_eq!((got.status, &got.json()["error"]["type"]), (402, &json!("billing_error")), "{}", got.text());
}

#[tokio::test]
async fn a_call_is_translated_once_and_tried_again_as_it_was() {
    let world = to_claude([Reply::status(500), Reply::text("ok")]).start().await;
    let got = world.chat(chat(json!({}))).await;
    assert_eq!((got.status, world.fates()), (200, vec!["failed".to_owned(), "completed".to_owned()]), "{}", got.text());
    let sent = world.provider.requests();
    assert_eq!(sent[0].body, sent[1].body);
}

#[tokio::test]
async fn a_stream_that_breaks_ends_in_the_client_s_words_and_without_an_end() {
    for (reply, code) in [
        (Reply::text("one two three four").resets_after(5), "provider_error"),
        (Reply::text("one two three four").ends_after(5), "provider_error"),
        (Reply::text("one two three four").overloads_after(5), "overloaded"),
    ] {
        let world = to_claude([reply]).start().await;
        let got = world.chat(chat(json!({"stream": true}))).await;
        assert_eq!((got.status, &*got.last_error()), (200, code), "{}", got.text());
        assert!(got.text().contains("\"content\":\"one"), "{}", got.text());
        assert_eq!(world.fates(), ["interrupted"]);
        world.the_ledger_holds_the_invoice();
    }
    for (reply, kind) in [
        (Reply::text("one two three four").resets_after(4), "api_error"),
        (Reply::text("one two three four").fails_after(4), "api_error"),
        (Reply::text("one two three four").overloads_after(4), "overloaded_error"),
    ] {
        let world = to_gpt([reply]).start().await;
        let got = send(&world, message(json!({"stream": true})), &[]).await;
        let events = events(&got);
        let (name, last) = events.last().expect("events");
        assert_eq!((&**name, &last["error"]["type"]), ("error", &json!(kind)), "{}", got.text());
        assert!(!events.iter().any(|(name, _)| name == "message_stop" || name == "message_delta"), "{}", got.text());
        assert_eq!(world.fates(), ["interrupted"]);
        world.the_ledger_holds_the_invoice();
    }
}

#[tokio::test]
async fn a_stream_whose_provider_leaves_out_the_end_has_one_all_the_same() {
    let world = to_gpt([Reply::text("one").without_done()]).start().await;
    let got = send(&world, message(json!({"stream": true})), &[]).await;
    assert_eq!(events(&got).last().map(|(name, _)| &**name), Some("message_stop"), "{}", got.text());
    assert_eq!(world.fates(), ["completed"]);
    let world = to_claude([Reply::text("one").without_done()]).start().await;
    let got = world.chat(chat(json!({"stream": true}))).await;
    assert_eq!(content(&chunks(&got)), "one");
    assert_eq!(world.fates(), ["completed"]);
}

#[tokio::test]
async fn a_stream_whose_first_event_is_an_error_is_tried_again_in_both_directions() {
    let world = to_claude([Reply::text("x").overloads_after(0), Reply::text("ok")]).start().await;
    let got = world.chat(chat(json!({"stream": true}))).await;
    assert_eq!((content(&chunks(&got)), world.fates().len()), ("ok".to_owned(), 2));
    let world = to_gpt([Reply::text("x").fails_after(0), Reply::text("ok")]).start().await;
    let got = send(&world, message(json!({"stream": true})), &[]).await;
    assert_eq!((said(&events(&got)), world.fates().len()), ("ok".to_owned(), 2));
}

#[tokio::test]
async fn no_event_waits_for_the_next() {
    let world = to_claude([Reply::text("one two three four").stalls_after(4)]).start().await;
    let mut events = world.stream(chat(json!({"stream": true}))).await;
    assert!(events.take(3).await[2].contains("one"));
    world.provider.release();
    assert_eq!(events.rest().await.last().map(|last| &**last), Some("data: [DONE]\n\n"));
    let world = to_gpt([Reply::text("one two three four").stalls_after(2)]).start().await;
    let mut events =
        Events::of(world.send(Method::POST, "/v1/messages", &[], message(json!({"stream": true})).into()).await);
    assert!(events.take(3).await[2].contains("one"));
    world.provider.release();
    assert!(events.rest().await.last().is_some_and(|last| last.starts_with("event: message_stop")));
    world.settled_as_billed(1);
}

#[tokio::test]
async fn a_client_that_hangs_up_ends_the_provider_s_call_too() {
    let world = to_claude([Reply::text("one two three four").stalls_after(4)]).start().await;
    let mut events = world.stream(chat(json!({"stream": true}))).await;
    events.take(2).await;
    drop(events);
    world.until("the provider to notice", || world.provider.hang_ups() > 0).await;
    world.logged("request", 1).await;
    assert_eq!(world.fates(), ["cut"]);
    world.the_ledger_holds_the_invoice();
}

#[tokio::test]
async fn a_stream_beyond_its_limit_is_ended_in_the_client_s_words_as_one_that_has_reached_it() {
    let budget = "teams: { default: { budget: { usd: 0.01, every: month } } }";
    let model = script(OPUS, [Reply::tokens(100_000)]).ignores_limits();
    let setup = Setup::of(Provider::anthropic().model(model)).anthropic().tiers(&format!("frontier: [sim/{OPUS}]"));
    let world = setup.more(budget).start().await;
    let got = world.chat(chat(json!({"stream": true, "max_tokens": 20}))).await;
    let chunks = chunks(&got);
    assert_eq!(chunks.last().expect("chunks")["choices"][0]["finish_reason"], "length", "{}", got.text());
    assert!(got.text().contains(": x-farthing-cost-usd: "));
    assert_eq!(world.attempts()[0].fate, "cut");
    let model = script(GPT, [Reply::tokens(100_000)]).ignores_limits();
    let world = Setup::of(Provider::openai().model(model)).more(budget).start().await;
    let got = send(&world, message(json!({"stream": true, "max_tokens": 20})), &[]).await;
    let events = events(&got);
    let names: Vec<&str> = events.iter().map(|(name, _)| &**name).collect();
    assert!(names.ends_with(&["content_block_stop", "message_delta", "message_stop"]), "{}", got.text());
    assert_eq!(events[events.len() - 2].1["delta"]["stop_reason"], "max_tokens");
    assert_eq!(world.attempts()[0].fate, "cut");
}

#[tokio::test]
async fn too_little_money_lowers_the_limit_of_what_was_translated() {
    let more = "budget: { on_short: shrink }\nteams: { default: { budget: { usd: 0.01, every: day } } }";
    let world = to_claude([Reply::tokens(5000)]).more(more).start().await;
    for (asked, edits) in
        [(json!({"max_tokens": 8000}), "output_limit,translate"), (json!({}), "output_limit,translate")]
    {
        let got = world.chat(chat(asked)).await;
        if got.status == 429 {
            continue;
        }
        assert_eq!((got.status, got.header("x-farthing-edits")), (200, edits), "{}", got.text());
        let sent = world.provider.requests().last().map(|sent| sent.json()["max_tokens"].as_u64());
        assert!(sent.flatten().is_some_and(|limit| limit < 1_000), "{sent:?}");
        assert_eq!(got.json()["choices"][0]["finish_reason"], "length");
    }
    world.settled_as_billed(world.attempts().len());
    assert!(world.attempts().iter().map(|row| row.cost.unwrap_or_default()).sum::<i64>() <= 10_000_000);
}

#[tokio::test]
async fn a_large_request_and_a_large_answer_are_translated_whole() {
    let long = "The quick brown fox jumps over the lazy dog. ".repeat(3_200);
    let world = to_claude([Reply::text(&long)]).start().await;
    let got = world.chat(chat(json!({"messages": [{"role": "user", "content": long}]}))).await;
    assert_eq!(got.status, 200, "{}", got.text());
    assert_eq!(got.json()["choices"][0]["message"]["content"], json!(long));
    assert_eq!(world.provider.requests()[0].json()["messages"][0]["content"][0]["text"], json!(long));
    world.settled_as_billed(1);
}

/// A recording of a provider's stream, and what its client is sent of it: files beside each other, whose changes are read like
/// code. With `FARTHING_WRITES_GOLDEN` in the environment the second is written anew.
#[tokio::test]
async fn recorded_streams_are_told_as_they_were() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/translated");
    let mut names: Vec<String> = std::fs::read_dir(&folder)
        .expect("the folder")
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_suffix(".in.sse").map(str::to_owned))
        .collect();
    names.sort();
    assert!(names.len() >= 12, "{names:?}");
    for name in names {
        let recorded = std::fs::read_to_string(folder.join(format!("{name}.in.sse"))).expect("a recording");
        let pieces: Vec<String> = recorded.split_inclusive("\n\n").map(str::to_owned).collect();
        let reply = Reply::raw_events(pieces);
        let got = if name.starts_with("messages") {
            let world = to_claude([reply]).server("cost_comment: off").start().await;
            world.chat(chat(json!({"stream": true, "stream_options": {"include_usage": true}}))).await
        } else {
            let world = to_gpt([reply]).server("cost_comment: off").start().await;
            send(&world, message(json!({"stream": true})), &[]).await
        };
        let told = got.text().replace(got.header("x-request-id"), "REQUEST");
        let told = told.split_inclusive('\n').map(without_time).collect::<String>();
        let golden = folder.join(format!("{name}.out.sse"));
        if std::env::var_os("FARTHING_WRITES_GOLDEN").is_some() {
            std::fs::write(&golden, &told).expect("a file");
        }
        assert_eq!(told, std::fs::read_to_string(&golden).unwrap_or_default(), "{name}");
    }
}

/// Whatever was made now was made at 0.
fn without_time(line: &str) -> String {
    let Some((before, rest)) = line.split_once("\"created\":") else { return line.to_owned() };
    format!("{before}\"created\":0{}", rest.trim_start_matches(|digit: char| digit.is_ascii_digit()))
}

#[tokio::test]
async fn an_answer_that_must_be_json_is_the_input_of_a_tool_and_comes_back_as_text() {
    let world = to_claude([Reply::calls("fx_format", json!({"a": "ä\n"}))]).start().await;
    let format = json!({"type": "json_object"});
    let got = world.chat(chat(json!({"response_format": format}))).await;
    let choice = got.json()["choices"][0].clone();
    let said: Value = serde_json::from_str(choice["message"]["content"].as_str().unwrap_or_default()).expect("JSON");
    assert_eq!((said, &choice["finish_reason"]), (json!({"a": "ä\n"}), &json!("stop")), "{}", got.text());
    assert_eq!(choice["message"].get("tool_calls"), None);
    assert_eq!(world.provider.requests()[0].json()["tool_choice"]["name"], "fx_format");
    let got = world.chat(chat(json!({"response_format": format, "stream": true}))).await;
    let chunks = chunks(&got);
    assert_eq!(serde_json::from_str::<Value>(&content(&chunks)).expect("JSON"), json!({"a": "ä\n"}));
    assert_eq!(chunks.last().expect("chunks")["choices"][0]["finish_reason"], "stop");
    world.settled_as_billed(2);
}

#[tokio::test]
async fn a_conversation_that_goes_on_is_cached_at_anthropic_s() {
    let world = to_claude([Reply::text("one")]).start().await;
    let long = "The quick brown fox jumps over the lazy dog. ".repeat(700);
    let mut messages = vec![json!({"role": "system", "content": long}), json!({"role": "user", "content": "hi"})];
    let tools = json!([{"type": "function", "function": {"name": "f"}}]);
    for _ in 0..2 {
        let got = world.chat(chat(json!({"messages": messages, "tools": tools}))).await;
        assert_eq!((got.status, got.header("x-farthing-edits")), (200, "cache_control,output_limit,translate"));
        messages.extend([json!({"role": "assistant", "content": "one"}), json!({"role": "user", "content": "more"})]);
    }
    let rows =
        world.rows("select cached_input_tokens > 4000, cache_write_tokens > 4000 from attempts_v1 order by attempt_id");
    let truth = |value: bool| rusqlite::types::Value::Integer(i64::from(value));
    assert_eq!(rows, [[truth(false), truth(true)], [truth(true), truth(false)]]);
    world.settled_as_billed(2);
}

#[tokio::test]
async fn what_a_row_says_of_markers_wins_over_what_clients_are_used_to() {
    let long = "The quick brown fox jumps over the lazy dog. ".repeat(200);
    let asked = chat(json!({"messages": [{"role": "system", "content": long}, {"role": "user", "content": "hi"}]}));
    for (line, marks) in [("cache_control: off", 0), ("cache_control: 1h", 1), ("discount: 0%", 1)] {
        let world = to_claude([Reply::text("one")]).row(line).start().await;
        assert_eq!(world.chat(asked.clone()).await.status, 200);
        let sent = world.provider.requests()[0].json();
        let hours = usize::from(line.ends_with("1h"));
        assert_eq!(sent.to_string().matches("cache_control").count(), marks, "{line}");
        assert_eq!(sent.to_string().matches(r#""ttl":"1h""#).count(), hours, "{line}");
    }
}

#[tokio::test]
async fn thoughts_that_another_vendor_sealed_are_taken_out_of_what_is_not_translated() {
    let luna = Provider::openai().model(script(LUNA, [Reply::text("four").thinks("two and two")]));
    let claude = claude([Reply::text("five")]);
    let world = Setup::of(luna).and_speaking("anthropic", "other", claude).start().await;
    let asked = json!({"role": "user", "content": "2+2?"});
    let thinking = json!({"type": "adaptive", "display": "summarized"});
    let body = |model: &str, messages: Value| {
        with(json!({"model": model, "max_tokens": 4000}), json!({"messages": messages, "thinking": thinking}))
    };
    let got = send(&world, body(&format!("sim/{LUNA}"), json!([asked])), &[]).await;
    let blocks = got.json()["content"].clone();
    assert!(got.text().contains("fx1.openai."), "{}", got.text());
    let more = json!({"role": "user", "content": "and one?"});
    let said = json!([asked, {"role": "assistant", "content": blocks}, more]);
    let got = send(&world, body(&format!("other/{OPUS}"), said.clone()), &[]).await;
    assert_eq!((got.status, got.header("x-farthing-edits")), (200, "model,reasoning"), "{}", got.text());
    let sent = world.others[0].requests()[0].json();
    assert_eq!(sent["messages"][1]["content"].as_array().map(Vec::len), Some(1), "{sent}");
    assert_eq!(sent["messages"][1]["content"][0]["text"], "four");
    let back = send(&world, body(&format!("sim/{LUNA}"), said), &[]).await;
    assert_eq!(back.status, 200, "{}", back.text());
    let items = world.provider.requests()[1].json()["input"].clone();
    assert!(items.to_string().contains("\"reasoning\""), "they come back to OpenAI: {items}");
}
