//! The inputs that fuzzing starts from, and those that once broke something: what must hold of every input holds of them.

#[path = "../../fuzz/src/lib.rs"]
mod properties;

use std::path::Path;

/// Replays every kept input of a fuzz target.
fn replay(target: &str, property: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut inputs = 0;
    for entry in folder.read_dir().expect("a corpus") {
        let file = entry.expect("an entry").path();
        let input = std::fs::read(&file).expect("a readable file");
        assert!(input.len() <= 4096, "{} is longer than inputs are made", file.display());
        println!("{}", file.display());
        property(&input);
        inputs += 1;
    }
    assert!(inputs > 0, "{} is empty", folder.display());
}

#[test]
fn every_kept_stream_decodes_alike_however_it_is_cut() {
    replay("sse", properties::sse);
}

#[test]
fn every_kept_body_leaves_as_declared() {
    replay("body", properties::body);
}

#[test]
fn every_kept_reply_adds_up() {
    replay("reply", properties::reply);
}

#[test]
fn every_kept_request_is_said_so_that_its_target_reads_it() {
    replay("said_request", properties::translation::request);
}

#[test]
fn every_kept_answer_is_said_with_its_figures() {
    replay("said_reply", properties::translation::reply);
}

#[test]
fn every_kept_translated_stream_is_whole_events_with_one_end() {
    replay("said_stream", properties::translation::stream);
}

#[test]
fn every_kept_configuration_meets_the_same_verdict_each_time() {
    replay("config", properties::config);
}

#[test]
fn every_kept_policy_meets_the_same_verdict_each_time() {
    replay("policy", properties::policy);
}

#[test]
fn every_kept_price_file_prices_within_its_bounds() {
    replay("prices", properties::prices);
}
