//! Time passes to the next moment at which a decision may change. Each timestamp has the waits
//! that are counted from it; once the longest is over, it only counts as long ago. So the number of
//! states is finite.

use jiff::{SignedDuration, Timestamp};
use tinqs_ci_reconciler::model::{
    Answer, Attempt, AttemptId, End, Ended, MachineState, PastAttempt, PastPlacement, Phase,
    Placement, Refused, Run, Status,
};
use tinqs_ci_reconciler::plan::{
    DISABLED_FOR, FORGOTTEN_AFTER, READINGS_APART, REFUSED_AGAIN_FOR, REFUSED_FOR, VISIBLE_WITHIN,
};

use crate::hung::forget_promises;
use crate::reconcile::Reconcile;
use crate::state::{Doing, GRID, Hashed, Landing, Replica, State, Vm, now};

const fn minutes(n: i64) -> SignedDuration {
    SignedDuration::from_mins(n)
}

const NONE: &[SignedDuration] = &[];
const PASSED: &[SignedDuration] = &[SignedDuration::ZERO];
/// `boot_within`, the same and 11 min, and the time after which no machine appears.
const DECIDED: &[SignedDuration] = &[minutes(5), minutes(16), FORGOTTEN_AFTER];
/// Twice `boot_within`.
const START_WITHIN: SignedDuration = minutes(10);
/// `assign_within`.
const ENDED: &[SignedDuration] = &[minutes(1)];
/// From `start_by`: no runner starts, the promise is over, a reading counts, a second one does.
const PROMISED: &[SignedDuration] = &[SignedDuration::ZERO, minutes(2), minutes(4), minutes(6)];
/// A first reading counts only after the promise, also once both are long ago.
const AFTER_PROMISE: SignedDuration = SignedDuration::from_hours(1);
/// `READINGS_APART`, and the time after which a first reading is recorded again.
pub(crate) const READ: &[SignedDuration] = &[READINGS_APART, minutes(5)];
const ANSWERED: &[SignedDuration] = &[VISIBLE_WITHIN];
const REFUSED: &[SignedDuration] = &[REFUSED_FOR, REFUSED_AGAIN_FOR];
/// `boot_within`, and the same plus `idle_within` and a minute.
const LAUNCHED: &[SignedDuration] = &[minutes(5), minutes(8)];
const DEADLINE: &[SignedDuration] = &[SignedDuration::ZERO, minutes(2)];
const MISSING: &[SignedDuration] = &[minutes(1)];
const DISABLED: &[SignedDuration] = &[DISABLED_FOR];
/// The same as a replica knows it; it is compared with failed readings.
const KNOWN: &[SignedDuration] = &[DISABLED_FOR, READINGS_APART, minutes(5)];
/// `keep`.
const KEPT: &[SignedDuration] = &[minutes(25)];
/// The maximum duration of a reconcile.
pub(crate) const RECONCILE: &[SignedDuration] = &[minutes(1)];
/// The time for which the signature of a call is valid.
pub(crate) const SIGNED: &[SignedDuration] = &[minutes(5)];
/// The maximum age of the list.
pub(crate) const FROZEN: &[SignedDuration] = &[VISIBLE_WITHIN];

/// Returns the time that stands for long ago.
pub(crate) fn long_ago() -> Timestamp {
    now() - SignedDuration::from_hours(24)
}

pub(crate) fn older(at: Timestamp, wait: SignedDuration) -> bool {
    now() > at + wait
}

type Visit<'a> = &'a mut dyn FnMut(&mut Timestamp, &[SignedDuration]);

/// Returns the time until a decision may change; `None` if none will.
pub(crate) fn next_step(state: &State) -> Option<SignedDuration> {
    let mut least: Option<SignedDuration> = None;
    let mut copy = state.clone();
    visit_state(&mut copy, &mut |at, waits| {
        for wait in waits {
            let left = (*at + *wait).duration_since(now());
            if left >= SignedDuration::ZERO {
                let steps = left.as_secs() / GRID.as_secs() + 1;
                let step = SignedDuration::from_secs(steps * GRID.as_secs());
                least = Some(least.map_or(step, |l| l.min(step)));
            }
        }
    });
    least
}

