//! One attempt: what it may cost, what is seen of its reply, and what it is settled at.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::json;

use crate::call::CallFacts;
use crate::config::AfterCut;
use crate::cost::{Price, cost_of};
use crate::ids::{AccessId, AttemptId};
use crate::ledger::record::{Closing, Fate, Intent, Outcome, Pricing, RequestFacts};
use crate::money::{CostInterval, NanoUsd};
use crate::plan::ModelRef;
use crate::prompt::view::{Attachments, View};
use crate::providers::{Row, body::Sent, load::Busy};
use crate::reply::facts::Facts;
use crate::reply::usage::{Apart, ServiceTier, Source, Usage, WhyUnknown};
use crate::task::Tier;
use crate::telemetry::metrics::{Metrics, Series, SeriesLabels};
use crate::tokens;

use super::accounts::Accounts;
use super::estimates::{Counting, Estimates};
use super::funds::{Bounds, Funds, asked_tier};
use super::holds::Hold;
use super::prefixes::Caching;

/// Tokens that a provider may add to an input of its own without being far beyond it.
const INPUT_ADDED_MAX: u64 = 1000;
/// Nano-dollars by which a provider's own reckoning may differ from ours, which is rounded once.
const STATED_APART_NANO_MAX: u64 = 1;
/// Bytes of text a token beyond which an answer has probably passed its limit: prose never comes near. Lines of dashes do, so
/// more is held for it, and nothing is cut for that.
const BYTES_A_TOKEN_LIKELY: u64 = 8;
/// Tokens that are held at a time for output beyond the limit.
const BEYOND_STEP_TOKENS: u64 = 256;

/// An attempt whose intent is committed and whose outcome is not.
pub struct Attempt {
    /// Its id.
    pub id: AttemptId,
    /// Decides whether any of its body may have left.
    pub sent: Sent,
    /// The provider's status, once known.
    pub provider_status: Option<u16>,
    /// The provider's own id of the call.
    pub provider_request_id: Option<String>,
    /// Counts it among the calls to its target that go on, where somebody asks.
    pub busy: Option<Busy>,
    /// The way into its row that it takes.
    pub access: Option<AccessId>,
    /// The count of its body, where the provider will probably report none.
    pub counting: Option<Counting>,
    target: ModelRef,
    vendor: String,
    price: Option<Arc<Price>>,
    discount_ppm: u32,
    after_cut: AfterCut,
    /// Length of the body that left.
    bytes: u64,
    bounds: Bounds,
    /// What is held for it.
    pub hold: Option<Hold>,
    /// What was held besides, for output beyond the limit that was sent.
    beyond: NanoUsd,
    /// It writes beyond its limit, and nothing more can be held for it.
    pub is_spent: bool,
    /// The hold has been cut to the input that the provider told.
    input_is_told: bool,
    usage: Option<Usage>,
    /// It has tokens, or fees, that the price book does not price.
    beside: Option<WhyUnknown>,
    /// A recording was sent along.
    hears: bool,
    /// What the provider says that it charges.
    stated: Option<NanoUsd>,
    /// The usage came when every answer had said why it ended: no later one can be higher.
    usage_is_final: bool,
    service_tier: Option<ServiceTier>,
    /// The tier to price a reply by that names none.
    asked_tier: ServiceTier,
    text_bytes: u64,
    /// Words that begin in it behind a blank.
    words: u64,
    /// Answers that have not said yet why they ended.
    unfinished: u64,
}

/// What an attempt is settled at.
pub struct Settled {
    fate: Fate,
    /// Its tokens, as far as known.
    pub usage: Option<Usage>,
    /// Where the figures come from.
    pub source: Source,
    /// What counted its tokens, if the provider did not.
    tokenizer: Option<Cow<'static, str>>,
    /// Its cost.
    pub cost: CostInterval,
    /// Why that is not known exactly.
    pub unknown: Option<WhyUnknown>,
    /// The tier whose rates it was priced at.
    tier: Option<ServiceTier>,
    overshoot: Option<NanoUsd>,
    /// The version of what it was priced by, where that is not the book.
    version: Option<String>,
    /// What the provider says that it charges, where the book says otherwise.
    contradicted: Option<NanoUsd>,
}

