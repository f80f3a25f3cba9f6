//! Requirements 1 to 3: requests and responses.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use tinqs_ci_simulator::ec2_wire::Ec2Options;

use super::{Cloud, EC2, ON_DEMAND, recipe};

#[tokio::test]
async fn a_launch_response_shows_the_requested_parameters() {
    let cloud = Cloud::new(Ec2Options::instant());
    let answer = cloud.launch("t-1", &[]).await;
    assert!(answer.body.contains(
        "<RunInstancesResponse xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\"><requestId>"
    ));
    for (name, value) in [
        ("ownerId", "123456789012"),
        ("imageId", "ami-0123"),
        ("instanceType", "t3.small"),
        ("subnetId", "subnet-a"),
        ("vpcId", "vpc-1"),
        ("groupId", "sg-1"),
        ("instanceLifecycle", "spot"),
        ("clientToken", "t-1"),
        ("amiLaunchIndex", "0"),
        ("availabilityZone", "us-east-1a"),
        ("httpTokens", "required"),
        ("httpPutResponseHopLimit", "1"),
        ("instanceMetadataTags", "disabled"),
        ("arn", "arn:aws:iam::123456789012:instance-profile/tinqs-ci-runner"),
        ("deviceName", "/dev/xvda"),
        ("deleteOnTermination", "true"),
    ] {
        assert_eq!(answer.one(name), value, "{name}");
    }
    assert!(answer.one("spotInstanceRequestId").starts_with("sir-"));
    let launched = answer.one("launchTime");
    assert!(launched.len() == 24 && launched.ends_with('Z') && &launched[19..20] == ".");
    assert_eq!(answer.all("key"), ["tinqs-ci", "tinqs-ci/attempt"]);
    let seen = cloud.describe(&answer.one("instanceId")).await;
    assert_eq!(seen.all("value"), ["x", "tq-job-7-0a1b2c3d-1"]);
    let on_demand = cloud.launch("t-2", &ON_DEMAND).await;
    assert_eq!(on_demand.status, 200, "{}", on_demand.body);
    assert_eq!(on_demand.one("instanceLifecycle"), "");
    let made = &cloud.wire.machines()[0].recipe;
    assert_eq!(made.user_data, b"#!/bin/bash\nexit 0\n");
    assert!(made.disks[0].encrypted && made.disks[0].kind == "gp3");
    assert_eq!((made.credits.as_str(), made.shutdown.as_str()), ("", "terminate"));
    assert!(!format!("{made:?}").contains("bash"));
    assert_eq!(cloud.rules_broken(), [""; 0]);
}

#[tokio::test]
async fn several_machines_launch_up_to_the_capacity() {
    let cloud = Cloud::new(Ec2Options::instant());
    cloud.wire.cloud(|cloud| cloud.config.addresses.insert("subnet-a".to_owned(), 2));
    let three = [("MinCount", "1"), ("MaxCount", "3")];
    let answer = cloud.launch("t-1", &three).await;
    assert_eq!(answer.all("amiLaunchIndex"), ["0", "1"]);
    assert_eq!(answer.all("reservationId").len(), 1);
    let again = cloud.launch("t-1", &three).await;
    assert_eq!(again.all("instanceId"), answer.all("instanceId"));
    assert_eq!(cloud.describe(&answer.all("instanceId")[1]).await.one("amiLaunchIndex"), "1");
    let full = cloud.launch("t-2", &[]).await;
    assert_eq!(full.error(), (400, "InsufficientFreeAddressesInSubnet".to_owned()));
    let subnets = cloud.call("DescribeSubnets", &[("SubnetId.1", "subnet-a")]).await;
    assert_eq!(subnets.one("availableIpAddressCount"), "0");
}

