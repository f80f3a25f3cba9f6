//! A job that is canceled while it runs: its machine, whichever run it was made for, is ended as
//! soon as its registration is seen to be gone.

use tinqs_ci_reconciler::model::{Conclusion, Job, MachineState, RunName};

use super::{MINUTE, SECOND};
use crate::harness::Harness;

const CANCELED: Job = Job::Done { conclusion: Conclusion::Cancelled };

/// A run whose job runs on the first machine of `owner`, and has done so for ten minutes.
fn runs_on(harness: &Harness, name: &RunName, owner: &RunName) {
    let runner = harness.attempt_id(owner, 1);
    harness.job_is(name, Job::Running { runner: runner.to_string() });
    {
        let mut state = harness.state();
        for machine in state.machines.iter_mut().filter(|m| m.attempt_id == runner) {
            machine.state = MachineState::Up;
        }
        for row in state.registrations.iter_mut().filter(|row| row.attempt_id == runner) {
            (row.online, row.busy) = (true, true);
        }
    }
    harness.reconcile(name);
    harness.pass(10 * MINUTE);
    harness.reconcile(name);
    harness.woken();
}

/// The forge calls the job of a run canceled, and tells that the first machine of `owner` executed
/// it.
fn is_called_canceled(harness: &Harness, name: &RunName, owner: &RunName) {
    let runner = harness.attempt_id(owner, 1);
    let job_id = harness.run(name).spec.job.job_id;
    {
        let mut state = harness.state();
        let machine = state.machines.iter().find(|m| m.attempt_id == runner).expect("a machine");
        let registration = machine.registration;
        state.ran_on.insert(job_id, registration);
    }
    harness.job_is(name, CANCELED);
}

/// The same, and it deletes the registration of that machine.
fn is_canceled(harness: &Harness, name: &RunName, owner: &RunName) {
    let runner = harness.attempt_id(owner, 1);
    is_called_canceled(harness, name, owner);
    harness.state().registrations.retain(|row| row.attempt_id != runner);
}

/// Whether the machine of the first attempt of a run is live.
fn is_live(harness: &Harness, owner: &RunName) -> bool {
    let runner = harness.attempt_id(owner, 1);
    harness.state().machines.iter().any(|m| m.attempt_id == runner && m.is_live())
}

#[test]
fn its_machine_ends_in_the_reconcile_that_sees_it() {
    let harness = Harness::new();
    let name = harness.jobs(1, "good").remove(0);
    harness.reconcile(&name);
    runs_on(&harness, &name, &name);
    assert!(is_live(&harness, &name));
    is_canceled(&harness, &name, &name);
    harness.reconcile(&name);
    assert!(!is_live(&harness, &name), "its runner never hears of it");
    assert_eq!(harness.woken(), [""; 0], "there is no other run to wake");
}

#[test]
fn the_run_whose_machine_it_was_is_woken_and_ends_it() {
    let harness = Harness::new();
    let names = harness.jobs(2, "good");
    harness.reconcile_each(&names);
    let (taker, owner) = (&names[0], &names[1]);
    runs_on(&harness, taker, owner);
    is_canceled(&harness, taker, owner);
    harness.reconcile(taker);
    assert!(is_live(&harness, owner), "a run ends its own machines only");
    assert_eq!(harness.woken(), [owner.to_string()]);
    harness.reconcile(owner);
    assert!(!is_live(&harness, owner));
    harness.reconcile(taker);
    assert_eq!(harness.woken(), [""; 0], "it is woken once");
}

#[test]
fn the_machine_of_a_job_that_was_never_seen_running_ends_too() {
    let harness = Harness::new();
    let name = harness.jobs(1, "good").remove(0);
    harness.reconcile(&name);
    // It is picked up and canceled between two polls, and no webhook tells it.
    is_canceled(&harness, &name, &name);
    harness.reconcile(&name);
    assert_eq!(harness.run(&name).status.runner, None);
    assert!(!is_live(&harness, &name));
}

#[test]
fn so_does_the_machine_of_another_run() {
    let harness = Harness::new();
    let names = harness.jobs(2, "good");
    harness.reconcile_each(&names);
    let (taker, owner) = (&names[0], &names[1]);
    is_canceled(&harness, taker, owner);
    harness.woken();
    harness.reconcile(taker);
    assert!(harness.woken().contains(&owner.to_string()), "nothing else tells it");
    harness.reconcile(owner);
    assert!(!is_live(&harness, owner));
    assert!(is_live(&harness, taker), "its machine may take another job");
}

#[test]
fn a_changed_tag_ends_no_machine_before_its_minute() {
    let harness = Harness::new();
    let names = harness.jobs(2, "good");
    harness.reconcile_each(&names);
    let (canceled, other) = (&names[0], &names[1]);
    let runner = harness.attempt_id(other, 1);
    // The job of the other machine has ended. Its tags name the registration of the canceled job.
    {
        let mut state = harness.state();
        state.registrations.retain(|row| row.attempt_id != runner);
        for machine in state.machines.iter_mut().filter(|m| m.attempt_id == runner) {
            machine.registration = 999;
        }
        state.ran_on.insert(1, 999);
    }
    harness.job_is(canceled, CANCELED);
    harness.job_is(other, Job::Done { conclusion: Conclusion::Success });
    harness.reconcile(canceled);
    harness.reconcile(other);
    assert!(is_live(&harness, other), "its record names another registration");
    harness.pass(MINUTE + SECOND);
    harness.reconcile(other);
    assert!(!is_live(&harness, other));
}

#[test]
fn a_machine_whose_registration_is_there_goes_on() {
    let harness = Harness::new();
    let name = harness.jobs(1, "good").remove(0);
    harness.reconcile(&name);
    runs_on(&harness, &name, &name);
    is_called_canceled(&harness, &name, &name);
    harness.reconcile(&name);
    assert!(is_live(&harness, &name), "the forge may not have canceled it yet");
}

#[test]
fn the_machine_of_a_job_that_failed_gets_its_minute() {
    let harness = Harness::new();
    let name = harness.jobs(1, "good").remove(0);
    harness.reconcile(&name);
    runs_on(&harness, &name, &name);
    is_canceled(&harness, &name, &name);
    harness.job_is(&name, Job::Done { conclusion: Conclusion::Failure });
    harness.reconcile(&name);
    assert!(is_live(&harness, &name), "its runner may be reporting the end of its log");
    harness.pass(MINUTE + SECOND);
    harness.reconcile(&name);
    assert!(!is_live(&harness, &name));
}
