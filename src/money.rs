//! Money as integers: prices in pico-dollars a token, rows in nano-dollars.
//!
//! List prices are quoted in dollars per million tokens with at most six decimals, which is a whole
//! number of pico-dollars a token, so that no price is ever rounded. A sum of `tokens × price` is
//! rounded once, half to even, when an attempt's row is written; nothing here is a float.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Sub};

use serde::{Deserialize, Serialize};

/// A price of one token in pico-dollars (10⁻¹² dollars), the same number as micro-dollars a million tokens.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct PicoUsdPerToken(pub u64);

/// An unrounded sum of `tokens × price`, in pico-dollars.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct PicoUsd(pub u128);

impl PicoUsd {
    /// Adds `tokens` at `price`. Saturates rather than wraps.
    #[must_use]
    pub fn plus(self, tokens: u64, price: PicoUsdPerToken) -> Self {
        Self(self.0.saturating_add(u128::from(tokens) * u128::from(price.0)))
    }

    /// Rounds to whole nano-dollars, halves to the even neighbour; saturates at the largest amount.
    pub fn round(self) -> NanoUsd {
        let (whole, rest) = (self.0 / 1000, self.0 % 1000);
        let up = rest > 500 || (rest == 500 && whole % 2 == 1);
        NanoUsd(i64::try_from(whole + u128::from(up)).unwrap_or(i64::MAX))
    }
}

/// An amount of money in nano-dollars (10⁻⁹ dollars): what a ledger row holds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct NanoUsd(pub i64);

impl NanoUsd {
    /// Nothing.
    pub const ZERO: Self = Self(0);
}

impl Add for NanoUsd {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Sub for NanoUsd {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl AddAssign for NanoUsd {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sum for NanoUsd {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Add::add)
    }
}

impl fmt::Display for NanoUsd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.decimal().as_str())
    }
}

/// An amount as text: plain decimal dollars without exponent games, such as `0.000012345`. At most nine
/// decimals, no trailing zeros. Kept in place, since every request spells several.
#[derive(Clone, Copy, Debug)]
pub struct Decimal {
    digits: [u8; Self::LENGTH_MAX],
    start: usize,
    end: usize,
}

impl Decimal {
    /// A sign, ten digits, a point, nine digits.
    const LENGTH_MAX: usize = 21;

    /// The text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.digits[self.start..self.end]).unwrap_or_default()
    }

    fn put(&mut self, byte: u8) {
        self.start -= 1;
        self.digits[self.start] = byte;
    }
}

impl Serialize for Decimal {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl NanoUsd {
    /// The amount as text, in dollars.
    pub fn decimal(self) -> Decimal {
        let mut text =
            Decimal { digits: [0; Decimal::LENGTH_MAX], start: Decimal::LENGTH_MAX, end: Decimal::LENGTH_MAX };
        let (mut whole, mut rest) = (self.0.unsigned_abs() / 1_000_000_000, self.0.unsigned_abs() % 1_000_000_000);
        if rest > 0 {
            for _ in 0..9 {
                text.put(b'0' + (rest % 10) as u8);
                rest /= 10;
            }
            text.put(b'.');
            while text.digits[text.end - 1] == b'0' {
                text.end -= 1;
            }
        }
        loop {
            text.put(b'0' + (whole % 10) as u8);
            whole /= 10;
            if whole == 0 {
                break;
            }
        }
        if self.0 < 0 {
            text.put(b'-');
        }
        text
    }
}

/// What an attempt cost as far as is known: `low ≤ truth ≤ high`; `exact` once the truth is known.
///
/// `high` is `None` where nothing bounds it (no price, or no limit that the provider enforces).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct CostInterval {
    /// The least that the provider can bill.
    pub low: NanoUsd,
    /// The amount, once reported (or the best estimate for rows whose `source` says so).
    pub exact: Option<NanoUsd>,
    /// The most that the provider can bill if it keeps the limits it was sent.
    pub high: Option<NanoUsd>,
}

impl CostInterval {
    /// A known amount.
    pub fn exactly(amount: NanoUsd) -> Self {
        Self { low: amount, exact: Some(amount), high: Some(amount) }
    }

    /// Nothing was billed.
    pub const NOTHING: Self = Self { low: NanoUsd::ZERO, exact: Some(NanoUsd::ZERO), high: Some(NanoUsd::ZERO) };

    /// Both together: an unknown part makes the whole unknown.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            low: self.low + other.low,
            exact: self.exact.zip(other.exact).map(|(a, b)| a + b),
            high: self.high.zip(other.high).map(|(a, b)| a + b),
        }
    }
}

/// A decimal number as others spell it, times a power of ten: what `2.5e-07` dollars are in pico-dollars.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Scaled {
    /// The whole number, rounded half to even.
    pub whole: u64,
    /// Whether nothing was rounded away.
    pub is_exact: bool,
}

