//! Accounts for one request: an intent before each attempt leaves, an outcome when it ends, exactly once.
//!
//! A [`Meter`] follows its request through retries and fallbacks into the reply, which [`relay`] watches
//! go by. However that ends (in full, refused, broken, hung up, a panic), each attempt that left has one
//! settled row and the request one closing, one log event and its metrics. Nothing here waits.

pub mod accounts;
mod amending;
mod attempt;
mod closing;
pub mod estimates;
pub mod funds;
pub mod holds;
pub mod opaque;
pub mod overhead;
pub mod passing;
pub mod prefixes;
mod racing;
pub mod relay;
pub mod savings;
pub mod sketches;
#[cfg(test)]
pub(crate) mod tests;
mod translated;

use std::borrow::Cow;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use jiff::{Timestamp, Zoned};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::call::{CallFacts, Surface};
use crate::cost::{Book, Price};
use crate::ids::AttemptId;
use crate::ledger::LedgerError;
use crate::ledger::record::{Closed, Comparison, DecisionFacts, Fate, Record, RequestFacts, Sketch};
use crate::money::{CostInterval, NanoUsd};
use crate::plan::{Arm, ModelRef, Plan};
use crate::providers::{Failure, Outbound, Row, body::Sent, load::Busy};
use crate::reply::facts::Facts;
use crate::reply::usage::{Apart, Source, Usage};
use crate::task::Tier;
use crate::translate::Dropped;
use crate::wire::errors::Code;

use accounts::Accounts;
use attempt::{Attempt, Settled};
use closing::Moment;
use funds::{Funds, enforced};
use holds::Running;
use overhead::Overhead;
use racing::Race;
use savings::{Answered, Beside, Priced};
use sketches::{Drawn, Loss, Slot};

/// Accounts for one request. Dropping it settles whatever is open: the client is gone.
pub struct Meter {
    accounts: Arc<Accounts>,
    /// The prices in force when the request arrived: a reload in mid-air changes nothing for it.
    book: Arc<Book>,
    call: Arc<CallFacts>,
    plan: Arc<Plan>,
    /// The plan's reason, conversation and would-be model as rows spell them.
    reason: Cow<'static, str>,
    session: Option<Session>,
    would_model: Option<String>,
    attempts: u16,
    /// What the settled attempts cost together.
    spent: CostInterval,
    /// The tokens of the settled attempts; `None` while none of them said any.
    used: Option<Usage>,
    /// Some of the cost was estimated.
    estimated: bool,
    open: Option<Attempt>,
    /// What the request is held against; `None`: nobody knows where it would have gone without us.
    beside: Option<Beside>,
    /// What it is for, if no agent asked for it.
    overhead: Option<Overhead>,
    /// Where the sketch of its texts will be.
    sketch: Option<Slot>,
    /// What was saved, once it is closed and known.
    saved: Option<NanoUsd>,
    last_target: Option<ModelRef>,
    /// What became of the last attempt that failed, and the provider's status.
    trouble: Option<(&'static str, Option<u16>)>,
    edits: String,
    /// What a translation left out; `None`: nothing was, or there was none.
    dropped: Option<Box<Dropped>>,
    first_byte: Option<Duration>,
    /// What counts against limits while the request lasts.
    running: Option<Running>,
    /// What the next attempt is let go with.
    funds: Option<Funds>,
    /// Two of its attempts go on at once, or did, or it accounts for one of them; `None`: one follows the other.
    race: Option<Race>,
    closed: bool,
}

impl Meter {
    /// Starts accounting for a call that has a plan, at the prices that it was made with.
    pub fn open(accounts: &Arc<Accounts>, book: Arc<Book>, call: &Arc<CallFacts>, plan: &Arc<Plan>) -> Self {
        let task = task_of(call, plan);
        accounts.metrics.count_decision(task, plan.tier.map(Tier::as_str), plan.reason.why.as_str());
        if let Some(would) = &plan.would {
            accounts.metrics.count_would(task, would.tier.map(Tier::as_str), would.reason.why.as_str());
        }
        Self::new(accounts, book, call, plan)
    }

