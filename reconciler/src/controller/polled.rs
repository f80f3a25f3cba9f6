//! Data that a process keeps from one poll to the next to compute drift.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;

use super::by_run::ByRun;
use crate::model::{Machine, Registration};
use crate::plan::drift::is_alone;
use crate::ports::OpenRun;

/// A registration that is not listed keeps its state for so long: absence proves nothing.
const UNLISTED_FOR: SignedDuration = SignedDuration::from_mins(5);

/// The data from which drift is computed, beside the shared lists.
#[derive(Default)]
pub(super) struct Polled {
    /// The open runs of the last poll or sweep of this process, while it holds the lease.
    open: Mutex<Option<Arc<Vec<OpenRun>>>>,
    idle: Mutex<Since>,
    alone: Mutex<Since>,
}

/// By registration: since when it is in a state, and when it was last seen in it.
type Since = BTreeMap<i64, (Timestamp, Timestamp)>;

impl Polled {
    /// Notes the open runs of a poll or a sweep; `None`: another replica holds the lease.
    pub(super) fn set(&self, open: Option<&Arc<Vec<OpenRun>>>) {
        *self.open.lock() = open.cloned();
    }

    /// Forgets since when registrations are in a state.
    pub(super) fn forget(&self) {
        self.idle.lock().clear();
        self.alone.lock().clear();
    }

    /// Returns the open runs of the last poll or sweep.
    pub(super) fn open(&self) -> Option<Arc<Vec<OpenRun>>> {
        self.open.lock().clone()
    }

    /// Returns since when the runner of each registration is online without a job.
    pub(super) fn idle(&self) -> BTreeMap<i64, Timestamp> {
        started(&self.idle)
    }

    /// Returns since when each registration is without a machine.
    pub(super) fn alone(&self) -> BTreeMap<i64, Timestamp> {
        started(&self.alone)
    }

    /// Notes the states of the listed registrations.
    pub(super) fn note(
        &self,
        rows: &[Registration],
        rows_at: Timestamp,
        machines: Option<&ByRun<Machine>>,
    ) {
        let idle = rows.iter().map(|row| (row.id, row.online && !row.busy));
        follow(&mut self.idle.lock(), idle, rows_at);
        let Some(machines) = machines else { return };
        let alone = rows.iter().map(|row| {
            let own = machines.of(&row.attempt_id.run);
            let own: Vec<&Machine> = own.filter(|m| m.attempt_id == row.attempt_id).collect();
            (row.id, is_alone(row, &own))
        });
        follow(&mut self.alone.lock(), alone, rows_at);
    }
}

/// Updates since when registrations are in a state. `listed`: whether each is in it.
fn follow(since: &mut Since, listed: impl Iterator<Item = (i64, bool)>, at: Timestamp) {
    for (id, is_in) in listed {
        if is_in {
            since.entry(id).or_insert((at, at)).1 = at;
        } else {
            since.remove(&id);
        }
    }
    since.retain(|_, (_, seen)| at.duration_since(*seen) <= UNLISTED_FOR);
}

fn started(since: &Mutex<Since>) -> BTreeMap<i64, Timestamp> {
    since.lock().iter().map(|(id, (since, _))| (*id, *since)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds)
    }

    #[test]
    fn a_state_lasts_from_its_first_list_and_survives_a_list_that_omits_it() {
        let mut since = Since::new();
        follow(&mut since, [(1, true), (2, true)].into_iter(), at(0));
        follow(&mut since, [(1, true)].into_iter(), at(60));
        follow(&mut since, [(1, true), (2, true)].into_iter(), at(120));
        assert_eq!(since, Since::from([(1, (at(0), at(120))), (2, (at(0), at(120)))]));
        follow(&mut since, [(1, false), (2, true)].into_iter(), at(180));
        assert_eq!(since.keys().copied().collect::<Vec<_>>(), [2]);
        follow(&mut since, std::iter::empty(), at(481));
        assert!(since.is_empty(), "not listed for more than five minutes");
    }
}
