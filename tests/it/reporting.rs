//! What was saved, from the header of an answer to the report that finance reads; sessions that are held out.

use std::collections::BTreeMap;

use rusqlite::types::Value as Sql;
use serde_json::Value;

use crate::process::run;
use crate::routing::{APPROVAL, LIGHT, POLICY, asks, provider, setup};
use crate::support::{Setup, World, stop};

/// Runs a command on the configuration of the world.
fn farthing(world: &World, arguments: &[&str]) -> (bool, String) {
    let config = world.folder.path().join("farthing.yaml").display().to_string();
    let done = run(&[arguments, &["--config", &config]].concat());
    let told = String::from_utf8(if done.status.success() { done.stdout } else { done.stderr }).expect("UTF-8");
    (done.status.success(), told)
}

fn report(world: &World, arguments: &[&str]) -> Value {
    let (good, told) = farthing(world, &[&["report", "--format", "json"], arguments].concat());
    assert!(good, "{told}");
    serde_json::from_str(&told).expect("JSON")
}

#[tokio::test]
async fn a_saving_is_the_same_in_header_row_metric_and_report() {
    let world = setup().start().await;
    let got = world.chat_as(asks(LIGHT), &[("x-farthing-team", "data")]).await;
    let rows = world.rows(
        "select baseline_model, baseline_nano - cost_nano, saved_nano, saved_route_nano, cost_nano from requests_v1",
    );
    let [Sql::Text(baseline), Sql::Integer(difference), Sql::Integer(saved), Sql::Integer(route), Sql::Integer(cost)] =
        rows[0].as_slice()
    else {
        panic!("{rows:?}")
    };
    // The policy's default tier is `reasoning`.
    assert_eq!((baseline.as_str(), difference, route), ("sim/gpt-5.6-terra", saved, saved));
    assert!(*saved > 0);
    assert_eq!(got.header("x-farthing-saved-usd"), farthing::money::NanoUsd(*saved).to_string());
    let counted = world.metric("farthing_saved_usd_total", "cause=\"route\"").await;
    assert!((counted * 1e9 - *saved as f64).abs() < 0.5, "{counted}");
    let told = report(&world, &["--by", "team,model"]);
    let row = &told["rows"][0];
    assert_eq!((&row["team"], &row["model"]), (&"data".into(), &"sim/gpt-5.6-luna".into()));
    assert_eq!(
        (&row["saved_nano"], &row["cost_nano"], &row["requests"]),
        (&(*saved).into(), &(*cost).into(), &1.into())
    );
    assert_eq!(told["total"]["saved_route_nano"], *saved);
    stop(world.gateway).await;
}

#[tokio::test]
async fn a_report_is_made_of_a_ledger_in_use_and_of_a_backup_alike() {
    let world = setup().start().await;
    for team in ["=cmd()", "data", "data"] {
        world.chat_as(asks(LIGHT), &[("x-farthing-team", team)]).await;
    }
    world.rows("select 1");
    let backup = world.folder.path().join("copy.db").display().to_string();
    assert!(farthing(&world, &["ledger", "backup", &backup]).0);
    let (_, live) = farthing(&world, &["report", "--format", "csv"]);
    let (_, copied) = farthing(&world, &["report", "--format", "csv", "--ledger", &backup]);
    assert_eq!(live, copied);
    assert!(live.starts_with("team,requests,") && live.contains("\n'=cmd(),1,"), "{live}");
    for arguments in
        [&["--by", "user,day"][..], &["--by", "cause"], &["--forecast"], &["--format", "focus"], &["--causal"]]
    {
        let (good, told) = farthing(&world, &[&["report"], arguments].concat());
        assert!(good && !told.is_empty(), "{arguments:?}: {told}");
    }
    let (_, told) = farthing(&world, &["report", "--by", "provider", "--format", "csv"]);
    assert!(told.contains("\nsim,3,"), "{told}");
    let (_, told) = farthing(&world, &["report", "--forecast"]);
    assert!(told.contains("0 whole days since the ledger's first request say too little"), "{told}");
    let (_, told) = farthing(&world, &["report", "--forecast", "--format", "csv"]);
    assert!(told.starts_with("team,") && told.contains(",forecast_nano,"), "{told}");
    assert_eq!(report(&world, &["--forecast"])["forecast"]["rows"].as_array().map(Vec::len), Some(2));
    for (arguments, wanted) in [
        (&["--by", "team", "--format", "focus"][..], "wanted it without `--by`"),
        (&["--forecast", "--format", "focus"], "has no forecast"),
        (&["--by", "day", "--forecast", "--format", "csv"], "no column of days"),
        (&["--causal", "--format", "csv"], "`table` or `json`"),
        (&["--since", "2026-11"], "wanted a day such as 2026-11-28"),
    ] {
        let (good, told) = farthing(&world, &[&["report"], arguments].concat());
        assert!(!good && told.contains(wanted), "{arguments:?}: {told}");
    }
    let (good, told) = farthing(&world, &["report", "--by", "teem"]);
    assert!(!good && told.contains("did you mean `team`"), "{told}");
    let (good, told) = farthing(&world, &["report", "--since", "2026-11-02", "--until", "2026-11-01"]);
    assert!(!good && told.contains("is before"), "{told}");
    stop(world.gateway).await;
}

