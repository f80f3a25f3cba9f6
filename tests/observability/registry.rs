//! The metrics that the program exports, with their labels.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

/// The labels that a scrape adds.
pub(crate) const OF_SCRAPES: [&str; 2] = ["job", "instance"];

/// A family, as `schema metrics` prints it.
#[derive(Deserialize)]
pub(crate) struct Family {
    pub(crate) name: String,
    pub(crate) kind: String,
    labels: Vec<String>,
    /// `null`: values without a fixed set.
    values: BTreeMap<String, Option<Vec<String>>>,
}

/// All families by name.
pub(crate) struct Registry(BTreeMap<String, Family>);

impl Registry {
    pub(crate) fn read() -> Self {
        let rows: Vec<Family> =
            serde_json::from_value(tinqs_ci::telemetry::metrics::schema()).expect("the known form");
        Self(rows.into_iter().map(|family| (family.name.clone(), family)).collect())
    }

    pub(crate) fn names(&self) -> BTreeSet<String> {
        self.0.keys().cloned().collect()
    }

    /// Returns the family of a series, and whether the series is one of a histogram's buckets.
    pub(crate) fn of_series(&self, series: &str) -> Option<(&Family, bool)> {
        if let Some(family) = self.0.get(series) {
            return (family.kind != "histogram").then_some((family, false));
        }
        let (name, is_bucket) = match series.strip_suffix("_bucket") {
            Some(name) => (name, true),
            None => (series.strip_suffix("_sum").or_else(|| series.strip_suffix("_count"))?, false),
        };
        self.0.get(name).filter(|f| f.kind == "histogram").map(|family| (family, is_bucket))
    }
}

impl Family {
    /// Returns the labels of its series.
    pub(crate) fn labels(&self, is_bucket: bool) -> BTreeSet<String> {
        let own = self.labels.iter().map(String::as_str).chain(OF_SCRAPES);
        own.chain(is_bucket.then_some("le")).map(str::to_owned).collect()
    }

    /// Returns the fixed values of a label, if there are any.
    pub(crate) fn values(&self, label: &str) -> Option<&[String]> {
        self.values.get(label)?.as_deref()
    }

    /// Whether it only grows, so that a query reads its rate.
    pub(crate) fn grows(&self) -> bool {
        self.kind != "gauge"
    }
}
