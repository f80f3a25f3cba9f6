//! An idle installation reads the forge's job list only, until something happens.

use jiff::SignedDuration;
use tinqs_ci_reconciler::controller::Hint;
use tinqs_ci_reconciler::model::{Job, MachineState, RunName};
use tinqs_ci_reconciler::ports::ErrorKind;
use tinqs_ci_testing::ready;

use super::{MINUTE, SECOND, waiting_job};
use crate::harness::Harness;

/// Whether a poll reads the store.
fn polls(harness: &Harness) -> bool {
    let before = harness.calls("open");
    let report = ready(harness.controller.poll());
    assert!(report.leader && report.errors.is_empty(), "{report:?}");
    harness.calls("open") > before
}

/// Whether a sweep reads anything.
fn sweeps(harness: &Harness) -> bool {
    let before = (harness.calls("open"), harness.calls("list"));
    let report = ready(harness.controller.sweep());
    assert!(report.leader && report.errors.is_empty(), "{report:?}");
    let read = (harness.calls("open"), harness.calls("list")) != before;
    assert_eq!(read, harness.calls("list") > before.1, "all or nothing");
    read
}

/// An idle world, as a poll and a sweep have found it.
fn idle() -> Harness {
    let harness = Harness::new();
    harness.state().waiting = Some(Vec::new());
    assert!(polls(&harness) && sweeps(&harness), "they find nothing");
    harness
}

#[test]
fn an_idle_store_is_read_once_a_minute() {
    let harness = idle();
    for seconds in 1..60 {
        harness.pass(SECOND);
        assert!(!polls(&harness), "{seconds}");
    }
    assert_eq!(harness.calls("waiting"), 60, "and the forge each time");
    harness.pass(SECOND);
    assert!(polls(&harness));
    // The lease must last until the next poll or sweep.
    assert_eq!(harness.state().lease_ttls, [30, 90, 90].map(SignedDuration::from_secs));
}

#[test]
fn idle_machines_registrations_and_seats_are_gone_through_each_five_minutes() {
    let harness = idle();
    for _ in 1..5 {
        harness.pass(MINUTE);
        assert!(!sweeps(&harness));
    }
    harness.pass(59 * SECOND);
    assert!(!sweeps(&harness));
    harness.pass(SECOND);
    assert!(sweeps(&harness));
}

#[test]
fn a_clock_that_went_back_has_found_nothing() {
    let harness = idle();
    harness.pass(-SECOND);
    assert!(polls(&harness) && sweeps(&harness));
}

#[test]
fn jobs_that_no_class_serves_do_not_end_the_idle_period() {
    let harness = idle();
    harness.state().waiting = Some(vec![waiting_job(1, "elsewhere"), waiting_job(2, "elsewhere")]);
    harness.pass(SECOND);
    let report = ready(harness.controller.poll());
    assert_eq!((report.waiting_jobs, report.unserved_jobs, report.created), (2, 2, 0));
    assert!(report.leader && harness.calls("open") == 2, "one poll's and one sweep's");
}

#[test]
fn a_job_that_a_class_serves_is_taken_up_at_once_and_ends_the_calm() {
    let harness = idle();
    let jobs = vec![waiting_job(1, "elsewhere"), waiting_job(2, "good")];
    harness.state().waiting = Some(jobs);
    harness.pass(SECOND);
    let asked = harness.calls("waiting");
    let report = ready(harness.controller.poll());
    assert_eq!((report.waiting_jobs, report.unserved_jobs, report.created), (2, 1, 1));
    assert_eq!(harness.calls("waiting"), asked + 1, "the list is read once");
    // The same holds where its run has been removed from the store again.
    harness.state().waiting = Some(Vec::new());
    harness.state().runs.clear();
    assert!(polls(&harness) && sweeps(&harness));
}

