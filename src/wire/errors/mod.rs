//! Errors on the wire: one [`ApiError`] of ours, written in the caller's dialect, and what a provider's own error says
//! of itself in its dialect.

mod chat;
mod foreign;
mod messages;
mod responses;
mod retold;

pub use responses::failed_code;
pub use retold::Retold;

use std::borrow::Cow;
use std::time::Duration;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::dialect::Dialect;
use crate::ids::RequestId;

/// The stable codes of refusals and failures; see docs for what each asks of the caller.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Code {
    /// Two readers of the request could take it for two different ones.
    InvalidRequest,
    /// The body is not what the surface takes.
    InvalidBody,
    /// A deciding key stands twice.
    DuplicateKey,
    /// A field says what the protocol of whoever could answer has no words for.
    UnsupportedParameter,
    /// A dollar limit applies and the model has no price.
    UnpricedModel,
    /// A dollar limit applies and nothing bounds what the request may cost.
    UnboundedCost,
    /// Too little is left of a budget.
    BudgetExhausted,
    /// A limit on requests or tokens a minute, or on requests in flight, is reached.
    RateLimited,
    /// No or an unknown key.
    InvalidApiKey,
    /// The key's grants do not cover this.
    NotGranted,
    /// Nothing is served at this path.
    NotFound,
    /// No provider row serves this model.
    ModelNotFound,
    /// The path is served, but not by this method.
    MethodNotAllowed,
    /// The body is larger than the limit.
    BodyTooLarge,
    /// The client took too long to send its request.
    RequestTimeout,
    /// The body is encoded in a way that is not taken.
    UnsupportedMediaType,
    /// The client hung up; only seen in logs and ledger.
    ClientClosed,
    /// The provider failed.
    ProviderError,
    /// The provider turned the request itself down; only seen in logs and ledger, the client gets the provider's word.
    RefusedByProvider,
    /// The provider did not accept our credential.
    ProviderCredentials,
    /// The provider did not answer in time.
    ProviderTimeout,
    /// Too much in flight.
    Overloaded,
    /// Shutting down.
    Draining,
    /// The ledger cannot write.
    LedgerUnavailable,
    /// What is there already stands against it.
    Conflict,
    /// An idempotency key came with another request than before.
    IdempotencyConflict,
    /// The same of a model call, whose answer is kept for those who repeat it.
    IdempotencyKeyReused,
    /// The store of keys cannot be read or written.
    KeyStoreUnavailable,
    /// A defect of ours.
    Internal,
}

impl Code {
    /// The code on the wire.
    pub fn as_str(self) -> &'static str {
        self.row().0
    }

    /// The HTTP status that goes with it.
    pub fn status(self) -> u16 {
        self.row().1
    }

    /// The label of `farthing_errors_total`: a closed vocabulary whose first word names who is at fault.
    pub fn metric(self) -> &'static str {
        self.row().2
    }

    fn row(self) -> (&'static str, u16, &'static str) {
        match self {
            Self::InvalidRequest => ("invalid_request", 400, "caller_invalid_request"),
            Self::InvalidBody => ("invalid_body", 400, "caller_invalid_body"),
            Self::DuplicateKey => ("duplicate_key", 400, "caller_duplicate_key"),
            Self::UnsupportedParameter => ("unsupported_parameter", 400, "caller_unsupported_parameter"),
            Self::UnpricedModel => ("unpriced_model", 400, "policy_unpriced_model"),
            Self::UnboundedCost => ("unbounded_cost", 400, "policy_unbounded_cost"),
            Self::BudgetExhausted => ("budget_exhausted", 429, "policy_budget_exhausted"),
            Self::RateLimited => ("rate_limited", 429, "policy_rate_limited"),
            Self::InvalidApiKey => ("invalid_api_key", 401, "caller_invalid_api_key"),
            Self::NotGranted => ("not_granted", 403, "policy_not_granted"),
            Self::NotFound => ("not_found", 404, "caller_not_found"),
            Self::ModelNotFound => ("model_not_found", 404, "caller_model_not_found"),
            Self::MethodNotAllowed => ("method_not_allowed", 405, "caller_method_not_allowed"),
            Self::RefusedByProvider => ("refused_by_provider", 400, "caller_refused_by_provider"),
            Self::RequestTimeout => ("request_timeout", 408, "caller_request_timeout"),
            Self::Conflict => ("conflict", 409, "caller_conflict"),
            Self::IdempotencyConflict => ("idempotency_conflict", 422, "caller_idempotency_conflict"),
            Self::IdempotencyKeyReused => ("idempotency_key_reused", 422, "caller_idempotency_key_reused"),
            Self::KeyStoreUnavailable => ("key_store_unavailable", 503, "farthing_key_store_unavailable"),
            Self::BodyTooLarge => ("body_too_large", 413, "caller_body_too_large"),
            Self::UnsupportedMediaType => ("unsupported_media_type", 415, "caller_unsupported_media_type"),
            Self::ClientClosed => ("client_closed", 499, "caller_client_closed"),
            Self::Internal => ("internal", 500, "farthing_internal"),
            Self::ProviderError => ("provider_error", 502, "provider_error"),
            Self::ProviderCredentials => ("provider_credentials", 502, "provider_credentials"),
            Self::Overloaded => ("overloaded", 503, "farthing_overloaded"),
            Self::Draining => ("draining", 503, "farthing_draining"),
            Self::LedgerUnavailable => ("ledger_unavailable", 503, "farthing_ledger_unavailable"),
            Self::ProviderTimeout => ("provider_timeout", 504, "provider_timeout"),
        }
    }
}

