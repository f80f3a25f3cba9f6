//! Scheduled faults: exactly one fault at the k-th call of an operation, independent of the random
//! faults and without a draw from them.

use std::collections::BTreeMap;

/// Calls that change something.
pub(crate) const MUTATING: [&str; 12] = [
    "store.put",
    "store.remove",
    "store.seat",
    "store.unseat",
    "store.put_reruns",
    "queue.wake",
    "compute.launch",
    "compute.terminate",
    "forge.register",
    "forge.disable",
    "forge.retire",
    "forge.rerun",
];

/// A fault of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ScheduledFault {
    /// The call has no effect and returns `Unavailable`.
    Refused,
    /// The replica dies before the effect.
    CrashBefore,
    /// The call takes effect but returns `Unavailable`.
    ReplyLost,
    /// The replica dies after the effect.
    CrashAfter,
}

impl ScheduledFault {
    /// All scheduled faults.
    pub const ALL: [Self; 4] =
        [Self::Refused, Self::CrashBefore, Self::ReplyLost, Self::CrashAfter];
}

/// A call: `port.operation` and its ordinal in the world's history, from 1.
pub type Place = (&'static str, u64);

/// The scheduled faults, and all calls.
#[derive(Clone, Debug, Default)]
pub struct Schedule {
    planned: BTreeMap<Place, ScheduledFault>,
    begun: BTreeMap<&'static str, u64>,
    history: Vec<Place>,
    struck: usize,
}

impl Schedule {
    /// Creates a schedule of these faults.
    pub fn of(scheduled_faults: &[(Place, ScheduledFault)]) -> Self {
        Self { planned: scheduled_faults.iter().copied().collect(), ..Self::default() }
    }

    /// Records the start of a call. Returns its scheduled fault.
    pub(crate) fn begins(&mut self, name: &'static str) -> Option<ScheduledFault> {
        let times = self.begun.entry(name).or_insert(0);
        *times += 1;
        let place = (name, *times);
        if MUTATING.contains(&name) {
            self.history.push(place);
        }
        let scheduled_fault = self.planned.get(&place).copied();
        self.struck += usize::from(scheduled_fault.is_some());
        scheduled_fault
    }

    /// Returns all calls that change something, in the order of their start.
    pub fn history(&self) -> &[Place] {
        &self.history
    }

    /// Returns how many of the scheduled faults occurred.
    pub fn struck(&self) -> usize {
        self.struck
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scheduled_fault_occurs_at_its_call_only() {
        let mut schedule = Schedule::of(&[(("store.put", 2), ScheduledFault::ReplyLost)]);
        assert_eq!(schedule.begins("store.put"), None);
        assert_eq!(schedule.begins("store.get"), None);
        assert_eq!(schedule.begins("store.put"), Some(ScheduledFault::ReplyLost));
        assert_eq!(schedule.begins("store.put"), None);
        assert_eq!(schedule.struck(), 1);
        assert_eq!(schedule.history(), [("store.put", 1), ("store.put", 2), ("store.put", 3)]);
    }
}
