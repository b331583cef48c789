//! The same scripts at every provider: `claude-opus-5-CASE` is called in Messages, `gpt-4o-CASE` in Chat Completions, and
//! `o3-CASE`, whose name is that of a model which reasons, in Responses.

use std::fmt::Write as _;

use farthing::simulator::{ModelScript, PriceList, Rates, Reply};
use serde_json::{Value, json};

/// A line separator that is legal in JSON and ends a line for careless readers, and characters of 2 to 4 bytes.
const AWKWARD_TEXT: &str = "before\u{2028}after, naïve ✓ 🦀 done";
const RATES: Rates = Rates { input: 1_000_000, cached_input: 100_000, cache_write: 1_250_000, output: 3_000_000 };

/// The models of the vendor whose protocol is Messages.
pub fn of_anthropic(more: &[Case]) -> Vec<ModelScript> {
    scripts("claude-opus-5", more)
}

/// The models of the vendor whose protocols are Chat Completions and Responses.
pub fn of_openai(more: &[Case]) -> Vec<ModelScript> {
    [scripts("gpt-4o", more), scripts("o3", more)].concat()
}

/// What the gateway knows of their prices.
pub fn prices(more: &[Case]) -> String {
    let mut prices = String::new();
    let mut add = |vendor: &str, model: &str, writes: &str| {
        let terms = format!("usd_per_million: {{ input: 1, cached_input: 0.1{writes}, output: 3 }}");
        writeln!(prices, "- {{ model: {vendor}/{model}, from: 2026-01-01, {terms} }}").expect("a string takes it");
    };
    for (case, _) in cases().iter().chain(more) {
        add("anthropic", &format!("claude-opus-5-{case}"), ", cache_write_5m: 1.25");
        add("openai", &format!("gpt-4o-{case}"), "");
        add("openai", &format!("o3-{case}"), "");
    }
    prices
}

fn scripts(kind: &str, more: &[Case]) -> Vec<ModelScript> {
    let script = |(case, replies): Case| {
        let script = ModelScript::named(&format!("{kind}-{case}")).priced(PriceList::flat(RATES));
        replies.into_iter().fold(script, ModelScript::then)
    };
    cases().into_iter().chain(more.to_vec()).map(script).collect()
}

/// Agents' loops of others' making, by the SDK that each has inside.
const FRAMEWORKS: [&str; 6] =
    ["langchain", "pydantic-openai", "pydantic-anthropic", "vercel-openai", "vercel-responses", "vercel-anthropic"];

/// A script by its name.
pub type Case = (String, Vec<Reply>);

fn cases() -> Vec<Case> {
    let mut cases = answers();
    cases.extend(failures());
    cases.extend(FRAMEWORKS.map(|name| case(&format!("loop-{name}"), works())));
    cases.extend(
        ["sync", "async", "of-chat-sync", "of-chat-async", "node", "of-chat-node"].into_iter().flat_map(sequences),
    );
    cases
}

/// A script by its name.
pub fn case(name: &str, replies: impl Into<Vec<Reply>>) -> Case {
    (name.to_owned(), replies.into())
}

fn answers() -> Vec<Case> {
    vec![
        case("plain", [Reply::text("Partition 14 is late.")]),
        case("awkward", [Reply::text(AWKWARD_TEXT).in_pieces_of(3)]),
        case("many", [Reply::tokens(40)]),
        case("refusal", [Reply::refuses("I cannot help with that.")]),
        case("verdict", [Reply::json(&json!({"task": "load_orders", "retry": true, "after_minutes": 5}))]),
        case("tools", [Reply::calls_all(look_ups())]),
    ]
}

fn look_ups() -> [(&'static str, Value); 2] {
    [("task_log", json!({"task": "load_orders"})), ("row_count", json!({"table": "orders"}))]
}

/// A loop of tools.
fn works() -> [Reply; 2] {
    [Reply::calls_all(look_ups()), Reply::text("Retry load_orders: 0 rows.")]
}

fn failures() -> Vec<Case> {
    let mut cases = vec![
        case("fails-429", [Reply::status(429).with_header("retry-after", "7")]),
        case("fails-within", [Reply::text("The first words go by.").fails_after(5)]),
        case("resets-within", [Reply::text("The first words go by.").resets_after(5)]),
        case("ends-within", [Reply::text("The first words go by.").ends_after(5)]),
    ];
    for status in [400, 401, 403, 404, 409, 413, 422, 500, 503, 504, 529] {
        cases.push(case(&format!("fails-{status}"), [Reply::status(status)]));
    }
    cases
}

/// Cases whose replies come in turn or whose requests are counted: a model for each way of calling.
fn sequences(way: &str) -> Vec<Case> {
    let late = || Reply::status(500).with_header("retry-after-ms", "5");
    let mut cases = vec![
        case("loop", works()),
        case("recovers-soon", [Reply::status(503), Reply::text("Here I am.")]),
        case("recovers-late", [late(), late(), Reply::text("Here I am.")]),
        case("fails-for-good", [Reply::status(500).with_header("x-should-retry", "false")]),
        case("stalls-whole", [Reply::text("Nobody hears this.").stalls_after(0)]),
        case("stalls-within", [Reply::tokens(9).stalls_after(5)]),
        case("stalls-timeout", [Reply::text("Nobody hears this.").stalls_after(0)]),
    ];
    for (name, _) in &mut cases {
        *name = format!("{name}-{way}");
    }
    cases
}
