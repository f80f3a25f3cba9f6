//! Machines in the real EC2.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tinqs_ci_aws::client;
use tinqs_ci_aws::ec2::{Clients, Machines, rehearse};
use tinqs_ci_aws::events::Owners as _;
use tinqs_ci_aws::pace::Rates;
use tinqs_ci_local::SystemClock;
use tinqs_ci_reconciler::model::{
    Attempt, AttemptId, Class, ClassName, EndedBy, Machine, MachineId, MachineOptions, MachineSpec,
    MachineState, Market, Times,
};
use tinqs_ci_reconciler::ports::{Compute as _, ErrorKind};
use tinqs_ci_testing::conformance::compute;
use tinqs_ci_testing::make;
use tokio::time::Instant;

pub(crate) const IMAGE: &str = "TINQS_CI_TEST_EC2_IMAGE";
pub(crate) const SUBNET: &str = "TINQS_CI_TEST_EC2_SUBNET";
pub(crate) const GROUP: &str = "TINQS_CI_TEST_EC2_SECURITY_GROUP";
pub(crate) const KIND: &str = "TINQS_CI_TEST_EC2_KIND";

/// Time limit for a machine to boot or to terminate.
const PATIENCE: Duration = Duration::from_mins(5);

/// Returns the spot machine spec that the variables describe. Prints and returns `None` if one is
/// missing.
fn named() -> Option<MachineSpec> {
    let read = |name: &str| {
        let value = std::env::var(name).ok();
        if value.is_none() {
            println!("skipped: {name} is not set");
        }
        value
    };
    Some(MachineSpec {
        image: read(IMAGE)?,
        subnet: read(SUBNET)?,
        security_groups: vec![read(GROUP)?],
        kind: read(KIND)?,
        market: Market::Spot,
        instance_profile: String::new(),
        runner: None,
        options: MachineOptions::default(),
    })
}

/// Waits for a value with growing pauses.
async fn until<T>(what: &str, mut so: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    let mut pause = Duration::from_millis(100);
    loop {
        if let Some(value) = so().await {
            return value;
        }
        assert!(Instant::now() < end, "timed out after {PATIENCE:?} waiting for: {what}");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(5));
    }
}

/// Launches and terminates two machines as the variables say.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_laws_on_ec2() {
    let Some(machine) = named() else { return };
    let config = client::load(None).await.expect("a region and credentials");
    let clients = Clients::of(&config);
    let installation = format!("tinqs-ci-test-{}", Timestamp::now().as_second());
    println!("machines carry the tag tinqs-ci={installation}");
    let rates = Rates::default();
    let clock = Arc::new(SystemClock);
    let machines = Arc::new(Machines::new(clients.clone(), &installation, clock, rates));
    // A separate task, so that the machines are terminated even after a panic.
    let (own, of) = (machines.clone(), installation.clone());
    let local = tokio::task::LocalSet::new();
    let laws = local.spawn_local(async move {
        a_dry_run_makes_nothing(&clients, &of, &machine).await;
        assert_eq!(own.list().await.expect("listed"), [], "a dry run launches nothing");
        a_token_is_one_machine_from_launch_to_end(&own, &machine).await;
        strangers_are_not_found(&own).await;
    });
    let kept = local.run_until(laws).await;
    end_all(&machines).await;
    kept.expect("the laws are kept");
}

async fn a_dry_run_makes_nothing(clients: &Clients, installation: &str, machine: &MachineSpec) {
    let class = Class {
        name: ClassName("linux".to_owned()),
        labels: vec!["linux".to_owned()],
        serves_unlabeled: false,
        machines: vec![machine.clone()],
        limit: None,
        repo_limit: None,
        owner_limit: None,
        rerun: tinqs_ci_reconciler::model::RerunPolicy::default(),
        budget: None,
        allocation: tinqs_ci_reconciler::model::Allocation::Order,
        repos: Vec::new(),
        times: Times::default(),
    };
    rehearse(&clients.launch, installation, &class, machine, None)
        .await
        .expect("it would be granted");
}

