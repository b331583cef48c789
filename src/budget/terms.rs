//! What one payer may spend and how fast it may ask, as configuration, stored keys and the admin API write it.
//!
//! Every term has one spelling, that of [`Display`](fmt::Display), and reads back from it. As JSON or YAML a budget is
//! `{ usd: "500", every: month, when_near: warn, near: "80%" }`; limits are whole numbers by name.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::limits::{BUDGET_USD_MAX, ROLLING_MAX, ROLLING_MIN};
use crate::money::NanoUsd;

/// Decimals of a dollar that an amount may have: the ninth is one nano-dollar.
const DECIMALS_MAX: usize = 9;
/// Millionths of the whole.
const WHOLE_PPM: u32 = 1_000_000;

/// All that one payer is held to.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Terms {
    /// What it may spend; `None`: without a ceiling of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
    /// How fast, and how much at once.
    #[serde(skip_serializing_if = "Limits::are_none")]
    pub limits: Limits,
}

impl Terms {
    /// Whether there is nothing to hold anybody to.
    pub fn are_none(&self) -> bool {
        self.budget.is_none() && self.limits.are_none()
    }
}

/// A ceiling on spending.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// The ceiling, in dollars as plain decimal text. Zero: only what is free.
    #[serde(serialize_with = "spell", deserialize_with = "read_usd")]
    pub usd: NanoUsd,
    /// The period that it is for.
    #[serde(serialize_with = "spell", deserialize_with = "read")]
    pub every: Every,
    /// What happens once the larger part of it is spent.
    #[serde(default, serialize_with = "spell", deserialize_with = "read")]
    pub when_near: WhenNear,
    /// How large that part is.
    #[serde(default, serialize_with = "spell", deserialize_with = "read")]
    pub near: Share,
}

/// The period of a budget.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Every {
    /// From midnight to midnight, in the configured time zone.
    Day,
    /// From Monday to Monday.
    Week,
    /// From the first of a month to the first of the next.
    Month,
    /// The time before now, forgotten in steps of a quarter of an hour and never early.
    Rolling(Duration),
}

/// What happens when a budget is nearly spent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum WhenNear {
    /// Nothing.
    Nothing,
    /// It is told: log, metric, webhook.
    #[default]
    Warn,
    /// It is told, and work whose tier is ours to choose goes to the next cheaper one, unless it is protected.
    Downgrade,
}

/// A share of a whole, in millionths.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Share {
    /// More than 0 and at most 1,000,000.
    pub ppm: u32,
}

impl Default for Share {
    /// 80 %.
    fn default() -> Self {
        Self { ppm: 800_000 }
    }
}

impl Share {
    /// That part of an amount, rounded down.
    pub fn of(self, whole: NanoUsd) -> NanoUsd {
        let part = i128::from(whole.0) * i128::from(self.ppm) / i128::from(WHOLE_PPM);
        NanoUsd(i64::try_from(part).unwrap_or(i64::MAX))
    }
}

/// Bounds on how fast one payer asks, and on how much at once. `None`: unbounded.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Requests that may begin within any 60 seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<u64>,
    /// Input and output tokens within any 60 seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_minute: Option<u64>,
    /// Requests in flight together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u64>,
    /// Output tokens of one answer, reasoning included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_tokens: Option<u64>,
}

impl Limits {
    /// Whether nothing is bounded.
    pub fn are_none(&self) -> bool {
        *self == Self::default()
    }

    /// Each with its name, in the order of the documentation.
    pub fn named(&self) -> [(&'static str, Option<u64>); 4] {
        [
            ("requests_per_minute", self.requests_per_minute),
            ("tokens_per_minute", self.tokens_per_minute),
            ("concurrency", self.concurrency),
            ("output_tokens", self.output_tokens),
        ]
    }
}

impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let set = self.named().into_iter().filter_map(|(name, limit)| Some(format!("{name} {}", limit?)));
        f.write_str(&set.collect::<Vec<_>>().join(", "))
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { usd, every, when_near, near } = self;
        write!(f, "{usd} USD every {every}, from {near} on {when_near}")
    }
}

/// Dollars as a budget writes them, exactly.
///
/// # Errors
///
/// What was wanted.
pub fn dollars(text: &str) -> Result<NanoUsd, String> {
    let wanted = || {
        format!(
            "dollars as a plain decimal with at most nine decimals, such as `500` or `0.25`, up to {BUDGET_USD_MAX}"
        )
    };
    let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
    let are_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !are_digits(whole) || !are_digits(decimals) || decimals.trim_end_matches('0').len() > DECIMALS_MAX {
        return Err(wanted());
    }
    let decimals = decimals.trim_end_matches('0');
    let nano: i64 = format!("{whole}{decimals:0<DECIMALS_MAX$}").parse().map_err(|_| wanted())?;
    Some(NanoUsd(nano)).filter(|usd| usd.0 <= BUDGET_USD_MAX * 1_000_000_000).ok_or_else(wanted)
}

