//! How many tokens a model's provider makes of bytes: running ratios of what was reported to what was measured.
//!
//! Only estimates use them, never bounds. Everything is whole numbers and bounded: so many models, and sums that are
//! halved before they grow beyond a window, so that a ratio follows a provider that changes its ways.

use std::collections::HashMap;

use crate::limits::CALIBRATED_MODELS_MAX;
use crate::plan::ModelRef;

/// Sums are halved when what was measured exceeds this.
const WINDOW: u64 = 1 << 24;
/// Less than this many bytes measured prove nothing yet.
const EVIDENCE_MIN: u64 = 2000;
/// No provider's count is so many times the bytes, or so small a part of them: such a report is not believed.
const FACTOR_MAX: u64 = 16;

/// What tokens are set in relation to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Measure {
    /// Input tokens to bytes of the request's body.
    BodyBytes,
    /// Output tokens to bytes of generated text.
    TextBytes,
}

/// A running ratio.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Ratio {
    reported: u64,
    measured: u64,
}

impl Ratio {
    fn take(&mut self, reported: u64, measured: u64) {
        let (many, few) = (reported.max(measured), reported.min(measured));
        if few == 0 || many / few > FACTOR_MAX || measured > WINDOW {
            return;
        }
        self.reported += reported;
        self.measured += measured;
        while self.measured > WINDOW {
            self.reported /= 2;
            self.measured /= 2;
        }
    }

    fn of(self, measured: u64) -> Option<u64> {
        let scaled = u128::from(measured) * u128::from(self.reported);
        let rounded = (scaled + u128::from(self.measured) / 2).checked_div(u128::from(self.measured))?;
        (self.measured >= EVIDENCE_MIN).then(|| u64::try_from(rounded).unwrap_or(u64::MAX))
    }
}

/// The ratios of all models that were called.
#[derive(Clone, Debug, Default)]
pub struct Calibration {
    /// As many as came first.
    models: HashMap<ModelRef, [Ratio; 2]>,
}

impl Calibration {
    /// Takes note of a report. Models beyond the bound are not calibrated.
    pub fn take(&mut self, model: &ModelRef, measure: Measure, reported: u64, measured: u64) {
        if let Some(ratios) = self.models.get_mut(model) {
            ratios[measure as usize].take(reported, measured);
        } else if self.models.len() < CALIBRATED_MODELS_MAX {
            let mut ratios = [Ratio::default(); 2];
            ratios[measure as usize].take(reported, measured);
            self.models.insert(model.clone(), ratios);
        }
    }

    /// What the model's provider would probably report; `None` before enough of its reports were seen.
    pub fn tokens(&self, model: &ModelRef, measure: Measure, measured: u64) -> Option<u64> {
        self.models.get(model)?[measure as usize].of(measured)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{ModelId, ProviderId};

    fn model(name: &str) -> ModelRef {
        ModelRef { provider: ProviderId::from("p"), model: ModelId::from(name) }
    }

    #[track_caller]
    fn check(reports: &[(u64, u64)], measured: u64, expected: Option<u64>) {
        let mut calibration = Calibration::default();
        for (reported, measured) in reports {
            calibration.take(&model("m"), Measure::BodyBytes, *reported, *measured);
        }
        assert_eq!(calibration.tokens(&model("m"), Measure::BodyBytes, measured), expected, "{reports:?}");
    }

    #[test]
    fn an_estimate_is_what_the_provider_used_to_report() {
        check(&[(1200, 1000), (2400, 2000)], 500, Some(600));
        check(&[(900, 1000), (1100, 1000)], 7, Some(7));
    }

    #[test]
    fn little_evidence_and_absurd_reports_prove_nothing() {
        check(&[], 500, None);
        check(&[(1200, 1000)], 500, None);
        check(&[(0, 5000), (5000, 0), (u64::MAX, 3000), (1, 3000)], 500, None);
        check(&[(3000, 3000), (u64::MAX, 3000)], 500, Some(500));
        // More than all that is remembered: it would be all that counts.
        check(&[(3000, 3000), (2 * (WINDOW + 1), WINDOW + 1)], 500, Some(500));
    }

    #[test]
    fn a_ratio_follows_a_provider_that_changes_its_ways() {
        let before = vec![(1_000_000, 1_000_000); 1000];
        let after = vec![(2_000_000, 1_000_000); 200];
        check(&[before, after].concat(), 1000, Some(2000));
    }

    #[test]
    fn measures_and_models_do_not_mix_and_models_are_bounded() {
        let mut calibration = Calibration::default();
        calibration.take(&model("m"), Measure::BodyBytes, 1000, 4000);
        assert_eq!(calibration.tokens(&model("m"), Measure::BodyBytes, 400), Some(100));
        assert_eq!(calibration.tokens(&model("m"), Measure::TextBytes, 400), None);
        assert_eq!(calibration.tokens(&model("n"), Measure::BodyBytes, 400), None);
        for n in 0..2 * CALIBRATED_MODELS_MAX {
            calibration.take(&model(&n.to_string()), Measure::BodyBytes, 1000, 4000);
        }
        assert_eq!(calibration.models.len(), CALIBRATED_MODELS_MAX);
    }
}
