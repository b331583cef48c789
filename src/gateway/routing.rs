//! *classify* and *choose*: what a call is, where it belongs, and where it goes. The request path and `farthing explain`
//! both come through here.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::conversations::{Conversations, Place};
use super::live::{InForce, Live};
use super::names::nobody_chooses;
use super::refusals::refusal_of;
use crate::call::CallFacts;
use crate::classify::{Classified, Explanation, Memo, Request};
use crate::config::{Config, Key, Mode, Payers};
use crate::cost::{Book, cost_of};
use crate::limits::{
    CLASSIFIED_CONTEXT_BYTES, CLASSIFIED_RESULTS_MAX, CLASSIFIED_TOOLS_MAX, CLASSIFIED_TURN_BYTES, RULED_RESULTS_BYTES,
};
use crate::money::NanoUsd;
use crate::plan::{Arm, Finding, ModelRef, Note, Plan, Reason, Why, Would};
use crate::policy::rules::Facts;
use crate::policy::{Policy, Rule, Set, Who};
use crate::problem::shown_name;
use crate::prompt::assent::says_nothing;
use crate::prompt::json::WholeNumber;
use crate::reply::usage::{ServiceTier, Usage};
use crate::route::verdict::{Signs, Verdict, downgrade, judge};
use crate::route::warm::{Held, OUTPUT_TOKENS_EXPECTED, Step};
use crate::route::{Allowed, Asked, NoPlan, Standing, baseline, choose, why_not};
use crate::task::Tier;
use crate::tokens::PromptSize;
use crate::wire::errors::ApiError;
use crate::wire::openai_texts;

/// Decides where calls go.
pub struct Routing {
    pub(super) config: Arc<Config>,
    /// What payers may do, replaced whole when the configuration's file changes.
    pub(super) payers: ArcSwap<Payers>,
    /// The zone whose midnight changes prices.
    timezone: TimeZone,
    /// The policies in force, replaced whole when their files change.
    pub live: ArcSwap<Live>,
    /// Conversations under way.
    pub conversations: Conversations,
    /// What the classifier read before.
    memo: Memo,
}

/// A plan, and what has to be remembered once it was carried out.
pub struct Decided {
    /// Where the call goes, and why.
    pub plan: Plan,
    /// What the request was taken for; `None` where nobody asked.
    pub classified: Option<Classified>,
    policy: Arc<InForce>,
    place: Place,
    held: Held,
    prompt_tokens: u64,
    /// The tier that its work belongs in, where the choice was ours.
    wanted: Option<Tier>,
}

/// A call that asks where to go.
#[derive(Clone, Copy)]
pub struct Asking<'a> {
    /// What is known of it.
    pub call: &'a CallFacts,
    /// Its bytes.
    pub body: &'a [u8],
    /// The key that it came with.
    pub key: Option<&'a Key>,
    /// The prices in force.
    pub book: &'a Book,
    /// Work whose tier is ours to choose goes to a cheaper one: a budget is nearly spent.
    pub downgrade: bool,
}

impl Routing {
    /// Routes by these policies until others are put in force.
    pub fn new(config: Arc<Config>, policies: Set) -> Self {
        let live = ArcSwap::from_pointee(Live::new(policies));
        let timezone = TimeZone::get(&config.timezone).unwrap_or(TimeZone::UTC);
        let payers = ArcSwap::from_pointee(config.payers());
        Self { config, payers, timezone, live, conversations: Conversations::default(), memo: Memo::default() }
    }

    /// Decides where a call goes. `now` is what idle conversations and warm prefixes are measured by.
    ///
    /// # Errors
    ///
    /// The refusal that the client gets.
    pub fn decide(&self, asking: Asking<'_>, now: Instant) -> Result<Decided, ApiError> {
        let place = self.conversations.locate(asking.call, now);
        let held = self.conversations.held(&place, now);
        self.decide_at(asking, place, held)
    }

