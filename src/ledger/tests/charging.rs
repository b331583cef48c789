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
use crate::ledger::statements::{Books, Month};
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
