//! The provider over real TCP, through a tiny client of our own.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::*;

/// What a client saw.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) status: u16,
    pub(super) headers: http::HeaderMap,
    pub(super) body: String,
    /// The transfer ended as HTTP says it should.
    whole: bool,
}

impl Seen {
    /// The `data:` payloads.
    fn events(&self) -> Vec<&str> {
        self.body.split("\n\n").filter_map(|event| event.strip_prefix("data: ")).collect()
    }

    fn chunks(&self) -> Vec<Value> {
        self.events().into_iter().filter_map(|event| serde_json::from_str(event).ok()).collect()
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("a JSON body")
    }
}

async fn post(
    provider: &Running,
    path: &str,
    body: String,
) -> Result<hyper::Response<hyper::body::Incoming>, hyper::Error> {
    let headers = [("authorization", "Bearer sk-right"), ("x-client-request-id", "attempt-1")];
    request_of(provider, http::Method::POST, path, &headers, body).await
}

async fn request_of(
    provider: &Running,
    method: http::Method,
    path: &str,
    headers: &[(&str, &str)],
    body: String,
) -> Result<hyper::Response<hyper::body::Incoming>, hyper::Error> {
    let stream = TcpStream::connect(provider.address()).await.expect("a listening provider");
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let mut request = http::Request::builder().method(method).uri(path).header("host", "localhost");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    sender.send_request(request.body(Full::new(Bytes::from(body))).expect("a valid request")).await
}

/// One request with these headers and what came back.
pub(super) async fn send(
    provider: &Running,
    method: http::Method,
    path: &str,
    headers: &[(&str, &str)],
    body: String,
) -> Seen {
    see(request_of(provider, method, path, headers, body).await.expect("an answer")).await
}

async fn see(response: hyper::Response<hyper::body::Incoming>) -> Seen {
    let (head, mut body) = response.into_parts();
    let (mut bytes, mut whole) = (Vec::new(), true);
    while let Some(frame) = body.frame().await {
        match frame.map(|frame| frame.into_data()) {
            Ok(Ok(data)) => bytes.extend_from_slice(&data),
            _ => whole = false,
        }
    }
    let body = String::from_utf8_lossy(&bytes).into_owned();
    Seen { status: head.status.as_u16(), headers: head.headers, body, whole }
}

async fn ask(provider: &Running, body: Value) -> Seen {
    see(post(provider, "/v1/chat/completions", body.to_string()).await.expect("an answer")).await
}

fn request(more: Value) -> Value {
    let mut body = json!({"model": "gpt-5.6-luna", "messages": [{"role": "user", "content": "why did it fail"}]});
    if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
        body.extend(more);
    }
    body
}

fn streamed() -> Value {
    request(json!({"stream": true, "stream_options": {"include_usage": true}}))
}

async fn luna(reply: Reply) -> Running {
    start(ModelScript::named("gpt-5.6-luna").then(reply)).await
}

async fn start(script: ModelScript) -> Running {
    Provider::openai().model(script).start().await.expect("a free port")
}

#[tokio::test]
async fn a_whole_answer_has_the_shape_and_headers_of_the_real_one() {
    let provider = luna(Reply::text("the job failed")).await;
    let seen = ask(&provider, request(json!({"service_tier": "flex", "logprobs": true}))).await;
    let answer = seen.json();
    assert_eq!(answer["object"], "chat.completion");
    assert_eq!(answer["service_tier"], "flex");
    let choice = &answer["choices"][0];
    assert_eq!(
        choice["message"],
        json!({"role": "assistant", "content": "the job failed", "refusal": null, "annotations": []})
    );
    assert_eq!((&choice["finish_reason"], &choice["index"]), (&json!("stop"), &json!(0)));
    assert_eq!(choice["logprobs"]["content"].as_array().map(Vec::len), Some(3));
    // 3 to open the answer, 4 around the message, 4 in it.
    assert_eq!(answer["usage"]["prompt_tokens"], 11);
    assert_eq!(answer["usage"]["completion_tokens"], 3);
    assert_eq!(
        answer["usage"]["prompt_tokens_details"],
        json!({"cached_tokens": 0, "cache_write_tokens": 0, "audio_tokens": 0})
    );
    for name in
        ["x-request-id", "openai-processing-ms", "openai-version", "x-ratelimit-remaining-tokens", "content-length"]
    {
        assert!(seen.headers.contains_key(name), "{name} in {:?}", seen.headers);
    }
    let line = &provider.invoice().lines[0];
    assert_eq!(line.client_request_id.as_deref(), Some("attempt-1"));
    assert_eq!(line.cost.0, (11 * 200 + 3 * 1200) / 2);
}

