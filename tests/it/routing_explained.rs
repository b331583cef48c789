//! `farthing explain` says what the gateway does.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::process::FARTHING;
use crate::routing::{APPROVAL, HARD, LIGHT, OTHER, POLICY, asks, setup, with};

/// A folder with the policy and a configuration whose provider is never called and whose key is not set.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = "providers:\n  sim: { protocol: openai, vendor: openai, base_url: https://127.0.0.1:9/v1, key: env:NOT_SET_ANYWHERE, models: [\"*\"] }\n\
                  tiers: { frontier: [sim/gpt-5.6-sol], reasoning: [sim/gpt-5.6-terra], lightweight: [sim/gpt-5.6-luna] }\n\
                  policies: policies\n";
    std::fs::create_dir(folder.path().join("policies")).expect("a folder");
    std::fs::write(folder.path().join("farthing.yaml"), config).expect("a file");
    std::fs::write(folder.path().join("policies/default.md"), POLICY).expect("a file");
    folder
}

/// Exit status and lines of `farthing explain` with `input` on standard input.
fn explain(folder: &TempDir, arguments: &[&str], input: &str) -> (Option<i32>, Vec<Value>) {
    let mut child = Command::new(FARTHING)
        .arg("explain")
        .args(arguments)
        .current_dir(folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let mut stdin = child.stdin.take().expect("a pipe");
    let input = input.to_owned();
    let writer = std::thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
    let done = child.wait_with_output().expect("it ends");
    writer.join().expect("it is written");
    let text = String::from_utf8(done.stdout).expect("text");
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")));
    (done.status.code(), lines.collect())
}

#[tokio::test]
async fn what_is_explained_is_what_is_done() {
    let world = setup().start().await;
    let bodies = [
        asks(LIGHT),
        asks(HARD),
        asks(OTHER),
        asks("drop table a"),
        asks(APPROVAL),
        with(LIGHT, json!({"model": "gpt-5.6-terra"})),
        with(LIGHT, json!({"model": "gpt-5.6-sol"})),
        with(HARD, json!({"model": "lightweight"})),
    ];
    let (status, lines) = explain(&folder(), &[], &bodies.join("\n"));
    assert_eq!((status, lines.len()), (Some(0), bodies.len()));
    for (body, line) in bodies.into_iter().zip(lines) {
        let got = world.chat(body).await;
        let member = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
        for name in ["model", "tier", "task", "reason", "policy"] {
            assert_eq!(member(name), got.header(&format!("x-farthing-{name}")), "{name} of {line}");
        }
    }
}

#[test]
fn a_line_has_what_the_contract_promises() {
    let bare = json!({"id": {"n": 7}, "messages": [{"role": "user", "content": LIGHT}]});
    let (status, lines) = explain(&folder(), &[], &bare.to_string());
    let line = &lines[0];
    assert_eq!((status, &line["id"], &line["task"]), (Some(0), &json!({"n": 7}), &json!("logs")));
    assert_eq!((&line["model"], &line["tier"]), (&json!("sim/gpt-5.6-luna"), &json!("lightweight")));
    assert!(line["confidence"].is_f64() && line["needs_strong"].is_f64(), "{line}");
    let tokens = line["tokens"]["prompt"].as_u64().expect("a count");
    assert!((5..40).contains(&tokens), "{line}");
    assert!(line["estimated_usd"].as_f64().is_some_and(|usd| usd > 0.0), "{line}");
    assert!(line.get("cache").is_none() && line.get("classifier").is_none(), "{line}");
    let (_, verbose) = explain(&folder(), &["--verbose"], &bare.to_string());
    assert_eq!(verbose[0]["classifier"]["task"], "logs");
}

#[test]
fn a_bad_line_says_why_and_the_others_are_explained_in_order() {
    let lines: Vec<String> = (0..300)
        .map(|n| match n % 3 {
            0 => json!({"id": n, "messages": [{"role": "user", "content": LIGHT}]}).to_string(),
            1 => json!({"id": n, "messages": "hi"}).to_string(),
            _ => "{".to_owned(),
        })
        .collect();
    let (status, answers) = explain(&folder(), &[], &lines.join("\n"));
    assert_eq!((status, answers.len()), (Some(1), 300));
    for (n, answer) in answers.iter().enumerate() {
        match n % 3 {
            0 => assert_eq!((&answer["id"], &answer["tier"]), (&json!(n), &json!("lightweight"))),
            1 => assert_eq!(*answer, json!({"id": n, "error": "`messages` must be an array"})),
            _ => {
                let error = "the line is not a JSON object: wanted a string at byte 1";
                assert_eq!(*answer, json!({"id": null, "error": error}));
            }
        }
    }
}

#[test]
fn claims_pins_and_states_are_taken_from_arguments() {
    let folder = folder();
    let of_pipeline = "## Frontier\n- Log parsing {id: logs}\n  - \"Sort these log lines by error class\"\n";
    std::fs::write(folder.path().join("policies/orders_daily.md"), of_pipeline).expect("a file");
    let state = json!({"session": {"tier": "frontier", "models": {"frontier": ["sim/gpt-5.6-sol", 9_000]}}});
    std::fs::write(folder.path().join("state.json"), state.to_string()).expect("a file");
    std::fs::write(folder.path().join("bad.json"), r#"{"session":{"tier":"best"}}"#).expect("a file");
    let check = |arguments: &[&str], text: &str, model: &str, reason: &str| {
        let (_, lines) = explain(&folder, arguments, &asks(text));
        let found = (lines[0]["model"].as_str(), lines[0]["reason"].as_str());
        assert_eq!(found, (Some(model), Some(reason)), "{arguments:?}");
    };
    check(&["--pipeline", "orders_daily"], LIGHT, "sim/gpt-5.6-sol", "task");
    check(&["--task", "logs"], OTHER, "sim/gpt-5.6-luna", "named-task");
    check(&["--tier", "lightweight"], HARD, "sim/gpt-5.6-luna", "pinned-tier");
    let long = "zxqv ".repeat(8_000);
    let stays = "ambiguous; reasoning would do, but a cold prefix costs more than it saves";
    check(&["--state", "state.json"], &long, "sim/gpt-5.6-sol", stays);
    check(&[], &long, "sim/gpt-5.6-terra", "ambiguous");
    assert_eq!(explain(&folder, &["--state", "bad.json"], &asks(LIGHT)), (Some(1), Vec::new()));
}

#[test]
fn another_folder_of_policies_may_be_tried() {
    let folder = folder();
    std::fs::create_dir(folder.path().join("draft")).expect("a folder");
    let draft = "## Reasoning\n- Log parsing {id: logs}\n  - \"Sort these log lines by error class\"\n";
    std::fs::write(folder.path().join("draft/default.md"), draft).expect("a file");
    let (_, lines) = explain(&folder, &["--policies", "draft"], &asks(LIGHT));
    assert_eq!(lines[0]["model"], "sim/gpt-5.6-terra");
    std::fs::write(folder.path().join("draft/default.md"), "## Reasonings\n- x\n").expect("a file");
    assert_eq!(explain(&folder, &["--policies", "draft"], &asks(LIGHT)), (Some(1), Vec::new()));
}

#[test]
fn verbose_says_why_and_what_would_change_it() {
    let folder = folder();
    let classifier = |arguments: &[&str], text: &str| {
        let (_, lines) = explain(&folder, &[&["--verbose"], arguments].concat(), &asks(text));
        lines[0]["classifier"].clone()
    };
    let found = classifier(&[], LIGHT);
    assert_eq!((&found["decided_by"], &found["nearest"][0]["task"]), (&json!("the classifier"), &json!("logs")));
    let nearest = &found["nearest"][0];
    assert!(nearest["share"].as_f64() > found["nearest"][1]["share"].as_f64(), "{found}");
    assert!(nearest["kinds"][0]["kind"].is_string() && nearest["line"].is_u64(), "{found}");
    assert!(nearest["example"]["similarity"].as_f64() > Some(0.0), "{found}");
    assert!(found["kinds"][0]["share"].is_f64() && found["material"].is_array() && found["margin"].is_f64(), "{found}");
    let tiers = found["tiers"].as_object().expect("three tiers").values();
    let sum: f64 = tiers.filter_map(Value::as_f64).sum();
    assert!((sum - 1.0).abs() < 1e-3, "{found}");
    let advice = |found: &Value| found["advice"].as_str().unwrap_or_default().to_owned();
    assert!(
        advice(&found).starts_with("it repeats `logs` or an example under it, in line 15, word for word"),
        "{found}"
    );
    let other = classifier(&[], OTHER);
    assert!(advice(&other).contains("nest this request under"), "{other}");
    assert!(advice(&classifier(&[], "drop table a")).starts_with("rule 1 decides whatever tasks there are"));
    let by = |arguments: &[&str], text: &str| {
        classifier(arguments, text)["decided_by"].as_str().unwrap_or_default().to_owned()
    };
    assert_eq!(by(&["--task", "logs"], OTHER), "the task that the client named");
    assert_eq!(by(&["--tier", "lightweight"], HARD), "the tier that the client pinned");
    assert!(by(&[], "drop table a").starts_with("rule 1, policies/default.md:"));
    assert!(by(&[], OTHER).starts_with("the default, "));
}

#[test]
fn what_arguments_say_wrongly_is_told_as_it_is_to_clients() {
    let folder = folder();
    let reason = |arguments: &[&str]| {
        let (_, lines) = explain(&folder, arguments, &asks(LIGHT));
        lines[0]["reason"].as_str().unwrap_or_default().to_owned()
    };
    assert_eq!(reason(&["--tier", "light"]), "task; unknown tier");
    assert_eq!(reason(&["--task", "logz"]), "task; the policy has no task `logz`");
}

#[test]
fn what_a_stronger_model_would_be_worth_is_told_whatever_decides() {
    let folder = folder();
    for body in [
        with(LIGHT, json!({"model": "gpt-5.6-terra"})),
        with(LIGHT, json!({"model": "lightweight"})),
        asks("drop table a"),
        asks("ok"),
    ] {
        let (_, lines) = explain(&folder, &[], &body);
        assert!(lines[0]["needs_strong"].is_f64(), "{body}: {}", lines[0]);
        assert!(lines[0].get("classifier").is_none(), "{}", lines[0]);
        let (_, verbose) = explain(&folder, &["--verbose"], &body);
        assert!(verbose[0]["classifier"]["advice"].is_string(), "{}", verbose[0]);
    }
}

#[test]
fn a_reason_that_says_ambiguous_and_the_flag_agree() {
    let folder = folder();
    for text in [LIGHT, HARD, OTHER, "ok", "What is it?", "Look at the logs"] {
        let (_, lines) = explain(&folder, &["--verbose"], &asks(text));
        let reason = lines[0]["reason"].as_str().unwrap_or_default();
        assert_eq!(lines[0]["classifier"]["ambiguous"], reason.starts_with("ambiguous"), "{text}: {}", lines[0]);
    }
}
