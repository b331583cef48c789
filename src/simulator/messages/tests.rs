//! Anthropic's side over real TCP: what it answers, what it refuses, and what it bills.

use serde_json::{Value, json};

use super::super::tests::{Seen, send};
use super::super::{BillsAfterCut, ModelScript, PriceList, Provider, Reply, Running};

const OLD: &str = "2023-06-01";
const NEW: &str = "2026-10-21";

async fn start(model: &str, reply: Reply) -> Running {
    Provider::anthropic().model(ModelScript::named(model).then(reply)).start().await.expect("a free port")
}

async fn ask_as(provider: &Running, version: &str, body: &Value) -> Seen {
    let headers = [("anthropic-version", version), ("x-client-request-id", "attempt-1")];
    send(provider, http::Method::POST, "/v1/messages", &headers, body.to_string()).await
}

async fn ask(provider: &Running, body: &Value) -> Seen {
    ask_as(provider, OLD, body).await
}

fn request(more: Value) -> Value {
    let mut body = json!({"model": "claude-sonnet-4-6", "max_tokens": 2048,
                          "messages": [{"role": "user", "content": "why did it fail"}]});
    if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
        body.extend(more);
    }
    body
}

fn tool(name: &str) -> Value {
    json!({"name": name, "input_schema": {"type": "object", "properties": {}}})
}

/// The events of a stream, each with the name in front of it.
fn events(seen: &Seen) -> Vec<Value> {
    let read = |event: &str| {
        let (name, data) = event.split_once('\n').expect("a name and data");
        let data: Value = serde_json::from_str(data.strip_prefix("data: ").expect("data")).expect("JSON");
        assert_eq!(name.strip_prefix("event: "), data["type"].as_str());
        data
    };
    seen.body.split_terminator("\n\n").map(read).collect()
}

#[tokio::test]
async fn a_whole_message_has_the_shape_and_headers_of_the_real_one() {
    let provider = start("claude-sonnet-4-6", Reply::text("the job failed")).await;
    let seen = ask(&provider, &request(json!({}))).await;
    let message = seen.json();
    assert_eq!(message["content"], json!([{"type": "text", "text": "the job failed", "citations": null}]));
    assert_eq!((&message["stop_reason"], &message["role"]), (&json!("end_turn"), &json!("assistant")));
    // 3 around the block, 4 in it.
    assert_eq!((&message["usage"]["input_tokens"], &message["usage"]["output_tokens"]), (&json!(7), &json!(3)));
    assert!(seen.headers["request-id"].to_str().is_ok_and(|id| id.starts_with("req_")));
    assert!(!seen.headers.contains_key("x-request-id"));
    let line = &provider.invoice().lines[0];
    assert_eq!((line.client_request_id.as_deref(), line.cost.0), (Some("attempt-1"), 7 * 3_000 + 3 * 15_000));
}

#[tokio::test]
async fn a_stream_names_its_events_and_closes_each_block() {
    let reply = Reply::answer(super::super::Answer {
        text: Some("reading".into()),
        ..super::super::Answer::calls([("read_log", json!({"task": "load"})), ("diff", json!({}))])
    });
    let provider = start("claude-sonnet-4-6", reply.thinks("the log first")).await;
    let body =
        request(json!({"stream": true, "thinking": {"type": "adaptive"}, "tools": [tool("read_log"), tool("diff")]}));
    let events = events(&ask(&provider, &body).await);
    let kinds: Vec<_> = events.iter().filter_map(|event| event["type"].as_str()).collect();
    assert_eq!(kinds[..3], ["message_start", "content_block_start", "ping"]);
    assert_eq!(kinds[kinds.len() - 3..], ["content_block_stop", "message_delta", "message_stop"]);
    let starts: Vec<_> = events.iter().filter(|event| event["type"] == "content_block_start").collect();
    let blocks: Vec<_> = starts.iter().map(|start| (&start["index"], &start["content_block"]["type"])).collect();
    let expected = json!([[0, "thinking"], [1, "text"], [2, "tool_use"], [3, "tool_use"]]);
    assert_eq!(json!(blocks), expected);
    let input = |block: u64| -> String {
        let deltas = events.iter().filter(|event| event["index"] == block);
        deltas.filter_map(|event| event["delta"]["partial_json"].as_str()).collect()
    };
    assert_eq!((input(2), input(3)), ("{\"task\":\"load\"}".into(), "{}".into()));
    let last = &events[events.len() - 2];
    assert_eq!(last["delta"]["stop_reason"], "tool_use");
    let tokens = provider.invoice().lines[0].tokens;
    assert_eq!(last["usage"]["output_tokens"], tokens.output);
    assert_eq!((tokens.reasoning, &last["usage"]["output_tokens_details"]), (3, &json!({"thinking_tokens": 3})));
}

