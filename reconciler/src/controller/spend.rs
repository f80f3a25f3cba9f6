//! What the machines of classes with a budget have cost today: an estimate by what this process saw
//! in lists, and by what was counted of the day before it looked.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;

use super::Controller;
use crate::model::{
    BudgetStop, Class, ClassName, ClassSpend, Machine, MachineId, MachineSpec, Market, MicroUsd,
    RunName, Usage, begin_of, day_of, next_day,
};
use crate::plan::times::older;
use crate::ports::PortError;

/// The interval of reading what was counted today. Machines are counted from the lists meanwhile.
const READ_EVERY: SignedDuration = SignedDuration::from_mins(5);
/// A machine that no list has shown for so long is over: clouds list an ended one for an hour at
/// most.
const UNLISTED_FOR: SignedDuration = SignedDuration::from_hours(2);

/// What this process knows of the spend of today.
#[derive(Default)]
pub(super) struct Spend(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    /// The day of the sums.
    day: Date,
    machines: HashMap<MachineId, Cost>,
    /// The cost today of the machines that are not listed any more.
    unlisted: BTreeMap<ClassName, MicroUsd>,
    /// What was counted today beyond the machines that this process saw.
    unseen: BTreeMap<ClassName, MicroUsd>,
    /// When what was counted was last read.
    read_at: Option<Timestamp>,
    /// The last known price of each kind.
    prices: BTreeMap<(String, Market), MicroUsd>,
    /// The runs that wait for a budget.
    held: BTreeSet<RunName>,
}

/// A machine of a class with a budget.
struct Cost {
    class: ClassName,
    /// Its price per hour when it was first known.
    price: Option<MicroUsd>,
    launched_at: Timestamp,
    /// Until when it is known to have been up.
    until: Timestamp,
    is_over: bool,
    listed_at: Timestamp,
}

impl Cost {
    fn new(machine: &Machine) -> Self {
        Self {
            class: machine.class.clone(),
            price: None,
            launched_at: machine.launched_at,
            until: machine.launched_at,
            is_over: false,
            listed_at: machine.launched_at,
        }
    }

    fn listed(&mut self, machine: &Machine, price: Option<MicroUsd>, at: Timestamp) {
        self.price = self.price.or(price);
        self.listed_at = at;
        let was_up = self.until > self.launched_at;
        if let Some(ended_at) = machine.ended_at {
            self.until = ended_at;
        } else if !self.is_over && (machine.is_live() || was_up) {
            // When one ended that was never seen up, nobody knows.
            self.until = self.until.max(at);
        }
        // What a stale list shows does not revive it.
        self.is_over |= !machine.is_live();
    }

    /// Returns what it cost since then.
    fn since(&self, begin: Timestamp) -> MicroUsd {
        let seconds = self.until.as_second() - self.launched_at.max(begin).as_second();
        let price = self.price.unwrap_or_default();
        price.for_seconds(u64::try_from(seconds).unwrap_or(0))
    }
}

impl Inner {
    /// Begins the day of this time, unless it has begun.
    fn turn(&mut self, now: Timestamp) {
        let day = day_of(now);
        if self.day != day {
            self.day = day;
            self.unlisted.clear();
            self.unseen.clear();
            self.read_at = None;
        }
    }

    /// Adds what machines that are no longer listed cost to the sum of the day.
    fn drop_unlisted(&mut self, now: Timestamp) {
        let begin = begin_of(self.day);
        for (_, cost) in self.machines.extract_if(|_, it| older(now, it.listed_at, UNLISTED_FOR)) {
            let today = cost.since(begin);
            *self.unlisted.entry(cost.class).or_default() += today;
        }
    }

    /// Returns the cost of today of the machines that were seen.
    fn seen(&self, class: &ClassName, of: impl Fn(&Cost) -> bool) -> MicroUsd {
        let begin = begin_of(self.day);
        let mut sum = self.unlisted.get(class).copied().unwrap_or_default();
        for cost in self.machines.values().filter(|cost| cost.class == *class && of(cost)) {
            sum += cost.since(begin);
        }
        sum
    }
}

