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

    /// Returns whether the class counts seats.
    pub fn has_limit(&self) -> bool {
        self.limit.is_some() || self.repo_limit.is_some()
    }
}

/// Returns whether a class that serves any labels serves this one. No runner can carry an empty
/// label (`runs-on: ''`) or one with a colon.
fn can_be_any(label: &str) -> bool {
    label != HOST && !label.is_empty() && !label.contains(':')
}

/// The class that comes closest to serving a set of labels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct NearestClass {
    /// The class.
    pub class: ClassName,
    /// The labels that it lacks; empty if only `serves_unlabeled` is missing.
    pub lacks: Vec<String>,
}

/// Returns the class that lacks the fewest of these labels, the first of several. `None` if a class
/// serves them, or if no class has any of them.
pub fn nearest(classes: &[Class], runs_on: &[String]) -> Option<NearestClass> {
    if serving(classes, runs_on).is_some() {
        return None;
    }
    let lacking = classes.iter().map(|class| (class, class.lacks(runs_on)));
    let related = lacking.filter(|(_, lacks)| lacks.is_empty() || lacks.len() < runs_on.len());
    let (class, lacks) = related.min_by_key(|(_, lacks)| lacks.len())?;
    Some(NearestClass { class: class.name.clone(), lacks })
}

/// Returns the first class that serves these labels.
pub fn serving<'a>(classes: &'a [Class], runs_on: &[String]) -> Option<&'a Class> {
    classes.iter().find(|class| class.serves(runs_on))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(name: &str, labels: &[&str]) -> Class {
        Class {
            name: ClassName(name.to_owned()),
            labels: labels.iter().map(|label| (*label).to_owned()).collect(),
            serves_unlabeled: false,
            machines: Vec::new(),
            limit: None,
            repo_limit: None,
            times: Times::default(),
        }
    }

    fn nearest_of(classes: &[Class], runs_on: &[&str]) -> Option<(String, Vec<String>)> {
        let runs_on: Vec<String> = runs_on.iter().map(|label| (*label).to_owned()).collect();
        nearest(classes, &runs_on).map(|near| (near.class.0, near.lacks))
    }

    fn near(class: &str, lacks: &[&str]) -> (String, Vec<String>) {
        (class.to_owned(), lacks.iter().map(|label| (*label).to_owned()).collect())
    }

    #[test]
    fn the_nearest_class_lacks_the_fewest_labels() {
        let classes = [
            class("small", &["linux:docker://image"]),
            class("big", &["linux", "x64", "big"]),
            class("arm", &["linux", "arm64"]),
        ];
        assert_eq!(nearest_of(&classes, &["linux", "x64", "gpu"]), Some(near("big", &["gpu"])));
        assert_eq!(nearest_of(&classes, &["linux", "gpu"]), Some(near("small", &["gpu"])));
        assert_eq!(nearest_of(&classes, &["arm64", "x64"]), Some(near("big", &["arm64"])));
        assert_eq!(nearest_of(&classes, &["windows"]), None, "no label in common");
        assert_eq!(nearest_of(&classes, &["linux", "big"]), None, "a class serves them");
        assert_eq!(nearest_of(&[], &["linux"]), None);
    }

    #[test]
    fn a_job_without_labels_lacks_only_the_permission() {
        assert_eq!(nearest_of(&[class("small", &["linux"])], &[]), Some(near("small", &[])));
        let open = Class { serves_unlabeled: true, ..class("open", &["linux"]) };
        assert_eq!(nearest_of(&[open], &[]), None);
    }

    #[test]
    fn a_class_for_any_labels_lacks_what_no_runner_carries() {
        let any = [class("any", &["*"])];
        assert_eq!(nearest_of(&any, &["linux", "host"]), Some(near("any", &["host"])));
        assert_eq!(nearest_of(&any, &["a:b", "linux"]), Some(near("any", &["a:b"])));
        assert_eq!(nearest_of(&any, &["host"]), None);
    }
}
