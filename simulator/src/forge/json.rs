//! Rows as Gitea serializes them in payloads and API responses.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Forge, JobRow, Line, Repo, RunnerRow, Status, Webhook};
use tinqs_ci_reconciler::model::Conclusion;

/// Returns the API's word for a conclusion.
pub(super) fn word(conclusion: Conclusion) -> &'static str {
    match conclusion {
        Conclusion::Success => "success",
        Conclusion::Failure => "failure",
        Conclusion::Cancelled => "cancelled",
        Conclusion::Skipped => "skipped",
    }
}

/// Formats whole seconds; 1970 if absent.
fn time(at: Option<Timestamp>) -> String {
    let seconds = at.map_or(0, Timestamp::as_second);
    Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH).to_string()
}

impl Forge {
    /// Returns the webhook for a job's current status.
    pub(super) fn webhook(&self, job_id: i64) -> Option<Webhook> {
        let job = self.jobs.get(&job_id)?;
        let repo = self.repos.get(&job.repo)?;
        let action = job.status.word();
        let payload = json!({
            "action": action,
            "workflow_job": self.job_json(job),
            "organization": organization_json(repo),
            "repository": self.repository_json(repo),
            "sender": self.user_json(2, "alice"),
        });
        let repo = job.repo.clone();
        let event = "workflow_job";
        Some(Webhook { event, event_type: event, repo, job_id, action, payload })
    }

    /// Returns a job as in `workflow_job` of webhooks and the job API. It names its repository only
    /// in URLs, and omits the runner's name once that runner's row is gone.
    pub fn job_json(&self, job: &JobRow) -> Value {
        let (url, repo, run) = (&self.config.url, &job.repo, job.run_id);
        let mut value = json!({
            "id": job.id,
            "url": format!("{url}/api/v1/repos/{repo}/actions/jobs/{}", job.id),
            "html_url": self.job_page(job),
            "run_id": run,
            "run_url": format!("{url}/api/v1/repos/{repo}/actions/runs/{run}"),
            "name": job.spec.name,
            "labels": job.spec.runs_on,
            "run_attempt": job.attempt,
            "head_sha": job.head_sha,
            "head_branch": "main",
            "status": job.status.word(),
            "steps": [],
            "created_at": time(Some(job.created_at)),
            "started_at": time(job.started_at),
            "completed_at": time(job.completed_at),
        });
        if let Status::Done(conclusion) = job.status {
            value["conclusion"] = word(conclusion).into();
        }
        if self.config.line == Line::V1_25 && job.started_at.is_none() {
            value["steps"] = Value::Null;
        }
        if let Some(id) = job.runner_id {
            value["runner_id"] = id.into();
            if let Some(row) = self.runner(id) {
                value["runner_name"] = row.name.clone().into();
            }
        }
        value
    }

    /// Returns the URL of a workflow run's page. Gitea 1.25 names the number of the run in its
    /// repository, 1.26 the ID.
    pub(super) fn run_page(&self, repo: &str, run_id: i64) -> String {
        let number = self.run_numbers.get(&run_id).copied().unwrap_or_default();
        let shown = if self.config.line == Line::V1_25 { number } else { run_id };
        format!("{}/{repo}/actions/runs/{shown}", self.config.url)
    }

    /// Returns the URL of a job's page. Gitea 1.25 names the job by its index in the workflow run,
    /// 1.26 by its ID.
    pub fn job_page(&self, job: &JobRow) -> String {
        let page = self.run_page(&job.repo, job.run_id);
        let jobs = self.runs.get(&job.run_id).map(Vec::as_slice).unwrap_or_default();
        let index = jobs.iter().position(|id| *id == job.id).unwrap_or_default();
        match self.config.line {
            Line::V1_25 => format!("{page}/jobs/{index}"),
            Line::V1_26 | Line::V1_27 => format!("{page}/jobs/{}", job.id),
        }
    }

    /// Returns a repository as in payloads and the API.
    pub fn repository_json(&self, repo: &Repo) -> Value {
        let (owner, name) = repo.parts();
        let (url, full) = (&self.config.url, &repo.full_name);
        json!({
            "id": repo.id,
            "owner": self.user_json(repo.owner_id, owner),
            "name": name,
            "full_name": full,
            "description": "",
            "empty": false,
            "private": true,
            "fork": false,
            "html_url": format!("{url}/{full}"),
            "url": format!("{url}/api/v1/repos/{full}"),
            "clone_url": format!("{url}/{full}.git"),
            "default_branch": "main",
            "archived": false,
            "updated_at": time(Some(repo.updated_at)),
            "permissions": {"admin": true, "push": true, "pull": true},
            "has_code": true,
            "has_actions": true,
            "internal": false,
            "object_format_name": "sha1",
            "topics": null,
            "licenses": null,
        })
    }

    pub(super) fn user_json(&self, id: i64, login: &str) -> Value {
        json!({
            "id": id,
            "login": login,
            "login_name": "",
            "source_id": 0,
            "full_name": login,
            "html_url": format!("{}/{login}", self.config.url),
            "is_admin": false,
            "visibility": "public",
            "username": login,
        })
    }

    /// Returns a runner as in the runner API, without credentials.
    pub fn runner_json(&self, row: &RunnerRow, now: Timestamp) -> Value {
        let labels: Vec<Value> = row
            .labels
            .iter()
            .map(|name| json!({"id": 0, "name": name, "type": "custom"}))
            .collect();
        let mut value = json!({
            "id": row.id,
            "name": row.name,
            "status": if Self::online(row, now) { "online" } else { "offline" },
            "busy": Self::active(row, now),
            "ephemeral": row.ephemeral,
            "labels": labels,
        });
        if self.config.line >= Line::V1_26 {
            value["disabled"] = row.disabled_at.is_some().into();
        }
        value
    }
}

fn organization_json(repo: &Repo) -> Value {
    let (owner, _) = repo.parts();
    json!({
        "id": repo.owner_id,
        "name": owner,
        "full_name": owner,
        "visibility": "public",
        "username": owner,
    })
}
