//! Metrics made and registered in one step; names, labels and help are the program's own.

use prometheus::{Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntGauge, IntGaugeVec, Opts, Registry};

use super::metrics::{IntCounter, IntCounterVec};

const VALID: &str = "names and labels of metrics are valid and distinct";

pub(super) fn counts(r: &Registry, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    let vec = IntCounterVec::new(Opts::new(name, help), labels).expect(VALID);
    r.register(Box::new(vec.clone())).expect(VALID);
    vec
}

pub(super) fn count(r: &Registry, name: &str, help: &str) -> IntCounter {
    let counter = IntCounter::new(name, help).expect(VALID);
    r.register(Box::new(counter.clone())).expect(VALID);
    counter
}

pub(super) fn int_gauges(r: &Registry, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
    let vec = IntGaugeVec::new(Opts::new(name, help), labels).expect(VALID);
    r.register(Box::new(vec.clone())).expect(VALID);
    vec
}

pub(super) fn gauges(r: &Registry, name: &str, help: &str, labels: &[&str]) -> GaugeVec {
    let vec = GaugeVec::new(Opts::new(name, help), labels).expect(VALID);
    r.register(Box::new(vec.clone())).expect(VALID);
    vec
}

/// Sums of whole nano-dollars, of which `exposition` makes dollars.
pub(super) fn sums(r: &Registry, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    let vec = IntCounterVec::new(Opts::new(name, help), labels).expect(VALID);
    r.register(Box::new(vec.clone())).expect(VALID);
    vec
}

pub(super) fn histogram_vec(r: &Registry, name: &str, help: &str, buckets: &[f64], labels: &[&str]) -> HistogramVec {
    let vec = HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets.to_vec()), labels).expect(VALID);
    r.register(Box::new(vec.clone())).expect(VALID);
    vec
}

pub(super) fn histogram(r: &Registry, name: &str, help: &str, buckets: &[f64]) -> Histogram {
    let histogram = Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec())).expect(VALID);
    r.register(Box::new(histogram.clone())).expect(VALID);
    histogram
}

pub(super) fn int_gauge(r: &Registry, name: &str, help: &str) -> IntGauge {
    let gauge = IntGauge::new(name, help).expect(VALID);
    r.register(Box::new(gauge.clone())).expect(VALID);
    gauge
}

pub(super) fn gauge(r: &Registry, name: &str, help: &str) -> Gauge {
    let gauge = Gauge::new(name, help).expect(VALID);
    r.register(Box::new(gauge.clone())).expect(VALID);
    gauge
}
