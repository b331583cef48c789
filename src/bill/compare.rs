//! A [`Bill`] against what the ledger has for its days: by day and model the residual, and the likely reason.
//!
//! Theirs less ours is the residual. It is *within* what the ledger promised if it is no more than rounding, or if rows
//! whose cost is unknown or estimated may be what it is. Reasons are told from figures alone, the likeliest first: a sum
//! does not say which call it is of, so that nothing follows from them but where to look.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;

use super::amount::half_of_last;
use super::{Bill, KINDS, Sums};

/// What the ledger has of one day and model.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Ours {
    /// Attempts, those that failed and cost nothing left out.
    pub attempts: u64,
    /// Those of unknown cost.
    pub uncertain: u64,
    /// Those of them for which no price was known.
    pub unpriced: u64,
    /// Those whose cost is an estimate.
    pub estimated: u64,
    /// The least that all of them cost, in nano-dollars.
    pub low: i64,
    /// Known and estimated costs.
    pub known: i64,
    /// The most that all of them cost; `None`: nothing bounds it.
    pub high: Option<i64>,
    /// What was billed beyond a bound.
    pub overshoot: i64,
    /// Known figures of each of [`KINDS`].
    pub counts: [u64; KINDS.len()],
    /// Attempts whose tokens are unknown.
    pub unread: u64,
}

impl Ours {
    /// Adds another model's or day's.
    fn add(&mut self, other: &Self) {
        self.high =
            if self.attempts == 0 { other.high } else { self.high.zip(other.high).map(|(a, b)| a.saturating_add(b)) };
        for (sum, more) in [
            (&mut self.attempts, other.attempts),
            (&mut self.uncertain, other.uncertain),
            (&mut self.unpriced, other.unpriced),
            (&mut self.estimated, other.estimated),
            (&mut self.unread, other.unread),
        ] {
            *sum += more;
        }
        for (sum, more) in
            [(&mut self.low, other.low), (&mut self.known, other.known), (&mut self.overshoot, other.overshoot)]
        {
            *sum = sum.saturating_add(more);
        }
        for (sum, more) in self.counts.iter_mut().zip(other.counts) {
            *sum = sum.saturating_add(more);
        }
    }
}

/// Why a figure of theirs is not ours.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Reason {
    /// They round, or we do.
    Rounding,
    /// They gave as much back.
    Credit,
    /// All of theirs are as much per cent of ours: hundredths of a per cent of the list price.
    Discount(i64),
    /// The rows of that day were deleted.
    DeletedRows,
    /// No attempt of a model of that name on any of the days.
    UnknownModel,
    /// The day before or after lacks what this one has too much.
    DayEdge,
    /// Rows without a price.
    UnpricedModel,
    /// Rows of unknown cost.
    UncertainRows,
    /// Rows whose cost is estimated.
    EstimatedRows,
    /// Rows that were billed beyond their bound: more may have been.
    Overshoot,
    /// The same tokens were charged otherwise.
    OtherPrices,
    /// Calls that did not pass Farthing.
    NotThroughFarthing,
    /// Not billed yet, or on pages that are not in the file.
    NotBilledYet,
    /// Not billed, or billed to another account, key or project.
    NotBilled,
}

impl Reason {
    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rounding => "rounding",
            Self::Credit => "credit",
            Self::Discount(_) => "discount",
            Self::DeletedRows => "deleted_rows",
            Self::UnknownModel => "unknown_model",
            Self::DayEdge => "time_zone_edge",
            Self::UnpricedModel => "unpriced_model",
            Self::UncertainRows => "uncertain_rows",
            Self::EstimatedRows => "estimated_rows",
            Self::Overshoot => "overshoot",
            Self::OtherPrices => "other_prices",
            Self::NotThroughFarthing => "not_through_farthing",
            Self::NotBilledYet => "not_billed_yet",
            Self::NotBilled => "not_billed",
        }
    }
}

/// What a line compares.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum What {
    /// Money, in nano-dollars.
    Cost,
    /// One of [`KINDS`].
    Count(usize),
}

impl What {
    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cost => "cost_nano_usd",
            Self::Count(kind) => KINDS.get(kind).copied().unwrap_or_default(),
        }
    }
}

