//! A pause: its class launches nothing, in every process, and nothing that runs is touched.

use tinqs_ci_reconciler::controller::{ActionKind, Controller};
use tinqs_ci_reconciler::model::{ClassName, Job, Pause, Phase, Reason};
use tinqs_ci_reconciler::ports::ErrorKind;
use tinqs_ci_testing::ready;

use crate::harness::Harness;
use crate::{MINUTE, SECOND, effects};

fn class(name: &str) -> ClassName {
    ClassName(name.to_owned())
}

fn pause(harness: &Harness, name: Option<&str>) -> Pause {
    Pause { class: name.map(class), since: harness.now(), by: "ops".to_owned() }
}

/// Pauses as another process does: only the store knows it.
fn paused_elsewhere(harness: &Harness, name: Option<&str>) {
    let pause = pause(harness, name);
    harness.state().pauses.push(pause);
}

#[test]
fn a_paused_class_launches_nothing_and_says_so_and_the_other_is_served() {
    let harness = Harness::new();
    ready(harness.controller.pause(&pause(&harness, Some("bad")))).expect("stored");
    let (bad, good) = (harness.jobs(3, "bad"), harness.jobs(2, "good"));
    harness.reconcile_each(&bad);
    harness.reconcile_each(&good);
    assert_eq!((harness.launches("bad"), harness.launches("good")), (0, 2));
    assert_eq!(harness.state().registrations.len(), 2, "no registration is made ahead");
    for name in &bad {
        let status = harness.run(name).status;
        assert_eq!((status.phase, status.reason()), (Phase::Waiting, Some(Reason::Paused)));
        let message = &status.conditions[0].message;
        assert!(message.contains("class bad") && message.contains("by ops"), "{message}");
        assert!(message.contains("`tinqs-ci resume bad`"), "{message}");
        assert_eq!(status.failures, 0);
    }
    let written = harness.writes();
    harness.pass(5 * MINUTE);
    harness.reconcile_each(&bad);
    assert_eq!(harness.writes(), written, "a run that goes on waiting is not written");
}

#[test]
fn the_end_of_a_pause_wakes_the_runs_that_waited_for_it() {
    let harness = Harness::new();
    ready(harness.controller.pause(&pause(&harness, None))).expect("stored");
    let (bad, good) = (harness.jobs(2, "bad"), harness.jobs(2, "good"));
    harness.reconcile_each(&bad);
    harness.reconcile_each(&good);
    harness.woken();
    harness.pass(SECOND);
    assert_eq!(harness.wakes(), 0, "nothing is due");
    let ended = ready(harness.controller.resume(Some(&class("good")))).expect("stored");
    assert_eq!(ended, [], "the pause of all classes is another one");
    let ended = ready(harness.controller.resume(None)).expect("stored");
    assert_eq!(ended.len(), 1);
    assert_eq!(harness.wakes(), 4);
    harness.follow();
    assert_eq!((harness.launches("bad"), harness.launches("good")), (2, 2));
    assert_eq!(harness.reason(&bad[0]), None);
}

#[test]
fn a_pause_that_another_process_stored_holds_for_the_next_launch() {
    let harness = Harness::new();
    let names = harness.jobs(2, "good");
    harness.reconcile(&names[0]);
    paused_elsewhere(&harness, Some("good"));
    let report = harness.reconcile(&names[1]);
    assert_eq!(harness.reason(&names[1]), Some(Reason::Paused));
    assert!(!report.effects.iter().any(|effect| effect.action == ActionKind::Register));
    assert_eq!(harness.launches("good"), 1);
    // It is resumed elsewhere, too: a run that this process takes for paused reads the pauses.
    harness.state().pauses.clear();
    harness.reconcile(&names[1]);
    assert_eq!(harness.launches("good"), 2);
}

#[test]
fn a_machine_that_runs_a_job_or_waits_for_one_is_left_alone() {
    let harness = Harness::new();
    let names = harness.jobs(1, "good");
    harness.reconcile(&names[0]);
    ready(harness.controller.pause(&pause(&harness, None))).expect("stored");
    harness.pass(10 * SECOND);
    assert!(effects(&harness.reconcile(&names[0])).is_empty(), "it boots");
    assert_eq!(harness.run(&names[0]).status.phase, Phase::Starting);
    let runner = harness.attempt_id(&names[0], 1).to_string();
    harness.job_is(&names[0], Job::Running { runner });
    let kinds: Vec<ActionKind> =
        effects(&harness.reconcile(&names[0])).into_iter().map(|(_, kind)| kind).collect();
    assert!(!kinds.contains(&ActionKind::Terminate) && !kinds.contains(&ActionKind::Retire));
    assert_eq!(harness.run(&names[0]).status.phase, Phase::Running);
}

#[test]
fn a_recorded_launch_of_another_reconcile_is_not_repeated() {
    let harness = Harness::new();
    let names = harness.jobs(1, "good");
    harness.fails("launch", ErrorKind::Unavailable);
    harness.reconcile(&names[0]);
    assert_eq!(harness.launches("good"), 0, "the call failed");
    paused_elsewhere(&harness, None);
    harness.pass(15 * SECOND);
    harness.reconcile(&names[0]);
    assert_eq!((harness.launches("good"), harness.reason(&names[0])), (0, Some(Reason::Paused)));
    ready(harness.controller.resume(None)).expect("stored");
    harness.reconcile(&names[0]);
    assert_eq!(harness.launches("good"), 1);
}

#[test]
fn a_store_that_cannot_be_read_launches_nothing() {
    let harness = Harness::new();
    let names = harness.jobs(1, "good");
    harness.fails("pauses", ErrorKind::Unavailable);
    let report = harness.reconcile(&names[0]);
    assert_eq!(harness.launches("good"), 0);
    assert!(report.error.expect("an error").contains("pauses"));
    harness.reconcile(&names[0]);
    assert_eq!(harness.launches("good"), 1);
}

#[test]
fn the_pauses_are_read_before_a_launch_and_by_a_poll_that_finds_work() {
    let harness = Harness::new();
    let names = harness.jobs(1, "good");
    harness.reconcile(&names[0]);
    assert_eq!(harness.calls("pauses"), 1, "one launch, one read");
    harness.pass(10 * SECOND);
    harness.reconcile(&names[0]);
    assert_eq!(harness.calls("pauses"), 1, "a run with a machine needs none");
    paused_elsewhere(&harness, Some("bad"));
    let known = |controller: &Controller| controller.paused_classes();
    assert_eq!(known(&harness.controller), []);
    ready(harness.controller.poll());
    assert_eq!(known(&harness.controller), [(class("bad"), harness.now())]);
}