#[tokio::test]
async fn a_launch_is_checked_before_it_has_an_effect() {
    let cloud = Cloud::new(Ec2Options::instant());
    let long = "t".repeat(65);
    let raw = |bytes: usize| BASE64_STANDARD.encode(vec![b'#'; bytes]);
    let (most, more) = (raw(16_384), raw(16_385));
    let tag = "x".repeat(257);
    let price = "InstanceMarketOptions.SpotOptions.MaxPrice";
    let cases: &[(&str, &str, &str)] = &[
        ("ImageId", "", "MissingParameter"),
        ("ImageId", "ami-9999", "InvalidAMIID.NotFound"),
        ("ImageId", "windows", "InvalidAMIID.Malformed"),
        ("ImageId", "ami-0456", "InvalidParameterValue"),
        ("InstanceType", "t3.gigantic", "InvalidParameterValue"),
        ("SubnetId", "", "MissingParameter"),
        ("SubnetId", "subnet-9", "InvalidSubnetID.NotFound"),
        ("SecurityGroupId.1", "sg-9", "InvalidGroup.NotFound"),
        ("IamInstanceProfile.Name", "nobody", "InvalidParameterValue"),
        ("MinCount", "2", "InvalidParameterValue"),
        ("MinCount", "0", "InvalidParameterValue"),
        ("MaxCount", "many", "InvalidParameterValue"),
        ("MinCount", "", "MissingParameter"),
        ("ClientToken", &long, "InvalidParameterValue"),
        ("ClientToken", "täg", "InvalidParameterValue"),
        ("UserData", &more, "InvalidUserData.Malformed"),
        ("UserData", "###", "InvalidUserData.Malformed"),
        ("InstanceInitiatedShutdownBehavior", "stop", "InvalidParameterCombination"),
        ("InstanceInitiatedShutdownBehavior", "sleep", "InvalidParameterValue"),
        ("InstanceMarketOptions.MarketType", "bazaar", "InvalidParameterValue"),
        (price, "0.0001", "SpotMaxPriceTooLow"),
        ("MetadataOptions.HttpTokens", "maybe", "InvalidParameterValue"),
        ("MetadataOptions.HttpPutResponseHopLimit", "65", "InvalidParameterValue"),
        ("MetadataOptions.InstanceMetadataTags", "enabled", "InvalidParameterValue"),
        ("BlockDeviceMapping.1.Ebs.VolumeType", "gp9", "InvalidBlockDeviceMapping"),
        ("BlockDeviceMapping.1.Ebs.VolumeSize", "7", "InvalidBlockDeviceMapping"),
        ("BlockDeviceMapping.1.DeviceName", "/dev/sda1", "MissingParameter"),
        ("TagSpecification.1.Tag.1.Value", &tag, "InvalidParameterValue"),
        ("TagSpecification.1.Tag.2.Key", "tinqs-ci", "InvalidParameterValue"),
        ("TagSpecification.1.Tag.2.Key", "aws:x", "InvalidParameterValue"),
        ("TagSpecification.1.ResourceType", "toaster", "InvalidParameterValue"),
        ("Color", "blue", "UnknownParameter"),
    ];
    for (name, value, code) in cases {
        let answer = cloud.launch("t-1", &[(name, value)]).await;
        assert_eq!(answer.error(), (400, (*code).to_owned()), "{name} {value:.20}");
        assert!(!answer.one("Message").is_empty() && !answer.one("RequestID").is_empty());
    }
    let limited = cloud.launch("t-1", &[("UserData", &more)]).await;
    assert_eq!(limited.one("Message"), "User data is limited to 16384 bytes");
    let dry = cloud.launch("t-1", &[("DryRun", "true")]).await;
    assert_eq!(dry.error(), (412, "DryRunOperation".to_owned()));
    assert!(cloud.wire.machines().is_empty(), "nothing was created");
    cloud.machine("t-1", &[("UserData", &most)]).await;
}

#[tokio::test]
async fn credits_are_optional_and_only_for_burstable_types() {
    let cloud = Cloud::new(Ec2Options::instant());
    let of = |kind, credits| [("InstanceType", kind), ("CreditSpecification.CpuCredits", credits)];
    let refused = cloud.launch("t-1", &of("c7a.medium", "standard")).await;
    assert_eq!(refused.one("Code"), "InvalidParameterCombination");
    let refused = cloud.launch("t-1", &of("t3.small", "many")).await;
    assert_eq!(refused.one("Code"), "InvalidParameterValue");
    for (token, kind, credits) in [
        ("t-1", "c7a.medium", ""),
        ("t-2", "t3.small", ""),
        ("t-3", "t3.small", "standard"),
        ("t-4", "t3.small", "unlimited"),
    ] {
        cloud.machine(token, &of(kind, credits)).await;
        let machines = cloud.wire.machines();
        let made = machines.iter().find(|machine| machine.recipe.token == token).unwrap();
        assert_eq!(made.recipe.credits, credits, "{token}");
    }
}

