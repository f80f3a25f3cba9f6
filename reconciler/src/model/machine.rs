//! What machine is asked for, and why one cannot be had for a while.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// What machine is asked for. Kind, subnet and market are what capacity is remembered by.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct Machine {
    /// Instance type, or `process`.
    pub kind: String,
    /// Subnet id; empty where there is none.
    #[serde(default)]
    pub subnet: String,
    /// How it is paid.
    #[serde(default)]
    pub market: Market,
    /// Image id; empty where there is none.
    #[serde(default)]
    pub image: String,
    /// Security group ids.
    #[serde(default)]
    pub security_groups: Vec<String>,
    /// Instance profile; empty for none.
    #[serde(default)]
    pub instance_profile: String,
}

impl Machine {
    /// Whether `other` draws on the same capacity.
    pub fn same_capacity(&self, other: &Machine) -> bool {
        self.kind == other.kind && self.subnet == other.subnet && self.market == other.market
    }
}

/// How a machine is paid.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Market {
    /// May be interrupted.
    Spot,
    /// Is not interrupted.
    #[default]
    OnDemand,
}

impl fmt::Display for Market {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Spot => "spot",
            Self::OnDemand => "on-demand",
        })
    }
}

/// What a refusal of a launch speaks of: how far it reaches, and how long it is remembered.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The kind, in that subnet and market, is out of capacity for now.
    #[default]
    Capacity,
    /// The kind is not offered there at all: the configuration asks for what there is not.
    Unsupported,
    /// The subnet has no free address, whatever the kind.
    Addresses,
    /// The account's quota is used up, for the class's machines in that market.
    Quota,
    /// The account may not use that market.
    Market,
    /// The cloud took a machine back: others are preferred, and none is ruled out.
    Reclaimed,
    /// The attempt's own fault: it says nothing of others, and is not remembered.
    Attempt,
}

impl Cause {
    /// How long it is remembered.
    pub fn remembered_for(self) -> SignedDuration {
        match self {
            Self::Capacity | Self::Addresses | Self::Market | Self::Reclaimed => {
                SignedDuration::from_mins(3)
            }
            Self::Unsupported => SignedDuration::from_hours(1),
            Self::Quota => SignedDuration::from_secs(60),
            Self::Attempt => SignedDuration::ZERO,
        }
    }
}

/// A machine that is skipped for a while, and others of its kind, subnet or market with it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct Shortage {
    /// The machine that was refused, or taken back.
    pub machine: Machine,
    /// How long it is skipped.
    #[cfg_attr(feature = "schemars", schemars(with = "String"))]
    pub until: Timestamp,
    /// Why.
    #[serde(default)]
    pub cause: Cause,
}

impl Shortage {
    /// Whether it reaches to this machine.
    pub(super) fn covers(&self, machine: &Machine) -> bool {
        match self.cause {
            Cause::Capacity | Cause::Unsupported | Cause::Quota | Cause::Reclaimed => {
                self.machine.same_capacity(machine)
            }
            Cause::Addresses => self.machine.subnet == machine.subnet,
            Cause::Market => self.machine.market == machine.market,
            Cause::Attempt => false,
        }
    }
}

/// A breaker that is open: the cloud refused a launch of the class for what an operator must mend.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct Broken {
    /// How the last launch was refused.
    pub why: Refusal,
    /// The refusal and its remedy, for people.
    pub message: String,
    /// Since when launches are held.
    #[cfg_attr(feature = "schemars", schemars(with = "String"))]
    pub since: Timestamp,
    /// Until when none is made; then one attempt may try.
    #[cfg_attr(feature = "schemars", schemars(with = "String"))]
    pub until: Timestamp,
}

/// Why the cloud refuses a launch for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub enum Refusal {
    /// No capacity for this kind, here, in this market.
    NoCapacity,
    /// An account limit.
    Limit,
    /// We may not.
    Denied,
    /// What we ask for is wrong.
    Invalid,
}
