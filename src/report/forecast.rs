//! What a month will have cost at its end, if its days go on as they did: of all that was spent, and of each name apart.
//!
//! The mean of the days that are over, times those to come, on top of what was spent; the interval is that of a normal
//! day-to-day scatter, with Student's factor for few days. Days before the ledger's first request say nothing and are left
//! out; those on which a name asked for nothing are days that cost nothing. Weekends and growth are not seen: it is a
//! straight line.

use std::collections::BTreeMap;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use jiff::Span;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};

use super::write::{align, shown_name};
use super::{By, Line, date_of, midnight};
use crate::money::NanoUsd;

/// Fewest whole days that say anything.
pub const DAYS_MIN: usize = 3;
const DAY_MS: f64 = 86_400_000.0;
/// Student's factor of a two-sided 95 % interval by degrees of freedom from 1; from there on that of many.
const STUDENT: [f64; 30] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120,
    2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
];

/// A guess in nano-dollars with its 95 % interval.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Forecast {
    /// At least.
    pub low: i64,
    /// What is expected.
    pub expected: i64,
    /// At most.
    pub high: i64,
}

/// What a period costs of which `spent` nano-dollars are spent, whose whole days cost `days` each, and of which
/// `days_left` are to come. `None`: there are some to come, and fewer than [`DAYS_MIN`] to go by.
pub fn forecast(spent: i64, days: &[i64], days_left: f64) -> Option<Forecast> {
    if days_left <= 0.0 {
        return Some(Forecast { low: spent, expected: spent, high: spent });
    }
    if days.len() < DAYS_MIN {
        return None;
    }
    let count = days.len() as f64;
    let mean = days.iter().map(|day| *day as f64).sum::<f64>() / count;
    let variance = days.iter().map(|day| (*day as f64 - mean).powi(2)).sum::<f64>() / (count - 1.0);
    // The scatter of the days to come, and how well their mean is known.
    let scatter = (variance * (days_left + days_left.powi(2) / count)).sqrt();
    let factor = STUDENT.get(days.len() - 2).copied().unwrap_or(1.96);
    let expected = spent as f64 + mean * days_left;
    let low = (expected - factor * scatter).max(spent as f64);
    Some(Forecast { low: low as i64, expected: expected as i64, high: (expected + factor * scatter) as i64 })
}

/// A month, and those of its days that a forecast goes by.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Month {
    /// Its first day.
    pub first: Date,
    /// The first whole day of which the ledger knows.
    since: Date,
    /// The first day that is not over, or the first one of the next month.
    today: Date,
    /// How many days are to come.
    left: f64,
}

impl Month {
    /// The month of `day` as it stands at a moment, in a ledger whose first request arrived at `first_ms`.
    pub fn of(day: Date, first_ms: Option<i64>, now_ms: i64, zone: &TimeZone) -> Self {
        let first = day.first_of_month();
        let end = first.saturating_add(Span::new().months(1));
        let today = date_of(now_ms, zone).min(end);
        let since = first_ms.map_or(today, |first_ms| {
            let begun = date_of(first_ms, zone);
            // The day on which the ledger began is whole if it began with it.
            if midnight(begun, zone) == first_ms { begun } else { begun.saturating_add(Span::new().days(1)) }
        });
        let to_come = midnight(end, zone) - now_ms.max(midnight(first, zone));
        Self { first, since: since.max(first), today, left: to_come.max(0) as f64 / DAY_MS }
    }

    /// Its last day.
    pub fn last(&self) -> Date {
        self.first.last_of_month()
    }

    /// The days to go by.
    pub fn days(&self) -> impl Iterator<Item = Date> {
        let (since, today) = (self.since, self.today);
        since.series(Span::new().days(1)).take_while(move |day| *day < today)
    }
}

/// What a name may spend.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ceiling {
    /// In nano-dollars.
    pub nano: i64,
    /// The period that it is for, as the configuration says it.
    pub every: String,
}

