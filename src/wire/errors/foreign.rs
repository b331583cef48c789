//! Errors in nobody's dialect: Google's, which come in an array, those of Mistral and of the servers of open models, of
//! frameworks that judge a body before the provider does, of gateways. What is read is what people are told, and what tells
//! one error from another; values of the request that some repeat are not.
//! <https://docs.cloud.google.com/apis/design/errors>, <https://docs.mistral.ai/api/>,
//! <https://www.rfc-editor.org/rfc/rfc9457>, <https://fastapi.tiangolo.com/tutorial/handling-errors/>

use std::time::Duration;

use serde_json::Value;

use super::{Said, chat};

/// The most findings of a body that are told.
const FINDINGS_MAX: usize = 8;

/// Reads an error, whoever writes it.
pub(super) fn said(json: &[u8]) -> Said {
    let Ok(mut value) = serde_json::from_slice::<Value>(json) else { return Said::default() };
    if let Value::Array(errors) = &mut value {
        value = if errors.is_empty() { Value::Null } else { errors.swap_remove(0) };
    }
    let error = match &value["error"] {
        Value::Null => &value,
        error => error,
    };
    let details = error["details"].as_array().map_or(&[][..], Vec::as_slice);
    let is_problem = value["title"].is_string();
    let said = Said {
        kind: word(&error["status"]).filter(|word| word.parse::<u16>().is_err()).or_else(|| {
            // That of a problem is an address, and that of an event its name.
            word(&error["type"]).filter(|kind| !is_problem && kind != "error" && !kind.starts_with("response."))
        }),
        code: word(&error["code"]),
        message: message(&value, error),
        param: word(&error["param"]),
        retry_after: details.iter().find_map(|detail| seconds(detail["retryDelay"].as_str()?)),
        reason: details.iter().find_map(|detail| word(&detail["reason"])),
        status: None,
    };
    let of_google = said.kind.as_deref().and_then(status);
    Said { status: of_google, ..said }.with_status(|word| status(word).or_else(|| chat::status(word)))
}

fn message(value: &Value, error: &Value) -> Option<String> {
    let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let findings = |value: &Value| {
        let found: Vec<String> = value.as_array()?.iter().take(FINDINGS_MAX).filter_map(finding).collect();
        (!found.is_empty()).then(|| found.join("; "))
    };
    text(error)
        .or_else(|| text(&error["message"]))
        .or_else(|| findings(&error["message"]["detail"]))
        .or_else(|| text(&value["detail"]))
        .or_else(|| findings(&value["detail"]))
        .or_else(|| text(&value["title"]))
        .or_else(|| text(&value["Message"]))
}

/// What a framework found in a body, and where; what stands there is not repeated.
fn finding(found: &Value) -> Option<String> {
    let says = found["msg"].as_str()?;
    let place: Vec<String> = found["loc"].as_array().into_iter().flatten().filter_map(word).collect();
    Some(if place.is_empty() { says.to_owned() } else { format!("{}: {says}", place.join(".")) })
}

fn word(value: &Value) -> Option<String> {
    match value {
        Value::String(word) if !word.is_empty() => Some(word.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// <https://protobuf.dev/reference/protobuf/google.protobuf/#duration>
fn seconds(text: &str) -> Option<Duration> {
    Duration::try_from_secs_f64(text.strip_suffix('s')?.parse().ok()?).ok()
}

/// <https://docs.cloud.google.com/apis/design/errors#handling_errors>
fn status(word: &str) -> Option<u16> {
    Some(match word {
        "INVALID_ARGUMENT" | "FAILED_PRECONDITION" | "OUT_OF_RANGE" => 400,
        "UNAUTHENTICATED" | "PERMISSION_DENIED" => 401,
        "NOT_FOUND" => 404,
        "RESOURCE_EXHAUSTED" => 429,
        "INTERNAL" | "UNKNOWN" | "DATA_LOSS" => 500,
        "UNAVAILABLE" => 503,
        "DEADLINE_EXCEEDED" => 504,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(json: &str, words: &[&str], message: &str) -> Said {
        let said = said(json.as_bytes());
        assert_eq!(
            (said.words().collect::<Vec<_>>(), said.message.as_deref()),
            (words.to_vec(), Some(message)),
            "{json}"
        );
        said
    }

    #[test]
    fn an_error_in_nobody_s_dialect_is_read_all_the_same() {
        check(
            r#"[{"error":{"code":400,"message":"m","status":"INVALID_ARGUMENT"}}]"#,
            &["400", "INVALID_ARGUMENT"],
            "m",
        );
        check(
            r#"{"object":"error","message":"m","type":"invalid_request_error","code":1200}"#,
            &["1200", "invalid_request_error"],
            "m",
        );
        check(r#"{"message":"m","request_id":"r"}"#, &[], "m");
        check(r#"{"error":"m"}"#, &[], "m");
        check(r#"{"detail":"m"}"#, &[], "m");
        check(r#"{"type":"https://e.x/p","title":"t","detail":"m","status":400}"#, &[], "m");
        let found = r#"{"detail":[{"loc":["body","user"],"msg":"Extra inputs are not permitted","input":"secret"}]}"#;
        check(found, &[], "body.user: Extra inputs are not permitted");
        assert_eq!(said(b"<html>"), Said::default());
    }

    #[test]
    fn google_says_how_long_to_wait_and_whose_fault_it_is() {
        let limited = r#"[{"error":{"code":429,"message":"You exceeded your current quota","status":"RESOURCE_EXHAUSTED",
            "details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"33.5s"}]}}]"#;
        let said = check(limited, &["429", "RESOURCE_EXHAUSTED"], "You exceeded your current quota");
        assert_eq!((said.retry_after, said.status), (Some(Duration::from_millis(33_500)), Some(429)));
        assert!(!said.is_broke());
        let key = r#"[{"error":{"code":400,"message":"API key not valid.","status":"INVALID_ARGUMENT",
            "details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"API_KEY_INVALID"}]}}]"#;
        assert!(check(key, &["400", "INVALID_ARGUMENT", "API_KEY_INVALID"], "API key not valid.").is_of_credential());
    }

    #[test]
    fn a_prompt_that_is_too_long_and_an_empty_account_are_known_by_their_words() {
        for long in [
            r#"{"object":"error","message":"This model's maximum context length is 4096 tokens."}"#,
            r#"[{"error":{"code":400,"message":"The input token count (9) exceeds the maximum number of tokens allowed (8)."}}]"#,
            r#"{"error":{"code":400,"message":"m","type":"exceed_context_size_error"}}"#,
        ] {
            assert!(said(long.as_bytes()).is_too_long(), "{long}");
        }
        assert!(said(br#"{"error":{"message":"Insufficient Balance","type":"unknown_error"}}"#).is_broke());
        assert!(!said(br#"{"message":"too many requests"}"#).is_broke());
    }
}
