//! The metrics of DESIGN: `farthing_*` with bounded labels, and the OpenTelemetry GenAI names beside them.
//! <https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-metrics/>
//!
//! Users, runs and text are never labels. The handles of one combination of team, project, tier and
//! model are looked up once a request.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus::core::{AtomicU64, GenericCounter, GenericCounterVec};
use prometheus::{Encoder, Gauge, GaugeVec, Histogram, HistogramVec, IntGauge, IntGaugeVec, Registry, TextEncoder};

use super::dollars::in_dollars;
use super::register::{count, counts, gauge, gauges, histogram, histogram_vec, int_gauge, int_gauges, sums};
use super::series::{Combined, Labels, Memo};

use crate::reply::usage::{Source, Usage, WhyUnknown};

pub(super) type IntCounter = GenericCounter<AtomicU64>;
pub(super) type IntCounterVec = GenericCounterVec<AtomicU64>;

const SECONDS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0];
const SHORT_SECONDS: &[f64] =
    &[0.000_001, 0.000_005, 0.000_01, 0.000_05, 0.000_1, 0.000_5, 0.001, 0.005, 0.01, 0.1, 1.0];
const GEN_AI_TOKENS: &[f64] = &[
    1.0,
    4.0,
    16.0,
    64.0,
    256.0,
    1024.0,
    4096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
];
const GEN_AI_SECONDS: &[f64] =
    &[0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92];
/// Most combinations of labels whose handles are remembered.
const MEMO_ENTRIES_MAX: usize = 4096;

/// All metrics of the process.
pub struct Metrics {
    registry: Registry,
    labels: Labels,
    series: Memo<SeriesKey, Series>,
    prompts: Memo<String, PromptSeries>,
    requests: IntCounterVec,
    decisions: IntCounterVec,
    would_decisions: IntCounterVec,
    errors: IntCounterVec,
    attempts: IntCounterVec,
    tokens: IntCounterVec,
    prompt_tokens: IntCounterVec,
    cost: IntCounterVec,
    estimated_cost: IntCounterVec,
    saved: IntGaugeVec,
    would_save: IntGaugeVec,
    cache_lost: IntCounterVec,
    unpriced: IntCounterVec,
    overshoot: IntCounterVec,
    time_to_first_token: HistogramVec,
    gen_ai_tokens: HistogramVec,
    gen_ai_duration: HistogramVec,
    gen_ai_first_token: HistogramVec,
    /// Claims that a key did not grant, by kind of claim.
    pub ignored_claims: IntCounterVec,
    /// What users say of answers, by outcome.
    pub feedback: IntCounterVec,
    /// Requests that were refused for a budget or a limit, or would have been.
    pub refusals: IntCounterVec,
    /// Slow calls beside which another was to be made, by what came of it.
    pub hedges: IntCounterVec,
    /// Attempts that were billed beyond the limits that their provider was sent, by cause.
    pub overshoots: IntCounterVec,
    /// Attempts for which a provider says that it charges something else than the book.
    pub contradicted_costs: IntCounterVec,
    /// What is left of teams' budgets.
    pub budget_remaining: GaugeVec,
    /// Time from a request's whole body to its first call.
    pub overhead: Histogram,
    /// Requests that are being answered.
    pub in_flight: IntGauge,
    /// Time to commit one record.
    pub ledger_commit: Histogram,
    /// Time that requests wait for the disk, with `durability: power`.
    pub ledger_sync: Histogram,
    /// Age of the oldest record that the tables do not show yet.
    pub ledger_lag: Gauge,
    /// Records that were lost while the ledger could not write.
    pub ledger_gaps: IntGauge,
    /// Age of the oldest change that the mirror does not have.
    pub mirror_lag: Gauge,
    /// Changes that the mirror does not have.
    pub mirror_lag_rows: IntGauge,
    /// Attempts whose cost is not known because a process or a connection died.
    pub interrupted: IntGauge,
    /// Bytes of bodies in flight.
    pub body_bytes: IntGauge,
    /// Reloads of keys or prices that failed.
    pub reload_failures: IntCounterVec,
    /// Reloads of policies that failed.
    pub policy_reload_failures: IntCounter,
    policies: IntGaugeVec,
    withdrawals: IntGaugeVec,
    live_policies: Mutex<Vec<String>>,
}

