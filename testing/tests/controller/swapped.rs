//! Jobs that run on the machines of other runs, which the cloud takes: what their runs say, when,
//! and what finding out costs.

use tinqs_ci_reconciler::controller::Event;
use tinqs_ci_reconciler::model::{
    EndedBy, Happened, Job, Machine, MachineId, MachineState, Outcome, Phase, Reason, RerunJobs,
    RunName,
};

use super::{MINUTE, SECOND};
use crate::harness::Harness;
use crate::reruns::{FAILED, RUN, requests, running, workflow_run};

/// Two jobs, each of which runs on the machine of the other's run. Returns the first run, and the
/// second, on whose machine the first job is.
fn swapped(harness: &Harness) -> (RunName, RunName) {
    let mut names = running(harness, 2);
    let runners = [1, 0].map(|other: usize| harness.attempt_id(&names[other], 1).to_string());
    for (name, runner) in names.iter().zip(runners) {
        harness.job_is(name, Job::Running { runner });
    }
    harness.reconcile_each(&names);
    let second = names.remove(1);
    (names.remove(0), second)
}

/// Returns the number of calls that end a machine or its registration, or run a job again.
fn ends(harness: &Harness) -> usize {
    ["terminate", "retire", "rerun"].map(|call| harness.calls(call)).iter().sum()
}

/// Returns the ID of the machine of a run.
fn machine_of(harness: &Harness, name: &RunName) -> MachineId {
    let state = harness.state();
    let machine = state.machines.iter().find(|machine| machine.attempt_id.run == *name);
    machine.expect("a machine").id.clone()
}

#[test]
fn a_machine_of_another_run_that_the_cloud_takes_mid_job_is_told_at_once() {
    let harness = Harness::new();
    let (name, other) = swapped(&harness);
    let machine = machine_of(&harness, &other);
    harness.take_back(&other);
    harness.pass(MINUTE);
    let report = harness.reconcile(&name);
    assert_eq!((report.phase, report.reason), (Some(Phase::Running), Some(Reason::AwaitsRerun)));
    let told = harness.message(&name);
    assert!(told.contains(&format!("the cloud took machine {machine} of job-2 back")), "{told}");
    assert!(told.contains("it is run again then"), "{told}");
    let interrupted = Event::Interrupted { machine: machine.clone() };
    assert_eq!(report.events.iter().filter(|event| **event == interrupted).count(), 1);
    let lost = Happened::MachineLost { machine, ended_by: Some(EndedBy::Cloud) };
    let count = |name: &RunName| {
        let timeline = harness.run(name).status.timeline;
        timeline.iter().filter(|milestone| milestone.what == lost).count()
    };
    assert_eq!((count(&name), ends(&harness)), (1, 0), "it is told, and nothing ends");
    // The run of the machine has its job on a live one.
    let report = harness.reconcile(&other);
    assert_eq!((report.reason, count(&other)), (None, 0));
    assert!(!report.events.iter().any(|event| matches!(event, Event::Interrupted { .. })));
    // It is told once, whatever the list and the forge show then.
    let writes = harness.writes();
    harness.state().machines.retain(|machine| machine.attempt_id.run != other);
    harness.job_is(&name, Job::Running { runner: String::new() });
    harness.pass(MINUTE);
    harness.reconcile(&name);
    assert_eq!((harness.writes(), harness.message(&name)), (writes, told));
    assert_eq!((requests(&harness), count(&name)), (Vec::new(), 1));
}

#[test]
fn only_that_the_cloud_took_the_machine_is_evidence() {
    let harness = Harness::new();
    let (name, other) = swapped(&harness);
    for (state, ended_by) in [
        (MachineState::Up, None),
        (MachineState::Ending, Some(EndedBy::Cloud)),
        (MachineState::Gone, None),
        (MachineState::Gone, Some(EndedBy::Itself)),
        (MachineState::Gone, Some(EndedBy::Request)),
    ] {
        let of_other = |machine: &&mut Machine| machine.attempt_id.run == other;
        for machine in harness.state().machines.iter_mut().filter(of_other) {
            (machine.state, machine.ended_by) = (state, ended_by);
        }
        harness.pass(SECOND);
        harness.reconcile(&name);
        assert_eq!(harness.reason(&name), None, "{state:?} {ended_by:?}");
    }
    let taken = harness.state().machines.clone();
    harness.state().machines.retain(|machine| machine.attempt_id.run != other);
    harness.reconcile(&name);
    assert_eq!(harness.reason(&name), None, "it is not listed");
    harness.state().machines = taken;
    harness.take_back(&other);
    // A machine of an earlier placement did not get the job.
    harness.state().machines.iter_mut().for_each(|machine| machine.placement += 1);
    harness.reconcile(&name);
    assert_eq!(harness.reason(&name), None, "it is of another placement");
}

