use std::collections::BTreeSet;

use super::figures::CAUSES;
use super::focus::{COLUMNS, Charge};
use super::forecast::{Ceiling, Forecast, Month, Outlook, Outlooks, forecast};
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
    let ours = ours.filter_map(|row| row.by_cause).filter_map(|told| told.parts()[0]);
    assert_eq!(ours.sum::<i64>(), report.total.saved());
    // What the provider's own cache took off has a column of its own, so that each adds up on its face.
    let csv = report.csv();
    let mut read = csv::Reader::from_reader(csv.as_bytes());
    let rows: Vec<csv::StringRecord> = read.records().collect::<Result<_, _>>().expect("they read");
    let sum = |at: usize| rows[..rows.len() - 1].iter().filter_map(|row| row[at].parse::<i64>().ok()).sum::<i64>();
    let total = &rows[rows.len() - 1];
    assert_eq!((sum(2).to_string(), sum(3).to_string()), (total[2].to_owned(), total[3].to_owned()));
    assert_eq!((sum(2), sum(3)), (12, report.total.provider_cache));
    let json = report.json();
    let taken_off = &json["rows"][CAUSES.len()];
    assert_eq!((&taken_off["cause"], &taken_off["saved_nano"]), (&"provider_cache".into(), &serde_json::Value::Null));
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
        let focus = focus::csv([charge(day, [name, name, name], name, &figures)], &zone(), |_| Some(name));
        let mut read = csv::Reader::from_reader(focus.as_bytes());
        let row = read.records().next().expect("a row").expect("it reads");
        let formulas = row.iter().filter(|cell| cell.starts_with(['=', '+', '-', '@', '\t']));
        assert_eq!(formulas.count(), 0, "{row:?}");
    }
}

