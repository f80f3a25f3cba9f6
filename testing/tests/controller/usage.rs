//! Usage: counted by one write of the record, whatever happens around it.

use jiff::SignedDuration;
use tinqs_ci_reconciler::model::{
    Amount, Conclusion, EndedBy, Job, MachineState, MicroUsd, Phase, RunName,
};
use tinqs_ci_reconciler::ports::{ErrorKind, TrueTime};

use super::{MINUTE, SECOND};
use crate::harness::Harness;

const DONE: Job = Job::Done { conclusion: Conclusion::Success };

/// A run whose job was done a minute after its machine was launched. The machine is up.
fn finished(harness: &Harness) -> RunName {
    let mut settings = (*harness.controller.settings()).clone();
    settings.prices.insert("small".to_owned(), MicroUsd(3_600));
    harness.controller.configure(settings);
    // The on-demand machine is the only one with a price.
    harness.configure("good", |class| class.machines.retain(|spec| spec.subnet == "subnet-a"));
    harness.configure("good", |class| drop(class.machines.remove(0)));
    let name = harness.jobs(1, "good").remove(0);
    harness.reconcile(&name);
    let runner = harness.attempt_id(&name, 1).to_string();
    harness.job_is(&name, Job::Running { runner });
    harness.state().machines[0].state = MachineState::Up;
    harness.pass(20 * SECOND);
    harness.reconcile(&name);
    harness.pass(40 * SECOND);
    harness.job_is(&name, DONE);
    harness.reconcile(&name);
    assert_eq!(harness.run(&name).status.phase, Phase::Finished);
    name
}

/// Its machine ends now.
fn ends(harness: &Harness) {
    let now = harness.now();
    let mut state = harness.state();
    let machine = &mut state.machines[0];
    (machine.state, machine.ended_by, machine.ended_at) =
        (MachineState::Gone, Some(EndedBy::Itself), Some(now));
}

fn counted(harness: &Harness) -> Amount {
    let mut sum = Amount::default();
    for amount in harness.state().usage.values() {
        sum += *amount;
    }
    sum
}

#[test]
fn a_run_is_counted_when_its_machine_has_ended() {
    let harness = Harness::new();
    let name = finished(&harness);
    assert!(counted(&harness).is_empty());
    let written = harness.writes();
    harness.pass(5 * SECOND);
    ends(&harness);
    // Nobody tells: it is due a minute after the last look.
    harness.woken();
    harness.pass(MINUTE);
    assert_eq!(harness.wakes(), 1);
    assert_eq!(harness.follow(), 1);
    let found = counted(&harness);
    assert_eq!((found.jobs, found.seconds.total(), harness.writes()), (1, 65, written + 1));
    assert_eq!(found.known_cost(), Some(MicroUsd(65)));
    for _ in 0..3 {
        harness.pass(MINUTE);
        harness.reconcile(&name);
    }
    assert_eq!((counted(&harness), harness.writes()), (found, written + 1), "once");
    assert_eq!(harness.wakes(), 0, "nothing is due");
}

#[test]
fn a_write_that_fails_counts_nothing_and_is_repeated() {
    let harness = Harness::new();
    let name = finished(&harness);
    harness.pass(5 * SECOND);
    ends(&harness);
    harness.state().conflicts = 1;
    harness.reconcile(&name);
    assert!(counted(&harness).is_empty(), "another writer came first");
    harness.fails("put", ErrorKind::Unavailable);
    harness.reconcile(&name);
    assert!(counted(&harness).is_empty());
    harness.reconcile(&name);
    assert_eq!(counted(&harness).seconds.total(), 65);
}

#[test]
fn a_new_process_finds_machines_that_ended_meanwhile() {
    let harness = Harness::new();
    finished(&harness);
    harness.pass(5 * SECOND);
    ends(&harness);
    harness.state().registrations.clear();
    let other = harness.another();
    harness.woken();
    tinqs_ci_testing::ready(other.sweep());
    assert_eq!(harness.woken(), ["job-1"]);
    harness.pass(MINUTE);
    tinqs_ci_testing::ready(other.sweep());
    assert!(harness.woken().is_empty(), "each ended machine once");
}

#[test]
fn a_new_process_reads_the_record_of_a_machine_that_ended_and_wakes_nobody_if_it_is_counted() {
    let harness = Harness::new();
    let name = finished(&harness);
    harness.pass(5 * SECOND);
    ends(&harness);
    harness.reconcile(&name);
    assert_eq!(counted(&harness).seconds.total(), 65);
    harness.state().registrations.clear();
    let other = harness.another();
    harness.woken();
    let read = harness.calls("get");
    for _ in 0..3 {
        other.forget_idle();
        let report = tinqs_ci_testing::ready(other.sweep());
        assert_eq!((report.machines, report.errors.len()), (1, 0), "it is listed as ended");
        harness.pass(MINUTE);
    }
    assert!(harness.woken().is_empty());
    assert_eq!(harness.calls("get"), read + 1, "its record is read once");
}

