//! Every metric is on a dashboard, in an alert, or is for the details of an investigation.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::queries::reads;
use crate::registry::Registry;
use crate::{dashboards, read, root};

/// Families that are on no dashboard and in no alert, with the reason.
const DETAILS: &[(&str, &str)] = &[
    (
        "tinqs_ci_build_info",
        "the versions of replicas; the variables of dashboards list its labels",
    ),
    ("tinqs_ci_config_info", "compares replicas, after a change that did not reach all of them"),
    (
        "tinqs_ci_config_last_reload_success_timestamp_seconds",
        "when the configuration was loaded, next to whether it was",
    ),
    ("tinqs_ci_registrations", "the side of the forge, when drift says that it differs"),
    ("tinqs_ci_push_evaluations_total", "push mode only"),
    ("tinqs_ci_push_evaluation_duration_seconds", "push mode only"),
    ("tinqs_ci_clock_ahead_seconds", "a wrong clock, which `status` and the log tell in words"),
    ("tinqs_ci_foreign_machines", "tags set by hand, which `status`, `doctor` and the log tell"),
    ("tinqs_ci_unreadable_records", "after a downgrade only"),
    ("tinqs_ci_newer_records", "after a downgrade only, and told by `status` and `doctor`"),
];

/// Returns the expressions of all rules, by name.
fn rules() -> Vec<(String, String)> {
    let file = read(&root().join("docs/alerts/tinqs-ci.rules.yaml"));
    let file: Value = serde_saphyr::from_str(&file).expect("YAML");
    let groups = file["groups"].as_array().expect("groups").iter();
    let rules = groups.filter_map(|group| group["rules"].as_array()).flatten();
    let text = |value: &Value| value.as_str().map(str::to_owned);
    rules
        .map(|rule| {
            let name = text(&rule["alert"]).or_else(|| text(&rule["record"]));
            (name.expect("a name"), text(&rule["expr"]).expect("an expression"))
        })
        .collect()
}

#[test]
fn every_rule_reads_what_is_exported() {
    let registry = Registry::read();
    let file = read(&root().join("docs/alerts/tinqs-ci.rules.yaml"));
    for (name, expression) in rules() {
        let mut wrong = reads(&expression, &registry).wrong;
        // What is not exported yet is said before the rule; tests/docs.rs checks that.
        let said = |wrong: &String| {
            let name = wrong.strip_suffix(" is not exported");
            name.is_some_and(|name| file.contains(&format!("`{name}`")))
        };
        wrong.retain(|wrong| !said(wrong));
        assert_eq!(wrong, [] as [String; 0], "{name}: {expression}");
    }
}

#[test]
fn every_metric_is_used_or_said_to_be_a_detail() {
    let registry = Registry::read();
    let of_dashboards = dashboards::all_reads(&registry).into_iter();
    let of_rules = rules().into_iter().map(|(_, expression)| reads(&expression, &registry));
    let used: BTreeSet<String> =
        of_dashboards.chain(of_rules).flat_map(|reads| reads.families).collect();
    let details: BTreeSet<String> = DETAILS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert!(DETAILS.iter().all(|(_, reason)| reason.len() > 10));
    let exported = registry.names();
    let unused: Vec<&String> =
        exported.iter().filter(|name| !used.contains(*name) && !details.contains(*name)).collect();
    assert!(unused.is_empty(), "on no dashboard, in no alert and no detail: {unused:?}");
    let used_details: Vec<&String> = details.intersection(&used).collect();
    assert!(used_details.is_empty(), "used, so not a detail: {used_details:?}");
    assert!(details.is_subset(&exported), "details that are not exported");
}
