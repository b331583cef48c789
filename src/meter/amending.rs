//! What of a request is told after its row: what the thread that draws sketches had not found by then, and where its cached
//! prefix broke.

use std::sync::Arc;

use super::Meter;
use super::sketches::{Drawn, Left, Loss, Settled};
use crate::ledger::record::{Amended, Broke, Record};

impl Meter {
    /// What the thread that draws sketches has found by now.
    pub(super) fn drawn(&self) -> Option<Drawn> {
        match self.sketch.as_ref()?.get()? {
            Left::Drawn(drawn) => Some(*drawn),
            Left::Settled(_) => None,
        }
    }

    pub(super) fn where_broke(&self, loss: &Loss, drawn: Option<Drawn>) -> Broke<'static> {
        let change = drawn.and_then(|drawn| drawn.change);
        loss.broke(change.as_ref(), &self.call.view.outline.chain)
    }

    /// Leaves to the thread that draws sketches what it has not found yet, and says where a broken prefix broke.
    pub(super) fn amend(&self, drawn: Option<Drawn>, loss: Option<Loss>) {
        let mut late = None;
        if let (None, Some(slot)) = (drawn, &self.sketch) {
            let is_for_thread = self.is_to_be_found(loss.as_ref(), drawn) || !self.accounts.sketches.takes_back(slot);
            if is_for_thread && slot.settle(Settled { accounts: Arc::downgrade(&self.accounts), loss }) {
                return;
            }
            late = self.drawn();
        }
        if late.is_none() && loss.is_none() {
            return;
        }
        let broke = loss.map(|loss| self.where_broke(&loss, drawn.or(late)));
        if let (Some(broke), Some(loss)) = (broke, loss.filter(|loss| late.is_some() && loss.is_of_beginning())) {
            self.accounts.metrics.count_cache_lost(broke.culprit, loss.cost.0);
        }
        let amended = Amended { request: self.call.id, texts: late.map(|late| late.texts), broke };
        drop(self.accounts.ledger.append(&Record::Amended(Box::new(amended))));
    }

    /// Whether what broke a prefix is still to be found, and counted, by the thread that draws sketches.
    pub(super) fn is_to_be_found(&self, loss: Option<&Loss>, drawn: Option<Drawn>) -> bool {
        drawn.is_none() && self.sketch.is_some() && loss.is_some_and(Loss::is_of_beginning)
    }
}
