//! The prices of the demo: its simulated cloud has none for the kind of its machines.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use tinqs_ci_reconciler::model::{
    Attempt, AttemptId, Machine, MachineId, MachineSpec, Market, MicroUsd,
};
use tinqs_ci_reconciler::ports::{Compute, MachineLog, PortError};

/// The price per hour on demand.
const ON_DEMAND: MicroUsd = MicroUsd(22_800);
/// The spot price per hour.
const SPOT: MicroUsd = MicroUsd(9_400);

/// Returns the prices of these machines on demand.
pub(super) fn on_demand(machines: &[MachineSpec]) -> BTreeMap<String, MicroUsd> {
    let paid = machines.iter().filter(|spec| spec.market == Market::OnDemand);
    paid.map(|spec| (spec.kind.clone(), ON_DEMAND)).collect()
}

/// A cloud with a spot price.
pub(super) struct Priced(pub(super) Arc<dyn Compute>);

#[async_trait]
impl Compute for Priced {
    async fn list(&self) -> Result<Vec<Machine>, PortError> {
        self.0.list().await
    }
    async fn find(&self, id: &MachineId) -> Result<Option<Machine>, PortError> {
        self.0.find(id).await
    }
    async fn launch(
        &self,
        attempt_id: &AttemptId,
        placement: u32,
        attempt: &Attempt,
    ) -> Result<Machine, PortError> {
        self.0.launch(attempt_id, placement, attempt).await
    }
    async fn terminate(&self, id: &MachineId) -> Result<(), PortError> {
        self.0.terminate(id).await
    }
    async fn log(&self, id: &MachineId, most: usize) -> Result<Option<MachineLog>, PortError> {
        self.0.log(id, most).await
    }
    fn room(&self) -> bool {
        self.0.room()
    }
    fn spot_price(&self, _kind: &str, _zone: &str) -> Option<MicroUsd> {
        Some(SPOT)
    }
}
