//! A process with few file descriptors: silence uses none up for long, and their want is nobody else's fault.

use std::process::Command;

use farthing::simulator::Reply;
use http::Request;
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::process::{FARTHING, Served};
use crate::support::{ASK, PATIENCE, luna, raw};

/// `farthing serve` in front of `provider`, with so many descriptors and no way to more.
fn serve(folder: &TempDir, provider: &str, descriptors: u32) -> Served {
    let config = folder.path().join("farthing.yaml");
    let text = format!(
        "server: {{ listen: 127.0.0.1:0, admin_listen: 127.0.0.1:0, drain_timeout: 1s }}\n\
         providers:\n  sim: {{ protocol: openai, vendor: openai, base_url: {provider}, models: [\"*\"] }}\n\
         dispatch: {{ retries: 0, circuit: {{ failures: 1, cool_down: 1h }} }}\n\
         ledger: {{ path: farthing.db }}\n"
    );
    std::fs::write(&config, text).expect("a file");
    let mut command = Command::new("sh");
    command.args(["-c", &format!("ulimit -n {descriptors}; exec \"$0\" serve --config \"$1\""), FARTHING]).arg(config);
    Served::start_with(command)
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
}

fn post() -> String {
    let length = ASK.len();
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{ASK}"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_connections_make_room_for_those_that_speak() {
    let provider = luna([Reply::text("ok")]).start().await.expect("a provider");
    let folder = tempfile::tempdir().expect("a folder");
    let served = serve(&folder, &provider.base_url(), 200);
    let (listen, admin) =
        (served.listen.parse().expect("an address"), served.admin_listen.parse().expect("an address"));
    let mut silent = Vec::new();
    for door in [listen, admin] {
        for _ in 0..300 {
            silent.push(TcpStream::connect(door).await.expect("a listening door"));
        }
    }
    for _ in 0..3 {
        let answer = raw(listen, [post()]).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(raw(admin, [get("/metrics")]).await.starts_with("HTTP/1.1 200 "));
    }
    drop(silent);
    let log = served.kill();
    assert!(!log.contains("circuit_opened"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_for_which_no_descriptor_is_left_is_our_overload_and_no_ill_health() {
    let provider = luna([Reply::tokens(2).stalls_after(1)]).start().await.expect("a provider");
    let folder = tempfile::tempdir().expect("a folder");
    let served = serve(&folder, &provider.base_url(), 200);
    let client: Client<_, Full<bytes::Bytes>> = Client::builder(TokioExecutor::new()).http2_only(true).build_http();
    let body = crate::support::ASK_STREAM;
    let (mut open, mut refused) = (Vec::new(), 0);
    for _ in 0..200 {
        let uri = format!("http://{}/v1/chat/completions", served.listen);
        let request = Request::post(uri).body(Full::from(body)).expect("a request");
        let answer =
            tokio::time::timeout(PATIENCE, client.request(request)).await.expect("in time").expect("an answer");
        match answer.status().as_u16() {
            200 => open.push(answer),
            503 => {
                let got = crate::support::whole(answer).await;
                assert_eq!((&*got.code(), got.header("retry-after")), ("overloaded", "1"), "{}", got.text());
                refused += 1;
            }
            other => panic!("{other}: {}", crate::support::whole(answer).await.text()),
        }
    }
    assert!(open.len() > 20 && refused > 20, "{} open, {refused} refused", open.len());
    let admin = served.admin_listen.parse().expect("an address");
    assert!(raw(admin, [get("/metrics")]).await.starts_with("HTTP/1.1 200 "), "operators see it");
    let log = served.kill();
    assert!(!log.contains("circuit_opened"), "{log}");
}
