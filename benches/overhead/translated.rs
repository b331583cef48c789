//! What saying a call in other words costs: each client at a row of its own dialect and at rows of others, in turns, through one
//! gateway. All ask the same and are told the same, each in its own dialect.

use std::error::Error;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};
use farthing::dialect::Dialect;
use farthing::reply::usage::{Apart, Usage};
use farthing::simulator::{Canned, Provider};
use farthing::translate::stream::{Stream, UsageChunk};
use farthing::translate::{self, Caching, Terms, Told};
use hyper::body::Bytes;
use serde::Serialize;

use super::bodies::{self, Case, STREAM_EVENTS};
use super::load::{Asked, round_of};
use super::measure::{Interval, REST};
use super::processes::{Process, free_port};

/// The most that a translated request, or an event of a translated stream, may use of CPU, as a multiple of the same at a row
/// of the client's own dialect.
const BOUND: f64 = 2.0;
const CASES: [Case; 5] = [Case::Small, Case::Medium, Case::Large, Case::Paced, Case::Burst];
const DIALECTS: [Dialect; 3] = [Dialect::Chat, Dialect::Messages, Dialect::Responses];
/// Who asks, and the dialects of the rows that it asks: its own first.
const CLIENTS: [(Dialect, &[Dialect]); 3] = [
    (Dialect::Chat, &[Dialect::Chat, Dialect::Messages]),
    (Dialect::Messages, &[Dialect::Messages, Dialect::Chat, Dialect::Responses]),
    (Dialect::Responses, &[Dialect::Responses, Dialect::Chat, Dialect::Messages]),
];

/// One client at one row, in one case.
#[derive(Serialize)]
pub struct Translation {
    case: &'static str,
    client: &'static str,
    row: &'static str,
    /// Parts that the figures are divided by: events of a stream, else 1.
    events: usize,
    body_bytes: usize,
    cpu_us: Interval,
    /// CPU as a multiple of what the client's own dialect took in the same round; `None`: it is that.
    ratio: Option<Interval>,
}

/// The canned providers, whole answers, paced streams and streams in a burst of each dialect.
///
/// # Errors
///
/// A port that cannot be had.
pub async fn providers() -> Result<Vec<SocketAddr>, Box<dyn Error>> {
    let mut addresses = Vec::new();
    for dialect in DIALECTS {
        for canned in [
            Canned::document(document(dialect)?),
            Canned::events(events(dialect)?, Duration::from_millis(1)),
            Canned::events(events(dialect)?, Duration::ZERO),
        ] {
            let running = Provider::openai().canned(canned).start().await?;
            addresses.push(running.address());
            // It serves for as long as the process lives.
            std::mem::forget(running);
        }
    }
    Ok(addresses)
}

/// Measures the cases whose name, client or row contains `only`, all rows of a client in every round.
///
/// # Errors
///
/// A process that does not start, and the first request that fails.
pub fn run(
    only: Option<&str>,
    in_flight: usize,
    rounds: usize,
    scale: f64,
) -> Result<Vec<Translation>, Box<dyn Error>> {
    let work = measure(only, in_flight, rounds, scale);
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

async fn measure(
    only: Option<&str>,
    in_flight: usize,
    rounds: usize,
    scale: f64,
) -> Result<Vec<Translation>, Box<dyn Error>> {
    let provider = Process::role("provider-of-dialects", &[])?;
    let kept = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let listen = free_port()?;
    let config = write_config(kept.path(), listen, &provider.addresses)?;
    let gateway = Process::start(Path::new(env!("CARGO_BIN_EXE_farthing")), &config, listen)?;
    super::load::listens(listen).await?;
    let mut all = Vec::new();
    for case in CASES {
        for (client, rows) in CLIENTS {
            if only.is_some_and(|only| !case.name().contains(only) && !word(client).contains(only)) {
                continue;
            }
            let asked: Vec<Asked> = rows.iter().map(|row| ask(case, client, *row)).collect::<Result<_, _>>()?;
            let requests = ((case.requests(in_flight) as f64 * scale) as usize).max(in_flight);
            let mut used: Vec<Vec<f64>> = rows.iter().map(|_| Vec::new()).collect();
            for turn in 0..=rounds {
                for place in 0..rows.len() {
                    // Who goes first changes, so that drift in the machine falls on all alike.
                    let place = (place + turn) % rows.len();
                    let before = gateway.cpu()?;
                    round_of(listen, &asked[place], in_flight, requests).await?;
                    tokio::time::sleep(REST).await;
                    let took = gateway.cpu()?.saturating_sub(before).as_secs_f64() * 1e6 / requests as f64;
                    // The first turn warms up.
                    if turn > 0 {
                        used[place].push(took);
                    }
                }
            }
            eprintln!("{} of {}: done", case.name(), word(client));
            let events = if case.is_stream() { STREAM_EVENTS } else { 1 };
            for (place, row) in rows.iter().enumerate() {
                let ratios = used[place].iter().zip(&used[0]).map(|(mine, own)| mine / own);
                all.push(Translation {
                    case: case.name(),
                    client: word(client),
                    row: word(*row),
                    events,
                    body_bytes: asked[place].body.len(),
                    cpu_us: Interval::of(used[place].iter().map(|each| each / events as f64).collect()),
                    ratio: (place > 0).then(|| Interval::of(ratios.collect())),
                });
            }
        }
    }
    Ok(all)
}

/// The figures as text.
pub fn table(all: &[Translation]) -> String {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN).set_header(["case", "client", "row", "us each", "ratio", "bound"]);
    for column in table.column_iter_mut().skip(3) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let told =
        |of: Interval, digits: usize| format!("{:.digits$} [{:.digits$}, {:.digits$}]", of.median, of.low, of.high);
    for one in all {
        let unit = if one.events > 1 { " / event" } else { "" };
        let met = |ratio: &Interval| if ratio.median <= BOUND { "met" } else { "MISSED" };
        table.add_row([
            format!("{}{unit}, {} B", one.case, one.body_bytes),
            one.client.to_owned(),
            one.row.to_owned(),
            told(one.cpu_us, 1),
            one.ratio.map_or_else(String::new, |ratio| told(ratio, 2)),
            one.ratio.as_ref().map_or_else(String::new, |ratio| format!("<= {BOUND} {}", met(ratio))),
        ]);
    }
    format!("CPU of the gateway; ratios to the row of the client's own dialect in the same round\n{table}")
}

