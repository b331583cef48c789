//! *admit* and *hold*: whether a request may begin, and the money that is set aside before an attempt leaves.
//!
//! A request falls under the terms of its team, its project and its user within that team, and its key, as far as they
//! have any. The most that an attempt can cost is bounded by the bytes of its body first; the tokens are counted only
//! where that does not fit. Where levers only watch, nothing is refused and no limit is lowered: it is counted.

use std::future::Future;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::json;

use super::{Gateway, Reply, ratelimits};
use crate::budget::pace::{Limited, Reached};
use crate::budget::{Ask, Charge, Every, Payer, Short, Terms, WhenNear};
use crate::call::{Attribution, Call, CallFacts, OnShort};
use crate::config::{self, Key, Mode, Payers, Team};
use crate::cost::Price;
use crate::ids::TeamId;
use crate::limits::{HELD_BODY_BYTES_MAX, OUTPUT_TOKENS_LEAST};
use crate::meter::Meter;
use crate::meter::accounts::Accounts;
use crate::meter::funds::{Bounds, Funds, limit_of};
use crate::meter::holds::{Hold, Running};
use crate::money::NanoUsd;
use crate::plan::ModelRef;
use crate::prompt::json::WholeNumber;
use crate::prompt::view::{Attachments, View};
use crate::providers::{Row, Worded};
use crate::telemetry::log::now_ms;
use crate::tokens;
use crate::wire::errors::{ApiError, Code};

/// What a count of tokens may lack of what a provider bills, in hundredths of it and in tokens besides: how messages and
/// tools are framed is nobody's contract.
const UNCOUNTED_PERCENT: u64 = 5;
const UNCOUNTED_TOKENS: u64 = 100;
/// The tokens of a body are counted behind its back where its hold is more than this part of what is left, or all that is
/// held more than that part of what is not spent: no more than that is idle for want of counting.
const LARGE_HOLD: i64 = 16;
const LARGE_HOLDS: i64 = 4;

/// What a request is held to.
pub(super) struct Purse {
    charges: Arc<[Charge]>,
    limited: Arc<[Limited]>,
    /// The least of the limits on output, in tokens an answer.
    output_tokens: Option<u64>,
    /// Levers only watch.
    watched: bool,
    on_short: OnShort,
    /// The key may make calls that nothing bounds.
    unbounded: bool,
}

/// What a request is held to whose payers have no terms.
static NO_CHARGES: LazyLock<Arc<[Charge]>> = LazyLock::new(|| Arc::new([]));
static NO_LIMITS: LazyLock<Arc<[Limited]>> = LazyLock::new(|| Arc::new([]));

/// The terms of a team, or of a project or user of one; those of keys are the keys' own.
pub(super) fn terms_of<'p>(teams: &'p [Team], payer: &Payer) -> Option<&'p Terms> {
    let named = |team: &TeamId| teams.iter().find(|known| known.id == *team);
    match payer {
        Payer::Team(team) => Some(&named(team)?.terms),
        Payer::Project(team, name) => named(team)?.projects.of(name),
        Payer::User(team, name) => named(team)?.users.of(name),
        Payer::Key(_) => None,
    }
}

/// The terms that somebody's requests fall under, with those whose terms they are.
pub fn payers(teams: &[Team], who: &Attribution, key: Option<&Key>) -> Vec<(Payer, Terms)> {
    let mut found = Vec::new();
    if let Some(team) = teams.iter().find(|team| team.id == who.team) {
        found.push((Payer::Team(team.id.clone()), team.terms.clone()));
        if let Some((project, terms)) = who.project.as_ref().and_then(|name| Some((name, team.projects.of(name)?))) {
            found.push((Payer::Project(team.id.clone(), project.as_str().into()), terms.clone()));
        }
        if let Some((user, terms)) = who.user.as_ref().and_then(|name| Some((name, team.users.of(name)?))) {
            found.push((Payer::User(team.id.clone(), user.as_str().into()), terms.clone()));
        }
    }
    found.extend(key.map(|key| (Payer::Key(key.id.clone()), key.terms.clone())));
    found.retain(|(_, terms)| !terms.are_none());
    found
}

