//! Asks the forge to run jobs again: recorded before the call, and read once more before it.

use super::{Reconcile, Stop};
use crate::controller::{ActionKind, Event, RerunOutcome};
use crate::model::{Happened, JobRef, RerunScope, Reruns};
use crate::plan::Rule;
use crate::ports::{ErrorKind, PortError, RerunAnswer};

impl Reconcile<'_> {
    /// Asks the forge once per reconcile. Returns whether another round finds more to do.
    pub(super) async fn rerun(
        &mut self,
        scope: RerunScope,
        requests: Vec<Reruns>,
    ) -> Result<bool, Stop> {
        let Some((job, run_id)) = self.job_to_rerun() else { return Ok(false) };
        if !self.issued.insert(format!("rerun {run_id}")) {
            return Ok(false);
        }
        for request in requests {
            self.record(request).await?;
        }
        let ports = &self.controller.ports;
        let fresh = ports.forge.workflow_run(&job, run_id).await?;
        if let Some(view) = self.seen.rerun.as_mut().filter(|view| view.run != fresh) {
            // Somebody acted meanwhile: decide again.
            self.controller.cache.workflow_runs.changed((job.repo_id, run_id));
            view.run = fresh;
            return Ok(true);
        }
        self.now_in_time()?;
        let answer = ports.forge.rerun(&job, run_id, scope).await;
        self.controller.cache.workflow_runs.changed((job.repo_id, run_id));
        let error = answer.as_ref().err();
        self.note(ActionKind::Rerun, run_id.to_string(), None, Rule::AwaitsRerun, error);
        Ok(self.answered(answer))
    }

    fn job_to_rerun(&self) -> Option<(JobRef, i64)> {
        let run = self.seen.run.as_ref()?;
        Some((run.spec.job.clone(), run.spec.about.run_id))
    }

    /// Records a request, so that no other one is made while it may still land.
    async fn record(&mut self, request: Reruns) -> Result<(), Stop> {
        self.now_in_time()?;
        let version = self.controller.ports.store.put_reruns(&request).await?;
        let recorded = Reruns { version, ..request };
        if let Some(view) = &mut self.seen.rerun {
            let mut jobs = std::iter::once(&mut view.own).chain(&mut view.others);
            if let Some(known) = jobs.find(|known| known.name == recorded.key.job) {
                known.reruns = Some(recorded);
            }
        }
        Ok(())
    }

    /// Shows the forge's answer in the observation and the timeline. Returns whether to decide
    /// again.
    fn answered(&mut self, answer: Result<RerunAnswer, PortError>) -> bool {
        let now = self.seen.now;
        let outcome = match answer {
            Ok(RerunAnswer::Accepted) => {
                if let Some(run) = &mut self.seen.run {
                    run.status.happened(now, Happened::RerunRequested);
                    run.status.interrupted.iter_mut().for_each(|noted| noted.denied = None);
                }
                RerunOutcome::Accepted
            }
            Ok(RerunAnswer::NotDone) => RerunOutcome::NotDone,
            // The next decision says why the job is not run again.
            Ok(refused) => {
                if let Some(view) = &mut self.seen.rerun {
                    match refused {
                        RerunAnswer::Refused(why) => view.refused = Some(why),
                        RerunAnswer::Unsupported => {
                            view.run.iter_mut().for_each(|run| run.can_rerun = false);
                        }
                        _ => view.run = None,
                    }
                }
                return true;
            }
            Err(error) if error.kind == ErrorKind::Denied => {
                if let Some(view) = &mut self.seen.rerun {
                    view.denied = Some(error.message);
                }
                RerunOutcome::Denied
            }
            Err(_) => RerunOutcome::Failed,
        };
        self.report.events.push(Event::Rerun { outcome });
        matches!(outcome, RerunOutcome::Accepted | RerunOutcome::Denied)
    }
}
