//! The cache of one process. Losing it costs calls, never safety.

mod listing;
mod registrations;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::{SignedDuration, Timestamp};
use parking_lot::{Mutex, MutexGuard};

use super::boots::Boots;
use super::breaker::Breakers;
use super::by_run::ByRun;
use super::canceled::Canceled;
use super::ends::Ends;
use super::interruptions::Interruptions;
use super::late_logs::LateLogs;
use super::launch_queue::LaunchQueue;
use super::polled::Polled;
use super::queued::Queued;
use super::spend::Spend;
use super::turns::Turns;
use super::unclaimed::Unclaimed;
use super::workflow_runs::WorkflowRuns;
use crate::model::{
    AttemptId, Cause, ClassName, Machine, MachineId, MachineSpec, Pause, Registration, RunName,
    UnavailableOffering,
};
use crate::plan::times::after;
pub(super) use listing::Listing;
use registrations::ListedRegistrations;

/// For so long after an offering is available again, others of its price are preferred.
const WORSE_FOR: SignedDuration = SignedDuration::from_mins(12);
/// The sweep wakes no run twice within this time.
const WOKEN_FOR: SignedDuration = SignedDuration::from_secs(30);
/// The interval of reading the store while no run is open.
const STORE_READ_EVERY: SignedDuration = SignedDuration::from_secs(60);
/// The interval of listing machines, registrations and seats while none of ours exists.
const SWEPT_EVERY: SignedDuration = SignedDuration::from_mins(5);
/// The interval of auditing all finished runs.
const AUDITED_EVERY: SignedDuration = SignedDuration::from_hours(1);
/// The maximum number of cached missing registrations.
const MISSING_KEPT: usize = 10_000;
/// The maximum number of cached ended machines.
const ENDED_KEPT: usize = 10_000;

/// Machines by the run of their attempt ID.
pub(super) type Machines = ByRun<Machine>;
/// Registrations by the run of their attempt ID; `None` if the token may not list them.
pub(super) type Rows = Option<ByRun<Registration>>;
/// Seats by the run of their attempt ID.
pub(super) type Seats = ByRun<(ClassName, AttemptId)>;

/// The pauses, that of every class first.
pub(super) type Pauses = Vec<Pause>;

/// The cache of one process.
#[derive(Default)]
pub(super) struct Cache {
    /// Orders reads: a listing serves a reconcile if it began after that one read its record.
    tickets: AtomicU64,
    pub(super) machines: Listing<Machines>,
    pub(super) rows: ListedRegistrations,
    pub(super) seats: Listing<Seats>,
    pub(super) pauses: Listing<Pauses>,
    pub(super) unclaimed: Unclaimed,
    pub(super) canceled: Canceled,
    pub(super) polled: Polled,
    pub(super) breakers: Breakers,
    pub(super) launch_queue: LaunchQueue,
    pub(super) turns: Turns,
    /// Lists of open runs, which go into `turns` and `boots`.
    pub(super) open: Listing<()>,
    pub(super) queued: Queued,
    pub(super) ends: Ends,
    pub(super) interruptions: Interruptions,
    pub(super) late_logs: LateLogs,
    pub(super) spend: Spend,
    /// Reads of what was counted today, and of prices, which go into `spend`.
    pub(super) counted: Listing<()>,
    pub(super) priced: Listing<()>,
    pub(super) boots: Boots,
    /// Reads of finished runs, which go into `boots`.
    pub(super) finished_boots: Listing<()>,
    pub(super) workflow_runs: WorkflowRuns,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    missing: HashMap<i64, Timestamp>,
    unavailable: Vec<UnavailableOffering>,
    /// Machines whose end said something about offerings: each counts once.
    ended: BTreeSet<MachineId>,
    dues: BTreeMap<RunName, Timestamp>,
    woken: HashMap<RunName, Timestamp>,
    /// The classes of the last listed machines.
    classes: BTreeSet<ClassName>,
    /// The cursor and the time at which the audit of finished runs continues.
    audit: (Option<String>, Timestamp),
    /// Time at which `woken` was last pruned.
    cleared: Option<Timestamp>,
    idle: Idle,
}

