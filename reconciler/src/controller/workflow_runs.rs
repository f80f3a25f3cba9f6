//! Workflow runs as this process read them last: the runs of their jobs share each reading. Losing
//! them costs calls, never safety: a workflow run is read once more before a request.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;

use crate::model::WorkflowRun;

/// A reading that is older is forgotten: longer than any serves.
const FORGOTTEN_AFTER: SignedDuration = SignedDuration::from_mins(5);

/// The IDs of a repository and of its workflow run.
type Key = (i64, i64);

/// A reading of a workflow run.
#[derive(Clone)]
pub(super) struct Reading {
    /// Time at which it began.
    pub(super) at: Timestamp,
    /// The workflow run; `None` if it no longer exists, or was not read.
    pub(super) run: Option<WorkflowRun>,
    /// The forge's reason for refusing the reading.
    pub(super) refused: Option<String>,
    /// The error if it could not be read.
    pub(super) unread: Option<String>,
}

/// The readings of one process.
#[derive(Default)]
pub(super) struct WorkflowRuns {
    shared: Mutex<BTreeMap<Key, Arc<SharedReading>>>,
}

/// The last reading of one workflow run.
pub(super) struct SharedReading {
    /// One reads at a time. Not `async_lock::Mutex`: its order depends on the wall clock.
    turn: async_lock::Semaphore,
    last: Mutex<Option<Reading>>,
}

impl Default for SharedReading {
    fn default() -> Self {
        Self { turn: async_lock::Semaphore::new(1), last: Mutex::default() }
    }
}

impl WorkflowRuns {
    /// Returns the reading of a workflow run that all runs of its jobs share.
    pub(super) fn of(&self, key: Key, now: Timestamp) -> Arc<SharedReading> {
        let mut shared = self.shared.lock();
        if !shared.contains_key(&key) {
            shared.retain(|_, it| Arc::strong_count(it) > 1 || it.is_recent(now));
        }
        shared.entry(key).or_default().clone()
    }

    /// Forgets a workflow run that changed.
    pub(super) fn changed(&self, key: Key) {
        self.shared.lock().remove(&key);
    }

    /// Forgets every reading.
    pub(super) fn forget(&self) {
        self.shared.lock().clear();
    }
}

impl SharedReading {
    /// Waits until no other reconcile reads.
    pub(super) async fn turn(&self) -> async_lock::SemaphoreGuard<'_> {
        self.turn.acquire().await
    }

    /// Returns the last reading.
    pub(super) fn last(&self) -> Option<Reading> {
        self.last.lock().clone()
    }

    /// Keeps a new reading.
    pub(super) fn keep(&self, reading: &Reading) {
        *self.last.lock() = Some(reading.clone());
    }

    fn is_recent(&self, now: Timestamp) -> bool {
        let last = self.last.lock();
        last.as_ref().is_some_and(|last| now.duration_since(last.at) < FORGOTTEN_AFTER)
    }
}
