//! The families of drift.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use prometheus::{GaugeVec, HistogramVec, IntCounterVec, Registry};
use tinqs_ci_reconciler::model::DriftKind;

use super::super::{families as f, labels};
use super::register::{counters, gauges, histograms};
use super::{WAIT_BUCKETS, seconds};

/// The families of drift. Its gauges change with each poll, not at a scrape.
pub struct DriftMetrics {
    open: GaugeVec,
    oldest: GaugeVec,
    detected: IntCounterVec,
    resolved: IntCounterVec,
    resolution: HistogramVec,
    /// The series that are not 0.
    shown: Mutex<BTreeMap<(String, DriftKind, &'static str), u32>>,
    /// The classes whose series are shown.
    classes: Mutex<Vec<String>>,
}

impl DriftMetrics {
    pub(super) fn new(registry: &Registry) -> Self {
        Self {
            open: gauges(registry, f::DRIFT),
            oldest: gauges(registry, f::DRIFT_OLDEST),
            detected: counters(registry, f::DRIFT_DETECTED),
            resolved: counters(registry, f::DRIFT_RESOLVED),
            resolution: histograms(registry, f::DRIFT_RESOLUTION, &WAIT_BUCKETS),
            shown: Mutex::default(),
            classes: Mutex::default(),
        }
    }

    /// Shows a class from now on.
    pub(super) fn add_class(&self, class: &str) {
        let mut classes = self.classes.lock();
        if !classes.iter().any(|known| known == class) {
            classes.push(class.to_owned());
        }
    }

    /// Creates the series that are not of a class.
    pub(super) fn zero(&self) {
        for kind in DriftKind::ALL {
            self.resolution.with_label_values(&[kind.label()]);
        }
    }

    /// Creates the series of a class.
    pub(super) fn zero_class(&self, class: &str) {
        for kind in DriftKind::ALL {
            let kind = kind.label();
            self.open.with_label_values(&[class, kind, labels::NOT_BLOCKED]);
            self.oldest.with_label_values(&[class, kind]);
            self.detected.with_label_values(&[class, kind]);
            for by in labels::RESOLVED_BY {
                self.resolved.with_label_values(&[class, kind, by]);
            }
        }
    }

    /// Removes the gauges of a class. Its counters stay, because they have counted.
    pub(super) fn remove_class(&self, class: &str) {
        self.classes.lock().retain(|known| known != class);
        for kind in DriftKind::ALL {
            let kind = kind.label();
            let _ = self.oldest.remove_label_values(&[class, kind]);
            for blocked_by in labels::blocked_by() {
                let _ = self.open.remove_label_values(&[class, kind, blocked_by]);
            }
        }
        self.shown.lock().retain(|(known, _, _), _| known != class);
    }

    /// Shows the open drift.
    pub(in crate::telemetry) fn show(
        &self,
        counts: &BTreeMap<(String, DriftKind, &'static str), u32>,
        oldest: &BTreeMap<(String, DriftKind), Timestamp>,
    ) {
        let mut shown = self.shown.lock();
        for (class, kind, blocked_by) in shown.keys().filter(|key| !counts.contains_key(*key)) {
            self.open.with_label_values(&[class.as_str(), kind.label(), *blocked_by]).set(0.0);
        }
        for ((class, kind, blocked_by), count) in counts {
            let series = self.open.with_label_values(&[class.as_str(), kind.label(), *blocked_by]);
            series.set(f64::from(*count));
        }
        for class in self.classes.lock().iter() {
            for kind in DriftKind::ALL {
                let since = oldest.get(&(class.clone(), *kind)).copied();
                let since = seconds(since.unwrap_or(Timestamp::UNIX_EPOCH));
                self.oldest.with_label_values(&[class.as_str(), kind.label()]).set(since);
            }
        }
        shown.clone_from(counts);
    }

    /// Counts drift that has just passed its time.
    pub(in crate::telemetry) fn detected(&self, class: &str, kind: DriftKind) {
        self.detected.with_label_values(&[class, kind.label()]).inc();
    }

    /// Counts drift that is gone.
    pub(in crate::telemetry) fn resolved(
        &self,
        class: &str,
        kind: DriftKind,
        by: &'static str,
        lasted: SignedDuration,
    ) {
        self.resolved.with_label_values(&[class, kind.label(), by]).inc();
        let lasted = lasted.as_secs_f64().max(0.0);
        self.resolution.with_label_values(&[kind.label()]).observe(lasted);
    }
}
