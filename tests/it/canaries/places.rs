//! The places where something comes out, gathered first and searched afterwards, so that one run tells everything.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Output;

use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use super::{ANSWER, MALFORMED, PROVIDER_KEY, USER, WORDS, unspeakable};

/// One reply, as text.
pub struct Got {
    pub status: u16,
    pub headers: String,
    pub body: String,
}

/// Sends a request and reads as much as comes.
pub async fn ask(listen: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Got {
    let response = send(listen, method, path, headers, body).await;
    let (head, mut body) = response.into_parts();
    let mut read = Vec::new();
    // A broken end is an end.
    while let Some(Ok(frame)) = body.frame().await {
        read.extend_from_slice(&frame.into_data().unwrap_or_default());
    }
    let headers = head.headers.iter().fold(String::new(), |mut all, (name, value)| {
        writeln!(all, "{name}: {}", String::from_utf8_lossy(value.as_bytes())).expect("a string takes it");
        all
    });
    Got { status: head.status.as_u16(), headers, body: String::from_utf8_lossy(&read).into_owned() }
}

/// Starts a stream and reads its first frame; whoever drops the rest hangs up.
pub async fn begin(listen: &str, headers: &[(&str, &str)], body: &str) -> Incoming {
    let mut body = send(listen, "POST", "/v1/chat/completions", headers, body).await.into_body();
    body.frame().await.expect("more to come").expect("no break");
    body
}

async fn send(
    listen: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> http::Response<Incoming> {
    let client: Client<HttpConnector, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let mut request = Request::builder().method(method).uri(format!("http://{listen}{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(Bytes::copy_from_slice(body.as_bytes()))).expect("a valid request");
    client.request(request).await.expect("the gateway answers")
}

/// What came out where, with the words that are allowed there.
#[derive(Default)]
pub struct Places(Vec<(String, String, &'static [&'static str])>);

impl Places {
    fn add(&mut self, place: String, text: String, allowed: &'static [&'static str]) {
        self.0.push((place, text, allowed));
    }

    /// A reply: its headers always, its body if it is an error, and the error at the end of a stream.
    pub fn answer(&mut self, what: &str, got: Got) {
        // A provider's own words are for its caller, whom they may well quote; so is the answer that came before.
        let is_providers = got.headers.contains("x-farthing-provider-request-id");
        let said: &[&str] = if is_providers { &[WORDS, ANSWER, MALFORMED] } else { &[ANSWER] };
        self.add(format!("the headers of {what}"), got.headers, &[]);
        let body = if got.status == 200 && !got.body.contains("\"error\"") { String::new() } else { got.body };
        self.add(format!("the body of {what} ({})", got.status), body, said);
    }

    pub fn metrics(&mut self, got: Got) {
        assert!(got.body.contains("farthing_in_flight"), "{}", got.body);
        self.add("the metrics".to_owned(), got.headers + &got.body, &[]);
    }

    pub fn log(&mut self, text: &str) {
        assert!(text.contains("listening"), "{text}");
        self.add("the log".to_owned(), text.to_owned(), &[]);
    }

    pub fn output(&mut self, what: &str, output: &Output) {
        let text = [&output.stdout[..], &output.stderr].concat();
        self.add(format!("what is said of {what}"), String::from_utf8_lossy(&text).into_owned(), &[]);
    }

    /// The bytes of every file of a ledger in `folder`: tables, write-ahead log, journal.
    pub fn ledger(&mut self, folder: &Path) {
        let mut found = 0;
        let mut folders = vec![folder.to_path_buf()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
                let name = entry.display().to_string();
                if entry.is_dir() {
                    folders.push(entry);
                } else if name.contains("farthing.db") {
                    found += 1;
                    let bytes = fs::read(&entry).expect("a file");
                    self.add(name, String::from_utf8_lossy(&bytes).into_owned(), &[USER]);
                }
            }
        }
        assert!(found >= 2, "tables and a journal");
    }

    /// Searches all of it; says everything that it finds.
    #[track_caller]
    pub fn check(&self) {
        // Parts of keys are as bad as the whole.
        let parts = [&PROVIDER_KEY[PROVIDER_KEY.len() - 8..], &super::KEY[super::KEY.len() - 8..]];
        let mut words = unspeakable();
        words.extend(parts);
        let mut found = String::new();
        for (place, text, allowed) in &self.0 {
            for word in words.iter().filter(|word| !allowed.contains(word) && text.contains(**word)) {
                let at = text.find(*word).expect("it was found");
                let around: String =
                    text.chars().skip(text[..at].chars().count().saturating_sub(60)).take(160).collect();
                writeln!(found, "`{word}` in {place}: …{around}…").expect("a string takes it");
            }
        }
        assert!(found.is_empty(), "{found}");
    }
}
