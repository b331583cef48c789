//! What the ledger costs a request, and how fast it answers finance.
//!
//! `cargo bench --bench ledger -- [--requests 5000000] [--only commit|settle|report|review]`
//!
//! Commits: the time of one append in both modes of durability (with `power` until the disk has it). Settling: requests a
//! second through journal, tables and sums, with the CPU that this takes, of the process and of the thread that applies the
//! journal, and the bytes that a request leaves; at once and in two batches, with and without a mirror, in turns. Reports: over
//! a month of generated requests, each time after the file was dropped from the page cache; by what sums are kept for, and
//! by what only the rows know. The review: its five questions over the same month.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use clap::Parser;
use farthing::config::{Durability, WhenItFails};
use farthing::cost::Book;
use farthing::ids::{AttemptId, RequestId};
use farthing::ledger::mirror::Target;
use farthing::ledger::record::{
    Closing, Comparison, DecisionFacts, Fate, Intent, Outcome, Pricing, Record, RequestFacts, Sketch, SketchedTexts,
};
use farthing::ledger::review::Reading;
use farthing::ledger::{Ledger, LedgerOptions, open_current, open_views, rollup};
use farthing::money::{CostInterval, NanoUsd};
use farthing::reply::usage::{Source, Usage};
use farthing::report::{By, Report, SLOT_MS, midnight};
use jiff::civil::date;
use jiff::tz::TimeZone;

/// Turns of settling, with and without a mirror.
const SETTLE_TURNS: u64 = 5;
/// Requests that begin before the first of them ends, where they are settled in two batches.
const IN_TWO: usize = 2_000;

/// The first moment of November 2026, and of December.
const MONTH: (i64, i64) = (1_793_491_200_000, 1_796_083_200_000);

/// Measures the ledger.
#[derive(Parser)]
struct Arguments {
    /// Requests of the month that is reported on
    #[arg(long, default_value_t = 5_000_000)]
    requests: u64,
    /// Requests that are settled
    #[arg(long, default_value_t = 100_000)]
    settled: u64,
    /// Only this part: commit, settle, report, review
    #[arg(long)]
    only: Option<String>,
    /// Cargo says so
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let arguments = Arguments::parse();
    let wants = |part: &str| arguments.only.as_deref().is_none_or(|only| only == part);
    if wants("commit") {
        commits(Durability::Process, 20_000);
        commits(Durability::Power, 500);
    }
    if wants("settle") {
        settle(arguments.settled);
    }
    if wants("report") || wants("review") {
        let (folder, path) = month(arguments.requests);
        if wants("report") {
            reports(&path);
        }
        if wants("review") {
            review(&path);
        }
        drop(folder);
    }
}

fn open(folder: &Path, durability: Durability) -> Ledger {
    let options = LedgerOptions { path: folder.join("farthing.db"), durability, when_it_fails: WhenItFails::Deny };
    Ledger::open(&options).expect("the ledger opens").0
}

fn commits(durability: Durability, count: usize) {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = open(folder.path(), durability);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut took: Vec<Duration> = Vec::with_capacity(count);
    for _ in 0..count {
        let id = AttemptId { request: RequestId::new(), ordinal: 1 };
        let began = Instant::now();
        ledger.append(&planned(id)).expect("it is taken");
        if let Some(secured) = ledger.secured() {
            runtime.block_on(secured.wait()).expect("it reaches the disk");
        }
        took.push(began.elapsed());
    }
    took.sort_unstable();
    let at = |share: usize| took[(count * share / 1000).min(count - 1)];
    println!("commit, {durability:?}: median {:?}, 99 % {:?}, 99.9 % {:?}", at(500), at(990), at(999));
}

/// What is settled, and beside what.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Most requests begin and end within a batch.
    AtOnce,
    /// Each begins in one batch and ends in a later one, as those of real models do.
    InTwo,
    /// At once, and noted for a mirror that cannot be reached.
    Mirrored,
    /// In two, and noted.
    MirroredInTwo,
}

/// Settles in turns, one way after the other, so that what they differ by shows through whatever else the machine does.
fn settle(count: u64) {
    let ways = [
        (Way::AtOnce, "settle"),
        (Way::Mirrored, "settle, noted for a mirror"),
        (Way::InTwo, "settle in two batches"),
        (Way::MirroredInTwo, "settle in two batches, noted for a mirror"),
    ];
    let mut told = ways.map(|_| Vec::new());
    for _ in 0..SETTLE_TURNS {
        for (turns, (way, _)) in told.iter_mut().zip(ways) {
            turns.push(settled_with(count / SETTLE_TURNS, way));
        }
    }
    for (turns, (_, what)) in told.iter_mut().zip(ways) {
        turns.sort_unstable_by(|a, b| a.applier.total_cmp(&b.applier));
        let Settled { a_second, process, applier, bytes } = turns[turns.len() / 2];
        println!(
            "{what}: {a_second:.0} requests a second, {process:.1} µs of CPU a request, {applier:.2} µs of it the applier's; \
             {bytes} bytes in the tables (median of {SETTLE_TURNS} turns)"
        );
    }
}

