//! The builder of a simulated provider, and the handle of a running one.
//!
//! `Provider::openai().model(ModelScript::named("gpt-5.6-luna").replies("ok")).start().await` listens on
//! a free loopback port. The [`Running`] handle reads the invoice and the requests, awaits events, and
//! stops the provider when it is dropped; [`Running::shutdown`] also waits until it has stopped.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::connection::accept;
use super::invoice::Invoice;
use super::recordings::Recordings;
use super::script::{Latency, ModelScript, Reply};
use super::server::Server;
use super::traffic::{Exchange, REQUESTS_KEPT_DEFAULT, WaitedInVain};

/// How long a prefix stays in the provider's cache unless the builder says otherwise.
const PREFIX_TIME_TO_LIVE: Duration = Duration::from_secs(300);

/// A simulated provider that is not running yet.
///
/// ```
/// use farthing::simulator::{ModelScript, Provider, Reply};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
/// let luna = ModelScript::named("gpt-5.6-luna")
///     .then(Reply::status(429).with_header("retry-after", "1"))
///     .then(Reply::tokens(40).resets_after(3))
///     .replies("all is well");
/// let provider = Provider::openai().model(luna).start().await?;
/// println!("export OPENAI_BASE_URL={}", provider.base_url());
/// assert!(provider.shutdown().await.lines.is_empty());
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Provider {
    pub(super) vendor: Vendor,
    pub(super) models: Vec<ModelScript>,
    pub(super) key: Option<String>,
    pub(super) keep: usize,
    pub(super) prefix_time_to_live: Duration,
    pub(super) recordings: Arc<Recordings>,
    pub(super) canned: Option<Canned>,
}

/// Whose API a provider has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Vendor {
    /// Chat completions and Responses.
    OpenAi,
    /// Messages.
    Anthropic,
}

/// One prebuilt answer to everything: nothing is parsed, recorded or billed. For benches.
#[derive(Clone, Debug)]
pub struct Canned {
    pub(super) content_type: &'static str,
    pub(super) frames: Arc<[Bytes]>,
    pub(super) length: Option<u64>,
    pub(super) gap: Duration,
}

impl Canned {
    /// A whole JSON document.
    pub fn document(body: impl Into<Bytes>) -> Self {
        let body = body.into();
        let length = Some(body.len() as u64);
        Self { content_type: "application/json", frames: Arc::from([body]), length, gap: Duration::ZERO }
    }

    /// An event stream, a frame each; `gap` is waited before every frame but the first.
    pub fn events(frames: impl IntoIterator<Item = Bytes>, gap: Duration) -> Self {
        let frames = frames.into_iter().filter(|frame| !frame.is_empty()).collect();
        Self { content_type: "text/event-stream; charset=utf-8", frames, length: None, gap }
    }
}

impl Provider {
    /// A provider that speaks OpenAI's chat completions and Responses, and has no models yet.
    pub fn openai() -> Self {
        Self::of(Vendor::OpenAi)
    }

    /// A provider that speaks Anthropic's Messages and has no models yet.
    ///
    /// ```
    /// use farthing::simulator::{ModelScript, Provider, Reply};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
    /// let opus = ModelScript::named("claude-opus-5-5")
    ///     .then(Reply::calls("read_log", serde_json::json!({"task": "load"})).thinks("the log first"))
    ///     .replies("all is well");
    /// let provider = Provider::anthropic().model(opus).start().await?;
    /// println!("export ANTHROPIC_BASE_URL=http://{}", provider.address());
    /// # Ok(()) }
    /// ```
    pub fn anthropic() -> Self {
        Self::of(Vendor::Anthropic)
    }

    fn of(vendor: Vendor) -> Self {
        Self {
            vendor,
            models: Vec::new(),
            key: None,
            keep: REQUESTS_KEPT_DEFAULT,
            prefix_time_to_live: PREFIX_TIME_TO_LIVE,
            recordings: Arc::default(),
            canned: None,
        }
    }

    /// The GPT-5.6 family at list prices, answering from `recordings` with latencies `factor` times shorter
    /// than real ones (0: none at all): the provider of `farthing demo`.
    pub fn gpt_family(recordings: Recordings, factor: u32) -> Self {
        let member = |name, latency: Latency, reasoning| {
            ModelScript::named(name).takes(latency.shortened(factor)).reasons(reasoning).then(Reply::recorded())
        };
        Self::openai()
            .remembers(recordings)
            .model(member("gpt-5.6-sol", Latency::FRONTIER, 96))
            .model(member("gpt-5.6-terra", Latency::REASONING, 128))
            .model(member("gpt-5.6-luna", Latency::LIGHTWEIGHT, 0))
    }

    /// Adds a model. One named `*` answers for every name that is not listed.
    #[must_use]
    pub fn model(mut self, script: ModelScript) -> Self {
        self.models.push(script);
        self
    }

