//! Drift over the lists of the real controller: what it reads, and what it knows from before.

use tinqs_ci_reconciler::controller::DriftReport;
use tinqs_ci_reconciler::model::{
    Blocker, DriftKind, Failing, Job, Machine, MachineState, Registration, RunName,
};
use tinqs_ci_reconciler::ports::{ErrorKind, PortError};

use super::{MINUTE, SECOND};
use crate::harness::Harness;
use tinqs_ci_testing::{LaunchAnswer, ready};

fn drift(harness: &Harness) -> Option<DriftReport> {
    ready(harness.controller.polled_drift(Failing::default()))
}

/// Polls, and returns the kinds and what keeps each from being fixed.
fn polled(harness: &Harness) -> Vec<(DriftKind, String, Option<Blocker>)> {
    ready(harness.controller.poll());
    let report = drift(harness).expect("it polls");
    report.drift.iter().map(|one| (one.kind, one.subject(), one.blocked_by)).collect()
}

/// Sweeps, so that machines and registrations are listed, then polls.
fn swept(harness: &Harness) -> Vec<(DriftKind, String, Option<Blocker>)> {
    ready(harness.controller.sweep());
    polled(harness)
}

fn started(harness: &Harness) -> RunName {
    let name = harness.jobs(1, "good").remove(0);
    harness.reconcile(&name);
    name
}

fn registered(harness: &Harness, change: impl FnOnce(&mut Registration)) {
    change(harness.state().registrations.first_mut().expect("a registration"));
}

fn on_machine(harness: &Harness, change: impl FnOnce(&mut Machine)) {
    change(harness.state().machines.first_mut().expect("a machine"));
}

#[test]
fn only_the_replica_that_polls_knows_drift() {
    let harness = Harness::new();
    assert_eq!(drift(&harness), None, "nothing was polled yet");
    ready(harness.controller.poll());
    assert_eq!(drift(&harness), Some(DriftReport::default()));
    harness.jobs(1, "good");
    harness.pass(2 * MINUTE);
    harness.state().led_by_another = true;
    ready(harness.controller.poll());
    assert_eq!(drift(&harness), None);
}

#[test]
fn a_run_without_a_machine_says_what_blocks_it() {
    let harness = Harness::new();
    let none = || PortError::new("compute", "launch", ErrorKind::NoCapacity, "none");
    harness.answers("good", LaunchAnswer::Refuses(none));
    let name = started(&harness);
    assert_eq!(polled(&harness), []);
    harness.pass(61 * SECOND);
    harness.reconcile(&name);
    let expected = (DriftKind::RunWithoutMachine, name.to_string(), Some(Blocker::NoCapacity));
    assert_eq!(polled(&harness), [expected]);
    let failing = Failing { cloud: Some(Blocker::CloudDenied), ..Failing::default() };
    let report = ready(harness.controller.polled_drift(failing)).expect("it polls");
    assert_eq!(report.drift[0].blocked_by, Some(Blocker::CloudDenied));
    assert_eq!(report.records.len(), 1, "its record says why");
}

#[test]
fn drift_calls_neither_forge_nor_cloud_and_reads_a_few_records() {
    let harness = Harness::new();
    harness.jobs(80, "good");
    harness.pass(2 * MINUTE);
    ready(harness.controller.poll());
    let calls = |harness: &Harness| {
        let outside = ["list", "find", "registrations", "registration", "waiting", "job", "open"];
        let outside: usize = outside.map(|operation| harness.calls(operation)).iter().sum();
        (outside, harness.calls("get"))
    };
    let before = calls(&harness);
    let report = drift(&harness).expect("it polls");
    assert_eq!((report.drift.len(), report.records.len()), (80, 50));
    assert_eq!(calls(&harness), (before.0, before.1 + 50));
}

#[test]
fn an_idle_runner_counts_from_the_first_list_that_shows_it() {
    let harness = Harness::new();
    let name = started(&harness);
    on_machine(&harness, |machine| machine.state = MachineState::Up);
    registered(&harness, |row| row.online = true);
    assert_eq!(swept(&harness), []);
    harness.pass(61 * SECOND);
    let id = harness.state().machines[0].id.to_string();
    assert_eq!(swept(&harness), [(DriftKind::JobNotAssigned, id, None)]);
    registered(&harness, |row| row.busy = true);
    harness.job_is(&name, Job::Running { runner: harness.attempt_id(&name, 1).to_string() });
    assert_eq!(swept(&harness), []);
}

#[test]
fn a_machine_of_no_run_drifts_when_its_registration_is_known_to_be_gone() {
    let harness = Harness::new();
    let name = started(&harness);
    on_machine(&harness, |machine| machine.state = MachineState::Up);
    harness.state().runs.clear();
    harness.state().registrations.clear();
    assert_eq!(swept(&harness), [], "absence from a list proves nothing");
    harness.reconcile(&name);
    harness.pass(2 * MINUTE);
    assert_eq!(swept(&harness), []);
    harness.pass(SECOND);
    let id = harness.state().machines[0].id.to_string();
    assert_eq!(swept(&harness), [(DriftKind::MachineWithoutRun, id, None)]);
    harness.reconcile(&name);
    on_machine(&harness, |machine| machine.state = MachineState::Gone);
    assert_eq!(swept(&harness), []);
}

#[test]
fn a_registration_without_a_machine_drifts_until_it_is_removed() {
    let harness = Harness::new();
    started(&harness);
    harness.state().runs.clear();
    on_machine(&harness, |machine| machine.state = MachineState::Gone);
    assert_eq!(swept(&harness), []);
    harness.pass(3 * MINUTE + SECOND);
    let id = harness.state().registrations[0].id.to_string();
    assert_eq!(swept(&harness), [(DriftKind::RegistrationWithoutMachine, id, None)]);
    harness.follow();
    assert_eq!(swept(&harness), []);
}

#[test]
fn a_machine_that_is_not_as_recorded_is_found_by_its_kind() {
    let harness = Harness::new();
    started(&harness);
    on_machine(&harness, |machine| {
        machine.state = MachineState::Up;
        "other".clone_into(&mut machine.kind);
    });
    harness.pass(SECOND);
    let id = harness.state().machines[0].id.to_string();
    assert_eq!(swept(&harness), [(DriftKind::SpecMismatch, id, None)]);
}
