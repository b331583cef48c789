//! The ways into a provider row, as calls take and leave them: which one a conversation goes, what a failure says of its key,
//! and whether another is tried at once.

use std::time::Instant as Clock;

use serde_json::json;

use super::Gateway;
use super::lap::Lap;
use crate::call::Call;
use crate::plan::ModelRef;
use crate::providers::dispatch::Attempts;
use crate::providers::load::Kind;
use crate::providers::{Failure, Row};

/// The way that a call takes into a row: that of what it names, by whichever key that was made; else a conversation keeps to
/// one, where the provider has its prefix cached, unless it was `tried` (a bit each).
pub(super) fn way(call: &Call, (row, target): (&Row, &ModelRef), tried: u64) -> usize {
    if !row.accesses().are_several() {
        return 0;
    }
    if let Some(kept) = kept_way(call, row) {
        return kept;
    }
    // Without a user's turn there is nothing to come back to, and nothing that tells such calls apart.
    let anchor = call.facts.view.outline.chain.anchor;
    let conversation = if anchor == 0 { fastrand::u64(..) } else { anchor };
    row.accesses().pick(conversation, &target.model, tried, Clock::now())
}

/// The only way into a row by which a call finds what it names; `None`: it names nothing, nobody knows by which way that was
/// made, or there is no such way any more, and any other may be as good.
pub(super) fn kept_way(call: &Call, row: &Row) -> Option<usize> {
    let keeper = call.kept_at.as_ref().filter(|keeper| keeper.provider == *row.id())?;
    row.accesses().find(keeper.access?)
}

impl Gateway {
    /// Takes note of an answer that is here: its target is well, and so is the way that was taken.
    pub(super) fn praise(&self, lap: &Lap<'_>, kind: Kind) {
        if let Some(load) = &lap.load {
            lap.timing.answered(load, kind);
        }
        self.health.succeeded(lap.target);
        lap.row.accesses().succeeded(lap.access, &lap.target.model);
    }

    /// Takes note of what a failure says of a target's health, and of the way that was taken.
    pub(super) fn blame(&self, lap: &Lap<'_>, failure: &Failure) {
        let Lap { row, target, access, timing, .. } = lap;
        let (rules, now) = (row.dispatch(), Clock::now());
        let ill = failure.is_ill_health() && !timing.was_ended_by_caller(failure);
        if ill && self.health.failed(target, rules.circuit, now) {
            self.accounts.log.event("circuit_opened", &json!({ "target": target.to_string() }));
        }
        if let Some(rest) = row.accesses().failed(*access, &target.model, failure, rules.circuit, now) {
            let told = json!({
                "provider": row.id().as_str(), "model": target.model.as_str(), "key": access + 1, "why": failure.words(),
                "status": failure.status(), "seconds": rest.as_secs(),
            });
            self.accounts.log.event("key_rests", &told);
        }
    }

    /// Whether the same target is to be called again at once after a failure, by another way: what one key may not, another
    /// may, unless the call names what only this one has.
    pub(super) fn goes_another_way(
        &self,
        call: &Call,
        lap: &Lap<'_>,
        failure: &Failure,
        attempts: &mut Attempts<'_>,
    ) -> bool {
        let (ways, target, rules) = (lap.row.accesses(), lap.target, lap.row.dispatch());
        let (model, now) = (&target.model, Clock::now());
        attempts.leave(lap.access);
        if !failure.is_of_key() || (ways.are_several() && kept_way(call, lap.row).is_some()) {
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
