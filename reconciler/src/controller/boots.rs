//! Classes whose machines never come online by the records of all runs, and the attempt that tries.
//!
//! The results are in the store: in the open runs, and the newest finished ones. A process lists
//! them before a launch if its last list is old, and adds what it writes itself. Only one attempt
//! of a class tries at a time: it holds a lease in the store. This is a cache: losing it costs
//! calls.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;

use super::Controller;
use crate::model::{
    AttemptId, BootResult, BootStop, Class, ClassBoot, ClassName, Phase, Run, RunName, boots_of,
};
use crate::plan::boots::{boot_stop, probe_lasts};
use crate::plan::times::{BREAKER_RETRIES_AFTER, after, older};
use crate::ports::{Filter, OpenRun, PortError};

/// A launch reads no list again that is younger than this.
const LISTED_FOR: SignedDuration = SignedDuration::from_secs(30);
/// People are shown nothing from a list that is older than this.
const SHOWN_FOR: SignedDuration = SignedDuration::from_mins(2);
/// The number of finished runs that are read while machines of open runs never came online.
const FINISHED: usize = 100;
/// The maximum number of runs that are woken when a class launches again.
const WOKEN_AT_MOST: usize = 1_000;
/// An attempt that launches this long after it took the lease renews it.
const RENEWED_AFTER: SignedDuration = SignedDuration::from_secs(30);
/// An attempt that may try and finds no seat tries again after this time.
const TRIES_AGAIN_AFTER: SignedDuration = SignedDuration::from_mins(1);

/// The boots of all classes, as far as this process knows them.
#[derive(Default)]
pub(super) struct Boots(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    /// The machines of open runs that never came online.
    failed: BTreeMap<RunName, Failed>,
    /// The same of runs that have finished.
    finished: BTreeMap<RunName, Vec<ClassBoot>>,
    /// Time at which a machine of each class last came online.
    online: BTreeMap<ClassName, Timestamp>,
    listed_at: Option<Timestamp>,
    finished_at: Option<Timestamp>,
    probes: HashMap<ClassName, Probe>,
    /// The runs that wait in this process.
    held: BTreeMap<ClassName, BTreeSet<RunName>>,
}

/// The machines of an open run that never came online.
struct Failed {
    boots: Vec<ClassBoot>,
    /// Time at which its record was read or written.
    noted_at: Timestamp,
}

/// The attempt that tries in a class, as far as this process knows.
#[derive(Clone)]
struct Probe {
    /// `None`: that of another process.
    attempt_id: Option<AttemptId>,
    /// Whether it holds the lease.
    holds: bool,
    /// The time until which others wait for its result.
    until: Timestamp,
}

/// An attempt that may launch, if it is the one that tries.
#[derive(Clone, Copy)]
pub(super) struct Asking<'a> {
    pub(super) attempt_id: &'a AttemptId,
    /// Whether it is recorded: another process may have taken the lease for it.
    pub(super) is_recorded: bool,
}

impl Probe {
    fn is_of(&self, attempt_id: &AttemptId) -> bool {
        self.attempt_id.as_ref() == Some(attempt_id)
    }

    /// Returns whether the attempt may be the one that tries; the lease tells.
    fn may_be(&self, asking: Asking<'_>) -> bool {
        self.attempt_id.as_ref().map_or(asking.is_recorded, |own| own == asking.attempt_id)
    }
}

impl Inner {
    fn came_online(&mut self, boots: &[ClassBoot]) {
        for boot in boots.iter().filter(|boot| boot.result.online) {
            let at = boot.result.at;
            let last = self.online.entry(boot.class.clone()).or_insert(at);
            *last = at.max(*last);
        }
    }

    /// Returns why a class launches one machine at a time. Nothing counts until a machine of an
    /// open run never came online.
    fn stop(&self, class: &ClassName, now: Timestamp) -> Option<BootStop> {
        let failed = || self.failed.values().flat_map(|failed| &failed.boots);
        if !failed().any(|boot| boot.class == *class) {
            return None;
        }
        let online = self.online.get(class).map(|at| ClassBoot {
            class: class.clone(),
            result: BootResult { at: *at, online: true, launch_failed: false },
        });
        let finished = self.finished.iter().filter(|(name, _)| !self.failed.contains_key(*name));
        let finished = finished.flat_map(|(_, boots)| boots);
        let all = failed().chain(finished).chain(&online);
        // A time in the future is that of a wrong clock; its record is repaired.
        boot_stop(class, all.filter(|boot| boot.result.at <= after(now, LISTED_FOR)))
    }

    /// Takes the runs that wait for classes which may launch again.
    fn freed(&mut self, now: Timestamp) -> BTreeSet<RunName> {
        let waiting = self.held.keys().cloned();
        let free: Vec<ClassName> =
            waiting.filter(|class| self.stop(class, now).is_none()).collect();
        free.iter().filter_map(|class| self.held.remove(class)).flatten().collect()
    }
}

/// Returns the results of machines that never came online.
fn failed(boots: &[ClassBoot]) -> Vec<ClassBoot> {
    boots.iter().filter(|boot| !boot.result.online).cloned().collect()
}

