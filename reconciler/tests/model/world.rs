//! What may happen next, and what then is: the calls of the looks, and the world by itself.

use jiff::SignedDuration;
use tinqs_ci_reconciler::class::Shortage;
use tinqs_ci_reconciler::observation::{Conclusion, InstanceState, Registrations};
use tinqs_ci_reconciler::plan::{Action as Effect, Row};
use tinqs_ci_reconciler::ports::ErrorKind;
use tinqs_ci_reconciler::record;
use tinqs_ci_reconciler::run::{Attempt, Run, Runner, Secret, Slot};

use crate::look::{Look, Step, instance, run_of};
use crate::scope::{Came, Deed, Fault, World};
use crate::state::{
    Doing, Hashed, Job, Landing, REPLICAS, RUNS, Replica, Row as ForgeRow, State, Vm, hash_of,
    index, new_run, now, repo,
};
use crate::time::{self, older};
use crate::variant::Variant;

/// A thing that happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// A replica looks at a run: it has read all, and not made a call that changes anything.
    Look {
        replica: usize,
        run: usize,
    },
    /// It has read the record alone.
    ReadRecord {
        replica: usize,
        run: usize,
    },
    /// The next call of its look.
    Call {
        replica: usize,
        reply: Reply,
    },
    Crash {
        replica: usize,
    },
    /// Time passes to the next moment that may make a difference.
    Tick,
    /// A job waits and has no run.
    Notice {
        run: usize,
    },
    /// A machine is up and its runner online.
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
    /// A machine's job is over.
    Finish {
        machine: usize,
        hangs: bool,
    },
    /// A runner hangs, idle.
    Stick {
        machine: usize,
    },
    /// An idle runner drains itself, or is no longer registered.
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
    /// The forge gives up a job whose runner is lost.
    Zombie {
        job: usize,
    },
    /// A launch reaches the cloud at last.
    Land {
        landing: usize,
    },
    Freeze,
    Thaw,
    Person {
        run: usize,
        deed: Deed,
    },
}

