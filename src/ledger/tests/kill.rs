//! A real process, really killed.

use std::collections::HashSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};

use super::*;

const FOLDER: &str = "FARTHING_TEST_LEDGER_FOLDER";

/// The victim: appends as fast as it can and says each id after its append has returned.
#[test]
#[ignore = "run as a child process by the test below"]
fn append_until_killed() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let (ledger, _) = open(Path::new(&folder));
    let mut out = std::io::stdout().lock();
    for _ in 0..1_000_000 {
        let id = attempt(RequestId::new(), 1);
        append(&ledger, &[intent(id)]);
        let begun = writeln!(out, "\nbegun {id}");
        append(&ledger, &[outcome(id, 7, Some(closing()))]);
        if begun.and_then(|()| writeln!(out, "\nended {id}")).is_err() {
            return;
        }
    }
}

#[test]
fn after_kill_9_every_told_record_is_there_once() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (mut begun, mut ended) = (HashSet::new(), HashSet::new());
    for round in 0..6 {
        let mut child = Command::new(std::env::current_exe().expect("this test runs"))
            .args(["--exact", "ledger::tests::kill::append_until_killed", "--ignored", "--nocapture"])
            .env(FOLDER, folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the child starts");
        let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        // Killed after so many lines; those that it still wrote before it died are read as well.
        let mut before_kill = 1_000 * (round + 1) + 371 * round;
        while let Some(Ok(line)) = lines.next() {
            match line.split_once(' ') {
                Some(("begun", id)) if id.len() >= 38 => drop(begun.insert(id.to_owned())),
                Some(("ended", id)) if id.len() >= 38 => drop(ended.insert(id.to_owned())),
                _ => {}
            }
            before_kill -= 1;
            if before_kill == 0 {
                child.kill().expect("it is killed");
            }
        }
        child.wait().expect("it is reaped");
    }
    let (ledger, _) = open(folder.path());
    let views = ledger.views().expect("the views open");
    let all = rows(&views, "SELECT attempt_id FROM attempts_v1");
    let unique: HashSet<String> = all.iter().cloned().collect();
    assert_eq!(all.len(), unique.len());
    assert!(!ended.is_empty() && begun.is_subset(&unique), "{} begun, {} stored", begun.len(), unique.len());
    let completed: HashSet<String> =
        rows(&views, "SELECT attempt_id FROM attempts_v1 WHERE fate = 'completed' AND cost_nano = 7")
            .into_iter()
            .collect();
    assert!(ended.is_subset(&completed), "{} ended, {} completed", ended.len(), completed.len());
    // At most the record that was being written when the process died was not told.
    assert!(unique.len() <= begun.len() + 6 && completed.len() <= ended.len() + 6);
    assert_eq!(rows(&views, "SELECT count(*) FROM attempts_v1 WHERE fate = 'open'"), ["0"]);
}
