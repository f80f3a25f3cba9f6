//! Running jobs whose machines are gone: what the run says, and what finding out costs.

use jiff::SignedDuration;
use tinqs_ci_reconciler::model::{
    Conclusion, EndedBy, Job, MachineState, Outcome, Phase, Reason, RunName,
};
use tinqs_ci_reconciler::plan::still_up;

use super::{MINUTE, SECOND};
use crate::harness::Harness;

const FAILED: Job = Job::Done { conclusion: Conclusion::Failure };

/// A run whose job has run on its own machine for ten minutes.
fn running(harness: &Harness) -> RunName {
    let name = harness.jobs(1, "good").remove(0);
    harness.reconcile(&name);
    let runner = harness.attempt_id(&name, 1).to_string();
    harness.job_is(&name, Job::Running { runner });
    {
        let mut state = harness.state();
        state.machines[0].state = MachineState::Up;
        state.registrations[0].online = true;
        state.registrations[0].busy = true;
    }
    harness.pass(MINUTE);
    harness.reconcile(&name);
    harness.pass(9 * MINUTE);
    assert_eq!(harness.reason(&name), None);
    name
}

#[test]
fn a_machine_that_the_cloud_takes_back_mid_job_is_told_and_is_the_outcome() {
    let harness = Harness::new();
    let name = running(&harness);
    let (written, found) = (harness.writes(), harness.calls("find"));
    harness.take_back(&name);
    let report = harness.reconcile(&name);
    assert_eq!((report.phase, report.reason), (Some(Phase::Running), Some(Reason::MachineLost)));
    let told = harness.message(&name);
    assert!(told.contains("took machine") && told.contains("re-run it there"), "{told}");
    assert_eq!((harness.writes(), harness.calls("find")), (written + 1, found), "it is listed");
    // Told once, nothing is written again, whatever the list shows.
    let since = harness.run(&name).status.conditions[0].since;
    harness.pass(MINUTE);
    harness.state().machines.clear();
    harness.reconcile(&name);
    assert_eq!((harness.writes(), harness.reason(&name)), (written + 1, Some(Reason::MachineLost)));
    // Without a registration the forge names no runner any more.
    harness.job_is(&name, Job::Running { runner: String::new() });
    harness.reconcile(&name);
    assert_eq!((harness.writes(), harness.reason(&name)), (written + 1, Some(Reason::MachineLost)));
    assert_eq!(harness.run(&name).status.conditions[0].since, since);
    harness.job_is(&name, FAILED);
    harness.reconcile(&name);
    let status = harness.run(&name).status;
    assert_eq!((status.outcome, status.reason()), (Some(Outcome::MachineLost), None));
    harness.reconcile(&name);
    assert_eq!(harness.run(&name).status.outcome, Some(Outcome::MachineLost));
    harness.job_is(&name, Job::Waiting);
    harness.reconcile(&name);
    assert_eq!(harness.run(&name).status.outcome, None, "a re-run clears it");
}

#[test]
fn a_machine_that_ends_at_its_deadline_mid_job_is_its_maximum_age() {
    let harness = Harness::new();
    let name = running(&harness);
    harness.pass(SignedDuration::from_hours(6));
    {
        let mut state = harness.state();
        (state.machines[0].state, state.machines[0].ended_by) =
            (MachineState::Gone, Some(EndedBy::Itself));
    }
    harness.reconcile(&name);
    assert_eq!(harness.reason(&name), Some(Reason::MaxAge));
    assert!(harness.message(&name).contains("raise `max_age` of class good"));
    harness.job_is(&name, FAILED);
    harness.reconcile(&name);
    assert_eq!(harness.run(&name).status.outcome, Some(Outcome::MaxAge));
}

#[test]
fn a_job_that_fails_at_the_deadline_of_its_machine_has_reached_its_maximum_age() {
    let harness = Harness::new();
    let name = running(&harness);
    let deadline = harness.state().machines[0].deadline;
    harness.pass(deadline.duration_since(harness.now()) + SECOND);
    // The runner reports the job before its machine is gone.
    harness.job_is(&name, FAILED);
    harness.reconcile(&name);
    assert_eq!(harness.run(&name).status.outcome, Some(Outcome::Failed), "its machine is up");
    harness.pass(5 * SECOND);
    {
        let mut state = harness.state();
        (state.machines[0].state, state.machines[0].ended_by) =
            (MachineState::Gone, Some(EndedBy::Itself));
    }
    harness.reconcile(&name);
    assert_eq!(harness.run(&name).status.outcome, Some(Outcome::MaxAge));
}

