//! What the tests share: a gateway in front of scripted providers, and clients that show raw bytes.

mod certificates;
mod client;
mod fake;
pub mod postgres;
mod rows;
mod setup;

pub use certificates::{Authority, Certificate};
pub use client::{Events, Got, raw, whole};
pub use fake::{Fake, Seen};
pub use setup::Setup;

use std::time::Duration;

use farthing::app::Running as Gateway;
use farthing::simulator::{ModelScript, Provider, Reply, Running as Simulator};
use http::{Method, Request, Response};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::watch;

/// Longest wait for anything that a test expects: reached only by a test that fails.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// The smallest question to the lightweight model.
pub const ASK: &str = r#"{"model":"gpt-5.6-luna","messages":[{"role":"user","content":"hi"}]}"#;
/// The same as a stream.
pub const ASK_STREAM: &str = r#"{"model":"gpt-5.6-luna","stream":true,"messages":[{"role":"user","content":"hi"}]}"#;

/// A gateway on free ports, in front of scripted providers, with a ledger of its own.
pub struct World {
    pub gateway: Gateway,
    /// The provider behind the row `sim`.
    pub provider: Simulator,
    /// The providers behind further rows, in their order.
    pub others: Vec<Simulator>,
    pub client: Client<HttpConnector, Full<Bytes>>,
    pub folder: TempDir,
    pub log: watch::Receiver<Vec<Value>>,
}

/// Stops a gateway; one that does not end fails its test.
pub async fn stop(gateway: Gateway) {
    let stopped = tokio::time::timeout(PATIENCE, gateway.stop()).await;
    stopped.expect("an end in time").expect("a complete ledger");
}

/// A provider whose lightweight model answers with `replies` in turn; the last one repeats.
pub fn luna(replies: impl IntoIterator<Item = Reply>) -> Provider {
    Provider::openai().model(script("gpt-5.6-luna", replies))
}

/// A model that answers with `replies` in turn.
pub fn script(name: &str, replies: impl IntoIterator<Item = Reply>) -> ModelScript {
    replies.into_iter().fold(ModelScript::named(name), ModelScript::then)
}

/// [`ASK`] with `more` members.
pub fn ask(more: Value) -> String {
    let mut body: Value = serde_json::from_str(ASK).expect("JSON");
    if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
        body.extend(more);
    }
    body.to_string()
}

impl World {
    /// In front of one provider; `more` is appended to the configuration.
    pub async fn new(provider: Provider, more: &str) -> Self {
        Setup::of(provider).more(more).start().await
    }

    /// Sends a chat body; gives the reply as its head arrives.
    pub async fn post(&self, body: impl Into<Bytes>, headers: &[(&str, &str)]) -> Response<Incoming> {
        self.send(Method::POST, "/v1/chat/completions", headers, body.into()).await
    }

    /// Sends a chat body and reads the whole reply.
    pub async fn chat(&self, body: impl Into<Bytes>) -> Got {
        whole(self.post(body, &[]).await).await
    }

    /// Sends a chat body with headers and reads the whole reply.
    pub async fn chat_as(&self, body: impl Into<Bytes>, headers: &[(&str, &str)]) -> Got {
        whole(self.post(body, headers).await).await
    }

    /// Starts a stream.
    pub async fn stream(&self, body: impl Into<Bytes>) -> Events {
        let response = self.post(body, &[]).await;
        assert_eq!(response.status(), 200);
        Events::of(response)
    }

    /// Sends a request without a body to the agents' door.
    pub async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Got {
        whole(self.send(Method::GET, path, headers, Bytes::new()).await).await
    }

    /// Sends any request to the agents' door.
    pub async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: Bytes) -> Response<Incoming> {
        let mut request = Request::builder().method(method).uri(format!("http://{}{path}", self.gateway.listen));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body)).expect("a valid request");
        let response = tokio::time::timeout(PATIENCE, self.client.request(request)).await;
        response.expect("an answer in time").expect("the gateway answers")
    }

    /// Asks the operators' door.
    pub async fn admin(&self, path: &str, headers: &[(&str, &str)]) -> Got {
        let mut request = Request::get(format!("http://{}{path}", self.gateway.admin_listen));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::default()).expect("a valid request");
        whole(self.client.request(request).await.expect("the operators' door answers")).await
    }

    /// The sum of a metric's series whose labels contain `label`.
    pub async fn metric(&self, name: &str, label: &str) -> f64 {
        let page = self.admin("/metrics", &[]).await;
        let series = page.text().lines().filter_map(|line| line.strip_prefix(name));
        let series = series.filter(|rest| rest.starts_with(['{', ' ']) && rest.contains(label));
        series.filter_map(|rest| rest.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// Waits for the `number`-th log event of this name, counted from 1.
    pub async fn logged(&self, event: &str, number: usize) -> Value {
        let mut log = self.log.clone();
        let found = |lines: &Vec<Value>| lines.iter().filter(|line| line["event"] == event).nth(number - 1).cloned();
        let waited = tokio::time::timeout(PATIENCE, log.wait_for(|lines| found(lines).is_some())).await;
        let lines = waited.unwrap_or_else(|_| panic!("no `{event}` number {number} in {:#?}", self.log.borrow()));
        found(&lines.expect("the log is open")).expect("it was there")
    }

    /// Looks again and again until `holds`.
    pub async fn until(&self, what: &str, holds: impl Fn() -> bool) {
        let looking = async {
            while !holds() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, looking).await.unwrap_or_else(|_| panic!("waited in vain for {what}"));
    }

    /// Everything logged so far, as text.
    pub fn log_text(&self) -> String {
        json!(*self.log.borrow()).to_string()
    }
}
