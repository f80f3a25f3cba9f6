//! Options of the machines of a class in EC2.

use expect_test::{Expect, expect};
use tinqs_ci::settings::{LaunchRate, Loaded};
use tinqs_ci_reconciler::model::{
    Allocation, CpuCredits, DiskEncryption, LaunchTemplate, MachineOptions,
};

use crate::{bad_top, good, parse, with};

/// Nine lines, then the options of a class with two machine specs in EC2.
fn class(options: &str) -> String {
    format!(
        "compute = \"ec2:eu-central-1\"\n[[class]]\nname = \"a\"\nlabels = [\"a\"]\n\
         [class.machines]\nimage = \"ami-1\"\nkinds = [\"c7a.medium\", \"t3.small\"]\n\
         subnets = [\"subnet-a\"]\nsecurity_groups = [\"sg-1\"]\n{options}"
    )
}

fn loaded(options: &str) -> Loaded {
    good(&with(&class(options)), &[("HOME_TOKEN", "long-token")])
}

fn options(text: &str) -> MachineOptions {
    let Loaded { settings, .. } = loaded(text);
    let machines = &settings.classes[0].machines;
    assert_eq!(machines.len(), 2);
    assert_eq!(machines[0].options, machines[1].options);
    machines[0].options.clone()
}

#[track_caller]
fn refused(options: &str, expected: &Expect) {
    bad_top(&class(options), expected);
}

#[test]
fn nothing_is_asked_for_by_default() {
    assert!(options("").is_default());
}

#[test]
fn disks_have_a_size_a_speed_and_a_key() {
    let text = "disk_gib = 40\ndisk_iops = 4000\ndisk_throughput = 1000\ndisk_encryption = true";
    let expected = MachineOptions {
        disk_gib: Some(40),
        disk_iops: Some(4_000),
        disk_throughput: Some(1_000),
        ..MachineOptions::default()
    };
    assert_eq!(options(text), expected);
    assert_eq!(options("disk_encryption = false").disk_encryption, DiskEncryption::NotAsked);
    let arn = "arn:aws:kms:eu-central-1:111122223333:key/0a1b";
    let keyed = options(&format!("disk_encryption = \"{arn}\""));
    assert_eq!(keyed.disk_encryption, DiskEncryption::Key(arn.to_owned()));
    // A small disk may have the speed that every disk has.
    assert_eq!(options("disk_gib = 1\ndisk_iops = 3000").disk_iops, Some(3_000));
}

