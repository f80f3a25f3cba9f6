//! Actions, and the state that follows from each.

use jiff::SignedDuration;
use tinqs_ci_reconciler::model::{Conclusion, MachineState, Run};

use crate::calls::begin;
use crate::hung;
use crate::possible::on_it;
use crate::reconcile::run_of;
use crate::scope::{Milestone, UserAction, World};
use crate::state::{
    Doing, Hashed, Job, Landing, RUNS, Replica, State, Vm, hash_of, index, new_run, now,
};
use crate::time::{self, older};

/// A thing that may happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// A replica begins a reconcile, and has read everything.
    Reconcile {
        replica: usize,
        run: usize,
    },
    /// A replica begins a reconcile, and has read only the record.
    ReadRecord {
        replica: usize,
        run: usize,
    },
    /// The next call of a reconcile.
    Call {
        replica: usize,
        reply: Reply,
    },
    Crash {
        replica: usize,
    },
    /// Time passes to the next moment at which a decision may change.
    Tick,
    /// The run of a waiting job is created.
    Notice {
        run: usize,
    },
    /// A machine is up, and its runner is online.
    Boot {
        machine: usize,
        hangs: bool,
    },
    /// The forge gives a machine a job.
    Take {
        machine: usize,
        job: usize,
        silent: bool,
    },
    /// A machine's job ends.
    Finish {
        machine: usize,
        hangs: bool,
    },
    /// An idle runner hangs.
    Stick {
        machine: usize,
    },
    /// An idle runner shuts down, or is no longer registered.
    Drain {
        machine: usize,
    },
    Die {
        machine: usize,
    },
    Gone {
        machine: usize,
    },
    BreakTimer {
        machine: usize,
    },
    /// The forge ends a job whose runner is lost.
    Zombie {
        job: usize,
    },
    /// A late launch reaches the cloud.
    Land {
        landing: usize,
    },
    Freeze,
    Thaw,
    /// Readings of the forge fail, and every busy flag falls.
    Outage,
    Person {
        run: usize,
        user_action: UserAction,
    },
}

/// The result of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Comes,
    Refused,
    Lost,
    NoCapacity,
    Limit,
    Late,
}

impl World {
    pub(crate) fn initial(&self) -> State {
        let there = |run: usize| run < self.scope.jobs;
        let mut state = State {
            runs: std::array::from_fn(|run| there(run).then(|| self.new_run(run, 1))),
            made: std::array::from_fn(|run| u8::from(there(run))),
            seats: Vec::new(),
            jobs: std::array::from_fn(|run| {
                if there(run) { Job::Waiting } else { Job::Done(Conclusion::Skipped) }
            }),
            rows: Vec::new(),
            machines: Vec::new(),
            landings: Vec::new(),
            replicas: std::array::from_fn(|_| Replica::default()),
            frozen_since: None,
            faults: self.scope.faults,
            user_actions: self.scope.user_actions,
            recorded: Vec::new(),
            registered: Vec::new(),
            broken: None,
        };
        canonical(&mut state, |_| true);
        state
    }

    fn new_run(&self, run: usize, made: u8) -> Hashed<Run> {
        Hashed::new(new_run(run, made, self.scope.repo_id(run)))
    }