#[test]
fn a_run_whose_record_cannot_be_read_is_woken() {
    let harness = Harness::new();
    let name = finished(&harness);
    harness.pass(5 * SECOND);
    ends(&harness);
    harness.reconcile(&name);
    harness.state().registrations.clear();
    let other = harness.another();
    harness.woken();
    harness.fails("get", ErrorKind::Unavailable);
    let report = tinqs_ci_testing::ready(other.sweep());
    assert_eq!((report.woken, report.errors.len()), (1, 0));
    assert_eq!(harness.woken(), ["job-1"]);
}

#[test]
fn a_machine_that_was_counted_while_it_ended_wakes_nobody_when_it_is_gone() {
    let harness = Harness::new();
    let name = finished(&harness);
    harness.pass(5 * SECOND);
    ends(&harness);
    harness.state().machines[0].state = MachineState::Ending;
    harness.state().registrations.clear();
    harness.reconcile(&name);
    assert_eq!(counted(&harness).seconds.total(), 65);
    harness.state().machines[0].state = MachineState::Gone;
    harness.woken();
    harness.pass(MINUTE);
    tinqs_ci_testing::ready(harness.controller.sweep());
    assert!(harness.woken().is_empty());
}

#[test]
fn a_machine_that_no_list_shows_is_read_by_its_id() {
    let harness = Harness::new();
    let name = finished(&harness);
    harness.pass(10 * MINUTE);
    ends(&harness);
    let id = harness.state().machines[0].id.0.clone();
    harness.state().unlisted.insert(id);
    harness.reconcile(&name);
    assert_eq!(counted(&harness).seconds.total(), 11 * 60);
}

#[test]
fn a_machine_that_the_cloud_forgot_counts_until_it_was_last_seen_up() {
    let harness = Harness::new();
    let name = finished(&harness);
    harness.state().machines.clear();
    harness.pass(10 * MINUTE);
    harness.reconcile(&name);
    let found = counted(&harness);
    assert_eq!((found.seconds.total(), found.unknown_end), (60, 600));
    assert_eq!((found.jobs, found.known_cost()), (1, Some(MicroUsd(60))));
}

#[test]
fn an_end_that_the_cloud_does_not_date_counts_when_a_list_shows_it() {
    let harness = Harness::new();
    let name = finished(&harness);
    harness.pass(50 * SECOND);
    ends(&harness);
    harness.state().machines[0].ended_at = None;
    harness.reconcile(&name);
    let found = counted(&harness);
    assert_eq!((found.seconds.total(), found.unknown_end), (110, 0));
}

#[test]
fn an_end_that_was_seen_while_nothing_could_be_written_is_known_after_it_was_forgotten() {
    let harness = Harness::new();
    let name = finished(&harness);
    harness.pass(5 * SECOND);
    ends(&harness);
    harness.state().down.insert("forge");
    tinqs_ci_testing::ready(harness.controller.sweep());
    harness.state().machines.clear();
    harness.pass(120 * MINUTE);
    harness.state().down.clear();
    harness.reconcile(&name);
    let found = counted(&harness);
    assert_eq!((found.seconds.total(), found.unknown_end), (65, 0));
}

#[test]
fn the_machine_of_a_deleted_run_is_counted_before_the_record_goes() {
    let harness = Harness::new();
    let name = finished(&harness);
    let now = harness.now();
    harness.change(&name, |run| {
        (run.status.phase, run.status.outcome, run.status.finished_at) =
            (Phase::Waiting, None, None);
        run.delete(now, true, None);
    });
    harness.reconcile(&name);
    harness.pass(5 * SECOND);
    ends(&harness);
    harness.state().registrations.clear();
    harness.pass(SignedDuration::from_hours(1));
    harness.reconcile(&name);
    assert!(!harness.state().runs.contains_key(&name), "it is removed");
    let found = counted(&harness);
    assert_eq!((found.jobs, found.seconds.total()), (0, 65));
}

#[test]
fn a_due_of_a_clock_that_was_wrong_does_not_keep_the_record() {
    let harness = Harness::new();
    let name = finished(&harness);
    harness.configure("good", |class| class.times.keep = 30 * MINUTE);
    let truth = harness.now();
    harness.pass(SignedDuration::from_hours(9));
    harness.state().true_time = TrueTime::About(truth);
    harness.reconcile(&name);
    harness.pass(SignedDuration::from_hours(-9));
    // Another process counts it, so that this one reconciles nothing after its clock was set right.
    ends(&harness);
    harness.state().registrations.clear();
    let other = harness.another();
    tinqs_ci_testing::ready(other.reconcile(&name));
    assert_eq!(counted(&harness).seconds.total(), 60);
    let due = harness.run(&name).status.due;
    let until_due = due.duration_since(harness.now());
    assert_eq!(until_due, 30 * MINUTE);
    harness.woken();
    harness.pass(until_due + SECOND);
    harness.state().true_time = TrueTime::About(harness.now());
    tinqs_ci_testing::ready(harness.controller.poll());
    assert_eq!(harness.woken(), ["job-1"]);
}
