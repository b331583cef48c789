//! What classifying and routing costs: a turn by itself, the changed turn of a known conversation, a conversation that
//! nobody knows, and `farthing explain` as a whole.
//!
//! Times are of one thread that does nothing else, the median of the rounds; beside it the processor time of a round by
//! the kernel's own account, which leaves out what other processes took. Asks are those of the held-out requests.

use std::fs;
use std::hint::black_box;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use farthing::call::{Attribution, CallFacts, Surface};
use farthing::classify::{Classifier, Memo, Request};
use farthing::config;
use farthing::cost::Book;
use farthing::gateway::routing::{Asking, Routing};
use farthing::ids::{ModelId, ProviderId, RequestId, TeamId};
use farthing::plan::ModelRef;
use farthing::policy::{Policy, Set};
use farthing::wire::openai_chat;
use serde_json::{Value, json};

const CONFIG: &str = "providers: { openai: { protocol: openai, base_url: 'http://127.0.0.1:9/v1', models: ['*'] } }\n\
    tiers: { frontier: [openai/gpt-5.6-sol], reasoning: [openai/gpt-5.6-terra], lightweight: [openai/gpt-5.6-luna] }\n";
const LOG_LINE: &str = "2026-11-02 02:10:01 ERROR worker-3 lost heartbeat after 45 s, task=load_orders attempt=2\n";
const REQUESTS: &str = include_str!("../../models/corpus/heldout/orders_daily.jsonl");
/// Rounds of each case.
const ROUNDS: usize = 600;

/// Prints all of it.
pub fn run(policy: &Policy) {
    println!("microseconds of a round: median, and processor time on the average\n");
    alone(policy);
    routed();
    explained();
}

/// Classifying alone, with nothing remembered and with all but the turn.
fn alone(policy: &Policy) {
    let classifier = Classifier::compile(policy);
    let system = "You are the on-call agent of the data platform. Answer in short sentences. ".repeat(20);
    let question = "Please look at what changed in the table and tell me which column differs. ";
    let failed = "Why did the load of orders fail last night?";
    let cases = [
        ("short ask", failed.to_owned(), 0),
        ("ask of 400 bytes", question.repeat(5), 0),
        ("ask of 900 bytes", question.repeat(12), 0),
        ("4 KiB of log and an ask", format!("{}which of these are new?", LOG_LINE.repeat(45)), 0),
        ("ask and 4 KiB from a tool", failed.to_owned(), 45),
    ];
    println!("classifying one turn, nothing remembered");
    for (name, ask, result_lines) in &cases {
        let result = LOG_LINE.repeat(*result_lines);
        Times::of(0..ROUNDS, |_| turn(&system, ask, &result, |request| classifier.classify(black_box(request))))
            .print(name);
    }
    println!("the same with the system prompt remembered and another word in the turn");
    let memo = Memo::default();
    for (name, ask, result_lines) in &cases {
        let texts = (0..ROUNDS).map(|n| match result_lines {
            0 => (format!("{ask} {n}"), String::new()),
            lines => (ask.clone(), format!("{}{n}", LOG_LINE.repeat(*lines))),
        });
        let classify = |request: &Request<'_>| classifier.classify_remembered(black_box(request), &memo);
        Times::of(texts, |(ask, result)| turn(&system, &ask, &result, classify)).print(name);
    }
}

