//! The laws, checked at each call against the true state.

use jiff::SignedDuration;
use tinqs_ci_reconciler::model::{Attempt, AttemptId, Observation, Phase, Run};
use tinqs_ci_reconciler::plan::{DISABLED_FOR, HUNG_AFTER, READINGS_APART};

use crate::hung::IDLE_WITHIN;
use crate::scope::World;
use crate::state::{Recorded, State, Vm, hash_of, now};
use crate::time::older;

impl State {
    /// Stores the first broken law in the state.
    pub(crate) fn break_law(&mut self, what: impl FnOnce() -> String) {
        if self.broken.is_none() {
            self.broken = Some(what());
        }
    }

    /// L4 and L13: `run` is about to be written over `before`. Both are normalized.
    pub(crate) fn on_put(&mut self, before: Option<&Run>, run: &Run) {
        if let Some(before) = before {
            if before.uid != run.uid {
                self.break_law(|| format!("L4: {}: another incarnation was overwritten", run.name));
            }
            if before.status.next > run.status.next {
                self.break_law(|| format!("L4: {}: `next` went back", run.name));
            }
        }
        let Some(attempt) = &run.status.attempt else { return };
        let attempt_id = run.attempt_id(attempt.number);
        let is_over = matches!(run.status.phase, Phase::Running | Phase::Finished);
        if attempt.has_credentials() && (is_over || attempt.ended.is_some()) {
            self.break_law(|| format!("L13: {attempt_id}: its credentials are recorded"));
        }
        if attempt.number >= run.status.next {
            self.break_law(|| format!("L4: {attempt_id}: not below `next`"));
        }
        let new = recorded(attempt_id.clone(), attempt);
        if let Some(known) = self.recorded.iter_mut().find(|r| r.attempt_id == attempt_id) {
            let same = known.identity == new.identity
                && known.deadline == new.deadline
                && new.machines.starts_with(&known.machines);
            known.machines.clone_from(&new.machines);
            if !same {
                self.break_law(|| {
                    format!("L4: {attempt_id}: its machine spec or identity changed")
                });
            }
            return;
        }
        let highest = self
            .recorded
            .iter()
            .filter(|r| r.attempt_id.uid == attempt_id.uid && r.attempt_id.run == attempt_id.run);
        let highest = highest.map(|r| r.attempt_id.number).max().unwrap_or(0);
        self.recorded.push(new);
        self.recorded.sort_by(|a, b| a.attempt_id.cmp(&b.attempt_id));
        if attempt_id.number <= highest {
            self.break_law(|| format!("L4: {attempt_id}: a number was reused"));
        }
    }

    /// L1: a launch is requested.
    pub(crate) fn on_launch(&mut self, attempt_id: &AttemptId, placement: u32, attempt: &Attempt) {
        let asked = recorded(attempt_id.clone(), attempt);
        let known = self.recorded.iter().find(|r| r.attempt_id == *attempt_id);
        let index = placement as usize;
        let fine = known.is_some_and(|known| {
            attempt.has_credentials()
                && known.identity == asked.identity
                && known.deadline == asked.deadline
                && known.machines.get(index).is_some()
                && known.machines.get(index) == asked.machines.get(index)
        });
        if !fine {
            self.break_law(|| {
                format!("L1: {attempt_id}-{placement}: launched without a record of exactly that")
            });
        }
        if attempt.runner.name != attempt_id.to_string() {
            self.break_law(|| format!("L7: {attempt_id}: the identity belongs to another attempt"));
        }
    }

    /// L2 and L6: a machine was launched; it is the last one.
    pub(crate) fn on_machine(&mut self, world: &World) {
        let Some(made) = self.machines.last() else { return };
        let alike = |m: &&Vm| m.attempt_id == made.attempt_id && m.placement == made.placement;
        let alike = self.machines.iter().filter(alike).count();
        let on_seat =
            self.machines.iter().filter(|m| m.attempt_id == made.attempt_id && m.is_live()).count();
        let live = self.machines.iter().filter(|m| m.is_live()).count();
        let (attempt_id, placement) = (made.attempt_id.clone(), made.placement);
        if alike > 1 {
            self.break_law(|| format!("L2: {attempt_id}-{placement}: {alike} machines"));
        }
        if on_seat > 1 {
            self.break_law(|| format!("L6: {attempt_id}: {on_seat} live machines on one seat"));
        }
        if world.scope.limit.is_some_and(|limit| live > limit as usize) {
            self.break_law(|| format!("L6: {attempt_id}: {live} live machines"));
        }
    }

    /// L3: a machine is about to be terminated by what a reconcile has seen; only four reasons are
    /// allowed.
    pub(crate) fn on_terminate(&mut self, machine: usize, by_person: bool, seen: &Observation) {
        let machine = &self.machines[machine];
        if !machine.is_live() || by_person || now() > machine.deadline {
            return;
        }
        let row = self.rows.iter().find(|row| row.id == machine.registration);
        let registered = row.is_some();
        let (attempt_id, busy) = (machine.attempt_id.clone(), machine.is_busy());
        // Its promise was over before two readings, and none failed in between.
        let read_for = IDLE_WITHIN + HUNG_AFTER + READINGS_APART;
        let steady = seen.forge_read.map(|read| seen.now.duration_since(read.steady_since));
        let is_steady = |least: SignedDuration| steady.is_some_and(|steady| steady >= least);
        let is_read_twice = older(machine.start_by, read_for) && is_steady(READINGS_APART);
        // Or its promise was over, and its registration was disabled for long enough.
        let disabled_at = row.and_then(|row| row.disabled_at);
        let is_disabled = disabled_at.is_some_and(|at| now() >= at + DISABLED_FOR);
        let is_over = older(machine.start_by, IDLE_WITHIN);
        let hung = is_read_twice || (is_disabled && is_over && is_steady(DISABLED_FOR));
        if busy || (registered && !hung) {
            let why = if busy { "mid-job" } else { "without a reason" };
            self.break_law(|| format!("L3: {attempt_id}: terminated {why}"));
        }
    }

    /// L3: a registration is about to be retired.
    pub(crate) fn on_retire(&mut self, id: i64) {
        let of_it = || self.machines.iter().filter(|m| m.registration == id && m.is_live());
        if let Some(machine) = of_it().next() {
            let (attempt_id, busy) = (machine.attempt_id.clone(), of_it().any(Vm::is_busy));
            let when = if busy { "mid-job" } else { "while its machine is live" };
            self.break_law(|| format!("L3: {attempt_id}: its registration is retired {when}"));
        }
    }
}

fn recorded(attempt_id: AttemptId, attempt: &Attempt) -> Recorded {
    let Attempt { class, runner, boot, placements, .. } = attempt;
    // Credentials leave a record; a launch must still have them.
    let runner = (runner.id, runner.repo_id, &runner.uuid, &runner.name, &runner.labels);
    let identity = hash_of(&(class, runner, &boot.instance_url, boot.idle_within));
    let machines = placements.iter().map(|p| p.machine.clone()).collect();
    Recorded { attempt_id, identity, deadline: boot.deadline, machines }
}
