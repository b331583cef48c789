//! Stopping: what runs may finish, what comes is told, what does not finish is cut, and all of it is settled.

use farthing::ledger::open_views;
use farthing::simulator::Reply;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{ASK, ASK_STREAM, Events, Setup, World, luna, raw, stop};

/// Fates and statuses as an outsider reads them once the process is gone.
fn rows(folder: &tempfile::TempDir) -> Vec<(String, String)> {
    let views = open_views(&folder.path().join("farthing.db")).expect("the views open");
    let sql = "select a.fate, r.status from attempts_v1 a join requests_v1 r using (request_id) order by attempt_id";
    let mut statement = views.prepare(sql).expect("valid SQL");
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).expect("a query");
    rows.collect::<Result<_, _>>().expect("rows")
}

fn by_hand(request: &str) -> String {
    format!("{request} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n")
}

/// A world with one open stream, its first event read.
async fn with_an_open_stream(server: &str) -> (World, Events) {
    let replies = [Reply::tokens(5).stalls_after(2), Reply::text("ok")];
    let world = Setup::of(luna(replies)).server(server).start().await;
    let mut stream = world.stream(ASK_STREAM).await;
    stream.take(2).await;
    (world, stream)
}

#[tokio::test]
async fn an_open_stream_finishes_while_new_requests_are_told_to_go_elsewhere() {
    let (world, mut stream) = with_an_open_stream("drain_timeout: 1h").await;
    let World { gateway, provider, folder, mut log, .. } = world;
    let (listen, admin) = (gateway.listen, gateway.admin_listen);
    let stopping = tokio::spawn(stop(gateway));
    log.wait_for(|lines| lines.iter().any(|line| line["event"] == "draining")).await.expect("a log");
    let refused = raw(listen, [by_hand("POST /v1/chat/completions")]).await;
    assert!(refused.starts_with("HTTP/1.1 503 ") && refused.contains("\"draining\""), "{refused}");
    assert!(refused.to_lowercase().contains("\r\nretry-after: "), "{refused}");
    assert!(raw(listen, [by_hand("GET /healthz")]).await.starts_with("HTTP/1.1 200 "));
    assert!(raw(listen, [by_hand("GET /readyz")]).await.starts_with("HTTP/1.1 503 "));
    let close = "GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    assert!(raw(admin, [close]).await.starts_with("HTTP/1.1 503 "), "operators see it too");
    provider.release();
    let rest = stream.rest().await;
    assert_eq!(rest.last().map(String::as_str), Some("data: [DONE]\n\n"));
    stopping.await.expect("an orderly end");
    assert_eq!(rows(&folder), [("completed".to_owned(), "ok".to_owned())]);
    assert_eq!(provider.arrivals(), 1);
    assert!(tokio::net::TcpStream::connect(listen).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn what_does_not_finish_in_time_is_cut_and_settled() {
    let (world, mut stream) = with_an_open_stream("drain_timeout: 100ms").await;
    let World { gateway, provider, folder, .. } = world;
    stop(gateway).await;
    assert_eq!(rows(&folder), [("cut".to_owned(), "draining".to_owned())]);
    provider.hung_up(1).await.expect("the provider's call is given up");
    let last = stream.rest().await;
    assert!(matches!(&last[..], [error] if error.contains("\"code\":\"draining\"")), "the client is told: {last:?}");
}

#[tokio::test]
async fn idle_connections_do_not_delay_the_end() {
    let world = Setup::of(luna([Reply::text("ok")])).server("drain_timeout: 1h").start().await;
    assert_eq!(world.chat(ASK).await.status, 200);
    let idle = tokio::net::TcpStream::connect(world.gateway.listen).await.expect("a listening door");
    assert_eq!(world.chat(ASK).await.status, 200);
    let World { gateway, client, folder, .. } = world;
    stop(gateway).await;
    drop((idle, client));
    assert_eq!(rows(&folder).len(), 2);
}

#[tokio::test]
async fn a_request_that_meets_the_stop_on_its_way_is_told_and_not_dropped() {
    let (world, stream) = with_an_open_stream("drain_timeout: 1h").await;
    let World { gateway, provider, mut log, .. } = world;
    let mut early = tokio::net::TcpStream::connect(gateway.listen).await.expect("a listening door");
    // Connections are accepted in turn: once a later one is served, the early one is in.
    let later = "GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    assert!(raw(gateway.listen, [later]).await.starts_with("HTTP/1.1 200 "));
    let stopping = tokio::spawn(stop(gateway));
    log.wait_for(|lines| lines.iter().any(|line| line["event"] == "draining")).await.expect("a log");
    early.write_all(by_hand("POST /v1/chat/completions").as_bytes()).await.expect("an open connection");
    let mut start = [0; 13];
    early.read_exact(&mut start).await.expect("an answer, not a closed door");
    assert_eq!(&start, b"HTTP/1.1 503 ");
    provider.release();
    drop((early, stream));
    stopping.await.expect("an orderly end");
}
