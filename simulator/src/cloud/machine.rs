//! A live machine: models the boot script and the ephemeral runner.

mod interruption;

use jiff::{SignedDuration, Timestamp};
use tinqs_ci_reconciler::model::{
    self, AttemptId, Boot, ClassName, Conclusion, EndedBy, Machine, MachineId, MachineState,
    Runner, label_name,
};

pub use super::outcome::MachineOutcome;
use super::{Config, Launch};
use crate::forge::{Forge, Task, TaskState};

/// The interval at which an idle runner asks for a job.
pub const FETCH_EVERY: SignedDuration = SignedDuration::from_secs(2);
/// The interval at which a busy runner reports.
pub const REPORT_EVERY: SignedDuration = SignedDuration::from_secs(5);
/// The interval at which a silent runner reports while busy.
pub const SILENT_REPORT_EVERY: SignedDuration = SignedDuration::from_secs(60);

/// The interval at which a runner that fails is started again.
const FAILED_AGAIN_AFTER: SignedDuration = SignedDuration::from_secs(3);

/// The activity of a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Doing {
    /// It is not up yet.
    Booting {
        /// End of the boot.
        until: Timestamp,
    },
    /// The boot script runs; the timer is set, the runner is not started.
    Starting {
        /// Start of the runner.
        until: Timestamp,
    },
    /// The runner asks for a job.
    Idle {
        /// Time of the next fetch.
        fetches_at: Timestamp,
        /// Time of SIGTERM to the idle runner.
        drains_at: Timestamp,
        /// The version of tasks that the server last sent.
        tasks_version: i64,
    },
    /// The runner runs a job.
    Busy {
        /// The task.
        task: Task,
        /// End of the job.
        until: Timestamp,
        /// Time of the next report.
        reports_at: Timestamp,
    },
    /// Nothing happens any more; its timer may end it.
    Hung,
    /// It is powered off.
    Ending {
        /// Time at which it is gone.
        until: Timestamp,
    },
    /// It is gone.
    Gone,
}

/// A machine of ours.
#[derive(Clone, Debug)]
pub struct SimulatedMachine {
    /// Instance ID.
    pub id: MachineId,
    /// Attempt ID in its tags.
    pub attempt_id: AttemptId,
    /// Placement in its tags.
    pub placement: u32,
    /// Class in its tags.
    pub class: ClassName,
    /// Machine spec of the launch.
    pub spec: model::MachineSpec,
    /// Runner identity that it received.
    pub runner: Runner,
    /// Input of its boot script.
    pub boot: Boot,
    /// Time at which it was launched.
    pub launched_at: Timestamp,
    /// Current activity.
    pub doing: Doing,
    /// Time at which its runner was first started.
    pub started_at: Option<Timestamp>,
    /// Time at which its job ended.
    pub job_ended_at: Option<Timestamp>,
    /// The task that it executed, once that has ended.
    pub done_task: Option<i64>,
    /// Time at which it was gone.
    pub gone_at: Option<Timestamp>,
    /// The cause of its end.
    pub ended_by: Option<EndedBy>,
    outcome: MachineOutcome,
    history: Vec<(Timestamp, MachineState)>,
}

impl SimulatedMachine {
    pub(super) fn new(
        id: MachineId,
        ask: Launch<'_>,
        spec: model::MachineSpec,
        now: Timestamp,
        outcome: MachineOutcome,
    ) -> Self {
        Self {
            id,
            attempt_id: ask.attempt_id.clone(),
            placement: ask.placement,
            class: ask.attempt.class.clone(),
            spec,
            runner: ask.attempt.runner.clone(),
            boot: ask.attempt.boot.clone(),
            launched_at: now,
            doing: Doing::Booting { until: now + outcome.boots_in },
            started_at: None,
            job_ended_at: None,
            done_task: None,
            gone_at: None,
            ended_by: None,
            outcome,
            history: vec![(now, MachineState::Booting)],
        }
    }

    /// Returns the current state.
    pub fn state(&self) -> MachineState {
        self.history.last().map_or(MachineState::Gone, |(_, state)| *state)
    }

    /// Returns the state at a time; `None` before its launch.
    pub(crate) fn state_at(&self, at: Timestamp) -> Option<MachineState> {
        self.history.iter().rev().find(|(since, _)| *since <= at).map(|(_, state)| *state)
    }

    /// Returns each state with its start.
    pub fn history(&self) -> &[(Timestamp, MachineState)] {
        &self.history
    }

    /// Returns when its end began: from then on it costs nothing.
    pub fn ended_at(&self) -> Option<Timestamp> {
        let ends = |(_, state): &&(Timestamp, MachineState)| {
            matches!(state, MachineState::Ending | MachineState::Gone)
        };
        self.history.iter().find(ends).map(|(at, _)| *at)
    }

