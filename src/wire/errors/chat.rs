//! Errors as OpenAI writes them: one object, as a body or as the last event of a stream, behind which no `[DONE]` follows.
//! <https://platform.openai.com/docs/guides/error-codes>

use serde_json::json;

use super::{ApiError, Code, Said, Written};

pub(super) fn body(error: &ApiError) -> String {
    let told = json!({
        "message": error.message,
        "type": kind(error.code, error.status),
        "param": error.param,
        "code": error.code.as_str(),
    });
    json!({ "error": told }).to_string()
}

pub(super) fn event(error: &ApiError) -> String {
    format!("data: {}\n\n", body(error))
}

pub(super) fn said(written: Written) -> Said {
    let error = written.error.unwrap_or_default();
    let said =
        Said { kind: error.kind.0, code: error.code.0, message: error.message, param: error.param, ..Said::default() };
    said.with_status(status)
}

/// OpenAI's `type`, by which SDKs and programs branch.
fn kind(code: Code, status: u16) -> &'static str {
    if code == Code::BudgetExhausted {
        // Programs that know OpenAI's quota do not ask again.
        return "insufficient_quota";
    }
    match status {
        401 => "authentication_error",
        403 => "permission_error",
        429 => "rate_limit_error",
        400..=499 => "invalid_request_error",
        _ => "server_error",
    }
}

pub(super) fn status(word: &str) -> Option<u16> {
    match word {
        "invalid_api_key" | "authentication_error" | "permission_error" => Some(401),
        "insufficient_quota" | "rate_limit_exceeded" | "rate_limit_error" => Some(429),
        "context_length_exceeded" | "invalid_request_error" => Some(400),
        "server_error" | "internal_error" => Some(500),
        "overloaded" | "overloaded_error" | "server_overloaded" | "service_unavailable" | "slow_down" => Some(503),
        number => number.parse().ok().filter(|status| (400..=599).contains(status)),
    }
}
