//! The real binary against a simulated forge, with the real boot script and a test runner.

mod clean;
mod disk;
mod faults;
mod kills;
mod lost_store;
mod push;
mod reload;
mod user;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tinqs_ci_reconciler::model::Conclusion;
use tinqs_ci_simulator::forge::Status;

use tinqs_ci_test_host::{Host, Options, signal};

/// Returns a host for the program under test.
fn host(options: &Options) -> Host {
    Host::new(env!("CARGO_BIN_EXE_tinqs-ci"), options)
}

const SUCCESS: Status = Status::Done(Conclusion::Success);

/// Only the record of a finished job is left.
async fn a_push_becomes_a_finished_job() {
    let mut host = host(&Options::default());
    host.start().await;
    let jobs = host.push(1, &["linux"], "echo hello from $TINQS_CI_MACHINE");
    host.all_done(&jobs, 90).await;
    assert_eq!(host.status(jobs[0]), SUCCESS);
    host.settles(90).await;
    assert_eq!(host.machines_ever().len(), 1);
    let run = host.get(&format!("/v1/runs/job-{}", jobs[0])).await;
    assert_eq!(run["status"]["phase"], "Finished");
    assert_eq!(run["status"]["outcome"], "Succeeded");
    // Credentials leave the record with the end of the attempt.
    assert!(run["status"]["attempt"]["runner"]["uuid"].is_string(), "{run}");
    assert!(run["status"]["attempt"]["runner"]["token"].is_null(), "{run}");
    host.assert_no_secret_told();
}

/// Without webhooks, the job list alone causes the launch.
async fn jobs_are_served_without_webhooks() {
    let mut host = host(&Options { hook: false, ..Options::default() });
    host.start().await;
    let jobs = host.push(2, &["linux"], "true");
    host.all_done(&jobs, 90).await;
    host.settles(90).await;
    assert!(host.machines_ever().len() >= 2);
}

/// Twenty simultaneous jobs get twenty machines, in any assignment.
async fn twenty_jobs_get_twenty_machines() {
    // On a busy host a runner that waits for its job must not give up, which would cost another.
    let class = "labels = [\"linux\"]\nboot_within = \"2m\"\nidle_within = \"1m\"";
    let mut host = host(&Options { class, ..Options::default() });
    host.start().await;
    let jobs = host.push(20, &["linux"], "sleep 0.5");
    host.all_done(&jobs, 90).await;
    assert!(jobs.iter().all(|job| host.status(*job) == SUCCESS));
    host.settles(120).await;
    assert_eq!(host.machines_ever().len(), 20, "{:?}", host.machines_ever());
}

/// The label `host` gets no machine; a served label does.
async fn an_unserved_label_gets_no_machine() {
    let class = "labels = [\"*\"]\nidle_within = \"20s\"";
    let mut host = host(&Options { class, ..Options::default() });
    host.start().await;
    let forbidden = host.push(1, &["host"], "true");
    let served = host.push(1, &["anything"], "true");
    host.all_done(&served, 90).await;
    host.settles(90).await;
    assert_eq!(host.status(forbidden[0]), Status::Waiting);
    assert_eq!(host.machines_ever().len(), 1);
}

/// A runner dies mid-job: the forge fails the job, nothing is left, and no machine is launched
/// again.
async fn a_runner_killed_mid_job_fails_the_job() {
    let zombie_after = SignedDuration::from_secs(3);
    let mut host = host(&Options { zombie_after, ..Options::default() });
    host.start().await;
    let jobs = host.push(1, &["linux"], "sleep 60");
    host.until("the job runs", 30, async |host| host.status(jobs[0]) == Status::Running).await;
    let is_runner = |pid: &u32| {
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        name.trim_end() == "gitea-runner"
    };
    let runners: Vec<u32> = host.processes().into_iter().filter(is_runner).collect();
    assert!(!runners.is_empty(), "the runner is found");
    for pid in runners {
        signal(pid, rustix::process::Signal::KILL);
    }
    host.all_done(&jobs, 90).await;
    assert_eq!(host.status(jobs[0]), Status::Done(Conclusion::Failure));
    host.settles(90).await;
    assert_eq!(host.machines_ever().len(), 1);
}

/// All processes of a machine are killed mid-job: the forge fails the job, and it is run again, once.
async fn a_job_whose_machine_the_host_ended_runs_again() {
    // On a busy host the second runner may be silent for a while.
    let zombie_after = SignedDuration::from_secs(10);
    let mut host = host(&Options { zombie_after, ..Options::default() });
    host.start().await;
    let began = host.dir.path().join("began");
    let began = began.display();
    let script = format!("[ -e '{began}' ] || {{ touch '{began}'; sleep 60; }}");
    let jobs = host.push(1, &["linux"], &script);
    host.until("the job runs", 30, async |host| host.dir.path().join("began").exists()).await;
    host.kill_machines().await;
    host.until("the job succeeds", 90, async |host| {
        host.status(jobs[0]) == Status::Done(Conclusion::Success)
    })
    .await;
    host.settles(90).await;
    assert_eq!(host.machines_ever().len(), 2);
}

