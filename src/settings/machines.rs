//! Reads the machine specs of a class.

use std::collections::BTreeSet;

use tinqs_ci_reconciler::model::{Allocation, MachineOptions, MachineSpec, Market};

use super::machine_options::options;
use super::reader::Reader;
use super::{ec2, runner};

/// The spec of a machine on this host.
pub(super) fn process() -> MachineSpec {
    MachineSpec {
        kind: "process".to_owned(),
        subnet: String::new(),
        market: Market::OnDemand,
        image: String::new(),
        security_groups: Vec::new(),
        instance_profile: String::new(),
        runner: None,
        options: MachineOptions::default(),
    }
}

/// Reads the order in which the machine specs of a class are tried.
fn allocation(r: &Reader<'_>, machines: &[MachineSpec]) -> Allocation {
    if r.text("allocation").as_deref() != Some("price") {
        return Allocation::Order;
    }
    let spot = machines.iter().filter(|spec| spec.market == Market::Spot).count();
    if spot < 2 {
        let count = if spot == 0 { "no spot machine" } else { "one spot machine" };
        r.warn("allocation", &format!("has no effect: the class has {count}"));
    }
    Allocation::Price
}

/// Reads the machine specs of a class, every combination, ordered by market, kind, subnet, and in
/// which order they are tried.
pub(super) fn machines(class: &Reader<'_>, in_ec2: bool) -> (Vec<MachineSpec>, Allocation) {
    let r = &class.table("machines");
    let texts = |name: &str| r.texts(name);
    let text = |name: &str| r.text(name).map(std::borrow::Cow::into_owned).unwrap_or_default();
    let markets = texts("markets").unwrap_or_else(|| vec!["on-demand".to_owned()]);
    let kinds = texts("kinds").unwrap_or_else(|| vec![process().kind]);
    let subnets = texts("subnets").unwrap_or_else(|| vec![String::new()]);
    let spec = MachineSpec {
        image: text("image"),
        security_groups: texts("security_groups").unwrap_or_default(),
        instance_profile: text("instance_profile"),
        runner: runner::setup(class, in_ec2).map(Box::new),
        options: options(r, in_ec2),
        ..process()
    };
    for (name, list) in [("markets", &markets), ("kinds", &kinds), ("subnets", &subnets)] {
        let distinct: BTreeSet<&String> = list.iter().collect();
        if distinct.len() < list.len() {
            r.mistake(name, "lists a value twice");
        }
    }
    let mut machines = Vec::new();
    for market in &markets {
        let market = if market == "spot" { Market::Spot } else { Market::OnDemand };
        for kind in &kinds {
            for subnet in &subnets {
                let (kind, subnet) = (kind.clone(), subnet.clone());
                machines.push(MachineSpec { kind, subnet, market, ..spec.clone() });
            }
        }
    }
    if in_ec2 {
        ec2::check(r, &machines);
    }
    let allocation = allocation(r, &machines);
    (machines, allocation)
}
