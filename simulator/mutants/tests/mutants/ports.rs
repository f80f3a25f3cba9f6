//! Changed ports: they answer, or are called, as if a safeguard was omitted.

mod store;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use tinqs_ci_reconciler::model::{
    Attempt, AttemptId, Cause, ClassName, JobRef, JobRunner, Machine, MachineId, MachineSpec,
    MachineState, MicroUsd, Registration, Registrations, RepoRef, RerunScope, Run, RunName, Runner,
    Secret, WorkflowRun, label_name, serving,
};
use tinqs_ci_reconciler::ports::{
    Clock, Compute, Delivery, ErrorKind, Forge, MachineLog, PortError, Ports, Queue,
    RegistrationLists, RerunAnswer, SeenJob, TrueTime, WaitingJob,
};
use tinqs_ci_simulator::forge::Status;
use tinqs_ci_simulator::world::Shared;

use crate::mutant::Mutant;

tokio::task_local! {
    /// The reconcile that makes a call.
    pub(crate) static RECONCILE: Reconcile;
}

/// A reconcile, and its readings so far.
pub(crate) struct Reconcile {
    name: RunName,
    began_at: Mutex<Option<Timestamp>>,
    /// The first answer to a read of its record.
    record: Mutex<Option<ReadRecord>>,
}

/// The answer to a read of a record.
#[derive(Clone)]
struct ReadRecord(Option<Run>);

impl Reconcile {
    pub(crate) fn of(name: &RunName) -> Self {
        Self { name: name.clone(), began_at: Mutex::default(), record: Mutex::default() }
    }

    /// Returns the first answer to a read of this record, if the reconcile of its run has read it.
    fn first_answer(name: &RunName) -> Option<ReadRecord> {
        let of_run = |reconcile: &Self| {
            if reconcile.name == *name { reconcile.record.lock().clone() } else { None }
        };
        RECONCILE.try_with(of_run).ok().flatten()
    }

    /// Caches an answer, if the reconcile of its run has read the record.
    fn answered(name: &RunName, run: Option<&Run>) {
        // Polls and sweeps read records outside of any reconcile.
        let _ = RECONCILE.try_with(|reconcile| {
            if reconcile.name == *name {
                reconcile.record.lock().replace(ReadRecord(run.cloned()));
            }
        });
    }
}

/// The ports of one replica with mutants.
pub(crate) struct ChangedPorts {
    ports: Ports,
    world: Shared,
    mutants: &'static [Mutant],
    /// The refusals after which an operator must act.
    refused: Mutex<BTreeMap<ClassName, (ErrorKind, String)>>,
    /// The last readings of workflow runs, and whether a request was recorded since.
    readings: Mutex<BTreeMap<i64, (Option<WorkflowRun>, bool)>>,
}

impl ChangedPorts {
    pub(crate) fn over(ports: Ports, world: &Shared, mutants: &'static [Mutant]) -> Ports {
        let (world, refused, readings) = (world.clone(), Mutex::default(), Mutex::default());
        let changed = Arc::new(Self { ports, world, mutants, refused, readings });
        Ports {
            clock: changed.clone(),
            store: changed.clone(),
            queue: changed.clone(),
            compute: changed.clone(),
            forge: changed,
        }
    }

    fn has(&self, mutant: Mutant) -> bool {
        self.mutants.contains(&mutant)
    }

    /// Returns the foreign machines as they look with the tags of a machine of ours, a number that
    /// no attempt has, and a deadline that is over.
    fn tagged_like(&self, ours: &Machine) -> Vec<Machine> {
        let attempt_id = AttemptId { number: 0, ..ours.attempt_id.clone() };
        let state = MachineState::Up;
        let tagged = |id: &MachineId| Machine {
            id: id.clone(),
            attempt_id: attempt_id.clone(),
            state,
            deadline: ours.launched_at,
            ..ours.clone()
        };
        self.world.lock().cloud.foreign().map(tagged).collect()
    }

    /// Returns whether a wake-up is dropped.
    fn drops(&self, name: &RunName) -> bool {
        let world = self.world.lock();
        let run = world.records.run(name);
        let is_open = run.is_some_and(Run::is_open);
        // A job that waits again is demand, and no leftover of its run.
        let waits = || {
            let forge = world.forge();
            let job = run.and_then(|run| forge.job(run.spec.job.job_id));
            job.is_some_and(|job| job.status == Status::Waiting)
        };
        self.has(Mutant::FinishedNotWoken) && run.is_some() && !is_open && !waits()
            || self.has(Mutant::SweepIgnoresOrphans) && !is_open
    }

