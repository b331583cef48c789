//! Counts of a request's tokens, told by the provider that would answer it: free, and so without a hold and an attempt of
//! the ledger's; the request itself is one like others, with its limits, grants and row. What would be translated is counted
//! here, as it would leave.

use std::sync::Arc;
use std::time::Instant as Clock;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::refusals::{failed_reply, status_of};
use super::timing::Timing;
use super::ways::way;
use super::{Decision, Gateway, Reply, ReplyBody, translating};
use crate::call::{Call, Surface};
use crate::config::Key;
use crate::dialect::Dialect;
use crate::ids::AttemptId;
use crate::limits::HELD_BODY_BYTES_MAX;
use crate::meter::Meter;
use crate::meter::holds::Running;
use crate::money::CostInterval;
use crate::plan::ModelRef;
use crate::prompt::edits::EditName;
use crate::prompt::view::Attachments;
use crate::providers::body::Sent;
use crate::providers::dispatch::{Attempts, Next, after};
use crate::providers::{Answered, Failure, Outbound, Row};
use crate::wire::errors::ApiError;

/// Whether tokens that are told were counted, or are an estimate.
const TOKENS_SOURCE: HeaderName = HeaderName::from_static("x-farthing-tokens-source");

impl Gateway {
    /// Has the tokens of a call counted where it would go. Each target is asked once: whoever counts can do without.
    pub async fn count(&self, call: Call, key: Option<&Key>) -> Reply {
        let facts = Arc::clone(&call.facts);
        let purse = self.purse(&facts, key);
        let reply = match self.admit(&purse, &facts) {
            Ok(running) => self.count_admitted(call, key, running).await,
            Err(error) => self.turn_away(&facts, error),
        };
        self.paced(&purse, &facts, reply)
    }

    async fn count_admitted(&self, call: Call, key: Option<&Key>, running: Option<Running>) -> Reply {
        let facts = Arc::clone(&call.facts);
        let book = self.accounts.book.load_full();
        let mut plan = match self.decide(&call, key, &book, false).await {
            Ok(decided) => decided.into_parts().0,
            Err(error) => return self.turn_away(&facts, error),
        };
        self.prefer_speaking(&facts, &mut plan);
        if let Err(error) = self.keep_able(&call, &mut plan) {
            return self.turn_away(&facts, error);
        }
        let plan = Arc::new(plan);
        let mut meter = Meter::open(&self.accounts, book, &facts, &plan);
        meter.count_as(running);
        let rules_of = |target: &ModelRef| self.providers.row(&target.provider).map(|row| *row.dispatch());
        let (mut attempts, mut ordinal, mut unsaid) = (Attempts::new(&plan.targets), 0, None);
        let mut failure = Failure::Connect { why: "no target is up" };
        while let Some(target) = attempts.next(&self.health, rules_of, Clock::now()) {
            let Some(row) = self.providers.row(&target.provider) else { break };
            if let Some(dialect) = translating::dialect_for(&call, row, target) {
                match Box::pin(self.count_here(&call, (row, target), dialect, &meter)).await {
                    Ok((mut reply, dropped)) => {
                        meter.counted(reply.status.as_u16());
                        let (model, cost) = (Some(target.clone()), Some(CostInterval::NOTHING));
                        let edits = EditName::Translate.as_str().to_owned();
                        reply.decision =
                            Some(Decision { model, plan, edits, dropped, cost, saved: None, estimated: false });
                        return reply;
                    }
                    Err(error) => {
                        unsaid = Some(error);
                        attempts.pass_over();
                        continue;
                    }
                }
            }
            ordinal += 1;
            let mut outbound = row.prepare(&call, target, None);
            outbound.access = way(&call, (row, target), attempts.tried());
            let edits = outbound.edits.clone();
            let timing = Timing::new(row, &meter);
            match asked(row, outbound, (&call, AttemptId { request: facts.id, ordinal }), timing).await {
                Ok(mut reply) => {
                    self.health.succeeded(target);
                    meter.counted(reply.status.as_u16());
                    let (model, cost) = (Some(target.clone()), Some(CostInterval::NOTHING));
                    reply.decision =
                        Some(Decision { model, plan, edits, dropped: None, cost, saved: None, estimated: false });
                    return reply;
                }
                Err(failed) => failure = failed,
            }
            match after(&failure, u32::MAX, row.dispatch(), 0.0) {
                Next::GiveUp => break,
                Next::Retry(_) | Next::Fallback => attempts.fall_back(),
            }
        }
        if let Some(error) = unsaid.filter(|_| ordinal == 0) {
            meter.refused(error.code, error.status);
            return Reply {
                status: status_of(&error),
                headers: HeaderMap::new(),
                decision: None,
                body: ReplyBody::Error(error),
            };
        }
        let (status, headers, body, code) = failed_reply(failure, &facts);
        meter.refused(code, status.as_u16());
        Reply { status, headers, decision: None, body }
    }
}

impl Gateway {
    /// Counts a call as it would leave in another dialect: by the model's own encoding, or else by what its provider used to
    /// report for so many bytes. A header says which of both.
    async fn count_here(
        &self,
        call: &Call,
        (row, target): (&Arc<Row>, &ModelRef),
        dialect: Dialect,
        meter: &Meter,
    ) -> Result<(Reply, Option<String>), ApiError> {
        let translated = self.translate(call, (row, target), dialect, meter).await?;
        let (estimates, attached) = (&self.accounts.estimates, call.facts.view.attachments);
        let is_countable = attached == Attachments::default() && translated.body.len() <= HELD_BODY_BYTES_MAX;
        let counting = estimates.count_for_hold(row.vendor(), target.model.as_str(), &translated.body);
        let counted = match counting.filter(|_| is_countable) {
            Some(counting) => counting.await,
            None => None,
        };
        let text_bytes = translated.body.len().saturating_sub(attached.bytes) as u64;
        let estimated = || estimates.input(target, None, text_bytes, attached.images).0;
        let from_responses = call.facts.surface == Surface::InputTokens;
        let source = if counted.is_some() { "counted" } else { "estimated" };
        let tokens = counted.unwrap_or_else(estimated).max(1);
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(TOKENS_SOURCE, HeaderValue::from_static(source));
        let object = if from_responses { "\"object\":\"response.input_tokens\"," } else { "" };
        let body = ReplyBody::Whole(format!("{{{object}\"input_tokens\":{tokens}}}").into());
        let dropped = Some(translated.dropped.list()).filter(|names| !names.is_empty());
        Ok((Reply { status: StatusCode::OK, headers, decision: None, body }, dropped))
    }
}

/// What a row says.
async fn asked(
    row: &Row,
    mut outbound: Outbound,
    (call, id): (&Call, AttemptId),
    timing: Timing,
) -> Result<Reply, Failure> {
    let deadline = timing.head(false);
    let answer = row.call(&mut outbound, id, deadline, Sent::default(), call.held.another()).await?;
    let Answered::Whole(body, encoded) = answer.body else {
        return Err(Failure::Unreadable { what: "it is a stream, which nobody asked for" });
    };
    let read = (outbound.dialect, body, encoded);
    let json = row.read_whole(read, &answer.headers, timing.deadline, answer.held, |_| {}).await?;
    Ok(Reply { status: answer.status, headers: answer.headers, decision: None, body: ReplyBody::Whole(json) })
}
