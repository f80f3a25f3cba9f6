//! Law L11: every machine second is counted once.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use tinqs_ci_reconciler::model::{Amount, MicroUsd, Run, RunName, Uid8, Usage};

use super::Laws;
use crate::cloud::Cloud;
use crate::cloud::machine::SimulatedMachine;

/// The end of a machine is seen within this time: two sweeps, or a reconcile of its run.
const SEEN_WITHIN: SignedDuration = SignedDuration::from_mins(3);

/// What was counted, by the incarnation of its run.
#[derive(Clone, Debug, Default)]
pub(super) struct UsageWatch(BTreeMap<(RunName, Uid8), Amount>);

impl Laws {
    /// Notes what a write of a record added to the usage.
    pub fn on_counted(&mut self, run: &Run, used: &Usage) {
        let key = (run.name.clone(), run.uid.short());
        *self.usage.0.entry(key).or_default() += used.amount;
    }

    /// Returns everything that was counted.
    pub fn counted(&self) -> Amount {
        let mut sum = Amount::default();
        for amount in self.usage.0.values() {
            sum += *amount;
        }
        sum
    }

    /// L11: all work is done and all records are removed. What was counted for each run is what its
    /// machines lived, to the second, and what that costs. `down`: when a port was down. A machine
    /// that ended then was off every list before anybody could see its end.
    pub fn usage_is_complete(
        &mut self,
        now: Timestamp,
        cloud: &Cloud,
        down: &[(Timestamp, Timestamp)],
    ) {
        if self.records_lost {
            return;
        }
        let unseen = |ended: Timestamp| {
            let listed_until = ended + cloud.config.listed_after_end;
            down.iter().any(|(from, until)| *from <= ended + SEEN_WITHIN && listed_until <= *until)
        };
        let mut excused: BTreeSet<(RunName, Uid8)> = BTreeSet::new();
        let mut ledger: BTreeMap<(RunName, Uid8), (u64, MicroUsd)> = BTreeMap::new();
        for machine in cloud.machines() {
            let Some(seconds) = lived(machine) else { continue };
            let attempt_id = &machine.attempt_id;
            let key = (attempt_id.run.clone(), attempt_id.uid.clone());
            if machine.ended_at().is_some_and(unseen) {
                excused.insert(key.clone());
            }
            let (lived, cost) = ledger.entry(key).or_default();
            *lived += seconds;
            if let Some(price) = price(&machine.recipe.kind) {
                *cost += price.for_seconds(seconds);
            }
        }
        let runs: BTreeSet<_> = ledger.keys().chain(self.usage.0.keys()).cloned().collect();
        for key in runs {
            if self.scrambled.contains(&key.0) || excused.contains(&key) {
                continue;
            }
            let lived = ledger.get(&key).copied().unwrap_or_default();
            let counted = self.usage.0.get(&key).copied().unwrap_or_default();
            let counted = (counted.seconds.total(), counted.cost);
            if counted != lived {
                let (name, uid) = &key;
                let what = format!(
                    "{name} {uid}: its machines lived {} s for {} micro-USD, counted are {} s for {}",
                    lived.0, lived.1.0, counted.0, counted.1.0
                );
                self.broken("L11", now, name.as_str(), what);
            }
        }
    }
}

/// Returns the whole seconds that a machine lived; `None` while it does.
fn lived(machine: &SimulatedMachine) -> Option<u64> {
    let seconds = machine.ended_at()?.as_second() - machine.launched_at.as_second();
    u64::try_from(seconds).ok()
}

/// Returns the price per hour of a kind, in every market and zone.
pub(crate) fn price(kind: &str) -> Option<MicroUsd> {
    let letters = kind.bytes().map(u64::from).sum::<u64>();
    // A kind whose price nobody knows.
    (letters % 5 != 0).then_some(MicroUsd(7_000 + letters * 37))
}
