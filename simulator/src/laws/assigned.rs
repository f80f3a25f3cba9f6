//! Law L10: no job runs on a machine that was launched for another repository or other labels.

use jiff::Timestamp;
use tinqs_ci_reconciler::model::{AttemptId, Run};

use super::Laws;
use crate::forge::JobRow;

impl Laws {
    /// Records what the job of a run asks for: the machines of the run are launched for it.
    pub(super) fn launched_for(&mut self, run: &Run) {
        let needs = (run.spec.job.repo_id, run.spec.runs_on.clone());
        self.launched_for.insert(run.name.clone(), needs);
    }

    /// L10: a runner took a job.
    pub fn on_assigned(&mut self, now: Timestamp, job: &JobRow) {
        let named = job.runner_name.as_deref();
        let Some(attempt_id) = named.and_then(|name| name.parse::<AttemptId>().ok()) else {
            return;
        };
        if self.scrambled.contains(&attempt_id.run) {
            return;
        }
        let Some((repo_id, runs_on)) = self.launched_for.get(&attempt_id.run) else { return };
        if *repo_id != job.repo_id || !job.spec.runs_on.iter().all(|label| runs_on.contains(label))
        {
            let what = format!(
                "job-{} of {} with {:?} took {attempt_id}, launched for repository {repo_id} with {runs_on:?}",
                job.id, job.repo, job.spec.runs_on,
            );
            self.broken("L10", now, attempt_id.run.as_str(), what);
        }
    }
}