/// The labels of one request's series.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SeriesLabels<'a> {
    /// Who pays.
    pub team: &'a str,
    /// Project.
    pub project: Option<&'a str>,
    /// Tier of the plan.
    pub tier: Option<&'a str>,
    /// Provider row.
    pub provider: &'a str,
    /// Model at the provider.
    pub model: &'a str,
}

#[derive(PartialEq, Eq)]
struct SeriesKey([Option<Box<str>>; 5]);

impl PartialEq<SeriesKey> for SeriesLabels<'_> {
    fn eq(&self, key: &SeriesKey) -> bool {
        let mine = [Some(self.team), self.project, self.tier, Some(self.provider), Some(self.model)];
        key.0.iter().map(Option::as_deref).eq(mine)
    }
}

/// The handles of one combination of labels.
pub struct Series {
    attempts: [IntCounter; 4],
    tokens: [IntCounter; 5],
    cost: IntCounter,
    estimated_cost: IntCounter,
    /// The bounded labels of what has few series: provider and model.
    target: [Box<str>; 2],
    overshoot: IntCounter,
    time_to_first_token: Histogram,
    gen_ai_input: Histogram,
    gen_ai_output: Histogram,
    gen_ai_duration: Histogram,
    gen_ai_first_token: Histogram,
}

struct PromptSeries([IntCounter; 5]);

/// The ledger's words for how an attempt ends.
const FATES: [&str; 4] = ["completed", "failed", "cut", "interrupted"];
const TOKEN_KINDS: [&str; 5] = ["input", "cached_input", "cache_write", "output", "reasoning"];

fn by_kind(usage: &Usage) -> [u64; 5] {
    let written = usage.cache_write_tokens + usage.cache_write_1h_tokens;
    [usage.input_tokens, usage.cached_input_tokens, written, usage.output_tokens, usage.reasoning_tokens]
}

impl Series {
    /// Counts an attempt that ended.
    pub fn count_attempt(&self, fate: &str) {
        let place = FATES.iter().position(|known| *known == fate);
        debug_assert!(place.is_some(), "`{fate}` is not one of the fates");
        if let Some(place) = place {
            self.attempts[place].inc();
        }
    }

    /// Counts the tokens of one attempt.
    pub fn count_tokens(&self, usage: &Usage) {
        for (counter, tokens) in self.tokens.iter().zip(by_kind(usage)) {
            counter.inc_by(tokens);
        }
        self.gen_ai_input.observe(usage.input_tokens as f64);
        self.gen_ai_output.observe(usage.output_tokens as f64);
    }

    /// Adds nano-dollars to the cost.
    pub fn count_cost(&self, nano_usd: i64, source: Source) {
        let nano = nano_usd.max(0).unsigned_abs();
        self.cost.inc_by(nano);
        if source == Source::Estimated {
            self.estimated_cost.inc_by(nano);
        }
    }

    /// Adds nano-dollars that a provider billed beyond the limits that it was sent.
    pub fn count_overshoot(&self, nano_usd: i64) {
        self.overshoot.inc_by(nano_usd.max(0).unsigned_abs());
    }

    /// Records when the first byte of an answer came, and when the last.
    pub fn time(&self, first: Option<Duration>, whole: Duration) {
        if let Some(first) = first {
            self.time_to_first_token.observe(first.as_secs_f64());
            self.gen_ai_first_token.observe(first.as_secs_f64());
        }
        self.gen_ai_duration.observe(whole.as_secs_f64());
    }
}

