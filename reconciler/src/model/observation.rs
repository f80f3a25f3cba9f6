//! What one look sees: the record and both sides of the world, at one time.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::class::{Class, ClassName};
use super::machine::{Broken, Cause, Machine, Market, Shortage};
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
    /// The class that serves the run, with what is known of its offerings and its breaker.
    #[serde(default)]
    pub class: Option<ObservedClass>,
}

/// A configured class with what is known of it now. In JSON one object holds both.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct ObservedClass {
    /// The class as it is configured.
    #[serde(flatten)]
    pub class: Class,
    /// Offerings that are skipped for now, because the cloud refused them or took machines back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unavailable: Vec<Shortage>,
    /// The open breaker, and until when the class gets no launch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub breaker: Option<Broken>,
}

/// A class whose offerings are all available and whose breaker is closed.
impl From<Class> for ObservedClass {
    fn from(class: Class) -> Self {
        Self { class, unavailable: Vec::new(), breaker: None }
    }
}

impl ObservedClass {
    /// Returns the time until which this machine is skipped because the cloud refused it.
    pub fn unavailable_until(&self, machine: &Machine, now: Timestamp) -> Option<Timestamp> {
        self.refusals(machine, now).map(|s| s.until).max()
    }

    /// Returns the cause that rules this machine out for the longest time.
    pub fn unavailable_because(&self, machine: &Machine, now: Timestamp) -> Option<Cause> {
        self.refusals(machine, now).max_by_key(|s| s.until).map(|s| s.cause)
    }

    /// What is known of this machine and not over yet.
    fn known_of(&self, machine: &Machine, now: Timestamp) -> impl Iterator<Item = &Shortage> {
        self.unavailable.iter().filter(move |s| s.until > now && s.covers(machine))
    }

    /// The same without machines that were taken back: those rule nothing out.
    fn refusals(&self, machine: &Machine, now: Timestamp) -> impl Iterator<Item = &Shortage> {
        self.known_of(machine, now).filter(|s| s.cause != Cause::Reclaimed)
    }

    /// Returns the machine to ask for: the first that is allowed and not skipped. Offerings from
    /// which the cloud has just taken a machine back come last.
    pub fn choose(&self, now: Timestamp, may: impl Fn(&Machine) -> bool) -> Option<&Machine> {
        let free = |m: &&Machine| may(m) && self.unavailable_until(m, now).is_none();
        let calm = |m: &&Machine| free(m) && self.known_of(m, now).next().is_none();
        let machines = &self.class.machines;
        machines.iter().find(calm).or_else(|| machines.iter().find(free))
    }

    /// Returns the breaker where it is open at this time.
    pub fn open_breaker(&self, now: Timestamp) -> Option<&Broken> {
        self.breaker.as_ref().filter(|breaker| breaker.until > now)
    }
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
