//! Tells displaced runs whether a machine may still come for them, and wakes them once none does.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::Controller;
use crate::model::{ClassName, End, Job, Observation, ObservedClass, Reason, Run, RunName};
use crate::ports::{OpenRun, RegistrationLists, WaitingJob};

/// Machines and jobs that are interchangeable. Sets of labels must be equal: a machine with more
/// labels may take the job, too, but it was launched for a job that then lacks a machine.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Group {
    /// The ID of the repository that the runners serve; 0: every repository of the scope.
    pub(super) repo_id: i64,
    pub(super) labels: Arc<[String]>,
}

impl Group {
    /// Returns the group of a run's attempt; `None` if it has none.
    pub(super) fn of(run: &Run) -> Option<Self> {
        let repo_id = run.status.attempt.as_ref()?.runner.repo_id;
        Some(Self { repo_id, labels: set_of(&run.spec.runs_on) })
    }

    /// Returns whether a runner of the group may take a job of this repository; 0: it is not known.
    pub(super) fn serves(&self, repo_id: i64) -> bool {
        self.repo_id == 0 || repo_id == 0 || self.repo_id == repo_id
    }
}

/// Returns a set of labels, in order.
pub(super) fn set_of(labels: &[String]) -> Arc<[String]> {
    let mut labels = labels.to_vec();
    labels.sort();
    labels.dedup();
    labels.into()
}

/// The class of a displaced run and its times for waits, as the run last saw them.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    pub(super) class: ClassName,
    pub(super) boot_within: SignedDuration,
    pub(super) assign_within: SignedDuration,
}

impl Terms {
    pub(super) fn of(observed: &ObservedClass) -> Self {
        let (class, times) = (observed.class.name.clone(), &observed.class.times);
        Self { class, boot_within: times.boot_within, assign_within: times.assign_within }
    }
}

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
            && let Some(attempt_id) = run.attempt_of(runner)
        {
            unclaimed.took(&run.name, &attempt_id, seen.now);
        }
        let (Some(group), Some(observed)) = (Group::of(run), &seen.class) else { return false };
        if seen.job != Job::Waiting || !is_used(seen, run) {
            return false;
        }
        if gave_up_waiting(run) {
            return true;
        }
        let terms = Terms::of(observed);
        let coming = self.coming(&group, &terms, seen.now);
        coming.is_some_and(|coming| unclaimed.older(&group, &terms, run, seen.now) >= coming)
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
                let unclaimed = &self.cache.unclaimed;
                self.wake_each(unclaimed.without_machine(&group, &terms, coming, now)).await;
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

/// Returns whether the run was displaced and waits for its next attempt since: it stays with that,
/// so that it is not written each time that the count changes.
fn gave_up_waiting(run: &Run) -> bool {
    let attempt = run.status.attempt.as_ref();
    attempt.is_some_and(|attempt| attempt.ended.is_some())
        && run.status.reason().is_some_and(|reason| reason != Reason::MachineReassigned)
}

/// Returns whether the machine of the run's attempt took a job.
fn is_used(seen: &Observation, run: &Run) -> bool {
    let Some(attempt) = &run.status.attempt else { return false };
    if let Some(ended) = attempt.ended {
        return ended.why == End::Consumed;
    }
    let row = seen.registrations.by_id(attempt.runner.id);
    row.is_some_and(|row| row.busy || row.missing_since.is_some())
}
