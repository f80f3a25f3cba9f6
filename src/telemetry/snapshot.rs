//! Counts of runs, jobs, machines and registrations, from one listing of the open runs and the last
//! listings of the others.

use std::collections::HashMap;

use jiff::Timestamp;
use tinqs_ci_reconciler::model::{
    AttemptId, Class, Machine, MachineState, Phase, Registration, serving,
};
use tinqs_ci_reconciler::ports::OpenRun;

use super::labels;
use super::unserved::Polled;

/// The last lists.
pub(super) struct Snapshot<'a> {
    /// The classes, in the order of the configuration.
    pub classes: &'a [Class],
    pub open: &'a [OpenRun],
    /// Machines with the installation's tag.
    pub machines: &'a [Machine],
    /// Runners of this installation.
    pub registrations: &'a [Registration],
    /// Waiting jobs that no class serves.
    pub unserved: &'a Polled,
    pub now: Timestamp,
}

/// The values of the gauges, by class. What is missing is 0.
#[derive(Default)]
pub(super) struct Counts<'a> {
    pub desired: HashMap<&'a str, usize>,
    /// By state and market.
    pub machines: HashMap<(&'a str, &'static str, &'static str), usize>,
    /// By status.
    pub registrations: HashMap<(&'a str, &'static str), usize>,
    /// By stage.
    pub runs: HashMap<(&'a str, &'static str), usize>,
    /// By status.
    pub jobs: HashMap<(&'a str, &'static str), usize>,
    /// The time since which the oldest waiting job waits.
    pub oldest: HashMap<&'a str, Timestamp>,
    /// Runs whose due time has passed.
    pub overdue: usize,
}

impl<'a> Snapshot<'a> {
    /// Counts everything.
    pub(super) fn counts(&self) -> Counts<'a> {
        let mut counts = Counts::default();
        let machines: HashMap<&AttemptId, &Machine> =
            self.machines.iter().map(|machine| (&machine.attempt_id, machine)).collect();
        let runners: HashMap<&AttemptId, &Registration> =
            self.registrations.iter().map(|runner| (&runner.attempt_id, runner)).collect();
        for run in self.open {
            self.count_run(run, &machines, &runners, &mut counts);
        }
        self.count_unserved(&mut counts);
        for machine in self.machines {
            let runner = runners.get(&machine.attempt_id).copied();
            let Some(state) = machine_state(machine.state, runner) else { continue };
            let class = self.configured(&machine.class.0);
            let market = labels::market(machine.market);
            *counts.machines.entry((class, state, market)).or_default() += 1;
        }
        let mut classes: HashMap<&AttemptId, &'a str> = HashMap::new();
        let there = self.registrations.iter().filter(|runner| runner.missing_since.is_none());
        if there.clone().any(|runner| !machines.contains_key(&runner.attempt_id)) {
            let runs = self.open.iter();
            classes
                .extend(runs.filter_map(|run| Some((run.attempt.as_ref()?, self.class_of(run)))));
        }
        for runner in there {
            let class = match machines.get(&runner.attempt_id) {
                Some(machine) => self.configured(&machine.class.0),
                None => classes.get(&runner.attempt_id).copied().unwrap_or(labels::NO_CLASS),
            };
            let status = match runner {
                Registration { busy: true, .. } => "busy",
                Registration { online: true, .. } => "idle",
                Registration { .. } => "offline",
            };
            *counts.registrations.entry((class, status)).or_default() += 1;
        }
        counts
    }

    fn count_run(
        &self,
        run: &'a OpenRun,
        machines: &HashMap<&AttemptId, &Machine>,
        runners: &HashMap<&AttemptId, &Registration>,
        counts: &mut Counts<'a>,
    ) {
        counts.overdue += usize::from(run.due <= self.now);
        if run.phase == Phase::Finished {
            return;
        }
        let class = self.class_of(run);
        let attempt_id = run.attempt.as_ref();
        let machine = attempt_id.and_then(|attempt_id| machines.get(attempt_id)).copied();
        let runner = attempt_id.and_then(|attempt_id| runners.get(attempt_id)).copied();
        if let Some(stage) = stage(run.phase, machine, runner) {
            *counts.runs.entry((class, stage)).or_default() += 1;
        }
        if run.deleted {
            return;
        }
        if class != labels::NO_CLASS {
            *counts.desired.entry(class).or_default() += 1;
        }
        let status = if run.phase == Phase::Running { "running" } else { "waiting" };
        *counts.jobs.entry((class, status)).or_default() += 1;
        if run.phase != Phase::Running {
            let since = counts.oldest.entry(class).or_insert(run.waiting_since);
            *since = (*since).min(run.waiting_since);
        }
    }

    /// Counts the jobs that no class serves. Some may have a run, of an earlier configuration.
    fn count_unserved(&self, counts: &mut Counts<'a>) {
        let waiting = counts.jobs.entry((labels::NO_CLASS, "waiting")).or_default();
        *waiting = (*waiting).max(self.unserved.jobs);
        if let Some(since) = self.unserved.sets.iter().map(|(_, since)| *since).min() {
            let oldest = counts.oldest.entry(labels::NO_CLASS).or_insert(since);
            *oldest = (*oldest).min(since);
        }
    }

    fn class_of(&self, run: &OpenRun) -> &'a str {
        let class = serving(self.classes, &run.repo, &run.runs_on);
        class.map_or(labels::NO_CLASS, |class| class.name.0.as_str())
    }

    /// Returns the class of this name, or `no_class` if it is not configured any more.
    fn configured(&self, name: &str) -> &'a str {
        let class = self.classes.iter().find(|class| class.name.0 == name);
        class.map_or(labels::NO_CLASS, |class| class.name.0.as_str())
    }
}

/// Returns the state label of a machine, given its runner; `None` if the machine is gone.
fn machine_state(state: MachineState, runner: Option<&Registration>) -> Option<&'static str> {
    match (state, runner) {
        (MachineState::Booting, _) => Some("booting"),
        (MachineState::Up, Some(Registration { busy: true, .. })) => Some("busy"),
        (MachineState::Up, Some(Registration { online: true, .. })) => Some("idle"),
        (MachineState::Up, _) => Some("up"),
        (MachineState::Ending, _) => Some("ending"),
        (MachineState::Gone, _) => None,
    }
}

/// Returns the stage of a run; `None` if it is finished.
fn stage(
    phase: Phase,
    machine: Option<&Machine>,
    runner: Option<&Registration>,
) -> Option<&'static str> {
    match phase {
        Phase::Waiting => Some("pending"),
        Phase::Running => Some("busy"),
        Phase::Finished => None,
        Phase::Starting => {
            Some(match machine.and_then(|machine| machine_state(machine.state, runner)) {
                None => "launching",
                Some("up") => "registering",
                Some("ending") => "draining",
                Some(state) => state,
            })
        }
    }
}