#[tokio::test]
async fn a_type_that_a_zone_does_not_offer_is_unsupported() {
    let mut options = Ec2Options::instant();
    options.account.types[0].zones.remove(1);
    options.account.images[0].state = "pending".to_owned();
    options.account.images.push(options.account.images[0].clone());
    options.account.images[2].id = "ami-0789".to_owned();
    options.account.images[2].state = "available".to_owned();
    let cloud = Cloud::new(options);
    assert_eq!(cloud.launch("t-1", &[]).await.one("Code"), "InvalidAMIID.Unavailable");
    let elsewhere = [("ImageId", "ami-0789"), ("SubnetId", "subnet-b")];
    assert_eq!(cloud.launch("t-1", &elsewhere).await.error(), (400, "Unsupported".to_owned()));
    cloud.machine("t-1", &elsewhere[..1]).await;
}

#[tokio::test]
async fn machines_are_listed_by_ids_filters_and_pages() {
    let cloud = Cloud::new(Ec2Options::instant());
    let mut ids = Vec::new();
    for n in 0..13 {
        let subnet = if n < 6 { "subnet-a" } else { "subnet-b" };
        ids.push(cloud.machine(&format!("t-{n}"), &[("SubnetId", subnet)]).await);
    }
    cloud.wire.add_foreign([("Name".to_owned(), "db".to_owned())].into()).unwrap();
    cloud.terminate(&ids[0]).await;
    cloud.until(&ids[0], "terminated").await;
    for (name, values, found) in [
        ("tag:tinqs-ci", &["x"][..], 13),
        ("tag:tinqs-ci", &["y"], 0),
        ("tag-key", &["tinqs-ci/attempt"], 13),
        ("tag-key", &["Name"], 1),
        ("client-token", &["t-3"], 1),
        ("client-token", &["t-3", "t-4"], 2),
        ("instance-id", &["i-00000000000000000"], 0),
        ("instance-id", &[ids[2].as_str()], 1),
        ("instance-lifecycle", &["spot"], 13),
        ("availability-zone", &["us-east-1b"], 7),
        ("subnet-id", &["subnet-a"], 7),
        ("instance-state-name", &["terminated"], 1),
        ("instance-type", &["t3*"], 14),
    ] {
        let mut params = vec![("Filter.1.Name".to_owned(), name.to_owned())];
        for (value, n) in values.iter().zip(1..) {
            params.push((format!("Filter.1.Value.{n}"), (*value).to_owned()));
        }
        let params: Vec<_> = params.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let answer = cloud.call("DescribeInstances", &params).await;
        assert_eq!(answer.all("instanceId").len(), found, "{name} {values:?}");
    }
    let filter = [("Filter.1.Name", "tag:tinqs-ci"), ("Filter.1.Value.1", "x")];
    let (mut sizes, mut seen, mut token) = (Vec::new(), Vec::new(), String::new());
    loop {
        let mut params = vec![filter[0], filter[1], ("MaxResults", "5")];
        if !token.is_empty() {
            params.push(("NextToken", &token));
        }
        let answer = cloud.call("DescribeInstances", &params).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        sizes.push(answer.all("instanceId").len());
        seen.extend(answer.all("instanceId"));
        token = answer.one("nextToken");
        if token.is_empty() {
            break;
        }
        let other = [("MaxResults", "5"), ("NextToken", token.as_str())];
        let other = cloud.call("DescribeInstances", &other).await;
        assert_eq!(other.one("Code"), "InvalidNextToken");
    }
    assert_eq!((sizes, seen), (vec![5, 5, 3], ids));
}

#[tokio::test]
async fn invalid_readings_are_refused() {
    let cloud = Cloud::new(Ec2Options::instant());
    let id = cloud.machine("t-1", &[]).await;
    let unknown = "i-0000000000000beef";
    for (params, code) in [
        (
            &[("InstanceId.1", id.as_str()), ("InstanceId.2", unknown)][..],
            "InvalidInstanceID.NotFound",
        ),
        (&[("InstanceId.1", "i-1")], "InvalidInstanceID.Malformed"),
        (&[("InstanceId.1", &id), ("MaxResults", "5")], "InvalidParameterCombination"),
        (&[("MaxResults", "4")], "InvalidParameterValue"),
        (&[("MaxResults", "1001")], "InvalidParameterValue"),
        (&[("NextToken", "abc")], "InvalidNextToken"),
        (&[("Filter.1.Name", "color"), ("Filter.1.Value.1", "x")], "InvalidParameterValue"),
        (&[("Filter.1.Name", "tag:x")], "InvalidParameterValue"),
    ] {
        let answer = cloud.call("DescribeInstances", params).await;
        assert_eq!(answer.error(), (400, code.to_owned()), "{params:?}");
    }
    let both = [
        ("InstanceId.1", id.as_str()),
        ("Filter.1.Name", "instance-state-name"),
        ("Filter.1.Value.1", "terminated"),
    ];
    let answer = cloud.call("DescribeInstances", &both).await;
    assert_eq!((answer.status, answer.all("instanceId").len()), (200, 0));
}

