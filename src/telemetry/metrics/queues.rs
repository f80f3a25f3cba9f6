//! The families of queues: the queue of wake-ups, and the work of this process.

use jiff::{SignedDuration, Timestamp};
use prometheus::{GaugeVec, IntCounterVec, Registry};
use tinqs_ci_reconciler::ports::QueueDepth;

use super::super::{families as f, labels};
use super::register::{counters, gauges};
use super::{count, seconds};

/// The families of queues.
pub struct QueueMetrics {
    depth: GaugeVec,
    oldest: GaugeVec,
    retries: IntCounterVec,
    messages: GaugeVec,
    oldest_message: GaugeVec,
}

impl QueueMetrics {
    pub(super) fn new(registry: &Registry) -> Self {
        let metrics = Self {
            depth: gauges(registry, f::WORKQUEUE_DEPTH),
            oldest: gauges(registry, f::WORKQUEUE_OLDEST),
            retries: counters(registry, f::WORKQUEUE_RETRIES),
            messages: gauges(registry, f::QUEUE_MESSAGES),
            oldest_message: gauges(registry, f::QUEUE_OLDEST),
        };
        for queue in labels::WORK_QUEUES {
            metrics.depth.with_label_values(&[queue]);
            metrics.oldest.with_label_values(&[queue]);
        }
        metrics.retries.with_label_values(&["wake"]);
        metrics
    }

    /// Counts a reconcile that is repeated.
    pub fn retried(&self) {
        self.retries.with_label_values(&["wake"]).inc();
    }

    /// Shows how much work of a kind waits.
    pub(in crate::telemetry) fn depth(&self, queue: &str, waiting: usize) {
        self.depth.with_label_values(&[queue]).set(count(waiting));
    }

    /// Shows since when the oldest work of a kind waits.
    pub(in crate::telemetry) fn oldest(&self, queue: &str, since: Option<Timestamp>) {
        self.oldest.with_label_values(&[queue]).set(since.map_or(0.0, seconds));
    }

    /// Shows what the queue of wake-ups holds; `None`: it does not tell. Leaves out the series
    /// whose value is not known.
    pub(in crate::telemetry) fn shown(&self, depth: Option<&QueueDepth>, now: Timestamp) {
        let dead_letters = depth.and_then(|depth| depth.dead_letters);
        for (queue, state, messages) in [
            ("events", "visible", depth.map(|depth| depth.visible)),
            ("events", "in_flight", depth.map(|depth| depth.in_flight)),
            ("dlq", "visible", dead_letters),
            ("dlq", "in_flight", dead_letters.map(|_| 0)),
        ] {
            let messages = messages.map(|all| count(usize::try_from(all).unwrap_or(usize::MAX)));
            show(&self.messages, &[queue, state], messages);
        }
        let since = |age: SignedDuration| now.checked_sub(age).ok().map(seconds);
        let oldest = depth.map(|depth| depth.oldest_age.and_then(since).unwrap_or(0.0));
        show(&self.oldest_message, &["events"], oldest);
        // No queue tells the age of a dead letter.
        let none = dead_letters.filter(|dead_letters| *dead_letters == 0);
        show(&self.oldest_message, &["dlq"], none.map(|_| 0.0));
    }
}

/// Sets a series, or removes it if its value is not known.
fn show(gauges: &GaugeVec, labels: &[&str], value: Option<f64>) {
    if let Some(value) = value {
        gauges.with_label_values(labels).set(value);
    } else {
        // It may not be there.
        let _ = gauges.remove_label_values(labels);
    }
}

#[cfg(test)]
mod tests {
    use prometheus::TextEncoder;

    use super::*;

    #[test]
    fn what_a_queue_does_not_tell_is_not_shown() {
        let registry = Registry::new();
        let metrics = QueueMetrics::new(&registry);
        let shown = |depth: Option<QueueDepth>| {
            metrics.shown(depth.as_ref(), Timestamp::UNIX_EPOCH);
            let text = TextEncoder::new().encode_to_string(&registry.gather()).expect("text");
            let lines = text.lines().filter(|line| line.starts_with("tinqs_ci_queue_"));
            let of = |queue: &str| lines.clone().filter(|line| line.contains(queue)).count();
            (of("\"events\""), of("\"dlq\""))
        };
        let with = |dead_letters| Some(QueueDepth { dead_letters, ..QueueDepth::default() });
        assert_eq!(shown(None), (0, 0), "it was not asked yet");
        assert_eq!(shown(with(Some(0))), (3, 3));
        assert_eq!(shown(with(Some(2))), (3, 2), "nothing tells the age of a dead letter");
        assert_eq!(shown(with(None)), (3, 0));
        assert_eq!(shown(None), (0, 0));
    }
}