#[tokio::test]
async fn a_stream_opens_with_the_role_and_closes_with_usage_and_done() {
    let provider = luna(Reply::text("the job failed")).await;
    let seen = ask(&provider, streamed()).await;
    let chunks = seen.chunks();
    assert_eq!(chunks[0]["choices"][0]["delta"], json!({"role": "assistant", "content": "", "refusal": null}));
    let said: Vec<_> = chunks[1..4].iter().map(|chunk| chunk["choices"][0]["delta"]["content"].as_str()).collect();
    assert_eq!(said, [Some("the"), Some(" job"), Some(" failed")]);
    assert_eq!(chunks[4]["choices"][0]["finish_reason"], "stop");
    assert!(
        chunks[..5]
            .iter()
            .all(|chunk| chunk.as_object().is_some_and(|c| c.contains_key("usage")) && chunk["usage"].is_null())
    );
    assert_eq!((&chunks[5]["choices"], &chunks[5]["usage"]["total_tokens"]), (&json!([]), &json!(14)));
    assert_eq!(seen.events().last(), Some(&"[DONE]"));
    let plain = ask(&provider, request(json!({"stream": true}))).await;
    assert!(plain.chunks().iter().all(|chunk| chunk.get("usage").is_none()), "no usage key unless asked for");
}

#[tokio::test]
async fn tool_calls_stream_as_a_start_and_pieces_of_arguments() {
    let provider = luna(Reply::calls_all([("read_log", json!({"task": "load"})), ("diff", json!({}))])).await;
    let chunks = ask(&provider, streamed()).await.chunks();
    let first = &chunks[0]["choices"][0]["delta"];
    assert_eq!((&first["role"], &first["content"]), (&json!("assistant"), &json!(null)));
    assert_eq!(first["tool_calls"][0]["function"], json!({"name": "read_log", "arguments": ""}));
    let arguments = |call: u64| -> String {
        let pieces = chunks.iter().map(|chunk| &chunk["choices"][0]["delta"]["tool_calls"][0]);
        pieces
            .filter(|piece| piece["index"] == call)
            .filter_map(|piece| piece["function"]["arguments"].as_str())
            .collect()
    };
    assert_eq!((arguments(0), arguments(1)), ("{\"task\":\"load\"}".into(), "{}".into()));
    let whole = ask(&provider, request(json!({}))).await.json();
    assert_eq!(whole["choices"][0]["finish_reason"], "tool_calls");
    assert_eq!(whole["choices"][0]["message"]["tool_calls"][1]["function"]["name"], "diff");
}

#[tokio::test]
async fn a_script_goes_step_by_step_and_its_last_reply_repeats() {
    let script = ModelScript::named("gpt-5.6-luna")
        .then(Reply::status(429).with_header("retry-after", "1"))
        .then_times(2, Reply::text("a"))
        .echoes();
    let provider = start(script).await;
    let first = ask(&provider, request(json!({}))).await;
    assert_eq!((first.status, &first.headers["retry-after"]), (429, &"1".parse().expect("a header")));
    assert_eq!(first.json()["error"]["code"], "rate_limit_exceeded");
    let mut said = Vec::new();
    for _ in 0..4 {
        said.push(ask(&provider, request(json!({}))).await.json()["choices"][0]["message"]["content"].clone());
    }
    assert_eq!(said, ["a", "a", "why did it fail", "why did it fail"]);
    assert_eq!(provider.invoice().lines.len(), 4, "the 429 was not billed");
}

#[tokio::test]
async fn a_model_that_reasons_may_refuse_tools_in_chat() {
    let provider = start(ModelScript::named("gpt-5.6-luna").refuses_tools_in_chat()).await;
    let tools = json!([{"type": "function", "function": {"name": "f"}}]);
    let refused = ask(&provider, request(json!({"tools": tools}))).await;
    assert_eq!((refused.status, &refused.json()["error"]["param"]), (400, &json!("reasoning_effort")));
    assert_eq!(ask(&provider, request(json!({"tools": tools, "reasoning_effort": "none"}))).await.status, 200);
    assert_eq!(ask(&provider, request(json!({}))).await.status, 200);
}

