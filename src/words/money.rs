//! Amounts of money for people. An unknown one is "–", never 0.

use tinqs_ci_reconciler::model::{Amount, MicroUsd};

/// The text for an amount whose price is not known.
pub const UNKNOWN: &str = "–";

/// Returns an amount to the cent: `$3.10`; `<$0.01` for less than a cent.
pub fn dollars(amount: MicroUsd) -> String {
    let MicroUsd(micros) = amount;
    if (1..10_000).contains(&micros) {
        return "<$0.01".to_owned();
    }
    let cents = micros.saturating_add(5_000) / 10_000;
    format!("${}.{:02}", cents / 100, cents % 100)
}

/// Returns the cost of an amount: `$3.10`; `≥ $3.10` if some of its seconds have no known price, or
/// some of its machines no known end.
pub fn cost(amount: &Amount) -> String {
    at_least(amount.known_cost(), amount.may_cost_more())
}

/// Returns a sum: `$3.10`; `≥ $3.10` if a part of it is not known; `–` if nothing of it is.
pub fn at_least(known: Option<MicroUsd>, may_be_more: bool) -> String {
    match known {
        None => UNKNOWN.to_owned(),
        Some(sum) if !may_be_more => dollars(sum),
        Some(sum) => format!("≥ {}", dollars(sum)),
    }
}

/// Returns an amount with all its decimals: `3.1`, `0.000507`.
pub fn exact(amount: MicroUsd) -> String {
    amount.to_string()
}

#[cfg(test)]
mod tests {
    use tinqs_ci_reconciler::model::Seconds;

    use super::*;

    #[test]
    fn amounts_are_rounded_to_cents_and_none_is_free() {
        let cases = [
            (0, "$0.00", "0"),
            (1, "<$0.01", "0.000001"),
            (9_999, "<$0.01", "0.009999"),
            (10_000, "$0.01", "0.01"),
            (14_999, "$0.01", "0.014999"),
            (15_000, "$0.02", "0.015"),
            (3_100_000, "$3.10", "3.1"),
            (5_000_000, "$5.00", "5"),
            (12_345_678_900, "$12345.68", "12345.6789"),
        ];
        for (micros, cents, all) in cases {
            assert_eq!(
                (dollars(MicroUsd(micros)).as_str(), exact(MicroUsd(micros)).as_str()),
                (cents, all)
            );
        }
    }

    #[test]
    fn an_unknown_cost_is_a_dash_and_never_0() {
        let amount = |busy, cost, unpriced| Amount {
            jobs: 1,
            seconds: Seconds { busy, ..Seconds::default() },
            cost: MicroUsd(cost),
            unpriced,
            unknown_end: 0,
        };
        assert_eq!(cost(&amount(60, 0, 60)), "–");
        assert_eq!(cost(&amount(60, 50_000, 20)), "≥ $0.05");
        assert_eq!(cost(&amount(60, 50_000, 0)), "$0.05");
        assert_eq!(cost(&amount(0, 0, 0)), "$0.00", "nothing ran");
        let unseen = |amount| Amount { unknown_end: 9, ..amount };
        assert_eq!(cost(&unseen(amount(60, 50_000, 0))), "≥ $0.05");
        assert_eq!(cost(&unseen(amount(0, 0, 0))), "–", "nobody saw how long it ran");
    }
}