/// The times at which this process found nothing open, nothing left or nothing listed. Reset by any
/// change that it learns of.
#[derive(Clone, Copy, Default)]
struct Idle {
    /// Time at which no run was open or due.
    open: Option<Timestamp>,
    /// Time at which no machine, registration or seat was left either.
    left: Option<Timestamp>,
    /// Time at which a replica that does not hold the lease found no machine and no registration.
    listed: Option<Timestamp>,
}

impl Cache {
    /// Returns a position in the order of reads.
    pub(super) fn ticket(&self) -> u64 {
        self.tickets.fetch_add(1, Ordering::Relaxed)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }

    /// Records a 404 for a registration's ID. Returns since when it is missing.
    pub(super) fn missing(&self, registration: i64, now: Timestamp) -> Timestamp {
        let mut inner = self.inner();
        if inner.missing.len() >= MISSING_KEPT {
            inner.missing.clear();
        }
        *inner.missing.entry(registration).or_insert(now)
    }

    /// Returns since when these registrations are missing, for those that are.
    pub(super) fn missing_among(&self, ids: impl Iterator<Item = i64>) -> BTreeMap<i64, Timestamp> {
        let inner = self.inner();
        ids.filter_map(|id| Some((id, *inner.missing.get(&id)?))).collect()
    }

    /// Records that a registration was seen.
    pub(super) fn there(&self, registration: i64) {
        self.inner().missing.remove(&registration);
    }

    /// Marks an offering as unavailable for as long as the cause says.
    pub(super) fn skip(&self, machine: &MachineSpec, cause: Cause, now: Timestamp) {
        let until = after(now, cause.cached_for());
        let mut inner = self.inner();
        let same = |s: &UnavailableOffering| s.cause == cause && s.machine.same_capacity(machine);
        inner.unavailable.retain(|s| now < after(s.until, WORSE_FOR) && !same(s));
        inner.unavailable.push(UnavailableOffering { machine: machine.clone(), until, cause });
    }

    /// Records that the end of a machine makes these offerings unavailable. It is listed for an
    /// hour, and counts once.
    pub(super) fn ended(
        &self,
        id: &MachineId,
        offerings: &[MachineSpec],
        cause: Cause,
        now: Timestamp,
    ) {
        let first = {
            let mut inner = self.inner();
            if inner.ended.len() >= ENDED_KEPT {
                inner.ended.clear();
            }
            inner.ended.insert(id.clone())
        };
        for machine in offerings.iter().filter(|_| first) {
            self.skip(machine, cause, now);
        }
    }

    /// Returns the offerings that are unavailable now.
    pub(super) fn unavailable(&self, now: Timestamp) -> Vec<UnavailableOffering> {
        self.inner().unavailable.iter().filter(|s| s.until > now).cloned().collect()
    }

    /// Returns the machine specs whose pools had no capacity in the last quarter of an hour.
    pub(super) fn failed_lately(&self, now: Timestamp) -> Vec<MachineSpec> {
        let failed = |s: &&UnavailableOffering| {
            s.cause == Cause::Capacity && now < after(s.until, WORSE_FOR)
        };
        self.inner().unavailable.iter().filter(failed).map(|s| s.machine.clone()).collect()
    }

