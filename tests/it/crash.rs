//! `kill -9` in a loop under load, and what the ledger knows afterwards.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use farthing::simulator::{BillsAfterCut, ModelScript, Provider, Reply, Running as Simulator};
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::process::{
    Attempt, Chance, Served, attempts, chance_number, count, requests_that_do_not_add_up, run, start_and_kill,
};

const ROUNDS: u64 = 8;
const CLIENTS: u64 = 16;
/// So many looks at a file take about as long as a start.
const STARTING_LOOKS: u64 = 60_000;
const MODELS: [&str; 3] = ["gpt-5.6-luna", "gpt-5.6-terra", "gpt-5.6-sol"];

fn model(name: &str, after_cut: BillsAfterCut, reasoning: u64) -> ModelScript {
    let gap = Duration::from_millis(1);
    ModelScript::named(name)
        .bills_after_cut(after_cut)
        .reasons(reasoning)
        .when("<long>", Reply::tokens(80).gap(gap))
        .when("<slow>", Reply::tokens(20).waits(Duration::from_millis(20)))
        .when("<reset>", Reply::tokens(30).gap(gap).resets_after(9))
        .when("<silent>", Reply::tokens(30).without_usage())
        .when("<busy>", Reply::status(429))
        .when("<lingers>", lingering())
        .when("<stalls>", Reply::tokens(30).stalls_after(4))
        .then(Reply::tokens(12))
}

