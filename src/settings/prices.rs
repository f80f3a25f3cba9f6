//! Prices and budgets: amounts in US dollars, kept in millionths.

use std::collections::BTreeMap;

use tinqs_ci_reconciler::model::{MachineSpec, Market, MicroUsd};
use tinqs_ci_reconciler::text::cut;

use super::reader::Reader;
use super::tree::Value;

/// The digits after the point.
const DECIMALS: usize = 6;
/// The digits before it.
const DIGITS: usize = 9;
/// The reason why a price of 0 is refused.
const WHY_NO_PRICE_IS_0: &str = "0 would hide every cost; remove the line, and its cost is unknown";
/// The word for no budget.
const NO_BUDGET: &str = "none";

/// Reads `[prices]`: the price per hour of each kind on demand.
pub(super) fn prices(top: &Reader<'_>) -> BTreeMap<String, MicroUsd> {
    let mut prices = BTreeMap::new();
    for (kind, node) in top.entries("prices") {
        let key = format!("prices.{kind}");
        let price = match &node.value {
            Value::Text(text) => amount(text, "/h", WHY_NO_PRICE_IS_0),
            other => Err(format!("expected {}, not {}", example("/h"), other.kind())),
        };
        match price {
            Ok(price) => {
                prices.insert(kind.to_owned(), price);
            }
            Err(message) => top.mistake_at(&node.at, &key, &message),
        }
    }
    prices
}

/// Reads `budget` of a class, whose machines must all have a price.
pub(super) fn budget(
    r: &Reader<'_>,
    machines: &[MachineSpec],
    prices: &BTreeMap<String, MicroUsd>,
    in_ec2: bool,
) -> Option<MicroUsd> {
    let why_not_0 = "0 would allow no machine; remove the class, or pause it";
    let parse = |text: &str| match text {
        NO_BUDGET => Ok(None),
        text => amount(text, "/day", why_not_0).map(Some),
    };
    let budget = r.parsed("budget", parse).flatten()?;
    // Spot prices are read from EC2 while the server runs.
    let is_priced = |spec: &MachineSpec| match spec.market {
        Market::Spot => in_ec2,
        Market::OnDemand => prices.contains_key(&spec.kind),
    };
    if let Some(spec) = machines.iter().find(|spec| !is_priced(spec)) {
        let (kind, market) = (cut(&spec.kind, 60), spec.market);
        let fix = match market {
            Market::Spot => "use the market \"on-demand\"".to_owned(),
            Market::OnDemand => format!("add `\"{kind}\" = \"$0.05/h\"` under [prices]"),
        };
        let message = format!(
            "cannot be kept: the price of {kind} ({market}) is not known; {fix} with its price, or \
             remove the budget"
        );
        r.mistake("budget", &message);
    }
    Some(budget)
}

/// Parses `$0.0513` with its unit. `why_not_0`: why 0 is not valid, and what to do instead.
pub(super) fn amount(text: &str, unit: &str, why_not_0: &str) -> Result<MicroUsd, String> {
    let shown = cut(text, 60);
    let not_valid =
        |why: &str| Err(format!("\"{shown}\" is not valid: {why}expected {}", example(unit)));
    let (bare, has_unit) = match text.trim().strip_suffix(unit) {
        Some(bare) => (bare, true),
        None => (text.trim(), false),
    };
    if bare.starts_with('-') || bare.starts_with("$-") {
        return not_valid("an amount is positive; ");
    }
    let (Some(number), true) = (bare.strip_prefix('$'), has_unit) else {
        return not_valid("");
    };
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let is_number = |text: &str| text.bytes().all(|digit| digit.is_ascii_digit());
    let ends_with_point = number.ends_with('.');
    if whole.is_empty() || ends_with_point || !is_number(whole) || !is_number(part) {
        return not_valid("");
    }
    if whole.len() > DIGITS || part.len() > DECIMALS {
        return not_valid("at most 9 digits before the point and 6 after it; ");
    }
    // Both have few digits.
    let parsed = |text: &str| text.parse::<u64>().unwrap_or(0);
    let micros = parsed(whole) * 1_000_000 + parsed(&format!("{part:0<DECIMALS$}"));
    if micros == 0 {
        return Err(format!("\"{shown}\" is not valid: {why_not_0}"));
    }
    Ok(MicroUsd(micros))
}

fn example(unit: &str) -> String {
    format!("an amount such as \"${}{unit}\"", if unit == "/h" { "0.0513" } else { "5" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<u64, String> {
        amount(text, "/h", "0 is none; remove it").map(|amount| amount.0)
    }

    #[test]
    fn amounts_are_read_to_the_millionth() {
        assert_eq!(of("$0.0513/h"), Ok(51_300));
        assert_eq!(of(" $12/h "), Ok(12_000_000));
        assert_eq!(of("$0.000001/h"), Ok(1));
        assert_eq!(of("$999999999.999999/h"), Ok(999_999_999_999_999));
        let budget = |text| amount(text, "/day", "").map(|amount| amount.0);
        assert_eq!((budget("$5/day"), budget("$0.50/day")), (Ok(5_000_000), Ok(500_000)));
    }

    #[test]
    fn what_is_no_amount_is_refused_with_the_reason() {
        for text in [
            "", "0.05", "$/h", "$.5/h", "$1./h", "$1", "1/h", "$1/day", "$1e3/h", "$1,5/h",
            "$1/h/h",
        ] {
            let refused = of(text).unwrap_err();
            assert!(refused.contains("expected an amount such as \"$0.0513/h\""), "{refused}");
        }
        for text in ["$0/h", "$0.000000/h"] {
            let refused = of(text).unwrap_err();
            assert!(refused.ends_with("is not valid: 0 is none; remove it"), "{refused}");
        }
        for text in ["-$1/h", "$-1/h"] {
            assert!(of(text).unwrap_err().contains("positive"), "{text}");
        }
        for text in ["$0.0000001/h", "$1234567890/h"] {
            assert!(of(text).unwrap_err().contains("at most 9 digits"), "{text}");
        }
    }
}
