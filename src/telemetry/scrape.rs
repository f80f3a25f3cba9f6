//! The answer of `/metrics`: the last snapshot, whatever the services do.
//!
//! Every listing of the open runs, of whatever origin, makes the snapshot. A scrape that finds it
//! old asks for a new one, but hardly waits for it: a slow or unreachable store delays no scrape.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use parking_lot::Mutex;
use tinqs_ci_reconciler::controller::Controller;
use tinqs_ci_reconciler::ports::OpenRun;

use super::snapshot::Snapshot;
use super::{Telemetry, open_runs};

/// The age up to which a snapshot is shown as it is.
const FRESH: Duration = Duration::from_secs(3);
/// The time that a scrape waits for a newer snapshot.
const PATIENCE: Duration = Duration::from_millis(20);
/// The time that it waits for the first one.
const FIRST: Duration = Duration::from_secs(1);

/// The last exported values.
#[derive(Default)]
pub(super) struct Shown {
    /// The time when a listing of the open runs was last shown. Held while the gauges change or are
    /// read, so that a scrape sees one snapshot.
    listed: Mutex<Option<Instant>>,
    /// The time when the queue was last asked for its depth: no loop asks.
    asked: Mutex<Option<Instant>>,
    /// Only one scrape at a time asks.
    asking: tokio::sync::Mutex<()>,
}

impl Shown {
    fn is_listed(&self) -> bool {
        self.listed.lock().is_some_and(|at| at.elapsed() <= FRESH)
    }

    fn is_asked(&self) -> bool {
        self.asked.lock().is_some_and(|at| at.elapsed() <= FRESH)
    }
}

/// Wake-ups that were taken from the queue and whose reconcile has not begun.
#[derive(Default)]
pub struct HeldWakes {
    wakes: AtomicUsize,
    oldest: Mutex<Option<Timestamp>>,
}

impl HeldWakes {
    /// Sets how many there are, and since when the oldest waits.
    pub fn set(&self, wakes: usize, oldest: Option<Timestamp>) {
        self.wakes.store(wakes, Ordering::Relaxed);
        *self.oldest.lock() = oldest;
    }
}

impl Telemetry {
    /// Returns the metrics as Prometheus text: the last snapshot, or one that is made in a moment.
    /// Calls neither forge nor cloud.
    pub async fn scrape(self: &Arc<Self>, controller: &Arc<Controller>) -> String {
        self.refresh(controller).await;
        self.metrics_text(controller)
    }

    /// Makes a snapshot if the last one is old, but hardly waits for it.
    async fn refresh(self: &Arc<Self>, controller: &Arc<Controller>) {
        if !self.shown.is_listed() || !self.shown.is_asked() {
            let is_first = self.shown.listed.lock().is_none();
            let asked = tokio::spawn(ask(self.clone(), controller.clone()));
            let patience = if is_first { FIRST } else { PATIENCE };
            // A task that is not awaited continues, and serves the next scrape.
            let _ = tokio::time::timeout(patience, asked).await;
        }
    }

    /// Returns the metrics as they are, without a call.
    pub fn metrics_text(&self, controller: &Controller) -> String {
        let offerings = controller.offerings();
        let due = controller.earliest_due().filter(|due| *due <= self.now());
        let store = &controller.ports().store;
        let (unreadable, newer) = (store.unreadable(), store.newer().len());
        let foreign = controller.ports().compute.foreign().len();
        let _whole = self.shown.listed.lock();
        self.metrics.launches.offered(&offerings);
        self.metrics.queues.oldest("due", due);
        let held = self.held.wakes.load(Ordering::Relaxed);
        self.metrics.queues.depth("wake", held);
        self.metrics.queues.oldest("wake", *self.held.oldest.lock());
        self.metrics.unreadable(unreadable, newer);
        self.metrics.foreign(foreign);
        self.metrics.clock(controller.clock().ahead);
        self.metrics.text()
    }

    /// Shows a listing of the open runs, with the last listings of the others.
    pub(super) fn show(&self, open: &[OpenRun]) {
        let classes = self.classes.read().clone();
        let (_, machines) = self.seen.machines();
        let (_, mut registrations) = self.seen.registrations();
        if let Some(own) = &*self.installation.read() {
            registrations.retain(|row| !row.attempt_id.is_of_another(own));
        }
        let snapshot = Snapshot {
            classes: &classes,
            open,
            machines: &machines,
            registrations: &registrations,
            unserved: &self.unserved.last().unwrap_or_default(),
            now: self.now(),
        };
        let counts = snapshot.counts();
        let sampled = classes.iter().map(|class| {
            let class = class.name.0.as_str();
            let live = machines.iter().filter(|m| m.class.0 == class && m.is_live()).count();
            (class, counts.desired.get(class).copied().unwrap_or(0), live)
        });
        self.samples.note(sampled, snapshot.now);
        let mut listed = self.shown.listed.lock();
        self.metrics.show(&counts);
        self.metrics.queues.depth("due", counts.overdue);
        *listed = Some(Instant::now());
    }
}

/// Reads what a snapshot needs and no loop has just read. The store's decorator shows the listing.
async fn ask(telemetry: Arc<Telemetry>, controller: Arc<Controller>) {
    let _one_at_a_time = telemetry.shown.asking.lock().await;
    let ports = controller.ports();
    // Failures are counted and logged by the decorator; the last snapshot stays, with its time.
    if !telemetry.shown.is_asked() {
        let _ = ports.queue.depth().await;
        *telemetry.shown.asked.lock() = Some(Instant::now());
    }
    if !telemetry.shown.is_listed() {
        let _ = open_runs::read(telemetry.clone(), ports.store.clone(), Instant::now()).await;
    }
}
