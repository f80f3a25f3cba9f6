//! Registrations without a machine.

use super::{RETIRED_UNSEEN_WITHIN, RETIRED_WITHIN, Sides};
use crate::model::{Drift, DriftKind, Machine, MachineState, NextStep, Registration};
use crate::plan::times::after;

pub(super) fn of(sides: &Sides<'_>) -> Vec<Drift> {
    let Some((rows, rows_at)) = sides.seen.registrations else { return Vec::new() };
    let Some((_, machines_at)) = sides.seen.machines else { return Vec::new() };
    let shown_at = rows_at.min(machines_at).min(sides.now);
    let alone = rows.iter().filter(|row| is_alone(row, sides.machines_of(&row.attempt_id)));
    let drifts = alone.filter(|row| is_ours(sides, row));
    let drifts = drifts.filter_map(|row| {
        let since = *sides.seen.since.alone.get(&row.id)?;
        let seen = sides.machines_of(&row.attempt_id).first();
        let grace = if seen.is_some() { RETIRED_WITHIN } else { RETIRED_UNSEEN_WITHIN };
        let open_since = after(since, grace);
        let served = || {
            let run = sides.open.get(&row.attempt_id.run)?;
            Some(sides.serving(run)?.class.name.clone())
        };
        (shown_at > open_since).then(|| Drift {
            kind: DriftKind::RegistrationWithoutMachine,
            class: seen.map(|machine| machine.class.clone()).or_else(served),
            run: row.attempt_id.run.clone(),
            machine: None,
            registration: Some(row.id),
            since,
            open_since,
            blocked_by: sides.seen.failing.forge,
            next: NextStep::Retire,
            by: Some(sides.next_sweep()),
        })
    });
    drifts.collect()
}

/// Returns whether a registration is this installation's. If its name, of an earlier release, does
/// not tell, its machine or the attempt of an open run does.
fn is_ours(sides: &Sides<'_>, row: &Registration) -> bool {
    let attempt_id = &row.attempt_id;
    let current = || sides.open.get(&attempt_id.run).and_then(|run| run.attempt.as_ref());
    attempt_id.installation().is_some()
        || !sides.machines_of(attempt_id).is_empty()
        || current().is_some_and(|current| current.uid == attempt_id.uid)
}

/// Returns whether a registration without a job has no machine that is booting, up or ending.
pub(crate) fn is_alone(row: &Registration, machines: &[&Machine]) -> bool {
    let gone = machines.iter().all(|machine| machine.state == MachineState::Gone);
    gone && !row.busy && row.missing_since.is_none()
}
