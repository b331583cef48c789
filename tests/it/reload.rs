//! Keys and prices are read again when their files change; a bad file changes nothing.

use std::fs;

use farthing::simulator::Reply;
use sha2::{Digest, Sha256};

use crate::support::{ASK, Setup, World, luna};

fn keys(secrets: &[&str]) -> String {
    let digits = |secret: &str| Sha256::digest(secret).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let rows = secrets.iter().map(|secret| format!("  - {{ sha256: {}, team: data }}\n", digits(secret)));
    format!("keys:\n{}", rows.collect::<String>())
}

/// Replaces the configuration's keys by `keys`.
fn rewrite(world: &World, keys: &str) {
    let file = world.folder.path().join("farthing.yaml");
    let text = fs::read_to_string(&file).expect("the configuration");
    let (before, _) = text.split_once("keys:").expect("keys at the end");
    fs::write(&file, format!("{before}{keys}")).expect("a writable file");
}

async fn statuses(world: &World, secrets: [&str; 2]) -> [u16; 2] {
    let [a, b] = secrets;
    [world.chat_as(ASK, &[("x-api-key", a)]).await.status, world.chat_as(ASK, &[("x-api-key", b)]).await.status]
}

#[tokio::test]
async fn a_new_key_opens_and_a_removed_one_shuts_without_a_restart() {
    let world = Setup::of(luna([Reply::text("ok")])).more(&keys(&["old"])).start().await;
    assert_eq!(statuses(&world, ["old", "new"]).await, [200, 401]);
    rewrite(&world, &keys(&["new", "newer"]));
    assert_eq!(world.logged("keys_reloaded", 1).await["keys"], 2);
    assert_eq!(statuses(&world, ["old", "new"]).await, [401, 200]);
}

#[tokio::test]
async fn a_broken_file_keeps_the_keys_and_says_where_it_is_broken() {
    let world = Setup::of(luna([Reply::text("ok")])).more(&keys(&["old"])).start().await;
    for (number, broken) in
        ["keys:\n  - { sha256: short, team: data }\n", "keys: [ {", "keys: []\nsurprise: 1\n"].into_iter().enumerate()
    {
        rewrite(&world, broken);
        let failed = world.logged("reload_failed", number + 1).await;
        assert!(failed["problems"].to_string().contains("farthing.yaml:"), "{failed}");
        assert_eq!(statuses(&world, ["old", "new"]).await, [200, 401]);
    }
    assert_eq!(world.metric("farthing_reload_failures_total", "config").await, 3.0);
    rewrite(&world, &keys(&["new"]));
    world.logged("keys_reloaded", 1).await;
    assert_eq!(statuses(&world, ["old", "new"]).await, [401, 200]);
}

#[tokio::test]
async fn a_new_price_counts_for_the_requests_after_it() {
    let prices =
        |input: &str| format!("- model: openai/gpt-5.6-luna\n  usd_per_million: {{ input: {input}, output: 0 }}\n");
    let world = Setup::of(luna([Reply::text("ok").with_zero_usage(), Reply::text("ok")])).more("prices: p.yaml");
    let world = world.file("p.yaml", &prices("1")).start().await;
    assert_eq!(world.chat(ASK).await.header("x-farthing-cost-usd"), "0");
    let cost_of = |got: crate::support::Got| got.header("x-farthing-cost-usd").parse::<f64>().expect("a number");
    let before = cost_of(world.chat(ASK).await);
    fs::write(world.folder.path().join("p.yaml"), prices("10")).expect("a writable file");
    world.logged("prices_reloaded", 1).await;
    let after = cost_of(world.chat(ASK).await);
    assert!((after / before - 10.0).abs() < 1e-6, "{before} and then {after}");
    fs::write(world.folder.path().join("p.yaml"), "- model: nonsense\n").expect("a writable file");
    world.logged("reload_failed", 1).await;
    assert_eq!(cost_of(world.chat(ASK).await), after);
}

