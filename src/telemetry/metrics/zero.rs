//! The series of what has not happened yet: one that is missing cannot trigger an alert.

use super::super::labels;
use super::{Metrics, is_timed};

impl Metrics {
    /// Creates the series that are missing after a start or a reload. The first text needs them, so
    /// that the start, half of which they would be, does not wait for them.
    pub(super) fn complete(&self) {
        let mut complete = self.complete.lock();
        if *complete {
            return;
        }
        self.zero();
        for class in self.classes.read().iter() {
            self.zero_class(class);
        }
        *complete = true;
    }

    /// Creates the counters and histograms that are not of a class.
    fn zero(&self) {
        self.reruns.zero();
        self.drift.zero();
        for source in labels::SOURCES {
            self.snapshot_timestamp.with_label_values(&[source]);
            self.snapshot_errors.with_label_values(&[source]);
        }
        for controller in labels::CONTROLLERS {
            for result in labels::PASS_RESULTS {
                self.reconcile.with_label_values(&[controller, result]);
            }
            self.reconcile_duration.with_label_values(&[controller]);
            self.reconcile_success.with_label_values(&[controller]);
            self.panics.with_label_values(&[controller]);
        }
        for action in labels::ACTIONS {
            for result in labels::ACTION_RESULTS {
                self.actions.with_label_values(&[action, result]);
            }
        }
        for event in labels::EVENTS {
            for result in labels::WEBHOOK_RESULTS {
                self.webhooks.with_label_values(&[event, result]);
            }
        }
        for result in labels::PUSH_RESULTS {
            self.pushes.with_label_values(&[result]);
            self.push_duration.with_label_values(&[result]);
        }
        for (service, operations) in labels::CALLS {
            self.service_failing.with_label_values(&[service]);
            for operation in operations {
                for code in labels::CODES {
                    self.api_requests.with_label_values(&[service, *operation, code]);
                }
                if is_timed(service, operation) {
                    self.api_duration.with_label_values(&[service, *operation]);
                }
            }
        }
    }

    /// Creates the counters, histograms and the breakers of a class.
    fn zero_class(&self, class: &str) {
        self.job_wait.with_label_values(&[class]);
        self.drift.zero_class(class);
        self.reruns.zero_class(class);
        for cause in labels::BREAKER_CAUSES {
            self.breaker_opened.with_label_values(&[class, cause]);
        }
        self.paused.with_label_values(&[class]);
        for outcome in labels::OUTCOMES {
            self.outcomes.with_label_values(&[class, outcome]);
        }
        self.launches.zero_class(class);
        for step in labels::STEPS {
            self.steps.with_label_values(&[class, step]);
        }
    }
}
