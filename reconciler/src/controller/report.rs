//! What the controller says of what it did. It counts and logs nothing itself.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::{Broken, ClassName, Phase, Reason, RunName};
use crate::plan::Row;
use crate::ports::ErrorKind;

/// What came of a look. The controller counts and logs nothing itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The run.
    pub name: RunName,
    /// When the look began.
    pub began_at: Timestamp,
    /// How it went.
    pub result: LookResult,
    /// The run's phase before it; `None`: there was no record.
    pub phase_before: Option<Phase>,
    /// The run's phase after it; `None`: there is no record any more.
    pub phase: Option<Phase>,
    /// Why it is not further on.
    pub reason: Option<Reason>,
    /// The class that serves it.
    pub class: Option<ClassName>,
    /// The repository, `owner/name`; empty where there is no record.
    pub repo: String,
    /// What was done, in order.
    pub effects: Vec<Effect>,
    /// When to look again at the latest; `None`: never, on its own account.
    pub due: Option<Timestamp>,
    /// What kept it from going on.
    pub error: Option<String>,
    /// Things that happened and that are worth a histogram or a counter.
    pub facts: Vec<Fact>,
}

/// How a look went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LookResult {
    /// Nothing was to be done.
    Settled,
    /// Something was done or written.
    Acted,
    /// Somebody else wrote first: it is looked at again.
    Conflict,
    /// A reading failed; or an effect did.
    Error,
}

/// One call that changes the world, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Effect {
    /// What.
    pub action: ActionKind,
    /// On what: a machine's id, a registration's id, a slot.
    pub target: String,
    /// The slot it is about, where it is about one.
    pub slot: Option<String>,
    /// The row of the heart that asked for it.
    pub row: Row,
    /// `None`: it went well.
    pub error: Option<(ErrorKind, String)>,
}

/// Which call.
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
    /// `Forge::retire`
    Retire,
    /// `RunStore::remove`
    Remove,
    /// `Queue::wake`
    Wake,
}

/// A thing that happened, once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fact {
    /// The job was seen running for the first time; it had waited so long.
    Started {
        /// In seconds.
        waited_seconds: i64,
    },
    /// The run was finished.
    Finished {
        /// How.
        outcome: crate::model::Outcome,
    },
    /// The run was made.
    Created,
    /// The launches of a class are stopped: the cloud refused one for what an operator must mend.
    BreakerOpened {
        /// Which.
        class: ClassName,
        /// Why, and until when.
        broken: Broken,
    },
    /// The launches of a class go on.
    BreakerClosed {
        /// Which.
        class: ClassName,
        /// How long they were stopped, in seconds.
        open_seconds: i64,
    },
}

/// What came of a poll or a sweep.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct SweepReport {
    /// Whether this replica holds the lease; without it nothing was read.
    pub leader: bool,
    /// Jobs that the forge's list holds.
    pub waiting_jobs: usize,
    /// Of those, jobs that no class serves.
    pub unserved_jobs: usize,
    /// Runs that were made: jobs that no webhook had announced.
    pub created: usize,
    /// Runs that were asked to be looked at.
    pub woken: usize,
    /// Machines seen.
    pub machines: usize,
    /// Registrations seen.
    pub registrations: usize,
    /// Seats seen.
    pub seats: usize,
    /// Readings that failed; the others were used.
    pub errors: Vec<String>,
}
