//! The order in which the machine specs of a class are tried.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::machine::MachineSpec;
use super::money::MicroUsd;

/// In which order the machine specs of a class are tried.
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

/// What is known of the pool of a machine spec: of its kind in its subnet and market.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct Pool {
    /// The current price per hour; `None`: not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<MicroUsd>,
    /// Whether it had no capacity, or lost a machine to the cloud, in the last quarter of an hour.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub failed_lately: bool,
}

/// Returns the machine specs in the order in which they are tried. Those of a market stay together;
/// among them, pools that failed lately come last, then those without a price, then dearer ones, and
/// equals as configured. `pools` are those of the specs, in the same order; without them the
/// configured order holds.
pub(super) fn ordered<'a>(machines: &'a [MachineSpec], pools: &[Pool]) -> Vec<&'a MachineSpec> {
    if pools.len() != machines.len() {
        return machines.iter().collect();
    }
    let first = machines.first().map(|spec| spec.market);
    let mut all: Vec<(&MachineSpec, &Pool)> = machines.iter().zip(pools).collect();
    all.sort_by_key(|(spec, pool)| {
        (Some(spec.market) != first, pool.failed_lately, pool.price.is_none(), pool.price)
    });
    all.into_iter().map(|(spec, _)| spec).collect()
}

/// Returns why one of the machine specs was chosen.
pub(super) fn chosen(machines: &[MachineSpec], pools: &[Pool], machine: &MachineSpec) -> Chosen {
    let mut pools = machines.iter().zip(pools);
    let price = pools.find(|(spec, _)| *spec == machine).and_then(|(_, pool)| pool.price);
    price.map_or(Chosen::Unpriced, Chosen::Price)
}

/// Why a placement was asked for before others of a class that orders its machines by price.
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
    use super::super::machine::Market;
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
        Pool { price: Some(MicroUsd(price)), failed_lately: false }
    }

    /// The subnets in order, of four spot machines and one on demand.
    fn order(pools: &[Pool]) -> String {
        let spot = ["a", "b", "c", "d"].map(|subnet| spec(subnet, Market::Spot));
        let machines = [&spot[..], &[spec("e", Market::OnDemand)]].concat();
        ordered(&machines, pools).iter().map(|spec| spec.subnet.as_str()).collect()
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

    #[test]
    fn what_chose_a_placement_is_said_and_recorded() {
        let by_price = Chosen::Price(MicroUsd(7_000));
        assert_eq!(by_price.to_string(), "chosen by price, $0.007/h");
        assert_eq!(serde_json::to_string(&by_price).unwrap(), r#"{"price":7000}"#);
        assert_eq!(serde_json::to_string(&Chosen::Unpriced).unwrap(), r#""unpriced""#);
        assert!(Chosen::Unpriced.to_string().contains("configured order"));
    }
}
