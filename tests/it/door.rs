//! The agents' door: who may come in, what is served where, and in which words refusals are told.

use std::collections::{BTreeMap, BTreeSet};

use farthing::simulator::Reply;
use http::Method;
use hyper::body::Bytes;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::support::{ASK, Got, Setup, World, luna, raw, whole};

/// A row of `keys` for this secret.
fn key(secret: &str, more: &str) -> String {
    let digits: String = Sha256::digest(secret).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("  - {{ sha256: {digits}, name: {secret}-name, team: data{more} }}\n")
}

/// A gateway with these keys.
async fn keyed(keys: &[(&str, &str)]) -> World {
    let rows: String = keys.iter().map(|(secret, more)| key(secret, more)).collect();
    World::new(luna([Reply::text("ok")]), &format!("keys:\n{rows}")).await
}

#[track_caller]
fn check_refusal(got: &Got, status: u16, code: &str) {
    assert_eq!((got.status, &*got.code()), (status, code), "{}", got.text());
    assert_eq!(got.header("content-type"), "application/json");
    assert!(!got.header("x-request-id").is_empty());
    for member in ["message", "type", "param", "code"] {
        assert!(got.json()["error"].get(member).is_some(), "`{member}` in {}", got.text());
    }
}

#[tokio::test]
async fn a_key_opens_the_door_in_either_header() {
    let world = keyed(&[("right", "")]).await;
    for headers in [
        &[("authorization", "Bearer right")][..],
        &[("authorization", "bearer  right ")],
        &[("x-api-key", "right")],
        &[("authorization", "Basic abc"), ("x-api-key", "right")],
    ] {
        assert_eq!(world.chat_as(ASK, headers).await.status, 200, "{headers:?}");
    }
    for headers in [
        &[][..],
        &[("authorization", "Bearer wrong")],
        &[("authorization", "right")],
        &[("authorization", "Bearer ")],
        &[("x-api-key", "wrong")],
        &[("authorization", "Bearer wrong"), ("x-api-key", "right")],
    ] {
        let got = world.chat_as(ASK, headers).await;
        check_refusal(&got, 401, "invalid_api_key");
        assert_eq!(got.json()["error"]["type"], "authentication_error");
        assert!(!got.text().contains("wrong"), "{}", got.text());
    }
    check_refusal(&world.get("/v1/models", &[]).await, 401, "invalid_api_key");
    check_refusal(&world.get("/nowhere", &[]).await, 401, "invalid_api_key");
    assert_eq!(world.provider.arrivals(), 4);
    assert_eq!(world.metric("farthing_errors_total", "caller_invalid_api_key").await, 8.0);
}

#[tokio::test]
async fn without_keys_only_this_machine_is_heard() {
    let world = Setup::of(luna([Reply::text("ok")])).server("hosts: [gw.internal]").start().await;
    for headers in [
        &[("host", "localhost:4100")][..],
        &[("host", "[::1]")],
        &[("host", "GW.internal")],
        &[("origin", "http://localhost:3000")],
        &[("authorization", "Bearer anything at all")],
    ] {
        assert_eq!(world.chat_as(ASK, headers).await.status, 200, "{headers:?}");
    }
    for headers in [
        &[("host", "evil.example")][..],
        &[("host", "127.0.0.1.evil.example")],
        &[("origin", "https://evil.example")],
        &[("origin", "null")],
    ] {
        check_refusal(&world.chat_as(ASK, headers).await, 403, "not_granted");
        check_refusal(&world.get("/v1/models", headers).await, 403, "not_granted");
    }
    let head = "POST /v1/chat/completions HTTP/1.1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let got = raw(world.gateway.listen, [head]).await;
    assert!(got.starts_with("HTTP/1.1 403"), "no host at all: {got}");
}

#[tokio::test]
async fn other_paths_and_methods_are_told_apart() {
    let world = World::new(luna([Reply::text("ok")]), "").await;
    let ask = |method: Method, path: &'static str| {
        let response = world.send(method, path, &[], Bytes::new());
        async { whole(response.await).await }
    };
    for path in ["/", "/v1", "/v1/chat", "/v1/chat/completions/", "/v2/chat/completions", "/metrics", "/ui"] {
        check_refusal(&ask(Method::GET, path).await, 404, "not_found");
    }
    for (method, path) in [
        (Method::GET, "/v1/chat/completions"),
        (Method::DELETE, "/v1/chat/completions"),
        (Method::POST, "/v1/models"),
        (Method::PUT, "/healthz"),
    ] {
        check_refusal(&ask(method, path).await, 405, "method_not_allowed");
    }
    let preflight = ask(Method::OPTIONS, "/v1/chat/completions").await;
    assert_eq!((preflight.status, preflight.header("access-control-allow-origin")), (405, ""));
}

