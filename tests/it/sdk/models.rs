//! One scripted model for each case of `tests/sdk`: the model's name is the case's word for what happens.

use std::fmt::Write as _;

use farthing::simulator::{ModelScript, PriceList, Rates, Reply};
use serde_json::{Value, json};

/// A line separator that is legal in JSON and ends a line for careless readers, and characters of 2 to 4 bytes.
const AWKWARD_TEXT: &str = "before\u{2028}after, naïve ✓ 🦀 done";

/// Every model, and the price file that the gateway reads for them.
pub fn all() -> (Vec<ModelScript>, String) {
    let mut cases = answers();
    cases.extend(failures());
    cases.extend(["sync", "async", "node"].into_iter().flat_map(sequences));
    let rates = Rates { input: 1_000_000, cached_input: 100_000, cache_write: 1_000_000, output: 3_000_000 };
    let mut prices = String::new();
    let mut scripts = Vec::new();
    for (name, replies) in cases {
        let terms = "usd_per_million: { input: 1, cached_input: 0.1, output: 3 }";
        writeln!(prices, "- {{ model: openai/{name}, from: 2026-01-01, {terms} }}").expect("a string takes it");
        let script = ModelScript::named(&name).priced(PriceList::flat(rates));
        scripts.push(replies.into_iter().fold(script, ModelScript::then));
    }
    (scripts, prices)
}

type Case = (String, Vec<Reply>);

fn case(name: &str, replies: impl Into<Vec<Reply>>) -> Case {
    (name.to_owned(), replies.into())
}

fn answers() -> Vec<Case> {
    vec![
        case("chat-plain", [Reply::text("Partition 14 is late.")]),
        case("chat-frontier", [Reply::text("Rerun the load.")]),
        case("chat-echo", [Reply::echo()]),
        case("chat-choices", [Reply::choices(["Rerun it.", "Wait for it."])]),
        case("chat-refusal", [Reply::refuses("I cannot help with that.")]),
        case("chat-awkward", [Reply::text(AWKWARD_TEXT).in_pieces_of(3)]),
        case("chat-many", [Reply::tokens(40)]),
        case("chat-without-done", [Reply::text("No terminator follows.").without_done()]),
        case("stalls-whole", [Reply::text("Nobody hears this.").stalls_after(0)]),
        case("stalls-drain", [Reply::text("Said while it shuts down.").stalls_after(3)]),
        case("chat-without-usage", [Reply::text("Nobody counted.").without_usage()]),
        case("lab/chat-slash", [Reply::text("From the lab.")]),
        case("json-verdict", [Reply::json(&json!({"task": "load_orders", "retry": true, "after_minutes": 5}))]),
        case("json-wrong", [Reply::json(&json!({"task": 7}))]),
        case("tools-parallel", [Reply::calls_all(look_ups())]),
    ]
}

fn look_ups() -> [(&'static str, Value); 2] {
    [("task_log", json!({"task": "load_orders"})), ("row_count", json!({"table": "orders"}))]
}

fn failures() -> Vec<Case> {
    let mut cases = vec![
        case(
            "fails-400",
            [Reply::status(400).with_body(&json!({"error": {
                "message": "Invalid value: 'loud'.", "type": "invalid_request_error",
                "param": "reasoning_effort", "code": "invalid_value"
            }}))],
        ),
        case("fails-429", [Reply::status(429).with_header("retry-after", "7")]),
        case("fails-page", [Reply::status(503).with_html("<html>10.1.2.3 is overloaded</html>")]),
        case("fails-for-good", [Reply::status(500).with_header("x-should-retry", "false")]),
        case("fails-within", [Reply::text("The first words go by.").fails_after(3)]),
        case("resets-within", [Reply::text("The first words go by.").resets_after(3)]),
        case("ends-within", [Reply::text("The first words go by.").ends_after(3)]),
        case("hasty-silent", [Reply::text("Nobody hears this.").stalls_after(0)]),
        case("hasty-falls-silent", [Reply::text("The first words go by.").stalls_after(3)]),
    ];
    for status in [401, 403, 404, 409, 422, 500] {
        cases.push(case(&format!("fails-{status}"), [Reply::status(status)]));
    }
    cases
}

/// Cases whose replies come in turn or whose requests are counted: a model for each way of calling.
fn sequences(way: &str) -> Vec<Case> {
    let mut cases = vec![
        case("tools-loop", [Reply::calls_all(look_ups()), Reply::text("Retry load_orders: 0 rows.")]),
        case("fails-quota", [Reply::insufficient_quota()]),
        case("recovers-soon", [Reply::status(503), Reply::text("Here I am.")]),
        case("recovers-within", [Reply::text("Not this.").fails_after(0), Reply::text("Here I am.")]),
        case(
            "recovers-late",
            [
                Reply::status(500).with_header("retry-after-ms", "5"),
                Reply::status(500).with_header("retry-after-ms", "5"),
                Reply::text("Here I am."),
            ],
        ),
        case("stalls-deadline", [Reply::text("Nobody hears this.").stalls_after(0)]),
        case("stalls-timeout", [Reply::text("Nobody hears this.").stalls_after(0)]),
        case("stalls-within", [Reply::tokens(9).stalls_after(3)]),
        case("stalls-helper", [Reply::tokens(9).stalls_after(3)]),
        case("hasty-counted", [Reply::text("Nobody hears this.").stalls_after(0)]),
        case("seen", [Reply::text("Seen.")]),
    ];
    for (name, _) in &mut cases {
        *name = format!("{name}-{way}");
    }
    cases
}
