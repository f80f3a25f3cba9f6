//! The cost of machines today: an estimate from the lists that this process read, and from the
//! usage that was counted today. Launches, `/v1/status` and the metrics all read it here.

mod day;

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;

use super::Controller;
use super::ends::ListRead;
use crate::model::{
    BudgetStop, Cause, Class, ClassName, ClassSpend, DaySpend, Machine, MachineSpec, Market,
    MicroUsd, RunName, UnavailableOffering, Usage, day_of, next_day,
};
use crate::plan::times::{after, older};
use crate::ports::{ErrorKind, PortError};
use day::Day;

/// The interval of reading what was counted today. Machines are counted from the lists meanwhile.
const READ_EVERY: SignedDuration = SignedDuration::from_mins(5);
/// The same for people.
const SHOWN_FOR: SignedDuration = SignedDuration::from_secs(10);
/// Time after a failed reading in which it is not repeated. Otherwise the callers that wait for a
/// call that hangs would make the same call one after the other.
const FAILED_FOR: SignedDuration = SignedDuration::from_secs(10);

/// The spend of today, as far as this process knows it.
#[derive(Default)]
pub(super) struct Spend(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    day: Day,
    /// Time and error of the last reading of the counted usage, if it failed.
    failed: Option<(Timestamp, ErrorKind, String)>,
    /// Time at which the prices were last read.
    priced_at: Option<Timestamp>,
    /// The last known price of each kind.
    prices: BTreeMap<(String, Market), MicroUsd>,
    /// The runs that wait for a budget.
    held: BTreeSet<RunName>,
}

impl Spend {
    /// Notes a list of machines.
    fn listed(
        &self,
        machines: &[Machine],
        current: impl Fn(&Machine) -> Option<MicroUsd>,
        list: &ListRead,
    ) {
        let mut inner = self.0.lock();
        let Inner { day, prices, .. } = &mut *inner;
        let price_of = |machine: &Machine| {
            let known = || prices.get(&(machine.kind.clone(), machine.market)).copied();
            current(machine).or_else(known)
        };
        day.listed(machines, price_of, list);
    }

    /// Notes what was counted of a day, read at this time.
    fn counted(&self, counted: &[Usage], day: Date, read_at: Timestamp) {
        let mut inner = self.0.lock();
        inner.failed = None;
        inner.day.counted(counted, day, read_at);
    }

    /// Notes that what was counted cannot be read.
    fn failed(&self, error: &PortError, now: Timestamp) {
        self.0.lock().failed = Some((now, error.kind, error.message.clone()));
    }

    /// Returns the error of a reading that failed a moment ago.
    fn failure(&self, now: Timestamp) -> Option<PortError> {
        let inner = self.0.lock();
        let (at, kind, message) = inner.failed.as_ref()?;
        let is_recent = *at <= now && !older(now, *at, FAILED_FOR);
        is_recent.then(|| PortError::new("store", "usage", *kind, message.clone()))
    }

    /// Returns whether what was counted was read at most so long ago.
    fn is_read(&self, now: Timestamp, within: SignedDuration) -> bool {
        let read_at = self.day(now, Day::read_at);
        read_at.is_some_and(|at| at <= now && !older(now, at, within))
    }

    /// Returns whether the machines were listed at most so long ago.
    fn is_listed(&self, now: Timestamp, within: SignedDuration) -> bool {
        let listed_at = self.0.lock().day.listed_at();
        listed_at.is_some_and(|at| at <= now && !older(now, at, within))
    }

    /// Returns what a class has cost today, and whether what was counted of the day and the
    /// machines were ever read.
    fn today(&self, class: &ClassName, now: Timestamp) -> (MicroUsd, bool) {
        self.day(now, |day| (day.of(class), day.is_known()))
    }

    /// Reads the sums of today as of one moment.
    fn day<T>(&self, now: Timestamp, read: impl FnOnce(&Day) -> T) -> T {
        let mut inner = self.0.lock();
        inner.day.turn(now);
        read(&inner.day)
    }

    /// Notes that the prices were read.
    fn priced(&self, now: Timestamp) {
        self.0.lock().priced_at = Some(now);
    }

    /// Returns when the prices were last read.
    fn priced_at(&self) -> Option<Timestamp> {
        self.0.lock().priced_at
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
        inner.day.read_again();
        (inner.failed, inner.priced_at) = (None, None);
        std::mem::take(&mut inner.held)
    }

    /// Forgets everything: times of a wrong clock.
    pub(super) fn forget(&self) {
        *self.0.lock() = Inner::default();
    }
}

