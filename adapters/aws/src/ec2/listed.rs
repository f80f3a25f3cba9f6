//! Result of the last list of machines, and what was shown or launched since.

use std::collections::{BTreeSet, HashMap, HashSet};

use aws_sdk_ec2::types::Instance as Seen;
use jiff::{SignedDuration, Timestamp};
use parking_lot::{Mutex, MutexGuard};
use tinqs_ci_reconciler::model::{Machine, MachineId};

use super::instance::has_ended;

/// The interval of reading the whole list, which shows launches by others and machines that ended.
const WHOLE_EVERY: SignedDuration = SignedDuration::from_secs(60);

/// The machines of the last list.
#[derive(Debug, Default)]
pub(super) struct Listed(Mutex<Inner>);

#[derive(Debug, Default)]
pub(super) struct Inner {
    /// The time when the whole list was last read.
    pub(super) whole: Option<Timestamp>,
    /// Machines of ours that had not ended, as they were shown last.
    pub(super) open: HashMap<MachineId, Machine>,
    /// Machines that had ended: they do not change any more.
    pub(super) ended: HashMap<MachineId, Machine>,
}

impl Inner {
    /// Notes a machine as EC2 showed it. Returns whether it has not ended.
    pub(super) fn note(&mut self, has_ended: bool, machine: &Machine) -> bool {
        if has_ended {
            self.open.remove(&machine.id);
            self.ended.insert(machine.id.clone(), machine.clone());
        } else if !self.ended.contains_key(&machine.id) {
            self.open.insert(machine.id.clone(), machine.clone());
            return true;
        }
        false
    }

    /// Adds to a machine that EC2 shows without its tags what they said when it was open. `None` if
    /// that is not known.
    pub(super) fn with_tags(&self, untagged: Machine) -> Option<Machine> {
        let is_it = |known: &&Machine| {
            known.attempt_id == untagged.attempt_id && known.placement == untagged.placement
        };
        let known = self.open.get(&untagged.id).filter(is_it)?;
        Some(Machine {
            deadline: known.deadline,
            registration: known.registration,
            repo_id: known.repo_id,
            promise: known.promise,
            class: known.class.clone(),
            ..untagged
        })
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
    pub(super) fn launched(&self, machine: &Machine) {
        self.inner().open.insert(machine.id.clone(), machine.clone());
    }

    /// Adds a machine that a lookup by ID showed: it may end, or have ended, before a list shows it.
    pub(super) fn found(&self, seen: &Seen, machine: &Machine) {
        self.inner().note(has_ended(seen), machine);
    }

    /// Returns the open machines that are not among these.
    pub(super) fn missed(&self, shown: &[Seen]) -> Vec<MachineId> {
        let shown: HashSet<&str> = shown.iter().filter_map(Seen::instance_id).collect();
        let inner = self.inner();
        let missed = inner.open.keys().filter(|id| !shown.contains(id.0.as_str()));
        // Sorted, so that the same lookup sends the same request.
        missed.cloned().collect::<BTreeSet<_>>().into_iter().collect()
    }
}
