//! The launch queue: runs that the launch pacer holds back, longest wait first. A reconcile that
//! finds room wakes the first one. Without the queue each run would retry every few seconds.

use std::collections::{BTreeSet, HashMap};

use jiff::{SignedDuration, Timestamp};
use parking_lot::{Mutex, MutexGuard};

use super::Controller;
use crate::model::{Reason, Run, RunName};
use crate::plan::times::older;

/// A run that is queued this long is reconciled anyway, like one that waits for a seat.
const STANDS_FOR: SignedDuration = SignedDuration::from_mins(5);

/// The launch queue of this process. Losing it costs extra reconciles.
#[derive(Default)]
pub(super) struct LaunchQueue(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    /// Queued runs, by the start of their wait.
    order: BTreeSet<(Timestamp, RunName)>,
    /// Since when each run waits, and since when it is queued.
    places: HashMap<RunName, (Timestamp, Timestamp)>,
}

impl Inner {
    fn takes_out(&mut self, name: &RunName) {
        if let Some((waiting_since, _)) = self.places.remove(name) {
            self.order.remove(&(waiting_since, name.clone()));
        }
    }
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
        if let Some(run) = run.filter(|_| reason == Some(Reason::Paced)) {
            let waiting_since = run.status.waiting_since;
            inner.order.insert((waiting_since, name.clone()));
            inner.places.insert(name.clone(), (waiting_since, now));
        }
    }

    /// Returns whether a run is queued, and not for too long.
    pub(super) fn holds(&self, name: &RunName, now: Timestamp) -> bool {
        let inner = self.inner();
        inner.places.get(name).is_some_and(|(_, stands)| !older(now, *stands, STANDS_FOR))
    }

    /// Removes every run: each is due soon anyway.
    pub(super) fn forget(&self) {
        *self.inner() = Inner::default();
    }

    fn is_empty(&self) -> bool {
        self.inner().order.is_empty()
    }

    /// Removes and returns the run that has waited longest.
    fn first(&self) -> Option<RunName> {
        let mut inner = self.inner();
        let (_, name) = inner.order.pop_first()?;
        inner.places.remove(&name);
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
            && let Some(name) = self.cache.launch_queue.first()
        {
            self.cache.set_woken(&name, self.ports.clock.now());
            called += usize::from(self.ports.queue.wake(&name).await.is_ok());
        }
        called
    }
}
