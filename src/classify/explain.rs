//! Why a request was classified as it was, and what to write to change that.

use crate::policy::Policy;
use crate::task::Tier;

use super::features::material_of;
use super::{Classified, Classifier, Request};

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
    /// How likely each tier is the right one, in the order of [`Tier::ALL`]; that of none counts for the default.
    pub tiers: [f32; 3],
    /// The likeliest tier, whether or not it is likely enough.
    pub likeliest: Tier,
    /// How likely that tier must be for work to go there; 0 for the default.
    pub bound: f32,
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
        let described = self.describe(request);
        let shares = self.shares(&described);
        let tiers = self.masses(&shares);
        let (likeliest, _) = self.likeliest(&tiers);
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
            tiers,
            likeliest,
            bound: self.bound(likeliest),
            material: material_of(request),
        }
    }
}

impl Explanation {
    /// How far the nearest task is ahead of the next, or of none.
    pub fn margin(&self) -> f32 {
        let share = |place: usize| self.nearest.get(place).map_or(0.0, |near| near.share);
        share(0) - share(1).max(self.none)
    }

    /// A sentence for the author of the policy: what to write so that such a request goes elsewhere.
    pub fn advice(&self, policy: &Policy) -> String {
        let Some(near) = self.nearest.first() else {
            return "the policy has no tasks: add a bullet under a tier's heading".to_owned();
        };
        let id = |near: &Near| format!("`{}`", policy.tasks[near.task].id);
        let of_likeliest = self.nearest.iter().find(|near| policy.tasks[near.task].tier == self.likeliest);
        let nearest = id(of_likeliest.unwrap_or(near));
        let Classified { task, tier, ambiguous, .. } = self.classified;
        match task {
            _ if ambiguous => format!(
                "{} has {:.3}, and work leaves {} from {:.3} on: nest this request under {nearest} as an example, or \
                 lower `confidence`",
                self.likeliest, self.tiers[self.likeliest as usize], policy.default, self.bound
            ),
            Some(_) => format!(
                "to send it elsewhere, nest it as an example under the bullet that it belongs to, or write a rule; next \
                 nearest is {}",
                self.nearest.get(1).map_or("none".to_owned(), id)
            ),
            None if tier != policy.default => format!(
                "it is like the bullets of {tier} together and like none of them by itself (nearest {nearest}): nest it \
                 as an example under the bullet that it belongs to"
            ),
            None => format!(
                "it looks like {}, which no bullet covers (nearest {}): add a bullet that names this work",
                self.kinds.first().map_or("nothing known", |kind| kind.0),
                id(near)
            ),
        }
    }
}