#[test]
fn a_disk_that_ec2_refuses_is_a_mistake() {
    refused(
        "disk_gib = 0\ndisk_iops = 2999\ndisk_throughput = \"fast\"\ndisk_encryption = \"alias/ci\"",
        &expect![[r#"
            ci.toml:10: class "a": machines.disk_gib: 0 is not valid: from 1 to 65536
            ci.toml:11: class "a": machines.disk_iops: 2999 is not valid: from 3000 to 80000
            ci.toml:12: class "a": machines.disk_throughput: expected a whole number from 125 to 2000, not a string
            ci.toml:13: class "a": machines.disk_encryption: "alias/ci" is not valid: expected true, false, or the ARN of a KMS key such as "arn:aws:kms:eu-central-1:111122223333:key/0a1b""#]],
    );
    refused(
        "disk_gib = 8\ndisk_iops = 4001\ndisk_throughput = 1001\ndisk_encryption = 1",
        &expect![[r#"
            ci.toml:11: class "a": machines.disk_iops: 4001 is too many for 8 GiB, which may have 4000: lower it, or raise `disk_gib`
            ci.toml:12: class "a": machines.disk_throughput: 1001 is too much for 4001 operations per second, which may have 1000 MiB/s: lower it, or set `disk_iops` to 4004
            ci.toml:13: class "a": machines.disk_encryption: expected true, false, or the ARN of a KMS key such as "arn:aws:kms:eu-central-1:111122223333:key/0a1b", not a number"#]],
    );
    refused(
        "disk_throughput = 751",
        &expect![[r#"
            ci.toml:10: class "a": machines.disk_throughput: 751 is too much for 3000 operations per second, which may have 750 MiB/s: lower it, or set `disk_iops` to 3004"#]],
    );
}

#[test]
fn tags_are_kept_beside_ours() {
    let kept = options("tags = { CostCenter = \"ci\", \"Über uns\" = \"\" }").tags;
    let kept: Vec<_> = kept.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    assert_eq!(kept, [("CostCenter", "ci"), ("Über uns", "")]);
}

#[test]
fn tags_that_are_ours_or_that_ec2_refuses_are_mistakes() {
    let long = "x".repeat(257);
    refused(
        &format!(
            "[class.machines.tags]\nname = \"a\"\n\"Tinqs-CI/run\" = \"a\"\n\"aws:x\" = \"a\"\n\
             \"a;b\" = \"a\"\nOk = \"a\\nb\"\nLong = \"{long}\"\nNumber = 5\n\"\" = \"a\""
        ),
        &expect![[r#"
            ci.toml:11: class "a": machines.tags.name: is set by tinqs-ci, to the attempt: choose another key
            ci.toml:12: class "a": machines.tags.Tinqs-CI/run: begins with `tinqs-ci`, which is tinqs-ci's: choose another key
            ci.toml:13: class "a": machines.tags.aws:x: begins with `aws:`, which is AWS's: choose another key
            ci.toml:14: class "a": machines.tags.a;b: has ";" in its key: expected letters, digits, spaces and + - = . _ : / @
            ci.toml:15: class "a": machines.tags.Ok: has "\n" in its value: expected letters, digits, spaces and + - = . _ : / @
            ci.toml:16: class "a": machines.tags.Long: has a value of 257 characters: at most 256
            ci.toml:17: class "a": machines.tags.Number: expected a string, not a number
            ci.toml:18: class "a": machines.tags."": is an empty key: expected 1 to 128 characters"#]],
    );
    let many: Vec<String> = (0..39).map(|n| format!("T{n} = \"\"")).collect();
    refused(
        &format!("tags = {{ {} }}", many.join(", ")),
        &expect![[r#"ci.toml:10: class "a": machines.tags: are 39: EC2 takes 37 beside ours"#]],
    );
    refused(
        "tags = \"CostCenter\"",
        &expect![[r#"
            ci.toml:10: class "a": machines.tags: expected a table of tags such as { CostCenter = "ci" }, not a string"#]],
    );
}

#[test]
fn a_public_address_is_asked_for_only_if_it_is_set() {
    assert_eq!(options("").public_address, None);
    assert_eq!(options("public_address = true").public_address, Some(true));
    assert_eq!(options("public_address = false").public_address, Some(false));
    refused(
        "public_address = \"no\"",
        &expect![[r#"
            ci.toml:10: class "a": machines.public_address: expected true or false, not a string"#]],
    );
}

#[test]
fn credits_are_those_of_t_kinds() {
    let credits = |word: &str| format!("cpu_credits = \"{word}\"");
    assert_eq!(options("").cpu_credits, None);
    assert_eq!(options(&credits("standard")).cpu_credits, Some(CpuCredits::Standard));
    assert_eq!(options(&credits("unlimited")).cpu_credits, Some(CpuCredits::Unlimited));
    refused(
        &credits("unlimitd"),
        &expect![[r#"
            ci.toml:10: class "a": machines.cpu_credits: "unlimitd" is not valid: expected "unlimited" or "standard"; did you mean "unlimited"?"#]],
    );
    let none = class(&credits("standard")).replace(", \"t3.small\"", "");
    bad_top(
        &none,
        &expect![[r#"
            ci.toml:10: class "a": machines.cpu_credits: has no effect: only T kinds such as t3.small have CPU credits; remove it"#]],
    );
    // The warning that T kinds have credits says what this mode means, or that none is chosen.
    let warned = |text: &str| {
        let warnings = loaded(text).warnings;
        warnings.into_iter().find(|warning| warning.contains("burstable")).unwrap_or_default()
    };
    assert!(warned("").contains("`cpu_credits` says which is meant"), "{}", warned(""));
    let standard = warned(&credits("standard"));
    assert!(standard.contains("starts at a fraction of its CPU"), "{standard}");
    assert_eq!(warned(&credits("unlimited")), "");
}

#[test]
fn a_second_hop_is_a_warning_and_a_third_a_mistake() {
    let warned = |text: &str| {
        let warnings = loaded(text).warnings;
        warnings.into_iter().find(|warning| warning.contains("hop_limit"))
    };
    assert_eq!((options("").hop_limit, warned("")), (None, None));
    assert_eq!((options("hop_limit = 1").hop_limit, warned("hop_limit = 1")), (None, None));
    assert_eq!(options("hop_limit = 2").hop_limit, Some(2));
    expect![[r#"
        ci.toml:10: class "a": machines.hop_limit: lets a job in a container read the user data and the rights of its machine; 1 does not"#]]
    .assert_eq(&warned("hop_limit = 2").unwrap_or_default());
    refused(
        "hop_limit = 3",
        &expect![[r#"
            ci.toml:10: class "a": machines.hop_limit: 3 is not valid: from 1 to 2"#]],
    );
}

#[test]
fn a_launch_template_has_a_fixed_version() {
    assert_eq!(options("").launch_template, None);
    let template = LaunchTemplate { id: "lt-0123abc".to_owned(), version: 12 };
    assert_eq!(options("launch_template = \"lt-0123abc:12\"").launch_template, Some(template));
    refused(
        "launch_template = \"lt-0123:$Latest\"",
        &expect![[r#"
            ci.toml:10: class "a": machines.launch_template: "lt-0123:$Latest" is not fixed: another version may be meant when a launch is repeated, and EC2 refuses a repeated launch that differs; write the number of the version, such as "lt-0123:7""#]],
    );
    refused(
        "launch_template = \"lt-0123:$Default\"",
        &expect![[r#"
            ci.toml:10: class "a": machines.launch_template: "lt-0123:$Default" is not fixed: another version may be meant when a launch is repeated, and EC2 refuses a repeated launch that differs; write the number of the version, such as "lt-0123:7""#]],
    );
    for text in ["lt-0123", "lt-0123:", "lt-0123:0", "lt-0123:07", "lt-:1", "runners:1", "lt-A:1"] {
        let expected = format!(
            "ci.toml:10: class \"a\": machines.launch_template: \"{text}\" is not valid: expected a \
             launch template and the number of its version such as \"lt-0123456789abcdef0:7\""
        );
        let text = with(&class(&format!("launch_template = \"{text}\"")));
        let mistakes = parse(&text, &[("HOME_TOKEN", "long-token")]).expect_err("it is wrong");
        assert_eq!(mistakes.to_string(), expected);
    }
}

#[test]
fn machines_are_tried_as_listed_or_by_price() {
    let allocation = |options: &str| loaded(options).settings.classes[0].allocation;
    for options in ["", "allocation = \"order\""] {
        assert_eq!(allocation(options), Allocation::Order);
    }
    assert_eq!(allocation("allocation = \"price\""), Allocation::Price);
    let warned = |options: &str| {
        let warnings = loaded(options).warnings;
        warnings.into_iter().find(|warning| warning.contains("allocation"))
    };
    expect![[r#"
        ci.toml:10: class "a": machines.allocation: has no effect: the class has no spot machine"#]]
    .assert_eq(&warned("allocation = \"price\"").unwrap_or_default());
    assert_eq!(warned("allocation = \"price\"\nmarkets = [\"spot\"]"), None);
    refused(
        "allocation = \"prices\"",
        &expect![[r#"
            ci.toml:10: class "a": machines.allocation: "prices" is not valid: expected "order" or "price"; did you mean "price"?"#]],
    );
}

#[test]
fn launches_have_a_rate_and_a_burst() {
    let launches = |text: &str| loaded(text).settings.launches;
    assert_eq!(launches(""), LaunchRate::default(), "those of the adapter");
    let set = LaunchRate { per_second: Some(9.5), burst: Some(30) };
    assert_eq!(launches("[aws]\nlaunch_rate = 9.5\nlaunch_burst = 30"), set);
    let whole = LaunchRate { per_second: Some(5.0), burst: None };
    assert_eq!(launches("[aws]\nlaunch_rate = 5"), whole);
    let variables = [
        ("HOME_TOKEN", "long-token"),
        ("TINQS_CI_AWS__LAUNCH_RATE", "9.5"),
        ("TINQS_CI_AWS__LAUNCH_BURST", "30"),
    ];
    assert_eq!(good(&with(&class("")), &variables).settings.launches, set);
    refused(
        "[aws]\nlaunch_rate = 0\nlaunch_burst = 0",
        &expect![[r#"
            ci.toml:11: aws.launch_rate: 0 is not valid: from 0.1 to 100
            ci.toml:12: aws.launch_burst: 0 is not valid: from 1 to 1000"#]],
    );
    refused(
        "[aws]\nlaunch_rate = \"fast\"\nlaunch_burst = 1.5",
        &expect![[r#"
            ci.toml:11: aws.launch_rate: expected a number from 0.1 to 100, not a string
            ci.toml:12: aws.launch_burst: expected a whole number from 1 to 1000, not a decimal number"#]],
    );
    refused(
        "[aws]\nlaunch_rate = nan",
        &expect![[r#"ci.toml:11: aws.launch_rate: NaN is not valid: from 0.1 to 100"#]],
    );
    let here = good(&with("[aws]\nlaunch_rate = 3.0"), &[("HOME_TOKEN", "long-token")]);
    let warned = here
        .warnings
        .iter()
        .any(|one| one == "ci.toml:2: aws.launch_rate: has no effect: machines run on this host");
    assert!(warned, "{:?}", here.warnings);
}

#[test]
fn an_image_may_be_named_by_a_parameter() {
    let text = with(&class("")).replace("\"ami-1\"", "\"ssm:/ci/image\"");
    let loaded = good(&text, &[("HOME_TOKEN", "long-token")]);
    assert_eq!(loaded.settings.classes[0].machines[0].image, "ssm:/ci/image");
    bad_top(
        &class("").replace("\"ami-1\"", "\"ssm:ci\""),
        &expect![[r#"
            ci.toml:6: class "a": machines.image: "ssm:ci" is not valid: expected an image ID such as "ami-0123456789abcdef0", or "ssm:/PATH" of a parameter that holds one"#]],
    );
}