    /// The same with a conversation that stands as told.
    ///
    /// # Errors
    ///
    /// The refusal that the client gets.
    pub fn decide_at(&self, asking: Asking<'_>, mut place: Place, mut held: Held) -> Result<Decided, ApiError> {
        let Asking { call, key, .. } = asking;
        let policy = place.policy().map_or_else(|| self.live.load().select(whose(call)), Arc::clone);
        let name = &*call.view.model;
        let by_name = call.surface.asks_by_name();
        if by_name && (name == "auto" || Tier::parse(name).is_some()) {
            return Err(nobody_chooses(name));
        }
        let written = if by_name { Asked::Exact(self.serving(name)) } else { self.asked(name, call.pinned_tier) };
        let as_auto =
            !by_name && matches!(&written, Asked::Exact(_)) && policy.policy.treats_as_auto(name, bare(&written, name));
        // Who names a model outright, and nothing else could answer, goes there whoever watches.
        let mode = if by_name { Mode::Enforce } else { self.mode(call, key) };
        let routed = match &written {
            Asked::Exact(_) if as_auto => call.pinned_tier.map_or(Asked::Auto, Asked::Tier),
            written => written.clone(),
        };
        if matches!(if mode == Mode::Observe { &written } else { &routed }, Asked::Exact(known) if known.is_empty()) {
            return Err(self.unknown_model(name, call.who.team.as_str(), key, asking.book));
        }
        let mut judged = match (&routed, mode) {
            (Asked::Exact(_), Mode::Enforce) => None,
            _ => Some(judge_call(&policy, asking, (&mut place, &mut held), &self.memo)),
        };
        if let Some((verdict, _)) = judged.as_mut().filter(|_| asking.downgrade && routed == Asked::Auto) {
            self.allowed(call.who.team.as_str(), key, |allowed| {
                downgrade(verdict, |tier| why_not(tier, &self.config.tiers, allowed));
            });
        }
        let verdict = judged.as_ref().map(|(verdict, _)| verdict);
        let wanted = verdict.filter(|_| routed == Asked::Auto).map(|verdict| verdict.tier);
        if place.id.is_some() {
            held.rise = wanted.and_then(|tier| policy.rises().of(tier));
        }
        let unknown = verdict.and_then(|_| unknown_task(&policy, call));
        let notes = as_auto.then_some(Note::TreatedAsAuto).into_iter().chain(unknown);
        let needs = verdict.and_then(|verdict| policy.policy.tasks.get(verdict.task?)?.max_output);
        let step =
            Step { prompt_tokens: prompt_tokens(call), output_tokens: output_expected(call.view.output_limit, needs) };
        let acting = self.acting(asking, routed, verdict, (&held, step));
        let acting = acting.map(|plan| noting_unbound(noted(plan, notes), &policy, asking));
        held.rise = held
            .rise
            .filter(|rise| acting.as_ref().is_ok_and(|plan| plan.reason.notes.contains(&Note::BeginsAbove(rise.from))));
        let arm = place.id.filter(|_| mode == Mode::Enforce && verdict.is_some());
        let arm = arm.and_then(|session| Arm::of(session, policy.policy.holdout_ppm));
        let floor = verdict.and_then(|verdict| verdict.floor);
        // Protected work has levers whatever the draw says; a model by name would go past them.
        let holds_out = arm == Some(Arm::Holdout) && !(as_auto && floor.is_some());
        let mut plan = match (mode, holds_out) {
            (Mode::Enforce, false) => acting.map_err(refusal_of)?,
            (Mode::Enforce, true) => {
                let default = policy.policy.default;
                let tier = floor.map_or(default, |floor| default.or_dearer(floor));
                let verdict = Verdict { tier, floor, reason: Reason::of(Why::HeldOut), task: None };
                self.watching(asking, written.clone(), &verdict, acting.ok()).map_err(refusal_of)?
            }
            (Mode::Observe, _) => {
                let tier = policy.policy.default;
                let verdict = Verdict { tier, floor: None, reason: Reason::of(Why::Observed), task: None };
                self.watching(asking, written.clone(), &verdict, acting.ok()).map_err(refusal_of)?
            }
        };
        plan.arm = arm;
        plan.finding = judged.as_ref().map(|(verdict, classified)| finding(&policy, verdict, *classified));
        plan.session = place.id;
        plan.baseline = self.allowed(call.who.team.as_str(), key, |allowed| {
            baseline(&written, policy.policy.default, &self.config.tiers, allowed)
        });
        let (classified, prompt_tokens) = (judged.map(|(_, classified)| classified), prompt_tokens(call));
        Ok(Decided { plan, classified, policy, place, held, prompt_tokens, wanted })
    }

