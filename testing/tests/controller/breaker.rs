//! The circuit breaker: where the cloud refuses a class's launches until an operator fixes something,
//! the class is tried rarely. Its runs wait without attempts, failures or further writes, other classes
//! are not affected, and all runs go on once the fault is fixed.

use jiff::SignedDuration;
use tinqs_ci_reconciler::controller::Event;
use tinqs_ci_reconciler::model::{Cause, Phase, Reason, Refusal};
use tinqs_ci_reconciler::ports::{ErrorKind, PortError};
use tinqs_ci_testing::LaunchAnswer;

use crate::harness::Harness;

fn bad_image() -> LaunchAnswer {
    LaunchAnswer::Refuses(|| {
        let message = "InvalidAMIID.NotFound: check the class's `image`";
        PortError::new("compute", "launch", ErrorKind::Invalid, message)
    })
}

fn opened(events: &[Event]) -> usize {
    events.iter().filter(|event| matches!(event, Event::BreakerOpened { .. })).count()
}

fn closed(events: &[Event]) -> Vec<i64> {
    let seconds = |event: &Event| match event {
        Event::BreakerClosed { open_seconds, .. } => Some(*open_seconds),
        _ => None,
    };
    events.iter().filter_map(seconds).collect()
}

const MINUTE: SignedDuration = SignedDuration::from_mins(1);

#[test]
fn fifty_runs_of_a_bad_image_ask_once_and_the_other_class_is_served() {
    let harness = Harness::new();
    harness.answers("bad", bad_image());
    let bad = harness.jobs(50, "bad");
    let good = harness.jobs(5, "good");
    let mut events = harness.reconcile_each(&bad);
    events.extend(harness.reconcile_each(&good));
    assert_eq!((harness.launches("bad"), harness.launches("good")), (1, 5));
    assert_eq!(opened(&events), 1, "it is told once");
    for name in &bad {
        let run = harness.run(name);
        assert_eq!(run.status.phase, Phase::Waiting);
        assert_eq!(run.status.reason(), Some(Reason::BreakerOpen));
        let message = &run.status.conditions[0].message;
        assert!(message.contains("class bad") && message.contains("check the class's `image`"));
        let refused = u32::from(*name == bad[0]);
        assert_eq!((run.status.failures, run.status.attempt.is_some()), (refused, refused > 0));
    }
    // Further reconciles write nothing and launch nothing.
    let written = harness.writes();
    for _ in 0..4 {
        harness.pass(MINUTE);
        harness.reconcile_each(&bad);
    }
    assert_eq!((harness.launches("bad"), harness.writes()), (1, written));
}

#[test]
fn one_attempt_tries_each_five_minutes_and_its_success_lets_all_go_on() {
    let harness = Harness::new();
    harness.answers("bad", bad_image());
    let bad = harness.jobs(20, "bad");
    let mut events = harness.reconcile_each(&bad);
    for launches in 2..=4 {
        harness.pass(5 * MINUTE);
        events.extend(harness.reconcile_each(&bad));
        assert_eq!(harness.launches("bad"), launches, "one of the {} tries", bad.len());
    }
    assert_eq!((opened(&events), closed(&events).len()), (1, 0), "it is told once");
    let open = harness.controller.open_breakers();
    assert_eq!((open.len(), open[0].0.0.as_str()), (1, "bad"));
    harness.answers("bad", LaunchAnswer::Accepts);
    harness.pass(5 * MINUTE);
    let tried = harness.jobs(1, "bad");
    let events = harness.reconcile_each(&tried);
    assert_eq!(closed(&events), [20 * 60]);
    assert_eq!(harness.controller.open_breakers(), []);
    harness.reconcile_each(&bad);
    let retried =
        bad.iter().filter(|name| harness.run(name).status.phase == Phase::Starting).count();
    // The run that tried last backs off on its own account.
    assert!(retried >= bad.len() - 4, "{retried} of {}", bad.len());
}

#[test]
fn an_answer_that_tells_nothing_neither_stops_nor_lets_go_on() {
    let harness = Harness::new();
    let lost = || PortError::new("compute", "launch", ErrorKind::Unavailable, "no answer");
    harness.answers("bad", bad_image());
    let first = harness.jobs(1, "bad");
    harness.reconcile_each(&first);
    harness.pass(5 * MINUTE);
    harness.answers("bad", LaunchAnswer::Refuses(lost));
    let more = harness.jobs(3, "bad");
    let events = harness.reconcile_each(&more);
    assert!(opened(&events) == 0 && closed(&events).is_empty());
    assert_eq!(harness.launches("bad"), 2, "one of them tries, and the breaker stops the others");
    // Its own attempt is launched again, like any that got no answer.
    harness.pass(SignedDuration::from_secs(20));
    harness.answers("bad", LaunchAnswer::Accepts);
    harness.wakes();
    let events = harness.reconcile_each(&more[..1]);
    assert_eq!((harness.launches("bad"), closed(&events).len()), (3, 1));
    assert_eq!(harness.wakes(), 1 + 2, "those that waited are due now");
    harness.reconcile_each(&more);
    assert_eq!(harness.launches("bad"), 3 + 2, "and with its answer the others follow");
}