    fn new(accounts: &Arc<Accounts>, book: Arc<Book>, call: &Arc<CallFacts>, plan: &Arc<Plan>) -> Self {
        let mut meter = Self::bare(accounts, book, call, plan);
        meter.reason = plan.told();
        meter.session = plan.session.map(Session::of);
        meter.would_model = plan.would.as_ref().map(|would| would.model.to_string());
        meter
    }

    /// Without what rows say of the request.
    fn bare(accounts: &Arc<Accounts>, book: Arc<Book>, call: &Arc<CallFacts>, plan: &Arc<Plan>) -> Self {
        Self {
            accounts: Arc::clone(accounts),
            book,
            call: Arc::clone(call),
            plan: Arc::clone(plan),
            reason: Cow::Borrowed(""),
            session: None,
            would_model: None,
            attempts: 0,
            spent: CostInterval::NOTHING,
            used: None,
            estimated: false,
            open: None,
            beside: None,
            overhead: None,
            sketch: None,
            saved: None,
            last_target: None,
            trouble: None,
            edits: String::new(),
            dropped: None,
            first_byte: None,
            running: None,
            funds: None,
            race: None,
            closed: false,
        }
    }

    /// The request counts against limits until it is over.
    pub fn count_as(&mut self, running: Option<Running>) {
        self.running = running;
    }

    /// What the next attempt is let go with; without a word it is under no ceiling.
    pub fn fund(&mut self, funds: Funds) {
        self.funds = Some(funds);
    }

    /// The price of a model at a row, as it was when the request arrived.
    pub fn price(&self, row: &Row, target: &ModelRef) -> Option<Arc<Price>> {
        self.book.price_at(row.vendor(), target.model.as_str(), &self.arrived()).cloned()
    }

    /// Holds the request against where it would have gone without us. `row` gives the providers' rows.
    pub fn beside(&mut self, row: impl Fn(&ModelRef) -> Option<Arc<Row>>) {
        let arrived = self.arrived();
        let priced = |model: &ModelRef| Some(Priced::of(model, &*row(model)?, &self.book, &arrived));

        let Some(baseline) = &self.plan.baseline else { return };
        let Some(priced_baseline) = priced(baseline) else { return };
        let first = self.plan.targets.first();
        let planned = if first == Some(baseline) { Some(priced_baseline.clone()) } else { first.and_then(priced) };
        let met = self.accounts.prefixes.meet(&self.call, baseline, Instant::now());
        self.beside = Some(Beside::new(priced_baseline, planned, met));
    }

    /// Has a sketch drawn of the request's texts, behind its back.
    pub fn sketch(&mut self, body: &Bytes) {
        if self.call.surface.talks().is_none() {
            return;
        }
        let sides = self.beside.as_ref().and_then(|beside| beside.met.sides());
        self.sketch = self.accounts.sketches.ask(&self.call, body, sides);
    }

