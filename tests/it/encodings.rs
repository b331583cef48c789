//! Bodies that come encoded: decoded within limits on the way in, and on the way back where a provider insists.

use std::io::Write;

use farthing::simulator::Reply;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;

use crate::support::{ASK, ASK_STREAM, Got, Setup, World, luna};

/// [`ASK`] in brotli.
const ASK_BROTLI: &[u8] =
    b"\x8b\x21\x80{\"model\":\"gpt-5.6-luna\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}\x03";

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(text).and_then(|()| encoder.finish()).expect("memory is writable")
}

fn zstd(text: &[u8]) -> Vec<u8> {
    zstd::encode_all(text, 19).expect("memory is readable")
}

#[track_caller]
fn check_refusal(got: &Got, status: u16, code: &str) {
    assert_eq!((got.status, &*got.code()), (status, code), "{}", got.text());
}

#[tokio::test]
async fn an_encoded_request_leaves_as_what_it_says() {
    let world = World::new(luna([Reply::text("ok")]), "").await;
    for (encoding, body) in [
        ("gzip", gzip(ASK.as_bytes())),
        ("GZIP", gzip(ASK.as_bytes())),
        ("zstd", zstd(ASK.as_bytes())),
        ("br", ASK_BROTLI.to_vec()),
        ("identity", ASK.into()),
    ] {
        let got = world.chat_as(body, &[("content-encoding", encoding)]).await;
        assert_eq!((got.status, got.header("content-encoding")), (200, ""), "{encoding}: {}", got.text());
        let arrived = world.provider.requests().pop().expect("a request");
        assert_eq!((&*arrived.body, arrived.header("content-encoding")), (ASK.as_bytes(), None), "{encoding}");
        assert_eq!(arrived.header("content-length"), Some(&*ASK.len().to_string()));
    }
    assert_eq!(world.metric("farthing_body_bytes", "").await, 0.0);
    world.the_ledger_holds_the_invoice();
}

#[tokio::test]
async fn other_and_stacked_encodings_are_refused_and_told_which_are_taken() {
    let world = World::new(luna([Reply::text("ok")]), "").await;
    let twice = gzip(&gzip(ASK.as_bytes()));
    for headers in [
        &[("content-encoding", "deflate")][..],
        &[("content-encoding", "gzip, gzip")],
        &[("content-encoding", "gzip"), ("content-encoding", "gzip")],
    ] {
        let got = world.chat_as(twice.clone(), headers).await;
        check_refusal(&got, 415, "unsupported_media_type");
        assert!(got.text().contains("`gzip`, `zstd`, `br`"), "{}", got.text());
    }
    assert_eq!(world.provider.arrivals(), 0);
}

#[tokio::test]
async fn a_body_that_is_not_of_its_encoding_is_no_request() {
    let world = World::new(luna([Reply::text("ok")]), "").await;
    for (encoding, body) in
        [("gzip", gzip(ASK.as_bytes())), ("zstd", zstd(ASK.as_bytes())), ("br", ASK_BROTLI.to_vec())]
    {
        let cut = body[..body.len() - 1].to_vec();
        let longer = [&*body, b"x"].concat();
        for broken in [cut, longer, ASK.into(), Vec::new()] {
            let got = world.chat_as(broken, &[("content-encoding", encoding)]).await;
            check_refusal(&got, 400, "invalid_body");
        }
    }
    assert_eq!(world.provider.arrivals(), 0);
}

#[tokio::test]
async fn a_small_body_that_unfolds_into_a_huge_one_is_refused_and_leaves_nothing_behind() {
    let setup = Setup::of(luna([Reply::text("ok")]));
    let world = setup.more("limits: { body_bytes: 1MiB, memory_bytes: 2MiB }").start().await;
    let huge = [ASK.as_bytes(), &vec![b' '; 200 << 20]].concat();
    for (encoding, bomb) in [("gzip", gzip(&huge)), ("zstd", zstd(&huge))] {
        assert!(bomb.len() < 1 << 20, "{} bytes of {encoding}", bomb.len());
        check_refusal(&world.chat_as(bomb, &[("content-encoding", encoding)]).await, 413, "body_too_large");
    }
    let full = Setup::of(luna([Reply::tokens(3).stalls_after(1), Reply::text("ok")]));
    let full = full.more("limits: { body_bytes: 1MiB, memory_bytes: 2MiB }").start().await;
    let large = gzip(&[ASK_STREAM.as_bytes(), &vec![b' '; 900 << 10]].concat());
    let waits = full.chat_as(large.clone(), &[("content-encoding", "gzip")]);
    let meanwhile = async {
        full.provider.arrival(1).await.expect("the first is on its way");
        full.provider.release();
    };
    assert_eq!(tokio::join!(waits, meanwhile).0.status, 200);
    assert_eq!(full.chat_as(large, &[("content-encoding", "gzip")]).await.status, 200, "the memory is free again");
    assert_eq!(world.metric("farthing_body_bytes", "").await, 0.0);
}

