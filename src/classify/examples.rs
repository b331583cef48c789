//! What nested examples add to prose: a ridge regression on the examples of one policy, solved when it is compiled.
//!
//! An example is described by its scores of the general kinds and by what it is about; the regression says for each
//! bullet how much a request is like its examples and unlike the others'. With two examples a bullet it corrects the
//! prose, with dozens it outweighs it.

use crate::vectors::{DIMENSIONS, dot};

use super::Described;
use super::bullets::Bullet;
use super::weights::{COLUMNS, Weights};

const NUMBERS: usize = COLUMNS + DIMENSIONS;
/// How much the scores of the kinds count against the direction.
const SCORES_WEIGHT: f32 = 4.0;
/// What the squares of the weights cost.
const RIDGE: f32 = 2.0;

/// For each bullet a weight for each number of a request's description; none if there are no examples.
#[derive(Clone, Debug)]
pub(super) struct Examples(Vec<[f32; NUMBERS]>);

impl Examples {
    /// Solves (ZᵀZ + λ) W = Zᵀ Y, where a row of Z is an example and one of Y says whose it is.
    pub fn learn(bullets: &[Bullet]) -> Self {
        if bullets.iter().all(|bullet| bullet.examples.is_empty()) {
            return Self(Vec::new());
        }
        let mut square = vec![[0.0; NUMBERS]; NUMBERS];
        for (at, row) in square.iter_mut().enumerate() {
            row[at] = RIDGE;
        }
        let mut weights = vec![[0.0; NUMBERS]; bullets.len()];
        #[expect(clippy::cast_precision_loss, reason = "a policy has a few hundred tasks at most")]
        let even = 1.0 / bullets.len() as f32;
        for (own, bullet) in bullets.iter().enumerate() {
            for example in &bullet.examples {
                let numbers = numbers(example);
                for (row, a) in square.iter_mut().zip(numbers) {
                    row.iter_mut().zip(numbers).for_each(|(sum, b)| *sum += a * b);
                }
                for (of, weights) in weights.iter_mut().enumerate() {
                    let target = if of == own { 1.0 - even } else { -even };
                    weights.iter_mut().zip(numbers).for_each(|(sum, a)| *sum += target * a);
                }
            }
        }
        factor(&mut square);
        weights.iter_mut().for_each(|weights| solve(&square, weights));
        Self(weights)
    }

    /// Adds to each bullet's score, and gives for that of none, what the examples say.
    pub fn add(&self, request: &Described, scores: &mut [f32]) -> f32 {
        if self.0.is_empty() {
            return 0.0;
        }
        let weights = Weights::built_in();
        let numbers = numbers(request);
        let mut most = f32::MIN;
        for (score, own) in scores.iter_mut().zip(&self.0) {
            let told = weights.examples * dot(own, &numbers);
            *score += told;
            most = most.max(told);
        }
        weights.examples_rest * most
    }
}

fn numbers(described: &Described) -> [f32; NUMBERS] {
    let mut numbers = [0.0; NUMBERS];
    let (scores, direction) = numbers.split_at_mut(COLUMNS);
    scores.iter_mut().zip(described.scores).for_each(|(number, score)| *number = SCORES_WEIGHT * score);
    direction.copy_from_slice(&described.about);
    numbers
}

/// Cholesky: a symmetric matrix with a positive diagonal becomes L, of which it is L Lᵀ (the lower half is used).
fn factor(square: &mut [[f32; NUMBERS]]) {
    for at in 0..NUMBERS {
        let (above, rest) = square.split_at_mut(at);
        let row = &mut rest[0];
        for (column, other) in above.iter().enumerate() {
            let known: f32 = row[..column].iter().zip(&other[..column]).map(|(a, b)| a * b).sum();
            row[column] = (row[column] - known) / other[column];
        }
        let known: f32 = row[..at].iter().map(|a| a * a).sum();
        row[at] = (row[at] - known).max(f32::EPSILON).sqrt();
    }
}

/// Solves L Lᵀ x = b in place.
fn solve(lower: &[[f32; NUMBERS]], b: &mut [f32; NUMBERS]) {
    for (at, row) in lower.iter().enumerate() {
        let known: f32 = row[..at].iter().zip(&b[..at]).map(|(a, b)| a * b).sum();
        b[at] = (b[at] - known) / row[at];
    }
    for at in (0..NUMBERS).rev() {
        let known: f32 = (at + 1..NUMBERS).map(|below| lower[below][at] * b[below]).sum();
        b[at] = (b[at] - known) / lower[at][at];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_that_was_solved_holds() {
        let mut square = vec![[0.0; NUMBERS]; NUMBERS];
        let mut chance = fastrand::Rng::with_seed(3);
        for vector in (0..40).map(|_| std::array::from_fn::<f32, NUMBERS, _>(|_| chance.f32() - 0.5)) {
            for (row, a) in square.iter_mut().zip(vector) {
                row.iter_mut().zip(vector).for_each(|(sum, b)| *sum += a * b);
            }
        }
        (0..NUMBERS).for_each(|at| square[at][at] += RIDGE);
        let b: [f32; NUMBERS] = std::array::from_fn(|_| chance.f32() - 0.5);
        let (mut lower, mut x) = (square.clone(), b);
        factor(&mut lower);
        solve(&lower, &mut x);
        for (row, wanted) in square.iter().zip(b) {
            let found: f32 = row.iter().zip(x).map(|(a, x)| a * x).sum();
            assert!((found - wanted).abs() < 1e-3, "{found} {wanted}");
        }
    }
}
