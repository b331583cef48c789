//! *call*, where the target speaks another dialect than the client: the request is said in the target's words before money is
//! held for it, and the answer in the client's before it goes out. Large ones are said away from the threads that serve.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use jiff::Timestamp;

use super::{Gateway, ratelimits};
use crate::call::{Call, CallFacts};
use crate::config;
use crate::dialect::Dialect;
use crate::limits::{DECIDED_AT_ONCE_BYTES_MAX, OUTPUT_TOKENS_GIVEN};
use crate::memory::HeldBytes;
use crate::meter::Meter;
use crate::meter::passing::Passing;
use crate::plan::{ModelRef, Note};
use crate::prompt::json::WholeNumber;
use crate::prompt::view::{Attachments, View};
use crate::providers::{Failure, Outbound, Row, Translated, Worded};
use crate::translate::{self, Terms, Told, Untranslatable, Written, stream::UsageChunk};
use crate::wire::errors::{ApiError, Code};

/// What a body takes in memory beside what it was made from, in bytes.
const ADDED_BYTES: usize = 64 << 10;

/// The dialect that a call is to be translated to for a row; `None`: it is called in the client's own.
pub(super) fn dialect_for(call: &Call, row: &Row, target: &ModelRef) -> Option<Dialect> {
    let client = call.facts.surface.speaks()?;
    if row.speaks(client) { None } else { Some(row.called_in(client, target.model.as_str())) }
}

/// What is said of one call in the words of targets that speak another dialect, over all of its attempts.
#[derive(Default)]
pub(super) struct Sayings<'a> {
    /// The call as it was said last, and for whom: what fails is tried again in the same words.
    last: Option<(&'a ModelRef, Arc<Translated>)>,
    /// Why the last target was passed over that has no words for it.
    unsaid: Option<Box<ApiError>>,
}

impl Sayings<'_> {
    /// Why the call cannot be said to somebody, if that is so.
    pub(super) fn why_not(self) -> Option<ApiError> {
        self.unsaid.map(|error| *error)
    }
}

/// Why a call is not said to a target.
pub(super) enum Unsaid {
    /// It cannot be said to anybody.
    Denied(ApiError),
    /// This one has no words for it.
    PassedOver,
}

impl Gateway {
    /// *call*: words a call for a target of another dialect, once for all tries of it.
    pub(super) async fn say<'a>(
        &self,
        call: &Call,
        (row, target): (&Arc<Row>, &'a ModelRef),
        dialect: Dialect,
        sayings: &mut Sayings<'a>,
        meter: &mut Meter,
    ) -> Result<Worded, Unsaid> {
        if let Some((_, translated)) = sayings.last.as_ref().filter(|(known, _)| *known == target) {
            return Ok(row.word_translated(translated));
        }
        match self.translate(call, (row, target), dialect, meter).await {
            Ok(translated) => {
                let (_, translated) = sayings.last.insert((target, translated));
                Ok(row.word_translated(translated))
            }
            Err(error) if error.code != Code::UnsupportedParameter => Err(Unsaid::Denied(error)),
            Err(error) => {
                let field = error.param.as_deref().unwrap_or_default().into();
                meter.note(Note::CannotCarry(target.spelt().into(), field));
                sayings.unsaid = Some(Box::new(error));
                Err(Unsaid::PassedOver)
            }
        }
    }

    /// Says a call in the dialect of a target.
    pub(super) async fn translate(
        &self,
        call: &Call,
        (row, target): (&Arc<Row>, &ModelRef),
        dialect: Dialect,
        meter: &Meter,
    ) -> Result<Arc<Translated>, ApiError> {
        let from = call.facts.surface.speaks().unwrap_or(dialect);
        let view = &call.facts.view;
        let of_model = meter.price(row, target).and_then(|price| price.limits.output);
        let output_limit = of_model.unwrap_or(OUTPUT_TOKENS_GIVEN);
        let usage = row.usage_of_streams();
        let is_told = usage == UsageChunk::Asked || row.reports_unasked();
        let caching = row.caching(from);
        let mut held = call.held.another();
        let full = |_| ApiError::new(Code::Overloaded, "no memory is left to translate the request").retry_after(1);
        held.resize(2 * call.body.len() + ADDED_BYTES).map_err(full)?;
        let (row, target, body) = (Arc::clone(row), target.clone(), call.body.clone());
        let write = move || {
            let (vendor, model) = (row.vendor(), target.model.as_str());
            let terms = Terms { vendor, model, output_limit, caching, usage };
            translate::request(from, dialect, &body, &terms).map_err(|error| untranslatable(&error, &target))
        };
        let Written { body, dropped, caches, asked } =
            if call.body.len() <= DECIDED_AT_ONCE_BYTES_MAX { write()? } else { aside(&call.held, write).await?? };
        let request = match asked {
            Some(asked) => asked.into(),
            None if from == Dialect::Messages => Bytes::new(),
            None => call.body.clone(),
        };
        // It fits, since no more was held than before.
        let _ = held.resize(body.len() + request.len());
        let is_given = dialect == Dialect::Messages && view.output_limit == WholeNumber::Absent;
        Ok(Arc::new(Translated {
            dialect,
            body: held.around(body.into()),
            dropped,
            given_limit: is_given.then_some(output_limit),
            caches,
            request,
            view: (view.attachments.server_tools > 0).then(|| without_server_tools(view)),
            usage_expected: !view.stream || dialect != Dialect::Chat || is_told,
        }))
    }
}

