//! A full disk, simulated by a file size limit of zero: this needs no privileges and affects a
//! process with open files.

use std::process::{Command, Stdio};
use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::json;
use sha2::Sha256;
use tinqs_ci_simulator::faults::Rng;

use super::clean::{all_done_and_nothing_left, patient, seed};
use tinqs_ci_test_host::{Host, Options, SECRET};

/// The first ID of jobs that exist only in webhooks: the forge does not know them, so only an
/// accepted delivery can create their records.
const TOLD: i64 = 9_000_000;

/// The body of a `queued` webhook.
fn queued(job: i64) -> String {
    json!({
        "action": "queued",
        "workflow_job": {"id": job, "run_id": 1, "name": "told", "status": "queued", "labels": ["linux"]},
        "repository": {"id": 1, "full_name": "acme/widget"},
    })
    .to_string()
}

/// The operations of these tests on a host.
pub(crate) trait FullDisk {
    /// Delivers a signed `queued` webhook of a job. Returns the status and `Retry-After`.
    async fn deliver(&self, job: i64) -> (u16, Option<String>);
    /// Delivers a `queued` webhook of a job, signed with this secret.
    async fn deliver_signed(&self, job: i64, secret: &str) -> (u16, Option<String>);
    /// Returns whether the server has a record of a job.
    async fn has_record(&self, job: i64) -> bool;
    /// Returns the status of `/readyz`.
    async fn ready_status(&self) -> u16;
}

impl FullDisk for Host {
    async fn deliver(&self, job: i64) -> (u16, Option<String>) {
        self.deliver_signed(job, SECRET).await
    }

    async fn deliver_signed(&self, job: i64, secret: &str) -> (u16, Option<String>) {
        let body = queued(job);
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any length");
        mac.update(body.as_bytes());
        let request = self.http.post(self.url("/webhook"));
        let request = request
            .header("Content-Type", "application/json")
            .header("X-Gitea-Event", "workflow_job")
            .header("X-Gitea-Signature", hex::encode(mac.finalize().into_bytes()));
        let answer = request.body(body).send().await.expect("the server answers");
        let wait = answer.headers().get("retry-after").map(|value| value.to_str().expect("text"));
        (answer.status().as_u16(), wait.map(str::to_owned))
    }

    async fn has_record(&self, job: i64) -> bool {
        let answer = self.http.get(self.url(&format!("/v1/runs/job-{job}"))).send().await;
        answer.is_ok_and(|answer| answer.status().is_success())
    }

    async fn ready_status(&self) -> u16 {
        let answer = self.http.get(self.url("/readyz")).send().await.expect("the server answers");
        answer.status().as_u16()
    }
}

/// A class whose records stay, because the test reads them.
const KEPT: &str = "labels = [\"linux\"]\nboot_within = \"5m\"\nidle_within = \"2m\"";

pub(crate) async fn a_full_disk_refuses_webhooks_and_loses_no_accepted_one() {
    let mut host = crate::host(&Options { class: KEPT, limited_files: true, ..patient() });
    host.start().await;
    let before = host.push(2, &["linux"], "sleep 1");
    let mut taken = Vec::new();
    for job in TOLD..TOLD + 10 {
        assert_eq!(host.deliver(job).await, (202, None));
        taken.push(job);
    }

    host.disk(true);
    for job in TOLD + 10..TOLD + 20 {
        let (status, wait) = host.deliver(job).await;
        assert_eq!(status, 503, "a full disk accepts nothing");
        let wait: u32 = wait.and_then(|wait| wait.parse().ok()).expect("Retry-After in seconds");
        assert!((1..=120).contains(&wait), "{wait}");
    }
    host.until("the server is not ready", 30, async |host| host.ready_status().await == 503).await;
    for _ in 0..20 {
        assert_eq!(host.ready_status().await, 503, "it stays so while the disk is full");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let during = host.push(2, &["linux"], "sleep 1");
    // An accepted delivery would have to be stored, so these are refused as well.
    for job in TOLD + 20..TOLD + 30 {
        let (status, _) = host.deliver(job).await;
        assert_eq!(status, 503);
    }

    host.disk(false);
    host.ready().await;
    for job in TOLD + 30..TOLD + 40 {
        assert_eq!(host.deliver(job).await, (202, None), "the server recovers by itself");
        taken.push(job);
    }
    let jobs = [before, during].concat();
    host.all_done(&jobs, 120).await;
    host.kill();
    host.start().await;
    for job in &taken {
        assert!(host.has_record(*job).await, "job {job} was accepted and lost");
    }
    assert!(!host.has_record(TOLD + 15).await, "a refused delivery leaves no record");
    host.settles(240).await;
    // A run whose machine another job took while nothing could be written may get a second one.
    let machines = host.machines_ever();
    assert!((jobs.len()..=jobs.len() + 1).contains(&machines.len()), "{machines:?}");
    host.assert_no_secret_told();
}

/// Fills and frees the disk at random moments while jobs run, and kills the server in between. A
/// machine whose files cannot be written may cost an attempt but never a job.
pub(crate) async fn a_repeatedly_full_disk_loses_no_job() {
    let mut rng = Rng::new(seed());
    let mut host = crate::host(&Options { limited_files: true, ..patient() });
    host.start().await;
    let mut jobs = Vec::new();
    let mut pause = |most: u64| tokio::time::sleep(Duration::from_millis(rng.below(most)));
    for round in 0..6 {
        jobs.extend(host.push_told(2, "sleep 0.3"));
        pause(400).await;
        host.disk(true);
        jobs.extend(host.push_told(2, "sleep 0.3"));
        pause(1500).await;
        if round % 3 == 2 {
            host.kill();
            host.start().await;
        } else {
            host.disk(false);
        }
        pause(1500).await;
    }
    let machines = all_done_and_nothing_left(&mut host, &jobs, 180).await;
    println!("{} jobs, {machines} machines", jobs.len());
    assert!(machines <= jobs.len() + 12, "{machines} machines for {} jobs", jobs.len());
}

/// If the store cannot be opened, the start fails with a hint.
pub(crate) async fn a_start_on_a_full_disk_fails_with_a_hint() {
    let mut host = crate::host(&Options { limited_files: true, ..Options::default() });
    host.start().await;
    let jobs = host.push(1, &["linux"], "true");
    host.all_done(&jobs, 60).await;
    host.kill();
    let start = "trap '' XFSZ; ulimit -f 0; exec \"$0\" serve --insecure-root --config \"$1\"";
    let answer = Command::new("bash")
        .args(["-c", start, env!("CARGO_BIN_EXE_tinqs-ci")])
        .arg(host.dir.path().join("tinqs-ci.toml"))
        .env("FORGE_TOKEN", tinqs_ci_test_host::TOKEN)
        .env("HOOK_SECRET", SECRET)
        .env("OWN_TOKEN", "any-token-of-16-bytes")
        .stdin(Stdio::null())
        .output()
        .expect("it starts");
    let told = String::from_utf8_lossy(&answer.stderr);
    assert_eq!(answer.status.code(), Some(1), "{told}");
    assert!(told.contains("tinqs-ci.redb") && told.contains("space"), "{told}");
    host.start().await;
    host.settles(60).await;
}