    /// What levers that act make of the call.
    fn acting(
        &self,
        asking: Asking<'_>,
        asked: Asked,
        verdict: Option<&Verdict>,
        (held, step): (&Held, Step),
    ) -> Result<Plan, NoPlan> {
        let call = asking.call;
        let price = |model: &ModelRef, usage: &Usage| self.price(asking.book, call.at_ms, model, usage);
        let standing = Standing { held, step, price: &price };
        self.allowed(call.who.team.as_str(), asking.key, |allowed| {
            choose(asked, verdict, Some(standing), &self.config.tiers, allowed)
        })
    }

    /// The call as its client asked, with what levers would have made of it; what is left to us is work as `verdict` says.
    fn watching(
        &self,
        asking: Asking<'_>,
        asked: Asked,
        verdict: &Verdict,
        acting: Option<Plan>,
    ) -> Result<Plan, NoPlan> {
        let mut plan = self.allowed(asking.call.who.team.as_str(), asking.key, |allowed| {
            choose(asked, Some(verdict), None, &self.config.tiers, allowed)
        })?;
        plan.would = acting.and_then(|acting| {
            let model = acting.targets.into_iter().next()?;
            Some(Would { tier: acting.tier, model, reason: acting.reason })
        });
        Ok(plan)
    }

    /// Remembers which model answered; where levers only watch, which one would have.
    pub fn answered(&self, decided: Remembered, model: &ModelRef, now: Instant) {
        let Remembered { policy, mut place, prompt_tokens, tier, would, wanted, .. } = decided;
        if let Some(wanted) = wanted.filter(|_| place.id.is_some()) {
            place.reach(policy.rises().count(place.reached(), wanted));
        }
        let model = would.as_ref().unwrap_or(model);
        self.conversations.answered(place, &policy, tier, (model, prompt_tokens), now);
    }

    /// Whether a client may ask for `name`, and who would answer: the plan of a request that says nothing, which is the
    /// policy's default work where the choice is ours.
    pub fn may_ask(&self, name: &str, team: &str, key: Option<&Key>) -> Option<Plan> {
        let asked = self.asked(name, None);
        let who = Who { team, key: key.map(|key| key.id.as_str()), ..Who::default() };
        let verdict = Verdict {
            tier: self.live.load().select(who).policy.default,
            floor: None,
            reason: Reason::of(Why::Ambiguous),
            task: None,
        };
        self.allowed(team, key, |allowed| choose(asked, Some(&verdict), None, &self.config.tiers, allowed).ok())
    }

    fn asked(&self, name: &str, pinned: Option<Tier>) -> Asked {
        match (name, Tier::parse(name)) {
            ("auto", _) => pinned.map_or(Asked::Auto, Asked::Tier),
            (_, Some(tier)) => Asked::Tier(tier),
            _ => Asked::Exact(self.serving(name)),
        }
    }

    fn serving(&self, name: &str) -> Vec<ModelRef> {
        let targets = self.config.resolve(name);
        targets.map(|target| ModelRef { provider: target.provider.id.clone(), model: target.model.into() }).collect()
    }

    /// The key's mode, else the team's, else the process's.
    pub(super) fn mode(&self, call: &CallFacts, key: Option<&Key>) -> Mode {
        let of_team = || self.payers.load().team(call.who.team.as_str()).and_then(|team| team.mode);
        key.and_then(|key| key.mode).or_else(of_team).unwrap_or(self.config.mode)
    }

