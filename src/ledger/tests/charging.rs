//! Charges of closed months, as an export for finance has them: what was stated stays, corrections are billed later.

use jiff::civil::{Date, date};
use jiff::tz::TimeZone;

use super::stating::spend_at;
use super::*;
use crate::cost::Book;
use crate::ledger::by_day::{self, Forgotten};
use crate::ledger::compact::{Mirrored, compact};
use crate::ledger::record::{KnownTokens, Reconciled};
use crate::ledger::rerate::Rerating;
use crate::ledger::rollup;
use crate::ledger::stated::{as_they_stand, books};
use crate::ledger::statements::{Books, Month, StatementError};
use crate::report::focus::Charge;
use crate::report::{By, Report, midnight};

const OCTOBER: Date = date(2026, 10, 1);
const NOVEMBER: Date = date(2026, 11, 1);
const DECEMBER: Date = date(2026, 12, 1);
const LAST: Date = date(2026, 12, 31);

fn spend(ledger: &Ledger, day: Date, nano: i64) -> AttemptId {
    spend_at(ledger, midnight(day, &TimeZone::UTC) + 7_200_000, "ops", nano)
}

fn close(folder: &Path, first: Date) {
    let month = Month { first, zone: TimeZone::UTC, zone_name: "UTC".to_owned() };
    let mut books = Books::open(&folder.join("farthing.db"), "cli:ops").expect("the books open");
    books.close(&month, None, midnight(DECEMBER, &TimeZone::UTC)).expect("it closes");
}

/// Day, month that it is billed in, cost with what was adjusted; corrections with a star.
fn charges(ledger: &Ledger, days: (Date, Date)) -> Vec<String> {
    sync(ledger);
    let (views, zone) = (ledger.views().expect("the views open"), TimeZone::UTC);
    let by = [By::Day, By::Team, By::Project, By::Model];
    let beyond = midnight(days.1.tomorrow().expect("a day"), &zone);
    let lines = rollup::lines(&views, &by, midnight(days.0, &zone), beyond, &zone).expect("lines");
    let charge = |row: crate::report::Row| {
        let [day, team, project, model] = <[String; 4]>::try_from(row.names).expect("four names");
        let day: Date = day.parse().expect("a day");
        Charge {
            days: (day, day.tomorrow().expect("a day")),
            billed: day.first_of_month(),
            is_correction: false,
            team,
            project,
            model,
            service_tier: String::new(),
            figures: row.figures,
            is_forgotten: false,
        }
    };
    let charges: Vec<Charge> = Report::of(&by, lines, &zone).rows.into_iter().map(charge).collect();
    let books = books(&views, &zone).expect("it reads");
    let now = as_they_stand(&views, &books, &zone).expect("it reads");
    let told = |charge: Charge| {
        let star = if charge.is_correction { " *" } else { "" };
        let (billed, cost) = (charge.billed.strftime("%Y-%m"), charge.figures.cost + charge.figures.adjusted);
        format!("{} {billed} {cost}{star}", charge.days.0)
    };
    books.bill(charges, &now, days).into_iter().map(told).collect()
}

