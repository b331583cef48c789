//! The door for agents: accepts connections, and carries each request through authentication,
//! admission and attribution to the gateway and its reply back.
//!
//! Only this room chooses HTTP statuses and writes errors in the caller's dialect.

mod admission;
mod attribute;
mod authenticate;
mod headers;
mod intake;
pub mod listen;
mod models;
mod patience;
mod respond;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use http::{Method, Request, Response};
use hyper::body::Incoming;

use crate::call::{Call, CallFacts, Surface};
use crate::gateway::Gateway;
use crate::ids::RequestId;
use crate::telemetry::log::now_ms;
use crate::wire::errors::{ApiError, Code};
use crate::wire::openai_chat::{self, BodyError};

pub use admission::Admission;
pub use authenticate::{KeyRing, is_this_machine};
pub use respond::ReplyStream;

use admission::Permit;

/// Everything behind the agents' door.
pub struct Server {
    /// The hallway.
    pub gateway: Gateway,
    /// Who may come in; replaced whole when keys change.
    pub keys: arc_swap::ArcSwap<KeyRing>,
    /// How much may be in flight.
    pub admission: Arc<Admission>,
}

impl Server {
    /// Answers one request; never fails, and settles everything if it is dropped.
    pub async fn serve(self: Arc<Self>, request: Request<Incoming>) -> Result<Response<ReplyStream>, Infallible> {
        let (id, arrived) = (RequestId::new(), Instant::now());
        Ok(match self.route(id, request).await {
            Ok(response) => response,
            Err(error) => {
                self.report(id, &error, arrived);
                respond::error(id, &error)
            }
        })
    }

    /// The log event of a request that the gateway never saw.
    fn report(&self, id: RequestId, error: &ApiError, arrived: Instant) {
        let accounts = self.gateway.accounts();
        accounts.metrics.count_error(error.code.metric());
        let duration_ms = u64::try_from(arrived.elapsed().as_millis()).unwrap_or(u64::MAX);
        let fields = serde_json::json!({
            "request_id": id.to_string(), "status": error.code.as_str(), "http_status": error.status, "duration_ms": duration_ms,
        });
        accounts.log.event("request", &fields);
    }

    async fn route(&self, id: RequestId, request: Request<Incoming>) -> Result<Response<ReplyStream>, ApiError> {
        let path = request.uri().path();
        match (request.method(), path) {
            (&Method::GET | &Method::HEAD, "/healthz") => return Ok(respond::text(id, "ok\n")),
            (&Method::GET | &Method::HEAD, "/readyz") if self.admission.is_draining() => {
                return Err(ApiError::new(Code::Draining, "shutting down"));
            }
            (&Method::GET | &Method::HEAD, "/readyz") if !self.gateway.accounts().ledger.healthy() => {
                return Err(ApiError::new(Code::LedgerUnavailable, "the ledger cannot write"));
            }
            (&Method::GET | &Method::HEAD, "/readyz") => return Ok(respond::text(id, "ready\n")),
            _ => {}
        }
        let keys = self.keys.load_full();
        let key = authenticate::authenticate(&keys, request.headers(), self.gateway.config())?;
        match (request.method(), path) {
            (&Method::POST, "/v1/chat/completions") => {
                let permit = self.admission.admit()?;
                self.chat(id, request, key.as_deref(), permit).await
            }
            (&Method::GET, "/v1/models") => Ok(respond::json(id, &models::list(&self.gateway, key.as_deref()))),
            (&Method::GET, path) if path.starts_with("/v1/models/") => {
                let name = &path["/v1/models/".len()..];
                let model = models::one(&self.gateway, key.as_deref(), name);
                let unknown = || ApiError::new(Code::ModelNotFound, "no provider row serves this model").param("model");
                model.map(|model| respond::json(id, &model)).ok_or_else(unknown)
            }
            (_, "/v1/chat/completions") => Err(wrong_method(request.method(), "POST")),
            (_, "/v1/models") => Err(wrong_method(request.method(), "GET")),
            (_, "/healthz" | "/readyz") => Err(wrong_method(request.method(), "GET, HEAD")),
            (_, path) if path.starts_with("/v1/models/") => Err(wrong_method(request.method(), "GET")),
            (_, "/chat/completions" | "/models") => {
                Err(ApiError::new(Code::NotFound, "nothing is served at this path; a base URL ends in `/v1`"))
            }
            _ => Err(ApiError::new(
                Code::NotFound,
                "nothing is served at this path; this version serves `POST /v1/chat/completions` and `GET /v1/models`",
            )),
        }
    }

    async fn chat(
        &self,
        id: RequestId,
        request: Request<Incoming>,
        key: Option<&crate::config::Key>,
        permit: Permit,
    ) -> Result<Response<ReplyStream>, ApiError> {
        let (arrived, at_ms) = (Instant::now(), now_ms());
        let (head, body) = request.into_parts();
        let (body, held) = intake::body(&head.headers, body, &self.admission, &self.gateway.config().limits).await?;
        let read = Instant::now();
        let view = openai_chat::read(&body).map_err(refusal_of)?;
        let said = headers::read(head.headers);
        let (who, pinned_tier) = attribute::attribute(&said, &view, &body, key);
        for claim in &who.ignored {
            self.gateway.accounts().metrics.ignored_claims.with_label_values(&[*claim]).inc();
        }
        let ignored = who.ignored.clone();
        let facts = CallFacts {
            id,
            arrived,
            read,
            at_ms,
            surface: Surface::ChatCompletions,
            body_bytes: body.len(),
            view,
            who,
            pinned_tier,
            deadline: said.deadline,
        };
        let call = Call { facts: Arc::new(facts), body, headers: said.forward };
        let reply = self.gateway.answer(call, key).await;
        drop(held);
        Ok(respond::reply(id, reply, &ignored, permit))
    }
}

fn wrong_method(method: &Method, served: &'static str) -> ApiError {
    ApiError::new(Code::MethodNotAllowed, format!("`{method}` is not served here; wanted {served}")).allow(served)
}

fn refusal_of(error: BodyError) -> ApiError {
    match &error {
        BodyError::DuplicateKey(key) => ApiError::new(Code::DuplicateKey, error.to_string()).param(key),
        BodyError::Wrong { key, .. } => ApiError::new(Code::InvalidBody, error.to_string()).param(key),
        BodyError::Json(_) => ApiError::new(Code::InvalidBody, error.to_string()),
    }
}
