//! Log lines that tell how a job gets on: `job-3 acme/shop "test (3)": running after 31 s`.
//!
//! The message is a constant and the data are fields, as everywhere; the field `line` is the same
//! as a sentence, which is all that a terminal shows.

use tinqs_ci_reconciler::controller::{Event, Report, RerunOutcome};

use super::{labels, short, short_message};
use crate::words::progress::sentence;

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
        Event::Interrupted { machine } => {
            let machine = machine.to_string();
            tracing::warn!(run, repo, job, machine, line, "the cloud took the machine of the job");
        }
        Event::Rerun { outcome: RerunOutcome::Accepted } => {
            tracing::info!(run, repo, job, line, "job is run again");
        }
        Event::Rerun { outcome } => {
            tracing::warn!(run, repo, job, outcome = outcome.label(), line, "job is not run again");
        }
        Event::Created
        | Event::Counted { .. }
        | Event::BreakerOpened { .. }
        | Event::BreakerClosed { .. }
        | Event::ClockDiffers { .. }
        | Event::ClockAgrees => {}
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

#[cfg(test)]
mod tests {
    use tinqs_ci_reconciler::controller::ReconcileOutcome;
    use tinqs_ci_reconciler::model::{ClassName, MachineId, Outcome, Reason, RunName};

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
