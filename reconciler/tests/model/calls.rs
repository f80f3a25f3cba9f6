//! The calls of a reconcile, and their effects.

use jiff::SignedDuration;
use tinqs_ci_reconciler::model::{
    Attempt, AttemptId, Cause, MachineState, Observation, Registrations, Runner, Secret,
    UnavailableOffering,
};
use tinqs_ci_reconciler::plan::{Action as Effect, Rule, record};
use tinqs_ci_reconciler::ports::ErrorKind;

use crate::reconcile::{Reconcile, Step, run_of, seen_machine};
use crate::scope::{Milestone, World};
use crate::state::{
    Doing, Hashed, Landing, Replica, Row as ForgeRow, State, Vm, hash_of, now, repo,
};
use crate::variant::Variant;
use crate::world::Reply;
use crate::{hung, time};

pub(crate) fn begin(state: &mut State, replica: usize, run: usize) {
    let mut reconcile = Reconcile::begin(state, run);
    if let Some(stored) = &mut reconcile.stored {
        stored.version = 1;
    }
    state.replicas[replica].reconcile = Some(Hashed::new(reconcile));
}

impl World {
    /// Makes the next call of a replica's reconcile.
    pub(crate) fn call(&self, state: &mut State, replica: usize, reply: Reply) {
        let Some(reconcile) = state.replicas[replica].reconcile.take() else { return };
        let mut reconcile = reconcile.into_inner();
        if reconcile.steps.front() == Some(&Step::Observe) {
            let mut memory = std::mem::take(&mut state.replicas[replica]);
            reconcile.observe(state, &mut memory, self);
            state.replicas[replica] = memory;
        } else if !self.effect(state, replica, &mut reconcile, reply) {
            return;
        }
        let goes_on = reconcile.go_on(self.variant);
        reconcile.forget_timelines();
        if goes_on {
            state.replicas[replica].reconcile = Some(Hashed::new(reconcile.clone()));
        }
        self.decided(reconcile.rule);
    }

    /// Makes a call with an effect. Returns whether the reconcile continues.
    fn effect(
        &self,
        state: &mut State,
        replica: usize,
        reconcile: &mut Reconcile,
        reply: Reply,
    ) -> bool {
        let Some(step) = reconcile.steps.pop_front() else { return false };
        let done = reply != Reply::Refused;
        let told = reply == Reply::Comes;
        match step {
            Step::Observe => {}
            Step::Free(action) => {
                reconcile.issued.push(format!("{action:?}"));
                reconcile.issued.sort();
                if done {
                    self.free(state, &action, &reconcile.seen);
                }
                if told {
                    freed(&mut state.replicas[replica], reconcile, &action);
                }
            }
            Step::Seat => {
                let Some(prepare) = reconcile.prepare.clone() else { return false };
                let run = reconcile.seen.run.as_mut().expect("a run is prepared for");
                let taken = done && self.seat(state, &prepare.attempt_id);
                if !told {
                    record::not_prepared(&mut run.status, reconcile.seen.now);
                } else if taken {
                    reconcile.seen.seats.push((prepare.class, prepare.attempt_id));
                    return true;
                } else {
                    self.came(Milestone::AtLimit);
                    record::at_limit(&mut run.status, &prepare, reconcile.seen.now);
                }
                // No registration without a seat.
                reconcile.steps.pop_front();
                reconcile.prepare = None;
            }
            Step::Register => {
                let Some(prepare) = reconcile.prepare.take() else { return false };
                let runner = done.then(|| self.register(state, &prepare.attempt_id));
                let live = record::live_attempts(
                    &reconcile.seen,
                    reconcile.seen.run.as_ref().expect("a run is prepared for"),
                );
                let run = reconcile.seen.run.as_mut().expect("a run is prepared for");
                let Some(runner) = runner.filter(|_| told) else {
                    record::not_prepared(&mut run.status, reconcile.seen.now);
                    return true;
                };
                let boot = ("https://forge".to_owned(), None);
                record::prepared(&mut run.status, prepare, runner, boot, reconcile.seen.now, &live);
                reconcile.more = true;
                reconcile.recorded();
            }
            Step::Put => {
                let written = done && self.put(state, reconcile);
                if !(written && told) {
                    return false;
                }
                if reconcile.rule == Rule::NextPlacement {
                    reconcile.recorded();
                }
            }
            Step::Launch { attempt_id, placement } => {
                self.call_launch(state, replica, reconcile, (&attempt_id, placement), reply);
            }
            Step::Remove => {
                if done {
                    self.remove(state, reconcile);
                }
                return false;
            }
        }
        true
    }