/// What is expected of one name, or of all.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outlook {
    /// One name for each of [`Outlooks::by`].
    pub names: Vec<String>,
    /// What was spent in the month.
    pub spent: i64,
    /// What it will be at its end; `None`: too few days to go by.
    pub forecast: Option<Forecast>,
    /// What it may be.
    pub ceiling: Option<Ceiling>,
    /// What it will be at its end as budgets count, which is with the high ends of what is not known exactly.
    pub counted: Option<Forecast>,
}

/// What is expected of a month.
#[derive(Clone, PartialEq, Debug)]
pub struct Outlooks {
    /// The month.
    pub month: Month,
    /// What names are of: what the report has that is neither time nor cause.
    pub by: Vec<By>,
    /// Each name's, dearest first.
    pub rows: Vec<Outlook>,
    /// That of all of them.
    pub total: Outlook,
}

/// What a forecast adds to a row of CSV.
pub const COLUMNS: [&str; 6] =
    ["forecast_low_nano", "forecast_nano", "forecast_high_nano", "budget_nano", "budget_every", "budget_forecast_nano"];

impl Outlooks {
    /// Of the lines of a month by day and `by`, whose first names are of `by`. `ceiling` has what names may spend.
    pub fn of(
        month: Month,
        by: &[By],
        lines: &[Line],
        zone: &TimeZone,
        ceiling: impl Fn(&[String]) -> Option<Ceiling>,
    ) -> Self {
        let days: Vec<Date> = month.days().collect();
        // By day what was spent, and what budgets counted of it.
        let mut names = BTreeMap::<&[String], BTreeMap<Date, (i64, i64)>>::new();
        let mut all = BTreeMap::<Date, (i64, i64)>::new();
        for line in lines {
            let day = date_of(line.at_ms, zone);
            for sums in [names.entry(&line.names).or_default(), &mut all] {
                let sum = sums.entry(day).or_default();
                sum.0 = sum.0.saturating_add(line.figures.cost);
                sum.1 = sum.1.saturating_add(line.figures.budgeted());
            }
        }
        let outlook = |names: &[String], costs: &BTreeMap<Date, (i64, i64)>, ceiling| {
            let expected = |of: fn(&(i64, i64)) -> i64| {
                let spent = costs.values().fold(0, |sum: i64, cost| sum.saturating_add(of(cost)));
                let of_days: Vec<i64> = days.iter().map(|day| costs.get(day).map_or(0, of)).collect();
                (spent, forecast(spent, &of_days, month.left))
            };
            let ((spent, forecast), (_, counted)) = (expected(|cost| cost.0), expected(|cost| cost.1));
            Outlook { names: names.to_vec(), spent, forecast, ceiling, counted }
        };
        let of_name = |(names, costs): (&&[String], &BTreeMap<Date, (i64, i64)>)| outlook(names, costs, ceiling(names));
        let mut rows: Vec<Outlook> = names.iter().map(of_name).collect();
        rows.sort_by_key(|row| std::cmp::Reverse((row.forecast.map(|forecast| forecast.expected), row.spent)));
        Self { month, by: by.to_vec(), rows, total: outlook(&[], &all, None) }
    }

    /// For people: a line on the whole, and a table of the names if there are any.
    pub fn words(&self) -> String {
        let (month, spent) = (self.month.first.strftime("%Y-%m"), NanoUsd(self.total.spent));
        let days = self.month.days().count();
        let s = if days == 1 { "" } else { "s" };
        let told = match self.total.forecast {
            None => format!(
                "{month}: {days} whole day{s} since the ledger's first request say too little for a forecast; wanted {DAYS_MIN}"
            ),
            Some(_) if self.month.left <= 0.0 => format!("{month}: ${spent} spent, and over"),
            Some(Forecast { low, expected, high }) => format!(
                "{month}: ${spent} spent, about ${} at its end, 95 % between ${} and ${} (a straight line through {days} \
                 whole day{s})",
                NanoUsd(expected),
                NanoUsd(low),
                NanoUsd(high)
            ),
        };
        let has_forecast = self.total.forecast.is_some() || self.rows.iter().any(|row| row.ceiling.is_some());
        if self.by.is_empty() || self.rows.is_empty() || !has_forecast {
            return told;
        }
        format!("{told}\n{}", self.table())
    }

    fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Disabled);
        let shown = [
            "spent, US$",
            "at the end, US$",
            "95 % between, US$",
            "budget, US$",
            "as budgets count, US$",
            "of the budget",
        ];
        table.set_header(self.by.iter().map(|by| by.as_str()).chain(shown));
        for column in table.column_iter_mut().skip(self.by.len()) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        let of_row = |row: &Outlook| row.names.iter().map(|name| shown_name(name)).chain(row.cells()).collect();
        let mut rows: Vec<Vec<String>> = self.rows.iter().map(of_row).collect();
        align(&mut rows, self.by.len());
        table.add_rows(rows);
        table
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let mut told = self.total.json(&[]);
        told.insert("month".to_owned(), json!(self.month.first.strftime("%Y-%m").to_string()));
        told.insert("whole_days".to_owned(), json!(self.month.days().count()));
        told.insert("since".to_owned(), json!(self.month.days().next().map(|day| day.to_string())));
        told.insert("rows".to_owned(), self.rows.iter().map(|row| Value::Object(row.json(&self.by))).collect());
        Value::Object(told)
    }
}

impl Outlook {
    fn cells(&self) -> [String; 6] {
        let dollars = |nano: i64| NanoUsd(nano).to_string();
        let of_forecast = |told: fn(Forecast) -> String| self.forecast.map(told).unwrap_or_default();
        let of_budget = self.of_budget().map(|part| format!("{:.0} %", part * 100.0));
        [
            dollars(self.spent),
            of_forecast(|forecast| NanoUsd(forecast.expected).to_string()),
            of_forecast(|forecast| format!("{}..{}", NanoUsd(forecast.low), NanoUsd(forecast.high))),
            self.ceiling.as_ref().map(|of| format!("{} every {}", dollars(of.nano), of.every)).unwrap_or_default(),
            self.against().map(|counted| dollars(counted.expected)).unwrap_or_default(),
            of_budget.unwrap_or_default(),
        ]
    }

    /// What is expected as budgets count, where there is one.
    fn against(&self) -> Option<Forecast> {
        self.ceiling.as_ref().and(self.counted)
    }

    /// What is expected as a part of what may be spent in the month, as the budget counts; only one of months says that.
    fn of_budget(&self) -> Option<f64> {
        let ceiling = self.ceiling.as_ref().filter(|ceiling| ceiling.every == "month" && ceiling.nano > 0)?;
        Some(self.counted?.expected as f64 / ceiling.nano as f64)
    }

    fn json(&self, by: &[By]) -> Map<String, Value> {
        let names = by
            .iter()
            .zip(&self.names)
            .map(|(by, name)| (by.as_str().to_owned(), if name.is_empty() { Value::Null } else { json!(name) }));
        let nano = |of: fn(&Forecast) -> i64| json!(self.forecast.as_ref().map(of));
        let figures = [
            ("spent_nano", json!(self.spent)),
            ("low_nano", nano(|forecast| forecast.low)),
            ("expected_nano", nano(|forecast| forecast.expected)),
            ("high_nano", nano(|forecast| forecast.high)),
        ];
        let ceiling = self
            .ceiling
            .iter()
            .flat_map(|ceiling| [("budget_nano", json!(ceiling.nano)), ("budget_every", json!(ceiling.every))])
            .chain(self.against().map(|counted| ("budget_expected_nano", json!(counted.expected))));
        names.chain(figures.into_iter().chain(ceiling).map(|(name, value)| (name.to_owned(), value))).collect()
    }

    /// What [`COLUMNS`] have of it; empty: nothing is expected, or there is no ceiling.
    pub fn values(&self) -> [String; COLUMNS.len()] {
        let nano = |of: fn(Forecast) -> i64| self.forecast.map(|forecast| of(forecast).to_string()).unwrap_or_default();
        let (ceiling, every) =
            self.ceiling.as_ref().map(|of| (of.nano.to_string(), of.every.clone())).unwrap_or_default();
        [
            nano(|forecast| forecast.low),
            nano(|forecast| forecast.expected),
            nano(|forecast| forecast.high),
            ceiling,
            every,
            self.against().map(|counted| counted.expected.to_string()).unwrap_or_default(),
        ]
    }
}
