//! Where calls go by policy: rules, tasks, pins, grants, empty tiers, and what is told of it.

use farthing::simulator::{Provider, Reply};
use rusqlite::types::Value as Sql;
use serde_json::{Value, json};

use crate::support::{Got, Setup, World, script};

/// What the tests below route by.
pub const POLICY: &str = r#"---
default: reasoning
treat_as_auto: ["claude-*", gpt-5.6-sol]
rules:
  - { when: { keywords: [drop table] }, use: frontier, protected: true, because: "destructive SQL is high stakes" }
  - { when: { tools: [deploy_*] }, use: frontier }
---
## Frontier
- Novel failure diagnosis
  - "The job died with an error that is in no runbook"
- Approving a release {id: approvals, protected: true}
  - "Approve the release of orders_daily to production"

## Lightweight
- Log parsing {id: logs}
  - "Sort these log lines by error class"
"#;

/// Work of the lightweight tier, of the frontier tier, and of nobody.
pub const LIGHT: &str = "Sort these log lines by error class";
pub const HARD: &str = "The job died with an error that is in no runbook";
pub const APPROVAL: &str = "Approve the release of orders_daily to production";
pub const OTHER: &str = "Please write a sonnet about the sea";

/// The three tiers of one provider.
pub fn provider() -> Provider {
    let ok = || [Reply::text("ok")];
    Provider::openai()
        .model(script("gpt-5.6-sol", ok()))
        .model(script("gpt-5.6-terra", ok()))
        .model(script("gpt-5.6-luna", ok()))
}

/// The same behind [`POLICY`] for everything.
pub fn setup() -> Setup {
    Setup::of(provider()).file("policies/default.md", POLICY).more("policies: policies")
}

/// A request for `auto` with one user turn.
pub fn asks(text: &str) -> String {
    with(text, json!({}))
}

/// The same with more members.
pub fn with(text: &str, more: Value) -> String {
    let mut body = json!({"model": "auto", "messages": [{"role": "user", "content": text}]});
    if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
        body.extend(more);
    }
    body.to_string()
}

/// The model that answered, and why.
#[track_caller]
pub fn check(got: &Got, model: &str, reason: &str) {
    assert_eq!(got.status, 200, "{}", got.text());
    assert_eq!((got.header("x-farthing-model"), got.header("x-farthing-reason")), (model, reason));
}

pub const SOL: &str = "sim/gpt-5.6-sol";
pub const TERRA: &str = "sim/gpt-5.6-terra";
pub const LUNA: &str = "sim/gpt-5.6-luna";
/// The key of whoever asks with one.
const SECRET: &str = "sk-of-the-routing-tests";
const RULE: &str = "rule 1 (destructive SQL is high stakes)";

#[tokio::test]
async fn work_goes_to_the_tier_of_its_task_and_everybody_is_told() {
    let world = setup().start().await;
    let got = world.chat(asks(LIGHT)).await;
    check(&got, LUNA, "task");
    assert_eq!((got.header("x-farthing-tier"), got.header("x-farthing-task")), ("lightweight", "logs"));
    let policy = got.header("x-farthing-policy").to_owned();
    assert!(policy.starts_with("default@"), "{policy}");
    let confidence: f32 = got.header("x-farthing-confidence").parse().expect("a share");
    assert!((0.6..=1.0).contains(&confidence), "{confidence}");
    let event = world.logged("request", 1).await;
    assert_eq!((&event["reason"], &event["task"]), (&json!("task"), &json!("logs")));
    assert_eq!((&event["policy"], &event["asked_model"]), (&json!(policy), &json!("auto")));
    let ppm = event["confidence_ppm"].as_i64().expect("a number");
    let sql = "select task, tier, policy, reason, confidence_ppm, model, session, needs_strong_ppm from requests_v1";
    let [row] = &world.rows(sql)[..] else { panic!("one row") };
    let text = |text: &str| Sql::Text(text.to_owned());
    let expected = [text("logs"), text("lightweight"), text(&policy), text("task"), Sql::Integer(ppm), text("auto")];
    assert_eq!(row[..6], expected);
    assert!(matches!((&row[6], &row[7]), (Sql::Text(session), Sql::Integer(_)) if session.len() == 16), "{row:?}");
    assert!(world.metric("farthing_decisions_total", "reason=\"task\",task=\"logs\",tier=\"lightweight\"").await > 0.0);
}

#[tokio::test]
async fn what_no_rule_and_no_task_claims_goes_to_the_default_tier() {
    let world = setup().start().await;
    check(&world.chat(asks(OTHER)).await, TERRA, "ambiguous");
    check(&world.chat(asks(HARD)).await, SOL, "task");
}

