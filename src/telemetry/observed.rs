//! Decorates the ports: counts and times each call, and notes the contact.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp, civil::Date};
use parking_lot::Mutex;
use tinqs_ci_reconciler::model::{
    Attempt, AttemptId, ClassName, JobRef, JobRunner, Machine, MachineId, MachineSpec, MicroUsd,
    Pause, Registration, Registrations, RepoRef, RerunKey, RerunScope, Reruns, Run, RunName,
    Runner, SeatLimits, Uid, Usage, WorkflowRun,
};
use tinqs_ci_reconciler::ports::{
    Compute, Delivery, ErrorKind, Expect, Filter, Forge, MachineLog, NewerRecord, OpenRun, Page,
    PortError, Ports, Queue, QueueDepth, ReadByAll, RegistrationLists, RerunAnswer, RunStore, Seat,
    SeenJob, TrueTime, WaitingJob,
};

use super::{Telemetry, labels, traces};

/// The last listings, so that a scrape calls neither cloud nor forge.
#[derive(Default)]
pub struct Seen {
    machines: Mutex<Option<(Timestamp, Vec<Machine>)>>,
    /// By repository; 0 is the list of the scope.
    registrations: Mutex<BTreeMap<i64, (Timestamp, Registrations)>>,
}

impl Seen {
    /// Returns the last listed machines and the time of the listing; empty before the first one.
    pub fn machines(&self) -> (Option<Timestamp>, Vec<Machine>) {
        self.machines.lock().clone().map_or((None, Vec::new()), |(at, all)| (Some(at), all))
    }

    /// Notes a listing of the machines.
    pub(super) fn list_machines(&self, all: Vec<Machine>, at: Timestamp) {
        *self.machines.lock() = Some((at, all));
    }

    /// Returns the last listed registrations and the time of the listing; empty before the first.
    pub fn registrations(&self) -> (Option<Timestamp>, Vec<Registration>) {
        let lists = self.registrations.lock();
        let last = lists.values().map(|(at, _)| *at).max();
        (last, lists.values().flat_map(|(_, all)| all.seen().to_vec()).collect())
    }
}

/// A decorated port.
pub struct Observed<T: ?Sized> {
    inner: Arc<T>,
    telemetry: Arc<Telemetry>,
}

/// Decorates the ports.
pub fn observe(ports: Ports, telemetry: &Arc<Telemetry>) -> Ports {
    let Ports { clock, store, queue, compute, forge } = ports;
    Ports {
        clock,
        store: Arc::new(Observed { inner: store, telemetry: telemetry.clone() }),
        queue: Arc::new(Observed { inner: queue, telemetry: telemetry.clone() }),
        compute: Arc::new(Observed { inner: compute, telemetry: telemetry.clone() }),
        forge: Arc::new(Observed { inner: forge, telemetry: telemetry.clone() }),
    }
}

impl<T: ?Sized> Observed<T> {
    async fn call<R>(
        &self,
        service: &'static str,
        operation: &'static str,
        call: impl Future<Output = Result<R, PortError>>,
    ) -> Result<R, PortError> {
        let answer = self.counted(service, operation, call).await;
        self.telemetry.contact(service, operation, answer.as_ref().err());
        answer
    }

    /// Counts a call that says nothing about the service's health.
    async fn counted<R>(
        &self,
        service: &'static str,
        operation: &'static str,
        call: impl Future<Output = Result<R, PortError>>,
    ) -> Result<R, PortError> {
        let began = Instant::now();
        let answer = traces::call(service, operation, call).await;
        let elapsed = began.elapsed();
        let kind = answer.as_ref().err().map(|error| error.kind);
        self.telemetry.metrics.call(service, operation, kind, elapsed);
        if let Err(error) = &answer {
            tracing::debug!(
                port = service,
                operation,
                error_kind = labels::error_kind(error.kind),
                error = %error,
                elapsed_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
                "port call failed",
            );
        }
        answer
    }

