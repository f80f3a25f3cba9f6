//! Law "L16 usage": every machine second is counted once, and a figure that nobody can know is said
//! to be unknown.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use tinqs_ci_reconciler::model::{Amount, MachineId, MicroUsd, Run, RunName, Uid8, Usage};

use super::Laws;
use crate::cloud::machine::SimulatedMachine;
use crate::cloud::{Cloud, price};

/// The name of the law.
const LAW: &str = "L16 usage";
/// The end of a machine is seen and recorded within this time, unless something is down: three
/// sweeps, or a reconcile of its run.
const SEEN_WITHIN: SignedDuration = SignedDuration::from_mins(3);

/// A run's incarnation.
type Key = (RunName, Uid8);
/// Start and end of a period.
type Span = (Timestamp, Timestamp);

/// The recorded and the counted usage.
#[derive(Clone, Debug, Default)]
pub(super) struct UsageWatch {
    counted: BTreeMap<Key, Amount>,
    /// The machines that a record ever named.
    noted: BTreeSet<MachineId>,
}

/// The conditions that kept the ends of machines from being known.
#[derive(Clone, Debug, Default)]
pub struct Unseen {
    /// The periods in which a port was down.
    pub down: Vec<Span>,
    /// Whether replicas pause for longer than a reconcile may take, or have clocks that are wrong.
    pub pauses: bool,
    /// Maximum error of recorded times: by the clocks of replicas and the lag of the list.
    pub inaccuracy: SignedDuration,
}

/// Seconds of machines, and what they cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sum {
    seconds: u64,
    /// Of the seconds whose price is known.
    cost: MicroUsd,
    /// The seconds whose price is not known.
    unpriced: u64,
}

/// The lifetimes of the machines of a run.
#[derive(Clone, Copy, Debug, Default)]
struct Lived {
    /// Lifetimes of the machines whose end the cloud reported.
    known: Sum,
    /// The maximum that may be counted as known of the other machines.
    most: Sum,
    /// The minimum lifetime of the other machines that a record named, in seconds.
    named: u64,
    /// Whether there are other machines.
    has_unknown: bool,
}

impl Unseen {
    /// Returns whether the end of a machine may be unseen: something was down from its end until no
    /// list showed it any more, or replicas pause or have wrong clocks.
    fn hides(&self, machine: &SimulatedMachine, ended_at: Timestamp, cloud: &Cloud) -> bool {
        let gone_at = machine.gone_at.unwrap_or(ended_at);
        let listed_until = gone_at + cloud.config.listed_after_end;
        let hides = |(from, until): &Span| {
            *from <= ended_at + SEEN_WITHIN && listed_until <= *until + SEEN_WITHIN
        };
        self.pauses || joined(&self.down).iter().any(hides)
    }
}

/// Joins periods that are so close together that no reconcile needs to succeed in between.
fn joined(spans: &[Span]) -> Vec<Span> {
    let mut sorted = spans.to_vec();
    sorted.sort();
    let mut all: Vec<Span> = Vec::new();
    for (from, until) in sorted {
        match all.last_mut() {
            Some((_, last)) if from <= *last + SEEN_WITHIN => *last = until.max(*last),
            _ => all.push((from, until)),
        }
    }
    all
}

impl Laws {
    /// Notes which machines a written record names.
    pub fn on_noted(&mut self, run: &Run) {
        let machines = run.status.usage.machines.iter();
        self.usage.noted.extend(machines.map(|used| used.id.clone()));
    }

    /// Notes what a write of a record added to the usage.
    pub fn on_counted(&mut self, run: &Run, used: &Usage) {
        let key = (run.name.clone(), run.uid.short());
        *self.usage.counted.entry(key).or_default() += used.amount;
    }

    /// Returns everything that was counted.
    pub fn counted(&self) -> Amount {
        let mut sum = Amount::default();
        for amount in self.usage.counted.values() {
            sum += *amount;
        }
        sum
    }

