//! Writes replies: the provider's bytes, our headers, and errors in the caller's dialect.

use std::borrow::Cow;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use percent_encoding::{AsciiSet, utf8_percent_encode};
use serde::Serialize;

use super::admission::Permit;
use super::idempotency::{Lead, Recording, Told};
use crate::call::Attribution;
use crate::dialect::Dialect;
use crate::gateway::overheard::Overheard;
use crate::gateway::{Decision, Reply, ReplyBody};
use crate::ids::RequestId;
use crate::meter::opaque::{Opaque, Torn};
use crate::meter::relay::Relay;
use crate::money::NanoUsd;
use crate::plan::Reason;
use crate::wire::errors::{ApiError, Code};

/// A whole reply goes out in frames of at most so many bytes, so that it waits here for a slow client of HTTP/2 and
/// not in its connection, where nobody would notice.
const WHOLE_FRAME_BYTES: usize = 128 << 10;

/// How long most reasons are at most, in bytes.
const REASON_BYTES: usize = 96;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Where Anthropic's SDKs look for the same.
const ANTHROPIC_REQUEST_ID: HeaderName = HeaderName::from_static("request-id");
const MODEL: HeaderName = HeaderName::from_static("x-farthing-model");
const TIER: HeaderName = HeaderName::from_static("x-farthing-tier");
const TASK: HeaderName = HeaderName::from_static("x-farthing-task");
const CONFIDENCE: HeaderName = HeaderName::from_static("x-farthing-confidence");
const POLICY: HeaderName = HeaderName::from_static("x-farthing-policy");
const WOULD_TIER: HeaderName = HeaderName::from_static("x-farthing-would-tier");
const WOULD_MODEL: HeaderName = HeaderName::from_static("x-farthing-would-model");
const WOULD_REASON: HeaderName = HeaderName::from_static("x-farthing-would-reason");
const REASON: HeaderName = HeaderName::from_static("x-farthing-reason");
const DROPPED: HeaderName = HeaderName::from_static("x-farthing-dropped");
const EDITS: HeaderName = HeaderName::from_static("x-farthing-edits");
const COST: HeaderName = HeaderName::from_static("x-farthing-cost-usd");
const BUDGET_RESETS: HeaderName = HeaderName::from_static("x-farthing-budget-resets");
const SAVED: HeaderName = HeaderName::from_static("x-farthing-saved-usd");
const REPLAYED: HeaderName = HeaderName::from_static("x-farthing-replayed");
const COST_SOURCE: HeaderName = HeaderName::from_static("x-farthing-cost-source");

/// The body of every reply. It keeps the request's permit until the last byte is out or the client is gone.
pub struct ReplyStream {
    // First, so that it is back when the log has the request.
    _permit: Option<Permit>,
    kind: Kind,
}

enum Kind {
    Whole(Bytes),
    Relay(Box<Relay>),
    /// A stream that is written down as it goes by.
    Recorded(Box<Relay>, Option<Box<Recording>>),
    /// What nobody here reads.
    Opaque(Box<Opaque>),
    /// The same, listened to.
    Overheard(Box<Overheard>),
}

impl Kind {
    fn is_stream(&self) -> bool {
        !matches!(self, Self::Whole(_) | Self::Opaque(_) | Self::Overheard(_))
    }
}

