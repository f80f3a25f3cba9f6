//! The ends of jobs, by the names of outcomes in JSON.

use tinqs_ci_reconciler::model::{Happened, Milestone, RerunEnd};

/// Says how a run finished.
pub fn finished(outcome: &str) -> String {
    match outcome {
        "Succeeded" => "the job succeeded".to_owned(),
        "Failed" => "the job failed".to_owned(),
        "Cancelled" => "the job was canceled".to_owned(),
        "Skipped" => "the job was skipped".to_owned(),
        "JobGone" => "the job or its repository no longer exists at the forge".to_owned(),
        "GaveUp" => "the run was given up: the job waited longer than `give_up_after`".to_owned(),
        "MachineEnded" => "the machine that ran the job ended".to_owned(),
        "MachineLost" => "the machine of the job was lost while it ran".to_owned(),
        "MaxAge" => "the machine was ended by `max_age` while the job ran".to_owned(),
        other => format!("the run is finished: {other}"),
    }
}

/// Says what a person can do about how a run finished; empty if there is nothing to do.
pub fn after_finish(outcome: &str) -> &'static str {
    match outcome {
        "GaveUp" => "fix why its attempts ended, then `tinqs-ci retry RUN`",
        "MachineEnded" | "MachineLost" => "re-run the job at the forge",
        "MaxAge" => "raise `max_age` of the class, then re-run the job at the forge",
        _ => "",
    }
}

/// Returns whether nobody needs to re-run a lost job, by the timeline of its run: the forge runs it
/// again, or somebody changed its workflow run.
pub fn is_settled(timeline: &[Milestone]) -> bool {
    let last = timeline.iter().rev().find_map(|milestone| match milestone.what {
        Happened::RerunRequested | Happened::NotRerun { why: RerunEnd::Changed } => Some(true),
        Happened::NotRerun { .. } | Happened::Started { .. } | Happened::Reopened { .. } => {
            Some(false)
        }
        _ => None,
    });
    last == Some(true)
}

/// Returns `2nd attempt of the job`; `None` if it is the first one, or not known.
pub fn attempt(number: Option<u32>) -> Option<String> {
    number.filter(|number| *number > 1).map(|number| format!("{} of the job", nth(number)))
}

/// Returns `2nd attempt`.
pub fn nth(number: u32) -> String {
    let ending = match (number % 100, number % 10) {
        (11..=13, _) => "th",
        (_, 1) => "st",
        (_, 2) => "nd",
        (_, 3) => "rd",
        _ => "th",
    };
    format!("{number}{ending} attempt")
}

/// Says what a planned change does; `None` for internal ones.
pub fn planned(verb: &str) -> Option<&'static str> {
    Some(match verb {
        "seat" => "take a place in the class",
        "register" => "register a runner",
        "launch" => "launch a machine",
        "terminate" => "end a machine",
        "disable" => "disable a registration",
        "retire" => "remove a registration",
        "unseat" => "give its place in the class back",
        "remove" => "remove the record of the run",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use tinqs_ci_reconciler::model::Outcome;

    use super::*;

    #[test]
    fn a_job_that_the_forge_runs_again_needs_no_person() {
        let finished = || Happened::Finished { outcome: Outcome::MachineLost };
        let not = |why| Happened::NotRerun { why };
        let reopened = || Happened::Reopened { job_attempt: None };
        let rows = [
            (vec![Happened::RerunRequested, finished()], true),
            (vec![not(RerunEnd::Changed), finished()], true),
            (vec![not(RerunEnd::Limit), finished()], false),
            (vec![finished()], false),
            // Of an earlier attempt of the job.
            (vec![Happened::RerunRequested, reopened(), finished()], false),
            (vec![Happened::RerunRequested, not(RerunEnd::Cancelled), finished()], false),
        ];
        for (happened, expected) in rows {
            let at = Timestamp::UNIX_EPOCH;
            let timeline = happened.into_iter().map(|what| Milestone::new(at, what));
            let timeline: Vec<Milestone> = timeline.collect();
            assert_eq!(is_settled(&timeline), expected, "{timeline:?}");
        }
    }

    #[test]
    fn unknown_names_are_shown_as_they_are() {
        assert_eq!(finished("Newer"), "the run is finished: Newer");
        assert_eq!(after_finish("Newer"), "");
        assert_eq!(planned("write"), None);
    }

    #[test]
    fn a_re_run_has_an_ordinal() {
        for (number, text) in [(1, "1st"), (2, "2nd"), (3, "3rd"), (4, "4th"), (11, "11th")] {
            assert_eq!(nth(number), format!("{text} attempt"));
        }
        for (number, text) in [(12, "12th"), (21, "21st"), (113, "113th")] {
            assert_eq!(nth(number), format!("{text} attempt"));
        }
        assert_eq!(attempt(Some(2)).as_deref(), Some("2nd attempt of the job"));
        assert_eq!((attempt(Some(1)), attempt(None)), (None, None));
    }

    #[test]
    fn an_outcome_that_a_person_can_change_says_how() {
        for outcome in ["GaveUp", "MachineEnded", "MachineLost", "MaxAge"] {
            assert!(!after_finish(outcome).is_empty(), "{outcome}");
            assert!(!finished(outcome).contains(outcome), "{outcome} is in words");
        }
    }
}
