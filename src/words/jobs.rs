//! How jobs ended, by the names of outcomes in JSON.

/// Says how a run finished.
pub fn finished(outcome: &str) -> String {
    match outcome {
        "Succeeded" => "the job succeeded".to_owned(),
        "Failed" => "the job failed".to_owned(),
        "Cancelled" => "the job was cancelled".to_owned(),
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

/// Says what a planned change does; `None` for internal ones.
pub fn planned(verb: &str) -> Option<&'static str> {
    Some(match verb {
        "seat" => "take a place in the class",
        "register" => "register a runner",
        "launch" => "launch a machine",
        "terminate" => "end a machine",
        "retire" => "remove a registration",
        "unseat" => "give its place in the class back",
        "remove" => "remove the record of the run",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_names_are_shown_as_they_are() {
        assert_eq!(finished("Newer"), "the run is finished: Newer");
        assert_eq!(after_finish("Newer"), "");
        assert_eq!(planned("write"), None);
    }

    #[test]
    fn an_outcome_that_a_person_can_change_says_how() {
        for outcome in ["GaveUp", "MachineEnded", "MachineLost", "MaxAge"] {
            assert!(!after_finish(outcome).is_empty(), "{outcome}");
            assert!(!finished(outcome).contains(outcome), "{outcome} is in words");
        }
    }
}
