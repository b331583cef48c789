//! The life of a request, from the call that the server read to the reply that it sends.
//!
//! ```text
//! admit ─▶ choose ─▶ hold ─▶ call ─▶ relay ─▶ settle
//! door     route     ledger  providers        meter
//! ```
//!
//! [`Gateway::answer`] is the hallway: each step is a room of its own with typed results. After the
//! first byte has gone to the client there is no fallback; later failures travel in the stream.

use std::sync::Arc;
use std::time::{Duration, Instant as Clock};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::Instant;

use crate::call::Call;
use crate::config::{Config, Key};
use crate::limits::REPLY_BYTES_MAX;
use crate::meter::Meter;
use crate::meter::accounts::Accounts;
use crate::meter::relay::{Relay, Rules};
use crate::money::CostInterval;
use crate::plan::{ModelRef, Plan, Reason};
use crate::providers::dispatch::{Attempts, Next, after};
use crate::providers::health::Health;
use crate::providers::openai::refusal_in_success;
use crate::providers::{Answer, Answered, Failure, Outbound, Providers, Row};
use crate::route::{Allowed, Asked, NoPlan, choose};
use crate::task::Tier;
use crate::wire::errors::{ApiError, Code};
use crate::wire::openai_reply;

/// Everything that requests pass through.
pub struct Gateway {
    config: Arc<Config>,
    accounts: Arc<Accounts>,
    providers: Providers,
    health: Health,
}

/// What goes back to the client.
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// The provider's headers that may be passed on.
    pub headers: HeaderMap,
    /// What was decided; `None` for a request that got no plan.
    pub decision: Option<Decision>,
    /// The body.
    pub body: ReplyBody,
}

/// What was decided for a request, for the headers of its reply.
pub struct Decision {
    /// The model that answered.
    pub model: Option<ModelRef>,
    /// Its tier.
    pub tier: Option<Tier>,
    /// Why.
    pub reason: Reason,
    /// The edits that were made.
    pub edits: String,
    /// What the request cost; `None` while its stream runs.
    pub cost: Option<CostInterval>,
    /// Some of that was estimated, for want of the provider's word.
    pub estimated: bool,
}

/// The kinds of bodies that go back.
pub enum ReplyBody {
    /// Complete.
    Whole(Bytes),
    /// Events, as they arrive.
    Stream(Box<Relay>),
    /// An error of ours, to be written in the caller's dialect.
    Error(ApiError),
}

/// Where a call stands after the providers were asked.
enum Outcome {
    Whole { answer: Answer, json: Bytes, meter: Meter },
    Stream { status: StatusCode, headers: HeaderMap, relay: Box<Relay> },
    Failed { failure: Failure, meter: Meter },
    NotHeld { meter: Meter },
}

impl Gateway {
    /// Assembles the hallway.
    pub fn new(config: Arc<Config>, accounts: Arc<Accounts>, providers: Providers) -> Self {
        Self { config, accounts, providers, health: Health::default() }
    }

    /// The configuration it runs on.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What it writes to.
    pub fn accounts(&self) -> &Arc<Accounts> {
        &self.accounts
    }

    /// Answers one call. Dropping the future cancels the provider's call and settles what had left.
    pub async fn answer(&self, call: Call, key: Option<&Key>) -> Reply {
        let (facts, name) = (&call.facts, &*call.facts.view.model);
        let plan = match self.choose(name, facts.pinned_tier, facts.who.team.as_str(), key) {
            Ok(plan) => plan,
            Err(error) => return self.no_plan(&call, error),
        };
        let meter = Meter::open(&self.accounts, &call.facts, &plan);
        let outcome = self.ask(call, &plan, meter).await;
        settle_and_reply(outcome, &plan)
    }

    /// *choose*: what is asked, within what is granted. Also tells what a key may ask for before it asks.
    ///
    /// # Errors
    ///
    /// The refusal that a request would get.
    pub fn choose(&self, name: &str, pinned: Option<Tier>, team: &str, key: Option<&Key>) -> Result<Plan, ApiError> {
        let asked = match (name, Tier::parse(name)) {
            ("auto", _) => pinned.map_or(Asked::Auto, Asked::Tier),
            (_, Some(tier)) => Asked::Tier(tier),
            _ => Asked::Exact(self.serving(name)),
        };
        if matches!(&asked, Asked::Exact(targets) if targets.is_empty()) {
            let message = "no provider row serves this model; `GET /v1/models` lists those that are known";
            return Err(ApiError::new(Code::ModelNotFound, message).param("model"));
        }
        let granted = key.and_then(|key| key.may.models.as_ref());
        let model = granted.map(|globs| {
            move |m: &ModelRef| globs.iter().any(|g| g.is_match(m.model.as_str()) || g.is_match(m.to_string()))
        });
        let usable = self.config.team(team).and_then(|team| team.providers.as_ref());
        let provider = usable.map(|rows| move |m: &ModelRef| rows.contains(&m.provider));
        let allowed = Allowed {
            tiers: key.and_then(|key| key.may.tiers.as_deref()),
            model: model.as_ref().map(|covers| covers as &dyn Fn(&ModelRef) -> bool),
            provider: provider.as_ref().map(|may_use| may_use as &dyn Fn(&ModelRef) -> bool),
        };
        choose(asked, &self.config.tiers, allowed).map_err(refusal_of)
    }

