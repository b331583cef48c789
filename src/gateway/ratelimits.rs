//! Rate limits in the headers that clients know: a provider's for those of another dialect, and a key's own.
//!
//! Anthropic says when a limit is whole again, OpenAI how long that takes.
//! <https://platform.claude.com/docs/en/api/rate-limits#response-headers>,
//! <https://platform.openai.com/docs/guides/rate-limits#rate-limits-in-headers>

use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::{SignedDuration, Timestamp};

use crate::budget::pace::{Allowance, Left};
use crate::dialect::Dialect;

/// What is limited that both count.
const COUNTED: [&str; 2] = ["requests", "tokens"];
/// What is said of each.
const SAID: [&str; 3] = ["limit", "remaining", "reset"];

/// Says the limits among the headers of a provider that speaks `from` for clients who do not, and takes its own out.
pub(super) fn retell(headers: &mut HeaderMap, from: Dialect, now: Timestamp) {
    let is_anthropic = from == Dialect::Messages;
    let own = if is_anthropic { "anthropic-" } else { "x-ratelimit-" };
    let mut told = Vec::new();
    for counted in COUNTED {
        for said in SAID {
            let (theirs, ours) = (of_anthropic(counted, said), of_openai(counted, said));
            let (theirs, ours) = if is_anthropic { (theirs, ours) } else { (ours, theirs) };
            let value = headers.get(&theirs).and_then(|value| value.to_str().ok());
            let value = value.and_then(|value| match (said, is_anthropic) {
                ("reset", true) => seconds_until(value, now),
                ("reset", false) => moment_after(value, now),
                _ => Some(value.to_owned()),
            });
            told.extend(
                value.and_then(|value| Some((HeaderName::try_from(ours).ok()?, HeaderValue::from_str(&value).ok()?))),
            );
        }
    }
    let is_own =
        |name: &&HeaderName| name.as_str().starts_with(own) || (!is_anthropic && name.as_str().starts_with("openai-"));
    let names: Vec<HeaderName> = headers.keys().filter(is_own).cloned().collect();
    names.into_iter().for_each(|name| _ = headers.remove(name));
    headers.extend(told);
}

/// Says what is left of a key's own limits, in place of what a provider says of its.
pub(super) fn tell(headers: &mut HeaderMap, left: &Allowance, dialect: Dialect, now: Timestamp) {
    let told = [("requests", left.requests), ("tokens", left.tokens)];
    if told.iter().all(|(_, left)| left.is_none()) {
        return;
    }
    let is_providers =
        |name: &&HeaderName| ["x-ratelimit-", "anthropic-ratelimit-"].iter().any(|own| name.as_str().starts_with(own));
    let names: Vec<HeaderName> = headers.keys().filter(is_providers).cloned().collect();
    names.into_iter().for_each(|name| _ = headers.remove(name));
    for (counted, left) in told {
        let Some(Left { allowed, remaining, whole_in }) = left else { continue };
        let is_anthropic = dialect == Dialect::Messages;
        let reset = match is_anthropic {
            true => moment_after(&format!("{whole_in}s"), now).unwrap_or_default(),
            false => format!("{whole_in}s"),
        };
        for (said, value) in SAID.into_iter().zip([allowed.to_string(), remaining.to_string(), reset]) {
            let name = if is_anthropic { of_anthropic(counted, said) } else { of_openai(counted, said) };
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
                headers.insert(name, value);
            }
        }
    }
}

fn of_anthropic(counted: &str, said: &str) -> String {
    format!("anthropic-ratelimit-{counted}-{said}")
}

fn of_openai(counted: &str, said: &str) -> String {
    format!("x-ratelimit-{said}-{counted}")
}

/// How long it is until a moment, in whole seconds.
fn seconds_until(moment: &str, now: Timestamp) -> Option<String> {
    let wait = moment.parse::<Timestamp>().ok()?.duration_since(now).max(SignedDuration::ZERO);
    Some(format!("{}s", whole_seconds(wait)))
}