impl Settled {
    fn without_usage(fate: Fate, source: Source, cost: CostInterval, unknown: Option<WhyUnknown>) -> Self {
        Self {
            fate,
            usage: None,
            source,
            tokenizer: None,
            cost,
            unknown,
            tier: None,
            overshoot: None,
            version: None,
            contradicted: None,
        }
    }

    /// Whether its cost was estimated. That a call which failed costs nothing is no estimate of its tokens.
    pub fn is_estimate(&self) -> bool {
        self.source == Source::Estimated && self.cost.exact.is_some() && self.fate != Fate::Failed
    }

    /// The service tier whose rates it was priced at.
    pub fn tier(&self) -> Option<ServiceTier> {
        self.tier
    }

    /// How its cost was made, or why it could not be.
    pub fn pricing(&self) -> Pricing<'static> {
        Pricing { tier: self.tier.map(ServiceTier::as_str), unknown: self.unknown }
    }
}

impl Attempt {
    /// One that leaves with these funds, as the `view` of it says, and a body of so many `bytes`.
    pub fn new(id: AttemptId, (row, target): (&Row, &ModelRef), (view, bytes): (&View, usize), funds: Funds) -> Self {
        Self {
            id,
            sent: Sent::default(),
            provider_status: None,
            provider_request_id: None,
            busy: None,
            access: None,
            counting: None,
            target: target.clone(),
            vendor: row.vendor().to_owned(),
            price: funds.price,
            discount_ppm: row.discount_ppm(),
            after_cut: row.after_cut(),
            bytes: bytes as u64,
            bounds: funds.bounds,
            hold: funds.hold,
            beyond: NanoUsd::ZERO,
            is_spent: false,
            input_is_told: false,
            usage: None,
            beside: (view.attachments.server_tools > 0).then_some(WhyUnknown::Fees),
            hears: view.attachments.recordings > 0,
            stated: None,
            usage_is_final: false,
            service_tier: None,
            asked_tier: asked_tier(view.service_tier.as_deref(), row.habits()),
            text_bytes: 0,
            words: 0,
            unfinished: view.answers_expected(),
        }
    }

    /// The record that is committed before its first byte leaves.
    pub fn intent<'a>(&'a self, request: Option<RequestFacts<'a>>, at_ms: i64) -> Intent<'a> {
        Intent {
            request,
            attempt: self.id,
            at_ms,
            provider: self.target.provider.as_str(),
            model: self.target.model.as_str(),
            input_tokens_bound: self.bounds.input,
            output_tokens_bound: self.bounds.output,
            bound: self.bounds.cost,
            price_version: self.price_version(),
        }
    }

    /// Takes note of a piece of the reply. Providers report running totals, which never fall.
    pub fn saw(&mut self, facts: &Facts) {
        self.unfinished = self.unfinished.saturating_sub(facts.finished);
        if let Some(usage) = facts.usage {
            self.usage = Some(self.usage.map_or(usage, |before| before.max(usage)));
            self.usage_is_final = self.unfinished == 0;
        }
        self.beside = self.beside.max(facts.beside);
        self.stated = self.stated.max(facts.stated);
        self.service_tier = facts.service_tier.or(self.service_tier);
        self.text_bytes += facts.text_bytes;
        self.words += facts.words;
        if self.hold.is_some() {
            self.hold_what_may_come();
        }
    }

    /// Leaves to others what the input cannot cost any more, and holds more where the provider writes beyond its limit.
    fn hold_what_may_come(&mut self) {
        let (Some(hold), Some(price)) = (&mut self.hold, &self.price) else { return };
        let Some(limit) = self.bounds.output.filter(|_| self.unfinished > 0) else { return };
        let told = self.usage.map(|usage| usage.input_tokens).filter(|input| !self.input_is_told && *input > 0);
        if let Some(input) = told {
            self.input_is_told = true;
            if let Some(cost) = self.bounds.cost_of(price, input, limit) {
                hold.shrink(cost + self.beyond);
            }
        }
        let told = self.usage.map_or(0, |usage| usage.output_tokens);
        let likely = (self.text_bytes / BYTES_A_TOKEN_LIKELY).max(self.words).max(told);
        let beyond = likely.saturating_sub(limit);
        if beyond == 0 || self.is_spent {
            return;
        }
        let steps = beyond.div_ceil(BEYOND_STEP_TOKENS);
        let needed = self.bounds.cost_of(price, 0, steps.saturating_mul(BEYOND_STEP_TOKENS)).unwrap_or(NanoUsd::ZERO);
        if needed <= self.beyond {
            return;
        }
        if hold.extend(needed - self.beyond) {
            self.beyond = needed;
        } else {
            let model = self.target.model.as_str();
            self.is_spent = tokens::at_least(&self.vendor, model, self.text_bytes, self.words).max(told) > limit;
        }
    }

