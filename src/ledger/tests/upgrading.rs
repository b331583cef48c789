//! A ledger that an earlier version left.

use super::*;
use crate::ledger::audit::sha256;
use crate::ledger::frame::{FRAME_BYTES_MAX, encode};
use crate::ledger::migrate::{migrate, version};
use crate::ledger::rollup;
use crate::ledger::schema::SCHEMA_VERSION;
use crate::ledger::segment;
use crate::ledger::steps::{STEPS, Step};

const VERSION_1: &str = include_str!("version_1.sql");

/// The request of the fixture whose end is still in the journal.
fn unfinished() -> AttemptId {
    "01990000-0000-7000-8000-000000000002-1".parse().expect("an id")
}

/// What version 1 left when it was killed; gives the path of its journal.
fn version_1(folder: &Path) -> std::path::PathBuf {
    let path = folder.join("farthing.db");
    let database = Connection::open(&path).expect("it opens");
    database.execute_batch(&format!("PRAGMA journal_mode = WAL; {VERSION_1}")).expect("the fixture is right");
    let mut buffer = vec![0; FRAME_BYTES_MAX];
    let frame = encode(&outcome(unfinished(), 9, Some(closing())), &mut buffer).expect("it fits");
    let mut bytes = b"FRTHJRNL".to_vec();
    for word in [1_u32, 3, 4711, 0] {
        bytes.extend(word.to_le_bytes());
    }
    bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
    bytes.extend([0; 4]);
    bytes.extend_from_slice(frame);
    bytes.extend_from_slice(frame);
    let journal = segment::path_of(&path, 3);
    std::fs::write(&journal, bytes).expect("it writes");
    journal
}

/// Every table and view with its columns.
fn layout(connection: &Connection) -> Vec<String> {
    rows(
        connection,
        "SELECT s.type, s.name, group_concat(c.name || ' ' || c.type, ', ') FROM sqlite_schema s, pragma_table_xinfo(s.name) c
         GROUP BY s.type, s.name
         UNION ALL SELECT type, name, sql FROM sqlite_schema WHERE type = 'trigger' ORDER BY 1, 2",
    )
}

#[test]
fn who_reads_what_an_older_ledger_lacks_is_told_to_upgrade_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    version_1(folder.path());
    let path = folder.path().join("farthing.db");
    let told = crate::ledger::open_current(&path).expect_err("it is older").to_string();
    assert!(told.contains("has tables of version 1, and this program reads those of"), "{told}");
    drop(open(folder.path()));
    crate::ledger::open_current(&path).expect("it is upgraded");
}

#[test]
fn an_older_ledger_is_upgraded_and_its_journal_replayed() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    version_1(folder.path());
    let (ledger, recovered) = open(folder.path());
    assert_eq!((recovered.records_replayed, recovered.attempts_interrupted), (2, 0));
    check_rows(&ledger, "SELECT fate, cost_nano FROM attempts_v1 ORDER BY attempt_id", &["completed|7", "completed|9"]);
    check_rows(&ledger, "SELECT status, cost_nano FROM requests_v1 ORDER BY request_id", &["ok|7", "ok|9"]);
    let views = ledger.views().expect("the views open");
    assert_eq!(version(&views).expect("it reads"), SCHEMA_VERSION);
    assert_eq!(rows(&views, "SELECT program FROM journal"), [env!("CARGO_PKG_VERSION")]);
    let (_folder, new) = fresh();
    assert_eq!(layout(&views), layout(&new.views().expect("the views open")));
}

