//! A provider row that can be called: its connections, its credential, and what may be told of what it answers.

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use tokio::time::Instant;

use super::accesses::{Access, Accesses};
use super::auth::{self, Secrets};
use super::body::{OutBody, Sent};
use super::connect::{broken_head, was_refused, why};
use super::failure::{Failure, Refusal};
use super::inbound::{self, Arriving, Encoded};
use super::paths::Endpoint;
use super::places::{Places, none_left};
use super::prepare::Outbound;
use super::refusal::{self, read_error};
use crate::config::{AfterCut, Dispatch, Metering, ProviderConfig};
use crate::dialect::Dialect;
use crate::ids::{AttemptId, ProviderId};
use crate::limits::{
    EMBEDDINGS_BYTES_MAX, NAME_BYTES_MAX, PROVIDER_ERROR_BYTES_MAX, READ_AT_ONCE_BYTES_MAX, REPLY_BYTES_MAX,
};
use crate::memory::HeldBytes;
use crate::prompt::json::JsonError;
use crate::reply::facts::Facts;
use crate::translate::Caching;
use crate::translate::effort::is_openai_reasoner;
use crate::translate::stream::UsageChunk;
use crate::wire::encoding::Encoding;
use crate::wire::errors::said;
use crate::wire::tap;
use crate::wire::vendors::{Habits, Takes};

/// Tells a client the provider's own id of the call, for support cases.
const PROVIDER_REQUEST_ID: HeaderName = HeaderName::from_static("x-farthing-provider-request-id");

/// One row: its clients, credential and rules.
pub struct Row {
    id: ProviderId,
    vendor: String,
    dialect: Dialect,
    speaks: Vec<Dialect>,
    habits: Habits,
    discount_ppm: u32,
    dispatch: Dispatch,
    metering: Metering,
    after_cut: AfterCut,
    accesses: Accesses,
    caching: Option<Caching>,
    headers: HeaderMap,
    secrets: Secrets,
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
    /// What will hold the memory of what is read of it.
    pub held: HeldBytes,
}

/// The two kinds of bodies.
pub enum Answered {
    /// Server-sent events.
    Stream(Arriving),
    /// One JSON object, not yet read, and how it is encoded.
    Whole(Arriving, Encoded),
}

