//! What goes through comes out as it was, but for the edits that are declared.

use farthing::simulator::{ModelScript, Provider, Reply};
use serde_json::json;

use crate::support::{ASK, ASK_STREAM, Setup, World, ask, luna, script, whole};

const CHUNK: &str = r#"{"id":"c","choices":[{"index":0,"delta":{"content":"h\u00e9"},"finish_reason":null}]}"#;
const FINISH: &str = r#"{"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
const USAGE: &str = r#"{"id":"c","choices":[],"usage":{"prompt_tokens":8,"completion_tokens":1,"total_tokens":9}}"#;
const DONE: &str = "data: [DONE]\n\n";
/// What 8 input tokens and 1 output token cost at list price.
const COMMENT: &str = ": x-farthing-cost-usd: 0.0000028\n\n";

fn event(json: &str) -> String {
    format!("data: {json}\n\n")
}

/// A stream of one word, finished, with usage and terminator, an event a piece.
fn short_stream() -> Vec<String> {
    vec![event(CHUNK), event(FINISH), event(USAGE), DONE.to_owned()]
}

#[tokio::test]
async fn a_request_is_answered_and_its_row_equals_the_invoice() {
    let world = World::new(Provider::openai().model(ModelScript::named("gpt-5.6-luna").replies("hello")), "").await;
    let got = world.chat(ASK).await;
    assert_eq!(got.status, 200, "{}", got.text());
    assert_eq!(got.json()["choices"][0]["message"]["content"], "hello");
    let row = &world.attempts()[0];
    let invoice = world.provider.invoice().total().0;
    assert_eq!((row.fate.as_str(), row.source.as_str(), row.cost), ("completed", "reported", Some(invoice)));
    assert!(invoice > 0);
}

/// Sends `body` and compares what arrives at the provider.
async fn check_sent(world: &World, body: &str, expected: &str, edits: &str) {
    let got = world.chat(body.to_owned()).await;
    assert_eq!(got.status, 200, "{}", got.text());
    let arrived = world.provider.requests().pop().expect("a request");
    assert_eq!(String::from_utf8_lossy(&arrived.body), expected);
    assert_eq!(arrived.header("content-length"), Some(&*expected.len().to_string()));
    assert_eq!(got.header("x-farthing-edits"), edits, "for {body}");
    assert_eq!(world.requests().pop().expect("a row").edits, edits, "for {body}");
}

