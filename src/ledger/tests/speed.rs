//! What an append and a request's two rows cost; run with
//! `cargo test --lib --config profile.dev.opt-level=3 ledger::tests::speed -- --ignored --nocapture`.

use std::time::Instant;

use super::*;
use crate::ledger::batch::Batch;
use crate::ledger::journal::Position;
use crate::ledger::mirror::{Feeder, Target};
use crate::ledger::tables::Tables;

const REQUESTS: usize = 200_000;

#[test]
#[ignore = "prints figures, asserts nothing"]
fn print_the_cost_of_append_and_apply() {
    append_alone();
    for requests_a_batch in [1_000, 100, 1] {
        let [without, with] = [false, true].map(|is_noted| apply_alone(requests_a_batch, is_noted));
        println!("notes for a mirror: {:+.1} % CPU", 100.0 * (with.as_secs_f64() / without.as_secs_f64() - 1.0));
    }
    steady_load();
}

fn append_alone() {
    let (_folder, ledger) = fresh();
    let ids: Vec<RequestId> = (0..REQUESTS).map(|_| RequestId::new()).collect();
    let (began, cpu_before) = (Instant::now(), cpu());
    for id in &ids {
        append(&ledger, &[intent(attempt(*id, 1)), outcome(attempt(*id, 1), 7, Some(closing()))]);
    }
    let (wall, cpu) = (began.elapsed() / REQUESTS as u32 / 2, (cpu() - cpu_before) / REQUESTS as u32 / 2);
    println!("append: {cpu:?} CPU and {wall:?} wall a record, applier running");
    sync(&ledger);
    println!("append and apply at full speed: {:?} wall a request", began.elapsed() / REQUESTS as u32);
}

/// Ten thousand requests a second for ten seconds: how far the views lag, and what the process holds.
fn steady_load() {
    let (folder, ledger) = fresh();
    let mut lag = Duration::ZERO;
    let began = Instant::now();
    for tick in 1..=10_000_u32 {
        for _ in 0..10 {
            let id = RequestId::new();
            append(&ledger, &[intent(attempt(id, 1)), outcome(attempt(id, 1), 7, Some(closing()))]);
        }
        lag = lag.max(ledger.lag());
        std::thread::sleep((Duration::from_millis(1) * tick).saturating_sub(began.elapsed()));
    }
    println!("10k requests a second: largest lag {lag:?}, took {:?}", began.elapsed());
    let status = std::fs::read_to_string("/proc/self/status").expect("it reads");
    for line in status.lines().filter(|line| line.starts_with("VmRSS") || line.starts_with("VmHWM")) {
        println!("{line}");
    }
    sync(&ledger);
    drop(ledger);
    let size = folder.path().join("farthing.db").metadata().expect("it is there").len();
    println!("database: {} bytes a request", size / 100_000);
}

/// CPU time of this thread so far.
fn cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("it reads");
    Duration::from_nanos(text.split(' ').next().and_then(|field| field.parse().ok()).expect("it is a number"))
}

/// CPU time a request; with `is_noted` every change is noted for a mirror that cannot be reached.
fn apply_alone(requests_a_batch: usize, is_noted: bool) -> Duration {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut tables = Tables::open(&folder.path().join("farthing.db")).expect("it opens");
    let nowhere = Target::parse("postgres://farthing@127.0.0.1:1/none?sslmode=disable").expect("a good URL");
    let feeder = is_noted.then(|| Feeder::start(&folder.path().join("farthing.db"), nowhere).expect("a feeder"));
    let count = (requests_a_batch * 2_000).min(REQUESTS);
    let ids: Vec<RequestId> = (0..count).map(|_| RequestId::new()).collect();
    let (began, cpu_before) = (Instant::now(), cpu());
    for (number, chunk) in ids.chunks(requests_a_batch).enumerate() {
        let mut batch = Batch::default();
        for id in chunk {
            batch.add(intent(attempt(*id, 1)));
            batch.add(outcome(attempt(*id, 1), 7, Some(closing())));
        }
        tables.apply(batch, Position { segment: 1, offset: number as u64 }).expect("it applies");
    }
    let (wall, cpu) = (began.elapsed() / count as u32, (cpu() - cpu_before) / count as u32);
    let noted = if is_noted { ", noted" } else { "" };
    println!("apply alone, {requests_a_batch} requests a batch{noted}: {cpu:?} CPU and {wall:?} wall a request");
    feeder.into_iter().for_each(Feeder::stop);
    cpu
}
