//! What nested examples add to prose: a ridge regression on the examples of one policy, solved when it is compiled.
//!
//! An example is described by its shares and its scores of the general kinds, by what it is about, and, where there are
//! many, by its n-grams; the regression says for each bullet how much a request is like its examples and unlike the
//! others'. How much that counts against the prose, and how sure both together may be, is learned from the same examples,
//! each judged by a regression that has not seen it (leave one out, in closed form). From two examples a bullet little
//! can be learned, and the built-in weights hold.

mod grams;
mod ridge;
mod trust;

use crate::vectors::{DIMENSIONS, dot};

use super::Described;
use super::bullets::Bullet;
use super::weights::{COLUMNS, Weights};
use grams::Grams;
use ridge::Ridge;
use trust::{Judged, Trust};

const NUMBERS: usize = 2 * COLUMNS + DIMENSIONS;
/// How much the kinds' shares count, their scores, and what a request is about. That a request is of one kind and not of
/// another says more than how strongly either is scored: over left-out domains two examples a bullet help twice as much.
const SHARES_WEIGHT: f32 = 0.8;
const SCORES_WEIGHT: f32 = 1.0;
const DIRECTION_WEIGHT: f32 = 0.5;
/// From so many examples on n-grams are looked at; below, they say nothing that the scores do not.
const EXAMPLES_FOR_GRAMS: usize = 100;
/// Examples of a policy that are learned from, each bullet's first: solving takes their third power of steps, 0.3 s
/// for so many.
const EXAMPLES_MAX: usize = 1_024;
/// So many examples a bullet are taken to be there already when their number says how common its work is: authors
/// give each bullet about as many, until they nest real traffic.
const EVEN_EXAMPLES: f32 = 20.0;

/// What was learned from examples; nothing if there are none.
#[derive(Clone, Debug)]
pub(super) struct Examples {
    /// For each bullet a weight for each number of a request's description.
    weights: Vec<[f32; NUMBERS]>,
    grams: Option<Grams>,
    trust: Trust,
}

/// One example and the bullet whose it is.
struct Example<'a> {
    own: usize,
    described: &'a Described,
    numbers: [f32; NUMBERS],
}

impl Examples {
    /// Learns from the examples of `bullets`; `prose` gives the scores of all bullets by their prose.
    pub fn learn(bullets: &[Bullet], prose: impl Fn(&Described) -> Vec<f32>) -> Self {
        let examples = gathered(bullets);
        if examples.is_empty() {
            return Self { weights: Vec::new(), grams: None, trust: Trust::built_in() };
        }
        let described: Vec<&Described> = examples.iter().map(|example| example.described).collect();
        let mut grams = (examples.len() >= EXAMPLES_FOR_GRAMS).then(|| Grams::of(&described));
        let mut alike: Vec<Vec<f32>> = examples
            .iter()
            .enumerate()
            .map(|(at, one)| examples[..=at].iter().map(|other| dot(&one.numbers, &other.numbers)).collect())
            .collect();
        if let Some(grams) = &grams {
            grams.add_alike(&mut alike);
        }
        let ridge = Ridge::solve(alike);
        let common = common(bullets, &examples);
        let target = |of: usize, own: usize| if of == own { 1.0 - common[of] } else { -common[of] };
        let pulls: Vec<Vec<f32>> = (0..bullets.len())
            .map(|of| ridge.pulls(examples.iter().map(|example| target(of, example.own)).collect()))
            .collect();
        let weights = pulls.iter().map(|pulls| drawn_from(&examples, pulls)).collect();
        if let Some(grams) = &mut grams {
            grams.learn(&pulls);
        }
        let judged: Vec<Judged> = examples
            .iter()
            .enumerate()
            .map(|(at, example)| {
                let unseen = |(of, pulls): (usize, &Vec<f32>)| target(of, example.own) - ridge.missed(at, pulls[at]);
                let told = pulls.iter().enumerate().map(unseen);
                let signs = prose(example.described).into_iter().zip(told).map(<[f32; 2]>::from);
                Judged { own: example.own, signs: signs.collect() }
            })
            .collect();
        Self { weights, grams, trust: Trust::learn(&judged) }
    }

