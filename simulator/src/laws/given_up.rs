//! A run that gave up stays so while its job waits, until a person retries it.

use jiff::Timestamp;
use tinqs_ci_reconciler::model::{Happened, Milestone, Outcome, Phase, Reason, Run};

use super::Laws;

impl Laws {
    /// Checks that only a person's retry makes a run that gave up wait for a machine again.
    pub(super) fn stays_given_up(&mut self, now: Timestamp, before: &Run, run: &Run) {
        let gave_up = before.status.phase == Phase::Finished
            && before.status.outcome == Some(Outcome::GaveUp);
        // A job that was blocked meanwhile waits for the first time again.
        let waits = matches!(run.status.phase, Phase::Waiting | Phase::Starting)
            && run.status.reason() != Some(Reason::Blocked);
        let last = run.status.timeline.last();
        let is_retried = matches!(last, Some(Milestone { what: Happened::Retried { .. }, .. }));
        if gave_up && waits && !is_retried {
            let what = format!("{}: it gave up, and nobody retried it", run.name);
            self.broken("given up", now, run.name.as_str(), what);
        }
    }
}

#[cfg(test)]
mod tests {
    use tinqs_ci_reconciler::model::{RunName, SeenBy, Spec};

    use super::*;

    fn gave_up() -> Run {
        let name = RunName::job(1);
        let mut run = Run::new("test", name, Spec::default(), SeenBy::Poll, Timestamp::UNIX_EPOCH);
        (run.status.phase, run.status.outcome) = (Phase::Finished, Some(Outcome::GaveUp));
        run
    }

    /// Returns whether a change of a run that gave up breaks the law.
    fn breaks(change: impl FnOnce(&mut Run)) -> bool {
        let (now, before) = (Timestamp::UNIX_EPOCH, gave_up());
        let mut laws = Laws::new(1, now);
        let mut run = before.clone();
        change(&mut run);
        laws.stays_given_up(now, &before, &run);
        !laws.violations().is_empty()
    }

    #[test]
    fn only_a_person_or_its_job_changes_a_run_that_gave_up() {
        let now = Timestamp::UNIX_EPOCH;
        assert!(breaks(|run| run.status.phase = Phase::Waiting));
        assert!(breaks(|run| run.status.phase = Phase::Starting));
        assert!(!breaks(|_| {}));
        assert!(!breaks(|run| run.retry(now, None)));
        assert!(!breaks(|run| run.status.phase = Phase::Running));
        assert!(!breaks(|run| run.status.outcome = Some(Outcome::Succeeded)));
    }
}
