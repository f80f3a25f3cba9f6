//! The series of the configured classes, which a reload replaces.

use tinqs_ci_reconciler::model::{BootStop, Class, ClassName, Pause, SpotBreaker, paused};

use super::super::labels;
use super::super::snapshot::Counts;
use super::{Metrics, count, seconds};

impl Metrics {
    /// Follows the configured classes: shows new ones, and removes the gauges of those that are
    /// gone. Their counters stay, because they have counted.
    pub fn configure(&self, classes: &[Class]) {
        let mut names: Vec<String> = classes.iter().map(|class| class.name.0.clone()).collect();
        names.push(labels::NO_CLASS.to_owned());
        let mut known = self.classes.write();
        for name in names.iter().filter(|name| !known.contains(name)) {
            self.drift.add_class(name);
            self.usage.zero_class(name);
            self.show_class(name, &Counts::default());
        }
        for name in known.iter().filter(|name| !names.contains(name)) {
            self.remove_gauges(name);
        }
        for class in classes {
            let limit = class.limit.map_or(0.0, f64::from);
            self.limits.with_label_values(&[class.name.0.as_str(), "max"]).set(limit);
            self.usage.budget(&class.name.0, class.budget);
        }
        self.launches.zero_offerings(classes);
        *known = names;
        drop(known);
        *self.complete.lock() = false;
    }

    /// Shows which classes are paused.
    pub(crate) fn paused(&self, pauses: &[Pause]) {
        for class in self.classes.read().iter().filter(|class| *class != labels::NO_CLASS) {
            let is_paused = paused(pauses, &ClassName(class.clone())).is_some();
            self.paused.with_label_values(&[class]).set(if is_paused { 1.0 } else { 0.0 });
        }
    }

    /// Shows since when the machines of each class never come online.
    pub(crate) fn boot_stops(&self, stops: &[(ClassName, BootStop)]) {
        for class in self.classes.read().iter().filter(|class| *class != labels::NO_CLASS) {
            let stop = stops.iter().find(|(stopped, _)| stopped.0 == *class);
            let since = stop.map_or(0.0, |(_, stop)| seconds(stop.since));
            let series = [class.as_str(), labels::NEVER_ONLINE];
            self.breaker_opened.with_label_values(&series).set(since);
        }
    }

    /// Shows since when the spot breaker of each class is open.
    pub(crate) fn spot_breakers(&self, breakers: &[(ClassName, SpotBreaker)]) {
        for class in self.classes.read().iter().filter(|class| *class != labels::NO_CLASS) {
            let open = breakers.iter().find(|(open, _)| open.0 == *class);
            self.reruns.breaker(class, open.map(|(_, breaker)| breaker));
        }
    }

    /// Shows the runs, jobs, machines and registrations of each class.
    pub(in crate::telemetry) fn show(&self, counts: &Counts<'_>) {
        for class in self.classes.read().iter() {
            self.show_class(class, counts);
        }
    }

    fn show_class(&self, class: &str, counts: &Counts<'_>) {
        let number = |of: Option<&usize>| count(of.copied().unwrap_or(0));
        self.desired.with_label_values(&[class]).set(number(counts.desired.get(class)));
        let oldest = counts.oldest.get(class).map_or(0.0, |since| seconds(*since));
        self.oldest_waiting.with_label_values(&[class]).set(oldest);
        for state in labels::MACHINE_STATES {
            for market in labels::MARKETS {
                let machines = number(counts.machines.get(&(class, state, market)));
                self.machines.with_label_values(&[class, state, market]).set(machines);
            }
        }
        for status in labels::REGISTRATION_STATES {
            let registrations = number(counts.registrations.get(&(class, status)));
            self.registrations.with_label_values(&[class, status]).set(registrations);
        }
        for stage in labels::STAGES {
            let runs = number(counts.runs.get(&(class, stage)));
            self.runs.with_label_values(&[class, stage]).set(runs);
        }
        for status in labels::JOB_STATES {
            let jobs = number(counts.jobs.get(&(class, status)));
            self.jobs.with_label_values(&[class, status]).set(jobs);
        }
    }

    /// Removes the gauges of a class. One that has no such series is left alone.
    fn remove_gauges(&self, class: &str) {
        self.drift.remove_class(class);
        self.usage.remove_gauges(class);
        self.reruns.remove_gauges(class);
        let _ = self.limits.remove_label_values(&[class, "max"]);
        for gauges in [&self.desired, &self.oldest_waiting, &self.paused] {
            let _ = gauges.remove_label_values(&[class]);
        }
        for cause in labels::BREAKER_CAUSES {
            let _ = self.breaker_opened.remove_label_values(&[class, cause]);
        }
        for state in labels::MACHINE_STATES {
            for market in labels::MARKETS {
                let _ = self.machines.remove_label_values(&[class, state, market]);
            }
        }
        for status in labels::REGISTRATION_STATES {
            let _ = self.registrations.remove_label_values(&[class, status]);
        }
        for stage in labels::STAGES {
            let _ = self.runs.remove_label_values(&[class, stage]);
        }
        for status in labels::JOB_STATES {
            let _ = self.jobs.remove_label_values(&[class, status]);
        }
    }
}