#[test]
fn every_earlier_version_is_upgraded_to_the_tables_of_today_with_the_sums_of_its_rows() {
    let (_folder, new) = fresh();
    let today = layout(&new.views().expect("the views open"));
    for left in 1..SCHEMA_VERSION {
        let folder = tempfile::tempdir().expect("a temporary folder");
        version_1(folder.path());
        let mut database = Connection::open(folder.path().join("farthing.db")).expect("it opens");
        migrate(&mut database, &STEPS[..left as usize - 1]).expect("it steps");
        assert_eq!(version(&database).expect("it reads"), left);
        drop(database);
        let (ledger, _) = open(folder.path());
        let views = ledger.views().expect("the views open");
        assert_eq!(layout(&views), today, "from version {left}");
        assert_eq!(rows(&views, "SELECT sum(requests), sum(attempts), sum(cost_nano) FROM rollup"), ["2|2|16"]);
        assert_eq!(rows(&views, "SELECT sum(requests), sum(attempts), sum(cost_nano) FROM rollup_day"), ["2|2|16"]);
        let spent = ledger.spent_since(crate::ledger::Users::Together, 0).expect("sums");
        assert_eq!(spent.iter().map(|spent| spent.nano).sum::<i64>(), 16, "from version {left}");
        assert_eq!(rows(&views, "SELECT DISTINCT saved_nano, baseline_model FROM requests_v1"), ["-|-"]);
    }
}

#[test]
fn an_upgrade_says_of_older_rows_why_their_cost_is_unknown_and_what_nobody_reported() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    version_1(folder.path());
    let database = Connection::open(folder.path().join("farthing.db")).expect("it opens");
    let id = |n: u8| format!("01990000-0000-7000-8000-0000000000{n}0-1");
    for (n, fate, source, cost, version) in [
        (1, "failed", "reported", "0, 0, 0", "'v'"),
        (2, "interrupted", "unknown", "0, NULL, 9", "'v'"),
        (3, "completed", "reported", "0, NULL, NULL", "NULL"),
        (4, "completed", "reported", "5, NULL, NULL", "'v'"),
    ] {
        let insert = format!(
            "INSERT INTO attempts (attempt_id, request_id, provider, fate, source, cost_low_nano, cost_nano,
             cost_high_nano, price_version) VALUES ('{}', 'r', 'old', '{fate}', '{source}', {cost}, {version})",
            id(n)
        );
        database.execute_batch(&insert).expect("a row");
    }
    drop(database);
    let (ledger, _) = open(folder.path());
    check_rows(
        &ledger,
        "SELECT fate, source, unknown_reason, priced_tier FROM attempts_v1 WHERE provider = 'old' ORDER BY attempt_id",
        &[
            "failed|estimated|-|-",
            "interrupted|unknown|unreported|-",
            "completed|reported|price|-",
            "completed|reported|-|-",
        ],
    );
}

#[test]
fn an_older_ledgers_views_are_read_without_an_upgrade() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    version_1(folder.path());
    let views = crate::ledger::open_views(&folder.path().join("farthing.db")).expect("the views open");
    assert_eq!(rows(&views, "SELECT count(*) FROM requests_v1"), ["2"]);
    assert_eq!(version(&views).expect("it reads"), 1);
}

#[test]
fn an_older_ledger_whose_journal_cannot_be_replayed_stays_as_it_was() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let journal = version_1(folder.path());
    let mut bytes = std::fs::read(&journal).expect("it reads");
    bytes[45] ^= 1;
    std::fs::write(&journal, &bytes).expect("it writes");
    check_refused(
        folder.path(),
        "journal `DIR/farthing.db.journal-000003` is damaged at byte 32 (a damaged frame, with whole ones behind it), \
         and had been on the disk; restore the file, or run `farthing ledger salvage` to go on with every record of \
         it that can be read",
    );
    bytes[8] = 9;
    std::fs::write(&journal, &bytes).expect("it writes");
    check_refused(
        folder.path(),
        "ledger `DIR/farthing.db.journal-000003` has version 9, and this program reads up to 3; start the program \
         that wrote it, or restore a backup from before the upgrade",
    );
    let database = Connection::open(folder.path().join("farthing.db")).expect("it opens");
    assert_eq!(version(&database).expect("it reads"), 1);
}

