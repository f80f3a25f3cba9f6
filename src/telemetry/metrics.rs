//! The metrics. Only this file and its folder use the `prometheus` crate.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use parking_lot::{Mutex, RwLock};
use prometheus::{
    Encoder, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec,
    Registry, TextEncoder,
};
use tinqs_ci_reconciler::controller::{Event, ReconcileOutcome, Report, SweepReport};
use tinqs_ci_reconciler::model::{Class, ClassName};
use tinqs_ci_reconciler::ports::ErrorKind;

use crate::push::PushResult;

mod classes;
mod config;
mod drift;
pub mod emf;
mod launches;
mod queues;
mod register;
mod reruns;
mod usage;
mod zero;

pub use config::ConfigMetrics;
pub use drift::DriftMetrics;
pub use launches::LaunchMetrics;
pub use queues::QueueMetrics;

pub use super::families::{FAMILIES, Family, Kind, Stability, schema};
use super::{families as f, labels};
use register::{CONSTANT, counter, counters, gauge, gauges, histograms, register};
use reruns::RerunMetrics;
use usage::UsageMetrics;

/// Buckets for waiting times of jobs, in seconds.
const WAIT_BUCKETS: [f64; 12] =
    [1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0];
/// Buckets for calls and passes, in seconds.
const CALL_BUCKETS: [f64; 12] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

/// All metrics of this process.
pub struct Metrics {
    registry: Registry,
    /// Configured classes, then `no_class`. A reload replaces them.
    classes: RwLock<Vec<String>>,
    /// Whether every possible series of these classes exists.
    complete: Mutex<bool>,
    limits: GaugeVec,
    snapshot_timestamp: GaugeVec,
    snapshot_errors: IntCounterVec,
    desired: GaugeVec,
    machines: GaugeVec,
    registrations: GaugeVec,
    runs: GaugeVec,
    jobs: GaugeVec,
    oldest_waiting: GaugeVec,
    unreadable: Gauge,
    newer: Gauge,
    foreign: Gauge,
    clock_ahead: Gauge,
    job_wait: HistogramVec,
    steps: HistogramVec,
    outcomes: IntCounterVec,
    reconcile: IntCounterVec,
    reconcile_duration: HistogramVec,
    reconcile_success: GaugeVec,
    panics: IntCounterVec,
    actions: IntCounterVec,
    leader: Gauge,
    webhooks: IntCounterVec,
    webhook_duration: Histogram,
    webhook_accepted: Gauge,
    pushes: IntCounterVec,
    push_duration: HistogramVec,
    resync_found: IntCounter,
    api_requests: IntCounterVec,
    api_duration: HistogramVec,
    breaker_opened: GaugeVec,
    paused: GaugeVec,
    unserved_jobs: Gauge,
    service_failing: GaugeVec,
    /// The configuration in force.
    pub config: ConfigMetrics,
    /// Drift.
    pub drift: DriftMetrics,
    /// Launches, offerings and interruptions.
    pub launches: LaunchMetrics,
    /// Queues.
    pub queues: QueueMetrics,
    /// Usage and cost.
    usage: UsageMetrics,
    reruns: RerunMetrics,
}

