//! A job at the forge: its identity, and its state.

use serde::{Deserialize, Serialize};

use super::repos::RepoRef;

/// A job at the forge, identified by its numeric IDs; names may change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct JobRef {
    /// `owner/name` as last reported.
    pub repo: String,
    /// The repository's ID at the forge; 0 if unknown.
    pub repo_id: i64,
    /// The job's ID at the forge; 0 in push mode.
    pub job_id: i64,
}

impl JobRef {
    /// Returns its repository.
    pub fn repo_ref(&self) -> RepoRef<'_> {
        RepoRef { id: self.repo_id, name: &self.repo }
    }
}

/// The state of a job, as the forge reports it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub enum Job {
    /// Push mode: jobs cannot be read. Never used for an outage.
    Unobservable,
    /// 404 for the job while its repository answers, or for the repository while the forge answers.
    Absent,
    /// It waits for other jobs, approval or its concurrency group: it needs no runner.
    Blocked,
    /// It waits for a runner.
    Waiting,
    /// A runner executes it.
    Running {
        /// The runner's name.
        runner: String,
    },
    /// It has ended.
    Done {
        /// The conclusion.
        conclusion: Conclusion,
    },
}

/// The conclusion of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub enum Conclusion {
    /// It succeeded.
    Success,
    /// It failed. Also used for unknown conclusions.
    Failure,
    /// It was canceled.
    Cancelled,
    /// It was skipped.
    Skipped,
}
