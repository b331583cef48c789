//! `farthing explain`: what would become of requests, by the same code that routes them. Nothing is sent.

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, Scope, ScopedJoinHandle};

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{env, fail, find_config, print_problems};
use crate::config::{self, Config};
use crate::problem::Problem;
use crate::tokens::Memo;

pub mod decision;
mod found;

use decision::{Answer, Explainer, Settings};

/// What `--help` ends with.
pub const AFTER_HELP: &str = "Examples:\n  \
    farthing explain --pipeline orders_daily requests.jsonl\n  \
    echo '{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}' | farthing explain --verbose\n\n\
    Each line of input is a chat request, with an `id` of its own if it likes; without `model` it asks for `auto`.\n\
    Each line of output is the decision, in the same order, or `{\"id\",\"error\"}`; then the exit status is 1.\n\
    `estimated_usd`: the prompt at full price and an answer of 256 tokens, or of the limit if that is lower.\n\n\
    `--verbose` adds `classifier`, whatever decided:\n  \
    `decided_by`    the rule (with its line), pin, named task, or that it was the classifier\n  \
    `task`, `tier`, `ambiguous`, `confidence`, `needs_strong`   what it would have decided; `task` is null where it is\n                  \
    like several tasks of a tier and none by itself, or like none at all\n  \
    `tiers`         how likely each tier is; `bound`: what the likeliest must reach for work to leave the default\n  \
    `kinds`         the general kinds of work that the request looks like, with their shares\n  \
    `nearest`       the nearest three bullets: `task`, `tier`, `line`, `share`, the `kinds` that the bullet covers, and its\n                  \
    nearest example as `{text, similarity}`\n  \
    `none`          how likely no bullet is meant; `margin`: the nearest bullet's share less the next, or none's\n  \
    `material`      what is attached: log levels, a table, …; `signals`: what its form says besides\n  \
    `advice`        what to write in the policy to change that";

/// Lines that a worker has at a time.
const BATCH_LINES: usize = 32;
/// The same in bytes, so that long lines do not fill the memory.
const BATCH_BYTES: usize = 8 << 20;
/// Batches that a worker has or that wait for it.
const BATCHES_A_WORKER: usize = 2;

#[derive(Args)]
pub struct Arguments {
    /// The requests, JSONL; `-` is standard input
    #[arg(value_name = "FILE", default_value = "-")]
    file: PathBuf,
    /// The configuration; else FARTHING_CONFIG, else ./farthing.yaml, else what holds without one
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
    /// What plans depend on besides, as a row's `state` has it
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
}

pub fn run(arguments: &Arguments) -> ExitCode {
    let config = match load(arguments.config.as_ref()) {
        Ok(config) => Arc::new(config),
        Err(problems) => {
            print_problems(&problems);
            return ExitCode::FAILURE;
        }
    };
    let explainer = match Explainer::new(&config, &arguments.settings, arguments.state.as_deref()) {
        Ok(explainer) => explainer,
        Err(problems) => {
            print_problems(&problems);
            return ExitCode::FAILURE;
        }
    };
    match explain_all(&explainer, &arguments.file) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => fail(message),
    }
}

/// Nothing is called, so that keys of providers may be missing.
pub(super) fn load(explicit: Option<&PathBuf>) -> Result<Config, Vec<Problem>> {
    let unused = |name: &str| Some(env(name).unwrap_or_else(|| "unused".to_owned()));
    match find_config(explicit) {
        Some(file) => config::load(&file, &unused),
        None => config::from_environment(&unused),
    }
}

