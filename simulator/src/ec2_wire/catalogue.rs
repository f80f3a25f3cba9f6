//! Other readings of `doctor`: subnets, images, security groups, types, prices.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::Ec2Wire;
use super::account::{Account, Image, InstanceType, MAIN_ROUTE, SecurityGroup, Subnet};
use super::error::Fault;
use super::filter;
use super::instance::time;
use super::outcome::Outcome;
use super::params::Params;
use super::state::{Shared, State};
use super::xml::{Element, leaf, list, node};

/// More addresses than any subnet has.
const MOST: usize = 1 << 28;

type Answer = Result<(Vec<Element>, usize), Fault>;

/// Handles one of these operations. `None` for any other.
pub(super) fn answer(shared: &Shared, op: &str, params: &Params) -> Option<Outcome> {
    type Handler = fn(&Account, &State, &Params) -> Answer;
    let handler: Handler = match op {
        "DescribeSubnets" => subnets,
        "DescribeRouteTables" => route_tables,
        "DescribeImages" => images,
        "DescribeSecurityGroups" => security_groups,
        "DescribeInstanceTypes" => types,
        "DescribeInstanceTypeOfferings" => offerings,
        "DescribeSpotPriceHistory" => prices,
        _ => return None,
    };
    let mut state = shared.state();
    if !state.buckets.take(shared.options.now(), op, 0) {
        return Some(Outcome::throttled());
    }
    let dry = params.flag("DryRun").and_then(|dry| match dry {
        Some(true) => Err(Fault::dry_run()),
        Some(false) | None => Ok(()),
    });
    let answer = dry.and_then(|()| handler(&shared.options.account, &state, params));
    let outcome = match answer {
        Ok((parts, items)) => Outcome::of(parts, items),
        Err(fault) => Outcome::from(fault),
    };
    Some(outcome.taking((1, 0)))
}

impl Ec2Wire {
    /// Sets the spot price of an instance type in a zone from now on, in dollars per hour.
    pub fn set_spot_price(&self, kind: &str, zone: &str, price: f64) {
        self.shared.state().spot_prices.insert((kind.to_owned(), zone.to_owned()), price);
    }
}

/// Returns the named resources that match the filters.
fn chosen<'a, T>(
    params: &Params,
    names: &str,
    missing: &str,
    all: &'a [T],
    id: fn(&T) -> &str,
    value: impl Fn(&T, &str) -> Option<String>,
) -> Result<Vec<&'a T>, Fault> {
    let ids = params.list(names);
    let unknown = |wanted: &&&str| !all.iter().any(|one| id(one) == **wanted);
    if let Some(wanted) = ids.iter().find(unknown) {
        return Err(Fault::new(missing, format!("'{wanted}' does not exist")));
    }
    let filters = filter::read(params)?;
    let mut found = Vec::new();
    for one in all.iter().filter(|one| ids.is_empty() || ids.contains(&id(one))) {
        let mut fits = true;
        for (name, patterns) in &filters {
            let is = value(one, name).ok_or_else(|| filter::unknown(name))?;
            fits &= patterns.iter().any(|pattern| filter::matches(pattern, &is));
        }
        if fits {
            found.push(one);
        }
    }
    Ok(found)
}

fn subnets(account: &Account, state: &State, params: &Params) -> Answer {
    let value = |subnet: &Subnet, name: &str| match name {
        "subnet-id" => Some(subnet.id.clone()),
        "vpc-id" => Some(subnet.vpc.clone()),
        "availability-zone" => Some(subnet.zone.clone()),
        _ => None,
    };
    let missing = "InvalidSubnetID.NotFound";
    let found = chosen(params, "SubnetId", missing, &account.subnets, |s| &s.id, value)?;
    let items: Vec<_> = found
        .iter()
        .map(|subnet| {
            vec![
                leaf("subnetId", &subnet.id),
                leaf("vpcId", &subnet.vpc),
                leaf("availabilityZone", &subnet.zone),
                leaf("availableIpAddressCount", state.cloud.by_addresses(&subnet.id).min(MOST)),
                leaf("mapPublicIpOnLaunch", subnet.public_addresses),
                leaf("state", "available"),
                leaf("ownerId", &account.id),
            ]
        })
        .collect();
    let count = items.len();
    Ok((vec![list("subnetSet", items)], count))
}

/// A route table. That of a VPC serves every subnet without one of its own.
struct RouteTable<'a> {
    id: String,
    vpc: &'a str,
    /// `None`: that of the VPC.
    subnet: Option<&'a str>,
    default_route: &'a str,
}

