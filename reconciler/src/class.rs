//! A class: which labels it serves, with which machines, within which times.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::run::text_id;

text_id! {
    /// A class's name.
    ClassName
}

/// Which labels are served, and how.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct Class {
    /// Its name: in tags, metrics, records.
    pub name: ClassName,
    /// Labels its runners carry (`name[:schema[:arg]]`), or `["*"]`: any set without `host`.
    pub labels: Vec<String>,
    /// Also jobs that ask for no label at all.
    #[serde(default)]
    pub serves_unlabelled: bool,
    /// Machines in order of preference.
    pub machines: Vec<Machine>,
    /// Most machines at once.
    #[serde(default)]
    pub limit: Option<u32>,
    /// Most machines at once for one repository.
    #[serde(default)]
    pub repo_limit: Option<u32>,
    /// The times it keeps.
    #[serde(default)]
    pub times: Times,
    /// Machines remembered as out of capacity, filled in by the observer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub short: Vec<Shortage>,
}

/// How long a class waits for what.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Times {
    /// Launch to runner online.
    #[serde(with = "friendly")]
    #[cfg_attr(feature = "schemars", schemars(with = "String"))]
    pub boot_within: SignedDuration,
    /// Runner started to job; then it drains itself.
    #[serde(with = "friendly")]
    #[cfg_attr(feature = "schemars", schemars(with = "String"))]
    pub idle_within: SignedDuration,
    /// Of a machine, whatever it does.
    #[serde(with = "friendly")]
    #[cfg_attr(feature = "schemars", schemars(with = "String"))]
    pub max_age: SignedDuration,
    /// A run waiting this long is given up.
    #[serde(with = "friendly")]
    #[cfg_attr(feature = "schemars", schemars(with = "String"))]
    pub give_up_after: SignedDuration,
    /// After being robbed, wait this long for the robber's machine.
    #[serde(with = "friendly")]
    #[cfg_attr(feature = "schemars", schemars(with = "String"))]
    pub assign_within: SignedDuration,
    /// How long a finished run is kept.
    #[serde(with = "friendly")]
    #[cfg_attr(feature = "schemars", schemars(with = "String"))]
    pub keep: SignedDuration,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            boot_within: SignedDuration::from_mins(5),
            idle_within: SignedDuration::from_mins(2),
            max_age: SignedDuration::from_hours(6),
            give_up_after: SignedDuration::from_hours(24),
            assign_within: SignedDuration::from_secs(60),
            keep: SignedDuration::from_hours(7 * 24),
        }
    }
}

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

/// A machine remembered as out of capacity.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct Shortage {
    /// The machine that was refused.
    pub machine: Machine,
    /// How long it is skipped.
    #[cfg_attr(feature = "schemars", schemars(with = "String"))]
    pub until: Timestamp,
}

/// The label that never gets a machine: such jobs belong to a runner on the forge's own host.
pub const HOST: &str = "host";

/// A label's name without its schema: `linux:docker://image` is `linux`.
pub fn label_name(label: &str) -> &str {
    label.split_once(':').map_or(label, |(name, _)| name)
}

/// Whether a runner that carries `labels` may take a job that asks for `runs_on`
/// (Gitea `models/actions/runner.go` `CanMatchLabels`: every label, exact, nothing implied).
pub fn labels_match(labels: &[String], runs_on: &[String]) -> bool {
    runs_on.iter().all(|wanted| labels.iter().any(|label| label_name(label) == wanted))
}

impl Class {
    /// Whether it gives machines to jobs with these labels.
    pub fn serves(&self, runs_on: &[String]) -> bool {
        if runs_on.is_empty() {
            return self.serves_unlabelled;
        }
        if self.is_any() {
            // No runner can carry an empty label (`runs-on: ''`) or one with a colon.
            return runs_on
                .iter()
                .all(|label| label != HOST && !label.is_empty() && !label.contains(':'));
        }
        labels_match(&self.labels, runs_on)
    }

    /// Whether it serves any set of labels.
    pub fn is_any(&self) -> bool {
        self.labels.iter().any(|label| label == "*")
    }

    /// The labels that a runner for such a job carries.
    pub fn runner_labels(&self, runs_on: &[String]) -> Vec<String> {
        if !self.is_any() {
            return self.labels.clone();
        }
        let own = self.labels.iter().filter(|label| *label != "*");
        let mut labels: Vec<String> = own.cloned().collect();
        for wanted in runs_on {
            if !labels.iter().any(|label| label_name(label) == wanted) {
                labels.push(format!("{wanted}:host"));
            }
        }
        labels
    }

    /// Whether places in it are counted.
    pub fn has_limit(&self) -> bool {
        self.limit.is_some() || self.repo_limit.is_some()
    }

    /// Until when this machine is skipped for want of capacity.
    pub fn short_until(&self, machine: &Machine, now: Timestamp) -> Option<Timestamp> {
        self.short
            .iter()
            .filter(|s| s.machine.same_capacity(machine) && s.until > now)
            .map(|s| s.until)
            .max()
    }
}

/// The first class that serves these labels.
pub fn serving<'a>(classes: &'a [Class], runs_on: &[String]) -> Option<&'a Class> {
    classes.iter().find(|class| class.serves(runs_on))
}

/// Durations written as `5m`, `1h 30m`, `10s`.
pub mod friendly {
    use jiff::SignedDuration;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    /// Writes `5m`.
    pub fn serialize<S: Serializer>(
        duration: &SignedDuration,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{duration:#}"))
    }

    /// Reads `5m`.
    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<SignedDuration, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|_| {
            D::Error::custom(format!(
                "`{text}` is not a duration: expected e.g. \"90s\", \"5m\", \"1h 30m\""
            ))
        })
    }
}
