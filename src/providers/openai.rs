//! A provider row that speaks OpenAI's protocol.
//! <https://platform.openai.com/docs/api-reference/introduction>

use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use tokio::time::Instant;

use super::body::{OutBody, Sent};
use super::connect::{HttpClient, client, why};
use super::failure::{Failure, Refusal};
use super::refusal::{self, read_error};
use crate::call::Call;
use crate::config::{Dispatch, Metering, ProviderConfig, Secret};
use crate::ids::{AttemptId, ProviderId};
use crate::limits::{NAME_BYTES_MAX, REPLY_BYTES_MAX};
use crate::plan::ModelRef;
use crate::prompt::edits::{self, Edit, EditName};
use crate::prompt::view::UsageInStream;
use crate::wire::openai_chat::ASK_FOR_USAGE_MEMBER;
use crate::wire::openai_reply::{self, Facts};
use crate::wire::vendors::Dialect;

/// Tells a client the provider's own id of the call, for support cases.
const PROVIDER_REQUEST_ID: HeaderName = HeaderName::from_static("x-farthing-provider-request-id");

/// One row: its clients, credential and rules.
pub struct Row {
    id: ProviderId,
    vendor: String,
    dialect: Dialect,
    discount_ppm: u32,
    dispatch: Dispatch,
    metering: Metering,
    chat_completions: Uri,
    headers: HeaderMap,
    key: Option<Secret>,
    client: HttpClient,
}

/// A request that is ready to leave.
pub struct Outbound {
    pieces: Vec<Bytes>,
    headers: HeaderMap,
    /// The names of the edits made, as in `x-farthing-edits`; empty when the bytes are untouched.
    pub edits: String,
    /// The usage chunk that the edit causes is to be withheld from the client.
    pub withhold_usage: bool,
}

/// A provider's answer with a status of success, its head read and its body still to come.
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// The headers that may be passed on.
    pub headers: HeaderMap,
    /// The provider's own id of the call.
    pub provider_request_id: Option<String>,
    /// The body.
    pub body: Answered,
}

/// The two kinds of bodies.
pub enum Answered {
    /// Server-sent events.
    Stream(Incoming),
    /// One JSON object, not yet read.
    Whole(Incoming),
}

impl Row {
    /// Prepares a row; nothing is connected yet.
    pub fn new(config: &ProviderConfig) -> Self {
        let mut headers = HeaderMap::new();
        if let Some(key) = &config.key
            && let Ok(mut bearer) = HeaderValue::try_from(format!("Bearer {}", key.reveal()))
        {
            bearer.set_sensitive(true);
            headers.insert(AUTHORIZATION, bearer);
        }
        headers.extend(config.headers.iter().cloned());
        // A compressed reply could not be metered as it goes by.
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let tls = config.base_url.scheme_str() == Some("https");
        Self {
            id: config.id.clone(),
            vendor: config.vendor.clone(),
            dialect: Dialect::of(&config.vendor),
            discount_ppm: config.discount_ppm,
            dispatch: config.dispatch,
            metering: config.metering,
            chat_completions: under(&config.base_url, "/chat/completions"),
            headers,
            key: config.key.clone(),
            client: client(config.dispatch.connect_timeout, tls),
        }
    }

    /// Its name.
    pub fn id(&self) -> &ProviderId {
        &self.id
    }

    /// The first half of its models' price-book keys.
    pub fn vendor(&self) -> &str {
        &self.vendor
    }

    /// What its replies mean by their words.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Price reduction in millionths.
    pub fn discount_ppm(&self) -> u32 {
        self.discount_ppm
    }

    /// Retries, timeouts and the circuit.
    pub fn dispatch(&self) -> &Dispatch {
        &self.dispatch
    }

    /// Makes the request that leaves for `target`: declared edits, our credential, the headers that may pass.
    pub fn prepare(&self, call: &Call, target: &ModelRef) -> Outbound {
        let view = &call.facts.view;
        let mut edits = Vec::new();
        if view.model != target.model.as_str() {
            edits.push(Edit {
                name: EditName::Model,
                at: view.model_at.clone(),
                with: json_string(target.model.as_str()),
            });
        }
        let asks_usage = view.stream && self.metering == Metering::Inject;
        let usage = if asks_usage { usage_edit(&view.usage_in_stream, view.model_at.end) } else { None };
        let withhold_usage = usage.is_some();
        edits.extend(usage);
        Outbound {
            edits: edits::names(&edits),
            pieces: edits::splice(&call.body, &mut edits),
            headers: self.headers_for(call),
            withhold_usage,
        }
    }

