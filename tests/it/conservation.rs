//! Money is conserved: whatever providers and clients do, the ledger and the invoices tell the same story.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use farthing::app::{self, Running as Gateway};
use farthing::config;
use farthing::simulator::{BillsAfterCut, InvoiceLine, ModelScript, PriceList, Provider, Reply, Running as Simulator};
use farthing::telemetry::log::Log;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};

use crate::process::{Attempt, Chance, attempts, chance_number, count, requests_that_do_not_add_up, run};

const REQUESTS: u64 = 480;
const CLIENTS: u64 = 24;
/// Bills more than its limits, and tells.
const CARELESS: &str = "careless";
/// Bills more than it tells.
const SECRETIVE: &str = "secretive";
const MODELS: [&str; 8] = [
    "gpt-5.6-luna",
    "gpt-5.6-luna",
    "gpt-5.6-terra",
    "gpt-5.6-terra",
    "gpt-5.6-sol",
    "gpt-5.6-sol",
    CARELESS,
    SECRETIVE,
];
/// A careless or secretive provider at its best; anything else would show nothing about it.
const CALM: [&str; 3] = ["plain", "long", "tools"];

/// What a question can provoke. A question is answered in the manner that it names.
fn manners() -> Vec<(&'static str, Reply)> {
    let query = ("query_rows", json!({"table": "orders_daily", "where": "status = 'late'"}));
    let gap = Duration::from_millis(1);
    vec![
        ("plain", Reply::tokens(12)),
        ("long", Reply::tokens(60).gap(gap)),
        ("tools", Reply::calls_all([query, ("read_log", json!({"task": "load"}))])),
        ("choices", Reply::choices(["one answer", "a second answer that is longer", "a third"])),
        ("refusal", Reply::refuses("I would rather not")),
        ("without usage", Reply::tokens(9).without_usage()),
        ("usage twice", Reply::tokens(9).with_usage_twice()),
        ("without done", Reply::tokens(9).without_done()),
        ("in pieces", Reply::tokens(20).in_pieces_of(7)),
        ("late", Reply::tokens(5).waits(Duration::from_millis(300))),
        ("resets at once", Reply::tokens(9).resets_before_headers()),
        ("resets later", Reply::tokens(30).gap(gap).resets_after(5)),
        ("ends early", Reply::tokens(30).ends_after(4)),
        ("ends torn", Reply::tokens(30).ends_mid_event(4)),
        ("stalls", Reply::tokens(30).stalls_after(4)),
        ("fails at once", Reply::tokens(30).fails_after(0)),
        ("fails later", Reply::tokens(30).fails_after(5)),
        ("running totals", running_totals()),
        ("torn totals", running_totals().resets_after(3)),
        ("garbage", Reply::raw("application/json", ["{\"choices\": [oh"]).billed(7, 3)),
    ]
}

/// A stream whose every chunk carries the usage so far, as some servers do: only the last one is the truth.
fn running_totals() -> Reply {
    let chunk = |said: u64| {
        let finish = if said == 6 { json!("stop") } else { Value::Null };
        let chunk = json!({
            "object": "chat.completion.chunk",
            "choices": [{"index": 0, "delta": {"content": " word"}, "finish_reason": finish}],
            "usage": {"prompt_tokens": 20, "completion_tokens": said, "total_tokens": 20 + said},
        });
        format!("data: {chunk}\n\n")
    };
    let events = (1..=6).map(chunk).chain(["data: [DONE]\n\n".to_owned()]);
    Reply::raw_events(events).gap(Duration::from_millis(1)).billed(20, 6)
}

/// What the first provider does so that the second is asked.
fn refusals() -> Vec<(&'static str, Reply)> {
    vec![
        ("busy", Reply::status(429)),
        ("down", Reply::status(503)),
        ("a page", Reply::status(502).with_html("<html>bad gateway</html>")),
        ("locked out", Reply::status(401)),
        ("broke", Reply::insufficient_quota()),
        ("wrong", Reply::status(400)),
        ("an error in a success", Reply::status(200)),
    ]
}

