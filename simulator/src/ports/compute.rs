//! The simulated cloud as the controller's `Compute` port.

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use tinqs_ci_reconciler::model::{Attempt, Cause, Instance, InstanceId, RunName, Slot};
use tinqs_ci_reconciler::ports::{Compute, ErrorKind, PortError};

use super::{Call, Mouth, error};
use crate::cloud::Launch;
use crate::faults::Trouble;
use crate::laws::TerminateTruth;
use crate::world::World;

/// The cloud refuses requests that were signed longer ago.
const SIGNED_FOR: SignedDuration = SignedDuration::from_mins(5);

#[async_trait]
impl Compute for Mouth {
    async fn list(&self) -> Result<Vec<Instance>, PortError> {
        self.call(Call::new("compute.list", ""), |world, began| {
            world.paced("compute.list", began)?;
            let now = world.now();
            Ok(world.cloud.list(now))
        })
        .await
    }

    async fn find(&self, id: &InstanceId) -> Result<Option<Instance>, PortError> {
        self.call(Call::new("compute.find", id), |world, began| {
            world.paced("compute.find", began)?;
            let now = world.now();
            Ok(world.cloud.find(now, id))
        })
        .await
    }

    async fn launch(
        &self,
        slot: &Slot,
        placement: u32,
        attempt: &Attempt,
    ) -> Result<Instance, PortError> {
        let call = Call::new("compute.launch", slot.token(placement));
        if let Some(replica) = self.replica() {
            let mut world = self.world();
            let now = world.now();
            world.laws.on_asked(now, replica, slot, &attempt.class);
        }
        let answer = self
            .call(call, |world, began| {
                world.paced("compute.launch", began)?;
                world.launch(slot, placement, attempt)
            })
            .await;
        if let (Err(error), Some(replica)) = (&answer, self.replica())
            && matches!(error.kind, ErrorKind::Denied | ErrorKind::Invalid)
            && error.cause.is_none()
        {
            let mut world = self.world();
            let now = world.now();
            world.laws.on_stopped(now, replica, &attempt.class);
        }
        answer
    }

    async fn terminate(&self, id: &InstanceId) -> Result<(), PortError> {
        self.call(Call::new("compute.terminate", id), |world, began| {
            world.paced("compute.terminate", began)?;
            world.terminate(id);
            Ok(())
        })
        .await
    }

    fn room(&self) -> bool {
        let mut world = self.world();
        let now = world.now();
        world.cloud.room(now)
    }
}

impl World {
    /// Returns an error if the call is too old or throttled.
    fn paced(&mut self, name: &'static str, began: Timestamp) -> Result<(), PortError> {
        let now = self.now();
        if now.duration_since(began) > SIGNED_FOR {
            let message = "simulated: the request was signed more than 5 minutes ago";
            return Err(error(name, ErrorKind::Unavailable, message));
        }
        let throttled = self.faults.at(now).throttled;
        if self.strikes("throttled", throttled) {
            return Err(error(name, ErrorKind::Throttled, "simulated: too many calls"));
        }
        Ok(())
    }

    fn launch(
        &mut self,
        slot: &Slot,
        placement: u32,
        attempt: &Attempt,
    ) -> Result<Instance, PortError> {
        let now = self.now();
        self.laws.on_launch(now, slot, placement, attempt);
        let weather = self.faults.at(now);
        let recipe = usize::try_from(placement).ok().and_then(|p| attempt.placements.get(p));
        let recipe = recipe.map(|p| &p.machine);
        if self.suffers(now, Trouble::Denied) {
            self.count("denied");
            let message = "simulated: the credentials expired";
            return Err(error("compute.launch", ErrorKind::Denied, message));
        }
        if let Some(machine) = recipe.filter(|machine| self.has_bad_image(now, machine)) {
            let message = format!("simulated: image {} does not exist", machine.image);
            self.count("bad_image");
            return Err(error("compute.launch", ErrorKind::Invalid, message));
        }
        if let Some(machine) = recipe
            && self.strikes("no_capacity", weather.no_capacity)
        {
            let pool = (machine.kind.clone(), machine.subnet.clone(), machine.market);
            self.cloud.run_short(pool, now + SignedDuration::from_mins(5));
        }
        if self.suffers(now, Trouble::Drought)
            || self.strikes("launch_refused", weather.launch_refused)
        {
            let message = "simulated: no capacity";
            return Err(error("compute.launch", ErrorKind::NoCapacity, message));
        }
        if self.strikes("limit", weather.limit) {
            let message = "simulated: account limit reached";
            return Err(error("compute.launch", ErrorKind::Limit, message));
        }
        let fate = self.fate(recipe);
        let made = self.cloud.machines().count();
        let ask = Launch { slot, placement, attempt };
        let instance = self.cloud.launch(now, ask, fate).map_err(|refused| {
            if refused.kind == ErrorKind::Invalid {
                self.laws.on_other_bytes(now, slot, placement);
            }
            let told = error("compute.launch", refused.kind, refused.message);
            match refused.code {
                "InsufficientFreeAddressesInSubnet" => told.because(Cause::Addresses),
                // Only this attempt is affected: another one has another token.
                "IdempotentParameterMismatch" => told.because(Cause::Attempt),
                _ => told,
            }
        })?;
        if self.cloud.machines().count() > made {
            self.judge_machine(now, &instance.id);
        }
        Ok(instance)
    }

    fn judge_machine(&mut self, now: Timestamp, id: &InstanceId) {
        let Self { cloud, records, laws, .. } = self;
        let repo_of = |name: &RunName| {
            records.run(name).map_or_else(String::new, |run| run.spec.job.repo.clone())
        };
        if let Some(made) = cloud.machine(id) {
            let live = cloud.live().map(|m| (m, repo_of(&m.slot.run)));
            laws.on_machine(now, made, live, cloud.machines());
        }
    }

    fn terminate(&mut self, id: &InstanceId) {
        let now = self.now();
        if self.cloud.is_foreign(id) {
            self.laws.on_foreign(now, &id.to_string());
            return;
        }
        if let Some(machine) = self.cloud.machine(id) {
            let record = self.records.run(&machine.slot.run);
            let by_person = record.is_some_and(|run| run.terminate_now);
            let registered = crate::world::lock(&self.forge).runner(machine.runner.id).is_some();
            let truth = TerminateTruth { machine, by_person, registered };
            self.laws.on_terminate(now, truth);
        }
        self.cloud.terminate(now, id);
    }
}