/// Reads a JSON number that is not negative, exponents included, and multiplies it by ten to the `power`; no digit goes
/// through a float. `None` for anything else, and for what does not fit.
pub fn scaled(text: &str, power: i32) -> Option<Scaled> {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let exponent: i64 = exponent.strip_prefix('+').unwrap_or(exponent).parse().ok()?;
    let (before, after) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if before.is_empty() || mantissa.ends_with('.') || !is_digits(before) || !is_digits(after) {
        return None;
    }
    let digits = format!("{before}{after}");
    let digits = digits.trim_start_matches('0');
    if digits.is_empty() {
        return Some(Scaled { whole: 0, is_exact: true });
    }
    // How many of the digits stand before the point, which may be more than there are.
    let places =
        exponent.checked_add(i64::from(power))?.checked_add(digits.len() as i64)?.checked_sub(after.len() as i64)?;
    if places > 20 {
        return None;
    }
    let kept = usize::try_from(places.max(0)).ok()?;
    let whole: u64 = match &digits[..kept.min(digits.len())] {
        "" => 0,
        kept_digits => format!("{kept_digits:0<kept$}").parse().ok()?,
    };
    let rest = if places < 0 { "0" } else { &digits[kept.min(digits.len())..] };
    let is_exact = places >= 0 && rest.bytes().all(|digit| digit == b'0');
    let is_half = rest.starts_with('5') && rest[1..].bytes().all(|digit| digit == b'0');
    let up = rest.as_bytes().first().is_some_and(|first| *first >= b'5') && (!is_half || whole % 2 == 1);
    Some(Scaled { whole: whole.checked_add(u64::from(up))?, is_exact })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_scaled(text: &str, power: i32, whole: u64, is_exact: bool) {
        assert_eq!(scaled(text, power), Some(Scaled { whole, is_exact }), "{text} × 10^{power}");
    }

    #[test]
    fn what_a_float_would_round_is_read_exactly() {
        check_scaled("2.5e-07", 12, 250_000, true);
        check_scaled("0.00000025", 12, 250_000, true);
        check_scaled("1E-06", 12, 1_000_000, true);
        check_scaled("3.75e-9", 12, 3_750, true);
        check_scaled("3", 12, 3_000_000_000_000, true);
        check_scaled("1e+1", 0, 10, true);
        check_scaled("0.95", 9, 950_000_000, true);
        check_scaled("232856000", -1, 23_285_600, true);
        check_scaled("0e-400", 12, 0, true);
        check_scaled("18446744073709551615", 0, u64::MAX, true);
    }

    #[test]
    fn what_is_finer_than_the_unit_is_rounded_half_to_even_and_says_so() {
        check_scaled("1.5000000000000002e-07", 12, 150_000, false);
        check_scaled("0.5", 0, 0, false);
        check_scaled("1.5", 0, 2, false);
        check_scaled("2.5", 0, 2, false);
        check_scaled("2.500001", 0, 3, false);
        check_scaled("5e-13", 12, 0, false);
        check_scaled("6e-14", 12, 0, false);
        check_scaled("1e-99999", 12, 0, false);
        check_scaled("123456789", -1, 12_345_679, false);
    }

    #[test]
    fn what_is_no_amount_is_none() {
        for text in
            ["", "-1", "-0.5", "1.", ".5", "e5", "1e", "1e5.0", "null", "\"1\"", "NaN", "1e99999999999999999999"]
        {
            assert_eq!(scaled(text, 12), None, "{text}");
        }
        assert_eq!(scaled("18446744073709551616", 0), None);
        assert_eq!(scaled("1e30", 0), None);
    }

    #[track_caller]
    fn check_rounding(pico: u128, nano: i64) {
        assert_eq!(PicoUsd(pico).round(), NanoUsd(nano), "{pico} pico-dollars");
    }

    #[test]
    fn halves_round_to_the_even_nano_dollar() {
        check_rounding(1_499, 1);
        check_rounding(1_500, 2);
        check_rounding(2_500, 2);
        check_rounding(2_501, 3);
        check_rounding(u128::MAX, i64::MAX);
    }

    #[test]
    fn amounts_print_as_plain_decimals() {
        for (nano, text) in [(0, "0"), (12_345, "0.000012345"), (1_500_000_000, "1.5"), (-20, "-0.00000002")] {
            assert_eq!(NanoUsd(nano).to_string(), text);
        }
    }

    #[test]
    fn an_unknown_part_makes_the_whole_unknown() {
        let known = CostInterval::exactly(NanoUsd(5));
        let open = CostInterval { low: NanoUsd(1), exact: None, high: Some(NanoUsd(9)) };
        assert_eq!(known.plus(open), CostInterval { low: NanoUsd(6), exact: None, high: Some(NanoUsd(14)) });
    }
}
