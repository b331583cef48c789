//! The mirror in a real Postgres: fed with what happens, through outages, from several ledgers, and read by reports.

use std::path::Path;
use std::time::Instant;

use farthing::config::{Durability, WhenItFails};
use farthing::ids::{AttemptId, RequestId};
use farthing::ledger::mirror::{Compared, Reader, Target, compare};
use farthing::ledger::reads::{Cell, Reads as _};
use farthing::ledger::record::{
    Closing, Fate, Intent, KnownTokens, Outcome, Pricing, Reconciled, Record, RequestFacts,
};
use farthing::ledger::{Ledger, LedgerOptions, open_views};
use farthing::money::{CostInterval, NanoUsd};
use farthing::reply::usage::{Source, Usage};
use tempfile::TempDir;

use crate::process::run;
use crate::routing::{LIGHT, POLICY, asks, provider};
use crate::support::postgres::{Database, Gate, aside, database};
use crate::support::{PATIENCE, Setup, World, stop};

pub fn target(url: &str) -> Target {
    Target::parse(url).expect("a good URL")
}

pub fn options(folder: &Path) -> LedgerOptions {
    LedgerOptions {
        path: folder.join("farthing.db"),
        durability: Durability::Process,
        when_it_fails: WhenItFails::Deny,
    }
}

pub fn open(folder: &Path, url: &str) -> Ledger {
    let ledger = Ledger::open(&options(folder)).expect("the ledger opens").0;
    ledger.mirror_to(Some(target(url))).expect("a feeder");
    ledger
}

pub fn fresh(url: &str) -> (TempDir, Ledger) {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = open(folder.path(), url);
    (folder, ledger)
}

pub fn end(ledger: Ledger) {
    ledger.close().expect("all is applied");
    drop(ledger);
}

/// A request of one attempt that cost so much.
pub fn spend(ledger: &Ledger, user: &str, cost: i64) -> AttemptId {
    let attempt = AttemptId { request: RequestId::new(), ordinal: 1 };
    let at_ms = 1_790_000_000_000;
    let facts = RequestFacts {
        id: attempt.request,
        at_ms,
        team: "data",
        key: "ops",
        project: Some("warehouse"),
        pipeline: None,
        user: Some(user),
        run: None,
        prompt: Some("triage"),
        task: Some("logs"),
        tier: Some("lightweight"),
        policy: Some("default@1"),
        surface: "chat.completions",
        model: "auto",
    };
    let intent = Intent {
        request: Some(facts),
        attempt,
        at_ms,
        provider: "openai",
        model: "gpt-5.6-luna",
        input_tokens_bound: Some(100),
        output_tokens_bound: Some(100),
        bound: Some(NanoUsd(100_000)),
        price_version: None,
    };
    let cost = CostInterval::exactly(NanoUsd(cost));
    let closes = Closing { status: "ok", http_status: 200, cost, duration_ms: 5, first_byte_ms: Some(2), edits: "" };
    let outcome = Outcome {
        attempt,
        at_ms: at_ms + 5,
        fate: Fate::Completed,
        provider_status: Some(200),
        usage: Some(Usage { input_tokens: 10, output_tokens: 5, ..Usage::default() }),
        source: Source::Reported,
        cost,
        price_version: None,
        service_tier: None,
        discount_ppm: 0,
        tokenizer: None,
        provider_request_id: Some("req_1"),
        overshoot: None,
        closes: Some(closes),
    };
    ledger.append(&Record::Intent(intent)).expect("an intent");
    ledger.append(&Record::Priced(outcome, Pricing::default())).expect("an outcome");
    attempt
}

/// Looks until the mirror has `requests` and nothing waits; the ledger and its mirror are alike then.
#[track_caller]
pub fn settled(ledger: &Path, url: &str, requests: u64) -> Compared {
    let since = Instant::now();
    loop {
        let compared = aside(|| compare(ledger, &target(url)));
        match &compared {
            Ok(found) if found.waiting == 0 && found.requests == requests && found.behind.is_empty() => {
                assert_eq!(found.findings(), 0, "{found:?}");
                return found.clone();
            }
            _ => assert!(since.elapsed() < 2 * PATIENCE, "{compared:?}"),
        }
        std::thread::yield_now();
    }
}

pub fn read(url: &str, sql: &str) -> Vec<Vec<Cell>> {
    aside(|| Reader::open(&target(url)).expect("it answers").read(sql, &[]).expect("rows"))
}