/// An error of ours for a client. The message never holds prompt text, keys or internal addresses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ApiError {
    /// What it is.
    pub code: Code,
    /// The status, where it is a provider's and not the code's own.
    pub status: u16,
    /// For people.
    pub message: String,
    /// The parameter at fault.
    pub param: Option<Cow<'static, str>>,
    /// Seconds after which a retry makes sense.
    pub retry_after: Option<u64>,
    /// When a budget is whole again, in milliseconds since the Unix epoch.
    pub resets_ms: Option<i64>,
    /// The methods that are served, where the one that was used is not.
    pub allow: Option<&'static str>,
    /// Whether the client may repeat the request by itself, where its status alone would mislead it.
    pub should_retry: Option<bool>,
    /// More about it for the log; no client is told.
    pub aside: Option<Box<str>>,
}

impl ApiError {
    /// An error with the code's own status.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            status: code.status(),
            message: message.into(),
            param: None,
            allow: None,
            retry_after: None,
            resets_ms: None,
            should_retry: None,
            aside: None,
        }
    }

    /// Names the parameter at fault.
    #[must_use]
    pub fn param(mut self, param: impl Into<Cow<'static, str>>) -> Self {
        self.param = Some(param.into());
        self
    }

    /// Says which methods are served.
    #[must_use]
    pub fn allow(mut self, methods: &'static str) -> Self {
        self.allow = Some(methods);
        self
    }

    /// Says more to the log than to the client.
    #[must_use]
    pub fn aside(mut self, aside: &str) -> Self {
        self.aside = Some(aside.into());
        self
    }

    /// Says when to come back.
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// Says when a budget is whole again.
    #[must_use]
    pub fn resets_at(mut self, resets_ms: i64) -> Self {
        self.resets_ms = Some(resets_ms);
        self
    }

    /// Asks the client not to repeat the request by itself: it may be billed already, or would fail again.
    #[must_use]
    pub fn not_to_be_repeated(mut self) -> Self {
        self.should_retry = Some(false);
        self
    }

    /// The body in a dialect, for the request of that id, if it has one.
    pub fn body(&self, dialect: Dialect, request: Option<RequestId>) -> String {
        match dialect {
            Dialect::Chat => chat::body(self),
            Dialect::Responses => responses::body(self),
            Dialect::Messages => messages::body(self, request),
        }
    }

    /// The error as the last event of a stream, whose `sequence`-th event it is.
    pub fn event(&self, dialect: Dialect, request: RequestId, sequence: u64) -> String {
        match dialect {
            Dialect::Chat => chat::event(self),
            Dialect::Responses => responses::event(self, sequence),
            Dialect::Messages => messages::event(self, request),
        }
    }
}

/// What a provider's error says of itself.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Said {
    /// The status that goes with what it calls itself, for one that came with a status of success.
    pub status: Option<u16>,
    /// Its `type`.
    pub kind: Option<String>,
    /// Its code; some providers' are numbers.
    pub code: Option<String>,
    /// For people.
    pub message: Option<String>,
    /// The parameter at fault.
    pub param: Option<String>,
    /// After how long it may be asked again, where its body says so.
    pub retry_after: Option<Duration>,
    /// Its reason, where it has one beside code and type.
    pub reason: Option<String>,
}

