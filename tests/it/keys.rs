//! Keys that are made, rotated and revoked while the gateway serves: through the admin API, and by the binary.

mod api;
mod command;
mod store;
mod terms;

use std::fs;
use std::path::Path;
use std::process::Output;
use std::time::Duration;

use farthing::keys::{Store, Who};
use farthing::money::NanoUsd;
use farthing::simulator::{Provider, Reply};
use farthing::telemetry::log::now_ms;
use http::{Method, Request};
use http_body_util::Full;
use hyper::body::Bytes;
use serde_json::{Value, json};

use crate::process::{Served, run};
use crate::support::{ASK, ASK_STREAM, Events, Got, PATIENCE, Setup, World, ask, luna, whole};

const ADMIN_KEY: &str = "CanaryOfOperators51c2";

/// A gateway with an admin key.
async fn world(provider: Provider, more: &str) -> World {
    let setup = Setup::of(provider).file("admin", ADMIN_KEY);
    setup.server("drain_timeout: 5s, admin_key: \"file:admin\"").more(more).start().await
}

async fn ok_world(more: &str) -> World {
    world(luna([Reply::text("ok")]), more).await
}

impl World {
    async fn api(&self, method: Method, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Got {
        let uri = format!("http://{}/admin/api/{path}", self.gateway.admin_listen);
        let mut request = Request::builder().method(method).uri(uri);
        if !headers.iter().any(|(name, _)| *name == "authorization") {
            request = request.header("authorization", format!("Bearer {ADMIN_KEY}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into())).expect("a valid request");
        whole(self.client.request(request).await.expect("the operators' door answers")).await
    }

    async fn make(&self, wanted: Value) -> String {
        let got = self.api(Method::POST, "keys", &[], wanted.to_string()).await;
        assert_eq!(got.status, 201, "{}", got.text());
        secret(&got)
    }

    async fn asks(&self, secret: &str) -> u16 {
        self.chat_as(ASK, &[("authorization", &format!("Bearer {secret}"))]).await.status
    }

    /// Asks again and again until the status is another one; what a test expects within moments.
    async fn asks_until(&self, secret: &str, status: u16) {
        let asking = async { while self.asks(secret).await != status {} };
        tokio::time::timeout(PATIENCE, asking).await.unwrap_or_else(|_| panic!("never {status}"));
    }

    fn config(&self) -> String {
        self.folder.path().join("farthing.yaml").display().to_string()
    }

    fn store(&self) -> Store {
        Store::open_or_make(&self.folder.path().join("farthing.keys.db")).expect("a key store")
    }

    /// Why the log says that the `number`-th request was refused.
    async fn refused_for(&self, number: usize) -> String {
        let mut log = self.log.clone();
        let refused = |lines: &Vec<Value>| {
            lines.iter().filter(|line| line["status"] == "invalid_api_key").nth(number - 1).cloned()
        };
        let lines = tokio::time::timeout(PATIENCE, log.wait_for(|lines| refused(lines).is_some())).await;
        let line = refused(&lines.expect("a refusal in time").expect("an open log")).expect("it was there");
        line["detail"].as_str().unwrap_or_default().to_owned()
    }
}

fn secret(got: &Got) -> String {
    got.json()["secret"].as_str().expect("a secret").to_owned()
}

#[tokio::test]
async fn a_key_opens_the_door_at_once_and_closes_it_for_everybody_else() {
    let world = ok_world("").await;
    assert_eq!(world.chat(ASK).await.status, 200);
    let secret = world.make(json!({ "name": "ci", "team": "data", "project": "orders" })).await;
    assert_eq!(world.asks(&secret).await, 200);
    let without = world.chat(ASK).await;
    assert_eq!((without.status, &*without.code()), (401, "invalid_api_key"));
    assert_eq!(world.asks("fk-of-nobody").await, 401);
    assert_eq!(world.refused_for(2).await, "unknown");
    let rows = world.rows("select team, key, project from requests_v1 where key <> ''");
    let text = |text: &str| rusqlite::types::Value::Text(text.to_owned());
    assert_eq!(rows, [[text("data"), text("ci"), text("orders")]]);
}

#[tokio::test]
async fn a_revoked_key_is_out_at_once_and_its_stream_goes_on() {
    let slow = Reply::tokens(20).gap(Duration::from_millis(20));
    let world = world(luna([slow]), "").await;
    let secret = world.make(json!({ "name": "ci", "team": "data" })).await;
    let response = world.post(ASK_STREAM, &[("x-api-key", &secret)]).await;
    let mut events = Events::of(response);
    assert!(events.next().await.is_some());
    let revoked = world.api(Method::DELETE, "keys/ci", &[], "").await;
    assert_eq!((revoked.status, &revoked.json()["key"]["state"]), (200, &json!("revoked")));
    let refused = world.chat_as(ASK, &[("x-api-key", &secret)]).await;
    assert_eq!((refused.status, &*refused.code()), (401, "invalid_api_key"));
    assert!(!refused.text().contains("revoked"), "{}", refused.text());
    assert_eq!(world.refused_for(1).await, "revoked: `ci`");
    let mut last = String::new();
    while let Some(event) = events.next().await {
        last = event;
    }
    assert_eq!(last, "data: [DONE]\n\n");
    // The last key is gone, and the door stays closed.
    assert_eq!(world.chat(ASK).await.status, 401);
}

#[tokio::test]
async fn a_rotated_key_has_both_secrets_for_the_overlap() {
    let world = ok_world("").await;
    let old = world.make(json!({ "name": "ci", "team": "data" })).await;
    let rotated = world.api(Method::POST, "keys/ci/rotate", &[], r#"{"overlap":"24h"}"#).await;
    assert_eq!(rotated.status, 200);
    assert_eq!(rotated.json()["key"]["old_secrets"][0]["prefix"].as_str(), Some(&*format!("{}…", &old[..7])));
    let new = secret(&rotated);
    assert_eq!((world.asks(&old).await, world.asks(&new).await), (200, 200));
    let newest = secret(&world.api(Method::POST, "keys/ci/rotate", &[], "").await);
    assert_eq!((world.asks(&old).await, world.asks(&new).await, world.asks(&newest).await), (401, 401, 200));
    assert_eq!(world.refused_for(1).await, "expired: `ci`");
    let overlap = world.api(Method::POST, "keys/ci/rotate", &[], r#"{"overlap":"soon"}"#).await;
    assert_eq!((overlap.status, &*overlap.code()), (400, "invalid_body"));
}

fn farthing_keys(config: &str, arguments: &[&str]) -> Output {
    let mut all = vec!["keys", arguments[0], "--config", config];
    all.extend(&arguments[1..]);
    run(&all)
}

#[track_caller]
fn out(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).expect("text")
}

#[tokio::test]
async fn no_secret_is_in_logs_metrics_or_files() {
    let world = ok_world("").await;
    let first = world.make(json!({ "name": "ci", "team": "data" })).await;
    let once = [("idempotency-key", "CanaryIdempotencyKey62d3")];
    let second = secret(&world.api(Method::POST, "keys/ci/rotate", &once, r#"{"overlap":"1h"}"#).await);
    assert_eq!((world.asks(&first).await, world.asks(&second).await), (200, 200));
    world.api(Method::DELETE, &format!("keys/{first}"), &[], "").await;
    world.api(Method::DELETE, "keys/ci", &[], "").await;
    assert_eq!(world.asks(&first).await, 401);
    let mut places = vec![("the log".to_owned(), world.log_text().into_bytes())];
    places.push(("the metrics".to_owned(), world.admin("/metrics", &[]).await.body.to_vec()));
    for entry in fs::read_dir(world.folder.path()).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_file() && !path.ends_with("admin") {
            places.push((path.display().to_string(), fs::read(&path).expect("a readable file")));
        }
    }
    for (place, bytes) in &places {
        for word in [&*first, &*second, "CanaryIdempotencyKey62d3", ADMIN_KEY] {
            assert!(!bytes.windows(word.len()).any(|window| window == word.as_bytes()), "a secret is in {place}");
        }
    }
    assert!(places.iter().any(|(place, _)| place.ends_with("farthing.keys.db")));
}

/// The status of `GET /v1/models`.
fn status_of(listen: &str, secret: &str) -> u16 {
    let got = exchange(listen, "GET /v1/models", &format!("x-api-key: {secret}"), "");
    got.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status")
}

/// One request by hand, and all that comes back.
fn exchange(listen: &str, what: &str, headers: &str, body: &str) -> String {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(listen).expect("a listener");
    let head = format!("{what} HTTP/1.1\r\nhost: {listen}\r\nconnection: close\r\n{headers}\r\n\r\n");
    stream.write_all(format!("{head}{body}").as_bytes()).expect("sent");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer");
    text
}
