//! How often conversations move up from the tier that they begin in: what a first step is weighed by.
//!
//! Counted by the tier that each step's work belongs in, not by the one that answered it, so that beginning above is
//! found out where it is no longer needed. One conversation counts once in each tier that it reaches from below.

use crate::task::Tier;

/// A whole, in millionths.
pub const MILLION: u32 = 1_000_000;
/// Conversations after which what was counted weighs half, so that the newest say most.
const COUNTED_MAX: u32 = 1_024;

/// Where conversations that begin in a tier go on to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rise {
    /// The tier that they begin in.
    pub from: Tier,
    /// The dearer one that most of those that move go to.
    pub to: Tier,
    /// How many do, in millionths.
    pub ppm: u32,
}

/// Conversations counted by the dearest tier of their work.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Rises {
    reached: [u32; Tier::ALL.len()],
    rose: [[u32; Tier::ALL.len()]; Tier::ALL.len()],
}

impl Rises {
    /// Counts a step whose work belongs in `tier`; `before` is the dearest of the conversation's earlier ones. Gives the
    /// dearest so far.
    pub fn count(&mut self, before: Option<Tier>, tier: Tier) -> Tier {
        match before {
            Some(before) if !before.is_below(tier) => return before,
            Some(before) => self.rose[before as usize][tier as usize] += 1,
            None => {}
        }
        self.reached[tier as usize] += 1;
        if self.reached[tier as usize] >= COUNTED_MAX {
            self.reached[tier as usize] /= 2;
            self.rose[tier as usize].iter_mut().for_each(|count| *count /= 2);
        }
        tier
    }

    /// Where conversations that begin in `tier` mostly go on to. Before any was seen half of them do (Laplace's rule).
    pub fn of(&self, tier: Tier) -> Option<Rise> {
        let dearer = tier.upward().filter(|dearer| tier.is_below(*dearer));
        let to = dearer.max_by_key(|dearer| self.rose[tier as usize][*dearer as usize])?;
        let rose = self.rose[tier as usize].iter().sum::<u32>().min(self.reached[tier as usize]);
        let share = u64::from(MILLION) * u64::from(rose + 1) / u64::from(self.reached[tier as usize] + 2);
        Some(Rise { from: tier, to, ppm: share as u32 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::Tier::{Frontier, Lightweight, Reasoning};

    #[track_caller]
    fn check(conversations: &[&[Tier]], tier: Tier, expected: Option<(Tier, u32)>) {
        let mut rises = Rises::default();
        for steps in conversations {
            steps.iter().fold(None, |before, tier| Some(rises.count(before, *tier)));
        }
        assert_eq!(rises.of(tier).map(|rise| (rise.to, rise.ppm)), expected, "{conversations:?}");
    }

    #[test]
    fn a_share_begins_at_a_half_and_follows_what_is_seen() {
        check(&[], Reasoning, Some((Frontier, 500_000)));
        check(&[&[Reasoning, Frontier]], Reasoning, Some((Frontier, 666_666)));
        check(&[&[Reasoning], &[Reasoning, Lightweight, Reasoning]], Reasoning, Some((Frontier, 250_000)));
        check(&[&[Frontier]], Frontier, None);
    }

    #[test]
    fn a_conversation_counts_once_in_each_tier_that_it_reaches_from_below() {
        let all: &[&[Tier]] = &[&[Lightweight, Reasoning, Lightweight, Frontier, Reasoning, Frontier]];
        check(all, Lightweight, Some((Reasoning, 666_666)));
        check(all, Reasoning, Some((Frontier, 666_666)));
    }

    #[test]
    fn the_newest_say_most() {
        let (stay, rise): (&[Tier], &[Tier]) = (&[Reasoning], &[Reasoning, Frontier]);
        let all: Vec<&[Tier]> = std::iter::repeat_n(rise, 5_000).chain(std::iter::repeat_n(stay, 1_500)).collect();
        let mut rises = Rises::default();
        for steps in all {
            steps.iter().fold(None, |before, tier| Some(rises.count(before, *tier)));
        }
        assert!(rises.of(Reasoning).is_some_and(|rise| rise.ppm < 350_000), "{rises:?}");
    }
}
