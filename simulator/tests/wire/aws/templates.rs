//! Launch templates: shown, merged with a call, and refused as by EC2.

use tinqs_ci_reconciler::model::Market;
use tinqs_ci_simulator::ec2_wire::{Ec2Options, LaunchTemplate, Recipe};

use super::{Cloud, ON_DEMAND};

const ID: &str = "LaunchTemplate.LaunchTemplateId";
const VERSION: &str = "LaunchTemplate.Version";

/// A cloud with version 2 of a template.
fn cloud(parameters: &[(&str, &str)]) -> Cloud {
    let mut options = Ec2Options::instant();
    options.account.launch_templates = vec![LaunchTemplate::new("lt-1", 2, parameters)];
    Cloud::new(options)
}

/// Launches by that version with these parameters changed. Returns what was made.
async fn made(cloud: &Cloud, changed: &[(&str, &str)]) -> Recipe {
    let by_template = [&[(ID, "lt-1"), (VERSION, "2")][..], changed].concat();
    cloud.machine("t-1", &by_template).await;
    (*cloud.wire.machines()[0].recipe).clone()
}

#[tokio::test]
async fn a_version_is_shown_as_ec2_shows_it() {
    let cloud = cloud(&[
        ("DisableApiTermination", "true"),
        ("IamInstanceProfile.Name", "admin"),
        ("SecurityGroupId.1", "sg-1"),
        ("TagSpecification.1.ResourceType", "instance"),
        ("TagSpecification.1.Tag.1.Key", "Team"),
        ("TagSpecification.1.Tag.1.Value", "a"),
    ]);
    let op = "DescribeLaunchTemplateVersions";
    let asked = [("LaunchTemplateId", "lt-1"), ("LaunchTemplateVersion.1", "2")];
    let shown = cloud.call(op, &asked).await;
    assert!(
        shown.body.contains(
            "<launchTemplateVersionSet><item><launchTemplateId>lt-1</launchTemplateId>\
             <versionNumber>2</versionNumber><launchTemplateData>\
             <disableApiTermination>true</disableApiTermination>\
             <iamInstanceProfile><name>admin</name></iamInstanceProfile>\
             <securityGroupIdSet><item>sg-1</item></securityGroupIdSet>\
             <tagSpecificationSet><item><resourceType>instance</resourceType>\
             <tagSet><item><key>Team</key><value>a</value></item></tagSet></item>\
             </tagSpecificationSet></launchTemplateData></item></launchTemplateVersionSet>"
        ),
        "{}",
        shown.body
    );
    for (id, version, code) in [
        ("lt-9", "2", "InvalidLaunchTemplateId.NotFound"),
        ("lt-1", "3", "InvalidLaunchTemplateId.VersionNotFound"),
    ] {
        let asked = [("LaunchTemplateId", id), ("LaunchTemplateVersion.1", version)];
        assert_eq!(cloud.call(op, &asked).await.error(), (400, code.to_owned()));
        let launched = cloud.launch("t-1", &[(ID, id), (VERSION, version)]).await;
        assert_eq!(launched.error(), (400, code.to_owned()));
    }
}

