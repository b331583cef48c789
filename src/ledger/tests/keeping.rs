//! Looking through a ledger, copying it and compacting it, with and without an owner.

use std::io::Write as _;

use super::*;
use crate::ledger::backup::{BackedUp, Existing, backup};
use crate::ledger::compact::{Mirrored, compact};
use crate::ledger::segment::{self, beside};
use crate::ledger::verify::{Verified, verify};
use crate::limits::LEDGER_FINDINGS_MAX;

fn database(folder: &Path) -> std::path::PathBuf {
    folder.join("farthing.db")
}

fn look(folder: &Path) -> Verified {
    verify(&database(folder), &mut |_| {}).expect("it can be looked through")
}

fn copy(from: &Path, to: &Path, existing: Existing) -> Result<BackedUp, String> {
    backup(&database(from), to, existing, &mut |_| {}).map_err(|error| error.to_string())
}

/// Two requests that are done and one that is open.
fn busy() -> (TempDir, Ledger) {
    let (folder, ledger) = fresh();
    let at_ms = facts(RequestId::new()).at_ms;
    for cost in [7, 8] {
        let id = stating::request_at(at_ms);
        append(&ledger, &[intent(attempt(id, 1)), outcome(attempt(id, 1), 3, None)]);
        append(&ledger, &[intent(attempt(id, 2)), outcome(attempt(id, 2), cost, Some(closing()))]);
    }
    append(&ledger, &[intent(attempt(stating::request_at(at_ms), 1))]);
    (folder, ledger)
}

#[test]
fn a_look_through_a_ledger_counts_and_sums_while_its_owner_runs() {
    let (folder, ledger) = busy();
    sync(&ledger);
    let seen = look(folder.path());
    assert_eq!((seen.found, seen.findings.len(), seen.owned), (0, 0, true));
    assert_eq!((seen.requests, seen.attempts, seen.open_requests), (3, 5, 1));
    let completed = seen.fates["completed"];
    assert_eq!((completed.attempts, completed.uncertain, completed.known), (4, 0, NanoUsd(21)));
    let open = seen.fates["open"];
    assert_eq!((open.attempts, open.uncertain, open.interval), (1, 1, (NanoUsd(0), Some(BOUND))));
    assert_eq!((seen.journal.segments, seen.journal.records, seen.journal.records_unapplied), (1, 9, 0));
    assert_eq!(seen.notes, ["open: 1 attempt, 1 request; on their way"]);
    ledger.close().expect("it closes");
    drop(ledger);
    let seen = look(folder.path());
    assert!(!seen.owned && seen.found == 0, "{seen:?}");
}

#[test]
fn what_a_kill_left_is_no_finding() {
    let (folder, ledger) = busy();
    sync(&ledger);
    let copy = killed_copy(folder.path());
    let seen = look(copy.path());
    assert_eq!(seen.found, 0, "{seen:?}");
    assert_eq!(
        seen.notes,
        ["open: 1 attempt, 1 request; nobody has the ledger open: the next start replays the journal and \
          closes what is left"]
    );
}

/// What `verify` says of a sound ledger after `sql` was run on it.
#[track_caller]
fn check_finding(sql: &str, expected: &[&str]) {
    let (folder, ledger) = fresh();
    let id = RequestId(uuid::Uuid::from_u128(0x0199_0000_0000_7000_8000_0000_0000_0001));
    append(&ledger, &[intent(attempt(id, 1)), outcome(attempt(id, 1), 7, Some(closing()))]);
    ledger.close().expect("it closes");
    drop(ledger);
    let tables = Connection::open(database(folder.path())).expect("it opens");
    tables.execute_batch(sql).expect("it runs");
    drop(tables);
    let findings: Vec<String> =
        look(folder.path()).findings.into_iter().map(|found| format!("{}: {}", found.subject, found.what)).collect();
    assert_eq!(findings, expected, "{sql}");
}

const REQUEST: &str = "01990000-0000-7000-8000-000000000001";

