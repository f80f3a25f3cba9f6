//! Reads what a machine printed before it ended without a job.

use super::Reconcile;
use crate::controller::late_logs::LateLog;
use crate::model::{Attempt, AttemptId, End, MachineId, Redactor, Status};
use crate::plan::{LAST_LINES_READ, last_lines, record};

impl Reconcile<'_> {
    /// Keeps the last lines of an attempt that the plan has just ended without a job. A log that
    /// cannot be read changes nothing; it is read again later, as one that is empty.
    pub(super) async fn keep_last_lines(&mut self, before: &Status) {
        let Some(log) = self.machine_to_ask(before) else { return };
        let lines = self.lines_of(&log).await;
        let Some(run) = &mut self.seen.run else { return };
        match lines {
            Some(lines) => record::printed(&mut run.status, lines),
            None => self.controller.cache.late_logs.add(&run.name, log, self.seen.now),
        }
    }

    /// Keeps the last lines of attempts whose machines had no log when they ended.
    pub(super) async fn keep_late_lines(&mut self) {
        let Some(name) = self.seen.run.as_ref().map(|run| run.name.clone()) else { return };
        let late_logs = &self.controller.cache.late_logs;
        for log in late_logs.take(&name, self.seen.now) {
            let lines = self.lines_of(&log).await;
            match (lines, &mut self.seen.run) {
                (Some(lines), Some(run)) => {
                    record::printed_late(&mut run.status, log.attempt, lines);
                }
                _ => late_logs.add(&name, log, self.seen.now),
            }
        }
    }

    async fn lines_of(&self, log: &LateLog) -> Option<String> {
        let read = self.controller.ports.compute.log(&log.machine, LAST_LINES_READ).await;
        last_lines(&read.ok()??, &log.redactor)
    }

    /// Returns the machine of the attempt, with the credentials that it may have printed.
    fn machine_to_ask(&self, before: &Status) -> Option<LateLog> {
        let run = self.seen.run.as_ref()?;
        let attempt = run.status.attempt.as_ref()?;
        // It still has the credentials, which leave the record with the end.
        let open = before.attempt.as_ref();
        let open = open.filter(|a| a.number == attempt.number && a.ended.is_none())?;
        let ended = attempt.ended?;
        let without_job =
            matches!(ended.why, End::MachineGone | End::NeverReady | End::NotAssigned);
        if !without_job {
            return None;
        }
        let machine = self.machine_of(attempt, &run.attempt_id(attempt.number))?;
        let settings = self.controller.settings();
        let own = open.secrets();
        let redactor = Redactor::new(own.iter().chain(&settings.secrets));
        let (attempt, ended_at) = (attempt.number, ended.at);
        Some(LateLog { attempt, machine, redactor, ended_at, read: 0 })
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
