//! The sums of one day, in UTC.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};

use crate::controller::ends::ListRead;
use crate::model::{ClassName, Machine, MachineId, MicroUsd, Usage, begin_of, day_of};
use crate::plan::times::older;

/// A machine that no list has shown for so long is over: clouds list an ended one for an hour at
/// most.
const UNLISTED_FOR: SignedDuration = SignedDuration::from_hours(2);

/// The cost of machines on one day.
#[derive(Default)]
pub(super) struct Day {
    date: Date,
    machines: HashMap<MachineId, Cost>,
    /// Time at which the last list of machines began.
    listed_at: Option<Timestamp>,
    /// The cost today of the machines that are not listed any more.
    unlisted: BTreeMap<ClassName, MicroUsd>,
    /// Whether a part of that is not known.
    unlisted_is_partial: bool,
    /// The cost that was counted today, as last read.
    counted: Option<Counted>,
    /// The cost that earlier readings counted beyond the machines that this process saw.
    unseen: BTreeMap<ClassName, MicroUsd>,
}

/// The counted cost of a day, by class.
struct Counted {
    read_at: Timestamp,
    costs: BTreeMap<ClassName, MicroUsd>,
    /// Whether a part of the costs is not known.
    is_partial: bool,
}

/// A machine.
struct Cost {
    class: ClassName,
    /// Its price per hour when it was first known.
    price: Option<MicroUsd>,
    launched_at: Timestamp,
    /// The latest time at which it is known to have been up.
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

    /// Returns whether it may have cost more than that: its price is not known, or its end.
    fn is_partial(&self, begin: Timestamp) -> bool {
        let end_is_unknown = self.is_over && self.until <= self.launched_at;
        let was_up_today = !self.is_over || end_is_unknown || self.until > begin;
        was_up_today && (self.price.is_none() || end_is_unknown)
    }
}

impl Day {
    /// Begins the day of this time, unless it has begun.
    pub(super) fn turn(&mut self, now: Timestamp) {
        let day = day_of(now);
        if self.date != day {
            self.date = day;
            self.unlisted.clear();
            self.unlisted_is_partial = false;
            self.unseen.clear();
            self.counted = None;
        }
    }

    /// Notes a list of machines.
    pub(super) fn listed(
        &mut self,
        machines: &[Machine],
        price: impl Fn(&Machine) -> Option<MicroUsd>,
        list: &ListRead,
    ) {
        self.turn(list.read_at);
        for machine in machines {
            let cost = self.machines.entry(machine.id.clone());
            let cost = cost.or_insert_with(|| Cost::new(machine));
            cost.listed(machine, price(machine), list.read_at);
        }
        self.listed_at = Some(list.began_at);
        self.drop_unlisted(list.read_at);
    }

    /// Notes what was counted of a day, read at this time.
    pub(super) fn counted(&mut self, counted: &[Usage], day: Date, read_at: Timestamp) {
        self.turn(read_at);
        if self.date != day {
            return;
        }
        self.settle();
        let mut costs: BTreeMap<ClassName, MicroUsd> = BTreeMap::new();
        for usage in counted.iter().filter(|usage| usage.key.day == day) {
            *costs.entry(usage.key.class.clone()).or_default() += usage.amount.cost;
        }
        let is_partial = counted.iter().any(|usage| usage.amount.may_cost_more());
        self.counted = Some(Counted { read_at, costs, is_partial });
    }

    /// Returns when what was counted today was last read.
    pub(super) fn read_at(&self) -> Option<Timestamp> {
        self.counted.as_ref().map(|counted| counted.read_at)
    }

    /// Returns when the last list of machines began.
    pub(super) fn listed_at(&self) -> Option<Timestamp> {
        self.listed_at
    }

    /// Has what was counted read again.
    pub(super) fn read_again(&mut self) {
        self.settle();
        self.counted = None;
    }

    /// Returns whether both what was counted today and the machines were ever read.
    pub(super) fn is_known(&self) -> bool {
        self.counted.is_some() && self.listed_at.is_some()
    }

    /// Adds what machines that are no longer listed cost to the sum of the day.
    fn drop_unlisted(&mut self, now: Timestamp) {
        let begin = begin_of(self.date);
        for (_, cost) in self.machines.extract_if(|_, it| older(now, it.listed_at, UNLISTED_FOR)) {
            let today = cost.since(begin);
            self.unlisted_is_partial |= cost.is_partial(begin);
            *self.unlisted.entry(cost.class).or_default() += today;
        }
    }

    /// Returns the cost of today of the machines that were seen.
    fn seen(&self, class: &ClassName, of: impl Fn(&Cost) -> bool) -> MicroUsd {
        let begin = begin_of(self.date);
        let mut sum = self.unlisted.get(class).copied().unwrap_or_default();
        for cost in self.machines.values().filter(|cost| cost.class == *class && of(cost)) {
            sum += cost.since(begin);
        }
        sum
    }

    /// Returns the cost that was counted today beyond the machines that this process saw. A machine
    /// that it saw end before the reading is subtracted, although it may not have been counted yet;
    /// so the result never falls below that of earlier readings.
    fn unseen(&self, class: &ClassName) -> MicroUsd {
        let earlier = self.unseen.get(class).copied().unwrap_or_default();
        let Some(counted) = &self.counted else { return earlier };
        let MicroUsd(sum) = counted.costs.get(class).copied().unwrap_or_default();
        let MicroUsd(seen) = self.seen(class, |cost| cost.is_over && cost.until <= counted.read_at);
        earlier.max(MicroUsd(sum.saturating_sub(seen)))
    }

    /// Keeps the cost that the last reading counted of machines that this process never saw, if a
    /// list began after the reading: such a list shows the end of each machine that was counted.
    fn settle(&mut self) {
        let Some(counted) = &self.counted else { return };
        if self.listed_at.is_some_and(|at| at >= counted.read_at) {
            let unseen = counted.costs.keys().map(|class| (class.clone(), self.unseen(class)));
            let unseen: Vec<(ClassName, MicroUsd)> = unseen.collect();
            self.unseen.extend(unseen);
        }
    }

    /// Returns what a class has cost today.
    pub(super) fn of(&self, class: &ClassName) -> MicroUsd {
        let mut sum = self.seen(class, |_| true);
        sum += self.unseen(class);
        sum
    }

    /// Returns what all classes have cost today, and whether that may be more.
    pub(super) fn total(&self) -> (MicroUsd, bool) {
        let begin = begin_of(self.date);
        let counted = self.counted.iter().flat_map(|counted| counted.costs.keys());
        let mut classes: BTreeSet<&ClassName> = counted.collect();
        classes.extend(self.unseen.keys().chain(self.unlisted.keys()));
        classes.extend(self.machines.values().map(|cost| &cost.class));
        let mut sum = MicroUsd::default();
        for class in classes {
            sum += self.of(class);
        }
        let is_partial = self.listed_at.is_none()
            || self.unlisted_is_partial
            || self.counted.as_ref().is_some_and(|counted| counted.is_partial)
            || self.machines.values().any(|cost| cost.is_partial(begin));
        (sum, is_partial)
    }
}
