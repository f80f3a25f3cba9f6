//! A reconcile, call by call, like that of the controller: reads, then rounds of free, prepare,
//! put, act, record. Anything may happen between two calls.

use std::collections::VecDeque;

use jiff::{SignedDuration, Timestamp};
use tinqs_ci_reconciler::model::{
    AttemptId, BootPromise, ClassName, ClockCheck, InstallationId, Job as SeenJob, JobTimes,
    Machine, MachineId, MachineState, Observation, ObservedClass, Phase, Placement, Reason,
    Registration, Registrations, Run,
};
use tinqs_ci_reconciler::plan::{Action, Plan, Prepare, Rule, VISIBLE_WITHIN};

use crate::hung::{self, IDLE_WITHIN};
use crate::scope::World;
use crate::state::{Doing, Job, Replica, State, Vm, index, name, now};
use crate::variant::Variant;

/// The maximum number of rounds: six, and two for each of the class's two machines.
const ROUNDS: u8 = 10;

/// A reconcile in progress.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Reconcile {
    pub(crate) run: usize,
    pub(crate) seen: Observation,
    /// The record in the store; version 0 if it has changed since.
    pub(crate) stored: Option<Run>,
    /// The remaining calls of this round.
    pub(crate) steps: VecDeque<Step>,
    pub(crate) prepare: Option<Prepare>,
    /// Whether another round may find more to do.
    pub(crate) more: bool,
    pub(crate) rule: Rule,
    pub(crate) round: u8,
    /// Issued effects; each is issued at most once.
    pub(crate) issued: Vec<String>,
}

/// A call.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Step {
    /// All reads after the record.
    Observe,
    Free(Action),
    Seat,
    Register,
    Put,
    Launch {
        attempt_id: AttemptId,
        placement: u32,
    },
    Remove,
}

impl Reconcile {
    /// Begins a reconcile that has read its record.
    pub(crate) fn begin(state: &State, run: usize) -> Self {
        let stored = state.runs[run].as_ref().map(|r| (**r).clone());
        let seen = Observation {
            now: now(),
            clock: ClockCheck::Agrees,
            installation: InstallationId::of("model"),
            name: name(run),
            run: stored.clone(),
            job: SeenJob::Unobservable,
            times: JobTimes::default(),
            recorded_here: None,
            machines: Vec::new(),
            registrations: Registrations::Unknown,
            seats: Vec::new(),
            turn_of: Vec::new(),
            room: true,
            forge_read: None,
            at_work: Vec::new(),
            canceled: Vec::new(),
            elsewhere: None,
            rerun: None,
            no_replacement: false,
            nearest: None,
            class: None,
        };
        Self {
            run,
            seen,
            stored,
            steps: VecDeque::from([Step::Observe]),
            prepare: None,
            more: true,
            rule: Rule::NoRecord,
            round: 0,
            issued: Vec::new(),
        }
    }

    /// Reads the rest, and the record again after it if needed.
    pub(crate) fn observe(&mut self, state: &State, replica: &mut Replica, world: &World) {
        self.steps.pop_front();
        self.read(state, replica, world);
        let uid = self.seen.run.as_ref().map(|r| r.uid.short());
        let machines = self.seen.machines.iter().map(|m| &m.attempt_id);
        let rows = self.seen.registrations.seen().iter().map(|r| &r.attempt_id);
        let seats = self.seen.seats.iter().map(|(_, attempt_id)| attempt_id);
        let strangers = machines
            .chain(rows)
            .chain(seats)
            .any(|attempt_id| Some(&attempt_id.uid) != uid.as_ref());
        if (uid.is_some() && !strangers) || world.variant == Variant::NoSecondReading {
            return;
        }
        let there = state.runs[self.run].as_ref().map(|r| (r.uid, r.version));
        if there != self.stored.as_ref().map(|r| (r.uid, r.version)) {
            self.stored = state.runs[self.run].as_ref().map(|r| (**r).clone());
            self.seen.run.clone_from(&self.stored);
            self.read(state, replica, world);
        }
    }

