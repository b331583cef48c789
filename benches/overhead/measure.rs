//! Rounds, turn by turn, and the figures that come out of them.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use super::bodies::{Case, STREAM_EVENTS};
use super::load::{first_reply, round};
use super::processes::{Home, Process};

/// How long a proxy rests after a round, so that its ledger and log are done before its CPU is read.
pub const REST: Duration = Duration::from_millis(300);
/// How often a first reply is timed.
const STARTS: usize = 7;

/// What is measured.
pub struct Plan {
    pub cases: Vec<Case>,
    pub in_flight: Vec<usize>,
    pub rounds: usize,
    /// Length of a round as a part of its full length.
    pub scale: f64,
    pub also: Option<PathBuf>,
    /// A gateway that holds money takes part.
    pub budgets: bool,
    pub beside_cpu: bool,
}

/// A median, and an interval that holds the true one with at least 95 % (or all rounds, if they are few).
#[derive(Clone, Copy, Serialize)]
pub struct Interval {
    pub low: f64,
    pub median: f64,
    pub high: f64,
}

impl Interval {
    /// Of some rounds: no distribution is assumed, the interval's ends are rounds.
    pub fn of(mut values: Vec<f64>) -> Self {
        values.sort_unstable_by(f64::total_cmp);
        let n = values.len();
        let median = (values[n / 2] + values[(n - 1) / 2]) / 2.0;
        // The k lowest and highest are left out while rounds so placed would miss the median in under 5 %.
        let (mut k, mut missed, mut ways) = (0, 0.0, 1.0);
        while k < n / 2 {
            missed += 2.0 * ways * 0.5_f64.powi(n as i32);
            if missed > 0.05 {
                break;
            }
            ways *= (n - k) as f64 / (k + 1) as f64;
            k += 1;
        }
        let cut = k.saturating_sub(1);
        Self { low: values[cut], median, high: values[n - 1 - cut] }
    }
}

/// All figures of a run.
#[derive(Serialize)]
pub struct Figures {
    pub cores: usize,
    /// The machine's load, averaged over a minute, before and after.
    pub load: [String; 2],
    pub cases: Vec<CaseFigures>,
    pub beside: Option<Beside>,
    /// Requests that the gateway answered, and attempts in its ledger that completed at an exact cost.
    pub answered: u64,
    pub settled: u64,
}

/// One case at one concurrency.
#[derive(Serialize)]
pub struct CaseFigures {
    pub case: &'static str,
    pub body_bytes: usize,
    pub in_flight: usize,
    pub rounds: usize,
    pub requests: usize,
    /// Events of each reply; 1 if it is no stream.
    pub events: usize,
    pub target: Option<(f64, f64)>,
    /// The yardstick first.
    pub proxies: Vec<ProxyFigures>,
}

/// One proxy in one case.
#[derive(Serialize)]
pub struct ProxyFigures {
    pub name: String,
    pub cpu_us: Interval,
    pub p50_us: Interval,
    pub per_second: Interval,
    /// CPU as a multiple of the yardstick's in the same round.
    pub ratio: Interval,
    /// Median latency above the yardstick's in the same round.
    pub added_us: Interval,
}

/// What is measured beside time.
#[derive(Serialize)]
pub struct Beside {
    /// Allocations a request: case, yardstick, gateway.
    pub allocations: Vec<(&'static str, f64, f64)>,
    pub idle_mb: f64,
    /// While every request named its model, so that no classifier was read.
    pub peak_named_mb: f64,
    pub peak_mb: f64,
    /// At rest behind the last case.
    pub rest_mb: f64,
    pub first_reply_ms: Interval,
}

struct Sample {
    cpu_us: f64,
    p50_us: f64,
    per_second: f64,
}

/// Measures everything in the plan.
///
/// # Errors
///
/// A process that does not start, and the first request that fails.
pub fn run(plan: &Plan) -> Result<Figures, Box<dyn Error>> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(measure(plan))
}