    /// Whether there are so many that a request's n-grams are looked at.
    pub fn have_grams(&self) -> bool {
        self.grams.is_some()
    }

    /// Weighs each bullet's score by its prose, and that of none, which is last, with what the examples say.
    ///
    /// Which bullet it is goes by what was learned. Whether it is any of them goes by the built-in weights: the examples
    /// of a policy show no work that belongs to none.
    pub fn weigh(&self, request: &Described, scores: &mut [f32]) {
        let Some((none, scores)) = scores.split_last_mut().filter(|_| !self.weights.is_empty()) else { return };
        let numbers = numbers(request);
        let mut told: Vec<f32> = self.weights.iter().map(|weights| dot(weights, &numbers)).collect();
        if let Some(grams) = &self.grams {
            grams.tell(request, &mut told);
        }
        let most = told.iter().copied().fold(f32::MIN, f32::max);
        let usual = Trust::built_in();
        *none = usual.score(&[*none, Weights::built_in().examples_rest * most]);
        let any = log_of_sum(scores.iter().zip(&told).map(|(score, told)| usual.score(&[*score, *told])));
        scores.iter_mut().zip(&told).for_each(|(score, told)| *score = self.trust.score(&[*score, *told]));
        let learned = log_of_sum(scores.iter().copied());
        scores.iter_mut().for_each(|score| *score += any - learned);
    }
}

/// The logarithm of the sum of exponentials.
fn log_of_sum(scores: impl Iterator<Item = f32> + Clone) -> f32 {
    let top = scores.clone().fold(f32::MIN, f32::max);
    top + scores.map(|score| (score - top).exp()).sum::<f32>().ln()
}

/// The examples to learn from: of each bullet its first, as many for all.
fn gathered(bullets: &[Bullet]) -> Vec<Example<'_>> {
    let all: usize = bullets.iter().map(|bullet| bullet.examples.len()).sum();
    let most = if all > EXAMPLES_MAX { EXAMPLES_MAX.div_ceil(bullets.len()) } else { all };
    let learned = bullets.iter().enumerate().flat_map(|(own, bullet)| {
        let some = bullet.examples.iter().take(most);
        some.map(move |described| Example { own, described, numbers: numbers(described) })
    });
    learned.collect()
}

/// For each bullet its share of the examples, even ones counted in.
fn common(bullets: &[Bullet], examples: &[Example<'_>]) -> Vec<f32> {
    let all = count(examples.len()) + EVEN_EXAMPLES * count(bullets.len());
    let own = |of: usize| count(examples.iter().filter(|example| example.own == of).count());
    (0..bullets.len()).map(|of| (own(of) + EVEN_EXAMPLES) / all).collect()
}

fn drawn_from(examples: &[Example<'_>], pulls: &[f32]) -> [f32; NUMBERS] {
    let mut weights = [0.0; NUMBERS];
    for (example, pull) in examples.iter().zip(pulls) {
        weights.iter_mut().zip(example.numbers).for_each(|(sum, number)| *sum += pull * number);
    }
    weights
}

fn numbers(described: &Described) -> [f32; NUMBERS] {
    let shares = described.kinds.0.iter().map(|share| SHARES_WEIGHT * share.sqrt());
    let scores = described.scores.iter().map(|score| SCORES_WEIGHT * score);
    let direction = described.about.iter().map(|number| DIRECTION_WEIGHT * number);
    let mut numbers = [0.0; NUMBERS];
    numbers.iter_mut().zip(shares.chain(scores).chain(direction)).for_each(|(to, number)| *to = number);
    numbers
}

#[expect(clippy::cast_precision_loss, reason = "a policy has a few thousand examples at most")]
fn count(number: usize) -> f32 {
    number as f32
}