    /// The row's own headers win over the caller's of the same name.
    fn headers_for(&self, call: &Call) -> HeaderMap {
        // Room for all of them, `accept`, the attempt's id, and what the client adds.
        let mut headers = HeaderMap::with_capacity(self.headers.len() + call.headers.len() + 4);
        headers.extend(self.headers.iter().map(|(name, value)| (name.clone(), value.clone())));
        for (name, value) in call.headers.iter().filter(|(name, _)| !self.headers.contains_key(name)) {
            headers.append(name.clone(), value.clone());
        }
        headers.entry(ACCEPT).or_insert(HeaderValue::from_static("*/*"));
        headers
    }

    /// Sends what was prepared to the provider and waits for the head of its answer, until `deadline` at the latest.
    ///
    /// # Errors
    ///
    /// [`Failure`]; an error status is read to its end (within bounds) first.
    pub async fn call(
        &self,
        outbound: &mut Outbound,
        attempt: AttemptId,
        deadline: Instant,
        sent: Sent,
    ) -> Result<Answer, Failure> {
        let request = self.request(outbound, attempt, sent.clone());
        let response = match tokio::time::timeout_at(deadline, self.client.request(request)).await {
            Err(_) => return Err(Failure::Timeout { sent: !sent.withhold() }),
            Ok(Err(error)) if error.is_connect() => return Err(Failure::Connect { why: why(&error) }),
            Ok(Err(_)) => return Err(Failure::Reset { sent: !sent.withhold() }),
            Ok(Ok(response)) => response,
        };
        let (head, body) = response.into_parts();
        if !head.status.is_success() {
            let json = tokio::time::timeout_at(deadline, read_error(&head.headers, body)).await.unwrap_or_default();
            return Err(Failure::Refused(self.refusal(head.status.as_u16(), &head.headers, json)));
        }
        let is_stream = is_type(&head.headers, "text/event-stream");
        Ok(Answer {
            status: head.status,
            headers: pass_on(&head.headers),
            provider_request_id: text_of(&head.headers, "x-request-id").filter(|id| is_id(id.as_bytes())),
            body: if is_stream { Answered::Stream(body) } else { Answered::Whole(body) },
        })
    }

    /// Reads a whole answer to its end, and tells `seen` what it says, whatever becomes of it.
    ///
    /// # Errors
    ///
    /// [`Failure`]; an error with a status of success is a refusal, unless an answer came with it.
    pub async fn read_whole(
        &self,
        body: Incoming,
        headers: &HeaderMap,
        deadline: Instant,
        seen: impl FnOnce(&Facts),
    ) -> Result<Bytes, Failure> {
        let limited = Limited::new(body, REPLY_BYTES_MAX);
        let json = match tokio::time::timeout_at(deadline, limited.collect()).await {
            Err(_) => return Err(Failure::Timeout { sent: true }),
            Ok(Err(error)) if error.is::<LengthLimitError>() => {
                return Err(Failure::Unreadable { what: "it is too large" });
            }
            Ok(Err(_)) => return Err(Failure::Reset { sent: true }),
            Ok(Ok(read)) => read.to_bytes(),
        };
        let facts = openai_reply::read_as(&json, self.dialect)
            .map_err(|_| Failure::Unreadable { what: "it is not a JSON object" })?;
        seen(&facts);
        match facts {
            Facts { error: false, .. } => Ok(json),
            Facts { usage: None, choices: 0, .. } => Err(Failure::Refused(self.refusal_in_success(headers, json))),
            // It was produced, so it is billed, and asking again would be billed again.
            _ => Err(Failure::Unreadable { what: "it is an answer and an error at once" }),
        }
    }

    /// Reads this provider's error.
    pub fn refusal(&self, status: u16, headers: &HeaderMap, json: Option<Bytes>) -> Refusal {
        let refusal = refusal::read(status, pass_on(headers), json);
        if refusal.json.as_deref().is_some_and(|json| self.leaks_key(json)) { refusal.of_credential() } else { refusal }
    }

