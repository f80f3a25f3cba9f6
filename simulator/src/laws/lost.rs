//! Law L9: only a machine that is gone is said to be lost.

use jiff::Timestamp;
use tinqs_ci_reconciler::model::{Outcome, Reason, Run};

use super::Laws;
use crate::cloud::machine::SimulatedMachine;

impl Laws {
    /// L9: a run is about to be written that says that its job's machine is gone. `live`: all
    /// machines that boot or are up.
    pub fn on_lost<'a>(
        &mut self,
        now: Timestamp,
        run: &Run,
        mut live: impl Iterator<Item = &'a SimulatedMachine>,
    ) {
        let status = &run.status;
        let outcome = matches!(status.outcome, Some(Outcome::MachineLost | Outcome::MaxAge));
        let told = outcome || status.reason().is_some_and(Reason::is_lost);
        let Some(runner) = status.runner.as_deref().filter(|_| told) else { return };
        if self.scrambled.contains(&run.name) || self.is_twinned(runner) {
            return;
        }
        if let Some(machine) = live.find(|m| m.attempt_id.to_string() == runner) {
            let what = format!("{}: {} is said to be lost, but is live", run.name, machine.id);
            self.broken("L9", now, run.name.as_str(), what);
        }
    }
}
