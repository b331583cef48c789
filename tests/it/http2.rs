//! HTTP/2 on the port of HTTP/1.1: the same answers, many at once, and bounds that one client cannot outgrow.

use farthing::simulator::Reply;
use http::{Method, Request, Response};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::{ASK, ASK_STREAM, Events, PATIENCE, Setup, World, luna, raw, stop, whole};

type H2 = Client<HttpConnector, Full<Bytes>>;

/// A client that knows that the gateway speaks HTTP/2.
fn h2() -> H2 {
    Client::builder(TokioExecutor::new()).http2_only(true).build_http()
}

async fn post(world: &World, client: &H2, body: &str) -> Response<Incoming> {
    let uri = format!("http://{}/v1/chat/completions", world.gateway.listen);
    let request = Request::post(uri).body(Full::from(body.to_owned())).expect("a valid request");
    timeout(PATIENCE, client.request(request)).await.expect("an answer in time").expect("the gateway answers")
}

/// A bare connection with the given window for each stream.
async fn connect(world: &World, window: u32) -> h2::client::SendRequest<Bytes> {
    let stream = TcpStream::connect(world.gateway.listen).await.expect("a listening door");
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(window).initial_connection_window_size(1 << 24);
    let (sender, connection) = builder.handshake(stream).await.expect("a preface");
    tokio::spawn(connection);
    sender
}

fn ask_stream(world: &World) -> Request<()> {
    Request::post(format!("http://{}/v1/chat/completions", world.gateway.listen)).body(()).expect("a valid request")
}

#[tokio::test]
async fn whole_and_streamed_answers_are_those_of_http_1() {
    let world = World::new(luna([Reply::text("ok"), Reply::text("ok"), Reply::tokens(3)]), "").await;
    let client = h2();
    let response = post(&world, &client, ASK).await;
    assert_eq!(response.version(), http::Version::HTTP_2);
    let got = whole(response).await;
    let old = world.chat(ASK).await;
    assert_eq!((got.status, got.header("x-farthing-model")), (200, old.header("x-farthing-model")));
    assert_eq!(got.json()["choices"], old.json()["choices"]);
    let mut events = Events::of(post(&world, &client, ASK_STREAM).await);
    assert_eq!(events.rest().await.last().map(String::as_str), Some("data: [DONE]\n\n"));
    assert_eq!(world.fates(), ["completed"; 3]);
    world.the_ledger_holds_the_invoice();
}

#[tokio::test]
async fn many_streams_of_one_connection_run_at_once() {
    let world = World::new(luna((0..21).map(|_| Reply::tokens(3).stalls_after(1))), "").await;
    let client = h2();
    drop(whole(post(&world, &client, "{}").await).await);
    let mut streams = Vec::new();
    for _ in 0..20 {
        let mut events = Events::of(post(&world, &client, ASK_STREAM).await);
        events.take(1).await;
        streams.push(events);
    }
    assert_eq!(world.fates(), ["open"; 20]);
    world.provider.release();
    for mut events in streams {
        assert_eq!(events.rest().await.last().map(String::as_str), Some("data: [DONE]\n\n"));
    }
    assert_eq!(world.fates(), ["completed"; 20]);
}

#[tokio::test]
async fn a_stream_that_is_reset_is_cut_and_its_neighbours_go_on() {
    let world = World::new(luna([Reply::tokens(5).stalls_after(2), Reply::tokens(3).stalls_after(1)]), "").await;
    let client = h2();
    let mut left = Events::of(post(&world, &client, ASK_STREAM).await);
    left.take(2).await;
    let mut stays = Events::of(post(&world, &client, ASK_STREAM).await);
    stays.take(1).await;
    drop(left);
    world.provider.hung_up(1).await.expect("the provider's call is given up");
    world.logged("request", 1).await;
    world.provider.release();
    assert_eq!(stays.rest().await.last().map(String::as_str), Some("data: [DONE]\n\n"));
    assert_eq!(world.fates(), ["cut", "completed"]);
}

#[tokio::test]
async fn a_stream_without_room_holds_its_provider_back_and_not_its_neighbours() {
    let chunk = format!("data: {{\"choices\":[],\"x\":\"{}\"}}\n\n", "x".repeat(1 << 20));
    let world = World::new(luna([Reply::raw_events(vec![chunk; 100]), Reply::text("ok")]), "").await;
    let mut sender = connect(&world, 64 << 10).await.ready().await.expect("room");
    let (response, mut body) = sender.send_request(ask_stream(&world), false).expect("a stream");
    body.send_data(Bytes::from_static(ASK_STREAM.as_bytes()), true).expect("room");
    let mut unread = response.await.expect("an answer").into_body();
    assert!(unread.data().await.is_some());
    for _ in 0..20 {
        let mut ready = sender.clone().ready().await.expect("room");
        let (response, mut body) = ready.send_request(ask_stream(&world), false).expect("a stream");
        body.send_data(Bytes::from_static(ASK.as_bytes()), true).expect("room");
        assert_eq!(response.await.expect("an answer").status(), 200);
    }
    let sent = world.provider.requests()[0].frames();
    assert!(sent < 100, "{sent} MiB for a stream that has room for none");
    body.send_reset(h2::Reason::CANCEL);
    world.provider.hung_up(1).await.expect("the provider's call is given up");
}