/// What settling took of one turn, CPU in microseconds a request.
struct Settled {
    a_second: f64,
    process: f64,
    applier: f64,
    bytes: u64,
}

fn settled_with(count: u64, way: Way) -> Settled {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = open(folder.path(), Durability::Process);
    if matches!(way, Way::Mirrored | Way::MirroredInTwo) {
        // Nobody listens on the port of `discard`.
        let target = Target::parse("postgres://farthing@127.0.0.1:9/none?sslmode=disable").expect("a target");
        ledger.mirror_to(Some(target)).expect("a list of changes");
    }
    let (began, cpu_before, applier_before) = (Instant::now(), cpu(), applier_cpu());
    let ids: Vec<AttemptId> = (0..count).map(|_| AttemptId { request: RequestId::new(), ordinal: 1 }).collect();
    let in_two = matches!(way, Way::InTwo | Way::MirroredInTwo);
    for ids in ids.chunks(if in_two { IN_TWO } else { 1 }) {
        ids.iter().for_each(|id| ledger.append(&planned(*id)).expect("it is taken"));
        if in_two {
            ledger.sync_views(Duration::from_secs(600)).expect("the views catch up");
        }
        ids.iter().for_each(|id| ledger.append(&settled(*id)).expect("it is taken"));
    }
    ledger.sync_views(Duration::from_secs(600)).expect("the views catch up");
    let (wall, cpu, applier) = (began.elapsed(), cpu() - cpu_before, applier_cpu() - applier_before);
    ledger.close().expect("it closes");
    let a_request = |time: Duration| time.as_secs_f64() * 1e6 / count as f64;
    Settled {
        a_second: count as f64 / wall.as_secs_f64(),
        process: a_request(cpu),
        applier: a_request(applier),
        bytes: folder.path().join("farthing.db").metadata().expect("it is there").len() / count,
    }
}

/// CPU time of the thread that applies the journal so far.
fn applier_cpu() -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").expect("threads").flatten();
    let named = tasks
        .filter(|task| std::fs::read_to_string(task.path().join("comm")).is_ok_and(|name| name.trim_end() == "ledger"));
    // https://docs.kernel.org/scheduler/sched-stats.html: the first figure is nanoseconds on a CPU.
    let nanos = named.filter_map(|task| {
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanos.sum())
}

fn planned(id: AttemptId) -> Record<'static> {
    let facts = RequestFacts {
        id: id.request,
        at_ms: 1_794_000_000_000,
        team: "data-platform",
        key: "ops",
        project: Some("warehouse"),
        pipeline: Some("orders_daily"),
        user: None,
        run: Some("run-7"),
        prompt: Some("triage"),
        task: Some("log-parsing"),
        tier: Some("lightweight"),
        policy: Some("orders_daily@3f2c"),
        surface: "chat.completions",
        model: "auto",
    };
    let intent = Intent {
        request: Some(facts),
        attempt: id,
        at_ms: 1_794_000_000_001,
        provider: "openai",
        model: "gpt-5.6-luna",
        input_tokens_bound: Some(1_000),
        output_tokens_bound: Some(500),
        bound: Some(NanoUsd(1_000_000)),
        price_version: Some("openai/gpt-5.6-luna@builtin-2026-11"),
    };
    let decision = DecisionFacts {
        reason: "task",
        confidence_ppm: Some(910_000),
        needs_strong_ppm: Some(80_000),
        session: Some("00000000000004d2"),
        would_tier: None,
        would_model: None,
        state: None,
    };
    Record::Planned(intent, decision)
}

fn settled(id: AttemptId) -> Record<'static> {
    let cost = CostInterval::exactly(NanoUsd(212_000));
    let closing =
        Closing { status: "ok", http_status: 200, cost, duration_ms: 812, first_byte_ms: Some(130), edits: "model" };
    let outcome = Outcome {
        attempt: id,
        at_ms: 1_794_000_000_900,
        fate: Fate::Completed,
        provider_status: Some(200),
        usage: Some(Usage { input_tokens: 812, cached_input_tokens: 400, output_tokens: 90, ..Usage::default() }),
        source: Source::Reported,
        cost,
        price_version: None,
        service_tier: Some("standard"),
        discount_ppm: 0,
        tokenizer: None,
        provider_request_id: Some("req_0123456789abcdef"),
        overshoot: None,
        closes: Some(closing),
    };
    let comparison = Comparison {
        model: Some("openai/gpt-5.6-sol"),
        baseline: Some(NanoUsd(5_000_000)),
        fallback: Some(NanoUsd::ZERO),
        retry: Some(NanoUsd::ZERO),
        provider_cache: Some(NanoUsd(72_000)),
        ..Comparison::default()
    };
    let texts = SketchedTexts {
        masked: Some(u64::MAX / 3),
        masked_system: Some(u64::MAX / 5),
        masks: 9,
        read_bytes: 900,
        repeated_bytes: 0,
    };
    let sketch = Sketch {
        head_bytes: 700,
        opening_bytes: 800,
        messages_bytes: 2_400,
        common_tokens: Some(400),
        prefix: u64::MAX / 7,
        exact: u64::MAX / 9,
        texts: Some(texts),
    };
    let pricing = Pricing { tier: Some("standard"), unknown: None };
    Record::Sketched(outcome, pricing, Some(Box::new(comparison)), Box::new(sketch))
}