impl Controller {
    /// Reads the prices, the machines and what was counted today, if a class has a budget and they
    /// were not read lately.
    ///
    /// # Errors
    /// The store or the cloud cannot be read. What the store answered is returned for ten seconds,
    /// without a call.
    pub async fn read_spend(&self) -> Result<(), PortError> {
        if !self.settings().classes.iter().any(|class| class.budget.is_some()) {
            return Ok(());
        }
        let (spend, now) = (&self.cache.spend, self.ports.clock.now());
        let is_recent = |at: Timestamp| at <= now && !older(now, at, READ_EVERY);
        if !spend.priced_at().is_some_and(is_recent) {
            let ticket = self.cache.ticket();
            self.cache.priced.after(&self.cache, ticket, self.read_prices_once()).await?;
        }
        // A replica that reconciles nothing sees the machines of the others too.
        if !spend.is_listed(now, READ_EVERY) {
            self.machines().await?;
        }
        self.read_counted(READ_EVERY).await
    }

    async fn read_prices_once(&self) -> Result<(), PortError> {
        self.read_prices().await;
        self.cache.spend.priced(self.ports.clock.now());
        Ok(())
    }

    /// Reads what was counted today, unless it was read at most so long ago.
    async fn read_counted(&self, within: SignedDuration) -> Result<(), PortError> {
        if !self.cache.spend.is_read(self.ports.clock.now(), within) {
            let ticket = self.cache.ticket();
            self.cache.counted.after(&self.cache, ticket, self.fetch_counted()).await?;
        }
        Ok(())
    }

    async fn fetch_counted(&self) -> Result<(), PortError> {
        let (spend, clock) = (&self.cache.spend, &self.ports.clock);
        let began_at = clock.now();
        if let Some(error) = spend.failure(began_at) {
            return Err(error);
        }
        let day = day_of(began_at);
        match self.ports.store.usage(day, day).await {
            // What ended during the call may be counted or not.
            Ok(counted) => spend.counted(&counted, day, clock.now()),
            Err(error) => {
                spend.failed(&error, clock.now());
                return Err(error);
            }
        }
        Ok(())
    }

    /// Notes what listed machines cost.
    pub(super) fn note_spend(&self, machines: &[Machine], list: &ListRead) {
        let price = |machine: &Machine| self.price(&machine.kind, machine.market, &machine.zone);
        self.cache.spend.listed(machines, price, list);
    }

    /// Returns why the budget of a class lets it launch nothing, by what this process has read.
    pub(super) fn budget_stop(&self, class: &Class, now: Timestamp) -> Option<BudgetStop> {
        let budget = class.budget?;
        let until = next_day(now);
        if self.cache.spend.today(&class.name, now).0 >= budget {
            return Some(BudgetStop { budget, unpriced: None, until });
        }
        let unpriced = self.unpriced(class);
        let first = unpriced.first().filter(|_| unpriced.len() == class.machines.len())?;
        Some(BudgetStop { budget, unpriced: Some(first.kind.clone()), until })
    }

    /// Returns the machines that a class with a budget does not launch, because their price was
    /// never known.
    fn unpriced(&self, class: &Class) -> Vec<MachineSpec> {
        let is_unpriced = |spec: &&MachineSpec| {
            let price = self.price(&spec.kind, spec.market, "");
            class.budget.is_some() && !self.cache.spend.is_priced(spec, price)
        };
        class.machines.iter().filter(is_unpriced).cloned().collect()
    }

    /// Returns the offerings that a class skips now: those that the cloud refused, and those whose
    /// price its budget needs and nobody knows.
    pub(super) fn unavailable_to(&self, class: &Class, now: Timestamp) -> Vec<UnavailableOffering> {
        let (mut all, until) = (self.cache.unavailable(now), after(now, READ_EVERY));
        let of = |machine| UnavailableOffering { machine, until, cause: Cause::Unpriced };
        all.extend(self.unpriced(class).into_iter().map(of));
        all
    }

    /// Returns what was spent today, after a read if the last one was more than ten seconds ago. If
    /// the store cannot be read, it is what was known before.
    pub async fn spend_now(&self) -> DaySpend {
        let _ = self.read_counted(SHOWN_FOR).await;
        self.spend()
    }

    /// Returns what was spent today, by what this process has read.
    pub fn spend(&self) -> DaySpend {
        let (settings, now) = (self.settings(), self.ports.clock.now());
        let spend = &self.cache.spend;
        let is_priced = spend.priced_at().is_some();
        let of = |class: &Class| {
            Some(ClassSpend {
                class: class.name.clone(),
                budget: class.budget?,
                today: None,
                unpriced: if is_priced { self.unpriced(class) } else { Vec::new() },
            })
        };
        let mut budgets: Vec<ClassSpend> = settings.classes.iter().filter_map(of).collect();
        // At one moment, so that the sums agree.
        spend.day(now, |day| {
            for own in &mut budgets {
                own.today = day.is_known().then(|| day.of(&own.class));
            }
            let (sum, is_partial) = day.total();
            DaySpend { budgets, total: day.read_at().map(|_| sum), is_partial }
        })
    }
}

#[cfg(test)]
mod tests;
