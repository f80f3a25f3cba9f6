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

/// The forge cancels the job of a run, and with it deletes the registration of `owner`.
fn is_canceled(harness: &Harness, name: &RunName, owner: &RunName) {
    let runner = harness.attempt_id(owner, 1);
    harness.state().registrations.retain(|row| row.attempt_id != runner);
    harness.job_is(name, CANCELED);
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
fn a_machine_whose_registration_is_there_goes_on() {
    let harness = Harness::new();
    let name = harness.jobs(1, "good").remove(0);
    harness.reconcile(&name);
    runs_on(&harness, &name, &name);
    harness.job_is(&name, CANCELED);
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
