//! Whether a provider's prompt cache stays whole behind Farthing.
//!
//! `cargo bench --bench prefix -- --sessions FILE [--only responses] [--format json]`
//!
//! Recorded agent sessions are said in every surface's words by the simulator, turn by turn, and sent twice to a simulated
//! provider with an empty cache: straight, in the provider's own dialect, and through a gateway in the client's. Printed are
//! the input tokens, the share of them that was read from the cache, and the bill. Answers are one word, so that only what
//! is read makes a difference. Ends with status 1 if a client gets a smaller share or a larger bill through Farthing.

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use farthing::config;
use farthing::dialect::Dialect;
use farthing::simulator::{Marking, ModelScript, PriceList, Provider, Replay, Running, Toolbox};
use farthing::telemetry::log::Log;
use farthing::{app, money::NanoUsd};
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::json;

/// Longer than any run: prefixes expire by the clock, and machines differ.
const PREFIXES_LIVE: Duration = Duration::from_secs(12 * 3600);
const CLAUDE: &str = "claude-sonnet-4-5";
/// One that does not reason, which is called in Chat Completions.
const GPT: &str = "gpt-4o";
/// One that reasons, which is called in Responses.
const LUNA: &str = "gpt-5.6-luna";

/// Replays sessions straight and through Farthing.
#[derive(Parser)]
struct Arguments {
    /// Recorded sessions, as `farthing demo --replay` takes them
    #[arg(long, value_name = "FILE")]
    sessions: Option<PathBuf>,
    /// Only pairs whose name contains this, such as `chat -> messages`
    #[arg(long)]
    only: Option<String>,
    /// How the figures are printed
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Cargo says so
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Json,
}

/// A client and a provider.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Pair {
    client: Dialect,
    provider: Dialect,
    model: &'static str,
    /// How a client of Messages marks, here and straight.
    marking: Marking,
    /// What the row says of caching; nothing where it is left to what clients are used to.
    row: &'static str,
}

const fn pair(client: Dialect, provider: Dialect, model: &'static str) -> Pair {
    Pair { client, provider, model, marking: Marking::AsAgents, row: "" }
}

/// A row that marks for clients of Messages too.
const AUTO: &str = ", cache_control: auto";

const PAIRS: [Pair; 11] = [
    pair(Dialect::Chat, Dialect::Chat, GPT),
    pair(Dialect::Messages, Dialect::Messages, CLAUDE),
    Pair { marking: Marking::Nothing, ..pair(Dialect::Messages, Dialect::Messages, CLAUDE) },
    Pair { row: AUTO, ..pair(Dialect::Messages, Dialect::Messages, CLAUDE) },
    Pair { marking: Marking::Nothing, row: AUTO, ..pair(Dialect::Messages, Dialect::Messages, CLAUDE) },
    pair(Dialect::Responses, Dialect::Responses, LUNA),
    pair(Dialect::Chat, Dialect::Messages, CLAUDE),
    pair(Dialect::Responses, Dialect::Messages, CLAUDE),
    pair(Dialect::Messages, Dialect::Chat, GPT),
    pair(Dialect::Responses, Dialect::Chat, GPT),
    pair(Dialect::Messages, Dialect::Responses, LUNA),
];

impl Pair {
    fn name(&self) -> String {
        let pair = format!("{} -> {}", word(self.client), word(self.provider));
        let client = if self.marking == Marking::Nothing { ", client marks nothing" } else { "" };
        let row = if self.row.is_empty() { "" } else { ", row marks" };
        pair + client + row
    }

    /// What is sent to the provider straight.
    fn straight(self) -> Self {
        let marking = if self.provider == Dialect::Messages { self.marking } else { Marking::AsAgents };
        Self { client: self.provider, marking, row: "", ..self }
    }

    /// The bodies of all sessions, in a client's words.
    fn bodies(self, replay: &Replay, toolbox: &Toolbox) -> Vec<String> {
        let of = |session: &farthing::simulator::ReplaySession| match self.client {
            Dialect::Chat => session.chat_bodies(self.model, toolbox),
            Dialect::Messages => session.messages_bodies(self.model, toolbox, self.marking),
            Dialect::Responses => session.responses_bodies(self.model, toolbox),
        };
        replay.sessions.iter().flat_map(of).collect()
    }

    async fn start_provider(self) -> std::io::Result<Running> {
        let script = ModelScript::named(self.model);
        // What the simulator has no list price for costs what a model with one does.
        let script = if self.model == GPT { script.priced(PriceList::luna()) } else { script };
        let provider = if self.provider == Dialect::Messages { Provider::anthropic() } else { Provider::openai() };
        provider.model(script).prefixes_live(PREFIXES_LIVE).keeps(0).start().await
    }

    /// A gateway whose only row is the provider, called in the pair's dialect.
    fn config(self, provider: &Running) -> String {
        let (protocol, speaks) = match self.provider {
            Dialect::Messages => ("anthropic", "messages"),
            Dialect::Responses => ("openai", "chat, responses"),
            Dialect::Chat => ("openai", "chat"),
        };
        format!(
            "server: {{ listen: \"127.0.0.1:0\", admin_listen: \"127.0.0.1:0\" }}\nledger: {{ path: ledger.db }}\nproviders:\n  \
             {protocol}: {{ protocol: {protocol}, speaks: [{speaks}], base_url: \"{}\", models: [\"*\"]{} }}\n",
            provider.base_url(),
            self.row
        )
    }
}

fn word(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Chat => "chat",
        Dialect::Messages => "messages",
        Dialect::Responses => "responses",
    }
}

/// What a provider read and billed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Read {
    input: u64,
    cached: u64,
    bill: NanoUsd,
}