    fn allowed<T>(&self, team: &str, key: Option<&Key>, decide: impl FnOnce(Allowed<'_>) -> T) -> T {
        let granted = key.and_then(|key| key.may.models.as_ref());
        let model = granted.map(|globs| {
            move |m: &ModelRef| globs.iter().any(|g| g.is_match(m.model.as_str()) || g.is_match(m.to_string()))
        });
        let payers = self.payers.load();
        let usable = payers.team(team).and_then(|team| team.providers.as_ref());
        let provider = usable.map(|rows| move |m: &ModelRef| rows.contains(&m.provider));
        decide(Allowed {
            tiers: key.and_then(|key| key.may.tiers.as_deref()),
            model: model.as_ref().map(|covers| covers as &dyn Fn(&ModelRef) -> bool),
            provider: provider.as_ref().map(|may_use| may_use as &dyn Fn(&ModelRef) -> bool),
        })
    }

    /// What a call of this time with these tokens costs by the book.
    pub fn price(&self, book: &Book, at_ms: i64, model: &ModelRef, usage: &Usage) -> Option<NanoUsd> {
        let row = self.config.provider(model.provider.as_str())?;
        let arrived = Timestamp::from_millisecond(at_ms).unwrap_or_default();
        let arrived = arrived.to_zoned(self.timezone.clone());
        let price = book.price_at(&row.vendor, model.model.as_str(), &arrived)?;
        cost_of(price, usage, ServiceTier::Standard, row.discount_ppm).ok()
    }
}

/// What [`Routing::answered`] needs of a decision whose plan is elsewhere.
pub struct Remembered {
    policy: Arc<InForce>,
    place: Place,
    held: Held,
    prompt_tokens: u64,
    tier: Option<Tier>,
    /// Where levers only watch: the model that would have answered.
    would: Option<ModelRef>,
    wanted: Option<Tier>,
}

impl Decided {
    /// Parts the plan from what is remembered once it was carried out.
    pub fn into_parts(self) -> (Plan, Remembered) {
        let Self { plan, policy, place, held, prompt_tokens, wanted, .. } = self;
        let (tier, why) = match &plan.would {
            Some(would) => (would.tier, would.reason.why),
            None => (plan.tier, plan.reason.why),
        };
        let tier = tier.filter(|_| !matches!(why, Why::ExactModel | Why::Observed));
        let would = plan.would.as_ref().map(|would| would.model.clone());
        (plan, Remembered { policy, place, held, prompt_tokens, tier, would, wanted })
    }

    /// The policy that the call falls under.
    pub fn policy(&self) -> &Policy {
        &self.policy.policy
    }

    /// Why the request was taken for what it was. `asking` is what was decided.
    pub fn explanation(&self, asking: Asking<'_>) -> Explanation {
        let tools = tools_of(asking);
        let explain = |request: &Request<'_>| self.policy.classifier().explain(self.policy(), request);
        reading(asking.call, asking.body, &borrowed(&tools), explain)
    }

