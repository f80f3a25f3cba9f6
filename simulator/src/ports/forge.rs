//! The simulated forge as the controller's `Forge` port, without HTTP.

use async_trait::async_trait;
use jiff::Timestamp;
use tinqs_ci_reconciler::controller::Hint;
use tinqs_ci_reconciler::model::{
    About, AttemptId, Job, JobRef, Registration, Registrations, Runner, Secret, label_name,
};
use tinqs_ci_reconciler::ports::{Forge, PortError, WaitingJob};

use super::{Call, SimulatedPorts};
use crate::cloud::machine::SimulatedMachine;
use crate::faults::Rng;
use crate::forge::{Forge as State, JobRow, RunnerRow, Status, Webhook};
use crate::laws::RetireTruth;
use crate::world::Demand;

#[async_trait]
impl Forge for SimulatedPorts {
    async fn waiting(&self) -> Result<Option<Vec<WaitingJob>>, PortError> {
        self.call(Call::new("forge.waiting", ""), |world, _| {
            if world.demand != Demand::Jobs {
                return Ok(None);
            }
            let omitted = world.faults.at(world.now()).job_omitted;
            let forge = world.forge.clone();
            let jobs: Vec<WaitingJob> =
                forge.lock().waiting().into_iter().map(waiting_job).collect();
            Ok(Some(jobs.into_iter().filter(|_| !world.strikes("job_omitted", omitted)).collect()))
        })
        .await
    }

    async fn job(&self, job: &JobRef) -> Result<Job, PortError> {
        let call = Call::new("forge.job", format!("job-{}", job.job_id));
        self.call(call, |world, _| {
            if world.demand != Demand::Jobs {
                return Ok(Job::Unobservable);
            }
            Ok(world.forge().job(job.job_id).map_or(Job::Absent, seen_job))
        })
        .await
    }

    async fn registrations(&self) -> Result<Registrations, PortError> {
        self.call(Call::new("forge.registrations", ""), |world, _| {
            if world.demand == Demand::PushWithoutRows {
                return Ok(Registrations::Unknown);
            }
            let now = world.now();
            let omitted = world.faults.at(now).runner_omitted;
            let forge = world.forge();
            let listed = forge.runners().filter(|row| !left_out(row, now, omitted));
            let rows = listed.filter_map(|row| registration(row, now));
            Ok(Registrations::Seen(rows.collect()))
        })
        .await
    }

    async fn registration(&self, id: i64) -> Result<Option<Registration>, PortError> {
        self.call(Call::new("forge.registration", id), |world, _| {
            let now = world.now();
            Ok(world.forge().runner(id).and_then(|row| registration(row, now)))
        })
        .await
    }

    async fn register(
        &self,
        attempt_id: &AttemptId,
        labels: &[String],
    ) -> Result<Runner, PortError> {
        self.call(Call::new("forge.register", attempt_id), |world, _| {
            let now = world.now();
            let names: Vec<String> = labels.iter().map(|l| label_name(l).to_owned()).collect();
            let row = world.forge().register(now, &attempt_id.to_string(), &names, true);
            let RunnerRow { id, uuid, token, name, .. } = row;
            Ok(Runner { id, uuid, name, labels: labels.to_vec(), token: Secret::new(token) })
        })
        .await
    }

    async fn retire(&self, id: i64) -> Result<(), PortError> {
        self.call(Call::new("forge.retire", id), |world, _| {
            let now = world.now();
            let forge = world.forge.clone();
            let mut forge = forge.lock();
            if let Some(row) = forge.runner(id) {
                // A task whose machine is gone is lost: no machine runs its job.
                let of_it = || world.cloud.live().filter(|m| m.runner.id == id);
                let truth = RetireTruth {
                    name: row.name.clone(),
                    works: of_it().any(SimulatedMachine::is_busy),
                    lives: of_it().next().is_some(),
                };
                world.laws.on_retire(now, id, &truth);
                forge.delete_runner(id);
            }
            Ok(())
        })
        .await
    }
}

/// Returns whether the list omits a row, as happens when rows change while pages are read. The same
/// row is omitted for a while, so asking twice reveals nothing.
fn left_out(row: &RunnerRow, now: Timestamp, omitted: f64) -> bool {
    const FOR_SECONDS: i64 = 300;
    let period = now.as_second() / FOR_SECONDS;
    let drawn = u64::try_from(row.id).unwrap_or(0) << 32 | u64::try_from(period).unwrap_or(0);
    Rng::new(drawn).chance(omitted)
}

/// Returns a registration of ours as the API shows it; `None` if its name is not an attempt ID.
pub(crate) fn registration(row: &RunnerRow, now: Timestamp) -> Option<Registration> {
    Some(Registration {
        id: row.id,
        attempt_id: row.name.parse().ok()?,
        uuid: None,
        online: State::online(row, now),
        busy: State::active(row, now),
        missing_since: None,
    })
}

/// Returns a job as the API shows it.
fn seen_job(job: &JobRow) -> Job {
    match job.status {
        Status::Blocked => Job::Blocked,
        Status::Waiting => Job::Waiting,
        Status::Running => Job::Running { runner: job.runner_name.clone().unwrap_or_default() },
        Status::Done(conclusion) => Job::Done { conclusion },
    }
}

pub(crate) fn waiting_job(job: &JobRow) -> WaitingJob {
    WaitingJob {
        job: JobRef { repo: job.repo.clone(), repo_id: job.repo_id, job_id: job.id },
        runs_on: job.spec.runs_on.clone(),
        about: About {
            repo: job.repo.clone(),
            job: job.spec.name.clone(),
            commit: job.head_sha.clone(),
            run_id: job.run_id,
            ..About::default()
        },
    }
}

/// Returns the hint that a webhook gives.
pub(crate) fn hint(webhook: &Webhook, forge: &State) -> Option<Hint> {
    let job = forge.job(webhook.job_id)?;
    match webhook.action {
        "queued" => Some(Hint::Queued(waiting_job(job))),
        "waiting" => None,
        _ => {
            let runner = webhook.payload["workflow_job"]["runner_name"].as_str();
            Some(Hint::Job { job_id: job.id, runner: runner.map(str::to_owned) })
        }
    }
}
