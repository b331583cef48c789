//! What an append and a request's two rows cost; run with
//! `cargo test --lib --config profile.dev.opt-level=3 ledger::tests::speed -- --ignored --nocapture`.

use std::time::Instant;

use super::*;
use crate::ledger::batch::Batch;
use crate::ledger::journal::Position;
use crate::ledger::tables::Tables;

const REQUESTS: usize = 200_000;

#[test]
#[ignore = "prints figures, asserts nothing"]
fn print_the_cost_of_append_and_apply() {
    let (folder, ledger) = fresh();
    let ids: Vec<RequestId> = (0..REQUESTS).map(|_| RequestId::new()).collect();
    let began = Instant::now();
    for id in &ids {
        append(&ledger, &[intent(attempt(*id, 1)), outcome(attempt(*id, 1), 7, Some(closing()))]);
    }
    let appended = began.elapsed();
    sync(&ledger);
    println!("append, applier running: {:?} a record", appended / (2 * REQUESTS as u32));
    println!("append and apply: {:?} a request, wall", began.elapsed() / REQUESTS as u32);
    drop(ledger);
    let size: u64 = folder.path().join("farthing.db").metadata().expect("it is there").len();
    println!("database: {} bytes a request", size / REQUESTS as u64);
    apply_alone(1_000);
    if std::env::var_os("ONLY").is_some() {
        return;
    }
    apply_alone(100);
    apply_alone(1);
}

/// CPU time of this thread so far.
fn cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("it reads");
    Duration::from_nanos(text.split(' ').next().and_then(|field| field.parse().ok()).expect("it is a number"))
}

fn apply_alone(requests_a_batch: usize) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut tables = Tables::open(&folder.path().join("farthing.db")).expect("it opens");
    let count = (requests_a_batch * 200).min(REQUESTS);
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
    println!("apply alone, {requests_a_batch} requests a batch: {cpu:?} CPU and {wall:?} wall a request");
}
