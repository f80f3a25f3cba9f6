//! Machines that the cloud took lately, as its lists show them: each of them for about an hour, to
//! every replica. This is a cache: losing it costs one list.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;

use super::Controller;
use super::ends::{Ends, ListRead};
use crate::model::{Class, ClassName, EndedBy, Machine, MachineId, SpotBreaker};
use crate::plan::spot::{TakenMachine, spot_breaker};
use crate::plan::times::older;

/// Time after its end at which a taken machine is forgotten: none counts for longer.
const KEPT_FOR: SignedDuration = SignedDuration::from_hours(1);

/// The machines that the cloud took in the last hour.
#[derive(Default)]
pub(super) struct Interruptions(Mutex<BTreeMap<MachineId, TakenMachine>>);

impl Interruptions {
    /// Notes a list, after `ends` has noted it. What a list leaves out stays known.
    pub(super) fn listed(&self, machines: &[Machine], ends: &Ends, list: &ListRead) {
        let by_cloud = machines.iter().filter(|it| it.ended_by == Some(EndedBy::Cloud));
        let taken = by_cloud.filter_map(|machine| {
            let taken = TakenMachine::of(machine, ends.of(&machine.id).over_at)?;
            Some((machine.id.clone(), taken))
        });
        let taken: Vec<(MachineId, TakenMachine)> = taken.collect();
        let mut known = self.0.lock();
        known.extend(taken);
        known.retain(|_, machine| !older(list.read_at, machine.at(), KEPT_FOR));
    }

    /// Returns those whose pools the class asks for and that were taken lately.
    pub(super) fn of_pools(&self, class: &Class, now: Timestamp) -> Vec<TakenMachine> {
        let known = self.0.lock();
        let recent = known.values().filter(|machine| machine.is_recent(now));
        let asked = |machine: &&TakenMachine| class.machines.iter().any(|it| machine.is_like(it));
        recent.filter(asked).cloned().collect()
    }

    /// Returns why the machines on demand of a class come first.
    pub(super) fn breaker(&self, class: &Class, now: Timestamp) -> Option<SpotBreaker> {
        spot_breaker(class, self.0.lock().values(), now)
    }

    /// Forgets everything: times of a wrong clock.
    pub(super) fn forget(&self) {
        self.0.lock().clear();
    }
}

impl Controller {
    /// Returns the classes whose machines on demand come first now, because the cloud took several
    /// of their spot machines.
    pub fn spot_breakers(&self) -> Vec<(ClassName, SpotBreaker)> {
        let (settings, now) = (self.settings(), self.ports.clock.now());
        let open = |class: &Class| {
            Some((class.name.clone(), self.cache.interruptions.breaker(class, now)?))
        };
        settings.classes.iter().filter_map(open).collect()
    }
}
