//! Actions that may happen next.

use jiff::SignedDuration;

use crate::hung::{outage_matters, waits_for};
use crate::reconcile::Step;
use crate::scope::{Fault, UserAction, World};
use crate::state::{Doing, Job, REPLICAS, RUNS, Replica, Row, State, Vm, index};
use crate::time::{self, older};
use crate::world::{Action, Reply};

impl World {
    /// Adds all actions that may happen.
    pub(crate) fn possible(&self, state: &State, actions: &mut Vec<Action>) {
        if state.broken.is_some() {
            return;
        }
        self.possible_reconciles(state, actions);
        self.possible_on_machines(state, actions);
        let fault = |kind| self.may(state, kind);
        for run in 0..self.scope.jobs {
            if state.runs[run].is_none() && state.jobs[run] == Job::Waiting {
                actions.push(Action::Notice { run });
            }
            if is_zombie(state, run) {
                actions.push(Action::Zombie { job: run });
            }
            for user_action in
                self.scope.user_action_kinds.iter().filter(|_| state.user_actions > 0)
            {
                if makes_sense(state, run, *user_action) {
                    actions.push(Action::Person { run, user_action: *user_action });
                }
            }
        }
        for landing in 0..state.landings.len() {
            actions.push(Action::Land { landing });
        }
        if state.frozen_since.is_some() {
            actions.push(Action::Thaw);
        } else if fault(Fault::Freeze) {
            actions.push(Action::Freeze);
        }
        if fault(Fault::Outage) && outage_matters(state) {
            actions.push(Action::Outage);
        }
        let at_work = state.replicas.iter().any(|r| r.reconcile.is_some());
        if (!at_work || fault(Fault::Pause)) && self.may_time_pass(state) {
            actions.push(Action::Tick);
        }
    }

    fn may(&self, state: &State, kind: Fault) -> bool {
        state.faults > 0 && self.scope.fault_kinds.contains(&kind)
    }

    fn possible_reconciles(&self, state: &State, actions: &mut Vec<Action>) {
        let fault = |kind| self.may(state, kind);
        let under_way = state.replicas.iter().filter(|r| r.reconcile.is_some()).count();
        for replica in 0..REPLICAS {
            let Replica { missing: _, disabled: _, unavailable: _, failed_at: _, reconcile } =
                &state.replicas[replica];
            let Some(reconcile) = reconcile else {
                // Replicas with equal caches are interchangeable.
                let same = replica > 0 && state.replicas[replica] == state.replicas[replica - 1];
                if same || under_way >= self.scope.reconciles {
                    continue;
                }
                for run in 0..self.scope.jobs {
                    actions.push(Action::Reconcile { replica, run });
                    if fault(Fault::SlowRead) {
                        actions.push(Action::ReadRecord { replica, run });
                    }
                }
                continue;
            };
            let call = |reply| Action::Call { replica, reply };
            actions.push(call(Reply::Comes));
            if fault(Fault::Crash) {
                actions.push(Action::Crash { replica });
            }
            let step = reconcile.steps.front();
            if step.is_none_or(|s| *s == Step::Observe) {
                continue;
            }
            if fault(Fault::Refused) {
                actions.push(call(Reply::Refused));
            }
            if fault(Fault::ReplyLost) {
                actions.push(call(Reply::Lost));
            }
            if matches!(step, Some(Step::Launch { .. })) {
                for (kind, reply) in [
                    (Fault::NoCapacity, Reply::NoCapacity),
                    (Fault::Limit, Reply::Limit),
                    (Fault::LateLaunch, Reply::Late),
                ] {
                    if fault(kind) {
                        actions.push(call(reply));
                    }
                }
            }
        }
    }

    fn possible_on_machines(&self, state: &State, actions: &mut Vec<Action>) {
        let fault = |kind| self.may(state, kind);
        for (machine, vm) in state.machines.iter().enumerate() {
            match vm.doing {
                Doing::Booting => {
                    actions.push(Action::Boot { machine, hangs: false });
                    if fault(Fault::Hang) {
                        actions.push(Action::Boot { machine, hangs: true });
                    }
                }
                Doing::Online => {
                    for job in (0..RUNS).filter(|job| self.may_take(state, vm, *job)) {
                        actions.push(Action::Take { machine, job, silent: false });
                        if fault(Fault::Silent) {
                            actions.push(Action::Take { machine, job, silent: true });
                        }
                    }
                    if !self.serves(state, vm) || fault(Fault::NotAssigned) {
                        actions.push(Action::Drain { machine });
                    }
                    if fault(Fault::Hang) {
                        actions.push(Action::Stick { machine });
                    }
                }
                Doing::Busy { .. } => {
                    actions.push(Action::Finish { machine, hangs: false });
                    if fault(Fault::Hang) {
                        actions.push(Action::Finish { machine, hangs: true });
                    }
                }
                Doing::Dark | Doing::Stuck | Doing::Spent => {
                    if fault(Fault::BrokenTimer) && !vm.timer_broken {
                        actions.push(Action::BreakTimer { machine });
                    }
                }
                Doing::Ending => actions.push(Action::Gone { machine }),
                Doing::Gone => {}
            }
            if vm.is_live() && fault(Fault::Die) {
                actions.push(Action::Die { machine });
            }
        }
    }
}