    /// Commits the intent of the next attempt. Only after this may its first byte leave; the body that
    /// leaves must carry the returned [`Sent`].
    ///
    /// # Errors
    ///
    /// [`LedgerError`]: the attempt must not leave.
    pub fn begin(
        &mut self,
        row: &Row,
        target: &ModelRef,
        outbound: &Outbound,
    ) -> Result<(AttemptId, Sent), LedgerError> {
        let now = Moment::now(&self.call);
        if self.attempts == 0 && self.overhead.is_none() {
            let waited = self.funds.as_ref().map(|funds| funds.waited).unwrap_or_default();
            let since_read = now.at.saturating_duration_since(self.call.read);
            self.accounts.metrics.overhead.observe(since_read.saturating_sub(waited).as_secs_f64());
        }
        self.attempts += 1;
        let id = AttemptId { request: self.call.id, ordinal: self.attempts };
        let view = outbound.view().unwrap_or(&self.call.view);
        let funds = self.funds.take();
        let funds =
            funds.unwrap_or_else(|| Funds::unlimited((view, outbound.bytes()), row, self.price(row, target), None));
        let mut attempt = Attempt::new(id, (row, target), (view, outbound.bytes()), funds);
        let record = if self.attempts == 1 {
            let (intent, decision) = (attempt.intent(Some(self.request_facts()), now.at_ms), self.decision());
            match self.overhead {
                None => Record::Planned(intent, decision),
                Some(overhead) => Record::Caused(intent, decision, overhead.cause()),
            }
        } else {
            Record::Intent(attempt.intent(None, now.at_ms))
        };
        self.accounts.commit(&record)?;
        if !outbound.usage_expected && self.call.surface == Surface::ChatCompletions {
            attempt.counting = self.accounts.estimates.count(row.vendor(), target.model.as_str(), outbound.pieces());
        }
        if let Some(beside) = self.beside.as_ref().filter(|_| self.attempts == 1) {
            self.accounts.prefixes.sent(&beside.met, now.at);
        }
        attempt.access = Some(row.accesses().get(outbound.access).id);
        self.edits.clone_from(&outbound.edits);
        let dropped = outbound.translated.as_ref().map(|translated| &translated.dropped);
        self.dropped = dropped.filter(|dropped| !dropped.is_empty()).map(|dropped| Box::new(dropped.clone()));
        self.last_target = Some(target.clone());
        let sent = attempt.sent.clone();
        self.open = Some(attempt);
        Ok((id, sent))
    }

    /// Waits until the intent is on the disk, where the ledger must survive a power cut; else it is ready at once.
    ///
    /// # Errors
    ///
    /// [`LedgerError`]: the attempt has been withdrawn and must not leave.
    pub async fn held(&mut self) -> Result<(), LedgerError> {
        let Some(secured) = self.accounts.secured() else { return Ok(()) };
        let held = secured.await;
        if held.is_err() && self.accounts.ledger.denies() {
            if let Some(attempt) = &self.open {
                attempt.sent.withhold();
            }
            self.settle(Fate::Failed, None);
            return held;
        }
        Ok(())
    }

    /// What waits until the outcome is on the disk; `None` where the kernel's word is enough. If that fails, the
    /// money is spent all the same: the client gets its answer, the log and the metrics say so.
    pub fn secured(&self) -> Option<impl Future<Output = ()> + Send + use<>> {
        let secured = self.accounts.secured()?;
        Some(async move { drop(secured.await) })
    }

    /// The open attempt counts among the calls to its target until it is settled.
    pub fn accompany(&mut self, busy: Busy) {
        if let Some(attempt) = &mut self.open {
            attempt.busy = Some(busy);
        }
    }

    /// The provider answered with a status of success.
    pub fn answered(&mut self, status: u16, provider_request_id: Option<String>) {
        if let Some(attempt) = &mut self.open {
            attempt.provider_status = Some(status);
            attempt.provider_request_id = provider_request_id;
        }
    }

    /// Takes note of a piece of the reply.
    pub fn saw(&mut self, facts: &Facts) {
        if let Some(attempt) = &mut self.open {
            attempt.saw(facts);
        }
    }

    /// Takes note of a whole answer.
    pub fn saw_whole(&mut self, facts: &Facts) {
        if let Some(attempt) = &mut self.open {
            attempt.saw_whole(facts);
        }
    }

    /// The first byte of the answer goes to the client.
    pub fn first_byte(&mut self) {
        self.first_byte.get_or_insert_with(|| self.call.arrived.elapsed());
    }

    /// Settles an attempt that gave no answer; the request goes on.
    pub fn failed(&mut self, failure: &Failure) {
        self.trouble = Some((failure.words(), failure.status()));
        if let Some(attempt) = &mut self.open {
            attempt.provider_status = attempt.provider_status.or(failure.status());
            if let Some(used) = failure.used() {
                attempt.saw_whole(used);
            }
        }
        self.settle(if failure.may_be_billed() { Fate::Interrupted } else { Fate::Failed }, None);
    }

