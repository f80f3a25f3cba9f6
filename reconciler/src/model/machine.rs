//! Machine specs, and offerings that are unavailable for a while.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::runner_setup::RunnerSetup;

use super::machine_options::MachineOptions;

/// A machine spec: what the cloud is asked for. Kind, subnet and market identify the offering.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct MachineSpec {
    /// The instance type, or `process`.
    pub kind: String,
    /// The subnet ID; empty if there is none.
    #[serde(default)]
    pub subnet: String,
    /// The purchase option.
    #[serde(default)]
    pub market: Market,
    /// The image ID; empty if there is none.
    #[serde(default)]
    pub image: String,
    /// Security group IDs.
    #[serde(default)]
    pub security_groups: Vec<String>,
    /// The instance profile; empty for none.
    #[serde(default)]
    pub instance_profile: String,
    /// The runner; `None`: one that the image has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runner: Option<Box<RunnerSetup>>,
    /// The other options of the request to the cloud.
    #[serde(default, skip_serializing_if = "MachineOptions::is_default")]
    pub options: MachineOptions,
}

impl MachineSpec {
    /// Returns whether its kind has CPU credits, as the T families of EC2.
    pub fn is_burstable(&self) -> bool {
        let mut letters = self.kind.chars();
        letters.next() == Some('t') && letters.next().is_some_and(|c| c.is_ascii_digit())
    }

    /// Returns whether `other` draws on the same capacity.
    pub fn same_capacity(&self, other: &MachineSpec) -> bool {
        self.kind == other.kind && self.subnet == other.subnet && self.market == other.market
    }
}

/// The purchase option of a machine.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Market {
    /// The cloud may interrupt it.
    Spot,
    /// The cloud does not interrupt it.
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

/// The cause of unavailability. It decides which offerings are affected, and for how long.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// No capacity for the kind in that subnet and market.
    #[default]
    Capacity,
    /// The kind is not offered there at all: the configuration is wrong.
    Unsupported,
    /// The subnet has no free address for any kind.
    Addresses,
    /// The account's quota for the class's machines in that market is used up.
    Quota,
    /// The account may not use that market.
    Market,
    /// The attempt itself is at fault: no offering is affected.
    Attempt,
    /// The price is not known, and the class has a budget: of that class alone.
    Unpriced,
}

impl Cause {
    /// Returns how long an offering is unavailable for this cause.
    pub fn cached_for(self) -> SignedDuration {
        match self {
            Self::Capacity | Self::Addresses | Self::Market => SignedDuration::from_mins(3),
            Self::Unsupported => SignedDuration::from_hours(1),
            Self::Quota => SignedDuration::from_secs(60),
            // What is known of a price is asked each time.
            Self::Attempt | Self::Unpriced => SignedDuration::ZERO,
        }
    }
}

/// An unavailable offering. The cause decides which machine specs it covers.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct UnavailableOffering {
    /// The spec of the machine that was refused.
    pub machine: MachineSpec,
    /// Time at which it is available again.
    #[cfg_attr(feature = "schemars", schemars(with = "String"))]
    pub until: Timestamp,
    /// The cause.
    #[serde(default)]
    pub cause: Cause,
}

impl UnavailableOffering {
    /// Returns whether it covers this machine spec.
    pub(super) fn covers(&self, machine: &MachineSpec) -> bool {
        match self.cause {
            Cause::Capacity | Cause::Unsupported | Cause::Quota | Cause::Unpriced => {
                self.machine.same_capacity(machine)
            }
            Cause::Addresses => self.machine.subnet == machine.subnet,
            Cause::Market => self.machine.market == machine.market,
            Cause::Attempt => false,
        }
    }
}

/// An open breaker: the cloud refused a launch of the class, and an operator must act.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct OpenBreaker {
    /// The reason of the last refusal.
    pub why: Refusal,
    /// The refusal and its remedy, for people.
    pub message: String,
    /// Time at which launches were stopped.
    #[cfg_attr(feature = "schemars", schemars(with = "String"))]
    pub since: Timestamp,
    /// Time from which one attempt may try again.
    #[cfg_attr(feature = "schemars", schemars(with = "String"))]
    pub until: Timestamp,
}

/// The reason why the cloud definitively refused a launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub enum Refusal {
    /// No capacity for the kind in this subnet and market.
    NoCapacity,
    /// An account limit is reached.
    Limit,
    /// A permission is missing.
    Denied,
    /// The request is invalid.
    Invalid,
}

/// The refusal in words for people, with its remedy: the only place that words it.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoCapacity => "the cloud has no capacity",
            Self::Limit => "an account limit is reached",
            Self::Denied => "the cloud denied the launch: run `tinqs-ci doctor`",
            Self::Invalid => "the cloud rejected the launch as invalid: run `tinqs-ci doctor`",
        })
    }
}