#[tokio::test]
async fn a_month_that_goes_on_has_no_statement_and_one_that_is_over_and_empty_has_none_either() {
    let world = setup().start().await;
    world.chat_as(asks(LIGHT), &[("x-farthing-team", "data")]).await;
    world.rows("select 1");
    let (good, told) = farthing(&world, &["statement", "close", "--month", "2020-01", "--team", "dada"]);
    assert!(!good && told.contains("nothing of team `dada`; did you mean `data`"), "{told}");
    let (good, told) = farthing(&world, &["statement", "close", "--month", "2999-01"]);
    assert!(!good && told.contains("2999-01 is not over in `UTC`"), "{told}");
    let (good, told) = farthing(&world, &["statement", "close", "--month", "2020-01"]);
    assert!(good && told.contains("there was nothing to close"), "{told}");
    let (good, told) =
        farthing(&world, &["statement", "close", "--month", "2020-01", "--team", "data", "--format", "json"]);
    assert!(good && told.contains("\"lines\":[]"), "{told}");
    let (good, told) = farthing(&world, &["statement", "show", "--month", "2020-01", "--team", "data"]);
    assert!(good && told.contains("statement 1 of data, 2020-01 (UTC)"), "{told}");
    let (good, told) = farthing(&world, &["statement", "show", "--month", "2020-02", "--team", "data"]);
    assert!(!good && told.contains("has no statement for 2020-02"), "{told}");
    let (good, told) = farthing(&world, &["statement", "list"]);
    assert!(good && told.contains("2020-01"), "{told}");
    stop(world.gateway).await;
}

#[tokio::test]
async fn a_held_out_session_stays_in_its_arm_and_has_no_levers_but_protection() {
    let policy = POLICY.replace("default: reasoning\n", "default: reasoning\nholdout: 0.5\n");
    let world = Setup::of(provider()).file("policies/default.md", &policy).more("policies: policies").start().await;
    for run in 0..16 {
        let run = format!("run-{run}");
        let headers = [("x-farthing-run", run.as_str())];
        for text in [LIGHT, LIGHT, APPROVAL] {
            assert_eq!(world.chat_as(asks(text), &headers).await.status, 200);
        }
    }
    let rows = world.rows("select run, arm, reason, tier, would_tier, task from requests_v1 order by request_id");
    let text = |value: &Sql| match value {
        Sql::Text(text) => text.clone(),
        _ => "-".to_owned(),
    };
    let mut runs = BTreeMap::<String, Vec<[String; 4]>>::new();
    for row in &rows {
        let [run, arm, reason, tier, would, _] = row.as_slice() else { panic!("{row:?}") };
        runs.entry(text(run)).or_default().push([arm, reason, tier, would].map(text));
    }
    let owned = |words: [&str; 4]| words.map(str::to_owned);
    let with = [
        owned(["levers", "task", "lightweight", "-"]),
        owned(["levers", "task", "lightweight", "-"]),
        owned(["levers", "task", "frontier", "-"]),
    ];
    let without = [
        owned(["holdout", "held-out; would: task", "reasoning", "lightweight"]),
        owned(["holdout", "held-out; would: task", "reasoning", "lightweight"]),
        // Protected work goes where it must, held out or not.
        owned(["holdout", "held-out; would: task", "frontier", "frontier"]),
    ];
    let held_out = runs.values().filter(|steps| steps[..] == without).count();
    let acted = runs.values().filter(|steps| steps[..] == with).count();
    assert_eq!(held_out + acted, 16, "{runs:?}");
    assert!(held_out > 0 && acted > 0, "{held_out} of 16 are held out");
    let (good, told) = farthing(&world, &["report", "--causal"]);
    let expected = format!("default: {acted} sessions with levers, {held_out} held out");
    assert!(good && told.contains(&expected) && told.contains("too few to measure it"), "{told}");
    stop(world.gateway).await;
}

