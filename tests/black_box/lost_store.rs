//! The store is lost while jobs run and wait: `rebuild`, or a backup.

use std::fs;
use std::process::Output;

use tinqs_ci_simulator::forge::Status;
use tinqs_ci_test_host::{Host, Options};

use super::SUCCESS;

/// On a busy host no runner gives up its wait for a job, and no job its wait for a machine.
const CLASS: &str =
    "labels = [\"linux\"]\nboot_within = \"2m\"\nidle_within = \"1m\"\nassign_within = \"30s\"";

fn told(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    format!("{}{}", String::from_utf8_lossy(out), String::from_utf8_lossy(err))
}

/// Starts a burst of jobs, and returns while some of them run and others wait. They end after
/// [`Host::release_jobs`].
async fn stopped_mid_burst(host: &mut Host) -> Vec<i64> {
    host.start().await;
    let jobs = host.push_told(20, &host.until_released());
    host.until("some jobs run", 60, async |host| {
        let running = jobs.iter().filter(|job| host.status(**job) == Status::Running);
        running.count() >= 5
    })
    .await;
    jobs
}

fn lose_the_store(host: &Host) {
    fs::remove_dir_all(host.dir.path().join("data")).expect("the store is removed");
}

/// Waits for the end. Asserts that each job ran once, on a machine of its own.
async fn ends_well(host: &Host, jobs: &[i64]) {
    host.all_done(jobs, 120).await;
    assert!(jobs.iter().all(|job| host.status(*job) == SUCCESS), "no job is lost");
    host.settles(120).await;
    assert_eq!(host.ledger().len(), jobs.len(), "each job ran once");
    assert_eq!(host.machines_ever().len(), jobs.len(), "no machine is doubled");
    host.assert_no_secret_told();
}

/// The file is lost mid-burst, and made again from machines, registrations and waiting jobs.
pub(crate) async fn a_lost_store_is_rebuilt_and_nothing_is_lost_or_doubled() {
    let mut host = crate::host(&Options { class: CLASS, ..Options::default() });
    let jobs = stopped_mid_burst(&mut host).await;
    host.stop().await;
    let refused = host.run_configured(&["rebuild", "--yes"]);
    assert_eq!(refused.status.code(), Some(1), "{}", told(&refused));
    assert!(told(&refused).contains("the store holds runs"), "{}", told(&refused));

    lose_the_store(&host);
    let dry = host.run_configured(&["rebuild"]);
    assert!(dry.status.success() && told(&dry).contains("nothing was written"), "{}", told(&dry));
    let written = host.run_configured(&["rebuild", "--yes"]);
    assert!(written.status.success(), "{}", told(&written));
    host.release_jobs();
    host.start().await;
    ends_well(&host, &jobs).await;
}

/// A backup that was made under load is restored in place of the file.
pub(crate) async fn a_backup_under_load_is_restored_and_converges() {
    let mut host = crate::host(&Options { class: CLASS, ..Options::default() });
    let jobs = stopped_mid_burst(&mut host).await;
    let made = host.run(&["backup", "backup.ndjson"]);
    assert!(made.status.success(), "{}", told(&made));
    host.stop().await;
    host.release_jobs();
    lose_the_store(&host);
    let file = host.dir.path().join("backup.ndjson");
    let restored = host.run_configured(&["restore", file.to_str().expect("text")]);
    assert!(restored.status.success(), "{}", told(&restored));
    host.start().await;
    host.all_done(&jobs, 180).await;
    assert!(jobs.iter().all(|job| host.status(*job) == SUCCESS), "no job is lost");
    host.settles(180).await;
    assert_eq!(host.ledger().len(), jobs.len(), "each job ran once");
}