    /// Returns whether it boots or is up.
    pub fn is_live(&self) -> bool {
        matches!(self.state(), MachineState::Booting | MachineState::Up)
    }

    /// Returns whether it runs a job.
    pub fn is_busy(&self) -> bool {
        self.task().is_some()
    }

    /// Returns the ID of the task that it executes.
    pub fn task(&self) -> Option<i64> {
        match &self.doing {
            Doing::Busy { task, .. } => Some(task.id),
            _ => None,
        }
    }

    pub(super) fn seen_machine(&self, state: MachineState) -> Machine {
        let over = matches!(state, MachineState::Ending | MachineState::Gone);
        Machine {
            id: self.id.clone(),
            attempt_id: self.attempt_id.clone(),
            placement: self.placement,
            state,
            launched_at: self.launched_at,
            deadline: self.boot.deadline,
            registration: self.runner.id,
            repo_id: self.runner.repo_id,
            promise: self.boot.promise(),
            ended_by: self.ended_by.filter(|_| over),
            ended_at: self.ended_at().filter(|_| over),
            state_reason: None,
            class: self.class.clone(),
            kind: self.spec.kind.clone(),
            zone: String::new(),
            market: self.spec.market,
        }
    }

    /// Returns when the next event is due.
    pub(super) fn next_event(&self) -> Option<Timestamp> {
        let own = match &self.doing {
            Doing::Booting { until } | Doing::Starting { until } | Doing::Ending { until } => {
                Some(*until)
            }
            Doing::Idle { fetches_at, drains_at, .. } => Some(*fetches_at.min(drains_at)),
            Doing::Busy { until, reports_at, .. } => Some(*until.min(reports_at)),
            Doing::Hung => None,
            Doing::Gone => return None,
        };
        [own, self.timer(), self.interruption(), self.ends_job_at()].into_iter().flatten().min()
    }

    /// The boot script sets the timer first.
    fn timer(&self) -> Option<Timestamp> {
        let set = self.state() == MachineState::Up && !self.outcome.ignores_timer;
        set.then_some(self.boot.deadline)
    }

    fn becomes(&mut self, now: Timestamp, state: MachineState) {
        self.history.push((now, state));
    }

    /// Ends the machine, unless it is ending already.
    pub(super) fn end(&mut self, now: Timestamp, gone: Timestamp, by: EndedBy) {
        if self.is_live() {
            self.becomes(now, MachineState::Ending);
            self.ended_by = Some(by);
            if self.is_busy() {
                self.job_ended_at = Some(now);
            }
            self.doing = Doing::Ending { until: gone };
        }
    }

    /// Processes the next event. Returns a description if it is worth recording.
    pub(super) fn step(
        &mut self,
        now: Timestamp,
        gone: Timestamp,
        forge: &mut Forge,
        config: &Config,
    ) -> Option<String> {
        if self.interruption().is_some_and(|at| at <= now) {
            self.end(now, gone, EndedBy::Cloud);
            return Some("interrupted".to_owned());
        }
        if self.timer().is_some_and(|at| at <= now) {
            self.end(now, gone, EndedBy::Itself);
            return Some("powered off by its timer".to_owned());
        }
        if self.ends_job_at().is_some_and(|at| at <= now) {
            return self.end_job(now, forge);
        }
        match self.doing.clone() {
            Doing::Booting { .. } => {
                self.becomes(now, MachineState::Up);
                self.doing = if self.outcome.never_online {
                    Doing::Hung
                } else {
                    let late = self.outcome.starts_late.unwrap_or_default();
                    Doing::Starting { until: now + self.outcome.starts_in + late }
                };
                Some("up".to_owned())
            }
            Doing::Starting { .. } => self.start_runner(now, gone, forge, config),
            Doing::Idle { fetches_at, drains_at, tasks_version } => {
                if drains_at <= now || self.has_notice(now) {
                    self.end(now, gone, EndedBy::Itself);
                    return Some("drained while idle, powering off".to_owned());
                }
                assert!(fetches_at <= now, "fetches before its time");
                self.fetch(now, gone, drains_at, tasks_version, forge)
            }
            Doing::Busy { task, until, .. } => self.work(now, gone, task, until, forge),
            Doing::Ending { .. } => {
                self.becomes(now, MachineState::Gone);
                self.gone_at = Some(now);
                self.doing = Doing::Gone;
                Some("gone".to_owned())
            }
            Doing::Hung | Doing::Gone => None,
        }
    }