    /// A call of the store that writes.
    async fn write<R>(
        &self,
        operation: &'static str,
        call: impl Future<Output = Result<R, PortError>>,
    ) -> Result<R, PortError> {
        let answer = self.call("store", operation, call).await;
        if let Err(PortError { kind: ErrorKind::Unavailable | ErrorKind::Denied, .. }) = &answer {
            self.telemetry.contacts.write_failed();
        }
        answer
    }

    fn listed<R>(&self, source: &'static str, answer: &Result<R, PortError>) -> Timestamp {
        let now = self.telemetry.now();
        self.telemetry.metrics.listed(source, answer.is_ok().then_some(now));
        now
    }
}

impl Observed<dyn RunStore> {
    /// Notes a record that was written in a version, and what happened in it.
    fn wrote(&self, run: &Run, answer: &Result<u64, PortError>) {
        let Ok(version) = answer else { return };
        self.telemetry.open_runs.wrote(run, *version);
        let milestones = self.telemetry.events.seen(run, *version, self.telemetry.now());
        self.telemetry.wrote(run, milestones);
    }
}

#[async_trait]
impl RunStore for Observed<dyn RunStore> {
    async fn get(&self, name: &RunName) -> Result<Option<Run>, PortError> {
        let answer = self.call("store", "get", self.inner.get(name)).await;
        if let Ok(Some(run)) = &answer {
            self.telemetry.events.seen(run, run.version, self.telemetry.now());
        }
        answer
    }
    async fn put(&self, run: &Run, expect: Expect) -> Result<u64, PortError> {
        let answer = self.write("put", self.inner.put(run, expect)).await;
        self.wrote(run, &answer);
        answer
    }
    async fn put_counting(
        &self,
        run: &Run,
        expect: Expect,
        used: &Usage,
    ) -> Result<u64, PortError> {
        let answer = self.write("put", self.inner.put_counting(run, expect, used)).await;
        self.wrote(run, &answer);
        answer
    }
    async fn usage(&self, first: Date, last: Date) -> Result<Vec<Usage>, PortError> {
        self.call("store", "usage", self.inner.usage(first, last)).await
    }
    async fn remove(&self, name: &RunName, uid: Uid, version: u64) -> Result<(), PortError> {
        let answer = self.write("remove", self.inner.remove(name, uid, version)).await;
        if answer.is_ok() {
            self.telemetry.open_runs.removed(name, uid, version);
            self.telemetry.events.removed(name, self.telemetry.now());
        }
        answer
    }
    async fn open(&self, now: Timestamp) -> Result<Vec<OpenRun>, PortError> {
        let listing = self.telemetry.open_runs.begin();
        let answer = self.call("store", "open", self.inner.open(now)).await;
        let at = self.listed("store", &answer);
        match &answer {
            Ok(open) => {
                self.telemetry.show(open);
                // After that, because those who wait for it show the snapshot.
                listing.ended(open, at);
            }
            Err(error) => listing.failed(error),
        }
        answer
    }
    async fn page(&self, filter: &Filter, after: Option<&str>) -> Result<Page, PortError> {
        let answer = self.call("store", "page", self.inner.page(filter, after)).await;
        if let Ok(page) = &answer {
            let now = self.telemetry.now();
            for run in &page.items {
                self.telemetry.events.seen(run, run.version, now);
            }
        }
        answer
    }
    async fn seat(
        &self,
        class: &ClassName,
        attempt_id: &AttemptId,
        repo: RepoRef<'_>,
        limits: SeatLimits,
    ) -> Result<bool, PortError> {
        self.write("seat", self.inner.seat(class, attempt_id, repo, limits)).await
    }
    async fn unseat(&self, class: &ClassName, attempt_id: &AttemptId) -> Result<(), PortError> {
        self.write("unseat", self.inner.unseat(class, attempt_id)).await
    }
    async fn seats(&self, class: &ClassName) -> Result<Vec<Seat>, PortError> {
        self.call("store", "seats", self.inner.seats(class)).await
    }
    async fn pause(&self, pause: &Pause) -> Result<Pause, PortError> {
        self.write("pause", self.inner.pause(pause)).await
    }
    async fn resume(&self, class: Option<&ClassName>) -> Result<Vec<Pause>, PortError> {
        self.write("resume", self.inner.resume(class)).await
    }
    async fn pauses(&self) -> Result<Vec<Pause>, PortError> {
        self.call("store", "pauses", self.inner.pauses()).await
    }
    async fn reruns(&self, key: &RerunKey) -> Result<Option<Reruns>, PortError> {
        self.call("store", "reruns", self.inner.reruns(key)).await
    }
    async fn put_reruns(&self, reruns: &Reruns) -> Result<u64, PortError> {
        self.write("put_reruns", self.inner.put_reruns(reruns)).await
    }
    async fn lease(
        &self,
        what: &str,
        holder: &str,
        now: Timestamp,
        ttl: SignedDuration,
    ) -> Result<bool, PortError> {
        self.write("lease", self.inner.lease(what, holder, now, ttl)).await
    }
    async fn announce(
        &self,
        replica: &str,
        reads: u32,
        now: Timestamp,
        ttl: SignedDuration,
    ) -> Result<ReadByAll, PortError> {
        let answer = self.write("announce", self.inner.announce(replica, reads, now, ttl)).await;
        if let Ok(ReadByAll { silent: Some(replica), .. }) = &answer {
            let replica = tinqs_ci_reconciler::text::cut(replica, 100);
            tracing::warn!(%replica, "an earlier release is live: records keep the first format");
        }
        answer
    }
    async fn writable(&self, holder: &str, now: Timestamp) -> Result<(), PortError> {
        self.call("store", "writable", self.inner.writable(holder, now)).await
    }
    fn unreadable(&self) -> usize {
        self.inner.unreadable()
    }
    fn newer(&self) -> Vec<NewerRecord> {
        self.inner.newer()
    }
}

