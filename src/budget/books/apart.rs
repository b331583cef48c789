//! How many payers are told apart: further projects and users of a team share one account.
//!
//! Looking for accounts that are idle goes through all of them under the lock that every request takes, so it is done now
//! and then only, whatever it finds.

use std::collections::HashSet;

use super::{Ask, Books, Charge, Payer};
use crate::budget::period;
use crate::budget::terms::Every;
use crate::limits::PAYERS_SWEPT_EVERY;

impl Books {
    /// The ask with others' accounts in place of new ones, where there are as many as can be told apart.
    pub(super) fn told_apart(&mut self, ask: &Ask) -> Option<Ask> {
        if !self.is_full() || !ask.charges.iter().any(|charge| self.is_new(charge)) {
            return None;
        }
        let is_due = |swept_ms: i64| u128::from(ask.at_ms.abs_diff(swept_ms)) >= PAYERS_SWEPT_EVERY.as_millis();
        if self.swept_ms.is_none_or(is_due) {
            self.swept_ms = Some(ask.at_ms);
            self.sweep(ask.at_ms);
            if !self.is_full() {
                return None;
            }
        }
        let charges = ask.charges.iter().map(|charge| match self.is_new(charge) {
            true => Charge { payer: charge.payer.other(), ..charge.clone() },
            false => charge.clone(),
        });
        Some(Ask { charges: charges.collect(), ..ask.clone() })
    }

    fn is_full(&self) -> bool {
        self.accounts.len() >= self.payers_max
    }

    fn is_new(&self, charge: &Charge) -> bool {
        !self.accounts.contains_key(&(charge.payer.clone(), charge.budget.every))
    }

    /// Forgets accounts that nobody waits for, with nothing held and nothing spent that still counts.
    fn sweep(&mut self, at_ms: i64) {
        let asked = self.line.iter().flat_map(|waiter| waiter.ask.charges.iter());
        let waiting: HashSet<(Payer, Every)> =
            asked.map(|charge| (charge.payer.clone(), charge.budget.every)).collect();
        // Of each kind of period once: the calendar is asked for that, and there are few.
        let mut known: Vec<(Every, i64)> = Vec::new();
        let zone = &self.zone;
        let mut counts_from = |every: Every| match known.iter().find(|(kind, _)| *kind == every) {
            Some((_, from_ms)) => *from_ms,
            None => {
                let from_ms = period::counts_from(every, at_ms, zone);
                known.push((every, from_ms));
                from_ms
            }
        };
        self.accounts.retain(|key, account| waiting.contains(key) || !account.is_idle(counts_from(key.1)));
    }
}