/// The reason of a run that waits says what its machine printed last.
async fn a_missing_runner_is_named_in_the_reason() {
    let mut host = host(&Options::default());
    host.remove_runner();
    host.start().await;
    let jobs = host.push(1, &["linux"], "true");
    let path = format!("/v1/runs/job-{}", jobs[0]);
    host.until("the run backs off", 60, async |host| {
        let run = host.get(&path).await;
        run["status"]["conditions"][0]["reason"] == "BackingOff"
    })
    .await;
    let run = host.get(&path).await;
    let told = "neither gitea-runner nor act_runner is in PATH";
    let message = run["status"]["conditions"][0]["message"].as_str().unwrap_or_default();
    assert!(message.contains(&format!("before it got a job: {told}")), "{run}");
    let attempt = &run["status"]["attempt"];
    assert!(attempt["log"].as_str().is_some_and(|log| log.contains(told)), "{run}");
    // The whole log is there as long as the machine's directory is.
    let id = attempt["placements"][0]["answered"]["id"].as_str().expect("a machine");
    let log = host.http.get(host.url(&format!("/v1/machines/{id}/log"))).send().await;
    let log = log.expect("an answer").text().await.expect("text");
    assert!(log.contains(told), "{log}");
    host.assert_no_secret_told();
}

/// The forge is down for ten seconds, then all jobs get done.
async fn jobs_survive_an_outage_of_the_forge() {
    let mut host = host(&Options::default());
    host.start().await;
    let before = host.push(2, &["linux"], "sleep 1");
    host.wire.faults(|faults| faults.down = true);
    let during = host.push(2, &["linux"], "sleep 1");
    tokio::time::sleep(Duration::from_secs(10)).await;
    let ready = host.get("/readyz").await;
    assert!(ready.is_object(), "the server stays ready while the forge is down: {ready}");
    host.wire.faults(|faults| faults.down = false);
    let jobs: Vec<i64> = before.into_iter().chain(during).collect();
    host.all_done(&jobs, 120).await;
    host.settles(120).await;
}

/// A job is canceled while its machine boots: the machine ends by itself, and nothing is left.
async fn a_job_canceled_during_boot_leaves_nothing() {
    let mut host = host(&Options::default());
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
    assert!(!log.contains("\"action\":\"terminate\""), "the controller terminates no machine");
}

/// A machine may take the other job: two machines do both jobs.
async fn two_machines_serve_two_jobs_in_any_order() {
    let mut host = host(&Options::default());
    host.start().await;
    // The second job waits before the first machine is up, so that machine may take either.
    let first = host.push(1, &["linux"], "sleep 2");
    let second = host.push(1, &["linux"], "true");
    let jobs: Vec<i64> = first.into_iter().chain(second).collect();
    host.all_done(&jobs, 120).await;
    host.settles(120).await;
    assert_eq!(host.machines_ever().len(), 2);
}

/// Machines continue after SIGTERM of the controller, and a new controller finds them.
async fn machines_outlive_the_controller() {
    let mut host = host(&Options::default());
    host.start().await;
    // They run until the new controller has listed their machines.
    let jobs = host.push(3, &["linux"], &host.until_released());
    host.until("the jobs run", 60, async |host| {
        jobs.iter().all(|job| host.status(*job) == Status::Running)
    })
    .await;
    host.stop().await;
    assert!(!host.processes().is_empty(), "machines continue without the controller");
    host.start().await;
    let machines = host.get("/v1/machines").await;
    let up =
        machines["items"].as_array().expect("a list").iter().filter(|m| m["state"] == "up").count();
    assert_eq!(up, 3, "{machines}");
    host.release_jobs();
    host.all_done(&jobs, 90).await;
    assert!(jobs.iter().all(|job| host.status(*job) == SUCCESS));
    host.settles(90).await;
    assert_eq!(host.machines_ever().len(), 3);
}

tinqs_ci_test_host::suite! {
    // First, because they take longest.
    kills::fifty_kills_lose_no_job,
    faults::forty_jobs_survive_mixed_faults,
    faults::jobs_survive_each_fault_alone,
    disk::a_full_disk_refuses_webhooks_and_loses_no_accepted_one,
    disk::a_repeatedly_full_disk_loses_no_job,
    disk::a_start_on_a_full_disk_fails_with_a_hint,
    lost_store::a_lost_store_is_rebuilt_and_nothing_is_lost_or_doubled,
    lost_store::a_backup_under_load_is_restored_and_converges,
    a_push_becomes_a_finished_job,
    jobs_are_served_without_webhooks,
    twenty_jobs_get_twenty_machines,
    an_unserved_label_gets_no_machine,
    a_runner_killed_mid_job_fails_the_job,
    a_job_whose_machine_the_host_ended_runs_again,
    a_missing_runner_is_named_in_the_reason,
    jobs_survive_an_outage_of_the_forge,
    a_job_canceled_during_boot_leaves_nothing,
    two_machines_serve_two_jobs_in_any_order,
    machines_outlive_the_controller,
    push::a_matching_push_runs_one_job_and_others_none,
    push::a_redelivered_push_changes_nothing,
    push::a_blocked_job_gets_its_machine_after_its_needs,
    push::a_push_during_an_outage_of_the_forge_is_not_lost,
    push::a_pull_request_runs_the_workflow_of_its_head,
    push::explain_says_why_a_push_started_a_machine_or_not,
    push::explain_shows_the_state_of_a_job,
    reload::replaced_files_of_credentials_are_used_without_a_restart,
    reload::a_signal_reads_the_configuration_again_and_a_broken_one_changes_nothing,
    user::a_job_as_another_user_reaches_nothing_of_a_server_that_is_root,
    user::a_job_as_another_user_reaches_nothing_of_a_server_with_the_rights_of_the_unit,
    user::machines_of_another_user_are_found_again_and_ended,
    user::a_user_that_cannot_be_used_is_named_at_the_start,
}
