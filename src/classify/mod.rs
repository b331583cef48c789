//! Says what kind of work a request is, and which task of a policy it belongs to.
//!
//! Requests and bullets are described in the same space, general kinds of work, so that a policy needs no training:
//!
//! ```text
//! request ─▶ features ─▶ kinds ─┐
//!                               ├─▶ shares of the policy's tasks, and of none ─▶ tier, confidence
//! bullet ─▶ features ─▶ kinds ──┘
//! ```
//!
//! The weights are trained by `models/train/kinds.py`; `models/README.md` says on what and how good they are. Which
//! rule or pin comes before all this, and whether a policy's own examples hold, is `route`'s business.

mod alike;
mod ask;
mod bullets;
mod examples;
mod explain;
pub mod features;
mod kinds;
mod shape;
mod weights;

use crate::policy::Policy;
use crate::task::Tier;
use crate::vectors::{Vector, cosine};

use bullets::Bullet;
use examples::Examples;
use features::describe;
use kinds::Kinds;
use weights::{Scores, Weights};

pub use alike::similarity;
pub use explain::{Explanation, Near};

/// What a classifier reads of a request: bounded, decoded pieces.
#[derive(Clone, Copy, Default, Debug)]
pub struct Request<'a> {
    /// The last user turn: its beginning and end.
    pub last_user: &'a str,
    /// The user turn before it.
    pub previous_user: Option<&'a str>,
    /// System and developer messages.
    pub system: &'a str,
    /// What tools returned after the last user turn, the last few.
    pub tool_results: &'a [&'a str],
    /// Names of the tools that are offered.
    pub tools: &'a [&'a str],
    /// Whether the answer is to be JSON.
    pub wants_json: bool,
    /// User turns of the conversation.
    pub user_turns: u32,
    /// Whether images are attached.
    pub has_images: bool,
}

/// What a request is, by a policy.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Classified {
    /// The task that it belongs to, as an index into [`Policy::tasks`]; `None` if it belongs to none.
    pub task: Option<usize>,
    /// The tier that the policy sends it to.
    pub tier: Tier,
    /// How likely that tier is the right one, from 0 to 1.
    pub confidence: f32,
    /// How likely the best model is right where a light one is wrong.
    pub needs_strong: f32,
    /// Whether a task was nearest, but not near enough, so that the default tier answers.
    pub ambiguous: bool,
}

/// A policy, ready to classify requests by.
#[derive(Clone, Debug)]
pub struct Classifier {
    bullets: Vec<Bullet>,
    /// For each kind, how much of it no bullet covers.
    uncovered: Scores,
    examples: Examples,
    tiers: Vec<Tier>,
    default: Tier,
    confidence: Option<f32>,
}

/// What a request is in itself, whatever the policy.
#[derive(Clone, Debug)]
pub struct Described {
    /// The score of each kind, before it becomes a share.
    scores: Scores,
    kinds: Kinds,
    about: Vector,
    /// Rows of the n-grams of the ask: words, letters, ends; empty unless it was described in full.
    grams: [Vec<u32>; 3],
}

impl Described {
    /// Describes a request.
    pub fn of(request: &Request<'_>) -> Self {
        let features = describe(request);
        let scores = Weights::built_in().requests.scores(&features);
        Self { kinds: Kinds::of(&scores), scores, about: features.ask, grams: Default::default() }
    }

    /// Describes a request with its n-grams, which only a policy with many examples looks at.
    fn in_full(request: &Request<'_>) -> Self {
        let [words, letters, ends, ..] = describe(request).rows;
        Self { grams: [words, letters, ends], ..Self::of(request) }
    }

    /// Describes a request that is a first turn and nothing else, in full.
    fn of_text(text: &str) -> Self {
        Self::in_full(&Request { last_user: text, user_turns: 1, ..Request::default() })
    }

    /// From 0, nothing in common, to about 1.
    fn similarity(&self, other: &Self) -> f32 {
        let form: f32 = self.kinds.0.iter().zip(other.kinds.0).map(|(a, b)| (a * b).sqrt()).sum();
        0.5 * (form + cosine(&self.about, &other.about).max(0.0))
    }
}

impl Classifier {
    /// Reads a policy's bullets and examples: about 0.1 ms each.
    pub fn compile(policy: &Policy) -> Self {
        let bullets: Vec<Bullet> = policy.tasks.iter().map(Bullet::of).collect();
        let uncovered = uncovered(&bullets);
        Self {
            examples: Examples::learn(&bullets, |example| prose_scores(&bullets, &uncovered, example)),
            uncovered,
            bullets,
            tiers: policy.tasks.iter().map(|task| task.tier).collect(),
            default: policy.default,
            confidence: policy.confidence,
        }
    }

