//! Keys that are made, rotated and revoked while the gateway serves: through the admin API, and by the binary.

use std::fs;
use std::path::Path;
use std::process::Output;
use std::time::Duration;

use farthing::keys::{Store, Who};
use farthing::money::NanoUsd;
use farthing::simulator::{Provider, Reply};
use farthing::telemetry::log::now_ms;
use http::{Method, Request};
use http_body_util::Full;
use hyper::body::Bytes;
use serde_json::{Value, json};

use crate::process::{Served, run};
use crate::support::{ASK, ASK_STREAM, Events, Got, PATIENCE, Setup, World, ask, luna, whole};

const ADMIN_KEY: &str = "CanaryOfOperators51c2";

/// A gateway with an admin key.
async fn world(provider: Provider, more: &str) -> World {
    let setup = Setup::of(provider).file("admin", ADMIN_KEY);
    setup.server("drain_timeout: 5s, admin_key: \"file:admin\"").more(more).start().await
}

async fn ok_world(more: &str) -> World {
    world(luna([Reply::text("ok")]), more).await
}

impl World {
    async fn api(&self, method: Method, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Got {
        let uri = format!("http://{}/admin/api/{path}", self.gateway.admin_listen);
        let mut request = Request::builder().method(method).uri(uri);
        if !headers.iter().any(|(name, _)| *name == "authorization") {
            request = request.header("authorization", format!("Bearer {ADMIN_KEY}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into())).expect("a valid request");
        whole(self.client.request(request).await.expect("the operators' door answers")).await
    }

    async fn make(&self, wanted: Value) -> String {
        let got = self.api(Method::POST, "keys", &[], wanted.to_string()).await;
        assert_eq!(got.status, 201, "{}", got.text());
        secret(&got)
    }

    async fn asks(&self, secret: &str) -> u16 {
        self.chat_as(ASK, &[("authorization", &format!("Bearer {secret}"))]).await.status
    }

    /// Asks again and again until the status is another one; what a test expects within moments.
    async fn asks_until(&self, secret: &str, status: u16) {
        let asking = async { while self.asks(secret).await != status {} };
        tokio::time::timeout(PATIENCE, asking).await.unwrap_or_else(|_| panic!("never {status}"));
    }

    fn config(&self) -> String {
        self.folder.path().join("farthing.yaml").display().to_string()
    }

    fn store(&self) -> Store {
        Store::open_or_make(&self.folder.path().join("farthing.keys.db")).expect("a key store")
    }

    /// Why the log says that the `number`-th request was refused.
    async fn refused_for(&self, number: usize) -> String {
        let mut log = self.log.clone();
        let refused = |lines: &Vec<Value>| {
            lines.iter().filter(|line| line["status"] == "invalid_api_key").nth(number - 1).cloned()
        };
        let lines = tokio::time::timeout(PATIENCE, log.wait_for(|lines| refused(lines).is_some())).await;
        let line = refused(&lines.expect("a refusal in time").expect("an open log")).expect("it was there");
        line["detail"].as_str().unwrap_or_default().to_owned()
    }
}

fn secret(got: &Got) -> String {
    got.json()["secret"].as_str().expect("a secret").to_owned()
}

#[tokio::test]
async fn a_key_opens_the_door_at_once_and_closes_it_for_everybody_else() {
    let world = ok_world("").await;
    assert_eq!(world.chat(ASK).await.status, 200);
    let secret = world.make(json!({ "name": "ci", "team": "data", "project": "orders" })).await;
    assert_eq!(world.asks(&secret).await, 200);
    let without = world.chat(ASK).await;
    assert_eq!((without.status, &*without.code()), (401, "invalid_api_key"));
    assert_eq!(world.asks("fk-of-nobody").await, 401);
    assert_eq!(world.refused_for(2).await, "unknown");
    let rows = world.rows("select team, key, project from requests_v1 where key <> ''");
    let text = |text: &str| rusqlite::types::Value::Text(text.to_owned());
    assert_eq!(rows, [[text("data"), text("ci"), text("orders")]]);
}

#[tokio::test]
async fn a_revoked_key_is_out_at_once_and_its_stream_goes_on() {
    let slow = Reply::tokens(20).gap(Duration::from_millis(20));
    let world = world(luna([slow]), "").await;
    let secret = world.make(json!({ "name": "ci", "team": "data" })).await;
    let response = world.post(ASK_STREAM, &[("x-api-key", &secret)]).await;
    let mut events = Events::of(response);
    assert!(events.next().await.is_some());
    let revoked = world.api(Method::DELETE, "keys/ci", &[], "").await;
    assert_eq!((revoked.status, &revoked.json()["key"]["state"]), (200, &json!("revoked")));
    let refused = world.chat_as(ASK, &[("x-api-key", &secret)]).await;
    assert_eq!((refused.status, &*refused.code()), (401, "invalid_api_key"));
    assert!(!refused.text().contains("revoked"), "{}", refused.text());
    assert_eq!(world.refused_for(1).await, "revoked: `ci`");
    let mut last = String::new();
    while let Some(event) = events.next().await {
        last = event;
    }
    assert_eq!(last, "data: [DONE]\n\n");
    // The last key is gone, and the door stays closed.
    assert_eq!(world.chat(ASK).await.status, 401);
}

#[tokio::test]
async fn a_rotated_key_has_both_secrets_for_the_overlap() {
    let world = ok_world("").await;
    let old = world.make(json!({ "name": "ci", "team": "data" })).await;
    let rotated = world.api(Method::POST, "keys/ci/rotate", &[], r#"{"overlap":"24h"}"#).await;
    assert_eq!(rotated.status, 200);
    assert_eq!(rotated.json()["key"]["old_secrets"][0]["prefix"].as_str(), Some(&*format!("{}…", &old[..7])));
    let new = secret(&rotated);
    assert_eq!((world.asks(&old).await, world.asks(&new).await), (200, 200));
    let newest = secret(&world.api(Method::POST, "keys/ci/rotate", &[], "").await);
    assert_eq!((world.asks(&old).await, world.asks(&new).await, world.asks(&newest).await), (401, 401, 200));
    assert_eq!(world.refused_for(1).await, "expired: `ci`");
    let overlap = world.api(Method::POST, "keys/ci/rotate", &[], r#"{"overlap":"soon"}"#).await;
    assert_eq!((overlap.status, &*overlap.code()), (400, "invalid_body"));
}

#[tokio::test]
async fn a_key_s_terms_change_at_once_and_the_audit_has_them_before_and_after() {
    let world = ok_world("").await;
    let secret = world.make(json!({ "name": "ci", "team": "data", "expires": "90d",
        "may": { "tiers": ["frontier"], "projects": ["a*"] }, "limits": { "output_tokens": 4000 } }));
    let secret = secret.await;
    let patch = |body: Value| world.api(Method::PATCH, "keys/ci", &[], body.to_string());
    assert_eq!(world.asks(&secret).await, 403);
    let got =
        patch(json!({ "may": { "tiers": ["lightweight"] }, "limits": { "concurrency": 4 }, "expires": null })).await;
    assert_eq!(got.status, 200, "{}", got.text());
    let key = &got.json()["key"];
    assert_eq!(key["may"], json!({ "tiers": ["lightweight"], "projects": ["a*"] }));
    assert_eq!(
        (&key["limits"], &key["expires_at"]),
        (&json!({ "output_tokens": 4000, "concurrency": 4 }), &json!(null))
    );
    assert_eq!(world.asks(&secret).await, 200, "the same secret, at once");
    let audit = world.api(Method::GET, "audit?key=ci", &[], "").await.json();
    let row = &audit["audit"][1];
    assert_eq!((&row["action"], &row["before"]["may"]["tiers"][0]), (&json!("update"), &json!("frontier")));
    assert_eq!(row["after"], *key);
    // What it has already is no change.
    patch(json!({ "limits": { "concurrency": 4 } })).await;
    assert_eq!(world.api(Method::GET, "audit?key=ci", &[], "").await.json()["audit"].as_array().map(Vec::len), Some(2));
    for (body, message) in [
        (json!({}), "nothing is to be changed"),
        (json!([]), "no JSON object"),
        (json!({ "team": "ops" }), "`team` of a key does not change"),
        (json!({ "name": "other" }), "`name` of a key does not change"),
        (json!({ "budgets": {} }), "unknown field `budgets`"),
        (json!({ "expires": "yesterday" }), "`expires` is `yesterday`"),
        (json!({ "limits": { "concurrency": 0 } }), "`concurrency` is 0"),
        (json!({ "budget": { "usd": "5" } }), "every"),
    ] {
        let refused = patch(body.clone()).await;
        assert_eq!((refused.status, &*refused.code()), (400, "invalid_body"), "{body}");
        assert!(refused.text().contains(message), "{body}: {}", refused.text());
    }
    world.api(Method::DELETE, "keys/ci", &[], "").await;
    assert_eq!(patch(json!({ "expires": "1d" })).await.status, 409);
    assert_eq!(world.api(Method::PATCH, "keys/nobody", &[], r#"{"mode":"observe"}"#).await.status, 404);
}

#[tokio::test]
async fn a_budget_that_a_key_is_given_counts_what_it_has_spent_already_however_often() {
    let world = world(luna([Reply::tokens(20)]), "").await;
    let secret = world.make(json!({ "name": "ci", "team": "data" })).await;
    let body = ask(json!({ "max_completion_tokens": 20, "service_tier": "default" }));
    let key = [("x-api-key", &*secret)];
    let asks = || async { world.chat_as(body.clone(), &key).await.status };
    let patch =
        async |body: Value| assert_eq!(world.api(Method::PATCH, "keys/ci", &[], body.to_string()).await.status, 200);
    assert_eq!(asks().await, 200);
    let spent = world.requests()[0].cost.expect("a cost");
    let twice = NanoUsd(2 * spent).to_string();
    for every in ["day", "month", "day"] {
        // Without a budget nothing is booked for it, and the ledger has it all the same.
        patch(json!({ "budget": null })).await;
        assert_eq!(asks().await, 200);
        patch(json!({ "budget": { "usd": twice, "every": every } })).await;
        assert_eq!(asks().await, 429, "{every}");
    }
    patch(json!({ "budget": { "usd": "1" } })).await;
    assert_eq!(asks().await, 200);
}

#[tokio::test]
async fn a_key_that_is_given_a_budget_keeps_its_terms_while_the_ledger_cannot_tell() {
    let world = ok_world("").await;
    let secret = world.make(json!({ "name": "ci", "team": "data" })).await;
    let ledger = rusqlite::Connection::open(world.folder.path().join("farthing.db")).expect("a ledger");
    ledger.execute_batch("CREATE VIEW spent AS SELECT 1").expect("a view");
    let budget = json!({ "budget": { "usd": "0.000000001", "every": "day" } });
    assert_eq!(world.api(Method::PATCH, "keys/ci", &[], budget.to_string()).await.status, 200);
    assert_eq!(world.asks(&secret).await, 200);
    ledger.execute_batch("DROP VIEW spent").expect("no view");
    world.asks_until(&secret, 429).await;
}

#[tokio::test]
async fn grants_and_limits_of_a_stored_key_hold_and_its_end_is_its_end() {
    let world = ok_world("").await;
    let wanted = json!({ "name": "small", "team": "data", "may": { "tiers": ["frontier"] } });
    let secret = world.make(wanted).await;
    let refused = world.chat_as(ASK, &[("x-api-key", &secret)]).await;
    assert_eq!((refused.status, &*refused.code()), (403, "not_granted"));
    let poor = world.make(json!({ "name": "poor", "team": "data", "budget": { "usd": "0", "every": "day" } })).await;
    let refused = world.chat_as(ASK, &[("x-api-key", &poor)]).await;
    assert_eq!((refused.status, &*refused.code()), (429, "budget_exhausted"));
    let slow = world.make(json!({ "name": "slow", "team": "data", "limits": { "requests_per_minute": 1 } })).await;
    assert_eq!((world.asks(&slow).await, world.asks(&slow).await), (200, 429));
    // Made an hour ago for half of it.
    let asked = farthing::keys::Asked {
        expires_ms: Some(now_ms() - 1_800_000),
        ..world.store().one("slow").expect("a key").asked
    };
    let asked = farthing::keys::Asked { name: "late".to_owned(), ..asked };
    let made = world.store().create(&asked, &Who::at_prompt("somebody"), now_ms() - 3_600_000, None).expect("a key");
    let late = made.secret.reveal();
    let reason = async {
        for number in 1.. {
            assert_eq!(world.asks(late).await, 401);
            if world.refused_for(number).await == "expired: `late`" {
                break;
            }
        }
    };
    tokio::time::timeout(PATIENCE, reason).await.expect("the key is known in time");
}

#[tokio::test]
async fn what_the_command_does_a_running_gateway_sees_and_the_next_one_as_well() {
    let world = ok_world("").await;
    let made = farthing_keys(&world.config(), &["create", "--name", "ci", "--team", "data", "--expires", "90d"]);
    let secret = out(&made);
    let secret = secret.strip_suffix('\n').expect("a line");
    assert!(secret.starts_with("fk-") && secret.len() == 46 && !secret.contains('\n'), "{secret}");
    let said = String::from_utf8_lossy(&made.stderr).into_owned();
    assert!(said.starts_with("key `ci` of team `data` is made, until ") && !said.contains(secret), "{said}");
    assert!(
        said.contains("it is the first key: loopback wants one too") && said.contains("farthing.keys.db"),
        "{said}"
    );
    let second = farthing_keys(&world.config(), &["create", "--name", "second", "--team", "data"]);
    assert!(!String::from_utf8_lossy(&second.stderr).contains("the first key"), "{second:?}");
    world.asks_until(secret, 200).await;
    world.logged("stored_keys_reloaded", 1).await;
    assert_eq!(world.chat(ASK).await.status, 401);
    let checked = out(&run(&["check", "--config", &world.config()]));
    assert!(checked.contains("2 keys, "), "{checked}");
    let listed: Value =
        serde_json::from_str(&out(&farthing_keys(&world.config(), &["list", "--format", "json"]))).unwrap();
    assert_eq!((&listed["keys"][0]["name"], &listed["keys"][0]["state"]), (&json!("ci"), &json!("active")));
    assert!(out(&farthing_keys(&world.config(), &["show", "ci"])).contains("data"));
    let rotated = out(&farthing_keys(&world.config(), &["rotate", "ci", "--overlap", "1h"]));
    world.asks_until(rotated.trim_end(), 200).await;
    assert_eq!(world.asks(secret).await, 200);
    out(&farthing_keys(&world.config(), &["revoke", "ci"]));
    world.asks_until(secret, 401).await;
    assert_eq!(world.asks(rotated.trim_end()).await, 401);
    let audit = out(&farthing_keys(&world.config(), &["audit", "ci", "--format", "json"]));
    let audit: Value = serde_json::from_str(&audit).unwrap();
    let actions: Vec<_> =
        audit["audit"].as_array().unwrap().iter().map(|row| row["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["create", "rotate", "revoke"]);
    assert!(audit["audit"][0]["who"].as_str().unwrap().starts_with("cli:"));
}

fn farthing_keys(config: &str, arguments: &[&str]) -> Output {
    let mut all = vec!["keys", arguments[0], "--config", config];
    all.extend(&arguments[1..]);
    run(&all)
}

#[track_caller]
fn out(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).expect("text")
}

#[track_caller]
fn check_refused(config: &str, arguments: &[&str], message: &str) {
    let output = farthing_keys(config, arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains(message), "{said}");
    assert!(output.stdout.is_empty());
}

#[tokio::test]
async fn a_backup_of_the_keys_lets_in_who_was_let_in_when_it_was_made() {
    use std::os::unix::fs::PermissionsExt as _;
    let world = ok_world("").await;
    let copy = world.folder.path().join("copy.db");
    let backup = ["backup", copy.to_str().expect("a path")];
    check_refused(&world.config(), &backup, "there are no keys in");
    let secret = world.make(json!({ "name": "ci", "team": "data" })).await;
    out(&farthing_keys(&world.config(), &backup));
    check_refused(&world.config(), &backup, "exists");
    world.make(json!({ "name": "later", "team": "data" })).await;
    assert_eq!(fs::metadata(&copy).expect("a copy").permissions().mode() & 0o777, 0o600);
    let config = world.config();
    world.gateway.stop().await.expect("it stops");
    let store = Path::new(&config).with_file_name("farthing.keys.db");
    for ending in ["-wal", "-shm"] {
        drop(fs::remove_file(format!("{}{ending}", store.display())));
    }
    fs::rename(&copy, &store).expect("a restored store");
    let served = Served::start(Path::new(&config));
    assert_eq!(status_of(&served.listen, &secret), 200);
    let listed = out(&farthing_keys(&config, &["list", "--format", "json"]));
    let listed: Value = serde_json::from_str(&listed).expect("JSON");
    assert_eq!(listed["keys"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn the_command_changes_a_key_and_a_running_gateway_sees_it() {
    let world = ok_world("").await;
    let secret = world.make(json!({ "name": "ci", "team": "data", "may": { "tiers": ["frontier"] } })).await;
    let changes = ["update", "ci", "--may", "tiers=lightweight", "--usd", "5", "--every", "day", "--concurrency", "3"];
    let changed = farthing_keys(&world.config(), &[&changes[..], &["--format", "json"]].concat());
    let key: Value = serde_json::from_str(&out(&changed)).expect("JSON");
    assert_eq!(key["key"]["may"], json!({ "tiers": ["lightweight"] }));
    assert_eq!((&key["key"]["budget"]["usd"], &key["key"]["limits"]), (&json!("5"), &json!({ "concurrency": 3 })));
    world.asks_until(&secret, 200).await;
    let removed = ["update", "ci", "--remove", "budget", "--remove", "limits.concurrency", "--format", "json"];
    let key: Value = serde_json::from_str(&out(&farthing_keys(&world.config(), &removed))).expect("JSON");
    assert_eq!((&key["key"]["budget"], &key["key"]["limits"]), (&json!(null), &json!({})));
    check_refused(&world.config(), &["update", "ci"], "nothing is to be changed");
    check_refused(&world.config(), &["update", "nobody", "--usd", "5"], "there is no key `nobody`");
}

#[tokio::test]
async fn the_command_says_what_was_found_and_what_was_wanted() {
    let more = format!("teams: {{ data: {{}} }}\nkeys: [{{ sha256: {}, name: of-file, team: data }}]", "a1".repeat(32));
    let world = ok_world(&more).await;
    let config = world.config();
    check_refused(&config, &["revoke", "ci"], "there is no key `ci`; there are none in `");
    check_refused(
        &config,
        &["create", "--team", "date"],
        "a team is `date`; wanted one that stands under `teams` of the configuration; did you mean `data`?",
    );
    check_refused(
        &config,
        &["create", "--team", "data", "--name", "of-file"],
        "the configuration file has a key `of-file`; wanted another name",
    );
    check_refused(&config, &["create", "--team", "data", "--may", "tier=x"], "`--may` is `tier=x`; wanted `teams`");
    check_refused(&config, &["create", "--team", "data", "--usd", "5"], "--every");
    out(&farthing_keys(
        &config,
        &["create", "--team", "data", "--name", "ci", "--may", "tiers=lightweight", "--usd", "5", "--every", "day"],
    ));
    check_refused(&config, &["create", "--team", "data", "--name", "ci"], "there is a key `ci` already");
    check_refused(&config, &["show", "fk-0123456789"], "that looks like its secret, wanted its name");
}

#[tokio::test]
async fn without_an_admin_key_there_is_no_admin_api_and_with_one_it_is_wanted() {
    let open = World::new(luna([Reply::text("ok")]), "").await;
    assert_eq!(open.api(Method::GET, "keys", &[], "").await.status, 404);
    let world = ok_world("").await;
    for (headers, status) in [
        (&[("authorization", "Bearer wrong")][..], 401),
        (&[("authorization", "")], 401),
        (&[("origin", "https://evil.example")], 403),
        (&[("origin", "null")], 403),
        (&[], 200),
    ] {
        assert_eq!(world.api(Method::GET, "keys", headers, "").await.status, status, "{headers:?}");
    }
    assert_eq!(world.api(Method::GET, "nothing", &[], "").await.status, 404);
    assert_eq!(world.api(Method::PUT, "keys", &[], "").await.header("allow"), "GET, POST");
    assert_eq!(world.api(Method::GET, "keys?limit=1&limit=2", &[], "").await.status, 400);
    let large = world.api(Method::POST, "keys", &[], vec![b' '; 65 << 10]).await;
    assert_eq!((large.status, &*large.code()), (413, "body_too_large"));
    for body in [
        "",
        "{",
        r#"{"team":"t","nmae":"x"}"#,
        r#"{"team":"t","team":"u"}"#,
        r#"{"name":"x"}"#,
        r#"{"team":"t","budget":{"usd":"1","every":"year"}}"#,
        r#"["q","t"]"#,
        r#"{"team":"t","may":[["t"]]}"#,
        r#"{"team":"t","limits":[1]}"#,
    ] {
        let got = world.api(Method::POST, "keys", &[], body).await;
        assert_eq!((got.status, &*got.code()), (400, "invalid_body"), "{body}: {}", got.text());
    }
    // Nothing was made: everybody on this machine is still let in.
    assert_eq!(world.chat(ASK).await.status, 200);
}

#[tokio::test]
async fn a_repeated_request_has_the_same_answer_and_makes_no_second_key() {
    let world = ok_world("").await;
    let once = [("idempotency-key", "7f6b")];
    let wanted = json!({ "team": "data" }).to_string();
    let [first, again] = [(); 2].map(|()| world.api(Method::POST, "keys", &once, wanted.clone()));
    let (first, again) = tokio::join!(first, again);
    assert_eq!((first.status, again.status, &first.body), (201, 201, &again.body));
    let other = world.api(Method::POST, "keys", &once, r#"{"team":"other"}"#).await;
    assert_eq!((other.status, &*other.code()), (422, "idempotency_conflict"));
    let keys = world.api(Method::GET, "keys", &[], "").await.json();
    assert_eq!(keys["keys"].as_array().map(Vec::len), Some(1));
    // The answer is gone with the process that gave it; that it was done is not.
    let (name, secret) = (keys["keys"][0]["name"].as_str().expect("a name").to_owned(), secret(&first));
    let config = world.config();
    world.gateway.stop().await.expect("it stops");
    let served = Served::start(Path::new(&config));
    assert_eq!(status_of(&served.listen, &secret), 200);
    let headers =
        format!("authorization: Bearer {ADMIN_KEY}\r\nidempotency-key: 7f6b\r\ncontent-length: {}", wanted.len());
    let got = exchange(&served.admin_listen, "POST /admin/api/keys", &headers, &wanted);
    assert!(got.starts_with("HTTP/1.1 409 ") && got.contains(&format!("made the secret of key `{name}`")), "{got}");
}

#[tokio::test]
async fn how_budgets_stand_is_told_by_the_gateway_and_by_its_ledger_alike() {
    let world = ok_world(
        "teams: { data: { budget: { usd: 5, every: month }, projects: { idle: { budget: { usd: 2, every: day } } }, \
         users: { bob: { budget: { usd: 4, every: day } }, \"*\": { budget: { usd: 1, every: rolling 24h } } } }, open: {} }",
    )
    .await;
    let key = world.make(json!({ "name": "ci", "team": "data", "budget": { "usd": "3", "every": "day" } })).await;
    let question = ask(json!({ "max_completion_tokens": 20, "user": "ann" }));
    assert_eq!(world.chat_as(question, &[("authorization", &format!("Bearer {key}"))]).await.status, 200);
    let spent = NanoUsd(world.provider.invoice().total().0);
    let told = world.api(Method::GET, "budgets", &[], "").await.json();
    let expected =
        [("team", "data", 5), ("project", "idle", 2), ("user", "bob", 4), ("user", "ann", 1), ("key", "ci", 3)];
    assert_eq!(told["budgets"].as_array().map(Vec::len), Some(expected.len()), "{told}");
    for (budget, (payer, name, usd)) in told["budgets"].as_array().unwrap().iter().zip(expected) {
        let spent = if ["idle", "bob"].contains(&name) { NanoUsd::ZERO } else { spent };
        assert_eq!((&budget["payer"], &budget["name"]), (&json!(payer), &json!(name)), "{told}");
        assert_eq!(budget["usd"], usd.to_string(), "{told}");
        assert_eq!(budget["spent_usd"], spent.to_string(), "{told}");
        assert_eq!(budget["held_usd"], "0", "{told}");
        assert_eq!(budget["left_usd"], (NanoUsd(usd * 1_000_000_000) - spent).to_string(), "{told}");
        assert!(budget["resets_at"].as_str().is_some_and(|at| at.ends_with('Z')), "{told}");
    }
    assert_eq!(world.api(Method::POST, "budgets", &[], "").await.header("allow"), "GET");
    world.rows("select 1");
    let config = world.config();
    let of_ledger = out(&run(&["budgets", "--config", &config, "--format", "json"]));
    assert_eq!(serde_json::from_str::<Value>(&of_ledger).unwrap(), told);
    world.gateway.stop().await.expect("it stops");
    let table = out(&run(&["budgets", "--config", &config]));
    assert!(table.contains("user `ann` of team `data`") && table.contains(&spent.to_string()), "{table}");
}

#[tokio::test]
async fn the_admin_api_lists_keys_teams_and_the_audit() {
    let world = ok_world(
        "teams: { data: { budget: { usd: 5, every: day }, projects: { \"*\": { limits: { concurrency: 2 } } }, \
         users: { limits: { concurrency: 3 }, bob: { limits: { concurrency: 4 } } } } }",
    )
    .await;
    for name in ["a", "b", "c"] {
        world.make(json!({ "name": name, "team": "data" })).await;
    }
    let page = world.api(Method::GET, "keys?limit=2", &[], "").await.json();
    assert_eq!((page["keys"].as_array().map(Vec::len), page["next"].as_str().is_some()), (Some(2), true));
    let rest = world.api(Method::GET, &format!("keys?after={}", page["next"].as_str().unwrap()), &[], "").await.json();
    assert_eq!((rest["keys"].as_array().map(Vec::len), &rest["next"]), (Some(1), &Value::Null));
    assert_eq!(world.api(Method::GET, "keys/b", &[], "").await.json()["key"]["name"], "b");
    assert_eq!(world.api(Method::GET, "keys/d", &[], "").await.status, 404);
    let teams = world.api(Method::GET, "teams", &[], "").await.json();
    assert_eq!(teams["teams"][0]["budget"]["usd"], "5");
    assert_eq!(teams["teams"][0]["projects"]["*"]["limits"]["concurrency"], 2);
    assert_eq!(teams["teams"][0]["users"]["limits"]["concurrency"], 3);
    assert_eq!(teams["teams"][0]["named_users"]["bob"]["limits"]["concurrency"], 4);
    let audit = world.api(Method::GET, "audit?key=b", &[], "").await.json();
    assert_eq!(audit["audit"].as_array().map(Vec::len), Some(1));
    let row = &audit["audit"][0];
    assert_eq!((&row["id"], &row["action"], &row["after"]["name"]), (&json!(2), &json!("create"), &json!("b")));
    assert!(row["who"].as_str().unwrap().starts_with("admin:"));
    let unknown = world.api(Method::POST, "keys", &[], r#"{"team":"date"}"#).await;
    assert!(unknown.text().contains("did you mean `data`?"), "{}", unknown.text());
}

#[tokio::test]
async fn no_secret_is_in_logs_metrics_or_files() {
    let world = ok_world("").await;
    let first = world.make(json!({ "name": "ci", "team": "data" })).await;
    let once = [("idempotency-key", "CanaryIdempotencyKey62d3")];
    let second = secret(&world.api(Method::POST, "keys/ci/rotate", &once, r#"{"overlap":"1h"}"#).await);
    assert_eq!((world.asks(&first).await, world.asks(&second).await), (200, 200));
    world.api(Method::DELETE, &format!("keys/{first}"), &[], "").await;
    world.api(Method::DELETE, "keys/ci", &[], "").await;
    assert_eq!(world.asks(&first).await, 401);
    let mut places = vec![("the log".to_owned(), world.log_text().into_bytes())];
    places.push(("the metrics".to_owned(), world.admin("/metrics", &[]).await.body.to_vec()));
    for entry in fs::read_dir(world.folder.path()).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_file() && !path.ends_with("admin") {
            places.push((path.display().to_string(), fs::read(&path).expect("a readable file")));
        }
    }
    for (place, bytes) in &places {
        for word in [&*first, &*second, "CanaryIdempotencyKey62d3", ADMIN_KEY] {
            assert!(!bytes.windows(word.len()).any(|window| window == word.as_bytes()), "a secret is in {place}");
        }
    }
    assert!(places.iter().any(|(place, _)| place.ends_with("farthing.keys.db")));
}

#[tokio::test]
async fn a_key_of_the_file_wins_over_a_stored_one_and_a_team_that_is_gone_lets_nobody_in() {
    let world = ok_world("").await;
    let clashing = world.make(json!({ "name": "ci", "team": "data" })).await;
    let file = world.folder.path().join("farthing.yaml");
    let text = fs::read_to_string(&file).expect("the configuration");
    fs::write(&file, format!("{text}\nkeys: [{{ sha256: {}, name: ci, team: data }}]\n", "a1".repeat(32)))
        .expect("a file");
    let told = world.logged("keys_reloaded", 1).await;
    assert!(told["warnings"].to_string().contains("the configuration file has a key of that name"), "{told}");
    assert_eq!(world.asks(&clashing).await, 401);
    assert_eq!(world.refused_for(1).await, "not in force: `ci`");
    // The file gives the name back; the store alone keeps the door closed.
    fs::write(&file, text).expect("a file");
    world.logged("keys_reloaded", 2).await;
    assert_eq!((world.asks(&clashing).await, world.chat(ASK).await.status), (200, 401));
}

#[tokio::test]
async fn while_the_ledger_cannot_tell_new_keys_with_budgets_wait_and_revoked_ones_are_out() {
    let world = ok_world("").await;
    let old = world.make(json!({ "name": "old", "team": "data" })).await;
    // What stands where the sums of spending belong.
    let ledger = rusqlite::Connection::open(world.folder.path().join("farthing.db")).expect("a ledger");
    ledger.execute_batch("CREATE VIEW spent AS SELECT 1").expect("a view");
    let plain = world.make(json!({ "name": "plain", "team": "data" })).await;
    let rich = world.make(json!({ "name": "rich", "team": "data", "budget": { "usd": "9", "every": "day" } })).await;
    let told = world.logged("key_changed", 3).await;
    assert!(told["warnings"].to_string().contains("new keys with budgets are withheld"), "{told}");
    assert_eq!((world.asks(&rich).await, world.asks(&plain).await, world.asks(&old).await), (401, 200, 200));
    assert_eq!(world.refused_for(1).await, "what it has spent is not known yet: `rich`");
    world.api(Method::DELETE, "keys/old", &[], "").await;
    assert_eq!(world.asks(&old).await, 401);
    ledger.execute_batch("DROP VIEW spent").expect("no view");
    world.asks_until(&rich, 200).await;
}

#[tokio::test]
async fn a_store_that_is_gone_or_broken_changes_nothing_while_it_serves_and_refuses_a_start() {
    let world = ok_world("").await;
    let secret = world.make(json!({ "name": "ci", "team": "data" })).await;
    let store = world.folder.path().join("farthing.keys.db");
    let away = world.folder.path().join("away");
    world.logged("stored_keys_reloaded", 1).await;
    fs::rename(&store, &away).expect("a file");
    let failed = world.logged("reload_failed", 1).await;
    assert!(failed["problems"].to_string().contains("it is gone; what was in force stays"), "{failed}");
    assert_eq!((world.asks(&secret).await, world.chat(ASK).await.status), (200, 401));
    fs::write(&store, "no database at all").expect("a file");
    let failed = world.logged("reload_failed", 2).await;
    assert!(failed["problems"].to_string().contains("is no key store of Farthing's"), "{failed}");
    assert_eq!((world.asks(&secret).await, world.chat(ASK).await.status), (200, 401));
    let config = world.config();
    world.gateway.stop().await.expect("it stops");
    let refused = run(&["serve", "--config", &config]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && said.contains("is no key store of Farthing's"), "{said}");
    // The same store in its place lets its keys in again.
    fs::rename(&away, &store).expect("a file");
    let served = Served::start(Path::new(&config));
    let got = status_of(&served.listen, &secret);
    assert_eq!((got, status_of(&served.listen, "fk-of-nobody")), (200, 401));
}

/// The status of `GET /v1/models`.
fn status_of(listen: &str, secret: &str) -> u16 {
    let got = exchange(listen, "GET /v1/models", &format!("x-api-key: {secret}"), "");
    got.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status")
}

/// One request by hand, and all that comes back.
fn exchange(listen: &str, what: &str, headers: &str, body: &str) -> String {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(listen).expect("a listener");
    let head = format!("{what} HTTP/1.1\r\nhost: {listen}\r\nconnection: close\r\n{headers}\r\n\r\n");
    stream.write_all(format!("{head}{body}").as_bytes()).expect("sent");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer");
    text
}

#[tokio::test]
async fn beyond_loopback_stored_keys_are_enough_and_an_empty_store_is_not() {
    let world = ok_world("").await;
    let config = world.folder.path().join("open.yaml");
    let text = fs::read_to_string(world.folder.path().join("farthing.yaml")).expect("the configuration");
    let text = text.replace("{ listen: 127.0.0.1:0", "{ listen: 0.0.0.0:0") + "\nledger: { path: other.db }\n";
    fs::write(&config, text).expect("a file");
    let config = config.display().to_string();
    let refused = |expected: &str| {
        let output = run(&["serve", "--config", &config]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(expected), "{said}");
    };
    refused("beyond loopback, and there are no `keys`");
    let empty = world.folder.path().join("other.keys.db");
    drop(Store::open_or_make(&empty).expect("a store"));
    refused("wanted at least one: `farthing keys create`");
    let secret = out(&farthing_keys(&config, &["create", "--team", "data"]));
    let served = Served::start(Path::new(&config));
    let port = served.listen.rsplit(':').next().expect("a port");
    assert_eq!(status_of(&format!("127.0.0.1:{port}"), secret.trim_end()), 200);
    assert_eq!(status_of(&format!("127.0.0.1:{port}"), "any"), 401);
}

#[tokio::test]
async fn what_a_stored_key_has_spent_counts_after_a_restart() {
    let world = World::new(luna([Reply::tokens(20)]), "").await;
    let terms = ["--usd", "0.0001", "--every", "month"];
    let made = farthing_keys(&world.config(), &[&["create", "--team", "data"][..], &terms].concat());
    let secret = out(&made).trim_end().to_owned();
    world.logged("stored_keys_reloaded", 1).await;
    let body = ask(json!({ "max_completion_tokens": 20, "service_tier": "default" }));
    let key = [("x-api-key", &*secret)];
    let spending = async { while world.chat_as(body.clone(), &key).await.status != 429 {} };
    tokio::time::timeout(PATIENCE, spending).await.expect("an end of the budget");
    let config = world.config();
    world.gateway.stop().await.expect("it stops");
    let served = Served::start(Path::new(&config));
    let headers = format!("x-api-key: {secret}\r\ncontent-length: {}", body.len());
    let got = exchange(&served.listen, "POST /v1/chat/completions", &headers, &body);
    assert!(got.starts_with("HTTP/1.1 429 ") && got.contains("budget_exhausted"), "{got}");
}