impl Row {
    /// Prepares a row; nothing is connected yet.
    pub fn new(config: &ProviderConfig, places: Places) -> Self {
        let dialect = config.dialect;
        let mut headers = HeaderMap::new();
        auth::set(&mut headers, config);
        // A compressed reply could not be metered as it goes by.
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Self {
            id: config.id.clone(),
            vendor: config.vendor.clone(),
            dialect,
            speaks: config.speaks.clone(),
            habits: Habits::of(&config.vendor),
            discount_ppm: config.discount_ppm,
            dispatch: config.dispatch,
            metering: config.metering,
            after_cut: config.after_cut,
            accesses: Accesses::of(config, &places),
            caching: config.caching,
            headers,
            secrets: Secrets::of(config),
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

    /// Whether it can be called in that dialect.
    pub fn speaks(&self, dialect: Dialect) -> bool {
        self.speaks.contains(&dialect)
    }

    /// The dialect in which a model of its is called for a client who speaks `client`: the client's own wherever it has that.
    /// OpenAI's models that reason keep their thoughts, and take tools beside them, in Responses alone; everybody else is
    /// called as the row's protocol has it. <https://platform.openai.com/docs/guides/reasoning>
    pub fn called_in(&self, client: Dialect, model: &str) -> Dialect {
        let is_openai = Takes::of(&self.vendor).is_openai();
        match self.dialect {
            _ if self.speaks(client) => client,
            Dialect::Chat if is_openai && is_openai_reasoner(model) && self.speaks(Dialect::Responses) => {
                Dialect::Responses
            }
            dialect => dialect,
        }
    }

    /// The dialect of its protocol.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// What its replies mean by their words.
    pub fn habits(&self) -> Habits {
        self.habits
    }

    /// Price reduction in millionths.
    pub fn discount_ppm(&self) -> u32 {
        self.discount_ppm
    }

    /// What it bills of a stream that was left.
    pub fn after_cut(&self) -> AfterCut {
        self.after_cut
    }

    /// Whether usage may be asked for by an edit.
    pub(super) fn metering(&self) -> Metering {
        self.metering
    }

    /// Whether it is told what to cache by a client that does not say. Clients of Messages have words for it; for all others
    /// it is told unless the row says otherwise.
    pub fn caching(&self, client: Dialect) -> Caching {
        let unsaid = if client == Dialect::Messages { Caching::AsMarked } else { Caching::Automatic };
        self.caching.unwrap_or(unsaid)
    }

    /// Whether a stream that was written for it asks for its usage.
    pub fn usage_of_streams(&self) -> UsageChunk {
        match self.metering {
            Metering::Inject => UsageChunk::Asked,
            Metering::Observe | Metering::Reported => UsageChunk::Unasked,
        }
    }

    /// Whether its streams tell their usage, asked or not.
    pub fn reports_unasked(&self) -> bool {
        self.metering == Metering::Reported
    }

    /// The headers of every call.
    pub(super) fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The ways into it: which one a call takes, and what is known of them.
    pub fn accesses(&self) -> &Accesses {
        &self.accesses
    }

    /// Retries, timeouts and the circuit.
    pub fn dispatch(&self) -> &Dispatch {
        &self.dispatch
    }

    /// Sends what was prepared to the provider and waits for the head of its answer, until `deadline` at the latest.
    /// What is read of it is `held`.
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
        held: HeldBytes,
    ) -> Result<Answer, Failure> {
        let access = self.accesses.get(outbound.access);
        let (method, uri) = place(access, outbound);
        if let Some(signer) = &access.signer {
            let signing = Box::pin(signer.sign(&method, &uri, &mut outbound.headers, &outbound.pieces));
            tokio::time::timeout_at(deadline, signing).await.unwrap_or(Err(Failure::Timeout { sent: false }))?;
        }
        access.show_key(&mut outbound.headers);
        let request = request((method, uri), outbound, attempt, sent.clone());
        let (client, place) = access.connect();
        let began = access.begins();
        let response = match tokio::time::timeout_at(deadline, client.request(request)).await {
            Err(_) => return Err(Failure::Timeout { sent: !sent.withhold() }),
            Ok(Err(error)) if error.is_connect() && none_left(&error) => return Err(Failure::NoDescriptor),
            Ok(Err(error)) if error.is_connect() => return Err(Failure::Connect { why: why(&error) }),
            Ok(Err(error)) if was_refused(&error) => return Err(Failure::Reset { sent: false }),
            Ok(Err(error)) => {
                let reset = Failure::Reset { sent: !sent.withhold() };
                return Err(broken_head(&error).map_or(reset, |what| Failure::Unreadable { what }));
            }
            Ok(Ok(response)) => response,
        };
        let (head, body) = response.into_parts();
        let bytes_max = match (head.status.is_success(), outbound.endpoint) {
            (false, _) => PROVIDER_ERROR_BYTES_MAX,
            (true, Endpoint::Embeddings) => EMBEDDINGS_BYTES_MAX,
            (true, _) => REPLY_BYTES_MAX,
        };
        let body = Arriving::new(body, place, bytes_max);
        if !head.status.is_success() {
            let json =
                tokio::time::timeout_at(deadline, read_error(&head.headers, body, held)).await.unwrap_or_default();
            let refusal = self.refusal(outbound.dialect, head.status.as_u16(), &head.headers, json);
            if let Some(signer) = access.signer.as_ref().filter(|_| head.status == StatusCode::UNAUTHORIZED) {
                signer.was_refused();
            }
            return Err(Failure::Refused(refusal));
        }
        let encoded = Encoding::of(&head.headers);
        let body = match is_type(&head.headers, "text/event-stream") {
            true if encoded == Ok(None) => {
                access.answered_since(began);
                Answered::Stream(body)
            }
            true => return Err(Failure::Unreadable { what: "its stream is encoded, which we did not ask for" }),
            false => Answered::Whole(body, encoded),
        };
        Ok(Answer {
            status: head.status,
            provider_request_id: text_of(&head.headers, request_id_in(outbound.dialect))
                .filter(|id| self.is_id(id.as_bytes())),
            headers: self.pass_on(outbound.dialect, head.headers),
            body,
            held,
        })
    }

    /// Reads a whole answer to its end, and tells `seen` what it says, whatever becomes of it. Its memory is held
    /// until it has gone out. It is in `dialect`.
    ///
    /// # Errors
    ///
    /// [`Failure`]; an error with a status of success is a refusal, unless an answer came with it. A response that failed and
    /// says what it used is one all the same.
    pub async fn read_whole(
        &self,
        (dialect, body, encoded): (Dialect, Arriving, Encoded),
        headers: &HeaderMap,
        deadline: Instant,
        held: HeldBytes,
        seen: impl FnOnce(&Facts),
    ) -> Result<Bytes, Failure> {
        let read = inbound::read(body, encoded, held);
        let json = match tokio::time::timeout_at(deadline, read).await {
            Err(_) => return Err(Failure::Timeout { sent: true }),
            Ok(read) => read?,
        };
        let facts = match json.len() <= READ_AT_ONCE_BYTES_MAX {
            true => tap::whole(&json, dialect, self.habits),
            false => Box::pin(read_aside(json.clone(), dialect, self.habits)).await,
        };
        let facts = facts.map_err(|_| Failure::Unreadable { what: "it is not a JSON object" })?;
        seen(&facts);
        match facts {
            Facts { error: false, .. } => Ok(json),
            Facts { usage: None, choices: 0, .. } => {
                Err(Failure::Refused(self.refusal_in_success(dialect, headers, json)))
            }
            // A response that failed is told as one, with what it used.
            _ if dialect == Dialect::Responses => Ok(json),
            // It was produced, so it is billed, and asking again would be billed again.
            _ => Err(Failure::Unreadable { what: "it is an answer and an error at once" }),
        }
    }

    /// Reads this provider's error, which is in `dialect`.
    pub fn refusal(&self, dialect: Dialect, status: u16, headers: &HeaderMap, json: Option<Bytes>) -> Refusal {
        let said = json.as_deref().and_then(|json| tap::whole(json, dialect, self.habits).ok());
        let used = said.filter(|facts| facts.usage.is_some()).map(Box::new);
        let refusal = Refusal { used, ..refusal::read(status, self.pass_on(dialect, headers.clone()), json, dialect) };
        if refusal.json.as_deref().is_some_and(|json| self.are_told_in(json)) {
            refusal.of_credential()
        } else {
            refusal
        }
    }

    /// Reads an error that came with a status of success, as a whole answer or as an event of a stream.
    pub fn refusal_in_success(&self, dialect: Dialect, headers: &HeaderMap, json: Bytes) -> Refusal {
        let status = said(&json, dialect).status.unwrap_or(StatusCode::BAD_GATEWAY.as_u16());
        let mut refusal = self.refusal(dialect, status, headers, Some(json));
        refusal.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        refusal
    }

    /// The headers of a provider's answer that a client may see: rate limits, timings and versions, never our
    /// organisation, nor any that holds a secret of ours. Its id of the call goes under a name of ours, since
    /// under its own stands our own id.
    fn pass_on(&self, dialect: Dialect, mut headers: HeaderMap) -> HeaderMap {
        let id = headers.remove(request_id_in(dialect)).filter(|id| self.is_id(id.as_bytes()));
        // Room for what is passed and for the dozen that we add.
        let mut passed = HeaderMap::with_capacity(headers.len() + 12);
        let mut headers = headers.into_iter().peekable();
        while let Some((name, mut value)) = headers.next() {
            // A name stands before the first of its values only.
            let Some(name) = name.filter(passes) else { continue };
            while let Some((_, more)) = headers.next_if(|(name, _)| name.is_none()) {
                if !self.are_told_in(value.as_bytes()) {
                    passed.append(name.clone(), value);
                }
                value = more;
            }
            if !self.are_told_in(value.as_bytes()) {
                passed.append(name, value);
            }
        }
        passed.extend(id.map(|id| (PROVIDER_REQUEST_ID, id)));
        passed
    }

    /// Whether this can be a provider's id of a call: one that is too long for the ledger, or that holds a secret of
    /// ours, is told to nobody else either.
    fn is_id(&self, id: &[u8]) -> bool {
        id.len() <= NAME_BYTES_MAX && !self.are_told_in(id)
    }

    /// Whether a text of the provider holds what shows it who we are.
    pub(super) fn are_told_in(&self, text: &[u8]) -> bool {
        self.secrets.are_in(text) || self.accesses.tokens_are_in(text)
    }
}

/// How and where a call goes.
fn place(access: &Access, outbound: &Outbound) -> (Method, Uri) {
    match &outbound.elsewhere {
        None => (Method::POST, access.paths.to(outbound.endpoint, outbound.dialect, outbound.beta).clone()),
        Some(elsewhere) => (elsewhere.method.clone(), access.paths.elsewhere(&elsewhere.path)),
    }
}

/// Takes the body and the headers out of `outbound`: each attempt prepares its own.
fn request((method, uri): (Method, Uri), outbound: &mut Outbound, attempt: AttemptId, sent: Sent) -> Request<OutBody> {
    let mut request = Request::new(OutBody::new(outbound.take_pieces(), sent));
    (*request.method_mut(), *request.uri_mut()) = (method, uri);
    if let Some(elsewhere) = outbound.elsewhere.take() {
        request.body_mut().upload(elsewhere.upload);
    }
    *request.headers_mut() = std::mem::take(&mut outbound.headers);
    if let Ok(id) = HeaderValue::from_str(attempt.spell(&mut [0; AttemptId::LENGTH_MAX])) {
        request.headers_mut().insert(HeaderName::from_static("x-client-request-id"), id);
    }
    request
}

/// Reads what would hold a thread that serves for too long.
async fn read_aside(json: Bytes, dialect: Dialect, habits: Habits) -> Result<Facts, JsonError> {
    let read = tokio::task::spawn_blocking(move || tap::whole(&json, dialect, habits));
    read.await.unwrap_or(Err(JsonError { what: "reading broke off", at: 0 }))
}

pub(super) fn text_of(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

pub(super) fn is_type(headers: &HeaderMap, wanted: &str) -> bool {
    let kind = headers.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    kind.get(..wanted.len()).is_some_and(|kind| kind.eq_ignore_ascii_case(wanted.as_bytes()))
}

/// The header in which a provider tells its id of a call.
fn request_id_in(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Chat | Dialect::Responses => "x-request-id",
        Dialect::Messages => "request-id",
    }
}

/// Whether a header of a provider's answer is for its caller.
fn passes(name: &HeaderName) -> bool {
    let name = name.as_str();
    name.starts_with("x-ratelimit-")
        || name.starts_with("anthropic-ratelimit-")
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
}
