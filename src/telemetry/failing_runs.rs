//! Runs whose last reconcile failed at a service, as this process knows them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use parking_lot::Mutex;
use tinqs_ci_reconciler::controller::{FailedCall, Report};
use tinqs_ci_reconciler::model::{Phase, RunName};
use tinqs_ci_reconciler::ports::ErrorKind;
use tinqs_ci_reconciler::text::cut;

use crate::words::services::ServiceReason;

/// The maximum number of runs kept.
const RUNS: usize = 10_000;
/// The maximum length of a message, in columns.
const MESSAGE: usize = 300;

/// Runs whose last reconcile failed at a service.
#[derive(Default)]
pub struct FailingRuns(Mutex<BTreeMap<RunName, FailingRun>>);

/// The failure of a run's last reconcile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailingRun {
    /// The reason.
    pub reason: ServiceReason,
    /// The call that failed.
    pub operation: &'static str,
    /// The error, for people: one line without secrets.
    pub message: String,
    /// The time since which its reconciles fail for this reason.
    pub since: Timestamp,
    /// The latest time of its next reconcile.
    pub next: Option<Timestamp>,
}

impl FailingRuns {
    /// Returns the failure of a run's last reconcile.
    pub fn of(&self, name: &RunName) -> Option<FailingRun> {
        self.0.lock().get(name).cloned()
    }

    /// Returns the runs that fail, by name.
    pub fn all(&self) -> Vec<(RunName, FailingRun)> {
        self.0.lock().iter().map(|(name, run)| (name.clone(), run.clone())).collect()
    }

    /// Notes a reconcile.
    pub(super) fn note(&self, report: &Report) {
        let mut runs = self.0.lock();
        let open = report.phase != Some(Phase::Finished);
        let failed = report.failed.as_ref().filter(|_| open).and_then(|call| failing(call, report));
        let Some(mut failed) = failed else {
            runs.remove(&report.name);
            return;
        };
        match runs.get(&report.name) {
            Some(before) if before.reason == failed.reason => failed.since = before.since,
            None if runs.len() >= RUNS => return,
            Some(_) | None => {}
        }
        runs.insert(report.name.clone(), failed);
    }
}

fn failing(call: &FailedCall, report: &Report) -> Option<FailingRun> {
    // The breaker of the class tells a denied launch.
    if call.operation == "launch" && call.kind == ErrorKind::Denied {
        return None;
    }
    Some(FailingRun {
        reason: ServiceReason::of(call.port, call.kind)?,
        operation: call.operation,
        message: cut(&call.message, MESSAGE),
        since: report.began_at,
        next: report.due,
    })
}
