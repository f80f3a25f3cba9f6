//! Rule 22 in the model: what the forge tells of hung machines, until when a promise matters, and
//! that none of them stays.

use jiff::{SignedDuration, Timestamp};
use tinqs_ci_reconciler::model::{AtWork, AttemptId, ForgeRead, JobRunner, MachineState, Run};
use tinqs_ci_reconciler::plan::{HUNG_AFTER, READINGS_APART};

use crate::reconcile::run_of;
use crate::scope::World;
use crate::state::{Doing, Job, Landing, RUNS, Replica, Row, State, Vm, now};
use crate::time::{READ, long_ago, older};

/// `idle_within` of the class.
pub(crate) const IDLE_WITHIN: SignedDuration = SignedDuration::from_mins(2);

/// The time after `start_by` until which a runner may still wait for a job: it is drained after
/// `idle_within`, by a clock that may lag.
pub(crate) fn waits_for() -> SignedDuration {
    IDLE_WITHIN + HUNG_AFTER
}

/// Returns how the forge was read.
pub(crate) fn forge_read(world: &World, replica: &Replica) -> ForgeRead {
    ForgeRead {
        steady_since: replica.failed_at.unwrap_or_else(long_ago),
        at: now(),
        cannot_disable: !world.scope.disables,
    }
}

/// Returns since when a replica knows that a registration is disabled, as its reading shows now.
pub(crate) fn disabled_since(replica: &mut Replica, row: &Row) -> Option<Timestamp> {
    row.disabled_at.map(|_| note_disabled(replica, row.id))
}

/// Notes that a registration is disabled. Returns since when the replica knows it.
pub(crate) fn note_disabled(replica: &mut Replica, id: i64) -> Timestamp {
    let known = replica.disabled.iter().find(|(disabled, _)| *disabled == id);
    let since = known.map_or_else(now, |(_, since)| *since);
    if known.is_none() {
        replica.disabled.push((id, since));
    }
    since
}

/// Returns the jobs in progress of a run's repository, if one of its machines may hang.
pub(crate) fn at_work(world: &World, state: &State, run: usize) -> Vec<AtWork> {
    let may_hang = |vm: &Vm| {
        let idle = !matches!(vm.doing, Doing::Spent | Doing::Busy { silent: false, .. });
        vm.is_live() && idle && older(vm.start_by, IDLE_WITHIN)
    };
    let mut own = state.machines.iter().filter(|vm| run_of(&vm.attempt_id) == run);
    if !own.any(may_hang) {
        return Vec::new();
    }
    let repo_id = world.scope.repo_id(run);
    let here = (0..RUNS).filter(|job| world.scope.repo_id(*job) == repo_id);
    let runners = here.filter_map(|job| match &state.jobs[job] {
        Job::Running { registration, runner } => {
            Some(JobRunner { id: *registration, name: runner.clone() })
        }
        Job::Waiting | Job::Done(_) => None,
    });
    vec![AtWork { repo_id, runners: runners.collect() }]
}

/// Returns whether an outage makes a difference: a busy flag falls, or a reading of a hung machine
/// fails.
pub(crate) fn outage_matters(state: &State) -> bool {
    state.machines.iter().any(|vm| match vm.doing {
        Doing::Busy { silent, .. } => !silent || older(vm.start_by, IDLE_WITHIN),
        Doing::Dark | Doing::Stuck => older(vm.start_by, IDLE_WITHIN),
        Doing::Booting | Doing::Online | Doing::Spent | Doing::Ending | Doing::Gone => false,
    })
}

/// For a while no reading of the forge succeeds, and no runner reports: every busy flag falls.
pub(crate) fn outage(state: &mut State) {
    for vm in &mut state.machines {
        if let Doing::Busy { silent, .. } = &mut vm.doing {
            *silent = true;
        }
    }
    for replica in &mut state.replicas {
        replica.failed_at = Some(now());
        replica.disabled.clear();
    }
}

/// The promise of an attempt in the record, as far as a decision may need it.
enum Matters {
    No,
    /// Its job runs for longer than the promise, which matters only if its busy flag falls.
    LongAgo,
    Yes,
}

