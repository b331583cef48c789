//! The question that the README asks of a ledger.

use rusqlite::types::Value;

use super::*;

const README: &str = include_str!("../../../README.md");

/// The SQL between the quotes of the README's example.
fn question() -> &'static str {
    let (_, rest) = README.split_once("farthing.db \"\n").expect("the README asks the ledger");
    rest.split_once('"').expect("its question ends").0
}

/// An attempt that cost `cost` in the view of `source`; `None`: it is still open.
fn ended(ledger: &Ledger, model: &'static str, end: Option<(Source, CostInterval)>) {
    let id = attempt(RequestId::new(), 1);
    let (Record::Intent(left), Record::Outcome(told)) = (intent(id), outcome(id, 0, Some(closing()))) else {
        unreachable!("that is what they are")
    };
    append(ledger, &[Record::Intent(Intent { model, ..left })]);
    if let Some((source, cost)) = end {
        append(ledger, &[Record::Outcome(Outcome { source, cost, ..told })]);
    }
}

#[test]
fn the_question_of_the_readme_is_answered_without_calling_anything_known_that_is_not() {
    let (_folder, ledger) = fresh();
    let exactly = |nano| CostInterval::exactly(NanoUsd(nano));
    let between = |exact, high| CostInterval { low: NanoUsd::ZERO, exact, high };
    for (model, source, cost) in [
        ("bounded", Source::Reported, exactly(2_000_000_000)),
        ("bounded", Source::Estimated, between(Some(NanoUsd(500_000_000)), Some(NanoUsd(3_000_000_000)))),
        ("bounded", Source::Unknown, between(None, Some(NanoUsd(4_000_000_000)))),
        ("unbounded", Source::Reported, exactly(1_000_000_000)),
        ("unbounded", Source::Unknown, between(None, Some(NanoUsd(7)))),
        ("unbounded", Source::Unknown, between(None, None)),
    ] {
        ended(&ledger, model, Some((source, cost)));
    }
    ended(&ledger, "bounded", None);
    sync(&ledger);
    let views = ledger.views().expect("the views open");
    let mut statement = views.prepare(question()).expect("the README's SQL is valid");
    let names: Vec<String> = statement.column_names().skip(2).map(str::to_owned).collect();
    assert_eq!(names, ["model", "attempts", "usd", "estimated_usd", "uncertain", "open", "at_most_usd"]);
    let rows =
        statement.query_map([], |row| (2..9).map(|column| row.get(column)).collect::<rusqlite::Result<Vec<_>>>());
    let rows: Vec<Vec<Value>> = rows.expect("it runs").collect::<Result<_, _>>().expect("rows");
    let (text, whole, real) = (|text: &str| Value::Text(text.to_owned()), Value::Integer, Value::Real);
    assert_eq!(
        rows,
        [
            vec![text("bounded"), whole(4), real(2.0), real(0.5), whole(1), whole(1), real(9.000_001)],
            vec![text("unbounded"), whole(3), real(1.0), Value::Null, whole(2), whole(0), Value::Null],
        ]
    );
}
