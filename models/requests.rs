// How a line of the corpus' requests becomes what the classifier reads; shared by the trainer's features and the bench.

use farthing::classify::Request;
use serde_json::Value;

/// Calls `then` with the request that `line` holds: `{system, tools, json, turns: [{role, text}]}`.
pub fn with_request<T>(line: &Value, then: impl FnOnce(&Request<'_>) -> T) -> T {
    let turns: Vec<(&str, &str)> = line["turns"]
        .as_array()
        .expect("turns")
        .iter()
        .map(|turn| (turn["role"].as_str().expect("a role"), turn["text"].as_str().expect("a text")))
        .collect();
    let users: Vec<usize> = (0..turns.len()).filter(|&at| turns[at].0 == "user").collect();
    let last = users.last().copied();
    let after = last.map_or(0, |at| at + 1);
    let results: Vec<&str> = turns[after..].iter().filter(|turn| turn.0 == "tool").map(|turn| turn.1).collect();
    let tools: Vec<&str> = line["tools"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    then(&Request {
        last_user: last.map_or("", |at| turns[at].1),
        previous_user: users.len().checked_sub(2).map(|at| turns[users[at]].1),
        system: line["system"].as_str().unwrap_or_default(),
        tool_results: &results,
        tools: &tools,
        wants_json: line["json"].as_bool().unwrap_or(false),
        user_turns: users.len().try_into().unwrap_or(u32::MAX),
        has_images: false,
    })
}
