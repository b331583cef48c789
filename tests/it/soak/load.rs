//! Clients of all kinds: patient and not, with good and bad bodies, under names without end.

use std::time::{Duration, Instant};

use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper_util::client::legacy::Client as Http;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::process::Chance;

pub const MODELS: [&str; 3] = ["gpt-5.6-luna", "gpt-5.6-terra", "gpt-5.6-sol"];
pub const TEAMS: u64 = 80;
/// Longest pause between two requests of one client, in milliseconds.
const PAUSE_MS: u64 = 120;
/// How a provider answers; what goes well is said several times.
const MANNERS: [&str; 28] = [
    "plain",
    "plain",
    "plain",
    "plain",
    "long",
    "long",
    "slow",
    "tools",
    "tools",
    "echo",
    "echo",
    "pieces",
    "uncounted",
    "unended",
    "twice",
    "late",
    "resets",
    "refuses",
    "ends",
    "torn",
    "fails",
    "stalls",
    "busy",
    "broken",
    "page",
    "locked",
    "wrong",
    "garbage",
];

/// The keys that stay.
pub fn keys() -> impl Iterator<Item = String> {
    (0..4).map(|number| format!("fk-soak-{number}"))
}

/// The key of one reload, gone with the next.
pub fn passing_key(number: u64) -> String {
    format!("fk-passing-{number}")
}

/// One thing that a client did.
pub struct Did {
    /// What, and how it ended.
    pub what: String,
    /// The request's id if its answer came in full.
    pub complete: Option<String>,
}

/// When a client leaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Leaves {
    Never,
    /// So many milliseconds after it has asked, whatever has come.
    After(u64),
    /// After so many frames.
    Within(u64),
    /// With everything but the last event.
    BeforeTheEnd,
}

pub struct Client {
    listen: String,
    chance: Chance,
    http: Http<HttpConnector, Full<Bytes>>,
}

/// One request that must be answered in full.
pub async fn one_plain_request(listen: &str) {
    let client = Client::new(listen.to_owned(), 0);
    let body = json!({"model": MODELS[0], "messages": [{"role": "user", "content": "<plain>"}]});
    let did = client.ask(&body.to_string(), HeaderMap::new(), "fk-soak-0", Leaves::Never).await;
    assert!(did.complete.is_some(), "{}", did.what);
}

/// Asks under every combination of the first names, so that the metrics have filled their room before they are read.
pub async fn every_common_name(listen: &str) {
    let client = Client::new(listen.to_owned(), 0);
    for number in 0..25 * 6 {
        let mut headers = HeaderMap::new();
        for (name, value) in [("team", number % 5), ("project", number / 5 % 5), ("task", number % 5)] {
            let value = format!("{name}-{value}").parse().expect("a valid value");
            headers.insert(http::HeaderName::try_from(format!("x-farthing-{name}")).expect("a valid name"), value);
        }
        let asked = ["frontier", "lightweight", "gone/gone-luna"];
        let model = MODELS.iter().chain(&asked).nth(number / 25).expect("one of six");
        let body = json!({"model": model, "messages": [{"role": "user", "content": "<plain>"}]});
        client.ask(&body.to_string(), headers, "fk-soak-0", Leaves::Never).await;
    }
}

impl Client {
    pub fn new(listen: String, number: u64) -> Self {
        Self { listen, chance: Chance(number), http: Http::builder(TokioExecutor::new()).build_http() }
    }

    /// Asks and pauses in turn: the load is meant to leave the machine room.
    pub async fn ask_until(mut self, end: Instant) -> Vec<Did> {
        let mut did = Vec::new();
        while Instant::now() < end {
            did.push(self.do_something().await);
            tokio::time::sleep(Duration::from_millis(self.chance.below(PAUSE_MS))).await;
            if self.chance.below(50) == 0 {
                // New connections; those of before are closed with their client.
                self.http = Http::builder(TokioExecutor::new()).build_http();
            }
        }
        did
    }

    async fn do_something(&mut self) -> Did {
        let key = format!("fk-soak-{}", self.chance.below(4));
        match self.chance.below(100) {
            0..70 => self.question(&key, Leaves::Never).await,
            70..74 => {
                let leaves = Leaves::After(self.chance.below(30));
                self.question(&key, leaves).await
            }
            74..80 => {
                let leaves = Leaves::Within(1 + self.chance.below(20));
                self.question(&key, leaves).await
            }
            80..83 => self.question(&key, Leaves::BeforeTheEnd).await,
            83..88 => self.half_a_request(&key).await,
            88..90 => self.question("fk-nobody", Leaves::Never).await,
            90..92 => {
                let passing = passing_key(self.chance.below(300));
                self.question(&passing, Leaves::Never).await
            }
            92..96 => {
                let body = self.chance.pick(&["", "{", "[1]", "{\"model\": 7}", "{\"model\": \"a\", \"messages\": 1}"]);
                self.ask(body, HeaderMap::new(), &key, Leaves::Never).await
            }
            _ => {
                let path = self.chance.pick(&["/v1/models", "/v1/nothing", "/healthz"]);
                let request = Request::get(format!("http://{}{path}", self.listen)).header("x-api-key", &key);
                let answered = self.http.request(request.body(Full::default()).expect("a valid request")).await;
                let status = answered.map_or(0, |answered| answered.status().as_u16());
                Did { what: format!("GET {path}: {status}"), complete: None }
            }
        }
    }

