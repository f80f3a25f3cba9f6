//! The order in which the machine specs of a class are tried.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::machine::{MachineSpec, Market};
use super::money::MicroUsd;

/// The order in which the machine specs of a class are tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Allocation {
    /// As configured.
    #[default]
    Order,
    /// Those of a market by the current price of their pools.
    Price,
}

impl Allocation {
    /// Returns whether it is the configured order.
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    pub fn is_order(&self) -> bool {
        *self == Self::Order
    }
}

/// The pool of a machine spec (its kind in its subnet and market), as far as it is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct Pool {
    /// The current price per hour; `None`: not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<MicroUsd>,
    /// Whether it had no capacity in the last quarter of an hour.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub failed_lately: bool,
    /// Time at which the cloud last took a machine from it, within the last half hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schemars", schemars(with = "Option<String>"))]
    pub taken_at: Option<Timestamp>,
}

/// The machines that come before the order of a class.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Preference {
    /// Machines on demand.
    pub(super) on_demand: bool,
    /// Pools from which the cloud took no machine lately, of every market.
    pub(super) untaken: bool,
}

/// Returns the machine specs in the order in which they are tried: what is preferred, then market
/// by market. In a market, pools from which the cloud took a machine come last, the latest last;
/// before them pools that failed lately, then those without a price, then dearer ones, and equals
/// as configured. `pools` are those of the specs, in the same order, or empty.
pub(super) fn ordered<'a>(
    machines: &'a [MachineSpec],
    pools: &[Pool],
    prefer: Preference,
) -> Vec<&'a MachineSpec> {
    let known = if pools.len() == machines.len() { pools } else { &[] };
    let pools = known.iter().copied().chain(std::iter::repeat(Pool::default()));
    let first = machines.first().map(|spec| spec.market);
    let mut all: Vec<(&MachineSpec, Pool)> = machines.iter().zip(pools).collect();
    all.sort_by_key(|(spec, pool)| {
        (
            prefer.on_demand && spec.market == Market::Spot,
            prefer.untaken && pool.taken_at.is_some(),
            Some(spec.market) != first,
            pool.taken_at,
            pool.failed_lately,
            pool.price.is_none(),
            pool.price,
        )
    });
    all.into_iter().map(|(spec, _)| spec).collect()
}

/// Returns why one of the machine specs was chosen.
pub(super) fn chosen(machines: &[MachineSpec], pools: &[Pool], machine: &MachineSpec) -> Chosen {
    let mut pools = machines.iter().zip(pools);
    let price = pools.find(|(spec, _)| *spec == machine).and_then(|(_, pool)| pool.price);
    price.map_or(Chosen::Unpriced, Chosen::Price)
}

/// The reason that a placement was asked for before others, in a class that orders its machines by
/// price.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Chosen {
    /// By its price per hour then: the lowest of its market, after pools that refused lately.
    Price(MicroUsd),
    /// Its price was not known: by the configured order.
    Unpriced,
}

/// The reason in words for people: the only place that words it.
impl fmt::Display for Chosen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Price(price) => write!(f, "chosen by price, ${price}/h"),
            Self::Unpriced => f.write_str("chosen in the configured order, its price is not known"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(subnet: &str, market: Market) -> MachineSpec {
        MachineSpec {
            kind: "small".to_owned(),
            subnet: subnet.to_owned(),
            market,
            image: String::new(),
            security_groups: Vec::new(),
            instance_profile: String::new(),
            runner: None,
            options: super::super::MachineOptions::default(),
        }
    }

    fn at(price: u64) -> Pool {
        Pool { price: Some(MicroUsd(price)), ..Pool::default() }
    }

    /// The subnets in order, of four spot machines and one on demand.
    fn order(pools: &[Pool]) -> String {
        preferring(pools, Preference::default())
    }

    fn preferring(pools: &[Pool], prefer: Preference) -> String {
        let spot = ["a", "b", "c", "d"].map(|subnet| spec(subnet, Market::Spot));
        let machines = [&spot[..], &[spec("e", Market::OnDemand)]].concat();
        ordered(&machines, pools, prefer).iter().map(|spec| spec.subnet.as_str()).collect()
    }

    #[test]
    fn a_market_is_ordered_by_price_and_pools_that_failed_come_last() {
        let (none, failed) = (Pool::default(), |price| Pool { failed_lately: true, ..at(price) });
        assert_eq!(order(&[at(3), at(1), at(2), at(1), none]), "bdcae");
        assert_eq!(order(&[at(3), at(1), at(2), at(1), at(0)]), "bdcae", "a market stays together");
        assert_eq!(order(&[at(3), failed(1), none, at(2), none]), "dacbe");
        assert_eq!(order(&[failed(2), failed(1), failed(3), none, none]), "dbace");
        assert_eq!(order(&[none; 5]), "abcde", "as configured");
        assert_eq!(order(&[]), "abcde", "nothing is known");
        assert_eq!(order(&[at(3), at(1)]), "abcde", "those of another class");
    }

    fn taken(minute: i64) -> Pool {
        let at = Timestamp::from_second(60 * minute).expect("a time");
        Pool { taken_at: Some(at), ..Pool::default() }
    }

    #[test]
    fn pools_that_lost_a_machine_come_last_of_their_market_the_latest_last() {
        let none = Pool::default();
        assert_eq!(order(&[taken(2), none, none, none, none]), "bcdae");
        assert_eq!(order(&[taken(2), taken(1), none, none, none]), "cdbae");
        assert_eq!(order(&[taken(2), taken(1), taken(4), taken(3), none]), "badce");
        let cheap = Pool { price: Some(MicroUsd(1)), ..taken(1) };
        let failed = Pool { failed_lately: true, ..at(3) };
        assert_eq!(order(&[cheap, at(9), failed, at(8), none]), "dbcae", "whatever it costs");
    }

    #[test]
    fn a_job_that_is_run_again_prefers_another_pool_of_any_market() {
        let prefer = Preference { untaken: true, on_demand: false };
        let none = Pool::default();
        assert_eq!(preferring(&[taken(1), none, none, none, none], prefer), "bcdea");
        let spot = [taken(2), taken(1), taken(4), taken(3)];
        let all = |last| [&spot[..], &[last]].concat();
        assert_eq!(preferring(&all(none), prefer), "ebadc");
        assert_eq!(preferring(&all(taken(0)), prefer), "badce", "each lost one");
        assert_eq!(preferring(&[none; 5], prefer), "abcde");
    }

    #[test]
    fn machines_on_demand_come_first_where_they_are_preferred() {
        let prefer = Preference { on_demand: true, untaken: false };
        assert_eq!(preferring(&[], prefer), "eabcd", "nothing is known of the pools");
        assert_eq!(preferring(&[at(3), at(1), at(2), at(1), at(9)], prefer), "ebdca");
        let none = Pool::default();
        let lost = [taken(1), none, none, none, taken(2)];
        assert_eq!(preferring(&lost, prefer), "ebcda", "also if one of those was lost");
    }

    #[test]
    fn what_chose_a_placement_is_said_and_recorded() {
        let by_price = Chosen::Price(MicroUsd(7_000));
        assert_eq!(by_price.to_string(), "chosen by price, $0.007/h");
        assert_eq!(serde_json::to_string(&by_price).unwrap(), r#"{"price":7000}"#);
        assert_eq!(serde_json::to_string(&Chosen::Unpriced).unwrap(), r#""unpriced""#);
        assert!(Chosen::Unpriced.to_string().contains("configured order"));
    }
}