#[test]
fn a_closed_month_is_exported_as_it_was_stated_and_corrections_are_charges_of_later_ones() {
    let (folder, ledger) = fresh();
    let october = (OCTOBER, date(2026, 10, 31));
    let id = spend(&ledger, date(2026, 10, 7), 5);
    spend(&ledger, date(2026, 11, 3), 1);
    let stated = ["2026-10-07 2026-10 5"];
    assert_eq!(charges(&ledger, october), stated);
    close(folder.path(), OCTOBER);
    assert_eq!(charges(&ledger, october), stated);
    // A re-rating of both months: 1,000 tokens at 0.20 a million and 10 at 1.20 are 212 micro-dollars.
    let rows = Book::parse("p.yaml", "- { model: openai/gpt-5.6-luna, usd_per_million: { input: 0.2, output: 1.2 } }");
    let rows = rows.expect("prices");
    let (zone, days) = (TimeZone::UTC, (OCTOBER, date(2026, 11, 30)));
    let rerating =
        Rerating { days, zone: &zone, file: "p.yaml", sha256: "5e1f", rows: &rows, in_force: Book::builtin() };
    let mut hand = Books::open(&folder.path().join("farthing.db"), "cli:ops").expect("the books open");
    hand.rerate(&rerating, 1).expect("it rates");
    let november = ["2026-11-03 2026-11 212000", "2026-10-07 2026-11 211995 *"];
    let mut later = charges(&ledger, (NOVEMBER, date(2026, 11, 30)));
    later.sort_by_key(|told| told.ends_with('*'));
    assert_eq!(
        (charges(&ledger, october), later),
        (stated.map(str::to_owned).to_vec(), november.map(str::to_owned).to_vec())
    );
    // An export settles the row as well, at four more.
    let tokens = KnownTokens::default();
    append(
        &ledger,
        &[Record::Reconciled(Reconciled { attempt: id, at_ms: 9, tokens, cost: NanoUsd(9), export: "late.csv" })],
    );
    assert_eq!(charges(&ledger, october), ["2026-10-01 2026-10 5"]);
    let of_november = |ledger: &Ledger| {
        let mut told = charges(ledger, (NOVEMBER, date(2026, 11, 30)));
        told.sort();
        told
    };
    let all = ["2026-10-01 2026-11 4 *", "2026-10-07 2026-11 211995 *", "2026-11-03 2026-11 212000"];
    assert_eq!(of_november(&ledger), all);
    close(folder.path(), NOVEMBER);
    assert_eq!(
        (of_november(&ledger), charges(&ledger, (DECEMBER, LAST))),
        (all.map(str::to_owned).to_vec(), Vec::new())
    );
    let statement = crate::ledger::statements::show(&ledger.views().expect("the views open"), "ops", "2026-11");
    let statement = statement.expect("it reads").expect("it is closed");
    assert_eq!(statement.total().cost, 4 + 211_995 + 212_000);
}

#[test]
fn months_whose_rows_are_forgotten_are_known_as_such() {
    let (folder, ledger) = fresh();
    for day in [date(2026, 9, 3), date(2026, 9, 20), date(2026, 10, 2), date(2026, 11, 5)] {
        spend(&ledger, day, 5);
    }
    let found = |folder: &Path, from: Date, until: Date| {
        let views = crate::ledger::open_views(&folder.join("farthing.db")).expect("it opens");
        let span = (midnight(from, &TimeZone::UTC), midnight(until, &TimeZone::UTC));
        by_day::forgotten(&views, span, &TimeZone::UTC).expect("it reads")
    };
    sync(&ledger);
    assert_eq!(found(folder.path(), date(2026, 1, 1), DECEMBER), None);
    drop(ledger);
    compact(&folder.path().join("farthing.db"), Some((NOVEMBER, &TimeZone::UTC)), Mirrored::NotConfigured)
        .expect("it compacts");
    let months = |months: &[&str]| {
        let months = months.iter().map(|month| (*month).to_owned()).collect();
        Some(Forgotten { kept: date(2026, 11, 5), months })
    };
    assert_eq!(found(folder.path(), date(2026, 1, 1), DECEMBER), months(&["2026-09", "2026-10"]));
    assert_eq!(found(folder.path(), OCTOBER, NOVEMBER), months(&["2026-10"]));
    assert_eq!(found(folder.path(), NOVEMBER, DECEMBER), None);
}

#[test]
fn days_that_cut_a_month_whose_rows_are_forgotten_become_the_whole_month() {
    let (folder, ledger) = fresh();
    for day in [date(2026, 10, 2), date(2026, 10, 20), date(2026, 11, 5)] {
        spend(&ledger, day, 5);
    }
    let whole = |first: Date, last: Date| {
        let views = crate::ledger::open_views(&folder.path().join("farthing.db")).expect("it opens");
        by_day::whole(&views, (first, last), &TimeZone::UTC).expect("it reads")
    };
    sync(&ledger);
    let days = (date(2026, 10, 10), date(2026, 11, 9));
    assert_eq!(whole(days.0, days.1), days);
    drop(ledger);
    compact(&folder.path().join("farthing.db"), Some((NOVEMBER, &TimeZone::UTC)), Mirrored::NotConfigured)
        .expect("it compacts");
    assert_eq!(whole(days.0, days.1), (OCTOBER, days.1));
    assert_eq!(whole(date(2026, 9, 3), date(2026, 10, 4)), (date(2026, 9, 3), date(2026, 10, 31)));
    assert_eq!(whole(date(2026, 11, 3), days.1), (date(2026, 11, 3), days.1));
}

/// Closes a month of a zone for a team, or for all, as of the first of December.
fn close_in(folder: &Path, zone: &str, first: Date, team: Option<&str>) -> Result<Vec<i64>, StatementError> {
    let month = Month { first, zone: TimeZone::get(zone).expect("a zone"), zone_name: zone.to_owned() };
    let mut books = Books::open(&folder.join("farthing.db"), "cli:ops")?;
    let closed = books.close(&month, team, midnight(DECEMBER, &TimeZone::UTC) + 86_400_000)?;
    Ok(closed.iter().map(|statement| statement.total().cost).collect())
}

