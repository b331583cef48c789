//! Ridge regression in its dual form: solved once for all examples of a policy, for as many targets as there are bullets.

/// What the squares of the weights cost.
const COST: f32 = 1.0;

/// (K + λ), factored, where K says how alike two examples are.
pub(super) struct Ridge {
    /// L of L Lᵀ, the lower half.
    lower: Vec<Vec<f32>>,
    /// The diagonal of the inverse.
    inverse: Vec<f32>,
}

impl Ridge {
    /// From the lower half of K, diagonal included.
    pub fn solve(mut alike: Vec<Vec<f32>>) -> Self {
        for at in 0..alike.len() {
            let (above, rest) = alike.split_at_mut(at);
            let row = &mut rest[0];
            row[at] += COST;
            for (column, other) in above.iter().enumerate() {
                row[column] = (row[column] - dot(&row[..column], &other[..column])) / other[column];
            }
            row[at] = (row[at] - dot(&row[..at], &row[..at])).max(f32::EPSILON).sqrt();
        }
        let inverse = (0..alike.len()).map(|at| inverse_at(&alike, at)).collect();
        Self { lower: alike, inverse }
    }

    /// How much each example pulls towards a target: (K + λ)⁻¹ y.
    pub fn pulls(&self, mut targets: Vec<f32>) -> Vec<f32> {
        for at in 0..targets.len() {
            let known = dot(&self.lower[at][..at], &targets[..at]);
            targets[at] = (targets[at] - known) / self.lower[at][at];
        }
        for at in (0..targets.len()).rev() {
            targets[at] /= self.lower[at][at];
            let found = targets[at];
            targets[..at].iter_mut().zip(&self.lower[at]).for_each(|(rest, weight)| *rest -= weight * found);
        }
        targets
    }

    /// By how much a regression without this example would have missed its target.
    pub fn missed(&self, at: usize, pull: f32) -> f32 {
        pull / self.inverse[at]
    }
}

/// Σ (L⁻¹)² of one column.
fn inverse_at(lower: &[Vec<f32>], column: usize) -> f32 {
    let mut found = Vec::with_capacity(lower.len() - column);
    for row in &lower[column..] {
        let at = column + found.len();
        let given = if found.is_empty() { 1.0 } else { 0.0 };
        found.push((given - dot(&row[column..at], &found)) / row[at]);
    }
    dot(&found, &found)
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLES: usize = 30;

    /// Points in the plane that is given by two numbers, and targets.
    fn drawn() -> (Vec<[f32; 2]>, Vec<f32>) {
        let mut chance = fastrand::Rng::with_seed(3);
        (0..EXAMPLES).map(|_| ([chance.f32() - 0.5, chance.f32() * 3.0], chance.f32() - 0.5)).unzip()
    }

    fn solved(points: &[[f32; 2]]) -> Ridge {
        let alike = |at: usize| points[..=at].iter().map(|other| dot(&points[at], other)).collect();
        Ridge::solve((0..points.len()).map(alike).collect())
    }

    #[test]
    fn the_system_that_was_solved_holds() {
        let (points, targets) = drawn();
        let pulls = solved(&points).pulls(targets.clone());
        for (at, target) in targets.iter().enumerate() {
            let told: f32 = points.iter().zip(&pulls).map(|(other, pull)| dot(&points[at], other) * pull).sum();
            assert!((told + COST * pulls[at] - target).abs() < 1e-4, "{told} {target}");
        }
    }

    #[test]
    fn leaving_one_out_in_closed_form_is_leaving_it_out() {
        let (points, targets) = drawn();
        let ridge = solved(&points);
        let pulls = ridge.pulls(targets.clone());
        for at in [0, 7, EXAMPLES - 1] {
            let (mut others, mut rest) = (points.clone(), targets.clone());
            others.remove(at);
            rest.remove(at);
            let without = solved(&others).pulls(rest);
            let told: f32 = others.iter().zip(&without).map(|(other, pull)| dot(&points[at], other) * pull).sum();
            let closed = targets[at] - ridge.missed(at, pulls[at]);
            assert!((told - closed).abs() < 1e-3, "{told} {closed}");
        }
    }
}
