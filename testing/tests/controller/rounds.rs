//! The rounds of one reconcile: none starts too late, each effect is issued once, and each round sees
//! what the one before it did.

use tinqs_ci_reconciler::controller::{ActionKind, ReconcileOutcome};
use tinqs_ci_reconciler::model::{
    AttemptId, Class, ClassName, Conclusion, Job, Machine, MachineId, MachineSpec, MachineState,
    Phase, Reason, Registration, RunName,
};
use tinqs_ci_reconciler::ports::{ErrorKind, PortError, Seat};

use super::reading::row;
use super::{MINUTE, SECOND, effects, of_old};
use crate::harness::Harness;
use tinqs_ci_testing::LaunchAnswer;

/// A run that finished while the machine of its first attempt boots, and whose job waits again.
fn waits_again(harness: &Harness) -> RunName {
    let name = harness.jobs(1, "good").remove(0);
    harness.reconcile(&name);
    harness.job_is(&name, Job::Done { conclusion: Conclusion::Cancelled });
    harness.reconcile(&name);
    assert_eq!(harness.run(&name).status.phase, Phase::Finished);
    harness.job_is(&name, Job::Waiting);
    name
}

/// The registration of a runner that is online.
fn up(id: i64, attempt_id: AttemptId) -> Registration {
    Registration { online: true, ..row(id, attempt_id) }
}

#[test]
fn nothing_is_begun_later_than_a_minute_after_the_reconcile_began() {
    for (operation, undone) in [("register", "put"), ("put", "launch"), ("seats", "register")] {
        let harness = Harness::new();
        let names = harness.jobs(1, "good");
        harness.when(operation, |state| state.now += MINUTE + SECOND);
        let began_at = harness.now();
        let report = harness.reconcile(&names[0]);
        assert_eq!((report.began_at, report.result), (began_at, ReconcileOutcome::Error));
        assert!(report.error.is_some_and(|told| told.contains("60 s")));
        assert_eq!(harness.calls(undone), 0, "{operation} took long");
        // The next reconcile does the rest.
        harness.reconcile(&names[0]);
        assert_eq!(harness.launches("good"), 1, "{operation} took long");
    }
}

#[test]
fn a_minute_after_the_reconcile_began_is_in_time() {
    let harness = Harness::new();
    let names = harness.jobs(1, "good");
    harness.when("launch", |state| state.now += MINUTE);
    let report = harness.reconcile(&names[0]);
    assert_eq!((report.result, report.phase), (ReconcileOutcome::Acted, Some(Phase::Starting)));
    let attempt = harness.run(&names[0]).status.attempt.expect("an attempt");
    assert_eq!(attempt.placements[0].answered.as_ref().map(|a| a.at), Some(harness.now()));
}

#[test]
fn each_machine_of_a_long_list_is_asked_for_in_one_reconcile_and_no_refusal_is_left_unwritten() {
    let harness = Harness::new();
    harness.configure("good", |class: &mut Class| {
        let first = class.machines[0].clone();
        let kind = |n: usize| MachineSpec { kind: format!("kind-{n}"), ..first.clone() };
        class.machines = (0..12).map(kind).collect();
    });
    let none = || PortError::new("compute", "launch", ErrorKind::NoCapacity, "none");
    harness.answers("good", LaunchAnswer::Refuses(none));
    let names = harness.jobs(1, "good");
    let report = harness.reconcile(&names[0]);
    assert_eq!((harness.launches("good"), report.reason), (12, Some(Reason::NoCapacity)));
    let attempt = harness.run(&names[0]).status.attempt.expect("an attempt");
    assert_eq!(attempt.placements.iter().filter(|p| p.refused.is_some()).count(), 12);
    assert!(attempt.ended.is_some());
}

