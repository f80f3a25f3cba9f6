//! The store port: runs, seats, pauses, leases, usage and requests to run jobs again.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::error::PortError;
use super::formats::{NewerRecord, ReadByAll};
use crate::model::{
    AttemptId, ClassBoot, ClassName, Pause, Phase, Reason, RepoRef, RerunKey, Reruns, Run, RunName,
    SeatLimits, Uid, Usage, boots_of,
};

/// The version that a write expects to find. There is no unconditional write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// No record of that name.
    Absent,
    /// This incarnation at this version.
    At(Uid, u64),
}

/// The summary of a run that the sweep uses instead of its record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenRun {
    /// Its name.
    pub name: RunName,
    /// Its phase. `Finished` only if its `keep` is over and the store does not remove it itself.
    pub phase: Phase,
    /// Whether a person deleted it: then only `due` wakes it.
    pub deleted: bool,
    /// Time at which it is reconciled again.
    pub due: Timestamp,
    /// The ID of its active attempt.
    pub attempt: Option<AttemptId>,
    /// Whether it waits for a seat, because its class is at its limit.
    pub at_limit: bool,
    /// Its labels, which determine its class.
    pub runs_on: Arc<[String]>,
    /// Its repository, `owner/name`.
    pub repo: Arc<str>,
    /// The repository's ID at the forge; 0 if unknown.
    pub repo_id: i64,
    /// The time at which its job was seen waiting.
    pub waiting_since: Timestamp,
    /// Whether its latest machines came online, newest first: at most three.
    pub boots: Vec<ClassBoot>,
}

impl OpenRun {
    /// Returns the summary that stores keep with a run.
    pub fn of(run: &Run) -> Self {
        let attempt = run.status.attempt.as_ref().filter(|a| a.ended.is_none());
        Self {
            name: run.name.clone(),
            phase: run.status.phase,
            deleted: run.deleted_at.is_some(),
            due: run.status.due,
            attempt: attempt.map(|a| run.attempt_id(a.number)),
            at_limit: run.status.reason() == Some(Reason::AtLimit),
            runs_on: run.spec.runs_on.as_slice().into(),
            repo: run.spec.job.repo.as_str().into(),
            repo_id: run.spec.job.repo_id,
            waiting_since: run.status.waiting_since,
            boots: boots_of(run),
        }
    }

    /// Returns its repository.
    pub fn repo_ref(&self) -> RepoRef<'_> {
        RepoRef { id: self.repo_id, name: &self.repo }
    }
}

/// Lets the runs of one list share their repositories and labels: most runs have the same few, which
/// would take half of the list's memory.
#[derive(Debug, Default)]
pub struct Sharing {
    repos: HashSet<Arc<str>>,
    labels: HashSet<Arc<[String]>>,
}

impl Sharing {
    /// Returns the run with the repository and the labels of an earlier one, if they are equal.
    pub fn share(&mut self, mut run: OpenRun) -> OpenRun {
        run.repo = shared(&mut self.repos, run.repo);
        run.runs_on = shared(&mut self.labels, run.runs_on);
        run
    }
}

/// Returns the known value that is equal to this one, which is known from now on.
fn shared<T: Eq + Hash + ?Sized>(known: &mut HashSet<Arc<T>>, one: Arc<T>) -> Arc<T> {
    if let Some(known) = known.get(&one) {
        return known.clone();
    }
    known.insert(one.clone());
    one
}

/// Selects the runs of a page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only runs in this phase.
    pub phase: Option<Phase>,
    /// Only runs with an attempt of this class.
    pub class: Option<ClassName>,
    /// Only runs of this repository, `owner/name`.
    pub repo: Option<String>,
    /// The maximum number of runs; at least 1.
    pub limit: usize,
}

impl Filter {
    /// Returns whether the filter selects a run.
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
    /// The opaque cursor of the next page; `None` on the last page.
    pub next: Option<String>,
}

/// One of a class's `limit`: it allows one attempt to have a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seat {
    /// The attempt that holds it.
    pub attempt_id: AttemptId,
    /// The repository that it counts for, `owner/name` as it was called when the seat was taken.
    pub repo: String,
    /// The repository's ID at the forge; 0 if unknown.
    #[serde(default)]
    pub repo_id: i64,
}

impl Seat {
    /// Returns a seat that an attempt holds for a repository.
    pub fn new(attempt_id: AttemptId, repo: RepoRef<'_>) -> Self {
        Self { attempt_id, repo: repo.name.to_owned(), repo_id: repo.id }
    }

    /// Returns the repository that it counts for.
    pub fn repo_ref(&self) -> RepoRef<'_> {
        RepoRef { id: self.repo_id, name: &self.repo }
    }
}

/// The months for which usage is kept.
pub const USAGE_MONTHS: i8 = 13;

/// The time for which requests to run a job again are kept after the last one.
pub const RERUNS_KEPT: SignedDuration = SignedDuration::from_hours(90 * 24);