/// Brings the gauges of what is left up to date.
pub fn refresh_gauges(accounts: &Accounts, config: &Payers) {
    for team in &config.teams {
        if let Some(budget) = team.terms.budget {
            let left = accounts.holds.remaining(&Payer::Team(team.id.clone()), budget.every, budget.usd);
            let gauge = accounts.metrics.budget_remaining.with_label_values(&[team.id.as_str()]);
            gauge.set(left.0 as f64 / 1e9);
        }
    }
}

impl Gateway {
    /// What a call is held to.
    pub(super) fn purse(&self, call: &CallFacts, key: Option<&Key>) -> Purse {
        let in_force = self.routing.payers.load();
        let payers = payers(&in_force.teams, &call.who, key);
        if payers.is_empty() {
            let (charges, limited) = (Arc::clone(&NO_CHARGES), Arc::clone(&NO_LIMITS));
            let (on_short, watched) = (OnShort::Refuse, false);
            return Purse { charges, limited, output_tokens: None, watched, on_short, unbounded: false };
        }
        let charges =
            payers.iter().filter_map(|(payer, terms)| Some(Charge { payer: payer.clone(), budget: terms.budget? }));
        let limited = payers.iter().filter(|(_, terms)| !terms.limits.are_none());
        Purse {
            charges: charges.collect(),
            limited: limited.map(|(payer, terms)| (payer.clone(), terms.limits)).collect(),
            output_tokens: payers.iter().filter_map(|(_, terms)| terms.limits.output_tokens).min(),
            watched: self.routing.mode(call, key) == Mode::Observe,
            on_short: call.on_short.unwrap_or(in_force.holding.on_short),
            unbounded: key.is_some_and(|key| key.may.unbounded),
        }
    }

    /// *admit*: lets a request begin within its payers' limits. `None`: it has none.
    pub(super) fn admit(&self, purse: &Purse, call: &CallFacts) -> Result<Option<Running>, ApiError> {
        if purse.limited.is_empty() {
            return Ok(None);
        }
        let (holds, estimated) = (&self.accounts.holds, tokens::estimate(call.body_bytes as u64));
        if purse.watched
            && let Some(reached) = holds.would_reach(&purse.limited, estimated)
        {
            self.count_refusal(Code::RateLimited, &reached.payer, true);
        }
        holds.begin(&purse.limited, estimated, purse.watched).map(Some).map_err(|reached| {
            self.count_refusal(Code::RateLimited, &reached.payer, false);
            limit_reached(&reached)
        })
    }

    /// Tells a client whose requests or tokens a minute are limited how much of that is left. What the provider says of its
    /// own limits is then not for it: those are shared by all.
    pub(super) fn paced(&self, purse: &Purse, call: &CallFacts, mut reply: Reply) -> Reply {
        if !purse.limited.is_empty() && !purse.watched {
            let left = self.accounts.holds.left(&purse.limited);
            ratelimits::tell(&mut reply.headers, &left, call.surface.errors(), Timestamp::now());
        }
        reply
    }

    /// Whether work whose tier is ours to choose goes to a cheaper one, since a budget that says so is nearly spent.
    pub(super) fn is_to_downgrade(&self, purse: &Purse, call: &CallFacts) -> bool {
        let says_so = |charge: &&Charge| charge.budget.when_near == WhenNear::Downgrade;
        let mut charges = purse.charges.iter().filter(says_so).peekable();
        charges.peek().is_some() && self.accounts.holds.is_near(charges, call.at_ms)
    }

    /// *hold*: what an attempt at `target` is let go with, as it is `worded`.
    pub(super) async fn hold(
        &self,
        call: &Call,
        (row, target, worded): (&Row, &ModelRef, &Worded),
        meter: &Meter,
        purse: &Purse,
    ) -> Result<Funds, ApiError> {
        let (funds, own_limit) = without_hold(call, (row, target, worded), meter, purse);
        if purse.charges.is_empty() {
            return Ok(funds);
        }
        // Apart, so that whoever has no budget does not carry all of its steps around.
        Box::pin(self.hold_money((call, worded), (row, target), funds, own_limit, purse)).await
    }