#[test]
fn every_amount_and_id_that_cannot_be_is_found() {
    check_finding("", &[]);
    check_finding(
        "UPDATE requests SET cost_high_nano = 8",
        &[&format!("{REQUEST}: it costs (7, 7, 8) nano; wanted the sum of its attempts, (7, 7, 7) nano")],
    );
    check_finding("DELETE FROM requests", &[&format!("{REQUEST}-1: its request `{REQUEST}` is not there")]);
    check_finding(
        "DELETE FROM attempts",
        &[&format!("{REQUEST}: it costs (7, 7, 7) nano; wanted the sum of its attempts, (0, 0, 0) nano")],
    );
    check_finding(
        "UPDATE attempts SET cost_nano = NULL; UPDATE requests SET cost_nano = NULL",
        &[&format!("{REQUEST}-1: it is settled (completed) and costs (7, null, 7) nano; wanted an amount")],
    );
    check_finding(
        "UPDATE attempts SET cost_low_nano = 8; UPDATE requests SET cost_low_nano = 8",
        &[&format!("{REQUEST}-1: it costs (8, 7, 7) nano; wanted low <= exact <= high")],
    );
    check_finding(
        "UPDATE attempts SET cost_low_nano = 8, cost_high_nano = 9; UPDATE requests SET cost_low_nano = 8, cost_high_nano = 9",
        &[&format!("{REQUEST}-1: it costs (8, 7, 9) nano; wanted low <= exact <= high")],
    );
    check_finding(
        "UPDATE attempts SET attempt_id = request_id || '-01'",
        &[&format!("{REQUEST}-01: it is no attempt's id of its request; wanted `{REQUEST}-` and a number from 1")],
    );
    check_finding("UPDATE attempts SET fate = 'lost'", &[&format!("{REQUEST}-1: its fate is `lost`, which is none")]);
    check_finding(
        "UPDATE attempts SET request_id = upper('x-') , attempt_id = 'X--1'; UPDATE requests SET request_id = 'X-'",
        &[
            "X--1: it is no attempt's id of its request; wanted `X--` and a number from 1",
            "X-: it is no id of ours; wanted a UUID in lower case",
        ],
    );
    check_finding(
        "UPDATE requests SET baseline_nano = 9, saved_fallback_nano = 0, saved_compress_nano = 0, saved_cache_nano = 0",
        &[&format!("{REQUEST}: it saved 2 nano; wanted parts that make the whole, found (null, 0, null, 0, 0)")],
    );
    check_finding(
        "UPDATE requests SET baseline_nano = 9, saved_fallback_nano = 0, saved_retry_nano = -1, saved_compress_nano = 0,
         saved_cache_nano = 0",
        &[&format!("{REQUEST}: it saved (3, 0, -1, 0, 0) nano; wanted 0 by retry, the attempts besides its last")],
    );
    check_finding(
        "UPDATE journal SET offset = 33",
        &["farthing.db.journal-000001: the tables are at byte 33 of it, where no record ends"],
    );
    check_finding(
        "UPDATE journal SET segment = 7",
        &["farthing.db.journal-000007: it is missing, and the tables have not passed it"],
    );
}

#[test]
fn what_is_unpriced_or_in_doubt_is_no_finding() {
    check_finding(
        "UPDATE attempts SET price_version = NULL, cost_low_nano = 0, cost_nano = NULL, cost_high_nano = NULL;
         UPDATE requests SET cost_low_nano = 0, cost_nano = NULL, cost_high_nano = NULL",
        &[],
    );
    check_finding(
        "UPDATE attempts SET fate = 'interrupted', source = 'unknown', cost_low_nano = 0, cost_nano = NULL;
         UPDATE requests SET cost_low_nano = 0, cost_nano = NULL",
        &[],
    );
}

