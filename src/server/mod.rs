//! The door for agents: accepts connections, and carries each request through authentication,
//! admission and attribution to the gateway and its reply back.
//!
//! Only this room chooses HTTP statuses and writes errors in the caller's dialect.

mod admission;
mod attribute;
mod authenticate;
mod cors;
mod feedback;
mod headers;
mod idempotency;
mod in_force;
mod intake;
pub mod listen;
mod models;
mod opening;
mod patience;
mod repeats;
mod requests;
mod respond;
mod streams;
mod target;
pub mod tls;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use http::{Method, Request, Response};
use http_body::Body as _;
use hyper::body::Incoming;

use crate::call::{Call, CallFacts, Surface};
use crate::config::Key;
use crate::gateway::Gateway;
use crate::ids::RequestId;
use crate::telemetry::log::now_ms;
use crate::wire::errors::{ApiError, Code};
use crate::wire::openai_chat::{self, BodyError};

pub use admission::Admission;
pub use attribute::attribute;
pub use authenticate::{KeyRing, is_this_machine};
pub use feedback::Pace as FeedbackPace;
pub use headers::Said;
pub use idempotency::Replays;
pub use in_force::InForce;
pub use respond::{ReplyStream, asides};
pub use target::{host, shown_method};

use cors::Reader;
use idempotency::Repeat;

/// Whether a request's body has been read to its end. [`Unread`](Self::Unread) is an extension of the response, by which
/// the connection knows that its client may still be sending.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum RequestBody {
    Read,
    Unread,
}

/// Everything behind the agents' door.
pub struct Server {
    /// The hallway.
    pub gateway: Gateway,
    /// Who may come in.
    pub keys: InForce,
    /// How much may be in flight.
    pub admission: Arc<Admission>,
    /// Answers for those who repeat a request under its `Idempotency-Key`.
    pub replays: Arc<Replays>,
    /// How fast keys speak of answers.
    pub feedback_pace: FeedbackPace,
}

impl Server {
    /// Answers one request; never fails, and settles everything if it is dropped.
    pub async fn serve(self: Arc<Self>, mut request: Request<Incoming>) -> Result<Response<ReplyStream>, Infallible> {
        let (id, arrived) = (RequestId::new(), Instant::now());
        let for_head = request.method() == Method::HEAD;
        let reader = self.gateway.config().server.cors.as_ref().map(|cors| Reader::of(cors, request.headers()));
        if for_head {
            // It is served wherever GET is.
            *request.method_mut() = Method::GET;
        }
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let mut body = if request.body().is_end_stream() { RequestBody::Read } else { RequestBody::Unread };
        let mut response = match self.route(id, request, for_head, &mut body).await {
            Ok(response) => response,
            Err(error) => {
                let method = if for_head { Method::HEAD } else { method };
                self.report(id, &error, (&method, uri.path()), arrived);
                respond::error(id, &error)
            }
        };
        if body == RequestBody::Unread {
            response.extensions_mut().insert(body);
        }
        if let Some(reader) = reader {
            reader.may_read(response.headers_mut());
        }
        Ok(if for_head { respond::head_only(response) } else { response })
    }