#[test]
fn statements_leave_no_hour_out_and_have_none_twice_when_the_time_zone_changes() {
    // October ends at 04:00 in New York, and at 23:00 of its last day in Berlin.
    for (zone, minutes) in [("America/New_York", 60), ("Europe/Berlin", -30)] {
        let (folder, ledger) = fresh();
        spend(&ledger, date(2026, 10, 9), 5);
        let seam_ms = midnight(NOVEMBER, &TimeZone::UTC) + minutes * 60_000;
        spend_at(&ledger, seam_ms, "ops", 70);
        spend(&ledger, date(2026, 11, 9), 100);
        sync(&ledger);
        let closed = |zone: &str, first| close_in(folder.path(), zone, first, None).expect("it closes");
        let both = [closed("UTC", OCTOBER), closed(zone, NOVEMBER)].concat();
        assert_eq!(both.iter().sum::<i64>(), 175, "{zone}: {both:?}");
        let seen = crate::ledger::verify::verify(&folder.path().join("farthing.db"), &mut |_| {}).expect("it looks");
        assert_eq!(seen.findings, []);
    }
}

#[test]
fn hours_that_statements_of_an_earlier_version_lack_or_have_twice_are_found() {
    let (folder, ledger) = fresh();
    sync(&ledger);
    let hand = Connection::open(folder.path().join("farthing.db")).expect("it opens");
    let hour = 3_600_000_i64;
    for (team, month, from, until) in [
        ("a", "2026-08", 0, 700 * hour),
        ("a", "2026-09", 705 * hour, 1_400 * hour),
        ("a", "2026-10", 1_399 * hour, 2_100 * hour),
        ("a", "2026-12", 2_900 * hour, 3_600 * hour),
        ("b", "2026-08", 0, 700 * hour),
    ] {
        let sql = "INSERT INTO statements (team, month, timezone, from_ms, until_ms, closed_ms) VALUES (?1, ?2, 'UTC', ?3, ?4, 1)";
        hand.execute(sql, rusqlite::params![team, month, from, until]).expect("it writes");
    }
    let seen = crate::ledger::verify::verify(&folder.path().join("farthing.db"), &mut |_| {}).expect("it looks");
    let found: Vec<String> = seen.findings.iter().map(|found| format!("{}: {}", found.subject, found.what)).collect();
    let expected = [
        "statement 2026-09 a: 300 minutes between 2026-08 and it are in no statement",
        "statement 2026-10 a: 60 minutes of it are stated of 2026-09 as well",
    ];
    assert_eq!(found, expected);
}

#[test]
fn nothing_is_closed_before_what_a_killed_process_left_is_in_the_tables() {
    let (folder, ledger) = fresh();
    spend(&ledger, date(2026, 10, 9), 5);
    sync(&ledger);
    // The tables as they are now, beside a journal that goes on.
    let copy = killed_copy(folder.path());
    spend(&ledger, date(2026, 10, 10), 70);
    sync(&ledger);
    for file in std::fs::read_dir(folder.path()).expect("a folder").map(|file| file.expect("a file")) {
        if file.file_name().to_string_lossy().contains(".journal-") {
            std::fs::copy(file.path(), copy.path().join(file.file_name())).expect("it copies");
        }
    }
    let refused = close_in(copy.path(), "UTC", OCTOBER, None).expect_err("the journal has more");
    assert!(matches!(refused, StatementError::LeftOver { records: 2 }), "{refused}");
    assert_eq!(crate::ledger::left_over(&copy.path().join("farthing.db")).expect("it reads"), 2);
    drop(open(copy.path()));
    assert_eq!(close_in(copy.path(), "UTC", OCTOBER, None).expect("it closes"), [75]);
}

#[test]
fn a_team_of_whom_nothing_is_known_gets_no_statement() {
    let (folder, ledger) = fresh();
    spend(&ledger, date(2026, 10, 9), 5);
    sync(&ledger);
    let refused = close_in(folder.path(), "UTC", OCTOBER, Some("opps")).expect_err("a slip");
    assert!(refused.to_string().contains("did you mean `ops`"), "{refused}");
    assert_eq!(close_in(folder.path(), "UTC", OCTOBER, Some("ops")).expect("it closes"), [5]);
}
