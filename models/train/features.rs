//! Describes requests for training: `requests.jsonl` of the corpus, or lines `{"text": …}` of prose, on standard input;
//! one line of JSON for each on standard output, with the rows of each group and the two directions.

#[path = "../requests.rs"]
mod requests;

use std::io::{BufRead as _, Write as _, stdin, stdout};

use farthing::classify::features::{Features, describe, describe_prose};
use serde_json::{Value, json};

fn main() {
    let mut out = stdout().lock();
    for line in stdin().lock().lines() {
        let line: Value = serde_json::from_str(&line.expect("UTF-8")).expect("JSON");
        let Features { rows, ask, system, .. } = match line["text"].as_str() {
            Some(prose) => describe_prose(prose),
            None => requests::with_request(&line, describe),
        };
        let line = json!({"rows": rows, "ask": &ask[..], "system": &system[..]});
        writeln!(out, "{line}").expect("somebody reads");
    }
}
