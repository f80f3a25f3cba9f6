//! Runs that wait for the pace of launches, in the order they have waited: whoever finds room calls
//! the first. Without it each of them would ask again every few seconds, all through a burst.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};

use super::Controller;
use crate::model::{Reason, Run, RunName};
use crate::plan::times::older;

/// Who stands in line so long without a call is looked at all the same, as one that waits for a seat.
const STANDS_FOR: SignedDuration = SignedDuration::from_mins(5);

/// The line, as this process knows it. Losing it costs looks.
#[derive(Default)]
pub(super) struct Line(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    /// By how long they have waited.
    order: BTreeSet<(Timestamp, RunName)>,
    /// Since when each waits, and since when it stands here.
    places: HashMap<RunName, (Timestamp, Timestamp)>,
}

impl Inner {
    fn takes_out(&mut self, name: &RunName) {
        if let Some((waiting_since, _)) = self.places.remove(name) {
            self.order.remove(&(waiting_since, name.clone()));
        }
    }
}

impl Line {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A look is over: its run stands in line from now on, or no longer.
    pub(super) fn looked_at(
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

    /// Whether a run waits to be called, and not for too long.
    pub(super) fn holds(&self, name: &RunName, now: Timestamp) -> bool {
        let inner = self.inner();
        inner.places.get(name).is_some_and(|(_, stands)| !older(now, *stands, STANDS_FOR))
    }

    fn is_empty(&self) -> bool {
        self.inner().order.is_empty()
    }

    /// The one that has waited longest; it stands here no more.
    fn first(&self) -> Option<RunName> {
        let mut inner = self.inner();
        let (_, name) = inner.order.pop_first()?;
        inner.places.remove(&name);
        Some(name)
    }
}

impl Controller {
    /// As long as there is room for a launch, so many of those that wait for it are looked at.
    /// Answers how many. Each look calls one more: what needs no launch any more holds nobody up.
    pub(super) async fn call_the_first(&self, most: usize) -> usize {
        let mut called = 0;
        while called < most
            && !self.memory.line.is_empty()
            && self.ports.compute.room()
            && let Some(name) = self.memory.line.first()
        {
            self.memory.remember_woken(&name, self.ports.clock.now());
            called += usize::from(self.ports.queue.wake(&name).await.is_ok());
        }
        called
    }
}
