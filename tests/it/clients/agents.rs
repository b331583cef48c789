//! Coding agents that run without a screen: each is told by its model to write a file, and ends once that has said so.
//!
//! Runs where `FARTHING_TEST_AGENTS` names a folder with what `tests/clients/agents/package.json` lists, and
//! `FARTHING_TEST_AIDER` the program that `requirements.txt` beside it brings, as `tests/run.sh --clients` does: they are
//! large.

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
    runs("claude-code", by_call(call), folder.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn codex_writes_a_file_whatever_the_row_speaks() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let call = ("exec_command", json!({"cmd": "echo partition 14 > note.txt"}));
    runs("codex", by_call(call), folder.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn opencode_writes_a_file_whatever_the_row_speaks() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let call = ("bash", json!({"command": "echo partition 14 > note.txt", "description": "Writes the note"}));
    runs("opencode", by_call(call), folder.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn aider_writes_a_file_whatever_the_row_speaks() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    // It offers no tools: files stand in the answer.
    let answer = Reply::text("The note is there.\n\nnote.txt\n```\npartition 14\n```\n");
    runs("aider", vec![answer], folder.path()).await;
}

/// The model makes a call, and says that it is done once it has the result.
fn by_call((tool, arguments): (&str, Value)) -> Vec<Reply> {
    vec![Reply::calls(tool, arguments), Reply::text("The note is there.")]
}

/// Runs an agent at a row of each kind, whose model gives these answers.
async fn runs(agent: &str, replies: Vec<Reply>, folder: &Path) {
    let (Some(modules), Some(aider)) = (needed("FARTHING_TEST_AGENTS"), needed("FARTHING_TEST_AIDER")) else { return };
    let name = format!("writes-{agent}");
    let run = |row: &&str| {
        let mut run = Command::new("tests/clients/agents/run.sh");
        run.arg(agent).arg(format!("{row}-{name}")).arg(folder).env("FARTHING_AGENTS", &modules);
        run.env("FARTHING_AIDER", &aider);
        run
    };
    let more: Case = case(&name, replies);
    check(ROWS.iter().map(run).collect(), &[more]).await;
}
