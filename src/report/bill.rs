//! A provider's bill by day and model beside what our rows say: the difference of each, and its likely reason.
//!
//! A bill says only sums, so nothing here settles a row. `bill_shapes` reads bills, `ledger::billed` sums rows.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;

/// What a line of a bill counts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Measure {
    /// Nano-dollars.
    Cost,
    /// Input tokens, those of the cache included.
    Input,
    /// Output tokens.
    Output,
}

impl Measure {
    /// The word in tables and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cost => "cost",
            Self::Input => "input_tokens",
            Self::Output => "output_tokens",
        }
    }
}

/// What a provider bills.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Bill {
    /// Sums by day, model and measure; a model without a name is empty.
    pub billed: BTreeMap<(Date, String, Measure), Billed>,
    /// What is taken off, by day: credits and adjustments, which belong to no model.
    pub credits: BTreeMap<Date, i64>,
    /// Most decimals of a dollar that any amount has; 9: to the nano-dollar or finer.
    pub decimals: u32,
}

/// The sum of some lines.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Billed {
    /// Nano-dollars or tokens.
    pub amount: i64,
    /// How many lines, each of which was rounded.
    pub lines: i64,
}

impl Bill {
    /// Adds a line; money that is given back is a credit.
    pub fn add(&mut self, day: Date, model: &str, measure: Measure, amount: i64) {
        if measure == Measure::Cost && amount < 0 {
            let credit = self.credits.entry(day).or_default();
            *credit = credit.saturating_add(amount);
            return;
        }
        let sum = self.billed.entry((day, model.to_owned(), measure)).or_default();
        sum.amount = sum.amount.saturating_add(amount);
        sum.lines += 1;
    }

    /// The first and the last day.
    pub fn days(&self) -> Option<(Date, Date)> {
        let days = || self.billed.keys().map(|(day, ..)| *day).chain(self.credits.keys().copied());
        days().min().zip(days().max())
    }

    /// By how much a line may be off for being written with so few decimals, in nano-dollars.
    pub fn rounded_off(&self) -> i64 {
        (10_i64.pow(9 - self.decimals.min(9)) + 1) / 2
    }
}

/// What our rows of a day and model come to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Ours {
    /// The least that they can have cost.
    pub low: i64,
    /// What is known or estimated, and the least of the rest.
    pub told: i64,
    /// The most, as far as anything bounds it.
    pub high: i64,
    /// Input tokens that are known.
    pub input: i64,
    /// Output tokens that are known.
    pub output: i64,
    /// Attempts whose cost is not known.
    pub uncertain: i64,
    /// Attempts that nothing bounds.
    pub unbounded: i64,
    /// Attempts whose tokens were counted here.
    pub estimated: i64,
    /// Attempts without a price.
    pub unpriced: i64,
}

impl Ours {
    fn plus(self, other: Self) -> Self {
        Self {
            low: self.low.saturating_add(other.low),
            told: self.told.saturating_add(other.told),
            high: self.high.saturating_add(other.high),
            input: self.input.saturating_add(other.input),
            output: self.output.saturating_add(other.output),
            uncertain: self.uncertain + other.uncertain,
            unbounded: self.unbounded + other.unbounded,
            estimated: self.estimated + other.estimated,
            unpriced: self.unpriced + other.unpriced,
        }
    }

    fn of(&self, measure: Measure) -> i64 {
        match measure {
            Measure::Cost => self.told,
            Measure::Input => self.input,
            Measure::Output => self.output,
        }
    }
}

/// A day and model of both.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Line {
    /// The day, UTC.
    pub day: Date,
    /// The model by our name, or by the bill's where we have none; empty: the bill names none.
    pub model: String,
    /// What is compared.
    pub measure: Measure,
    /// What our rows say; `None`: there are none.
    pub ours: Option<Ours>,
    /// What the bill says; `None`: nothing.
    pub theirs: Option<i64>,
    /// By how much the bill is more.
    pub residual: i64,
    /// Why, most likely.
    pub reason: String,
}

/// Holds a bill against the sums of our rows, by day and model.
pub fn compare(bill: &Bill, ours: &BTreeMap<(Date, String), Ours>) -> Vec<Line> {
    let names: BTreeSet<&str> = ours.keys().map(|(_, model)| model.as_str()).collect();
    let mut theirs: BTreeMap<(Date, String, Measure), Billed> = BTreeMap::new();
    for ((day, model, measure), billed) in &bill.billed {
        let sum = theirs.entry((*day, ours_for(model, &names), *measure)).or_default();
        sum.amount = sum.amount.saturating_add(billed.amount);
        sum.lines += billed.lines;
    }
    // A bill that names no model at all is one of whole days.
    let is_of_days = theirs.keys().all(|(_, model, _)| model.is_empty());
    let mut sums: BTreeMap<(Date, String), Ours> = BTreeMap::new();
    for ((day, model), of_model) in ours {
        let sum = sums.entry((*day, if is_of_days { String::new() } else { model.clone() })).or_default();
        *sum = sum.plus(*of_model);
    }
    let measures: BTreeSet<Measure> = theirs.keys().map(|(.., measure)| *measure).collect();
    let of_ours = sums.keys().flat_map(|(day, model)| measures.iter().map(|measure| (*day, model.clone(), *measure)));
    let keys: BTreeSet<(Date, String, Measure)> = theirs.keys().cloned().chain(of_ours).collect();
    let mut lines: Vec<(Line, i64)> = keys
        .into_iter()
        .map(|key| {
            let billed = theirs.get(&key);
            let (day, model, measure) = key;
            let ours = sums.get(&(day, model.clone())).copied();
            let theirs = billed.map(|billed| billed.amount);
            let rounded = if measure == Measure::Cost { bill.rounded_off() } else { 0 };
            let tolerance = rounded.saturating_mul(billed.map_or(0, |billed| billed.lines));
            let residual = theirs.unwrap_or(0) - ours.map_or(0, |ours| ours.of(measure));
            (Line { day, model, measure, ours, theirs, residual, reason: String::new() }, tolerance)
        })
        .collect();
    let discount = discount(&lines);
    let reasons: Vec<String> =
        lines.iter().map(|(line, tolerance)| reason(line, *tolerance, &lines, discount)).collect();
    lines.iter_mut().zip(reasons).for_each(|((line, _), reason)| line.reason = reason);
    lines.into_iter().map(|(line, _)| line).collect()
}

