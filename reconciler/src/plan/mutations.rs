//! Mutants that change actions and launches.

use super::rules::{Action, Rule};
use crate::model::{Attempt, Class, Machine, Observation, Outcome, Phase, Registration, Run};
use crate::mutant::{Mutant, on};

/// Omits the actions of disabled rules, and adds forbidden ones.
pub(crate) fn mutate(seen: &Observation, actions: &mut Vec<Action>) {
    let left_out = |rule: Rule| {
        let mutant = match rule {
            Rule::Overdue => Mutant::NoRule20,
            Rule::Unregistered => Mutant::NoRule21,
            Rule::Spent => Mutant::NoRule23,
            Rule::Duplicate => Mutant::NoRule24,
            Rule::Void => Mutant::NoRule25,
            Rule::SeatFree => Mutant::NoRule26,
            _ => return false,
        };
        on(mutant)
    };
    actions.retain(|action| match action {
        Action::Unseat { rule, .. }
        | Action::Retire { rule, .. }
        | Action::Terminate { rule, .. } => !left_out(*rule),
        Action::Launch { .. } | Action::Remove => true,
    });
    let Some(run) = &seen.run else { return };
    let ours = seen.machines.iter().filter(|m| m.is_live() && m.attempt_id.uid == run.uid.short());
    let wrong = ours.filter(|machine| wrong_ground(seen, run, machine));
    actions.extend(wrong.map(|machine| Action::Terminate {
        id: machine.id.clone(),
        attempt_id: machine.attempt_id.clone(),
        rule: Rule::Unregistered,
    }));
    if on(Mutant::RetireIdleOfFinished) && run.status.phase == Phase::Finished {
        let rows = seen.registrations.seen().iter();
        let idle = rows.filter(|row| appears_idle(row));
        actions.extend(idle.map(|row| Action::Retire {
            id: row.id,
            attempt_id: row.attempt_id.clone(),
            rule: Rule::Spent,
        }));
    }
}

fn appears_idle(registration: &Registration) -> bool {
    registration.missing_since.is_none() && registration.online && !registration.busy
}

fn wrong_ground(seen: &Observation, run: &Run, machine: &Machine) -> bool {
    let status = &run.status;
    let superseded = || status.past.iter().any(|p| p.number == machine.attempt_id.number);
    let row = seen.registrations.by_id(machine.registration);
    on(Mutant::TerminateSuperseded) && superseded()
        || on(Mutant::TerminateFinished) && status.phase == Phase::Finished
        || on(Mutant::TerminateCancelled) && status.outcome == Some(Outcome::Cancelled)
        || on(Mutant::TerminateIdle) && row.is_some_and(appears_idle)
}

/// Replaces the recorded machine spec with the class's current one.
pub(crate) fn current_spec(mut attempt: Attempt, placement: u32, class: Option<&Class>) -> Attempt {
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