#[test]
fn steps_are_taken_all_or_none_and_only_once() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    version_1(folder.path());
    let mut database = Connection::open(folder.path().join("farthing.db")).expect("it opens");
    let before = layout(&database);
    let good = Step { to: 2, sql: "ALTER TABLE requests ADD COLUMN mood TEXT; UPDATE requests SET mood = 'calm';" };
    let bad = Step { to: 3, sql: "DROP TABLE attempts; SELECT no_such_function();" };
    migrate(&mut database, &[good, bad]).expect_err("the second step fails");
    assert_eq!((version(&database).expect("it reads"), layout(&database)), (1, before));
    let good = || Step { to: 2, sql: "ALTER TABLE requests ADD COLUMN mood TEXT;" };
    migrate(&mut database, &[good()]).expect("it steps");
    migrate(&mut database, &[good(), Step { to: 3, sql: "UPDATE requests SET mood = 'calm';" }]).expect("it goes on");
    assert_eq!(rows(&database, "SELECT DISTINCT mood FROM requests"), ["calm"]);
    assert_eq!(version(&database).expect("it reads"), 3);
}

#[test]
fn the_steps_lead_to_the_version_of_today() {
    let to: Vec<u32> = STEPS.iter().map(|step| step.to).collect();
    assert_eq!(to, (2..=SCHEMA_VERSION).collect::<Vec<_>>());
}

#[test]
fn a_step_that_was_released_stays_as_it_is() {
    let found: Vec<String> = STEPS.iter().map(|step| format!("{} {}", step.to, sha256(step.sql.as_bytes()))).collect();
    let released = [
        "2 8f6ac54dcf58c1055f31755fc3392cc670fd949a322cfed6e59f8a098833e224",
        "3 09141a42410c9aace34029b788998e773d662bc78b51e0761ca782fd96cc971e",
        "4 1f2256d61628582fee00ef82e17836a0bde5673c242e26797817922922d7aff2",
        "5 7a9b00cac359a8d0e16a22c691dea351dbfcde27578de077cea12fe8eecf5e13",
        "6 0293ea882e545295089d53fb303202cac893979f4c454cabc1aa71430074bf39",
        "7 5fb95ef627c33e70e2a5d2ac293f7604bb7603d19a78f213be2ebeaaf7266485",
        "8 a6e18aeef833ac70b2db41048821df85294c102811d3ba47fdfd154ce93f3cdc",
        "9 a211a46dd6e8c71c99d1c39e96b8b8d2808a36bb198e47335f130ff4c7829972",
        "10 e7379ea65ea8e41f67b0bc0b14dac3b173dedecda0106d8625460697d7f56345",
        "11 e9e5e84a8887810faf3d8130ee9b8523107c78bb950d2856a864a863a2cdddf3",
        "12 95a1f8578ef8c7a50288390e86da1255f25175955802b07a9778fca29c602c1b",
        "13 c3b47af4b477c9cfc1d16642bff989b7b26338485b9c43f95293560f9ab68755",
    ];
    assert_eq!(found, released, "an upgrade of today has a step of its own");
}