#[test]
fn whatever_happens_ends_the_calm() {
    type Case = (&'static str, fn(&Harness));
    let cases: [Case; 6] = [
        ("a job is announced", |harness| {
            let hint = Hint::Queued(waiting_job(1, "good"));
            ready(harness.controller.ingest(&[hint])).expect("it is durable");
        }),
        ("something happened to a job", |harness| {
            let hint = Hint::Job { job_id: 5, runner: None };
            ready(harness.controller.ingest(&[hint])).expect("it is taken in");
        }),
        ("a run is asked for", |harness| {
            let spec = tinqs_ci_reconciler::model::Spec {
                runs_on: vec!["good".to_owned()],
                ..Default::default()
            };
            ready(harness.controller.demand_run(RunName::push(&["a"]), spec))
                .expect("it is durable");
        }),
        ("it is configured otherwise", |harness| harness.configure("good", |_| {})),
        ("somebody asks for it", |harness| harness.controller.forget_idle()),
        ("a run is looked at", |harness| drop(harness.reconcile(&RunName::job(9)))),
    ];
    for (case, happens) in cases {
        let harness = idle();
        harness.pass(SECOND);
        assert!(!polls(&harness) && !sweeps(&harness));
        happens(&harness);
        harness.state().runs.clear();
        assert!(polls(&harness) && sweeps(&harness), "{case}");
    }
}

#[test]
fn as_long_as_a_run_is_open_the_store_is_read() {
    let harness = Harness::new();
    harness.state().waiting = Some(Vec::new());
    let name = harness.jobs(1, "good").remove(0);
    // This process knows the run from the store only.
    let due = harness.now() + 5 * MINUTE;
    harness.change(&name, |run| run.status.due = due);
    for _ in 0..3 {
        assert!(polls(&harness) && sweeps(&harness));
        harness.pass(10 * SECOND);
    }
}

#[test]
fn as_long_as_a_run_is_due_in_this_process_the_store_is_read() {
    let harness = Harness::new();
    harness.state().waiting = Some(Vec::new());
    let name = harness.jobs(1, "good").remove(0);
    harness.job_is(&name, Job::Blocked);
    harness.reconcile(&name);
    // The store may lag.
    harness.state().runs.clear();
    for _ in 0..3 {
        assert!(polls(&harness) && sweeps(&harness));
        harness.pass(10 * SECOND);
    }
}

#[test]
fn as_long_as_anything_is_left_all_of_it_is_gone_through() {
    type Case = (&'static str, fn(&Harness, &RunName));
    let cases: [Case; 4] = [
        ("a machine", |harness, _| harness.state().registrations.clear()),
        ("a registration", |harness, _| harness.state().machines.clear()),
        ("a seat", |harness, name| {
            let seat = tinqs_ci_reconciler::ports::Seat {
                attempt_id: harness.attempt_id(name, 1),
                repo: "acme/site".to_owned(),
                repo_id: 0,
            };
            let class = tinqs_ci_reconciler::model::ClassName("good".to_owned());
            let mut state = harness.state();
            state.machines.clear();
            state.registrations.clear();
            state.seats.push((class, seat));
        }),
        ("nothing but a machine that has gone", |harness, _| {
            let mut state = harness.state();
            state.registrations.clear();
            state.machines[0].state = MachineState::Gone;
        }),
    ];
    for (case, leaves) in cases {
        let before = Harness::new();
        let name = before.jobs(1, "good").remove(0);
        before.reconcile(&name);
        leaves(&before, &name);
        let harness = Harness::new();
        {
            let (mut old, mut new) = (before.state(), harness.state());
            new.machines.append(&mut old.machines);
            new.registrations.append(&mut old.registrations);
            new.seats.append(&mut old.seats);
        }
        assert!(sweeps(&harness), "{case}");
        harness.pass(SECOND);
        assert_eq!(sweeps(&harness), !case.starts_with("nothing"), "{case}");
    }
}

#[test]
fn what_could_not_be_read_is_no_calm() {
    for operation in ["waiting", "open"] {
        let harness = Harness::new();
        harness.fails(operation, ErrorKind::Unavailable);
        assert_eq!(ready(harness.controller.poll()).errors.len(), 1);
        assert!(polls(&harness), "{operation}");
    }
    for operation in ["list", "registrations", "seats", "page", "open"] {
        let harness = Harness::new();
        harness.fails(operation, ErrorKind::Unavailable);
        assert_eq!(ready(harness.controller.sweep()).errors.len(), 1, "{operation}");
        assert!(sweeps(&harness), "{operation}");
    }
    // The same holds where the installation was idle before.
    let harness = idle();
    harness.pass(SECOND);
    harness.fails("waiting", ErrorKind::Unavailable);
    let report = ready(harness.controller.poll());
    assert!(report.leader && report.errors.len() == 1);
}

/// A sweep of a replica that does not hold the lease, as `serve` makes one.
fn sweeps_beside_another(harness: &Harness, open_runs: bool) -> bool {
    let before = harness.calls("list");
    let report = ready(harness.controller.sweep());
    assert!(!report.leader && report.errors.is_empty(), "{report:?}");
    ready(harness.controller.list_sides(open_runs));
    harness.calls("list") > before
}

/// Another replica holds the lease, and nothing exists.
fn led_by_another() -> Harness {
    let harness = Harness::new();
    harness.state().waiting = Some(Vec::new());
    harness.state().led_by_another = true;
    harness
}

#[test]
fn in_an_idle_hour_a_replica_that_does_not_lead_lists_each_five_minutes() {
    let harness = led_by_another();
    for _ in 0..60 {
        sweeps_beside_another(&harness, false);
        harness.pass(MINUTE);
    }
    let calls = ["lease", "list", "registrations", "open", "seats", "page", "get"];
    assert_eq!(calls.map(|operation| harness.calls(operation)), [60, 12, 12, 0, 0, 0, 0]);
}

#[test]
fn a_replica_that_does_not_lead_lists_with_each_sweep_while_there_is_something() {
    type Case = (&'static str, fn(&Harness), bool);
    let cases: [Case; 6] = [
        ("nothing", |_| {}, false),
        ("a machine", |harness| harness.state().registrations.clear(), true),
        ("a registration", |harness| harness.state().machines.clear(), true),
        (
            "a machine that has gone",
            |harness| {
                harness.state().registrations.clear();
                harness.state().machines[0].state = MachineState::Gone;
            },
            false,
        ),
        ("a list that fails", |harness| harness.fails("list", ErrorKind::Unavailable), true),
        (
            "registrations that cannot be listed",
            |harness| harness.fails("registrations", ErrorKind::Unavailable),
            true,
        ),
    ];
    for (case, leaves, again) in cases {
        let harness = led_by_another();
        if case.starts_with("a machine") || case == "a registration" {
            let before = Harness::new();
            let name = before.jobs(1, "good").remove(0);
            before.reconcile(&name);
            let (mut old, mut new) = (before.state(), harness.state());
            new.machines.append(&mut old.machines);
            new.registrations.append(&mut old.registrations);
        }
        leaves(&harness);
        assert!(sweeps_beside_another(&harness, false), "{case}");
        harness.pass(MINUTE);
        assert_eq!(sweeps_beside_another(&harness, false), again, "{case}");
    }
}

#[test]
fn open_runs_and_reconciles_end_the_calm_of_a_replica_that_does_not_lead() {
    let harness = led_by_another();
    assert!(sweeps_beside_another(&harness, false));
    harness.pass(SECOND);
    assert!(!sweeps_beside_another(&harness, false));
    assert!(sweeps_beside_another(&harness, true), "somebody has read that runs are open");
    harness.pass(SECOND);
    assert!(!sweeps_beside_another(&harness, false));
    harness.reconcile(&RunName::job(9));
    assert!(sweeps_beside_another(&harness, false), "it has reconciled a run");
}
