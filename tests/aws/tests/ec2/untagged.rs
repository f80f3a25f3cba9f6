//! Machines of ours that have ended, and that EC2 shows without their tags.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use jiff::SignedDuration;
use tinqs_ci_aws::ec2::Machines;
use tinqs_ci_aws::events::Owners as _;
use tinqs_ci_reconciler::model::{EndedBy, Machine, MachineId, MachineState};
use tinqs_ci_reconciler::ports::Compute as _;
use tinqs_ci_simulator::ec2_wire::Ec2Wire;
use tinqs_ci_testing::make::until;

use super::lists::Moved;
use crate::cloud::{INSTALLATION, UNPACED, ask, clients, is_clean, machines, wire};

/// A wire whose machines lose their tags as soon as they are terminated.
fn untagging(refuses_used_tokens: bool) -> Ec2Wire {
    wire(|options| {
        options.tagged_after_end = SignedDuration::ZERO;
        options.refuses_used_tokens = refuses_used_tokens;
    })
}

/// Ends a machine as the cloud does, and returns it as another process finds it then.
async fn taken(wire: &Ec2Wire, there: &Machines, id: &MachineId) -> Machine {
    wire.interrupt_unwarned(id);
    until("it is terminated", async || {
        let found = there.find(id).await.unwrap();
        found.filter(|machine| machine.state == MachineState::Gone)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ended_machine_without_tags_is_ours_by_its_client_token() {
    let wire = untagging(false);
    let (here, there) = (machines(&wire, UNPACED).await, machines(&wire, UNPACED).await);
    let (attempt_id, attempt) = ask(1);
    let id = here.launch(&attempt_id, 0, &attempt).await.unwrap().id;
    let gone = taken(&wire, &there, &id).await;
    assert_eq!((&gone.attempt_id, gone.placement), (&attempt_id, 0));
    assert_eq!(gone.ended_by, Some(EndedBy::Cloud));
    assert!(gone.ended_at.is_some() && gone.state_reason.is_some(), "{gone:?}");
    assert_eq!(there.list().await.unwrap(), [], "its tags alone list it");
    let run = there.runs_of(std::slice::from_ref(&id)).await.remove(0).unwrap();
    assert_eq!(run, Some(attempt_id.run.clone()), "an event about it wakes its run");
    // Policies compare tags: no call for it is allowed, and none is needed.
    for machines in [&here, &there] {
        machines.terminate(&id).await.unwrap();
        assert_eq!(machines.log(&id, 1 << 20).await.unwrap(), None);
    }
    let ledger = wire.ledger();
    assert_eq!((ledger.count("TerminateInstances"), ledger.count("GetConsoleOutput")), (0, 0));
    is_clean(&wire);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_shows_the_end_of_a_machine_that_it_showed_with_tags() {
    // Read again at once, and after the minute in which the whole list is read.
    for later in [0, 60] {
        let wire = untagging(false);
        let clock = Arc::new(Moved::default());
        let clients = clients(&wire.url()).await;
        let here = Machines::new(clients, INSTALLATION, clock.clone(), UNPACED);
        let (attempt_id, attempt) = ask(1);
        let id = here.launch(&attempt_id, 0, &attempt).await.unwrap().id;
        let before = here.list().await.unwrap();
        assert_eq!(before.iter().map(Machine::is_live).collect::<Vec<_>>(), [true]);
        taken(&wire, &machines(&wire, UNPACED).await, &id).await;
        clock.0.fetch_add(later, Ordering::SeqCst);
        for _ in 0..2 {
            let listed = here.list().await.unwrap();
            let [gone] = &listed[..] else { panic!("{listed:?}") };
            assert_eq!((gone.state, gone.ended_by), (MachineState::Gone, Some(EndedBy::Cloud)));
            assert_eq!((gone.deadline, &gone.class), (before[0].deadline, &before[0].class));
            assert_eq!(gone.registration, attempt.runner.id);
            assert_eq!(gone.repo_id, attempt.runner.repo_id);
            assert_eq!(gone.promise, before[0].promise);
        }
        is_clean(&wire);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_used_token_returns_its_machine_without_tags() {
    for refuses_used_tokens in [false, true] {
        let wire = untagging(refuses_used_tokens);
        let (here, there) = (machines(&wire, UNPACED).await, machines(&wire, UNPACED).await);
        let (attempt_id, attempt) = ask(1);
        let id = here.launch(&attempt_id, 0, &attempt).await.unwrap().id;
        taken(&wire, &there, &id).await;
        let again = there.launch(&attempt_id, 0, &attempt).await.unwrap();
        assert_eq!((again.id, again.state), (id, MachineState::Gone));
        assert_eq!(again.deadline, attempt.boot.deadline, "its record says it");
        assert_eq!(wire.machines().len(), 1);
        is_clean(&wire);
    }
}