#[track_caller]
fn check_refused(seen: &Seen, status: u16, words: &str) {
    let error = seen.json();
    let message = error["error"]["message"].as_str().unwrap_or_default();
    assert_eq!((seen.status, &error["type"]), (status, &json!("error")), "{words}: {}", seen.body);
    assert!(message.contains(words), "{message:?} has not {words:?}");
    assert_eq!(error["request_id"].as_str(), seen.headers["request-id"].to_str().ok());
}

#[tokio::test]
async fn what_the_real_api_refuses_is_refused_in_its_words() {
    let provider = Provider::anthropic().model(ModelScript::named("*")).start().await.expect("a free port");
    let marked = |ttl: &str| json!({"type": "text", "text": "a", "cache_control": {"type": "ephemeral", "ttl": ttl}});
    let said = |content: Value| json!({"messages": [{"role": "user", "content": content}]});
    let call = json!({"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}});
    let result = json!({"type": "tool_result", "tool_use_id": "toolu_1", "content": "1"});
    let turns = |turns: Value| json!({"messages": turns});
    let user = |content: Value| json!({"role": "user", "content": content});
    let assistant = |content: Value| json!({"role": "assistant", "content": content});
    for (more, words) in [
        (json!({"max_tokens": null}), "max_tokens: Input should be a valid integer"),
        (json!({"seed": 1}), "seed: Extra inputs are not permitted"),
        (json!({"context_management": {}}), "context_management: Extra inputs are not permitted"),
        (json!({"max_tokens": 200_000}), "which is the maximum allowed number of output tokens"),
        (json!({"messages": []}), "at least one message is required"),
        (said(json!("")), "user messages must have non-empty content"),
        (said(json!([{"type": "text", "text": ""}])), "text content blocks must be non-empty"),
        (said(json!([{"type": "text"}])), "messages.0.content.0.text.text: Field required"),
        (said(json!([{"type": "text", "text": "a", "x": 1}])), "messages.0.content.0.text.x: Extra inputs"),
        (said(json!([{"type": "input_text", "text": "a"}])), "does not match any of the expected tags"),
        (said(json!([marked("5m"), marked("5m"), marked("5m"), marked("5m"), marked("5m")])), "Found 5."),
        (said(json!([marked("5m"), marked("1h")])), "must not come after a ttl='5m'"),
        (said(json!([call])), "`tool_use` blocks can only be in `assistant` messages"),
        (said(json!([result])), "unexpected `tool_use_id` found in `tool_result` blocks: toolu_1"),
        (turns(json!([assistant(json!("a"))])), "first message must use the \"user\" role"),
        (turns(json!([{"role": "system", "content": "a"}])), "Unexpected role \"system\""),
        (turns(json!([user(json!("a")), assistant(json!("b"))])), "does not support assistant message prefill"),
        (
            turns(json!([user(json!("a")), assistant(json!([call])), user(json!("b"))])),
            "messages.1: `tool_use` ids were found without `tool_result` blocks immediately after: toolu_1",
        ),
        (
            turns(json!([user(json!("a")), assistant(json!([call])), user(json!([marked("5m"), result]))])),
            "ids were found without `tool_result` blocks immediately after",
        ),
        (json!({"thinking": {"type": "enabled", "budget_tokens": 100}}), "greater than or equal to 1024"),
        (
            json!({"thinking": {"type": "enabled", "budget_tokens": 2048}}),
            "must be greater than `thinking.budget_tokens`",
        ),
        (
            json!({"thinking": {"type": "enabled", "budget_tokens": 1024}, "tools": [tool("f")], "tool_choice": {"type": "any"}}),
            "Thinking may not be enabled when tool_choice forces tool use.",
        ),
        (json!({"tools": [tool("f"), tool("f")]}), "Tool names must be unique"),
        (json!({"tools": [tool("a b")]}), "tools.0.custom.name: String should match pattern"),
        (json!({"tools": [{"name": "f"}]}), "tools.0.custom.input_schema: Field required"),
        (json!({"tools": [tool("f")], "tool_choice": {"type": "tool", "name": "g"}}), "Tool 'g' not found"),
        (json!({"temperature": 1.5}), "temperature: range: 0..1"),
        (json!({"output_config": {"effort": "huge"}}), "output_config.effort: Input should be 'low', 'medium'"),
        (json!({"model": "claude-opus-4-7", "temperature": 1}), "`temperature` is deprecated for this model."),
        (
            json!({"model": "claude-opus-4-7", "thinking": {"type": "enabled", "budget_tokens": 1024}}),
            "\"thinking.type.enabled\" is not supported for this model.",
        ),
    ] {
        check_refused(&ask(&provider, &request(more)).await, 400, words);
    }
    assert!(provider.invoice().lines.is_empty());
}

#[tokio::test]
async fn the_versions_differ_in_what_they_take() {
    let provider = Provider::anthropic().model(ModelScript::named("*")).start().await.expect("a free port");
    let document = json!({"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "a"}});
    let cited = json!([{"type": "text", "text": "a", "citations": [{"type": "char_location"}]}]);
    for (more, words) in [
        (json!({"temperature": 1.0}), "temperature: Extra inputs are not permitted"),
        (json!({"top_k": 5}), "top_k: Extra inputs are not permitted"),
        (json!({"messages": [{"role": "user", "content": cited}]}), "citations: Extra inputs are not permitted"),
        (
            json!({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": [document]}, {"role": "user", "content": "b"}]}),
            "`document` blocks are not permitted in `assistant` messages",
        ),
    ] {
        let body = request(more);
        assert_eq!(ask_as(&provider, OLD, &body).await.status, 200, "{words}");
        check_refused(&ask_as(&provider, NEW, &body).await, 400, words);
    }
    check_refused(&ask_as(&provider, "2024-01-01", &request(json!({}))).await, 400, "is not a valid version");
    let seen = send(&provider, http::Method::POST, "/v1/messages", &[], request(json!({})).to_string()).await;
    check_refused(&seen, 400, "anthropic-version: header is required");
}

#[tokio::test]
async fn thoughts_come_back_as_they_went_out_or_not_at_all() {
    for (reply, display) in [
        (Reply::calls("f", json!({})).thinks("the log first"), "summarized"),
        (Reply::calls("f", json!({})).thinks("the log first"), "omitted"),
        (Reply::calls("f", json!({})).thinks_in_secret("the log first"), "summarized"),
    ] {
        let provider = start("claude-sonnet-4-6", reply).await;
        let thinking = json!({"type": "enabled", "budget_tokens": 1024, "display": display});
        let first = request(json!({"thinking": thinking, "tools": [tool("f")]}));
        let content = ask(&provider, &first).await.json()["content"].clone();
        let result = json!({"type": "tool_result", "tool_use_id": content[1]["id"], "content": "1"});
        let second = |content: Value| {
            let mut body = first.clone();
            body["messages"].as_array_mut().expect("messages").extend([
                json!({"role": "assistant", "content": content}),
                json!({"role": "user", "content": [result]}),
            ]);
            body
        };
        assert_eq!(ask(&provider, &second(content.clone())).await.status, 200, "{content}");
        let mut altered = content.clone();
        let key = if altered[0]["data"].is_null() { "signature" } else { "data" };
        altered[0][key] = "fx1.openai.rs_1".into();
        check_refused(&ask(&provider, &second(altered)).await, 400, "messages.1.content.0: Invalid `");
        let without = json!([content[1]]);
        check_refused(&ask(&provider, &second(without)).await, 400, "Expected `thinking` or `redacted_thinking`");
    }
}

#[tokio::test]
async fn marked_prefixes_are_written_once_and_read_at_a_tenth() {
    let provider = start("claude-opus-5-5", Reply::text("ok")).await;
    let rules = " the rules of the house".repeat(500);
    let marked =
        |ttl: &str| json!([{"type": "text", "text": rules, "cache_control": {"type": "ephemeral", "ttl": ttl}}]);
    let body = request(json!({"model": "claude-opus-5-5", "system": marked("1h")}));
    let usage = |seen: Seen| seen.json()["usage"].clone();
    let (first, second) = (usage(ask(&provider, &body).await), usage(ask(&provider, &body).await));
    assert_eq!(first["cache_creation"], json!({"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 2503}));
    assert_eq!((&first["input_tokens"], &first["cache_read_input_tokens"]), (&json!(7), &json!(0)));
    assert_eq!((&second["cache_creation_input_tokens"], &second["cache_read_input_tokens"]), (&json!(0), &json!(2503)));
    let lines = provider.invoice().lines;
    assert_eq!(lines[0].cost.0, 7 * 4_000 + 2503 * 8_000 + 20_000);
    assert_eq!(lines[1].cost.0, 7 * 4_000 + 2503 * 200 + 20_000);
    assert_eq!(lines[0].tokens.input, 2510);
}

#[tokio::test]
async fn an_answer_says_why_it_ended() {
    for (reply, more, reason, detail) in [
        (Reply::text("one two three four"), json!({"max_tokens": 2}), "max_tokens", Value::Null),
        (Reply::text("one STOP two"), json!({"stop_sequences": ["STOP"]}), "stop_sequence", json!("STOP")),
        (Reply::refuses("I cannot help with that."), json!({}), "refusal", json!("I cannot help with that.")),
    ] {
        let provider = start("claude-sonnet-4-6", reply).await;
        let message = ask(&provider, &request(more)).await.json();
        assert_eq!(message["stop_reason"], reason);
        let found =
            if reason == "refusal" { &message["stop_details"]["explanation"] } else { &message["stop_sequence"] };
        assert_eq!(*found, detail);
    }
}

#[tokio::test]
async fn a_stream_breaks_where_the_script_says() {
    let words = || Reply::tokens(10);
    // message_start, block start, ping, ten words, block stop, message_delta, message_stop.
    for (reply, kinds, last) in [
        (words(), 16, "message_stop"),
        (words().without_done(), 15, "message_delta"),
        (words().with_usage_twice(), 17, "message_stop"),
        (words().fails_after(5), 6, "error"),
        (words().ends_after(5), 5, "content_block_delta"),
    ] {
        let provider = start("claude-sonnet-4-6", reply).await;
        let events = events(&ask(&provider, &request(json!({"stream": true}))).await);
        assert_eq!((events.len(), events.last().map(|event| &event["type"])), (kinds, Some(&json!(last))));
        provider.settled().await.expect("settled");
        assert_eq!(provider.invoice().lines.len(), 1);
    }
    let provider = start("claude-sonnet-4-6", words().overloads_after(4)).await;
    let events = events(&ask(&provider, &request(json!({"stream": true}))).await);
    assert_eq!(events[4]["error"], json!({"type": "overloaded_error", "message": "Overloaded"}));
    assert_eq!(provider.invoice().lines[0].tokens.output, 1, "what was generated until the break is billed");
}

#[tokio::test]
async fn bad_habits_are_those_of_the_other_dialects() {
    let model =
        ModelScript::named("claude-sonnet-4-6").priced(PriceList::sonnet()).hides_reasoning(50).ignores_limits();
    let model = model.bills_after_cut(BillsAfterCut::All).then(Reply::tokens(10));
    let provider = Provider::anthropic().model(model).start().await.expect("a free port");
    let body = request(json!({"max_tokens": 3, "thinking": {"type": "adaptive"}}));
    let message = ask(&provider, &body).await.json();
    assert_eq!((&message["usage"]["output_tokens"], provider.invoice().lines[0].tokens.output), (&json!(10), 60));
    for (reply, expected) in
        [(Reply::text("a").without_usage(), json!(null)), (Reply::text("a").with_zero_usage(), json!(0))]
    {
        let provider = start("claude-sonnet-4-6", reply).await;
        assert_eq!(ask(&provider, &request(json!({}))).await.json()["usage"]["input_tokens"], expected);
        assert_eq!(provider.invoice().lines[0].tokens.input, 7);
    }
}

#[tokio::test]
async fn errors_have_the_shape_of_this_vendor() {
    for (status, kind) in
        [(401, "authentication_error"), (429, "rate_limit_error"), (500, "api_error"), (529, "overloaded_error")]
    {
        let provider = start("claude-sonnet-4-6", Reply::status(status)).await;
        let seen = ask(&provider, &request(json!({}))).await;
        assert_eq!((seen.status, &seen.json()["error"]["type"]), (status, &json!(kind)));
    }
    let provider = start("claude-sonnet-4-6", Reply::text("a")).await;
    check_refused(&ask(&provider, &request(json!({"model": "claude-none"}))).await, 404, "model: claude-none");
}

#[tokio::test]
async fn tokens_are_counted_for_nothing() {
    let provider = start("claude-sonnet-4-6", Reply::text("a")).await;
    let count = |body: Value| {
        let provider = &provider;
        async move {
            let headers = [("anthropic-version", NEW)];
            send(provider, http::Method::POST, "/v1/messages/count_tokens", &headers, body.to_string()).await
        }
    };
    let mut body = request(json!({}));
    check_refused(&count(body.clone()).await, 400, "max_tokens: Extra inputs are not permitted");
    body.as_object_mut().expect("an object").remove("max_tokens");
    assert_eq!(count(body).await.json(), json!({"input_tokens": 7}));
    assert!(provider.invoice().lines.is_empty());
}

#[tokio::test]
async fn either_header_carries_the_key() {
    let provider = Provider::anthropic().requires_key("sk-ant-right").model(ModelScript::named("*"));
    let provider = provider.start().await.expect("a free port");
    for (name, value, status) in [
        ("x-api-key", "sk-ant-right", 200),
        ("authorization", "Bearer sk-ant-right", 200),
        ("x-api-key", "wrong", 401),
        ("authorization", "Bearer wrong", 401),
    ] {
        let headers = [("anthropic-version", OLD), (name, value)];
        let seen = send(&provider, http::Method::POST, "/v1/messages", &headers, request(json!({})).to_string()).await;
        assert_eq!(seen.status, status, "{name}: {value}");
    }
}
