//! Reads what a machine printed before it ended without a job.

use super::Reconcile;
use crate::model::{Attempt, AttemptId, End, MachineId, Redactor, Status};
use crate::plan::{LAST_LINES_READ, last_lines, record};

impl Reconcile<'_> {
    /// Keeps the last lines of an attempt that the plan has just ended without a job. A log that
    /// cannot be read changes nothing.
    pub(super) async fn keep_last_lines(&mut self, before: &Status) {
        let Some((id, redactor)) = self.machine_to_ask(before) else { return };
        let log = self.controller.ports.compute.log(&id, LAST_LINES_READ).await;
        let Ok(Some(log)) = log else { return };
        if let (Some(run), Some(lines)) = (&mut self.seen.run, last_lines(&log, &redactor)) {
            record::printed(&mut run.status, lines);
        }
    }

    /// Returns the machine of the attempt, with the credentials that it may have printed.
    fn machine_to_ask(&self, before: &Status) -> Option<(MachineId, Redactor)> {
        let run = self.seen.run.as_ref()?;
        let attempt = run.status.attempt.as_ref()?;
        // It still has the credentials, which leave the record with the end.
        let open = before.attempt.as_ref();
        let open = open.filter(|a| a.number == attempt.number && a.ended.is_none())?;
        let without_job =
            matches!(attempt.ended?.why, End::MachineGone | End::NeverReady | End::NotAssigned);
        if !without_job {
            return None;
        }
        let id = self.machine_of(attempt, &run.attempt_id(attempt.number))?;
        let settings = self.controller.settings();
        let own = open.secrets();
        Some((id, Redactor::new(own.iter().chain(&settings.secrets))))
    }

    /// Returns the machine of the last placement that has one, even if its launch got no answer.
    fn machine_of(&self, attempt: &Attempt, attempt_id: &AttemptId) -> Option<MachineId> {
        let seen = self.seen.machines.iter().filter(|m| m.attempt_id == *attempt_id);
        let seen = seen.max_by_key(|m| m.placement).map(|m| m.id.clone());
        seen.or_else(|| {
            let mut answers = attempt.placements.iter().rev();
            answers.find_map(|p| p.answered.as_ref()).map(|answer| answer.id.clone())
        })
    }
}
