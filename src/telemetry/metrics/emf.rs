//! Counters in `CloudWatch`'s embedded metric format: JSON lines on stdout, from which `CloudWatch`
//! makes metrics. Source: Amazon `CloudWatch` User Guide, "Specification: Embedded metric format".
//!
//! A Lambda function cannot be scraped, because each of its processes counts for itself. Each
//! invocation tells by how much the counters of its process have grown, so that their sum is right.

use std::collections::BTreeMap;

use jiff::Timestamp;
use parking_lot::Mutex;
use prometheus::proto::LabelPair;
use serde_json::{Value, json};

use super::{Family, Metrics, f};

/// The families that are told, with their units: AWS charges for each name and class.
const TOLD: [(Family, &str); 8] = [
    (f::RUN_OUTCOMES, "Count"),
    (f::LAUNCH_ATTEMPTS, "Count"),
    (f::INTERRUPTIONS, "Count"),
    (f::COST, "None"),
    (f::LAUNCH_REFUSED, "Count"),
    (f::RESYNC_FOUND, "Count"),
    (f::SNAPSHOT_ERRORS, "Count"),
    (f::PANICS, "Count"),
];
/// The one dimension: that of families with this label. Series are summed over all other labels.
const CLASS: &str = "class";

/// Sums of counters by class, then by name; those of families without classes are under "".
type Sums = BTreeMap<String, BTreeMap<&'static str, f64>>;

/// The sums that a process has told so far, and the namespace of its metrics.
pub struct Emf {
    namespace: String,
    told: Mutex<Sums>,
}

impl Emf {
    /// Nothing is told so far. The namespace of the metrics is the name of the installation.
    pub fn new(installation: &str) -> Self {
        Self { namespace: installation.to_owned(), told: Mutex::default() }
    }

    /// Returns lines about what has grown since the last call: one for each class, and one for what
    /// has no class. What has not grown is left out.
    pub fn lines(&self, metrics: &Metrics, now: Timestamp) -> Vec<String> {
        let sums = metrics.sums();
        let before = std::mem::replace(&mut *self.told.lock(), sums.clone());
        let mut lines = Vec::new();
        for (class, sums) in &sums {
            let told = |name: &str| before.get(class).and_then(|sums| sums.get(name)).copied();
            let grown = sums.iter().map(|(&name, sum)| (name, sum - told(name).unwrap_or(0.0)));
            let grown: BTreeMap<&str, f64> = grown.filter(|(_, by)| *by > 0.0).collect();
            if !grown.is_empty() {
                lines.push(self.line(class, &grown, now).to_string());
            }
        }
        lines
    }

    fn line(&self, class: &str, grown: &BTreeMap<&str, f64>, now: Timestamp) -> Value {
        let told = TOLD.iter().filter(|(family, _)| grown.contains_key(family.name));
        let names: Vec<Value> =
            told.map(|(family, unit)| json!({ "Name": family.name, "Unit": unit })).collect();
        let dimensions: &[&str] = if class.is_empty() { &[] } else { &[CLASS] };
        let mut line = json!(grown);
        line["_aws"] = json!({
            "Timestamp": now.as_millisecond(),
            "CloudWatchMetrics": [{
                "Namespace": self.namespace,
                "Dimensions": [dimensions],
                "Metrics": names,
            }],
        });
        if !class.is_empty() {
            line[CLASS] = class.into();
        }
        line
    }
}

impl Metrics {
    /// Sums up the counters that are told.
    fn sums(&self) -> Sums {
        let mut sums = Sums::new();
        for family in self.registry.gather() {
            let Some((told, _)) = TOLD.iter().find(|(told, _)| told.name == family.name()) else {
                continue;
            };
            for series in family.get_metric() {
                let class = series.get_label().iter().find(|label| label.name() == CLASS);
                let class = class.map_or("", LabelPair::value).to_owned();
                let sum = sums.entry(class).or_default().entry(told.name).or_default();
                *sum += series.get_counter().get_value();
            }
        }
        sums
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use tinqs_ci_testing::make;

    use super::super::{FAMILIES, Kind};
    use super::*;

    fn metrics() -> Metrics {
        Metrics::new(&[make::class("linux", Vec::new()), make::class("arm", Vec::new())])
    }

    fn told(emf: &Emf, metrics: &Metrics) -> Vec<Value> {
        let now = Timestamp::from_millisecond(1_800_000_000_123).expect("a time");
        let lines = emf.lines(metrics, now);
        assert!(lines.iter().all(|line| !line.contains('\n')), "{lines:?}");
        lines.iter().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    #[test]
    fn eight_counters_are_told_by_class_at_most() {
        let names: BTreeSet<&str> = TOLD.iter().map(|(family, _)| family.name).collect();
        assert_eq!(names.len(), 8);
        for (family, _) in TOLD {
            assert!(FAMILIES.contains(&family) && family.kind == Kind::Counter, "{}", family.name);
        }
    }

    #[test]
    fn each_line_tells_what_has_grown_since_the_last() {
        let (emf, metrics) = (Emf::new("tinqs-ci"), metrics());
        assert_eq!(told(&emf, &metrics), [] as [Value; 0], "nothing has grown");
        for outcome in ["succeeded", "failed"] {
            metrics.outcomes.with_label_values(&["linux", outcome]).inc();
        }
        metrics.outcomes.with_label_values(&["arm", "failed"]).inc();
        metrics.panicked("run");
        let head = |dimensions: Value, name: &str| {
            json!({
                "Timestamp": 1_800_000_000_123_i64,
                "CloudWatchMetrics": [{
                    "Namespace": "tinqs-ci",
                    "Dimensions": [dimensions],
                    "Metrics": [{ "Name": name, "Unit": "Count" }],
                }],
            })
        };
        let (outcomes, panics) = ("tinqs_ci_run_outcomes_total", "tinqs_ci_reconcile_panics_total");
        let expected = [
            json!({ "_aws": head(json!([]), panics), panics: 1.0 }),
            json!({ "_aws": head(json!(["class"]), outcomes), "class": "arm", outcomes: 1.0 }),
            json!({ "_aws": head(json!(["class"]), outcomes), "class": "linux", outcomes: 2.0 }),
        ];
        assert_eq!(told(&emf, &metrics), expected);
        assert_eq!(told(&emf, &metrics), [] as [Value; 0], "they are told");
        metrics.outcomes.with_label_values(&["linux", "failed"]).inc_by(3);
        let again = told(&emf, &metrics);
        assert_eq!((again.len(), &again[0][outcomes]), (1, &json!(3.0)));
    }
}
