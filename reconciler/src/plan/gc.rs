//! Garbage collection: rules 20 to 26. Each of their reasons, once true, stays true. There is no
//! other reason: a machine that appears idle may be taking a job at this moment. Rule 22 is in
//! `hung`. A reason that is a wait needs a clock that agrees with the true time.

use jiff::{SignedDuration, Timestamp};

use super::attempt_state::remains;
use super::hung;
use super::rules::{Action, Rule};
use super::times::{FORGOTTEN_AFTER, REFUSED_AGAIN_FOR, REFUSED_FOR};
use super::times::{after, older};
use crate::model::{Answer, AttemptId, ClassName, Job, MachineState, Observation, Refused};

/// The time after its tagged deadline for which a machine may still power itself off.
const OVERDUE_AFTER: SignedDuration = SignedDuration::from_mins(2);
/// The maximum life of a machine once its registration is known to be missing, beside its hold.
const UNREGISTERED_AFTER: SignedDuration = SignedDuration::from_secs(60);

/// The state of an attempt ID in the record.
enum AttemptRecord<'a> {
    /// It is the current attempt or a past one.
    Recorded(Recorded<'a>),
    /// Its number is below `next` and not recorded: it will never be launched.
    Void,
    /// There is no record of its incarnation.
    NoRecord,
    /// A reconcile may be preparing it.
    Ahead,
}

/// The current or a past attempt, as far as garbage collection needs it.
struct Recorded<'a> {
    registration: i64,
    class: &'a ClassName,
    decided_at: Timestamp,
    placements: Vec<PlacementRecord<'a>>,
    ended: bool,
}

/// The result of a placement.
struct PlacementRecord<'a> {
    answered: Option<&'a Answer>,
    refused: Option<Refused>,
    /// Whether it may have been requested more than once.
    again: bool,
}

/// Returns what may be terminated or freed now.
pub fn gc(seen: &Observation) -> Vec<Action> {
    let mut actions = seats(seen);
    actions.extend(registrations(seen));
    actions.extend(machines(seen));
    for action in hung::actions(seen) {
        // Terminate a machine once, even for several reasons.
        let twice = matches!(&action, Action::Terminate { id, .. } if actions
            .iter()
            .any(|a| matches!(a, Action::Terminate { id: other, .. } if other == id)));
        if !twice {
            actions.push(action);
        }
    }
    actions
}

/// Returns whether a wait is over, by a clock that agrees with the true time.
fn is_over(seen: &Observation, since: Timestamp, wait: SignedDuration) -> bool {
    seen.clock.agrees() && older(seen.now, since, wait)
}

/// Rules 20 and 21.
fn machines(seen: &Observation) -> impl Iterator<Item = Action> + '_ {
    seen.machines.iter().filter(|m| m.is_live()).filter_map(|machine| {
        let missing = seen.registrations.by_id(machine.registration).and_then(|r| r.missing_since);
        // A runner executes one job: there is no other that could still be running.
        let canceled = seen.canceled.contains(&machine.attempt_id);
        // A machine that may be held is, until its deadline.
        let held_until = |since| after(after(since, UNREGISTERED_AFTER), machine.hold());
        let is_held = |since| seen.now <= held_until(since).min(machine.deadline);
        let unregistered =
            |since| canceled || (is_over(seen, since, UNREGISTERED_AFTER) && !is_held(since));
        let rule = if is_over(seen, machine.deadline, OVERDUE_AFTER) {
            Rule::Overdue
        } else if missing.is_some_and(unregistered) {
            Rule::Unregistered
        } else {
            return None;
        };
        Some(Action::Terminate {
            id: machine.id.clone(),
            attempt_id: machine.attempt_id.clone(),
            rule,
        })
    })
}

