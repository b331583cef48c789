//! The figures of some requests together: whole numbers that add up.

use super::beside::Beside;

/// What saves, or costs where it is negative.
pub const CAUSES: [&str; 5] = ["route", "fallback", "retry", "compress", "cache"];

/// Figures of some requests. Amounts are nano-dollars.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Figures {
    /// Requests that ended.
    pub requests: i64,
    /// Their attempts.
    pub attempts: i64,
    /// Everything that was read.
    pub input_tokens: i64,
    /// The part of it that came from a provider's cache.
    pub cached_input_tokens: i64,
    /// The part of it that was written to one.
    pub cache_write_tokens: i64,
    /// Everything that was generated.
    pub output_tokens: i64,
    /// The part of it that was reasoning.
    pub reasoning_tokens: i64,
    /// What the attempts cost whose cost is known.
    pub cost: i64,
    /// Attempts whose cost is not known.
    pub uncertain: i64,
    /// What those cost at least.
    pub uncertain_low: i64,
    /// What those cost at most, but for the unbounded ones: [`Figures::uncertain_most`] is what there is to say.
    pub uncertain_high: i64,
    /// Those among them that nothing bounds.
    pub unbounded: i64,
    /// Requests of which it is known what they would have cost.
    pub compared: i64,
    /// What those would have cost.
    pub baseline: i64,
    /// What those saved, by cause.
    pub saved_by: [i64; CAUSES.len()],
    /// What the providers' own caches took off: no part of what was saved.
    pub provider_cache: i64,
    /// What cached prefixes cost that broke.
    pub cache_lost: i64,
    /// The part of the cost that Farthing caused by itself: no agent asked for it.
    pub overhead: i64,
    /// What teams are charged for answers that cost nobody anything, less what another team is credited for it.
    pub transfer: i64,
    /// The part of the cost whose tokens nobody reported: they were estimated here.
    pub estimated: i64,
    /// What those attempts cost at least.
    pub estimated_low: i64,
    /// What those attempts cost at most, which is what budgets went by.
    pub estimated_high: i64,
    /// What discounts took off the list price of attempts whose cost is known.
    pub discount: i64,
    /// What re-rating booked on top of the cost. Rows and sums know nothing of it.
    pub adjusted: i64,
    /// What few requests have. Sums and statements know nothing of it.
    pub beside: Beside,
}

impl Figures {
    /// How many there are that sums are kept of: all but what was adjusted and what stands beside.
    pub const COUNT: usize = 27;
    /// Their names, as columns.
    pub const NAMES: [&str; Self::COUNT] = [
        "requests",
        "attempts",
        "input_tokens",
        "cached_input_tokens",
        "cache_write_tokens",
        "output_tokens",
        "reasoning_tokens",
        "cost_nano",
        "uncertain",
        "uncertain_low_nano",
        "uncertain_high_nano",
        "unbounded",
        "compared",
        "baseline_nano",
        "saved_route_nano",
        "saved_fallback_nano",
        "saved_retry_nano",
        "saved_compress_nano",
        "saved_cache_nano",
        "provider_cache_nano",
        "cache_lost_nano",
        "overhead_nano",
        "transfer_nano",
        "estimated_nano",
        "estimated_low_nano",
        "estimated_high_nano",
        "discount_nano",
    ];

    /// All of them, in the order of their names.
    pub fn all(&self) -> [i64; Self::COUNT] {
        let [route, fallback, retry, compress, cache] = self.saved_by;
        [
            self.requests,
            self.attempts,
            self.input_tokens,
            self.cached_input_tokens,
            self.cache_write_tokens,
            self.output_tokens,
            self.reasoning_tokens,
            self.cost,
            self.uncertain,
            self.uncertain_low,
            self.uncertain_high,
            self.unbounded,
            self.compared,
            self.baseline,
            route,
            fallback,
            retry,
            compress,
            cache,
            self.provider_cache,
            self.cache_lost,
            self.overhead,
            self.transfer,
            self.estimated,
            self.estimated_low,
            self.estimated_high,
            self.discount,
        ]
    }

