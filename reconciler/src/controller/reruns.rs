//! Reads what decides whether a job is run again whose machine the cloud took.

use super::Controller;
use super::cache::Machines;
use super::workflow_runs::Reading;
use crate::model::{
    AttemptId, Class, Conclusion, EndedBy, FailedJob, FailureCause, Job, Machine, Observation,
    Phase, RerunKey, RerunView, Run, RunName, WorkflowJob, serving,
};
use crate::plan::lost::own_attempt;
use crate::plan::rerun::{
    asks_for_requests, awaited, cause_of, is_lost_now, is_told, read_again_at, shows_end,
};
use crate::ports::{ErrorKind, PortError};

impl Controller {
    /// Returns the machine of another run on whose runner the job of this run runs, or ran: if the
    /// cloud took it and no machine of that runner is live, or if it is live and the job failed.
    /// The record of the other run is read only until this run has recorded the loss.
    pub(super) async fn taken_elsewhere(
        &self,
        seen: &Observation,
        listed: &Machines,
    ) -> Result<Option<Machine>, PortError> {
        let Some((run, attempt_id)) = runner_elsewhere(seen) else { return Ok(None) };
        let of_it = listed.of(&attempt_id.run).filter(|machine| machine.attempt_id == attempt_id);
        let of_it: Vec<&Machine> = of_it.collect();
        if let Some(live) = of_it.iter().find(|machine| machine.is_live()) {
            let has_failed = seen.job == Job::Done { conclusion: Conclusion::Failure };
            return Ok(has_failed.then(|| (*live).clone()));
        }
        let runner = attempt_id.to_string();
        if !of_it.iter().any(|machine| is_taken(machine)) || is_told(run, &runner) {
            return Ok(None);
        }
        let other = match self.ports.store.get(&attempt_id.run).await {
            // A record that cannot be read, maybe for good, is no evidence.
            Err(error) if error.kind == ErrorKind::Invalid => return Ok(None),
            read => read?,
        };
        // Of several placements only the current one got the job: the last one, if no record of the
        // attempt is left, as that of a deleted job is removed.
        let recorded = other.and_then(|other| own_attempt(&other, &runner));
        let last = of_it.iter().map(|machine| machine.placement).max();
        let current = recorded.map(|(_, placement)| placement).or(last);
        let is_of_it = |machine: &Machine| Some(machine.placement) == current;
        Ok(of_it.into_iter().find(|machine| is_of_it(machine) && is_taken(machine)).cloned())
    }

    /// Reads the workflow run of a job that may be run again, and what was asked for before. What
    /// cannot be read is waited for: it must not stop the reconcile.
    pub(super) async fn rerun_view(&self, seen: &Observation) -> Option<RerunView> {
        if awaited(seen).is_none() && !is_lost_now(seen) {
            return None;
        }
        let run = seen.run.as_ref()?;
        let reading = self.shared_workflow_run(seen, run).await;
        let read_at = Some(reading.at);
        let read = match reading.unread.clone() {
            Some(why) => Err(why),
            None => self.read_rerun_view(seen, run, reading).await.map_err(|error| error.message),
        };
        Some(read.unwrap_or_else(|why| {
            let (name, id) = (run.spec.about.job.clone(), run.spec.job.job_id);
            let cause = FailureCause::Lost;
            let own = FailedJob { name, id, cause, limit: 0, reruns: None };
            let (others, unread) = (Vec::new(), Some(why));
            RerunView { run: None, own, others, refused: None, unread, denied: None, read_at }
        }))
    }

    /// Returns the workflow run as this process read it last, if that serves, or reads it.
    async fn shared_workflow_run(&self, seen: &Observation, run: &Run) -> Reading {
        let (job, run_id) = (&run.spec.job, run.spec.about.run_id);
        let key = (job.repo_id, run_id);
        let shared = self.cache.workflow_runs.of(key, self.ports.clock.now());
        let _turn = shared.turn().await;
        let at = self.ports.clock.now();
        let serves = |last: &Reading| {
            let until = read_again_at(seen, last.run.as_ref(), last.at);
            let is_of_use = last.unread.is_some() || shows_end(seen, last.run.as_ref());
            is_of_use && last.at <= at && at < until
        };
        if let Some(last) = shared.last().filter(serves) {
            return last;
        }
        let none = Reading { at, run: None, refused: None, unread: None };
        let reading = match self.ports.forge.workflow_run(job, run_id).await {
            Ok(run) => Reading { run, ..none },
            Err(error) if error.kind == ErrorKind::Invalid => {
                Reading { refused: Some(error.message), ..none }
            }
            Err(error) => Reading { unread: Some(error.message), ..none },
        };
        shared.keep(&reading);
        reading
    }