#[test]
fn the_sum_of_a_fate_has_no_bound_if_one_of_its_attempts_has_none() {
    let (folder, ledger) = fresh();
    for ordinal in 1..=3 {
        let id = attempt(RequestId(uuid::Uuid::from_u128(ordinal)), 1);
        let bound = (ordinal != 2).then_some(BOUND);
        let Record::Intent(begun) = intent(id) else { unreachable!("that is what it is") };
        append(&ledger, &[Record::Intent(Intent { bound, ..begun })]);
    }
    sync(&ledger);
    assert_eq!(look(folder.path()).fates["open"].interval, (NanoUsd(0), None));
}

#[test]
fn what_an_owner_is_writing_just_now_is_not_torn() {
    let (folder, ledger) = busy();
    sync(&ledger);
    let written = killed_copy(folder.path());
    for folder in [folder.path(), written.path()] {
        let journal = segment::path_of(&database(folder), 1);
        let mut journal = std::fs::OpenOptions::new().append(true).open(journal).expect("it opens");
        journal.write_all(&[7; 5]).expect("it writes");
    }
    let told = |folder: &Path| look(folder).notes.iter().any(|note| note.contains("unfinished write"));
    assert!(!told(folder.path()), "its owner is about to finish it");
    assert!(told(written.path()), "nobody is");
}

#[test]
fn findings_beyond_the_listed_ones_are_counted() {
    let (folder, ledger) = fresh();
    for _ in 0..LEDGER_FINDINGS_MAX + 20 {
        append(&ledger, &[closed(RequestId::new())]);
    }
    ledger.close().expect("it closes");
    Connection::open(database(folder.path()))
        .and_then(|tables| tables.execute_batch("UPDATE requests SET cost_nano = 1"))
        .expect("it runs");
    let seen = look(folder.path());
    assert_eq!((seen.found, seen.findings.len()), (LEDGER_FINDINGS_MAX as u64 + 20, LEDGER_FINDINGS_MAX));
}

#[test]
fn a_damaged_file_has_findings_and_never_a_panic() {
    let (folder, ledger) = fresh();
    for _ in 0..600 {
        let id = attempt(RequestId::new(), 1);
        append(&ledger, &[intent(id), outcome(id, 7, Some(closing()))]);
    }
    ledger.close().expect("it closes");
    drop(ledger);
    let whole = std::fs::read(database(folder.path())).expect("it reads");
    let pages = whole.len() / 8192;
    for page in [0, 1, 2, pages / 2, pages - 1] {
        let mut bytes = whole.clone();
        bytes[page * 8192 + 100..(page + 1) * 8192].fill(0x5a);
        std::fs::write(database(folder.path()), &bytes).expect("it writes");
        // Free pages may hold anything.
        let found = look(folder.path()).found;
        assert!(found > 0, "page {page}");
        let told = copy(folder.path(), &folder.path().join("copy.db"), Existing::Keep).expect_err("it is damaged");
        assert!(told.contains("damaged") || told.contains("not sound"), "{told}");
        assert!(!folder.path().join("copy.db").exists() && !folder.path().join("copy.db.partial").exists());
    }
}

#[test]
fn a_damaged_journal_is_found_with_its_place() {
    let (folder, ledger) = busy();
    sync(&ledger);
    let copy = killed_copy(folder.path());
    let journal = segment::path_of(&database(copy.path()), 1);
    let mut bytes = std::fs::read(&journal).expect("it reads");
    bytes[50] ^= 1;
    std::fs::write(&journal, bytes).expect("it writes");
    let seen = look(copy.path());
    assert_eq!(seen.found, 1);
    assert!(seen.findings[0].what.contains("damaged at byte 32"), "{seen:?}");
}

#[test]
fn a_backup_of_a_running_ledger_has_all_that_was_appended_before_it_began() {
    let (folder, ledger) = busy();
    let to = tempfile::tempdir().expect("a temporary folder");
    // No waiting for the tables: what they lack is replayed onto the copy.
    let done = copy(folder.path(), &database(to.path()), Existing::Keep).expect("it copies");
    assert_eq!((done.verified.requests, done.verified.attempts), (3, 5));
    assert_eq!(done.bytes, database(to.path()).metadata().expect("it is there").len());
    let files: Vec<_> = to.path().read_dir().expect("it lists").flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(files, ["farthing.db"], "the copy is one file");
    append(&ledger, &[closed(RequestId::new())]);
    sync(&ledger);
    assert!(ledger.healthy() && ledger.failure().is_none());
    let (again, recovered) = open(to.path());
    assert!(recovered.journal_was_missing);
    assert_eq!(recovered.attempts_interrupted, 1);
    check_rows(&again, "SELECT count(*), sum(cost_nano) FROM attempts_v1", &["5|21"]);
    append(&again, &[closed(RequestId::new())]);
    check_rows(&again, "SELECT count(*) FROM requests_v1", &["4"]);
}