    /// Settles the attempt whose reply is complete and closes the request, before the last frame goes out.
    /// Returns the request's cost.
    pub fn complete(&mut self, http_status: u16) -> CostInterval {
        self.settle(Fate::Completed, Some(("ok", http_status)));
        self.spent
    }

    /// Settles the attempt whose reply broke off after it had begun, and closes the request.
    pub fn broke(&mut self, code: Code) {
        self.accounts.metrics.count_error(code.metric());
        let fate = if code == Code::Draining { Fate::Cut } else { Fate::Interrupted };
        self.settle(fate, Some((code.as_str(), 200)));
    }

    /// Whether the provider writes beyond the limit that it was sent, and nothing more can be held for it.
    pub fn is_spent(&self) -> bool {
        self.open.as_ref().is_some_and(|attempt| attempt.is_spent)
    }

    /// About how many tokens the open attempt has read and written so far.
    pub fn relayed(&self) -> (u64, u64) {
        self.open.as_ref().map_or((0, 0), Attempt::relayed)
    }

    /// Settles the attempt whose stream is ended for want of money, and closes the request. Returns its cost.
    pub fn cut_short(&mut self) -> CostInterval {
        self.accounts.metrics.count_error(Code::BudgetExhausted.metric());
        self.settle(Fate::Cut, Some((Code::BudgetExhausted.as_str(), 200)));
        self.spent
    }

    /// What is waited for where shutting down may cut this request.
    pub fn cut(&self) -> impl Future<Output = ()> + Send + use<> {
        self.accounts.cutting.begun()
    }

    /// Closes a request that ends in an error before its reply began.
    pub fn refused(&mut self, code: Code, http_status: u16) {
        self.accounts.metrics.count_error(code.metric());
        self.settle(Fate::Interrupted, None);
        self.close_without_attempt(code.as_str(), http_status);
    }

    fn close_without_attempt(&mut self, status: &'static str, http_status: u16) {
        if self.closed {
            return;
        }
        self.closed = true;
        self.gather();
        if self.attempts == 0 && self.overhead.is_some() {
            // It cost nothing and no agent waits for it.
            return;
        }
        let now = Moment::now(&self.call);
        let closing = self.closing((status, http_status), now);
        let record = Record::Refused(Box::new(Closed { request: self.request_facts(), closing }), self.decision());
        // The ledger keeps what it cannot write and says so itself.
        drop(self.accounts.commit(&record));
        self.report((status, http_status), now, None);
    }

    /// The request's cost so far.
    pub fn spent(&self) -> CostInterval {
        self.spent
    }

    /// What the request saved, once it is closed; `None`: nobody knows.
    pub fn saved(&self) -> Option<NanoUsd> {
        self.saved
    }

    /// Whether some of the cost was estimated, for want of the provider's word.
    pub fn is_estimated(&self) -> bool {
        self.estimated
    }

    /// The request that is accounted for.
    pub fn call(&self) -> &CallFacts {
        &self.call
    }

    /// The edits of the current attempt, as in `x-farthing-edits`.
    pub fn edits(&self) -> &str {
        &self.edits
    }

    /// The target of the current attempt.
    pub fn target(&self) -> Option<&ModelRef> {
        self.last_target.as_ref()
    }