/// Moves all timestamps into the past.
pub(crate) fn pass(state: &mut State, step: SignedDuration) {
    visit_state(state, &mut |at, _| *at -= step);
}

/// Replaces timestamps that make no difference any more; in records, only in those that changed.
/// Reconciles in progress keep what they have read: they count from when they began.
pub(crate) fn forget(state: &mut State, changed: impl Fn(usize) -> bool) {
    let reconciles = state.replicas.each_mut().map(|r| r.reconcile.take());
    visit_others(state, &mut |at, waits| collapse(at, waits));
    for (replica, reconcile) in state.replicas.iter_mut().zip(reconciles) {
        replica.reconcile = reconcile;
    }
    let State { runs, machines, landings, .. } = state;
    for (_, run) in runs.iter_mut().enumerate().filter(|(run, _)| changed(*run)) {
        let Some(run) = run else { continue };
        let mut kept = (**run).clone();
        forget_in(&mut kept);
        forget_answers(&mut kept, machines);
        forget_promises(&mut kept, machines, landings);
        if kept != **run {
            *run = Hashed::new(kept);
        }
    }
}

/// Forgets answers of listed machines: they stay listed for longer than anything waits.
fn forget_answers(run: &mut Run, machines: &[Vm]) {
    let listed = |attempt_id: &AttemptId, placement: usize| {
        let of_it = |m: &&Vm| m.attempt_id == *attempt_id && m.placement as usize == placement;
        machines.iter().find(of_it).is_some_and(|m| m.listed.is_some())
    };
    let attempt_ids: Vec<AttemptId> =
        run.status.past.iter().map(|p| run.attempt_id(p.number)).collect();
    for (past, attempt_id) in run.status.past.iter_mut().zip(attempt_ids) {
        for (index, placement) in past.placements.iter_mut().enumerate() {
            if let Some(answer) = placement.answered.as_mut().filter(|_| listed(&attempt_id, index))
            {
                answer.at = long_ago();
            }
        }
    }
    let attempt_id = run.status.attempt.as_ref().map(|a| run.attempt_id(a.number));
    if let (Some(attempt), Some(attempt_id)) = (&mut run.status.attempt, attempt_id) {
        for (index, placement) in attempt.placements.iter_mut().enumerate() {
            if let Some(answer) = placement.answered.as_mut().filter(|_| listed(&attempt_id, index))
            {
                answer.at = long_ago();
            }
        }
    }
}

fn collapse(at: &mut Timestamp, waits: &[SignedDuration]) {
    if waits.iter().all(|wait| older(*at, *wait)) {
        *at = long_ago();
    }
}

/// Normalizes a record: two records become equal if no decision can distinguish them.
pub(crate) fn forget_in(run: &mut Run) {
    visit_run(run, &mut |at, waits| collapse(at, waits));
    sanitize_run(run);
}

/// Normalizes what no decision reads: the timeline, the times and messages of conditions, and the
/// due of an open run, which may be reconciled at any time.
fn sanitize_run(run: &mut Run) {
    let keep = KEPT[0];
    let status = &mut run.status;
    status.timeline.clear();
    for condition in &mut status.conditions {
        condition.since = now();
        condition.message.clear();
    }
    status.due = match status.finished_at {
        Some(at) if status.phase == Phase::Finished && run.deleted_at.is_none() => at + keep,
        Some(_) | None => now(),
    };
}

/// Normalizes an attempt.
pub(crate) fn forget_in_attempt(attempt: &mut Attempt) {
    visit_attempt(attempt, &mut |at, waits| collapse(at, waits));
}

