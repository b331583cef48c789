//! Why a request was classified as it was, and what to write to change that.

use crate::policy::{Expected, Policy, PolicyTest};
use crate::problem::Problem;

use super::features::material_of;
use super::{Classified, Classifier, Described, Request};

/// Everything that led to a classification.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The outcome.
    pub classified: Classified,
    /// The likeliest general kinds of work, with their shares.
    pub kinds: Vec<(&'static str, f32)>,
    /// The policy's tasks, nearest first.
    pub nearest: Vec<Near>,
    /// How likely the request belongs to none of them.
    pub none: f32,
    /// What is attached: `log levels`, `a table`, …
    pub material: Vec<&'static str>,
}

/// One task, as near as it is.
#[derive(Clone, Debug)]
pub struct Near {
    /// The task, as an index into [`Policy::tasks`].
    pub task: usize,
    /// How likely the request belongs to it.
    pub share: f32,
    /// The general kinds that the bullet covers most.
    pub covers: Vec<(&'static str, f32)>,
    /// The nearest of its examples, as an index into its task's, and how similar it is, from 0 to about 1.
    pub example: Option<(usize, f32)>,
}

impl Classifier {
    /// Classifies a request and says why.
    pub fn explain(&self, policy: &Policy, request: &Request<'_>) -> Explanation {
        let described = Described::of(request);
        let shares = self.shares(&described);
        let mut nearest: Vec<Near> = self
            .bullets
            .iter()
            .zip(&shares)
            .enumerate()
            .map(|(task, (bullet, share))| Near {
                task,
                share: *share,
                covers: bullet.kinds(2),
                example: bullet
                    .examples
                    .iter()
                    .map(|example| example.similarity(&described))
                    .enumerate()
                    .max_by(|a, b| a.1.total_cmp(&b.1)),
            })
            .collect();
        nearest.sort_by(|a, b| b.share.total_cmp(&a.share));
        debug_assert_eq!(policy.tasks.len(), self.bullets.len());
        Explanation {
            classified: self.decide(&described),
            kinds: described.kinds.best(3),
            nearest,
            none: shares.last().copied().unwrap_or(1.0),
            material: material_of(request),
        }
    }
}

impl Explanation {
    /// A sentence for the author of the policy: what to write so that such a request goes elsewhere.
    pub fn advice(&self, policy: &Policy) -> String {
        let Some(near) = self.nearest.first() else {
            return "the policy has no tasks: add a bullet under a tier's heading".to_owned();
        };
        let task = &policy.tasks[near.task];
        match (self.classified.task, self.classified.ambiguous) {
            (_, true) => format!(
                "nearest is `{}` ({}), with {:.2} below the policy's confidence: nest this request under that bullet as an \
                 example, or lower `confidence`",
                task.id, task.tier, near.share
            ),
            (Some(_), _) => format!(
                "to send it elsewhere, nest it as an example under the bullet that it belongs to, or write a rule; next \
                 nearest is {}",
                self.nearest.get(1).map_or("none".to_owned(), |next| format!("`{}`", policy.tasks[next.task].id))
            ),
            (None, _) => format!(
                "it looks like {}, which no bullet covers (nearest `{}`): add a bullet that names this work",
                self.kinds.first().map_or("nothing known", |kind| kind.0),
                task.id
            ),
        }
    }

    /// A test that failed, as a finding in its file.
    pub(super) fn as_problem(&self, policy: &Policy, test: &PolicyTest) -> Problem {
        let wanted = match &test.expected {
            Expected::Tier(tier) => tier.to_string(),
            Expected::Task(id) => format!("`{id}`"),
        };
        let won = match self.classified.task {
            Some(task) => format!("`{}` ({})", policy.tasks[task].id, self.classified.tier),
            None => format!("no task ({})", self.classified.tier),
        };
        let right = self.nearest.iter().filter(|near| match &test.expected {
            Expected::Tier(tier) => policy.tasks[near.task].tier == *tier,
            Expected::Task(id) => policy.tasks[near.task].id == *id,
        });
        let right: f32 = right.map(|near| near.share).sum();
        let message = format!(
            "this example goes to {won} with {:.2}, and {wanted} has {right:.2}; wanted {wanted}: {}",
            self.classified.confidence,
            self.advice(policy)
        );
        Problem { file: policy.file.clone(), line: test.at.line, column: test.at.column, message }
    }
}