    /// Classifies a request.
    pub fn classify(&self, request: &Request<'_>) -> Classified {
        self.decide(&self.describe(request))
    }

    fn describe(&self, request: &Request<'_>) -> Described {
        if self.examples.have_grams() { Described::in_full(request) } else { Described::of(request) }
    }

    /// Classifies a described request.
    pub fn decide(&self, described: &Described) -> Classified {
        let shares = self.shares(described);
        let needs_strong = described.kinds.needs_strong();
        let masses = self.masses(&shares);
        let (tier, confidence) = self.likeliest(&masses);
        let ambiguous = confidence < self.bound(tier);
        let tier = if ambiguous { self.default } else { tier };
        let of_tier = (0..self.tiers.len()).filter(|&task| self.tiers[task] == tier);
        let task = of_tier.max_by(|&a, &b| shares[a].total_cmp(&shares[b]));
        // Work that is likelier of no task than of this one has no name, though it has a tier.
        let task = task.filter(|&task| !ambiguous && shares[task] >= shares[self.bullets.len()]);
        Classified { task, tier, confidence: masses[tier as usize], needs_strong, ambiguous }
    }

    /// How likely each tier is the right one, in the order of [`Tier::ALL`]: its tasks, and, for the default, none.
    fn masses(&self, shares: &[f32]) -> [f32; 3] {
        Tier::ALL.map(|tier| {
            let of_tasks: f32 = self.tiers.iter().zip(shares).filter(|(own, _)| **own == tier).map(|(_, s)| s).sum();
            of_tasks + if tier == self.default { shares[self.bullets.len()] } else { 0.0 }
        })
    }

    /// The likeliest tier; the default, unless another is likelier.
    fn likeliest(&self, masses: &[f32; 3]) -> (Tier, f32) {
        let default = (self.default, masses[self.default as usize]);
        Tier::ALL.into_iter().zip(*masses).fold(default, |best, next| if next.1 > best.1 { next } else { best })
    }

    /// From this confidence on work goes to a tier.
    fn bound(&self, tier: Tier) -> f32 {
        if tier == self.default { 0.0 } else { self.confidence.unwrap_or_else(|| confidence_default(tier)) }
    }

    /// How likely the request belongs to each task, and, last, to none; they add up to 1.
    fn shares(&self, described: &Described) -> Vec<f32> {
        let mut scores = prose_scores(&self.bullets, &self.uncovered, described);
        self.examples.weigh(described, &mut scores);
        let top = scores.iter().copied().fold(f32::MIN, f32::max);
        scores.iter_mut().for_each(|score| *score = (*score - top).exp());
        let sum: f32 = scores.iter().sum();
        let doubt = Weights::built_in().doubt;
        #[expect(clippy::cast_precision_loss, reason = "a policy has a few hundred tasks at most")]
        let even = doubt / scores.len() as f32;
        scores.iter_mut().for_each(|score| *score = (1.0 - doubt) * *score / sum + even);
        scores
    }
}

/// How near a request is to each bullet's prose, and, last, to what none of them covers.
fn prose_scores(bullets: &[Bullet], uncovered: &Scores, described: &Described) -> Vec<f32> {
    let matching = Weights::built_in().matching;
    let kinds = &described.kinds.0;
    let share_of = |weights: &Scores| kinds.iter().zip(weights).map(|(share, weight)| share * weight).sum::<f32>();
    let mut scores = Vec::with_capacity(bullets.len() + 1);
    for bullet in bullets {
        let topic = cosine(&bullet.about, &described.about);
        scores.push(matching.sharpness * (share_of(&bullet.weights) + 1e-4).ln() + matching.topic * topic);
    }
    scores.push(matching.sharpness * (share_of(uncovered) + 1e-4).ln() + matching.none);
    scores
}

fn uncovered(bullets: &[Bullet]) -> Scores {
    let overlap = Weights::built_in().matching.overlap;
    let left = |kind: usize| bullets.iter().map(|bullet| 1.0 - bullet.weights[kind]).product::<f32>().max(0.0);
    std::array::from_fn(|kind| left(kind).powf(overlap))
}

/// From this confidence on work leaves the default tier for this one where a policy does not say.
///
/// Chosen on held-out domains so that at most 5 % of the work that belongs to a dearer tier is sent to the lightweight
/// one; half the way down, half the doubt is too much.
pub fn confidence_default(tier: Tier) -> f32 {
    let bound = Weights::built_in().confidence;
    match tier {
        Tier::Lightweight => bound,
        Tier::Frontier | Tier::Reasoning => 0.75 * bound,
    }
}
