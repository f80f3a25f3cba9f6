//! Whose instances are, as far as this process has seen. Tags are given at launch and not changed,
//! so what was seen stays true; losing it costs a call.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tinqs_ci_reconciler::observation::Instance;
use tinqs_ci_reconciler::run::{InstanceId, RunName};

/// So many are remembered at most; then it begins anew.
const MOST: usize = 200_000;

/// A memory of instances.
#[derive(Debug, Default)]
pub(super) struct Known(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    ours: HashMap<InstanceId, RunName>,
    foreign: HashSet<InstanceId>,
}

impl Known {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A machine of ours.
    pub(super) fn ours(&self, id: &InstanceId, run: &RunName) {
        let mut inner = self.inner();
        if inner.ours.len() >= MOST {
            inner.ours.clear();
        }
        inner.ours.insert(id.clone(), run.clone());
    }

    /// A whole list: those that it does not show are let go, but for what is too new for it.
    pub(super) fn listed(&self, machines: &[Instance]) {
        let mut inner = self.inner();
        if inner.ours.len() > 2 * machines.len() + 1_000 {
            inner.ours.clear();
        }
        for machine in machines {
            if inner.ours.get(&machine.id) != Some(&machine.slot.run) {
                inner.ours.insert(machine.id.clone(), machine.slot.run.clone());
            }
        }
    }

    /// An instance of somebody else.
    pub(super) fn foreign(&self, id: &InstanceId) {
        let mut inner = self.inner();
        if inner.foreign.len() >= MOST {
            inner.foreign.clear();
        }
        inner.foreign.insert(id.clone());
    }

    /// The run of a machine of ours.
    pub(super) fn run_of(&self, id: &InstanceId) -> Option<RunName> {
        self.inner().ours.get(id).cloned()
    }

    /// Whether an instance was seen to be somebody else's.
    pub(super) fn is_foreign(&self, id: &InstanceId) -> bool {
        self.inner().foreign.contains(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_is_known_and_never_more_than_the_most() {
        let known = Known::default();
        let id = |n: usize| InstanceId(format!("i-{n:017x}"));
        let run = RunName::job(7);
        known.ours(&id(1), &run);
        known.foreign(&id(2));
        assert_eq!(known.run_of(&id(1)), Some(run.clone()));
        assert!(known.is_foreign(&id(2)) && !known.is_foreign(&id(1)));
        assert_eq!(known.run_of(&id(2)), None);
        for n in 0..2 * MOST {
            known.ours(&id(n), &run);
            known.foreign(&id(n));
        }
        let inner = known.inner();
        assert!(inner.ours.len() <= MOST && inner.foreign.len() <= MOST);
    }
}
