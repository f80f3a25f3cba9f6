//! The five sides of the world, as small as the controller's calls.

use std::fmt;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::class::{Cause, ClassName};
use crate::observation::{Instance, Job, Registration, Registrations};
use crate::run::{
    About, Attempt, InstanceId, JobRef, Outcome, Phase, Run, RunName, Runner, Slot, Uid,
};

/// The time.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> Timestamp;
}

/// What a write expects to find. There is no third way to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// No record of that name.
    Absent,
    /// This incarnation at this version.
    At(Uid, u64),
}

/// What the sweep knows of a run without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenRun {
    /// Its name.
    pub name: RunName,
    /// Its phase; `Finished` only where its `keep` is over and the store does not remove it itself.
    pub phase: Phase,
    /// A tombstone: only `due` wakes it.
    pub deleted: bool,
    /// When to look again.
    pub due: Timestamp,
    /// The slot of its attempt that has not ended.
    pub attempt: Option<Slot>,
    /// The class it waits in for a seat: it is at the limit.
    pub at_limit: bool,
    /// Its labels, which tell its class.
    pub runs_on: Vec<String>,
    /// Its repository.
    pub repo: String,
    /// Since when it waits.
    pub waiting_since: Timestamp,
}

impl OpenRun {
    /// The projection of a run that stores keep beside it.
    pub fn of(run: &Run) -> Self {
        let attempt = run.status.attempt.as_ref().filter(|a| a.ended.is_none());
        Self {
            name: run.name.clone(),
            phase: run.status.phase,
            deleted: run.deleted_at.is_some(),
            due: run.status.due,
            attempt: attempt.map(|a| run.slot(a.number)),
            at_limit: run.status.reason() == Some(crate::run::Reason::AtLimit),
            runs_on: run.spec.runs_on.clone(),
            repo: run.spec.job.repo.clone(),
            waiting_since: run.status.waiting_since,
        }
    }
}

/// Which runs a page holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only of this phase.
    pub phase: Option<Phase>,
    /// Only with an attempt of this class.
    pub class: Option<ClassName>,
    /// Only of this repository, `owner/name`.
    pub repo: Option<String>,
    /// At most so many; at least 1.
    pub limit: usize,
}

impl Filter {
    /// Whether a run belongs on the page.
    pub fn takes(&self, run: &Run) -> bool {
        let Self { phase, class, repo, limit: _ } = self;
        phase.is_none_or(|p| p == run.status.phase)
            && class
                .as_ref()
                .is_none_or(|c| run.status.attempt.as_ref().is_some_and(|a| a.class == *c))
            && repo.as_ref().is_none_or(|r| *r == run.spec.job.repo)
    }
}

/// A page of runs, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The runs.
    pub items: Vec<Run>,
    /// Opaque; gives the next page. `None`: there is none.
    pub next: Option<String>,
}

/// A place in a class.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seat {
    /// Who holds it.
    pub slot: Slot,
    /// For which repository, `owner/name`.
    pub repo: String,
}

/// How many seats there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// In the class.
    pub class: Option<u32>,
    /// For one repository in it.
    pub repo: Option<u32>,
}

/// Where runs are kept. Every call has a deadline of its own.
#[async_trait]
pub trait RunStore: Send + Sync {
    /// The record, strongly consistent.
    async fn get(&self, name: &RunName) -> Result<Option<Run>, PortError>;
    /// Writes a run if what is there is as expected, and answers its new version (`Absent`: 1,
    /// `At`: one more). `Conflict` otherwise. `run.version` is not looked at.
    async fn put(&self, run: &Run, expect: Expect) -> Result<u64, PortError>;
    /// Removes the record if it is this incarnation at this version; `Conflict` otherwise. A record that is not there is success.
    async fn remove(&self, name: &RunName, uid: Uid, version: u64) -> Result<(), PortError>;
    /// All open runs, and finished ones whose `keep` is over at `now` where the store does not
    /// remove those itself. May lag.
    async fn open(&self, now: Timestamp) -> Result<Vec<OpenRun>, PortError>;
    /// Runs, newest first. `Invalid` for a cursor that is not ours.
    async fn page(&self, filter: &Filter, after: Option<&str>) -> Result<Page, PortError>;
    /// Takes a seat, if both limits allow it or the slot has it already. One atomic step.
    async fn seat(
        &self,
        class: &ClassName,
        slot: &Slot,
        repo: &str,
        limits: Limits,
    ) -> Result<bool, PortError>;
    /// Gives a seat back; success where it is not held.
    async fn unseat(&self, class: &ClassName, slot: &Slot) -> Result<(), PortError>;
    /// The seats that are taken.
    async fn seats(&self, class: &ClassName) -> Result<Vec<Seat>, PortError>;
    /// Takes or extends a lease, if it is free, over, or the holder's own.
    async fn lease(
        &self,
        what: &str,
        holder: &str,
        now: Timestamp,
        ttl: SignedDuration,
    ) -> Result<bool, PortError>;
    /// How many records could not be understood when they were last read. They are skipped.
    fn unreadable(&self) -> usize {
        0
    }
}

/// A wake-up taken from the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The run to look at.
    pub name: RunName,
    /// The queue's own handle.
    pub handle: String,
}