fn ask(machine: &MachineSpec, id: i64) -> (AttemptId, Attempt) {
    let attempt_id = make::attempt_id(id, 1);
    let soon = Timestamp::now() + SignedDuration::from_mins(20);
    let attempt = compute::asking(machine, &attempt_id, 1, soon);
    (attempt_id, attempt)
}

/// A machine whose image has no runner powers itself off, so its state may advance at any time but
/// never goes back.
async fn a_token_is_one_machine_from_launch_to_end(machines: &Machines, machine: &MachineSpec) {
    let (attempt_id, attempt) = ask(machine, 2_000);
    let first = machines.launch(&attempt_id, 0, &attempt).await.expect("a machine");
    let again = machines.launch(&attempt_id, 0, &attempt).await.expect("the same machine");
    assert_eq!(again.id, first.id, "one token, one machine");
    let (other, attempt_of_other) = ask(machine, 2_001);
    let second = machines.launch(&other, 0, &attempt_of_other).await.expect("another machine");
    assert_ne!(second.id, first.id);
    for (attempt_id, attempt, id) in
        [(&attempt_id, &attempt, &first.id), (&other, &attempt_of_other, &second.id)]
    {
        let listed = until("it is listed", async || {
            let mut all = machines.list().await.expect("listed");
            all.retain(|seen| seen.attempt_id == *attempt_id);
            assert!(all.len() <= 1, "{all:?}");
            all.pop().filter(|seen| seen.state != MachineState::Booting)
        });
        let Machine { id: seen, placement, deadline, registration, class, kind, market, .. } =
            listed.await;
        assert_eq!((&seen, placement, class.0.as_str()), (id, 0, "linux"));
        assert_eq!(deadline.as_second(), attempt.boot.deadline.as_second());
        assert_eq!(
            (registration, kind, market),
            (attempt.runner.id, machine.kind.clone(), machine.market)
        );
        let found = machines.find(id).await.expect("asked").expect("what is listed is found");
        assert_eq!((&found.id, &found.attempt_id), (id, attempt_id));
    }
    let ids = [first.id.clone(), second.id.clone()];
    let runs: Vec<_> =
        machines.runs_of(&ids).await.into_iter().map(|run| run.expect("asked")).collect();
    assert_eq!(runs, [Some(attempt_id.run.clone()), Some(other.run.clone())]);
    for id in &ids {
        let gone = ended(machines, id).await;
        let by = gone.and_then(|gone| gone.ended_by);
        assert!([None, Some(EndedBy::Request), Some(EndedBy::Itself)].contains(&by), "{by:?}");
    }
    let again = machines.launch(&attempt_id, 0, &attempt).await.expect("its token is known");
    assert_eq!((again.id, again.state), (first.id, MachineState::Gone));
}

/// Terminates a machine and waits for its end. Returns `None` if EC2 no longer lists it.
async fn ended(machines: &Machines, id: &MachineId) -> Option<Machine> {
    until(&format!("{id} is gone"), async || {
        match machines.terminate(id).await {
            Ok(()) => {}
            // A new machine is not known everywhere yet.
            Err(error) => assert_eq!(error.kind, ErrorKind::Unavailable, "{error}"),
        }
        let found = machines.find(id).await.expect("asked");
        let gone = found.as_ref().is_none_or(|found| found.state == MachineState::Gone);
        gone.then_some(found)
    })
    .await
}

async fn strangers_are_not_found(machines: &Machines) {
    for id in ["i-0123456789abcdef0", "i-1a2b3c4d", "nonsense"] {
        let id = MachineId(id.to_owned());
        assert_eq!(machines.find(&id).await.expect("asked"), None, "{id}");
        machines.terminate(&id).await.expect("an unknown machine counts as terminated");
    }
}

/// Terminates every remaining machine of this installation.
async fn end_all(machines: &Machines) {
    let left = until("the list can be read", async || machines.list().await.ok()).await;
    for machine in left.iter().filter(|machine| machine.state < MachineState::Ending) {
        println!("terminating a remaining machine: {}", machine.id);
        ended(machines, &machine.id).await;
    }
}
