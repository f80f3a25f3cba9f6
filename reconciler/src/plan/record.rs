//! Turns the results of actions into the next status, and decides whether to write it. Pure.

use jiff::{SignedDuration, Timestamp};

pub use super::decide::live_attempts;
use super::decide::{supersede, tell};
use super::last_lines::telling_line;
use super::rules::Prepare;
use super::times::{LONGEST_DUE, after};
use super::usage;
use crate::model::{
    Answer, Attempt, Boot, BootStop, ClassName, Condition, End, Happened, Machine, Phase,
    Placement, Reason, Refusal, Refused, Run, Runner, Secret, Status,
};
use crate::ports::ErrorKind;

/// Keeps the boot result of a decision that is not written: the decision may have retired the
/// registration, so that the next one cannot conclude the result again.
pub fn keep_boot_result(status: &mut Status, decided: &Status) {
    if let (Some(attempt), Some(decided)) = (&mut status.attempt, &decided.attempt)
        && attempt.number == decided.number
    {
        attempt.boot_result = attempt.boot_result.or(decided.boot_result);
    }
}

/// Adds the next attempt, which has its seat and registration and is recorded before its launch.
/// `live`: the numbers of the run's attempts that have a live machine ([`live_attempts`]).
pub fn prepared(
    status: &mut Status,
    prepare: Prepare,
    runner: Runner,
    boot: (String, Option<Secret>),
    now: Timestamp,
    live: &[u32],
) {
    let Prepare {
        attempt_id, class, machine, chosen, idle_within, deadline, start_by, hold, ..
    } = prepare;
    supersede(status, End::NeverAnswered, now, live);
    let (instance_url, git_token) = boot;
    status.happened(now, Happened::Registered { attempt: attempt_id.number });
    status.attempt = Some(Attempt {
        number: attempt_id.number,
        decided_at: now,
        class,
        runner,
        boot: Boot {
            deadline,
            idle_within,
            start_by: Some(start_by),
            hold,
            instance_url,
            git_token,
        },
        placements: vec![Placement { chosen, ..Placement::new(machine) }],
        ended: None,
        hung_since: None,
        boot_result: None,
        state_reason: None,
        log: None,
    });
    status.next = attempt_id.number.saturating_add(1);
    status.phase = Phase::Starting;
    status.retry_at = None;
    status.conditions.clear();
    status.due = now;
}

/// Records what the machine of the attempt printed before it ended without a job. The reason that
/// names this end repeats the line.
pub fn printed(status: &mut Status, lines: String) {
    let told = telling_line(&lines);
    let names_it =
        |c: &&mut Condition| c.reason == Reason::BackingOff || BootStop::is_told_by(&c.message);
    let condition = status.conditions.iter_mut().find(names_it);
    if let (Some(condition), Some(line)) = (condition, told) {
        condition.message = format!("{}: {line}", condition.message);
    }
    if let Some(attempt) = &mut status.attempt {
        attempt.log = Some(lines);
    }
}

/// Returns why a run gets no seat. The limit and the runs before it are not named: they change with
/// each machine that ends, which is not worth a write. They are computed when somebody asks.
pub(super) fn at_limit_because(class: &ClassName) -> String {
    format!(
        "class {class} is at its limit of machines, in total, for this repository or for its \
         owner, or its next machines are for other jobs"
    )
}

/// Records what the machine of an ended attempt of this number printed, current or past.
pub fn printed_late(status: &mut Status, number: u32, lines: String) {
    if status.attempt.as_ref().is_some_and(|attempt| attempt.number == number) {
        printed(status, lines);
    } else if let Some(past) = status.past.iter_mut().find(|past| past.number == number) {
        past.log = Some(lines);
    }
}

/// Sets the status of a run that got no seat.
pub fn at_limit(status: &mut Status, prepare: &Prepare, now: Timestamp) {
    status.phase = Phase::Waiting;
    tell(status, Reason::AtLimit, now, at_limit_because(&prepare.class));
    status.due = after(now, SignedDuration::from_mins(5));
}

/// Schedules another try after a failed preparation.
pub fn not_prepared(status: &mut Status, now: Timestamp) {
    status.due = after(now, SignedDuration::from_secs(15));
}

/// Records a launch that returned a machine, in any state.
pub fn launched(status: &mut Status, placement: u32, machine: &Machine, now: Timestamp) {
    let Some((attempt, placement)) = placement_of(status, placement) else { return };
    let before = placement.answered.replace(Answer { id: machine.id.clone(), at: now });
    if before.is_none_or(|before| before.id != machine.id) {
        status.happened(now, Happened::Launched { attempt, machine: machine.id.clone() });
    }
}

/// Records a launch that returned no machine. Ambiguous and rate-limited answers change nothing.
pub fn not_launched(status: &mut Status, placement: u32, kind: ErrorKind, now: Timestamp) {
    let why = match kind {
        ErrorKind::NoCapacity => Refusal::NoCapacity,
        ErrorKind::Limit => Refusal::Limit,
        ErrorKind::Denied => Refusal::Denied,
        ErrorKind::Invalid => Refusal::Invalid,
        ErrorKind::Conflict | ErrorKind::Unavailable | ErrorKind::Throttled => return,
    };
    refused(status, placement, why, now);
}

/// Records a definitive refusal, also of a placement that an open breaker held back.
pub fn refused(status: &mut Status, placement: u32, why: Refusal, now: Timestamp) {
    let Some((attempt, placement)) = placement_of(status, placement) else { return };
    placement.refused = Some(Refused { why, at: now });
    status.happened(now, Happened::Refused { attempt, why });
}

/// Returns the attempt's number and the placement.
fn placement_of(status: &mut Status, placement: u32) -> Option<(u32, &mut Placement)> {
    let attempt = status.attempt.as_mut()?;
    let index = usize::try_from(placement).ok()?;
    Some((attempt.number, attempt.placements.get_mut(index)?))
}

/// Returns whether a run in this status is reconciled again without an event: it is open, or
/// deleted and not yet removed.
pub(crate) fn is_due_soon(run: &Run, status: &Status) -> bool {
    status.phase != Phase::Finished || run.deleted_at.is_some()
}

/// Returns whether this status must be written over the stored record: more than its due changed,
/// or the stored due is invalid. A due that only moves with each reconcile is not written, nor are
/// notes about machines that another write can carry.
pub fn worth_writing(stored: &Run, status: &Status, now: Timestamp) -> bool {
    let mut same_due = status.clone();
    same_due.due = stored.status.due;
    same_due.usage = stored.status.usage.clone();
    let scrambled = if is_due_soon(stored, status) {
        // Not if the plan itself asks for it: in push mode a run may wait an hour.
        stored.status.due > after(now, LONGEST_DUE) && status.due < stored.status.due
    } else {
        stored.status.due != status.due
    };
    same_due != stored.status
        || scrambled
        || usage::is_overdue(&stored.status.usage, &status.usage, now)
}
