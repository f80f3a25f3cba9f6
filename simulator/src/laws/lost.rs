//! Law L9: only a machine that is gone is said to be lost, and one that the cloud took soon is,
//! whichever run it was launched for.

use std::collections::BTreeMap;

use jiff::Timestamp;
use tinqs_ci_reconciler::model::{AttemptId, Outcome, Phase, Reason, Run, RunName};

use super::Laws;
use super::time::{Allowance, Wait};
use crate::cloud::Cloud;
use crate::cloud::machine::SimulatedMachine;
use crate::forge::{Forge, Status};

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
        if self.is_unclear(run, runner) {
            return;
        }
        if let Some(machine) = live.find(|m| m.attempt_id.to_string() == runner) {
            let what = format!("{}: {} is said to be lost, but is live", run.name, machine.id);
            self.broken("L9", now, run.name.as_str(), what);
        }
    }

    /// L9: checks that the run of each running job says soon that the cloud took the job's machine.
    /// Only a run that has seen its job on that machine can. `run_of`: the record of a job's run.
    pub fn lost_machines<'a>(
        &mut self,
        now: Timestamp,
        cloud: &Cloud,
        forge: &Forge,
        excuse: &Allowance,
        run_of: impl Fn(i64) -> Option<&'a Run>,
    ) {
        let Some(within) = self.lost_told_within else { return };
        let mut untold: BTreeMap<(i64, Timestamp), RunName> = BTreeMap::new();
        for job in forge.jobs().filter(|job| job.status == Status::Running) {
            let Some(runner) = job.runner_name.as_deref() else { continue };
            let Some(run) = run_of(job.id).filter(|run| run.deleted_at.is_none()) else { continue };
            let status = &run.status;
            let saw_it = status.phase == Phase::Running && status.runner.as_deref() == Some(runner);
            if !saw_it || status.lost().is_some() || self.is_unclear(run, runner) {
                continue;
            }
            if let Some(taken_at) = cloud.taken_at(Some(runner)) {
                untold.insert((job.id, taken_at), run.name.clone());
            }
        }
        self.untold.retain(|key, _| untold.contains_key(key));
        let excused = excuse.cut_off || excuse.forgotten;
        for ((id, taken_at), name) in untold {
            let wait = self.untold.entry((id, taken_at)).or_insert(Wait::since(taken_at));
            if let Some(waited) = wait.goes_on(now, excused, within) {
                let seconds = waited.as_secs();
                let what = format!("{name} does not tell its lost machine after {seconds} s");
                self.broken("L9", now, name.as_str(), what);
            }
        }
    }

    /// Whether records do not tell which machine a job runs on.
    fn is_unclear(&self, run: &Run, runner: &str) -> bool {
        let of = runner.parse::<AttemptId>().map(|attempt_id| attempt_id.run);
        self.scrambled.contains(&run.name)
            || of.is_ok_and(|of| self.scrambled.contains(&of))
            || self.is_twinned(runner)
    }
}