#[tokio::test]
async fn one_unknown_id_terminates_no_machine_and_termination_is_idempotent() {
    let cloud = Cloud::new(Ec2Options::instant());
    let id = cloud.machine("t-1", &[]).await;
    cloud.until(&id, "running").await;
    let bad = [("InstanceId.1", id.as_str()), ("InstanceId.2", "i-0000000000000beef")];
    let answer = cloud.call("TerminateInstances", &bad).await;
    assert_eq!(answer.error(), (400, "InvalidInstanceID.NotFound".to_owned()));
    assert_eq!(cloud.describe(&id).await.one("name"), "running");
    let dry = [("InstanceId.1", id.as_str()), ("DryRun", "true")];
    assert_eq!(cloud.call("TerminateInstances", &dry).await.status, 412);
    assert_eq!(cloud.describe(&id).await.one("name"), "running");
    let first = cloud.terminate(&id).await;
    assert_eq!(first.all("name"), ["shutting-down", "running"]);
    cloud.until(&id, "terminated").await;
    let second = cloud.terminate(&id).await;
    assert_eq!(second.all("name"), ["terminated", "terminated"]);
    assert_eq!(cloud.call("TerminateInstances", &[]).await.one("Code"), "MissingParameter");
}

#[tokio::test]
async fn readings_of_doctor_and_operators_are_supported() {
    let cloud = Cloud::new(Ec2Options::instant());
    let images = cloud.call("DescribeImages", &[("ImageId.1", "ami-0123")]).await;
    assert_eq!(
        (images.one("imageState"), images.one("architecture")),
        ("available".into(), "x86_64".into())
    );
    assert_eq!(
        (images.one("deviceName"), images.one("volumeSize")),
        ("/dev/xvda".into(), "8".into())
    );
    let unknown = cloud.call("DescribeImages", &[("ImageId.1", "ami-9")]).await;
    assert_eq!(unknown.error(), (400, "InvalidAMIID.NotFound".to_owned()));
    let groups = cloud.call("DescribeSecurityGroups", &[("GroupId.1", "sg-1")]).await;
    assert_eq!(
        (groups.one("groupName"), groups.one("cidrIp")),
        ("runners".into(), "0.0.0.0/0".into())
    );
    let zone = [("Filter.1.Name", "availability-zone"), ("Filter.1.Value.1", "us-east-1a")];
    let subnets = cloud.call("DescribeSubnets", &zone).await;
    assert_eq!(subnets.all("subnetId"), ["subnet-a", "subnet-a2"]);
    let vpc = [("Filter.1.Name", "vpc-id"), ("Filter.1.Value.1", "vpc-1")];
    let tables = cloud.call("DescribeRouteTables", &vpc).await;
    assert_eq!(tables.all("gatewayId"), ["local", "igw-1"]);
    assert_eq!((tables.one("main"), tables.all("subnetId").len()), ("true".into(), 0));
    let kinds = cloud.call("DescribeInstanceTypes", &[("InstanceType.1", "t4g.small")]).await;
    assert_eq!((kinds.one("defaultVCpus"), kinds.one("sizeInMiB")), ("2".into(), "2048".into()));
    let offers = [
        ("LocationType", "availability-zone"),
        ("Filter.1.Name", "instance-type"),
        ("Filter.1.Value.1", "t3.small"),
    ];
    let offers = cloud.call("DescribeInstanceTypeOfferings", &offers).await;
    assert_eq!(offers.all("location"), ["us-east-1a", "us-east-1b"]);
    let prices = [("InstanceType.1", "t3.small"), ("ProductDescription.1", "Linux/UNIX")];
    let prices = cloud.call("DescribeSpotPriceHistory", &prices).await;
    assert_eq!(prices.all("spotPrice"), ["0.007500", "0.007500"]);
    let sts = cloud.ask("AKID", "2011-06-15", "GetCallerIdentity", &[]).await.unwrap();
    assert_eq!(sts.one("Account"), "123456789012");
    let iam = async |name| {
        let name = [("InstanceProfileName", name)];
        cloud.ask("AKID", "2010-05-08", "GetInstanceProfile", &name).await.unwrap()
    };
    assert_eq!(iam("tinqs-ci-runner").await.one("RoleName"), "tinqs-ci-runner");
    assert_eq!(iam("nobody").await.error(), (404, "NoSuchEntity".to_owned()));
}