    fn free(&self, state: &mut State, action: &Effect, seen: &Observation) {
        match action {
            Effect::Unseat { attempt_id, rule, .. } => {
                self.decided(*rule);
                state.seats.retain(|(s, _)| s != attempt_id);
            }
            Effect::Retire { id, rule, .. } => {
                self.decided(*rule);
                if state.rows.iter().any(|r| r.id == *id) {
                    self.came(Milestone::Retired);
                    state.on_retire(*id);
                    state.rows.retain(|r| r.id != *id);
                }
            }
            Effect::Terminate { id, rule, .. } => {
                self.decided(*rule);
                let of_it = |m: &Vm| m.attempt_id.token(m.placement) == id.0;
                let Some(machine) = state.machines.iter().position(of_it) else { return };
                let run = run_of(&state.machines[machine].attempt_id);
                let by_person = state.runs[run].as_ref().is_some_and(|r| r.terminate_now);
                state.on_terminate(machine, by_person, seen);
                if state.machines[machine].is_live() {
                    self.came(Milestone::Terminated);
                    state.machines[machine].doing = Doing::Ending;
                }
            }
            Effect::Disable { id, rule, .. } => {
                self.decided(*rule);
                for row in state.rows.iter_mut().filter(|row| row.id == *id) {
                    row.disabled_at.get_or_insert_with(now);
                }
            }
            Effect::Launch { .. } | Effect::Rerun { .. } | Effect::Remove => {}
        }
    }

    fn seat(&self, state: &mut State, attempt_id: &AttemptId) -> bool {
        if state.seats.iter().any(|(s, _)| s == attempt_id) {
            return true;
        }
        let fits = self.scope.limit.is_none_or(|limit| state.seats.len() < limit as usize);
        if fits {
            state.seats.push((attempt_id.clone(), repo(run_of(attempt_id))));
            state.seats.sort();
        }
        fits
    }

    /// Writes the record if it is the one that was read.
    fn put(&self, state: &mut State, reconcile: &mut Reconcile) -> bool {
        let (Some(run), Some(stored)) = (&reconcile.seen.run, &reconcile.stored) else {
            return false;
        };
        let there = state.runs[reconcile.run].clone();
        let found = there.as_ref().map(|r| (r.uid, r.version));
        let expected = Some((stored.uid, stored.version));
        let blind = self.variant == Variant::NoCompareAndSet && there.is_some();
        if found != expected && !blind {
            self.came(Milestone::Conflict);
            return false;
        }
        let mut new = run.clone();
        // Reconciles that have read version 1 are outdated from now on; see `canonical`.
        new.version = 2;
        let mut kept = new.clone();
        time::forget_in(&mut kept);
        state.on_put(there.as_deref(), &kept);
        state.runs[reconcile.run] = Some(Hashed::new(kept));
        reconcile.seen.run = Some(new.clone());
        reconcile.stored = Some(new);
        true
    }

    fn remove(&self, state: &mut State, reconcile: &Reconcile) {
        let found = state.runs[reconcile.run].as_ref().map(|r| (r.uid, r.version));
        if found.is_some() && found == reconcile.stored.as_ref().map(|r| (r.uid, r.version)) {
            self.came(Milestone::Removed);
            state.runs[reconcile.run] = None;
        }
    }

    fn call_launch(
        &self,
        state: &mut State,
        replica: usize,
        reconcile: &mut Reconcile,
        (attempt_id, placement): (&AttemptId, u32),
        reply: Reply,
    ) {
        let Some(mut attempt) = reconcile.attempt().cloned() else { return };
        reconcile.issued.push(attempt_id.token(placement));
        reconcile.issued.sort();
        let machine = attempt.placements[placement as usize].machine.clone();
        time::forget_in_attempt(&mut attempt);
        state.on_launch(attempt_id, placement, &attempt);
        if placement > 0 {
            self.came(Milestone::SecondPlacement);
        }
        reconcile.more = true;
        let kind = match reply {
            Reply::Refused => ErrorKind::Unavailable,
            Reply::NoCapacity => ErrorKind::NoCapacity,
            Reply::Limit => ErrorKind::Limit,
            Reply::Late => {
                let attempt_id = attempt_id.clone();
                state.landings.push(Landing { attempt_id, placement, attempt, sent_at: now() });
                ErrorKind::Unavailable
            }
            Reply::Lost => {
                self.launch(state, attempt_id, placement, &attempt);
                ErrorKind::Unavailable
            }
            Reply::Comes => {
                let machine = self.launch(state, attempt_id, placement, &attempt);
                let seen = seen_machine(&machine, machine.state());
                if !seen.is_live() {
                    self.came(Milestone::DeadReplay);
                }
                if let Some(run) = &mut reconcile.seen.run {
                    record::launched(&mut run.status, placement, &seen, now());
                }
                reconcile.seen.machines.retain(|m| m.id != seen.id);
                reconcile.seen.machines.push(seen);
                return;
            }
        };
        if let Some(run) = &mut reconcile.seen.run {
            record::not_launched(&mut run.status, placement, kind, now());
        }
        if kind == ErrorKind::NoCapacity {
            let until = now() + SignedDuration::from_mins(3);
            let unavailable = &mut state.replicas[replica].unavailable;
            unavailable.retain(|s| !s.machine.same_capacity(&machine));
            unavailable.push(UnavailableOffering { machine, until, cause: Cause::Capacity });
            if let Some(class) = &mut reconcile.seen.class {
                class.unavailable.clone_from(unavailable);
            }
        }
    }