impl Metrics {
    /// Registers everything; each label takes at most `label_values` values, and ten times as many combinations.
    ///
    /// # Panics
    ///
    /// Never: the names and labels below are valid and distinct.
    pub fn new(label_values: usize) -> Self {
        let r = Registry::new();
        Self {
            labels: Labels::new(label_values),
            series: Memo::new(MEMO_ENTRIES_MAX),
            prompts: Memo::new(MEMO_ENTRIES_MAX),
            requests: counts(
                &r,
                "farthing_requests_total",
                "Requests by how they ended",
                &["team", "surface", "status"],
            ),
            decisions: counts(&r, "farthing_decisions_total", "Plans made", &["task", "tier", "reason"]),
            would_decisions: counts(
                &r,
                "farthing_would_decisions_total",
                "Plans that levers would have made",
                &["task", "tier", "reason"],
            ),
            errors: counts(&r, "farthing_errors_total", "Errors by who is at fault", &["type"]),
            attempts: counts(
                &r,
                "farthing_attempts_total",
                "Calls that left, by how they ended",
                &["provider", "model", "fate"],
            ),
            tokens: counts(
                &r,
                "farthing_tokens_total",
                "Tokens; cached_input and cache_write are parts of input, reasoning of output",
                &["team", "project", "tier", "provider", "model", "kind"],
            ),
            prompt_tokens: counts(&r, "farthing_prompt_tokens_total", "Tokens by prompt", &["prompt", "kind"]),
            cost: sums(
                &r,
                "farthing_cost_usd_total",
                "Dollars, settled attempts only",
                &["team", "project", "tier", "provider", "model"],
            ),
            estimated_cost: sums(
                &r,
                "farthing_estimated_cost_usd_total",
                "The part of farthing_cost_usd_total that was estimated here, for want of the provider's word",
                &["provider", "model"],
            ),
            saved: int_gauges(
                &r,
                "farthing_saved_usd_total",
                "Dollars saved against what requests would have cost, by cause; a cause that costs falls. provider_cache is \
                 the provider's doing and no part of the others",
                &["cause"],
            ),
            would_save: int_gauges(
                &r,
                "farthing_would_save_usd_total",
                "Dollars that levers which only watch would save at the same tokens; what would cost more makes it fall",
                &["team"],
            ),
            feedback: counts(&r, "farthing_feedback_total", "Words of users on answers, by outcome", &["outcome"]),
            cache_lost: sums(
                &r,
                "farthing_cache_loss_usd_total",
                "Dollars paid again for a conversation's prefix that had been cached, by what broke it",
                &["culprit"],
            ),
            unpriced: counts(
                &r,
                "farthing_unpriced_attempts_total",
                "Attempts whose cost is not known, by why",
                &["provider", "model", "reason"],
            ),
            overshoot: sums(
                &r,
                "farthing_overshoot_usd_total",
                "Dollars billed beyond the limits sent",
                &["provider", "model"],
            ),
            time_to_first_token: histogram_vec(
                &r,
                "farthing_time_to_first_token_seconds",
                "From arrival to the first byte of the answer",
                SECONDS,
                &["provider", "model"],
            ),
            gen_ai_tokens: histogram_vec(
                &r,
                "gen_ai_client_token_usage",
                "Tokens by request (OpenTelemetry GenAI)",
                GEN_AI_TOKENS,
                &["gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model", "gen_ai_token_type"],
            ),
            gen_ai_duration: histogram_vec(
                &r,
                "gen_ai_server_request_duration_seconds",
                "Whole request (OpenTelemetry GenAI)",
                GEN_AI_SECONDS,
                &["gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model"],
            ),
            gen_ai_first_token: histogram_vec(
                &r,
                "gen_ai_server_time_to_first_token_seconds",
                "First byte of the answer (OpenTelemetry GenAI)",
                GEN_AI_SECONDS,
                &["gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model"],
            ),
            ignored_claims: counts(
                &r,
                "farthing_ignored_claims_total",
                "Claims that a key does not grant, or that cannot be read",
                &["claim"],
            ),
            refusals: counts(
                &r,
                "farthing_refusals_total",
                "Requests refused for a budget or a limit, or that would have been where levers only watch",
                &["payer", "code", "acted"],
            ),
            hedges: counts(
                &r,
                "farthing_hedges_total",
                "Slow calls beside which another was to be made: it `won`, `lost`, neither answered (`failed`), the client \
                 left (`abandoned`), or it was not made, beyond the share or for want of money (`withheld`)",
                &["outcome"],
            ),
            overshoots: counts(
                &r,
                "farthing_overshoots_total",
                "Attempts billed beyond the limits that their provider was sent",
                &["cause"],
            ),
            contradicted_costs: counts(
                &r,
                "farthing_stated_cost_differs_total",
                "Attempts for which the provider says that it charges something else than the price book",
                &["provider"],
            ),
            budget_remaining: gauges(
                &r,
                "farthing_budget_remaining_usd",
                "What is neither spent nor held of teams' budgets",
                &["team"],
            ),
            overhead: histogram(
                &r,
                "farthing_overhead_seconds",
                "From the whole request to the first call",
                SHORT_SECONDS,
            ),
            in_flight: int_gauge(&r, "farthing_in_flight", "Requests that are being answered"),
            ledger_commit: histogram(&r, "farthing_ledger_commit_seconds", "Time to commit one record", SHORT_SECONDS),
            ledger_sync: histogram(&r, "farthing_ledger_sync_seconds", "Time waited for the disk", SHORT_SECONDS),
            ledger_lag: gauge(&r, "farthing_ledger_lag_seconds", "Age of the oldest record not in the tables"),
            ledger_gaps: int_gauge(&r, "farthing_ledger_gaps", "Records lost while the ledger could not write"),
            mirror_lag: gauge(
                &r,
                "farthing_mirror_lag_seconds",
                "Age of the oldest change that the mirror does not have; 0 without a mirror",
            ),
            mirror_lag_rows: int_gauge(&r, "farthing_mirror_lag_rows", "Changes that the mirror does not have"),
            interrupted: int_gauge(
                &r,
                "farthing_interrupted_attempts",
                "Attempts left uncertain by a death since the start or found at it",
            ),
            body_bytes: int_gauge(&r, "farthing_body_bytes", "Bytes of bodies in flight"),
            reload_failures: counts(&r, "farthing_reload_failures_total", "Reloads that failed", &["file"]),
            policy_reload_failures: count(
                &r,
                "farthing_policy_reload_failures_total",
                "Reloads of policies that failed",
            ),
            withdrawals: int_gauges(
                &r,
                "farthing_model_withdrawn_in_days",
                "Days until a provider withdraws a model of a tier, from 30 days before on; negative: it has",
                &["provider", "model"],
            ),
            policies: int_gauges(&r, "farthing_policy_info", "1 for each policy in force", &["version"]),
            live_policies: Mutex::default(),
            registry: r,
        }
    }

