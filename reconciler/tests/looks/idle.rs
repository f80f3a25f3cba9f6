//! Where nothing is going on the forge's list alone is read, until something happens.

use jiff::SignedDuration;
use tinqs_ci_reconciler::controller::Hint;
use tinqs_ci_reconciler::model::{InstanceState, Job, RunName};
use tinqs_ci_reconciler::ports::ErrorKind;

use super::town::{Town, done};
use super::{MINUTE, SECOND, waiting_job};

/// Whether a poll reads the store.
fn polls(town: &Town) -> bool {
    let before = town.calls("open");
    let report = done(town.controller.poll());
    assert!(report.leader && report.errors.is_empty(), "{report:?}");
    town.calls("open") > before
}

/// Whether a sweep reads anything.
fn sweeps(town: &Town) -> bool {
    let before = (town.calls("open"), town.calls("list"));
    let report = done(town.controller.sweep());
    assert!(report.leader && report.errors.is_empty(), "{report:?}");
    let read = (town.calls("open"), town.calls("list")) != before;
    assert_eq!(read, town.calls("list") > before.1, "all or nothing");
    read
}

/// A town in which nothing is going on, which a poll and a sweep have seen.
fn idle() -> Town {
    let town = Town::new();
    town.world().waiting = Some(Vec::new());
    assert!(polls(&town) && sweeps(&town), "they find nothing");
    town
}

#[test]
fn an_idle_store_is_read_once_a_minute() {
    let town = idle();
    for seconds in 1..60 {
        town.pass(SECOND);
        assert!(!polls(&town), "{seconds}");
    }
    assert_eq!(town.calls("waiting"), 60, "and the forge each time");
    town.pass(SECOND);
    assert!(polls(&town));
    // So long the lease has to hold.
    assert_eq!(town.world().leases, [30, 90, 90].map(SignedDuration::from_secs));
}

#[test]
fn idle_machines_registrations_and_seats_are_gone_through_each_five_minutes() {
    let town = idle();
    for _ in 1..5 {
        town.pass(MINUTE);
        assert!(!sweeps(&town));
    }
    town.pass(59 * SECOND);
    assert!(!sweeps(&town));
    town.pass(SECOND);
    assert!(sweeps(&town));
}

#[test]
fn a_clock_that_went_back_has_found_nothing() {
    let town = idle();
    town.pass(-SECOND);
    assert!(polls(&town) && sweeps(&town));
}

#[test]
fn jobs_that_no_class_serves_do_not_end_the_calm() {
    let town = idle();
    town.world().waiting = Some(vec![waiting_job(1, "elsewhere"), waiting_job(2, "elsewhere")]);
    town.pass(SECOND);
    let report = done(town.controller.poll());
    assert_eq!((report.waiting_jobs, report.unserved_jobs, report.created), (2, 2, 0));
    assert!(report.leader && town.calls("open") == 2, "one poll's and one sweep's");
}

#[test]
fn a_job_that_a_class_serves_is_taken_up_at_once_and_ends_the_calm() {
    let town = idle();
    let jobs = vec![waiting_job(1, "elsewhere"), waiting_job(2, "good")];
    town.world().waiting = Some(jobs);
    town.pass(SECOND);
    let asked = town.calls("waiting");
    let report = done(town.controller.poll());
    assert_eq!((report.waiting_jobs, report.unserved_jobs, report.created), (2, 1, 1));
    assert_eq!(town.calls("waiting"), asked + 1, "the list is read once");
    // Also where its run is gone from the store again.
    town.world().waiting = Some(Vec::new());
    town.world().runs.clear();
    assert!(polls(&town) && sweeps(&town));
}

