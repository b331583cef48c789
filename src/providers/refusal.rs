//! Reads a provider's error: what it is, whether it may be told, and what the provider asks of its caller.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::HeaderMap;
use jiff::{SignedDuration, Timestamp};

use super::failure::Refusal;
use super::inbound::{self, Arriving};
use super::row::{is_type, text_of};
use crate::dialect::Dialect;
use crate::memory::HeldBytes;
use crate::wire::encoding::Encoding;
use crate::wire::errors::said;
use crate::wire::tap;
use crate::wire::vendors::Habits;

/// Reads an error that came with `status` and the headers that may be passed on, in the provider's dialect or in nobody's. Only
/// one that says something is of our caller's.
pub fn read(status: u16, headers: HeaderMap, json: Option<Bytes>, dialect: Dialect) -> Refusal {
    let is_error = |json: &[u8]| tap::whole(json, dialect, Habits::default()).is_ok_and(|facts| facts.error);
    let json = json.filter(|_| status >= 400);
    let said = json.as_deref().map(|json| said(json, dialect)).unwrap_or_default();
    let json = json.filter(|json| said.message.is_some() || is_error(json));
    let refusal = Refusal {
        status,
        dialect,
        retry_after: wait_of(status, &headers, SystemTime::now()).or(said.retry_after),
        should_retry: text_of(&headers, "x-should-retry").map(|word| word == "true"),
        headers,
        insufficient_quota: match dialect {
            Dialect::Messages => said.is_broke(),
            Dialect::Chat | Dialect::Responses => status == 429 && said.is_broke(),
        },
        credential: false,
        in_stream: false,
        used: None,
        json,
    };
    if matches!(status, 401 | 403) || said.is_of_credential() { refusal.of_credential() } else { refusal }
}

impl Refusal {
    /// The same, known to be about our credential: its text may echo part of it and is told to nobody.
    #[must_use]
    pub fn of_credential(self) -> Self {
        Self { credential: true, json: None, ..self }
    }
}

/// The error body, if it is JSON and within bounds.
pub async fn read_error(headers: &HeaderMap, body: Arriving, held: HeldBytes) -> Option<Bytes> {
    if !is_type(headers, "application/json") && !is_type(headers, "application/problem+json") {
        return None;
    }
    inbound::read(body, Encoding::of(headers), held).await.ok()
}

/// The wait that an error asks for, or else, of a limit that is reached, until what is used up is there again.
fn wait_of(status: u16, headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    retry_after(headers, now).or_else(|| if status == 429 { reset_after(headers, now) } else { None })
}

/// When all is there again of which nothing is left. OpenAI's protocol says how long that takes, Anthropic's the moment.
/// <https://platform.openai.com/docs/guides/rate-limits#rate-limits-in-headers>,
/// <https://platform.claude.com/docs/en/api/rate-limits#response-headers>
fn reset_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let resets = |remaining: String, reset: String| {
        let is_used_up = text_of(headers, &remaining).is_some_and(|left| left.trim() == "0");
        text_of(headers, &reset).filter(|_| is_used_up)
    };
    let openai = ["requests", "tokens"].into_iter().filter_map(|counted| {
        let wait = resets(format!("x-ratelimit-remaining-{counted}"), format!("x-ratelimit-reset-{counted}"))?;
        let seconds = |text: &str| Duration::try_from_secs_f64(text.parse().ok()?).ok();
        seconds(wait.trim()).or_else(|| wait.trim().parse::<SignedDuration>().ok()?.try_into().ok())
    });
    let anthropic = ["requests", "tokens", "input-tokens", "output-tokens"].into_iter().filter_map(|counted| {
        let name = |said: &str| format!("anthropic-ratelimit-{counted}-{said}");
        let moment = SystemTime::from(resets(name("remaining"), name("reset"))?.trim().parse::<Timestamp>().ok()?);
        Some(moment.duration_since(now).unwrap_or_default())
    });
    openai.chain(anthropic).max()
}