    /// Starts the runner, again after it failed, as the boot script does.
    fn start_runner(
        &mut self,
        now: Timestamp,
        gone: Timestamp,
        forge: &mut Forge,
        config: &Config,
    ) -> Option<String> {
        let again = self.started_at.is_some();
        let is_kept = if again { config.keeps_restarts } else { config.keeps_start_by };
        if is_kept && self.boot.start_by.is_some_and(|start_by| now > start_by) {
            self.end(now, gone, EndedBy::Itself);
            return Some("too late to start its runner, powering off".to_owned());
        }
        let first = *self.started_at.get_or_insert(now);
        let counts_from = if config.keeps_restarts { first } else { now };
        let drains_at = counts_from + self.boot.idle_within;
        if drains_at <= now {
            self.end(now, gone, EndedBy::Itself);
            return Some("drained before its runner took a job, powering off".to_owned());
        }
        if self.outcome.fails_first.is_some_and(|lasts| now < first + lasts) {
            self.doing = Doing::Starting { until: now + FAILED_AGAIN_AFTER };
            return (!again).then(|| "its runner fails".to_owned());
        }
        if forge.is_down(now) {
            self.end(now, gone, EndedBy::Itself);
            return Some("its runner cannot reach the forge, powering off".to_owned());
        }
        let (uuid, token) = (&self.runner.uuid, self.runner.token.expose());
        let labels: Vec<String> =
            self.runner.labels.iter().map(|l| label_name(l).to_owned()).collect();
        if forge.declare_labels(now, uuid, token, &labels).is_err() {
            self.end(now, gone, EndedBy::Itself);
            return Some("its runner is not registered, powering off".to_owned());
        }
        self.doing = if self.outcome.hangs_idle {
            Doing::Hung
        } else {
            Doing::Idle { fetches_at: now, drains_at, tasks_version: 0 }
        };
        Some("its runner is online".to_owned())
    }

    fn fetch(
        &mut self,
        now: Timestamp,
        gone: Timestamp,
        drains_at: Timestamp,
        tasks_version: i64,
        forge: &mut Forge,
    ) -> Option<String> {
        if forge.is_down(now) {
            let fetches_at = now + FETCH_EVERY;
            self.doing = Doing::Idle { fetches_at, drains_at, tasks_version };
            return None;
        }
        match forge.fetch(now, &self.runner.uuid, self.runner.token.expose(), tasks_version) {
            Err(_) => {
                self.end(now, gone, EndedBy::Itself);
                Some("its runner is no longer registered, powering off".to_owned())
            }
            Ok(fetched) => match fetched.task {
                Some(task) => {
                    let what = format!("takes job {}", task.job_id);
                    let until = now + task.spec.work;
                    self.doing = Doing::Busy { task, until, reports_at: now };
                    Some(what)
                }
                None => {
                    self.doing = Doing::Idle {
                        fetches_at: now + FETCH_EVERY,
                        drains_at,
                        tasks_version: fetched.tasks_version,
                    };
                    None
                }
            },
        }
    }

    fn work(
        &mut self,
        now: Timestamp,
        gone: Timestamp,
        task: Task,
        until: Timestamp,
        forge: &mut Forge,
    ) -> Option<String> {
        if forge.is_down(now) {
            // Reports wait until the server is back.
            let again = now + SILENT_REPORT_EVERY;
            let until = if until <= now { again } else { until };
            self.doing = Doing::Busy { task, until, reports_at: again };
            return None;
        }
        let result: Option<Conclusion> = (until <= now).then_some(task.spec.conclusion);
        let (uuid, token) = (&self.runner.uuid, self.runner.token.expose());
        let answer = forge.report(now, uuid, token, task.id, result);
        // The forge deletes the runner of a canceled job, which never hears of it and works on.
        let is_unaware = result.is_none() && forge.canceled_at(task.id).is_some();
        if is_unaware || matches!(answer, Ok(TaskState::Running)) {
            let every = if self.outcome.silent { SILENT_REPORT_EVERY } else { REPORT_EVERY };
            let reports_at = now + every;
            self.doing = Doing::Busy { task, until, reports_at };
            return None;
        }
        let what = match (&answer, result) {
            (Ok(_), Some(_)) => format!("job {} done", task.job_id),
            (Ok(_), None) => format!("job {} was ended by the forge", task.job_id),
            (Err(_), _) => format!("job {}: its runner is no longer registered", task.job_id),
        };
        self.job_ended_at = Some(now);
        self.done_task = Some(task.id);
        if self.outcome.hangs_after_job {
            self.doing = Doing::Hung;
            return Some(format!("{what}, hanging"));
        }
        self.end(now, gone, EndedBy::Itself);
        Some(format!("{what}, powering off"))
    }
}