#[tokio::test]
async fn an_answer_that_comes_encoded_all_the_same_is_passed_on_decoded_and_settled() {
    let choice = json!({"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"});
    let usage = json!({"prompt_tokens": 1000, "completion_tokens": 500, "total_tokens": 1500});
    let answer = json!({"object": "chat.completion", "choices": [choice], "usage": usage}).to_string();
    for (encoding, body) in [("gzip", gzip(answer.as_bytes())), ("zstd", zstd(answer.as_bytes()))] {
        let reply = Reply::status(200).with_header("content-encoding", encoding).with_bytes(body);
        let world = World::new(luna([reply]), "").await;
        let got = world.chat(ASK).await;
        assert_eq!((got.status, got.text(), got.header("content-encoding")), (200, &*answer, ""));
        assert_eq!(got.header("x-farthing-cost-usd"), "0.0008");
        assert_eq!(world.fates(), ["completed"]);
    }
    let error = json!({"error": {"message": "no", "type": "invalid_request_error", "param": null, "code": null}});
    let reply = Reply::status(400).with_header("content-encoding", "gzip");
    let world = World::new(luna([reply.with_bytes(gzip(error.to_string().as_bytes()))]), "").await;
    let got = world.chat(ASK).await;
    assert_eq!((got.status, got.json(), got.header("content-encoding")), (400, error, ""));
}

#[tokio::test]
async fn an_answer_whose_encoding_is_a_trick_is_an_error_of_the_provider_and_booked() {
    let bomb = gzip(&vec![b' '; 20 << 20]);
    let cut = gzip(b"{}")[..10].to_vec();
    let of =
        |encoding: &str, body: Vec<u8>| Reply::status(200).with_header("content-encoding", encoding).with_bytes(body);
    for reply in [of("gzip", bomb), of("gzip", cut), of("gzip", b"{}".to_vec()), of("compress", b"{}".to_vec())] {
        let world = World::new(luna([reply]), "").await;
        let got = world.chat(ASK).await;
        check_refusal(&got, 502, "provider_error");
        assert_eq!((got.header("x-should-retry"), world.provider.arrivals()), ("false", 1));
        assert_eq!(world.fates(), ["interrupted"]);
    }
    let events = of("gzip", gzip(b"data: [DONE]\n\n")).with_header("content-type", "text/event-stream");
    let world = World::new(luna([events]), "").await;
    check_refusal(&world.chat(ASK_STREAM).await, 502, "provider_error");
    assert_eq!(world.fates(), ["interrupted"]);
}

#[tokio::test]
async fn answers_and_unfinished_events_count_as_memory_in_use() {
    let limits = "limits: { body_bytes: 100KiB, memory_bytes: 1MiB }";
    let long = json!({"choices": [], "x": "x".repeat(2 << 20)}).to_string();
    let short = json!({"choices": [], "x": "x".repeat(700 << 10)}).to_string();
    let event = format!("data: {long}\n\n");
    let whole = |text: &str| Reply::status(200).with_bytes(text.to_owned());
    let replies =
        [whole(&long), whole(&short), whole(&short), Reply::raw_events([event.clone()]).in_pieces_of(100_000)];
    let world = Setup::of(luna(replies)).more(limits).start().await;
    let got = world.chat(ASK).await;
    check_refusal(&got, 503, "overloaded");
    assert_eq!(got.header("x-should-retry"), "false", "it is paid for");
    for _ in 0..2 {
        assert_eq!(world.chat(ASK).await.status, 200, "one after the other finds room");
        assert_eq!(world.metric("farthing_body_bytes", "").await, 0.0);
    }
    check_refusal(&world.chat(ASK_STREAM).await, 503, "overloaded");
    assert_eq!(world.metric("farthing_body_bytes", "").await, 0.0);
    assert_eq!(world.fates(), ["interrupted", "completed", "completed", "interrupted"]);

    let chunk = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n";
    let replies = [Reply::raw_events([chunk.to_owned(), event]).in_pieces_of(100_000)];
    let world = Setup::of(luna(replies)).more(limits).start().await;
    let got = world.chat(ASK_STREAM).await;
    assert!(got.text().starts_with(chunk));
    assert_eq!(got.last_error(), "overloaded");
    assert_eq!(world.metric("farthing_body_bytes", "").await, 0.0);
}