#[tokio::test]
async fn whoever_speaks_anthropic_s_protocol_is_told_errors_in_it() {
    let world = keyed(&[("right", "")]).await;
    let version = ("anthropic-version", "2023-06-01");
    for (path, key, status, kind, code) in [
        ("/v1/complete", "right", 404, "not_found_error", "not_found"),
        ("/v1/messages/batches", "right", 404, "not_found_error", "not_found"),
        ("/v1/messages", "wrong", 401, "authentication_error", "invalid_api_key"),
        ("/v1/models", "right", 405, "invalid_request_error", "method_not_allowed"),
    ] {
        let got = world.send(Method::POST, path, &[("x-api-key", key), version], Bytes::new()).await;
        let got = whole(got).await;
        assert_eq!(got.status, status, "{path}: {}", got.text());
        let id = got.header("x-request-id");
        assert!(!id.is_empty() && got.header("request-id") == id, "{:?}", got.headers);
        let (told, error) = (got.json(), &got.json()["error"]);
        assert_eq!((&told["type"], &told["request_id"]), (&json!("error"), &json!(id)));
        assert_eq!((&error["type"], &error["details"]["error_code"]), (&json!(kind), &json!(code)), "{path}");
    }
    let got = world.chat_as(ASK, &[("x-api-key", "wrong"), version]).await;
    check_refusal(&got, 401, "invalid_api_key");
    assert_eq!(got.header("request-id"), "", "a door of OpenAI's speaks as OpenAI does, whatever else a client says");
}

#[tokio::test]
async fn health_is_told_to_anyone_and_without_a_body_to_head() {
    let world = keyed(&[("right", "")]).await;
    let got = world.get("/healthz", &[("host", "evil.example")]).await;
    assert_eq!((got.status, got.text()), (200, "ok\n"));
    assert_eq!(world.get("/readyz", &[]).await.text(), "ready\n");
    let head = whole(world.send(Method::HEAD, "/healthz", &[], Bytes::new()).await).await;
    assert_eq!((head.status, head.header("content-length"), head.text()), (200, "3", ""));
    for path in ["/healthz", "/readyz"] {
        assert_eq!(world.admin(path, &[]).await.status, 200);
    }
}

#[tokio::test]
async fn metrics_are_open_on_this_machine_and_nowhere_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("admin-key");
    std::fs::write(&file, "open-sesame").expect("a file");
    let world =
        Setup::of(luna([Reply::text("ok")])).server(&format!("admin_key: file:{}", file.display())).start().await;
    assert_eq!(world.admin("/metrics", &[]).await.status, 200);
    // A page that rebound its own name has that name as host.
    assert_eq!(world.admin("/metrics", &[("host", "evil.example")]).await.status, 401);
    let with = |key: &'static str| [("host", "evil.example"), ("authorization", key)];
    assert_eq!(world.admin("/metrics", &with("Bearer open-sesame")).await.status, 200);
    assert_eq!(world.admin("/metrics", &with("Bearer shut")).await.status, 401);
    assert_eq!(world.admin("/admin/api/keys", &[]).await.status, 401);
    for path in ["/", "/ui", "/admin", "/v1/models", "/v1/chat/completions"] {
        assert_eq!(world.admin(path, &[]).await.status, 404, "{path}");
    }
}

/// The names in `/v1/models`.
async fn listed(world: &World, secret: &str) -> Vec<String> {
    let got = world.get("/v1/models", &[("x-api-key", secret)]).await;
    let list = got.json();
    assert_eq!((got.status, &list["object"]), (200, &json!("list")));
    let names = list["data"].as_array().expect("a list").iter();
    names.map(|model| model["id"].as_str().expect("a name").to_owned()).collect()
}