async fn measure(plan: &Plan) -> Result<Figures, Box<dyn Error>> {
    let load_before = load_average();
    let provider = Process::role("provider", &[])?;
    let upstreams: Vec<String> = provider.addresses.iter().map(ToString::to_string).collect();
    let program = Path::new(env!("CARGO_BIN_EXE_farthing"));
    let home = Home::new(&provider.addresses)?;
    let mut proxies = vec![
        ("bare".to_owned(), Process::role("bare", &upstreams)?),
        ("farthing".to_owned(), Process::farthing(program, &home)?),
    ];
    let other_home = Home::new(&provider.addresses)?;
    if let Some(also) = &plan.also {
        proxies.push(("also".to_owned(), Process::farthing(also, &other_home)?));
    }
    let holding_home = Home::with_budgets(&provider.addresses)?;
    if plan.budgets {
        proxies.push(("budgets".to_owned(), Process::farthing(program, &holding_home)?));
    }
    for (_, process) in &proxies {
        first_reply(process.addresses[0]).await?;
    }
    let mut answered = 1;
    tokio::time::sleep(REST).await;
    let (idle_mb, _) = proxies[1].1.memory()?;
    let (mut cases, mut peak_named_mb) = (Vec::new(), idle_mb);
    for &case in &plan.cases {
        for &in_flight in &plan.in_flight {
            let requests = ((case.requests(in_flight) as f64 * plan.scale) as usize).max(in_flight);
            for (_, process) in &proxies {
                round(process.door(case), case, in_flight, requests / 4 + 1).await?;
            }
            let mut samples: Vec<Vec<Sample>> = proxies.iter().map(|_| Vec::new()).collect();
            for turn in 0..plan.rounds {
                for place in 0..proxies.len() {
                    // Who goes first changes, so that drift in the machine falls on all alike.
                    let place = (place + turn) % proxies.len();
                    samples[place].push(sample(&proxies[place].1, case, in_flight, requests).await?);
                }
            }
            let first = if case.first().is_some() { plan.rounds + 1 } else { 0 };
            answered += (requests / 4 + 1 + requests * plan.rounds + first) as u64;
            eprintln!("{}, {in_flight} in flight: done", case.name());
            if !case.is_routed() {
                (_, peak_named_mb) = proxies[1].1.memory()?;
            }
            let names = proxies.iter().map(|(name, _)| name.clone());
            cases.push(CaseFigures {
                case: case.name(),
                body_bytes: case.body().len(),
                in_flight,
                rounds: plan.rounds,
                requests,
                events: if case.is_stream() { STREAM_EVENTS } else { 1 },
                target: case.target(),
                proxies: figures(names, &samples),
            });
        }
    }
    let (rest_mb, peak_mb) = proxies[1].1.memory()?;
    let settled = settled(&home, answered).await?;
    drop(proxies);
    let beside = if plan.beside_cpu {
        Some(Beside {
            allocations: allocations(plan, &provider.addresses, &upstreams).await?,
            idle_mb,
            peak_named_mb,
            peak_mb,
            rest_mb,
            first_reply_ms: starts(program, &provider.addresses).await?,
        })
    } else {
        None
    };
    let cores = std::thread::available_parallelism()?.get();
    Ok(Figures { cores, load: [load_before, load_average()], cases, beside, answered, settled })
}

async fn sample(process: &Process, case: Case, in_flight: usize, requests: usize) -> Result<Sample, Box<dyn Error>> {
    let before = process.cpu()?;
    let seen = round(process.door(case), case, in_flight, requests).await?;
    tokio::time::sleep(REST).await;
    let used = process.cpu()?.saturating_sub(before);
    Ok(Sample {
        cpu_us: micros(used) / requests as f64,
        p50_us: micros(seen.p50()),
        per_second: requests as f64 / seen.took.as_secs_f64(),
    })
}

fn figures(names: impl Iterator<Item = String>, samples: &[Vec<Sample>]) -> Vec<ProxyFigures> {
    let of = |mine: &[Sample], figure: fn(&Sample, &Sample) -> f64| {
        Interval::of(mine.iter().zip(&samples[0]).map(|(mine, bare)| figure(mine, bare)).collect())
    };
    names
        .zip(samples)
        .map(|(name, mine)| ProxyFigures {
            name,
            cpu_us: of(mine, |mine, _| mine.cpu_us),
            p50_us: of(mine, |mine, _| mine.p50_us),
            per_second: of(mine, |mine, _| mine.per_second),
            ratio: of(mine, |mine, bare| mine.cpu_us / bare.cpu_us),
            added_us: of(mine, |mine, bare| mine.p50_us - bare.p50_us),
        })
        .collect()
}

/// Allocations a request, in processes of their own so that counting them slows nothing else.
async fn allocations(
    plan: &Plan,
    providers: &[std::net::SocketAddr],
    upstreams: &[String],
) -> Result<Vec<(&'static str, f64, f64)>, Box<dyn Error>> {
    let home = Home::new(providers)?;
    let mut gateway = Process::role("gateway-counted", &[home.config.display().to_string()])?;
    let mut bare = Process::role("bare-counted", upstreams)?;
    let mut figures = Vec::new();
    for &case in &plan.cases {
        let requests = case.requests(32) / 4;
        let mut each = [0.0; 2];
        for (figure, process) in each.iter_mut().zip([&mut bare, &mut gateway]) {
            round(process.door(case), case, 32, requests).await?;
            tokio::time::sleep(REST).await;
            let before = process.allocations()?;
            round(process.door(case), case, 32, requests).await?;
            tokio::time::sleep(REST).await;
            *figure = (process.allocations()? - before) as f64 / requests as f64;
        }
        figures.push((case.name(), each[0], each[1]));
    }
    Ok(figures)
}

/// From the start of the process, on an empty folder, to its first reply in milliseconds.
async fn starts(program: &Path, providers: &[std::net::SocketAddr]) -> Result<Interval, Box<dyn Error>> {
    let mut times = Vec::new();
    for _ in 0..STARTS {
        let home = Home::new(providers)?;
        let began = std::time::Instant::now();
        let process = Process::farthing(program, &home)?;
        first_reply(process.addresses[0]).await?;
        times.push(micros(began.elapsed()) / 1000.0);
    }
    Ok(Interval::of(times))
}

/// How many attempts the ledger has settled, once it shows them all or five seconds have passed.
async fn settled(home: &Home, wanted: u64) -> Result<u64, Box<dyn Error>> {
    for _ in 0..50 {
        if home.settled_attempts()? >= wanted {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    home.settled_attempts()
}

fn load_average() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_owned()
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}