#[tokio::test]
async fn rules_look_at_the_last_user_turn_and_the_tool_results_after_it() {
    let world = setup().start().await;
    check(&world.chat(asks("Please DROP\n TABLE orders")).await, SOL, RULE);
    let call = json!({"role": "assistant", "tool_calls": [{"id": "c", "type": "function", "function": {"name": "q", "arguments": "{}"}}]});
    let result = |text: &str| json!({"role": "tool", "tool_call_id": "c", "content": text});
    let user = |text: &str| json!({"role": "user", "content": text});
    let body = |messages: Value| json!({"model": "auto", "messages": messages}).to_string();
    let after = body(json!([user(LIGHT), call, result("line 1\ndrop table orders;")]));
    check(&world.chat(after).await, SOL, RULE);
    let before = body(json!([user("drop table a"), call, result("drop table b"), user(LIGHT)]));
    check(&world.chat(before).await, LUNA, "task");
    let parts = json!([{"type": "text", "text": "see"}, {"type": "text", "text": "drop table a"}]);
    check(&world.chat(body(json!([{"role": "user", "content": parts}]))).await, SOL, RULE);
    let long = format!("{} drop table a {}", "x ".repeat(20_000), "y ".repeat(20_000));
    check(&world.chat(asks(&long)).await, SOL, RULE);
    let tools = json!([{"type": "function", "function": {"name": "deploy_orders"}}]);
    check(&world.chat(with(LIGHT, json!({"tools": tools}))).await, SOL, "rule 2");
}

#[tokio::test]
async fn no_shape_of_a_request_hides_what_a_rule_protects() {
    let world = setup().start().await;
    let user = |text: Value| json!({"role": "user", "content": text});
    let body = |messages: Value| json!({"model": "auto", "messages": messages}).to_string();
    // Messages in a row are one turn, and so are the parts of one.
    for last in [json!("go"), json!(""), json!(null), json!([])] {
        check(&world.chat(body(json!([user(json!("please drop table orders")), user(last)]))).await, SOL, RULE);
    }
    let split = json!([{"type": "text", "text": "please drop"}, {"type": "text", "text": "table orders"}]);
    check(&world.chat(body(json!([user(split)]))).await, SOL, RULE);
    check(&world.chat(body(json!([user(json!("please drop")), user(json!("table orders"))]))).await, SOL, RULE);
    // What tools were called before, and more of them than anybody has.
    let functions = json!([{"name": "deploy_orders", "parameters": {}}]);
    check(&world.chat(with(LIGHT, json!({"functions": functions}))).await, SOL, "rule 2");
    let tool = |n: usize| json!({"type": "function", "function": {"name": format!("t{n}")}});
    let mut tools: Vec<Value> = (0..300).map(tool).collect();
    check(&world.chat(with(LIGHT, json!({"tools": tools}))).await, LUNA, "task");
    tools.push(json!({"type": "function", "function": {"name": "deploy_orders"}}));
    check(&world.chat(with(LIGHT, json!({"tools": tools}))).await, SOL, "rule 2");
    tools = (0..5_000).map(tool).collect();
    check(&world.chat(with(LIGHT, json!({"tools": tools}))).await, SOL, "rule 2");
}

#[tokio::test]
async fn a_large_turn_is_read_to_its_end() {
    let world = setup().start().await;
    let filler = "x.y a.b/c ".repeat(100_000);
    check(&world.chat(asks(&format!("{filler} drop table a"))).await, SOL, RULE);
    check(&world.chat(asks(&filler)).await, TERRA, "ambiguous");
}

#[tokio::test]
async fn an_image_is_as_long_as_its_tokens_and_not_as_its_bytes() {
    let policy = "---\nrules: [{ when: { prompt_tokens: { over: 20000 } }, use: frontier }]\ndefault: reasoning\n---\n";
    let world = Setup::of(provider()).file("policies/default.md", policy).more("policies: policies").start().await;
    let image = |bytes: usize| {
        let url = format!("data:image/png;base64,{}", "A".repeat(bytes));
        json!([{"type": "text", "text": OTHER}, {"type": "image_url", "image_url": {"url": url}}])
    };
    let body =
        |content: Value| json!({"model": "auto", "messages": [{"role": "user", "content": content}]}).to_string();
    check(&world.chat(body(image(400_000))).await, TERRA, "ambiguous");
    check(&world.chat(asks(&"word ".repeat(20_000))).await, SOL, "rule 1");
    // What was sent as an image is in no cache as a text.
    let mut messages =
        vec![json!({"role": "user", "content": image(400_000)}), json!({"role": "assistant", "content": "ok"})];
    let pinned = json!({"model": "frontier", "messages": messages[..1]}).to_string();
    check(&world.chat(pinned).await, SOL, "pinned-tier");
    messages.push(json!({"role": "user", "content": OTHER}));
    check(&world.chat(json!({"model": "auto", "messages": messages}).to_string()).await, TERRA, "ambiguous");
}