/// Stores runs, seats, pauses, leases, usage and requests to run jobs again. Every call has its own
/// deadline.
///
/// # Guarantees
/// A record of a newer format than this release reads is left alone: `get` returns `Invalid` and
/// lists leave it out, so that nobody learns the version that a write would need.
///
/// # Errors
/// Every call returns the store's error: `Unavailable` or `Throttled` if a retry may help, `Denied`
/// or `Invalid` if an operator must act. A write that failed with `Unavailable` may have happened.
/// Calls with a section of their own have further errors.
#[async_trait]
pub trait RunStore: Send + Sync {
    /// Reads a record with strong consistency.
    async fn get(&self, name: &RunName) -> Result<Option<Run>, PortError>;
    /// Writes a run if the stored record is as expected, and returns its new version (`Absent`: 1,
    /// `At`: one more). Ignores `run.version`.
    ///
    /// # Errors
    /// `Conflict` if the stored record is not as expected.
    async fn put(&self, run: &Run, expect: Expect) -> Result<u64, PortError>;
    /// Writes a run as [`Self::put`] does, and adds to the usage in the same transaction: both
    /// happen, or neither.
    ///
    /// # Errors
    /// `Conflict` if the stored record is not as expected.
    async fn put_counting(&self, run: &Run, expect: Expect, used: &Usage)
    -> Result<u64, PortError>;
    /// Returns the usage of these days, the last one included. May lag. It is kept for 13 months.
    async fn usage(&self, first: Date, last: Date) -> Result<Vec<Usage>, PortError>;
    /// Removes a record. Succeeds if there is none.
    ///
    /// # Errors
    /// `Conflict` if it is another incarnation or version.
    async fn remove(&self, name: &RunName, uid: Uid, version: u64) -> Result<(), PortError>;
    /// Returns all open runs, and finished ones whose `keep` is over at `now` if the store does not
    /// remove those itself. May lag.
    async fn open(&self, now: Timestamp) -> Result<Vec<OpenRun>, PortError>;
    /// Returns runs, newest first.
    ///
    /// # Errors
    /// `Invalid` if the cursor is not one of ours.
    async fn page(&self, filter: &Filter, after: Option<&str>) -> Result<Page, PortError>;
    /// Takes a seat in one atomic step, and returns whether the attempt has one: if the limits allow
    /// it ([`SeatLimits::reached`]), or if it had it already.
    async fn seat(
        &self,
        class: &ClassName,
        attempt_id: &AttemptId,
        repo: RepoRef<'_>,
        limits: SeatLimits,
    ) -> Result<bool, PortError>;
    /// Gives a seat back. Succeeds if it is not held.
    async fn unseat(&self, class: &ClassName, attempt_id: &AttemptId) -> Result<(), PortError>;
    /// Returns the seats that are taken in a class.
    async fn seats(&self, class: &ClassName) -> Result<Vec<Seat>, PortError>;
    /// Stores a pause, and returns the one that holds: an earlier one of the same class, or of all
    /// classes, stays as it is.
    async fn pause(&self, pause: &Pause) -> Result<Pause, PortError>;
    /// Ends the pause of a class; with `None` every pause. Returns those that ended: also one that
    /// another call ended at the same time.
    async fn resume(&self, class: Option<&ClassName>) -> Result<Vec<Pause>, PortError>;
    /// Reads the pauses with strong consistency: that of every class first, then by class.
    async fn pauses(&self) -> Result<Vec<Pause>, PortError>;
    /// Reads the requests to run a job again with strong consistency.
    async fn reruns(&self, key: &RerunKey) -> Result<Option<Reruns>, PortError>;
    /// Writes the requests to run a job again if the stored ones have this version, or if there are
    /// none and it is 0. Returns the new version. They are kept for [`RERUNS_KEPT`].
    ///
    /// # Errors
    /// `Conflict` if the stored ones have another version.
    async fn put_reruns(&self, reruns: &Reruns) -> Result<u64, PortError>;
    /// Takes or extends a lease if it is free, expired or the holder's own. Returns whether the
    /// holder has it.
    async fn lease(
        &self,
        what: &str,
        holder: &str,
        now: Timestamp,
        ttl: SignedDuration,
    ) -> Result<bool, PortError>;
    /// Notes for `ttl` that a live replica reads records up to a format, and returns what every live
    /// replica reads. In a store of one process that is the replica itself.
    async fn announce(
        &self,
        replica: &str,
        reads: u32,
        now: Timestamp,
        ttl: SignedDuration,
    ) -> Result<ReadByAll, PortError> {
        let _ = (replica, now, ttl);
        Ok(ReadByAll { format: reads, silent: None })
    }
    /// Checks with a harmless write whether the store is writable. `holder` names this process, so
    /// that replicas do not interfere.
    async fn writable(&self, holder: &str, now: Timestamp) -> Result<(), PortError> {
        self.lease("ready", holder, now, SignedDuration::from_secs(1)).await.map(|_| ())
    }
    /// Returns how many records could not be decoded when last read. They are skipped.
    fn unreadable(&self) -> usize {
        0
    }
    /// Returns those of them that are of a newer format than this release reads.
    fn newer(&self) -> Vec<NewerRecord> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{SeenBy, Spec};

    #[test]
    fn runs_of_a_list_share_equal_repositories_and_labels() {
        let mut sharing = Sharing::default();
        let mut listed = |id, repo: &str| {
            let mut spec = Spec { runs_on: vec!["linux".to_owned()], ..Spec::default() };
            repo.clone_into(&mut spec.job.repo);
            let at = Timestamp::UNIX_EPOCH;
            let run = Run::new("test", RunName::job(id), spec, SeenBy::Poll, at);
            let listed = sharing.share(OpenRun::of(&run));
            assert_eq!(listed, OpenRun::of(&run), "it says the same");
            listed
        };
        let [one, two, other] =
            [(1, "acme/web"), (2, "acme/web"), (3, "acme/api")].map(|(id, repo)| listed(id, repo));
        assert!(Arc::ptr_eq(&one.repo, &two.repo) && !Arc::ptr_eq(&one.repo, &other.repo));
        assert!(Arc::ptr_eq(&one.runs_on, &two.runs_on));
        assert!(Arc::ptr_eq(&one.runs_on, &other.runs_on), "of another repository");
    }
}
