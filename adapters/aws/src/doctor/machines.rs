//! Checks that the resources each class names exist and fit together.

use std::collections::{BTreeMap, BTreeSet};

use aws_config::SdkConfig;
use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{
    ArchitectureType, Image, ImageState, InstanceTypeInfo, IpPermission, ProcessorInfo,
    SecurityGroup, Subnet, UsageClassType,
};
use jiff::Timestamp;
use tinqs_ci_reconciler::model::{Class, MachineSpec, Market};

use super::account::Account;
use super::routes::{self, Verdict, Way};
use super::{failed, launch, quota};
use crate::Config;
use crate::client;
use crate::ec2::{Images, inspect_template, templates_of};
use crate::ssm::Parameters;
use tinqs_ci_reconciler::ports::check::{Check, Outcome};
use tinqs_ci_reconciler::text::cut;

const IMAGE: &str = "class: image";
const SUBNETS: &str = "class: subnets";
const GROUPS: &str = "class: groups";
const KINDS: &str = "class: kinds";
const TEMPLATE: &str = "class: launch template";

/// Machines that a class without a limit is assumed to run at once.
const USUAL: i64 = 10;

pub(super) async fn checks(config: &SdkConfig, configured: &Config) -> Vec<Check> {
    let (classes, without_image) = with_images(config, &configured.classes).await;
    let client = client::ec2(config);
    let (account, mut checks) = match Account::inspect(&client, &classes).await {
        Ok(seen) => seen,
        Err(check) => return vec![check],
    };
    checks.extend(without_image);
    let mut tries = launch::DryRuns::new(client::ec2_launch(config), &configured.installation);
    for class in &classes {
        let mut of_class = class_checks(class, &account);
        of_class.extend(template_checks(&client, class).await);
        let is_sound = of_class.iter().all(|check| check.outcome != Outcome::Fail);
        checks.extend(of_class);
        checks.extend(if is_sound {
            tries.checks(class, account.images.as_ref()).await
        } else {
            vec![launch::not_tried(class)]
        });
        checks.extend(quota::check(class, account.kinds.as_ref()));
    }
    checks
}

/// Returns the classes with the images that their names stand for, and the checks of those classes
/// whose image stands for none.
async fn with_images(config: &SdkConfig, classes: &[Class]) -> (Vec<Class>, Vec<Check>) {
    let (images, parameters) = (Images::default(), Parameters::new(config));
    let (mut known, mut checks) = (Vec::new(), Vec::new());
    for class in classes {
        let mut class = class.clone();
        let mut failed = None;
        for machine in &mut class.machines {
            match images.of(&parameters, &machine.image, Timestamp::now()).await {
                Ok(image) => machine.image = image,
                Err(error) => failed = Some(error),
            }
        }
        match failed {
            None => known.push(class),
            Some(error) => {
                let fix = "create the parameter, allow ssm:GetParameter on it, or set an image ID";
                let message = format!("{}: {}", class.name, error.message);
                checks.extend([Check::fail(IMAGE, message, fix), launch::not_tried(&class)]);
            }
        }
    }
    (known, checks)
}

fn distinct<'c>(class: &'c Class, of: impl Fn(&'c MachineSpec) -> &'c str) -> Vec<&'c str> {
    let all: BTreeSet<&str> = class.machines.iter().map(of).collect();
    all.into_iter().filter(|name| !name.is_empty()).collect()
}

fn class_checks(class: &Class, account: &Account) -> Vec<Check> {
    let mut checks = Vec::new();
    if let Some(images) = &account.images {
        for id in distinct(class, |machine| &machine.image) {
            checks.push(image_check(class, id, images.get(id)));
        }
    }
    let ids = distinct(class, |machine| &machine.subnet);
    let mut subnets = Vec::new();
    if let Some(known) = &account.subnets {
        subnets = ids.iter().filter_map(|id| known.get(*id)).collect();
        checks.push(subnet_check(class, &ids, &subnets, account.ways.as_ref()));
    }
    if let Some(known) = &account.groups {
        let all = class.machines.iter().flat_map(|machine| &machine.security_groups);
        let ids: BTreeSet<&str> = all.map(String::as_str).collect();
        let groups: Vec<&SecurityGroup> = ids.iter().filter_map(|id| known.get(*id)).collect();
        checks.extend(group_check(class, &ids, &groups, &subnets));
    }
    checks.extend(kind_checks(class, account));
    checks
}

/// Checks that the class's launch template exists and sets nothing that is ours.
async fn template_checks(client: &Client, class: &Class) -> Vec<Check> {
    let mut checks = Vec::new();
    for used in templates_of(class) {
        checks.push(match inspect_template(client, &used).await {
            Ok(()) => {
                let (name, template) = (&class.name, &used.template);
                let message = format!("{name}: {template} sets nothing that is ours");
                Check::ok(TEMPLATE, message)
            }
            Err(error) => {
                failed(TEMPLATE, &class.name.0, "ec2:DescribeLaunchTemplateVersions", &error)
            }
        });
    }
    checks
}