    /// Settles the open attempt, if there is one, and with `ends` the request as well.
    fn settle(&mut self, fate: Fate, ends: Option<(&'static str, u16)>) {
        let Some(mut attempt) = self.open.take() else { return };
        let now = Moment::now(&self.call);
        let settled = attempt.settle(fate, &self.call, &self.accounts.estimates);
        self.gather();
        let before = self.spent;
        self.spent = before.plus(settled.cost);
        self.used = settled.usage.map(|usage| self.used.unwrap_or_default().plus(usage)).or(self.used);
        self.estimated |= settled.is_estimate();
        let closes = ends.map(|ends| self.closing(ends, now));
        let is_compared =
            ends.is_some() && self.overhead.is_none() && (self.beside.is_some() || self.plan.arm.is_some());
        let (drawn, mut loss) = (self.drawn(), None);
        let comparison = is_compared.then(|| {
            // Which of two attempts that end at once without an answer is the last, rows do not say.
            let beside = self.beside.as_ref().filter(|_| self.race.is_none() || fate == Fate::Completed);
            let compared =
                beside.map(|beside| self.compare(beside, &attempt, &settled, (before, now))).unwrap_or_default();
            let mut comparison = compared.0;
            loss = compared.1;
            if let (Some(lost), Some(loss)) = (&mut comparison.lost, &loss) {
                lost.culprit = self.where_broke(loss, drawn).culprit;
            }
            self.count_saved(&comparison);
            if let Some(lost) = comparison.lost.filter(|_| !self.is_to_be_found(loss.as_ref(), drawn)) {
                self.accounts.metrics.count_cache_lost(lost.culprit, lost.cost.0);
            }
            Box::new(Comparison { arm: self.plan.arm.map(Arm::as_str), ..comparison })
        });
        let saved = comparison.as_ref().and_then(|found| savings::parts(found, self.spent)).map(|(saved, _)| saved);
        let outcome = attempt.outcome(&settled, now.at_ms, closes);
        let record = match (ends, comparison) {
            (Some(_), comparison) if self.overhead.is_none() && self.call.surface.talks().is_some() => {
                Record::Sketched(outcome, settled.pricing(), comparison, Box::new(self.sketched(drawn)))
            }
            (Some(_), Some(comparison)) => Record::Compared(outcome, settled.pricing(), comparison),
            _ => Record::Priced(outcome, settled.pricing()),
        };
        if let Some(apart) = settled.usage.map(|usage| usage.apart).filter(|apart| *apart != Apart::NONE) {
            drop(self.accounts.ledger.append(&Record::Apart(outcome.attempt, apart)));
        }
        drop(self.accounts.commit(&record));
        if ends.is_some() {
            self.amend(drawn, loss);
        }
        if let Some(hold) = attempt.hold.take() {
            hold.settle(enforced(settled.cost));
        }
        attempt.tell_overshoot(&settled, &self.accounts);
        attempt.tell_contradiction(&settled, &self.accounts);
        self.saved = saved;
        self.tell_whole(&settled);
        let series = attempt.count(&settled, &self.accounts.metrics, &self.call, self.plan.tier);
        if let Some(ends) = ends {
            self.closed = true;
            self.report(ends, now, Some(&series));
        }
    }

    /// The request beside what it would have cost without us, given what its attempts before the last did cost.
    fn compare<'b>(
        &self,
        beside: &'b Beside,
        attempt: &Attempt,
        settled: &Settled,
        (before, now): (CostInterval, Moment),
    ) -> (Comparison<'b>, Option<Loss>) {
        let (Some(usage), Some(tier), Some(cost)) = (settled.usage, settled.tier(), settled.cost.exact) else {
            return (beside.unknown(), None);
        };
        let (target, uncached) = (attempt.target(), attempt.uncached(&usage, tier));
        let chain = &self.call.view.outline.chain;
        let last = self.accounts.prefixes.answered(&beside.met, target, &usage, attempt.caching(), now.at);
        // What nobody reported was not read from a cache or written to one as far as anybody knows.
        let lost = beside.met.lost(target, usage, last).filter(|_| settled.source == Source::Reported);
        let intact = lost.and_then(|lost| Some((lost.culprit, attempt.priced(&lost.intact, tier).ok()?)));
        let comparison = beside.compare(Answered { target, usage, tier, cost, uncached, intact }, before, chain);
        let loss = lost.zip(comparison.lost).map(|(lost, booked)| {
            let (culprit, at_tokens, input_tokens) = (lost.culprit, lost.at_tokens, usage.input_tokens);
            Loss { culprit, cost: booked.cost, at_tokens, input_tokens }
        });
        (comparison, loss)
    }

