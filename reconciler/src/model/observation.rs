//! The observation of one reconcile: the record, the forge and the cloud at one time.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::allocation::{Allocation, Chosen, Pool, Preference, chosen, ordered};
use super::attempt::{BootPromise, is_zero};
use super::boots::BootStop;
use super::budget::BudgetStop;
use super::class::{Class, ClassName, NearestClass};
use super::clock_check::ClockCheck;
use super::job::{Conclusion, Job};
use super::job_times::JobTimes;
use super::machine::{Cause, MachineSpec, Market, OpenBreaker, UnavailableOffering};
use super::names::{AttemptId, InstallationId, MachineId, RunName};
use super::outcome::{EndedBy, Outcome, StateReason};
use super::pause::Pause;
use super::rerun::RerunView;
use super::run::Run;
use super::spot::SpotBreaker;

/// The complete input of a decision.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct Observation {
    /// The time of the decision; no other clock reading is used.
    #[cfg_attr(feature = "schemars", schemars(with = "String"))]
    pub now: Timestamp,
    /// Whether a wait may be concluded from that time.
    #[serde(default, skip_serializing_if = "ClockCheck::agrees")]
    pub clock: ClockCheck,
    /// The ID of this installation.
    #[serde(default)]
    pub installation: InstallationId,
    /// The name of the run.
    pub name: RunName,
    /// The record, read with strong consistency before the rest, and again after it if needed.
    #[serde(default)]
    pub run: Option<Run>,
    /// The job at the forge.
    pub job: Job,
    /// The times of the job at the forge. Of the decisions only rules 3 and R1 depend on them.
    #[serde(default)]
    pub times: JobTimes,
    /// The attempt number and placement that this reconcile has recorded.
    #[serde(default)]
    pub recorded_here: Option<(u32, u32)>,
    /// Machines with our tag and this run's name, of any incarnation and attempt.
    #[serde(default)]
    pub machines: Vec<Machine>,
    /// Registrations at the forge with this run's name, of any incarnation and any installation:
    /// two that serve one forge name their runs alike.
    pub registrations: Registrations,
    /// Seats with this run's name, of any incarnation.
    #[serde(default)]
    pub seats: Vec<(ClassName, AttemptId)>,
    /// The runs for which the free seats of the class are, as far as this process knows, if this
    /// run needs a seat and is none of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub turn_of: Vec<RunName>,
    /// The readings of the forge, as this process knows them; `None`: nothing, and rule 22 does
    /// nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forge_read: Option<ForgeRead>,
    /// The runners that execute jobs now, of the repositories that rule 22 asks about.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub at_work: Vec<AtWork>,
    /// The attempts of this run on whose runners jobs were executed that the forge calls canceled,
    /// as far as this process knows them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub canceled: Vec<AttemptId>,
    /// The machine of another run on whose runner the job runs, or ran, if the cloud took it and
    /// the record does not say so yet; of a job that failed, also if it is live.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elsewhere: Option<Machine>,
    /// The data that was read because the job may be run again (rule R1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rerun: Option<RerunView>,
    /// Whether the launch pacer has a token left.
    pub room: bool,
    /// Whether the job was displaced and no machine will be reassigned to it.
    #[serde(default)]
    pub no_replacement: bool,
    /// The class that serves the run, with what is known of its offerings and its breaker.
    #[serde(default)]
    pub class: Option<ObservedClass>,
    /// The class that comes closest, if none serves the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nearest: Option<NearestClass>,
}

/// The knowledge of a process about its readings of the forge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct ForgeRead {
    /// Time since which none of them failed.
    #[cfg_attr(feature = "schemars", schemars(with = "String"))]
    pub steady_since: Timestamp,
    /// Time by which the registrations of this observation had been read.
    #[cfg_attr(feature = "schemars", schemars(with = "String"))]
    pub at: Timestamp,
    /// Whether the forge is known to have no way to disable a registration (before Gitea 1.26).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cannot_disable: bool,
}

