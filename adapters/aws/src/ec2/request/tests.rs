use aws_sdk_ec2::types::EbsBlockDevice;
use aws_sdk_ec2::types::{DeviceType, Image, VolumeType};
use jiff::SignedDuration;
use tinqs_ci_reconciler::model::{
    Boot, ClassName, DiskEncryption, MachineOptions, Placement, RunName, Runner, Secret, Uid8,
};

use super::super::disks::disks;
use super::*;

pub(in super::super) fn attempt_id() -> AttemptId {
    AttemptId { run: RunName::job(7), uid: Uid8("0a1b2c3d".to_owned()), number: 3 }
}

pub(in super::super) fn attempt(placements: usize) -> Attempt {
    let machine = MachineSpec {
        kind: "c7a.medium".to_owned(),
        subnet: "subnet-1".to_owned(),
        market: Market::Spot,
        image: "ami-1".to_owned(),
        security_groups: vec!["sg-1".to_owned(), "sg-2".to_owned()],
        instance_profile: "tinqs-ci-runner".to_owned(),
        runner: None,
        options: MachineOptions::default(),
    };
    let placement = Placement::new(machine);
    let at = |text: &str| text.parse().unwrap();
    Attempt {
        number: 3,
        decided_at: at("2026-01-02T03:04:05Z"),
        class: ClassName("linux".to_owned()),
        runner: Runner {
            repo_id: 0,
            id: 4711,
            uuid: "a-uuid".to_owned(),
            name: attempt_id().to_string(),
            labels: vec!["linux:host".to_owned()],
            token: Secret::new("runner-SECRET"),
        },
        boot: Boot {
            deadline: at("2026-01-02T09:04:05.678Z"),
            idle_within: SignedDuration::from_mins(2),
            start_by: Some(at("2026-01-02T03:14:05.678Z")),
            hold: SignedDuration::ZERO,
            instance_url: "https://git.example.com".to_owned(),
            git_token: None,
        },
        placements: vec![placement; placements],
        ended: None,
        hung_since: None,
        boot_result: None,
        state_reason: None,
        log: None,
    }
}

fn input(attempt: &Attempt, disks: &[BlockDeviceMapping]) -> RunInstancesInput {
    let attempt_id = attempt_id();
    let ask = Ask::new("tinqs-ci", &attempt_id, 0, attempt).unwrap();
    ask.request(disks).build().unwrap()
}

#[test]
fn only_a_machine_that_may_be_held_says_so() {
    let hold = |attempt: &Attempt| {
        let asked = input(attempt, &[]);
        let mut tags = asked.tag_specifications()[0].tags().iter();
        let found = tags.find(|tag| tag.key() == Some("tinqs-ci/hold"));
        found.and_then(|tag| tag.value().map(str::to_owned))
    };
    let mut attempt = attempt(1);
    assert_eq!(hold(&attempt), None);
    attempt.boot.hold = SignedDuration::from_mins(30);
    assert_eq!(hold(&attempt), Some("30m".to_owned()));
}

