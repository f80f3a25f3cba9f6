//! The machines that the cloud took.

use jiff::Timestamp;
use tinqs_ci_reconciler::model::EndedBy;

use super::Cloud;

impl Cloud {
    /// Returns when the cloud took the machine of a runner; `None` if it did not, or if a machine
    /// of that runner is live.
    pub fn taken_at(&self, runner: Option<&str>) -> Option<Timestamp> {
        let runner = runner?;
        let of_it = self.machines().filter(|m| m.attempt_id.to_string() == runner);
        let last = of_it.max_by_key(|m| (m.is_live(), m.placement))?;
        let is_taken = !last.is_live() && last.ended_by == Some(EndedBy::Cloud);
        is_taken.then(|| last.ended_at()).flatten()
    }
}