#[tokio::test]
async fn a_review_answers_five_questions_of_a_ledger_in_use() {
    let world = setup().start().await;
    for _ in 0..2 {
        let id = world.chat_as(asks(LIGHT), &[("x-farthing-team", "data")]).await.header("x-request-id").to_owned();
        let said = format!(r#"{{"request_id":"{id}","outcome":"success","hours_saved":0.5}}"#);
        let got = world.send(http::Method::POST, "/v1/feedback", &[], said.into()).await;
        assert_eq!(got.status(), 200);
    }
    world.rows("select 1");
    let (good, told) = farthing(&world, &["review", "--format", "json"]);
    assert!(good, "{told}");
    let told: Value = serde_json::from_str(&told).expect("JSON");
    let questions = told["questions"].as_array().expect("a list");
    assert_eq!(questions.len(), 5);
    assert!(questions[0]["note"].as_str().is_some_and(|note| note.contains("no context rules")));
    assert_eq!(questions[1]["rows"][0]["calls"], 2);
    assert_eq!(
        (&questions[3]["rows"][0]["repeats"], &questions[3]["advice"][0]["n_is_enough"]),
        (&1.into(), &false.into())
    );
    let worth = &questions[4]["rows"][0];
    assert_eq!((&worth["team"], &worth["hours_saved"], &worth["feedback"]), (&"data".into(), &1.0.into(), &2.into()));
    let (good, told) = farthing(&world, &["review"]);
    assert!(
        good && told.contains("4. Which calls are candidates for caching?") && told.contains("too short"),
        "{told}"
    );
    let (good, told) = farthing(&world, &["review", "--quarter", "2020Q1"]);
    assert!(good && told.contains("2020Q1: no request was recorded"), "{told}");
    let (good, told) = farthing(&world, &["review", "--quarter", "2026"]);
    assert!(!good && told.contains("such as 2026Q4"), "{told}");
    stop(world.gateway).await;
}

/// A step of a conversation: what its system prompt begins with, its tools, and whether it is the second one.
fn step(beginning: &str, tools: &[&str], is_second: bool) -> String {
    let rules = "Answer in one line, and name the table that you looked at. ".repeat(200);
    let mut messages = vec![
        serde_json::json!({"role": "system", "content": format!("{beginning} {rules}")}),
        serde_json::json!({"role": "user", "content": LIGHT}),
    ];
    if is_second {
        messages.push(serde_json::json!({"role": "assistant", "content": "ok"}));
        messages.push(serde_json::json!({"role": "user", "content": LIGHT}));
    }
    let tool = |name: &&str| serde_json::json!({"type": "function", "function": {"name": name}});
    let tools: Vec<_> = tools.iter().map(tool).collect();
    serde_json::json!({"model": "gpt-5.6-luna", "messages": messages, "tools": tools}).to_string()
}

#[tokio::test]
async fn a_beginning_that_changes_on_the_way_is_told_with_what_its_broken_prefix_cost() {
    let world = setup().start().await;
    let (tools, turned) = (["query", "restart"], ["restart", "query"]);
    for (run, culprit, first, second) in [
        ("1", "timestamp", step("It is 10:02.", &tools, false), step("It is 9:57.", &tools, true)),
        ("2", "system", step("Be brief.", &tools, false), step("Be long.", &tools, true)),
        ("3", "tool_order", step("Be brief.", &tools, false), step("Be brief.", &turned, true)),
        ("4", "tools", step("Be brief.", &tools, false), step("Be brief.", &tools[..1], true)),
    ] {
        for (body, expected) in [(first, [Sql::Null, Sql::Null]), (second, [Sql::Text(culprit.to_owned()), 1.into()])] {
            let headers = [("x-farthing-run", run), ("x-farthing-team", culprit)];
            let id = world.chat_as(body, &headers).await.header("x-request-id").to_owned();
            let sql = format!(
                "select cache_lost_to, cache_lost_nano > 0 from requests_v1 where request_id = '{id}' and read_bytes > 0"
            );
            // Its texts may be read after it was answered.
            world.until(culprit, || world.rows(&sql) == [expected.clone()]).await;
        }
        assert!(world.metric("farthing_cache_loss_usd_total", &format!("culprit=\"{culprit}\"")).await > 0.0);
    }
    let told = report(&world, &["--by", "cache_loss"]);
    let lost = told["rows"].as_array().expect("a list").iter().find(|row| row["cache_loss"] == "timestamp");
    assert!(lost.is_some_and(|row| row["cache_lost_nano"].as_i64() > Some(0)), "{told}");
    let told = report(&world, &["--cache-loss"]);
    let lines = told["rows"].as_array().expect("a list");
    let found = |culprit: &str| lines.iter().find(|line| line["cache_loss"] == culprit).expect("it is told");
    for culprit in ["timestamp", "system", "tool_order", "tools"] {
        let line = found(culprit);
        assert_eq!((&line["team"], &line["breaks"]), (&culprit.into(), &1.into()), "{told}");
        assert!(line["at_tokens"].as_i64() < Some(100) && line["cache_lost_nano"].as_i64() > Some(0), "{told}");
    }
    let (good, told) = farthing(&world, &["report", "--cache-loss"]);
    assert!(good && told.contains("tool_order"), "{told}");
    stop(world.gateway).await;
}