    /// The handles of one combination of labels.
    pub fn series(&self, labels: SeriesLabels<'_>) -> Arc<Series> {
        self.series.entry(&labels, || {
            let model = self.labels.bounded("model", Some(labels.model));
            (owned(labels), self.make_series(labels, model))
        })
    }

    /// The same for a model that has no price and has not answered: a name that a client may have invented takes no room.
    pub fn series_of_unproven(&self, labels: SeriesLabels<'_>) -> Arc<Series> {
        let model = self.labels.recognised("model", labels.model);
        Arc::new(self.make_series(labels, model))
    }

    /// Counts a plan.
    pub fn count_decision(&self, task: Option<&str>, tier: Option<&str>, reason: &str) {
        let task = self.labels.bounded("task", task);
        self.decisions.with_label_values(&[task, tier.unwrap_or("none"), reason]).inc();
    }

    /// Counts what levers would have made of a call that they only watch.
    pub fn count_would(&self, task: Option<&str>, tier: Option<&str>, reason: &str) {
        let task = self.labels.bounded("task", task);
        self.would_decisions.with_label_values(&[task, tier.unwrap_or("none"), reason]).inc();
    }

    /// Counts a request that ended; `status` is `ok` or an error code.
    pub fn count_request(&self, team: &str, surface: &str, status: &str) {
        let team = self.labels.bounded("team", Some(team));
        self.requests.with_label_values(&[team, surface, status]).inc();
    }

