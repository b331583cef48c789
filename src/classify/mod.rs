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
//! The model of requests is linear: `pieces` scores each text by itself, and a [`Memo`] keeps what a conversation sends again.
//! Before all that, a request that repeats what a policy says word for word belongs there (`wordings`), and a turn that says
//! nothing by itself, such as `ok`, is taken for the last one that does.
//!
//! The weights are trained by `models/train/kinds.py`; `models/README.md` says on what and how good they are. Which
//! rule or pin comes before all this, and whether a policy's own examples hold, is `route`'s business.

mod alike;
mod ask;
mod bullets;
mod code;
mod examples;
mod explain;
pub mod features;
mod kinds;
mod memo;
mod pieces;
mod shape;
mod weights;
mod wordings;

use crate::policy::Policy;
use crate::prompt::assent::says_nothing;
use crate::task::Tier;
use crate::vectors::{Vector, cosine, dot};

use bullets::Bullet;
use examples::Examples;
use kinds::Kinds;
use weights::{Scores, Weights};
use wordings::{CERTAIN, Wording, Wordings};

pub use alike::{coverage, similarity};
pub use explain::{Explanation, Near};
pub use memo::Memo;
pub use wordings::{Dispute, disputes};

/// What a classifier reads of a request: bounded, decoded pieces.
#[derive(Clone, Copy, Default, Debug)]
pub struct Request<'a> {
    /// The last user turn: its beginning and end.
    pub last_user: &'a str,
    /// The user turn before it that says something.
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
    /// Whether images are attached: then a turn without words says something. What kind of work it is they do not tell.
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
    /// Whether no task is near enough, so that the default tier answers.
    pub ambiguous: bool,
    /// What it was judged by.
    pub basis: Basis,
}

/// What a request was judged by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Basis {
    /// What it is like.
    Likeness,
    /// It repeats a bullet or an example word for word.
    Words,
    /// Its turn says nothing by itself: the last one that does, by either of the above.
    Earlier,
    /// Its turn says nothing by itself, and there is no other.
    Nothing,
}

/// A policy, ready to classify requests by.
#[derive(Clone, Debug)]
pub struct Classifier {
    bullets: Vec<Bullet>,
    /// For each kind, how much of it no bullet covers.
    uncovered: Scores,
    examples: Examples,
    wordings: Wordings,
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
    wording: Wording,
    /// `Likeness`, unless its turn says nothing by itself.
    basis: Basis,
    /// Rows of the n-grams of the ask: words, letters, ends; empty unless it was described in full.
    grams: [Vec<u32>; 3],
}

impl Described {
    /// Describes a request.
    pub fn of(request: &Request<'_>) -> Self {
        Self::read(request, None)
    }

    /// Describes a request whose pieces may have been read before; it comes out the same.
    fn read(request: &Request<'_>, memo: Option<&Memo>) -> Self {
        let (scores, about, wording) = pieces::score(request, memo);
        Self { kinds: Kinds::of(&scores), scores, about, wording, basis: Basis::Likeness, grams: Default::default() }
    }

    /// Describes a request with its n-grams, which only a policy with many examples looks at.
    fn in_full(request: &Request<'_>, memo: Option<&Memo>) -> Self {
        let [words, letters, ends, ..] = features::describe(request).rows;
        Self { grams: [words, letters, ends], ..Self::read(request, memo) }
    }

    /// Describes a request that is a first turn and nothing else, in full.
    fn of_text(text: &str) -> Self {
        Self::in_full(&Request { last_user: text, user_turns: 1, ..Request::default() }, None)
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
            wordings: Wordings::of(policy),
            bullets,
            tiers: policy.tasks.iter().map(|task| task.tier).collect(),
            default: policy.default,
            confidence: policy.confidence,
        }
    }

    /// Classifies a request.
    pub fn classify(&self, request: &Request<'_>) -> Classified {
        let described = self.describe(request, None);
        self.decide(&described, &self.shares(&described))
    }

    /// Classifies a request whose pieces may have been read before.
    pub fn classify_remembered(&self, request: &Request<'_>, memo: &Memo) -> Classified {
        let described = self.describe(request, Some(memo));
        self.decide(&described, &self.shares(&described))
    }

    /// Describes a request; a turn that says nothing, unless the policy has its words, as the last one that does.
    fn describe(&self, request: &Request<'_>, memo: Option<&Memo>) -> Described {
        let is_said = |turn: &&str| !turn.trim().is_empty() && !says_nothing(turn);
        let read = |request: &Request<'_>| match self.examples.have_grams() {
            true => Described::in_full(request, memo),
            false => Described::read(request, memo),
        };
        let described = read(request);
        let says_something = request.has_images || !says_nothing(request.last_user);
        if says_something || self.wordings.task(&described.wording).is_some() {
            return described;
        }
        let Some(before) = request.previous_user.filter(is_said) else {
            return Described { basis: Basis::Nothing, ..described };
        };
        let user_turns = request.user_turns.saturating_sub(1);
        let before = Request { last_user: before, previous_user: None, user_turns, ..*request };
        Described { basis: Basis::Earlier, ..read(&before) }
    }

    /// What comes of these shares.
    fn decide(&self, described: &Described, shares: &[f32]) -> Classified {
        let needs_strong = described.kinds.needs_strong();
        let masses = self.masses(shares);
        let (tier, confidence) = self.likeliest(&masses);
        let ambiguous = confidence < self.bound(tier) || described.basis == Basis::Nothing;
        let tier = if ambiguous { self.default } else { tier };
        let of_tier = (0..self.tiers.len()).filter(|&task| self.tiers[task] == tier);
        let task = of_tier.max_by(|&a, &b| shares[a].total_cmp(&shares[b]));
        // Work that is likelier of no task than of this one has no name, though it has a tier.
        let task = task.filter(|&task| !ambiguous && shares[task] >= shares[self.bullets.len()]);
        let ambiguous = ambiguous || task.is_none() && tier == self.default;
        let basis = match described.basis {
            Basis::Likeness if self.wordings.task(&described.wording).is_some() => Basis::Words,
            basis => basis,
        };
        Classified { task, tier, confidence: masses[tier as usize], needs_strong, ambiguous, basis }
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
        if let Some(task) = self.wordings.task(&described.wording) {
            make_certain(&mut scores, task);
        }
        scores
    }
}

/// Gives nearly all to one task.
fn make_certain(shares: &mut [f32], task: usize) {
    shares.iter_mut().for_each(|share| *share *= 1.0 - CERTAIN);
    shares[task] += CERTAIN;
}

/// How near a request is to each bullet's prose, and, last, to what none of them covers.
fn prose_scores(bullets: &[Bullet], uncovered: &Scores, described: &Described) -> Vec<f32> {
    let matching = Weights::built_in().matching;
    let kinds = &described.kinds.0;
    let mut scores = Vec::with_capacity(bullets.len() + 1);
    for bullet in bullets {
        let topic = cosine(&bullet.about, &described.about);
        scores.push(matching.sharpness * (dot(kinds, &bullet.weights) + 1e-4).ln() + matching.topic * topic);
    }
    scores.push(matching.sharpness * (dot(kinds, uncovered) + 1e-4).ln() + matching.none);
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

#[cfg(test)]
mod tests;
