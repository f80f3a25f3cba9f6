//! What one look sees: the record and both sides of the world, at one time.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::class::{Class, ClassName};
use super::machine::Market;
use super::names::{InstanceId, RunName, Slot};
use super::run::{Outcome, Run};

/// Everything that a decision rests on.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct Observation {
    /// The only clock reading that decides.
    #[cfg_attr(feature = "schemars", schemars(with = "String"))]
    pub now: Timestamp,
    /// The name that is looked at.
    pub name: RunName,
    /// The record, read strongly consistent, first (and once more, last, where that matters).
    #[serde(default)]
    pub run: Option<Run>,
    /// The job at the forge.
    pub job: Job,
    /// Attempt and placement that this very look has recorded.
    #[serde(default)]
    pub recorded_here: Option<(u32, u32)>,
    /// Machines with our tag and this run's name, of any incarnation and number.
    #[serde(default)]
    pub machines: Vec<Instance>,
    /// The forge's runner rows with slots of this run's name, of any incarnation.
    pub registrations: Registrations,
    /// Seats held in this run's name, of any incarnation.
    #[serde(default)]
    pub seats: Vec<(ClassName, Slot)>,
    /// The launch pacer has a token to spare.
    pub room: bool,
    /// Its machine was taken by another job, and it is known that none comes back for that.
    #[serde(default)]
    pub no_spare: bool,
    /// The class that serves the run, with what is remembered as out of capacity.
    #[serde(default)]
    pub class: Option<Class>,
}

/// A job, as the forge tells when asked for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub enum Job {
    /// Push mode: jobs cannot be asked for. Never an outage.
    Unobservable,
    /// 404 by its id while its repository answers, or its repository is 404 while the forge answers.
    Absent,
    /// It waits for other jobs, for approval, for its concurrency group: no runner is needed.
    Blocked,
    /// It waits for a runner.
    Waiting,
    /// A runner works on it.
    Running {
        /// That runner's name.
        runner: String,
    },
    /// It is over.
    Done {
        /// How.
        conclusion: Conclusion,
    },
}

/// How a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub enum Conclusion {
    /// It succeeded.
    Success,
    /// It failed; also any word the forge may invent.
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
    /// Its id in its cloud.
    pub id: InstanceId,
    /// Whose it is, from its tags.
    pub slot: Slot,
    /// Which placement of that attempt, from its tags.
    pub placement: u32,
    /// What it is doing.
    pub state: InstanceState,
    /// When the cloud took the launch.
    #[cfg_attr(feature = "schemars", schemars(with = "String"))]
    pub launched_at: Timestamp,
    /// When it powers itself off, from its tags.
    #[cfg_attr(feature = "schemars", schemars(with = "String"))]
    pub deadline: Timestamp,
    /// The registration it was given, from its tags.
    pub registration: i64,
    /// Who ended it, where the cloud tells.
    #[serde(default)]
    pub ended_by: Option<EndedBy>,
    /// Its class, from its tags. For people.
    pub class: ClassName,
    /// Its kind. For people.
    pub kind: String,
    /// Where it is; empty where there are no zones. For people.
    #[serde(default)]
    pub zone: String,
    /// How it is paid. For people.
    #[serde(default)]
    pub market: Market,
}

/// What a machine is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum InstanceState {
    /// Asked for, not up yet.
    Booting,
    /// Up.
    Up,
    /// On its way out: it takes no job and comes back never.
    Ending,
    /// Ended.
    Gone,
}

/// Who ended a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum EndedBy {
    /// It powered itself off.
    Itself,
    /// Somebody asked the cloud to.
    Request,
    /// The cloud took it back.
    Cloud,
}

impl Instance {
    /// Whether it may work or come to work.
    pub fn is_live(&self) -> bool {
        matches!(self.state, InstanceState::Booting | InstanceState::Up)
    }
}

/// The forge's runner rows.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub enum Registrations {
    /// The token may not list runners. Never an outage.
    Unknown,
    /// Those that were seen, and those known to be missing.
    Seen(Vec<Registration>),
}

/// One runner row of ours.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct Registration {
    /// Its id.
    pub id: i64,
    /// Whose it is, from its name.
    pub slot: Slot,
    /// Its uuid, where the forge tells.
    #[serde(default)]
    pub uuid: Option<String>,
    /// Its runner was in contact within the last minute.
    pub online: bool,
    /// It has a job.
    pub busy: bool,
    /// Since when asking for it by its id gives 404.
    #[serde(default)]
    #[cfg_attr(feature = "schemars", schemars(with = "Option<String>"))]
    pub missing_since: Option<Timestamp>,
}

impl Registrations {
    /// The row with that id.
    pub fn by_id(&self, id: i64) -> Option<&Registration> {
        self.seen().iter().find(|r| r.id == id)
    }

    /// What was seen; nothing where that is unknown.
    pub fn seen(&self) -> &[Registration] {
        match self {
            Self::Unknown => &[],
            Self::Seen(rows) => rows,
        }
    }
}

/// How a run ended, from how its job did.
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
