use aws_sdk_ec2::types::{ArchitectureValues, IpRange};
use tinqs_ci_reconciler::model::{ClassName, MachineOptions, Times};

use super::*;

fn image(state: &str, architecture: ArchitectureValues) -> Image {
    Image::builder()
        .image_id("ami-1")
        .name("runner")
        .state(ImageState::from(state))
        .architecture(architecture)
        .build()
}

fn subnet(id: &str, zone: &str, free: i32) -> Subnet {
    Subnet::builder()
        .subnet_id(id)
        .availability_zone(zone)
        .vpc_id("vpc-1")
        .available_ip_address_count(free)
        .map_public_ip_on_launch(true)
        .build()
}

fn group(vpc: &str, open: bool) -> SecurityGroup {
    let everybody = IpRange::builder().cidr_ip("0.0.0.0/0").build();
    let rule = open.then(|| IpPermission::builder().ip_ranges(everybody).build());
    let group = SecurityGroup::builder().group_id("sg-1").vpc_id(vpc);
    group.set_ip_permissions(Some(rule.into_iter().collect())).build()
}

fn kind(architecture: ArchitectureType, sold: &[UsageClassType]) -> InstanceTypeInfo {
    let processor = ProcessorInfo::builder().supported_architectures(architecture).build();
    InstanceTypeInfo::builder()
        .processor_info(processor)
        .set_supported_usage_classes(Some(sold.to_vec()))
        .build()
}

#[expect(clippy::unnecessary_wraps, reason = "as the account's fields are")]
fn one<T>(name: &str, thing: T) -> Option<BTreeMap<String, T>> {
    Some(BTreeMap::from([(name.to_owned(), thing)]))
}

/// An account that passes every check.
fn account() -> Account {
    let both = [UsageClassType::Spot, UsageClassType::OnDemand];
    let subnets = [("subnet-a", "z-a"), ("subnet-b", "z-b")];
    let subnets = subnets.map(|(id, zone)| (id.to_owned(), subnet(id, zone, 251)));
    Account {
        images: one("ami-1", image("available", ArchitectureValues::X8664)),
        subnets: Some(BTreeMap::from(subnets)),
        ways: one("subnet-a", Way::Gateway),
        groups: one("sg-1", group("vpc-1", false)),
        kinds: one("c7a.medium", kind(ArchitectureType::X8664, &both)),
        zones: one("c7a.medium", ["z-a", "z-b"].map(str::to_owned).into()),
    }
}

fn class() -> Class {
    let machine = |subnet: &str| MachineSpec {
        kind: "c7a.medium".to_owned(),
        subnet: subnet.to_owned(),
        market: Market::Spot,
        image: "ami-1".to_owned(),
        security_groups: vec!["sg-1".to_owned()],
        instance_profile: String::new(),
        runner: None,
        options: MachineOptions::default(),
    };
    Class {
        name: ClassName("linux".to_owned()),
        labels: vec!["linux".to_owned()],
        serves_unlabeled: false,
        machines: vec![machine("subnet-a"), machine("subnet-b")],
        limit: Some(20),
        repo_limit: None,
        owner_limit: None,
        rerun: tinqs_ci_reconciler::model::RerunPolicy::default(),
        budget: None,
        allocation: tinqs_ci_reconciler::model::Allocation::Order,
        repos: Vec::new(),
        times: Times::default(),
    }
}

/// Returns the one check that does not pass after this change of the account.
#[track_caller]
fn broken(change: impl FnOnce(&mut Account)) -> (&'static str, Outcome, String) {
    let mut account = account();
    change(&mut account);
    let checks = class_checks(&class(), &account);
    let bad: Vec<&Check> = checks.iter().filter(|check| check.outcome != Outcome::Ok).collect();
    let [bad] = bad[..] else { panic!("expected one failed check: {checks:#?}") };
    assert!(bad.fix.is_some() && bad.message.starts_with("linux: "), "{bad:?}");
    (bad.name, bad.outcome, bad.message.clone())
}

#[test]
fn every_check_passes_when_everything_fits() {
    let checks = class_checks(&class(), &account());
    let names: Vec<&str> = checks.iter().map(|check| check.name).collect();
    assert_eq!(names, [IMAGE, SUBNETS, GROUPS, KINDS]);
    assert!(checks.iter().all(|check| check.outcome == Outcome::Ok), "{checks:#?}");
    // Unreadable objects are not judged.
    assert_eq!(class_checks(&class(), &Account::default()), []);
}

