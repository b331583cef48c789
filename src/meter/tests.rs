//! One request over several attempts, as its log event and its rows tell it.

use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use arc_swap::ArcSwap;
use bytes::Bytes;
use serde_json::{Value, json};

use super::estimates::Estimates;
use super::*;
use crate::call::{Attribution, Call, Surface};
use crate::config;
use crate::ids::{ModelId, ProviderId, RequestId, TeamId};
use crate::ledger::{Ledger, LedgerOptions};
use crate::memory::Memory;
use crate::plan::{Reason, Why};
use crate::providers::Providers;
use crate::telemetry::log::Log;
use crate::telemetry::metrics::Metrics;
use crate::wire::openai_chat;

const CONFIG: &str =
    "providers:\n  p: { protocol: openai, vendor: openai, base_url: 'http://127.0.0.1:1/v1', models: ['*'] }\n";
const BODY: &[u8] = br#"{"model":"gpt-5.6-luna","messages":[{"role":"user","content":"hi"}]}"#;
const STREAM: &[u8] = br#"{"model":"gpt-5.6-luna","stream":true,"messages":[{"role":"user","content":"hi"}]}"#;

#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Accounts with a ledger in `folder` and a log that can be read.
fn accounts(folder: &Path) -> (Arc<Accounts>, Sink) {
    let options = LedgerOptions {
        path: folder.join("farthing.db"),
        durability: config::Durability::Process,
        when_it_fails: config::WhenItFails::Deny,
    };
    let sink = Sink::default();
    let accounts = Accounts {
        ledger: Ledger::open(&options).expect("the ledger opens").0,
        book: ArcSwap::from_pointee(Book::builtin().clone()),
        estimates: Estimates::default(),
        metrics: Metrics::new(9),
        log: Log::to(Box::new(sink.clone())),
        cutting: AtomicBool::new(false),
    };
    (Arc::new(accounts), sink)
}

fn call() -> Call {
    call_of(BODY)
}

fn call_of(body: &'static [u8]) -> Call {
    let body = Bytes::from_static(body);
    let who = Attribution {
        team: TeamId::from("data"),
        key: None,
        project: None,
        pipeline: None,
        user: None,
        run: None,
        prompt: None,
        task: None,
        ignored: Vec::new(),
    };
    let facts = CallFacts {
        id: RequestId::new(),
        arrived: Instant::now(),
        read: Instant::now(),
        at_ms: now_ms(),
        surface: Surface::ChatCompletions,
        body_bytes: body.len(),
        view: openai_chat::read(&body).expect("a chat body"),
        who,
        pinned_tier: None,
        session: None,
        deadline: None,
    };
    Call { facts: Arc::new(facts), body, headers: Vec::new(), held: Memory::new(usize::MAX).hold() }
}

/// The target of [`call`], of a provider row that asks for no usage in streams.
fn unasked(folder: &Path) -> (Arc<Row>, ModelRef) {
    let config = CONFIG.replace("models", "metering: observe, models");
    let config = config::parse("farthing.yaml", &config, folder, &|_| None).expect("a configuration");
    let target = ModelRef { provider: ProviderId::from("p"), model: ModelId::from("gpt-5.6-luna") };
    let row = Providers::new(&config.providers).row(&target.provider).cloned().expect("the row");
    (row, target)
}

/// Tokens of the input and the output of a call that was answered by `facts`, and what its row says counted them.
async fn settled(accounts: &Arc<Accounts>, folder: &Path, body: &'static [u8], facts: &Facts) -> (u64, u64, String) {
    let (row, target) = unasked(folder);
    let call = call_of(body);
    let plan = Arc::new(Plan::new(None, vec![target.clone()], Reason::of(Why::ExactModel)));
    let mut meter = Meter::open(accounts, &call.facts, &plan);
    meter.begin(&row, &target, &row.prepare(&call, &target)).expect("the ledger takes it");
    accounts.estimates.idle().await;
    meter.saw(facts);
    let attempt = meter.open.take().expect("an open attempt");
    let settled = attempt.settle(Fate::Completed, &call.facts, &accounts.estimates);
    let tokenizer = attempt.outcome(&settled, 0, None).tokenizer.unwrap_or("the provider").to_owned();
    let usage = settled.usage.expect("tokens");
    (usage.input_tokens, usage.output_tokens, tokenizer)
}

