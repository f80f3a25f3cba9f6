//! The metrics of jobs whose machines the cloud took.

use prometheus::{IntCounterVec, Registry};
use tinqs_ci_reconciler::controller::{Event, RerunOutcome};

use super::f;
use super::register::counters;

/// Interruptions of jobs, and what came of their re-runs.
pub(super) struct RerunMetrics {
    interruptions: IntCounterVec,
    reruns: IntCounterVec,
}

impl RerunMetrics {
    pub(super) fn new(r: &Registry) -> Self {
        Self { interruptions: counters(r, f::INTERRUPTIONS), reruns: counters(r, f::RERUNS) }
    }

    pub(super) fn zero(&self) {
        for outcome in RerunOutcome::all() {
            self.reruns.with_label_values(&[outcome.label()]);
        }
    }

    pub(super) fn zero_class(&self, class: &str) {
        self.interruptions.with_label_values(&[class]);
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
