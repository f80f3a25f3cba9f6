//! An operator stops every replica, makes a lost store again, and starts them.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tinqs_ci_reconciler::controller::Controller;

use super::Drive;
use crate::ports::SimulatedPorts;

/// The replicas start again after this time, whatever became of the rebuild.
const STOPPED_FOR: SignedDuration = SignedDuration::from_mins(3);

impl Drive<'_> {
    /// Rebuilds the store, which was just lost. The operator's process may fail as a replica may.
    pub(super) fn rebuild(&mut self, now: Timestamp) {
        let scheduler = self.executor.scheduler();
        for replica in self.replicas.iter_mut().filter_map(Option::take) {
            scheduler.crash(replica.group);
        }
        self.restarts = (0..self.replicas.len()).map(|n| (now + STOPPED_FOR, n)).collect();
        self.groups += 1;
        let group = self.groups;
        let ports = SimulatedPorts::simulated(self.world.clone(), scheduler.clone(), group);
        let ports = ports.ports(Arc::new(self.clock.clone()));
        let ports = self.variant.ports(ports, &self.world);
        let controller = Controller::new(ports, self.settings(0));
        let world = self.world.clone();
        world.lock().laws.rebuilds = true;
        scheduler.spawn(group, async move {
            let rebuilt = controller.rebuild(true).await;
            let mut world = world.lock();
            match rebuilt {
                Ok(report) => {
                    let runs = report.items.iter().filter(|item| item.run).count();
                    let many = report.items.len();
                    world.tell(&format!("people: rebuilt {runs} runs, of {many} attempts"));
                    world.count("rebuilt");
                }
                Err(error) => world.tell(&format!("people: the rebuild failed: {error}")),
            }
        });
    }
}
