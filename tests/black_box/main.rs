//! The real binary against a forge on the wire, with the real boot script and a test runner.

mod clean;
mod disk;
mod host;
mod kills;
mod push;
mod weather;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tinqs_ci_reconciler::model::Conclusion;
use tinqs_ci_simulator::forge::Status;

use host::{Host, Options, signal};

const SUCCESS: Status = Status::Done(Conclusion::Success);

/// A push becomes a finished job, and nothing is left of it but the record.
#[tokio::test(flavor = "multi_thread")]
async fn a_push_becomes_a_finished_job() {
    let mut host = Host::new(&Options::default());
    host.start().await;
    let jobs = host.push(1, &["linux"], "echo hello from $TINQS_CI_MACHINE");
    host.all_done(&jobs, 90).await;
    assert_eq!(host.status(jobs[0]), SUCCESS);
    host.settles(90).await;
    assert_eq!(host.machines_ever().len(), 1);
    let run = host.get(&format!("/v1/runs/job-{}", jobs[0])).await;
    assert_eq!(run["status"]["phase"], "Finished");
    assert_eq!(run["status"]["outcome"], "Succeeded");
    assert_eq!(run["status"]["attempt"]["runner"]["token"], "[secret]");
    host.assert_no_secret_told();
}

/// Without any webhook the job list alone brings the machine.
#[tokio::test(flavor = "multi_thread")]
async fn no_webhook_at_all() {
    let mut host = Host::new(&Options { hook: false, ..Options::default() });
    host.start().await;
    let jobs = host.push(2, &["linux"], "true");
    host.all_done(&jobs, 90).await;
    host.settles(90).await;
    assert!(host.machines_ever().len() >= 2);
}

/// Twenty jobs at once: twenty machines, whoever takes which job.
#[tokio::test(flavor = "multi_thread")]
async fn a_matrix_of_twenty() {
    let mut host = Host::new(&Options::default());
    host.start().await;
    let jobs = host.push(20, &["linux"], "sleep 0.5");
    host.all_done(&jobs, 90).await;
    assert!(jobs.iter().all(|job| host.status(*job) == SUCCESS));
    host.settles(120).await;
    assert_eq!(host.machines_ever().len(), 20, "{:?}", host.machines_ever());
}

/// A label that nobody serves, and `host`, get no machine; the others do.
#[tokio::test(flavor = "multi_thread")]
async fn labels_that_nobody_serves() {
    let class = "labels = [\"*\"]\nidle_within = \"4s\"";
    let mut host = Host::new(&Options { class, ..Options::default() });
    host.start().await;
    let forbidden = host.push(1, &["host"], "true");
    let served = host.push(1, &["anything"], "true");
    host.all_done(&served, 90).await;
    host.settles(90).await;
    assert_eq!(host.status(forbidden[0]), Status::Waiting);
    assert_eq!(host.machines_ever().len(), 1);
}

/// A runner that dies in mid job: the forge fails the job, nothing is left, nothing started anew.
#[tokio::test(flavor = "multi_thread")]
async fn a_runner_killed_in_mid_job() {
    let zombie_after = SignedDuration::from_secs(3);
    let mut host = Host::new(&Options { zombie_after, ..Options::default() });
    host.start().await;
    let jobs = host.push(1, &["linux"], "sleep 60");
    host.until("the job runs", 30, async |host| host.status(jobs[0]) == Status::Running).await;
    for pid in host.processes() {
        signal(pid, rustix::process::Signal::KILL);
    }
    host.all_done(&jobs, 90).await;
    assert_eq!(host.status(jobs[0]), Status::Done(Conclusion::Failure));
    host.settles(90).await;
    assert_eq!(host.machines_ever().len(), 1);
}

/// The forge is down for ten seconds: afterwards everything goes on.
#[tokio::test(flavor = "multi_thread")]
async fn the_forge_is_down_for_ten_seconds() {
    let mut host = Host::new(&Options::default());
    host.start().await;
    let before = host.push(2, &["linux"], "sleep 1");
    host.wire.faults(|faults| faults.down = true);
    let during = host.push(2, &["linux"], "sleep 1");
    tokio::time::sleep(Duration::from_secs(10)).await;
    let ready = host.get("/readyz").await;
    assert!(ready.is_object(), "a forge that is down leaves the server ready: {ready}");
    host.wire.faults(|faults| faults.down = false);
    let jobs: Vec<i64> = before.into_iter().chain(during).collect();
    host.all_done(&jobs, 120).await;
    host.settles(120).await;
}

/// A job is cancelled while its machine boots: the machine ends by itself, and nothing of it stays.
#[tokio::test(flavor = "multi_thread")]
async fn cancelled_while_booting() {
    let mut host = Host::new(&Options::default());
    host.start().await;
    host.forge().config.mute_until = Some(Timestamp::now() + SignedDuration::from_secs(3600));
    let jobs = host.push(1, &["linux"], "true");
    host.until("the machine is there", 30, async |host| !host.processes().is_empty()).await;
    host.forge().cancel(Timestamp::now(), jobs[0]);
    host.settles(120).await;
    assert_eq!(host.status(jobs[0]), Status::Done(Conclusion::Cancelled));
    let run = host.get(&format!("/v1/runs/job-{}", jobs[0])).await;
    assert_eq!(run["status"]["outcome"], "Cancelled");
    let log = std::fs::read_to_string(host.log()).expect("the log");
    assert!(!log.contains("\"action\":\"terminate\""), "no machine is ended by us");
}

/// A machine takes the other's job: both jobs are done, by two machines.
#[tokio::test(flavor = "multi_thread")]
async fn a_machine_takes_the_other_job() {
    let mut host = Host::new(&Options::default());
    host.start().await;
    // The second job is waiting at the forge before the first machine is up: it may take either.
    let first = host.push(1, &["linux"], "sleep 2");
    let second = host.push(1, &["linux"], "true");
    let jobs: Vec<i64> = first.into_iter().chain(second).collect();
    host.all_done(&jobs, 120).await;
    host.settles(120).await;
    assert_eq!(host.machines_ever().len(), 2);
}

/// SIGTERM while machines run: they go on, and are found again.
#[tokio::test(flavor = "multi_thread")]
async fn machines_outlive_the_controller() {
    let mut host = Host::new(&Options::default());
    host.start().await;
    let jobs = host.push(3, &["linux"], "sleep 4");
    host.until("the jobs run", 30, async |host| {
        jobs.iter().all(|job| host.status(*job) == Status::Running)
    })
    .await;
    host.stop().await;
    assert!(!host.processes().is_empty(), "machines go on without the controller");
    host.start().await;
    let machines = host.get("/v1/machines").await;
    let up =
        machines["items"].as_array().expect("a list").iter().filter(|m| m["state"] == "up").count();
    assert_eq!(up, 3, "{machines}");
    host.all_done(&jobs, 90).await;
    assert!(jobs.iter().all(|job| host.status(*job) == SUCCESS));
    host.settles(90).await;
    assert_eq!(host.machines_ever().len(), 3);
}
