//! How vendors that speak OpenAI's protocol differ in what they mean by it: a row a vendor, nothing but data.
//!
//! Only what a reply cannot tell by itself belongs here. Where the figures decide, as a total does that is the
//! sum of its parts in one way only, the arithmetic in `openai_usage` is believed, whoever sent them.

use crate::dialect::Dialect;
use crate::reply::usage::ServiceTier;

/// What a vendor's words mean where they do not mean what OpenAI's do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Habits {
    /// Where reasoning tokens are counted.
    pub reasoning: Reasoning,
    /// What the service tiers that its replies name are charged at.
    pub tiers: Tiers,
    /// Whether its usage says what it charges.
    pub states: States,
}

/// Where a vendor counts the tokens of reasoning.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Reasoning {
    /// They are part of `completion_tokens`.
    #[default]
    Within,
    /// They are billed beside `completion_tokens`, and what a total has too much is they.
    Beside,
}

/// What a vendor charges in its service tiers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Tiers {
    /// What the price book says of each.
    #[default]
    Priced,
    /// List price in `flex` too.
    FlexAtListPrice,
}

/// What a vendor's usage says of its cost. A member `cost` of anybody else may be in any currency.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum States {
    /// Nothing.
    #[default]
    Nothing,
    /// `cost` in US dollars.
    Dollars,
    /// `cost_in_usd_ticks`, ten thousand million of which are a dollar.
    Ticks,
}

/// Everyone who is not here speaks as OpenAI does.
const VENDORS: [(&str, Habits); 6] = [
    // https://ai.google.dev/gemini-api/docs/openai: a total is the prompt, the candidates and the thoughts.
    ("gemini", Habits { reasoning: Reasoning::Beside, tiers: Tiers::Priced, states: States::Nothing }),
    // https://console.groq.com/docs/flex-processing: "Pricing matches the on-demand tier."
    ("groq", Habits { reasoning: Reasoning::Within, tiers: Tiers::FlexAtListPrice, states: States::Nothing }),
    // https://openrouter.ai/docs/use-cases/usage-accounting: "the total amount charged to your account".
    ("openrouter", Habits { reasoning: Reasoning::Within, tiers: Tiers::Priced, states: States::Dollars }),
    // https://docs.perplexity.ai/getting-started/pricing: tokens and a fee for each request, in one total.
    ("perplexity", Habits { reasoning: Reasoning::Within, tiers: Tiers::Priced, states: States::Dollars }),
    ("vertex", Habits { reasoning: Reasoning::Beside, tiers: Tiers::Priced, states: States::Nothing }),
    // https://docs.x.ai/docs/key-information/consumption-and-rate-limits: reasoning is "counted separately from
    // completion_tokens, but will be counted in the total_tokens".
    ("xai", Habits { reasoning: Reasoning::Beside, tiers: Tiers::Priced, states: States::Ticks }),
];

impl Habits {
    /// The tier that a request is charged at where its reply, or else the request itself, names `text`.
    pub fn charged_tier(self, text: &str) -> ServiceTier {
        match (ServiceTier::from_reply(text), self.tiers) {
            (ServiceTier::Flex, Tiers::FlexAtListPrice) => ServiceTier::Standard,
            (tier, _) => tier,
        }
    }

    /// That of a vendor, by the name that price-book keys begin with.
    pub fn of(vendor: &str) -> Self {
        VENDORS.iter().find(|(name, _)| *name == vendor).map_or(Self::default(), |(_, habits)| *habits)
    }
}

/// The member by which a vendor is told in a dialect the most output tokens, reasoning included, where the client named none.
/// OpenAI's reasoning models refuse the older name, which everybody else still takes:
/// <https://platform.openai.com/docs/api-reference/chat/create#chat-create-max_completion_tokens>
pub fn output_limit_member(dialect: Dialect, vendor: &str) -> &'static str {
    match (dialect, vendor) {
        (Dialect::Responses, _) => "max_output_tokens",
        (Dialect::Chat, "openai" | "azure") => "max_completion_tokens",
        _ => "max_tokens",
    }
}
