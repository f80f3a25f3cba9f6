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
    /// Its number in the repository, which the URLs of pages hold before Gitea 1.26 (Gitea 1.25
    /// `models/actions/run.go`, `HTMLURL`).
    #[serde(rename = "run_number", deserialize_with = "nullable")]
    pub number: i64,
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
    /// The time when a runner took it.
    pub started_at: Option<Timestamp>,
}

impl From<ApiJob> for RunJob {
    fn from(job: ApiJob) -> Self {
        let state = job_status(&job);
        let ApiJob { id, run_id, name, labels, html_url, started_at, .. } = job;
        let labels = labels.unwrap_or_default();
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
    pub async fn run_and_jobs(
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

    /// Returns the ID of a workflow run by its number in the repository; `None` if the forge does
    /// not list it. The list is newest first, so that the number tells about which page it is on.
    ///
    /// # Errors
    /// The forge does not answer, or denies it.
    pub async fn workflow_run_id(&self, repo: &str, number: i64) -> Result<Option<i64>, PortError> {
        let (mut page, mut first, mut last) = (1, 1, i64::MAX);
        for _ in 0..LIST_READS {
            let runs = self.workflow_runs(repo, page).await?;
            if let Some(run) = runs.iter().find(|run| run.number == number) {
                return Ok(Some(run.id));
            }
            let numbers = || runs.iter().map(|run| run.number);
            let older = numbers().min().map(|oldest| oldest - number).filter(|by| *by > 0);
            let is_newer = numbers().max().is_none_or(|newest| newest < number);
            let guess = match older {
                Some(by) => {
                    first = page + 1;
                    page + (by - 1) / rows(&runs) + 1
                }
                // The list is shorter than the numbers say: runs were deleted.
                None if is_newer => {
                    last = page - 1;
                    i64::midpoint(first, last)
                }
                None => return Ok(None),
            };
            if first > last {
                return Ok(None);
            }
            page = guess.clamp(first, last);
        }
        Ok(None)
    }

    /// Returns a page of a repository's workflow runs, newest first (Gitea 1.25
    /// `models/actions/run_list.go`, `ToOrders`).
    async fn workflow_runs(&self, repo: &str, page: i64) -> Result<Vec<WorkflowRun>, PortError> {
        let Some((owner, name)) = owner_and_name(repo) else { return Ok(Vec::new()) };
        let path = repository_path(&owner, &name);
        let path = format!("{path}/actions/runs?limit={LIST_ROWS}&page={page}");
        let call = Call::get("workflow_runs", &path);
        let answer = self.sender.send(&call).await?;
        if answer.is_not_found() {
            return Ok(Vec::new());
        }
        let list: RunList = self.sender.read(&call, &answer)?;
        Ok(list.workflow_runs)
    }
}

/// Rows per page of the list of workflow runs; the forge may give fewer.
const LIST_ROWS: usize = 50;
/// The maximum number of pages that are read to find a workflow run by its number.
const LIST_READS: usize = 20;

/// Returns how many rows a page of this list has, at least 1.
fn rows(runs: &[WorkflowRun]) -> i64 {
    i64::try_from(runs.len()).unwrap_or(i64::MAX).max(1)
}

#[derive(Deserialize)]
struct RunList {
    #[serde(deserialize_with = "nullable")]
    workflow_runs: Vec<WorkflowRun>,
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
