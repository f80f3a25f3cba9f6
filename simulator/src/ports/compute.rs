//! The simulated cloud as the controller's `Compute` port.

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use tinqs_ci_reconciler::model::{
    Attempt, AttemptId, CLOCKS_AGREE_WITHIN, Cause, Machine, MachineId, MachineSpec, Market,
    MicroUsd, RunName,
};
use tinqs_ci_reconciler::ports::{Compute, ErrorKind, MachineLog, PortError};

use super::{Call, SimulatedPorts, error};
use crate::cloud::{Launch, price};
use crate::faults::OngoingFault;
use crate::laws::TerminateTruth;
use crate::world::World;

/// The cloud refuses requests that were signed longer ago. Only a process that is suspended between
/// the signature and the sending sends one that is minutes old.
const SIGNED_FOR: SignedDuration = SignedDuration::from_mins(15);
/// A launch that lands later than this after its signature lands late: the decision does not wait for
/// it any more.
const LANDS_WITHIN: SignedDuration = SignedDuration::from_mins(5);

#[async_trait]
impl Compute for SimulatedPorts {
    async fn list(&self) -> Result<Vec<Machine>, PortError> {
        self.call(Call::new("compute.list", ""), |world, began| {
            world.paced("compute.list", began)?;
            let now = world.now();
            Ok(world.cloud.list(now))
        })
        .await
    }

    async fn find(&self, id: &MachineId) -> Result<Option<Machine>, PortError> {
        self.call(Call::new("compute.find", id), |world, began| {
            world.paced("compute.find", began)?;
            let now = world.now();
            Ok(world.cloud.find(now, id))
        })
        .await
    }

