//! What one process remembers between looks. Losing it costs calls, never safety.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};

use super::breaker::Breakers;
use super::line::Line;
use super::taken::Taken;
use crate::model::{
    Cause, ClassName, Instance, InstanceId, Machine, Registration, RunName, Shortage, Slot,
};
use crate::plan::times::after;
use crate::ports::PortError;

/// Nobody is woken twice by the sweep within this time.
const WOKEN_FOR: SignedDuration = SignedDuration::from_secs(30);
/// Where nothing is open, the store is asked for open runs this often, and no more.
const STORE_READ_EVERY: SignedDuration = SignedDuration::from_secs(60);
/// Where nothing of ours was found at all, machines, registrations and seats are gone through this
/// often, and no more.
const SWEPT_EVERY: SignedDuration = SignedDuration::from_mins(5);
/// How often all finished runs are gone through.
const AUDITED_EVERY: SignedDuration = SignedDuration::from_hours(1);
/// Registrations known to be missing that are remembered at most.
const MISSING_KEPT: usize = 10_000;
/// Machines that the cloud took back, remembered at most.
const RECLAIMED_KEPT: usize = 10_000;

/// Machines by the run their slot names.
pub(super) type Machines = HashMap<RunName, Vec<Instance>>;
/// Runner rows by the run their slot names; `None`: the token may not list them.
pub(super) type Rows = Option<HashMap<RunName, Vec<Registration>>>;
/// Seats by the run their slot names.
pub(super) type Seats = HashMap<RunName, Vec<(ClassName, Slot)>>;

/// One process's memory.
#[derive(Default)]
pub(super) struct Memory {
    /// Orders readings: a listing serves a look if it was begun after the look read its record.
    tickets: AtomicU64,
    pub(super) machines: Listing<Machines>,
    pub(super) rows: Listing<Rows>,
    pub(super) seats: Listing<Seats>,
    pub(super) taken: Taken,
    pub(super) breakers: Breakers,
    pub(super) line: Line,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    missing: HashMap<i64, Timestamp>,
    short: Vec<Shortage>,
    /// Machines that were seen taken back: each speaks once.
    reclaimed: BTreeSet<InstanceId>,
    dues: BTreeMap<RunName, Timestamp>,
    woken: HashMap<RunName, Timestamp>,
    /// The classes of the machines that were listed last.
    classes: BTreeSet<ClassName>,
    /// Where going through all finished runs goes on, and when.
    audit: (Option<String>, Timestamp),
    /// When `woken` was last gone through.
    cleared: Option<Timestamp>,
    idle: Idle,
}

/// When nothing was found, while that still holds for all that this process knows.
#[derive(Clone, Copy, Default)]
struct Idle {
    /// No open run and none that is due.
    nothing_open: Option<Timestamp>,
    /// No machine, registration or seat either.
    nothing_left: Option<Timestamp>,
}

impl Memory {
    /// A place in the order of readings.
    pub(super) fn ticket(&self) -> u64 {
        self.tickets.fetch_add(1, Ordering::Relaxed)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A registration gave 404 by its id. Answers since when it does.
    pub(super) fn missing(&self, registration: i64, now: Timestamp) -> Timestamp {
        let mut inner = self.inner();
        if inner.missing.len() >= MISSING_KEPT {
            inner.missing.clear();
        }
        *inner.missing.entry(registration).or_insert(now)
    }

    /// A registration was seen.
    pub(super) fn there(&self, registration: i64) {
        self.inner().missing.remove(&registration);
    }

    /// A machine is skipped for a while, and what its cause reaches to.
    pub(super) fn skip(&self, machine: &Machine, cause: Cause, now: Timestamp) {
        let until = after(now, cause.remembered_for());
        let mut inner = self.inner();
        let same = |s: &Shortage| s.cause == cause && s.machine.same_capacity(machine);
        inner.short.retain(|s| s.until > now && !same(s));
        inner.short.push(Shortage { machine: machine.clone(), until, cause });
    }

    /// The cloud took a machine back. It is listed for an hour, and counts when it is first seen.
    pub(super) fn reclaimed(&self, id: &InstanceId, machine: &Machine, now: Timestamp) {
        let first = {
            let mut inner = self.inner();
            if inner.reclaimed.len() >= RECLAIMED_KEPT {
                inner.reclaimed.clear();
            }
            inner.reclaimed.insert(id.clone())
        };
        if first {
            self.skip(machine, Cause::Reclaimed, now);
        }
    }

    /// Machines that are skipped now.
    pub(super) fn short(&self, now: Timestamp) -> Vec<Shortage> {
        self.inner().short.iter().filter(|s| s.until > now).cloned().collect()
    }

    /// The machine list names these classes.
    pub(super) fn saw_classes<'a>(&self, classes: impl Iterator<Item = &'a ClassName>) {
        self.inner().classes = classes.cloned().collect();
    }

    /// The classes that the machine list named last.
    pub(super) fn seen_classes(&self) -> BTreeSet<ClassName> {
        self.inner().classes.clone()
    }

    /// Whether it is time to go through finished runs.
    pub(super) fn audits(&self, now: Timestamp) -> bool {
        self.inner().audit.1 <= now
    }

    /// Where going through them goes on; `None`: at the first.
    pub(super) fn audit_from(&self) -> Option<String> {
        self.inner().audit.0.clone()
    }

