//! Fair shares: whose turn it is to take a free seat, asked when one becomes free and when one is
//! about to be taken.

use jiff::SignedDuration;
use tinqs_ci_reconciler::controller::ReconcileOutcome;
use tinqs_ci_reconciler::model::{
    AttemptId, ClassName, Conclusion, Job, MachineState, Phase, Reason, RunName,
};
use tinqs_ci_reconciler::ports::Seat;

use super::{MINUTE, SECOND};
use crate::harness::{Harness, is_of};

/// The time within which a run takes the seat that it is called for.
const TURN: SignedDuration = SignedDuration::from_secs(15);

/// A job of a repository.
fn job_of(harness: &Harness, repo: &str) -> RunName {
    let name = harness.jobs(1, "good").remove(0);
    harness.change(&name, |run| is_of(run, repo));
    name
}

/// The same, after a reconcile that got no seat.
fn waits(harness: &Harness, repo: &str) -> RunName {
    let name = job_of(harness, repo);
    harness.pass(SECOND);
    assert_eq!(harness.reconcile(&name).reason, Some(Reason::AtLimit));
    name
}

/// A class with two seats, both held by `flood`. A third run of `flood` waits, and then one of
/// `lone`. Returns those with seats, then those that wait.
fn flooded(harness: &Harness) -> ([RunName; 2], [RunName; 2]) {
    harness.configure("good", |class| class.limit = Some(2));
    let seated = [job_of(harness, "flood/a"), job_of(harness, "flood/b")];
    harness.reconcile_each(&seated);
    let waiting = [waits(harness, "flood/a"), waits(harness, "lone/a")];
    harness.woken();
    (seated, waiting)
}

/// Ends a run's job and its machine, and reconciles the run.
fn ends(harness: &Harness, name: &RunName) {
    for machine in harness.state().machines.iter_mut().filter(|m| m.attempt_id.run == *name) {
        machine.state = MachineState::Gone;
    }
    harness.job_is(name, Job::Done { conclusion: Conclusion::Success });
    harness.reconcile(name);
}

#[test]
fn a_free_seat_is_for_the_owner_with_the_fewest() {
    let harness = Harness::new();
    let ([first, _], [flood, lone]) = flooded(&harness);
    ends(&harness, &first);
    assert_eq!(harness.woken(), [lone.to_string()], "although the other one has waited longer");
    // Something reconciles the other one before the one that is called.
    let (asked, written) = (harness.calls("seat"), harness.writes());
    let report = harness.reconcile(&flood);
    assert_eq!((report.result, report.reason), (ReconcileOutcome::Settled, Some(Reason::AtLimit)));
    assert_eq!(report.due, Some(harness.now() + TURN));
    assert_eq!((harness.calls("seat"), harness.writes()), (asked, written), "it leaves the seat");
    assert!(harness.woken().is_empty(), "the other one is called already");
    assert_eq!(harness.reconcile(&lone).phase, Some(Phase::Starting));
    assert_eq!(harness.reconcile(&flood).reason, Some(Reason::AtLimit));
}

#[test]
fn a_new_job_overtakes_nobody() {
    let harness = Harness::new();
    let ([first, _], [_, lone]) = flooded(&harness);
    ends(&harness, &first);
    let new = job_of(&harness, "flood/c");
    let report = harness.reconcile(&new);
    assert_eq!((report.phase, report.reason), (Some(Phase::Waiting), Some(Reason::AtLimit)));
    assert_eq!(harness.reconcile(&lone).phase, Some(Phase::Starting));
}

#[test]
fn who_finds_the_class_full_does_not_ask_the_store_while_others_wait() {
    let harness = Harness::new();
    let (_, [flood, lone]) = flooded(&harness);
    let asked = harness.calls("seat");
    let new = waits(&harness, "flood/c");
    harness.reconcile_each(&[flood.clone(), lone.clone()]);
    assert_eq!(harness.calls("seat"), asked, "a seat that becomes free now is for {lone}");
    for name in [&new, &flood] {
        harness.job_is(name, Job::Done { conclusion: Conclusion::Success });
        harness.reconcile(name);
    }
    harness.reconcile(&lone);
    assert_eq!(harness.calls("seat"), asked + 1, "nobody else waits");
}

