//! A store that was lost, made again from machines, registrations and waiting jobs.

use tinqs_ci_reconciler::controller::{Controller, RebuildReport};
use tinqs_ci_reconciler::model::{Job, Machine, MachineId, MachineState, Phase, RunName};
use tinqs_ci_reconciler::ports::ErrorKind;
use tinqs_ci_testing::ready;

use super::{MINUTE, waiting_job};
use crate::harness::Harness;

/// Loses the store. Returns a process that knows nothing.
fn lose(harness: &Harness) -> Controller {
    let mut state = harness.state();
    state.runs.clear();
    state.seats.clear();
    drop(state);
    harness.another()
}

/// Returns how many runs and seats the store has.
fn kept(harness: &Harness) -> (usize, usize) {
    let state = harness.state();
    (state.runs.len(), state.seats.len())
}

/// Says which jobs the forge lists as waiting.
fn waiting(harness: &Harness, jobs: &[i64]) {
    harness.state().waiting = Some(jobs.iter().map(|id| waiting_job(*id, "good")).collect());
}

fn rebuild(controller: &Controller, write: bool) -> RebuildReport {
    ready(controller.rebuild(write)).expect("rebuilt")
}

fn launched(harness: &Harness, jobs: usize) -> Vec<RunName> {
    harness.configure("good", |class| class.limit = Some(5));
    let names = harness.jobs(jobs, "good");
    harness.reconcile_each(&names);
    assert_eq!(harness.launches("good"), jobs);
    names
}

#[test]
fn a_machine_of_a_waiting_job_is_its_machine_again() {
    let harness = Harness::new();
    let names = launched(&harness, 3);
    // The first job runs, the others wait.
    let runner = harness.attempt_id(&names[0], 1).to_string();
    harness.job_is(&names[0], Job::Running { runner });
    {
        let mut state = harness.state();
        state.machines[0].state = MachineState::Up;
        (state.registrations[0].online, state.registrations[0].busy) = (true, true);
    }
    waiting(&harness, &[2, 3]);
    let ids: Vec<_> = names.iter().map(|name| harness.attempt_id(name, 1)).collect();
    let controller = lose(&harness);

    let dry = rebuild(&controller, false);
    assert!(!dry.written && dry.waiting_jobs == Some(2) && dry.registrations_listed, "{dry:?}");
    assert_eq!(kept(&harness), (0, 0));
    let report = rebuild(&controller, true);
    assert_eq!(report.items, dry.items);
    let shown: Vec<_> = report.items.iter().map(|it| (it.run, it.seat, &*it.repo)).collect();
    // Registrations of the whole scope do not tell the repository of a job that does not wait.
    assert_eq!(shown, [(false, true, ""), (true, true, "acme/site"), (true, true, "acme/site")]);
    assert_eq!(kept(&harness), (2, 3));

    for (name, id) in names.iter().zip(&ids).skip(1) {
        assert_eq!(harness.attempt_id(name, 1), *id, "its attempts have the names that they had");
        ready(controller.reconcile(name));
        assert_eq!(harness.run(name).status.phase, Phase::Starting);
    }
    assert_eq!(ready(controller.poll()).created, 0, "no job is without a run");
    ready(controller.sweep());
    assert_eq!(harness.launches("good"), 3, "no machine is doubled");
    assert_eq!(kept(&harness), (2, 3), "each machine keeps its seat");
    assert_eq!(harness.calls("terminate") + harness.calls("retire"), 0);
}

#[test]
fn a_launch_that_may_still_show_a_machine_is_waited_for() {
    let harness = Harness::new();
    let names = launched(&harness, 1);
    waiting(&harness, &[1]);
    // It is not listed yet.
    harness.state().machines.clear();
    let controller = lose(&harness);
    let report = rebuild(&controller, true);
    assert!(report.items[0].machine.is_none() && report.items[0].run, "{report:?}");
    for _ in 0..10 {
        ready(controller.reconcile(&names[0]));
        assert_eq!(harness.launches("good"), 1);
        harness.pass(MINUTE);
    }
    // Then there is none, and the next number is one that no lost record has used.
    harness.pass(2 * MINUTE);
    ready(controller.reconcile(&names[0]));
    assert_eq!(harness.launches("good"), 2);
    let number = harness.run(&names[0]).status.attempt.expect("an attempt").number;
    assert_eq!(number, 10_002);
}

