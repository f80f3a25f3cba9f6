//! The usage of a simulated month is what the cloud knows of its machines: seconds to the second,
//! cost to the cent, in the store and in `/v1/usage`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use tinqs_ci::api::{UsageBy, UsageList, UsageSum};
use tinqs_ci::words::money;
use tinqs_ci_reconciler::model::{Amount, EndedBy, MicroUsd, Usage};
use tinqs_ci_reconciler::ports::RunStore as _;
use tinqs_ci_simulator::cloud::Cloud;
use tinqs_ci_simulator::cloud::price;
use tinqs_ci_simulator::play::{Profile, run_world};
use tinqs_ci_simulator::ports::SimulatedPorts;

use super::history::{ask, server};

/// A seed whose cloud dates the end of each machine.
const SEED: u64 = 1;
const MONTH: &str = "2026-01";

/// Seconds of machines, their cost, and the seconds whose price nobody knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sum {
    seconds: u64,
    micro_usd: u64,
    unpriced: u64,
}

impl Sum {
    fn add(&mut self, other: Self) {
        self.seconds += other.seconds;
        self.micro_usd += other.micro_usd;
        self.unpriced += other.unpriced;
    }

    fn cents(self) -> String {
        money::dollars(MicroUsd(self.micro_usd))
    }
}

impl From<Amount> for Sum {
    fn from(amount: Amount) -> Self {
        assert_eq!(amount.unknown_end, 0, "the cloud dated every end");
        let seconds = amount.seconds.total();
        Self { seconds, micro_usd: amount.cost.0, unpriced: amount.unpriced }
    }
}

impl From<UsageSum> for Sum {
    fn from(sum: UsageSum) -> Self {
        assert_eq!(sum.unknown_end_seconds, 0, "the cloud dated every end");
        let micro_usd = sum.cost_micro_usd.unwrap_or(0);
        Self { seconds: sum.total_seconds, micro_usd, unpriced: sum.unpriced_seconds }
    }
}

/// Sums by day, class and repository.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sums {
    all: Sum,
    by_day: BTreeMap<String, Sum>,
    by_class: BTreeMap<String, Sum>,
    by_class_and_day: BTreeMap<(String, String), Sum>,
}

impl Sums {
    fn add(&mut self, day: Date, class: &str, sum: Sum) {
        let (day, class) = (day.to_string(), class.to_owned());
        self.all.add(sum);
        self.by_day.entry(day.clone()).or_default().add(sum);
        self.by_class.entry(class.clone()).or_default().add(sum);
        self.by_class_and_day.entry((class, day)).or_default().add(sum);
    }
}

fn day(at: Timestamp) -> Date {
    TimeZone::UTC.to_datetime(at).date()
}

/// Returns what the cloud knows of its machines. A run finishes on the day of its machines.
fn ledger(cloud: &Cloud) -> Sums {
    let mut sums = Sums::default();
    for machine in cloud.machines() {
        let ended_at = machine.ended_at().expect("every machine has ended");
        let (launched, ended) = (day(machine.launched_at), day(ended_at));
        assert_eq!(launched, ended, "{} lived over midnight", machine.id);
        let seconds = ended_at.as_second() - machine.launched_at.as_second();
        let seconds = u64::try_from(seconds).expect("it ended after its launch");
        let sum = match price(&machine.spec.kind, machine.spec.market) {
            Some(price) => {
                Sum { seconds, micro_usd: price.for_seconds(seconds).0, ..Sum::default() }
            }
            None => Sum { seconds, unpriced: seconds, ..Sum::default() },
        };
        sums.add(launched, &machine.class.0, sum);
    }
    sums
}

fn stored(all: &[Usage]) -> Sums {
    let mut sums = Sums::default();
    for Usage { key, amount } in all {
        sums.add(key.day, &key.class.0, Sum::from(*amount));
    }
    sums
}

/// Returns the rows of `/v1/usage` by their names, without those of zero seconds.
fn rows(list: &UsageList) -> BTreeMap<String, Sum> {
    let rows = list.items.iter().map(|row| {
        let names = [&row.day, &row.class, &row.repo, &row.workflow];
        let names: Vec<&str> = names.into_iter().flatten().map(String::as_str).collect();
        (names.join(" "), Sum::from(row.sum))
    });
    rows.filter(|(_, sum)| sum.seconds > 0).collect()
}

fn without_empty<K: Ord>(sums: BTreeMap<K, Sum>) -> BTreeMap<K, Sum> {
    sums.into_iter().filter(|(_, sum)| sum.seconds > 0).collect()
}

#[tokio::test]
async fn usage_of_a_simulated_month_is_the_ledger_of_the_cloud() {
    let profile = Profile::month();
    let (outcome, world) = run_world(SEED, &profile);
    assert!(outcome.violations.is_empty(), "{}", outcome.violations[0]);
    let struck = |fault| outcome.struck.get(fault).copied().unwrap_or(0);
    assert!(struck("crash") > 50 && struck("reply_lost") > 50, "{:?}", outcome.struck);
    let (ledger, interrupted) = {
        let world = world.lock();
        let is_lost = |by: Option<EndedBy>| by == Some(EndedBy::Cloud);
        let lost = world.cloud.machines().filter(|machine| is_lost(machine.ended_by)).count();
        (ledger(&world.cloud), lost)
    };
    assert!(outcome.machines > 180 && interrupted > 10, "{interrupted} of {}", outcome.machines);
    assert_eq!(ledger.by_day.len(), 31, "machines ran each day");
    assert!(ledger.by_class.len() == 3 && ledger.all.micro_usd > 10_000, "{:?}", ledger.by_class);
    assert!((1..ledger.all.seconds).contains(&ledger.all.unpriced), "{:?}", ledger.all);

    // The store's own sums.
    let store = SimulatedPorts::live(world.clone());
    let (first, last) = (Date::constant(2026, 1, 1), Date::constant(2026, 1, 31));
    let read = stored(&store.usage(first, last).await.expect("the store answers"));
    assert_eq!(read.all, ledger.all);
    let read = without_empty(read.by_class_and_day);
    assert_eq!(read, without_empty(ledger.by_class_and_day));

    // The same as everybody reads them.
    let (_parts, router) = server(&world, profile.classes.clone());
    for by in UsageBy::ALL {
        let path = format!("/v1/usage?by={}&month={MONTH}", by.as_str());
        let (status, text) = ask(&router, "GET", &path, "application/json").await;
        assert!(status.is_success(), "{path}: {text}");
        let usage: UsageList = serde_json::from_str(&text).expect("a list of usage");
        let total = Sum::from(usage.total);
        assert_eq!((total, total.cents()), (ledger.all, ledger.all.cents()), "{path}");
        let rows = rows(&usage);
        let mut summed = Sum::default();
        for row in rows.values() {
            summed.add(*row);
        }
        assert_eq!(summed, ledger.all, "{path}");
        match by {
            UsageBy::Day => assert_eq!(rows, without_empty(ledger.by_day.clone()), "{path}"),
            UsageBy::Class => assert_eq!(rows, without_empty(ledger.by_class.clone()), "{path}"),
            UsageBy::Repo | UsageBy::Workflow => assert_eq!(rows.len(), 3, "{path}: {rows:?}"),
        }
    }
}