/// A whole stream on a connection that does not end.
fn lingering() -> Reply {
    let chunk = json!({
        "object": "chat.completion.chunk",
        "choices": [{"index": 0, "delta": {"content": "done"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10},
    });
    Reply::raw_events([format!("data: {chunk}\n\n"), "data: [DONE]\n\n".to_owned()]).billed(9, 1).stalls_after(2)
}

/// A simulated provider, and the folder of a gateway in front of it.
struct Bench {
    provider: Simulator,
    folder: TempDir,
}

/// A reply that a client has in full.
struct Complete {
    request: String,
    /// What its header said, if it was not a stream.
    cost_usd: Option<String>,
}

impl Bench {
    async fn new(drain_timeout: &str) -> Self {
        Self::with(drain_timeout, "process").await
    }

    async fn with(drain_timeout: &str, durability: &str) -> Self {
        let provider = Provider::openai()
            .model(model(MODELS[0], BillsAfterCut::SoFar, 0))
            .model(model(MODELS[1], BillsAfterCut::All, 6))
            .model(model(MODELS[2], BillsAfterCut::None, 0));
        let provider = provider.keeps(200_000).start().await.expect("a port");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let text = format!(
            "server: {{ listen: 127.0.0.1:0, admin_listen: 127.0.0.1:0, drain_timeout: {drain_timeout} }}\n\
             dispatch: {{ retries: 1, circuit: off }}\nledger: {{ durability: {durability} }}\n\
             providers:\n  sim: {{ protocol: openai, vendor: openai, base_url: {}, models: [\"*\"] }}\n",
            provider.base_url()
        );
        std::fs::write(folder.path().join("farthing.yaml"), text).expect("a file");
        Self { provider, folder }
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("farthing.yaml")
    }

    fn ledger(&self) -> PathBuf {
        self.folder.path().join("farthing.db")
    }

    /// Starts the gateway. What its predecessor left open is closed by the time that it listens.
    fn serve(&self) -> Served {
        let served = Served::start(&self.config());
        assert_eq!(count(&self.ledger(), "attempts_v1 WHERE fate = 'open'"), 0);
        assert_eq!(count(&self.ledger(), "requests_v1 WHERE status = 'open'"), 0);
        served
    }

    /// Clients that ask until the gateway is gone, each with what it received in full.
    fn load(&self, served: &Served, number: u64) -> Vec<tokio::task::JoinHandle<Vec<Complete>>> {
        let client = |index| tokio::spawn(ask_until_gone(served.listen.clone(), Chance(number * CLIENTS + index)));
        (0..CLIENTS).map(client).collect()
    }

    /// A moment that no clock chooses: so many requests later, and so many frames into the last of them.
    async fn random_moment(&self, chance: &mut Chance) {
        let number = self.provider.arrivals() + 1 + chance.below(90);
        let frames = chance.below(12);
        self.provider.arrival(number).await.expect("requests keep coming");
        if frames > 0 {
            // A short or refused answer has fewer frames; then the next request is the moment.
            tokio::select! {
                _ = self.provider.frames_sent(number, frames) => {}
                _ = self.provider.arrival(number + 3) => {}
            }
        }
    }
}

async fn gather(clients: Vec<tokio::task::JoinHandle<Vec<Complete>>>) -> Vec<Complete> {
    let mut complete = Vec::new();
    for client in clients {
        complete.extend(client.await.expect("a client that ends well"));
    }
    complete
}

async fn ask_until_gone(listen: String, mut chance: Chance) -> Vec<Complete> {
    let http: Client<HttpConnector, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let mut complete = Vec::new();
    loop {
        let manner = chance.pick(&["plain", "plain", "long", "long", "slow", "reset", "silent", "busy"]);
        let stream = chance.below(3) > 0;
        let body = json!({
            "model": chance.pick(&MODELS), "stream": stream, "max_completion_tokens": 100, "n": 1 + chance.below(2),
            "messages": [{"role": "user", "content": format!("<{manner}> {}", chance.below(1000))}],
        });
        let request = Request::post(format!("http://{listen}/v1/chat/completions"));
        let request = request.body(Full::new(Bytes::from(body.to_string()))).expect("a valid request");
        let Ok(answered) = http.request(request).await else { return complete };
        let (head, mut body) = answered.into_parts();
        let mut read = Vec::new();
        let ended_well = loop {
            match body.frame().await {
                Some(Ok(frame)) => read.extend_from_slice(&frame.into_data().unwrap_or_default()),
                Some(Err(_)) => break false,
                None => break true,
            }
        };
        if head.status == 503 {
            // It drains.
            return complete;
        }
        let has_all = if stream {
            read.ends_with(b"data: [DONE]\n\n")
        } else {
            serde_json::from_slice::<Value>(&read).is_ok_and(|answer| answer["object"] == "chat.completion")
        };
        let header = |name: &str| Some(head.headers.get(name)?.to_str().expect("text").to_owned());
        if has_all {
            let request = header("x-request-id").expect("every reply has an id");
            complete.push(Complete { request, cost_usd: header("x-farthing-cost-usd") });
        }
        if !ended_well {
            return complete;
        }
    }
}

/// One question, until `enough` of the reply has come.
async fn ask(listen: &str, manner: &str, enough: &str) -> (String, hyper::body::Incoming) {
    let http: Client<HttpConnector, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let body = json!({"model": MODELS[0], "stream": true, "messages": [{"role": "user", "content": manner}]});
    let request = Request::post(format!("http://{listen}/v1/chat/completions"));
    let request = request.body(Full::new(Bytes::from(body.to_string()))).expect("a valid request");
    let mut body = http.request(request).await.expect("the gateway answers").into_body();
    let mut read = String::new();
    while !read.contains(enough) {
        let frame = body.frame().await.expect("more to come").expect("no break");
        read.push_str(std::str::from_utf8(&frame.into_data().unwrap_or_default()).expect("text"));
    }
    // Whoever drops the body hangs up.
    (read, body)
}

/// What the ledger must know of all that happened, before any export is imported.
fn check_ledger(bench: &Bench, complete: &[Complete]) {
    let rows = attempts(&bench.ledger());
    let invoice = bench.provider.invoice();
    let mut billed = BTreeMap::new();
    for line in &invoice.lines {
        let id = line.client_request_id.as_deref().expect("every line has an id");
        assert_eq!(billed.insert(id, line.cost.0), None, "{id} was billed twice");
    }
    let by_id: BTreeMap<&str, &Attempt> = rows.iter().map(|row| (row.id.as_str(), row)).collect();
    assert_eq!(by_id.len(), rows.len(), "rows that are there twice");
    let mut seen = BTreeMap::new();
    for exchange in bench.provider.requests() {
        let id = exchange.header("x-client-request-id").expect("every attempt has an id").to_owned();
        assert!(by_id.contains_key(id.as_str()), "{id} reached the provider without an intent");
        assert!(seen.insert(id, ()).is_none(), "an attempt reached the provider twice");
    }
    for row in &rows {
        check_row(row, billed.get(row.id.as_str()).copied().unwrap_or(0));
    }
    let mut of_request: BTreeMap<&str, Vec<&Attempt>> = BTreeMap::new();
    for row in &rows {
        of_request.entry(&row.request).or_default().push(row);
    }
    for reply in complete {
        let attempts = of_request.get(reply.request.as_str()).expect("a complete reply has rows");
        let last = attempts.last().expect("a row");
        assert_eq!(last.fate, "completed", "{last:?}");
        if last.source == "reported" {
            assert_eq!(last.cost, billed.get(last.id.as_str()).copied(), "{last:?}");
        }
        if let (Some(told), [only]) = (&reply.cost_usd, &**attempts) {
            let nano = only.cost.expect("a cost");
            assert_eq!(*told, farthing::money::NanoUsd(nano).to_string(), "{only:?}");
        }
    }
    assert_eq!(requests_that_do_not_add_up(&bench.ledger()), 0);
}

pub fn check_row(row: &Attempt, billed: i64) {
    let told = format!("billed {billed}: {row:?}");
    assert!(row.holds(billed), "{told}");
    match (&*row.fate, &*row.source) {
        ("failed", "estimated") => assert_eq!(row.cost, Some(0), "{told}"),
        ("completed" | "cut", "reported") => assert_eq!(row.cost, Some(billed), "{told}"),
        ("completed", "estimated") => assert!(row.high.is_some(), "{told}"),
        ("interrupted" | "cut", "unknown") => assert_eq!((row.low, row.cost, row.high), (0, None, row.bound), "{told}"),
        _ => panic!("a row that should not be: {told}"),
    }
}

/// After an import of the provider's export, what is settled equals the invoice to the nano-dollar.
fn check_reconciled(bench: &Bench) {
    let export: PathBuf = bench.folder.path().join("export.jsonl");
    std::fs::write(&export, bench.provider.export_jsonl()).expect("a file");
    let (file, config) = (text(&export), text(&bench.config()));
    let done = run(&["reconcile", "--provider", "sim", &file, "--config", &config, "--format", "json"]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let report: Value = serde_json::from_slice(&done.stdout).expect("one JSON object");
    for list in ["unmatched_ids", "differences", "outside_interval"] {
        assert_eq!(report[list], json!([]), "{list}");
    }
    let rows = attempts(&bench.ledger());
    let settled: i64 = rows.iter().filter_map(|row| row.cost).sum();
    assert_eq!(settled, bench.provider.invoice().total().0);
    assert_eq!(requests_that_do_not_add_up(&bench.ledger()), 0);
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// Kills the gateway once so much of a reply has come, and gives the row that its successor finds.
async fn row_after_a_kill(manner: &str, enough: &str) -> (Attempt, i64) {
    let bench = Bench::new("5s").await;
    let served = bench.serve();
    let answered = ask(&served.listen, manner, enough).await;
    served.kill();
    drop(answered);
    drop(bench.serve());
    bench.provider.release();
    bench.provider.settled().await.expect("the invoice is final");
    let rows = attempts(&bench.ledger());
    let [row] = &rows[..] else { panic!("one row, not {rows:?}") };
    (row.clone(), bench.provider.invoice().total().0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_outcome_is_kept_before_the_client_sees_the_end() {
    let (row, billed) = row_after_a_kill("<lingers>", "[DONE]").await;
    assert_eq!((&*row.fate, &*row.source, row.cost), ("completed", "reported", Some(billed)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reply_that_is_cut_by_the_kill_is_between_nothing_and_its_bound() {
    let (row, billed) = row_after_a_kill("<stalls>", "row").await;
    assert_eq!((&*row.fate, &*row.source), ("interrupted", "unknown"));
    assert_eq!((row.low, row.cost, row.high), (0, None, row.bound));
    assert!(billed > 0 && row.holds(billed) && row.high.is_some(), "billed {billed}: {row:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_at_any_moment_loses_and_invents_nothing() {
    kill_again_and_again("process", ROUNDS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_of_a_gateway_that_waits_for_the_disk_loses_and_invents_nothing() {
    kill_again_and_again("power", ROUNDS / 2).await;
}

async fn kill_again_and_again(durability: &str, rounds: u64) {
    let rounds = std::env::var("FARTHING_CRASH_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(rounds);
    let number = chance_number();
    println!("to see this again, as far as that is possible: FARTHING_CHANCE={number}");
    let bench = Bench::with("5s", durability).await;
    let mut chance = Chance(number);
    let mut complete = Vec::new();
    for round in 0..rounds {
        let served = bench.serve();
        let clients = bench.load(&served, number * 1000 + round);
        bench.random_moment(&mut chance).await;
        served.kill();
        complete.extend(gather(clients).await);
        // A successor that dies while it reads what was left leaves it to the next one.
        start_and_kill(&bench.config(), chance.below(STARTING_LOOKS));
    }
    bench.provider.settled().await.expect("the invoice is final");
    let mut served = bench.serve();
    served.terminate();
    let (status, log) = served.end();
    assert_eq!(status.code(), Some(0), "{log}");

    check_ledger(&bench, &complete);
    let interrupted = count(&bench.ledger(), "requests_v1 WHERE status = 'interrupted'");
    assert!(interrupted > 0 && !complete.is_empty(), "{interrupted} interrupted, {} complete", complete.len());
    check_reconciled(&bench);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_polite_stop_under_load_settles_everything() {
    let number = chance_number();
    let bench = Bench::new("5s").await;
    let mut served = bench.serve();
    let clients = bench.load(&served, number);
    bench.random_moment(&mut Chance(number)).await;
    served.terminate();
    let complete = gather(clients).await;
    let (status, log) = served.end();
    assert_eq!(status.code(), Some(0), "{log}");
    bench.provider.settled().await.expect("the invoice is final");

    assert_eq!(count(&bench.ledger(), "attempts_v1 WHERE fate = 'open'"), 0);
    assert_eq!(count(&bench.ledger(), "requests_v1 WHERE status IN ('open', 'interrupted', 'client_closed')"), 0);
    check_ledger(&bench, &complete);
    check_reconciled(&bench);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_that_cannot_wait_any_longer_settles_what_it_cuts() {
    let bench = Bench::new("100ms").await;
    let mut served = bench.serve();
    let _answered = ask(&served.listen, "<stalls>", "row").await;
    let asked = tokio::spawn({
        let listen = served.listen.clone();
        async move { ask(&listen, "<stalls>", "never").await }
    });
    bench.provider.frames_sent(2, 4).await.expect("a second stream");
    served.terminate();
    let (status, log) = served.end();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(asked.await.is_err(), "its stream ends without an end");
    bench.provider.settled().await.expect("the invoice is final");

    let rows = attempts(&bench.ledger());
    assert_eq!(rows.iter().map(|row| &*row.fate).collect::<Vec<_>>(), ["cut", "cut"]);
    check_ledger(&bench, &[]);
    check_reconciled(&bench);
}
