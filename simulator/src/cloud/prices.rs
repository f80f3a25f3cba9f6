//! Prices of machines by kind and market, the same in every zone.

use tinqs_ci_reconciler::model::{Market, MicroUsd};

/// A kind whose price nobody knows.
pub const UNPRICED: &str = "g5.xlarge";

/// Returns the price per hour of a kind in a market; `None`: nobody knows it.
pub fn price(kind: &str, market: Market) -> Option<MicroUsd> {
    if kind == UNPRICED {
        return None;
    }
    let letters = kind.bytes().map(u64::from).sum::<u64>();
    let of_letter = match market {
        Market::Spot => 160,
        Market::OnDemand => 416,
    };
    Some(MicroUsd(letters * of_letter))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_kinds_have_a_price_and_spot_is_cheaper() {
        for kind in ["t3.small", "c7a.large", "c7a.2xlarge"] {
            let (spot, on_demand) = (price(kind, Market::Spot), price(kind, Market::OnDemand));
            assert!(Some(MicroUsd(0)) < spot && spot < on_demand, "{kind}: {spot:?}");
        }
        assert_ne!(price("t3.small", Market::Spot), price("c7a.large", Market::Spot));
        assert_eq!(
            (price(UNPRICED, Market::Spot), price(UNPRICED, Market::OnDemand)),
            (None, None)
        );
    }
}
