//! Gauges of runs and machines, computed at each scrape from the open runs and the last listings.

use std::collections::HashMap;

use jiff::Timestamp;
use tinqs_ci_reconciler::model::{
    AttemptId, Class, Machine, MachineState, Phase, Registration, serving,
};
use tinqs_ci_reconciler::ports::OpenRun;

use super::labels;
use super::metrics::{Metrics, seconds};

/// The input of a scrape: current open runs, machines and registrations as last listed.
pub(super) struct Snapshot<'a> {
    /// The classes, in the order of the configuration.
    pub classes: &'a [Class],
    pub open: &'a [OpenRun],
    /// Machines with the installation's tag.
    pub machines: &'a [Machine],
    /// Runners of this installation.
    pub registrations: &'a [Registration],
    /// The number of wake-ups taken from the queue whose reconcile has not begun.
    pub held: usize,
    pub now: Timestamp,
}

impl Snapshot<'_> {
    /// Sets all gauges. The caller must run one scrape at a time.
    pub(super) fn show(&self, metrics: &Metrics) {
        metrics.zero_snapshot();
        let machines: HashMap<&AttemptId, &Machine> =
            self.machines.iter().map(|machine| (&machine.attempt_id, machine)).collect();
        let runners: HashMap<&AttemptId, &Registration> =
            self.registrations.iter().map(|runner| (&runner.attempt_id, runner)).collect();
        self.show_runs(metrics, &machines, &runners);
        for machine in self.machines {
            let runner = runners.get(&machine.attempt_id).copied();
            let Some(state) = machine_state(machine.state, runner) else { continue };
            let class = metrics.class(Some(&machine.class.0));
            let market = labels::market(machine.market);
            metrics.machines.with_label_values(&[class, state, market]).inc();
        }
        let classes: HashMap<&AttemptId, Option<&str>> = self
            .open
            .iter()
            .filter_map(|run| Some((run.attempt.as_ref()?, self.class_of(run))))
            .collect();
        for runner in self.registrations.iter().filter(|r| r.missing_since.is_none()) {
            let by_machine =
                machines.get(&runner.attempt_id).map(|machine| machine.class.0.as_str());
            let class = by_machine.or_else(|| classes.get(&runner.attempt_id).copied().flatten());
            let status = match runner {
                Registration { busy: true, .. } => "busy",
                Registration { online: true, .. } => "idle",
                Registration { .. } => "offline",
            };
            metrics.registrations.with_label_values(&[metrics.class(class), status]).inc();
        }
    }

    fn show_runs(
        &self,
        metrics: &Metrics,
        machines: &HashMap<&AttemptId, &Machine>,
        runners: &HashMap<&AttemptId, &Registration>,
    ) {
        let mut oldest: HashMap<&str, Timestamp> = HashMap::new();
        let mut overdue = 0_u32;
        for run in self.open {
            if run.due <= self.now {
                overdue += 1;
            }
            if run.phase == Phase::Finished {
                continue;
            }
            let class = metrics.class(self.class_of(run));
            let attempt_id = run.attempt.as_ref();
            let machine = attempt_id.and_then(|attempt_id| machines.get(attempt_id)).copied();
            let runner = attempt_id.and_then(|attempt_id| runners.get(attempt_id)).copied();
            if let Some(stage) = stage(run.phase, machine, runner) {
                metrics.runs.with_label_values(&[class, stage]).inc();
            }
            if run.deleted {
                continue;
            }
            if class != labels::NO_CLASS {
                metrics.desired.with_label_values(&[class]).inc();
            }
            if run.phase != Phase::Running {
                let since = oldest.entry(class).or_insert(run.waiting_since);
                *since = (*since).min(run.waiting_since);
            }
        }
        for (class, since) in oldest {
            metrics.oldest_waiting.with_label_values(&[class]).set(seconds(since));
        }
        metrics.depth.with_label_values(&["due"]).set(f64::from(overdue));
        let held = u32::try_from(self.held).unwrap_or(u32::MAX);
        metrics.depth.with_label_values(&["wake"]).set(f64::from(held));
    }

    fn class_of(&self, run: &OpenRun) -> Option<&str> {
        serving(self.classes, &run.runs_on).map(|class| class.name.0.as_str())
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
