//! The request that leaves: declared edits spliced into the original bytes, our credential, the headers that may pass.
//!
//! Bytes that need no edit are the client's own, in the client's own memory. What is edited, and under which name it is
//! declared, is here and nowhere else. A call that is translated leaves in a body that was written for it; what is spliced
//! into that is a lower output limit, if anything.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method};

use super::paths::Endpoint;
use super::row::Row;
use super::upload::Upload;
use crate::call::{Call, Surface};
use crate::config::Metering;
use crate::dialect::Dialect;
use crate::plan::ModelRef;
use crate::prompt::edits::{self, Edit, EditName};
use crate::prompt::view::{UsageInStream, View};
use crate::translate::Dropped;
use crate::translate::messages::caching;
use crate::wire::body::BodyError;
use crate::wire::openai_chat::ASK_FOR_USAGE_MEMBER;
use crate::wire::vendors::output_limit_member;
use crate::wire::{messages_request, openai_chat, responses_request};

/// What is asked for of Anthropic's where the client names no version; its API wants one.
/// <https://platform.claude.com/docs/en/api/versioning>
pub(super) const ANTHROPIC_VERSION: HeaderValue = HeaderValue::from_static("2023-06-01");

/// A call in the words of a target, before money is held for it: what leaves, but for a lower output limit, which nobody
/// reads as input.
pub struct Worded {
    dialect: Dialect,
    edits: Vec<Edit>,
    withhold_usage: bool,
    bytes: usize,
    translated: Option<Arc<Translated>>,
}

/// What leaves of a call to a target that speaks another dialect than the client. Made once for all tries of the target.
#[derive(Debug)]
pub struct Translated {
    /// The target's dialect.
    pub dialect: Dialect,
    /// The body.
    pub body: Bytes,
    /// What of the client's is not in it.
    pub dropped: Dropped,
    /// It says what is to be cached, which its client has no words for.
    pub caches: bool,
    /// The output limit that it has for want of one of the client's.
    pub given_limit: Option<u64>,
    /// A stream's provider is asked for its usage, or tells it unasked.
    pub usage_expected: bool,
    /// As much of the client's own body as its answer is written by.
    pub request: Bytes,
    /// What it is bound by and charged for, where tools that the client's provider would run are left out.
    pub view: Option<Box<View>>,
}

impl Worded {
    /// Length of the body that leaves: what bounds its tokens.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The output limit that it has for want of one of the client's.
    pub fn given_limit(&self) -> Option<u64> {
        self.translated.as_ref()?.given_limit
    }

    /// What it is bound by.
    pub fn view<'c>(&'c self, call: &'c Call) -> &'c View {
        self.translated.as_ref().and_then(|translated| translated.view.as_deref()).unwrap_or(&call.facts.view)
    }

    /// The body whose tokens are the call's.
    pub fn text<'c>(&'c self, call: &'c Call) -> &'c Bytes {
        self.translated.as_ref().map_or(&call.body, |translated| &translated.body)
    }
}

/// Where a call goes that is passed on as it comes.
#[derive(Debug)]
pub struct Elsewhere {
    /// How it asks.
    pub method: Method,
    /// The path below the version, with its query.
    pub path: String,
    /// What its body is.
    pub content_type: Option<HeaderValue>,
    /// A body that goes on as it arrives.
    pub upload: Option<Box<Upload>>,
}

/// A request that is ready to leave.
pub struct Outbound {
    /// The language that it is in, and its answer.
    pub dialect: Dialect,
    pub(super) pieces: Vec<Bytes>,
    bytes: usize,
    pub(super) headers: HeaderMap,
    /// The way into the provider that it takes, of several.
    pub access: usize,
    pub(super) beta: bool,
    pub(super) endpoint: Endpoint,
    /// It goes somewhere else.
    pub(super) elsewhere: Option<Box<Elsewhere>>,
    /// The names of the edits made, as in `x-farthing-edits`; empty when the bytes are untouched.
    pub edits: String,
    /// The usage chunk that the edit causes is to be withheld from the client.
    pub withhold_usage: bool,
    /// A provider that does as it is asked will report usage.
    pub usage_expected: bool,
    /// Its answer is to be said in the client's dialect.
    pub translated: Option<Arc<Translated>>,
}

impl Outbound {
    /// What it is bound by and charged for, if that is not as the client's own view has it.
    pub fn view(&self) -> Option<&View> {
        self.translated.as_ref()?.view.as_deref()
    }

    /// The body that leaves, in pieces.
    pub fn pieces(&self) -> &[Bytes] {
        &self.pieces
    }

