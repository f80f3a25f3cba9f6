//! Prices: what is accepted, and what is refused with the reason.

use expect_test::expect;
use serde_json::Value;
use tinqs_ci::settings;
use tinqs_ci_reconciler::model::MicroUsd;

use crate::{bad_top, good, with};

#[test]
fn prices_are_read_by_kind() {
    let text = "[prices]\n\"c7a.medium\" = \"$0.0513/h\"\nprocess = \"$1/h\"";
    let prices = good(&with(text), &[("HOME_TOKEN", "long-token")]).settings.prices;
    let expected = [("c7a.medium", 51_300), ("process", 1_000_000)];
    let expected = expected.map(|(kind, price)| (kind.to_owned(), MicroUsd(price)));
    assert_eq!(prices.into_iter().collect::<Vec<_>>(), expected);
    let none = good(&with(""), &[("HOME_TOKEN", "long-token")]).settings.prices;
    assert!(none.is_empty(), "no price is shipped");
    let env = [("HOME_TOKEN", "long-token"), ("TINQS_CI_PRICES__PROCESS", "$0.5/h")];
    let prices = good(&with(""), &env).settings.prices;
    assert_eq!(prices.get("process"), Some(&MicroUsd(500_000)));
}

#[test]
fn a_price_that_is_none_is_refused_with_the_reason() {
    bad_top(
        "[prices]\na = \"$0/h\"\nb = \"-$1/h\"\nc = 0.05\nd = \"$5/day\"\n\"e.f\" = \"free\"",
        &expect![[r#"
            ci.toml:2: prices.a: "$0/h" is not valid: 0 would hide every cost; remove the line, and its cost is unknown
            ci.toml:3: prices.b: "-$1/h" is not valid: an amount is positive; expected an amount such as "$0.0513/h"
            ci.toml:4: prices.c: expected an amount such as "$0.0513/h", not a decimal number
            ci.toml:5: prices.d: "$5/day" is not valid: expected an amount such as "$0.0513/h"
            ci.toml:6: prices.e.f: "free" is not valid: expected an amount such as "$0.0513/h""#]],
    );
    bad_top(
        "prices = \"$1/h\"",
        &expect![[r#"
            ci.toml:1: prices: expected a table of prices such as "c7a.medium" = "$0.0513/h", not a string"#]],
    );
}

#[test]
fn the_schema_takes_the_same_prices() {
    let schema = settings::schema();
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    let takes = |text: &str| {
        let value: Value = toml::from_str(text).expect("TOML");
        validator.is_valid(&value)
    };
    assert!(takes("[prices]\n\"c7a.medium\" = \"$0.0513/h\""));
    for text in ["[prices]\na = 0.05", "[prices]\na = \"$5/day\"", "prices = \"$1/h\""] {
        assert!(!takes(text), "{text}");
    }
}
