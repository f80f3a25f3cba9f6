//! A forge that was restored from a backup assigns old IDs again: the registration ID that a run has
//! recorded then belongs to another run's busy runner. The first run's own registration counts as
//! missing, and the other registration is never touched.

use jiff::SignedDuration;
use tinqs_ci_reconciler::controller::ReconcileOutcome;
use tinqs_ci_reconciler::model::{MachineState, Registration, RunName};
use tinqs_ci_testing::ready;

use crate::harness::Harness;

/// A run whose machine has been up for a minute, and another run's registration under its ID.
fn stage() -> (Harness, RunName, i64) {
    let harness = Harness::new();
    let names = harness.jobs(2, "good");
    let [name, other] = &names[..] else { panic!("two jobs") };
    harness.reconcile(name);
    harness.pass(SignedDuration::from_secs(60));
    let attempt_id = harness.attempt_id(other, 1);
    let mut state = harness.state();
    state.machines[0].state = MachineState::Up;
    let row = &mut state.registrations[0];
    (row.attempt_id, row.online, row.busy) = (attempt_id, true, true);
    let number = row.id;
    drop(state);
    (harness, name.clone(), number)
}

#[test]
fn a_row_of_another_run_under_the_recorded_number_is_none_of_this_run() {
    let (harness, name, number) = stage();
    let seen = ready(harness.controller.observe(&name)).expect("everything can be read");
    let missing = Registration {
        repo_id: 0,
        id: number,
        attempt_id: harness.attempt_id(&name, 1),
        uuid: None,
        online: false,
        busy: false,
        disabled: None,
        disabled_since: None,
        missing_since: Some(harness.now()),
    };
    assert_eq!(seen.registrations.seen(), [missing], "missing since it was asked for");
}

#[test]
fn a_row_of_another_run_under_the_recorded_number_is_never_retired() {
    let (harness, name, number) = stage();
    // Its machine is terminated a minute after the registration was found missing. The next attempt
    // follows, and the past one has recorded an ID that belongs to another run.
    for _ in 0..20 {
        let report = harness.reconcile(&name);
        assert_ne!(report.result, ReconcileOutcome::Conflict, "nobody else writes");
        let mut state = harness.state();
        assert!(
            state.registrations.iter().any(|row| row.id == number),
            "another run's runner works there"
        );
        // A machine that is asked to end has ended before the next reconcile.
        let ending = state.machines.iter_mut().filter(|m| m.state == MachineState::Ending);
        ending.for_each(|machine| machine.state = MachineState::Gone);
        state.now += SignedDuration::from_secs(30);
    }
    let state = harness.state();
    assert_eq!(state.machines[0].state, MachineState::Gone, "it is of no use to anybody");
    let own = |row: &&Registration| row.attempt_id.run == name && row.id != number;
    assert!(state.registrations.iter().any(|row| own(&row)), "the next attempt has one of its own");
}
