//! Finds the machines of canceled jobs.
//!
//! The forge deletes the ephemeral runner of a job that is canceled while it runs, so the runner
//! never hears of it and works on. A runner takes one job only: once the forge calls it canceled
//! and the registration is gone, the machine is not needed. The run that the machine was made for
//! may be another one; it is woken. This is a cache: losing it costs a minute.

use std::collections::{BTreeSet, HashMap};

use parking_lot::Mutex;

use super::Controller;
use crate::model::{AttemptId, Conclusion, Job, Machine, Observation, RunName};

/// The maximum number of cached runs; then the cache is cleared.
const KEPT: usize = 10_000;

/// The runners on which jobs were canceled.
#[derive(Default)]
pub(super) struct Canceled(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    /// By the runs of their attempts.
    runners: HashMap<RunName, BTreeSet<CanceledRunner>>,
    /// The runs to be woken, by the runs of the jobs.
    to_wake: HashMap<RunName, RunName>,
}

/// The runner of a canceled job.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct CanceledRunner {
    /// Its attempt.
    attempt_id: AttemptId,
    /// The ID of its registration.
    registration: i64,
}

impl CanceledRunner {
    /// Returns whether a machine of its run has its registration by the record. The list of all
    /// machines shows the registrations that tags name, and these may have been changed.
    fn is_as_recorded(&self, seen: &Observation) -> bool {
        let mut own = seen.machines.iter().filter(|m| m.attempt_id == self.attempt_id);
        own.any(|machine| machine.registration == self.registration)
    }
}

impl Canceled {
    /// Records that the job of a run was canceled on a runner.
    fn saw(&self, job_of: &RunName, runner: CanceledRunner) {
        let mut inner = self.0.lock();
        if inner.runners.len() >= KEPT {
            *inner = Inner::default();
        }
        let run = runner.attempt_id.run.clone();
        let is_new = inner.runners.entry(run.clone()).or_default().insert(runner);
        if is_new && run != *job_of {
            inner.to_wake.insert(job_of.clone(), run);
        }
    }

    /// Returns the attempts of an observed run on whose runners jobs were canceled.
    fn of(&self, seen: &Observation) -> Vec<AttemptId> {
        let inner = self.0.lock();
        let runners = inner.runners.get(&seen.name).into_iter().flatten();
        let recorded = runners.filter(|runner| runner.is_as_recorded(seen));
        recorded.map(|runner| runner.attempt_id.clone()).collect()
    }

    /// Returns the run whose machine executed the canceled job of this run, once.
    fn take(&self, job_of: &RunName) -> Option<RunName> {
        self.0.lock().to_wake.remove(job_of)
    }
}

/// Returns the runner that executed the job of this run, if the job was canceled and the runner's
/// machine is live. Once its registration is deleted, the forge does not name it any more, but tells
/// its ID: also of a job that no reconcile saw running.
fn executed_by(
    seen: &Observation,
    runner_id: Option<i64>,
    listed: &[Machine],
) -> Option<CanceledRunner> {
    let canceled = seen.job == Job::Done { conclusion: Conclusion::Cancelled };
    let registration = runner_id.filter(|_| canceled)?;
    let mut machines = seen.machines.iter().chain(listed);
    let machine = machines.find(|m| m.is_live() && m.registration == registration)?;
    Some(CanceledRunner { attempt_id: machine.attempt_id.clone(), registration })
}

impl Controller {
    /// Adds the attempts on whose runners jobs were canceled. `runner_id`: that of the run's own job,
    /// as the forge tells it. `listed`: the machines of all runs.
    pub(super) fn note_canceled(
        &self,
        seen: &mut Observation,
        runner_id: Option<i64>,
        listed: &[Machine],
    ) {
        if let Some(runner) = executed_by(seen, runner_id, listed) {
            self.cache.canceled.saw(&seen.name, runner);
        }
        seen.canceled = self.cache.canceled.of(seen);
    }

    /// Wakes the run whose machine executed the canceled job of this run.
    pub(super) async fn wake_canceled(&self, job_of: &RunName) {
        if let Some(run) = self.cache.canceled.take(job_of) {
            // After a lost wake-up the machine ends a minute later, as one without a registration.
            let _ = self.ports.queue.wake(&run).await;
        }
    }
}
