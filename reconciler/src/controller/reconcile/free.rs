//! Terminates and frees things, and wakes the runs that can proceed then.

use super::{Reconcile, Stop};
use crate::controller::ActionKind;
use crate::model::{MachineState, Registrations};
use crate::plan::{Action, Rule};

impl Reconcile<'_> {
    /// Terminates or frees one thing. A failure does not prevent the other actions.
    pub(super) async fn free(&mut self, action: Action) -> Result<(), Stop> {
        if !self.issued.insert(format!("{action:?}")) {
            return Ok(());
        }
        self.now_in_time()?;
        if matches!(action, Action::Terminate { rule: Rule::Hung, .. }) && self.forge_has_failed() {
            // The forge may not be what was read: the next reconcile reads it again.
            return Ok(());
        }
        let ports = &self.controller.ports;
        match action {
            Action::Unseat { class, attempt_id, rule } => {
                let result = ports.store.unseat(&class, &attempt_id).await;
                self.note(
                    ActionKind::Unseat,
                    class.to_string(),
                    Some(&attempt_id),
                    rule,
                    result.as_ref().err(),
                );
                if result.is_ok() {
                    self.seen.seats.retain(|(c, s)| !(*c == class && *s == attempt_id));
                    self.controller.wake_next(&class, &self.seen).await;
                    self.asked_whose_turn = false;
                }
            }
            Action::Retire { id, attempt_id, rule } => {
                let repo_id = self.seen.registrations.by_id(id).map_or(0, |row| row.repo_id);
                let result = ports.forge.retire(id, repo_id).await;
                self.note(
                    ActionKind::Retire,
                    id.to_string(),
                    Some(&attempt_id),
                    rule,
                    result.as_ref().err(),
                );
                if let (Ok(()), Registrations::Seen(rows)) = (result, &mut self.seen.registrations)
                {
                    rows.retain(|r| r.id != id);
                }
            }
            Action::Disable { id, attempt_id, rule } => {
                let repo_id = self.seen.registrations.by_id(id).map_or(0, |row| row.repo_id);
                let result = ports.forge.disable(id, repo_id).await;
                self.note(
                    ActionKind::Disable,
                    id.to_string(),
                    Some(&attempt_id),
                    rule,
                    result.as_ref().err(),
                );
                self.disabled(id, result.ok());
            }
            Action::Terminate { id, attempt_id, rule } => {
                let result = ports.compute.terminate(&id).await;
                self.note(
                    ActionKind::Terminate,
                    id.to_string(),
                    Some(&attempt_id),
                    rule,
                    result.as_ref().err(),
                );
                if result.is_ok() {
                    let ended = self.seen.machines.iter_mut().filter(|m| m.id == id);
                    ended.for_each(|m| m.state = MachineState::Ending);
                }
            }
            Action::Launch { .. } | Action::Rerun { .. } | Action::Remove => {}
        }
        Ok(())
    }

    /// Whether a reading of the forge, of any reconcile of this process, has failed since the
    /// observation.
    fn forge_has_failed(&self) -> bool {
        let steadiness = &self.controller.steadiness;
        let now = steadiness.read(self.seen.now).steady_since;
        self.seen.forge_read.is_some_and(|read| now != read.steady_since)
    }

    /// Shows in the observation whether a registration was disabled.
    fn disabled(&mut self, id: i64, is_possible: Option<bool>) {
        let Some(is_possible) = is_possible else { return };
        if let Some(read) = &mut self.seen.forge_read {
            read.cannot_disable = !is_possible;
        }
        let since = self.controller.steadiness.disabled_since(id);
        if let (true, Registrations::Seen(rows)) = (is_possible, &mut self.seen.registrations) {
            let of_it = rows.iter_mut().filter(|row| row.id == id);
            of_it.for_each(|row| (row.disabled, row.disabled_since) = (Some(true), since));
        }
    }
}