fn visit_state(state: &mut State, f: Visit<'_>) {
    for run in state.runs.iter_mut().flatten() {
        let mut moved = (**run).clone();
        visit_run(&mut moved, f);
        *run = Hashed::new(moved);
    }
    visit_others(state, f);
}

/// Visits everything but the records.
fn visit_others(state: &mut State, f: Visit<'_>) {
    let State {
        runs: _,
        made: _,
        seats: _,
        jobs: _,
        rows,
        machines,
        landings,
        replicas,
        frozen_since,
        faults: _,
        user_actions: _,
        recorded: _,
        registered: _,
        broken: _,
    } = state;
    for at in rows.iter_mut().filter_map(|row| row.disabled_at.as_mut()) {
        f(at, DISABLED);
    }
    for machine in machines {
        visit_vm(machine, f);
    }
    for Landing { attempt_id: _, placement: _, attempt, sent_at } in landings {
        visit_attempt(attempt, f);
        f(sent_at, SIGNED);
    }
    for Replica { missing, disabled, unavailable, failed_at, reconcile } in replicas {
        if let Some(at) = failed_at {
            // Later than a reading that is long ago too: that one does not count any more.
            visit_reading(at, SignedDuration::from_hours(2), f);
        }
        for (_, since) in missing {
            f(since, MISSING);
        }
        for (_, since) in disabled {
            // Later than a failed reading that is long ago too: it began again after that one.
            f(since, KNOWN);
            if *since == long_ago() {
                *since += SignedDuration::from_hours(3);
            }
        }
        for offering in unavailable {
            f(&mut offering.until, PASSED);
        }
        if let Some(hashed) = reconcile.take() {
            let mut moved = hashed.into_inner();
            visit_reconcile(&mut moved, f);
            *reconcile = Some(Hashed::new(moved));
        }
    }
    if let Some(since) = frozen_since {
        f(since, FROZEN);
    }
}

fn visit_vm(machine: &mut Vm, f: Visit<'_>) {
    let Vm { doing, listed, launched_at, start_by, deadline, .. } = machine;
    let waits = matches!(doing, Doing::Booting | Doing::Online | Doing::Dark | Doing::Stuck);
    let hides = matches!(doing, Doing::Busy { silent: true, .. });
    f(start_by, if waits || hides { PROMISED } else { NONE });
    // Only machines that are listed as live and not known to have a job can be late.
    let listed = matches!(listed, None | Some(MachineState::Booting | MachineState::Up));
    let used = matches!(doing, Doing::Busy { silent: false, .. } | Doing::Spent);
    f(launched_at, if listed && !used { LAUNCHED } else { NONE });
    // A deadline is hours away, except for a machine that hangs.
    match doing {
        Doing::Dark | Doing::Stuck | Doing::Spent => f(deadline, DEADLINE),
        Doing::Ending | Doing::Gone => f(deadline, NONE),
        Doing::Booting | Doing::Online | Doing::Busy { .. } => {}
    }
}

fn visit_reconcile(reconcile: &mut Reconcile, f: Visit<'_>) {
    let Reconcile {
        run: _,
        seen,
        stored,
        steps: _,
        prepare: _,
        more: _,
        rule: _,
        round: _,
        issued: _,
    } = reconcile;
    f(&mut seen.now, RECONCILE);
    if let Some(run) = stored {
        visit_run(run, f);
    }
    if let Some(run) = &mut seen.run {
        visit_run(run, f);
    }
    for machine in &mut seen.machines {
        f(&mut machine.launched_at, NONE);
        if let Some(promise) = &mut machine.promise {
            f(&mut promise.start_by, NONE);
        }
    }
    if let Some(read) = &mut seen.forge_read {
        f(&mut read.steady_since, NONE);
        f(&mut read.at, NONE);
    }
    if let tinqs_ci_reconciler::model::Registrations::Seen(rows) = &mut seen.registrations {
        for row in rows {
            for since in row.missing_since.iter_mut().chain(&mut row.disabled_since) {
                f(since, NONE);
            }
        }
    }
    for unavailable in seen.class.iter_mut().flat_map(|observed| &mut observed.unavailable) {
        f(&mut unavailable.until, NONE);
    }
}

