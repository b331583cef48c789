//! The policies in force, each with what recognises its tasks. Replaced whole; a request takes one snapshot.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::classify::Classifier;
use crate::policy::{Policy, Set, Who};
use crate::route::rises::Rises;

/// All policies in force together.
pub struct Live {
    set: Set,
    in_force: Vec<Arc<InForce>>,
}

/// One policy, ready to judge requests by.
pub struct InForce {
    /// The policy.
    pub policy: Arc<Policy>,
    /// What recognises its tasks.
    pub classifier: Classifier,
    /// Its version, for rows that outlive it.
    pub version: Arc<str>,
    /// The ids of its tasks, in their order.
    pub tasks: Vec<Arc<str>>,
    rises: Mutex<Rises>,
}

impl Live {
    /// Compiles every policy of a set.
    pub fn new(set: Set) -> Self {
        let in_force = set.policies().iter().map(|policy| Arc::new(InForce::of(Arc::clone(policy)))).collect();
        Self { set, in_force }
    }

    /// Compiles those of a set that are not in force already. What is known of one stays with it.
    pub fn after(set: Set, before: &Self) -> Self {
        let known = |policy: &Arc<Policy>| before.in_force.iter().find(|known| Arc::ptr_eq(&known.policy, policy));
        let compiled = |policy| known(policy).map_or_else(|| Arc::new(InForce::of(Arc::clone(policy))), Arc::clone);
        let in_force = set.policies().iter().map(compiled).collect();
        Self { set, in_force }
    }

    /// The policies.
    pub fn set(&self) -> &Set {
        &self.set
    }

    /// The one that a request falls under.
    pub fn select(&self, who: Who<'_>) -> Arc<InForce> {
        let selected = self.set.select(who);
        let known = self.in_force.iter().find(|known| Arc::ptr_eq(&known.policy, selected));
        known.map_or_else(|| Arc::new(InForce::of(Arc::clone(selected))), Arc::clone)
    }
}

impl InForce {
    /// Where conversations under it go on to from where they begin.
    pub fn rises(&self) -> MutexGuard<'_, Rises> {
        self.rises.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn of(policy: Arc<Policy>) -> Self {
        Self {
            classifier: Classifier::compile(&policy),
            version: policy.version.as_str().into(),
            tasks: policy.tasks.iter().map(|task| task.id.as_str().into()).collect(),
            rises: Mutex::default(),
            policy,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::parse;

    #[test]
    fn a_policy_that_did_not_change_is_not_compiled_again() {
        let policy = |name: &str| Arc::new(parse(name, "## Lightweight\n- Log parsing\n").expect("it is good").0);
        let (a, b) = (policy("a.md"), policy("b.md"));
        let before = Live::new(Set::new([Arc::clone(&a), b]).expect("they differ"));
        let after = Live::after(Set::new([a, policy("b.md")]).expect("they differ"), &before);
        let is_same = |name| {
            let of = |live: &Live| live.select(Who { pipeline: Some(name), ..Who::default() });
            Arc::ptr_eq(&of(&before), &of(&after))
        };
        assert!(is_same("a") && !is_same("b") && is_same("neither"));
    }
}