impl FromStr for Every {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wanted =
            || "`day`, `week`, `month`, or `rolling` and a time such as `rolling 24h` or `rolling 30d`".to_owned();
        match text {
            "day" => return Ok(Self::Day),
            "week" => return Ok(Self::Week),
            "month" => return Ok(Self::Month),
            _ => {}
        }
        let span = text.strip_prefix("rolling ").map(str::trim).ok_or_else(wanted)?;
        let at = span.find(|c: char| !c.is_ascii_digit()).ok_or_else(wanted)?;
        let (number, unit) = span.split_at(at);
        let number: u64 = number.parse().map_err(|_| wanted())?;
        let seconds = match unit {
            "h" => number.checked_mul(3600),
            "d" => number.checked_mul(24 * 3600),
            _ => None,
        };
        let span = Duration::from_secs(seconds.ok_or_else(wanted)?);
        if !(ROLLING_MIN..=ROLLING_MAX).contains(&span) {
            return Err(format!("a rolling time from `1h` to `{}d`", ROLLING_MAX.as_secs() / (24 * 3600)));
        }
        Ok(Self::Rolling(span))
    }
}

impl fmt::Display for Every {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Day => f.write_str("day"),
            Self::Week => f.write_str("week"),
            Self::Month => f.write_str("month"),
            Self::Rolling(span) => match span.as_secs() / 3600 {
                hours if hours % 24 == 0 => write!(f, "rolling {}d", hours / 24),
                hours => write!(f, "rolling {hours}h"),
            },
        }
    }
}

impl FromStr for WhenNear {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "nothing" => Ok(Self::Nothing),
            "warn" => Ok(Self::Warn),
            "downgrade" => Ok(Self::Downgrade),
            _ => Err("`downgrade`, `warn` or `nothing`".to_owned()),
        }
    }
}

impl fmt::Display for WhenNear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "nothing",
            Self::Warn => "warn",
            Self::Downgrade => "downgrade",
        })
    }
}

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wanted = || "a percentage above `0%` and up to `100%`, such as `80%`".to_owned();
        let number = text.strip_suffix('%').ok_or_else(wanted)?;
        let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
        let are_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !are_digits(whole) || !are_digits(decimals) || decimals.len() > 4 {
            return Err(wanted());
        }
        let ppm: u32 = format!("{whole}{decimals:0<4}").parse().map_err(|_| wanted())?;
        Some(Self { ppm }).filter(|share| (1..=WHOLE_PPM).contains(&share.ppm)).ok_or_else(wanted)
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.ppm / 10_000, self.ppm % 10_000);
        match format!("{rest:04}").trim_end_matches('0') {
            "" => write!(f, "{whole}%"),
            decimals => write!(f, "{whole}.{decimals}%"),
        }
    }
}

fn spell<T: fmt::Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

fn read<'de, T: FromStr<Err = String>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|wanted| serde::de::Error::custom(format!("`{text}`; wanted {wanted}")))
}

fn read_usd<'de, D: Deserializer<'de>>(deserializer: D) -> Result<NanoUsd, D::Error> {
    let text = String::deserialize(deserializer)?;
    dollars(&text).map_err(|wanted| serde::de::Error::custom(format!("`usd` is `{text}`; wanted {wanted}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dollars_are_read_exactly() {
        let check = |text: &str, nano: i64| assert_eq!(dollars(text), Ok(NanoUsd(nano)), "{text}");
        check("500", 500_000_000_000);
        check("0", 0);
        check("0.25", 250_000_000);
        check("0.000000001", 1);
        check("1.0000000000", 1_000_000_000);
        for text in ["", "-1", "1e3", "1,000", ".5", "5.", "0.0000000001", "1000000001", "99999999999999999999", "$5"] {
            assert!(dollars(text).is_err(), "{text}");
        }
    }

    #[track_caller]
    fn check_spelling<T: FromStr<Err = String> + fmt::Display>(text: &str) {
        let read = text.parse::<T>().unwrap_or_else(|wanted| panic!("{text}: wanted {wanted}"));
        assert_eq!(read.to_string(), text);
    }

    #[test]
    fn every_term_reads_back_as_it_is_spelt() {
        for text in ["day", "week", "month", "rolling 5h", "rolling 1d", "rolling 30d"] {
            check_spelling::<Every>(text);
        }
        for text in ["nothing", "warn", "downgrade"] {
            check_spelling::<WhenNear>(text);
        }
        for text in ["80%", "100%", "0.5%", "99.9999%"] {
            check_spelling::<Share>(text);
        }
        for text in ["year", "rolling", "rolling 30m", "rolling 0h", "rolling 2000d", "rolling 7", "24h"] {
            assert!(text.parse::<Every>().is_err(), "{text}");
        }
        for text in ["0%", "101%", "80", "-1%", "80.00001%"] {
            assert!(text.parse::<Share>().is_err(), "{text}");
        }
    }

    #[test]
    fn terms_are_kept_as_json_in_the_words_of_the_configuration() {
        let text = r#"{"budget":{"usd":"0.25","every":"rolling 7d","when_near":"downgrade","near":"90%"},"limits":{"concurrency":4}}"#;
        let terms: Terms = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&terms).unwrap(), text);
        let least: Budget = serde_json::from_str(r#"{"usd":"5","every":"day"}"#).unwrap();
        assert_eq!((least.when_near, least.near), (WhenNear::Warn, Share { ppm: 800_000 }));
        assert_eq!(serde_json::to_string(&Terms::default()).unwrap(), "{}");
        let wrong = serde_json::from_str::<Budget>(r#"{"usd":"5","every":"year"}"#).unwrap_err();
        assert!(wrong.to_string().contains("`year`; wanted `day`"), "{wrong}");
    }

    #[test]
    fn a_share_of_an_amount_is_whole_nano_dollars() {
        assert_eq!(Share::default().of(NanoUsd(999)), NanoUsd(799));
        assert_eq!(Share { ppm: 1_000_000 }.of(NanoUsd(i64::MAX)), NanoUsd(i64::MAX));
    }
}
