//! The report of a reconcile: its result, its effects, what happened, and when the run is due again.

use tinqs_ci_reconciler::controller::{ActionKind, Event, ReconcileOutcome};
use tinqs_ci_reconciler::model::{
    ClassName, Conclusion, EndedBy, Job, MachineId, MachineState, Outcome, Phase, Reason, RunName,
};
use tinqs_ci_reconciler::ports::{ErrorKind, PortError};
use tinqs_ci_testing::LaunchAnswer;

use super::{MINUTE, SECOND, effects};
use crate::harness::Harness;

#[test]
fn the_first_reconcile_prepares_records_launches_and_records_the_answer() {
    let harness = Harness::new();
    let names = harness.jobs(1, "good");
    let report = harness.reconcile(&names[0]);
    let attempt_id = harness.attempt_id(&names[0], 1);
    let expected = [
        ("17", ActionKind::Register, "100", Some(attempt_id.to_string())),
        ("17", ActionKind::Put, "job-1", None),
        ("11", ActionKind::Launch, &*attempt_id.token(0), Some(attempt_id.to_string())),
        ("10", ActionKind::Put, "job-1", None),
    ];
    let seen: Vec<_> = report
        .effects
        .iter()
        .map(|e| (e.rule.number(), e.action, e.target.as_str(), e.attempt_id.clone()))
        .collect();
    assert_eq!(seen, expected);
    assert!(report.effects.iter().all(|effect| effect.error.is_none()));
    assert_eq!((report.result, report.error), (ReconcileOutcome::Acted, None));
    assert_eq!((report.phase_before, report.phase), (Some(Phase::Waiting), Some(Phase::Starting)));
    assert_eq!((report.began_at, report.due), (harness.now(), Some(harness.now() + 30 * SECOND)));
    assert_eq!((report.repo.as_str(), report.reason), ("acme/site", None));
    assert_eq!(report.class.map(|class| class.0).as_deref(), Some("good"));
    let started = Event::Launched {
        machine: MachineId(attempt_id.token(0)),
        class: ClassName("good".to_owned()),
        waited_ms: 0,
    };
    assert_eq!(report.events, [started]);
    let answered =
        harness.run(&names[0]).status.attempt.and_then(|a| a.placements[0].answered.clone());
    assert_eq!(answered.map(|answer| answer.at), Some(harness.now()));
}

#[test]
fn a_reconcile_that_finds_only_its_due_moved_writes_nothing() {
    let harness = Harness::new();
    let names = harness.jobs(1, "good");
    harness.reconcile(&names[0]);
    let written = harness.writes();
    harness.pass(20 * SECOND);
    harness.state().machines[0].state = MachineState::Up;
    harness.state().registrations[0].online = true;
    let report = harness.reconcile(&names[0]);
    assert_eq!((report.result, effects(&report)), (ReconcileOutcome::Settled, Vec::new()));
    assert_eq!(report.due, Some(harness.now() + 30 * SECOND), "it lives in the process");
    assert_eq!(harness.controller.earliest_due(), report.due);
    assert_eq!(harness.writes(), written);
}

#[test]
fn a_job_starts_once_and_a_run_is_finished_once() {
    let harness = Harness::new();
    let names = harness.jobs(1, "good");
    harness.reconcile(&names[0]);
    harness.pass(90 * SECOND);
    let runner = harness.attempt_id(&names[0], 1).to_string();
    harness.job_is(&names[0], Job::Running { runner });
    let report = harness.reconcile(&names[0]);
    assert_eq!(report.events, [Event::Started { waited_seconds: 90 }]);
    assert_eq!((report.phase_before, report.phase), (Some(Phase::Starting), Some(Phase::Running)));
    harness.pass(MINUTE);
    assert!(harness.reconcile(&names[0]).events.is_empty());
    harness.job_is(&names[0], Job::Done { conclusion: Conclusion::Failure });
    let report = harness.reconcile(&names[0]);
    let ended = Event::Finished { outcome: Outcome::Failed, ran_ms: Some(60_000) };
    assert_eq!(report.events, [ended]);
    let due = harness.now() + MINUTE;
    assert_eq!((report.phase, report.due), (Some(Phase::Finished), Some(due)), "its machine is up");
    {
        let mut state = harness.state();
        (state.machines[0].state, state.machines[0].ended_by) =
            (MachineState::Gone, Some(EndedBy::Itself));
    }
    let report = harness.reconcile(&names[0]);
    assert!(matches!(report.events[..], [Event::Counted { .. }]), "{:?}", report.events);
    assert_eq!(report.due, None, "it is never due");
    assert_eq!(harness.controller.earliest_due(), None);
    assert!(harness.reconcile(&names[0]).events.is_empty());
}

#[test]
fn what_cannot_be_read_is_reconciled_again_in_ten_seconds() {
    for operation in ["get", "list", "registrations", "job", "seats"] {
        let harness = Harness::new();
        let names = harness.jobs(1, "good");
        harness.fails(operation, ErrorKind::Unavailable);
        let report = harness.reconcile(&names[0]);
        assert_eq!((report.result, report.phase_before), (ReconcileOutcome::Error, None));
        assert_eq!(report.due, Some(harness.now() + 10 * SECOND));
        assert_eq!(harness.controller.earliest_due(), report.due);
        let told = report.error.expect("why");
        assert!(told.contains(operation) && told.contains("told to fail"), "{told}");
        assert!(report.effects.is_empty() && harness.writes() == 0);
    }
}