    /// *hold* for an attempt beside one that runs: what is there at once, and nobody is refused for it. `None`: that is not
    /// enough, or nothing bounds what it may cost.
    pub(super) fn hold_beside(
        &self,
        call: &Call,
        (row, target, worded): (&Row, &ModelRef, &Worded),
        meter: &Meter,
        purse: &Purse,
    ) -> Option<Funds> {
        let (mut funds, _) = without_hold(call, (row, target, worded), meter, purse);
        if !purse.charges.is_empty() {
            let is_free_to = purse.watched || (purse.unbounded && funds.price.is_some());
            let want = funds.bounds.cost.or(is_free_to.then_some(NanoUsd::ZERO))?;
            let (charges, at_ms) = (Arc::clone(&purse.charges), call.facts.at_ms);
            let ask = Ask { charges, at_ms, want, least: want, watched: false };
            funds.hold = Some(self.accounts.holds.at_once(&ask)?);
        }
        Some(funds)
    }

    /// The part of it that is about money: `own_limit` is what client or model allow an answer.
    async fn hold_money(
        &self,
        (call, worded): (&Call, &Worded),
        (row, target): (&Row, &ModelRef),
        mut funds: Funds,
        own_limit: Option<u64>,
        purse: &Purse,
    ) -> Result<Funds, ApiError> {
        let (view, text) = (worded.view(call), worded.text(call));
        let Some(price) = funds.price.clone() else {
            self.refuse(purse, Code::UnpricedModel, (row, target))?;
            funds.hold = self.watch(call, purse, NanoUsd::ZERO).await;
            return Ok(funds);
        };
        let limit = funds.output_limit.or(own_limit);
        let least_limit = limit.unwrap_or(u64::MAX).min(OUTPUT_TOKENS_LEAST);
        let may_shrink = purse.on_short == OnShort::Shrink && !purse.watched;
        if funds.bounds.output.is_none() && may_shrink {
            funds.bounds = funds.bounds.with_output_limit(&price, view, OPEN_END_TOKENS);
        }
        let Some(want) = funds.bounds.cost else {
            if !purse.unbounded {
                self.refuse(purse, Code::UnboundedCost, (row, target))?;
            }
            funds.hold = self.watch(call, purse, NanoUsd::ZERO).await;
            return Ok(funds);
        };
        if purse.watched {
            funds.hold = self.watch(call, purse, want).await;
            return Ok(funds);
        }
        let ask = |bounds: &Bounds| {
            let want = bounds.cost.unwrap_or(want);
            let least = match may_shrink {
                true => bounds.with_output_limit(&price, view, least_limit).cost.unwrap_or(want).min(want),
                false => want,
            };
            let (charges, at_ms) = (Arc::clone(&purse.charges), call.facts.at_ms);
            Ask { charges, at_ms, want, least, watched: false }
        };
        let holds = &self.accounts.holds;
        let (mut is_counted, mut lowered) = (false, may_shrink && limit.is_none());
        let hold = match holds.at_once(&ask(&funds.bounds)) {
            Some(hold) => hold,
            None => {
                // Whoever names no limit does not lock away all that is left: what answers need is far below what models may write.
                if may_shrink
                    && view.output_limit == WholeNumber::Absent
                    && limit.is_some_and(|limit| limit > OPEN_END_TOKENS)
                {
                    funds.bounds = funds.bounds.with_output_limit(&price, view, OPEN_END_TOKENS);
                    lowered = true;
                }
                let before = Instant::now();
                let left = call.facts.deadline.map(|deadline| deadline.saturating_sub(call.facts.arrived.elapsed()));
                let patience = self.routing.payers.load().holding.hold_wait.min(left.unwrap_or(Duration::MAX));
                if let Some(counted) = self.count_exactly((call, text), row, target, patience).await {
                    is_counted = true;
                    funds.bounds = funds.bounds.with_input(&price, counted);
                }
                let held = holds.hold(&ask(&funds.bounds), patience).await;
                funds.waited = before.elapsed();
                held.map_err(|short| self.short(&short))?
            }
        };
        if lowered || funds.bounds.cost.is_some_and(|cost| hold.amount < cost) {
            let fitting = largest_limit(&funds.bounds, &price, view, hold.amount, least_limit);
            funds.output_limit = Some(fitting);
            funds.bounds = funds.bounds.with_output_limit(&price, view, fitting);
        }
        if !is_counted {
            self.count_behind((call, text), (row, target), &funds, &hold, purse);
        }
        funds.hold = Some(hold);
        Ok(funds)
    }

