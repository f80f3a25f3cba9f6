//! The cloud of the world.

use async_trait::async_trait;
use tinqs_ci_reconciler::model::{
    Attempt, AttemptId, EndedBy, Machine, MachineId, MachineSpec, MachineState, MicroUsd,
};
use tinqs_ci_reconciler::ports::{Compute, MachineLog, PortError};

use super::{LaunchAnswer, LaunchCall, TestWorld};

#[async_trait]
impl Compute for TestWorld {
    async fn list(&self) -> Result<Vec<Machine>, PortError> {
        let state = self.call("compute", "list")?;
        let listed = state.machines.iter().filter(|m| !state.unlisted.contains(&m.id.0));
        Ok(listed.cloned().collect())
    }

    fn foreign(&self) -> Vec<MachineId> {
        self.state().foreign.clone()
    }

    async fn image(&self, named: &str) -> Result<String, PortError> {
        let image = self.call("compute", "image")?.images.get(named).cloned();
        Ok(image.unwrap_or_else(|| named.to_owned()))
    }

    async fn find(&self, id: &MachineId) -> Result<Option<Machine>, PortError> {
        Ok(self.call("compute", "find")?.machines.iter().find(|m| m.id == *id).cloned())
    }

    async fn launch(
        &self,
        attempt_id: &AttemptId,
        placement: u32,
        attempt: &Attempt,
    ) -> Result<Machine, PortError> {
        let mut state = self.call("compute", "launch")?;
        let class = attempt.class.clone();
        let at = usize::try_from(placement).expect("placements are few");
        let asked = attempt.placements[at].machine.clone();
        state.launches.push(LaunchCall { class: class.clone(), machine: asked.clone() });
        state.room = state.room.map(|room| room.saturating_sub(1));
        if let Some(LaunchAnswer::Refuses(error)) = state.launch_answers.get(&class) {
            return Err(error());
        }
        let same = |m: &&Machine| m.attempt_id == *attempt_id && m.placement == placement;
        if let Some(there) = state.machines.iter().find(same) {
            return Ok(there.clone());
        }
        let up = state.instant_machines;
        let machine = Machine {
            id: MachineId(attempt_id.token(placement)),
            attempt_id: attempt_id.clone(),
            placement,
            state: if up { MachineState::Up } else { MachineState::Booting },
            launched_at: state.time(),
            deadline: attempt.boot.deadline,
            registration: attempt.runner.id,
            repo_id: attempt.runner.repo_id,
            promise: attempt.boot.promise(),
            ended_by: None,
            ended_at: None,
            state_reason: None,
            class,
            kind: asked.kind,
            // Each subnet is a zone of its own.
            zone: asked.subnet,
            market: asked.market,
        };
        state.machines.push(machine.clone());
        Ok(machine)
    }

    async fn terminate(&self, id: &MachineId) -> Result<(), PortError> {
        let mut state = self.call("compute", "terminate")?;
        let at_once = state.instant_machines;
        for machine in state.machines.iter_mut().filter(|m| m.id == *id && m.is_live()) {
            machine.state = if at_once { MachineState::Gone } else { MachineState::Ending };
            machine.ended_by = Some(EndedBy::Request);
        }
        Ok(())
    }

    async fn log(&self, id: &MachineId, most: usize) -> Result<Option<MachineLog>, PortError> {
        let state = self.call("compute", "log")?;
        Ok(state.logs.get(&id.0).map(|log| MachineLog::end_of(log, most)))
    }

    async fn pool_prices(&self, machines: &[MachineSpec]) -> Vec<Option<MicroUsd>> {
        let Ok(state) = self.call("compute", "pool_prices") else {
            return vec![None; machines.len()];
        };
        machines.iter().map(|spec| state.pool_prices.get(&spec.subnet).copied()).collect()
    }

    async fn zones(&self, machines: &[MachineSpec]) -> Vec<Option<String>> {
        machines.iter().map(|spec| Some(spec.subnet.clone())).collect()
    }

    fn room(&self) -> bool {
        self.state().room.is_none_or(|room| room > 0)
    }
}