/// One figure of a day and model, theirs and ours.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Line {
    /// The day.
    pub day: Date,
    /// The model; `None`: all of them, or what is charged for no model.
    pub model: Option<String>,
    /// What is compared.
    pub what: What,
    /// Ours at least.
    pub low: i64,
    /// Ours as far as it is known or estimated.
    pub ours: i64,
    /// Ours at most; `None`: nothing bounds it.
    pub high: Option<i64>,
    /// Theirs.
    pub theirs: i64,
    /// How far rounding alone can take them apart.
    pub tolerance: i64,
    /// The ledger's rows behind it.
    pub rows: Ours,
    /// Whether the residual is no more than rounding, or than what rows in doubt may be.
    pub is_within: bool,
    /// The likely reasons, the likeliest first.
    pub reasons: Vec<Reason>,
}

impl Line {
    /// Theirs less ours.
    pub fn residual(&self) -> i64 {
        self.theirs.saturating_sub(self.ours)
    }
}

/// What is compared with, and how.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// By day and model.
    pub rows: BTreeMap<(Date, String), Ours>,
    /// The first day whose rows were not deleted, if any were.
    pub kept_from: Option<Date>,
}

/// Two views of one pair of day and model.
#[derive(Clone, Copy, Default)]
struct Pair {
    theirs: Sums,
    ours: Ours,
}

type Pairs = BTreeMap<(Date, Option<String>), Pair>;

/// Compares; `decimals`, where given, is how the amounts are rounded, else the most that any has. Lines are in the order
/// of days, models and figures; those in which neither side has anything are left out.
pub fn compare(bill: &Bill, ledger: &Ledger, decimals: Option<u32>) -> Vec<Line> {
    let pairs = paired(bill, &ledger.rows);
    let mut whats: Vec<What> = (0..KINDS.len()).filter(|kind| bill.has_kind(*kind)).map(What::Count).collect();
    if bill.has_amounts() {
        whats.insert(0, What::Cost);
    }
    let half = half_of_last(decimals.or(bill.decimals).unwrap_or(u32::MAX));
    let mut lines: Vec<Line> = pairs
        .iter()
        .flat_map(|((day, model), pair)| whats.iter().map(move |what| line_of(*day, model.clone(), *what, pair, half)))
        .filter(|line| (line.ours, line.theirs) != (0, 0) || line.rows.uncertain > 0 && line.what == What::Cost)
        .collect();
    let judge = Judge { bill, ledger, discount: discount_of(&lines), pairs: &pairs, residuals: residuals(&lines) };
    for line in &mut lines {
        let (reasons, is_within) = judge.reasons(line);
        (line.reasons, line.is_within) = (reasons, is_within);
    }
    lines
}

/// Residual and tolerance by figure, model and day.
type Residuals = BTreeMap<(What, Option<String>, Date), (i64, i64)>;

fn residuals(lines: &[Line]) -> Residuals {
    lines.iter().map(|line| ((line.what, line.model.clone(), line.day), (line.residual(), line.tolerance))).collect()
}

/// Brings names together. OpenAI bills `gpt-x-2026-08-01` where `gpt-x` was asked for: where the two sides do not have the
/// same names of a model, its dated names are one line under the name without a date.
fn paired(bill: &Bill, rows: &BTreeMap<(Date, String), Ours>) -> Pairs {
    let whole_days = bill.sums.keys().all(|(_, model)| model.is_none()) && !bill.sums.is_empty();
    let mut names: BTreeMap<String, [BTreeSet<String>; 2]> = BTreeMap::new();
    let theirs = bill.sums.keys().filter_map(|(_, model)| model.as_deref()).map(|model| (model, 0));
    let ours = rows.keys().map(|(_, model)| (model.as_str(), 1));
    for (name, side) in theirs.chain(ours) {
        names.entry(family(name)).or_default()[side].insert(name.to_lowercase());
    }
    let named = |model: &str| {
        let family = family(model);
        let same =
            names.get(&family).is_some_and(|[theirs, ours]| theirs == ours || theirs.is_empty() || ours.is_empty());
        if same { model.to_lowercase() } else { family }
    };
    let mut pairs = Pairs::new();
    for ((day, model), sums) in &bill.sums {
        let pair = pairs.entry((*day, model.as_deref().map(named))).or_default();
        pair.theirs.charges += sums.charges;
        pair.theirs.credits += sums.credits;
        pair.theirs.amounts += sums.amounts;
        pair.theirs.counts.add(sums.counts);
    }
    for ((day, model), ours) in rows {
        let name = if whole_days { None } else { Some(named(model)) };
        pairs.entry((*day, name)).or_default().ours.add(ours);
    }
    pairs
}

