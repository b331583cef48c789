//! Where keys stand: the store, the file, one beside the other, and either gone.

use super::*;

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
