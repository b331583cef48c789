//! Providers and clients that mean harm, or act as if: what they say is bounded, booked and never trusted.

use farthing::simulator::Reply;
use http::Method;
use hyper::body::Bytes;
use rusqlite::types::Value as Cell;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::{ASK, ASK_STREAM, Got, PATIENCE, Setup, World, ask, luna, whole};

/// What 1,000 tokens in and 500 out cost with the lightweight model, in nano-dollars.
const COST: i64 = 800_000;
const CHUNK: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"},\"finish_reason\":null}]}\n\n";

/// A whole answer with this usage and further members.
fn answer(usage: Value, more: Value) -> Value {
    let choice = json!({"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"});
    let mut body = json!({"object": "chat.completion", "choices": [choice], "usage": usage});
    if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
        body.extend(more);
    }
    body
}

fn usage(input: u64, output: u64) -> Value {
    json!({"prompt_tokens": input, "completion_tokens": output, "total_tokens": input.saturating_add(output)})
}

fn document(body: &Value) -> Reply {
    Reply::raw("application/json", [body.to_string()])
}

/// The last chunk of a stream, with this usage or none.
fn finish(usage: &Value) -> String {
    let choice = json!({"index": 0, "delta": {}, "finish_reason": "stop"});
    format!("data: {}\n\n", json!({"choices": [choice], "usage": usage}))
}

#[tokio::test]
async fn an_answer_that_is_an_error_too_is_booked_and_never_repeated() {
    for error in [json!({"message": "too late", "code": "server_error"}), json!("too late")] {
        let both = document(&answer(usage(1000, 500), json!({"error": error}))).billed(1000, 500);
        let world = World::new(luna([both, Reply::text("again")]), "").await;
        let got = world.chat(ASK).await;
        assert_eq!((got.status, &*got.code()), (502, "provider_error"), "{}", got.text());
        assert_eq!(got.header("x-should-retry"), "false", "the client's SDK must not repeat it either");
        assert_eq!((got.header("x-farthing-cost-usd"), world.provider.arrivals()), ("0.0008", 1));
        let rows = world.attempts();
        assert_eq!((rows.len(), &*rows[0].fate, &*rows[0].source), (1, "interrupted", "reported"));
        assert_eq!((rows[0].cost, world.requests()[0].cost), (Some(COST), Some(COST)));
        world.the_ledger_holds_the_invoice();
    }
}

#[tokio::test]
async fn an_error_member_that_says_nothing_leaves_an_answer_an_answer() {
    for nothing in [json!({}), json!(false), json!(""), json!(null)] {
        let body = answer(usage(1000, 500), json!({"error": nothing}));
        let world = World::new(luna([document(&body).billed(1000, 500)]), "").await;
        let got = world.chat(ASK).await;
        assert_eq!((got.status, got.json()), (200, body), "`error` is {nothing}");
        assert_eq!((world.fates(), world.attempts()[0].cost), (vec!["completed".to_owned()], Some(COST)));
    }
}

/// A credential with a character that some JSON writers escape.
const KEY: &str = "sk-proj-0123/456789abcdefghij";

/// The row has [`KEY`], and the provider answers with `reply`: neither the client nor the log may learn it.
async fn check_told_to_nobody(reply: Reply, body: &str, what: &str) -> Got {
    let setup = Setup::of(luna([reply]).requires_key(KEY)).row("key: file:provider-key").file("provider-key", KEY);
    let world = setup.start().await;
    let got = world.chat(body.to_owned()).await;
    world.logged("request", 1).await;
    let headers = format!("{:?}", got.headers);
    for (place, text) in [("headers", &*headers), ("body", got.text()), ("log", &*world.log_text())] {
        for spelt in [KEY, "456789abcdefghij"] {
            assert!(!text.contains(spelt), "{what}: the {place} hold the key: {text}");
        }
    }
    assert!(world.provider.arrivals() >= 1, "{what}");
    assert!(world.metric("farthing_errors_total", "provider_credentials").await >= 1.0, "{what}");
    got
}

