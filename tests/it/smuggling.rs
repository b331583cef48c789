//! Requests that two readers could take for different ones: refused, or served such that nothing hides behind them.

use farthing::simulator::Reply;

use crate::support::{ASK, World, luna, raw};

/// What would be served if somebody took the rest of a body for a request.
const HIDDEN: &str = "GET /v1/models HTTP/1.1\r\nhost: localhost\r\nx-hidden: 1\r\n\r\n";

/// The statuses of all answers to these bytes, and how many requests reached the provider.
async fn check(what: &str, bytes: String, statuses: &[u16], arrivals: u64) {
    let world = World::new(luna([Reply::text("ok")]), "").await;
    let answer = raw(world.gateway.listen, [&bytes]).await;
    let found: Vec<u16> = answer
        .match_indices("HTTP/1.1 ")
        .filter_map(|(at, found)| answer[at + found.len()..].get(..3)?.parse().ok())
        .collect();
    assert_eq!(found, statuses, "{what}: {answer}");
    assert_eq!(world.provider.arrivals(), arrivals, "{what}");
    assert!(!answer.contains("\"object\":\"list\""), "{what}: the hidden request was served: {answer}");
    assert_eq!(world.get("/healthz", &[]).await.status, 200);
}

fn post(headers: &str, body: &str) -> String {
    format!("POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n{body}")
}

fn chunked(body: &str) -> String {
    format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len())
}

#[tokio::test]
async fn a_length_beside_chunks_is_not_believed_and_nothing_behind_them_is_served() {
    let length = ASK.len() + 11 + HIDDEN.len();
    let body = chunked(ASK) + HIDDEN;
    for headers in [
        format!("content-length: {length}\r\ntransfer-encoding: chunked\r\n"),
        format!("transfer-encoding: chunked\r\ncontent-length: {length}\r\n"),
        "content-length: 4\r\ntransfer-encoding: chunked\r\n".to_owned(),
    ] {
        check(&headers, post(&headers, &body), &[200], 1).await;
    }
}

#[tokio::test]
async fn lengths_that_differ_are_refused() {
    let (length, longer) = (ASK.len(), ASK.len() + HIDDEN.len());
    let body = ASK.to_owned() + HIDDEN;
    for headers in [
        format!("content-length: {length}\r\ncontent-length: {longer}\r\n"),
        format!("content-length: {length}, {longer}\r\n"),
        format!("content-length: {length}, {length}\r\n"),
        format!("content-length: +{length}\r\n"),
        format!("content-length: {length} {longer}\r\n"),
        format!("content-length: 0x{length:x}\r\n"),
        format!("content-length: -{length}\r\n"),
        "content-length: 99999999999999999999999\r\n".to_owned(),
        "content-length: \r\n".to_owned(),
    ] {
        check(&headers, post(&headers, &body), &[400], 0).await;
    }
}

#[tokio::test]
async fn transfer_encodings_besides_chunked_are_refused() {
    let body = chunked(ASK) + HIDDEN;
    for encoding in [
        "xchunked",
        "chunked, identity",
        "gzip, chunked",
        "gzip",
        "identity",
        "chunked, chunked",
        "\"chunked\"",
        "chunked;q=1",
    ] {
        check(encoding, post(&format!("transfer-encoding: {encoding}\r\n"), &body), &[400], 0).await;
    }
    check("twice", post("transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n", &body), &[400], 0).await;
    let old =
        format!("POST /v1/chat/completions HTTP/1.0\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n{body}");
    check("HTTP/1.0", old, &[400], 0).await;
}

#[tokio::test]
async fn heads_that_are_not_of_the_grammar_are_refused() {
    let length = ASK.len();
    let body = ASK.to_owned() + HIDDEN;
    for headers in [
        format!("content-length : {length}\r\n"),
        format!("x: a\r\n folded\r\ncontent-length: {length}\r\n"),
        format!(" content-length: {length}\r\n"),
        format!("content\tlength: {length}\r\ncontent-length: {length}\r\n"),
        format!("x: a\0b\r\ncontent-length: {length}\r\n"),
        format!("x: a\rb\r\ncontent-length: {length}\r\n"),
        format!(": empty\r\ncontent-length: {length}\r\n"),
    ] {
        check(&headers, post(&headers, &body), &[400], 0).await;
    }
}

