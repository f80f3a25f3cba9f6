//! One incarnation of a replica: the loops of `serve` around a controller, as tasks of one group.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::task::{Poll, Waker};

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use tinqs_ci_reconciler::controller::{Controller, Hint, Settings};
use tinqs_ci_reconciler::model::{
    AttemptId, InstallationId, JobRef, RecordFormats, Run, RunName, SeenBy, Spec, serving,
};
use tinqs_ci_reconciler::ports::{Clock, Delivery, ErrorKind, Expect, WaitingJob};

use super::variant::Variant;
use crate::executor::{Group, Scheduler};
use crate::ports::{self, SimulatedPorts};
use crate::world::Shared;

/// A live replica.
#[derive(Clone)]
pub(super) struct Replica {
    pub(super) group: Group,
    world: Shared,
    scheduler: Scheduler,
    controller: Arc<Controller>,
    inbox: Arc<Mutex<Inbox>>,
    variant: Arc<dyn Variant>,
}

/// Runs to reconcile.
#[derive(Default)]
struct Inbox {
    /// A later delivery of a name replaces earlier ones.
    pending: BTreeMap<RunName, Delivery>,
    /// Names being reconciled, each by one task.
    working: BTreeSet<RunName>,
    /// The task that waits for due times.
    dues: Option<Waker>,
}

/// The program of a replica.
pub(super) struct Release {
    pub(super) settings: Settings,
    /// The formats that it reads and writes, where releases differ in them.
    pub(super) formats: Option<RecordFormats>,
    pub(super) variant: Arc<dyn Variant>,
}

/// Starts a replica's loops.
pub(super) fn start(
    world: &Shared,
    scheduler: &Scheduler,
    group: Group,
    clock: Arc<dyn Clock>,
    release: Release,
) -> Replica {
    let Release { settings, formats, variant } = release;
    let ports = SimulatedPorts::simulated(world.clone(), scheduler.clone(), group).ports(clock);
    let mut controller = Controller::new(variant.ports(ports, world), settings);
    if let Some(formats) = formats {
        world.lock().releases.starts(group, formats);
        controller = controller.of_formats(formats);
    }
    let replica = Replica {
        group,
        world: world.clone(),
        scheduler: scheduler.clone(),
        controller: Arc::new(controller.deciding_by(variant.plan())),
        inbox: Arc::default(),
        variant,
    };
    scheduler.spawn(group, replica.clone().take_deliveries());
    scheduler.spawn(group, replica.clone().poll());
    scheduler.spawn(group, replica.clone().sweep());
    scheduler.spawn(group, replica.clone().wake_due());
    replica
}

impl Replica {
    async fn take_deliveries(self) {
        let queue = self.controller.ports().queue.clone();
        loop {
            match queue.next(10).await {
                Ok(deliveries) => deliveries.into_iter().for_each(|d| self.take(d)),
                Err(_) => self.scheduler.sleep(SignedDuration::from_secs(1)).await,
            }
        }
    }

    fn take(&self, delivery: Delivery) {
        let mut inbox = self.inbox.lock();
        let name = delivery.name.clone();
        if let Some(earlier) = inbox.pending.insert(name.clone(), delivery) {
            self.scheduler.spawn(self.group, self.clone().done(earlier));
        }
        if inbox.working.insert(name.clone()) {
            self.scheduler.spawn(self.group, self.clone().reconcile(name));
        }
    }

    /// Reconciles a run until no delivery for it is pending.
    async fn reconcile(self, name: RunName) {
        loop {
            let delivery = {
                let mut inbox = self.inbox.lock();
                match inbox.pending.remove(&name) {
                    Some(delivery) => delivery,
                    None => {
                        inbox.working.remove(&name);
                        return;
                    }
                }
            };
            let report = self.variant.reconcile(&self.controller, &name).await;
            {
                let mut world = self.world.lock();
                let now = world.now();
                let done: Vec<String> =
                    report.effects.iter().map(|e| format!("{:?}({})", e.action, e.rule)).collect();
                let line = format!(
                    "[{}] reconcile {name} {:?} {:?} due {:?} {} {}",
                    self.group,
                    report.result,
                    report.phase,
                    report.due.map(|due| due.duration_since(now).as_secs()),
                    done.join(" "),
                    report.error.as_deref().unwrap_or("")
                );
                world.tell(&line);
                world.laws.on_report(now, &report);
            }
            if let Some(waker) = self.inbox.lock().dues.take() {
                waker.wake();
            }
            self.clone().done(delivery).await;
        }
    }

    async fn done(self, delivery: Delivery) {
        // A delivery that is not done comes again.
        let _ = self.controller.ports().queue.done(delivery).await;
    }

