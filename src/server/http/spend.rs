//! The cost of the machines now, and the cost of this day.

use std::time::Duration;

use tinqs_ci_reconciler::model::{DaySpend, MicroUsd};

use super::App;
use super::work::price;
use crate::api::status::Spend;

/// The maximum wait for the counted sums of this day. Then the last known ones are shown.
const WITHIN: Duration = Duration::from_secs(3);

/// Returns what was spent today.
pub(super) async fn today(app: &App) -> DaySpend {
    let read = tokio::time::timeout(WITHIN, app.controller.spend_now()).await;
    read.unwrap_or_else(|_| app.controller.spend())
}

/// The live machines with and without a known price, and the sum of the known prices per hour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Live {
    priced: usize,
    unpriced: usize,
    per_hour: MicroUsd,
}

/// Returns the spend by the last listing of the machines, and by what the controller knows of this
/// day.
pub(super) fn spend(app: &App, today: &DaySpend) -> Spend {
    let (listed_at, machines) = app.telemetry.seen.machines();
    let mut live = Live::default();
    for machine in machines.iter().filter(|machine| machine.is_live()) {
        match price(app, machine) {
            Some(price) => {
                live.priced += 1;
                live.per_hour += price;
            }
            None => live.unpriced += 1,
        }
    }
    spent(listed_at.map(|_| live), today)
}

/// Combines both. `live`: `None` if the machines were not listed. An amount of which nothing is
/// known is not 0.
fn spent(live: Option<Live>, today: &DaySpend) -> Spend {
    let is_listed = live.is_some();
    let live = live.unwrap_or_default();
    let has_price = live.priced > 0 || live.unpriced == 0;
    let known = today.total.filter(|total| *total > MicroUsd(0) || !today.is_partial);
    Spend {
        per_hour_micro_usd: (is_listed && has_price).then_some(live.per_hour.0),
        unpriced_machines: live.unpriced,
        today_micro_usd: known.map(|sum| sum.0),
        today_may_be_higher: today.is_partial || known.is_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live(priced: usize, unpriced: usize) -> Live {
        let per_hour = MicroUsd(50_000 * u64::try_from(priced).expect("few"));
        Live { priced, unpriced, per_hour }
    }

    fn today(total: Option<u64>, is_partial: bool) -> DaySpend {
        DaySpend { budgets: Vec::new(), total: total.map(MicroUsd), is_partial }
    }

    #[test]
    fn an_amount_of_which_nothing_is_known_is_a_dash_and_a_part_is_said_to_be_one() {
        let rows = [
            (Some(live(0, 0)), today(Some(0), false), ("$0.00", "$0.00")),
            (Some(live(2, 0)), today(Some(60_000), false), ("$0.10", "$0.06")),
            (Some(live(2, 1)), today(Some(3_060_000), true), ("≥ $0.10", "≥ $3.06")),
            (Some(live(2, 0)), today(Some(3_060_000), true), ("$0.10", "≥ $3.06")),
            (Some(live(0, 1)), today(Some(0), true), ("–", "–")),
            (Some(live(0, 1)), today(Some(3_000_000), true), ("–", "≥ $3.00")),
            (Some(live(0, 0)), today(Some(0), true), ("$0.00", "–")),
            // The machines were not listed.
            (None, today(Some(0), true), ("–", "–")),
            (None, today(Some(3_000_000), true), ("–", "≥ $3.00")),
            // The usage was never read.
            (Some(live(2, 0)), today(None, false), ("$0.10", "–")),
        ];
        for (live, today, (per_hour, expected)) in rows {
            let spend = spent(live, &today);
            let told = (spend.per_hour(), spend.today());
            assert_eq!(told, (per_hour.to_owned(), expected.to_owned()), "{live:?} {today:?}");
        }
    }
}