/// A model's name without the date of its snapshot: `-2026-08-01` or `-20260801`.
fn family(name: &str) -> String {
    let name = name.to_lowercase();
    let is_date = |tail: &str| {
        let digits = tail.replace('-', "");
        let dashes = tail.len() - digits.len();
        digits.len() == 8
            && (dashes == 0 || (dashes == 2 && tail.as_bytes().get(4) == Some(&b'-')))
            && digits.starts_with("20")
            && digits.bytes().all(|byte| byte.is_ascii_digit())
    };
    for length in [11, 9] {
        let cut = name.len().saturating_sub(length);
        if let Some((head, tail)) = name.split_at_checked(cut)
            && !head.is_empty()
            && let Some(tail) = tail.strip_prefix('-')
            && is_date(tail)
        {
            return head.to_owned();
        }
    }
    name
}

fn line_of(day: Date, model: Option<String>, what: What, pair: &Pair, half: i64) -> Line {
    let Pair { theirs, ours } = pair;
    let mut sum = theirs.charges;
    sum += theirs.credits;
    let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let (low, known, high, theirs, tolerance) = match what {
        What::Cost => {
            let high = if ours.attempts == 0 { Some(0) } else { ours.high };
            // Each of our rows is rounded to whole nano-dollars, and each of their lines as it is written.
            let tolerance =
                half.saturating_mul(signed(theirs.amounts)).saturating_add(signed(ours.attempts.div_ceil(2)));
            (ours.low, ours.known, high, sum.nano().0, tolerance)
        }
        What::Count(kind) => {
            let known = signed(ours.counts.get(kind).copied().unwrap_or_default());
            let theirs = signed(theirs.counts.0.get(kind).copied().flatten().unwrap_or_default());
            let is_open = KINDS.get(kind) != Some(&"requests") && ours.unread > 0;
            (known, known, (!is_open).then_some(known), theirs, 0)
        }
    };
    let (is_within, reasons) = (false, Vec::new());
    Line { day, model, what, low, ours: known, high, theirs, tolerance, rows: *ours, is_within, reasons }
}

/// Hundredths of a per cent that theirs are of ours, if they are about as much on every line on which both sides have
/// money and nothing is in doubt, and something else than all of it. A single line must be whole per cents less.
fn discount_of(lines: &[Line]) -> Option<i64> {
    let is_known = |line: &&Line| {
        line.what == What::Cost
            && line.rows.uncertain + line.rows.estimated == 0
            && line.ours > 0
            && line.theirs > 0
            && line.tolerance.saturating_mul(100) < line.ours
    };
    let shares: Vec<i128> =
        lines.iter().filter(is_known).map(|line| i128::from(line.theirs) * 1_000_000 / i128::from(line.ours)).collect();
    let (least, most) = (*shares.iter().min()?, *shares.iter().max()?);
    let share = (least + most) / 2;
    let hundredths = (share + 50) / 100;
    let is_one = most - least <= 1_000 && (share - 1_000_000).abs() > 1_000 && share < 2_000_000;
    let is_plain =
        shares.len() > 1 || (share < 1_000_000 && hundredths % 100 == 0 && (share - hundredths * 100).abs() <= 200);
    (is_one && is_plain).then(|| i64::try_from(hundredths).ok()).flatten()
}

/// Finds reasons, line by line.
struct Judge<'a> {
    bill: &'a Bill,
    ledger: &'a Ledger,
    discount: Option<i64>,
    pairs: &'a Pairs,
    residuals: Residuals,
}

