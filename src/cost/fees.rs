//! What providers charge by the call for the tools that they run, beside the tokens.
//!
//! A row states its fees in dollars a call. Those that it leaves out are filled once, when the row is read; what no rule
//! fills stays unknown, and a call of that kind makes the cost unknown above the tokens'.

use crate::money::{PicoUsd, PicoUsdPerToken};
use crate::reply::usage::Calls;

/// Pico-dollars of a millionth of a dollar.
const PICO_PER_MICRO: u128 = 1_000_000;

/// What a call of each kind costs, in the order of [`Calls::KINDS`]; `None`: unknown.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Fees([Option<PicoUsd>; Calls::KINDS.len()]);

impl Fees {
    /// Anthropic's own: ten dollars for a thousand searches, and pages are charged by their tokens alone.
    /// <https://docs.claude.com/en/docs/about-claude/pricing#specific-tool-pricing>
    const ANTHROPIC: Self = Self([Some(PicoUsd(10_000 * PICO_PER_MICRO)), Some(PicoUsd(0)), None, None]);

    /// What a vendor is known to charge where a row states nothing.
    pub fn usual(vendor: &str) -> Self {
        if vendor == "anthropic" { Self::ANTHROPIC } else { Self::default() }
    }

    /// The same with what the vendor is known to charge where nothing is stated.
    pub(super) fn filled(self, vendor: &str) -> Self {
        let usual = Self::usual(vendor);
        Self(std::array::from_fn(|kind| self.0[kind].or(usual.0[kind])))
    }

    /// States one, as many millionths of a dollar a call as a rate has dollars per million tokens; false for what is no kind.
    pub(super) fn state(&mut self, kind: &str, dollars: PicoUsdPerToken) -> bool {
        let place = Calls::KINDS.iter().position(|known| *known == kind);
        let fee = PicoUsd(u128::from(dollars.0) * PICO_PER_MICRO);
        place.map(|place| self.0[place] = Some(fee)).is_some()
    }

    /// Those that are known, in dollars a call spelt as rates are.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, PicoUsdPerToken)> + use<> {
        let dollars = |fee: PicoUsd| PicoUsdPerToken(u64::try_from(fee.0 / PICO_PER_MICRO).unwrap_or(u64::MAX));
        Calls::KINDS.into_iter().zip(self.0).filter_map(move |(name, fee)| Some((name, dollars(fee?))))
    }

    /// Adds what these calls cost; `None` if the fee of a kind that was called is unknown.
    pub(super) fn add(&self, sum: PicoUsd, calls: Calls) -> Option<PicoUsd> {
        self.0.iter().zip(calls.each()).try_fold(sum, |sum, (fee, calls)| match calls {
            0 => Some(sum),
            calls => Some(PicoUsd(sum.0.saturating_add((*fee)?.0.saturating_mul(u128::from(calls))))),
        })
    }
}
