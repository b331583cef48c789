//! A provider row that speaks OpenAI's protocol.
//! <https://platform.openai.com/docs/api-reference/introduction>

use std::ops::Range;

use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use tokio::time::Instant;

use super::body::{OutBody, Sent};
use super::connect::{Lanes, broken_head, was_refused, why};
use super::failure::{Failure, Refusal};
use super::inbound::{self, Arriving, Encoded};
use super::places::{Places, none_left};
use super::refusal::{self, read_error};
use crate::call::Call;
use crate::config::{Dispatch, Metering, ProviderConfig, Secret};
use crate::ids::{AttemptId, ProviderId};
use crate::limits::{NAME_BYTES_MAX, REPLY_BYTES_MAX};
use crate::memory::HeldBytes;
use crate::plan::ModelRef;
use crate::prompt::edits::{self, Edit, EditName};
use crate::prompt::view::{UsageInStream, View};
use crate::wire::encoding::Encoding;
use crate::wire::openai_chat::ASK_FOR_USAGE_MEMBER;
use crate::wire::openai_reply::{self, Facts};
use crate::wire::vendors::{Dialect, output_limit_member};

/// Tells a client the provider's own id of the call, for support cases.
const PROVIDER_REQUEST_ID: HeaderName = HeaderName::from_static("x-farthing-provider-request-id");

/// Shortest value of a secret header that is looked for in what a provider says, in bytes: a tenant's name by reference
/// may well stand in an error.
const SECRET_BYTES_MIN: usize = 12;

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
    /// What a provider may have learnt of us and its callers must not: the key, and headers that are as good as one.
    secrets: Vec<Secret>,
    lanes: Lanes,
}

/// A request that is ready to leave.
pub struct Outbound {
    pieces: Vec<Bytes>,
    headers: HeaderMap,
    /// The names of the edits made, as in `x-farthing-edits`; empty when the bytes are untouched.
    pub edits: String,
    /// The usage chunk that the edit causes is to be withheld from the client.
    pub withhold_usage: bool,
    /// A provider that does as it is asked will report usage.
    pub usage_expected: bool,
}

impl Outbound {
    /// The body that leaves, in pieces.
    pub fn pieces(&self) -> &[Bytes] {
        &self.pieces
    }
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
        let mut headers = HeaderMap::new();
        if let Some(key) = &config.key
            && let Ok(mut bearer) = HeaderValue::try_from(format!("Bearer {}", key.reveal()))
        {
            bearer.set_sensitive(true);
            headers.insert(AUTHORIZATION, bearer);
        }
        for (name, value) in &config.headers {
            headers.insert(name.clone(), value.clone());
        }
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
            secrets: secrets(config),
            lanes: Lanes::new(config.dispatch.connect_timeout, tls, places),
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
    /// `output_limit` is what the provider is to keep, where that is less than the client or the model allows.
    pub fn prepare(&self, call: &Call, target: &ModelRef, output_limit: Option<u64>) -> Outbound {
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
        if let Some(limit) = output_limit {
            edits.extend(self.limit_edits(&call.body, view, limit));
        }
        Outbound {
            edits: edits::names(&edits),
            pieces: edits::splice(&call.body, &mut edits),
            headers: self.headers_for(call),
            withhold_usage,
            usage_expected: !view.stream || withhold_usage || matches!(view.usage_in_stream, UsageInStream::Asked),
        }
    }

    /// Lowers every higher limit that the client gave, and what is none, or gives one where it gave none.
    fn limit_edits(&self, body: &Bytes, view: &View, limit: u64) -> Vec<Edit> {
        let edit = |at, with: String| Edit { name: EditName::OutputLimit, at, with: with.into() };
        let [newer, older] = &view.output_limits_at;
        let member = output_limit_member(&self.vendor);
        let is_null = |at: &Range<usize>| body.get(at.clone()) == Some(b"null");
        let given: Vec<&Range<usize>> = [newer, older].into_iter().flatten().filter(|at| !is_null(at)).collect();
        if given.is_empty() {
            let null = if member == "max_tokens" { older } else { newer };
            let after_model = view.model_at.end;
            return vec![match null {
                Some(at) => edit(at.clone(), limit.to_string()),
                None => edit(after_model..after_model, format!(",\"{member}\":{limit}")),
            }];
        }
        // Some write whole numbers with a point or an exponent.
        let value = |at: &Range<usize>| std::str::from_utf8(body.get(at.clone())?).ok()?.parse::<f64>().ok();
        // Nothing, and less, is no limit to some.
        let is_kept = |value: f64| (1.0..=limit as f64).contains(&value);
        let higher = given.into_iter().filter(|at| !value(at).is_some_and(is_kept));
        higher.map(|at| edit(at.clone(), limit.to_string())).collect()
    }

    /// The row's own headers win over the caller's of the same name.
    fn headers_for(&self, call: &Call) -> HeaderMap {
        // Room for all of them, `accept`, the attempt's id, and what the HTTP client adds.
        let mut headers = HeaderMap::with_capacity(self.headers.len() + call.headers.len() + 4);
        for (name, value) in &call.headers {
            headers.append(name.clone(), value.clone());
        }
        headers.entry(ACCEPT).or_insert(HeaderValue::from_static("*/*"));
        for (name, value) in &self.headers {
            headers.insert(name.clone(), value.clone());
        }
        headers
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
        let request = self.request(outbound, attempt, sent.clone());
        let (client, place) = self.lanes.pick();
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
        let body = Arriving::new(body, place);
        if !head.status.is_success() {
            let json =
                tokio::time::timeout_at(deadline, read_error(&head.headers, body, held)).await.unwrap_or_default();
            return Err(Failure::Refused(self.refusal(head.status.as_u16(), &head.headers, json)));
        }
        let encoded = Encoding::of(&head.headers);
        let body = match is_type(&head.headers, "text/event-stream") {
            true if encoded == Ok(None) => Answered::Stream(body),
            true => return Err(Failure::Unreadable { what: "its stream is encoded, which we did not ask for" }),
            false => Answered::Whole(body, encoded),
        };
        Ok(Answer {
            status: head.status,
            provider_request_id: text_of(&head.headers, "x-request-id").filter(|id| self.is_id(id.as_bytes())),
            headers: self.pass_on(head.headers),
            body,
            held,
        })
    }