impl Body for ReplyStream {
    type Data = Bytes;
    type Error = Torn;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Torn>>> {
        match &mut self.kind {
            Kind::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Kind::Whole(bytes) => {
                let length = bytes.len().min(WHOLE_FRAME_BYTES);
                Poll::Ready(Some(Ok(Frame::data(bytes.split_to(length)))))
            }
            Kind::Relay(relay) => Pin::new(&mut **relay).poll_frame(cx).map_err(never),
            Kind::Opaque(opaque) => Pin::new(&mut **opaque).poll_frame(cx),
            Kind::Overheard(overheard) => Pin::new(&mut **overheard).poll_frame(cx),
            Kind::Recorded(relay, recording) => {
                let frame = ready!(Pin::new(&mut **relay).poll_frame(cx));
                let piece = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref());
                if let Some(piece) = piece {
                    *recording = recording.take().and_then(|recording| recording.push(piece));
                }
                // At once, and not when the connection asks for more: the client may have all it waits for.
                if relay.is_told()
                    && let Some(recording) = recording.take()
                {
                    recording.keep();
                }
                Poll::Ready(frame.map(|frame| frame.map_err(never)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Whole(bytes) => bytes.is_empty(),
            Kind::Opaque(opaque) => opaque.is_end_stream(),
            Kind::Overheard(overheard) => overheard.is_end_stream(),
            Kind::Relay(_) | Kind::Recorded(..) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Opaque(opaque) => opaque.size_hint(),
            Kind::Overheard(overheard) => overheard.size_hint(),
            Kind::Relay(_) | Kind::Recorded(..) => SizeHint::default(),
        }
    }
}

fn never(impossible: Infallible) -> Torn {
    match impossible {}
}

/// Whom a reply is for.
#[derive(Clone, Copy, Debug)]
pub struct To {
    /// The request.
    pub id: RequestId,
    /// The dialect in which it is told errors.
    pub dialect: Dialect,
}

impl To {
    fn name(self, headers: &mut HeaderMap) {
        headers.insert(REQUEST_ID, spelt(self.id));
        if self.dialect == Dialect::Messages {
            headers.insert(ANTHROPIC_REQUEST_ID, spelt(self.id));
        }
    }

    fn error(self, error: &ApiError) -> Bytes {
        error.body(self.dialect, Some(self.id)).into()
    }
}

/// A reply of the gateway.
pub fn reply(to: To, reply: Reply, asides: &str, permit: Permit) -> Response<ReplyStream> {
    let Reply { status, headers, decision, body } = reply;
    let (kind, error) = match body {
        ReplyBody::Whole(json) => (Kind::Whole(json), None),
        ReplyBody::Stream(relay) => (Kind::Relay(relay), None),
        ReplyBody::Opaque(opaque) => (Kind::Opaque(opaque), None),
        ReplyBody::Overheard(overheard) => (Kind::Overheard(overheard), None),
        ReplyBody::Error(error) => (Kind::Whole(to.error(&error)), Some(error)),
    };
    let is_stream = kind.is_stream();
    let mut response = Response::new(ReplyStream { kind, _permit: Some(permit) });
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    let headers = response.headers_mut();
    if let Some(error) = &error {
        describe_error(headers, error);
    }
    if is_stream {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    }
    if let Some(decision) = decision {
        describe(headers, decision, asides);
    }
    to.name(headers);
    response
}

/// The first reply under an `Idempotency-Key`: written down for those who repeat the request, if it comes to its end.
pub fn first_reply(to: To, reply: Reply, asides: &str, permit: Permit, lead: Lead) -> Response<ReplyStream> {
    let mut response = self::reply(to, reply, asides, permit);
    let (status, headers) = (response.status(), response.headers().clone());
    if !status.is_success() {
        return response;
    }
    let kind = &mut response.body_mut().kind;
    *kind = match std::mem::replace(kind, Kind::Whole(Bytes::new())) {
        Kind::Relay(relay) => Kind::Recorded(relay, Some(Box::new(lead.record(to.id, status, headers)))),
        Kind::Whole(body) => {
            // A copy: what is in flight has a bound of its own.
            lead.keep(Told { id: to.id, status, headers, body: Bytes::copy_from_slice(&body) });
            Kind::Whole(body)
        }
        kept @ (Kind::Recorded(..) | Kind::Opaque(_) | Kind::Overheard(_)) => kept,
    };
    response
}

/// What another request was answered with, which costs nothing. `body` is the one that was told.
pub fn replay(to: To, told: &Told, body: Bytes, permit: Permit) -> Response<ReplyStream> {
    let mut response = Response::new(ReplyStream { kind: Kind::Whole(body), _permit: Some(permit) });
    *response.status_mut() = told.status;
    *response.headers_mut() = told.headers.clone();
    let headers = response.headers_mut();
    for about_the_first in [COST_SOURCE, SAVED] {
        headers.remove(about_the_first);
    }
    set(headers, COST, NanoUsd(0).decimal().as_str());
    headers.insert(REPLAYED, spelt(told.id));
    to.name(headers);
    response
}

/// Which claims did not count, and why; behind the reason of the plan.
pub fn asides(who: &Attribution) -> String {
    let (tier, unread): (Vec<&str>, Vec<&str>) = who.unread.iter().partition(|claim| **claim == "tier");
    let mut asides = String::new();
    for (why, claims) in [("not granted: ", &who.ignored[..]), ("not readable: ", &unread), ("unknown ", &tier)] {
        if !claims.is_empty() {
            asides = format!("{asides}; {why}{}", claims.join(", "));
        }
    }
    asides
}

/// An error before the gateway was reached.
pub fn error(to: To, error: &ApiError) -> Response<ReplyStream> {
    let mut response = whole(to.id, to.error(error), HeaderValue::from_static("application/json"));
    to.name(response.headers_mut());
    *response.status_mut() = StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    describe_error(response.headers_mut(), error);
    if error.code == Code::InvalidRequest {
        // Where it ends is in doubt, and so is what follows.
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// A JSON document of ours.
pub fn json<T: Serialize>(id: RequestId, value: &T) -> Response<ReplyStream> {
    let body = serde_json::to_vec(value).unwrap_or_default();
    whole(id, body.into(), HeaderValue::from_static("application/json"))
}

/// The answer to a browser that asks whether it may ask.
pub fn allowed(id: RequestId, headers: HeaderMap) -> Response<ReplyStream> {
    let mut response = Response::new(ReplyStream { kind: Kind::Whole(Bytes::new()), _permit: None });
    *response.status_mut() = StatusCode::NO_CONTENT;
    *response.headers_mut() = headers;
    response.headers_mut().insert(REQUEST_ID, spelt(id));
    response
}

/// The same without its body, whose length is still told.
pub fn head_only(mut response: Response<ReplyStream>) -> Response<ReplyStream> {
    if let Some(length) = response.body().size_hint().exact() {
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    response.body_mut().kind = Kind::Whole(Bytes::new());
    response
}

/// A word of ours.
pub fn text(id: RequestId, text: &'static str) -> Response<ReplyStream> {
    whole(id, Bytes::from_static(text.as_bytes()), HeaderValue::from_static("text/plain; charset=utf-8"))
}

fn whole(id: RequestId, body: Bytes, content_type: HeaderValue) -> Response<ReplyStream> {
    let mut response = Response::new(ReplyStream { kind: Kind::Whole(body), _permit: None });
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response.headers_mut().insert(REQUEST_ID, spelt(id));
    response
}

fn describe_error(headers: &mut HeaderMap, error: &ApiError) {
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(methods) = error.allow {
        headers.insert(ALLOW, HeaderValue::from_static(methods));
    }
    if let Some(seconds) = error.retry_after {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    if let Some(resets_at) = error.resets_ms.and_then(|at| jiff::Timestamp::from_millisecond(at).ok()) {
        set(headers, BUDGET_RESETS, &resets_at.to_string());
    }
    if let Some(should_retry) = error.should_retry {
        // OpenAI's and Anthropic's SDKs obey it before they look at the status.
        headers.insert("x-should-retry", HeaderValue::from_static(if should_retry { "true" } else { "false" }));
    }
}

/// What was decided, why, and what it cost.
fn describe(headers: &mut HeaderMap, decision: Decision, asides: &str) {
    if let Some(model) = &decision.model {
        set_owned(headers, MODEL, model.spelt());
    }
    let plan = &*decision.plan;
    if let Some(tier) = plan.tier {
        headers.insert(TIER, HeaderValue::from_static(tier.as_str()));
    }
    if let Some(finding) = &plan.finding {
        set(headers, POLICY, &finding.policy);
        set_owned(headers, CONFIDENCE, share(finding.confidence_ppm));
        if let Some(task) = &finding.task {
            set(headers, TASK, task);
        }
    }
    if let Some(would) = &plan.would {
        set_owned(headers, WOULD_MODEL, would.model.spelt());
        if let Some(tier) = would.tier {
            headers.insert(WOULD_TIER, HeaderValue::from_static(tier.as_str()));
        }
        describe_reason(headers, WOULD_REASON, &would.reason, "");
    }
    describe_reason(headers, REASON, &plan.reason, asides);
    if !decision.edits.is_empty() {
        set_owned(headers, EDITS, decision.edits);
    }
    if let Some(dropped) = decision.dropped {
        set_owned(headers, DROPPED, dropped);
    }
    if let Some(cost) = decision.cost {
        match cost.exact {
            Some(cost) => set(headers, COST, cost.decimal().as_str()),
            None => set(headers, COST, "unknown"),
        }
        if let Some(saved) = decision.saved {
            set(headers, SAVED, saved.decimal().as_str());
        }
        if decision.estimated {
            headers.insert(COST_SOURCE, HeaderValue::from_static("estimated"));
        }
    }
}

/// Why, and what is to be said beside. Prose of a policy that cannot stand in a header is left out.
fn describe_reason(headers: &mut HeaderMap, name: HeaderName, reason: &Reason, asides: &str) {
    if let (Cow::Borrowed(word), "") = (reason.wording(), asides) {
        headers.insert(name, HeaderValue::from_static(word));
        return;
    }
    let words = words_of(reason, asides);
    let can_stand = !words.bytes().any(|byte| byte.is_ascii_control());
    let bare = || words_of(&Reason { because: None, ..reason.clone() }, asides);
    set_owned(headers, name, if can_stand { words } else { bare() });
}

fn words_of(reason: &Reason, asides: &str) -> String {
    // Room for most: one that grows from nothing is moved some four times.
    let mut words = String::with_capacity(REASON_BYTES);
    write!(words, "{reason}{asides}").expect("a text takes what is written");
    words
}

/// Millionths as a share with two decimals.
fn share(ppm: u32) -> String {
    let hundredths = ppm.saturating_add(5_000) / 10_000;
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

/// Most clients read headers as Latin-1: what is not ASCII is percent-encoded in UTF-8, and `%` itself where that is done.
/// <https://www.rfc-editor.org/rfc/rfc9110#section-5.5>, <https://www.rfc-editor.org/rfc/rfc3986#section-2.1>
const ENCODED: &AsciiSet = &AsciiSet::EMPTY.add(b'%');

/// Names that cannot stand in a header (those with control characters) are left out.
fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if !value.is_ascii() {
        return set_owned(headers, name, value.to_owned());
    }
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// The same of a value that nobody else needs.
fn set_owned(headers: &mut HeaderMap, name: HeaderName, value: String) {
    let value = if value.is_ascii() { value } else { utf8_percent_encode(&value, ENCODED).to_string() };
    if let Ok(value) = HeaderValue::from_maybe_shared(Bytes::from(value)) {
        headers.insert(name, value);
    }
}

fn spelt(id: RequestId) -> HeaderValue {
    let mut buffer = [0; uuid::fmt::Hyphenated::LENGTH];
    HeaderValue::from_str(id.0.as_hyphenated().encode_lower(&mut buffer))
        .expect("digits and hyphens may stand in a header")
}
