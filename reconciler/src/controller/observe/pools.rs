//! The pools of a class: their known prices, and the machines that the cloud took from them.

use jiff::Timestamp;

use super::may_get_machine;
use crate::controller::Controller;
use crate::model::{Allocation, Class, Job, Market, Observation, Pool};
use crate::plan::spot::taken_at;

impl Controller {
    /// Returns what is known of the pools of the class's machines, in their order. Empty if the run
    /// gets no machine now, or if nothing is known: then the configured order holds. A job that
    /// waits may get one also while its machine is live: the plan that gives that one up makes the
    /// next attempt.
    pub(super) async fn pools_of(&self, class: &Class, seen: &Observation) -> Vec<Pool> {
        if seen.job != Job::Waiting && !may_get_machine(seen) {
            return Vec::new();
        }
        let mut pools = self.priced_pools(class, seen.now).await;
        let taken = self.cache.interruptions.of_pools(class, seen.now);
        if taken.is_empty() {
            return pools;
        }
        pools.resize(class.machines.len(), Pool::default());
        let zones = self.ports.compute.zones(&class.machines).await;
        for ((pool, spec), zone) in pools.iter_mut().zip(&class.machines).zip(zones) {
            pool.taken_at = taken_at(spec, &zone.unwrap_or_default(), &taken);
        }
        pools
    }

    /// Returns the prices of the pools, and which had no capacity lately. Empty if the class does
    /// not order its machines by price, or if no price is known.
    async fn priced_pools(&self, class: &Class, now: Timestamp) -> Vec<Pool> {
        if class.allocation == Allocation::Order {
            return Vec::new();
        }
        let spot = class.machines.iter().filter(|spec| spec.market == Market::Spot);
        let spot: Vec<_> = spot.cloned().collect();
        let mut prices = self.ports.compute.pool_prices(&spot).await.into_iter();
        let failed = self.cache.failed_lately(now);
        let pools = class.machines.iter().map(|spec| Pool {
            price: if spec.market == Market::Spot { prices.next().flatten() } else { None },
            failed_lately: failed.iter().any(|pool| pool.same_capacity(spec)),
            taken_at: None,
        });
        let pools: Vec<Pool> = pools.collect();
        if pools.iter().all(|pool| pool.price.is_none()) { Vec::new() } else { pools }
    }
}