pub fn number(url: &str, sql: &str) -> i64 {
    read(url, sql)[0][0].number()
}

const COST: &str = "SELECT CAST(coalesce(sum(cost_nano), 0) AS BIGINT) FROM requests_v1";
const COST_OF_DAYS: &str = "SELECT CAST(coalesce(sum(cost_nano), 0) AS BIGINT) FROM rollup_day";

fn farthing(world: &World, arguments: &[&str]) -> (bool, String) {
    let config = world.folder.path().join("farthing.yaml").display().to_string();
    let done = run(&[arguments, &["--config", &config]].concat());
    let told = String::from_utf8(if done.status.success() { done.stdout } else { done.stderr }).expect("UTF-8");
    (done.status.success(), told)
}

async fn world(url: &str) -> World {
    let setup = Setup::of(provider()).file("policies/default.md", POLICY).file("mirror", url);
    setup.more("policies: policies").more("ledger: { mirror: file:mirror }").start().await
}

fn ledger_of(world: &World) -> std::path::PathBuf {
    world.folder.path().join("farthing.db")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_gateway_does_is_in_the_mirror_with_the_same_views_and_reports() {
    let Some(database) = database() else { return };
    let world = world(&database.url()).await;
    for (team, user) in [("data", "ann"), ("=ops()", "bob"), ("data", "ann")] {
        world.chat_as(asks(LIGHT), &[("x-farthing-team", team), ("x-farthing-user", user)]).await;
    }
    world.chat(r#"{"model":"no-such-model","messages":[]}"#).await;
    let path = ledger_of(&world);
    settled(&path, &database.url(), world.requests().len() as u64);
    for (view, key) in [("requests_v1", "request_id"), ("attempts_v1", "attempt_id")] {
        let sql = format!("SELECT * FROM {view} ORDER BY {key}");
        let ours = open_views(&path).expect("the views").read(&sql, &[]).expect("rows");
        assert!(ours.len() >= 3);
        assert_eq!(read(&database.url(), &sql), ours, "{view}");
    }
    let users = read(&database.url(), "SELECT DISTINCT \"user\" FROM requests_v1 WHERE team = 'data' ORDER BY 1");
    assert_eq!(users, [[Cell::Text("ann".to_owned())]]);
    for by in ["team", "team,model", "user,day", "cause", "month", "prompt", "tier,task,week", "cache_loss"] {
        for format in ["csv", "json"] {
            let (good, of_ledger) = farthing(&world, &["report", "--by", by, "--format", format]);
            assert!(good && of_ledger.len() > 20, "{of_ledger}");
            let of_mirror = farthing(&world, &["report", "--by", by, "--format", format, "--mirror"]);
            assert_eq!(of_mirror, (true, of_ledger), "{by}");
        }
    }
    for more in [&["--causal"][..], &["--format", "focus"], &["--forecast"]] {
        let of_ledger = farthing(&world, &[&["report"], more].concat());
        assert_eq!(farthing(&world, &[&["report", "--mirror"], more].concat()), of_ledger);
    }
    let (good, told) = farthing(&world, &["ledger", "verify", "--mirror"]);
    assert!(good && told.contains("nothing wrong was found"), "{told}");
    let (good, told) = farthing(&world, &["check", "--live"]);
    assert!(good && told.contains("has ledgers") && !told.contains("hunter2"), "{told}");
    database.execute("UPDATE farthing.requests SET cost_nano = cost_nano + 1 WHERE team = 'data'");
    let (good, told) = farthing(&world, &["ledger", "verify", "--mirror", "--format", "json"]);
    assert!(!good && told.is_empty(), "{told}");
    stop(world.gateway).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_told_and_made_up_for() {
    let Some(database) = database() else { return };
    let gate = Gate::new();
    let url = database.url_at("127.0.0.1", gate.port, "sslmode=disable");
    let world = world(&url).await;
    let told = world.logged("mirror_behind", 1).await;
    assert!(told["error"].as_str().is_some_and(|error| !error.is_empty()), "{told}");
    world.chat_as(asks(LIGHT), &[]).await;
    world.rows("select 1");
    let rows = async || world.metric("farthing_mirror_lag_rows", "").await;
    let since = Instant::now();
    while rows().await < 1.0 {
        assert!(since.elapsed() < PATIENCE);
    }
    let (good, told) = farthing(&world, &["check", "--live"]);
    assert!(!good && told.contains("`mirror`: 127.0.0.1") && !told.contains("hunter2"), "{told}");
    gate.open(database.postgres.port);
    world.logged("mirror_caught_up", 1).await;
    settled(&ledger_of(&world), &database.url(), 1);
    // Cut while it serves, and again.
    for (outage, requests) in [(2, 2), (3, 3)] {
        gate.shut();
        world.chat_as(asks(LIGHT), &[]).await;
        world.logged("mirror_behind", outage).await;
        gate.open(database.postgres.port);
        world.logged("mirror_caught_up", outage).await;
        settled(&ledger_of(&world), &database.url(), requests);
    }
    while rows().await > 0.0 {
        assert!(since.elapsed() < 3 * PATIENCE);
    }
    assert_eq!(world.metric("farthing_mirror_lag_seconds", "").await, 0.0);
    assert!(!world.log_text().contains("hunter2"));
    stop(world.gateway).await;
}

#[test]
fn rows_from_before_and_corrections_from_long_after_come_too() {
    let Some(database) = database() else { return };
    let (url, folder) = (database.url(), tempfile::tempdir().expect("a folder"));
    let path = folder.path().join("farthing.db");
    let ledger = Ledger::open(&options(folder.path())).expect("the ledger opens").0;
    let attempts: Vec<AttemptId> = (0..2_500).map(|_| spend(&ledger, "ann", 100)).collect();
    // What Postgres cannot hold does not hold up what it can.
    spend(&ledger, "zero\0 and \u{1f600} \"quoted\" \\", 100);
    end(ledger);
    let ledger = open(folder.path(), &url);
    settled(&path, &url, 2_501);
    assert_eq!((number(&url, COST), number(&url, COST_OF_DAYS)), (250_100, 250_100));
    let told = read(&url, "SELECT \"user\" FROM requests_v1 WHERE \"user\" <> 'ann'");
    assert_eq!(told, [[Cell::Text("zero\u{fffd} and \u{1f600} \"quoted\" \\".to_owned())]]);
    let word = Reconciled {
        attempt: attempts[7],
        at_ms: 1_795_000_000_000,
        tokens: KnownTokens::default(),
        cost: NanoUsd(1_000),
        export: "november.csv",
    };
    ledger.append(&Record::Reconciled(word)).expect("a correction");
    // The end of the process waits a moment for the mirror.
    end(ledger);
    assert_eq!((number(&url, COST), number(&url, COST_OF_DAYS)), (251_000, 251_000));
    settled(&path, &url, 2_501);
    // Without a mirror nothing is noted; with one again, all comes again and nothing twice.
    let ledger = Ledger::open(&options(folder.path())).expect("the ledger opens").0;
    ledger.mirror_to(None).expect("it forgets");
    spend(&ledger, "ann", 100);
    end(ledger);
    let ledger = open(folder.path(), &url);
    settled(&path, &url, 2_502);
    assert_eq!((number(&url, COST), number(&url, COST_OF_DAYS)), (251_100, 251_100));
    drop(ledger);
}

#[test]
fn several_ledgers_share_a_mirror() {
    let Some(database) = database() else { return };
    let url = database.url();
    let ledgers = [fresh(&url), fresh(&url), fresh(&url)];
    for (_, ledger) in &ledgers {
        for _ in 0..50 {
            spend(ledger, "ann", 100);
        }
    }
    for (folder, _) in &ledgers {
        settled(&folder.path().join("farthing.db"), &url, 50);
    }
    assert_eq!((number(&url, COST), number(&url, COST_OF_DAYS)), (15_000, 15_000));
    assert_eq!(number(&url, "SELECT count(DISTINCT ledger) FROM requests"), 3);
}

#[test]
fn a_mirror_that_lost_what_it_had_gets_it_again() {
    let Some(database) = database() else { return };
    let url = database.url();
    let (folder, ledger) = fresh(&url);
    let path = folder.path().join("farthing.db");
    spend(&ledger, "ann", 100);
    settled(&path, &url, 1);
    database.execute("CREATE SCHEMA saved; CREATE TABLE saved.feeds AS SELECT * FROM farthing.mirror_feeds");
    spend(&ledger, "ann", 100);
    settled(&path, &url, 2);
    // Restored to an earlier state.
    end(ledger);
    database.execute(
        "DELETE FROM farthing.mirror_feeds; INSERT INTO farthing.mirror_feeds SELECT * FROM saved.feeds;
         DELETE FROM farthing.requests; DELETE FROM farthing.attempts;
         DELETE FROM farthing.rollup; DELETE FROM farthing.rollup_day;",
    );
    let ledger = open(folder.path(), &url);
    settled(&path, &url, 2);
    // Gone altogether, under a running gateway.
    database.execute("DROP SCHEMA farthing CASCADE");
    spend(&ledger, "ann", 100);
    settled(&path, &url, 3);
    assert_eq!(number(&url, COST_OF_DAYS), 300);
}

#[test]
fn what_is_late_does_not_overwrite_what_is_newer() {
    let Some(database) = database() else { return };
    let url = database.url();
    let (folder, ledger) = fresh(&url);
    let path = folder.path().join("farthing.db");
    spend(&ledger, "ann", 100);
    settled(&path, &url, 1);
    // As a batch that was given up and arrives all the same: the next one notices, and begins again from what is there.
    database.execute("UPDATE farthing.mirror_feeds SET batches = batches + 1");
    spend(&ledger, "ann", 100);
    settled(&path, &url, 2);
    assert_eq!(number(&url, "SELECT count(*) FROM requests"), 2);
}

#[test]
fn a_mirror_proves_itself_as_sslmode_says() {
    let Some(database) = database() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let root = database.postgres.write_authority(folder.path());
    let other = folder.path().join("other.pem");
    std::fs::write(&other, crate::support::Authority::new().pem()).expect("a file");
    let other = other.display().to_string().replace('/', "%2F");
    check_tls(&database, "localhost", "sslmode=require", None);
    check_tls(&database, "localhost", &format!("sslmode=verify-full&sslrootcert={root}"), None);
    check_tls(&database, "127.0.0.1", &format!("sslmode=verify-ca&sslrootcert={root}"), None);
    check_tls(&database, "127.0.0.1", &format!("sslmode=verify-full&sslrootcert={root}"), Some("certificate"));
    check_tls(&database, "localhost", &format!("sslmode=verify-ca&sslrootcert={other}"), Some("certificate"));
    check_tls(&database, "localhost", "sslmode=verify-full", Some("certificate"));
    check_tls(&database, "localhost", "sslmode=verify-full&sslrootcert=%2Fnone", Some("sslrootcert"));
}

#[track_caller]
fn check_tls(database: &Database, host: &str, parameters: &str, refused: Option<&str>) {
    let url = database.url_at(host, database.postgres.port, parameters);
    let sql = "SELECT CASE WHEN ssl THEN 1 ELSE 0 END FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    let found = aside(|| Reader::open(&target(&url)).map(|reader| reader.read(sql, &[]).expect("a row")));
    match (found, refused) {
        (Ok(rows), None) => assert_eq!(rows, [[Cell::Number(1)]], "{parameters}"),
        (Err(error), Some(word)) => assert!(error.to_string().contains(word), "{parameters}: {error}"),
        (found, _) => panic!("{parameters}: {:?}", found.map_err(|error| error.to_string())),
    }
}

/// `cargo test --test it mirror::speed -- --ignored --nocapture` says how fast a mirror is fed.
#[test]
#[ignore = "a measurement"]
fn speed() {
    let Some(database) = database() else { return };
    let (url, folder) = (database.url(), tempfile::tempdir().expect("a folder"));
    let path = folder.path().join("farthing.db");
    let ledger = Ledger::open(&options(folder.path())).expect("the ledger opens").0;
    let requests = 50_000_u32;
    for number in 0..requests {
        spend(&ledger, &format!("user-{}", number % 97), i64::from(number));
    }
    end(ledger);
    for way in ["copied", "noted"] {
        let since = Instant::now();
        let ledger = open(folder.path(), &url);
        for number in (0..requests).take_while(|_| way == "noted") {
            spend(&ledger, "ann", i64::from(number));
        }
        ledger.sync_views(60 * PATIENCE).expect("all is applied");
        let applied = since.elapsed().as_secs_f64();
        // Looking at Postgres all the time would slow it down.
        let before = ledger.mirror().map_or(0, |standing| standing.caught_up);
        while ledger.mirror().is_none_or(|standing| standing.caught_up == before) {
            std::thread::park_timeout(PATIENCE / 1_000);
        }
        let seconds = since.elapsed().as_secs_f64();
        let [alone, mirrored] = [applied, seconds].map(|seconds| f64::from(requests) / seconds);
        println!("{way}: {alone:.0} requests a second in the ledger's tables, {mirrored:.0} in the mirror");
        drop(ledger);
    }
    settled(&path, &url, 2 * u64::from(requests));
}