/// CPU time of the whole process so far.
fn cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/self/stat").expect("it reads");
    let fields: Vec<&str> = text.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    // https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html: utime and stime, in hundredths of a second.
    let ticks: u64 = [11, 12].into_iter().filter_map(|at| fields.get(at)?.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

/// A ledger with a month of requests.
fn month(requests: u64) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    open(folder.path(), Durability::Process).close().expect("it closes");
    let path = folder.path().join("farthing.db");
    let began = Instant::now();
    generate(&path, requests);
    let size = path.metadata().expect("it is there").len();
    println!("{requests} requests generated in {:.0?}, {} MB", began.elapsed(), size >> 20);
    (folder, path)
}

/// What the quarterly review reads of the month, question by question.
fn review(path: &Path) {
    drop_cached(path);
    let (began, day) = (Instant::now(), date(2026, 11, 30));
    let views = open_current(path).expect("the views open");
    let reading = Reading::of(&views, MONTH.0, MONTH.1, Book::builtin(), day).expect("it reads");
    let mut told = vec![("rates", began.elapsed())];
    let mut step = |what, count: usize| {
        let before: Duration = told.iter().map(|(_, took)| *took).sum();
        assert!(count > 0, "{what}");
        told.push((what, began.elapsed().saturating_sub(before)));
    };
    step("prompts", reading.prompts().expect("prompts").len());
    step("losses", reading.losses().expect("losses").len() + 1);
    step("tasks", reading.tasks(Book::builtin(), day, None).expect("tasks").len());
    step("repeats", reading.repeats().expect("repeats").len());
    step("worth", reading.worth(&TimeZone::UTC).expect("worth").len());
    let parts = told.iter().map(|(what, took)| format!("{what} {took:.1?}")).collect::<Vec<_>>().join(", ");
    println!("review: {:.1?} cold ({parts})", began.elapsed());
}

fn reports(path: &Path) {
    let views = open_views(path).expect("the views open");
    let sums: i64 = views.query_row("SELECT count(*) FROM rollup", [], |row| row.get(0)).expect("sums");
    println!("{sums} sums");
    drop(views);
    count_names(path);
    let berlin = TimeZone::get("Europe/Berlin").expect("a zone");
    for (by, zone, name) in [
        (&[By::Team][..], &TimeZone::UTC, "UTC"),
        (&[By::Team, By::Model], &TimeZone::UTC, "UTC"),
        (&[By::Day, By::Team], &TimeZone::UTC, "UTC"),
        (&[By::Month, By::Team, By::Cause], &berlin, "Europe/Berlin"),
        (&[By::Day, By::Team], &berlin, "Europe/Berlin"),
        (&[By::User], &TimeZone::UTC, "UTC"),
        (&[By::User], &berlin, "Europe/Berlin"),
        (&[By::Team, By::Prompt], &TimeZone::UTC, "UTC"),
        (&[By::User, By::Model], &TimeZone::UTC, "UTC"),
        (&[By::Day, By::User], &berlin, "Europe/Berlin"),
    ] {
        let words: Vec<&str> = by.iter().map(|by| by.as_str()).collect();
        let first = report(path, by, zone);
        // What reads rows is slow enough to be told apart at one look.
        let mut took = if first > Duration::from_secs(10) {
            vec![first]
        } else {
            vec![first, report(path, by, zone), report(path, by, zone)]
        };
        took.sort_unstable();
        let times = took.len();
        println!("report --by {} in {name}: {:.2?} cold (median of {times})", words.join(","), took[times / 2]);
    }
}

