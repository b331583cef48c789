use std::collections::BTreeSet;

use super::figures::CAUSES;
use super::focus::{COLUMNS, Charge};
use super::forecast::{Forecast, forecast};
use super::*;

/// 2026-11-01 00:00 in New York, the day on which its clocks go back.
const NOVEMBER: i64 = 1_793_505_600_000;
const HOUR: i64 = 3_600_000;

fn zone() -> TimeZone {
    TimeZone::get("America/New_York").expect("a zone")
}

fn line(at_ms: i64, names: &[&str], cost: i64) -> Line {
    let figures =
        Figures { requests: 1, attempts: 1, cost, saved_by: [9, -2, -1, 0, 0], compared: 1, ..Figures::default() };
    Line { at_ms, names: names.iter().map(|name| (*name).to_owned()).collect(), figures }
}

fn names(report: &Report) -> Vec<(String, i64)> {
    report.rows.iter().map(|row| (row.names.join(" "), row.figures.cost)).collect()
}

#[test]
fn days_weeks_and_months_are_those_of_the_zone() {
    assert_eq!(midnight(jiff::civil::date(2026, 11, 1), &zone()), NOVEMBER);
    // Clocks go back: the day has twenty-five hours.
    let at = [NOVEMBER - 1, NOVEMBER, NOVEMBER + 24 * HOUR, NOVEMBER + 25 * HOUR];
    let lines = || at.iter().map(|at| line(*at, &[], 1));
    let of = |by| names(&Report::of(&[by], lines(), &zone()));
    assert_eq!(of(By::Day), [("2026-10-31".into(), 1), ("2026-11-01".into(), 2), ("2026-11-02".into(), 1)]);
    assert_eq!(of(By::Week), [("2026-10-26".into(), 3), ("2026-11-02".into(), 1)]);
    assert_eq!(of(By::Month), [("2026-10".into(), 1), ("2026-11".into(), 3)]);
}

#[test]
fn rows_are_the_dearest_first_within_their_time_and_add_up_to_the_total() {
    let lines = [
        line(NOVEMBER, &["a"], 1),
        line(NOVEMBER, &["b"], 5),
        line(NOVEMBER + 30 * HOUR, &["a"], 7),
        line(NOVEMBER, &["b"], 5),
    ];
    let report = Report::of(&[By::Day, By::Team], lines, &zone());
    let expected = [("2026-11-01 b".into(), 10), ("2026-11-01 a".into(), 1), ("2026-11-02 a".into(), 7)];
    assert_eq!(names(&report), expected);
    let mut sum = Figures::default();
    report.rows.iter().for_each(|row| sum.add(&row.figures));
    assert_eq!(report.total.requests, 4);
    assert_eq!(sum, report.total);
}

#[test]
fn causes_are_rows_that_add_up_with_the_providers_own_cache_beside_them() {
    let report = Report::of(&[By::Team, By::Cause], [line(NOVEMBER, &["a"], 1), line(NOVEMBER, &["b"], 1)], &zone());
    assert_eq!(report.rows.len(), 2 * (CAUSES.len() + 1));
    let ours = report.rows.iter().filter(|row| row.names[1] != "provider_cache");
    assert_eq!(ours.filter_map(|row| row.saved_by).sum::<i64>(), report.total.saved());
    assert_eq!(report.csv().lines().last(), Some("total,,12"));
}

#[test]
fn figures_are_what_they_were_when_they_are_taken_apart_and_put_together() {
    let all: [i64; Figures::COUNT] = std::array::from_fn(|place| 1 << place);
    let mut figures = Figures::of(all);
    assert_eq!(figures.all(), all);
    figures.add(&Figures::of(all));
    figures.take(&Figures::of(all));
    assert_eq!(figures.all(), all);
    assert_eq!(Figures::NAMES.iter().collect::<BTreeSet<_>>().len(), Figures::COUNT);
}

#[test]
fn no_cell_is_a_formula_and_amounts_stay_numbers() {
    for name in ["=1+1", "+1", "-1", "@SUM(A1)", "\tx"] {
        let report = Report::of(&[By::Team], [line(NOVEMBER, &[name], 3)], &zone());
        let csv = report.csv();
        let mut read = csv::Reader::from_reader(csv.as_bytes());
        let row = read.records().next().expect("a row").expect("it reads");
        assert_eq!(row.get(0), Some(format!("'{name}").as_str()));
        let header = csv.lines().next().expect("a header");
        let at = |column: &str| header.split(',').position(|name| name == column).expect("a column");
        assert_eq!((row.get(at("saved_nano")), row.get(at("saved_retry_nano"))), (Some("6"), Some("-1")));
        let figures = Figures::default();
        let day = jiff::civil::date(2026, 11, 1);
        let focus = focus::csv([Charge { day, team: name, project: name, model: name, figures: &figures }], &zone());
        let mut read = csv::Reader::from_reader(focus.as_bytes());
        let row = read.records().next().expect("a row").expect("it reads");
        let formulas = row.iter().filter(|cell| cell.starts_with(['=', '+', '-', '@', '\t']));
        assert_eq!(formulas.count(), 0, "{row:?}");
    }
}

