//! What levers that only watch would have saved: what was spent, and what the same tokens would have cost elsewhere.
//!
//! Pure: lines that somebody read off a ledger come in, a table, CSV or JSON go out. Both amounts are of the same requests:
//! one of which either is not known is counted, and in neither.

use std::collections::BTreeMap;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::write::{align, cell, dollars, escaped, grouped, shown_name};
use super::{By, Days};

/// Names of the figures, as CSV and JSON have them.
const NAMES: [&str; 7] =
    ["requests", "moved", "unpriced", "cost_nano", "would_cost_nano", "would_save_nano", "unpriced_cost_nano"];

/// Figures of requests that levers watched. Amounts are nano-dollars.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Watched {
    /// Requests that ended and made a call.
    pub requests: i64,
    /// Those that would have gone to another model.
    pub moved: i64,
    /// Those of which it is not known what they cost, or would have cost.
    pub unpriced: i64,
    /// What the others cost.
    pub cost: i64,
    /// What the others would have cost.
    pub would_cost: i64,
    /// What the unpriced ones cost, as far as that is known.
    pub unpriced_cost: i64,
}

impl Watched {
    /// What would have been saved; negative: it would have cost more. `None`: nothing is known of any of them.
    pub fn would_save(&self) -> Option<i64> {
        self.known(self.cost.saturating_sub(self.would_cost))
    }

    /// The same in thousandths of what was spent; `None` where that was nothing.
    pub fn would_save_permille(&self) -> Option<i64> {
        self.would_save()?.saturating_mul(1000).checked_div(self.cost)
    }

    fn add(&mut self, other: &Self) {
        let sums = [
            (&mut self.requests, other.requests),
            (&mut self.moved, other.moved),
            (&mut self.unpriced, other.unpriced),
            (&mut self.cost, other.cost),
            (&mut self.would_cost, other.would_cost),
            (&mut self.unpriced_cost, other.unpriced_cost),
        ];
        sums.into_iter().for_each(|(sum, more)| *sum = sum.saturating_add(more));
    }

    /// An amount of those that are priced; none of them is no zero.
    fn known(&self, amount: i64) -> Option<i64> {
        (self.requests > self.unpriced).then_some(amount)
    }

    /// All of them, in the order of [`NAMES`].
    fn told(&self) -> [Option<i64>; NAMES.len()] {
        let counts = [self.requests, self.moved, self.unpriced].map(Some);
        let [requests, moved, unpriced] = counts;
        let (cost, would_cost) = (self.known(self.cost), self.known(self.would_cost));
        [requests, moved, unpriced, cost, would_cost, self.would_save(), Some(self.unpriced_cost)]
    }
}

/// Some requests of one slot, by everything that is no time, in the order of the report.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Line {
    /// When the slot begins, in milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// One name for each dimension that is no time; empty: it has none.
    pub names: Vec<String>,
    /// What is known of them.
    pub watched: Watched,
}

/// A report on what was watched.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    by: Vec<By>,
    /// The rows, by time, and then those first that would save most.
    pub rows: Vec<(Vec<String>, Watched)>,
    /// The sum of all lines.
    pub total: Watched,
}

impl Report {
    /// Groups lines by `by`; days, weeks and months are those of `zone`.
    pub fn of(by: &[By], lines: impl IntoIterator<Item = Line>, zone: &TimeZone) -> Self {
        let mut groups = BTreeMap::<Vec<String>, Watched>::new();
        let (mut total, mut days) = (Watched::default(), Days { zone, known: BTreeMap::<i64, Date>::new() });
        for line in lines {
            let mut named = line.names.into_iter();
            let name = |by: &By| match by.is_time() {
                true => days.name(*by, line.at_ms),
                false => named.next().unwrap_or_default(),
            };
            groups.entry(by.iter().map(name).collect()).or_default().add(&line.watched);
            total.add(&line.watched);
        }
        let mut rows: Vec<(Vec<String>, Watched)> = groups.into_iter().collect();
        let time_at = by.iter().position(|by| by.is_time());
        // Stable: what is equal keeps the order of its names.
        rows.sort_by(|(a, of_a), (b, of_b)| {
            let time = time_at.map_or(std::cmp::Ordering::Equal, |at| a[at].cmp(&b[at]));
            time.then(of_b.would_save().cmp(&of_a.would_save()))
        });
        Self { by: by.to_vec(), rows, total }
    }

    /// As a table, with its totals at the bottom.
    pub fn table(&self) -> Table {
        const COLUMNS: [&str; 7] = [
            "requests",
            "elsewhere",
            "unpriced",
            "cost, US$",
            "would cost, US$",
            "would save, US$",
            "cost of unpriced, US$",
        ];
        let shown = if self.total.unpriced_cost == 0 { COLUMNS.len() - 1 } else { COLUMNS.len() };
        let mut table = Table::new();
        table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(self.by.iter().map(|by| by.as_str()).chain(COLUMNS.into_iter().take(shown)));
        for column in table.column_iter_mut().skip(self.by.len()) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        let cells = |watched: &Watched| {
            let figure = |(at, figure): (usize, Option<i64>)| match figure {
                None => String::new(),
                Some(count) if at < 3 => grouped(count),
                Some(nano) => dollars(nano),
            };
            watched.told().into_iter().enumerate().take(shown).map(figure).collect::<Vec<_>>()
        };
        let of_row = |(names, watched): &(Vec<String>, Watched)| {
            names.iter().map(|name| shown_name(name)).chain(cells(watched)).collect::<Vec<_>>()
        };
        let mut rows: Vec<Vec<String>> = self.rows.iter().map(of_row).collect();
        rows.push(self.total_names().into_iter().chain(cells(&self.total)).collect());
        align(&mut rows, self.by.len());
        table.add_rows(rows);
        table
    }