    /// Counts an error by the word of the closed vocabulary.
    pub fn count_error(&self, kind: &str) {
        self.errors.with_label_values(&[kind]).inc();
    }

    /// Counts tokens by prompt.
    pub fn count_prompt_tokens(&self, prompt: &str, usage: &Usage) {
        let series = self.prompts.entry(&PromptName(prompt), || {
            // Fingerprints of system prompts change with every date in them; names do not.
            let is_named = !prompt.starts_with("system-") && !prompt.starts_with("hash-");
            let bounded = if is_named {
                self.labels.bounded("prompt", Some(prompt))
            } else {
                self.labels.bounded_unnamed("prompt", prompt)
            };
            let counters = TOKEN_KINDS.map(|kind| self.prompt_tokens.with_label_values(&[bounded, kind]));
            (prompt.to_owned(), PromptSeries(counters))
        });
        for (counter, tokens) in series.0.iter().zip(by_kind(usage)) {
            counter.inc_by(tokens);
        }
    }

    /// Shows how many days are left of these models, as provider, model and days, and of no others.
    pub fn show_withdrawals<'a>(&self, models: impl IntoIterator<Item = (&'a str, &'a str, i64)>) {
        self.withdrawals.reset();
        for (provider, model, days) in models {
            self.withdrawals.with_label_values(&[provider, model]).set(days);
        }
    }

    /// Shows these versions of policies as those in force, and no others. How many there can be is bounded where they
    /// are read.
    pub fn show_policies(&self, versions: Vec<String>) {
        let mut live = self.live_policies.lock().unwrap_or_else(PoisonError::into_inner);
        for version in &versions {
            self.policies.with_label_values(&[version]).set(1);
        }
        for gone in live.iter().filter(|version| !versions.contains(version)) {
            // It was there: it was shown before.
            drop(self.policies.remove_label_values(&[gone]));
        }
        *live = versions;
    }

    /// Adds nano-dollars to what a cause saved; less than nothing where it cost.
    pub fn count_saved(&self, cause: &str, nano_usd: i64) {
        if nano_usd != 0 {
            self.saved.with_label_values(&[cause]).add(nano_usd);
        }
    }

    /// Adds nano-dollars that levers would have saved of a team's where they only watch, or would have cost if negative.
    pub fn count_would_save(&self, team: &str, nano_usd: i64) {
        let team = self.labels.bounded("team", Some(team));
        self.would_save.with_label_values(&[team]).add(nano_usd);
    }

    /// Adds nano-dollars that a broken prefix cost.
    pub fn count_cache_lost(&self, culprit: &str, nano_usd: i64) {
        self.cache_lost.with_label_values(&[culprit]).inc_by(nano_usd.max(0).unsigned_abs());
    }

    /// Counts an attempt whose cost is not known.
    pub fn count_unknown(&self, series: &Series, why: WhyUnknown) {
        let [provider, model] = &series.target;
        self.unpriced.with_label_values(&[provider, model, why.as_str()]).inc();
    }

    /// Everything in Prometheus' text format.
    pub fn render(&self) -> Vec<u8> {
        let mut text = Vec::new();
        drop(TextEncoder::new().encode(&self.registry.gather(), &mut text));
        in_dollars(&text)
    }

    fn make_series(&self, labels: SeriesLabels<'_>, model: &str) -> Series {
        let Combined { team, project, tier, provider, model } = self.labels.combined(Combined {
            team: self.labels.bounded("team", Some(labels.team)),
            project: self.labels.bounded("project", labels.project),
            tier: labels.tier.unwrap_or("none"),
            provider: self.labels.bounded("provider", Some(labels.provider)),
            model,
        });
        let all = [team, project, tier, provider, model];
        let gen_ai = ["chat", provider, model];
        // At 0 from the start, so that the first is an increase; the rarer reasons begin with their first.
        drop(self.unpriced.with_label_values(&[provider, model, WhyUnknown::Price.as_str()]));
        Series {
            attempts: FATES.map(|fate| self.attempts.with_label_values(&[provider, model, fate])),
            tokens: TOKEN_KINDS
                .map(|kind| self.tokens.with_label_values(&[team, project, tier, provider, model, kind])),
            cost: self.cost.with_label_values(&all),
            estimated_cost: self.estimated_cost.with_label_values(&[provider, model]),
            target: [provider, model].map(Box::from),
            overshoot: self.overshoot.with_label_values(&[provider, model]),
            time_to_first_token: self.time_to_first_token.with_label_values(&[provider, model]),
            gen_ai_input: self.gen_ai_tokens.with_label_values(&["chat", provider, model, "input"]),
            gen_ai_output: self.gen_ai_tokens.with_label_values(&["chat", provider, model, "output"]),
            gen_ai_duration: self.gen_ai_duration.with_label_values(&gen_ai),
            gen_ai_first_token: self.gen_ai_first_token.with_label_values(&gen_ai),
        }
    }
}