/// The name that our rows have for a model of the bill: the same, or the same but for a date at its end.
fn ours_for(model: &str, names: &BTreeSet<&str>) -> String {
    if names.contains(model) {
        return model.to_owned();
    }
    let plain = undated(model);
    let near = names.iter().find(|name| undated(name) == plain);
    near.map_or(model, |name| name).to_owned()
}

/// A name without `-2026-07-01` or `-20260701` at its end.
fn undated(name: &str) -> &str {
    let is_date = |end: &str, places: &[usize]| {
        end.bytes()
            .enumerate()
            .all(|(at, byte)| if places.contains(&at) { byte == b'-' } else { byte.is_ascii_digit() })
    };
    for (length, places) in [(11, &[0, 5, 8][..]), (9, &[0][..])] {
        if let Some((plain, end)) = name.len().checked_sub(length).and_then(|at| name.split_at_checked(at))
            && !plain.is_empty()
            && is_date(end, places)
        {
            return plain;
        }
    }
    name
}

/// The share of our cost, in millionths, by which every line of the bill is less, if it is the same for all.
fn discount(lines: &[(Line, i64)]) -> Option<i64> {
    let share = |(line, tolerance): &(Line, i64)| {
        let (told, theirs) = (line.ours?.told, line.theirs?);
        let counts = line.measure == Measure::Cost && told > tolerance.saturating_mul(1000) && told > 0;
        let off = i128::from(told - theirs) * 1_000_000 / i128::from(told.max(1));
        counts.then(|| i64::try_from(off).unwrap_or(i64::MAX))
    };
    let shares: Vec<i64> = lines.iter().filter_map(share).collect();
    let (least, most) = (*shares.iter().min()?, *shares.iter().max()?);
    // Two lines that agree to a fifth of a percent are no accident.
    (shares.len() > 1 && least > 2_000 && most - least <= 2_000).then_some((least + most) / 2)
}

fn reason(line: &Line, tolerance: i64, all: &[(Line, i64)], discount: Option<i64>) -> String {
    let is_near = |amount: i64, tolerance: i64| amount.saturating_abs() <= tolerance;
    if line.residual == 0 {
        return "equal".to_owned();
    }
    if is_near(line.residual, tolerance) {
        return "rounding of the bill".to_owned();
    }
    let beside = |(other, apart): &&(Line, i64)| {
        let days = line.day.duration_until(other.day).as_hours().abs();
        (&other.model, other.measure) == (&line.model, line.measure)
            && days == 24
            && other.residual.signum() == -line.residual.signum()
            && is_near(other.residual + line.residual, tolerance + apart)
    };
    if let Some((other, _)) = all.iter().find(beside) {
        return format!("edge of the day: {} has the opposite", other.day);
    }
    let Some(ours) = line.ours else {
        return "not in the ledger: traffic that did not pass Farthing, or another name of a model".to_owned();
    };
    let Some(theirs) = line.theirs else {
        return if ours.uncertain > 0 && ours.low == 0 {
            "not on the bill: what is uncertain was not billed".to_owned()
        } else {
            "not on the bill: not billed yet, or another name of a model".to_owned()
        };
    };
    if line.measure == Measure::Cost {
        let is_below = ours.unbounded > 0 || theirs <= ours.high.saturating_add(tolerance);
        if ours.uncertain + ours.estimated > 0 && theirs >= ours.low.saturating_sub(tolerance) && is_below {
            return match (ours.unpriced, ours.uncertain, ours.estimated) {
                (0, 0, estimated) => format!("within what {estimated} estimated attempts may have cost"),
                (0, uncertain, _) => format!("within what {uncertain} uncertain attempts may have cost"),
                (unpriced, ..) => format!("{unpriced} attempts have no price"),
            };
        }
        if let Some(off) = discount {
            let tenths = (off + 500) / 1000;
            return format!("a discount of {}.{} %, the same on every line", tenths / 10, tenths % 10);
        }
    } else if ours.uncertain + ours.estimated > 0 {
        return format!("{} attempts without reported tokens", ours.uncertain.max(ours.estimated));
    }
    if line.residual > 0 {
        "traffic that did not pass Farthing, or a price that is too low".to_owned()
    } else {
        "a price that is too high, or a discount".to_owned()
    }
}

#[cfg(test)]
#[path = "bill/tests.rs"]
mod tests;