#[tokio::test]
async fn a_pin_beats_the_classifier_but_not_protected_work() {
    let world = setup().start().await;
    let light = [("x-farthing-tier", "lightweight")];
    check(&world.chat_as(asks(HARD), &light).await, LUNA, "pinned-tier");
    check(&world.chat_as(asks(LIGHT), &[("x-farthing-tier", "frontier")]).await, SOL, "pinned-tier");
    let overruled = "protected work, so the pin to lightweight is overruled";
    check(&world.chat_as(asks("drop table a"), &light).await, SOL, &format!("{RULE}; {overruled}"));
    check(&world.chat_as(asks(APPROVAL), &light).await, SOL, &format!("task; {overruled}"));
    let by_name = with(APPROVAL, json!({"model": "lightweight"}));
    check(&world.chat(by_name).await, SOL, &format!("task; {overruled}"));
}

#[tokio::test]
async fn a_task_that_the_client_names_is_believed_within_its_grants() {
    let world = keyed("may: { tasks: [logs] }").await;
    let ask = async |task| world.chat_as(asks(OTHER), &[("x-api-key", SECRET), ("x-farthing-task", task)]).await;
    check(&ask("logs").await, LUNA, "named-task");
    check(&ask("approvals").await, TERRA, "ambiguous; not granted: task");
    let got = world.chat_as(asks(APPROVAL), &[("x-api-key", SECRET), ("x-farthing-task", "logs")]).await;
    check(&got, SOL, "named-task");
}

fn hash() -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(SECRET).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// [`setup`] with one key, [`SECRET`], of the team `data`.
async fn keyed(more: &str) -> World {
    let hash = hash();
    setup().more(&format!("keys: [ {{ sha256: {hash}, team: data, {more} }} ]")).start().await
}

#[tokio::test]
async fn a_policy_may_be_for_a_key_and_a_key_may_act_where_its_team_watches() {
    let world = keyed("name: ci, mode: enforce").await;
    let of_key = "---\napplies_to: { keys: [ci] }\n---\n## Lightweight\n- Novel failure diagnosis\n  - \"The job died with an error that is in no runbook\"\n";
    std::fs::write(world.folder.path().join("policies/of_key.md"), of_key).expect("a file");
    world.logged("policies_reloaded", 1).await;
    check(&world.chat_as(asks(HARD), &[("x-api-key", SECRET)]).await, LUNA, "task");
    let hash = hash();
    let world = setup()
        .more("teams: { data: { mode: observe } }")
        .more(&format!("keys: [ {{ sha256: {hash}, team: data, mode: enforce }} ]"))
        .start()
        .await;
    check(&world.chat_as(asks(LIGHT), &[("x-api-key", SECRET)]).await, LUNA, "task");
}

#[tokio::test]
async fn a_tier_that_is_not_granted_is_passed_upward_and_never_down() {
    let world = keyed("may: { tiers: [frontier] }").await;
    let key = [("x-api-key", SECRET)];
    let reason = "task; lightweight is not granted; reasoning is not granted";
    check(&world.chat_as(asks(LIGHT), &key).await, SOL, reason);
    let world = keyed("may: { tiers: [lightweight] }").await;
    check(&world.chat_as(asks(LIGHT), &key).await, LUNA, "task");
    let got = world.chat_as(asks(HARD), &key).await;
    assert_eq!((got.status, got.code()), (403, "not_granted".to_owned()));
}

#[tokio::test]
async fn a_tier_without_models_falls_upward() {
    let world = setup().tiers("frontier: [sim/gpt-5.6-sol]").start().await;
    let reason = "task; lightweight has no models; reasoning has no models";
    check(&world.chat(asks(LIGHT)).await, SOL, reason);
    let world = setup().tiers("lightweight: [sim/gpt-5.6-luna]").start().await;
    check(&world.chat(asks(LIGHT)).await, LUNA, "task");
    let got = world.chat(asks(HARD)).await;
    assert_eq!((got.status, got.code()), (404, "model_not_found".to_owned()));
}

