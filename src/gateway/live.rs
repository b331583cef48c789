//! The policies in force, each with what recognises its tasks. Replaced whole; a request takes one snapshot.

use std::sync::{Arc, OnceLock};

use crate::classify::Classifier;
use crate::policy::{self, Policy, Set, Who};

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
}

impl Live {
    /// Compiles the policies that somebody wrote. The built-in default is there for everyone, also where nothing is ever
    /// routed: it waits for the first request that it is to judge.
    pub fn new(set: Set) -> Self {
        let in_force: Vec<_> = set.policies().iter().map(|policy| Arc::new(InForce::of(Arc::clone(policy)))).collect();
        for written in in_force.iter().filter(|one| !Arc::ptr_eq(&one.policy, policy::builtin())) {
            written.classifier();
        }
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
    /// What recognises its tasks; made when it is first asked for, in some ten milliseconds, with the tables that it reads.
    pub fn classifier(&self) -> &Classifier {
        self.classifier.get_or_init(|| Classifier::compile(&self.policy))
    }

    fn of(policy: Arc<Policy>) -> Self {
        Self {
            classifier: OnceLock::new(),
            version: policy.version.as_str().into(),
            tasks: policy.tasks.iter().map(|task| task.id.as_str().into()).collect(),
            policy,
        }
    }
}