#[tokio::test]
async fn an_error_that_echoes_our_key_is_told_to_nobody() {
    let error = |code: Value| json!({"error": {"message": format!("bad: {KEY}."), "type": "odd", "code": code}});
    for (what, reply) in [
        ("a 400 by its code", Reply::status(400).with_body(&error(json!("invalid_api_key")))),
        ("a 429", Reply::status(429).with_body(&error(json!("rate_limit_exceeded")))),
        ("a 500 without a code", Reply::status(500).with_body(&error(Value::Null))),
        ("a 422 in its code", Reply::status(422).with_body(&error(json!(KEY)))),
        ("a success", document(&error(Value::Null))),
        ("a 400 in its headers too", {
            let reply = Reply::status(400).with_body(&error(Value::Null));
            reply.with_header("x-request-id", KEY).with_header("x-ratelimit-limit-requests", KEY)
        }),
    ] {
        let got = check_told_to_nobody(reply, ASK, what).await;
        assert_eq!((got.status, &*got.code()), (502, "provider_credentials"), "{what}: {}", got.text());
    }
}

#[tokio::test]
async fn an_escape_in_the_text_does_not_hide_our_key() {
    let text = json!({"error": {"message": KEY, "type": "odd", "code": null}}).to_string();
    for (plain, escaped) in [("/", "\\/"), ("-", "\\u002d"), ("456", "\\u0034\\u00356")] {
        let text = text.replace(plain, escaped);
        let events = Reply::raw_events([CHUNK.to_owned(), format!("data: {text}\n\n")]);
        let got = check_told_to_nobody(events, ASK_STREAM, escaped).await;
        assert_eq!(got.last_error(), "provider_credentials", "{escaped}");
        assert!(!got.text().contains(escaped), "{}", got.text());
        let got = check_told_to_nobody(Reply::raw("application/json", [text]), ASK, escaped).await;
        assert_eq!((got.status, &*got.code()), (502, "provider_credentials"), "{escaped}: {}", got.text());
    }
}

#[tokio::test]
async fn an_error_event_that_echoes_our_key_is_replaced_by_ours() {
    for code in [json!("invalid_api_key"), json!("server_error"), Value::Null] {
        let error = json!({"error": {"message": format!("bad: {KEY}."), "type": "odd", "code": code}});
        let event = format!("event: error\nid: {KEY}\ndata: {error}\n\n");
        let got = check_told_to_nobody(Reply::raw_events([event.clone()]), ASK_STREAM, "the first event").await;
        assert_eq!((got.status, &*got.code()), (502, "provider_credentials"), "{}", got.text());
        for pieces in [vec![CHUNK.to_owned(), event.clone()], vec![format!("{CHUNK}{event}{CHUNK}")]] {
            let got = check_told_to_nobody(Reply::raw_events(pieces), ASK_STREAM, "a later event").await;
            let events = got.datas();
            assert_eq!(got.status, 200);
            assert!(got.text().starts_with(CHUNK), "{}", got.text());
            assert_eq!(
                serde_json::from_str::<Value>(events[1]).expect("JSON")["error"]["code"],
                "provider_credentials"
            );
        }
    }
}

#[tokio::test]
async fn an_oversized_id_of_the_provider_is_dropped_everywhere_and_the_row_is_settled() {
    let long = "x".repeat(20_000);
    for (id, kept) in [(&*long, None), ("req_1", Some("req_1"))] {
        let reply = Reply::status(200).with_body(&answer(usage(1000, 500), json!({}))).with_header("x-request-id", id);
        let world = World::new(luna([reply]), "").await;
        let got = world.chat(ASK).await;
        let logged = world.logged("request", 1).await;
        let row = world.attempts().remove(0);
        assert_eq!((got.status, &*row.fate, row.cost), (200, "completed", Some(COST)), "{row:?}");
        assert_eq!((got.header("x-farthing-cost-usd"), &logged["cost_usd"]), ("0.0008", &json!("0.0008")));
        let stored = world.rows("select provider_request_id from attempts_v1").remove(0).remove(0);
        assert_eq!(stored, kept.map_or(Cell::Null, |id: &str| Cell::Text(id.to_owned())));
        assert_eq!(got.header("x-farthing-provider-request-id"), kept.unwrap_or_default());
    }
}