#[tokio::test]
async fn choices_share_a_stream_and_the_bill() {
    let provider = luna(Reply::choices(["yes it is", "no"])).await;
    let body = request(json!({"n": 2, "stream": true}));
    let chunks = ask(&provider, body).await.chunks();
    let finished: Vec<_> = chunks.iter().map(|c| &c["choices"][0]).filter(|c| !c["finish_reason"].is_null()).collect();
    assert_eq!(finished.len(), 2);
    assert_eq!(provider.invoice().lines[0].tokens.output, 4);
}

#[track_caller]
fn check_stream(seen: &Seen, whole: bool, done: bool, events: usize) {
    assert_eq!((seen.whole, seen.body.contains("[DONE]"), seen.events().len()), (whole, done, events), "{}", seen.body);
}

#[tokio::test]
async fn a_stream_breaks_where_the_script_says() {
    let words = || Reply::tokens(10);
    for (reply, whole, done, events) in [
        (words(), true, true, 14),
        (words().without_done(), true, false, 13),
        (words().resets_after(3), false, false, 3),
        (words().ends_after(3), true, false, 3),
        (words().ends_mid_event(3), true, false, 4),
        (words().fails_after(3), true, false, 4),
        (words().with_usage_twice(), true, true, 15),
        (words().without_usage(), true, true, 13),
        (words().in_pieces_of(7), true, true, 14),
    ] {
        let provider = luna(reply).await;
        check_stream(&ask(&provider, streamed()).await, whole, done, events);
        provider.settled().await.expect("settled");
        assert_eq!(provider.invoice().lines.len(), 1);
        assert_eq!(provider.hang_ups(), 0);
    }
}

#[tokio::test]
async fn resets_reach_the_client_as_connection_resets() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let body = request(json!({})).to_string();
    for (reply, some_bytes) in
        [(Reply::text("x").resets_before_headers(), false), (Reply::text("x").resets_after(0), true)]
    {
        let provider = luna(reply).await;
        let mut stream = TcpStream::connect(provider.address()).await.expect("a listening provider");
        let head = format!("POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", body.len());
        stream.write_all(format!("{head}{body}").as_bytes()).await.expect("sent");
        let mut read = Vec::new();
        let error = stream.read_to_end(&mut read).await.expect_err("a reset");
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        assert_eq!(!read.is_empty(), some_bytes, "{}", String::from_utf8_lossy(&read));
    }
}

#[tokio::test]
async fn a_client_that_hangs_up_is_billed_by_habit() {
    for (habit, billed) in
        [(BillsAfterCut::None, None), (BillsAfterCut::SoFar, Some(4)), (BillsAfterCut::All, Some(1000))]
    {
        let script =
            ModelScript::named("gpt-5.6-luna").then(Reply::tokens(1000).stalls_after(5)).bills_after_cut(habit);
        let provider = start(script).await;
        let response = post(&provider, "/v1/chat/completions", streamed().to_string()).await.expect("headers");
        provider.frames_sent(1, 5).await.expect("five frames");
        drop(response);
        provider.hung_up(1).await.expect("a hang-up");
        provider.settled().await.expect("settled");
        assert_eq!(provider.invoice().lines.first().map(|line| line.tokens.output), billed, "{habit:?}");
    }
}

#[tokio::test]
async fn a_stalled_stream_goes_on_when_released() {
    let provider = luna(Reply::tokens(3).stalls_after(2)).await;
    let response = post(&provider, "/v1/chat/completions", streamed().to_string()).await.expect("headers");
    provider.frames_sent(1, 2).await.expect("two frames");
    assert_eq!(provider.invoice().lines.len(), 0);
    provider.release();
    check_stream(&see(response).await, true, true, 7);
}

