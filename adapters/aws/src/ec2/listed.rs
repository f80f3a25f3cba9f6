//! What the last list of machines showed.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use aws_sdk_ec2::types::Instance as Seen;
use jiff::{SignedDuration, Timestamp};
use tinqs_ci_reconciler::model::{Instance, InstanceId};

/// How often all of it is read: what others launched and what ended between two lists is seen then.
const WHOLE_EVERY: SignedDuration = SignedDuration::from_secs(60);

/// What the last list showed.
#[derive(Debug, Default)]
pub(super) struct Listed(Mutex<Inner>);

#[derive(Debug, Default)]
pub(super) struct Inner {
    /// When all of it was read last.
    pub(super) whole: Option<Timestamp>,
    /// Machines of ours that had not ended.
    pub(super) open: HashSet<InstanceId>,
    /// Those that had: they stay as they are.
    pub(super) ended: HashMap<InstanceId, Instance>,
}

impl Listed {
    pub(super) fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it is time to read all of it. A clock that went back says so too.
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        let recent = |at: Timestamp| at <= now && now.duration_since(at) < WHOLE_EVERY;
        !self.inner().whole.is_some_and(recent)
    }

    /// A machine that was launched: it is missed once it is not shown.
    pub(super) fn launched(&self, id: &InstanceId) {
        self.inner().open.insert(id.clone());
    }

    /// Those that were open and are not among these.
    pub(super) fn missed(&self, shown: &[Seen]) -> Vec<InstanceId> {
        let shown: HashSet<&str> = shown.iter().filter_map(Seen::instance_id).collect();
        let inner = self.inner();
        let missed = inner.open.iter().filter(|id| !shown.contains(id.0.as_str()));
        // In order, so that the same is asked for in the same words.
        missed.cloned().collect::<BTreeSet<_>>().into_iter().collect()
    }
}
