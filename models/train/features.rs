//! Describes requests for training: `requests.jsonl` of the corpus, or lines `{"text": …}` of prose, on standard input;
//! one line of JSON for each on standard output, with the rows of each group and the two directions.

use std::io::{BufRead as _, Write as _, stdin, stdout};

use farthing::classify::Request;
use farthing::classify::features::{Features, describe, describe_prose};
use serde_json::{Value, json};

fn main() {
    let mut out = stdout().lock();
    for line in stdin().lock().lines() {
        let line: Value = serde_json::from_str(&line.expect("UTF-8")).expect("JSON");
        let Features { rows, ask, system } = match line["text"].as_str() {
            Some(prose) => describe_prose(prose),
            None => described(&line),
        };
        let line = json!({"rows": rows, "ask": &ask[..], "system": &system[..]});
        writeln!(out, "{line}").expect("somebody reads");
    }
}

fn described(line: &Value) -> Features {
    let turns: Vec<(&str, &str)> = line["turns"]
        .as_array()
        .expect("turns")
        .iter()
        .map(|turn| (turn["role"].as_str().expect("a role"), turn["text"].as_str().expect("a text")))
        .collect();
    let users: Vec<usize> = (0..turns.len()).filter(|&at| turns[at].0 == "user").collect();
    let last = users.last().copied();
    let results: Vec<&str> =
        turns[last.map_or(0, |at| at + 1)..].iter().filter(|turn| turn.0 == "tool").map(|turn| turn.1).collect();
    let tools: Vec<&str> = line["tools"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let before = users.len().checked_sub(2).map(|at| turns[users[at]].1);
    describe(&Request {
        last_user: last.map_or("", |at| turns[at].1),
        previous_user: before,
        system: line["system"].as_str().unwrap_or_default(),
        tool_results: &results,
        tools: &tools,
        wants_json: line["json"].as_bool().unwrap_or(false),
        user_turns: users.len().try_into().unwrap_or(u32::MAX),
        has_images: false,
    })
}
