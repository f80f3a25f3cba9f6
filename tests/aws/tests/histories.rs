//! Cost of a fault-free run at AWS, and the time to replace a lost machine without an event: over
//! the adapters and their wires, on a virtual clock.

#[allow(dead_code, reason = "the crash sweep uses the rest")]
mod history;

use history::injected_fault::Plan;
use history::{History, Setup};
use jiff::{SignedDuration, Timestamp};
use tinqs_ci_aws::ec2::token;
use tinqs_ci_reconciler::model::{AttemptId, MachineId, MachineState};
use tinqs_ci_reconciler::ports::Clock as _;

/// The default of `serve`.
const POLL: SignedDuration = SignedDuration::from_secs(10);

fn setup(limit: Option<u32>) -> Setup {
    Setup { limit, hangs_after_job: false, poll_every: POLL }
}

/// Runs twenty jobs in sequence. Returns the write units charged per run.
async fn twenty_fault_free_jobs(limit: Option<u32>) -> f64 {
    const JOBS: usize = 20;
    let config = history::config().await;
    let mut history = History::begin(&config, &setup(limit), Plan::default()).await;
    let jobs = history.push(JOBS, SignedDuration::from_mins(4)).await;
    history.settle(&jobs).await.expect("a fault-free history settles");
    let launches = history.ec2.ledger().count("RunInstances");
    assert_eq!(launches, JOBS, "exactly one call for each run");
    let charged = history.front.charged();
    let of = |ops: &[&str]| {
        ops.iter().filter_map(|op| charged.get(op)).fold(0.0, |sum, units| sum + units)
    };
    let runs = of(&["put run", "count run", "delete run"]);
    let seats = of(&["seats"]);
    let per_run = (runs + seats) / 20.0;
    println!(
        "limit {limit:?}: {JOBS} jobs, {launches} launches; {per_run:.2} write units per run \
         ({runs} for records, {seats} for seats), beside them {} for the lease",
        of(&["put lease"]),
    );
    assert!(runs >= 20.0 * 5.0, "a run has five writes: {charged:?}");
    assert_eq!(seats > 0.0, limit.is_some(), "{charged:?}");
    per_run
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fault_free_run_takes_one_launch_and_few_write_units() {
    let free = twenty_fault_free_jobs(None).await;
    assert!(free <= 14.0, "{free} write units for each run");
    let limited = twenty_fault_free_jobs(Some(30)).await;
    // Three for its seat.
    assert!(limited <= free + 3.5, "{limited} write units for each run with a limit");
}

fn launched(history: &History) -> Vec<(MachineId, Timestamp)> {
    let machines = history.ec2.machines();
    let at = |id: &MachineId| history.ec2.cloud(|c| c.machine(id).map(|m| m.launched_at));
    machines.iter().filter_map(|m| Some((m.id.clone(), at(&m.id)?))).collect()
}

/// Interrupts a machine `after` its launch, without an event, while its job still waits. Returns
/// the time to the next launch.
async fn lose_a_machine(after: SignedDuration, controller_too: bool) -> SignedDuration {
    let config = history::config().await;
    let mut history = History::begin(&config, &setup(None), Plan::default()).await;
    history.push(1, SignedDuration::ZERO).await;
    while launched(&history).is_empty() {
        history.turn().await;
    }
    let (first, at) = launched(&history)[0].clone();
    while history.clock.now() < at + after {
        history.turn_until(at + after).await;
    }
    let lost_at = history.clock.now();
    assert_eq!(lost_at, at + after);
    history.ec2.interrupt_unwarned(&first);
    if controller_too {
        history.kill();
    }
    while launched(&history).len() < 2 {
        history.turn().await;
        assert!(history.clock.now() < lost_at + SignedDuration::from_mins(10), "no replacement");
    }
    let machines = history.ec2.machines();
    assert_eq!(machines[0].reason, "Server.SpotInstanceTermination");
    assert!(machines[0].state > MachineState::Up);
    let places = [&machines[0].recipe.subnet, &machines[1].recipe.subnet];
    // Also a new controller reads in the list where the machine was lost.
    assert_ne!(places[0], places[1], "the replacement uses another subnet");
    assert_eq!(history.ec2.violations(), []);
    launched(&history)[1].1.duration_since(lost_at)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_machine_is_replaced_within_a_minute_without_an_event() {
    let (mut longest, mut longest_dead) = (SignedDuration::ZERO, SignedDuration::ZERO);
    // From the launch until just before the runner starts, 16 s and 8 s later.
    for seconds in [1, 3, 5, 8, 11, 14, 15, 16, 17, 19, 21, 23] {
        let after = SignedDuration::from_secs(seconds);
        longest = longest.max(lose_a_machine(after, false).await);
        longest_dead = longest_dead.max(lose_a_machine(after, true).await);
    }
    println!("replaced within {longest:#}; with a controller crash, within {longest_dead:#}");
    let minute = SignedDuration::from_mins(1);
    assert!(longest <= minute, "{longest:#}");
    assert!(longest_dead <= minute, "with a new controller: {longest_dead:#}");
}

/// Adds foreign instances that carry our tags and that each match a reason to terminate a machine.
fn tag_by_hand(history: &History) -> usize {
    let tags = history.ec2.machines()[0].recipe.instance_tags();
    let own: AttemptId = tags["tinqs-ci/attempt"].parse().expect("an attempt ID");
    let nobodys: AttemptId = "tq-job-4711-0a1b2c3d-1".parse().expect("an attempt ID");
    let next = AttemptId { number: own.number + 1, ..own.clone() };
    let mut added = 0;
    for named in [&own, &next, &nobodys] {
        for (key, value) in [
            ("tinqs-ci/deadline", "2001-01-01T00:00:00Z"),
            ("tinqs-ci/registration", "4711"),
            ("tinqs-ci/placement", "1"),
        ] {
            let mut tags = tags.clone();
            tags.extend([
                ("tinqs-ci/run".to_owned(), named.run.to_string()),
                ("tinqs-ci/uid".to_owned(), named.uid.to_string()),
                ("tinqs-ci/attempt".to_owned(), named.to_string()),
                (key.to_owned(), value.to_owned()),
            ]);
            let others = [
                String::new(),
                "fleet-0a1b2c3d".to_owned(),
                named.token(1),
                token(history::INSTALLATION, named, 7),
                token("another", named, 0),
                token("another", named, 1),
            ];
            for token in others {
                history.ec2.add_foreign_with_token(tags.clone(), &token).expect("an instance");
                added += 1;
            }
        }
    }
    added
}

/// Law L5: sweeps leave such instances alone from the launch of a machine until after its run.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_tagged_by_hand_are_left_alone_by_every_sweep() {
    let config = history::config().await;
    let mut history = History::begin(&config, &setup(Some(5)), Plan::default()).await;
    let mut jobs = history.push(1, SignedDuration::ZERO).await;
    while launched(&history).is_empty() {
        history.turn().await;
    }
    let added = tag_by_hand(&history);
    jobs.extend(history.push(2, SignedDuration::from_mins(3)).await);
    history.settle(&jobs).await.expect("the jobs are done and nothing is left");
    let machines = history.ec2.machines();
    let foreign: Vec<_> = machines.iter().filter(|machine| machine.foreign).collect();
    assert_eq!((foreign.len(), machines.len() - foreign.len()), (added, jobs.len()));
    assert!(foreign.iter().all(|machine| machine.state == MachineState::Up), "{foreign:?}");
    assert_eq!(history.ec2.ledger().count("TerminateInstances"), 0);
    assert_eq!(history.ec2.violations(), []);
}