    /// Takes note of a whole answer: nothing follows it.
    pub fn saw_whole(&mut self, facts: &Facts) {
        self.unfinished = 0;
        self.saw(facts);
    }

    /// About how many tokens it has read and written so far: as reported, else by its bytes.
    pub fn relayed(&self) -> (u64, u64) {
        let estimated = (tokens::estimate(self.bytes), tokens::estimate(self.text_bytes));
        self.usage.map_or(estimated, |usage| (usage.input_tokens, usage.output_tokens.max(estimated.1)))
    }

    /// What the attempt cost, now that it ended in `fate`. What its provider reported teaches later estimates.
    pub fn settle(&self, fate: Fate, call: &CallFacts, estimates: &Estimates) -> Settled {
        let tier = self.service_tier.unwrap_or(self.asked_tier);
        match (fate, self.usage) {
            (Fate::Failed, _) => Settled::without_usage(fate, Source::Estimated, CostInterval::NOTHING, None),
            (Fate::Completed, Some(usage)) => {
                self.teach(&usage, call, estimates);
                self.settled_as_reported(fate, usage, tier)
            }
            (Fate::Completed, None) => self.estimated(call, tier, estimates),
            // A total so far is not what will be billed.
            (Fate::Cut | Fate::Interrupted, Some(usage)) if self.usage_is_final => {
                self.settled_as_reported(fate, usage, tier)
            }
            (Fate::Cut | Fate::Interrupted, _) => {
                let why = self.charged_apart().unwrap_or(WhyUnknown::Unreported);
                let settled = self.in_doubt(fate, why);
                if fate == Fate::Cut { self.beginning_at_what_is_sure(settled, tier) } else { settled }
            }
        }
    }

