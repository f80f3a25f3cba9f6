//! Instances that are not ours, whatever tags they carry.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tinqs_ci_aws::ec2::token;
use tinqs_ci_aws::events::Owners as _;
use tinqs_ci_reconciler::model::{AttemptId, Cause, MachineId, MachineState};
use tinqs_ci_reconciler::ports::{Compute as _, ErrorKind};
use tinqs_ci_simulator::aws_wire::When;
use tinqs_ci_simulator::ec2_wire::Ec2Wire;
use tinqs_ci_testing::make::until;
use tokio::task::JoinSet;

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
        let mut told = foreign.clone();
        told.sort();
        assert_eq!(machines.foreign(), told);
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

/// Returns the tags and the client token of a foreign instance. Two of three have all of our tags,
/// of the others one is changed or missing.
fn forged(
    tags: &BTreeMap<String, String>,
    attempt_id: &AttemptId,
    index: u32,
) -> (BTreeMap<String, String>, String) {
    let over = Timestamp::now() - SignedDuration::from_hours(24 * 365);
    let attempt = |number| AttemptId { number: attempt_id.number + number, ..attempt_id.clone() };
    let (named, next, placement) = (attempt(index % 4), attempt(index % 4 + 1), index / 4 % 3);
    let mut tags = tags.clone();
    tags.insert("tinqs-ci/attempt".to_owned(), named.to_string());
    tags.insert("tinqs-ci/placement".to_owned(), placement.to_string());
    tags.insert("tinqs-ci/deadline".to_owned(), format!("{over:.0}"));
    let nth = index as usize / 12 % tags.len();
    let key = tags.keys().nth(nth).expect("a tag").clone();
    match index % 9 {
        0 => drop(tags.remove(&key)),
        1 => drop(tags.insert(key, "2001-01-01T00:00:00Z".to_owned())),
        2 => drop(tags.insert(key, String::new())),
        _ => {}
    }
    let token = match index % 7 {
        0 => String::new(),
        1 => format!("7f1f9a0e-6b5c-4a52-8f27-{index:012x}"),
        2 => named.token(placement),
        3 => token("another", &named, placement),
        4 => token(INSTALLATION, &named, placement + 1),
        5 => token(INSTALLATION, &next, placement),
        _ => format!("{}-0", token(INSTALLATION, &named, placement)),
    };
    (tags, token)
}

/// Ten accounts of a thousand instances each: lists of ten thousand would take longer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_terminates_one_of_ten_thousand_instances_tagged_by_hand() {
    for batch in 0..10 {
        let wire = wire(|options| {
            for subnet in &mut options.account.subnets {
                subnet.addresses = 2_000;
            }
        });
        let machines = Arc::new(machines(&wire, UNPACED).await);
        let (attempt_id, attempt) = ask(1);
        let ours = machines.launch(&attempt_id, 0, &attempt).await.unwrap();
        let copied = wire.machines()[0].recipe.instance_tags();
        let mut foreign = Vec::new();
        for index in batch * 1_000..(batch + 1) * 1_000 {
            let (tags, token) = forged(&copied, &attempt_id, index);
            foreign.push(wire.add_foreign_with_token(tags, &token).unwrap());
        }
        let listed = machines.list().await.unwrap();
        assert_eq!(listed.iter().map(|m| &m.id).collect::<Vec<_>>(), [&ours.id]);
        let mut asked = JoinSet::new();
        for id in foreign {
            let machines = machines.clone();
            asked.spawn(async move { machines.terminate(&id).await });
        }
        for terminated in asked.join_all().await {
            terminated.expect("a foreign instance counts as absent");
        }
        assert_eq!(wire.ledger().count("TerminateInstances"), 0, "batch {batch}");
        is_clean(&wire);
    }
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
    for refuses_used_tokens in [false, true] {
        let wire = wire(|options| options.refuses_used_tokens = refuses_used_tokens);
        let machines = machines(&wire, UNPACED).await;
        let (attempt_id, attempt) = ask(1);
        let first = machines.launch(&attempt_id, 0, &attempt).await.unwrap();
        wire.power_off(&first.id);
        until("it is gone", async || {
            let found = machines.find(&first.id).await.unwrap();
            found.filter(|machine| machine.state == MachineState::Gone)
        })
        .await;
        let again = machines.launch(&attempt_id, 0, &attempt).await.unwrap();
        assert_eq!((again.id, again.state), (first.id, MachineState::Gone));
        assert_eq!(wire.machines().len(), 1);
        is_clean(&wire);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_token_of_a_terminated_machine_that_is_not_shown_ends_its_attempt_alone() {
    let wire = wire(|_| {});
    let machines = machines(&wire, UNPACED).await;
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
