//! Calls that are passed on as they come: to the one row that they belong to, once, with a row in the ledger.
//!
//! What is charged for has an attempt of its own, whose cost nobody can bound and, but for what the provider reports, nobody
//! knows. The rest is a request without one.

use std::sync::Arc;

use http::HeaderMap;
use http::header::CONTENT_LENGTH;

use super::hold::Purse;
use super::overheard::Overheard;
use super::refusals::{failed_reply, status_of};
use super::timing::Timing;
use super::ways::kept_way;
use super::{Gateway, Reply, ReplyBody};
use crate::call::{Call, Keeper};
use crate::config::Key;
use crate::dialect::Dialect;
use crate::ids::{AttemptId, ProviderId};
use crate::meter::Meter;
use crate::meter::funds::Funds;
use crate::meter::holds::Running;
use crate::meter::opaque::Opaque;
use crate::plan::{ModelRef, Plan, Reason, Why};
use crate::providers::body::Sent;
use crate::providers::inbound::Arriving;
use crate::providers::{Answer, Answered, Elsewhere, Failure, Row};
use crate::reply::facts::Facts;
use crate::wire::errors::{ApiError, Code};

/// How a call is passed on.
pub struct Passage {
    /// Where it goes, and how it asks.
    pub elsewhere: Elsewhere,
    /// The row, and the model that is asked for; empty: none is.
    pub target: ModelRef,
    /// It is charged for.
    pub is_charged: bool,
    /// Its answer is read, where it is JSON.
    pub is_read: bool,
    /// The attempt that is charged once the object that it asks for is told to be done.
    pub owed: Option<AttemptId>,
}

impl Gateway {
    /// The row that a call goes to that names a model, or none: the first that speaks OpenAI's protocol, serves the model, and
    /// may be used by team and key.
    ///
    /// # Errors
    ///
    /// 404 for a model that nobody serves, 403 for what is not granted.
    pub fn row_for(&self, name: &str, team: &str, key: Option<&Key>) -> Result<ModelRef, ApiError> {
        let speaks =
            |target: &ModelRef| self.providers.row(&target.provider).is_some_and(|row| row.dialect() == Dialect::Chat);
        if !name.is_empty() {
            let plan = self.routing.may_ask(name, team, key);
            let is_choice = name == "auto" || crate::task::Tier::parse(name).is_some();
            let target = plan.filter(|_| !is_choice).and_then(|plan| plan.targets.into_iter().find(speaks));
            return target.ok_or_else(|| {
                let message = "no provider row with `protocol: openai` serves this model to this key";
                ApiError::new(Code::ModelNotFound, message).param("model")
            });
        }
        if key.is_some_and(|key| key.may.models.is_some() || key.may.tiers.is_some()) {
            let message = "this key may use some models only, and this request names none; wanted `model`";
            return Err(ApiError::new(Code::NotGranted, message).param("model"));
        }
        let payers = self.payers();
        let usable = payers.team(team).and_then(|team| team.providers.as_ref());
        let rows = self.providers.rows().iter().filter(|row| usable.is_none_or(|rows| rows.contains(row.id())));
        let row = rows.into_iter().find(|row| row.dialect() == Dialect::Chat);
        row.map(|row| ModelRef { provider: row.id().clone(), model: "".into() }).ok_or_else(|| {
            ApiError::new(Code::NotFound, "no provider row with `protocol: openai` may be used by this team")
        })
    }

    /// Who will keep what a call makes that is passed on to a row.
    pub fn will_keep(&self, call: &Call, provider: &ProviderId) -> Keeper {
        let row = self.providers.row(provider);
        let access = row.map(|row| row.accesses().get(way_on(call, row)).id);
        Keeper { provider: provider.clone(), access }
    }

    /// Passes a call on and gives what comes back; of an answer that was read, its bytes.
    pub async fn pass(&self, call: Call, key: Option<&Key>, passage: Passage) -> Reply {
        let facts = Arc::clone(&call.facts);
        let purse = self.purse(&facts, key);
        let reply = match self.admit(&purse, &facts) {
            Ok(running) => self.pass_admitted(call, passage, (&purse, running), key).await,
            Err(error) => self.turn_away(&facts, error),
        };
        self.paced(&purse, &facts, reply)
    }