impl Said {
    /// What it calls itself: its code, then its type, then its reason.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        [&self.code, &self.kind, &self.reason].into_iter().flatten().map(String::as_str)
    }

    /// Whether it says that a prompt is longer than the model's context.
    pub fn is_too_long(&self) -> bool {
        const SAID: [&str; 8] = [
            "prompt is too long",
            "context length",
            "context window",
            "context size",
            "input token count",
            "too many input tokens",
            "reduce the length of the messages",
            "exceeds the maximum number of tokens",
        ];
        let is_known = |word: &str| matches!(word, "context_length_exceeded" | "exceed_context_size_error");
        self.words().any(is_known)
            || self.message.as_deref().is_some_and(|text| {
                let text = text.to_ascii_lowercase();
                SAID.iter().any(|said| text.contains(said))
            })
    }

    /// Whether it says that an account is out of money, so that waiting does not help: a limit that says when it is over is
    /// none of that kind.
    pub fn is_broke(&self) -> bool {
        let is_known = |word: &str| matches!(word, "billing_error" | "insufficient_quota" | "insufficient_balance");
        self.words().any(is_known)
            || self.retry_after.is_none()
                && self.message.as_deref().is_some_and(|text| {
                    let text = text.to_ascii_lowercase();
                    ["insufficient balance", "exceeded your current quota", "credit balance is too low"]
                        .iter()
                        .any(|said| text.contains(said))
                })
    }

    /// Whether it is about the credential that was shown.
    pub fn is_of_credential(&self) -> bool {
        self.words().any(|word| {
            matches!(
                word,
                "invalid_api_key"
                    | "authentication_error"
                    | "permission_error"
                    | "API_KEY_INVALID"
                    | "UNAUTHENTICATED"
                    | "PERMISSION_DENIED"
            )
        })
    }

    fn with_status(self, of: impl Fn(&str) -> Option<u16>) -> Self {
        let status = self.status.or_else(|| self.words().find_map(of));
        Self { status, ..self }
    }
}

/// Reads a provider's error, a body or an event of a stream; nothing of what is none.
pub fn said(json: &[u8], dialect: Dialect) -> Said {
    let Ok(written) = serde_json::from_slice::<Written>(json) else { return foreign::said(json) };
    let said = match dialect {
        Dialect::Chat => chat::said(written),
        Dialect::Responses => responses::said(written),
        Dialect::Messages => messages::said(written),
    };
    // Whoever stands before a provider, and many a provider too, says it in words of its own.
    let other = foreign::said(json);
    Said {
        status: said.status.or(other.status),
        kind: said.kind.or(other.kind),
        code: said.code.or(other.code),
        message: said.message.or(other.message),
        param: said.param.or(other.param),
        retry_after: other.retry_after,
        reason: other.reason,
    }
}

/// Whether an error is as the clients of a dialect know it: an object in `error`, with a message.
pub fn is_told_as(json: &[u8], dialect: Dialect) -> bool {
    let Ok(written) = serde_json::from_slice::<Written>(json) else { return false };
    let failed = written.response.and_then(|response| response.error).filter(|_| dialect == Dialect::Responses);
    written.error.or(failed).is_some()
}

/// An error as any dialect writes it.
#[derive(Deserialize, Default)]
struct Written {
    #[serde(default, deserialize_with = "object")]
    error: Option<Inner>,
    #[serde(default, deserialize_with = "object")]
    response: Option<Failed>,
    #[serde(default)]
    code: Word,
    #[serde(default, deserialize_with = "text")]
    message: Option<String>,
    #[serde(default, deserialize_with = "text")]
    param: Option<String>,
}

#[derive(Deserialize, Default)]
struct Inner {
    #[serde(default, rename = "type")]
    kind: Word,
    #[serde(default)]
    code: Word,
    #[serde(default, deserialize_with = "text")]
    message: Option<String>,
    #[serde(default, deserialize_with = "text")]
    param: Option<String>,
    #[serde(default, deserialize_with = "object")]
    details: Option<Details>,
}

#[derive(Deserialize)]
struct Failed {
    #[serde(default, deserialize_with = "object")]
    error: Option<Inner>,
}

#[derive(Deserialize)]
struct Details {
    #[serde(default)]
    error_code: Word,
}

/// A word, or a number taken for one; nothing else is.
#[derive(Default)]
struct Word(Option<String>);

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Ok(Self(match Value::deserialize(from)? {
            Value::String(word) => Some(word),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }))
    }
}

/// A text; what is none takes nothing else with it.
fn text<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    Ok(Value::deserialize(from)?.as_str().map(str::to_owned))
}

