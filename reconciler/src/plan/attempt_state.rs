//! The attempt state that an observation shows: live, consumed, late, ended. Pure.

use jiff::SignedDuration;

use super::times::{
    DRAIN_GRACE, LONGEST_BACKOFF, SHOWN_AFTER, VISIBLE_WITHIN, after, launch_by, older,
};
use crate::model::{
    Attempt, AttemptId, End, Job, Machine, MachineState, Observation, Registrations, Run, Status,
    Times, hash_hex,
};

/// The observed state of the current attempt.
#[allow(clippy::struct_excessive_bools, reason = "independent flags")]
#[derive(Clone, Copy, Debug)]
pub(crate) struct AttemptState {
    /// Whether one of its machines is booting or up.
    pub(crate) live: bool,
    /// Whether a machine of its current placement is seen, in any state.
    pub(crate) seen: bool,
    /// Whether its registration was used.
    pub(crate) consumed: bool,
    /// Whether its registration has a job now.
    pub(crate) busy: bool,
    /// The reason why its live machine is late: not ready, or without a job, for too long.
    pub(crate) late: Option<End>,
    /// The reason of its end, if it ended.
    pub(crate) end: Option<End>,
}

impl AttemptState {
    pub(crate) fn new(seen: &Observation, run: &Run, status: &Status, times: &Times) -> Self {
        let mut attempt_state =
            Self { live: false, seen: false, consumed: false, busy: false, late: None, end: None };
        let Some(attempt) = &status.attempt else { return attempt_state };
        let attempt_id = run.attempt_id(attempt.number);
        let current = attempt.current();
        let of_attempt_id = || seen.machines.iter().filter(|m| m.attempt_id == attempt_id);
        attempt_state.live = of_attempt_id().any(Machine::is_live);
        attempt_state.seen = of_attempt_id().any(|m| m.placement == current);
        attempt_state.busy = at_work(seen, &attempt_id, attempt.runner.id);
        attempt_state.consumed = consumed(seen, attempt, &attempt_id);
        if let Some(machine) = of_attempt_id().find(|m| m.is_live()) {
            attempt_state.late = late(seen, attempt, machine, attempt_state.consumed, times);
        }
        attempt_state.end =
            attempt.ended.map(|e| e.why).or_else(|| over(seen, attempt, attempt_state));
        attempt_state
    }
}

/// Returns whether a job runs on the runner of this attempt.
pub(crate) fn runs_on(job: &Job, attempt_id: &AttemptId) -> bool {
    matches!(job, Job::Running { runner } if *runner == attempt_id.to_string())
}

/// Returns whether an attempt has a job now: its registration is busy. If registrations cannot be
/// listed in push mode: its machine is up.
pub(crate) fn at_work(seen: &Observation, attempt_id: &AttemptId, registration: i64) -> bool {
    match &seen.registrations {
        Registrations::Seen(_) => seen
            .registrations
            .by_id(registration)
            .is_some_and(|r| r.busy && r.missing_since.is_none()),
        Registrations::Unknown => {
            seen.job == Job::Unobservable
                && seen
                    .machines
                    .iter()
                    .any(|m| m.attempt_id == *attempt_id && m.state == MachineState::Up)
        }
    }
}

/// Returns whether a machine of the attempt is booting, up or ending.
pub(crate) fn remains(seen: &Observation, attempt_id: &AttemptId) -> bool {
    seen.machines.iter().any(|m| m.attempt_id == *attempt_id && m.state != MachineState::Gone)
}

/// Returns whether its registration is missing or busy, or a job runs on a runner of its name.
fn consumed(seen: &Observation, attempt: &Attempt, attempt_id: &AttemptId) -> bool {
    if let Job::Running { runner } = &seen.job
        && *runner == attempt.runner.name
    {
        return true;
    }
    let row = seen.registrations.by_id(attempt.runner.id);
    row.is_some_and(|r| r.missing_since.is_some()) || at_work(seen, attempt_id, attempt.runner.id)
}

fn late(
    seen: &Observation,
    attempt: &Attempt,
    machine: &Machine,
    consumed: bool,
    times: &Times,
) -> Option<End> {
    if !seen.clock.agrees() {
        return None;
    }
    let since = machine.launched_at;
    let online = match &seen.registrations {
        Registrations::Seen(_) => {
            seen.registrations.by_id(attempt.runner.id).is_some_and(|r| r.online)
        }
        Registrations::Unknown => machine.state == MachineState::Up,
    };
    if !online && !consumed && older(seen.now, since, times.boot_within) {
        return Some(End::NeverReady);
    }
    // Its own idle limit counts, not that of a new configuration.
    let drained =
        times.boot_within.saturating_add(attempt.boot.idle_within).saturating_add(DRAIN_GRACE);
    (!consumed && older(seen.now, since, drained)).then_some(End::NotAssigned)
}

fn over(seen: &Observation, attempt: &Attempt, attempt_state: AttemptState) -> Option<End> {
    if attempt_state.consumed {
        return Some(End::Consumed);
    }
    if attempt_state.live {
        return attempt_state.late;
    }
    if attempt_state.seen {
        return Some(End::MachineGone);
    }
    let Some(placement) = attempt.placements.last() else { return Some(End::NeverAnswered) };
    if let Some(refused) = placement.refused {
        return Some(End::Refused(refused.why));
    }
    match &placement.answered {
        _ if !seen.clock.agrees() => None,
        Some(answer) if older(seen.now, answer.at, VISIBLE_WITHIN) => Some(End::NeverSeen),
        None if seen.now >= after(launch_by(attempt), SHOWN_AFTER) => Some(End::NeverAnswered),
        Some(_) | None => None,
    }
}

/// Returns how long to wait after consecutive failures: not at all after the first, then 15 s
/// doubling to 8 min, reduced by up to a quarter by a hash of the attempt ID.
pub(crate) fn backoff(failures: u32, attempt_id: &AttemptId) -> Option<SignedDuration> {
    let doublings = failures.checked_sub(2)?.min(8);
    let longest = LONGEST_BACKOFF.as_secs();
    let full = 15_i64.saturating_mul(1 << doublings).min(longest) * 1000;
    let hash = i64::from_str_radix(&hash_hex(&[&attempt_id.to_string()])[..4], 16).unwrap_or(0);
    Some(SignedDuration::from_millis(full - full / 4 * hash / 0xffff))
}

/// Returns how many consecutive machines ended idle, not counting refusals.
pub(crate) fn idle_ends(status: &Status) -> usize {
    let ended = status.attempt.iter().filter_map(|a| a.ended.map(|e| e.why));
    let past = status.past.iter().rev().map(|p| p.ended.why);
    ended
        .chain(past)
        .filter(|end| !matches!(end, End::Refused(_)))
        .take_while(|end| matches!(end, End::MachineGone | End::NotAssigned))
        .count()
}
