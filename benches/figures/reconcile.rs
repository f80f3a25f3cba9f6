//! Cost of a reconcile with few and with many open runs: the real controller and store, a forge
//! that answers at once, and no machines; and the cost beside clients that follow events.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use jiff::Timestamp;
use tinqs_ci::server::Parts;
use tinqs_ci_local::SystemClock;
use tinqs_ci_local::process::{Options as Inherited, Processes};
use tinqs_ci_local::queue::MemoryQueue;
use tinqs_ci_local::store::Store;
use tinqs_ci_reconciler::controller::ReconcileOutcome;
use tinqs_ci_reconciler::model::{
    AttemptId, Job, JobRef, JobRunner, Registration, Registrations, RepoRef, RerunScope, RunName,
    Runner, Secret, WorkflowRun,
};
use tinqs_ci_reconciler::ports::{
    Forge, PortError, Ports, RegistrationLists, RerunAnswer, RunStore as _, SeenJob, TrueTime,
    WaitingJob,
};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::figure::{Figures, Goal, Result, number, quantile};
use crate::host::{Host, Options, runtime};
use crate::inside::Inside;
use crate::{machine, runs};

const FEW: i64 = 1_000;
const MANY: i64 = 100_000;
/// Reconciles of one measurement: CPU time is counted in steps of 10 ms, which is half a
/// microsecond per reconcile.
const RECONCILES: i64 = 20_000;
/// Concurrent reconciles, as in the server.
const AT_ONCE: usize = 16;
/// Measurements of each size, alternating, so that other load affects both equally.
const ROUNDS: usize = 15;
/// Clients that follow events beside the reconciles.
const CLIENTS: usize = 100;

pub(crate) fn run(figures: &mut Figures) -> Result<()> {
    runtime()?.block_on(async {
        let (few, many) = (World::new(FEW).await?, World::new(MANY).await?);
        // The first reconcile of a run may write; later ones find it settled.
        few.reconcile(&[ReconcileOutcome::Acted, ReconcileOutcome::Settled]).await?;
        many.reconcile(&[ReconcileOutcome::Acted, ReconcileOutcome::Settled]).await?;
        let (mut beside_few, mut beside_many) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            beside_few.push(few.reconcile(&[ReconcileOutcome::Settled]).await?);
            beside_many.push(many.reconcile(&[ReconcileOutcome::Settled]).await?);
        }
        // Other load only ever adds, and it adds most to the side that needs memory.
        let (alone, many) = (quantile(&beside_few, 0.0), quantile(&beside_many, 0.0));
        figures.tell("reconcile/cpu_beside_1000", alone, "us", Goal::Told);
        figures.tell("reconcile/cpu_beside_100000", many, "us", Goal::Told);
        figures.tell("reconcile/ratio", many / alone, "x", Goal::Most(1.10));
        beside_clients(figures, &few).await
    })
}

/// Measures reconciles with and without clients that follow events, and what the clients cost
/// themselves.
async fn beside_clients(figures: &mut Figures, world: &World) -> Result<()> {
    let inside = Inside::of(world.parts());
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        without.push(world.reconcile(&[ReconcileOutcome::Settled]).await?);
        let mut clients = follow(&inside).await?;
        with.push(world.reconcile(&[ReconcileOutcome::Settled]).await?);
        if clients.try_join_next().is_some() {
            return Err("a stream of events ended".into());
        }
        clients.shutdown().await;
    }
    let (without, with) = (quantile(&without, 0.0), quantile(&with, 0.0));
    figures.tell("reconcile/cpu_without_event_clients", without, "us", Goal::Told);
    figures.tell("reconcile/cpu_with_100_event_clients", with, "us", Goal::Told);
    figures.tell("reconcile/event_clients_ratio", with / without, "x", Goal::Most(1.10));
    Ok(())
}

/// Returns the clients, each of which reads its stream until it ends.
async fn follow(inside: &Inside) -> Result<JoinSet<()>> {
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let answer = inside.ask("/v1/events", "text/event-stream").await?;
        let mut stream = answer.into_body().into_data_stream();
        clients.spawn(async move { while stream.next().await.is_some_and(|read| read.is_ok()) {} });
    }
    Ok(clients)
}

/// The parts of a server over a full store.
pub(crate) struct World {
    parts: Arc<Parts>,
    runs: i64,
    _host: Host,
}