    /// As CSV with a header; the totals are the last row.
    pub fn csv(&self) -> String {
        let mut out = csv::Writer::from_writer(Vec::new());
        let header = self.by.iter().map(|by| by.as_str().to_owned()).chain(NAMES.map(str::to_owned));
        let rows = self.rows.iter().map(|(names, watched)| (names.iter().map(|name| escaped(name)).collect(), watched));
        let rows = rows.chain([(self.total_names(), &self.total)]);
        let rows = rows.map(|(names, watched): (Vec<String>, &Watched)| {
            names.into_iter().chain(watched.told().map(cell)).collect::<Vec<_>>()
        });
        for record in std::iter::once(header.collect()).chain(rows) {
            out.write_record(record).expect("a vector takes it");
        }
        String::from_utf8(out.into_inner().expect("a vector takes it")).expect("names are UTF-8")
    }

    /// As JSON: `rows` and `total`, amounts in whole nano-dollars, null where nothing is known.
    pub fn json(&self) -> Value {
        let of = |watched: &Watched| {
            let mut value = json!({});
            for (name, figure) in NAMES.into_iter().zip(watched.told()) {
                value[name] = json!(figure);
            }
            value
        };
        let rows = self.rows.iter().map(|(names, watched)| {
            let mut value = of(watched);
            for (by, name) in self.by.iter().zip(names) {
                value[by.as_str()] = if name.is_empty() { Value::Null } else { json!(name) };
            }
            value
        });
        let by: Vec<&str> = self.by.iter().map(|by| by.as_str()).collect();
        json!({ "by": by, "rows": rows.collect::<Vec<_>>(), "total": of(&self.total) })
    }

    /// What stands in place of names before the totals.
    fn total_names(&self) -> Vec<String> {
        let mut names = vec![String::new(); self.by.len()];
        if let Some(first) = names.first_mut() {
            *first = "total".to_owned();
        }
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-28 00:00 UTC.
    const DAY_MS: i64 = 1_795_824_000_000;

    fn line(at_ms: i64, name: &str, all: [i64; 6]) -> Line {
        let [requests, moved, unpriced, cost, would_cost, unpriced_cost] = all;
        let watched = Watched { requests, moved, unpriced, cost, would_cost, unpriced_cost };
        Line { at_ms, names: vec![name.to_owned()], watched }
    }

    fn lines() -> [Line; 4] {
        [
            line(DAY_MS, "small", [4, 1, 0, 2_000_000, 1_500_000, 0]),
            line(DAY_MS, "large", [2, 2, 1, 9_000_000, 900_000, 70_000]),
            line(DAY_MS + 86_400_000, "large", [1, 1, 0, 1_000_000, 1_250_000, 0]),
            line(DAY_MS, "", [1, 1, 1, 0, 0, 0]),
        ]
    }

    #[test]
    fn those_come_first_that_would_save_most_and_what_is_not_known_is_no_zero() {
        let report = Report::of(&[By::Team], lines(), &TimeZone::UTC);
        assert_eq!(
            report.csv(),
            "team,requests,moved,unpriced,cost_nano,would_cost_nano,would_save_nano,unpriced_cost_nano\n\
             large,3,3,1,10000000,2150000,7850000,70000\n\
             small,4,1,0,2000000,1500000,500000,0\n\
             ,1,1,1,,,,0\n\
             total,8,5,2,12000000,3650000,8350000,70000\n"
        );
        assert_eq!((report.total.would_save_permille(), report.rows[2].1.would_save_permille()), (Some(695), None));
        let told = report.json();
        assert_eq!((&told["rows"][2]["team"], &told["rows"][2]["would_cost_nano"]), (&Value::Null, &Value::Null));
        assert_eq!((&told["by"], &told["total"]["would_save_nano"]), (&json!(["team"]), &json!(8_350_000)));
    }

    #[test]
    fn days_stand_in_their_order_and_what_would_cost_more_is_negative() {
        let report = Report::of(&[By::Team, By::Day], lines(), &TimeZone::UTC);
        let told: Vec<(String, Option<i64>)> =
            report.rows.iter().map(|(names, watched)| (names.join("|"), watched.would_save())).collect();
        let expected = [
            ("large|2026-11-28", Some(8_100_000)),
            ("small|2026-11-28", Some(500_000)),
            ("|2026-11-28", None),
            ("large|2026-11-29", Some(-250_000)),
        ];
        assert_eq!(told, expected.map(|(names, saves)| (names.to_owned(), saves)));
    }

    #[test]
    fn a_table_has_dollars_and_says_what_stands_for_no_name() {
        let told = Report::of(&[By::Team], lines(), &TimeZone::UTC).table().to_string();
        let words = |name: &str| {
            let line = told.lines().find(|line| line.trim_start().starts_with(name)).expect(name);
            line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(words("large"), ["large", "3", "3", "1", "0.010", "0.00215", "0.00785", "0.00007"]);
        assert_eq!(words("(none)"), ["(none)", "1", "1", "1", "0.00000"]);
        let priced = lines().into_iter().filter(|line| line.watched.unpriced_cost == 0);
        let told = Report::of(&[By::Team], priced, &TimeZone::UTC).table().to_string();
        assert!(!told.contains("cost of unpriced"), "{told}");
    }
}