    async fn poll(self) {
        let every = self.controller.settings().poll_every;
        loop {
            self.controller.poll().await;
            if let Some(waker) = self.inbox.lock().dues.take() {
                waker.wake();
            }
            self.scheduler.sleep(every).await;
        }
    }

    async fn sweep(self) {
        let every = self.controller.settings().sweep_every;
        loop {
            self.controller.sweep().await;
            self.scheduler.sleep(every).await;
        }
    }

    /// Wakes due runs at most once a second, and not before one is due.
    async fn wake_due(self) {
        let second = SignedDuration::from_secs(1);
        loop {
            self.scheduler.sleep(second).await;
            let due = self.controller.earliest_due();
            // The controller reads its own clock, which may be wrong.
            let ahead = self.controller.ports().clock.now().duration_since(self.scheduler.now());
            let due = due.map(|due| due - ahead);
            if due.is_none_or(|due| due > self.scheduler.now()) {
                self.until_due(due).await;
            }
            self.controller.wake_due().await;
        }
    }

    /// Waits until a time, or until due times may have changed.
    async fn until_due(&self, due: Option<Timestamp>) {
        let mut sleep = due.map(|due| self.scheduler.sleep_until(due));
        let mut asked = false;
        std::future::poll_fn(|context| {
            let rang = sleep
                .as_mut()
                .is_some_and(|sleep| std::pin::Pin::new(sleep).poll(context).is_ready());
            if rang || asked {
                return Poll::Ready(());
            }
            asked = true;
            self.inbox.lock().dues = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Applies other settings.
    pub(super) fn configure(&self, settings: Settings) {
        self.controller.configure(settings);
    }

    /// Handles a push that needs a runner for this job. A push that is not accepted is sent again.
    pub(super) async fn ingest_push(self, job: i64) {
        let waiting = self.world.lock().forge().job(job).map(ports::waiting_job);
        let Some(WaitingJob { job: reference, runs_on, about, created_at: _ }) = waiting else {
            return;
        };
        let (id, number) = (reference.repo_id.to_string(), job.to_string());
        let parts = [&id, "refs/heads/main", &about.commit, "ci.yml", &about.job, &number];
        let name = RunName::push(&parts);
        let unknown = JobRef { job_id: 0, ..reference };
        let spec = Spec { job: unknown, runs_on, about, ..Spec::default() };
        let own = self.controller.ports();
        let run = Run::new("simulated", name.clone(), spec, SeenBy::Push, own.clock.now());
        match own.store.put(&run, Expect::Absent).await {
            Err(error) if error.kind != ErrorKind::Conflict => return,
            Ok(_) | Err(_) => {}
        }
        self.world.lock().taken.insert(job);
        // The run is durable and due: a lost wake-up only costs the time until the next poll.
        let _ = own.queue.wake(&name).await;
    }

    /// Handles a webhook. The forge never sends it again, whatever the response.
    pub(super) async fn ingest(self, hint: Hint) {
        let own = self.controller.settings().installation_id();
        let before: Vec<(RunName, u64, bool)> = {
            let world = self.world.lock();
            names(&hint, &own)
                .into_iter()
                .map(|n| (n.clone(), world.laws.woken(&n), world.records.run(&n).is_some()))
                .collect()
        };
        let began = self.scheduler.now();
        let taken = self.controller.ingest(std::slice::from_ref(&hint)).await.is_ok();
        if !taken {
            return;
        }
        let settings = self.controller.settings();
        let mut world = self.world.lock();
        let now = world.now();
        let quick = now.duration_since(began) < SignedDuration::from_secs(30);
        for (name, woken, was_there) in before {
            let is_there = world.records.run(&name).is_some();
            let expected = match &hint {
                Hint::Queued(job) => {
                    serving(&settings.classes, &job.job.repo, &job.runs_on).is_some()
                }
                // A run that was there may be removed since, and needs no wake-up then.
                Hint::Job { .. } => was_there && is_there && quick,
            };
            let recorded = matches!(hint, Hint::Queued(_)) && is_there;
            let durable = recorded || world.laws.woken(&name) > woken;
            world.laws.on_ingested(now, &name, durable || !expected);
        }
    }
}

/// Returns the runs that a hint concerns. A runner of another installation names none of ours.
fn names(hint: &Hint, own: &InstallationId) -> Vec<RunName> {
    match hint {
        Hint::Queued(job) => vec![RunName::job(job.job.job_id)],
        Hint::Job { job_id, runner } => {
            let attempt_id = runner.as_deref().and_then(|name| name.parse::<AttemptId>().ok());
            let attempt_id = attempt_id.filter(|it| !it.is_of_another(own));
            std::iter::once(RunName::job(*job_id)).chain(attempt_id.map(|s| s.run)).collect()
        }
    }
}