    fn read(&mut self, state: &State, replica: &mut Replica, world: &World) {
        let class = &world.class;
        let name = name(self.run);
        let seen = &mut self.seen;
        seen.machines = state
            .machines
            .iter()
            .filter(|m| m.attempt_id.run == name)
            .filter_map(|m| Some(seen_machine(m, m.listed?)))
            .collect();
        let rows = state.rows.iter().filter(|r| r.attempt_id.run == name);
        let rows: Vec<Registration> = rows
            .map(|row| {
                let of_it = || state.machines.iter().filter(|m| m.registration == row.id);
                let online =
                    |m: &Vm| matches!(m.doing, Doing::Online | Doing::Stuck | Doing::Busy { .. });
                Registration {
                    repo_id: row.repo_id,
                    id: row.id,
                    attempt_id: row.attempt_id.clone(),
                    uuid: None,
                    online: of_it().any(online),
                    busy: of_it().any(|m| matches!(m.doing, Doing::Busy { silent: false, .. })),
                    disabled: Some(row.disabled_at.is_some()),
                    disabled_since: hung::disabled_since(replica, row),
                    missing_since: None,
                }
            })
            .collect();
        seen.forge_read = Some(hung::forge_read(world, replica));
        seen.at_work = hung::at_work(world, state, self.run);
        seen.job = match (&seen.run, &state.jobs[self.run]) {
            (None, _) => SeenJob::Unobservable,
            (_, Job::Waiting) => SeenJob::Waiting,
            (_, Job::Running { runner, .. }) => SeenJob::Running { runner: runner.clone() },
            (_, Job::Done(conclusion)) => SeenJob::Done { conclusion: *conclusion },
        };
        // The other run gives no machine back if it never launched one.
        let others = state.runs.iter().enumerate().filter(|(n, _)| *n != self.run);
        let empty = |r: &Run| r.status.attempt.is_none() && r.status.phase != Phase::Waiting;
        seen.no_replacement = others.filter_map(|(_, r)| r.as_deref()).any(empty);
        let class_name = class.name.clone();
        let of_run = state.seats.iter().filter(|(attempt_id, _)| attempt_id.run == name);
        seen.seats =
            of_run.map(|(attempt_id, _)| (class_name.clone(), attempt_id.clone())).collect();
        let unavailable: Vec<_> =
            replica.unavailable.iter().filter(|s| s.until > seen.now).cloned().collect();
        let class = class.clone();
        let observed = ObservedClass { unavailable, ..class.into() };
        seen.class = seen.run.as_ref().map(|_| observed);
        seen.registrations = Registrations::Seen(rows);
        ask_for_registrations(seen, replica);
        ask_for_machines(seen, &class_name, world.variant);
    }

    /// Advances to the next call. Returns whether there is one.
    pub(crate) fn go_on(&mut self, variant: Variant) -> bool {
        loop {
            while let Some(step) = self.steps.front() {
                let skipped = match step {
                    Step::Free(action) => self.issued.contains(&format!("{action:?}")),
                    Step::Put => !self.worth_writing(),
                    Step::Launch { attempt_id, placement } => {
                        let token = attempt_id.token(*placement);
                        self.issued.contains(&token) || self.attempt().is_none()
                    }
                    Step::Observe | Step::Seat | Step::Register | Step::Remove => false,
                };
                if !skipped {
                    return true;
                }
                self.steps.pop_front();
            }
            if !self.more || self.round == ROUNDS {
                return false;
            }
            self.round += 1;
            let plan = variant.plan(&self.seen);
            self.take_up(plan, variant);
        }
    }

