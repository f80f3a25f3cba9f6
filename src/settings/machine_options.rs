//! The options of `[class.machines]`, and `[aws]`, checked without calling AWS.

use std::collections::BTreeMap;

use tinqs_ci_reconciler::model::{CpuCredits, DiskEncryption, LaunchTemplate, MachineOptions};
use tinqs_ci_reconciler::text::cut;

use super::forge::not_of_form;
use super::keys::DISK_GIB;
use super::reader::Reader;
use super::tree::Value;
use super::types::{ComputeUrl, LaunchRate};

/// Operations per second of every gp3 volume.
const BASE_IOPS: u32 = 3_000;
/// The most operations per second for each GiB, beyond those of every volume.
const IOPS_PER_GIB: u32 = 500;
/// Operations per second that each MiB/s needs.
const IOPS_PER_MIB: u32 = 4;

/// The keys of options, which only EC2 knows.
const OPTIONS: &[&str] = &[
    "disk_gib",
    "disk_iops",
    "disk_throughput",
    "disk_encryption",
    "public_address",
    "cpu_credits",
    "hop_limit",
    "tags",
    "launch_template",
];

/// Reads the options of a class's machines.
pub(super) fn options(r: &Reader<'_>, in_ec2: bool) -> MachineOptions {
    let options = MachineOptions {
        disk_gib: r.count_in("disk_gib"),
        disk_iops: r.count_in("disk_iops"),
        disk_throughput: r.count_in("disk_throughput"),
        disk_encryption: disk_encryption(r),
        // One hop is the default, also if it is written.
        hop_limit: r.count_in("hop_limit").filter(|hops| *hops != 1),
        tags: tags(r),
        public_address: r.has("public_address").then(|| r.switch("public_address")),
        cpu_credits: r.text("cpu_credits").map(|word| match &*word {
            "standard" => CpuCredits::Standard,
            _ => CpuCredits::Unlimited,
        }),
        launch_template: r.parsed("launch_template", launch_template),
    };
    check_disk(r, &options);
    if in_ec2 && options.hop_limit.is_some() {
        let means = "lets a job in a container read the user data and the rights of its machine";
        r.warn("hop_limit", &format!("{means}; 1 does not"));
    }
    for key in OPTIONS.iter().filter(|key| !in_ec2 && r.has(key)) {
        r.warn(key, "has no effect: machines run on this host");
    }
    options
}

/// Reads `[aws]`.
pub(super) fn launch_rate(r: &Reader<'_>, compute: &ComputeUrl) -> LaunchRate {
    let in_ec2 = matches!(compute, ComputeUrl::Ec2(_));
    for key in ["launch_rate", "launch_burst"].into_iter().filter(|key| !in_ec2 && r.has(key)) {
        r.warn(key, "has no effect: machines run on this host");
    }
    LaunchRate { per_second: r.decimal_in("launch_rate"), burst: r.count_in("launch_burst") }
}

/// Reads the options that the predecessor's variables have.
pub(super) fn options_of_variables(top: &Reader<'_>) -> MachineOptions {
    let disk_gib = top.variable("DISK_GIB").and_then(|text| {
        let (least, most) = DISK_GIB;
        let gib = text.trim().parse::<u32>().ok().filter(|gib| (least..=most).contains(gib));
        if gib.is_none() {
            let expected = format!("expected a whole number from {least} to {most}");
            top.variable_mistake("DISK_GIB", "disk_gib", &expected);
        }
        gib
    });
    let public_address = top.variable("PUBLIC_ADDRESS").and_then(|text| {
        let is_public = text.trim().parse::<bool>().ok();
        if is_public.is_none() {
            top.variable_mistake("PUBLIC_ADDRESS", "public_address", "expected true or false");
        }
        is_public
    });
    MachineOptions { disk_gib, public_address, ..MachineOptions::default() }
}

/// Parses `lt-0123:7`.
fn launch_template(text: &str) -> Result<LaunchTemplate, String> {
    let Some((id, version)) = text.split_once(':') else { return not_of_form() };
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let rest = id.strip_prefix("lt-").unwrap_or_default();
    if rest.is_empty() || !rest.chars().all(fits) {
        return not_of_form();
    }
    if matches!(version, "$Latest" | "$Default") {
        let id = cut(id, 40);
        return Err(format!(
            "\"{id}:{version}\" is not fixed: another version may be meant when a launch is \
             repeated, and EC2 refuses a repeated launch that differs; write the number of the \
             version, such as \"{id}:7\""
        ));
    }
    let is_number = version.bytes().all(|digit| digit.is_ascii_digit());
    match version.parse::<u32>() {
        Ok(version @ 1..=999_999_999) if is_number && !text.contains(":0") => {
            Ok(LaunchTemplate { id: id.to_owned(), version })
        }
        _ => not_of_form(),
    }
}

fn disk_encryption(r: &Reader<'_>) -> DiskEncryption {
    let name = "disk_encryption";
    let Some(node) = r.node(name) else { return DiskEncryption::DefaultKey };
    match &node.value {
        Value::Switch(true) => DiskEncryption::DefaultKey,
        Value::Switch(false) => DiskEncryption::NotAsked,
        Value::Text(arn) => {
            if !is_key(arn) {
                r.not_of_form(name, arn);
            }
            DiskEncryption::Key(arn.clone())
        }
        _ => {
            r.wrong_type(name, node);
            DiskEncryption::DefaultKey
        }
    }
}

