//! Machines without a run, without a registration, without a job, past their deadline, or not as
//! recorded.

use jiff::{SignedDuration, Timestamp};

use super::runs::waits_for;
use super::{ASSIGNED_WITHIN, ENDED_WITHIN, Sides, idles_for};
use crate::model::{Attempt, Drift, DriftKind, Machine, NextStep};
use crate::plan::hung::{HUNG_AFTER, READINGS_APART};
use crate::plan::times::after;

/// Sweeps find a machine, disable its registration and read it twice within this time.
const SWEPT_WITHIN: SignedDuration = SignedDuration::from_mins(3);

/// A difference of a machine, before it is compared with the time.
struct Found {
    kind: DriftKind,
    since: Timestamp,
    open_since: Timestamp,
    next: NextStep,
    by: Timestamp,
    /// Time at which the lists that show it were read: the earlier one of two.
    shown_at: Timestamp,
}

pub(super) fn of(sides: &Sides<'_>) -> Vec<Drift> {
    let Some((machines, listed_at)) = sides.seen.machines else { return Vec::new() };
    let live = machines.iter().filter(|machine| machine.is_live());
    live.filter_map(|machine| worst(sides, machine, listed_at)).collect()
}

/// Returns the first difference that is drift.
fn worst(sides: &Sides<'_>, machine: &Machine, listed_at: Timestamp) -> Option<Drift> {
    let found = [
        Some(ends_late(sides, machine, listed_at)),
        unregistered(sides, machine, listed_at),
        never_online(sides, machine, listed_at),
        not_as_recorded(sides, machine, listed_at),
        duplicate(sides, machine, listed_at),
        idle(sides, machine),
    ];
    let found = found.into_iter().flatten().find(|f| f.shown_at.min(sides.now) > f.open_since)?;
    let Found { kind, since, open_since, next, by, shown_at: _ } = found;
    let is_ours = matches!(next, NextStep::Terminate);
    Some(Drift {
        kind,
        class: Some(machine.class.clone()),
        run: machine.attempt_id.run.clone(),
        machine: Some(machine.id.clone()),
        registration: None,
        since,
        open_since,
        blocked_by: sides.seen.failing.cloud.filter(|_| is_ours),
        next,
        by: Some(by),
    })
}

/// Returns whether the machine belongs to an open run, of whatever attempt.
fn has_run(sides: &Sides<'_>, machine: &Machine) -> bool {
    sides.open.contains_key(&machine.attempt_id.run)
}

/// Past its deadline: it should have powered itself off, and is terminated (rule 20).
fn ends_late(sides: &Sides<'_>, machine: &Machine, listed_at: Timestamp) -> Found {
    Found {
        kind: if has_run(sides, machine) {
            DriftKind::ExpiredMachine
        } else {
            DriftKind::MachineWithoutRun
        },
        since: machine.deadline,
        open_since: after(machine.deadline, ENDED_WITHIN),
        next: NextStep::Terminate,
        by: sides.next_sweep(),
        shown_at: listed_at,
    }
}

/// Its registration is missing: its job is over, and it is terminated (rule 21) once it may not be
/// held any more.
fn unregistered(sides: &Sides<'_>, machine: &Machine, listed_at: Timestamp) -> Option<Found> {
    if sides.rows.contains_key(&machine.registration) {
        return None;
    }
    let since = *sides.seen.since.missing.get(&machine.registration)?;
    Some(Found {
        kind: if has_run(sides, machine) {
            DriftKind::MachineWithoutRegistration
        } else {
            DriftKind::MachineWithoutRun
        },
        since,
        open_since: after(after(since, machine.hold()), ENDED_WITHIN),
        next: NextStep::Terminate,
        by: sides.next_sweep(),
        shown_at: listed_at,
    })
}

