//! A plan as people and scripts read it. Pure.

use tinqs_ci_reconciler::observation::Observation;
use tinqs_ci_reconciler::plan::{self, Action, Plan, Row};
use tinqs_ci_reconciler::run::{Placement, Status};

use crate::api;

/// What a look at what is seen would do. Nothing is done.
pub fn plan_view(seen: &Observation) -> api::Plan {
    let Plan { row, status, prepare, actions } = plan::plan(seen);
    let stored = seen.run.as_ref();
    let mut changes: Vec<api::Change> = actions.iter().filter_map(freed).collect();
    if let (Some(before), Some(after)) = (stored.map(|r| &r.status), &status) {
        changes.extend(written(before, after, row));
    }
    if let Some(prepare) = &prepare {
        if prepare.seat.is_some() {
            changes.push(change("+", format!("seat {}", prepare.class), "seat", &because(Row::Seat)));
        }
        let attempt = format!("attempt {}", prepare.slot.number);
        let machine = &prepare.machine;
        let why = format!(
            "class {}, {} {}{} (row {})",
            prepare.class,
            machine.market,
            machine.kind,
            if machine.subnet.is_empty() { String::new() } else { format!(", {}", machine.subnet) },
            Row::NextAttempt
        );
        changes.push(change("+", attempt.clone(), "register", &because(Row::NextAttempt)));
        changes.push(change("+", attempt, "launch", &why));
    }
    changes.extend(actions.iter().filter_map(done_last));
    api::Plan {
        name: seen.name.to_string(),
        settled: changes.is_empty(),
        phase: stored.map(|r| r.status.phase),
        next_phase: status.as_ref().map(|s| s.phase),
        row: row.number().to_owned(),
        changes,
        observation: Some(seen.clone()),
    }
}

fn change(sign: &str, what: String, verb: &str, why: &str) -> api::Change {
    api::Change { sign: sign.to_owned(), what, verb: verb.to_owned(), why: why.to_owned() }
}

fn because(row: Row) -> String {
    let why = match row {
        Row::NoRecord => "there is no record",
        Row::Remove => "nothing is left of it",
        Row::Deleted => "a person deleted it",
        Row::Done => "its job is done",
        Row::JobGone => "its job is no longer at the forge",
        Row::Running => "its job runs",
        Row::Blocked => "the forge holds its job back",
        Row::Reopen => "its job waits again",
        Row::GiveUp => "it has waited too long",
        Row::NoClass => "no class serves its labels",
        Row::Live => "its machine is on its way or idle",
        Row::Launch => "it is recorded and was not answered",
        Row::Unseen => "the cloud may still show it",
        Row::NextPlacement => "the machine before it was refused for capacity",
        Row::Spare => "another job took its machine; that job's is expected",
        Row::Hold => "not now",
        Row::Seat => "places in its class are counted",
        Row::NextAttempt => "its job waits and nothing is on its way",
        Row::Overdue => "it lives past its deadline",
        Row::Unregistered => "its registration is gone: it can never get a job again",
        Row::Spent => "its machine is gone",
        Row::Twin => "it stands beside the recorded one",
        Row::Void => "nobody will ever launch its attempt",
        Row::SeatFree => "nothing sits on it any more",
        Row::PushConsumed => "its runner got a job",
        Row::PushEnded => "the machine that got a job ended",
    };
    format!("{why} (row {row})")
}

fn freed(action: &Action) -> Option<api::Change> {
    Some(match action {
        Action::Unseat { class, slot: _, row } => change("-", format!("seat {class}"), "unseat", &because(*row)),
        Action::Retire { id, slot: _, row } => change("-", format!("registration {id}"), "retire", &because(*row)),
        Action::Terminate { id, slot: _, row } => change("-", format!("machine {id}"), "terminate", &because(*row)),
        Action::Launch { .. } | Action::Remove => return None,
    })
}

fn done_last(action: &Action) -> Option<api::Change> {
    Some(match action {
        Action::Launch { slot, placement: _ } => {
            change("+", format!("attempt {}", slot.number), "launch", &because(Row::Launch))
        }
        Action::Remove => change("-", "run".to_owned(), "remove", &because(Row::Remove)),
        Action::Unseat { .. } | Action::Retire { .. } | Action::Terminate { .. } => return None,
    })
}

/// What would be written: a due that only moves is not.
fn written(before: &Status, after: &Status, row: Row) -> Option<api::Change> {
    let mut same_due = after.clone();
    same_due.due = before.due;
    if same_due == *before {
        return None;
    }
    let mut what = Vec::new();
    if before.phase != after.phase {
        what.push(format!("{:?} → {:?}", before.phase, after.phase));
    }
    if let (None, Some(reason)) = (before.reason().filter(|r| Some(*r) == after.reason()), after.reason()) {
        what.push(format!("{reason:?}"));
    }
    let placements = |s: &Status| s.attempt.as_ref().map_or(0, |a| a.placements.len());
    if placements(after) > placements(before)
        && let Some(Placement { machine, .. }) = after.attempt.as_ref().and_then(|a| a.placements.last())
    {
        what.push(format!("placement {} on {} {}", placements(after), machine.market, machine.kind));
    }
    let ended = |s: &Status| s.attempt.as_ref().and_then(|a| a.ended);
    if let (None, Some(ended)) = (ended(before), ended(after)) {
        what.push(format!("attempt over: {:?}", ended.why));
    }
    let why = if what.is_empty() { because(row) } else { format!("{}: {}", what.join(", "), because(row)) };
    Some(change("~", "run".to_owned(), "write", &why))
}
