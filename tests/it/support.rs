//! What the tests share: a gateway in front of scripted providers, and a client that shows raw bytes.

use std::time::Duration;

use farthing::app::{self, Running as Gateway};
use farthing::config;
use farthing::simulator::{Provider, Running as Simulator};
use farthing::telemetry::log::Log;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tempfile::TempDir;

/// A gateway on free ports, in front of one scripted provider, with a ledger of its own.
pub struct World {
    pub gateway: Gateway,
    pub provider: Simulator,
    pub client: Client<HttpConnector, Full<Bytes>>,
    pub folder: TempDir,
}

/// A complete reply.
pub struct Got {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Got {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("replies are text")
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {}", self.text()))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

impl World {
    /// Starts with short timeouts; `more` is appended to the configuration.
    pub async fn new(provider: Provider, more: &str) -> Self {
        let provider = provider.start().await.expect("the simulator starts on a free port");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let text = format!(
            "server: {{ listen: 127.0.0.1:0, admin_listen: 127.0.0.1:0, drain_timeout: 2s }}\n\
             providers:\n  sim: {{ protocol: openai, vendor: openai, base_url: {}, models: [\"*\"], \
             dispatch: {{ retries: 1, connect_timeout: 200ms, first_byte_timeout: 200ms, idle_timeout: 200ms, total_timeout: 3s }} }}\n\
             tiers: {{ frontier: [sim/gpt-5.6-sol], reasoning: [sim/gpt-5.6-terra], lightweight: [sim/gpt-5.6-luna] }}\n{more}",
            provider.base_url()
        );
        let config = config::parse("farthing.yaml", &text, folder.path(), &|_| None)
            .unwrap_or_else(|problems| panic!("{problems:?}\n{text}"));
        let log = Log::to(Box::new(std::io::sink()));
        let gateway = app::start(config, None, log).await.unwrap_or_else(|error| panic!("{error}"));
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self { gateway, provider, client, folder }
    }

    /// Sends a chat body; gives the reply as its head arrives.
    pub async fn post(&self, body: impl Into<Bytes>, headers: &[(&str, &str)]) -> Response<Incoming> {
        let mut request = Request::post(format!("http://{}/v1/chat/completions", self.gateway.listen));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into())).expect("a valid request");
        self.client.request(request).await.expect("the gateway answers")
    }

    /// Sends a chat body and reads the whole reply.
    pub async fn chat(&self, body: impl Into<Bytes>) -> Got {
        whole(self.post(body, &[]).await).await
    }

    /// What the views of the ledger show, once they show everything.
    pub fn rows(&self, sql: &str) -> Vec<Vec<rusqlite::types::Value>> {
        let ledger = &self.gateway.accounts().ledger;
        ledger.sync_views(Duration::from_secs(10)).expect("the views catch up");
        let views = ledger.views().expect("the views open");
        let mut statement = views.prepare(sql).expect("valid SQL");
        let columns = statement.column_count();
        let rows = statement.query_map([], |row| (0..columns).map(|n| row.get(n)).collect());
        rows.expect("a query").collect::<Result<_, _>>().expect("rows")
    }
}

/// Reads a reply to its end.
pub async fn whole(response: Response<Incoming>) -> Got {
    let (head, body) = response.into_parts();
    let body = body.collect().await.expect("a complete body").to_bytes();
    Got { status: head.status.as_u16(), headers: head.headers, body }
}
