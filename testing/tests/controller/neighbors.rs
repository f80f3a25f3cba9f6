//! Other installations at the same forge, and tags that somebody set by hand.

use tinqs_ci_reconciler::controller::{ActionKind, Hint};
use tinqs_ci_reconciler::model::{AttemptId, Job, Registrations, RunName, Uid8};
use tinqs_ci_testing::ready;

use super::reading::{attempt, observe, row, started};
use super::{MINUTE, effects};
use crate::harness::Harness;

/// The name that another installation gives the runner of its attempt for the same job.
fn of_neighbor(name: &RunName) -> AttemptId {
    AttemptId { run: name.clone(), uid: Uid8("d9290a1b2c3d".to_owned()), number: 1 }
}

fn ids(harness: &Harness) -> Vec<i64> {
    harness.state().registrations.iter().map(|row| row.id).collect()
}

#[test]
fn the_registrations_of_another_installation_are_left_alone_and_wake_nobody() {
    let harness = Harness::new();
    let name = started(&harness);
    let earlier: AttemptId = format!("tq-{name}-0a1b2c3d-1").parse().expect("an attempt ID");
    harness.state().registrations.push(row(900, of_neighbor(&name)));
    harness.state().registrations.push(row(901, of_neighbor(&RunName::job(4711))));
    harness.state().registrations.push(row(902, earlier));
    harness.woken();
    let report = ready(harness.controller.sweep());
    assert_eq!((report.registrations, harness.woken()), (2, vec![name.to_string()]));
    for _ in 0..3 {
        harness.pass(10 * MINUTE);
        harness.reconcile(&name);
    }
    assert!([900, 901, 902].iter().all(|id| ids(&harness).contains(id)), "{:?}", ids(&harness));
    let Ok(Registrations::Seen(shown)) = ready(harness.controller.list_registrations()) else {
        panic!("the registrations are listed");
    };
    assert!(shown.iter().all(|row| ![900, 901].contains(&row.id)), "{shown:?}");
}

#[test]
fn the_record_is_read_once_beside_a_registration_of_another_installation() {
    let harness = Harness::new();
    let name = started(&harness);
    harness.state().registrations.push(row(900, of_neighbor(&name)));
    let before = harness.calls("get");
    observe(&harness, &name);
    assert_eq!(harness.calls("get"), before + 1);
}

#[test]
fn a_job_on_the_runner_of_another_installation_displaces_no_run() {
    let harness = Harness::new();
    let names = harness.jobs(2, "good");
    harness.reconcile_each(&names);
    harness.woken();
    let runner = of_neighbor(&names[1]).to_string();
    let job_id = harness.run(&names[0]).spec.job.job_id;
    let hint = Hint::Job { job_id, runner: Some(runner.clone()) };
    ready(harness.controller.ingest(&[hint])).expect("ingested");
    assert_eq!(harness.woken(), [names[0].to_string()], "not the run of the same name");
    harness.job_is(&names[0], Job::Running { runner });
    harness.reconcile(&names[0]);
    assert!(!observe(&harness, &names[1]).no_replacement);
}

#[test]
fn deadline_and_registration_come_from_the_record_whatever_the_tags_say() {
    let harness = Harness::new();
    let name = started(&harness);
    let own = attempt(&mut harness.run(&name)).clone();
    {
        let mut state = harness.state();
        let now = state.now;
        let machine = &mut state.machines[0];
        (machine.deadline, machine.registration, machine.promise) = (now - 3 * MINUTE, 4711, None);
    }
    let seen = observe(&harness, &name);
    let machine = &seen.machines[0];
    assert_eq!(
        (machine.deadline, machine.registration, machine.promise),
        (own.boot.deadline, own.runner.id, own.boot.promise())
    );
    harness.pass(2 * MINUTE);
    let report = harness.reconcile(&name);
    assert_eq!(harness.calls("terminate"), 0, "{:?}", effects(&report));
    // Nor do they lengthen its life.
    let over = harness.now() - 3 * MINUTE;
    harness.state().machines[0].deadline = harness.now() + 60 * MINUTE;
    harness.change(&name, |run| attempt(run).boot.deadline = over);
    let report = harness.reconcile(&name);
    assert!(effects(&report).contains(&("20", ActionKind::Terminate)), "{:?}", effects(&report));
}
