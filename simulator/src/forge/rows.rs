//! Configuration of the server, and its rows.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use tinqs_ci_reconciler::model::Conclusion;

/// The release lines of Gitea that differ here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Line {
    /// 1.25: the first that lists queued jobs.
    V1_25,
    /// 1.26.
    V1_26,
    /// 1.27: job IDs per attempt, ordered lists, no race in `FetchTask`.
    V1_27,
}

impl Line {
    /// Returns the version of a server of this line.
    pub fn version(self) -> &'static str {
        match self {
            Self::V1_25 => "1.25.5",
            Self::V1_26 => "1.26.4",
            Self::V1_27 => "1.27.0",
        }
    }
}

/// Configuration of the server. May change while it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The release line.
    pub line: Line,
    /// `ROOT_URL` without the last slash, used in payloads.
    pub url: String,
    /// Whether the API lists jobs; 1.24 does not.
    pub lists: bool,
    /// Whether the API returns several files in one call; since 1.24.
    pub file_contents: bool,
    /// `[api] DEFAULT_GIT_TREES_PER_PAGE`, at most 1000.
    pub tree_page: usize,
    /// `ZOMBIE_TASK_TIMEOUT`: a running task without a report for this long fails.
    pub zombie_after: SignedDuration,
    /// `ENDLESS_TASK_TIMEOUT`: a task running for this long fails. `None`: never.
    pub endless_after: Option<SignedDuration>,
    /// `ABANDONED_JOB_TIMEOUT`: a job waiting or blocked for this long is canceled. `None`: never.
    pub abandoned_after: Option<SignedDuration>,
    /// The race of `FetchTask` up to 1.26: of runners that ask at the same time, one gets a job,
    /// and the others do not search until the next job arrives. No effect in 1.27.
    pub tasks_version_race: bool,
    /// Time after the disabling of a runner in which its earlier request for a task may still get
    /// one. A runner waits 30 s for the answer.
    pub picks_for: SignedDuration,
    /// Until then no task is assigned, as when one broken workflow run stops all fetches.
    pub mute_until: Option<Timestamp>,
    /// Until then runners cannot reach the server, and its cron does not run.
    pub down_until: Option<Timestamp>,
}

impl Config {
    /// Returns the response of `GET /api/v1/version`: only 1.24 lists no jobs.
    pub fn version(&self) -> &'static str {
        if self.lists { self.line.version() } else { "1.24.7" }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            line: Line::V1_27,
            url: "https://gitea.example.com".to_owned(),
            lists: true,
            file_contents: true,
            tree_page: 1000,
            zombie_after: SignedDuration::from_mins(10),
            endless_after: Some(SignedDuration::from_hours(3)),
            abandoned_after: Some(SignedDuration::from_hours(24)),
            tasks_version_race: false,
            picks_for: SignedDuration::ZERO,
            mute_until: None,
            down_until: None,
        }
    }
}

/// A job of a push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobSpec {
    /// Name with matrix values. Any text.
    pub name: String,
    /// Labels it requires, all of them; none: any runner may take it.
    pub runs_on: Vec<String>,
    /// Duration without a script.
    pub work: SignedDuration,
    /// Result without a script.
    pub conclusion: Conclusion,
    /// Jobs of the same push, by index, that must succeed first. Unknown ones are ignored, but
    /// block the job until another job of the push is done.
    pub needs: Vec<usize>,
    /// Shell script that a real runner executes.
    pub script: Option<String>,
}

impl JobSpec {
    /// Creates a job that runs for a minute and succeeds.
    pub fn new(name: impl Into<String>, runs_on: &[&str]) -> Self {
        Self {
            name: name.into(),
            runs_on: runs_on.iter().map(|&l| l.to_owned()).collect(),
            work: SignedDuration::from_mins(1),
            conclusion: Conclusion::Success,
            needs: Vec::new(),
            script: None,
        }
    }
}

/// Status of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Waits for other jobs; `waiting` in the API.
    Blocked,
    /// Waits for a runner; `queued` in the API.
    Waiting,
    /// Has a runner; `in_progress` in the API.
    Running,
    /// Finished; `completed` in the API.
    Done(Conclusion),
}

impl Status {
    /// Returns the word of webhooks and the API.
    pub fn word(self) -> &'static str {
        match self {
            Self::Blocked => "waiting",
            Self::Waiting => "queued",
            Self::Running => "in_progress",
            Self::Done(_) => "completed",
        }
    }

    /// Returns whether the job is finished.
    pub fn is_done(self) -> bool {
        matches!(self, Self::Done(_))
    }
}

/// A job row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobRow {
    /// Job ID; up to 1.26 kept across reruns.
    pub id: i64,
    /// Its workflow run.
    pub run_id: i64,
    /// `owner/name`.
    pub repo: String,
    /// The repository's id.
    pub repo_id: i64,
    /// The pushed job.
    pub spec: JobSpec,
    /// IDs of the jobs that it needs.
    pub needs: Vec<i64>,
    /// The status of the job.
    pub status: Status,
    /// `run_attempt`: up to 1.26 counted when picked (0 before), in 1.27 from 1 on.
    pub attempt: u32,
    /// Time of creation.
    pub created_at: Timestamp,
    /// Time of the last status change; orders the queue.
    pub updated_at: Timestamp,
    /// Time at which a runner took it in this attempt.
    pub started_at: Option<Timestamp>,
    /// Time at which it finished.
    pub completed_at: Option<Timestamp>,
    /// Its task, once a runner took it.
    pub task_id: Option<i64>,
    /// The runner that took it.
    pub runner_id: Option<i64>,
    /// Name of that runner, kept after its row is gone (the API omits it then).
    pub runner_name: Option<String>,
    /// The commit.
    pub head_sha: String,
}

/// A repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repo {
    /// Repository ID, never reused.
    pub id: i64,
    /// `owner/name`.
    pub full_name: String,
    /// Its earlier names, oldest first, and until when it had each.
    pub former: Vec<(Timestamp, String)>,
    /// The owner's id; owners are organizations.
    pub owner_id: i64,
    /// Time of the last change.
    pub updated_at: Timestamp,
    /// IDs of disabled workflows.
    pub disabled: BTreeSet<String>,
    /// Users with a merged pull request.
    pub merged: BTreeSet<String>,
}

impl Repo {
    /// Returns owner and name.
    pub fn parts(&self) -> (&str, &str) {
        self.full_name.split_once('/').unwrap_or((&self.full_name, ""))
    }
}

/// A webhook that the server delivers once.
#[derive(Clone, Debug, PartialEq)]
pub struct Webhook {
    /// The event group that webhooks subscribe to: `workflow_job`, `push`, `pull_request`.
    pub event: &'static str,
    /// The exact event: `pull_request_sync`.
    pub event_type: &'static str,
    /// `owner/name`.
    pub repo: String,
    /// The job, or 0.
    pub job_id: i64,
    /// The job's new status: `queued`, `waiting`, `in_progress` or `completed`; otherwise empty.
    pub action: &'static str,
    /// The body.
    pub payload: serde_json::Value,
}

impl Webhook {
    /// Creates a webhook that concerns no job.
    pub(super) fn of(
        repo: &str,
        event: &'static str,
        event_type: &'static str,
        payload: serde_json::Value,
    ) -> Self {
        Self { event, event_type, repo: repo.to_owned(), job_id: 0, action: "", payload }
    }
}
