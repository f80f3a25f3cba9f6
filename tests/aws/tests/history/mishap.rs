//! What goes wrong, where, and whether it did.

use std::collections::{BTreeMap, BTreeSet, HashMap};

/// What befalls a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Mishap {
    /// The service refuses it, however often the SDK tries: no effect.
    Refused,
    /// It has its effect, and no reply comes, however often the SDK tries.
    ReplyLost,
    /// It has its effect, the connection breaks, and the SDK's second try goes through.
    FirstReplyLost,
    /// The controller dies before its effect.
    DeadBefore,
    /// The controller dies after its effect.
    DeadAfter,
}

impl Mishap {
    pub(crate) const ALL: [Self; 5] =
        [Self::Refused, Self::ReplyLost, Self::FirstReplyLost, Self::DeadBefore, Self::DeadAfter];
    /// Those that reach the controller.
    pub(crate) const HARD: [Self; 4] =
        [Self::Refused, Self::ReplyLost, Self::DeadBefore, Self::DeadAfter];
}

/// A call: what it is, and the how-many-th of it in its history, from 1. Tries of the SDK's own are
/// one call.
pub(crate) type Place = (&'static str, u64);

/// Whether a call changes something that outlasts it. Acknowledged messages do not count: one that
/// comes again is a look too many.
pub(crate) fn is_effect(place: &Place) -> bool {
    let (op, _) = place;
    ["put run", "put lease", "first seat", "seats", "delete run", "wake"].contains(op)
        || ["RunInstances", "TerminateInstances"].contains(op)
}

/// The plan of one history, and what came of it.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    planned: BTreeMap<Place, Mishap>,
    begun: BTreeMap<&'static str, u64>,
    /// By the SDK's own id of a call: what befalls its first try befalls the others.
    befell: HashMap<String, Option<Mishap>>,
    history: Vec<Place>,
    struck: BTreeSet<Place>,
}

impl Plan {
    pub(crate) fn of(mishaps: &[(Place, Mishap)]) -> Self {
        Self { planned: mishaps.iter().copied().collect(), ..Self::default() }
    }

    /// A try of a call comes in.
    pub(crate) fn begins(&mut self, op: &'static str, call: &str) -> Option<Mishap> {
        if let Some(befell) = self.befell.get(call) {
            return befell.filter(|mishap| *mishap != Mishap::FirstReplyLost);
        }
        let times = self.begun.entry(op).or_default();
        *times += 1;
        let place = (op, *times);
        self.history.push(place);
        let mishap = self.planned.get(&place).copied();
        if mishap.is_some() {
            self.struck.insert(place);
        }
        self.befell.insert(call.to_owned(), mishap);
        mishap
    }

    /// Every call so far, in order.
    pub(crate) fn history(&self) -> &[Place] {
        &self.history
    }

    /// How many of the mishaps came to pass.
    pub(crate) fn struck(&self) -> usize {
        self.struck.len()
    }
}