#[tokio::test]
async fn the_output_limit_is_kept_or_ignored_by_habit() {
    let keeps = start(ModelScript::named("gpt-5.6-luna").reasons(5).then(Reply::tokens(20))).await;
    let answer = ask(&keeps, request(json!({"max_completion_tokens": 8}))).await.json();
    assert_eq!(answer["usage"]["completion_tokens"], 8);
    assert_eq!(answer["usage"]["completion_tokens_details"]["reasoning_tokens"], 5);
    assert_eq!(answer["choices"][0]["finish_reason"], "length");
    let ignores = start(ModelScript::named("gpt-5.6-luna").ignores_limits().then(Reply::tokens(20))).await;
    let answer = ask(&ignores, request(json!({"max_completion_tokens": 8}))).await.json();
    assert_eq!(answer["usage"]["completion_tokens"], 20);
}

#[tokio::test]
async fn a_repeated_long_prompt_is_read_from_the_prefix_cache() {
    let provider = luna(Reply::text("ok")).await;
    let long = "row by row ".repeat(700);
    let body = json!({"model": "gpt-5.6-luna", "messages": [{"role": "user", "content": long}]});
    let first = ask(&provider, body.clone()).await.json();
    let second = ask(&provider, body).await.json();
    let details = |answer: &Value| answer["usage"]["prompt_tokens_details"].clone();
    assert_eq!(details(&first), json!({"cached_tokens": 0, "cache_write_tokens": 2048, "audio_tokens": 0}));
    assert_eq!(details(&second), json!({"cached_tokens": 2048, "cache_write_tokens": 0, "audio_tokens": 0}));
    let lines = provider.invoice().lines;
    // 2,048 written at $0.25, 60 plain at $0.20 and 1 out at $1.20, then the same read at $0.02.
    assert_eq!((lines[0].tokens.input, lines[0].cost.0), (2108, 2048 * 250 + 60 * 200 + 1200));
    assert_eq!(lines[1].cost.0, 2048 * 20 + 60 * 200 + 1200);
}

#[tokio::test]
async fn raw_pieces_arrive_unchanged() {
    let pieces: [&[u8]; 4] = [b"data: {\"a\":\"\xe2", b"\x80\xa8\"}\r", b"\n\r\n", b"data: [DONE]\r\n\r\n"];
    let provider = luna(Reply::raw_events(pieces).billed(10, 2)).await;
    let seen = ask(&provider, streamed()).await;
    assert_eq!(seen.body, "data: {\"a\":\"\u{2028}\"}\r\n\r\ndata: [DONE]\r\n\r\n");
    assert_eq!(provider.invoice().total().0, 10 * 200 + 2 * 1200);
}

#[tokio::test]
async fn wrong_keys_models_paths_and_bodies_are_refused_like_the_real_api() {
    let provider =
        Provider::openai().model(ModelScript::named("m")).requires_key("sk-right").start().await.expect("a port");
    for (path, body, status, code) in [
        ("/v1/chat/completions", json!({"model": "other", "messages": []}), 404, json!("model_not_found")),
        ("/v1/chat/completions", json!({"model": "m"}), 400, json!(null)),
        ("/v1/other", json!({}), 404, json!(null)),
    ] {
        let seen = see(post(&provider, path, body.to_string()).await.expect("an answer")).await;
        assert_eq!((seen.status, &seen.json()["error"]["code"]), (status, &code), "{path} {body}");
    }
    let strict =
        Provider::openai().model(ModelScript::named("m")).requires_key("sk-wrong").start().await.expect("a port");
    let seen = ask(&strict, json!({"model": "m", "messages": []})).await;
    assert_eq!((seen.status, &seen.json()["error"]["code"]), (401, &json!("invalid_api_key")));
    assert!(strict.invoice().lines.is_empty());
}

#[tokio::test]
async fn requests_are_kept_as_they_came_up_to_the_bound() {
    let provider = Provider::openai().model(ModelScript::named("*")).keeps(2).start().await.expect("a port");
    for i in 0..3 {
        ask(&provider, json!({"model": format!("m{i}"), "messages": []})).await;
    }
    let kept: Vec<_> = provider.requests().iter().map(|exchange| exchange.json()["model"].clone()).collect();
    assert_eq!(kept, ["m1", "m2"]);
    let last = provider.arrival(3).await.expect("the third request");
    assert_eq!((last.path.as_str(), last.header("x-client-request-id")), ("/v1/chat/completions", Some("attempt-1")));
}

