//! What changes in books that are in use: ceilings, what a payer is known to have spent, corrections of it.
//!
//! Accounts stay where they are, and so does what is held; who waits is looked at again.

use std::sync::Arc;

use super::{Books, Charge, Payer};
use crate::budget::terms::{Budget, Every};
use crate::money::NanoUsd;

impl Books {
    /// Forgets what a payer spent, before all of it is recalled; what is held stays.
    pub fn begin_anew(&mut self, payer: &Payer, every: Every) {
        if let Some(account) = self.accounts.get_mut(&(payer.clone(), every)) {
            account.forget_spent();
        }
    }

    /// Puts other ceilings in the place of those that requests in flight and those that wait are under; those that `budget_of`
    /// has none for, or one of another kind, stay. Who waits under a higher one may go on, under a lower one be refused.
    pub fn replace_budgets(&mut self, budget_of: impl Fn(&Payer) -> Option<Budget>) {
        let replaced = |charges: &Arc<[Charge]>| -> Option<Arc<[Charge]>> {
            let now = |charge: &Charge| {
                let budget = budget_of(&charge.payer).filter(|budget| budget.every == charge.budget.every);
                Charge { payer: charge.payer.clone(), budget: budget.unwrap_or(charge.budget) }
            };
            charges.iter().any(|charge| now(charge) != *charge).then(|| charges.iter().map(now).collect())
        };
        for hold in self.holds.values_mut() {
            hold.charges = replaced(&hold.charges).unwrap_or_else(|| Arc::clone(&hold.charges));
        }
        for waiter in &mut self.line {
            waiter.ask.charges = replaced(&waiter.ask.charges).unwrap_or_else(|| Arc::clone(&waiter.ask.charges));
        }
        self.serve_all();
    }

    /// Everybody who waits is looked at again.
    fn serve_all(&mut self) {
        let waiting: Arc<[Charge]> = self.line.iter().flat_map(|waiter| waiter.ask.charges.iter().cloned()).collect();
        self.serve_line(&waiting);
    }

    /// Books a correction of what was spent, which may give money back.
    pub fn correct(&mut self, payer: &Payer, every: Every, at_ms: i64, by: NanoUsd) {
        self.recall(payer, every, at_ms, by);
        self.serve_all();
    }
}
