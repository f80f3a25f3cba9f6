//! Compares the metric families of the design, vendored as data, with the registry.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

/// The design, and what became of it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Reference {
    pub(crate) family: Vec<Family>,
    added: Vec<Added>,
    label: Vec<Label>,
}

/// A family of the design.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Family {
    pub(crate) number: u32,
    name: String,
    kind: String,
    labels: Vec<String>,
    labels_here: Option<Vec<String>>,
    why: Option<String>,
    dropped: Option<String>,
    later: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Added {
    name: String,
    why: String,
}

/// The values of a label in the design.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Label {
    name: String,
    #[serde(default)]
    families: Vec<String>,
    values: Vec<String>,
    #[serde(default)]
    renamed: BTreeMap<String, String>,
    #[serde(default)]
    dropped: BTreeMap<String, String>,
    #[serde(default)]
    added: BTreeMap<String, String>,
}

/// Returns a name of the design as this project writes it.
fn ours(name: &str) -> String {
    name.replace("instance", "machine")
}

impl Reference {
    /// Reads the vendored tables.
    pub(crate) fn read() -> Self {
        toml::from_str(include_str!("reference.toml")).expect("the tables are valid")
    }
}

impl Family {
    pub(crate) fn full_name(&self) -> String {
        format!("tinqs_ci_{}", ours(&self.name))
    }

    /// Returns why it is not exported, and whether it will be.
    pub(crate) fn missing(&self) -> Option<(&str, bool)> {
        match (&self.dropped, &self.later) {
            (Some(why), None) => Some((why, false)),
            (None, Some(why)) => Some((why, true)),
            (None, None) => None,
            (Some(_), Some(_)) => panic!("{}: dropped, or later?", self.name),
        }
    }
}

/// A family of the registry, as `schema metrics` prints it.
#[derive(Deserialize)]
struct Registered {
    name: String,
    kind: String,
    labels: Vec<String>,
    values: BTreeMap<String, Option<Vec<String>>>,
}

fn registry() -> BTreeMap<String, Registered> {
    let rows: Vec<Registered> =
        serde_json::from_value(tinqs_ci::telemetry::metrics::schema()).expect("the known form");
    rows.into_iter().map(|row| (row.name.clone(), row)).collect()
}

#[test]
fn every_family_of_the_design_is_exported_or_missing_for_a_reason() {
    let (reference, registry) = (Reference::read(), registry());
    let numbers: Vec<u32> = reference.family.iter().map(|family| family.number).collect();
    assert_eq!(numbers, (1..=48).collect::<Vec<u32>>());
    let mut wrong = Vec::new();
    for family in &reference.family {
        let name = family.full_name();
        match (registry.get(&name), family.missing()) {
            (None, Some((why, _))) => assert!(!why.is_empty(), "{name}: why?"),
            (None, None) => wrong.push(format!("{name} is not exported: say why in `dropped`")),
            (Some(_), Some(_)) => {
                wrong.push(format!("{name} is exported: remove `later` or `dropped`"));
            }
            (Some(row), None) => {
                let labels = family.labels_here.as_ref().unwrap_or(&family.labels);
                assert_eq!(family.labels_here.is_some(), family.why.is_some(), "{name}: why?");
                let labels: Vec<String> = labels.iter().map(|label| ours(label)).collect();
                if (&row.kind, &row.labels) != (&family.kind, &labels) {
                    wrong.push(format!(
                        "{name} is a {} with {:?}, not a {} with {labels:?}",
                        row.kind, row.labels, family.kind
                    ));
                }
            }
        }
    }
    let mut known: BTreeSet<String> = reference.family.iter().map(Family::full_name).collect();
    for added in &reference.added {
        assert!(!added.why.is_empty(), "{}: why?", added.name);
        known.insert(format!("tinqs_ci_{}", added.name));
    }
    for name in registry.keys().filter(|name| !known.contains(*name)) {
        wrong.push(format!("{name} is not of the design: say in `added` why it is needed"));
    }
    assert!(wrong.is_empty(), "tests/observability/reference.toml:\n{}", wrong.join("\n"));
}

#[test]
fn every_label_value_of_the_design_occurs_or_is_missing_for_a_reason() {
    let (reference, registry) = (Reference::read(), registry());
    let mut wrong = Vec::new();
    let mut compared = 0;
    for row in registry.values() {
        let short = row.name.trim_start_matches("tinqs_ci_");
        for (label, values) in &row.values {
            let Some(values) = values else { continue };
            let is_it = |entry: &&Label| {
                let here = entry.families.iter().any(|family| ours(family) == short);
                entry.name == *label && (entry.families.is_empty() || here)
            };
            // Labels of families beyond the design are not in it.
            let Some(entry) = reference.label.iter().find(is_it) else { continue };
            compared += 1;
            let kept = entry.values.iter().filter(|value| !entry.dropped.contains_key(*value));
            let kept = kept.map(|value| ours(entry.renamed.get(value).unwrap_or(value)));
            let expected: BTreeSet<String> = kept.chain(entry.added.keys().cloned()).collect();
            let there: BTreeSet<String> = values.iter().cloned().collect();
            let missing: Vec<&String> = expected.difference(&there).collect();
            let new: Vec<&String> = there.difference(&expected).collect();
            if !missing.is_empty() || !new.is_empty() {
                wrong.push(format!(
                    "{}, label {label}: without {missing:?} (say why in `dropped`), with {new:?} \
                     (say why in `added`)",
                    row.name
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "tests/observability/reference.toml:\n{}", wrong.join("\n"));
    assert!(compared >= reference.label.len(), "some entry of a label is about no family");
}

#[test]
fn nothing_is_said_of_values_that_the_design_does_not_have() {
    for label in Reference::read().label {
        let values: BTreeSet<&String> = label.values.iter().collect();
        for value in label.dropped.keys().chain(label.renamed.keys()) {
            assert!(values.contains(value), "{}: {value} is not a value", label.name);
        }
        for (value, why) in label.dropped.iter().chain(&label.added) {
            assert!(!why.is_empty(), "{}, {value}: why?", label.name);
        }
    }
}
