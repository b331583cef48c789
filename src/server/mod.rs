//! The door for agents: accepts connections, and carries each request through authentication,
//! admission and attribution to the gateway and its reply back.
//!
//! Only this room chooses HTTP statuses and writes errors in the caller's dialect.

mod admission;
mod allowed;
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
mod objects;
mod opening;
mod passing;
mod patience;
mod repeats;
mod requests;
mod respond;
mod routes;
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
use crate::dialect::Dialect;
use crate::gateway::Gateway;
use crate::ids::RequestId;
use crate::wire::body::BodyError;
use crate::wire::errors::{ApiError, Code};
use crate::wire::{messages_request, openai_chat, openai_prompts, responses_request};

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
use respond::To;
use routes::Door;

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
        let to = To { id, dialect: routes::errors(uri.path(), request.headers()) };
        let mut body = if request.body().is_end_stream() { RequestBody::Read } else { RequestBody::Unread };
        let mut response = match self.route(to, request, for_head, &mut body).await {
            Ok(response) => response,
            Err(error) => {
                let method = if for_head { Method::HEAD } else { method };
                self.report(id, &error, (&method, uri.path()), arrived);
                respond::error(to, &error)
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
        to: To,
        request: Request<Incoming>,
        for_head: bool,
        request_body: &mut RequestBody,
    ) -> Result<Response<ReplyStream>, ApiError> {
        let (host, path, id) = (host(&request)?, request.uri().path(), to.id);
        let door = routes::door(path);
        match (request.method(), door) {
            (&Method::GET, Some(Door::Alive)) => return Ok(respond::text(id, "ok\n")),
            (&Method::GET, Some(Door::Ready)) => return self.ready(id),
            // Claude Code asks it whether anybody is there.
            (&Method::GET, None) if for_head && path == "/" => return Ok(respond::text(id, "")),
            (&Method::OPTIONS, Some(door)) => {
                let cors = self.gateway.config().server.cors.as_ref();
                let allowed = cors.and_then(|cors| cors::preflight(cors, request.headers(), door.methods()));
                if let Some(headers) = allowed {
                    return Ok(respond::allowed(id, headers));
                }
            }
            _ => {}
        }
        let keys = self.keys.ring();
        let key = authenticate::authenticate(&keys, host, request.headers(), self.gateway.config())?;
        match (request.method(), door) {
            (&Method::POST, Some(Door::Call(surface))) => {
                // Before the body is read: whoever would be refused need not send it.
                self.admission.has_room()?;
                // By itself: what waits around it, in layers, is moved several times.
                Box::pin(self.call(to, surface, request, key.as_deref(), request_body)).await
            }
            (_, Some(Door::Passing(allowed, object))) => {
                self.admission.has_room()?;
                let object = object.map(str::to_owned);
                Box::pin(self.pass(to, (allowed, object), request, key.as_deref(), request_body)).await
            }
            (&Method::POST, Some(Door::Feedback)) => {
                self.admission.has_room()?;
                Box::pin(self.feedback(id, request, key.as_deref(), request_body)).await
            }
            (&Method::GET, Some(Door::Models)) => {
                Ok(respond::json(id, &models::list(&self.gateway, key.as_deref(), to.dialect)))
            }
            (&Method::GET, Some(Door::Model(name))) => {
                let model = models::one(&self.gateway, key.as_deref(), name, to.dialect);
                let unknown = || ApiError::new(Code::ModelNotFound, "no provider row serves this model").param("model");
                model.map(|model| respond::json(id, &model)).ok_or_else(unknown)
            }
            (method, Some(door)) => {
                let method = if for_head { &Method::HEAD } else { method };
                Err(wrong_method(method, door.methods()))
            }
            (_, None) => Err(not_served()),
        }
    }

    /// Whether requests are taken.
    fn ready(&self, id: RequestId) -> Result<Response<ReplyStream>, ApiError> {
        if self.admission.is_draining() {
            return Err(ApiError::new(Code::Draining, "shutting down"));
        }
        if !self.gateway.accounts().ledger.healthy() {
            return Err(ApiError::new(Code::LedgerUnavailable, "the ledger cannot write"));
        }
        Ok(respond::text(id, "ready\n"))
    }

    /// Answers a model call.
    async fn call(
        &self,
        to: To,
        surface: Surface,
        request: Request<Incoming>,
        key: Option<&Key>,
        request_body: &mut RequestBody,
    ) -> Result<Response<ReplyStream>, ApiError> {
        // The wall clock was looked at once, for the id.
        let (arrived, at_ms) = (Instant::now(), to.id.at_ms());
        let (head, body) = request.into_parts();
        let beta = surface.errors() == Dialect::Messages && routes::asks_for_beta(&head.uri);
        let limits = &self.gateway.config().limits;
        let (body, held) = intake::body(&head.headers, body, &self.admission, limits, key.map(|key| &key.id)).await?;
        *request_body = RequestBody::Read;
        // Only now: one who sends slowly must not keep a place from those who do not.
        let permit = self.admission.admit()?;
        let read = Instant::now();
        let view = match surface {
            Surface::Messages | Surface::CountTokens => messages_request::read(&body),
            Surface::Responses | Surface::InputTokens => responses_request::read(&body),
            Surface::Completions => openai_prompts::completion(&body),
            Surface::Embeddings => openai_prompts::embeddings(&body),
            Surface::ChatCompletions | Surface::Passthrough => openai_chat::read(&body),
        };
        let view = view.map_err(refusal_of)?;
        let said = headers::read(head.headers);
        let (who, pinned_tier) = attribute(&said, &view, &body, key);
        for claim in who.ignored.iter().chain(&who.unread) {
            self.gateway.accounts().metrics.ignored_claims.with_label_values(&[*claim]).inc();
        }
        let asides = asides(&who);
        let facts = CallFacts {
            id: to.id,
            arrived,
            read,
            at_ms,
            surface,
            body_bytes: body.len(),
            view,
            session: who.run.clone().or(said.session),
            who,
            pinned_tier,
            deadline: said.deadline,
            on_short: said.on_short,
        };
        let kept_at = match facts.view.named.is_empty() {
            true => None,
            false => match Box::pin(self.keeper(&facts.who.team, &facts.view.named, None)).await {
                Ok(keeper) => keeper,
                Err(error) => {
                    let reply = self.gateway.turn_away(&Arc::new(facts), error);
                    return Ok(respond::reply(to, reply, &asides, permit));
                }
            },
        };
        let repeat = Repeat::of(&said.repeats, &facts, &body)?;
        let call = Call { facts: Arc::new(facts), body, kept_at, beta, headers: said.forward, held };
        if matches!(surface, Surface::CountTokens | Surface::InputTokens) {
            // It costs nothing to ask again.
            let reply = Box::pin(self.gateway.count(call, key)).await;
            return Ok(respond::reply(to, reply, &asides, permit));
        }
        if let Some(repeat) = repeat {
            return Box::pin(self.once(&repeat, (call, to), key, &asides, permit)).await;
        }
        let reply = self.gateway.answer(call, key).await;
        Ok(respond::reply(to, reply, &asides, permit))
    }
}

fn not_served() -> ApiError {
    let message = "nothing is served at this path; this version serves `POST /v1/chat/completions`, `POST /v1/completions`, \
                   `POST /v1/embeddings`, `POST /v1/responses[/input_tokens]`, `POST /v1/messages[/count_tokens]`, \
                   `GET /v1/models`, `POST /v1/feedback`, and by the provider's own paths stored responses, conversations, files, \
                   batches, audio, images and moderations";
    ApiError::new(Code::NotFound, message)
}

fn wrong_method(method: &Method, served: &'static str) -> ApiError {
    ApiError::new(Code::MethodNotAllowed, format!("`{method}` is not served here; wanted {served}")).allow(served)
}

fn refusal_of(error: BodyError) -> ApiError {
    match &error {
        BodyError::DuplicateKey(key) | BodyError::Respelt(key) => {
            ApiError::new(Code::DuplicateKey, error.to_string()).param(*key)
        }
        BodyError::Wrong { key, .. } | BodyError::NotServed(key) => {
            ApiError::new(Code::InvalidBody, error.to_string()).param(*key)
        }
        BodyError::Json(_) => ApiError::new(Code::InvalidBody, error.to_string()),
    }
}