fn image_check(class: &Class, id: &str, image: Option<&Image>) -> Check {
    let name = &class.name;
    let Some(image) = image else {
        return Check::fail(
            IMAGE,
            format!(
                "{name}: image {id} does not exist in this region, or this account may not use it"
            ),
            "check `image` (RUNNER_AMI); copy an image of another region to this one",
        );
    };
    let architecture = image.architecture().map_or("?", |a| a.as_str());
    let called = cut(image.name().unwrap_or("without a name"), 80);
    match image.state() {
        Some(ImageState::Available) => {
            Check::ok(IMAGE, format!("{name}: {id} is available: {called}, {architecture}"))
        }
        state => Check::fail(
            IMAGE,
            format!("{name}: {id} is {}", state.map_or("in no state", ImageState::as_str)),
            "wait until it is available, or set another `image` (RUNNER_AMI)",
        ),
    }
}

/// Returns `names are` or `name is`.
fn are(names: &[&str]) -> String {
    let verb = if names.len() == 1 { "is" } else { "are" };
    format!("{} {verb}", names.join(", "))
}

fn subnet_check(
    class: &Class,
    ids: &[&str],
    subnets: &[&Subnet],
    ways: Option<&BTreeMap<String, Way>>,
) -> Check {
    let name = &class.name;
    let there = |id: &&&str| subnets.iter().any(|subnet| subnet.subnet_id() == Some(**id));
    let missing: Vec<&str> = ids.iter().filter(|id| !there(id)).copied().collect();
    if !missing.is_empty() {
        return Check::fail(
            SUBNETS,
            format!("{name}: {} not in this account and region", are(&missing)),
            "check `subnets` (SUBNET)",
        );
    }
    let free = |subnet: &Subnet| i64::from(subnet.available_ip_address_count().unwrap_or(0));
    let told = subnets.iter().map(|subnet| {
        let (id, zone) = (subnet.subnet_id().unwrap_or("?"), subnet.availability_zone());
        format!("{id} in {} with {} free addresses", zone.unwrap_or("?"), free(subnet))
    });
    let mut message = format!("{name}: {}", told.collect::<Vec<_>>().join(", "));
    let asked = class.machines.first().and_then(|machine| machine.options.public_address);
    let verdict = routes::judged(subnets, ways, asked);
    if verdict == Verdict::Private {
        message += "; machines get no public address and need a NAT or endpoint to reach the forge";
    }
    let all: i64 = subnets.iter().map(|subnet| free(subnet)).sum();
    if all < class.limit.map_or(USUAL, i64::from) {
        let fix = "add a subnet, or lower the class's `limit`: each machine takes an address";
        return Check::warn(SUBNETS, message, fix);
    }
    match verdict {
        Verdict::Fine | Verdict::Private => Check::ok(SUBNETS, message),
        Verdict::Wrong(why) => {
            let fix = "route 0.0.0.0/0 of the subnet to a NAT gateway, or to an internet gateway and \
                       give machines a `public_address`; ignore this if the forge and all downloads \
                       are in the network";
            Check::warn(SUBNETS, format!("{message}; {why}"), fix)
        }
    }
}

/// Whether a rule admits every address.
fn is_open(permissions: &[IpPermission]) -> bool {
    permissions.iter().any(|permission| {
        permission.ip_ranges().iter().any(|range| range.cidr_ip() == Some("0.0.0.0/0"))
            || permission.ipv6_ranges().iter().any(|range| range.cidr_ipv6() == Some("::/0"))
    })
}

fn group_check(
    class: &Class,
    ids: &BTreeSet<&str>,
    groups: &[&SecurityGroup],
    subnets: &[&Subnet],
) -> Option<Check> {
    let name = &class.name;
    if ids.is_empty() {
        // The configuration has warned about the default group already.
        return None;
    }
    let there = |id: &&&str| groups.iter().any(|group| group.group_id() == Some(**id));
    let missing: Vec<&str> = ids.iter().filter(|id| !there(id)).copied().collect();
    if !missing.is_empty() {
        return Some(Check::fail(
            GROUPS,
            format!("{name}: {} not in this account and region", are(&missing)),
            "check `security_groups` (SECURITY_GROUP)",
        ));
    }
    for group in groups {
        let id = group.group_id().unwrap_or("?");
        if let Some(subnet) = subnets.iter().find(|subnet| subnet.vpc_id() != group.vpc_id()) {
            let (other, vpc) = (subnet.subnet_id().unwrap_or("?"), group.vpc_id().unwrap_or("?"));
            return Some(Check::fail(
                GROUPS,
                format!("{name}: {id} belongs to {vpc}, and {other} does not"),
                "use groups and subnets of one VPC, or split the class in two",
            ));
        }
        if is_open(group.ip_permissions()) {
            return Some(Check::warn(
                GROUPS,
                format!("{name}: {id} admits inbound traffic from everywhere"),
                "remove that rule: machines need no inbound traffic",
            ));
        }
    }
    let ids: Vec<&str> = ids.iter().copied().collect();
    let vpc = groups.first().and_then(|group| group.vpc_id()).unwrap_or("?");
    Some(Check::ok(GROUPS, format!("{name}: {} in {vpc}, like its subnets", are(&ids))))
}

