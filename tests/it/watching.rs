//! What `mode: observe` would have saved, from a call to the report that a platform team reads before it switches on.

use farthing::simulator::{Provider, Reply};
use rusqlite::types::Value as Sql;
use serde_json::{Value, json};

use crate::mirror::settled;
use crate::process::run;
use crate::routing::{HARD, LIGHT, LUNA, POLICY, SOL, TERRA, asks, with};
use crate::support::postgres::database;
use crate::support::{Setup, World, script, stop};

/// A thousand tokens read and a hundred written, whatever answers.
fn setup() -> Setup {
    let message = json!({"role": "assistant", "content": "ok"});
    let answer = json!({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1_000, "completion_tokens": 100, "total_tokens": 1_100},
    });
    let answers = || [Reply::raw("application/json", [answer.to_string()])];
    let provider = Provider::openai()
        .model(script("gpt-5.6-sol", answers()))
        .model(script("gpt-5.6-terra", answers()))
        .model(script("gpt-5.6-luna", answers()));
    Setup::of(provider).file("policies/default.md", POLICY).more("policies: policies")
}

/// What 1,000 tokens read and 100 written cost by the book, in nano-dollars: 4 and 20, 2 and 12, 0.20 and 1.20 dollars a million.
const OF_SOL: i64 = 4_000_000 + 2_000_000;
const OF_TERRA: i64 = 2_000_000 + 1_200_000;
const OF_LUNA: i64 = 200_000 + 120_000;

fn farthing(world: &World, arguments: &[&str]) -> (bool, String) {
    let config = world.folder.path().join("farthing.yaml").display().to_string();
    let done = run(&[arguments, &["--config", &config]].concat());
    let told = String::from_utf8(if done.status.success() { done.stdout } else { done.stderr }).expect("UTF-8");
    (done.status.success(), told)
}

fn would(world: &World, arguments: &[&str]) -> Value {
    world.rows("select 1");
    let (good, told) = farthing(world, &[&["report", "--would", "--format", "json"], arguments].concat());
    assert!(good, "{told}");
    serde_json::from_str(&told).expect("JSON")
}

fn figures(row: &Value) -> [Option<i64>; 6] {
    ["requests", "moved", "unpriced", "cost_nano", "would_cost_nano", "would_save_nano"].map(|name| row[name].as_i64())
}

async fn sends(world: &World, team: &str, body: String) {
    let got = world.chat_as(body, &[("x-farthing-team", team)]).await;
    assert_eq!(got.status, 200, "{}", got.text());
}

#[tokio::test]
async fn what_switching_on_would_save_is_told_by_team_and_task_before_anybody_does() {
    let world = setup().more("mode: observe").start().await;
    let named = |text: &str, model: &str| with(text, json!({"model": model}));
    // To luna and not to sol; to luna and not to the default tier; to sol and not to terra, which costs more; nowhere else.
    sends(&world, "data", named(LIGHT, "gpt-5.6-sol")).await;
    sends(&world, "data", asks(LIGHT)).await;
    sends(&world, "ops", asks(HARD)).await;
    sends(&world, "ops", named(HARD, "gpt-5.6-sol")).await;
    let told = would(&world, &["--by", "team,task"]);
    let [data, ops] = &told["rows"].as_array().expect("rows")[..] else { panic!("{told}") };
    assert_eq!((&data["team"], &data["task"]), (&json!("data"), &json!("logs")));
    assert_eq!(ops["team"], "ops");
    let spent = OF_SOL + OF_TERRA;
    assert_eq!(figures(data), [2, 2, 0, spent, 2 * OF_LUNA, spent - 2 * OF_LUNA].map(Some));
    assert_eq!(figures(ops), [2, 1, 0, spent, 2 * OF_SOL, OF_TERRA - OF_SOL].map(Some));
    let saves = spent - 2 * OF_LUNA + OF_TERRA - OF_SOL;
    assert_eq!(figures(&told["total"]), [4, 3, 0, 2 * spent, 2 * (OF_LUNA + OF_SOL), saves].map(Some));
    let told = would(&world, &["--by", "model,would_model"]);
    let mut paths: Vec<(&str, &str)> = told["rows"]
        .as_array()
        .expect("rows")
        .iter()
        .map(|row| (row["model"].as_str().expect("a name"), row["would_model"].as_str().expect("a name")))
        .collect();
    paths.sort_unstable();
    assert_eq!(paths, [(SOL, LUNA), (SOL, SOL), (TERRA, LUNA), (TERRA, SOL)]);
    let row = "select cost_nano, would_cost_nano from requests_v1 order by request_id limit 1";
    assert_eq!(world.rows(row), [[Sql::Integer(OF_SOL), Sql::Integer(OF_LUNA)]]);
    let counted = world.metric("farthing_would_save_usd_total", "team=\"data\"").await;
    assert!((counted * 1e9 - (spent - 2 * OF_LUNA) as f64).abs() < 0.5, "{counted}");
    // 0.00576 of 0.0184 dollars.
    let (good, told) = farthing(&world, &["report", "--would"]);
    assert!(good && told.contains("4 requests watched, 3 of them would have gone elsewhere: 31.3 % less"), "{told}");
    stop(world.gateway).await;
}

