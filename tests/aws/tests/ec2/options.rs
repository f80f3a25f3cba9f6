//! Options of a machine arrive at EC2, and a repeated launch asks for the same.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tinqs_ci_aws::ec2::Machines;
use tinqs_ci_reconciler::model::{
    Attempt, AttemptId, Cause, CpuCredits, DiskEncryption, MachineOptions,
};
use tinqs_ci_reconciler::ports::{Compute as _, ErrorKind};
use tinqs_ci_simulator::aws_wire::{Kind, Rule, When};
use tinqs_ci_simulator::ec2_wire::{Ec2Wire, Recipe};

use super::cloud::{INSTALLATION, UNPACED, ask, clients, is_clean, machines, wire};
use super::lists::Moved;
use super::{error, rule};

const KEY: &str = "arn:aws:kms:us-east-1:123456789012:key/0a1b";

/// A fault of Systems Manager.
fn parameter_rule(wire: &Ec2Wire, op: &str, when: When, kind: Kind) {
    wire.faults(|rules| rules.add(Rule::new("ssm", op, when, kind)));
}

fn asking(options: &MachineOptions) -> (AttemptId, Attempt) {
    let (attempt_id, mut attempt) = ask(1);
    attempt.placements[0].machine.options = options.clone();
    (attempt_id, attempt)
}

