//! A disk that refuses writes, and segments that fill up.

use super::*;
use crate::limits::LEDGER_BACKLOG_RECORDS_MAX;

/// Lets the disk take `bytes` more.
fn leave_room(ledger: &Ledger, bytes: Option<u64>) {
    ledger.journal.with_segment(|segment| segment.room = bytes);
}

#[test]
fn a_full_disk_refuses_intents_and_keeps_outcomes() {
    let (_folder, ledger) = fresh();
    let id = RequestId::new();
    append(&ledger, &[intent(attempt(id, 1))]);
    for room in [0, 1, 20] {
        leave_room(&ledger, Some(room));
        let refused = ledger.append(&intent(attempt(id, 2))).expect_err("the disk is full");
        assert_eq!(refused.to_string(), "the ledger cannot write its journal: no storage space");
    }
    assert!(ledger.healthy(), "nothing that was accepted is missing");
    append(&ledger, &[outcome(attempt(id, 1), 7, Some(closing()))]);
    assert!(!ledger.healthy());
    assert!(ledger.append(&intent(attempt(id, 2))).is_err());
    leave_room(&ledger, None);
    check_rows(&ledger, "SELECT fate, cost_nano FROM attempts_v1", &["completed|7"]);
    assert!(ledger.healthy());
    assert_eq!((ledger.gaps(), ledger.lag()), (0, Duration::ZERO));
}

#[test]
fn mode_allow_keeps_intents_too() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let options = LedgerOptions { when_it_fails: WhenItFails::Allow, ..options(folder.path()) };
    let ledger = Ledger::open(&options).expect("the ledger opens").0;
    let id = RequestId::new();
    leave_room(&ledger, Some(10));
    append(&ledger, &[intent(attempt(id, 1)), outcome(attempt(id, 1), 7, Some(closing()))]);
    assert!(!ledger.healthy());
    leave_room(&ledger, None);
    check_rows(&ledger, "SELECT fate, cost_nano FROM attempts_v1", &["completed|7"]);
}

#[test]
fn what_a_full_backlog_cannot_keep_is_counted() {
    let (_folder, ledger) = fresh();
    leave_room(&ledger, Some(0));
    let record = closed(RequestId::new());
    for _ in 0..LEDGER_BACKLOG_RECORDS_MAX {
        append(&ledger, std::slice::from_ref(&record));
    }
    assert!(matches!(ledger.append(&record), Err(LedgerError::Unavailable { .. })));
    assert_eq!(ledger.gaps(), 1);
    let unsaved = ledger.close().expect_err("the last records have nowhere to go");
    assert_eq!(unsaved.to_string(), "the ledger cannot write its journal: the disk refused the last records");
}

#[test]
fn a_failed_write_leaves_no_trace_for_the_next_start() {
    let (folder, ledger) = fresh();
    let id = RequestId::new();
    append(&ledger, &[intent(attempt(id, 1))]);
    leave_room(&ledger, Some(30));
    assert!(ledger.append(&intent(attempt(id, 2))).is_err());
    leave_room(&ledger, None);
    append(&ledger, &[outcome(attempt(id, 1), 7, Some(closing()))]);
    sync(&ledger);
    let copy = killed_copy(folder.path());
    let (again, recovered) = open(copy.path());
    assert_eq!(recovered, Recovered::default());
    check_rows(&again, "SELECT fate, cost_nano FROM attempts_v1", &["completed|7"]);
}

#[test]
fn a_full_segment_is_followed_by_another_and_deleted() {
    let (folder, ledger) = fresh();
    let segments = || crate::ledger::segment::list(&folder.path().join("farthing.db")).expect("the folder lists");
    let id = RequestId::new();
    append(&ledger, &[intent(attempt(id, 1))]);
    ledger.journal.limit_segments(200);
    append(&ledger, &[outcome(attempt(id, 1), 7, Some(closing()))]);
    sync(&ledger);
    append(&ledger, &[closed(RequestId::new())]);
    sync(&ledger);
    append(&ledger, &[closed(RequestId::new())]);
    sync(&ledger);
    assert!(segments().first().is_some_and(|first| *first > 1), "{:?}", segments());
    check_rows(&ledger, "SELECT count(*) FROM requests_v1", &["3"]);
    drop(ledger);
    assert_eq!(open(folder.path()).1, Recovered::default());
}