#[test]
fn backups_under_load_are_sound_and_complete() {
    let (folder, ledger) = fresh();
    ledger.journal.limit_segments(40_000);
    let stop = std::sync::atomic::AtomicBool::new(false);
    let appended = std::sync::atomic::AtomicU64::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..8_000 {
                if stop.load(std::sync::atomic::Ordering::Relaxed) {
                    break;
                }
                let id = attempt(RequestId::new(), 1);
                append(&ledger, &[intent(id), outcome(id, 7, Some(closing()))]);
                appended.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            }
        });
        for _ in 0..5 {
            let to = tempfile::tempdir().expect("a temporary folder");
            let before = appended.load(std::sync::atomic::Ordering::SeqCst);
            let done = copy(folder.path(), &database(to.path()), Existing::Keep).expect("it copies");
            assert!(done.verified.attempts >= before, "{} of {before}", done.verified.attempts);
            assert_eq!(look(folder.path()).found, 0);
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

#[test]
fn a_backup_put_back_beside_its_journal_catches_up() {
    let (folder, ledger) = busy();
    let to = tempfile::tempdir().expect("a temporary folder");
    let backup = database(to.path());
    copy(folder.path(), &backup, Existing::Keep).expect("it copies");
    append(&ledger, &[closed(RequestId::new())]);
    sync(&ledger);
    let lost = killed_copy(folder.path());
    for ending in ["", "-wal", "-shm"] {
        std::fs::remove_file(beside(&database(lost.path()), ending)).expect("it goes");
    }
    std::fs::copy(&backup, database(lost.path())).expect("it copies");
    let (again, recovered) = open(lost.path());
    assert!(recovered.records_replayed >= 1 && !recovered.journal_was_missing);
    check_rows(&again, "SELECT count(*) FROM requests_v1", &["4"]);
}

#[test]
fn a_backup_replaces_nothing_unasked_and_nothing_at_all_if_it_fails() {
    let (folder, ledger) = busy();
    let to = tempfile::tempdir().expect("a temporary folder");
    let place = database(to.path());
    let told = |result: Result<BackedUp, String>| {
        let told = result.expect_err("it is refused");
        [(to.path(), "TO"), (folder.path(), "DIR")].iter().fold(told, |told, (folder, name)| {
            told.replace(&*folder.canonicalize().expect("it is there").to_string_lossy(), name)
        })
    };
    std::fs::write(&place, "the last good backup").expect("it writes");
    let refused = told(copy(folder.path(), &place, Existing::Keep));
    assert_eq!(refused, "`TO/farthing.db` exists; wanted another name, or `--force` to replace it");
    let own = database(folder.path());
    assert!(
        told(copy(folder.path(), &own, Existing::Replace))
            .starts_with("`DIR/farthing.db` is the ledger itself; wanted")
    );
    assert!(told(copy(folder.path(), &own, Existing::Keep)).starts_with("`DIR/farthing.db` is the ledger itself"));
    let refused = verify(folder.path(), &mut |_| {}).expect_err("it is a folder").to_string();
    assert!(refused.ends_with("is not a farthing ledger: it is a folder; wanted a file"), "{refused}");
    std::fs::write(beside(&place, "-wal"), "").expect("it writes");
    let refused = told(copy(folder.path(), &place, Existing::Replace));
    assert_eq!(refused, "`TO/farthing.db-wal` is in the way: it would be taken for a part of the backup");
    std::fs::remove_file(beside(&place, "-wal")).expect("it goes");
    assert_eq!(std::fs::read_to_string(&place).expect("it reads"), "the last good backup");
    copy(folder.path(), &place, Existing::Replace).expect("it copies");
    assert_eq!(look(to.path()).found, 0);
    let nowhere = to.path().join("no/where.db");
    let refused = told(copy(folder.path(), &nowhere, Existing::Keep));
    assert!(refused.starts_with("cannot find the folder of the ledger `"), "{refused}");
    drop(ledger);
}

#[test]
fn an_older_ledger_is_backed_up_as_it_is() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let fixture = include_str!("version_1.sql");
    let tables = Connection::open(database(folder.path())).expect("it opens");
    tables.execute_batch(fixture).expect("the fixture is right");
    let place = folder.path().join("copy.db");
    let done = copy(folder.path(), &place, Existing::Keep).expect("it copies");
    assert_eq!(done.verified.version, 1);
    let mut segment = segment::Segment::create(&database(folder.path()), 3, 4711).expect("it is created");
    let mut buffer = vec![0; crate::ledger::frame::FRAME_BYTES_MAX];
    let frame = crate::ledger::frame::encode(&closed(RequestId::new()), &mut buffer).expect("it fits").to_vec();
    segment.append(std::iter::empty(), &frame).expect("it writes");
    let refused = copy(folder.path(), &place, Existing::Replace).expect_err("only the older program can replay that");
    assert!(refused.contains("is of an earlier version and not up to date"), "{refused}");
}