impl Boots {
    /// Notes a list of the open runs that was asked for then. What was noted since is newer. Returns
    /// the runs that may launch again.
    fn listed(&self, open: &[OpenRun], began_at: Timestamp) -> BTreeSet<RunName> {
        let mut inner = self.0.lock();
        inner.failed.retain(|_, failed| failed.noted_at >= began_at);
        for run in open {
            inner.came_online(&run.boots);
            let boots = failed(&run.boots);
            if !boots.is_empty() && run.phase != Phase::Finished {
                let failed = Failed { boots, noted_at: began_at };
                inner.failed.entry(run.name.clone()).or_insert(failed);
            }
        }
        inner.listed_at = Some(began_at);
        inner.freed(began_at)
    }

    /// Notes the newest finished runs.
    fn read_finished(&self, runs: &[Run], now: Timestamp) {
        let mut inner = self.0.lock();
        inner.finished.clear();
        for run in runs {
            let boots = boots_of(run);
            inner.came_online(&boots);
            let failed = failed(&boots);
            if !failed.is_empty() {
                inner.finished.insert(run.name.clone(), failed);
            }
        }
        inner.finished_at = Some(now);
    }

    /// Notes a record, after its reconcile or within it. Returns the runs that may launch again.
    fn reconciled(&self, run: &Run, now: Timestamp) -> BTreeSet<RunName> {
        let boots = boots_of(run);
        let mut inner = self.0.lock();
        inner.came_online(&boots);
        let before = inner.failed.remove(&run.name);
        let failed = failed(&boots);
        if !run.is_open() {
            // It is among the finished ones now.
            inner.finished_at = inner.finished_at.filter(|_| before.is_none());
        } else if !failed.is_empty() {
            inner.failed.insert(run.name.clone(), Failed { boots: failed, noted_at: now });
        }
        inner.freed(now)
    }

    /// Notes that a run waits for its class.
    pub(super) fn holds(&self, class: &ClassName, name: &RunName) {
        let mut inner = self.0.lock();
        let held = inner.held.entry(class.clone()).or_default();
        if held.len() < WOKEN_AT_MOST {
            held.insert(name.clone());
        }
    }

    /// Returns why a class launches nothing now, for any attempt but the one that tries.
    pub(super) fn known(
        &self,
        class: &ClassName,
        asking: Option<Asking<'_>>,
        now: Timestamp,
    ) -> Option<BootStop> {
        let inner = self.0.lock();
        let stop = inner.stop(class, now)?;
        let probe = inner.probes.get(class).filter(|probe| probe.until > now);
        let Some(probe) = probe else { return Some(stop) };
        if asking.is_some_and(|asking| probe.may_be(asking)) {
            return None;
        }
        Some(BootStop { until: stop.until.max(probe.until), ..stop })
    }

    fn stop(&self, class: &ClassName, now: Timestamp) -> Option<BootStop> {
        self.0.lock().stop(class, now)
    }

    /// Returns the attempt that tries in a class, until its result is known.
    fn probe(&self, class: &ClassName, now: Timestamp) -> Option<Probe> {
        self.0.lock().probes.get(class).filter(|probe| probe.until > now).cloned()
    }

    fn set_probe(&self, class: &ClassName, probe: Probe) {
        self.0.lock().probes.insert(class.clone(), probe);
    }

    /// Returns whether there is a list that is young enough.
    fn is_listed(&self, within: SignedDuration, now: Timestamp) -> bool {
        is_young(self.0.lock().listed_at, within, now)
    }

    fn is_finished_read(&self, now: Timestamp) -> bool {
        is_young(self.0.lock().finished_at, LISTED_FOR, now)
    }

    /// Forgets everything: times of a wrong clock.
    pub(super) fn forget(&self) {
        *self.0.lock() = Inner::default();
    }
}

fn is_young(at: Option<Timestamp>, within: SignedDuration, now: Timestamp) -> bool {
    at.is_some_and(|at| at <= now && !older(now, at, within))
}

/// Returns the recorded attempt of a run that has not ended.
fn open_attempt(run: &Run) -> Option<AttemptId> {
    let open = run.status.attempt.as_ref().filter(|attempt| attempt.ended.is_none())?;
    Some(run.attempt_id(open.number))
}

/// Returns the subject of the lease of the attempt that tries.
fn lease_of(class: &ClassName) -> String {
    format!("boot/{class}")
}

impl Controller {
    /// Returns the classes whose latest machines never came online, as this process last read it.
    pub fn boot_stops(&self) -> Vec<(ClassName, BootStop)> {
        let now = self.ports.clock.now();
        if !self.cache.boots.is_listed(SHOWN_FOR, now) {
            return Vec::new();
        }
        let settings = self.settings();
        let names = settings.classes.iter().map(|class| &class.name);
        names
            .filter_map(|name| Some((name.clone(), self.cache.boots.known(name, None, now)?)))
            .collect()
    }