/// The same of an object.
fn object<'de, D: Deserializer<'de>, T: serde::de::DeserializeOwned>(from: D) -> Result<Option<T>, D::Error> {
    Ok(serde_json::from_value(Value::deserialize(from)?).ok())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ID: RequestId = RequestId(uuid::Uuid::nil());

    fn unknown_model() -> ApiError {
        ApiError::new(Code::ModelNotFound, "no provider serves the model `x`").param("model")
    }

    #[track_caller]
    fn check_body(error: &ApiError, dialect: Dialect, expected: &Value) {
        let body: Value = serde_json::from_str(&error.body(dialect, Some(ID))).unwrap();
        assert_eq!(&body, expected, "{dialect:?}");
    }

    #[test]
    fn openai_s_errors_have_all_four_members() {
        let expected = json!({"error": {"message": "no provider serves the model `x`", "type": "invalid_request_error",
            "param": "model", "code": "model_not_found"}});
        check_body(&unknown_model(), Dialect::Chat, &expected);
        check_body(&unknown_model(), Dialect::Responses, &expected);
        assert_eq!(unknown_model().event(Dialect::Chat, ID, 0), format!("data: {expected}\n\n"));
    }

    #[test]
    fn anthropic_s_errors_have_our_code_where_its_sdks_look_for_one() {
        let expected = json!({"type": "error", "request_id": "00000000-0000-0000-0000-000000000000",
            "error": {"type": "not_found_error", "message": "no provider serves the model `x`",
                "details": {"error_code": "model_not_found"}}});
        check_body(&unknown_model(), Dialect::Messages, &expected);
        let event = unknown_model().event(Dialect::Messages, ID, 0);
        assert_eq!(event, format!("event: error\ndata: {expected}\n\n"));
    }

    #[test]
    fn an_error_in_a_stream_of_responses_is_an_event_with_a_number() {
        let event = unknown_model().event(Dialect::Responses, ID, 7);
        let expected = json!({"type": "error", "sequence_number": 7, "code": "model_not_found", "param": "model",
            "message": "no provider serves the model `x`"});
        assert_eq!(event, format!("event: error\ndata: {expected}\n\n"));
    }

    /// <https://platform.claude.com/docs/en/api/errors>
    #[test]
    fn anthropic_s_types_go_by_the_status() {
        for (code, kind) in [
            (Code::InvalidBody, "invalid_request_error"),
            (Code::InvalidApiKey, "authentication_error"),
            (Code::NotGranted, "permission_error"),
            (Code::NotFound, "not_found_error"),
            (Code::BodyTooLarge, "request_too_large"),
            (Code::BudgetExhausted, "rate_limit_error"),
            (Code::Overloaded, "overloaded_error"),
            (Code::ProviderTimeout, "timeout_error"),
            (Code::ProviderCredentials, "api_error"),
            (Code::Internal, "api_error"),
        ] {
            let body: Value = serde_json::from_str(&ApiError::new(code, "").body(Dialect::Messages, None)).unwrap();
            assert_eq!((&body["error"]["type"], &body["request_id"]), (&json!(kind), &Value::Null), "{code:?}");
        }
    }

    #[track_caller]
    fn check_said(json: &str, dialect: Dialect, status: Option<u16>, words: &[&str], message: Option<&str>) {
        let said = said(json.as_bytes(), dialect);
        let found = (said.status, said.words().collect::<Vec<_>>(), said.message.as_deref());
        assert_eq!(found, (status, words.to_vec(), message), "{json}");
    }

    #[test]
    fn a_provider_s_error_is_read_in_each_dialect() {
        use Dialect::{Chat, Messages, Responses};
        let of_openai = r#"{"error":{"message":"m","type":"requests","param":null,"code":"rate_limit_exceeded"}}"#;
        for dialect in [Chat, Responses] {
            check_said(of_openai, dialect, Some(429), &["rate_limit_exceeded", "requests"], Some("m"));
        }
        check_said(r#"{"error":{"code":503}}"#, Chat, Some(503), &["503"], None);
        check_said(r#"{"error":"overloaded"}"#, Chat, None, &[], Some("overloaded"));
        let failed =
            r#"{"type":"response.failed","response":{"id":"r","error":{"code":"server_error","message":"m"}}}"#;
        check_said(failed, Responses, Some(500), &["server_error"], Some("m"));
        let event = r#"{"type":"error","code":"rate_limit_exceeded","message":"m","param":null,"sequence_number":1}"#;
        check_said(event, Responses, Some(429), &["rate_limit_exceeded"], Some("m"));
        let of_anthropic = r#"{"type":"error","error":{"type":"overloaded_error","message":"m"},"request_id":"r"}"#;
        check_said(of_anthropic, Messages, Some(529), &["overloaded_error"], Some("m"));
        let detailed = r#"{"type":"error","error":{"type":"api_error","message":7,"details":{"error_code":"c"}}}"#;
        check_said(detailed, Messages, Some(500), &["c", "api_error"], None);
        check_said("[1]", Messages, None, &[], None);
    }
}
