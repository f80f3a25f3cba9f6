//! Classes: the labels they serve, their machine specs and their time limits.

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use super::friendly::Friendly;
use super::machine::MachineSpec;
use super::names::text_id;

text_id! {
    /// The name of a class.
    ClassName
}

/// The labels that a class serves, and the machines it uses.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct Class {
    /// The name, used in tags, metrics and records.
    pub name: ClassName,
    /// Labels of its runners (`name[:schema[:arg]]`), or `["*"]` for any set without `host`.
    pub labels: Vec<String>,
    /// Whether it also serves jobs without labels.
    #[serde(default)]
    pub serves_unlabeled: bool,
    /// Machine specs in order of preference.
    pub machines: Vec<MachineSpec>,
    /// The maximum number of machines at once.
    #[serde(default)]
    pub limit: Option<u32>,
    /// The maximum number of machines at once for one repository.
    #[serde(default)]
    pub repo_limit: Option<u32>,
    /// Its time limits.
    #[serde(default)]
    pub times: Times,
}

/// The time limits of a class.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Times {
    /// From launch to runner online.
    #[serde(with = "Friendly")]
    pub boot_within: SignedDuration,
    /// From runner start to job; then the machine shuts itself down.
    #[serde(with = "Friendly")]
    pub idle_within: SignedDuration,
    /// The maximum age of a machine, busy or not.
    #[serde(with = "Friendly")]
    pub max_age: SignedDuration,
    /// The maximum time that a run waits before it is given up.
    #[serde(with = "Friendly")]
    pub give_up_after: SignedDuration,
    /// The maximum time that a displaced job waits for a reassigned machine.
    #[serde(with = "Friendly")]
    pub assign_within: SignedDuration,
    /// The time for which a finished run is kept.
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

/// The maximum number of seats in a class and for one repository in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct SeatLimits {
    /// The maximum in the class; `None`: no limit.
    pub class: Option<u32>,
    /// The maximum for the repository; `None`: no limit.
    pub repo: Option<u32>,
}

/// The label that never gets a machine: such jobs belong to a runner on the forge's own host.
pub const HOST: &str = "host";

/// Returns a label's name without its schema: `linux` for `linux:docker://image`.
pub fn label_name(label: &str) -> &str {
    label.split_once(':').map_or(label, |(name, _)| name)
}

/// Returns whether a runner with `labels` may take a job that asks for `runs_on`
/// (Gitea `models/actions/runner.go` `CanMatchLabels`: every label, exact, nothing implied).
pub fn labels_match(labels: &[String], runs_on: &[String]) -> bool {
    runs_on.iter().all(|wanted| labels.iter().any(|label| label_name(label) == wanted))
}

impl Class {
    /// Returns whether the class serves jobs with these labels.
    pub fn serves(&self, runs_on: &[String]) -> bool {
        if runs_on.is_empty() {
            return self.serves_unlabeled;
        }
        if self.is_any() {
            // No runner can carry an empty label (`runs-on: ''`) or one with a colon.
            return runs_on
                .iter()
                .all(|label| label != HOST && !label.is_empty() && !label.contains(':'));
        }
        labels_match(&self.labels, runs_on)
    }

    /// Returns whether the class serves any set of labels.
    pub fn is_any(&self) -> bool {
        self.labels.iter().any(|label| label == "*")
    }

    /// Returns the labels of a runner for a job that asks for `runs_on`.
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

    /// Returns whether the class counts seats.
    pub fn has_limit(&self) -> bool {
        self.limit.is_some() || self.repo_limit.is_some()
    }
}

/// Returns the first class that serves these labels.
pub fn serving<'a>(classes: &'a [Class], runs_on: &[String]) -> Option<&'a Class> {
    classes.iter().find(|class| class.serves(runs_on))
}
