//! Workflow runs that the server blocks as a whole: until a person approves them, or until another
//! workflow run of their concurrency group ends. The API shows both alike.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Forge, JobSpec, Status};

/// The data of a workflow run that the server keeps beside its jobs.
#[derive(Clone, Debug, Default)]
pub(super) struct WorkflowRun {
    /// The event, if it was not a push.
    event: Option<&'static str>,
    /// `owner/name`.
    repo: String,
    held: bool,
}

impl WorkflowRun {
    /// Returns whether it is one of this repository.
    pub(super) fn is_of(&self, repo: &str) -> bool {
        self.repo == repo
    }

    /// Its repository has another name from now on.
    pub(super) fn moves(&mut self, to: &str) {
        to.clone_into(&mut self.repo);
    }
}

impl Forge {
    /// Pushes a commit that starts one workflow run with these jobs, all blocked until
    /// [`Forge::unblock`]. Returns their IDs.
    pub fn push_held(
        &mut self,
        now: Timestamp,
        repo: &str,
        event: &'static str,
        jobs: &[JobSpec],
    ) -> Vec<i64> {
        let run = WorkflowRun { event: Some(event), repo: repo.to_owned(), held: true };
        self.held.insert(self.last_id.run + 1, run);
        self.push(now, repo, jobs)
    }

    /// Approves a workflow run, or ends its wait for its concurrency group.
    pub fn unblock(&mut self, now: Timestamp, run_id: i64) {
        if let Some(run) = self.held.get_mut(&run_id) {
            run.held = false;
        }
        self.emit(now, run_id);
    }

    /// Returns whether the server blocks a workflow run as a whole.
    pub(super) fn is_held(&self, run_id: i64) -> bool {
        self.held.get(&run_id).is_some_and(|run| run.held)
    }

    /// Returns the jobs of a workflow run, in its latest attempt.
    pub(crate) fn jobs_of_run(&self, run_id: i64) -> Vec<&super::JobRow> {
        let ids = self.runs.get(&run_id).map(Vec::as_slice).unwrap_or_default();
        let latest = ids.iter().filter(|id| !self.superseded.contains(id));
        latest.filter_map(|id| self.jobs.get(id)).collect()
    }

    /// Deletes a workflow run with its jobs.
    pub fn delete_run(&mut self, run_id: i64) {
        for id in self.runs.remove(&run_id).unwrap_or_default() {
            self.forget_job(id);
        }
        self.run_numbers.remove(&run_id);
        self.held.remove(&run_id);
    }

    /// Returns the workflow runs of a repository as in the API, newest first.
    pub(crate) fn runs_json(&self, repo: &str) -> Vec<Value> {
        self.run_numbers.keys().rev().filter_map(|id| self.run_json(repo, *id)).collect()
    }

    /// Returns a workflow run of a repository as in the API; `None` if there is none.
    pub(crate) fn run_json(&self, repo: &str, run_id: i64) -> Option<Value> {
        let jobs = self.jobs_of_run(run_id);
        let first = jobs.first();
        let held = self.held.get(&run_id).map(|run| run.repo.as_str());
        first.map(|job| job.repo.as_str()).or(held).filter(|of| *of == repo)?;
        let event = self.held.get(&run_id).and_then(|run| run.event).unwrap_or("push");
        let any = |status: Status| jobs.iter().any(|job| job.status == status);
        let status = match () {
            () if jobs.iter().all(|job| job.status.is_done()) => "completed",
            () if any(Status::Running) => "in_progress",
            () if any(Status::Waiting) => "queued",
            () => Status::Blocked.word(),
        };
        Some(json!({
            "id": run_id,
            "url": format!("{}/api/v1/repos/{repo}/actions/runs/{run_id}", self.config.url),
            "html_url": self.run_page(repo, run_id),
            "path": "ci.yml@refs/heads/main",
            "event": event,
            "run_number": self.run_numbers.get(&run_id),
            "run_attempt": self.run_attempt(run_id),
            "head_sha": first.map(|job| job.head_sha.as_str()).unwrap_or_default(),
            "head_branch": "main",
            "status": status,
        }))
    }
}
