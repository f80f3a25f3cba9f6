//! Cache of who owns which instance. A client token never changes, so an entry stays true; losing
//! it costs a call.

use std::collections::{HashMap, HashSet};

use jiff::{SignedDuration, Timestamp};
use parking_lot::{Mutex, MutexGuard};
use tinqs_ci_reconciler::model::{Machine, MachineId, RunName};

/// Most entries; a full set is cleared.
const MOST: usize = 200_000;

/// The maximum time for which EC2 hides a machine after its launch.
const HIDDEN_FOR: SignedDuration = SignedDuration::from_mins(5);

/// Cache of instances.
#[derive(Debug, Default)]
pub(super) struct InstanceCache(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// With the time of the launch.
    ours: HashMap<MachineId, (RunName, Timestamp)>,
    foreign: HashSet<MachineId>,
    /// Instances that carry our tags but were not launched by us: each is reported once.
    tags_only: HashSet<MachineId>,
    /// Those of them that the last list showed and that have not ended.
    shown: Vec<MachineId>,
}

impl InstanceCache {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock()
    }

    /// Adds a machine of ours.
    pub(super) fn ours(&self, machine: &Machine) {
        let mut inner = self.inner();
        if inner.ours.len() >= MOST {
            inner.ours.clear();
        }
        inner.ours.insert(machine.id.clone(), of(machine));
        inner.foreign.remove(&machine.id);
    }

    /// Adds a whole list; drops entries once they far outnumber it.
    pub(super) fn listed(&self, machines: &[Machine]) {
        let mut inner = self.inner();
        if inner.ours.len() > 2 * machines.len() + 1_000 {
            inner.ours.clear();
        }
        for machine in machines {
            // Most are known already.
            if !inner.ours.contains_key(&machine.id) {
                inner.ours.insert(machine.id.clone(), of(machine));
            }
        }
    }

    /// Adds an instance that is not ours.
    pub(super) fn foreign(&self, id: &MachineId) {
        let mut inner = self.inner();
        if inner.foreign.len() >= MOST {
            inner.foreign.clear();
        }
        inner.foreign.insert(id.clone());
    }

    /// Adds an instance that carries our tags but was not launched by us. Returns the number of
    /// those so far if this one is new.
    pub(super) fn tags_only(&self, id: &MachineId) -> Option<usize> {
        let mut inner = self.inner();
        if inner.tags_only.len() >= MOST {
            inner.tags_only.clear();
        }
        inner.tags_only.insert(id.clone()).then(|| inner.tags_only.len())
    }

    /// Notes which instances a list shows that have not ended.
    pub(super) fn shows<'a>(&self, listed: impl Iterator<Item = &'a str>) {
        let mut inner = self.inner();
        let ids = listed.map(|id| MachineId(id.to_owned()));
        let mut shown: Vec<MachineId> = ids.filter(|id| inner.tags_only.contains(id)).collect();
        shown.sort();
        inner.shown = shown;
    }

    /// Returns the instances that only carry our tags, as last listed.
    pub(super) fn shown(&self) -> Vec<MachineId> {
        self.inner().shown.clone()
    }

    /// Returns the run of a machine of ours.
    pub(super) fn run_of(&self, id: &MachineId) -> Option<RunName> {
        self.inner().ours.get(id).map(|(run, _)| run.clone())
    }

    /// Whether a machine of ours is so new that not all of EC2 may know it.
    pub(super) fn is_new(&self, id: &MachineId, now: Timestamp) -> bool {
        let inner = self.inner();
        inner.ours.get(id).is_some_and(|(_, at)| now.duration_since(*at) < HIDDEN_FOR)
    }

    /// Whether an instance is known to be foreign.
    pub(super) fn is_foreign(&self, id: &MachineId) -> bool {
        self.inner().foreign.contains(id)
    }
}

fn of(machine: &Machine) -> (RunName, Timestamp) {
    (machine.attempt_id.run.clone(), machine.launched_at)
}

#[cfg(test)]
mod tests {
    use super::super::instance::tests::machine;
    use super::*;

    #[test]
    fn seen_instances_are_cached_within_the_limit() {
        let known = InstanceCache::default();
        let id = |n: usize| MachineId(format!("i-{n:017x}"));
        let ours = |n: usize| Machine { id: id(n), ..machine() };
        let (run, at) = of(&machine());
        known.ours(&ours(1));
        known.foreign(&id(2));
        assert_eq!(known.run_of(&id(1)), Some(run.clone()));
        assert!(known.is_foreign(&id(2)) && !known.is_foreign(&id(1)));
        assert_eq!(known.run_of(&id(2)), None);
        let reported = [id(2), id(4), id(2)].map(|id| known.tags_only(&id));
        assert_eq!(reported, [Some(1), Some(2), None], "each is reported once");
        known.shows(["i-other", id(4).0.as_str()].into_iter());
        assert_eq!(known.shown(), [id(4)]);
        known.shows(std::iter::empty());
        assert_eq!(known.shown(), [], "it has ended");
        let later = |minutes| at + SignedDuration::from_mins(minutes);
        assert!(known.is_new(&id(1), later(4)) && !known.is_new(&id(1), later(5)));
        assert!(!known.is_new(&id(2), at));
        known.listed(&[ours(3)]);
        assert_eq!(known.run_of(&id(3)), known.run_of(&id(1)));
        for n in 0..2 * MOST {
            known.ours(&ours(n));
            known.foreign(&id(n));
            known.tags_only(&id(n));
        }
        let inner = known.inner();
        let lengths = [inner.ours.len(), inner.foreign.len(), inner.tags_only.len()];
        assert!(lengths.iter().all(|length| *length <= MOST), "{lengths:?}");
    }
}