    async fn read_rerun_view(
        &self,
        seen: &Observation,
        run: &Run,
        reading: Reading,
    ) -> Result<RerunView, PortError> {
        let (job, about) = (&run.spec.job, &run.spec.about);
        let Reading { at, run: workflow_run, refused, .. } = reading;
        let found = workflow_run.as_ref().and_then(|all| all.job(job.job_id, &about.job));
        let name = found.map_or_else(|| about.job.clone(), |job| job.name.clone());
        let id = found.map_or(job.job_id, |job| job.id);
        let class = seen.class.as_ref().map(|observed| &observed.class);
        let asks = asks_for_requests(seen, workflow_run.as_ref());
        let cause = FailureCause::Lost;
        let own = if asks {
            self.failed_job(run, (id, name), cause, class).await?
        } else {
            let limit = class.map_or(0, |class| class.rerun.limit);
            FailedJob { name, id, cause, limit, reruns: None }
        };
        let mut others = Vec::new();
        if let Some(workflow_run) = workflow_run.as_ref().filter(|all| all.is_done) {
            // Jobs mostly end in their order, so that the last one is known last.
            for other in workflow_run.failed().rev().filter(|other| other.id != id) {
                let other = self.other_failed_job(run, other).await?;
                let is_known = other.cause != FailureCause::NotKnownYet;
                others.push(other);
                // Nothing is asked until each of them is known.
                if !is_known {
                    break;
                }
            }
        }
        let (unread, denied, read_at) = (None, None, Some(at));
        Ok(RerunView { run: workflow_run, own, others, refused, unread, denied, read_at })
    }

    /// Reads why another job of the workflow run failed.
    async fn other_failed_job(&self, own: &Run, job: &WorkflowJob) -> Result<FailedJob, PortError> {
        let run = match self.ports.store.get(&RunName::job(job.id)).await {
            // A record that cannot be read, maybe for good, must not hold back this job.
            Err(error) if error.kind == ErrorKind::Invalid => None,
            read => read?,
        };
        let settings = self.settings();
        let class = run
            .as_ref()
            .and_then(|run| serving(&settings.classes, &run.spec.job.repo, &run.spec.runs_on));
        let cause = cause_of(job, run.as_ref(), class);
        self.failed_job(own, (job.id, job.name.clone()), cause, class).await
    }

    /// Adds the limit of its class, and the requests so far.
    async fn failed_job(
        &self,
        own: &Run,
        (id, name): (i64, String),
        cause: FailureCause,
        class: Option<&Class>,
    ) -> Result<FailedJob, PortError> {
        let limit = class.map_or(0, |class| class.rerun.limit);
        let reruns = if cause == FailureCause::Lost {
            let (repo_id, run_id) = (own.spec.job.repo_id, own.spec.about.run_id);
            let key = RerunKey { repo_id, run_id, job: name.clone() };
            self.ports.store.reruns(&key).await?
        } else {
            None
        };
        Ok(FailedJob { name, id, cause, limit, reruns })
    }
}

fn is_taken(machine: &Machine) -> bool {
    machine.ended_by == Some(EndedBy::Cloud)
}

/// Returns the run, and the attempt of another run on whose runner its job runs, or ran.
fn runner_elsewhere(seen: &Observation) -> Option<(&Run, AttemptId)> {
    let run = seen.run.as_ref()?;
    let recorded = run.status.runner.as_deref().filter(|_| run.status.phase == Phase::Running);
    let runner = match &seen.job {
        Job::Running { runner } if !runner.is_empty() => Some(runner.as_str()),
        Job::Running { .. } | Job::Done { .. } => recorded,
        _ => None,
    };
    let attempt_id = run.attempt_of(runner?).filter(|attempt_id| attempt_id.run != run.name)?;
    Some((run, attempt_id))
}
