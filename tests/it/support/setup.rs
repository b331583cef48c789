//! Builds a world: provider rows, their scripts, and the configuration in front of them.

use std::io::{self, Write};
use std::path::PathBuf;

use farthing::simulator::Provider;
use farthing::telemetry::log::Log;
use farthing::{app, config};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::watch;

use super::World;

/// A world that is not running yet. The first row is `sim`; all of them are OpenAI's as far as prices go, unless
/// another vendor is named.
pub struct Setup {
    rows: Vec<(&'static str, Provider, Option<&'static str>)>,
    rows_text: Option<String>,
    models: String,
    vendor: String,
    protocol: &'static str,
    row: String,
    dispatch: String,
    server: String,
    tiers: String,
    more: String,
    files: Vec<(String, String)>,
}

impl Setup {
    /// One row; one retry; timeouts that no test reaches.
    pub fn of(provider: Provider) -> Self {
        Self {
            rows: vec![("sim", provider, None)],
            rows_text: None,
            models: "*".to_owned(),
            vendor: "openai".to_owned(),
            protocol: "openai",
            row: String::new(),
            dispatch: "retries: 1".to_owned(),
            server: "drain_timeout: 5s".to_owned(),
            tiers: "frontier: [sim/gpt-5.6-sol], reasoning: [sim/gpt-5.6-terra], lightweight: [sim/gpt-5.6-luna]"
                .to_owned(),
            more: String::new(),
            files: Vec::new(),
        }
    }

    /// A further row.
    pub fn and(mut self, name: &'static str, provider: Provider) -> Self {
        self.rows.push((name, provider, None));
        self
    }

    /// A further row that speaks another protocol, such as `anthropic`, which is also its vendor's name.
    pub fn and_speaking(mut self, protocol: &'static str, name: &'static str, provider: Provider) -> Self {
        self.rows.push((name, provider, Some(protocol)));
        self
    }

    /// Replaces the rows by this text, in which `URL_OF_sim` is the base URL of that provider, and of others likewise.
    pub fn rows(mut self, text: &str) -> Self {
        self.rows_text = Some(text.to_owned());
        self
    }

    /// Replaces the pattern of the models that every row serves.
    pub fn models(mut self, pattern: &str) -> Self {
        pattern.clone_into(&mut self.models);
        self
    }

    /// Replaces the vendor of every row.
    pub fn vendor(mut self, name: &str) -> Self {
        name.clone_into(&mut self.vendor);
        self
    }

    /// Rows that speak Anthropic's Messages, of Anthropic's as far as prices go.
    pub fn anthropic(mut self) -> Self {
        self.protocol = "anthropic";
        self.vendor("anthropic")
    }

    /// Further keys of every row, such as `metering: observe`.
    pub fn row(mut self, keys: &str) -> Self {
        self.row = format!(", {keys}");
        self
    }

    /// Replaces the keys of `dispatch`.
    pub fn dispatch(mut self, keys: &str) -> Self {
        keys.clone_into(&mut self.dispatch);
        self
    }

    /// Replaces the keys of `server` besides the addresses.
    pub fn server(mut self, keys: &str) -> Self {
        keys.clone_into(&mut self.server);
        self
    }

    /// Replaces the keys of `tiers`.
    pub fn tiers(mut self, keys: &str) -> Self {
        keys.clone_into(&mut self.tiers);
        self
    }

    /// Appends to the configuration.
    pub fn more(mut self, text: &str) -> Self {
        self.more.push_str(text);
        self.more.push('\n');
        self
    }

    /// A file beside the configuration.
    pub fn file(mut self, name: &str, text: &str) -> Self {
        self.files.push((name.to_owned(), text.to_owned()));
        self
    }

    /// Starts the providers and the gateway.
    pub async fn start(mut self) -> World {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for (name, text) in &self.files {
            let file = folder.path().join(name);
            std::fs::create_dir_all(file.parent().expect("a folder")).expect("a folder in the folder");
            std::fs::write(file, text).expect("a file in the folder");
        }
        let mut providers = Vec::new();
        let mut rows = String::new();
        for (name, provider, protocol) in self.rows {
            let running = provider.start().await.expect("the simulator starts on a free port");
            rows.push_str(&format!(
                "  {name}: {{ protocol: {}, vendor: {}, base_url: {}, models: [\"{}\"]{} }}\n",
                protocol.unwrap_or(self.protocol),
                protocol.unwrap_or(&self.vendor),
                running.base_url(),
                self.models,
                self.row
            ));
            if let Some(text) = &mut self.rows_text {
                *text = text.replace(&format!("URL_OF_{name}"), &running.base_url());
            }
            providers.push(running);
        }
        let rows = self.rows_text.unwrap_or(rows);
        let text = format!(
            "server: {{ listen: 127.0.0.1:0, admin_listen: 127.0.0.1:0, {} }}\nproviders:\n{rows}\
             tiers: {{ {} }}\ndispatch: {{ {} }}\n{}",
            self.server, self.tiers, self.dispatch, self.more
        );
        let (gateway, log) = gateway(&folder, &text).await;
        let client = Client::builder(TokioExecutor::new()).build_http();
        World { gateway, provider: providers.remove(0), others: providers, client, folder, log }
    }
}

async fn gateway(folder: &TempDir, text: &str) -> (app::Running, watch::Receiver<Vec<Value>>) {
    let file: PathBuf = folder.path().join("farthing.yaml");
    std::fs::write(&file, text).expect("a file in the folder");
    let config = config::parse("farthing.yaml", text, folder.path(), &|_| None)
        .unwrap_or_else(|problems| panic!("{problems:?}\n{text}"));
    let (lines, log) = watch::channel(Vec::new());
    let gateway = app::start(config, Some(file), Log::to(Box::new(Sink(lines)))).await;
    (gateway.unwrap_or_else(|error| panic!("{error}")), log)
}

/// Takes batches of whole log lines.
struct Sink(watch::Sender<Vec<Value>>);

impl Write for Sink {
    fn write(&mut self, batch: &[u8]) -> io::Result<usize> {
        let lines = batch.split(|b| *b == b'\n').filter(|line| !line.is_empty());
        let lines: Vec<Value> = lines.map(|line| serde_json::from_slice(line).expect("a line of JSON")).collect();
        self.0.send_modify(|all| all.extend(lines));
        Ok(batch.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
