//! The times at which lists showed machines up and over. A cloud does not date every end, lists an
//! ended machine for an hour at most, and this process may not be able to write meanwhile.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;

use crate::model::{Machine, MachineId, MachineState};
use crate::plan::times::older;
use crate::plan::usage::Sighted;

/// A machine is forgotten this long after a list last showed it. If the cloud is down for longer,
/// the times of ends meanwhile are not known.
const KEPT_FOR: SignedDuration = SignedDuration::from_hours(6);

/// The machines that this process has seen in lists.
#[derive(Default)]
pub(super) struct Ends(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    machines: HashMap<MachineId, Seen>,
    /// Time at which it was last pruned.
    pruned_at: Option<Timestamp>,
}

struct Seen {
    listed_at: Timestamp,
    sighted: Sighted,
    /// Whether its run was reconciled or woken after its end, or its record has no need of that.
    is_told: bool,
}

/// The times at which a list was requested and read.
pub(super) struct ListRead {
    pub(super) began_at: Timestamp,
    pub(super) read_at: Timestamp,
    /// Whether these times agree with the true time.
    pub(super) is_dated: bool,
}

impl Seen {
    fn listed(&mut self, machine: &Machine, list: &ListRead) {
        self.listed_at = list.read_at;
        let sighted = &mut self.sighted;
        // What a stale list shows does not revive it.
        if machine.is_live() && sighted.over_at.is_none() && list.is_dated {
            sighted.live_at = sighted.live_at.max(Some(list.began_at));
        } else if !machine.is_live() {
            if list.is_dated {
                sighted.over_at.get_or_insert(list.read_at);
            }
            sighted.ended_at = machine.ended_at.or(sighted.ended_at);
            sighted.ended_by = machine.ended_by.or(sighted.ended_by);
        }
    }
}

impl Ends {
    /// Notes a list.
    pub(super) fn listed(&self, machines: &[Machine], list: &ListRead) {
        let read_at = list.read_at;
        let mut inner = self.0.lock();
        let is_due = |at: Timestamp| older(read_at, at, SignedDuration::from_hours(1));
        if inner.pruned_at.is_none_or(is_due) {
            inner.pruned_at = Some(read_at);
            inner.machines.retain(|_, seen| !older(read_at, seen.listed_at, KEPT_FOR));
        }
        for machine in machines {
            if let Some(seen) = inner.machines.get_mut(&machine.id) {
                seen.listed(machine, list);
                continue;
            }
            let mut seen = Seen { listed_at: read_at, sighted: Sighted::default(), is_told: false };
            seen.listed(machine, list);
            inner.machines.insert(machine.id.clone(), seen);
        }
    }

    /// Forgets everything: times of a wrong clock.
    pub(super) fn forget(&self) {
        *self.0.lock() = Inner::default();
    }

    /// Returns what was seen of a machine.
    pub(super) fn of(&self, id: &MachineId) -> Sighted {
        self.0.lock().machines.get(id).map(|seen| seen.sighted).unwrap_or_default()
    }

    /// Records that nobody needs to be told of the end of these machines any more.
    pub(super) fn told<'m>(&self, machines: impl Iterator<Item = &'m Machine>) {
        let mut inner = self.0.lock();
        for machine in machines {
            if let Some(seen) = inner.machines.get_mut(&machine.id) {
                seen.is_told = true;
            }
        }
    }

    /// Returns the machines of a list that have ended and are not told yet: nothing else may ever wake
    /// their runs, which count their seconds.
    pub(super) fn untold<'m>(&self, listed: &'m [Machine]) -> Vec<&'m Machine> {
        let inner = self.0.lock();
        let is_told =
            |machine: &Machine| inner.machines.get(&machine.id).is_none_or(|it| it.is_told);
        let gone = listed.iter().filter(|machine| machine.state == MachineState::Gone);
        gone.filter(|machine| !is_told(machine)).collect()
    }
}