    fn take_up(&mut self, plan: Plan, variant: Variant) {
        let Plan { rule, status, prepare, actions } = plan;
        let launch = |a: &Action| matches!(a, Action::Launch { .. } | Action::Remove);
        let (act, free): (Vec<Action>, Vec<Action>) = actions.into_iter().partition(launch);
        let is_new = |a: &Action| {
            matches!(a, Action::Disable { .. }) && !self.issued.contains(&format!("{a:?}"))
        };
        let disables = free.iter().any(is_new);
        self.steps = free.into_iter().map(Step::Free).collect();
        self.more = false;
        self.rule = rule;
        let (Some(status), Some(run)) = (status, &mut self.seen.run) else {
            if act.contains(&Action::Remove) && self.stored.is_some() {
                self.steps.push_back(Step::Remove);
            }
            return;
        };
        run.status = status;
        self.more = disables || matches!(rule, Rule::Reopen | Rule::NextPlacement);
        if let Some(prepare) = &prepare {
            if prepare.seat.is_some() {
                self.steps.push_back(Step::Seat);
            }
            self.steps.push_back(Step::Register);
            if variant == Variant::LaunchBeforeRecord {
                let attempt_id = prepare.attempt_id.clone();
                self.steps.push_back(Step::Launch { attempt_id, placement: 0 });
            }
        }
        self.prepare = prepare;
        self.steps.push_back(Step::Put);
        for action in act {
            if let Action::Launch { attempt_id, placement } = action {
                self.steps.push_back(Step::Launch { attempt_id, placement });
            }
        }
    }

    /// Forgets what no decision reads, and what would make states differ by when things happened.
    pub(crate) fn forget_timelines(&mut self) {
        for run in self.seen.run.iter_mut().chain(&mut self.stored) {
            run.status.timeline.clear();
        }
    }

    pub(crate) fn attempt(&self) -> Option<&tinqs_ci_reconciler::model::Attempt> {
        self.seen.run.as_ref().and_then(|r| r.status.attempt.as_ref())
    }

    /// Records that this reconcile has written the current placement.
    pub(crate) fn recorded(&mut self) {
        self.seen.recorded_here = self.attempt().map(|a| (a.number, a.current()));
    }

    /// Returns whether more than the due changed.
    fn worth_writing(&self) -> bool {
        let (Some(run), Some(stored)) = (&self.seen.run, &self.stored) else { return false };
        let mut same_due = run.status.clone();
        same_due.due = stored.status.due;
        let due_soon = run.is_open() || run.deleted_at.is_some();
        let scrambled = !due_soon && stored.status.due != run.status.due;
        // Messages of conditions are for people, and the model does not store them.
        for condition in &mut same_due.conditions {
            let told = stored.status.conditions.iter().find(|c| c.reason == condition.reason);
            if let Some(told) = told {
                condition.clone_from(told);
            }
        }
        same_due != stored.status || scrambled
    }
}

/// Returns a machine as the cloud shows it.
pub(crate) fn seen_machine(machine: &Vm, state: MachineState) -> Machine {
    Machine {
        id: MachineId(machine.attempt_id.token(machine.placement)),
        attempt_id: machine.attempt_id.clone(),
        placement: machine.placement,
        state,
        launched_at: machine.launched_at,
        deadline: machine.deadline,
        registration: machine.registration,
        repo_id: machine.repo_id,
        promise: Some(BootPromise {
            start_by: machine.start_by,
            idle_within: IDLE_WITHIN,
            hold: SignedDuration::ZERO,
        }),
        ended_by: None,
        ended_at: None,
        state_reason: None,
        class: ClassName("linux".to_owned()),
        kind: String::new(),
        zone: String::new(),
        market: tinqs_ci_reconciler::model::Market::Spot,
    }
}

