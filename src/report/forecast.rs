//! What a period will have cost at its end, if its days go on as they did.
//!
//! The mean of the days that are over, times those to come, on top of what was spent; the interval is that of a normal
//! day-to-day scatter, with Student's factor for few days. Weekends and growth are not seen: it is a straight line.

/// Fewest whole days that say anything.
pub const DAYS_MIN: usize = 3;
/// Student's factor of a two-sided 95 % interval by degrees of freedom from 1; from there on that of many.
const STUDENT: [f64; 30] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120,
    2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
];

/// A guess in nano-dollars with its 95 % interval.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Forecast {
    /// At least.
    pub low: i64,
    /// What is expected.
    pub expected: i64,
    /// At most.
    pub high: i64,
}

/// What a period costs of which `spent` nano-dollars are spent, whose whole days cost `days` each, and of which
/// `days_left` are to come. `None`: there are fewer than [`DAYS_MIN`] days to go by.
pub fn forecast(spent: i64, days: &[i64], days_left: f64) -> Option<Forecast> {
    if days.len() < DAYS_MIN {
        return None;
    }
    let count = days.len() as f64;
    let mean = days.iter().map(|day| *day as f64).sum::<f64>() / count;
    let variance = days.iter().map(|day| (*day as f64 - mean).powi(2)).sum::<f64>() / (count - 1.0);
    // The scatter of the days to come, and how well their mean is known.
    let scatter = (variance * (days_left + days_left.powi(2) / count)).sqrt();
    let factor = STUDENT.get(days.len() - 2).copied().unwrap_or(1.96);
    let expected = spent as f64 + mean * days_left;
    let low = (expected - factor * scatter).max(spent as f64);
    Some(Forecast { low: low as i64, expected: expected as i64, high: (expected + factor * scatter) as i64 })
}