#[test]
fn an_effect_is_issued_once_in_a_reconcile_whatever_came_of_it() {
    let harness = Harness::new();
    let name = waits_again(&harness);
    let attempt_id = harness.attempt_id(&name, 1);
    harness.state().registrations.push(up(900, attempt_id.clone()));
    harness
        .state()
        .seats
        .push((ClassName("bad".to_owned()), Seat { attempt_id, repo: String::new(), repo_id: 0 }));
    harness.fails("retire", ErrorKind::Unavailable);
    harness.fails("unseat", ErrorKind::Unavailable);
    let report = harness.reconcile(&name);
    let expected = [("26", ActionKind::Unseat), ("24", ActionKind::Retire), ("7", ActionKind::Put)];
    assert_eq!(effects(&report)[..3], expected);
    assert_eq!(
        (harness.calls("retire"), harness.calls("unseat")),
        (1, 1),
        "and there are more rounds"
    );
    assert_eq!(report.phase, Some(Phase::Starting));
    // The next reconcile tries again what failed.
    let report = harness.reconcile(&name);
    assert_eq!(effects(&report), expected[..2]);
}

#[test]
fn a_seat_that_was_freed_takes_no_other_with_it() {
    let harness = Harness::new();
    harness.configure("good", |class| class.limit = Some(2));
    let name = harness.jobs(1, "good").remove(0);
    harness.reconcile(&name);
    // Its machine has gone, and the next attempt has a seat already: a process died after taking it.
    harness.job_is(&name, Job::Done { conclusion: Conclusion::Cancelled });
    harness.reconcile(&name);
    harness.state().machines[0].state = MachineState::Gone;
    let next = harness.run(&name).status.next;
    let seat = Seat {
        attempt_id: harness.attempt_id(&name, next),
        repo: "acme/site".to_owned(),
        repo_id: 0,
    };
    harness.state().seats.push((ClassName("good".to_owned()), seat));
    harness.job_is(&name, Job::Waiting);
    let report = harness.reconcile(&name);
    let expected = [
        ("26", ActionKind::Unseat),
        ("23", ActionKind::Retire),
        ("7", ActionKind::Put),
        ("17", ActionKind::Register),
        ("17", ActionKind::Put),
        ("11", ActionKind::Launch),
        ("10", ActionKind::Put),
    ];
    assert_eq!(effects(&report), expected, "no seat is asked for");
    assert_eq!(report.effects[0].target, "good");
    assert_eq!(harness.state().seats.len(), 1);
}

#[test]
fn a_registration_that_was_retired_takes_no_other_with_it() {
    let harness = Harness::new();
    let name = waits_again(&harness);
    let attempt_id = harness.attempt_id(&name, 1);
    // Its own registration is busy with another job. Beside it lies a duplicate that a crash left.
    harness.state().registrations[0].busy = true;
    harness.state().registrations.push(up(900, attempt_id));
    let report = harness.reconcile(&name);
    assert_eq!(report.effects[0].action, ActionKind::Retire);
    assert_eq!(report.effects[0].target, "900");
    assert_eq!(report.reason, Some(Reason::MachineReassigned), "it was seen to be taken");
    assert_eq!(harness.launches("good"), 1);
}

#[test]
fn a_machine_that_was_terminated_takes_no_other_with_it() {
    let harness = Harness::new();
    let name = waits_again(&harness);
    let mut old: Machine = harness.state().machines[0].clone();
    (old.attempt_id, old.id) = (of_old(&old.attempt_id), MachineId("i-old".to_owned()));
    old.deadline = harness.now() - 3 * MINUTE;
    harness.state().machines.push(old);
    let report = harness.reconcile(&name);
    let ended = &report.effects[0];
    assert_eq!(
        (ended.rule.number(), ended.action, ended.target.as_str()),
        ("20", ActionKind::Terminate, "i-old")
    );
    assert_eq!(report.phase, Some(Phase::Starting), "its own machine is on its way");
    assert_eq!((harness.launches("good"), harness.calls("terminate")), (1, 1));
}

#[test]
fn a_machine_that_was_launched_hides_no_other() {
    let harness = Harness::new();
    let name = harness.jobs(1, "good").remove(0);
    let attempt_id = of_old(&harness.attempt_id(&name, 1));
    // A machine of another incarnation is live, with its registration: it may be taking a job.
    let deadline = harness.now() + 60 * MINUTE;
    let old: Machine = serde_json::from_value(serde_json::json!({
        "id": "i-old", "attempt_id": attempt_id.to_string(), "placement": 0, "state": "up",
        "launched_at": harness.now(), "deadline": deadline, "registration": 900,
        "class": "good", "kind": "small",
    }))
    .expect("a machine");
    harness.state().machines.push(old);
    harness.state().registrations.push(up(900, attempt_id));
    harness.reconcile(&name);
    assert_eq!((harness.launches("good"), harness.calls("retire")), (1, 0));
}