/// The moment that is so much later, such as `6m0s`.
fn moment_after(wait: &str, now: Timestamp) -> Option<String> {
    let wait = wait.parse::<SignedDuration>().ok()?.max(SignedDuration::ZERO);
    Some(Timestamp::from_second(now.as_second().checked_add(whole_seconds(wait))?).ok()?.to_string())
}

/// The seconds of a wait, of which one that has begun counts.
fn whole_seconds(wait: SignedDuration) -> i64 {
    wait.as_secs() + i64::from(wait.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(headers: &[(&'static str, &'static str)], from: Dialect, expected: &[(&'static str, &'static str)]) {
        let map = |pairs: &[(&'static str, &'static str)]| -> HeaderMap {
            pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
        };
        let mut headers = map(headers);
        retell(&mut headers, from, "2026-10-21T07:28:00Z".parse().unwrap());
        assert_eq!(headers, map(expected));
    }

    #[test]
    fn limits_are_told_in_the_other_dialect_s_headers() {
        let theirs = [
            ("retry-after", "7"),
            ("anthropic-ratelimit-requests-limit", "4000"),
            ("anthropic-ratelimit-requests-remaining", "3999"),
            ("anthropic-ratelimit-requests-reset", "2026-10-21T07:28:09Z"),
            ("anthropic-ratelimit-input-tokens-limit", "400000"),
        ];
        let ours = [
            ("retry-after", "7"),
            ("x-ratelimit-limit-requests", "4000"),
            ("x-ratelimit-remaining-requests", "3999"),
            ("x-ratelimit-reset-requests", "9s"),
        ];
        check(&theirs, Dialect::Messages, &ours);
        let theirs = [("x-ratelimit-reset-tokens", "6m0s"), ("openai-version", "2020-10-01"), ("x-ratelimit-odd", "1")];
        check(&theirs, Dialect::Chat, &[("anthropic-ratelimit-tokens-reset", "2026-10-21T07:34:00Z")]);
        let passed = [
            ("anthropic-ratelimit-tokens-reset", "2020-01-01T00:00:00Z"),
            ("anthropic-ratelimit-requests-reset", "soon"),
        ];
        check(&passed, Dialect::Messages, &[("x-ratelimit-reset-tokens", "0s")]);
    }

    #[test]
    fn a_key_s_own_limits_stand_in_place_of_the_provider_s() {
        let left = |allowed, remaining, whole_in| Some(Left { allowed, remaining, whole_in });
        let told = |left: &Allowance, dialect| {
            let mut headers = HeaderMap::new();
            headers.insert("x-ratelimit-limit-requests", HeaderValue::from_static("10000"));
            headers.insert("anthropic-ratelimit-input-tokens-limit", HeaderValue::from_static("10000"));
            headers.insert("retry-after", HeaderValue::from_static("7"));
            tell(&mut headers, left, dialect, "2026-10-21T07:28:00Z".parse().unwrap());
            let mut told: Vec<String> =
                headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
            told.sort();
            told.join(", ")
        };
        let of_requests = Allowance { requests: left(60, 58, 61), tokens: None };
        assert_eq!(
            told(&of_requests, Dialect::Responses),
            "retry-after: 7, x-ratelimit-limit-requests: 60, x-ratelimit-remaining-requests: 58, x-ratelimit-reset-requests: 61s"
        );
        let of_tokens = Allowance { requests: None, tokens: left(1000, 0, 30) };
        assert_eq!(
            told(&of_tokens, Dialect::Messages),
            "anthropic-ratelimit-tokens-limit: 1000, anthropic-ratelimit-tokens-remaining: 0, \
             anthropic-ratelimit-tokens-reset: 2026-10-21T07:28:30Z, retry-after: 7"
        );
        assert_eq!(
            told(&Allowance::default(), Dialect::Chat),
            "anthropic-ratelimit-input-tokens-limit: 10000, retry-after: 7, x-ratelimit-limit-requests: 10000",
            "who has no limit of its own sees the provider's"
        );
    }
}
