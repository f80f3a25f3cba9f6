//! Machines that the cloud takes: the next ones come from other pools, and after several from those
//! on demand.

use jiff::Timestamp;
use tinqs_ci_reconciler::controller::Controller;
use tinqs_ci_reconciler::model::{
    ClassName, EndedBy, JobTimes, Machine, MachineState, Market, RunName, SpotBreaker, StateReason,
};
use tinqs_ci_testing::ready;

use super::{MINUTE, SECOND};
use crate::harness::Harness;

/// The subnet and the market of the machine that was launched last.
fn last(harness: &Harness) -> (String, Market) {
    let state = harness.state();
    let launch = state.launches.last().expect("a launch");
    (launch.machine.subnet.clone(), launch.machine.market)
}

/// The same of the machine that a new job gets.
fn next(harness: &Harness) -> (String, Market) {
    let name = harness.jobs(1, "good").remove(0);
    harness.reconcile(&name);
    last(harness)
}

fn spot(subnet: &str) -> (String, Market) {
    (subnet.to_owned(), Market::Spot)
}

fn on_demand() -> (String, Market) {
    ("subnet-a".to_owned(), Market::OnDemand)
}

/// A new job whose machine the cloud has just taken.
fn taken(harness: &Harness) -> RunName {
    let name = harness.jobs(1, "good").remove(0);
    harness.reconcile(&name);
    take(harness, &name);
    name
}

/// The cloud takes the machine of a run, and says when.
fn take(harness: &Harness, name: &RunName) {
    harness.take_back(name);
    let mut state = harness.state();
    let now = state.now;
    let own = state.machines.iter_mut().filter(|machine| machine.attempt_id.run == *name);
    own.for_each(|machine| machine.ended_at = Some(now));
}

#[test]
fn a_pool_that_lost_a_machine_comes_last_of_its_market_for_half_an_hour() {
    let harness = Harness::new();
    let name = taken(&harness);
    harness.reconcile(&name);
    assert_eq!(harness.subnets(), ["subnet-a", "subnet-b"], "its own next machine");
    assert_eq!(next(&harness), spot("subnet-b"));
    harness.pass(30 * MINUTE);
    assert_eq!(next(&harness), spot("subnet-b"));
    harness.pass(SECOND);
    assert_eq!(next(&harness), spot("subnet-a"));
}

#[test]
fn of_two_pools_the_one_that_lost_its_machine_first_comes_first() {
    let harness = Harness::new();
    for subnet in ["subnet-a", "subnet-b"] {
        taken(&harness);
        assert_eq!(last(&harness), spot(subnet));
        harness.pass(MINUTE);
    }
    assert_eq!(next(&harness), spot("subnet-a"), "the market stays");
}

#[test]
fn a_job_that_is_run_again_prefers_a_pool_of_any_market() {
    let harness = Harness::new();
    for _ in 0..2 {
        taken(&harness);
        harness.pass(MINUTE);
    }
    let name = harness.jobs(1, "good").remove(0);
    let job_id = harness.run(&name).spec.job.job_id;
    let times = JobTimes { attempt: Some(2), ..JobTimes::default() };
    harness.state().times.insert(job_id, times);
    harness.reconcile(&name);
    assert_eq!(last(&harness), on_demand());
}

#[test]
fn the_next_attempt_of_a_run_whose_machine_was_taken_does_so_too() {
    let harness = Harness::new();
    taken(&harness);
    harness.pass(MINUTE);
    let name = taken(&harness);
    assert_eq!(last(&harness), spot("subnet-b"));
    harness.reconcile(&name);
    assert_eq!(last(&harness), on_demand());
}

/// The plan that gives up a late machine makes the next attempt.
#[test]
fn the_attempt_after_a_late_machine_knows_the_pools() {
    let harness = Harness::new();
    let name = harness.jobs(1, "good").remove(0);
    harness.reconcile(&name);
    assert_eq!(last(&harness), spot("subnet-a"));
    taken(&harness);
    harness.pass(5 * MINUTE + SECOND);
    harness.reconcile(&name);
    assert_eq!(last(&harness), spot("subnet-b"));
}