/// Both kinds of streams that never end: of text that is passed on, and of usage that is withheld, which gives
/// the client's connection no occasion to look up.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_stream_that_never_pauses_and_never_ends_meets_the_total_timeout() {
    let withheld = format!("data: {}\n\n", json!({"choices": [], "usage": usage(1000, 500)}));
    for event in [CHUNK, &*withheld] {
        let pieces = std::iter::once(Bytes::from(CHUNK)).chain(vec![Bytes::from(event.repeat(800)); 100_000]);
        let setup = Setup::of(luna([Reply::raw_events(pieces)])).dispatch("retries: 0, total_timeout: 300ms");
        let world = setup.start().await;
        let got = world.chat(ASK_STREAM).await;
        assert_eq!(got.last_error(), "provider_timeout");
        world.provider.hung_up(1).await.expect("the provider's call is given up");
        let request = world.requests().remove(0);
        assert_eq!((world.fates(), &*request.status), (vec!["interrupted".to_owned()], "provider_timeout"));
    }
}

/// Waits until the operators' page shows this many bytes of bodies.
async fn until_bodies_hold(world: &World, bytes: usize) {
    let looking = async { while world.metric("farthing_body_bytes", "").await as usize != bytes {} };
    timeout(PATIENCE, looking).await.unwrap_or_else(|_| panic!("bodies never held {bytes} bytes"));
}