#[test]
fn a_job_that_is_ended_before_the_cloud_takes_its_machine_has_lost_it() {
    for (seconds, outcome) in [(20, Outcome::MachineLost), (200, Outcome::Failed)] {
        let harness = Harness::new();
        let name = running(&harness);
        // After the cloud's notice, the machine ends its job and lets the runner report it.
        harness.job_is(&name, FAILED);
        harness.reconcile(&name);
        assert_eq!(harness.run(&name).status.outcome, Some(Outcome::Failed), "its machine is up");
        harness.pass(seconds * SECOND);
        harness.take_back(&name);
        harness.reconcile(&name);
        assert_eq!(harness.run(&name).status.outcome, Some(outcome), "{seconds} s later");
        harness.pass(5 * MINUTE);
        harness.reconcile(&name);
        assert_eq!(harness.run(&name).status.outcome, Some(outcome), "{seconds} s later, it stays");
    }
}

#[test]
fn a_machine_ends_up_to_a_second_before_a_deadline_between_two_seconds() {
    let harness = Harness::new();
    harness.pass(SignedDuration::from_millis(700));
    let name = running(&harness);
    let deadline = harness.state().machines[0].deadline;
    assert_ne!(deadline.subsec_nanosecond(), 0);
    let second = jiff::Timestamp::from_second(deadline.as_second()).expect("a time");
    harness.pass(second.duration_since(harness.now()));
    {
        let mut state = harness.state();
        (state.machines[0].state, state.machines[0].ended_by) =
            (MachineState::Gone, Some(EndedBy::Itself));
    }
    harness.job_is(&name, FAILED);
    harness.reconcile(&name);
    assert_eq!(harness.run(&name).status.outcome, Some(Outcome::MaxAge));
}

#[test]
fn a_job_that_fails_before_the_deadline_of_its_machine_has_failed() {
    let harness = Harness::new();
    let name = running(&harness);
    harness.job_is(&name, FAILED);
    harness.reconcile(&name);
    harness.pass(SignedDuration::from_hours(6));
    {
        let mut state = harness.state();
        (state.machines[0].state, state.machines[0].ended_by) =
            (MachineState::Gone, Some(EndedBy::Itself));
    }
    harness.reconcile(&name);
    assert_eq!(harness.run(&name).status.outcome, Some(Outcome::Failed));
}

#[test]
fn an_unlisted_machine_of_a_running_job_costs_one_call_until_it_is_known_to_be_gone() {
    let harness = Harness::new();
    let name = running(&harness);
    let found = harness.calls("find");
    let machine = {
        let mut state = harness.state();
        state.registrations.clear();
        let id = state.machines[0].id.to_string();
        state.unlisted.insert(id);
        state.machines[0].clone()
    };
    harness.reconcile(&name);
    assert_eq!((harness.calls("find"), harness.reason(&name)), (found + 1, None), "it is up");
    harness.state().machines.clear();
    harness.pass(MINUTE);
    harness.reconcile(&name);
    assert_eq!(harness.calls("find"), found + 2);
    assert_eq!(harness.reason(&name), Some(Reason::MachineLost));
    let told = harness.message(&name);
    assert!(told.contains(&machine.id.to_string()) && told.contains("not known"), "{told}");
    harness.pass(MINUTE);
    harness.reconcile(&name);
    assert_eq!(harness.calls("find"), found + 2, "it is known");
    assert_eq!(harness.calls("terminate"), 0);
}

#[test]
fn the_machine_of_a_job_that_runs_elsewhere_is_not_missed() {
    let harness = Harness::new();
    let name = running(&harness);
    harness.job_is(&name, Job::Running { runner: "office-pc".to_owned() });
    harness.take_back(&name);
    harness.reconcile(&name);
    let found = harness.calls("find");
    harness.state().machines.clear();
    harness.state().registrations.clear();
    harness.pass(MINUTE);
    harness.reconcile(&name);
    assert_eq!((harness.calls("find"), harness.reason(&name)), (found, None));
}

#[test]
fn a_canceled_job_shows_its_machine_until_that_has_ended() {
    let harness = Harness::new();
    let name = running(&harness);
    let machines = || harness.state().machines.clone();
    assert_eq!(still_up(&harness.run(&name), &machines()), None, "it runs");
    harness.job_is(&name, Job::Done { conclusion: Conclusion::Cancelled });
    harness.reconcile(&name);
    let run = harness.run(&name);
    assert_eq!(run.status.outcome, Some(Outcome::Cancelled));
    assert_eq!(still_up(&run, &machines()), Some(&machines()[0]));
    assert_eq!(run.status.reason(), None, "it is not stored");
    harness.take_back(&name);
    harness.pass(SECOND);
    assert_eq!(still_up(&run, &machines()), None);
}
