//! Over time: a machine whose job was canceled ends soon (rule 21).

use jiff::{SignedDuration, Timestamp};

use super::Laws;
use crate::cloud::Cloud;
use crate::cloud::machine::SimulatedMachine;
use crate::forge::Forge;

/// Longest permitted life of a machine after the cancellation of its job, if no call fails and no
/// webhook tells it: 60 s until the run of a running job is due, a poll, and 20 s for the calls.
const CANCELED_AT_MOST: SignedDuration = SignedDuration::from_secs(90);

impl Laws {
    /// Checks all live machines.
    pub(super) fn canceled_all_end(&mut self, now: Timestamp, cloud: &Cloud, forge: &Forge) {
        for machine in cloud.live() {
            self.canceled_ends(now, machine, forge);
        }
    }

    /// Checks a machine that is live, or is about to be terminated.
    pub fn canceled_ends(&mut self, now: Timestamp, machine: &SimulatedMachine, forge: &Forge) {
        if !self.watches_canceled || self.records_lost || !machine.is_live() {
            return;
        }
        let canceled_at = machine.task().and_then(|task| forge.tells_canceled(task));
        let lived = canceled_at.map(|at| now.duration_since(at));
        let Some(lived) = lived.filter(|lived| *lived > CANCELED_AT_MOST) else { return };
        if self.outlived.insert(machine.id.clone()) {
            let what =
                format!("{} is live {} s after its job was canceled", machine.id, lived.as_secs());
            self.broken("time", now, machine.attempt_id.run.as_str(), what);
        }
    }
}