#[tokio::test]
async fn chunks_that_are_not_of_the_grammar_end_the_connection() {
    let size = format!("{:x}", ASK.len());
    for chunks in [
        format!("{size}\n{ASK}\r\n0\r\n\r\n"),
        format!("{size}\r\n{ASK}\n0\r\n\r\n"),
        format!("{size}\r\n{ASK}xx0\r\n\r\n"),
        format!("0x{size}\r\n{ASK}\r\n0\r\n\r\n"),
        format!("-{size}\r\n{ASK}\r\n0\r\n\r\n"),
        format!("{size} {size}\r\n{ASK}\r\n0\r\n\r\n"),
        format!("fffffffffffffffff\r\n{ASK}\r\n0\r\n\r\n"),
        format!("ffffffffffffffff{size}\r\n{ASK}\r\n0\r\n\r\n"),
        format!("\r\n{ASK}\r\n0\r\n\r\n"),
        format!("{size};\n\r\n{ASK}\r\n0\r\n\r\n"),
        format!("{size}\r\n{ASK}\r\nzz\r\n\r\n"),
    ] {
        check(&chunks, post("transfer-encoding: chunked\r\n", &(chunks.clone() + HIDDEN)), &[400], 0).await;
    }
}

#[tokio::test]
async fn trailers_are_dropped_and_extensions_mean_nothing() {
    let world = World::new(luna([Reply::text("ok")]), "").await;
    let body = format!(
        "{:x};name=value\r\n{ASK}\r\n0\r\nx-farthing-team: forged\r\nauthorization: Bearer x\r\n\r\n",
        ASK.len()
    );
    let answer = raw(world.gateway.listen, [post("transfer-encoding: chunked\r\nconnection: close\r\n", &body)]).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let arrived = world.provider.requests().remove(0);
    assert_eq!((&*arrived.body, arrived.header("x-farthing-team")), (ASK.as_bytes(), None));
    assert_eq!(arrived.header("trailer"), None);
    assert_eq!(world.rows("select team from requests_v1").remove(0)[0], "default".to_owned().into());
}

#[tokio::test]
async fn a_request_names_one_host() {
    let world = World::new(luna([Reply::text("ok")]), "").await;
    for (target, headers, status) in [
        ("/v1/models", "host: localhost\r\nhost: localhost\r\n", 400),
        ("/v1/models", "host: localhost\r\nhost: evil.example\r\n", 400),
        ("http://evil.example/v1/models", "host: localhost\r\n", 400),
        ("http://localhost/v1/models", "host: evil.example\r\n", 400),
        ("http://evil.example/v1/models", "host: evil.example\r\n", 403),
        ("http://user@localhost/v1/models", "host: localhost\r\n", 400),
        ("http://localhost/v1/models", "host: localhost\r\n", 200),
        ("/v1/models", "host: localhost, evil.example\r\n", 403),
        ("/v1/models", "host: localhost@evil.example\r\n", 403),
    ] {
        let request = format!("GET {target} HTTP/1.1\r\n{headers}connection: close\r\n\r\n");
        let answer = raw(world.gateway.listen, [request]).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{target} {headers}: {answer}");
    }
    for target in ["*", "localhost:443"] {
        let method = if target == "*" { "OPTIONS" } else { "CONNECT" };
        let answer = raw(
            world.gateway.listen,
            [format!("{method} {target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")],
        )
        .await;
        assert!(answer.starts_with("HTTP/1.1 4"), "{method} {target}: {answer}");
    }
}

#[tokio::test]
async fn a_header_that_decides_who_comes_in_stands_once() {
    for header in ["authorization: Bearer a", "x-api-key: a", "origin: http://localhost"] {
        let (name, _) = header.split_once(':').expect("a name");
        for second in [header.to_owned(), format!("{name}: b"), format!("{}: ", name.to_uppercase())] {
            let headers = format!("{header}\r\n{second}\r\ncontent-length: {}\r\n", ASK.len());
            check(&headers, post(&headers, ASK), &[400], 0).await;
        }
    }
}