    /// Applies an action.
    pub(crate) fn happen(&self, state: &mut State, action: &Action) {
        if self.costs(state, action) {
            state.faults = state.faults.saturating_sub(1);
        }
        let (runs, machines) = (state.runs.clone(), state.machines.len());
        match action {
            Action::Reconcile { replica, run } => {
                begin(state, *replica, *run);
                self.call(state, *replica, Reply::Comes);
            }
            Action::ReadRecord { replica, run } => begin(state, *replica, *run),
            Action::Call { replica, reply } => self.call(state, *replica, *reply),
            Action::Crash { replica } => state.replicas[*replica] = Replica::default(),
            Action::Tick => tick(state),
            Action::Notice { run } => {
                state.made[*run] += 1;
                state.runs[*run] = Some(self.new_run(*run, state.made[*run]));
            }
            Action::Boot { machine, hangs } => {
                let vm = &state.machines[*machine];
                let registered = state.rows.iter().any(|row| row.id == vm.registration);
                let starts = registered && !older(vm.start_by, SignedDuration::ZERO);
                state.machines[*machine].doing = match (hangs, starts) {
                    (true, _) => Doing::Dark,
                    (false, true) => Doing::Online,
                    (false, false) => Doing::Ending,
                };
            }
            Action::Take { machine, job, silent } => self.take(state, *machine, *job, *silent),
            Action::Finish { machine, hangs } => finish(state, *machine, *hangs),
            Action::Stick { machine } => state.machines[*machine].doing = Doing::Stuck,
            Action::Drain { machine } | Action::Die { machine } => {
                state.machines[*machine].doing = Doing::Ending;
            }
            Action::Gone { machine } => state.machines[*machine].doing = Doing::Gone,
            Action::BreakTimer { machine } => state.machines[*machine].timer_broken = true,
            Action::Zombie { job } => {
                if let Job::Running { registration, .. } = state.jobs[*job] {
                    state.rows.retain(|row| row.id != registration);
                }
                state.jobs[*job] = Job::Done(Conclusion::Failure);
            }
            Action::Land { landing } => {
                let Landing { attempt_id, placement, attempt, sent_at: _ } =
                    state.landings.remove(*landing);
                self.came(Milestone::LandedLate);
                self.launch(state, &attempt_id, placement, &attempt);
            }
            Action::Freeze => state.frozen_since = Some(now()),
            Action::Thaw => state.frozen_since = None,
            Action::Outage => hung::outage(state),
            Action::Person { run, user_action } => {
                state.user_actions -= 1;
                person(state, *run, *user_action);
            }
        }
        let all = state.machines.len() != machines || concerns_all(action);
        let changed: [bool; RUNS] = std::array::from_fn(|run| {
            all || match (&runs[run], &state.runs[run]) {
                (Some(before), Some(after)) => !before.is(after),
                (None, None) => false,
                (Some(_), None) | (None, Some(_)) => true,
            }
        });
        canonical(state, |run| changed[run]);
    }

    fn take(&self, state: &mut State, machine: usize, job: usize, silent: bool) {
        let vm = &mut state.machines[machine];
        vm.doing = Doing::Busy { job, silent };
        let (registration, runner) = (vm.registration, vm.attempt_id.to_string());
        let own = run_of(&vm.attempt_id);
        if own != job {
            self.came(Milestone::Displaced);
        }
        if self.scope.repo_id(own) != self.scope.repo_id(job) {
            state.break_law(|| format!("L10: {runner}: got a job of another repository"));
        }
        state.jobs[job] = Job::Running { registration, runner };
        for row in state.rows.iter_mut().filter(|row| row.id == registration) {
            row.used = true;
        }
    }
}

/// Returns whether records may hold less after an action: time passes, or a promise matters no more.
fn concerns_all(action: &Action) -> bool {
    matches!(
        action,
        Action::Tick
            | Action::Freeze
            | Action::Thaw
            | Action::Outage
            | Action::Take { .. }
            | Action::Finish { .. }
            | Action::Drain { .. }
            | Action::Die { .. }
    )
}

/// Normalizes a state: states become equal if no decision can distinguish them.
fn canonical(state: &mut State, changed: impl Fn(usize) -> bool) {
    if state.frozen_since.is_none() {
        state.machines.iter_mut().for_each(|m| m.listed = Some(m.state()));
    }
    forget_gone(state);
    versions(state);
    for replica in &mut state.replicas {
        // Since when one is missing matters only for a machine that is live or listed as live.
        let counts = |m: &Vm| m.is_live() || m.listed != Some(m.state());
        let of_it = |id: i64| state.machines.iter().any(|m| m.registration == id && counts(m));
        replica.missing.retain(|(id, _)| of_it(*id));
        replica.missing.sort();
        replica.disabled.retain(|(id, _)| of_it(*id));
        replica.disabled.sort();
        replica.unavailable.retain(|s| s.until > now());
        replica.unavailable.sort_by_key(|s| (s.until, s.machine.kind.clone()));
    }
    state.machines.sort_by(|a, b| (&a.attempt_id, a.placement).cmp(&(&b.attempt_id, b.placement)));
    state.rows.sort();
    state.landings.sort_by_key(|l| (l.attempt_id.clone(), l.placement, l.sent_at));
    time::forget(state, changed);
    hung::forget_failures(state);
    state.replicas.sort_by_key(hash_of);
}

