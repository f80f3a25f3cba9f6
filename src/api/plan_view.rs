//! The plan of the next reconcile, for people.

use tinqs_ci_reconciler::model::{Observation, RerunScope, Run, Status};
use tinqs_ci_reconciler::plan::{self, Action, Prepare, Rule, record};

use super::types::{Change, Plan};

/// Returns the plan for an observation, in the order of execution. It covers one reconcile; later
/// steps depend on the results and appear when asked again.
pub fn plan_view(seen: &Observation) -> Plan {
    let plan::Plan { rule, status, prepare, actions } = plan::plan(seen);
    let mut changes: Vec<Change> = Vec::new();
    let is_last = |action: &&Action| {
        matches!(action, Action::Launch { .. } | Action::Rerun { .. } | Action::Remove)
    };
    let (last, first): (Vec<&Action>, Vec<&Action>) = actions.iter().partition(is_last);
    changes.extend(first.into_iter().map(|action| of_action(seen, action, rule)));
    if let Some(prepare) = &prepare {
        changes.extend(of_prepare(prepare, rule));
    } else if let (Some(run), Some(status)) = (&seen.run, &status)
        && record::worth_writing(run, status, seen.now)
    {
        changes.push(write(run, status, rule));
    }
    changes.extend(last.into_iter().map(|action| of_action(seen, action, rule)));
    Plan {
        name: seen.name.to_string(),
        settled: changes.is_empty(),
        phase: seen.run.as_ref().map(|run| run.status.phase),
        next_phase: status.map(|status| status.phase),
        rule: rule.to_string(),
        changes,
        observation: Some(seen.clone()),
    }
}

fn change(sign: &str, what: String, verb: &str, why: String, rule: Rule) -> Change {
    Change { sign: sign.to_owned(), what, verb: verb.to_owned(), why, rule: rule.to_string() }
}

fn of_action(seen: &Observation, action: &Action, decided: Rule) -> Change {
    match action {
        Action::Unseat { class, attempt_id, rule } => {
            let why = format!("{attempt_id} no longer needs it");
            change("-", format!("seat {class}"), "unseat", why, *rule)
        }
        Action::Retire { id, attempt_id, rule } => {
            let why = format!("{attempt_id} is no longer usable");
            change("-", format!("registration {id}"), "retire", why, *rule)
        }
        Action::Disable { id, attempt_id, rule } => {
            let why = format!("{attempt_id} must get no job any more");
            change("~", format!("registration {id}"), "disable", why, *rule)
        }
        Action::Terminate { id, attempt_id, rule } => {
            let why = format!("{attempt_id} must not run any longer");
            change("-", format!("machine {id}"), "terminate", why, *rule)
        }
        Action::Launch { attempt_id, placement } => {
            let attempt = seen.run.as_ref().and_then(|run| run.status.attempt.as_ref());
            let index = usize::try_from(*placement).unwrap_or(usize::MAX);
            let placed = attempt.and_then(|attempt| attempt.placements.get(index));
            let machine = placed.map(|p| format!("{}, {}: ", p.machine.kind, p.machine.market));
            let why = format!("{}recorded but missing", machine.unwrap_or_default());
            let what = format!("machine {}", attempt_id.token(*placement));
            change("+", what, "launch", why, Rule::Launch)
        }
        Action::Rerun { run_id, scope, rule, .. } => {
            let which = match scope {
                RerunScope::Failed => "its failed jobs".to_owned(),
                RerunScope::Job(id) => format!("job {id}"),
            };
            let why = format!("{which}: the cloud took their machines");
            change("~", format!("workflow run {run_id}"), "re-run", why, *rule)
        }
        Action::Remove => {
            let why = "nothing is left to clean up".to_owned();
            change("-", "run".to_owned(), "remove", why, decided)
        }
    }
}

fn of_prepare(prepare: &Prepare, rule: Rule) -> Vec<Change> {
    let Prepare { attempt_id, class, seat, labels, machine, .. } = prepare;
    let mut changes = Vec::new();
    let mut add = |what: String, verb: &str, why: String, rule: Rule| {
        changes.push(change("+", what, verb, why, rule));
    };
    if seat.is_some() {
        add(format!("seat {class}"), "seat", "the class has a limit".to_owned(), Rule::Seat);
    }
    let why = format!("labels {}", labels.join(", "));
    add(format!("registration {attempt_id}"), "register", why, rule);
    let why = "recorded before the launch".to_owned();
    add(format!("attempt {}", attempt_id.number), "write", why, rule);
    let why = format!("{}, {}", machine.kind, machine.market);
    add(format!("machine {}", attempt_id.token(0)), "launch", why, Rule::Launch);
    changes
}

fn write(run: &Run, status: &Status, rule: Rule) -> Change {
    let phases = match (run.status.phase, status.phase) {
        (before, after) if before == after => format!("stays {after:?}"),
        (before, after) => format!("{before:?} becomes {after:?}"),
    };
    let mut same_due = run.status.clone();
    same_due.due = status.due;
    let why = match status.conditions.first() {
        // The stored due time is out of bounds.
        _ if same_due == *status => {
            format!("{phases}: due {:.0} becomes {:.0}", run.status.due, status.due)
        }
        Some(condition) => format!("{phases}: {}", condition.message),
        None => phases,
    };
    change("~", "run".to_owned(), "write", why, rule)
}
