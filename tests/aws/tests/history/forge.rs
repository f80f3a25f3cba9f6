//! The forge of a history, in this process and without faults.

use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::{Mutex, MutexGuard};
use tinqs_ci_reconciler::controller::Hint;
use tinqs_ci_reconciler::model::{
    About, AttemptId, Job, JobRef, JobRunner, JobTimes, Registration, Registrations, RepoRef,
    RerunScope, Runner, Secret, WorkflowRun, label_name,
};
use tinqs_ci_reconciler::ports::{
    Clock, Forge as Port, PortError, RegistrationLists, RerunAnswer, SeenJob, TrueTime, WaitingJob,
};
use tinqs_ci_simulator::forge::{Config, Forge, JobRow, JobSpec, Line, RunnerRow, Scope, Status};

/// The repository that everything is pushed to.
const REPO: &str = "acme/widget";

/// A forge on the history's clock.
#[derive(Clone)]
pub(crate) struct TestForge {
    /// Shared with EC2's wire, whose machines run their runners against it.
    pub(crate) forge: Arc<Mutex<Forge>>,
    clock: Arc<dyn Clock>,
    wrong: Arc<Mutex<Vec<String>>>,
}

impl TestForge {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        let mut forge = Forge::new(Config { line: Line::V1_27, ..Config::default() });
        forge.add_repo(REPO);
        Self { forge: Arc::new(Mutex::new(forge)), clock, wrong: Arc::default() }
    }

    pub(crate) fn forge(&self) -> MutexGuard<'_, Forge> {
        self.forge.lock()
    }

    pub(crate) fn push(&self, jobs: &[JobSpec]) -> Vec<i64> {
        self.forge().push(self.clock.now(), REPO, jobs)
    }

    /// Returns the forbidden calls so far.
    pub(crate) fn wrong(&self) -> Vec<String> {
        self.wrong.lock().clone()
    }

    /// Returns the hints of the webhooks that are due now.
    pub(crate) fn hints(&self) -> Vec<Hint> {
        let mut forge = self.forge();
        let webhooks = forge.take_webhooks();
        let hint = |webhook: &tinqs_ci_simulator::forge::Webhook| {
            let job = forge.job(webhook.job_id)?;
            match webhook.action {
                "queued" => Some(Hint::Queued(waiting(job))),
                "waiting" => None,
                _ => {
                    let runner = webhook.payload["workflow_job"]["runner_name"].as_str();
                    Some(Hint::Job { job_id: job.id, runner: runner.map(str::to_owned) })
                }
            }
        };
        webhooks.iter().filter_map(hint).collect()
    }

    fn registration(&self, row: &RunnerRow) -> Option<Registration> {
        let now = self.clock.now();
        Some(Registration {
            id: row.id,
            repo_id: 0,
            attempt_id: row.name.parse().ok()?,
            uuid: None,
            online: Forge::online(row, now),
            busy: Forge::active(row, now),
            disabled: Some(row.disabled_at.is_some()),
            disabled_since: None,
            missing_since: None,
        })
    }
}

fn waiting(job: &JobRow) -> WaitingJob {
    WaitingJob {
        job: JobRef { repo: job.repo.clone(), repo_id: job.repo_id, job_id: job.id },
        runs_on: job.spec.runs_on.clone(),
        about: About { repo: job.repo.clone(), job: job.spec.name.clone(), ..About::default() },
        created_at: Some(job.created_at),
    }
}

#[async_trait]
impl Port for TestForge {
    fn true_time(&self) -> TrueTime {
        TrueTime::About(self.clock.now())
    }

    async fn waiting(&self) -> Result<Option<Vec<WaitingJob>>, PortError> {
        Ok(Some(self.forge().waiting().into_iter().map(waiting).collect()))
    }

    async fn job(&self, job: &JobRef) -> Result<SeenJob, PortError> {
        let forge = self.forge();
        let Some(row) = forge.job(job.job_id) else { return Ok(Job::Absent.into()) };
        let state = match row.status {
            Status::Blocked => Job::Blocked,
            Status::Waiting => Job::Waiting,
            Status::Running => Job::Running { runner: row.runner_name.clone().unwrap_or_default() },
            Status::Done(conclusion) => Job::Done { conclusion },
        };
        let waits = forge.config.line < Line::V1_27 && row.started_at.is_none();
        let attempt = Some(row.attempt + u32::from(waits));
        let completed_at = row.completed_at.filter(|_| row.status.is_done());
        let times = JobTimes { started_at: row.started_at, completed_at, attempt };
        let runs_on = Some(row.spec.runs_on.clone());
        let (repo, repo_id, runner_id) = (None, None, row.runner_id);
        Ok(SeenJob { state, times, repo, repo_id, runs_on, runner_id })
    }

    fn registration_lists(&self) -> RegistrationLists {
        RegistrationLists::One
    }

    async fn registrations(&self, _: i64) -> Result<Registrations, PortError> {
        let rows = self.forge().runners().filter_map(|row| self.registration(row)).collect();
        Ok(Registrations::Seen(rows))
    }

    async fn registration(&self, id: i64, _: i64) -> Result<Option<Registration>, PortError> {
        Ok(self.forge().runner(id).and_then(|row| Self::registration(self, row)))
    }

    async fn register(
        &self,
        attempt_id: &AttemptId,
        repo: RepoRef<'_>,
        labels: &[String],
    ) -> Result<Runner, PortError> {
        let names: Vec<String> = labels.iter().map(|label| label_name(label).to_owned()).collect();
        let now = self.clock.now();
        let level = Scope::Repo(repo.name.to_owned());
        let row = self.forge().register_in(now, level, &attempt_id.to_string(), &names, true);
        let RunnerRow { id, uuid, token, name, .. } = row;
        let (labels, token, repo_id) = (labels.to_vec(), Secret::new(token), repo.id);
        Ok(Runner { id, repo_id, uuid, name, labels, token })
    }

    async fn at_work(&self, _: i64) -> Result<Option<Vec<JobRunner>>, PortError> {
        let forge = self.forge();
        let running = forge.jobs().filter(|job| job.status == Status::Running);
        let runner = |job: &JobRow| JobRunner {
            id: job.runner_id.unwrap_or_default(),
            name: job.runner_name.clone().unwrap_or_default(),
        };
        Ok(Some(running.map(runner).collect()))
    }

    async fn disable(&self, id: i64, _: i64) -> Result<bool, PortError> {
        let now = self.clock.now();
        self.forge().disable_runner(now, id, true);
        Ok(true)
    }

    async fn retire(&self, id: i64, _: i64) -> Result<(), PortError> {
        let mut forge = self.forge();
        if let Some(row) = forge.runner(id).filter(|row| forge.busy(row)) {
            let mut wrong = self.wrong.lock();
            wrong.push(format!("a busy runner was retired: {}", row.name));
        }
        forge.delete_runner(id);
        Ok(())
    }

    /// The jobs here name no workflow run.
    async fn workflow_run(&self, _: &JobRef, _: i64) -> Result<Option<WorkflowRun>, PortError> {
        Ok(None)
    }

    async fn rerun(&self, _: &JobRef, _: i64, _: RerunScope) -> Result<RerunAnswer, PortError> {
        Ok(RerunAnswer::NotFound)
    }
}
