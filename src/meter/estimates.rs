//! What tokens are estimated by where a provider reports none: a count, else what its reports used to be, else bytes.
//!
//! Reports teach a ratio a model, at the price of one short lock a request. Bodies are counted only where no report is
//! expected and the model's own encoding is known: on a thread that may wait, one after another, so many and so
//! large at most. Nobody waits for a count: an estimate takes it if it is there.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use tokio::sync::Semaphore;

use crate::limits::{COUNTED_BODY_BYTES_MAX, COUNTINGS_MAX};
use crate::plan::ModelRef;
use crate::reply::usage::Usage;
use crate::tokens::{self, Calibration, Encoding, Fit, Measure, Memo};

/// The name of a ratio of reported tokens in ledger rows.
const CALIBRATED: &str = "calibrated";

/// Shared by all requests of the process.
pub struct Estimates {
    calibration: Mutex<Calibration>,
    memo: Arc<Mutex<Memo>>,
    places: Arc<Semaphore>,
}

/// The count of a body, which may not be there yet. Dropped before it began, it is not made.
pub struct Counting {
    encoding: Encoding,
    tokens: Arc<OnceLock<u64>>,
}

/// So many tokens, and the name of what says so.
pub type Estimate = (u64, &'static str);

impl Default for Estimates {
    fn default() -> Self {
        Self { calibration: Mutex::default(), memo: Arc::default(), places: Arc::new(Semaphore::new(COUNTINGS_MAX)) }
    }
}

impl Estimates {
    /// Begins to count a body; `None` if the model's encoding is not known, the body is too large, or too many wait.
    pub fn count(&self, vendor: &str, model: &str, body: &[Bytes]) -> Option<Counting> {
        let (encoding, fit) = tokens::encoding_for(vendor, model);
        if fit != Fit::Exact || body.iter().map(Bytes::len).sum::<usize>() > COUNTED_BODY_BYTES_MAX {
            return None;
        }
        let place = Arc::clone(&self.places).try_acquire_owned().ok()?;
        let tokens = Arc::new(OnceLock::new());
        let (awaited, memo, body) = (Arc::downgrade(&tokens), Arc::clone(&self.memo), body.to_vec());
        tokio::task::spawn_blocking(move || {
            let mut memo = lock(&memo);
            if let Some(tokens) = awaited.upgrade()
                && let Ok(counted) = tokens::count_request(encoding, &body.concat(), &mut memo)
            {
                let _ = tokens.set(counted);
            }
            drop(place);
        });
        Some(Counting { encoding, tokens })
    }

    /// Counts a body so that less is held for it; `None` if the model's encoding is not known for sure. Waits for its
    /// turn; dropped before that, it is not made.
    pub fn count_for_hold(
        &self,
        vendor: &str,
        model: &str,
        body: &Bytes,
    ) -> Option<impl Future<Output = Option<u64>> + Send + use<>> {
        let (encoding, fit) = tokens::encoding_for(vendor, model);
        if fit != Fit::Exact {
            return None;
        }
        let (places, memo, body) = (Arc::clone(&self.places), Arc::clone(&self.memo), body.clone());
        Some(async move {
            let place = places.acquire_owned().await.ok()?;
            let counted = tokio::task::spawn_blocking(move || {
                let counted = tokens::count_request(encoding, &body, &mut lock(&memo)).ok();
                drop(place);
                counted
            });
            counted.await.ok().flatten()
        })
    }

    /// Takes note of what a provider reported for a body of text and for the text of its answer.
    pub fn learn(&self, model: &ModelRef, usage: &Usage, body_bytes: Option<u64>, text_bytes: u64) {
        let mut calibration = lock(&self.calibration);
        if let Some(body_bytes) = body_bytes {
            calibration.take(model, Measure::BodyBytes, usage.input_tokens, body_bytes);
        }
        calibration.take(model, Measure::TextBytes, usage.output_tokens, text_bytes);
    }

    /// About how many tokens a body is: of its text, `text_bytes` long, and its images.
    pub fn input(&self, model: &ModelRef, counting: Option<&Counting>, text_bytes: u64, images: u64) -> Estimate {
        let counted = counting.and_then(|counting| Some((*counting.tokens.get()?, counting.encoding.name())));
        counted.unwrap_or_else(|| {
            let (tokens, of_text) = self.by_bytes(model, Measure::BodyBytes, text_bytes);
            (tokens.saturating_add(images.saturating_mul(tokens::IMAGE)), of_text)
        })
    }

    /// About how many tokens the text of an answer is.
    pub fn output(&self, model: &ModelRef, text_bytes: u64) -> Estimate {
        self.by_bytes(model, Measure::TextBytes, text_bytes)
    }

    fn by_bytes(&self, model: &ModelRef, measure: Measure, bytes: u64) -> Estimate {
        let calibrated = lock(&self.calibration).tokens(model, measure, bytes);
        calibrated.map_or_else(|| (tokens::estimate(bytes), tokens::ESTIMATOR), |tokens| (tokens, CALIBRATED))
    }

    /// Waits until nothing is being counted.
    pub async fn idle(&self) {
        drop(self.places.acquire_many(COUNTINGS_MAX as u32).await);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(letters: usize) -> [Bytes; 1] {
        let text = " a".repeat(letters / 2);
        [format!(r#"{{"messages":[{{"role":"user","content":"{text}"}}]}}"#).into()]
    }

    #[track_caller]
    fn check(estimates: &Estimates, model: &str, letters: usize, begins: bool) {
        assert_eq!(estimates.count("openai", model, &body(letters)).is_some(), begins, "{letters} letters of {model}");
    }

    #[tokio::test]
    async fn only_so_many_bodies_of_such_a_size_are_counted_at_a_time() {
        let estimates = Estimates::default();
        check(&estimates, "gpt-5.6-luna", 10, true);
        check(&estimates, "nobody-knows", 10, false);
        check(&estimates, "gpt-5.6-luna", COUNTED_BODY_BYTES_MAX, false);
        estimates.idle().await;
        let busy = lock(&estimates.memo);
        let begun: Vec<_> = (0..COUNTINGS_MAX).map(|_| estimates.count("openai", "gpt-4", &body(2))).collect();
        assert!(begun.iter().all(Option::is_some));
        check(&estimates, "gpt-4", 2, false);
        drop(busy);
        estimates.idle().await;
        check(&estimates, "gpt-4", 2, true);
    }

    #[tokio::test]
    async fn a_count_that_nobody_waits_for_any_more_is_not_made() {
        let estimates = Estimates::default();
        let busy = lock(&estimates.memo);
        drop(estimates.count("openai", "gpt-4", &body(2)));
        drop(busy);
        estimates.idle().await;
        assert!(lock(&estimates.memo).is_empty());
    }
}
