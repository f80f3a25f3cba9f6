//! The laws of a `Compute`.

use jiff::Timestamp;
use tinqs_ci_reconciler::model::{
    Attempt, AttemptId, EndedBy, Machine, MachineId, MachineSpec, MachineState,
};
use tinqs_ci_reconciler::ports::{Compute, ErrorKind};

use crate::make::{attempt, own_attempt_id, until};

/// Asserts every law that holds for all clouds. `machine` is one that the cloud can launch. Machines
/// must outlive the suite until `deadline`, with idle runners.
pub async fn all(compute: &dyn Compute, machine: &MachineSpec, deadline: Timestamp) {
    a_token_makes_one_machine(compute, machine, deadline).await;
    placements_are_apart(compute, machine, deadline).await;
    a_dead_token_answers_the_dead_machine(compute, machine, deadline).await;
    a_log_is_read_at_its_end(compute, machine, deadline).await;
    what_is_not_ours_is_not_found(compute).await;
}

/// Returns an attempt that asks so many times for this machine.
pub fn asking(
    machine: &MachineSpec,
    attempt_id: &AttemptId,
    placements: usize,
    deadline: Timestamp,
) -> Attempt {
    let mut attempt = attempt(attempt_id, "linux", placements, deadline);
    for placement in &mut attempt.placements {
        placement.machine = machine.clone();
    }
    attempt
}

/// Returns the listed machines with this machine's token.
pub async fn listed(compute: &dyn Compute, machine: &Machine) -> Vec<Machine> {
    let mut found = compute.list().await.unwrap();
    found.retain(|seen| {
        seen.attempt_id == machine.attempt_id && seen.placement == machine.placement
    });
    found
}

/// Waits until the list shows a machine in a state: the list may lag.
pub async fn seen(compute: &dyn Compute, machine: &Machine, state: MachineState) -> Machine {
    until(&format!("{} {state:?}", machine.id), async || {
        let mut found = listed(compute, machine).await;
        assert!(found.len() <= 1, "a token has one machine: {found:?}");
        found.pop().filter(|seen| seen.state == state)
    })
    .await
}

/// Terminates a machine. Where it is too new to be known everywhere, tries again.
async fn end(compute: &dyn Compute, id: &MachineId) {
    until(&format!("{id} is terminated"), async || match compute.terminate(id).await {
        Ok(()) => Some(()),
        Err(error) => {
            assert_eq!(error.kind, ErrorKind::Unavailable, "{error}");
            None
        }
    })
    .await;
}

async fn a_token_makes_one_machine(compute: &dyn Compute, like: &MachineSpec, deadline: Timestamp) {
    let attempt_id = own_attempt_id(2_000);
    let attempt = asking(like, &attempt_id, 1, deadline);
    assert!(compute.room());
    let first = compute.launch(&attempt_id, 0, &attempt).await.unwrap();
    assert!(first.is_live(), "{first:?}");
    let again = compute.launch(&attempt_id, 0, &attempt).await.unwrap();
    assert_eq!(again.id, first.id);
    assert!(again.is_live(), "{again:?}");
    let seen = seen(compute, &first, MachineState::Up).await;
    let Machine {
        id,
        attempt_id: of,
        placement,
        deadline: ends,
        registration,
        repo_id,
        ended_by,
        class,
        kind,
        ..
    } = &seen;
    assert_eq!((id, of, *placement), (&first.id, &attempt_id, 0));
    assert_eq!((ends.as_second(), *registration), (deadline.as_second(), attempt.runner.id));
    assert_eq!(*repo_id, attempt.runner.repo_id);
    assert_eq!((ended_by, class.0.as_str(), kind.as_str()), (&None, "linux", like.kind.as_str()));
    assert_eq!(compute.find(id).await.unwrap().expect("listed, so found"), seen);
    assert!(!format!("{seen:?}").contains("SECRET"));
    end(compute, id).await;
}

async fn placements_are_apart(compute: &dyn Compute, like: &MachineSpec, deadline: Timestamp) {
    let attempt_id = own_attempt_id(2_100);
    let attempt = asking(like, &attempt_id, 2, deadline);
    let one = compute.launch(&attempt_id, 0, &attempt).await.unwrap();
    let two = compute.launch(&attempt_id, 1, &attempt).await.unwrap();
    assert_ne!(one.id, two.id);
    end(compute, &one.id).await;
    seen(compute, &one, MachineState::Gone).await;
    seen(compute, &two, MachineState::Up).await;
    end(compute, &two.id).await;
    seen(compute, &two, MachineState::Gone).await;
}

async fn a_dead_token_answers_the_dead_machine(
    compute: &dyn Compute,
    like: &MachineSpec,
    deadline: Timestamp,
) {
    let attempt_id = own_attempt_id(2_200);
    let attempt = asking(like, &attempt_id, 1, deadline);
    let machine = compute.launch(&attempt_id, 0, &attempt).await.unwrap();
    end(compute, &machine.id).await;
    let gone = seen(compute, &machine, MachineState::Gone).await;
    assert_eq!(gone.ended_by, Some(EndedBy::Request));
    compute.terminate(&machine.id).await.expect("what is gone is terminated");
    let again = compute.launch(&attempt_id, 0, &attempt).await.unwrap();
    assert_eq!((again.id, again.state), (machine.id, MachineState::Gone));
}

/// A machine may have printed nothing.
async fn a_log_is_read_at_its_end(compute: &dyn Compute, like: &MachineSpec, deadline: Timestamp) {
    let attempt_id = own_attempt_id(2_300);
    let attempt = asking(like, &attempt_id, 1, deadline);
    let machine = compute.launch(&attempt_id, 0, &attempt).await.unwrap();
    seen(compute, &machine, MachineState::Up).await;
    let whole = compute.log(&machine.id, 1 << 20).await.unwrap();
    if let Some(whole) = whole {
        assert!(!whole.bytes.is_empty() && !whole.cut);
        let text = String::from_utf8_lossy(&whole.bytes);
        assert!(!text.contains("SECRET"), "{text}");
        let end = compute.log(&machine.id, 1).await.unwrap().expect("it stays");
        assert_eq!(end.bytes.len(), 1);
        assert!(end.cut || whole.bytes.len() == 1);
    }
    end(compute, &machine.id).await;
    seen(compute, &machine, MachineState::Gone).await;
    compute.log(&machine.id, 1).await.expect("the log of what has ended is asked for");
}

async fn what_is_not_ours_is_not_found(compute: &dyn Compute) {
    for id in ["", "..", "/", "i-0123456789abcdef0", "tq-job-1-00000000-1-0", "a\nb", "../../etc"] {
        let id = MachineId(id.to_owned());
        assert_eq!(compute.find(&id).await.unwrap(), None, "{id:?}");
        assert_eq!(compute.log(&id, 100).await.unwrap(), None, "{id:?}");
        compute.terminate(&id).await.expect("what is not there is terminated");
    }
}
