//! Providers that misbehave, of every protocol, for clients of every protocol: each is told what it knows, once, and nothing is
//! booked that is not known. What one protocol alone can do wrong stands in the files of each.

use farthing::simulator::{Provider, Reply};
use http::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::support::{Got, Setup, World, script, whole};

const CLAUDE: &str = "claude-opus-5-5";
/// One that does not reason, which is called in Chat Completions.
const GPT: &str = "gpt-4o";
/// One that does, which is called in Responses by clients of Messages.
const LUNA: &str = "gpt-5.6-luna";

/// A client's dialect and the model that it asks for.
type Pair = (&'static str, &'static str);

const PAIRS: [Pair; 7] = [
    ("chat", GPT),
    ("messages", CLAUDE),
    ("responses", LUNA),
    ("chat", CLAUDE),
    ("responses", CLAUDE),
    ("messages", GPT),
    ("messages", LUNA),
];

/// The dialect in which a model is called.
fn called((client, model): Pair) -> &'static str {
    match (client, model) {
        (_, CLAUDE) => "messages",
        (_, GPT) | ("chat", _) => "chat",
        _ => "responses",
    }
}

/// A gateway in front of the model of a pair, which is asked once.
fn setup((_, model): Pair, reply: Reply) -> Setup {
    let setup = match model {
        CLAUDE => Setup::of(Provider::anthropic().model(script(model, [reply]))).anthropic(),
        _ => Setup::of(Provider::openai().model(script(model, [reply]))),
    };
    setup.dispatch("retries: 0").tiers(&format!("frontier: [sim/{model}]"))
}

async fn ask(world: &World, pair: Pair, stream: bool) -> Got {
    say(world, pair, "hi", stream).await
}

async fn say(world: &World, (client, model): Pair, text: &str, stream: bool) -> Got {
    let messages = json!([{"role": "user", "content": text}]);
    let (path, mut body) = match client {
        "chat" => ("/v1/chat/completions", json!({"model": model, "messages": messages})),
        "messages" => ("/v1/messages", json!({"model": model, "max_tokens": 500, "messages": messages})),
        _ => ("/v1/responses", json!({"model": model, "input": text, "store": false})),
    };
    if stream {
        body["stream"] = json!(true);
    }
    whole(world.send(Method::POST, path, &[], body.to_string().into()).await).await
}

/// A stream of two pieces as its provider sends it, event by event.
fn recorded(dialect: &str) -> Vec<String> {
    let named = |event: Value| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().expect("a type"));
    let chunk = |delta: Value, reason: Value| {
        let choice = json!({"index": 0, "delta": delta, "finish_reason": reason});
        let usage = json!({"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11});
        let usage = if reason.is_null() { Value::Null } else { usage };
        format!(
            "data: {}\n\n",
            json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": GPT, "choices": [choice], "usage": usage})
        )
    };
    match dialect {
        "chat" => vec![
            chunk(json!({"role": "assistant", "content": "one "}), Value::Null),
            chunk(json!({"content": "two"}), Value::Null),
            chunk(json!({}), json!("stop")),
            "data: [DONE]\n\n".to_owned(),
        ],
        "messages" => {
            let text = |text: &str| json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}});
            let message = json!({"id": "msg_1", "type": "message", "role": "assistant", "model": CLAUDE, "content": [],
                "stop_reason": null, "stop_sequence": null, "usage": {"input_tokens": 9, "output_tokens": 1}});
            [
                json!({"type": "message_start", "message": message}),
                json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
                text("one "),
                text("two"),
                json!({"type": "content_block_stop", "index": 0}),
                json!({"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": null}, "usage": {"output_tokens": 2}}),
                json!({"type": "message_stop"}),
            ]
            .map(named)
            .into()
        }
        _ => {
            let response = |status: &str, usage: Value| {
                json!({"id": "resp_1", "object": "response", "created_at": 1, "status": status,
                "model": LUNA, "error": null, "incomplete_details": null, "output": [], "usage": usage, "store": false})
            };
            let delta = |number: u64, text: &str| {
                json!({"type": "response.output_text.delta", "sequence_number": number, "item_id": "msg_1",
                "output_index": 0, "content_index": 0, "delta": text, "logprobs": []})
            };
            let usage = json!({"input_tokens": 9, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": 2,
                "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 11});
            [
                json!({"type": "response.created", "sequence_number": 0, "response": response("in_progress", Value::Null)}),
                delta(1, "one "),
                delta(2, "two"),
                json!({"type": "response.completed", "sequence_number": 3, "response": response("completed", usage)}),
            ]
            .map(named)
            .into()
        }
    }
}

