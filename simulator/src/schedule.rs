//! Mishaps on purpose: at the k-th call of an operation, exactly one thing goes wrong. Beside the
//! weather's chances, and without a draw from them.

use std::collections::BTreeMap;

/// Calls that change something.
pub(crate) const MUTATING: [&str; 9] = [
    "store.put",
    "store.remove",
    "store.seat",
    "store.unseat",
    "queue.wake",
    "compute.launch",
    "compute.terminate",
    "forge.register",
    "forge.retire",
];

/// What goes wrong at a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mishap {
    /// It is refused: no effect, and the caller is told that it is unavailable.
    Refused,
    /// The replica dies before its effect.
    CrashBefore,
    /// It has its effect, and the caller is told that it is unavailable.
    ReplyLost,
    /// The replica dies after its effect.
    CrashAfter,
}

impl Mishap {
    /// All there are.
    pub const ALL: [Self; 4] =
        [Self::Refused, Self::CrashBefore, Self::ReplyLost, Self::CrashAfter];
}

/// A call: `port.operation`, and the how-many-th of it in the world's history, from 1.
pub type Place = (&'static str, u64);

/// What goes wrong where, and a record of all calls.
#[derive(Clone, Debug, Default)]
pub struct Schedule {
    planned: BTreeMap<Place, Mishap>,
    begun: BTreeMap<&'static str, u64>,
    history: Vec<Place>,
    struck: usize,
}

impl Schedule {
    /// A schedule of these mishaps.
    pub fn of(mishaps: &[(Place, Mishap)]) -> Self {
        Self { planned: mishaps.iter().copied().collect(), ..Self::default() }
    }

    /// A call begins. Answers what goes wrong with it.
    pub(crate) fn begins(&mut self, name: &'static str) -> Option<Mishap> {
        let times = self.begun.entry(name).or_insert(0);
        *times += 1;
        let place = (name, *times);
        if MUTATING.contains(&name) {
            self.history.push(place);
        }
        let mishap = self.planned.get(&place).copied();
        self.struck += usize::from(mishap.is_some());
        mishap
    }

    /// All calls that change something, in the order in which they were begun.
    pub fn history(&self) -> &[Place] {
        &self.history
    }

    /// How many of the mishaps came to pass.
    pub fn struck(&self) -> usize {
        self.struck
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mishap_comes_at_its_call_and_at_no_other() {
        let mut schedule = Schedule::of(&[(("store.put", 2), Mishap::ReplyLost)]);
        assert_eq!(schedule.begins("store.put"), None);
        assert_eq!(schedule.begins("store.get"), None);
        assert_eq!(schedule.begins("store.put"), Some(Mishap::ReplyLost));
        assert_eq!(schedule.begins("store.put"), None);
        assert_eq!(schedule.struck(), 1);
        assert_eq!(schedule.history(), [("store.put", 1), ("store.put", 2), ("store.put", 3)]);
    }
}