/// Wake-ups: names to look at, never what to do. At least once, in no order.
#[async_trait]
pub trait Queue: Send + Sync {
    /// Asks for a look at a run.
    async fn wake(&self, name: &RunName) -> Result<(), PortError>;
    /// At most `max` wake-ups; waits a while where there is none, and may then answer none.
    async fn next(&self, max: usize) -> Result<Vec<Delivery>, PortError>;
    /// This one has been looked at. What is not done comes again.
    async fn done(&self, delivery: Delivery) -> Result<(), PortError>;
}

/// Where machines are.
#[async_trait]
pub trait Compute: Send + Sync {
    /// All machines with our tag, also ended ones for a while. May lag: absence says nothing.
    async fn list(&self) -> Result<Vec<Instance>, PortError>;
    /// One machine by its id. `None`: not found (or not ours).
    async fn find(&self, id: &InstanceId) -> Result<Option<Instance>, PortError>;
    /// Asks for the machine of a placement of a recorded attempt: same slot and placement, same
    /// machine. Its state is answered too: the token of an ended machine answers that machine.
    async fn launch(
        &self,
        slot: &Slot,
        placement: u32,
        attempt: &Attempt,
    ) -> Result<Instance, PortError>;
    /// Ends a machine of ours; success where it is gone.
    async fn terminate(&self, id: &InstanceId) -> Result<(), PortError>;
    /// Whether the launch pacer has a token to spare.
    fn room(&self) -> bool;
}

/// A job that the forge holds for a runner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingJob {
    /// The job.
    pub job: JobRef,
    /// The labels it asks for.
    pub runs_on: Vec<String>,
    /// For people.
    pub about: About,
}

/// The forge.
#[async_trait]
pub trait Forge: Send + Sync {
    /// Jobs that wait for a runner, as far as the list tells. `None` in push mode.
    async fn waiting(&self) -> Result<Option<Vec<WaitingJob>>, PortError>;
    /// One job by its id.
    async fn job(&self, job: &JobRef) -> Result<Job, PortError>;
    /// All rows whose names are slots. Absence from it says nothing.
    async fn registrations(&self) -> Result<Registrations, PortError>;
    /// One row by its id. `None`: 404 while the forge answers.
    async fn registration(&self, id: i64) -> Result<Option<Registration>, PortError>;
    /// Makes an ephemeral registration. Not idempotent.
    async fn register(&self, slot: &Slot, labels: &[String]) -> Result<Runner, PortError>;
    /// Removes a registration; success where it is gone.
    async fn retire(&self, id: i64) -> Result<(), PortError>;
}

/// What went wrong at a port, told apart by what helps.
#[derive(Debug, thiserror::Error)]
#[error("{port} {operation}: {kind}: {message}")]
pub struct PortError {
    /// `store`, `queue`, `compute` or `forge`.
    pub port: &'static str,
    /// The call.
    pub operation: &'static str,
    /// What helps.
    pub kind: ErrorKind,
    /// What happened, for people, on one line; without secrets.
    pub message: String,
    /// What a refused launch speaks of, where that is known closer than by its kind.
    pub cause: Option<Cause>,
    /// The vendor's own words.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// What helps against an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// Somebody else wrote: look again.
    Conflict,
    /// The same call again later. Every ambiguous answer too: it may have happened.
    Unavailable,
    /// Not sent, or refused for pace: the same call later. It has not happened.
    Throttled,
    /// Definitive for this placement: no capacity. The cause says how far that reaches.
    NoCapacity,
    /// An account limit: the class's machines in that market are backed off.
    Limit,
    /// We may not: an operator must act. A launch refused so stops its class, unless its cause says
    /// that it reaches less far.
    Denied,
    /// What we ask for is wrong: an operator must act. As with `Denied`.
    Invalid,
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Conflict => "conflict",
            Self::Unavailable => "unavailable",
            Self::Throttled => "throttled",
            Self::NoCapacity => "no capacity",
            Self::Limit => "limit",
            Self::Denied => "denied",
            Self::Invalid => "invalid",
        })
    }
}

impl PortError {
    /// An error without a vendor's words.
    pub fn new(
        port: &'static str,
        operation: &'static str,
        kind: ErrorKind,
        message: impl Into<String>,
    ) -> Self {
        Self { port, operation, kind, message: message.into(), cause: None, source: None }
    }

    /// The same error, which speaks of no more than this.
    pub fn because(mut self, cause: Cause) -> Self {
        self.cause = Some(cause);
        self
    }

    /// The same error with the vendor's words.
    pub fn caused_by(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.source = Some(source.into());
        self
    }
}

/// The five ports, as the controller holds them.
#[derive(Clone)]
pub struct Ports {
    /// The time.
    pub clock: std::sync::Arc<dyn Clock>,
    /// Where runs are kept.
    pub store: std::sync::Arc<dyn RunStore>,
    /// Wake-ups.
    pub queue: std::sync::Arc<dyn Queue>,
    /// Where machines are.
    pub compute: std::sync::Arc<dyn Compute>,
    /// The forge.
    pub forge: std::sync::Arc<dyn Forge>,
}

/// How a run ended, from how its job did.
impl From<crate::observation::Conclusion> for Outcome {
    fn from(conclusion: crate::observation::Conclusion) -> Self {
        use crate::observation::Conclusion as C;
        match conclusion {
            C::Success => Self::Succeeded,
            C::Failure => Self::Failed,
            C::Cancelled => Self::Cancelled,
            C::Skipped => Self::Skipped,
        }
    }
}
