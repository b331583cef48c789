//! Sums of what payers have spent follow the rows, whoever writes those.

use jiff::civil::date;
use jiff::tz::TimeZone;

use super::stating::spend_at;
use super::*;
use crate::ledger::compact::{Mirrored, compact};
use crate::ledger::record::Reconciled;
use crate::ledger::{Balances, Spender, Spent, Users};
use crate::report::midnight;

/// What was spent in all, and by whom.
#[track_caller]
fn check(ledger: &Ledger, users: Users, expected: &[(&str, i64)]) {
    sync(ledger);
    let spent = ledger.spent_since(users, 0).expect("sums");
    let told: Vec<_> = spent.iter().map(|spent| (spent.who.user.as_str(), spent.nano)).collect();
    assert_eq!(told, expected);
    let rows = rows(&ledger.views().unwrap(), "SELECT coalesce(sum(cost_high_nano), 0) FROM requests_v1");
    assert_eq!(rows, [spent.iter().map(|spent| spent.nano).sum::<i64>().to_string()], "as the rows have it");
}

#[test]
fn sums_begin_with_the_rows_that_are_there_and_follow_those_that_come() {
    let (_folder, ledger) = fresh();
    let [first, second] = [RequestId::new(), RequestId::new()];
    append(&ledger, &[intent(attempt(first, 1)), outcome(attempt(first, 1), 9, Some(closing()))]);
    check(&ledger, Users::Together, &[("", 9)]);
    append(&ledger, &[intent(attempt(second, 1)), outcome(attempt(second, 1), 30, None)]);
    check(&ledger, Users::Together, &[("", 39)]);
    append(&ledger, &[intent(attempt(second, 2)), outcome(attempt(second, 2), 5, Some(closing()))]);
    check(&ledger, Users::Together, &[("", 44)]);
    let spent: Vec<Spent> = ledger.spent_since(Users::Together, 1_790_000_000_000).unwrap();
    let quarter = 1_790_000_000_000 / 900_000 * 900_000;
    let who =
        Spender { team: "data-platform".into(), key: "ops".into(), project: "warehouse".into(), user: String::new() };
    assert_eq!(spent, [Spent { at_ms: quarter, who, nano: 44 }]);
    assert_eq!(ledger.spent_since(Users::Together, quarter + 900_000).unwrap(), []);
}

#[test]
fn balances_are_read_alike_from_sums_and_from_rows_with_what_is_under_way() {
    let (_folder, ledger) = fresh();
    let [ended, open] = [RequestId::new(), RequestId::new()];
    append(&ledger, &[intent(attempt(ended, 1)), outcome(attempt(ended, 1), 9, Some(closing()))]);
    append(&ledger, &[intent(attempt(open, 1))]);
    sync(&ledger);
    let read = |since| Balances::read(&ledger.views().unwrap(), Users::Together, since).expect("balances");
    let of_rows = read(0);
    let nano = |spent: &[Spent]| spent.iter().map(|spent| spent.nano).collect::<Vec<_>>();
    assert_eq!((nano(&of_rows.spent), nano(&of_rows.open)), (vec![9 + BOUND.0], vec![BOUND.0]));
    assert_eq!((&*of_rows.open[0].who.team, &*of_rows.spent[0].who.user), ("data-platform", ""));
    assert_eq!(nano(&read(of_rows.spent[0].at_ms + 900_000).spent), [0; 0]);
    check(&ledger, Users::Together, &[("", 9 + BOUND.0)]);
    assert_eq!(read(0), of_rows);
}

#[test]
fn an_attempt_that_a_crash_left_open_counts_at_its_bound_until_the_truth_is_known() {
    let (folder, ledger) = fresh();
    check(&ledger, Users::Together, &[]);
    let id = RequestId::new();
    append(&ledger, &[intent(attempt(id, 1))]);
    sync(&ledger);
    let copy = killed_copy(folder.path());
    let (ledger, _) = open(copy.path());
    check(&ledger, Users::Together, &[("", BOUND.0)]);
    let usage = Usage { input_tokens: 5, output_tokens: 6, ..Usage::default() };
    let word = Reconciled { attempt: attempt(id, 1), at_ms: 5, tokens: usage.into(), cost: NanoUsd(700), export: "e" };
    append(&ledger, &[Record::Reconciled(word)]);
    check(&ledger, Users::Together, &[("", 700)]);
}

