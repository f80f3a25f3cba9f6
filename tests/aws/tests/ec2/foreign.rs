//! Instances that are not ours, whatever tags they carry.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use tinqs_ci_aws::ec2::token;
use tinqs_ci_aws::events::Owners as _;
use tinqs_ci_reconciler::model::{AttemptId, Cause, MachineId, MachineState};
use tinqs_ci_reconciler::ports::{Compute as _, ErrorKind};
use tinqs_ci_simulator::aws_wire::When;
use tinqs_ci_simulator::ec2_wire::Ec2Wire;

use crate::cloud::{INSTALLATION, UNPACED, ask, is_clean, machines, wire};
use crate::{error, rule};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn foreign_instances_are_neither_found_nor_terminated() {
    let wire = wire(|_| {});
    let machines = machines(&wire, UNPACED).await;
    let (attempt_id, attempt) = ask(1);
    let ours = machines.launch(&attempt_id, 0, &attempt).await.unwrap();
    let tags = wire.machines()[0].recipe.instance_tags();
    let mut other = tags.clone();
    other.insert("tinqs-ci".to_owned(), "another".to_owned());
    let mut edited = tags;
    edited.insert("tinqs-ci/uid".to_owned(), "ffffffff".to_owned());
    let plain = BTreeMap::from([("Name".to_owned(), "database".to_owned())]);
    let mut strangers = Vec::new();
    for tags in [other, edited, plain, BTreeMap::new()] {
        strangers.push(wire.add_foreign(tags).unwrap());
    }
    let listed = machines.list().await.unwrap();
    assert_eq!(listed.iter().map(|m| &m.id).collect::<Vec<_>>(), [&ours.id]);
    for id in &strangers {
        assert_eq!(machines.find(id).await.unwrap(), None);
        machines.terminate(id).await.expect("a foreign instance counts as absent");
    }
    assert_eq!(wire.ledger().count("TerminateInstances"), 0);
    let runs = machines.runs_of(&[strangers.clone(), vec![ours.id.clone()]].concat()).await;
    let runs: Vec<_> = runs.into_iter().map(Result::unwrap).collect();
    assert_eq!(runs, [None, None, None, None, Some(attempt_id.run)]);
    is_clean(&wire);
}