    /// The log event of a request that the gateway never saw.
    fn report(&self, id: RequestId, error: &ApiError, (method, path): (&Method, &str), arrived: Instant) {
        let accounts = self.gateway.accounts();
        accounts.metrics.count_error(error.code.metric());
        let duration_ms = u64::try_from(arrived.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut fields = serde_json::json!({
            "request_id": id.to_string(), "status": error.code.as_str(), "http_status": error.status, "duration_ms": duration_ms,
            "method": shown_method(method), "path": target::shown_path(path),
        });
        if let Some(aside) = &error.aside {
            fields["detail"] = (**aside).into();
        }
        accounts.log.event("request", &fields);
    }

    /// `for_head` is said of a GET whose body nobody will read.
    async fn route(
        &self,
        id: RequestId,
        request: Request<Incoming>,
        for_head: bool,
        request_body: &mut RequestBody,
    ) -> Result<Response<ReplyStream>, ApiError> {
        let (host, path) = (host(&request)?, request.uri().path());
        match (request.method(), path) {
            (&Method::GET, "/healthz") => return Ok(respond::text(id, "ok\n")),
            (&Method::GET, "/readyz") if self.admission.is_draining() => {
                return Err(ApiError::new(Code::Draining, "shutting down"));
            }
            (&Method::GET, "/readyz") if !self.gateway.accounts().ledger.healthy() => {
                return Err(ApiError::new(Code::LedgerUnavailable, "the ledger cannot write"));
            }
            (&Method::GET, "/readyz") => return Ok(respond::text(id, "ready\n")),
            // Claude Code asks it whether anybody is there.
            (&Method::GET, "/") if for_head => return Ok(respond::text(id, "")),
            (&Method::OPTIONS, path) => {
                let cors = self.gateway.config().server.cors.as_ref();
                let allowed = served(path).and_then(|methods| cors::preflight(cors?, request.headers(), methods));
                if let Some(headers) = allowed {
                    return Ok(respond::allowed(id, headers));
                }
            }
            _ => {}
        }
        let keys = self.keys.ring();
        let key = authenticate::authenticate(&keys, host, request.headers(), self.gateway.config())?;
        match (request.method(), path) {
            (&Method::POST, "/v1/chat/completions") => {
                // Before the body is read: whoever would be refused need not send it.
                self.admission.has_room()?;
                // By itself: what waits around it, in layers, is moved several times.
                Box::pin(self.chat(id, request, key.as_deref(), request_body)).await
            }
            (&Method::POST, "/v1/feedback") => {
                self.admission.has_room()?;
                Box::pin(self.feedback(id, request, key.as_deref(), request_body)).await
            }
            (&Method::GET, "/v1/models") => Ok(respond::json(id, &models::list(&self.gateway, key.as_deref()))),
            (&Method::GET, path) if path.starts_with("/v1/models/") => {
                let name = &path["/v1/models/".len()..];
                let model = models::one(&self.gateway, key.as_deref(), name);
                let unknown = || ApiError::new(Code::ModelNotFound, "no provider row serves this model").param("model");
                model.map(|model| respond::json(id, &model)).ok_or_else(unknown)
            }
            (method, path) if let Some(methods) = served(path) => {
                let method = if for_head { &Method::HEAD } else { method };
                Err(wrong_method(method, methods))
            }
            (_, "/chat/completions" | "/models") => {
                Err(ApiError::new(Code::NotFound, "nothing is served at this path; a base URL ends in `/v1`"))
            }
            _ => Err(ApiError::new(
                Code::NotFound,
                "nothing is served at this path; this version serves `POST /v1/chat/completions`, `GET /v1/models` and \
                 `POST /v1/feedback`",
            )),
        }
    }

    async fn chat(
        &self,
        id: RequestId,
        request: Request<Incoming>,
        key: Option<&Key>,
        request_body: &mut RequestBody,
    ) -> Result<Response<ReplyStream>, ApiError> {
        let (arrived, at_ms) = (Instant::now(), now_ms());
        let (head, body) = request.into_parts();
        let limits = &self.gateway.config().limits;
        let (body, held) = intake::body(&head.headers, body, &self.admission, limits, key.map(|key| &key.id)).await?;
        *request_body = RequestBody::Read;
        // Only now: one who sends slowly must not keep a place from those who do not.
        let permit = self.admission.admit()?;
        let read = Instant::now();
        let view = openai_chat::read(&body).map_err(refusal_of)?;
        let said = headers::read(head.headers);
        let (who, pinned_tier) = attribute(&said, &view, &body, key);
        for claim in who.ignored.iter().chain(&who.unread) {
            self.gateway.accounts().metrics.ignored_claims.with_label_values(&[*claim]).inc();
        }
        let asides = asides(&who);
        let facts = CallFacts {
            id,
            arrived,
            read,
            at_ms,
            surface: Surface::ChatCompletions,
            body_bytes: body.len(),
            view,
            session: who.run.clone().or(said.session),
            who,
            pinned_tier,
            deadline: said.deadline,
            on_short: said.on_short,
        };
        let repeat = Repeat::of(&said.repeats, &facts, &body)?;
        let call = Call { facts: Arc::new(facts), body, headers: said.forward, held };
        if let Some(repeat) = repeat {
            return Box::pin(self.once(&repeat, call, key, &asides, permit)).await;
        }
        let reply = self.gateway.answer(call, key).await;
        Ok(respond::reply(id, reply, &asides, permit))
    }
}

/// The methods that are served at a path.
fn served(path: &str) -> Option<&'static str> {
    match path {
        "/v1/chat/completions" | "/v1/feedback" => Some("POST"),
        "/v1/models" | "/healthz" | "/readyz" => Some("GET, HEAD"),
        path if path.starts_with("/v1/models/") => Some("GET, HEAD"),
        _ => None,
    }
}

fn wrong_method(method: &Method, served: &'static str) -> ApiError {
    ApiError::new(Code::MethodNotAllowed, format!("`{method}` is not served here; wanted {served}")).allow(served)
}

fn refusal_of(error: BodyError) -> ApiError {
    match &error {
        BodyError::DuplicateKey(key) | BodyError::Respelt(key) => {
            ApiError::new(Code::DuplicateKey, error.to_string()).param(key)
        }
        BodyError::Wrong { key, .. } => ApiError::new(Code::InvalidBody, error.to_string()).param(key),
        BodyError::Json(_) => ApiError::new(Code::InvalidBody, error.to_string()),
    }
}
