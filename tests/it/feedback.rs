//! What users say of answers and runs: kept for their own team's only, once a key, and across a crash.

use http::Method;
use serde_json::{Value, json};

use crate::support::{ASK, Got, Setup, World, luna, stop, whole};
use farthing::simulator::Reply;

/// Keys `alpha` and `beta` of two teams, and `narrow` of the first one's project `orders`.
const KEYS: &str = "teams: { alpha: {}, beta: {} }
keys:
  - { sha256: 8ed3f6ad685b959ead7022518e1af76cd816f8e8ec7ccdda1ed4018e8f2223f8, name: alpha, team: alpha }
  - { sha256: f44e64e75f3948e9f73f8dfa94721c4ce8cbb4f265c4790c702b2d41cfbf2753, name: beta, team: beta }
  - { sha256: 5eda958e9ddee7721fb71e7a7618c64dbf20cc77b06ba4e4d2269d6c3e50655b, name: narrow, team: alpha, may: { projects: [orders] } }
";

async fn say(world: &World, key: &str, body: Value) -> Got {
    let bearer = format!("Bearer {key}");
    let headers: &[(&str, &str)] = if key.is_empty() { &[] } else { &[("authorization", &bearer)] };
    whole(world.send(Method::POST, "/v1/feedback", headers, body.to_string().into()).await).await
}

/// A request of that key and run; gives its id.
async fn ask(world: &World, key: &str, run: &str) -> String {
    let bearer = format!("Bearer {key}");
    let got = world.chat_as(ASK, &[("authorization", &bearer), ("x-farthing-run", run)]).await;
    assert_eq!(got.status, 200);
    got.header("x-request-id").to_owned()
}

#[tokio::test]
async fn feedback_is_kept_for_ones_own_team_and_what_is_foreign_is_as_unknown() {
    let world = Setup::of(luna([Reply::text("hello")])).more(KEYS).start().await;
    let id = ask(&world, "alpha", "nightly").await;
    // At once: the views need not show the request yet.
    let body = json!({ "request_id": id, "outcome": "success", "hours_saved": 0.5, "note": "canary-note" });
    let kept = say(&world, "alpha", body.clone()).await;
    assert_eq!((kept.status, &kept.json()["request_id"]), (200, &json!(id)), "{}", kept.text());
    let foreign = say(&world, "beta", body).await;
    let unknown =
        say(&world, "beta", json!({ "request_id": farthing::ids::RequestId::new().to_string(), "outcome": "success" }));
    let (unknown, no_id) =
        (unknown.await, say(&world, "beta", json!({ "request_id": "x", "outcome": "success" })).await);
    assert_eq!((foreign.status, foreign.code().as_str()), (404, "not_found"));
    assert_eq!((foreign.text(), foreign.text()), (unknown.text(), no_id.text()));
    for (key, expected) in [("alpha", 200), ("beta", 404), ("nobody", 401)] {
        let got = say(&world, key, json!({ "run": "nightly", "outcome": "partial", "resolved_incidents": 1 })).await;
        assert_eq!(got.status, expected, "{key}: {}", got.text());
    }
    let wrong = say(&world, "alpha", json!({ "run": "nightly", "outcome": "fine" })).await;
    assert_eq!(
        (wrong.status, wrong.code().as_str(), &wrong.json()["error"]["param"]),
        (400, "invalid_body", &json!("outcome"))
    );
    let large =
        say(&world, "alpha", json!({ "run": "nightly", "outcome": "success", "note": "x".repeat(17_000) })).await;
    assert_eq!(large.status, 413);
    let rows = world.rows("select request_id is not null, run, team, key, outcome, resolved_incidents, saved_milli_hours, note from feedback_v1 order by 1");
    let text = format!("{rows:?}");
    assert_eq!(rows.len(), 2, "{text}");
    assert!(
        text.contains("Text(\"nightly\")") && text.contains("Integer(500)") && text.contains("canary-note"),
        "{text}"
    );
    assert!(!world.log_text().contains("canary-note"));
    assert_eq!(world.metric("farthing_feedback_total", "outcome=\"success\"").await, 1.0);
    stop(world.gateway).await;
}

#[tokio::test]
async fn a_key_has_one_voice_on_a_subject_and_speaks_only_of_what_it_is_granted() {
    let world = Setup::of(luna([Reply::text("hello")])).more(KEYS).start().await;
    let id = ask(&world, "alpha", "nightly").await;
    for outcome in ["success", "failure"] {
        assert_eq!(say(&world, "alpha", json!({ "request_id": id, "outcome": outcome })).await.status, 200);
    }
    assert_eq!(
        say(&world, "narrow", json!({ "request_id": id, "outcome": "success" })).await.status,
        200,
        "it has no project"
    );
    let headers = [("authorization", "Bearer alpha"), ("x-farthing-project", "billing"), ("x-farthing-run", "bills")];
    let other = world.chat_as(ASK, &headers).await.header("x-request-id").to_owned();
    for subject in
        [json!({ "request_id": other, "outcome": "success" }), json!({ "run": "bills", "outcome": "success" })]
    {
        assert_eq!(say(&world, "narrow", subject.clone()).await.status, 404, "{subject}");
        assert_eq!(say(&world, "alpha", subject).await.status, 200);
    }
    let rows = world.rows("select key || ' ' || outcome from feedback_v1 where request_id = (select min(request_id) from requests_v1) order by 1");
    assert_eq!(format!("{rows:?}"), r#"[[Text("alpha failure")], [Text("narrow success")]]"#);
    stop(world.gateway).await;
}

#[tokio::test]
async fn without_keys_a_name_that_runs_of_several_teams_have_wants_the_team() {
    let world = Setup::of(luna([Reply::text("hello")])).start().await;
    for team in ["one", "two"] {
        world.chat_as(ASK, &[("x-farthing-team", team), ("x-farthing-run", "nightly")]).await;
    }
    let body = json!({ "run": "nightly", "outcome": "success" });
    assert_eq!(say(&world, "", body.clone()).await.status, 400);
    let headers = [("x-farthing-team", "two")];
    let got = whole(world.send(Method::POST, "/v1/feedback", &headers, body.to_string().into()).await).await;
    assert_eq!(got.status, 200);
    assert_eq!(format!("{:?}", world.rows("select team from feedback_v1")), r#"[[Text("two")]]"#);
    let wrong_method = world.get("/v1/feedback", &[]).await;
    assert_eq!((wrong_method.status, wrong_method.header("allow")), (405, "POST"));
    stop(world.gateway).await;
}

#[tokio::test]
async fn a_key_that_speaks_of_answers_too_fast_is_told_when_to_go_on_and_others_are_heard() {
    let world = Setup::of(luna([Reply::text("hello")])).more(KEYS).start().await;
    let id = ask(&world, "beta", "nightly").await;
    let mut got = say(&world, "alpha", json!({})).await;
    for _ in 0..2_000 {
        if got.status == 429 {
            break;
        }
        assert_eq!(got.status, 400);
        got = say(&world, "alpha", json!({})).await;
    }
    assert_eq!(
        (got.status, got.code().as_str(), got.header("retry-after")),
        (429, "rate_limited", "1"),
        "{}",
        got.text()
    );
    assert_eq!(say(&world, "beta", json!({ "request_id": id, "outcome": "success" })).await.status, 200);
    stop(world.gateway).await;
}
