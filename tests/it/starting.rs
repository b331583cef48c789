//! What `farthing serve` and `farthing reconcile` say when the ledger cannot be theirs, word for word.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use crate::process::{FARTHING, Served, run};

/// A folder with a configuration whose ledger is `ledger` in it.
fn folder(ledger: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let text = format!(
        "server: {{ listen: 127.0.0.1:0, admin_listen: 127.0.0.1:0 }}\n\
         providers:\n  openai: {{ protocol: openai, base_url: http://127.0.0.1:9/v1, models: [\"*\"] }}\n\
         ledger: {{ path: {ledger} }}\n"
    );
    std::fs::write(folder.path().join("farthing.yaml"), text).expect("a file");
    folder
}

fn config(folder: &TempDir) -> String {
    folder.path().join("farthing.yaml").display().to_string()
}

/// A command that must fail before it does anything, with these lines and no others.
#[track_caller]
fn check(done: &Output, folder: &TempDir, expected: &str) {
    let stderr = String::from_utf8_lossy(&done.stderr);
    let real = folder.path().canonicalize().expect("a folder").display().to_string();
    let told = stderr.replace(&real, "<folder>").replace(&folder.path().display().to_string(), "<folder>");
    assert_eq!(told, format!("{expected}\n"));
    assert_eq!((done.status.code(), done.stdout.len()), (Some(1), 0), "exit status and bytes on stdout");
}

fn serve(folder: &TempDir) -> Output {
    run(&["serve", "--config", &config(folder)])
}

/// `serve` fails with this line, and `check` before it with the same words.
#[track_caller]
fn check_both(folder: &TempDir, expected: &str) {
    check(&serve(folder), folder, &format!("farthing: {expected}"));
    let told = format!("<folder>/farthing.yaml: `ledger`: {expected}");
    check(&run(&["check", "--config", &config(folder)]), folder, &told);
}

#[test]
fn a_second_process_on_the_same_ledger_is_told_which_one() {
    let folder = folder("farthing.db");
    let first = Served::start(Path::new(&config(&folder)));
    let in_use = "farthing: ledger `<folder>/farthing.db` is in use by another process \
                  (lock file `<folder>/farthing.db.lock`)";
    check(&serve(&folder), &folder, in_use);
    let export = folder.path().join("export.csv");
    std::fs::write(&export, "client_request_id,cost_usd\n").expect("a file");
    let reconcile = ["reconcile", "--provider", "openai", &export.display().to_string(), "--config", &config(&folder)];
    let told = format!(
        "{in_use}; an export with a line a call corrects the ledger: stop the gateway for as long as that takes"
    );
    check(&run(&reconcile), &folder, &told);
    first.kill();
    assert!(run(&reconcile).status.success(), "the lock goes with the process");
}

#[test]
fn a_ledger_that_is_a_folder_is_refused() {
    let folder = folder("ledger");
    std::fs::create_dir(folder.path().join("ledger")).expect("a folder");
    let expected = "<folder>/farthing.yaml:4:17: `path` is `ledger`; wanted a file, such as `ledger/farthing.db`, and this is a folder";
    check(&serve(&folder), &folder, expected);
    check(&run(&["check", "--config", &config(&folder)]), &folder, expected);
    assert!(!folder.path().join("ledger.lock").exists(), "nothing is left behind");
}

#[test]
fn a_ledger_in_a_folder_that_does_not_exist_is_refused() {
    let folder = folder("data/farthing.db");
    check_both(&folder, "cannot find the folder of the ledger `<folder>/data`: No such file or directory (os error 2)");
}

#[test]
fn another_applications_database_is_refused_and_left_alone() {
    let folder = folder("farthing.db");
    let path = folder.path().join("farthing.db");
    let other = rusqlite::Connection::open(&path).expect("a database");
    other.execute_batch("CREATE TABLE songs (title TEXT); INSERT INTO songs VALUES ('so long');").expect("valid SQL");
    drop(other);
    let before = std::fs::read(&path).expect("a file");
    check_both(&folder, "`<folder>/farthing.db` is not a farthing ledger: it is an SQLite file of another application");
    assert_eq!(std::fs::read(&path).expect("a file"), before);
}

#[test]
fn a_file_that_is_no_database_is_refused_and_left_alone() {
    let folder = folder("farthing.db");
    let path = folder.path().join("farthing.db");
    let before = "# a shopping list, and long enough to be taken for a database's first page\n".repeat(9);
    std::fs::write(&path, &before).expect("a file");
    check_both(&folder, "`<folder>/farthing.db` is not a farthing ledger: it is not an SQLite file");
    assert_eq!(std::fs::read_to_string(&path).expect("a file"), before);
}