#[test]
fn a_machine_of_a_later_placement_stays_one() {
    let harness = Harness::new();
    let names = launched(&harness, 1);
    harness.state().machines[0].placement = 2;
    waiting(&harness, &[1]);
    let controller = lose(&harness);
    rebuild(&controller, true);
    let attempt = harness.run(&names[0]).status.attempt.expect("an attempt");
    let refused: Vec<_> = attempt.placements.iter().map(|it| it.refused.is_some()).collect();
    assert_eq!(refused, [true, true, false]);
    assert!(!attempt.can_launch() && attempt.placements[2].answered.is_some());
    ready(controller.reconcile(&names[0]));
    assert_eq!(harness.launches("good"), 1);
}

/// A person may have set its tag.
#[test]
fn a_placement_that_no_class_has_costs_no_memory() {
    let harness = Harness::new();
    let names = launched(&harness, 1);
    harness.state().machines[0].placement = u32::MAX;
    waiting(&harness, &[1]);
    let controller = lose(&harness);
    rebuild(&controller, true);
    let attempt = harness.run(&names[0]).status.attempt.expect("an attempt");
    assert_eq!(attempt.placements.len(), 101);
    assert!(attempt.placements[100].answered.is_some());
    ready(controller.reconcile(&names[0]));
    assert_eq!(harness.launches("good"), 1);
}

#[test]
fn two_machines_of_one_attempt_make_one_run() {
    let harness = Harness::new();
    launched(&harness, 1);
    {
        let mut state = harness.state();
        let first = state.machines[0].clone();
        state.machines.push(Machine { id: MachineId("m-other".to_owned()), placement: 1, ..first });
    }
    waiting(&harness, &[1]);
    let report = rebuild(&lose(&harness), true);
    assert_eq!(report.items.len(), 2, "{report:?}");
    assert_eq!(report.items.iter().filter(|item| item.run).count(), 1, "{report:?}");
    assert_eq!(kept(&harness), (1, 1));
}

#[test]
fn a_job_that_nothing_is_left_of_is_for_the_poll() {
    let harness = Harness::new();
    waiting(&harness, &[1]);
    let controller = lose(&harness);
    let report = rebuild(&controller, true);
    assert!(report.items.is_empty() && kept(&harness) == (0, 0), "{report:?}");
    assert_eq!(ready(controller.poll()).created, 1);
}

#[test]
fn a_store_that_holds_a_run_is_refused() {
    let harness = Harness::new();
    launched(&harness, 1);
    let (writes, controller) = (harness.writes(), harness.another());
    for write in [false, true] {
        let refused = ready(controller.rebuild(write)).expect_err("refused");
        assert_eq!(refused.kind, ErrorKind::Conflict, "{refused}");
        assert!(refused.to_string().contains("the store holds runs"), "{refused}");
    }
    assert_eq!((harness.writes(), harness.calls("waiting")), (writes, 0));
}

#[test]
fn nothing_is_concluded_from_an_outage() {
    for operation in ["page", "waiting", "list", "registrations"] {
        let harness = Harness::new();
        launched(&harness, 1);
        waiting(&harness, &[1]);
        let controller = lose(&harness);
        harness.fails(operation, ErrorKind::Unavailable);
        ready(controller.rebuild(true)).expect_err("it fails");
        assert_eq!(kept(&harness), (0, 0));
        assert_eq!(rebuild(&controller, true).items.len(), 1, "{operation}");
    }
}

#[test]
fn in_push_mode_machines_get_seats_and_no_runs() {
    let harness = Harness::new();
    launched(&harness, 2);
    harness.state().waiting = None;
    let controller = lose(&harness);
    let report = rebuild(&controller, true);
    assert_eq!(report.waiting_jobs, None);
    assert!(report.items.iter().all(|item| !item.run && item.seat), "{report:?}");
    assert_eq!(kept(&harness), (0, 2));
}