impl World {
    /// Returns the parts over a store with so many open runs.
    pub(crate) async fn new(count: i64) -> Result<Self> {
        let (host, now) = (Host::new()?, Timestamp::now());
        let all: Vec<_> = (1..=count).map(|job| runs::waiting(job, now)).collect();
        // One run holds the only seat, so that all others wait at the limit.
        let settings = host.settings(Options { class: "limit = 1", ..Options::default() })?;
        let class = settings.classes.first().ok_or("no class")?;
        runs::fill(&host.store(), all.iter().cloned()).await?;
        let store = Store::open(&host.store())?;
        let limits = class.seat_limits();
        let holder = all.first().ok_or("no run")?.attempt_id(1);
        if !store.seat(&class.name, &holder, RepoRef::named("acme/widget"), limits).await? {
            return Err("the seat is taken".into());
        }
        let clock = Arc::new(SystemClock);
        let processes = Processes::new(&host.machines(), clock.clone(), Inherited::inherit([]))?;
        let sides = Ports {
            clock,
            store: Arc::new(store),
            queue: Arc::new(MemoryQueue::new()),
            compute: Arc::new(processes),
            forge: Arc::new(Still),
        };
        let parts = Arc::new(Parts::over(settings, sides, "bench"));
        Ok(Self { parts, runs: count, _host: host })
    }

    /// Returns the parts.
    pub(crate) fn parts(&self) -> &Parts {
        &self.parts
    }

    /// Returns the CPU time of a reconcile in microseconds, user and system.
    async fn reconcile(&self, expected: &[ReconcileOutcome]) -> Result<f64> {
        let places = Arc::new(Semaphore::new(AT_ONCE));
        let mut under_way = JoinSet::new();
        let before = machine::cpu(std::process::id())?;
        for number in 0..RECONCILES {
            let place = places.clone().acquire_owned().await?;
            let parts = self.parts.clone();
            // Spreads over the store and skips the first run, which holds the seat.
            let name = RunName::job(2 + number * 7919 % (self.runs - 1));
            under_way.spawn(async move {
                let began = Instant::now();
                let report = parts.controller.reconcile(&name).await;
                parts.telemetry.record(&report, began.elapsed());
                drop(place);
                report.result
            });
        }
        while let Some(result) = under_way.join_next().await {
            let result = result?;
            if !expected.contains(&result) {
                return Err(format!("unexpected result of a reconcile: {result:?}").into());
            }
        }
        let spent = machine::cpu(std::process::id())?.saturating_sub(before);
        Ok(spent.as_secs_f64() * 1e6 / number(usize::try_from(RECONCILES)?))
    }
}

/// A forge where every job waits and no runner is registered.
struct Still;

#[async_trait]
impl Forge for Still {
    fn true_time(&self) -> TrueTime {
        TrueTime::Undated
    }
    async fn waiting(&self) -> std::result::Result<Option<Vec<WaitingJob>>, PortError> {
        Ok(Some(Vec::new()))
    }
    async fn job(&self, _: &JobRef) -> std::result::Result<SeenJob, PortError> {
        Ok(Job::Waiting.into())
    }
    fn registration_lists(&self) -> RegistrationLists {
        RegistrationLists::One
    }
    async fn registrations(&self, _: i64) -> std::result::Result<Registrations, PortError> {
        Ok(Registrations::Seen(Vec::new()))
    }
    async fn registration(
        &self,
        _: i64,
        _: i64,
    ) -> std::result::Result<Option<Registration>, PortError> {
        Ok(None)
    }
    async fn register(
        &self,
        attempt_id: &AttemptId,
        repo: RepoRef<'_>,
        labels: &[String],
    ) -> std::result::Result<Runner, PortError> {
        Ok(Runner {
            id: 1,
            repo_id: repo.id,
            uuid: String::new(),
            name: attempt_id.to_string(),
            labels: labels.to_vec(),
            token: Secret::new("0123456789abcdef0123456789abcdef01234567"),
        })
    }
    async fn at_work(&self, _: i64) -> std::result::Result<Option<Vec<JobRunner>>, PortError> {
        Ok(Some(Vec::new()))
    }
    async fn disable(&self, _: i64, _: i64) -> std::result::Result<bool, PortError> {
        Ok(true)
    }
    async fn retire(&self, _: i64, _: i64) -> std::result::Result<(), PortError> {
        Ok(())
    }
    async fn workflow_run(
        &self,
        _: &JobRef,
        _: i64,
    ) -> std::result::Result<Option<WorkflowRun>, PortError> {
        Ok(None)
    }
    async fn rerun(
        &self,
        _: &JobRef,
        _: i64,
        _: RerunScope,
    ) -> std::result::Result<RerunAnswer, PortError> {
        Ok(RerunAnswer::NotFound)
    }
}
