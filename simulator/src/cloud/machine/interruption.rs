//! The interruption of a machine by the cloud, and what its boot script does after the notice.

use jiff::{SignedDuration, Timestamp};
use tinqs_ci_reconciler::model::Conclusion;

use super::{Doing, SimulatedMachine};
use crate::forge::Forge;

/// The cloud gives notice so long before.
const NOTICE: SignedDuration = SignedDuration::from_mins(2);

impl SimulatedMachine {
    /// Returns when the cloud interrupts it.
    pub(super) fn interruption(&self) -> Option<Timestamp> {
        let wait = self.outcome.interrupted_in.filter(|_| self.is_live())?;
        Some(self.launched_at + wait)
    }

    /// Returns whether its boot script has the notice: its runner takes no job any more.
    pub(super) fn has_notice(&self, now: Timestamp) -> bool {
        let at = self.interruption().filter(|_| self.outcome.ends_job_before.is_some());
        at.is_some_and(|at| at - NOTICE <= now)
    }

    /// Returns when its boot script ends its job, which began before the notice.
    pub(super) fn ends_job_at(&self) -> Option<Timestamp> {
        let before = self.outcome.ends_job_before.filter(|_| self.is_busy())?;
        Some(self.interruption()? - before)
    }

    /// Its boot script ends its job, and its runner reports it as failed. Then it waits for its
    /// end. While the forge is down, the report is lost.
    pub(super) fn end_job(&mut self, now: Timestamp, forge: &mut Forge) -> Option<String> {
        let Doing::Busy { task, .. } = self.doing.clone() else { return None };
        let (uuid, token) = (&self.runner.uuid, self.runner.token.expose());
        let failed = Some(Conclusion::Failure);
        let is_reported =
            !forge.is_down(now) && forge.report(now, uuid, token, task.id, failed).is_ok();
        self.job_ended_at = Some(now);
        let is_over = is_reported || forge.canceled_at(task.id).is_some();
        self.done_task = is_over.then_some(task.id);
        self.doing = Doing::Hung;
        Some(format!("ends job {} after the notice of the cloud", task.job_id))
    }
}
