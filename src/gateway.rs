//! The life of a request, from the call that the server read to the reply that it sends.
//!
//! ```text
//! admit ─▶ classify ─▶ choose ─▶ hold ─▶ call ─▶ relay ─▶ settle
//! budget   classify    route     budget  providers        meter
//! ```
//!
//! [`Gateway::answer`] is the hallway: each step is a room of its own with typed results. After the
//! first byte has gone to the client there is no fallback; later failures travel in the stream.

pub mod conversations;
mod counting;
mod equals;
mod hedging;
pub mod hold;
mod lap;
mod late;
pub mod live;
mod names;
pub mod overheard;
pub mod passing;
mod ratelimits;
pub mod recall;
mod refusals;
pub mod routing;
pub mod standings;
pub mod state;
mod timing;
mod translating;
mod ways;

use std::sync::Arc;
use std::time::Instant as Clock;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use tokio::time::Instant;

use crate::call::{Call, CallFacts};
use crate::config::{Config, Key, Payers};
use crate::cost::Book;
use crate::dialect::Dialect;
use crate::ids::{ProviderId, RequestId};
use crate::limits::DECIDED_AT_ONCE_BYTES_MAX;
use crate::meter::Meter;
use crate::meter::accounts::Accounts;
use crate::meter::opaque::Opaque;
use crate::meter::relay::Relay;
use crate::money::{CostInterval, NanoUsd};
use crate::plan::{ModelRef, Plan, Reason, Why};
use crate::policy::Set;
use crate::providers::dispatch::{Attempts, Next, after};
use crate::providers::health::Health;
use crate::providers::load::{Kind, Loads};
use crate::providers::{Failure, Providers};
use crate::translate::Dropped;
use crate::wire::errors::{ApiError, Code};

use hedging::Hedges;
use hold::Purse;
use live::Live;
use overheard::Overheard;
use refusals::{failed_reply, keep_at, status_of, unspoken};
use routing::{Asking, Decided, Routing, bytes_read};
use state::State;
use timing::Timing;
use translating::{Sayings, Unsaid};

/// Everything that requests pass through.
pub struct Gateway {
    config: Arc<Config>,
    accounts: Arc<Accounts>,
    providers: Providers,
    health: Health,
    loads: Loads,
    hedges: Hedges,
    routing: Arc<Routing>,
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
    /// Where it was to go, and why.
    pub plan: Arc<Plan>,
    /// The edits that were made.
    pub edits: String,
    /// What a translation left out, if anything.
    pub dropped: Option<String>,
    /// What the request cost; `None` while its stream runs.
    pub cost: Option<CostInterval>,
    /// What that saved; `None` while its stream runs, or where nobody knows.
    pub saved: Option<NanoUsd>,
    /// Some of that was estimated, for want of the provider's word.
    pub estimated: bool,
}

/// The kinds of bodies that go back.
pub enum ReplyBody {
    /// Complete.
    Whole(Bytes),
    /// Events, as they arrive.
    Stream(Box<Relay>),
    /// As it arrives, and not read.
    Opaque(Box<Opaque>),
    /// The same, listened to for its end.
    Overheard(Box<Overheard>),
    /// An error of ours, to be written in the caller's dialect.
    Error(ApiError),
}

/// Where a call stands after the providers were asked.
enum Outcome {
    Whole { status: StatusCode, headers: HeaderMap, json: Bytes, meter: Box<Meter> },
    Stream { status: StatusCode, headers: HeaderMap, relay: Box<Relay> },
    Failed { failure: Failure, meter: Box<Meter> },
    NotHeld { meter: Box<Meter> },
    Denied { error: ApiError, meter: Box<Meter> },
}

impl Outcome {
    /// As what its answer was waited for.
    fn kind(&self) -> Kind {
        if matches!(self, Self::Stream { .. }) { Kind::Stream } else { Kind::Whole }
    }