#[test]
fn who_leaves_a_seat_calls_those_that_it_is_for() {
    let harness = Harness::new();
    let (_, [flood, lone]) = flooded(&harness);
    // A seat was freed without waking a run.
    harness.state().seats.remove(0);
    harness.reconcile(&flood);
    assert_eq!(harness.woken(), [lone.to_string()]);
    harness.reconcile(&flood);
    assert!(harness.woken().is_empty(), "once");
}

#[test]
fn who_is_called_and_does_not_come_is_passed_over() {
    let harness = Harness::new();
    let ([first, _], [flood, lone]) = flooded(&harness);
    ends(&harness, &first);
    harness.pass(TURN - SECOND);
    assert_eq!(harness.reconcile(&flood).reason, Some(Reason::AtLimit));
    harness.pass(SECOND);
    assert_eq!(harness.reconcile(&flood).phase, Some(Phase::Starting), "no seat stays free");
    assert_eq!(harness.reconcile(&lone).reason, Some(Reason::AtLimit));
    // It has come, and is the next.
    harness.woken();
    ends(&harness, &flood);
    assert_eq!(harness.woken(), [lone.to_string()]);
}

#[test]
fn an_owner_that_capacity_passes_by_for_half_an_hour_is_next() {
    let harness = Harness::new();
    harness.configure("good", |class| class.limit = Some(2));
    let (slow, other) = (job_of(&harness, "slow/a"), job_of(&harness, "one/a"));
    harness.reconcile_each(&[slow, other.clone()]);
    let second = waits(&harness, "slow/a");
    harness.pass(29 * MINUTE);
    let new = waits(&harness, "two/a");
    harness.woken();
    ends(&harness, &other);
    assert_eq!(harness.woken(), [new.to_string()], "its owner has none");
    assert_eq!(harness.reconcile(&new).phase, Some(Phase::Starting));
    let next = waits(&harness, "three/a");
    harness.pass(2 * MINUTE);
    harness.woken();
    ends(&harness, &new);
    assert_eq!(harness.woken(), [second.to_string()], "before {next}, whose owner has none");
}

#[test]
fn with_a_seat_for_each_nobody_waits_and_the_open_runs_are_read_once() {
    let harness = Harness::new();
    harness.configure("good", |class| class.limit = Some(9));
    let repos = ["flood/a", "flood/a", "flood/a", "lone/a"];
    let names = repos.map(|repo| job_of(&harness, repo));
    for name in names {
        assert_eq!(harness.reconcile(&name).phase, Some(Phase::Starting));
    }
    assert_eq!(harness.calls("open"), 1, "shared by all reconciles of a quarter of a minute");
    harness.configure("good", |class| class.limit = None);
    harness.pass(20 * SECOND);
    let free = job_of(&harness, "flood/a");
    assert_eq!(harness.reconcile(&free).phase, Some(Phase::Starting));
    assert_eq!(harness.calls("open"), 1, "a class without a limit has no order");
}

#[test]
fn a_run_that_has_taken_its_seat_elsewhere_is_waited_for_no_more() {
    let harness = Harness::new();
    let (_, [flood, lone]) = flooded(&harness);
    {
        // Another replica took one of two free seats for it, and has not recorded it yet.
        let mut state = harness.state();
        let uid = state.runs[&lone].uid.short();
        state.seats.clear();
        let attempt_id = AttemptId { run: lone.clone(), uid, number: 1 };
        let seat = Seat { attempt_id, repo: "lone/a".to_owned(), repo_id: 0 };
        state.seats.push((ClassName("good".to_owned()), seat));
    }
    assert_eq!(harness.reconcile(&flood).phase, Some(Phase::Starting));
    assert!(harness.woken().is_empty());
}
