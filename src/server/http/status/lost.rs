//! Running jobs whose machine was lost. Only runs whose machine may be gone are read.

use std::collections::HashSet;
use std::sync::Arc;

use tinqs_ci_reconciler::model::{EndedBy, Machine, Phase, Run, RunName};
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
/// another run, and those whose machine was lost. Then those that have one, while the list shows a
/// machine of their repository that the cloud took: their jobs may have run on it.
fn candidates(open: &[OpenRun], machines: Option<&[Machine]>) -> Vec<RunName> {
    let all = machines.unwrap_or_default();
    let live = all.iter().filter(|machine| machine.is_live());
    let live: HashSet<&RunName> = live.map(|machine| &machine.attempt_id.run).collect();
    let taken = all.iter().filter(|m| !m.is_live() && m.ended_by == Some(EndedBy::Cloud));
    let taken: HashSet<i64> = taken.map(|machine| machine.repo_id).collect();
    // Machines that are registered in the scope have no repository.
    let may_be_on_it = |run: &&OpenRun| taken.contains(&0) || taken.contains(&run.repo_id);
    let running = open.iter().filter(|run| run.phase == Phase::Running);
    let (with, without): (Vec<&OpenRun>, Vec<&OpenRun>) =
        running.partition(|run| live.contains(&run.name));
    let swapped = with.into_iter().filter(may_be_on_it);
    without.into_iter().chain(swapped).take(RUNS).map(|run| run.name.clone()).collect()
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

    #[test]
    fn a_job_on_a_machine_that_the_cloud_took_may_be_any_of_its_repository() {
        let mut all: Vec<Run> = (1..=4).map(running).collect();
        all[3].spec.job.repo_id = 8;
        all[..3].iter_mut().for_each(|run| run.spec.job.repo_id = 7);
        let open: Vec<OpenRun> = all.iter().map(OpenRun::of).collect();
        let mut machines: Vec<Machine> =
            all.iter().map(|run| machine(run, MachineState::Up)).collect();
        machines.iter_mut().zip(&all).for_each(|(one, run)| one.repo_id = run.spec.job.repo_id);
        machines[0].state = MachineState::Gone;
        let names = |machines: &[Machine]| candidates(&open, Some(machines));
        assert_eq!(names(&machines), [RunName::job(1)]);
        machines[0].ended_by = Some(EndedBy::Cloud);
        let of_repository = [1, 2, 3].map(RunName::job);
        assert_eq!(names(&machines), of_repository, "the jobs may have swapped machines");
        machines[0].repo_id = 0;
        assert_eq!(names(&machines).len(), 4, "a runner of the scope takes any job");
    }
}
