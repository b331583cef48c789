//! What a conversation keeps: its policy version, its model, and a warm prefix that is worth more than a cheaper tier.

use farthing::simulator::{Provider, Reply};
use rusqlite::types::Value as Sql;
use serde_json::{Value, json};

use crate::routing::{HARD, LIGHT, LUNA, OTHER, POLICY, SOL, TERRA, check, setup};
use crate::support::{Got, Setup, World, script};

/// A conversation that grows.
struct Talk(Vec<Value>);

impl Talk {
    fn new(first: &str) -> Self {
        let mut talk = Self(vec![json!({"role": "system", "content": "be brief"})]);
        talk.says(first);
        talk
    }

    fn says(&mut self, text: &str) {
        self.0.push(json!({"role": "user", "content": text}));
    }

    fn body(&self) -> String {
        json!({"model": "auto", "messages": self.0}).to_string()
    }

    /// The model answers, and the user goes on.
    fn goes_on(&mut self, text: &str) -> String {
        self.0.push(json!({"role": "assistant", "content": "ok"}));
        self.says(text);
        self.body()
    }
}

/// A text that takes thousands of tokens and begins like one that a task knows.
fn long() -> String {
    format!("drop table a {}", "and so on ".repeat(2_500))
}

/// The sessions of all requests in their order.
fn sessions(world: &World) -> Vec<Sql> {
    world.rows("select session from requests_v1 order by request_id").into_iter().flatten().collect()
}

#[tokio::test]
async fn a_conversation_moves_up_freely_and_leaves_a_warm_prefix_only_where_that_pays() {
    let world = setup().start().await;
    let mut talk = Talk::new(&long());
    check(&world.chat(talk.body()).await, SOL, "rule 1 (destructive SQL is high stakes)");
    let stays = "ambiguous; reasoning would do, but a cold prefix costs more than it saves";
    check(&world.chat(talk.goes_on(OTHER)).await, SOL, stays);
    let state = world.rows("select state from requests_v1 where state is not null");
    assert!(
        matches!(&state[..], [row] if matches!(&row[0], Sql::Text(state) if state.contains("\"tier\":\"frontier\"")))
    );
    // A tenth of the price pays for reading it all anew.
    check(&world.chat(talk.goes_on(LIGHT)).await, LUNA, "task");
    check(&world.chat(talk.goes_on(HARD)).await, SOL, "task");
    // Another conversation has nothing to lose.
    check(&world.chat(Talk::new(OTHER).body()).await, TERRA, "ambiguous");
}

#[tokio::test]
async fn a_short_prefix_keeps_nobody() {
    let world = setup().start().await;
    let mut talk = Talk::new(HARD);
    check(&world.chat(talk.body()).await, SOL, "task");
    check(&world.chat(talk.goes_on(OTHER)).await, TERRA, "ambiguous");
}

#[tokio::test]
async fn a_conversation_keeps_the_model_that_answered_it() {
    let sol = |replies: Vec<Reply>| Provider::openai().model(script("gpt-5.6-sol", replies));
    let world = Setup::of(sol(vec![Reply::status(503), Reply::text("ok")]))
        .and("spare", sol(vec![Reply::text("ok")]))
        .dispatch("retries: 0")
        .tiers("frontier: [sim/gpt-5.6-sol, spare/gpt-5.6-sol]")
        .file("policies/default.md", POLICY)
        .more("policies: policies")
        .start()
        .await;
    let mut talk = Talk::new(HARD);
    check(&world.chat(talk.body()).await, "spare/gpt-5.6-sol", "task");
    let keeps = "task; stays on the model that answered last, which costs no more here";
    check(&world.chat(talk.goes_on(HARD)).await, "spare/gpt-5.6-sol", keeps);
    check(&world.chat(Talk::new(HARD).body()).await, SOL, "task");
}