/// A later turn of a conversation, with what a tool returned after it.
fn turn<T>(system: &str, ask: &str, result: &str, then: impl FnOnce(&Request<'_>) -> T) -> T {
    let results = [result];
    let tool_results = if result.is_empty() { &results[..0] } else { &results };
    then(&Request { last_user: ask, system, tool_results, user_turns: 3, ..Request::default() })
}

/// Deciding a whole call by the built-in policy. The body has been read, but for the last part.
fn routed() {
    let routing = || {
        let config = config::parse("c", CONFIG, Path::new(""), &|_| None).expect("a configuration");
        Routing::new(Arc::new(config), Set::builtin())
    };
    let book = Book::builtin();
    book.read_ahead("openai");
    let model = ModelRef { provider: ProviderId::from("openai"), model: ModelId::from("gpt-5.6-sol") };
    let asks: Vec<String> = REQUESTS.lines().step_by(3).map(last_turn).collect();
    let decide = |routing: &Routing, body: &str, call: &CallFacts| {
        let asking = Asking { call, body: body.as_bytes(), key: None, book, downgrade: false };
        let (plan, remembered) = routing.decide(asking, Instant::now()).expect("a plan").into_parts();
        routing.answered(remembered, &model, Instant::now());
        plan.tier
    };
    println!("\nclassifying and routing the changed turn of a known conversation");
    for (name, system, history) in
        [("small", 900, vec![]), ("medium", 6_000, exchanges(5)), ("large", 8_000, calls(63))]
    {
        let routing = routing();
        let first = history.iter().cloned().chain([user("And the rest?"), assistant("Done.")]);
        let known: Vec<Value> = [instructions(system)].into_iter().chain(first).collect();
        let call = |more: Value| called(&known.iter().cloned().chain([more]).collect::<Vec<_>>());
        let turn = |ask: &String| call(user(ask));
        let step = |ask: &String| {
            let task = [user("Find out why the load of orders fails, and repair it."), calling(7)];
            called(&known.iter().cloned().chain(task).chain([result(7, ask.repeat(3))]).collect::<Vec<_>>())
        };
        let measure = |bodies: &[(String, CallFacts)], what: &str| {
            decide(&routing, &bodies[0].0, &bodies[0].1);
            let bytes = bodies.iter().map(|(body, _)| body.len()).sum::<usize>() / bodies.len();
            let times = Times::of(&bodies[1..], |(body, call)| decide(&routing, body, call));
            times.print(&format!("{name}, {bytes} bytes, {what}"));
        };
        measure(&asks.iter().map(turn).collect::<Vec<_>>(), "a user's turn");
        measure(&asks.iter().map(step).collect::<Vec<_>>(), "a tool's result");
    }
    println!("\nreading, classifying and routing a conversation that nobody knows");
    for (name, bytes) in [("4,000 tokens", 16_000), ("60,000 tokens", 240_000)] {
        let routing = routing();
        let bodies: Vec<String> = asks.iter().enumerate().map(|(n, ask)| cold(n, bytes, ask)).collect();
        Times::of(&bodies, |body| decide(&routing, body, &facts(body))).print(name);
    }
}

/// A conversation of about so many bytes in which no message is like one of another `n`.
fn cold(n: usize, bytes: usize, ask: &str) -> String {
    let mut messages = vec![json!({ "role": "system", "content": format!("Assistant {n}. {}", prose(n, 3_000)) })];
    messages.push(user(&format!("{n}: {}", prose(n + 1, 600))));
    let mut length = 4_000;
    while length + 3_500 < bytes {
        messages.extend([calling(messages.len()), result(messages.len(), format!("{n}\n{}", LOG_LINE.repeat(36)))]);
        length += 3_600;
    }
    messages.push(user(ask));
    called(&messages).0
}

/// Requests a second by the program itself, with the machine's cores.
fn explained() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/corpus/requests");
    let mut files: Vec<_> =
        fs::read_dir(folder).expect("the corpus").map(|file| file.expect("a file").path()).collect();
    files.sort();
    let mut lines = Vec::new();
    for file in files {
        let text = fs::read_to_string(file).expect("UTF-8");
        lines.extend(text.lines().map(|line| chat(&serde_json::from_str(line).expect("JSON")).to_string()));
    }
    let input = lines.join("\n");
    let rate = |_| {
        let start = Instant::now();
        let mut child = Command::new(env!("CARGO_BIN_EXE_farthing"))
            .args(["explain", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("the program starts");
        child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("it reads");
        assert!(child.wait().expect("it ends").success());
        lines.len() as f64 / start.elapsed().as_secs_f64()
    };
    let best = (0..5).map(rate).fold(0.0, f64::max);
    println!(
        "\nfarthing explain: {} requests of {} bytes, {best:.0} a second, the best of five runs",
        lines.len(),
        input.len() / lines.len()
    );
}

/// A line of the corpus as a chat request.
fn chat(line: &Value) -> Value {
    let mut messages = Vec::new();
    if let Some(system) = line["system"].as_str().filter(|system| !system.is_empty()) {
        messages.push(json!({ "role": "system", "content": system }));
    }
    for turn in line["turns"].as_array().expect("turns") {
        let text = turn["text"].as_str().expect("a text");
        match turn["role"].as_str().expect("a role") {
            "tool" => {
                let n = messages.len();
                messages.extend([calling(n), result(n, text.to_owned())]);
            }
            role => messages.push(json!({ "role": role, "content": text })),
        }
    }
    json!({ "id": line["id"], "messages": messages })
}

fn last_turn(line: &str) -> String {
    let line: Value = serde_json::from_str(line).expect("JSON");
    let turns = line["turns"].as_array().expect("turns");
    turns.iter().rev().find(|turn| turn["role"] == "user").expect("a user")["text"].as_str().expect("a text").to_owned()
}

fn called(messages: &[Value]) -> (String, CallFacts) {
    let body = json!({ "model": "auto", "messages": messages }).to_string();
    let facts = facts(&body);
    (body, facts)
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

fn instructions(length: usize) -> Value {
    json!({ "role": "system", "content": prose(7, length) })
}

fn user(text: &str) -> Value {
    json!({ "role": "user", "content": text })
}

fn assistant(text: &str) -> Value {
    json!({ "role": "assistant", "content": text })
}

fn exchanges(count: usize) -> Vec<Value> {
    (0..count).flat_map(|n| [user(&prose(n, 700)), assistant(&prose(n + 50, 1_700))]).collect()
}

fn calls(count: usize) -> Vec<Value> {
    (0..count).flat_map(|n| [calling(n), result(n, LOG_LINE.repeat(40))]).collect()
}

fn calling(n: usize) -> Value {
    let call =
        json!([{ "id": format!("call_{n}"), "type": "function", "function": { "name": "read", "arguments": "{}" } }]);
    json!({ "role": "assistant", "content": null, "tool_calls": call })
}

fn result(n: usize, text: String) -> Value {
    json!({ "role": "tool", "tool_call_id": format!("call_{n}"), "content": text })
}

/// English-looking text of about `length` bytes; another one for each `n`.
fn prose(n: usize, length: usize) -> String {
    const WORDS: &str = "the pipeline reads orders from a queue and joins them with prices before it writes one partition \
        for each day because reports need totals by region while late rows are merged again whenever their batch arrives";
    let words: Vec<&str> = WORDS.split(' ').collect();
    let mut chance = fastrand::Rng::with_seed(n as u64);
    let mut text = String::with_capacity(length + 16);
    while text.len() < length {
        text += chance.choice(&words).expect("there are words");
        text += if chance.u8(..10) == 0 { ". " } else { " " };
    }
    text
}

struct Times {
    micros: Vec<f64>,
    /// Of the processor, on the average, if the kernel tells.
    processor: Option<f64>,
}

impl Times {
    fn of<I: IntoIterator, T>(inputs: I, mut run: impl FnMut(I::Item) -> T) -> Self {
        let inputs: Vec<_> = inputs.into_iter().collect();
        let mut micros = Vec::with_capacity(inputs.len());
        let before = processor_nanos();
        for input in inputs {
            let start = Instant::now();
            black_box(run(input));
            micros.push(start.elapsed().as_secs_f64() * 1e6);
        }
        let spent = before.zip(processor_nanos()).map(|(before, after)| (after - before) / 1e3);
        let processor = spent.map(|spent| spent / micros.len() as f64);
        micros.sort_by(f64::total_cmp);
        Self { micros, processor }
    }

    fn print(&self, name: &str) {
        let processor = self.processor.map_or(String::new(), |micros| format!("{micros:8.1}"));
        println!("  {name:44} {:8.1} {processor}", self.micros[self.micros.len() / 2]);
    }
}

/// What this thread has used of a processor: <https://docs.kernel.org/scheduler/sched-stats.html>.
fn processor_nanos() -> Option<f64> {
    let text = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split(' ').next()?.parse().ok()
}