/// What ends a stream, as its client knows it.
fn end_of(client: &str) -> &'static str {
    match client {
        "chat" => "[DONE]",
        "messages" => "\"type\":\"message_stop\"",
        _ => "\"type\":\"response.completed\"",
    }
}

/// Fails unless a stream has said both pieces and has ended once, and is booked at what its provider told.
#[track_caller]
fn is_whole(world: &World, pair: Pair, got: &Got) {
    let text = got.text();
    assert_eq!((got.status, text.matches(end_of(pair.0)).count()), (200, 1), "{pair:?}: {text}");
    assert!(text.contains("one ") && text.contains("two") && !text.contains("\"error\":{"), "{pair:?}: {text}");
    assert_eq!(world.fates(), ["completed"], "{pair:?}");
    let rows = world.rows("select input_tokens, output_tokens, source from attempts_v1");
    let (number, word) = (rusqlite::types::Value::Integer, rusqlite::types::Value::Text);
    assert_eq!(rows, [[number(9), number(2), word("reported".to_owned())]], "{pair:?}");
}

/// Fails unless it is one error in the client's words.
#[track_caller]
fn is_error((client, model): Pair, got: &Got) -> Value {
    let told = got.json();
    let error = told["error"].clone();
    assert!(
        got.status >= 400 && error["message"].is_string() && error["type"].is_string(),
        "{client} at {model}: {told}"
    );
    match client {
        "messages" => assert_eq!(told["type"], "error", "{model}: {told}"),
        _ => assert!(error.get("param").is_some() && error.get("code").is_some(), "{client} at {model}: {told}"),
    }
    error
}

#[tokio::test]
async fn lines_that_end_in_cr_alone_are_lines_for_every_pair() {
    for pair in PAIRS {
        let events = recorded(called(pair)).into_iter().map(|event| event.replace('\n', "\r"));
        let world = setup(pair, Reply::raw_events(events.collect::<Vec<_>>())).start().await;
        is_whole(&world, pair, &ask(&world, pair, true).await);
    }
}

#[tokio::test]
async fn an_end_that_comes_twice_is_told_once_to_every_pair() {
    for pair in PAIRS {
        let mut events = recorded(called(pair));
        events.extend(events.last().cloned());
        let world = setup(pair, Reply::raw_events(vec![events.concat()])).start().await;
        is_whole(&world, pair, &ask(&world, pair, true).await);
    }
}

#[tokio::test]
async fn an_error_in_the_place_of_an_answer_is_an_error_for_every_pair() {
    for pair in PAIRS {
        let body = match called(pair) {
            "messages" => json!({"type": "error", "error": {"type": "overloaded_error", "message": "too busy"}}),
            _ => {
                json!({"error": {"message": "too busy", "type": "server_error", "param": null, "code": "server_overloaded"}})
            }
        };
        for stream in [false, true] {
            let world = setup(pair, Reply::raw("application/json", [body.to_string()])).start().await;
            let got = ask(&world, pair, stream).await;
            let error = is_error(pair, &got);
            assert!(got.status >= 500, "{pair:?}: {} {error}", got.status);
            assert_eq!((world.fates().len(), world.provider.arrivals()), (1, 1), "{pair:?}");
        }
    }
}

#[tokio::test]
async fn an_overload_in_mid_stream_is_told_once_and_is_no_end_for_any_pair() {
    for pair in PAIRS {
        let world = setup(pair, Reply::text("one two three four").overloads_after(5)).start().await;
        let got = ask(&world, pair, true).await;
        let text = got.text();
        let errors = match pair.0 {
            "chat" => ["data: {\"error\":"].as_slice(),
            _ => &["event: error\n", "event: response.failed\n"],
        };
        let told: usize = errors.iter().map(|error| text.matches(error).count()).sum();
        assert_eq!((got.status, told, text.matches(end_of(pair.0)).count()), (200, 1, 0), "{pair:?}: {text}");
        assert_eq!(world.fates(), ["interrupted"], "{pair:?}");
        world.the_ledger_holds_the_invoice();
    }
}

