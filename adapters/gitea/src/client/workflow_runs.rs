//! A workflow run and its jobs, to explain what blocks a job. Not used by a reconcile.

use jiff::Timestamp;
use serde::Deserialize;
use tinqs_ci_reconciler::model::Job;
use tinqs_ci_reconciler::ports::PortError;

use super::call::Call;
use super::{Client, pages, repository_path};
use crate::wire::{ApiJob, job_status, nullable, owner_and_name};

/// A workflow run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct WorkflowRun {
    /// Its ID.
    #[serde(deserialize_with = "nullable")]
    pub id: i64,
    /// The event that started it.
    #[serde(deserialize_with = "nullable")]
    pub event: String,
    /// The workflow file and the ref: `ci.yml@refs/heads/main`.
    #[serde(deserialize_with = "nullable")]
    pub path: String,
    /// The commit.
    #[serde(deserialize_with = "nullable")]
    pub head_sha: String,
}

impl WorkflowRun {
    /// Returns the path of the workflow file in the folder of workflows.
    pub fn workflow(&self) -> &str {
        self.path.split_once('@').map_or(self.path.as_str(), |(workflow, _)| workflow)
    }
}

/// A job of a workflow run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunJob {
    /// Its ID.
    pub id: i64,
    /// The ID of its workflow run.
    pub run_id: i64,
    /// Its name, with matrix values.
    pub name: String,
    /// The labels that it asks for.
    pub labels: Vec<String>,
    /// The URL of its page.
    pub url: String,
    /// Its state; `None` if this version does not know the forge's word.
    pub state: Option<Job>,
    /// When a runner took it.
    pub started_at: Option<Timestamp>,
}

impl From<ApiJob> for RunJob {
    fn from(job: ApiJob) -> Self {
        let state = job_status(&job);
        let ApiJob { id, run_id, name, labels, html_url, started_at, .. } = job;
        Self { id, run_id, name, labels, url: html_url, state, started_at }
    }
}

impl Client {
    /// Returns a job of a repository, as its workflow run has it; `None` if the forge answers 404.
    ///
    /// # Errors
    /// The forge does not answer, or denies it.
    pub async fn run_job(&self, repo: &str, id: i64) -> Result<Option<RunJob>, PortError> {
        let Some((owner, name)) = owner_and_name(repo) else { return Ok(None) };
        let path = format!("{}/actions/jobs/{id}", repository_path(&owner, &name));
        let call = Call::get("run_job", &path);
        let answer = self.sender.send(&call).await?;
        if answer.is_not_found() {
            return Ok(None);
        }
        let job: ApiJob = self.sender.read(&call, &answer)?;
        Ok(Some(job.into()))
    }

    /// Returns a workflow run with its jobs, of its latest attempt; `None` if the forge answers 404.
    ///
    /// # Errors
    /// The forge does not answer, or denies it.
    pub async fn workflow_run(
        &self,
        repo: &str,
        id: i64,
    ) -> Result<Option<(WorkflowRun, Vec<RunJob>)>, PortError> {
        let Some((owner, name)) = owner_and_name(repo) else { return Ok(None) };
        let path = format!("{}/actions/runs/{id}", repository_path(&owner, &name));
        let call = Call::get("workflow_run", &path);
        let answer = self.sender.send(&call).await?;
        if answer.is_not_found() {
            return Ok(None);
        }
        let run: WorkflowRun = self.sender.read(&call, &answer)?;
        let path = format!("{path}/jobs");
        let jobs = pages::read_all::<pages::Jobs>(&self.sender, "run_jobs", &path).await?;
        Ok(Some((run, jobs.into_iter().map(RunJob::from).collect())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workflow_run_names_its_file() {
        for (path, workflow) in [
            ("ci.yml@refs/heads/main", "ci.yml"),
            ("sub/ci.yaml@refs/tags/v@1", "sub/ci.yaml"),
            ("ci.yml", "ci.yml"),
            ("", ""),
        ] {
            let run = WorkflowRun { path: path.to_owned(), ..WorkflowRun::default() };
            assert_eq!(run.workflow(), workflow);
        }
        let null: WorkflowRun =
            serde_json::from_str(r#"{"id":3,"event":null,"new":[]}"#).expect("a workflow run");
        assert_eq!((null.id, null.event.as_str()), (3, ""));
    }
}