#[tokio::test]
async fn a_request_leaves_with_the_declared_edits_and_no_other() {
    let world = World::new(Provider::openai().model(script("*", [Reply::text("ok")])), "").await;
    let messages = r#""messages":[{"role":"user","content":"h\u0069 \u2028"}], "x_unknown": [1.0, 1e0, -0]"#;
    let same = format!(r#"{{ {messages} , "model" : "gpt-5.6-luna" }}"#);
    check_sent(&world, &same, &same, "").await;
    let escaped = format!(r#"{{"model":"gpt\u002d5.6-luna",{messages}}}"#);
    check_sent(&world, &escaped, &escaped, "").await;
    let tier = format!(r#"{{"model": "lightweight", {messages}}}"#);
    check_sent(&world, &tier, &tier.replace("lightweight", "gpt-5.6-luna"), "model").await;
    let pinned = format!(r#"{{{messages}, "model":"sim/gpt-5.6-luna"}}"#);
    check_sent(&world, &pinned, &pinned.replace("sim/", ""), "model").await;
    let streamed = format!(r#"{{"model":"frontier","stream":true,{messages}}}"#);
    let edited = streamed.replace(r#""frontier""#, r#""gpt-5.6-sol","stream_options":{"include_usage":true}"#);
    check_sent(&world, &streamed, &edited, "model,usage").await;
}

#[tokio::test]
async fn usage_is_asked_for_in_a_stream_whatever_the_client_said() {
    let world = World::new(luna([Reply::text("ok")]), "").await;
    for (said, sent) in [
        ("{}", r#"{"include_usage":true}"#),
        ("null", r#"{"include_usage":true}"#),
        (r#"{"include_usage":false}"#, r#"{"include_usage":true}"#),
        (r#"{ "include_usage" : null }"#, r#"{ "include_usage" : true }"#),
        (r#"{"include_obfuscation":false}"#, r#"{"include_usage":true,"include_obfuscation":false}"#),
    ] {
        let body = |options: &str| {
            format!(r#"{{"stream_options":{options},"stream":true,"messages":[],"model":"gpt-5.6-luna"}}"#)
        };
        check_sent(&world, &body(said), &body(sent), "usage").await;
    }
    let asked = r#"{"stream_options":{"include_usage" :true},"stream":true,"messages":[],"model":"gpt-5.6-luna"}"#;
    check_sent(&world, asked, asked, "").await;
    let not_streamed = r#"{"stream_options":{},"stream":false,"messages":[],"model":"gpt-5.6-luna"}"#;
    check_sent(&world, not_streamed, not_streamed, "").await;
}

/// Sends a streaming request with these `stream_options` and compares the whole stream.
async fn check_stream(setup: Setup, options: &str, expected: &[&str]) {
    let world = setup.start().await;
    let body = format!(r#"{{"model":"gpt-5.6-luna","messages":[],"stream":true{options}}}"#);
    let got = world.chat(body).await;
    assert_eq!(got.text(), expected.concat(), "with `{options}`");
    assert_eq!(got.header("content-type"), "text/event-stream");
    assert_eq!(world.fates(), ["completed"]);
}

#[tokio::test]
async fn the_usage_chunk_reaches_only_a_client_that_asked_for_it() {
    let setup = || Setup::of(luna([Reply::raw_events(short_stream()).billed(8, 1)]));
    let (chunk, finish, usage) = (&*event(CHUNK), &*event(FINISH), &*event(USAGE));
    let without = [chunk, finish, COMMENT, DONE];
    check_stream(setup(), "", &without).await;
    check_stream(setup(), r#","stream_options":{"include_usage":false}"#, &without).await;
    let asked = r#","stream_options":{"include_usage":true}"#;
    check_stream(setup(), asked, &[chunk, finish, usage, COMMENT, DONE]).await;
    check_stream(setup().server("cost_comment: off"), "", &[chunk, finish, DONE]).await;
    check_stream(setup().server("cost_comment: off"), asked, &[chunk, finish, usage, DONE]).await;
}

#[tokio::test]
async fn usage_beside_a_choice_is_not_withheld() {
    let last = r#"{"choices":[{"index":0,"delta":{"content":"x"},"finish_reason":"stop"}],"usage":{"prompt_tokens":8,"completion_tokens":1}}"#;
    let setup = Setup::of(luna([Reply::raw_events([event(last), DONE.to_owned()])]));
    check_stream(setup, "", &[&event(last), COMMENT, DONE]).await;
}

#[tokio::test]
async fn observing_sends_identical_bytes_and_marks_its_rows_estimated() {
    let world = Setup::of(luna([Reply::text("eight words are quite enough for a test")])).row("metering: observe");
    let world = world.start().await;
    check_sent(&world, ASK_STREAM, ASK_STREAM, "").await;
    let row = &world.attempts()[0];
    assert_eq!((row.fate.as_str(), row.source.as_str()), ("completed", "estimated"));
    let exact = row.cost.expect("an estimate is a figure");
    assert!(row.low == 0 && row.high.is_some_and(|high| exact < high), "{row:?}");
    let (low, high) = (row.low, row.high.expect("a bound"));
    assert!((low..=high).contains(&world.provider.invoice().total().0));
    // Where the client asks for usage itself there is nothing to estimate.
    let asks = ask(json!({"stream": true, "stream_options": {"include_usage": true}}));
    check_sent(&world, &asks, &asks, "").await;
    assert_eq!(world.attempts()[1].source, "reported");
}

#[tokio::test]
async fn any_chunking_of_the_stream_gives_the_client_the_same_bytes() {
    let odd = "{\"choices\":[{\"delta\":{\"content\":\"\u{1F980} \u{2028}\u{85} caf\u{e9}\"}}],\"x\":1.0}";
    let stream = [": ping\n\n", &event(odd), "event: x\r\nid: 7\r\ndata: ", CHUNK, "\r\n\r\n"].concat();
    let provided = [stream.as_str(), &event(FINISH), &event(USAGE), DONE].concat();
    let expected = [stream.as_str(), &event(FINISH), COMMENT, DONE].concat();
    let pieces = [1, 2, 3, 5, 7, 64, 100_000];
    let world =
        World::new(luna(pieces.map(|bytes| Reply::raw_events([provided.clone()]).in_pieces_of(bytes))), "").await;
    for bytes in pieces {
        assert_eq!(world.chat(ASK_STREAM).await.text(), expected, "in pieces of {bytes}");
    }
}

#[tokio::test]
async fn a_whole_reply_is_the_provider_s_byte_for_byte() {
    let odd = "{ \"choices\" : [{\"message\":{\"content\":\"\\u0068\u{2028}\",\"reasoning_content\":\"hm\"},\
               \"logprobs\":{\"content\":[]},\"finish_reason\":\"stop\",\"new\":[1.0,1e0,-0]}],\n \
               \"usage\":{\"prompt_tokens\":8,\"completion_tokens\":1,\"brand_new\":{}},\"x\":{\"x\":[{}]} }\n";
    for bytes in [1, 7, 100_000] {
        let world = World::new(luna([Reply::raw("application/json", [odd]).in_pieces_of(bytes)]), "").await;
        let got = world.chat(ASK).await;
        assert_eq!((got.status, got.text()), (200, odd));
        assert_eq!(got.header("x-farthing-cost-usd"), "0.0000028");
        assert_eq!(got.header("x-farthing-model"), "sim/gpt-5.6-luna");
        assert_eq!(got.header("x-farthing-tier"), "lightweight");
        assert_eq!(got.header("x-farthing-reason"), "exact-model");
    }
}

#[tokio::test]
async fn the_provider_sees_its_own_credential_and_only_headers_that_may_pass() {
    let folder_of_key = "headers: { x-own: fixed }";
    let world = Setup::of(luna([Reply::text("ok")])).row(folder_of_key).start().await;
    let headers = [
        ("authorization", "Bearer of-the-client"),
        ("x-api-key", "of-the-client"),
        ("cookie", "c=1"),
        ("openai-organization", "org-1"),
        ("x-farthing-team", "data"),
        ("x-forwarded-for", "10.0.0.1"),
        ("user-agent", "agent/1"),
        ("x-stainless-retry-count", "1"),
        ("accept-encoding", "gzip, br"),
    ];
    assert_eq!(world.chat_as(ASK, &headers).await.status, 200);
    let arrived = world.provider.requests().pop().expect("a request");
    for kept_back in
        ["authorization", "x-api-key", "cookie", "openai-organization", "x-farthing-team", "x-forwarded-for"]
    {
        assert_eq!(arrived.header(kept_back), None, "{kept_back}");
    }
    for (name, value) in [
        ("user-agent", "agent/1"),
        ("x-stainless-retry-count", "1"),
        ("accept-encoding", "identity"),
        ("content-type", "application/json"),
        ("x-own", "fixed"),
    ] {
        assert_eq!(arrived.header(name), Some(value), "{name}");
    }
    assert_eq!(arrived.header("x-client-request-id"), Some(&*world.attempts()[0].id));
}

#[tokio::test]
async fn the_reply_has_an_id_of_ours_and_tells_the_provider_s_beside_it() {
    let world = World::new(luna([Reply::text("ok"), Reply::text("ok"), Reply::status(400)]), "").await;
    for (body, status) in [(ASK, 200), (ASK_STREAM, 200), (ASK, 400)] {
        let got = world.chat(body).await;
        assert_eq!(got.status, status);
        assert_eq!(got.header("x-request-id"), world.requests().pop().expect("a row").id);
        assert!(got.header("x-farthing-provider-request-id").starts_with("req_"), "{:?}", got.headers);
        assert_eq!(got.header("x-ratelimit-remaining-requests"), "9999");
        assert_eq!(got.header("openai-organization"), "");
    }
}

#[tokio::test]
async fn everything_that_a_request_may_ask_for_passes_and_is_settled_at_the_invoice() {
    let schema = json!({"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}});
    let picture = json!([{"role": "user", "content": [
        {"type": "text", "text": "what is this"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "low"}}]}]);
    let tools = json!([{"type": "function", "function": {"name": "read_log", "parameters": {"type": "object"}}}]);
    let calls = [("read_log", json!({"task": "load"})), ("read_log", json!({"task": "stage"}))];
    let luna = ModelScript::named("gpt-5.6-luna")
        .reasons(40)
        .when("call", Reply::calls_all(calls))
        .when("refuse", Reply::refuses("I would rather not"))
        .when("structure", Reply::json(&json!({"severity": 3})))
        .then(Reply::choices(["one", "two and more", "three"]));
    let world = World::new(Provider::openai().model(luna), "").await;
    let says = |text: &str| json!([{"role": "user", "content": text}]);
    for (number, more) in [
        json!({"messages": says("call"), "tools": tools, "tool_choice": "auto", "parallel_tool_calls": true}),
        json!({"messages": says("refuse")}),
        json!({"messages": says("structure"), "response_format": schema}),
        json!({"messages": picture}),
        json!({"n": 3, "logprobs": true}),
        json!({"reasoning_effort": "high", "max_completion_tokens": 20, "service_tier": "priority"}),
        json!({"service_tier": "flex", "max_tokens": 2, "reasoning_effort": "none", "prediction": {"type": "content"}}),
    ]
    .into_iter()
    .enumerate()
    {
        for stream in [false, true] {
            let mut more = more.clone();
            more["stream"] = json!(stream);
            let body = ask(more);
            let got = whole(world.post(body.clone(), &[]).await).await;
            assert_eq!(got.status, 200, "{body}: {}", got.text());
            let sent = world.provider.requests().pop().expect("a request");
            if !stream {
                assert_eq!(sent.body, body);
            }
            let row = world.attempts().pop().expect("a row");
            let line = world.provider.invoice().lines.pop().expect("a line");
            assert_eq!((row.cost, row.id.as_str()), (Some(line.cost.0), line.client_request_id.as_deref().unwrap()));
            let said = if stream { got.cost_comment() } else { Some(got.header("x-farthing-cost-usd")) };
            assert_eq!(said, Some(&*line.cost.to_string()), "case {number}, stream {stream}");
        }
    }
    world.the_ledger_holds_the_invoice();
}
