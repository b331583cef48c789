//! Price rows as YAML text: what `parse` reads, with every rate that is known written out.
//!
//! A row that comes from elsewhere is written as it is charged, gaps filled, so that the file means the same whatever the
//! rules for gaps become.

use std::fmt::Write as _;

use crate::money::PicoUsdPerToken;

use super::book::Row;
use super::price::{Rates, Schedule, Terms};

/// Rows as a piece of a price file in block style, one after another.
pub fn yaml_of<'a>(rows: impl IntoIterator<Item = &'a Row>) -> String {
    let mut text = String::new();
    for Row { vendor, model, price } in rows {
        let _ = writeln!(text, "- model: {}", quoted(&format!("{vendor}/{model}")));
        if let Some(from) = price.from {
            let _ = writeln!(text, "  from: {from}");
        }
        match &price.terms {
            Terms::Free => text.push_str("  price: free\n"),
            Terms::Metered(metered) => {
                let _ = writeln!(text, "  usd_per_million: {{ {} }}", rates(&metered.standard.base));
                if let Some(above) = above(&metered.standard) {
                    let _ = writeln!(text, "  {above}");
                }
                for (name, schedule) in metered.tiers() {
                    let steps = above(schedule).map_or_else(String::new, |above| format!(", {above}"));
                    let _ = writeln!(text, "  {name}: {{ {}{steps} }}", rates(&schedule.base));
                }
            }
        }
        let hours: Vec<String> = price
            .hours
            .iter()
            .filter_map(|(hours, price)| {
                let Terms::Metered(metered) = &price.terms else { return None };
                let steps = above(&metered.standard).map_or_else(String::new, |above| format!(", {above}"));
                Some(format!("{hours}: {{ {}{steps} }}", rates(&metered.standard.base)))
            })
            .collect();
        if !hours.is_empty() {
            let _ = writeln!(text, "  hours: {{ {} }}", hours.join(", "));
        }
        if let Terms::Metered(metered) = &price.terms {
            let fees: Vec<String> =
                metered.fees.named().map(|(name, fee)| format!("{name}: {}", usd_per_million(fee))).collect();
            if !fees.is_empty() {
                let _ = writeln!(text, "  fees: {{ {} }}", fees.join(", "));
            }
        }
        let limits = [("input", price.limits.input), ("output", price.limits.output)];
        let limits: Vec<String> =
            limits.iter().filter_map(|(name, limit)| limit.map(|limit| format!("{name}: {limit}"))).collect();
        if !limits.is_empty() {
            let _ = writeln!(text, "  limits: {{ {} }}", limits.join(", "));
        }
        if let Some(deprecated) = price.deprecated {
            let _ = writeln!(text, "  deprecated: {deprecated}");
        }
    }
    text
}

/// A rate as dollars per million tokens, exact.
pub fn usd_per_million(rate: PicoUsdPerToken) -> String {
    let (whole, micro) = (rate.0 / 1_000_000, rate.0 % 1_000_000);
    if micro == 0 {
        return whole.to_string();
    }
    format!("{whole}.{micro:06}").trim_end_matches('0').to_owned()
}

/// Long-context steps whose rates are known. A step without is what a tier without `above` inherits from its row.
fn above(schedule: &Schedule) -> Option<String> {
    let steps = schedule.steps.iter().filter_map(|step| Some((step.above, step.rates.as_ref()?)));
    let steps: Vec<String> = steps.map(|(above, of)| format!("{above}: {{ {} }}", rates(of))).collect();
    (!steps.is_empty()).then(|| format!("above: {{ {} }}", steps.join(", ")))
}

fn rates(rates: &Rates) -> String {
    let named = rates.named().filter_map(|(name, rate)| Some(format!("{name}: {}", usd_per_million(rate?))));
    named.collect::<Vec<_>>().join(", ")
}

fn quoted(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._/-@".contains(&byte);
    if text.bytes().all(is_plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', "''")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::Book;

    #[track_caller]
    fn check(text: &str) {
        let rows = Book::parse("prices.yaml", text).expect(text);
        assert_eq!(yaml_of(&rows.0), text);
    }

    #[test]
    fn a_row_that_is_read_is_written_as_it_was() {
        check(
            "- model: openai/gpt-x
  from: 2026-11-01
  usd_per_million: { input: 1, cached_input: 0.1, cache_write_5m: 1.25, cache_write_1h: 2, output: 8, reasoning: 9 }
  above: { 128000: { input: 1.5, cached_input: 1.5, cache_write_5m: 1.5, output: 10, reasoning: 10 } }
  batch: { input: 0.5, cached_input: 0.5, cache_write_5m: 0.5, output: 4, reasoning: 4 }
  flex: { input: 0.000001, cached_input: 0, cache_write_5m: 0.5, output: 4, reasoning: 4, above: { 9: { input: 1, cached_input: 1, cache_write_5m: 1, output: 1, reasoning: 1 } } }
  hours: { 16:30-00:30: { input: 0.5, cached_input: 0.25, cache_write_5m: 0.5, output: 4, reasoning: 4 } }
  fees: { web_search: 0.01, file_search: 0.0025 }
  limits: { input: 922000, output: 128000 }
  deprecated: 2027-06-30
- model: 'bedrock/it''s:0'
  price: free
- model: voyage/voyage-4
  usd_per_million: { input: 0.06, cached_input: 0.06, cache_write_5m: 0.06 }
  limits: { input: 32000 }
",
        );
    }

    #[test]
    fn the_built_in_book_survives_being_written() {
        for vendor in Book::built_in_vendors() {
            let rows: Vec<Row> = Book::builtin()
                .rows_of(vendor)
                .map(|(model, price)| Row {
                    vendor: vendor.to_owned(),
                    model: model.to_owned(),
                    price: (**price).clone(),
                })
                .collect();
            let again = Book::parse("prices.yaml", &yaml_of(&rows)).expect(vendor);
            for (was, is) in rows.iter().zip(&again.0) {
                assert_eq!((&was.model, &was.price.terms), (&is.model, &is.price.terms), "{vendor}");
                assert_eq!((was.price.limits, was.price.deprecated), (is.price.limits, is.price.deprecated));
            }
        }
    }
}