fn route_tables(account: &Account, _: &State, params: &Params) -> Answer {
    let vpcs: BTreeSet<&str> = account.subnets.iter().map(|subnet| subnet.vpc.as_str()).collect();
    let main = vpcs.into_iter().map(|vpc| RouteTable {
        id: format!("rtb-{vpc}"),
        vpc,
        subnet: None,
        default_route: MAIN_ROUTE,
    });
    let others = account.subnets.iter().filter(|subnet| subnet.default_route != MAIN_ROUTE);
    let own = others.map(|subnet| RouteTable {
        id: format!("rtb-{}", subnet.id),
        vpc: &subnet.vpc,
        subnet: Some(&subnet.id),
        default_route: &subnet.default_route,
    });
    let all: Vec<RouteTable<'_>> = main.chain(own).collect();
    let value = |table: &RouteTable<'_>, name: &str| match name {
        "route-table-id" => Some(table.id.clone()),
        "vpc-id" => Some(table.vpc.to_owned()),
        "association.subnet-id" => Some(table.subnet.unwrap_or_default().to_owned()),
        _ => None,
    };
    let missing = "InvalidRouteTableID.NotFound";
    let found = chosen(params, "RouteTableId", missing, &all, |table| &table.id, value)?;
    let items: Vec<_> = found.iter().map(|table| route_table(table)).collect();
    let count = items.len();
    Ok((vec![list("routeTableSet", items)], count))
}

fn route_table(table: &RouteTable<'_>) -> Vec<Element> {
    let route = |to: &str, target: &str| {
        let by = if target.starts_with("nat-") { "natGatewayId" } else { "gatewayId" };
        [leaf("destinationCidrBlock", to), leaf(by, target), leaf("state", "active")]
    };
    let out = Some(table.default_route).filter(|target| !target.is_empty());
    let routes = [route("10.0.0.0/8", "local")];
    let routes = routes.into_iter().chain(out.map(|target| route("0.0.0.0/0", target)));
    let mut association = vec![
        leaf("routeTableAssociationId", format!("rtbassoc-{}", table.id)),
        leaf("routeTableId", &table.id),
        leaf("main", table.subnet.is_none()),
    ];
    association.extend(table.subnet.map(|subnet| leaf("subnetId", subnet)));
    vec![
        leaf("routeTableId", &table.id),
        leaf("vpcId", table.vpc),
        list("routeSet", routes),
        list("associationSet", [association]),
    ]
}

fn images(account: &Account, _: &State, params: &Params) -> Answer {
    let value = |image: &Image, name: &str| match name {
        "image-id" => Some(image.id.clone()),
        "name" => Some(image.name.clone()),
        "state" => Some(image.state.clone()),
        "architecture" => Some(image.architecture.clone()),
        _ => None,
    };
    let missing = "InvalidAMIID.NotFound";
    let found = chosen(params, "ImageId", missing, &account.images, |i| &i.id, value)?;
    let items: Vec<_> = found
        .iter()
        .map(|image| {
            vec![
                leaf("imageId", &image.id),
                leaf("name", &image.name),
                leaf("imageState", &image.state),
                leaf("imageOwnerId", &account.id),
                leaf("architecture", &image.architecture),
                leaf("imageType", "machine"),
                leaf("rootDeviceName", &image.root_device),
                leaf("rootDeviceType", "ebs"),
                leaf("virtualizationType", "hvm"),
                list("blockDeviceMapping", [[leaf("deviceName", &image.root_device), ebs(image)]]),
            ]
        })
        .collect();
    let count = items.len();
    Ok((vec![list("imagesSet", items)], count))
}

/// The disk that an image boots from; it outlives its machine unless the launch says otherwise.
fn ebs(image: &Image) -> Element {
    node(
        "ebs",
        [
            leaf("snapshotId", image.id.replacen("ami-", "snap-", 1)),
            leaf("volumeSize", image.root_gib),
            leaf("volumeType", "gp2"),
            leaf("encrypted", false),
            leaf("deleteOnTermination", false),
        ],
    )
}

