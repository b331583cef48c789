//! Shares with their intervals.

/// Draws of the bootstrap.
const DRAWS: usize = 2_000;

/// A mean with its 95 % percentile interval over the given cases.
pub struct Interval {
    pub mean: f64,
    pub low: f64,
    pub high: f64,
}

impl Interval {
    /// Of the mean of `values`.
    pub fn of(values: &[f64]) -> Self {
        let mut chance = fastrand::Rng::with_seed(7);
        let mean_of = |pick: &mut dyn FnMut() -> usize| {
            values.iter().map(|_| values[pick()]).sum::<f64>() / values.len().max(1) as f64
        };
        let mut draws: Vec<f64> = (0..DRAWS).map(|_| mean_of(&mut || chance.usize(..values.len()))).collect();
        draws.sort_by(f64::total_cmp);
        let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
        Self { mean, low: draws[DRAWS / 40], high: draws[DRAWS - 1 - DRAWS / 40] }
    }

    /// Of a share.
    pub fn of_share(holds: impl IntoIterator<Item = bool>) -> Self {
        Self::of(&holds.into_iter().map(|holds| f64::from(u8::from(holds))).collect::<Vec<_>>())
    }
}

impl std::fmt::Display for Interval {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.3} [{:.3}, {:.3}]", self.mean, self.low, self.high)
    }
}

/// Expected calibration error over ten bins of equal width: Guo et al. 2017, <https://arxiv.org/abs/1706.04599>.
pub fn calibration_error(cases: &[(f64, bool)]) -> f64 {
    let mut bins = [(0.0, 0.0, 0.0); 10];
    for (confidence, right) in cases {
        let bin = &mut bins[((confidence * 10.0) as usize).min(9)];
        *bin = (bin.0 + confidence, bin.1 + f64::from(u8::from(*right)), bin.2 + 1.0);
    }
    let all = cases.len() as f64;
    bins.iter().filter(|bin| bin.2 > 0.0).map(|bin| (bin.0 - bin.1).abs() / all).sum()
}

/// Brier score of "this is right" said with a confidence.
pub fn brier(cases: &[(f64, bool)]) -> f64 {
    cases.iter().map(|(said, right)| (said - f64::from(u8::from(*right))).powi(2)).sum::<f64>() / cases.len() as f64
}
