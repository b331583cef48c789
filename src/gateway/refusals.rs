//! What a client is told when there is no answer: a provider's own error, or one of ours.

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, StatusCode};

use super::{ReplyBody, translating};
use crate::call::{CallFacts, Surface};
use crate::dialect::Dialect;
use crate::ids::ProviderId;
use crate::plan::Plan;
use crate::providers::Failure;
use crate::route::NoPlan;
use crate::wire::errors::{ApiError, Code, Retold, is_told_as};

/// A provider's error in the caller's dialect passes byte for byte, except where it may tell of our credential.
pub(super) fn failed_reply(failure: Failure, call: &CallFacts) -> (StatusCode, HeaderMap, ReplyBody, Code) {
    let error = failure.to_error();
    match failure {
        Failure::Refused(refusal) if error.code != Code::ProviderCredentials => {
            let (from, to) = (refusal.dialect, call.surface.errors());
            let client_status = refusal.client_status();
            let is_foreign = (from == Dialect::Messages) != (to == Dialect::Messages);
            let (status, headers, body) = match refusal.json {
                Some(json) if is_foreign || !is_told_as(&json, from) => {
                    let retold = Retold::of(&json, from, to, client_status);
                    let mut headers = translating::headers(refusal.headers, from, call);
                    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                    (retold.status, headers, ReplyBody::Whole(retold.body(call.id).into()))
                }
                json => (client_status, refusal.headers, json.map_or(ReplyBody::Error(error), ReplyBody::Whole)),
            };
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
            // What the provider turns down for good is the caller's doing; the rest is the provider's.
            let is_callers = (400..500).contains(&refusal.status) && !matches!(refusal.status, 408 | 409 | 429);
            let code = if is_callers { Code::RefusedByProvider } else { Code::ProviderError };
            (status, headers, body, code)
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

/// Nobody who serves the model has what is asked for, which is not translated.
pub(super) fn unspoken(surface: Surface) -> ApiError {
    let message = format!(
        "no provider row that serves this model answers at `{}`; wanted one with `protocol: openai`",
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