    /// The model whose answer goes to the client.
    fn answered_by(&self) -> Option<&ModelRef> {
        match self {
            Self::Whole { meter, .. } => meter.target(),
            Self::Stream { relay, .. } => relay.meter().target(),
            Self::Failed { .. } | Self::NotHeld { .. } | Self::Denied { .. } => None,
        }
    }
}

impl Gateway {
    /// Assembles the hallway.
    pub fn new(config: Arc<Config>, accounts: Arc<Accounts>, providers: Providers, policies: Set) -> Self {
        let routing = Arc::new(Routing::new(Arc::clone(&config), policies));
        let (health, loads, hedges) = (Health::default(), Loads::default(), Hedges::default());
        Self { config, accounts, providers, health, loads, hedges, routing }
    }

    /// The configuration it runs on.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What payers may do now.
    pub fn payers(&self) -> Arc<Payers> {
        self.routing.payers.load_full()
    }

    /// Puts other terms of teams in force, all at once, for the requests that come from now on, those that wait for money and,
    /// where they want more of it, those in flight. What they spend stays where it is counted.
    pub fn replace_payers(&self, payers: Payers) {
        let payers = Arc::new(payers);
        self.routing.payers.store(Arc::clone(&payers));
        let holds = &self.accounts.holds;
        holds.with(|books| books.replace_budgets(|payer| hold::terms_of(&payers.teams, payer)?.budget));
    }

    /// What it writes to.
    pub fn accounts(&self) -> &Arc<Accounts> {
        &self.accounts
    }

    /// Puts other policies in force, all at once, for the requests that come from now on and belong to no conversation.
    pub fn replace_policies(&self, policies: Set) {
        let live = Live::after(policies, self.routing.live.load().in_force());
        self.routing.live.store(Arc::new(live));
    }

    /// What decides where calls go.
    pub fn routing(&self) -> &Routing {
        &self.routing
    }

    /// Answers one call. Dropping the future cancels the provider's call and settles what had left.
    pub async fn answer(&self, call: Call, key: Option<&Key>) -> Reply {
        let facts = Arc::clone(&call.facts);
        let book = self.accounts.book.load_full();
        let purse = self.purse(&facts, key);
        let running = match self.admit(&purse, &facts) {
            Ok(running) => running,
            Err(error) => return self.paced(&purse, &facts, self.turn_away(&facts, error)),
        };
        let downgrade = self.is_to_downgrade(&purse, &facts);
        let (mut plan, remembered) = match self.decide(&call, key, &book, downgrade).await {
            Ok(decided) => decided.into_parts(),
            Err(error) => return self.turn_away(&facts, error),
        };
        self.prefer_speaking(&facts, &mut plan);
        if let Err(error) = self.keep_able(&call, &mut plan) {
            return self.turn_away(&facts, error);
        }
        let less_busy = self.weigh(&facts, &mut plan, remembered.held());
        plan.state = State::of(remembered.held(), self.resting(&plan), less_busy);
        let plan = Arc::new(plan);
        // It is handed on from step to step: better its address than all of it.
        let mut meter = Box::new(Meter::open(&self.accounts, book, &facts, &plan));
        meter.beside(|model| self.providers.row(&model.provider).cloned());
        meter.sketch(&call.body);
        meter.count_as(running);
        let outcome = self.ask(call, &plan, &purse, meter).await;
        if let Some(model) = outcome.answered_by() {
            self.routing.answered(remembered, model, Clock::now());
        }
        let awaits_disk = matches!(outcome, Outcome::Whole { .. } | Outcome::Failed { .. });
        let reply = self.paced(&purse, &facts, settle_and_reply(outcome));
        if let Some(secured) = self.accounts.secured().filter(|_| awaits_disk) {
            // The money is spent: the client gets its answer, and a failure is in the log and the metrics.
            drop(secured.await);
        }
        reply
    }