    /// The record that is committed before the reply's last frame goes out.
    pub fn outcome<'a>(&'a self, settled: &'a Settled, at_ms: i64, closes: Option<Closing<'a>>) -> Outcome<'a> {
        Outcome {
            attempt: self.id,
            at_ms,
            fate: settled.fate,
            provider_status: self.provider_status,
            usage: settled.usage,
            source: settled.source,
            cost: settled.cost,
            price_version: settled.version.as_deref().or(self.price_version()),
            service_tier: self.service_tier.map(ServiceTier::as_str),
            discount_ppm: self.discount_ppm,
            tokenizer: settled.tokenizer.as_deref(),
            provider_request_id: self.provider_request_id.as_deref(),
            overshoot: settled.overshoot,
            closes,
        }
    }

    /// Tells of what was billed beyond the limits that the provider was sent, with its cause.
    pub fn tell_overshoot(&self, settled: &Settled, accounts: &Accounts) {
        let Some(overshoot) = settled.overshoot else { return };
        let within = |used: u64, bound: Option<u64>| bound.is_none_or(|bound| used <= bound);
        let cause = match settled.usage {
            Some(usage) if within(usage.output_tokens, self.bounds.output) => "input_beyond_bound",
            _ => "output_beyond_limit",
        };
        accounts.metrics.overshoots.with_label_values(&[cause]).inc();
        let fields = json!({
            "attempt_id": self.id.to_string(), "cause": cause, "overshoot_usd": overshoot.decimal(),
            "provider": self.target.provider.as_str(), "model": self.target.model.as_str(),
        });
        accounts.log.event("overshoot", &fields);
    }

    /// Adds the attempt to the metrics; gives the series that it counts in.
    pub fn count(&self, settled: &Settled, metrics: &Metrics, call: &CallFacts, tier: Option<Tier>) -> Arc<Series> {
        let proven = self.price.is_some() || settled.fate != Fate::Failed;
        let labels = self.labels(call, tier);
        let series = if proven { metrics.series(labels) } else { metrics.series_of_unproven(labels) };
        series.count_attempt(settled.fate.as_str());
        if settled.fate == Fate::Failed {
            return series;
        }
        if let Some(usage) = &settled.usage {
            series.count_tokens(usage);
            metrics.count_prompt_tokens(call.who.prompt.as_deref().unwrap_or("none"), usage);
        }
        if let Some(cost) = settled.cost.exact {
            series.count_cost(cost.0, settled.source);
        }
        if let Some(why) = settled.unknown.filter(|why| *why != WhyUnknown::Unreported) {
            metrics.count_unknown(&series, why);
        }
        if settled.fate == Fate::Interrupted && settled.cost.exact.is_none() {
            metrics.interrupted.inc();
        }
        if let Some(overshoot) = settled.overshoot {
            series.count_overshoot(overshoot.0);
        }
        series
    }

    fn labels<'a>(&'a self, call: &'a CallFacts, tier: Option<Tier>) -> SeriesLabels<'a> {
        SeriesLabels {
            team: call.who.team.as_str(),
            project: call.who.project.as_deref(),
            tier: tier.map(Tier::as_str),
            provider: self.target.provider.as_str(),
            model: self.target.model.as_str(),
        }
    }

    fn settled_as_reported(&self, fate: Fate, usage: Usage, tier: ServiceTier) -> Settled {
        let text = usage.as_text();
        let priced = match self.priced(&usage, tier) {
            _ if self.is_silent_of_sound(&usage) => Err(WhyUnknown::OtherTokens),
            priced => priced,
        };
        let as_text = self.priced(&text, tier);
        let (cost, unknown) = match (priced, self.beside) {
            // What is no text costs no less than text would, and sound that was sent no more than its bound, if it has one.
            (Err(why @ WhyUnknown::OtherTokens), beside) => {
                let calls = usage.apart.calls.each().into_iter().sum::<u64>();
                let made = usage.apart.audio_output_tokens + usage.apart.image_output_tokens + calls;
                let high = self.bounds.cost.filter(|_| self.hears && made == 0 && beside.is_none());
                let low = as_text.unwrap_or(NanoUsd::ZERO);
                (CostInterval { low, exact: None, high: high.map(|high| high.max(low)) }, beside.max(Some(why)))
            }
            (Err(why @ WhyUnknown::Fees), beside) => {
                let low = self.priced(&usage.without_calls(), tier).or(as_text).unwrap_or(NanoUsd::ZERO);
                (CostInterval { low, exact: None, high: None }, beside.max(Some(why)))
            }
            (Err(why), _) => (CostInterval::default(), Some(why)),
            // The text tokens are the least of it: fees and other kinds of tokens come on top.
            (Ok(cost), Some(why)) => (CostInterval { low: cost, exact: None, high: None }, Some(why)),
            (Ok(cost), None) => (CostInterval::exactly(cost), None),
        };
        let settled = Settled {
            usage: Some(usage),
            tier: priced.or(as_text).is_ok().then_some(tier),
            overshoot: priced.or(as_text).ok().and_then(|cost| self.overshoot(cost, &usage, tier)),
            ..Settled::without_usage(fate, Source::Reported, cost, unknown)
        };
        match self.stated {
            Some(stated) => self.beside_stated(settled, stated, &usage, tier),
            None => settled,
        }
    }

    /// What comes on top of text, as far as nobody said how much.
    fn charged_apart(&self) -> Option<WhyUnknown> {
        self.beside.max(self.hears.then_some(WhyUnknown::OtherTokens))
    }

    /// Whether a recording was sent of which the usage says nothing.
    fn is_silent_of_sound(&self, usage: &Usage) -> bool {
        self.hears && usage.apart.audio_input_tokens == 0
    }

    /// What the provider says that it charges settles what the book leaves open. Where the book knows, it counts, and a
    /// contradiction is told; with a discount, both what is left and the list price agree with it.
    fn beside_stated(&self, settled: Settled, stated: NanoUsd, usage: &Usage, tier: ServiceTier) -> Settled {
        let apart = |cost: NanoUsd| (stated - cost).0.unsigned_abs() > STATED_APART_NANO_MAX;
        match settled.cost.exact {
            Some(cost) => {
                let list = self.price.as_ref().and_then(|price| cost_of(price, usage, tier, 0).ok());
                let is_contradicted = apart(cost) && list.is_none_or(apart);
                Settled { contradicted: is_contradicted.then_some(stated), ..settled }
            }
            // Less than the tokens alone cost: one of the two is wrong, and nobody knows which.
            None if stated < settled.cost.low => Settled { contradicted: Some(stated), ..settled },
            None => Settled {
                cost: CostInterval::exactly(stated),
                unknown: None,
                tier: None,
                overshoot: self.bounds.cost.map(|bound| stated - bound).filter(|over| *over > NanoUsd::ZERO),
                version: Some(format!("{}/{}@stated", self.vendor, self.target.model.as_str())),
                ..settled
            },
        }
    }

    /// Tells of a provider that says it charges something else than the book.
    pub fn tell_contradiction(&self, settled: &Settled, accounts: &Accounts) {
        let Some(stated) = settled.contradicted else { return };
        accounts.metrics.contradicted_costs.with_label_values(&[self.target.provider.as_str()]).inc();
        let fields = json!({
            "attempt_id": self.id.to_string(), "cost_usd": settled.cost.exact.unwrap_or(settled.cost.low).decimal(),
            "stated_usd": stated.decimal(), "provider": self.target.provider.as_str(),
            "model": self.target.model.as_str(), "price_version": self.price_version(),
        });
        accounts.log.event("stated_cost_differs", &fields);
    }

    /// What the provider bills beyond the bound: of all, or of an input that is far longer than what was sent, which
    /// an allowance for output that was not used would hide.
    fn overshoot(&self, cost: NanoUsd, usage: &Usage, tier: ServiceTier) -> Option<NanoUsd> {
        let of_all = self.bounds.cost.map(|bound| cost - bound);
        let beyond = |bound: &u64| usage.input_tokens > bound.saturating_mul(2).saturating_add(INPUT_ADDED_MAX);
        let of_input = self.bounds.input.filter(beyond).and_then(|bound| {
            let kept = Usage { input_tokens: bound, output_tokens: usage.output_tokens, ..Usage::default() };
            Some(cost - self.priced(&kept, tier).ok()?)
        });
        of_all.max(of_input).filter(|over| *over > NanoUsd::ZERO)
    }

    /// Where it went.
    pub fn target(&self) -> &ModelRef {
        &self.target
    }

    /// How its prompt comes into the provider's cache: who charges for that reports it.
    pub fn caching(&self) -> Caching {
        match self.price.as_deref().is_some_and(Price::charges_writes) {
            true => Caching::Charged,
            false => Caching::ByItself,
        }
    }

    /// What these tokens would have cost if none had been read from a cache or written to one.
    pub fn uncached(&self, usage: &Usage, tier: ServiceTier) -> Option<NanoUsd> {
        let apart = Apart { cached_audio_input_tokens: None, ..usage.apart };
        let plain = Usage { cached_input_tokens: 0, cache_write_tokens: 0, cache_write_1h_tokens: 0, apart, ..*usage };
        self.priced(&plain, tier).ok()
    }

    /// What so many tokens cost at its target.
    pub fn priced(&self, usage: &Usage, tier: ServiceTier) -> Result<NanoUsd, WhyUnknown> {
        cost_of(self.price.as_ref().ok_or(WhyUnknown::Price)?, usage, tier, self.discount_ppm)
    }

    fn in_doubt(&self, fate: Fate, why: WhyUnknown) -> Settled {
        let why = if self.price.is_none() { WhyUnknown::Price } else { why };
        let overshoot = Some(self.beyond).filter(|beyond| *beyond > NanoUsd::ZERO);
        Settled { overshoot, ..Settled::without_usage(fate, Source::Unknown, self.uncertain(), Some(why)) }
    }

    /// The interval of a call that was cut begins at what was read and written by then, where the provider is known to bill
    /// that: as far as it reported it, and of the text that went by the fewest tokens that it can be.
    fn beginning_at_what_is_sure(&self, settled: Settled, tier: ServiceTier) -> Settled {
        if self.after_cut == AfterCut::Nothing {
            return settled;
        }
        let reported = self.usage.unwrap_or_default();
        let model = self.target.model.as_str();
        let output_tokens =
            tokens::at_least(&self.vendor, model, self.text_bytes, self.words).max(reported.output_tokens);
        let usage = Usage { output_tokens, ..reported.as_text() };
        let sure = self.priced(&usage, tier).unwrap_or(NanoUsd::ZERO);
        let CostInterval { low, exact, high } = settled.cost;
        let low = low.max(high.map_or(sure, |high| sure.min(high)));
        Settled { cost: CostInterval { low, exact, high }, ..settled }
    }

    fn teach(&self, usage: &Usage, call: &CallFacts, estimates: &Estimates) {
        if self.beside.is_none() && usage.apart == Apart::NONE && !self.hears {
            // The bytes of what is attached say nothing of its tokens.
            let body_bytes = (call.view.attachments == Attachments::default()).then_some(self.bytes);
            estimates.learn(&self.target, usage, body_bytes, self.text_bytes);
        }
    }

    /// What is told of its tokens.
    pub fn reported(&self) -> Option<Usage> {
        self.usage
    }

    /// Its tokens as far as they are told, and else as they are estimated.
    pub fn usage(&self, call: &CallFacts, estimates: &Estimates) -> Usage {
        self.usage.unwrap_or_else(|| self.guessed(call, estimates).0)
    }

    /// Its tokens by what went by, and what says so of its input and of its output.
    fn guessed(&self, call: &CallFacts, estimates: &Estimates) -> (Usage, (&'static str, &'static str)) {
        let attached = call.view.attachments;
        let text_bytes = self.bytes.saturating_sub(attached.bytes as u64);
        let (input_tokens, of_input) =
            estimates.input(&self.target, self.counting.as_ref(), text_bytes, attached.images);
        let (output_tokens, of_output) = estimates.output(&self.target, self.text_bytes);
        (Usage { input_tokens, output_tokens, ..Usage::default() }, (of_input, of_output))
    }

    /// The provider said nothing of usage: the text that went by, and how many images, are all there is to go on.
    /// What a recording or a file has in it cannot be told from here.
    fn estimated(&self, call: &CallFacts, tier: ServiceTier, estimates: &Estimates) -> Settled {
        let attached = call.view.attachments;
        if call.view.background || call.view.continues {
            return self.in_doubt(Fate::Completed, WhyUnknown::Unreported);
        }
        if attached.recordings > 0 || attached.references > 0 {
            return self.in_doubt(Fate::Completed, WhyUnknown::Attachments);
        }
        let (usage, (of_input, of_output)) = self.guessed(call, estimates);
        let tokenizer = match (of_input == of_output, attached.images) {
            (true, 0) => Cow::Borrowed(of_input),
            (false, 0) => Cow::Owned(format!("{of_input}, {of_output}")),
            (_, _) => Cow::Owned(format!("{of_input}+images, {of_output}")),
        };
        // What comes on top of the tokens is no more known than where they are reported.
        let priced = self.beside.map_or_else(|| self.priced(&usage, tier), Err);
        let interval = self.uncertain();
        let exact = priced.ok().map(|cost| interval.high.map_or(cost, |high| cost.min(high)));
        let cost = CostInterval { exact, high: interval.high.filter(|_| exact.is_some()), ..interval };
        Settled {
            fate: Fate::Completed,
            usage: Some(usage),
            source: Source::Estimated,
            tokenizer: Some(tokenizer),
            cost,
            unknown: priced.err(),
            tier: priced.is_ok().then_some(tier),
            overshoot: None,
            version: None,
            contradicted: None,
        }
    }

    /// Nothing to the bound: whether a provider bills a call that was cut is not known of most.
    fn uncertain(&self) -> CostInterval {
        // A tier without a known price has no bound either.
        let high = self.bounds.cost.filter(|_| self.service_tier != Some(ServiceTier::Other));
        let high = high.map(|high| high + self.beyond);
        CostInterval { low: NanoUsd::ZERO, exact: None, high }
    }

    fn price_version(&self) -> Option<&str> {
        self.price.as_ref().map(|price| price.version.as_str())
    }
}
