//! `farthing keys`, beside a gateway that runs.

use super::*;

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
