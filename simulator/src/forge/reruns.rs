//! Re-runs: by a person, and by the API, which wants the workflow run to be over.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use tinqs_ci_reconciler::model::{Conclusion, Job, RepoRef, RerunScope, WorkflowJob, WorkflowRun};

use super::{Forge, JobRow, Line, Status, next};

/// `MAX_RERUN_ATTEMPTS`.
const MOST_ATTEMPTS: u32 = 50;

/// The reason for which the API runs no jobs again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RerunRefused {
    /// The workflow run is not over.
    NotDone,
    /// There is no such workflow run, or no such job in its latest attempt.
    NotFound,
    /// It was run again too often.
    Limit,
}

impl JobRow {
    /// Returns its repository.
    pub(crate) fn repo_ref(&self) -> RepoRef<'_> {
        RepoRef { id: self.repo_id, name: &self.repo }
    }

    /// Returns its state as the API shows it, with the name of its runner even if that is gone.
    pub(crate) fn state(&self) -> Job {
        match self.status {
            Status::Blocked => Job::Blocked,
            Status::Waiting => Job::Waiting,
            Status::Running => {
                Job::Running { runner: self.runner_name.clone().unwrap_or_default() }
            }
            Status::Done(conclusion) => Job::Done { conclusion },
        }
    }
}

impl Forge {
    /// Returns the number of a workflow run's attempt, from 1.
    pub(super) fn run_attempt(&self, run_id: i64) -> u32 {
        1 + self.reruns.get(&run_id).copied().unwrap_or(0)
    }

    /// Returns a workflow run of a repository as the controller's port shows it.
    pub(crate) fn workflow_run(&self, repo_id: i64, run_id: i64) -> Option<WorkflowRun> {
        let rows = self.jobs_of_run(run_id);
        rows.first().filter(|job| job.repo_id == repo_id)?;
        let is_done = rows.iter().all(|job| job.status.is_done());
        let mut jobs: Vec<WorkflowJob> = rows
            .into_iter()
            .map(|job| WorkflowJob {
                id: job.id,
                name: job.spec.name.clone(),
                state: Some(job.state()),
                completed_at: job.completed_at,
            })
            .collect();
        jobs.sort_by_key(|job| job.id);
        let can_rerun = self.config.line >= Line::V1_26;
        Some(WorkflowRun { is_done, attempt: Some(self.run_attempt(run_id)), can_rerun, jobs })
    }

    /// Returns the ID of the row whose run a row shows: since 1.27 each attempt of a workflow run
    /// has rows of its own, also for jobs that are not run again.
    pub(crate) fn ran_as(&self, job_id: i64) -> i64 {
        self.passed_on.get(&job_id).copied().unwrap_or(job_id)
    }

    /// Reruns a finished job with the jobs that need it, as a person. Returns its ID: unchanged up
    /// to 1.26, a new one in 1.27. Ignores a job that is unknown, not finished, or was run again.
    pub fn rerun(&mut self, now: Timestamp, job_id: i64) -> i64 {
        let Some(run_id) = self.jobs.get(&job_id).map(|job| job.run_id) else { return job_id };
        let latest = self.jobs_of_run(run_id);
        let latest = latest.into_iter().find(|job| self.ran_as(job.id) == job_id);
        let Some(latest) = latest.filter(|job| job.status.is_done()).map(|job| job.id) else {
            return job_id;
        };
        let new = self.run_again(now, run_id, &BTreeSet::from([latest]));
        new.get(&latest).copied().unwrap_or(job_id)
    }

    /// Returns the jobs that such a call of the API runs again for themselves, without those that
    /// need them.
    ///
    /// # Errors
    /// The reason if it runs none.
    pub(crate) fn rerun_targets(
        &self,
        run_id: i64,
        scope: RerunScope,
    ) -> Result<Vec<JobRow>, RerunRefused> {
        let jobs = self.jobs_of_run(run_id);
        if jobs.is_empty() {
            return Err(RerunRefused::NotFound);
        }
        if jobs.iter().any(|job| !job.status.is_done()) {
            return Err(RerunRefused::NotDone);
        }
        if self.config.line >= Line::V1_27 && self.run_attempt(run_id) >= MOST_ATTEMPTS {
            return Err(RerunRefused::Limit);
        }
        let ends = [Conclusion::Failure, Conclusion::Cancelled].map(Status::Done);
        let is_target = |job: &JobRow| match scope {
            RerunScope::Failed => ends.contains(&job.status),
            RerunScope::Job(id) => job.id == id,
        };
        let targets = jobs.into_iter().filter(|job| is_target(job)).cloned();
        let targets: Vec<JobRow> = targets.collect();
        if targets.is_empty() && matches!(scope, RerunScope::Job(_)) {
            return Err(RerunRefused::NotFound);
        }
        Ok(targets)
    }