    /// Returns all labels of the class instead of those that the job asks for.
    fn labels_of_class(&self, name: &RunName, labels: &[String]) -> Vec<String> {
        let world = self.world.lock();
        let run = world.records.run(name);
        let class =
            run.and_then(|run| serving(&world.laws.classes, &run.spec.job.repo, &run.spec.runs_on));
        let class = class.filter(|class| !class.is_any());
        class.map_or_else(|| labels.to_vec(), |class| class.labels.clone())
    }

    /// Registers a runner that every repository can take.
    fn register_in_scope(&self, attempt_id: &AttemptId, labels: &[String]) -> Runner {
        let world = self.world.lock();
        let names: Vec<String> = labels.iter().map(|label| label_name(label).to_owned()).collect();
        let row = world.forge().register(world.now(), &attempt_id.to_string(), &names, true);
        Runner {
            id: row.id,
            repo_id: 0,
            uuid: row.uuid,
            name: row.name,
            labels: labels.to_vec(),
            token: Secret::new(row.token),
        }
    }

    /// Replaces the recorded machine spec with the class's current one.
    fn current_spec(&self, name: &RunName, placement: u32, attempt: &Attempt) -> Attempt {
        let mut attempt = attempt.clone();
        let world = self.world.lock();
        let run = world.records.run(name);
        let class =
            run.and_then(|run| serving(&world.laws.classes, &run.spec.job.repo, &run.spec.runs_on));
        let mut machines = class.iter().flat_map(|class| &class.machines);
        let index = usize::try_from(placement).ok();
        let recorded = index.and_then(|index| attempt.placements.get_mut(index));
        if let Some(recorded) = recorded.map(|placement| &mut placement.machine)
            && let Some(machine) = machines.find(|machine| machine.same_capacity(recorded))
        {
            recorded.clone_from(machine);
        }
        attempt
    }
}

impl Clock for ChangedPorts {
    fn now(&self) -> Timestamp {
        let now = self.ports.clock.now();
        if !self.has(Mutant::LateEffects) {
            return now;
        }
        // No reconcile notices that it takes longer than it may.
        let limited = RECONCILE.try_with(|reconcile| {
            let began_at = *reconcile.began_at.lock().get_or_insert(now);
            now.min(began_at + SignedDuration::from_secs(60))
        });
        limited.unwrap_or(now)
    }
}

#[async_trait]
impl Queue for ChangedPorts {
    async fn wake(&self, name: &RunName) -> Result<(), PortError> {
        if self.drops(name) { Ok(()) } else { self.ports.queue.wake(name).await }
    }

    async fn next(&self, max: usize) -> Result<Vec<Delivery>, PortError> {
        self.ports.queue.next(max).await
    }

    async fn done(&self, delivery: Delivery) -> Result<(), PortError> {
        self.ports.queue.done(delivery).await
    }
}

#[async_trait]
impl Compute for ChangedPorts {
    async fn list(&self) -> Result<Vec<Machine>, PortError> {
        let mut listed = self.ports.compute.list().await?;
        let copied = listed.first().filter(|_| self.has(Mutant::ForeignTokenAccepted)).cloned();
        listed.extend(copied.into_iter().flat_map(|ours| self.tagged_like(&ours)));
        Ok(listed)
    }

    async fn find(&self, id: &MachineId) -> Result<Option<Machine>, PortError> {
        self.ports.compute.find(id).await
    }

    async fn log(&self, id: &MachineId, most: usize) -> Result<Option<MachineLog>, PortError> {
        self.ports.compute.log(id, most).await
    }

    async fn launch(
        &self,
        attempt_id: &AttemptId,
        placement: u32,
        attempt: &Attempt,
    ) -> Result<Machine, PortError> {
        let class = &attempt.class;
        // Only the first refusal is an answer of the cloud: nothing is requested after it.
        let refused = self.refused.lock().get(class).cloned();
        if let Some((kind, message)) = refused {
            return Err(PortError::new("compute", "launch", kind, message));
        }
        let result = if self.has(Mutant::CurrentSpec) {
            let attempt = self.current_spec(&attempt_id.run, placement, attempt);
            self.ports.compute.launch(attempt_id, placement, &attempt).await
        } else {
            self.ports.compute.launch(attempt_id, placement, attempt).await
        };
        match result {
            Ok(machine) if self.has(Mutant::DeadTokenLives) => {
                Ok(Machine { state: MachineState::Booting, ..machine })
            }
            Err(error)
                if matches!(error.kind, ErrorKind::Denied | ErrorKind::Invalid)
                    && error.cause.is_none() =>
            {
                if self.has(Mutant::BreakerNeverCloses) {
                    let refusal = (error.kind, error.message.clone());
                    self.refused.lock().insert(class.clone(), refusal);
                }
                // A refusal that concerns one attempt opens no breaker.
                let only_this = self.has(Mutant::NoBreaker);
                Err(if only_this { error.because(Cause::Attempt) } else { error })
            }
            other => other,
        }
    }