    /// Its length, as its tokens are bounded and estimated by it; see [`Worded::bytes`].
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The body, to be sent: each attempt prepares its own.
    pub(super) fn take_pieces(&mut self) -> Vec<Bytes> {
        std::mem::take(&mut self.pieces)
    }
}

impl Row {
    /// What a client of Messages is told to have cached although it does not say so.
    fn caching_edits(&self, call: &Call, target: &ModelRef) -> impl Iterator<Item = Edit> {
        let caching = self.caching(Dialect::Messages);
        let added = caching::insertions(&call.body, caching, self.vendor(), target.model.as_str());
        added.into_iter().map(|(at, with)| Edit { name: EditName::CacheControl, at: at..at, with: with.into() })
    }

    /// Puts a call in the words of `target`.
    pub fn word(&self, call: &Call, target: &ModelRef) -> Worded {
        let view = &call.facts.view;
        let mut edits = Vec::new();
        if view.model != target.model.as_str() {
            edits.push(Edit {
                name: EditName::Model,
                at: view.model_at.clone(),
                with: json_string(target.model.as_str()),
            });
        }
        let asks_usage = view.stream && self.metering() == Metering::Inject;
        let usage = if asks_usage { usage_edit(&view.usage_in_stream, view.model_at.end) } else { None };
        let withhold_usage = usage.is_some();
        edits.extend(usage);
        edits.extend(seal_edits(&call.body, &view.foreign_seals));
        if call.facts.surface == Surface::Messages {
            edits.extend(self.caching_edits(call, target));
        }
        let added: usize = edits.iter().map(|edit| edit.with.len()).sum();
        let taken: usize = edits.iter().map(|edit| edit.at.len()).sum();
        // It leaves as it came.
        let dialect = call.facts.surface.speaks().unwrap_or(self.dialect());
        let bytes = (call.body.len() + added).saturating_sub(taken);
        Worded { dialect, withhold_usage, bytes, edits, translated: None }
    }

    /// Makes the request that leaves of a call that has been worded: declared edits, our credential, the headers that may
    /// pass. `output_limit` is what the provider is to keep, where that is less than the client or the model allows.
    pub fn finish(&self, worded: Worded, call: &Call, output_limit: Option<u64>) -> Outbound {
        let view = &call.facts.view;
        let Worded { dialect, mut edits, withhold_usage, bytes, translated } = worded;
        if let Some(translated) = translated {
            return self.finish_translated(translated, call, output_limit);
        }
        if let Some(limit) = output_limit {
            let member = match call.facts.surface {
                Surface::Completions => "max_tokens",
                _ => output_limit_member(dialect, self.vendor()),
            };
            edits.extend(limit_edits(&call.body, (view, member), limit));
        }
        Outbound {
            dialect,
            edits: edits::names(&edits),
            pieces: edits::splice(&call.body, &mut edits),
            bytes,
            access: 0,
            beta: call.beta,
            endpoint: Endpoint::of(call.facts.surface),
            elsewhere: None,
            headers: self.headers_for(call, dialect, passes_to(dialect)),
            withhold_usage,
            usage_expected: !view.stream
                || withhold_usage
                || self.reports_unasked()
                || matches!(view.usage_in_stream, UsageInStream::Asked),
            translated: None,
        }
    }

    fn finish_translated(&self, translated: Arc<Translated>, call: &Call, output_limit: Option<u64>) -> Outbound {
        let Translated { dialect, body, given_limit, usage_expected, .. } = &*translated;
        let mut edits = Vec::new();
        // Where its limit stands is read only if another one is to stand there.
        if let Some((limit, view)) = output_limit.and_then(|limit| Some((limit, read(*dialect, body).ok()?))) {
            let member = output_limit_member(*dialect, self.vendor());
            edits.extend(limit_edits(body, (&view, member), limit));
        }
        let mut names: Vec<EditName> = edits.iter().map(|edit: &Edit| edit.name).collect();
        names.push(EditName::Translate);
        names.extend(given_limit.map(|_| EditName::OutputLimit));
        names.extend(translated.caches.then_some(EditName::CacheControl));
        Outbound {
            dialect: *dialect,
            edits: edits::listed(names),
            pieces: edits::splice(body, &mut edits),
            bytes: body.len(),
            access: 0,
            beta: false,
            endpoint: Endpoint::Conversation,
            elsewhere: None,
            // Versions and betas are those of the client's words, not of ours.
            headers: self
                .headers_for(call, *dialect, |name| !name.starts_with("anthropic-") && !name.starts_with("openai-")),
            withhold_usage: false,
            usage_expected: *usage_expected,
            translated: Some(translated),
        }
    }