#[tokio::test]
async fn denied_actions_are_refused_before_a_dry_run() {
    let denied = |action: &str| {
        let denied = vec![action.to_owned()];
        Cloud::new(Ec2Options { denied, ..Ec2Options::instant() })
    };
    let dry = ("DryRun", "true");
    for (action, resource) in [
        ("ec2:RunInstances", ":instance/*"),
        ("ec2:CreateTags", ":instance/*"),
        ("iam:PassRole", ":role/tinqs-ci-runner"),
    ] {
        let cloud = denied(action);
        for params in [&[][..], &[dry]] {
            let answer = cloud.launch("t-1", params).await;
            assert_eq!(answer.error(), (403, "UnauthorizedOperation".to_owned()), "{action}");
            let message = answer.one("Message");
            assert!(message.contains(action) && message.contains(resource), "{message}");
            assert!(message.contains("Encoded authorization failure message: "), "{message}");
        }
        assert!(cloud.wire.machines().is_empty(), "nothing was created");
    }
    let cloud = denied("iam:PassRole");
    let without = [("IamInstanceProfile.Name", ""), dry];
    assert_eq!(cloud.launch("t-1", &without).await.error().0, 412, "the launch passes no role");
    assert_eq!(cloud.call("DescribeSubnets", &[]).await.status, 200);

    let cloud = denied("ec2:DescribeSubnets");
    assert_eq!(cloud.call("DescribeSubnets", &[]).await.status, 403);
    let images = [("ImageId.1", "ami-0123"), dry];
    let answer = cloud.call("DescribeImages", &images).await;
    assert_eq!(answer.error(), (412, "DryRunOperation".to_owned()));
}

#[tokio::test]
async fn forbidden_calls_are_refused_and_recorded() {
    let cloud = Cloud::new(Ec2Options {
        installation: Some("x".to_owned()),
        recorded: Some(std::sync::Arc::new(|seen| seen.token != "unrecorded")),
        ..Ec2Options::instant()
    });
    let id = cloud.machine("t-1", &[]).await;
    assert_eq!(cloud.rules_broken(), [""; 0]);
    let tags = [("ResourceId.1", id.as_str()), ("Tag.1.Key", "a"), ("Tag.1.Value", "b")];
    let answer = cloud.call("CreateTags", &tags).await;
    assert_eq!(answer.error(), (403, "UnauthorizedOperation".to_owned()));
    assert_eq!(
        cloud.call("StopInstances", &[("InstanceId.1", &id)]).await.one("Code"),
        "UnsupportedOperation"
    );
    assert_eq!(cloud.call("RebootInstances", &[]).await.one("Code"), "InvalidAction");
    let foreign = cloud.wire.add_foreign([("Name".to_owned(), "db".to_owned())].into()).unwrap();
    assert_eq!(cloud.terminate(&foreign.0).await.status, 200);
    cloud.call("DescribeInstances", &[("MaxResults", "5")]).await;
    cloud.launch("unrecorded", &[]).await;
    cloud.launch("t-2", &[("MetadataOptions.HttpTokens", "optional")]).await;
    cloud.launch("t-3", &[("TagSpecification.2.Tag.1.Value", "y")]).await;
    let broken = [
        "tags at launch only",
        "no StopInstances",
        "no foreign machine terminated",
        "no unfiltered Describe",
        "record, then launch",
        "metadata by token, few hops",
        "tags on all resources",
    ];
    assert_eq!(cloud.rules_broken(), broken);
    let unsigned = cloud.http.post(cloud.wire.url()).body("Action=RunInstances").send().await;
    assert_eq!(unsigned.unwrap().status(), 401);
    let params = recipe("t-9", &[]);
    let old = cloud.ask("AKID", "1999-01-01", "RunInstances", &params).await.unwrap();
    assert_eq!(old.one("Code"), "InvalidAction");
    assert_eq!(cloud.ask("AKID", EC2, "RunInstances", &params).await.unwrap().status, 200);
}
