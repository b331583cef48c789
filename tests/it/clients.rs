//! Clients as agents use them against the real binary, each at rows of its own protocol and of the other: the official SDKs
//! of both vendors, what is built on them, and coding agents. `tests/clients` holds the cases, this file the world around them: one scripted provider of each
//! vendor, the same models at both, one gateway.
//!
//! Which variables name what they run on, and how to run one case alone, is told in `sdk`.

mod agents;
mod models;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use farthing::simulator::{ModelScript, Provider, Running as Simulator};

use crate::sdk::{Gateway, KEY, behind, keys, needed, node, pytest, reconcile};

/// What would lead a client elsewhere.
const OTHERS: [&str; 5] =
    ["OPENAI_API_KEY", "OPENAI_BASE_URL", "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_BASE_URL"];
const NODE_CASES: &str = "tests/clients/node/*.test.js";

#[tokio::test(flavor = "multi_thread")]
async fn clients_in_python_work_whatever_the_row_speaks() {
    if let Some(python) = needed("FARTHING_TEST_PYTHON") {
        check(vec![pytest(python, "tests/clients")], &[]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn so_do_those_of_the_previous_majors() {
    if let Some(python) = needed("FARTHING_TEST_PYTHON_PREVIOUS") {
        check(vec![pytest(python, "tests/clients")], &[]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_in_node_work_whatever_the_row_speaks() {
    if let Some(modules) = needed("FARTHING_TEST_NODE_MODULES") {
        let mut cases = node(modules.as_ref(), "openai", NODE_CASES);
        cases.env("FARTHING_ANTHROPIC_SDK", "anthropic");
        check(vec![cases], &[]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn so_do_those_of_the_previous_majors_for_node() {
    if let Some(modules) = needed("FARTHING_TEST_NODE_MODULES") {
        let mut cases = node(modules.as_ref(), "openai-previous", NODE_CASES);
        cases.env("FARTHING_ANTHROPIC_SDK", "anthropic-previous");
        check(vec![cases], &[]).await;
    }
}

/// Runs cases in a world of their own, whose models have `more` scripts than usual, and holds the ledger that they leave
/// against the invoices.
async fn check(mut cases: Vec<Command>, more: &[models::Case]) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("prices.yaml"), models::prices(more)).expect("the prices are written");
    let claude = started(Provider::anthropic(), models::of_anthropic(more)).await;
    let gpt = started(Provider::openai(), models::of_openai(more)).await;
    let gateway = Gateway::start(folder.path(), "keyed", &(config(&claude, &gpt) + &keys()));
    let behind = behind::open(Arc::from([("claude-", Arc::clone(&claude)), ("", Arc::clone(&gpt))])).await;
    for command in &mut cases {
        command
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env("PYTHONPATH", "tests/sdk")
            .env("FARTHING_BASE_URL", &gateway.base_url)
            .env("FARTHING_LEDGER", folder.path().join("keyed.db"))
            .env("FARTHING_KEY", KEY)
            .env("FARTHING_BEHIND", format!("http://{behind}"));
        OTHERS.iter().for_each(|variable| _ = command.env_remove(variable));
    }
    let run = move || cases.iter_mut().all(|command| command.status().expect("they start").success());
    let succeeded = tokio::task::spawn_blocking(run).await.expect("they end");
    let log = gateway.stop();
    settled(&claude, &gpt, &folder.path().join("keyed.db"), succeeded, &log).await;
}

async fn settled(claude: &Simulator, gpt: &Simulator, ledger: &Path, succeeded: bool, log: &str) {
    for provider in [claude, gpt] {
        provider.release();
        provider.settled().await.expect("the provider is done");
    }
    assert!(succeeded, "cases of tests/clients failed, see above; the gateway's log:\n{log}");
    assert!(!log.contains("panicked"), "{log}");
    let lines: Vec<_> = [claude, gpt].iter().flat_map(|provider| provider.invoice().lines).collect();
    let billed = reconcile(ledger, &lines);
    assert!(billed > 0 && billed == lines.len(), "{billed} of {} invoice lines have a row", lines.len());
}

async fn started(provider: Provider, models: Vec<ModelScript>) -> Arc<Simulator> {
    let provider = models.into_iter().fold(provider, Provider::model);
    Arc::new(provider.start().await.expect("the simulator starts on a free port"))
}

fn config(claude: &Simulator, gpt: &Simulator) -> String {
    let (claude, gpt) = (claude.base_url(), gpt.base_url());
    format!(
        "server: {{ listen: 127.0.0.1:0, admin_listen: 127.0.0.1:0, drain_timeout: 5s }}\n\
         prices: prices.yaml\n\
         dispatch: {{ retries: 1, retry_wait: 1s, first_byte_timeout: 20s, idle_timeout: 20s, total_timeout: 30s, circuit: off }}\n\
         providers:\n  \
           claude: {{ protocol: anthropic, vendor: anthropic, base_url: {claude}, models: [\"claude-*\"] }}\n  \
           gpt: {{ protocol: openai, vendor: openai, base_url: {gpt}, models: [\"gpt-*\", \"o3-*\"] }}\n\
         tiers: {{ frontier: [claude/claude-opus-5-plain], lightweight: [gpt/gpt-4o-plain] }}\n"
    )
}
