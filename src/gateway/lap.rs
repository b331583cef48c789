//! *hold* and *call*, once: money is set aside for an attempt and its intent committed, then it leaves, and its answer is read
//! as far as is needed to know that it is one.
//!
//! A [`Lap`] says where and when an attempt runs, an [`Entrant`] is one that may leave. How many there are, and which, is
//! [`Gateway::ask`]'s; two at once are [`hedging`](super::hedging)'s.

use std::sync::Arc;

use super::hold::Purse;
use super::timing::Timing;
use super::translating::Retelling;
use super::ways::way;
use super::{Gateway, Outcome, translating};
use crate::call::Call;
use crate::dialect::Dialect;
use crate::ids::AttemptId;
use crate::meter::Meter;
use crate::meter::passing::Passing;
use crate::meter::relay::{Relay, Rules, Unread};
use crate::plan::ModelRef;
use crate::providers::body::Sent;
use crate::providers::load::Load;
use crate::providers::{Answer, Answered, Failure, Outbound, Row, Worded};
use crate::reply::facts::Facts;
use crate::wire::errors::ApiError;

/// Where and when an attempt runs.
pub(super) struct Lap<'a> {
    pub(super) row: &'a Arc<Row>,
    pub(super) target: &'a ModelRef,
    /// The way into the row.
    pub(super) access: usize,
    pub(super) timing: Timing,
    /// What is known of the target, where somebody asks.
    pub(super) load: Option<Arc<Load>>,
}

/// An attempt whose intent is committed.
pub(super) struct Entrant<'a> {
    pub(super) lap: Lap<'a>,
    pub(super) outbound: Outbound,
    pub(super) begun: (AttemptId, Sent),
}

/// Why an attempt did not begin, and no other will.
pub(super) enum NotBegun {
    /// Nobody may pay for it.
    Denied(ApiError),
    /// The ledger does not hold its intent.
    NotHeld,
}

impl NotBegun {
    /// What comes of the request.
    pub(super) fn outcome(self, meter: Box<Meter>) -> Outcome {
        match self {
            Self::Denied(error) => Outcome::Denied { error, meter },
            Self::NotHeld => Outcome::NotHeld { meter },
        }
    }
}

/// What came of an attempt, with the meter that accounts for it.
pub(super) type Ran = Result<Outcome, Box<(Box<Meter>, Failure)>>;

impl Gateway {
    /// *hold*: sets money aside for an attempt and commits its intent. `tried` are the ways into the row that were, a bit each.
    pub(super) async fn enter<'a>(
        &self,
        call: &Call,
        (row, target, worded): (&'a Arc<Row>, &'a ModelRef, Worded),
        (purse, tried): (&Purse, u64),
        meter: &mut Meter,
    ) -> Result<Entrant<'a>, NotBegun> {
        let funds = self.hold(call, (row, target, &worded), meter, purse).await.map_err(NotBegun::Denied)?;
        let mut outbound = row.finish(worded, call, funds.output_limit);
        outbound.access = way(call, (row, target), tried);
        meter.fund(funds);
        let begun = meter.begin(row, target, &outbound).map_err(|_| NotBegun::NotHeld)?;
        meter.held().await.map_err(|_| NotBegun::NotHeld)?;
        let load = self.load(target, row.dispatch().hedge.is_some());
        if let Some(load) = &load {
            meter.accompany(load.begins());
        }
        let lap = Lap { row, target, access: outbound.access, timing: Timing::new(row, meter), load };
        Ok(Entrant { lap, outbound, begun })
    }

    /// *call*: sends what was prepared, and reads the answer as far as is needed to know that it is one.
    pub(super) async fn run<'a>(&self, call: &Call, entrant: Entrant<'a>, meter: Box<Meter>) -> (Lap<'a>, Ran) {
        let Entrant { lap, mut outbound, begun: (attempt, sent) } = entrant;
        let head = lap.timing.head(call.facts.view.stream);
        let ran = match lap.row.call(&mut outbound, attempt, head, sent, call.held.another()).await {
            Ok(answer) => self.read(answer, meter, &outbound, &lap).await,
            Err(failure) => Err(Box::new((meter, failure))),
        };
        (lap, ran)
    }

    async fn read(&self, mut answer: Answer, mut meter: Box<Meter>, outbound: &Outbound, lap: &Lap<'_>) -> Ran {
        let (row, timing) = (lap.row, lap.timing);
        meter.answered(answer.status.as_u16(), answer.provider_request_id.take());
        match answer.body {
            Answered::Stream(events) => {
                let cost_comment = self.config.server.cost_comment;
                let mut passing = Passing::new(outbound.dialect, row.habits(), outbound.withhold_usage, cost_comment);
                if let Some(translated) = &outbound.translated {
                    passing = match translating::passing(passing, translated, &meter) {
                        Ok(passing) => passing,
                        Err(_) => {
                            let failure = Failure::Unreadable { what: "nobody translates its stream" };
                            return Err(Box::new((meter, failure)));
                        }
                    };
                    answer.headers = translating::headers(answer.headers, outbound.dialect, meter.call());
                }
                let rules = Rules {
                    passing,
                    first_byte_deadline: timing.head(true),
                    idle_timeout: row.dispatch().idle_timeout,
                    deadline: timing.deadline,
                    row: Arc::clone(row),
                };
                let events = Unread { events, held: answer.held };
                let relay = Relay::open(events, meter, rules).await?;
                Ok(Outcome::Stream { status: answer.status, headers: answer.headers, relay: Box::new(relay) })
            }
            Answered::Whole(body, encoded) => {
                let mut has_failed = false;
                let seen = |facts: &Facts| {
                    has_failed = facts.error;
                    meter.saw_whole(facts);
                };
                let retelling = Retelling::of(outbound, &answer.held);
                let read = (outbound.dialect, body, encoded);
                let json = row.read_whole(read, &answer.headers, timing.deadline, answer.held, seen).await;
                if let Ok(json) = &json
                    && outbound.dialect == Dialect::Responses
                {
                    meter.keep(json);
                }
                let (status, mut headers) = (answer.status, answer.headers);
                let json = match (json, retelling) {
                    (Ok(json), Some(_)) if has_failed => {
                        Err(Failure::Refused(row.refusal_in_success(outbound.dialect, &headers, json)))
                    }
                    (Ok(json), Some(retelling)) => {
                        headers = translating::headers(headers, outbound.dialect, meter.call());
                        Box::pin(retelling.whole(json, &mut meter)).await
                    }
                    (json, _) => json,
                };
                match json {
                    Ok(json) => Ok(Outcome::Whole { status, headers, json, meter }),
                    Err(failure) => Err(Box::new((meter, failure))),
                }
            }
        }
    }
}
