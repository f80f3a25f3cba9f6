//! What the machines cost now, and what this day has cost.

use jiff::tz::TimeZone;
use tinqs_ci_reconciler::model::{Amount, MicroUsd};

use super::{App, StatusData};
use crate::api::status::Spend;
use crate::server::http::work::{cost_so_far, price};

/// What is known of the live machines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Live {
    priced: usize,
    unpriced: usize,
    per_hour: MicroUsd,
    so_far: MicroUsd,
    /// Whether the cost of a priced machine is not known, because its launch is not.
    is_partial: bool,
}

/// Returns the spend by the last listing of the machines and the usage of this day.
pub(super) async fn spend(app: &App, known: &StatusData) -> Spend {
    let (listed_at, machines) = app.telemetry.seen.machines();
    let mut live = Live::default();
    for machine in machines.iter().filter(|machine| machine.is_live()) {
        let Some(price) = price(app, machine) else {
            live.unpriced += 1;
            continue;
        };
        live.priced += 1;
        live.per_hour += price;
        match cost_so_far(app, machine, known.now) {
            Some(cost) => live.so_far += cost,
            None => live.is_partial = true,
        }
    }
    let live = listed_at.map(|_| live);
    spent(live, counted(app, known).await)
}

/// Returns what is counted of the runs that finished today; `None` if it cannot be read.
async fn counted(app: &App, known: &StatusData) -> Option<Amount> {
    // The store has just failed.
    known.open.as_ref().ok()?;
    let day = TimeZone::UTC.to_datetime(known.now).date();
    let all = app.controller.ports().store.usage(day, day).await.ok()?;
    let mut sum = Amount::default();
    for usage in all {
        sum += usage.amount;
    }
    Some(sum)
}

/// Sums both. `live`: `None` if the machines were not listed. An amount of which nothing is known
/// is not 0.
fn spent(live: Option<Live>, counted: Option<Amount>) -> Spend {
    let is_listed = live.is_some();
    let live = live.unwrap_or_default();
    let has_price = live.priced > 0 || live.unpriced == 0;
    let today = counted.and_then(|counted| {
        let has_cost = counted.cost != MicroUsd(0) || live.priced > 0;
        let nothing_ran = counted.known_cost().is_some() && is_listed && live.unpriced == 0;
        let mut sum = counted.cost;
        sum += live.so_far;
        (has_cost || nothing_ran).then_some(sum)
    });
    let is_more = counted.is_none_or(|counted| counted.may_cost_more());
    Spend {
        per_hour_micro_usd: (is_listed && has_price).then_some(live.per_hour.0),
        unpriced_machines: live.unpriced,
        today_micro_usd: today.map(|sum| sum.0),
        today_may_be_higher: is_more || live.unpriced > 0 || live.is_partial || !is_listed,
    }
}

#[cfg(test)]
mod tests {
    use tinqs_ci_reconciler::model::Seconds;

    use super::*;

    fn live(priced: usize, unpriced: usize) -> Live {
        let micros = |of: u64| MicroUsd(of * u64::try_from(priced).expect("few"));
        let (per_hour, so_far) = (micros(50_000), micros(30_000));
        Live { priced, unpriced, per_hour, so_far, is_partial: false }
    }

    fn counted(busy: u64, cost: u64, unpriced: u64) -> Amount {
        let seconds = Seconds { busy, ..Seconds::default() };
        let cost = MicroUsd(cost);
        Amount { jobs: 1, seconds, cost, unpriced, unknown_end: 0 }
    }

    #[test]
    fn an_amount_of_which_nothing_is_known_is_a_dash_and_a_part_is_said_to_be_one() {
        let nothing = Some(Amount::default());
        let rows = [
            (Some(live(0, 0)), nothing, ("$0.00", "$0.00")),
            (Some(live(2, 0)), nothing, ("$0.10", "$0.06")),
            (Some(live(2, 0)), Some(counted(60, 3_000_000, 0)), ("$0.10", "$3.06")),
            (Some(live(2, 1)), Some(counted(60, 3_000_000, 0)), ("≥ $0.10", "≥ $3.06")),
            (Some(live(2, 0)), Some(counted(60, 3_000_000, 10)), ("$0.10", "≥ $3.06")),
            (Some(live(0, 1)), nothing, ("–", "–")),
            (Some(live(0, 1)), Some(counted(60, 3_000_000, 0)), ("–", "≥ $3.00")),
            (Some(live(0, 0)), Some(counted(60, 0, 60)), ("$0.00", "–")),
            (Some(live(1, 0)), Some(counted(60, 0, 60)), ("$0.05", "≥ $0.03")),
            // The machines were not listed.
            (None, nothing, ("–", "–")),
            (None, Some(counted(60, 3_000_000, 0)), ("–", "≥ $3.00")),
            // The usage cannot be read.
            (Some(live(2, 0)), None, ("$0.10", "–")),
        ];
        for (live, counted, (per_hour, today)) in rows {
            let spend = spent(live, counted);
            let told = (spend.per_hour(), spend.today());
            assert_eq!(told, (per_hour.to_owned(), today.to_owned()), "{live:?} {counted:?}");
        }
    }
}
