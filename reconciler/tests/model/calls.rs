//! The calls of a reconcile, and their effects.

use jiff::SignedDuration;
use tinqs_ci_reconciler::model::{
    Attempt, Cause, InstanceState, Registrations, Runner, Secret, Shortage, Slot,
};
use tinqs_ci_reconciler::plan::{Action as Effect, Row, record};
use tinqs_ci_reconciler::ports::ErrorKind;

use crate::look::{Look, Step, instance, run_of};
use crate::scope::{Came, World};
use crate::state::{Doing, Hashed, Landing, Row as ForgeRow, State, Vm, hash_of, now, repo};
use crate::time;
use crate::variant::Variant;
use crate::world::Reply;

pub(crate) fn begin(state: &mut State, replica: usize, run: usize) {
    let mut look = Look::begin(state, run);
    if let Some(stored) = &mut look.stored {
        stored.version = 1;
    }
    state.replicas[replica].look = Some(Hashed::new(look));
}

impl World {
    /// Makes the next call of a replica's reconcile.
    pub(crate) fn call(&self, state: &mut State, replica: usize, reply: Reply) {
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

    /// Makes a call with an effect. Returns whether the reconcile continues.
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
                // No registration without a seat.
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

    /// Writes the record if it is the one that was read.
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
        // Reconciles that have read version 1 are outdated from now on; see `canonical`.
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
                self.launch(state, slot, placement, &attempt);
                ErrorKind::Unavailable
            }
            Reply::Comes => {
                let machine = self.launch(state, slot, placement, &attempt);
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
        };
        if let Some(run) = &mut look.seen.run {
            record::not_launched(&mut run.status, placement, kind, now());
        }
        if kind == ErrorKind::NoCapacity {
            let until = now() + SignedDuration::from_mins(3);
            let short = &mut state.replicas[replica].short;
            short.retain(|s| !s.machine.same_capacity(&machine));
            short.push(Shortage { machine, until, cause: Cause::Capacity });
            if let Some(class) = &mut look.seen.class {
                class.unavailable.clone_from(short);
            }
        }
    }

    /// The cloud: a client token launches one machine, however often it is used.
    pub(crate) fn launch(
        &self,
        state: &mut State,
        slot: &Slot,
        placement: u32,
        attempt: &Attempt,
    ) -> Vm {
        let recipe = &attempt.placements[placement as usize].machine;
        let boot = (&attempt.boot.instance_url, &attempt.boot.git_token, attempt.boot.idle_within);
        let bytes = hash_of(&(recipe, &attempt.runner, boot, &attempt.class));
        let alike = |m: &&Vm| m.slot == *slot && m.placement == placement;
        if let Some(there) = state.machines.iter().find(alike).cloned() {
            if there.bytes != bytes {
                state.break_law(|| format!("L2: {slot}-{placement}: its token with other data"));
            }
            return there;
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
        machine
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