/// The record of a deleted job is removed once its machine is no longer up.
#[test]
fn the_loss_is_told_also_if_the_record_of_the_other_run_was_removed() {
    // Of several placements the last one had the job.
    for (another_placement, expected) in [
        (None, Some(Reason::AwaitsRerun)),
        (Some(EndedBy::Itself), None),
        (Some(EndedBy::Cloud), Some(Reason::AwaitsRerun)),
    ] {
        let harness = Harness::new();
        let (name, other) = swapped(&harness);
        harness.take_back(&other);
        let id = machine_of(&harness, &other);
        let mut state = harness.state();
        state.runs.remove(&other);
        if let Some(ended_by) = another_placement {
            let mut last = state.machines.iter().find(|m| m.id == id).expect("a machine").clone();
            (last.placement, last.ended_by) = (1, Some(ended_by));
            last.id.0.push_str("-last");
            state.machines.push(last);
        }
        drop(state);
        harness.reconcile(&name);
        assert_eq!(harness.reason(&name), expected, "{another_placement:?}");
    }
}

#[test]
fn a_class_that_runs_no_job_again_names_the_lost_machine_as_the_cause() {
    for told in [true, false] {
        let harness = Harness::new();
        harness.configure("good", |class| class.rerun.jobs = RerunJobs::Never);
        let (name, other) = swapped(&harness);
        harness.take_back(&other);
        if told {
            harness.reconcile(&name);
            assert_eq!(harness.reason(&name), Some(Reason::MachineLost));
            let message = harness.message(&name);
            let why = "; class good has `rerun = \"never\"`: re-run it there";
            assert!(message.ends_with(why), "{message}");
            harness.pass(10 * MINUTE);
        }
        harness.job_is(&name, FAILED);
        harness.reconcile(&name);
        let status = harness.run(&name).status;
        let ended = (status.phase, status.outcome);
        assert_eq!(ended, (Phase::Finished, Some(Outcome::MachineLost)), "told before: {told}");
        harness.reconcile(&name);
        assert_eq!(harness.run(&name).status.outcome, Some(Outcome::MachineLost), "it stays");
        assert_eq!((harness.calls("workflow_run"), requests(&harness)), (0, Vec::new()));
    }
}

#[test]
fn a_job_that_fails_on_a_live_machine_of_another_run_has_failed() {
    let harness = Harness::new();
    harness.configure("good", |class| class.rerun.jobs = RerunJobs::Never);
    let (name, _) = swapped(&harness);
    harness.job_is(&name, FAILED);
    harness.reconcile(&name);
    assert_eq!(harness.run(&name).status.outcome, Some(Outcome::Failed));
}

#[test]
fn before_1_26_the_loss_of_another_runs_machine_needs_a_person() {
    let harness = Harness::new();
    let (name, other) = swapped(&harness);
    let runner = harness.attempt_id(&other, 1).to_string();
    workflow_run(&harness, &[(1, Job::Running { runner })]);
    harness.state().workflow_runs.get_mut(&RUN).expect("there").can_rerun = false;
    harness.take_back(&other);
    harness.reconcile(&name);
    let told = harness.message(&name);
    assert_eq!(harness.reason(&name), Some(Reason::MachineLost), "{told}");
    assert!(told.contains("this version cannot run it again by its API (1.26 can)"), "{told}");
    harness.pass(MINUTE);
    harness.reconcile(&name);
    assert_eq!(harness.calls("workflow_run"), 1, "it is read once");
}

#[test]
fn the_record_of_the_other_run_is_read_only_until_the_loss_is_told() {
    let harness = Harness::new();
    let (name, other) = swapped(&harness);
    let reads = || {
        let before = harness.calls("get");
        harness.pass(MINUTE);
        harness.reconcile(&name);
        harness.calls("get") - before
    };
    let live = reads();
    harness.take_back(&other);
    assert_eq!(reads(), live + 1, "it says of which placement the runner is");
    assert_eq!(harness.reason(&name), Some(Reason::AwaitsRerun));
    assert_eq!((reads(), reads()), (live, live), "it is told");
    harness.job_is(&name, FAILED);
    workflow_run(&harness, &[(1, FAILED), (2, Job::Waiting)]);
    assert_eq!(reads(), live, "it waits to be run again");
    let told = harness.message(&name);
    assert!(told.contains("of job-2, and the job failed: it is run again once"), "{told}");
}
