//! Over time: a machine whose job was canceled ends soon (rule 21).

use jiff::{SignedDuration, Timestamp};
use tinqs_ci_reconciler::model::RunName;

use super::Laws;
use crate::cloud::Cloud;
use crate::cloud::machine::SimulatedMachine;
use crate::forge::Forge;

/// Longest permitted life of a machine after the cancellation of its job, if no call fails and no
/// webhook tells it: 60 s until the run of a running job is due, a poll, and 20 s for the calls.
const CANCELED_AT_MOST: SignedDuration = SignedDuration::from_secs(90);
/// With several replicas, the one that reconciles the machine's run need not know that the job of
/// another run was canceled: it waits as for any machine without a registration.
const UNKNOWN_FOR: SignedDuration = SignedDuration::from_secs(60);

impl Laws {
    /// Checks all live machines.
    pub(super) fn canceled_all_end(&mut self, now: Timestamp, cloud: &Cloud, forge: &Forge) {
        for machine in cloud.live() {
            self.canceled_ends(now, machine, forge);
        }
    }

    /// Checks a machine that is live, or is about to be terminated.
    pub fn canceled_ends(&mut self, now: Timestamp, machine: &SimulatedMachine, forge: &Forge) {
        let Some(replicas) = self.canceled_among.filter(|_| machine.is_live()) else { return };
        let Some(task) = machine.task().filter(|_| !self.records_lost) else { return };
        let Some((job, at)) = forge.tells_canceled(task) else { return };
        let run = &machine.attempt_id.run;
        let is_known = replicas == 1 || *run == RunName::job(job);
        let most = CANCELED_AT_MOST + if is_known { SignedDuration::ZERO } else { UNKNOWN_FOR };
        let lived = now.duration_since(at);
        if lived > most && self.outlived.insert(machine.id.clone()) {
            let what =
                format!("{} is live {} s after its job was canceled", machine.id, lived.as_secs());
            self.broken("time", now, run.as_str(), what);
        }
    }
}