    /// The id of the task that the request was taken for.
    pub fn task_of(&self, classified: &Classified) -> Option<&str> {
        self.policy.tasks.get(classified.task?).map(AsRef::as_ref)
    }
}

impl Remembered {
    /// Where the conversation had been when the call was decided.
    pub fn held(&self) -> &Held {
        &self.held
    }
}

/// *classify*: rules, then the task that the client names, then what the words are like.
fn judge_call(
    policy: &InForce,
    asking: Asking<'_>,
    (place, held): (&mut Place, &mut Held),
    memo: &Memo,
) -> (Verdict, Classified) {
    let Asking { call, body, .. } = asking;
    let tools = tools_of(asking);
    let tools = borrowed(&tools);
    let classified = reading(call, body, &tools, |request| policy.classifier().classify_remembered(request, memo));
    let named = call.who.task.as_deref();
    let named = named.and_then(|named| policy.policy.tasks.iter().position(|task| task.id == named));
    let earlier = if place.id.is_some() { place.ruled(call.view.outline.user_turns) } else { held.ruled };
    let (found, still) = first_rule(policy, asking, &tools, earlier, |_| true);
    let rule = found.into_iter().chain(still).min();
    held.ruled = still.filter(|_| rule != found);
    place.rule(rule, call.view.outline.user_turns);
    let signs = Signs { rule, named, classified };
    (judge(&policy.policy, signs), classified)
}

fn tools_of(asking: Asking<'_>) -> Vec<Cow<'_, str>> {
    asking.call.view.outline.tools.iter().map(|name| openai_texts::string(asking.body, name)).collect()
}

/// Decodes what a classifier reads of a call.
fn reading<T>(call: &CallFacts, body: &[u8], tools: &[&str], classify: impl FnOnce(&Request<'_>) -> T) -> T {
    let outline = &call.view.outline;
    let context = |at| openai_texts::clipped(body, at, CLASSIFIED_CONTEXT_BYTES);
    let last_user = outline.last_user.as_ref().map(|at| openai_texts::clipped(body, at, CLASSIFIED_TURN_BYTES));
    let previous_user = outline.previous_user.as_ref().map(context);
    let system: Vec<_> = outline.instructions.iter().map(context).collect();
    let newest = outline.tool_results.len().saturating_sub(CLASSIFIED_RESULTS_MAX);
    let results: Vec<_> = outline.tool_results[newest..].iter().map(context).collect();
    let results: Vec<&str> = results.iter().map(AsRef::as_ref).collect();
    let system = match system.as_slice() {
        [one] => Cow::Borrowed(one.as_ref()),
        several => Cow::Owned(several.join("\n")),
    };
    classify(&Request {
        last_user: last_user.as_deref().unwrap_or_default(),
        previous_user: previous_user.as_deref(),
        system: &system,
        tool_results: &results,
        tools: &tools[..tools.len().min(CLASSIFIED_TOOLS_MAX)],
        wants_json: outline.wants_json,
        user_turns: outline.user_turns,
        has_images: call.view.attachments.images > 0,
    })
}

/// The place of the first rule of those that count that matches, and of one that `earlier` steps of the turn matched and
/// that still does, since tool results are too long to be read again. Texts are decoded only for rules that read them,
/// the last user turn whole.
fn first_rule(
    policy: &InForce,
    asking: Asking<'_>,
    tools: &[&str],
    earlier: Option<usize>,
    counts: impl Fn(&Rule) -> bool,
) -> (Option<usize>, Option<usize>) {
    let Asking { call, body, .. } = asking;
    let rules = &policy.policy.rules;
    if !rules.iter().any(&counts) {
        return (None, None);
    }
    let outline = &call.view.outline;
    let prompt_tokens = PromptSize::of(&call.view, call.body_bytes).ample();
    let without_texts = Facts { tools, more_tools: outline.more_tools, prompt_tokens, ..Facts::default() };
    if !rules.read_texts(&without_texts, &counts) {
        return (rules.first_match_of(&without_texts, &counts), None);
    }
    let last_user = outline.last_user_began.iter().chain(&outline.last_user);
    let mut last_user: Vec<_> = last_user.flat_map(|at| openai_texts::parts(body, at)).collect();
    if !last_user.is_empty() && last_user.iter().all(|text| says_nothing(text)) {
        // Who says yes means what was asked before.
        last_user.extend(outline.previous_user.iter().flat_map(|at| openai_texts::parts(body, at)));
    }
    let (mut results, mut room) = (Vec::new(), RULED_RESULTS_BYTES);
    let mut unread = outline.tool_results.iter().rev().peekable();
    while let Some(at) = unread.next_if(|_| room > 0) {
        room = room.saturating_sub(at.len());
        results.extend(openai_texts::parts(body, at));
    }
    let (last_user, results) = (borrowed(&last_user), borrowed(&results));
    let facts = Facts { last_user_turn: &last_user, tool_results: &results, ..without_texts };
    (rules.first_match_of(&facts, &counts), unread.peek().and(earlier))
}

/// How many bytes of a body are gone through to decide where it goes.
pub fn bytes_read(call: &CallFacts) -> usize {
    let outline = &call.view.outline;
    let turn = outline.last_user_began.iter().chain(&outline.last_user).chain(&outline.previous_user);
    let texts = turn.chain(&outline.instructions).map(Range::len).sum::<usize>();
    let results = outline.tool_results.iter().map(Range::len).sum::<usize>();
    let tools = outline.tools.iter().map(Range::len).sum::<usize>();
    texts.saturating_add(results).saturating_add(tools)
}
fn borrowed<'t>(texts: &'t [Cow<'_, str>]) -> Vec<&'t str> {
    texts.iter().map(AsRef::as_ref).collect()
}

fn finding(policy: &InForce, verdict: &Verdict, classified: Classified) -> Finding {
    Finding {
        policy: Arc::clone(&policy.version),
        task: verdict.task.and_then(|task| policy.tasks.get(task)).cloned(),
        confidence_ppm: millionths(classified.confidence),
        needs_strong_ppm: millionths(classified.needs_strong),
    }
}

fn whose(call: &CallFacts) -> Who<'_> {
    Who {
        team: call.who.team.as_str(),
        project: call.who.project.as_deref(),
        pipeline: call.who.pipeline.as_deref(),
        key: call.who.key.as_ref().map(|key| key.as_str()),
    }
}

/// Says of a call that names a cheaper model outright that a protected rule matches it.
fn noting_unbound(mut plan: Plan, policy: &InForce, asking: Asking<'_>) -> Plan {
    let Some(tier) = plan.tier.filter(|_| plan.reason.why == Why::ExactModel) else { return plan };
    let would_bind = |rule: &Rule| rule.protected && tier.is_below(rule.tier);
    if !policy.policy.rules.iter().any(would_bind) {
        return plan;
    }
    let (rule, _) = first_rule(policy, asking, &borrowed(&tools_of(asking)), None, would_bind);
    plan.reason.notes.extend(rule.map(|rule| Note::NotBound(u32::try_from(rule + 1).unwrap_or(u32::MAX))));
    plan
}

/// The task that the client names, if the policy has none of that id.
fn unknown_task(policy: &InForce, call: &CallFacts) -> Option<Note> {
    let named = call.who.task.as_deref()?;
    let is_known = policy.policy.task(named).is_some();
    (!is_known).then(|| Note::UnknownTask(shown_name(named).unwrap_or("…").into()))
}

fn noted(mut plan: Plan, notes: impl IntoIterator<Item = Note>) -> Plan {
    plan.reason.notes.splice(..0, notes);
    plan
}

/// An estimate, for comparing prices.
fn prompt_tokens(call: &CallFacts) -> u64 {
    PromptSize::of(&call.view, call.body_bytes).about()
}

/// The name without its provider.
fn bare<'n>(asked: &'n Asked, name: &'n str) -> &'n str {
    match asked {
        Asked::Exact(targets) => targets.first().map_or(name, |target| target.model.as_str()),
        _ => name,
    }
}

/// How much a step is taken to write: what is usual, or less where the client or the policy's task sets a bound.
fn output_expected(limit: WholeNumber, needs: Option<u32>) -> u64 {
    let limit = match limit {
        WholeNumber::Is(limit) => limit,
        WholeNumber::Absent | WholeNumber::Odd => u64::MAX,
    };
    OUTPUT_TOKENS_EXPECTED.min(limit).min(needs.map_or(u64::MAX, u64::from))
}

fn millionths(share: f32) -> u32 {
    (f64::from(share).clamp(0.0, 1.0) * 1e6).round() as u32
}

#[cfg(test)]
mod tests;
