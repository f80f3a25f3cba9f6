//! The program with mutants: changed ports, a changed decision, or a changed world.

use async_trait::async_trait;
use tinqs_ci_reconciler::controller::{Controller, Report};
use tinqs_ci_reconciler::model::{Class, Observation, RerunJobs, RunName};
use tinqs_ci_reconciler::plan::{self, Plan};
use tinqs_ci_reconciler::ports::Ports;
use tinqs_ci_simulator::play::Variant;
use tinqs_ci_simulator::world::{Shared, World};

use crate::decision;
use crate::mutant::Mutant;
use crate::ports::{ChangedPorts, RECONCILE, Reconcile};

/// The program with these mutants.
#[derive(Clone, Copy)]
pub(crate) struct Mutants(pub(crate) &'static [Mutant]);

#[async_trait]
impl Variant for Mutants {
    fn change(&self, world: &mut World) {
        if self.0.contains(&Mutant::NoClientToken) {
            world.cloud.config.tokens = false;
        }
        let config = &mut world.cloud.config;
        config.keeps_start_by &= !self.0.contains(&Mutant::NoStartBy);
        config.keeps_restarts &= !self.0.contains(&Mutant::RestartsAfterStartBy);
    }

    fn ports(&self, ports: Ports, world: &Shared) -> Ports {
        ChangedPorts::over(ports, world, self.0)
    }

    fn plan(&self) -> fn(&Observation) -> Plan {
        self.0.iter().find_map(|mutant| decision::with(*mutant)).unwrap_or(plan::plan)
    }

    fn classes(&self, mut classes: Vec<Class>) -> Vec<Class> {
        if self.0.contains(&Mutant::ReposIgnored) {
            for class in &mut classes {
                class.repos.clear();
            }
        }
        if self.0.contains(&Mutant::RerunPolicyIgnored) {
            for class in &mut classes {
                class.rerun.jobs = RerunJobs::Lost;
            }
        }
        classes
    }

    async fn reconcile(&self, controller: &Controller, name: &RunName) -> Report {
        RECONCILE.scope(Reconcile::of(name), controller.reconcile(name)).await
    }
}
