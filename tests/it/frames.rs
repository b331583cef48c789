//! Frame by frame: every event goes on when it is there, and only the last one waits for the ledger.

use std::time::Duration;

use farthing::simulator::Reply;

use crate::support::{ASK, ASK_STREAM, Setup, World, luna};

/// Words of the streamed answer; its events are the role, the words, the finish, the usage and `[DONE]`.
const WORDS: u64 = 3;

#[tokio::test]
async fn each_event_reaches_the_client_before_the_provider_sends_the_next() {
    // Role, words and finish; what follows is for the gateway.
    let visible = WORDS + 2;
    let world = World::new(luna((1..=visible).map(|after| Reply::tokens(WORDS).stalls_after(after))), "").await;
    for after in 1..=visible {
        let mut stream = world.stream(ASK_STREAM).await;
        let first = stream.take(usize::try_from(after).expect("a few")).await;
        let exchange = world.provider.arrival(after).await.expect("the request");
        assert_eq!(exchange.frames(), after, "the provider has sent {after} events and waits");
        assert!(first.iter().all(|event| event.starts_with("data: {")), "{first:?}");
        world.provider.release();
        let rest = stream.rest().await;
        assert_eq!(rest.last().map(String::as_str), Some("data: [DONE]\n\n"));
        assert_eq!(first.len() + rest.len(), usize::try_from(visible).expect("a few") + 2, "{first:?} {rest:?}");
    }
}

#[tokio::test]
async fn an_event_that_arrives_in_pieces_goes_on_with_its_last_byte() {
    let half = r#"data: {"choices":[{"index":0,"delta":{"content":"a"#;
    let pieces = [
        half,
        "\"}}]}\n\n",
        "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n",
    ];
    let world = World::new(luna([Reply::raw_events(pieces).stalls_after(2)]), "").await;
    let mut stream = world.stream(ASK_STREAM).await;
    assert_eq!(stream.next().await, Some(pieces[..2].concat()));
    world.provider.release();
    assert_eq!(stream.rest().await.len(), 3, "finish, cost, terminator");
}

#[tokio::test]
async fn the_row_is_settled_before_the_terminator_goes_out_and_no_sooner() {
    // All but the terminator.
    let world = World::new(luna([Reply::tokens(WORDS).stalls_after(WORDS + 3)]), "").await;
    let mut stream = world.stream(ASK_STREAM).await;
    stream.take(usize::try_from(WORDS).expect("a few") + 2).await;
    assert_eq!(world.fates(), ["open"]);
    world.provider.release();
    assert_eq!(stream.rest().await.len(), 2, "cost and terminator");
    assert_eq!(world.fates(), ["completed"]);
    world.the_ledger_holds_the_invoice();
}

#[tokio::test]
async fn a_comment_in_mid_stream_goes_on_at_once() {
    let chunk = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n";
    let world = World::new(luna([Reply::raw_events([chunk, ": keep-alive\n\n", chunk]).stalls_after(2)]), "").await;
    let mut stream = world.stream(ASK_STREAM).await;
    assert_eq!(stream.take(2).await, [chunk, ": keep-alive\n\n"]);
    world.provider.release();
    stream.rest().await;
}

#[tokio::test]
async fn a_slow_stream_is_not_a_silent_one() {
    let reply = Reply::tokens(8).gap(Duration::from_millis(60));
    let world = Setup::of(luna([reply])).dispatch("retries: 0, idle_timeout: 500ms").start().await;
    let got = world.chat(ASK_STREAM).await;
    assert!(got.text().ends_with("data: [DONE]\n\n"), "{}", got.text());
    assert_eq!(world.fates(), ["completed"]);
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_its_provider_back() {
    let chunk = format!("data: {{\"choices\":[],\"x\":\"{}\"}}\n\n", "x".repeat(1 << 20));
    let world = World::new(luna([Reply::raw_events(vec![chunk; 100]), Reply::text("ok")]), "").await;
    let mut stream = world.stream(ASK_STREAM).await;
    stream.take(1).await;
    for _ in 0..20 {
        world.chat(ASK).await;
    }
    let sent = world.provider.requests()[0].frames();
    assert!(sent < 100, "{sent} MiB for a client that has read one");
    drop(stream);
    world.provider.hung_up(1).await.expect("the provider's call is given up");
}

#[tokio::test]
async fn a_client_that_pauses_is_not_a_silent_provider() {
    let chunk = format!("data: {{\"choices\":[],\"x\":\"{}\"}}\n\n", "x".repeat(1 << 20));
    let last = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
    let pieces = vec![chunk; 40].into_iter().chain([last.to_owned()]);
    let replies = [Reply::raw_events(pieces), Reply::text("later").waits(Duration::from_millis(400))];
    let world = Setup::of(luna(replies)).dispatch("retries: 0, idle_timeout: 200ms").start().await;
    let mut stream = world.stream(ASK_STREAM).await;
    stream.take(1).await;
    // Twice as long as the provider may pause.
    assert_eq!(world.chat(ASK).await.status, 200);
    let rest = stream.rest().await;
    assert_eq!((rest.len(), rest.last().map(String::as_str)), (42, Some("data: [DONE]\n\n")));
}
