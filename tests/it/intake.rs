//! What a request may be: sizes, encodings, shapes, and how much of it at a time.

use farthing::simulator::Reply;
use http::Method;
use hyper::body::Bytes;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::{ASK, ASK_STREAM, Got, PATIENCE, Setup, World, luna, raw, whole};

/// A request by hand, its head ending in `headers`.
fn by_hand(headers: &str) -> String {
    format!("POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n")
}

/// The status and the error code of an answer that was read by hand.
#[track_caller]
fn check_raw(answer: &str, status: u16, code: &str) {
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer:?}");
    assert!(answer.contains(&format!("\"code\":\"{code}\"")), "{answer:?}");
}

#[track_caller]
fn check_refusal(got: &Got, status: u16, code: &str, param: &str) {
    assert_eq!((got.status, &*got.code()), (status, code), "{}", got.text());
    assert_eq!(got.json()["error"]["param"].as_str().unwrap_or_default(), param, "{}", got.text());
}

#[tokio::test]
async fn a_body_that_cannot_be_read_is_refused_with_the_parameter_at_fault() {
    let world = World::new(luna([Reply::text("ok")]), "").await;
    for (body, code, param) in [
        ("", "invalid_body", ""),
        ("no json", "invalid_body", ""),
        ("[]", "invalid_body", ""),
        (r#"{"model":"m","messages":[]"#, "invalid_body", ""),
        (r#"{"model":"m","messages":[]} x"#, "invalid_body", ""),
        (r#"{"model":"m","messages":[],}"#, "invalid_body", ""),
        (r#"{"messages":[]}"#, "invalid_body", "model"),
        (r#"{"model":7,"messages":[]}"#, "invalid_body", "model"),
        (r#"{"model":"m"}"#, "invalid_body", "messages"),
        (r#"{"model":"m","messages":"hi"}"#, "invalid_body", "messages"),
        (r#"{"model":"m","messages":[],"stream":"yes"}"#, "invalid_body", "stream"),
        (r#"{"model":"m","messages":[],"model":"n"}"#, "duplicate_key", "model"),
        (r#"{"model":"m","messages":[],"mod\u0065l":"n"}"#, "duplicate_key", "model"),
        (r#"{"stream":true,"model":"m","messages":[],"stream":false}"#, "duplicate_key", "stream"),
        (r#"{"max_tokens":1,"model":"m","messages":[],"max_tokens":2}"#, "duplicate_key", "max_tokens"),
        (r#"{"n":1,"model":"m","messages":[],"n":2}"#, "duplicate_key", "n"),
        (r#"{"model":"m","messages":[],"Model":"n"}"#, "duplicate_key", "model"),
        (r#"{"model":"m","messages":[],"MAX_TOKENS":9}"#, "duplicate_key", "max_tokens"),
    ] {
        check_refusal(&world.chat(body).await, 400, code, param);
    }
    let bad_utf8 = [br#"{"model":"m","messages":[],"x":""#.as_slice(), &[0xff, 0xfe], b"\"}"].concat();
    check_refusal(&world.chat(bad_utf8).await, 400, "invalid_body", "");
    assert_eq!((world.provider.arrivals(), world.attempts().len()), (0, 0));
    let secret = r#"{"model":"m","messages":["my secret prompt" oops]}"#;
    let got = world.chat(secret).await;
    assert!(!got.text().contains("secret prompt") && !world.log_text().contains("secret prompt"), "{}", got.text());
}

#[tokio::test]
async fn deep_nesting_is_refused_and_reasonable_nesting_is_not() {
    let world = World::new(luna([Reply::raw("application/json", ["{}"])]), "").await;
    let nested = |depth: usize| ASK.replacen('{', &format!("{{\"x\":{}{},", "[".repeat(depth), "]".repeat(depth)), 1);
    assert_eq!(world.chat(nested(100)).await.status, 200);
    check_refusal(&world.chat(nested(100_000)).await, 400, "invalid_body", "");
    let objects = ASK.replacen('{', &format!("{{\"x\":{}1{},", "{\"x\":".repeat(5000), "}".repeat(5000)), 1);
    check_refusal(&world.chat(objects).await, 400, "invalid_body", "");
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_at_its_declared_length() {
    let world = Setup::of(luna([Reply::text("ok")])).more("limits: { body_bytes: 1KiB }").start().await;
    let at_the_limit = format!("{ASK}{}", " ".repeat(1024 - ASK.len()));
    assert_eq!(world.chat(at_the_limit.clone()).await.status, 200);
    check_refusal(&world.chat(format!("{at_the_limit} ")).await, 413, "body_too_large", "");
    // Nothing of the body has to arrive first.
    let answer = raw(world.gateway.listen, [by_hand("content-length: 1025\r\nconnection: close\r\n")]).await;
    check_raw(&answer, 413, "body_too_large");
}

#[tokio::test]
async fn a_body_without_a_length_is_refused_where_it_becomes_too_large() {
    let world = Setup::of(luna([Reply::text("ok")])).more("limits: { body_bytes: 1KiB }").start().await;
    let head = by_hand("transfer-encoding: chunked\r\nconnection: close\r\n");
    let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
    let (first, second) = ASK.split_at(20);
    let answer = raw(world.gateway.listen, [&*head, &chunk(first), &chunk(second), "0\r\n\r\n"]).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let blank = chunk(&" ".repeat(600));
    let answer = raw(world.gateway.listen, [&*head, &blank, &blank]).await;
    check_raw(&answer, 413, "body_too_large");
}

#[tokio::test]
async fn a_large_body_in_many_chunks_arrives_whole_and_with_its_length() {
    let world = World::new(luna([Reply::text("ok")]), "").await;
    let large = ASK.replace("hi", &"word \u{e9} ".repeat(100_000));
    let chunks = large
        .as_bytes()
        .chunks(7_001)
        .map(|chunk| [format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat());
    let head = by_hand("transfer-encoding: chunked\r\nconnection: close\r\n").into_bytes();
    let answer = raw(world.gateway.listen, std::iter::once(head).chain(chunks).chain([b"0\r\n\r\n".to_vec()])).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let arrived = world.provider.requests().remove(0);
    assert!(arrived.body == large, "{} bytes of {}", arrived.body.len(), large.len());
    assert_eq!(arrived.header("content-length"), Some(&*large.len().to_string()));
}

#[tokio::test]
async fn a_refusal_reaches_a_client_that_is_still_sending() {
    let world = Setup::of(luna([Reply::text("ok")])).more("limits: { body_bytes: 64KiB }").start().await;
    let megabytes = " ".repeat(8 << 20);
    let large = by_hand(&format!("content-length: {}\r\n", megabytes.len()));
    check_raw(&raw(world.gateway.listen, [&large, &megabytes]).await, 413, "body_too_large");
    let encoded = by_hand(&format!("content-encoding: deflate\r\ncontent-length: {}\r\n", megabytes.len()));
    check_raw(&raw(world.gateway.listen, [&encoded, &megabytes]).await, 415, "unsupported_media_type");
    let elsewhere = large.replace("/v1/chat/completions", "/v1/nowhere");
    check_raw(&raw(world.gateway.listen, [&elsewhere, &megabytes]).await, 404, "not_found");
    let foreign = large.replace("host: localhost", "host: evil.example");
    check_raw(&raw(world.gateway.listen, [&foreign, &megabytes]).await, 403, "not_granted");
}

#[tokio::test]
async fn a_client_that_sends_everything_before_it_reads_has_its_refusal() {
    let world = Setup::of(luna([Reply::text("ok")])).more("limits: { body_bytes: 64KiB }").start().await;
    let length = 24 << 20;
    let declared = format!("content-length: {length}\r\n");
    let post = by_hand(&declared);
    for (head, status) in [
        (post.clone(), "413"),
        (by_hand(&format!("content-encoding: deflate\r\n{declared}")), "415"),
        (post.replace("/v1/chat/completions", "/v1/nowhere"), "404"),
        (post.replace("host: localhost", "host: evil.example"), "403"),
    ] {
        let mut stream = TcpStream::connect(world.gateway.listen).await.expect("a listening door");
        stream.write_all(head.as_bytes()).await.expect("an open connection");
        for _ in 0..length / (64 << 10) {
            stream.write_all(&[b' '; 64 << 10]).await.expect("a connection that takes all of it");
        }
        let mut answer = String::new();
        timeout(PATIENCE, stream.read_to_string(&mut answer)).await.expect("an end").expect("an orderly end");
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    }
    assert_eq!(world.metric("farthing_body_bytes", "").await, 0.0, "what is thrown away is counted nowhere");
}

#[tokio::test]
async fn a_refusal_of_an_unread_body_says_that_its_connection_closes() {
    let world = World::new(luna([Reply::text("ok")]), "").await;
    // The body of its own packet, as many clients send it: the refusal is out before it arrives.
    for head in [by_hand(""), by_hand("").replace("/v1/chat/completions", "/v1/nowhere")] {
        let foreign = head.replace("host: localhost", "host: evil.example\r\ncontent-length: 2");
        let mut stream = TcpStream::connect(world.gateway.listen).await.expect("a listening door");
        stream.write_all(foreign.as_bytes()).await.expect("an open connection");
        let mut answer = vec![0; 4096];
        let length = timeout(PATIENCE, stream.read(&mut answer)).await.expect("an answer").expect("an open connection");
        let answer = String::from_utf8_lossy(&answer[..length]);
        assert!(answer.starts_with("HTTP/1.1 403 ") && answer.contains("\r\nconnection: close\r\n"), "{answer}");
    }
    // One that was read leaves its connection to be used again.
    let refused = by_hand("content-length: 2\r\n") + "[]";
    let again = by_hand("content-length: 2\r\nconnection: close\r\n") + "[]";
    assert_eq!(raw(world.gateway.listen, [refused + &again]).await.matches("HTTP/1.1 400 ").count(), 2);
}

#[tokio::test]
async fn a_body_that_is_still_on_its_way_holds_no_place() {
    let world = Setup::of(luna([Reply::tokens(2).stalls_after(1)])).more("limits: { concurrency: 1 }").start().await;
    let mut slow = TcpStream::connect(world.gateway.listen).await.expect("a listening door");
    let head = by_hand(&format!("content-length: {}\r\nexpect: 100-continue\r\n", ASK.len()));
    slow.write_all(head.as_bytes()).await.expect("an open connection");
    // It goes on once somebody reads the body.
    slow.read_exact(&mut [0; 25]).await.expect("word to go on");
    slow.write_all(b"{").await.expect("an open connection");
    assert_eq!(world.metric("farthing_in_flight", "").await, 0.0);
    let mut stream = open_stream(&world).await;
    assert_eq!(world.metric("farthing_in_flight", "").await, 1.0, "the gauge counts places");
    slow.write_all(&ASK.as_bytes()[1..]).await.expect("an open connection");
    let mut refused = [0; 13];
    slow.read_exact(&mut refused).await.expect("an answer");
    assert_eq!(&refused, b"HTTP/1.1 503 ", "its place is asked for once the body is here");
    world.provider.release();
    stream.rest().await;
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let world = World::new(luna([Reply::text("ok")]), "").await;
    let many: String = (0..200).map(|n| format!("x-{n}: v\r\n")).collect();
    let wide = format!("x-wide: {}\r\n", "v".repeat(256 << 10));
    for headers in [many, wide] {
        let answer = raw(world.gateway.listen, [by_hand(&format!("{headers}connection: close\r\n"))]).await;
        assert!(answer.starts_with("HTTP/1.1 431 "), "{answer:?}");
    }
    let answer = raw(world.gateway.listen, ["nonsense\r\n\r\n"]).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer:?}");
    assert_eq!(world.chat(ASK).await.status, 200);
}

#[tokio::test]
async fn a_client_that_asks_first_is_told_to_go_on_or_refused_at_once() {
    let world = Setup::of(luna([Reply::text("ok")])).more("limits: { body_bytes: 1KiB }").start().await;
    let head = by_hand(&format!("expect: 100-continue\r\ncontent-length: {}\r\nconnection: close\r\n", ASK.len()));
    let answer = raw(world.gateway.listen, [&*head, ASK]).await;
    assert!(answer.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 "), "{answer}");
    let too_large = by_hand("expect: 100-continue\r\ncontent-length: 5000\r\nconnection: close\r\n");
    check_raw(&raw(world.gateway.listen, [too_large]).await, 413, "body_too_large");
}

/// Starts a stream that stays open until it is released.
async fn open_stream(world: &World) -> crate::support::Events {
    let mut stream = world.stream(ASK_STREAM).await;
    stream.take(1).await;
    stream
}

#[tokio::test]
async fn requests_beyond_the_bound_are_shed_and_told_when_to_come_back() {
    let setup = Setup::of(luna([Reply::tokens(3).stalls_after(1), Reply::text("ok")]));
    let world = setup.more("limits: { concurrency: 1 }").start().await;
    let mut stream = open_stream(&world).await;
    let got = world.chat(ASK).await;
    check_refusal(&got, 503, "overloaded", "");
    assert_eq!(got.header("retry-after"), "1");
    assert_eq!(world.get("/healthz", &[]).await.status, 200, "health is not shed");
    assert_eq!(world.provider.arrivals(), 1);
    world.provider.release();
    stream.rest().await;
    assert_eq!(world.chat(ASK).await.status, 200, "there is room again");
    assert_eq!(world.metric("farthing_errors_total", "farthing_overloaded").await, 1.0);
}

#[tokio::test]
async fn bodies_beyond_the_memory_set_aside_for_them_are_shed() {
    let setup = Setup::of(luna([Reply::text("late").stalls_after(0), Reply::text("ok")]));
    let world = setup.more("limits: { body_bytes: 8KiB, memory_bytes: 10KiB }").start().await;
    let large = format!("{ASK}{}", " ".repeat(7 << 10));
    let waiting = world.chat(large.clone());
    let meanwhile = async {
        world.provider.arrival(1).await.expect("the first is on its way");
        let got = world.chat(large.clone()).await;
        check_refusal(&got, 503, "overloaded", "");
        assert_eq!(got.header("retry-after"), "1");
        assert_eq!(world.chat(ASK).await.status, 200, "a small one fits");
        assert_eq!(world.metric("farthing_body_bytes", "").await as usize, large.len());
        world.provider.release();
    };
    let (first, ()) = tokio::join!(waiting, meanwhile);
    assert_eq!(first.status, 200);
    assert_eq!(world.chat(large).await.status, 200, "the memory is free again");
    assert_eq!(world.metric("farthing_body_bytes", "").await, 0.0);
}

#[tokio::test]
async fn one_connection_serves_many_requests_one_after_the_other() {
    let world = World::new(luna([Reply::text("ok")]), "").await;
    let request = format!("{}{ASK}", by_hand(&format!("content-length: {}\r\n", ASK.len())));
    let refused = by_hand("content-length: 2\r\n") + "[]";
    let last = by_hand(&format!("content-length: {}\r\nconnection: close\r\n", ASK.len())) + ASK;
    let answer = raw(world.gateway.listen, [request.clone() + &refused + &request + &last]).await;
    let statuses: Vec<_> = answer.match_indices("HTTP/1.1 ").map(|(at, _)| &answer[at + 9..at + 12]).collect();
    assert_eq!(statuses, ["200", "400", "200", "200"], "{answer}");
    let head = whole(world.send(Method::HEAD, "/healthz", &[], Bytes::new()).await).await;
    assert_eq!((head.status, world.provider.arrivals()), (200, 3));
    assert_eq!(world.requests().iter().filter(|row| row.status == "ok").count(), 3);
    assert_eq!(json!(world.fates()), json!(["completed", "completed", "completed"]));
}
