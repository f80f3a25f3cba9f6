//! Events of a write of a record, for metrics and log lines.

use jiff::Timestamp;

use crate::controller::{Event, RerunOutcome};
use crate::model::{Answer, Attempt, Condition, Happened, Phase, Run};

/// Returns the events between the stored record and the one that was written over it.
pub(super) fn events(before: &Run, after: &Run, now: Timestamp) -> Vec<Event> {
    let mut events = Vec::new();
    let ended = conditions(before).filter(|c| after.status.reason() != Some(c.reason));
    events.extend(ended.map(|ended| Event::ConditionEnded {
        reason: ended.reason,
        held_seconds: now.duration_since(ended.since).as_secs(),
    }));
    let attempt = after.status.attempt.as_ref();
    if let Some((attempt, answer)) = attempt.and_then(|a| Some((a, answered(a)?)))
        && !before.status.attempt.as_ref().is_some_and(|a| {
            a.number == attempt.number && answered(a).is_some_and(|known| known.id == answer.id)
        })
    {
        let waited = answer.at.duration_since(after.status.waiting_since);
        events.push(Event::Launched {
            machine: answer.id.clone(),
            class: attempt.class.clone(),
            waited_ms: milliseconds(waited),
        });
    }
    events.extend(started(before, after, now));
    events.extend(interrupted(before, after));
    if before.status.phase != after.status.phase {
        match (after.status.phase, after.status.outcome) {
            (Phase::Finished, Some(outcome)) => {
                let ran = before.status.phase == Phase::Running;
                let started = after.status.started_at().filter(|_| ran);
                let ran_ms = started.map(|at| milliseconds(now.duration_since(at)));
                events.push(Event::Finished { outcome, ran_ms });
            }
            (Phase::Finished, None) | (Phase::Waiting | Phase::Starting | Phase::Running, _) => {}
        }
    }
    let began = conditions(after).filter(|c| before.status.reason() != Some(c.reason));
    events.extend(began.map(|began| Event::ConditionBegan {
        reason: began.reason,
        message: began.message.clone(),
    }));
    events
}

/// Returns that the cloud took the machine of the job, and that the job is not run again.
fn interrupted(before: &Run, after: &Run) -> Vec<Event> {
    let noted = |run: &Run| run.status.interrupted.as_ref().map(|noted| noted.machine.clone());
    let machine = noted(after).filter(|machine| noted(before).as_ref() != Some(machine));
    let known = &before.status.timeline;
    let new = after.status.timeline.iter().filter(|milestone| !known.contains(milestone));
    let not = new.filter_map(|milestone| match milestone.what {
        Happened::NotRerun { why } => Some(Event::Rerun { outcome: RerunOutcome::Not(why) }),
        _ => None,
    });
    machine.map(|machine| Event::Interrupted { machine }).into_iter().chain(not).collect()
}

/// Returns that the job started: when it is first seen running, or ended if it was over before.
fn started(before: &Run, after: &Run, now: Timestamp) -> Option<Event> {
    let (was, is) = (before.status.phase, after.status.phase);
    let begins = was != Phase::Running && is == Phase::Running;
    let was_over = matches!(was, Phase::Waiting | Phase::Starting)
        && is == Phase::Finished
        && after.status.wait.started_at.is_some();
    let waited = after.status.waited(now).filter(|_| begins || was_over)?;
    Some(Event::Started { waited_seconds: waited.as_secs() })
}

/// Returns the conditions that a person must attend to.
fn conditions(run: &Run) -> impl Iterator<Item = &Condition> {
    run.status.conditions.iter().filter(|condition| condition.reason.needs_person())
}

fn answered(attempt: &Attempt) -> Option<&Answer> {
    attempt.placements.last()?.answered.as_ref()
}

fn milliseconds(duration: jiff::SignedDuration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