#[tokio::test]
async fn only_a_stream_whose_usage_nobody_asked_for_is_counted() {
    let folder = tempfile::tempdir().expect("a folder");
    let (accounts, _log) = accounts(folder.path());
    let facts = Facts { text_bytes: 9, ..Facts::default() };
    // Three for the message, its role, its text, three for the answer.
    let counted = (8, 3, "o200k_base, bytes/4".to_owned());
    assert_eq!(settled(&accounts, folder.path(), STREAM, &facts).await, counted);
    let by_bytes = (BODY.len().div_ceil(4) as u64, 3, "bytes/4".to_owned());
    assert_eq!(settled(&accounts, folder.path(), BODY, &facts).await, by_bytes);
}

#[tokio::test]
async fn an_estimate_goes_by_what_the_model_s_provider_used_to_report() {
    let folder = tempfile::tempdir().expect("a folder");
    let (accounts, _log) = accounts(folder.path());
    let usage = Usage { input_tokens: 2 * BODY.len() as u64, output_tokens: 300, ..Usage::default() };
    let reported = Facts { usage: Some(usage), text_bytes: 100, ..Facts::default() };
    for _ in 0..40 {
        let (_, _, tokenizer) = settled(&accounts, folder.path(), BODY, &reported).await;
        assert_eq!(tokenizer, "the provider");
    }
    let facts = Facts { text_bytes: 9, ..Facts::default() };
    let calibrated = (2 * BODY.len() as u64, 27, "calibrated".to_owned());
    assert_eq!(settled(&accounts, folder.path(), BODY, &facts).await, calibrated);
    let counted = (8, 27, "o200k_base, calibrated".to_owned());
    assert_eq!(settled(&accounts, folder.path(), STREAM, &facts).await, counted);
}

/// The end of an answer with a usage that counts from `from`, each kind another number.
fn said(from: u64) -> Facts {
    let usage = Usage {
        input_tokens: from,
        cached_input_tokens: from / 10 + 1,
        cache_write_tokens: from / 10 + 2,
        cache_write_1h_tokens: from / 10 + 3,
        output_tokens: from / 2,
        reasoning_tokens: from / 10 + 4,
    };
    Facts { usage: Some(usage), finished: 1, ..Facts::default() }
}

#[tokio::test]
async fn a_request_s_tokens_and_cost_are_those_of_all_its_attempts_together() {
    let folder = tempfile::tempdir().expect("a folder");
    let (accounts, log) = accounts(folder.path());
    let config = config::parse("farthing.yaml", CONFIG, folder.path(), &|_| None).expect("a configuration");
    let providers = Providers::new(&config.providers);
    let target = ModelRef { provider: ProviderId::from("p"), model: ModelId::from("gpt-5.6-luna") };
    let row = providers.row(&target.provider).expect("the row");
    let call = call();
    let plan = Arc::new(Plan::new(None, vec![target.clone()], Reason::of(Why::ExactModel)));
    let mut meter = Meter::open(&accounts, &call.facts, &plan);
    let mut costs = Vec::new();
    // A call that fails without a word in between takes nothing away.
    for usage in [Some(1000), None, Some(400)] {
        let before = meter.spent();
        meter.begin(row, &target, &row.prepare(&call, &target)).expect("the ledger takes it");
        if let Some(from) = usage {
            meter.saw(&said(from));
        }
        match usage {
            Some(400) => assert_ne!(meter.complete(200), CostInterval::NOTHING),
            Some(_) => meter.failed(&Failure::Reset { sent: true }),
            None => meter.failed(&Failure::Connect { why: "the connection was refused" }),
        }
        costs.push(meter.spent().low - before.low);
    }
    let spent = meter.spent();
    assert!(costs[0] > costs[2] && costs[2] > costs[1], "{costs:?}");
    assert_eq!(spent, CostInterval::exactly(costs[0] + costs[2]));
    accounts.log.close();
    let written = log.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let event: Value = serde_json::from_slice(&written).expect("one event");
    let told = |names: [&str; 7]| names.map(|name| event[name].clone());
    assert_eq!(
        told([
            "attempts",
            "input_tokens",
            "cached_input_tokens",
            "cache_write_tokens",
            "output_tokens",
            "reasoning_tokens",
            "cost_usd"
        ]),
        [
            json!(3),
            json!(1400),
            json!(142),
            json!(102 + 42 + 103 + 43),
            json!(700),
            json!(148),
            json!(spent.exact.map(|cost| cost.to_string()))
        ]
    );
}