#[tokio::test]
async fn a_task_that_the_policy_lacks_is_told_and_replaces_none() {
    let world = setup().start().await;
    let got = world.chat_as(asks(LIGHT), &[("x-farthing-task", "triage")]).await;
    check(&got, LUNA, "task; the policy has no task `triage`");
    assert_eq!(got.header("x-farthing-task"), "logs");
    assert_eq!(world.logged("request", 1).await["task"], json!("logs"));
    assert_eq!(world.rows("select task from requests_v1"), [[Sql::Text("logs".to_owned())]]);
    assert!(world.metric("farthing_decisions_total", "reason=\"task\",task=\"logs\",tier=\"lightweight\"").await > 0.0);
    let got = world.chat_as(asks(OTHER), &[("x-farthing-task", "triage")]).await;
    check(&got, TERRA, "ambiguous; the policy has no task `triage`");
}

#[tokio::test]
async fn exact_names_are_the_clients_word_and_protected_rules_say_that_they_matched() {
    let world = setup().models("gpt-*").start().await;
    let named = |text: &str, model: &str| with(text, json!({"model": model}));
    let unbound = "exact-model; protected rule 1 does not bind exact names";
    check(&world.chat(named("drop table a", "gpt-5.6-terra")).await, TERRA, unbound);
    check(&world.chat(named("drop table a", "sim/gpt-5.6-luna")).await, LUNA, unbound);
    check(&world.chat(named(LIGHT, "gpt-5.6-luna")).await, LUNA, "exact-model");
    // Names that are treated as auto are bound, whatever tier the client pins.
    let routed = format!("{RULE}; treated as auto");
    let got = world.chat(named("drop table a", "gpt-5.6-sol")).await;
    check(&got, SOL, &format!("{RULE}; treated as auto"));
    let pinned = [("x-farthing-tier", "lightweight")];
    let got = world.chat_as(named("drop table a", "claude-haiku-5"), &pinned).await;
    assert_eq!(got.header("x-farthing-model"), SOL, "{routed}");
    assert!(got.header("x-farthing-reason").contains("the pin to lightweight is overruled"));
}

#[tokio::test]
async fn names_that_a_policy_treats_as_auto_are_routed() {
    let world = setup().models("gpt-*").start().await;
    for name in ["gpt-5.6-sol", "sim/gpt-5.6-sol", "claude-opus-5"] {
        let got = world.chat(with(LIGHT, json!({"model": name}))).await;
        check(&got, LUNA, "task; treated as auto");
    }
    check(&world.chat(with(LIGHT, json!({"model": "gpt-5.6-terra"}))).await, TERRA, "exact-model");
    let got = world.chat(with(LIGHT, json!({"model": "mistral"}))).await;
    assert_eq!((got.status, got.code()), (404, "model_not_found".to_owned()));
    let got = world.chat(with(LIGHT, json!({"model": "light"}))).await;
    assert!(got.text().contains("did you mean `lightweight`?"), "{}", got.text());
}

#[tokio::test]
async fn the_most_specific_policy_decides() {
    let of_pipeline =
        "## Lightweight\n- Novel failure diagnosis\n  - \"The job died with an error that is in no runbook\"\n";
    let world = setup().file("policies/orders_daily.md", of_pipeline).start().await;
    check(&world.chat(asks(HARD)).await, SOL, "task");
    let got = world.chat_as(asks(HARD), &[("x-farthing-pipeline", "orders_daily")]).await;
    check(&got, LUNA, "task");
    assert!(got.header("x-farthing-policy").starts_with("orders_daily@"));
    let claimed = with(HARD, json!({"metadata": {"pipeline": "orders_daily"}}));
    check(&world.chat(claimed).await, LUNA, "task");
}

