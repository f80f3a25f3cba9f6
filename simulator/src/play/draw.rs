//! Shared values for drawing histories: times, chance, and the default class.

use jiff::SignedDuration;
use tinqs_ci_reconciler::model::{Class, ClassName, MachineOptions, MachineSpec, Market, Times};

use crate::faults::Rng;

/// The default time for which finished runs are kept.
pub(super) const KEEP: SignedDuration = SignedDuration::from_mins(30);

pub(super) fn minutes(minutes: i64) -> SignedDuration {
    SignedDuration::from_mins(minutes)
}

pub(super) fn seconds(seconds: i64) -> SignedDuration {
    SignedDuration::from_secs(seconds)
}

pub(super) fn hours(hours: i64) -> SignedDuration {
    SignedDuration::from_hours(hours)
}

pub(super) fn pick(rng: &mut Rng, of: u64) -> usize {
    usize::try_from(rng.below(of)).unwrap_or(0)
}

/// Returns one of these values.
pub(super) fn one_of<T: Copy>(rng: &mut Rng, values: &[T]) -> T {
    values[pick(rng, u64::try_from(values.len()).unwrap_or(u64::MAX))]
}

/// Returns a class of spot machines, then on demand.
pub fn linux(keep: SignedDuration) -> Class {
    let machine = |market, subnet: &str| MachineSpec {
        kind: "t3.small".to_owned(),
        subnet: subnet.to_owned(),
        market,
        image: "ami-1".to_owned(),
        security_groups: vec!["sg-1".to_owned()],
        instance_profile: String::new(),
        runner: None,
        options: MachineOptions::default(),
    };
    Class {
        name: ClassName("linux".to_owned()),
        labels: vec!["linux".to_owned(), "ubuntu-latest:host".to_owned()],
        serves_unlabeled: false,
        machines: vec![
            machine(Market::Spot, "subnet-a"),
            machine(Market::Spot, "subnet-b"),
            machine(Market::OnDemand, "subnet-a"),
        ],
        limit: None,
        repo_limit: None,
        owner_limit: None,
        rerun: tinqs_ci_reconciler::model::RerunPolicy::default(),
        budget: None,
        allocation: tinqs_ci_reconciler::model::Allocation::Order,
        repos: Vec::new(),
        times: Times { keep, ..Times::default() },
    }
}