    /// Notes a list of the open runs that was asked for then, and makes those due that may launch
    /// again.
    pub(super) fn note_boots(&self, open: &[OpenRun], began_at: Timestamp) {
        let freed = self.cache.boots.listed(open, began_at);
        self.cache.bring_forward(&freed, began_at);
    }

    /// Notes the record of a run, and makes those due that may launch again.
    pub(super) fn note_boots_of(&self, run: &Run) {
        let now = self.ports.clock.now();
        let freed = self.cache.boots.reconciled(run, now);
        self.cache.bring_forward(&freed, now);
    }

    /// Returns whether an attempt of a class may launch now. If it is the one that tries, it holds
    /// the lease from now on. `run`: its run as it will be written.
    pub(super) async fn may_boot(
        &self,
        class: &Class,
        attempt_id: &AttemptId,
        run: Option<&Run>,
    ) -> Result<BootPermit, PortError> {
        let now = self.ports.clock.now();
        let (boots, name) = (&self.cache.boots, &class.name);
        if !boots.is_listed(LISTED_FOR, now) {
            self.list_open_for_all(now).await?;
        }
        if let Some(run) = run {
            self.note_boots_of(run);
        }
        if boots.stop(name, now).is_some() && !boots.is_finished_read(now) {
            let ticket = self.cache.ticket();
            self.cache.finished_boots.after(&self.cache, ticket, self.read_finished()).await?;
        }
        let Some(stop) = boots.stop(name, now) else { return Ok(BootPermit::Free) };
        let is_recorded = run.and_then(open_attempt).as_ref() == Some(attempt_id);
        let asking = Asking { attempt_id, is_recorded };
        let lasts = probe_lasts(&class.times);
        match boots.probe(name, now) {
            Some(probe) if probe.is_of(attempt_id) && probe.holds => {
                // The lease has to last until the result of this launch is known.
                let lasts_long_enough = after(now, lasts) <= after(probe.until, RENEWED_AFTER);
                if lasts_long_enough {
                    return Ok(BootPermit::Probe);
                }
            }
            Some(probe) if !probe.may_be(asking) => {
                let until = stop.until.max(probe.until);
                return Ok(BootPermit::Wait(BootStop { until, ..stop }));
            }
            _ if stop.until > now => return Ok(BootPermit::Wait(stop)),
            _ => {}
        }
        let (what, holder) = (lease_of(name), attempt_id.to_string());
        let leased_at = now.min(self.clock.truth());
        if self.ports.store.lease(&what, &holder, leased_at, lasts).await? {
            let (attempt_id, until) = (Some(attempt_id.clone()), after(now, lasts));
            boots.set_probe(name, Probe { attempt_id, holds: true, until });
            return Ok(BootPermit::Probe);
        }
        // An attempt of another replica tries.
        let until = after(now, BREAKER_RETRIES_AFTER);
        boots.set_probe(name, Probe { attempt_id: None, holds: false, until });
        Ok(BootPermit::Wait(BootStop { until, ..stop }))
    }

    /// Returns why a class launches nothing now for a run, by the last lists. The attempt that
    /// tries may be recorded, or the next one, if it found no seat or a call for it failed.
    pub(super) fn boot_stop_of(
        &self,
        class: &Class,
        run: Option<&Run>,
        now: Timestamp,
    ) -> Option<BootStop> {
        let open = run.and_then(open_attempt);
        let is_recorded = open.is_some();
        let own = open.or_else(|| run.map(|run| run.attempt_id(run.status.next)));
        let asking = own.as_ref().map(|attempt_id| Asking { attempt_id, is_recorded });
        self.cache.boots.known(&class.name, asking, now)
    }

    /// Gives the lease of an attempt back that found no seat. Returns when it tries again; others
    /// of this process wait for it.
    pub(super) async fn probe_unused(
        &self,
        class: &ClassName,
        attempt_id: &AttemptId,
    ) -> Timestamp {
        let now = self.ports.clock.now();
        let (what, holder) = (lease_of(class), attempt_id.to_string());
        let over = now.min(self.clock.truth());
        // If that fails, the lease ends by itself.
        let _ = self.ports.store.lease(&what, &holder, over, SignedDuration::ZERO).await;
        let attempt_id = Some(attempt_id.clone());
        let until = after(now, BREAKER_RETRIES_AFTER);
        self.cache.boots.set_probe(class, Probe { attempt_id, holds: false, until });
        after(now, TRIES_AGAIN_AFTER)
    }

    async fn read_finished(&self) -> Result<(), PortError> {
        let now = self.ports.clock.now();
        let phase = Some(Phase::Finished);
        let filter = Filter { phase, class: None, repo: None, limit: FINISHED };
        let page = self.ports.store.page(&filter, None).await?;
        self.cache.boots.read_finished(&page.items, now);
        Ok(())
    }
}

/// Whether an attempt may launch, as far as the boots of its class tell.
pub(super) enum BootPermit {
    /// Any attempt may.
    Free,
    /// It is the one that tries.
    Probe,
    /// It waits.
    Wait(BootStop),
}

#[cfg(test)]
mod tests;
