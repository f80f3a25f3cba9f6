//! The state of a job at the forge.

use serde::{Deserialize, Serialize};

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