#[tokio::test]
async fn an_overload_says_when_to_come_back_in_the_status_that_each_client_knows() {
    for pair in PAIRS {
        let busy = if called(pair) == "messages" { 529 } else { 503 };
        let expected = match pair.0 {
            "messages" if pair.1 == CLAUDE => busy,
            "messages" => 529,
            _ => 503,
        };
        let world = setup(pair, Reply::status(busy).with_header("retry-after", "30")).start().await;
        for stream in [false, true] {
            let got = ask(&world, pair, stream).await;
            is_error(pair, &got);
            assert_eq!((got.status, got.header("retry-after")), (expected, "30"), "{pair:?}: {}", got.text());
        }
    }
}

#[tokio::test]
async fn an_answer_without_usage_is_an_answer_with_estimates_for_every_pair() {
    for pair in PAIRS {
        let world = setup(pair, Reply::text("one two three four").without_usage()).start().await;
        for stream in [false, true] {
            let got = ask(&world, pair, stream).await;
            assert_eq!(got.status, 200, "{pair:?}: {}", got.text());
            assert!(got.text().contains("four"), "{pair:?}: {}", got.text());
        }
        let rows = world.rows("select fate, source, output_tokens > 0 from attempts_v1");
        let word = |word: &str| rusqlite::types::Value::Text(word.to_owned());
        let estimated = [word("completed"), word("estimated"), rusqlite::types::Value::Integer(1)].to_vec();
        assert_eq!(rows, vec![estimated; 2], "{pair:?}");
    }
}

/// A provider that reads the head of a request and says `answer`, whatever else comes.
async fn hasty(answer: String) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move {
                let (mut head, mut piece) = (Vec::new(), [0; 1024]);
                while !head.windows(4).any(|end| end == b"\r\n\r\n") {
                    let read = stream.read(&mut piece).await.unwrap_or_default();
                    if read == 0 {
                        return;
                    }
                    head.extend_from_slice(&piece[..read]);
                }
                let _ = stream.write_all(answer.as_bytes()).await;
                while stream.read(&mut piece).await.is_ok_and(|read| read > 0) {}
            });
        }
    });
    port
}

/// The model of a pair at a provider of that kind.
async fn at(pair: Pair, answer: String) -> World {
    let port = hasty(answer).await;
    let kind = if pair.1 == CLAUDE { "anthropic" } else { "openai" };
    let row = format!(
        "  sim: {{ protocol: {kind}, vendor: {kind}, base_url: \"http://127.0.0.1:{port}/v1\", models: [\"*\"] }}\n"
    );
    setup(pair, Reply::text("nobody is asked")).rows(&row).start().await
}

#[tokio::test]
async fn an_answer_that_comes_before_the_body_was_sent_is_told_to_every_pair() {
    for pair in PAIRS {
        let body = match called(pair) {
            "messages" => json!({"type": "error", "error": {"type": "request_too_large", "message": "too large"}}),
            _ => {
                json!({"error": {"message": "too large", "type": "invalid_request_error", "param": null, "code": null}})
            }
        };
        let body = body.to_string();
        let head = "HTTP/1.1 413 Content Too Large\r\ncontent-type: application/json\r\nconnection: close\r\n";
        let world = at(pair, format!("{head}content-length: {}\r\n\r\n{body}", body.len())).await;
        let got = say(&world, pair, &"x".repeat(1 << 20), false).await;
        let error = is_error(pair, &got);
        assert_eq!((got.status, &error["message"]), (413, &json!("too large")), "{pair:?}: {}", got.text());
        assert_eq!(world.fates(), ["failed"], "{pair:?}");
    }
}

#[tokio::test]
async fn trailers_are_no_part_of_an_answer_for_any_pair() {
    for pair in PAIRS {
        let text = recorded(called(pair)).concat();
        let head =
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntrailer: x-sum\r\ntransfer-encoding: chunked\r\n";
        let world = at(pair, format!("{head}\r\n{:x}\r\n{text}\r\n0\r\nx-sum: 1\r\n\r\n", text.len())).await;
        let got = ask(&world, pair, true).await;
        is_whole(&world, pair, &got);
        assert_eq!(got.header("x-sum"), "", "{pair:?}");
    }
}
