//! A class: which labels it serves, with which machines, within which times.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::run::{Refusal, text_id};

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
    /// Machines that are skipped for now, filled in by the observer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub short: Vec<Shortage>,
    /// Why no launch of it is made for a while, filled in by the observer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broken: Option<Broken>,
}

/// How long a class waits for what.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Times {
    /// Launch to runner online.
    #[serde(with = "Friendly")]
    pub boot_within: SignedDuration,
    /// Runner started to job; then it drains itself.
    #[serde(with = "Friendly")]
    pub idle_within: SignedDuration,
    /// Of a machine, whatever it does.
    #[serde(with = "Friendly")]
    pub max_age: SignedDuration,
    /// A run waiting this long is given up.
    #[serde(with = "Friendly")]
    pub give_up_after: SignedDuration,
    /// After being robbed, wait this long for the robber's machine.
    #[serde(with = "Friendly")]
    pub assign_within: SignedDuration,
    /// How long a finished run is kept.
    #[serde(with = "Friendly")]
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
    fn covers(&self, machine: &Machine) -> bool {
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

    /// Until when this machine is skipped: it was refused.
    pub fn short_until(&self, machine: &Machine, now: Timestamp) -> Option<Timestamp> {
        self.marks(machine, now).filter(|s| s.cause != Cause::Reclaimed).map(|s| s.until).max()
    }

    /// What rules this machine out for longest, where something does.
    pub fn short_for(&self, machine: &Machine, now: Timestamp) -> Option<Cause> {
        let ruling = self.marks(machine, now).filter(|s| s.cause != Cause::Reclaimed);
        ruling.max_by_key(|s| s.until).map(|s| s.cause)
    }

    fn marks(&self, machine: &Machine, now: Timestamp) -> impl Iterator<Item = &Shortage> {
        self.short.iter().filter(move |s| s.until > now && s.covers(machine))
    }

    /// The machine to ask for: the first that is not skipped and may be taken, those last of which
    /// the cloud has just taken one back.
    pub fn choose(&self, now: Timestamp, may: impl Fn(&Machine) -> bool) -> Option<&Machine> {
        let free = |m: &&Machine| may(m) && self.short_until(m, now).is_none();
        let calm = |m: &&Machine| free(m) && self.marks(m, now).next().is_none();
        self.machines.iter().find(calm).or_else(|| self.machines.iter().find(free))
    }

    /// Why no launch of it is made now.
    pub fn broken(&self, now: Timestamp) -> Option<&Broken> {
        self.broken.as_ref().filter(|broken| broken.until > now)
    }
}

/// The first class that serves these labels.
pub fn serving<'a>(classes: &'a [Class], runs_on: &[String]) -> Option<&'a Class> {
    classes.iter().find(|class| class.serves(runs_on))
}

/// How a duration is written, for `#[serde(with = "Friendly")]`: `5m`, `1h 30m`, `10s`. A type
/// rather than a module, so that the schema follows it too.
pub struct Friendly;

impl Friendly {
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

#[cfg(feature = "schemars")]
impl schemars::JsonSchema for Friendly {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Duration".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        // Not of the format `duration`, which is ISO 8601's.
        schemars::json_schema!({ "type": "string" })
    }
}
