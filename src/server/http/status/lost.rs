//! Running jobs whose machine was lost. Only runs without a live machine are read.

use std::collections::HashSet;
use std::sync::Arc;

use tinqs_ci_reconciler::model::{Machine, Phase, Run, RunName};
use tinqs_ci_reconciler::ports::{OpenRun, RunStore};
use tokio::task::JoinSet;

use super::RUNS;

/// The number of records that are read at once.
const AT_ONCE: usize = 32;

/// Returns the open runs whose machine was lost. `machines`: as last listed; `None` if this process
/// has not listed them.
pub(super) async fn runs(
    store: &Arc<dyn RunStore>,
    open: &[OpenRun],
    machines: Option<&[Machine]>,
) -> Vec<Run> {
    let mut found = Vec::new();
    for names in candidates(open, machines).chunks(AT_ONCE) {
        let mut reads = JoinSet::new();
        for name in names {
            let (store, name) = (store.clone(), name.clone());
            reads.spawn(async move { store.get(&name).await });
        }
        // What cannot be read now is told by the state of the store.
        let read = reads.join_all().await.into_iter().filter_map(|run| run.ok().flatten());
        found.extend(read.filter(|run| run.status.lost().is_some()));
    }
    found.sort_by(|a, b| b.created_at.cmp(&a.created_at).then_with(|| a.name.cmp(&b.name)));
    found
}

/// Returns the running runs that have no live machine: those whose job runs on the machine of
/// another run, and those whose machine was lost.
fn candidates(open: &[OpenRun], machines: Option<&[Machine]>) -> Vec<RunName> {
    let live = machines.unwrap_or_default().iter().filter(|machine| machine.is_live());
    let live: HashSet<&RunName> = live.map(|machine| &machine.attempt_id.run).collect();
    let running = open.iter().filter(|run| run.phase == Phase::Running);
    let without = running.filter(|run| !live.contains(&run.name));
    without.take(RUNS).map(|run| run.name.clone()).collect()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use tinqs_ci_reconciler::model::{ClassName, MachineId, MachineState, Market, SeenBy, Spec};

    use super::*;

    fn running(id: i64) -> Run {
        let spec = Spec::default();
        let now = Timestamp::UNIX_EPOCH;
        let mut run = Run::new("test", RunName::job(id), spec, SeenBy::Poll, now);
        run.status.phase = Phase::Running;
        run
    }

    fn machine(of: &Run, state: MachineState) -> Machine {
        Machine {
            id: MachineId(format!("i-{}", of.name)),
            attempt_id: of.attempt_id(1),
            placement: 0,
            state,
            launched_at: Timestamp::UNIX_EPOCH,
            deadline: Timestamp::UNIX_EPOCH,
            repo_id: 0,
            registration: 1,
            promise: None,
            ended_by: None,
            ended_at: None,
            state_reason: None,
            class: ClassName("linux".to_owned()),
            kind: "process".to_owned(),
            zone: String::new(),
            market: Market::OnDemand,
        }
    }

    #[test]
    fn only_running_runs_without_a_live_machine_are_read() {
        let all: Vec<Run> = (1..=3).map(running).collect();
        let mut waiting = running(4);
        waiting.status.phase = Phase::Waiting;
        let open: Vec<OpenRun> = all.iter().chain([&waiting]).map(OpenRun::of).collect();
        let machines = [machine(&all[0], MachineState::Up), machine(&all[1], MachineState::Gone)];
        let named = |machines| candidates(&open, machines);
        assert_eq!(named(Some(&machines[..])), [RunName::job(2), RunName::job(3)]);
        assert_eq!(named(None).len(), 3, "without a listing every running run may be lost");
    }
}