    /// Checks the counted usage after all work is done and all records are removed. For each run:
    ///
    /// - If the cloud reported the ends of its machines while they could be read and written, their
    ///   lifetimes are counted to the second, with their cost, and no second has an unknown end.
    /// - Otherwise the counted seconds are no more than the lifetimes, and no less together with
    ///   the seconds of unknown end. Machines that no record ever named are left out: nobody saw
    ///   them.
    ///
    /// `stored`: the sum of the usage in the store, which must equal that of all runs.
    pub fn usage_is_complete(
        &mut self,
        now: Timestamp,
        cloud: &Cloud,
        stored: &Amount,
        unseen: &Unseen,
    ) {
        if self.records_lost {
            return;
        }
        let counted = self.counted();
        if *stored != counted {
            let what = format!("the store has {stored:?}, the runs counted {counted:?}");
            self.broken(LAW, now, "", what);
        }
        let mut ledger: BTreeMap<Key, Lived> = BTreeMap::new();
        for machine in cloud.machines() {
            let Some(ended_at) = machine.ended_at() else { continue };
            let attempt_id = &machine.attempt_id;
            let lived = ledger.entry((attempt_id.run.clone(), attempt_id.uid.clone())).or_default();
            let hidden = unseen.hides(machine, ended_at, cloud);
            let is_noted = self.usage.noted.contains(&machine.id);
            lived.add(machine, ended_at, unseen, hidden || !cloud.config.dates_ends, is_noted);
            // A record that was scrambled before it named its machine names another attempt.
            let is_scrambled = self.scrambled.contains(&attempt_id.run);
            if !is_noted && !hidden && !is_scrambled && !self.is_late(attempt_id) {
                let what = format!("{attempt_id} {}: no record ever named it", machine.id);
                self.broken(LAW, now, attempt_id.run.as_str(), what);
            }
        }
        let runs: BTreeSet<_> = ledger.keys().chain(self.usage.counted.keys()).cloned().collect();
        for key in runs {
            if self.scrambled.contains(&key.0) {
                continue;
            }
            let lived = ledger.get(&key).copied().unwrap_or_default();
            let counted = self.usage.counted.get(&key).copied().unwrap_or_default();
            if !lived.is_told_by(&counted) {
                let (name, uid) = &key;
                let what = format!("{name} {uid}: its machines {lived:?}, counted are {counted:?}");
                self.broken(LAW, now, name.as_str(), what);
            }
        }
    }
}

impl Lived {
    fn add(
        &mut self,
        machine: &SimulatedMachine,
        ended_at: Timestamp,
        unseen: &Unseen,
        is_unknown: bool,
        is_noted: bool,
    ) {
        if !is_unknown {
            self.known.add(machine, between(machine.launched_at, ended_at));
            return;
        }
        let least = between(machine.launched_at, ended_at - unseen.inaccuracy);
        let most = between(machine.launched_at, ended_at + SEEN_WITHIN + unseen.inaccuracy);
        self.has_unknown = true;
        self.most.add(machine, most);
        self.named += if is_noted { least } else { 0 };
    }

    fn is_told_by(&self, counted: &Amount) -> bool {
        let told = Sum {
            seconds: counted.seconds.total(),
            cost: counted.cost,
            unpriced: counted.unpriced,
        };
        let Sum { seconds, cost, unpriced } = self.known;
        if !self.has_unknown {
            return told == self.known && counted.unknown_end == 0;
        }
        (seconds..=seconds + self.most.seconds).contains(&told.seconds)
            && (cost.0..=cost.0 + self.most.cost.0).contains(&told.cost.0)
            && (unpriced..=unpriced + self.most.unpriced).contains(&told.unpriced)
            && told.seconds + counted.unknown_end >= seconds + self.named
    }
}

impl Sum {
    /// Adds a machine that lived so long.
    fn add(&mut self, machine: &SimulatedMachine, seconds: u64) {
        self.seconds += seconds;
        match price(&machine.spec.kind, machine.spec.market) {
            Some(price) => self.cost += price.for_seconds(seconds),
            None => self.unpriced += seconds,
        }
    }
}

fn between(from: Timestamp, until: Timestamp) -> u64 {
    u64::try_from(until.as_second() - from.as_second()).unwrap_or(0)
}
