//! Push mode: runs that need other runs, and runs that others wait for.

use tinqs_ci_reconciler::controller::{ActionKind, Event};
use tinqs_ci_reconciler::model::{
    ClassName, Conclusion, End, Job, MachineState, Outcome, Phase, RunName, Spec,
};
use tinqs_ci_reconciler::ports::{ErrorKind, Seat};
use tinqs_ci_testing::ready;

use super::{MINUTE, effects};
use crate::harness::Harness;

/// Runs of push mode, whose jobs cannot be observed.
fn pushed(harness: &Harness, parts: &[&str]) -> Vec<RunName> {
    let demand = |part: &&str| {
        let name = RunName::push(&[part]);
        let spec = Spec { runs_on: vec!["good".to_owned()], ..Spec::default() };
        assert!(ready(harness.controller.demand_run(name.clone(), spec)).expect("it is durable"));
        name
    };
    harness.state().jobs.insert(0, Job::Unobservable);
    let names = parts.iter().map(demand).collect();
    harness.woken();
    names
}

fn texts(names: &[RunName]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

#[test]
fn a_run_that_is_over_calls_those_that_need_it_once() {
    let harness = Harness::new();
    let names = harness.jobs(3, "good");
    harness.change(&names[0], |run| run.spec.needed_by = names[1..].to_vec());
    harness.reconcile(&names[0]);
    let runner = harness.attempt_id(&names[0], 1).to_string();
    harness.job_is(&names[0], Job::Running { runner });
    harness.reconcile(&names[0]);
    assert!(harness.woken().is_empty(), "it runs");
    harness.job_is(&names[0], Job::Done { conclusion: Conclusion::Success });
    harness.reconcile(&names[0]);
    assert_eq!(harness.woken(), texts(&names[1..]));
    // It is written once more, which wakes no run.
    harness.job_is(&names[0], Job::Done { conclusion: Conclusion::Failure });
    assert_eq!(effects(&harness.reconcile(&names[0])), [("3", ActionKind::Put)]);
    assert!(harness.woken().is_empty());
}

#[test]
fn a_call_that_is_lost_keeps_the_others_from_nothing() {
    let harness = Harness::new();
    let names = harness.jobs(3, "good");
    harness.change(&names[0], |run| run.spec.needed_by = names[1..].to_vec());
    harness.job_is(&names[0], Job::Done { conclusion: Conclusion::Success });
    harness.fails("wake", ErrorKind::Unavailable);
    harness.reconcile(&names[0]);
    assert_eq!(harness.woken(), texts(&names[2..]));
    assert_eq!(harness.run(&names[0]).status.phase, Phase::Finished);
}

#[test]
fn a_run_is_blocked_until_all_that_it_needs_have_worked() {
    let observed = |arrange: &dyn Fn(&Harness, &RunName)| {
        let harness = Harness::new();
        let names = pushed(&harness, &["needed", "needs"]);
        harness.change(&names[1], |run| run.spec.needs = vec![names[0].clone()]);
        arrange(&harness, &names[0]);
        ready(harness.controller.observe(&names[1])).expect("everything can be read").job
    };
    let finished = |outcome: Outcome| {
        move |harness: &Harness, name: &RunName| {
            harness.change(name, |run| {
                (run.status.phase, run.status.outcome) = (Phase::Finished, Some(outcome));
            });
        }
    };
    let skipped = Job::Done { conclusion: Conclusion::Skipped };
    assert_eq!(observed(&|_, _| {}), Job::Blocked, "it is open");
    assert_eq!(observed(&finished(Outcome::MachineEnded)), Job::Unobservable);
    assert_eq!(observed(&finished(Outcome::GaveUp)), skipped);
    assert_eq!(observed(&finished(Outcome::Skipped)), skipped);
    // A needed run that is missing or deleted is served elsewhere, or finished long ago.
    assert_eq!(
        observed(&|harness, name| drop(harness.state().runs.remove(name))),
        Job::Unobservable
    );
    let deleted = |harness: &Harness, name: &RunName| {
        let now = harness.now();
        harness.change(name, |run| run.delete(now, false, None));
    };
    assert_eq!(observed(&deleted), Job::Unobservable);
}

#[test]
fn a_run_that_is_over_waits_for_nothing_any_more() {
    let harness = Harness::new();
    let names = pushed(&harness, &["needed", "needs"]);
    harness.change(&names[1], |run| {
        run.spec.needs = vec![names[0].clone()];
        (run.status.phase, run.status.outcome) = (Phase::Finished, Some(Outcome::MachineEnded));
        run.status.finished_at = Some(run.created_at);
    });
    let seen = ready(harness.controller.observe(&names[1])).expect("everything can be read");
    assert_eq!(seen.job, Job::Unobservable);
}

#[test]
fn a_machine_that_worked_and_has_gone_ends_its_run_in_one_reconcile() {
    let harness = Harness::new();
    let name = pushed(&harness, &["one"]).remove(0);
    harness.reconcile(&name);
    harness.pass(5 * MINUTE);
    harness.state().machines[0].state = MachineState::Gone;
    // Its ephemeral registration disappeared with the job.
    harness.state().registrations.clear();
    let report = harness.reconcile(&name);
    assert_eq!(effects(&report), [("P1", ActionKind::Put), ("P2", ActionKind::Put)]);
    let run = harness.run(&name);
    assert_eq!(run.status.outcome, Some(Outcome::MachineEnded));
    assert_eq!(run.status.attempt.and_then(|a| a.ended).map(|e| e.why), Some(End::Consumed));
    let outcome = Outcome::MachineEnded;
    let ends =
        [Event::Started { waited_seconds: 300 }, Event::Finished { outcome, ran_ms: Some(0) }];
    assert_eq!(report.events[..2], ends);
    // It is counted by the same write.
    assert!(matches!(report.events[2..], [Event::Counted { .. }]), "{:?}", report.events);
}

#[test]
fn what_only_its_use_lets_go_is_given_back_in_the_same_reconcile() {
    let harness = Harness::new();
    let name = pushed(&harness, &["one"]).remove(0);
    harness.reconcile(&name);
    harness.state().machines[0].state = MachineState::Gone;
    harness.state().registrations.clear();
    // A seat in its own class, and one in a class that its attempt does not name.
    let seat = Seat { attempt_id: harness.attempt_id(&name, 1), repo: String::new(), repo_id: 0 };
    let classes = ["good", "bad"].map(|class| ClassName(class.to_owned()));
    harness.state().seats = classes.map(|class| (class, seat.clone())).into();
    let report = harness.reconcile(&name);
    let expected = [
        ("26", ActionKind::Unseat),
        ("P1", ActionKind::Put),
        ("26", ActionKind::Unseat),
        ("P2", ActionKind::Put),
    ];
    assert_eq!(effects(&report), expected);
    assert_eq!((&*report.effects[0].target, &*report.effects[2].target), ("bad", "good"));
    assert!(harness.state().seats.is_empty());
}

#[test]
fn a_machine_that_works_keeps_its_run_running() {
    let harness = Harness::new();
    let name = pushed(&harness, &["one"]).remove(0);
    harness.reconcile(&name);
    harness.state().registrations[0].busy = true;
    let report = harness.reconcile(&name);
    assert_eq!(
        (report.phase, effects(&report)),
        (Some(Phase::Running), vec![("P1", ActionKind::Put)])
    );
    assert_eq!(report.due, Some(harness.now() + MINUTE));
}