    /// Where levers only watch: holds all of it, and counts what would have been refused.
    async fn watch(&self, call: &Call, purse: &Purse, want: NanoUsd) -> Option<Hold> {
        let (charges, at_ms) = (Arc::clone(&purse.charges), call.facts.at_ms);
        let ask = Ask { charges, at_ms, want, least: want, watched: true };
        if purse.watched
            && let Some(short) = self.accounts.holds.with(|books| books.would_be_short(&ask))
        {
            self.count_refusal(Code::BudgetExhausted, &short.charge.payer, true);
        }
        self.accounts.holds.hold(&ask, Duration::ZERO).await.ok()
    }

    /// Whether a call may be made that nothing bounds.
    pub(super) fn may_be_unbounded(&self, purse: &Purse, at: (&Row, &ModelRef)) -> Result<(), ApiError> {
        match purse.charges.is_empty() || purse.unbounded {
            true => Ok(()),
            false => self.refuse(purse, Code::UnboundedCost, at),
        }
    }

    /// Refuses, or counts that it would have.
    fn refuse(&self, purse: &Purse, code: Code, (row, target): (&Row, &ModelRef)) -> Result<(), ApiError> {
        let payer = &purse.charges[0].payer;
        self.count_refusal(code, payer, purse.watched);
        if purse.watched {
            return Ok(());
        }
        let model = config::quoted(target.model.as_str());
        Err(match code {
            Code::UnpricedModel => ApiError::new(
                code,
                format!(
                    "{payer} has a budget, and nothing says what `{model}` of provider `{}` costs; wanted a price \
                     for `{}/{model}` in the file that `prices:` names (`price: free` if it costs nothing)",
                    target.provider,
                    row.vendor(),
                ),
            )
            .param("model"),
            _ => ApiError::new(
                code,
                format!(
                    "{payer} has a budget, and nothing bounds what this request may cost; wanted an output limit such as \
                     `max_completion_tokens`, and no tools, files, recordings or earlier responses that the provider bills by itself, or a key with \
                     `may: {{ unbounded: true }}`"
                ),
            ),
        })
    }

    fn short(&self, short: &Short) -> ApiError {
        self.count_refusal(Code::BudgetExhausted, &short.charge.payer, false);
        let (payer, budget) = (&short.charge.payer, short.charge.budget);
        let period = match budget.every {
            Every::Rolling(_) => format!("in {}", budget.every),
            every => format!("this {every}"),
        };
        let unspent = short.unspent;
        let held = if short.is_passing() {
            format!(", {} of it held for requests in flight", short.held)
        } else {
            String::new()
        };
        let message = format!(
            "{payer} has {unspent} of its {} USD left {period}{held}, and this request may cost {} USD; an output limit, or \
             `x-farthing-budget: shrink`, lowers that",
            budget.usd, short.least
        );
        let wait_ms = match short.is_passing() {
            true => i64::try_from(self.routing.payers.load().holding.hold_wait.as_millis()).unwrap_or(i64::MAX),
            false => short.resets_ms - now_ms(),
        };
        let seconds = u64::try_from(wait_ms.max(0)).unwrap_or(0).div_ceil(1000).max(1);
        ApiError::new(Code::BudgetExhausted, message)
            .retry_after(seconds)
            .resets_at(short.resets_ms)
            .not_to_be_repeated()
    }

    fn count_refusal(&self, code: Code, payer: &Payer, watched: bool) {
        let acted = if watched { "would_refuse" } else { "refused" };
        self.accounts.metrics.refusals.with_label_values(&[payer.kind(), code.as_str(), acted]).inc();
        let fields = json!({ "payer": payer.to_string(), "code": code.as_str(), "acted": acted });
        self.accounts.log.event("budget_refusal", &fields);
    }