#[tokio::test]
async fn a_conversation_goes_back_from_a_dearer_fallback() {
    let of = |name, replies: Vec<Reply>| Provider::openai().model(script(name, replies));
    let world = Setup::of(of("gpt-5.6-luna", vec![Reply::status(503), Reply::text("ok")]))
        .and("spare", of("gpt-5.6-sol", vec![Reply::text("ok")]))
        .dispatch("retries: 0")
        .tiers("lightweight: [sim/gpt-5.6-luna, spare/gpt-5.6-sol]")
        .file("policies/default.md", POLICY)
        .more("policies: policies")
        .start()
        .await;
    let mut talk = Talk::new(LIGHT);
    check(&world.chat(talk.body()).await, "spare/gpt-5.6-sol", "task");
    let back = "task; back to the first model of the tier, which costs less here";
    check(&world.chat(talk.goes_on(LIGHT)).await, LUNA, back);
    check(&world.chat(talk.goes_on(LIGHT)).await, LUNA, "task");
}

#[tokio::test]
async fn an_answer_of_a_model_that_was_named_exactly_keeps_nobody() {
    let plain = "---\ndefault: reasoning\n---\n## Frontier\n- Novel failure diagnosis\n";
    let world = setup().models("gpt-*").file("policies/default.md", plain).start().await;
    let mut talk = Talk::new(&long());
    let exact = talk.body().replace("\"auto\"", "\"gpt-5.6-sol\"");
    check(&world.chat(exact).await, SOL, "exact-model");
    check(&world.chat(talk.goes_on(OTHER)).await, TERRA, "ambiguous");
}

#[tokio::test]
async fn a_row_has_the_targets_that_rest() {
    let ill = || Provider::openai().model(script("gpt-5.6-sol", [Reply::status(503)]));
    let world = Setup::of(ill())
        .and("spare", Provider::openai().model(script("gpt-5.6-sol", [Reply::text("ok")])))
        .dispatch("retries: 0, circuit: { failures: 1, cool_down: 15m }")
        .tiers("frontier: [sim/gpt-5.6-sol, spare/gpt-5.6-sol]")
        .start()
        .await;
    for _ in 0..2 {
        assert_eq!(world.chat(crate::routing::with("hi", json!({"model": "frontier"}))).await.status, 200);
    }
    let states = world.rows("select state from requests_v1 order by request_id");
    let resting = r#"{"resting":["sim/gpt-5.6-sol"]}"#;
    assert_eq!(states, [[Sql::Null], [Sql::Text(resting.to_owned())]]);
}

#[tokio::test]
async fn an_observed_conversation_would_go_where_an_enforced_one_goes() {
    let acting = setup().models("gpt-*").start().await;
    let watching = setup().models("gpt-*").more("mode: observe").start().await;
    for model in ["auto", "gpt-5.6-sol"] {
        let mut talk = Talk::new(OTHER);
        talk.0[0]["content"] = json!("a long catalogue, ".repeat(2_000));
        let mut body = talk.body();
        for step in [LIGHT, OTHER, HARD, OTHER, LIGHT] {
            let asked = body.replace("\"auto\"", &format!("\"{model}\""));
            let of = |got: &Got, what: &str| {
                ["tier", "model", "reason"].map(|name| got.header(&format!("x-farthing-{what}{name}")).to_owned())
            };
            let (acted, watched) = (acting.chat(asked.clone()).await, watching.chat(asked).await);
            assert_eq!(of(&watched, "would-"), of(&acted, ""), "{model} in front of {step}");
            body = talk.goes_on(step);
        }
    }
}

#[tokio::test]
async fn conversations_begin_where_such_ones_go_on_to_if_they_would_pay_for_a_long_prefix_twice() {
    let world = setup().start().await;
    let long = format!("{OTHER} {}", "and so on ".repeat(8_000));
    let mut talk = Talk::new(&long);
    check(&world.chat(talk.body()).await, TERRA, "ambiguous");
    check(&world.chat(talk.goes_on(HARD)).await, SOL, "task");
    let above =
        "ambiguous; reasoning would do, but most that begins there moves up, and would pay for its prefix twice";
    let other = Talk::new(&format!("Well: {long}")).body();
    check(&world.chat(other.clone()).await, SOL, above);
    let [state] = &world.rows("select state from requests_v1 where reason like '%moves up%'")[..] else {
        panic!("a row")
    };
    let expected = r#"{"rise":{"from":"reasoning","to":"frontier","ppm":666666}}"#;
    assert_eq!(state[..], [Sql::Text(expected.to_owned())]);
    // It stayed in its tier, and so does another: that is counted too.
    check(&world.chat(Talk::new(&format!("So: {long}")).body()).await, TERRA, "ambiguous");
    // A short prefix is paid for whenever it is read.
    check(&world.chat(Talk::new(OTHER).body()).await, TERRA, "ambiguous");
}

