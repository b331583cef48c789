use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use jiff::tz::TimeZone;
use serde_json::json;
use tempfile::TempDir;

use super::*;

const NOW: i64 = 1_764_000_000_000;
const DAY: Duration = Duration::from_secs(24 * 3600);

fn store() -> (TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open_or_make(&folder.path().join("farthing.keys.db")).unwrap();
    (folder, store)
}

fn around() -> Surroundings<'static> {
    static UTC: TimeZone = TimeZone::UTC;
    Surroundings { teams: &[], keys: &[], timezone: &UTC, now_ms: NOW }
}

fn asked(wanted: Value) -> Result<Asked, KeysError> {
    serde_json::from_value::<Wanted>(wanted).unwrap().check(around())
}

fn who() -> Who {
    Who::at_prompt("somebody")
}

fn ci() -> Asked {
    asked(json!({ "name": "ci", "team": "data", "may": { "tiers": ["lightweight"], "projects": ["orders*"] },
        "budget": { "usd": "5", "every": "day" }, "limits": { "concurrency": 4 }, "expires": "90d" }))
    .unwrap()
}

#[test]
fn a_key_is_kept_as_it_was_asked_for_and_its_secret_only_as_a_hash() {
    let (folder, mut store) = store();
    let made = store.create(&ci(), &who(), NOW, None).unwrap();
    let [key] = &*store.all().unwrap() else { panic!("one key") };
    assert_eq!((key, &key.asked), (&made.key, &ci()));
    assert_eq!(key.secrets[0].sha256, secret::hash(made.secret.reveal().as_bytes()));
    assert!(made.secret.reveal().starts_with(key.prefix().trim_end_matches('…')));
    drop(store);
    for entry in folder.path().read_dir().unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        let secret = made.secret.reveal().as_bytes();
        assert!(!bytes.windows(secret.len()).any(|window| window == secret));
    }
}

#[test]
fn only_its_owner_reads_the_store_and_what_stands_beside_it() {
    let (folder, mut store) = store();
    store.create(&ci(), &who(), NOW, None).unwrap();
    let modes: Vec<u32> = folder
        .path()
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().permissions().mode())
        .collect();
    assert!(modes.len() >= 2 && modes.iter().all(|mode| mode & 0o777 == 0o600), "{modes:?}");
}

#[test]
fn a_name_is_used_once_even_if_its_key_was_revoked() {
    let (_folder, mut store) = store();
    store.create(&ci(), &who(), NOW, None).unwrap();
    assert!(matches!(store.create(&ci(), &who(), NOW, None), Err(KeysError::Exists { revoked: false, .. })));
    store.revoke("ci", &who(), NOW).unwrap();
    let error = store.create(&ci(), &who(), NOW, None).unwrap_err();
    assert!(error.to_string().starts_with("there is a key `ci` already, which was revoked; "), "{error}");
    let error = store.revoke("cj", &who(), NOW).unwrap_err();
    assert_eq!(error.to_string(), "there is no key `cj`; did you mean `ci`?");
}

#[test]
fn a_rotated_key_has_its_old_secret_for_the_overlap_and_a_second_rotation_never_prolongs_it() {
    let (_folder, mut store) = store();
    let old = store.create(&ci(), &who(), NOW, None).unwrap().key.secrets[0].sha256;
    let new = store.rotate("ci", DAY, &who(), NOW + 1, None).unwrap().key;
    let end = NOW + 1 + 24 * 3_600_000;
    assert_eq!((new.secrets.len(), new.secrets[1].sha256, new.secrets[1].until_ms), (2, old, Some(end)));
    assert_eq!((new.secrets[0].until_ms, new.rotated_ms), (None, Some(NOW + 1)));
    let newer = store.rotate("ci", 2 * DAY, &who(), NOW + 2, None).unwrap().key;
    let of_old = newer.secrets.iter().find(|secret| secret.sha256 == old).unwrap();
    assert_eq!(of_old.until_ms, Some(end));
    let newest = store.rotate("ci", Duration::ZERO, &who(), NOW + 3, None).unwrap().key;
    assert!(newest.secrets[1..].iter().all(|secret| secret.until_ms == Some(NOW + 3)));
}

#[test]
fn what_is_over_is_not_rotated_and_revoking_twice_changes_nothing() {
    let (_folder, mut store) = store();
    store.create(&ci(), &who(), NOW, None).unwrap();
    let later = NOW + 91 * 24 * 3_600_000;
    let error = store.rotate("ci", DAY, &who(), later, None).unwrap_err();
    assert!(error.to_string().starts_with("key `ci` is expired; "), "{error}");
    let revoked = store.revoke("ci", &who(), later).unwrap();
    assert_eq!(store.revoke("ci", &who(), later + 5).unwrap(), revoked);
    assert!(store.rotate("ci", DAY, &who(), later, None).is_err());
    assert_eq!(store.audit(None, 0, 10).unwrap().len(), 2);
}