fn visit_run(run: &mut Run, f: Visit<'_>) {
    f(&mut run.created_at, NONE);
    if let Some(at) = &mut run.deleted_at {
        f(at, KEPT);
    }
    let Status {
        phase: _,
        next: _,
        attempt,
        past,
        waiting_since,
        wait: _,
        failures: _,
        retry_at,
        finished_at,
        outcome: _,
        runner: _,
        // No run here has a workflow run.
        interrupted: _,
        conditions,
        timeline: _,
        usage: _,
        due,
    } = &mut run.status;
    if let Some(attempt) = attempt {
        visit_attempt(attempt, f);
    }
    for past in past {
        let PastAttempt {
            number: _,
            decided_at,
            class: _,
            registration: _,
            repo_id: _,
            deadline,
            promise,
            placements,
            ended,
            hung_since,
            boot_result,
            state_reason: _,
            log: _,
        } = past;
        let open = placements.iter().any(|p| p.answered.is_none() && p.refused.is_none());
        visit_decided(decided_at, open, f);
        *deadline = None;
        if let Some(promise) = promise {
            f(&mut promise.start_by, PROMISED);
        }
        if let Some(at) = hung_since {
            visit_reading(at, AFTER_PROMISE, f);
        }
        f(&mut ended.at, NONE);
        if let Some(result) = boot_result {
            f(&mut result.at, NONE);
        }
        for PastPlacement { answered, refused } in placements {
            visit_answers(answered.as_mut(), refused.as_mut(), f);
        }
    }
    f(waiting_since, NONE);
    if let Some(at) = retry_at {
        f(at, PASSED);
    }
    if let Some(at) = finished_at {
        f(at, KEPT);
    }
    for condition in conditions {
        f(&mut condition.since, NONE);
    }
    f(due, NONE);
}

fn visit_attempt(attempt: &mut Attempt, f: Visit<'_>) {
    let Attempt { decided_at, boot, placements, ended, hung_since, boot_result, .. } = attempt;
    let open = placements.iter().any(|p| p.answered.is_none() && p.refused.is_none());
    visit_decided(decided_at, open, f);
    if open {
        boot.start_by = Some(*decided_at + START_WITHIN);
    } else if let Some(start_by) = &mut boot.start_by {
        f(start_by, PROMISED);
    }
    if let Some(at) = hung_since {
        visit_reading(at, AFTER_PROMISE, f);
    }
    if let Some(result) = boot_result {
        f(&mut result.at, NONE);
    }
    if let Some(Ended { why, at }) = ended {
        f(at, if *why == End::Consumed { ENDED } else { NONE });
    }
    for Placement { machine: _, asked_again: _, chosen: _, answered, refused } in placements {
        visit_answers(answered.as_mut(), refused.as_mut(), f);
    }
}

/// Visits the time of a reading. Once it is long ago, it stays `later` than what was before it.
fn visit_reading(at: &mut Timestamp, later: SignedDuration, f: Visit<'_>) {
    f(at, READ);
    if *at == long_ago() {
        *at += later;
    }
}

/// Once each placement was answered or refused, the waits from the decision no longer matter.
fn visit_decided(decided_at: &mut Timestamp, open: bool, f: Visit<'_>) {
    if open {
        f(decided_at, DECIDED);
    } else {
        *decided_at = now();
    }
}

fn visit_answers(answered: Option<&mut Answer>, refused: Option<&mut Refused>, f: Visit<'_>) {
    if let Some(answer) = answered {
        f(&mut answer.at, ANSWERED);
    }
    if let Some(refused) = refused {
        f(&mut refused.at, REFUSED);
    }
}
