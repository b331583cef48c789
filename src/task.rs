//! The three tiers that work is routed to.

use std::fmt;

/// How capable, and how dear, the model that answers is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Tier {
    /// Highest quality, highest cost.
    Frontier,
    /// Multi-step work at moderate cost.
    Reasoning,
    /// Fastest and cheapest.
    Lightweight,
}

impl Tier {
    /// All tiers, dearest first.
    pub const ALL: [Self; 3] = [Self::Frontier, Self::Reasoning, Self::Lightweight];

    /// The word that clients, policies, metrics and the ledger use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Frontier => "frontier",
            Self::Reasoning => "reasoning",
            Self::Lightweight => "lightweight",
        }
    }

    /// This tier and the dearer ones, from here upward.
    pub fn upward(self) -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().rev().skip_while(move |tier| *tier != self)
    }

    /// The dearer of two.
    #[must_use]
    pub fn or_dearer(self, other: Self) -> Self {
        self.min(other)
    }

    /// Whether it is cheaper than another.
    pub fn is_below(self, other: Self) -> bool {
        self > other
    }

    /// Reads the word back.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tier| tier.as_str() == word)
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