/// Writes a line for every line; says whether all of them could be decided.
fn explain_all(explainer: &Explainer, file: &Path) -> Result<bool, String> {
    let about = |error: io::Error| format!("`{}` cannot be read: {error}", file.display());
    let (mut reader, length): (Box<dyn BufRead>, u64) = if file == Path::new("-") {
        (Box::new(io::stdin().lock()), 0)
    } else {
        let opened = File::open(file).map_err(about)?;
        let length = opened.metadata().map_err(about)?.len();
        (Box::new(BufReader::with_capacity(1 << 20, opened)), length)
    };
    let bar = progress(length);
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..cores).map(|_| Worker::start(scope, explainer)).collect();
        let next = |batch: &mut _| read_batch(&mut *reader, batch).map_err(about);
        let done = pass_through(&workers, next, &bar);
        workers.into_iter().for_each(Worker::end);
        done
    })
}

/// Gives each worker batch after batch in turn and writes their answers in the same order.
fn pass_through(
    workers: &[Worker<'_>],
    mut next: impl FnMut(&mut Vec<Vec<u8>>) -> Result<bool, String>,
    bar: &ProgressBar,
) -> Result<bool, String> {
    const DEFECT: &str = "a request could not be explained, which is a defect";
    let mut out = io::BufWriter::new(io::stdout().lock());
    let (mut sent, mut written, mut at_end, mut all_good) = (0, 0, false, true);
    loop {
        while !at_end && sent - written < workers.len() * BATCHES_A_WORKER {
            let mut batch = Vec::new();
            at_end = next(&mut batch)?;
            workers[sent % workers.len()].lines.send(batch).map_err(|_| DEFECT)?;
            sent += 1;
        }
        if written == sent {
            break;
        }
        let (answers, bytes) = workers[written % workers.len()].answers.recv().map_err(|_| DEFECT)?;
        written += 1;
        for answer in &answers {
            all_good &= answer.is_good;
            if writeln!(out, "{}", answer.json).is_err() {
                // The reader has left.
                return Ok(all_good);
            }
        }
        bar.inc(bytes);
    }
    bar.finish_and_clear();
    drop(out.flush());
    Ok(all_good)
}

/// A thread that explains batches in the order in which it gets them, and keeps what it learns of one for the next.
struct Worker<'s> {
    lines: SyncSender<Vec<Vec<u8>>>,
    /// The answers to a batch, and how many bytes it had.
    answers: Receiver<(Vec<Answer>, u64)>,
    thread: ScopedJoinHandle<'s, ()>,
}

impl<'s> Worker<'s> {
    fn start(scope: &'s Scope<'s, '_>, explainer: &'s Explainer) -> Self {
        let (lines, batches) = sync_channel::<Vec<Vec<u8>>>(BATCHES_A_WORKER);
        let (explained, answers) = sync_channel(BATCHES_A_WORKER);
        let thread = scope.spawn(move || {
            let mut memo = Memo::default();
            for batch in batches {
                let bytes = batch.iter().map(|line| line.len() as u64 + 1).sum();
                if explained.send((explainer.explain(&batch, &mut memo), bytes)).is_err() {
                    return;
                }
            }
        });
        Self { lines, answers, thread }
    }

    /// Ends it once it is done with what it has. If it broke down, its answers are missing, which is told where they were
    /// waited for.
    fn end(self) {
        let Self { lines, answers, thread } = self;
        drop((lines, answers));
        drop(thread.join());
    }
}

/// Reads the next lines that are not blank; says whether there are no more.
fn read_batch(reader: &mut dyn BufRead, batch: &mut Vec<Vec<u8>>) -> io::Result<bool> {
    let mut bytes = 0;
    while batch.len() < BATCH_LINES && bytes < BATCH_BYTES {
        let mut line = Vec::new();
        if reader.read_until(b'\n', &mut line)? == 0 {
            return Ok(true);
        }
        bytes += line.len();
        if !line.trim_ascii().is_empty() {
            batch.push(line.trim_ascii_end().to_vec());
        }
    }
    Ok(false)
}

fn progress(bytes: u64) -> ProgressBar {
    let shown = bytes > 0 && io::stderr().is_terminal() && !io::stdout().is_terminal();
    let target = if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let style = ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes}  {elapsed}");
    let bar = ProgressBar::with_draw_target(Some(bytes), target);
    style.map_or(bar.clone(), |style| bar.with_style(style))
}