#[test]
fn one_call_requests_everything() {
    let asked = input(&attempt(1), &[]);
    assert_eq!((asked.min_count(), asked.max_count()), (Some(1), Some(1)));
    assert_eq!(asked.client_token(), Some("tq-job-7-0a1b2c3d-3-0-9d1dbc"));
    assert!(asked.client_token().unwrap().len() <= 64);
    assert_eq!((asked.image_id(), asked.subnet_id()), (Some("ami-1"), Some("subnet-1")));
    assert_eq!(asked.instance_type().map(InstanceType::as_str), Some("c7a.medium"));
    assert_eq!(asked.security_group_ids(), ["sg-1", "sg-2"]);
    assert_eq!(asked.iam_instance_profile().and_then(|p| p.name()), Some("tinqs-ci-runner"));
    assert_eq!(asked.instance_initiated_shutdown_behavior(), Some(&ShutdownBehavior::Terminate));
    let metadata = asked.metadata_options().unwrap();
    assert_eq!(metadata.http_tokens(), Some(&HttpTokensState::Required));
    assert_eq!(metadata.http_put_response_hop_limit(), Some(1));
    assert_eq!(metadata.http_endpoint(), Some(&InstanceMetadataEndpointState::Enabled));
    assert_eq!(metadata.instance_metadata_tags(), Some(&InstanceMetadataTagsState::Disabled));
    let market = asked.instance_market_options().unwrap();
    assert_eq!(market.market_type(), Some(&MarketType::Spot));
    let spot = market.spot_options().unwrap();
    assert_eq!(spot.spot_instance_type(), Some(&SpotInstanceType::OneTime));
    assert_eq!(
        spot.instance_interruption_behavior(),
        Some(&InstanceInterruptionBehavior::Terminate)
    );
    assert_eq!(spot.max_price(), None);
    assert_eq!(asked.credit_specification(), None);
    let tagged: Vec<&str> = asked
        .tag_specifications()
        .iter()
        .filter_map(|t| Some(t.resource_type()?.as_str()))
        .collect();
    assert_eq!(tagged, ["instance", "volume", "network-interface", "spot-instances-request"]);
    let tags: Vec<(&str, &str)> = asked.tag_specifications()[0]
        .tags()
        .iter()
        .filter_map(|tag| Some((tag.key()?, tag.value()?)))
        .collect();
    let expected = [
        ("tinqs-ci", "tinqs-ci"),
        ("tinqs-ci/run", "job-7"),
        ("tinqs-ci/uid", "0a1b2c3d"),
        ("tinqs-ci/attempt", "tq-job-7-0a1b2c3d-3"),
        ("tinqs-ci/placement", "0"),
        ("tinqs-ci/registration", "4711"),
        ("tinqs-ci/deadline", "2026-01-02T09:04:05Z"),
        ("tinqs-ci/class", "linux"),
        ("Name", "tq-job-7-0a1b2c3d-3-0"),
        ("tinqs-ci/start-by", "2026-01-02T03:14:05Z"),
        ("tinqs-ci/idle-within", "2m"),
    ];
    assert_eq!(tags, expected);
    for other in &asked.tag_specifications()[1..] {
        assert_eq!(other.tags(), asked.tag_specifications()[0].tags());
    }
    let script = STANDARD.decode(asked.user_data().unwrap()).unwrap();
    assert_eq!(String::from_utf8(script).unwrap(), boot::script(&attempt_id(), 0, &attempt(1)));
}

#[test]
fn an_on_demand_launch_sends_no_market_options() {
    let mut attempt = attempt(1);
    let machine = &mut attempt.placements[0].machine;
    machine.market = Market::OnDemand;
    machine.security_groups.clear();
    machine.instance_profile = "arn:aws:iam::123456789012:instance-profile/x".to_owned();
    let asked = input(&attempt, &[]);
    assert_eq!(asked.instance_market_options(), None);
    assert_eq!(asked.tag_specifications().len(), 3);
    assert!(asked.security_group_ids().is_empty());
    let profile = asked.iam_instance_profile().unwrap();
    assert_eq!((profile.name(), profile.arn().is_some()), (None, true));
    attempt.placements[0].machine.instance_profile.clear();
    assert_eq!(input(&attempt, &[]).iam_instance_profile(), None);
}

#[test]
fn burstable_machines_keep_the_default_credit_setting() {
    for kind in ["t2.micro", "t3.small", "t3a.small", "t4g.nano", "trn1.2xlarge"] {
        let mut attempt = attempt(1);
        attempt.placements[0].machine.kind = kind.to_owned();
        assert_eq!(input(&attempt, &[]).credit_specification(), None, "{kind}");
    }
}

#[test]
fn the_same_record_gives_the_same_bytes() {
    let disks = disks(&image(), &MachineOptions::default());
    assert_eq!(input(&attempt(1), &disks), input(&attempt(1), &disks));
}

#[test]
fn debug_output_and_tags_hold_no_secret() {
    let attempt_id = attempt_id();
    let attempt = attempt(1);
    let ask = Ask::new("tinqs-ci", &attempt_id, 0, &attempt).unwrap();
    let encoded = STANDARD.encode(boot::script(&attempt_id, 0, &attempt));
    for shown in [format!("{ask:?}"), format!("{:?}", input(&attempt, &[]))] {
        assert!(!shown.contains("SECRET") && !shown.contains(&encoded[..40]), "{shown}");
    }
    let tags = format!("{:?}", input(&attempt, &[]).tag_specifications());
    assert!(!tags.contains("SECRET"), "{tags}");
}

/// An attempt with a label that makes the script exactly this long.
fn with_script_of(bytes: usize) -> Attempt {
    let mut attempt = attempt(1);
    let padded = |attempt: &mut Attempt, length: usize| {
        attempt.runner.labels = vec![format!("{}:host", "x".repeat(length))];
        boot::script(&attempt_id(), 0, attempt).len()
    };
    let rest = padded(&mut attempt, 1) - 1;
    assert_eq!(padded(&mut attempt, bytes - rest), bytes);
    attempt
}

