//! Runs without a machine.

use jiff::Timestamp;

use super::{LISTED_WITHIN, PENDING_WITHIN, Sides};
use crate::model::{
    Blocker, Drift, DriftKind, End, Machine, NextStep, ObservedClass, Phase, Reason, Run,
};
use crate::plan::times::after;
use crate::ports::OpenRun;

/// Returns whether the record of an open run is needed to judge it at `now`: it may have waited for
/// too long, and the summary does not say why.
pub fn needs_record(run: &OpenRun, now: Timestamp) -> bool {
    let waits = matches!(run.phase, Phase::Waiting | Phase::Starting) && !run.deleted;
    waits && !run.at_limit && now > after(run.waiting_since, PENDING_WITHIN)
}

pub(super) fn of(sides: &Sides<'_>) -> Vec<Drift> {
    sides.seen.open.iter().filter_map(|run| without_machine(sides, run)).collect()
}

fn without_machine(sides: &Sides<'_>, run: &OpenRun) -> Option<Drift> {
    let waits = matches!(run.phase, Phase::Waiting | Phase::Starting) && !run.deleted;
    let record = sides.records.get(&run.name).copied();
    if !waits || record.is_some_and(|record| !is_wanted(record)) {
        return None;
    }
    let has_machine = |attempt_id| sides.machines_of(attempt_id).iter().any(|m| m.is_live());
    if run.attempt.as_ref().is_some_and(has_machine) {
        return None;
    }
    let class = sides.serving(run);
    let (since, open_since) = times(run, record, class);
    // A machine may have appeared since the list was read.
    let judged_at = match (&run.attempt, sides.seen.machines) {
        (Some(_), Some((_, listed_at))) => sides.now.min(listed_at),
        (Some(_), None) => return None,
        (None, _) => sides.now,
    };
    if judged_at <= open_since {
        return None;
    }
    let blocked_by = blocker(sides, run, record, class);
    let stop = class.and_then(|observed| observed.budget_stop(sides.now));
    let (next, by) = match blocked_by {
        Some(Blocker::Budget) if stop.is_some_and(|stop| stop.unpriced.is_none()) => {
            (NextStep::Launch, stop.map(|stop| stop.until))
        }
        Some(Blocker::Budget) => (NextStep::Nothing, None),
        Some(Blocker::NoClass | Blocker::ForgeDenied | Blocker::CloudDenied | Blocker::Paused) => {
            (NextStep::Nothing, None)
        }
        // It depends on when another machine ends.
        Some(Blocker::AtLimit) => (NextStep::Launch, None),
        _ => (NextStep::Launch, Some(record.map_or(run.due, |r| r.status.due).max(sides.now))),
    };
    Some(Drift {
        kind: DriftKind::RunWithoutMachine,
        class: class.map(|observed| observed.class.name.clone()),
        run: run.name.clone(),
        machine: None,
        registration: None,
        since,
        open_since,
        blocked_by,
        next,
        by,
    })
}

/// Returns whether the job of a record waits for a machine.
pub(super) fn is_wanted(record: &Run) -> bool {
    let waits = matches!(record.status.phase, Phase::Waiting | Phase::Starting);
    waits && record.deleted_at.is_none() && record.status.reason() != Some(Reason::Blocked)
}

/// Returns since when the run has no machine, and until when that is allowed.
fn times(
    run: &OpenRun,
    record: Option<&Run>,
    class: Option<&ObservedClass>,
) -> (Timestamp, Timestamp) {
    let grace = if run.attempt.is_some() { LISTED_WITHIN } else { PENDING_WITHIN };
    let mut since = run.waiting_since;
    let mut open_since = after(since, grace);
    let Some(record) = record else { return (since, open_since) };
    let last = record.status.attempt.as_ref().filter(|attempt| attempt.ended.is_some());
    let last = last.and_then(|attempt| attempt.ended);
    let last = last.or_else(|| record.status.past.last().map(|past| past.ended));
    match last.map(|ended| (ended.why, ended.at)) {
        // Another job took its machine, and it waits for the machine of that job.
        Some((End::Consumed, at)) if at > since => {
            let times = class.map(|observed| observed.class.times.clone()).unwrap_or_default();
            since = at;
            open_since = after(after(at, times.assign_within), grace);
        }
        // It had a machine, or may have had one: the next attempt has its own time.
        Some((End::MachineGone | End::NeverReady | End::NotAssigned, at)) => {
            let decided_at = record.status.attempt.as_ref().map(|attempt| attempt.decided_at);
            let began = decided_at.filter(|_| run.attempt.is_some()).unwrap_or(at).max(at);
            open_since = open_since.max(after(began, grace));
        }
        _ => {}
    }
    (since, open_since)
}

fn blocker(
    sides: &Sides<'_>,
    run: &OpenRun,
    record: Option<&Run>,
    class: Option<&ObservedClass>,
) -> Option<Blocker> {
    let seen = sides.seen;
    let Some(observed) = class else { return Some(Blocker::NoClass) };
    let service = seen.failing.forge.or(seen.failing.cloud);
    if service.is_some() {
        return service;
    }
    if observed.paused.is_some() {
        return Some(Blocker::Paused);
    }
    if observed.budget_stop(sides.now).is_some() {
        return Some(Blocker::Budget);
    }
    if observed.breaker.is_some() || observed.boot_stop.is_some() {
        return Some(Blocker::BreakerOpen);
    }
    if run.at_limit {
        return Some(Blocker::AtLimit);
    }
    let stated = record.and_then(|record| Blocker::of(record.status.reason()?));
    // What was recorded about the class may be over.
    let over =
        |stated: Blocker| matches!(stated, Blocker::NoClass | Blocker::Paused | Blocker::Budget);
    if let Some(stated) = stated.filter(|stated| !over(*stated)) {
        return Some(stated);
    }
    let machines = &observed.class.machines;
    let unavailable = |machine| observed.unavailable_until(machine, sides.now).is_some();
    if !machines.is_empty() && machines.iter().all(unavailable) {
        return Some(Blocker::NoCapacity);
    }
    (!seen.room && run.attempt.is_none()).then_some(Blocker::Paced)
}

/// Returns whether an idle machine is the one that a waiting run has.
pub(super) fn waits_for(sides: &Sides<'_>, machine: &Machine) -> bool {
    let Some(run) = sides.owner(&machine.attempt_id) else { return false };
    let waits = matches!(run.phase, Phase::Waiting | Phase::Starting) && !run.deleted;
    waits && sides.records.get(&run.name).is_none_or(|record| is_wanted(record))
}
