//! Sums of dollars in the exposition: kept in whole nano-dollars, told as exact decimals.

use crate::money::NanoUsd;

/// The sums that are kept in whole nano-dollars, so that no order of adding makes them differ from the ledger's.
const NANO_DOLLARS: [&str; 6] = [
    "farthing_cost_usd_total",
    "farthing_estimated_cost_usd_total",
    "farthing_saved_usd_total",
    "farthing_would_save_usd_total",
    "farthing_cache_loss_usd_total",
    "farthing_overshoot_usd_total",
];

/// The exposition with those sums as exact decimals of dollars. A sample is a line that ends in its value:
/// <https://prometheus.io/docs/instrumenting/exposition_formats/#text-format-details>
pub(super) fn in_dollars(text: &[u8]) -> Vec<u8> {
    let mut told = Vec::with_capacity(text.len());
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let exact = || {
            let line = std::str::from_utf8(line).ok()?;
            let name = line.split(['{', ' ']).next()?;
            let (sample, value) = line.rsplit_once(' ').filter(|_| NANO_DOLLARS.contains(&name))?;
            Some(format!("{sample} {}\n", NanoUsd(value.trim_end().parse().ok()?).decimal().as_str()))
        };
        match exact() {
            Some(exact) => told.extend_from_slice(exact.as_bytes()),
            None => told.extend_from_slice(line),
        }
    }
    told
}