    /// A page of it is done; after the last it rests.
    pub(super) fn audited(&self, next: Option<String>, now: Timestamp) {
        let rests = if next.is_some() { SignedDuration::ZERO } else { AUDITED_EVERY };
        self.inner().audit = (next, now + rests);
    }

    /// There is something to do, or was a moment ago: what was not found may be there now.
    pub(super) fn stir(&self) {
        self.inner().idle = Idle::default();
    }

    /// No run is open or due.
    pub(super) fn found_nothing_open(&self, now: Timestamp) {
        self.inner().idle.nothing_open = Some(now);
    }

    /// Neither machine, registration nor seat is left.
    pub(super) fn found_nothing_left(&self, now: Timestamp) {
        self.inner().idle.nothing_left = Some(now);
    }

    /// Whether nothing was open when that was read last, however long ago.
    pub(super) fn was_idle(&self) -> bool {
        self.inner().idle.nothing_open.is_some()
    }

    /// Whether a poll may leave the store alone, where the forge's list asks for nothing.
    pub(super) fn nothing_open(&self, now: Timestamp) -> bool {
        let inner = self.inner();
        inner.dues.is_empty() && recent(inner.idle.nothing_open, STORE_READ_EVERY, now)
    }

    /// Whether a sweep may be left out.
    pub(super) fn nothing_left(&self, now: Timestamp) -> bool {
        let inner = self.inner();
        inner.dues.is_empty() && recent(inner.idle.nothing_left, SWEPT_EVERY, now)
    }

    /// Remembers that a run was woken: one whose wake-up is lost is due again then.
    pub(super) fn remember_woken(&self, name: &RunName, now: Timestamp) {
        self.remember_due(name, Some(now + WOKEN_FOR));
    }

    /// When a run is to be looked at again; `None`: not on its own account.
    pub(super) fn remember_due(&self, name: &RunName, due: Option<Timestamp>) {
        let mut inner = self.inner();
        inner.idle = Idle::default();
        match due {
            Some(due) => inner.dues.insert(name.clone(), due),
            None => inner.dues.remove(name),
        };
    }

    /// These runs are looked at again now, as far as they are looked at on their own account.
    pub(super) fn bring_forward(&self, names: &BTreeSet<RunName>, now: Timestamp) {
        let mut inner = self.inner();
        for name in names {
            if let Some(due) = inner.dues.get_mut(name) {
                *due = now.min(*due);
            }
        }
    }

    /// The due of a run as this process knows it.
    pub(super) fn due(&self, name: &RunName) -> Option<Timestamp> {
        self.inner().dues.get(name).copied()
    }

    /// The runs that fell due, each put off for half a minute.
    pub(super) fn take_due(&self, now: Timestamp) -> Vec<RunName> {
        let mut inner = self.inner();
        let due: Vec<RunName> = inner
            .dues
            .iter()
            .filter(|(_, due)| **due <= now)
            .map(|(name, _)| name.clone())
            .collect();
        for name in &due {
            inner.dues.insert(name.clone(), now + WOKEN_FOR);
        }
        due
    }

    /// Whether the sweep may wake this run: not twice within 30 s.
    pub(super) fn may_wake(&self, name: &RunName, now: Timestamp) -> bool {
        let mut inner = self.inner();
        let recent = |at: Timestamp| at <= now && now < at + WOKEN_FOR;
        // Gone through once in that time only: many are woken at once, and each asks here.
        if !inner.cleared.is_some_and(recent) {
            inner.cleared = Some(now);
            inner.woken.retain(|_, at| recent(*at));
        }
        // A refused wake-up must not put the next one off: who is asked for often would sleep for ever.
        let may = !inner.woken.get(name).is_some_and(|at| recent(*at));
        if may {
            inner.woken.insert(name.clone(), now);
        }
        may
    }

    /// The earliest due that this process knows.
    pub(super) fn earliest_due(&self) -> Option<Timestamp> {
        self.inner().dues.values().min().copied()
    }
}

/// Whether that was found less than so long ago. A clock that went back has found nothing.
fn recent(found: Option<Timestamp>, within: SignedDuration, now: Timestamp) -> bool {
    found.is_some_and(|at| at <= now && now.duration_since(at) < within)
}

/// A listing shared by all who look at the same time.
pub(super) struct Listing<T> {
    /// One reads at a time. Not `async_lock::Mutex`: who is next there rests on the wall clock.
    turn: async_lock::Semaphore,
    last: Mutex<Option<(u64, Arc<T>)>>,
}

impl<T> Default for Listing<T> {
    fn default() -> Self {
        Self { turn: async_lock::Semaphore::new(1), last: Mutex::new(None) }
    }
}

impl<T> Listing<T> {
    /// A listing begun after `ticket`: the last one, or a new one that all who wait share.
    pub(super) async fn after<F>(
        &self,
        memory: &Memory,
        ticket: u64,
        read: F,
    ) -> Result<Arc<T>, PortError>
    where
        F: Future<Output = Result<T, PortError>>,
    {
        let _turn = self.turn.acquire().await;
        if let Some((begun, listing)) = &*self.last()
            && *begun > ticket
        {
            return Ok(listing.clone());
        }
        let begun = memory.ticket();
        let listing = Arc::new(read.await?);
        *self.last() = Some((begun, listing.clone()));
        Ok(listing)
    }
    fn last(&self) -> MutexGuard<'_, Option<(u64, Arc<T>)>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
