//! One request over several attempts, as its log event and its rows tell it.

mod sketching;

use std::io::{self, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use arc_swap::ArcSwap;
use bytes::Bytes;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::accounts::Cutting;
use super::attempt::Settled;
use super::estimates::Estimates;
use super::prefixes::Prefixes;
use super::*;
use crate::budget::terms::Share;
use crate::budget::{Ask, Budget, Charge, Every, Payer, WhenNear};
use crate::call::{Attribution, Call, Surface};
use crate::config;
use crate::ids::{ModelId, ProviderId, RequestId, TeamId};
use crate::ledger::{Ledger, LedgerOptions};
use crate::memory::Memory;
use crate::money::NanoUsd;
use crate::plan::{Reason, Why};
use crate::providers::Providers;
use crate::reply::usage::{ServiceTier, Source, WhyUnknown};
use crate::telemetry::log::{Log, now_ms};
use crate::telemetry::metrics::Metrics;
use crate::wire::openai_chat;

const CONFIG: &str =
    "providers:\n  p: { protocol: openai, vendor: openai, base_url: 'http://127.0.0.1:1/v1', models: ['*'] }\n";
const BODY: &[u8] = br#"{"model":"gpt-5.6-luna","messages":[{"role":"user","content":"hi"}]}"#;
const STREAM: &[u8] = br#"{"model":"gpt-5.6-luna","stream":true,"messages":[{"role":"user","content":"hi"}]}"#;

#[derive(Clone, Default)]
pub(crate) struct Sink(Arc<Mutex<Vec<u8>>>);

impl Sink {
    /// What was logged.
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Accounts with a ledger in `folder` and a log that can be read.
pub(crate) fn accounts(folder: &Path) -> (Arc<Accounts>, Sink) {
    let options = LedgerOptions {
        path: folder.join("farthing.db"),
        durability: config::Durability::Process,
        when_it_fails: config::WhenItFails::Deny,
    };
    let sink = Sink::default();
    let ledger = Ledger::open(&options).expect("the ledger opens").0;
    let accounts = Accounts {
        sketches: sketches::Sketches::start(ledger.key()),
        ledger,
        book: ArcSwap::from_pointee(Book::builtin().clone()),
        timezone: TimeZone::UTC,
        holds: holds::Holds::new(TimeZone::UTC).0,
        internal: overhead::Internal::default(),
        estimates: Estimates::default(),
        prefixes: Prefixes::default(),
        metrics: Metrics::new(9),
        log: Log::to(Box::new(sink.clone())),
        cutting: Cutting::default(),
    };
    (Arc::new(accounts), sink)
}

pub(super) fn call() -> Call {
    call_of(BODY)
}

fn call_of(body: &'static [u8]) -> Call {
    let body = Bytes::from_static(body);
    let facts = CallFacts {
        id: RequestId::new(),
        arrived: Instant::now(),
        read: Instant::now(),
        at_ms: now_ms(),
        surface: Surface::ChatCompletions,
        body_bytes: body.len(),
        view: openai_chat::read(&body).expect("a chat body"),
        who: Attribution::of_team(TeamId::from("data")),
        pinned_tier: None,
        session: None,
        deadline: None,
        on_short: None,
    };
    Call {
        facts: Arc::new(facts),
        body,
        kept_at: None,
        beta: false,
        headers: Vec::new(),
        held: Memory::new(usize::MAX).hold(),
    }
}

/// The target of [`call`], of a provider row that asks for no usage in streams.
fn unasked(folder: &Path) -> (Arc<Row>, ModelRef) {
    let config = CONFIG.replace("models", "metering: observe, models");
    let config = config::parse("farthing.yaml", &config, folder, &|_| None).expect("a configuration");
    let target = ModelRef { provider: ProviderId::from("p"), model: ModelId::from("gpt-5.6-luna") };
    let row = Providers::new(&config.providers, 64).row(&target.provider).cloned().expect("the row");
    (row, target)
}

/// What a call is settled at that was answered by `facts`.
async fn settling(accounts: &Arc<Accounts>, folder: &Path, body: &'static [u8], facts: &Facts) -> (Attempt, Settled) {
    let (row, target) = unasked(folder);
    let call = call_of(body);
    let plan = Arc::new(Plan::new(None, vec![target.clone()], Reason::of(Why::ExactModel)));
    let mut meter = Meter::open(accounts, accounts.book.load_full(), &call.facts, &plan);
    meter.begin(&row, &target, &row.prepare(&call, &target, None)).expect("the ledger takes it");
    accounts.estimates.idle().await;
    meter.saw(facts);
    let attempt = meter.open.take().expect("an open attempt");
    let settled = attempt.settle(Fate::Completed, &call.facts, &accounts.estimates);
    (attempt, settled)
}

/// Tokens of the input and the output of a call that was answered by `facts`, and what its row says counted them.
async fn settled(accounts: &Arc<Accounts>, folder: &Path, body: &'static [u8], facts: &Facts) -> (u64, u64, String) {
    let (attempt, settled) = settling(accounts, folder, body, facts).await;
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

/// A body that asks about one part of content, of `kind`, with 40,000 letters attached.
fn asking_about(kind: &str) -> &'static [u8] {
    let part = json!({ "type": kind, kind: { "url": "data:;base64,".to_owned() + &"A".repeat(40_000) } });
    let body = json!({ "model": "gpt-5.6-luna", "messages": [{ "role": "user", "content": [part] }] });
    Box::leak(body.to_string().into_bytes().into_boxed_slice())
}

#[tokio::test]
async fn an_image_of_which_nothing_was_reported_is_not_estimated_by_its_bytes() {
    let folder = tempfile::tempdir().expect("a folder");
    let (accounts, _log) = accounts(folder.path());
    let facts = Facts { text_bytes: 9, ..Facts::default() };
    let body = asking_about("image_url");
    let part = json!({ "type": "image_url", "image_url": { "url": "data:;base64," } }).to_string();
    let text = (body.len() - part.len() - 40_000).div_ceil(4) as u64;
    let expected = (text + 765, 3, "bytes/4+images, bytes/4".to_owned());
    assert_eq!(settled(&accounts, folder.path(), body, &facts).await, expected);
}

#[tokio::test]
async fn what_a_recording_or_a_file_cost_that_nobody_reported_is_unknown() {
    let folder = tempfile::tempdir().expect("a folder");
    let (accounts, _log) = accounts(folder.path());
    let facts = Facts { text_bytes: 9, ..Facts::default() };
    for kind in ["input_audio", "file"] {
        let settled = settling(&accounts, folder.path(), asking_about(kind), &facts).await.1;
        assert_eq!((settled.usage, settled.source), (None, Source::Unknown), "{kind}");
        assert_eq!((settled.cost.low, settled.cost.exact), (NanoUsd::ZERO, None), "{kind}");
    }
}

/// A row that speaks as `vendor` does, and its target.
pub(super) fn row_of(folder: &Path, vendor: &str, model: &str) -> (Arc<Row>, ModelRef) {
    let config = CONFIG.replace("vendor: openai", &format!("vendor: {vendor}"));
    let config = config::parse("farthing.yaml", &config, folder, &|_| None).expect("a configuration");
    let target = ModelRef { provider: ProviderId::from("p"), model: ModelId::from(model) };
    (Providers::new(&config.providers, 64).row(&target.provider).cloned().expect("the row"), target)
}

/// A call whose attempt has left.
fn begun(accounts: &Arc<Accounts>, (row, target): &(Arc<Row>, ModelRef), call: &Call) -> Meter {
    let plan = Arc::new(Plan::new(None, vec![target.clone()], Reason::of(Why::ExactModel)));
    let mut meter = Meter::open(accounts, accounts.book.load_full(), &call.facts, &plan);
    meter.begin(row, target, &row.prepare(call, target, None)).expect("the ledger takes it");
    meter
}

/// What the only attempt of the only request is settled at, once it has ended in `end`.
fn row_after(accounts: &Accounts, columns: &str) -> Vec<rusqlite::types::Value> {
    accounts.ledger.sync_views(Duration::from_secs(20)).expect("the views catch up");
    let views = accounts.ledger.views().expect("the views open");
    let sql = format!("SELECT {columns} FROM attempts_v1 ORDER BY attempt_id DESC LIMIT 1");
    let read = |row: &rusqlite::Row<'_>| (0..row.as_ref().column_count()).map(|n| row.get(n)).collect();
    views.query_row(&sql, [], read).expect("a row")
}

fn text(word: &str) -> rusqlite::types::Value {
    rusqlite::types::Value::Text(word.to_owned())
}

const USED: Usage = Usage {
    input_tokens: 1000,
    cached_input_tokens: 0,
    cache_write_tokens: 0,
    cache_write_1h_tokens: 0,
    output_tokens: 100,
    reasoning_tokens: 0,
    apart: Apart::NONE,
};

#[test]
fn a_row_says_at_which_tier_it_was_priced_or_why_it_could_not_be() {
    use rusqlite::types::Value::{Integer, Null};
    let folder = tempfile::tempdir().expect("a folder");
    let (accounts, _log) = accounts(folder.path());
    let row = row_of(folder.path(), "openai", "gpt-5.6-luna");
    let seen = Facts { usage: Some(USED), ..Facts::default() };
    let with = |body: &'static [u8], facts: Facts, expected: [rusqlite::types::Value; 3]| {
        let call = call_of(body);
        let mut meter = begun(&accounts, &row, &call);
        meter.saw_whole(&facts);
        meter.complete(200);
        assert_eq!(row_after(&accounts, "priced_tier, unknown_reason, cost_nano"), expected, "{facts:?}");
    };
    let (list, flex) = (Integer(1000 * 200 + 100 * 1200), Integer(500 * 200 + 50 * 1200));
    with(BODY, seen, [text("standard"), Null, list]);
    let asked = br#"{"model":"gpt-5.6-luna","service_tier":"flex","messages":[{"role":"user","content":"hi"}]}"#;
    with(asked, seen, [text("flex"), Null, flex]);
    with(BODY, Facts { service_tier: Some(ServiceTier::Other), ..seen }, [Null, text("service_tier"), Null]);
    for why in [WhyUnknown::Fees, WhyUnknown::OtherTokens, WhyUnknown::Total] {
        with(BODY, Facts { beside: Some(why), ..seen }, [text("standard"), text(why.as_str()), Null]);
    }
    let metrics = String::from_utf8(accounts.metrics.render()).expect("text");
    for (reason, attempts) in [("price", 0), ("service_tier", 1), ("fees", 1), ("other_tokens", 1), ("total", 1)] {
        let line = format!(
            "farthing_unpriced_attempts_total{{model=\"gpt-5.6-luna\",provider=\"p\",reason=\"{reason}\"}} {attempts}\n"
        );
        assert!(metrics.contains(&line), "{line} in {metrics}");
    }
}

#[tokio::test]
async fn an_estimate_knows_no_more_of_fees_than_a_report_does() {
    let folder = tempfile::tempdir().expect("a folder");
    let (accounts, _log) = accounts(folder.path());
    let body = br#"{"model":"gpt-5.6-luna","web_search_options":{},"messages":[{"role":"user","content":"hi"}]}"#;
    let facts = Facts { text_bytes: 9, ..Facts::default() };
    let settled = settling(&accounts, folder.path(), body, &facts).await.1;
    assert_eq!((settled.source, settled.unknown), (Source::Estimated, Some(WhyUnknown::Fees)));
    assert_eq!((settled.cost.exact, settled.cost.high), (None, None));
}

#[tokio::test]
async fn an_estimate_is_never_above_the_bound() {
    let folder = tempfile::tempdir().expect("a folder");
    let (accounts, _log) = accounts(folder.path());
    let body = br#"{"model":"gpt-5.6-luna","max_tokens":1,"messages":[{"role":"user","content":"hi"}]}"#;
    let facts = Facts { text_bytes: 1_000_000, ..Facts::default() };
    let settled = settling(&accounts, folder.path(), body, &facts).await.1;
    assert_eq!((settled.source, settled.usage.map(|usage| usage.output_tokens)), (Source::Estimated, Some(250_000)));
    assert!(settled.cost.high.is_some_and(|bound| bound < NanoUsd(250_000 * 1200)), "{:?}", settled.cost);
    assert_eq!(settled.cost.exact, settled.cost.high);
}

#[tokio::test]
async fn the_bytes_of_what_is_attached_teach_no_ratio() {
    let folder = tempfile::tempdir().expect("a folder");
    let (accounts, _log) = accounts(folder.path());
    let usage = Usage { input_tokens: 20_000, output_tokens: 300, ..Usage::default() };
    let reported = Facts { usage: Some(usage), text_bytes: 100, ..Facts::default() };
    for _ in 0..40 {
        settled(&accounts, folder.path(), asking_about("image_url"), &reported).await;
    }
    let facts = Facts { text_bytes: 9, ..Facts::default() };
    let expected = (BODY.len().div_ceil(4) as u64, 27, "bytes/4, calibrated".to_owned());
    assert_eq!(settled(&accounts, folder.path(), BODY, &facts).await, expected);
}

/// The body of the attempt leaves, as far as anybody can tell.
fn leaves(meter: &Meter) {
    let sent = meter.open.as_ref().expect("an open attempt").sent.clone();
    let mut body = Box::pin(crate::providers::body::OutBody::new(vec![Bytes::from_static(BODY)], sent));
    let polled =
        http_body::Body::poll_frame(body.as_mut(), &mut std::task::Context::from_waker(std::task::Waker::noop()));
    assert!(polled.is_ready());
}

const AS_SETTLED: &str = "fate, source, cost_low_nano, cost_nano, cost_high_nano IS NOT NULL";

#[test]
fn a_call_that_is_dropped_costs_nothing_only_if_no_byte_of_it_has_left() {
    use rusqlite::types::Value::{Integer, Null};
    let folder = tempfile::tempdir().expect("a folder");
    let (accounts, _log) = accounts(folder.path());
    let row = row_of(folder.path(), "openai", "gpt-5.6-luna");
    let call = call_of(br#"{"model":"gpt-5.6-luna","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}"#);
    drop(begun(&accounts, &row, &call));
    let expected = [text("failed"), text("estimated"), Integer(0), Integer(0), Integer(1)];
    assert_eq!(row_after(&accounts, AS_SETTLED), expected);
    assert_eq!(row_after(&accounts, "cost_high_nano"), [Integer(0)]);
    let other = Call { facts: Arc::new(CallFacts { id: RequestId::new(), ..(*call.facts).clone() }), ..call };
    let meter = begun(&accounts, &row, &other);
    leaves(&meter);
    drop(meter);
    let expected = [text("cut"), text("unknown"), Integer(0), Null, Integer(1)];
    assert_eq!(row_after(&accounts, AS_SETTLED), expected);
    assert_ne!(row_after(&accounts, "cost_high_nano"), [Integer(0)]);
}

#[test]
fn a_running_total_of_tokens_is_not_believed_after_a_cut_and_a_final_one_is() {
    use rusqlite::types::Value::{Integer, Null};
    let folder = tempfile::tempdir().expect("a folder");
    let (accounts, _log) = accounts(folder.path());
    let row = row_of(folder.path(), "openai", "gpt-5.6-luna");
    let billed = Integer(1000 * 200 + 100 * 1200);
    for (finished, source, low, cost) in [(0, "unknown", Integer(0), Null), (1, "reported", billed.clone(), billed)] {
        let call = call_of(STREAM);
        let mut meter = begun(&accounts, &row, &call);
        leaves(&meter);
        meter.saw(&Facts { usage: Some(USED), finished, ..Facts::default() });
        drop(meter);
        let told = row_after(&accounts, "fate, source, cost_low_nano, cost_nano");
        assert_eq!(told, [text("cut"), text(source), low, cost], "{finished} finished");
    }
}

/// <https://console.groq.com/docs/flex-processing>: "Pricing matches the on-demand tier."
#[test]
fn a_flex_request_that_is_charged_at_list_price_has_a_bound_and_a_price() {
    let folder = tempfile::tempdir().expect("a folder");
    let (accounts, _log) = accounts(folder.path());
    let row = row_of(folder.path(), "groq", "openai/gpt-oss-120b");
    let call = call_of(
        br#"{"model":"openai/gpt-oss-120b","service_tier":"flex","messages":[{"role":"user","content":"hi"}]}"#,
    );
    let mut meter = begun(&accounts, &row, &call);
    meter.saw_whole(&Facts { usage: Some(USED), ..Facts::default() });
    assert!(meter.complete(200).exact.is_some());
    let told = row_after(&accounts, "priced_tier, service_tier, bound_nano > 0");
    assert_eq!(told, [text("standard"), rusqlite::types::Value::Null, rusqlite::types::Value::Integer(1)]);
}

#[test]
fn an_error_is_settled_at_what_it_says_was_used() {
    use rusqlite::types::Value::{Integer, Null};
    let folder = tempfile::tempdir().expect("a folder");
    let (accounts, _log) = accounts(folder.path());
    let row = row_of(folder.path(), "openai", "gpt-5.6-luna");
    let used = r#","usage":{"prompt_tokens":1000,"completion_tokens":100,"total_tokens":1100}"#;
    let billed = Integer(1000 * 200 + 100 * 1200);
    for (status, used, fate, source, cost, is_bounded) in [
        (500, used, "interrupted", "reported", billed.clone(), true),
        (400, used, "interrupted", "reported", billed, true),
        (500, "", "failed", "estimated", Integer(0), true),
        (429, "", "failed", "estimated", Integer(0), true),
        // The model behind may have gone on.
        (504, "", "interrupted", "unknown", Null, true),
    ] {
        let call = call_of(br#"{"model":"gpt-5.6-luna","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}"#);
        let mut meter = begun(&accounts, &row, &call);
        let body = Bytes::from(format!(r#"{{"error":{{"message":"no","type":"server_error"}}{used}}}"#));
        let refusal = row.0.refusal(crate::dialect::Dialect::Chat, status, &http::HeaderMap::new(), Some(body));
        meter.failed(&Failure::Refused(refusal));
        drop(meter);
        let told = row_after(&accounts, "fate, source, cost_nano, cost_high_nano IS NOT NULL");
        assert_eq!(told, [text(fate), text(source), cost, Integer(i64::from(is_bounded))], "{status} {used}");
    }
}

#[test]
fn an_input_far_longer_than_what_was_sent_is_told_whatever_the_output_might_have_cost() {
    use rusqlite::types::Value::{Integer, Null};
    let folder = tempfile::tempdir().expect("a folder");
    let (accounts, _log) = accounts(folder.path());
    let row = row_of(folder.path(), "openai", "gpt-5.6-luna");
    let call = call_of(br#"{"model":"gpt-5.6-luna","messages":[{"role":"user","content":"hi"}],"max_tokens":100000}"#);
    let sent = call.body.len() as u64;
    for (input_tokens, beyond) in [(2 * sent + 1000, Null), (50_000, Integer((50_000 - sent as i64) * 200))] {
        let mut meter = begun(&accounts, &row, &call);
        let usage = Usage { input_tokens, ..USED };
        meter.saw_whole(&Facts { usage: Some(usage), ..Facts::default() });
        meter.complete(200);
        assert_eq!(row_after(&accounts, "overshoot_nano"), [beyond], "{input_tokens}");
    }
}

#[test]
fn a_price_holds_from_midnight_of_the_configured_time_zone() {
    let folder = tempfile::tempdir().expect("a folder");
    let (accounts, _log) = accounts(folder.path());
    let mut accounts = Arc::into_inner(accounts).expect("nobody else has them");
    let rows = "[{ model: openai/m, from: 2026-11-30, usd_per_million: { input: 1, output: 1 } },
        { model: openai/m, from: 2026-12-01, usd_per_million: { input: 2, output: 2 } }]";
    accounts.book = ArcSwap::from_pointee(Book::builtin().with_user_rows(Book::parse("p.yaml", rows).expect("rows")));
    let row = row_of(folder.path(), "openai", "m");
    let mut call = call_of(br#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#);
    let arrived: Timestamp = "2026-11-30T20:00:00Z".parse().expect("a time");
    Arc::get_mut(&mut call.facts).expect("nobody else has them").at_ms = arrived.as_millisecond();
    for (hours, from) in [(0, ":2026-11-30#"), (4, ":2026-12-01#"), (-12, ":2026-11-30#"), (13, ":2026-12-01#")] {
        accounts.timezone = TimeZone::fixed(jiff::tz::offset(hours));
        let shared = Arc::new(accounts);
        let meter = begun(&shared, &row, &call);
        let version = meter.open.as_ref().and_then(|open| open.intent(None, 0).price_version.map(str::to_owned));
        assert!(version.as_ref().is_some_and(|version| version.contains(from)), "{hours}: {version:?}");
        drop(meter);
        accounts = Arc::into_inner(shared).expect("nobody else has them");
    }
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
        ..Usage::default()
    };
    Facts { usage: Some(usage), finished: 1, ..Facts::default() }
}

#[tokio::test]
async fn a_request_s_tokens_and_cost_are_those_of_all_its_attempts_together() {
    let folder = tempfile::tempdir().expect("a folder");
    let (accounts, log) = accounts(folder.path());
    let row = "[{ model: openai/gpt-5.6-luna, usd_per_million: { input: 1, cache_write_1h: 2, output: 4 } }]";
    let rows = Book::parse("prices.yaml", row).expect("a row");
    accounts.book.store(Arc::new(Book::builtin().with_user_rows(rows)));
    let config = config::parse("farthing.yaml", CONFIG, folder.path(), &|_| None).expect("a configuration");
    let providers = Providers::new(&config.providers, 64);
    let target = ModelRef { provider: ProviderId::from("p"), model: ModelId::from("gpt-5.6-luna") };
    let row = providers.row(&target.provider).expect("the row");
    let call = call();
    let plan = Arc::new(Plan::new(None, vec![target.clone()], Reason::of(Why::ExactModel)));
    let mut meter = Meter::open(&accounts, accounts.book.load_full(), &call.facts, &plan);
    let mut costs = Vec::new();
    // A call that fails without a word in between takes nothing away.
    for usage in [Some(1000), None, Some(400)] {
        let before = meter.spent();
        meter.begin(row, &target, &row.prepare(&call, &target, None)).expect("the ledger takes it");
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

/// A call under a budget that covers `usd` nano-dollars, with an attempt open and its hold.
async fn held(accounts: &Arc<Accounts>, folder: &Path, usd: i64) -> (Meter, Ask) {
    let (row, target) = unasked(folder);
    let call = call_of(STREAM);
    let plan = Arc::new(Plan::new(None, vec![target.clone()], Reason::of(Why::ExactModel)));
    let mut meter = Meter::open(accounts, accounts.book.load_full(), &call.facts, &plan);
    let mut funds = Funds::unlimited((&call.facts.view, call.body.len()), &row, meter.price(&row, &target), Some(20));
    let want = funds.bounds.cost.expect("a bound");
    let budget = Budget { usd: NanoUsd(usd), every: Every::Day, when_near: WhenNear::Warn, near: Share::default() };
    let charge = Charge { payer: Payer::Team("data".into()), budget };
    let ask = Ask { charges: [charge].into(), at_ms: call.facts.at_ms, want, least: want, watched: false };
    funds.hold = accounts.holds.at_once(&ask);
    assert!(funds.hold.is_some(), "{want}");
    meter.fund(funds);
    meter.begin(&row, &target, &row.prepare(&call, &target, Some(20))).expect("the ledger takes it");
    (meter, ask)
}

fn balance(accounts: &Accounts, ask: &Ask) -> (NanoUsd, NanoUsd) {
    accounts.holds.with(|books| books.balance(&ask.charges[0].payer, Every::Day, ask.at_ms))
}

#[tokio::test]
async fn what_the_input_cannot_cost_any_more_is_left_to_others() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (accounts, _log) = accounts(folder.path());
    let (mut meter, ask) = held(&accounts, folder.path(), 1_000_000).await;
    assert_eq!(balance(&accounts, &ask), (NanoUsd::ZERO, ask.want));
    meter.saw(&Facts { usage: Some(Usage { input_tokens: 9, ..Usage::default() }), choices: 1, ..Facts::default() });
    let (spent, held) = balance(&accounts, &ask);
    assert!(spent == NanoUsd::ZERO && held < ask.want && held > NanoUsd::ZERO, "{held} of {}", ask.want);
    let usage = Usage { input_tokens: 9, output_tokens: 3, ..Usage::default() };
    meter.saw(&Facts { usage: Some(usage), finished: 1, ..Facts::default() });
    let cost = meter.complete(200);
    assert_eq!(balance(&accounts, &ask), (cost.exact.expect("a cost"), NanoUsd::ZERO));
}

#[tokio::test]
async fn an_attempt_whose_end_is_not_known_is_spent_at_its_bound() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (accounts, _log) = accounts(folder.path());
    let (meter, ask) = held(&accounts, folder.path(), 1_000_000).await;
    drop(meter);
    // It never left: nothing of it was polled.
    assert_eq!(balance(&accounts, &ask), (NanoUsd::ZERO, NanoUsd::ZERO));
    let (mut meter, ask) = held(&accounts, folder.path(), 1_000_000).await;
    meter.broke(Code::ProviderError);
    assert_eq!(balance(&accounts, &ask), (ask.want, NanoUsd::ZERO));
}

#[tokio::test]
async fn a_stream_beyond_its_limit_holds_more_until_there_is_none() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (accounts, _log) = accounts(folder.path());
    let (mut meter, ask) = held(&accounts, folder.path(), 900_000).await;
    let text = |bytes| Facts { text_bytes: bytes, choices: 1, ..Facts::default() };
    meter.saw(&text(20 * 8 + 7));
    assert_eq!(balance(&accounts, &ask).1, ask.want, "prose may be that long");
    meter.saw(&text(1));
    let held = balance(&accounts, &ask).1;
    assert!(held > ask.want && !meter.is_spent());
    meter.saw(&text(2_200));
    assert_eq!(balance(&accounts, &ask).1, held, "there is no more");
    assert!(!meter.is_spent(), "tokens of 64 dashes are that long: nobody knows that the limit is passed");
    meter.saw(&Facts { words: 21, ..text(0) });
    assert!(meter.is_spent());
    meter.cut_short();
    assert_eq!(balance(&accounts, &ask), (held, NanoUsd::ZERO));
}
