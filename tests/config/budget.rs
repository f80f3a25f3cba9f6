//! Budgets: what is accepted, and what is refused with the reason.

use expect_test::expect;
use serde_json::Value;
use tinqs_ci::settings;
use tinqs_ci_reconciler::model::MicroUsd;

use crate::{bad_top, good, parse, with};

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

#[test]
fn what_is_no_budget_is_refused_with_the_reason() {
    let amount = "expected an amount such as \"$5/day\"";
    for (budget, why) in [
        ("\"$5\"", format!("\"$5\" is not valid: {amount}")),
        ("\"5/day\"", format!("\"5/day\" is not valid: {amount}")),
        ("\"$5/hour\"", format!("\"$5/hour\" is not valid: {amount}")),
        ("\"$5/day/day\"", format!("\"$5/day/day\" is not valid: {amount}")),
        ("\"-$5/day\"", format!("\"-$5/day\" is not valid: an amount is positive; {amount}")),
        (
            "\"$0/day\"",
            "\"$0/day\" is not valid: 0 would allow no machine; remove the class, or pause it"
                .to_owned(),
        ),
        ("\"\"", format!("\"\" is not valid: {amount}")),
        ("5", format!("{amount}, or \"none\", not a number")),
    ] {
        let text = with(&class(budget));
        let mistakes = parse(&text, &[("HOME_TOKEN", "long-token")]).expect_err(budget);
        assert_eq!(mistakes.to_string(), format!("ci.toml:5: class \"linux\": budget: {why}"));
    }
}

#[test]
fn a_budget_that_cannot_be_kept_because_a_price_is_not_known_is_refused() {
    let class = "[[class]]\nname = \"linux\"\nlabels = [\"linux\"]\nbudget = \"$5/day\"";
    bad_top(
        class,
        &expect![[
            r#"ci.toml:4: class "linux": budget: cannot be kept: the price of process (on-demand) is not known; add `"process" = "$0.05/h"` under [prices] with its price, or remove the budget"#
        ]],
    );
    let spot = "\n[class.machines]\nmarkets = [\"spot\"]";
    bad_top(
        &format!("prices = {{ process = \"$0.02/h\" }}\n{class}{spot}"),
        &expect![[
            r#"ci.toml:5: class "linux": budget: cannot be kept: the price of process (spot) is not known; use the market "on-demand" with its price, or remove the budget"#
        ]],
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
