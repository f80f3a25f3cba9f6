//! The launch queue: a burst waits for the launch rate, in order and without repeated calls.

use jiff::SignedDuration;
use tinqs_ci_reconciler::model::{Phase, Reason, RunName};
use tinqs_ci_reconciler::ports::{ErrorKind, PortError};
use tinqs_ci_testing::LaunchAnswer;

use crate::harness::{Harness, is_of};

const SECOND: SignedDuration = SignedDuration::from_secs(1);

/// Jobs of a class, one second apart, all of which wait for the launch rate; oldest first.
fn in_line(harness: &Harness, count: usize, class: &str) -> Vec<RunName> {
    harness.room_for(0);
    let names: Vec<RunName> = (0..count)
        .flat_map(|_| {
            harness.pass(SECOND);
            harness.jobs(1, class)
        })
        .collect();
    // They are reconciled in another order.
    let backwards: Vec<RunName> = names.iter().rev().cloned().collect();
    harness.reconcile_each(&backwards);
    for name in &names {
        assert_eq!(harness.run(name).status.reason(), Some(Reason::Paced));
    }
    names
}

fn starting(harness: &Harness, names: &[RunName]) -> usize {
    names.iter().filter(|name| harness.run(name).status.phase == Phase::Starting).count()
}

#[test]
fn while_there_is_no_room_nobody_is_reconciled() {
    let harness = Harness::new();
    let names = in_line(&harness, 100, "good");
    let written = harness.writes();
    for _ in 0..190 {
        harness.pass(SECOND);
        assert_eq!(harness.wakes(), 0);
    }
    // Each is reconciled every five minutes whatever the rate allows: its job may be gone.
    harness.pass(SignedDuration::from_secs(120));
    assert_eq!((harness.wakes(), harness.follow()), (names.len(), names.len()));
    harness.pass(SECOND);
    assert_eq!(harness.wakes(), 0);
    assert_eq!((harness.launches("good"), harness.writes()), (0, written));
}

#[test]
fn room_goes_to_those_that_have_waited_longest() {
    let harness = Harness::new();
    let names = in_line(&harness, 100, "good");
    for round in 1..=10 {
        harness.pass(SECOND);
        harness.room_for(2);
        harness.wakes();
        let reconciles = harness.follow();
        assert!(reconciles <= 6, "{reconciles} reconciles for two launches");
        assert_eq!(harness.launches("good"), 2 * round);
        assert_eq!(starting(&harness, &names[..2 * round]), 2 * round, "in order");
    }
}

#[test]
fn a_burst_of_one_owner_does_not_keep_another_waiting() {
    let harness = Harness::new();
    let burst = in_line(&harness, 20, "good");
    let other = harness.jobs(1, "good").remove(0);
    harness.change(&other, |run| is_of(run, "lone/a"));
    assert_eq!(harness.reconcile(&other).reason, Some(Reason::Paced));
    harness.pass(SECOND);
    harness.room_for(2);
    harness.wakes();
    harness.follow();
    assert_eq!(harness.launches("good"), 2);
    assert_eq!(starting(&harness, &burst[..1]), 1, "it has waited longest, and nobody has one");
    assert_eq!(starting(&harness, &[other]), 1, "its owner has none");
}

#[test]
fn who_needs_no_launch_any_more_holds_nobody_up() {
    let harness = Harness::new();
    let bad = in_line(&harness, 50, "bad");
    let good = in_line(&harness, 5, "good");
    harness.answers(
        "bad",
        LaunchAnswer::Refuses(|| {
            PortError::new("compute", "launch", ErrorKind::Invalid, "check the class's `image`")
        }),
    );
    harness.pass(SECOND);
    harness.room_for(50);
    harness.wakes();
    let reconciles = harness.follow();
    // One run of the bad class launches, the others record why they wait, and each wakes the next.
    assert_eq!((harness.launches("bad"), harness.launches("good")), (1, 5));
    assert_eq!(starting(&harness, &good), 5);
    assert!(reconciles <= bad.len() + good.len(), "{reconciles}");
}

#[test]
fn one_whose_call_is_lost_is_called_again_in_half_a_minute() {
    let harness = Harness::new();
    let names = in_line(&harness, 2, "good");
    harness.pass(SECOND);
    harness.room_for(2);
    assert_eq!((harness.wakes(), harness.woken().len()), (2, 2));
    // Nothing reconciles them.
    harness.pass(29 * SECOND);
    assert_eq!(harness.wakes(), 0);
    harness.pass(SECOND);
    assert_eq!((harness.wakes(), harness.follow()), (2, 2));
    assert_eq!(starting(&harness, &names), 2);
}

#[test]
fn who_has_got_a_machine_without_being_called_is_in_the_launch_queue_no_more() {
    let harness = Harness::new();
    let names = in_line(&harness, 1, "good");
    harness.pass(SECOND);
    harness.room_for(1);
    harness.reconcile_each(&names);
    assert_eq!(starting(&harness, &names), 1);
    harness.pass(30 * SECOND);
    assert_eq!(harness.wakes(), 1, "it is due like any other");
}
