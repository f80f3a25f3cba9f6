//! Result of the last list of machines.

use std::collections::{BTreeSet, HashMap, HashSet};

use aws_sdk_ec2::types::Instance as Seen;
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

    /// Returns the open machines that are not among these.
    pub(super) fn missed(&self, shown: &[Seen]) -> Vec<MachineId> {
        let shown: HashSet<&str> = shown.iter().filter_map(Seen::instance_id).collect();
        let inner = self.inner();
        let missed = inner.open.iter().filter(|id| !shown.contains(id.0.as_str()));
        // Sorted, so that the same lookup sends the same request.
        missed.cloned().collect::<BTreeSet<_>>().into_iter().collect()
    }
}
