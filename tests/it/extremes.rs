//! What is legal and huge, odd or rare on the wire: passed on as it is, or stopped at its bound.

use farthing::simulator::Reply;
use hyper::body::Bytes;

use crate::support::{ASK, ASK_STREAM, Setup, World, luna, raw};

const CHUNK: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"},\"finish_reason\":null}]}\n\n";
const LAST: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";

#[tokio::test]
async fn lines_may_end_in_any_of_the_three_ways() {
    let text = format!("{CHUNK}: comment\n\nevent: x\n{CHUNK}{LAST}");
    for end in ["\n", "\r\n", "\r"] {
        let spelt = text.replace('\n', end);
        for pieces in [1, 7, 100_000] {
            let reply = Reply::raw_events([spelt.clone()]).in_pieces_of(pieces);
            let world = Setup::of(luna([reply])).server("cost_comment: off").start().await;
            // An LF that arrives behind the CR of the last blank line finds the stream settled.
            assert_eq!(
                world.chat(ASK_STREAM).await.text().trim_end(),
                spelt.trim_end(),
                "{end:?} in pieces of {pieces}"
            );
            assert_eq!(world.fates(), ["completed"], "{end:?} in pieces of {pieces}");
        }
    }
}

#[tokio::test]
async fn an_event_just_below_its_bound_passes_and_one_without_an_end_takes_no_more_than_that() {
    let large = CHUNK.replace("\"a\"", &format!("\"{}\"", "x".repeat((8 << 20) - CHUNK.len() - 10)));
    let reply = Reply::raw_events([large.clone() + LAST]).in_pieces_of(60_000);
    let world = Setup::of(luna([reply])).server("cost_comment: off").start().await;
    assert!(world.chat(ASK_STREAM).await.body == large + LAST);
    assert_eq!(world.metric("farthing_body_bytes", "").await, 0.0);

    let piece = Bytes::from(vec![b'x'; 1 << 20]);
    let line = [Bytes::from_static(CHUNK.as_bytes()), Bytes::from_static(b"data: ")];
    let endless = line.into_iter().chain(vec![piece; 100]);
    let world = World::new(luna([Reply::raw_events(endless)]), "").await;
    let got = world.chat(ASK_STREAM).await;
    assert!(got.body.len() < 1000, "{} bytes of a line of 100 MB", got.body.len());
    assert_eq!(got.last_error(), "provider_error");
    world.provider.hung_up(1).await.expect("the provider's call is given up");
    let sent = world.provider.requests()[0].frames();
    assert!(sent < 30, "{sent} MiB were taken");
    assert_eq!(world.metric("farthing_body_bytes", "").await, 0.0);
}

#[tokio::test]
async fn a_request_of_a_hundred_megabytes_is_refused_declared_or_not() {
    let world = World::new(luna([Reply::text("ok")]), "").await;
    let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n";
    let declared = format!("{head}content-length: 104857600\r\n\r\n{{");
    assert!(raw(world.gateway.listen, [declared]).await.starts_with("HTTP/1.1 413 "));
    let chunk = [b"100000\r\n".as_slice(), &vec![b' '; 1 << 20], b"\r\n"].concat();
    let pieces = std::iter::once(format!("{head}transfer-encoding: chunked\r\n\r\n").into_bytes());
    let answer = raw(world.gateway.listen, pieces.chain(vec![chunk; 100])).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert_eq!(world.metric("farthing_body_bytes", "").await, 0.0);
}

#[tokio::test]
async fn numbers_and_characters_that_no_reader_can_hold_pass_as_they_are() {
    let digits = "7".repeat(400);
    let odd = format!(r#"{{"x":[{digits},-0.{digits}e{},1E+4000,"\ud800","\uDFFF x"],"#, &digits[..6]);
    let body = ASK.replacen('{', &odd, 1);
    let answer = format!(r#"{{"choices":[],"x":{digits},"y":"\ud800"}}"#);
    let world = World::new(luna([Reply::raw("application/json", [answer.clone()])]), "").await;
    let got = world.chat(body.clone()).await;
    assert_eq!((got.status, got.text()), (200, &*answer));
    assert_eq!(world.provider.requests().remove(0).body, body);
}

#[tokio::test]
async fn who_is_refused_is_never_asked_to_go_on() {
    let keys = "keys: [ { sha256: 555f31a01b458094a14c01ac76090ba079490824880cc2e2593c18983f223de1, team: data } ]";
    let world = Setup::of(luna([Reply::text("ok")])).more(keys).start().await;
    for (headers, status) in [
        ("content-length: 10\r\n", 401),
        ("content-length: 10\r\nx-api-key: wrong\r\n", 401),
        ("content-length: 10\r\nx-api-key: fk-of-a-test\r\ncontent-encoding: deflate\r\n", 415),
        ("content-length: 104857600\r\nx-api-key: fk-of-a-test\r\n", 413),
    ] {
        let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\n";
        let answer = raw(world.gateway.listen, [format!("{head}{headers}connection: close\r\n\r\n")]).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{headers}: {answer}");
    }
}