    /// From all of them in that order.
    pub fn of(all: [i64; Self::COUNT]) -> Self {
        let [
            requests,
            attempts,
            input_tokens,
            cached_input_tokens,
            cache_write_tokens,
            output_tokens,
            reasoning_tokens,
            cost,
            uncertain,
            uncertain_low,
            uncertain_high,
            unbounded,
            compared,
            baseline,
            route,
            fallback,
            retry,
            compress,
            cache,
            provider_cache,
            cache_lost,
            overhead,
            transfer,
            estimated,
            estimated_low,
            estimated_high,
            discount,
        ] = all;
        Self {
            requests,
            attempts,
            input_tokens,
            cached_input_tokens,
            cache_write_tokens,
            output_tokens,
            reasoning_tokens,
            cost,
            uncertain,
            uncertain_low,
            uncertain_high,
            unbounded,
            compared,
            baseline,
            saved_by: [route, fallback, retry, compress, cache],
            provider_cache,
            cache_lost,
            overhead,
            transfer,
            estimated,
            estimated_low,
            estimated_high,
            discount,
            adjusted: 0,
            beside: Beside::default(),
        }
    }

    /// All of them as they are told: there is no most of what nothing bounds.
    pub fn told(&self) -> [Option<i64>; Self::COUNT] {
        const UNCERTAIN_HIGH: usize = 10;
        const ESTIMATED_HIGH: usize = 25;
        let mut all = self.all().map(Some);
        all[UNCERTAIN_HIGH] = self.uncertain_most();
        all[ESTIMATED_HIGH] = self.estimated_most();
        all
    }

    /// What the attempts cost at most whose cost is not known; `None`: nothing bounds some of them.
    pub fn uncertain_most(&self) -> Option<i64> {
        (self.unbounded <= 0).then_some(self.uncertain_high)
    }

    /// What the attempts cost at most whose tokens were estimated; `None`: nothing bounds some of them.
    pub fn estimated_most(&self) -> Option<i64> {
        (self.beside.unbounded_estimates <= 0).then_some(self.estimated_high)
    }

    /// Adds others to them.
    pub fn add(&mut self, other: &Self) {
        self.each(other, i64::saturating_add);
    }

    /// Takes others off them.
    pub fn take(&mut self, other: &Self) {
        self.each(other, i64::saturating_sub);
    }

    /// What they are beyond what was stated of them: nothing where that is only what statements of earlier versions did not
    /// tell, which part of a cost was estimated and what discounts took off.
    #[must_use]
    pub fn beyond(&self, stated: &Self) -> Self {
        let mut rest = self.clone();
        rest.take(stated);
        let Self { estimated, estimated_low, estimated_high, discount, .. } = rest;
        let untold = Self { estimated, estimated_low, estimated_high, discount, ..Self::default() };
        let told = [stated.estimated, stated.estimated_low, stated.estimated_high, stated.discount];
        if rest == untold && told == [0; 4] { Self::default() } else { rest }
    }

    /// What was saved altogether.
    pub fn saved(&self) -> i64 {
        self.saved_by.iter().sum()
    }

    /// What was saved, less what Farthing's own calls cost.
    pub fn net_saved(&self) -> i64 {
        self.saved().saturating_sub(self.overhead)
    }

    /// What is to be paid: the cost, what re-rating made of it, and what cache hits are charged at.
    pub fn charged(&self) -> i64 {
        self.cost.saturating_add(self.adjusted).saturating_add(self.transfer)
    }

    /// What budgets count: the high end of what is estimated or not known, where it has one, and what re-rating booked.
    pub fn budgeted(&self) -> i64 {
        let doubt = self.estimated_high.saturating_sub(self.estimated).saturating_add(self.uncertain_high);
        self.cost.saturating_add(doubt).saturating_add(self.adjusted)
    }

    /// What would be billed without discounts.
    pub fn list(&self) -> i64 {
        self.cost.saturating_add(self.adjusted).saturating_add(self.discount)
    }

    /// Whether there is nothing.
    pub fn is_zero(&self) -> bool {
        self.all() == [0; Self::COUNT] && self.adjusted == 0 && self.beside == Beside::default()
    }

    fn each(&mut self, other: &Self, of: fn(i64, i64) -> i64) {
        let (mut mine, theirs) = (self.all(), other.all());
        for (mine, theirs) in mine.iter_mut().zip(theirs) {
            *mine = of(*mine, theirs);
        }
        let (adjusted, beside) = (of(self.adjusted, other.adjusted), self.beside.each(&other.beside, of));
        *self = Self { adjusted, beside, ..Self::of(mine) };
    }
}
