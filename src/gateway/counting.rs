//! Counts of a request's tokens, told by the provider that would answer it: free, and so without a hold and an attempt of
//! the ledger's; the request itself is one like others, with its limits, grants and row.

use std::sync::Arc;
use std::time::Instant as Clock;

use super::refusals::{failed_reply, keep_at};
use super::timing::Timing;
use super::{Decision, Gateway, Reply, ReplyBody};
use crate::call::Call;
use crate::config::Key;
use crate::ids::AttemptId;
use crate::meter::Meter;
use crate::money::CostInterval;
use crate::plan::ModelRef;
use crate::providers::body::Sent;
use crate::providers::dispatch::{Attempts, Next, after};
use crate::providers::{Answered, Failure, Outbound, Row};

impl Gateway {
    /// Has the tokens of a call counted where it would go. Each target is asked once: whoever counts can do without.
    pub async fn count(&self, call: Call, key: Option<&Key>) -> Reply {
        let facts = Arc::clone(&call.facts);
        let book = self.accounts.book.load_full();
        let running = match self.admit(&self.purse(&facts, key), &facts) {
            Ok(running) => running,
            Err(error) => return self.turn_away(&facts, error),
        };
        let mut plan = match self.decide(&call, key, &book, false).await {
            Ok(decided) => decided.into_parts().0,
            Err(error) => return self.turn_away(&facts, error),
        };
        if let Err(error) = self.keep_speaking(&facts, &mut plan) {
            return self.turn_away(&facts, error);
        }
        if let Some(keeper) = &call.kept_at {
            if let Err(error) = keep_at(keeper, &mut plan) {
                return self.turn_away(&facts, error);
            }
        }
        let plan = Arc::new(plan);
        let mut meter = Meter::open(&self.accounts, book, &facts, &plan);
        meter.count_as(running);
        let rules_of = |target: &ModelRef| self.providers.row(&target.provider).map(|row| *row.dispatch());
        let (mut attempts, mut ordinal) = (Attempts::new(&plan.targets), 0);
        let mut failure = Failure::Connect { why: "no target is up" };
        while let Some(target) = attempts.next(&self.health, rules_of, Clock::now()) {
            let Some(row) = self.providers.row(&target.provider) else { break };
            ordinal += 1;
            let outbound = row.prepare(&call, target, None);
            let edits = outbound.edits.clone();
            let timing = Timing::new(row, &meter);
            match asked(row, outbound, (&call, AttemptId { request: facts.id, ordinal }), timing).await {
                Ok(mut reply) => {
                    self.health.succeeded(target);
                    meter.counted(reply.status.as_u16());
                    let (model, cost) = (Some(target.clone()), Some(CostInterval::NOTHING));
                    reply.decision = Some(Decision { model, plan, edits, cost, saved: None, estimated: false });
                    return reply;
                }
                Err(failed) => failure = failed,
            }
            match after(&failure, u32::MAX, row.dispatch(), 0.0) {
                Next::GiveUp => break,
                Next::Retry(_) | Next::Fallback => attempts.fall_back(),
            }
        }
        let (status, headers, body, code) = failed_reply(failure);
        meter.refused(code, status.as_u16());
        Reply { status, headers, decision: None, body }
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