    /// Refuses requests without `Authorization: Bearer <key>` (Anthropic: or `x-api-key: <key>`).
    #[must_use]
    pub fn requires_key(mut self, key: &str) -> Self {
        self.key = Some(key.to_owned());
        self
    }

    /// Keeps the newest `requests` for inspection (default 4,096, and at most 128 MiB of bodies).
    /// 0 keeps none; then there is nothing that [`Running::arrival`] could wait for.
    #[must_use]
    pub fn keeps(mut self, requests: usize) -> Self {
        self.keep = requests;
        self
    }

    /// Sets how long a prefix stays cached (default five minutes); zero turns the prefix cache off.
    #[must_use]
    pub fn prefixes_live(mut self, time: Duration) -> Self {
        self.prefix_time_to_live = time;
        self
    }

    /// Sets what `Reply::recorded` answers from.
    #[must_use]
    pub fn remembers(mut self, recordings: Recordings) -> Self {
        self.recordings = Arc::new(recordings);
        self
    }

    /// Answers every request with the same prebuilt bytes, whatever it asks.
    #[must_use]
    pub fn canned(mut self, canned: Canned) -> Self {
        self.canned = Some(canned);
        self
    }

    /// Listens on a free port of 127.0.0.1 in the current tokio runtime.
    ///
    /// # Errors
    ///
    /// Whatever the system says when it gives no port.
    pub async fn start(self) -> io::Result<Running> {
        self.start_on(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await
    }

    /// Listens on `address`.
    ///
    /// # Errors
    ///
    /// Whatever the system says when it does not give the address.
    pub async fn start_on(self, address: SocketAddr) -> io::Result<Running> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let server = Arc::new(Server::new(self));
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(accept(listener, Arc::clone(&server), stopped));
        Ok(Running { address, server, stop, task })
    }
}

/// A simulated provider that is listening. Dropping it stops it without waiting.
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    server: Arc<Server>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Running {
    /// `http://127.0.0.1:<port>/v1`, as SDKs and `providers.X.base_url` want it.
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Every line that was billed until now.
    pub fn invoice(&self) -> Invoice {
        self.server.books.snapshot()
    }

    /// The invoice as JSON lines; see [`Invoice::export_jsonl`].
    pub fn export_jsonl(&self) -> String {
        self.invoice().export_jsonl()
    }

    /// The kept requests, oldest first.
    pub fn requests(&self) -> Vec<Arc<Exchange>> {
        self.server.traffic.exchanges()
    }

    /// How many requests have arrived since the start, kept or not.
    pub fn arrivals(&self) -> u64 {
        self.server.traffic.arrivals()
    }

    /// How many clients hung up before the end of their answer.
    pub fn hang_ups(&self) -> u64 {
        self.server.traffic.hang_ups()
    }

    /// Lets every request that is stalled now, or will be and has arrived already, go on.
    pub fn release(&self) {
        self.server.traffic.release();
    }

    /// Waits for the `number`-th request, counted from 1.
    ///
    /// # Errors
    ///
    /// [`WaitedInVain`] after ten seconds.
    pub async fn arrival(&self, number: u64) -> Result<Arc<Exchange>, WaitedInVain> {
        let traffic = &self.server.traffic;
        traffic.until(format!("request {number}"), || traffic.exchange(number)).await
    }

    /// Waits until `frames` frames of the `number`-th request's answer were handed to the connection.
    ///
    /// # Errors
    ///
    /// [`WaitedInVain`] after ten seconds.
    pub async fn frames_sent(&self, number: u64, frames: u64) -> Result<Arc<Exchange>, WaitedInVain> {
        let traffic = &self.server.traffic;
        let sent = || traffic.exchange(number).filter(|exchange| exchange.frames() >= frames);
        traffic.until(format!("frame {frames} of request {number}"), sent).await
    }

    /// Waits until `count` clients have hung up.
    ///
    /// # Errors
    ///
    /// [`WaitedInVain`] after ten seconds.
    pub async fn hung_up(&self, count: u64) -> Result<(), WaitedInVain> {
        let traffic = &self.server.traffic;
        traffic.until(format!("hang-up {count}"), || (traffic.hang_ups() >= count).then_some(())).await
    }

    /// Waits until no request is being answered: then the invoice is final.
    ///
    /// # Errors
    ///
    /// [`WaitedInVain`] after ten seconds.
    pub async fn settled(&self) -> Result<(), WaitedInVain> {
        let traffic = &self.server.traffic;
        traffic.until("the last answer".to_owned(), || (traffic.open() == 0).then_some(())).await
    }

    /// Stops listening, lets answers run for half a second more, cuts the rest, and gives the final invoice.
    pub async fn shutdown(self) -> Invoice {
        self.stop.send_replace(true);
        // The task ends by itself; if it was cancelled the runtime is going down anyway.
        let _ = self.task.await;
        self.server.books.snapshot()
    }
}