#[test]
fn compacting_gives_free_pages_back_and_keeps_every_row() {
    let (folder, ledger) = fresh();
    for _ in 0..2_000 {
        append(&ledger, &[closed(RequestId::new())]);
    }
    let refused =
        compact(&database(folder.path()), None, Mirrored::NotConfigured).expect_err("it is in use").to_string();
    assert!(refused.contains("is in use by another process"), "{refused}");
    ledger.close().expect("it closes");
    drop(ledger);
    Connection::open(database(folder.path()))
        .and_then(|tables| {
            tables.execute_batch("DELETE FROM requests WHERE request_id < (SELECT max(request_id) FROM requests)")
        })
        .expect("it runs");
    let done = compact(&database(folder.path()), None, Mirrored::NotConfigured).expect("it compacts");
    assert!(done.bytes_after < done.bytes_before / 2, "{done:?}");
    assert_eq!(look(folder.path()).found, 0);
    let (again, recovered) = open(folder.path());
    assert_eq!(recovered, Recovered::default());
    check_rows(&again, "SELECT count(*) FROM requests_v1", &["1"]);
}

#[test]
fn compacting_what_a_kill_left_replays_its_journal_first() {
    let (folder, ledger) = busy();
    let copy = killed_copy(folder.path());
    drop(ledger);
    let done = compact(&database(copy.path()), None, Mirrored::NotConfigured).expect("it compacts");
    assert_eq!(done.recovered.attempts_interrupted, 1);
    let seen = look(copy.path());
    assert_eq!((seen.found, seen.attempts, seen.journal.records), (0, 5, 0));
}

#[test]
fn rows_whose_time_is_not_where_their_id_says_are_named() {
    let (folder, ledger) = fresh();
    let at_ms = facts(RequestId::new()).at_ms;
    append(&ledger, &[intent(attempt(stating::request_at(at_ms), 1))]);
    sync(&ledger);
    assert_eq!(look(folder.path()).apart, (0, None));
    // The clock went back by two hours after an id had been made.
    let id = attempt(stating::request_at(at_ms + 7_200_000), 1);
    append(&ledger, &[intent(id)]);
    sync(&ledger);
    let seen = look(folder.path());
    assert_eq!(seen.apart, (2, Some(id.to_string())));
    let told = format!("2 rows have a time more than an hour from the one in the id, the first of them `{id}`");
    assert!(seen.found == 0 && seen.notes.iter().any(|note| note.starts_with(&told)), "{:?}", seen.notes);
}
