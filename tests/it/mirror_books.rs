//! What a mirror has besides requests: statements, adjustments and feedback; and rows that are not forgotten before it has them.

use std::path::Path;
use std::time::Instant;

use farthing::ledger::Ledger;
use farthing::ledger::compact::{Mirrored, compact};
use farthing::ledger::mirror::{Reader, compare, statements as mirrored};
use farthing::ledger::open_views;
use farthing::ledger::record::{Feedback, Record};
use farthing::ledger::statements::{self, Books, Month};
use farthing::report::By;
use jiff::civil::{Date, date};
use jiff::tz::TimeZone;
use rusqlite::Connection;

use crate::mirror::{end, fresh, number, open, options, settled, spend, target};
use crate::support::PATIENCE;
use crate::support::postgres::{aside, database};

const SEPTEMBER: Date = date(2026, 9, 1);
/// Ids are of now.
const KEPT_FROM: Date = date(2096, 1, 1);
const LATER_MS: i64 = 1_795_000_000_000;
const COUNTS: [(&str, i64); 4] = [("statements", 1), ("statement_lines", 2), ("adjustments", 1), ("feedback", 1)];

fn close_september(ledger: &Path) {
    let month = Month { first: SEPTEMBER, zone: TimeZone::UTC, zone_name: "UTC".to_owned() };
    let closed =
        Books::open(ledger, "cli:ops").expect("the books").close(&month, Some("data"), LATER_MS).expect("it closes");
    assert_eq!(closed.len(), 1);
}

fn book(ledger: &Path, nano: i64) {
    let connection = Connection::open(ledger).expect("the ledger");
    connection.busy_timeout(PATIENCE).expect("patience");
    let booked = "INSERT INTO adjustments (booked_ms, day, team, project, provider, model, cost_nano, note)
        VALUES (1, '2026-09-21', 'data', 'warehouse', 'openai', 'gpt-5.6-luna', ?1, 're-rated by prices.yaml')";
    connection.execute(booked, [nano]).expect("an adjustment");
}

fn say(ledger: &Ledger, outcome: &str) {
    let said = Feedback {
        team: "data",
        key: "ops",
        request: None,
        run: "nightly",
        at_ms: 1_790_000_000_000,
        outcome,
        score_ppm: Some(750_000),
        resolved_incidents: None,
        saved_milli_hours: None,
        note: Some("it \"works\""),
    };
    ledger.append(&Record::Feedback(Box::new(said))).expect("feedback");
    ledger.sync_views(PATIENCE).expect("all is applied");
}

/// Puts the list of changes of an earlier version in the place of this one's.
fn ledger_of_an_older_version(ledger: &Path) {
    let connection = Connection::open(ledger).expect("the ledger");
    let triggers = "SELECT 'DROP TRIGGER ' || name FROM sqlite_schema WHERE type = 'trigger' AND name LIKE 'mirror%'";
    let triggers: Vec<String> = connection
        .prepare(triggers)
        .and_then(|mut names| names.query_map([], |row| row.get(0))?.collect())
        .expect("their names");
    triggers.iter().for_each(|drop| connection.execute_batch(drop).expect("it goes"));
    let older =
        "DROP TABLE mirror_notes; CREATE TABLE mirror_changes (seq INTEGER PRIMARY KEY, request_id TEXT NOT NULL);
        CREATE TRIGGER mirror_request_inserted AFTER INSERT ON requests
        BEGIN INSERT INTO mirror_changes (request_id) VALUES (NEW.request_id); END;";
    connection.execute_batch(older).expect("an older list");
}

/// Looks until the mirror has `count` rows that a condition is true of.
#[track_caller]
fn until(url: &str, count: i64, of: &str) {
    let since = Instant::now();
    while number(url, &format!("SELECT count(*) FROM {of}")) != count {
        assert!(since.elapsed() < PATIENCE, "{of}");
    }
}

#[test]
fn statements_adjustments_and_feedback_are_mirrored_and_read_from_there() {
    let Some(database) = database() else { return };
    let url = database.url();
    let (folder, ledger) = fresh(&url);
    let path = folder.path().join("farthing.db");
    spend(&ledger, "ann", 100);
    settled(&path, &url, 1);
    book(&path, -30);
    say(&ledger, "unhelpful");
    say(&ledger, "resolved");
    close_september(&path);
    for (table, count) in COUNTS {
        until(&url, count, table);
    }
    until(&url, 1, "adjustments WHERE statement_id IS NOT NULL AND cost_nano = -30");
    until(
        &url,
        1,
        "feedback_v1 WHERE run = 'nightly' AND request_id IS NULL AND outcome = 'resolved' AND score_ppm = 750000",
    );
    settled(&path, &url, 1);
    let views = open_views(&path).expect("the views");
    let ours = statements::show(&views, "data", "2026-09").expect("rows").expect("a statement");
    let by = [By::Day, By::Team, By::Model];
    let month = (SEPTEMBER, date(2026, 9, 30));
    let booked = statements::adjusted(&views, &by, month, &TimeZone::UTC).expect("lines");
    let (theirs, listed, booked_there) = aside(|| {
        let mirror = Reader::open(&target(&url)).expect("it answers");
        let booked = statements::adjusted(&mirror, &by, month, &TimeZone::UTC).expect("lines");
        (mirrored::show(&mirror, "data", "2026-09").expect("rows"), mirrored::list(&mirror).expect("rows"), booked)
    });
    assert_eq!((booked.len(), booked[0].figures.adjusted), (1, -30));
    assert_eq!(booked_there, booked, "a report of the mirror has them as well");
    assert_eq!(ours.total().cost, 70);
    assert_eq!(theirs, [ours]);
    assert_eq!(listed, statements::list(&views).expect("rows"));
    database.execute("UPDATE farthing.adjustments SET cost_nano = 7");
    let compared = aside(|| compare(&path, &target(&url))).expect("a comparison");
    assert_eq!(compared.wrong_sides, [("adjustments_cost_nano", -30, 7)]);
}

