//! The simulated forge as the controller's `Forge` port, without HTTP.

use async_trait::async_trait;
use jiff::Timestamp;
use tinqs_ci_reconciler::controller::Hint;
use tinqs_ci_reconciler::model::{
    About, AttemptId, Conclusion, Job, JobRef, JobRunner, JobTimes, Registration, Registrations,
    RepoRef, RerunScope, Runner, Secret, WorkflowRun, label_name,
};
use tinqs_ci_reconciler::ports::{
    ErrorKind, Forge, PortError, RegistrationLists, RerunAnswer, SeenJob, TrueTime, WaitingJob,
};

use super::{Call, SimulatedPorts, error};
use crate::cloud::machine::SimulatedMachine;
use crate::faults::Rng;
use crate::forge::{Forge as State, JobRow, Line, RerunRefused, RunnerRow, Scope, Status, Webhook};
use crate::laws::RetireTruth;
use crate::world::{Demand, World};

#[async_trait]
impl Forge for SimulatedPorts {
    fn true_time(&self) -> TrueTime {
        let now = self.clock.now();
        self.date.lock().map_or(TrueTime::Unknown, |age| TrueTime::About(now - age))
    }

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

    async fn job(&self, job: &JobRef) -> Result<SeenJob, PortError> {
        let call = Call::new("forge.job", format!("job-{}", job.job_id));
        self.call(call, |world, _| {
            if world.demand != Demand::Jobs {
                return Ok(Job::Unobservable.into());
            }
            let line = world.forge().config.line;
            let forge = world.forge();
            let found = forge.job(job.job_id);
            Ok(found.map_or(Job::Absent.into(), |row| seen_job(row, job, line)))
        })
        .await
    }

    fn registration_lists(&self) -> RegistrationLists {
        self.world().lists
    }

    async fn registrations(&self, repo_id: i64) -> Result<Registrations, PortError> {
        self.call(Call::new("forge.registrations", ""), |world, _| {
            if world.demand == Demand::PushWithoutRows {
                return Ok(Registrations::Unknown);
            }
            let now = world.now();
            let omitted = world.faults.at(now).runner_omitted;
            let level = world.level(repo_id);
            let forge = world.forge();
            let line = forge.config.line;
            let shown = |row: &&RunnerRow| is_shown(row, level.as_ref());
            let listed = forge.runners().filter(shown).filter(|row| !left_out(row, now, omitted));
            let rows = listed.filter_map(|row| registration(row, repo_id, now, line));
            Ok(Registrations::Seen(rows.collect()))
        })
        .await
    }

    async fn registration(&self, id: i64, repo_id: i64) -> Result<Option<Registration>, PortError> {
        self.call(Call::new("forge.registration", id), |world, _| {
            let now = world.now();
            let level = world.level(repo_id);
            let forge = world.forge();
            let line = forge.config.line;
            let row = forge.runner(id).filter(|row| is_shown(row, level.as_ref()));
            Ok(row.and_then(|row| registration(row, repo_id, now, line)))
        })
        .await
    }

    async fn register(
        &self,
        attempt_id: &AttemptId,
        repo: RepoRef<'_>,
        labels: &[String],
    ) -> Result<Runner, PortError> {
        self.call(Call::new("forge.register", attempt_id), |world, _| {
            let now = world.now();
            let names: Vec<String> = labels.iter().map(|l| label_name(l).to_owned()).collect();
            let mut forge = world.forge();
            let Some((level, repo_id)) = repository(&forge, repo) else {
                let message = "simulated: the repository is gone";
                return Err(error("forge.register", ErrorKind::Unavailable, message));
            };
            let row = forge.register_in(now, level, &attempt_id.to_string(), &names, true);
            let RunnerRow { id, uuid, token, name, .. } = row;
            let (labels, token) = (labels.to_vec(), Secret::new(token));
            Ok(Runner { id, repo_id, uuid, name, labels, token })
        })
        .await
    }

    async fn at_work(&self, repo_id: i64) -> Result<Option<Vec<JobRunner>>, PortError> {
        self.call(Call::new("forge.at_work", repo_id), |world, _| {
            if world.demand != Demand::Jobs {
                return Ok(None);
            }
            let forge = world.forge();
            let of_it = |job: &&JobRow| repo_id == 0 || job.repo_id == repo_id;
            let running = forge.jobs().filter(|job| job.status == Status::Running).filter(of_it);
            let runner = |job: &JobRow| JobRunner {
                id: job.runner_id.unwrap_or_default(),
                name: job.runner_name.clone().unwrap_or_default(),
            };
            Ok(Some(running.map(runner).collect()))
        })
        .await
    }

    async fn disable(&self, id: i64, repo_id: i64) -> Result<bool, PortError> {
        self.call(Call::new("forge.disable", id), |world, _| {
            let (now, level) = (world.now(), world.level(repo_id));
            let mut forge = world.forge();
            if forge.config.line < Line::V1_26 {
                return Ok(false);
            }
            if forge.runner(id).is_some_and(|row| is_shown(row, level.as_ref())) {
                forge.disable_runner(now, id, true);
            }
            Ok(true)
        })
        .await
    }

