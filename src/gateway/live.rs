//! The policies in force, each with what recognises its tasks. Replaced whole; a request takes one snapshot.

use std::sync::Arc;

use crate::classify::Classifier;
use crate::policy::{Policy, Set, Who};

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
}

impl Live {
    /// Compiles every policy of a set.
    pub fn new(set: Set) -> Self {
        let in_force = set.policies().iter().map(|policy| Arc::new(InForce::of(Arc::clone(policy)))).collect();
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
    fn of(policy: Arc<Policy>) -> Self {
        Self {
            classifier: Classifier::compile(&policy),
            version: policy.version.as_str().into(),
            tasks: policy.tasks.iter().map(|task| task.id.as_str().into()).collect(),
            policy,
        }
    }
}
