//! The metrics of usage and cost.

use std::collections::BTreeMap;

use prometheus::{CounterVec, GaugeVec, IntCounterVec, Opts, Registry};
use tinqs_ci_reconciler::model::{
    Amount, ClassSpend, Machine, MachineState, Market, MicroUsd, Seconds,
};

use super::register::{CONSTANT, counters, gauges, register};
use super::{Metrics, f, labels};

/// The usage and the cost of machines.
pub(super) struct UsageMetrics {
    hourly: GaugeVec,
    budget: GaugeVec,
    spend: GaugeVec,
    cost: CounterVec,
    seconds: IntCounterVec,
}

impl UsageMetrics {
    pub(super) fn new(r: &Registry) -> Self {
        let cost = CounterVec::new(Opts::new(f::COST.name, f::COST.help), f::COST.labels);
        Self {
            hourly: gauges(r, f::HOURLY_COST),
            budget: gauges(r, f::DAILY_BUDGET),
            spend: gauges(r, f::DAILY_SPEND),
            cost: register(r, cost.expect(CONSTANT)),
            seconds: counters(r, f::MACHINE_SECONDS),
        }
    }

    pub(super) fn zero_class(&self, class: &str) {
        self.zero_gauges(class);
        self.cost.with_label_values(&[class]);
        // Each scrape removes it as long as it is not known.
        self.spend.with_label_values(&[class]);
        for used in labels::USES {
            self.seconds.with_label_values(&[class, used]);
        }
    }

    fn zero_gauges(&self, class: &str) {
        for market in labels::MARKETS {
            self.hourly.with_label_values(&[class, market]).set(0.0);
        }
    }

    pub(super) fn remove_gauges(&self, class: &str) {
        for market in labels::MARKETS {
            let _ = self.hourly.remove_label_values(&[class, market]);
        }
        let _ = self.budget.remove_label_values(&[class]);
        let _ = self.spend.remove_label_values(&[class]);
    }

    /// Sets the budget of a class.
    pub(super) fn budget(&self, class: &str, budget: Option<MicroUsd>) {
        let budget = in_dollars(budget.unwrap_or_default());
        self.budget.with_label_values(&[class]).set(budget);
    }

    /// Adds what a run has counted.
    pub(super) fn counted(&self, class: &str, amount: &Amount) {
        let Seconds { boot, idle, busy, lost } = amount.seconds;
        let all = [boot, idle, busy, lost, amount.unknown_end];
        for (used, seconds) in labels::USES.into_iter().zip(all) {
            self.seconds.with_label_values(&[class, used]).inc_by(seconds);
        }
        self.cost.with_label_values(&[class]).inc_by(in_dollars(amount.cost));
    }

    /// Sets the cost per hour of the listed machines. `class`: the label of a machine's class.
    fn hourly(
        &self,
        classes: &[String],
        machines: &[Machine],
        price: impl Fn(&Machine) -> Option<MicroUsd>,
        class: impl Fn(&Machine) -> String,
    ) {
        // Summed first: two scrapes at once would add to the same gauge.
        let mut sums: BTreeMap<(String, &'static str), f64> = BTreeMap::new();
        for class in classes {
            for market in labels::MARKETS {
                sums.insert((class.clone(), market), 0.0);
            }
        }
        let is_over =
            |machine: &&Machine| matches!(machine.state, MachineState::Ending | MachineState::Gone);
        let mut unknown: Vec<(String, Market)> = Vec::new();
        for machine in machines.iter().filter(|machine| !is_over(machine)) {
            let (class, market) = (class(machine), machine.market);
            match price(machine) {
                Some(price) => {
                    *sums.entry((class, labels::market(market))).or_default() += in_dollars(price);
                }
                None => unknown.push((class, market)),
            }
        }
        for (class, market) in unknown {
            let market = labels::market(market);
            let _ = self.hourly.remove_label_values(&[class.as_str(), market]);
            sums.remove(&(class, market));
        }
        for ((class, market), sum) in &sums {
            self.hourly.with_label_values(&[class.as_str(), *market]).set(*sum);
        }
    }
}

impl Metrics {
    /// Sets the cost per hour of the listed machines.
    pub fn hourly_cost(&self, machines: &[Machine], price: impl Fn(&Machine) -> Option<MicroUsd>) {
        let classes = self.classes.read().clone();
        let label = |machine: &Machine| {
            if classes.contains(&machine.class.0) {
                machine.class.0.clone()
            } else {
                labels::NO_CLASS.to_owned()
            }
        };
        self.usage.hourly(&classes, machines, price, label);
    }

    /// Sets what the classes with a budget have spent today, as far as it is known.
    pub fn daily_spend(&self, spend: &[ClassSpend]) {
        for class in self.classes.read().iter() {
            let own = spend.iter().find(|own| own.class.0 == *class);
            match own.and_then(|own| own.today) {
                Some(today) => {
                    self.usage.spend.with_label_values(&[class]).set(in_dollars(today));
                }
                None => {
                    let _ = self.usage.spend.remove_label_values(&[class]);
                }
            }
        }
    }
}

#[allow(clippy::cast_precision_loss, reason = "more than a billion dollars are not counted")]
fn in_dollars(amount: MicroUsd) -> f64 {
    amount.0 as f64 / 1e6
}