pub(crate) fn on_it(job: &Job, vm: &Vm) -> bool {
    matches!(job, Job::Running { registration, .. } if *registration == vm.registration)
}

pub(crate) fn is_zombie(state: &State, job: usize) -> bool {
    let Job::Running { registration, .. } = &state.jobs[job] else { return false };
    let works = |m: &Vm| m.registration == *registration && m.is_busy();
    !state.machines.iter().any(works)
}

impl World {
    /// Returns whether the forge may give a machine a job: it waits, and the registration serves its
    /// repository.
    pub(crate) fn may_take(&self, state: &State, vm: &Vm, job: usize) -> bool {
        let repo_id = self.scope.repo_id(job);
        let serves = |row: &Row| row.repo_id == 0 || row.repo_id == repo_id;
        let is_free = |row: &Row| !row.used && row.disabled_at.is_none();
        let usable = |row: &Row| row.id == vm.registration && is_free(row);
        state.jobs[job] == Job::Waiting && state.rows.iter().any(|row| usable(row) && serves(row))
    }

    /// Returns whether a job waits that a machine may take.
    pub(crate) fn serves(&self, state: &State, vm: &Vm) -> bool {
        (0..RUNS).any(|job| self.may_take(state, vm, job))
    }

    /// Returns whether time may pass: not over something that would have happened by then.
    fn may_time_pass(&self, state: &State) -> bool {
        let Some(step) = time::next_step(state) else { return false };
        state.machines.iter().all(|vm| match vm.doing {
            Doing::Booting => !older(vm.launched_at - step, SignedDuration::from_mins(5)),
            Doing::Online => {
                !self.serves(state, vm)
                    && !older(vm.launched_at - step, SignedDuration::from_mins(8))
                    && !older(vm.start_by - step, waits_for())
            }
            // Its next report shows it that its job or its registration was ended from outside.
            Doing::Busy { job, .. } => {
                let registered = state.rows.iter().any(|row| row.id == vm.registration);
                registered && on_it(&state.jobs[job], vm)
            }
            Doing::Ending => false,
            Doing::Dark | Doing::Stuck | Doing::Spent | Doing::Gone => true,
        })
    }

    /// Returns whether an action is a fault.
    pub(crate) fn costs(&self, state: &State, action: &Action) -> bool {
        match action {
            Action::Reconcile { .. }
            | Action::Notice { .. }
            | Action::Gone { .. }
            | Action::Zombie { .. }
            | Action::Land { .. }
            | Action::Thaw
            | Action::Person { .. } => false,
            Action::ReadRecord { .. }
            | Action::Crash { .. }
            | Action::Stick { .. }
            | Action::Die { .. }
            | Action::BreakTimer { .. }
            | Action::Outage
            | Action::Freeze => true,
            Action::Call { reply, .. } => *reply != Reply::Comes,
            Action::Tick => state.replicas.iter().any(|r| r.reconcile.is_some()),
            Action::Boot { hangs, .. } | Action::Finish { hangs, .. } => *hangs,
            Action::Take { silent, .. } => *silent,
            Action::Drain { machine } => self.serves(state, &state.machines[*machine]),
        }
    }
}

fn makes_sense(state: &State, run: usize, user_action: UserAction) -> bool {
    let record = state.runs[run].as_ref();
    match user_action {
        UserAction::Cancel => !matches!(state.jobs[run], Job::Done(_)),
        UserAction::Rerun => matches!(state.jobs[run], Job::Done(_)),
        UserAction::Delete => record.is_some_and(|r| r.deleted_at.is_none()),
        UserAction::DeleteNow => record.is_some_and(|r| !r.terminate_now),
        UserAction::Retry => record.is_some(),
        UserAction::Unregister => state.rows.iter().any(|row| index(&row.attempt_id.run) == run),
    }
}
