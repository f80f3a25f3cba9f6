//! L13: credentials leave a record with the write after which nothing is launched from it.

use jiff::Timestamp;
use tinqs_ci_reconciler::model::{Attempt, Phase, Run};

use super::Laws;

impl Laws {
    /// L13: checks that a run that runs or is finished, and an attempt that has ended, have none.
    pub(super) fn holds_no_credential(&mut self, now: Timestamp, run: &Run) {
        let Some(attempt) = run.status.attempt.as_ref().filter(|a| a.has_credentials()) else {
            return;
        };
        let is_over = matches!(run.status.phase, Phase::Running | Phase::Finished);
        if is_over || attempt.ended.is_some() {
            let (attempt_id, phase) = (run.attempt_id(attempt.number), run.status.phase);
            let ended = attempt.ended.map_or_else(String::new, |e| format!(", {:?}", e.why));
            let what = format!("{attempt_id}: its credentials are recorded ({phase:?}{ended})");
            self.broken("L13", now, run.name.as_str(), what);
        }
    }
}

/// Returns a recorded attempt with the credentials that have left its record: a launch of a reconcile
/// that read them before must still have exactly those.
pub(super) fn with_former(known: Option<&Attempt>, attempt: &Attempt) -> Attempt {
    let mut attempt = attempt.clone();
    if let Some(known) = known.filter(|_| !attempt.has_credentials()) {
        attempt.runner.token = known.runner.token.clone();
        attempt.boot.git_token.clone_from(&known.boot.git_token);
    }
    attempt
}
