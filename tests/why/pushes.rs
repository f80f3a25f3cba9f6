//! Pushes that start no job: `explain push` says why, and no longer does once the file is right.

use jiff::Timestamp;
use tinqs_ci_simulator::forge::{JobSpec, Push};
use tinqs_ci_test_host::{Host, Options};

use crate::{CLASS, all_is_well, host, no_longer_says, says};

const FILE: &str = ".gitea/workflows/ci.yml";
const EXPLAIN: &[&str] = &["explain", "push", "acme/widget", "main"];

/// Pushes to `main`. The forge starts a workflow run if the test says so.
fn push(host: &Host, changes: &[(&str, Option<&str>)], starts: bool) -> Vec<i64> {
    let job = JobSpec { script: Some("true".into()), ..JobSpec::new("build", &["linux"]) };
    let runs = if starts { vec![vec![job]] } else { Vec::new() };
    let push = Push { git_ref: "refs/heads/main", changes, message: "change", runs: &runs };
    host.forge().push_commit(Timestamp::now(), "acme/widget", &push).1
}

/// The file is right, and its job runs.
async fn runs(host: &Host, changes: &[(&str, Option<&str>)]) {
    let jobs = push(host, changes, true);
    says(host, EXPLAIN, &["✓ push", "build [linux] starts at once"]).await;
    host.all_done(&jobs, 90).await;
    says(host, &["why", &jobs[0].to_string()], &["the job succeeded"]).await;
    all_is_well(host).await;
}

async fn started() -> Host {
    let mut host = host(&Options { class: CLASS, ..Options::default() });
    host.start().await;
    host
}

pub(crate) async fn the_workflow_file_has_a_syntax_error() {
    let host = started().await;
    let broken = "on: push\njobs:\n  build:\n    runs-on: [linux\n";
    push(&host, &[(FILE, Some(broken))], false);
    says(&host, EXPLAIN, &["ci.yml", "the forge ignores this file", "line"]).await;
    let page = format!("{}/acme/widget/actions/runs/1", host.wire.url());
    says(&host, &["why", &page], &["no such workflow run", "explain push acme/widget"]).await;
    let right = "on: push\njobs:\n  build:\n    runs-on: linux\n";
    runs(&host, &[(FILE, Some(right))]).await;
    no_longer_says(&host, EXPLAIN, &["ignores"]).await;
}

pub(crate) async fn a_filter_excludes_the_branch() {
    let host = started().await;
    let file = |branch: &str| {
        format!("on:\n  push:\n    branches: [{branch}]\njobs:\n  build:\n    runs-on: linux\n")
    };
    push(&host, &[(FILE, Some(&file("release")))], false);
    says(&host, EXPLAIN, &["✗ branches [release]", "a filter does not match"]).await;
    runs(&host, &[(FILE, Some(&file("main")))]).await;
    no_longer_says(&host, EXPLAIN, &["does not match"]).await;
}

pub(crate) async fn a_filter_excludes_the_changed_files() {
    let host = started().await;
    let file = "on:\n  push:\n    paths: [\"src/**\"]\njobs:\n  build:\n    runs-on: linux\n";
    push(&host, &[(FILE, Some(file))], false);
    says(&host, EXPLAIN, &["✗ paths [src/**]", FILE]).await;
    runs(&host, &[("src/main.c", Some("int main;"))]).await;
    no_longer_says(&host, EXPLAIN, &["does not match"]).await;
}
