//! Result of the last list of machines, and what was shown or launched since.

use std::collections::{BTreeSet, HashMap, HashSet};

use aws_sdk_ec2::types::{Instance as Seen, InstanceStateName};
use jiff::{SignedDuration, Timestamp};
use parking_lot::{Mutex, MutexGuard};
use tinqs_ci_reconciler::model::{Machine, MachineId};

/// The interval of reading the whole list, which shows launches by others and machines that ended.
const WHOLE_EVERY: SignedDuration = SignedDuration::from_secs(60);

/// The machines of the last list.
#[derive(Debug, Default)]
pub(super) struct Listed(Mutex<Inner>);

#[derive(Debug, Default)]
pub(super) struct Inner {
    /// When the whole list was last read.
    pub(super) whole: Option<Timestamp>,
    /// Machines of ours that had not ended.
    pub(super) open: HashSet<MachineId>,
    /// Machines that had ended: they do not change any more.
    pub(super) ended: HashMap<MachineId, Machine>,
}

pub(super) fn has_ended(seen: &Seen) -> bool {
    seen.state().and_then(|state| state.name()) == Some(&InstanceStateName::Terminated)
}

impl Inner {
    /// Notes a machine as EC2 showed it. Returns whether it has not ended.
    pub(super) fn note(&mut self, seen: &Seen, machine: &Machine) -> bool {
        if has_ended(seen) {
            self.open.remove(&machine.id);
            self.ended.insert(machine.id.clone(), machine.clone());
        } else if !self.ended.contains_key(&machine.id) {
            self.open.insert(machine.id.clone());
            return true;
        }
        false
    }
}

impl Listed {
    pub(super) fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock()
    }

    /// Whether it is time to read the whole list. Also true if the clock went back.
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        let recent = |at: Timestamp| at <= now && now.duration_since(at) < WHOLE_EVERY;
        !self.inner().whole.is_some_and(recent)
    }

    /// Adds a launched machine: it is looked up once a list does not show it.
    pub(super) fn launched(&self, id: &MachineId) {
        self.inner().open.insert(id.clone());
    }

    /// Adds a machine that a lookup by ID showed: it may end, or have ended, before a list shows it.
    pub(super) fn found(&self, seen: &Seen, machine: &Machine) {
        self.inner().note(seen, machine);
    }

    /// Returns the open machines that are not among these.
    pub(super) fn missed(&self, shown: &[Seen]) -> Vec<MachineId> {
        let shown: HashSet<&str> = shown.iter().filter_map(Seen::instance_id).collect();
        let inner = self.inner();
        let missed = inner.open.iter().filter(|id| !shown.contains(id.0.as_str()));
        // Sorted, so that the same lookup sends the same request.
        missed.cloned().collect::<BTreeSet<_>>().into_iter().collect()
    }
}