#[async_trait]
impl Queue for Observed<dyn Queue> {
    async fn wake(&self, name: &RunName) -> Result<(), PortError> {
        traces::wakes(name);
        self.call("queue", "wake", self.inner.wake(name)).await
    }
    async fn wake_later(&self, name: &RunName, delay: SignedDuration) -> Result<(), PortError> {
        self.call("queue", "wake", self.inner.wake_later(name, delay)).await
    }
    async fn next(&self, max: usize) -> Result<Vec<Delivery>, PortError> {
        self.call("queue", "next", self.inner.next(max)).await
    }
    async fn done(&self, delivery: Delivery) -> Result<(), PortError> {
        self.call("queue", "done", self.inner.done(delivery)).await
    }
    async fn depth(&self) -> Result<Option<QueueDepth>, PortError> {
        let depth = self.call("queue", "depth", self.inner.depth()).await?;
        self.telemetry.metrics.queues.shown(depth.as_ref(), self.telemetry.now());
        Ok(depth)
    }
}

#[async_trait]
impl Compute for Observed<dyn Compute> {
    async fn list(&self) -> Result<Vec<Machine>, PortError> {
        let answer = self.call("compute", "list", self.inner.list()).await;
        let now = self.listed("compute", &answer);
        if let Ok(all) = &answer {
            self.telemetry.metrics.launches.listed(all);
            self.telemetry.seen.list_machines(all.clone(), now);
        }
        answer
    }
    async fn find(&self, id: &MachineId) -> Result<Option<Machine>, PortError> {
        self.call("compute", "find", self.inner.find(id)).await
    }
    async fn launch(
        &self,
        id: &AttemptId,
        at: u32,
        attempt: &Attempt,
    ) -> Result<Machine, PortError> {
        let answer = self.call("compute", "launch", self.inner.launch(id, at, attempt)).await;
        let metrics = &self.telemetry.metrics;
        let placed = usize::try_from(at).ok().and_then(|i| attempt.placements.get(i));
        let class = metrics.class(Some(&attempt.class.0));
        metrics.launches.launched(class, placed.map(|it| &it.machine), answer.as_ref().err());
        answer
    }
    async fn terminate(&self, id: &MachineId) -> Result<(), PortError> {
        self.call("compute", "terminate", self.inner.terminate(id)).await
    }
    async fn log(&self, id: &MachineId, most: usize) -> Result<Option<MachineLog>, PortError> {
        // Machines run without the right to read their logs.
        self.counted("compute", "log", self.inner.log(id, most)).await
    }
    fn foreign(&self) -> Vec<MachineId> {
        self.inner.foreign()
    }
    fn room(&self) -> bool {
        self.inner.room()
    }
    async fn image(&self, named: &str) -> Result<String, PortError> {
        self.inner.image(named).await
    }
    async fn read_prices(&self, kinds: &[String]) {
        self.inner.read_prices(kinds).await;
    }
    fn spot_price(&self, kind: &str, zone: &str) -> Option<MicroUsd> {
        self.inner.spot_price(kind, zone)
    }
    async fn pool_prices(&self, machines: &[MachineSpec]) -> Vec<Option<MicroUsd>> {
        self.inner.pool_prices(machines).await
    }
    async fn zones(&self, machines: &[MachineSpec]) -> Vec<Option<String>> {
        self.inner.zones(machines).await
    }
}