/// The runners that execute jobs of a repository, read after the registrations.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct AtWork {
    /// The ID of the repository; 0: every repository of the scope.
    pub repo_id: i64,
    /// Its jobs in progress, also those that are being canceled.
    pub runners: Vec<JobRunner>,
}

/// The runner of a job, as far as the forge names it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct JobRunner {
    /// The ID of its registration; 0 if the forge does not tell it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub id: i64,
    /// Its name; empty if the forge does not tell it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
}

/// A configured class with what is known of it now. In JSON one object holds both.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct ObservedClass {
    /// The class as it is configured.
    #[serde(flatten)]
    pub class: Class,
    /// Offerings that are skipped for now, because the cloud refused them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unavailable: Vec<UnavailableOffering>,
    /// The pools of its machines, in their order, as far as they are known: prices, if the class
    /// orders them by price, and where the cloud took machines lately. Empty if there is neither.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pools: Vec<Pool>,
    /// The open breaker, and until when the class gets no launch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub breaker: Option<OpenBreaker>,
    /// The pause that covers the class: it launches nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<Pause>,
    /// The reason that its budget lets it launch nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget_stop: Option<BudgetStop>,
    /// The reason that its latest machines let it launch only one at a time, and until when it
    /// waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_stop: Option<BootStop>,
    /// The reason that its machines on demand come first, and until when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spot_breaker: Option<SpotBreaker>,
}

/// A class whose offerings are all available, whose breaker is closed, and that may launch.
impl From<Class> for ObservedClass {
    fn from(class: Class) -> Self {
        Self {
            class,
            unavailable: Vec::new(),
            pools: Vec::new(),
            breaker: None,
            paused: None,
            budget_stop: None,
            boot_stop: None,
            spot_breaker: None,
        }
    }
}

impl ObservedClass {
    /// Returns the time until which this machine is skipped because the cloud refused it.
    pub fn unavailable_until(&self, machine: &MachineSpec, now: Timestamp) -> Option<Timestamp> {
        self.known_of(machine, now).map(|s| s.until).max()
    }

    /// Returns the cause that rules this machine out for the longest time.
    pub fn unavailable_because(&self, machine: &MachineSpec, now: Timestamp) -> Option<Cause> {
        self.known_of(machine, now).max_by_key(|s| s.until).map(|s| s.cause)
    }

    /// Returns the current unavailable offerings that cover this machine.
    fn known_of(
        &self,
        machine: &MachineSpec,
        now: Timestamp,
    ) -> impl Iterator<Item = &UnavailableOffering> {
        self.unavailable.iter().filter(move |s| s.until > now && s.covers(machine))
    }

    /// Returns the machine to ask for: the first that is allowed and not skipped, in the order of
    /// the class. While the spot breaker is open, machines on demand come first. `was_lost`: the
    /// job may have lost a machine, so that pools come last from which the cloud took one lately.
    pub fn choose(
        &self,
        now: Timestamp,
        was_lost: bool,
        may: impl Fn(&MachineSpec) -> bool,
    ) -> Option<&MachineSpec> {
        let on_demand = self.spot_breaker(now).is_some();
        let prefer = Preference { on_demand, untaken: was_lost };
        let free = |m: &&MachineSpec| may(m) && self.unavailable_until(m, now).is_none();
        ordered(&self.class.machines, &self.pools, prefer).into_iter().find(free)
    }

    /// Returns why a machine of the class was chosen, if the class orders them by price.
    pub fn chosen(&self, machine: &MachineSpec) -> Option<Chosen> {
        let is_by_price = self.class.allocation == Allocation::Price;
        is_by_price.then(|| chosen(&self.class.machines, &self.pools, machine))
    }

    /// Returns why the budget lets the class launch nothing at this time.
    pub fn budget_stop(&self, now: Timestamp) -> Option<&BudgetStop> {
        self.budget_stop.as_ref().filter(|stop| stop.until > now)
    }