/// Launches, and launches again in another process. Returns what EC2 was asked for.
async fn launched(options: &MachineOptions) -> Recipe {
    let wire = wire(|_| {});
    let (attempt_id, attempt) = asking(options);
    let first = machines(&wire, UNPACED).await.launch(&attempt_id, 0, &attempt).await.unwrap();
    let again = machines(&wire, UNPACED).await.launch(&attempt_id, 0, &attempt).await.unwrap();
    assert_eq!(first.id, again.id);
    is_clean(&wire);
    let seen = wire.machines();
    let [made] = &seen[..] else { panic!("{seen:?}") };
    (*made.recipe).clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_size_speed_and_encryption_of_the_disk_arrive() {
    let options = MachineOptions {
        disk_gib: Some(40),
        disk_iops: Some(4_000),
        disk_throughput: Some(250),
        disk_encryption: DiskEncryption::Key(KEY.to_owned()),
        ..MachineOptions::default()
    };
    let made = launched(&options).await;
    let [disk] = &made.disks[..] else { panic!("{:?}", made.disks) };
    assert_eq!((disk.size_gib, disk.iops, disk.throughput), (40, 4_000, 250));
    assert_eq!((disk.kind.as_str(), disk.key.as_str()), ("gp3", KEY));
    assert!(disk.encrypted && disk.delete_on_termination);

    let plain =
        MachineOptions { disk_encryption: DiskEncryption::NotAsked, ..MachineOptions::default() };
    let made = launched(&plain).await;
    let [disk] = &made.disks[..] else { panic!("{:?}", made.disks) };
    assert_eq!((disk.encrypted, disk.key.as_str(), disk.size_gib), (false, "", 8));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_ec2_refuses_is_invalid_and_a_missing_key_ends_the_machine() {
    let wire = wire(|_| {});
    let machines = machines(&wire, UNPACED).await;
    let small = MachineOptions { disk_gib: Some(7), ..MachineOptions::default() };
    let (attempt_id, attempt) = asking(&small);
    let refused = machines.launch(&attempt_id, 0, &attempt).await.expect_err("it is too small");
    assert_eq!(refused.kind, ErrorKind::Invalid, "{refused}");
    assert!(refused.message.contains("smaller than its snapshot"), "{refused}");
    assert!(wire.machines().is_empty());

    let gone = DiskEncryption::Key(format!("{KEY}-gone"));
    let keyed = MachineOptions { disk_encryption: gone, ..MachineOptions::default() };
    let (attempt_id, attempt) = asking(&keyed);
    machines.launch(&attempt_id, 0, &attempt).await.unwrap();
    let listed = machines.list().await.unwrap();
    // The cloud did not take it back: its launch failed, for a reason of the configuration.
    let [machine] = &listed[..] else { panic!("{listed:?}") };
    assert_eq!(machine.ended_by, None);
    let reason = machine.state_reason.as_ref().expect("a reason");
    assert_eq!(reason.code, "Client.InternalError");
    is_clean(&wire);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn options_of_a_disk_that_is_not_known_launch_nothing() {
    let wire = wire(|_| {});
    rule(&wire, "DescribeImages", When::Always, error("UnauthorizedOperation", 403));
    let machines = machines(&wire, UNPACED).await;
    let large = MachineOptions { disk_gib: Some(40), ..MachineOptions::default() };
    let (attempt_id, attempt) = asking(&large);
    let refused = machines.launch(&attempt_id, 0, &attempt).await.expect_err("not known");
    assert_eq!(refused.kind, ErrorKind::Invalid, "{refused}");
    assert!(refused.message.contains("allow ec2:DescribeImages"), "{refused}");
    assert_eq!(wire.ledger().count("RunInstances"), 0);
    // Without options the image's own settings apply.
    let (attempt_id, attempt) = asking(&MachineOptions::default());
    machines.launch(&attempt_id, 0, &attempt).await.unwrap();
    assert!(wire.machines()[0].recipe.disks.is_empty());
    is_clean(&wire);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tags_of_the_class_are_on_everything_beside_ours() {
    let tags = [("CostCenter", "ci"), ("Über uns", "a+b=c @ d:e/f_g.h-i")];
    let tags = tags.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let options = MachineOptions { tags: tags.clone().into(), ..MachineOptions::default() };
    let made = launched(&options).await;
    assert_eq!(made.tags.len(), 4);
    for (resource, tagged) in &made.tags {
        for (key, value) in &tags {
            assert_eq!(tagged.get(key), Some(value), "{resource}");
        }
        assert_eq!(tagged.get("tinqs-ci").map(String::as_str), Some("tinqs-ci"), "{resource}");
    }

    // A machine with more tags is ours all the same, also by another process.
    let wire = wire(|_| {});
    let (attempt_id, attempt) = asking(&options);
    machines(&wire, UNPACED).await.launch(&attempt_id, 0, &attempt).await.unwrap();
    let listed = machines(&wire, UNPACED).await.list().await.unwrap();
    assert_eq!(listed.iter().map(|one| &one.attempt_id).collect::<Vec<_>>(), [&attempt_id]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_many_tags_as_ec2_takes_can_be_set() {
    let many = |most: usize| (1..=most).map(|n| (format!("Own{n}"), String::new())).collect();
    let most = MachineOptions::MOST_TAGS;
    let options = MachineOptions { tags: many(most), ..MachineOptions::default() };
    let tags = launched(&options).await.instance_tags();
    assert!(tags.len() <= 50 && tags.contains_key(&format!("Own{most}")), "{tags:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_public_address_is_asked_for_or_refused() {
    assert_eq!(launched(&MachineOptions::default()).await.public_address, None);
    for is_public in [true, false] {
        let options =
            MachineOptions { public_address: Some(is_public), ..MachineOptions::default() };
        let made = launched(&options).await;
        assert_eq!(made.public_address, Some(is_public));
        assert_eq!(made.subnet, "subnet-a");
        assert_eq!(made.security_groups, ["sg-1"]);
        assert!(made.tags.contains_key("network-interface"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credits_arrive_for_kinds_that_have_some() {
    for (kind, asked, arrived) in [
        ("t3.small", CpuCredits::Standard, "standard"),
        ("t3.small", CpuCredits::Unlimited, "unlimited"),
        ("c7a.medium", CpuCredits::Standard, ""),
    ] {
        let wire = wire(|_| {});
        let options = MachineOptions { cpu_credits: Some(asked), ..MachineOptions::default() };
        let (attempt_id, mut attempt) = asking(&options);
        attempt.placements[0].machine.kind = kind.to_owned();
        machines(&wire, UNPACED).await.launch(&attempt_id, 0, &attempt).await.unwrap();
        assert_eq!(wire.machines()[0].recipe.credits, arrived, "{kind}");
        is_clean(&wire);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_hop_arrives() {
    let wire = wire(|options| options.most_hops = 2);
    let options = MachineOptions { hop_limit: Some(2), ..MachineOptions::default() };
    let (attempt_id, attempt) = asking(&options);
    machines(&wire, UNPACED).await.launch(&attempt_id, 0, &attempt).await.unwrap();
    let metadata = &wire.machines()[0].recipe.metadata;
    assert_eq!((metadata.hop_limit, metadata.tokens.as_str()), (2, "required"));
    is_clean(&wire);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_parameter_stands_for_the_image_that_it_holds() {
    const NAMED: &str = "ssm:/ci/image";
    let wire = wire(|_| {});
    let clock = Arc::new(Moved::default());
    let clients = clients(&wire.url()).await;
    let machines = Machines::new(clients, INSTALLATION, clock.clone(), UNPACED);
    let later = || clock.0.fetch_add(60, Ordering::SeqCst);
    assert_eq!(machines.image("ami-0123").await.unwrap(), "ami-0123");
    assert_eq!(wire.ledger().count("GetParameter"), 0, "an ID stands for itself");
    wire.set_parameter("/ci/image", " ami-0123\n");
    assert_eq!(machines.image(NAMED).await.unwrap(), "ami-0123");
    // It is read once a minute.
    wire.set_parameter("/ci/image", "ami-0456");
    assert_eq!(machines.image(NAMED).await.unwrap(), "ami-0123");
    assert_eq!(wire.ledger().count("GetParameter"), 1);
    later();
    assert_eq!(machines.image(NAMED).await.unwrap(), "ami-0456");
    // What cannot be read now stays as it was.
    later();
    parameter_rule(&wire, "GetParameter", When::First(1), error("InternalServerError", 500));
    assert_eq!(machines.image(NAMED).await.unwrap(), "ami-0456");
    // A value that is no image ID may be a secret.
    later();
    wire.set_parameter("/ci/image", "s3cret");
    let refused = machines.image(NAMED).await.expect_err("no image");
    assert_eq!(refused.kind, ErrorKind::Invalid);
    assert!(refused.message.contains("does not hold an image ID"), "{refused}");
    assert!(!refused.message.contains("s3cret"), "{refused}");
    is_clean(&wire);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_parameter_that_was_never_read_is_an_error_and_launches_nothing() {
    let wire = wire(|options| options.denied = vec!["ssm:GetParameter".to_owned()]);
    let machines = machines(&wire, UNPACED).await;
    let (attempt_id, mut attempt) = ask(1);
    attempt.placements[0].machine.image = "ssm:/ci/image".to_owned();
    let refused = machines.launch(&attempt_id, 0, &attempt).await.expect_err("no right");
    assert_eq!((refused.kind, refused.cause), (ErrorKind::Denied, None), "{refused}");
    assert!(refused.message.contains("statement ImageParameters"), "{refused}");
    parameter_rule(&wire, "GetParameter", When::First(1), error("ThrottlingException", 400));
    let passing = machines.image("ssm:/ci/other").await.expect_err("throttled");
    assert_eq!(passing.kind, ErrorKind::Throttled, "{passing}");
    let again = machines.image("ssm:/ci/other").await.expect_err("asked again");
    assert_eq!(again.kind, ErrorKind::Denied, "{again}");
    assert_eq!(wire.ledger().count("RunInstances"), 0);
    is_clean(&wire);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attempt_that_recorded_a_parameter_ends_although_it_is_known_now() {
    let wire = wire(|_| {});
    wire.set_parameter("/ci/image", "ami-0123");
    let (attempt_id, mut attempt) = ask(1);
    attempt.placements[0].machine.image = "ssm:/ci/image".to_owned();
    let machines = machines(&wire, UNPACED).await;
    let refused = machines.launch(&attempt_id, 0, &attempt).await.expect_err("recorded");
    assert_eq!((refused.kind, refused.cause), (ErrorKind::Invalid, Some(Cause::Attempt)));
    assert!(wire.machines().is_empty());
}
