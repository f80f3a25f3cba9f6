//! Reads the resources that the classes name, once for all classes.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{Filter, Image, InstanceTypeInfo, LocationType, SecurityGroup, Subnet};
use tinqs_ci_reconciler::model::{Class, MachineSpec};
use tinqs_ci_reconciler::ports::{ErrorKind, PortError};

use super::routes::{self, Way};
use super::unseen;
use crate::errors::{self, ec2 as codes};
use tinqs_ci_reconciler::ports::check::Check;

/// By ID. `None`: they could not be read, which is reported.
pub(super) type Lookup<T> = Option<BTreeMap<String, T>>;

/// The account's resources.
#[derive(Debug, Default)]
pub(super) struct Account {
    pub(super) images: Lookup<Image>,
    pub(super) subnets: Lookup<Subnet>,
    /// The targets of the subnets' default routes.
    pub(super) ways: Lookup<Way>,
    pub(super) groups: Lookup<SecurityGroup>,
    pub(super) kinds: Lookup<InstanceTypeInfo>,
    /// The zones that offer an instance type.
    pub(super) zones: Lookup<BTreeSet<String>>,
}

/// Most values of one filter.
const MOST_VALUES: usize = 200;

fn named(classes: &[Class], of: impl Fn(&MachineSpec) -> Vec<&String>) -> Vec<String> {
    let machines = classes.iter().flat_map(|class| &class.machines);
    let all: BTreeSet<&String> = machines.flat_map(of).filter(|name| !name.is_empty()).collect();
    all.into_iter().take(MOST_VALUES).cloned().collect()
}

fn filter(name: &str, values: &[String]) -> Filter {
    Filter::builder().name(name).set_values(Some(values.to_vec())).build()
}

impl Account {
    /// Reads all of it; returns a check for each part that could not be read.
    ///
    /// # Errors
    /// EC2 cannot be reached.
    pub(super) async fn inspect(
        client: &Client,
        classes: &[Class],
    ) -> Result<(Self, Vec<Check>), Check> {
        let mut told = Vec::new();
        let mut known = |what: &'static str, right: &str, error: PortError| {
            let check = unseen("ec2", what, right, &error);
            if error.kind == ErrorKind::Unavailable {
                return Err(check);
            }
            told.push(check);
            Ok(())
        };
        let mut account = Self::default();
        match images(client, &named(classes, |m| vec![&m.image])).await {
            Ok(images) => account.images = Some(images),
            Err(error) => known("images", "ec2:DescribeImages", error)?,
        }
        match subnets(client, &named(classes, |m| vec![&m.subnet])).await {
            Ok(subnets) => account.subnets = Some(subnets),
            Err(error) => known("subnets", "ec2:DescribeSubnets", error)?,
        }
        if let Some(subnets) = &account.subnets {
            match routes::ways(client, subnets).await {
                Ok(ways) => account.ways = Some(ways),
                Err(error) => known("route tables", "ec2:DescribeRouteTables", error)?,
            }
        }
        match groups(client, &named(classes, |m| m.security_groups.iter().collect())).await {
            Ok(groups) => account.groups = Some(groups),
            Err(error) => known("security groups", "ec2:DescribeSecurityGroups", error)?,
        }
        let kinds = named(classes, |m| vec![&m.kind]);
        match infos(client, &kinds).await {
            Ok(infos) => account.kinds = Some(infos),
            Err(error) => known("instance types", "ec2:DescribeInstanceTypes", error)?,
        }
        match offers(client, &kinds).await {
            Ok(zones) => account.zones = Some(zones),
            Err(error) => {
                known("zones of instance types", "ec2:DescribeInstanceTypeOfferings", error)?;
            }
        }
        Ok((account, told))
    }
}

/// Reads each image by its ID: a filter leaves out deprecated images.
async fn images(client: &Client, ids: &[String]) -> Result<BTreeMap<String, Image>, PortError> {
    let mut images = BTreeMap::new();
    for id in ids {
        match client.describe_images().image_ids(id).send().await {
            Ok(answer) => {
                let image = answer.images.unwrap_or_default().into_iter().next();
                images.extend(image.map(|image| (id.clone(), image)));
            }
            Err(error) => {
                let absent = |code: &str| code.starts_with("InvalidAMIID.");
                if !errors::code(&error).is_some_and(absent) {
                    return Err(errors::port_error("compute", "doctor", &error, codes::TABLE));
                }
            }
        }
    }
    Ok(images)
}

async fn subnets(client: &Client, ids: &[String]) -> Result<BTreeMap<String, Subnet>, PortError> {
    let asked = client.describe_subnets().filters(filter("subnet-id", ids));
    let pages = asked.into_paginator().items().send().collect::<Result<Vec<_>, _>>().await;
    let all = pages.map_err(|e| errors::port_error("compute", "doctor", &e, codes::TABLE))?;
    let pair = |subnet: Subnet| Some((subnet.subnet_id()?.to_owned(), subnet));
    Ok(all.into_iter().filter_map(pair).collect())
}

async fn groups(
    client: &Client,
    ids: &[String],
) -> Result<BTreeMap<String, SecurityGroup>, PortError> {
    if ids.is_empty() {
        return Ok(BTreeMap::new());
    }
    let asked = client.describe_security_groups().filters(filter("group-id", ids));
    let pages = asked.into_paginator().items().send().collect::<Result<Vec<_>, _>>().await;
    let all = pages.map_err(|e| errors::port_error("compute", "doctor", &e, codes::TABLE))?;
    let pair = |group: SecurityGroup| Some((group.group_id()?.to_owned(), group));
    Ok(all.into_iter().filter_map(pair).collect())
}

async fn infos(
    client: &Client,
    kinds: &[String],
) -> Result<BTreeMap<String, InstanceTypeInfo>, PortError> {
    let asked = client.describe_instance_types().filters(filter("instance-type", kinds));
    let pages = asked.into_paginator().items().send().collect::<Result<Vec<_>, _>>().await;
    let all = pages.map_err(|e| errors::port_error("compute", "doctor", &e, codes::TABLE))?;
    let pair = |info: InstanceTypeInfo| Some((info.instance_type()?.as_str().to_owned(), info));
    Ok(all.into_iter().filter_map(pair).collect())
}

async fn offers(
    client: &Client,
    kinds: &[String],
) -> Result<BTreeMap<String, BTreeSet<String>>, PortError> {
    let asked = client.describe_instance_type_offerings();
    let asked = asked.location_type(LocationType::AvailabilityZone);
    let asked = asked.filters(filter("instance-type", kinds));
    let pages = asked.into_paginator().items().send().collect::<Result<Vec<_>, _>>().await;
    let all = pages.map_err(|e| errors::port_error("compute", "doctor", &e, codes::TABLE))?;
    let mut zones: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for offer in all {
        if let (Some(kind), Some(zone)) = (offer.instance_type(), offer.location()) {
            zones.entry(kind.as_str().to_owned()).or_default().insert(zone.to_owned());
        }
    }
    Ok(zones)
}