/// Whether `text` is the ARN of a KMS key, or of an alias of one.
fn is_key(text: &str) -> bool {
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    let &["arn", partition, "kms", region, account, resource] = parts.as_slice() else {
        return false;
    };
    let name = resource.strip_prefix("key/").or_else(|| resource.strip_prefix("alias/"));
    let all = |text: &str, fits: fn(char) -> bool| !text.is_empty() && text.chars().all(fits);
    all(partition, |c| c.is_ascii_lowercase() || c == '-')
        && all(region, |c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        && account.len() == 12
        && all(account, |c| c.is_ascii_digit())
        && name.is_some_and(|name| all(name, |c| c.is_ascii_alphanumeric() || "/_-".contains(c)))
}

/// Reports a speed that EC2 refuses for a disk of that size.
fn check_disk(r: &Reader<'_>, options: &MachineOptions) {
    let MachineOptions { disk_gib, disk_iops, disk_throughput, .. } = options;
    if let (Some(iops), Some(gib)) = (disk_iops, disk_gib)
        && *iops > BASE_IOPS.max(gib.saturating_mul(IOPS_PER_GIB))
    {
        let most = BASE_IOPS.max(gib.saturating_mul(IOPS_PER_GIB));
        let message = format!(
            "{iops} is too many for {gib} GiB, which may have {most}: lower it, or raise `disk_gib`"
        );
        r.mistake("disk_iops", &message);
    }
    let iops = disk_iops.unwrap_or(BASE_IOPS);
    if let Some(throughput) = disk_throughput
        && throughput.saturating_mul(IOPS_PER_MIB) > iops
    {
        let (needed, most) = (throughput.saturating_mul(IOPS_PER_MIB), iops / IOPS_PER_MIB);
        let message = format!(
            "{throughput} is too much for {iops} operations per second, which may have {most} \
             MiB/s: lower it, or set `disk_iops` to {needed}"
        );
        r.mistake("disk_throughput", &message);
    }
}

/// Reads the tags. Ours cannot be set.
fn tags(r: &Reader<'_>) -> BTreeMap<String, String> {
    let mut tags = BTreeMap::new();
    for (key, node) in r.entries("tags") {
        let name = format!("tags.{}", if key.is_empty() { "\"\"" } else { key });
        let value = match &node.value {
            Value::Text(value) => value,
            other => {
                r.mistake_at(&node.at, &name, &format!("expected a string, not {}", other.kind()));
                continue;
            }
        };
        if let Some(problem) = tag_problem(key, value) {
            r.mistake_at(&node.at, &name, &problem);
        }
        tags.insert(key.to_owned(), value.clone());
    }
    let most = MachineOptions::MOST_TAGS;
    if tags.len() > most {
        let message = format!("are {}: EC2 takes {most} beside ours", tags.len());
        r.mistake("tags", &message);
    }
    tags
}

/// Says what is wrong with a tag, and what to do.
fn tag_problem(key: &str, value: &str) -> Option<String> {
    // IAM compares keys without case.
    let lower = key.to_lowercase();
    if lower == "name" {
        return Some("is set by tinqs-ci, to the attempt: choose another key".to_owned());
    }
    for (prefix, whose) in [("tinqs-ci", "tinqs-ci"), ("aws:", "AWS")] {
        if lower.starts_with(prefix) {
            return Some(format!("begins with `{prefix}`, which is {whose}'s: choose another key"));
        }
    }
    if key.is_empty() {
        return Some("is an empty key: expected 1 to 128 characters".to_owned());
    }
    for (what, text, most) in [("key", key, 128), ("value", value, 256)] {
        let length = text.chars().count();
        if length > most {
            return Some(format!("has a {what} of {length} characters: at most {most}"));
        }
        let fits = |c: char| c.is_alphanumeric() || " +-=._:/@".contains(c);
        if let Some(odd) = text.chars().find(|c| !fits(*c)) {
            let odd = odd.escape_debug();
            return Some(format!(
                "has \"{odd}\" in its {what}: expected letters, digits, spaces and + - = . _ : / @"
            ));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_arns_of_kms_keys_and_aliases_are_keys() {
        for text in [
            "arn:aws:kms:eu-central-1:111122223333:key/0a1b2c3d-0000",
            "arn:aws-cn:kms:cn-north-1:111122223333:alias/ci/disks",
        ] {
            assert!(is_key(text), "{text}");
        }
        for text in [
            "",
            "alias/ci",
            "0a1b2c3d-0000",
            "arn:aws:kms:eu-central-1:1111:key/0a1b",
            "arn:aws:kms:eu-central-1:111122223333:key/",
            "arn:aws:kms:eu-central-1:111122223333:grant/0a1b",
            "arn:aws:kms:eu-central-1:111122223333:key/a:b",
            "arn:aws:iam::111122223333:role/x",
        ] {
            assert!(!is_key(text), "{text}");
        }
    }
}