    async fn terminate(&self, id: &MachineId) -> Result<(), PortError> {
        self.ports.compute.terminate(id).await
    }

    fn room(&self) -> bool {
        self.ports.compute.room()
    }

    async fn image(&self, named: &str) -> Result<String, PortError> {
        self.ports.compute.image(named).await
    }

    async fn read_prices(&self, kinds: &[String]) {
        self.ports.compute.read_prices(kinds).await;
    }

    fn spot_price(&self, kind: &str, zone: &str) -> Option<MicroUsd> {
        self.ports.compute.spot_price(kind, zone)
    }

    async fn pool_prices(&self, machines: &[MachineSpec]) -> Vec<Option<MicroUsd>> {
        self.ports.compute.pool_prices(machines).await
    }

    async fn zones(&self, machines: &[MachineSpec]) -> Vec<Option<String>> {
        self.ports.compute.zones(machines).await
    }
}

#[async_trait]
impl Forge for ChangedPorts {
    fn true_time(&self) -> TrueTime {
        if self.has(Mutant::TimeOfOwnClock) {
            return TrueTime::About(self.ports.clock.now());
        }
        // The clock that a reconcile compares with has not gone on either.
        match self.ports.forge.true_time() {
            TrueTime::About(truth) if self.has(Mutant::LateEffects) => {
                let kept_back = self.ports.clock.now().duration_since(self.now());
                TrueTime::About(truth - kept_back)
            }
            other => other,
        }
    }

    async fn waiting(&self) -> Result<Option<Vec<WaitingJob>>, PortError> {
        self.ports.forge.waiting().await
    }

    async fn job(&self, job: &JobRef) -> Result<SeenJob, PortError> {
        let seen = self.ports.forge.job(job).await?;
        Ok(if self.has(Mutant::FormerName) { SeenJob { repo: None, ..seen } } else { seen })
    }

    fn registration_lists(&self) -> RegistrationLists {
        self.ports.forge.registration_lists()
    }

    async fn registrations(&self, repo_id: i64) -> Result<Registrations, PortError> {
        let repo_id = if self.has(Mutant::ListOfScopeOnly) { 0 } else { repo_id };
        self.ports.forge.registrations(repo_id).await
    }

    async fn registration(&self, id: i64, repo_id: i64) -> Result<Option<Registration>, PortError> {
        if self.has(Mutant::UnlistedRegistrationMissing) {
            return Ok(None);
        }
        let repo_id = if self.has(Mutant::ReadInScope) { 0 } else { repo_id };
        self.ports.forge.registration(id, repo_id).await
    }

    async fn register(
        &self,
        attempt_id: &AttemptId,
        repo: RepoRef<'_>,
        labels: &[String],
    ) -> Result<Runner, PortError> {
        if self.has(Mutant::LabelsOfClass) {
            let labels = self.labels_of_class(&attempt_id.run, labels);
            return self.ports.forge.register(attempt_id, repo, &labels).await;
        }
        if self.has(Mutant::RegisterInScope) {
            return Ok(self.register_in_scope(attempt_id, labels));
        }
        self.ports.forge.register(attempt_id, repo, labels).await
    }

    async fn at_work(&self, repo_id: i64) -> Result<Option<Vec<JobRunner>>, PortError> {
        if self.has(Mutant::HungWithoutJobList) {
            return Ok(Some(Vec::new()));
        }
        self.ports.forge.at_work(repo_id).await
    }

    async fn disable(&self, id: i64, repo_id: i64) -> Result<bool, PortError> {
        let is_possible = self.ports.forge.disable(id, repo_id).await?;
        Ok(is_possible || self.has(Mutant::RefusedDisablingCounts))
    }

    async fn retire(&self, id: i64, repo_id: i64) -> Result<(), PortError> {
        self.ports.forge.retire(id, repo_id).await
    }

    async fn workflow_run(
        &self,
        job: &JobRef,
        run_id: i64,
    ) -> Result<Option<WorkflowRun>, PortError> {
        if !self.has(Mutant::RerunWithoutReading) {
            return self.ports.forge.workflow_run(job, run_id).await;
        }
        let known = self.readings.lock().remove(&run_id);
        let read = match known {
            Some((last, true)) => last,
            _ => self.ports.forge.workflow_run(job, run_id).await?,
        };
        self.readings.lock().insert(run_id, (read.clone(), false));
        Ok(read)
    }

    async fn rerun(
        &self,
        job: &JobRef,
        run_id: i64,
        scope: RerunScope,
    ) -> Result<RerunAnswer, PortError> {
        self.ports.forge.rerun(job, run_id, scope).await
    }
}
