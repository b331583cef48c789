//! What operators see: Prometheus metrics with bounded labels, and JSON log lines on stderr.

mod dollars;
pub mod log;
pub mod metrics;
mod register;
mod series;
