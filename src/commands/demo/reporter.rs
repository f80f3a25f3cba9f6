//! Prints what changed in the simulated world.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::Instant;

use anstyle::{AnsiColor, Style};
use tinqs_ci_reconciler::model::{Conclusion, EndedBy, MachineId, MachineState};
use tinqs_ci_simulator::cloud::machine::{Doing, SimulatedMachine};
use tinqs_ci_simulator::forge::{JobRow, Status};

use super::host::Host;

/// The printed stages of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Launched,
    Up,
    Idle,
    Busy,
    Ended,
}

/// Prints each change once.
pub(super) struct Reporter {
    began: Instant,
    jobs: BTreeMap<i64, Status>,
    machines: BTreeMap<MachineId, Stage>,
}

impl Reporter {
    /// Creates a reporter and prints the first line.
    pub(super) fn new(host: &Host) -> Self {
        let reporter =
            Self { began: Instant::now(), jobs: BTreeMap::new(), machines: BTreeMap::new() };
        reporter.say(&format!(
            "simulated Gitea at {}, real tinqs-ci at {}; time runs {} times as fast",
            host.wire.url(),
            host.server_url(),
            host.factor,
        ));
        reporter
    }

    /// Prints a line.
    pub(super) fn say(&self, line: &str) {
        let dim = Style::new().dimmed();
        let seconds = self.began.elapsed().as_secs_f64();
        // A closed pipe (`| head`) does not end the demo.
        let _ = writeln!(anstream::stdout().lock(), "{dim}{seconds:6.2} s{dim:#}  {line}");
    }

    /// Prints the title of a chapter.
    pub(super) fn chapter(&self, line: &str) {
        let bold = Style::new().bold().fg_color(Some(AnsiColor::Cyan.into()));
        let _ = writeln!(anstream::stdout().lock());
        self.say(&format!("{bold}{line}{bold:#}"));
    }

    /// Prints what changed.
    pub(super) fn update(&mut self, host: &Host) {
        let mut lines = Vec::new();
        {
            let world = host.world();
            for job in world.forge().jobs() {
                if self.jobs.insert(job.id, job.status) != Some(job.status) {
                    lines.push(of_job(job));
                }
            }
            for machine in world.cloud.machines() {
                let stage = stage(machine);
                let previous = self.machines.insert(machine.id.clone(), stage);
                if previous != Some(stage) {
                    lines.extend(of_machine(machine, previous, stage));
                }
            }
        }
        for line in lines {
            self.say(&format!("  {line}"));
        }
    }
}

fn stage(machine: &SimulatedMachine) -> Stage {
    match (&machine.doing, machine.state()) {
        (Doing::Booting { .. }, _) => Stage::Launched,
        (Doing::Starting { .. }, _) => Stage::Up,
        (Doing::Busy { .. }, _) => Stage::Busy,
        (Doing::Idle { .. } | Doing::Hung, MachineState::Booting | MachineState::Up) => Stage::Idle,
        _ => Stage::Ended,
    }
}

fn of_machine(machine: &SimulatedMachine, previous: Option<Stage>, stage: Stage) -> Option<String> {
    let SimulatedMachine { id, attempt_id, spec, .. } = machine;
    match stage {
        Stage::Launched => Some(format!(
            "machine {id} launched for {}: {} {} in {}",
            attempt_id.run, spec.market, spec.kind, spec.subnet
        )),
        // Implied by the previous line.
        Stage::Up | Stage::Busy => None,
        Stage::Idle => (previous != Some(Stage::Busy))
            .then(|| format!("machine {id} is up, its runner waits for a job")),
        Stage::Ended => Some(match machine.ended_by {
            Some(EndedBy::Cloud) => format!("machine {id} was interrupted by the cloud"),
            Some(EndedBy::Request) => format!("machine {id} was terminated"),
            Some(EndedBy::Itself) | None if machine.job_ended_at.is_none() => {
                format!("machine {id} got no job and powered itself off")
            }
            Some(EndedBy::Itself) | None => format!("machine {id} powered itself off"),
        }),
    }
}

fn of_job(job: &JobRow) -> String {
    let JobRow { id, spec, status, runner_name, .. } = job;
    let name = &spec.name;
    match status {
        Status::Blocked => format!("job {id} {name} is blocked"),
        Status::Waiting => format!("job {id} {name} waits"),
        Status::Running => {
            let runner = runner_name.as_deref().unwrap_or("a runner");
            format!("job {id} {name} runs on {runner}")
        }
        Status::Done(Conclusion::Success) => format!("job {id} {name} is done"),
        Status::Done(Conclusion::Failure) => format!("job {id} {name} failed"),
        Status::Done(Conclusion::Cancelled) => format!("job {id} {name} is cancelled"),
        Status::Done(Conclusion::Skipped) => format!("job {id} {name} is skipped"),
    }
}