    /// A question with names and a body of its own.
    async fn question(&mut self, key: &str, leaves: Leaves) -> Did {
        let chance = &mut self.chance;
        let mut headers = HeaderMap::new();
        for (name, values) in [("team", TEAMS), ("project", 1_000), ("task", 300), ("prompt", 5_000), ("user", 1 << 40)]
        {
            // A few names come again and again, so that their combinations are all there before long.
            let values = chance.pick(&[8, values]);
            let value = format!("{name}-{}", chance.below(values)).parse().expect("a valid value");
            headers.insert(http::HeaderName::try_from(format!("x-farthing-{name}")).expect("a valid name"), value);
        }
        let model = match chance.below(20) {
            0 => format!("invented-{}", chance.below(100_000)),
            1 => "frontier".to_owned(),
            2..=5 => "lightweight".to_owned(),
            6 => "gone/gone-luna".to_owned(),
            _ => chance.pick(&MODELS).to_owned(),
        };
        let manner = chance.pick(&MANNERS);
        let kib = match chance.below(200) {
            0 => 1_500,
            // Beyond what is taken.
            1 => 2_100,
            2..12 => 100,
            12..40 => 10,
            _ => 0,
        };
        let messages = json!([
            {"role": "system", "content": format!("It is minute {}.", chance.below(1 << 30))},
            {"role": "assistant", "content": "row by row ".repeat(kib * 93)},
            {"role": "user", "content": format!("<{manner}> {}", chance.below(1_000))},
        ]);
        let body = json!({
            "model": model, "stream": chance.below(3) > 0, "max_completion_tokens": 200, "n": 1 + chance.below(2),
            "messages": messages,
        });
        let did = self.ask(&body.to_string(), headers, key, leaves).await;
        let Did { what, complete } = did;
        Did { what: if leaves == Leaves::Never { what } else { format!("{what} (in a hurry)") }, complete }
    }

    async fn ask(&self, body: &str, headers: HeaderMap, key: &str, leaves: Leaves) -> Did {
        let mut request = Request::post(format!("http://{}/v1/chat/completions", self.listen))
            .header("x-api-key", key)
            .body(Full::new(Bytes::copy_from_slice(body.as_bytes())))
            .expect("a valid request");
        request.headers_mut().extend(headers);
        let asked = async {
            let Ok(answered) = self.http.request(request).await else {
                return Did { what: "broke off before its head".to_owned(), complete: None };
            };
            read(answered, leaves).await
        };
        let Leaves::After(millis) = leaves else { return asked.await };
        let left = || Did { what: "left at some moment".to_owned(), complete: None };
        tokio::time::timeout(Duration::from_millis(millis), asked).await.unwrap_or_else(|_| left())
    }

    /// Sends a part of a request and closes, sometimes after a look at what comes.
    async fn half_a_request(&mut self, key: &str) -> Did {
        let head = format!("POST /v1/chat/completions HTTP/1.1\r\nhost: {}\r\nx-api-key: {key}\r\n", self.listen);
        let whole = format!("{head}content-length: 5000\r\n\r\n{{\"model\": \"gpt-5.6-luna\", \"messages\": [");
        let end = 1 + usize::try_from(self.chance.below(whole.len() as u64 - 1)).expect("a small number");
        let what = "half a request".to_owned();
        if let Ok(mut stream) = TcpStream::connect(&self.listen).await {
            let written = stream.write_all(&whole.as_bytes()[..end]).await;
            if written.is_ok() && self.chance.below(2) == 0 {
                let wait = stream.read_u8();
                drop(tokio::time::timeout(Duration::from_millis(self.chance.below(20)), wait).await);
            }
        }
        Did { what, complete: None }
    }
}

async fn read(answered: http::Response<Incoming>, leaves: Leaves) -> Did {
    let (head, mut body) = answered.into_parts();
    let status = head.status.as_u16();
    let mut bytes = Vec::new();
    let mut frames = 0;
    let ended = loop {
        match body.frame().await {
            Some(Ok(frame)) => bytes.extend_from_slice(&frame.into_data().unwrap_or_default()),
            Some(Err(_)) => break "broken off",
            None => break "ended",
        }
        frames += 1;
        let at_the_end = bytes.windows(9).any(|text| text == b"\"finish_r") && bytes.ends_with(b"\n\n");
        if leaves == Leaves::Within(frames) || (leaves == Leaves::BeforeTheEnd && at_the_end) {
            break "left";
        }
    };
    let is_stream = head.headers.get("content-type").is_some_and(|kind| kind.as_bytes().starts_with(b"text/event"));
    let in_full = if is_stream {
        bytes.ends_with(b"data: [DONE]\n\n")
    } else {
        serde_json::from_slice::<Value>(&bytes).is_ok_and(|answer| answer["object"] == "chat.completion")
    };
    let id = head.headers.get("x-request-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
    let kind = if is_stream { "stream" } else { "whole" };
    let fullness = if in_full { "in full" } else { "not in full" };
    Did { what: format!("{kind} {status}, {ended}, {fullness}"), complete: id.filter(|_| in_full && ended == "ended") }
}
