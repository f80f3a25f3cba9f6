//! Finds which run uses whose machine, and whether a displaced job gets a machine back.
//!
//! A runner takes the oldest job that fits its labels, not the one it was launched for. A displaced
//! job waits for the taker's machine; if the taker never had one (its class was at its limit), that
//! wait is in vain. This is a cache: losing it costs time, never safety.

use std::collections::HashMap;

use parking_lot::{Mutex, MutexGuard};

use super::Controller;
use crate::model::{AttemptId, End, Job, Observation, Phase, Run, RunName};
use crate::ports::PortError;

/// The maximum number of cached machines; then the cache is cleared.
const KEPT: usize = 10_000;
/// The maximum number of runs that are read in a chain of takers.
const HOPS: usize = 20;

/// The runs whose jobs took machines of other runs' attempts.
#[derive(Default)]
pub(super) struct Displaced(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    takers: HashMap<AttemptId, RunName>,
    /// The reverse, and whether the displaced run was woken because it gets no machine.
    attempt_ids: HashMap<RunName, (AttemptId, bool)>,
}

impl Displaced {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock()
    }

    /// Records that the run's job was seen on the machine of an attempt.
    pub(super) fn saw(&self, taker: &RunName, attempt_id: &AttemptId) {
        let mut inner = self.inner();
        if attempt_id.run == *taker || inner.takers.get(attempt_id) == Some(taker) {
            return;
        }
        if inner.takers.len() >= KEPT {
            *inner = Inner::default();
        }
        inner.attempt_ids.insert(taker.clone(), (attempt_id.clone(), false));
        inner.takers.insert(attempt_id.clone(), taker.clone());
    }

    /// Returns the run that took the machine of an attempt.
    fn taker(&self, attempt_id: &AttemptId) -> Option<RunName> {
        self.inner().takers.get(attempt_id).cloned()
    }

    /// Returns the attempt whose machine the run took, unless the displaced run was woken already.
    fn displaced_attempt(&self, taker: &RunName) -> Option<AttemptId> {
        self.inner()
            .attempt_ids
            .get(taker)
            .filter(|(_, woken)| !woken)
            .map(|(attempt_id, _)| attempt_id.clone())
    }

    /// Records that the displaced run is woken.
    fn mark_woken(&self, taker: &RunName) {
        if let Some((_, woken)) = self.inner().attempt_ids.get_mut(taker) {
            *woken = true;
        }
    }
}

/// The replacement from a run whose job took another run's machine.
enum Replacement {
    /// A machine of its own that nobody has taken yet, or one that may still be requested.
    Expected,
    /// A machine that was taken in turn.
    Displaced(AttemptId),
    /// No machine.
    Nothing,
}

impl Replacement {
    fn of(run: &Run) -> Self {
        let attempt = run.status.attempt.as_ref();
        match attempt.map(|attempt| (attempt.number, attempt.ended.map(|ended| ended.why))) {
            Some((_, None)) => Self::Expected,
            Some((number, Some(End::Consumed))) => Self::Displaced(run.attempt_id(number)),
            // While it waits, an attempt may be in preparation and not recorded yet.
            _ if run.status.phase == Phase::Running || !run.is_open() => Self::Nothing,
            _ => Self::Expected,
        }
    }
}

impl Controller {
    /// Returns whether the job was displaced and no machine will be reassigned to it.
    pub(super) async fn has_no_replacement(&self, seen: &Observation) -> Result<bool, PortError> {
        let (Some(run), Job::Waiting) = (&seen.run, &seen.job) else { return Ok(false) };
        let Some(attempt) = &run.status.attempt else { return Ok(false) };
        self.nothing_comes_back(Replacement::Displaced(run.attempt_id(attempt.number))).await
    }

    /// Wakes the run whose machine this run's job uses or used, if it gets none back.
    pub(super) async fn wake_displaced(&self, run: &Run) {
        if run.status.phase != Phase::Running && run.is_open() {
            return;
        }
        let Some(attempt_id) = self.cache.displaced.displaced_attempt(&run.name) else { return };
        // After a failed read or a lost wake-up that run continues at its due, within a minute.
        if let Ok(true) = self.nothing_comes_back(Replacement::of(run)).await {
            self.cache.displaced.mark_woken(&run.name);
            let _ = self.ports.queue.wake(&attempt_id.run).await;
        }
    }

    /// Follows the chain of takers to its end.
    async fn nothing_comes_back(&self, mut replacement: Replacement) -> Result<bool, PortError> {
        let mut followed: Vec<AttemptId> = Vec::new();
        loop {
            let attempt_id = match replacement {
                Replacement::Nothing => return Ok(true),
                Replacement::Expected => return Ok(false),
                Replacement::Displaced(attempt_id) => attempt_id,
            };
            let taker = self.cache.displaced.taker(&attempt_id);
            // In a cycle each has another's machine: none of them waits.
            let Some(taker) =
                taker.filter(|_| followed.len() < HOPS && !followed.contains(&attempt_id))
            else {
                return Ok(false);
            };
            let run = self.ports.store.get(&taker).await?;
            replacement = run.map_or(Replacement::Nothing, |run| Replacement::of(&run));
            followed.push(attempt_id);
        }
    }
}