    /// *classify* and *choose*: at once, or where much is to be read, away from the threads that serve and in a place.
    /// Dropping the future gives up the waiting; deciding that has begun goes on to its end and keeps its place.
    async fn decide(
        &self,
        call: &Call,
        key: Option<&Key>,
        book: &Arc<Book>,
        downgrade: bool,
    ) -> Result<Decided, ApiError> {
        if bytes_read(&call.facts) <= DECIDED_AT_ONCE_BYTES_MAX {
            let asking = Asking { call: &call.facts, body: &call.body, key, book, downgrade };
            return self.routing.decide(asking, Clock::now());
        }
        let place = call.held.decoders().acquire_owned().await;
        let (routing, facts, body) = (Arc::clone(&self.routing), Arc::clone(&call.facts), call.body.clone());
        let (key, book) = (key.cloned(), Arc::clone(book));
        let decide = move || {
            let asking = Asking { call: &facts, body: &body, key: key.as_ref(), book: &book, downgrade };
            let decided = routing.decide(asking, Clock::now());
            drop(place);
            decided
        };
        let broke_off = |_| Err(ApiError::new(Code::Internal, "deciding where the request goes broke off"));
        tokio::task::spawn_blocking(decide).await.unwrap_or_else(broke_off)
    }

    /// Leaves only the targets in a plan that can answer at all: what is no conversation is not translated, and what a
    /// provider keeps is nowhere else.
    fn keep_able(&self, call: &Call, plan: &mut Plan) -> Result<(), ApiError> {
        let surface = call.facts.surface;
        if surface.asks_by_name() {
            let speaks = |id: &ProviderId| self.providers.row(id).is_some_and(|row| row.speaks(Dialect::Chat));
            plan.targets.retain(|target| speaks(&target.provider));
            if plan.targets.is_empty() {
                return Err(unspoken(surface));
            }
        }
        call.kept_at.as_ref().map_or(Ok(()), |keeper| keep_at(&keeper.provider, plan))
    }

    /// Among rows of one model, has those come first that speak as the client does: what need not be translated is not.
    fn prefer_speaking(&self, call: &CallFacts, plan: &mut Plan) {
        let Some(dialect) = call.surface.speaks().filter(|dialect| !self.providers.all_speak(*dialect)) else { return };
        let speaks = |target: &ModelRef| self.providers.row(&target.provider).is_some_and(|row| row.speaks(dialect));
        for rows in plan.targets.chunk_by_mut(|one, next| one.model == next.model) {
            rows.sort_by_key(|target| !speaks(target));
        }
    }

    /// The targets of a plan that will not be called, but as the last hope.
    fn resting(&self, plan: &Plan) -> Vec<String> {
        let now = Clock::now();
        let rests = |target: &&ModelRef| {
            let circuit = self.providers.row(&target.provider).and_then(|row| row.dispatch().circuit);
            self.health.rests(target, circuit, now)
        };
        plan.targets.iter().filter(rests).map(ToString::to_string).collect()
    }