fn model(name: &str, after_cut: BillsAfterCut, reasoning: u64, manners: &[(&'static str, Reply)]) -> ModelScript {
    let script = ModelScript::named(name).bills_after_cut(after_cut).reasons(reasoning);
    let script =
        manners.iter().fold(script, |script, (words, reply)| script.when(&format!("<{words}>"), reply.clone()));
    // A question that names no manner of this provider's; now and then a hiccup that a retry overcomes.
    script
        .then_times(3, Reply::tokens(7))
        .then(Reply::status(500))
        .then(Reply::tokens(11))
        .then(Reply::status(429))
        .then(Reply::tokens(8))
}

fn provider(habits: [BillsAfterCut; 3], manners: &[(&'static str, Reply)]) -> Provider {
    let odd = |name| model(name, habits[0], 0, manners).priced(PriceList::luna());
    Provider::openai()
        .model(model("gpt-5.6-luna", habits[0], 0, manners))
        .model(model("gpt-5.6-terra", habits[1], 6, manners))
        .model(model("gpt-5.6-sol", habits[2], 3, manners))
        .model(odd(CARELESS).ignores_limits())
        .model(odd(SECRETIVE).hides_reasoning(40))
}

struct World {
    gateway: Gateway,
    alpha: Simulator,
    beta: Simulator,
    folder: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        use BillsAfterCut::{All, None, SoFar};
        let alpha = provider([SoFar, None, All], &[manners(), refusals()].concat()).start().await.expect("a port");
        let beta = provider([All, SoFar, None], &manners()).start().await.expect("a port");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let price = |model| {
            format!(
                "- {{ model: openai/{model}, from: 2026-01-01, usd_per_million: {{ input: 0.2, cached_input: 0.02, output: 1.2 }} }}\n"
            )
        };
        std::fs::write(folder.path().join("prices.yaml"), price(CARELESS) + &price(SECRETIVE)).expect("a file");
        let row = |name, provider: &Simulator| {
            let url = provider.base_url();
            format!("  {name}: {{ protocol: openai, vendor: openai, base_url: {url}, models: [\"*\"] }}\n")
        };
        let text = format!(
            "server: {{ listen: 127.0.0.1:0, admin_listen: 127.0.0.1:0, drain_timeout: 2s }}\n\
             dispatch: {{ retries: 1, connect_timeout: 200ms, first_byte_timeout: 200ms, idle_timeout: 200ms, \
             total_timeout: 2s, circuit: off }}\nprices: prices.yaml\nproviders:\n{}{}",
            row("alpha", &alpha),
            row("beta", &beta)
        );
        let file = folder.path().join("farthing.yaml");
        std::fs::write(&file, &text).expect("a file");
        let config = config::load(&file, &|_| Option::None).unwrap_or_else(|problems| panic!("{problems:?}\n{text}"));
        let log = Log::to(Box::new(std::io::sink()));
        let gateway = app::start(config, Option::None, log).await.unwrap_or_else(|error| panic!("{error}"));
        Self { gateway, alpha, beta, folder }
    }
}

/// One client: asks `asked`-th questions until they have all been asked, and is not always patient.
async fn client(world: Arc<World>, asked: Arc<AtomicU64>, mut chance: Chance) {
    let http: Client<HttpConnector, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let words: Vec<&str> = manners().iter().chain(&refusals()).map(|(words, _)| *words).chain(["whatever"]).collect();
    while asked.fetch_add(1, Ordering::Relaxed) < REQUESTS {
        let body = question(&mut chance, &words);
        let url = format!("http://{}/v1/chat/completions", world.gateway.listen);
        let request = Request::post(url).body(Full::new(Bytes::from(body.to_string()))).expect("a valid request");
        match chance.below(8) {
            // Leaves while nothing is known yet: as soon as anyone's request reaches the first provider.
            0 => tokio::select! {
                answered = http.request(request) => drop(answered),
                _ = world.alpha.arrival(world.alpha.arrivals() + 1) => {}
            },
            // Leaves in mid-stream, or right after the head.
            1 | 2 => {
                let mut frames = chance.below(9);
                let mut body = http.request(request).await.expect("the gateway answers").into_body();
                while frames > 0 && body.frame().await.is_some() {
                    frames -= 1;
                }
            }
            _ => {
                let answered = http.request(request).await.expect("the gateway answers");
                answered.into_body().collect().await.expect("a body that ends well");
            }
        }
    }
}

fn question(chance: &mut Chance, words: &[&str]) -> Value {
    let model = chance.pick(&MODELS);
    let manner = if model == CARELESS || model == SECRETIVE { chance.pick(&CALM) } else { chance.pick(words) };
    let runbook = "The loader retries three times, then pages. ".repeat(chance.pick(&[0, 3, 200]));
    let mut body = json!({
        "model": model, "stream": chance.below(3) > 0,
        "messages": [{"role": "system", "content": runbook}, {"role": "user", "content": format!("<{manner}> €")}],
    });
    if model == CARELESS || chance.below(2) == 0 {
        body["max_completion_tokens"] = json!(chance.pick(&[7, 16, 64]));
    }
    if chance.below(4) == 0 {
        body["n"] = json!(3);
    }
    if chance.below(4) == 0 {
        body["stream_options"] = json!({"include_usage": chance.below(2) == 0});
    }
    if model.starts_with("gpt") && chance.below(8) == 0 {
        body["service_tier"] = json!(chance.pick(&["flex", "priority"]));
    }
    if body["stream"] != true {
        body.as_object_mut().expect("an object").remove("stream_options");
    }
    body
}

/// What arrived and what was billed, by attempt.
struct Story {
    seen: BTreeMap<String, &'static str>,
    billed: BTreeMap<String, InvoiceLine>,
}

impl Story {
    fn told_by(providers: [(&'static str, &Simulator); 2]) -> Self {
        let mut story = Self { seen: BTreeMap::new(), billed: BTreeMap::new() };
        for (name, provider) in providers {
            for exchange in provider.requests() {
                let id = exchange.header("x-client-request-id").expect("every attempt has an id").to_owned();
                assert_eq!(story.seen.insert(id.clone(), name), None, "{id} was sent twice");
            }
            for line in provider.invoice().lines {
                let id = line.client_request_id.clone().expect("every line has an id");
                assert!(story.billed.insert(id.clone(), line).is_none(), "{id} was billed twice");
            }
        }
        story
    }

    fn billed(&self, id: &str) -> i64 {
        self.billed.get(id).map_or(0, |line| line.cost.0)
    }

    /// Every attempt that a provider saw has its row, and every row was seen unless nothing shows that it left.
    fn is_in(&self, rows: &[Attempt]) {
        let mut unseen = self.seen.clone();
        for row in rows {
            let seen = unseen.remove(&row.id);
            // What was handed over may also have been given up before the provider read it.
            let never_answered = row.provider_status.is_none() && row.fate != "completed";
            assert!(seen == Some(row.provider.as_str()) || (seen.is_none() && never_answered), "{row:?}");
        }
        assert_eq!(unseen, BTreeMap::new(), "attempts without a row");
    }
}

/// What one row may say, given what was billed for it.
fn check_row(row: &Attempt, billed: i64) {
    let told = format!("billed {billed}: {row:?}");
    match (&*row.fate, &*row.source) {
        ("failed", "estimated") => assert_eq!((row.cost, billed), (Some(0), 0), "{told}"),
        (_, "reported") if row.model == SECRETIVE => assert!(row.cost.expect("a cost") < billed, "{told}"),
        ("completed" | "cut" | "interrupted", "reported") => {
            assert_eq!(row.cost, Some(billed), "{told}");
            let over = row.bound.map(|bound| billed - bound).filter(|over| *over > 0);
            assert_eq!(row.overshoot, over, "{told}");
            assert!(over.is_none() || row.model == CARELESS, "{told}");
        }
        ("completed", "estimated") => assert!(row.holds(billed) && row.holds(row.cost.expect("a guess")), "{told}"),
        ("cut" | "interrupted", "unknown") => {
            assert_eq!((row.low, row.cost, row.high), (0, None, row.bound), "{told}");
            assert!(row.holds(billed) || row.model == CARELESS, "{told}");
        }
        _ => panic!("a row that should not be: {told}"),
    }
}

fn reconcile(folder: &Path, provider: &str, export: &str, options: &[&str]) -> Value {
    let file: PathBuf = folder.join(format!("{provider}.jsonl"));
    std::fs::write(&file, export).expect("a file");
    let (file, config) = (file.display().to_string(), folder.join("farthing.yaml").display().to_string());
    let arguments = ["reconcile", "--provider", provider, &file, "--config", &config, "--format", "json"];
    let done = run(&[&arguments, options].concat());
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    serde_json::from_slice(&done.stdout).expect("one JSON object")
}

/// Reconciles one provider; afterwards ledger and invoice differ only by what is listed.
fn check_reconciled(folder: &Path, name: &str, provider: &Simulator) {
    let report = reconcile(folder, name, &provider.export_jsonl(), &[]);
    let invoice = provider.invoice();
    assert_eq!(report["matched"], invoice.lines.len(), "{report:#}");
    assert_eq!(report["matched_nano_usd"], invoice.total().0);
    assert_eq!(report["unmatched_ids"], json!([]));
    let rows: Vec<_> = attempts(&folder.join("farthing.db")).into_iter().filter(|row| row.provider == name).collect();
    let models: BTreeMap<&str, &str> = rows.iter().map(|row| (row.id.as_str(), row.model.as_str())).collect();
    let listed = |list: &str, model: &str| -> i64 {
        let amount = |found: &Value| {
            assert_eq!(models[found["attempt_id"].as_str().expect("an id")], model, "{list}: {found}");
            found["export_nano_usd"].as_i64().expect("an amount") - found["ledger_nano_usd"].as_i64().unwrap_or(0)
        };
        report[list].as_array().expect("a list").iter().map(amount).sum()
    };
    listed("outside_interval", CARELESS);
    let settled: i64 = rows.iter().filter_map(|row| row.cost).sum();
    assert_eq!(settled + listed("differences", SECRETIVE), invoice.total().0, "{name}");
    let billed: Vec<_> = invoice.lines.iter().filter_map(|line| line.client_request_id.as_deref()).collect();
    for row in rows.iter().filter(|row| !row.is_settled()) {
        assert!(!billed.contains(&row.id.as_str()), "in doubt although the export has it: {row:?}");
    }
    check_span(&report, &rows, invoice.total().0);
    let again = reconcile(folder, name, &provider.export_jsonl(), &["--complete"]);
    assert_eq!((&again["corrected"], &again["differences"]), (&json!(0), &report["differences"]), "a second import");
    assert_eq!((&again["settled_at_zero"], &again["not_in_export"]), (&report["not_in_export"], &json!([])));
    check_settled_at_zero(folder, &rows, &again);
}

/// The two totals differ by what is listed, and everything in doubt that may have cost something is listed.
fn check_span(report: &Value, rows: &[Attempt], billed: i64) {
    let span = |figure: &str| report["span"][figure].as_i64().expect("a figure");
    let ledger: i64 = rows.iter().filter_map(|row| row.cost).sum();
    let guesses: i64 = rows.iter().filter(|row| !row.is_settled()).filter_map(|row| row.cost).sum();
    assert_eq!((span("export_nano_usd"), span("residual_nano_usd")), (billed, billed - span("ledger_nano_usd")));
    assert!((ledger - guesses..=ledger).contains(&span("ledger_nano_usd")), "{report:#}");
    let parts = ["differences_nano_usd", "not_in_ledger_nano_usd", "not_in_export_nano_usd"].map(span);
    assert_eq!((span("residual_nano_usd"), span("unexplained_nano_usd")), (parts.iter().sum(), 0), "{report:#}");
    for absent in report["not_in_export"].as_array().expect("a list") {
        assert_eq!(absent["in_doubt"], true, "reported and not billed: {absent}");
    }
}

/// A complete export leaves in doubt only what lies outside its time; what it settled cost nothing.
fn check_settled_at_zero(folder: &Path, before: &[Attempt], report: &Value) {
    let listed = report["settled_at_zero"].as_array().expect("a list");
    let settled: Vec<&str> = listed.iter().map(|found| found["attempt_id"].as_str().expect("an id")).collect();
    assert!(!settled.is_empty(), "both providers let some cut calls go unbilled");
    let doubts = before.iter().filter(|row| !row.is_settled()).count();
    assert_eq!(report["in_doubt"], doubts - settled.len());
    let after = attempts(&folder.join("farthing.db"));
    for row in after.iter().filter(|row| settled.contains(&row.id.as_str())) {
        assert_eq!((row.is_settled(), row.low, row.cost, row.high), (true, 0, Some(0), Some(0)), "{row:?}");
    }
    let others = |rows: &[Attempt]| -> Vec<Attempt> {
        let ours = |row: &&Attempt| row.provider == before[0].provider && !settled.contains(&row.id.as_str());
        rows.iter().filter(ours).cloned().collect()
    };
    assert_eq!(others(&after), others(before), "what was not settled stays as it was");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ledger_and_the_invoices_agree_whatever_happens() {
    let number = chance_number();
    println!("to see this again: FARTHING_CHANCE={number}");
    let world = Arc::new(World::new().await);
    let asked = Arc::new(AtomicU64::new(0));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|index| tokio::spawn(client(world.clone(), asked.clone(), Chance(number * CLIENTS + index))))
        .collect();
    for client in clients {
        client.await.expect("a client that ends well");
    }
    let World { gateway, alpha, beta, folder } = Arc::into_inner(world).expect("all clients have gone");
    gateway.stop().await.expect("the ledger closes");
    alpha.settled().await.expect("the invoice is final");
    beta.settled().await.expect("the invoice is final");

    let ledger = folder.path().join("farthing.db");
    let rows = attempts(&ledger);
    let story = Story::told_by([("alpha", &alpha), ("beta", &beta)]);
    story.is_in(&rows);
    for row in &rows {
        check_row(row, story.billed(&row.id));
    }
    assert_eq!(count(&ledger, "requests_v1 WHERE status = 'open'"), 0);
    assert_eq!(requests_that_do_not_add_up(&ledger), 0);
    check_variety(&rows);

    check_reconciled(folder.path(), "alpha", &alpha);
    check_reconciled(folder.path(), "beta", &beta);
    assert_eq!(requests_that_do_not_add_up(&ledger), 0, "after reconciling");
}

/// The workload shows something only if everything occurs in it.
fn check_variety(rows: &[Attempt]) {
    let some = |what: &str, test: &dyn Fn(&Attempt) -> bool| assert!(rows.iter().any(test), "no {what}");
    for fate in ["completed", "failed", "cut", "interrupted"] {
        some(fate, &|row| row.fate == fate);
    }
    some("estimate", &|row| row.fate == "completed" && row.source == "estimated");
    some("retry", &|row| row.provider == "alpha" && row.id.ends_with("-2"));
    some("fallback", &|row| row.provider == "beta");
    some("overshoot", &|row| row.overshoot.is_some());
    some("secret", &|row| row.model == SECRETIVE && row.fate == "completed");
}