    async fn launch(
        &self,
        attempt_id: &AttemptId,
        placement: u32,
        attempt: &Attempt,
    ) -> Result<Machine, PortError> {
        let call = Call::new("compute.launch", attempt_id.token(placement));
        if let Some(replica) = self.replica() {
            let mut world = self.world();
            let now = world.now();
            world.laws.on_asked(now, replica, attempt_id, &attempt.class);
        }
        let answer = self
            .call(call, |world, began| {
                world.paced("compute.launch", began)?;
                world.launch(began, attempt_id, placement, attempt)
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

    async fn terminate(&self, id: &MachineId) -> Result<(), PortError> {
        // What fails while the call is under way cannot be known when it is made.
        let unread = self.replica().and_then(|replica| self.world().unread.get(&replica).copied());
        self.call(Call::new("compute.terminate", id), |world, began| {
            world.paced("compute.terminate", began)?;
            world.terminate(id, unread);
            Ok(())
        })
        .await
    }

    /// Simulated machines print nothing. No call is made, so that a history does not depend on who
    /// reads logs.
    async fn log(&self, _: &MachineId, _: usize) -> Result<Option<MachineLog>, PortError> {
        Ok(None)
    }

    fn room(&self) -> bool {
        let mut world = self.world();
        let now = world.now();
        world.cloud.room(now)
    }

    fn spot_price(&self, kind: &str, _zone: &str) -> Option<MicroUsd> {
        price(kind, Market::Spot)
    }

    /// No call is made, so that a history does not depend on it. Simulated prices are the same in
    /// every zone.
    async fn pool_prices(&self, machines: &[MachineSpec]) -> Vec<Option<MicroUsd>> {
        machines.iter().map(|spec| price(&spec.kind, Market::Spot)).collect()
    }

    /// No call is made, as for prices.
    async fn zones(&self, machines: &[MachineSpec]) -> Vec<Option<String>> {
        let world = self.world();
        machines.iter().map(|spec| Some(world.cloud.place(&spec.subnet).to_owned())).collect()
    }
}

impl World {
    /// Returns an error if the call is too old or throttled.
    fn paced(&mut self, name: &'static str, began: Timestamp) -> Result<(), PortError> {
        let now = self.now();
        if now.duration_since(began) > SIGNED_FOR {
            let message = "simulated: the request was signed more than 15 minutes ago";
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
        signed_at: Timestamp,
        attempt_id: &AttemptId,
        placement: u32,
        attempt: &Attempt,
    ) -> Result<Machine, PortError> {
        let now = self.now();
        self.laws.on_launch(now, attempt_id, placement, attempt);
        let faults = self.faults.at(now);
        let spec = usize::try_from(placement).ok().and_then(|p| attempt.placements.get(p));
        let spec = spec.map(|p| &p.machine);
        if self.suffers(now, OngoingFault::Denied) {
            self.count("denied");
            let message = "simulated: the credentials expired";
            return Err(error("compute.launch", ErrorKind::Denied, message));
        }
        if let Some(machine) = spec.filter(|machine| self.has_bad_image(now, machine)) {
            let message = format!("simulated: image {} does not exist", machine.image);
            self.count("bad_image");
            return Err(error("compute.launch", ErrorKind::Invalid, message));
        }
        if let Some(machine) = spec
            && self.strikes("no_capacity", faults.no_capacity)
        {
            let pool = (machine.kind.clone(), machine.subnet.clone(), machine.market);
            self.cloud.run_short(pool, now + SignedDuration::from_mins(5));
        }
        if self.suffers(now, OngoingFault::Drought)
            || self.strikes("launch_refused", faults.launch_refused)
        {
            let message = "simulated: no capacity";
            return Err(error("compute.launch", ErrorKind::NoCapacity, message));
        }
        if self.strikes("limit", faults.limit) {
            let message = "simulated: account limit reached";
            return Err(error("compute.launch", ErrorKind::Limit, message));
        }
        let outcome = self.outcome(spec);
        let made = self.cloud.machines().count();
        let ask = Launch { attempt_id, placement, attempt };
        let machine = self.cloud.launch(now, ask, outcome).map_err(|refused| {
            if refused.kind == ErrorKind::Invalid {
                self.laws.on_other_bytes(now, attempt_id, placement);
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
            if now.duration_since(signed_at) > LANDS_WITHIN {
                self.count("landed_late");
                self.laws.on_landed_late(attempt_id);
            }
            self.judge_machine(now, &machine.id);
        }
        Ok(machine)
    }

    fn judge_machine(&mut self, now: Timestamp, id: &MachineId) {
        let Self { cloud, records, laws, .. } = self;
        let repo_of = |name: &RunName| {
            records.run(name).map_or_else(String::new, |run| run.spec.job.repo.clone())
        };
        if let Some(made) = cloud.machine(id) {
            let live = cloud.live().map(|m| (m, repo_of(&m.attempt_id.run)));
            laws.on_machine(now, made, live, cloud.machines());
            let run = records.run(&made.attempt_id.run);
            let number = run.and_then(|run| run.status.wait.attempt);
            let is_again = number.is_some_and(|number| number > 1);
            laws.count_pools(now, made, is_again, cloud.machines());
        }
    }

    /// `unread`: when a reading of the forge by this replica failed last.
    fn terminate(&mut self, id: &MachineId, unread: Option<Timestamp>) {
        let now = self.now();
        if self.cloud.is_foreign(id) {
            self.laws.on_foreign(now, &id.to_string());
            return;
        }
        if let Some(machine) = self.cloud.machine(id) {
            let record = self.records.run(&machine.attempt_id.run);
            let by_person = record.is_some_and(|run| run.terminate_now);
            let forge = self.forge.lock();
            let row = forge.runner(machine.runner.id);
            let registered = row.is_some();
            let disabled_for = row.and_then(|row| row.disabled_at).map(|at| now.duration_since(at));
            let task = machine.task().or(machine.done_task);
            let canceled = task.is_some_and(|task| forge.canceled_at(task).is_some());
            self.laws.canceled_ends(now, machine, &forge);
            drop(forge);
            let steady_for = unread.map(|at| now.duration_since(at));
            let set =
                if self.faults.clocks_set { CLOCKS_AGREE_WITHIN } else { SignedDuration::ZERO };
            let clock_set = set * 2;
            let clocks_apart = self.faults.clocks_apart.abs() * 3 + clock_set;
            let truth = TerminateTruth {
                machine,
                by_person,
                canceled,
                registered,
                steady_for,
                disabled_for,
                clocks_apart,
                clock_set,
            };
            self.laws.on_terminate(now, truth);
        }
        self.cloud.terminate(now, id);
    }
}