#[test]
fn no_name_steers_a_terminal() {
    let report = Report::of(&[By::Team], [line(NOVEMBER, &["a\u{1b}[2Jb\u{9b}c"], 3)], &zone());
    assert!(report.csv().contains("\na\u{fffd}[2Jb\u{fffd}c,"), "{}", report.csv());
    assert!(report.table().to_string().contains("a[2Jbc"));
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

#[test]
fn what_nothing_bounds_has_no_most_and_no_range_ends_before_it_begins() {
    let mut doubtful = line(NOVEMBER, &["a", "m"], 1_000);
    doubtful.figures =
        Figures { uncertain: 5, uncertain_low: 1_500_000, uncertain_high: 823_250, unbounded: 4, ..doubtful.figures };
    let report = Report::of(&[By::Team, By::Model], [doubtful], &zone());
    let table = report.table().to_string();
    assert!(table.contains("at least 0.0015, 4 unbounded") && !table.contains(".."), "{table}");
    let csv = report.csv();
    let mut read = csv::Reader::from_reader(csv.as_bytes());
    let at = |header: &csv::StringRecord, name: &str| header.iter().position(|column| column == name).expect(name);
    let header = read.headers().expect("a header").clone();
    let row = read.records().next().expect("a row").expect("it reads");
    let told = ["uncertain_low_nano", "uncertain_high_nano", "unbounded"].map(|name| &row[at(&header, name)]);
    assert_eq!(told, ["1500000", "", "4"]);
    let json = report.json();
    assert_eq!(json["total"]["uncertain_high_nano"], serde_json::Value::Null);
    let charge = charge(jiff::civil::date(2026, 11, 1), ["a", "", "m"], "", &report.total);
    let focus = focus::csv([charge], &zone(), |_| Some("openai"));
    let mut read = csv::Reader::from_reader(focus.as_bytes());
    let row = read.records().next().expect("a row").expect("it reads");
    let at = |name: &str| COLUMNS.iter().position(|column| *column == name).expect("a column");
    assert_eq!((&row[at("x_UncertainLow")], &row[at("x_UncertainHigh")]), ("0.0015", ""));
}

#[test]
fn a_table_shows_what_is_estimated_apart_and_amounts_in_line() {
    let mut guessed = line(NOVEMBER, &["a"], 1_500_000_000);
    (guessed.figures.estimated, guessed.figures.estimated_low, guessed.figures.estimated_high) = (1_000, 500, 9_000);
    let lines = [guessed, line(NOVEMBER, &["b"], 20_000_000)];
    let table = Report::of(&[By::Team], lines, &zone()).table().to_string();
    assert!(table.contains("estimated, US$") && table.contains("0.000001 in 0.0000005..0.000009"), "{table}");
    assert!(table.contains(" 1.50 ") && table.contains(" 0.02 ") && table.contains(" 1.52 "), "{table}");
    assert!(!table.contains("cache lost"), "{table}");
    let mut lost = line(NOVEMBER, &["system"], 1);
    lost.figures.cache_lost = 30_000_000;
    let table = Report::of(&[By::CacheLoss], [lost], &zone()).table().to_string();
    assert!(table.contains("cache lost, US$") && table.contains("0.03"), "{table}");
    let sure = Report::of(&[By::Team], [line(NOVEMBER, &["b"], 20_000_000)], &zone()).table().to_string();
    assert!(!sure.contains("estimated"), "{sure}");
}

#[test]
fn a_correction_says_what_is_estimated_no_longer() {
    let told = |estimated, estimated_low, estimated_high| {
        write::estimated(&Figures { estimated, estimated_low, estimated_high, ..Figures::default() })
    };
    assert_eq!(told(0, 0, 0), "");
    assert_eq!(told(2_000_000, 2_000_000, 2_000_000), "0.002");
    assert_eq!(told(2_000_000, 0, 3_000_000), "0.002 in 0..0.003");
    assert_eq!(told(-2_000_000, 0, -3_000_000), "less 0.002 in 0..0.003");
    assert_eq!(told(-2_000_000, 1_000_000, 3_000_000), "-0.002, low 0.001, high 0.003");
}

/// A day's charge of a team, a project and a model.
fn charge(day: Date, [team, project, model]: [&str; 3], tier: &str, figures: &Figures) -> Charge {
    Charge {
        days: (day, day.saturating_add(jiff::Span::new().days(1))),
        billed: day.first_of_month(),
        is_correction: false,
        team: team.to_owned(),
        project: project.to_owned(),
        model: model.to_owned(),
        service_tier: tier.to_owned(),
        figures: figures.clone(),
        is_forgotten: false,
    }
}

#[test]
fn a_correction_is_billed_in_its_own_month_and_says_so() {
    let day = jiff::civil::date(2026, 10, 1);
    let figures = Figures { cost: -2_000_000, input_tokens: -1_500, ..Figures::default() };
    let billed = jiff::civil::date(2026, 11, 1);
    let days = (day, billed);
    let correction = Charge {
        days,
        billed,
        is_correction: true,
        is_forgotten: true,
        ..charge(day, ["data", "", "main/x"], "", &figures)
    };
    let csv = focus::csv([correction], &zone(), |_| None);
    let mut read = csv::Reader::from_reader(csv.as_bytes());
    let row = read.records().next().expect("a row").expect("it reads");
    let at = |name: &str| &row[COLUMNS.iter().position(|column| *column == name).expect("a column")];
    assert_eq!((at("ChargeClass"), at("BilledCost"), at("PricingQuantity")), ("Correction", "-0.002", "-1.500"));
    assert_eq!((at("BillingPeriodStart"), at("ChargePeriodStart")), ("2026-11-01T04:00:00Z", "2026-10-01T04:00:00Z"));
    assert_eq!((at("ChargePeriodEnd"), at("x_Refused"), at("x_Fees")), ("2026-11-01T04:00:00Z", "", ""));
    assert_eq!(at("ChargeDescription"), "x: correction of 2026-10");
}

#[test]
fn days_of_a_month_whose_rows_are_forgotten_are_told_as_the_month() {
    let kept = Some(jiff::civil::date(2026, 11, 2));
    let lines = || [line(NOVEMBER - 24 * HOUR, &["a"], 1), line(NOVEMBER + 30 * HOUR, &["a"], 2)];
    for (by, names) in [(By::Day, ["2026-10", "2026-11-02"]), (By::Week, ["2026-10", "2026-11-02"])] {
        let report = Report::since(&[by, By::Team], lines(), &zone(), kept);
        let told: Vec<(&str, bool)> = report.rows.iter().map(|row| (&*row.names[0], row.is_forgotten)).collect();
        assert_eq!(told, [(names[0], true), (names[1], false)]);
        let (csv, json) = (report.csv(), report.json());
        let mut read = csv::Reader::from_reader(csv.as_bytes());
        let at = read.headers().expect("a header").iter().position(|name| name == "refused").expect("a column");
        let refused: Vec<String> = read.records().map(|row| row.expect("it reads")[at].to_owned()).collect();
        assert_eq!(refused, ["", "0", ""]);
        assert_eq!(
            (&json["rows"][0]["fees_nano"], &json["rows"][1]["fees_nano"]),
            (&serde_json::Value::Null, &0.into())
        );
    }
    let report = Report::since(&[By::Team], lines(), &zone(), kept);
    assert!(report.rows[0].is_forgotten && report.is_forgotten);
}

#[test]
fn charges_without_a_model_have_an_item_and_no_resource() {
    let day = jiff::civil::date(2026, 11, 1);
    let of = |figures: Figures| {
        let csv = focus::csv([charge(day, ["data", "", ""], "", &figures)], &zone(), |_| None);
        let row = csv::Reader::from_reader(csv.as_bytes()).into_records().next().expect("a row").expect("it reads");
        ["SkuId", "ResourceId", "ResourceType", "ChargeDescription"]
            .map(|name| row[COLUMNS.iter().position(|column| *column == name).expect("a column")].to_owned())
    };
    let refused = of(Figures { requests: 2, ..Figures::default() });
    assert_eq!(refused, ["no-call", "", "", "no call: 2 requests"]);
    assert_eq!(of(Figures { transfer: -7, ..Figures::default() })[0], "cache-transfer");
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
    let (cost, discount) = (1_234_567_890, 500_000_000);
    let figures = Figures {
        requests: 3,
        input_tokens: 1_500,
        output_tokens: 12,
        cost,
        discount,
        uncertain: 1,
        ..Figures::default()
    };
    let day = jiff::civil::date(2026, 11, 1);
    let of = |tier: &str| charge(day, ["data", "", "main/x"], tier, &figures);
    let vendor = |row: &str| (row == "main").then_some("openai");
    let csv = focus::csv([of(""), of("flex")], &zone(), vendor);
    let mut read = csv::Reader::from_reader(csv.as_bytes());
    let header = read.headers().expect("a header").clone();
    assert_eq!(header.iter().collect::<Vec<_>>(), COLUMNS);
    let rows: Vec<csv::StringRecord> = read.records().collect::<Result<_, _>>().expect("they read");
    let [row, flex] = rows.as_slice() else { panic!("{rows:?}") };
    let told = ["PricingCategory", "SkuId", "ResourceId", "x_ServiceTier"].map(|name| {
        let at = header.iter().position(|column| column == name).expect("a column");
        (row[at].to_owned(), flex[at].to_owned())
    });
    let told = told.each_ref().map(|(standard, flex)| (&**standard, &**flex));
    assert_eq!(told, [("Standard", "Other"), ("main/x", "main/x:flex"), ("main/x", "main/x"), ("", "flex")]);
    let cell = |name: &str| header.iter().position(|column| column == name).and_then(|at| row.get(at));
    for column in MANDATORY.into_iter().filter(|column| *column != "ChargeClass") {
        assert!(cell(column).is_some_and(|cell| !cell.is_empty()), "{column} is empty");
    }
    // Null: it corrects nothing.
    assert_eq!(cell("ChargeClass"), Some(""));
    assert_eq!((cell("BilledCost"), cell("PricingQuantity")), (Some("1.23456789"), Some("1.512")));
    assert_eq!((cell("ListCost"), cell("EffectiveCost")), (Some("1.73456789"), Some("1.23456789")));
    assert_eq!((cell("PublisherName"), cell("InvoiceIssuerName")), (Some("openai"), Some("openai")));
    assert_eq!(cell("ChargeDescription"), Some("x: 3 requests; 1 attempts of unknown cost left out"));
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
    assert_eq!(forecast(30, &[], 0.0), Some(Forecast { low: 30, expected: 30, high: 30 }), "it is over");
    let steady = Forecast { low: 300, expected: 300, high: 300 };
    assert_eq!(forecast(30, &[10, 10, 10], 27.0), Some(steady));
    let few = forecast(0, &[5, 10, 15], 10.0).expect("enough days");
    let many = forecast(0, &[5, 10, 15].repeat(9), 10.0).expect("enough days");
    assert_eq!((few.expected, many.expected), (100, 100));
    assert!(many.high - many.low < few.high - few.low);
    assert!(few.low >= 0 && few.low < 100);
}

/// The forecast of November, five days and a half into it, of lines at (hour of the month, team, cost).
fn november(first_ms: Option<i64>, spent: &[(i64, &str, i64)], ceiling: Option<Ceiling>) -> Outlooks {
    let lines: Vec<Line> =
        spent.iter().map(|(hour, team, cost)| line(NOVEMBER + hour * HOUR, &[team], *cost)).collect();
    let month = Month::of(jiff::civil::date(2026, 11, 6), first_ms, NOVEMBER + (5 * 24 + 1 + 12) * HOUR, &zone());
    Outlooks::of(month, &[By::Team], &lines, &zone(), |names| ceiling.clone().filter(|_| names == ["data"]))
}

#[test]
fn days_before_the_ledgers_first_request_are_no_days_without_cost() {
    let costs: Vec<(i64, &str, i64)> = (2..5).map(|day| (day * 24 + 13, "data", 100)).collect();
    let expected = |first_ms| november(first_ms, &costs, None).total.forecast.map(|forecast| forecast.expected);
    // Its first day is one of those to go by if it is whole: 24.5 days are to come.
    assert_eq!(expected(Some(NOVEMBER + (2 * 24 + 1) * HOUR)), Some(300 + 2450));
    assert_eq!(expected(Some(NOVEMBER + (2 * 24 + 13) * HOUR)), None, "two whole days are too few");
    assert_eq!(expected(Some(NOVEMBER - 90 * 24 * HOUR)), Some(300 + 24 * 60 + 30), "two days cost nothing");
    assert_eq!(expected(None), None);
    let few = november(Some(NOVEMBER + (2 * 24 + 13) * HOUR), &costs, None);
    let words = few.words();
    assert_eq!(words, "2026-11: 2 whole days since the ledger's first request say too little for a forecast; wanted 3");
    assert_eq!((&few.json()["whole_days"], &few.json()["since"]), (&2.into(), &"2026-11-04".into()));
}

#[test]
fn each_team_has_a_forecast_beside_its_budget_and_they_add_up() {
    let spent = [(13, "data", 90), (14, "", 5), (30, "data", 100), (60, "data", 110), (125, "data", 7)];
    let ceiling = Ceiling { nano: 2_000, every: "month".to_owned() };
    let told = november(Some(NOVEMBER - HOUR), &spent, Some(ceiling));
    let of = |outlook: &Outlook| outlook.forecast.map(|forecast| forecast.expected);
    let [data, none] = told.rows.as_slice() else { panic!("{told:?}") };
    assert_eq!((&*data.names[0], data.spent, of(data)), ("data", 307, Some(307 + 1470)));
    assert_eq!((&*none.names[0], of(none), of(&told.total)), ("", Some(5 + 24), Some(312 + 1494)));
    let words = told.words();
    let row = words.lines().find(|line| line.contains("data")).expect("a row");
    assert!(row.contains("0.000002 every month") && row.contains("89 %"), "{words}");
    let json = told.json();
    assert_eq!((&json["rows"][0]["team"], &json["rows"][0]["budget_nano"]), (&"data".into(), &2000.into()));
    assert_eq!((&json["rows"][1]["team"], &json["rows"][1]["expected_nano"]), (&serde_json::Value::Null, &29.into()));
}

#[test]
fn a_forecast_beside_a_budget_counts_as_the_budget_does() {
    let lines: Vec<Line> = (0..5)
        .map(|day| {
            let figures =
                Figures { cost: 100, estimated: 40, estimated_high: 60, uncertain_high: 30, ..Figures::default() };
            Line { figures, ..line(NOVEMBER + (day * 24 + 13) * HOUR, &["data"], 0) }
        })
        .collect();
    let month =
        Month::of(jiff::civil::date(2026, 11, 6), Some(NOVEMBER - HOUR), NOVEMBER + (5 * 24 + 1 + 12) * HOUR, &zone());
    let ceiling = |_: &[String]| Some(Ceiling { nano: 9_000, every: "month".to_owned() });
    let told = Outlooks::of(month, &[By::Team], &lines, &zone(), ceiling);
    let json = told.json();
    // 24.5 days are to come: 100 a day is what is known, 150 what the budget counts.
    assert_eq!(
        (&json["rows"][0]["expected_nano"], &json["rows"][0]["budget_expected_nano"]),
        (&2950.into(), &4425.into())
    );
    assert!(told.words().contains("49 %"), "{}", told.words());
}

#[test]
fn csv_has_what_is_expected_behind_each_row_also_of_names_that_the_days_lack() {
    let told = november(Some(NOVEMBER - HOUR), &[(13, "data", 100), (14, "ops", 50)], None);
    let report = Report::of(&[By::Team], [line(NOVEMBER, &["data"], 100)], &zone());
    let csv = report.csv_with(Some(&told));
    let mut read = csv::Reader::from_reader(csv.as_bytes());
    let at = read.headers().expect("a header").iter().position(|name| name == "forecast_nano").expect("a column");
    let rows: Vec<(String, String)> =
        read.records().map(|row| row.expect("it reads")).map(|row| (row[0].to_owned(), row[at].to_owned())).collect();
    let expected = [("data", "590"), ("ops", "295"), ("total", "885")];
    assert_eq!(rows, expected.map(|(name, nano)| (name.to_owned(), nano.to_owned())));
}
