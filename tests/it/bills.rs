//! Bills by day and model, as providers export them, beside the ledger of a gateway that ran against their simulator.

use serde_json::{Value, json};

use crate::process::run;
use crate::support::{ASK, ASK_STREAM, World, luna};
use farthing::simulator::Reply;

/// A running gateway whose calls are all on the simulator's invoice, and the day of each.
struct Office {
    world: World,
    days: Vec<String>,
}

impl Office {
    async fn new() -> Self {
        let world = World::new(luna([Reply::tokens(10), Reply::tokens(31)]), "").await;
        for body in [ASK, ASK_STREAM] {
            world.chat(body).await;
        }
        let rows = world.rows("SELECT date(at_ms / 1000, 'unixepoch') FROM attempts_v1 ORDER BY attempt_id");
        let day = |cell: &rusqlite::types::Value| match cell {
            rusqlite::types::Value::Text(day) => day.clone(),
            other => panic!("{other:?} is no day"),
        };
        let days = rows.iter().map(|row| day(&row[0])).collect();
        Self { world, days }
    }

    /// What the provider bills: day, nano-dollars, input and output tokens of each call.
    fn billed(&self) -> Vec<(String, i64, u64, u64)> {
        let lines = self.world.provider.invoice().lines;
        let line = lines.iter().zip(&self.days);
        line.map(|(line, day)| (day.clone(), line.cost.0, line.tokens.input, line.tokens.output)).collect()
    }

    /// Buckets of one result each, which begin as `start` says.
    fn page(&self, start: impl Fn(&str) -> (&'static str, Value), result: impl Fn(i64, u64, u64) -> Value) -> String {
        let bucket = |(day, cost, input, output): (String, i64, u64, u64)| {
            let (name, start) = start(&day);
            json!({ name: start, "results": [result(cost, input, output)] })
        };
        json!({ "data": self.billed().into_iter().map(bucket).collect::<Vec<_>>(), "has_more": false }).to_string()
    }

    /// Runs `farthing reconcile` on a bill, beside the gateway that has the ledger open.
    #[track_caller]
    fn reconcile(&self, name: &str, bill: &str, options: &[&str]) -> String {
        let path = |name: &str| self.world.folder.path().join(name).display().to_string();
        std::fs::write(path(name), bill).expect("a file");
        let (file, config) = (path(name), path("farthing.yaml"));
        let done = run(&[&["reconcile", "--provider", "sim", &file, "--config", &config], options].concat());
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).expect("text")
    }

    #[track_caller]
    fn check_equal(&self, name: &str, bill: &str, options: &[&str]) {
        let told = self.reconcile(name, bill, &[options, &["--format", "json"]].concat());
        let told: Value = serde_json::from_str(&told).expect("JSON");
        let lines = told["lines"].as_array().expect("lines");
        assert!(!lines.is_empty(), "{name}: {told}");
        for line in lines {
            assert_eq!((&line["residual"], &line["reason"]), (&json!(0), &json!("equal")), "{name}: {line}");
        }
    }
}

/// Nano-dollars as a decimal number of dollars, or of cents.
fn decimal(nano: i64, digits: usize) -> String {
    let one = 10_i64.pow(u32::try_from(digits).expect("a few"));
    format!("{}.{:0digits$}", nano / one, nano % one)
}

fn number(text: &str) -> Value {
    serde_json::from_str(text).expect("a number")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_simulator_s_bill_in_every_shape_leaves_no_residual() {
    let office = Office::new().await;
    let midnight = |day: &str| format!("{day}T00:00:00Z").parse::<jiff::Timestamp>().expect("a time").as_second();
    let seconds = |day: &str| ("start_time", json!(midnight(day)));
    let instant = |day: &str| ("starting_at", json!(format!("{day}T00:00:00Z")));
    let costs = office.page(seconds, |cost, _, _| {
        json!({"object": "organization.costs.result", "line_item": "gpt-5.6-luna, input and output",
            "amount": {"value": number(&decimal(cost, 9)), "currency": "usd"}})
    });
    office.check_equal("costs.json", &costs, &[]);
    let usage = office.page(seconds, |_, input, output| {
        json!({"object": "organization.usage.completions.result", "model": "gpt-5.6-luna-2026-07-01",
            "input_tokens": input, "output_tokens": output, "input_cached_tokens": 0, "num_model_requests": 1})
    });
    office.check_equal("usage.json", &usage, &[]);
    let report = office.page(instant, |cost, _, _| {
        json!({"currency": "USD", "amount": decimal(cost, 7), "model": "gpt-5.6-luna", "cost_type": "tokens"})
    });
    office.check_equal("cost_report.json", &report, &[]);
    let messages = office.page(instant, |_, input, output| {
        json!({"uncached_input_tokens": input, "cache_read_input_tokens": 0, "output_tokens": output,
            "cache_creation": {"ephemeral_1h_input_tokens": 0, "ephemeral_5m_input_tokens": 0}, "model": "gpt-5.6-luna"})
    });
    office.check_equal("messages.json", &messages, &["--as", "report"]);
    let rows = office.billed().into_iter().map(|(day, cost, ..)| format!("{day},{},gpt-5.6-luna\n", decimal(cost, 9)));
    let csv = format!("Date,Cost,Model\n{}", rows.collect::<String>());
    office.check_equal("bill.csv", &csv, &["--columns", "day=Date,model=Model,usd=Cost"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bill_of_more_than_the_ledger_has_says_so_and_settles_nothing() {
    let office = Office::new().await;
    let before = office.world.rows("SELECT * FROM attempts_v1");
    let mut csv = "Date,Cost,Model\n".to_owned();
    for (day, ..) in office.billed() {
        csv.push_str(&format!("{day},0.50,gpt-5.6-luna\n{day},1.25,somebody-else\n{day},-0.75,\n"));
    }
    let told = office.reconcile("bill.csv", &csv, &["--columns", "day=Date,model=Model,usd=Cost"]);
    for words in [
        "traffic that did not pass Farthing, or a price that is too low",
        "not in the ledger: traffic that did not pass Farthing, or another name of a model",
        "credits and adjustments of",
        "the bill has amounts of 2 decimals: each of its lines may be off by $0.005",
    ] {
        assert!(told.contains(words), "{words}: {told}");
    }
    assert_eq!(office.world.rows("SELECT * FROM attempts_v1"), before);
}
