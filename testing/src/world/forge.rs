//! The test world's forge.

use async_trait::async_trait;
use tinqs_ci_reconciler::model::{
    AttemptId, JobRef, JobRunner, Registration, Registrations, RepoRef, RerunScope, Runner, Secret,
    WorkflowRun,
};
use tinqs_ci_reconciler::ports::{
    Forge, PortError, RegistrationLists, RerunAnswer, SeenJob, TrueTime, WaitingJob,
};

use super::TestWorld;

#[async_trait]
impl Forge for TestWorld {
    fn true_time(&self) -> TrueTime {
        self.state().true_time
    }

    async fn waiting(&self) -> Result<Option<Vec<WaitingJob>>, PortError> {
        Ok(self.call("forge", "waiting")?.waiting.clone())
    }

    async fn job(&self, job: &JobRef) -> Result<SeenJob, PortError> {
        let hangs = self.state().jobs_hang;
        if hangs {
            std::future::pending::<()>().await;
        }
        let state = self.call("forge", "job")?;
        let seen = state.jobs.get(&job.job_id).unwrap_or(&state.other_jobs).clone();
        let repo = state.moved.get(&job.job_id).filter(|repo| **repo != job.repo).cloned();
        let repo_id = state.repo_ids.get(&job.job_id).copied().filter(|id| *id != job.repo_id);
        let times = state.times_of(job.job_id);
        let runs_on = state.labels.get(&job.job_id).cloned();
        let runner_id = state.ran_on.get(&job.job_id).copied();
        Ok(SeenJob { state: seen, times, repo, repo_id, runs_on, runner_id })
    }

    fn registration_lists(&self) -> RegistrationLists {
        self.state().lists
    }

    async fn registrations(&self, repo_id: i64) -> Result<Registrations, PortError> {
        let state = self.call("forge", "registrations")?;
        if state.registrations_hidden {
            return Ok(Registrations::Unknown);
        }
        let apart = state.lists == RegistrationLists::PerRepository;
        let listed = |r: &&Registration| {
            !state.unlisted.contains(&r.id.to_string()) && (!apart || r.repo_id == repo_id)
        };
        Ok(Registrations::Seen(state.registrations.iter().filter(listed).cloned().collect()))
    }

    async fn registration(&self, id: i64, repo_id: i64) -> Result<Option<Registration>, PortError> {
        let state = self.call("forge", "registration")?;
        let apart = state.lists == RegistrationLists::PerRepository;
        let is_it = |r: &&Registration| r.id == id && (!apart || r.repo_id == repo_id);
        Ok(state.registrations.iter().find(is_it).cloned())
    }

    async fn register(
        &self,
        attempt_id: &AttemptId,
        repo: RepoRef<'_>,
        labels: &[String],
    ) -> Result<Runner, PortError> {
        let mut state = self.call("forge", "register")?;
        let apart = state.lists == RegistrationLists::PerRepository;
        let repo_id = if apart { repo.id } else { 0 };
        let id = 100 + state.registered;
        state.registered += 1;
        state.registrations.push(Registration {
            id,
            repo_id,
            attempt_id: attempt_id.clone(),
            uuid: None,
            online: false,
            busy: false,
            disabled: None,
            disabled_since: None,
            missing_since: None,
        });
        Ok(Runner {
            id,
            repo_id,
            uuid: format!("00000000-0000-4000-8000-{id:012}"),
            name: attempt_id.to_string(),
            labels: labels.to_vec(),
            token: Secret::new(state.runner_token.clone()),
        })
    }

    async fn at_work(&self, _: i64) -> Result<Option<Vec<JobRunner>>, PortError> {
        Ok(self.call("forge", "at_work")?.at_work.clone())
    }

    async fn disable(&self, id: i64, _: i64) -> Result<bool, PortError> {
        let mut state = self.call("forge", "disable")?;
        let is_possible = !state.cannot_disable;
        let of_it = state.registrations.iter_mut().filter(|row| row.id == id && is_possible);
        of_it.for_each(|row| row.disabled = Some(true));
        Ok(is_possible)
    }

    async fn retire(&self, id: i64, repo_id: i64) -> Result<(), PortError> {
        let mut state = self.call("forge", "retire")?;
        let apart = state.lists == RegistrationLists::PerRepository;
        state.registrations.retain(|r| r.id != id || (apart && r.repo_id != repo_id));
        Ok(())
    }

    async fn workflow_run(
        &self,
        _: &JobRef,
        run_id: i64,
    ) -> Result<Option<WorkflowRun>, PortError> {
        Ok(self.call("forge", "workflow_run")?.workflow_runs.get(&run_id).cloned())
    }

    async fn rerun(
        &self,
        _: &JobRef,
        run_id: i64,
        scope: RerunScope,
    ) -> Result<RerunAnswer, PortError> {
        let mut state = self.call("forge", "rerun")?;
        state.rerun_requests.push((run_id, scope));
        Ok(state.rerun_answer.clone())
    }
}
