//! Reports of the controller, which counts and logs nothing itself.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::{
    Amount, ClassName, MachineId, NearestClass, OpenBreaker, Outcome, Phase, Reason, RerunEnd,
    RunName,
};
use crate::plan::Rule;
use crate::ports::{ErrorKind, PortError};

/// The report of a reconcile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The run's name.
    pub name: RunName,
    /// Time at which the reconcile began.
    pub began_at: Timestamp,
    /// The result as a whole.
    pub result: ReconcileOutcome,
    /// The run's phase before; `None` if there was no record.
    pub phase_before: Option<Phase>,
    /// The run's phase after; `None` if there is no record any more.
    pub phase: Option<Phase>,
    /// The reason why the run makes no progress, if it does not.
    pub reason: Option<Reason>,
    /// The class that serves it.
    pub class: Option<ClassName>,
    /// The repository, `owner/name`; empty if there is no record.
    pub repo: String,
    /// The job's name; empty if there is no record. It comes from outside and is never trusted.
    pub job: String,
    /// The effects, in order.
    pub effects: Vec<Effect>,
    /// Latest time of the next reconcile; `None`: only after an event.
    pub due: Option<Timestamp>,
    /// The error that stopped it, if any.
    pub error: Option<String>,
    /// The call behind the error, unless the reconcile took too long.
    pub failed: Option<FailedCall>,
    /// Events for metrics and for log lines about the job.
    pub events: Vec<Event>,
}

/// A call of a port that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FailedCall {
    /// `store`, `queue`, `compute` or `forge`.
    pub port: &'static str,
    /// The call.
    pub operation: &'static str,
    /// The remedy.
    pub kind: ErrorKind,
    /// The failure, for people: one line without secrets.
    pub message: String,
}

impl FailedCall {
    /// Takes the call from its error.
    pub fn of(error: &PortError) -> Self {
        let PortError { port, operation, kind, message, .. } = error;
        Self { port, operation, kind: *kind, message: message.clone() }
    }
}

/// The result of a reconcile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReconcileOutcome {
    /// Nothing had to be done.
    Settled,
    /// Something was done or written.
    Acted,
    /// Somebody else wrote first: the run is reconciled again.
    Conflict,
    /// A read or an effect failed.
    Error,
}

/// One call with an effect, and its result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Effect {
    /// The call.
    pub action: ActionKind,
    /// Its target: the ID of a machine or a registration, a class, or the run's name.
    pub target: String,
    /// The attempt ID, if it is about an attempt.
    pub attempt_id: Option<String>,
    /// The rule that required it.
    pub rule: Rule,
    /// The error; `None` on success.
    pub error: Option<(ErrorKind, String)>,
}

/// A call with an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActionKind {
    /// `RunStore::seat`
    Seat,
    /// `RunStore::unseat`
    Unseat,
    /// `Forge::register`
    Register,
    /// `RunStore::put`
    Put,
    /// `Compute::launch`
    Launch,
    /// `Compute::terminate`
    Terminate,
    /// `Forge::disable`
    Disable,
    /// `Forge::retire`
    Retire,
    /// `Forge::rerun`
    Rerun,
    /// `RunStore::remove`
    Remove,
    /// `Queue::wake`
    Wake,
}

/// The outcome of a re-run. The reasons of [`RerunEnd`] are final, the others are those of one
/// call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RerunOutcome {
    /// The forge accepted it.
    Accepted,
    /// Somebody else ran jobs of the workflow run again first.
    NotDone,
    /// The token may not do it.
    Denied,
    /// The call failed: it may have had its effect.
    Failed,
    /// The job is not run again.
    Not(RerunEnd),
}

impl RerunOutcome {
    /// Every outcome.
    pub fn all() -> impl Iterator<Item = Self> {
        let of_calls = [Self::Accepted, Self::NotDone, Self::Denied, Self::Failed];
        of_calls.into_iter().chain(RerunEnd::ALL.iter().copied().map(Self::Not))
    }

