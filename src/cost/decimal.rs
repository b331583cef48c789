//! Dollars per million tokens as people write them, read exactly.

use crate::money::PicoUsdPerToken;

/// Most decimals of a dollar per million tokens: the sixth is one pico-dollar a token.
const DECIMALS_MAX: usize = 6;

/// Reads plain decimal dollars per million tokens, such as `1.25`, `0` or `0.0125`.
///
/// # Errors
///
/// What was wanted, as the end of a sentence that already says what was found: signs, exponents, separators,
/// words and non-numbers are refused, as are more than six decimals (trailing zeros aside) and amounts that
/// do not fit (from about 18 million million dollars).
pub(super) fn usd_per_million(text: &str) -> Result<PicoUsdPerToken, &'static str> {
    let refused = match plain_decimal(text) {
        Ok(price) => return Ok(price),
        Err(refused) => refused,
    };
    if text.strip_prefix('-').is_some_and(|rest| plain_decimal(rest).is_ok()) {
        return Err("prices are not negative; wanted zero or more dollars per million tokens");
    }
    let mantissa = text.split_once(['e', 'E']).map(|(mantissa, _)| mantissa.trim_start_matches(['-', '+']));
    if mantissa.is_some_and(|mantissa| plain_decimal(mantissa).is_ok()) {
        return Err("exponents are not read; wanted dollars per million tokens as a plain decimal, such as `1.25`");
    }
    Err(refused)
}

fn plain_decimal(text: &str) -> Result<PicoUsdPerToken, &'static str> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
    if !is_digits(whole) || !is_digits(decimals) {
        return Err("wanted dollars per million tokens as a plain decimal, such as `1.25`");
    }
    let decimals = decimals.trim_end_matches('0');
    if decimals.len() > DECIMALS_MAX {
        return Err("wanted at most six decimals of a dollar per million tokens");
    }
    let micro = format!("{whole}{decimals:0<DECIMALS_MAX$}");
    micro.parse().map(PicoUsdPerToken).map_err(|_| "wanted an amount below 18446744073709 dollars per million tokens")
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, pico: u64) {
        assert_eq!(usd_per_million(text), Ok(PicoUsdPerToken(pico)), "{text}");
    }

    #[track_caller]
    fn check_refused(text: &str, word: &str) {
        let message = usd_per_million(text).expect_err(text);
        assert!(message.contains(word), "{text}: {message}");
    }

    #[test]
    fn dollars_per_million_are_exactly_pico_dollars_a_token() {
        check("0", 0);
        check("4", 4_000_000);
        check("1.50", 1_500_000);
        check("0.02", 20_000);
        check("0.000001", 1);
        check("112.5", 112_500_000);
        check("15.6250000000", 15_625_000);
        check("18446744073709.551615", u64::MAX);
    }

    #[test]
    fn what_cannot_be_read_exactly_is_refused() {
        check_refused("0.0000001", "six decimals");
        check_refused("18446744073709.551616", "below");
        check_refused("99999999999999999999999", "below");
        check_refused("-1", "negative");
        check_refused("1e-6", "exponents");
        check_refused("-2.5E3", "exponents");
        for text in
            ["", ".", "1.", ".5", "+1", "1,5", "1_000", "0x10", ".nan", "NaN", "inf", "$1", "1 ", "é", "--1", "e5"]
        {
            check_refused(text, "plain decimal");
        }
    }
}
