//! The workers: take wake-ups from the queue and reconcile the runs. One task at a time reconciles
//! a run; a run that is woken meanwhile is reconciled again.

use std::collections::HashMap;
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tinqs_ci_reconciler::controller::{Controller, ReconcileOutcome, Report};
use tinqs_ci_reconciler::model::RunName;
use tinqs_ci_reconciler::ports::{Delivery, PortError};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::guarded::guarded;
use super::state::{Intervals, stopped};
use crate::push::{Pushes, inbox_wake};
use crate::telemetry::{Telemetry, panic_message, traces};

#[cfg(feature = "aws")]
mod batch;

#[cfg(feature = "aws")]
pub(crate) use batch::at_once;

/// The number of tries after write conflicts; then the run is requeued.
const TRIES: u32 = 5;
/// The pause after an error or an empty answer of the queue, to avoid a busy loop.
const QUEUE_ERROR: Duration = Duration::from_secs(1);
const QUEUE_EMPTY: Duration = Duration::from_millis(20);

type Fetch = Pin<Box<dyn Future<Output = Result<Vec<Delivery>, PortError>> + Send>>;

/// The loop's state, owned by one task.
struct Workers {
    controller: Arc<Controller>,
    telemetry: Arc<Telemetry>,
    pushes: Option<Arc<Pushes>>,
    intervals: Intervals,
    stopping: watch::Receiver<bool>,
    /// One task per name.
    tasks: JoinSet<RunName>,
    /// Runs in progress, with the wake-ups that arrived since their reconcile began.
    since: HashMap<RunName, Vec<(Timestamp, Delivery)>>,
}

/// Reconciles woken runs until the server stops, then waits for reconciles in progress. With `idle`
/// it also ends after that time without a wake-up and without a reconcile in progress. A wake-up
/// about the inbox goes to `pushes`.
pub(crate) async fn run(
    controller: Arc<Controller>,
    telemetry: Arc<Telemetry>,
    pushes: Option<Arc<Pushes>>,
    intervals: Intervals,
    stopping: watch::Receiver<bool>,
    idle: Option<Duration>,
) {
    let mut stop = stopping.clone();
    let tasks = JoinSet::new();
    let since = HashMap::new();
    let mut workers = Workers { controller, telemetry, pushes, intervals, stopping, tasks, since };
    // Kept across iterations: dropping the future could lose received wake-ups.
    let mut fetch: Option<Fetch> = None;
    let mut pause = Duration::ZERO;
    loop {
        let free = workers.intervals.workers.max(1).saturating_sub(workers.tasks.len());
        if fetch.is_none() && free > 0 {
            let controller = workers.controller.clone();
            fetch = Some(Box::pin(async move {
                sleep(pause).await;
                controller.ports().queue.next(free).await
            }));
        }
        let quiet = workers.tasks.is_empty();
        tokio::select! {
            () = stopped(&mut stop) => break,
            () = sleep(idle.unwrap_or_default()), if quiet && idle.is_some() => break,
            Some(ended) = workers.tasks.join_next() => workers.ended(ended.ok()),
            answer = fetched(&mut fetch) => {
                fetch = None;
                pause = match &answer {
                    Ok(deliveries) if !deliveries.is_empty() => Duration::ZERO,
                    Ok(_) => QUEUE_EMPTY,
                    // Counted and logged by the port's decorator.
                    Err(_) => QUEUE_ERROR,
                };
                workers.take(answer.unwrap_or_default());
            }
        }
    }
    while workers.tasks.join_next().await.is_some() {}
}

async fn fetched(fetch: &mut Option<Fetch>) -> Result<Vec<Delivery>, PortError> {
    match fetch {
        Some(fetch) => fetch.await,
        None => pending().await,
    }
}

impl Workers {
    fn take(&mut self, deliveries: Vec<Delivery>) {
        for delivery in deliveries {
            match self.since.get_mut(&delivery.name) {
                Some(since) => since.push((self.telemetry.now(), delivery)),
                None => self.start(delivery.name.clone(), vec![delivery]),
            }
        }
        self.tell();
    }

    fn start(&mut self, name: RunName, deliveries: Vec<Delivery>) {
        self.since.insert(name.clone(), Vec::new());
        let worker = Worker {
            controller: self.controller.clone(),
            telemetry: self.telemetry.clone(),
            pushes: self.pushes.clone(),
            conflict: self.intervals.conflict,
            stopping: self.stopping.clone(),
        };
        self.tasks.spawn(async move {
            let queue = worker.controller.ports().queue.clone();
            if worker.at(&name).await {
                for delivery in deliveries {
                    // On failure the wake-up is delivered again, which is harmless.
                    let _ = queue.done(delivery).await;
                }
            }
            name
        });
    }

    /// Handles the end of a reconcile: starts another if the run was woken meanwhile.
    fn ended(&mut self, name: Option<RunName>) {
        // Never `None`: tasks catch panics, and are not aborted while the loop runs.
        let Some(name) = name else { return };
        let since = self.since.remove(&name).unwrap_or_default();
        if !since.is_empty() {
            self.start(name, since.into_iter().map(|(_, delivery)| delivery).collect());
        }
        self.tell();
    }

    fn tell(&self) {
        let held = self.since.values().map(Vec::len).sum();
        let oldest = self.since.values().flatten().map(|(since, _)| *since).min();
        self.telemetry.held.set(held, oldest);
    }
}

/// The reconcile of one woken run.
struct Worker {
    controller: Arc<Controller>,
    telemetry: Arc<Telemetry>,
    pushes: Option<Arc<Pushes>>,
    conflict: Duration,
    stopping: watch::Receiver<bool>,
}

impl Worker {
    /// Returns `true` if the wake-up is done, `false` if the queue must deliver it again.
    async fn at(mut self, name: &RunName) -> bool {
        if let Some(pushes) = self.pushes.as_ref().filter(|_| *name == inbox_wake()) {
            // Its items are durable: the wake-up is done before they are.
            pushes.read_now();
            return true;
        }
        for tried in 1..=TRIES {
            let Some(report) = self.once(name).await else { return false };
            match report.result {
                ReconcileOutcome::Settled | ReconcileOutcome::Acted => break,
                // The report's due time decides about the retry; without one, the queue does.
                ReconcileOutcome::Error if report.due.is_some() => break,
                ReconcileOutcome::Error => {
                    self.telemetry.metrics.queues.retried();
                    return false;
                }
                ReconcileOutcome::Conflict => {
                    self.telemetry.metrics.queues.retried();
                    if tried == TRIES {
                        return self.controller.ports().queue.wake(name).await.is_ok();
                    }
                    tokio::select! {
                        () = sleep(self.conflict * tried) => {}
                        () = stopped(&mut self.stopping) => return false,
                    }
                }
            }
        }
        true
    }

    /// Reconciles once and records the report. Returns `None` after a panic.
    async fn once(&self, name: &RunName) -> Option<Report> {
        let began = Instant::now();
        let recorded = async {
            match guarded(Box::pin(self.controller.reconcile(name))).await {
                Ok(report) => {
                    self.telemetry.record(&report, began.elapsed());
                    Some(report)
                }
                Err(panic) => {
                    self.telemetry.metrics.panicked("run");
                    let error = panic_message(panic.as_ref());
                    tracing::error!(run = name.as_str(), error, "reconcile panicked: a bug");
                    None
                }
            }
        };
        traces::reconcile(name, recorded).await
    }
}
