//! What Farthing does by itself and who pays for it; what teams are charged for answers that cost nothing.
//!
//! A room that wants to ask a model something on its own account opens a [`Meter`] with [`Meter::overhead`] and goes on as
//! with any other request: its attempts have rows, intents and intervals. Its row says what for and about which request.
//! It is no request of an agent: it is compared with nothing, and no count of requests has it.

use std::sync::Arc;

use super::Meter;
use super::accounts::Accounts;
use super::closing::Moment;
use crate::call::{Attribution, CallFacts};
use crate::ids::{RequestId, TeamId};
use crate::ledger::record::{Cause, Closed, Comparison, Record, Transfer};
use crate::money::NanoUsd;
use crate::plan::Plan;
use crate::reply::usage::{ServiceTier, Usage};

/// The team that is credited where none is configured.
const PLATFORM: &str = "platform";
const MILLION: i128 = 1_000_000;

/// What Farthing asks a model for by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// A second answer, to compare tiers by.
    Shadow,
    /// A judgement of answers.
    Judge,
    /// Vectors of texts.
    Embedding,
    /// Whether an answer holds.
    Verification,
    /// Whether a provider can be reached.
    Check,
}

impl Purpose {
    /// The word in the ledger.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Shadow => "shadow",
            Self::Judge => "judge",
            Self::Embedding => "embedding",
            Self::Verification => "verification",
            Self::Check => "check",
        }
    }
}

/// What a call is for that no agent asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Overhead {
    purpose: Purpose,
    about: RequestId,
}

impl Overhead {
    pub(super) fn cause(self) -> Cause<'static> {
        Cause { purpose: self.purpose.as_str(), request: Some(self.about) }
    }
}

/// Who pays for what Farthing does by itself, and what cache hits are charged at.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Internal {
    /// Who pays for overheads; `None`: the team whose request caused them.
    pub overhead_team: Option<TeamId>,
    /// What a cache hit is charged at, in millionths of what the call would have cost.
    pub transfer_ppm: u32,
}

impl Internal {
    /// Who pays for an overhead of a request.
    fn payer(&self, about: &Attribution) -> Attribution {
        match &self.overhead_team {
            Some(team) => Attribution::of_team(team.clone()),
            None => Attribution {
                key: about.key.clone(),
                project: about.project.clone(),
                pipeline: about.pipeline.clone(),
                ..Attribution::of_team(about.team.clone())
            },
        }
    }

    /// What `team` is charged for an answer whose call would have cost so much; `None`: nothing, or itself.
    fn transfer(&self, team: &TeamId, would_have_cost: NanoUsd) -> Option<Transfer<'_>> {
        let to = self.overhead_team.as_ref().map_or(PLATFORM, TeamId::as_str);
        let amount = share_of(would_have_cost, self.transfer_ppm);
        (amount != NanoUsd::ZERO && to != team.as_str()).then_some(Transfer { amount, to })
    }
}

/// A share in millionths, rounded half to even.
fn share_of(amount: NanoUsd, ppm: u32) -> NanoUsd {
    let exact = i128::from(amount.0) * i128::from(ppm);
    let (whole, rest) = (exact.div_euclid(MILLION), exact.rem_euclid(MILLION));
    let is_up = rest * 2 > MILLION || (rest * 2 == MILLION && whole % 2 != 0);
    NanoUsd(i64::try_from(whole + i128::from(is_up)).unwrap_or(i64::MAX))
}

impl Meter {
    /// Starts accounting for a call that Farthing makes by itself because of an agent's request: `call` has its content, and
    /// is paid for by whoever pays for overheads.
    pub fn overhead(
        accounts: &Arc<Accounts>,
        purpose: Purpose,
        about: &CallFacts,
        call: CallFacts,
        plan: &Arc<Plan>,
    ) -> Self {
        let call = Arc::new(CallFacts { who: accounts.internal.payer(&about.who), ..call });
        let mut meter = Self::new(accounts, accounts.book.load_full(), &call, plan);
        meter.overhead = Some(Overhead { purpose, about: about.id });
        meter
    }

    /// Closes a request that is answered without a call, by what an earlier call has left: one that read and wrote `usage`,
    /// at a service tier. Before the last frame goes out.
    pub fn served(&mut self, usage: Usage, tier: ServiceTier, http_status: u16) {
        self.closed = true;
        let chain = &self.call.view.outline.chain;
        let (comparison, would_have_cost) = match &self.beside {
            Some(beside) => beside.served(usage, tier, self.spent, chain),
            None => (Comparison::default(), None),
        };
        self.count_saved(&comparison);
        let saved = super::savings::parts(&comparison, self.spent).map(|(saved, _)| saved);
        let transfer = would_have_cost.and_then(|cost| self.accounts.internal.transfer(&self.call.who.team, cost));
        let (ends, now) = (("ok", http_status), Moment::now(&self.call));
        let closing = self.closing(ends, now);
        let closed = Box::new(Closed { request: self.request_facts(), closing });
        // The ledger keeps what it cannot write and says so itself.
        drop(self.accounts.commit(&Record::Served(closed, self.decision(), Box::new(comparison), transfer)));
        self.saved = saved;
        self.report(ends, now, None);
    }
}

#[cfg(test)]
#[path = "overhead/tests.rs"]
mod tests;