#[test]
fn a_ledger_of_a_newer_version_is_refused_by_check_too() {
    let folder = folder("farthing.db");
    Served::start(Path::new(&config(&folder))).kill();
    let tables = rusqlite::Connection::open(folder.path().join("farthing.db")).expect("a database");
    tables.execute_batch("PRAGMA user_version = 99; UPDATE journal SET program = '9.9.9'").expect("valid SQL");
    drop(tables);
    let done = run(&["check", "--config", &config(&folder)]);
    let told = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!(done.status.code(), Some(1));
    assert!(told.contains("has version 99 (of farthing 9.9.9), and this program reads up to"), "{told}");
}

#[test]
fn check_leaves_a_running_ledger_alone_and_makes_none() {
    let folder = folder("farthing.db");
    let names = || {
        let mut names: Vec<_> =
            folder.path().read_dir().expect("a folder").flatten().map(|file| file.file_name()).collect();
        names.sort();
        names
    };
    assert!(run(&["check", "--config", &config(&folder)]).status.success());
    assert_eq!(names(), ["farthing.yaml"]);
    let running = Served::start(Path::new(&config(&folder)));
    assert!(run(&["check", "--config", &config(&folder)]).status.success(), "that it is in use is no problem");
    running.kill();
}

#[test]
fn a_start_logs_the_warnings_of_check() {
    let folder = folder("farthing.db");
    let log = Served::start(Path::new(&config(&folder))).kill();
    let checked = run(&["check", "--config", &config(&folder), "--format", "json"]);
    let checked: serde_json::Value = serde_json::from_slice(&checked.stdout).expect("one JSON object");
    let lines = log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let logged: Vec<_> = lines.filter(|line| line["event"] == "warning").map(|line| line["message"].clone()).collect();
    assert!(!logged.is_empty());
    assert_eq!(serde_json::Value::from(logged), checked["warnings"]);
}

#[test]
fn a_folder_that_cannot_be_written_is_refused() {
    let folder = folder("farthing.db");
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o555)).expect("our folder");
    let mut command = Command::new(FARTHING);
    if std::fs::metadata(folder.path()).expect("our folder").uid() == 0 {
        // Permissions do not hold for the superuser: somebody else runs a copy that they may read.
        let copy = folder.path().join("farthing");
        // By a process of its own: a file that we had open for writing might be busy when it is to be run.
        assert!(Command::new("cp").arg(FARTHING).arg(&copy).status().expect("cp runs").success());
        command = Command::new(copy);
        command.uid(65_534).gid(65_534);
    }
    let done = command.args(["serve", "--config", &config(&folder)]).stdin(Stdio::null()).output();
    let mut again = Command::new(command.get_program());
    if command.get_program() != FARTHING {
        again.uid(65_534).gid(65_534);
    }
    let checked = again.args(["check", "--config", &config(&folder)]).stdin(Stdio::null()).output();
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).expect("our folder");
    let expected = "farthing: cannot create `<folder>/farthing.db.lock`: Permission denied (os error 13)";
    check(&done.expect("the binary runs"), &folder, expected);
    let expected = expected.replace("farthing: ", "<folder>/farthing.yaml: `ledger`: ");
    check(&checked.expect("the binary runs"), &folder, &expected);
}

#[test]
fn reconcile_refuses_what_it_cannot_read_in_one_line() {
    let folder = folder("farthing.db");
    let export = folder.path().join("export.csv");
    std::fs::write(&export, "client_request_id,cost_usd\na-1,dear\n").expect("a file");
    let (config, file) = (config(&folder), export.display().to_string());
    let reconcile = |provider: &str, file: &str| run(&["reconcile", "--provider", provider, file, "--config", &config]);
    let wanted = "`cost_usd` is `dear`; wanted a decimal amount of dollars such as `0.000123`";
    check(&reconcile("openai", &file), &folder, &format!("<folder>/export.csv:2: {wanted}"));
    let missing = format!("{file}.gz");
    let expected = "<folder>/export.csv.gz: cannot be read: No such file or directory (os error 2)";
    check(&reconcile("openai", &missing), &folder, expected);
    std::fs::write(&export, "client_request_id,cost_usd\na-1,0.1\n").expect("a file");
    check(&reconcile("openai", &file), &folder, "farthing: there is no ledger at `<folder>/farthing.db`");
    assert!(!folder.path().join("farthing.db").exists(), "and none was made");
    Served::start(Path::new(&config)).kill();
    let expected =
        "farthing: `opena` is neither a provider row of the configuration nor in the ledger; did you mean `openai`?";
    check(&reconcile("opena", &file), &folder, expected);
}
