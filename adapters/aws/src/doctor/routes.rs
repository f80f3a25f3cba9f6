//! Whether machines reach the internet, by the route tables of their subnets.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{Filter, RouteState, RouteTable, Subnet};
use tinqs_ci_reconciler::ports::PortError;

use crate::errors::{self, ec2 as codes};

/// Every IPv4 address.
const ANYWHERE: &str = "0.0.0.0/0";

/// The target of a subnet's default route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// An internet gateway, which needs a public address.
    Gateway,
    /// A NAT gateway.
    Nat,
    /// Something else, such as a transit gateway or an instance.
    Other,
    /// There is none: only what the network itself has can be reached.
    Nowhere,
}

/// The consequence of the routes of a class's subnets for its machines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// They reach the internet.
    Fine,
    /// They have no public address, and no way out is known.
    Private,
    /// They do not reach the internet, and it looks like a mistake; a part of a sentence.
    Wrong(String),
}

/// Returns the target of each subnet's default route.
pub(super) async fn ways(
    client: &Client,
    subnets: &BTreeMap<String, Subnet>,
) -> Result<BTreeMap<String, Way>, PortError> {
    let networks: BTreeSet<&str> = subnets.values().filter_map(Subnet::vpc_id).collect();
    if networks.is_empty() {
        return Ok(BTreeMap::new());
    }
    let networks: Vec<String> = networks.into_iter().map(str::to_owned).collect();
    let of_networks = Filter::builder().name("vpc-id").set_values(Some(networks)).build();
    let asked = client.describe_route_tables().filters(of_networks);
    let pages = asked.into_paginator().items().send().collect::<Result<Vec<_>, _>>().await;
    let tables = pages.map_err(|e| errors::port_error("compute", "doctor", &e, codes::TABLE))?;
    let way = |(id, subnet): (&String, &Subnet)| Some((id.clone(), way(&tables, subnet)?));
    Ok(subnets.iter().filter_map(way).collect())
}

/// A subnet without a table of its own has the main one of its VPC. `None`: its table is not seen.
fn way(tables: &[RouteTable], subnet: &Subnet) -> Option<Way> {
    let own = |table: &&RouteTable| {
        table
            .associations()
            .iter()
            .any(|a| a.subnet_id().is_some_and(|id| Some(id) == subnet.subnet_id()))
    };
    let main = |table: &&RouteTable| {
        let is_main = table.associations().iter().any(|a| a.main() == Some(true));
        is_main && table.vpc_id() == subnet.vpc_id()
    };
    let table = tables.iter().find(own).or_else(|| tables.iter().find(main))?;
    let route = table.routes().iter().find(|route| {
        route.destination_cidr_block() == Some(ANYWHERE)
            && route.state() != Some(&RouteState::Blackhole)
    });
    Some(match route {
        None => Way::Nowhere,
        Some(route) if route.nat_gateway_id().is_some() => Way::Nat,
        Some(route) if route.gateway_id().is_some_and(|id| id.starts_with("igw-")) => Way::Gateway,
        Some(_) => Way::Other,
    })
}

/// Judges the subnets of a class. `asked`: its `public_address`; by default the subnet's own setting
/// holds.
pub(super) fn judged(
    subnets: &[&Subnet],
    ways: Option<&BTreeMap<String, Way>>,
    asked: Option<bool>,
) -> Verdict {
    let mut verdict = Verdict::Fine;
    for subnet in subnets {
        let id = subnet.subnet_id().unwrap_or("?");
        let is_public = asked.unwrap_or(subnet.map_public_ip_on_launch() != Some(false));
        match (is_public, ways.and_then(|ways| ways.get(id))) {
            (false, Some(Way::Gateway)) => {
                return Verdict::Wrong(format!(
                    "the default route of {id} is an internet gateway, which machines without a \
                     public address cannot use"
                ));
            }
            (true, Some(Way::Nowhere)) => {
                return Verdict::Wrong(format!(
                    "{id} has no default route, so that its machines' public addresses are of no use"
                ));
            }
            (false, Some(Way::Nowhere) | None) => verdict = Verdict::Private,
            (true, Some(Way::Gateway) | None) | (_, Some(Way::Nat | Way::Other)) => {}
        }
    }
    verdict
}

#[cfg(test)]
mod tests {
    use aws_sdk_ec2::types::{Route, RouteTableAssociation};

    use super::*;

    fn table(association: RouteTableAssociation, routes: &[Route]) -> RouteTable {
        let table = RouteTable::builder().vpc_id("vpc-1").associations(association);
        table.set_routes(Some(routes.to_vec())).build()
    }

    fn subnet(id: &str) -> Subnet {
        Subnet::builder().subnet_id(id).vpc_id("vpc-1").build()
    }

    #[test]
    fn a_subnet_has_its_own_table_or_the_main_one_of_its_network() {
        let to = |target: &str| {
            Route::builder().destination_cidr_block(ANYWHERE).gateway_id(target).build()
        };
        let local = Route::builder().destination_cidr_block("10.0.0.0/16").gateway_id("local");
        let nat = Route::builder().destination_cidr_block(ANYWHERE).nat_gateway_id("nat-1").build();
        let gone = Route::builder().destination_cidr_block(ANYWHERE).gateway_id("igw-0");
        let of = |id: &str| RouteTableAssociation::builder().subnet_id(id).main(false).build();
        let main = RouteTableAssociation::builder().main(true).build();
        let tables = [
            table(main, &[local.build(), to("igw-1")]),
            table(of("subnet-n"), &[nat]),
            table(of("subnet-t"), &[to("vgw-1")]),
            table(of("subnet-b"), &[gone.state(RouteState::Blackhole).build()]),
        ];
        let rows = [
            ("subnet-a", Way::Gateway),
            ("subnet-n", Way::Nat),
            ("subnet-t", Way::Other),
            ("subnet-b", Way::Nowhere),
        ];
        for (id, expected) in rows {
            assert_eq!(way(&tables, &subnet(id)), Some(expected), "{id}");
        }
        let elsewhere = Subnet::builder().subnet_id("subnet-x").vpc_id("vpc-2").build();
        assert_eq!(way(&tables, &elsewhere), None);
    }

    #[test]
    fn an_address_and_a_route_must_fit() {
        let subnet = subnet("subnet-a");
        let verdict = |way: Option<Way>, asked| {
            let ways = way.map(|way| BTreeMap::from([("subnet-a".to_owned(), way)]));
            judged(&[&subnet], ways.as_ref(), asked)
        };
        for way in [Way::Gateway, Way::Nat, Way::Other] {
            assert_eq!(verdict(Some(way), Some(true)), Verdict::Fine, "{way:?}");
        }
        for way in [Way::Nat, Way::Other] {
            assert_eq!(verdict(Some(way), Some(false)), Verdict::Fine, "{way:?}");
        }
        assert_eq!(verdict(None, None), Verdict::Fine);
        for way in [None, Some(Way::Nowhere)] {
            assert_eq!(verdict(way, Some(false)), Verdict::Private, "{way:?}");
        }
        for (way, asked) in [(Way::Gateway, false), (Way::Nowhere, true)] {
            let Verdict::Wrong(why) = verdict(Some(way), Some(asked)) else {
                panic!("{way:?} {asked}")
            };
            assert!(why.contains("subnet-a"), "{why}");
        }
    }
}
