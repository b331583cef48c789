//! Why a request was classified as it was, and what to write to change that.

use crate::policy::Policy;
use crate::task::Tier;

use super::features::{material_of, signals_of};
use super::wordings::CERTAIN;
use super::{Basis, Classified, Classifier, Described, Request, make_certain};

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
    /// What its form says besides: `2 tools offered`, `a question mark`, …
    pub signals: Vec<String>,
    /// The task whose bullet or example the request repeats word for word.
    pub repeats: Option<usize>,
    /// For each task, whether the request would go to it if it were nested under it as an example.
    pub if_nested: Vec<bool>,
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
        let described = self.describe(request, None);
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
            classified: self.decide(&described, &shares),
            kinds: described.kinds.best(3),
            nearest,
            none: shares.last().copied().unwrap_or(1.0),
            tiers,
            likeliest,
            bound: self.bound(likeliest),
            material: material_of(request),
            signals: signals_of(request),
            repeats: self.wordings.task(&described.wording),
            if_nested: (0..self.bullets.len()).map(|task| self.would_go_to(task, &described, &shares)).collect(),
        }
    }

    /// Whether a request would go to a task if it were nested under it as an example, and stood nowhere else.
    fn would_go_to(&self, task: usize, described: &Described, shares: &[f32]) -> bool {
        let mut nested = shares.to_vec();
        make_certain(&mut nested, task);
        self.wordings.are_free(&described.wording) && self.decide(described, &nested).task == Some(task)
    }
}

impl Explanation {
    /// How far the nearest task is ahead of the next, or of none.
    pub fn margin(&self) -> f32 {
        let share = |place: usize| self.nearest.get(place).map_or(0.0, |near| near.share);
        share(0) - share(1).max(self.none)
    }

    /// A sentence for the author of the policy: what to write so that such a request goes elsewhere. To nest it is only
    /// advised where that was tried and changes what becomes of it.
    pub fn advice(&self, policy: &Policy) -> String {
        let Some(first) = self.nearest.first() else {
            return "the policy has no tasks: add a bullet under a tier's heading".to_owned();
        };
        let Classified { task, tier, ambiguous, basis, .. } = self.classified;
        let id = |task: usize| format!("`{}`", policy.tasks[task].id);
        let of_likeliest = self.nearest.iter().find(|near| policy.tasks[near.task].tier == self.likeliest);
        let nearest = of_likeliest.unwrap_or(first).task;
        let kind = self.kinds.first().map_or("nothing known", |kind| kind.0);
        if basis == Basis::Nothing {
            return format!(
                "the turn says nothing by itself, and no turn before it does, so that {} answers: have the client name \
                 the work by `x-farthing-task`, or the tier by `x-farthing-tier`",
                policy.default
            );
        }
        if let Some(task) = self.repeats {
            let at = policy.tasks[task].at.line;
            let move_it = format!("it repeats {} or an example under it, in line {at}, word for word", id(task));
            return if self.classified.task == Some(task) {
                format!("{move_it}: to send it elsewhere, move that there")
            } else {
                format!("{move_it}, and `confidence` is {:.2}: lower that to {CERTAIN:.2} or less", self.bound)
            };
        }
        let nest_under = |task: usize, else_: &str| match self.if_nested[task] {
            true => format!("nest this request under {} as an example{else_}", id(task)),
            false => format!(
                "nesting it as an example would not change that: write a rule, or name the work by `x-farthing-task`{else_}"
            ),
        };
        match task {
            _ if ambiguous && self.likeliest != policy.default => format!(
                "{} has {:.3}, and work leaves {} from {:.3} on: {}",
                self.likeliest,
                self.tiers[self.likeliest as usize],
                policy.default,
                self.bound,
                match nearest == first.task {
                    true => nest_under(nearest, ", or lower `confidence`"),
                    // What is nearest by itself is of another tier than what is near together.
                    false => format!(
                        "nest this request as an example under the bullet that it belongs to; nearest by itself is {}, in \
                         {} {}",
                        id(first.task),
                        self.likeliest,
                        id(nearest)
                    ),
                }
            ),
            Some(task) => {
                let next = self.nearest.iter().find(|near| near.task != task);
                let next = next.map_or("none".to_owned(), |near| id(near.task));
                let can_nest = self.if_nested.iter().enumerate().any(|(other, goes)| other != task && *goes);
                let nest = if can_nest { "nest it as an example under the bullet that it belongs to, or " } else { "" };
                format!("to send it elsewhere, {nest}write a rule; next nearest is {next}")
            }
            None if tier != policy.default => format!(
                "it is like the bullets of {tier} together and like none of them by itself: where it belongs to the \
                 nearest, {}",
                nest_under(nearest, "")
            ),
            None => format!(
                "it looks like {kind}, and no bullet is near enough: where it belongs to the nearest, {}, else add a \
                 bullet that names this work, with this request under it",
                nest_under(first.task, "")
            ),
        }
    }
}
