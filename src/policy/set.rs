//! The policies of a directory, and which of them a request falls under.
//!
//! The most specific one wins: a key is more specific than a pipeline, that than a project, that than a team, and any of
//! them together more than each alone. Two policies that could both win are refused when the set is made.

use std::sync::Arc;

use crate::problem::{Place, Problem};

use super::{AppliesTo, Policy};

/// All policies that are in force together. A request takes one snapshot of it.
#[derive(Clone, Debug)]
pub struct Set {
    /// From the most to the least specific; the last applies to everything.
    policies: Vec<Arc<Policy>>,
}

/// Whose request it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Who<'a> {
    /// Who pays.
    pub team: &'a str,
    /// Project.
    pub project: Option<&'a str>,
    /// Pipeline.
    pub pipeline: Option<&'a str>,
    /// The virtual key's public name.
    pub key: Option<&'a str>,
}

impl Set {
    /// Puts policies together, over the built-in default where none of them is `default.md`.
    ///
    /// # Errors
    ///
    /// Pairs of policies that the same request could fall under with nothing to choose between them.
    pub fn new(policies: impl IntoIterator<Item: Into<Arc<Policy>>>) -> Result<Self, Vec<Problem>> {
        let mut policies: Vec<Arc<Policy>> = policies.into_iter().map(Into::into).collect();
        let problems = ties(&policies);
        if !problems.is_empty() {
            return Err(problems);
        }
        if !policies.iter().any(|policy| policy.applies_to.is_everything()) {
            policies.push(Arc::clone(super::builtin()));
        }
        // Equally specific ones exclude each other; their names only make the order the same every time.
        policies.sort_by(|a, b| (b.applies_to.specificity(), &a.name).cmp(&(a.applies_to.specificity(), &b.name)));
        Ok(Self { policies })
    }

    /// The set without a directory: the built-in default alone.
    pub fn builtin() -> Self {
        Self { policies: vec![Arc::clone(super::builtin())] }
    }

    /// The policy that a request falls under.
    pub fn select(&self, who: Who<'_>) -> &Arc<Policy> {
        let selected = self.policies.iter().find(|policy| policy.applies_to.admits(who));
        selected.unwrap_or_else(|| super::builtin())
    }

    /// All of them, from the most to the least specific.
    pub fn policies(&self) -> &[Arc<Policy>] {
        &self.policies
    }
}

impl AppliesTo {
    /// Whether nothing is asked for: `default.md`.
    pub fn is_everything(&self) -> bool {
        self.specificity() == 0
    }

    fn lists(&self) -> [&[String]; 4] {
        [&self.keys, &self.pipelines, &self.projects, &self.teams]
    }

    /// One bit a list that is there, the most specific one first.
    fn specificity(&self) -> u8 {
        self.lists().iter().fold(0, |bits, list| bits << 1 | u8::from(!list.is_empty()))
    }

    fn admits(&self, who: Who<'_>) -> bool {
        let values = [who.key, who.pipeline, who.project, Some(who.team)];
        let fits = |(list, value): (&[String], Option<&str>)| {
            list.is_empty() || value.is_some_and(|value| list.iter().any(|entry| entry == value))
        };
        self.lists().into_iter().zip(values).all(fits)
    }

    /// What both apply to and neither more specifically: a value of each list, or nothing if there is no such request.
    fn common<'a>(&'a self, other: &'a Self) -> Option<Vec<&'a str>> {
        if self.specificity() != other.specificity() {
            return None;
        }
        let shared = |mine: &'a [String], others: &[String]| mine.iter().find(|value| others.contains(value));
        let lists = self.lists().into_iter().zip(other.lists()).filter(|(mine, _)| !mine.is_empty());
        lists.map(|(mine, others)| shared(mine, others).map(String::as_str)).collect()
    }
}

fn ties(policies: &[Arc<Policy>]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (index, policy) in policies.iter().enumerate() {
        for earlier in &policies[..index] {
            let start = Place { line: 1, column: 1 };
            if policy.name == earlier.name {
                let message = format!("the policy `{}` is there twice, also as {}", policy.name, earlier.file);
                problems.push(Problem::at(&policy.file, start, message));
            } else if let Some(common) = policy.applies_to.common(&earlier.applies_to) {
                let what = match common.as_slice() {
                    [] => "everything else".to_owned(),
                    values => values.iter().map(|value| format!("`{value}`")).collect::<Vec<_>>().join(" with "),
                };
                let message = format!(
                    "applies to {what}, and so does {}; wanted one of them to be more specific: \
                     key before pipeline before project before team",
                    earlier.file
                );
                problems.push(Problem::at(&policy.file, start, message));
            }
        }
    }
    problems
}

#[cfg(test)]
mod tests;
