//! Calls that are passed on as they come: whether their team may make them, to which provider they belong, and what they
//! leave behind there. What is sent and what comes back goes through frame by frame.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, Response};
use hyper::body::Incoming;
use serde_json::Value;

use super::allowed::{Act, Allowed, Does, Kind, Sends};
use super::objects::{kept_by, unknown};
use super::respond::To;
use super::{ReplyStream, RequestBody, Server, attribute, headers, intake, refusal_of, respond, routes};
use crate::call::{Call, CallFacts, Keeper, Surface};
use crate::config::Key;
use crate::gateway::passing::Passage;
use crate::gateway::{Reply, ReplyBody};
use crate::ids::{AttemptId, RequestId, TeamId};
use crate::limits::{BODY_READ_IDLE_TIMEOUT, NAME_BYTES_MAX, UPLOAD_BEGINNING_BYTES};
use crate::plan::ModelRef;
use crate::prompt::view::View;
use crate::providers::Elsewhere;
use crate::providers::upload::{Trouble, Upload};
use crate::wire::errors::{ApiError, Code};
use crate::wire::openai_prompts;

impl Server {
    /// Passes a call on.
    ///
    /// # Errors
    ///
    /// 403 for what the key is not granted, 404 for what is not the team's, 413, 408, 400 for the body, 503.
    pub(super) async fn pass(
        &self,
        to: To,
        (allowed, id): (&'static Allowed, Option<String>),
        request: Request<Incoming>,
        key: Option<&Key>,
        request_body: &mut RequestBody,
    ) -> Result<Response<ReplyStream>, ApiError> {
        let (arrived, at_ms) = (Instant::now(), to.id.at_ms());
        let act =
            allowed.act(request.method()).ok_or_else(|| super::wrong_method(request.method(), allowed.methods))?;
        if act.does == Does::Lists {
            let message = "a list would show what other teams have at the provider; wanted an object by its id";
            return Err(ApiError::new(Code::NotGranted, message));
        }
        let is_charged = matches!(act.does, Does::Orders(_) | Does::Produces);
        if is_charged && key.is_some_and(|key| !key.may.unbounded) {
            let message =
                "what this costs is not known before it is done; wanted a key with `may: { unbounded: true }`";
            return Err(ApiError::new(Code::NotGranted, message));
        }
        let (head, body) = request.into_parts();
        let limits = &self.gateway.config().limits;
        let content_type = head.headers.get(CONTENT_TYPE).cloned();
        let (mut upload, mut held, mut bytes) = (None, self.admission.hold(), Bytes::new());
        let mut view = View::default();
        match act.sends {
            Sends::Json => {
                let key = key.map(|key| &key.id);
                (bytes, held) = intake::body(&head.headers, body, &self.admission, limits, key).await?;
                *request_body = RequestBody::Read;
                if !bytes.is_empty() {
                    view = openai_prompts::passed(&bytes).map_err(refusal_of)?;
                }
                view.attachments.references = 1;
            }
            Sends::Upload => {
                let most = limits.upload_bytes as u64;
                let mut body = Box::new(Upload::new(body, most, BODY_READ_IDLE_TIMEOUT));
                if body.length().is_some_and(|length| length > most) {
                    return Err(refused(Trouble::TooLarge, most));
                }
                if act.does == Does::Produces {
                    let begun = body.begin(UPLOAD_BEGINNING_BYTES, |begun| model_in(begun).is_some()).await;
                    view.model = model_in(&begun.map_err(|trouble| refused(trouble, most))?).unwrap_or_default();
                }
                view.attachments.recordings = 1;
                upload = Some(body);
            }
        }
        let permit = self.admission.admit()?;
        let said = headers::read(head.headers);
        let (who, _) = attribute(&said, &view, &bytes, key);
        for claim in who.ignored.iter().chain(&who.unread) {
            self.gateway.accounts().metrics.ignored_claims.with_label_values(&[*claim]).inc();
        }
        let asides = super::asides(&who);
        let (team, named) = (who.team.clone(), view.named.clone());
        let facts = Arc::new(CallFacts {
            id: to.id,
            arrived,
            read: Instant::now(),
            at_ms,
            surface: Surface::Passthrough,
            body_bytes: bytes.len(),
            session: None,
            who,
            pinned_tier: None,
            deadline: said.deadline,
            on_short: None,
            view,
        });
        let Place { target, kept_at, owed } = match self.place(&facts, key, (&team, id.as_deref()), &named).await {
            Ok(place) => place,
            Err(error) => {
                let reply = self.gateway.turn_away(&facts, error);
                return Ok(respond::reply(to, reply, &asides, permit));
            }
        };
        let fate = upload.as_ref().map(|upload| upload.fate());
        let path = routes::below_version(head.uri.path());
        let path = head.uri.query().map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
        let content_type = content_type.or_else(|| (!bytes.is_empty()).then_some(JSON));
        let call = Call { facts, body: bytes, kept_at, beta: false, headers: said.forward, held };
        let keeper = self.gateway.will_keep(&call, &target.provider);
        let passage = Passage {
            elsewhere: Elsewhere { method: head.method, path, content_type, upload },
            target,
            is_charged,
            is_read: act.does != Does::Fetches,
            owed: owed.filter(|_| act.does == Does::Asks),
        };
        let mut reply = self.gateway.pass(call, key, passage).await;
        if let Some(fate) = fate {
            if fate.is_whole() {
                *request_body = RequestBody::Read;
            }
            if let Some(trouble) = fate.trouble() {
                let error = refused(trouble, limits.upload_bytes as u64);
                reply = Reply { body: ReplyBody::Error(error.clone()), ..reply };
                reply.status = http::StatusCode::from_u16(error.status).unwrap_or(reply.status);
            }
        }
        if reply.status.is_success() {
            let json = match &reply.body {
                ReplyBody::Whole(json) => json.clone(),
                _ => Bytes::new(),
            };
            self.note(act, (to.id, &team, &keeper), (id.as_deref(), &json)).await;
        }
        Ok(respond::reply(to, reply, &asides, permit))
    }

    /// Where a call goes: to whoever keeps what it names, else by its model, else to the first that may be asked.
    async fn place(
        &self,
        facts: &CallFacts,
        key: Option<&Key>,
        (team, id): (&TeamId, Option<&str>),
        named: &[crate::prompt::view::Named],
    ) -> Result<Place, ApiError> {
        if let Some(id) = id {
            let holder = self.holders(team, vec![id.to_owned()]).await?.pop().flatten().ok_or_else(unknown)?;
            let payers = self.gateway.payers();
            let usable = payers.team(team.as_str()).and_then(|team| team.providers.as_ref());
            let keeper = kept_by(&holder);
            let provider = keeper.provider.clone();
            if usable.is_some_and(|rows| !rows.contains(&provider)) {
                return Err(ApiError::new(Code::NotGranted, "this team may not use the provider that keeps this"));
            }
            let kept_at = self.keeper(team, named, Some(keeper)).await?;
            let target = ModelRef { provider, model: facts.view.model.as_str().into() };
            return Ok(Place { target, kept_at, owed: holder.owed });
        }
        let kept_at = self.keeper(team, named, None).await?;
        let mut target = self.gateway.row_for(&facts.view.model, team.as_str(), key)?;
        if facts.body_bytes == 0 && target.model.as_str() != facts.view.model {
            // What goes through as it comes is not edited.
            let message = "a body that is uploaded names its model as the provider does, without the provider's row";
            return Err(ApiError::new(Code::InvalidBody, message).param("model"));
        }
        if let Some(keeper) = &kept_at {
            target.provider = keeper.provider.clone();
        }
        Ok(Place { target, kept_at, owed: None })
    }

    /// Takes note of what a call left behind, before its client is told.
    async fn note(
        &self,
        act: Act,
        (request, team, keeper): (RequestId, &TeamId, &Keeper),
        (id, json): (Option<&str>, &Bytes),
    ) {
        let accounts = self.gateway.accounts();
        match (act.does, id) {
            (Does::Deletes, Some(id)) => accounts.forget(team, &keeper.provider, ("object", id)),
            (Does::Makes(_) | Does::Orders(_) | Does::Asks, _) => {
                let Ok(told) = serde_json::from_slice::<Value>(json) else { return };
                let keep = |kind: Kind, id: &Value, owed: Option<AttemptId>| {
                    if let Some(id) = id.as_str().filter(|id| id.len() <= NAME_BYTES_MAX) {
                        accounts.keep(team, keeper, (kind.as_str(), id), owed);
                    }
                };
                match act.does {
                    Does::Makes(kind) => keep(kind, &told["id"], None),
                    Does::Orders(kind) => keep(kind, &told["id"], Some(AttemptId { request, ordinal: 1 })),
                    _ => {}
                }
                // What a batch wrote is its team's as well.
                if told["object"] == "batch" {
                    keep(Kind::File, &told["output_file_id"], None);
                    keep(Kind::File, &told["error_file_id"], None);
                }
            }
            _ => return,
        }
        if let Some(secured) = accounts.secured() {
            drop(secured.await);
        }
    }
}

/// Where a call goes, and why.
struct Place {
    target: ModelRef,
    /// Who keeps what it names.
    kept_at: Option<Keeper>,
    /// The attempt that is charged once the object in its path is done.
    owed: Option<AttemptId>,
}

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The model that a form names in what has arrived of it. <https://www.rfc-editor.org/rfc/rfc7578>
fn model_in(form: &[u8]) -> Option<String> {
    let name = memchr::memmem::find(form, b"name=\"model\"")?;
    let value = name + memchr::memmem::find(&form[name..], b"\r\n\r\n")? + 4;
    let length = memchr::memmem::find(&form[value..], b"\r\n")?;
    let model = std::str::from_utf8(&form[value..value + length]).ok()?.trim();
    (model.len() <= NAME_BYTES_MAX && !model.chars().any(char::is_control)).then(|| model.to_owned())
}

fn refused(trouble: Trouble, most: u64) -> ApiError {
    match trouble {
        Trouble::TooLarge => {
            ApiError::new(Code::BodyTooLarge, format!("the upload is larger than the limit of {most} bytes"))
        }
        Trouble::TooSlow => ApiError::new(Code::RequestTimeout, "the body did not arrive in time"),
        Trouble::BrokeOff => ApiError::new(Code::InvalidBody, "the body broke off"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_names_its_model_once_that_is_whole() {
        let form = "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n--b\r\n";
        assert_eq!(model_in(form.as_bytes()).as_deref(), Some("whisper-1"));
        for end in 0..form.find("whisper-1\r").unwrap() + 10 {
            assert_eq!(model_in(&form.as_bytes()[..end]), None, "{end}");
        }
    }
}
