//! Queue → look. A name is looked at by one task at a time; woken meanwhile, it is looked at again.

use std::collections::HashMap;
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tinqs_ci_reconciler::controller::{Controller, LookResult, Report};
use tinqs_ci_reconciler::model::RunName;
use tinqs_ci_reconciler::ports::{Delivery, PortError};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::guarded::guarded;
use super::state::{Paces, stopped};
use crate::telemetry::{Telemetry, panic_message};

#[cfg(feature = "aws")]
mod batch;

#[cfg(feature = "aws")]
pub(crate) use batch::at_once;

/// Looks in a row at a run that others write too; then it goes to the end of the queue.
const TRIES: u32 = 5;
/// After an error or an empty answer of the queue: no hot loop.
const QUEUE_ERROR: Duration = Duration::from_secs(1);
const QUEUE_EMPTY: Duration = Duration::from_millis(20);

type Fetch = Pin<Box<dyn Future<Output = Result<Vec<Delivery>, PortError>> + Send>>;

/// The loop's state, owned by one task.
struct Looks {
    controller: Arc<Controller>,
    telemetry: Arc<Telemetry>,
    paces: Paces,
    stopping: watch::Receiver<bool>,
    /// One task per name.
    tasks: JoinSet<RunName>,
    /// Names under way, with the wake-ups that came since their look began.
    since: HashMap<RunName, Vec<Delivery>>,
}

/// Takes wake-ups and looks until the server stops; then lets the looks under way end. With `idle`
/// it ends too once nothing came for so long and no look is under way.
pub(crate) async fn run(
    controller: Arc<Controller>,
    telemetry: Arc<Telemetry>,
    paces: Paces,
    stopping: watch::Receiver<bool>,
    idle: Option<Duration>,
) {
    let mut stop = stopping.clone();
    let tasks = JoinSet::new();
    let since = HashMap::new();
    let mut looks = Looks { controller, telemetry, paces, stopping, tasks, since };
    // Kept over rounds: a queue that is asked must not be dropped in the middle of its answer.
    let mut fetch: Option<Fetch> = None;
    let mut pause = Duration::ZERO;
    loop {
        let free = looks.paces.looks.max(1).saturating_sub(looks.tasks.len());
        if fetch.is_none() && free > 0 {
            let controller = looks.controller.clone();
            fetch = Some(Box::pin(async move {
                sleep(pause).await;
                controller.ports().queue.next(free).await
            }));
        }
        let quiet = looks.tasks.is_empty();
        tokio::select! {
            () = stopped(&mut stop) => break,
            () = sleep(idle.unwrap_or_default()), if quiet && idle.is_some() => break,
            Some(ended) = looks.tasks.join_next() => looks.ended(ended.ok()),
            answer = fetched(&mut fetch) => {
                fetch = None;
                pause = match &answer {
                    Ok(deliveries) if !deliveries.is_empty() => Duration::ZERO,
                    Ok(_) => QUEUE_EMPTY,
                    // The port's decorator has counted and logged it.
                    Err(_) => QUEUE_ERROR,
                };
                looks.take(answer.unwrap_or_default());
            }
        }
    }
    while looks.tasks.join_next().await.is_some() {}
}

async fn fetched(fetch: &mut Option<Fetch>) -> Result<Vec<Delivery>, PortError> {
    match fetch {
        Some(fetch) => fetch.await,
        None => pending().await,
    }
}

impl Looks {
    fn take(&mut self, deliveries: Vec<Delivery>) {
        for delivery in deliveries {
            match self.since.get_mut(&delivery.name) {
                Some(since) => since.push(delivery),
                None => self.start(delivery.name.clone(), vec![delivery]),
            }
        }
        self.tell();
    }

    fn start(&mut self, name: RunName, deliveries: Vec<Delivery>) {
        self.since.insert(name.clone(), Vec::new());
        let look = Look {
            controller: self.controller.clone(),
            telemetry: self.telemetry.clone(),
            conflict: self.paces.conflict,
            stopping: self.stopping.clone(),
        };
        self.tasks.spawn(async move {
            let queue = look.controller.ports().queue.clone();
            if look.at(&name).await {
                for delivery in deliveries {
                    // Where it fails the wake-up comes again: a look too many.
                    let _ = queue.done(delivery).await;
                }
            }
            name
        });
    }

    /// A look is over: whoever was woken meanwhile is looked at again.
    fn ended(&mut self, name: Option<RunName>) {
        // `None` cannot be: tasks catch panics, and nobody aborts them while the loop goes.
        let Some(name) = name else { return };
        let since = self.since.remove(&name).unwrap_or_default();
        if !since.is_empty() {
            self.start(name, since);
        }
        self.tell();
    }

    fn tell(&self) {
        let held = self.since.values().map(Vec::len).sum();
        self.telemetry.held.store(held, Ordering::Relaxed);
    }
}

/// One name's turn.
struct Look {
    controller: Arc<Controller>,
    telemetry: Arc<Telemetry>,
    conflict: Duration,
    stopping: watch::Receiver<bool>,
}

impl Look {
    /// `true`: the wake-up is done with. Otherwise it is to come again, in the queue's own time.
    async fn at(mut self, name: &RunName) -> bool {
        for tried in 1..=TRIES {
            // A panic is a defect.
            let Some(report) = self.once(name).await else { return false };
            match report.result {
                LookResult::Settled | LookResult::Acted => break,
                // The controller knows when to look again; where it does not, the queue does.
                LookResult::Error if report.due.is_some() => break,
                LookResult::Error => {
                    self.telemetry.metrics.retried();
                    return false;
                }
                LookResult::Conflict => {
                    self.telemetry.metrics.retried();
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

    /// One look, told. `None`: it panicked (the panic hook has logged where).
    async fn once(&self, name: &RunName) -> Option<Report> {
        let began = Instant::now();
        match guarded(self.controller.reconcile(name)).await {
            Ok(report) => {
                self.telemetry.record(&report, began.elapsed());
                Some(report)
            }
            Err(panic) => {
                self.telemetry.metrics.panicked("run");
                let error = panic_message(panic.as_ref());
                tracing::error!(run = name.as_str(), error, "a look panicked: a defect");
                None
            }
        }
    }
}