#[test]
fn whatever_happens_ends_the_calm() {
    type Case = (&'static str, fn(&Town));
    let cases: [Case; 6] = [
        ("a job is announced", |town| {
            let hint = Hint::Queued(waiting_job(1, "good"));
            done(town.controller.ingest(&[hint])).expect("it is durable");
        }),
        ("something happened to a job", |town| {
            let hint = Hint::Job { job_id: 5, runner: None };
            done(town.controller.ingest(&[hint])).expect("it is taken in");
        }),
        ("a run is asked for", |town| {
            let spec = tinqs_ci_reconciler::model::Spec {
                runs_on: vec!["good".to_owned()],
                ..Default::default()
            };
            done(town.controller.demand_run(RunName::push(&["a"]), spec)).expect("it is durable");
        }),
        ("it is configured otherwise", |town| town.configure("good", |_| {})),
        ("somebody asks for it", |town| town.controller.look_anew()),
        ("a run is looked at", |town| drop(town.look(&RunName::job(9)))),
    ];
    for (case, happens) in cases {
        let town = idle();
        town.pass(SECOND);
        assert!(!polls(&town) && !sweeps(&town));
        happens(&town);
        town.world().runs.clear();
        assert!(polls(&town) && sweeps(&town), "{case}");
    }
}

#[test]
fn as_long_as_a_run_is_open_the_store_is_read() {
    let town = Town::new();
    town.world().waiting = Some(Vec::new());
    let name = town.jobs(1, "good").remove(0);
    // This process knows of it by the store alone.
    let due = town.now() + 5 * MINUTE;
    town.change(&name, |run| run.status.due = due);
    for _ in 0..3 {
        assert!(polls(&town) && sweeps(&town));
        town.pass(10 * SECOND);
    }
}

#[test]
fn as_long_as_a_run_is_due_in_this_process_the_store_is_read() {
    let town = Town::new();
    town.world().waiting = Some(Vec::new());
    let name = town.jobs(1, "good").remove(0);
    town.job_is(&name, Job::Blocked);
    town.look(&name);
    // The store may lag.
    town.world().runs.clear();
    for _ in 0..3 {
        assert!(polls(&town) && sweeps(&town));
        town.pass(10 * SECOND);
    }
}

#[test]
fn as_long_as_anything_is_left_all_of_it_is_gone_through() {
    type Case = (&'static str, fn(&Town, &RunName));
    let cases: [Case; 4] = [
        ("a machine", |town, _| town.world().rows.clear()),
        ("a registration", |town, _| town.world().machines.clear()),
        ("a seat", |town, name| {
            let seat = tinqs_ci_reconciler::ports::Seat {
                slot: town.slot(name, 1),
                repo: "acme/site".to_owned(),
            };
            let class = tinqs_ci_reconciler::model::ClassName("good".to_owned());
            let mut world = town.world();
            world.machines.clear();
            world.rows.clear();
            world.seats.push((class, seat));
        }),
        ("nothing but a machine that has gone", |town, _| {
            let mut world = town.world();
            world.rows.clear();
            world.machines[0].state = InstanceState::Gone;
        }),
    ];
    for (case, leaves) in cases {
        let before = Town::new();
        let name = before.jobs(1, "good").remove(0);
        before.look(&name);
        leaves(&before, &name);
        let town = Town::new();
        {
            let (mut old, mut new) = (before.world(), town.world());
            new.machines.append(&mut old.machines);
            new.rows.append(&mut old.rows);
            new.seats.append(&mut old.seats);
        }
        assert!(sweeps(&town), "{case}");
        town.pass(SECOND);
        assert_eq!(sweeps(&town), !case.starts_with("nothing"), "{case}");
    }
}

#[test]
fn what_could_not_be_read_is_no_calm() {
    for operation in ["waiting", "open"] {
        let town = Town::new();
        town.fails(operation, ErrorKind::Unavailable);
        assert_eq!(done(town.controller.poll()).errors.len(), 1);
        assert!(polls(&town), "{operation}");
    }
    for operation in ["list", "registrations", "seats", "page", "open"] {
        let town = Town::new();
        town.fails(operation, ErrorKind::Unavailable);
        assert_eq!(done(town.controller.sweep()).errors.len(), 1, "{operation}");
        assert!(sweeps(&town), "{operation}");
    }
    // Nor where the calm was there before.
    let town = idle();
    town.pass(SECOND);
    town.fails("waiting", ErrorKind::Unavailable);
    let report = done(town.controller.poll());
    assert!(report.leader && report.errors.len() == 1);
}
