//! What keys may spend and claim, changed while they are in use, and what they have spent.

use super::*;

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