    /// The cloud: a client token launches one machine, however often it is used.
    pub(crate) fn launch(
        &self,
        state: &mut State,
        attempt_id: &AttemptId,
        placement: u32,
        attempt: &Attempt,
    ) -> Vm {
        let spec = &attempt.placements[placement as usize].machine;
        let boot = (&attempt.boot.instance_url, &attempt.boot.git_token, attempt.boot.idle_within);
        let bytes = hash_of(&(spec, &attempt.runner, boot, &attempt.class));
        let alike = |m: &&Vm| m.attempt_id == *attempt_id && m.placement == placement;
        if let Some(there) = state.machines.iter().find(alike).cloned() {
            if there.bytes != bytes {
                state.break_law(|| {
                    format!("L2: {attempt_id}-{placement}: its token with other data")
                });
            }
            return there;
        }
        let machine = Vm {
            attempt_id: attempt_id.clone(),
            placement,
            repo_id: attempt.runner.repo_id,
            bytes,
            registration: attempt.runner.id,
            launched_at: now(),
            start_by: attempt.boot.start_by.unwrap_or_else(now),
            deadline: attempt.boot.deadline,
            doing: Doing::Booting,
            listed: None,
            timer_broken: false,
        };
        state.machines.push(machine.clone());
        state.on_machine(self);
        machine
    }

    fn register(&self, state: &mut State, attempt_id: &AttemptId) -> Runner {
        let known = state.registered.iter_mut().find(|(s, _)| s == attempt_id);
        let times = if let Some((_, times)) = known {
            *times += 1;
            *times
        } else {
            state.registered.push((attempt_id.clone(), 1));
            state.registered.sort();
            1
        };
        let run = run_of(attempt_id);
        let id = i64::try_from(run).unwrap_or(0) * 100_000
            + i64::from(state.made[run]) * 10_000
            + i64::from(attempt_id.number) * 100
            + i64::from(times);
        let in_scope = self.variant == Variant::RegisterInScope;
        let repo_id = if in_scope { 0 } else { self.scope.repo_id(run) };
        let (attempt_id, used, disabled_at) = (attempt_id.clone(), false, None);
        let name = attempt_id.to_string();
        state.rows.push(ForgeRow { id, attempt_id, repo_id, used, disabled_at });
        // Too short to leave a digest in the record.
        let token = Secret::new(format!("t{id}"));
        let labels = vec!["linux".to_owned()];
        Runner { id, repo_id, uuid: id.to_string(), name, labels, token }
    }
}

fn freed(replica: &mut Replica, reconcile: &mut Reconcile, action: &Effect) {
    match action {
        Effect::Unseat { class, attempt_id, .. } => {
            reconcile.seen.seats.retain(|(c, s)| (c, s) != (class, attempt_id));
        }
        Effect::Retire { id, .. } => {
            if let Registrations::Seen(rows) = &mut reconcile.seen.registrations {
                rows.retain(|r| r.id != *id);
            }
        }
        Effect::Terminate { id, .. } => {
            let of_it = reconcile.seen.machines.iter_mut().filter(|m| m.id == *id);
            of_it.for_each(|m| m.state = MachineState::Ending);
        }
        Effect::Disable { id, .. } => {
            let since = Some(hung::note_disabled(replica, *id));
            if let Registrations::Seen(rows) = &mut reconcile.seen.registrations {
                let of_it = rows.iter_mut().filter(|r| r.id == *id);
                of_it.for_each(|r| (r.disabled, r.disabled_since) = (Some(true), since));
            }
        }
        Effect::Launch { .. } | Effect::Rerun { .. } | Effect::Remove => {}
    }
}
