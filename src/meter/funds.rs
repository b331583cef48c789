//! What an attempt is let go with: the most that it can use and cost, the limit that its provider is to keep, and the
//! money that is held for it.

use std::sync::Arc;
use std::time::Duration;

use super::holds::Hold;
use crate::cost::{Most, Price, Terms, upper_bound};
use crate::money::{CostInterval, NanoUsd};
use crate::prompt::json::WholeNumber;
use crate::prompt::view::View;
use crate::providers::Row;
use crate::reply::usage::ServiceTier;
use crate::tokens;
use crate::wire::vendors::Habits;

/// What an attempt is let go with.
pub struct Funds {
    /// Its price; `None`: unknown.
    pub price: Option<Arc<Price>>,
    /// The most that it can use and cost.
    pub bounds: Bounds,
    /// The most output tokens an answer that its provider is told, where the client's or the model's own limit is higher.
    pub output_limit: Option<u64>,
    /// What is held; `None`: no ceiling applies.
    pub hold: Option<Hold>,
    /// How long that was waited for, which is no doing of ours.
    pub waited: Duration,
}

/// The most that an attempt can use and cost; `None`: nothing bounds it.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Input tokens.
    pub input: Option<u64>,
    /// Output tokens, reasoning included, of all answers together.
    pub output: Option<u64>,
    /// What both cost.
    pub cost: Option<NanoUsd>,
    /// Length of the body that leaves.
    pub bytes: usize,
    tiers: &'static [ServiceTier],
    /// Some of the input may be sound.
    hears: bool,
    discount_ppm: u32,
}

impl Funds {
    /// Those of an attempt under no ceiling, whose body is so many `bytes` long when it leaves.
    pub fn unlimited(
        (view, bytes): (&View, usize),
        row: &Row,
        price: Option<Arc<Price>>,
        output_limit: Option<u64>,
    ) -> Self {
        let bounds = Bounds::of((view, bytes), row, price.as_deref(), output_limit);
        Self { price, bounds, output_limit, hold: None, waited: Duration::ZERO }
    }
}

impl Bounds {
    /// Those of a call to a row, whose body is so many `bytes` long when it leaves: of the client's bytes nobody is billed
    /// for more than what was made of them. `output_limit` is what the provider is told in place of the client's own limit.
    pub fn of((view, bytes): (&View, usize), row: &Row, price: Option<&Price>, output_limit: Option<u64>) -> Self {
        let limits = price.map(|price| price.limits).unwrap_or_default();
        let tiers: &[ServiceTier] =
            price.map_or(&[], |price| applicable_tiers(view.service_tier.as_deref(), row.habits(), price));
        let hears_at_a_price = view.attachments.recordings > 0 && price.is_some_and(|price| price.knows_sound(tiers));
        let mut bounds = Self {
            input: tokens::input_bound(view, bytes, limits.input, hears_at_a_price),
            output: output_bound(view, limits.output, output_limit),
            cost: None,
            bytes,
            tiers,
            // What is named and not sent may be sound as well.
            hears: view.attachments.recordings > 0 || view.attachments.references > 0,
            discount_ppm: row.discount_ppm(),
        };
        bounds.cost = price.and_then(|price| bounds.cost_of(price, bounds.input?, bounds.output?));
        bounds
    }

    /// The same where no more than `input` tokens can have been sent.
    #[must_use]
    pub fn with_input(mut self, price: &Price, input: u64) -> Self {
        self.input = Some(self.input.map_or(input, |bound| bound.min(input)));
        self.cost = self.output.zip(self.input).and_then(|(output, input)| self.cost_of(price, input, output));
        self
    }

    /// The same with another limit an answer.
    #[must_use]
    pub fn with_output_limit(mut self, price: &Price, view: &View, limit: u64) -> Self {
        self.output = output_bound(view, None, Some(limit));
        self.cost = self.output.zip(self.input).and_then(|(output, input)| self.cost_of(price, input, output));
        self
    }

    /// The most that so many tokens can cost.
    pub fn cost_of(&self, price: &Price, input: u64, output: u64) -> Option<NanoUsd> {
        let most = Most { input_tokens: input, output_tokens: output, hears: self.hears };
        upper_bound(price, most, self.tiers, self.discount_ppm)
    }
}

/// What a budget counts of a cost: its high end, until the truth is known.
pub fn enforced(cost: CostInterval) -> NanoUsd {
    cost.high.or(cost.exact).unwrap_or(cost.low)
}

/// The limit an answer that the provider keeps by itself: the client's, else the model's; `None`: unknown.
pub fn limit_of(view: &View, price: Option<&Price>) -> Option<u64> {
    match view.output_limit {
        WholeNumber::Is(limit) => Some(limit),
        WholeNumber::Absent => price.and_then(|price| price.limits.output),
        WholeNumber::Odd => None,
    }
}

fn output_bound(view: &View, model_limit: Option<u64>, told: Option<u64>) -> Option<u64> {
    let Some(told) = told else { return tokens::output_bound(view, model_limit) };
    let bounded = view.attachments.server_tools == 0 && view.answers != WholeNumber::Odd;
    bounded.then(|| tokens::output_within(view, told))
}

/// The tier to price a reply by that names none.
pub(super) fn asked_tier(asked: Option<&str>, habits: Habits) -> ServiceTier {
    asked.map_or(ServiceTier::Standard, |asked| habits.charged_tier(asked))
}

/// The tiers that a provider may apply to a request. Flex and priority requests may be served at list price;
/// without a word, or with `auto`, the provider's project settings decide, and only `default` rules priority out.
/// <https://platform.openai.com/docs/api-reference/chat/create#chat-create-service_tier>
fn applicable_tiers(asked: Option<&str>, habits: Habits, price: &Price) -> &'static [ServiceTier] {
    use ServiceTier::{Batch, Flex, Other, Priority, Standard};
    let prices_priority = matches!(&price.terms, Terms::Metered(metered) if metered.priority.is_some());
    match (asked, asked_tier(asked, habits)) {
        (None | Some("auto"), _) if prices_priority => &[Standard, Priority],
        (_, Standard) => &[Standard],
        (_, Flex) => &[Standard, Flex],
        (_, Priority) => &[Standard, Priority],
        (_, Batch) => &[Standard, Batch],
        (_, Other) => &[Other],
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{call, row_of};
    use super::*;
    /// What the client sent may be shorter than what is made of it, and nobody bills for the client's bytes.
    #[tokio::test]
    async fn the_bytes_that_leave_bound_the_input() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let call = call();
        for (model, added) in [("gpt-5.6-luna", 0), ("gpt-5.6-luna-2026-07-09", 11), ("gpt-4", -7)] {
            let (row, target) = row_of(folder.path(), "openai", model);
            let worded = row.word(&call, &target);
            let bounds = Bounds::of((&call.facts.view, worded.bytes()), &row, None, None);
            let outbound = row.finish(worded, &call, None);
            let leaves: usize = outbound.pieces().iter().map(bytes::Bytes::len).sum();
            assert_eq!(leaves, call.body.len().saturating_add_signed(added), "{model}");
            assert_eq!((outbound.bytes(), bounds.input), (leaves, Some(leaves as u64)), "{model}");
        }
    }
}