#[test]
fn images_must_exist_and_be_available() {
    let gone = broken(|account| account.images = Some(BTreeMap::new()));
    assert_eq!((gone.0, gone.1), (IMAGE, Outcome::Fail));
    let pending = broken(|account| {
        account.images = one("ami-1", image("pending", ArchitectureValues::X8664));
    });
    assert!(pending.2.contains("ami-1 is pending"), "{}", pending.2);
}

#[test]
fn subnets_must_exist_and_have_free_addresses() {
    let gone = broken(|account| {
        account.subnets.as_mut().and_then(|subnets| subnets.remove("subnet-b"));
    });
    assert_eq!((gone.0, gone.1), (SUBNETS, Outcome::Fail));
    assert!(gone.2.contains("subnet-b is not in this account"), "{}", gone.2);
    let full = broken(|account| {
        let few = [subnet("subnet-a", "z-a", 0), subnet("subnet-b", "z-b", 19)];
        let few = few.map(|subnet| (subnet.subnet_id().unwrap_or_default().to_owned(), subnet));
        account.subnets = Some(few.into());
    });
    assert_eq!((full.0, full.1), (SUBNETS, Outcome::Warn));
}

#[test]
fn a_route_must_fit_the_addresses_of_machines() {
    let useless = broken(|account| account.ways = one("subnet-b", Way::Nowhere));
    assert_eq!((useless.0, useless.1), (SUBNETS, Outcome::Warn));
    assert!(useless.2.contains("subnet-b has no default route"), "{}", useless.2);
}

#[test]
fn groups_must_belong_to_the_subnets_vpc_and_admit_no_one() {
    let gone = broken(|account| account.groups = Some(BTreeMap::new()));
    assert_eq!((gone.0, gone.1), (GROUPS, Outcome::Fail));
    let elsewhere = broken(|account| account.groups = one("sg-1", group("vpc-2", false)));
    assert_eq!((elsewhere.0, elsewhere.1), (GROUPS, Outcome::Fail));
    assert!(elsewhere.2.contains("sg-1 belongs to vpc-2"), "{}", elsewhere.2);
    let open = broken(|account| account.groups = one("sg-1", group("vpc-1", true)));
    assert_eq!((open.0, open.1), (GROUPS, Outcome::Warn));
}

#[test]
fn instance_types_must_exist_fit_and_be_offered() {
    let both = [UsageClassType::Spot, UsageClassType::OnDemand];
    let gone = broken(|account| account.kinds = Some(BTreeMap::new()));
    assert_eq!((gone.0, gone.1), (KINDS, Outcome::Fail));
    let other = broken(|account| {
        account.kinds = one("c7a.medium", kind(ArchitectureType::Arm64, &both));
    });
    assert!(other.2.contains("is arm64, and ami-1 is x86_64"), "{}", other.2);
    let unsold = broken(|account| {
        account.kinds = one("c7a.medium", kind(ArchitectureType::X8664, &both[1..]));
    });
    assert!(unsold.2.contains("not sold as spot"), "{}", unsold.2);
    let half = broken(|account| account.zones = one("c7a.medium", ["z-a".to_owned()].into()));
    assert_eq!((half.0, half.1), (KINDS, Outcome::Warn));
    let nowhere = broken(|account| account.zones = Some(BTreeMap::new()));
    assert_eq!((nowhere.0, nowhere.1), (KINDS, Outcome::Fail));
}

#[test]
fn machines_without_a_public_address_need_another_way_to_the_forge() {
    let told = |asked: Option<bool>, of_subnet: bool| {
        let (mut class, mut account) = (class(), account());
        for machine in &mut class.machines {
            machine.options.public_address = asked;
        }
        account.ways = None;
        for subnet in account.subnets.iter_mut().flat_map(BTreeMap::values_mut) {
            subnet.map_public_ip_on_launch = Some(of_subnet);
        }
        let checks = class_checks(&class, &account);
        let check = checks.iter().find(|check| check.name == SUBNETS).unwrap();
        check.message.contains("machines get no public address and need a NAT")
    };
    assert_eq!((told(None, true), told(None, false)), (false, true));
    assert_eq!((told(Some(true), false), told(Some(false), true)), (false, true));
}
