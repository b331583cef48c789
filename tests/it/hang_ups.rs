//! Clients that leave: the provider is told, and what may have been billed is settled as cut.

use farthing::simulator::{BillsAfterCut, ModelScript, Provider, Reply};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::{ASK, ASK_STREAM, Setup, World, luna};

const HABITS: [BillsAfterCut; 3] = [BillsAfterCut::None, BillsAfterCut::SoFar, BillsAfterCut::All];

/// What the row says of its provider; it never says more than that bills.
fn after_cut(habit: BillsAfterCut) -> &'static str {
    match habit {
        BillsAfterCut::None => "after_cut: nothing",
        BillsAfterCut::SoFar => "after_cut: so_far",
        BillsAfterCut::All => "after_cut: all",
    }
}

async fn world_of(habit: BillsAfterCut, reply: Reply) -> World {
    let luna = ModelScript::named("gpt-5.6-luna").bills_after_cut(habit).then(reply);
    Setup::of(Provider::openai().model(luna)).row(after_cut(habit)).start().await
}

/// Sends a request by hand and waits until the provider has it.
async fn send_by_hand(world: &World, body: &str) -> TcpStream {
    let mut stream = TcpStream::connect(world.gateway.listen).await.expect("a listening door");
    let head =
        format!("POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all(format!("{head}{body}").as_bytes()).await.expect("an open connection");
    world.provider.arrival(1).await.expect("the provider is called");
    stream
}

/// The one attempt is cut, and its interval holds whatever the provider bills.
async fn check_cut(world: &World, habit: BillsAfterCut) {
    world.provider.hung_up(1).await.expect("the provider's call is given up");
    world.provider.settled().await.expect("the invoice is final");
    let event = world.logged("request", 1).await;
    assert_eq!((&event["status"], &event["http_status"]), (&json!("client_closed"), &json!(499)));
    let row = world.attempts().remove(0);
    assert_eq!((&*row.fate, row.cost, &*row.source), ("cut", None, "unknown"), "{habit:?}");
    let billed = world.provider.invoice().total().0;
    assert_eq!(billed == 0, habit == BillsAfterCut::None, "{habit:?}");
    assert!(row.low <= billed && row.high.is_some_and(|high| billed <= high), "{row:?} holds {billed}");
    let request = world.requests().remove(0);
    assert_eq!((&*request.status, request.http_status, request.cost), ("client_closed", Some(499), None));
    assert_eq!((request.low, request.high), (row.low, row.high));
    assert_eq!(world.provider.arrivals(), 1, "nobody waits for a retry");
    assert_eq!(world.metric("farthing_in_flight", "").await, 0.0);
}

#[tokio::test]
async fn a_client_that_leaves_a_stream_is_settled_as_cut() {
    for habit in HABITS {
        let world = world_of(habit, Reply::tokens(20).stalls_after(6)).await;
        let mut stream = world.stream(ASK_STREAM).await;
        stream.take(6).await;
        drop(stream);
        check_cut(&world, habit).await;
        // Role, and five words of one token each: so much was surely written.
        let low = world.attempts()[0].low;
        assert_eq!(low > 0, habit != BillsAfterCut::None, "{habit:?}: {low}");
    }
}

#[tokio::test]
async fn a_client_that_leaves_before_the_answer_is_settled_as_cut() {
    for habit in HABITS {
        for body in [ASK, ASK_STREAM] {
            let reply = if body == ASK { Reply::tokens(20).stalls_after(1) } else { Reply::tokens(20).stalls_after(0) };
            let world = world_of(habit, reply).await;
            let stream = send_by_hand(&world, body).await;
            drop(stream);
            check_cut(&world, habit).await;
        }
    }
}

#[tokio::test]
async fn a_client_that_leaves_just_before_the_terminator_is_settled_too() {
    // Role, five words, finish and usage; only the terminator is missing.
    let world = world_of(BillsAfterCut::SoFar, Reply::tokens(5).stalls_after(8)).await;
    let mut stream = world.stream(ASK_STREAM).await;
    stream.take(7).await;
    world.provider.frames_sent(1, 8).await.expect("the usage is on its way");
    drop(stream);
    world.logged("request", 1).await;
    let row = world.attempts().remove(0);
    assert_eq!(row.fate, "cut");
    world.the_ledger_holds_the_invoice();
}

#[tokio::test]
async fn a_client_that_leaves_between_two_tries_leaves_no_open_row() {
    let busy = Reply::status(429).with_header("retry-after", "9");
    let world = World::new(luna([busy, Reply::text("too late")]), "").await;
    let stream = send_by_hand(&world, ASK).await;
    world.provider.settled().await.expect("the refusal is out");
    // Its row is settled before the wait begins.
    world.until("a settled row", || world.fates() == ["failed"]).await;
    drop(stream);
    let event = world.logged("request", 1).await;
    assert_eq!((&event["status"], &event["attempts"]), (&json!("client_closed"), &json!(1)));
    assert_eq!(world.requests()[0].cost, Some(0));
    assert_eq!(world.provider.arrivals(), 1);
}

#[tokio::test]
async fn a_client_that_leaves_while_it_sends_is_no_request() {
    let world = World::new(luna([Reply::text("ok")]), "").await;
    let mut stream = TcpStream::connect(world.gateway.listen).await.expect("a listening door");
    let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{\"model\"";
    stream.write_all(head.as_bytes()).await.expect("an open connection");
    drop(stream);
    assert_eq!(world.chat(ASK).await.status, 200);
    assert_eq!((world.requests().len(), world.provider.arrivals()), (1, 1));
}

#[tokio::test]
async fn a_client_that_reads_to_the_end_and_closes_is_no_hang_up() {
    let world = Setup::of(luna([Reply::tokens(3)])).start().await;
    for _ in 0..3 {
        world.stream(ASK_STREAM).await.rest().await;
    }
    assert_eq!((world.provider.hang_ups(), world.fates()), (0, vec!["completed".to_owned(); 3]));
}