    /// Makes the request that leaves of a call that is passed on as it comes, but for the row's name before a model's.
    pub fn send_on(&self, call: &Call, target: &ModelRef, elsewhere: Elsewhere) -> Outbound {
        let mut outbound = self.prepare(call, target, None);
        outbound.headers.remove(CONTENT_TYPE);
        if let Some(content_type) = &elsewhere.content_type {
            outbound.headers.insert(CONTENT_TYPE, content_type.clone());
        }
        Outbound { elsewhere: Some(Box::new(elsewhere)), ..outbound }
    }

    /// Both at once, where nothing is held for it.
    pub fn prepare(&self, call: &Call, target: &ModelRef, output_limit: Option<u64>) -> Outbound {
        self.finish(self.word(call, target), call, output_limit)
    }

    /// A translated call as it leaves, but for a lower output limit.
    pub fn word_translated(&self, translated: &Arc<Translated>) -> Worded {
        Worded {
            dialect: translated.dialect,
            edits: Vec::new(),
            withhold_usage: false,
            bytes: translated.body.len(),
            translated: Some(Arc::clone(translated)),
        }
    }

    /// Those of the caller's headers that pass, and the row's own, which win over the caller's of the same name.
    fn headers_for(&self, call: &Call, dialect: Dialect, passes: impl Fn(&str) -> bool) -> HeaderMap {
        // Room for all of them, `accept`, the attempt's id, and what the HTTP client adds.
        let mut headers = HeaderMap::with_capacity(self.headers().len() + call.headers.len() + 4);
        for (name, value) in call.headers.iter().filter(|(name, _)| passes(name.as_str())) {
            headers.append(name.clone(), value.clone());
        }
        headers.entry(ACCEPT).or_insert(HeaderValue::from_static("*/*"));
        for (name, value) in self.headers() {
            headers.insert(name.clone(), value.clone());
        }
        if dialect == Dialect::Messages {
            headers.entry("anthropic-version").or_insert(ANTHROPIC_VERSION);
        }
        headers
    }
}

/// What the one vendor's clients try out is nothing to the other.
fn passes_to(dialect: Dialect) -> impl Fn(&str) -> bool {
    let others = if dialect == Dialect::Messages { "openai-" } else { "anthropic-" };
    move |name| !name.starts_with(others)
}

/// Reads a body of ours.
fn read(dialect: Dialect, body: &[u8]) -> Result<View, BodyError> {
    match dialect {
        Dialect::Chat => openai_chat::read(body),
        Dialect::Responses => responses_request::read(body),
        Dialect::Messages => messages_request::read(body),
    }
}

/// Takes thoughts out that stand at these places of an array, one after the other, with a comma each.
fn seal_edits(body: &[u8], seals: &[Range<usize>]) -> Vec<Edit> {
    let is_between = |at: Range<usize>| {
        body.get(at).is_some_and(|bytes| bytes.iter().all(|byte| byte.is_ascii_whitespace() || *byte == b','))
    };
    let mut runs: Vec<Range<usize>> = Vec::new();
    for seal in seals {
        match runs.last_mut() {
            Some(run) if is_between(run.end..seal.start) => run.end = seal.end,
            _ => runs.push(seal.clone()),
        }
    }
    let is_said = |byte: &u8| !byte.is_ascii_whitespace();
    let is_comma = |at: &usize| body.get(*at) == Some(&b',');
    let without = |run: Range<usize>| {
        let next = body.get(run.end..).and_then(|rest| rest.iter().position(is_said)).map(|at| run.end + at);
        let last = body.get(..run.start).and_then(|rest| rest.iter().rposition(is_said));
        let at = match (next.filter(is_comma), last.filter(is_comma)) {
            (Some(comma), _) => run.start..comma + 1,
            (None, Some(comma)) => comma..run.end,
            (None, None) => run,
        };
        Edit { name: EditName::Reasoning, at, with: Bytes::new() }
    };
    runs.into_iter().map(without).collect()
}

/// Lowers every higher limit that the client gave, and what is none, or gives one as `member` where it gave none.
fn limit_edits(body: &Bytes, (view, member): (&View, &str), limit: u64) -> Vec<Edit> {
    let edit = |at, with: String| Edit { name: EditName::OutputLimit, at, with: with.into() };
    let [newer, older] = &view.output_limits_at;
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

fn json_string(text: &str) -> Bytes {
    // Most names have nothing to escape: <https://www.rfc-editor.org/rfc/rfc8259#section-7>
    if text.bytes().all(|byte| byte >= b' ' && !matches!(byte, b'"' | b'\\')) {
        return Bytes::from(["\"", text, "\""].concat());
    }
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