    async fn pass_admitted(
        &self,
        call: Call,
        passage: Passage,
        (purse, running): (&Purse, Option<Running>),
        key: Option<&Key>,
    ) -> Reply {
        let facts = Arc::clone(&call.facts);
        let Passage { elsewhere, target, is_charged, is_read, owed } = passage;
        let Some(row) = self.providers.row(&target.provider) else {
            return self.turn_away(&facts, ApiError::new(Code::NotFound, "the provider row that has this is gone"));
        };
        let late = owed.map(|attempt| self.late(row, attempt, key));
        if is_charged && let Err(error) = self.may_be_unbounded(purse, (row, &target)) {
            return self.turn_away(&facts, error);
        }
        let plan = Arc::new(Plan::new(None, vec![target.clone()], Reason::of(Why::ExactModel)));
        let mut meter = Meter::open(&self.accounts, self.accounts.book.load_full(), &facts, &plan);
        meter.count_as(running);
        let mut outbound = row.send_on(&call, &target, elsewhere);
        outbound.access = way_on(&call, row);
        let (mut id, mut sent) = (AttemptId { request: facts.id, ordinal: 1 }, Sent::default());
        if is_charged {
            let price = meter.price(row, &target);
            meter.fund(Funds::unlimited((&facts.view, outbound.bytes()), row, price, None));
            (id, sent) = match meter.begin(row, &target, &outbound) {
                Ok(begun) => begun,
                Err(_) => return unwritten(meter),
            };
            if meter.held().await.is_err() {
                return unwritten(meter);
            }
        }
        let timing = Timing::new(row, &meter);
        let failure = match row.call(&mut outbound, id, timing.deadline, sent, call.held.another()).await {
            Err(failure) => failure,
            Ok(mut answer) => {
                meter.answered(answer.status.as_u16(), answer.provider_request_id.take());
                let Answer { status, headers, body, held, .. } = answer;
                let is_stream = matches!(body, Answered::Stream(_));
                match body {
                    Answered::Whole(body, encoded) if is_read && body.is_json(&headers) => {
                        let read = (outbound.dialect, body, encoded);
                        let seen = |facts: &Facts| meter.saw_whole(facts);
                        match row.read_whole(read, &headers, timing.deadline, held, seen).await {
                            Err(failure) => failure,
                            Ok(json) => {
                                if let Some(late) = late
                                    && let Some(bill) = late.bill(&json)
                                {
                                    late.book(bill).await;
                                }
                                meter.first_byte();
                                meter.passed(status.as_u16());
                                return Reply { status, headers, decision: None, body: ReplyBody::Whole(json) };
                            }
                        }
                    }
                    Answered::Whole(body, Ok(None)) | Answered::Stream(body) => {
                        let headers = with_length(headers, &body);
                        let opaque = Opaque::new(body, meter, status.as_u16(), row.dispatch().idle_timeout);
                        let body = match late.filter(|_| is_stream) {
                            Some(late) => ReplyBody::Overheard(Box::new(Overheard::new(opaque, late, held))),
                            None => ReplyBody::Opaque(Box::new(opaque)),
                        };
                        return Reply { status, headers, decision: None, body };
                    }
                    Answered::Whole(..) => Failure::Unreadable { what: "it is encoded, which we did not ask for" },
                }
            }
        };
        meter.failed(&failure);
        let (status, headers, body, code) = failed_reply(failure, &facts);
        meter.refused(code, status.as_u16());
        Reply { status, headers, decision: None, body }
    }
}

/// The way into the row by which a call is passed on: that of what it names, else the first, so that what is made to be named
/// together is kept together.
fn way_on(call: &Call, row: &Row) -> usize {
    kept_way(call, row).unwrap_or_default()
}

fn unwritten(mut meter: Meter) -> Reply {
    let error = ApiError::new(Code::LedgerUnavailable, "the ledger cannot write");
    meter.refused(error.code, error.status);
    Reply { status: status_of(&error), headers: HeaderMap::new(), decision: None, body: ReplyBody::Error(error) }
}

fn with_length(mut headers: HeaderMap, body: &Arriving) -> HeaderMap {
    if let Some(length) = http_body::Body::size_hint(body).exact() {
        headers.insert(CONTENT_LENGTH, length.into());
    }
    headers
}