/// Reads registrations that matter and are not listed by their ID.
fn ask_for_registrations(seen: &mut Observation, replica: &mut Replica) {
    let Registrations::Seen(rows) = &mut seen.registrations else { return };
    let open = seen.run.as_ref().filter(|run| run.status.phase != Phase::Finished);
    let attempt = open.and_then(|run| run.status.attempt.as_ref().map(|a| (run, a)));
    let attempt = attempt.filter(|(_, a)| a.ended.is_none());
    let own = attempt.map(|(run, a)| (a.runner.id, run.attempt_id(a.number)));
    let live = seen.machines.iter().filter(|m| m.is_live());
    let mut wanted: Vec<(i64, AttemptId)> = own
        .into_iter()
        .chain(live.map(|m| (m.registration, m.attempt_id.clone())))
        .filter(|(id, _)| !rows.iter().any(|r| r.id == *id))
        .collect();
    wanted.sort();
    wanted.dedup_by_key(|(id, _)| *id);
    for (id, attempt_id) in wanted {
        let known = replica.missing.iter().find(|(missing, _)| *missing == id);
        let since: Timestamp = known.map_or(seen.now, |(_, since)| *since);
        if known.is_none() {
            replica.missing.push((id, since));
        }
        rows.push(Registration {
            repo_id: 0,
            id,
            attempt_id,
            uuid: None,
            online: false,
            busy: false,
            disabled: None,
            disabled_since: None,
            missing_since: Some(since),
        });
    }
}

/// Adds launched machines that must be visible and are not listed as gone.
fn ask_for_machines(seen: &mut Observation, class: &ClassName, variant: Variant) {
    let Some(run) = &seen.run else { return };
    let mut gone = Vec::new();
    let rows = seen.registrations.seen();
    let held = |attempt_id: &AttemptId| {
        seen.seats.iter().any(|(_, s)| s == attempt_id)
            || rows.iter().any(|r| r.attempt_id == *attempt_id && r.missing_since.is_none())
    };
    let listed = |attempt_id: &AttemptId, placement: usize| {
        seen.machines
            .iter()
            .any(|m| m.attempt_id == *attempt_id && m.placement as usize == placement)
    };
    let mut add = |attempt_id: &AttemptId, placement: usize, at: Timestamp, registration: i64| {
        let visible = seen.now > at + VISIBLE_WITHIN || variant == Variant::GoneWhenUnlisted;
        if listed(attempt_id, placement) || !visible {
            return;
        }
        let placement = u32::try_from(placement).expect("two placements");
        gone.push(Machine {
            id: MachineId(attempt_id.token(placement)),
            attempt_id: attempt_id.clone(),
            placement,
            state: MachineState::Gone,
            launched_at: at,
            deadline: at,
            registration,
            repo_id: 0,
            promise: None,
            ended_by: None,
            ended_at: None,
            state_reason: None,
            class: class.clone(),
            kind: String::new(),
            zone: String::new(),
            market: tinqs_ci_reconciler::model::Market::Spot,
        });
    };
    if let Some(attempt) = &run.status.attempt {
        let attempt_id = run.attempt_id(attempt.number);
        let matters = attempt.ended.is_none() && seen.job == SeenJob::Waiting;
        let told = run.status.reason().is_some_and(Reason::is_lost);
        let runner = attempt_id.to_string();
        let at_work = matches!(&seen.job, SeenJob::Running { runner: r } if *r == runner) && !told;
        if matters || at_work || held(&attempt_id) {
            for (index, Placement { answered, .. }) in attempt.placements.iter().enumerate() {
                if let Some(answer) = answered {
                    add(&attempt_id, index, answer.at, attempt.runner.id);
                }
            }
        }
    }
    for past in &run.status.past {
        let attempt_id = run.attempt_id(past.number);
        for (index, placement) in past.placements.iter().enumerate() {
            if let Some(answer) = placement.answered.as_ref().filter(|_| held(&attempt_id)) {
                add(&attempt_id, index, answer.at, past.registration);
            }
        }
    }
    seen.machines.extend(gone);
}

/// Returns the index of the run of an attempt.
pub(crate) fn run_of(attempt_id: &AttemptId) -> usize {
    index(&attempt_id.run)
}
