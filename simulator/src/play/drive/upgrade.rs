//! Replicas are replaced by another release.

use jiff::Timestamp;
use tinqs_ci_reconciler::model::RecordFormats;

use super::Drive;
use crate::play::profile::Upgrade;

/// The upgrades of a history, and the formats of each replica.
pub(super) struct Upgrades {
    pending: Vec<(Timestamp, Upgrade)>,
    /// `None`: of this release, and nobody is upgraded.
    formats: Vec<Option<RecordFormats>>,
}

impl Upgrades {
    pub(super) fn new(upgrades: Vec<Upgrade>, replicas: usize, start: Timestamp) -> Self {
        let pending = upgrades.into_iter().map(|one| (start + one.after, one)).collect();
        let mut all = Self { pending, formats: vec![None; replicas] };
        all.take_due(start);
        all
    }

    pub(super) fn next(&self) -> Option<Timestamp> {
        self.pending.iter().map(|(at, _)| *at).min()
    }

    pub(super) fn of(&self, replica: usize) -> Option<RecordFormats> {
        self.formats.get(replica).copied().flatten()
    }

    /// Returns the replicas that get another release now.
    fn take_due(&mut self, now: Timestamp) -> Vec<usize> {
        let due = self.pending.extract_if(.., |(at, _)| *at <= now);
        let due: Vec<Upgrade> = due.map(|(_, upgrade)| upgrade).collect();
        for upgrade in &due {
            if let Some(formats) = self.formats.get_mut(upgrade.replica) {
                *formats = Some(upgrade.to);
            }
        }
        due.into_iter().map(|upgrade| upgrade.replica).collect()
    }
}

impl Drive<'_> {
    /// Ends the replicas that get another release. They start again as others do.
    pub(super) fn upgrade(&mut self, now: Timestamp) {
        for number in self.upgrades.take_due(now) {
            let group = self.replicas.get(number).and_then(|it| it.as_ref()).map(|it| it.group);
            if let Some(group) = group {
                let mut world = self.world.lock();
                // What it knew is lost, as with a crash.
                world.count("crash");
                world.tell(&format!("[{group}] replica {number} is replaced"));
                drop(world);
                self.executor.scheduler().crash(group);
            }
        }
    }
}
