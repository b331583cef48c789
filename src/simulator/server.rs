//! The doors of the simulated provider: which path answers what, and with which headers.
//!
//! Chat completions are handed to `performance`; the list of models, wrong keys, unknown paths and
//! unreadable bodies are answered here as the real API answers them. A canned provider answers
//! everything from prebuilt bytes before any of that.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::time::{Sleep, sleep};

use super::invoice::Books;
use super::messages::{self, MarkedCache};
use super::performance::Answered;
use super::play::{Act, BrokenOff, Play};
use super::prefix_cache::PrefixCache;
use super::provider::{Canned, Provider, Vendor};
use super::recordings::Recordings;
use super::render::{self, error_body};
use super::responses::Kept;
use super::script::ModelScript;
use super::stored::{Stored, is_stored};
use super::traffic::{Traffic, Visit};

/// Largest body that is read, in bytes.
const BODY_BYTES_MAX: usize = 256 << 20;
/// When the models of this provider were made, in Unix seconds.
const MODELS_CREATED: u64 = 1_783_555_200;

/// Everything that connections share.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) books: Arc<Books>,
    pub(super) traffic: Arc<Traffic>,
    pub(super) prefixes: Mutex<PrefixCache>,
    pub(super) recordings: Arc<Recordings>,
    pub(super) marked: Mutex<MarkedCache>,
    pub(super) responses: Mutex<Kept>,
    pub(super) stored: Mutex<Stored>,
    models: HashMap<String, ScriptedModel>,
    vendor: Vendor,
    key: Option<String>,
    canned: Option<Canned>,
    ids: AtomicU64,
}

/// A model and how often it was asked.
#[derive(Debug)]
pub(super) struct ScriptedModel {
    pub(super) script: ModelScript,
    pub(super) asked: AtomicU64,
}

/// A request that arrived in full.
pub(super) struct Arrived {
    pub(super) vendor: Vendor,
    pub(super) head: Parts,
    pub(super) visit: Visit,
    pub(super) body: Bytes,
    pub(super) request_id: String,
    pub(super) since: Instant,
    pub(super) reset: Arc<AtomicBool>,
}

impl Arrived {
    /// A header as text, if it is there and readable.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.head.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

impl Server {
    pub(super) fn new(provider: Provider) -> Self {
        let models = provider.models.into_iter();
        let models = models.map(|script| (script.name.clone(), ScriptedModel { script, asked: AtomicU64::new(0) }));
        Self {
            books: Arc::default(),
            traffic: Arc::new(Traffic::new(provider.keep)),
            prefixes: Mutex::new(PrefixCache::new(provider.prefix_time_to_live)),
            marked: Mutex::new(MarkedCache::new(provider.prefix_time_to_live)),
            responses: Mutex::default(),
            stored: Mutex::default(),
            vendor: provider.vendor,
            recordings: provider.recordings,
            models: models.collect(),
            key: provider.key,
            canned: provider.canned,
            ids: AtomicU64::new(1),
        }
    }

    /// Answers one request. An error breaks the connection, which the script wanted.
    pub(super) async fn answer(
        &self,
        request: Request<Incoming>,
        reset: Arc<AtomicBool>,
    ) -> Result<Response<ReplyBody>, BrokenOff> {
        let since = Instant::now();
        let (head, body) = request.into_parts();
        if let Some(canned) = &self.canned {
            drain(body).await;
            return Ok(canned_response(canned));
        }
        let body = match Limited::new(body, BODY_BYTES_MAX).collect().await {
            Ok(body) => body.to_bytes(),
            Err(_) => Bytes::new(),
        };
        let visit = self.traffic.arrive(&head, body.clone());
        let vendor = self.vendor;
        let request_id = match vendor {
            Vendor::OpenAi => format!("req_{}", self.fresh_id()),
            Vendor::Anthropic => format!("req_01{}", &self.fresh_id()[10..]),
        };
        let arrived = Arrived { vendor, head, visit, body, request_id, since, reset };
        match vendor {
            Vendor::OpenAi => self.answer_as_openai(arrived).await,
            Vendor::Anthropic => self.answer_as_anthropic(arrived).await,
        }
    }

