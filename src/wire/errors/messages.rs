//! Errors as Anthropic writes them; our own code stands where Anthropic's SDKs look for one, in `details.error_code`.
//! <https://platform.claude.com/docs/en/api/errors>

use serde_json::json;

use super::{ApiError, Code, Said, Written};
use crate::ids::RequestId;

pub(super) fn body(error: &ApiError, request: Option<RequestId>) -> String {
    let told = json!({
        "type": kind(error.code, error.status),
        "message": error.message,
        "details": { "error_code": error.code.as_str() },
    });
    json!({ "type": "error", "error": told, "request_id": request.map(|id| id.to_string()) }).to_string()
}

/// SDKs pass over events without a name.
pub(super) fn event(error: &ApiError, request: RequestId) -> String {
    format!("event: error\ndata: {}\n\n", body(error, Some(request)))
}

pub(super) fn said(written: Written) -> Said {
    let error = written.error.unwrap_or_default();
    let code = error.details.and_then(|details| details.error_code.0).or(error.code.0);
    let said = Said { kind: error.kind.0, code, message: error.message, param: None, status: None, ..Said::default() };
    said.with_status(status)
}

/// Anthropic's `type`. Want of memory is overload to those who ask, as want of the ledger is.
fn kind(code: Code, status: u16) -> &'static str {
    match (code, status) {
        (Code::ProviderCredentials, _) => "api_error",
        (_, 401) => "authentication_error",
        (_, 402) => "billing_error",
        (_, 403) => "permission_error",
        (_, 404) => "not_found_error",
        (_, 413) => "request_too_large",
        (_, 429) => "rate_limit_error",
        (_, 504) => "timeout_error",
        (_, 503 | 529) => "overloaded_error",
        (_, 400..=499) => "invalid_request_error",
        _ => "api_error",
    }
}

fn status(word: &str) -> Option<u16> {
    match word {
        "invalid_request_error" => Some(400),
        "authentication_error" => Some(401),
        "billing_error" => Some(402),
        "permission_error" => Some(403),
        "not_found_error" => Some(404),
        "request_too_large" => Some(413),
        "rate_limit_error" => Some(429),
        "api_error" => Some(500),
        "timeout_error" => Some(504),
        "overloaded_error" => Some(529),
        _ => None,
    }
}
