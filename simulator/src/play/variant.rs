//! A changed program in the simulation: what [`run_variant`](super::run_variant) plays.

use async_trait::async_trait;
use tinqs_ci_reconciler::controller::{Controller, Report};
use tinqs_ci_reconciler::model::{Class, Observation, RunName};
use tinqs_ci_reconciler::plan::{self, Plan};
use tinqs_ci_reconciler::ports::Ports;

use crate::world::{Shared, World};

/// The changes of a test to the simulated program and its world. By default, there are none.
#[async_trait]
pub trait Variant: Send + Sync {
    /// Changes the world before its first event.
    fn change(&self, _world: &mut World) {}

    /// Returns the ports that a replica's controller gets instead of these.
    fn ports(&self, ports: Ports, _world: &Shared) -> Ports {
        ports
    }

    /// Returns the decision of every controller.
    fn plan(&self) -> fn(&Observation) -> Plan {
        plan::plan
    }

    /// Returns the classes that every controller gets instead of these.
    fn classes(&self, classes: Vec<Class>) -> Vec<Class> {
        classes
    }

    /// Reconciles a run.
    async fn reconcile(&self, controller: &Controller, name: &RunName) -> Report {
        controller.reconcile(name).await
    }
}

/// The real program.
pub(super) struct Unchanged;

impl Variant for Unchanged {}