/// Returns how and by when a machine without a job ends: by rule 22 if its boot promise is known.
fn ends_unused(machine: &Machine) -> (NextStep, Timestamp) {
    let read_twice = HUNG_AFTER.saturating_add(READINGS_APART).saturating_add(SWEPT_WITHIN);
    let hung = machine.promise.map(|promise| after(promise.idle_until(), read_twice));
    match hung.filter(|by| *by < machine.deadline) {
        Some(by) => (NextStep::Terminate, by),
        None => (NextStep::PowerOff, machine.deadline),
    }
}

/// Its runner is not online. It may be about to take a job, so that it is left alone for a while.
fn never_online(sides: &Sides<'_>, machine: &Machine, listed_at: Timestamp) -> Option<Found> {
    let (_, rows_at) = sides.seen.registrations?;
    let row = sides.rows.get(&machine.registration)?;
    if row.online || row.busy || row.attempt_id != machine.attempt_id {
        return None;
    }
    let class = sides.class(&machine.class);
    let times = class.map(|observed| observed.class.times.clone()).unwrap_or_default();
    let (next, by) = ends_unused(machine);
    Some(Found {
        kind: DriftKind::MachineWithoutRegistration,
        since: machine.launched_at,
        open_since: after(machine.launched_at, times.boot_within),
        next,
        by,
        shown_at: listed_at.min(rows_at),
    })
}

/// It differs from the placement that was recorded before its launch.
fn not_as_recorded(sides: &Sides<'_>, machine: &Machine, listed_at: Timestamp) -> Option<Found> {
    let attempt = sides.attempt(&machine.attempt_id)?;
    (!is_as_recorded(machine, attempt)).then_some(Found {
        kind: DriftKind::SpecMismatch,
        since: machine.launched_at,
        open_since: machine.launched_at,
        next: NextStep::PowerOff,
        by: machine.deadline,
        shown_at: listed_at,
    })
}

/// Whether a machine is what its attempt recorded. The deadline is not compared: a cloud may keep
/// tags with less precision.
fn is_as_recorded(machine: &Machine, attempt: &Attempt) -> bool {
    let index = usize::try_from(machine.placement).ok();
    let Some(placement) = index.and_then(|index| attempt.placements.get(index)) else {
        return false;
    };
    let spec = &placement.machine;
    machine.kind == spec.kind
        && machine.market == spec.market
        && machine.class == attempt.class
        && machine.registration == attempt.runner.id
}

/// An older machine of the same attempt is live: only one of them can get a job.
fn duplicate(sides: &Sides<'_>, machine: &Machine, listed_at: Timestamp) -> Option<Found> {
    let others = sides.machines_of(&machine.attempt_id).iter().filter(|other| other.is_live());
    let key = |m: &Machine| (m.launched_at, m.id.clone());
    let first = others.min_by_key(|other| key(other))?;
    (first.id != machine.id).then(|| Found {
        kind: DriftKind::SurplusMachine,
        since: machine.launched_at,
        open_since: after(machine.launched_at, ENDED_WITHIN),
        next: NextStep::PowerOff,
        by: machine.deadline,
        shown_at: listed_at,
    })
}

/// Its runner is online without a job.
fn idle(sides: &Sides<'_>, machine: &Machine) -> Option<Found> {
    let (_, rows_at) = sides.seen.registrations?;
    let row = sides.rows.get(&machine.registration)?;
    let works = sides.working.contains(machine.attempt_id.to_string().as_str());
    if !row.online || row.busy || works {
        return None;
    }
    let since = *sides.seen.since.idle.get(&row.id)?;
    let ends = after(since, idles_for(sides.class(&machine.class)));
    let found = if waits_for(sides, machine) {
        Found {
            kind: DriftKind::JobNotAssigned,
            since,
            open_since: after(since, ASSIGNED_WITHIN),
            next: NextStep::PowerOff,
            by: if ends > sides.now { ends } else { machine.deadline },
            shown_at: rows_at,
        }
    } else {
        Found {
            kind: DriftKind::SurplusMachine,
            since,
            open_since: ends,
            next: NextStep::PowerOff,
            by: machine.deadline,
            shown_at: rows_at,
        }
    };
    Some(found)
}
