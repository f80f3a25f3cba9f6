//! The condition of a run whose machine is lost.

use super::run::{Condition, Reason, Status};

impl Status {
    /// Returns the condition of a running job whose machine is gone.
    pub fn lost(&self) -> Option<&Condition> {
        let tells = |reason: Reason| reason.is_lost() || reason == Reason::AwaitsRerun;
        self.conditions.iter().find(|condition| tells(condition.reason))
    }
}