#[tokio::test]
async fn a_canned_answer_comes_back_byte_for_byte() {
    let provider = Provider::openai().canned(Canned::document("{\"a\":1}")).start().await.expect("a port");
    assert_eq!(ask(&provider, json!("anything")).await.body, "{\"a\":1}");
    let events = [Bytes::from("data: 1\n\n"), Bytes::from("data: [DONE]\n\n")];
    let provider = Provider::openai().canned(Canned::events(events, Duration::ZERO)).start().await.expect("a port");
    assert_eq!(ask(&provider, json!("anything")).await.events(), ["1", "[DONE]"]);
}

#[tokio::test]
async fn shutdown_ends_stalled_answers_and_gives_the_final_invoice() {
    let provider = luna(Reply::tokens(9).stalls_after(2)).await;
    let response = post(&provider, "/v1/chat/completions", streamed().to_string()).await.expect("headers");
    provider.frames_sent(1, 2).await.expect("two frames");
    assert_eq!(provider.shutdown().await.lines.len(), 1);
    assert!(!see(response).await.whole);
}

#[tokio::test]
async fn the_invoice_of_a_whole_workload_is_what_its_replies_reported() {
    let workload = workload::Workload::orders_daily(7, 10);
    let provider = Provider::gpt_family(workload.recordings, 0).start().await.expect("a port");
    let (mut input, mut cached, mut output, mut asked) = (0, 0, 0, 0);
    for turn in workload.sessions.iter().flat_map(|session| &session.turns) {
        let mut body: Value = serde_json::from_slice(&turn.body).expect("JSON");
        body["model"] = "gpt-5.6-sol".into();
        let seen = ask(&provider, body).await;
        asked += 1;
        let usage = if turn.stream {
            seen.chunks().last().map(|chunk| chunk["usage"].clone()).unwrap_or_default()
        } else {
            seen.json()["usage"].clone()
        };
        let line = provider.invoice().lines.last().cloned().expect("a line");
        if usage.is_null() {
            continue;
        }
        assert_eq!(usage["prompt_tokens"], line.tokens.input);
        assert_eq!(usage["completion_tokens"], line.tokens.output);
        assert_eq!(usage["prompt_tokens_details"]["cached_tokens"], line.tokens.cached_input);
        (input, cached, output) =
            (input + line.tokens.input, cached + line.tokens.cached_input, output + line.tokens.output);
    }
    assert_eq!(provider.invoice().lines.len(), asked);
    assert!(cached * 2 > input, "growing histories are mostly read from the cache: {cached} of {input}");
    assert!(output > 2_000, "{output} tokens were generated");
}

#[tokio::test]
async fn a_client_that_leaves_while_the_model_thinks_is_billed_for_the_time_that_passed() {
    let latency = Latency { first_token: Duration::ZERO, per_token: Duration::from_millis(1) };
    let script = ModelScript::named("gpt-5.6-luna").takes(latency).then(Reply::tokens(60_000));
    let provider = start(script).await;
    let body = request(json!({})).to_string();
    let asking = post(&provider, "/v1/chat/completions", body);
    let arrived = provider.arrival(1);
    tokio::select! {
        _ = asking => panic!("an answer after a minute's worth of tokens"),
        arrived = arrived => { arrived.expect("a request"); }
    }
    provider.hung_up(1).await.expect("a hang-up");
    provider.settled().await.expect("settled");
    let line = &provider.invoice().lines[0];
    assert_eq!(line.tokens.input, 11);
    assert!(line.tokens.output < 30_000, "{} tokens", line.tokens.output);
}

#[tokio::test]
async fn a_stream_takes_as_long_as_its_tokens() {
    let latency = Latency { first_token: Duration::from_millis(20), per_token: Duration::from_micros(250) };
    let provider = start(ModelScript::named("gpt-5.6-luna").takes(latency).then(Reply::tokens(200))).await;
    let begun = std::time::Instant::now();
    check_stream(&ask(&provider, streamed()).await, true, true, 204);
    let took = begun.elapsed();
    assert!((60..400).contains(&took.as_millis()), "70 ms of latency took {took:?}");
}

#[tokio::test]
async fn a_cue_answers_whatever_the_order_of_requests() {
    let script = ModelScript::named("gpt-5.6-luna").when("fail", Reply::status(503)).replies("a").replies("b");
    let provider = start(script).await;
    let say = |text: &str| json!({"model": "gpt-5.6-luna", "messages": [{"role": "user", "content": text}]});
    let mut statuses = Vec::new();
    for text in ["x", "did it fail", "y"] {
        statuses.push(ask(&provider, say(text)).await.status);
    }
    assert_eq!(statuses, [200, 503, 200]);
    let bodies = ask(&provider, say("z")).await.json();
    assert_eq!(bodies["choices"][0]["message"]["content"], "b", "the cue took no step");
}