fn kind_checks(class: &Class, account: &Account) -> Vec<Check> {
    let name = &class.name;
    let Some(known) = &account.kinds else { return Vec::new() };
    let (mut checks, mut good) = (Vec::new(), Vec::new());
    for kind in distinct(class, |machine| &machine.kind) {
        let Some(info) = known.get(kind) else {
            checks.push(Check::fail(
                KINDS,
                format!("{name}: instance type {kind} does not exist in this region"),
                "check `kinds` (INSTANCE_TYPES)",
            ));
            continue;
        };
        let problem = does_not_fit(class, kind, info, account)
            .or_else(|| is_not_sold(class, kind, info))
            .or_else(|| is_not_offered(class, kind, account));
        match problem {
            Some(check) => checks.push(check),
            None => good.push(kind),
        }
    }
    if !good.is_empty() {
        checks.push(Check::ok(
            KINDS,
            format!(
                "{name}: {}: offered in its zones, matches the image's architecture",
                good.join(", ")
            ),
        ));
    }
    checks
}

/// An image of another architecture does not boot.
fn does_not_fit(
    class: &Class,
    kind: &str,
    info: &InstanceTypeInfo,
    account: &Account,
) -> Option<Check> {
    let has: Vec<&str> = info
        .processor_info()
        .map(ProcessorInfo::supported_architectures)
        .unwrap_or_default()
        .iter()
        .map(ArchitectureType::as_str)
        .collect();
    let images = account.images.as_ref()?;
    let mut of_kind = class.machines.iter().filter(|machine| machine.kind == kind);
    let image = of_kind.find_map(|machine| images.get(&machine.image))?;
    let wants = image.architecture()?.as_str();
    (!has.is_empty() && !has.contains(&wants)).then(|| {
        Check::fail(
            KINDS,
            format!(
                "{}: {kind} is {}, and {} is {wants}",
                class.name,
                has.join(" or "),
                image.image_id().unwrap_or("its image")
            ),
            "use `kinds` and `image` of one architecture; make one class per architecture",
        )
    })
}

fn is_not_sold(class: &Class, kind: &str, info: &InstanceTypeInfo) -> Option<Check> {
    let of_kind = class.machines.iter().filter(|machine| machine.kind == kind);
    let mut markets: Vec<Market> = of_kind.map(|machine| machine.market).collect();
    markets.dedup();
    let sold = info.supported_usage_classes();
    let lacking = markets.into_iter().find(|market| {
        let wanted = match market {
            Market::Spot => UsageClassType::Spot,
            Market::OnDemand => UsageClassType::OnDemand,
        };
        !sold.is_empty() && !sold.contains(&wanted)
    })?;
    Some(Check::fail(
        KINDS,
        format!("{}: {kind} is not sold as {lacking}", class.name),
        "choose another of `kinds`, or another of `markets`",
    ))
}

fn is_not_offered(class: &Class, kind: &str, account: &Account) -> Option<Check> {
    let (zones, subnets) = (account.zones.as_ref()?, account.subnets.as_ref()?);
    let offered = zones.get(kind);
    let of_kind = class.machines.iter().filter(|machine| machine.kind == kind);
    let wanted: BTreeSet<&str> =
        of_kind.filter_map(|machine| subnets.get(&machine.subnet)?.availability_zone()).collect();
    let is_offered = |zone: &str| offered.is_some_and(|zones| zones.contains(zone));
    let missing: Vec<&str> = wanted.iter().filter(|zone| !is_offered(zone)).copied().collect();
    if missing.is_empty() {
        return None;
    }
    let message = format!("{}: {kind} is not offered in {}", class.name, missing.join(", "));
    Some(if missing.len() == wanted.len() {
        Check::fail(KINDS, message, "choose another of `kinds`, or subnets in other zones")
    } else {
        let fix =
            "launches there fail and the next placement is tried: split the class, or ignore it";
        Check::warn(KINDS, message, fix)
    })
}

#[cfg(test)]
mod tests;