#[tokio::test]
async fn requests_that_extend_one_another_are_one_session_and_no_others() {
    let world = setup().start().await;
    let mut talk = Talk::new(HARD);
    let (first, second) = (talk.body(), talk.goes_on(OTHER));
    for body in [&first, &second, &first] {
        assert_eq!(world.chat(body.clone()).await.status, 200);
    }
    let other_team = [("x-farthing-team", "other")];
    assert_eq!(world.chat_as(talk.goes_on(OTHER), &other_team).await.status, 200);
    let other_pipeline = [("x-farthing-pipeline", "other")];
    assert_eq!(world.chat_as(talk.goes_on(OTHER), &other_pipeline).await.status, 200);
    let [a, b, c, d, e] = &sessions(&world)[..] else { panic!("five rows") };
    assert_ne!(a, e, "nor another pipeline's");
    assert_eq!(a, b, "it extends the first");
    assert_ne!(a, c, "the same beginning again is another conversation");
    assert_ne!(a, d, "another team's is never the same");
}

#[tokio::test]
async fn a_session_that_a_client_names_holds_whatever_it_says() {
    let world = setup().start().await;
    for name in ["x-farthing-run", "thread-id", "session-id", "x-session-affinity", "x-claude-code-session-id"] {
        for text in [HARD, OTHER] {
            assert_eq!(world.chat_as(Talk::new(text).body(), &[(name, "one")]).await.status, 200, "{name}");
        }
    }
    let sessions = sessions(&world);
    assert!(sessions.len() == 10 && sessions.iter().all(|session| *session == sessions[0]), "{sessions:?}");
}

#[tokio::test]
async fn a_rule_that_a_long_turn_matched_holds_until_the_user_speaks_again() {
    let world = setup().start().await;
    let mut talk = Talk::new(LIGHT);
    let reads = |talk: &mut Talk, text: &str| {
        let call = json!([{"id": "c", "type": "function", "function": {"name": "q", "arguments": "{}"}}]);
        talk.0.push(json!({"role": "assistant", "content": null, "tool_calls": call}));
        talk.0.push(json!({"role": "tool", "tool_call_id": "c", "content": text}));
        talk.body()
    };
    let rule = "rule 1 (destructive SQL is high stakes)";
    check(&world.chat(reads(&mut talk, "drop table orders")).await, SOL, rule);
    check(&world.chat(reads(&mut talk, &"all is well ".repeat(20_000))).await, SOL, rule);
    let state = world.rows("select state like '%\"ruled\":1%' from requests_v1 order by request_id");
    assert_eq!(state, [[Sql::Null], [Sql::Integer(1)]]);
    check(&world.chat(talk.goes_on(LIGHT)).await, LUNA, "task");
}

#[tokio::test]
async fn a_cache_key_names_no_conversation() {
    let world = setup().start().await;
    for text in [HARD, OTHER] {
        let mut body: Value = serde_json::from_str(&Talk::new(text).body()).expect("JSON");
        body["prompt_cache_key"] = json!("support-bot");
        assert_eq!(world.chat(body.to_string()).await.status, 200);
    }
    let [a, b] = &sessions(&world)[..] else { panic!("two rows") };
    assert_ne!(a, b);
}

#[tokio::test]
async fn a_conversation_keeps_the_policy_version_that_it_began_with() {
    let world = setup().start().await;
    let mut talk = Talk::new(LIGHT);
    let before = world.chat(talk.body()).await;
    check(&before, LUNA, "task");
    let turned = "## Frontier\n- Log parsing {id: logs}\n  - \"Sort these log lines by error class\"\n";
    let file = world.folder.path().join("policies/default.md");
    std::fs::write(file, turned).expect("a file");
    world.logged("policies_reloaded", 1).await;
    let after = world.chat(talk.goes_on(LIGHT)).await;
    check(&after, LUNA, "task");
    assert_eq!(after.header("x-farthing-policy"), before.header("x-farthing-policy"));
    check(&world.chat(Talk::new(LIGHT).body()).await, SOL, "task");
}
