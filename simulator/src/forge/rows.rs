//! How the server is set up, and its rows.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use tinqs_ci_reconciler::model::Conclusion;

/// The release line of the server, as far as they differ here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Line {
    /// 1.25: the first that lists queued jobs.
    V1_25,
    /// 1.26.
    V1_26,
    /// 1.27: job ids per attempt, ordered lists, no race in `FetchTask`.
    V1_27,
}

impl Line {
    /// What `GET /api/v1/version` says.
    pub fn version(self) -> &'static str {
        match self {
            Self::V1_25 => "1.25.5",
            Self::V1_26 => "1.26.4",
            Self::V1_27 => "1.27.0",
        }
    }
}

/// How the server is set up. May be changed while it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The release line.
    pub line: Line,
    /// `ROOT_URL` without the last slash; stands in payloads.
    pub url: String,
    /// Whether the API lists jobs at all; 1.24 does not.
    pub lists: bool,
    /// Whether the API gives several files in one call; it does from 1.24 on.
    pub file_contents: bool,
    /// `[api] DEFAULT_GIT_TREES_PER_PAGE`, at most 1000.
    pub tree_page: usize,
    /// `ZOMBIE_TASK_TIMEOUT`: a running task without a report for so long fails.
    pub zombie_after: SignedDuration,
    /// `ENDLESS_TASK_TIMEOUT`: a task running for so long fails. `None`: never.
    pub endless_after: Option<SignedDuration>,
    /// `ABANDONED_JOB_TIMEOUT`: a job waiting or blocked for so long is cancelled. `None`: never.
    pub abandoned_after: Option<SignedDuration>,
    /// The race of `FetchTask` up to 1.26: of runners that ask at once one gets a job, and the others
    /// do not look again until the next job comes. Without effect in 1.27.
    pub tasks_version_race: bool,
    /// Until then no task is assigned, as when one broken run stops all fetches.
    pub mute_until: Option<Timestamp>,
    /// Until then runners do not reach the server, and its cron does not run.
    pub down_until: Option<Timestamp>,
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
            mute_until: None,
            down_until: None,
        }
    }
}

/// A job of a push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobSpec {
    /// Its name, matrix values included. Any text.
    pub name: String,
    /// The labels it asks for, every one; none: any runner takes it.
    pub runs_on: Vec<String>,
    /// How long it runs where there is no script.
    pub work: SignedDuration,
    /// How it ends where there is no script.
    pub conclusion: Conclusion,
    /// Jobs of the same push, by index, that must succeed before. Unknown ones are ignored, but keep
    /// the job blocked until another job of the push is done.
    pub needs: Vec<usize>,
    /// Shell text that a runner on the wire runs.
    pub script: Option<String>,
}

impl JobSpec {
    /// A job that works a minute and succeeds.
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

/// How far a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Waits for other jobs; the API says `waiting`.
    Blocked,
    /// Waits for a runner; the API says `queued`.
    Waiting,
    /// A runner has it; the API says `in_progress`.
    Running,
    /// Over; the API says `completed`.
    Done(Conclusion),
}

impl Status {
    /// The word of webhooks and of the API.
    pub fn word(self) -> &'static str {
        match self {
            Self::Blocked => "waiting",
            Self::Waiting => "queued",
            Self::Running => "in_progress",
            Self::Done(_) => "completed",
        }
    }

    /// Whether it is over.
    pub fn is_done(self) -> bool {
        matches!(self, Self::Done(_))
    }
}

/// A job row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobRow {
    /// Its id; up to 1.26 kept over re-runs.
    pub id: i64,
    /// The workflow run it belongs to.
    pub run_id: i64,
    /// `owner/name`.
    pub repo: String,
    /// The repository's id.
    pub repo_id: i64,
    /// What was pushed.
    pub spec: JobSpec,
    /// Jobs, by id, that it needs.
    pub needs: Vec<i64>,
    /// How far it is.
    pub status: Status,
    /// `run_attempt`: up to 1.26 counted when picked (0 before), in 1.27 from 1 on.
    pub attempt: u32,
    /// When the row was made.
    pub created_at: Timestamp,
    /// When its status changed last; the queue's order.
    pub updated_at: Timestamp,
    /// When a runner took it, in this attempt.
    pub started_at: Option<Timestamp>,
    /// When it was over.
    pub completed_at: Option<Timestamp>,
    /// Its task, once a runner took it.
    pub task_id: Option<i64>,
    /// The runner that took it.
    pub runner_id: Option<i64>,
    /// That runner's name, kept after its row is gone (the API forgets it then).
    pub runner_name: Option<String>,
    /// The commit.
    pub head_sha: String,
}

/// A repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repo {
    /// Its id, never used again.
    pub id: i64,
    /// `owner/name`.
    pub full_name: String,
    /// The owner's id; owners are organizations.
    pub owner_id: i64,
    /// When it changed last.
    pub updated_at: Timestamp,
    /// Workflows that somebody has disabled, by their ids.
    pub disabled: BTreeSet<String>,
    /// Users of whom a pull request was merged.
    pub merged: BTreeSet<String>,
}

impl Repo {
    /// Owner and name.
    pub fn parts(&self) -> (&str, &str) {
        self.full_name.split_once('/').unwrap_or((&self.full_name, ""))
    }
}

/// A delivery that the server owes its hooks, once.
#[derive(Clone, Debug, PartialEq)]
pub struct Webhook {
    /// The grouped name, as hooks ask for it: `workflow_job`, `push`, `pull_request`.
    pub event: &'static str,
    /// The exact name: `pull_request_sync`.
    pub event_type: &'static str,
    /// `owner/name`.
    pub repo: String,
    /// The job; 0 where it is about none.
    pub job_id: i64,
    /// What happened to it: `queued`, `waiting`, `in_progress` or `completed`; else empty.
    pub action: &'static str,
    /// The body.
    pub payload: serde_json::Value,
}

impl Webhook {
    /// One that is about no job.
    pub(super) fn of(
        repo: &str,
        event: &'static str,
        event_type: &'static str,
        payload: serde_json::Value,
    ) -> Self {
        Self { event, event_type, repo: repo.to_owned(), job_id: 0, action: "", payload }
    }
}
