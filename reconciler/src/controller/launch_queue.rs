//! The launch queue: runs that the launch pacer holds back, in the order of fair shares. A
//! reconcile that finds room wakes the first one. Without the queue each run would retry every few
//! seconds.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::{SignedDuration, Timestamp};
use parking_lot::{Mutex, MutexGuard};

use super::Controller;
use crate::model::{JobRef, Phase, Reason, RepoKey, Run, RunName, SeatLimits};
use crate::plan::LONGEST_DUE;
use crate::plan::share::{Served, Waiter, order};
use crate::plan::times::older;

/// A run that is queued this long is reconciled anyway, like one that waits for a seat.
const STANDS_FOR: SignedDuration = SignedDuration::from_mins(5);

/// The maximum number of live runs that are counted; then counting begins again.
const LIVE_KEPT: usize = 50_000;

/// The launch queue of this process. Losing it costs extra reconciles.
#[derive(Default)]
pub(super) struct LaunchQueue(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    /// The queued runs of each repository, by the start of their wait.
    queued: BTreeMap<RepoKey, BTreeSet<(Timestamp, RunName)>>,
    places: HashMap<RunName, Place>,
    /// The runs that have an attempt or a running job, with the job, and when this process has last
    /// seen that. Launches serve every class, so they count in all classes together.
    live: HashMap<RunName, (JobRef, Timestamp)>,
    served: Served,
}

/// The place of a queued run.
struct Place {
    job: JobRef,
    waiting_since: Timestamp,
    /// The time at which it was queued.
    stands: Timestamp,
}

impl Inner {
    fn takes_out(&mut self, name: &RunName) {
        let Some(Place { job, waiting_since, .. }) = self.places.remove(name) else { return };
        let repo = job.repo_ref().key();
        if let Some(of_repo) = self.queued.get_mut(&repo) {
            of_repo.remove(&(waiting_since, name.clone()));
            if of_repo.is_empty() {
                self.queued.remove(&repo);
            }
        }
    }

    /// Notes the job of a run that has a machine, or gets one; `None`: it has none.
    fn lives(&mut self, name: &RunName, job: Option<&JobRef>, now: Timestamp) {
        let Some(job) = job else {
            self.live.remove(name);
            return;
        };
        if self.live.len() >= LIVE_KEPT {
            self.live.clear();
        }
        if self.live.insert(name.clone(), (job.clone(), now)).is_none() {
            self.served.gets(job.repo_ref(), now);
        }
    }
}

/// Returns whether a run has a machine, or gets one.
fn is_live(run: &Run) -> bool {
    let attempt = run.status.attempt.as_ref();
    run.status.phase == Phase::Running || attempt.is_some_and(|attempt| attempt.ended.is_none())
}

impl LaunchQueue {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock()
    }

    /// Queues a run after its reconcile, or removes it.
    pub(super) fn reconciled(
        &self,
        name: &RunName,
        run: Option<&Run>,
        reason: Option<Reason>,
        now: Timestamp,
    ) {
        let mut inner = self.inner();
        inner.takes_out(name);
        let live = run.filter(|run| run.is_open() && is_live(run));
        inner.lives(name, live.map(|run| &run.spec.job), now);
        if let Some(run) = run.filter(|_| reason == Some(Reason::Paced)) {
            let (job, waiting_since) = (run.spec.job.clone(), run.status.waiting_since);
            let of_repo = inner.queued.entry(job.repo_ref().key()).or_default();
            of_repo.insert((waiting_since, name.clone()));
            inner.places.insert(name.clone(), Place { job, waiting_since, stands: now });
        }
    }

    /// Returns whether a run is queued, and not for too long.
    pub(super) fn holds(&self, name: &RunName, now: Timestamp) -> bool {
        let inner = self.inner();
        inner.places.get(name).is_some_and(|place| !older(now, place.stands, STANDS_FOR))
    }

    /// Removes every run: each is due soon anyway.
    pub(super) fn forget(&self) {
        *self.inner() = Inner::default();
    }

    fn is_empty(&self) -> bool {
        self.inner().places.is_empty()
    }

    /// Removes and returns the run whose turn it is. It counts as live from now on.
    fn first(&self, now: Timestamp) -> Option<RunName> {
        let mut inner = self.inner();
        let Inner { queued, places, live, served } = &mut *inner;
        // A live run is reconciled at least so often, maybe by another replica.
        live.retain(|_, (_, seen)| !older(now, *seen, LONGEST_DUE));
        served.forget_old(now);
        let oldest = queued.values().filter_map(BTreeSet::first);
        let waiting = oldest.filter_map(|(since, name)| {
            Some(Waiter { name, repo: places.get(name)?.job.repo_ref(), since: *since })
        });
        let live = live.values().map(|(job, _)| job.repo_ref());
        let name = order(SeatLimits::default(), live, waiting, served, now).next()?.name.clone();
        let job = places.get(&name)?.job.clone();
        inner.takes_out(&name);
        inner.lives(&name, Some(&job), now);
        Some(name)
    }
}

impl Controller {
    /// Wakes at most `most` queued runs while there is room for a launch, and returns how many.
    /// Each reconcile wakes one more, so a run that no longer needs a launch delays no other.
    pub(super) async fn wake_first(&self, most: usize) -> usize {
        let mut called = 0;
        while called < most
            && !self.cache.launch_queue.is_empty()
            && self.ports.compute.room()
            && let Some(name) = self.cache.launch_queue.first(self.ports.clock.now())
        {
            self.cache.set_woken(&name, self.ports.clock.now());
            called += usize::from(self.ports.queue.wake(&name).await.is_ok());
        }
        called
    }
}