#[test]
fn an_upgrade_moves_the_sums_of_ten_attempts_to_the_last_one() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    version_1(folder.path());
    let mut database = Connection::open(folder.path().join("farthing.db")).expect("it opens");
    migrate(&mut database, &STEPS[..8]).expect("it steps");
    let id = "01a00000-0000-7000-8000-000000000001";
    let mut rows_left = format!(
        "INSERT INTO requests (request_id, at_ms, status, cost_low_nano, cost_nano, cost_high_nano)
         VALUES ('{id}', 1784000000000, 'ok', 10, 10, 10);"
    );
    for ordinal in 1..=10 {
        rows_left.push_str(&format!(
            "INSERT INTO attempts (attempt_id, request_id, provider, model, fate, source, cost_low_nano, cost_nano,
             cost_high_nano) VALUES ('{id}-{ordinal}', '{id}', 'p', 'm{ordinal}', 'completed', 'reported', 1, 1, 1);"
        ));
    }
    database.execute_batch(&rows_left).expect("rows");
    rollup::fill(&database).expect("it sums");
    // As the text of its id had it.
    for table in ["rollup", "rollup_day"] {
        let by_text = format!("UPDATE {table} SET requests = model = 'm9' WHERE provider = 'p'");
        database.execute_batch(&by_text).expect("it counts");
    }
    drop(database);
    let (ledger, _) = open(folder.path());
    for table in ["rollup", "rollup_day"] {
        let counted = format!("SELECT model, requests, attempts FROM {table} WHERE provider = 'p' AND requests <> 0");
        check_rows(&ledger, &counted, &["m10|1|1"]);
    }
}

#[test]
fn an_upgrade_makes_parts_of_savings_whole_that_an_export_had_left_open() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    version_1(folder.path());
    let mut database = Connection::open(folder.path().join("farthing.db")).expect("it opens");
    migrate(&mut database, &STEPS[..7]).expect("it steps");
    let ids = [1, 2, 3, 4].map(|n| format!("01a00000-0000-7000-8000-00000000000{n}"));
    let request = |id: &str, cost: i64, baseline: i64, parts: &str| {
        format!(
            "INSERT INTO requests (request_id, at_ms, status, cost_low_nano, cost_nano, cost_high_nano, baseline_model,
             baseline_nano, saved_fallback_nano, saved_retry_nano, saved_compress_nano, saved_cache_nano)
             VALUES ('{id}', 1784000000000, 'ok', {cost}, {cost}, {cost}, 'openai/luna', {baseline}, {parts}, 0, 0);"
        )
    };
    let attempt = |id: &str, ordinal: u16, cost: i64, at: &str| {
        format!(
            "INSERT INTO attempts (attempt_id, request_id, provider, model, fate, source, cost_low_nano, cost_nano,
             cost_high_nano, reconciled_ms)
             VALUES ('{id}-{ordinal}', '{id}', 'openai', 'luna', 'completed', 'reported', {cost}, {cost}, {cost}, {at});"
        )
    };
    let rows_left = [
        // A retry that was billed late; an answer that took its billed cost; an own one that an export settled; a whole
        // without its parts.
        request(&ids[0], 370, 70, "0, NULL"),
        attempt(&ids[0], 1, 300, "9"),
        attempt(&ids[0], 2, 70, "NULL"),
        request(&ids[1], 11, 9, "0, 0"),
        attempt(&ids[1], 1, 11, "9"),
        request(&ids[2], 11, 11, "0, 0"),
        attempt(&ids[2], 1, 11, "9"),
        request(&ids[3], 70, 100, "NULL, 0"),
        attempt(&ids[3], 1, 70, "NULL"),
    ];
    database.execute_batch(&rows_left.concat()).expect("rows");
    rollup::fill(&database).expect("it sums");
    drop(database);
    let (ledger, _) = open(folder.path());
    check_rows(
        &ledger,
        "SELECT cost_nano, baseline_nano, saved_nano, saved_route_nano, saved_retry_nano FROM requests_v1
         WHERE request_id > '01a' ORDER BY request_id",
        &["370|70|-300|0|-300", "11|-|-|-|-", "11|11|0|0|0", "70|-|-|-|-"],
    );
    let sums = "SELECT sum(compared), sum(baseline_nano), sum(saved_route_nano), sum(saved_retry_nano) FROM";
    check_rows(&ledger, &format!("{sums} rollup"), &["2|81|0|-300"]);
    check_rows(&ledger, &format!("{sums} rollup_day"), &["2|81|0|-300"]);
    let seen = crate::ledger::verify::verify(&folder.path().join("farthing.db"), &mut |_| {}).expect("it looks");
    assert_eq!(seen.findings, []);
}