#[tokio::test]
async fn models_are_listed_as_far_as_they_are_granted() {
    let world = keyed(&[
        ("all", ""),
        ("light", ", may: { tiers: [lightweight] }"),
        ("named", ", may: { models: [gpt-5.6-luna] }"),
        ("row", ", may: { models: [\"sim/gpt-5.6-terra\"] }"),
    ])
    .await;
    let all = listed(&world, "all").await;
    for name in ["auto", "frontier", "reasoning", "lightweight", "gpt-5.6-sol", "gpt-5.6-luna", "gpt-5.4"] {
        assert!(all.iter().any(|listed| listed == name), "`{name}` in {all:?}");
    }
    assert_eq!(listed(&world, "light").await, ["gpt-5.6-luna", "lightweight"]);
    // What is listed may be asked for by its name, and what may not is not listed.
    for (secret, granted) in [("named", "gpt-5.6-luna"), ("row", "gpt-5.6-terra")] {
        let names = listed(&world, secret).await;
        let models: Vec<_> = names.iter().filter(|name| name.starts_with("gpt-")).collect();
        assert_eq!(models, [granted], "for the key `{secret}`");
    }
    for (secret, name, status) in
        [("named", "gpt-5.6-sol", 403), ("light", "gpt-5.6-sol", 403), ("all", "gpt-5.6-luna", 200)]
    {
        let got = world.chat_as(ASK.replace("gpt-5.6-luna", name), &[("x-api-key", secret)]).await;
        assert_eq!(got.status, status, "{name} with the key `{secret}`: {}", got.text());
        if status == 403 {
            check_refusal(&got, 403, "not_granted");
            assert_eq!(got.json()["error"]["type"], "permission_error");
        }
    }
    // What is left to the gateway is refused where the work is for a tier that is not granted.
    let (hard, light) = (
        "None of our runbooks cover this exception. What could have caused it?",
        "List all e-mail addresses in this text",
    );
    for (work, status) in [(hard, 403), ("hi", 403), (light, 200)] {
        let body = json!({ "model": "auto", "messages": [{ "role": "user", "content": work }] }).to_string();
        assert_eq!(world.chat_as(body, &[("x-api-key", "light")]).await.status, status, "{work}");
    }
}

#[tokio::test]
async fn one_model_is_described_by_its_name_slashes_included() {
    let setup = Setup::of(luna([Reply::text("ok")])).tiers("frontier: [sim/meta/llama-4]");
    let world = setup.start().await;
    for path in ["/v1/models/meta/llama-4", "/v1/models/meta%2Fllama-4"] {
        let model = world.get(path, &[]).await;
        assert_eq!((model.status, &model.json()["id"]), (200, &json!("meta/llama-4")), "{path}");
        assert_eq!(model.json()["owned_by"], "sim");
    }
    assert_eq!(world.get("/v1/models/auto", &[]).await.json()["object"], "model");
    let got = world.get("/v1/models/nobody/knows", &[]).await;
    check_refusal(&got, 404, "model_not_found");
    assert_eq!(got.json()["error"]["param"], "model");
}

