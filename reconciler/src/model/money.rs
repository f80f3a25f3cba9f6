//! Amounts of money.

use std::fmt;
use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

/// A price or a cost in millionths of a US dollar.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct MicroUsd(pub u64);

impl MicroUsd {
    /// Returns the cost of so many seconds at this price per hour, rounded.
    pub fn for_seconds(self, seconds: u64) -> Self {
        let cost = (u128::from(self.0) * u128::from(seconds) + 1_800) / 3_600;
        Self(u64::try_from(cost).unwrap_or(u64::MAX))
    }
}

/// The dollars with all their decimals: `3.1`, `0.000507`.
impl fmt::Display for MicroUsd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000);
        f.write_str(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

impl AddAssign for MicroUsd {
    fn add_assign(&mut self, other: Self) {
        self.0 = self.0.saturating_add(other.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cost_is_rounded_to_the_millionth() {
        assert_eq!(MicroUsd(20_500).for_seconds(3_600), MicroUsd(20_500));
        assert_eq!(MicroUsd(20_500).for_seconds(0), MicroUsd(0));
        assert_eq!(MicroUsd(1).for_seconds(1_799), MicroUsd(0));
        assert_eq!(MicroUsd(1).for_seconds(1_800), MicroUsd(1));
        assert_eq!(MicroUsd(u64::MAX).for_seconds(7_200), MicroUsd(u64::MAX), "no overflow");
    }
}