#[tokio::test]
async fn the_call_comes_before_its_template() {
    let cloud = cloud(&[
        ("ImageId", "ami-0456"),
        ("InstanceInitiatedShutdownBehavior", "stop"),
        ("MetadataOptions.HttpTokens", "optional"),
        ("Monitoring.Enabled", "true"),
        ("SecurityGroupId.1", "sg-9"),
        ("BlockDeviceMapping.1.DeviceName", "/dev/sdb"),
        ("BlockDeviceMapping.1.Ebs.VolumeSize", "50"),
        ("BlockDeviceMapping.1.Ebs.DeleteOnTermination", "true"),
        ("BlockDeviceMapping.2.DeviceName", "/dev/xvda"),
        ("BlockDeviceMapping.2.Ebs.VolumeType", "gp2"),
        ("BlockDeviceMapping.2.Ebs.VolumeSize", "20"),
        ("TagSpecification.1.ResourceType", "instance"),
        ("TagSpecification.1.Tag.1.Key", "tinqs-ci"),
        ("TagSpecification.1.Tag.1.Value", "other"),
        ("TagSpecification.1.Tag.2.Key", "Team"),
        ("TagSpecification.1.Tag.2.Value", "a"),
    ]);
    let made = made(&cloud, &[]).await;
    assert_eq!((made.image.as_str(), made.shutdown.as_str()), ("ami-0123", "terminate"));
    assert_eq!((made.metadata.tokens.as_str(), made.monitored), ("required", true));
    assert_eq!(made.security_groups, ["sg-1"], "a list is the call's as a whole");
    let disks = made.disks.iter().map(|disk| (disk.device.as_str(), &*disk.kind, disk.size_gib));
    let disks: Vec<_> = disks.collect();
    assert_eq!(disks, [("/dev/xvda", "gp3", 20), ("/dev/sdb", "gp2", 50)]);
    let tags = made.instance_tags();
    assert_eq!(tags.get("tinqs-ci").map(String::as_str), Some("x"));
    assert_eq!(tags.get("Team").map(String::as_str), Some("a"));
    assert_eq!((made.template.as_str(), cloud.rules_broken()), ("lt-1:2", vec![]));
}

#[tokio::test]
async fn what_a_call_leaves_out_is_that_of_its_template() {
    let cloud = cloud(&[
        ("IamInstanceProfile.Name", "tinqs-ci-runner"),
        ("InstanceMarketOptions.MarketType", "spot"),
    ]);
    let without = [&ON_DEMAND[..], &[("IamInstanceProfile.Name", "")]].concat();
    let made = made(&cloud, &without).await;
    assert_eq!((made.profile.as_str(), made.market), ("tinqs-ci-runner", Market::Spot));
}

#[tokio::test]
async fn a_template_with_a_network_interface_excludes_a_subnet_of_the_call() {
    let cloud = cloud(&[("NetworkInterface.1.DeviceIndex", "0")]);
    let refused = cloud.launch("t-1", &[(ID, "lt-1"), (VERSION, "2")]).await;
    assert_eq!(refused.error(), (400, "InvalidParameterCombination".to_owned()));
}

#[tokio::test]
async fn a_template_with_security_groups_excludes_a_network_interface_of_the_call() {
    let cloud = cloud(&[("SecurityGroupId.1", "sg-9")]);
    let by_interface = [
        (ID, "lt-1"),
        (VERSION, "2"),
        ("SubnetId", ""),
        ("SecurityGroupId.1", ""),
        ("NetworkInterface.1.DeviceIndex", "0"),
    ];
    let refused = cloud.launch("t-1", &by_interface).await;
    assert_eq!(refused.error(), (400, "InvalidParameterCombination".to_owned()));
}

#[tokio::test]
async fn machines_and_disks_that_stay_break_a_rule() {
    let protected = cloud(&[("DisableApiTermination", "true")]);
    let spot = protected.launch("t-1", &[(ID, "lt-1"), (VERSION, "2")]).await;
    assert_eq!(spot.error(), (400, "InvalidParameterCombination".to_owned()));
    made(&protected, &ON_DEMAND).await;
    assert_eq!(protected.rules_broken(), ["no machine that cannot be terminated"]);
    let id = protected.wire.machines()[0].id.0.clone();
    let refused = protected.terminate(&id).await;
    assert_eq!(refused.error(), (400, "OperationNotPermitted".to_owned()));

    let kept = cloud(&[
        ("BlockDeviceMapping.1.DeviceName", "/dev/sdb"),
        ("BlockDeviceMapping.1.Ebs.VolumeSize", "50"),
    ]);
    made(&kept, &[]).await;
    assert_eq!(kept.rules_broken(), ["disks end with their machine"]);
}

#[tokio::test]
async fn a_version_that_moves_breaks_a_rule() {
    for version in ["$Latest", "$Default"] {
        let cloud = cloud(&[]);
        cloud.machine("t-1", &[(ID, "lt-1"), (VERSION, version)]).await;
        assert_eq!(cloud.rules_broken(), ["a fixed version of a launch template"]);
    }
}