impl Spend {
    /// Notes a list of machines.
    fn listed<'m>(
        &self,
        machines: impl Iterator<Item = &'m Machine>,
        price: impl Fn(&Machine) -> Option<MicroUsd>,
        at: Timestamp,
    ) {
        let mut inner = self.0.lock();
        inner.turn(at);
        for machine in machines {
            let known = inner.prices.get(&(machine.kind.clone(), machine.market)).copied();
            let price = price(machine).or(known);
            let cost = inner.machines.entry(machine.id.clone());
            cost.or_insert_with(|| Cost::new(machine)).listed(machine, price, at);
        }
        inner.drop_unlisted(at);
    }

    /// Notes what was counted of today. Of a machine that this process saw to end it may be counted
    /// or not: the higher sum holds.
    fn counted(&self, counted: &[Usage], now: Timestamp) {
        let mut inner = self.0.lock();
        inner.turn(now);
        inner.read_at = Some(now);
        let mut sums: BTreeMap<&ClassName, MicroUsd> = BTreeMap::new();
        for usage in counted.iter().filter(|usage| usage.key.day == day_of(now)) {
            *sums.entry(&usage.key.class).or_default() += usage.amount.cost;
        }
        for (class, MicroUsd(sum)) in sums {
            let MicroUsd(seen) = inner.seen(class, |cost| cost.is_over);
            let unseen = inner.unseen.entry(class.clone()).or_default();
            *unseen = (*unseen).max(MicroUsd(sum.saturating_sub(seen)));
        }
    }

    /// Returns whether what was counted was read lately.
    fn is_read(&self, now: Timestamp) -> bool {
        let inner = self.0.lock();
        inner.day == day_of(now)
            && inner.read_at.is_some_and(|at| at <= now && !older(now, at, READ_EVERY))
    }

    /// Returns what a class has cost today, and whether what was counted of the day was ever read.
    fn today(&self, class: &ClassName, now: Timestamp) -> (MicroUsd, bool) {
        let mut inner = self.0.lock();
        inner.turn(now);
        let mut sum = inner.seen(class, |_| true);
        sum += inner.unseen.get(class).copied().unwrap_or_default();
        (sum, inner.read_at.is_some())
    }

    /// Notes the price of a kind if it is known, and returns whether it ever was.
    fn is_priced(&self, spec: &MachineSpec, price: Option<MicroUsd>) -> bool {
        let of = (spec.kind.clone(), spec.market);
        let mut inner = self.0.lock();
        match price {
            Some(price) => {
                inner.prices.insert(of, price);
                true
            }
            None => inner.prices.contains_key(&of),
        }
    }

    /// Notes whether a run waits for a budget.
    pub(super) fn holds(&self, name: &RunName, is_held: bool) {
        let mut inner = self.0.lock();
        if is_held {
            inner.held.insert(name.clone());
        } else {
            inner.held.remove(name);
        }
    }

    /// Takes the runs that wait for a budget, and has everything read again: budgets or prices
    /// changed.
    pub(super) fn changed(&self) -> BTreeSet<RunName> {
        let mut inner = self.0.lock();
        inner.read_at = None;
        std::mem::take(&mut inner.held)
    }

    /// Forgets everything: times of a wrong clock.
    pub(super) fn forget(&self) {
        *self.0.lock() = Inner::default();
    }
}

impl Controller {
    /// Reads what was counted today, if a class has a budget and it was not read lately.
    ///
    /// # Errors
    /// The store or the cloud cannot be read.
    pub async fn read_spend(&self) -> Result<(), PortError> {
        let has_budget = self.settings().classes.iter().any(|class| class.budget.is_some());
        if !has_budget || self.cache.spend.is_read(self.ports.clock.now()) {
            return Ok(());
        }
        let ticket = self.cache.ticket();
        self.cache.counted.after(&self.cache, ticket, self.read_counted()).await?;
        Ok(())
    }

    async fn read_counted(&self) -> Result<(), PortError> {
        self.read_prices().await;
        // What was counted is compared with the machines of a list that is not older.
        let ticket = self.cache.ticket();
        self.cache.machines.after(&self.cache, ticket, self.list_machines()).await?;
        let now = self.ports.clock.now();
        let counted = self.ports.store.usage(day_of(now), day_of(now)).await?;
        self.cache.spend.counted(&counted, now);
        Ok(())
    }

    /// Notes what listed machines cost.
    pub(super) fn note_spend(&self, machines: &[Machine], at: Timestamp) {
        let settings = self.settings();
        let limited = settings.classes.iter().filter(|class| class.budget.is_some());
        let limited: BTreeSet<&ClassName> = limited.map(|class| &class.name).collect();
        if limited.is_empty() {
            return;
        }
        let price = |machine: &Machine| self.price(&machine.kind, machine.market, &machine.zone);
        let of_limited = machines.iter().filter(|machine| limited.contains(&machine.class));
        self.cache.spend.listed(of_limited, price, at);
    }

    /// Returns why the budget of a class lets it launch nothing, by what this process has read.
    pub(super) fn budget_stop(&self, class: &Class, now: Timestamp) -> Option<BudgetStop> {
        let budget = class.budget?;
        let until = next_day(now);
        if self.cache.spend.today(&class.name, now).0 >= budget {
            return Some(BudgetStop { budget, unpriced: None, until });
        }
        let is_priced = |spec: &MachineSpec| {
            self.cache.spend.is_priced(spec, self.price(&spec.kind, spec.market, ""))
        };
        let unpriced = class.machines.iter().find(|spec| !is_priced(spec))?;
        Some(BudgetStop { budget, unpriced: Some(unpriced.kind.clone()), until })
    }

    /// Returns what the classes with a budget have spent today, by what this process has read.
    pub fn spend(&self) -> Vec<ClassSpend> {
        let (settings, now) = (self.settings(), self.ports.clock.now());
        let of = |class: &Class| {
            let (spent, is_read) = self.cache.spend.today(&class.name, now);
            let today = Some(spent).filter(|_| is_read);
            Some(ClassSpend { class: class.name.clone(), budget: class.budget?, today })
        };
        settings.classes.iter().filter_map(of).collect()
    }
}

#[cfg(test)]
mod tests;