#[tokio::test]
async fn a_refusal_is_no_content() {
    let provider = luna(Reply::refuses("I cannot do that")).await;
    let message = ask(&provider, request(json!({}))).await.json()["choices"][0]["message"].clone();
    assert_eq!((&message["content"], &message["refusal"]), (&json!(null), &json!("I cannot do that")));
    let chunks = ask(&provider, streamed()).await.chunks();
    let refused: String = chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"]["refusal"].as_str()).collect();
    assert_eq!(refused, "I cannot do that");
    assert!(chunks.iter().all(|chunk| chunk["choices"][0]["delta"]["content"].is_null()));
}

#[tokio::test]
async fn a_document_lost_half_way_was_generated_in_full() {
    let script = ModelScript::named("gpt-5.6-luna").then(Reply::text("the job failed").resets_after(0));
    let provider = start(script).await;
    assert!(!ask(&provider, request(json!({}))).await.whole);
    provider.settled().await.expect("settled");
    assert_eq!(provider.invoice().lines[0].tokens.output, 3);
}

#[tokio::test]
async fn padding_hides_the_size_of_tokens_only_on_request() {
    let provider = luna(Reply::text("the job failed")).await;
    let body = request(json!({"stream": true, "stream_options": {"include_obfuscation": true}}));
    assert!(ask(&provider, body).await.chunks().iter().all(|chunk| chunk["obfuscation"].is_string()));
    assert!(ask(&provider, streamed()).await.chunks().iter().all(|chunk| chunk.get("obfuscation").is_none()));
}

#[tokio::test]
async fn error_replies_carry_the_body_and_headers_they_were_given() {
    let script = ModelScript::named("gpt-5.6-luna")
        .then(Reply::status(502).with_html("<html>bad gateway</html>"))
        .then(Reply::insufficient_quota().with_header("x-should-retry", "false"))
        .then(Reply::status(200));
    let provider = start(script).await;
    let page = ask(&provider, request(json!({}))).await;
    assert_eq!((page.status, page.body.as_str()), (502, "<html>bad gateway</html>"));
    assert_eq!(page.headers["content-type"], "text/html; charset=utf-8");
    let quota = ask(&provider, request(json!({}))).await;
    assert_eq!((quota.status, &quota.headers["x-should-retry"]), (429, &"false".parse().expect("a header")));
    assert_eq!(quota.json()["error"]["code"], "insufficient_quota");
    let success = ask(&provider, request(json!({}))).await;
    assert_eq!((success.status, &success.json()["error"]["type"]), (200, &json!("server_error")));
    assert!(provider.invoice().lines.is_empty());
}

#[tokio::test]
async fn an_older_model_has_no_word_for_cache_writes() {
    let script = ModelScript::named("gpt-5").answers_as("gpt-5-2025-08-07").priced(PriceList::luna());
    let provider = start(script).await;
    let long = "row by row ".repeat(700);
    let answer =
        ask(&provider, json!({"model": "gpt-5", "messages": [{"role": "user", "content": long}]})).await.json();
    assert_eq!(answer["usage"]["prompt_tokens_details"], json!({"cached_tokens": 0, "audio_tokens": 0}));
    assert_eq!(answer["model"], "gpt-5-2025-08-07");
    let line = provider.invoice().lines[0].clone();
    assert_eq!((line.model.as_str(), line.tokens.cache_write, line.cost.0), ("gpt-5", 0, 2108 * 200 + 1200));
}

#[tokio::test]
async fn missing_and_zero_usage_are_billed_all_the_same() {
    for (reply, prompt_tokens) in
        [(Reply::text("a").without_usage(), json!(null)), (Reply::text("a").with_zero_usage(), json!(0))]
    {
        let provider = luna(reply).await;
        let answer = ask(&provider, request(json!({}))).await.json();
        assert_eq!(answer["usage"]["prompt_tokens"], prompt_tokens);
        assert_eq!(provider.invoice().total().0, 11 * 200 + 1200);
    }
}
