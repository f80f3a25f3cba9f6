//! What one reconcile observes: the record, the forge and the cloud at one time.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::class::{Class, ClassName};
use super::machine::Market;
use super::names::{InstanceId, RunName, Slot};
use super::run::{Outcome, Run};

/// The complete input of a decision.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct Observation {
    /// The time of the decision; no other clock reading is used.
    #[cfg_attr(feature = "schemars", schemars(with = "String"))]
    pub now: Timestamp,
    /// The name of the run.
    pub name: RunName,
    /// The record, read with strong consistency before the rest, and again after it if needed.
    #[serde(default)]
    pub run: Option<Run>,
    /// The job at the forge.
    pub job: Job,
    /// The attempt number and placement that this reconcile has recorded.
    #[serde(default)]
    pub recorded_here: Option<(u32, u32)>,
    /// Machines with our tag and this run's name, of any incarnation and attempt.
    #[serde(default)]
    pub machines: Vec<Instance>,
    /// Registrations at the forge with this run's name, of any incarnation.
    pub registrations: Registrations,
    /// Seats with this run's name, of any incarnation.
    #[serde(default)]
    pub seats: Vec<(ClassName, Slot)>,
    /// Whether the launch pacer has a token left.
    pub room: bool,
    /// Whether the job was displaced and no machine will be reassigned to it.
    #[serde(default)]
    pub no_spare: bool,
    /// The class that serves the run, with what is remembered as out of capacity.
    #[serde(default)]
    pub class: Option<Class>,
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
        /// How it ended.
        conclusion: Conclusion,
    },
}

/// How a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub enum Conclusion {
    /// It succeeded.
    Success,
    /// It failed. Also used for unknown conclusions.
    Failure,
    /// It was cancelled.
    Cancelled,
    /// It was skipped.
    Skipped,
}

/// A machine with our tag.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct Instance {
    /// Its ID at its cloud.
    pub id: InstanceId,
    /// The attempt it was launched for, from its tags.
    pub slot: Slot,
    /// The index of the placement within the attempt, from its tags.
    pub placement: u32,
    /// Its state.
    pub state: InstanceState,
    /// When the cloud accepted the launch.
    #[cfg_attr(feature = "schemars", schemars(with = "String"))]
    pub launched_at: Timestamp,
    /// When it powers itself off, from its tags.
    #[cfg_attr(feature = "schemars", schemars(with = "String"))]
    pub deadline: Timestamp,
    /// The ID of its registration, from its tags.
    pub registration: i64,
    /// Who ended it, if the cloud reports that.
    #[serde(default)]
    pub ended_by: Option<EndedBy>,
    /// Its class, from its tags. Informational.
    pub class: ClassName,
    /// Its kind. Informational.
    pub kind: String,
    /// Its zone; empty if there are no zones. Informational.
    #[serde(default)]
    pub zone: String,
    /// Its purchase option. Informational.
    #[serde(default)]
    pub market: Market,
}

/// The state of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum InstanceState {
    /// Launched, not up yet.
    Booting,
    /// Up and running.
    Up,
    /// Shutting down for good: it takes no job.
    Ending,
    /// Terminated.
    Gone,
}

/// Who ended a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum EndedBy {
    /// It powered itself off.
    Itself,
    /// Somebody asked the cloud to end it.
    Request,
    /// The cloud reclaimed it.
    Cloud,
}

impl Instance {
    /// Returns whether the machine is booting or up.
    pub fn is_live(&self) -> bool {
        matches!(self.state, InstanceState::Booting | InstanceState::Up)
    }
}

/// The registrations at the forge.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub enum Registrations {
    /// The token may not list runners. Never used for an outage.
    Unknown,
    /// Registrations that were listed, and those known to be missing.
    Seen(Vec<Registration>),
}

/// One registration of ours at the forge.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct Registration {
    /// Its ID.
    pub id: i64,
    /// The attempt it belongs to, from its name.
    pub slot: Slot,
    /// Its UUID, if the forge reports it.
    #[serde(default)]
    pub uuid: Option<String>,
    /// Whether its runner contacted the forge within the last minute.
    pub online: bool,
    /// Whether it has a job.
    pub busy: bool,
    /// Since when the forge answers 404 for its ID.
    #[serde(default)]
    #[cfg_attr(feature = "schemars", schemars(with = "Option<String>"))]
    pub missing_since: Option<Timestamp>,
}

impl Registrations {
    /// Returns the registration with that ID.
    pub fn by_id(&self, id: i64) -> Option<&Registration> {
        self.seen().iter().find(|r| r.id == id)
    }

    /// Returns the known registrations; none if they cannot be listed.
    pub fn seen(&self) -> &[Registration] {
        match self {
            Self::Unknown => &[],
            Self::Seen(rows) => rows,
        }
    }
}

impl From<Conclusion> for Outcome {
    fn from(conclusion: Conclusion) -> Self {
        match conclusion {
            Conclusion::Success => Self::Succeeded,
            Conclusion::Failure => Self::Failed,
            Conclusion::Cancelled => Self::Cancelled,
            Conclusion::Skipped => Self::Skipped,
        }
    }
}
