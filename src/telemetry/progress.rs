//! Log lines that tell how a job gets on: `job-3 acme/shop "test (3)": running after 31 s`.
//!
//! The message is a constant and the data are fields, as everywhere; the field `line` is the same
//! as a sentence, which is all that a terminal shows.

use tinqs_ci_reconciler::controller::{Event, Report};
use tinqs_ci_reconciler::model::{Outcome, Reason};

use super::{labels, short, short_message};

/// Logs the events of a report that are about its job.
pub(super) fn log(report: &Report) {
    for event in &report.events {
        log_event(report, event);
    }
}

fn log_event(report: &Report, event: &Event) {
    let Some(told) = sentence(event) else { return };
    let run = report.name.as_str();
    let repo = Some(short(&report.repo)).filter(|repo| !repo.is_empty());
    let job = Some(short(&report.job)).filter(|job| !job.is_empty());
    let line = format!("{}: {told}", subject(report));
    match event {
        Event::Launched { machine, class, waited_ms } => {
            let (class, machine) = (class.0.as_str(), machine.to_string());
            tracing::info!(run, repo, job, class, machine, waited_ms, line, "machine started");
        }
        Event::Started { waited_seconds } => {
            tracing::info!(run, repo, job, waited_seconds, line, "job started");
        }
        Event::Finished { outcome, ran_ms } => {
            let outcome = labels::outcome(*outcome);
            tracing::info!(run, repo, job, outcome, ran_ms, line, "job finished");
        }
        Event::ConditionBegan { reason, message } => {
            let (reason, error) = (reason.as_str(), short_message(message));
            tracing::warn!(run, repo, job, reason, error, line, "run needs attention");
        }
        Event::ConditionEnded { reason, held_seconds } => {
            let reason = reason.as_str();
            tracing::info!(
                run,
                repo,
                job,
                reason,
                held_seconds,
                line,
                "attention no longer needed"
            );
        }
        Event::Created | Event::BreakerOpened { .. } | Event::BreakerClosed { .. } => {}
    }
}

/// Returns `job-3 acme/shop "test (3)"`.
fn subject(report: &Report) -> String {
    let mut subject = report.name.to_string();
    if !report.repo.is_empty() {
        subject = format!("{subject} {}", short(&report.repo));
    }
    if !report.job.is_empty() {
        subject = format!("{subject} \"{}\"", short(&report.job));
    }
    subject
}

fn sentence(event: &Event) -> Option<String> {
    Some(match event {
        Event::Launched { class, waited_ms, .. } => {
            format!("machine started (class {class}) in {}", lasted(*waited_ms))
        }
        Event::Started { waited_seconds } => {
            format!("running after {}", lasted(waited_seconds.saturating_mul(1000)))
        }
        Event::Finished { outcome, ran_ms } => ended(*outcome, *ran_ms),
        Event::ConditionBegan { reason, message } => {
            format!("{reason}: {}", short_message(message))
        }
        Event::ConditionEnded { reason, held_seconds } => {
            no_longer(*reason, held_seconds.saturating_mul(1000))
        }
        Event::Created | Event::BreakerOpened { .. } | Event::BreakerClosed { .. } => return None,
    })
}

fn ended(outcome: Outcome, ran_ms: Option<i64>) -> String {
    let (what, how_long) = match outcome {
        Outcome::Succeeded => ("succeeded", "in"),
        Outcome::Failed => ("failed", "after"),
        Outcome::Cancelled => ("canceled", "after"),
        Outcome::Skipped => ("skipped", "after"),
        Outcome::JobGone => ("no longer exists at the forge", "after"),
        Outcome::GaveUp => ("given up: it waited too long", "after"),
        Outcome::MachineEnded => ("its machine ended", "after"),
        Outcome::MachineLost => ("failed because its machine was lost,", "after"),
        Outcome::MaxAge => ("failed because its machine reached its maximum age,", "after"),
    };
    match ran_ms {
        Some(ran) => format!("{what} {how_long} {}", lasted(ran)),
        None => what.trim_end_matches(',').to_owned(),
    }
}

fn no_longer(reason: Reason, held_ms: i64) -> String {
    format!("no longer {reason}, after {}", lasted(held_ms))
}

/// Returns `0.2 s`, `31 s`, `2 min 5 s` or `1 h 3 min`.
fn lasted(milliseconds: i64) -> String {
    let milliseconds = milliseconds.max(0);
    let seconds = milliseconds / 1000;
    match seconds {
        0 => format!("0.{} s", milliseconds / 100),
        1..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use tinqs_ci_reconciler::controller::ReconcileOutcome;
    use tinqs_ci_reconciler::model::{ClassName, MachineId, RunName};

    use super::*;

    fn told(event: &Event) -> String {
        let report = Report {
            name: RunName::job(3),
            began_at: jiff::Timestamp::UNIX_EPOCH,
            result: ReconcileOutcome::Acted,
            phase_before: None,
            phase: None,
            reason: None,
            class: None,
            repo: "acme/shop".to_owned(),
            job: "test (3)".to_owned(),
            effects: Vec::new(),
            due: None,
            error: None,
            failed: None,
            events: Vec::new(),
        };
        format!("{}: {}", subject(&report), sentence(event).expect("it is about the job"))
    }

    #[test]
    fn each_event_of_a_job_is_a_sentence() {
        let (machine, class) = (MachineId("m-1".to_owned()), ClassName("linux".to_owned()));
        let finished = |outcome, ran_ms| Event::Finished { outcome, ran_ms };
        let rows = [
            (
                Event::Launched { machine, class, waited_ms: 240 },
                "machine started (class linux) in 0.2 s",
            ),
            (Event::Started { waited_seconds: 31 }, "running after 31 s"),
            (Event::Started { waited_seconds: 125 }, "running after 2 min 5 s"),
            (finished(Outcome::Succeeded, Some(6_400)), "succeeded in 6 s"),
            (finished(Outcome::Failed, Some(3_780_000)), "failed after 1 h 3 min"),
            (finished(Outcome::GaveUp, None), "given up: it waited too long"),
            (
                finished(Outcome::MachineLost, Some(60_000)),
                "failed because its machine was lost, after 1 min 0 s",
            ),
            (
                Event::ConditionBegan {
                    reason: Reason::MachineLost,
                    message: "the cloud took machine i-1 back (spot)".to_owned(),
                },
                "MachineLost: the cloud took machine i-1 back (spot)",
            ),
            (
                Event::ConditionEnded { reason: Reason::BreakerOpen, held_seconds: 300 },
                "no longer BreakerOpen, after 5 min 0 s",
            ),
        ];
        for (event, expected) in rows {
            assert_eq!(told(&event), format!("job-3 acme/shop \"test (3)\": {expected}"));
        }
        assert_eq!(sentence(&Event::Created), None);
    }
}