    /// Returns its metric label: `accepted`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::NotDone => "not_done",
            Self::Denied => "denied",
            Self::Failed => "failed",
            Self::Not(why) => why.label(),
        }
    }
}

/// An event that is reported once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A machine was started for the job.
    Launched {
        /// The machine's ID.
        machine: MachineId,
        /// Its class.
        class: ClassName,
        /// The time that the job had waited, in milliseconds.
        waited_ms: i64,
    },
    /// The job was seen running for the first time.
    Started {
        /// The time that it had waited, in seconds.
        waited_seconds: i64,
    },
    /// The run finished.
    Finished {
        /// The outcome.
        outcome: Outcome,
        /// The time for which the job was seen running, in milliseconds; `None` if it was not.
        ran_ms: Option<i64>,
    },
    /// A condition begins that a person must attend to.
    ConditionBegan {
        /// Its reason.
        reason: Reason,
        /// Its message.
        message: String,
    },
    /// Such a condition ends.
    ConditionEnded {
        /// Its reason.
        reason: Reason,
        /// The time for which it held, in seconds.
        held_seconds: i64,
    },
    /// The use of the run's machines was added to the usage.
    Counted {
        /// The class that it is counted for.
        class: ClassName,
        /// The amount that was added.
        amount: Amount,
    },
    /// The cloud took the machine on which the job ran.
    Interrupted {
        /// The machine's ID.
        machine: MachineId,
    },
    /// The forge was asked to run the job again, or the job is not run again.
    Rerun {
        /// The outcome.
        outcome: RerunOutcome,
    },
    /// The run was created.
    Created,
    /// A breaker opened: the cloud refused a launch of the class, and an operator must act.
    BreakerOpened {
        /// The class.
        class: ClassName,
        /// Why, and until when.
        breaker: OpenBreaker,
    },
    /// This process's clock began to differ from the true time by more than two minutes: nothing is
    /// ended, retired or given back after a wait.
    ClockDiffers {
        /// Lead of this clock, in seconds; negative if it is behind.
        ahead_seconds: i64,
    },
    /// The clock agrees with the true time again.
    ClockAgrees,
    /// A breaker closed: the class may launch again.
    BreakerClosed {
        /// The class.
        class: ClassName,
        /// The time that it was open, in seconds.
        open_seconds: i64,
    },
}

/// The report of a poll or a sweep.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct SweepReport {
    /// Whether this replica holds the lease; without it nothing was read.
    pub leader: bool,
    /// Jobs that the forge lists.
    pub waiting_jobs: usize,
    /// Of those, jobs that no class serves.
    pub unserved_jobs: usize,
    /// The same jobs by the labels they ask for, at most 100 sets; `null` if the forge's list was
    /// not read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unserved: Option<Vec<UnservedLabels>>,
    /// Runs that were created, for jobs that no webhook had announced.
    pub created: usize,
    /// Runs that were woken.
    pub woken: usize,
    /// Machines seen.
    pub machines: usize,
    /// Registrations seen.
    pub registrations: usize,
    /// Seats seen.
    pub seats: usize,
    /// Errors of failed reads; the other reads were used.
    pub errors: Vec<String>,
}

/// Waiting jobs that ask for the same labels, which no class serves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct UnservedLabels {
    /// The labels, sorted.
    pub runs_on: Vec<String>,
    /// The number of these jobs.
    pub jobs: usize,
    /// At most five of them.
    pub examples: Vec<UnservedJob>,
    /// The class that comes closest; `null` if no class has any of the labels.
    pub nearest: Option<NearestClass>,
}

/// A waiting job that no class serves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct UnservedJob {
    /// `owner/name`.
    pub repo: String,
    /// The job's ID at the forge.
    pub job_id: i64,
    /// The job's name.
    pub name: String,
    /// The URL of the job's page at the forge.
    pub url: String,
}