/// Forgets terminated machines that nothing refers to: they are listed for longer than anything
/// waits.
fn forget_gone(state: &mut State) {
    let State { runs, seats, rows, machines, landings, .. } = state;
    let asked_for = |m: &Vm| {
        let run =
            runs[run_of(&m.attempt_id)].as_ref().filter(|r| r.uid.short() == m.attempt_id.uid);
        let recorded = run.is_some_and(|run| {
            let past = run.status.past.iter().map(|p| p.number);
            let mut numbers = past.chain(run.status.attempt.iter().map(|a| a.number));
            numbers.any(|number| number == m.attempt_id.number)
        });
        recorded
            || seats.iter().any(|(attempt_id, _)| *attempt_id == m.attempt_id)
            || rows.iter().any(|row| row.attempt_id == m.attempt_id)
            || landings.iter().any(|landing| landing.attempt_id == m.attempt_id)
    };
    machines
        .retain(|m| m.doing != Doing::Gone || m.listed != Some(MachineState::Gone) || asked_for(m));
}

/// Normalizes versions, of which only equality matters: a record has version 1, and a reconcile has
/// read either that or 0.
fn versions(state: &mut State) {
    for run in 0..RUNS {
        let there = state.runs[run].as_ref().map(|r| (r.uid, r.version));
        for replica in &mut state.replicas {
            let Some(reconcile) = replica.reconcile.take_if(|reconcile| reconcile.run == run)
            else {
                continue;
            };
            let read = reconcile.stored.as_ref().map(|r| (r.uid, r.version));
            let version = u64::from(read == there);
            if read.is_none_or(|(_, v)| v == version) {
                replica.reconcile = Some(reconcile);
                continue;
            }
            let mut reconcile = reconcile.into_inner();
            reconcile.stored.iter_mut().for_each(|r| r.version = version);
            reconcile.seen.run.iter_mut().for_each(|r| r.version = version);
            replica.reconcile = Some(Hashed::new(reconcile));
        }
        if let Some(record) = state.runs[run].take_if(|r| r.version != 1) {
            let mut record = record.into_inner();
            record.version = 1;
            state.runs[run] = Some(Hashed::new(record));
        }
    }
}

fn finish(state: &mut State, machine: usize, hangs: bool) {
    let vm = &mut state.machines[machine];
    let Doing::Busy { job, silent: _ } = vm.doing else { return };
    vm.doing = if hangs { Doing::Spent } else { Doing::Ending };
    let vm = &state.machines[machine];
    let own = vm.registration;
    // A runner that is not registered cannot report a success.
    if on_it(&state.jobs[job], vm) && state.rows.iter().any(|row| row.id == own) {
        state.jobs[job] = Job::Done(Conclusion::Success);
    }
    state.rows.retain(|row| row.id != own);
}

fn tick(state: &mut State) {
    let Some(step) = time::next_step(state) else { return };
    time::pass(state, step);
    for vm in &mut state.machines {
        if vm.is_live() && !vm.timer_broken && vm.deadline <= now() {
            vm.doing = Doing::Ending;
        }
    }
    let old = |at, waits: &[SignedDuration]| older(at, waits[0]);
    state.landings.retain(|landing| !old(landing.sent_at, time::SIGNED));
    if state.frozen_since.is_some_and(|at| old(at, time::FROZEN)) {
        state.frozen_since = None;
    }
    // The rest of a reconcile is dropped after a minute.
    for replica in &mut state.replicas {
        replica.reconcile.take_if(|reconcile| old(reconcile.seen.now, time::RECONCILE));
    }
}

pub(crate) fn person(state: &mut State, run: usize, user_action: UserAction) {
    let record = |state: &mut State, change: &dyn Fn(&mut Run)| {
        if let Some(there) = &state.runs[run] {
            let before = (**there).clone();
            let mut new = before.clone();
            change(&mut new);
            new.version = 2;
            time::forget_in(&mut new);
            state.on_put(Some(&before), &new);
            state.runs[run] = Some(Hashed::new(new));
        }
    };
    match user_action {
        UserAction::Cancel => {
            state.jobs[run] = Job::Done(Conclusion::Cancelled);
        }
        UserAction::Rerun => state.jobs[run] = Job::Waiting,
        UserAction::Delete => record(state, &|r| r.delete(now(), false, None)),
        UserAction::DeleteNow => record(state, &|r| r.delete(now(), true, None)),
        UserAction::Retry => record(state, &|r| r.retry(now(), None)),
        UserAction::Unregister => {
            if let Some(at) = state.rows.iter().position(|row| index(&row.attempt_id.run) == run) {
                state.rows.remove(at);
            }
        }
    }
}