/// Counts users and prompts as a gateway does behind its requests' back, all but the last half an hour.
fn count_names(path: &Path) {
    let mut ledger = rusqlite::Connection::open(path).expect("it opens");
    let (began, mut longest, mut slots) = (Instant::now(), Duration::ZERO, 0);
    loop {
        let step = Instant::now();
        if !rollup::fill_next(&mut ledger, MONTH.1 / SLOT_MS - 2).expect("it counts") {
            break;
        }
        (longest, slots) = (longest.max(step.elapsed()), slots + 1);
    }
    let users: i64 = ledger.query_row("SELECT count(*) FROM rollup_user", [], |row| row.get(0)).expect("sums");
    println!(
        "users and prompts of {slots} slots counted in {:.1?}, the longest {longest:.1?}; {users} sums",
        began.elapsed()
    );
    ledger.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").expect("it is written");
}

/// Teams, projects, tasks, tiers and models of which hundreds of combinations are in use, twenty thousand users.
fn generate(path: &Path, requests: u64) {
    let database = rusqlite::Connection::open(path).expect("it opens");
    let step = (MONTH.1 - MONTH.0) as f64 / requests as f64;
    database
        .execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -400000; BEGIN;")
        .expect("it begins");
    let numbers = format!(
        "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {requests}),
         r AS (SELECT i, CAST({} + i * {step} AS INTEGER) AS at FROM n),
         d AS (SELECT i, at, printf('%08x-%04x-7%03x-8000-%012x', at >> 16, at & 65535, i & 4095, i) AS id FROM r)",
        MONTH.0
    );
    database
        .execute(
            &format!(
                "INSERT INTO requests (request_id, at_ms, team, key, project, pipeline, user, run, prompt, task, tier, policy,
                    surface, model, status, cost_low_nano, cost_nano, cost_high_nano, http_status, duration_ms, first_byte_ms,
                    edits, reason, confidence_ppm, needs_strong_ppm, session, baseline_model, baseline_nano,
                    saved_fallback_nano, saved_retry_nano, saved_compress_nano, saved_cache_nano, provider_cache_nano,
                    tools_bytes, opening_bytes, messages_bytes, prefix_hash, exact_hash, masked_hash, masked_system_hash, masks,
                    read_bytes, repeated_bytes)
                 {numbers} SELECT id, at, 'team-' || (i % 20), 'key-' || (i % 20), 'project-' || (i % 40), 'orders_daily',
                    'user-' || (i % 20000), 'run-' || (i / 9), 'triage', 'task-' || (i % 7), iif(i % 3, 'lightweight', 'frontier'),
                    'orders_daily@3f2c', 'chat.completions', 'auto', 'ok', 212000, 212000, 212000, 200, 812, 130, 'model',
                    'task', 910000, 80000, '00000000000004d2', 'openai/gpt-5.6-sol', 5000000, 0, 0, 0, 0, 72000,
                    700, 1800, 3300, i % 40 * 7919, i / 280 * 104729 + i % 140, i / 700 * 15485863 + i % 140, i % 40 * 6971, 9, 2400, 130 FROM d"
            ),
            [],
        )
        .expect("requests");
    database
        .execute(
            &format!(
                "INSERT INTO attempts (attempt_id, request_id, at_ms, provider, model, fate, input_tokens, cached_input_tokens,
                    cache_write_tokens, cache_write_1h_tokens, output_tokens, reasoning_tokens, cost_low_nano, cost_nano,
                    cost_high_nano, source, price_version, bound_nano, input_tokens_bound, output_tokens_bound, ended_ms,
                    provider_status, provider_request_id, service_tier, discount_ppm, priced_tier)
                 {numbers} SELECT id || '-1', id, at, 'openai', iif(i % 3, 'gpt-5.6-luna', 'gpt-5.6-sol'), 'completed', 812, 400,
                    0, 0, 90, 0, 212000, 212000, 212000, 'reported', 'openai/gpt-5.6-luna@builtin-2026-11', 1000000, 1000, 500,
                    at + 900, 200, 'req_0123456789abcdef', 'standard', 0, 'standard' FROM d"
            ),
            [],
        )
        .expect("attempts");
    rollup::fill(&database).expect("sums");
    database.execute_batch("COMMIT; PRAGMA journal_mode = WAL;").expect("it commits");
}

/// Drops what the page cache has of a file.
fn drop_cached(path: &Path) {
    // https://www.gnu.org/software/coreutils/manual/html_node/dd-invocation.html: drops what is cached of the whole file.
    let dropped = Command::new("dd")
        .arg(format!("if={}", path.display()))
        .args(["iflag=nocache", "count=0", "status=none"])
        .status();
    assert!(dropped.is_ok_and(|status| status.success()), "the page cache could not be dropped");
}

fn report(path: &Path, by: &[By], zone: &TimeZone) -> Duration {
    drop_cached(path);
    let began = Instant::now();
    let views = open_views(path).expect("the views open");
    let lines = rollup::lines(&views, by, midnight(date(2026, 11, 1), zone), midnight(date(2026, 12, 1), zone), zone)
        .expect("lines");
    let report = Report::of(by, lines, zone);
    assert!(!report.table().is_empty(), "a report");
    began.elapsed()
}
