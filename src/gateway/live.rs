//! The policies in force, each with what recognises its tasks. Replaced whole; a request takes one snapshot.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use crate::classify::Classifier;
use crate::policy::{self, Policy, Set, Who};
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
    classifier: OnceLock<Classifier>,
    /// Its version, for rows that outlive it.
    pub version: Arc<str>,
    /// The ids of its tasks, in their order.
    pub tasks: Vec<Arc<str>>,
    rises: Mutex<Rises>,
}

impl Live {
    /// Compiles the policies that somebody wrote. The built-in default is there for everyone, also where nothing is ever
    /// routed: it waits for the first request that it is to judge.
    pub fn new(set: Set) -> Self {
        Self::after(set, &[])
    }

    /// The same, but for those that are in force `before`: what is known of one stays with it.
    pub fn after(set: Set, before: &[Arc<InForce>]) -> Self {
        let known = |policy: &Arc<Policy>| before.iter().find(|known| Arc::ptr_eq(&known.policy, policy));
        let in_force = |policy| known(policy).map_or_else(|| Arc::new(InForce::of(Arc::clone(policy))), Arc::clone);
        let in_force: Vec<_> = set.policies().iter().map(in_force).collect();
        for written in in_force.iter().filter(|one| !Arc::ptr_eq(&one.policy, policy::builtin())) {
            written.classifier();
        }
        Self { set, in_force }
    }

    /// All of them.
    pub fn in_force(&self) -> &[Arc<InForce>] {
        &self.in_force
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

    /// What recognises its tasks; made when it is first asked for, in some ten milliseconds, with the tables that it reads.
    pub fn classifier(&self) -> &Classifier {
        self.classifier.get_or_init(|| Classifier::compile(&self.policy))
    }

    fn of(policy: Arc<Policy>) -> Self {
        Self {
            classifier: OnceLock::new(),
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
        let after = Live::after(Set::new([a, policy("b.md")]).expect("they differ"), before.in_force());
        let is_same = |name| {
            let of = |live: &Live| live.select(Who { pipeline: Some(name), ..Who::default() });
            Arc::ptr_eq(&of(&before), &of(&after))
        };
        assert!(is_same("a") && !is_same("b") && is_same("neither"));
    }
}