#[test]
fn oversized_user_data_is_refused_before_it_is_sent() {
    let attempt_id = attempt_id();
    let fits = with_script_of(USER_DATA_LIMIT);
    assert!(Ask::new("tinqs-ci", &attempt_id, 0, &fits).is_ok());
    let error =
        Ask::new("tinqs-ci", &attempt_id, 0, &with_script_of(USER_DATA_LIMIT + 1)).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Invalid);
    assert!(error.message.contains("16385") && !error.message.contains("SECRET"), "{error}");
    assert!(error.message.contains(", identity with its labels "), "{error}");
}

#[test]
fn an_incomplete_launch_is_invalid_and_names_the_key() {
    type Change = fn(&mut MachineSpec);
    let attempt_id = attempt_id();
    assert_eq!(Ask::new("x", &attempt_id, 1, &attempt(1)).unwrap_err().kind, ErrorKind::Invalid);
    let without: [(Change, &str); 3] = [
        (|machine| machine.image.clear(), "`image`"),
        (|machine| machine.kind.clear(), "`kinds`"),
        (|machine| machine.subnet.clear(), "`subnets`"),
    ];
    for (change, named) in without {
        let mut attempt = attempt(1);
        change(&mut attempt.placements[0].machine);
        let error = Ask::new("x", &attempt_id, 0, &attempt).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Invalid);
        assert!(error.message.contains(named), "{error}");
    }
}

fn image() -> Image {
    let disk = |name: &str| {
        let ebs = EbsBlockDevice::builder()
            .snapshot_id("snap-1")
            .volume_size(8)
            .delete_on_termination(false);
        BlockDeviceMapping::builder().device_name(name).ebs(ebs.build()).build()
    };
    Image::builder()
        .image_id("ami-1")
        .root_device_name("/dev/xvda")
        .block_device_mappings(disk("/dev/xvda"))
        .block_device_mappings(disk("/dev/sdf"))
        .block_device_mappings(
            BlockDeviceMapping::builder()
                .device_name("/dev/sdb")
                .virtual_name("ephemeral0")
                .build(),
        )
        .build()
}

#[test]
fn disks_are_encrypted_and_deleted_with_the_machine() {
    let none = MachineOptions::default();
    let disks = disks(&image(), &none);
    let told: Vec<_> = disks
        .iter()
        .map(|disk| {
            let ebs = disk.ebs().unwrap();
            (
                disk.device_name().unwrap(),
                ebs.volume_type().map(VolumeType::as_str),
                ebs.encrypted(),
                ebs.delete_on_termination(),
                ebs.volume_size(),
                ebs.snapshot_id(),
            )
        })
        .collect();
    let yes = Some(true);
    assert_eq!(
        told,
        [
            ("/dev/xvda", Some("gp3"), yes, yes, Some(8), None),
            ("/dev/sdf", None, yes, yes, Some(8), None)
        ]
    );
    assert!(super::super::disks::disks(&Image::builder().build(), &none).is_empty());
    let bare = Image::builder().root_device_name("/dev/sda1").root_device_type(DeviceType::Ebs);
    let disks = super::super::disks::disks(&bare.build(), &none);
    assert_eq!(disks[0].device_name(), Some("/dev/sda1"));
    assert_eq!(disks[0].ebs().and_then(EbsBlockDevice::volume_type), Some(&VolumeType::Gp3));
}

#[test]
fn options_of_disks_are_those_of_the_root_disk_and_encryption_is_of_all() {
    let key = "arn:aws:kms:eu-central-1:111122223333:key/0a1b";
    let options = MachineOptions {
        disk_gib: Some(40),
        disk_iops: Some(4_000),
        disk_throughput: Some(250),
        disk_encryption: DiskEncryption::Key(key.to_owned()),
        ..MachineOptions::default()
    };
    let disks = |options: &MachineOptions| {
        let disks = disks(&image(), options);
        disks.iter().map(|disk| disk.ebs().unwrap().clone()).collect::<Vec<_>>()
    };
    let told = |ebs: &EbsBlockDevice| (ebs.volume_size(), ebs.iops(), ebs.throughput());
    let [root, other] = &disks(&options)[..] else { panic!("two disks") };
    assert_eq!(told(root), (Some(40), Some(4_000), Some(250)));
    assert_eq!(told(other), (Some(8), None, None));
    for ebs in [root, other] {
        assert_eq!((ebs.encrypted(), ebs.kms_key_id()), (Some(true), Some(key)));
        assert_eq!(ebs.delete_on_termination(), Some(true));
    }
    let plain =
        MachineOptions { disk_encryption: DiskEncryption::NotAsked, ..MachineOptions::default() };
    for ebs in disks(&plain) {
        assert_eq!((ebs.encrypted(), ebs.kms_key_id()), (None, None));
    }
}