    /// Reads a whole answer to its end, and tells `seen` what it says, whatever becomes of it. Its memory is held
    /// until it has gone out.
    ///
    /// # Errors
    ///
    /// [`Failure`]; an error with a status of success is a refusal, unless an answer came with it.
    pub async fn read_whole(
        &self,
        (body, encoded): (Arriving, Encoded),
        headers: &HeaderMap,
        deadline: Instant,
        held: HeldBytes,
        seen: impl FnOnce(&Facts),
    ) -> Result<Bytes, Failure> {
        let read = inbound::read(body, encoded, REPLY_BYTES_MAX, held);
        let json = match tokio::time::timeout_at(deadline, read).await {
            Err(_) => return Err(Failure::Timeout { sent: true }),
            Ok(read) => read?,
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
        let said = json.as_deref().and_then(|json| openai_reply::read_as(json, self.dialect).ok());
        let used = said.filter(|facts| facts.usage.is_some()).map(Box::new);
        let refusal = Refusal { used, ..refusal::read(status, self.pass_on(headers.clone()), json) };
        if refusal.json.as_deref().is_some_and(|json| self.leaks(json)) { refusal.of_credential() } else { refusal }
    }

    /// Reads an error that came with a status of success, as a whole answer or as an event of a stream.
    pub fn refusal_in_success(&self, headers: &HeaderMap, json: Bytes) -> Refusal {
        let status = refusal::status_of(&json).unwrap_or(StatusCode::BAD_GATEWAY.as_u16());
        let mut refusal = self.refusal(status, headers, Some(json));
        refusal.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        refusal
    }

    /// Whether a text of the provider holds a secret of ours: such a text goes to nobody.
    fn leaks(&self, text: &[u8]) -> bool {
        let holds = |text: &[u8], secret: &str| memchr::memmem::find(text, secret.as_bytes()).is_some();
        if self.secrets.iter().any(|secret| holds(text, secret.reveal())) {
            return true;
        }
        if self.secrets.is_empty() || !text.contains(&b'\\') {
            return false;
        }
        // Some writers escape what need not be, such as `/`: written anew, both are spelt alike.
        let Ok(anew) = serde_json::from_slice::<serde_json::Value>(text).map(|json| json.to_string()) else {
            return false;
        };
        self.secrets.iter().any(|secret| {
            let spelt = serde_json::Value::from(secret.reveal()).to_string();
            holds(anew.as_bytes(), &spelt[1..spelt.len() - 1])
        })
    }

    /// The headers of a provider's answer that a client may see: rate limits, timings and versions, never our
    /// organisation, nor any that holds a secret of ours. Its id of the call goes under a name of ours, since
    /// `x-request-id` is our own id.
    fn pass_on(&self, mut headers: HeaderMap) -> HeaderMap {
        let id = headers.remove("x-request-id").filter(|id| self.is_id(id.as_bytes()));
        // Room for what is passed and for the dozen that we add.
        let mut passed = HeaderMap::with_capacity(headers.len() + 12);
        let mut headers = headers.into_iter().peekable();
        while let Some((name, mut value)) = headers.next() {
            // A name stands before the first of its values only.
            let Some(name) = name.filter(passes) else { continue };
            while let Some((_, more)) = headers.next_if(|(name, _)| name.is_none()) {
                if !self.leaks(value.as_bytes()) {
                    passed.append(name.clone(), value);
                }
                value = more;
            }
            if !self.leaks(value.as_bytes()) {
                passed.append(name, value);
            }
        }
        passed.extend(id.map(|id| (PROVIDER_REQUEST_ID, id)));
        passed
    }

    /// Whether this can be a provider's id of a call: one that is too long for the ledger, or that holds a secret of
    /// ours, is told to nobody else either.
    fn is_id(&self, id: &[u8]) -> bool {
        id.len() <= NAME_BYTES_MAX && !self.leaks(id)
    }

    /// Takes the body and the headers out of `outbound`: each attempt prepares its own.
    fn request(&self, outbound: &mut Outbound, attempt: AttemptId, sent: Sent) -> Request<OutBody> {
        let mut request = Request::new(OutBody::new(std::mem::take(&mut outbound.pieces), sent));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.chat_completions.clone();
        *request.headers_mut() = std::mem::take(&mut outbound.headers);
        if let Ok(id) = HeaderValue::from_str(attempt.spell(&mut [0; AttemptId::LENGTH_MAX])) {
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

/// Whether a header of a provider's answer is for its caller.
fn passes(name: &HeaderName) -> bool {
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
}

/// The row's key, and those of its headers that are secret and long enough not to be a word of any text.
fn secrets(config: &ProviderConfig) -> Vec<Secret> {
    let of_headers = config.headers.iter().map(|(_, value)| value).filter(|value| value.is_sensitive());
    let of_headers = of_headers.filter_map(|value| value.to_str().ok()).filter(|text| text.len() >= SECRET_BYTES_MIN);
    config.key.iter().cloned().chain(of_headers.map(|text| Secret::new(text.to_owned()))).collect()
}