    /// The most input tokens that a call can be billed for, counted; `None` where no count of them is sure, or it takes
    /// longer than anybody waits.
    async fn count_exactly(
        &self,
        text: (&Call, &Bytes),
        row: &Row,
        target: &ModelRef,
        patience: Duration,
    ) -> Option<u64> {
        let counting = self.counting(text, row, target)?;
        tokio::time::timeout(patience, counting).await.ok().flatten()
    }

    fn counting(
        &self,
        (call, text): (&Call, &Bytes),
        row: &Row,
        target: &ModelRef,
    ) -> Option<impl Future<Output = Option<u64>> + use<>> {
        let attached = call.facts.view.attachments;
        if attached != Attachments::default() || text.len() > HELD_BODY_BYTES_MAX {
            return None;
        }
        let counted = self.accounts.estimates.count_for_hold(row.vendor(), target.model.as_str(), text)?;
        Some(async move {
            let tokens = counted.await?;
            Some(tokens + tokens * UNCOUNTED_PERCENT / 100 + UNCOUNTED_TOKENS)
        })
    }

    /// Counts the tokens of a body whose hold is a large part of what is left, or one of many that are, while its call is under
    /// way, and leaves to others what it cannot need.
    fn count_behind(
        &self,
        (call, text): (&Call, &Bytes),
        (row, target): (&Row, &ModelRef),
        funds: &Funds,
        hold: &Hold,
        purse: &Purse,
    ) {
        let is_large = self.accounts.holds.with(|books| {
            purse.charges.iter().any(|Charge { payer, budget }| {
                let (spent, held) = books.balance(payer, budget.every, call.facts.at_ms);
                let unspent = budget.usd - spent;
                hold.amount.0.saturating_mul(LARGE_HOLD) > (unspent - held).0
                    || held.0.saturating_mul(LARGE_HOLDS) > unspent.0
            })
        });
        let (Some(price), Some(output)) = (&funds.price, funds.bounds.output) else {
            return;
        };
        if !is_large {
            return;
        }
        let Some(counting) = self.counting((call, text), row, target) else { return };
        let (price, bounds, shrinker) = (Arc::clone(price), funds.bounds, hold.shrinker());
        // It ends by itself: the number of counts at once is bounded, and so is the size of each.
        tokio::spawn(async move {
            if let Some(cost) = counting.await.and_then(|input| bounds.cost_of(&price, input, output)) {
                shrinker(cost);
            }
        });
    }
}

/// What an attempt is let go with before money is held for it, and the limit of an answer that client or model set.
fn without_hold(
    call: &Call,
    (row, target, worded): (&Row, &ModelRef, &Worded),
    meter: &Meter,
    purse: &Purse,
) -> (Funds, Option<u64>) {
    let price = meter.price(row, target);
    let view = worded.view(call);
    let given = worded.given_limit();
    let own_limit = given.or_else(|| limit_of(view, price.as_deref()));
    let cut = purse.output_tokens.filter(|cut| !purse.watched && own_limit.is_none_or(|own| own > *cut));
    let mut funds = Funds::unlimited((view, worded.bytes()), row, price, cut.or(given));
    funds.output_limit = cut;
    (funds, own_limit)
}

/// The limit an answer, in tokens, that is lowered to what is left where the client names none, and the price book none or
/// one that is larger and does not fit.
const OPEN_END_TOKENS: u64 = 16_384;

/// The largest limit an answer, at least `least`, whose bound is within `amount`.
fn largest_limit(bounds: &Bounds, price: &Price, view: &View, amount: NanoUsd, least: u64) -> u64 {
    let fits = |limit| bounds.with_output_limit(price, view, limit).cost.is_some_and(|cost| cost <= amount);
    let (mut low, mut high) = (least, bounds.output.unwrap_or(least) / view.answers_expected());
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if fits(middle) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    low
}

fn limit_reached(reached: &Reached) -> ApiError {
    let Reached { payer, limit, allowed, retry_after } = reached;
    ApiError::new(Code::RateLimited, format!("{payer} has reached its `{limit}` of {allowed}"))
        .retry_after(*retry_after)
}