#[test]
fn a_class_that_is_stopped_while_a_reconcile_prepares_is_not_asked() {
    let harness = Harness::new();
    harness.reconcile_each(&harness.jobs(1, "bad"));
    harness.answers("bad", bad_image());
    let names = harness.jobs(2, "bad");
    // The first run has read a closed breaker, and registers while the second is refused.
    harness.meanwhile("register", &names[1]);
    let report = harness.reconcile(&names[0]);
    assert_eq!(harness.launches("bad"), 2, "the one that was taken, the one that was refused");
    let run = harness.run(&names[0]);
    let attempt = run.status.attempt.as_ref().expect("it was recorded");
    let refused = attempt.placements[0].refused.map(|refused| refused.why);
    assert_eq!(refused, Some(Refusal::Invalid), "nobody asked for it, and nobody will");
    assert_eq!(
        (run.status.phase, run.status.reason()),
        (Phase::Waiting, Some(Reason::BreakerOpen))
    );
    assert_eq!(report.reason, Some(Reason::BreakerOpen));
    // One reconcile does not start over again and again.
    assert_eq!(harness.calls("register"), 3);
}

#[test]
fn a_run_that_is_refused_by_its_own_fault_stops_no_other() {
    let harness = Harness::new();
    harness.answers(
        "bad",
        LaunchAnswer::Refuses(|| {
            let message = "the boot script is too long";
            PortError::new("compute", "launch", ErrorKind::Invalid, message).because(Cause::Attempt)
        }),
    );
    let bad = harness.jobs(4, "bad");
    let events = harness.reconcile_each(&bad);
    assert_eq!(
        (harness.launches("bad"), opened(&events)),
        (2 * 4, 0),
        "each starts again once, at once"
    );
}

#[test]
fn missing_capacity_opens_no_breaker_and_closes_an_open_one() {
    let harness = Harness::new();
    harness.answers("bad", bad_image());
    let bad = harness.jobs(2, "bad");
    harness.reconcile_each(&bad);
    harness.pass(5 * MINUTE);
    harness.answers(
        "bad",
        LaunchAnswer::Refuses(|| {
            PortError::new("compute", "launch", ErrorKind::NoCapacity, "none")
        }),
    );
    let events = harness.reconcile_each(&bad[1..]);
    assert_eq!(closed(&events).len(), 1, "what was asked for is right");
    assert_eq!(harness.run(&bad[1]).status.reason(), Some(Reason::NoCapacity));
}

#[test]
fn an_account_limit_holds_the_others_of_the_class_and_market_for_a_minute() {
    let harness = Harness::new();
    let limit = || PortError::new("compute", "launch", ErrorKind::Limit, "quota");
    harness.answers("bad", LaunchAnswer::Refuses(limit));
    let bad = harness.jobs(10, "bad");
    harness.reconcile_each(&bad);
    // The class has spot machines in two subnets, and one on-demand machine.
    assert_eq!(harness.launches("bad"), 2, "one for each market");
    harness.pass(SignedDuration::from_secs(61));
    harness.reconcile_each(&bad[5..]);
    assert_eq!(harness.launches("bad"), 4);
}

#[test]
fn a_market_the_account_may_not_use_opens_no_breaker_and_is_reported() {
    let harness = Harness::new();
    harness.answers(
        "bad",
        LaunchAnswer::Refuses(|| {
            let message = "the account has never used spot";
            PortError::new("compute", "launch", ErrorKind::Denied, message).because(Cause::Market)
        }),
    );
    let bad = harness.jobs(10, "bad");
    let events = harness.reconcile_each(&bad);
    assert_eq!((harness.launches("bad"), opened(&events)), (2, 0), "one for each market");
    let run = harness.run(&bad[9]);
    assert_eq!(run.status.reason(), Some(Reason::NoCapacity));
    let message = &run.status.conditions[0].message;
    assert!(message.contains("may not use the market"), "{message}");
}

#[test]
fn what_is_not_offered_is_asked_for_once_an_hour_and_told_as_a_fault() {
    let harness = Harness::new();
    harness.answers(
        "bad",
        LaunchAnswer::Refuses(|| {
            let message = "no such kind in this zone";
            let error = PortError::new("compute", "launch", ErrorKind::NoCapacity, message);
            error.because(Cause::Unsupported)
        }),
    );
    let bad = harness.jobs(10, "bad");
    harness.reconcile_each(&bad);
    assert_eq!(harness.launches("bad"), 3, "one for each machine of the class");
    for name in &bad[1..] {
        let run = harness.run(name);
        assert_eq!((run.status.reason(), run.status.failures), (Some(Reason::NoCapacity), 0));
        let message = &run.status.conditions[0].message;
        assert!(message.contains("check its `kinds` and `subnets`"), "{message}");
    }
    let written = harness.writes();
    for _ in 0..7 {
        harness.pass(8 * MINUTE);
        harness.reconcile_each(&bad[1..]);
    }
    assert_eq!((harness.launches("bad"), harness.writes()), (3, written));
    harness.pass(5 * MINUTE);
    harness.reconcile_each(&bad[1..]);
    assert_eq!(harness.launches("bad"), 6);
}

#[test]
fn another_configuration_of_the_class_is_tried_at_once() {
    let harness = Harness::new();
    harness.answers("bad", bad_image());
    let bad = harness.jobs(3, "bad");
    harness.reconcile_each(&bad);
    harness.configure("good", |class| class.machines.truncate(2));
    harness.reconcile_each(&bad);
    assert_eq!(harness.launches("bad"), 1, "the other class was configured otherwise");
    harness.answers("bad", LaunchAnswer::Accepts);
    harness.configure("bad", |class| class.machines.truncate(2));
    let events = harness.reconcile_each(&bad[1..]);
    assert_eq!((harness.launches("bad"), closed(&events).len()), (3, 1));
}