    async fn answer_as_openai(&self, arrived: Arrived) -> Answered {
        if let Some(refusal) = self.refuse_key(arrived.header("authorization")) {
            return Ok(whole(arrived, StatusCode::UNAUTHORIZED, refusal));
        }
        let (method, path) = (arrived.head.method.clone(), arrived.head.uri.path().to_owned());
        match (&method, path.as_str()) {
            (&Method::POST, "/v1/chat/completions") => self.complete(arrived).await,
            (&Method::POST, "/v1/completions") => self.complete_text(arrived).await,
            (&Method::POST, "/v1/embeddings") => self.embed(arrived).await,
            (_, path) if path == "/v1/responses" || path.starts_with("/v1/responses/") => {
                self.answer_responses(arrived, &method, path.trim_start_matches("/v1/responses")).await
            }
            (_, path) if is_stored(path) => self.answer_stored(arrived, &method, path).await,
            (&Method::GET, "/v1/models") => {
                let body = self.list_models();
                Ok(whole(arrived, StatusCode::OK, body))
            }
            (&Method::GET, path) if path.starts_with("/v1/models/") => {
                let (status, body) = self.describe_model(path.trim_start_matches("/v1/models/"));
                Ok(whole(arrived, status, body))
            }
            (method, path) => {
                let body = error_body(&format!("Invalid URL ({method} {path})"), "invalid_request_error", None, None);
                Ok(whole(arrived, StatusCode::NOT_FOUND, body))
            }
        }
    }

    /// A model by its name, or the one that answers for all others.
    pub(super) fn model(&self, name: &str) -> Option<&ScriptedModel> {
        self.models.get(name).or_else(|| self.models.get("*"))
    }

