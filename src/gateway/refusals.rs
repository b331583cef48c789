//! What a client is told when there is no answer: a provider's own error, or one of ours.

use http::{HeaderMap, StatusCode};

use super::ReplyBody;
use crate::call::Surface;
use crate::dialect::Dialect;
use crate::ids::ProviderId;
use crate::plan::Plan;
use crate::providers::Failure;
use crate::route::NoPlan;
use crate::wire::errors::{ApiError, Code};

/// A provider's error in the caller's dialect passes byte for byte, except where it may tell of our credential.
pub(super) fn failed_reply(failure: Failure) -> (StatusCode, HeaderMap, ReplyBody, Code) {
    let error = failure.to_error();
    match failure {
        Failure::Refused(refusal) if error.code != Code::ProviderCredentials => {
            let status = StatusCode::from_u16(refusal.client_status()).unwrap_or(StatusCode::BAD_GATEWAY);
            let body = refusal.json.map_or(ReplyBody::Error(error), ReplyBody::Whole);
            // What the provider turns down for good is the caller's doing; the rest is the provider's.
            let is_callers = (400..500).contains(&refusal.status) && !matches!(refusal.status, 408 | 409 | 429);
            let code = if is_callers { Code::RefusedByProvider } else { Code::ProviderError };
            (status, refusal.headers, body, code)
        }
        _ => (status_of(&error), HeaderMap::new(), ReplyBody::Error(error.clone()), error.code),
    }
}

pub(super) fn status_of(error: &ApiError) -> StatusCode {
    StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// Leaves only the row in a plan that keeps what the request names.
pub(super) fn keep_at(keeper: &ProviderId, plan: &mut Plan) -> Result<(), ApiError> {
    plan.targets.retain(|target| target.provider == *keeper);
    match plan.targets.is_empty() {
        false => Ok(()),
        true => {
            let message = "what the request names is kept by a provider that this model would not be asked of; wanted a model \
                           of the one that keeps it";
            Err(ApiError::new(Code::InvalidBody, message).param("model"))
        }
    }
}

/// Who serves the model speaks another dialect than the client.
pub(super) fn unspoken(surface: Surface) -> ApiError {
    let protocol = if surface.errors() == Dialect::Messages { "anthropic" } else { "openai" };
    let message = format!(
        "no provider row that serves this model speaks the protocol of this path; at `{}` only rows with \
         `protocol: {protocol}` answer",
        surface.path()
    );
    ApiError::new(Code::ModelNotFound, message).param("model")
}

pub(super) fn refusal_of(why: NoPlan) -> ApiError {
    match why {
        NoPlan::EmptyTier(tier) => {
            ApiError::new(Code::ModelNotFound, format!("the tier `{tier}` has no models")).param("model")
        }
        NoPlan::TierNotGranted(tier) => {
            ApiError::new(Code::NotGranted, format!("this key may not use the tier `{tier}`")).param("model")
        }
        NoPlan::ModelNotGranted => ApiError::new(Code::NotGranted, "this key may not use this model").param("model"),
        NoPlan::NoProviderForTeam => {
            ApiError::new(Code::NotGranted, "this team may use none of the providers that serve this model")
                .param("model")
        }
    }
}
