//! A clock that differs from the true time: nothing is concluded from a wait, and nothing is recorded
//! too early.

use jiff::SignedDuration;
use tinqs_ci_reconciler::controller::{ActionKind, Event, ReconcileOutcome};
use tinqs_ci_reconciler::model::{ClockCheck, Conclusion, Job, MachineState, Phase, RunName};
use tinqs_ci_reconciler::ports::TrueTime;
use tinqs_ci_testing::ready;

use super::reading::{attempt, observe, seat, started};
use super::{MINUTE, SECOND, effects};
use crate::harness::Harness;

/// Sets the clock so far ahead of the true time; behind if negative.
fn ahead(harness: &Harness, lead: SignedDuration) {
    let mut state = harness.state();
    state.true_time = TrueTime::About(state.now - lead);
}

/// A run whose job runs, on a machine that is so long past its deadline by the own clock.
fn overdue(harness: &Harness, by: SignedDuration) -> RunName {
    let name = started(harness);
    let runner = harness.attempt_id(&name, 1).to_string();
    harness.job_is(&name, Job::Running { runner });
    let over = harness.now() - by;
    for machine in &mut harness.state().machines {
        (machine.state, machine.deadline) = (MachineState::Up, over);
    }
    harness.change(&name, |run| attempt(run).boot.deadline = over);
    name
}

const TERMINATE: (&str, ActionKind) = ("20", ActionKind::Terminate);

#[test]
fn a_clock_that_is_ahead_ends_no_machine_until_it_is_right() {
    let harness = Harness::new();
    let name = overdue(&harness, 12 * MINUTE);
    ahead(&harness, 13 * MINUTE);
    let report = harness.reconcile(&name);
    assert!(!effects(&report).contains(&TERMINATE), "{:?}", effects(&report));
    assert!(report.events.contains(&Event::ClockDiffers { ahead_seconds: 780 }));
    assert_eq!(observe(&harness, &name).clock, ClockCheck::Ahead);
    let again = harness.reconcile(&name);
    assert!(again.events.is_empty(), "told once: {:?}", again.events);
    ahead(&harness, 2 * MINUTE);
    let report = harness.reconcile(&name);
    assert!(report.events.contains(&Event::ClockAgrees), "{:?}", report.events);
    assert!(effects(&report).contains(&TERMINATE), "{:?}", effects(&report));
}

#[test]
fn before_the_first_answer_nothing_is_concluded_from_a_wait() {
    let harness = Harness::new();
    let name = overdue(&harness, 12 * MINUTE);
    harness.state().true_time = TrueTime::Unknown;
    let report = harness.reconcile(&name);
    assert!(!effects(&report).contains(&TERMINATE), "{:?}", effects(&report));
    let told = |event: &Event| matches!(event, Event::ClockDiffers { .. });
    assert!(!report.events.iter().any(told), "it is not known to differ");
    harness.state().true_time = TrueTime::Undated;
    let report = harness.reconcile(&name);
    assert!(effects(&report).contains(&TERMINATE), "no answer has a date: the own clock counts");
}

#[test]
fn a_clock_that_is_set_during_a_reconcile_stops_its_effects() {
    let harness = Harness::new();
    let name = overdue(&harness, 12 * MINUTE);
    ahead(&harness, SECOND);
    // Rule 26 frees a seat first, and the clock is set meanwhile.
    let attempt_id = harness.attempt_id(&name, 9);
    let class = harness.run(&name).status.attempt.expect("an attempt").class;
    harness.change(&name, |run| run.status.next = 10);
    harness.state().seats.push((class, seat(attempt_id)));
    harness.when("unseat", |state| state.true_time = TrueTime::About(state.now - 13 * MINUTE));
    let report = harness.reconcile(&name);
    assert_eq!(effects(&report), [("26", ActionKind::Unseat)]);
    assert_eq!(report.result, ReconcileOutcome::Error);
    assert!(report.error.is_some_and(|error| error.contains("the clock was set")));
}

#[test]
fn a_clock_that_is_set_right_during_an_observation_ends_no_machine() {
    let harness = Harness::new();
    let name = overdue(&harness, 12 * MINUTE);
    ahead(&harness, 13 * MINUTE);
    harness.when("job", |state| state.now -= 13 * MINUTE);
    let report = harness.reconcile(&name);
    assert!(!effects(&report).contains(&TERMINATE), "{:?}", effects(&report));
}

