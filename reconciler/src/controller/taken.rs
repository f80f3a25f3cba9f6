//! Who runs on whose machine, and whether a machine comes back for the one that was taken.
//!
//! A runner takes the oldest job that its labels fit, not the one it was launched for. Whoever loses
//! a machine that way waits for the taker's; where the taker never had one (its class was at its
//! limit), that wait is in vain. What is remembered here costs time when it is lost, never safety.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Controller;
use crate::model::{End, Job, Observation, Phase, Run, RunName, Slot};
use crate::ports::PortError;

/// Machines that were taken and are remembered at most; then it begins anew.
const KEPT: usize = 10_000;
/// Runs in a chain of takers that are read at most.
const HOPS: usize = 20;

/// Which run's job took the machine of which slot.
#[derive(Default)]
pub(super) struct Taken(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    takers: HashMap<Slot, RunName>,
    /// The other way round; whether the slot's run was told that nothing comes back.
    slots: HashMap<RunName, (Slot, bool)>,
}

impl Taken {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This run's job was seen on the machine of that slot.
    pub(super) fn saw(&self, taker: &RunName, slot: &Slot) {
        let mut inner = self.inner();
        if slot.run == *taker || inner.takers.get(slot) == Some(taker) {
            return;
        }
        if inner.takers.len() >= KEPT {
            *inner = Inner::default();
        }
        inner.slots.insert(taker.clone(), (slot.clone(), false));
        inner.takers.insert(slot.clone(), taker.clone());
    }

    /// Who took the machine of this slot.
    fn taker(&self, slot: &Slot) -> Option<RunName> {
        self.inner().takers.get(slot).cloned()
    }

    /// The slot whose machine this run took, unless its run was told already.
    fn untold(&self, taker: &RunName) -> Option<Slot> {
        self.inner().slots.get(taker).filter(|(_, told)| !told).map(|(slot, _)| slot.clone())
    }

    /// The slot's run is told now.
    fn told(&self, taker: &RunName) {
        if let Some((_, told)) = self.inner().slots.get_mut(taker) {
            *told = true;
        }
    }
}

/// What a run whose job took another's machine gives back for it.
enum Back {
    /// A machine of its own that nobody has taken yet, or one that may still be asked for.
    Expected,
    /// A machine, and that was taken in its turn.
    Taken(Slot),
    /// None.
    Nothing,
}

impl Back {
    fn of(run: &Run) -> Self {
        let attempt = run.status.attempt.as_ref();
        match attempt.map(|attempt| (attempt.number, attempt.ended.map(|ended| ended.why))) {
            Some((_, None)) => Self::Expected,
            Some((number, Some(End::Consumed))) => Self::Taken(run.slot(number)),
            // While it waits, an attempt may be under way that is not recorded yet.
            _ if run.status.phase == Phase::Running || !run.is_open() => Self::Nothing,
            _ => Self::Expected,
        }
    }
}

impl Controller {
    /// Whether this run's machine was taken, and it is known that none comes back for it.
    pub(super) async fn has_no_spare(&self, seen: &Observation) -> Result<bool, PortError> {
        let (Some(run), Job::Waiting) = (&seen.run, &seen.job) else { return Ok(false) };
        let Some(attempt) = &run.status.attempt else { return Ok(false) };
        self.nothing_comes_back(Back::Taken(run.slot(attempt.number))).await
    }

    /// The job of this run works, or worked, on another run's machine, and nothing comes back for
    /// that: the other run need not wait for it, and is looked at.
    pub(super) async fn call_the_robbed(&self, run: &Run) {
        if run.status.phase != Phase::Running && run.is_open() {
            return;
        }
        let Some(slot) = self.memory.taken.untold(&run.name) else { return };
        // What cannot be read or is lost leaves the other run to its due, a minute at the latest.
        if let Ok(true) = self.nothing_comes_back(Back::of(run)).await {
            self.memory.taken.told(&run.name);
            let _ = self.ports.queue.wake(&slot.run).await;
        }
    }

    /// Follows who took whose machine to the end.
    async fn nothing_comes_back(&self, mut back: Back) -> Result<bool, PortError> {
        let mut followed: Vec<Slot> = Vec::new();
        loop {
            let slot = match back {
                Back::Nothing => return Ok(true),
                Back::Expected => return Ok(false),
                Back::Taken(slot) => slot,
            };
            let taker = self.memory.taken.taker(&slot);
            // In a circle each has got another's: nobody of it waits.
            let Some(taker) = taker.filter(|_| followed.len() < HOPS && !followed.contains(&slot))
            else {
                return Ok(false);
            };
            let run = self.ports.store.get(&taker).await?;
            back = run.map_or(Back::Nothing, |run| Back::of(&run));
            followed.push(slot);
        }
    }
}
