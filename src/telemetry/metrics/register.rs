//! Builds and registers families.

use prometheus::core::Collector;
use prometheus::{
    Gauge, GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry,
};

use super::Family;

/// The reason why building a family cannot fail.
pub(super) const CONSTANT: &str =
    "metric names, labels and buckets are constants that a test builds";

pub(super) fn register<C: Collector + Clone + 'static>(registry: &Registry, collector: C) -> C {
    registry.register(Box::new(collector.clone())).expect(CONSTANT);
    collector
}

pub(super) fn opts(family: Family) -> Opts {
    Opts::new(family.name, family.help)
}

pub(super) fn counter(registry: &Registry, family: Family) -> IntCounter {
    register(registry, IntCounter::with_opts(opts(family)).expect(CONSTANT))
}

pub(super) fn gauge(registry: &Registry, family: Family) -> Gauge {
    register(registry, Gauge::with_opts(opts(family)).expect(CONSTANT))
}

pub(super) fn counters(registry: &Registry, family: Family) -> IntCounterVec {
    register(registry, IntCounterVec::new(opts(family), family.labels).expect(CONSTANT))
}

pub(super) fn gauges(registry: &Registry, family: Family) -> GaugeVec {
    register(registry, GaugeVec::new(opts(family), family.labels).expect(CONSTANT))
}

pub(super) fn histograms(registry: &Registry, family: Family, buckets: &[f64]) -> HistogramVec {
    let opts = HistogramOpts::new(family.name, family.help).buckets(buckets.to_vec());
    register(registry, HistogramVec::new(opts, family.labels).expect(CONSTANT))
}
