//! Situations of the services: the forge, its webhooks, the store, the configuration.

use tinqs_ci_simulator::gitea_wire::{ApiToken, Hook, Right};
use tinqs_ci_test_host::{Options, TOKEN};

use crate::{CLASS, all_is_well, host, needs_a_person, no_longer_says, says};

fn accepted() -> Vec<ApiToken> {
    vec![ApiToken { token: TOKEN.to_owned(), right: Right::Admin }]
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_is_revoked() {
    let mut host = host(&Options { class: CLASS, ..Options::default() });
    host.start().await;
    host.wire.tokens(Vec::new());
    let job = host.push(1, &["linux"], "true")[0];
    let name = job.to_string();
    needs_a_person(&host, &["ForgeDenied", "401", "token"]).await;
    says(&host, &["why", &name], &["ForgeDenied"]).await;
    says(&host, &["get", "runs"], &["forge"]).await;
    // The same after a restart.
    host.kill();
    host.start().await;
    says(&host, &["status"], &["ForgeDenied", "401"]).await;
    host.wire.tokens(accepted());
    host.all_done(&[job], 90).await;
    no_longer_says(&host, &["status"], &["ForgeDenied"]).await;
    all_is_well(&host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_forge_is_down() {
    let mut host = host(&Options { class: CLASS, ..Options::default() });
    host.start().await;
    let job = host.push(1, &["linux"], "sleep 1")[0];
    says(&host, &["get", "runs"], &[&format!("job-{job}")]).await;
    host.wire.stop().await;
    // A short outage passes by itself, so that nobody must act yet.
    let status = says(&host, &["status"], &["ForgeUnreachable", "forge.url"]).await;
    assert_eq!(status.code, Some(0), "{}", status.text);
    says(&host, &["why", &job.to_string()], &["ForgeUnreachable"]).await;
    host.wire.resume().expect("the forge's port is free");
    host.all_done(&[job], 120).await;
    no_longer_says(&host, &["status"], &["ForgeUnreachable"]).await;
    all_is_well(&host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_disk_is_full() {
    let mut host = host(&Options { class: CLASS, limited_files: true, ..Options::default() });
    host.start().await;
    host.disk(true);
    let job = host.push(1, &["linux"], "true")[0];
    needs_a_person(&host, &["StoreFailing", "free space"]).await;
    host.disk(false);
    host.all_done(&[job], 90).await;
    no_longer_says(&host, &["status"], &["StoreFailing"]).await;
    all_is_well(&host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_webhook_secret_is_wrong() {
    let mut host = host(&Options { class: CLASS, hook: false, ..Options::default() });
    host.wire.add_hook(Hook::system(host.url("/webhook"), "another-webhook-secret"));
    host.start().await;
    // The forge's job list serves the job nevertheless.
    let job = host.push(1, &["linux"], "true")[0];
    needs_a_person(&host, &["webhook", "signature", "webhook_secret"]).await;
    host.all_done(&[job], 90).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn machines_cannot_reach_the_forge() {
    let class = "labels = [\"linux\"]\nboot_within = \"5s\"\nidle_within = \"4s\"";
    let mut host = host(&Options { class, ..Options::default() });
    // Nobody listens on the port of the discard protocol.
    host.edit(|text| text.replace("demand =", "machine_url = \"http://127.0.0.1:9\"\ndemand ="));
    host.start().await;
    let job = host.push(1, &["linux"], "true")[0];
    says(&host, &["why", &job.to_string()], &["BackingOff"]).await;
}
