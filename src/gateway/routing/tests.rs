//! What deciding takes; run with
//! `cargo test --lib --config profile.dev.opt-level=3 gateway::routing -- --ignored --nocapture`.

use std::path::Path;

use super::*;
use crate::call::{Attribution, Surface};
use crate::config;
use crate::ids::{ModelId, ProviderId, RequestId, TeamId};
use crate::wire::openai_chat;

const CONFIG: &str = "providers: { openai: { protocol: openai, base_url: 'http://127.0.0.1:9/v1', models: ['*'] } }\n\
    tiers: { frontier: [openai/gpt-5.6-sol], reasoning: [openai/gpt-5.6-terra], lightweight: [openai/gpt-5.6-luna] }\n";
const ROUNDS: u32 = 300;

/// An agent's conversation of about so many bytes: a tool's results of two kilobytes, a turn of the user's every tenth.
fn body(bytes: usize, last: &str) -> String {
    let result = "2026-11-20T03:14:15Z ERROR orders_daily: \"row 17\" is malformed\n\tat load (job.py:88)\n".repeat(24);
    let mut messages = vec![serde_json::json!({"role": "system", "content": "You run data pipelines. ".repeat(60)})];
    let mut length = 0;
    while length < bytes {
        let n = messages.len();
        if n % 20 == 1 {
            messages.push(serde_json::json!({"role": "user", "content": "Look at the next log, please"}));
        }
        let call = serde_json::json!([{"id": n.to_string(), "type": "function", "function": {"name": "read_log", "arguments": "{\"n\":1}"}}]);
        messages.push(serde_json::json!({"role": "assistant", "content": null, "tool_calls": call}));
        messages.push(serde_json::json!({"role": "tool", "tool_call_id": n.to_string(), "content": result}));
        length += result.len() + 200;
    }
    messages.push(serde_json::json!({"role": "user", "content": last}));
    let tools: Vec<_> = (0..12)
        .map(|n| serde_json::json!({"type": "function", "function": {"name": format!("tool_{n}"), "parameters": {}}}))
        .collect();
    serde_json::json!({"model": "auto", "messages": messages, "tools": tools}).to_string()
}

fn facts(body: &str) -> CallFacts {
    CallFacts {
        id: RequestId::new(),
        arrived: Instant::now(),
        read: Instant::now(),
        at_ms: 1_795_000_000_000,
        surface: Surface::ChatCompletions,
        body_bytes: body.len(),
        view: openai_chat::read(body.as_bytes()).expect("a chat body"),
        who: Attribution::of_team(TeamId::from("t")),
        pinned_tier: None,
        session: None,
        deadline: None,
        on_short: None,
    }
}

#[test]
#[ignore = "prints figures, asserts nothing"]
fn print_what_deciding_takes() {
    let config = config::parse("c", CONFIG, Path::new(""), &|_| None).expect("a configuration");
    let routing = Routing::new(Arc::new(config), Set::builtin());
    let book = Book::builtin();
    let model = ModelRef { provider: ProviderId::from("openai"), model: ModelId::from("gpt-5.6-sol") };
    book.read_ahead("openai");
    for (name, bytes) in [("small", 2 << 10), ("medium", 40 << 10), ("large", 250 << 10)] {
        let bodies: Vec<String> = (0..ROUNDS).map(|n| body(bytes, &format!("What is wrong in log {n}?"))).collect();
        let read = Instant::now();
        let calls: Vec<CallFacts> = bodies.iter().map(|body| facts(body)).collect();
        let read = read.elapsed() / ROUNDS;
        let (mut best, decide) = (std::time::Duration::MAX, Instant::now());
        for (call, body) in calls.iter().zip(&bodies) {
            let began = Instant::now();
            let asking = Asking { call, body: body.as_bytes(), key: None, book, downgrade: false };
            let (_, remembered) = routing.decide(asking, Instant::now()).expect("a plan").into_parts();
            routing.answered(remembered, &model, Instant::now());
            best = best.min(began.elapsed());
        }
        let decide = decide.elapsed() / ROUNDS;
        println!(
            "{name}: {} bytes, read with its outline {read:?}, decided {decide:?}, best {best:?}",
            bodies[0].len()
        );
    }
}