/// `retry-after-ms`, else `retry-after` in seconds or as a date; what has passed at `now` asks for no wait. A wait that
/// no clock holds is a very long one. <https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3>
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let number = |name| {
        let text = text_of(headers, name)?;
        // Rust reads `inf` and `nan` as numbers too.
        let digits = Some(text.trim()).filter(|text| text.starts_with(|first: char| first.is_ascii_digit()));
        digits?.parse::<f64>().ok()
    };
    let seconds = number("retry-after-ms").map(|ms| ms / 1000.0).or_else(|| number("retry-after"));
    if let Some(seconds) = seconds {
        return Some(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX));
    }
    let date = httpdate::parse_http_date(text_of(headers, "retry-after")?.trim()).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    #[track_caller]
    fn check(headers: &[(&'static str, &'static str)], expected: Option<Duration>) {
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        // Wed, 21 Oct 2026 07:28:00 GMT
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_792_567_680);
        assert_eq!(wait_of(429, &headers, now), expected, "{headers:?}");
        assert_eq!(wait_of(529, &headers, now), retry_after(&headers, now), "no limit is reached");
    }

    #[test]
    fn a_limit_that_is_reached_is_waited_for_until_what_is_used_up_is_there_again() {
        let millis = |millis| Some(Duration::from_millis(millis));
        let requests = ("x-ratelimit-remaining-requests", "0");
        check(&[requests, ("x-ratelimit-reset-requests", "6m0s")], millis(360_000));
        check(&[requests, ("x-ratelimit-reset-requests", "7.66s")], millis(7_660));
        check(&[requests, ("x-ratelimit-reset-requests", "20ms")], millis(20));
        check(&[requests, ("x-ratelimit-reset-requests", "12")], millis(12_000));
        check(&[requests, ("x-ratelimit-reset-requests", "12"), ("retry-after", "3")], millis(3_000));
        check(&[("x-ratelimit-remaining-requests", "7"), ("x-ratelimit-reset-requests", "6m0s")], None);
        check(&[requests, ("x-ratelimit-reset-tokens", "6m0s")], None);
        for nonsense in ["soon", "-1s", "-1", "nan", ""] {
            check(&[requests, ("x-ratelimit-reset-requests", nonsense)], None);
        }
        let input = ("anthropic-ratelimit-input-tokens-remaining", "0");
        let output = ("anthropic-ratelimit-output-tokens-remaining", "0");
        check(&[input, ("anthropic-ratelimit-input-tokens-reset", "2026-10-21T07:28:09Z")], millis(9_000));
        check(&[input, ("anthropic-ratelimit-input-tokens-reset", "2026-10-21T07:27:09Z")], millis(0));
        let both = [
            input,
            ("anthropic-ratelimit-input-tokens-reset", "2026-10-21T07:28:09Z"),
            output,
            ("anthropic-ratelimit-output-tokens-reset", "2026-10-21T07:28:40Z"),
        ];
        check(&both, millis(40_000));
    }

    #[test]
    fn a_wait_is_read_in_each_of_its_forms() {
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        check(&[("retry-after", "7")], seconds(7));
        check(&[("retry-after", "7"), ("retry-after-ms", "250")], Some(Duration::from_millis(250)));
        check(&[("retry-after", "Wed, 21 Oct 2026 07:29:30 GMT")], seconds(90));
        check(&[("retry-after", "Wednesday, 21-Oct-26 07:29:30 GMT")], seconds(90));
        check(&[("retry-after", "Wed Oct 21 07:29:30 2026")], seconds(90));
        check(&[("retry-after", "Wed, 21 Oct 2026 07:27:00 GMT")], seconds(0));
        check(&[("retry-after", "99999999999999999999999999")], Some(Duration::MAX));
        check(&[("retry-after", "1e999")], Some(Duration::MAX));
        for nonsense in ["-1", "inf", "nan", "soon", "", "7 seconds", "Wed, 41 Oct 2026 07:29:30 GMT"] {
            check(&[("retry-after", nonsense)], None);
        }
    }
}