#[test]
fn statements_from_before_the_mirror_and_of_one_that_lost_them_come_too() {
    let Some(database) = database() else { return };
    let (url, folder) = (database.url(), tempfile::tempdir().expect("a folder"));
    let path = folder.path().join("farthing.db");
    let ledger = Ledger::open(&options(folder.path())).expect("the ledger opens").0;
    spend(&ledger, "ann", 100);
    say(&ledger, "resolved");
    book(&path, 5);
    close_september(&path);
    end(ledger);
    let ledger = open(folder.path(), &url);
    settled(&path, &url, 1);
    // A mirror of an earlier version had no such tables, and no such views.
    end(ledger);
    database.execute(
        "DROP VIEW farthing.feedback_v1; DROP TABLE farthing.feedback, farthing.statements, farthing.statement_lines;
         DROP TABLE farthing.adjustments; ALTER TABLE farthing.requests DROP COLUMN arm CASCADE;
         DELETE FROM farthing.mirror_feeds;",
    );
    let ledger = open(folder.path(), &url);
    settled(&path, &url, 1);
    for (table, count) in COUNTS {
        until(&url, count, table);
    }
    assert_eq!(number(&url, "SELECT count(*) FROM requests_v1 WHERE arm IS NULL"), 1);
    end(ledger);
    // What an earlier version noted is not what is noted now: all comes again.
    ledger_of_an_older_version(&path);
    let ledger = open(folder.path(), &url);
    spend(&ledger, "ann", 100);
    settled(&path, &url, 2);
}

#[test]
fn rows_that_the_mirror_lacks_are_not_forgotten_unless_that_is_asked_for() {
    let Some(database) = database() else { return };
    let (url, folder) = (database.url(), tempfile::tempdir().expect("a folder"));
    let path = folder.path().join("farthing.db");
    let nowhere = "postgres://farthing@127.0.0.1:1/nothing?sslmode=disable";
    let keep = Some((KEPT_FROM, &TimeZone::UTC));
    let refused =
        |mirrored| compact(&path, keep, mirrored).map(|done| done.forgotten.requests).map_err(|e| e.to_string());
    // Never copied: the mirror was down from its first day.
    let ledger = open(folder.path(), nowhere);
    spend(&ledger, "ann", 100);
    end(ledger);
    let told = refused(Mirrored::NotConfigured).expect_err("it is not in the mirror");
    assert!(told.contains("lacks rows of before 2096-01-01") && told.contains("--unmirrored"), "{told}");
    assert!(compact(&path, None, Mirrored::Configured).is_ok());
    // Copied, and a change of it is on its way.
    let ledger = open(folder.path(), &url);
    settled(&path, &url, 1);
    end(ledger);
    let ledger = open(folder.path(), nowhere);
    spend(&ledger, "ann", 100);
    end(ledger);
    assert!(refused(Mirrored::Configured).is_err());
    let ledger = open(folder.path(), &url);
    settled(&path, &url, 2);
    end(ledger);
    assert_eq!(refused(Mirrored::Configured), Ok(2));
    // What is gone here stays there, and is no finding.
    let compared = aside(|| compare(&path, &target(&url))).expect("a comparison");
    assert_eq!((compared.kept, compared.findings()), (1, 0), "{compared:?}");
    assert_eq!(number(&url, "SELECT count(*) FROM requests_v1"), 2);
}

#[test]
fn a_mirror_that_is_configured_and_was_never_fed_keeps_rows_as_well() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("farthing.db");
    let ledger = Ledger::open(&options(folder.path())).expect("the ledger opens").0;
    spend(&ledger, "ann", 100);
    end(ledger);
    let keep = Some((KEPT_FROM, &TimeZone::UTC));
    assert!(compact(&path, keep, Mirrored::Configured).is_err());
    assert_eq!(compact(&path, keep, Mirrored::Ignored).expect("it compacts").forgotten.requests, 1);
}

#[test]
fn without_a_mirror_the_ledger_has_no_triggers_and_no_notes() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = Ledger::open(&options(folder.path())).expect("the ledger opens").0;
    ledger.mirror_to(None).expect("there is none");
    let notes = |ledger: &Ledger| -> i64 {
        let sql = "SELECT count(*) FROM sqlite_schema WHERE name LIKE 'mirror%'";
        ledger.views().map(|views| views.query_row(sql, [], |row| row.get(0)).expect("a count")).expect("views")
    };
    assert_eq!(notes(&ledger), 0);
    end(ledger);
    let ledger = open(folder.path(), "postgres://farthing@127.0.0.1:1/nothing?sslmode=disable");
    assert_eq!(notes(&ledger), 9);
    end(ledger);
    let ledger = Ledger::open(&options(folder.path())).expect("the ledger opens").0;
    ledger.mirror_to(None).expect("it forgets");
    assert_eq!(notes(&ledger), 0);
}