    /// Records the classes in the list of machines.
    pub(super) fn saw_classes<'a>(&self, classes: impl Iterator<Item = &'a ClassName>) {
        let distinct: BTreeSet<&ClassName> = classes.collect();
        self.inner().classes = distinct.into_iter().cloned().collect();
    }

    /// Returns the classes in the last list of machines.
    pub(super) fn seen_classes(&self) -> BTreeSet<ClassName> {
        self.inner().classes.clone()
    }

    /// Returns whether it is time to audit finished runs. A time further ahead than the interval is
    /// that of a clock which was set back since.
    pub(super) fn audits(&self, now: Timestamp) -> bool {
        let at = self.inner().audit.1;
        at <= now || at > now + AUDITED_EVERY
    }

    /// Returns the cursor at which the audit continues; `None`: at the start.
    pub(super) fn audit_from(&self) -> Option<String> {
        self.inner().audit.0.clone()
    }

    /// Records an audited page; after the last one the audit pauses.
    pub(super) fn audited(&self, next: Option<String>, now: Timestamp) {
        let rests = if next.is_some() { SignedDuration::ZERO } else { AUDITED_EVERY };
        self.inner().audit = (next, now + rests);
    }

    /// Forgets everything that has a time.
    pub(super) fn forget_times(&self) {
        *self.inner() = Inner::default();
        self.rows.forget_times();
        self.polled.forget();
        self.unclaimed.forget();
        self.breakers.forget();
        self.launch_queue.forget();
        self.turns.forget();
        self.queued.forget();
        self.ends.forget();
        self.interruptions.forget();
        self.spend.forget();
        self.boots.forget();
        self.workflow_runs.forget();
    }

    /// Ends idle mode: what was not found may exist now.
    pub(super) fn reset_idle(&self) {
        self.inner().idle = Idle::default();
    }

    /// Records that no run is open or due.
    pub(super) fn found_nothing_open(&self, now: Timestamp) {
        self.inner().idle.open = Some(now);
    }

    /// Records that no machine, registration or seat is left.
    pub(super) fn found_nothing_left(&self, now: Timestamp) {
        self.inner().idle.left = Some(now);
    }

    /// Records that a replica that does not hold the lease found no machine and no registration.
    pub(super) fn found_nothing_listed(&self, now: Timestamp) {
        self.inner().idle.listed = Some(now);
    }

    /// Returns whether nothing was open at the last read, however long ago.
    pub(super) fn was_idle(&self) -> bool {
        self.inner().idle.open.is_some()
    }

    /// Returns whether a poll may skip the store if the forge lists nothing to serve.
    pub(super) fn nothing_open(&self, now: Timestamp) -> bool {
        let inner = self.inner();
        inner.dues.is_empty() && recent(inner.idle.open, STORE_READ_EVERY, now)
    }

    /// Returns whether a sweep may be skipped.
    pub(super) fn nothing_left(&self, now: Timestamp) -> bool {
        let inner = self.inner();
        inner.dues.is_empty() && recent(inner.idle.left, SWEPT_EVERY, now)
    }

    /// Returns whether a replica that does not hold the lease may skip its lists.
    pub(super) fn nothing_listed(&self, now: Timestamp) -> bool {
        let inner = self.inner();
        inner.dues.is_empty() && recent(inner.idle.listed, SWEPT_EVERY, now)
    }

    /// Records that a run was woken; it is due again soon in case the wake-up is lost.
    pub(super) fn set_woken(&self, name: &RunName, now: Timestamp) {
        self.set_due(name, Some(now + WOKEN_FOR));
    }

    /// Sets when a run is due; `None`: only after an event.
    pub(super) fn set_due(&self, name: &RunName, due: Option<Timestamp>) {
        let mut inner = self.inner();
        inner.idle = Idle::default();
        match due {
            Some(due) => inner.dues.insert(name.clone(), due),
            None => inner.dues.remove(name),
        };
    }

    /// Makes runs due now, if they are due at all.
    pub(super) fn bring_forward(&self, names: &BTreeSet<RunName>, now: Timestamp) {
        let mut inner = self.inner();
        for name in names {
            if let Some(due) = inner.dues.get_mut(name) {
                *due = now.min(*due);
            }
        }
    }

    /// Returns the cached due of a run.
    pub(super) fn due(&self, name: &RunName) -> Option<Timestamp> {
        self.inner().dues.get(name).copied()
    }

    /// Returns the due runs, and postpones each by half a minute.
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

    /// Returns whether the sweep may wake this run: not twice within 30 s.
    pub(super) fn may_wake(&self, name: &RunName, now: Timestamp) -> bool {
        let mut inner = self.inner();
        let recent = |at: Timestamp| at <= now && now < at + WOKEN_FOR;
        // Pruned only once in that time: many are woken at once, and each call comes through here.
        if !inner.cleared.is_some_and(recent) {
            inner.cleared = Some(now);
            inner.woken.retain(|_, at| recent(*at));
        }
        // A refused wake-up must not postpone the next one: a run named often would never wake.
        let may = !inner.woken.get(name).is_some_and(|at| recent(*at));
        if may {
            inner.woken.insert(name.clone(), now);
        }
        may
    }

    /// Returns the earliest cached due.
    pub(super) fn earliest_due(&self) -> Option<Timestamp> {
        self.inner().dues.values().min().copied()
    }
}

/// Returns whether `last` is less than `within` ago; false if the clock went back.
fn recent(last: Option<Timestamp>, within: SignedDuration, now: Timestamp) -> bool {
    last.is_some_and(|at| at <= now && now.duration_since(at) < within)
}

#[cfg(test)]
mod tests;
