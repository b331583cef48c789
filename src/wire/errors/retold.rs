//! A provider's error in the words of another dialect: status, type and code by what they mean, the message as it is.

use serde_json::json;

use super::{Said, said};
use crate::dialect::Dialect;
use crate::ids::RequestId;

/// Whoever looks for the end of a model's context looks for this: Anthropic's clients in the message, OpenAI's in the code.
const TOO_LONG: (&str, &str) = ("prompt is too long", "context_length_exceeded");

/// A provider's error, for clients of another dialect.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Retold {
    /// The status that such clients know it by.
    pub status: u16,
    to: Dialect,
    kind: &'static str,
    code: Option<String>,
    message: String,
}

impl Retold {
    /// The error `json` of a provider that speaks `from` and gave this status, for clients who speak `to`.
    pub fn of(json: &[u8], from: Dialect, to: Dialect, status: u16) -> Self {
        let said = said(json, from);
        let is_broke = status == 402 || said.is_broke() && matches!(status, 400 | 429);
        let is_too_long = said.is_too_long() && (400..500).contains(&status);
        let status = match (to, status) {
            (Dialect::Messages, 503) => 529,
            (Dialect::Messages, 429) if is_broke => 402,
            (Dialect::Chat | Dialect::Responses, 529) => 503,
            (Dialect::Chat | Dialect::Responses, 402) => 429,
            (_, status) => status,
        };
        let kind = match to {
            Dialect::Messages => anthropics(status),
            Dialect::Chat | Dialect::Responses if is_broke => "insufficient_quota",
            Dialect::Chat | Dialect::Responses => openais(status),
        };
        let code = match to {
            Dialect::Messages => said.code.clone(),
            _ if is_broke => Some("insufficient_quota".to_owned()),
            _ if is_too_long => Some(TOO_LONG.1.to_owned()),
            _ => code(status).map(str::to_owned),
        };
        Self { status, to, kind, code, message: message(said, is_too_long && to == Dialect::Messages) }
    }

    /// What its clients tell it by, beside the status.
    pub fn code(&self) -> &str {
        self.code.as_deref().unwrap_or(self.kind)
    }

    /// What it says.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// As a body.
    pub fn body(&self, request: RequestId) -> String {
        let Self { kind, code, message, .. } = self;
        match self.to {
            Dialect::Chat | Dialect::Responses => {
                json!({ "error": { "message": message, "type": kind, "param": null, "code": code } }).to_string()
            }
            Dialect::Messages => {
                let mut error = json!({ "type": kind, "message": message });
                if let Some(code) = code {
                    error["details"] = json!({ "error_code": code });
                }
                json!({ "type": "error", "error": error, "request_id": request.to_string() }).to_string()
            }
        }
    }

    /// As the last event of a stream, whose `sequence`-th it is.
    pub fn event(&self, request: RequestId, sequence: u64) -> String {
        match self.to {
            Dialect::Chat => format!("data: {}\n\n", self.body(request)),
            Dialect::Messages => format!("event: error\ndata: {}\n\n", self.body(request)),
            Dialect::Responses => {
                let Self { code, message, .. } = self;
                let event = json!({ "type": "error", "sequence_number": sequence, "code": code, "message": message, "param": null });
                format!("event: error\ndata: {event}\n\n")
            }
        }
    }
}

fn message(said: Said, is_too_long: bool) -> String {
    let message = said.message.unwrap_or_else(|| "the provider did not say why".to_owned());
    if is_too_long && !message.to_ascii_lowercase().contains(TOO_LONG.0) {
        return format!("{}: {message}", TOO_LONG.0);
    }
    message
}

/// <https://platform.claude.com/docs/en/api/errors>
fn anthropics(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        504 => "timeout_error",
        503 | 529 => "overloaded_error",
        400..=499 => "invalid_request_error",
        _ => "api_error",
    }
}

/// <https://platform.openai.com/docs/guides/error-codes>
fn openais(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        403 => "permission_error",
        429 => "rate_limit_error",
        400..=499 => "invalid_request_error",
        _ => "server_error",
    }
}

fn code(status: u16) -> Option<&'static str> {
    match status {
        404 => Some("model_not_found"),
        429 => Some("rate_limit_exceeded"),
        503 => Some("overloaded"),
        500..=599 => Some("server_error"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[track_caller]
    fn check((json, status): (&Value, u16), (from, to): (Dialect, Dialect), expected: (u16, &str, Option<&str>, &str)) {
        let retold = Retold::of(json.to_string().as_bytes(), from, to, status);
        let told: Value = serde_json::from_str(&retold.body(RequestId(uuid::Uuid::nil()))).unwrap();
        let error = &told["error"];
        let code = if to == Dialect::Messages { &error["details"]["error_code"] } else { &error["code"] };
        let found = (retold.status, error["type"].as_str().unwrap(), code.as_str(), error["message"].as_str().unwrap());
        assert_eq!(found, expected, "{told}");
    }

    #[test]
    fn anthropic_s_errors_are_told_to_openai_s_clients_in_their_words() {
        let pair = (Dialect::Messages, Dialect::Chat);
        let of = |kind: &str, message: &str| json!({"type": "error", "error": {"type": kind, "message": message}});
        check(
            (&of("overloaded_error", "Overloaded"), 529),
            pair,
            (503, "server_error", Some("overloaded"), "Overloaded"),
        );
        check((&of("rate_limit_error", "m"), 429), pair, (429, "rate_limit_error", Some("rate_limit_exceeded"), "m"));
        check((&of("billing_error", "m"), 402), pair, (429, "insufficient_quota", Some("insufficient_quota"), "m"));
        check((&of("invalid_request_error", "m"), 400), pair, (400, "invalid_request_error", None, "m"));
        check(
            (&of("not_found_error", "model: x"), 404),
            pair,
            (404, "invalid_request_error", Some("model_not_found"), "model: x"),
        );
        let long = "prompt is too long: 210000 tokens > 200000 maximum";
        let told = (400, "invalid_request_error", Some("context_length_exceeded"), long);
        check((&of("invalid_request_error", long), 400), pair, told);
    }

    #[test]
    fn openai_s_errors_are_told_to_anthropic_s_clients_in_their_words() {
        let pair = (Dialect::Chat, Dialect::Messages);
        let of = |kind: &str, code: Value, message: &str| json!({"error": {"type": kind, "code": code, "message": message, "param": null}});
        check((&of("server_error", Value::Null, "m"), 503), pair, (529, "overloaded_error", None, "m"));
        check((&of("server_error", Value::Null, "m"), 500), pair, (500, "api_error", None, "m"));
        let quota = json!("insufficient_quota");
        check(
            (&of("insufficient_quota", quota, "m"), 429),
            pair,
            (402, "billing_error", Some("insufficient_quota"), "m"),
        );
        let long =
            of("invalid_request_error", json!("context_length_exceeded"), "This model's maximum context length is 9.");
        let told = "prompt is too long: This model's maximum context length is 9.";
        check((&long, 400), pair, (400, "invalid_request_error", Some("context_length_exceeded"), told));
        check((&json!({"error": "no object"}), 418), pair, (418, "invalid_request_error", None, "no object"));
    }
}