#[test]
fn a_refusal_that_is_not_of_capacity_ends_the_attempt_and_the_next_follows_in_the_same_reconcile() {
    let harness = Harness::new();
    let lost = || PortError::new("compute", "launch", ErrorKind::Limit, "quota");
    harness.answers("good", LaunchAnswer::Refuses(lost));
    let name = harness.jobs(1, "good").remove(0);
    let report = harness.reconcile(&name);
    assert_eq!(report.phase, Some(Phase::Waiting));
    assert_eq!(harness.subnets(), ["subnet-a", "subnet-a"], "one for each market");
}

#[test]
fn a_placement_that_may_have_been_asked_for_is_not_refused_for_its_class_s_being_stopped() {
    let harness = Harness::new();
    let names = harness.jobs(2, "bad");
    harness.fails("launch", ErrorKind::Unavailable);
    harness.reconcile(&names[0]);
    let denied = || PortError::new("compute", "launch", ErrorKind::Denied, "no permission");
    harness.answers("bad", LaunchAnswer::Refuses(denied));
    harness.reconcile(&names[1]);
    // The class whose breaker is open no longer serves the run.
    harness.configure("good", |class| class.labels.push("bad:host".to_owned()));
    let asked = harness.launches("bad");
    harness.reconcile(&names[0]);
    let attempt = harness.run(&names[0]).status.attempt.expect("an attempt");
    assert_eq!((attempt.class.0.as_str(), attempt.number), ("bad", 1));
    assert!(attempt.placements[0].refused.is_none() && attempt.ended.is_none());
    assert_eq!(harness.launches("bad"), asked, "nor asked for again");
}

#[test]
fn a_tombstone_is_removed_once_nothing_is_left_of_it() {
    let harness = Harness::new();
    let name = harness.jobs(1, "good").remove(0);
    harness.reconcile(&name);
    let now = harness.now();
    harness.change(&name, |run| run.delete(now, true, None));
    let report = harness.reconcile(&name);
    assert_eq!(effects(&report), [("2", ActionKind::Terminate), ("2", ActionKind::Put)]);
    assert_eq!((report.reason, report.due), (Some(Reason::Deleted), Some(now + MINUTE)));
    harness.state().machines[0].state = MachineState::Gone;
    harness.job_is(&name, Job::Done { conclusion: Conclusion::Cancelled });
    assert_eq!(effects(&harness.reconcile(&name)), [("23", ActionKind::Retire)]);
    harness.fails("remove", ErrorKind::Unavailable);
    let report = harness.reconcile(&name);
    assert_eq!((report.result, report.phase), (ReconcileOutcome::Error, Some(Phase::Waiting)));
    let report = harness.reconcile(&name);
    let [removed] = &report.effects[..] else { panic!("{:?}", report.effects) };
    assert_eq!((removed.rule.number(), removed.action), ("1", ActionKind::Remove));
    assert_eq!(removed.target, "job-1");
    assert_eq!((report.result, report.phase, report.due), (ReconcileOutcome::Acted, None, None));
    assert!(harness.state().runs.is_empty());
    assert_eq!(harness.controller.earliest_due(), None);
}

#[test]
fn a_record_that_another_wrote_is_not_removed() {
    let harness = Harness::new();
    let name = harness.jobs(1, "good").remove(0);
    let now = harness.now();
    harness.change(&name, |run| run.delete(now, false, None));
    harness.job_is(&name, Job::Done { conclusion: Conclusion::Cancelled });
    let other = name.clone();
    harness.when("remove", move |state| state.runs.get_mut(&other).expect("a run").version += 1);
    let report = harness.reconcile(&name);
    assert_eq!((report.result, report.due), (ReconcileOutcome::Conflict, Some(now)));
    assert_eq!(harness.state().runs.len(), 1);
}
