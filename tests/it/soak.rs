//! The real binary under mixed load for minutes: what leaks a little in every request shows here and nowhere else.
//!
//! Not among the other tests: `tests/run.sh --soak`, for ten minutes or `FARTHING_SOAK_SECONDS`. Clients pause between
//! requests, so that all of it takes less than one core; `FARTHING_CHANCE` chooses another row of numbers.

mod load;
mod watch;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use farthing::simulator::{BillsAfterCut, ModelScript, Provider, Reply, Running as Simulator};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::crash::check_row;
use crate::process::{Served, attempts, chance_number, count, requests_that_do_not_add_up, run};
use load::{Client, Did, MODELS};
use watch::{Sample, Verdict};

const SECONDS: u64 = 600;
const CLIENTS: u64 = 12;
/// How often keys and prices change, by their files, by the signal, or by both.
const RELOAD_INTERVAL: Duration = Duration::from_secs(2);
/// How long the gateway may take until all is settled once its clients have gone.
const CALM_PATIENCE: Duration = Duration::from_secs(20);

fn model(name: &str, after_cut: BillsAfterCut, reasoning: u64) -> ModelScript {
    let gap = Duration::from_millis(1);
    let said = || Reply::tokens(40).gap(gap);
    ModelScript::named(name)
        .bills_after_cut(after_cut)
        .reasons(reasoning)
        .when("<long>", Reply::tokens(150).gap(gap))
        .when("<slow>", Reply::tokens(20).waits(Duration::from_millis(80)))
        .when("<late>", Reply::tokens(20).waits(Duration::from_millis(600)))
        .when("<pieces>", said().in_pieces_of(7))
        .when("<uncounted>", said().without_usage())
        .when("<unended>", said().without_done())
        .when("<twice>", said().with_usage_twice())
        .when("<resets>", said().resets_after(9))
        .when("<refuses>", said().resets_before_headers())
        .when("<ends>", said().ends_after(5))
        .when("<torn>", said().ends_mid_event(5))
        .when("<fails>", said().fails_after(4))
        .when("<stalls>", said().stalls_after(4))
        .when("<busy>", Reply::status(429).with_header("retry-after-ms", "5"))
        .when("<broken>", Reply::status(500))
        .when("<page>", Reply::status(503).with_html("<html>overloaded</html>"))
        .when("<locked>", Reply::status(401))
        .when("<wrong>", Reply::status(400))
        .when("<garbage>", Reply::raw("application/json", ["{\"choices\": ["]))
        .when("<tools>", Reply::calls("look", json!({"at": "orders"})))
        .when("<echo>", Reply::echo())
        .then(Reply::tokens(12))
}

/// A provider in all moods, a folder, and what is written into it.
struct World {
    provider: Simulator,
    folder: TempDir,
}