impl Read {
    fn of(provider: &Running) -> Self {
        let invoice = provider.invoice();
        let sum =
            |of: fn(&farthing::simulator::BilledTokens) -> u64| invoice.lines.iter().map(|line| of(&line.tokens)).sum();
        Self { input: sum(|tokens| tokens.input), cached: sum(|tokens| tokens.cached_input), bill: invoice.total() }
    }

    fn share(&self) -> f64 {
        self.cached as f64 / self.input.max(1) as f64
    }

    /// Whether less of it was cached than of the other, or it cost more.
    fn is_worse_than(&self, other: &Self) -> bool {
        let less =
            u128::from(self.cached) * u128::from(other.input) < u128::from(other.cached) * u128::from(self.input);
        less || self.bill > other.bill
    }
}

/// Sends bodies one after the other.
async fn send(to: SocketAddr, client: Dialect, bodies: Vec<String>) -> Result<(), String> {
    let path = match client {
        Dialect::Chat => "/v1/chat/completions",
        Dialect::Messages => "/v1/messages",
        Dialect::Responses => "/v1/responses",
    };
    let http: Client<HttpConnector, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    for (number, body) in bodies.into_iter().enumerate() {
        let request = Request::post(format!("http://{to}{path}"))
            .header("content-type", "application/json")
            .header("anthropic-version", "2023-06-01")
            .body(Full::from(body))
            .map_err(|error| error.to_string())?;
        let response = http.request(request).await.map_err(|error| format!("request {number}: {error}"))?;
        let status = response.status();
        let answer = response.into_body().collect().await.map_err(|error| format!("request {number}: {error}"))?;
        if !status.is_success() {
            let said = String::from_utf8_lossy(&answer.to_bytes()).into_owned();
            return Err(format!("request {number} was answered with {status}: {said}"));
        }
    }
    Ok(())
}

async fn straight(pair: Pair, bodies: Vec<String>) -> Result<Read, String> {
    let provider = pair.start_provider().await.map_err(|error| error.to_string())?;
    send(provider.address(), pair.client, bodies).await?;
    Ok(Read::of(&provider))
}

async fn through(pair: Pair, bodies: Vec<String>) -> Result<Read, String> {
    let provider = pair.start_provider().await.map_err(|error| error.to_string())?;
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let config = config::parse("prefix.yaml", &pair.config(&provider), folder.path(), &|_| None)
        .map_err(|problems| format!("{problems:?}"))?;
    let gateway =
        app::start(config, None, Log::to(Box::new(std::io::sink()))).await.map_err(|error| error.to_string())?;
    send(gateway.listen, pair.client, bodies).await?;
    Ok(Read::of(&provider))
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let Some(file) = &arguments.sessions else {
        println!("skipped: there are no sessions; wanted `-- --sessions FILE`");
        return Ok(());
    };
    let replay = Replay::load(file)?;
    let toolbox = replay.toolbox();
    let wanted = |pair: &Pair| arguments.only.as_deref().is_none_or(|only| pair.name().contains(only));
    let pairs: Vec<Pair> = PAIRS.into_iter().filter(wanted).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    if arguments.format == Format::Table {
        print_heading(&replay);
    }
    let mut figures: Vec<(Pair, Read, Read)> = Vec::new();
    for pair in pairs {
        // Several clients are held against the same provider.
        let known = figures.iter().find(|(other, ..)| other.straight() == pair.straight()).map(|(_, one, _)| *one);
        let name = |error: String| format!("{}: {error}", pair.name());
        let (one, other) = runtime.block_on(async {
            let other = tokio::spawn(through(pair, pair.bodies(&replay, &toolbox)));
            let one = match known {
                Some(one) => one,
                None => straight(pair.straight(), pair.straight().bodies(&replay, &toolbox)).await.map_err(name)?,
            };
            Ok::<_, Box<dyn Error>>((one, other.await?.map_err(name)?))
        })?;
        if arguments.format == Format::Table {
            print_line(&pair, &one, &other);
        }
        figures.push((pair, one, other));
    }
    runtime.shutdown_timeout(Duration::from_secs(1));
    if arguments.format == Format::Json {
        println!("{}", serde_json::to_string_pretty(&listed(&figures))?);
    }
    let worse: Vec<String> =
        figures.iter().filter(|(_, one, other)| other.is_worse_than(one)).map(|(pair, ..)| pair.name()).collect();
    if worse.is_empty() { Ok(()) } else { Err(format!("worse through Farthing: {}", worse.join("; ")).into()) }
}

fn print_heading(replay: &Replay) {
    println!("{} sessions, {} requests each way", replay.sessions.len(), replay.requests());
    println!(
        "{:<45}{:>12}{:>9}{:>12}{:>14}{:>9}{:>12}",
        "client -> provider", "straight", "cached", "bill", "through", "cached", "bill"
    );
}

fn print_line(pair: &Pair, one: &Read, other: &Read) {
    let cells = |read: &Read| (read.input, read.share() * 100.0, read.bill.0 as f64 / 1e9);
    let ((input, share, bill), (input_through, share_through, bill_through)) = (cells(one), cells(other));
    println!(
        "{:<45}{input:>12}{share:>8.2}%{bill:>11.4}$ {input_through:>13}{share_through:>8.2}%{bill_through:>11.4}$",
        pair.name()
    );
}

fn listed(figures: &[(Pair, Read, Read)]) -> Vec<serde_json::Value> {
    let told = |read: &Read| {
        json!({"input_tokens": read.input, "cached_input_tokens": read.cached, "cached_share": read.share(),
            "bill_nano_usd": read.bill.0})
    };
    figures
        .iter()
        .map(|(pair, one, other)| json!({"pair": pair.name(), "straight": told(one), "through": told(other)}))
        .collect()
}