/// Rules 23, 24 and 25.
fn registrations(seen: &Observation) -> impl Iterator<Item = Action> + '_ {
    let existing = seen.registrations.seen().iter().filter(|r| r.missing_since.is_none());
    existing.filter_map(|row| {
        let why = match record_of(seen, &row.attempt_id) {
            // Those of a lost reply get no job: one with a job was made by somebody else.
            AttemptRecord::Recorded(recorded) if recorded.registration != row.id => {
                (!row.busy).then_some(Rule::Duplicate)?
            }
            AttemptRecord::Recorded(recorded) => {
                spent(seen, &row.attempt_id, &recorded).then_some(Rule::Spent)?
            }
            // Another installation has its record, or one of an earlier release may.
            AttemptRecord::NoRecord if !row.attempt_id.is_of(&seen.installation) => return None,
            // It has a job on a machine that is not listed yet: the job must not be interrupted.
            AttemptRecord::Void | AttemptRecord::NoRecord if row.busy => return None,
            AttemptRecord::Void | AttemptRecord::NoRecord => {
                (!remains(seen, &row.attempt_id)).then_some(Rule::Void)?
            }
            AttemptRecord::Ahead => return None,
        };
        Some(Action::Retire { id: row.id, attempt_id: row.attempt_id.clone(), rule: why })
    })
}

/// Rule 26.
fn seats(seen: &Observation) -> Vec<Action> {
    let free = |class: &ClassName, attempt_id: &AttemptId| match record_of(seen, attempt_id) {
        AttemptRecord::Recorded(recorded) => {
            recorded.class != class || spent(seen, attempt_id, &recorded)
        }
        AttemptRecord::Void | AttemptRecord::NoRecord => !remains(seen, attempt_id),
        AttemptRecord::Ahead => false,
    };
    seen.seats
        .iter()
        .filter(|(class, attempt_id)| free(class, attempt_id))
        .map(|(class, attempt_id)| Action::Unseat {
            class: class.clone(),
            attempt_id: attempt_id.clone(),
            rule: Rule::SeatFree,
        })
        .collect()
}

fn record_of<'a>(seen: &'a Observation, attempt_id: &AttemptId) -> AttemptRecord<'a> {
    let Some(run) = seen.run.as_ref().filter(|run| run.uid.short() == attempt_id.uid) else {
        return AttemptRecord::NoRecord;
    };
    if let Some(attempt) = run.status.attempt.as_ref().filter(|a| a.number == attempt_id.number) {
        return AttemptRecord::Recorded(Recorded {
            registration: attempt.runner.id,
            class: &attempt.class,
            decided_at: attempt.decided_at,
            placements: attempt
                .placements
                .iter()
                .map(|p| PlacementRecord {
                    answered: p.answered.as_ref(),
                    refused: p.refused,
                    again: p.asked_again,
                })
                .collect(),
            ended: attempt.ended.is_some(),
        });
    }
    if let Some(past) = run.status.past.iter().find(|p| p.number == attempt_id.number) {
        return AttemptRecord::Recorded(Recorded {
            registration: past.registration,
            class: &past.class,
            decided_at: past.decided_at,
            // The record does not say how often a past one was requested.
            placements: past
                .placements
                .iter()
                .map(|p| PlacementRecord {
                    answered: p.answered.as_ref(),
                    refused: p.refused,
                    again: true,
                })
                .collect(),
            ended: true,
        });
    }
    if attempt_id.number < run.status.next { AttemptRecord::Void } else { AttemptRecord::Ahead }
}

/// Rule 23: returns whether no placement has a machine or will ever have one.
fn spent(seen: &Observation, attempt_id: &AttemptId, recorded: &Recorded<'_>) -> bool {
    // In push mode a missing registration counts as used: the end must be recorded first.
    if seen.job == Job::Unobservable && !recorded.ended {
        return false;
    }
    if remains(seen, attempt_id) {
        return false;
    }
    recorded.placements.iter().enumerate().all(|(index, placement)| {
        let of_it = seen
            .machines
            .iter()
            .find(|m| m.attempt_id == *attempt_id && usize::try_from(m.placement) == Ok(index));
        let gone = of_it.is_some_and(|m| m.state == MachineState::Gone);
        let keep_for = if placement.again { REFUSED_AGAIN_FOR } else { REFUSED_FOR };
        let refused = placement.refused.is_some_and(|r| is_over(seen, r.at, keep_for));
        let forgotten = of_it.is_none()
            && placement.answered.is_none()
            && is_over(seen, recorded.decided_at, FORGOTTEN_AFTER);
        gone || refused || forgotten
    })
}
