use jiff::civil::date;

use super::*;

const DAY: Date = date(2026, 11, 27);

fn told(told: i64) -> Ours {
    Ours { low: told, told, high: told, ..Ours::default() }
}

/// Reasons of a bill of `(day, model, nano-dollars)` beside our rows.
fn reasons(decimals: u32, theirs: &[(i8, &str, i64)], ours: &[(i8, &str, Ours)]) -> Vec<(i8, String, i64, String)> {
    let on = |day: i8| date(2026, 11, day);
    let mut bill = Bill { decimals, ..Bill::default() };
    theirs.iter().for_each(|(day, model, amount)| bill.add(on(*day), model, Measure::Cost, *amount));
    let ours = ours.iter().map(|(day, model, ours)| ((on(*day), (*model).to_owned()), *ours)).collect();
    compare(&bill, &ours).into_iter().map(|line| (line.day.day(), line.model, line.residual, line.reason)).collect()
}

#[track_caller]
fn check(decimals: u32, theirs: i64, ours: Ours, residual: i64, reason: &str) {
    let found = reasons(decimals, &[(27, "m", theirs)], &[(27, "m", ours)]);
    assert_eq!((found[0].2, found[0].3.as_str()), (residual, reason), "{theirs} beside {ours:?}");
}

#[test]
fn a_residual_has_the_reason_that_our_rows_speak_for() {
    check(9, 100, told(100), 0, "equal");
    check(4, 149_999, told(100_000), 49_999, "rounding of the bill");
    check(9, 100, told(101), -1, "rounding of the bill");
    let uncertain = Ours { low: 50, told: 60, high: 200, uncertain: 2, ..Ours::default() };
    check(9, 150, uncertain, 90, "within what 2 uncertain attempts may have cost");
    check(9, 250, uncertain, 190, "traffic that did not pass Farthing, or a price that is too low");
    let unpriced = Ours { uncertain: 3, unpriced: 3, unbounded: 3, ..Ours::default() };
    check(9, 9_999, unpriced, 9_999, "3 attempts have no price");
    check(9, 150, Ours { estimated: 1, high: 200, ..told(100) }, 50, "within what 1 estimated attempts may have cost");
    check(9, 50, told(100), -50, "a price that is too high, or a discount");
}

#[test]
fn what_only_one_side_has_is_told_apart() {
    let found = reasons(9, &[(27, "theirs", 5)], &[(27, "ours", told(7))]);
    assert_eq!((&*found[0].1, found[0].2), ("ours", -7));
    assert!(found[0].3.starts_with("not on the bill"), "{found:?}");
    assert_eq!((&*found[1].1, found[1].2), ("theirs", 5));
    assert!(found[1].3.starts_with("not in the ledger"), "{found:?}");
}

#[test]
fn what_moved_over_midnight_is_an_edge_and_no_loss() {
    let found = reasons(9, &[(26, "m", 90), (27, "m", 110)], &[(26, "m", told(100)), (27, "m", told(100))]);
    assert_eq!(found[0].3, "edge of the day: 2026-11-27 has the opposite");
    assert_eq!(found[1].3, "edge of the day: 2026-11-26 has the opposite");
}

#[test]
fn the_same_share_off_every_line_is_a_discount() {
    let theirs = [(26, "a", 850_000), (26, "b", 1_700_000), (27, "a", 425_000)];
    let ours = [(26, "a", told(1_000_000)), (26, "b", told(2_000_000)), (27, "a", told(500_000))];
    for line in reasons(9, &theirs, &ours) {
        assert_eq!(line.3, "a discount of 15.0 %, the same on every line");
    }
}

#[test]
fn a_dated_name_is_that_of_the_model_without_the_date() {
    let names = BTreeSet::from(["gpt-5.6-luna", "claude-x-20260101"]);
    for (theirs, ours) in [
        ("gpt-5.6-luna", "gpt-5.6-luna"),
        ("gpt-5.6-luna-2026-07-01", "gpt-5.6-luna"),
        ("claude-x", "claude-x-20260101"),
        ("claude-x-20260202", "claude-x-20260101"),
        ("gpt-5.6", "gpt-5.6"),
        ("-2026-07-01", "-2026-07-01"),
        ("é2026-07-01", "é2026-07-01"),
    ] {
        assert_eq!(ours_for(theirs, &names), ours);
    }
}

#[test]
fn a_bill_of_whole_days_is_held_against_all_models_and_credits_stand_apart() {
    let found = reasons(9, &[(27, "", 30)], &[(27, "a", told(10)), (27, "b", told(20))]);
    assert_eq!(found, [(27, String::new(), 0, "equal".to_owned())]);
    let mut bill = Bill::default();
    bill.add(DAY, "m", Measure::Cost, -500);
    bill.add(DAY, "m", Measure::Cost, 700);
    assert_eq!((bill.credits[&DAY], bill.billed[&(DAY, "m".to_owned(), Measure::Cost)].amount), (-500, 700));
}
