//! The metrics of jobs whose machines the cloud took, and of the spot breakers.

use prometheus::{GaugeVec, IntCounterVec, Registry};
use tinqs_ci_reconciler::controller::{Event, RerunOutcome};
use tinqs_ci_reconciler::model::SpotBreaker;

use super::register::{counters, gauges};
use super::{f, seconds};

/// Interruptions of jobs, what came of their re-runs, and spot breakers.
pub(super) struct RerunMetrics {
    interruptions: IntCounterVec,
    reruns: IntCounterVec,
    breaker_opened: GaugeVec,
}

impl RerunMetrics {
    pub(super) fn new(r: &Registry) -> Self {
        Self {
            interruptions: counters(r, f::INTERRUPTIONS),
            reruns: counters(r, f::RERUNS),
            breaker_opened: gauges(r, f::SPOT_BREAKER_OPENED),
        }
    }

    pub(super) fn zero(&self) {
        for outcome in RerunOutcome::all() {
            self.reruns.with_label_values(&[outcome.label()]);
        }
    }

    pub(super) fn zero_class(&self, class: &str) {
        self.interruptions.with_label_values(&[class]);
        self.breaker_opened.with_label_values(&[class]);
    }

    /// Removes the gauge of a class.
    pub(super) fn remove_gauges(&self, class: &str) {
        let _ = self.breaker_opened.remove_label_values(&[class]);
    }

    /// Shows since when the spot breaker of a class is open.
    pub(super) fn breaker(&self, class: &str, breaker: Option<&SpotBreaker>) {
        let since = breaker.map_or(0.0, |breaker| seconds(breaker.since));
        self.breaker_opened.with_label_values(&[class]).set(since);
    }

    /// Counts an event of a run of this class.
    pub(super) fn note(&self, class: &str, event: &Event) {
        match event {
            Event::Interrupted { .. } => self.interruptions.with_label_values(&[class]).inc(),
            Event::Rerun { outcome } => self.reruns.with_label_values(&[outcome.label()]).inc(),
            _ => {}
        }
    }
}
