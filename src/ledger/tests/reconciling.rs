//! An export settles what was in doubt and contradicts nothing silently.

use super::*;
use crate::ledger::export::ExportRow;
use crate::ledger::reconcile::{Difference, Report};

fn billed(id: &str, cost: i64) -> ExportRow {
    ExportRow { line: 1, client_request_id: id.to_owned(), model: None, usage: None, cost: NanoUsd(cost) }
}

#[test]
fn an_export_settles_doubt_once_and_lists_contradictions() {
    let (folder, first) = fresh();
    let ids: Vec<AttemptId> = (0..4).map(|_| attempt(RequestId::new(), 1)).collect();
    append(&first, &ids.iter().map(|id| intent(*id)).collect::<Vec<_>>());
    append(&first, &[outcome(ids[0], 7, Some(closing())), outcome(ids[1], 8, Some(closing()))]);
    sync(&first);
    let copy = killed_copy(folder.path());
    let (ledger, recovered) = open(copy.path());
    assert_eq!(recovered.attempts_interrupted, 2);
    let rows: Vec<ExportRow> = [7, 9, 600, 1_500]
        .into_iter()
        .zip(&ids)
        .map(|(cost, id)| billed(&id.to_string(), cost))
        .chain([billed("chatcmpl-of-somebody-else", 5), billed(&attempt(RequestId::new(), 1).to_string(), 5)])
        .collect();
    let report = ledger.reconcile("openai", "june.csv", 99, &rows).expect("it reconciles");
    let exactly = |amount| CostInterval::exactly(NanoUsd(amount));
    let interrupted = CostInterval { low: NanoUsd::ZERO, exact: None, high: Some(BOUND) };
    assert_eq!(
        report,
        Report {
            matched: 4,
            unchanged: 1,
            corrected: 2,
            corrected_cost: NanoUsd(2_100),
            unmatched: rows[4..].iter().map(|row| row.client_request_id.clone()).collect(),
            differences: vec![Difference { attempt: ids[1], ledger: exactly(8), export: NanoUsd(9) }],
            outside_interval: vec![Difference { attempt: ids[3], ledger: interrupted, export: NanoUsd(1_500) }],
            in_doubt: 0,
        }
    );
    check_rows(
        &ledger,
        "SELECT fate, source, cost_low_nano, cost_nano, cost_high_nano, overshoot_nano, export
         FROM attempts_v1 ORDER BY attempt_id",
        &[
            "completed|reported|7|7|7|-|-",
            "completed|reported|8|8|8|-|-",
            "interrupted|reported|600|600|600|-|june.csv",
            "interrupted|reported|1500|1500|1500|500|june.csv",
        ],
    );
    check_rows(&ledger, "SELECT sum(cost_nano) FROM requests_v1", &["2115"]);
    let again = ledger.reconcile("openai", "june.csv", 100, &rows).expect("it reconciles");
    assert_eq!((again.unchanged, again.corrected, again.differences.len()), (3, 0, 1));
}

#[test]
fn another_providers_export_matches_nothing() {
    let (_folder, ledger) = fresh();
    let id = attempt(RequestId::new(), 1);
    append(&ledger, &[intent(id), outcome(id, 7, Some(closing()))]);
    let report = ledger.reconcile("anthropic", "e", 1, &[billed(&id.to_string(), 9)]).expect("it reconciles");
    assert_eq!((report.matched, report.unmatched.len()), (0, 1));
}