#[test]
fn a_run_that_another_wrote_meanwhile_is_reconciled_again_at_once() {
    let harness = Harness::new();
    let names = harness.jobs(1, "good");
    let name = names[0].clone();
    harness.when("put", move |state| state.runs.get_mut(&name).expect("a run").version += 1);
    let report = harness.reconcile(&names[0]);
    assert_eq!((report.result, report.due), (ReconcileOutcome::Conflict, Some(harness.now())));
    assert!(report.error.as_ref().is_some_and(|told| told.contains("conflict")));
    assert_eq!((report.phase, harness.calls("launch")), (Some(Phase::Waiting), 0));
    assert_eq!(effects(&report), [("17", ActionKind::Register), ("17", ActionKind::Put)]);
}

#[test]
fn an_effect_that_fails_is_told_and_the_run_is_due_within_fifteen_seconds() {
    let table: [(&str, ActionKind, &[ActionKind], i32); 3] = [
        ("register", ActionKind::Register, &[], 15),
        // The status that could not be written was due at once.
        ("put", ActionKind::Put, &[ActionKind::Register], 0),
        ("launch", ActionKind::Launch, &[ActionKind::Register, ActionKind::Put], 15),
    ];
    for (operation, action, before, seconds) in table {
        let harness = Harness::new();
        let names = harness.jobs(1, "good");
        harness.fails(operation, ErrorKind::Unavailable);
        let report = harness.reconcile(&names[0]);
        assert_eq!(
            (report.result, report.phase_before),
            (ReconcileOutcome::Error, Some(Phase::Waiting))
        );
        assert_eq!(report.due, Some(harness.now() + seconds * SECOND), "{operation}");
        let told = report.error.expect("why");
        assert!(told.contains(operation) && told.contains("unavailable"), "{told}");
        let failed =
            report.effects.iter().find(|effect| effect.error.is_some()).expect("it is told");
        assert_eq!(failed.action, action);
        assert_eq!(failed.error, Some((ErrorKind::Unavailable, told)));
        let done: Vec<ActionKind> =
            report.effects.iter().take_while(|e| e.error.is_none()).map(|e| e.action).collect();
        assert_eq!(done, before, "{operation}");
    }
}

#[test]
fn an_effect_that_fails_for_a_finished_run_has_it_reconciled_again_though_it_is_never_due() {
    let harness = Harness::new();
    let names = harness.jobs(1, "good");
    harness.reconcile(&names[0]);
    harness.state().machines[0].state = MachineState::Gone;
    harness.job_is(&names[0], Job::Done { conclusion: Conclusion::Cancelled });
    harness.reconcile(&names[0]);
    assert!(harness.state().registrations.is_empty(), "its registration is retired");
    let row = harness.attempt_id(&names[0], 1);
    harness.state().registrations.push(tinqs_ci_reconciler::model::Registration {
        repo_id: 0,
        id: 500,
        attempt_id: row,
        uuid: None,
        online: false,
        busy: false,
        disabled: None,
        disabled_since: None,
        missing_since: None,
    });
    harness.fails("retire", ErrorKind::Unavailable);
    let report = harness.reconcile(&names[0]);
    assert_eq!(effects(&report), [("24", ActionKind::Retire)]);
    assert_eq!(report.due, Some(harness.now() + 15 * SECOND));
    harness.pass(15 * SECOND);
    let report = harness.reconcile(&names[0]);
    assert_eq!((report.result, report.due), (ReconcileOutcome::Acted, None));
    assert_eq!(report.effects[0].target, "500");
}

#[test]
fn a_success_after_a_failure_does_not_hide_it() {
    let harness = Harness::new();
    let names = harness.jobs(1, "good");
    // The launch gets no answer, which the same reconcile records.
    harness.fails("launch", ErrorKind::Throttled);
    harness.change(&names[0], |run| run.status.failures = 3);
    let report = harness.reconcile(&names[0]);
    assert_eq!(report.result, ReconcileOutcome::Error);
    let attempt_id = harness.attempt_id(&names[0], 1);
    harness.state().seats.push((
        tinqs_ci_reconciler::model::ClassName("bad".to_owned()),
        tinqs_ci_reconciler::ports::Seat { attempt_id, repo: "acme/site".to_owned(), repo_id: 0 },
    ));
    harness.fails("unseat", ErrorKind::Denied);
    let report = harness.reconcile(&names[0]);
    let results: Vec<bool> = report.effects.iter().map(|effect| effect.error.is_none()).collect();
    assert_eq!(results, [false, true, true, true], "{:?}", effects(&report));
    assert_eq!(report.result, ReconcileOutcome::Error);
    assert!(report.error.is_some_and(|told| told.contains("unseat")));
}

#[test]
fn want_of_capacity_is_no_error_of_the_reconcile() {
    let harness = Harness::new();
    let none = || PortError::new("compute", "launch", ErrorKind::NoCapacity, "none today");
    harness.answers("good", LaunchAnswer::Refuses(none));
    let names = harness.jobs(1, "good");
    let report = harness.reconcile(&names[0]);
    assert_eq!((report.result, &report.error), (ReconcileOutcome::Acted, &None));
    assert_eq!(report.reason, Some(Reason::NoCapacity));
    let refused: Vec<ErrorKind> =
        report.effects.iter().filter_map(|e| e.error.as_ref()).map(|(kind, _)| *kind).collect();
    assert_eq!(refused, [ErrorKind::NoCapacity; 3], "but it is told, for each of the machines");
}

#[test]
fn a_name_without_a_record_is_settled() {
    let harness = Harness::new();
    let report = harness.reconcile(&RunName::job(5));
    assert_eq!(
        (report.result, report.phase_before, report.phase),
        (ReconcileOutcome::Settled, None, None)
    );
    assert_eq!((report.due, report.repo.as_str(), report.class), (None, "", None));
    assert!(report.effects.is_empty() && report.error.is_none());
}
