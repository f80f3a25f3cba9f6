//! Every rule of the decision table, as data: an observation and its plan.
//!
//! A case of `plan_table/*.json` names a base observation, its changes, and the resulting plan.
//! Times are relative to a fixed now. `UPDATE_EXPECT=1` rewrites the plans; review the difference
//! against the decision table before you commit it.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Map, Value};
use tinqs_ci_reconciler::model::Observation;
use tinqs_ci_reconciler::plan::{Action, Plan, Rule, plan};
use tinqs_ci_testing::cases;

/// Returns the plan in the notation of the cases, with only the changes of the status.
fn told(seen: &Observation) -> Value {
    let Plan { rule, status, prepare, actions } = plan(seen);
    let json = |value: serde_json::Result<Value>| value.expect("a plan is JSON");
    let mut then = Map::new();
    then.insert("rule".into(), rule.shown().into());
    if let Some(status) = status {
        let before = seen.run.as_ref().map(|run| json(serde_json::to_value(&run.status)));
        let before = before.unwrap_or_default();
        let after = json(serde_json::to_value(&status));
        let change =
            cases::difference(&before, &after).unwrap_or_else(|| Value::Object(Map::new()));
        assert_eq!(cases::patched(before, &change), after, "the notation is lossless");
        then.insert("status".into(), change);
    } else {
        then.insert("status".into(), Value::Null);
    }
    if let Some(prepare) = prepare {
        then.insert("prepare".into(), json(serde_json::to_value(&prepare)));
    }
    if !actions.is_empty() {
        then.insert("actions".into(), json(serde_json::to_value(&actions)));
    }
    cases::relative(Value::Object(then))
}

/// Returns the rules that a plan names.
fn rules(plan: &Plan) -> Vec<Rule> {
    let of_action = |action: &Action| match action {
        Action::Unseat { rule, .. }
        | Action::Retire { rule, .. }
        | Action::Disable { rule, .. }
        | Action::Rerun { rule, .. }
        | Action::Terminate { rule, .. } => Some(*rule),
        Action::Launch { .. } | Action::Remove => None,
    };
    std::iter::once(plan.rule).chain(plan.actions.iter().filter_map(of_action)).collect()
}

#[test]
fn every_case_is_decided_as_recorded() {
    let update = std::env::var_os("UPDATE_EXPECT").is_some();
    let bases = cases::bases();
    let mut wrong = Vec::new();
    for (file, mut table) in cases::tables() {
        for case in &mut table.cases {
            let then = told(&cases::observation(&bases, case));
            if then != case.then {
                wrong.push(format!(
                    "{file}: {}\n  expected {}\n  decided  {}",
                    case.name,
                    cases::pretty(&case.then, 2, 9),
                    cases::pretty(&then, 2, 9),
                ));
            }
            case.then = then;
        }
        if update {
            let value = serde_json::to_value(&table).expect("a table is JSON");
            let text = format!("{}\n", cases::pretty(&value, 0, 0));
            fs::write(cases::folder().join(format!("{file}.json")), text)
                .expect("a table can be written");
        }
    }
    assert!(update || wrong.is_empty(), "{} cases:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_rule_is_reached_in_its_own_table() {
    let bases = cases::bases();
    let mut reached = BTreeSet::new();
    for (file, table) in cases::tables() {
        let mut here = BTreeSet::new();
        for case in &table.cases {
            here.extend(rules(&plan(&cases::observation(&bases, case))));
        }
        let own = Rule::ALL.iter().find(|rule| rule.number() == table.rule);
        match own {
            Some(rule) => assert!(here.contains(rule), "{file}: no case reaches rule {rule}"),
            None => assert_eq!(table.rule, "several", "{file}: there is no rule {}", table.rule),
        }
        reached.extend(here);
    }
    let never: Vec<_> = Rule::ALL.iter().filter(|rule| !reached.contains(rule)).collect();
    assert!(never.is_empty(), "no case reaches {never:?}");
}

#[test]
fn every_rule_has_a_table_and_every_case_a_unique_name() {
    let tables = cases::tables();
    let mut wanted: BTreeSet<String> = Rule::ALL
        .iter()
        .filter_map(|rule| rule.number().parse().ok())
        .map(|number: u32| format!("rule-{number:02}"))
        .collect();
    wanted.extend(["push", "rerun", "several"].map(str::to_owned));
    let there: BTreeSet<String> = tables.keys().cloned().collect();
    assert_eq!(there, wanted, "there is one table per rule");
    let mut names = BTreeSet::new();
    for (file, table) in &tables {
        if let Some(number) = file.strip_prefix("rule-") {
            let number: u32 = number.parse().expect("a number");
            assert_eq!(table.rule, number.to_string(), "{file} belongs to its rule");
        }
        for case in &table.cases {
            assert!(names.insert(&case.name), "{file}: `{}` occurs twice", case.name);
        }
    }
}
