//! N-grams of a policy's examples: what the general kinds do not know of, such as the names of its own things.
//!
//! The features are those of the ask (`features`); a rare one counts more than one that many examples have.

use super::super::Described;
use super::super::features::ROW_BITS;
use super::super::weights::Weights;
use super::count;

const ROWS: usize = 1 << ROW_BITS;

/// The n-grams of some examples, and what they say for each bullet.
#[derive(Clone, Debug)]
pub(super) struct Grams {
    /// The rows of each example with their values, rarity counted in.
    examples: Vec<Vec<(u32, f32)>>,
    /// For each row, how much it counts; 0 if no example has it.
    rarity: Vec<f32>,
    /// For each row, where its weights begin in `weights`, in bullets.
    places: Vec<u32>,
    /// A weight for each bullet, row by row.
    weights: Vec<f32>,
    bullets: usize,
}

impl Grams {
    /// Of examples.
    pub fn of(described: &[&Described]) -> Self {
        let mut seen = vec![0_usize; ROWS];
        let mut examples: Vec<Vec<(u32, f32)>> = described.iter().map(|example| values(example).collect()).collect();
        for (row, _) in examples.iter().flatten() {
            seen[*row as usize] += 1;
        }
        let all = count(examples.len());
        let rare = |seen: usize| ((all / (1.0 + count(seen))).ln() + 0.3).max(0.1) * 1.5 / all.ln();
        let rarity: Vec<f32> = seen.into_iter().map(|seen| if seen == 0 { 0.0 } else { rare(seen) }).collect();
        examples.iter_mut().flatten().for_each(|(row, value)| *value *= rarity[*row as usize]);
        Self { examples, rarity, places: Vec::new(), weights: Vec::new(), bullets: 0 }
    }

    /// Adds how alike two examples are by their n-grams to the lower half of a matrix.
    pub fn add_alike(&self, alike: &mut [Vec<f32>]) {
        let mut spread = vec![0.0; ROWS];
        for (at, own) in self.examples.iter().enumerate() {
            own.iter().for_each(|(row, value)| spread[*row as usize] += value);
            for (below, other) in alike[at..].iter_mut().zip(&self.examples[at..]) {
                below[at] += other.iter().map(|(row, value)| spread[*row as usize] * value).sum::<f32>();
            }
            own.iter().for_each(|(row, _)| spread[*row as usize] = 0.0);
        }
    }

    /// Turns how much each example pulls, for each bullet, into weights of rows.
    pub fn learn(&mut self, pulls: &[Vec<f32>]) {
        const NOWHERE: u32 = u32::MAX;
        self.bullets = pulls.len();
        self.places = vec![NOWHERE; ROWS];
        let mut next = 0;
        for (example, rows) in std::mem::take(&mut self.examples).into_iter().enumerate() {
            for (row, value) in rows {
                let place = &mut self.places[row as usize];
                if *place == NOWHERE {
                    *place = next;
                    next += 1;
                    self.weights.resize(self.weights.len() + self.bullets, 0.0);
                }
                let value = value * self.rarity[row as usize];
                let weights = &mut self.weights[*place as usize * self.bullets..][..self.bullets];
                weights.iter_mut().zip(pulls).for_each(|(weight, pulls)| *weight += value * pulls[example]);
            }
        }
    }

    /// Adds to each bullet's sum what the n-grams of a request say.
    pub fn tell(&self, request: &Described, told: &mut [f32]) {
        for (row, value) in values(request) {
            if let Some(weights) = self.weights.get(self.places[row as usize] as usize * self.bullets..) {
                told.iter_mut().zip(weights).for_each(|(sum, weight)| *sum += value * weight);
            }
        }
    }
}

/// The rows of a request with their values: each group has the length that it has for the general kinds.
fn values(described: &Described) -> impl Iterator<Item = (u32, f32)> + '_ {
    let groups = described.grams.iter().zip(&Weights::built_in().requests.groups);
    groups.flat_map(|(rows, scale)| {
        let share = scale / count(rows.len().max(1)).sqrt();
        rows.iter().map(move |row| (*row, share))
    })
}