#[test]
fn another_process_reads_it_in_the_list_of_the_cloud() {
    let harness = Harness::new();
    taken(&harness);
    let other = harness.another();
    let name = harness.jobs(1, "good").remove(0);
    drop(ready(other.reconcile(&name)));
    assert_eq!(last(&harness), spot("subnet-b"));
}

#[test]
fn what_a_list_leaves_out_stays_known() {
    let harness = Harness::new();
    taken(&harness);
    assert_eq!(next(&harness), spot("subnet-b"));
    harness.state().machines.retain(|machine| machine.state != MachineState::Gone);
    assert_eq!(next(&harness), spot("subnet-b"));
}

#[test]
fn a_machine_that_the_cloud_did_not_take_or_of_another_pool_says_nothing() {
    let harness = Harness::new();
    taken(&harness);
    let changes: [fn(&mut Machine); 4] = [
        |machine| machine.ended_by = Some(EndedBy::Itself),
        |machine| machine.ended_by = Some(EndedBy::Request),
        |machine| machine.market = Market::OnDemand,
        |machine| machine.kind = "big".to_owned(),
    ];
    let before = harness.state().machines[0].clone();
    for change in changes {
        let mut machine = before.clone();
        change(&mut machine);
        harness.state().machines[0] = machine;
        let other = harness.another();
        let job = harness.jobs(1, "good").remove(0);
        drop(ready(other.reconcile(&job)));
        assert_eq!(last(&harness), spot("subnet-a"), "{:?}", harness.state().machines[0]);
    }
}

/// The breaker of the class `good`; no other class has one.
fn breaker(controller: &Controller) -> Option<SpotBreaker> {
    let mut all = controller.spot_breakers();
    assert!(all.iter().all(|(class, _)| *class == ClassName("good".to_owned())), "{all:?}");
    all.pop().map(|(_, breaker)| breaker)
}

/// Three jobs whose machines the cloud takes now. Returns when.
fn three_taken(harness: &Harness) -> Timestamp {
    let names = harness.jobs(3, "good");
    harness.reconcile_each(&names);
    for name in &names {
        take(harness, name);
    }
    harness.now()
}

#[test]
fn after_three_interruptions_machines_on_demand_come_first_for_a_quarter_of_an_hour() {
    let harness = Harness::new();
    let at = three_taken(&harness);
    assert_eq!(breaker(&harness.controller), None, "no list showed it yet");
    assert_eq!(next(&harness), on_demand());
    let open = SpotBreaker { interruptions: 3, since: at, until: at + 15 * MINUTE };
    assert_eq!(breaker(&harness.controller), Some(open.clone()));
    let other = harness.another();
    ready(other.machines()).expect("listed");
    assert_eq!(breaker(&other), Some(open), "the same in each process");
    harness.pass(15 * MINUTE - SECOND);
    assert_eq!(next(&harness), on_demand());
    harness.pass(SECOND);
    assert_eq!(breaker(&harness.controller), None);
    assert_eq!(next(&harness), spot("subnet-b"), "the order of the class holds again");
}

#[test]
fn two_interruptions_or_a_class_without_machines_on_demand_open_no_breaker() {
    let harness = Harness::new();
    for _ in 0..2 {
        taken(&harness);
    }
    assert_eq!(next(&harness).1, Market::Spot);
    assert_eq!(breaker(&harness.controller), None);
    harness.configure("good", |class| class.machines.truncate(2));
    three_taken(&harness);
    assert_eq!(next(&harness).1, Market::Spot);
    assert_eq!(breaker(&harness.controller), None);
}

/// Launches that EC2 accepted, and ended from `pending`.
#[test]
fn launches_without_capacity_open_no_breaker() {
    let harness = Harness::new();
    three_taken(&harness);
    for machine in &mut harness.state().machines {
        machine.state_reason = Some(StateReason {
            code: "Server.InsufficientInstanceCapacity".to_owned(),
            message: String::new(),
            refusal: None,
        });
    }
    assert_eq!(next(&harness), spot("subnet-b"), "its pool comes last all the same");
    assert_eq!(breaker(&harness.controller), None);
}
