//! Classes: the labels they serve, their machine specs and their time limits.

use std::fmt;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use super::allocation::Allocation;
use super::friendly::Friendly;
use super::machine::MachineSpec;
use super::money::MicroUsd;
use super::names::text_id;
use super::repos::pattern_fits;
use super::rerun::RerunPolicy;
use super::seat_limits::SeatLimits;
use crate::text::cut;

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
    /// Patterns of the repositories whose jobs it serves, `owner/name` with `*` for any part of
    /// either; empty: every repository.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub repos: Vec<String>,
    /// Machine specs in order of preference.
    pub machines: Vec<MachineSpec>,
    /// The maximum number of machines at once; `None`: no limit.
    #[serde(default)]
    pub limit: Option<u32>,
    /// The maximum number of machines at once for one repository; `None`: no limit.
    #[serde(default)]
    pub repo_limit: Option<u32>,
    /// The maximum number of machines at once for all repositories of one owner; `None`: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner_limit: Option<u32>,
    /// The cost of its machines per day at which it launches no more; `None`: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<MicroUsd>,
    /// The order in which its machine specs are tried.
    #[serde(default, skip_serializing_if = "Allocation::is_order")]
    pub allocation: Allocation,
    /// Whether its jobs are run again whose machines the cloud took.
    #[serde(default, skip_serializing_if = "RerunPolicy::is_default")]
    pub rerun: RerunPolicy,
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
    /// The time that a machine stays after a job that asked for it; zero: not at all.
    #[serde(with = "Friendly", skip_serializing_if = "SignedDuration::is_zero")]
    pub hold: SignedDuration,
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
            hold: SignedDuration::ZERO,
        }
    }
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
    /// Returns whether the class serves jobs of this repository (`owner/name`) with these labels.
    pub fn serves(&self, repo: &str, runs_on: &[String]) -> bool {
        self.serves_labels(runs_on) && self.is_for(repo)
    }

    /// Returns whether the class serves jobs of this repository, whatever their labels.
    pub fn is_for(&self, repo: &str) -> bool {
        self.repos.is_empty() || self.repos.iter().any(|pattern| pattern_fits(pattern, repo))
    }

    /// Returns whether the class serves jobs with these labels, of a repository that it is for.
    pub fn serves_labels(&self, runs_on: &[String]) -> bool {
        if runs_on.is_empty() {
            return self.serves_unlabeled;
        }
        if self.is_any() {
            return runs_on.iter().all(|label| can_be_any(label));
        }
        labels_match(&self.labels, runs_on)
    }

    /// Returns the labels of `runs_on` that keep the class from serving them.
    fn lacks(&self, runs_on: &[String]) -> Vec<String> {
        let has = |wanted: &String| {
            if self.is_any() {
                can_be_any(wanted)
            } else {
                self.labels.iter().any(|label| label_name(label) == wanted)
            }
        };
        runs_on.iter().filter(|wanted| !has(wanted)).cloned().collect()
    }

    /// Returns whether the class serves any set of labels.
    pub fn is_any(&self) -> bool {
        self.labels.iter().any(|label| label == "*")
    }

    /// Returns the labels of a runner for a job that asks for `runs_on`: exactly those, each with
    /// the schema that the class gives it. With more of them, it could take other jobs.
    pub fn runner_labels(&self, runs_on: &[String]) -> Vec<String> {
        let mut labels: Vec<String> = Vec::with_capacity(runs_on.len());
        for wanted in runs_on {
            let own = self.labels.iter().find(|label| label_name(label) == wanted);
            let label = own.cloned().unwrap_or_else(|| format!("{wanted}:host"));
            if !labels.contains(&label) {
                labels.push(label);
            }
        }
        labels
    }

    /// Returns how many seats may be taken at once.
    pub fn seat_limits(&self) -> SeatLimits {
        SeatLimits { class: self.limit, repo: self.repo_limit, owner: self.owner_limit }
    }

    /// Returns whether the class counts seats.
    pub fn has_limit(&self) -> bool {
        self.seat_limits() != SeatLimits::default()
    }
}

/// Returns whether a class that serves any labels serves this one. No runner can carry an empty
/// label (`runs-on: ''`) or one with a colon.
fn can_be_any(label: &str) -> bool {
    label != HOST && !label.is_empty() && !label.contains(':')
}

/// The class that comes closest to serving a job.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct NearestClass {
    /// The class.
    pub class: ClassName,
    /// The labels that it lacks. Empty if it has all of them, and only `serves_unlabeled` is
    /// missing or it is for other repositories.
    pub lacks: Vec<String>,
    /// The patterns of the repositories that it is for, if the job's is none of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub repos: Vec<String>,
}

/// Says why the class does not serve the job, as a part of a sentence.
impl fmt::Display for NearestClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { class, lacks, repos } = self;
        let lacks = cut(&lacks.join(", "), 120);
        let only = cut(&repos.join(", "), 120);
        match (lacks.is_empty(), repos.is_empty()) {
            (true, true) => write!(f, "class {class} lacks `serves_unlabeled = true`"),
            (true, false) => {
                write!(f, "class {class} fits but for its `repos`: it serves only {only}")
            }
            (false, true) => write!(f, "the nearest, {class}, lacks {lacks}"),
            (false, false) => {
                write!(f, "the nearest, {class}, lacks {lacks} and serves only {only}")
            }
        }
    }
}

/// Returns the class that lacks the fewest of these labels; of several one that is for the
/// repository, then the first. `None` if a class serves the job, or if no class has any of the
/// labels.
pub fn nearest(classes: &[Class], repo: &str, runs_on: &[String]) -> Option<NearestClass> {
    if serving(classes, repo, runs_on).is_some() {
        return None;
    }
    let lacking = classes.iter().map(|class| (class, class.lacks(runs_on)));
    let related = lacking.filter(|(_, lacks)| lacks.is_empty() || lacks.len() < runs_on.len());
    let (class, lacks) = related.min_by_key(|(class, lacks)| {
        (lacks.len(), !class.serves_labels(runs_on), !class.is_for(repo))
    })?;
    let repos = if class.is_for(repo) { Vec::new() } else { class.repos.clone() };
    Some(NearestClass { class: class.name.clone(), lacks, repos })
}

/// Returns the first class that serves a job of this repository (`owner/name`) with these labels.
pub fn serving<'a>(classes: &'a [Class], repo: &str, runs_on: &[String]) -> Option<&'a Class> {
    classes.iter().find(|class| class.serves(repo, runs_on))
}

#[cfg(test)]
mod tests;
