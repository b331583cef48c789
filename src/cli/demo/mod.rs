//! `farthing demo`: simulated providers, the gateway, a real agent workload over real HTTP, what it cost and what it saved.
//!
//! Every request asks for `auto` and is routed by the policies that ship with Farthing.
//! The providers keep an invoice of their own. The command succeeds only if the ledger equals it.

mod agents;
mod agreement;
mod policies;
mod savings;
mod summary;

use std::io::{ErrorKind, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tempfile::TempDir;
use tokio::signal::unix::{SignalKind, signal};

use self::agents::{Played, Script};
use self::savings::UNROUTED;
use self::summary::Summary;
use super::{Format, counted, fail};
use crate::app::{self, Running as Gateway, StartError};
use crate::config;
use crate::money::NanoUsd;
use crate::simulator::workload::{SESSIONS_DEFAULT, Workload};
use crate::simulator::{Latency, ModelScript, PriceList, Provider, Recordings, Replay, Reply, Running as Simulator};
use crate::telemetry::log::Log;

/// Where `serve` listens as well.
const PORT: u16 = 4100;
/// How much shorter the simulated latencies are than real ones.
const LATENCY_DIVISOR: u32 = 50;
/// Which of the workloads is played: the same number gives the same requests.
const WORKLOAD_NUMBER: u64 = 1;

#[derive(Args)]
pub struct Arguments {
    /// Stop after the workload instead of going on to serve
    #[arg(long)]
    once: bool,
    /// Where the gateway listens on loopback, its metrics one port further; 0: on free ports
    #[arg(long, value_name = "PORT", default_value_t = PORT, value_parser = clap::value_parser!(u16).range(..65_535))]
    port: u16,
    /// Send the recorded sessions of a JSONL or .jsonl.gz file of chat `messages` instead
    #[arg(long, value_name = "FILE")]
    replay: Option<PathBuf>,
    /// How many sessions of the built-in workload to play
    #[arg(long, value_name = "N", default_value_t = SESSIONS_DEFAULT, conflicts_with = "replay")]
    sessions: usize,
    /// How to print
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

pub fn run(arguments: &Arguments) -> ExitCode {
    let (script, recordings, replayed) = match &arguments.replay {
        None => {
            let workload = Workload::orders_daily(WORKLOAD_NUMBER, arguments.sessions);
            (Script::of_workload(&workload), workload.recordings, false)
        }
        Some(file) => match Replay::load(file) {
            Ok(replay) => (Script::of_replay(&replay), replay.recordings, true),
            Err(error) => return fail(error),
        },
    };
    if script.requests() == 0 {
        return fail("there is nothing to send: no session has an assistant turn to ask for");
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(format_args!("cannot start threads: {error}")),
    };
    match runtime.block_on(play(arguments, &script, &recordings, replayed)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => fail("the ledger does not equal the providers' invoice"),
        Err(message) => fail(message),
    }
}

/// Plays the whole demo; says whether the ledger equals the invoice.
async fn play(arguments: &Arguments, script: &Script, recordings: &Recordings, replayed: bool) -> Result<bool, String> {
    // Recorded turns have no latencies of their own, and there are many of them.
    let divisor = if replayed { 0 } else { LATENCY_DIVISOR };
    let main = provider(recordings, divisor, Mishap::Sometimes).start().await.map_err(|e| e.to_string())?;
    let backup = provider(recordings, divisor, Mishap::Never).start().await.map_err(|e| e.to_string())?;
    let folder = tempfile::tempdir().map_err(|error| format!("cannot make a temporary folder: {error}"))?;
    let gateway = start_gateway(if arguments.once { 0 } else { arguments.port }, &folder, &main, &backup).await?;
    if arguments.format == Format::Table {
        say!(
            "Simulated providers, the gateway on http://{}, {} with {} …",
            gateway.listen,
            counted(script.sessions(), "session"),
            counted(script.requests(), "request")
        );
    }
    let bar = progress(script.requests());
    let played = script.play(gateway.listen, &bar).await;
    bar.finish_and_clear();
    let measured = measure(recordings, &played).await?;
    let invoices = [main.invoice(), backup.invoice()];
    let summary = Summary::read(&gateway.accounts().ledger, &invoices, &played, measured)?;
    summary.print(arguments.format);
    if !arguments.once {
        serve_on(&gateway, &folder, arguments.format).await?;
    }
    gateway.stop().await.map_err(|error| error.to_string())?;
    Ok(summary.equal() && played.failed == 0)
}

/// What the requests cost at a provider that has seen none of them, all at the model that answers where nothing is routed.
async fn measure(recordings: &Recordings, played: &Played) -> Result<NanoUsd, String> {
    let cold = provider(recordings, 0, Mishap::Never).start().await.map_err(|error| error.to_string())?;
    if !played.send_again(cold.address(), UNROUTED).await {
        return Err("a request could not be sent again without routing".to_owned());
    }
    Ok(cold.invoice().total())
}

/// Whether a provider has a bad moment in the middle of the workload.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mishap {
    Sometimes,
    Never,
}

/// Three tiers at the list prices of November 2026, prefix cache and invoice included.
fn provider(recordings: &Recordings, divisor: u32, mishap: Mishap) -> Provider {
    let model = |name: &str, prices: PriceList, latency: Latency| {
        let script = ModelScript::named(name).priced(prices).takes(latency.shortened(divisor));
        match mishap {
            Mishap::Sometimes => script
                .then_times(20, Reply::recorded())
                .then_times(1, Reply::status(503))
                .then_times(1, Reply::status(429).with_header("retry-after-ms", "20"))
                .then(Reply::recorded()),
            Mishap::Never => script.then(Reply::recorded()),
        }
    };
    Provider::openai()
        .keeps(0)
        .remembers(recordings.clone())
        .model(model("gpt-5.6-sol", PriceList::sol(), Latency::FRONTIER))
        .model(model("gpt-5.6-terra", PriceList::terra(), Latency::REASONING))
        .model(model("gpt-5.6-luna", PriceList::luna(), Latency::LIGHTWEIGHT))
}

async fn start_gateway(port: u16, folder: &TempDir, main: &Simulator, backup: &Simulator) -> Result<Gateway, String> {
    policies::write(folder.path()).map_err(|error| format!("cannot write the routing policies: {error}"))?;
    let admin_port = if port == 0 { 0 } else { port + 1 };
    let [listen, admin] = [port, admin_port].map(|port| format!("127.0.0.1:{port}"));
    let text = configuration(&listen, &admin, &main.base_url(), &backup.base_url());
    let config = config::parse("the demo's configuration", &text, folder.path(), &|_| None);
    let config = config.map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))?;
    let log = Log::to(Box::new(std::io::sink()));
    app::start(config, None, log).await.map_err(|error| match error {
        StartError::Listen(error) if error.kind() == ErrorKind::AddrInUse => {
            format!("a process listens on {listen} or {admin} already; wanted `--port 0`, or `--once`, which take free ports")
        }
        error => error.to_string(),
    })
}

