//! The timeline of a run, as sentences. Recorded numbers of attempts have gaps and are left out.

use tinqs_ci_reconciler::model::{AttemptId, EndedBy, Happened, MachineId, SeenBy};
use tinqs_ci_reconciler::text::cut;

use super::jobs;

/// The columns of a name from outside.
const SHOWN: usize = 100;

/// Says what happened. Names from outside are cut and escaped.
pub fn happened(what: &Happened) -> String {
    match what {
        Happened::Seen { by } => seen(*by).to_owned(),
        Happened::Registered { attempt: _ } => "a runner was registered for it".to_owned(),
        Happened::Launched { attempt: _, machine } => {
            format!("machine {} was launched", named(machine))
        }
        Happened::Refused { attempt: _, why } => format!("the launch was refused: {why}"),
        Happened::Started { runner, attempt, job_attempt } => {
            numbered(started(runner, attempt.is_some()), *job_attempt)
        }
        Happened::Reassigned { attempt: _ } => "another job took its machine".to_owned(),
        Happened::MachineLost { machine, ended_by } => lost(machine, *ended_by),
        Happened::AttemptEnded { attempt: _, why } => format!("the attempt ended: {why}"),
        Happened::Blocked => "the forge blocked the job".to_owned(),
        Happened::Unblocked => "the forge unblocked the job".to_owned(),
        Happened::GaveUp => jobs::finished("GaveUp"),
        Happened::Retried { by } => format!("{} retried the run", person(by.as_deref())),
        Happened::Deleted { by } => format!("{} deleted the run", person(by.as_deref())),
        Happened::Finished { outcome } => jobs::finished(&format!("{outcome:?}")),
        Happened::RerunRequested => {
            "the forge runs the job again, because the cloud took its machine".to_owned()
        }
        Happened::NotRerun { why } => format!("the job is not run again: {}", why.words()),
        Happened::Reopened { job_attempt } => {
            numbered("the job waits again: it was re-run".to_owned(), *job_attempt)
        }
        Happened::Unknown => "something that this version does not know".to_owned(),
    }
}

/// Adds which attempt of the job it is, if it is a re-run.
fn numbered(told: String, job_attempt: Option<u32>) -> String {
    match jobs::attempt(job_attempt) {
        Some(attempt) => format!("{told} ({attempt})"),
        None => told,
    }
}

/// Returns the name of the person who did something, as far as it is known.
pub fn person(by: Option<&str>) -> String {
    by.map_or_else(|| "a person".to_owned(), |by| cut(by, SHOWN))
}

fn named(machine: &MachineId) -> String {
    cut(&machine.0, SHOWN)
}

fn seen(by: SeenBy) -> &'static str {
    match by {
        SeenBy::Webhook => "a webhook announced the job",
        SeenBy::Poll => "a poll found the job in the forge's list",
        SeenBy::Push => "the evaluation of a push found the job",
        SeenBy::Other => "the job was seen waiting",
    }
}

fn started(runner: &str, is_own: bool) -> String {
    if is_own {
        return "the job started on its own machine".to_owned();
    }
    match runner.parse::<AttemptId>() {
        _ if runner.is_empty() => "the job started".to_owned(),
        Ok(attempt_id) => format!("the job started on the machine of {}", attempt_id.run),
        Err(_) => {
            format!("the job started on {}, a runner of somebody else", cut(runner, SHOWN))
        }
    }
}

fn lost(machine: &MachineId, ended_by: Option<EndedBy>) -> String {
    let machine = named(machine);
    match ended_by {
        Some(EndedBy::Cloud) => format!("the cloud took machine {machine} back mid-job"),
        Some(EndedBy::Request) => format!("machine {machine} was ended by a request mid-job"),
        Some(EndedBy::Itself) => format!("machine {machine} ended by itself mid-job"),
        None => format!("machine {machine} was gone mid-job"),
    }
}

#[cfg(test)]
mod tests {
    use tinqs_ci_reconciler::model::{End, Outcome, Refusal};

    use super::*;

    #[test]
    fn everything_that_can_happen_is_a_sentence() {
        let machine = || MachineId("i-1\u{1b}".to_owned());
        let started = |runner: &str, attempt| Happened::Started {
            runner: runner.into(),
            attempt,
            job_attempt: None,
        };
        let again = Happened::Started {
            runner: "tq-job-3-0a1b2c3d-1".into(),
            attempt: Some(1),
            job_attempt: Some(2),
        };
        let lost = |ended_by| Happened::MachineLost { machine: machine(), ended_by };
        let finished = |outcome| Happened::Finished { outcome };
        let rows = [
            (Happened::Seen { by: SeenBy::Webhook }, "a webhook announced the job"),
            (Happened::Seen { by: SeenBy::Poll }, "a poll found the job in the forge's list"),
            (Happened::Seen { by: SeenBy::Push }, "the evaluation of a push found the job"),
            (Happened::Seen { by: SeenBy::Other }, "the job was seen waiting"),
            (Happened::Registered { attempt: 1 }, "a runner was registered for it"),
            (
                Happened::Launched { attempt: 1, machine: machine() },
                "machine i-1\\u{1b} was launched",
            ),
            (
                Happened::Refused { attempt: 1, why: Refusal::NoCapacity },
                "the launch was refused: the cloud has no capacity",
            ),
            (started("tq-job-3-0a1b2c3d-1", Some(1)), "the job started on its own machine"),
            (started("tq-job-9-0a1b2c3d-1", None), "the job started on the machine of job-9"),
            (
                started("laptop\u{202e}", None),
                "the job started on laptop\\u{202e}, a runner of somebody else",
            ),
            (started("", None), "the job started"),
            (Happened::Reassigned { attempt: 1 }, "another job took its machine"),
            (lost(Some(EndedBy::Cloud)), "the cloud took machine i-1\\u{1b} back mid-job"),
            (lost(Some(EndedBy::Request)), "machine i-1\\u{1b} was ended by a request mid-job"),
            (lost(Some(EndedBy::Itself)), "machine i-1\\u{1b} ended by itself mid-job"),
            (lost(None), "machine i-1\\u{1b} was gone mid-job"),
            (
                Happened::AttemptEnded { attempt: 1, why: End::NeverReady },
                "the attempt ended: the machine did not come online in time",
            ),
            (Happened::Blocked, "the forge blocked the job"),
            (Happened::Unblocked, "the forge unblocked the job"),
            (Happened::GaveUp, "the run was given up: the job waited longer than `give_up_after`"),
            (Happened::Retried { by: None }, "a person retried the run"),
            (Happened::Deleted { by: None }, "a person deleted the run"),
            (Happened::Retried { by: Some("o\u{1b}ps".to_owned()) }, "o\\u{1b}ps retried the run"),
            (finished(Outcome::Succeeded), "the job succeeded"),
            (finished(Outcome::MachineLost), "the machine of the job was lost while it ran"),
            (again, "the job started on its own machine (2nd attempt of the job)"),
            (Happened::Reopened { job_attempt: None }, "the job waits again: it was re-run"),
            (
                Happened::Reopened { job_attempt: Some(3) },
                "the job waits again: it was re-run (3rd attempt of the job)",
            ),
            (Happened::Unknown, "something that this version does not know"),
        ];
        for (what, expected) in rows {
            assert_eq!(happened(&what), expected, "{what:?}");
        }
    }
}