#[tokio::test]
async fn a_file_that_loses_all_its_keys_does_not_open_the_door() {
    // Whether the keys were there at the start or came with a reload.
    for (number, at_start) in [keys(&["old"]), "# keys: none yet".to_owned()].into_iter().enumerate() {
        let world = Setup::of(luna([Reply::text("ok")])).more(&at_start).start().await;
        if number == 1 {
            rewrite(&world, &format!("\n{}", keys(&["old"])));
            world.logged("keys_reloaded", 1).await;
        }
        for (failure, gone) in ["keys: []\n# none\n", "# keys: none at all\n"].into_iter().enumerate() {
            rewrite(&world, gone);
            let failed = world.logged("reload_failed", failure + 1).await;
            assert!(failed["problems"].to_string().contains("keys"), "{failed}");
            assert_eq!(statuses(&world, ["old", "new"]).await, [200, 401]);
            assert_eq!(world.chat(ASK).await.status, 401);
        }
    }
}

fn make_fifo(file: &std::path::Path) {
    let _ = fs::remove_file(file);
    assert!(std::process::Command::new("mkfifo").arg(file).status().expect("mkfifo").success());
}

#[tokio::test]
async fn a_file_that_is_no_file_any_more_changes_nothing_and_holds_nobody_up() {
    let price = "- model: openai/gpt-5.6-luna\n  usd_per_million: { input: 1, output: 1 }\n";
    let world = Setup::of(luna([Reply::text("ok")])).more("prices: p.yaml").file("p.yaml", price).start().await;
    let before = world.chat(ASK).await.header("x-farthing-cost-usd").to_owned();
    make_fifo(&world.folder.path().join("p.yaml"));
    let failed = world.logged("reload_failed", 1).await;
    assert!(failed["problems"].to_string().contains("regular file"), "{failed}");
    assert_eq!(world.chat(ASK).await.header("x-farthing-cost-usd"), before);
    world.gateway.stop().await.expect("it stops");
}

#[tokio::test]
async fn a_file_whose_reading_never_ends_holds_neither_the_doors_nor_the_other_files_nor_the_stop() {
    let price = |usd: u8| format!("- model: openai/gpt-5.6-luna\n  usd_per_million: {{ input: {usd}, output: 1 }}\n");
    let world = Setup::of(luna([Reply::text("ok")])).row("key: file:secret").file("secret", "sk-1");
    let world = world.more("prices: p.yaml").file("p.yaml", &price(1)).start().await;
    let before = world.chat(ASK).await.header("x-farthing-cost-usd").to_owned();
    make_fifo(&world.folder.path().join("secret"));
    let file = world.folder.path().join("farthing.yaml");
    let text = fs::read_to_string(&file).expect("the configuration");
    fs::write(&file, format!("{text}# changed\n")).expect("a writable file");
    // Opening a FIFO to write waits for its reader: from here on the reload hangs in it.
    let secret = world.folder.path().join("secret");
    let opened = tokio::task::spawn_blocking(move || fs::OpenOptions::new().write(true).open(secret)).await;
    let _writer = opened.expect("no panic").expect("a reader");
    fs::write(world.folder.path().join("p.yaml"), price(2)).expect("a writable file");
    world.logged("prices_reloaded", 1).await;
    assert_ne!(world.chat(ASK).await.header("x-farthing-cost-usd"), before);
    assert_eq!(world.admin("/healthz", &[]).await.status, 200);
    world.gateway.stop().await.expect("it stops");
}

#[tokio::test]
async fn a_model_that_is_withdrawn_soon_is_told_of_at_once_and_when_prices_are_read_again() {
    let in_days = |days: i64| {
        let day = jiff::Zoned::now().with_time_zone(jiff::tz::TimeZone::UTC).date() + jiff::Span::new().days(days);
        format!("- {{ model: openai/gpt-5.6-luna, usd_per_million: {{ input: 1, output: 1 }}, deprecated: {day} }}\n")
    };
    let world = Setup::of(luna([])).more("prices: p.yaml").file("p.yaml", &in_days(10)).start().await;
    let first = world.logged("model_withdrawal", 1).await;
    assert_eq!(first["model"], "sim/gpt-5.6-luna");
    // Midnight may have passed since the test began.
    let left = |told: &serde_json::Value| told["days"].as_i64().expect("a count");
    assert!((9..=10).contains(&left(&first)), "{first}");
    fs::write(world.folder.path().join("p.yaml"), in_days(-20)).expect("a writable file");
    let second = world.logged("model_withdrawal", 2).await;
    assert!((-21..=-20).contains(&left(&second)), "{second}");
    let shown = world.metric("farthing_model_withdrawn_in_days", "model=\"gpt-5.6-luna\"").await;
    assert_eq!(shown as i64, left(&second));
}
