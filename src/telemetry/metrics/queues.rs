//! The families of queues: the queue of wake-ups, and the work of this process.

use jiff::Timestamp;
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
        metrics.shown(&QueueDepth::default(), Timestamp::UNIX_EPOCH);
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

    /// Shows what the queue of wake-ups holds.
    pub(in crate::telemetry) fn shown(&self, depth: &QueueDepth, now: Timestamp) {
        let QueueDepth { visible, in_flight, oldest_age, dead_letters } = *depth;
        let oldest = oldest_age.and_then(|age| now.checked_sub(age).ok()).map_or(0.0, seconds);
        let count = |messages| count(usize::try_from(messages).unwrap_or(usize::MAX));
        for (queue, state, messages) in [
            ("events", "visible", visible),
            ("events", "in_flight", in_flight),
            ("dlq", "visible", dead_letters),
            ("dlq", "in_flight", 0),
        ] {
            self.messages.with_label_values(&[queue, state]).set(count(messages));
        }
        self.oldest_message.with_label_values(&["events"]).set(oldest);
        self.oldest_message.with_label_values(&["dlq"]);
    }
}
