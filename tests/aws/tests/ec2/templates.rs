//! Launch templates: their version is read once, and one that sets what is ours launches nothing.

use tinqs_ci_reconciler::model::{Attempt, AttemptId, LaunchTemplate, Market};
use tinqs_ci_reconciler::ports::{Compute as _, ErrorKind};
use tinqs_ci_simulator::aws_wire::When;
use tinqs_ci_simulator::ec2_wire::{self, Ec2Wire};
use tinqs_ci_testing::make;

use super::cloud::{UNPACED, ask, is_clean, machines, wire};
use super::{error, rule};

const READ: &str = "DescribeLaunchTemplateVersions";

fn by_template(number: i64, version: u32) -> (AttemptId, Attempt) {
    let (attempt_id, mut attempt) = ask(number);
    let template = LaunchTemplate { id: "lt-1".to_owned(), version };
    attempt.placements[0].machine.options.launch_template = Some(template);
    (attempt_id, attempt)
}

/// A wire with version 2 of a template.
fn wire_with(parameters: &[(&str, &str)]) -> Ec2Wire {
    let template = ec2_wire::LaunchTemplate::new("lt-1", 2, parameters);
    wire(|options| options.account.launch_templates = vec![template])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_template_adds_what_is_not_ours_and_is_read_once() {
    let wire = wire_with(&[
        ("Monitoring.Enabled", "true"),
        ("BlockDeviceMapping.1.DeviceName", "/dev/sdb"),
        ("BlockDeviceMapping.1.Ebs.VolumeSize", "50"),
        ("BlockDeviceMapping.1.Ebs.DeleteOnTermination", "true"),
        ("TagSpecification.1.ResourceType", "instance"),
        ("TagSpecification.1.Tag.1.Key", "Team"),
        ("TagSpecification.1.Tag.1.Value", "a"),
    ]);
    let machines = machines(&wire, UNPACED).await;
    for number in [1, 2] {
        let (attempt_id, attempt) = by_template(number, 2);
        let first = machines.launch(&attempt_id, 0, &attempt).await.unwrap();
        let again = machines.launch(&attempt_id, 0, &attempt).await.unwrap();
        assert_eq!(first.id, again.id);
    }
    assert_eq!(wire.ledger().count(READ), 1, "a version never changes");
    assert_eq!(machines.list().await.unwrap().len(), 2, "they are ours");
    for made in wire.machines() {
        let made = made.recipe;
        assert_eq!((made.template.as_str(), made.monitored), ("lt-1:2", true));
        assert_eq!(made.disks.len(), 2);
        assert_eq!(made.instance_tags().get("Team").map(String::as_str), Some("a"));
    }
    is_clean(&wire);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_template_that_sets_what_is_ours_launches_nothing_and_names_it() {
    let cases: &[(&[(&str, &str)], &str)] = &[
        (&[("IamInstanceProfile.Name", "admin")], "sets IamInstanceProfile,"),
        (&[("InstanceMarketOptions.MarketType", "spot")], "sets InstanceMarketOptions,"),
        (&[("NetworkInterface.1.DeviceIndex", "0")], "sets NetworkInterfaces,"),
        (&[("UserData", "IyE=")], "sets UserData,"),
        (
            &[("InstanceInitiatedShutdownBehavior", "stop")],
            "sets InstanceInitiatedShutdownBehavior,",
        ),
        (&[("DisableApiTermination", "true")], "sets DisableApiTermination,"),
        (&[("HibernationOptions.Configured", "true")], "sets HibernationOptions,"),
        (&[("MetadataOptions.HttpTokens", "optional")], "sets MetadataOptions,"),
        (
            &[
                ("TagSpecification.1.ResourceType", "instance"),
                ("TagSpecification.1.Tag.1.Key", "tinqs-ci/run"),
                ("TagSpecification.1.Tag.1.Value", "x"),
            ],
            "sets TagSpecifications tinqs-ci/run,",
        ),
        (
            &[
                ("BlockDeviceMapping.1.DeviceName", "/dev/sdb"),
                ("BlockDeviceMapping.1.Ebs.VolumeSize", "50"),
            ],
            "sets BlockDeviceMappings /dev/sdb without DeleteOnTermination,",
        ),
    ];
    for (parameters, says) in cases {
        let wire = wire_with(parameters);
        let machines = machines(&wire, UNPACED).await;
        let (attempt_id, mut attempt) = by_template(1, 2);
        attempt.placements[0].machine.market = Market::OnDemand;
        let refused = machines.launch(&attempt_id, 0, &attempt).await.expect_err(says);
        // Without a cause: it is the class that is at fault.
        assert_eq!((refused.kind, refused.cause), (ErrorKind::Invalid, None), "{refused}");
        assert!(refused.message.contains(says), "{refused}");
        assert_eq!(wire.ledger().count("RunInstances"), 0, "{says}");
        is_clean(&wire);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_template_that_cannot_be_read_launches_nothing() {
    let wire = wire_with(&[]);
    let machines = machines(&wire, UNPACED).await;
    let (attempt_id, attempt) = by_template(1, 3);
    let missing = machines.launch(&attempt_id, 0, &attempt).await.expect_err("no such version");
    assert_eq!(missing.kind, ErrorKind::Invalid, "{missing}");
    assert!(missing.message.contains("check the class's `launch_template`"), "{missing}");

    rule(&wire, READ, When::First(1), error("UnauthorizedOperation", 403));
    let (attempt_id, attempt) = by_template(2, 2);
    let denied = machines.launch(&attempt_id, 0, &attempt).await.expect_err("no right");
    assert_eq!(denied.kind, ErrorKind::Denied, "{denied}");
    assert_eq!(wire.ledger().count("RunInstances"), 0);
    // A failure is not kept.
    machines.launch(&attempt_id, 0, &attempt).await.unwrap();
    is_clean(&wire);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn templates_of_classes_are_read_at_the_start() {
    let wire = wire_with(&[]);
    let machines = machines(&wire, UNPACED).await;
    let (attempt_id, attempt) = by_template(1, 2);
    let class = make::class("linux", vec![attempt.placements[0].machine.clone(); 2]);
    machines.read_templates(&[class]).await;
    assert_eq!(wire.ledger().count(READ), 1);
    machines.launch(&attempt_id, 0, &attempt).await.unwrap();
    assert_eq!(wire.ledger().count(READ), 1);
}