/// The one row of `requests_v1` as text, nulls as `-`.
fn attribution(world: &World) -> String {
    let columns = "team, key, project, pipeline, user, run, task, prompt";
    let row = world.rows(&format!("select {columns} from requests_v1 order by request_id desc limit 1")).remove(0);
    let text = |value: &rusqlite::types::Value| match value {
        rusqlite::types::Value::Text(text) => text.clone(),
        _ => "-".to_owned(),
    };
    row.iter().map(text).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn attribution_comes_from_headers_metadata_and_the_key() {
    let world = World::new(luna([Reply::text("ok")]), "").await;
    let metadata = r#""metadata":{"team":"data","project":"orders","pipeline":"daily","user":"ann","run":"r1","task":"logs","prompt":"triage"},"#;
    let body = ASK.replacen('{', &format!("{{{metadata}"), 1);
    world.chat(body.clone()).await;
    assert_eq!(attribution(&world), "data  orders daily ann r1 logs triage");
    let headers = [
        ("x-farthing-team", "t2"),
        ("x-farthing-project", "p2"),
        ("x-farthing-run", "r2"),
        ("x-farthing-prompt", "Not a name"),
    ];
    world.chat_as(body, &headers).await;
    let row = attribution(&world);
    assert!(row.starts_with("t2  p2 daily ann r2 logs hash-"), "{row}");
    world.chat(ASK).await;
    assert_eq!(attribution(&world), "default  - - - - - -");
}

#[tokio::test]
async fn a_header_beats_metadata_that_beats_other_gateways_headers_and_those_the_key() {
    let grants = ", project: key, pipeline: key, may: { teams: [header, body, portkey] }";
    let world = keyed(&[("right", grants)]).await;
    let names = ["team", "project", "pipeline", "user", "run", "task", "prompt"];
    let all = |value: &str| json!(names.map(|name| (name, value)).into_iter().collect::<BTreeMap<_, _>>());
    let with_metadata = ASK.replacen('{', &format!("{{\"metadata\":{},", all("body")), 1);
    let portkey = all("portkey").to_string();
    let farthing = names.map(|name| format!("x-farthing-{name}"));
    let mut headers = vec![("x-api-key", "right")];
    world.chat_as(ASK, &headers).await;
    assert_eq!(attribution(&world), "data right-name key key - - - -");
    headers.push(("x-portkey-metadata", &portkey));
    world.chat_as(ASK, &headers).await;
    assert_eq!(attribution(&world), "portkey right-name portkey portkey portkey portkey portkey portkey");
    world.chat_as(with_metadata.clone(), &headers).await;
    assert_eq!(attribution(&world), "body right-name body body body body body body");
    headers.extend(farthing.iter().map(|name| (&**name, "header")));
    world.chat_as(with_metadata, &headers).await;
    assert_eq!(attribution(&world), "header right-name header header header header header header");
}

#[tokio::test]
async fn a_claim_beyond_the_grants_is_ignored_and_named() {
    let grants = ", project: orders, may: { teams: [ops], projects: [\"orders*\"], tiers: [lightweight, reasoning] }";
    let world = keyed(&[("right", grants)]).await;
    let own = [("x-api-key", "right"), ("x-farthing-team", "ops"), ("x-farthing-project", "orders-eu")];
    let got = world.chat_as(ASK, &own).await;
    assert_eq!((got.status, got.header("x-farthing-reason")), (200, "exact-model"));
    assert_eq!(attribution(&world), "ops right-name orders-eu - - - - -");
    let beyond = [
        ("x-api-key", "right"),
        ("x-farthing-team", "finance"),
        ("x-farthing-project", "secret"),
        ("x-farthing-tier", "frontier"),
    ];
    let got = world.chat_as(ASK, &beyond).await;
    assert_eq!((got.status, got.header("x-farthing-reason")), (200, "exact-model; not granted: project, team, tier"));
    assert_eq!(attribution(&world), "data right-name orders - - - - -");
    assert_eq!(world.metric("farthing_ignored_claims_total", "").await, 3.0);
}

#[tokio::test]
async fn a_tier_in_the_header_decides_where_the_model_is_auto() {
    let world = World::new(luna([Reply::text("ok")]), "").await;
    let auto = ASK.replace("gpt-5.6-luna", "auto");
    let got = world.chat_as(auto, &[("x-farthing-tier", "lightweight")]).await;
    assert_eq!((got.status, got.header("x-farthing-model")), (200, "sim/gpt-5.6-luna"));
    assert_eq!((got.header("x-farthing-tier"), got.header("x-farthing-reason")), ("lightweight", "pinned-tier"));
}

#[tokio::test]
async fn a_team_may_only_use_its_own_providers() {
    let more = "teams: { data: { providers: [spare] } }\n";
    let setup = Setup::of(luna([Reply::text("sim")])).and("spare", luna([Reply::text("spare")]));
    let world = setup.more(&format!("{more}keys:\n{}", key("right", ""))).start().await;
    let got = world.chat_as(ASK, &[("x-api-key", "right")]).await;
    assert_eq!((got.status, got.header("x-farthing-model")), (200, "spare/gpt-5.6-luna"));
    let got = world.chat_as(ASK.replace("gpt-5.6-luna", "frontier"), &[("x-api-key", "right")]).await;
    check_refusal(&got, 403, "not_granted");
    assert_eq!(world.provider.arrivals(), 0);
    // Nor is it told of what only others serve, nor of anything twice.
    let got = world.get("/v1/models", &[("x-api-key", "right")]).await.json();
    let owners: BTreeSet<_> = got["data"].as_array().expect("a list").iter().map(|m| m["owned_by"].as_str()).collect();
    assert_eq!(owners, BTreeSet::from([Some("spare")]));
    let everything = Setup::of(luna([])).and("spare", luna([])).start().await;
    let names = listed(&everything, "").await;
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "a name stands once: {names:?}");
}

#[tokio::test]
async fn the_log_says_what_a_refused_request_asked_for() {
    let world = World::new(luna([Reply::text("ok")]), "").await;
    for (number, (path, shown)) in
        [("/v1/v1/chat/completions?key=sk-secret", "/v1/v1/chat/completions"), ("/v1/hunter2/models", "/v1/*/models")]
            .into_iter()
            .enumerate()
    {
        world.send(Method::POST, path, &[], Bytes::new()).await;
        let event = world.logged("request", number + 1).await;
        assert_eq!((&event["method"], &event["path"]), (&json!("POST"), &json!(shown)));
    }
    assert!(!world.log_text().contains("secret") && !world.log_text().contains("hunter2"));
}
