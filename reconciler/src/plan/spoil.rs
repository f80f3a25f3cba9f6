//! Mutants that change actions and launches.

use super::rows::{Action, Row};
use crate::model::{Attempt, Class, Instance, Observation, Outcome, Phase, Run};
use crate::mutant::{Mutant, on};

/// Omits the actions of disabled rules, and adds forbidden ones.
pub(crate) fn spoil(seen: &Observation, actions: &mut Vec<Action>) {
    let left_out = |row: Row| {
        let mutant = match row {
            Row::Overdue => Mutant::NoRow20,
            Row::Unregistered => Mutant::NoRow21,
            Row::Spent => Mutant::NoRow23,
            Row::Twin => Mutant::NoRow24,
            Row::Void => Mutant::NoRow25,
            Row::SeatFree => Mutant::NoRow26,
            _ => return false,
        };
        on(mutant)
    };
    actions.retain(|action| match action {
        Action::Unseat { row, .. } | Action::Retire { row, .. } | Action::Terminate { row, .. } => {
            !left_out(*row)
        }
        Action::Launch { .. } | Action::Remove => true,
    });
    let Some(run) = &seen.run else { return };
    let ours = seen.machines.iter().filter(|m| m.is_live() && m.slot.uid == run.uid.short());
    let wrong = ours.filter(|machine| wrong_ground(seen, run, machine));
    actions.extend(wrong.map(|machine| Action::Terminate {
        id: machine.id.clone(),
        slot: machine.slot.clone(),
        row: Row::Unregistered,
    }));
    if on(Mutant::RetireIdleOfFinished) && run.status.phase == Phase::Finished {
        let rows = seen.registrations.seen().iter();
        let idle = rows.filter(|r| r.missing_since.is_none() && r.online && !r.busy);
        actions.extend(idle.map(|row| Action::Retire {
            id: row.id,
            slot: row.slot.clone(),
            row: Row::Spent,
        }));
    }
}

fn wrong_ground(seen: &Observation, run: &Run, machine: &Instance) -> bool {
    let status = &run.status;
    let superseded = || status.past.iter().any(|p| p.number == machine.slot.number);
    let row = seen.registrations.by_id(machine.registration);
    on(Mutant::TerminateSuperseded) && superseded()
        || on(Mutant::TerminateFinished) && status.phase == Phase::Finished
        || on(Mutant::TerminateCancelled) && status.outcome == Some(Outcome::Cancelled)
        || on(Mutant::TerminateIdle)
            && row.is_some_and(|r| r.missing_since.is_none() && r.online && !r.busy)
}
/// Replaces the recorded machine spec with the class's current one.
pub(crate) fn todays_recipe(
    mut attempt: Attempt,
    placement: u32,
    class: Option<&Class>,
) -> Attempt {
    let recorded = usize::try_from(placement).ok();
    let Some(recorded) = recorded.and_then(|p| attempt.placements.get_mut(p)) else {
        return attempt;
    };
    let today = class.into_iter().flat_map(|class| &class.machines);
    if let Some(machine) = today.into_iter().find(|m| m.same_capacity(&recorded.machine)) {
        recorded.machine = machine.clone();
    }
    attempt
}