#[tokio::test]
async fn a_flood_of_resets_ends_its_connection_and_no_other() {
    let world = World::new(luna([Reply::text("ok")]), "").await;
    let mut sender = connect(&world, 64 << 10).await;
    let flood = async {
        for _ in 0..100_000 {
            let mut ready = sender.ready().await?;
            let (_, mut body) = ready.send_request(ask_stream(&world), false)?;
            // The request has to leave before it is taken back.
            tokio::task::yield_now().await;
            body.send_reset(h2::Reason::CANCEL);
            sender = ready;
        }
        Ok(())
    };
    let ended: Result<(), h2::Error> = timeout(PATIENCE, flood).await.expect("an end in time");
    let error = ended.expect_err("the connection is ended");
    assert!(error.is_io() || error.reason() == Some(h2::Reason::ENHANCE_YOUR_CALM), "{error:?}");
    assert_eq!(world.chat(ASK).await.status, 200);
    assert_eq!(world.provider.arrivals(), 1);
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let world = World::new(luna([Reply::text("ok")]), "").await;
    let client = h2();
    let uri = format!("http://{}/v1/models", world.gateway.listen);
    let request = Request::get(&*uri).header("x-wide", "v".repeat(256 << 10)).body(Full::default()).expect("a request");
    let refused = client.request(request).await;
    assert!(refused.is_err() || refused.is_ok_and(|response| response.status() == 431));
    let request = Request::get(&*uri).body(Full::default()).expect("a request");
    assert_eq!(client.request(request).await.expect("an answer").status(), 200);
}

#[tokio::test]
async fn stopping_lets_streams_finish_and_refuses_what_comes_after() {
    let replies = [Reply::tokens(5).stalls_after(2), Reply::text("ok")];
    let world = Setup::of(luna(replies)).server("drain_timeout: 1h").start().await;
    let client = h2();
    let mut stream = Events::of(post(&world, &client, ASK_STREAM).await);
    stream.take(2).await;
    let World { gateway, provider, mut log, .. } = world;
    let listen = gateway.listen;
    let stopping = tokio::spawn(stop(gateway));
    log.wait_for(|lines| lines.iter().any(|line| line["event"] == "draining")).await.expect("a log");
    let uri = format!("http://{listen}/v1/chat/completions");
    let request = Request::post(uri).body(Full::from(ASK)).expect("a valid request");
    assert_eq!(client.request(request).await.expect("an answer, not a closed door").status(), 503);
    provider.release();
    assert_eq!(stream.rest().await.last().map(String::as_str), Some("data: [DONE]\n\n"));
    drop(client);
    stopping.await.expect("an orderly end");
}

#[tokio::test]
async fn a_connection_without_requests_that_answers_no_ping_does_not_delay_the_end() {
    let world = Setup::of(luna([Reply::text("ok")])).server("drain_timeout: 1h").start().await;
    let mut silent = TcpStream::connect(world.gateway.listen).await.expect("a listening door");
    let (settings, acknowledged) = (b"\0\0\0\x04\0\0\0\0\0", b"\0\0\0\x04\x01\0\0\0\0");
    silent.write_all(&[&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], settings].concat()).await.expect("it is there");
    // Its own settings: from here on it speaks HTTP/2.
    silent.read_exact(&mut [0; 9]).await.expect("a frame");
    silent.write_all(acknowledged).await.expect("it is there");
    stop(world.gateway).await;
}

#[tokio::test]
async fn what_does_not_finish_in_time_is_cut_and_settled_before_the_ledger_closes() {
    let setup = Setup::of(luna([Reply::tokens(5).stalls_after(2)])).server("drain_timeout: 100ms");
    let world = setup.start().await;
    let mut stream = Events::of(post(&world, &h2(), ASK_STREAM).await);
    stream.take(2).await;
    let World { gateway, provider, folder, .. } = world;
    stop(gateway).await;
    let views = farthing::ledger::open_views(&folder.path().join("farthing.db")).expect("the views open");
    let sql = "select a.fate || ' ' || r.status from attempts_v1 a join requests_v1 r using (request_id)";
    let row: String = views.query_row(sql, [], |row| row.get(0)).expect("one row");
    assert_eq!(row, "cut draining");
    provider.hung_up(1).await.expect("the provider's call is given up");
    let last = stream.rest().await;
    assert!(matches!(&last[..], [error] if error.contains("\"code\":\"draining\"")), "the client is told: {last:?}");
}

#[tokio::test]
async fn a_preface_that_breaks_off_and_one_that_goes_wrong_are_turned_away() {
    let world = World::new(luna([Reply::text("ok")]), "").await;
    let answer = raw(world.gateway.listen, ["PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"]).await;
    assert!(answer.starts_with("HTTP/1.1 400") || answer.starts_with("HTTP/1.1 505"), "{answer:?}");
    let nothing =
        raw(world.gateway.listen, ["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nGET / HTTP/1.1\r\nhost: localhost\r\n\r\n"]).await;
    assert!(!nothing.contains("HTTP/1.1"), "{nothing:?}");
    assert_eq!(world.get("/healthz", &[]).await.status, 200);
    assert_eq!(whole(world.send(Method::GET, "/v1/models", &[], Bytes::new()).await).await.status, 200);
}
