//! Workflow runs as the port reads them, and the calls that run their jobs again.

use axum::http::Method;
use serde::Deserialize;
use tinqs_ci_reconciler::model::{JobRef, RerunScope, WorkflowJob, WorkflowRun};
use tinqs_ci_reconciler::ports::{ErrorKind, PortError, RerunAnswer};

use super::call::Call;
use super::setup::Access;
use super::{Client, pages, repository_path};
use crate::wire::{ApiJob, bounded, job_status, nullable};

/// The forge's answer about running jobs again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RerunAccess {
    /// The repository that was asked, `owner/name`.
    pub repository: String,
    /// The token's right there.
    pub access: Access,
}

/// A workflow run (`ActionWorkflowRun` of `modules/structs/repo_actions.go`).
#[derive(Default, Deserialize)]
#[serde(default)]
struct ApiRun {
    #[serde(deserialize_with = "nullable")]
    id: i64,
    #[serde(deserialize_with = "nullable")]
    status: String,
    run_attempt: Option<i64>,
}

impl ApiRun {
    fn is_done(&self) -> bool {
        self.status == "completed"
    }
}

impl From<ApiJob> for WorkflowJob {
    fn from(job: ApiJob) -> Self {
        let state = job_status(&job);
        let ApiJob { id, name, completed_at, .. } = job;
        Self { id, name: bounded(&name), state, completed_at }
    }
}

impl Client {
    /// Returns a workflow run and the jobs of its latest attempt, in the order of their IDs; `None`
    /// if it or its repository is gone.
    pub(super) async fn run_with_jobs(
        &self,
        job: &JobRef,
        run_id: i64,
    ) -> Result<Option<WorkflowRun>, PortError> {
        let Some(run) = self.run_of(job, run_id).await? else { return Ok(None) };
        let Some(path) = self.path_of(job.repo_id, false).await? else { return Ok(None) };
        let path = format!("{path}/actions/runs/{run_id}/jobs");
        // A job that the list omits might have failed by itself.
        let jobs = pages::read_whole::<pages::Jobs>(&self.sender, "workflow_run", &path).await?;
        let mut jobs: Vec<WorkflowJob> = jobs.into_iter().map(WorkflowJob::from).collect();
        jobs.sort_by_key(|job| job.id);
        let is_done = run.is_done();
        let attempt = run.run_attempt.and_then(|number| u32::try_from(number).ok());
        let attempt = attempt.filter(|number| *number > 0);
        Ok(Some(WorkflowRun { is_done, attempt, can_rerun: self.can_rerun().await?, jobs }))
    }

    async fn run_of(&self, job: &JobRef, run_id: i64) -> Result<Option<ApiRun>, PortError> {
        let at = |path: &str| Call::get("workflow_run", &format!("{path}/actions/runs/{run_id}"));
        let Some((call, answer)) = self.send_to_repository(job.repo_id, at).await? else {
            return Ok(None);
        };
        if answer.is_not_found() {
            return Ok(None);
        }
        let run: ApiRun = self.sender.read(&call, &answer)?;
        if run.id != run_id {
            let what = "the response is about another workflow run";
            return Err(self.sender.error(&call, ErrorKind::Unavailable, what));
        }
        Ok(Some(run))
    }

    /// Returns whether the server has the calls (`routers/api/v1/api.go` since Gitea 1.26).
    async fn can_rerun(&self) -> Result<bool, PortError> {
        let known = self.last_version.lock().clone();
        let version = match known {
            Some(version) => version,
            None => self.version().await?,
        };
        Ok(!version.precedes(1, 26))
    }

    /// Returns whether the token may run jobs again, by a request for a workflow run that does not
    /// exist. `None`: the server has no such calls, or there is no repository to ask it for.
    ///
    /// # Errors
    /// The forge does not answer, or not whether it may.
    pub async fn rerun_access(&self) -> Result<Option<RerunAccess>, PortError> {
        if !self.can_rerun().await? {
            return Ok(None);
        }
        let Some((owner, name)) = self.any_repository().await? else { return Ok(None) };
        let repository = repository_path(&owner, &name);
        let path = format!("{repository}/actions/runs/0/rerun-failed-jobs");
        let call = Call::api("rerun_access", Method::POST, &path, None);
        let answer = self.sender.send(&call).await?;
        let access = match self.refused(&call, &answer) {
            Some(refused) => refused,
            // It says that there is no such workflow run only if the token may write to Actions.
            None if matches!(answer.status.as_u16(), 400 | 404) && !answer.is_html() => {
                Access::Granted
            }
            None => return Err(self.sender.refusal(&call, &answer)),
        };
        Ok(Some(RerunAccess { repository: format!("{owner}/{name}"), access }))
    }

    /// Asks to run jobs again. Never repeated by itself: the reply of an earlier call may be lost.
    pub(super) async fn ask_to_rerun(
        &self,
        job: &JobRef,
        run_id: i64,
        scope: RerunScope,
    ) -> Result<RerunAnswer, PortError> {
        if !self.can_rerun().await? {
            return Ok(RerunAnswer::Unsupported);
        }
        let what = match scope {
            RerunScope::Failed => "rerun-failed-jobs".to_owned(),
            RerunScope::Job(id) => format!("jobs/{id}/rerun"),
        };
        let at = |path: &str| {
            let path = format!("{path}/actions/runs/{run_id}/{what}");
            Call::api("rerun", Method::POST, &path, None)
        };
        let Some((call, answer)) = self.send_to_repository(job.repo_id, at).await? else {
            return Ok(RerunAnswer::NotFound);
        };
        match answer.status.as_u16() {
            200..=299 if !answer.is_html() => Ok(RerunAnswer::Accepted),
            404 if answer.is_not_found() => Ok(RerunAnswer::NotFound),
            // Gitea answers 400 for a workflow run that is not over, for a disabled workflow and at
            // its limit of attempts (`handleWorkflowRerunError`): only reading it tells which.
            400 | 409 | 422 if !answer.is_html() => match self.run_of(job, run_id).await? {
                None => Ok(RerunAnswer::NotFound),
                Some(run) if !run.is_done() => Ok(RerunAnswer::NotDone),
                Some(_) => {
                    let words = self.sender.words(&answer);
                    Ok(RerunAnswer::Refused(format!("{}{words}", answer.status)))
                }
            },
            _ => Err(self.sender.refusal(&call, &answer)),
        }
    }
}
