//! What classifying one turn costs, in processor time of one thread.

use std::hint::black_box;
use std::time::Instant;

use farthing::classify::{Classifier, Request};
use farthing::policy::Policy;

/// Rounds of each case; the median of them counts.
const ROUNDS: usize = 2_000;

/// Prints the median for asks and material of several sizes.
pub fn run(policy: &Policy) {
    let classifier = Classifier::compile(policy);
    let log = "2026-11-02 02:10:01 ERROR worker-3 lost heartbeat after 45 s, task=load_orders attempt=2\n";
    let system = "You are the on-call agent of the data platform. Answer in short sentences. ".repeat(20);
    let cases = [
        ("short ask", "Why did the load of orders fail last night?".to_owned(), 0),
        (
            "ask of 400 bytes",
            "Please look at what changed in the table and tell me which column differs. ".repeat(5),
            0,
        ),
        (
            "ask of 900 bytes",
            "Please look at what changed in the table and tell me which column differs. ".repeat(12),
            0,
        ),
        ("4 KiB of log and an ask", format!("{}which of these are new?", log.repeat(45)), 0),
        ("ask and 4 KiB from a tool", "Why did the load of orders fail last night?".to_owned(), 45),
    ];
    println!("\nclassifying one turn, microseconds");
    for (name, ask, result_lines) in cases {
        let result = log.repeat(result_lines);
        let results: &[&str] = if result_lines == 0 { &[] } else { &[&result] };
        let request =
            Request { last_user: &ask, system: &system, tool_results: results, user_turns: 3, ..Request::default() };
        let mut times: Vec<f64> = (0..ROUNDS)
            .map(|_| {
                let start = Instant::now();
                black_box(classifier.classify(black_box(&request)));
                start.elapsed().as_secs_f64() * 1e6
            })
            .collect();
        times.sort_by(f64::total_cmp);
        println!("  {name:28} {:7.1}", times[ROUNDS / 2]);
    }
}
