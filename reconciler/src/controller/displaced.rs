//! Tells displaced runs whether a machine may still come for them, and wakes them once none does.

use jiff::Timestamp;

use super::Controller;
use super::unclaimed::{Group, Terms};
use crate::model::{AttemptId, End, Job, Observation, Reason, Run, RunName};
use crate::ports::{OpenRun, RegistrationLists, WaitingJob};

impl Controller {
    /// Notes what was observed of a run. Returns whether it was displaced and there are no more
    /// machines that may come than older displaced runs.
    pub(super) fn has_no_replacement(&self, seen: &Observation) -> bool {
        // Push mode does not tell which job runs where.
        let Some(run) = seen.run.as_ref().filter(|_| seen.job != Job::Unobservable) else {
            return false;
        };
        let unclaimed = &self.cache.unclaimed;
        unclaimed.observed(run, seen.job == Job::Waiting, seen.now);
        if let Job::Running { runner } = &seen.job
            && let Ok(attempt_id) = runner.parse::<AttemptId>()
        {
            unclaimed.took(&run.name, &attempt_id, seen.now);
        }
        let (Some(group), Some(observed)) = (Group::of(run), &seen.class) else { return false };
        if seen.job != Job::Waiting || !is_used(seen, run) {
            return false;
        }
        let Some(coming) = self.coming(&group, &Terms::of(observed), seen.now) else {
            return false;
        };
        unclaimed.older(&group, run) >= coming
    }

    /// Returns how many machines may come for displaced runs of a group, by the last lists; `None` if
    /// the lists do not tell it.
    fn coming(&self, group: &Group, terms: &Terms, now: Timestamp) -> Option<usize> {
        let (machines, _) = self.cache.machines.known()?;
        let list = match self.ports.forge.registration_lists() {
            RegistrationLists::One => 0,
            RegistrationLists::PerRepository => group.repo_id,
        };
        let (rows, _) = self.cache.rows.list(list).known()?;
        rows.is_some().then(|| self.cache.unclaimed.coming(group, terms, &machines, now))
    }

    /// Notes the result of a reconcile, and wakes the displaced runs that get no machine by it.
    pub(super) async fn note_displaced(&self, seen: &Observation, stored: Option<&Run>) {
        let Some(run) = stored else { return };
        let unclaimed = &self.cache.unclaimed;
        unclaimed.recorded(run);
        let waits = run.status.reason() == Some(Reason::MachineReassigned);
        match (Group::of(run), &seen.class) {
            (Some(group), Some(observed)) if waits => {
                unclaimed.waits(run, group, Terms::of(observed));
            }
            _ => unclaimed.leaves(run),
        }
        self.wake_displaced(Some(run)).await;
        self.wake_each(unclaimed.untold(self.ports.clock.now())).await;
    }

    /// Wakes the displaced runs that get no machine: all, or those that compete with this run.
    async fn wake_displaced(&self, run: Option<&Run>) {
        for (group, terms) in self.cache.unclaimed.groups(run) {
            let now = self.ports.clock.now();
            if let Some(coming) = self.coming(&group, &terms, now) {
                self.wake_each(self.cache.unclaimed.without_machine(&group, coming)).await;
            }
        }
    }

    /// Notes the forge's waiting jobs. Wakes the runs whose jobs or machines have started without a
    /// webhook, and the displaced runs that get no machine.
    pub(super) async fn note_waiting(
        &self,
        jobs: &[WaitingJob],
        open: &[OpenRun],
        asked_at: Timestamp,
    ) {
        self.wake_each(self.cache.unclaimed.listed_jobs(jobs, open, asked_at)).await;
        self.wake_each(self.cache.unclaimed.untold(asked_at)).await;
        self.wake_displaced(None).await;
    }

    /// Wakes runs. After a lost wake-up they continue at their due, within a minute.
    pub(super) async fn wake_each(&self, names: Vec<RunName>) {
        for name in names {
            let _ = self.ports.queue.wake(&name).await;
        }
    }
}

/// Returns whether the machine of the run's attempt took a job.
fn is_used(seen: &Observation, run: &Run) -> bool {
    run.status.attempt.as_ref().is_some_and(|attempt| match attempt.ended {
        Some(ended) => ended.why == End::Consumed,
        None => {
            let row = seen.registrations.by_id(attempt.runner.id);
            row.is_some_and(|row| row.busy || row.missing_since.is_some())
        }
    })
}
