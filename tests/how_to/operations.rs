//! Draining, backups and their ways back, as the pages print them.

use std::fs;

use tinqs_ci_reconciler::model::Conclusion;
use tinqs_ci_simulator::forge::Status;
use tinqs_ci_test_host::{Host, OWN_TOKEN};

use crate::book::block;
use crate::play::{host, play};

const DRAIN: &str = "docs/how-to/maintenance.md";
const BACK_UP: &str = "docs/how-to/back-up.md";
const SUCCESS: Status = Status::Done(Conclusion::Success);

async fn runs(host: &Host, job: i64) {
    host.until("the job runs", 60, async |host| host.status(job) == Status::Running).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_is_drained_and_takes_jobs_again() {
    let mut host = host();
    host.start().await;
    let running = host.push(1, &["linux"], &host.until_released())[0];
    runs(&host, running).await;
    play(&host, &block(DRAIN, "tinqs-ci pause"), &[], "");
    let waiting = host.push(1, &["linux"], "true")[0];
    host.release_jobs();
    host.all_done(&[running], 60).await;
    assert_eq!(host.status(running), SUCCESS, "what runs is not touched");
    host.until("no machine runs", 60, async |host| host.processes().is_empty()).await;
    let path = format!("/v1/runs/job-{waiting}");
    host.until("the waiting job has its reason", 60, async |host| {
        host.get(&path).await.to_string().contains("\"Paused\"")
    })
    .await;
    assert_eq!(host.status(waiting), Status::Waiting);
    assert_eq!(host.machines_ever().len(), 1, "no machine starts meanwhile");

    play(&host, &block(DRAIN, "tinqs-ci resume"), &[], "");
    host.all_done(&[waiting], 90).await;
    assert_eq!(host.status(waiting), SUCCESS);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_is_terminated_with_its_job() {
    let mut host = host();
    host.start().await;
    let job = host.push(1, &["linux"], "sleep 300")[0];
    runs(&host, job).await;
    host.until("the machine is listed", 30, async |host| {
        host.get("/v1/machines").await["items"][0]["id"].is_string()
    })
    .await;
    let machines = host.get("/v1/machines").await;
    let machine = machines["items"][0]["id"].as_str().expect("an ID");
    play(&host, &block(DRAIN, "tinqs-ci terminate"), &[("MACHINE", machine)], "");
    host.until("no machine runs", 60, async |host| host.processes().is_empty()).await;
}

/// Moves the store away, as the page says of it.
fn lose_the_store(host: &Host, to: &str) {
    let store = host.dir.path().join("data");
    fs::rename(&store, host.dir.path().join(to)).expect("the store is moved");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_comes_back_from_each_backup_and_without_one() {
    let mut host = host();
    host.start().await;
    let job = host.push(1, &["linux"], "true")[0];
    host.all_done(&[job], 90).await;
    host.settles(90).await;
    let run = format!("/v1/runs/job-{job}");
    let before = host.get(&run).await;
    assert_eq!(before["status"]["phase"], "Finished", "{before}");
    let file = host.dir.path().join("tinqs-ci.ndjson");
    let restore = block(BACK_UP, "tinqs-ci restore");

    play(&host, &block(BACK_UP, "tinqs-ci backup"), &[], "");
    let by_command = fs::read(&file).expect("a backup");
    fs::remove_file(&file).expect("removed");
    let address = host.url("");
    let values = [("$TOKEN", OWN_TOKEN), ("http://127.0.0.1:8081", address.as_str())];
    play(&host, &block(BACK_UP, "curl --fail"), &values, "");
    let by_call = fs::read(&file).expect("a backup");

    for (name, backup) in [("first", by_command), ("second", by_call)] {
        host.stop().await;
        lose_the_store(&host, name);
        fs::write(&file, backup).expect("written");
        play(&host, &restore, &[], "");
        host.start().await;
        let after = host.get(&run).await;
        assert_eq!(after["status"]["phase"], "Finished", "{name}: {after}");
    }

    host.stop().await;
    lose_the_store(&host, "third");
    let told = play(&host, &block(BACK_UP, "tinqs-ci rebuild"), &[], "");
    assert!(told.contains("nothing was written"), "the first of them is dry: {told}");
    host.start().await;
    let next = host.push(1, &["linux"], "true")[0];
    host.all_done(&[next], 90).await;
    assert_eq!(host.status(next), SUCCESS);
    assert_eq!(host.machines_ever().len(), 2, "each job had one machine");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_readiness_of_a_server_is_asked() {
    let mut host = host();
    host.start().await;
    let webhooks = host.url("/webhook");
    let port = webhooks.trim_start_matches("http://").trim_end_matches("/webhook");
    let asked = block("docs/runbooks/reconcile-stalled.md", "curl -s ");
    let told = play(&host, &asked, &[("localhost:8080", port)], "");
    assert!(told.contains("\"forge\"") && told.contains("\"store\""), "{told}");
}
