//! The timeline of a run: what happened to it, and when. For people; no decision reads it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::attempt::End;
use super::machine::Refusal;
use super::names::MachineId;
use super::outcome::{EndedBy, Outcome};
use super::rerun::RerunEnd;

/// Something that happened to a run.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct Milestone {
    /// Time at which it was recorded, truncated to milliseconds.
    #[cfg_attr(feature = "schemars", schemars(with = "String"))]
    pub at: Timestamp,
    /// The event.
    #[serde(flatten)]
    pub what: Happened,
}

/// The kinds of milestones of a run. One that this version does not know is read as `Unknown`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(tag = "kind")]
pub enum Happened {
    /// The job was seen waiting, and the run was created.
    Seen {
        /// The source that announced the job.
        by: SeenBy,
    },
    /// The attempt's runner was registered, and the attempt recorded.
    Registered {
        /// The attempt's number.
        attempt: u32,
    },
    /// The cloud accepted the launch of a machine.
    Launched {
        /// The attempt's number.
        attempt: u32,
        /// The machine's ID.
        machine: MachineId,
    },
    /// The cloud refused the launch of a machine.
    Refused {
        /// The attempt's number.
        attempt: u32,
        /// The reason.
        why: Refusal,
    },
    /// The job was seen running.
    Started {
        /// The name of the runner that executes it.
        runner: String,
        /// The attempt of this run that the runner belongs to, if it does.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        attempt: Option<u32>,
        /// The number of this attempt of the job at the forge, if it is a re-run.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        job_attempt: Option<u32>,
    },
    /// Another job took the machine.
    Reassigned {
        /// The number of the attempt whose machine it was.
        attempt: u32,
    },
    /// The machine of the running job was seen gone.
    MachineLost {
        /// The machine's ID.
        machine: MachineId,
        /// The party that ended it, if the cloud reports that.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ended_by: Option<EndedBy>,
    },
    /// An attempt ended.
    AttemptEnded {
        /// The attempt's number.
        attempt: u32,
        /// The reason.
        why: End,
    },
    /// The forge blocked the job.
    Blocked,
    /// The forge no longer blocks the job.
    Unblocked,
    /// The job waited too long.
    GaveUp,
    /// A person retried the run.
    Retried {
        /// The name of the token or the user who asked; `None` if it is not known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<String>,
    },
    /// A person deleted the run.
    Deleted {
        /// The name of the token or the user who asked; `None` if it is not known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<String>,
    },
    /// The run finished, or its outcome changed.
    Finished {
        /// The outcome.
        outcome: Outcome,
    },
    /// The forge accepted to run the job again, because the cloud had taken its machine.
    RerunRequested,
    /// The job is not run again although the cloud had taken its machine.
    NotRerun {
        /// The reason.
        why: RerunEnd,
    },
    /// The job waits again: a re-run.
    Reopened {
        /// The number of this attempt of the job at the forge, if it tells that.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        job_attempt: Option<u32>,
    },
    /// Something that another version recorded.
    #[serde(other)]
    Unknown,
}

/// The source that announced a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum SeenBy {
    /// A webhook about the job.
    Webhook,
    /// The forge's list of jobs: no webhook had announced it.
    Poll,
    /// Push mode: the evaluation of a push.
    Push,
    /// Something that this version does not know.
    #[serde(other)]
    Other,
}

impl Milestone {
    /// Creates a milestone. The time is cut to milliseconds, to keep records short.
    pub fn new(at: Timestamp, what: Happened) -> Self {
        Self { at: Timestamp::from_millisecond(at.as_millisecond()).unwrap_or(at), what }
    }
}
