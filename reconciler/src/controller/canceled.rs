//! Finds the machines of canceled jobs.
//!
//! The forge deletes the ephemeral runner of a job that is canceled while it runs, so the runner
//! never hears of it and works on. A runner takes one job only: once the forge calls it canceled
//! and the registration is gone, the machine is not needed. The run that the machine was made for
//! may be another one; it is woken. This is a cache: losing it costs a minute.

use std::collections::{BTreeSet, HashMap};

use parking_lot::Mutex;

use super::Controller;
use crate::model::{AttemptId, Conclusion, Job, Observation, RunName};

/// The maximum number of cached runs; then the cache is cleared.
const KEPT: usize = 10_000;

/// The attempts on whose runners jobs were canceled.
#[derive(Default)]
pub(super) struct Canceled(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    /// By the runs of the attempts.
    attempts: HashMap<RunName, BTreeSet<AttemptId>>,
    /// The runs to be woken, by the runs of the jobs.
    to_wake: HashMap<RunName, RunName>,
}

impl Canceled {
    /// Records that the job of a run was canceled on the runner of an attempt.
    fn saw(&self, job_of: &RunName, attempt_id: AttemptId) {
        let mut inner = self.0.lock();
        if inner.attempts.len() >= KEPT {
            *inner = Inner::default();
        }
        let run = attempt_id.run.clone();
        let is_new = inner.attempts.entry(run.clone()).or_default().insert(attempt_id);
        if is_new && run != *job_of {
            inner.to_wake.insert(job_of.clone(), run);
        }
    }

    /// Returns the attempts of a run on whose runners jobs were canceled.
    fn of(&self, run: &RunName) -> Vec<AttemptId> {
        self.0.lock().attempts.get(run).into_iter().flatten().cloned().collect()
    }

    /// Returns the run whose machine executed the canceled job of this run, once.
    fn take(&self, job_of: &RunName) -> Option<RunName> {
        self.0.lock().to_wake.remove(job_of)
    }
}

/// Returns the attempt whose runner executed the job of this run, if the job was canceled.
fn executed_by(seen: &Observation) -> Option<AttemptId> {
    let canceled = seen.job == Job::Done { conclusion: Conclusion::Cancelled };
    // Once the registration is deleted, the forge names the runner no longer; the record does.
    let run = seen.run.as_ref().filter(|_| canceled)?;
    run.attempt_of(run.status.runner.as_deref()?)
}

impl Controller {
    /// Adds the attempts on whose runners jobs were canceled.
    pub(super) fn note_canceled(&self, seen: &mut Observation) {
        if let Some(attempt_id) = executed_by(seen) {
            self.cache.canceled.saw(&seen.name, attempt_id);
        }
        seen.canceled = self.cache.canceled.of(&seen.name);
    }

    /// Wakes the run whose machine executed the canceled job of this run.
    pub(super) async fn wake_canceled(&self, job_of: &RunName) {
        if let Some(run) = self.cache.canceled.take(job_of) {
            // After a lost wake-up the machine ends a minute later, as one without a registration.
            let _ = self.ports.queue.wake(&run).await;
        }
    }
}
