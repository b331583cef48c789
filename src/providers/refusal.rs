//! Reads a provider's error: what it is, whether it may be told, and what the provider asks of its caller.

use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;

use super::failure::Refusal;
use super::inbound::{self, Arriving};
use super::openai::{is_type, text_of};
use crate::limits::PROVIDER_ERROR_BYTES_MAX;
use crate::memory::HeldBytes;
use crate::wire::encoding::Encoding;
use crate::wire::openai_reply;

/// Reads an error that came with `status` and the headers that may be passed on. Only an object with an
/// `error` member is of our caller's dialect.
pub fn read(status: u16, headers: HeaderMap, json: Option<Bytes>) -> Refusal {
    let json = json.filter(|json| openai_reply::read(json).is_ok_and(|facts| facts.error));
    let words = json.as_deref().map(error_words).unwrap_or_default();
    let says = |wanted: &[&str]| words.iter().flatten().any(|word| wanted.contains(&word.as_str()));
    let refusal = Refusal {
        // A redirect is no answer either; the client must not follow it with our credential's request.
        status: if status < 400 { 502 } else { status },
        retry_after: retry_after(&headers),
        should_retry: text_of(&headers, "x-should-retry").map(|word| word == "true"),
        headers,
        insufficient_quota: status == 429 && says(&["insufficient_quota"]),
        credential: false,
        in_stream: false,
        used: None,
        json,
    };
    let of_credential =
        matches!(status, 401 | 403) || says(&["invalid_api_key", "authentication_error", "permission_error"]);
    if of_credential { refusal.of_credential() } else { refusal }
}

impl Refusal {
    /// The same, known to be about our credential: its text may echo part of it and is told to nobody.
    #[must_use]
    pub fn of_credential(self) -> Self {
        Self { credential: true, json: None, ..self }
    }
}

/// The status that an error in a success should have had, by what it calls itself.
pub fn status_of(json: &[u8]) -> Option<u16> {
    let status_of = |word: &String| match word.as_str() {
        "invalid_api_key" | "authentication_error" | "permission_error" => Some(401),
        "insufficient_quota" | "rate_limit_exceeded" | "rate_limit_error" => Some(429),
        "context_length_exceeded" | "invalid_request_error" => Some(400),
        "server_error" | "internal_error" => Some(500),
        "overloaded" | "overloaded_error" | "service_unavailable" => Some(503),
        number => number.parse().ok().filter(|status| (400..=599).contains(status)),
    };
    error_words(json).iter().flatten().find_map(status_of)
}

/// The error body, if it is JSON and within bounds.
pub async fn read_error(headers: &HeaderMap, body: Arriving, held: HeldBytes) -> Option<Bytes> {
    if !is_type(headers, "application/json") {
        return None;
    }
    inbound::read(body, Encoding::of(headers), PROVIDER_ERROR_BYTES_MAX, held).await.ok()
}

/// What an error calls itself: its code, then its type. Some providers' codes are numbers.
fn error_words(json: &[u8]) -> [Option<String>; 2] {
    #[derive(serde::Deserialize)]
    struct Body {
        error: Error,
    }
    #[derive(serde::Deserialize)]
    struct Error {
        code: Option<serde_json::Value>,
        r#type: Option<serde_json::Value>,
    }
    let Ok(body) = serde_json::from_slice::<Body>(json) else { return [None, None] };
    [body.error.code, body.error.r#type].map(|word| match word? {
        serde_json::Value::String(word) => Some(word),
        serde_json::Value::Number(number) => Some(number.to_string()),
        _ => None,
    })
}

/// `retry-after-ms`, else `retry-after` in seconds; a date is left to the client.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let number = |name| text_of(headers, name)?.trim().parse::<f64>().ok().filter(|n| n.is_finite() && *n >= 0.0);
    let millis = number("retry-after-ms").map(|ms| ms / 1000.0);
    Duration::try_from_secs_f64(millis.or_else(|| number("retry-after"))?).ok()
}
