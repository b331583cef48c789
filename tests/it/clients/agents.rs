//! Coding agents that run without a screen: each is told by its model to write a file, and ends once that has said so.
//!
//! Runs where `FARTHING_TEST_AGENTS` names a folder with what `tests/clients/agents/package.json` lists, as
//! `tests/run.sh --clients` does: they are large.

use std::path::Path;
use std::process::Command;

use farthing::simulator::Reply;
use serde_json::{Value, json};

use super::models::{Case, case};
use super::{check, needed};

const ROWS: [&str; 3] = ["claude-opus-5", "gpt-4o", "o3"];

#[tokio::test(flavor = "multi_thread")]
async fn claude_code_writes_a_file_whatever_the_row_speaks() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let note = folder.path().join("note.txt");
    let call = ("Write", json!({"file_path": note, "content": "partition 14\n"}));
    runs("claude-code", call, folder.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn codex_writes_a_file_whatever_the_row_speaks() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    runs("codex", ("exec_command", json!({"cmd": "echo partition 14 > note.txt"})), folder.path()).await;
}

/// Runs an agent at a row of each kind, whose model makes this call.
async fn runs(agent: &str, (tool, arguments): (&str, Value), folder: &Path) {
    let Some(modules) = needed("FARTHING_TEST_AGENTS") else { return };
    let name = format!("writes-{agent}");
    let run = |row: &&str| {
        let mut run = Command::new("tests/clients/agents/run.sh");
        run.arg(agent).arg(format!("{row}-{name}")).arg(folder).env("FARTHING_AGENTS", &modules);
        run
    };
    let more: Case = case(&name, [Reply::calls(tool, arguments), Reply::text("The note is there.")]);
    check(ROWS.iter().map(run).collect(), &[more]).await;
}
