//! What rows of a price file would change of a book: every figure, before and after.

use jiff::civil::Date;

use crate::money::PicoUsdPerToken;

use super::book::{Book, Row};
use super::price::{Price, Terms};
use super::write::usd_per_million;

/// What a row changes of the price that is in force on a day.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// `vendor/model`.
    pub key: String,
    /// The version of the price that it takes the place of; `None`: there was none.
    pub replaces: Option<String>,
    /// The figures that differ.
    pub figures: Vec<Figure>,
}

/// A figure of a row, before and after; `None`: it is not known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Figure {
    /// Such as `input`, `above 272000 output`, `batch cached_input`, `limits input`, `deprecated`, `price`.
    pub name: String,
    /// As it was; rates in dollars per million tokens.
    pub old: Option<String>,
    /// As it will be.
    pub new: Option<String>,
    /// By how many tenths of a percent a rate changes; `None` for what is no rate, or was none.
    pub per_mille: Option<i64>,
}

/// What `row` changes of what `book` says on `day`; `None`: nothing.
pub fn change(book: &Book, row: &Row, day: Date) -> Option<Change> {
    let before = book.price(&row.vendor, &row.model, day);
    let (old, new) = (before.map(|price| values(price)).unwrap_or_default(), values(&row.price));
    let find = |values: &[(String, Value)], name: &str| {
        values.iter().find(|(found, _)| found == name).map(|(_, value)| value.clone())
    };
    let gone = old.iter().filter(|(name, _)| find(&new, name).is_none());
    let names = new.iter().chain(gone).map(|(name, _)| name);
    let figures = names.filter_map(|name| {
        let (old, new) = (find(&old, name), find(&new, name));
        (old != new).then(|| Figure {
            name: name.clone(),
            per_mille: old.as_ref().zip(new.as_ref()).and_then(|(old, new)| per_mille(old, new)),
            old: old.as_ref().map(Value::text),
            new: new.as_ref().map(Value::text),
        })
    });
    let figures: Vec<Figure> = figures.collect();
    let replaces = before.map(|price| price.version.clone());
    (!figures.is_empty()).then(|| Change { key: format!("{}/{}", row.vendor, row.model), replaces, figures })
}

/// All that is known of a price as names and figures, in the order in which a row is written.
pub fn figures(price: &Price) -> Vec<(String, String)> {
    values(price).into_iter().map(|(name, value)| (name, value.text())).collect()
}

#[derive(Clone, PartialEq, Eq)]
enum Value {
    Rate(PicoUsdPerToken),
    Word(String),
}

impl Value {
    fn text(&self) -> String {
        match self {
            Self::Rate(rate) => usd_per_million(*rate),
            Self::Word(word) => word.clone(),
        }
    }
}

fn values(price: &Price) -> Vec<(String, Value)> {
    let mut values = Vec::new();
    let word = |text: String| Value::Word(text);
    match &price.terms {
        Terms::Free => values.push(("price".to_owned(), word("free".to_owned()))),
        Terms::Metered(metered) => {
            let tiers = metered.tiers().map(|(tier, schedule)| (tier.to_owned(), schedule));
            let hours = price.hours.iter().filter_map(|(hours, price)| match &price.terms {
                Terms::Metered(metered) => Some((format!("hours {hours}"), &metered.standard)),
                Terms::Free => None,
            });
            for (tier, schedule) in std::iter::once((String::new(), &metered.standard)).chain(tiers).chain(hours) {
                let steps = schedule.steps.iter().map(|step| (format!("above {} ", step.above), step.rates.as_ref()));
                for (step, rates) in std::iter::once((String::new(), Some(&schedule.base))).chain(steps) {
                    let named = rates.into_iter().flat_map(|rates| rates.named());
                    let before = if tier.is_empty() { step } else { format!("{tier} {step}") };
                    values
                        .extend(named.filter_map(|(name, rate)| Some((format!("{before}{name}"), Value::Rate(rate?)))));
                }
            }
            values.extend(metered.fees.named().map(|(name, fee)| (format!("fee of {name}"), Value::Rate(fee))));
        }
    }
    let limits = [("limits input", price.limits.input), ("limits output", price.limits.output)];
    values.extend(limits.into_iter().filter_map(|(name, limit)| Some((name.to_owned(), word(limit?.to_string())))));
    values.extend(price.deprecated.map(|day| ("deprecated".to_owned(), word(day.to_string()))));
    values
}

