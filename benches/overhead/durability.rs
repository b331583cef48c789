//! What `durability: power` adds to a request's time: two gateways that differ in nothing else, in turns.

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use super::bodies::Case;
use super::load::{first_reply, round};
use super::measure::Interval;
use super::processes::{Home, Process};

/// Requests of one round for each one in flight.
const REQUESTS_EACH: usize = 60;

/// Latencies at one concurrency, in microseconds.
#[derive(Serialize)]
pub struct Added {
    in_flight: usize,
    rounds: usize,
    requests: usize,
    process_p50_us: Interval,
    process_p99_us: Interval,
    power_p50_us: Interval,
    power_p99_us: Interval,
    /// `power` above `process` in the same round.
    added_p50_us: Interval,
    added_p99_us: Interval,
    /// Requests a second.
    process_per_second: Interval,
    power_per_second: Interval,
}

/// Measures the small case at each concurrency, both gateways in every round.
///
/// # Errors
///
/// A process that does not start, and the first request that fails.
pub fn run(in_flight: &[usize], rounds: usize) -> Result<Vec<Added>, Box<dyn Error>> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(measure(in_flight, rounds))
}

async fn measure(in_flight: &[usize], rounds: usize) -> Result<Vec<Added>, Box<dyn Error>> {
    let provider = Process::role("provider", &[])?;
    let program = Path::new(env!("CARGO_BIN_EXE_farthing"));
    let homes = [
        Home::with_ledger(&provider.addresses, "durability: process")?,
        Home::with_ledger(&provider.addresses, "durability: power")?,
    ];
    let gateways = [Process::farthing(program, &homes[0])?, Process::farthing(program, &homes[1])?];
    for gateway in &gateways {
        first_reply(gateway.addresses[0]).await?;
    }
    let mut all = Vec::new();
    for &in_flight in in_flight {
        let requests = in_flight * REQUESTS_EACH;
        let mut seen = [Vec::new(), Vec::new()];
        for turn in 0..=rounds {
            for place in [turn % 2, (turn + 1) % 2] {
                let round = round(gateways[place].door(Case::Small), Case::Small, in_flight, requests).await?;
                let at = |part: usize| micros(round.latencies[round.latencies.len() * part / 100]);
                // The first turn warms up.
                if turn > 0 {
                    seen[place].push((at(50), at(99), requests as f64 / round.took.as_secs_f64()));
                }
            }
        }
        let [process, power] = &seen;
        let of = |mine: &[(f64, f64, f64)], figure: fn(&(f64, f64, f64)) -> f64| {
            Interval::of(mine.iter().map(figure).collect())
        };
        let added = |figure: fn(&(f64, f64, f64)) -> f64| {
            Interval::of(process.iter().zip(power).map(|(process, power)| figure(power) - figure(process)).collect())
        };
        all.push(Added {
            in_flight,
            rounds,
            requests,
            process_p50_us: of(process, |seen| seen.0),
            process_p99_us: of(process, |seen| seen.1),
            power_p50_us: of(power, |seen| seen.0),
            power_p99_us: of(power, |seen| seen.1),
            added_p50_us: added(|seen| seen.0),
            added_p99_us: added(|seen| seen.1),
            process_per_second: of(process, |seen| seen.2),
            power_per_second: of(power, |seen| seen.2),
        });
    }
    Ok(all)
}

/// The figures as text.
pub fn table(all: &[Added]) -> String {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header(["in flight", "durability", "p50 us", "p99 us", "added p50 us", "added p99 us", "requests/s"]);
    for of in all {
        let in_flight = of.in_flight.to_string();
        let plain = [of.process_p50_us, of.process_p99_us].map(text);
        let [p50, p99] = plain;
        table.add_row([
            in_flight.clone(),
            "process".into(),
            p50,
            p99,
            String::new(),
            String::new(),
            text(of.process_per_second),
        ]);
        let [p50, p99, added_p50, added_p99] =
            [of.power_p50_us, of.power_p99_us, of.added_p50_us, of.added_p99_us].map(text);
        table.add_row([in_flight, "power".into(), p50, p99, added_p50, added_p99, text(of.power_per_second)]);
    }
    for column in table.column_iter_mut() {
        column.set_cell_alignment(CellAlignment::Right);
    }
    format!(
        "Small requests through two gateways that differ in `ledger.durability` alone, in turns; medians of rounds, in\n\
         brackets an interval that holds the true median with at least 95 % from 6 rounds on. The ledgers stand in the\n\
         target folder: what a sync costs is that disk's.\n\n{table}"
    )
}

fn text(of: Interval) -> String {
    format!("{:.0} [{:.0}, {:.0}]", of.median, of.low, of.high)
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}