    /// 32 hex digits that this provider has not used before.
    pub(super) fn fresh_id(&self) -> String {
        let count = self.ids.fetch_add(1, Ordering::Relaxed);
        // An odd factor permutes the numbers: unlike each other, and the same in every run.
        format!("{:016x}{count:016x}", count.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn refuse_key(&self, authorization: Option<&str>) -> Option<Bytes> {
        let wanted = self.key.as_deref()?;
        let found = authorization.and_then(|value| value.strip_prefix("Bearer "));
        if found == Some(wanted) {
            return None;
        }
        let message = match found {
            // The real API echoes the ends of a wrong key, which is why a gateway must not relay this text.
            Some(found) => {
                let ends: String = found.chars().take(4).chain("****".chars()).collect();
                format!(
                    "Incorrect API key provided: {ends}. You can find your API key at \
                     https://platform.openai.com/account/api-keys."
                )
            }
            None => "You didn't provide an API key. You need to provide your API key in an Authorization header \
                     using Bearer auth (i.e. Authorization: Bearer YOUR_KEY)."
                .to_owned(),
        };
        Some(error_body(&message, "invalid_request_error", None, found.map(|_| "invalid_api_key")))
    }

    /// The key that this provider wants, if it wants one.
    pub(super) fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// The names of its models in alphabetical order.
    pub(super) fn model_names(&self) -> Vec<&str> {
        let mut names: Vec<_> = self.models.keys().map(String::as_str).filter(|name| *name != "*").collect();
        names.sort_unstable();
        names
    }

    fn list_models(&self) -> Bytes {
        let data: Vec<_> = self.model_names().into_iter().map(model_object).collect();
        json!({"object": "list", "data": data}).to_string().into()
    }

    fn describe_model(&self, name: &str) -> (StatusCode, Bytes) {
        match self.models.contains_key(name) {
            true => (StatusCode::OK, model_object(name).to_string().into()),
            false => (StatusCode::NOT_FOUND, unknown_model(name)),
        }
    }
}

fn model_object(name: &str) -> Value {
    json!({"id": name, "object": "model", "created": MODELS_CREATED, "owned_by": "openai"})
}

/// The body of a 404 for a model, as this vendor writes it.
pub(super) fn no_such_model(arrived: &Arrived, name: &str) -> Bytes {
    match arrived.vendor {
        Vendor::OpenAi => unknown_model(name),
        Vendor::Anthropic => messages::error_body("not_found_error", &format!("model: {name}"), &arrived.request_id),
    }
}

/// The body of a status that the script wants, as this vendor writes it.
pub(super) fn scripted_error(arrived: &Arrived, status: u16) -> Bytes {
    match arrived.vendor {
        Vendor::OpenAi => render::scripted_error(status),
        Vendor::Anthropic => messages::scripted_error(status, &arrived.request_id),
    }
}

fn unknown_model(name: &str) -> Bytes {
    let message = format!("The model `{name}` does not exist or you do not have access to it.");
    error_body(&message, "invalid_request_error", Some("model"), Some("model_not_found"))
}

/// A whole JSON answer that costs nothing.
pub(super) fn whole(arrived: Arrived, status: StatusCode, body: Bytes) -> Response<ReplyBody> {
    let head = head(&arrived, status, "application/json");
    let length = body.len() as u64;
    let play = Play::new(vec![Act::Bytes(body)], arrived.visit, arrived.reset).of_length(length);
    head.map(|()| ReplyBody::Played(Box::new(play)))
}

/// A stream of these events that nobody is billed for.
pub(super) fn stream(arrived: Arrived, events: Vec<Bytes>) -> Response<ReplyBody> {
    let head = head(&arrived, StatusCode::OK, "text/event-stream; charset=utf-8");
    let acts = events.into_iter().map(Act::Bytes).collect();
    head.map(|()| ReplyBody::Played(Box::new(Play::new(acts, arrived.visit, arrived.reset))))
}

/// The status line and headers of any answer.
pub(super) fn head(arrived: &Arrived, status: StatusCode, content_type: &str) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    let mut put = |name: &'static str, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    };
    put("content-type", content_type);
    if arrived.vendor == Vendor::Anthropic {
        put("request-id", &arrived.request_id);
        messages::HEADERS.iter().for_each(|(name, value)| put(name, value));
        return response;
    }
    put("x-request-id", &arrived.request_id);
    put("openai-processing-ms", &arrived.since.elapsed().as_millis().to_string());
    for (name, value) in [
        ("openai-version", "2020-10-01"),
        ("openai-organization", "org-simulated"),
        ("openai-project", "proj_simulated"),
        ("x-ratelimit-limit-requests", "10000"),
        ("x-ratelimit-limit-tokens", "30000000"),
        ("x-ratelimit-remaining-requests", "9999"),
        ("x-ratelimit-remaining-tokens", "29999000"),
        ("x-ratelimit-reset-requests", "6ms"),
        ("x-ratelimit-reset-tokens", "2ms"),
    ] {
        put(name, value);
    }
    response
}

/// Unix seconds now; 0 on a clock before 1970.
pub(super) fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

async fn drain(mut body: Incoming) {
    while let Some(Ok(_)) = body.frame().await {}
}

fn canned_response(canned: &Canned) -> Response<ReplyBody> {
    let mut response = Response::new(ReplyBody::Canned { canned: canned.clone(), next: 0, sleep: None });
    let headers = response.headers_mut();
    headers.insert("content-type", HeaderValue::from_static(canned.content_type));
    headers.insert("x-request-id", HeaderValue::from_static("req_canned"));
    response
}

/// The body of an answer.
#[derive(Debug)]
pub(super) enum ReplyBody {
    Played(Box<Play>),
    Canned { canned: Canned, next: usize, sleep: Option<Pin<Box<Sleep>>> },
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        let (canned, next, pause) = match self.get_mut() {
            Self::Played(play) => return Pin::new(play.as_mut()).poll_frame(cx),
            Self::Canned { canned, next, sleep } => (canned, next, sleep),
        };
        let Some(frame) = canned.frames.get(*next) else { return Poll::Ready(None) };
        if !canned.gap.is_zero() && *next > 0 {
            let pause = pause.get_or_insert_with(|| Box::pin(sleep(canned.gap)));
            ready!(pause.as_mut().poll(cx));
        }
        *pause = None;
        *next += 1;
        Poll::Ready(Some(Ok(Frame::data(frame.clone()))))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Played(play) => play.is_end_stream(),
            Self::Canned { canned, next, .. } => *next >= canned.frames.len(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Played(play) => play.size_hint(),
            Self::Canned { canned, .. } => canned.length.map_or_else(SizeHint::default, SizeHint::with_exact),
        }
    }
}