#[async_trait]
impl Forge for Observed<dyn Forge> {
    fn true_time(&self) -> TrueTime {
        self.inner.true_time()
    }
    async fn waiting(&self) -> Result<Option<Vec<WaitingJob>>, PortError> {
        self.call("forge", "waiting", self.inner.waiting()).await
    }
    async fn job(&self, job: &JobRef) -> Result<SeenJob, PortError> {
        self.call("forge", "job", self.inner.job(job)).await
    }
    fn registration_lists(&self) -> RegistrationLists {
        self.inner.registration_lists()
    }
    async fn registrations(&self, repo_id: i64) -> Result<Registrations, PortError> {
        let answer = self.call("forge", "registrations", self.inner.registrations(repo_id)).await;
        let now = self.listed("forge", &answer);
        if let Ok(all) = &answer {
            let mut lists = self.telemetry.seen.registrations.lock();
            if repo_id != 0 && all.seen().is_empty() {
                lists.remove(&repo_id);
            } else {
                lists.insert(repo_id, (now, all.clone()));
            }
        }
        answer
    }
    async fn registration(&self, id: i64, repo_id: i64) -> Result<Option<Registration>, PortError> {
        self.call("forge", "registration", self.inner.registration(id, repo_id)).await
    }
    async fn at_work(&self, repo_id: i64) -> Result<Option<Vec<JobRunner>>, PortError> {
        self.call("forge", "at_work", self.inner.at_work(repo_id)).await
    }
    async fn register(
        &self,
        attempt_id: &AttemptId,
        repo: RepoRef<'_>,
        labels: &[String],
    ) -> Result<Runner, PortError> {
        self.call("forge", "register", self.inner.register(attempt_id, repo, labels)).await
    }
    async fn disable(&self, id: i64, repo_id: i64) -> Result<bool, PortError> {
        self.call("forge", "disable", self.inner.disable(id, repo_id)).await
    }
    async fn retire(&self, id: i64, repo_id: i64) -> Result<(), PortError> {
        self.call("forge", "retire", self.inner.retire(id, repo_id)).await
    }
    async fn workflow_run(
        &self,
        job: &JobRef,
        run_id: i64,
    ) -> Result<Option<WorkflowRun>, PortError> {
        self.call("forge", "workflow_run", self.inner.workflow_run(job, run_id)).await
    }
    async fn rerun(
        &self,
        job: &JobRef,
        run_id: i64,
        scope: RerunScope,
    ) -> Result<RerunAnswer, PortError> {
        self.call("forge", "rerun", self.inner.rerun(job, run_id, scope)).await
    }
}