/// Nobody translates a tool that a provider runs: those that are not refused are left out.
fn without_server_tools(view: &View) -> Box<View> {
    let attachments = Attachments { server_tools: 0, ..view.attachments };
    Box::new(View { attachments, ..view.clone() })
}

/// Does what may hold a thread for long where nobody waits for it, in one of the places for that.
async fn aside<T: Send + 'static>(held: &HeldBytes, work: impl FnOnce() -> T + Send + 'static) -> Result<T, ApiError> {
    let place = held.decoders().acquire_owned().await;
    let work = move || {
        let done = work();
        drop(place);
        done
    };
    let broke_off = |_| ApiError::new(Code::Internal, "translating broke off");
    tokio::task::spawn_blocking(work).await.map_err(broke_off)
}

fn untranslatable(error: &Untranslatable, target: &ModelRef) -> ApiError {
    let model = config::quoted(target.model.as_str());
    match error {
        Untranslatable::Field { field, .. } => {
            let message = format!("{error}: `{model}` is served in the words of another protocol");
            ApiError::new(Code::UnsupportedParameter, message).param(field.clone())
        }
        Untranslatable::Json(_) | Untranslatable::Pair { .. } => ApiError::new(Code::InvalidBody, error.to_string()),
    }
}

/// A stream that is passed on in the client's dialect.
pub(super) fn passing(passing: Passing, translated: &Translated, meter: &Meter) -> Result<Passing, Untranslatable> {
    let call = meter.call();
    let to = call.surface.errors();
    let told = Told { request: &translated.request, created_seconds: seconds(call), usage: meter.usage() };
    passing.said_in(to, &told, call)
}

/// A whole answer that is to be said in the client's dialect.
pub(super) struct Retelling<'o> {
    translated: &'o Translated,
    held: HeldBytes,
}

impl<'o> Retelling<'o> {
    /// The answer to what was sent, if that was translated; `held` is what counts the answer's bytes.
    pub(super) fn of(outbound: &'o Outbound, held: &HeldBytes) -> Option<Self> {
        outbound.translated.as_ref().map(|translated| Self { translated, held: held.another() })
    }

    /// Says it, and takes note of what is left out.
    pub(super) async fn whole(mut self, json: Bytes, meter: &mut Meter) -> Result<Bytes, Failure> {
        let (from, request) = (self.translated.dialect, self.translated.request.clone());
        let (to, created_seconds, usage) = (meter.call().surface.errors(), seconds(meter.call()), meter.usage());
        self.held.resize(2 * json.len() + ADDED_BYTES).map_err(|_| Failure::NoRoom)?;
        let is_small = json.len() <= DECIDED_AT_ONCE_BYTES_MAX;
        let write = move || {
            let told = Told { request: &request, created_seconds, usage };
            translate::reply(from, to, &json, &told)
        };
        let written = if is_small {
            write()
        } else {
            aside(&self.held, write).await.map_err(|_| Failure::Unreadable { what: "translating it broke off" })?
        };
        let Written { body, dropped, .. } =
            written.map_err(|_| Failure::Unreadable { what: "it is no answer of its protocol" })?;
        meter.leaves_out(&dropped);
        let _ = self.held.resize(body.len());
        Ok(self.held.around(body.into()))
    }
}

/// When a call came, in seconds since 1970.
fn seconds(call: &CallFacts) -> u64 {
    u64::try_from(call.at_ms / 1000).unwrap_or_default()
}

/// The headers of an answer that are for clients of another dialect too.
pub(super) fn headers(mut headers: HeaderMap, from: Dialect, call: &CallFacts) -> HeaderMap {
    if call.surface.errors() != from {
        ratelimits::retell(&mut headers, from, Timestamp::now());
    }
    headers
}
