//! The launch queue: runs that the launch pacer holds back, in the order of fair shares. A
//! reconcile that finds room wakes the first one. Without the queue each run would retry every few
//! seconds.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::{SignedDuration, Timestamp};
use parking_lot::{Mutex, MutexGuard};

use super::Controller;
use crate::model::{Phase, Reason, Run, RunName, SeatLimits};
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
    queued: BTreeMap<String, BTreeSet<(Timestamp, RunName)>>,
    places: HashMap<RunName, Place>,
    /// The runs that have an attempt or a running job: their repository, and when this process has
    /// last seen that. Launches serve every class, so they count in all classes together.
    live: HashMap<RunName, (String, Timestamp)>,
    served: Served,
}

/// The place of a queued run.
struct Place {
    repo: String,
    waiting_since: Timestamp,
    /// Since when it is queued.
    stands: Timestamp,
}

impl Inner {
    fn takes_out(&mut self, name: &RunName) {
        let Some(Place { repo, waiting_since, .. }) = self.places.remove(name) else { return };
        if let Some(of_repo) = self.queued.get_mut(&repo) {
            of_repo.remove(&(waiting_since, name.clone()));
            if of_repo.is_empty() {
                self.queued.remove(&repo);
            }
        }
    }

    /// Notes whether a run has a machine, or gets one.
    fn lives(&mut self, name: &RunName, repo: Option<&str>, now: Timestamp) {
        let Some(repo) = repo else {
            self.live.remove(name);
            return;
        };
        if self.live.len() >= LIVE_KEPT {
            self.live.clear();
        }
        if self.live.insert(name.clone(), (repo.to_owned(), now)).is_none() {
            self.served.gets(repo, now);
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
        let repo = run.filter(|run| run.is_open() && is_live(run));
        inner.lives(name, repo.map(|run| run.spec.job.repo.as_str()), now);
        if let Some(run) = run.filter(|_| reason == Some(Reason::Paced)) {
            let (repo, waiting_since) = (run.spec.job.repo.clone(), run.status.waiting_since);
            let of_repo = inner.queued.entry(repo.clone()).or_default();
            of_repo.insert((waiting_since, name.clone()));
            inner.places.insert(name.clone(), Place { repo, waiting_since, stands: now });
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
        let Inner { queued, live, served, .. } = &mut *inner;
        // A live run is reconciled at least so often, maybe by another replica.
        live.retain(|_, (_, seen)| !older(now, *seen, LONGEST_DUE));
        served.forget_old(now);
        let mut oldest: Vec<(String, Timestamp, RunName)> = Vec::with_capacity(queued.len());
        for (repo, of_repo) in queued {
            let first = of_repo.first().cloned();
            oldest.extend(first.map(|(since, name)| (repo.clone(), since, name)));
        }
        let waiting = oldest.iter().map(|(repo, since, name)| Waiter { name, repo, since: *since });
        let live = live.values().map(|(repo, _)| repo.as_str());
        let next = order(SeatLimits::default(), live, waiting, served, now).next()?;
        let (name, repo) = (next.name.clone(), next.repo.to_owned());
        inner.takes_out(&name);
        inner.lives(&name, Some(&repo), now);
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
