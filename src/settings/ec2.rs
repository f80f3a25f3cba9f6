//! Checks the settings for EC2 and SQS without calling AWS.

use reqwest::Url;
use tinqs_ci_reconciler::model::{CpuCredits, MachineSpec, Market};

use super::machine_options::options_of_variables;
use super::reader::Reader;
use super::runner;
use super::types::{AWS, ComputeUrl, QueueUrl};
use tinqs_ci_reconciler::text::cut;

/// Rejects `text` because this build has no AWS adapters.
pub(super) fn absent<T>(text: &str, instead: &str) -> Result<T, String> {
    let shown = cut(text, 60);
    Err(format!(
        "\"{shown}\" needs the AWS adapters, which this build lacks: build with `--features aws`, \
         or use {instead}"
    ))
}

/// Parses `ec2:REGION`.
pub(super) fn compute(text: &str, region: &str) -> Result<ComputeUrl, String> {
    if !AWS {
        return absent(text, "\"process:\" (or TINQS_CI_COMPUTE=process:)");
    }
    if region.is_empty() {
        return Err("has no region: set AWS_REGION, or write \"ec2:eu-central-1\" here".to_owned());
    }
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if !region.chars().all(plain) {
        return Err(format!(
            "\"{}\" is not a region: expected one such as \"eu-central-1\"",
            cut(region, 40)
        ));
    }
    Ok(ComputeUrl::Ec2(region.to_owned()))
}

/// Parses `sqs:URL`.
pub(super) fn queue(text: &str, url: &str) -> Result<QueueUrl, String> {
    if !AWS {
        return absent(text, "\"memory:\" (or TINQS_CI_QUEUE=memory:)");
    }
    let shown = cut(url, 80);
    let expected = "expected \"sqs:https://sqs.REGION.amazonaws.com/ACCOUNT/NAME\"";
    let parsed = Url::parse(url).ok().filter(|url| ["http", "https"].contains(&url.scheme()));
    let segments = parsed.as_ref().and_then(Url::path_segments);
    let segments = segments.map(|all| all.filter(|part| !part.is_empty()).count());
    if segments.is_none_or(|count| count < 2) {
        return Err(format!("\"{shown}\" is not a queue URL: {expected}"));
    }
    if std::path::Path::new(url).extension().is_some_and(|end| end == "fifo") {
        return Err(format!(
            "\"{shown}\" is a FIFO queue, where one message can block others: use a standard queue"
        ));
    }
    Ok(QueueUrl::Sqs(url.to_owned()))
}

/// Whether `text` is an ID such as `ami-0123`.
fn is_id(text: &str, prefix: &str) -> bool {
    let rest = text.strip_prefix(prefix).unwrap_or_default();
    !rest.is_empty() && rest.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
}

/// Whether `text` names a parameter of Systems Manager, perhaps with a version or a label.
fn is_parameter(text: &str) -> bool {
    let Some(name) = text.strip_prefix("ssm:") else { return false };
    let (path, version) = name.split_once(':').unwrap_or((name, "1"));
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let parts = path.strip_prefix('/').unwrap_or_default();
    name.len() <= 1_000
        && parts.split('/').all(|part| !part.is_empty() && part.chars().all(plain))
        && !version.is_empty()
        && version.chars().all(plain)
}

fn is_kind(text: &str) -> bool {
    let plain = |part: &str| {
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        !part.is_empty() && part.chars().all(fits)
    };
    text.split_once('.').is_some_and(|(family, size)| plain(family) && plain(size))
}

fn is_profile(text: &str) -> bool {
    let name = text.rsplit('/').next().unwrap_or_default();
    let fits = |c: char| c.is_ascii_alphanumeric() || "+=,.@_-".contains(c);
    let path = text.len() == name.len() || text.starts_with("arn:");
    path && (1..=128).contains(&name.len()) && name.chars().all(fits)
}

const IMAGE: &str = "expected an image ID such as \"ami-0123456789abcdef0\", or \"ssm:/PATH\" of a \
                     parameter that holds one";
const KIND: &str = "expected an instance type such as \"c7a.medium\"";
const SUBNET: &str = "expected a subnet ID such as \"subnet-0123456789abcdef0\"";
const GROUP: &str = "expected a security group ID such as \"sg-0123456789abcdef0\"";
const PROFILE: &str = "expected the name or ARN of an instance profile";

/// Lists the problems of a machine spec for EC2: the key, and the message.
fn problems(machine: &MachineSpec) -> Vec<(&'static str, String)> {
    let MachineSpec { kind, subnet, image, security_groups, instance_profile, .. } = machine;
    let mut found = Vec::new();
    let mut check = |fits: bool, key: &'static str, value: &str, expected: &str| {
        if !fits {
            found.push((key, format!("\"{}\" is not valid: {expected}", cut(value, 60))));
        }
    };
    check(is_id(image, "ami-") || is_parameter(image), "image", image, IMAGE);
    check(is_kind(kind), "kinds", kind, KIND);
    check(is_id(subnet, "subnet-"), "subnets", subnet, SUBNET);
    for group in security_groups {
        check(is_id(group, "sg-"), "security_groups", group, GROUP);
    }
    let profile = instance_profile;
    check(profile.is_empty() || is_profile(profile), "instance_profile", profile, PROFILE);
    found
}

/// Reports the problems of a class's machine specs for EC2.
pub(super) fn check(r: &Reader<'_>, machines: &[MachineSpec]) {
    let required = ["image", "kinds", "subnets"];
    for key in required.into_iter().filter(|key| !r.has(key)) {
        r.missing(key);
    }
    let mut reported: Vec<(&str, String)> = Vec::new();
    for problem in machines.iter().flat_map(problems) {
        if r.has(problem.0) && !reported.contains(&problem) {
            r.mistake(problem.0, &problem.1);
            reported.push(problem);
        }
    }
    if !r.has("security_groups") {
        r.warn("security_groups", "is not set: machines get the VPC's default group");
    }
    check_credits(r, machines);
}