    fn serving(&self, name: &str) -> Vec<ModelRef> {
        let targets = self.config.resolve(name);
        targets.map(|target| ModelRef { provider: target.provider.id.clone(), model: target.model.into() }).collect()
    }

    /// *hold* and *call*, over retries and fallbacks, until an answer begins or nothing is left to try.
    async fn ask(&self, call: Call, plan: &Plan, mut meter: Meter) -> Outcome {
        let mut attempts = Attempts::new(&plan.targets);
        let mut failure = Failure::Connect;
        let rules_of = |target: &ModelRef| self.providers.row(&target.provider).map(|row| *row.dispatch());
        while let Some(target) = attempts.next(&self.health, rules_of, Clock::now()) {
            let Some(row) = self.providers.row(&target.provider) else { break };
            let mut outbound = row.prepare(&call, target);
            let (attempt, sent) = match meter.begin(row, target, &outbound) {
                Ok(begun) => begun,
                Err(_) => return Outcome::NotHeld { meter },
            };
            let timing = Timing::new(row, &meter);
            let answer = row.call(&mut outbound, attempt, timing.head(meter.call().view.stream), sent).await;
            let read = match answer {
                Ok(answer) => self.read(answer, meter, &outbound, row, timing).await,
                Err(failure) => Err(Box::new((meter, failure))),
            };
            match read {
                Ok(outcome) => {
                    self.health.succeeded(target);
                    return outcome;
                }
                Err(failed) => (meter, failure) = *failed,
            }
            meter.failed(&failure);
            let ill = failure.is_ill_health() && !timing.was_ended_by_caller(&failure);
            if ill && self.health.failed(target, row.dispatch().circuit, Clock::now()) {
                self.accounts.log.event("circuit_opened", &serde_json::json!({ "target": target.to_string() }));
            }
            match after(&failure, attempts.tries(), row.dispatch(), fastrand::f64()) {
                Next::Retry(pause) if Instant::now() + pause < timing.deadline => tokio::time::sleep(pause).await,
                Next::Retry(_) | Next::GiveUp => break,
                Next::Fallback => attempts.fall_back(),
            }
        }
        Outcome::Failed { failure, meter }
    }

    /// Reads an answer as far as is needed to know that it is one.
    async fn read(
        &self,
        mut answer: Answer,
        mut meter: Meter,
        outbound: &Outbound,
        row: &Row,
        timing: Timing,
    ) -> Result<Outcome, Box<(Meter, Failure)>> {
        meter.answered(answer.status.as_u16(), answer.provider_request_id.take());
        match answer.body {
            Answered::Stream(events) => {
                let rules = Rules {
                    withhold_usage: outbound.withhold_usage,
                    cost_comment: self.config.server.cost_comment,
                    first_byte_deadline: timing.head(true),
                    idle_timeout: row.dispatch().idle_timeout,
                    deadline: timing.deadline,
                };
                let relay = Relay::open(events, meter, rules).await?;
                Ok(Outcome::Stream { status: answer.status, headers: answer.headers, relay: Box::new(relay) })
            }
            Answered::Whole(ref mut body) => match read_whole(body, &answer.headers, &mut meter, timing.deadline).await
            {
                Ok(json) => Ok(Outcome::Whole { answer, json, meter }),
                Err(failure) => Err(Box::new((meter, failure))),
            },
        }
    }

    fn no_plan(&self, call: &Call, error: ApiError) -> Reply {
        let unplanned = Plan { tier: None, targets: Vec::new(), reason: Reason::Refused };
        Meter::open(&self.accounts, &call.facts, &unplanned).refused(error.code, error.status);
        Reply { status: status_of(&error), headers: HeaderMap::new(), decision: None, body: ReplyBody::Error(error) }
    }
}

/// Reads one JSON object to its end.
async fn read_whole(
    body: &mut Incoming,
    headers: &HeaderMap,
    meter: &mut Meter,
    deadline: Instant,
) -> Result<Bytes, Failure> {
    let limited = http_body_util::Limited::new(body, REPLY_BYTES_MAX);
    let json = match tokio::time::timeout_at(deadline, limited.collect()).await {
        Err(_) => return Err(Failure::Timeout { sent: true }),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            return Err(Failure::Unreadable { what: "it is too large" });
        }
        Ok(Err(_)) => return Err(Failure::Reset { sent: true }),
        Ok(Ok(read)) => read.to_bytes(),
    };
    let facts = openai_reply::read(&json).map_err(|_| Failure::Unreadable { what: "it is not a JSON object" })?;
    if facts.error {
        return Err(Failure::Refused(refusal_in_success(headers, json)));
    }
    meter.saw(&facts);
    Ok(json)
}

