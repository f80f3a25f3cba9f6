//! Classes that order their machines by the price of their pools.

use jiff::SignedDuration;
use tinqs_ci_reconciler::model::{Allocation, Chosen, Job, MicroUsd, Placement, RunName};
use tinqs_ci_reconciler::ports::{ErrorKind, PortError};
use tinqs_ci_testing::LaunchAnswer;

use crate::harness::Harness;

/// A class with spot machines in two subnets and one on demand, at these prices.
fn harness(prices: &[(&str, u64)]) -> Harness {
    let harness = Harness::new();
    harness.configure("good", |class| class.allocation = Allocation::Price);
    cost(&harness, prices);
    harness
}

fn cost(harness: &Harness, prices: &[(&str, u64)]) {
    let prices = prices.iter().map(|(subnet, price)| ((*subnet).to_owned(), MicroUsd(*price)));
    harness.state().pool_prices = prices.collect();
}

fn placements(harness: &Harness, name: &RunName) -> Vec<Placement> {
    let attempt = harness.run(name).status.attempt;
    attempt.map(|attempt| attempt.placements).unwrap_or_default()
}

/// The subnets and the reasons of a new job's placements, after one reconcile.
fn chosen(harness: &Harness) -> Vec<(String, Option<Chosen>)> {
    let name = harness.jobs(1, "good").remove(0);
    harness.reconcile(&name);
    let placed = placements(harness, &name).into_iter();
    placed.map(|placed| (placed.machine.subnet, placed.chosen)).collect()
}

fn at(subnet: &str, price: u64) -> (String, Option<Chosen>) {
    (subnet.to_owned(), Some(Chosen::Price(MicroUsd(price))))
}

fn unpriced(subnet: &str) -> (String, Option<Chosen>) {
    (subnet.to_owned(), Some(Chosen::Unpriced))
}

#[test]
fn the_cheapest_pool_comes_first_and_the_record_says_why() {
    let harness = harness(&[("subnet-a", 9_000), ("subnet-b", 7_000)]);
    assert_eq!(chosen(&harness), [at("subnet-b", 7_000)]);
    cost(&harness, &[("subnet-a", 6_000), ("subnet-b", 7_000)]);
    assert_eq!(chosen(&harness), [at("subnet-a", 6_000)]);
    // A recorded attempt stays as it is.
    assert_eq!(harness.subnets(), ["subnet-b", "subnet-a"]);
}

#[test]
fn without_an_answer_the_configured_order_holds() {
    let harness = harness(&[("subnet-b", 7_000)]);
    harness.fails("pool_prices", ErrorKind::Unavailable);
    assert_eq!(chosen(&harness), [unpriced("subnet-a")]);
    assert_eq!(chosen(&harness), [at("subnet-b", 7_000)], "known prices come before others");
    cost(&harness, &[]);
    assert_eq!(chosen(&harness), [unpriced("subnet-a")]);
}

#[test]
fn a_class_without_that_order_asks_for_no_price() {
    let harness = harness(&[("subnet-a", 9_000), ("subnet-b", 7_000)]);
    harness.configure("good", |class| class.allocation = Allocation::Order);
    assert_eq!(chosen(&harness), [("subnet-a".to_owned(), None)]);
    assert_eq!(harness.calls("pool_prices"), 0);
}

#[test]
fn a_run_whose_job_runs_asks_for_no_price() {
    let harness = harness(&[("subnet-b", 7_000)]);
    let name = harness.jobs(1, "good").remove(0);
    harness.reconcile(&name);
    let asked = harness.calls("pool_prices");
    assert!(asked > 0);
    let runner = harness.attempt_id(&name, 1).to_string();
    harness.job_is(&name, Job::Running { runner });
    harness.reconcile(&name);
    assert_eq!(harness.calls("pool_prices"), asked);
}

#[test]
fn a_pool_that_lost_a_machine_is_worse_for_half_an_hour() {
    let harness = harness(&[("subnet-a", 9_000), ("subnet-b", 7_000)]);
    let name = harness.jobs(1, "good").remove(0);
    harness.reconcile(&name);
    assert_eq!(placements(&harness, &name)[0].machine.subnet, "subnet-b");
    harness.take_back(&name);
    harness.reconcile(&name);
    assert_eq!(chosen(&harness), [at("subnet-a", 9_000)]);
    harness.pass(SignedDuration::from_mins(30));
    assert_eq!(chosen(&harness), [at("subnet-a", 9_000)]);
    harness.pass(SignedDuration::from_secs(1));
    assert_eq!(chosen(&harness), [at("subnet-b", 7_000)]);
}

#[test]
fn pools_without_capacity_are_passed_over_within_the_attempt() {
    let harness = harness(&[("subnet-a", 9_000), ("subnet-b", 7_000)]);
    harness.answers(
        "good",
        LaunchAnswer::Refuses(|| {
            PortError::new("compute", "launch", ErrorKind::NoCapacity, "no capacity")
        }),
    );
    // Those on demand come after those on the spot market, as listed.
    let tried = [at("subnet-b", 7_000), at("subnet-a", 9_000), unpriced("subnet-a")];
    assert_eq!(chosen(&harness), tried);
    harness.answers("good", LaunchAnswer::Accepts);
    harness.pass(SignedDuration::from_secs(181));
    assert_eq!(chosen(&harness), [at("subnet-b", 7_000)], "both failed: the price decides");
}
