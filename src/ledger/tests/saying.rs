//! Feedback: the last word of a key on a subject, also of a process that was killed, until it is forgotten.

use jiff::civil::date;
use jiff::tz::TimeZone;

use super::*;
use crate::ledger::compact::{Mirrored, compact};
use crate::ledger::feedback::{Subject, owners};
use crate::ledger::record::Feedback;

fn said<'a>(request: Option<RequestId>, key: &'a str, outcome: &'a str) -> Record<'a> {
    Record::Feedback(Box::new(Feedback {
        team: "data-platform",
        key,
        request,
        run: if request.is_some() { "" } else { "run-7" },
        at_ms: 1_790_000_001_000,
        outcome,
        score_ppm: None,
        resolved_incidents: Some(1),
        saved_milli_hours: None,
        note: None,
    }))
}

const KEPT: &str = "SELECT request_id IS NULL, run, key, outcome FROM feedback_v1 ORDER BY 1, 3";

#[test]
fn the_last_word_of_a_key_on_a_subject_outlives_a_kill() {
    let (folder, ledger) = fresh();
    let id = RequestId::new();
    append(&ledger, &[closed(id), said(Some(id), "ops", "success"), said(None, "ops", "partial")]);
    sync(&ledger);
    append(&ledger, &[said(Some(id), "dev", "success"), said(Some(id), "ops", "failure")]);
    let copy = killed_copy(folder.path());
    let (again, _) = open(copy.path());
    check_rows(&again, KEPT, &["0|-|dev|success", "0|-|ops|failure", "1|run-7|ops|partial"]);
}

#[test]
fn a_subject_is_found_with_its_team_and_within_given_teams_only() {
    let (_folder, ledger) = fresh();
    let id = RequestId::new();
    append(&ledger, &[closed(id), closed(RequestId::new())]);
    sync(&ledger);
    let views = ledger.views().expect("the views open");
    let found = |subject: &Subject, teams| owners(&views, subject, teams).expect("it reads").len();
    for subject in [Subject::Request(id), Subject::Run("run-7".to_owned())] {
        assert_eq!(found(&subject, None), 1);
        assert_eq!(found(&subject, Some(&["other", "data-platform"][..])), 1);
        assert_eq!(found(&subject, Some(&["other"][..])), 0);
    }
    assert_eq!(found(&Subject::Run("run-8".to_owned()), None), 0);
    let plan = "EXPLAIN QUERY PLAN SELECT * FROM requests WHERE run = 'r' AND team = 't' LIMIT 9";
    assert!(rows(&views, plan)[0].contains("requests_by_run"), "no run is looked for row by row");
}

#[test]
fn feedback_is_forgotten_with_the_rows_of_its_time() {
    let (folder, ledger) = fresh();
    append(&ledger, &[said(None, "ops", "success")]);
    ledger.close().expect("it closes");
    drop(ledger);
    let kept = |first_kept| {
        compact(&folder.path().join("farthing.db"), Some((first_kept, &TimeZone::UTC)), Mirrored::NotConfigured)
            .expect("it compacts");
        rows(&open(folder.path()).0.views().expect("the views open"), KEPT).len()
    };
    // It was said in September 2026.
    assert_eq!(kept(date(2026, 9, 1)), 1);
    assert_eq!(kept(date(2026, 10, 1)), 0);
}
