//! What Farthing costs a request and a streamed event, against a bare hyper proxy in the same run.
//!
//! `cargo bench --bench overhead -- [--quick] [--only small] [--format json] [--also PATH] [--budgets]`
//! `cargo bench --bench overhead -- --durability`: what waiting for the disk adds to a request's time
//! `cargo bench --bench overhead -- --translated`: what it costs to say calls in another dialect
//!
//! Four processes: a canned provider, a bare proxy and the gateway (this program again, with a role, and
//! the real `farthing`), and the load generator here. Proxies take turns, round by round; CPU is what
//! the kernel counted for all threads of a proxy, ledger and log included. Nothing is pinned and
//! machines are shared, so every figure has an interval, and the yardstick's own spread is printed.

#![allow(unsafe_code, reason = "the allocator that counts implements an unsafe trait")]

#[path = "overhead/bodies.rs"]
mod bodies;
#[path = "overhead/durability.rs"]
mod durability;
#[path = "overhead/load.rs"]
mod load;
#[path = "overhead/measure.rs"]
mod measure;
#[path = "overhead/processes.rs"]
mod processes;
#[path = "overhead/report.rs"]
mod report;
#[path = "overhead/roles.rs"]
mod roles;
#[path = "overhead/translated.rs"]
mod translated;

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

#[global_allocator]
static ALLOCATOR: roles::Counting = roles::Counting;

/// What Farthing costs against a bare proxy.
#[derive(Parser)]
struct Arguments {
    /// Fewer and shorter rounds, for a first look
    #[arg(long)]
    quick: bool,
    /// Only cases whose name contains this: small, medium, large, paced, burst, auto, cold, warm
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// How the figures are printed
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Rounds of each case and concurrency
    #[arg(long)]
    rounds: Option<usize>,
    /// Concurrencies to measure
    #[arg(long, value_delimiter = ',', default_value = "32,1")]
    in_flight: Vec<usize>,
    /// Another build of `farthing` that takes part in every round
    #[arg(long, value_name = "PATH")]
    also: Option<PathBuf>,
    /// A gateway whose team has a budget and a limit takes part in every round
    #[arg(long)]
    budgets: bool,
    /// Leave out start, memory and allocations
    #[arg(long)]
    cpu_only: bool,
    /// Measure `ledger.durability: power` against `process`, and nothing else
    #[arg(long)]
    durability: bool,
    /// Measure rows of other dialects against those of the client's own, and nothing else; `--only` also takes a dialect
    #[arg(long)]
    translated: bool,
    /// Play a part in another run instead of measuring
    #[arg(long, hide = true)]
    role: Option<roles::Role>,
    /// What the role works on: the provider's addresses, or a configuration
    #[arg(hide = true)]
    of_role: Vec<String>,
    /// Given by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Json,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments = Arguments::parse();
    if let Some(role) = arguments.role {
        return roles::play(role, &arguments.of_role);
    }
    if arguments.durability {
        let rounds = arguments.rounds.unwrap_or(if arguments.quick { 3 } else { 9 });
        let added = durability::run(&arguments.in_flight, rounds)?;
        match arguments.format {
            Format::Table => println!("{}", durability::table(&added)),
            Format::Json => println!("{}", serde_json::to_string_pretty(&added)?),
        }
        return Ok(());
    }
    let (rounds, scale) = if arguments.quick { (3, 0.25) } else { (9, 1.0) };
    if arguments.translated {
        let (only, rounds) = (arguments.only.as_deref(), arguments.rounds.unwrap_or(rounds));
        let all = translated::run(only, arguments.in_flight.first().copied().unwrap_or(32), rounds, scale)?;
        match arguments.format {
            Format::Table => println!("{}", translated::table(&all)),
            Format::Json => println!("{}", serde_json::to_string_pretty(&all)?),
        }
        return Ok(());
    }
    let plan = measure::Plan {
        cases: bodies::Case::ALL
            .into_iter()
            .filter(|case| arguments.only.as_deref().is_none_or(|only| case.name().contains(only)))
            .collect(),
        in_flight: arguments.in_flight,
        rounds: arguments.rounds.unwrap_or(rounds),
        scale,
        also: arguments.also,
        budgets: arguments.budgets,
        beside_cpu: !arguments.cpu_only,
    };
    let figures = measure::run(&plan)?;
    match arguments.format {
        Format::Table => println!("{}", report::table(&figures)),
        Format::Json => println!("{}", serde_json::to_string_pretty(&figures)?),
    }
    Ok(())
}