impl Metrics {
    /// Creates all families. The text has every possible series of these classes, with 0 at first.
    pub fn new(classes: &[Class]) -> Self {
        let registry = Registry::new();
        let r = &registry;
        let duration = HistogramOpts::new(f::WEBHOOK_DURATION.name, f::WEBHOOK_DURATION.help);
        let duration = Histogram::with_opts(duration.buckets(CALL_BUCKETS.to_vec()));
        let build = gauges(r, f::BUILD_INFO);
        let revision = option_env!("TINQS_CI_REVISION").unwrap_or("unknown");
        build.with_label_values(&[env!("CARGO_PKG_VERSION"), revision, "server"]).set(1.0);
        let metrics = Self {
            snapshot_timestamp: gauges(r, f::SNAPSHOT_TIMESTAMP),
            snapshot_errors: counters(r, f::SNAPSHOT_ERRORS),
            desired: gauges(r, f::DESIRED_MACHINES),
            machines: gauges(r, f::MACHINES),
            registrations: gauges(r, f::REGISTRATIONS),
            runs: gauges(r, f::RUNS),
            jobs: gauges(r, f::JOBS),
            oldest_waiting: gauges(r, f::OLDEST_WAITING),
            unreadable: gauge(r, f::UNREADABLE_RECORDS),
            newer: gauge(r, f::NEWER_RECORDS),
            foreign: gauge(r, f::FOREIGN_MACHINES),
            clock_ahead: gauge(r, f::CLOCK_AHEAD),
            job_wait: histograms(r, f::JOB_WAIT, &WAIT_BUCKETS),
            steps: histograms(r, f::STEP_DURATION, &WAIT_BUCKETS),
            outcomes: counters(r, f::RUN_OUTCOMES),
            reconcile: counters(r, f::RECONCILE),
            reconcile_duration: histograms(r, f::RECONCILE_DURATION, &CALL_BUCKETS),
            reconcile_success: gauges(r, f::RECONCILE_SUCCESS),
            panics: counters(r, f::PANICS),
            actions: counters(r, f::ACTIONS),
            leader: gauge(r, f::LEADER),
            webhooks: counters(r, f::WEBHOOKS),
            webhook_duration: register(r, duration.expect(CONSTANT)),
            webhook_accepted: gauge(r, f::WEBHOOK_ACCEPTED),
            pushes: counters(r, f::PUSHES),
            push_duration: histograms(r, f::PUSH_DURATION, &CALL_BUCKETS),
            resync_found: counter(r, f::RESYNC_FOUND),
            api_requests: counters(r, f::API_REQUESTS),
            api_duration: histograms(r, f::API_DURATION, &CALL_BUCKETS),
            breaker_opened: gauges(r, f::BREAKER_OPENED),
            paused: gauges(r, f::PAUSED),
            limits: gauges(r, f::CLASS_LIMIT),
            classes: RwLock::default(),
            complete: Mutex::default(),
            unserved_jobs: gauge(r, f::UNSERVED_JOBS),
            service_failing: gauges(r, f::SERVICE_FAILING),
            config: ConfigMetrics::new(r),
            drift: DriftMetrics::new(r),
            launches: LaunchMetrics::new(r),
            queues: QueueMetrics::new(r),
            usage: UsageMetrics::new(r),
            reruns: RerunMetrics::new(r),
            registry,
        };
        metrics.configure(classes);
        metrics
    }