/// Adds foreign instances with our tags: copies of a machine's tags and tags of unknown attempts,
/// each with a past deadline.
fn tagged_by_hand(wire: &Ec2Wire, attempt_id: &AttemptId) -> Vec<MachineId> {
    let tags = wire.machines()[0].recipe.instance_tags();
    let over = Timestamp::now() - SignedDuration::from_hours(24 * 365);
    let mut added = Vec::new();
    for number in 0..4_u32 {
        let named = AttemptId { number: attempt_id.number + number, ..attempt_id.clone() };
        for placement in 0..3 {
            let mut tags = tags.clone();
            tags.insert("tinqs-ci/attempt".to_owned(), named.to_string());
            tags.insert("tinqs-ci/placement".to_owned(), placement.to_string());
            tags.insert("tinqs-ci/deadline".to_owned(), format!("{over:.0}"));
            let others = [
                String::new(),
                "7f1f9a0e-6b5c-4a52-8f27-0c3a6c8a9b10".to_owned(),
                named.token(placement),
                token("another", &named, placement),
                token(INSTALLATION, &named, placement + 1),
                token(
                    INSTALLATION,
                    &AttemptId { number: named.number + 1, ..named.clone() },
                    placement,
                ),
            ];
            for token in others {
                added.push(wire.add_foreign_with_token(tags.clone(), &token).unwrap());
            }
        }
    }
    added
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_tagged_by_hand_are_ignored() {
    let wire = wire(|_| {});
    let machines = machines(&wire, UNPACED).await;
    let (attempt_id, attempt) = ask(1);
    let ours = machines.launch(&attempt_id, 0, &attempt).await.unwrap();
    let foreign = tagged_by_hand(&wire, &attempt_id);
    assert_eq!(foreign.len(), 72);
    // The second list uses the cache of the first.
    for _ in 0..2 {
        let listed = machines.list().await.unwrap();
        assert_eq!(listed.iter().map(|m| &m.id).collect::<Vec<_>>(), [&ours.id]);
    }
    for id in &foreign {
        assert_eq!(machines.find(id).await.unwrap(), None, "{id}");
        machines.terminate(id).await.expect("a foreign instance counts as absent");
    }
    let runs = machines.runs_of(&foreign).await;
    assert!(runs.into_iter().all(|run| run.unwrap().is_none()), "their events wake no run");
    assert_eq!(wire.ledger().count("TerminateInstances"), 0);
    // Our own machine is still terminated.
    machines.terminate(&ours.id).await.unwrap();
    for machine in wire.machines() {
        assert_eq!(machine.state < MachineState::Ending, machine.foreign, "{machine:?}");
    }
    is_clean(&wire);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_of_another_installation_is_left_alone_despite_our_tag() {
    let wire = wire(|_| {});
    let ours = machines(&wire, UNPACED).await;
    let (attempt_id, attempt) = ask(1);
    let machine = ours.launch(&attempt_id, 0, &attempt).await.unwrap();
    let tags = wire.machines()[0].recipe.instance_tags();
    let claimed = wire.add_foreign_with_token(tags, &token("another", &attempt_id, 0)).unwrap();
    ours.terminate(&claimed).await.unwrap();
    let listed = ours.list().await.unwrap();
    assert_eq!(listed.iter().map(|m| &m.id).collect::<Vec<_>>(), [&machine.id]);
    assert_eq!(wire.ledger().count("TerminateInstances"), 0);
    is_clean(&wire);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_launch_does_not_adopt_a_foreign_instance_with_its_token() {
    let wire = wire(|_| {});
    let machines = machines(&wire, UNPACED).await;
    let (attempt_id, attempt) = ask(1);
    let tags = BTreeMap::from([("Name".to_owned(), "database".to_owned())]);
    let squatter = wire.add_foreign_with_token(tags, &token(INSTALLATION, &attempt_id, 0)).unwrap();
    rule(&wire, "RunInstances", When::First(1), error("IdempotentParameterMismatch", 400));
    let refused =
        machines.launch(&attempt_id, 0, &attempt).await.expect_err("the instance is foreign");
    assert_eq!(refused.kind, ErrorKind::Unavailable, "{refused}");
    machines.terminate(&squatter).await.expect("a foreign instance counts as absent");
    assert_eq!(wire.ledger().count("TerminateInstances"), 0);
    is_clean(&wire);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_token_of_a_terminated_machine_returns_that_machine() {
    let wire = wire(|_| {});
    let machines = machines(&wire, UNPACED).await;
    let (attempt_id, attempt) = ask(1);
    rule(&wire, "RunInstances", When::Nth(2), error("IdempotentInstanceTerminated", 400));
    let first = machines.launch(&attempt_id, 0, &attempt).await.unwrap();
    wire.power_off(&first.id);
    let again = machines.launch(&attempt_id, 0, &attempt).await.unwrap();
    assert_eq!(again.id, first.id);
    assert!(again.state >= MachineState::Ending, "{:?}", again.state);
    // If the machine is not found, the refusal ends this attempt and no other of its class.
    rule(&wire, "RunInstances", When::Always, error("IdempotentInstanceTerminated", 400));
    let (attempt_id, attempt) = ask(2);
    let refused =
        machines.launch(&attempt_id, 0, &attempt).await.expect_err("its machine is terminated");
    assert_eq!((refused.kind, refused.cause), (ErrorKind::Invalid, Some(Cause::Attempt)));
    is_clean(&wire);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_known_machine_is_terminated_even_if_describes_fail() {
    let wire = wire(|_| {});
    let (here, there) = (machines(&wire, UNPACED).await, machines(&wire, UNPACED).await);
    let (attempt_id, attempt) = ask(1);
    let machine = here.launch(&attempt_id, 0, &attempt).await.unwrap();
    rule(&wire, "DescribeInstances", When::Always, error("UnauthorizedOperation", 403));
    let refused = there.terminate(&machine.id).await.expect_err("ownership is unknown");
    assert_eq!(refused.kind, ErrorKind::Denied, "{refused}");
    assert_eq!(wire.ledger().count("TerminateInstances"), 0);
    here.terminate(&machine.id).await.unwrap();
    assert_eq!(wire.ledger().count("TerminateInstances"), 1);
    is_clean(&wire);
}