#[tokio::test]
async fn bodies_that_are_announced_and_not_sent_take_no_room() {
    let limits = "limits: { body_bytes: 1MiB, memory_bytes: 1MiB }";
    let world = Setup::of(luna([Reply::text("ok")])).more(limits).start().await;
    let mut waiting = Vec::new();
    for _ in 0..5 {
        let mut slow = TcpStream::connect(world.gateway.listen).await.expect("a listening door");
        let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1048576\r\n\r\n{";
        slow.write_all(head.as_bytes()).await.expect("an open connection");
        waiting.push(slow);
    }
    until_bodies_hold(&world, 5).await;
    let large = format!("{ASK}{}", " ".repeat(1_000_000));
    assert_eq!(world.chat(large.clone()).await.status, 200);
    // What has arrived does take its room.
    waiting[0].write_all(&vec![b' '; 100_000]).await.expect("an open connection");
    until_bodies_hold(&world, 100_005).await;
    let got = world.chat(large).await;
    assert_eq!((got.status, &*got.code(), got.header("retry-after")), (503, "overloaded", "1"), "{}", got.text());
}

#[tokio::test]
async fn comments_without_an_end_are_no_beginning_of_an_answer() {
    let comment = Bytes::from(format!(": {}\n\n", "x".repeat(65_000)));
    let world = Setup::of(luna([Reply::raw_events(vec![comment; 20_000])])).dispatch("retries: 0").start().await;
    let got = world.chat(ASK_STREAM).await;
    assert_eq!((got.status, &*got.code()), (502, "provider_error"), "{}", got.text());
    world.provider.hung_up(1).await.expect("the provider's call is given up");
    assert_eq!(world.fates(), ["interrupted"]);
}

#[tokio::test]
async fn a_few_comments_before_the_answer_are_passed_on() {
    let pieces = [": one\n\n".to_owned(), ": two\n\n".to_owned(), CHUNK.to_owned(), finish(&usage(1000, 500))];
    let text = format!("{}data: [DONE]\n\n", pieces.concat());
    let world = World::new(luna([Reply::raw_events([text.clone()])]), "").await;
    let got = world.chat(ASK_STREAM).await;
    assert!(got.text().starts_with(&pieces.concat()), "{}", got.text());
}

#[tokio::test]
async fn usage_that_shrinks_is_not_believed() {
    let nothing = format!("data: {}\n\n", json!({"choices": [], "usage": usage(0, 0)}));
    for last in [nothing.clone(), format!("{nothing}{nothing}")] {
        let events = [CHUNK.to_owned(), finish(&usage(1000, 500)), last, "data: [DONE]\n\n".to_owned()];
        let world = World::new(luna([Reply::raw_events(events).billed(1000, 500)]), "").await;
        let got = world.chat(ASK_STREAM).await;
        assert_eq!(got.cost_comment(), Some("0.0008"), "{}", got.text());
        let row = world.attempts().remove(0);
        assert_eq!(
            (&*row.fate, &*row.source, row.cost, row.output_tokens),
            ("completed", "reported", Some(COST), Some(500))
        );
        world.the_ledger_holds_the_invoice();
    }
}

#[tokio::test]
async fn a_limit_spelt_oddly_is_still_read_or_bounds_nothing() {
    let world = World::new(luna([Reply::text("ok")]), "").await;
    let cases = [
        (r#""n": 1e1, "max_tokens": 10"#, Some(100)),
        (r#""n": 2.0, "max_completion_tokens": 10"#, Some(20)),
        (r#""max_tokens": 1, "max_completion_tokens": 5e4"#, Some(50_000)),
        (r#""max_tokens": 5E+4, "max_completion_tokens": 1"#, Some(50_000)),
        (r#""max_tokens": "10""#, None),
        (r#""max_tokens": 10, "n": "2""#, None),
        (r#""max_tokens": 10, "max_completion_tokens": [1]"#, None),
        (r#""max_tokens": null, "max_completion_tokens": 7"#, Some(7)),
    ];
    for (members, _) in cases {
        world.chat(ASK.replacen('{', &format!("{{{members},"), 1)).await;
    }
    let bounds = world.rows("select output_tokens_bound from attempts_v1 order by attempt_id");
    assert_eq!(bounds.len(), cases.len());
    for ((members, expected), found) in cases.iter().zip(bounds) {
        assert_eq!(found[0], expected.map_or(Cell::Null, Cell::Integer), "{members}");
    }
}

#[tokio::test]
async fn repeated_headers_that_may_pass_all_arrive() {
    let world = World::new(luna([Reply::text("ok")]), "").await;
    let headers = [("openai-beta", "one=v1"), ("openai-beta", "two=v2"), ("tracestate", "a=1"), ("tracestate", "b=2")];
    assert_eq!(world.chat_as(ASK, &headers).await.status, 200);
    let seen = world.provider.requests().remove(0);
    for (name, expected) in [("openai-beta", ["one=v1", "two=v2"]), ("tracestate", ["a=1", "b=2"])] {
        assert_eq!(seen.headers.get_all(name).into_iter().collect::<Vec<_>>(), expected, "`{name}`");
    }
}

#[tokio::test]
async fn invented_models_leave_the_metrics_room_for_real_ones() {
    let world = World::new(luna([Reply::text("ok")]), "").await;
    for number in 0..300 {
        let got = world.chat(ASK.replace("gpt-5.6-luna", &format!("invented-{number}"))).await;
        assert_eq!(got.status, 404, "{}", got.text());
    }
    assert_eq!(world.chat(ASK).await.status, 200);
    for name in ["farthing_attempts_total", "farthing_tokens_total", "farthing_cost_usd_total"] {
        assert!(world.metric(name, "model=\"gpt-5.6-luna\"").await > 0.0, "`{name}` under its own name");
        assert_eq!(world.metric(name, "invented-").await, 0.0, "`{name}`");
    }
    assert_eq!(world.metric("farthing_attempts_total", "model=\"other\"").await, 300.0);
}

#[tokio::test]
async fn prompts_that_nobody_named_leave_room_for_those_that_somebody_did() {
    let world = World::new(luna([Reply::text("ok")]), "").await;
    for number in 0..300 {
        let system = json!({"role": "system", "content": format!("It is minute {number}.")});
        let messages = json!([system, {"role": "user", "content": "hi"}]);
        assert_eq!(world.chat(ask(json!({"messages": messages}))).await.status, 200);
    }
    assert_eq!(world.chat_as(ASK, &[("x-farthing-prompt", "nightly-report")]).await.status, 200);
    let counted = world.metric("farthing_prompt_tokens_total", "prompt=\"nightly-report\"").await;
    assert!(counted > 0.0, "a named prompt is counted under its own name");
    assert!(world.metric("farthing_prompt_tokens_total", "prompt=\"other\"").await > 0.0);
}

#[tokio::test]
async fn a_usage_that_cannot_be_is_estimated_and_not_booked() {
    let half = json!({"prompt_tokens": 10});
    for said in
        [usage(1 << 63, 1), usage(1, 1 << 63), half, json!({"completion_tokens": 7}), json!({"total_tokens": 9})]
    {
        let events = [CHUNK.to_owned(), finish(&said), "data: [DONE]\n\n".to_owned()];
        for (body, reply) in
            [(ASK, document(&answer(said.clone(), json!({})))), (ASK_STREAM, Reply::raw_events(events))]
        {
            let world = World::new(luna([reply]), "").await;
            let got = world.chat(body).await;
            let row = world.attempts().remove(0);
            assert_eq!((got.status, &*row.fate, &*row.source), (200, "completed", "estimated"), "{said}");
            let high = row.high.expect("a bound");
            assert!(row.cost.is_some_and(|cost| cost > 0 && cost <= high), "{said}: {row:?}");
            assert!(row.output_tokens.is_some_and(|tokens| (1..10).contains(&tokens)), "{said}: {row:?}");
            assert!(format!("{:?}{}", got.headers, got.text()).contains("x-farthing-cost-source"), "{said}");
            assert!(world.metric("farthing_tokens_total", "").await < 1000.0, "{said}");
        }
    }
}

#[tokio::test]
async fn a_wrong_method_is_told_which_are_right() {
    let world = World::new(luna([Reply::text("ok")]), "").await;
    for (method, path, allowed) in [
        (Method::GET, "/v1/chat/completions", "POST"),
        (Method::OPTIONS, "/v1/chat/completions", "POST"),
        (Method::POST, "/v1/models", "GET, HEAD"),
        (Method::DELETE, "/v1/models/gpt-5.6-luna", "GET, HEAD"),
        (Method::PUT, "/healthz", "GET, HEAD"),
        (Method::POST, "/readyz", "GET, HEAD"),
    ] {
        let got = whole(world.send(method.clone(), path, &[], Bytes::new()).await).await;
        assert_eq!((got.status, got.header("allow")), (405, allowed), "{method} {path}");
    }
}

#[tokio::test]
async fn a_large_event_in_a_thousand_pieces_passes_whole() {
    let large = CHUNK.replace("\"a\"", &format!("\"{}\"", "word ".repeat((4 << 20) / 5)));
    let text = format!("{large}{}", finish(&usage(1000, 500)));
    let reply = Reply::raw_events([text.clone(), "data: [DONE]\n\n".to_owned()]).in_pieces_of(1_400);
    let world = Setup::of(luna([reply])).server("cost_comment: off").start().await;
    let got = world.chat(ASK_STREAM).await;
    assert!(got.body == format!("{text}data: [DONE]\n\n"), "{} bytes of {}", got.body.len(), text.len() + 14);
    assert_eq!((world.fates(), world.attempts()[0].cost), (vec!["completed".to_owned()], Some(COST)));
}
