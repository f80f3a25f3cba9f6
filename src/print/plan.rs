//! What a look would do, from an observation, and as lines.

use std::fmt::Write as _;

use tinqs_ci_reconciler::class::Machine;
use tinqs_ci_reconciler::observation::Observation;
use tinqs_ci_reconciler::plan::{self as decided, Action, Prepare, Row};
use tinqs_ci_reconciler::run::{Slot, Status};

use super::escape;
use crate::api::{Change, Plan};

/// What the first round of a look at this would do.
pub fn plan_of(seen: Observation) -> Plan {
    let plan = decided::plan(&seen);
    let before = seen.run.as_ref().map(|run| &run.status);
    let mut changes: Vec<Change> = Vec::new();
    let (launches, frees): (Vec<&Action>, Vec<&Action>) = plan
        .actions
        .iter()
        .partition(|action| matches!(action, Action::Launch { .. } | Action::Remove));
    changes.extend(frees.into_iter().map(|action| change(action, &seen)));
    if let Some(needs) = &plan.prepare {
        prepare(&mut changes, needs);
    }
    if let (Some(before), Some(after)) = (before, &plan.status)
        && differs(before, after)
    {
        changes.push(write(before, after, plan.row));
    }
    changes.extend(launches.into_iter().map(|action| change(action, &seen)));
    Plan {
        name: seen.name.to_string(),
        settled: changes.is_empty(),
        phase: before.map(|status| status.phase),
        next_phase: plan.status.as_ref().map(|status| status.phase),
        row: plan.row.number().to_owned(),
        changes,
        observation: Some(seen),
    }
}

fn new(sign: &str, what: String, verb: &str, why: String) -> Change {
    Change { sign: sign.to_owned(), what, verb: verb.to_owned(), why }
}

/// `attempt 3`, with its incarnation where that is not the recorded one's.
fn attempt(slot: &Slot, seen: &Observation) -> String {
    let is_own = seen.run.as_ref().is_some_and(|run| run.uid.short() == slot.uid);
    if is_own { format!("attempt {}", slot.number) } else { format!("slot {slot}") }
}

fn machine(machine: &Machine) -> String {
    let subnet = if machine.subnet.is_empty() { "" } else { ", " };
    format!("{} {}{subnet}{}", machine.market, machine.kind, machine.subnet)
}

/// Why, in words, and the row that says it.
fn because(row: Row) -> String {
    let words = match row {
        Row::NoRecord => "there is no record",
        Row::Remove => "nothing of it is left",
        Row::Deleted => "a person deleted it",
        Row::Done => "its job is done",
        Row::JobGone => "its job is no longer at the forge",
        Row::Running => "its job runs",
        Row::Blocked => "its job waits for others at the forge",
        Row::Reopen => "its job waits again",
        Row::GiveUp => "its job has waited too long",
        Row::NoClass => "no class serves its labels",
        Row::Live => "its machine is on its way or idle",
        Row::Launch => "the recorded machine is asked for",
        Row::Unseen => "the cloud may still show its machine",
        Row::NextPlacement => "refused for capacity: the class's next machine",
        Row::Spare => "another job took its machine; that job's is expected",
        Row::Hold => "not now: backing off, no capacity, or paced",
        Row::Seat => "a seat first",
        Row::NextAttempt => "its job waits and no machine is on its way",
        Row::Overdue => "live past its deadline",
        Row::Unregistered => "its registration is gone: it can get no job",
        Row::Spent => "its machine is gone",
        Row::Twin => "beside the recorded one",
        Row::Void => "of an attempt that is recorded nowhere",
        Row::SeatFree => "its attempt is over",
        Row::PushConsumed => "it got a job",
        Row::PushEnded => "its machine ended",
    };
    format!("{words} (row {row})")
}

fn change(action: &Action, seen: &Observation) -> Change {
    match action {
        Action::Unseat { class, slot, row } => {
            let of = attempt(slot, seen);
            new("-", format!("seat {class}"), "unseat", format!("{of}: {}", because(*row)))
        }
        Action::Retire { id, slot, row } => {
            let of = attempt(slot, seen);
            new("-", format!("registration {id}"), "retire", format!("{of}: {}", because(*row)))
        }
        Action::Terminate { id, slot, row } => {
            let of = attempt(slot, seen);
            new("-", format!("machine {id}"), "terminate", format!("{of}: {}", because(*row)))
        }
        Action::Launch { slot, placement } => {
            let recorded = seen.run.as_ref().and_then(|run| run.status.attempt.as_ref());
            let index = usize::try_from(*placement).unwrap_or(usize::MAX);
            let recipe = recorded
                .filter(|attempt| attempt.number == slot.number)
                .and_then(|attempt| {
                    let placement = attempt.placements.get(index)?;
                    Some(format!("class {}, {}", attempt.class, machine(&placement.machine)))
                })
                .unwrap_or_else(|| "the class's next machine".to_owned());
            new("+", attempt(slot, seen), "launch", format!("{recipe} (placement {placement})"))
        }
        Action::Remove => new("-", "run".to_owned(), "remove", because(Row::Remove)),
    }
}

fn prepare(changes: &mut Vec<Change>, needs: &Prepare) {
    let Prepare { slot, class, seat, repo, labels, machine: first, idle_within: _, deadline } =
        needs;
    let number = slot.number;
    if let Some(limits) = seat {
        let limit = |limit: Option<u32>| limit.map_or("no limit".to_owned(), |l| l.to_string());
        let why = format!(
            "class {}, {repo} {} (row {})",
            limit(limits.class),
            limit(limits.repo),
            Row::Seat
        );
        changes.push(new("+", format!("seat {class}"), "seat", why));
    }
    let why = format!("labels {}", labels.join(","));
    changes.push(new("+", format!("attempt {number}"), "register", why));
    let why = format!(
        "class {class}, {}, until {deadline}: {}",
        machine(first),
        because(Row::NextAttempt)
    );
    changes.push(new("+", format!("attempt {number}"), "launch", why));
}

/// Whether more than the due moved: that alone is not written.
fn differs(before: &Status, after: &Status) -> bool {
    let mut same_due = after.clone();
    same_due.due = before.due;
    same_due != *before
}

fn write(before: &Status, after: &Status, row: Row) -> Change {
    let phase = if before.phase == after.phase {
        format!("{:?}", after.phase)
    } else {
        format!("{:?} → {:?}", before.phase, after.phase)
    };
    new("~", "run".to_owned(), "write", format!("{phase}: {}", because(row)))
}

/// Lines `+ - ~`, and how many.
pub fn plan(plan: &Plan) -> String {
    let mut text = String::new();
    let widest = plan.changes.iter().map(|change| change.what.chars().count()).max().unwrap_or(0);
    let width = widest.clamp(18, 60);
    for Change { sign, what, verb, why } in &plan.changes {
        let (sign, what, verb, why) = (escape(sign), escape(what), escape(verb), escape(why));
        let _ = writeln!(text, "{sign} {what:width$} {verb:11} {why}");
    }
    let state = plan.next_phase.or(plan.phase).map(|phase| format!(" in {phase:?}"));
    let row = escape(&plan.row);
    let _ = match plan.changes.len() {
        0 => writeln!(text, "settled{}: nothing to do (row {row})", state.unwrap_or_default()),
        1 => writeln!(text, "1 change"),
        n => writeln!(text, "{n} changes"),
    };
    text
}