#[tokio::test]
async fn observed_calls_go_where_they_were_sent_and_say_what_would_have_been() {
    let world = setup().more("teams: { watched: { mode: observe }, acting: {} }").start().await;
    let watched = [("x-farthing-team", "watched")];
    let got = world.chat_as(with(LIGHT, json!({"model": "gpt-5.6-sol"})), &watched).await;
    check(&got, SOL, "exact-model");
    assert_eq!((got.header("x-farthing-would-tier"), got.header("x-farthing-would-model")), ("lightweight", LUNA));
    assert_eq!(got.header("x-farthing-would-reason"), "task; treated as auto");
    assert_eq!(got.header("x-farthing-edits"), "");
    check(&world.chat_as(asks(LIGHT), &watched).await, TERRA, "observed");
    let pinned = [watched[0], ("x-farthing-tier", "lightweight")];
    let got = world.chat_as(asks("drop table a"), &pinned).await;
    check(&got, LUNA, "pinned-tier");
    assert_eq!(got.header("x-farthing-would-model"), SOL);
    let overruled = format!("{RULE}; protected work, so the pin to lightweight is overruled");
    assert_eq!(got.header("x-farthing-would-reason"), overruled);
    let got = world.chat_as(asks(LIGHT), &[("x-farthing-team", "acting")]).await;
    check(&got, LUNA, "task");
    assert_eq!(got.header("x-farthing-would-model"), "");
    let event = world.logged("request", 1).await;
    assert_eq!((&event["would_tier"], &event["would_model"]), (&json!("lightweight"), &json!(LUNA)));
    assert_eq!(event["would_reason"], json!("task; treated as auto"));
    let would = world.metric("farthing_would_decisions_total", "reason=\"rule\"").await;
    assert!((would - 1.0).abs() < f64::EPSILON, "{would}");
    let rows =
        world.rows("select coalesce(would_tier || ' ' || would_model, '-') from requests_v1 order by request_id");
    let would: Vec<_> = rows.into_iter().flatten().collect();
    let text = |text: &str| Sql::Text(text.to_owned());
    assert_eq!(
        would[..],
        [format!("lightweight {LUNA}"), format!("lightweight {LUNA}"), format!("frontier {SOL}"), "-".to_owned()]
            .map(|t| text(&t))
    );
    let reasons = world.rows("select reason from requests_v1 order by request_id");
    let expected = [
        "exact-model; would: task; treated as auto".to_owned(),
        "observed; would: task".to_owned(),
        format!("pinned-tier; would: {overruled}"),
        "task".to_owned(),
    ];
    assert_eq!(reasons.into_iter().flatten().collect::<Vec<_>>(), expected.map(|reason| text(&reason)));
}

#[tokio::test]
async fn odd_conversations_are_the_default_tiers_work_and_never_fail() {
    let world = setup().start().await;
    for messages in [
        json!([]),
        json!([7, null, "hi"]),
        json!([{"role": "user"}]),
        json!([{"role": "user", "content": null}]),
        json!([{"role": "user", "content": {"text": LIGHT}}]),
        json!([{"role": 7, "content": LIGHT}]),
        json!([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}]),
        json!([{"role": "assistant", "content": null, "tool_calls": []}]),
        json!([{"role": "system", "content": [{"text": 1}]}, {"role": "tool", "content": [[]]}]),
    ] {
        let body = json!({"model": "auto", "messages": messages, "tools": [3, {"name": 4}, {"function": []}], "response_format": 5});
        // What the provider makes of it is its affair.
        let got = world.chat(body.to_string()).await;
        let told = (got.header("x-farthing-model"), got.header("x-farthing-reason"));
        assert_eq!(told, (TERRA, "ambiguous"), "{body}: {}", got.text());
    }
}

#[tokio::test]
async fn a_turn_that_says_nothing_keeps_the_tier_of_what_was_asked_before() {
    let world = setup().start().await;
    let talk = |turns: &[&str]| {
        let messages: Vec<Value> = turns
            .iter()
            .enumerate()
            .map(|(at, text)| json!({"role": if at % 2 == 0 { "user" } else { "assistant" }, "content": text}))
            .collect();
        json!({"model": "auto", "messages": messages}).to_string()
    };
    let as_before = "task; as the turn before, since this one says nothing by itself";
    check(&world.chat(talk(&[LIGHT, "Shall I go on?", "ok"])).await, LUNA, as_before);
    check(&world.chat(talk(&[HARD, "Shall I look deeper?", "Ja bitte"])).await, SOL, as_before);
    check(&world.chat(talk(&[HARD, "a", "go on", "b", "continue", "c", "👍"])).await, SOL, as_before);
    check(&world.chat(talk(&["hi"])).await, TERRA, "ambiguous; the turn says nothing by itself");
    check(&world.chat(talk(&["drop table orders", "Are you sure?", "yes"])).await, SOL, RULE);
}

#[tokio::test]
async fn a_task_in_any_script_is_named_in_headers_of_ascii() {
    let policy = "---\ndefault: frontier\n---\n## Lightweight\n- Texte übersetzen\n";
    let world = setup().file("policies/default.md", policy).start().await;
    let got = world.chat_as(asks("Texte übersetzen"), &[]).await;
    assert_eq!(
        (got.header("x-farthing-tier"), got.header("x-farthing-task")),
        ("lightweight", "texte-%C3%BCbersetzen")
    );
    let named = [("x-farthing-task", "texte-%C3%BCbersetzen")];
    let got = world.chat_as(asks(OTHER), &named).await;
    assert_eq!((got.header("x-farthing-tier"), got.header("x-farthing-reason")), ("lightweight", "named-task"));
}
