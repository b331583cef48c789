//! The end of a request: its closing row, its metrics, and its one log event.

use std::time::Instant;

use serde::Serialize;

use super::{Meter, task_of};
use crate::call::CallFacts;
use crate::ids::RequestId;
use crate::ledger::record::Closing;
use crate::money::{Decimal, NanoUsd};
use crate::problem::shown_name;
use crate::reply::usage::Apart;
use crate::task::Tier;
use crate::telemetry::metrics::Series;

/// The one structured event of a request. Names only: never prompt text, never a key.
#[derive(Serialize)]
struct RequestEvent<'a> {
    ts: i64,
    event: &'static str,
    request_id: RequestId,
    #[serde(skip_serializing_if = "Option::is_none")]
    purpose: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    caused_by: Option<RequestId>,
    status: &'a str,
    http_status: u16,
    team: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    project: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pipeline: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt: Option<&'a str>,
    surface: &'static str,
    stream: bool,
    /// The first word of the reason, as in metrics; what else there is to say is in `decided`.
    reason: &'static str,
    decided: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    tier: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    task: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    confidence_ppm: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    needs_strong_ppm: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<&'a str>,
    asked_model: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    would_tier: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    would_model: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    would_reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    provider: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<&'a str>,
    /// What was asked for, where no model was found for it and it is spelt like one.
    #[serde(skip_serializing_if = "Option::is_none")]
    asked: Option<&'a str>,
    attempts: u16,
    /// What became of the last attempt that failed, also where a later one answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    trouble: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trouble_status: Option<u16>,
    edits: &'a str,
    /// What a translation left out, in the client's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    dropped: Option<String>,
    body_bytes: usize,
    input_tokens: Option<u64>,
    cached_input_tokens: Option<u64>,
    cache_write_tokens: Option<u64>,
    output_tokens: Option<u64>,
    reasoning_tokens: Option<u64>,
    /// What of these was sound or images; absent where nothing was.
    #[serde(skip_serializing_if = "Option::is_none")]
    audio_input_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    audio_output_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    image_input_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    image_output_tokens: Option<u64>,
    /// Null while any part is unknown; the truth is then between low and high, as far as they are known.
    cost_usd: Option<Decimal>,
    cost_low_usd: Decimal,
    cost_high_usd: Option<Decimal>,
    /// Against what it would have cost without us; null while either is unknown.
    saved_usd: Option<Decimal>,
    /// Some of the cost was estimated, for want of the provider's word.
    estimated: bool,
    duration_ms: u64,
    first_byte_ms: Option<u64>,
}

/// A moment by both clocks. The wall's is what it was when the request arrived and what has gone by since: where somebody
/// sets it meanwhile, all times of a request are still near the one in its id.
#[derive(Clone, Copy)]
pub(super) struct Moment {
    pub(super) at: Instant,
    pub(super) at_ms: i64,
}

impl Moment {
    pub(super) fn now(call: &CallFacts) -> Self {
        let at = Instant::now();
        let since = at.saturating_duration_since(call.arrived).as_millis();
        Self { at, at_ms: call.at_ms.saturating_add(i64::try_from(since).unwrap_or(i64::MAX)) }
    }
}

impl Meter {
    /// Closes a request that has the answer of another: no attempt was made for it, and it costs nothing.
    pub fn replayed(&mut self, http_status: u16) {
        self.close_without_attempt("replayed", http_status);
    }

    /// Closes a request whose tokens were counted: nothing was made, and it costs nothing.
    pub fn counted(&mut self, http_status: u16) {
        self.close_without_attempt("counted", http_status);
    }

    /// The closing of the request.
    pub(super) fn closing<'a>(&'a self, (status, http_status): (&'a str, u16), now: Moment) -> Closing<'a> {
        Closing {
            status,
            http_status,
            cost: self.spent,
            duration_ms: millis(now.at.saturating_duration_since(self.call.arrived)),
            first_byte_ms: self.first_byte.map(millis),
            edits: &self.edits,
        }
    }

    /// Writes the log event and counts the request.
    pub(super) fn report(&self, (status, http_status): (&str, u16), now: Moment, last: Option<&Series>) {
        let duration = now.at.saturating_duration_since(self.call.arrived);
        let (call, who, metrics) = (&*self.call, &self.call.who, &self.accounts.metrics);
        let (used, decision) = (self.used, self.decision());
        let apart = |of: fn(&Apart) -> u64| used.map(|used| of(&used.apart)).filter(|tokens| *tokens > 0);
        if self.overhead.is_none() {
            metrics.count_request(who.team.as_str(), call.surface.as_str(), status);
        }
        if let Some(series) = last {
            series.time(self.first_byte, duration);
        }
        self.accounts.log.line(&RequestEvent {
            ts: now.at_ms,
            event: if self.overhead.is_some() { "overhead" } else { "request" },
            purpose: self.overhead.map(|overhead| overhead.cause().purpose),
            caused_by: self.overhead.and_then(|overhead| overhead.cause().request),
            request_id: call.id,
            status,
            http_status,
            team: who.team.as_str(),
            key: who.key.as_ref().map(|key| key.as_str()),
            project: who.project.as_deref(),
            pipeline: who.pipeline.as_deref(),
            run: who.run.as_deref(),
            prompt: who.prompt.as_deref(),
            surface: call.surface.as_str(),
            stream: call.view.stream,
            reason: self.plan.reason.why.as_str(),
            decided: &self.reason,
            tier: self.plan.tier.map(Tier::as_str),
            task: task_of(call, &self.plan),
            policy: self.plan.finding.as_ref().map(|finding| &*finding.policy),
            confidence_ppm: decision.confidence_ppm,
            needs_strong_ppm: decision.needs_strong_ppm,
            session: decision.session,
            asked_model: &call.view.model,
            would_tier: decision.would_tier,
            would_model: decision.would_model,
            would_reason: self.plan.would.as_ref().map(|would| would.reason.to_string()),
            provider: self.last_target.as_ref().map(|target| target.provider.as_str()),
            model: self.last_target.as_ref().map(|target| target.model.as_str()),
            asked: shown_name(&call.view.model).filter(|_| self.last_target.is_none()),
            attempts: self.attempts,
            trouble: self.trouble.map(|(words, _)| words),
            trouble_status: self.trouble.and_then(|(_, status)| status),
            edits: &self.edits,
            dropped: self.dropped.as_ref().map(|dropped| dropped.list()),
            body_bytes: call.body_bytes,
            input_tokens: used.map(|used| used.input_tokens),
            cached_input_tokens: used.map(|used| used.cached_input_tokens),
            cache_write_tokens: used.map(|used| used.cache_write_tokens + used.cache_write_1h_tokens),
            output_tokens: used.map(|used| used.output_tokens),
            reasoning_tokens: used.map(|used| used.reasoning_tokens),
            audio_input_tokens: apart(|apart| apart.audio_input_tokens),
            audio_output_tokens: apart(|apart| apart.audio_output_tokens),
            image_input_tokens: apart(|apart| apart.image_input_tokens),
            image_output_tokens: apart(|apart| apart.image_output_tokens),
            cost_usd: self.spent.exact.map(NanoUsd::decimal),
            cost_low_usd: self.spent.low.decimal(),
            cost_high_usd: self.spent.high.map(NanoUsd::decimal),
            saved_usd: self.saved.map(NanoUsd::decimal),
            estimated: self.estimated,
            duration_ms: millis(duration),
            first_byte_ms: self.first_byte.map(millis),
        });
    }
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