    async fn retire(&self, id: i64, repo_id: i64) -> Result<(), PortError> {
        self.call(Call::new("forge.retire", id), |world, _| {
            let now = world.now();
            let level = world.level(repo_id);
            let forge = world.forge.clone();
            let mut forge = forge.lock();
            if let Some(row) = forge.runner(id).filter(|row| is_shown(row, level.as_ref())) {
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

    async fn workflow_run(
        &self,
        job: &JobRef,
        run_id: i64,
    ) -> Result<Option<WorkflowRun>, PortError> {
        self.call(Call::new("forge.workflow_run", run_id), |world, _| {
            Ok(world.forge().workflow_run(job.repo_id, run_id))
        })
        .await
    }

    async fn rerun(
        &self,
        _: &JobRef,
        run_id: i64,
        scope: RerunScope,
    ) -> Result<RerunAnswer, PortError> {
        let call = Call::new("forge.rerun", format!("{run_id} {scope:?}"));
        self.call(call, |world, began| Ok(world.rerun(began, run_id, scope))).await
    }
}

impl World {
    /// Runs jobs again as the forge does, and lets the laws check it.
    fn rerun(&mut self, began: Timestamp, run_id: i64, scope: RerunScope) -> RerunAnswer {
        let now = self.now();
        let forge = self.forge.clone();
        let mut forge = forge.lock();
        if forge.config.line < Line::V1_26 {
            return RerunAnswer::Unsupported;
        }
        let targets = match forge.rerun_targets(run_id, scope) {
            Ok(targets) => targets,
            Err(RerunRefused::NotDone) => return RerunAnswer::NotDone,
            Err(RerunRefused::NotFound) => return RerunAnswer::NotFound,
            Err(RerunRefused::Limit) => return RerunAnswer::Refused("too often".to_owned()),
        };
        for job in &targets {
            let taken_at = self.cloud.taken_at(job.runner_name.as_deref());
            let ran = JobRow { id: forge.ran_as(job.id), ..job.clone() };
            self.laws.on_rerun(now, began, &ran, taken_at);
        }
        let cancelled = forge
            .jobs_of_run(run_id)
            .into_iter()
            .filter(|job| job.status == Status::Done(Conclusion::Cancelled));
        let cancelled_at = cancelled.filter_map(|job| job.completed_at).min();
        self.laws.on_rerun_of_canceled(now, began, run_id, cancelled_at);
        match forge.rerun_by_api(now, run_id, scope) {
            Ok(_) => RerunAnswer::Accepted,
            Err(_) => RerunAnswer::NotDone,
        }
    }

    /// Returns whose registrations a path of the API shows; `None`: all.
    fn level(&self, repo_id: i64) -> Option<Scope> {
        match self.lists {
            RegistrationLists::One => None,
            RegistrationLists::PerRepository if repo_id == 0 => Some(Scope::Global),
            RegistrationLists::PerRepository => {
                let name = self.forge().repo_by_id(repo_id).map(|repo| repo.full_name.clone());
                Some(Scope::Repo(name.unwrap_or_default()))
            }
        }
    }
}

fn is_shown(row: &RunnerRow, level: Option<&Scope>) -> bool {
    level.is_none_or(|level| row.scope == *level)
}

/// Returns the level of a repository's registrations, and its ID.
pub(crate) fn repository(forge: &State, repo: RepoRef<'_>) -> Option<(Scope, i64)> {
    let named = if repo.id > 0 { forge.repo_by_id(repo.id) } else { forge.repo(repo.name) };
    named.map(|repo| (Scope::Repo(repo.full_name.clone()), repo.id))
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
pub(crate) fn registration(
    row: &RunnerRow,
    repo_id: i64,
    now: Timestamp,
    line: Line,
) -> Option<Registration> {
    Some(Registration {
        id: row.id,
        repo_id,
        attempt_id: row.name.parse().ok()?,
        uuid: None,
        online: State::online(row, now),
        busy: State::active(row, now),
        disabled: (line >= Line::V1_26).then_some(row.disabled_at.is_some()),
        disabled_since: None,
        missing_since: None,
    })
}

/// Returns a job as the API shows it.
fn seen_job(job: &JobRow, asked: &JobRef, line: Line) -> SeenJob {
    let state = job.state();
    // Earlier servers count the runners that took the job.
    let waits = line < Line::V1_27 && job.started_at.is_none();
    let attempt = Some(job.attempt + u32::from(waits));
    let repo = (job.repo != asked.repo).then(|| job.repo.clone());
    let repo_id = (job.repo_id != asked.repo_id).then_some(job.repo_id);
    let completed_at = job.completed_at.filter(|_| job.status.is_done());
    let times = JobTimes { started_at: job.started_at, completed_at, attempt };
    let runs_on = Some(job.spec.runs_on.clone());
    SeenJob { state, times, repo, repo_id, runs_on, runner_id: job.runner_id }
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
        created_at: Some(job.created_at),
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
