//! The official SDKs against the real binary: `tests/sdk` holds the cases, this file the world around them (one
//! scripted provider with a model for each case, two gateways, a door to look behind the scenes).
//!
//! Each runs where the environment names what it needs, and `tests/run.sh` sees to that: `FARTHING_TEST_PYTHON` a Python
//! with `tests/sdk/requirements.txt`, `FARTHING_TEST_PYTHON_PREVIOUS` one with `requirements-previous.txt`,
//! `FARTHING_TEST_NODE_MODULES` a folder with what `tests/sdk/node/package.json` lists.
//! One case alone: `PYTEST_ADDOPTS="-k sentence_of_the_case"`, `NODE_OPTIONS='--test-name-pattern="sentence of the case"'`.

pub mod behind;
mod models;

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;

use farthing::simulator::{InvoiceLine, Provider, Running as Simulator};
use rusqlite::{Connection, OpenFlags};
use sha2::{Digest, Sha256};
use tokio::net::TcpSocket;

/// May do everything for its team.
pub const KEY: &str = "fk-agents-of-data";
/// May only ask for models named `chat-*`.
const NARROW_KEY: &str = "fk-only-chat";

#[tokio::test(flavor = "multi_thread")]
async fn the_official_sdk_for_python_works_as_with_openai_itself() {
    if let Some(python) = needed("FARTHING_TEST_PYTHON") {
        check(pytest(python, "tests/sdk")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn so_does_its_previous_major() {
    if let Some(python) = needed("FARTHING_TEST_PYTHON_PREVIOUS") {
        check(pytest(python, "tests/sdk")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_sdk_for_node_works_as_with_openai_itself() {
    if let Some(modules) = needed("FARTHING_TEST_NODE_MODULES") {
        check(node(modules.as_ref(), "openai", "tests/sdk/node/*.test.js")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn so_does_the_previous_major_for_node() {
    if let Some(modules) = needed("FARTHING_TEST_NODE_MODULES") {
        check(node(modules.as_ref(), "openai-previous", "tests/sdk/node/*.test.js")).await;
    }
}

/// The value of a variable without which there is nothing to run.
pub fn needed(variable: &str) -> Option<OsString> {
    let value = std::env::var_os(variable);
    if value.is_none() {
        // Past the capture of the test harness: whoever reads the output knows that this did not run.
        let _ = writeln!(std::io::stderr(), "skipped cases of tests/sdk: {variable} is not set");
    }
    value
}

/// The cases in a folder, by pytest.
pub fn pytest(python: OsString, cases: &str) -> Command {
    let mut pytest = Command::new(python);
    pytest.args(["-m", "pytest", "-v", "-p", "no:cacheprovider", cases]).env("PYTHONDONTWRITEBYTECODE", "1");
    pytest
}

/// The cases that a pattern names, by Node's own test runner; `package` is the name under which the SDK to test is installed.
pub fn node(modules: &Path, package: &str, cases: &str) -> Command {
    let mut node = Command::new(modules.join(".bin/node"));
    node.args(["--test", "--test-reporter=spec", cases]).env("NODE_PATH", modules);
    node.env("FARTHING_SDK", package);
    node
}

/// Runs cases in a world of their own, and holds the ledgers that they leave against the invoice.
async fn check(mut cases: Command) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (models, prices) = models::all();
    let provider = models.into_iter().fold(Provider::openai(), Provider::model);
    let provider = Arc::new(provider.start().await.expect("the simulator starts on a free port"));
    std::fs::write(folder.path().join("prices.yaml"), prices).expect("the prices are written");
    // Bound and not listened on: connections are refused for as long as it is held.
    let held = TcpSocket::new_v4().expect("a socket");
    held.bind("127.0.0.1:0".parse().expect("an address")).expect("a free port");
    let common = common(&provider, held.local_addr().expect("it has an address"));
    let keyed = Gateway::start(folder.path(), "keyed", &(common.clone() + &keys()));
    let open = Gateway::start(folder.path(), "open", &common);
    let behind = behind::open(Arc::from([("", Arc::clone(&provider))])).await;
    cases
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("FARTHING_BINARY", env!("CARGO_BIN_EXE_farthing"))
        .env("FARTHING_BASE_URL", &keyed.base_url)
        .env("FARTHING_OPEN_BASE_URL", &open.base_url)
        .env("FARTHING_LEDGER", folder.path().join("keyed.db"))
        .env("FARTHING_FOLDER", folder.path())
        .env("FARTHING_KEY", KEY)
        .env("FARTHING_NARROW_KEY", NARROW_KEY)
        .env("FARTHING_BEHIND", format!("http://{behind}"))
        .env("FARTHING_PROVIDER_BASE_URL", provider.base_url())
        .env_remove("OPENAI_API_KEY")
        .env_remove("OPENAI_BASE_URL");
    let ended = tokio::task::spawn_blocking(move || cases.status().expect("they start")).await.expect("they end");
    let logs = [keyed.stop(), open.stop()];
    provider.release();
    provider.settled().await.expect("the provider is done");
    drop(held);
    assert!(ended.success(), "cases of tests/sdk failed, see above; the gateway's log:\n{}", logs.join("\n"));
    for log in &logs {
        assert!(!log.contains("panicked"), "{log}");
    }
    let lines = provider.invoice().lines;
    let ledgers = ["keyed", "open", "own"].map(|name| folder.path().join(name).with_extension("db"));
    let billed: usize = ledgers.iter().filter(|ledger| ledger.exists()).map(|ledger| reconcile(ledger, &lines)).sum();
    assert!(billed > 0 && billed == lines.len(), "{billed} of {} invoice lines have a row", lines.len());
}

/// A gateway process of the test's own.
pub struct Gateway {
    /// Where it serves OpenAI's clients.
    pub base_url: String,
    process: Child,
    log: JoinHandle<String>,
}

impl Gateway {
    /// Starts `farthing serve` with a ledger named after it.
    pub fn start(folder: &Path, name: &str, config: &str) -> Self {
        let file = folder.join(format!("{name}.yaml"));
        std::fs::write(&file, format!("{config}ledger: {{ path: {name}.db }}\n")).expect("a file is written");
        let mut process = Command::new(env!("CARGO_BIN_EXE_farthing"))
            .args(["serve", "--config"])
            .arg(&file)
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let mut lines = BufReader::new(process.stderr.take().expect("it is piped")).lines().map_while(Result::ok);
        let mut before = String::new();
        let listen = lines.find_map(|line| {
            before += &line;
            let event: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
            event["listen"].as_str().map(str::to_owned)
        });
        let listen = listen.unwrap_or_else(|| panic!("the gateway did not start: {before}"));
        // The line of each request says nothing that a failing case does not.
        let telling = |line: &String| !line.contains(r#""event":"request""#);
        let log = std::thread::spawn(move || lines.filter(telling).collect::<Vec<_>>().join("\n"));
        Self { base_url: format!("http://{listen}/v1"), process, log }
    }

    /// Asks it to stop, waits until it has, and gives its log.
    pub fn stop(mut self) -> String {
        // The shell's own: small systems have no program of that name.
        let asked = Command::new("sh").args(["-c", "kill $0", &self.process.id().to_string()]).status();
        assert!(asked.expect("there is a shell").success());
        let ended = self.process.wait().expect("it ends");
        let log = self.log.join().expect("the log was read");
        assert!(ended.success(), "the gateway ended with {ended}:\n{log}");
        log
    }
}

/// What both gateways are told. `sim` has patience, `hasty` has none, and nobody lives at `gone`.
fn common(provider: &Simulator, gone: SocketAddr) -> String {
    let url = provider.base_url();
    format!(
        "server: {{ listen: 127.0.0.1:0, admin_listen: 127.0.0.1:0, drain_timeout: 5s }}\n\
         prices: prices.yaml\n\
         dispatch: {{ retries: 1, retry_wait: 1s, first_byte_timeout: 20s, idle_timeout: 20s, total_timeout: 30s, circuit: off }}\n\
         providers:\n  \
           hasty: {{ protocol: openai, vendor: openai, base_url: {url}, models: [\"hasty-*\"], \
             dispatch: {{ first_byte_timeout: 150ms, idle_timeout: 150ms, total_timeout: 400ms }} }}\n  \
           gone: {{ protocol: openai, vendor: openai, base_url: http://{gone}/v1, models: [\"gone-*\"] }}\n  \
           sim: {{ protocol: openai, vendor: openai, base_url: {url}, models: [\"*\"] }}\n\
         tiers: {{ frontier: [sim/chat-frontier], reasoning: [sim/lab/chat-slash], lightweight: [gone/gone-light, sim/chat-plain] }}\n"
    )
}

pub fn keys() -> String {
    let hash = |key: &str| Sha256::digest(key).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    format!(
        "keys:\n  \
           - {{ sha256: {}, name: agents, team: data, may: {{ teams: [search], projects: [\"orders*\"] }} }}\n  \
           - {{ sha256: {}, name: narrow, team: data, may: {{ models: [\"chat-*\"] }} }}\n",
        hash(KEY),
        hash(NARROW_KEY)
    )
}

/// Holds a stopped gateway's rows against the invoice; gives how many lines are its own.
pub fn reconcile(ledger: &Path, lines: &[InvoiceLine]) -> usize {
    let views = Connection::open_with_flags(ledger, OpenFlags::SQLITE_OPEN_READ_ONLY).expect("the ledger opens");
    let mut of_attempt = views
        .prepare("select fate, source, cost_low_nano, cost_nano, cost_high_nano, unknown_reason from attempts_v1 where attempt_id = ?")
        .expect("valid SQL");
    let mut ours = 0;
    for line in lines {
        let id = line.client_request_id.as_deref().expect("every attempt carries its id");
        let row = of_attempt.query_row([id], |row| {
            let figures: (i64, Option<i64>, Option<i64>) = (row.get(2)?, row.get(3)?, row.get(4)?);
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, figures, row.get::<_, Option<String>>(5)?))
        });
        let Ok((fate, source, (low, exact, high), unknown)) = row else { continue };
        ours += 1;
        let (billed, what) = (line.cost.0, format!("{} ({fate}, {source}): {low}, {exact:?}, {high:?}", line.model));
        assert!(low <= billed && high.is_none_or(|high| billed <= high), "{billed} is not within {what}");
        // A provider's own search may have a fee that its usage does not tell.
        let is_known = source == "reported" && unknown.as_deref() != Some("fees");
        assert!(!is_known || exact == Some(billed), "{billed} is not {what}, {unknown:?}");
    }
    let count = |sql: &str| views.query_row(sql, [], |row| row.get::<_, i64>(0)).expect("a count");
    assert_eq!(count("select count(*) from attempts_v1 where fate = 'open'"), 0, "every attempt is settled");
    assert_eq!(count("select count(*) from requests_v1 where status = 'open'"), 0, "every request is closed");
    let completed = count("select count(*) from attempts_v1 where fate = 'completed'");
    let billed: i64 = lines.iter().map(|line| completed_of(&views, line)).sum();
    assert_eq!(billed, completed, "every completed attempt is on the invoice, once");
    ours
}

fn completed_of(views: &Connection, line: &InvoiceLine) -> i64 {
    let sql = "select count(*) from attempts_v1 where fate = 'completed' and attempt_id = ?";
    views.query_row(sql, [&line.client_request_id], |row| row.get(0)).expect("a count")
}