/// A row for each canned provider.
fn write_config(folder: &Path, listen: SocketAddr, providers: &[SocketAddr]) -> std::io::Result<PathBuf> {
    let mut text = format!("server: {{ listen: \"{listen}\", admin_listen: \"127.0.0.1:0\" }}\n");
    text += "ledger: { path: ledger.db, durability: process }\nproviders:\n";
    let kinds = [Case::Small, Case::Paced, Case::Burst];
    let rows = DIALECTS.into_iter().flat_map(|dialect| kinds.map(|case| (dialect, case)));
    for (number, ((dialect, case), address)) in rows.zip(providers).enumerate() {
        let (protocol, base) = if dialect == Dialect::Messages { ("anthropic", "") } else { ("openai", "/v1") };
        text += &format!(
            "  row{number}: {{ protocol: {protocol}, vendor: {protocol}, speaks: [{}], base_url: \"http://{address}{base}\", \
             models: [\"{}\"] }}\n",
            if dialect == Dialect::Responses { "chat, responses" } else { word(dialect) },
            model(dialect, case)
        );
    }
    let config = folder.join("farthing.yaml");
    fs::write(&config, text)?;
    Ok(config)
}

fn word(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Chat => "chat",
        Dialect::Messages => "messages",
        Dialect::Responses => "responses",
    }
}

/// What a row of this dialect serves in this case.
fn model(dialect: Dialect, case: Case) -> &'static str {
    let [whole, paced, burst] = match dialect {
        // Called in Chat Completions by whoever cannot be called in the client's own: the row speaks nothing else.
        Dialect::Chat => ["gpt-4.1", "gpt-4.1-mini", "gpt-4.1-nano"],
        Dialect::Messages => ["claude-opus-4-6", "claude-sonnet-4-5", "claude-haiku-4-5"],
        Dialect::Responses => [bodies::WHOLE_MODEL, bodies::PACED_MODEL, bodies::BURST_MODEL],
    };
    match case {
        Case::Paced => paced,
        Case::Burst => burst,
        _ => whole,
    }
}

/// A request of a client for the model of a row.
fn ask(case: Case, client: Dialect, row: Dialect) -> Result<Asked, Box<dyn Error>> {
    let path = match client {
        Dialect::Chat => "/v1/chat/completions",
        Dialect::Messages => "/v1/messages",
        Dialect::Responses => "/v1/responses",
    };
    let chat = case.body().replacen(case.model(), model(row, case), 1);
    let body = match client {
        Dialect::Chat => chat,
        _ => said(client, &chat, model(row, case))?,
    };
    Ok(Asked { path, body })
}

/// A chat in other words: what is measured here is how long it takes, not whether it is right.
fn said(dialect: Dialect, chat: &str, model: &str) -> Result<String, Box<dyn Error>> {
    let vendor = if dialect == Dialect::Messages { "anthropic" } else { "openai" };
    let terms = Terms { vendor, model, output_limit: 1024, caching: Caching::AsMarked, usage: UsageChunk::Asked };
    Ok(translate::request(Dialect::Chat, dialect, chat.as_bytes(), &terms)?.body)
}

const TOLD: Told<'static> = Told {
    request: br#"{"model":"m","input":"hi"}"#,
    created_seconds: 1_795_305_600,
    usage: Usage {
        input_tokens: 214,
        cached_input_tokens: 0,
        cache_write_tokens: 0,
        cache_write_1h_tokens: 0,
        output_tokens: 118,
        reasoning_tokens: 0,
        apart: Apart::NONE,
    },
};

fn document(dialect: Dialect) -> Result<Bytes, Box<dyn Error>> {
    let chat = bodies::document();
    match dialect {
        Dialect::Chat => Ok(chat),
        _ => Ok(translate::reply(Dialect::Chat, dialect, &chat, &TOLD)?.body.into()),
    }
}

fn events(dialect: Dialect) -> Result<Vec<Bytes>, Box<dyn Error>> {
    let chat = bodies::events();
    if dialect == Dialect::Chat {
        return Ok(chat);
    }
    let mut stream = Stream::new(Dialect::Chat, dialect, &TOLD, UsageChunk::Unasked)?;
    let mut said = Vec::new();
    for event in chat {
        let data = event.strip_prefix(b"data: ").unwrap_or_default().trim_ascii();
        let mut out = String::new();
        if data == b"[DONE]" {
            stream.over(TOLD.usage, &mut out)?;
        } else {
            stream.event(data, Some(TOLD.usage), &mut out)?;
        }
        said.extend(out.split_inclusive("\n\n").map(|event| Bytes::from(event.to_owned())));
    }
    Ok(said)
}