fn per_mille(old: &Value, new: &Value) -> Option<i64> {
    let (Value::Rate(old), Value::Rate(new)) = (old, new) else { return None };
    let difference = i128::from(new.0) - i128::from(old.0);
    let (old, doubled) = (i128::from(old.0), difference * 2000);
    if old == 0 {
        return None;
    }
    // Half away from zero: a change is never told as none.
    let rounded = (doubled + old * doubled.signum()) / (2 * old);
    i64::try_from(if rounded == 0 { difference.signum() } else { rounded }).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    /// A figure's name, before and after, and by how much.
    type Told<'a> = (&'a str, Option<&'a str>, Option<&'a str>, Option<i64>);

    #[track_caller]
    fn check(before: &str, after: &str, expected: &[Told<'_>]) {
        let read = |text: &str| Book::parse("prices.yaml", text).expect("good rows");
        let book = Book::default().with_user_rows(read(before));
        let found = change(&book, &read(after).0[0], date(2026, 11, 28));
        let found = found.map(|change| change.figures).unwrap_or_default();
        let found: Vec<_> = found
            .iter()
            .map(|figure| (figure.name.as_str(), figure.old.as_deref(), figure.new.as_deref(), figure.per_mille))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn every_figure_that_differs_is_told_with_its_share() {
        check(
            "- { model: a/m, usd_per_million: { input: 1, cached_input: 0.1, output: 4 }, flex: { input: 1, output: 2 } }",
            "- { model: a/m, usd_per_million: { input: 1.25, output: 3 }, above: { 9: { input: 2, output: 6 } }, limits: { output: 7 } }",
            &[
                ("input", Some("1"), Some("1.25"), Some(250)),
                ("cached_input", Some("0.1"), Some("1.25"), Some(11_500)),
                ("cache_write_5m", Some("1"), Some("1.25"), Some(250)),
                ("output", Some("4"), Some("3"), Some(-250)),
                ("reasoning", Some("4"), Some("3"), Some(-250)),
                ("above 9 input", None, Some("2"), None),
                ("above 9 cached_input", None, Some("2"), None),
                ("above 9 cache_write_5m", None, Some("2"), None),
                ("above 9 output", None, Some("6"), None),
                ("above 9 reasoning", None, Some("6"), None),
                ("limits output", None, Some("7"), None),
                ("flex input", Some("1"), None, None),
                ("flex cached_input", Some("1"), None, None),
                ("flex cache_write_5m", Some("1"), None, None),
                ("flex output", Some("2"), None, None),
                ("flex reasoning", Some("2"), None, None),
            ],
        );
    }

    #[test]
    fn the_same_price_is_no_change_and_a_hair_s_breadth_is_one() {
        let row = "- { model: a/m, usd_per_million: { input: 1000, output: 4 } }";
        check(row, row, &[]);
        let up = "- { model: a/m, usd_per_million: { input: 1000, cached_input: 1000.000001, output: 4 } }";
        check(row, up, &[("cached_input", Some("1000"), Some("1000.000001"), Some(1))]);
    }

    #[test]
    fn a_price_that_becomes_free_says_so() {
        let before = "- { model: a/m, usd_per_million: { input: 1, cached_input: 1, cache_write_5m: 1 } }";
        check(
            before,
            "- { model: a/m, price: free }",
            &[
                ("price", None, Some("free"), None),
                ("input", Some("1"), None, None),
                ("cached_input", Some("1"), None, None),
                ("cache_write_5m", Some("1"), None, None),
            ],
        );
    }
}