#[test]
fn an_observation_that_takes_minutes_is_not_taken_for_a_clock_that_is_behind() {
    let harness = Harness::new();
    let name = started(&harness);
    ahead(&harness, SECOND);
    let registration = attempt(&mut harness.run(&name)).runner.id;
    harness.state().registrations.retain(|row| row.id != registration);
    harness.reconcile(&name);
    harness.pass(2 * MINUTE);
    ahead(&harness, SECOND);
    // The reading of the job takes three minutes of the true time.
    harness.when("job", |state| {
        state.now += 3 * MINUTE;
        state.true_time = TrueTime::About(state.now);
    });
    let slow = harness.reconcile(&name);
    assert!(slow.events.is_empty(), "{:?}", slow.events);
    let next = harness.reconcile(&name);
    // It was seen missing five minutes before.
    assert!(effects(&next).contains(&("21", ActionKind::Terminate)), "{:?}", effects(&next));
}

#[test]
fn a_clock_that_is_behind_records_the_true_time() {
    let harness = Harness::new();
    let name = harness.jobs(1, "good").remove(0);
    ahead(&harness, -180 * MINUTE);
    let truth = harness.now() + 180 * MINUTE;
    let report = harness.reconcile(&name);
    assert_eq!(report.phase, Some(Phase::Starting));
    let run = harness.run(&name);
    let recorded = run.status.attempt.expect("an attempt");
    assert_eq!(recorded.decided_at, truth);
    assert_eq!(recorded.placements[0].answered.as_ref().map(|answer| answer.at), Some(truth));
}

#[test]
fn a_recorded_time_is_not_taken_for_one_in_the_future_by_a_clock_that_is_behind() {
    let harness = Harness::new();
    let name = started(&harness);
    let decided_at = attempt(&mut harness.run(&name)).decided_at;
    harness.pass(-180 * MINUTE);
    for true_time in [TrueTime::Unknown, TrueTime::About(decided_at)] {
        harness.state().true_time = true_time;
        harness.reconcile(&name);
        assert_eq!(attempt(&mut harness.run(&name)).decided_at, decided_at, "{true_time:?}");
    }
}

#[test]
fn a_clock_that_is_ahead_gives_up_no_attempt_and_no_run() {
    let harness = Harness::new();
    let name = started(&harness);
    harness.state().machines.clear();
    ahead(&harness, SECOND);
    let truth = harness.now();
    harness.pass(48 * 60 * MINUTE);
    harness.state().true_time = TrueTime::About(truth);
    let report = harness.reconcile(&name);
    assert_eq!((report.phase, harness.launches("good")), (Some(Phase::Starting), 1));
    assert_eq!(attempt(&mut harness.run(&name)).ended, None);
    harness.pass(-48 * 60 * MINUTE);
    harness.reconcile(&name);
    assert_eq!(attempt(&mut harness.run(&name)).ended, None);
}

#[test]
fn a_machine_that_was_seen_gone_gives_its_seat_back_whatever_the_clock() {
    let harness = Harness::new();
    harness.configure("good", |class| class.limit = Some(1));
    let name = started(&harness);
    harness.take_back(&name);
    harness.job_is(&name, Job::Done { conclusion: Conclusion::Success });
    ahead(&harness, 180 * MINUTE);
    let report = harness.reconcile(&name);
    assert!(effects(&report).contains(&("26", ActionKind::Unseat)), "{:?}", effects(&report));
}

#[test]
fn what_was_cached_with_a_wrong_clock_is_forgotten() {
    let harness = Harness::new();
    let name = started(&harness);
    ahead(&harness, SECOND);
    let truth = harness.now();
    harness.pass(180 * MINUTE);
    harness.state().true_time = TrueTime::About(truth);
    harness.reconcile(&name);
    assert!(harness.controller.earliest_due().is_some_and(|due| due > truth + 170 * MINUTE));
    harness.pass(-180 * MINUTE);
    harness.reconcile(&name);
    assert!(harness.controller.earliest_due().is_some_and(|due| due < truth + 10 * MINUTE));
}

#[test]
fn a_clock_that_is_ahead_keeps_the_lease_no_longer_than_another() {
    let harness = Harness::new();
    harness.jobs(1, "good");
    ahead(&harness, 180 * MINUTE);
    let truth = harness.now() - 180 * MINUTE;
    assert!(ready(harness.controller.poll()).leader);
    let until = harness.state().leases["sweep"].1;
    assert!(until <= truth + 2 * MINUTE, "{until}");
}
