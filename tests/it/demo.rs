//! `farthing demo` as a newcomer runs it: a workload that asks for `auto`, and a summary whose figures add up.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

fn demo(arguments: &[&str], folder: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_farthing"));
    command.args(["demo", "--once"]).args(arguments).current_dir(folder).stdin(Stdio::null());
    let output = command.output().expect("the binary runs");
    assert!(output.status.success(), "{output:?}");
    output
}

fn facts(arguments: &[&str], folder: &Path) -> Value {
    let output = demo(&[arguments, &["--format", "json"]].concat(), folder);
    serde_json::from_slice(&output.stdout).expect("one document of JSON")
}

fn number(of: &Value, path: &str) -> i64 {
    of.pointer(path).and_then(Value::as_i64).unwrap_or_else(|| panic!("no whole number at {path} of {of}"))
}

fn sum(lines: &Value, path: &str) -> i64 {
    lines.as_array().expect("a list").iter().map(|line| number(line, path)).sum()
}

const CAUSES: [&str; 5] = ["route", "fallback", "retry", "compress", "cache"];

/// The parts of one line make its whole.
fn check_line(line: &Value, unrouted: &str, spent: &str) {
    let saved = number(line, "/saved_nano_usd/total");
    assert_eq!(number(line, unrouted) - number(line, spent), saved, "{line}");
    let parts = CAUSES.map(|cause| number(line, &format!("/saved_nano_usd/{cause}")));
    assert_eq!(parts.iter().sum::<i64>(), saved, "{line}");
}

fn check_sums(facts: &Value) {
    assert_eq!(facts["equal"], json!(true));
    check_line(facts, "/unrouted_nano_usd", "/ledger_nano_usd");
    for lines in [&facts["tasks"], &facts["teams"]] {
        for line in lines.as_array().expect("a list") {
            check_line(line, "/unrouted_nano_usd", "/spent_nano_usd");
        }
        assert_eq!(sum(lines, "/requests"), number(facts, "/requests"));
        assert_eq!(sum(lines, "/spent_nano_usd"), number(facts, "/ledger_nano_usd"));
        let causes = CAUSES.map(|cause| format!("/saved_nano_usd/{cause}"));
        let whole = ["/unrouted_nano_usd".to_owned(), "/provider_cache_nano_usd".to_owned()];
        for path in causes.iter().chain(&whole) {
            assert_eq!(sum(lines, path), number(facts, path), "{path}");
        }
    }
    let agreement = &facts["agreement"];
    let confused = sum(&agreement["confused"], "/requests");
    assert_eq!(number(agreement, "/tiers") + confused, number(agreement, "/labelled"), "{agreement}");
}

/// What was computed request by request is what the same bodies cost where all of them went to one model, to half a
/// percent: where a prefix ends inside a message, its tokens are estimated.
fn check_measured(facts: &Value) {
    let (computed, measured) = (number(facts, "/unrouted_nano_usd"), number(facts, "/measured_unrouted_nano_usd"));
    // Two conversations that open alike at once may both count as the second to come: the saving is then told too low.
    let (low, high) = (measured - measured / 20, measured + measured / 200);
    assert!((low..=high).contains(&computed), "computed {computed}, measured {measured}");
}

#[test]
fn the_workload_goes_as_auto_and_every_nano_dollar_of_the_savings_adds_up() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let facts = facts(&["--sessions", "10"], folder.path());
    check_sums(&facts);
    assert_eq!(facts["agreement"]["labelled"], facts["requests"]);
    assert!(number(&facts, "/agreement/tiers") * 2 > number(&facts, "/agreement/labelled"), "{}", facts["agreement"]);
    assert!(number(&facts, "/saved_nano_usd/route") > 0 && number(&facts, "/provider_cache_nano_usd") > 0);
    check_measured(&facts);
    for (tier, model) in [("frontier", "gpt-5.6-sol"), ("reasoning", "gpt-5.6-terra"), ("lightweight", "gpt-5.6-luna")]
    {
        let lines: Vec<_> = facts["tasks"].as_array().expect("a list").iter().filter(|l| l["tier"] == tier).collect();
        assert!(!lines.is_empty(), "nothing went to {tier}");
        assert!(lines.iter().all(|line| line["model"] == model), "{lines:?}");
        assert!(lines.iter().any(|line| line["task"].is_string()), "no task of the policy in {lines:?}");
    }
}

#[test]
fn the_table_shows_tasks_teams_causes_agreement_and_the_invoice() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let output = demo(&["--sessions", "4"], folder.path());
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    for wanted in [
        "finding-a-root-cause-across-several-logs",
        "data-platform",
        "saved by route",
        "the providers' own prefix caches took",
        "measured",
        "classifier and the workload's own labels agree on",
        "equal to the nano-dollar",
    ] {
        assert!(text.contains(wanted), "no `{wanted}` in\n{text}");
    }
}

#[test]
fn a_replay_is_routed_too_and_has_no_labels_to_agree_with() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let session = json!({"id": "one", "messages": [
        {"role": "user", "content": "Translate this sentence into French: the train is late"},
        {"role": "assistant", "content": "Le train est en retard"},
    ]});
    fs::write(folder.path().join("sessions.jsonl"), format!("{session}\n")).expect("a file");
    let facts = facts(&["--replay", "sessions.jsonl"], folder.path());
    check_sums(&facts);
    assert_eq!((number(&facts, "/requests"), number(&facts, "/agreement/labelled")), (1, 0));
    assert_eq!(facts["teams"][0]["team"], "replay");
    assert!(facts["tasks"][0]["tier"].is_string(), "{facts}");
}