fn security_groups(account: &Account, _: &State, params: &Params) -> Answer {
    let value = |group: &SecurityGroup, name: &str| match name {
        "group-id" => Some(group.id.clone()),
        "group-name" => Some(group.name.clone()),
        "vpc-id" => Some(group.vpc.clone()),
        _ => None,
    };
    let all = &account.security_groups;
    let found = chosen(params, "GroupId", "InvalidGroup.NotFound", all, |g| &g.id, value)?;
    let everyone = || list("ipRanges", [[leaf("cidrIp", "0.0.0.0/0")]]);
    let items: Vec<_> = found
        .iter()
        .map(|group| {
            let rules = group.open_ports.iter().map(|port| {
                vec![
                    leaf("ipProtocol", "tcp"),
                    leaf("fromPort", port),
                    leaf("toPort", port),
                    everyone(),
                ]
            });
            vec![
                leaf("groupId", &group.id),
                leaf("groupName", &group.name),
                leaf("vpcId", &group.vpc),
                leaf("ownerId", &account.id),
                list("ipPermissions", rules),
                list("ipPermissionsEgress", [vec![leaf("ipProtocol", "-1"), everyone()]]),
            ]
        })
        .collect();
    let count = items.len();
    Ok((vec![list("securityGroupInfo", items)], count))
}

fn types(account: &Account, _: &State, params: &Params) -> Answer {
    let value = |kind: &InstanceType, name: &str| match name {
        "instance-type" => Some(kind.name.clone()),
        "processor-info.supported-architecture" => Some(kind.architecture.clone()),
        _ => None,
    };
    let (all, missing) = (&account.types, "InvalidInstanceType");
    let found = chosen(params, "InstanceType", missing, all, |t| &t.name, value)?;
    let words = |name: &str, texts: &[&str]| {
        node(name, texts.iter().map(|text| leaf("item", text)).collect::<Vec<_>>())
    };
    let items: Vec<_> = found
        .iter()
        .map(|kind| {
            let cpus = [leaf("defaultVCpus", kind.vcpus)];
            let processor = [words("supportedArchitectures", &[kind.architecture.as_str()])];
            vec![
                leaf("instanceType", &kind.name),
                leaf("currentGeneration", true),
                words("supportedUsageClasses", &["on-demand", "spot"]),
                node("vCpuInfo", cpus),
                node("memoryInfo", [leaf("sizeInMiB", kind.memory_mib)]),
                node("processorInfo", processor),
                leaf("burstablePerformanceSupported", kind.name.starts_with('t')),
            ]
        })
        .collect();
    let count = items.len();
    Ok((vec![list("instanceTypeSet", items)], count))
}

fn offerings(account: &Account, _: &State, params: &Params) -> Answer {
    let by = params.get("LocationType").unwrap_or("region");
    let filters = filter::read(params)?;
    let wanted = |name: &str, is: &str| {
        let of = filters.iter().filter(|(filter, _)| filter == name);
        of.into_iter().all(|(_, patterns)| patterns.iter().any(|p| filter::matches(p, is)))
    };
    let known = |name: &str| ["instance-type", "location"].contains(&name);
    if let Some((name, _)) = filters.iter().find(|(name, _)| !known(name)) {
        return Err(filter::unknown(name));
    }
    let mut items = Vec::new();
    for kind in account.types.iter().filter(|kind| wanted("instance-type", &kind.name)) {
        let region = vec![account.region.clone()];
        let places = match by {
            "region" => &region,
            "availability-zone" => &kind.zones,
            other => return Err(Fault::value("LocationType", other)),
        };
        items.extend(places.iter().filter(|place| wanted("location", place)).map(|place| {
            [leaf("instanceType", &kind.name), leaf("locationType", by), leaf("location", place)]
        }));
    }
    let count = items.len();
    Ok((vec![list("instanceTypeOfferingSet", items)], count))
}

#[expect(clippy::unnecessary_wraps, reason = "one of several handlers; the others may refuse")]
fn prices(account: &Account, state: &State, params: &Params) -> Answer {
    let kinds = params.list("InstanceType");
    let zone = params.get("AvailabilityZone");
    let products = params.list("ProductDescription");
    let product = "Linux/UNIX";
    let told = products.is_empty() || products.contains(&product);
    let wanted =
        |kind: &&InstanceType| told && (kinds.is_empty() || kinds.contains(&kind.name.as_str()));
    let items: Vec<_> = account
        .types
        .iter()
        .filter(wanted)
        .flat_map(|kind| kind.zones.iter().map(move |place| (kind, place)))
        .filter(|(_, place)| zone.is_none_or(|zone| zone == *place))
        .map(|(kind, place)| {
            let own = state.spot_prices.get(&(kind.name.clone(), place.clone()));
            let price = own.copied().unwrap_or(kind.spot_price);
            [
                leaf("instanceType", &kind.name),
                leaf("productDescription", product),
                leaf("spotPrice", format!("{price:.6}")),
                leaf("timestamp", time(Timestamp::now())),
                leaf("availabilityZone", place),
            ]
        })
        .collect();
    let count = items.len();
    Ok((vec![list("spotPriceHistorySet", items)], count))
}
