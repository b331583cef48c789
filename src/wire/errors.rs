//! Errors as clients read them: one [`ApiError`], written in the caller's dialect.

use serde_json::json;

/// The stable codes of refusals and failures; see docs for what each asks of the caller.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Code {
    /// Two readers of the request could take it for two different ones.
    InvalidRequest,
    /// The body is not what the surface takes.
    InvalidBody,
    /// A deciding key stands twice.
    DuplicateKey,
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

    /// OpenAI's `type`, by which SDKs and programs branch.
    fn openai_type(self) -> &'static str {
        if self == Self::BudgetExhausted {
            // Programs that know OpenAI's quota do not ask again.
            return "insufficient_quota";
        }
        match self.status() {
            401 => "authentication_error",
            403 => "permission_error",
            429 => "rate_limit_error",
            400..=499 => "invalid_request_error",
            _ => "server_error",
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
    pub param: Option<&'static str>,
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
    pub fn param(mut self, param: &'static str) -> Self {
        self.param = Some(param);
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

    /// The body in OpenAI's dialect. <https://platform.openai.com/docs/guides/error-codes>
    pub fn openai_body(&self) -> String {
        let error = json!({
            "message": self.message,
            "type": self.code.openai_type(),
            "param": self.param,
            "code": self.code.as_str(),
        });
        json!({ "error": error }).to_string()
    }

    /// The error as the last event of a stream in OpenAI's dialect; no `[DONE]` follows.
    pub fn openai_event(&self) -> String {
        format!("data: {}\n\n", self.openai_body())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_openai_dialect_has_all_four_members() {
        let error = ApiError::new(Code::ModelNotFound, "no provider serves the model `x`").param("model");
        let body: serde_json::Value = serde_json::from_str(&error.openai_body()).unwrap();
        let expected = json!({"error": {"message": "no provider serves the model `x`", "type": "invalid_request_error",
            "param": "model", "code": "model_not_found"}});
        assert_eq!(body, expected);
    }
}