#[test]
fn a_launch_template_is_named_with_its_version() {
    let mut attempt = attempt(1);
    assert_eq!(input(&attempt, &[]).launch_template(), None);
    let template = LaunchTemplate { id: "lt-0123".to_owned(), version: 7 };
    attempt.placements[0].machine.options.launch_template = Some(template);
    let asked = input(&attempt, &[]);
    let named = asked.launch_template().unwrap();
    assert_eq!((named.launch_template_id(), named.version()), (Some("lt-0123"), Some("7")));
    // What a template may not decide is in the request all the same.
    assert!(asked.metadata_options().is_some() && asked.user_data().is_some());
    assert_eq!((asked.image_id(), asked.subnet_id()), (Some("ami-1"), Some("subnet-1")));
}

#[test]
fn tags_of_the_class_follow_ours_and_never_replace_them() {
    let mut attempt = attempt(1);
    attempt.runner.repo_id = 5;
    attempt.boot.hold = SignedDuration::from_mins(30);
    let ours = tags::write("tinqs-ci", &attempt_id(), 0, &attempt);
    assert_eq!(ours.len() + MachineOptions::MOST_TAGS, 50, "EC2 takes 50");
    let options = &mut attempt.placements[0].machine.options;
    for key in ["CostCenter", "Name", "tinqs-ci", "tinqs-ci/run", "tinqs-ci/new"] {
        options.tags.insert(key.to_owned(), "x".to_owned());
    }
    let written = tags::write("tinqs-ci", &attempt_id(), 0, &attempt);
    let own = aws_sdk_ec2::types::Tag::builder().key("CostCenter").value("x").build();
    assert_eq!(written, [ours, vec![own]].concat());
    let asked = input(&attempt, &[]);
    assert!(asked.tag_specifications().iter().all(|tagged| *tagged.tags() == *written));
    assert!(tags::read("tinqs-ci", &written).is_some());
}

#[test]
fn an_address_is_asked_for_with_an_interface_that_has_subnet_and_groups() {
    for is_public in [true, false] {
        let mut attempt = attempt(1);
        attempt.placements[0].machine.options.public_address = Some(is_public);
        let asked = input(&attempt, &[]);
        assert_eq!((asked.subnet_id(), asked.security_group_ids().len()), (None, 0));
        let [interface] = asked.network_interfaces() else { panic!("one interface") };
        assert_eq!(interface.associate_public_ip_address(), Some(is_public));
        assert_eq!((interface.device_index(), interface.subnet_id()), (Some(0), Some("subnet-1")));
        assert_eq!(interface.groups(), ["sg-1", "sg-2"]);
        assert_eq!(interface.delete_on_termination(), Some(true));
    }
    assert!(input(&attempt(1), &[]).network_interfaces().is_empty());
}

#[test]
fn credits_are_sent_for_kinds_that_have_some() {
    for (kind, sent) in [("t3.small", Some("unlimited")), ("c7a.medium", None), ("trn1.2x", None)] {
        let mut attempt = attempt(1);
        let machine = &mut attempt.placements[0].machine;
        machine.kind = kind.to_owned();
        machine.options.cpu_credits = Some(CpuCredits::Unlimited);
        let asked = input(&attempt, &[]);
        let credits = asked.credit_specification().and_then(|asked| asked.cpu_credits());
        assert_eq!(credits, sent, "{kind}");
    }
}

#[test]
fn a_second_hop_is_allowed_only_if_the_class_asks_for_it() {
    let mut attempt = attempt(1);
    attempt.placements[0].machine.options.hop_limit = Some(2);
    let asked = input(&attempt, &[]);
    let metadata = asked.metadata_options().unwrap();
    assert_eq!(metadata.http_put_response_hop_limit(), Some(2));
    assert_eq!(metadata.http_tokens(), Some(&HttpTokensState::Required));
}
