//! What is known of the pools of a class that orders its machines by price.

use super::may_get_machine;
use crate::controller::Controller;
use crate::model::{Allocation, Class, Market, Observation, Pool};

impl Controller {
    /// Returns what is known of the pools of the class's machines, in their order. Empty if the class
    /// does not order them by price, if the run gets no machine now, or if no price is known: then
    /// the configured order holds.
    pub(super) async fn pools_of(&self, class: &Class, seen: &Observation) -> Vec<Pool> {
        if class.allocation == Allocation::Order || !may_get_machine(seen) {
            return Vec::new();
        }
        let spot = class.machines.iter().filter(|spec| spec.market == Market::Spot);
        let spot: Vec<_> = spot.cloned().collect();
        let mut prices = self.ports.compute.pool_prices(&spot).await.into_iter();
        let failed = self.cache.failed_lately(seen.now);
        let pools = class.machines.iter().map(|spec| Pool {
            price: if spec.market == Market::Spot { prices.next().flatten() } else { None },
            failed_lately: failed.iter().any(|pool| pool.same_capacity(spec)),
        });
        let pools: Vec<Pool> = pools.collect();
        if pools.iter().all(|pool| pool.price.is_none()) { Vec::new() } else { pools }
    }
}