    /// Reads an error that came with a status of success, as a whole answer or as an event of a stream.
    pub fn refusal_in_success(&self, headers: &HeaderMap, json: Bytes) -> Refusal {
        let status = refusal::status_of(&json).unwrap_or(StatusCode::BAD_GATEWAY.as_u16());
        let mut refusal = self.refusal(status, headers, Some(json));
        refusal.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        refusal
    }

    /// Whether a text of the provider holds our key: such a text goes to nobody.
    fn leaks_key(&self, text: &[u8]) -> bool {
        let Some(key) = self.key.as_ref().map(Secret::reveal) else { return false };
        let holds = |text: &[u8], key: &str| memchr::memmem::find(text, key.as_bytes()).is_some();
        // Some writers escape what need not be, such as `/`: written anew, both are spelt alike.
        let spelt_anew = || {
            let json = serde_json::from_slice::<serde_json::Value>(text).ok()?.to_string();
            let key = serde_json::Value::from(key).to_string();
            Some(holds(json.as_bytes(), &key[1..key.len() - 1]))
        };
        holds(text, key) || (text.contains(&b'\\') && spelt_anew().unwrap_or_default())
    }

    /// Takes the body and the headers out of `outbound`: each attempt prepares its own.
    fn request(&self, outbound: &mut Outbound, attempt: AttemptId, sent: Sent) -> Request<OutBody> {
        let mut request = Request::new(OutBody::new(std::mem::take(&mut outbound.pieces), sent));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.chat_completions.clone();
        *request.headers_mut() = std::mem::take(&mut outbound.headers);
        if let Ok(id) = HeaderValue::try_from(attempt.to_string()) {
            request.headers_mut().insert(HeaderName::from_static("x-client-request-id"), id);
        }
        request
    }
}

fn under(base: &Uri, path: &str) -> Uri {
    let mut parts = base.clone().into_parts();
    let prefix = base.path().trim_end_matches('/');
    parts.path_and_query = PathAndQuery::try_from(format!("{prefix}{path}")).ok();
    Uri::from_parts(parts).unwrap_or_else(|_| base.clone())
}

fn json_string(text: &str) -> Bytes {
    Bytes::from(serde_json::Value::from(text).to_string())
}

fn usage_edit(usage: &UsageInStream, after_model: usize) -> Option<Edit> {
    let (at, with) = match usage {
        UsageInStream::Asked => return None,
        UsageInStream::Unsaid => (after_model..after_model, ASK_FOR_USAGE_MEMBER),
        UsageInStream::Declined { at, with } => (at.clone(), *with),
    };
    Some(Edit { name: EditName::Usage, at, with: Bytes::from_static(with.as_bytes()) })
}

pub(super) fn text_of(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

pub(super) fn is_type(headers: &HeaderMap, wanted: &str) -> bool {
    let kind = headers.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    kind.get(..wanted.len()).is_some_and(|kind| kind.eq_ignore_ascii_case(wanted.as_bytes()))
}

/// Whether this can be a provider's id of a call: one that is too long for the ledger is told to nobody else either.
fn is_id(id: &[u8]) -> bool {
    id.len() <= NAME_BYTES_MAX
}

/// The headers of a provider's answer that a client may see: rate limits, timings and versions, never our organisation.
/// Its id of the call goes under a name of ours, since `x-request-id` is our own id.
fn pass_on(headers: &HeaderMap) -> HeaderMap {
    let passes = |name: &HeaderName| {
        let name = name.as_str();
        name.starts_with("x-ratelimit-")
            || matches!(
                name,
                "content-type"
                    | "retry-after"
                    | "retry-after-ms"
                    | "x-should-retry"
                    | "openai-processing-ms"
                    | "openai-version"
                    | "openai-model"
            )
    };
    let passed = headers.iter().filter(|(name, _)| passes(name)).map(|(name, value)| (name.clone(), value.clone()));
    let id = headers.get("x-request-id").filter(|id| is_id(id.as_bytes())).map(|id| (PROVIDER_REQUEST_ID, id.clone()));
    passed.chain(id).collect()
}