#[test]
fn json_has_whole_nano_dollars_and_null_for_a_name_that_nobody_gave() {
    let json = Report::of(&[By::Team], [line(NOVEMBER, &[""], 3)], &zone()).json();
    assert_eq!(json["rows"][0]["team"], serde_json::Value::Null);
    assert_eq!((&json["total"]["cost_nano"], &json["total"]["saved_nano"]), (&3.into(), &6.into()));
}

#[test]
fn a_table_shows_what_is_uncertain_apart() {
    let mut doubtful = line(NOVEMBER, &["a"], 1_000);
    (doubtful.figures.uncertain, doubtful.figures.uncertain_high) = (2, 7_000_000);
    let table = Report::of(&[By::Team], [doubtful], &zone()).table().to_string();
    assert!(table.contains("0.000001") && table.contains("0..0.007"), "{table}");
}

/// Feature level "Mandatory" in version 1.2: <https://focus.finops.org/focus-specification/v1-2/>
const MANDATORY: [&str; 21] = [
    "BilledCost",
    "BillingAccountId",
    "BillingAccountName",
    "BillingCurrency",
    "BillingPeriodEnd",
    "BillingPeriodStart",
    "ChargeCategory",
    "ChargeClass",
    "ChargeDescription",
    "ChargePeriodEnd",
    "ChargePeriodStart",
    "ContractedCost",
    "EffectiveCost",
    "InvoiceIssuerName",
    "ListCost",
    "PricingQuantity",
    "PricingUnit",
    "ProviderName",
    "PublisherName",
    "ServiceCategory",
    "ServiceName",
];

#[test]
fn focus_has_every_mandatory_column_and_none_is_empty_that_must_not_be() {
    let figures =
        Figures { requests: 3, input_tokens: 1_500, output_tokens: 12, cost: 1_234_567_890, ..Figures::default() };
    let charge =
        Charge { day: jiff::civil::date(2026, 11, 1), team: "data", project: "", model: "openai/x", figures: &figures };
    let csv = focus::csv([charge], &zone());
    let mut read = csv::Reader::from_reader(csv.as_bytes());
    let header = read.headers().expect("a header").clone();
    assert_eq!(header.iter().collect::<Vec<_>>(), COLUMNS);
    let row = read.records().next().expect("a row").expect("it reads");
    let cell = |name: &str| header.iter().position(|column| column == name).and_then(|at| row.get(at));
    for column in MANDATORY.into_iter().filter(|column| *column != "ChargeClass") {
        assert!(cell(column).is_some_and(|cell| !cell.is_empty()), "{column} is empty");
    }
    // Null: it corrects nothing.
    assert_eq!(cell("ChargeClass"), Some(""));
    assert_eq!((cell("BilledCost"), cell("PricingQuantity")), (Some("1.23456789"), Some("1.512")));
    assert_eq!(cell("BillingPeriodStart"), Some("2026-11-01T04:00:00Z"));
    assert_eq!(
        (cell("BillingPeriodEnd"), cell("ChargePeriodEnd")),
        (Some("2026-12-01T05:00:00Z"), Some("2026-11-02T05:00:00Z"))
    );
    // Columns of our own begin with `x_`.
    let known = COLUMNS.iter().filter(|column| !column.starts_with("x_"));
    assert!(known.clone().all(|column| column.chars().all(char::is_alphanumeric)));
}

#[test]
fn a_forecast_is_a_straight_line_with_an_interval_that_narrows() {
    assert_eq!(forecast(30, &[10, 10], 28.0), None);
    let steady = Forecast { low: 300, expected: 300, high: 300 };
    assert_eq!(forecast(30, &[10, 10, 10], 27.0), Some(steady));
    let few = forecast(0, &[5, 10, 15], 10.0).expect("enough days");
    let many = forecast(0, &[5, 10, 15].repeat(9), 10.0).expect("enough days");
    assert_eq!((few.expected, many.expected), (100, 100));
    assert!(many.high - many.low < few.high - few.low);
    assert!(few.low >= 0 && few.low < 100);
}