#[test]
fn the_audit_says_who_did_what_and_no_sql_alters_it() {
    let (_folder, mut store) = store();
    let secret = store.create(&ci(), &who(), NOW, None).unwrap().secret;
    store.rotate("ci", DAY, &Who::holder_of(&secret), NOW + 1, None).unwrap();
    store.revoke("ci", &who(), NOW + 2).unwrap();
    let rows = store.audit(None, 0, 10).unwrap();
    let said: Vec<_> = rows.iter().map(|row| (row.id, &*row.action, &*row.key)).collect();
    assert_eq!(said, [(1, "create", "ci"), (2, "rotate", "ci"), (3, "revoke", "ci")]);
    assert_eq!(
        (&*rows[0].who, &rows[0].before, &rows[0].after["team"]),
        ("cli:somebody", &Value::Null, &json!("data"))
    );
    assert!(rows[1].who.starts_with("admin:") && rows[1].who.len() == "admin:".len() + 8);
    assert_eq!((&rows[2].before["state"], &rows[2].after["state"]), (&json!("active"), &json!("revoked")));
    assert!(!serde_json::to_string(&rows).unwrap().contains(secret.reveal()));
    assert_eq!(store.audit(Some("ci"), 1, 1).unwrap(), rows[1..2]);
    for sql in [
        "UPDATE audit SET who = 'nobody'",
        "DELETE FROM audit",
        "INSERT OR REPLACE INTO audit VALUES (1, 0, 'nobody', 'create', 'ci', NULL, '{}')",
        "UPDATE keys SET revoked_ms = NULL",
        "DELETE FROM keys",
    ] {
        assert!(store.connection_for_tests().execute(sql, []).is_err(), "{sql}");
    }
    assert_eq!(store.audit(None, 0, 10).unwrap(), rows);
}

#[test]
fn a_request_that_was_done_is_not_done_again_and_not_for_something_else() {
    let (_folder, mut store) = store();
    let repeat = Repeat { token: [1; 32], request: [2; 32] };
    store.create(&ci(), &who(), NOW, Some(&repeat)).unwrap();
    let again = store.create(&ci(), &who(), NOW, Some(&repeat)).unwrap_err();
    assert!(matches!(&again, KeysError::Repeated { name } if name == "ci"), "{again}");
    let other = Repeat { request: [3; 32], ..repeat };
    assert!(matches!(store.rotate("ci", DAY, &who(), NOW, Some(&other)), Err(KeysError::RepeatedOtherwise)));
    assert!(store.rotate("ci", DAY, &who(), NOW + 25 * 3_600_000, Some(&other)).is_ok());
}

#[test]
fn two_programs_change_the_store_at_once() {
    let (folder, _) = store();
    let path = folder.path().join("farthing.keys.db");
    std::thread::scope(|scope| {
        for of_thread in 0..4 {
            let path = &path;
            scope.spawn(move || {
                let mut store = Store::open_or_make(path).unwrap();
                for number in 0..5 {
                    let asked = asked(json!({ "name": format!("k{of_thread}-{number}"), "team": "t" })).unwrap();
                    store.create(&asked, &who(), NOW, None).unwrap();
                }
            });
        }
    });
    let store = Store::open(&path).unwrap().unwrap();
    assert_eq!((store.all().unwrap().len(), store.changes().unwrap()), (20, 20));
}

#[track_caller]
fn check_refused(wanted: Value, message: &str) {
    let error = asked(wanted).unwrap_err().to_string();
    assert!(error.contains(message), "{error}");
}

#[test]
fn what_a_key_cannot_be_is_said_with_what_was_wanted() {
    check_refused(json!({}), "a key has no `team`; wanted the team that pays");
    check_refused(json!({ "team": "t", "name": "a/b" }), "`name` is `a/b`; wanted 1 to 64 letters");
    check_refused(json!({ "team": "t", "name": "fk-1" }), "not beginning with");
    check_refused(json!({ "team": "t", "mode": "watch" }), "`mode` is `watch`; wanted `enforce` or `observe`");
    check_refused(json!({ "team": "t", "limits": { "concurrency": 0 } }), "`concurrency` is 0; wanted a whole number");
    check_refused(json!({ "team": "t", "may": { "tiers": ["lightwait"] } }), "did you mean `lightweight`?");
    check_refused(json!({ "team": "t", "expires": "yesterday" }), "`expires` is `yesterday`; wanted a time ahead");
    check_refused(json!({ "team": "t", "expires": "2020-01-01" }), "wanted a time ahead of now");
    check_refused(json!({ "team": "t", "expires": "9999d" }), "wanted a time");
}

#[test]
fn an_end_is_a_span_a_date_or_a_moment() {
    let at = |text| moment(text, NOW, &TimeZone::UTC);
    assert_eq!(at("90s"), Ok(NOW + 90_000));
    assert_eq!(at("2d"), Ok(NOW + 2 * 24 * 3_600_000));
    assert_eq!(at("2026-12-01"), at("2026-12-01T00:00:00Z"));
    for text in ["", "d", "1w", "-1d", "0s", "é", "99999999999999999999d"] {
        assert!(at(text).is_err(), "{text}");
    }
}

#[test]
fn a_file_that_is_something_else_is_not_taken_for_a_store() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.keys.db");
    assert!(Store::open(&path).unwrap().is_none());
    for text in ["", "nothing like a database, and long enough to be one: nothing like a database"] {
        std::fs::write(&path, text).unwrap();
        assert!(matches!(Store::open(&path), Err(KeysError::NotOurs { .. })), "{text}");
    }
}