    /// What the request looked like, as far as that is known by now.
    fn sketched(&self, drawn: Option<Drawn>) -> Sketch {
        let (chain, key) = (&self.call.view.outline.chain, self.accounts.ledger.key());
        let hash = |link: u64, besides: u64| xxh3_64_with_seed(&link.to_le_bytes(), key ^ besides);
        let model = xxh3_64_with_seed(self.call.view.model.as_bytes(), chain.head.hash);
        Sketch {
            head_bytes: chain.head.bytes,
            opening_bytes: chain.bytes.0,
            messages_bytes: chain.bytes.1,
            common_tokens: self.beside.as_ref().and_then(|beside| beside.met.common_tokens()),
            prefix: hash(chain.opening, chain.head.hash),
            exact: hash(chain.last(), model),
            texts: drawn.map(|drawn| drawn.texts),
        }
    }

    fn count_saved(&self, comparison: &Comparison<'_>) {
        let metrics = &self.accounts.metrics;
        if let Some((_, causes)) = savings::parts(comparison, self.spent) {
            causes.iter().for_each(|(cause, amount)| metrics.count_saved(cause, amount.0));
        }
        metrics.count_saved("provider_cache", comparison.provider_cache.unwrap_or_default().0);
    }

    fn decision(&self) -> DecisionFacts<'_> {
        let (plan, finding) = (&*self.plan, self.plan.finding.as_ref());
        DecisionFacts {
            reason: &self.reason,
            confidence_ppm: finding.map(|finding| finding.confidence_ppm),
            needs_strong_ppm: finding.map(|finding| finding.needs_strong_ppm),
            session: self.session.as_ref().map(Session::as_str),
            would_tier: plan.would.as_ref().and_then(|would| would.tier).map(Tier::as_str),
            would_model: self.would_model.as_deref(),
            state: plan.state.as_deref(),
        }
    }

    /// When the request arrived, where days begin that prices change on.
    fn arrived(&self) -> Zoned {
        let arrived = Timestamp::from_millisecond(self.call.at_ms).unwrap_or_default();
        arrived.to_zoned(self.accounts.timezone.clone())
    }

    fn request_facts(&self) -> RequestFacts<'_> {
        let (call, who) = (&*self.call, &self.call.who);
        RequestFacts {
            id: call.id,
            at_ms: call.at_ms,
            team: who.team.as_str(),
            key: who.key.as_ref().map_or("", |key| key.as_str()),
            project: who.project.as_deref(),
            pipeline: who.pipeline.as_deref(),
            user: who.user.as_deref(),
            run: who.run.as_deref(),
            prompt: who.prompt.as_deref(),
            task: task_of(call, &self.plan),
            tier: self.plan.tier.map(Tier::as_str),
            policy: self.plan.finding.as_ref().map(|finding| &*finding.policy),
            surface: call.surface.as_str(),
            model: &call.view.model,
        }
    }
}

/// The kind of work that the policy took it for; where no policy was asked, what the client calls it.
fn task_of<'a>(call: &'a CallFacts, plan: &'a Plan) -> Option<&'a str> {
    match &plan.finding {
        Some(_) => plan.task(),
        None => call.who.task.as_deref(),
    }
}

/// A conversation's hash in sixteen digits, as rows and the log spell it.
struct Session([u8; 16]);

impl Session {
    fn of(hash: u64) -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        Self(std::array::from_fn(|place| DIGITS[(hash >> (60 - 4 * place) & 15) as usize]))
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl Drop for Meter {
    /// The client hung up, shutting down ran out of patience, or something panicked: what may have been sent is settled as cut.
    fn drop(&mut self) {
        self.gather();
        if let (Some(running), Some(used)) = (&mut self.running, self.used) {
            running.used(used.input_tokens.saturating_add(used.output_tokens));
        }
        if self.closed || self.is_part() {
            self.lose();
            return;
        }
        let code = if self.accounts.cutting.has_begun() { Code::Draining } else { Code::ClientClosed };
        let Some(attempt) = &self.open else { return self.refused(code, code.status()) };
        self.accounts.metrics.count_error(code.metric());
        let fate = if attempt.sent.withhold() { Fate::Failed } else { Fate::Cut };
        self.settle(fate, Some((code.as_str(), code.status())));
    }
}
