//! What deciding takes; run with
//! `cargo test --lib --config profile.dev.opt-level=3 gateway::routing -- --ignored --nocapture`.

use std::fmt::Write as _;
use std::path::Path;

use super::*;
use crate::call::{Attribution, Surface};
use crate::config;
use crate::ids::{ModelId, ProviderId, RequestId, TeamId};
use crate::policy;
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

/// A policy of `rules` rules with so many globs and keywords each.
fn policy_of(rules: usize, entries: usize) -> Policy {
    let mut text = "---\nrules:\n".to_owned();
    for rule in 0..rules {
        let list = |entry: &dyn Fn(usize) -> String| (0..entries).map(entry).collect::<Vec<_>>().join(", ");
        let globs = list(&|n| format!("\"**/b{rule}_{n}/*.sql\""));
        let keywords = list(&|n| format!("drop{rule}x{n} table"));
        let _ = writeln!(text, "  - {{ when: {{ globs: [{globs}] }}, use: frontier }}");
        let _ = writeln!(text, "  - {{ when: {{ keywords: [{keywords}] }}, use: frontier }}");
    }
    policy::parse("p.md", &(text + "---\n")).expect("a policy").0
}

#[test]
#[ignore = "prints figures, asserts nothing"]
fn print_what_rules_take_over_a_large_text() {
    for (name, piece) in [
        ("words", "x.y "),
        ("prose", "Please drop the table of orders, and see a/b.sql for why. "),
        ("paths", &("a.b/".repeat(1_000) + "c.sql ")),
        ("near misses", "db/b1_1/x.sqlx drop1x1 tables "),
    ] {
        let text = piece.repeat((4 << 20) / piece.len());
        for (rules, entries) in [(1, 3), (30, 34)] {
            let policy = policy_of(rules, entries);
            let facts = Facts { last_user_turn: &[&text], ..Facts::default() };
            let began = Instant::now();
            let found = policy.rules.first_match(&facts);
            let per_megabyte = began.elapsed() / 4;
            println!("{name}: {} rules of {entries} entries: {per_megabyte:?} a megabyte, {found:?}", 2 * rules);
        }
    }
}