fn configuration(listen: &str, admin: &str, main: &str, backup: &str) -> String {
    let (models, policies) = ("[gpt-5.6-sol, gpt-5.6-terra, gpt-5.6-luna]", policies::FOLDER);
    format!(
        "server: {{ listen: {listen}, admin_listen: {admin} }}\n\
         providers:\n\
         \x20 openai: {{ protocol: openai, base_url: {main}, models: {models} }}\n\
         \x20 backup: {{ protocol: openai, vendor: openai, base_url: {backup}, models: {models} }}\n\
         policies: {policies}\n\
         tiers:\n\
         \x20 frontier: [openai/{UNROUTED}, backup/{UNROUTED}]\n\
         \x20 reasoning: [openai/gpt-5.6-terra, backup/gpt-5.6-terra]\n\
         \x20 lightweight: [openai/gpt-5.6-luna, backup/gpt-5.6-luna]\n"
    )
}

/// Tells how to try it, and waits until told to stop.
async fn serve_on(gateway: &Gateway, folder: &TempDir, format: Format) -> Result<(), String> {
    let base = format!("http://{}/v1", gateway.listen);
    if format == Format::Table {
        say!("\nStill serving. Point an agent at it (any key will do):\n");
        say!("  export OPENAI_BASE_URL={base}\n  export OPENAI_API_KEY=demo\n");
        say!("or try one request (metrics are at http://{}/metrics):\n", gateway.admin_listen);
        say!(
            "  curl -si {base}/chat/completions -H 'content-type: application/json' \\\n    \
             -H 'x-farthing-pipeline: orders_daily' \\\n    \
             -d '{{\"model\":\"auto\",\"messages\":[{{\"role\":\"user\",\"content\":\"Is orders_daily healthy?\"}}]}}'\n"
        );
        say!("or ask the ledger, which lives until this ends:\n");
        say!(
            "  sqlite3 -readonly {} 'select team, count(*), sum(cost_nano) / 1e9 as usd from requests_v1 group by 1'\n",
            folder.path().join("farthing.db").display()
        );
        say!("or change who does what, in force within a second:\n");
        say!("  $EDITOR {}\n", folder.path().join(policies::FOLDER).join("orders_daily.md").display());
        say!("The providers know the workload's answers and say so when asked anything else. Ctrl-C ends it.");
    }
    let deaf = |error| format!("cannot listen for signals: {error}");
    let mut terminate = signal(SignalKind::terminate()).map_err(deaf)?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted.map_err(deaf),
        _ = terminate.recv() => Ok(()),
    }
}

fn progress(requests: usize) -> ProgressBar {
    let target =
        if std::io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} requests  {elapsed}");
    let bar = ProgressBar::with_draw_target(Some(requests as u64), target);
    style.map_or(bar.clone(), |style| bar.with_style(style))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demo_runs_on_a_valid_configuration() {
        let text = configuration("127.0.0.1:0", "127.0.0.1:0", "http://127.0.0.1:1/v1", "http://127.0.0.1:2/v1");
        assert!(config::parse("demo", &text, std::path::Path::new(""), &|_| None).is_ok());
    }
}
