//! What the Responses API refuses, in its words and with its codes.

use bytes::Bytes;
use http::StatusCode;

use super::super::render::error_body;

/// An answer of 4xx.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    message: String,
    param: Option<String>,
    code: Option<&'static str>,
}

pub(super) type Read<T> = Result<T, Refusal>;

impl Refusal {
    pub(super) fn bad(message: impl Into<String>, param: &str, code: Option<&'static str>) -> Self {
        let param = (!param.is_empty()).then(|| param.to_owned());
        Self { status: StatusCode::BAD_REQUEST, message: message.into(), param, code }
    }

    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self { status: StatusCode::NOT_FOUND, ..Self::bad(message, "", None) }
    }

    pub(super) fn unknown(param: &str) -> Self {
        Self::bad(format!("Unknown parameter: '{param}'."), param, Some("unknown_parameter"))
    }

    pub(super) fn missing(param: &str) -> Self {
        Self::bad(format!("Missing required parameter: '{param}'."), param, Some("missing_required_parameter"))
    }

    pub(super) fn wrong_type(param: &str, wanted: &str, found: &serde_json::Value) -> Self {
        let found = match found {
            serde_json::Value::Null => "null",
            serde_json::Value::Bool(_) => "a boolean",
            serde_json::Value::Number(number) if number.is_f64() => "a decimal",
            serde_json::Value::Number(_) => "an integer",
            serde_json::Value::String(_) => "a string",
            serde_json::Value::Array(_) => "an array",
            serde_json::Value::Object(_) => "an object",
        };
        let message = format!("Invalid type for '{param}': expected {wanted}, but got {found} instead.");
        Self::bad(message, param, Some("invalid_type"))
    }

    pub(super) fn wrong_value(param: &str, found: &str, known: &[&str]) -> Self {
        let quoted: Vec<_> = known.iter().map(|word| format!("'{word}'")).collect();
        let known = match quoted.as_slice() {
            [] => String::new(),
            [one] => one.clone(),
            [one, other] => format!("{one} and {other}"),
            [others @ .., last] => format!("{}, and {last}", others.join(", ")),
        };
        let message = format!("Invalid value: '{found}'. Supported values are: {known}.");
        Self::bad(message, param, Some("invalid_value"))
    }

    pub(super) fn body(&self) -> Bytes {
        error_body(&self.message, "invalid_request_error", self.param.as_deref(), self.code)
    }
}