    /// Runs jobs again as the API does, with the jobs that need them. Returns the new IDs by the
    /// old ones.
    ///
    /// # Errors
    /// The reason if it runs none.
    pub fn rerun_by_api(
        &mut self,
        now: Timestamp,
        run_id: i64,
        scope: RerunScope,
    ) -> Result<BTreeMap<i64, i64>, RerunRefused> {
        let targets = self.rerun_targets(run_id, scope)?;
        let targets: BTreeSet<i64> = targets.iter().map(|job| job.id).collect();
        Ok(self.run_again(now, run_id, &targets))
    }

    /// Returns the new IDs of the jobs that are run again, by the old ones.
    fn run_again(
        &mut self,
        now: Timestamp,
        run_id: i64,
        targets: &BTreeSet<i64>,
    ) -> BTreeMap<i64, i64> {
        let again = self.with_dependents(run_id, targets);
        if again.is_empty() {
            return BTreeMap::new();
        }
        let new = self.ids_of_next_attempt(run_id, &again);
        let mut blocked = BTreeMap::new();
        for (&old, &id) in &new {
            let Some(before) = self.jobs.get(&old).cloned() else { continue };
            let needs = before.needs.iter().map(|n| *new.get(n).unwrap_or(n)).collect();
            let is_blocked = before.needs.iter().any(|need| again.contains(need));
            let mut row = JobRow { id, needs, updated_at: now, ..before };
            if id != old {
                row.attempt += 1;
                row.created_at = now;
                self.superseded.insert(old);
                self.runs.entry(run_id).or_default().push(id);
            }
            if again.contains(&old) {
                blocked.insert(id, is_blocked);
                row.status = Status::Blocked;
                (row.started_at, row.completed_at) = (None, None);
                (row.task_id, row.runner_id, row.runner_name) = (None, None, None);
            } else {
                // It shows the task of the earlier attempt, and has none of its own.
                row.task_id = None;
                let ran_as = self.ran_as(old);
                self.passed_on.insert(id, ran_as);
            }
            self.jobs.insert(id, row);
        }
        *self.reruns.entry(run_id).or_default() += 1;
        for (id, is_blocked) in blocked {
            let status = if is_blocked { Status::Blocked } else { Status::Waiting };
            self.set_status(now, id, status);
        }
        new.into_iter().filter(|(old, _)| again.contains(old)).collect()
    }

    /// Returns the IDs of the rows of the next attempt, by those of the latest one. Up to 1.26 the
    /// jobs that are run again keep their rows; since 1.27 all jobs get new ones (`execRerunPlan`).
    /// Those that are not done keep theirs: the server would refuse the re-run.
    fn ids_of_next_attempt(&mut self, run_id: i64, again: &BTreeSet<i64>) -> BTreeMap<i64, i64> {
        if self.config.line < Line::V1_27 {
            return again.iter().map(|&id| (id, id)).collect();
        }
        let latest = self.jobs_of_run(run_id).into_iter();
        let done: BTreeSet<i64> = latest.filter(|job| job.status.is_done()).map(|j| j.id).collect();
        done.into_iter().map(|old| (old, next(&mut self.last_id.job))).collect()
    }

    /// Returns these jobs and the finished jobs that need them, directly or indirectly.
    fn with_dependents(&self, run_id: i64, targets: &BTreeSet<i64>) -> BTreeSet<i64> {
        let mut found = targets.clone();
        let run = self.jobs_of_run(run_id);
        loop {
            let before = found.len();
            for job in &run {
                if job.status.is_done() && job.needs.iter().any(|n| found.contains(n)) {
                    found.insert(job.id);
                }
            }
            if found.len() == before {
                return found;
            }
        }
    }
}