/// Checks `cpu_credits`, and warns of what credits mean.
fn check_credits(r: &Reader<'_>, machines: &[MachineSpec]) {
    let burstable = machines.iter().find(|machine| machine.is_burstable());
    let asked = machines.first().and_then(|machine| machine.options.cpu_credits);
    let means = match (burstable, asked) {
        (None, None) | (Some(_), Some(CpuCredits::Unlimited)) => return,
        (None, Some(_)) => {
            let message =
                "has no effect: only T kinds such as t3.small have CPU credits; remove it";
            r.mistake("cpu_credits", message);
            return;
        }
        (Some(_), Some(CpuCredits::Standard)) => {
            "with `cpu_credits = \"standard\"` a new machine has no credits, and starts at a fraction \
             of its CPU"
        }
        (Some(_), None) => {
            "AWS bills CPU use beyond its credits (t2 is slowed down instead); `cpu_credits` says \
             which is meant"
        }
    };
    let kind = burstable.map(|machine| cut(&machine.kind, 30)).unwrap_or_default();
    let message = format!("{kind} is burstable: {means}; c and m families have no such limit");
    r.warn("kinds", &message);
}

/// Builds the machine specs of the predecessor's variables: spot, each type in each subnet.
pub(super) fn of_variables(top: &Reader<'_>) -> Vec<MachineSpec> {
    let list = |variable: &str| -> Vec<String> {
        let texts = top.variable(variable).unwrap_or_default().split(',');
        texts.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()).collect()
    };
    let text = |variable: &str| top.variable(variable).unwrap_or_default().trim().to_owned();
    for (variable, expected) in [("RUNNER_AMI", IMAGE), ("SUBNET", SUBNET)] {
        if text(variable).is_empty() {
            top.variable_mistake(variable, "compute", &format!("is not set: {expected}"));
        }
    }
    let mut kinds = list("INSTANCE_TYPES");
    if kinds.is_empty() {
        kinds.push("t3.small".to_owned());
    }
    let runner = runner::of_variables(top).map(Box::new);
    let options = options_of_variables(top);
    let mut machines = Vec::new();
    for kind in &kinds {
        for subnet in list("SUBNET") {
            machines.push(MachineSpec {
                kind: kind.clone(),
                subnet,
                market: Market::Spot,
                image: text("RUNNER_AMI"),
                security_groups: list("SECURITY_GROUP"),
                instance_profile: text("INSTANCE_PROFILE"),
                runner: runner.clone(),
                options: options.clone(),
            });
        }
    }
    let variable_of = |key: &str| match key {
        "image" => "RUNNER_AMI",
        "kinds" => "INSTANCE_TYPES",
        "subnets" => "SUBNET",
        "security_groups" => "SECURITY_GROUP",
        _ => "INSTANCE_PROFILE",
    };
    let mut reported: Vec<(&str, String)> = Vec::new();
    for problem in machines.iter().flat_map(problems) {
        let variable = variable_of(problem.0);
        if !text(variable).is_empty() && !reported.contains(&problem) {
            top.variable_mistake(variable, "compute", &problem.1);
            reported.push(problem);
        }
    }
    machines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_ids_kinds_and_profiles_are_rejected() {
        assert!(is_id("ami-0123", "ami-") && is_id("subnet-a", "subnet-"));
        for text in ["", "ami-", "ami-A", "sg-1", "ami-1 ", "ami-1;x"] {
            assert!(!is_id(text, "ami-"), "{text}");
        }
        for (text, fits) in [
            ("ssm:/ci/image", true),
            ("ssm:/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64", true),
            ("ssm:/ci/image:7", true),
            ("ssm:ci", false),
            ("ssm:/", false),
            ("ssm:/ci//x", false),
            ("ssm:/ci/image:", false),
            ("ssm:/a b", false),
            ("resolve:ssm:/ci", false),
        ] {
            assert_eq!(is_parameter(text), fits, "{text}");
        }
        for (text, fits) in [
            ("c7a.medium", true),
            ("u-6tb1.metal", true),
            ("c7i.metal-24xl", true),
            ("process", false),
            ("t3.", false),
            ("T3.small", false),
            ("a.b.c", false),
        ] {
            assert_eq!(is_kind(text), fits, "{text}");
        }
        for (text, fits) in [
            ("tinqs-ci-runner", true),
            ("arn:aws:iam::123456789012:instance-profile/a/b", true),
            ("a/b", false),
            ("a b", false),
        ] {
            assert_eq!(is_profile(text), fits, "{text}");
        }
    }

    #[cfg(feature = "aws")]
    #[test]
    fn invalid_queue_urls_and_regions_are_rejected() {
        let good = "https://sqs.eu-central-1.amazonaws.com/123456789012/wakes";
        for url in [good, "http://127.0.0.1:9324/000000000000/wakes"] {
            assert_eq!(queue("", url), Ok(QueueUrl::Sqs(url.to_owned())));
        }
        for url in ["", "wakes", "https://x", "https://x/wakes", "ftp://x/1/wakes"] {
            assert!(queue("", url).unwrap_err().contains("not a queue URL"), "{url}");
        }
        assert!(queue("", &format!("{good}.fifo")).unwrap_err().contains("FIFO"));
        assert_eq!(compute("", "eu-central-1"), Ok(ComputeUrl::Ec2("eu-central-1".to_owned())));
        for (region, why) in [("", "AWS_REGION"), ("EU", "not a region"), ("a/b", "not a region")] {
            assert!(compute("", region).unwrap_err().contains(why), "{region}");
        }
    }
}
