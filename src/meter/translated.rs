//! What a translation is told by a meter, and tells it: figures for the client, and what was left out or passed over.

use std::sync::Arc;

use super::Meter;
use crate::plan::{Note, Plan};
use crate::reply::usage::Usage;
use crate::translate::Dropped;

impl Meter {
    /// What a translation left out of the current attempt, and of its answer.
    pub fn dropped(&self) -> Option<&Dropped> {
        self.dropped.as_deref()
    }

    /// Takes note of what a translation left out of an answer.
    pub fn leaves_out(&mut self, dropped: &Dropped) {
        if !dropped.is_empty() {
            let all = self.dropped.get_or_insert_default();
            dropped.names().for_each(|name| all.note(name.to_owned()));
        }
    }

    /// Where it was to go, and why.
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// How many attempts have left.
    pub fn attempts(&self) -> u16 {
        self.attempts
    }

    /// Something made the plan differ after it was made.
    pub fn note(&mut self, note: Note) {
        Arc::make_mut(&mut self.plan).reason.notes.push(note);
        self.reason = self.plan.told();
    }

    /// What is told of the tokens of the open attempt.
    pub fn reported(&self) -> Option<Usage> {
        self.open.as_ref()?.reported()
    }

    /// The tokens of the open attempt as far as they are told, and else as they are estimated.
    pub fn usage(&self) -> Usage {
        self.open.as_ref().map(|attempt| attempt.usage(&self.call, &self.accounts.estimates)).unwrap_or_default()
    }
}
