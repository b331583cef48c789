//! Budgets that change under a gateway that runs: other terms in the file, and prices that are corrected afterwards.

use std::sync::Arc;
use std::time::Duration;

use farthing::simulator::Reply;
use serde_json::json;

use crate::support::{Got, Setup, World, ask, luna};

fn question() -> String {
    ask(json!({ "max_completion_tokens": 20, "service_tier": "default" }))
}

fn terms(usd: &str) -> String {
    format!("teams: {{ default: {{ budget: {{ usd: {usd}, every: month }} }} }}")
}

fn write(world: &World, from: &str, to: &str) {
    let file = world.folder.path().join("farthing.yaml");
    let text = std::fs::read_to_string(&file).expect("the configuration");
    assert!(text.contains(from), "{text}");
    std::fs::write(&file, text.replace(from, to)).expect("a file");
}

fn is_refused(got: &Got) -> bool {
    got.status == 429 && got.code() == "budget_exhausted"
}

async fn left(world: &World) -> i64 {
    (world.metric("farthing_budget_remaining_usd", "team=\"default\"").await * 1e9).round() as i64
}

#[tokio::test]
async fn a_lowered_ceiling_refuses_at_once_and_a_raised_one_serves_without_a_restart() {
    let world = World::new(luna([Reply::tokens(20)]), &terms("1")).await;
    assert_eq!(world.chat(question()).await.status, 200);
    let spent = world.provider.invoice().total().0;
    write(&world, "usd: 1,", "usd: 0.000000001,");
    assert_eq!(world.logged("keys_reloaded", 1).await["teams"], 1);
    assert!(is_refused(&world.chat(question()).await));
    // A bad file changes nothing.
    write(&world, "usd: 0.000000001,", "usd: lots,");
    world.logged("reload_failed", 1).await;
    assert!(is_refused(&world.chat(question()).await));
    write(&world, "usd: lots,", "usd: 2,");
    world.logged("keys_reloaded", 2).await;
    assert_eq!(left(&world).await, 2_000_000_000 - spent);
    assert_eq!(world.chat(question()).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_for_money_goes_on_when_the_ceiling_is_raised_and_what_is_in_flight_keeps_its_account() {
    // Room for one: the answer of the first does not come before the second was let go.
    let slow = Reply::tokens(20).waits(Duration::from_secs(8));
    let more = format!("{}\nbudget: {{ hold_wait: 9s }}\n", terms("0.00006"));
    let world = Arc::new(Setup::of(luna([slow, Reply::tokens(20)])).more(&more).start().await);
    let ask = |world: &Arc<World>| {
        let world = Arc::clone(world);
        tokio::spawn(async move { world.chat(question()).await.status })
    };
    let _first = ask(&world);
    while left(&world).await == 60_000 {
        tokio::task::yield_now().await;
    }
    let second = ask(&world);
    while world.metric("farthing_in_flight", "").await < 2.0 {
        tokio::task::yield_now().await;
    }
    write(&world, "usd: 0.00006,", "usd: 1,");
    world.logged("keys_reloaded", 1).await;
    assert_eq!(second.await.expect("no panic"), 200);
    // What the first may cost is held still.
    let spent = world.provider.invoice().total().0;
    assert!(left(&world).await < 1_000_000_000 - spent);
}

#[tokio::test]
async fn a_budget_that_comes_and_one_of_another_kind_count_what_was_spent_before() {
    let world = World::new(luna([Reply::tokens(20)]), "teams: { default: {} }").await;
    for _ in 0..3 {
        assert_eq!(world.chat(question()).await.status, 200);
    }
    let spent = |world: &World| world.provider.invoice().total().0;
    write(&world, "teams: { default: {} }", &terms("1"));
    world.logged("keys_reloaded", 1).await;
    assert_eq!(left(&world).await, 1_000_000_000 - spent(&world));
    // Gone, and there again: what was spent meanwhile is not forgotten.
    write(&world, &terms("1"), "teams: { default: {} }");
    world.logged("keys_reloaded", 2).await;
    assert_eq!(world.chat(question()).await.status, 200);
    write(&world, "teams: { default: {} }", &terms("1"));
    world.logged("keys_reloaded", 3).await;
    assert_eq!(left(&world).await, 1_000_000_000 - spent(&world));
    write(&world, "every: month", "every: rolling 24h");
    world.logged("keys_reloaded", 4).await;
    assert_eq!(left(&world).await, 1_000_000_000 - spent(&world));
}

#[tokio::test]
async fn a_single_user_is_held_to_terms_of_its_own_from_the_moment_that_the_file_names_it() {
    const EACH: &str = "\"*\": { budget: { usd: 0.000000001, every: day } }";
    let world =
        World::new(luna([Reply::tokens(20)]), &format!("teams: {{ default: {{ users: {{ {EACH} }} }} }}")).await;
    let asks = async |user: &str| {
        world.chat(ask(json!({ "max_completion_tokens": 20, "service_tier": "default", "user": user }))).await
    };
    assert!(is_refused(&asks("alice").await) && is_refused(&asks("bob").await));
    write(&world, EACH, &format!("alice: {{ budget: {{ usd: 1, every: day }} }}, {EACH}"));
    world.logged("keys_reloaded", 1).await;
    assert_eq!(asks("alice").await.status, 200);
    let refused = asks("bob").await;
    assert!(is_refused(&refused) && refused.text().contains("user `bob` of team `default` has 0.000000001 of its"));
    // Of another kind of period it begins with what was spent, and a lower ceiling holds.
    write(&world, "usd: 1, every: day", "usd: 0.000000002, every: week");
    world.logged("keys_reloaded", 2).await;
    let refused = asks("alice").await;
    assert!(is_refused(&refused) && refused.text().contains("user `alice` of team `default` has -"));
    // Without a budget of its own it is held to none.
    write(&world, "alice: { budget: { usd: 0.000000002, every: week } }", "alice: {}");
    world.logged("keys_reloaded", 3).await;
    assert_eq!(asks("alice").await.status, 200);
    assert!(is_refused(&asks("bob").await));
}

#[tokio::test]
async fn what_is_booked_by_re_rating_counts_within_seconds_and_at_the_next_start() {
    let world = World::new(luna([Reply::tokens(20)]), &terms("1")).await;
    assert_eq!(world.chat(question()).await.status, 200);
    let spent = world.provider.invoice().total().0;
    let book = |nano: i64| {
        let ledger = rusqlite::Connection::open(world.folder.path().join("farthing.db")).expect("the ledger");
        ledger.busy_timeout(Duration::from_secs(5)).expect("patience");
        let day = "strftime('%Y-%m-%d', 'now')";
        let sql = format!(
            "INSERT INTO adjustments (booked_ms, day, team, project, provider, model, cost_nano, note)
             VALUES (1, {day}, 'default', '', 'sim', 'gpt-5.6-luna', {nano}, 're-rated')"
        );
        ledger.execute(&sql, []).expect("an adjustment");
    };
    for (nano, wanted) in [(400_000_000, 600_000_000 - spent), (-100_000_000, 700_000_000 - spent)] {
        book(nano);
        let since = std::time::Instant::now();
        while left(&world).await != wanted {
            assert!(since.elapsed() < crate::support::PATIENCE, "{} of {wanted}", left(&world).await);
        }
    }
    // Another budget of the same payer counts them, once.
    write(&world, "every: month", "every: rolling 720h");
    world.logged("keys_reloaded", 1).await;
    assert_eq!(left(&world).await, 700_000_000 - spent);
}
