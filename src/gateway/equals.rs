//! *choose*, the rest of it: which of several targets that are as good as one another comes first. A conversation stays with
//! the one that answered it, where the provider has its prefix cached; one that begins goes to the less busy of two.

use std::sync::Arc;
use std::time::Instant as Clock;

use super::Gateway;
use crate::call::CallFacts;
use crate::plan::{ModelRef, Plan, Why};
use crate::providers::load::Load;
use crate::route::warm::Held;
use crate::task::Tier;

impl Gateway {
    /// Puts one of each group of equals in a plan before the others. Gives the plan's new first target, if it has one.
    pub(super) fn weigh(&self, call: &CallFacts, plan: &mut Plan, held: &Held) -> Option<String> {
        let tier = plan.tier?;
        let groups = self.config.tiers.equals(tier);
        if groups.is_empty() {
            return None;
        }
        let first = plan.targets.first().cloned();
        for group in groups {
            self.weigh_group(call, plan, (group, held), tier);
        }
        plan.targets.first().filter(|target| first.as_ref() != Some(*target)).map(ModelRef::spelt)
    }

    fn weigh_group(&self, call: &CallFacts, plan: &mut Plan, (group, held): (&[ModelRef], &Held), tier: Tier) {
        let places: Vec<usize> =
            (0..plan.targets.len()).filter(|place| group.contains(&plan.targets[*place])).collect();
        let Some(first) = places.first().copied().filter(|_| places.len() > 1) else { return };
        let now = Clock::now();
        let rests = |target: &ModelRef| {
            let circuit = self.providers.row(&target.provider).and_then(|row| row.dispatch().circuit);
            self.health.rests(target, circuit, now)
        };
        let outline = &call.view.outline;
        let by_name = plan.reason.why == Why::ExactModel;
        let known = held.of(tier).filter(|_| !by_name).map(|warm| &warm.model);
        let known = known.and_then(|known| places.iter().copied().find(|place| plan.targets[*place] == *known));
        let chosen = match known.filter(|place| !rests(&plan.targets[*place])) {
            Some(known) => Some(known),
            None => {
                let mut up: Vec<usize> = places.iter().copied().filter(|place| !rests(&plan.targets[*place])).collect();
                // What need not be translated is not.
                let speaks = |place: &usize| {
                    let row = self.providers.row(&plan.targets[*place].provider);
                    row.zip(call.surface.speaks()).is_none_or(|(row, dialect)| row.speaks(dialect))
                };
                if up.iter().any(speaks) {
                    up.retain(speaks);
                }
                let targets: Vec<&ModelRef> = up.iter().map(|place| &plan.targets[*place]).collect();
                // Where a conversation that is named outright has been is not remembered: it goes where its hash says.
                let begins = !by_name && outline.user_turns <= 1 && outline.is_users_turn;
                // Without a user's turn there is nothing to come back to, and nothing that tells such calls apart.
                let conversation = if outline.chain.anchor == 0 { fastrand::u64(..) } else { outline.chain.anchor };
                self.loads.choose(&targets, conversation, begins).map(|chosen| up[chosen])
            }
        };
        if let Some(chosen) = chosen {
            plan.targets[first..=chosen].rotate_right(1);
        }
    }

    /// What is known of a target whose calls are counted, since there are others as good as it or slow calls to it are hedged.
    pub(super) fn load(&self, target: &ModelRef, is_hedged: bool) -> Option<Arc<Load>> {
        let has_equals = || self.config.tiers.equal.iter().flatten().any(|group| group.contains(target));
        (is_hedged || has_equals()).then(|| self.loads.of(target))
    }
}