    /// Returns why its latest machines let the class launch nothing at this time.
    pub fn boot_stop(&self, now: Timestamp) -> Option<&BootStop> {
        self.boot_stop.as_ref().filter(|stop| stop.until > now)
    }

    /// Returns why its machines on demand come first at this time.
    pub fn spot_breaker(&self, now: Timestamp) -> Option<&SpotBreaker> {
        self.spot_breaker.as_ref().filter(|breaker| breaker.until > now)
    }

    /// Returns the breaker where it is open at this time.
    pub fn open_breaker(&self, now: Timestamp) -> Option<&OpenBreaker> {
        self.breaker.as_ref().filter(|breaker| breaker.until > now)
    }
}

/// A machine with our tag.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct Machine {
    /// Its ID at its cloud.
    pub id: MachineId,
    /// The attempt it was launched for, from its tags.
    pub attempt_id: AttemptId,
    /// The index of the placement within the attempt, from its tags.
    pub placement: u32,
    /// Its state.
    pub state: MachineState,
    /// Time at which the cloud accepted the launch.
    #[cfg_attr(feature = "schemars", schemars(with = "String"))]
    pub launched_at: Timestamp,
    /// Time at which it powers itself off: from its record, or else from its tags.
    #[cfg_attr(feature = "schemars", schemars(with = "String"))]
    pub deadline: Timestamp,
    /// The ID of its registration: from its record, or else from its tags.
    pub registration: i64,
    /// The ID of the repository that the registration serves: from its record, or else from its
    /// tags; 0: every repository of the scope.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub repo_id: i64,
    /// The promise of its boot script: from its record, or else from its tags; `None` if those do
    /// not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promise: Option<BootPromise>,
    /// The party that ended it, if the cloud reports that.
    #[serde(default)]
    pub ended_by: Option<EndedBy>,
    /// Time at which its end began, if the cloud reports that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schemars", schemars(with = "Option<String>"))]
    pub ended_at: Option<Timestamp>,
    /// The cloud's reason for its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_reason: Option<StateReason>,
    /// Its class, from its tags. Informational.
    pub class: ClassName,
    /// Its kind.
    pub kind: String,
    /// Its zone; empty if there are no zones. With kind and market it names its pool.
    #[serde(default)]
    pub zone: String,
    /// Its purchase option.
    #[serde(default)]
    pub market: Market,
}

/// The state of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum MachineState {
    /// Launched, not up yet.
    Booting,
    /// Up and running.
    Up,
    /// Shutting down for good: it takes no job.
    Ending,
    /// Terminated.
    Gone,
}

impl Machine {
    /// Returns whether the machine is booting or up.
    pub fn is_live(&self) -> bool {
        matches!(self.state, MachineState::Booting | MachineState::Up)
    }

    /// Returns how long it may stay after its job.
    pub fn hold(&self) -> SignedDuration {
        self.promise.map(|promise| promise.hold).unwrap_or_default()
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

/// A registration at the forge whose name is an attempt ID.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct Registration {
    /// Its ID.
    pub id: i64,
    /// The ID of the repository whose list shows it; 0: the list of the scope.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub repo_id: i64,
    /// The attempt it belongs to, from its name.
    pub attempt_id: AttemptId,
    /// Its UUID, if the forge reports it.
    #[serde(default)]
    pub uuid: Option<String>,
    /// Whether its runner contacted the forge within the last minute.
    pub online: bool,
    /// Whether it has a job.
    pub busy: bool,
    /// Whether it gets no job any more; `None` if the forge does not tell it (before Gitea 1.26).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
    /// Time since which this process knows that it gets no job any more, without a failed reading
    /// of the forge since then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schemars", schemars(with = "Option<String>"))]
    pub disabled_since: Option<Timestamp>,
    /// Time since which the forge answers 404 for its ID.
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