impl Judge<'_> {
    /// The likely reasons, and whether the residual is within what the ledger promised.
    fn reasons(&self, line: &Line) -> (Vec<Reason>, bool) {
        let residual = line.residual();
        if residual.abs() <= line.tolerance {
            return (if residual == 0 { Vec::new() } else { vec![Reason::Rounding] }, true);
        }
        if self.ledger.kept_from.is_some_and(|kept| line.day < kept) {
            return (vec![Reason::DeletedRows], false);
        }
        let doubt = self.doubt(line);
        let above = line.low.saturating_sub(line.tolerance) <= line.theirs;
        let below = line.high.is_none_or(|high| line.theirs <= high.saturating_add(line.tolerance));
        if above && below && !doubt.is_empty() {
            // Where nothing bounds what a row cost, any amount would be within.
            return (doubt, line.what != What::Cost || line.high.is_some());
        }
        if let Some(reason) = self.plain(line) {
            return (vec![reason], false);
        }
        let mut reasons = doubt;
        if residual > 0 && line.what == What::Cost && line.rows.overshoot > 0 {
            reasons.push(Reason::Overshoot);
        }
        reasons.push(self.rest(line, residual));
        (reasons, false)
    }

    /// Rows that nobody knows the figure of.
    fn doubt(&self, line: &Line) -> Vec<Reason> {
        let Ours { uncertain, unpriced, estimated, unread, .. } = line.rows;
        let unknown = if line.what == What::Cost { uncertain.saturating_sub(unpriced) } else { unread };
        [
            (line.what == What::Cost && unpriced > 0, Reason::UnpricedModel),
            (unknown > 0, Reason::UncertainRows),
            (estimated > 0, Reason::EstimatedRows),
        ]
        .into_iter()
        .filter_map(|(is_so, reason)| is_so.then_some(reason))
        .collect()
    }

    /// A reason that explains the whole residual by itself.
    fn plain(&self, line: &Line) -> Option<Reason> {
        let residual = line.residual();
        if let (What::Cost, Some(pair)) = (line.what, self.pairs.get(&(line.day, line.model.clone()))) {
            let credits = pair.theirs.credits.nano().0;
            if credits != 0 && residual.saturating_sub(credits).abs() <= line.tolerance {
                return Some(Reason::Credit);
            }
        }
        let days_with = |day: Option<Date>| {
            let found = self.residuals.get(&(line.what, line.model.clone(), day?))?;
            Some(residual.saturating_add(found.0).abs() <= line.tolerance.saturating_add(found.1))
        };
        if self.is_unknown(line) {
            return Some(Reason::UnknownModel);
        }
        if days_with(line.day.yesterday().ok()) == Some(true) || days_with(line.day.tomorrow().ok()) == Some(true) {
            return Some(Reason::DayEdge);
        }
        let discount = self.discount.filter(|_| line.what == What::Cost)?;
        let expected = i128::from(line.ours) * i128::from(discount) / 10_000;
        let slack = i128::from(line.tolerance) + i128::from(line.ours.abs()) / 1_000;
        let is_so = line.ours > 0 && (i128::from(line.theirs) - expected).abs() <= slack;
        is_so.then_some(Reason::Discount(discount))
    }

    /// Whether no attempt has such a model on any day.
    fn is_unknown(&self, line: &Line) -> bool {
        let has = |(key, pair): (&(Date, Option<String>), &Pair)| key.1 == line.model && pair.ours.attempts > 0;
        line.model.is_some() && line.rows.attempts == 0 && !self.pairs.iter().any(has)
    }

    /// What is left to say.
    fn rest(&self, line: &Line, residual: i64) -> Reason {
        if line.what == What::Cost && self.has_same_tokens(line) {
            return Reason::OtherPrices;
        }
        if residual > 0 {
            return Reason::NotThroughFarthing;
        }
        match self.bill.has_more || self.bill.days.last() == Some(&line.day) {
            true => Reason::NotBilledYet,
            false => Reason::NotBilled,
        }
    }

    /// Whether the export has tokens for the line, and they are ours.
    fn has_same_tokens(&self, line: &Line) -> bool {
        let Some(pair) = self.pairs.get(&(line.day, line.model.clone())) else { return false };
        let [input, _, _, output, _] = pair.theirs.counts.0;
        let [ours_in, _, _, ours_out, _] = pair.ours.counts;
        (input, output) == (Some(ours_in), Some(ours_out)) && pair.ours.unread == 0
    }
}