#[tokio::test]
async fn what_has_no_price_is_counted_apart_and_who_acts_is_not_watched() {
    let world = setup()
        .tiers("frontier: [sim/gpt-5.6-sol], lightweight: [sim/nobody-knows]")
        .more("teams: { watched: { mode: observe }, acting: {} }")
        .models("*")
        .start()
        .await;
    sends(&world, "watched", with(LIGHT, json!({"model": "gpt-5.6-sol"}))).await;
    sends(&world, "watched", with(HARD, json!({"model": "gpt-5.6-sol"}))).await;
    sends(&world, "acting", with(HARD, json!({"model": "gpt-5.6-sol"}))).await;
    let told = would(&world, &["--by", "would_model"]);
    let rows = told["rows"].as_array().expect("rows");
    assert_eq!(rows.len(), 2, "{told}");
    let of = |model: &str| rows.iter().find(|row| row["would_model"] == model).expect(model);
    assert_eq!(figures(of(SOL)), [Some(1), Some(0), Some(0), Some(OF_SOL), Some(OF_SOL), Some(0)]);
    let unknown = of("sim/nobody-knows");
    assert_eq!(figures(unknown), [Some(1), Some(1), Some(1), None, None, None]);
    assert_eq!((&unknown["unpriced_cost_nano"], &told["total"]["unpriced"]), (&json!(OF_SOL), &json!(1)));
    let (_, csv) = farthing(&world, &["report", "--would", "--format", "csv"]);
    assert!(csv.trim_end().ends_with(&format!("total,2,1,1,{OF_SOL},{OF_SOL},0,{OF_SOL}")), "{csv}");
    stop(world.gateway).await;
}

#[tokio::test]
async fn a_report_of_what_would_be_says_what_it_cannot_tell() {
    let world = setup().start().await;
    sends(&world, "data", asks(LIGHT)).await;
    world.rows("select 1");
    let (good, told) = farthing(&world, &["report", "--would"]);
    assert!(good && told.contains("nothing was watched; `mode: observe`"), "{told}");
    for (arguments, wanted) in [
        (&["--would", "--by", "cause"][..], "`--would` knows no causes"),
        (&["--by", "team,would_model"], "wanted `--would` with them"),
        (&["--would", "--format", "focus"], "`table`, `csv` or `json`"),
        (&["--would", "--causal"], "cannot be used with"),
    ] {
        let (good, told) = farthing(&world, &[&["report"], arguments].concat());
        assert!(!good && told.contains(wanted), "{arguments:?}: {told}");
    }
    stop(world.gateway).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_tells_the_same() {
    let Some(database) = database() else { return };
    let mirror = "ledger: { mirror: file:mirror }";
    let world = setup().file("mirror", &database.url()).more(mirror).more("mode: observe").start().await;
    for (team, text) in [("data", LIGHT), ("ops", HARD), ("data", LIGHT)] {
        sends(&world, team, asks(text)).await;
    }
    settled(&world.folder.path().join("farthing.db"), &database.url(), world.requests().len() as u64);
    for by in ["team,would_model", "day,tier", "user,prompt"] {
        let arguments = ["report", "--would", "--by", by, "--format", "csv"];
        let (good, of_ledger) = farthing(&world, &arguments);
        let saves = 3 * OF_TERRA - 2 * OF_LUNA - OF_SOL;
        assert!(
            good && of_ledger.contains(&format!(",3,3,0,{},{},{saves},0", 3 * OF_TERRA, 2 * OF_LUNA + OF_SOL)),
            "{of_ledger}"
        );
        assert_eq!(farthing(&world, &[&arguments[..], &["--mirror"]].concat()), (true, of_ledger), "{by}");
    }
    stop(world.gateway).await;
}
