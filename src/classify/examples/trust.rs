//! How much prose and examples count against one another: a logistic regression with two coefficients on the examples of
//! one policy, held near the built-in ones as long as there are few.

use super::super::weights::Weights;

/// Coefficients of the signs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trust([f32; SIGNS]);

/// What is known of a bullet: its score by prose, and what the other examples say.
pub(super) const SIGNS: usize = 2;

/// An example, judged without having been learned from.
pub(super) struct Judged {
    /// The bullet whose it is.
    pub own: usize,
    /// The signs of each bullet.
    pub signs: Vec<[f32; SIGNS]>,
}

/// How firmly each coefficient is held: what the square of its distance from the built-in one costs.
const HELD: [f64; SIGNS] = [20.0, 0.1];
/// Steps of Newton's method; it is there after five or six.
const STEPS: usize = 20;

impl Trust {
    /// What holds where there are too few examples to tell.
    pub fn built_in() -> Self {
        let weights = Weights::built_in();
        Self([1.0, weights.examples])
    }

    /// The coefficients by which the examples are likeliest to be taken for their own bullets'.
    pub fn learn(judged: &[Judged]) -> Self {
        let start = Self::built_in().0.map(f64::from);
        // From nothing, where the curve is steepest, Newton's steps do not overshoot.
        let mut found = [0.0; SIGNS];
        let mut best = cost(judged, &start, &found);
        for _ in 0..STEPS {
            let step = step(judged, &start, &found);
            let Some((next, cost)) = (0..10)
                .map(|halvings| std::array::from_fn(|at| found[at] + step[at] * 0.5_f64.powi(halvings)))
                .map(|next| (next, cost(judged, &start, &next)))
                .find(|(_, cost)| *cost < best - 1e-9)
            else {
                break;
            };
            (found, best) = (next, cost);
        }
        #[expect(clippy::cast_possible_truncation, reason = "coefficients are small and need no more digits")]
        let found = found.map(|coefficient| coefficient.max(0.0) as f32);
        Self(found)
    }

    /// A bullet's score.
    pub fn score(&self, signs: &[f32; SIGNS]) -> f32 {
        self.0.iter().zip(signs).map(|(coefficient, sign)| coefficient * sign).sum()
    }
}

/// What the examples cost with these coefficients: the logarithms of what their own bullets got, and the distance.
fn cost(judged: &[Judged], start: &[f64; SIGNS], found: &[f64; SIGNS]) -> f64 {
    let missed: f64 = judged.iter().map(|example| -shares(example, found)[example.own].max(1e-12).ln()).sum();
    missed + (0..SIGNS).map(|at| HELD[at] * (found[at] - start[at]).powi(2)).sum::<f64>()
}

/// How likely each bullet is.
fn shares(example: &Judged, found: &[f64; SIGNS]) -> Vec<f64> {
    let score =
        |signs: &[f32; SIGNS]| signs.iter().zip(found).map(|(sign, coefficient)| f64::from(*sign) * coefficient).sum();
    let scores: Vec<f64> = example.signs.iter().map(score).collect();
    let top = scores.iter().copied().fold(f64::MIN, f64::max);
    let sum: f64 = scores.iter().map(|score| (score - top).exp()).sum();
    scores.iter().map(|score| (score - top).exp() / sum).collect()
}

/// Newton's step: the gradient over the curvature.
fn step(judged: &[Judged], start: &[f64; SIGNS], found: &[f64; SIGNS]) -> [f64; SIGNS] {
    let mut slope: [f64; SIGNS] = std::array::from_fn(|at| 2.0 * HELD[at] * (start[at] - found[at]));
    let mut curve = [[0.0; SIGNS]; SIGNS];
    (0..SIGNS).for_each(|at| curve[at][at] = 2.0 * HELD[at]);
    for example in judged {
        let shares = shares(example, found);
        let mean: [f64; SIGNS] = std::array::from_fn(|at| {
            shares.iter().zip(&example.signs).map(|(share, signs)| share * f64::from(signs[at])).sum()
        });
        for at in 0..SIGNS {
            slope[at] += f64::from(example.signs[example.own][at]) - mean[at];
            for to in 0..SIGNS {
                let product = |signs: &[f32; SIGNS]| f64::from(signs[at]) * f64::from(signs[to]);
                let square: f64 = shares.iter().zip(&example.signs).map(|(share, signs)| share * product(signs)).sum();
                curve[at][to] += square - mean[at] * mean[to];
            }
        }
    }
    solved(curve, slope)
}

/// Cramer's rule; the curvature is positive.
fn solved([[a, b], [c, d]]: [[f64; SIGNS]; SIGNS], [x, y]: [f64; SIGNS]) -> [f64; SIGNS] {
    let determinant = a * d - b * c;
    [(x * d - b * y) / determinant, (a * y - c * x) / determinant]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Examples of two bullets; prose and examples each say the right thing with a chance of their own.
    fn drawn(count: usize, prose_right: f32, told_right: f32) -> Vec<Judged> {
        let mut chance = fastrand::Rng::with_seed(11);
        let draw = |_| {
            let own = chance.usize(..2);
            let mut said = |right: f32| if (chance.f32() < right) == (own == 0) { [1.0, 0.0] } else { [0.0, 1.0] };
            let (prose, told) = (said(prose_right), said(told_right));
            Judged { own, signs: vec![[prose[0], told[0]], [prose[1], told[1]]] }
        };
        (0..count).map(draw).collect()
    }

    #[test]
    fn few_examples_change_little() {
        let (built_in, learned) = (Trust::built_in().0, Trust::learn(&drawn(4, 0.5, 0.5)).0);
        assert!((built_in[0] - learned[0]).abs() < 0.15, "{built_in:?} {learned:?}");
    }

    #[test]
    fn many_examples_show_what_is_to_be_trusted() {
        let (by_prose, by_told) = (Trust::learn(&drawn(2_000, 0.9, 0.5)).0, Trust::learn(&drawn(2_000, 0.5, 0.9)).0);
        assert!(by_prose[0] > 1.5 && by_prose[1] < 0.5, "{by_prose:?}");
        assert!(by_told[0] < 0.5 && by_told[1] > 1.5, "{by_told:?}");
    }

    #[test]
    fn sureness_is_that_of_the_examples() {
        let judged = drawn(2_000, 0.8, 0.5);
        let Trust([prose, _]) = Trust::learn(&judged);
        let sure = 1.0 / (1.0 + (-prose).exp());
        assert!((sure - 0.8).abs() < 0.05, "{sure}");
    }
}
