//! The planned faults of a history, and which of them occurred.

use std::collections::{BTreeMap, BTreeSet, HashMap};

/// A fault of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum InjectedFault {
    /// The service refuses the call and every retry of the SDK: no effect.
    Refused,
    /// The call has its effect; neither it nor any retry of the SDK gets a reply.
    ReplyLost,
    /// The call has its effect, the connection breaks, and the SDK's retry succeeds.
    FirstReplyLost,
    /// The controller crashes before the effect.
    DeadBefore,
    /// The controller crashes after the effect.
    DeadAfter,
}

impl InjectedFault {
    pub(crate) const ALL: [Self; 5] =
        [Self::Refused, Self::ReplyLost, Self::FirstReplyLost, Self::DeadBefore, Self::DeadAfter];
    /// The faults that the SDK does not hide from the controller.
    pub(crate) const HARD: [Self; 4] =
        [Self::Refused, Self::ReplyLost, Self::DeadBefore, Self::DeadAfter];
}

/// A call: its kind and its number among calls of that kind, from 1. Retries of the SDK are part of
/// the call.
pub(crate) type Place = (&'static str, u64);

/// Returns whether a call has a lasting effect. Deleting a message does not count: a redelivered
/// one only causes another reconcile.
pub(crate) fn is_effect(place: &Place) -> bool {
    let (op, _) = place;
    ["put run", "count run", "put lease", "seats", "delete run", "wake"].contains(op)
        || ["RunInstances", "TerminateInstances"].contains(op)
}

/// The planned faults of one history and the calls so far.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    planned: BTreeMap<Place, InjectedFault>,
    begun: BTreeMap<&'static str, u64>,
    /// Keyed by the SDK's invocation ID: a call's retries share its fault.
    befell: HashMap<String, Option<InjectedFault>>,
    history: Vec<Place>,
    struck: BTreeSet<Place>,
}

impl Plan {
    pub(crate) fn of(injected_faults: &[(Place, InjectedFault)]) -> Self {
        Self { planned: injected_faults.iter().copied().collect(), ..Self::default() }
    }

    /// Records a call or a retry of one. Returns its fault.
    pub(crate) fn begins(&mut self, op: &'static str, call: &str) -> Option<InjectedFault> {
        if let Some(befell) = self.befell.get(call) {
            return befell
                .filter(|injected_fault| *injected_fault != InjectedFault::FirstReplyLost);
        }
        let times = self.begun.entry(op).or_default();
        *times += 1;
        let place = (op, *times);
        self.history.push(place);
        let injected_fault = self.planned.get(&place).copied();
        if injected_fault.is_some() {
            self.struck.insert(place);
        }
        self.befell.insert(call.to_owned(), injected_fault);
        injected_fault
    }

    /// Returns every call so far, in order.
    pub(crate) fn history(&self) -> &[Place] {
        &self.history
    }

    /// Returns how many of the faults occurred.
    pub(crate) fn struck(&self) -> usize {
        self.struck.len()
    }
}