    /// *hold* and *call*, over retries and fallbacks, until an answer begins or nothing is left to try.
    async fn ask(&self, call: Call, plan: &Plan, purse: &Purse, mut meter: Box<Meter>) -> Outcome {
        let mut attempts = Attempts::new(&plan.targets);
        let mut failure = Failure::Connect { why: "no target is up" };
        let mut sayings = Sayings::default();
        let rules_of = |target: &ModelRef| self.providers.row(&target.provider).map(|row| *row.dispatch());
        while let Some(target) = attempts.next(&self.health, rules_of, Clock::now()) {
            let Some(row) = self.providers.row(&target.provider) else { break };
            if meter.attempts() > 0 && Timing::new(row, &meter).is_over() {
                break;
            }
            let worded = match translating::dialect_for(&call, row, target) {
                None => row.word(&call, target),
                Some(dialect) => {
                    match Box::pin(self.say(&call, (row, target), dialect, &mut sayings, &mut meter)).await {
                        Ok(worded) => worded,
                        Err(Unsaid::Denied(error)) => return Outcome::Denied { error, meter },
                        Err(Unsaid::PassedOver) => {
                            attempts.pass_over();
                            continue;
                        }
                    }
                }
            };
            let entrant = match self.enter(&call, (row, target, worded), (purse, attempts.tried()), &mut meter).await {
                Ok(entrant) => entrant,
                Err(stopped) => return stopped.outcome(meter),
            };
            let (lap, ran) = match self.hedge_after(&call, (&entrant.lap, &attempts), &meter) {
                None => self.run(&call, entrant, meter).await,
                Some(delay) => Box::pin(self.race((&call, purse), meter, (entrant, delay), &mut attempts)).await,
            };
            match ran {
                Ok(outcome) => {
                    self.praise(&lap, outcome.kind());
                    return outcome;
                }
                Err(failed) => (meter, failure) = *failed,
            }
            meter.failed(&failure);
            self.blame(&lap, &failure);
            if self.goes_another_way(&call, &lap, &failure, &mut attempts) && !lap.timing.is_over() {
                continue;
            }
            match after(&failure, attempts.tries(), lap.row.dispatch(), fastrand::f64()) {
                Next::Retry(pause) if Instant::now() + pause < lap.timing.deadline => tokio::time::sleep(pause).await,
                Next::Retry(_) | Next::GiveUp => break,
                Next::Fallback => attempts.fall_back(),
            }
        }
        match sayings.why_not().filter(|_| meter.attempts() == 0) {
            Some(error) => Outcome::Denied { error, meter },
            None => Outcome::Failed { failure, meter },
        }
    }

    /// Accounts for a call that has the answer of the request `first`, and costs nothing.
    pub fn replayed(&self, facts: &Arc<CallFacts>, first: RequestId, status: StatusCode) {
        let as_first = Reason { because: Some(first.to_string().into()), ..Reason::of(Why::Replayed) };
        let unplanned = Plan::new(None, Vec::new(), as_first);
        self.unplanned(facts, unplanned).replayed(status.as_u16());
    }

    /// Refuses a call before it has a plan.
    pub fn turn_away(&self, facts: &Arc<CallFacts>, error: ApiError) -> Reply {
        let unplanned = Plan::new(None, Vec::new(), Reason::of(Why::Refused));
        self.unplanned(facts, unplanned).refused(error.code, error.status);
        Reply { status: status_of(&error), headers: HeaderMap::new(), decision: None, body: ReplyBody::Error(error) }
    }

    /// Accounts for a call that goes nowhere.
    fn unplanned(&self, facts: &Arc<CallFacts>, plan: Plan) -> Meter {
        Meter::open(&self.accounts, self.accounts.book.load_full(), facts, &Arc::new(plan))
    }
}

/// *relay* and *settle*: a whole answer is settled here, a stream settles itself as it goes by.
fn settle_and_reply(outcome: Outcome) -> Reply {
    let decision = |meter: &Meter, cost: Option<CostInterval>| {
        let (model, edits, estimated) = (meter.target().cloned(), meter.edits().to_owned(), meter.is_estimated());
        let saved = cost.and(meter.saved());
        let (plan, dropped) = (Arc::clone(meter.plan()), meter.dropped().map(Dropped::list));
        Some(Decision { model, plan, edits, dropped, cost, saved, estimated })
    };
    match outcome {
        Outcome::Whole { status, headers, json, mut meter } => {
            meter.first_byte();
            let cost = meter.complete(status.as_u16());
            let decision = decision(&meter, Some(cost));
            Reply { status, headers, decision, body: ReplyBody::Whole(json) }
        }
        Outcome::Stream { status, headers, mut relay } => {
            relay.begin();
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
        Outcome::Denied { error, mut meter } => {
            meter.refused(error.code, error.status);
            let decision = decision(&meter, Some(meter.spent()));
            Reply { status: status_of(&error), headers: HeaderMap::new(), decision, body: ReplyBody::Error(error) }
        }
        Outcome::Failed { failure, mut meter } => {
            let (status, headers, body, code) = failed_reply(failure, meter.call());
            meter.refused(code, status.as_u16());
            let decision = decision(&meter, Some(meter.spent()));
            Reply { status, headers, decision, body }
        }
    }
}
