//! Machines that hang: their registrations are disabled, and after a minute they are ended.

use tinqs_ci_reconciler::controller::{ActionKind, Report};
use tinqs_ci_reconciler::model::{Conclusion, Job, JobRunner, RunName};
use tinqs_ci_reconciler::ports::ErrorKind;
use tinqs_ci_testing::ready;

use super::{MINUTE, SECOND, effects};
use crate::harness::Harness;

const DISABLE: [ActionKind; 1] = [ActionKind::Disable];
const TERMINATE: [ActionKind; 1] = [ActionKind::Terminate];

/// A run whose job ran elsewhere, and whose machine boots for a second longer than its promise.
fn hanging(harness: &Harness) -> RunName {
    let name = harness.jobs(1, "good").remove(0);
    harness.reconcile(&name);
    harness.job_is(&name, Job::Done { conclusion: Conclusion::Success });
    harness.reconcile(&name);
    harness.pass(12 * MINUTE + SECOND);
    name
}

/// Returns the actions of rule 22, in order.
fn of_rule_22(report: &Report) -> Vec<ActionKind> {
    let all = effects(report).into_iter();
    all.filter(|(rule, _)| *rule == "22").map(|(_, action)| action).collect()
}

fn reconciled(harness: &Harness, name: &RunName) -> Vec<ActionKind> {
    of_rule_22(&harness.reconcile(name))
}

#[test]
fn a_machine_is_ended_a_minute_after_its_registration_was_disabled() {
    let harness = Harness::new();
    let name = hanging(&harness);
    let report = harness.reconcile(&name);
    assert_eq!((of_rule_22(&report), harness.calls("at_work")), (DISABLE.to_vec(), 0));
    assert_eq!(report.due, Some(harness.now() + MINUTE));
    harness.pass(59 * SECOND);
    assert_eq!((reconciled(&harness, &name), harness.calls("at_work")), (Vec::new(), 0));
    harness.pass(SECOND);
    assert_eq!((reconciled(&harness, &name), harness.calls("at_work")), (TERMINATE.to_vec(), 1));
    let status = harness.run(&name).status;
    let current = status.attempt.iter().filter_map(|attempt| attempt.hung_since);
    let past = status.past.iter().filter_map(|past| past.hung_since);
    assert_eq!(current.chain(past).count(), 0, "the record keeps a reading");
}

#[test]
fn a_run_is_reconciled_when_the_second_reading_is_due() {
    let harness = Harness::new();
    let name = hanging(&harness);
    harness.reconcile(&name);
    harness.woken();
    harness.pass(59 * SECOND);
    assert_eq!((harness.wakes(), harness.woken()), (0, Vec::new()));
    harness.pass(SECOND);
    assert_eq!((harness.wakes(), harness.woken()), (1, vec![name.to_string()]));
}

#[test]
fn a_forge_that_cannot_disable_is_read_twice_two_minutes_apart() {
    let harness = Harness::new();
    let name = hanging(&harness);
    harness.state().cannot_disable = true;
    // It is tried once.
    assert_eq!(reconciled(&harness, &name), DISABLE);
    for _ in 0..2 {
        harness.pass(MINUTE);
        assert_eq!(reconciled(&harness, &name), []);
    }
    // The first reading that counts was the last one, two minutes after the promise.
    harness.pass(2 * MINUTE - SECOND);
    assert_eq!(reconciled(&harness, &name), []);
    harness.pass(SECOND);
    assert_eq!(reconciled(&harness, &name), TERMINATE);
}

#[test]
fn another_process_counts_from_its_own_first_reading() {
    let harness = Harness::new();
    let name = hanging(&harness);
    assert_eq!(reconciled(&harness, &name), DISABLE);
    harness.pass(MINUTE);
    let another = harness.another();
    assert_eq!(of_rule_22(&ready(another.reconcile(&name))), []);
    harness.pass(MINUTE);
    assert_eq!(of_rule_22(&ready(another.reconcile(&name))), TERMINATE);
}

#[test]
fn a_reading_that_fails_begins_the_minute_again() {
    let harness = Harness::new();
    let name = hanging(&harness);
    assert_eq!(reconciled(&harness, &name), DISABLE);
    harness.pass(30 * SECOND);
    harness.fails("registrations", ErrorKind::Unavailable);
    assert_eq!(reconciled(&harness, &name), []);
    harness.pass(30 * SECOND);
    assert_eq!(reconciled(&harness, &name), []);
    harness.pass(MINUTE);
    assert_eq!(reconciled(&harness, &name), TERMINATE);
}

#[test]
fn a_registration_that_somebody_enables_is_disabled_again_and_counts_from_then() {
    let harness = Harness::new();
    let name = hanging(&harness);
    assert_eq!(reconciled(&harness, &name), DISABLE);
    harness.pass(30 * SECOND);
    harness.state().registrations[0].disabled = Some(false);
    assert_eq!(reconciled(&harness, &name), DISABLE);
    harness.pass(30 * SECOND);
    assert_eq!(reconciled(&harness, &name), []);
    harness.pass(30 * SECOND);
    assert_eq!(reconciled(&harness, &name), TERMINATE);
}

#[test]
fn disabling_that_fails_does_not_count() {
    let harness = Harness::new();
    let name = hanging(&harness);
    harness.fails("disable", ErrorKind::Unavailable);
    assert_eq!(reconciled(&harness, &name), DISABLE);
    harness.pass(MINUTE);
    assert_eq!(reconciled(&harness, &name), DISABLE);
    harness.pass(MINUTE);
    assert_eq!(reconciled(&harness, &name), TERMINATE);
}

#[test]
fn a_machine_that_a_job_in_progress_names_is_left_alone() {
    let harness = Harness::new();
    let name = hanging(&harness);
    let id = harness.state().registrations[0].id;
    harness.state().at_work = Some(vec![JobRunner { id, name: String::new() }]);
    assert_eq!(reconciled(&harness, &name), DISABLE);
    harness.pass(MINUTE);
    assert_eq!(reconciled(&harness, &name), []);
    harness.state().at_work = Some(Vec::new());
    harness.pass(MINUTE);
    assert_eq!(reconciled(&harness, &name), TERMINATE);
}