/// What a call comes to.
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
            runs: std::array::from_fn(|run| there(run).then(|| Hashed::new(new_run(run, 1)))),
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
            deeds: self.scope.deeds,
            recorded: Vec::new(),
            registered: Vec::new(),
            broken: None,
        };
        canonical(&mut state, |_| true);
        state
    }

    /// All that may happen.
    pub(crate) fn possible(&self, state: &State, actions: &mut Vec<Action>) {
        if state.broken.is_some() {
            return;
        }
        self.possible_looks(state, actions);
        self.possible_on_machines(state, actions);
        let fault = |kind| self.may(state, kind);
        for run in 0..self.scope.jobs {
            if state.runs[run].is_none() && state.jobs[run] == Job::Waiting {
                actions.push(Action::Notice { run });
            }
            if is_zombie(state, run) {
                actions.push(Action::Zombie { job: run });
            }
            for deed in self.scope.deed_kinds.iter().filter(|_| state.deeds > 0) {
                if makes_sense(state, run, *deed) {
                    actions.push(Action::Person { run, deed: *deed });
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
        let at_work = state.replicas.iter().any(|r| r.look.is_some());
        if (!at_work || fault(Fault::Pause)) && may_time_pass(state) {
            actions.push(Action::Tick);
        }
    }

    fn may(&self, state: &State, kind: Fault) -> bool {
        state.faults > 0 && self.scope.fault_kinds.contains(&kind)
    }

    fn possible_looks(&self, state: &State, actions: &mut Vec<Action>) {
        let fault = |kind| self.may(state, kind);
        let under_way = state.replicas.iter().filter(|r| r.look.is_some()).count();
        for replica in 0..REPLICAS {
            let Replica { missing: _, short: _, look } = &state.replicas[replica];
            let Some(look) = look else {
                // Two replicas that remember the same are one.
                let same = replica > 0 && state.replicas[replica] == state.replicas[replica - 1];
                if same || under_way >= self.scope.looks {
                    continue;
                }
                for run in 0..self.scope.jobs {
                    actions.push(Action::Look { replica, run });
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
            let step = look.steps.front();
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
                    let job = state.jobs.iter().any(|job| *job == Job::Waiting);
                    let serves = job && usable(state, vm);
                    for job in (0..RUNS).filter(|j| serves && state.jobs[*j] == Job::Waiting) {
                        actions.push(Action::Take { machine, job, silent: false });
                        if fault(Fault::Silent) {
                            actions.push(Action::Take { machine, job, silent: true });
                        }
                    }
                    if !serves || fault(Fault::NotAssigned) {
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

    /// Lets a thing happen.
    pub(crate) fn happen(&self, state: &mut State, action: &Action) {
        if costs(state, action) {
            state.faults = state.faults.saturating_sub(1);
        }
        let (runs, machines) = (state.runs.clone(), state.machines.len());
        match action {
            Action::Look { replica, run } => {
                self.begin(state, *replica, *run);
                self.call(state, *replica, Reply::Comes);
            }
            Action::ReadRecord { replica, run } => self.begin(state, *replica, *run),
            Action::Call { replica, reply } => self.call(state, *replica, *reply),
            Action::Crash { replica } => state.replicas[*replica] = Replica::default(),
            Action::Tick => tick(state),
            Action::Notice { run } => {
                state.made[*run] += 1;
                state.runs[*run] = Some(Hashed::new(new_run(*run, state.made[*run])));
            }
            Action::Boot { machine, hangs } => {
                let registered = state.machines[*machine].registration;
                let registered = state.rows.iter().any(|row| row.id == registered);
                state.machines[*machine].doing = match (hangs, registered) {
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
                let Landing { slot, placement, attempt, sent_at: _ } =
                    state.landings.remove(*landing);
                self.came(Came::LandedLate);
                let _ = self.launch(state, &slot, placement, &attempt);
            }
            Action::Freeze => state.frozen_since = Some(now()),
            Action::Thaw => state.frozen_since = None,
            Action::Person { run, deed } => {
                state.deeds -= 1;
                person(state, *run, *deed);
            }
        }
        let all = state.machines.len() != machines
            || matches!(action, Action::Tick | Action::Freeze | Action::Thaw);
        let changed: [bool; RUNS] = std::array::from_fn(|run| {
            all || match (&runs[run], &state.runs[run]) {
                (Some(before), Some(after)) => !before.is(after),
                (None, None) => false,
                (Some(_), None) | (None, Some(_)) => true,
            }
        });
        canonical(state, |run| changed[run]);
    }

    fn begin(&self, state: &mut State, replica: usize, run: usize) {
        let mut look = Look::begin(state, run);
        if let Some(stored) = &mut look.stored {
            stored.version = 1;
        }
        state.replicas[replica].look = Some(Hashed::new(look));
    }

    /// The next call of a replica's look.
    fn call(&self, state: &mut State, replica: usize, reply: Reply) {
        let Some(look) = state.replicas[replica].look.take() else { return };
        let mut look = look.into_inner();
        if look.steps.front() == Some(&Step::Observe) {
            let mut memory = std::mem::take(&mut state.replicas[replica]);
            look.observe(state, &mut memory, &self.class, self.variant);
            state.replicas[replica] = memory;
        } else if !self.effect(state, replica, &mut look, reply) {
            return;
        }
        if look.go_on(self.variant) {
            state.replicas[replica].look = Some(Hashed::new(look.clone()));
        }
        self.decided(look.row);
    }

    /// One effect. Answers whether the look goes on.
    fn effect(&self, state: &mut State, replica: usize, look: &mut Look, reply: Reply) -> bool {
        let Some(step) = look.steps.pop_front() else { return false };
        let done = reply != Reply::Refused;
        let told = reply == Reply::Comes;
        match step {
            Step::Observe => {}
            Step::Free(action) => {
                look.issued.push(format!("{action:?}"));
                look.issued.sort();
                if done {
                    self.free(state, &action);
                }
                if told {
                    freed(look, &action);
                }
            }
            Step::Seat => {
                let Some(prepare) = look.prepare.clone() else { return false };
                let run = look.seen.run.as_mut().expect("a run is prepared for");
                let taken = done && self.seat(state, &prepare.slot);
                if !told {
                    record::not_prepared(&mut run.status, look.seen.now);
                } else if taken {
                    look.seen.seats.push((prepare.class, prepare.slot));
                    return true;
                } else {
                    self.came(Came::AtLimit);
                    record::at_limit(&mut run.status, &prepare, look.seen.now);
                }
                // There is no registration without a seat.
                look.steps.pop_front();
                look.prepare = None;
            }
            Step::Register => {
                let Some(prepare) = look.prepare.take() else { return false };
                let runner = done.then(|| register(state, &prepare.slot));
                let run = look.seen.run.as_mut().expect("a run is prepared for");
                let Some(runner) = runner.filter(|_| told) else {
                    record::not_prepared(&mut run.status, look.seen.now);
                    return true;
                };
                let boot = ("https://forge".to_owned(), None);
                record::prepared(&mut run.status, prepare, runner, boot, look.seen.now);
                look.more = true;
                look.recorded();
            }
            Step::Put => {
                let written = done && self.put(state, look);
                if !(written && told) {
                    return false;
                }
                if look.row == Row::NextPlacement {
                    look.recorded();
                }
            }
            Step::Launch { slot, placement } => {
                self.call_launch(state, replica, look, (&slot, placement), reply);
            }
            Step::Remove => {
                if done {
                    self.remove(state, look);
                }
                return false;
            }
        }
        true
    }

    fn free(&self, state: &mut State, action: &Effect) {
        match action {
            Effect::Unseat { slot, row, .. } => {
                self.decided(*row);
                state.seats.retain(|(s, _)| s != slot);
            }
            Effect::Retire { id, row, .. } => {
                self.decided(*row);
                if state.rows.iter().any(|r| r.id == *id) {
                    self.came(Came::Retired);
                    state.on_retire(*id);
                    state.rows.retain(|r| r.id != *id);
                }
            }
            Effect::Terminate { id, row, .. } => {
                self.decided(*row);
                let of_it = |m: &Vm| m.slot.token(m.placement) == id.0;
                let Some(machine) = state.machines.iter().position(of_it) else { return };
                let run = run_of(&state.machines[machine].slot);
                let by_person = state.runs[run].as_ref().is_some_and(|r| r.terminate_now);
                state.on_terminate(machine, by_person);
                if state.machines[machine].is_live() {
                    self.came(Came::Terminated);
                    state.machines[machine].doing = Doing::Ending;
                }
            }
            Effect::Launch { .. } | Effect::Remove => {}
        }
    }

    fn seat(&self, state: &mut State, slot: &Slot) -> bool {
        if state.seats.iter().any(|(s, _)| s == slot) {
            return true;
        }
        let fits = self.scope.limit.is_none_or(|limit| state.seats.len() < limit as usize);
        if fits {
            state.seats.push((slot.clone(), repo(run_of(slot))));
            state.seats.sort();
        }
        fits
    }

    /// Writes the record, if it is the one that was read.
    fn put(&self, state: &mut State, look: &mut Look) -> bool {
        let (Some(run), Some(stored)) = (&look.seen.run, &look.stored) else { return false };
        let there = state.runs[look.run].clone();
        let found = there.as_ref().map(|r| (r.uid, r.version));
        let expected = Some((stored.uid, stored.version));
        let blind = self.variant == Variant::NoCompareAndSet && there.is_some();
        if found != expected && !blind {
            self.came(Came::Conflict);
            return false;
        }
        let mut new = run.clone();
        // Looks that have read version 1 are behind from now on; see `canonical`.
        new.version = 2;
        let mut kept = new.clone();
        time::forget_in(&mut kept);
        state.on_put(there.as_deref(), &kept);
        state.runs[look.run] = Some(Hashed::new(kept));
        look.seen.run = Some(new.clone());
        look.stored = Some(new);
        true
    }

    fn remove(&self, state: &mut State, look: &Look) {
        let found = state.runs[look.run].as_ref().map(|r| (r.uid, r.version));
        if found.is_some() && found == look.stored.as_ref().map(|r| (r.uid, r.version)) {
            self.came(Came::Removed);
            state.runs[look.run] = None;
        }
    }

    fn call_launch(
        &self,
        state: &mut State,
        replica: usize,
        look: &mut Look,
        (slot, placement): (&Slot, u32),
        reply: Reply,
    ) {
        let Some(mut attempt) = look.attempt().cloned() else { return };
        look.issued.push(slot.token(placement));
        look.issued.sort();
        let machine = attempt.placements[placement as usize].machine.clone();
        time::forget_in_attempt(&mut attempt);
        state.on_launch(slot, placement, &attempt);
        if placement > 0 {
            self.came(Came::SecondPlacement);
        }
        look.more = true;
        let kind = match reply {
            Reply::Refused => ErrorKind::Unavailable,
            Reply::NoCapacity => ErrorKind::NoCapacity,
            Reply::Limit => ErrorKind::Limit,
            Reply::Late => {
                let slot = slot.clone();
                state.landings.push(Landing { slot, placement, attempt, sent_at: now() });
                ErrorKind::Unavailable
            }
            Reply::Lost => {
                let _ = self.launch(state, slot, placement, &attempt);
                ErrorKind::Unavailable
            }
            Reply::Comes => match self.launch(state, slot, placement, &attempt) {
                Ok(machine) => {
                    let seen = instance(&machine, machine.state());
                    if !seen.is_live() {
                        self.came(Came::DeadReplay);
                    }
                    if let Some(run) = &mut look.seen.run {
                        record::launched(&mut run.status, placement, &seen, now());
                    }
                    look.seen.machines.retain(|m| m.id != seen.id);
                    look.seen.machines.push(seen);
                    return;
                }
                Err(kind) => kind,
            },
        };
        if let Some(run) = &mut look.seen.run {
            record::not_launched(&mut run.status, placement, kind, now());
        }
        if kind == ErrorKind::NoCapacity {
            let until = now() + SignedDuration::from_mins(3);
            let short = &mut state.replicas[replica].short;
            short.retain(|s| !s.machine.same_capacity(&machine));
            short.push(Shortage { machine, until });
            if let Some(class) = &mut look.seen.class {
                class.short.clone_from(short);
            }
        }
    }

    /// The cloud: a token makes one machine, whoever asks and however often.
    fn launch(
        &self,
        state: &mut State,
        slot: &Slot,
        placement: u32,
        attempt: &Attempt,
    ) -> Result<Vm, ErrorKind> {
        let recipe = &attempt.placements[placement as usize].machine;
        let boot = (&attempt.boot.instance_url, &attempt.boot.git_token, attempt.boot.idle_within);
        let bytes = hash_of(&(recipe, &attempt.runner, boot, &attempt.class));
        let alike = |m: &&Vm| m.slot == *slot && m.placement == placement;
        if let Some(there) = state.machines.iter().find(alike).cloned() {
            if there.bytes != bytes {
                state.break_law(|| format!("L2: {slot}-{placement}: the token with other bytes"));
            }
            return Ok(there);
        }
        let machine = Vm {
            slot: slot.clone(),
            placement,
            repo: repo(run_of(slot)),
            bytes,
            registration: attempt.runner.id,
            launched_at: now(),
            deadline: attempt.boot.deadline,
            doing: Doing::Booting,
            listed: None,
            timer_broken: false,
        };
        state.machines.push(machine.clone());
        state.on_machine(self);
        Ok(machine)
    }

    fn take(&self, state: &mut State, machine: usize, job: usize, silent: bool) {
        let vm = &mut state.machines[machine];
        vm.doing = Doing::Busy { job, silent };
        let (registration, runner) = (vm.registration, vm.slot.to_string());
        if run_of(&vm.slot) != job {
            self.came(Came::Robbed);
        }
        state.jobs[job] = Job::Running { registration, runner };
        for row in state.rows.iter_mut().filter(|row| row.id == registration) {
            row.used = true;
        }
    }
}

/// One state for all that no decision can tell apart.
fn canonical(state: &mut State, changed: impl Fn(usize) -> bool) {
    if state.frozen_since.is_none() {
        state.machines.iter_mut().for_each(|m| m.listed = Some(m.state()));
    }
    forget_gone(state);
    versions(state);
    for replica in &mut state.replicas {
        // Since when one is missing counts for a machine that lives, or is listed as living.
        let counts = |m: &Vm| m.is_live() || m.listed != Some(m.state());
        let of_it = |id: i64| state.machines.iter().any(|m| m.registration == id && counts(m));
        replica.missing.retain(|(id, _)| of_it(*id));
        replica.missing.sort();
        replica.short.retain(|s| s.until > now());
        replica.short.sort_by_key(|s| (s.until, s.machine.kind.clone()));
    }
    state.machines.sort_by(|a, b| (&a.slot, a.placement).cmp(&(&b.slot, b.placement)));
    state.rows.sort();
    state.landings.sort_by_key(|l| (l.slot.clone(), l.placement, l.sent_at));
    time::forget(state, changed);
    state.replicas.sort_by_key(hash_of);
}

/// An ended machine is listed for longer than anything else is waited for; it is forgotten once
/// nothing is left that would ask for it.
fn forget_gone(state: &mut State) {
    let State { runs, seats, rows, machines, landings, .. } = state;
    let asked_for = |m: &Vm| {
        let run = runs[run_of(&m.slot)].as_ref().filter(|r| r.uid.short() == m.slot.uid);
        let recorded = run.is_some_and(|run| {
            let past = run.status.past.iter().map(|p| p.number);
            let mut numbers = past.chain(run.status.attempt.iter().map(|a| a.number));
            numbers.any(|number| number == m.slot.number)
        });
        recorded
            || seats.iter().any(|(slot, _)| *slot == m.slot)
            || rows.iter().any(|row| row.slot == m.slot)
            || landings.iter().any(|landing| landing.slot == m.slot)
    };
    machines.retain(|m| {
        m.doing != Doing::Gone || m.listed != Some(InstanceState::Gone) || asked_for(m)
    });
}

/// Only equality of versions counts: a record has version 1, what a look has read is that or not.
fn versions(state: &mut State) {
    for run in 0..RUNS {
        let there = state.runs[run].as_ref().map(|r| (r.uid, r.version));
        for replica in &mut state.replicas {
            let Some(look) = replica.look.take_if(|look| look.run == run) else { continue };
            let read = look.stored.as_ref().map(|r| (r.uid, r.version));
            let version = u64::from(read == there);
            if read.is_none_or(|(_, v)| v == version) {
                replica.look = Some(look);
                continue;
            }
            let mut look = look.into_inner();
            look.stored.iter_mut().for_each(|r| r.version = version);
            look.seen.run.iter_mut().for_each(|r| r.version = version);
            replica.look = Some(Hashed::new(look));
        }
        if let Some(record) = state.runs[run].take_if(|r| r.version != 1) {
            let mut record = record.into_inner();
            record.version = 1;
            state.runs[run] = Some(Hashed::new(record));
        }
    }
}

fn freed(look: &mut Look, action: &Effect) {
    match action {
        Effect::Unseat { class, slot, .. } => {
            look.seen.seats.retain(|(c, s)| (c, s) != (class, slot));
        }
        Effect::Retire { id, .. } => {
            if let Registrations::Seen(rows) = &mut look.seen.registrations {
                rows.retain(|r| r.id != *id);
            }
        }
        Effect::Terminate { id, .. } => {
            let of_it = look.seen.machines.iter_mut().filter(|m| m.id == *id);
            of_it.for_each(|m| m.state = InstanceState::Ending);
        }
        Effect::Launch { .. } | Effect::Remove => {}
    }
}

fn register(state: &mut State, slot: &Slot) -> Runner {
    let known = state.registered.iter_mut().find(|(s, _)| s == slot);
    let times = if let Some((_, times)) = known {
        *times += 1;
        *times
    } else {
        state.registered.push((slot.clone(), 1));
        state.registered.sort();
        1
    };
    let run = run_of(slot);
    let id = i64::try_from(run).unwrap_or(0) * 100_000
        + i64::from(state.made[run]) * 10_000
        + i64::from(slot.number) * 100
        + i64::from(times);
    state.rows.push(ForgeRow { id, slot: slot.clone(), used: false });
    let (name, token) = (slot.to_string(), Secret::new(format!("token {id}")));
    Runner { id, uuid: id.to_string(), name, labels: vec!["linux".to_owned()], token }
}

fn finish(state: &mut State, machine: usize, hangs: bool) {
    let vm = &mut state.machines[machine];
    let Doing::Busy { job, silent: _ } = vm.doing else { return };
    vm.doing = if hangs { Doing::Spent } else { Doing::Ending };
    let vm = &state.machines[machine];
    let own = vm.registration;
    // What is not registered cannot report a success.
    if on_it(&state.jobs[job], vm) && state.rows.iter().any(|row| row.id == own) {
        state.jobs[job] = Job::Done(Conclusion::Success);
    }
    state.rows.retain(|row| row.id != own);
}

fn on_it(job: &Job, vm: &Vm) -> bool {
    matches!(job, Job::Running { registration, .. } if *registration == vm.registration)
}

fn usable(state: &State, vm: &Vm) -> bool {
    state.rows.iter().any(|row| row.id == vm.registration && !row.used)
}

fn is_zombie(state: &State, job: usize) -> bool {
    let Job::Running { registration, .. } = &state.jobs[job] else { return false };
    let works = |m: &Vm| m.registration == *registration && m.is_busy();
    !state.machines.iter().any(works)
}

/// Time does not pass over what would have happened by then.
fn may_time_pass(state: &State) -> bool {
    let Some(step) = time::next_step(state) else { return false };
    state.machines.iter().all(|vm| match vm.doing {
        Doing::Booting => !older(vm.launched_at - step, SignedDuration::from_mins(5)),
        Doing::Online => {
            let waits = state.jobs.iter().any(|job| *job == Job::Waiting) && usable(state, vm);
            !waits && !older(vm.launched_at - step, SignedDuration::from_mins(8))
        }
        // Its next report tells it that its job, or its registration, was ended from outside.
        Doing::Busy { job, .. } => {
            let registered = state.rows.iter().any(|row| row.id == vm.registration);
            registered && on_it(&state.jobs[job], vm)
        }
        Doing::Ending => false,
        Doing::Dark | Doing::Stuck | Doing::Spent | Doing::Gone => true,
    })
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
    // What is left of a look after a minute is dropped.
    for replica in &mut state.replicas {
        replica.look.take_if(|look| old(look.seen.now, time::LOOK));
    }
}

/// Whether a thing is a fault.
fn costs(state: &State, action: &Action) -> bool {
    match action {
        Action::Look { .. }
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
        | Action::Freeze => true,
        Action::Call { reply, .. } => *reply != Reply::Comes,
        Action::Tick => state.replicas.iter().any(|r| r.look.is_some()),
        Action::Boot { hangs, .. } | Action::Finish { hangs, .. } => *hangs,
        Action::Take { silent, .. } => *silent,
        Action::Drain { machine } => {
            state.jobs.iter().any(|job| *job == Job::Waiting)
                && usable(state, &state.machines[*machine])
        }
    }
}

fn makes_sense(state: &State, run: usize, deed: Deed) -> bool {
    let record = state.runs[run].as_ref();
    match deed {
        Deed::Cancel => !matches!(state.jobs[run], Job::Done(_)),
        Deed::Rerun => matches!(state.jobs[run], Job::Done(_)),
        Deed::Delete => record.is_some_and(|r| r.deleted_at.is_none()),
        Deed::DeleteNow => record.is_some_and(|r| !r.terminate_now),
        Deed::Retry => record.is_some(),
        Deed::Unregister => state.rows.iter().any(|row| index(&row.slot.run) == run),
    }
}

pub(crate) fn person(state: &mut State, run: usize, deed: Deed) {
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
    match deed {
        Deed::Cancel => {
            state.jobs[run] = Job::Done(Conclusion::Cancelled);
        }
        Deed::Rerun => state.jobs[run] = Job::Waiting,
        Deed::Delete => record(state, &|r| r.delete(now(), false)),
        Deed::DeleteNow => record(state, &|r| r.delete(now(), true)),
        Deed::Retry => record(state, &|r| r.retry(now())),
        Deed::Unregister => {
            if let Some(at) = state.rows.iter().position(|row| index(&row.slot.run) == run) {
                state.rows.remove(at);
            }
        }
    }
}