    /// Returns the label of a class: its configured name, else `no_class`.
    pub(super) fn class<'a>(&self, name: Option<&'a str>) -> &'a str {
        let classes = self.classes.read();
        name.filter(|name| classes.iter().any(|class| class == name)).unwrap_or(labels::NO_CLASS)
    }

    /// Counts a finished reconcile.
    pub fn reconcile(&self, report: &Report, elapsed: Duration) {
        self.pass("run", report.result, elapsed, report.began_at);
        let class = self.class(report.class.as_ref().map(|class| class.0.as_str()));
        for effect in &report.effects {
            let result = if effect.error.is_none() { "ok" } else { "error" };
            self.actions.with_label_values(&[labels::action(effect.action), result]).inc();
        }
        for event in &report.events {
            match event {
                Event::Started { waited_seconds } => {
                    let waited = Duration::from_secs(u64::try_from(*waited_seconds).unwrap_or(0));
                    self.job_wait.with_label_values(&[class]).observe(waited.as_secs_f64());
                }
                Event::Finished { outcome, ran_ms: _ } => {
                    self.outcomes.with_label_values(&[class, labels::outcome(*outcome)]).inc();
                }
                Event::Counted { class, amount } => {
                    self.usage.counted(self.class(Some(&class.0)), amount);
                }
                Event::Interrupted { .. } | Event::Rerun { .. } => self.reruns.note(class, event),
                Event::Created
                | Event::Launched { .. }
                | Event::ClockDiffers { .. }
                | Event::ClockAgrees
                | Event::ConditionBegan { .. }
                | Event::ConditionEnded { .. } => {}
                Event::BreakerOpened { class, breaker } => self.stopped(class, breaker.since),
                Event::BreakerClosed { class, open_seconds: _ } => {
                    self.stopped(class, Timestamp::UNIX_EPOCH);
                }
            }
        }
    }

    /// Sets the breaker of refusals of the attempt's class; another class may serve the run now.
    fn stopped(&self, class: &ClassName, since: Timestamp) {
        let class = self.class(Some(&class.0));
        self.breaker_opened.with_label_values(&[class, labels::REFUSALS]).set(seconds(since));
    }

    /// Counts a finished poll (`demand`) or sweep (`sweep`).
    pub fn sweep(
        &self,
        controller: &'static str,
        report: &SweepReport,
        elapsed: Duration,
        at: Timestamp,
    ) {
        let result = match report {
            report if !report.errors.is_empty() => ReconcileOutcome::Error,
            report if report.created + report.woken > 0 => ReconcileOutcome::Acted,
            _ => ReconcileOutcome::Settled,
        };
        self.pass(controller, result, elapsed, at);
        self.leader.set(if report.leader { 1.0 } else { 0.0 });
        self.resync_found.inc_by(report.created as u64);
    }

    /// Returns the number of jobs that no webhook announced.
    pub fn found_by_polling(&self) -> u64 {
        self.resync_found.get()
    }

    /// Sets the number of records that could not be decoded, and of those of a newer format.
    pub(super) fn unreadable(&self, records: usize, newer: usize) {
        self.unreadable.set(count(records));
        self.newer.set(count(newer));
    }

    /// Sets the number of machines that only carry our tags.
    pub(super) fn foreign(&self, machines: usize) {
        self.foreign.set(count(machines));
    }

    /// Sets how far the clock is ahead of the true time.
    pub(super) fn clock(&self, ahead: Option<SignedDuration>) {
        self.clock_ahead.set(ahead.unwrap_or_default().as_secs_f64());
    }

    /// Sets the number of waiting jobs that no class serves.
    pub(super) fn unserved(&self, jobs: usize) {
        self.unserved_jobs.set(count(jobs));
    }

    /// Sets since when a service fails; the epoch if it works.
    pub(super) fn service_failing(&self, service: &str, since: Timestamp) {
        self.service_failing.with_label_values(&[service]).set(seconds(since));
    }

    /// Counts a pass of a loop.
    pub fn pass(
        &self,
        controller: &'static str,
        result: ReconcileOutcome,
        elapsed: Duration,
        at: Timestamp,
    ) {
        self.reconcile.with_label_values(&[controller, labels::pass_result(result)]).inc();
        self.reconcile_duration.with_label_values(&[controller]).observe(elapsed.as_secs_f64());
        match result {
            ReconcileOutcome::Settled | ReconcileOutcome::Acted => {
                self.reconcile_success.with_label_values(&[controller]).set(seconds(at));
            }
            ReconcileOutcome::Conflict | ReconcileOutcome::Error => {}
        }
    }

    /// Counts a caught panic.
    pub fn panicked(&self, controller: &'static str) {
        self.panics.with_label_values(&[controller]).inc();
        self.reconcile.with_label_values(&[controller, "panic"]).inc();
    }

    /// Counts an answered webhook.
    pub fn webhook(
        &self,
        event: &'static str,
        result: &'static str,
        elapsed: Duration,
        at: Timestamp,
    ) {
        self.webhooks.with_label_values(&[event, result]).inc();
        self.webhook_duration.observe(elapsed.as_secs_f64());
        if result == "accepted" {
            self.webhook_accepted.set(seconds(at));
        }
    }

    /// Counts a finished evaluation of push mode.
    pub fn push(&self, result: PushResult, elapsed: Duration) {
        let result = labels::push_result(result);
        self.pushes.with_label_values(&[result]).inc();
        self.push_duration.with_label_values(&[result]).observe(elapsed.as_secs_f64());
    }

    /// Counts a call to a port.
    pub(super) fn call(
        &self,
        service: &'static str,
        operation: &'static str,
        error: Option<ErrorKind>,
        elapsed: Duration,
    ) {
        self.api_requests.with_label_values(&[service, operation, labels::code(error)]).inc();
        if is_timed(service, operation) {
            let series = self.api_duration.with_label_values(&[service, operation]);
            series.observe(elapsed.as_secs_f64());
        }
    }

    /// Records the time that a step of a run took.
    pub(super) fn step(&self, class: &str, step: &str, took: SignedDuration) {
        let took = took.as_secs_f64().max(0.0);
        self.steps.with_label_values(&[class, step]).observe(took);
    }

    /// Records a listing of a source; `None` is a failed one.
    pub(super) fn listed(&self, source: &'static str, at: Option<Timestamp>) {
        match at {
            Some(at) => self.snapshot_timestamp.with_label_values(&[source]).set(seconds(at)),
            None => self.snapshot_errors.with_label_values(&[source]).inc(),
        }
    }

    /// Returns the metrics as Prometheus text.
    pub fn text(&self) -> String {
        self.complete();
        let mut bytes = Vec::new();
        // Writing to memory fails only for a family without series, which is then left out.
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut bytes) {
            tracing::error!(error = %error, "cannot encode metrics");
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Returns the number of series. Each bucket, sum and count of a histogram is one.
    #[cfg(test)]
    pub(super) fn series(&self) -> usize {
        self.text().lines().filter(|line| !line.starts_with('#')).count()
    }
}

/// Whether a call's duration is recorded: waiting for a wake-up is not work.
fn is_timed(service: &str, operation: &str) -> bool {
    (service, operation) != ("queue", "next")
}

/// Returns a time as Unix seconds.
pub(super) fn seconds(at: Timestamp) -> f64 {
    at.as_duration().as_secs_f64()
}

/// Returns a number for a gauge.
fn count(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}
