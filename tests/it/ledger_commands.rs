//! `farthing ledger`, `durability: power` and a disk that fills up, as the real binary has them.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use farthing::simulator::{Provider, Running as Simulator};
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tempfile::TempDir;

use crate::process::{FARTHING, Served, count, run};
use crate::support::{ASK, ASK_STREAM, World, luna};
use farthing::simulator::Reply;

/// A gateway's folder whose provider's key is in no environment but that of `serve`.
struct Books {
    provider: Simulator,
    folder: TempDir,
}

impl Books {
    async fn new(ledger: &str) -> Self {
        let provider = luna([Reply::tokens(5)]).start().await.expect("a port");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let books = Self { provider, folder };
        books.write("farthing.yaml", "", ledger);
        books.write("secret.yaml", ", key: env:FARTHING_TEST_NOT_SET", ledger);
        books
    }

    fn write(&self, name: &str, row: &str, ledger: &str) {
        let text = format!(
            "server: {{ listen: 127.0.0.1:0, admin_listen: 127.0.0.1:0 }}\nledger: {{ path: farthing.db{ledger} }}\n\
             providers:\n  sim: {{ protocol: openai, vendor: openai, base_url: {}, models: [\"*\"]{row} }}\n",
            self.provider.base_url()
        );
        std::fs::write(self.folder.path().join(name), text).expect("a file");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs a command on the configuration that wants a key which is not there.
    fn ledger(&self, arguments: &[&str]) -> Output {
        let config = self.path("secret.yaml").display().to_string();
        run(&[&["ledger"], arguments, &["--config", &config]].concat())
    }

    #[track_caller]
    fn json(&self, arguments: &[&str]) -> Value {
        let done = self.ledger(&[arguments, &["--format", "json"]].concat());
        let told = String::from_utf8_lossy(&done.stdout);
        assert!(done.status.success(), "{told}{}", String::from_utf8_lossy(&done.stderr));
        serde_json::from_str(&told).expect("JSON")
    }
}

async fn ask(listen: &str) -> u16 {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let request = Request::post(format!("http://{listen}/v1/chat/completions"));
    let request = request.body(Full::new(Bytes::from_static(ASK.as_bytes()))).expect("a valid request");
    let answer = client.request(request).await.expect("the gateway answers");
    let status = answer.status().as_u16();
    answer.into_body().collect().await.expect("a whole answer");
    status
}

#[track_caller]
fn check_refused(done: &Output, folder: &Path, expected: &str) {
    let stderr = String::from_utf8_lossy(&done.stderr);
    let told = stderr.replace(&folder.canonicalize().expect("a folder").display().to_string(), "<folder>");
    assert_eq!(told, format!("{expected}\n"));
    assert_eq!((done.status.code(), done.stdout.len()), (Some(1), 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_is_verified_and_backed_up_while_the_gateway_runs_and_compacted_when_it_does_not() {
    let books = Books::new("").await;
    let mut served = Served::start(&books.path("farthing.yaml"));
    for _ in 0..5 {
        assert_eq!(ask(&served.listen).await, 200);
    }
    let seen = books.json(&["verify"]);
    assert_eq!((&seen["ok"], &seen["owned"]), (&Value::from(true), &Value::from(true)));
    let copy = books.path("copy.db").display().to_string();
    let done = books.json(&["backup", &copy]);
    assert_eq!(done["verified"]["fates"]["completed"]["attempts"], 5);
    assert_eq!(done["verified"]["requests"], 5);
    let exists = "farthing: `<folder>/copy.db` exists; wanted another name, or `--force` to replace it";
    check_refused(&books.ledger(&["backup", &copy]), books.folder.path(), exists);
    assert!(books.ledger(&["backup", "--force", &copy]).status.success());
    let in_use = "farthing: ledger `<folder>/farthing.db` is in use by another process (lock file \
                  `<folder>/farthing.db.lock`)";
    check_refused(&books.ledger(&["compact"]), books.folder.path(), in_use);
    served.terminate();
    assert!(served.end().0.success());
    assert!(books.json(&["compact"])["bytes_after"].as_u64().is_some_and(|bytes| bytes > 0));
    let seen = books.json(&["verify"]);
    assert_eq!((&seen["ok"], &seen["owned"], &seen["attempts"]), (&true.into(), &false.into(), &5.into()));
    let of_copy = run(&["ledger", "verify", &copy]);
    let told = String::from_utf8_lossy(&of_copy.stdout);
    assert!(of_copy.status.success() && told.ends_with("nothing wrong was found\n"), "{told}");
    assert!(told.contains("| completed |        5 |"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finding_is_told_and_fails_the_command() {
    let books = Books::new("").await;
    let mut served = Served::start(&books.path("farthing.yaml"));
    assert_eq!(ask(&served.listen).await, 200);
    served.terminate();
    served.end();
    let tables = rusqlite::Connection::open(books.path("farthing.db")).expect("a ledger");
    tables.execute_batch("UPDATE requests SET cost_nano = cost_nano + 1").expect("it runs");
    drop(tables);
    let done = books.ledger(&["verify"]);
    let told = String::from_utf8_lossy(&done.stdout);
    assert_eq!(done.status.code(), Some(1));
    assert!(told.contains("wanted the sum of its attempts") && told.contains("1 finding;"), "{told}");
    let copy = books.path("copy.db").display().to_string();
    let refused = books.ledger(&["backup", &copy]);
    assert!(!refused.status.success() && !Path::new(&copy).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_on_the_ledger_say_in_one_line_what_is_missing() {
    let books = Books::new("").await;
    let ledger = books.path("farthing.db").display().to_string();
    for arguments in [&["verify"][..], &["backup", "copy.db"], &["compact"]] {
        let expected = "farthing: there is no ledger at `<folder>/farthing.db`";
        check_refused(&books.ledger(arguments), books.folder.path(), expected);
    }
    let missing = run(&["ledger", "verify", &ledger]);
    let expected = "farthing: cannot open `<folder>/farthing.db`: No such file or directory (os error 2)";
    check_refused(&missing, books.folder.path(), expected);
    let text = run(&["ledger", "verify", &books.path("farthing.yaml").display().to_string()]);
    assert!(String::from_utf8_lossy(&text.stderr).ends_with("is not a farthing ledger: it is not an SQLite file\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn reconciling_asks_for_no_providers_key() {
    let books = Books::new("").await;
    Served::start(&books.path("farthing.yaml")).kill();
    let export = books.path("export.csv");
    std::fs::write(&export, "client_request_id,cost_usd\n").expect("a file");
    let (export, config) = (export.display().to_string(), books.path("secret.yaml").display().to_string());
    let done = run(&["reconcile", "--provider", "sim", &export, "--config", &config]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compaction_that_is_killed_leaves_the_ledger_as_it_was() {
    let books = Books::new("").await;
    let mut served = Served::start(&books.path("farthing.yaml"));
    for _ in 0..20 {
        assert_eq!(ask(&served.listen).await, 200);
    }
    served.terminate();
    served.end();
    let config = books.path("farthing.yaml");
    for looks in (0..12).map(|round| round * 2_500) {
        let mut command = Command::new(FARTHING);
        command.args(["ledger", "compact", "--config"]).arg(&config).stdin(Stdio::null()).stdout(Stdio::null());
        let mut child = command.spawn().expect("the binary runs");
        for _ in 0..looks {
            let _ = config.metadata();
        }
        child.kill().expect("a process to kill, or one that has ended");
        child.wait().expect("an exit status");
        let seen = books.json(&["verify"]);
        assert_eq!((&seen["ok"], &seen["attempts"]), (&true.into(), &20.into()), "{seen}");
    }
    assert!(books.ledger(&["compact"]).status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fills_up_stops_spending_and_loses_nothing() {
    let books = Books::new("").await;
    // The largest file that the process may write stands for a disk that is full at some point.
    let shell = "trap '' XFSZ; ulimit -f 560; exec \"$0\" serve --config \"$1\"";
    let mut limited = Command::new("sh");
    limited.args(["-c", shell, FARTHING]).arg(books.path("farthing.yaml"));
    let mut served = Served::start_with(limited);
    let mut answered = 0;
    while ask(&served.listen).await == 200 {
        answered += 1;
        assert!(answered < 20_000, "the disk never filled up");
    }
    assert_eq!(ask(&served.listen).await, 503, "nothing may be spent");
    served.terminate();
    served.end();
    let invoice = books.provider.invoice();
    assert_eq!(invoice.lines.len(), answered);
    // There is room again.
    let mut again = Served::start(&books.path("farthing.yaml"));
    assert_eq!(ask(&again.listen).await, 200);
    again.terminate();
    again.end();
    let seen = books.json(&["verify"]);
    assert_eq!(seen["ok"], true, "{seen}");
    let billed: i64 = books.provider.invoice().lines.iter().map(|line| line.cost.0).sum();
    let completed = seen["fates"]["completed"]["known_nano_usd"].as_i64().expect("an amount");
    let high = seen["fates"]["interrupted"]["high_nano_usd"].as_i64().unwrap_or(0);
    assert!(completed <= billed && billed <= completed + high, "{billed} billed: {seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_without_room_says_so() {
    let books = Books::new("").await;
    for (blocks, doing) in [("0", "configure"), ("8", "create")] {
        let shell = "trap '' XFSZ; ulimit -f \"$2\"; exec \"$0\" serve --config \"$1\"";
        let mut limited = Command::new("sh");
        limited.args(["-c", shell, FARTHING]).arg(books.path("farthing.yaml")).arg(blocks).stdin(Stdio::null());
        let expected =
            format!("farthing: cannot {doing} the ledger's tables: disk I/O error; is the disk full, or failing?");
        check_refused(&limited.output().expect("a shell"), books.folder.path(), &expected);
        std::fs::remove_file(books.path("farthing.db")).expect("what it began");
    }
}

/// A command that runs `farthing` as somebody for whom permissions hold.
fn as_somebody(books: &Books) -> Command {
    if std::fs::metadata("/proc/self").is_ok_and(|me| me.uid() != 0) {
        return Command::new(FARTHING);
    }
    let copy = books.path("farthing");
    // By a process of its own: a file that we had open for writing might be busy when it is to be run.
    assert!(Command::new("cp").arg(FARTHING).arg(&copy).status().expect("cp runs").success());
    let mut command = Command::new(copy);
    command.uid(65_534).gid(65_534);
    command
}

fn permit(path: &Path, mode: u32) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("our file");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_file_that_cannot_be_written_is_refused() {
    let books = Books::new("").await;
    Served::start(&books.path("farthing.yaml")).kill();
    permit(&books.path("farthing.db"), 0o444);
    permit(books.folder.path(), 0o777);
    permit(&books.path("farthing.db.lock"), 0o666);
    let mut command = as_somebody(&books);
    command.args(["serve", "--config"]).arg(books.path("farthing.yaml")).stdin(Stdio::null());
    let expected = "farthing: cannot write `<folder>/farthing.db`: Permission denied (os error 13)";
    check_refused(&command.output().expect("the binary runs"), books.folder.path(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_in_a_folder_that_cannot_be_written_is_looked_through_all_the_same() {
    let books = Books::new("").await;
    let mut served = Served::start(&books.path("farthing.yaml"));
    assert_eq!(ask(&served.listen).await, 200);
    served.terminate();
    served.end();
    let mut command = as_somebody(&books);
    command.args(["ledger", "verify"]).arg(books.path("farthing.db")).stdin(Stdio::null());
    permit(books.folder.path(), 0o555);
    let done = command.output().expect("the binary runs");
    permit(books.folder.path(), 0o755);
    let told = String::from_utf8_lossy(&done.stdout);
    assert!(told.contains("1 request, 1 attempt\n") && done.status.success(), "{told}{done:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_durability_power_answers_and_rows_are_the_same() {
    let provider = || -> Provider { luna([Reply::tokens(5)]) };
    let (power, process) = (
        World::new(provider(), "ledger: { durability: power }").await,
        World::new(provider(), "ledger: { durability: process }").await,
    );
    for world in [&power, &process] {
        let whole = world.chat(ASK).await;
        assert_eq!(whole.status, 200);
        let streamed = world.chat(ASK_STREAM).await;
        assert!(streamed.text().ends_with("data: [DONE]\n\n") && streamed.cost_comment().is_some());
    }
    assert!(power.metric("farthing_ledger_sync_seconds_count", "").await >= 4.0);
    assert_eq!(process.metric("farthing_ledger_sync_seconds_count", "").await, 0.0);
    let ledger = power.folder.path().join("farthing.db");
    drop(power.gateway.stop().await);
    assert_eq!(count(&ledger, "attempts_v1 WHERE fate = 'completed'"), 2);
}
