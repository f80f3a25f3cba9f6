//! Where runs, seats and leases are kept.

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::error::PortError;
use crate::model::{ClassName, Phase, Reason, Run, RunName, SeatLimits, Slot, Uid};

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
            at_limit: run.status.reason() == Some(Reason::AtLimit),
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
        limits: SeatLimits,
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
    /// Writes something of no consequence, to tell whether the store can be written now. `holder`
    /// names this process, so that replicas do not meet.
    async fn writable(&self, holder: &str, now: Timestamp) -> Result<(), PortError> {
        self.lease("ready", holder, now, SignedDuration::from_secs(1)).await.map(|_| ())
    }
    /// How many records could not be understood when they were last read. They are skipped.
    fn unreadable(&self) -> usize {
        0
    }
}