fn owned(labels: SeriesLabels<'_>) -> SeriesKey {
    let all = [Some(labels.team), labels.project, labels.tier, Some(labels.provider), Some(labels.model)];
    SeriesKey(all.map(|label| label.map(Box::from)))
}

#[derive(Hash)]
struct PromptName<'a>(&'a str);

impl PartialEq<String> for PromptName<'_> {
    fn eq(&self, other: &String) -> bool {
        self.0 == other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_of_dollars_are_exact_however_small_and_many_their_parts_are() {
        let metrics = Metrics::new(3);
        let labels = SeriesLabels { team: "t", project: None, tier: None, provider: "p", model: "m" };
        let series = metrics.series(labels);
        (0..1_000).for_each(|_| series.count_cost(100_000_001, Source::Estimated));
        series.count_overshoot(7);
        metrics.count_saved("route", 1_500_000_000);
        metrics.count_saved("route", -1_600_000_001);
        metrics.count_cache_lost("ttl", 20_000_000);
        let text = String::from_utf8(metrics.render()).unwrap();
        let told = |name: &str| {
            let line = text.lines().find(|line| line.starts_with(name)).expect(name);
            line.rsplit_once(' ').map(|(_, value)| value.to_owned())
        };
        for (name, value) in [
            ("farthing_cost_usd_total{", "100.000001"),
            ("farthing_estimated_cost_usd_total{", "100.000001"),
            ("farthing_overshoot_usd_total{", "0.000000007"),
            ("farthing_saved_usd_total{", "-0.100000001"),
            ("farthing_cache_loss_usd_total{", "0.02"),
        ] {
            assert_eq!(told(name).as_deref(), Some(value), "{name}");
        }
    }

    #[test]
    fn a_flood_of_teams_ends_in_other() {
        let metrics = Metrics::new(3);
        for n in 0..100 {
            let team = format!("team-{n}");
            let labels = SeriesLabels { team: &team, project: None, tier: None, provider: "p", model: "m" };
            metrics.series(labels).count_cost(1_000_000_000, Source::Reported);
            metrics.count_prompt_tokens(&team, &Usage { input_tokens: 2, ..Usage::default() });
        }
        let text = String::from_utf8(metrics.render()).unwrap();
        let costs: Vec<&str> = text.lines().filter(|line| line.starts_with("farthing_cost_usd_total{")).collect();
        assert_eq!(costs.len(), 4, "{costs:?}");
        assert!(costs.iter().any(|line| line.contains("team=\"other\"") && line.ends_with(" 97")), "{costs:?}");
        assert!(text.contains("farthing_prompt_tokens_total{kind=\"input\",prompt=\"other\"} 194"));
    }
}
