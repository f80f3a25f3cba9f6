//! The client as the port [`Forge`].

use async_trait::async_trait;
use tinqs_ci_reconciler::model::{
    AttemptId, JobRef, JobRunner, Registration, Registrations, RepoRef, RerunScope, Runner,
    WorkflowRun,
};
use tinqs_ci_reconciler::ports::{
    Forge, PortError, RegistrationLists, RerunAnswer, SeenJob, TrueTime, WaitingJob,
};

use super::{Client, pages};
use crate::config::RegisterIn;
use crate::wire::owner_and_name;

#[async_trait]
impl Forge for Client {
    fn true_time(&self) -> TrueTime {
        self.sender.dates.true_time()
    }

    async fn waiting(&self) -> Result<Option<Vec<WaitingJob>>, PortError> {
        let path = format!("{}/actions/jobs?status=queued", self.scope_path());
        let jobs = pages::read_all::<pages::Jobs>(&self.sender, "waiting", &path).await?;
        Ok(Some(self.named(jobs).await))
    }

    async fn job(&self, job: &JobRef) -> Result<SeenJob, PortError> {
        if let Some((owner, name)) = owner_and_name(&job.repo)
            && let Some(seen) = self.job_in(&owner, &name, job.job_id).await?
        {
            return self.with_repository(job, (&owner, &name), seen).await;
        }
        self.job_by_repository(job).await
    }

    fn registration_lists(&self) -> RegistrationLists {
        self.lists()
    }

    async fn registrations(&self, repo_id: i64) -> Result<Registrations, PortError> {
        if self.is_apart(repo_id) {
            return self.list_in_repository(repo_id).await;
        }
        self.list_registrations().await
    }

    async fn registration(&self, id: i64, repo_id: i64) -> Result<Option<Registration>, PortError> {
        self.registration_by_id(id, repo_id).await
    }

    async fn at_work(&self, repo_id: i64) -> Result<Option<Vec<JobRunner>>, PortError> {
        self.runners_at_work(repo_id).await
    }

    async fn register(
        &self,
        attempt_id: &AttemptId,
        repo: RepoRef<'_>,
        labels: &[String],
    ) -> Result<Runner, PortError> {
        match self.register_in {
            RegisterIn::Repository => self.register_in_repository(attempt_id, repo, labels).await,
            RegisterIn::Scope => {
                let runner = self.make_registration(attempt_id, labels).await?;
                Ok(Runner { repo_id: self.id_in_scope(runner.id, repo).await, ..runner })
            }
        }
    }

    async fn disable(&self, id: i64, repo_id: i64) -> Result<bool, PortError> {
        self.disable_registration(id, repo_id).await
    }

    async fn retire(&self, id: i64, repo_id: i64) -> Result<(), PortError> {
        self.remove_registration(id, repo_id).await
    }

    async fn workflow_run(
        &self,
        job: &JobRef,
        run_id: i64,
    ) -> Result<Option<WorkflowRun>, PortError> {
        self.run_with_jobs(job, run_id).await
    }

    async fn rerun(
        &self,
        job: &JobRef,
        run_id: i64,
        scope: RerunScope,
    ) -> Result<RerunAnswer, PortError> {
        self.ask_to_rerun(job, run_id, scope).await
    }
}
