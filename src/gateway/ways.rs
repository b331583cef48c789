//! The ways into a provider row, as calls take and leave them: which one a conversation goes, what a failure says of its key,
//! and whether another is tried at once.

use std::time::Instant as Clock;

use serde_json::json;

use super::Gateway;
use crate::call::CallFacts;
use crate::plan::ModelRef;
use crate::providers::dispatch::Attempts;
use crate::providers::{Failure, Row};

/// The way that a call takes into a row: a conversation keeps to one, where the provider has its prefix cached.
pub(super) fn way(call: &CallFacts, (row, target): (&Row, &ModelRef), attempts: &Attempts<'_>) -> usize {
    if !row.accesses().are_several() {
        return 0;
    }
    // Without a user's turn there is nothing to come back to, and nothing that tells such calls apart.
    let anchor = call.view.outline.chain.anchor;
    let conversation = if anchor == 0 { fastrand::u64(..) } else { anchor };
    row.accesses().pick(conversation, &target.model, attempts.tried(), Clock::now())
}

impl Gateway {
    /// Takes note of what a failure says of the way that was taken. Whether the same target is to be called again at once, by
    /// another way: what one key may not, another may.
    pub(super) fn goes_another_way(
        &self,
        (row, target): (&Row, &ModelRef),
        access: usize,
        failure: &Failure,
        attempts: &mut Attempts<'_>,
    ) -> bool {
        let (ways, model, rules) = (row.accesses(), &target.model, row.dispatch());
        let now = Clock::now();
        if let Some(rest) = ways.failed(access, model, failure, rules.circuit, now) {
            let told = json!({
                "provider": row.id().as_str(), "model": model.as_str(), "key": access + 1, "why": failure.words(),
                "status": failure.status(), "seconds": rest.as_secs(),
            });
            self.accounts.log.event("key_rests", &told);
        }
        attempts.leave(access);
        if !failure.is_of_key() {
            return false;
        }
        if ways.has_another(model, attempts.tried(), now) {
            attempts.by_another_way();
            return true;
        }
        if failure.is_beyond_waiting(rules)
            && let Some(until) = ways.all_rest_until(model, now)
        {
            self.health.rest(target, rules.circuit, until);
        }
        false
    }
}
