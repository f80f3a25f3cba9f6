//! A class: which labels it serves, with which machines, within which times.

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use super::friendly::Friendly;
use super::machine::Machine;
use super::names::text_id;

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

/// Most seats in a class, and for one repository in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct SeatLimits {
    /// In the class.
    pub class: Option<u32>,
    /// For the repository.
    pub repo: Option<u32>,
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
}

/// The first class that serves these labels.
pub fn serving<'a>(classes: &'a [Class], runs_on: &[String]) -> Option<&'a Class> {
    classes.iter().find(|class| class.serves(runs_on))
}
