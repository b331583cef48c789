//! How often requests go where a careful reader of the policy would send them, beside trivial baselines.
//!
//! `cargo bench --bench classify_quality -- [--policy FILE] [--data DIR] [--confusion]`
//!
//! The first part needs nothing but the corpus: requests of domains that no training request comes from, against
//! nine bullets of prose. The second is public prompts of eight coarse types (`--data`, or `FARTHING_EVAL_DATA`). Every
//! figure has a 95 % interval by bootstrap over requests.

#[path = "quality/baselines.rs"]
mod baselines;
#[path = "quality/heldout.rs"]
mod heldout;
#[path = "../models/requests.rs"]
mod requests;
#[path = "quality/scenarios.rs"]
mod scenarios;
#[path = "quality/speed.rs"]
mod speed;
#[path = "quality/statistics.rs"]
mod statistics;

use std::path::PathBuf;

use clap::Parser;

/// How well requests are classified.
#[derive(Parser)]
struct Arguments {
    /// The policy with the nine bullets, in the order of `benches/quality/orders_daily.md`
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Folder of the public evaluation sets
    #[arg(long, value_name = "DIR", env = "FARTHING_EVAL_DATA")]
    data: Option<PathBuf>,
    /// Requests of another file instead of the corpus' held-out ones
    #[arg(long, value_name = "FILE")]
    requests: Option<PathBuf>,
    /// Measure what classifying costs, and nothing else
    #[arg(long)]
    speed: bool,
    /// Print which bullets were taken for which
    #[arg(long)]
    confusion: bool,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let arguments = Arguments::parse();
    if arguments.speed {
        return speed::run(&heldout::policy());
    }
    heldout::run(arguments.policy.as_deref(), arguments.requests.as_deref(), arguments.confusion);
    match arguments.data {
        Some(data) => scenarios::run(&data, arguments.confusion),
        None => println!("\npublic prompts are left out: give their folder by --data or FARTHING_EVAL_DATA"),
    }
}
