//! Amounts as providers spell them: decimals of any length in dollars or cents, negative ones where they credit.
//!
//! They are kept in atto-dollars (10⁻¹⁸ dollars), so that sums of what a provider splits finer than we do are exact, and are
//! rounded once, half to even, where they meet the ledger. How many decimals were written says how the provider rounds.

use std::ops::AddAssign;

use crate::money::NanoUsd;

/// Decimals that are kept.
const DECIMALS: i64 = 18;
/// Most digits before the point: a quadrillion dollars is an error, not a bill.
const WHOLE_DIGITS_MAX: i64 = 15;
/// Most characters of an amount.
const LENGTH_MAX: usize = 80;

/// An amount in atto-dollars.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Amount(pub i128);

/// What a written amount counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    /// Dollars.
    Dollars,
    /// Hundredths of them.
    Cents,
    /// 10⁻⁹ of them.
    NanoDollars,
}

impl Unit {
    fn shift(self) -> i64 {
        match self {
            Self::Dollars => 0,
            Self::Cents => 2,
            Self::NanoDollars => 9,
        }
    }
}

impl Amount {
    /// Reads a decimal with an optional sign, dollar sign and exponent, and how many decimals of a dollar it has. Digits
    /// beyond the eighteenth decimal are rounded half to even. Nothing that groups digits is taken: whether `1,234` is
    /// more than a thousand or little more than one depends on who wrote it.
    pub fn parse(text: &str, unit: Unit) -> Option<(Self, u32)> {
        if text.len() > LENGTH_MAX {
            return None;
        }
        let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let text = text.strip_prefix('$').unwrap_or(text);
        let (decimal, exponent) = match text.split_once(['e', 'E']) {
            Some((decimal, exponent)) => (decimal, exponent.parse::<i64>().ok().filter(|e| e.abs() <= 60)?),
            None => (text, 0),
        };
        let (whole, fraction) = decimal.split_once('.').unwrap_or((decimal, ""));
        let digits = [whole, fraction].concat().into_bytes();
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let point = i64::try_from(whole.len()).ok()? + exponent - unit.shift();
        let first = digits.iter().position(|digit| *digit != b'0').and_then(|first| i64::try_from(first).ok());
        if first.is_some_and(|first| point - first > WHOLE_DIGITS_MAX) {
            return None;
        }
        let written = i64::try_from(fraction.len()).ok()? - exponent + unit.shift();
        let value = rounded_at(&digits, point + DECIMALS);
        let decimals = u32::try_from(written.max(0)).ok()?;
        Some((Self(if negative { -value } else { value }), decimals))
    }

    /// In nano-dollars, halves to the even one; saturates.
    pub fn nano(self) -> NanoUsd {
        const NANO: i128 = 1_000_000_000;
        let (whole, rest) = (self.0.div_euclid(NANO), self.0.rem_euclid(NANO));
        let up = rest * 2 > NANO || (rest * 2 == NANO && whole.rem_euclid(2) == 1);
        let nano = whole + i128::from(up);
        NanoUsd(i64::try_from(nano).unwrap_or(if nano < 0 { i64::MIN } else { i64::MAX }))
    }

    /// Whether it gives money back.
    pub fn is_credit(self) -> bool {
        self.0 < 0
    }
}

impl AddAssign for Amount {
    fn add_assign(&mut self, other: Self) {
        self.0 = self.0.saturating_add(other.0);
    }
}

/// The number that the first `keep` digits spell, rounded by those after them; digits that are not there are zeros.
fn rounded_at(digits: &[u8], keep: i64) -> i128 {
    let Ok(keep) = usize::try_from(keep) else { return 0 };
    let mut value: i128 = 0;
    for digit in digits.iter().copied().chain(std::iter::repeat(b'0')).take(keep) {
        // Zeros before the first digit aside there are at most 33 of them.
        value = value.saturating_mul(10).saturating_add(i128::from(digit - b'0'));
    }
    let rest = digits.get(keep..).unwrap_or_default();
    let Some((first, after)) = rest.split_first() else { return value };
    let beyond_half = *first > b'5' || (*first == b'5' && after.iter().any(|digit| *digit != b'0'));
    value + i128::from(beyond_half || (*first == b'5' && value % 2 == 1))
}

/// Half of the last of `decimals` decimals, in nano-dollars, rounded up: how far a rounded amount lies from the true one.
pub fn half_of_last(decimals: u32) -> i64 {
    match decimals {
        0..=9 => (10_i64.pow(9 - decimals) + 1) / 2,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, unit: Unit, expected: Option<(i128, u32)>) {
        assert_eq!(Amount::parse(text, unit), expected.map(|(atto, decimals)| (Amount(atto), decimals)), "{text}");
    }

    #[test]
    fn amounts_of_every_spelling_are_exact() {
        const DOLLAR: i128 = 1_000_000_000_000_000_000;
        check("0.06", Unit::Dollars, Some((DOLLAR * 6 / 100, 2)));
        check("-0.06", Unit::Dollars, Some((-DOLLAR * 6 / 100, 2)));
        check("$12", Unit::Dollars, Some((DOLLAR * 12, 0)));
        check("0.003835980000000000000000000000", Unit::Dollars, Some((3_835_980_000_000_000, 30)));
        check("1.2345e-05", Unit::Dollars, Some((12_345_000_000_000, 9)));
        check("123.78912", Unit::Cents, Some((1_237_891_200_000_000_000, 7)));
        check("15", Unit::NanoDollars, Some((15_000_000_000, 9)));
        check("0.0000000000000000025", Unit::Dollars, Some((2, 19)));
        check("0.0000000000000000035", Unit::Dollars, Some((4, 19)));
        check("1e-60", Unit::Dollars, Some((0, 60)));
        for wrong in ["", "-", ".", "1,234.56", "1.2.3", "(5)", "NaN", "1e99", "10000000000000000", "--1", "+1", "５"]
        {
            check(wrong, Unit::Dollars, None);
        }
    }

    #[test]
    fn they_meet_the_ledger_rounded_half_to_even() {
        for (atto, nano) in [
            (500_000_000, 0),
            (1_500_000_000, 2),
            (2_500_000_000, 2),
            (-500_000_000, 0),
            (-1_500_000_000, -2),
            (-2_500_000_001, -3),
            (i128::MAX, i64::MAX),
        ] {
            assert_eq!(Amount(atto).nano(), NanoUsd(nano), "{atto}");
        }
        assert_eq!([0, 2, 4, 9, 30].map(half_of_last), [500_000_000, 5_000_000, 50_000, 1, 0]);
    }
}