fn matters(machines: &[Vm], landings: &[Landing], attempt_id: &AttemptId) -> Matters {
    if landings.iter().any(|landing| landing.attempt_id == *attempt_id) {
        return Matters::Yes;
    }
    let listed = |vm: &Vm| matches!(vm.listed, Some(MachineState::Booting | MachineState::Up));
    let of_it = machines.iter().filter(|vm| vm.attempt_id == *attempt_id);
    let mut found = Matters::No;
    for vm in of_it.filter(|vm| vm.is_live() || listed(vm)) {
        match vm.doing {
            Doing::Spent => {}
            Doing::Busy { silent: false, .. } => found = Matters::LongAgo,
            _ => return Matters::Yes,
        }
    }
    found
}

/// Forgets promises in a record that no decision needs any more.
pub(crate) fn forget_promises(run: &mut Run, machines: &[Vm], landings: &[Landing]) {
    let numbers: Vec<u32> = run.status.past.iter().map(|past| past.number).collect();
    let past: Vec<AttemptId> = numbers.into_iter().map(|number| run.attempt_id(number)).collect();
    for (past, attempt_id) in run.status.past.iter_mut().zip(past) {
        match matters(machines, landings, &attempt_id) {
            Matters::No => (past.promise, past.hung_since) = (None, None),
            Matters::LongAgo => past.promise.iter_mut().for_each(|p| p.start_by = long_ago()),
            Matters::Yes => {}
        }
    }
    let current = run.status.attempt.as_ref().map(|attempt| run.attempt_id(attempt.number));
    let (Some(attempt), Some(attempt_id)) = (&mut run.status.attempt, current) else { return };
    // Until the launch is answered, its window counts from the promise too.
    if attempt.placements.iter().any(|p| p.answered.is_none() && p.refused.is_none()) {
        return;
    }
    match matters(machines, landings, &attempt_id) {
        Matters::No => (attempt.boot.start_by, attempt.hung_since) = (None, None),
        Matters::LongAgo => attempt.boot.start_by.iter_mut().for_each(|at| *at = long_ago()),
        Matters::Yes => {}
    }
}

/// Forgets failed readings once no first reading is compared with them.
pub(crate) fn forget_failures(state: &mut State) {
    let is_read = |run: &Run| {
        let current = run.status.attempt.iter().any(|attempt| attempt.hung_since.is_some());
        current || run.status.past.iter().any(|past| past.hung_since.is_some())
    };
    if !state.runs.iter().flatten().any(|run| is_read(run)) {
        for replica in &mut state.replicas {
            replica.failed_at = replica.failed_at.filter(|at| !is_long_ago(*at));
        }
    }
}

/// Returns whether the next reading after a failure has become a first one.
fn is_long_ago(failed_at: Timestamp) -> bool {
    READ.iter().all(|wait| older(failed_at, *wait))
}

impl State {
    /// L12: checks after the reconciles of a quiet time that each hung machine was read, and is
    /// terminated by its second reading.
    pub(crate) fn no_hung_machine_stays(&self) -> Result<(), String> {
        let fails = |replica: &Replica| replica.failed_at.is_some_and(|at| !is_long_ago(at));
        if self.frozen_since.is_some() || self.replicas.iter().any(fails) {
            return Ok(());
        }
        for vm in self.machines.iter().filter(|vm| matches!(vm.doing, Doing::Dark | Doing::Stuck)) {
            let is_there = self.rows.iter().any(|row| row.id == vm.registration);
            let counts = is_there && older(vm.start_by, waits_for()) && now() <= vm.deadline;
            if counts && self.is_overlooked(&vm.attempt_id) {
                return Err(format!("L12: {}: hangs and is not terminated", vm.attempt_id));
            }
        }
        Ok(())
    }

    /// Returns whether a recorded attempt with a promise was not read, or was read for long enough.
    fn is_overlooked(&self, attempt_id: &AttemptId) -> bool {
        let over =
            |first: Option<Timestamp>| first.is_none_or(|first| now() >= first + READINGS_APART);
        let Some(run) = &self.runs[run_of(attempt_id)] else { return false };
        if run.uid.short() != attempt_id.uid {
            return false;
        }
        let current = run.status.attempt.iter().any(|attempt| {
            let promises = attempt.boot.start_by.is_some();
            attempt.number == attempt_id.number && promises && over(attempt.hung_since)
        });
        let past = run.status.past.iter().any(|past| {
            past.number == attempt_id.number && past.promise.is_some() && over(past.hung_since)
        });
        current || past
    }
}
