//! Where a call will be sent, in which order, and why.

use std::fmt;

use crate::ids::{ModelId, ProviderId};
use crate::task::Tier;

/// A model at a provider row: what a call is sent to.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ModelRef {
    /// The row.
    pub provider: ProviderId,
    /// The name that the row's provider knows.
    pub model: ModelId,
}

impl fmt::Display for ModelRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.provider, self.model)
    }
}

/// Models of each tier, in fallback order.
#[derive(Clone, Debug, Default)]
pub struct Tiers {
    /// Highest quality.
    pub frontier: Vec<ModelRef>,
    /// Multi-step work.
    pub reasoning: Vec<ModelRef>,
    /// Cheapest.
    pub lightweight: Vec<ModelRef>,
}

impl Tiers {
    /// The models of one tier.
    pub fn models(&self, tier: Tier) -> &[ModelRef] {
        match tier {
            Tier::Frontier => &self.frontier,
            Tier::Reasoning => &self.reasoning,
            Tier::Lightweight => &self.lightweight,
        }
    }

    /// The tier that a model belongs to: the first, dearest first, that lists it.
    pub fn tier_of(&self, model: &ModelRef) -> Option<Tier> {
        Tier::ALL.into_iter().find(|tier| self.models(*tier).contains(model))
    }
}

/// Why a plan is what it is. Header, log and ledger print this same value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    /// The client named a tier.
    PinnedTier,
    /// The client named a model.
    ExactModel,
    /// The client left the choice to us, and nothing says that less than the best will do.
    AutoDefault,
    /// There is no plan: the request was refused before one was made.
    Refused,
}

impl Reason {
    /// The word in header, log and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PinnedTier => "pinned-tier",
            Self::ExactModel => "exact-model",
            Self::AutoDefault => "auto-default",
            Self::Refused => "refused",
        }
    }
}

/// The targets of a call in fallback order; never empty.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// The tier that answers; `None` for a model named exactly that belongs to none.
    pub tier: Option<Tier>,
    /// Where to send it: the first, then the others as long as nothing has gone downstream.
    pub targets: Vec<ModelRef>,
    /// Why.
    pub reason: Reason,
}