#[test]
fn each_attempt_counts_at_its_own_high_end_or_at_what_is_known_of_it() {
    let estimated = CostInterval { low: NanoUsd(5), exact: Some(NanoUsd(7)), high: Some(NanoUsd(9)) };
    let unbounded = CostInterval { low: NanoUsd(40), exact: None, high: None };
    let enforced = 9 + 40 + 300;
    for kept in [true, false] {
        let (folder, ledger) = fresh();
        if kept {
            check(&ledger, Users::Together, &[]);
        }
        let id = RequestId::new();
        let cost = |ordinal, cost, closes| {
            let Record::Outcome(told) = outcome(attempt(id, ordinal), 0, closes) else { unreachable!("an outcome") };
            append(&ledger, &[intent(attempt(id, ordinal)), Record::Outcome(Outcome { cost, ..told })]);
        };
        cost(1, estimated, None);
        cost(2, unbounded, None);
        cost(3, CostInterval::exactly(NanoUsd(300)), Some(closing()));
        sync(&ledger);
        let of = |spent: &[Spent]| spent.iter().map(|spent| spent.nano).collect::<Vec<_>>();
        let read = Balances::read(&ledger.views().unwrap(), Users::Together, 0).expect("balances");
        assert_eq!(of(&read.spent), [enforced], "as they are read, with sums kept: {kept}");
        drop(ledger);
        let (ledger, _) = open(folder.path());
        let spent = ledger.spent_since(Users::Together, 0).expect("sums");
        assert_eq!(of(&spent), [enforced], "after a start, with sums kept: {kept}");
    }
}

#[test]
fn users_are_told_apart_from_the_start_that_wants_it() {
    let (_folder, ledger) = fresh();
    for user in ["ann", "bob", "ann"] {
        let id = RequestId::new();
        let request = RequestFacts { user: Some(user), ..facts(id) };
        let Record::Intent(first) = intent(attempt(id, 1)) else { unreachable!("an intent") };
        append(&ledger, &[Record::Intent(Intent { request: Some(request), ..first })]);
        append(&ledger, &[outcome(attempt(id, 1), 9, Some(closing()))]);
    }
    check(&ledger, Users::Together, &[("", 27)]);
    check(&ledger, Users::Apart, &[("ann", 18), ("bob", 9)]);
    check(&ledger, Users::Together, &[("ann", 18), ("bob", 9)]);
}

#[test]
fn what_was_spent_outlives_the_rows_that_are_forgotten() {
    let (folder, ledger) = fresh();
    let day = |month, day| midnight(date(2026, month, day), &TimeZone::UTC);
    check(&ledger, Users::Together, &[]);
    spend_at(&ledger, day(9, 30), "ops", 7);
    spend_at(&ledger, day(10, 1), "ops", 9);
    sync(&ledger);
    drop(ledger);
    compact(&folder.path().join("farthing.db"), Some((date(2026, 10, 1), &TimeZone::UTC)), Mirrored::NotConfigured)
        .expect("it compacts");
    let (ledger, _) = open(folder.path());
    let spent = ledger.spent_since(Users::Together, 0).expect("sums");
    assert_eq!(
        spent.iter().map(|spent| (spent.at_ms, spent.nano)).collect::<Vec<_>>(),
        [(day(9, 30), 7), (day(10, 1), 9)]
    );
}

#[test]
fn sums_of_an_earlier_version_begin_anew_but_for_rows_that_are_forgotten() {
    let (folder, ledger) = fresh();
    spend_at(&ledger, midnight(date(2026, 10, 1), &TimeZone::UTC), "ops", 9);
    check(&ledger, Users::Together, &[("", 9)]);
    drop(ledger);
    let database = Connection::open(folder.path().join("farthing.db")).expect("it opens");
    let earlier = "UPDATE spent SET nano = 1; DROP TRIGGER spent_counted;
        CREATE TRIGGER spent_added AFTER INSERT ON requests BEGIN UPDATE spent SET nano = 0; END;
        INSERT INTO spent VALUES (1800000, 'data-platform', 'ops', '', '', 7);";
    database.execute_batch(earlier).expect("it is changed");
    drop(database);
    let (ledger, _) = open(folder.path());
    let spent = || ledger.spent_since(Users::Together, 0).expect("sums").iter().map(|spent| spent.nano).sum::<i64>();
    assert_eq!(spent(), 9 + 7);
    spend_at(&ledger, midnight(date(2026, 10, 1), &TimeZone::UTC), "ops", 30);
    sync(&ledger);
    assert_eq!(spent(), 9 + 7 + 30);
}
