//! `farthing serve`: the gateway until it is told to stop.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use super::{env, fail, find_config, print_problems};
use crate::app;
use crate::config;
use crate::telemetry::log::Log;

#[derive(Args)]
pub struct Arguments {
    /// The configuration; else FARTHING_CONFIG, else ./farthing.yaml, else OPENAI_API_KEY alone
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

pub fn run(arguments: &Arguments) -> ExitCode {
    let file = find_config(arguments.config.as_ref());
    let config = match &file {
        Some(file) => config::load(file, &env),
        None => config::from_environment(&env),
    };
    let config = match config {
        Ok(config) => config,
        Err(problems) => {
            print_problems(&problems);
            return ExitCode::FAILURE;
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(format_args!("cannot start threads: {error}")),
    };
    let log = Log::to_stderr();
    log_panics(&log);
    let ended = runtime.block_on(async {
        let (mut terminate, mut interrupt) = match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
            (Ok(terminate), Ok(interrupt)) => (terminate, interrupt),
            (Err(error), _) | (_, Err(error)) => return Err(format!("cannot listen for signals: {error}")),
        };
        let running = app::start(config, file, log.clone()).await.map_err(|error| error.to_string())?;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tokio::select! {
            stopped = running.stop() => stopped.map_err(|error| error.to_string()),
            _ = interrupt.recv() => Err("interrupted twice: requests in flight were cut".to_owned()),
        }
    });
    log.close();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => fail(message),
    }
}

/// A panic becomes one log line with its place. Its message is left out: it may hold what a client sent.
fn log_panics(log: &Log) {
    let log = log.clone();
    std::panic::set_hook(Box::new(move |panic| {
        let place = panic.location().map(|place| format!("{}:{}", place.file(), place.line()));
        log.event("panic", &serde_json::json!({ "place": place }));
    }));
}