/// *relay* and *settle*: a whole answer is settled here, a stream settles itself as it goes by.
fn settle_and_reply(outcome: Outcome, plan: &Plan) -> Reply {
    let decision = |meter: &Meter, cost| {
        let (model, edits, estimated) = (meter.target().cloned(), meter.edits().to_owned(), meter.is_estimated());
        Some(Decision { model, tier: plan.tier, reason: plan.reason, edits, cost, estimated })
    };
    match outcome {
        Outcome::Whole { answer, json, mut meter } => {
            meter.first_byte();
            let cost = meter.complete(answer.status.as_u16());
            let decision = decision(&meter, Some(cost));
            Reply { status: answer.status, headers: answer.headers, decision, body: ReplyBody::Whole(json) }
        }
        Outcome::Stream { status, headers, relay } => {
            let decision = decision(relay.meter(), None);
            Reply { status, headers, decision, body: ReplyBody::Stream(relay) }
        }
        Outcome::NotHeld { mut meter } => {
            let error = ApiError::new(Code::LedgerUnavailable, "the ledger cannot write, so nothing may be spent")
                .retry_after(5);
            meter.refused(error.code, error.status);
            let decision = decision(&meter, Some(meter.spent()));
            Reply { status: status_of(&error), headers: HeaderMap::new(), decision, body: ReplyBody::Error(error) }
        }
        Outcome::Failed { failure, mut meter } => {
            let (status, headers, body, code) = failed_reply(failure);
            meter.refused(code, status.as_u16());
            let decision = decision(&meter, Some(meter.spent()));
            Reply { status, headers, decision, body }
        }
    }
}

/// A provider's error in the caller's dialect passes byte for byte, except where it may tell of our credential.
fn failed_reply(failure: Failure) -> (StatusCode, HeaderMap, ReplyBody, Code) {
    let error = failure.to_error();
    match failure {
        Failure::Refused(refusal) if error.code != Code::ProviderCredentials => {
            let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::BAD_GATEWAY);
            let body = refusal.json.map_or(ReplyBody::Error(error), ReplyBody::Whole);
            // What the provider turns down for good is the caller's doing; the rest is the provider's.
            let is_callers = refusal.status < 500 && !matches!(refusal.status, 408 | 409 | 429);
            let code = if is_callers { Code::RefusedByProvider } else { Code::ProviderError };
            (status, refusal.headers, body, code)
        }
        _ => (status_of(&error), HeaderMap::new(), ReplyBody::Error(error.clone()), error.code),
    }
}

fn status_of(error: &ApiError) -> StatusCode {
    StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

fn refusal_of(why: NoPlan) -> ApiError {
    match why {
        NoPlan::EmptyTier(tier) => {
            ApiError::new(Code::ModelNotFound, format!("the tier `{tier}` has no models")).param("model")
        }
        NoPlan::TierNotGranted(tier) => {
            ApiError::new(Code::NotGranted, format!("this key may not use the tier `{tier}`")).param("model")
        }
        NoPlan::ModelNotGranted => ApiError::new(Code::NotGranted, "this key may not use this model").param("model"),
        NoPlan::NoProviderForTeam => {
            ApiError::new(Code::NotGranted, "this team may use none of the providers that serve this model")
                .param("model")
        }
    }
}

/// The deadlines of one attempt.
#[derive(Clone, Copy)]
struct Timing {
    started: Instant,
    first_byte: Duration,
    /// Of the whole request, all attempts together.
    deadline: Instant,
    /// The caller's deadline is the shorter one.
    deadline_is_callers: bool,
}

impl Timing {
    fn new(row: &Row, meter: &Meter) -> Self {
        let (rules, call) = (row.dispatch(), meter.call());
        let patience = call.deadline.unwrap_or(Duration::MAX);
        Self {
            started: Instant::now(),
            first_byte: rules.first_byte_timeout,
            deadline: Instant::from_std(call.arrived) + rules.total_timeout.min(patience),
            deadline_is_callers: patience < rules.total_timeout,
        }
    }

    /// A caller's haste says nothing about a target's health, and must not rest it for others.
    fn was_ended_by_caller(&self, failure: &Failure) -> bool {
        self.deadline_is_callers && matches!(failure, Failure::Timeout { .. }) && Instant::now() >= self.deadline
    }

    /// When the head, and for a stream its first event, must have come.
    fn head(&self, stream: bool) -> Instant {
        if stream { self.deadline.min(self.started + self.first_byte) } else { self.deadline }
    }
}
