//! Sanitizes a bad record: times in the future, numbers out of order. Sanitized values are written
//! like any other change, so every record is repaired.

use jiff::{SignedDuration, Timestamp};

use super::times::{LONGEST_BACKOFF, LONGEST_BACKOFF_PUSH, after};
use crate::model::{ClockCheck, Ended, Job, Observation, Outcome, Phase, Run, Status};

/// The maximum lead of another replica's time: both clocks agree with the true time within two
/// minutes, and a reconcile may begin a minute before its record can be read.
const CLOCKS_APART: SignedDuration = SignedDuration::from_mins(5);
/// The highest attempt number that is accepted.
const LAST_NUMBER: u32 = u32::MAX / 2;
/// A number further ahead than this is ignored as foreign.
const NUMBERS_AHEAD: u32 = 1000;

/// Sanitizes the status of a bad record.
pub(super) fn sanitize(status: &mut Status, run: &Run, seen: &Observation) {
    // A clock that is behind would take every time for one in the future.
    if seen.clock != ClockCheck::Unchecked {
        times(status, seen);
    }
    if status.phase == Phase::Finished {
        status.finished_at.get_or_insert(seen.now);
        status.outcome.get_or_insert(Outcome::JobGone);
    } else {
        status.finished_at = None;
        status.outcome = None;
    }
    numbers(status, run, seen);
}

fn times(status: &mut Status, seen: &Observation) {
    let now = seen.now;
    let longest =
        if seen.job == Job::Unobservable { LONGEST_BACKOFF_PUSH } else { LONGEST_BACKOFF };
    status.waiting_since = status.waiting_since.min(now);
    status.finished_at = status.finished_at.map(|at| at.min(now));
    status.retry_at = status.retry_at.map(|at| at.min(after(now, longest)));
    let past = |at: &mut Timestamp| {
        if *at > after(now, CLOCKS_APART) {
            *at = now;
        }
    };
    let ended = |ended: &mut Ended| past(&mut ended.at);
    if let Some(attempt) = &mut status.attempt {
        past(&mut attempt.decided_at);
        attempt.ended.iter_mut().for_each(ended);
        attempt.hung_since.iter_mut().for_each(past);
        attempt.boot_result.iter_mut().for_each(|r| past(&mut r.at));
        for placement in &mut attempt.placements {
            placement.answered.iter_mut().for_each(|a| past(&mut a.at));
            placement.refused.iter_mut().for_each(|r| past(&mut r.at));
        }
    }
    for attempt in &mut status.past {
        past(&mut attempt.decided_at);
        ended(&mut attempt.ended);
        attempt.hung_since.iter_mut().for_each(past);
        attempt.boot_result.iter_mut().for_each(|r| past(&mut r.at));
        for placement in &mut attempt.placements {
            placement.answered.iter_mut().for_each(|a| past(&mut a.at));
            placement.refused.iter_mut().for_each(|r| past(&mut r.at));
        }
    }
}

/// Raises `next` above every number that was used: recorded ones, and those seen of this
/// incarnation. An attempt in preparation has the number `next` itself and no machine yet. A run
/// that stays finished has none: a reconcile that opens it again at this moment writes over the
/// former version, which fails once this one is written.
fn numbers(status: &mut Status, run: &Run, seen: &Observation) {
    // No run gets this far, and after such a number there would be no next one.
    if status.attempt.as_ref().is_some_and(|a| a.number > LAST_NUMBER) {
        status.attempt = None;
    }
    status.past.retain(|past| past.number <= LAST_NUMBER);
    if status.next > LAST_NUMBER {
        status.next = 1;
    }
    let recorded =
        status.past.iter().map(|p| p.number).chain(status.attempt.as_ref().map(|a| a.number));
    let mut next = recorded.map(|n| n.saturating_add(1)).fold(status.next.max(1), u32::max);
    let uid = run.uid.short();
    let furthest = next.saturating_add(NUMBERS_AHEAD);
    let is_over = matches!(seen.job, Job::Done { .. } | Job::Absent | Job::Unobservable);
    let finished = status.phase == Phase::Finished && is_over;
    let machines = seen.machines.iter().map(|m| (&m.attempt_id, true));
    let rows = seen.registrations.seen().iter().map(|r| (&r.attempt_id, false));
    let seats = seen.seats.iter().map(|(_, attempt_id)| (attempt_id, false));
    for (attempt_id, machine) in machines.chain(rows).chain(seats) {
        let used = attempt_id.number > next || (attempt_id.number == next && (machine || finished));
        if attempt_id.uid == uid && used && attempt_id.number < furthest {
            next = attempt_id.number.saturating_add(1);
        }
    }
    status.next = next;
}
