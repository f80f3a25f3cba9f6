//! Budgets: what is accepted, and what is refused with the reason.

use expect_test::{Expect, expect};
use serde_json::Value;
use tinqs_ci::settings;
use tinqs_ci_reconciler::model::MicroUsd;

use crate::{bad_top, good, with};

/// A class with a budget, whose machines are processes with a price.
fn class(budget: &str) -> String {
    format!(
        "prices = {{ process = \"$0.02/h\" }}\n[[class]]\nname = \"linux\"\nlabels = \
         [\"linux\"]\nbudget = {budget}"
    )
}

fn read(budget: &str) -> Option<MicroUsd> {
    let text = with(&class(budget));
    good(&text, &[("HOME_TOKEN", "long-token")]).settings.classes[0].budget
}

#[test]
fn a_budget_is_an_amount_per_day_or_none() {
    assert_eq!(read("\"$5/day\""), Some(MicroUsd(5_000_000)));
    assert_eq!(read("\"$0.50/day\""), Some(MicroUsd(500_000)));
    assert_eq!(read("\"none\""), None);
    let absent = with("[[class]]\nname = \"linux\"\nlabels = [\"linux\"]");
    let settings = good(&absent, &[("HOME_TOKEN", "long-token")]).settings;
    assert_eq!(settings.classes[0].budget, None, "and needs no price");
}

#[track_caller]
fn refused(budget: &str, expected: &Expect) {
    bad_top(&class(budget), expected);
}

#[test]
fn what_is_no_budget_is_refused_with_the_reason() {
    refused("\"$5\"", &expect![[r#"ci.toml:5: class "linux".budget: "$5" is not valid: expected an amount such as "$5/day""#]]);
    refused("\"5/day\"", &expect![[r#"ci.toml:5: class "linux".budget: "5/day" is not valid: expected an amount such as "$5/day""#]]);
    refused("\"$5/hour\"", &expect![[r#"ci.toml:5: class "linux".budget: "$5/hour" is not valid: expected an amount such as "$5/day""#]]);
    refused("\"-$5/day\"", &expect![[r#"ci.toml:5: class "linux".budget: "-$5/day" is not valid: an amount is positive; expected an amount such as "$5/day""#]]);
    refused("\"$0/day\"", &expect![[r#"ci.toml:5: class "linux".budget: "$0/day" is not valid: 0 would allow no machine; remove the class, or pause it"#]]);
    refused("\"\"", &expect![[r#"ci.toml:5: class "linux".budget: "" is not valid: expected an amount such as "$5/day""#]]);
    refused("5", &expect![[r#"ci.toml:5: class "linux".budget: expected an amount such as "$5/day", or "none", not a whole number"#]]);
}

#[test]
fn a_budget_that_cannot_be_kept_because_a_price_is_not_known_is_refused() {
    let class = "[[class]]\nname = \"linux\"\nlabels = [\"linux\"]\nbudget = \"$5/day\"";
    bad_top(
        class,
        &expect![[r#"ci.toml:4: class "linux".budget: cannot be kept: the price of process (on-demand) is not known; add `"process" = "$0.05/h"` under [prices] with its price, or remove the budget"#]],
    );
    let spot = "\n[class.machines]\nmarkets = [\"spot\"]";
    bad_top(
        &format!("prices = {{ process = \"$0.02/h\" }}\n{class}{spot}"),
        &expect![[r#"ci.toml:5: class "linux".budget: cannot be kept: the price of process (spot) is not known; use the market "on-demand" with its price, or remove the budget"#]],
    );
}

#[test]
fn the_schema_takes_the_same_budgets() {
    let schema = settings::schema();
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    let takes = |budget: &str| {
        let value: Value = toml::from_str(&class(budget)).expect("TOML");
        validator.is_valid(&value)
    };
    for budget in ["\"$5/day\"", "\"$0.50/day\"", "\"none\""] {
        assert!(takes(budget), "{budget}");
    }
    for budget in ["\"$5\"", "\"5/day\"", "\"$5/hour\"", "\"-$5/day\"", "\"\"", "5"] {
        assert!(!takes(budget), "{budget}");
    }
}