impl World {
    async fn new() -> Self {
        let provider = Provider::openai()
            .model(model(MODELS[0], BillsAfterCut::SoFar, 0))
            .model(model(MODELS[1], BillsAfterCut::All, 6))
            .model(model(MODELS[2], BillsAfterCut::None, 0));
        let provider = provider.keeps(20_000).start().await.expect("a free port");
        let world = Self { provider, folder: tempfile::tempdir().expect("a temporary folder") };
        world.write_prices(0, true);
        world.write_config(0, true);
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// As an editor does it: whoever reads finds the old file or the new one.
    fn write(&self, name: &str, text: &str) {
        let new = self.path("new");
        fs::write(&new, text).expect("a file");
        fs::rename(new, self.path(name)).expect("it takes the other's place");
    }

    /// Prices that change, of a model that nobody asks for: the invoice's own stay.
    fn write_prices(&self, number: u64, good: bool) {
        let price = if good { number.to_string() } else { "much".to_owned() };
        let terms = format!("usd_per_million: {{ input: {price}, output: 1 }}");
        self.write("prices.yaml", &format!("- {{ model: openai/other, {terms} }}\n"));
    }

    /// Keys, the last of which is another one each time.
    fn write_config(&self, number: u64, good: bool) {
        let url = self.provider.base_url();
        let teams: Vec<String> = (0..load::TEAMS).map(|team| format!("team-{team}")).collect();
        let mut keys = String::new();
        for key in load::keys().chain([load::passing_key(number)]) {
            let hash: String = Sha256::digest(&key).iter().map(|byte| format!("{byte:02x}")).collect();
            let may = format!("may: {{ teams: [{}] }}", teams.join(", "));
            writeln!(keys, "  - {{ sha256: {hash}, name: {key}-name, team: data, {may} }}").expect("a string takes it");
        }
        if !good {
            keys.push_str("  - { sha256: short, team: data }\n");
        }
        let text = format!(
            "server: {{ listen: 127.0.0.1:0, admin_listen: 127.0.0.1:0, drain_timeout: 5s }}\n\
             prices: prices.yaml\nmetrics: {{ label_values: {} }}\n\
             limits: {{ body_bytes: 2MiB, memory_bytes: 16MiB, concurrency: 64 }}\n\
             dispatch: {{ retries: 1, retry_wait: 50ms, first_byte_timeout: 300ms, idle_timeout: 300ms, \
               total_timeout: 2s, circuit: {{ failures: 5, cool_down: 200ms }} }}\n\
             providers:\n  \
               gone: {{ protocol: openai, vendor: openai, base_url: http://127.0.0.1:9/v1, models: [\"gone-*\"] }}\n  \
               sim: {{ protocol: openai, vendor: openai, base_url: {url}, models: [\"*\"] }}\n\
             tiers: {{ frontier: [gone/gone-sol, sim/gpt-5.6-sol], lightweight: [sim/gpt-5.6-luna, sim/gpt-5.6-terra] }}\n\
             keys:\n{keys}",
            watch::LABEL_VALUES
        );
        self.write("farthing.yaml", &text);
    }

    /// Changes both files until `end`: by the file alone, by the signal alone, by both; every fourth is broken.
    async fn reload_until(&self, end: Instant, served: &Served) {
        for number in 1.. {
            if Instant::now() + RELOAD_INTERVAL > end {
                break;
            }
            tokio::time::sleep(RELOAD_INTERVAL).await;
            if number % 3 != 1 {
                self.write_prices(number, number % 4 != 0);
                self.write_config(number, number % 4 != 2);
            }
            if number % 3 != 2 {
                served.hang_up();
            }
        }
        self.write_prices(0, true);
        self.write_config(0, true);
    }
}

/// Everything that the clients saw.
#[derive(Default)]
struct Seen {
    /// How often a client did something, and how it ended.
    did: BTreeMap<String, u64>,
    /// The requests whose answer a client has in full.
    complete: Vec<String>,
}

async fn load_until(end: Instant, listen: &str) -> Seen {
    let number = chance_number();
    println!("to see this again, as far as that is possible: FARTHING_CHANCE={number}");
    let client = |index| tokio::spawn(Client::new(listen.to_owned(), number * CLIENTS + index).ask_until(end));
    let clients: Vec<_> = (0..CLIENTS).map(client).collect();
    let mut seen = Seen::default();
    for client in clients {
        for Did { what, complete } in client.await.expect("a client that ends well") {
            *seen.did.entry(what).or_default() += 1;
            seen.complete.extend(complete);
        }
    }
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: tests/run.sh --soak"]
async fn nothing_grows_leaks_or_is_lost_under_mixed_load() {
    let seconds = std::env::var("FARTHING_SOAK_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    let end = Instant::now() + Duration::from_secs(seconds.unwrap_or(SECONDS));
    let world = Arc::new(World::new().await);
    let mut served = Served::start(&world.path("farthing.yaml"));
    // The first and the last request are whole ones: between them an export tells of everything.
    load::one_plain_request(&served.listen).await;
    load::every_common_name(&served.listen).await;
    let (seen, samples, ()) = tokio::join!(
        load_until(end, &served.listen),
        watch::samples_until(end, &served),
        world.reload_until(end, &served)
    );
    let calm = calm(&served).await;
    load::one_plain_request(&served.listen).await;
    let cpu = [watch::cpu_seconds(served.id()), watch::cpu_seconds(std::process::id())];
    served.terminate();
    let (status, log) = served.end();
    world.provider.release();
    world.provider.settled().await.expect("the invoice is final");

    let events = events(&log);
    let verdicts = Verdict::all(&samples, &calm);
    print_table(&seen, &events, cpu, seconds.unwrap_or(SECONDS));
    println!(
        "what the process held; resident memory by tenths of the time, KiB: {:?}",
        watch::memory_by_tenths(&samples)
    );
    for verdict in &verdicts {
        println!("  {verdict}");
    }
    assert_eq!(status.code(), Some(0), "it stops well");
    assert!(!log.contains("panicked"), "nothing panicked");
    assert_eq!(events.get("draining 0"), Some(&1), "no request is left at the door when it stops: {events:?}");
    for event in ["keys_reloaded", "prices_reloaded", "reload_failed"] {
        assert!(events.contains_key(event), "no `{event}` in {events:?}");
    }
    check_books(&world, &seen);
    check_reconciled(&world);
    for verdict in &verdicts {
        assert!(verdict.holds, "{verdict}");
    }
}

/// Waits until nothing is in flight and the tables show everything, and gives the process as it is then.
async fn calm(served: &Served) -> Sample {
    let patience = Instant::now() + CALM_PATIENCE;
    loop {
        let sample = watch::sample(served).await;
        if sample.is_calm() {
            return sample;
        }
        assert!(Instant::now() < patience, "it does not come to rest: {sample:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// How often each event was logged. Only the requests' own are told apart by how they ended.
fn events(log: &str) -> BTreeMap<String, u64> {
    let mut events = BTreeMap::new();
    for line in log.lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}"));
        let name = line["event"].as_str().expect("every line has an event");
        let name = match name {
            "request" => format!("request {}", line["status"].as_str().unwrap_or_default()),
            "draining" => format!("draining {}", line["in_flight"]),
            _ => name.to_owned(),
        };
        *events.entry(name).or_default() += 1;
    }
    events
}

/// Every attempt has its row, and each row holds what was billed.
fn check_books(world: &World, seen: &Seen) {
    let ledger = world.path("farthing.db");
    assert_eq!(count(&ledger, "attempts_v1 WHERE fate = 'open'"), 0);
    assert_eq!(count(&ledger, "requests_v1 WHERE status = 'open'"), 0);
    assert_eq!(requests_that_do_not_add_up(&ledger), 0);
    let rows = attempts(&ledger);
    let of_id: BTreeMap<&str, _> = rows.iter().map(|row| (row.id.as_str(), row)).collect();
    assert_eq!(of_id.len(), rows.len(), "rows that are there twice");
    let mut billed = BTreeMap::new();
    let invoice = world.provider.invoice();
    for line in &invoice.lines {
        let id = line.client_request_id.as_deref().expect("every line has an id");
        assert!(of_id.contains_key(id), "{id} was billed and has no row");
        assert_eq!(billed.insert(id, line.cost.0), None, "{id} was billed twice");
    }
    for exchange in world.provider.requests() {
        let id = exchange.header("x-client-request-id").expect("every attempt has an id").to_owned();
        assert!(of_id.contains_key(id.as_str()), "{id} reached the provider and has no row");
    }
    assert!(rows.len() as u64 >= world.provider.arrivals(), "{} rows", rows.len());
    for row in &rows {
        check_row(row, billed.get(row.id.as_str()).copied().unwrap_or(0));
    }
    let completed: BTreeMap<&str, &str> = rows.iter().map(|row| (row.request.as_str(), row.fate.as_str())).collect();
    for request in &seen.complete {
        assert_eq!(completed.get(request.as_str()), Some(&"completed"), "{request} is complete");
    }
    let [low, high] = ["low", "high"].map(|end| sum(&ledger, &format!("cost_{end}_nano")));
    println!("ledger: {} attempts between {low} and {high} nano-dollars; invoice: {}", rows.len(), invoice.total().0);
    assert!(low <= invoice.total().0 && invoice.total().0 <= high, "the invoice is within the ledger's interval");
}

fn sum(ledger: &std::path::Path, column: &str) -> i64 {
    let views = farthing::ledger::open_views(ledger).expect("a ledger");
    views.query_row(&format!("SELECT sum({column}) FROM attempts_v1"), [], |row| row.get(0)).expect("a number")
}

/// After the import of a whole export nothing is in doubt, and the ledger equals the invoice.
fn check_reconciled(world: &World) {
    let export = world.path("export.jsonl");
    fs::write(&export, world.provider.export_jsonl()).expect("a file");
    let [export, config] = [export, world.path("farthing.yaml")].map(|path| path.display().to_string());
    let done = run(&["reconcile", "--provider", "sim", "--complete", &export, "--config", &config, "--format", "json"]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let report: Value = serde_json::from_slice(&done.stdout).expect("one JSON object");
    for list in ["unmatched_ids", "differences", "outside_interval"] {
        assert_eq!(report[list], json!([]), "{list}");
    }
    let ledger = world.path("farthing.db");
    assert_eq!(count(&ledger, "attempts_v1 WHERE cost_nano IS NULL"), 0, "nothing is in doubt");
    let (booked, billed) = (sum(&ledger, "cost_nano"), world.provider.invoice().total().0);
    println!("after reconciling: {booked} nano-dollars; invoice: {billed}");
    assert_eq!(booked, billed);
}

fn print_table(seen: &Seen, events: &BTreeMap<String, u64>, cpu: [f64; 2], seconds: u64) {
    println!("\n{seconds} seconds, {} requests by {CLIENTS} clients", seen.did.values().sum::<u64>());
    println!("processor seconds: gateway {:.1}, clients and providers {:.1}", cpu[0], cpu[1]);
    for (what, times) in &seen.did {
        println!("  {times:>8}  {what}");
    }
    println!("what the gateway logged");
    for (event, times) in events {
        println!("  {times:>8}  {event}");
    }
}
