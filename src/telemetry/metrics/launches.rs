//! The families of launches, offerings and interruptions.

use std::collections::BTreeSet;

use parking_lot::Mutex;
use prometheus::{GaugeVec, IntCounterVec, Registry};
use tinqs_ci_reconciler::controller::Offering;
use tinqs_ci_reconciler::model::{Class, Machine, MachineId, MachineSpec, Market};
use tinqs_ci_reconciler::ports::PortError;

use super::super::{families as f, labels};
use super::register::{counters, gauges};

/// The most values of a label that come from the configuration or the cloud.
const MOST: usize = 40;
/// The value of those beyond it.
const OTHER: &str = "other";

/// The families of launches, offerings and interruptions.
pub struct LaunchMetrics {
    attempts: IntCounterVec,
    refused: IntCounterVec,
    unavailable: GaugeVec,
    interrupted: IntCounterVec,
    /// The listed machines that are counted as interrupted.
    counted: Mutex<BTreeSet<MachineId>>,
    kinds: Values,
    subnets: Values,
    zones: Values,
}

/// The values of a label, few of them.
#[derive(Default)]
struct Values(Mutex<BTreeSet<String>>);

impl Values {
    /// Returns the value, or `other` if there are too many.
    fn of<'a>(&self, text: &'a str) -> &'a str {
        let mut known = self.0.lock();
        if text.is_empty() {
            return "none";
        }
        if known.contains(text) {
            return text;
        }
        if known.len() >= MOST {
            return OTHER;
        }
        known.insert(text.to_owned());
        text
    }
}

impl LaunchMetrics {
    pub(super) fn new(registry: &Registry) -> Self {
        Self {
            attempts: counters(registry, f::LAUNCH_ATTEMPTS),
            refused: counters(registry, f::LAUNCH_REFUSED),
            unavailable: gauges(registry, f::OFFERING_UNAVAILABLE),
            interrupted: counters(registry, f::SPOT_INTERRUPTIONS),
            counted: Mutex::default(),
            kinds: Values::default(),
            subnets: Values::default(),
            zones: Values::default(),
        }
    }

    /// Creates the counters of a class.
    pub(super) fn zero_class(&self, class: &str) {
        for market in labels::MARKETS {
            for result in labels::LAUNCH_RESULTS {
                self.attempts.with_label_values(&[class, market, result]);
            }
        }
    }

    /// Creates the series of the offerings of these classes.
    pub(super) fn zero_offerings(&self, classes: &[Class]) {
        for machine in classes.iter().flat_map(|class| &class.machines) {
            let (kind, subnet) = self.place(machine);
            for reason in labels::REFUSED {
                self.refused.with_label_values(&[kind, subnet, reason]);
            }
        }
        let offerings = classes.iter().flat_map(|class| &class.machines).cloned();
        let available = |machine| Offering { machine, skipped: None };
        self.offered(&offerings.map(available).collect::<Vec<_>>());
    }

    /// Shows which offerings are skipped.
    pub(in crate::telemetry) fn offered(&self, offerings: &[Offering]) {
        // Those of a former configuration go.
        self.unavailable.reset();
        for Offering { machine, skipped } in offerings {
            let (kind, subnet) = self.place(machine);
            let series = [kind, subnet, labels::market(machine.market)];
            let value = if skipped.is_some() { 1.0 } else { 0.0 };
            self.unavailable.with_label_values(&series).set(value);
        }
    }

    /// Counts an attempted launch.
    pub(in crate::telemetry) fn launched(
        &self,
        class: &str,
        machine: Option<&MachineSpec>,
        error: Option<&PortError>,
    ) {
        let market = labels::market(machine.map(|machine| machine.market).unwrap_or_default());
        let result = labels::launch_result(error.map(|error| error.kind));
        self.attempts.with_label_values(&[class, market, result]).inc();
        if let (Some(machine), Some(reason)) = (machine, error.and_then(labels::refused)) {
            let (kind, subnet) = self.place(machine);
            self.refused.with_label_values(&[kind, subnet, reason]).inc();
        }
    }

    /// Creates the counters of interruptions where there are spot machines: only machines tell the
    /// zones.
    pub(in crate::telemetry) fn listed(&self, machines: &[Machine]) {
        let spot = machines.iter().filter(|machine| machine.market == Market::Spot);
        let places: BTreeSet<_> = spot.map(|m| (m.kind.as_str(), m.zone.as_str())).collect();
        for (kind, zone) in places {
            let (kind, zone) = (self.kinds.of(kind), self.zones.of(zone));
            self.interrupted.with_label_values(&[kind, zone]);
        }
        self.counted.lock().retain(|id| machines.iter().any(|machine| machine.id == *id));
    }

    /// Counts a machine that the cloud took back, once: its own run may tell it, and the run whose
    /// job was on it.
    pub(in crate::telemetry) fn interrupted(&self, machine: &Machine) {
        if machine.market == Market::Spot && self.counted.lock().insert(machine.id.clone()) {
            let (kind, zone) = (self.kinds.of(&machine.kind), self.zones.of(&machine.zone));
            self.interrupted.with_label_values(&[kind, zone]).inc();
        }
    }

    fn place<'a>(&self, machine: &'a MachineSpec) -> (&'a str, &'a str) {
        (self.kinds.of(&machine.kind), self.subnets.of(&machine.subnet))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_has_few_values() {
        let values = Values::default();
        assert_eq!((values.of("c7a.large"), values.of("")), ("c7a.large", "none"));
        for number in 0..100 {
            values.of(&format!("kind-{number}"));
        }
        assert_eq!(values.of("kind-99"), OTHER);
        assert_eq!((values.of("kind-3"), values.of("c7a.large")), ("kind-3", "c7a.large"));
        assert_eq!(values.0.lock().len(), MOST);
    }
}
